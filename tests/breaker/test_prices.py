"""Money: worst cases before a request leaves, real cost afterwards, and where the figures come from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeloop.breaker.prices import Price, Rate
from safeloop.breaker.pricing import find_price, parse_prices
from safeloop.errors import SettingError

ANTHROPIC = "https://api.anthropic.com"
COUNTS = st.integers(0, 10**9)
RATES = st.decimals("0", "1000", places=4)


@dataclass(frozen=True)
class Used:
    input: int = 0
    cache_write: int = 0
    cache_read: int = 0
    output: int = 0
    searches: int = 0


def flat(usd: str) -> Rate:
    return Rate(Decimal(usd))


PRICE = Price(flat("2"), flat("4"), flat("0.1"), flat("10"), flat("10000"), "a test")


def rates() -> st.SearchStrategy[Rate]:
    steps = st.lists(st.tuples(st.integers(1, 10**6), RATES), max_size=3, unique_by=lambda step: step[0])
    return st.builds(Rate, RATES, steps.map(lambda found: tuple(sorted(found))))


def test_one_dollar_for_a_million_tokens_is_one_micro_dollar_for_a_token() -> None:
    assert PRICE.of(Used(input=1_000_000, output=1_000_000)) == 2_000_000 + 10_000_000
    assert PRICE.of(Used(searches=1)) == 10_000  # ten dollars for a thousand


def test_the_worst_case_takes_the_dearest_way_to_read_every_token() -> None:
    assert PRICE.worst(1_000, 100) == 1_000 * 4 + 100 * 10


def test_a_fraction_of_a_micro_dollar_is_rounded_up_and_never_away() -> None:
    cheap = Price(flat("0.0001"), flat("0.0001"), flat("0.0001"), flat("0.0001"), None, "a test")
    assert cheap.of(Used(input=1)) == 1
    assert cheap.worst(1, 0) == 1
    assert cheap.of(Used()) == 0


def test_beyond_a_step_every_token_of_the_request_costs_the_higher_rate() -> None:
    stepped = Price(Rate(Decimal(1), ((1_000, Decimal(5)),)), flat("1"), flat("1"), flat("1"), None, "a test")
    assert stepped.of(Used(input=1_000)) == 1_000
    assert stepped.of(Used(input=1_001)) == 5_005
    assert stepped.of(Used(input=600, cache_read=600)) == 600 * 5 + 600  # the whole input counts, cached or not
    assert stepped.worst(1, 0) == 5


def test_a_search_without_a_published_rate_has_no_price_rather_than_none_at_all() -> None:
    assert Price(flat("1"), flat("1"), flat("1"), flat("1"), None, "a test").of(Used(input=5, searches=1)) is None


@given(rates(), rates(), rates(), rates(), COUNTS, COUNTS, COUNTS, COUNTS)
def test_no_split_of_a_bounded_input_costs_more_than_its_worst_case(
    plain: Rate, write: Rate, read: Rate, answer: Rate, one: int, two: int, three: int, output: int
) -> None:
    price = Price(plain, write, read, answer, None, "a test")
    real = price.of(Used(one, two, three, output))
    assert real is not None
    assert real <= price.worst(one + two + three, output)


TABLE = """
[[price]]
model = "claude-sonnet-5-5"
input_usd = "7"
output_usd = "70"

