"""Alpaca's answer on selling a share short, and the desk's reading of it."""

import asyncio
import json

import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.contract import Equity
from scalpdesk_alpaca import account_messages
from scalpdesk_alpaca.fields import Malformed
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.transport import ApiKeys, Endpoints, GatewayOptions
from scalpdesk_testing.kit.served import AlpacaBench

FINE = {"symbol": "SPY", "status": "active", "tradable": True, "shortable": True, "easy_to_borrow": True}


def answer(**changes):
    return json.dumps(FINE | changes).encode()


def test_a_share_is_sold_short_only_when_everything_speaks_for_it():
    assert account_messages.read_may_short(answer(), "SPY") is True
    for key, value in (
        ("status", "inactive"),
        ("tradable", False),
        ("shortable", False),
        ("easy_to_borrow", False),
    ):
        assert account_messages.read_may_short(answer(**{key: value}), "SPY") is False
    assert account_messages.read_may_short(b'{"symbol": "SPY"}', "SPY") is False


@pytest.mark.parametrize("left_out", ["status", "tradable", "shortable", "easy_to_borrow"])
def test_a_share_of_which_the_venue_does_not_say_everything_is_not_sold_short(left_out):
    shown = json.dumps({name: value for name, value in FINE.items() if name != left_out}).encode()
    assert account_messages.read_may_short(shown, "SPY") is False


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"symbol": 5}', answer(shortable="yes"), answer(symbol="SPX")])
def test_an_answer_that_cannot_be_believed_is_none(raw):
    with pytest.raises(Malformed):
        account_messages.read_may_short(raw, "SPY")


def test_a_symbol_is_escaped_on_its_way():
    assert account_messages.asset_request("BRK.B").path == "/v2/assets/BRK.B"
    assert account_messages.asset_request("A/B").path == "/v2/assets/A%2FB"


def test_the_view_of_the_account_names_what_may_be_sold_short(socket_enabled):
    async def run():
        bench = AlpacaBench()
        await bench.start()
        ours = bench.server.keyring.credentials[0]
        unknown = bench.book.add(Equity("ZZZZ"))
        gateway = AlpacaGateway(
            endpoints=Endpoints.at(bench.server.url),
            keys=ApiKeys(Key(ours.key), Key(ours.secret)),
            instruments=bench.book,
            clock=SystemClock(),
            options=GatewayOptions(requests_per_minute=60_000),
        )
        try:
            facts = await gateway.connect()
            view = await gateway.snapshot()
        finally:
            await gateway.close()
            await bench.stop()
        shares = [number for number, one in enumerate(bench.book) if isinstance(one, Equity)]
        assert unknown in shares
        assert view.shortable == tuple(number for number in shares if number != unknown)
        told = view.limits(7)
        assert told is not None
        assert (told.ts_recv_ns, told.options_level) == (7, facts.options_level)
        assert (told.buying_power, told.options_buying_power) == (
            view.account.buying_power,
            view.account.options_buying_power,
        )
        assert told.shortable == view.shortable

    asyncio.run(run())
