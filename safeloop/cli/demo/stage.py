"""The demo's folder: keys, ledger, spec, page and a reviewer of its own, all in one place that can be deleted."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from safeloop.errors import SettingError
from safeloop.ledger import Ledger
from safeloop.ledger.keys import KeyFolder, make_reviewer_key
from safeloop.ledger.trust import add_reviewer

REVIEWER = "demo-reviewer@example.org"
_MOST_FOLDERS = 1_000


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything of one demo lies.

    Attributes:
        folder: The demo's own.
    """

    folder: Path

    @property
    def ledger(self) -> Path:
        """The demo's ledger."""
        return self.folder / "ledger.db"

    @property
    def keys(self) -> Path:
        """The demo's key folder: yours is not touched."""
        return self.folder / "keys"

    @property
    def trust(self) -> Path:
        """The trust folder that pins those keys and the demo's reviewer."""
        return KeyFolder(self.keys).self_trust

    @property
    def spec(self) -> Path:
        """The spec file."""
        return self.folder / "spec.toml"

    @property
    def workspace(self) -> Path:
        """What the tools may read: the page."""
        return self.folder / "workspace"

    @property
    def reviewer_key(self) -> Path:
        """The SSH key of the demo's reviewer."""
        return self.folder / "reviewer" / "id_ed25519"

    @property
    def released(self) -> Path:
        """Where the output goes once it was accepted."""
        return self.folder / "released"


def set_up(folder: Path | None, page: bytes) -> Stage:
    """Make a demo's folder with everything that the walk needs, apart from rows.

    Raises:
        SettingError: The folder cannot be made, or is in use.
    """
    stage = Stage(_new_folder(folder))
    stage.workspace.mkdir(mode=0o700)
    (stage.workspace / "page.html").write_bytes(page)
    stage.spec.write_bytes(resources.files("safeloop.cli.demo").joinpath("spec.toml").read_bytes())
    stage.reviewer_key.parent.mkdir(mode=0o700)
    make_reviewer_key(stage.reviewer_key, REVIEWER)
    Ledger(stage.ledger, keys=stage.keys).close()
    public = stage.reviewer_key.with_name("id_ed25519.pub").read_text(encoding="ascii")
    add_reviewer(stage.trust, REVIEWER, public)
    return stage


def _new_folder(folder: Path | None) -> Path:
    """Make the folder that was named, or the first of `safeloop-demo`, `safeloop-demo-2`, ... that is free."""
    numbered = (Path(f"safeloop-demo-{number}") for number in range(2, _MOST_FOLDERS))
    for path in [folder] if folder is not None else [Path("safeloop-demo"), *numbered]:
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            hint = "safeloop demo --dir DIR"
            raise SettingError(f"folder {path} cannot be made: {error.strerror}", hint=hint) from None
        return path.absolute()
    raise SettingError(f"{folder or 'safeloop-demo'} is there already", hint="safeloop demo --dir DIR, or delete it")
