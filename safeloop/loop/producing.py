"""What a session leaves: the files that it staged, and what the workspace had under their names."""

from __future__ import annotations

from safeloop.loop.closing import Product
from safeloop.tools import ContainmentError, Root, collect

MOST_BYTES_BEFORE = 10_000_000


def product_of(staging: Root, workspace: Root | None, output: str | None) -> Product:
    """Collect what a session leaves.

    Raises:
        ContainmentError: The staging folder holds what cannot be handed on.
    """
    files = collect(staging)
    before = {file.name: _read_before(workspace, file.name) for file in files}
    return Product(files, {name: data for name, data in before.items() if data is not None}, output)


def _read_before(workspace: Root | None, name: str) -> bytes | None:
    """Return the workspace's version of a staged file, if it has one that a diff could show."""
    if workspace is None:
        return None
    try:
        return workspace.read(name, MOST_BYTES_BEFORE)
    except ContainmentError:
        return None
