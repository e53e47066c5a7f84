"""Settings: who speaks first is heard, except that ceilings only ever tighten; and nothing answers for a person."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeloop.cli.settings import KNOWN, Known, Settings
from safeloop.errors import SettingError
from safeloop.spec import Ceilings
from tests.cli.program import Program

BY_NAME = {known.name: known for known in KNOWN}
CEILINGS = [known for known in KNOWN if known.tightens]
PLAIN = [known for known in KNOWN if not known.tightens]
numbers = st.integers(0, 100)


def toml(values: dict[str, Any]) -> str:
    return "".join(f"{name} = {value!r}\n" if isinstance(value, int) else f'{name} = "{value}"\n'
                   for name, value in values.items())  # fmt: skip


def settings_of(
    flag: dict[str, Any] | None = None, environment: dict[str, Any] | None = None, project: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
) -> Settings:
    """Settings from four sources; the files are read at once."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "safeloop").mkdir()
        (folder / "safeloop.toml").write_text(toml(project or {}))
        (folder / "safeloop" / "config.toml").write_text(toml(user or {}))
        variables = {BY_NAME[name].variable: str(value) for name, value in (environment or {}).items()}
        return Settings(flag, environment={"XDG_CONFIG_HOME": made, **variables}, folder=folder)


def sample(known: Known, source: str) -> Any:
    return {"flag": 11, "environment": 12, "project": 13, "user": 14}[source] if known.kind == "int" else f"by-{source}"


@pytest.mark.parametrize("known", PLAIN, ids=lambda known: known.name)
def test_the_first_source_that_speaks_wins(known: Known) -> None:
    sources = ["flag", "environment", *(["project"] if known.project else []), "user"]
    for first in range(len(sources)):
        given_by = {source: {known.name: sample(known, source)} for source in sources[first:]}
        value = settings_of(**given_by).get(known.name)
        assert value.value == sample(known, sources[first])
        word = {"flag": f"flag --{known.name.replace('_', '-')}", "environment": known.variable,
                "project": "project file", "user": "user file"}[sources[first]]  # fmt: skip
        assert value.origin.startswith(word)
    assert (settings_of().get(known.name).value, settings_of().get(known.name).origin) == (known.default, "default")


@given(
    flag=st.none() | numbers, environment=st.none() | numbers, project=st.none() | numbers, user=st.none() | numbers,
    promised=st.none() | numbers,
)
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("name", [known.name for known in CEILINGS if known.kind == "int"])
def test_no_source_loosens_a_ceiling_that_another_has_set(
    name: str, flag: int | None, environment: int | None, project: int | None, user: int | None, promised: int | None
) -> None:
    sources = {"flag": flag, "environment": environment, "project": project, "user": user}
    found = settings_of(**{source: {name: value} for source, value in sources.items() if value is not None})
    ceiling, unit = {"time_s": ("elapsed_ms", 1_000), "cost_usd": ("microusd", 10**6)}.get(name, (name, 1))
    allowed = found.ceilings(Ceilings(**{ceiling: None if promised is None else promised * unit}))
    held = getattr(allowed, ceiling)
    operator = next((value for value in (flag, environment, user) if value is not None), None)
    default = BY_NAME[name].default if operator is None and promised is None else None
    spoken = [value for value in (operator, project, promised, default) if value is not None]
    assert held == (min(spoken) * unit if spoken else None)
    shown = [value for value in (BY_NAME[name].default if operator is None else operator, project) if value is not None]
    assert found.get(name).value == (min(shown) if shown else None)


money = st.integers(0, 5_000_000)


@given(flag=st.none() | money, environment=st.none() | money, project=st.none() | money, user=st.none() | money,
       promised=st.none() | money)
