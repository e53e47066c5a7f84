"""Sessions as the loop writes them, row by row: on a real ledger, or on paper, where keys, salts and clock stand still.

    session = SessionBuilder(ledger).spec().open("Audit this page").turn("done", tokens=310)
    session.close("completed", output="All is well.", files={"report.md": (None, b"# Report\n")})

Every verb appends its rows at once and returns the builder; `rows` has all of them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import Content, Draft, Row, View, seal
from safeloop.ledger.content import BYTES, JSON, TEXT, manifest
from safeloop.ledger.keys import SigningKey
from safeloop.ledger.rows import NO_ROW, encode_body, parse_row, timestamp
from safeloop.review.cut import cut_of
from safeloop.review.framing.facts import Facts, gather
from safeloop.spec import Ceilings, Criterion, SpecDraft, SpecResult, ToolGrant, from_row, spend_of, to_row

Files = Mapping[str, tuple[bytes | None, bytes]]
ANSWERS = ("Audit one page", "Change the page", "report.md lists every fault")
CEILINGS = Ceilings(turns=8, tokens=40_000)


class Book(Protocol):
    """What the builder needs of a ledger."""

    def append(self, decide: Callable[[View], Iterable[Draft]]) -> tuple[Row, ...]: ...

    def content(self, data: bytes, media_type: str) -> Content: ...


class PaperLedger:
    """A ledger of one process and no files, whose bytes are the same in every run."""

    origin = "safeloop.local/00000000000000000000000000000001"

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.contents: dict[str, bytes] = {}
        self._key = SigningKey.of(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
        self._salts = 0

    def append(self, decide: Callable[[Any], Iterable[Draft]]) -> tuple[Row, ...]:
        return tuple(self._seal(draft) for draft in decide(None))

    def content(self, data: bytes, media_type: str) -> Content:
        self._salts += 1
        content = Content(data, media_type, hashlib.sha256(b"salt %d" % self._salts).digest())
        self.contents[content.digest.hex()] = data
        return content

    def read(self, commitment: Mapping[str, Any]) -> bytes | None:
        return self.contents.get(commitment["salted_sha256"])

    def _seal(self, draft: Draft) -> Row:
        session = [row for row in self.rows if row.session == draft.session]
        at = datetime(2026, 11, 21, 7, 27, tzinfo=UTC) + timedelta(seconds=len(self.rows))
        body = encode_body(
            draft, ledger=self.origin, n=len(session), prev=session[-1].leaf if session else NO_ROW,
            at=timestamp(at), writer=self._key.key_id,
        )
        row = parse_row(len(self.rows), body, self._key.sign(seal.pae(body)))
        self.rows.append(row)
        return row


class SessionBuilder:
    """Appends the rows of one session.

    Args:
        book: Where to.
        session: Its id; a fresh one if not given.
    """

    def __init__(self, book: Book, session: str | None = None) -> None:
        self.book = book
        self.session = str(uuid.uuid4()) if session is None else session
        self.rows: list[Row] = []
        self._turn = 0
        self._attempt = 0
        self._calls = 0
        self._input_hash = hashlib.sha256(b"").hexdigest()

    def spec(
        self, *answers: str, criteria: Iterable[Criterion] = (), ceilings: Ceilings = CEILINGS,
        tools: ToolGrant | None = None,
    ) -> SessionBuilder:
        grant = ToolGrant() if tools is None else tools
        draft = SpecDraft(*(answers or ANSWERS), criteria=tuple(criteria), ceilings=ceilings, tools=grant)
        return self.row("spec", to_row(draft))

    def open(self, task: str | bytes = "Audit this page.", **changes: Any) -> SessionBuilder:
        data = task if isinstance(task, bytes) else task.encode("utf-8", "surrogatepass")
        content = self.book.content(data, TEXT)
        self._input_hash = hashlib.sha256(data).hexdigest()
        return self.row("open", {
            "spec": self.rows[-1].leaf, "task": content.commitment, "input_hash": self._input_hash,
            "model": "scripted", "endpoint": "scripted:", "ceilings": CEILINGS.as_row(), "parent": None,
            "continues": None, "workspace": None, "billing_workspace": None, "api_key_id": None, "tools": [],
            "software": "safeloop 0.1.0",
        } | changes, content)

    def intent(self, reserved: int = 5_000, **changes: Any) -> SessionBuilder:
        self._turn += 0 if self._attempt else 1
        self._attempt += 1
        request = self.book.content(manifest([]), JSON)
        return self.row("intent", {
            "turn": self._turn, "attempt": self._attempt, "model": "scripted", "wanted_max_tokens": 1_024,
            "max_tokens": 1_024, "request": request.commitment, "bound": "bound", "reserved_tokens": reserved,
            "reserved_microusd": None, "elapsed_ms": 0,
        } | changes, request)

    def attempt(self, error: str = "RateLimitError", *, charged: int = 0, in_doubt: bool = False) -> SessionBuilder:
        return self.row("attempt", {
            "turn": self._turn, "attempt": self._attempt, "intent": self.rows[-1].n, "charged_tokens": charged,
            "charged_microusd": None, "error": {"class": error, "status": None, "detail": None},
            "execution_time_ms": 20, "elapsed_ms": 20, "in_doubt": in_doubt,
        })

    def turn(self, text: str = "done", *, tokens: int = 100, intent: Mapping[str, Any] | None = None,
             **changes: Any) -> SessionBuilder:
        self.intent(**(intent or {}))
        reply = self.book.content(json.dumps({"content": [{"type": "text", "text": text}]}).encode(), JSON)
        usage = {"input": tokens, "cache_write": 0, "cache_read": 0, "output": 0, "thinking": 0, "searches": 0}
        self.row("turn", {
            "turn": self._turn, "attempt": self._attempt, "intent": self.rows[-1].n, "state_origin": "llm",
            "model": "scripted", "input_hash": self._input_hash, "response": reply.commitment,
            "stop_reason": "end_turn", "usage": usage, "token_delta": tokens, "cost_microusd": None,
            "execution_time_ms": 50, "elapsed_ms": 50, "pass_fail": True, "overrun": False, "breach_reason": None,
        } | changes, reply)
        self._attempt = 0
        return self

    def call(self, tool: str = "write_file", permission: str = "write") -> SessionBuilder:
        arguments = self.book.content(b"{}", JSON)
        self._calls += 1
        return self.row("call", {
            "turn": self._turn, "call": f"call_{self._calls}", "tool": tool, "permission": permission,
            "arguments": arguments.commitment,
        }, arguments)

    def tool(self, tool: str = "write_file", *, result: str = "written", error: str | None = None,
             called: bool = True) -> SessionBuilder:
        """Append a `tool` row, after its `call` row unless the tool only reads."""
        if called:
            self.call(tool)
        else:
            self._calls += 1
        arguments, kept = self.book.content(b"{}", JSON), self.book.content(result.encode(), TEXT)
        return self.row("tool", {
            "turn": self._turn, "call": f"call_{self._calls}", "tool": tool,
            "permission": "write" if called else "read", "arguments": arguments.commitment,
            "result": kept.commitment, "execution_time_ms": 3, "pass_fail": error is None,
            "error": None if error is None else {"class": error, "status": None, "detail": None},
        }, arguments, kept)

    def breach(self, reason: str = "turn_ceiling", **changes: Any) -> SessionBuilder:
        return self.row("breach", {
            "turn": self._turn + 1, "state_origin": "circuit_breaker", "breach_reason": reason, "scope": "session",
            "limit": self._turn, "spent": self._turn, "next_at_most": 1, "input_hash": self._input_hash,
            "pass_fail": False, "token_delta": 0, "execution_time_ms": 0,
        } | changes)

    def check(self, criterion: str, passed: bool = True, detail: str | None = "all hold") -> SessionBuilder:
        content = () if detail is None else (self.book.content(detail.encode(), TEXT),)
        return self.row("check", {
            "criterion": criterion, "pass_fail": passed, "detail": content[0].commitment if content else None,
        }, *content)

    def close(self, outcome: str = "completed", *, output: str | bytes | None = None, files: Files | None = None,
              **changes: Any) -> SessionBuilder:
        contents: list[Content] = []

        def committed(data: bytes | None, kind: str = BYTES) -> dict[str, Any] | None:
            if data is None:
                return None
            contents.append(self.book.content(data, kind))
            return contents[-1].commitment

        text = output.encode("utf-8", "surrogatepass") if isinstance(output, str) else output
        staged = sorted((files or {}).items(), key=lambda file: file[0].encode())
        entries = [{"name": name, "before": committed(old), "after": committed(new)} for name, (old, new) in staged]
        return self.row("close", {
            "outcome": outcome, "reason": None, "turns": self._turn, "total_tokens": spend_of(self.rows).tokens,
            "cost_microusd": None, "elapsed_ms": 1_234, "output": committed(text, TEXT),
            "files": committed(manifest(entries), JSON), "file_count": len(entries),
        } | changes, *contents)

    def erase(self, *commitments: Mapping[str, Any]) -> SessionBuilder:
        """Append an `erase` row; what takes the bytes away is the test's business."""
        content = self.book.content(manifest([dict(each) for each in commitments]), JSON)
        return self.row("erase", {
            "contents": content.commitment, "count": len(commitments), "reason": "asked for",
        }, content)

    def row(self, kind: str, data: Mapping[str, Any], *contents: Content) -> SessionBuilder:
        """Append any row."""
        self.rows += self.book.append(lambda _: (Draft(self.session, kind, data, contents),))
        return self

    @property
    def last(self) -> Row:
        """The newest row."""
        return self.rows[-1]

    @property
    def promise(self) -> SpecResult:
        """The spec, as a reader finds it."""
        return from_row(self.session, next(row.data for row in self.rows if row.kind == "spec"))


def paper(session: str = "11111111-1111-4111-8111-111111111111") -> SessionBuilder:
    """Return a builder on paper: the same calls make the same bytes."""
    return SessionBuilder(PaperLedger(), session)


def facts_of(session: SessionBuilder) -> Facts:
    """Return what the frame of a session on paper is made of."""
    assert isinstance(session.book, PaperLedger)
    rows = tuple(session.rows)
    cut = cut_of(rows)
    assert cut is not None
    return gather(session.book.origin, session.promise, rows, cut, session.book.read)


def completed(book: Book, session: str | None = None) -> SessionBuilder:
    """A session without anything unresolved: three turns, one tool, one criterion, one new file."""
    criterion = Criterion("report names the title", "report.md", contains=("Title",), max_chars=500)
    builder = SessionBuilder(book, session).spec(criteria=(criterion,)).open("Audit this page.\nIt is short.")
    builder.turn("I begin", tokens=100).tool().turn("I go on", tokens=120).turn("All is well.", tokens=90)
    builder.check(criterion.name, detail="report.md: 2 of 2 conditions hold")
    return builder.close(output="All is well.", files={"report.md": (None, b"# Title\nnothing is wrong\n")})
