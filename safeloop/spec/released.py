"""Which names the files of a release may have; pure, and the same where they are staged and where they are released."""

from __future__ import annotations

PROOF = "release"
"""The folder of a release that holds its proof."""

_MAX_PART_BYTES = 255  # Linux NAME_MAX
_MAX_NAME_BYTES = 3_000  # below PATH_MAX, with room for the destination


def released_fault(name: str) -> str | None:
    """Say why a name cannot be released, as a clause; the name is UTF-8."""
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
