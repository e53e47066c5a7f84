"""Settings: flag, then `SAFELOOP_*`, then the project's file, then the user's, then the default.

A project file may tighten ceilings, and never names keys, signers or policy: whoever can write to a project must
not thereby choose who is trusted.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeloop.cli.inputs import read_bytes
from safeloop.errors import SettingError
from safeloop.ledger.keys import default_folder
from safeloop.spec import Ceilings
from safeloop.spec.units import microusd_of, milliseconds_of

PROJECT_FILE = "safeloop.toml"
USER_FILE = "config.toml"
_MOST_BYTES = 1_000_000
# Settings that are called otherwise than their ceilings, and how they are read as such.
_CEILINGS: dict[str, tuple[str, Callable[[str, object], int]]] = {
    "cost_usd": ("microusd", microusd_of), "time_s": ("elapsed_ms", milliseconds_of),
}
_MOST_DIGITS = 40  # whether so many mean anything is for the ceilings to say


@dataclass(frozen=True, slots=True)
class Known:
    """A setting that exists.

    Attributes:
        kind: `str`, `int`, `path`, or `usd`: US dollars as text.
        default: None where there is none.
        project: Whether a project file may set it.
        tightens: A ceiling: every source counts, and the smallest value holds.
    """

    name: str
    kind: str
    default: Any
    meaning: str
    project: bool = True
    tightens: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"SAFELOOP_{self.name.upper()}"


KNOWN = (
    Known("ledger", "path", "ledger.db", "the ledger"),
    Known("keys", "path", None, "the key folder", project=False),
    Known("key_passphrase_file", "path", None, "what opens encrypted keys: a file of mode 0600", project=False),
    Known("key_passphrase_command", "str", None, "what opens encrypted keys: a command that prints it", project=False),
    Known("trust", "path", None, "the trust folder; the key folder's own is self", project=False),
    Known("reviewer", "str", None, "who attests and approves: attest --as", project=False),
    Known("reviewer_key", "path", None, "what signs: attest --key", project=False),
    Known("approval_wait", "int", 300, "seconds that a question about a destructive call waits; then it is no"),
    Known("model", "str", "claude-sonnet-5-5", "the model to ask; offline-auditor asks none"),
    Known("base_url", "str", None, "an OpenAI-compatible server to ask; else Claude", project=False),
    Known("limit_name", "str", None, "what that server calls its token limit; else by its address", project=False),
    Known("max_tokens", "int", 1024, "tokens wanted of each reply"),
    Known("max_wait", "int", 60, "seconds that a turn may wait before its session is suspended"),
    Known("remind_every", "int", 5, "replies after which the promise is put before the model again; 0 is never"),
    Known("fetch_hosts", "str", None, "the only hosts that fetch_url asks; else all public ones", project=False),
    Known("fetch_allow", "str", None, "hosts that fetch_url may ask though they are not public", project=False),
    Known("mcp_servers", "path", None, "the MCP servers that specs may use, a TOML file", project=False),
    Known("turns", "int", 5, "turn ceiling, inclusive", tightens=True),
    Known("tokens", "int", 15000, "token ceiling, inclusive", tightens=True),
    Known("cost_usd", "usd", None, "cost ceiling in US dollars, inclusive", tightens=True),
    Known("time_s", "int", None, "ceiling on wall time in seconds; suspended time does not count", tightens=True),
    Known("tool_calls", "int", None, "ceiling on calls of tools, inclusive", tightens=True),
    Known("errors", "int", 3, "errors in a row that are allowed", tightens=True),
    Known("repeats", "int", 3, "identical calls in a row that are allowed", tightens=True),
    Known("prices", "path", None, "the operator's own prices, a TOML file; else the published ones", project=False),
    Known("billing_workspace", "str", None, "the workspace that pays, by its id in usage reports", project=False),
    Known("api_key_id", "str", None, "the public id of the API key that asks models, never the key", project=False),
    Known("admin_key_file", "path", None, "what reads usage reports: a file of mode 0600", project=False),
    Known("admin_key_command", "str", None, "what reads usage reports: a command that prints it", project=False),
    Known("billed_endpoints", "str", None, "where else calls went that the report bills", project=False),
    Known("model_aliases", "str", None, "names that stand for models; name=model", project=False),
    Known("report_lag", "int", 3600, "seconds until a bucket of a usage report is complete", project=False),
    Known("drift_info", "int", 5, "percent up to which a token_mismatch is an info, inclusive", project=False),
    Known("drift_warn", "int", 20, "percent up to which it is a warning, inclusive; beyond, an alert", project=False),
    Known("drift_count", "int", 3, "drifts of one API key that are an alert together", project=False),
    Known("drift_within", "int", 900, "seconds within which they are, inclusive", project=False),
)
_BY_NAME = {known.name: known for known in KNOWN}


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value and where it comes from."""

    value: Any
    origin: str


