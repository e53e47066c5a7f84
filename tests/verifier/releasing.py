"""Releases: on whose word, about which frame, under which policy: rule 9."""

from datetime import datetime, timedelta

from tests.verifier.attest import Voice, voice
from tests.verifier.rows import Row
from tests.verifier.session import Book, Session
from tests.verifier.trust import release_policy


def release(book: Book, session: Session, row: Row) -> None:
    wrong = _wrong(book, session, row)
    if wrong:
        book.fail(row, "release", "; ".join(wrong))


def _wrong(book: Book, session: Session, row: Row) -> list[str]:
    """Return what speaks against a release."""
    close = session.close
    if close is None:
        return ["the session was not closed"]
    policy = release_policy(row.data["policy"])
    if policy is None:
        return ["the policy is not the four keys in JCS"]
    wrong = []
    if session.intruder is not None:
        wrong.append("rows came after the close that must not")
    allowed = {"completed": True, "breached": policy["accept_breach"], "unmet": policy["accept_unmet"]}
    if not allowed.get(close.data["outcome"], False):
        wrong.append(f"a session that is {close.data['outcome']}")
    if any(row.data[key] != close.data[key] for key in ("files", "file_count")):
        wrong.append("not the files of the close")
    words = [one for one in session.rows[close.n + 1 :] if one.kind == "attestation"]
    voices = [found for one in words if (found := voice(session, close, one, book.trust))]
    return wrong + _unsupported(voices, set(row.data["attestations"]), policy)


def _unsupported(voices: list[Voice], leaves: set[str], policy: dict[str, int]) -> list[str]:
    named = [one for one in voices if one.row.leaf.hex() in leaves]
    wrong = ["names an attestation that does not count"] if len(named) < len(leaves) else []
    if len({one.about for one in named}) > 1:
        return [*wrong, "the attestations are about different frames"]
    heard = [one for one in voices if one.about in {other.about for other in named}]
    last = {one.raw: one for at, one in enumerate(heard) if not _is_overtaken(one, heard[:at])}
    accepts = [one for one in named if one.is_accept and last.get(one.raw) is one]
    if len(accepts) < len(named):
        wrong.append("names what is no accept, or one that a later word overtook")
    if len(accepts) < policy["accepts"]:
        wrong.append(f"{len(accepts)} of {policy['accepts']} accepts")
    if policy["any_reject_blocks"] and not all(one.is_accept for one in last.values()):
        wrong.append("a reject stands against it")
    return wrong


def _is_overtaken(one: Voice, earlier: list[Voice]) -> bool:
    """Say whether an accept was stated no later than an earlier row's word of the same key."""
    return one.is_accept and any(other.raw == one.raw and _overtakes(other, one) for other in earlier)


def _overtakes(other: Voice, one: Voice) -> bool:
    if other.stated_at == one.stated_at or not _is_dated_ahead(other):
        return other.stated_at >= one.stated_at
    return False


def _is_dated_ahead(one: Voice) -> bool:
    """Say whether it is an accept of more than five minutes after its row; what is no moment is never reached."""
    try:
        stated = datetime.fromisoformat(one.stated_at)
    except ValueError:
        return one.is_accept
    return one.is_accept and stated - datetime.fromisoformat(one.row.body["at"]) > timedelta(minutes=5)
