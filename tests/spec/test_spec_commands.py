"""Criteria that run a command or hold a document against a JSON Schema: as keys, as checks, and before anything is spent."""

import importlib.util
import json
import re
import sys
from importlib.resources import files

import pytest

from safeloop.errors import SpecError
from safeloop.spec import Criterion, Ran, SpecResult, check, from_row, parse_spec, require_checkable, to_row
from safeloop.spec.checks import LONGEST_DETAIL
from safeloop.spec.schema import require_validator, schema_faults

TICKETS = json.dumps(
    {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    }
)
SPEC = """
what_it_does = "Sort tickets"
what_it_does_not = "Answer them"
done_looks_like = "tickets.json lists every ticket with its id, and the test passes"

[[criteria]]
name = "fits"
kind = "json_schema"
file = "tickets.json"
schema = '''{"type": "array"}'''
max_chars = 1000

[[criteria]]
name = "tested"
kind = "command"
command = ["python3", "/workspace/test.py", "é"]
retries = 1
"""


def fits(text, schema=TICKETS, **more):
    return check(Criterion("c", "t.json", kind="json_schema", schema=schema, **more), {"t.json": text})


def test_a_spec_file_and_a_row_hold_both_kinds():
    draft = parse_spec(SPEC.encode(), "job.toml")
    schema, command = draft.criteria
    assert (schema.kind, schema.file, schema.schema, schema.max_chars) == (
        "json_schema", "tickets.json", '{"type": "array"}', 1000
    )  # fmt: skip
    assert (command.kind, command.file, command.command) == ("command", None, ("python3", "/workspace/test.py", "é"))
    result = SpecResult(draft.what_it_does, draft.what_it_does_not, draft.done_looks_like, "s", criteria=draft.criteria)
    row = to_row(result)
    assert row["criteria"][1] == {
        "kind": "command", "name": "tested", "command": ["python3", "/workspace/test.py", "é"], "retries": 1
    }  # fmt: skip
    assert from_row("s", row).criteria == draft.criteria


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": "command"}, "command is missing"),
        ({"kind": "command", "command": "ls -l"}, "command must be a list of texts, not a line for a shell"),
        ({"kind": "command", "command": [1]}, "command must be a list of texts"),
        ({"kind": "command", "command": []}, "command names no program"),
        ({"kind": "command", "command": [" "]}, "command names no program"),
        ({"kind": "command", "command": ["a\0"]}, r"holds U\+0000"),
        ({"kind": "command", "command": ["\ud800"]}, "lone surrogate"),
        ({"kind": "command", "command": ["x" * 20_001]}, "more than 20000 bytes"),
        ({"kind": "command", "command": ["ls"], "file": "f"}, "file has no meaning in a criterion of the kind command"),
        ({"kind": "command", "command": ["ls"], "contains": ["f"]}, "contains has no meaning"),
        ({"kind": "command", "command": ["ls"], "min_chars": 0}, "min_chars has no meaning"),
        ({"kind": "json_schema", "file": "f"}, "schema is missing"),
        ({"kind": "json_schema", "schema": "{}"}, "file is missing"),
        ({"kind": "json_schema", "file": "f", "schema": "{"}, "schema is not JSON"),
        ({"kind": "json_schema", "file": "f", "schema": "[" * 100_000}, "schema is not JSON"),
        ({"kind": "json_schema", "file": "f", "schema": "[]"}, "schema must be a text that holds a JSON object"),
        ({"kind": "json_schema", "file": "f", "schema": {}}, "schema must be a text that holds a JSON object"),
        ({"kind": "json_schema", "file": "f", "schema": "{}", "command": ["ls"]}, "command has no meaning"),
        ({"kind": "file", "file": "f", "schema": "{}"}, "schema has no meaning in a criterion of the kind file"),
        ({"file": "f", "command": ["ls"]}, "command has no meaning in a criterion of the kind file"),
        ({"kind": "command", "command": ["ls"], "time_limit": 5}, 'key "time_limit" is unknown'),
        ({"kind": "commands", "command": ["ls"]}, 'kind "commands" is unknown'),
    ],
)
def test_what_a_kind_lacks_or_would_not_check_is_refused_by_its_key(row, said):
    with pytest.raises(SpecError, match=said) as refused:
        Criterion.of_row({"name": "c", **row})
    assert refused.value.hint


def test_a_document_that_fits_passes_and_says_how_much_was_asked():
    assert fits(b'[{"id": 1}]').passed
    assert fits(b'[{"id": 1}]', contains=("id",)).detail == "t.json: 2 of 2 conditions hold"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'[{"id": "x"}]', "$[0].id: 'x' is not of type 'integer'"),
        (b"[]", "$: [] should be non-empty"),
        (b"{}", "$: {} is not of type 'array'"),
        (b"[{]", "is not JSON"),
        (b'[{"id": 1, "id": 2}]', "is not JSON: an object has a key twice"),
        (b'[{"id": 1, "x": NaN}]', "is not JSON: NaN is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'[{"id": 1, "x": 1e999}]', "is not JSON: 1e999, which is too large for a number, is not JSON"),
        (b'[{"id": 1, "x": -1e999}]', "is not JSON: -1e999"),
        (b'\xef\xbb\xbf[{"id": 1}]', "is not JSON: Unexpected UTF-8 BOM"),
        (b"\xff[]", "not UTF-8 at byte 0"),
        (b" ", "empty"),
    ],
)
def test_a_document_that_does_not_fit_fails_and_says_where(text, said):
    verdict = fits(text)
    assert not verdict.passed
    assert said in verdict.detail


