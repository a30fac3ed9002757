"""Alpaca's own client, unmodified, with only its addresses set, against the exchange over sockets."""

import ast
import asyncio
import gc
import inspect
import queue
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("alpaca", reason='alpaca-py is not installed: pip install "scalpdesk[alpaca]"')
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import CorporateActionsType, MostActivesBy
    from alpaca.data.historical import (
        CryptoHistoricalDataClient,
        NewsClient,
        OptionHistoricalDataClient,
        ScreenerClient,
        StockHistoricalDataClient,
    )
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.live import CryptoDataStream, NewsDataStream, OptionDataStream, StockDataStream
    from alpaca.data.requests import (
        CorporateActionsRequest,
        CryptoBarsRequest,
        CryptoLatestBarRequest,
        CryptoLatestOrderbookRequest,
        CryptoLatestQuoteRequest,
        CryptoLatestTradeRequest,
        CryptoQuoteRequest,
        CryptoSnapshotRequest,
        CryptoTradesRequest,
        MarketMoversRequest,
        MostActivesRequest,
        NewsRequest,
        OptionBarsRequest,
        OptionChainRequest,
        OptionLatestQuoteRequest,
        OptionLatestTradeRequest,
        OptionSnapshotRequest,
        OptionTradesRequest,
        StockBarsRequest,
        StockLatestBarRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockQuotesRequest,
        StockSnapshotRequest,
        StockTradesRequest,
    )
    from alpaca.data.timeframe import TimeFrame
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import (
        AssetClass,
        ContractType,
        CorporateActionType,
        OrderClass,
        OrderSide,
        OrderStatus,
        PositionIntent,
        PositionSide,
        QueryOrderStatus,
        TimeInForce,
    )
    from alpaca.trading.requests import (
        ClosePositionRequest,
        CreateWatchlistRequest,
        GetAssetsRequest,
        GetCalendarRequest,
        GetCorporateAnnouncementsRequest,
        GetOptionContractsRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        OptionLegRequest,
        ReplaceOrderRequest,
        StopLimitOrderRequest,
        StopLossRequest,
        StopOrderRequest,
        TakeProfitRequest,
        TrailingStopOrderRequest,
        UpdateWatchlistRequest,
    )
    from alpaca.trading.stream import TradingStream

from scalpdesk_alpaca.market_data import TRADING_CODES

