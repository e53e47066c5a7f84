"""Sessions on paper, every row signed by the writer, whose loop may keep its word or cheat.

    loop = Loop(book).begin()
    loop.turn(tokens=100).ask(reserved=50_000)
    assert judged(book) == [("ceiling", 4, "granted beyond ...")]
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import Draft, Row, encode, seal, sshsig
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.content import JSON, TEXT, manifest
from safeloop.ledger.kinds import check_data
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from safeloop.ledger.policy import Policy
from safeloop.ledger.rows import NO_ROW, encode_body, parse_row, timestamp
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.trust import APPROVAL_NAMESPACE, REVIEW_NAMESPACE, Trust
from safeloop.review.attesting.attestation import Digests, Statement, statement
from safeloop.review.auditing.word import Word
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.spec import Ceilings, Criterion, ToolGrant, spend_of
from tests.review.sessions import PaperLedger, SessionBuilder

ALICE, BOB = "alice@example.org", "bob@example.org"
PEOPLE = {name: Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32) for at, name in enumerate((ALICE, BOB, "eve"), 2)}
OPERATOR = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)  # the paper ledger's writer
TOOLS = [
    {"name": name, "permission": permission, "schema": "0" * 64}
    for name, permission in (("read_file", "read"), ("write_file", "write"), ("delete_page", "destructive"))
]
START = datetime.fromisoformat("2026-11-21T07:27:00Z")
_NONE = Ceilings()
_EVERYTHING = ToolGrant(("read", "write", "destructive"))
FRAME, OTHER_FRAME = Digests("a" * 64, "b" * 64, None), Digests("c" * 64, "b" * 64, None)


class Book(PaperLedger):
    """A ledger on paper whose clock is set by hand: `now` is the next row's time, and then one second later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START

    def _seal(self, draft: Draft) -> Row:
        check_data(draft.kind, draft.data)
        session = [row for row in self.rows if row.session == draft.session]
        body = encode_body(
            draft, ledger=self.origin, n=len(session), prev=session[-1].leaf if session else NO_ROW,
            at=timestamp(self.now), writer=self._key.key_id,
        )
        row = parse_row(len(self.rows), body, self._key.sign(seal.pae(body)))
        self.now += timedelta(seconds=1)
        self.rows.append(row)
        return row

    def limits(self, **windows: Mapping[str, int]) -> None:
        data = {"hour": {}, "day": {}, "month": {}} | windows
        self.append(lambda _: [Draft("ledger", "limits", data)])

    def reconcile(self, session: str, n: int, charged: int, billed: int, *, said_in: str = "ledger", **more: int) -> None:
        item = {"session": session, "n": n, "charged_tokens": charged, "billed_tokens": billed, **more}
        data = {"source": "usage report", "window": "2026-11", "findings": _commitment(self), "settled": [item]}
        self.append(lambda _: [Draft(said_in, "reconcile", data)])


