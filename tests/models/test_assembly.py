"""Streams put together, cut anywhere and broken everywhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import AttemptFailed
from safeloop.models.assembly import assemble
from safeloop.models.sse import event_data
from tests.servers.anthropic_server import message, stream_events, text, thinking, tool_use, usage

WHOLE = message(thinking("hm", "sig"), text("héllo"), tool_use("t", {"a": [1, "ü"]}), usage=usage(3, 4))
START = {"type": "message_start", "message": {"role": "assistant", "usage": {"input_tokens": 9, "output_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP = {"type": "message_stop"}


def put_together(*events):
    return assemble(json.dumps(event) for event in events)


@given(st.lists(st.integers(1, 40)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_stream_cut_anywhere_gives_the_same_message(cuts, newline):
    body = "".join(stream_events(WHOLE)).replace("\n", newline).encode()
    chunks, rest = [b""], body
    for size in cuts:
        chunks.append(rest[:size])
        rest = rest[size:]
    found = assemble(event_data([*chunks, rest]))
    assert {name: found[name] for name in WHOLE} == WHOLE


@given(st.integers(0, 2000))
def test_a_stream_cut_off_before_its_end_is_never_a_message(size):
    body = "".join(stream_events(WHOLE)).encode()
    kept = body[: min(size, len(body) - 1)]
    with pytest.raises(AttemptFailed) as caught:
        assemble(event_data([kept]))
    assert (caught.value.error_class, caught.value.in_doubt) == ("CutStream", True)


def test_comments_other_fields_and_events_without_data_are_passed_over():
    lines = b": hi\nid: 5\nretry: 1\nevent: ping\n\ndata\n\ndata:a\ndata: b\n\n"
    assert list(event_data([lines])) == ["a\nb"]


def test_unknown_events_are_passed_over_and_nothing_after_the_end_is_read():
    found = put_together(START, {"type": "news", "x": 1}, BLOCK, STOP, {"type": "error"})
    assert found["content"] == [{"type": "text", "text": ""}]


def test_a_usage_that_did_not_grow_with_the_content_after_it_is_not_believed():
    """A server that answers twice in one stream, and states what each answer cost."""
    bill = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 9, "output_tokens": 5}}
    again = {**BLOCK, "index": 1}
    more = {**bill, "usage": {"output_tokens": 6}}
    assert put_together(START, BLOCK, bill, again, STOP)["usage"] is None
    assert put_together(START, BLOCK, bill, again, bill, STOP)["usage"] is None
    assert put_together(START, BLOCK, bill, again, bill, more, STOP)["usage"] is None
    assert put_together(START, BLOCK, bill, again, more, STOP)["usage"] == {"input_tokens": 9, "output_tokens": 6}
    assert put_together(START, BLOCK, bill, bill, STOP)["usage"] == {"input_tokens": 9, "output_tokens": 5}


def test_usage_from_before_the_output_is_not_taken_for_the_whole():
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    assert put_together(START, STOP)["usage"] is None
    assert put_together(START, delta, STOP)["usage"] is None
    assert put_together(START, {**delta, "usage": {"input_tokens": 9}}, STOP)["usage"] is None
    counts = put_together(START, {**delta, "usage": {"output_tokens": 5}}, STOP)["usage"]
    assert counts == {"input_tokens": 9, "output_tokens": 5}


@pytest.mark.parametrize(
    ("later", "merged"),
    [(0, 9), (12, 12), (None, 9), (-1, -1), ("x", "x"), (True, True)],
)
def test_a_later_count_replaces_an_earlier_one_but_never_by_less(later, merged):
    delta = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": later, "output_tokens": 1, "new": None}}
    assert put_together(START, delta, STOP)["usage"] == {"input_tokens": merged, "output_tokens": 1, "new": None}


def test_what_a_delta_says_about_the_message_is_kept():
    said = {"stop_reason": "refusal", "stop_details": {"why": "x"}, "container": None}
    more = {"usage": {"output_tokens": 1}, "context_management": {"edits": []}}
    delta = {"type": "message_delta", "delta": said, **more}
    found = put_together(START, delta, {**delta, "delta": {"stop_details": None}}, STOP)
    assert (found["stop_reason"], found["stop_details"], found["container"]) == ("refusal", {"why": "x"}, None)
    assert found["context_management"] == {"edits": []}


def test_a_start_without_usage_takes_the_one_of_the_end():
    start = {"type": "message_start", "message": {"content": None}}
    delta = {"type": "message_delta", "usage": {"input_tokens": 1, "output_tokens": 2}}
    assert put_together(start, delta, STOP)["usage"] == {"input_tokens": 1, "output_tokens": 2}


def test_content_that_came_with_the_start_is_kept_and_citations_and_compactions_are_added():
    start = {"type": "message_start", "message": {"content": [{"type": "text", "text": "a"}, {"type": "compaction"}]}}
    grow = [
        {"type": "text_delta", "text": "b"},
        {"type": "citations_delta", "citation": {"n": 1}},
        {"type": "citations_delta", "citation": {"n": 2}},
    ]
    packed = {"type": "content_block_delta", "index": 1, "delta": {"type": "compaction_delta", "content": "c"}}
    parts = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in grow]
    found = put_together(start, *parts, packed, STOP)
    assert found["content"] == [
        {"type": "text", "text": "ab", "citations": [{"n": 1}, {"n": 2}]},
        {"type": "compaction", "content": "c"},
    ]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "model_context_window_exceeded"])
def test_arguments_that_were_cut_are_kept_as_text(stop_reason):
    made = message(tool_use("t", '{"a": '), stop_reason=stop_reason)
    found = assemble(event_data(["".join(stream_events(made)).encode()]))
    assert found["content"][0]["input"] == {"INVALID_JSON": '{"a": '}


def test_arguments_that_came_whole_with_the_start_are_not_lost_to_an_empty_part():
    block = {"type": "tool_use", "id": "c", "name": "t", "input": {"a": 1}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    empty = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}}
    assert put_together(START, start, empty, STOP)["content"] == [block]


@pytest.mark.parametrize("stop_reason", ["tool_use", "end_turn", "pause_turn", "stop_sequence", None])
def test_arguments_that_are_broken_for_no_reason_break_the_stream(stop_reason):
    made = message(tool_use("t", '{"a": '), stop_reason=stop_reason)
    with pytest.raises(AttemptFailed, match="arguments are not JSON"):
        assemble(event_data(["".join(stream_events(made)).encode()]))


def grow(delta, index=0):
    return [START, BLOCK, {"type": "content_block_delta", "index": index, "delta": delta}]


BROKEN = [
    (["no object"], "not an object"),
    ([START, START], "message_start came twice"),
    ([{"type": "message_start"}], "without a message"),
    ([BLOCK], "did not begin"),
    ([{"type": "message_delta"}], "did not begin"),
    ([START, BLOCK, BLOCK], "began twice"),
    ([START, {"type": "content_block_start", "index": 0}], "is no object"),
    ([START, {"type": "content_block_start", "content_block": {}}], "names no block"),
    (grow({"type": "text_delta", "text": "x"}, 7), "belongs to no block"),
    (grow(None), "belongs to no block"),
    (grow({"type": "text_delta"}), "lacks what its kind needs"),
    (grow({"type": "text_delta", "text": 5}), "lacks what its kind needs"),
    (grow({"type": "thinking_delta", "thinking": None}), "lacks what its kind needs"),
    (grow({"type": "input_json_delta", "partial_json": {}}), "lacks what its kind needs"),
    (grow({"type": "signature_delta"}), "lacks what its kind needs"),
    (grow({"type": ["text_delta"]}), "lacks what its kind needs"),
    (grow({"type": "hologram_delta"}), "not known here"),
    (grow({}), "not known here"),
]


@pytest.mark.parametrize(("events", "words"), BROKEN)
def test_a_stream_that_does_not_fit_together_is_never_a_message(events, words):
    with pytest.raises(AttemptFailed, match=words) as caught:
        put_together(*events, STOP)
    assert (caught.value.error_class, caught.value.in_doubt) == ("BadStream", True)


def test_an_event_nested_without_end_breaks_the_stream_and_not_the_program():
    with pytest.raises(AttemptFailed, match="not JSON"):
        assemble(["[" * 100_000])
    deep = message(tool_use("t", "[" * 100_000))
    with pytest.raises(AttemptFailed, match="arguments are not JSON"):
        assemble(event_data(["".join(stream_events(deep)).encode()]))


@pytest.mark.parametrize("error", [None, "x", {}, {"type": None}, {"type": "invented"}])
def test_an_error_event_of_any_shape_is_told_without_its_words(error):
    with pytest.raises(AttemptFailed, match=r"broke the reply off with an error$") as caught:
        put_together(START, {"type": "error", "error": error})
    assert caught.value.error_class == "StreamError"
