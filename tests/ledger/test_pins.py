"""Pins in one file: read strictly, compared by one fingerprint, and placed whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import Ledger
from safeloop.ledger.trust import load_trust
from safeloop.ledger.upkeep import pins as module
from safeloop.ledger.upkeep.pins import differs, export_pins, parse_pins, place_pins, read_pins


@pytest.fixture
def own(tmp_path: Path) -> Path:
    Ledger(tmp_path / "l.db", keys=tmp_path / "keys").close()
    folder = tmp_path / "keys" / "self"
    (folder / "release.toml").write_text("accepts = 1\né")
    return folder


def framed(*files: tuple[str, bytes], first: bytes = b"safeloop trust v1\n") -> bytes:
    return first + b"".join(b"== %s %d\n%s\n" % (name.encode(), len(data), data) for name, data in files)


POLICY = ("policy", b"quorum none\n")


def test_what_is_exported_is_imported_byte_for_byte(tmp_path: Path, own: Path) -> None:
    data = export_pins(own)
    pins = parse_pins(data)
    assert pins.sha256 == hashlib.sha256(data).hexdigest()
    folder = tmp_path / "deep" / "auditor"
    assert read_pins(pins, folder).writers.keys() == load_trust(own).writers.keys()
    assert not folder.exists() and differs(pins, folder) is False
    assert place_pins(pins, folder) is None
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in own.iterdir()}
    assert export_pins(folder) == data
    assert not differs(pins, folder)
    assert [each.name for each in folder.parent.iterdir()] == ["auditor"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "first line"), (b"safeloop trust v2\n", "first line"), (framed(), "no policy"),
        (framed(("writers", b"")), "no policy"), (framed(POLICY, POLICY), "no file of a trust folder"),
        (framed(POLICY, ("revoked", b""), ("writers", b"")), "not in the order"),
        (framed(POLICY, ("../policy", b"")), "no file of a trust folder"),
        (framed(POLICY, ("writer.pem", b"")), "no file of a trust folder"),
        (framed(POLICY) + b"\n", "no file of a trust folder"), (framed(POLICY)[:-1], "length that it states"),
        (framed(POLICY).replace(b"12", b"10"), "length that it states"),
        (framed(POLICY).replace(b"12", b"012"), "no file of a trust folder"),
        (framed(POLICY, ("writers", b"\xff")), "not UTF-8"), (b"x" * 4_000_001, "more than 4,000,000 bytes"),
    ],
)
def test_any_departure_from_the_form_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(EncodingError, match=words):
        parse_pins(data)


def test_every_changed_byte_changes_the_fingerprint_or_is_refused(own: Path) -> None:
    data = export_pins(own)
    for at in range(0, len(data), 7):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert parse_pins(changed).sha256 != parse_pins(data).sha256
        except EncodingError:
            continue


def test_pins_that_mean_nothing_are_placed_nowhere(tmp_path: Path) -> None:
    pins = parse_pins(framed(("policy", b"log nonsense\n")))
    for take in (read_pins, place_pins):
        with pytest.raises(KeyUnusable):
            take(pins, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_another_folder_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    first, second = (parse_pins(framed(("policy", text))) for text in (b"quorum none\n", b"# 2\nquorum none\n"))
    folder = tmp_path / "t"
    place_pins(first, folder)
    assert differs(second, folder)
    kept = place_pins(second, folder)
    assert kept is not None
    assert not differs(first, kept) and not differs(second, folder)
    (folder / "more").touch()
    assert differs(second, folder)


def test_a_failure_half_way_leaves_the_old_folder_or_none_and_never_half_a_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pins = tmp_path / "t", parse_pins(framed(POLICY))
    place_pins(pins, folder)

    def refused(_self: Path, _to: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.Path, "rename", refused)
    with pytest.raises(KeyUnusable, match="cannot be replaced: Permission denied"):
        place_pins(parse_pins(framed(("policy", b"# 2\nquorum none\n"))), folder)
    assert not differs(pins, folder) and [each.name for each in tmp_path.iterdir()] == ["t"]


def test_a_file_or_a_link_in_the_way_stays(tmp_path: Path) -> None:
    pins = parse_pins(framed(POLICY))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        assert differs(pins, tmp_path / name)
        with pytest.raises(KeyUnusable, match="is not a folder"):
            place_pins(pins, tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
