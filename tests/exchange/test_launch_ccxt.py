"""ccxt, async and pro, unmodified and with only its addresses set, against the exchange over sockets."""

import asyncio
import importlib
import warnings
from collections.abc import Awaitable, Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.clock import ManualClock

pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

DAY = date(2025, 3, 5)
SWAP, CALL = "BTC/USD:BTC", "BTC/USD:BTC-250314-58000-C"


@pytest.fixture(scope="module", params=["BTC"])
def tape(request: Any) -> Any:
    return reconstruct_coin(DAY, DAY, underlying=f"{request.param}-PERPETUAL")


@pytest.fixture(scope="module")
def ccxt() -> Any:
    """The package, imported where its tests run: it takes more than half a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("ccxt", reason="ccxt is not installed: pip install ccxt")
        importlib.import_module("ccxt.async_support")
        importlib.import_module("ccxt.pro")
    return package


@pytest.fixture
def trade(tape: Any, ccxt: Any, socket_enabled: None) -> Callable[..., None]:
    """Run a coroutine function with the exchange, a REST client and one of websockets."""
    del socket_enabled

    async def whole(scenario: Callable[[Any], Awaitable[None]]) -> None:
        plan = LaunchPlan(
            TapeSource(tape),
            MarketOptions(),
            protocol="deribit",
            speed=0.0,
            cash=2.0,
            currency=tape.underlying[:3],
        )
        server = build_server(plan, ManualClock(10**18))
        server.world.advance_to(server.world.now_ns + 300 * 10**9)
        await server.start()
        key = server.keyring.credentials[0]
        clients = []
        for module in (ccxt.async_support, ccxt.pro):
            client = module.deribit({"apiKey": key.key, "secret": key.secret, "enableRateLimit": False})
            client.urls["api"] = {
                "rest": server.url,
                "ws": server.url.replace("http", "ws") + "/ws/api/v2",
            }
            clients.append(client)
        rest, stream = clients
        try:
            await rest.load_markets()
            stream.set_markets_from_exchange(rest)
            await scenario(SimpleNamespace(server=server, rest=rest, stream=stream, world=server.world))
        finally:
            for client in clients:
                await client.close()
            await server.stop()

    return lambda scenario: asyncio.run(whole(scenario))


def test_the_market_is_read(trade):
    async def scenario(at):
        swap, call = at.rest.markets[SWAP], at.rest.markets[CALL]
        assert (swap["inverse"], swap["contractSize"], swap["precision"]["price"]) == (True, 10, 0.5)
        assert (call["option"], call["strike"], call["optionType"]) == (True, 58_000, "call")
        assert call["expiryDatetime"] == "2025-03-14T08:00:00.000Z"
        ticker = await at.rest.fetch_ticker(SWAP)
        book = await at.rest.fetch_order_book(SWAP)
        assert book["bids"] == [[ticker["bid"], 400_000]]
        assert ticker["ask"] - ticker["bid"] == 0.5
        greeks = await at.rest.fetch_greeks(CALL)
        assert 0.3 < greeks["delta"] < 0.7
        assert greeks["bidImpliedVolatility"] < greeks["markImpliedVolatility"]
        chain = await at.rest.fetch_option_chain("BTC")
        option = await at.rest.fetch_option(CALL)
        assert chain[CALL]["markPrice"] == option["markPrice"] == greeks["markPrice"]
        assert (await at.rest.fetch_status())["status"] == "ok"
        at.world.advance_to(at.world.now_ns + 4 * 3_600 * 10**9)
        began = at.world.source.start_ns // 10**6
        rates = await at.rest.fetch_funding_rate_history(SWAP, began)
        assert len(rates) == 4

    trade(scenario)


def test_orders_are_made_edited_cancelled_and_found_again(trade):
    async def scenario(at):
        limit = round((await at.rest.fetch_ticker(SWAP))["bid"] * 0.98)
        made = await at.rest.create_order(SWAP, "limit", "buy", 100, limit, {"label": "mine"})
        edited = await at.rest.edit_order(made["id"], SWAP, "limit", "buy", 200, limit - 10)
        assert (edited["id"], edited["amount"], edited["price"]) == (made["id"], 200, limit - 10)
        (working,) = await at.rest.fetch_open_orders(SWAP)
        assert (working["id"], working["clientOrderId"] or working["info"]["label"]) == (made["id"], "mine")
        assert (await at.rest.cancel_order(made["id"], SWAP))["status"] == "canceled"
        sold = await at.rest.create_order(SWAP, "market", "sell", 500)
        bought = await at.rest.create_order(CALL, "market", "buy", 0.5)
        assert (sold["status"], sold["filled"], bought["filled"]) == ("closed", 500, 0.5)
        positions = {each["symbol"]: each for each in await at.rest.fetch_positions()}
        assert (positions[SWAP]["contracts"], positions[SWAP]["side"]) == (-500, "short")
        assert (positions[CALL]["contracts"], positions[CALL]["side"]) == (0.5, "long")
        (trade_of,) = await at.rest.fetch_my_trades(CALL)
        assert (trade_of["order"], trade_of["fee"]["currency"]) == (bought["id"], "BTC")
        assert trade_of["fee"]["cost"] == pytest.approx(0.5 * 0.0003)
        assert [each["id"] for each in await at.rest.fetch_closed_orders(SWAP)] == [sold["id"]]
        (printed,) = await at.rest.fetch_trades(SWAP)
        assert printed["amount"] == 500
        balance = await at.rest.fetch_balance({"code": "BTC"})
        (account,) = at.world.ledger.accounts.values()
        assert float(balance["info"]["equity"]) == float(at.world.ledger.figures(account).equity)

    trade(scenario)


@pytest.mark.parametrize("tape", ["ETH"], indirect=True)
def test_ether_is_traded_in_its_own_sizes_and_coin(trade):
    async def scenario(at):
        swap, option = "ETH/USD:ETH", "ETH/USD:ETH-250314-3200-C"
        assert at.rest.markets[swap]["contractSize"] == 1
        assert (
            at.rest.markets[swap]["precision"]["price"],
            at.rest.markets[option]["limits"]["amount"]["min"],
        ) == (
            0.05,
            1,
        )
        ticker = await at.rest.fetch_ticker(swap)
        sold = await at.rest.create_order(swap, "market", "sell", 301)
        assert (sold["status"], sold["filled"], sold["average"]) == ("closed", 301, ticker["bid"])
        bought = await at.rest.create_order(option, "market", "buy", 1)
        assert float(bought["info"]["commission"]) == pytest.approx(0.0003)
        (trade_of,) = await at.rest.fetch_my_trades(option)
        assert trade_of["fee"] == {"currency": "ETH", "cost": pytest.approx(0.0003)}
        balance = await at.rest.fetch_balance({"code": "ETH"})
        (account,) = at.world.ledger.accounts.values()
        assert float(balance["info"]["equity"]) == float(at.world.ledger.figures(account).equity)

    trade(scenario)


REFUSED = [
    ((SWAP, "market", "buy", 10**9), "InsufficientFunds"),
    ((SWAP, "limit", "buy", 100, 10**6), "InvalidOrder"),
    ((SWAP, "limit", "buy", 100, 60_000, {"postOnly": True, "reject_post_only": True}), "InvalidOrder"),
    (
        (SWAP, "stop_limit", "buy", 100, 60_000, {"trigger_price": 59_000, "trigger": "index_price"}),
        "BadRequest",
    ),
    ((SWAP, "market", "buy", 100, None, {"reduce_only": True}), "ExchangeError"),
]


def test_what_is_refused_has_its_class(ccxt, trade):
    async def scenario(at):
        for order, name in REFUSED:
            error = getattr(ccxt, name)
            with pytest.raises(error) as caught:
                await at.rest.create_order(*order)
            assert type(caught.value) is error
        assert await at.rest.fetch_open_orders() == []
        with pytest.raises(ccxt.OrderNotFound):
            await at.rest.cancel_order("x", SWAP)

    trade(scenario)


def test_quotes_orders_and_trades_come_over_the_websocket(trade):
    async def scenario(at):
        stream = at.stream

        async def first(watched):
            """Return the first message; the market moves on only once the subscription stands."""
            waiting = asyncio.ensure_future(watched)
            async with asyncio.timeout(60.0):
                while not waiting.done():
                    at.world.advance_to(at.world.now_ns + 30 * 10**9)
                    await asyncio.wait({waiting}, timeout=0.02)
            return waiting.result()

        ticker = await first(stream.watch_ticker(SWAP))
        for interval in ("100ms", "raw"):  # whole at the subscription, then kept by changes
            async with asyncio.timeout(60.0):
                book = await stream.watch_order_book(SWAP, params={"interval": interval})
            for _ in range(10):
                shown = await at.rest.fetch_order_book(SWAP)
                for side in ("bids", "asks"):
                    assert [level[:2] for level in book[side]] == shown[side]
                book = await first(stream.watch_order_book(SWAP, params={"interval": interval}))
        assert ticker["symbol"] == SWAP
        assert (await first(stream.watch_balance()))["BTC"]["total"]["BTC"] == 2.0
        waiting = [
            asyncio.ensure_future(watched)
            for watched in (stream.watch_orders(SWAP), stream.watch_my_trades(SWAP), stream.watch_balance())
        ]
        async with asyncio.timeout(60.0):
            while (
                sum(name.startswith("user.") for s in at.server.protocol.api._sessions for name in s.channels)
                < 3
            ):
                await asyncio.wait(waiting, timeout=0.02)
            made = await stream.create_order(SWAP, "market", "buy", 300)
            orders, (mine,), balance = [await each for each in waiting]
        assert orders[-1]["id"] == made["id"]
        assert (mine["order"], mine["amount"]) == (made["id"], 300)
        assert balance["BTC"]["total"]["BTC"] < 2.0

    trade(scenario)
