"""Any client as the loop wants it, without importing a model SDK unless one is used already."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from safeloop.errors import SettingError
from safeloop.models.deadline import DeadlineExceeded, Lifeline, ending_in, too_late, within
from safeloop.models.protocol import LLMClient

_T = TypeVar("_T")


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


def asked_within(seconds: float | None, client: object, work: Callable[[], _T]) -> _T:
    """Do one request's work with a client, and wait no longer than so many seconds; None waits as long as it takes.

    A client of ours ends the request on the network. Any other is asked in a thread of its own, which is left behind.

    Raises:
        AttemptFailed: The time is over: in doubt, unless the request provably never left.
    """
    if seconds is None:
        return work()
    with ending_in(seconds):  # whatever the client is: it may hand the request on to one of ours
        if getattr(client, "ends_in_time", False):
            return work()
        try:
            return within(seconds, work, Lifeline())
        except DeadlineExceeded:
            raise too_late(seconds, in_doubt=True) from None


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
