"""The pen of an operator who holds both keys: sessions of a loop that cheats, written on at the end of the ledger.

    liar = Liar(Pen(hand)).begin().step()
    liar.ask(reserved=50_000)
    liar.paper.publish()

Every row is well signed, in its chain and in the tree, and its content is there: only what the rows say is wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from safeloop.ledger import Content, Draft, Row
from safeloop.ledger.content import JSON, manifest
from safeloop.ledger.rows import parse_row
from safeloop.ledger.trust import APPROVAL_NAMESPACE, REVIEW_NAMESPACE
from tests.attacks.scene import Hand, public
from tests.review.attacks import raw
from tests.review.auditing.loops import PEOPLE, Book, Loop

APPROVER = "bob@example.org"
GAMMA = "gamma"


class Pen(Book):
    """A ledger on paper that is the attacked one: rows begin a month after its last, so that every window is fresh."""

    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self.hand, self.origin, self._key = hand, hand.scene.origin, hand.writer
        self.rows = [parse_row(idx, *sealed) for idx, sealed in enumerate(hand.rows)]
        later = datetime.fromisoformat(self.rows[-1].at) + timedelta(days=40)
        self.now = later.replace(day=1, hour=7, minute=0, second=0, microsecond=0)

    def content(self, data: bytes, media_type: str) -> Content:
        content = super().content(data, media_type)
        with raw(self.hand.contents) as sql:
            sql.execute("INSERT INTO content (salted_sha256, salt, bytes, type) VALUES (?, ?, ?, ?)",
                        (content.digest, content.salt, content.data, content.type))
        return content

    def _seal(self, draft: Draft) -> Row:
        row = super()._seal(draft)
        self.hand.rows.append((row.body, row.sig))
        return row

    def publish(self) -> None:
        """Put the rows into the file, with tree and head as the log key makes them."""
        self.hand.write()


class Liar(Loop):
    """A loop's rows, honest but for what is changed."""

    def __init__(self, pen: Pen, session: str = GAMMA) -> None:
        super().__init__(pen, session)
        self.nothing = pen.content(manifest([]), JSON).commitment

    def end(self, outcome: str = "completed", **changes: Any) -> Loop:
        return super().end(outcome, **{"files": self.nothing} | changes)


def gamma(hand: Hand) -> Liar:
    """Begin to tell a session of one's own: its spec is row 20, its open row 21, its first intent 22."""
    return Liar(Pen(hand))


def publish(loop: Loop) -> None:
    """Put into the file what a loop of a pen has written."""
    assert isinstance(loop.paper, Pen)
    loop.paper.publish()


def pin_approver(hand: Hand) -> None:
    """Have the auditor pin a second person, who may approve and is none of the operator's."""
    hand.pin(reviewers=f'{APPROVER} namespaces="{APPROVAL_NAMESPACE},{REVIEW_NAMESPACE}" {public(PEOPLE[APPROVER])}')
