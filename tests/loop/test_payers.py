"""Who pays is in the `open` row, by the names that a usage report goes by, and never a key."""

import pytest

from safeloop.errors import SettingError
from safeloop.loop import Billing
from tests.loop.playing import Player, loop_of, reply, rows_of
from tests.servers.anthropic_server import AnthropicServer


def test_a_session_states_who_pays(ledger):
    loop_of(ledger, Player(reply("done")), billing=Billing("wrkspc_1", "apikey_1")).run("do it")
    (opened,) = rows_of(ledger, "open")
    assert (opened.data["billing_workspace"], opened.data["api_key_id"]) == ("wrkspc_1", "apikey_1")


def test_a_session_that_does_not_know_says_nothing(ledger):
    loop_of(ledger, Player(reply("done"))).run("do it")
    (opened,) = rows_of(ledger, "open")
    assert (opened.data["billing_workspace"], opened.data["api_key_id"]) == (None, None)


@pytest.mark.parametrize("wrong", ["", "x" * 201, "a\nb", "sk-ant-api03-secret", 5])
def test_what_is_no_public_id_is_refused_and_not_repeated(wrong):
    for fields in ({"workspace": wrong}, {"api_key_id": wrong}):
        with pytest.raises(SettingError) as refused:
            Billing(**fields)
        assert "secret" not in str(refused.value).replace("secret key", "")


def test_a_governed_client_states_who_pays(ledger, spec):
    anthropic = pytest.importorskip("anthropic")
    from safeloop.loop import govern
    from tests.loop.playing import breaker

    with AnthropicServer(["done"]) as server:
        client = anthropic.Anthropic(api_key="k", base_url=server.url)
        with govern(client, spec=spec, breaker=breaker(), ledger=ledger, billing=Billing(None, "apikey_1")) as governed:
            governed.messages.create(model="claude-sonnet-5-5", max_tokens=50, messages=[{"role": "user", "content": "x"}])
    assert rows_of(ledger, "open")[0].data["api_key_id"] == "apikey_1"
