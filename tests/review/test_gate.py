from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.ledger import Ledger, Row
from safeloop.ledger.note import Checkpoint
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.review import ReviewSurface
from safeloop.review.attesting.eligibility import Invalid
from safeloop.review.attesting.signers import sign_statement
from safeloop.review.record import Record
from safeloop.review.releasing.gate import Verdict, decide
from safeloop.review.releasing.judging import Judged, judge_attestations
from safeloop.review.releasing.policy import ReleasePolicy
from tests.review.sessions import SessionBuilder, completed, paper

FRAME = hashlib.sha256(b"the frame").hexdigest()
OTHER = hashlib.sha256(b"another frame").hexdigest()
KEYS = tuple(PublicKey(PLAIN, bytes([seed]) * 31 + b"\x07") for seed in (3, 5, 6, 9))
OPERATOR = KEYS[3]
OPERATOR_KEYS = frozenset({OPERATOR.raw})


def record_of(builder: SessionBuilder) -> Record:
    rows = tuple(builder.rows)
    return Record(rows[0].ledger, builder.session, rows, Checkpoint(rows[0].ledger, len(rows), bytes(32)), "")


FINISHED = record_of(paper().spec().open().turn().close())


def attestation(
    at: int, by: PublicKey | Invalid, decision: str = "accept", *, frame: str = FRAME, reviewer: str = "alice",
    signed: bool = True,
) -> Judged:
    """An attestation at a position of the ledger, judged already."""
    row = Row(
        idx=100 + at, body=b"", sig=b"", at="2026-11-21T08:00:00.000000Z", kind="attestation", ledger=FINISHED.ledger,
        n=10 + at, prev="", session=FINISHED.session, writer="", leaf=f"{at:064x}",
        data={"decision": decision, "reviewer": reviewer, "frame": frame, "signature": "armor" if signed else None},
    )
    return Judged(row, by)


def ask(*judged: Judged, record: Record = FINISHED, policy: ReleasePolicy | None = None) -> Verdict:
    return decide(record, judged, policy or ReleasePolicy(), frame=FRAME, operator_keys=OPERATOR_KEYS)


def messages(verdict: Verdict) -> list[str]:
    return [reason.message for reason in verdict.reasons]


# One sequence: any key or a fault, any decision, any frame, signed or not, under any name.
attestations = st.lists(
    st.builds(
        attestation, st.integers(0, 40), st.one_of(st.sampled_from(KEYS), st.builds(Invalid, st.just("no"))),
        st.sampled_from(("accept", "reject", "perhaps")), frame=st.sampled_from((FRAME, OTHER)),
        reviewer=st.sampled_from(("alice", "bob")), signed=st.booleans(),
    ),
    max_size=12, unique_by=lambda judged: judged.row.idx,
)
policies = st.builds(
    ReleasePolicy, accepts=st.integers(1, 3), any_reject_blocks=st.booleans(), accept_breach=st.booleans(),
    accept_unmet=st.booleans(),
)


def counts(judged: Judged) -> bool:
    return (
        isinstance(judged.by, PublicKey) and judged.by.raw not in OPERATOR_KEYS
        and judged.row.data["signature"] is not None and judged.row.data["frame"] == FRAME
    )


@given(attestations, policies)
def test_no_sequence_without_a_valid_accept_ever_opens_the_gate(judged: list[Judged], policy: ReleasePolicy) -> None:
    without = [one for one in judged if not (counts(one) and one.row.data["decision"] == "accept")]
    verdict = ask(*without, policy=policy)
    assert not verdict.released
    assert verdict.accepts == ()


@given(attestations, policies, st.data())
def test_a_reject_more_never_opens_the_gate(judged: list[Judged], policy: ReleasePolicy, data: st.DataObject) -> None:
    if ask(*judged, policy=policy).released:
        return
    reject = data.draw(st.builds(
        attestation, st.integers(0, 60), st.sampled_from(KEYS), st.just("reject"), signed=st.booleans(),
    ))
    assert not ask(*judged, reject, policy=policy).released


@given(attestations, policies)
def test_what_counts_for_nothing_changes_nothing(judged: list[Judged], policy: ReleasePolicy) -> None:
    whole, counted = ask(*judged, policy=policy), ask(*filter(counts, judged), policy=policy)
    assert (whole.released, whole.accepts, whole.reasons) == (counted.released, counted.accepts, counted.reasons)
    assert len(whole.ignored) == sum(not counts(one) for one in judged)


@given(attestations, policies)
def test_an_open_gate_has_as_many_distinct_keys_as_the_policy_asks_for(
    judged: list[Judged], policy: ReleasePolicy
) -> None:
    verdict = ask(*judged, policy=policy)
    if verdict.released:
        leaves = {row.leaf for row in verdict.accepts}
        keys = {one.by.raw for one in judged if one.row.leaf in leaves and isinstance(one.by, PublicKey)}
        assert len(keys) == len(verdict.accepts) >= policy.accepts


