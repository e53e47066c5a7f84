"""The bundle: which files a release consists of. Pure: names and bytes in, paths and bytes out.

    DIR/report.md ...               the released files, under the names of the manifest
    DIR/release/frame.txt           the exact bytes that reviewers hashed
    DIR/release/SHA256SUMS          cd DIR && sha256sum -c release/SHA256SUMS
    DIR/release/output.txt          the model's last answer, if there is one
    DIR/release/statement-1.json    exact bytes: ssh-keygen -Y verify -n safeloop-review
    DIR/release/statement-1.sig         -f reviewers -I NAME -s statement-1.sig < statement-1.json
    DIR/release/checkpoint.txt      the ledger's head after the release row
    DIR/release/receipts/row-9.tlog-proof

The answer lies in `release/` so that no staged file can take its place. Reviewers' keys are never in it: who reads
a bundle pins them. Statements are numbered in the order of the rows that hold them; receipts have the rows' numbers,
and are of the spec, the `open` row, and every row from the session's close to the release, so that a reader sees
whether somebody rejected it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from safeloop.errors import VerificationError
from safeloop.ledger import sshsig, visible
from safeloop.review.attesting.attestation import FRAME, OUTPUT, SUMS
from safeloop.spec.released import PROOF, released_fault

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.review.framing.shown import ShownFrame

CHECKPOINT = "checkpoint.txt"
RECEIPTS = "receipts/"


def require_plain_names(names: Iterable[str], where: str) -> None:
    """Refuse a list of files of which one could leave the destination, or take a place that is taken.

    Raises:
        VerificationError: The list as a whole is refused, because of the name that the message has.
    """
    listed = list(names)
    faults = ((name, fault) for name in listed if (fault := released_fault(name)) is not None)
    # In this order what lies in a folder comes right after a file of the folder's name.
    in_order = sorted(listed, key=lambda name: name.replace("/", "\0"))
    clashes = ((name, "another file has its place") for before, name in pairwise(in_order)
               if name == before or name.startswith(f"{before}/"))
    refused = next(chain(faults, clashes), None)
    if refused is not None:
        name, fault = refused
        raise VerificationError(
            f"{where} names '{visible(name, 80)}', and {fault}: nothing is released",
            hint="the rows cannot be changed: the work needs a session of its own: safeloop spec",
        )


def bundle(
    shown: ShownFrame, attestations: Sequence[Row], receipts: Mapping[int, str], note: str
) -> dict[str, bytes]:
    """Return the bundle as path below the destination, with `/`, to bytes.

    Args:
        shown: The session's frame, its content whole, its names plain.
        attestations: The rows that the release rests on, all of them signed.
        receipts: By row number.
        note: The head that the receipts lead to.
    """
    proof = {FRAME: shown.data, SUMS: shown.sums, CHECKPOINT: note.encode()}
    if shown.output is not None:
        proof[OUTPUT] = shown.output
    proof |= statement_files(attestations)
    proof |= {receipt_name(number): receipt.encode() for number, receipt in receipts.items()}
    return dict(shown.files) | {f"{PROOF}/{name}": data for name, data in proof.items()}


def statement_files(attestations: Iterable[Row]) -> dict[str, bytes]:
    """Return the statements and signatures of signed attestations, by their names below `release/`."""
    files = {}
    for number, row in enumerate(attestations, start=1):
        files[f"statement-{number}.json"] = row.data["statement"].encode()
        # The one form that ssh-keygen writes, whatever width of lines the row holds.
        armored = sshsig.render_armor(sshsig.parse_armor(row.data["signature"]))
        files[f"statement-{number}.sig"] = armored.encode()
    return files


def receipt_name(number: int) -> str:
    """Return the name of a row's receipt below `release/`."""
    return f"{RECEIPTS}row-{number}.tlog-proof"
