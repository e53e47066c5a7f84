"""A provider on loopback that answers Messages, bills exactly what it was sent, and serves the usage report of it.

    with UsageServer(["hello", Fault.cut("half")]) as server:
        ...                                                      # any number of clients and processes
        GET {server.url}/v1/organizations/usage_report/messages  # with server.admin_key

`server.charges` is the bill, to be tampered with: each with its moment, model, API key and usage. `server.late_s` is
added to the provider's clock; `server.answers` are `Fault`s, or bodies, with which the next requests for a page are
answered; `server.page_size` cuts a report into pages.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.anthropic_server import AnthropicServer, Script, Seen
from tests.servers.faults import Fault

REPORT = "/v1/organizations/usage_report/messages"
WIDTHS = {"1m": 60, "1h": 3_600, "1d": 86_400}
MOST = {"1m": 1_440, "1h": 168, "1d": 31}


@dataclass
class Charge:
    """One reply on the bill; `at` is in seconds since 1970, by the provider's clock."""

    at: float
    model: str
    usage: dict[str, int]
    api_key_id: str | None = "apikey_01"
    workspace_id: str | None = "wrkspc_01"


class UsageServer(AnthropicServer):
    """See the module's docstring."""

    def __init__(self, script: Script = (), *, now: Any = time.time) -> None:
        super().__init__(script)
        self.charges: list[Charge] = []
        self.api_key_id, self.workspace_id = "apikey_01", "wrkspc_01"
        self.admin_key = "sk-ant-admin-of-this-test"
        self.now, self.late_s = now, 0.0
        self.page_size: int | None = None
        self.answers: list[Any] = []

    @property
    def asked(self) -> list[Seen]:
        return [each for each in self.requests if urlsplit(each.path).path == REPORT]

    def complete(self, reply: Any, request: dict[str, Any]) -> dict[str, Any]:
        return {**super().complete(reply, request), "model": request["model"]}

    def bill(self, made: dict[str, Any]) -> None:
        super().bill(made)
        usage = made.get("usage")
        if isinstance(usage, dict):
            at = self.now() + self.late_s
            self.charges.append(Charge(at, made["model"], dict(usage), self.api_key_id, self.workspace_id))

    def elsewhere(self, seen: Seen) -> tuple[int, dict[str, str], Any]:
        address = urlsplit(seen.path)
        if address.path != REPORT:
            return super().elsewhere(seen)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Fault):
                return answer.code, answer.headers, answer.body
            return 200, {}, answer
        if seen.headers.get("x-api-key") != self.admin_key or "anthropic-version" not in seen.headers:
            return 401, {}, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
        return 200, {}, self.page(parse_qs(address.query))

    def page(self, asked: dict[str, list[str]]) -> dict[str, Any]:
        width = asked.get("bucket_width", ["1d"])[0]
        every = WIDTHS[width]
        first = _seconds(asked["starting_at"][0]) // every * every
        last = _seconds(asked["ending_at"][0])
        limit = min(int(asked.get("limit", ["7"])[0]), self.page_size or MOST[width])
        assert limit <= MOST[width], "the real one refuses that"
        place = int(base64.b64decode(asked["page"][0])) if "page" in asked else first
        starts = range(place, last, every)
        data = list(self.buckets(starts[:limit], every, asked.get("group_by[]", [])))
        has_more = len(starts) > limit
        token = base64.b64encode(str(starts[limit]).encode()).decode() if has_more else None
        return {"data": data, "has_more": has_more, "next_page": token}

    def buckets(self, starts: range, every: int, group: list[str]) -> Iterator[dict[str, Any]]:
        for start in starts:
            sums: dict[tuple[str | None, ...], list[int]] = {}
            for charge in [each for each in self.charges if start <= each.at < start + every]:
                key = tuple(getattr(charge, name) if name in group else None
                            for name in ("api_key_id", "workspace_id", "model"))  # fmt: skip
                counts = [_count(charge.usage, name) for name in (
                    "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")]
                sums[key] = [one + two for one, two in zip(sums.get(key, [0] * 4), counts, strict=True)]
            yield {
                "starting_at": _rfc3339(start), "ending_at": _rfc3339(start + every),
                "results": [
                    {"api_key_id": key[0], "workspace_id": key[1], "model": key[2], "service_tier": None,
                     "context_window": None, "uncached_input_tokens": one, "cache_read_input_tokens": three,
                     "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": two},
                     "output_tokens": four, "server_tool_use": {"web_search_requests": 0}}
                    for key, (one, two, three, four) in sums.items()
                ],
            }  # fmt: skip


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if type(value) is int and value > 0 else 0


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
