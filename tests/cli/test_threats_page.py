"""The page `threats`: every test that it calls as a witness is there, and every line of the model has one."""

from __future__ import annotations

import ast
import re

import pytest

from tests.attacks.corpus import CORPUS
from tests.cli.program import ROOT

PAGE = (ROOT / "safeloop" / "docs" / "threats.md").read_text(encoding="utf-8")
MEETS, SHOWS_NOT = PAGE.split("## What an attacker meets\n")[1].split("## What nothing here can show\n")
BLIND_SPOTS = {name for name, attack in CORPUS.items() if not attack.expected and not attack.words and not attack.refused}


def rows(table: str) -> list[list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line.startswith("| ")]
    return cells[1:]


def named(cell: str) -> tuple[list[str], list[str]]:
    """Return the attacks of the corpus, and the tests by module and name, that a cell calls."""
    return re.findall('"([^"]+)"', cell), re.findall(r"`([^`]+::[^`]+)`", cell)


@pytest.mark.parametrize("attack, meets, proof", rows(MEETS), ids=lambda cell: cell[:40])
def test_every_attack_has_a_test_that_proves_what_is_said(attack: str, meets: str, proof: str) -> None:
    carried_out, tests = named(proof)
    assert carried_out or tests
    assert attack
    assert meets
    assert [name for name in carried_out if name not in CORPUS] == []
    for each in tests:
        module, _, name = each.partition("::")
        tree = ast.parse((ROOT / "tests" / module).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, each


@pytest.mark.parametrize("happened, why, lowers", rows(SHOWS_NOT), ids=lambda cell: cell[:40])
def test_every_blind_spot_has_a_reason_and_what_lowers_it(happened: str, why: str, lowers: str) -> None:
    assert why
    assert lowers
    for name in named(happened)[0]:
        assert CORPUS[name].expected == (), "the audit does see it"


def test_no_attack_of_the_corpus_passes_without_a_word_but_those_that_the_page_admits() -> None:
    assert {name for name in BLIND_SPOTS if f'"{name}"' not in SHOWS_NOT} == set()
