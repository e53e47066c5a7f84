"""Short words for blocks of governed code, against a scripted server on loopback, and for what they leave."""

import asyncio
import contextlib
import itertools
import runpy
import sys

import anthropic

import safeloop
from safeloop.breaker import CircuitBreaker
from safeloop.ledger.keys import default_folder
from safeloop.ledger.reader import LedgerReader
from safeloop.ledger.trust import load_trust
from safeloop.review.auditing.audit import audit
from tests.forked import Forked
from tests.loop.playing import SILENT, spec_of
from tests.servers.anthropic_server import AnthropicServer

MODEL = "claude-sonnet-5-5"
ASKED = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "hello"}]}
_numbers = itertools.count(1)


def limits(turns=20, tokens=50_000, **more):
    return CircuitBreaker(turns, tokens, **{**SILENT, **more})


def asking(words="hello", **more):
    return {**ASKED, "messages": [{"role": "user", "content": words}], **more}


STREAMED = asking(stream=True)


def client_of(server, **more):
    return anthropic.Anthropic(api_key="k", base_url=server.url, **more)


def async_client_of(server, **more):
    return anthropic.AsyncAnthropic(api_key="k", base_url=server.url, **more)


@contextlib.contextmanager
def governed(ledger, script, *, breaker=None, session="s", spec=None, client=None, counted=None, **more):
    """A server that plays a script, and a governed client for it."""
    with AnthropicServer(script, counted=counted) as server, contextlib.ExitStack() as stack:
        made = stack.enter_context(client_of(server)) if client is None else client(server)
        block = safeloop.govern(
            made, spec=spec or spec_of(session), breaker=breaker or limits(), ledger=ledger, **more
        )
        with block as inside:
            yield server, inside


def run_async(ledger, script, work, *, breaker=None, session="s", counted=None, **more):
    """Run `work(client, server)` in a block of its own event loop; return what it returned."""

    async def inside():
        with AnthropicServer(script, counted=counted) as server:
            async with async_client_of(server) as made:
                block = safeloop.govern(made, spec=spec_of(session), breaker=breaker or limits(), ledger=ledger, **more)
                async with block as client:
                    return await work(client, server)

    return asyncio.run(inside())


def rows(ledger, *kinds, session="s"):
    found = ledger.rows(session)
    return [row for row in found if row.kind in kinds] if kinds else list(found)


def kinds(ledger, session="s"):
    return [row.kind for row in ledger.rows(session)]


def only(ledger, kind, session="s"):
    found = rows(ledger, kind, session=session)
    assert len(found) == 1, f"{len(found)} {kind} rows in {kinds(ledger, session)}"
    return found[0].data


def reserved(ledger, at=0):
    return rows(ledger, "intent")[at].data["reserved_tokens"]


def drain(client, **asked):
    """Read a stream to its end."""
    for _ in client.messages.create(**{**STREAMED, **asked}):
        pass


def audited(ledger):
    """The findings of an audit of a ledger, with the keys that its key folder pinned itself."""
    trust = load_trust(default_folder() / "self")
    with LedgerReader(ledger.db_path) as reader:
        report = audit(reader, trust, state=None)
    return [(each.rule.value, each.row, each.message) for each in report.findings]


def begun(file, folder, environment, *arguments):
    """Begin a program of a file in a process that has the SDK already: its import takes most of two seconds."""
    beginning = {**environment, "PYTHONWARNINGS": "error"}
    return Forked("tests.governing.blocks", (str(file), *arguments), folder, beginning, text=True)


def prepare():
    """Nothing: what this module imports is all that it takes."""


def main():
    file, *sys.argv[1:] = sys.argv[1:]
    runpy.run_path(file, run_name="__main__")
