"""`approvals`, `approve`, `refuse`, and the question at a terminal: as a person and as cron see them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import Done, Program

ALICE = "alice@example.org"
JOB = """\
what_it_does = "Delete one page"
what_it_does_not = "Delete any other page"
done_looks_like = "the page is gone and the loop stops"

[tools]
permissions = ["read", "write", "destructive"]
"""
TOOLS = """\
from pathlib import Path
from safeloop.tools import ToolRegistry

registry = ToolRegistry()
BURNT = Path(__file__).with_name("burnt")


@registry.tool()
def burn(what: str) -> str:
    with BURNT.open("a") as file:
        file.write(what + "\\n")
    return "burnt"
"""
HOSTILE = "page\u202e\x1b[2J"


def calling(*whats: str) -> list[dict[str, Any]]:
    calls = [{"type": "tool_use", "id": f"t{at}", "name": "burn", "input": {"what": what}} for at, what in enumerate(whats)]
    return [{"content": calls, "stop_reason": "tool_use"}]


@pytest.fixture
def office(program: Program) -> Program:
    """A job that destroys, and a reviewer with a key."""
    (program.folder / "burning.py").write_text(TOOLS)
    (program.folder / "job.toml").write_text(JOB)
    program.reviewer()
    return program


def burnt(program: Program) -> list[str]:
    file = program.folder / "burnt"
    return file.read_text().splitlines() if file.exists() else []


def run_of(program: Program, *whats: str) -> tuple[str, ...]:
    script = program.script(*calling(*(whats or ("page",))), "done")
    return ("run", "--spec-file", "job.toml", "--task", "x", "--tools", ".burning:registry", "--script", script)


def resume(program: Program, *more: str, session: str = "latest") -> Done:
    script = sorted(program.folder.glob("script-*.json"))[-1].name
    return program("resume", session, "--script", script, "--tools", ".burning:registry", *more)


def suspended(program: Program, *whats: str) -> dict[str, Any]:
    """Run to the first destructive call, as cron does; return what waits."""
    done = program(*run_of(program, *whats))
    assert done.code == ExitCode.SUSPENDED, done.err
    return waits(program)


def waits(program: Program) -> dict[str, Any]:
    (request,) = program("approvals", "--json").json["approvals"]
    assert isinstance(request, dict)
    return request


def sign(program: Program, statement: str, namespace: str = "safeloop-approval", key: str = "alice") -> None:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, statement]
    subprocess.run(command, cwd=program.folder, check=True, capture_output=True)


def approved(program: Program, request: dict[str, Any], *more: str, verb: str = "approve", folder: str = "out") -> Done:
    """Decide as somebody does whose key is on another machine."""
    done = program(verb, request["id"], "--as", ALICE, "--export", folder, *more)
    assert done.code == 0, done.err
    sign(program, f"{folder}/statement.json")
    return program(verb, "--statement", f"{folder}/statement.json", "--signature", f"{folder}/statement.json.sig")


def test_without_a_terminal_the_run_is_suspended_and_says_what_waits_and_which_command_decides(office: Program) -> None:
    done = office(*run_of(office, HOSTILE))
    assert done.code == ExitCode.SUSPENDED
    request = waits(office)
    assert f"approval: {request['id']} of burn waits for a reviewer's decision" in done.err
    assert f"hint: safeloop approve {request['id']}" in done.err
    assert (request["tool"], request["permission"], request["arguments"]) == ("burn", "destructive", {"what": HOSTILE})
    assert (request["state"], request["call"][:12]) == ("waits", request["id"])
    listed = office("approvals").out
    assert request["id"] in listed and r"page\u{202e}\\u001b[2J" in listed
    assert "\u202e" not in listed
    (item,) = office("inbox", "--json").json["waiting"]
    assert (item["state"], item["next"]) == ("approval", f"safeloop approve {request['id']}")
    assert re.search(r"approval +now .*\n +approval: ", office("inbox").out)
    assert burnt(office) == []


def test_a_decision_made_elsewhere_is_recorded_and_the_session_goes_on_and_the_audit_agrees(office: Program) -> None:
    request = suspended(office)
    done = approved(office, request)
    assert (done.code, f"next: safeloop resume {request['session']}" in done.err) == (0, True)
    assert re.match(rf"granted by {ALICE} until 20\S+Z, row \d+\n", done.out)
    (item,) = office("inbox", "--json").json["waiting"]
    assert (item["state"], item["next"]) == ("suspended", f"safeloop resume {request['session']}")
    assert waits(office)["state"] == "granted"
    assert "arguments\n  | {\n  |   \"what\": \"page\"\n  | }\n" in (office.folder / "out/call.txt").read_text()
    assert resume(office).code == 0
    assert burnt(office) == ["page"]
    assert office("approvals").out == "nothing waits\n"
    assert office("audit").code == 0
    assert resume(office).code == ExitCode.UNUSABLE
    assert burnt(office) == ["page"]


def test_what_is_refused_is_told_to_the_model_and_cannot_be_approved_any_more(office: Program) -> None:
    request = suspended(office)
    done = office("refuse", request["id"], "--as", ALICE, "--key", "alice", "--json")
    assert (done.code, done.json["decision"], done.json["expires_at"]) == (0, "refused", None)
    assert office("approvals").out == "nothing waits\n"
    late = office("approve", request["id"], "--as", ALICE, "--export", "late")
    assert (late.code, "no call waits under" in late.err) == (ExitCode.UNUSABLE, True)
    assert resume(office).code == 0
    assert burnt(office) == []
    assert office("audit").code == 0


def test_all_leaves_undecided_calls_alone_and_takes_them_once_somebody_has_decided(office: Program) -> None:
    request = suspended(office)
    script = sorted(office.folder.glob("script-*.json"))[-1].name
    every = ("resume", "--all", "--script", script, "--tools", ".burning:registry")
    left = office(*every, "--json")
    assert (left.code, [(one["action"], one["exit_code"]) for one in left.json["sessions"]]) == (0, [("person", 0)])
    assert "waits (approval: " in office(*every).out
    assert approved(office, request).code == 0
    assert "completed" in office(*every).out
    assert burnt(office) == ["page"]


def test_resuming_an_undecided_session_says_who_is_awaited(office: Program) -> None:
    request = suspended(office)
    done = resume(office)
    assert done.code == ExitCode.SUSPENDED
    assert f"{request['id']} of burn is destructive, and nobody has decided about it" in done.err
    assert f"safeloop approve {request['id']}, or safeloop refuse {request['id']}" in done.err


def test_nobody_approves_without_a_terminal_in_one_step(office: Program) -> None:
    request = suspended(office)
    done = office("approve", request["id"], "--as", ALICE, "--key", "alice", stdin=b"approve\n")
    assert (done.code, "--export DIR" in done.err) == (ExitCode.NEEDS_TERMINAL, True)
    assert office.kinds()[-1] == "close"


@pytest.mark.parametrize(("namespace", "key", "words"), [
    ("safeloop-review", "alice", "signed for namespace"), ("safeloop-approval", "eve", "is not pinned as a key of"),
    ("safeloop-approval", "writer", "is the operator's own key"),
])
def test_a_signature_that_would_count_for_nothing_is_refused_with_its_reason(
    office: Program, namespace: str, key: str, words: str
) -> None:
    request = suspended(office)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", office.folder / "eve"], check=True)
    if key == "writer":
        convert_writer_key(office.folder / "home/.config/safeloop/keys/writer.pem", office.folder / "writer")
    assert office("approve", request["id"], "--as", ALICE, "--export", "out").code == 0
    sign(office, "out/statement.json", namespace, key)
    done = office("approve", "--statement", "out/statement.json", "--signature", "out/statement.json.sig")
    assert (done.code, words in done.err) == (ExitCode.NOT_ATTESTED, True), done.err
    assert office.kinds()[-1] == "close"


def convert_writer_key(pem: Path, file: Path) -> None:
    """Write the operator's key as an SSH key, as a thief would."""
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(pem.read_bytes(), None)
    file.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()))
    file.chmod(0o600)


