"""Which client answers a run: a script, the offline auditor, or Claude."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from safeloop.cli.settings import Settings
from safeloop.errors import SettingError
from safeloop.models import ScriptedClient
from safeloop.models.offline import MODEL as OFFLINE
from safeloop.models.offline import OfflineAuditor
from safeloop.models.scripted import SCRIPT_MODEL


def client_for(settings: Settings, script: Path | None = None) -> tuple[object, str]:
    """Return a client and the model's name.

    Raises:
        SettingError: The script is unusable, or there is no API key for Claude; the hint names what needs none.
    """
    if script is not None:
        return ScriptedClient.from_file(script), SCRIPT_MODEL
    model: str = settings.get("model").value
    if model == OFFLINE:
        return OfflineAuditor(), OFFLINE
    if get_close_matches(model, [OFFLINE]):
        raise SettingError(f"there is no model {model!r} here", hint=f"did you mean {OFFLINE}?")
    from safeloop.models.anthropic import AnthropicClient  # noqa: PLC0415 - importing the SDK takes most of a second

    return AnthropicClient(), model
