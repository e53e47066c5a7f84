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
a bundle pins them. Statements are numbered in the order of the release row; receipts have the rows' numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from safeloop.errors import VerificationError
from safeloop.ledger import sshsig, visible
from safeloop.review.attesting.attestation import FRAME, OUTPUT, SUMS

if TYPE_CHECKING:
    from safeloop.ledger import Row
    from safeloop.review.framing.shown import ShownFrame

PROOF = "release"
CHECKPOINT = "checkpoint.txt"
_MAX_PART_BYTES = 255  # Linux NAME_MAX
_MAX_NAME_BYTES = 3_000  # below PATH_MAX, with room for the destination


def require_plain_names(names: Iterable[str], where: str) -> None:
    """Refuse a list of files of which one could leave the destination, or take a place that is taken.

    Raises:
        VerificationError: The list as a whole is refused, because of the name that the message has.
    """
    taken: set[str] = set()
    folders: set[str] = set()
    for name in names:
        fault = _name_fault(name)
        parents = {name[:at] for at, character in enumerate(name) if character == "/"}
        if fault is None and (name in taken or name in folders or parents & taken):
            fault = "another file has its place"
        if fault is not None:
            raise VerificationError(
                f"{where} names {visible(name, 80)!r}, and {fault}: nothing is released",
                hint="the rows cannot be changed: the work needs a session of its own",
            )
        taken.add(name)
        folders |= parents


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
    for number, row in enumerate(attestations, start=1):
        proof[f"statement-{number}.json"] = row.data["statement"].encode()
        # The one form that ssh-keygen writes, whatever width of lines the row holds.
        armored = sshsig.render_armor(sshsig.parse_armor(row.data["signature"]))
        proof[f"statement-{number}.sig"] = armored.encode()
    for number, receipt in receipts.items():
        proof[f"receipts/row-{number}.tlog-proof"] = receipt.encode()
    return dict(shown.files) | {f"{PROOF}/{name}": data for name, data in proof.items()}


def _name_fault(name: str) -> str | None:
    """Say why a name cannot be released, as a clause."""
    parts = name.split("/")
    if "\0" in name:
        return "a name cannot hold NUL"
    if name.startswith("/"):
        return "a name must be relative"
    if any(part in {"", ".", ".."} for part in parts):
        return "a name cannot hold empty parts, `.` or `..`"
    if len(name.encode()) > _MAX_NAME_BYTES or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        return "it is too long for a file's name"
    # Also in another case: the bundle may be copied to a file system that does not tell them apart.
    if parts[0].casefold() == PROOF:
        return f"the folder `{PROOF}` belongs to the proof"
    return None
