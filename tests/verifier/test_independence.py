"""The second verifier is written from the page alone: it has nothing of the project in it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

MODULES = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith(("test_", "conftest")))
ALLOWED = {*sys.stdlib_module_names, "cryptography"}


def imported(tree: ast.AST) -> set[str]:
    """Return the modules that are imported anywhere in a module, in functions too, by their full names."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}".lstrip() for alias in node.names}
    return names


def is_its_own(name: str) -> bool:
    """Say whether a module is of the standard library, of cryptography, or another one of the verifier, never a test."""
    if name.startswith("tests.verifier."):
        return not name.split(".")[2].startswith(("test_", "conftest"))
    return name.split(".", maxsplit=1)[0] in ALLOWED


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_of_the_verifier_imports_nothing_of_the_project(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [name for name in imported(tree) if not is_its_own(name)] == []
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"__import__", "import_module", "exec", "eval"}


@pytest.mark.parametrize("line", [
    "import safeloop", "from safeloop.ledger import seal", "from tests.review.attacks import found",
    "from tests.verifier.test_agreement import agreed", "from . import page", "def f():\n    import safeloop.errors",
])
def test_an_import_of_the_project_would_be_found(line: str) -> None:
    assert not all(map(is_its_own, imported(ast.parse(line))))


def test_there_is_a_verifier_to_be_looked_at() -> None:
    assert {"verify.py", "chain.py", "spending.py"} <= {path.name for path in MODULES}
