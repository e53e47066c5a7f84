"""Put code that you already have inside limits: four lines around it, none in it.

    python examples/governed_client.py                # no key: the real SDK, and a scripted model in this process
    python examples/governed_client.py --tokens 1100  # and a ceiling that stops it

With ANTHROPIC_API_KEY set, a model answers. Either way each request is reserved before it leaves, and recorded; then
a person reviews it: safeloop review SESSION.

Exit codes: 0 done, 10 a ceiling stopped it; others are safeloop's own (`safeloop help exit-codes`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid

import anthropic
import httpx2

import safeloop
from safeloop.errors import CircuitBreakerError, ExitCode, SafeloopError
from safeloop.loop.events import Closed, Event, Replied, Reserved

MODEL = "claude-sonnet-5-5"
LINES = ("Opening hours", "Prices", "How to find us")


# --- what you already have: nothing in it knows of limits -------------------------------------------------------


def describe(client: anthropic.Anthropic, title: str) -> str:
    """Ask for one sentence, unstreamed."""
    message = client.messages.create(
        model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": f"A description for: {title}"}],
    )
    return "".join(block.text for block in message.content if block.type == "text")


def summarise(client: anthropic.Anthropic, parts: list[str]) -> str:
    """Ask for a summary, streamed, piece by piece."""
    with client.messages.stream(
        model=MODEL, max_tokens=2000, messages=[{"role": "user", "content": "Summarise:\n" + "\n".join(parts)}],
    ) as stream:
        return "".join(stream.text_stream)


def work(client: anthropic.Anthropic) -> str:
    """Do all of it."""
    return summarise(client, [describe(client, line) for line in LINES])


# --- what you add -----------------------------------------------------------------------------------------------


def governed(client: anthropic.Anthropic, tokens: int) -> int:
    """Run the same code inside a session; gives the exit code."""
    spec = safeloop.SpecResult(
        what_it_does="Describe the pages of a site, and summarise the descriptions",
        what_it_does_not="Change a page, or call any tool",
        done_looks_like="One paragraph names every page",
        session_id=str(uuid.uuid4()),
    )
    breaker = safeloop.CircuitBreaker(turn_limit=10, token_limit=tokens)
    ledger = safeloop.Ledger("ledger.db")
    print(f"session {spec.session_id}")
    try:
        with safeloop.govern(client, spec=spec, breaker=breaker, ledger=ledger, on_event=tell) as inside:
            print(work(inside))
    except CircuitBreakerError as breach:
        print(f"stopped before the call: {breach.reason}, {breach.accumulated_tokens} tokens charged")
        return ExitCode.BREACH
    finally:
        ledger.close()
        print(f"next: safeloop review {spec.session_id}")
    return ExitCode.DONE


def tell(event: Event) -> None:
    """Say what happens."""
    match event:
        case Reserved():
            print(f"  turn {event.turn}: at most {event.max_tokens} tokens of answer; {event.tokens} charged so far")
        case Replied():
            print(f"  turn {event.turn}: {event.tokens} tokens, {event.stop_reason}")
        case Closed():
            print(f"  {event.outcome}")


# --- a model for those without a key: the SDK is real, and so are its requests ----------------------------------


def scripted() -> anthropic.Anthropic:
    """Return a client whose requests are answered in this process."""
    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key="none", base_url="http://scripted", http_client=http_client)


def answer(request: httpx2.Request) -> httpx2.Response:
    """Answer as the Messages API does, streamed or not."""
    body = json.loads(request.content)
    asked = body["messages"][0]["content"]
    usage = {"input_tokens": len(asked) // 4, "output_tokens": 12}
    if request.url.path.endswith("/count_tokens"):
        return httpx2.Response(200, json={"input_tokens": usage["input_tokens"]})
    text = f"In a few words: {asked.partition(':')[2].strip()}."
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None,
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": usage,
    }
    if not body.get("stream"):
        return httpx2.Response(200, json=message)
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return httpx2.Response(200, text=lines, headers={"content-type": "text/event-stream"})


def main() -> int:
    """Run the program; gives its exit code."""
    parser = argparse.ArgumentParser(description="Code that you already have, inside limits.")
    parser.add_argument("--tokens", type=int, default=15_000, help="the ceiling on tokens of all requests together")
    arguments = parser.parse_args()
    client = anthropic.Anthropic() if os.environ.get("ANTHROPIC_API_KEY") else scripted()
    try:
        return governed(client, arguments.tokens)
    except SafeloopError as error:
        print(f"{error}\nhint: {error.hint}" if error.hint else error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
