"""The page `format`: its example is recomputed from the page alone, its forms and statements are those of the code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from safeloop.ledger.kinds import KINDS
from safeloop.ledger.store.schema import CONTENT_STATEMENTS, STATEMENTS
from safeloop.review.auditing.findings import Rule
from tests.cli.program import ROOT

PAGE = (ROOT / "safeloop" / "docs" / "format.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("## Example\n")[2].partition("\n## ")[0]
VECTORS = ROOT / "tests" / "vectors"
TYPE = b"application/vnd.safeloop.row.v1+json"

Form = Callable[[Any], bool]


def fenced(label: str, text: str = PAGE) -> list[str]:
    """Return the blocks of the page that have this label, in order."""
    return [block for found, block in re.findall(r"^```(\w*)\n(.*?)\n```$", text, re.M | re.S) if found == label]


def stated(name: str) -> bytes:
    """Return the hex that the example states under a name."""
    return bytes.fromhex(re.findall(rf"^{name} +([0-9a-f]+)$", EXAMPLE, re.M)[0])


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


BODY = fenced("json", EXAMPLE)[0].encode()
PAE = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(BODY), BODY)
HEAD, RECEIPT = (next(text for text in fenced("", EXAMPLE) if text.startswith(start)) + "\n"
                 for start in ("vectors.example/ledger-1\n", "c2sp.org/tlog-proof@v1\n"))  # fmt: skip


def test_the_row_of_the_example_is_what_the_page_says_of_it() -> None:
    assert f"**Body**, {len(BODY)} bytes" in EXAMPLE
    assert PAE.decode().partition(",")[0] in EXAMPLE
    assert sha256(PAE).hex() in EXAMPLE
    assert stated("id") == sha256(stated("key")) == bytes.fromhex(json.loads(BODY)["writer"])
    Ed25519PublicKey.from_public_bytes(stated("key")).verify(stated("sig"), PAE)
    assert stated("leaf") == sha256(b"\0", stated("sig"), PAE)


def test_the_head_of_the_example_is_signed_by_the_key_that_the_page_names() -> None:
    vkey = re.findall(r"log key `([^`]+)`", EXAMPLE)[0]
    name, key_hash, typed = vkey.split("+", 2)
    raw = base64.b64decode(typed)
    assert sha256(name.encode(), b"\n", raw)[:4].hex() == key_hash
    text, _, line = HEAD.partition("\n\n")
    signature = base64.b64decode(line.split(" ")[2])
    assert (line.split(" ")[:2], signature[:4].hex()) == (["—", name], key_hash)
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], f"{text}\n".encode())


def test_the_receipt_of_the_example_leads_from_the_row_to_the_head() -> None:
    proof, _, note = RECEIPT.partition("\n\n")
    first, extra, index, *steps = proof.split("\n")
    assert (first, index, note) == ("c2sp.org/tlog-proof@v1", "index 0", HEAD)
    assert base64.b64decode(extra.removeprefix("extra ")) == stated("sig") + PAE
    digest = stated("leaf")
    for step in steps:  # leaf 0 is always on the left
        digest = sha256(b"\1", digest, base64.b64decode(step))
    assert digest == base64.b64decode(HEAD.split("\n")[2])


def test_the_content_of_the_example_has_its_commitment() -> None:
    assert sha256(b"safeloop.content.v1\0", stated("salt"), stated("bytes")) == stated("salted_sha256")
    assert len(stated("bytes")) == 20
    assert f"`{stated('bytes').decode().removesuffix(chr(10))}`" in EXAMPLE


def test_the_bytes_of_the_example_are_the_golden_ones() -> None:
    row = json.loads((VECTORS / "rows.json").read_text())["rows"][0]
    assert (row["body"].encode(), row["signature"], row["leaf"]) == (BODY, stated("sig").hex(), stated("leaf").hex())
    assert (VECTORS / "checkpoint-41.txt").read_text() == HEAD
    assert (VECTORS / "row-0.tlog-proof").read_text() == RECEIPT


def test_the_schema_on_the_page_is_the_one_that_audits_compare() -> None:
    row, content = (tuple(text.removesuffix(";").split(";\nCREATE ")) for text in fenced("sql"))
    assert tuple("CREATE " + text.removeprefix("CREATE ") for text in row) == STATEMENTS
    assert content == CONTENT_STATEMENTS


def test_every_rule_of_an_audit_is_named_where_it_is_explained() -> None:
    named = set(re.findall(r"\*\*([a-z]+)\*\*", PAGE))
    assert set(map(str, Rule)) - named == set()


# The forms, read from the page and nothing else.


def split(text: str) -> list[str]:
    """Split at commas that are not inside brackets."""
    return re.split(r", (?![^\[]*\])", text)


def read_form(text: str, known: dict[str, Form]) -> Form:
    """Make the check that a form on the page describes."""
    if " | " in text:
        forms = [read_form(part, known) for part in text.split(" | ")]
        return lambda value: any(form(value) for form in forms)
    if text.endswith("?"):
        form = read_form(text[:-1], known)
        return lambda value: value is None or form(value)
    if match := re.fullmatch(r"\[(\w+)(?: ≤ (\d+))?\]", text):
        item, most = known[match[1]], int(match[2] or 10**9)
        return lambda value: type(value) is list and len(value) <= most and all(map(item, value))
    if text in ("null", "true", "false", "0") or text.startswith('"'):
        literal = json.loads(text)
        return lambda value: type(value) is type(literal) and value == literal
    return known[text]


def read_object(text: str, known: dict[str, Form], *, whole: bool) -> Form:
    fields = dict(part.split(": ", 1) for part in split(text))
    forms = {key.removesuffix("!"): read_form(form, known) for key, form in fields.items()}
    needed = {key.removesuffix("!") for key in fields if whole or key.endswith("!")}
    return lambda value: (
        type(value) is dict and needed <= value.keys() <= forms.keys()
        and all(forms[key](item) for key, item in value.items())
    )


def read_forms() -> dict[str, Form]:
    def short(most: int) -> Form:
        return lambda value: type(value) is str and len(value.encode()) <= most

    words: dict[str, Form] = {
        "integer from 0": lambda value: type(value) is int and value >= 0,
        "integer from 1": lambda value: type(value) is int and value >= 1,
        "true or false": lambda value: type(value) is bool,
        "string": lambda value: type(value) is str,
        "string of at most 200 bytes of UTF-8": short(200),
        "string of at most 4000 bytes of UTF-8": short(4000),
        "64 hex digits": lambda value: type(value) is str and re.fullmatch("[0-9a-f]{64}", value) is not None,
    }
    known: dict[str, Form] = {}
    for line in fenced("forms")[0].splitlines():
        name, text = line.split(None, 1)
        if text.startswith(("exactly ", "some of ")):
            known[name] = read_object(text[8:], known, whole=text.startswith("exactly"))
        else:
            known[name] = words[text] if text in words else read_form(text, known)
    return known


FORMS = read_forms()
OF_KINDS = {line.split(None, 1)[0]: line.split(None, 1)[1] for line in fenced("kinds")[0].splitlines()}
COMMITMENT = {"bytes": 1, "salted_sha256": "0" * 64, "type": "text/plain"}
ERROR = {"class": "x", "status": None, "detail": COMMITMENT}
USAGE = dict.fromkeys(("input", "cache_write", "cache_read", "output", "thinking", "searches"), 0)
SETTLED = {"session": "s", "n": 0, "charged_tokens": 1, "billed_tokens": 1}
PROBES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 1.0, "", "x", "a" * 200, "a" * 201, "é" * 101, "a" * 4000, "a" * 4001, "0" * 64,
    "0" * 63, "A" * 64, "0" * 64 + "\n", [], {}, [1], [None], ["x"], ["0" * 64], ["read"], ["execute"], COMMITMENT,
    COMMITMENT | {"bytes": -1}, COMMITMENT | {"more": 1}, {"bytes": 1}, ERROR, ERROR | {"status": 429},
    ERROR | {"detail": 1}, ERROR | {"class": None}, USAGE, USAGE | {"input": -1}, USAGE | {"more": 1},
    {"turns": 5}, {"turns": None}, {"tokens": 1, "microusd": 2}, {"sessions": 3}, {"tokens": -1}, {"elapsed_ms": 1},
    {"tool_calls": 1, "errors": 2, "repeats": 3}, {"permissions": ["read"]}, {"names": ["x"]},
    {"permissions": ["write"], "names": ["x"]}, [{"name": "x", "kind": "file"}], [{"name": "x"}], [{"kind": "x"}],
    [{"name": "x", "kind": "x", "contains": ["y"], "min_chars": 1, "retries": 2, "command": ["z"]}],
    [{"name": "x", "kind": "x", "more": 1}], [{"name": "x", "kind": "x"}] * 100, [{"name": "x", "kind": "x"}] * 101,
    [{"name": "x", "permission": "read", "schema": "0" * 64}], [{"name": "x", "permission": "read"}],
    [SETTLED], [SETTLED] * 100, [SETTLED] * 101, [SETTLED | {"charged_microusd": None, "billed_microusd": 5}],
    [SETTLED | {"n": None}], "circuit_breaker", "session", "parent", "bound", "counted", "estimate", "granted", "refused",
    "expired", "completed", "unmet", "breached", "failed", "suspended", "read", "write", "destructive", "accept", "reject", "rotate", "revoke", "adopt",
)


def test_the_page_has_the_kinds_of_the_code() -> None:
    assert list(OF_KINDS) == list(KINDS)
    assert set(re.findall(r"`([a-z]+)`", "\n".join(re.findall(r"^\| (`[a-z`, ]+) \| [^|]+ \|$", PAGE, re.M)))) >= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_and_the_code_judge_every_key_of_a_kind_alike(kind: str) -> None:
    fields = {name: read_form(form, FORMS) for name, form in (part.split(": ", 1) for part in split(OF_KINDS[kind]))}
    assert fields.keys() == KINDS[kind].keys()
    for name, form in fields.items():
        judged = [(probe, form(probe)) for probe in PROBES]
        assert judged == [(probe, KINDS[kind][name](probe)) for probe in PROBES], name
        assert {verdict for _, verdict in judged} == {True, False}, name