@settings(max_examples=200, deadline=None)
def test_money_is_tightened_by_its_value_and_not_by_its_letters(
    flag: int | None, environment: int | None, project: int | None, user: int | None, promised: int | None
) -> None:
    """Micro-dollars, written as dollars: "9" is less than "10"."""
    sources = {"flag": flag, "environment": environment, "project": project, "user": user}
    found = settings_of(**{source: {"cost_usd": f"{value / 10**6:.6f}"} for source, value in sources.items()
                           if value is not None})
    operator = next((value for value in (flag, environment, user) if value is not None), None)
    spoken = [value for value in (operator, project, promised) if value is not None]
    assert found.ceilings(Ceilings(microusd=promised)).microusd == min(spoken, default=None)


@pytest.mark.parametrize(("source", "name"), [("flag", "flag --cost-usd"), ("environment", "SAFELOOP_COST_USD"),
                                              ("project", "project file"), ("user", "user file")])
def test_what_is_no_money_is_refused_by_the_name_of_whoever_said_it(source: str, name: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}.* must be US dollars"):
        settings_of(**{source: {"cost_usd": "five"}}).ceilings(Ceilings())


@pytest.mark.parametrize("known", [known for known in KNOWN if not known.project], ids=lambda known: known.name)
def test_a_project_never_says_who_is_trusted(known: Known) -> None:
    with pytest.raises(SettingError, match=f"a project file never sets {known.name}") as refused:
        settings_of(project={known.name: "anything"})
    assert known.variable in refused.value.hint
    value = 7 if known.kind == "int" else "anything"
    assert settings_of(user={known.name: value}).get(known.name).value == value


@pytest.mark.parametrize(
    ("text", "said"),
    [("keys = [", "is not TOML"), ("turnz = 3", "there is no setting 'turnz'"), ('turns = "3"', "whole number"),
     ("turns = -1", "whole number"), ("turns = true", "whole number"), ("turns = 1.5", "whole number"),
     ("model = 5", "model must be a text"), ('model = ""', "model must be a text"), ("[ledger]\na = 1", "must be a text"),
     ("ledger = " + "[" * 5000, "nested too deeply"), ("turns = " + "9" * 5000, "is not TOML"),
     ("\0", "is not TOML"), ("\ufffe = 1", "is not TOML")],
    ids=lambda text: text[:20],
)  # fmt: skip
@pytest.mark.parametrize("where", ["safeloop.toml", "home/.config/safeloop/config.toml"])
def test_a_file_that_means_nothing_is_refused_by_name(tmp_path: Path, text: str, said: str, where: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(SettingError, match=said) as refused:
        Settings(environment={"HOME": str(tmp_path / "home")}, folder=tmp_path)
    assert path.name in str(refused.value)
    assert refused.value.hint or "must be" in str(refused.value)


def test_a_file_that_is_no_file_is_refused(program: Program) -> None:
    (program.folder / "safeloop.toml").mkdir()
    done = program("config")
    assert (done.code, done.err.count("error:")) == (2, 1)
    assert "safeloop.toml cannot be read: Is a directory" in done.err
    (program.folder / "safeloop.toml").rmdir()
    (program.folder / "safeloop.toml").write_bytes(b"model = \"\xff\"")
    assert "safeloop.toml is not TOML" in program("config").err


@pytest.mark.parametrize("name", ["turns", "tokens", "max_tokens"])
@pytest.mark.parametrize("text", ["x", "-1", "1.5", "١", "1_000", " 1", "9" * 5000, "1e3", "+1"], ids=lambda text: text[:8])
def test_a_variable_that_is_no_number_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"^SAFELOOP_{name.upper()} must be a whole number from 0"):
        settings_of(environment={name: text})


@pytest.mark.parametrize("name", ["ledger", "keys", "trust"])
@pytest.mark.parametrize("text", ["a\0b", "~nobody-of-this-name/x"])
def test_a_path_that_is_none_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=name):
        settings_of(flag={name: text}).path(name)


def test_an_empty_variable_says_nothing(program: Program) -> None:
    empty = {known.variable: "" for known in KNOWN}
    assert program("config", env=empty).out == program("config").out


def test_numbers_that_no_row_can_hold_are_refused_before_anything_is_recorded(program: Program) -> None:
    for arguments in (("--turns", "9" * 30), ("--tokens", "9" * 30), ("--max-tokens", "9" * 30)):
        done = program.job(*arguments)
        assert (done.code, done.err.count("error:")) == (2, 1)
    done = program.job(env={"SAFELOOP_MAX_TOKENS": "0"})
    assert done.code == 2
    assert program.kinds() == []


