"""Rows that are plainly right, seen at a fifth of the price: for whoever reads millions of them.

Pure. One expression for each kind that a run writes again and again; it stands for canonical bytes, the nine keys and
the kind's closed form at once. What it does not match is not wrong: it takes the long way of `parse_row` and
`check_data`, which also says why. What it matches, that way admits.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from safeloop.ledger.encoding import MAX_BODY_BYTES
from safeloop.ledger.kinds import Claim
from safeloop.ledger.seal import SIGNATURE_BYTES

_COUNT = "(?:0|[1-9][0-9]{0,14})"  # surely within 2**53 - 1
_ORDINAL = "[1-9][0-9]{0,14}"
_ZERO = "0"
_FLAG = "(?:true|false)"
_FALSE = "false"
_DIGEST = '"[0-9a-f]{64}"'
_NAME = r'"[^"\\\x00-\x1f]{0,200}"'  # in bytes, and without anything that is escaped
_ESCAPED = r'\\["\\bfnrt]'
_TEXT = rf'"(?:[^"\\\x00-\x1f]++|{_ESCAPED})*+"'
_NOTES = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPED}){{0,4000}}+"'  # what is escaped so is a byte


def _record(**fields: str) -> str:
    return r"\{" + ",".join(f'"{key}":{fields[key]}' for key in sorted(fields)) + r"\}"


def _optional(form: str) -> str:
    return f"(?:null|{form})"


def _one_of(*values: str) -> str:
    return f'"(?:{"|".join(values)})"'


def _several(form: str, most: int | None = None) -> str:
    others = "*" if most is None else f"{{0,{most - 1}}}"
    return rf"\[(?:{form}(?:,{form}){others})?\]"


def _partial(required: tuple[str, ...] = (), **fields: str) -> str:
    """An object with the required keys and any of the others."""
    entries = (
        rf'(?:"{key}":{fields[key]}(?:,(?!\}})|(?=\}}))){"" if key in required else "?"}' for key in sorted(fields)
    )
    return r"\{" + "".join(entries) + r"\}"


_COMMITMENT = _record(bytes=_COUNT, salted_sha256=_DIGEST, type=_NAME)
_ERROR = _record(**{"class": _NAME, "status": _optional(_COUNT), "detail": _optional(_COMMITMENT)})
_USAGE = _record(
    input=_COUNT, cache_write=_COUNT, cache_read=_COUNT, output=_COUNT, thinking=_COUNT, searches=_COUNT
)
_PERMISSION = _one_of("read", "write", "destructive")
_CEILINGS = _partial(
    turns=_COUNT, tokens=_COUNT, microusd=_COUNT, elapsed_ms=_COUNT, tool_calls=_COUNT, errors=_COUNT, repeats=_COUNT
)
_CRITERION = _partial(
    ("name", "kind"), name=_NAME, kind=_NAME, file=_TEXT, contains=_several(_TEXT), not_contains=_several(_TEXT),
    matches=_several(_TEXT), min_chars=_COUNT, max_chars=_COUNT, schema=_TEXT, command=_several(_TEXT), retries=_COUNT,
)

_DATA = {
    "spec": _record(
        what_it_does=_TEXT, what_it_does_not=_TEXT, done_looks_like=_TEXT, criteria=_several(_CRITERION, 100),
        ceilings=_CEILINGS, tools=_partial(("permissions",), permissions=_several(_PERMISSION), names=_several(_NAME)),
    ),
    "open": _record(
        spec=_DIGEST, task=_COMMITMENT, input_hash=_DIGEST, model=_NAME, endpoint=_NAME, ceilings=_CEILINGS,
        parent=_optional(_NAME), continues=_optional(_NAME), workspace=_optional(_COMMITMENT),
        billing_workspace=_optional(_NAME), api_key_id=_optional(_NAME),
        tools=_several(_record(name=_NAME, permission=_PERMISSION, schema=_DIGEST)), software=_NAME,
    ),
    "intent": _record(
        turn=_ORDINAL, attempt=_ORDINAL, model=_NAME, wanted_max_tokens=_COUNT, max_tokens=_COUNT,
        request=_COMMITMENT, bound=_one_of("bound", "counted", "estimate"), reserved_tokens=_COUNT,
        reserved_microusd=_optional(_COUNT), elapsed_ms=_COUNT,
    ),
    "attempt": _record(
        turn=_ORDINAL, attempt=_ORDINAL, intent=_COUNT, charged_tokens=_COUNT, charged_microusd=_optional(_COUNT),
        error=_ERROR, execution_time_ms=_COUNT, elapsed_ms=_COUNT, in_doubt=_FLAG,
    ),
    "turn": _record(
        turn=_COUNT, attempt=_optional(_ORDINAL), intent=_optional(_COUNT), state_origin=_NAME,
        model=_optional(_NAME), input_hash=_DIGEST, response=_optional(_COMMITMENT), stop_reason=_optional(_NAME),
        usage=_optional(_USAGE), token_delta=_COUNT, cost_microusd=_optional(_COUNT), execution_time_ms=_COUNT,
        elapsed_ms=_optional(_COUNT), pass_fail=_FLAG, overrun=_optional(_FLAG), breach_reason=_optional(_NAME),
    ),
    "call": _record(turn=_ORDINAL, call=_NAME, tool=_NAME, permission=_PERMISSION, arguments=_COMMITMENT),
    "tool": _record(
        turn=_ORDINAL, call=_NAME, tool=_NAME, permission=_PERMISSION, arguments=_COMMITMENT, result=_COMMITMENT,
        execution_time_ms=_COUNT, pass_fail=_FLAG, error=_optional(_ERROR),
    ),
    "approval": _record(
        call=_DIGEST, decision=_one_of("granted", "refused", "expired"), by=_optional(_NAME),
        expires_at=_optional(_TEXT), statement=_optional(_TEXT), signature=_optional(_TEXT),
    ),
    "breach": _record(
        turn=_COUNT, state_origin='"circuit_breaker"', breach_reason=_NAME,
        scope=_optional(_one_of("session", "parent")), limit=_optional(_COUNT), spent=_optional(_COUNT),
        next_at_most=_optional(_COUNT), input_hash=_DIGEST, pass_fail=_FALSE, token_delta=_ZERO,
        execution_time_ms=_ZERO,
    ),
    "check": _record(criterion=_NAME, pass_fail=_FLAG, detail=_optional(_COMMITMENT)),
    "close": _record(
        outcome=_one_of("completed", "unmet", "breached", "failed", "refused", "suspended"), reason=_optional(_NAME),
        turns=_COUNT, total_tokens=_COUNT, cost_microusd=_optional(_COUNT), elapsed_ms=_COUNT,
        output=_optional(_COMMITMENT), files=_COMMITMENT, file_count=_COUNT,
    ),
    "resume": _record(after=_COUNT, in_doubt=_several(_COUNT), software=_NAME),
    "attestation": _record(
        decision=_one_of("accept", "reject"), reviewer=_NAME, frame=_DIGEST, frame_text=_COMMITMENT, notes=_NOTES,
        statement=_TEXT, signature=_optional(_TEXT),
    ),
    "release": _record(
        attestations=_several(_DIGEST), policy=_TEXT, files=_COMMITMENT, file_count=_COUNT, destination=_TEXT
    ),
}

_DAY = (  # one that exists; the 29th of February of a year like 2000 takes the long way
    "(?!0000)(?:[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    "|(?:0[13578]|1[02])-31)|[0-9]{2}(?:0[48]|[2468][048]|[13579][26])-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}"
_BEGIN = r'\{"at":"' + _DAY + "T" + _TIME + 'Z","data":'
_END = (
    r'","ledger":"(?=[^"]{1,200}")([a-z0-9.-]+(?:/[a-z0-9._-]+)+)","n":' + _COUNT + r',"prev":' + _DIGEST
    + r',"session":"(?!latest")[A-Za-z0-9][A-Za-z0-9._:-]{0,127}","v":1,"writer":"([0-9a-f]{64})"\}\Z'
)

KINDS = frozenset(_DATA)
"""Those of which there are plain rows."""

_compiled: dict[bytes, re.Pattern[bytes]] = {}  # by kind, once a row of it was seen: most programs see few
_KIND = b',"kind":"'

Claims = tuple[bytes, bytes]
"""The ledger and the writer of a row by its own word; both ASCII."""

_ENTRY = _record(content=_COMMITMENT, role=_NAME)
_REQUEST = re.compile(rf"{_several(_ENTRY)}\Z".encode())
_COMMITTED = re.compile(rb'\{"bytes":([0-9]{1,16}),"salted_sha256":"([0-9a-f]{64})","type":"((?:[^"\\]|\\.)*)"\}')

def plain_claims(body: bytes, signature: bytes) -> Claims | None:
    """Return what a row claims, if its body is plainly canonical and of its kind's form.

    None says nothing: the row may be as good, and must be parsed.
    """
    found = _match(body)
    if found is None or len(signature) != SIGNATURE_BYTES:
        return None
    if not body.isascii():
        try:
            body.decode()
        except ValueError:  # not UTF-8, and it is not plain
            return None
    ledger, writer = found.groups()
    return ledger, writer


def is_plain(body: bytes) -> bool:
    """Say whether a body, encoded here, is plainly canonical and of its kind's form.

    False says nothing: the body may be as good.
    """
    return _match(body) is not None


def is_plain_request(data: bytes) -> bool:
    """Say whether bytes are plainly the manifest of a request, canonical; False says nothing."""
    try:
        data.decode()
    except ValueError:
        return False
    return _REQUEST.match(data) is not None


def commitments_in(data: bytes) -> list[Claim]:
    """Return the commitments in canonical bytes, wherever they stand.

    No string can look like one: inside a string, quotes are escaped.

    Raises:
        ValueError: The bytes are not canonical.
    """
    return [(int(size), digest.decode(), _text(text)) for size, digest, text in _COMMITTED.findall(data)]


@lru_cache(64)
def _text(quoted: bytes) -> str:
    return str(json.loads(b'"%s"' % quoted))


def _match(body: bytes) -> re.Match[bytes] | None:
    if len(body) > MAX_BODY_BYTES:
        return None
    begin = body.rfind(_KIND) + len(_KIND)
    kind = body[begin : body.find(b'"', begin)]
    plain = _compiled.get(kind) or _plain(kind)
    return None if plain is None else plain.match(body)


def _plain(kind: bytes) -> re.Pattern[bytes] | None:
    """Compile what a plain body of a kind looks like, if there is one: the ledger and the writer are the groups."""
    name = kind.decode("latin-1")
    if name not in KINDS:
        return None
    _compiled[kind] = re.compile((_BEGIN + _DATA[name] + f',"kind":"{name}' + _END).encode())
    return _compiled[kind]
