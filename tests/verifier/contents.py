"""Content and commitments: what is kept must be what was committed to, what is gone must have been erased."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.verifier import forms, page, stored
from tests.verifier.encoding import BadEncoding, decode
from tests.verifier.findings import Report
from tests.verifier.rows import Row

MANIFESTS = {"intent": ("request", None), "close": ("files", "file_count"), "release": ("files", "file_count"),
             "erase": ("contents", "count")}
DIGESTS = {"open": ("task", "input_hash"), "attestation": ("frame_text", "frame")}
Commitment = dict[str, Any]


@dataclass
class Contents:
    """What the content file holds, by the hex of its digest.

    Attributes:
        fault: Why nothing can be read; empty if it can.
        told: Digests of content that was found wanting: it is told once.
    """

    kept: dict[str, tuple[bytes, bytes, bytes]] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    fault: str = ""
    told: set[str] = field(default_factory=set)

    def get(self, commitment: Commitment) -> bytes | None:
        """Return content that is there and is what was committed to."""
        salt, raw, kind = self.kept.get(commitment["salted_sha256"], (b"", b"", b""))
        digest = hashlib.sha256(b"safeloop.content.v1\0" + salt + raw).hexdigest()
        said = (commitment["salted_sha256"], commitment["bytes"], commitment["type"].encode())
        return raw if (digest, len(raw), kind) == said else None


def read(ledger: Path) -> Contents:
    path = ledger.with_name(f"{ledger.name.removesuffix('.db')}.content.db")
    contents = Contents()
    if not path.exists():
        contents.fault = "there is no content file"
        return contents
    try:
        with contextlib.closing(stored.open_read_only(path)) as db:
            if not stored.is_ours(db) or stored.statements(db) != page.content_schema():
                contents.fault = "the content file is of another form"
                return contents
            for digest, *content in db.execute("SELECT salted_sha256, salt, bytes, type FROM content"):
                contents.kept[digest.hex()] = tuple(content)
    except sqlite3.Error as error:
        contents.fault = f"the content file cannot be read: {error}"
    return contents


def check(rows: list[Row], contents: Contents, report: Report) -> None:
    """Report **content**, **manifest** and **erased**."""
    known = [row for row in rows if row.is_sound and row.is_known]
    for row in known:
        if row.kind == "erase":
            for entry in _manifest(row, contents) or []:
                named = (entry.get("salted_sha256"), *(one["salted_sha256"] for one in _commitments(entry)))
                contents.erased |= {digest for digest in named if isinstance(digest, str)}
    for row in known:
        for commitment in _commitments(row.data):
            _check_one(row, commitment, contents, report)
        if row.kind in MANIFESTS:
            _check_manifest(row, contents, report)
        if row.kind in DIGESTS and row.data.get("signature", "") is not None:
            key, digest = DIGESTS[row.kind]
            raw = contents.get(row.data[key])
            if raw is not None and hashlib.sha256(raw).hexdigest() != row.data[digest]:
                report.fail(row.idx, "content", f"{digest} is not that of {key}")


def _manifest(row: Row, contents: Contents) -> list[dict[str, Any]] | None:
    """Return the list that a row's manifest holds, if it is there, in the encoding, and of objects."""
    raw = contents.get(row.data[MANIFESTS[row.kind][0]])
    try:
        found = None if raw is None else decode(raw)
    except BadEncoding:
        return None
    return found if isinstance(found, list) and all(isinstance(entry, dict) for entry in found) else None


def _commitments(value: Any) -> Iterator[Commitment]:
    if forms.is_commitment(value):
        yield value
        return
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _commitments(item)


def _check_one(row: Row, commitment: Commitment, contents: Contents, report: Report) -> None:
    digest = commitment["salted_sha256"]
    if digest in contents.told or contents.get(commitment) is not None:
        return
    contents.told.add(digest)
    if digest not in contents.kept and digest in contents.erased:
        report.gap(row.idx, "erased", f"content {digest[:8]} was erased")
    elif contents.fault:
        if contents.fault not in contents.told:
            report.fail(row.idx, "content", contents.fault)
        contents.told.add(contents.fault)
    elif digest in contents.kept:
        report.fail(row.idx, "content", f"content {digest[:8]} is not what was committed to")
    else:
        report.fail(row.idx, "content", f"content {digest[:8]} is gone, and no row erased it")


def _check_manifest(row: Row, contents: Contents, report: Report) -> None:
    key, counted = MANIFESTS[row.kind]
    if contents.get(row.data[key]) is None:
        return
    entries = _manifest(row, contents)
    if entries is None or (counted and len(entries) != row.data[counted]) or (
            counted == "file_count" and not _are_files(entries)):
        report.fail(row.idx, "manifest", "not the list that the row counts")
    for commitment in _commitments(entries) if row.kind != "erase" else ():
        _check_one(row, commitment, contents, report)


def _are_files(entries: list[dict[str, Any]]) -> bool:
    """Say whether these are files with their content, each name once, in the order of its bytes."""
    for entry in entries:
        if entry.keys() != {"after", "before", "name"} or not isinstance(entry["name"], str):
            return False
        kept = [entry["after"]] if entry["before"] is None else [entry["after"], entry["before"]]
        if not all(map(forms.is_commitment, kept)):
            return False
    names = [entry["name"].encode() for entry in entries]
    return names == sorted(set(names))