@given(st.permutations([attestation(0, KEYS[0]), attestation(1, KEYS[1]), attestation(2, KEYS[0], "reject")]))
def test_the_order_in_which_rows_are_handed_in_means_nothing(judged: list[Judged]) -> None:
    verdict = ask(*judged, policy=ReleasePolicy(any_reject_blocks=False))
    assert verdict.released
    assert [row.n for row in verdict.accepts] == [11]


def test_one_accept_opens_the_gate() -> None:
    verdict = ask(attestation(0, KEYS[0]))
    assert verdict.released
    assert verdict.reasons == verdict.ignored == ()
    assert len(verdict.accepts) == 1


def test_without_attestations_the_answer_names_the_command_that_is_missing() -> None:
    verdict = ask()
    assert messages(verdict) == ["0 of 1 accepts that count"]
    assert str(verdict.reasons[0]).endswith(f"next: safeloop attest {FINISHED.session} --as NAME --key FILE")


def test_one_key_under_two_names_counts_once() -> None:
    verdict = ask(
        attestation(0, KEYS[0], reviewer="alice"), attestation(1, KEYS[0], reviewer="bob"),
        policy=ReleasePolicy(accepts=2),
    )
    assert messages(verdict) == ["1 of 2 accepts that count; alice and bob signed with one key, which counts once"]


def test_a_hardware_key_with_the_same_raw_bytes_is_the_same_key() -> None:
    twin = PublicKey("sk-ssh-ed25519@openssh.com", KEYS[0].raw, "ssh:")
    verdict = ask(attestation(0, KEYS[0]), attestation(1, twin), policy=ReleasePolicy(accepts=2))
    assert not verdict.released


def test_two_keys_are_two() -> None:
    assert ask(attestation(0, KEYS[0]), attestation(1, KEYS[1]), policy=ReleasePolicy(accepts=2)).released


def test_a_reject_blocks_however_many_accept() -> None:
    verdict = ask(attestation(0, KEYS[0]), attestation(1, KEYS[1], "reject", reviewer="bob"), attestation(2, KEYS[2]))
    assert messages(verdict) == ["bob rejected it in row 102"]
    assert "--as bob" in verdict.reasons[0].hint


def test_a_decision_that_is_neither_blocks_like_a_reject() -> None:
    assert not ask(attestation(0, KEYS[0]), attestation(1, KEYS[1], "perhaps")).released


def test_the_latest_decision_of_a_key_is_its_decision() -> None:
    assert ask(attestation(0, KEYS[0], "reject"), attestation(1, KEYS[0])).released
    assert not ask(attestation(0, KEYS[0]), attestation(1, KEYS[0], "reject")).released


def test_a_later_reject_under_another_name_takes_the_keys_accept_back() -> None:
    verdict = ask(
        attestation(0, KEYS[0], reviewer="alice"), attestation(1, KEYS[0], "reject", reviewer="bob"),
        policy=ReleasePolicy(any_reject_blocks=False),
    )
    assert verdict.accepts == ()
    assert not verdict.released


@pytest.mark.parametrize(("judged", "why"), [
    (attestation(0, OPERATOR), "the operator's own key"),
    (attestation(0, KEYS[0], signed=False), "it is not signed"),
    (attestation(0, KEYS[0], frame=OTHER), "another frame than the session's"),
    (attestation(0, Invalid("its writer was in a hurry")), "its writer was in a hurry"),
])
def test_what_does_not_count_is_told_with_its_reason(judged: Judged, why: str) -> None:
    verdict = ask(judged)
    assert not verdict.released
    assert len(verdict.ignored) == 1
    assert verdict.ignored[0].startswith("row 101 counts for nothing: ")
    assert why in verdict.ignored[0]


def test_the_operators_reject_is_no_reject_either() -> None:
    assert ask(attestation(0, KEYS[0]), attestation(1, OPERATOR, "reject")).released


def test_a_policy_that_could_ask_for_none_still_needs_one() -> None:
    policy = ReleasePolicy()
    object.__setattr__(policy, "accepts", 0)
    assert not ask(policy=policy).released


GENEROUS = ReleasePolicy(accept_breach=True, accept_unmet=True, any_reject_blocks=False)


@pytest.mark.parametrize("outcome", ["failed", "refused"])
def test_what_failed_or_was_refused_is_never_released(outcome: str) -> None:
    record = record_of(paper().spec().open().turn().close(outcome))
    verdict = ask(attestation(0, KEYS[0]), record=record, policy=GENEROUS)
    assert messages(verdict) == [f"session {record.session} ended as {outcome}, which is never released"]


@pytest.mark.parametrize(("outcome", "key"), [("breached", "accept_breach"), ("unmet", "accept_unmet")])
def test_what_did_not_complete_is_released_only_by_policy(outcome: str, key: str) -> None:
    record = record_of(paper().spec().open().turn().close(outcome))
    shut = ask(attestation(0, KEYS[0]), record=record)
    assert messages(shut) == [f"session {record.session} ended as {outcome}, which the policy does not release"]
    assert f"{key} = true" in shut.reasons[0].hint
    assert ask(attestation(0, KEYS[0]), record=record, policy=ReleasePolicy(**{key: True})).released
    other = {"accept_breach": "accept_unmet", "accept_unmet": "accept_breach"}[key]
    assert not ask(attestation(0, KEYS[0]), record=record, policy=ReleasePolicy(**{other: True})).released