def test_a_statement_that_was_changed_after_it_was_signed_is_refused(office: Program) -> None:
    request = suspended(office)
    assert office("approve", request["id"], "--as", ALICE, "--export", "out").code == 0
    sign(office, "out/statement.json")
    file = office.folder / "out/statement.json"
    stated = json.loads(file.read_text())
    for changes in ({"expires_at": "2099-01-01T00:00:00.000000Z"}, {"by": "bob@example.org"}):
        file.write_text(json.dumps(stated | changes, sort_keys=True, separators=(",", ":")))
        done = office("approve", "--statement", str(file), "--signature", f"{file}.sig")
        assert (done.code, "would count for nothing" in done.err) == (ExitCode.NOT_ATTESTED, True)
    assert office.kinds()[-1] == "close"


@pytest.mark.parametrize("arguments", [
    ("approve",), ("refuse",), ("approve", "ID"), ("approve", "ID", "--as", ALICE, "--expires", "soon"),
    ("approve", "ID", "--as", ALICE, "--expires", "1s"), ("approve", "ID", "--as", ALICE, "--expires", "31d"),
    ("approve", "--signature", "x"), ("refuse", "ID", "--as", ALICE),
])
def test_what_has_no_meaning_is_refused(office: Program, arguments: tuple[str, ...]) -> None:
    request = suspended(office)
    done = office(*(request["id"] if word == "ID" else word for word in arguments))
    assert done.code == ExitCode.USAGE, done.err
    assert office("approve", "ab", "--as", ALICE).code == ExitCode.UNUSABLE


def test_a_person_at_a_terminal_approves_by_typing_the_whole_word(office: Program) -> None:
    request = suspended(office, HOSTILE)
    command = ("approve", request["id"], "--as", ALICE, "--key", "alice", "--expires", "10m")
    for answer in ("", "y", "yes", "approv"):
        with office.at_terminal(*command) as terminal:
            terminal.expect("Type the word approve in full: ")
            terminal.type(answer)
            assert terminal.wait() == ExitCode.NOT_ATTESTED
        assert office.kinds()[-1] == "close"
    with office.at_terminal(*command) as terminal:
        terminal.expect(r"page\u{202e}\u001b[2J")
        terminal.expect("Type the word approve in full: ")
        terminal.type("approve")
        assert terminal.wait() == 0
        assert "\x1b[2J" not in terminal.seen
    assert resume(office).code == 0
    assert burnt(office) == [HOSTILE]


