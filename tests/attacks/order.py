"""Attacks on the order and the number of rows, and on which history is the true one."""

from __future__ import annotations

import shutil
from base64 import b64decode
from functools import partial

from safeloop.errors import LedgerNotFound
from safeloop.ledger import Ledger
from safeloop.ledger.note import Checkpoint, Verifier, sign_checkpoint
from safeloop.ledger.state import State, StateFile, state_path
from tests.attacks.attack import add, meets
from tests.attacks.scene import CLOSE_OF_ALPHA, NO_PREV, ROWS, Brings, Hand, Keys
from tests.review.attacks import Victim, set_head, unguarded

STATE, CHECKPOINT = Brings.STATE, Brings.CHECKPOINT
ALL_FROM_15 = tuple(f"ledger:{number}" for number in range(15, ROWS + 1))


# With raw SQL and no key, the stored tree left as it is: the head names the rows.


@meets("missing:8", words="row 8 is missing")
def a_row_is_deleted(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM row WHERE idx = 7")


@meets("tree:8", f"missing:{ROWS}", words="rows 8 to 18 are not the ones that the head signs at this place")
def a_row_is_deleted_and_the_gap_closed(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM row WHERE idx = 7")
        for idx in range(8, ROWS):
            sql.execute("UPDATE row SET idx = ? WHERE idx = ?", (idx - 1, idx))


@meets("tree:3", "tree:18")
def two_rows_change_places(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        for idx, row in ((2, hand.rows[17]), (17, hand.rows[2])):
            sql.execute("UPDATE row SET body = CAST(? AS TEXT), sig = ? WHERE idx = ?", (*row, idx))


@meets("tree:6", "tree:20", words="rows 6 to 19 are not the ones")
def a_copy_of_a_row_is_inserted(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        for idx in range(ROWS - 1, 4, -1):
            sql.execute("UPDATE row SET idx = ? WHERE idx = ?", (idx + 1, idx))
        sql.execute("INSERT INTO row (idx, body, sig) VALUES (5, CAST(? AS TEXT), ?)", hand.rows[1])


@meets("missing:1", words="rows 1 to 14 are missing")
def a_session_is_removed(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM row WHERE idx < 14")


@meets("missing:15", words="rows 15 to 19 are missing")
def the_end_is_cut_off(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM row WHERE idx >= 14")


@meets("empty", "missing:1")
def every_row_is_deleted(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM row")


@meets("tree", words="position -3")
def a_row_is_put_before_the_first(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("INSERT INTO row (idx, body, sig) VALUES (-3, CAST(? AS TEXT), ?)", hand.rows[0])


@meets("missing:20", "tree:9000000000000000001", "chain:9000000000000000001")
def a_row_is_put_far_beyond_the_last(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("INSERT INTO row (idx, body, sig) VALUES (?, CAST(? AS TEXT), ?)", (9 * 10**18, *hand.rows[0]))


# With the tree rebuilt, and as many signatures as the attacker can make.


def moved(how: str, hand: Hand) -> None:
    rows = hand.rows
    if how == "deleted":
        del rows[7]
    elif how == "swapped":
        rows[7], rows[8] = rows[8], rows[7]
    elif how == "copied":
        rows.append(rows[7])
    elif how == "removed with their session":
        del rows[:14]
    else:
        del rows[14:]
    hand.write()


for how, without, signed in (
    ("deleted", ("tree", "chain:8"), ("chain:8",)), ("swapped", ("tree", "chain:8", "chain:9"), ("chain:8", "chain:9")),
    ("copied", ("tree:20", "chain:20"), ("chain:20",)),
):
    add(f"rows {how} and the tree rebuilt", partial(moved, how), *without)
    add(f"rows {how} and the head signed again", partial(moved, how), *signed, keys=Keys.LOG)

for how in ("removed with their session", "cut off at the end"):
    add(f"rows {how} and the tree rebuilt", partial(moved, how), "tree", words="the head signs 19 rows, and the file has")
    for brings, expected, words in (
        (STATE, ("state",), "is ahead of the ledger"), (CHECKPOINT, ("checkpoint",), "is ahead of the ledger"),
        (Brings.PINS, (), "no kept checkpoint was compared: one from elsewhere shows a cut tail"),
    ):
        add(f"rows {how} and the head signed again, before an auditor with {brings.value}", partial(moved, how), *expected,
            keys=Keys.LOG, words=words, brings=brings)


@meets("tree:20", keys=Keys.WRITER, words="row 20 is not in the tree of 19 rows that the head signs")
def a_row_is_appended_without_the_log_key(hand: Hand) -> None:
    windows: dict[str, object] = {"hour": {}, "day": {}, "month": {}}
    hand.rows.append(hand.appended(session="ledger", n=0, prev=NO_PREV, kind="limits", data=windows))
    hand.write()


# Histories.


KNOWING: tuple[tuple[Brings, tuple[str, ...]], ...] = (
    (STATE, ("state",)), (CHECKPOINT, ("checkpoint",)), (Brings.PINS, ()),
)


def rewritten(hand: Hand) -> None:
    """Tell beta's turn otherwise, sign everything after it anew, and leave no seam inside the file."""
    hand.rewrite(18, at="2026-11-21T00:00:00.000000Z")
    hand.write()


for brings, expected in KNOWING:
    words = "another history" if expected else "a second history"
    add(f"history rewritten with both keys, before an auditor with {brings.value}", rewritten, *expected,
        keys=Keys.BOTH, words=words, brings=brings)


def put_back(hand: Hand) -> None:
    for side in ("-wal", "-shm"):
        hand.path.with_name(hand.path.name + side).unlink(missing_ok=True)
    hand.path.write_bytes(hand.scene.earlier)


for brings, expected in KNOWING:
    words = "of 19 rows is ahead of the ledger, which has 14" if expected else "no kept checkpoint was compared"
    add(f"an older file put back, before an auditor with {brings.value}", put_back, *expected, words=words, brings=brings)


@meets(brings=STATE)
def the_machine_is_set_back_with_its_state(hand: Hand) -> None:
    """A snapshot of the whole machine: nothing on it can tell, and a checkpoint kept elsewhere can."""
    put_back(hand)
    older = hand.scene.victim.head().splitlines()
    file = StateFile(state_path(hand.scene.victim.keys, hand.scene.origin))
    file.overwrite(State(hand.path, int(older[1]), b64decode(older[2])))
    file.close()


@meets(refused=LedgerNotFound, words="there is no ledger at")
def the_ledger_is_deleted(hand: Hand) -> None:
    hand.path.unlink()


def start_afresh(hand: Hand) -> None:
    hand.path.unlink()
    hand.contents.unlink()
    (hand.scene.victim.keys / "known_ledgers").unlink()
    afresh = Ledger(hand.path, keys=hand.scene.victim.keys)
    afresh.write("hand", 1, "llm", "task", 1, 1, pass_fail=True)
    afresh.close()


add("a ledger started afresh under the same keys, before an auditor with pinned keys", start_afresh, "trust",
    keys=Keys.BOTH, words="pins no log of this origin", gaps=("ungoverned",))
add("a ledger started afresh under the same keys, before an auditor with a checkpoint", start_afresh, "trust", "checkpoint",
    keys=Keys.BOTH, words="is of .*, not of", brings=CHECKPOINT, gaps=("ungoverned",))


# Splices.


@meets("ledger:1", words="row 1: is of ledger")
def a_row_of_another_ledger_of_the_same_keys_takes_a_place(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("UPDATE row SET body = CAST(? AS TEXT), sig = ? WHERE idx = 0", hand.scene.other.sealed()[0])


@meets(*ALL_FROM_15, keys=Keys.LOG)
def a_session_of_another_ledger_of_the_same_keys_is_spliced_in(hand: Hand) -> None:
    hand.rows[14:] = hand.scene.other.sealed()
    hand.write()


@meets("tree", *(f"ledger:{number}" for number in range(1, ROWS + 1)))
def the_head_of_another_ledger_of_the_same_keys_is_put_in(hand: Hand) -> None:
    set_head(hand.path, hand.scene.other.head())


@meets("chain:20", keys=Keys.BOTH)
def a_row_of_one_session_is_moved_to_another(hand: Hand) -> None:
    hand.rows.append(hand.seal(hand.body(CLOSE_OF_ALPHA - 1) | {"session": "beta"}))
    hand.write()


@meets("head", words="the head does not hold: the checkpoint's signature does not verify|no signature by the key")
def the_head_is_signed_by_a_key_that_nobody_pinned(hand: Hand) -> None:
    scene, key = hand.scene, hand.stranger
    told = scene.kept.splitlines()
    checkpoint = Checkpoint(scene.origin, int(told[1]), b64decode(told[2]))
    set_head(hand.path, sign_checkpoint(checkpoint, Verifier(scene.origin, key.public), key.sign))


@meets("head", words="the ledger has no head")
def the_head_is_deleted(hand: Hand) -> None:
    with unguarded(hand.path) as sql:
        sql.execute("DELETE FROM head")


@meets("head", words="a checkpoint has three lines")
def the_head_gets_a_line_more(hand: Hand) -> None:
    set_head(hand.path, hand.scene.kept.replace("\n\n", "\nextension\n\n", 1))


@meets("tree:15", words="rows 15 to 19 are not in the tree of 14 rows")
def the_head_of_an_earlier_day_is_put_in(hand: Hand) -> None:
    aside = hand.path.with_name("aside.db")
    aside.write_bytes(hand.scene.earlier)
    shutil.copy(hand.contents, aside.with_name("aside.content.db"))
    set_head(hand.path, Victim(aside, hand.scene.victim.keys).head())
