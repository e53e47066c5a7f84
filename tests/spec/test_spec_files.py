"""Spec files: one clear error for whatever is wrong, naming the file and the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import ExitCode, SpecError
from safeloop.spec import Ceilings, Criterion, ToolGrant, parse_spec, read_spec_file
from safeloop.spec.specfile import LONGEST_FILE

ANSWERS = """
what_it_does = "Audit one page for SEO faults"
what_it_does_not = "Change the page, follow links, render JavaScript"
done_looks_like = "report.md lists every fault, and the loop stops"
"""
WHOLE = (
    ANSWERS
    + """
[ceilings]
turns = 8
tokens = 40000

[tools]
permissions = ["read", "write"]

[[criteria]]
name = "report exists and names all three parts"
file = "report.md"
contains = ["Title", "Meta description", "Headings"]

[[criteria]]
name = "no leftovers"
kind = "file"
file = "report.md"
not_contains = ["TODO"]
matches = ['^# ']
min_chars = 10
max_chars = 5000
"""
)


def refused(text):
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(SpecError) as caught:
        parse_spec(data, "job.toml")
    assert str(caught.value).startswith("job.toml: ")
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


def test_a_whole_file_is_read(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(WHOLE)
    draft = read_spec_file(path)
    assert draft == read_spec_file(str(path))
    assert draft.what_it_does == "Audit one page for SEO faults"
    assert draft.what_it_does_not == "Change the page, follow links, render JavaScript"
    assert draft.done_looks_like == "report.md lists every fault, and the loop stops"
    assert draft.ceilings == Ceilings(turns=8, tokens=40000)
    assert draft.tools == ToolGrant(("read", "write"))
    assert draft.criteria == (
        Criterion("report exists and names all three parts", "report.md",
                  contains=("Title", "Meta description", "Headings")),
        Criterion("no leftovers", "report.md", not_contains=("TODO",), matches=("^# ",), min_chars=10,
                  max_chars=5000),
    )  # fmt: skip


def test_three_answers_alone_are_a_spec_that_grants_the_default():
    draft = parse_spec(ANSWERS.encode(), "job.toml")
    assert draft.ceilings == Ceilings()
    assert draft.tools == ToolGrant(("read", "write"), None)
    assert draft.criteria == ()


def test_white_space_around_an_answer_and_a_byte_order_mark_are_dropped():
    text = '\ufeff' + ANSWERS.replace('"Audit one page for SEO faults"', '"""\n  Audit it\n"""')
    assert parse_spec(text.encode(), "job.toml").what_it_does == "Audit it"


@pytest.mark.parametrize("key", ["what_it_does", "what_it_does_not", "done_looks_like"])
def test_a_missing_answer_is_named(key):
    text = "\n".join(line for line in ANSWERS.splitlines() if not line.startswith(f"{key} "))
    error = refused(text)
    assert f"{key} is missing" in str(error)
    assert key in error.hint


@pytest.mark.parametrize(
    ("value", "problem"),
    [('""', "is empty"), ('" \\n "', "is empty"), ("7", "must be a text"), ("['a']", "must be a text"),
     ('"a\\u0000"', "U+0000"), (f'"{"x" * 8001}"', "8001 bytes")],
)  # fmt: skip
@pytest.mark.parametrize("key", ["what_it_does", "what_it_does_not", "done_looks_like"])
def test_an_answer_that_cannot_stand_is_named(key, value, problem):
    lines = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in ANSWERS.splitlines()]
    assert f"{key} {problem}" in str(refused("\n".join(lines))).replace("holds the character ", "").replace("has ", "")


def test_done_that_repeats_the_task_is_refused():
    text = 'what_it_does = "Audit it"\nwhat_it_does_not = "b"\ndone_looks_like = "audit it!"'
    assert "done_looks_like only repeats" in str(refused(text))


@pytest.mark.parametrize(
    ("typo", "right"),
    [("what_it_do = 'x'", "what_it_does"), ("ceiling = 3", "ceilings"), ("[[criterion]]", "criteria"),
     ("[tool]", "tools"), ("Done_Looks_Like = 'x'", "done_looks_like")],
)  # fmt: skip
def test_a_misspelt_key_is_refused_and_the_right_one_told(typo, right):
    error = refused(ANSWERS + typo)
    assert "is unknown" in str(error)
    assert f'did you mean "{right}"?' == error.hint


def test_a_key_like_no_other_is_refused_and_all_are_told():
    error = refused(ANSWERS + '"\\u001b[2J" = 1')
    assert "\x1b" not in str(error)
    assert "what_it_does" in error.hint
    assert "criteria" in error.hint


def test_every_ceiling_of_the_table_can_be_written_in_a_spec_file():
    draft = parse_spec((ANSWERS + """
