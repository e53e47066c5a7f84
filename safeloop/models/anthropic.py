"""The Anthropic client: the real SDK, always streaming, never retrying, ended at a deadline.

The stream is read as bytes and put together here (`sse`, `assembly`), not by the SDK: the SDK returns normally
where a stream is cut, and hands over tool calls cut in the middle. `Reply.raw` is the message so put together,
as compact JSON: what the server would have sent unstreamed. Its blocks are exactly those that came, thinking
signatures included, and `replay` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import anthropic
import httpx2

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models.address import shown_address
from safeloop.models.assembly import assemble, cut_stream
from safeloop.models.credentials import missing_key
from safeloop.models.deadline import Lifeline, check_deadline
from safeloop.models.reply import Reply, read_reply
from safeloop.models.shapes import field
from safeloop.models.transport import (
    FRESH,
    MARGIN_S,
    Transport,
    check_secret,
    hold_socket,
    streamed_reply,
    unredirected,
)
from safeloop.models.usage import COUNT_LIMIT

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The provider's count of a request's input tokens: its own estimate, and free."""

    input_tokens: int


class AnthropicClient:
    """A client whose `messages.create` returns a `Reply` or raises `AttemptFailed`, once per call.

    Args:
        client: An `anthropic.Anthropic` to use, with its credentials, its HTTP client and its middleware; its
            own timeouts hold too. Without one, a client is made: every request on a connection of its own.
        api_key: As for the SDK, which reads ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN where it is None.
        base_url: As for the SDK, which reads ANTHROPIC_BASE_URL where it is None.
        deadline_s: Seconds that one request may take in all, above 0, at most a day.
        http_client: An `httpx2.Client` for the client that is made.

    Raises:
        SettingError: No credential, or arguments that have no meaning.
    """

    ends_in_time: Final = True

    def __init__(
        self,
        client: anthropic.Anthropic | None = None,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        deadline_s: float = 600.0,
        http_client: httpx2.Client | None = None,
    ) -> None:
        check_deadline(deadline_s)
        self.deadline_s = deadline_s
        self._owned: httpx2.Client | None = None
        if client is None:
            if http_client is None:
                self._owned = _http_client(deadline_s + MARGIN_S)
            made = _made(api_key, base_url, http_client or self._owned, deadline_s + MARGIN_S)
            self._sdk = made if http_client is None else made.with_options(middleware=[_unredirected])
        elif api_key is not None or base_url is not None or http_client is not None:
            raise SettingError("give a client, or what it is made of, but not both")
        else:
            # Retries are the loop's, each one reserved; and what is reserved is asked once, where the row says.
            self._sdk = client.with_options(max_retries=0, middleware=[*client.middleware, _unredirected])
        _check_address(str(self._sdk.base_url))
        _check_credentials(self._sdk)
        self._transport = Transport(
            getattr(self._sdk, "_client", None), deadline_s,
            owned=self._owned is not None, network=(anthropic.APIConnectionError,),
        )
        self.messages = AnthropicMessages(self)

    @property
    def endpoint(self) -> str:
        """Where requests go, without credentials."""
        return shown_address(str(self._sdk.base_url))

    def close(self) -> None:
        """Close the HTTP client, if it was made here."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> AnthropicClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def attempt(self, work: Callable[[anthropic.Anthropic, Lifeline], _T]) -> _T:
        """Do one request's work with the SDK, ended at the deadline.

        Raises:
            AttemptFailed: It brought no result.
        """
        return self._transport.attempt(lambda lifeline: work(self._sdk, lifeline))


class AnthropicMessages:
    """The messages endpoint of an `AnthropicClient`."""

    def __init__(self, client: AnthropicClient) -> None:
        self._client = client

    def create(self, **parameters: Any) -> Reply:
        """Send one request, streamed, and return its complete reply.

        Args:
            parameters: Those of the Messages API (`model`, `max_tokens`, `system`, `messages`, `tools`,
                `thinking`, ...), sent as they are; None is not sent.

        Raises:
            AttemptFailed: No complete reply came: a status, a lost connection, the deadline, a stream without
                `message_stop`, an answer that is no stream.
        """
        given = {**_given(parameters), "stream": True}

        def work(sdk: anthropic.Anthropic, lifeline: Lifeline) -> Reply:
            stream: Any = sdk.messages.create(**given)
            response = getattr(stream, "response", None)
            if not isinstance(response, httpx2.Response):
                return read_reply(stream)  # a middleware answered in the server's place
            try:
                return _read(response, lifeline)
            finally:
                stream.close()

        return self._client.attempt(work)

    def count_tokens(self, **parameters: Any) -> TokenCount:
        """Ask the provider how many input tokens a request has; free, and never in doubt.

        Raises:
            AttemptFailed: No count came.
        """
        given = _given(parameters)
        try:
            counted = self._client.attempt(lambda sdk, _lifeline: sdk.messages.count_tokens(**given))
        except AttemptFailed as exc:
            exc.in_doubt = False
            raise
        count = field(counted, "input_tokens")
        if type(count) is not int or not 0 <= count <= COUNT_LIMIT:
            raise AttemptFailed(
                "the server's answer to count_tokens is no count", error_class="BadCount", in_doubt=False
            )
        return TokenCount(count)


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _read(response: httpx2.Response, lifeline: Lifeline) -> Reply:
    hold_socket(response, lifeline)
    return streamed_reply(response, assemble, cut_stream, "check ANTHROPIC_BASE_URL, or the proxy in between")


def _http_client(timeout_s: float) -> httpx2.Client:
    return anthropic.DefaultHttpxClient(timeout=timeout_s, limits=FRESH, follow_redirects=False)


def _unredirected(request: Any, call_next: Callable[[Any], Any]) -> Any:
    """Send a request where it was addressed to, and nowhere else."""
    return call_next(unredirected(request.copy()))


def _made(
    api_key: str | None, base_url: str | None, http_client: httpx2.Client | None, timeout_s: float
) -> anthropic.Anthropic:
    try:
        return anthropic.Anthropic(
            api_key=api_key, base_url=base_url, http_client=http_client, timeout=timeout_s, max_retries=0
        )
    except (anthropic.AnthropicError, httpx2.InvalidURL, TypeError, ValueError) as exc:
        raise SettingError(f"the Anthropic client could not be made: {exc}") from exc


def _check_address(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(
            "the model's address does not begin with https:// or http:// and a host",
            hint="check ANTHROPIC_BASE_URL, or unset it",
        )


def _check_credentials(sdk: anthropic.Anthropic) -> None:
    secrets = [secret for secret in (sdk.api_key, sdk.auth_token) if secret is not None]
    for secret in secrets:
        check_secret(secret)
    headers = {name.lower() for name in sdk.default_headers}
    if not secrets and getattr(sdk, "credentials", None) is None and not headers & {"authorization", "x-api-key"}:
        raise missing_key()
