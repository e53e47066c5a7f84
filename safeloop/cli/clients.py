"""Which client answers a run: a script, the offline auditor, or Claude."""

from __future__ import annotations

from pathlib import Path

from safeloop.cli.settings import Settings
from safeloop.loop import DEFAULT_MODEL
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
    model = settings.get("model").value or DEFAULT_MODEL
    if model == OFFLINE:
        return OfflineAuditor(), OFFLINE
    from safeloop.models.anthropic import AnthropicClient  # noqa: PLC0415 - importing the SDK takes most of a second

    return AnthropicClient(), model