class Loop(SessionBuilder):
    """A loop's rows, the honest ones by default; every verb takes changes of the row's data."""

    def __init__(self, book: Book, session: str = "one") -> None:
        super().__init__(book, session)
        self.paper = book
        self.asked = 0

    def begin(
        self, ceilings: Mapping[str, int] | None = None, *, promised: Ceilings = _NONE, criteria: tuple[str, ...] = (),
        granted: ToolGrant = _EVERYTHING, **changes: Any,
    ) -> Loop:
        kept = [Criterion(name, "report.md") for name in criteria]
        self.spec(ceilings=promised, criteria=kept, tools=granted)
        given = {"turns": 8, "tokens": 40_000} if ceilings is None else ceilings
        self.open(**{"ceilings": dict(given), "tools": TOOLS} | changes)
        return self

    def ask(self, reserved: int = 5_000, **changes: Any) -> Loop:
        """Append an intent for the next turn."""
        self.asked += 1
        request = self.book.content(manifest([]), JSON)
        small = min(1_024, reserved)
        self.row("intent", {
            "turn": self.asked, "attempt": 1, "model": "scripted", "wanted_max_tokens": 1_024, "max_tokens": small,
            "request": request.commitment, "bound": "bound", "reserved_tokens": reserved, "reserved_microusd": 0,
            "elapsed_ms": 0,
        } | changes)
        return self

    def reply(self, tokens: int = 100, **changes: Any) -> Loop:
        """Append the turn that settles the last intent."""
        asked = next(row for row in reversed(self.rows) if row.kind == "intent")
        usage = {"input": tokens, "cache_write": 0, "cache_read": 0, "output": 0, "thinking": 0, "searches": 0}
        self.row("turn", {
            "turn": asked.data["turn"], "attempt": asked.data["attempt"], "intent": asked.n, "state_origin": "llm",
            "model": "scripted", "input_hash": "0" * 64, "response": None, "stop_reason": "end_turn", "usage": usage,
            "token_delta": tokens, "cost_microusd": 0, "execution_time_ms": 5, "elapsed_ms": 0, "pass_fail": True,
            "overrun": tokens > asked.data["reserved_tokens"], "breach_reason": None,
        } | changes)
        return self

    def step(self, tokens: int = 100, reserved: int = 5_000) -> Loop:
        return self.ask(reserved).reply(tokens)

    def fail(self, charged: int = 0, *, in_doubt: bool = False, status: int | None = 429, **changes: Any) -> Loop:
        """Append the attempt that settles the last intent without a reply."""
        asked = next(row for row in reversed(self.rows) if row.kind == "intent")
        self.row("attempt", {
            "turn": asked.data["turn"], "attempt": asked.data["attempt"], "intent": asked.n,
            "charged_tokens": charged, "charged_microusd": 0, "in_doubt": in_doubt, "elapsed_ms": 0,
            "error": {"class": "E", "status": status, "detail": None}, "execution_time_ms": 1,
        } | changes)
        return self

    def plan(self, tool: str = "write_file", permission: str = "write", *, name: str = "c1", **changes: Any) -> Loop:
        """Append a `call` row."""
        self.row("call", {
            "turn": max(self.asked, 1), "call": name, "tool": tool, "permission": permission,
            "arguments": _commitment(self.book),
        } | changes)
        return self

    def act(self, tool: str = "write_file", permission: str = "write", *, name: str = "c1", error: str | None = None,
            ms: int = 3, **changes: Any) -> Loop:
        """Append a `tool` row, with the arguments of its call."""
        planned = [row.data for row in self.rows if row.kind == "call" and row.data["call"] == name]
        failure = None if error is None else {"class": error, "status": None, "detail": None}
        self.row("tool", {
            "turn": max(self.asked, 1), "call": name, "tool": tool, "permission": permission,
            "arguments": planned[-1]["arguments"] if planned else _commitment(self.book),
            "result": _commitment(self.book), "execution_time_ms": ms, "pass_fail": error is None, "error": failure,
        } | changes)
        return self

    def approve(self, decision: str = "granted", *, by: str = ALICE, key: str = "", until_s: float = 60,
                signed: Mapping[str, Any] | None = None, namespace: str = APPROVAL_NAMESPACE, **changes: Any) -> Loop:
        """Append the decision about the last call; `signed` changes what the reviewer signed."""
        call = next(row for row in reversed(self.rows) if row.kind == "call")
        expires = timestamp(self.paper.now + timedelta(seconds=until_s))
        facts = {"by": by, "call": call.leaf, "decision": decision, "expires_at": expires}
        words = encode(facts | {"ledger": self.paper.origin, "session": self.session} | (signed or {}))
        signer = OPERATOR if key == "operator" else PEOPLE[key or by]
        signature = sshsig.sign(signer, namespace, words)
        self.row("approval", facts | {"statement": words.decode(), "signature": signature} | changes)
        return self

    def end(self, outcome: str = "completed", **changes: Any) -> Loop:
        """Append a close whose figures are the sums."""
        done = [row for row in self.rows if row.kind == "turn"]
        files = _commitment(self.book)
        self.row("close", {
            "outcome": outcome, "reason": None, "turns": len(done), "total_tokens": spend_of(self.rows).tokens,
            "cost_microusd": 0, "elapsed_ms": 9, "output": None, "files": files, "file_count": 0,
        } | changes)
        return self

    def resume(self) -> Loop:
        self.row("resume", {"after": self.last.n, "in_doubt": [], "software": "safeloop 0.1.0"})
        return self

    def attest(self, decision: str = "accept", *, by: str = ALICE, key: str = "", digests: Digests = FRAME,
               stated_s: float = 0, signed: bool = True, size: int | None = None, **changes: Any) -> Loop:
        """Append a reviewer's decision; `changes` are of the statement."""
        close = next((row for row in self.rows if row.kind == "close"), self.last)
        log = Verifier(self.paper.origin, OPERATOR.public_key().public_bytes_raw())
        size = len(self.paper.rows) if size is None else size
        note = sign_checkpoint(Checkpoint(self.paper.origin, size, bytes(32)), log, OPERATOR.sign)
        stated = Statement(**{
            "digests": digests, "checkpoint": note, "decision": decision, "ledger": self.paper.origin, "notes": "",
            "reviewer": by, "session": self.session, "session_head": close.leaf, "session_rows": close.n + 1,
            "stated_at": timestamp(self.paper.now + timedelta(seconds=stated_s)),
        } | changes)
        words = statement(stated)
        signer = OPERATOR if key == "operator" else PEOPLE[key or by]
        self.row("attestation", {
            "decision": decision, "reviewer": by, "frame": digests.frame, "frame_text": _commitment(self.book),
            "notes": "", "statement": words.decode(),
            "signature": sshsig.sign(signer, REVIEW_NAMESPACE, words) if signed else None,
        })
        return self

    def release(self, *attestations: Row, policy: ReleasePolicy | None = None, **changes: Any) -> Loop:
        """Append a release that rests on these, or on every attestation."""
        close = next((row for row in self.rows if row.kind == "close"), None)
        files = _commitment(self.book) if close is None else close.data["files"]
        named = attestations or tuple(row for row in self.rows if row.kind == "attestation")
        self.row("release", {
            "attestations": [row.leaf for row in named], "policy": (policy or ReleasePolicy()).canonical,
            "files": files, "file_count": 0, "destination": "/out",
        } | changes)
        return self


