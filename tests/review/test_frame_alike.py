"""Two different sessions never render to the same bytes: not by their words, and not by any one fact of any one row."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.errors import SafeloopError, VerificationError
from safeloop.ledger import Content
from safeloop.review.framing.facts import Facts
from safeloop.review.framing.frame import render
from safeloop.spec import Ceilings, Criterion, ToolGrant
from tests.review.sessions import PaperLedger, SessionBuilder, completed, facts_of, paper
from tests.review.test_frame import breached, hostile, resumed, ungoverned

NASTY = st.text(st.sampled_from("ab \n\r\t\\|{}\"u01\u202e\ufeff\u2028-+@é"), max_size=12)
ANSWER = NASTY.map(lambda text: "x" + text)


def same_rows(first: SessionBuilder, second: SessionBuilder) -> tuple[str, str]:
    """Render two sessions as if their ids and leaves were the same: only the words are left to tell them apart."""
    texts = [render(facts_of(builder)) for builder in (first, second)]
    for at, builder in enumerate((first, second)):
        for n, row in enumerate(builder.rows):
            texts[at] = texts[at].replace(row.leaf, f"leaf {n}")
    return texts[0], texts[1]


@settings(deadline=None)
@given(one=st.tuples(ANSWER, ANSWER, ANSWER, NASTY, NASTY), other=st.tuples(ANSWER, ANSWER, ANSWER, NASTY, NASTY))
def test_two_sessions_that_differ_only_in_their_words_never_give_the_same_bytes(one, other):
    def build(does, does_not, done, task, output):
        builder = paper().spec(does, does_not, done).open(task, input_hash="ab" * 32)
        return builder.row("close", {
            "outcome": "completed", "reason": None, "turns": 0, "total_tokens": 0, "cost_microusd": None,
            "elapsed_ms": 0, "output": builder.book.content(output.encode(), "text/plain").commitment,
            "files": builder.book.content(b"[]", "application/json").commitment, "file_count": 0,
        })

    first, second = same_rows(build(*one), build(*other))
    assert (first == second) == (one == other)


@settings(deadline=None)
@given(one=st.dictionaries(ANSWER, st.tuples(st.none() | NASTY, NASTY), max_size=3),
       other=st.dictionaries(ANSWER, st.tuples(st.none() | NASTY, NASTY), max_size=3))
def test_two_sets_of_staged_files_never_give_the_same_bytes(one, other):
    def build(files):
        encoded = {name: (None if old is None else old.encode(), new.encode()) for name, (old, new) in files.items()}
        return paper().spec().open().close(files=encoded)

    first, second = same_rows(build(one), build(other))
    assert (first == second) == (one == other)


def test_the_same_words_in_two_sessions_give_two_frames():
    texts = {render(facts_of(completed(PaperLedger(), f"session-{n}"))) for n in range(3)}
    assert len(texts) == 3


# --- any one fact -------------------------------------------------------------------------------------------------

WHOLE = {"breached": breached, "hostile": hostile, "resumed": resumed, "ungoverned": ungoverned}
Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place within the data of a row that holds something."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in inner:
        yield from leaves(item, (*path, key))


def other(value: Any) -> Any:
    """Another value that may well be of the same form."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        is_digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return hashlib.sha256(value.encode()).hexdigest() if is_digest else f"{value}x"
    if isinstance(value, dict):
        return dict(list(value.items())[1:])
    return "x" if value is None else [*value, *value] if value else ["x"]


def changed(value: Any, path: Path) -> Any:
    if not path:
        return other(value)
    if isinstance(value, dict):
        return {key: changed(item, path[1:]) if key == path[0] else item for key, item in value.items()}
    return [changed(item, path[1:]) if at == path[0] else item for at, item in enumerate(value)]


def again(base: SessionBuilder, n: int, data: Any) -> SessionBuilder:
    """The same rows in the same moments with the same contents, but for the data of one."""
    assert isinstance(base.book, PaperLedger)
    builder = paper(base.session)
    builder.book.contents = dict(base.book.contents)
    for row in base.rows:
        builder.row(row.kind, data if row.n == n else row.data)
    return builder


PLACES = [(name, row.n, path) for name, build in WHOLE.items() for row in build().rows for path in leaves(row.data) if path]