ASKED = {"SAFELOOP_REVIEWER": ALICE, "SAFELOOP_REVIEWER_KEY": "alice"}
QUESTION = "Type the word in full; Enter alone is no: "


def test_a_run_at_a_terminal_asks_and_goes_on_with_the_answer(office: Program) -> None:
    with office.at_terminal(*run_of(office, "1", "2", "3"), env=ASKED) as terminal:
        for answer in ("approve", "", "yes", "leave"):
            terminal.expect(QUESTION)
            terminal.type(answer)
        assert terminal.wait() == ExitCode.SUSPENDED
    assert burnt(office) == ["1"]
    assert [row["data"]["decision"] for row in office.rows() if row["kind"] == "approval"] == ["granted", "refused"]
    script = sorted(office.folder.glob("script-*.json"))[-1].name
    again = ("resume", "latest", "--script", script, "--tools", ".burning:registry")
    with office.at_terminal(*again, env=ASKED) as terminal:
        terminal.expect('"what": "3"')
        terminal.expect(QUESTION)
        terminal.type("approve")
        assert terminal.wait() == 0
    assert burnt(office) == ["1", "3"]
    assert office("audit").code == 0


def test_at_a_terminal_silence_means_no(office: Program) -> None:
    with office.at_terminal(*run_of(office), env={**ASKED, "SAFELOOP_APPROVAL_WAIT": "1"}) as terminal:
        terminal.expect("no answer for 1 s: that is a no")
        assert terminal.wait() == 0
    assert burnt(office) == []
    assert [row["data"]["decision"] for row in office.rows() if row["kind"] == "approval"] == ["expired"]


def test_wrong_words_do_not_begin_the_wait_anew(office: Program) -> None:
    with office.at_terminal(*run_of(office), env={**ASKED, "SAFELOOP_APPROVAL_WAIT": "3"}) as terminal:
        terminal.expect(QUESTION)
        began = time.monotonic()
        time.sleep(2)
        terminal.type("yes")
        terminal.expect("no answer for 3 s: that is a no")
        assert time.monotonic() - began < 4.5
        assert terminal.wait() == 0
    assert burnt(office) == []


def test_a_grant_of_a_key_that_is_no_longer_pinned_is_not_listed_as_one(office: Program) -> None:
    request = suspended(office)
    assert approved(office, request).code == 0
    assert (waits(office)["state"], waits(office)["next"]) == ("granted", f"safeloop resume {request['session']}")
    (pins,) = office.folder.rglob("reviewers")
    pins.write_text("")
    assert (waits(office)["state"], waits(office)["next"]) == ("waits", f"safeloop approve {request['id']}")


def test_a_list_of_calls_shows_no_line_that_a_terminal_would_break(office: Program) -> None:
    suspended(office, "x" * 60 + f"{'6f1c20ab93de  granted': <80}" * 3)
    assert max(map(len, office("approvals").out.splitlines())) <= 79


def test_what_was_typed_before_the_question_is_no_answer_to_it(office: Program) -> None:
    with office.at_terminal(*run_of(office), env={**ASKED, "SAFELOOP_APPROVAL_WAIT": "2"}) as terminal:
        terminal.type("approve")
        terminal.expect("no answer for 2 s")
        assert terminal.wait() == 0
    assert burnt(office) == []


def test_control_c_at_the_question_suspends_the_session_and_nobody_has_decided(office: Program) -> None:
    with office.at_terminal(*run_of(office), env=ASKED) as terminal:
        terminal.expect(QUESTION)
        assert terminal.leave("C") == ExitCode.CANCELLED
    assert burnt(office) == []
    request = waits(office)
    assert office.kinds()[-2:] == ["call", "close"]
    assert approved(office, request).code == 0
    assert resume(office).code == 0
    assert burnt(office) == ["page"]


def test_a_key_that_cannot_sign_leaves_the_call_waiting(office: Program) -> None:
    with office.at_terminal(*run_of(office), env={**ASKED, "SAFELOOP_REVIEWER_KEY": "nokey"}) as terminal:
        terminal.expect(QUESTION)
        terminal.type("approve")
        terminal.expect("not signed: there is no key at nokey")
        assert terminal.wait() == ExitCode.SUSPENDED
    assert burnt(office) == []


def test_an_expired_grant_runs_nothing(office: Program) -> None:
    request = suspended(office)
    assert approved(office, request, "--expires", "3s").code == 0
    time.sleep(1.5)
    assert resume(office).code == 0
    assert burnt(office) == []
    assert [row["data"]["decision"] for row in office.rows() if row["kind"] == "approval"] == ["granted", "expired"]
    assert office("audit").code == 0