def test_an_outcome_from_the_future_is_never_released() -> None:
    close = FINISHED.rows[-1]._replace(data=FINISHED.rows[-1].data | {"outcome": "glorious"})
    record = dataclasses.replace(FINISHED, rows=(*FINISHED.rows[:-1], close))
    assert "ended as glorious" in messages(ask(attestation(0, KEYS[0]), record=record, policy=GENEROUS))[0]


def test_a_session_that_is_not_closed_is_never_released() -> None:
    record = record_of(paper().spec().open().turn())
    verdict = ask(attestation(0, KEYS[0]), record=record, policy=GENEROUS)
    assert messages(verdict) == [f"session {record.session} was opened and not closed"]


def test_a_suspended_session_is_never_released() -> None:
    record = record_of(paper().spec().open().turn().close("suspended"))
    verdict = ask(attestation(0, KEYS[0]), record=record, policy=GENEROUS)
    assert messages(verdict) == [f"session {record.session} is suspended"]


def test_a_suspended_session_that_goes_on_is_not_closed() -> None:
    builder = paper().spec().open().turn().close("suspended")
    builder.row("resume", {"after": builder.last.n, "in_doubt": [], "software": "safeloop 0.1.0"})
    assert "was opened and not closed" in messages(ask(attestation(0, KEYS[0]), record=record_of(builder)))[0]


def test_rows_written_by_hand_are_never_released() -> None:
    builder = paper().spec()
    builder.turn()
    verdict = ask(attestation(0, KEYS[0]), record=record_of(builder), policy=GENEROUS)
    assert len(verdict.reasons) == 1
    assert "is ungoverned" in verdict.reasons[0].message


@pytest.mark.parametrize("later", ["turn", "close", "resume"])
def test_a_row_after_the_close_voids_the_session(later: str) -> None:
    builder = paper().spec().open().turn().close()
    if later == "resume":
        builder.row("resume", {"after": builder.last.n, "in_doubt": [], "software": "safeloop 0.1.0"})
    else:
        getattr(builder, later)()
    verdict = ask(attestation(0, KEYS[0]), record=record_of(builder), policy=GENEROUS)
    assert not verdict.released
    assert all("came after the session's close, row 5, and voids it" in message for message in messages(verdict))


def test_an_erase_row_does_not_void_the_session() -> None:
    assert ask(attestation(0, KEYS[0]), record=record_of(paper().spec().open().turn().close().erase())).released


def test_every_reason_is_told_at_once_and_each_names_a_next_step() -> None:
    record = record_of(paper().spec().open().turn().close("breached").turn())
    verdict = ask(attestation(0, KEYS[0], "reject"), record=record)
    assert len(verdict.reasons) == 5  # two rows came later, the outcome, the reject, no accept
    assert all(reason.hint for reason in verdict.reasons)


def test_a_real_signature_by_a_pinned_reviewer_counts_and_one_without_a_signature_does_not(
    surface: ReviewSurface, ledger: Ledger, reviewer: Callable[[str], Path]
) -> None:
    session = completed(ledger).session
    key = reviewer("alice@example.org")
    surface.attest(session, "alice@example.org")
    first = surface.show(session)
    surface.attest_signed(first, "accept", "alice@example.org", sign=lambda data: sign_statement(data, key))
    shown, trust = surface.show(session), surface.trust()
    for at in (datetime.now(UTC), None):
        judged = judge_attestations(shown.record, shown.digests, trust, at)
        verdict = decide(shown.record, judged, ReleasePolicy(), frame=shown.sha256, operator_keys=trust.operator_keys)
        assert verdict.released
        assert [row.kind for row in verdict.accepts] == ["attestation"]
        assert verdict.ignored == (f"row {verdict.accepts[0].id - 1} counts for nothing: it is not signed",)


def test_a_key_that_is_no_longer_valid_counts_for_an_audit_and_not_for_a_release(
    surface: ReviewSurface, ledger: Ledger, reviewer: Callable[[str], Path], keys: Path
) -> None:
    session = completed(ledger).session
    key = reviewer("alice@example.org")
    surface.attest_signed(
        surface.show(session), "accept", "alice@example.org", sign=lambda data: sign_statement(data, key)
    )
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    file = keys / "self" / "reviewers"
    limit = f'valid-before="{tomorrow:%Y%m%d}Z",namespaces='
    file.write_text(file.read_text().replace("namespaces=", limit))
    shown, trust = surface.show(session), surface.trust()

    def released(at: datetime | None) -> bool:
        judged = judge_attestations(shown.record, shown.digests, trust, at)
        policy = ReleasePolicy()
        return decide(shown.record, judged, policy, frame=shown.sha256, operator_keys=trust.operator_keys).released

    assert released(None)
    assert not released(tomorrow + timedelta(days=1))
