from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.review.releasing.policy import MOST_ACCEPTS, ReleasePolicy, parse_policy, read_canonical

NAME = "/etc/safeloop/trust/release.toml"

policies = st.builds(
    ReleasePolicy, accepts=st.integers(1, MOST_ACCEPTS), any_reject_blocks=st.booleans(),
    accept_breach=st.booleans(), accept_unmet=st.booleans(),
)


def refusal(text: str) -> str:
    with pytest.raises(KeyUnusable) as refused:
        parse_policy(text, NAME)
    assert "accepts = 1" in refused.value.hint
    return str(refused.value)


def test_without_a_file_one_person_must_accept_and_nothing_unfinished_leaves() -> None:
    assert parse_policy(None) == ReleasePolicy() == ReleasePolicy(1, True, False, False)


def test_an_empty_file_is_the_defaults_and_not_an_open_gate() -> None:
    assert parse_policy("") == parse_policy("# nothing yet\n") == ReleasePolicy()


def test_every_key_is_read() -> None:
    text = "accepts = 2\nany_reject_blocks = false\naccept_breach = true\naccept_unmet = true\n"
    assert parse_policy(text) == ReleasePolicy(2, False, True, True)


@pytest.mark.parametrize("accepts", ["0", "-1", "101", "9" * 4000])
def test_a_number_of_accepts_that_no_gate_can_ask_for_is_refused(accepts: str) -> None:
    message = refusal(f"accepts = {accepts}")
    assert message.startswith(NAME)
    assert "accepts" in message or "TOML" in message


def test_the_refusal_names_file_and_key() -> None:
    assert refusal("accepts = 0") == f"{NAME}: accepts is 0, not from 1 to 100"


@pytest.mark.parametrize("accepts", ["true", '"2"', "2.0", "[2]", "2026-11-21"])
def test_accepts_is_a_whole_number_and_true_is_none(accepts: str) -> None:
    assert f"{NAME}: accepts is not a number" in refusal(f"accepts = {accepts}")


@pytest.mark.parametrize("key", ["any_reject_blocks", "accept_breach", "accept_unmet"])
@pytest.mark.parametrize("value", ["1", "0", '"no"', "[]"])
def test_a_switch_is_true_or_false_and_a_number_is_neither(key: str, value: str) -> None:
    assert f"{NAME}: {key} is not true or false" in refusal(f"{key} = {value}")


@pytest.mark.parametrize("text", ["accept = 2", "Accepts = 2", "[accepts]", "accepts = 1\n[release]\n", '"" = 1'])
def test_a_key_that_is_not_known_is_an_error_because_it_may_have_been_meant_to_restrict(text: str) -> None:
    message = refusal(text)
    assert message.startswith(NAME)
    assert "unknown key" in message or "accepts is not a number" in message


def test_an_unknown_key_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in refusal('"\\u001b[2J" = 1')


@pytest.mark.parametrize("text", [
    "accepts", "accepts = ", "accepts = 1\naccepts = 2", "accepts = 1 # \x00", "[" * 5000,
])
def test_what_is_not_toml_is_refused_with_the_files_name(text: str) -> None:
    assert refusal(text).startswith(f"{NAME} is not TOML")


@given(policies)
def test_what_a_release_row_states_is_read_back_as_the_same_policy(policy: ReleasePolicy) -> None:
    assert read_canonical(policy.canonical) == policy


def test_the_canonical_words_have_every_key_in_order() -> None:
    assert ReleasePolicy(accepts=2).canonical == (
        '{"accept_breach":false,"accept_unmet":false,"accepts":2,"any_reject_blocks":true}'
    )


@pytest.mark.parametrize("text", [
    "", "{}", "[]", "null", '{"accepts":1}', "\ud800",
    '{"accept_breach":false,"accept_unmet":false,"accepts":0,"any_reject_blocks":true}',
    '{"accept_breach":false,"accept_unmet":false,"accepts":true,"any_reject_blocks":true}',
    '{"accept_breach": false,"accept_unmet":false,"accepts":1,"any_reject_blocks":true}',
    '{"accept_breach":false,"accept_unmet":false,"accepts":1,"any_reject_blocks":true,"any":1}',
])
def test_other_words_are_no_policy(text: str) -> None:
    with pytest.raises(EncodingError):
        read_canonical(text)
