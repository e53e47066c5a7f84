"""The client of OpenAI-compatible servers (llama.cpp, Ollama, vLLM, OpenAI): plain HTTP, always streaming, no retries.

`POST {base_url}/chat/completions` takes a request of the Messages API in the words of `chat_request`, and its stream
is read back by `chat_stream`. There is no `messages.count_tokens`: bytes bound every request. Redirects are not
followed, nothing is read from the environment (no proxy, no .netrc), and certificates are verified.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx2

from safeloop.errors import AttemptFailed, SettingError
from safeloop.models.address import checked_address
from safeloop.models.chat_request import chat_body
from safeloop.models.chat_stream import assemble_chat
from safeloop.models.deadline import Lifeline, check_deadline
from safeloop.models.failure import MOVED
from safeloop.models.reply import Reply
from safeloop.models.transport import (
    FRESH,
    MARGIN_S,
    BadStatus,
    Transport,
    beginning_of,
    check_secret,
    hold_socket,
    streamed_reply,
)

LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")
"""What servers call the limit of output tokens. One that does not know the name ignores it, or refuses the request."""

# Whose newer models refuse `max_tokens`. Everyone else knows it, and not everyone knows the other.
_NEW_NAME_HOSTS: Final = ("openai.com", "openai.azure.com")

_SHORTEST_SECRET: Final = 8  # what is shorter is a local server's placeholder, and a word like any other
_HINTS: Final = {
    200: "check the base URL: it usually ends in /v1",
    401: "check OPENAI_API_KEY",
    403: "check what the API key may use",
    404: "check the model's name, and the base URL: it usually ends in /v1",
}


class OpenAIClient:
    """A client whose `messages.create` returns a `Reply` or raises `AttemptFailed`, once per call.

    Args:
        base_url: Where the API begins, such as `http://127.0.0.1:8080/v1`: without credentials, query or fragment.
        api_key: Sent as a bearer token; None for a server that asks for none. It is in no error, log or repr.
        limit_name: One of `LIMIT_NAMES`; None chooses by the address: `max_completion_tokens` for OpenAI's own
            hosts, `max_tokens` for all others. No request is ever sent twice to find out.
        deadline_s: Seconds that one request may take in all, above 0, at most a day.
        http_client: An `httpx2.Client` to use, with its own proxies, certificates and timeouts.

    Raises:
        SettingError: An argument has no meaning, or OpenAI itself is asked without a key.
    """

    ends_in_time: Final = True

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        limit_name: str | None = None,
        deadline_s: float = 600.0,
        http_client: httpx2.Client | None = None,
    ) -> None:
        check_deadline(deadline_s)
        parts = checked_address(base_url, key="OPENAI_API_KEY")
        if limit_name not in (None, *LIMIT_NAMES):
            raise SettingError(f"limit_name is one of {' and '.join(LIMIT_NAMES)}, not {limit_name!r:.60}")
        if api_key is not None:
            check_secret(api_key)
        is_openai = _is_of(parts, _NEW_NAME_HOSTS)
        if is_openai and not api_key:
            raise SettingError("no API key: OPENAI_API_KEY is not set", hint="export OPENAI_API_KEY=...")
        self.endpoint = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._secret = api_key or ""
        self._limit_name = limit_name or LIMIT_NAMES[is_openai]
        self._owned = http_client is None
        self._http = http_client or httpx2.Client(timeout=deadline_s + MARGIN_S, limits=FRESH, trust_env=False)
        self._transport = Transport(
            self._http, deadline_s, owned=self._owned,
            network=(httpx2.NetworkError, httpx2.TimeoutException, httpx2.ProxyError),
        )
        self.messages = OpenAIMessages(self)

    @property
    def is_private(self) -> bool:
        """Whether what is sent cannot be read on the way: it is encrypted, or stays on this machine."""
        parts = urlsplit(self.endpoint)
        return parts.scheme == "https" or _is_loopback(parts.hostname or "")

    def close(self) -> None:
        """Close the HTTP client, if it was made here."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> OpenAIClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def ask(self, parameters: dict[str, Any]) -> Reply:
        """Send one request and return its complete reply; see `OpenAIMessages.create`."""
        body = chat_body(parameters, self._limit_name)
        headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
        if self._secret:
            headers["authorization"] = f"Bearer {self._secret}"

        def work(lifeline: Lifeline) -> Reply:
            url = f"{self.endpoint}/chat/completions"
            with self._http.stream("POST", url, content=body, headers=headers, follow_redirects=False) as response:
                hold_socket(response, lifeline)
                return _read(response)

        try:
            return self._transport.attempt(work)
        except AttemptFailed as failure:
            self._mend(failure)
            raise

    def _mend(self, failure: AttemptFailed) -> None:
        """Give hints for this kind of server, and take the key out of what the server may have echoed."""
        if failure.status is not None:
            failure.hint = _HINTS.get(failure.status, "")
            if failure.status == 400 and LIMIT_NAMES[1] in failure.detail and self._limit_name == LIMIT_NAMES[0]:
                failure.hint = f"export SAFELOOP_LIMIT_NAME={LIMIT_NAMES[1]}"
            elif 300 <= failure.status < 400:
                failure.hint = MOVED
        elif failure.hint:
            failure.hint = "check the base URL, and that the server runs"
        if len(self._secret) >= _SHORTEST_SECRET:
            failure.detail = failure.detail.replace(self._secret, "[the API key]")


class OpenAIMessages:
    """The messages endpoint of an `OpenAIClient`; it cannot count tokens."""

    def __init__(self, client: OpenAIClient) -> None:
        self._client = client

    def create(self, **parameters: Any) -> Reply:
        """Send one request, streamed, and return its complete reply.

        Args:
            parameters: Those of the Messages API that `chat_body` takes; None is not sent.

        Raises:
            AttemptFailed: No complete reply came: a status other than 200, a lost connection, the deadline, a stream
                without `finish_reason` and `[DONE]`, an answer that is no stream.
            SettingError: The request has no counterpart in chat completions; nothing was sent.
        """
        return self._client.ask(parameters)


def _read(response: httpx2.Response) -> Reply:
    if response.status_code != 200:
        raise BadStatus(response, beginning_of(response))
    return streamed_reply(response, assemble_chat, _lost)


def _lost() -> AttemptFailed:
    return AttemptFailed("the reply broke off: the connection was lost", error_class="CutStream", in_doubt=True)


def _is_of(parts: SplitResult, hosts: tuple[str, ...]) -> bool:
    host = (parts.hostname or "").rstrip(".")
    return any(host == name or host.endswith(f".{name}") for name in hosts)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
