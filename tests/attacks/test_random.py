"""Edits, permutations and deletions by chance: whatever changes what a judge reads is found, and nothing else is."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeloop.errors import LedgerError
from tests.attacks.scene import ROWS, Brings, Hand, Keys, Scene
from tests.review.attacks import Sealed, found, raw, unguarded

PLACES = st.integers(0, ROWS - 1)
BYTES = st.binary(min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("edit"), PLACES, st.integers(0, 300), BYTES),
    st.tuples(st.just("sign"), PLACES, st.integers(0, 63), BYTES),
    st.tuples(st.just("delete"), PLACES),
    st.tuples(st.just("swap"), PLACES, PLACES),
    st.tuples(st.just("copy"), PLACES, PLACES),
    st.tuples(st.just("graft"), PLACES, PLACES),
    st.tuples(st.just("cut"), PLACES),
)
CALMLY = settings(suppress_health_check=[HealthCheck.too_slow])


def overwritten(data: bytes, at: int, with_: bytes) -> bytes:
    at = min(at, len(data))
    return data[:at] + with_ + data[at + len(with_) :]


def step(rows: list[Sealed], name: str, place: int, *rest: int | bytes) -> None:
    """Do one thing to the rows; a place that is no longer there is the last one."""
    if not rows:
        return
    at = min(place, len(rows) - 1)
    body, signature = rows[at]
    match name, rest:
        case "edit", (int(where), bytes(data)):
            rows[at] = (overwritten(body, where, data), signature)
        case "sign", (int(where), bytes(data)):
            rows[at] = (body, overwritten(signature, where, data)[:64])
        case "delete", ():
            del rows[at]
        case "cut", ():
            del rows[at:]
        case "swap", (int(other),):
            other = min(other, len(rows) - 1)
            rows[at], rows[other] = rows[other], rows[at]
        case "copy", (int(other),):
            rows.insert(other, rows[at])
        case "graft", (int(other),):
            rows[at] = (body, rows[min(other, len(rows) - 1)][1])


@CALMLY
@given(steps=st.lists(STEPS, max_size=4), keys=st.sampled_from([Keys.NONE, Keys.LOG]))
def test_whatever_is_done_to_the_rows_is_found_and_nothing_done_is_not(
    lived: Scene, steps: list[tuple[str, int]], keys: Keys
) -> None:
    lived.restore()
    hand = Hand(lived, keys)
    for each in steps:
        step(hand.rows, *each)
    hand.write()
    report = lived.audit(Brings.CHECKPOINT)
    assert bool(report.findings) == (tuple(hand.rows) != lived.honest)
    assert report.rows_standing <= ROWS


@CALMLY
@given(order=st.permutations(range(ROWS)), keys=st.sampled_from([Keys.NONE, Keys.LOG]))
def test_every_other_order_is_found_at_a_row_that_is_not_in_its_place(lived: Scene, order: list[int], keys: Keys) -> None:
    """Only the chains see it where the log key signed the new order, and only the order within a session is theirs."""
    lived.restore()
    hand = Hand(lived, keys)
    hand.rows = [lived.honest[at] for at in order]
    hand.write()
    rules = {rule for rule, _ in found(lived.audit())}
    within = [[at for at in order if at < 14], [at for at in order if at >= 14]]
    broken = any(session != sorted(session) for session in within)
    assert ("chain" in rules) == broken
    assert ("tree" in rules) == (keys is Keys.NONE and order != list(range(ROWS)))


@CALMLY
@given(gone=st.sets(PLACES))
def test_what_is_deleted_is_missing_and_every_other_row_stands(lived: Scene, gone: set[int]) -> None:
    lived.restore()
    with unguarded(lived.victim.path) as sql:
        sql.executemany("DELETE FROM row WHERE idx = ?", [(idx,) for idx in gone])
    report = lived.audit()
    first_of_each_gap = {idx + 1 for idx in gone if idx - 1 not in gone}
    assert {row for rule, row in found(report) if rule == "missing"} == first_of_each_gap
    assert {rule for rule, _ in found(report)} <= {"missing", "empty"}
    assert report.rows_standing == ROWS - len(gone)


@CALMLY
@given(page=st.integers(0, 10**6), at=st.integers(0, 4095), data=st.binary(min_size=1, max_size=40))
def test_bytes_changed_anywhere_in_the_file_never_pass_unseen_nor_crash(
    lived: Scene, page: int, at: int, data: bytes
) -> None:
    """What a judge reads is the same, or there is a finding, or the file is refused as no ledger."""
    lived.restore()
    file = bytearray(lived.victim.path.read_bytes())
    where = (page * 4096 + at) % len(file)
    file[where : where + len(data)] = data[: len(file) - where]
    lived.victim.path.write_bytes(file)
    try:
        report = lived.audit(Brings.CHECKPOINT)
    except LedgerError:
        return
    if not report.findings:
        assert tuple(lived.victim.sealed()) == lived.honest
        assert lived.victim.head() == lived.kept


@CALMLY
@given(data=st.data())
def test_content_that_is_changed_or_removed_is_found(lived: Scene, data: st.DataObject) -> None:
    lived.restore()
    with raw(lived.victim.contents) as sql:
        names = [name for (name,) in sql.execute("SELECT salted_sha256 FROM content ORDER BY 1").fetchall()]
        chosen = data.draw(st.sets(st.sampled_from(names), max_size=3))
        for name in chosen:
            how = data.draw(st.sampled_from(["DELETE FROM content", "UPDATE content SET salt = zeroblob(32)",
                                             "UPDATE content SET bytes = CAST(bytes || x'00' AS BLOB)"]))
            sql.execute(f"{how} WHERE salted_sha256 = ?", (name,))
    rules = {rule for rule, _ in found(lived.audit())}
    assert rules == ({"content"} if chosen else set())
