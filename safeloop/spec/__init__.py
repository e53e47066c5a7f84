"""The definition of done: the writer that asks, spec files, criteria, ceilings and their arithmetic."""

from safeloop.spec.answers import Question
from safeloop.spec.ceilings import Ceilings
from safeloop.spec.checks import Verdict, check
from safeloop.spec.commands import Ran, Run, require_checkable
from safeloop.spec.criteria import Criterion
from safeloop.spec.grant import PERMISSIONS, ToolGrant
from safeloop.spec.prose import warnings_of
from safeloop.spec.result import SpecDraft, SpecResult, from_row, to_row
from safeloop.spec.specfile import parse_spec, read_spec_file
from safeloop.spec.spend import (
    Breach,
    Reason,
    Spend,
    breach_before,
    clamp,
    crossing,
    room,
    smallest_useful,
    spend_in,
    spend_of,
)
from safeloop.spec.tally import Tally
from safeloop.spec.writer import SpecWriter, load, record

__all__ = [
    "PERMISSIONS",
    "Breach",
    "Ceilings",
    "Criterion",
    "Question",
    "Ran",
    "Reason",
    "Run",
    "SpecDraft",
    "SpecResult",
    "SpecWriter",
    "Spend",
    "Tally",
    "ToolGrant",
    "Verdict",
    "breach_before",
    "check",
    "clamp",
    "crossing",
    "from_row",
    "load",
    "parse_spec",
    "read_spec_file",
    "record",
    "require_checkable",
    "room",
    "smallest_useful",
    "spend_in",
    "spend_of",
    "to_row",
    "warnings_of",
]
