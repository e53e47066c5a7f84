"""Replies of any shape, and usage that is never too low."""

import json
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from unittest.mock import MagicMock

import anthropic.types
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError
from safeloop.models import Reply, ToolCall, Usage, read_reply, replay
from safeloop.models.shapes import DEEPEST, compact_json, plain
from safeloop.models.usage import read_usage

TEXT = {"type": "text", "text": "ok"}
CALL = {"type": "tool_use", "id": "c", "name": "t", "input": {"a": 1}}
TOKENS = {"input_tokens": 5, "output_tokens": 7}


@dataclass
class FakeUsage:
    input_tokens: int
    output_tokens: int


@dataclass
class FakeBlock:
    text: str
    type: str = "text"


@dataclass
class FakeResponse:
    usage: FakeUsage
    content: list
    stop_reason: str = "end_turn"


class ModelBlock(pydantic.BaseModel):
    type: str = "text"
    text: str


class ModelReply(pydantic.BaseModel):
    content: list[ModelBlock]
    stop_reason: str = "end_turn"
    usage: dict[str, int]


class ClassBlock:
    type = "text"
    text = "ok"


class ClassReply:
    content = (ClassBlock(),)
    stop_reason = "end_turn"
    usage = SimpleNamespace(**TOKENS)


SHAPES = [
    {"content": [TEXT], "stop_reason": "end_turn", "usage": TOKENS},
    FakeResponse(FakeUsage(5, 7), [FakeBlock("ok")]),
    SimpleNamespace(content=[SimpleNamespace(**TEXT)], stop_reason="end_turn", usage=SimpleNamespace(**TOKENS)),
    anthropic.types.Message.model_validate(
        {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [TEXT], "stop_reason": "end_turn",
         "usage": TOKENS}
    ),
    ModelReply(content=[ModelBlock(text="ok")], usage=TOKENS),
    ClassReply(),
    {"content": "ok", "stop_reason": "end_turn", "usage": TOKENS},
    {"content": ["ok"], "stop_reason": "end_turn", "usage": Usage(input=5, output=7)},
    SimpleNamespace(content=[SimpleNamespace(text="ok")], usage=FakeUsage(5, 7)),
]  # fmt: skip


@pytest.mark.parametrize("response", SHAPES, ids=lambda shape: type(shape).__name__)
def test_every_shape_is_read_alike_and_can_be_read_back(response):
    reply = read_reply(response)
    assert (reply.content, reply.text, reply.stop_reason) == ((TEXT,), "ok", "end_turn")
    assert reply.usage == Usage(input=5, output=7)
    assert reply.usage.total == 12
    assert replay(reply.raw) == reply


def test_blocks_of_the_sdk_come_back_exactly_as_the_server_sent_them():
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln+/="},
        {"type": "text", "text": "x", "citations": None},
        {"type": "tool_use", "id": "i", "name": "\ud800", "input": {"z": 1, "a": "\udfff"}},
        {"type": "unheard_of", "payload": [1]},
    ]
    message = anthropic._models.construct_type(
        type_=anthropic.types.Message, value={"id": "m", "content": blocks, "stop_reason": None, "usage": TOKENS}
    )
    reply = read_reply(message)
    assert list(reply.content) == blocks
    assert replay(reply.raw) == reply


def test_a_default_of_somebody_elses_model_is_part_of_the_answer():
    class CallBlock(pydantic.BaseModel):
        type: str = "tool_use"
        id: str
        name: str
        input: dict = {}

    reply = read_reply({"content": [CallBlock(id="c", name="t")], "stop_reason": "tool_use"})
    assert reply.tool_calls == (ToolCall("c", "t", {}),)


def test_exact_bytes_are_kept_where_the_adapter_has_them():
    raw = b'{"content" : "ok"}'
    assert read_reply({"content": "ok", "raw": raw}).raw is raw
    assert b'"raw"' not in read_reply({"content": "ok", "raw": "not bytes"}).raw


def test_a_stop_reason_that_is_absent_is_an_end_only_without_tool_calls():
    assert read_reply({"content": [TEXT]}).stop_reason == "end_turn"
    assert read_reply({"content": []}).stop_reason == "end_turn"
    assert read_reply({"content": [TEXT, CALL]}).stop_reason is None
    assert read_reply({"content": [TEXT], "stop_reason": None}).stop_reason is None
    assert read_reply({"content": [TEXT], "stop_reason": 7}).stop_reason is None


