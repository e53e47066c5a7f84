"""The SEO audit of a page that is fetched while it runs: from the spec file to the release that an auditor verifies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import accept
from tests.cli.program import ROOT, Program
from tests.cli.test_exit_codes import claude
from tests.servers.anthropic_server import AnthropicServer, message, text, tool_use
from tests.tools.fetching.server import RawServer, answer, sends

PAGE = b"<html><head><title>Lantern live</title></head><body><h1>Lanterns</h1><h3>Wicks</h3></body></html>"


@pytest.fixture
def machine(tmp_path: Path) -> Program:
    made = Program.at(tmp_path / "p")
    assert made("init").code == 0
    shutil.copytree(ROOT / "examples" / "seo-audit", made.folder / "examples" / "seo-audit")
    return made


class Auditor:
    """Answers as a model would: asks for the page, reports what it read there, and says that it is done."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.read: list[Any] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        last = request["messages"][-1]["content"]
        results = [block for block in last if isinstance(block, dict) and block.get("type") == "tool_result"]
        if not results:
            return message(tool_use("fetch_url", {"url": self.url}, "c1"))
        if results[0]["tool_use_id"] == "c2":
            return message(text("The report is written."))
        self.read.append(results[0])
        lines = f"# {self.url}\n\n## Title\n{self.title()}\n\n## Meta description\nNone.\n\n## Headings\nh3 follows h1.\n"
        return message(tool_use("write_file", {"path": "report.md", "content": lines}, "c2"))

    def title(self) -> str:
        said = json.dumps(self.read[0]["content"])
        return "Lantern live" if "Lantern live" in said else "no title was read"


def test_a_live_page_is_fetched_reported_on_reviewed_released_and_verified(machine: Program) -> None:
    with RawServer(sends(answer(PAGE, kind="text/html"))) as page:
        url = f"http://127.0.0.1:{page.port}/"
        auditor = Auditor(url)
        with AnthropicServer(auditor) as model:
            run = ("run", "--spec-file", "examples/seo-audit/spec.toml", "--task", f"Audit {url}", "--max-tokens", "4096")
            machine(*run, env=claude(model))
            assert page.connections == 0, "this machine's own addresses are not fetched from unasked"
            auditor.read.clear()
            allowed = {**claude(model), "SAFELOOP_FETCH_ALLOW": f"127.0.0.1:{page.port}"}
            done = machine(*run, env=allowed)
    assert (done.code, page.connections) == (0, 1), done.err
    shown = machine("review", "latest").out
    assert "report names all three parts" in shown
    accept(machine, machine.rows()[-1]["session"], machine.reviewer())
    released = machine("release", "latest", "--to", "out")
    assert released.code == 0, released.err
    (report,) = (machine.folder / "out").rglob("report.md")
    assert "Lantern live" in report.read_text("utf-8")
    assert machine("audit").code == 0
    fetches = [row for row in machine.rows() if row["kind"] == "tool" and row["data"]["tool"] == "fetch_url"]
    assert [row["data"]["pass_fail"] for row in fetches] == [False, True]
