"""A bot in the style of the public gamma scalpers, on Alpaca's own client, over a whole session.

It buys a straddle, follows three websockets, hedges the delta with shares by market orders in its quote
handler, splits a hedge that would turn its shares round, and looks at its positions from time to time. What
it was sent of its fills, its orders, its positions and the exchange's own books must agree.
"""

import math
import threading
import warnings
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("alpaca", reason='alpaca-py is not installed: pip install "scalpdesk[alpaca]"')
    from alpaca.data.live import OptionDataStream, StockDataStream
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
    from alpaca.trading.requests import GetOptionContractsRequest, GetOrdersRequest, MarketOrderRequest
    from alpaca.trading.stream import TradingStream

from scalpdesk.exchange.launch import LaunchPlan
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.exchange import Venue
from scalpdesk_testing.kit.tape import TapeBuilder

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MINUTES = 389
YEAR_MINUTES = 252 * 390
PATIENCE = 300


def normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


class Bot:
    """The bot's own state comes from its stream alone."""

    def __init__(self, venue: Venue) -> None:
        self.trading = TradingClient(venue.key, venue.secret, paper=True, url_override=venue.url)
        keys = (venue.key, venue.secret)
        self.updates = TradingStream(*keys, paper=True, url_override=f"{venue.ws}/stream")
        self.stocks = StockDataStream(*keys, url_override=f"{venue.ws}/v2/iex")
        self.options = OptionDataStream(*keys, url_override=f"{venue.ws}/v1beta1/indicative")
        listed = self.trading.get_option_contracts(GetOptionContractsRequest(
            underlying_symbols=["SPY"], expiration_date_gte="2024-03-01", expiration_date_lte="2024-12-31",
        )).option_contracts  # fmt: skip
        self.legs = sorted(listed, key=lambda contract: contract.type.value)
        self.held: Counter[str] = Counter()
        self.fills: list[tuple[str, str, Decimal, Decimal]] = []
        self.option_quotes: Counter[str] = Counter()
        self.stock_quotes = self.polls = 0
        self.settled = threading.Event()
        self.updates.subscribe_trade_updates(self.on_update)
        self.stocks.subscribe_quotes(self.on_stock, "SPY")
        self.options.subscribe_quotes(self.on_option, *(leg.symbol for leg in self.legs))

    async def on_update(self, update: Any) -> None:
        event = getattr(update.event, "value", update.event)
        order = update.order
        if event in ("fill", "partial_fill"):
            quantity = Decimal(str(update.qty))
            signed = quantity if order.side is OrderSide.BUY else -quantity
            self.held[order.symbol] += signed
            price = Decimal(str(update.price))
            self.fills.append((str(update.execution_id), order.client_order_id, signed, price))
            assert Decimal(str(update.position_qty)) == self.held[order.symbol]
        if event in ("fill", "canceled", "rejected"):
            self.settled.set()

    async def on_option(self, quote: Any) -> None:
        self.option_quotes[quote.symbol] += 1

    async def on_stock(self, quote: Any) -> None:
        self.stock_quotes += 1
        if self.stock_quotes == 1:
            for leg in self.legs:
                self.send(leg.symbol, 10)
        self.hedge((quote.bid_price + quote.ask_price) / 2)
        if self.stock_quotes % 60 == 0:
            self.look()

    def send(self, symbol: str, quantity: int) -> None:
        """Send a market order and wait until the stream says that it is over."""
        side = OrderSide.BUY if quantity > 0 else OrderSide.SELL
        day = TimeInForce.DAY
        self.settled.clear()
        self.trading.submit_order(
            MarketOrderRequest(symbol=symbol, qty=abs(quantity), side=side, time_in_force=day)
        )
        assert self.settled.wait(PATIENCE), "the stream did not tell how the order ended"

    def hedge(self, spot: float) -> None:
        years = (20 * 390 - self.stock_quotes) / YEAR_MINUTES
        delta = 0.0
        for leg in self.legs:
            d1 = (math.log(spot / leg.strike_price) + 0.02 * years) / (0.2 * math.sqrt(years))
            delta += 100 * float(self.held[leg.symbol]) * (normal(d1) - (leg.type.value == "put"))
        shares = int(self.held["SPY"])
        wanted = -round(delta)
        if abs(wanted - shares) < 5:
            return
        if shares * wanted < 0:  # no order may turn a holding round
            self.send("SPY", -shares)
            shares = 0
        self.send("SPY", wanted - shares)

    def look(self) -> None:
        """Compare with the account, as a careful bot does."""
        self.polls += 1
        seen = {position.symbol: Decimal(position.qty) for position in self.trading.get_all_positions()}
        assert seen == {symbol: held for symbol, held in self.held.items() if held}