@pytest.mark.parametrize(
    "nothing", [None, 5, "<html>", b"", [], {}, object(), SimpleNamespace(text="x"), ValueError("x")]
)
def test_what_is_no_message_is_neither_an_answer_nor_an_end(nothing):
    reply = read_reply(nothing)
    assert (reply.content, reply.stop_reason, reply.usage) == ((), None, None)
    assert replay(reply.raw) == reply


@pytest.mark.parametrize("content", [None, 5, {"type": "text"}, "", [None, 5, b"x", {}, [], object()], iter([TEXT])])
def test_content_that_holds_no_block_is_empty(content):
    assert read_reply({"content": content}).content == ()


def test_an_enum_a_tuple_and_a_nested_object_become_plain():
    class Stop(Enum):
        DONE = "end_turn"

    reply = read_reply({"content": ({**CALL, "input": SimpleNamespace(n=(1, 2))},), "stop_reason": Stop.DONE})
    assert (reply.stop_reason, reply.tool_calls) == ("end_turn", (ToolCall("c", "t", {"n": [1, 2]}),))


@pytest.mark.parametrize(
    ("block", "call"),
    [
        ({"type": "tool_use"}, ToolCall("", "", None)),
        ({"type": "tool_use", "id": 5, "name": None, "input": [1]}, ToolCall("5", "null", [1])),
        (
            {"type": "tool_use", "id": "\ud800", "name": {"a": "\udfff"}, "input": "x"},
            ToolCall("\ud800", '{"a":"\\udfff"}', "x"),
        ),
    ],
)
def test_tool_calls_without_sense_are_handed_on_and_not_fatal(block, call):
    reply = read_reply({"content": [block], "stop_reason": "tool_use"})
    assert reply.tool_calls == (call,)
    assert reply.content == (block,)
    assert replay(reply.raw) == reply


def test_a_text_block_without_text_adds_nothing():
    assert read_reply({"content": [{"type": "text"}, {"type": "text", "text": 5}, TEXT]}).text == "ok"


def test_a_mock_is_read_without_a_crash_and_its_usage_is_not_believed():
    mock = MagicMock()
    mock.content = [MagicMock(type="text", text="ok")]
    reply = read_reply(mock)
    assert (reply.text, reply.usage, reply.stop_reason) == ("ok", None, None)
    assert replay(reply.raw) == reply


def test_a_count_that_only_looks_like_one_when_written_down_stays_unbelieved():
    class Odd(Enum):
        FIVE = 5

    reply = read_reply({"content": "ok", "usage": {"input_tokens": Odd.FIVE, "output_tokens": 1}})
    assert reply.usage is None
    assert replay(reply.raw) == reply


def test_cycles_depths_and_endless_numbers_are_replaced_by_words():
    loop = {}
    loop["self"] = loop
    assert plain(loop) == {"self": "<cycle>"}
    deep = "bottom"
    for _ in range(DEEPEST + 1):
        deep = [deep]
    assert b"<too deep>" in compact_json(deep)
    assert compact_json({1: 10**5000, None: object, 2.5: b"x"}).startswith(b'{"1":"0x')
    assert plain(pydantic.create_model("M", when=(object, ...))(when=object())) == {"when": "<object>"}


def test_an_object_whose_model_dump_is_not_pydantics_is_read_by_its_fields():
    class Odd:
        def __init__(self):
            self.content = "ok"

        def model_dump(self):
            return "nonsense"

    class Odder(Odd):
        def model_dump(self, **_options):
            return "nonsense"

    assert read_reply(Odd()).text == "ok"
    assert read_reply(Odder()).text == "ok"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_kept_bytes_that_are_no_reply_are_refused(raw):
    with pytest.raises(EncodingError):
        replay(raw)


any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates among them
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
blocks = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("text", "id", "name", "input"), json_values),
        "type": st.sampled_from(["text", "tool_use"]),
    },
)
responses = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("stop_reason", "model", "extra"), json_values),
        "content": st.lists(blocks | json_values, max_size=3) | json_values,
        "usage": json_values | st.fixed_dictionaries(dict.fromkeys(("input_tokens", "output_tokens"), json_values)),
    },
)