class Settings:
    """Every setting with its origin.

    Args:
        flags: What the command line gave; None means not given.
        environment: The process's environment.
        folder: Where the project file is looked for.

    Raises:
        SettingError: A file is not TOML, or holds a key that has no meaning there; the key is named.
    """

    def __init__(
        self, flags: Mapping[str, Any] | None = None, *, environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        project = (Path() if folder is None else folder) / PROJECT_FILE
        user = user_folder(environment) / USER_FILE
        self._sources = (
            ("flag", {name: value for name, value in (flags or {}).items() if value is not None}),
            ("environment", _from_environment(environment)),
            (f"project file {project}", _from_file(project, project=True)),
            (f"user file {user}", _from_file(user, project=False)),
        )

    def get(self, name: str) -> Value:
        """Return a setting; a ceiling is the operator's or the default, or the project's where that is tighter."""
        known = _BY_NAME[name]
        default = ("default", known.default)
        if known.tightens:
            operator, project = self._words(name)
            given = [source for source in (*(operator or [default]), *project) if source[1] is not None]
            origin, value = min(given, key=lambda source: _ceiling(name, source), default=default)
        else:
            origin, value = next(iter(self._found(name)), default)
        return Value(value, _told(known, origin))

    def ceilings(self, spec: Ceilings) -> Ceilings:
        """Return the ceilings of a run: the tightest of operator, project and spec.

        A default counts where neither the operator nor the spec speaks: a project file cannot loosen it.
        """
        chosen: dict[str, int] = {}
        for known in KNOWN:
            if not known.tightens:
                continue
            ceiling = _ceiling_name(known.name)
            (operator, project), promised = self._words(known.name), getattr(spec, ceiling)
            given = [_ceiling(known.name, source) for source in (*operator, *project)]
            if promised is not None:
                given.append(promised)
            elif not operator and known.default is not None:
                given.append(known.default)
            if given:
                chosen[ceiling] = min(given)
        return Ceilings(**chosen)

    def is_flagged(self, name: str) -> bool:
        """Say whether a flag sets it."""
        return name in self._sources[0][1]

    def unless_flagged(self, ceilings: Ceilings) -> Ceilings:
        """Return these ceilings without those that a flag sets."""
        _, flags = self._sources[0]
        given = {_ceiling_name(name) for name in flags}
        return Ceilings(**{name: value for name, value in ceilings.as_row().items() if name not in given})

    def path(self, name: str) -> Path | None:
        """Return a path setting, with `~` expanded; None if it is not set."""
        value, origin = self.get(name).value, self.get(name).origin
        if value is None:
            return None
        if not value or "\0" in value:
            raise SettingError(f"{origin}: {name} is no path", hint="safeloop config")
        try:
            return Path(value).expanduser()
        except RuntimeError:
            message = f"{origin}: whose home folder is meant by {value[:80]!r}?"
            raise SettingError(message, hint="name it in full") from None

    @property
    def ledger(self) -> Path:
        """The ledger's path."""
        path = self.path("ledger")
        return Path("ledger.db") if path is None else path

    @property
    def keys(self) -> Path:
        """The key folder."""
        return self.path("keys") or default_folder()

    @property
    def trust(self) -> Path:
        """The trust folder: the key folder's own unless another is named."""
        return self.path("trust") or self.keys / "self"

    def _found(self, name: str) -> list[tuple[str, Any]]:
        return [(origin, values[name]) for origin, values in self._sources if name in values]

    def _words(self, name: str) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
        """Return the operator's first word and the project's, each with its origin, where they speak."""
        found = self._found(name)
        operator = [(origin, value) for origin, value in found if not origin.startswith("project")]
        return operator[:1], [(origin, value) for origin, value in found if origin.startswith("project")]


def _ceiling_name(setting: str) -> str:
    return _CEILINGS[setting][0] if setting in _CEILINGS else setting


def _ceiling(setting: str, source: tuple[str, Any]) -> int:
    """Return a setting of a ceiling in the ceiling's unit.

    Raises:
        SettingError: It says something else, and the origin is named.
    """
    origin, value = source
    if setting not in _CEILINGS or origin == "default":
        return int(value)
    told = _told(_BY_NAME[setting], origin)
    name = f"{told}: {setting}" if "file " in told else told
    return _CEILINGS[setting][1](name, value)


def user_folder(environment: Mapping[str, str]) -> Path:
    """Return safeloop's folder among the user's configuration (XDG Base Directory)."""
    config = environment.get("XDG_CONFIG_HOME", "")
    home = Path(environment.get("HOME") or Path.home())
    return (Path(config) if Path(config).is_absolute() else home / ".config") / "safeloop"


def _told(known: Known, origin: str) -> str:
    return {"flag": f"flag --{known.name.replace('_', '-')}", "environment": known.variable}.get(origin, origin)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    given = {known.name: environment.get(known.variable, "") for known in KNOWN}
    return {
        name: _converted(_BY_NAME[name], text, _BY_NAME[name].variable) for name, text in given.items() if text
    }


def _converted(known: Known, text: str, where: str) -> Any:
    if known.kind != "int":
        return text
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise SettingError(f"{where} must be a whole number from 0, not {text[:40]!r}")
    return int(text)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # what is wrong with it shows when it is read
    return True


def _from_file(path: Path, *, project: bool) -> dict[str, Any]:
    if not _is_there(path):
        return {}
    try:
        values = tomllib.loads(read_bytes(path, "settings file", _MOST_BYTES).decode())
    except RecursionError:
        raise SettingError(f"{path} is nested too deeply", hint="safeloop help settings") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise SettingError(f"{path} is not TOML: {error}", hint="safeloop help settings") from None
    for name, value in values.items():
        _check_entry(path, name, value, project=project)
    return values


def _check_entry(path: Path, name: str, value: Any, *, project: bool) -> None:
    known = _BY_NAME.get(name)
    if known is None:
        raise SettingError(f"{path}: there is no setting {name!r}", hint="safeloop config lists them")
    if project and not known.project:
        raise SettingError(
            f"{path}: a project file never sets {name}: who is trusted is not the project's to say",
            hint=f"set {known.variable}, or the user file: safeloop config",
        )
    right = isinstance(value, str) and value != ""
    if known.kind == "int":
        right = type(value) is int and value >= 0
    if not right:
        wanted = "a whole number from 0" if known.kind == "int" else "a text"
        raise SettingError(f"{path}: {name} must be {wanted}, not {value!r:.60}")
