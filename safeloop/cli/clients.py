"""Which client answers a run: a script, the offline auditor, an OpenAI-compatible server, or Claude."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from safeloop.cli.settings import Settings
from safeloop.errors import SettingError
from safeloop.models import ScriptedClient
from safeloop.models.offline import MODEL as OFFLINE
from safeloop.models.offline import OfflineAuditor
from safeloop.models.scripted import SCRIPT_MODEL


def client_for(settings: Settings, script: Path | None, warn: Callable[[str], None]) -> tuple[object, str]:
    """Return a client and the model's name.

    Raises:
        SettingError: The script or the base URL is unusable, or there is no API key for Claude; the hint names what
            needs none.
    """
    if script is not None:
        return ScriptedClient.from_file(script), SCRIPT_MODEL
    model: str = settings.get("model").value
    if model == OFFLINE:
        return OfflineAuditor(), OFFLINE
    if get_close_matches(model, [OFFLINE]):
        raise SettingError(f"there is no model {model!r} here", hint=f"did you mean {OFFLINE}?")
    if settings.get("base_url").value is not None:
        return _compatible(settings, warn), model
    from safeloop.models.anthropic import AnthropicClient  # noqa: PLC0415 - importing the SDK takes most of a second

    return AnthropicClient(), model


def _compatible(settings: Settings, warn: Callable[[str], None]) -> object:
    """Make the client of an OpenAI-compatible server; the default model is another provider's, and is not asked for."""
    if settings.get("model").origin == "default":
        raise SettingError("which model of that server?", hint="safeloop run --base-url URL --model NAME ...")
    from safeloop.models.openai import OpenAIClient  # noqa: PLC0415 - nor the HTTP client for those who judge

    client = OpenAIClient(
        settings.get("base_url").value,
        api_key=os.environ.get("OPENAI_API_KEY") or None,
        limit_name=settings.get("limit_name").value,
    )
    if not client.is_private:
        warn(f"warning: {client.endpoint} is not encrypted: others may read the key, the task and the replies")
    return client