@given(responses)
def test_whatever_a_server_sends_is_read_without_a_crash_and_reads_back_the_same(response):
    reply = read_reply(response)
    assert isinstance(reply, Reply)
    assert all(type(word) is str for call in reply.tool_calls for word in (call.id, call.name))
    assert replay(reply.raw) == reply
    assert read_reply(json.loads(reply.raw)) == reply


def counts(**more):
    return {**TOKENS, **more}


@pytest.mark.parametrize(
    ("source", "usage"),
    [
        (counts(cache_creation_input_tokens=None, cache_read_input_tokens=None), Usage(input=5, output=7)),
        (counts(cache_creation_input_tokens=1, cache_read_input_tokens=2), Usage(5, 1, 2, 7)),
        (counts(server_tool_use={"web_search_requests": 3, "web_fetch_requests": 9}), Usage(5, 0, 0, 7, 0, 3)),
        (counts(output_tokens_details={"thinking_tokens": 7}), Usage(5, 0, 0, 7, 7)),
        (counts(output_tokens_details=None, server_tool_use=None, iterations=None), Usage(5, 0, 0, 7)),
        (counts(output_tokens_details={"thinking_tokens": 8}), None),
        (counts(output_tokens_details={"thinking_tokens": -1}), None),
        (counts(server_tool_use={"web_search_requests": "1"}), None),
        (counts(cache_read_input_tokens=-1), None),
        (counts(input_tokens=None), None),
        ({"input_tokens": 5}, None),
        ({"output_tokens": 5}, None),
        ({"input_tokens": 10**9, "output_tokens": 1}, Usage(input=10**9, output=1)),
        ({"input_tokens": 10**9 + 1, "output_tokens": 1}, None),
        ({"input_tokens": 10, "output_tokens": 0}, None),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        (Usage(), None),
        (Usage(input=1), None),
        (Usage(input=1, output=1), Usage(input=1, output=1)),
        ([], None),
        ("12", None),
    ],
)
def test_usage_is_read_in_full_or_not_at_all(source, usage):
    assert read_usage(source, beside_content=True) == usage


def test_zero_is_believed_only_where_nothing_came():
    assert read_usage({"input_tokens": 0, "output_tokens": 0}, beside_content=False) == Usage()


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        ([], (5, 7)),
        ([counts(type="message")], (5, 7)),
        ([counts(type="message"), counts(type="message")], (10, 14)),  # more than the totals: believe the more
        ([counts(type="message", input_tokens=1)], (5, 7)),
        ([counts(type="message"), counts(type="compaction", input_tokens=100)], (105, 14)),
        ([counts(type="advisor_message")], (10, 14)),
        ([counts(type="fallback_message")], (5, 7)),
        ([counts(type="of a kind unheard of")], (10, 14)),
        ([counts(type=["message"])], (10, 14)),
        ([{"type": "message"}], None),
        ([None], None),
        ("message", None),
        ([counts(type="compaction", input_tokens=10**9)], None),
    ],
)
def test_every_iteration_is_included_and_never_less_than_the_totals(iterations, expected):
    usage = read_usage(counts(iterations=iterations), beside_content=True)
    assert (usage and (usage.input, usage.output)) == expected


@given(st.dictionaries(st.sampled_from([*TOKENS, "cache_read_input_tokens"]), st.integers(-5, 2 * 10**9)))
def test_usage_is_never_negative_nor_absurd(source):
    usage = read_usage(source, beside_content=True)
    assert usage is None or 0 < usage.total <= 3 * 10**9


class Liar(int):
    def __int__(self):
        return 0

    def __le__(self, other):
        return True

    __ge__ = __le__


@pytest.mark.parametrize("usage", [
    Usage(), Usage(input=5), Usage(input=-5), Usage(input=2**60), Usage(output=1, thinking=2), Usage(input=Liar(-5)), Usage(input="5"),
])
def test_a_usage_that_cannot_be_believed_is_not_believed_from_a_reply_either(usage):
    assert read_reply(Reply((TEXT,), "end_turn", usage, None, b"{}")).usage is None


def test_a_number_that_lies_about_itself_is_counted_as_what_it_is():
    reply = Reply((TEXT,), "end_turn", Usage(input=Liar(5), output=1), None, b"{}")
    assert str(read_reply(reply).usage.input) == "5" and type(read_reply(reply).usage.input) is int
