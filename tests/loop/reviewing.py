"""Reviewers of a test: their keys, what they sign about a call that waits, and a tool that must not run without them."""

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import sshsig
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.sshsig import PLAIN, PublicKey
from safeloop.ledger.trust import APPROVAL_NAMESPACE, add_reviewer, load_trust
from safeloop.review.auditing.audit import audit
from safeloop.spec import ToolGrant
from safeloop.spec.standing import undecided_call
from safeloop.tools import ToolRegistry
from safeloop.tools.approvals import Request, Signed, record
from tests.ledger.making import state_of
from tests.loop.playing import Player, call, loop_of, reply, spec_of

ALICE, BOB, EVE = "alice@example.org", "bob@example.org", "eve@example.org"
PEOPLE = {name: Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32) for at, name in enumerate((ALICE, BOB, EVE), 2)}
EVERYTHING = ToolGrant(permissions=("read", "write", "destructive"))
HOUR = timedelta(hours=1)


def pin(keys, *people):
    for name in people:
        add_reviewer(keys / "self", name, PublicKey(PLAIN, PEOPLE[name].public_key().public_bytes_raw()).openssh)


def burning(burnt):
    """A registry of a tool that destroys, and of one that only reads; each notes what it was called with."""
    registry = ToolRegistry()
    order = itertools.count(1)

    @registry.tool()
    def burn(what: str = "") -> str:
        burnt.append(("burn", what))
        return f"burnt {what}, {next(order)}"

    @registry.tool(permission="read")
    def look(what: str = "") -> str:
        burnt.append(("look", what))
        return f"seen {what}"

    return registry


def asks(*calls):
    return Player(reply(*(calls or (call("burn", {"what": "page"}),)), stop_reason="tool_use"), reply("done"))


def loop_with(ledger, burnt, client=None, *, session="s", **more):
    spec = spec_of(session, tools=EVERYTHING)
    return loop_of(ledger, client or asks(), spec=spec, tools=burning(burnt), **more)


def request_of(ledger, session="s"):
    begun = undecided_call(ledger.rows(session))
    return Request(ledger.origin, begun, ledger.read_content(begun.data["arguments"]))


def sign(decision, by=None, namespace=APPROVAL_NAMESPACE):
    key = PEOPLE[by or decision.by]
    return Signed(decision, sshsig.sign(key, namespace, decision.statement))


def signed(request, decision="granted", *, by=ALICE, key=None, hold=HOUR, namespace=APPROVAL_NAMESPACE, **changes):
    until = None if decision == "refused" else datetime.now(UTC) + hold
    stated = dataclasses.replace(request.decided(decision, by, until), **changes)
    return sign(stated, key, namespace)


def decide(ledger, keys, decision="granted", *, session="s", **more):
    return record(ledger, signed(request_of(ledger, session), decision, **more), load_trust(keys / "self"))


def found(ledger, keys):
    """What an audit finds: rules and rows."""
    state = state_of(ledger.db_path, keys)
    with LedgerReader(ledger.db_path) as reader:
        report = audit(reader, load_trust(keys / "self"), state=state)
    return [(str(each.rule), each.row) for each in report.findings]
