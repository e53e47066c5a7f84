"""An OpenAI-compatible server on loopback that plays a script.

    with OpenAIServer(["hello", completion(calls=[call("look", {"at": "it"})]), Fault.status(503)]) as server:
        client = OpenAIClient(server.base_url)
        ...
        assert server.billed == [usage.total, ...]

One entry of the script answers one POST to /v1/chat/completions, in order: a text, a completion (best made by
`completion(...)`), a `Fault` of the Anthropic server, or a function of the request's body that returns one of these.
Everything else (requests, posts, billed, honest tokens) is as in `anthropic_server`.

`usage_in` says where the usage is sent: in a chunk of its own without choices, and only if the request asks for it
(`own`, as OpenAI, vLLM and llama.cpp do); in the chunk with the finish_reason (`last`); in every chunk, growing
(`every`); in the first chunk alone (`first`); or nowhere (`never`).
"""

from __future__ import annotations

import json
from typing import Any

from tests.servers.anthropic_server import _UNSET, AnthropicServer, Fault, Script, _halves, honest_tokens

MODEL = "local-model"
__all__ = ["Fault", "OpenAIServer", "call", "completion", "usage"]


def call(name: Any, arguments: Any = None, call_id: Any = "call_a", index: Any = _UNSET) -> dict[str, Any]:
    """A tool call; arguments that are a text are sent as they are; `index` is its place unless it is given."""
    words = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
    made = {"id": call_id, "type": "function", "function": {"name": name, "arguments": words}}
    return made if index is _UNSET else {"index": index, **made}


def usage(prompt: Any = 10, output: Any = 5, cached: Any = _UNSET, thinking: Any = _UNSET, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output, **more}
    if cached is not _UNSET:
        made["prompt_tokens_details"] = {"cached_tokens": cached}
    if thinking is not _UNSET:
        made["completion_tokens_details"] = {"reasoning_tokens": thinking}
    return made


def completion(
    text: Any = None, *, calls: list[Any] | None = None, thinking: str | None = None, thinking_as: str = "reasoning_content",
    finish_reason: Any = _UNSET, usage: Any = _UNSET, refusal: str | None = None, index: Any = 0,
) -> dict[str, Any]:  # fmt: skip
    """A completion; `finish_reason` is `tool_calls` or `stop` unless it is given."""
    if finish_reason is _UNSET:
        finish_reason = "tool_calls" if calls else "stop"
    made = {"text": text, "calls": calls or [], "thinking": thinking, "thinking_as": thinking_as,
            "finish_reason": finish_reason, "refusal": refusal, "index": index}  # fmt: skip
    return made if usage is _UNSET else {**made, "usage": usage}


class OpenAIServer(AnthropicServer):
    """See the module's docstring; use it as a context manager."""

    path = "/v1/chat/completions"

    def __init__(self, script: Script = (), *, usage_in: str = "own") -> None:
        super().__init__(script)
        self.usage_in = usage_in

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def total(self, counts: Any) -> int:
        found = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(counts, dict) else []
        return sum(count for count in found if type(count) is int and count > 0)

    def complete(self, reply: Any, request: dict[str, Any]) -> dict[str, Any]:
        made = completion(reply) if isinstance(reply, str) else dict(reply)
        made["asked_for_usage"] = (request.get("stream_options") or {}).get("include_usage") is True
        if "usage" in made:
            return made
        most = request.get("max_tokens") or request.get("max_completion_tokens") or 1
        wanted = honest_tokens(made["text"], made["calls"], made["thinking"])
        if wanted > most and isinstance(reply, str):
            made.update(text=reply.encode()[: most * 4].decode(errors="ignore"), finish_reason="length")
        return {**made, "usage": usage(honest_tokens(request.get("messages"), request.get("tools")), min(wanted, most))}

    def events(self, made: dict[str, Any]) -> list[str]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{made["thinking_as"]: part} for part in _halves(made["thinking"] or "") if part]
        deltas += [{"content": part} for part in _halves(made["text"])] if isinstance(made["text"], str) else (
            [] if made["text"] is None else [{"content": made["text"]}])  # fmt: skip
        deltas += [{"refusal": part} for part in _halves(made["refusal"] or "") if part]
        for place, one in enumerate(made["calls"]):
            deltas.extend({"tool_calls": [part]} for part in _call_parts(one, place))
        chunks = [_chunk([_choice(delta, None, made["index"])]) for delta in deltas]
        chunks.append(_chunk([_choice({}, made["finish_reason"], made["index"])]))
        self._place_usage(chunks, made)
        return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]

    def _place_usage(self, chunks: list[dict[str, Any]], made: dict[str, Any]) -> None:
        counts = made["usage"]
        if self.usage_in == "own" and made["asked_for_usage"]:
            for chunk in chunks:
                chunk["usage"] = None
            chunks.append({**_chunk([]), "usage": counts})
        elif self.usage_in == "last":
            chunks[-1]["usage"] = counts
        elif self.usage_in == "first":
            chunks[0]["usage"] = counts
        elif self.usage_in == "every":
            for chunk in chunks:
                chunk["usage"] = {**counts, "completion_tokens": 1}
            chunks.append({**_chunk([]), "usage": counts})


def _call_parts(one: Any, place: int) -> list[Any]:
    """A call as OpenAI streams it: id and name first, then the arguments in pieces."""
    if not isinstance(one, dict) or not isinstance(one.get("function"), dict):
        return [one]
    numbered = {"index": place, **one}
    if numbered["index"] is None:
        return [{name: item for name, item in numbered.items() if name != "index"}]
    words = one["function"]["arguments"]
    if not isinstance(words, str):
        return [numbered]
    begin = {**numbered, "function": {**one["function"], "arguments": ""}}
    return [begin, *({"index": numbered["index"], "function": {"arguments": part}} for part in _halves(words) if part)]


def _choice(delta: dict[str, Any], finish_reason: Any, index: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _chunk(choices: list[Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": MODEL,
            "system_fingerprint": "fp_1", "choices": choices}  # fmt: skip
