"""Reading a usage report from bytes, piece by piece: what is kept is what was billed, however long the file is.

A file holds one page as the API answers it, or several: one after another, or in a list. Fields that are not known
are passed over; what is known and has another form is refused, as half a report would prove what is not so.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from safeloop.ledger.encoding import MAX_INTEGER
from safeloop.ledger.visible import visible
from safeloop.review.reconciling.counts import Counts
from safeloop.review.reconciling.report import MOST_RESULTS, Payer, UsageReport, joined, refused

MOST_BYTES: Final = 2_000_000_000
"""Of all files together, inclusive."""

MOST_PAGES: Final = 10_000
_MOST_ITEM: Final = 16_000_000  # characters of one bucket, or of whatever else stands in a page
_PIECE: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_FIELDS: Final = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")


def read_report(chunks: Iterable[bytes]) -> UsageReport:
    """Read the pages of one file.

    Args:
        chunks: The file's bytes, cut anywhere.

    Raises:
        SettingError: It is no usage report, is cut off, nested too deeply, too large, or contradicts itself.
    """
    return joined(tuple(_pages(_Text(chunks))))


class _Text:
    """A text that is read as far as it is needed, of which nothing is kept that was read; a byte order mark is none."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._decoder = iter(chunks), codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._place, self._bytes, self._is_whole = "", 0, 0, False
        self._json = json.JSONDecoder(
            parse_float=_Fraction, parse_constant=_not_json, object_pairs_hook=_once
        )

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            found = _BLANK.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def take(self, character: str) -> None:
        """Pass over this character.

        Raises:
            SettingError: Another one stands there.
        """
        if self.peek() != character:
            raise refused(f"it is not JSON of a usage report, or it is cut off: no {character} where one must be")
        self._place += 1

    def value(self) -> Any:
        """Read one value whole."""
        self.peek()
        while True:
            try:
                found, end = self._json.raw_decode(self._text, self._place)
            except RecursionError:
                raise refused("it is nested too deeply") from None
            except ValueError as error:
                if len(self._text) - self._place > _MOST_ITEM or not self._more():
                    raise refused(f"it is not JSON, or it is cut off: {visible(str(error), 80)}") from None
                continue
            if end < len(self._text) or not self._more():  # a number may go on
                self._place = end
                return found

    def _more(self) -> bool:
        """Read on; False at the end."""
        if self._is_whole:
            return False
        rest = self._text[self._place :]
        pieces, size = [rest], 0
        while size < max(_PIECE, len(rest)):  # doubled each time, so that a long value is not looked at too often
            chunk = next(self._chunks, None)
            if chunk is None:
                self._is_whole = True
                break
            self._bytes, size = self._bytes + len(chunk), size + len(chunk)
            pieces.append(self._decoded(chunk))
        if self._bytes > MOST_BYTES:
            raise refused(f"it is larger than {MOST_BYTES:,} bytes")
        if self._is_whole:
            pieces.append(self._decoded(b"", final=True))
        self._text, self._place = "".join(pieces), 0
        return len(self._text) > len(rest)

    def _decoded(self, chunk: bytes, *, final: bool = False) -> str:
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            raise refused("it is not UTF-8 text") from None


class _Fraction:
    """A number with a point: no count, wherever it stands."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        """Return it as it stood there."""
        return self._text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object: what it names twice could hide what it says first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise refused("a part of it names something twice")
    return found


def _not_json(text: str) -> Any:
    raise ValueError(text)


def _pages(text: _Text) -> Iterator[UsageReport]:
    """Yield the pages of a text: one, one after another, or a list of them."""
    count = 0
    while (first := text.peek()) != "":
        if first == "[":
            text.take("[")
            while text.peek() != "]":
                yield _page(text)
                count = _counted(count)
                if text.peek() == ",":
                    text.take(",")
            text.take("]")
        else:
            yield _page(text)
            count = _counted(count)
    if not count:
        raise refused("it is empty")


def _counted(count: int) -> int:
    if count >= MOST_PAGES:
        raise refused(f"it has more than {MOST_PAGES:,} pages")
    return count + 1


def _page(text: _Text) -> UsageReport:
    """Read one page as it comes: its buckets one by one."""
    page, seen = UsageReport(), set()
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        if not isinstance(name, str) or name in seen:
            raise refused("a page names something twice")
        seen.add(name)
        if name == "data":
            _buckets(text, page)
        else:
            value = text.value()
            if name == "has_more":
                page.has_more = _flag(value)
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if "data" not in seen or "has_more" not in seen:
        raise refused("a page of it has no data, or does not say whether there are more")
    return page


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise refused("has_more is neither true nor false")
    return value


def _buckets(text: _Text, page: UsageReport) -> None:
    text.take("[")
    results = 0
    while text.peek() != "]":
        results += _bucket(text.value(), page)
        if results > MOST_RESULTS:
            raise refused(f"it has more than {MOST_RESULTS:,} results: ask for less time, or for wider buckets")
        if text.peek() != "]":
            text.take(",")
    text.take("]")


def _bucket(value: Any, page: UsageReport) -> int:
    """Take in one bucket; returns how many results it has."""
    if not isinstance(value, dict) or not isinstance(value.get("results"), list):
        raise refused("a bucket has no results")
    begins, ends = (parse_moment(_text(value, name), "a bucket's time") for name in ("starting_at", "ending_at"))
    page.cover(begins, ends)
    for result in value["results"]:
        if not isinstance(result, dict):
            raise refused("a result is not an object")
        payer = Payer(_name(result, "api_key_id"), _name(result, "workspace_id"))
        page.bill(begins, payer, _name(result, "model"), _counts(result))
    return len(value["results"])


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


@lru_cache(maxsize=16)  # a bucket begins where the one before it ends
def parse_moment(value: str, what: str) -> int:
    """Read a time of RFC 3339 with its zone, to the second.

    Raises:
        SettingError: It is none.
    """
    try:
        found = datetime.fromisoformat(value) if len(value) < 64 and "T" in value else None
        if found is not None and found.tzinfo is not None:
            since = found.astimezone(UTC) - _EPOCH
            if since >= timedelta(0) and not since.microseconds:
                return since // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        pass
    raise refused(f"{what} is not a time with its zone: {visible(value, 60)!r}")


def _name(result: dict[str, Any], field: str) -> str | None:
    value = result.get(field)
    if value is not None and not isinstance(value, str):
        raise refused(f"{field} is neither a text nor null")
    return None if value is None else visible(value)


def _counts(result: dict[str, Any]) -> Counts:
    for field in ("uncached_input_tokens", "output_tokens"):
        if field not in result:
            raise refused(f"a result has no {field}: is this the usage report of Messages?")
    fresh, cached, output = (_count(result.get(field), field) for field in _FIELDS)
    written = sum(_count(value, name) for name, value in _object(result, "cache_creation").items()
                  if name.endswith("_input_tokens"))  # a further duration is written all the same
    searches = _count(_object(result, "server_tool_use").get("web_search_requests"), "web_search_requests")
    return Counts(fresh, written, cached, output, searches)


def _object(result: dict[str, Any], field: str) -> dict[str, Any]:
    value = result.get(field)
    if value is not None and not isinstance(value, dict):
        raise refused(f"{field} is not an object")
    return value or {}


def _count(value: object, field: str) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= MAX_INTEGER // 1_000:
        raise refused(f"{visible(field, 60)} is not a count: {visible(repr(value), 40)}")
    return value