def test_the_project_tightens_and_does_not_loosen_a_real_run(program: Program) -> None:
    (program.folder / "safeloop.toml").write_text("turns = 1\n")
    assert program.job("--turns", "5").code == 10
    (program.folder / "safeloop.toml").write_text("turns = 500\ntokens = 999999\n")
    assert program.job("--turns", "1").code == 10
    assert program.job().code == 0
    ceilings = [row["data"]["ceilings"] for row in program.rows() if row["kind"] == "open"]
    usual = {"turns": 5, "tokens": 15000, "errors": 3, "repeats": 3}
    assert ceilings == [usual | {"turns": 1}, usual | {"turns": 1}, usual]


def test_no_variable_answers_for_a_person(program: Program) -> None:
    """click can let `PROGRAM_COMMAND_OPTION` answer prompts and confirmations; here nothing does."""
    answers = ("WHAT_IT_DOES", "SPEC_WHAT_IT_DOES", "DECISION", "ATTEST_DECISION", "ACCEPT", "YES", "ATTEST_YES", "FORCE",
               "RELEASE_FORCE", "STRICT", "SPEC_STRICT", "TASK", "RUN_TASK", "SIGNATURE", "ATTEST_SIGNATURE")  # fmt: skip
    env = {f"SAFELOOP_{name}": "accept" for name in answers}
    assert program("spec", env=env).code == 13
    assert program("run", "--spec-file", "job.toml", "--script", "writes.json", env=env).code == 2
    assert program.kinds() == []
    program.job()
    assert program("attest", "latest", "--as", "a", "--key", "k", env=env).code == 13
    key = program.reviewer()
    with program.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", str(key), env=env) as terminal:
        terminal.expect("leave? ")
        terminal.type("")
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        terminal.type("")
        assert terminal.wait() == 12
    assert "attestation" not in program.kinds()


@pytest.mark.parametrize("more", ["> seen.txt", "--json 2> seen.txt", "> seen.txt 2> /dev/null"])
def test_nobody_signs_a_frame_that_was_not_on_the_screen(kept: Program, more: str) -> None:
    command = f"safeloop attest latest --as alice@example.org --key alice {more}"
    with kept.terminal("bash", "-c", command) as terminal:
        assert terminal.wait() == 13
    assert "attestation" not in kept.kinds()


def test_attest_as_json_shows_the_frame_on_the_terminal_and_prints_one_object(program: Program) -> None:
    program.reviewer()
    assert program.job().code == 0
    command = "safeloop attest latest --as alice@example.org --key alice --json > out.json"
    with program.terminal("bash", "-c", command) as terminal:
        terminal.expect("[5] UNRESOLVED ASSUMPTIONS")
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        terminal.type(re.findall(r"frame sha256 ([0-9a-f]{64})", terminal.seen)[0][-4:])
        assert terminal.wait() == 0, terminal.seen
    assert json.loads((program.folder / "out.json").read_text())["reviewer"] == "alice@example.org"


def test_only_the_whole_word_accepts(kept: Program) -> None:
    key = kept.folder / "alice"
    with kept.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", str(key)) as terminal:
        for answer in ("", "y", "yes", "ok", "accep", "accept it", "ACCEPT!", "1", "approve"):
            terminal.expect("leave? ")  # asked again
            terminal.type(answer)
        terminal.expect("leave? ")
        terminal.type("leave")
        assert terminal.wait() == 12
    assert "attestation" not in kept.kinds()


def test_what_a_person_types_that_is_not_text_is_no_answer(program: Program) -> None:
    with program.at_terminal("spec") as terminal:
        terminal.expect("What does this do?")
        os.write(terminal.descriptor, b"\xff\xfe\n")
        terminal.expect("missing answer")
        terminal.expect("What does this do? ")
        assert terminal.leave("D") == 130
    assert "Traceback" not in terminal.seen
    assert program.kinds() == []
