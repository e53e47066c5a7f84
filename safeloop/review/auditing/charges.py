"""What the file says that rows charge to each hour, compared with what they do: reservations are decided by it.

The arithmetic is the writer's (`ledger.charges`), on rows whose signatures and places hold. Memory is flat: an hour to
which nothing more can be charged is compared and forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from safeloop.errors import LedgerError
from safeloop.ledger import Row, visible
from safeloop.ledger.charges import Held, post
from safeloop.ledger.reader import LedgerReader
from safeloop.review.auditing.findings import Finding, Rule, counted, finding

_Figures = tuple[int, int, int]
_UNITS = ("tokens", "microusd", "sessions")


class _Recount:
    """A book in memory; see `ledger.charges.Book`.

    Attributes:
        newest: The newest hour so far.
        hours: What is charged to hours that are not over yet: the newest, and those of open intents and of attempts in
            doubt.
        held: Those, by session and place.
    """

    def __init__(self) -> None:
        self.hours: dict[str, _Figures] = {}
        self.held: dict[tuple[str, int], Held] = {}
        self._doubts: dict[tuple[str, int], tuple[str, int]] = {}
        self._holders: Counter[str] = Counter()
        self.newest = ""

    def newest_hour(self) -> str:
        """Return the newest hour so far."""
        return self.newest

    def charge(self, hour: str, tokens: int, microusd: int, sessions: int) -> None:
        """Add to an hour."""
        before = self.hours.get(hour)
        if before is None:
            self.newest, before = max(self.newest, hour), (0, 0, 0)
        self.hours[hour] = before[0] + tokens, before[1] + microusd, before[2] + sessions

    def hold(self, held: Held) -> None:
        """Keep an open intent or an attempt in doubt."""
        place = held.session, held.n
        if place in self.held:
            self._holders[self.held[place].hour] -= 1
        self._holders[held.hour] += 1
        self.held[place] = held
        if held.attempt is not None:
            self._doubts[held.session, held.attempt] = place

    def found(self, session: str, n: int) -> Held | None:
        """Return what is kept of an intent, by its place or by that of its attempt in doubt."""
        place = (session, n)
        held = self.held.get(place)
        return self.held.get(self._doubts.get(place, place)) if held is None and self._doubts else held

    def release(self, held: Held) -> None:
        """Keep it no longer."""
        del self.held[held.session, held.n]
        self._holders[held.hour] -= 1

    def ended(self) -> Iterator[tuple[str, _Figures]]:
        """Yield hours to which nothing more can be charged, and forget them."""
        for hour in [each for each in self.hours if each != self.newest and not self._holders[each]]:
            del self._holders[hour]
            yield hour, self.hours.pop(hour)


class ChargeCheck:
    """The tables `hour` and `held`, compared with the rows as they are followed.

    Where the schema is another, or a row was not shown, that was the finding, and nothing is compared.
    """

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self._book = _Recount()
        self._next = self._hours = 0
        self._is_asked = reader.schema_is_intact()
        self._wrong: dict[str, str] = {}
        self._fault = ""

    def follow(self, row: Row) -> None:
        """Take in the next row; one that is passed over is noticed."""
        self.follow_all((row,))

    def follow_all(self, rows: Sequence[Row]) -> None:
        """Take in the next rows, at least one, at positions that follow each other."""
        self._is_asked = self._is_asked and rows[0].idx == self._next
        if not self._is_asked:
            return
        self._next += len(rows)
        book = self._book
        for row in rows:
            newest = book.newest
            post(book, row)
            if book.newest != newest:
                for hour, figures in book.ended():
                    self._compare(hour, figures)

    def finish(self, end: int) -> Iterator[Finding]:
        """Compare what is left, if every row up to this position was shown; yield what was found."""
        if not self._is_asked or self._next != end or not self._is_whole(end):
            return
        for hour, figures in self._book.hours.items():
            self._compare(hour, figures)
        try:
            excess = self._reader.hour_count() - self._hours
            differing = list(self._differing())
        except LedgerError as error:
            self._fault = self._fault or str(error)
        if self._fault:
            yield finding(Rule.DERIVED, f"what was charged cannot be read: {self._fault}")
            return
        if self._wrong:
            hour, words = next(iter(self._wrong.items()))
            more = f", and {counted(len(self._wrong) - 1, 'other hour')}" if len(self._wrong) > 1 else ""
            yield finding(Rule.DERIVED, f"table hour misstates {hour}: {words}{more}")
        elif excess:
            yield finding(Rule.DERIVED, f"table hour lists {counted(excess, 'hour')} of which no row tells")
        if differing:
            session, n = differing[0]
            words = f"table held misstates {counted(len(differing), 'intent')}, the first at n {visible(str(n))}"
            yield finding(Rule.DERIVED, words, session=session if isinstance(session, str) else None)

    def _is_whole(self, end: int) -> bool:
        try:
            return self._reader.size() == end
        except LedgerError:  # a file that cannot be read to its end is a finding already
            return False

    def _compare(self, hour: str, figures: _Figures) -> None:
        self._hours += 1
        try:
            stored = self._reader.charged_in(hour)
        except LedgerError as error:
            self._fault = self._fault or str(error)
            return
        if stored is None:
            self._wrong[hour] = "it is not listed"
        elif not _is_same(stored, figures):
            at = next(at for at in range(len(_UNITS)) if not _is_same(stored[at:at + 1], figures[at:at + 1]))
            said = f"{stored[at]:,} {_UNITS[at]}" if type(stored[at]) is int else f"{_UNITS[at]} that are no integer"
            self._wrong[hour] = f"{said}, and its rows add up to {figures[at]:,}"

    def _differing(self) -> Iterator[tuple[object, object]]:
        """Yield session and place of what is kept otherwise than rows say, or not at all, or without any row."""
        left = dict(self._book.held)
        for stored in self._reader.everything_held():
            place = (stored[0], stored[1])
            held = left.pop(place, None)
            if held is None or not _is_same(stored, held):
                yield place
        yield from left


def _is_same(stored: Sequence[object], made: Sequence[object]) -> bool:
    """Say whether values are equal and of the same types: a real that equals an integer is another value to SQLite."""
    return [(type(each), each) for each in stored] == [(type(each), each) for each in made]