def trust_in(*people: str, release_policy: str | None = None) -> Trust:
    """Pins of an auditor: the writer, and these reviewers."""
    public = {name: PublicKey(PLAIN, key.public_key().public_bytes_raw()) for name, key in PEOPLE.items()}
    reviewers = tuple(AllowedSigner((name,), public[name]) for name in people)
    operator = PublicKey(PLAIN, OPERATOR.public_key().public_bytes_raw())
    own = AllowedSigner((ALICE,), operator)  # pinned as a reviewer by mistake: it never counts
    writers = {"0": AllowedSigner(("writer",), operator)}
    return Trust(Policy({}, {}, {}, None), writers, (*reviewers, own), (), release_policy, Path("/trust"), is_self=False)


def judged(book: Book, *, trust: Trust | None = None, without: tuple[int, ...] = ()) -> list[tuple[str, int, str]]:
    """Return what the rows show against their loops, as (rule, row, words); `without` are rows that are not shown."""
    word = Word(trust or trust_in(ALICE, BOB))
    found = [each for row in book.rows if row.id not in without for each in word.follow(row)]
    assert list(word.finish()) == []
    assert all(each.message.startswith(f"row {each.row}: ") for each in found)
    return [(str(each.rule), each.row or 0, each.message.partition(": ")[2]) for each in found]


def noted(book: Book, trust: Trust, *, without: tuple[int, ...] = ()) -> list[str]:
    """Return the notes after every row."""
    word = Word(trust)
    for row in book.rows:
        if row.id not in without:
            list(word.follow(row))
    return list(word.notes())


def _commitment(book: Any) -> dict[str, Any]:
    return dict(book.content(b"", TEXT).commitment)
