"""A ledger's rows on both sides: which calls they tell of, and what a reconciliation writes and a reviewer sees of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safeloop.breaker import Granted, Price
from safeloop.ledger import Draft, Ledger
from safeloop.ledger.content import JSON, manifest
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.upkeep import erasing
from safeloop.review.framing.reconciled import reconciliation_lines
from safeloop.review.framing.status import status_lines
from safeloop.review.reconciling.counts import NOTHING, Counts
from safeloop.review.reconciling.findings import Fault, Finding, Severity, Thresholds
from safeloop.review.reconciling.recorded import LINGERS, LONGEST, Call, microseconds, recorded_calls
from safeloop.review.reconciling.recording import Source, record
from safeloop.review.reconciling.report import SECOND, Payer
from safeloop.review.reconciling.settling import Settlement
from safeloop.spec import Ceilings
from tests.breaker.family import DOLLARS, START, House, in_doubt, reconcile
from tests.review.reconciling.bills import DAY, MINUTE, OURS, SONNET
from tests.review.sessions import SessionBuilder

CEILINGS = Ceilings(tokens=1_000_000)
SOURCE = Source("1m", "0" * 64, "a/b")
BEGAN = microseconds("2026-11-21T07:27:00.000000Z")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.open("s", CEILINGS)
    yield made
    made.ledger.close()


def asked(house: House, price: Price | None = None) -> Granted:
    granted = house.ask("s", CEILINGS, price=price)
    assert isinstance(granted, Granted)
    return granted


def calls(house: House, **more: Any) -> tuple[Call, ...]:
    return told(house, **more).calls


def told(house: House, begins: int = 0, ends: int = 1 << 60, endpoint: str = "e", unnamed: Payer = OURS) -> Any:
    with LedgerReader(house.folder / "ledger.db") as reader:
        return recorded_calls(reader, begins, ends, endpoints=[endpoint], unnamed=unnamed)


def test_a_reply_is_one_call_from_its_intent_to_its_row_and_failed_attempts_of_its_turn_are_none(house):
    in_doubt(house, asked(house), in_doubt=False)
    house.clock.move(seconds=10)
    granted = asked(house)
    house.clock.move(seconds=7)
    house.reply(granted, 50)
    (call,) = calls(house)
    assert (call.counts, call.most, call.served, call.payer) == (Counts(50), 0, "m", OURS)
    assert (call.begins, call.ends) == (BEGAN + 10 * SECOND, BEGAN + 17 * SECOND)
    assert call.is_certain


def test_an_attempt_in_doubt_may_be_billed_until_an_hour_after_it_was_given_up_and_no_longer_than_a_day(house):
    granted = asked(house)
    house.clock.move(minutes=10)
    row = in_doubt(house, granted)
    (call,) = calls(house)
    assert (call.n, call.is_doubt, call.is_certain, call.counts) == (row.n, True, False, NOTHING)
    assert call.most == granted.intent.data["reserved_tokens"]
    assert (call.begins, call.ends) == (BEGAN, BEGAN + 10 * MINUTE + LINGERS)
    granted = asked(house)
    house.clock.move(days=9)
    in_doubt(house, granted)
    assert calls(house)[-1].ends == BEGAN + 10 * MINUTE + LONGEST + LINGERS


def test_what_was_settled_explains_no_more_than_that_from_then_on(house):
    granted = asked(house)
    reconcile(house, "s", granted.intent.n, 0)  # it is not in doubt yet
    doubt = in_doubt(house, granted)
    other = in_doubt(house, asked(house))
    assert [call.most for call in calls(house)] == [granted.intent.data["reserved_tokens"]] * 2
    reconcile(house, "s", doubt.n, 40)
    reconcile(house, "s", granted.intent.n, 50)
    reconcile(house, "s", doubt.n, 7, in_session="somebody-else")
    reconcile(house, "s", 99, 3)
    assert [(call.n, call.most) for call in calls(house)] == [(doubt.n, 40), (other.n, other.data["charged_tokens"])]
    reconcile(house, "s", doubt.n, 30, in_session="s")
    reconcile(house, "s", other.n, other.data["charged_tokens"] + 1)
    assert [call.most for call in calls(house)] == [30, other.data["charged_tokens"]]
    reconcile(house, "s", granted.intent.n, 0)
    assert [call.n for call in calls(house)] == [other.n], "nothing is left that may be billed"


def test_an_intent_without_an_outcome_may_be_billed_and_is_not_settled(house):
    asked(house)
    (call,) = calls(house)
    assert (call.is_doubt, call.ends) == (False, BEGAN + LONGEST + LINGERS)


def test_a_reply_without_believable_usage_may_be_billed_up_to_its_reservation(house):
    granted = asked(house)
    house.reply(granted)
    (call,) = calls(house)
    assert (call.counts, call.most, call.is_doubt) == (NOTHING, granted.intent.data["reserved_tokens"], False)


def test_rows_written_by_hand_other_endpoints_and_other_times_are_not_compared(house):
    house.ledger.write("by-hand", 1, "llm", "x", 5_000, 1, True)
    house.reply(asked(house), 50)
    assert calls(house, endpoint="https://api.anthropic.com") == ()
    assert told(house, endpoint="https://api.anthropic.com").elsewhere == {"e": 1}
    assert calls(house, begins=BEGAN + 1) == calls(house, ends=BEGAN - 1) == ()
    assert len(calls(house)) == 1


def test_a_clock_set_back_between_intent_and_reply_still_spans_a_time(house):
    granted = asked(house)
    house.clock.now = START.replace(minute=1)
    house.reply(granted, 50)
    (call,) = calls(house)
    assert (call.begins, call.ends) == (BEGAN - 26 * MINUTE, BEGAN)


def finding(session: str = "s", n: int = 3) -> Finding:
    return Finding(Fault.MISSING, Severity.ALERT, DAY, DAY + MINUTE, OURS, SONNET, "words", Counts(5), calls=((session, n),))


def test_the_same_finding_is_recorded_once_and_another_severity_makes_no_other_finding(house):
    assert record(house.ledger, SOURCE, [finding()], ()).new == (finding(),)
    graver = dataclasses.replace(finding(), severity=Severity.INFO, words="other words")
    again = record(house.ledger, SOURCE, [graver], ())
    assert (again.rows, again.new, again.before) == ((), (), 3)
    other = Source("1m", "1" * 64, "a/b")
    (row,) = record(house.ledger, other, [graver, finding(n=4)], ()).rows
    content = house.ledger.read_content(house.ledger.rows("ledger")[-1].data["findings"])
    assert row == 4
    assert content is not None and content.count(b'"class"') == 1, "only what is new"
    assert house.findings() == []


def test_what_only_a_saved_report_told_is_new_where_the_provider_is_asked_and_not_the_other_way_round(house):
    answered = dataclasses.replace(SOURCE, asked="https://api.anthropic.com")
    gateway = dataclasses.replace(SOURCE, asked="http://127.0.0.1:9")
    gap = {"lacks": "buckets", "from": "a", "to": "b"}
    assert record(house.ledger, SOURCE, [finding()], (), lacks=[gap]).lacking == (gap,)
    assert record(house.ledger, gateway, [finding()], ()).new == (finding(),)
    told = record(house.ledger, answered, [finding()], (), lacks=[gap])
    assert (told.new, told.lacking, len(told.rows)) == ((finding(),), (gap,), 1)
    for source in (answered, SOURCE, dataclasses.replace(answered, digest="5" * 64)):
        again = record(house.ledger, source, [finding()], (), lacks=[gap])
        assert (again.new, again.lacking) == ((), ())
    more = record(house.ledger, answered, [finding()], (), lacks=[{**gap, "to": "c"}])
    assert (len(more.rows), more.new, len(more.lacking)) == (1, (), 1)
    long = dataclasses.replace(SOURCE, asked="http://" + "x" * 5_000)
    assert len(record(house.ledger, long, [finding()], ()).rows) == 1, "a row can hold its name"
    assert house.findings() == []


def test_a_settlement_lowers_only_what_is_in_doubt_and_only_below_its_charge(house):
    doubt, reply = in_doubt(house, asked(house, DOLLARS)), asked(house)
    house.reply(reply, 100)
    charged, microusd = doubt.data["charged_tokens"], doubt.data["charged_microusd"]
    for proved in (Settlement("s", doubt.n, charged, microusd), Settlement("s", doubt.n, charged + 1, None),
                   Settlement("s", reply.intent.n, 0, 0), Settlement("nobody", 3, 0, 0)):  # fmt: skip
        assert record(house.ledger, Source("1m", "2" * 64, str(proved)), (), [proved]).settled == ()
    (money,) = record(house.ledger, SOURCE, (), [Settlement("s", doubt.n, charged, 5)]).settled
    assert (money.charged, money.billed) == (charged, charged)
    (tokens,) = record(house.ledger, SOURCE, (), [Settlement("s", doubt.n, 40, None)]).settled
    assert (tokens.charged, tokens.billed) == (charged, 40)
    assert house.findings() == []


def test_too_many_findings_are_counted(house, monkeypatch):
    monkeypatch.setattr("safeloop.review.reconciling.recording.MOST_LISTED", 2)
    record(house.ledger, SOURCE, [finding(n=n) for n in range(5)], (), beyond=10)
    content = house.ledger.read_content(house.ledger.rows("ledger")[-1].data["findings"])
    assert content is not None and content.endswith(b'{"further_findings":13}]')


def test_findings_that_were_erased_are_found_again(house):
    record(house.ledger, SOURCE, [finding()], ())
    with LedgerReader(house.folder / "ledger.db") as reader:
        digest = house.ledger.rows("ledger")[-1].data["findings"]["salted_sha256"]
        plan = erasing.plan_content(reader, digest)
    erasing.erase(house.ledger, plan, "asked for")
    assert len(record(house.ledger, Source("1m", "3" * 64, "w"), [finding()], ()).rows) == 1


def test_a_row_whose_findings_are_no_list_is_passed_over(house):
    for data in (b"{}", b'[{"no":1}]'):
        content = house.ledger.content(data, JSON)
        row = {"source": "x", "window": "w", "findings": content.commitment, "settled": []}
        house.ledger.append(lambda _, row=row, content=content: [Draft("ledger", "reconcile", row, (content,))])
    assert len(record(house.ledger, SOURCE, [finding()], ()).new) == 1


@pytest.mark.parametrize("wrong", [
    {"info_percent": 30}, {"info_percent": -1}, {"warn_percent": 10**7}, {"drifts": 1}, {"within_s": 59}, {"within_s": 10**6},
])  # fmt: skip
def test_thresholds_have_bounds(wrong):
    with pytest.raises(Exception, match="drift"):
        Thresholds(**wrong)


def test_a_reviewer_sees_what_concerns_the_session_beside_the_frame_and_its_hash_stays(ledger, surface):
    builder = SessionBuilder(ledger).spec().open().turn(tokens=310).close()
    before = surface.show(builder.session)
    items = [{"session": name, "n": 9, "charged_tokens": 4_096, "billed_tokens": 0} for name in (builder.session, "other")]
    reconciled(ledger, [finding(builder.session, 3).as_entry(), finding("other").as_entry(), {"class": "x", "calls": 5}], items)
    reconciled(ledger, [finding("other").as_entry()], [])
    after = surface.show(builder.session)
    assert (after.sha256, after.text) == (before.sha256, before.text)
    number = ledger.rows("ledger")[0].id
    assert status_lines(after) == (
        f"row {number}: reconcile: n 9 was charged 4,096 tokens and is now 0",
        f"row {number}: reconcile: missing_record (alert), n 3",
    )
    assert status_lines(before) == ()
    assert surface.attest(builder.session, "alice").frame_hash == before.sha256


def test_what_cannot_be_read_of_a_reconciliation_is_said_and_voids_nothing(ledger, surface):
    builder = SessionBuilder(ledger).spec().open().turn().close()
    content = ledger.content(b"{}", JSON)
    row = {"source": "x", "window": "w", "findings": content.commitment, "settled": []}
    ledger.append(lambda _: [Draft("ledger", "reconcile", row, (content,))])
    (line,) = status_lines(surface.show(builder.session))
    assert line.endswith("reconcile, and it cannot be read: not a list of objects")


def test_a_reconciliation_by_a_writer_who_is_not_pinned_says_so(ledger, surface):
    builder = SessionBuilder(ledger).spec().open().turn().close()
    reconciled(ledger, [finding(builder.session).as_entry()], [])
    record = surface.show(builder.session).record
    stranger = dataclasses.replace(surface.trust(), writers={})
    with LedgerReader(ledger.db_path) as reader:
        (line,) = reconciliation_lines(record, stranger, reader.read_content)
    assert line.endswith("and its signature does not hold under a pinned writer")


def reconciled(ledger: Ledger, entries: list[dict[str, Any]], settled: list[dict[str, Any]]) -> None:
    content = ledger.content(manifest(entries), JSON)
    row = {"source": "x", "window": "w", "findings": content.commitment, "settled": settled}
    ledger.append(lambda _: [Draft("ledger", "reconcile", row, (content,))])
