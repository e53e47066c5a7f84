"""What lies in the folder of a release, held against what was signed: nothing else, nothing missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safeloop.errors import VerificationError
from safeloop.ledger import Row, visible
from safeloop.review.attesting.attestation import FRAME, OUTPUT, SUMS
from safeloop.review.attesting.sums import parse_sums
from safeloop.review.releasing.bundle import CHECKPOINT, receipt_name, require_plain_names, statement_files
from safeloop.review.verifying.stories import Story
from safeloop.review.verifying.verification import Findings
from safeloop.spec.released import PROOF

NOT_IT = "use nothing of this folder; release it again, where the ledger is: safeloop release SESSION --to DIR"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file as it was read.

    Attributes:
        sha256: Hex; empty where it was not read, because the sums do not list it.
        size: Bytes.
        data: The bytes; None where only the digest is needed.
    """

    sha256: str
    size: int
    data: bytes | None = None


Files = Mapping[str, BundleFile]
"""Every file of the folder, by its path below it with `/`; a folder with nothing in it ends in one."""


def proof_file(files: Files, name: str) -> BundleFile:
    """Return a file of the proof by its name below `release/`.

    Raises:
        VerificationError: It is missing.
    """
    found = files.get(f"{PROOF}/{name}")
    if found is None:
        raise VerificationError(f"{PROOF}/{name} is missing", hint=NOT_IT)
    return found


def proof_text(files: Files, name: str) -> str:
    """Return the text of a file of the proof.

    Raises:
        VerificationError: It is missing, or not text.
    """
    try:
        return (proof_file(files, name).data or b"").decode()
    except UnicodeDecodeError:
        raise VerificationError("it is not text") from None


def compare_sums(files: Files, findings: Findings) -> Mapping[str, str] | None:
    """Hold the released files against the sums, and return these; None if they cannot be read."""
    try:
        sums = parse_sums(proof_file(files, SUMS).data or b"")
        require_plain_names(sums, f"{PROOF}/{SUMS}")
    except VerificationError as error:
        findings.refuse(error.message, error.hint or NOT_IT)
        return None
    for name, digest in sums.items():
        found = files.get(name)
        if found is None:
            findings.refuse(f"{visible(name)} was released, and is not here", NOT_IT)
        elif found.sha256 != digest:
            findings.refuse(f"{visible(name)} is not the file that was released: its SHA-256 is another", NOT_IT)
    return sums


def compare_with_rows(files: Files, story: Story, sums: Mapping[str, str], findings: Findings) -> None:
    """Hold the release row against the session's close, and both against what is here."""
    close, release = story.cut.data, story.release.data
    if (close["files"], close["file_count"]) != (release["files"], release["file_count"]):
        findings.refuse(f"row {story.release.id} releases other files than the session closed with", NOT_IT)
    if close["file_count"] != len(sums):
        findings.refuse(f"the session closed with {close['file_count']} files, and {SUMS} has {len(sums)}", NOT_IT)
    output = files.get(f"{PROOF}/{OUTPUT}")
    wanted = None if close["output"] is None else close["output"]["bytes"]
    if wanted != (None if output is None else output.size):
        findings.refuse(f"{PROOF}/{OUTPUT} is not what the session closed with", NOT_IT)


def require_exactly(
    files: Files, story: Story, rests_on: Sequence[Row], sums: Mapping[str, str], findings: Findings
) -> None:
    """Refuse a file that is missing in the proof, is not what its row says, or belongs to nothing.

    Args:
        files: What is here.
        story: The rows.
        rests_on: The attestations of the release; whether they count is the gate's to say.
        sums: What was released.
        findings: Where faults go.
    """
    try:
        statements = statement_files([row for row in rests_on if row.data["signature"] is not None])
    except VerificationError as error:
        findings.refuse(error.message, NOT_IT)
        return
    for name, data in statements.items():
        found = files.get(f"{PROOF}/{name}")
        if found is None:
            findings.refuse(f"{PROOF}/{name} is missing", NOT_IT)
        elif found.data != data:
            findings.refuse(f"{PROOF}/{name} is not what its attestation row holds", NOT_IT)
    proof = {FRAME, SUMS, CHECKPOINT, OUTPUT, *statements, *(receipt_name(row.id) for row in story.rows)}
    for path in sorted(files.keys() - sums.keys() - {f"{PROOF}/{name}" for name in proof}):
        findings.refuse(f"{visible(path)} is no part of the release", NOT_IT)
    findings.proved.append(f"each of the released files ({len(sums):,}) has the SHA-256 that was signed, and no "
                           "other file is in the folder")
