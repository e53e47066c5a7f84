"""Tools: what a model may call, what happens to a call, and the files it can reach."""

from safeloop.tools.arguments import Problem, arguments_bytes
from safeloop.tools.call import plan_call, run_call, run_planned
from safeloop.tools.clean import RESULT_LIMIT, ToolError, clean, label
from safeloop.tools.contained import ContainmentError, FileMissingError, NotAFileError, Root
from safeloop.tools.entries import Entry, EntryKind, Listing
from safeloop.tools.files import file_tools
from safeloop.tools.outcome import NeedsApproval, Planned, Refusal, ToolOutcome
from safeloop.tools.permission import Permission
from safeloop.tools.registry import Tool, ToolRegistry
from safeloop.tools.staging import StagedFile, collect

__all__ = [
    "RESULT_LIMIT",
    "ContainmentError",
    "Entry",
    "EntryKind",
    "FileMissingError",
    "Listing",
    "NeedsApproval",
    "NotAFileError",
    "Permission",
    "Planned",
    "Problem",
    "Refusal",
    "Root",
    "StagedFile",
    "Tool",
    "ToolError",
    "ToolOutcome",
    "ToolRegistry",
    "arguments_bytes",
    "clean",
    "collect",
    "file_tools",
    "label",
    "plan_call",
    "run_call",
    "run_planned",
]
