"""How the offline auditor goes about an audit: list, read, write, end, each step decided from what is known.

A function of the conversation: it asks nobody, remembers nothing and obeys nothing that it reads. The path that
it writes to is its own. A tool that failed ends the audit; nothing is tried twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeloop.models.offline.findings import Subject, shown
from safeloop.models.offline.reader import read_page
from safeloop.models.offline.report import audit, counted, reports
from safeloop.models.offline.request import block_bytes, size
from safeloop.models.offline.task import pages_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from safeloop.models.offline.report import Audit
    from safeloop.models.offline.request import Conversation, Exchange

REPORT = "report.md"
PAGES_AT_MOST = 5  # read in one run; the final text says how many were not


@dataclass(frozen=True, slots=True)
class Step:
    """The next reply: content blocks of the Messages API, and why they end."""

    content: tuple[dict[str, Any], ...]
    stop_reason: str

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of what is said and called."""
        return sum(map(block_bytes, self.content))


def next_step(known: Conversation, tools: frozenset[str], room: int) -> Step:
    """Decide on the next reply.

    Args:
        known: The conversation so far.
        tools: Names of the tools that may be called.
        room: UTF-8 bytes of the reply, inclusive, at least 4: any one character fits.
    """
    failed = next((exchange for exchange in known.exchanges if exchange.failed), None)
    if failed:
        called = f"{failed.tool} {failed.path}".rstrip()
        return _say(known, room, f"{shown(called, 80)} failed: {shown(failed.answer, 300)}\n"
                                 "The audit ends here, unfinished.")
    audits = _audits(known)
    if audits:
        return _deliver(audits, known, tools, room)
    if not {"list_files", "read_file"} <= tools:
        return _say(known, room, "There is no page to audit: the task holds no HTML, and the tools "
                                 "list_files and read_file are not offered.")
    listed = known.answers("list_files")
    if not listed:
        return _call(known, room, [("list_files", {})])
    chosen = _chosen(listed, known.task.words)
    if not chosen:
        return _say(known, room, "There is no page to audit: list_files named no .html or .htm file.")
    return _call(known, room, [("read_file", {"path": name}) for name in chosen])


def _audits(known: Conversation) -> tuple[Audit, ...]:
    """Judge the page of the task, or else the pages that were read."""
    task, read = known.task, known.answers("read_file")
    if task.html is not None:
        subject = Subject(read_page(task.html), task.url, task.status)
        # A task may hold a part of the page: its lines are not those of the file.
        note = "Judged is the HTML in the task; lines are counted there."
        return (audit(task.url or "the page in the task", subject, note=note),)
    # An address or status in the task could be that of any one of several pages.
    url, status = (task.url, task.status) if len(read) == 1 else (None, None)
    return tuple(
        audit(page.path, Subject(read_page(page.answer, left_out=page.left_out), url, status)) for page in read
    )


def _chosen(listed: Iterable[Exchange], words: str) -> list[str]:
    found = [name for exchange in listed for name in pages_named(exchange.answer)]
    return ([name for name in found if name in words] or found)[:PAGES_AT_MOST]


def _deliver(audits: Sequence[Audit], known: Conversation, tools: frozenset[str], room: int) -> Step:
    """Hand over the report: in a file where files can be written, else as the reply itself."""
    written = known.answers("write_file")
    if written:
        return _say(known, room, _summary(audits, known, written[-1]))
    texts = tuple(reports(audits))
    if "write_file" not in tools:
        return _say(known, room, next((text for text in texts if size(text) <= room), texts[-1]), *texts)
    steps = (_call(known, room, [("write_file", {"path": REPORT, "content": text})]) for text in texts)
    return next((step for step in steps if step.stop_reason == "tool_use"),
                _say(known, room, f"max_tokens leaves no room for {REPORT}: nothing was written."))


def _summary(audits: Sequence[Audit], known: Conversation, written: Exchange) -> str:
    faults = counted(sum(each.faults for each in audits), "fault")
    names = ", ".join(shown(each.name, 80) for each in audits)
    found = {name for exchange in known.answers("list_files") for name in pages_named(exchange.answer)}
    unread = len(found - {each.name for each in audits})
    others = f", {counted(unread, 'other page')} not read" if unread else ""
    return (
        f"{faults} found in {names}{others}.\n"
        f"write_file {REPORT} answered: {shown(written.answer, 120)}\n"
        "Made by fixed rules (offline auditor, no model was asked)."
    )


def _say(known: Conversation, room: int, text: str, *also: str) -> Step:
    """Say a text as far as there is room, or go on with the one among all given that was begun before."""
    said = known.said
    begun = next((each for each in (text, *also) if said and each.startswith(said)), "")
    rest = begun[len(said) :] if begun else text
    rest = rest or "There is nothing to add."
    piece = rest.encode()[:room].decode("utf-8", "ignore")
    return Step(({"type": "text", "text": piece},), "end_turn" if piece == rest else "max_tokens")


def _call(known: Conversation, room: int, calls: Sequence[tuple[str, dict[str, str]]]) -> Step:
    """Call tools, all of them whole: a call that does not fit could be cut into another call."""
    first = len(known.exchanges) + 1
    step = Step(tuple(
        {"type": "tool_use", "id": f"toolu_offline_{number}", "name": name, "input": arguments}
        for number, (name, arguments) in enumerate(calls, first)
    ), "tool_use")
    if step.bytes <= room:
        return step
    return _say(known, room, f"max_tokens leaves no room to call {calls[0][0]}. The audit ends here, unfinished.")
