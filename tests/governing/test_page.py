"""The page about governed code is true: its Python runs as it stands, in its order."""

import os
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from safeloop.ledger import Ledger
from tests.governing.blocks import audited, begun
from tests.servers.anthropic_server import AnthropicServer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "safeloop" / "docs" / "govern.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "governed_client.py"
EXPECTED = "hi\nhi\nturn_ceiling [None, 'turn_ceiling']\n"


@pytest.fixture
def environment(tmp_path, keys):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC")}
    return {**kept, "SAFELOOP_KEYS": str(keys), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}


def run(file, folder, environment, *arguments):
    with begun(file, folder, environment, *arguments) as process:
        out, err = process.communicate(timeout=120)
    return CompletedProcess(process.args, process.returncode, out, err)


def test_the_blocks_run_one_after_the_other(tmp_path, environment):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.S))
    with AnthropicServer(lambda _: "hi") as server:
        more = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": server.url}
        (tmp_path / "blocks.py").write_text(code)
        done = run(tmp_path / "blocks.py", tmp_path, {**environment, **more})
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)
    ledger = Ledger(tmp_path / "ledger.db")
    outcomes = [row.data["outcome"] for row in ledger.rows_of_kinds("close")]
    assert outcomes == ["completed", "completed", "breached", "completed"]
    assert len(server.posts) == len(ledger.rows_of_kinds("intent")) + 1, "and one that went by the escape"
    assert audited(ledger) == []


def test_the_page_names_every_argument_that_lets_something_pass():
    for word in ("clamp=False", "allow=[", "max_wait_s", "on_event", "with_options(middleware=[])"):
        assert word in PAGE


@pytest.mark.parametrize(("tokens", "code", "outcome"), [([], 0, "completed"), (["--tokens", "1100"], 10, "breached")])
def test_the_example_runs_without_a_key(tmp_path, environment, tokens, code, outcome):
    done = run(EXAMPLE, tmp_path, environment, *tokens)
    assert (done.returncode, done.stderr) == (code, "")
    ledger = Ledger(tmp_path / "ledger.db")
    (close,) = ledger.rows_of_kinds("close")
    assert close.data["outcome"] == outcome
    assert f"next: safeloop review {close.session}" in done.stdout
    assert audited(ledger) == []


def test_the_example_asks_a_server_where_there_is_a_key(tmp_path, environment):
    with AnthropicServer(lambda _: "real") as server:
        more = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": server.url}
        done = run(EXAMPLE, tmp_path, {**environment, **more})
    assert done.returncode == 0, done.stderr
    assert "\nreal\n" in done.stdout
    assert len(server.posts) == 4


def test_the_example_says_what_is_wrong_without_a_traceback(tmp_path, environment):
    (tmp_path / "ledger.db").mkdir()
    done = run(EXAMPLE, tmp_path, environment)
    assert done.returncode == 14
    assert "Traceback" not in done.stderr
