"""Which client answers a run: a script, the offline auditor, an OpenAI-compatible server, or Claude."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from safeloop.cli.settings import Settings
from safeloop.errors import SettingError
from safeloop.loop.opening import NOBODY, Billing
from safeloop.models import ScriptedClient
from safeloop.models.credentials import missing_key
from safeloop.models.offline import MODEL as OFFLINE
from safeloop.models.offline import OfflineAuditor
from safeloop.models.scripted import SCRIPT_MODEL

# All others can hold a credential that models are asked with, or lead to one.
_NO_SECRETS = ("ANTHROPIC_BASE_URL", "ANTHROPIC_LOG", "ANTHROPIC_ADMIN_KEY")


def client_for(
    settings: Settings, script: Path | None, warn: Callable[[str], None], *, model: str | None = None, played: int = 0
) -> tuple[object, str]:
    """Return a client and the model's name.

    Args:
        model: The one that a session was opened with; None is the setting's.
        played: How many replies of a script were played already.

    Raises:
        SettingError: The script or the base URL is unusable, or there is no API key for Claude; the hint names what
            needs none.
    """
    if script is not None:
        return ScriptedClient.from_file(script, played=played), SCRIPT_MODEL
    if model == SCRIPT_MODEL:
        raise SettingError("the replies come from a script: which file?", hint="the same command with --script FILE")
    is_chosen = model is not None or settings.get("model").origin != "default"
    model = settings.get("model").value if model is None else model
    if model == OFFLINE:
        return OfflineAuditor(), OFFLINE
    if get_close_matches(model, [OFFLINE]):
        raise SettingError(f"there is no model {model!r} here", hint=f"did you mean {OFFLINE}?")
    if settings.get("base_url").value is not None:
        if not is_chosen:  # the default model is another provider's, and is not asked for
            raise SettingError("which model of that server?", hint="safeloop run --base-url URL --model NAME ...")
        return _compatible(settings, warn), model
    _check_key()
    from safeloop.models.anthropic import AnthropicClient  # noqa: PLC0415 - importing the SDK takes most of a second

    return AnthropicClient(), model


def billing_of(settings: Settings, client: object) -> Billing:
    """Return who pays, as usage reports name it; nobody where the client asks no provider that has such reports.

    Raises:
        SettingError: A setting is no such name, or holds a key.
    """
    named = Billing(settings.get("billing_workspace").value, settings.get("api_key_id").value)
    is_claude = settings.get("base_url").value is None and not isinstance(client, ScriptedClient | OfflineAuditor)
    return named if is_claude else NOBODY


def _check_key() -> None:
    """Refuse, before the SDK is loaded, where it could find nothing: no variable of its own, and no folder.

    Raises:
        SettingError: There is no key.
    """
    named = any(name.startswith("ANTHROPIC_") and name not in _NO_SECRETS and os.environ[name] for name in os.environ)
    if not named and not (Path.home() / ".config/anthropic").exists():
        raise missing_key()


def _compatible(settings: Settings, warn: Callable[[str], None]) -> object:
    """Make the client of an OpenAI-compatible server."""
    from safeloop.models.openai import OpenAIClient  # noqa: PLC0415 - nor the HTTP client for those who judge

    client = OpenAIClient(
        settings.get("base_url").value,
        api_key=os.environ.get("OPENAI_API_KEY") or None,
        limit_name=settings.get("limit_name").value,
    )
    if not client.is_private:
        warn(f"warning: {client.endpoint} is not encrypted: others may read the key, the task and the replies")
    return client
