"""Any client as the loop wants it, without importing a model SDK unless one is used already."""

from __future__ import annotations

from safeloop.errors import SettingError
from safeloop.models.protocol import LLMClient


def is_anthropic_client(obj: object) -> bool:
    """Whether this is a client of the Anthropic SDK, sync or async, judged by its classes alone."""
    return bool(_sdk_classes(obj) & {"SyncAPIClient", "AsyncAPIClient"})


def adapt(client: object) -> LLMClient:
    """Wrap an Anthropic client in our adapter; leave any other client as it is.

    Raises:
        SettingError: The client is async, speaks another stream format, or has no `messages.create`.
    """
    names = _sdk_classes(client)
    if "AsyncAPIClient" in names:
        raise SettingError(
            "the loop runs one turn after another, and cannot use an async client",
            hint="pass anthropic.Anthropic(...) in place of anthropic.AsyncAnthropic(...)",
        )
    check_readable(client)
    if "SyncAPIClient" in names:
        from safeloop.models.anthropic import AnthropicClient  # noqa: PLC0415  imports the SDK

        return AnthropicClient(client)  # type: ignore[arg-type]  # judged by its classes
    if not isinstance(client, LLMClient) or not callable(getattr(client.messages, "create", None)):
        raise SettingError(
            f"a client needs messages.create(...), and {type(client).__name__} has none",
            hint="pass anthropic.Anthropic(), or an object whose messages.create(...) returns a reply",
        )
    return client


def check_readable(client: object) -> None:
    """Refuse a client of the SDK whose streams cannot be read here.

    Raises:
        SettingError: It is one.
    """
    if "BaseBedrockClient" in _sdk_classes(client):
        raise SettingError(
            "AnthropicBedrock streams in a format of its own, which cannot be read here",
            hint="pass anthropic.AnthropicBedrockMantle(...), or any object with messages.create(...)",
        )


def _sdk_classes(obj: object) -> set[str]:
    return {base.__name__ for base in type(obj).__mro__ if base.__module__.split(".")[0] == "anthropic"}
