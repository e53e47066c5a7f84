"""The arrows between rooms, and the size of what is in them: read from the syntax trees, so that they cannot drift."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "safeloop"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom, each with everything below it. What only reads sees only the ledger.
MAY_IMPORT = {
    "errors": set(),
    "ledger": {"errors"},
    "spec": {"errors", "ledger"},
    "breaker": {"errors", "ledger", "spec"},
    "tools": {"errors", "ledger", "spec", "breaker"},
    "models": {"errors"},
    "loop": {"errors", "ledger", "spec", "breaker", "tools", "models"},
    "review": {"errors", "ledger", "spec"},
    "cli": {"errors", "ledger", "spec", "breaker", "tools", "models", "loop", "review", "docs"},
    "docs": set(),
}
PURE = ("ledger/encoding.py", "ledger/visible.py", "ledger/seal.py", "ledger/merkle.py", "ledger/note.py",
        "ledger/cosignature.py", "ledger/consistency.py", "ledger/rows.py", "ledger/kinds.py", "ledger/sshsig.py",
        "ledger/ed25519.py", "spec/ceilings.py", "spec/spend.py")  # fmt: skip
IMPURE_IMPORTS = {"os", "sqlite3", "time", "random", "secrets", "socket", "subprocess", "threading", "pathlib", "shutil"}
MOST_MODULE_LINES, MOST_FUNCTION_LINES = 400, 60


def room_of(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"a relative import hides where it leads: line {node.lineno}"
            yield node.module, node.lineno
            if node.module == "safeloop":
                yield from ((f"safeloop.{alias.name}", node.lineno) for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), str(module))


def test_there_are_modules_to_judge() -> None:
    assert {room_of(module) for module in MODULES} >= set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_arrow_is_on_the_map(module: Path) -> None:
    room = room_of(module)
    if room in ("__init__", "__main__"):
        return  # the face: it hands out names of all rooms, and nothing imports it
    wrong = [
        f"line {line}: {name}"
        for name, line in imports(parsed(module))
        if name.split(".")[0] == "safeloop" and name != "safeloop"
        and name.split(".")[1] not in MAY_IMPORT[room] | {room}
    ]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_only_one_place_may_import(module: Path) -> None:
    where = module.relative_to(PACKAGE).as_posix()
    names = {name.split(".")[0] for name, _ in imports(parsed(module))}
    assert "anthropic" not in names or where == "models/anthropic.py"
    assert "sqlite3" not in names or where.startswith("ledger/store/")
    assert "click" not in names or where.startswith("cli/")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_prompts_reads_the_environment_or_exits(module: Path) -> None:
    where = module.relative_to(PACKAGE).as_posix()
    if where.startswith("cli/"):
        return
    tree = parsed(module)
    found = [f"line {line}: {name}" for name, line in calls(tree) if name in ("print", "input", "sys.exit", "exit")]
    assert found == []
    reads = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")]
    assert reads == [] or where == "ledger/keys.py"


@pytest.mark.parametrize("name", PURE)
def test_modules_that_define_bytes_and_rules_touch_no_files_clocks_or_chance(name: str) -> None:
    impure = {module.split(".")[0] for module, _ in imports(parsed(PACKAGE / name))} & IMPURE_IMPORTS
    assert impure == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_one_idea_and_a_function_fits_on_a_screen(module: Path) -> None:
    assert module.stem not in ("utils", "helpers", "common")
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_MODULE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    ]
    assert long == []


WRITTEN = sorted(
    path for folder in ("safeloop", "tests", "examples") for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".toml", ".sh")
)  # fmt: skip


def test_nothing_leans_on_papers_that_are_not_part_of_the_project() -> None:
    numbered = re.compile(r"(?<![\w-])[0-9][05]-(?:map|ledger-format|governor|review|cli|style|facts)(?![\w-])")
    found = [f"{path.relative_to(ROOT)}: {match.group()}" for path in [*WRITTEN, ROOT / "README.md"]
             for match in numbered.finditer(path.read_text(encoding="utf-8", errors="replace"))]  # fmt: skip
    assert found == []


def test_the_top_level_is_exactly_what_a_newcomer_expects() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tops = {line.split("/")[0] for line in listed.splitlines()}
    assert {name for name in tops if not name.startswith(".")} == {
        "pyproject.toml", "safeloop", "examples", "tests", "README.md", "crontab.example", "LICENSE",
    }  # fmt: skip


def test_importing_safeloop_loads_nothing_else() -> None:
    code = "import sys, safeloop; print(sorted(n for n in sys.modules if n.startswith(('safeloop', 'anthropic', 'click'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['safeloop']"


def test_every_public_name_can_be_had() -> None:
    code = "import safeloop; print(len([getattr(safeloop, name) for name in safeloop.__all__]) == len(safeloop.__all__) > 20)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
