"""Token bounds against text that was made to break them."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.breaker import How, Request, Settled, bytes_bound, counted_bound, estimate_bound
from safeloop.breaker.bounds import MESSAGE_OVERHEAD, REQUEST_OVERHEAD, TOOLS_OVERHEAD
from tests.breaker.tokenizers import greedy_tokens, texts_in

TOOL = {"name": "look", "description": "looks", "input_schema": {"type": "object", "properties": {}}}
PNG = {"type": "base64", "media_type": "image/png", "data": "A" * 4_000_000}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def asked(*messages, system="", tools=(), wanted=1024):
    return Request("m", system, messages, tools, wanted)


def user(content):
    return {"role": "user", "content": content}


@given(st.text(), st.text(), st.text())
def test_no_text_has_more_tokens_than_its_bound_even_if_each_byte_is_a_token(system, first, second):
    request = asked(user(first), {"role": "assistant", "content": second}, system=system)
    tokens = greedy_tokens(system, first, second)
    assert bytes_bound(request).tokens >= tokens + 2 * MESSAGE_OVERHEAD + REQUEST_OVERHEAD


@given(ANYTHING, ANYTHING)
def test_no_block_or_tool_has_more_tokens_than_its_bound_whatever_it_holds(arguments, schema):
    block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": arguments}
    tool = {"name": "look", "description": "", "input_schema": schema}
    request = asked(user("hi"), {"role": "assistant", "content": [block]}, tools=(tool,))
    raw = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts_in([block, tool, "hi"]))
    assert bytes_bound(request).tokens >= raw + TOOLS_OVERHEAD


@pytest.mark.parametrize("character", ["a", "é", "\u200d", "𒐫", "\ud800", "\ufdfa", "\u3316", "\U0001d160"])
def test_a_page_of_the_dearest_character_is_bounded_in_every_form_that_a_tokenizer_may_give_it(character):
    page = character * 1_000
    bound = bytes_bound(asked(user(page))).tokens
    for form in ("NFC", "NFKC"):
        assert bound >= len(unicodedata.normalize(form, page).encode("utf-8", "surrogatepass"))


def test_the_bound_of_plain_text_is_its_bytes_and_the_overheads_and_nothing_more():
    assert bytes_bound(asked(user("hello"), system="be brief")).tokens == 5 + 8 + 16 + 64
    assert bytes_bound(asked(user("hello"), user("again"))).tokens == 2 * (5 + 16) + 64
    assert bytes_bound(asked(user("hello"))).how is How.BOUND


def test_tool_definitions_cost_their_bytes_and_the_providers_own_prompt():
    without, with_tool = bytes_bound(asked(user("hi"))), bytes_bound(asked(user("hi"), tools=(TOOL,)))
    assert 1_024 + len(json.dumps(TOOL)) <= with_tool.tokens - without.tokens < 1_100 + len(json.dumps(TOOL))


def test_an_image_costs_its_maximum_and_not_its_bytes():
    bound = bytes_bound(asked(user([{"type": "image", "source": PNG}, {"type": "text", "text": "what is it?"}])))
    assert 6_000 < bound.tokens < 6_200


def test_images_in_the_result_of_a_tool_are_found_and_counted_one_by_one():
    image = {"type": "image", "source": PNG}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image, {"type": "text", "text": "x"}, image]}
    bound = bytes_bound(asked(user([result]))).tokens
    assert 12_000 < bound < 12_300


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/large.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/book.pdf"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        {"type": "of a later version", "source": {}},
    ],
)
@pytest.mark.parametrize("wrap", [
    lambda block: [block],
    lambda block: [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "t", "content": [block]}],
    lambda block: [{"type": "tool_result", "tool_use_id": "t", "content": block}],
    lambda block: ({"type": "tool_result", "tool_use_id": "t", "content": ({"type": "x", "content": [block]},)},),
])
def test_what_lies_elsewhere_has_no_bound_however_deep_it_is_hidden(block, wrap):
    request = asked(user("hello"), user(wrap(block)))
    assert bytes_bound(request) is None
    assert bytes_bound(request, Settled(1, 100)) is None
    assert estimate_bound(request) is None


def test_a_source_that_is_only_an_argument_of_a_tool_is_text():
    call = {"type": "tool_use", "id": "t", "name": "cite", "input": {"source": {"type": "url", "url": "https://x"}}}
    assert bytes_bound(asked({"role": "assistant", "content": [call]})).tokens > 60


def test_a_message_without_content_or_with_odd_content_still_has_a_bound():
    assert bytes_bound(asked({"role": "user"}, user(None), user(17), user([None, 17]))).tokens < 250


def test_after_a_settled_turn_only_what_was_added_is_bounded_by_bytes():
    messages = [user("x" * 10_000), {"role": "assistant", "content": "y" * 10_000}, user("continue")]
    whole, since = bytes_bound(asked(*messages)), bytes_bound(asked(*messages), Settled(1, 5_000))
    assert whole.tokens > 20_000
    assert since.tokens == 5_000 + REQUEST_OVERHEAD + MESSAGE_OVERHEAD + MESSAGE_OVERHEAD + len("continue")


def test_a_settled_turn_that_cost_more_than_its_bytes_never_makes_the_bound_larger():
    messages = [user("hi"), {"role": "assistant", "content": "ho"}, user("continue")]
    assert bytes_bound(asked(*messages), Settled(1, 10**9)) == bytes_bound(asked(*messages))


def test_a_second_user_message_after_a_settled_turn_is_not_taken_for_its_reply():
    messages = [user("hi"), user("z" * 5_000)]
    assert bytes_bound(asked(*messages), Settled(1, 10)).tokens >= 5_000


@pytest.mark.parametrize(
    ("counted", "bound"), [(0, 0), (1, 2), (20, 21), (21, 23), (60, 63), (140, 147), (10**9, 1_050_000_000)]
)
def test_a_count_gets_five_per_cent_on_top_and_is_rounded_up_exactly(counted, bound):
    assert counted_bound(counted).tokens == bound
    assert counted_bound(counted).how is How.COUNTED


def test_an_estimate_is_a_third_of_the_bytes_rounded_up_and_says_that_it_is_one():
    request = asked(user("x" * 1_000))
    estimate = estimate_bound(request)
    assert estimate.how is How.ESTIMATE
    assert estimate.tokens == -(-bytes_bound(request).tokens // 3)
