"""Docker's command line, against an executable that checks it; no engine runs here."""

from __future__ import annotations

import csv
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from safeloop.tools.clean import ToolError
from safeloop.tools.sandbox import Docker, Ended, Places, fault_of
from safeloop.tools.sandbox.docker import docker_arguments

from .conftest import SMALL, Inside
from .engine import engine


@pytest.fixture
def docker(tmp_path: Path) -> Inside:
    return Inside(Docker(engine(tmp_path), "an-image"), tmp_path)


def calls(inside: Inside) -> list[list[str]]:
    return [json.loads(line) for line in (inside.folder / "calls").read_text().splitlines()]


def test_the_client_takes_the_command_line_and_the_program_runs_in_staging(docker: Inside) -> None:
    found = docker.command("sh", "-c", "pwd; cat; echo error >&2; exit 3", stdin=b"input")
    assert (found.ended, found.exit_status) == (Ended.EXITED, 3)
    assert found.stdout.decode() == f"{docker.places.staging}\ninput"
    assert found.stderr == b"error\n"


def test_every_flag_of_the_fence_is_there(tmp_path: Path) -> None:
    told = docker_arguments("c", "image", ["sh", "--privileged"], Places(tmp_path), SMALL)
    flags = set(told[: told.index("--")])
    assert flags >= {
        "--network=none", "--read-only", f"--memory={SMALL.memory_bytes}", f"--memory-swap={SMALL.memory_bytes}",
        "--cpus=1", f"--pids-limit={SMALL.processes}", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        f"--tmpfs=/tmp:rw,noexec,nosuid,nodev,mode=1777,size={SMALL.temporary_bytes}", "--pull=never", "--rm",
    }  # fmt: skip
    assert told[told.index("--") + 1 :] == ["image", "sh", "--privileged"], "what a model wrote is never read as a flag"
    assert not any("privileged" in flag and "no-new" not in flag for flag in flags)
    user = next(flag for flag in flags if flag.startswith("--user="))
    assert user.split("=")[1].split(":")[0] not in ("0", "root", "")


def test_only_the_two_folders_are_mounted_and_the_workspace_only_to_read(docker: Inside) -> None:
    docker.command("true")
    mounts = [flag.removeprefix("--mount=") for flag in calls(docker)[0] if flag.startswith("--mount=")]
    assert mounts == [
        f"type=bind,source={docker.places.staging},target=/staging",
        f"type=bind,source={docker.workspace},target=/workspace,readonly",
    ]
    assert not any(flag.startswith(("-v", "--volume")) for flag in calls(docker)[0])


def test_a_folder_whose_name_holds_commas_and_quotes_is_one_field(tmp_path: Path) -> None:
    odd = tmp_path / 'a,readonly=false,"b"'
    told = docker_arguments("c", "i", ["true"], Places(odd), SMALL)
    mount = next(flag for flag in told if flag.startswith("--mount=")).removeprefix("--mount=")
    assert next(csv.reader([mount])) == ["type=bind", f"source={odd}", "target=/staging"]


def test_sockets_of_the_workspace_are_covered(docker: Inside) -> None:
    os.mkfifo(docker.workspace / "pipe")
    docker.command("true")
    assert "--mount=type=bind,source=/dev/null,target=/workspace/pipe,readonly" in calls(docker)[0]


def test_a_container_is_removed_by_name_when_its_time_is_over(docker: Inside) -> None:
    found = docker.command(
        "sh", "-c", "while :; do echo x >> beat; sleep 0.02; done", limits=replace(SMALL, time_s=1.0)
    )
    assert found.ended is Ended.TIME
    first, last = calls(docker)
    name = next(flag for flag in first if flag.startswith("--name=")).removeprefix("--name=")
    assert last == ["rm", "--force", "--volumes", name]
    size = (docker.places.staging / "beat").stat().st_size
    time.sleep(0.4)
    assert (docker.places.staging / "beat").stat().st_size == size


def test_two_programs_have_containers_of_their_own(docker: Inside) -> None:
    docker.command("true")
    docker.command("true")
    names = {flag for call in calls(docker) for flag in call if flag.startswith("--name=")}
    assert len(names) == 2


def test_an_image_that_is_not_there_is_an_error_and_nothing_ran(docker: Inside) -> None:
    sandbox = Docker(docker.folder / "docker", "no-such-image")
    with pytest.raises(ToolError, match="No such image"):
        sandbox.run(("true",), b"", docker.places, SMALL)


def test_a_client_that_cannot_be_started_is_an_error(docker: Inside) -> None:
    with pytest.raises(ToolError, match="No such file"):
        Docker(docker.folder / "nothing").run(("true",), b"", docker.places, SMALL)


def test_a_program_that_ends_with_dockers_own_status_is_a_result(docker: Inside) -> None:
    assert docker.command("sh", "-c", "exit 125").exit_status == 125


def test_an_engine_that_fences_nothing_does_not_pass_the_probe(docker: Inside) -> None:
    fault = fault_of(docker.sandbox)
    assert fault is not None
    # The stand-in runs programs outside any container, where even their folders have other names.
    assert "sees files outside" in fault
    assert "has a network" in fault
    assert "cannot write to its staging folder" in fault
