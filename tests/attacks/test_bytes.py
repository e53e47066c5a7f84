"""Every single byte of a body, of a signature and of the head: a changed one is found, where it was changed."""

from __future__ import annotations

import re

import pytest

from tests.attacks.scene import ROWS, Brings, Scene
from tests.review.attacks import found, unguarded

PARTS = 4  # of the work, for as many processes
CLOSE = 19


def changed(data: bytes, at: int) -> bytes:
    """Flip one bit, another one from byte to byte."""
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


@pytest.mark.parametrize("number", [1, CLOSE])
@pytest.mark.parametrize("part", range(PARTS))
def test_every_byte_of_a_body_is_covered(scene: Scene, number: int, part: int) -> None:
    body = scene.honest[number - 1][0]
    with unguarded(scene.victim.path) as sql:
        for at in range(part, len(body), PARTS):
            sql.execute("UPDATE row SET body = CAST(? AS TEXT) WHERE idx = ?", (changed(body, at), number - 1))
            # The triggers are out of the way at this moment, and only that is found besides.
            [(rule, row)] = [each for each in found(scene.audit()) if each[0] != "schema"]
            assert (rule in {"encoding", "signature", "writer"}, row) == (True, number), at


@pytest.mark.parametrize("number", [1, 13, CLOSE])
def test_every_byte_of_a_signature_is_covered(scene: Scene, number: int) -> None:
    signature = scene.honest[number - 1][1]
    with unguarded(scene.victim.path) as sql:
        for at in range(len(signature)):
            sql.execute("UPDATE row SET sig = ? WHERE idx = ?", (changed(signature, at), number - 1))
            rules = [each for each in found(scene.audit()) if each[0] != "schema"]
            assert rules == [("signature", number)], at


def test_every_byte_of_the_head_is_covered(scene: Scene) -> None:
    note = scene.kept.encode()
    with unguarded(scene.victim.path) as sql:
        for at in range(len(note)):
            sql.execute("UPDATE head SET note = CAST(? AS TEXT)", (changed(note, at),))
            report = scene.audit()
            [(rule, row)] = [each for each in found(report) if each[0] != "schema"]
            assert (rule in {"head", "trust"}, row) == (True, None), at
            assert report.rows_standing == ROWS


def test_every_byte_of_a_kept_checkpoint_is_covered(scene: Scene) -> None:
    note = scene.kept
    for at in range(len(note.encode())):
        scene.kept = changed(note.encode(), at).decode("utf-8", "replace")
        try:
            report = scene.audit(Brings.CHECKPOINT)
        finally:
            scene.kept = note
        assert found(report) == [("checkpoint", None)], at
        assert re.search("cannot be used|is of another history|is of ", report.findings[0].message)


def test_a_byte_put_back_is_no_finding(scene: Scene) -> None:
    body, signature = scene.honest[CLOSE - 1]
    with unguarded(scene.victim.path) as sql:
        for at in (0, len(body) - 1):
            for data in (changed(body, at), body):
                sql.execute("UPDATE row SET body = CAST(? AS TEXT), sig = ? WHERE idx = ?", (data, signature, CLOSE - 1))
    assert found(scene.audit()) == []
