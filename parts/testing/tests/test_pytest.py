"""Fixtures for other people's bots: the bot of the page, official clients, and what is refused."""

import asyncio
import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from scalpdesk.core.errors import ScalpdeskError
from scalpdesk_testing.pytest import serve_exchange

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    alpaca = pytest.importorskip(
        "alpaca", reason='alpaca-py is not installed: pip install "scalpdesk[alpaca]"'
    )
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "test-your-bot.md"
pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.second
def test_the_bot_of_the_page_is_tested_in_a_folder_that_holds_nothing_else(tmp_path):
    texts = re.findall(r"^```py\n(.*?)```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for name, text in zip(("bot.py", "test_bot.py"), texts, strict=True):
        (tmp_path / name).write_text(text, "utf-8")
    is_installed = any(each.value == "scalpdesk_testing.pytest" for each in entry_points(group="pytest11"))
    plugin = [] if is_installed else ["-p", "scalpdesk_testing.pytest"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", *plugin],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-3_000:]
    assert "4 passed" in ran.stdout


def client_of(exchange):
    return TradingClient(exchange.key, exchange.secret, paper=True, url_override=exchange.url)


def buy(client, shares, **more):
    kind = LimitOrderRequest if "limit_price" in more else MarketOrderRequest
    order = kind(symbol="SPY", qty=shares, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, **more)
    return client.submit_order(order)


def test_time_stands_until_it_is_moved_and_the_venues_books_say_what_happened():
    with serve_exchange("alpaca", day="2016-06-24", at="11:30", cash=50_000, fees=False) as exchange:
        client, began = client_of(exchange), exchange.now
        assert (began.hour, began.minute, began.second) == (15, 30, 0)
        low = buy(client, 7, limit_price=1.00)
        buy(client, 20)
        assert exchange.now == began
        assert exchange.positions == {}
        assert (exchange.advance(30) - began).total_seconds() == 30
        assert exchange.positions == {"SPY": 20.0}
        (fill,) = exchange.fills
        assert float(exchange.account["cash"]) == pytest.approx(50_000 - 20 * float(fill["price"]))
        assert {each["id"]: each["status"] for each in exchange.orders}[str(low.id)] == "new"


def test_a_generated_market_begins_where_it_is_put_and_lists_expiries_from_then_on():
    with serve_exchange("alpaca", generated="SPY,NVDA", day="2027-03-04", at="10:15", seed=3) as exchange:
        client = client_of(exchange)
        assert client.get_clock().timestamp.date().isoformat() == "2027-03-04"
        buy(client, 1)
        exchange.advance(5)
        assert exchange.positions == {"SPY": 1.0}


def test_a_command_that_is_refused_names_its_field():
    with serve_exchange("alpaca") as exchange:
        with pytest.raises(ScalpdeskError) as refused:
            exchange.halt("NONE")
        assert "NONE" in str(refused.value)
        with pytest.raises(ScalpdeskError):
            exchange.inject("no_such_fault")
        with pytest.raises(AssertionError):
            exchange.wait_until(lambda: exchange.positions, seconds=0.05)


@pytest.mark.parametrize(
    ("protocol", "settings", "field"),
    [
        ("alpaca", {"at": "18:00"}, "at"),
        ("alpaca", {"at": "noon"}, "at"),
        ("alpaca", {"day": "yesterday"}, "day"),
        ("alpaca", {"generated": "SPY", "day": "2031-03-04"}, "day"),
        ("alpaca", {"underlying": "BTC"}, "underlying"),
        ("deribit", {"underlying": "SPY"}, "underlying"),
        ("alpaca", {"generated": "SPY", "underlying": "SPY"}, "underlying"),
        ("alpaca", {"money": 5}, "money"),
        ("alpca", {}, "exchange --protocol"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_field(protocol, settings, field):
    with pytest.raises(ScalpdeskError) as refused, serve_exchange(protocol, **settings):
        pass
    assert refused.value.where == field


def test_ib_async_trades_over_the_socket():
    ib_async = pytest.importorskip("ib_async")

    async def trade(exchange):
        ib = ib_async.IB()
        await ib.connectAsync(exchange.host, exchange.port, clientId=1, timeout=20)
        try:
            (share,) = await ib.qualifyContractsAsync(ib_async.Stock("SPY", "SMART", "USD"))
            sent = ib.placeOrder(share, ib_async.MarketOrder("BUY", 10))
            for _ in range(200):
                await exchange.advance_async(1)
                await asyncio.sleep(0.01)
                if sent.orderStatus.status == "Filled":
                    break
            assert sent.orderStatus.status == "Filled"
        finally:
            ib.disconnect()
            await asyncio.sleep(0.01)

    with serve_exchange("tws", day="2018-02-09") as exchange:
        asyncio.run(trade(exchange))
        assert exchange.positions == {"SPY": 10.0}


def test_ccxt_trades_in_coin():
    ccxt = pytest.importorskip("ccxt")
    with serve_exchange("deribit", underlying="BTC", cash=3.0) as exchange:
        client = ccxt.deribit({"apiKey": exchange.key, "secret": exchange.secret})
        client.urls["api"]["rest"] = exchange.url.removesuffix("/api/v2")
        client.create_order("BTC/USD:BTC", "market", "buy", 100)
        exchange.advance(1)
        (price,) = [float(each["price"]) for each in exchange.fills]
        assert price > 10_000
        assert client.fetch_positions(["BTC/USD:BTC"])[0]["side"] == "long"