def test_fills_orders_positions_and_the_exchanges_books_agree_after_a_session():
    mids = [500 + 6 * math.sin(n / 23) + 2 * math.sin(n / 5) for n in range(MINUTES)]
    tape = TapeBuilder().path("09:31", 60.0, [round(mid, 2) for mid in mids]).build()
    plan = LaunchPlan(
        source=TapeSource(tape), speed=0.0, trading_limit=0, data_limit=0, lockstep_ms=5.0,
        options=MarketOptions(fees=True),
    )  # fmt: skip
    venue = Venue(plan)
    bot = Bot(venue)
    streams = (bot.updates, bot.stocks, bot.options)
    threads = [threading.Thread(target=stream.run, daemon=True) for stream in streams]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: venue.admin("streams")["ready"] == len(streams))
        venue.admin("speed", {"speed": "max"})
        wait_until(lambda: not venue.admin("clock")["is_open"])
        wait_until(lambda: bot.stock_quotes == MINUTES and bot.settled.is_set())
        state = venue.admin("state")
        activities = venue.admin("activities")
        orders = bot.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, limit=500))
        bot.look()
    finally:
        for stream in streams:
            stream.stop()
        venue.admin("disconnect", {})  # the client looks at its stop flag only when something arrives
        for thread in threads:
            thread.join(PATIENCE)
        bot.trading._session.close()
        venue.stop()

    assert len(bot.fills) > 60
    assert {signed > 0 for _, _, signed, _ in bot.fills} == {True, False}
    assert bot.polls == MINUTES // 60 + 1
    assert set(bot.option_quotes.values()) == {MINUTES}

    theirs = [
        (fill["execution_id"], fill["client_order_id"], signed(fill), Decimal(fill["price"]))
        for fill in state["fills"]
    ]
    assert sorted(bot.fills) == sorted(theirs)

    assert {order.status.value for order in orders} == {"filled"}
    by_order: Counter[str] = Counter()
    for _, name, quantity, _ in bot.fills:
        by_order[name] += abs(quantity)
    assert by_order == {order.client_order_id: Decimal(order.filled_qty) for order in orders}

    held = {symbol: quantity for symbol, quantity in bot.held.items() if quantity}
    assert held == {line["symbol"]: Decimal(line["qty"]) for line in state["positions"]}

    multiplier = {leg.symbol: 100 for leg in bot.legs}
    symbol_of = {order.client_order_id: order.symbol for order in orders}
    paid = sum(signed * price * multiplier.get(symbol_of[name], 1) for _, name, signed, price in bot.fills)
    fees = sum(Decimal(fill["fee"]) for fill in state["fills"])
    assert fees > 0
    assert Decimal(state["accounts"][0]["cash"]) == 100_000 - paid - fees
    booked = sum(Decimal(row["net_amount"]) for row in activities if row["activity_type"] == "FEE")
    assert booked == -fees
    assert {row["id"].split("::")[1] for row in activities if row["activity_type"] == "FILL"} == {
        execution for execution, *_ in bot.fills
    }


def signed(fill: dict[str, Any]) -> Decimal:
    return Decimal(fill["qty"]) * (1 if fill["side"] == "buy" else -1)


def wait_until(is_so: Any) -> None:
    """Wait, within bounds, for what other threads do."""
    pause = threading.Event()
    for _ in range(PATIENCE * 50):
        if is_so():
            return
        pause.wait(0.02)
    pytest.fail("it did not come about in time")