@pytest.mark.parametrize(
    "schema",
    [
        {"additionalProperties": {"pattern": "^[0-9]+[.][0-9]{2}$"}},
        {"additionalProperties": {"pattern": r"^12\.00$|^$"}},
        {"patternProperties": {"^key$": {}}, "additionalProperties": False},
    ],
)
def test_the_end_of_a_pattern_is_the_end_of_the_text(schema):
    name, value = ("key", "1") if "patternProperties" in schema else ("a", "12.00")
    assert fits(json.dumps({name: value}).encode(), json.dumps(schema)).passed
    ended = {f"{name}\n": value} if "patternProperties" in schema else {name: f"{value}\n"}
    assert not fits(json.dumps(ended).encode(), json.dumps(schema)).passed


@pytest.mark.parametrize(("pattern", "text"), [(r"^\$$", "$"), ("^[$]$", "$"), ("^[]$]$", "]"), (r"^[^\]$]$", "a"), (r"\\$", "\\")])
def test_a_dollar_that_is_no_end_stays_what_it_is(pattern, text):
    schema = json.dumps({"pattern": pattern})
    assert fits(json.dumps(text).encode(), schema).passed
    assert not fits(json.dumps(f"{text}\n").encode(), schema).passed


def test_the_example_of_the_page_refuses_what_is_no_ticket():
    page = files("safeloop.docs").joinpath("spec-files.md").read_text(encoding="utf-8")
    (schema,) = re.findall(r"^schema = \'\'\'(.*)\'\'\'$", page, re.MULTILINE)
    assert fits(b'[{"id": 1, "severity": "low"}]', schema).passed
    assert not fits(b'["x"]', schema).passed


def test_a_document_with_countless_faults_is_told_of_some():
    verdict = fits(json.dumps([{}] * 5_000).encode())
    assert not verdict.passed
    assert verdict.detail.count("is a required property") == 10
    assert len(verdict.detail.encode()) <= LONGEST_DETAIL


def test_a_pattern_that_takes_forever_is_ended_and_fails():
    schema = json.dumps({"type": "array", "items": {"pattern": "^(a+)+$"}})
    (said,) = schema_faults(schema, json.dumps(["a" * 60 + "b"]), seconds=1.5)
    assert "did not end within 1.5 s" in said


def test_a_reference_to_elsewhere_is_not_fetched_and_fails():
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        verdict = fits(b"[]", json.dumps({"$ref": f"http://127.0.0.1:{server.server_port}/s.json"}))
        server.shutdown()
    assert asked == []
    assert not verdict.passed
    assert "cannot be checked" in verdict.detail


def test_a_schema_that_is_none_is_refused_before_anything_is_spent():
    with pytest.raises(SpecError, match='criterion "c" has a schema that is none: .*type'):
        require_checkable((Criterion("c", "f", kind="json_schema", schema='{"type": 3}'),), None)
    require_checkable((Criterion("c", "f", kind="json_schema", schema=TICKETS), Criterion("d", "f")), None)


def test_without_the_library_a_spec_that_needs_it_is_refused_and_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match="needs the package jsonschema, which is not installed") as refused:
        require_validator("{}", "criterion c")
    assert refused.value.hint == "pip install 'safeloop[jsonschema]'"


def test_without_the_library_a_check_fails_and_never_passes(monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    assert not fits(b'[{"id": 1}]').passed


COMMAND = Criterion("tested", kind="command", command=("test", "-f", "out"))


def test_a_command_without_a_sandbox_is_refused_before_anything_is_spent():
    with pytest.raises(SpecError, match='criterion "tested" runs a command, and no sandbox was given'):
        require_checkable((COMMAND,), None)
    require_checkable((COMMAND,), lambda command, files: Ran(True, "x"))


def test_a_command_is_judged_by_what_its_runner_says_of_exactly_the_staged_files():
    asked = []

    def run(command, files):
        asked.append((command, dict(files)))
        return Ran(passed=len(asked) == 1, said=f"exit status {len(asked) - 1}")

    files = {"out": b"x", "b": b""}
    assert check(COMMAND, files, run=run).detail == "test -f out: exit status 0"
    verdict = check(COMMAND, files, run=run)
    assert (verdict.passed, verdict.detail) == (False, "test -f out: exit status 1")
    assert asked == [(("test", "-f", "out"), files)] * 2


@pytest.mark.parametrize("files", [{}, {"out": b""}, {"out": b" \n", "b": b"\t"}])
def test_a_command_passes_nothing_where_nothing_is_staged_and_is_not_run(files):
    def never(command, files):
        raise AssertionError("run")

    verdict = check(COMMAND, files, run=never)
    assert not verdict.passed
    assert "nothing is staged" in verdict.detail


def test_a_command_that_nobody_can_run_fails():
    verdict = check(COMMAND, {"out": b"x"})
    assert not verdict.passed
    assert "no sandbox was given, so it was not run" in verdict.detail