[ceilings]
turns = 8
tokens = 40000
cost_usd = "0.25"
time_s = 90
tool_calls = 20
errors = 2
repeats = 4
""").encode(), "job.toml")
    assert draft.ceilings == Ceilings(8, 40_000, 250_000, 90_000, 20, 2, 4)


@pytest.mark.parametrize(
    ("usd", "microusd"),
    [('"0"', 0), ('"0.000001"', 1), ('"0.0000019"', 1), ('"1e-3"', 1_000), ("3", 3_000_000), ('"12.345678"', 12_345_678)],
)
def test_money_is_read_exactly_and_never_as_more_than_was_written(usd, microusd):
    assert parse_spec((ANSWERS + f"[ceilings]\ncost_usd = {usd}").encode(), "job.toml").ceilings.microusd == microusd


@pytest.mark.parametrize("usd", ["0.25", '"-1"', '"nan"', '"inf"', '"9e99"', '"1_000"', '"$5"', '"0,25"', "true", "-1",
                                 '"\u0663"', "[1]", f'"{"9" * 50}"'])
def test_what_is_no_sum_of_money_is_refused(usd):
    error = refused(ANSWERS + f"[ceilings]\ncost_usd = {usd}")
    assert "ceilings: cost_usd must be US dollars" in str(error)
    assert 'cost_usd = "0.25"' in error.hint


@pytest.mark.parametrize("seconds", ["-1", "0.5", '"60"', "true", "9007199254740991"])
def test_what_is_no_number_of_seconds_is_refused(seconds):
    assert "ceilings: time_s must be" in str(refused(ANSWERS + f"[ceilings]\ntime_s = {seconds}"))


@pytest.mark.parametrize(("key", "near"), [("turn", "turns"), ("token", "tokens"), ("cost", "cost_usd")])
def test_a_misspelt_ceiling_is_no_ceiling_and_is_refused(key, near):
    error = refused(ANSWERS + f"[ceilings]\n{key} = 8")
    assert f'ceilings: key "{key}" is unknown' in str(error)
    assert near in error.hint


@pytest.mark.parametrize("value", ["-1", "true", "8.0", '"8"', "[8]", "9007199254740992", "inf", "1979-05-27"])
def test_a_ceiling_that_is_no_whole_number_is_refused_by_name(value):
    assert "ceilings: turns must be" in str(refused(ANSWERS + f"[ceilings]\nturns = {value}"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("ceilings = 5", "ceilings: must be a table, not a number"),
        ("ceilings = [1]", "ceilings: must be a table, not a list"),
        ("tools = 'read'", "tools: must be a table, not a text"),
        ("criteria = 'x'", "criteria must be a list of tables, not a text"),
        ("[criteria]\nname = 'x'", "criteria must be a list of tables, not a table"),
        ("criteria = [1]", "criteria 1: must be a table, not a number"),
        ("criteria = [1.5]", "criteria 1: must be a table, not a number with a fraction"),
        ("criteria = [true]", "criteria 1: must be a table, not true or false"),
        ("criteria = [12:00:00]", "criteria 1: must be a table, not a time"),
        ("[tools]\npermissions = 'read'", "tools: permissions must be a list of names, not a text"),
        ("[tools]\npermissions = ['READ']", 'tools: permission "READ" is unknown'),
        ("[tools]\npermissions = ['read', 'read']", 'tools: permissions holds "read" twice'),
        ("[tools]\npermissions = [1]", "tools: permissions must hold names, not a number"),
        ("[tools]\nnames = ['']", 'tools: names holds "", which is no name'),
        (f"[tools]\nnames = ['{'x' * 65}']", "which is no name"),
        ("[tools]\nnames = ['a\tb']", "tools: names holds"),
        ("[tools]\npermission = ['read']", 'tools: key "permission" is unknown'),
        ("[[criteria]]\nname = 'x'", 'criteria 1 "x": file is missing'),
        ("[[criteria]]\nfile = 'x'", "criteria 1: name is missing"),
        ("[[criteria]]\nname = 'x'\nfile = '../x'", 'criteria 1 "x": file "../x"'),
        ("[[criteria]]\nname = 'x'\nfile = 'f'\nmatches = ['(']", 'criteria 1 "x": matches holds "("'),
        ("[[criteria]]\nname = 'x'\nkind = 'command'\ncommand = 'ls'", 'criteria 1 "x": command must be a list'),
        ("[[criteria]]\nname = 'x'\ncommand = ['ls']", 'criteria 1 "x": file is missing'),
        ("[[criteria]]\nname = 'x'\nfile = 'f'\n" * 2, 'two criteria are named "x"'),
    ],
)
def test_a_table_that_says_something_else_is_refused_where_it_stands(table, said):
    assert said in str(refused(ANSWERS + table))


def test_only_the_second_criterion_is_blamed_for_its_fault():
    good = "[[criteria]]\nname = 'good'\nfile = 'f'\n"
    bad = good.replace("good", "bad") + "min_chars = -1"
    assert 'criteria 2 "bad": min_chars' in str(refused(ANSWERS + good + bad))


def test_more_names_than_a_grant_holds_are_refused():
    names = ", ".join(f"'t{number}'" for number in range(101))
    assert "names has 101 names" in str(refused(ANSWERS + f"[tools]\nnames = [{names}]"))


def test_named_tools_are_read():
    draft = parse_spec((ANSWERS + "[tools]\npermissions = []\nnames = ['fetch_page']").encode(), "job.toml")
    assert draft.tools == ToolGrant((), ("fetch_page",))


def test_a_spec_too_long_for_its_row_is_refused():
    criteria = "".join(
        f"[[criteria]]\nname = '{number}'\nfile = 'f'\ncontains = ['{'x' * 1000}']\n" for number in range(60)
    )
    assert "more than 58000 that fit into its row" in str(refused(ANSWERS + criteria))


@pytest.mark.parametrize("text", ["what_it_does = ", "= 3", "a = 'x", "{", "a = 1\na = 2", "\x00", "a = 1 b"])
def test_what_is_not_toml_is_refused_with_its_line_and_column(text):
    error = refused("\n" + text)
    assert "is not TOML" in str(error)
    assert "line" in str(error) or "end of document" in str(error)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 5_000])
def test_toml_that_overwhelms_its_parser_is_refused(text):
    refused(text)


def test_a_file_that_is_not_utf_8_is_refused_with_the_place():
    assert "not UTF-8 at byte 5" in str(refused(b"a = '\xff'"))


def test_a_huge_file_is_refused_and_the_bound_is_inclusive(tmp_path):
    padding = b"#" * (LONGEST_FILE - len(ANSWERS.encode()))
    path = tmp_path / "job.toml"
    path.write_bytes(ANSWERS.encode() + padding)
    assert read_spec_file(path).what_it_does_not.startswith("Change")
    path.write_bytes(ANSWERS.encode() + padding + b"#")
    with pytest.raises(SpecError, match="more than 1000000 bytes"):
        read_spec_file(path)


def test_a_missing_file_a_folder_and_an_impossible_path_are_refused(tmp_path):
    for path, said in (
        (tmp_path / "gone.toml", "gone.toml: there is no such spec file"),
        (tmp_path, "is a folder"),
        (tmp_path / ("x" * 300), "cannot be read"),
        ("a\x00b", "cannot be read"),
        (tmp_path / "gone.toml" / "x", "there is no such spec file"),
    ):
        with pytest.raises(SpecError, match=said) as caught:
            read_spec_file(path)
        assert caught.value.hint
        assert "\x00" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: (ANSWERS + t).encode("utf-8", "surrogatepass")))
def test_no_bytes_bring_anything_but_a_spec_or_a_spec_error(data):
    try:
        parse_spec(data, "job.toml")
    except SpecError as error:
        assert str(error).startswith("job.toml: ")
        assert error.hint
