"""Code of a model, run where it can do no harm: in bubblewrap or in Docker, or not at all."""

from safeloop.tools.sandbox.backend import Sandbox
from safeloop.tools.sandbox.bwrap import Bubblewrap, Fenced, More
from safeloop.tools.sandbox.checking import check_runner, runner_in
from safeloop.tools.sandbox.code import code_tools
from safeloop.tools.sandbox.docker import Docker
from safeloop.tools.sandbox.finding import SandboxMissing, find_sandbox
from safeloop.tools.sandbox.limits import Ended, Execution, Limits, Places
from safeloop.tools.sandbox.probe import fault_of

__all__ = [
    "Bubblewrap",
    "Docker",
    "Ended",
    "Execution",
    "Fenced",
    "Limits",
    "More",
    "Places",
    "Sandbox",
    "SandboxMissing",
    "check_runner",
    "code_tools",
    "fault_of",
    "find_sandbox",
    "runner_in",
]
