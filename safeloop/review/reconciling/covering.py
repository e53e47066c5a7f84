"""What a report should cover and does not, and until when it is certain to be complete. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from safeloop.review.reconciling.comparing import Comparison
from safeloop.review.reconciling.matching import SKEW
from safeloop.review.reconciling.report import Run, UsageReport, moment

_MOST_LISTED: Final = 100  # places where buckets are missing; the others are one


def certain_until(report: UsageReport, now: int, made: int | None = None) -> int:
    """Return the moment after which a report was certainly made, in microseconds, never after now.

    It has figures of its newest bucket, so it is newer than that. One that has figures of the future says nothing of
    its time: then it is 0, whatever is said of it.

    Args:
        made: When it was made, where that is known.
    """
    if report.newest > now + SKEW:
        return 0
    return min(report.newest if made is None else made, now)


def missing(report: UsageReport, asked: Run | None, until: int) -> tuple[Run, ...]:
    """Return where buckets are missing: between others, and at both ends of what was asked for.

    Args:
        asked: None where nobody asked for more than the report has: it was saved.
        until: Buckets that end later need not be there yet.
    """
    if asked is None or not report.width:
        return report.gaps
    begins = -(-asked.begins // report.width) * report.width
    ends = min(asked.ends, until) // report.width * report.width
    head, tail = Run(begins, min(report.begins, ends)), Run(max(report.ends, begins), ends)
    return tuple(run for run in (head, *report.gaps, tail) if run.begins < run.ends)


def lacks(found: Comparison, report: UsageReport, absent: tuple[Run, ...]) -> Iterator[dict[str, Any]]:
    """Yield what is lacking as the content of a row lists it, so that it is told once.

    Args:
        absent: Where buckets are missing.
    """
    if report.has_more:
        yield {"lacks": "pages", "after": moment(report.ends)}
    for run in absent[:_MOST_LISTED]:
        yield _stretch("buckets", run)
    if len(absent) > _MOST_LISTED:
        yield _stretch("further buckets", Run(absent[_MOST_LISTED].begins, absent[-1].ends))
    if not found.runs:
        yield _stretch("complete buckets", Run(report.begins, report.ends))
    if report.size and not found.lanes.by_key:
        yield {"lacks": "api_key_id"}


def _stretch(what: str, run: Run) -> dict[str, Any]:
    return {"lacks": what, "from": moment(run.begins), "to": moment(run.ends)}
