"""A key that is missing is said at once: the SDK, whose import takes most of a second, is not loaded for that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safeloop.errors import ExitCode
from tests.cli.program import Program

LOADED = (
    "import sys; from safeloop.cli.main import main\n"
    "try:\n    main()\nfinally:\n    print('loaded' if 'anthropic' in sys.modules else 'not loaded')"
)


def asked(program: Program, **env: str) -> tuple[int, str, str]:
    (program.folder / "told.py").write_text(LOADED)
    unmeasured = replace(program, is_measured=False)  # the SDK is loaded in half the time
    done = unmeasured.shell("python told.py run --spec-file job.toml --task x", env=env)
    return done.code, done.out, done.err


@pytest.mark.parametrize("env", [{}, {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}, {"ANTHROPIC_API_KEY": ""}])
def test_it_is_refused_before_the_sdk_is_loaded_and_before_anything_is_recorded(
    program: Program, env: dict[str, str]
) -> None:
    code, out, err = asked(program, **env)
    assert (code, out) == (ExitCode.USAGE, "not loaded\n")
    assert "no API key: ANTHROPIC_API_KEY is not set" in err
    assert "safeloop demo" in err
    assert program.rows() == []


def test_every_other_way_to_identify_oneself_is_left_to_the_sdk(program: Program) -> None:
    assert asked(program, ANTHROPIC_PROFILE="mine")[1] == "loaded\n"
    (program.folder / "home/.config/anthropic").mkdir(parents=True)
    assert asked(program)[1] == "loaded\n"
