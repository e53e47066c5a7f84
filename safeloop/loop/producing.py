"""What a session leaves: the files that it staged, and what the workspace had under their names."""

from __future__ import annotations

from safeloop.loop.closing import Product
from safeloop.tools import ContainmentError, FileMissingError, NotAFileError, Root, collect
from safeloop.tools.staging import MAX_STAGED_BYTES


def product_of(staging: Root, workspace: Root | None, output: str | None) -> Product:
    """Collect what a session leaves.

    Raises:
        ContainmentError: The staging folder holds what cannot be handed on; or the workspace has a file that it would
            take the place of, and that nobody could compare it with.
    """
    files = collect(staging)
    before: dict[str, bytes] = {}
    if workspace is None:
        return Product(files, before, output)
    left = MAX_STAGED_BYTES  # of all of them together: they are held in memory, as the staged ones are
    for file in files:
        data = _read_before(workspace, file.name, left)
        if data is not None:
            before[file.name] = data
            left -= len(data)
    return Product(files, before, output)


def _read_before(workspace: Root, name: str, most: int) -> bytes | None:
    """Return the workspace's version of a staged file; None where no file is.

    Raises:
        ContainmentError: There is one, and it cannot be read: to call the staged one new would be a lie.
    """
    try:
        return workspace.read(name, most)
    except (FileMissingError, NotAFileError):
        return None
    except ContainmentError as error:
        raise ContainmentError(f"the workspace has a file that this one cannot be compared with: {error}") from error
