"""Each check is known to be needed: without it, the attack that it is for goes unseen."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

from safeloop.review.auditing import word
from safeloop.review.auditing.findings import Rule
from tests.attacks.checks import CHECKS, OF_THE_WORD, Check
from tests.attacks.corpus import CORPUS
from tests.attacks.removal import outcome
from tests.attacks.scene import Scene


def rules_met(attack: str) -> set[str]:
    return {each.partition(":")[0] for each in (*CORPUS[attack].expected, *CORPUS[attack].gaps)}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.name}: {check.attack}")
def test_without_its_check_the_attack_is_missed(scene: Scene, check: Check) -> None:
    found = outcome(scene, check)
    assert found.with_it == CORPUS[check.attack].meets
    assert found.is_missed, f"found without its check all the same: {found.without_it}"


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_an_attack_that_meets_it_and_a_check_that_is_taken_out(rule: Rule) -> None:
    assert [name for name in CORPUS if rule in rules_met(name)], "no attack of the corpus meets this rule"
    assert [check.name for check in CHECKS if rule in rules_met(check.attack)], "its check is never taken out"


def test_the_corpus_meets_no_rule_that_is_none() -> None:
    assert {rule for name in CORPUS for rule in rules_met(name)} == set(map(str, Rule))


def objecting() -> Iterator[tuple[str, str]]:
    """Yield the functions of the word's rules that make findings, or the words of one, by module and name."""
    for found in pkgutil.iter_modules(word.__path__, f"{word.__name__}."):
        tree = ast.parse(inspect.getsource(pkgutil.resolve_name(found.name)))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for prefix, body in [("", tree.body), *((f"{each.name}.", each.body) for each in classes)]:
            for node in body:
                if isinstance(node, ast.FunctionDef) and node.name != "notes" and _objects(node):
                    yield found.name, prefix + node.name


def _objects(function: ast.FunctionDef) -> bool:
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return ast.unparse(function.returns or ast.Constant("")) in ("Iterable[str]", "Iterator[str]") or any(
        isinstance(called, ast.Name) and called.id == "about" for called in calls
    )


def test_every_function_of_the_word_that_can_object_is_taken_out_once() -> None:
    taken_out = {pkgutil.resolve_name(check.where) for check in OF_THE_WORD}
    names = {(each.__module__, each.__qualname__) for each in taken_out}
    functions = set(objecting())
    assert len(functions) > 20, "they are not found any more"
    assert functions - names == set()
