"""`verify`: check a receipt, a checkpoint, a consistency proof or a release, offline and without a ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from safeloop.cli.inputs import read_text
from safeloop.cli.options import Desk, common
from safeloop.review.verifying.bundles import verify_bundle
from safeloop.review.verifying.documents import verify_document
from safeloop.review.verifying.folders import read_document, read_folder
from safeloop.review.verifying.verification import render_verification


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--checkpoint", "checkpoints", multiple=True, metavar="FILE", help="A checkpoint that you kept.")
@common(quiet=True, trust=True, ledger=False)
def verify(desk: Desk, path: Path, checkpoints: tuple[str, ...]) -> int:
    """Check a proof with pinned keys, offline: 0 it is verified, 11 it is not.

    PATH is a receipt, a checkpoint, a consistency proof, or the folder of a release. A later job can rely on it:
    safeloop verify DIR --trust DIR && use it.
    """
    trust = desk.trust()
    kept = [read_text(Path(name), "checkpoint") for name in checkpoints]
    if path.is_dir():
        found = verify_bundle(read_folder(path), trust, datetime.now(UTC), kept)
    else:
        found = verify_document(read_document(path), trust, kept)
    found = replace(found, path=str(path))
    return desk.screen.verdict(render_verification(found), found.as_json(), int(found.exit_code))