[[price]]
endpoint = "http://127.0.0.1:8080"
model = "claude-sonnet-5-5"
input_usd = "0"
output_usd = "0"
"""


def test_the_operators_own_price_goes_before_the_published_one_and_the_endpoints_before_the_general() -> None:
    table = parse_prices(TABLE)
    assert find_price("claude-sonnet-5-5", ANTHROPIC, table).worst(1, 1) == 77
    assert find_price("claude-sonnet-5-5", "http://127.0.0.1:8080", table).worst(10**6, 10**6) == 0
    assert find_price("claude-haiku-5-5", ANTHROPIC, table).source.startswith("genai-prices")


def test_published_prices_reckon_with_the_dearest_cache_and_step() -> None:
    price = find_price("claude-haiku-5-5", ANTHROPIC, at=datetime(2026, 11, 21, tzinfo=UTC))
    assert price.of(Used(input=1_000)) is not None
    assert price.dearest[0] >= price.cache_write.dearest >= price.input.dearest
    assert price.worst(1, 0) >= 1


@pytest.mark.parametrize(("model", "endpoint"), [
    ("claude-sonnet-5-5", "http://127.0.0.1:8080"), ("no-such-model", ANTHROPIC), ("", ANTHROPIC),
])  # fmt: skip
def test_what_has_no_price_is_refused_and_never_free(model: str, endpoint: str) -> None:
    with pytest.raises(SettingError, match="there is no price for") as refused:
        find_price(model, endpoint)
    assert "--prices FILE" in refused.value.hint


def test_without_the_package_the_error_names_the_extra() -> None:
    script = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from safeloop.breaker.pricing import find_price\n"
        "from safeloop.errors import SettingError\n"
        "try: find_price('claude-sonnet-5-5', 'https://api.anthropic.com')\n"
        "except SettingError as error: print(error, '|', error.hint)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "genai-prices is not installed" in said
    assert "pip install 'safeloop[cost]'" in said


@pytest.mark.parametrize(("text", "message"), [
    ("price = 3", "something that is not a"),
    ("[[price]]\nmodel = 'm'", "entry 1 lacks input_usd"),
    ("[[price]]\nmodel = 'm'\ninput_usd = '1'\noutput_usd = 2.5", "output_usd is not a price in US dollars as text: 2.5"),
    ("[[price]]\nmodel = 'm'\ninput_usd = '-1'\noutput_usd = '1'", "input_usd is not a price"),
    ("[[price]]\nmodel = 'm'\ninput_usd = 'NaN'\noutput_usd = '1'", "input_usd is not a price"),
    ("[[price]]\nmodel = 'm'\ninput_usd = 'Infinity'\noutput_usd = '1'", "input_usd is not a price"),
    ("[[price]]\nmodel = 'm'\ninput_usd = 'cheap'\noutput_usd = '1'", "input_usd is not a price"),
    ("[[price]]\nmodel = ''\ninput_usd = '1'\noutput_usd = '1'", "model is not a text"),
    ("[[price]]\nmodel = 'm'\ninput = '1'\noutput_usd = '1'", "unknown key: input"),
    ("price = [1]", "entry 1 is not a"),
    ("[[price", "is not TOML"),
    ("[[price]]\nmodel = 'm'\ninput_usd = '1'\noutput_usd = '1'\n" * 2, "two prices for m"),
])  # fmt: skip
def test_a_table_that_is_not_understood_is_refused_as_a_whole(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message.replace("[", r"\[")):
        parse_prices(text)


def test_the_operators_table_may_give_every_rate() -> None:
    text = "\n".join(['[[price]]', 'model = "m"', 'input_usd = "1"', 'cache_write_usd = "2"', 'cache_read_usd = "0.5"',
                      'output_usd = "3"', 'search_usd = "10"'])
    price = find_price("m", "anywhere", parse_prices(text))
    assert price.of(Used(1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000)) == 6_500_000 + 10_000_000


@pytest.mark.parametrize("written", ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080//"])
def test_an_endpoint_is_the_same_with_a_final_slash(written: str) -> None:
    dear = '[[price]]\nendpoint = "%s"\nmodel = "m"\ninput_usd = "50"\noutput_usd = "100"\n'
    cheap = '[[price]]\nmodel = "m"\ninput_usd = "1"\noutput_usd = "1"\n'
    found = find_price("m", "http://127.0.0.1:8080", parse_prices(dear % written + cheap))
    assert found.worst(1_000_000, 0) == 50_000_000
