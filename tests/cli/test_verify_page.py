"""The page `verify`, followed to the letter and in order: sqlite3, openssl, ssh-keygen and sha256sum do the judging."""

from __future__ import annotations

import re
import subprocess

from tests.cli.program import ROOT, Program


def blocks() -> list[str]:
    text = (ROOT / "safeloop" / "docs" / "verify.md").read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


def test_every_block_of_the_page_says_what_the_page_says(program: Program) -> None:
    program.job()
    key = program.reviewer("alice@example.org")
    with program.at_terminal("attest", "latest", "--as", "alice@example.org", "--key", str(key)) as terminal:
        terminal.expect("leave? ")
        terminal.type("accept")
        terminal.expect("of its hash: ")
        terminal.type(re.findall(r"^frame sha256 ([0-9a-f]{64})$", terminal.seen, re.M)[0][-4:])
        assert terminal.wait() == 0
    rows = program.rows()
    script = "set -euo pipefail\n" + "".join(f"{block}echo '--8<--'\n" for block in blocks())
    done = subprocess.run(
        ["bash", "-c", script], cwd=program.folder, env=program.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("--8<--\n")
    settings, taken, row, leaf, attestation, frame, rest = said
    assert (settings, rest) == ("", "")
    assert re.fullmatch(r"\d+\|64\n", taken)
    assert row == "Signature Verified Successfully\n"
    assert leaf == f"{rows[3]['leaf']}  -\n"
    assert 'Good "safeloop-review" signature for alice@example.org' in attestation
    stated = next(item for item in rows if item["kind"] == "attestation")["data"]
    assert frame == f"{stated['frame']}  -\n"
    assert stated["frame"] in (program.folder / "att.json").read_text()


def test_a_changed_byte_is_seen_by_the_same_commands(program: Program) -> None:
    program.job()
    names, taking, verifying = blocks()[:3]
    script = f"{names}{taking}sed -i 's/\"turn\":1/\"turn\":2/' pae\n{verifying}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=program.folder, env=program.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Verified Successfully" not in done.stdout