@settings(deadline=None, max_examples=150)
@given(place=st.sampled_from(PLACES))
def test_a_change_of_any_one_value_of_any_one_row_changes_the_frame_or_is_refused(place: tuple[str, int, Path]):
    name, n, path = place
    base = WHOLE[name]()
    frame = render(facts_of(base))
    assert render(facts_of(again(base, n, base.rows[n].data))) == frame, "or what follows would prove nothing"
    try:
        found = render(facts_of(again(base, n, changed(base.rows[n].data, path))))
    except (SafeloopError, AssertionError):
        return  # no session of that form has a frame
    assert found != frame


@pytest.mark.parametrize("name", WHOLE)
def test_a_row_more_less_or_elsewhere_changes_the_frame(name: str):
    base = WHOLE[name]()
    frame = render(facts_of(base))
    middle = [row for row in base.rows if row.kind not in ("spec", "open", "close")]
    for row in middle:
        for rows in ([each for each in base.rows if each is not row],
                     [each for at in base.rows for each in ((at, at) if at is row else (at,))]):
            builder = again(base, -1, None)
            builder.book.rows.clear()
            builder.rows.clear()
            for each in rows:
                builder.row(each.kind, each.data)
            assert render(facts_of(builder)) != frame


def test_a_change_of_any_one_byte_of_any_content_changes_the_frame():
    base = resumed()
    assert isinstance(base.book, PaperLedger)
    frame = render(facts_of(base))
    for digest, data in base.book.contents.items():
        content = Content(data + b" ", "text/plain", hashlib.sha256(digest.encode()).digest())
        rows = [(row, put(row.data, digest, content)) for row in base.rows]
        (hit, new), = [(row, new) for row, new in rows if new != row.data] or [(None, None)]
        if hit is None:
            continue  # the list of another session's files
        builder = again(base, hit.n, new)
        builder.book.contents[content.digest.hex()] = content.data
        try:
            assert render(facts_of(builder)) != frame, data
        except VerificationError:
            assert hit.kind == "close", "only a list of files can be no list any more"


def put(value: Any, digest: str, content: Content) -> Any:
    """Put another commitment where this one is."""
    if isinstance(value, dict):
        if value.get("salted_sha256") == digest:
            return {**value, "salted_sha256": content.digest.hex(), "bytes": len(content.data)}
        return {key: put(item, digest, content) for key, item in value.items()}
    return value


def test_a_change_of_anything_else_that_a_frame_is_made_of_changes_it():
    facts = facts_of(resumed())
    frame = render(facts)
    others: list[Facts] = [replace(facts, ledger="safeloop.local/other"), replace(facts, session="other")]
    specs = [replace(facts.spec, what_it_does="a"), replace(facts.spec, what_it_does_not="b"),
             replace(facts.spec, done_looks_like="c"), replace(facts.spec, tools=ToolGrant(("read",), ("write_file",))),
             replace(facts.spec, criteria=facts.spec.criteria[:1]),
             replace(facts.spec, ceilings=Ceilings(turns=7, tokens=40_000))]
    for criterion in (Criterion("kept", "report.md", min_chars=2), Criterion("kept", "report.md", min_chars=1, retries=1),
                      Criterion("kept", "other.md", min_chars=1), Criterion("kept", "report.md", max_chars=1)):
        specs.append(replace(facts.spec, criteria=(criterion, *facts.spec.criteria[1:])))
    others += [replace(facts, spec=spec) for spec in specs]
    assert isinstance(facts.files, tuple)
    (file,) = facts.files
    others += [replace(facts, files=()), *(replace(facts, files=(each,)) for each in (
        replace(file, name="report.md "), replace(file, before=None), replace(file, after=b"# Title"),
        replace(file, before=b"\n"))), replace(facts, files=(file, replace(file, name="b.md")))]
    texts = [render(each) for each in others]
    assert frame not in texts
    assert len(set(texts)) == len(texts)


def test_a_spec_of_another_ledger_is_told_from_one_that_promised_other_ceilings():
    facts = facts_of(ungoverned())
    rows = tuple(row for row in facts.rows if row.kind != "spec")
    texts = {render(replace(facts, rows=rows, spec=replace(facts.spec, ceilings=ceilings)))
             for ceilings in (Ceilings(), Ceilings(turns=1), Ceilings(turns=2), Ceilings(tokens=1))}
    assert len(texts) == 4
    assert all("its spec is in another" in text.replace("\n    \\ ", "") for text in texts)