pytestmark = [
    pytest.mark.enable_socket,
    # the client's own choice of an old websocket interface, and the sockets that its session keeps open
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def _sessions_end_with_these_tests() -> Iterator[None]:
    """The client never closes its HTTP sessions; let them go here and not in somebody else's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


TODAY = date(2026, 11, 18)
DAY = TimeInForce.DAY
BUY, SELL = OrderSide.BUY, OrderSide.SELL
PATIENCE = 120


def used(client: Any) -> Iterator[Any]:
    """Yield a client, then end its connections: it has no public way to."""
    yield client
    client._session.close()


@pytest.fixture
def trading(venue: Any) -> Iterator[Any]:
    yield from used(TradingClient(venue.key, venue.secret, paper=True, url_override=venue.url))


@pytest.fixture
def stocks(venue: Any) -> Iterator[Any]:
    yield from used(StockHistoricalDataClient(venue.key, venue.secret, url_override=venue.url))


@pytest.fixture
def options(venue: Any) -> Iterator[Any]:
    yield from used(OptionHistoricalDataClient(venue.key, venue.secret, url_override=venue.url))


@pytest.fixture
def contract(trading: Any) -> Any:
    """A call on SPY near the money, weeks from its end."""
    found = trading.get_option_contracts(
        GetOptionContractsRequest(
            underlying_symbols=["SPY"],
            expiration_date_gte=TODAY + timedelta(20),
            expiration_date_lte=TODAY + timedelta(40),
            type=ContractType.CALL,
            strike_price_gte="599",
            strike_price_lte="610",
            limit=1,
        )
    ).option_contracts
    return found[0]


@pytest.fixture
def put(trading: Any, contract: Any) -> Any:
    return trading.get_option_contract(contract.symbol.replace("C006", "P006"))


def refusal(call: Callable[[], Any]) -> tuple[int, int, str]:
    with pytest.raises(APIError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.message


def limit(trading: Any, price: float = 500, **terms: Any) -> Any:
    usual = {"symbol": "SPY", "qty": 1, "side": BUY, "time_in_force": DAY, "limit_price": price}
    return trading.submit_order(LimitOrderRequest(**(usual | terms)))


def market(trading: Any, qty: int, symbol: str = "SPY", **terms: Any) -> Any:
    usual = {"symbol": symbol, "qty": qty, "side": BUY, "time_in_force": DAY}
    return trading.submit_order(MarketOrderRequest(**(usual | terms)))


# reference -----------------------------------------------------------------------------------------


def test_account_says_what_may_be_bought(trading):
    account = trading.get_account()
    assert account.status.value == "ACTIVE"
    assert (account.cash, account.buying_power, account.options_buying_power) == (
        "100000",
        "400000",
        "100000",
    )
    assert account.options_trading_level == 3
    assert account.trading_blocked is False
    assert trading.get_account_configurations().no_shorting is False


def test_assets_by_list_symbol_and_id(trading):
    listed = trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.US_EQUITY))
    assert sorted(one.symbol for one in listed) == ["NVDA", "SPY"]
    spy = trading.get_asset("SPY")
    assert spy.tradable
    assert spy.shortable
    assert trading.get_asset(str(spy.id)).symbol == "SPY"
    assert refusal(lambda: trading.get_asset("NOPE")) == (404, 40410000, "asset not found for NOPE")


def test_clock_and_calendar(trading):
    clock = trading.get_clock()
    assert clock.is_open
    assert clock.timestamp.utcoffset() == timedelta(hours=-5)
    assert clock.timestamp < clock.next_close
    days = trading.get_calendar(GetCalendarRequest(start=TODAY, end=TODAY + timedelta(3)))
    assert [day.date for day in days] == [TODAY + timedelta(n) for n in range(4)]
    assert days[0].open < days[0].close


def test_contracts_page_by_page(trading):
    request = GetOptionContractsRequest(
        underlying_symbols=["NVDA"],
        expiration_date_gte=TODAY + timedelta(30),
        expiration_date_lte=TODAY + timedelta(90),
        root_symbol="NVDA",
        type=ContractType.CALL,
        limit=100,
    )
    seen, pages = [], 0
    while True:
        page = trading.get_option_contracts(request)
        seen += page.option_contracts
        pages += 1
        if page.next_page_token is None:
            break
        request.page_token = page.next_page_token
    assert pages > 1
    assert len({one.symbol for one in seen}) == len(seen) > 100
    assert all(one.type is ContractType.CALL and one.underlying_symbol == "NVDA" for one in seen)
    assert all(int(one.open_interest) > 100 for one in seen)
    assert all(30 <= (one.expiration_date - TODAY).days <= 90 for one in seen)


def test_contracts_end_with_the_week_when_no_date_is_given(trading):
    page = trading.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["SPY"], limit=10_000))
    assert {one.expiration_date for one in page.option_contracts} == {
        TODAY,
        TODAY + timedelta(1),
        TODAY + timedelta(2),
    }


# market data ---------------------------------------------------------------------------------------


def test_latest_quotes_and_trades(venue, stocks, options, contract):
    venue.advance(2)
    quotes = stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=["SPY", "NVDA", "NOPE"]))
    assert sorted(quotes) == ["NVDA", "SPY"]
    assert 0 < quotes["SPY"].bid_price < quotes["SPY"].ask_price
    assert stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="SPY"))["SPY"].size > 0
    one = options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=contract.symbol))
    assert 0 < one[contract.symbol].bid_price < one[contract.symbol].ask_price


def test_snapshots_carry_greeks_and_volatility(options, stocks, contract, put):
    request = OptionSnapshotRequest(symbol_or_symbols=[contract.symbol, put.symbol])
    found = options.get_option_snapshot(request)
    call_side, put_side = found[contract.symbol], found[put.symbol]
    assert 0.05 < call_side.implied_volatility < 1.0
    assert 0 < call_side.greeks.delta < 1
    assert -1 < put_side.greeks.delta < 0
    assert call_side.greeks.delta - put_side.greeks.delta == pytest.approx(1.0, abs=0.02)
    assert call_side.greeks.theta < 0 < call_side.greeks.vega
    chain = options.get_option_chain(
        OptionChainRequest(underlying_symbol="SPY", expiration_date=contract.expiration_date)
    )
    assert contract.symbol in chain
    assert len(chain) == 82
    snapshot = stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="SPY"))["SPY"]
    assert snapshot.latest_quote.bid_price > 0


def test_bars_of_days_and_minutes(venue, stocks, options, contract):
    options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=contract.symbol))
    venue.advance(185)
    now = datetime.fromtimestamp(venue.admin("clock")["now_ns"] / 1e9, UTC)
    daily = stocks.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols=["SPY", "NVDA"], timeframe=TimeFrame.Day, start=now - timedelta(30)
        )
    )
    assert len(daily["SPY"]) == len(daily["NVDA"]) >= 29
    minutes = stocks.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols="SPY", timeframe=TimeFrame.Minute, start=now - timedelta(minutes=10)
        )
    )["SPY"]
    stamps = [bar.timestamp for bar in minutes]
    assert stamps == sorted(set(stamps))
    assert len(stamps) >= 10
    assert all(bar.low <= min(bar.open, bar.close) <= bar.high for bar in minutes)
    option_bars = options.get_option_bars(
        OptionBarsRequest(
            symbol_or_symbols=contract.symbol, timeframe=TimeFrame.Minute, start=now - timedelta(minutes=5)
        )
    )[contract.symbol]
    assert len(option_bars) >= 3


def test_corporate_actions(venue):
    client = CorporateActionsClient(venue.key, venue.secret, url_override=venue.url)
    found = client.get_corporate_actions(
        CorporateActionsRequest(
            symbols=["NVDA"],
            types=[CorporateActionsType.CASH_DIVIDEND],
            start=TODAY - timedelta(365),
            end=TODAY,
        )
    )
    dividends = found.data["cash_dividends"]
    assert len(dividends) == 4
    assert {one.rate for one in dividends} == {0.01}
    list(used(client))


# orders --------------------------------------------------------------------------------------------


def test_market_order_fills_at_the_far_side(trading, stocks):
    ask = stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="SPY"))["SPY"].ask_price
    sent = market(trading, 2)
    assert sent.status is OrderStatus.PENDING_NEW
    assert sent.filled_qty == "0"
    seen = trading.get_order_by_id(sent.id)
    assert (seen.status, seen.filled_qty, float(seen.filled_avg_price)) == (OrderStatus.FILLED, "2", ask)
    assert trading.get_order_by_client_id(sent.client_order_id).id == sent.id


@pytest.mark.rows(
    ("tif", "status"),
    [
        (TimeInForce.DAY, OrderStatus.NEW),
        (TimeInForce.GTC, OrderStatus.NEW),
        (TimeInForce.IOC, OrderStatus.CANCELED),
        (TimeInForce.FOK, OrderStatus.CANCELED),
        (TimeInForce.OPG, OrderStatus.ACCEPTED),
        (TimeInForce.CLS, OrderStatus.NEW),
    ],
)
def test_limit_order_of_each_time_in_force(trading, tif, status):
    sent = limit(trading, time_in_force=tif)
    assert trading.get_order_by_id(sent.id).status is status


def test_stop_orders_wait_for_their_price(trading):
    made = [
        trading.submit_order(
            StopOrderRequest(symbol="SPY", qty=1, side=BUY, time_in_force=DAY, stop_price=700)
        ),
        trading.submit_order(
            StopLimitOrderRequest(
                symbol="SPY", qty=1, side=BUY, time_in_force=TimeInForce.GTC, stop_price=700, limit_price=701
            )
        ),
        trading.submit_order(
            TrailingStopOrderRequest(symbol="SPY", qty=1, side=BUY, time_in_force=DAY, trail_percent=5)
        ),
    ]
    seen = [trading.get_order_by_id(one.id) for one in made]
    assert [one.status for one in seen] == [OrderStatus.NEW] * 3
    assert float(seen[2].stop_price) == pytest.approx(float(seen[2].hwm) * 1.05, abs=0.01)
    now = trading.submit_order(
        StopOrderRequest(symbol="NVDA", qty=1, side=BUY, time_in_force=DAY, stop_price=100)
    )
    assert trading.get_order_by_id(now.id).status is OrderStatus.FILLED


def test_bracket_leaves_two_exits_and_cancels_one(trading):
    exits = TakeProfitRequest(limit_price=700), StopLossRequest(stop_price=500, limit_price=499)
    sent = market(trading, 1, order_class=OrderClass.BRACKET, take_profit=exits[0], stop_loss=exits[1])
    assert [leg.status for leg in sent.legs] == [OrderStatus.HELD] * 2
    working = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN))
    assert sorted(one.order_type.value for one in working) == ["limit", "stop_limit"]
    trading.cancel_order_by_id(working[0].id)
    assert trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN)) == []


def test_oco_and_oto(trading):
    market(trading, 2)
    exits = {"take_profit": TakeProfitRequest(limit_price=700), "stop_loss": StopLossRequest(stop_price=500)}
    oco = limit(trading, 700, qty=2, side=SELL, order_class=OrderClass.OCO, **exits)
    assert trading.get_open_position("SPY").qty_available == "0"
    trading.cancel_order_by_id(oco.id)
    assert trading.get_orders() == []
    stop = StopLossRequest(stop_price=100)
    oto = limit(trading, 900, symbol="NVDA", order_class=OrderClass.OTO, stop_loss=stop)
    seen = trading.get_order_by_id(oto.id)
    assert seen.status is OrderStatus.FILLED
    assert [one.order_type.value for one in trading.get_orders()] == ["stop"]


def test_legs_of_a_straddle_fill_together(trading, contract, put):
    legs = [
        OptionLegRequest(symbol=one.symbol, ratio_qty=1, side=BUY, position_intent=PositionIntent.BUY_TO_OPEN)
        for one in (contract, put)
    ]
    sent = limit(trading, 60, symbol=None, side=None, qty=2, order_class=OrderClass.MLEG, legs=legs)
    seen = trading.get_order_by_id(sent.id)
    assert seen.status is OrderStatus.FILLED
    assert [leg.filled_qty for leg in seen.legs] == ["2", "2"]
    net = sum(float(leg.filled_avg_price) for leg in seen.legs)
    assert float(seen.filled_avg_price) == pytest.approx(net)
    held = {one.symbol: one.qty for one in trading.get_all_positions()}
    assert held == {contract.symbol: "2", put.symbol: "2"}


def test_replace_makes_a_new_order(trading):
    old = limit(trading)
    new = trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=3, limit_price=501))
    assert new.replaces == old.id
    assert (new.qty, float(new.limit_price)) == ("3", 501.0)
    before = trading.get_order_by_id(old.id)
    assert (before.status, before.replaced_by) == (OrderStatus.REPLACED, new.id)
    assert trading.get_order_by_id(new.id).status is OrderStatus.NEW


def test_cancel_one_and_all(trading):
    made = [limit(trading, 500 + n) for n in range(3)]
    trading.cancel_order_by_id(made[0].id)
    assert trading.get_order_by_id(made[0].id).status is OrderStatus.CANCELED
    answers = trading.cancel_orders()
    assert {one.id for one in answers} == {made[1].id, made[2].id}
    assert {one.status for one in answers} == {200}
    status, code, message = refusal(lambda: trading.cancel_order_by_id(made[0].id))
    assert (status, code, message) == (422, 42210000, 'order is already in "canceled" state')


def test_list_orders_by_status_symbol_and_time(venue, trading):
    first = limit(trading)
    venue.advance(1)
    second = limit(trading, 100, symbol="NVDA")
    venue.advance(1)
    everything = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))
    assert [one.id for one in everything] == [second.id, first.id]
    after = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, after=first.submitted_at))
    assert second.id in {one.id for one in after}
    assert [one.id for one in trading.get_orders(GetOrdersRequest(symbols=["NVDA"]))] == [second.id]
    assert trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED)) == []
    assert len(trading.get_orders(GetOrdersRequest(limit=1))) == 1


def test_duplicate_client_id_is_refused_even_after_a_cancel(trading):
    request = LimitOrderRequest(
        symbol="SPY", qty=1, side=BUY, time_in_force=DAY, limit_price=500, client_order_id="mine-1"
    )
    sent = trading.submit_order(request)
    assert refusal(lambda: trading.submit_order(request)) == (422, 42210000, "client_order_id must be unique")
    trading.cancel_order_by_id(sent.id)
    assert refusal(lambda: trading.submit_order(request)) == (422, 40010001, "client_order_id must be unique")
    assert trading.get_order_by_client_id("mine-1").id == sent.id


def test_wrong_keys_are_told_apart_from_none(venue):
    for stranger in used(TradingClient(venue.key, "not-the-secret", paper=True, url_override=venue.url)):
        assert refusal(stranger.get_account) == (401, 40110000, "request is not authorized")


# positions -----------------------------------------------------------------------------------------


def test_positions_and_their_closing(trading, contract):
    market(trading, 10)
    market(trading, 4, contract.symbol)
    market(trading, 5, "NVDA", side=SELL)
    held = {one.symbol: one for one in trading.get_all_positions()}
    assert held["NVDA"].side is PositionSide.SHORT
    assert held["NVDA"].qty == "-5"
    one = held[contract.symbol]
    assert float(one.cost_basis) == pytest.approx(400 * float(one.avg_entry_price))
    assert trading.get_open_position(str(held["SPY"].asset_id)).qty == "10"
    trading.close_position("SPY", ClosePositionRequest(percentage="50"))
    assert trading.get_open_position("SPY").qty == "5"
    trading.close_position(contract.symbol, ClosePositionRequest(qty="1"))
    assert trading.get_open_position(contract.symbol).qty == "3"
    answers = trading.close_all_positions(cancel_orders=True)
    closed = sorted(answer.symbol for answer in answers)
    assert closed == sorted(["SPY", "NVDA", contract.symbol])
    assert trading.get_all_positions() == []
    assert refusal(lambda: trading.get_open_position("SPY"))[:2] == (404, 40410000)


def test_a_long_option_is_exercised(trading, contract):
    market(trading, 1, contract.symbol)
    trading.exercise_options_position(contract.symbol)
    held = trading.get_open_position("SPY")
    assert (held.qty, float(held.avg_entry_price)) == ("100", contract.strike_price)


# streams -------------------------------------------------------------------------------------------


@contextmanager
def running(venue: Any, stream: Any) -> Iterator[None]:
    """Run a stream of the client in a thread until the block ends."""
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop).result(PATIENCE)
        venue.admin("disconnect", {})  # the client looks at its stop flag only when something arrives
        thread.join(PATIENCE)
    assert not thread.is_alive()


def collector() -> tuple[queue.Queue[Any], Callable[[Any], Any]]:
    got: queue.Queue[Any] = queue.Queue()

    async def handler(message: Any) -> None:
        got.put(message)

    return got, handler


def event_of(update: Any) -> str:
    return str(getattr(update.event, "value", update.event))


def wait_for_streams(venue: Any, count: int) -> None:
    """Wait until the venue has as many listening streams."""
    done = threading.Event()
    for _ in range(PATIENCE * 50):
        if venue.admin("streams")["ready"] >= count:
            return
        done.wait(0.02)
    pytest.fail("the stream did not subscribe")


def test_trade_updates_tell_the_life_of_an_order(venue, trading):
    stream = TradingStream(venue.key, venue.secret, paper=True, url_override=f"{venue.ws}/stream")
    got, handler = collector()
    stream.subscribe_trade_updates(handler)
    with running(venue, stream):
        wait_for_streams(venue, 1)
        sent = market(trading, 3)
        updates = [got.get(timeout=PATIENCE) for _ in range(3)]
        assert [event_of(one) for one in updates] == ["pending_new", "new", "fill"]
        assert {one.order.id for one in updates} == {sent.id}
        assert (updates[2].qty, updates[2].position_qty) == (3.0, 3.0)
        assert updates[2].price == float(updates[2].order.filled_avg_price)
        waiting = limit(trading)
        trading.cancel_order_by_id(waiting.id)
        names = [event_of(got.get(timeout=PATIENCE)) for _ in range(4)]
        assert names == ["pending_new", "new", "pending_cancel", "canceled"]


@pytest.mark.parametrize("feed", ["iex", "sip"])
def test_stock_stream_brings_quotes_trades_and_bars(venue, feed):
    stream = StockDataStream(venue.key, venue.secret, url_override=f"{venue.ws}/v2/{feed}")
    quotes, on_quote = collector()
    trades, on_trade = collector()
    bars, on_bar = collector()
    stream.subscribe_quotes(on_quote, "SPY", "NVDA")
    stream.subscribe_trades(on_trade, "SPY")
    stream.subscribe_bars(on_bar, "*")
    with running(venue, stream):
        wait_for_streams(venue, 1)
        venue.advance(61)
        got = [quotes.get(timeout=PATIENCE) for _ in range(122)]
        assert {one.symbol for one in got} == {"SPY", "NVDA"}
        assert all(0 < one.bid_price < one.ask_price for one in got)
        assert got[0].timestamp.tzinfo is not None
        assert trades.get(timeout=PATIENCE).symbol == "SPY"
        assert {bars.get(timeout=PATIENCE).symbol for _ in range(2)} == {"SPY", "NVDA"}


@pytest.mark.parametrize("feed", ["indicative", "opra"])
def test_option_stream_brings_quotes(venue, contract, put, feed):
    stream = OptionDataStream(venue.key, venue.secret, url_override=f"{venue.ws}/v1beta1/{feed}")
    quotes, on_quote = collector()
    stream.subscribe_quotes(on_quote, contract.symbol, put.symbol)
    with running(venue, stream):
        wait_for_streams(venue, 1)
        venue.advance(3)
        got = [quotes.get(timeout=PATIENCE) for _ in range(6)]
        assert {one.symbol for one in got} == {contract.symbol, put.symbol}
        assert all(0 <= one.bid_price < one.ask_price for one in got)


# every call ------------------------------------------------------------------------------------------


CLIENTS = (
    TradingClient, TradingStream, StockHistoricalDataClient, OptionHistoricalDataClient,
    CorporateActionsClient, StockDataStream, OptionDataStream, CryptoHistoricalDataClient, NewsClient,
    ScreenerClient, CryptoDataStream, NewsDataStream,
)  # fmt: skip
BENEATH = {"get", "post", "put", "patch", "delete", "response_wrapper"}
"""The verbs of HTTP under every call of the REST clients."""
NOT_OFFERED = {
    CryptoDataStream: "coins are not traded at this venue",
    NewsDataStream: "there is no news in a simulated market",
}


def calls_of(client: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(client, callable) if name[0] != "_"} - BENEATH


def test_every_call_of_the_client_is_used_by_a_test():
    used = {
        node.attr
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.Attribute)
    }
    for client in CLIENTS:
        unused = calls_of(client) - used
        assert not unused or client in NOT_OFFERED, f"{client.__name__}: {sorted(unused)}"


def test_settings_history_and_announcements(trading):
    settings = trading.get_account_configurations()
    settings.no_shorting = True
    assert trading.set_account_configurations(settings).no_shorting is True
    assert trading.get_account().shorting_enabled is False
    history = trading.get_portfolio_history()
    assert history.equity[-1] == history.base_value == 100_000
    asked = GetCorporateAnnouncementsRequest(
        ca_types=[CorporateActionType.DIVIDEND], since=TODAY - timedelta(30), until=TODAY
    )
    assert trading.get_corporate_announcements(asked) == []


def test_what_is_not_offered_is_refused_as_an_unknown_address(venue, trading):
    nothing = (404, 40410000, "endpoint not found.")
    number = "3f5f2e8e-3f0f-4c6e-9f5b-0d3f6f5a7b11"
    keys = {"url_override": venue.url}
    coins = CryptoHistoricalDataClient(venue.key, venue.secret, **keys)
    news = NewsClient(venue.key, venue.secret, **keys)
    screener = ScreenerClient(venue.key, venue.secret, **keys)
    past = {"timeframe": TimeFrame.Minute, "symbol_or_symbols": "BTC/USD"}
    one = {"symbol_or_symbols": "BTC/USD"}
    calls = [
        lambda: trading.get_corporate_announcement_by_id(number),
        trading.get_watchlists,
        lambda: trading.get_watchlist_by_id(number),
        lambda: trading.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["SPY"])),
        lambda: trading.update_watchlist_by_id(number, UpdateWatchlistRequest(name="yours")),
        lambda: trading.add_asset_to_watchlist_by_id(number, "SPY"),
        lambda: trading.remove_asset_from_watchlist_by_id(number, "SPY"),
        lambda: trading.delete_watchlist_by_id(number),
        lambda: coins.get_crypto_bars(CryptoBarsRequest(**past)),
        lambda: coins.get_crypto_quotes(CryptoQuoteRequest(**one)),
        lambda: coins.get_crypto_trades(CryptoTradesRequest(**one)),
        lambda: coins.get_crypto_latest_bar(CryptoLatestBarRequest(**one)),
        lambda: coins.get_crypto_latest_quote(CryptoLatestQuoteRequest(**one)),
        lambda: coins.get_crypto_latest_trade(CryptoLatestTradeRequest(**one)),
        lambda: coins.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(**one)),
        lambda: coins.get_crypto_snapshot(CryptoSnapshotRequest(**one)),
        lambda: news.get_news(NewsRequest(symbols="SPY")),
        lambda: screener.get_most_actives(MostActivesRequest(by=MostActivesBy.VOLUME)),
        lambda: screener.get_market_movers(MarketMoversRequest()),
    ]
    assert [refusal(call) for call in calls] == [nothing] * len(calls)
    for client in (coins, news, screener):
        list(used(client))


def test_the_latest_and_the_past_of_shares_and_options(venue, stocks, options, contract):
    options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=contract.symbol))
    venue.advance(61)
    bar = stocks.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="SPY"))["SPY"]
    assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    start = datetime.fromtimestamp(venue.admin("clock")["now_ns"] / 1e9, UTC) - timedelta(minutes=1)
    (quote,) = stocks.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="SPY", start=start))["SPY"]
    (trade,) = stocks.get_stock_trades(StockTradesRequest(symbol_or_symbols="SPY", start=start))["SPY"]
    assert quote.bid_price <= trade.price <= quote.ask_price
    asked = OptionLatestTradeRequest(symbol_or_symbols=contract.symbol)
    latest = options.get_option_latest_trade(asked)[contract.symbol]
    asked = OptionTradesRequest(symbol_or_symbols=contract.symbol, start=start)
    (past,) = options.get_option_trades(asked)[contract.symbol]
    assert (past.price, past.timestamp) == (latest.price, latest.timestamp)
    assert options.get_option_exchange_codes()["C"] == "CBOE"


def test_subscriptions_change_while_a_stock_stream_runs(venue):
    stream = StockDataStream(venue.key, venue.secret, url_override=f"{venue.ws}/v2/iex")
    statuses, on_status = collector()
    others, on_other = collector()
    stream.subscribe_trading_statuses(on_status, "SPY")
    for subscribe in (
        stream.subscribe_quotes,
        stream.subscribe_trades,
        stream.subscribe_bars,
        stream.subscribe_daily_bars,
        stream.subscribe_updated_bars,
    ):
        subscribe(on_other, "SPY")
    stream.register_trade_corrections(on_other)
    stream.register_trade_cancels(on_other)
    with running(venue, stream):
        wait_for_streams(venue, 1)
        venue.advance(1)
        assert {type(others.get(timeout=PATIENCE)).__name__ for _ in range(2)} == {"Quote", "Trade"}
        for unsubscribe in (
            stream.unsubscribe_quotes,
            stream.unsubscribe_trades,
            stream.unsubscribe_bars,
            stream.unsubscribe_daily_bars,
            stream.unsubscribe_updated_bars,
        ):
            unsubscribe("SPY")
        venue.admin("halt", {"symbol": "SPY", "seconds": 1})
        venue.advance(2)
        codes = [statuses.get(timeout=PATIENCE).status_code for _ in range(2)]
        assert [TRADING_CODES[code] for code in codes] == [False, True]
        stream.unsubscribe_trading_statuses("SPY")


def test_subscriptions_change_while_an_option_stream_runs(venue, contract, put):
    stream = OptionDataStream(venue.key, venue.secret, url_override=f"{venue.ws}/v1beta1/indicative")
    got, handler = collector()
    stream.subscribe_quotes(handler, contract.symbol, put.symbol)
    stream.subscribe_trades(handler, contract.symbol)
    with running(venue, stream):
        wait_for_streams(venue, 1)
        stream.unsubscribe_trades(contract.symbol)
        stream.unsubscribe_quotes(put.symbol)
        venue.advance(2)
        assert {got.get(timeout=PATIENCE).symbol for _ in range(2)} == {contract.symbol}


def test_a_stream_is_stopped_and_closed_by_the_client(venue):
    stream = TradingStream(venue.key, venue.secret, paper=True, url_override=f"{venue.ws}/stream")
    _, handler = collector()
    stream.subscribe_trade_updates(handler)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    wait_for_streams(venue, 1)
    stream.stop()
    venue.admin("disconnect", {})
    thread.join(PATIENCE)
    assert not thread.is_alive()
    asyncio.run(stream.close())
