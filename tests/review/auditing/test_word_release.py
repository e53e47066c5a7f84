"""Releases that rest on too little: each is signed by the pinned writer, and each is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from safeloop.errors import KeyUnusable
from safeloop.ledger import Draft, sshsig
from safeloop.ledger.allowed_signers import AllowedSigner
from safeloop.ledger.content import JSON
from safeloop.review.releasing.policy import ReleasePolicy
from tests.review.attacks import Victim, found
from tests.review.auditing.loops import (
    ALICE,
    BOB,
    OTHER_FRAME,
    PEOPLE,
    START,
    Book,
    Loop,
    judged,
    noted,
    trust_in,
)
from tests.review.test_release import Office, office

__all__ = ["office"]  # the fixture


def closed(book: Book, outcome: str = "completed") -> Loop:
    loop = Loop(book).begin().step()
    if outcome == "breached":
        loop.breach()
    return loop.end(outcome)


def words_of(book: Book, **how: object) -> list[str]:
    found_words = judged(book, **how)  # type: ignore[arg-type]  # a trust, or rows to leave out
    assert {(rule, row) for rule, row, _ in found_words} <= {("release", book.rows[-1].id)}
    return [said for _, _, said in found_words]


def test_a_release_that_its_policy_allows_is_not_accused_and_may_be_repeated() -> None:
    book = Book()
    loop = closed(book).attest().attest(by=BOB)
    loop.release(policy=ReleasePolicy(accepts=2)).release(policy=ReleasePolicy(accepts=1))
    assert judged(book) == []


def test_a_release_without_an_accept_is_found() -> None:
    book = Book()
    closed(book).release()
    assert words_of(book) == ["0 of 1 accepts that count"]


def test_an_accept_too_few_is_found_and_one_key_under_two_names_counts_once() -> None:
    book = Book()
    closed(book).attest().attest(by=BOB, key=ALICE, stated_s=1).release(policy=ReleasePolicy(accepts=2))
    trust = trust_in(ALICE, BOB)
    shared = replace(trust.reviewers[0], principals=(ALICE, BOB))
    assert words_of(book, trust=replace(trust, reviewers=(shared,))) == [
        "row 6 does not stand: the same key decided otherwise", "1 of 2 accepts that count",
    ]


@pytest.mark.parametrize(("how", "words"), [
    ({"signed": False}, "it is not signed"),
    ({"key": "operator"}, "is the operator's own key, which never counts as a reviewer's"),
    ({"key": "eve"}, "is not pinned as a key of alice@example.org"),
    ({"session": "two"}, "it was made for another ledger or session"),
    ({"ledger": "safeloop.local/2"}, "it was made for another ledger or session"),
    ({"session_head": "0" * 64}, "it was made for other rows of the session"),
    ({"session_rows": 4}, "it was made for other rows of the session"),
    ({"size": 4}, "its checkpoint of size 4 was not made between the cut and the attestation"),
    ({"size": 6}, "its checkpoint of size 6 was not made between the cut and the attestation"),
    ({"checkpoint": "none"}, "its checkpoint is none"),
])
def test_an_accept_that_counts_for_nothing_carries_no_release(how: dict[str, object], words: str) -> None:
    book = Book()
    closed(book).attest(**how).release()  # type: ignore[arg-type]  # any change of an attestation
    first, second = words_of(book)
    assert first.startswith("row 6 counts for nothing: ")
    assert words in first
    assert second == "0 of 1 accepts that count"


def test_an_accept_of_another_session_or_of_none_carries_no_release() -> None:
    book = Book()
    other = Loop(book, "two").begin().end().attest()
    leaf = other.last.leaf
    closed(book).release(attestations=[leaf])
    assert words_of(book) == [
        f"attestation {leaf[:8]} is no earlier row of the session", "0 of 1 accepts that count"
    ]


def test_an_accept_that_came_after_the_release_carries_nothing() -> None:
    book = Book()
    loop = closed(book).attest(by=BOB).release()
    late = loop.attest().last
    loop.row("release", {**loop.rows[-2].data, "attestations": [late.leaf]})
    assert judged(book) == []
    early = Book()
    closed(early).attest().release(attestations=[late.leaf])
    assert words_of(early)[0] == f"attestation {late.leaf[:8]} is no earlier row of the session"


def test_a_reject_is_no_accept_and_blocks_others_unless_the_policy_says_otherwise() -> None:
    book = Book()
    loop = closed(book).attest().attest("reject", by=BOB)
    accept = loop.rows[-2]
    loop.release(accept)
    assert words_of(book) == ["row 7 rejects it"]
    loop.rows, book.rows = loop.rows[:-1], book.rows[:-1]
    loop.release(accept, policy=ReleasePolicy(any_reject_blocks=False))
    assert judged(book) == []
    loop.release(policy=ReleasePolicy(any_reject_blocks=False))
    assert words_of(book) == ["row 7 is a reject"]


def test_a_later_reject_of_the_same_key_overtakes_its_accept_and_an_older_accept_does_not_come_back() -> None:
    book = Book()
    loop = closed(book).attest().attest("reject", stated_s=5).attest(stated_s=1)
    loop.release(loop.rows[5])
    assert words_of(book) == [
        "row 6 does not stand: the same key decided otherwise", "row 7 rejects it", "0 of 1 accepts that count"
    ]
    loop.attest(stated_s=60)
    loop.release(loop.last)
    assert [row for _, row, _ in judged(book)] == [9, 9, 9]


def test_an_accept_that_was_dated_ahead_of_its_row_overtakes_no_later_one_whenever_it_is_audited() -> None:
    book = Book()
    loop = closed(book).attest(stated_s=301).attest()
    loop.release(loop.last)
    assert judged(book) == []


def test_an_accept_of_a_clock_that_is_minutes_ahead_and_a_reject_that_is_days_ahead_overtake_older_ones() -> None:
    book = Book()
    loop = closed(book).attest(stated_s=300).attest()
    loop.release(loop.last)
    assert words_of(book) == ["row 7 does not stand: the same key decided otherwise", "0 of 1 accepts that count"]
    other = Book()
    loop = closed(other).attest("reject", stated_s=86_400).attest()
    loop.release(loop.last, policy=ReleasePolicy(any_reject_blocks=False))
    assert "row 7 does not stand: the same key decided otherwise" in words_of(other)


def test_a_reject_of_another_frame_blocks_nothing_and_accepts_of_two_frames_are_not_added_up() -> None:
    book = Book()
    loop = closed(book).attest("reject", by=BOB, digests=OTHER_FRAME).attest()
    loop.release(loop.last)
    assert judged(book) == []
    other = Book()
    closed(other).attest().attest(by=BOB, digests=OTHER_FRAME).release(policy=ReleasePolicy(accepts=2))
    assert words_of(other) == ["its attestations are about different frames"]


@pytest.mark.parametrize(("outcome", "policy", "is_allowed"), [
    ("unmet", ReleasePolicy(), False), ("unmet", ReleasePolicy(accept_unmet=True), True),
    ("breached", ReleasePolicy(accept_unmet=True), False), ("breached", ReleasePolicy(accept_breach=True), True),
    ("failed", ReleasePolicy(accept_breach=True, accept_unmet=True), False),
    ("refused", ReleasePolicy(accept_breach=True, accept_unmet=True), False),
])
def test_only_outcomes_that_the_policy_releases_are_released(
    outcome: str, policy: ReleasePolicy, is_allowed: bool
) -> None:
    book = Book()
    closed(book, outcome).attest().release(policy=policy)
    said = words_of(book)
    assert len(said) == (not is_allowed)
    assert all(f"session one ended as {outcome}, which" in each for each in said)


def test_files_that_the_session_did_not_close_with_are_found() -> None:
    book = Book()
    loop = closed(book).attest()
    loop.release(file_count=1)
    assert words_of(book) == ["its files are not those of the session's close row"]
    other = Book()
    loop = closed(other).attest()
    loop.release(files=dict(other.content(b"[]", JSON).commitment))
    assert words_of(other) == ["its files are not those of the session's close row"]


def test_words_that_are_no_policy_are_found() -> None:
    book = Book()
    loop = closed(book).attest().release()
    loop.row("release", loop.last.data | {"policy": "{}"})
    assert words_of(book) == [
        "it states no release policy: the policy is not an object with every key of a release policy"
    ]


def test_ungoverned_open_suspended_and_voided_sessions_are_not_released() -> None:
    for start, words in (
        (lambda book: Loop(book), "releases session one, which no loop has opened"),
        (lambda book: Loop(book).begin().step(), "releases session one, which is not closed"),
        (lambda book: Loop(book).begin().end("suspended"), "releases session one, which is not closed"),
    ):
        book = Book()
        start(book).release()
        assert words_of(book) == [words]
    book = Book()
    closed(book).attest().ask().release()
    assert judged(book)[-1] == ("release", 8, "row 7 came after the session's close and voids it")


def test_a_key_is_judged_at_the_time_of_its_row() -> None:
    book = Book()
    closed(book).attest().release()
    line = trust_in(ALICE).reviewers[0]
    for at, count in ((START.replace(hour=0), 2), (START.replace(hour=23), 0)):
        until: AllowedSigner = replace(line, valid_before=at)
        assert len(judged(book, trust=replace(trust_in(), reviewers=(until,)))) == count


def test_a_policy_laxer_than_the_auditors_is_a_note_and_no_finding() -> None:
    book = Book()
    loop = closed(book).attest()
    loop.release(policy=ReleasePolicy(any_reject_blocks=False)).release()
    trust = trust_in(ALICE, release_policy="accepts = 2")
    assert judged(book, trust=trust) == []
    assert noted(book, trust) == [
        "the policy of the release in row 7 is laxer in accepts, any_reject_blocks, and 1 other release: "
        "less than /trust/release.toml asks for"
    ]
    assert noted(book, trust_in(ALICE, release_policy="accepts = 1\nany_reject_blocks = false")) == []
    with pytest.raises(KeyUnusable, match=r"/trust/release\.toml has an unknown key"):
        noted(book, trust_in(ALICE, release_policy="accept = 1"))


def test_a_real_release_passes_a_real_audit_and_one_without_its_accept_does_not(office: Office) -> None:
    session = office.accepted({"report.md": (None, b"# Title\n")})
    office.release(session)
    victim = Victim(Path(office.ledger.db_path), office.keys)
    assert found(victim.audit()) == []
    row = office.rows(session)[0]
    office.ledger.append(lambda _: [Draft(session, "release", row.data | {"attestations": []})])
    report = victim.audit()
    assert [(str(each.rule), each.message) for each in report.findings] == [
        ("release", f"row {row.id + 1}: 0 of 1 accepts that count")
    ]
    assert report.findings[0].remedy == f"safeloop review {session}"


def test_a_signature_made_for_another_purpose_carries_no_release() -> None:
    book = Book()
    loop = closed(book).attest()
    row = loop.last
    approval = sshsig.sign(PEOPLE[ALICE], "safeloop-approval", row.data["statement"].encode())
    loop.row("attestation", row.data | {"signature": approval})
    loop.release(loop.last)
    assert words_of(book) == [
        "row 7 counts for nothing: signed for namespace b'safeloop-approval', not for 'safeloop-review'",
        "0 of 1 accepts that count",
    ]
