"""The scripted server speaks chat completions as OpenAI's own client reads them, and our client reads the same."""

import json

import openai
import pytest

from safeloop.models.openai import OpenAIClient
from tests.models.test_openai_turns import ASK
from tests.servers.openai_server import OpenAIServer, call, completion, usage

REPLIES = [
    "hello",
    completion("so", calls=[call("look", {"at": "é"}, "c1"), call("list", {}, "c2")], usage=usage(100, 20, cached=64, thinking=3, total_tokens=120)),
    completion(None, calls=[call("look", {"deep": [1, {"n": None}]})]),
]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
def test_both_clients_read_the_same_reply(reply):
    with OpenAIServer([reply, reply]) as server, OpenAIClient(server.base_url, api_key="k") as ours:
        mine = ours.messages.create(**ASK)
        body = server.posts[0].body
        asked = {name: item for name, item in body.items() if name != "stream"}
        with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as official:
            with official.chat.completions.stream(**asked) as stream:
                for _ in stream:
                    pass
                theirs = stream.get_final_completion()
        assert server.posts[1].body == body, "the official client asks in the same words"
    message = theirs.choices[0].message
    assert mine.text == (message.content or "")
    assert [(one.id, one.name, one.input) for one in mine.tool_calls] == [
        (one.id, one.function.name, json.loads(one.function.arguments)) for one in message.tool_calls or ()
    ]
    assert mine.usage.total == theirs.usage.prompt_tokens + theirs.usage.completion_tokens
