"""TWS's protocol judged by ib_async, unmodified: every check is one thing that a desk relies on."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')
from ib_async import (
    ComboLeg,
    Contract,
    ExecutionFilter,
    Index,
    LimitOrder,
    MarketOrder,
    Option,
    Order,
    Stock,
    StopLimitOrder,
    TagValue,
    TimeCondition,
)
from ib_async.wrapper import RequestError

from scalpdesk.simulation.faults import Fault
from scalpdesk_testing.kit.exchange import (
    CALL,
    DAILY_CLOSES,
    PATIENCE,
    PUT,
    SPX,
    SPY,
    VOL,
    TwsBench,
    checked,
)
from scalpdesk_testing.kit.instruments import DAY, EXPIRY

pytestmark = [pytest.mark.enable_socket, pytest.mark.xdist_group("tws_ib_async")]

MONTH = f"{EXPIRY:%Y%m%d}"
VERSIONS = (157, 159, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178)
MAIN = 7


@pytest.fixture(scope="module")
def tws():
    bench = TwsBench()
    bench.main = bench.runner.run(bench.client(MAIN))
    yield bench
    bench.stop()


def spy():
    return Stock("SPY", "SMART", "USD")  # the client writes into it


def call(strike=500.0, right="C"):
    return Option("SPY", MONTH, strike, right, "SMART", tradingClass="SPY")


def limit(side, quantity, price, **terms):
    return LimitOrder(side, quantity, price, **terms)


def quote(tws, number=SPY):
    return tws.world.ledger.quotes[number]


async def known(tws, *contracts):
    """Return contracts with their ids, which ib_async needs for market data."""
    return await tws.main.ib.qualifyContractsAsync(*contracts)


async def tickers(tws, *contracts, client=None):
    return await (client or tws.main).ib.reqTickersAsync(*await known(tws, *contracts))


def spx():
    return Index("SPX", "CBOE", "USD")


async def filled(tws, contract, order, client=None):
    client = client or tws.main
    trade = client.ib.placeOrder(contract, order)
    await client.until(lambda: trade.orderStatus.status == "Filled" and trade.fills)
    await client.until(
        lambda: all(f.commissionReport.execId for f in trade.fills if f.contract.secType != "BAG")
    )
    return trade


async def working(tws, contract, order, status="Submitted", client=None):
    client = client or tws.main
    trade = client.ib.placeOrder(contract, order)
    await client.until(lambda: trade.orderStatus.status == status)
    return trade


async def straddle(tws, action="BUY", put_action=None):
    """Return a bag of the straddle at 500."""
    ib = tws.main.ib
    legs = []
    for right, leg_action in (("C", action), ("P", put_action or action)):
        (contract,) = await ib.qualifyContractsAsync(call(right=right))
        legs.append(ComboLeg(contract.conId, 1, leg_action, "SMART"))
    return Contract(secType="BAG", symbol="SPY", exchange="SMART", currency="USD", comboLegs=legs)


# versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@checked
async def test_each_version_is_spoken_whole(tws, version):
    client = await tws.client(1_000 + version, version)
    ib = client.ib
    assert ib.client.serverVersion() == version
    (details,) = await ib.reqContractDetailsAsync(spy())
    assert (details.contract.conId, details.minTick, details.stockType) == (756733, 0.01, "ETF")
    assert details.suggestedSizeIncrement == (1.0 if version >= 163 else details.suggestedSizeIncrement)
    (found,) = [each for each in await ib.reqMatchingSymbolsAsync("SP") if each.contract.symbol == "SPY"]
    assert found.derivativeSecTypes == ["OPT", "BAG"]
    order = limit("BUY", 3, 101.25, orderRef=f"v{version}", tif="GTC", outsideRth=True)
    trade = await working(tws, spy(), order, client=client)
    (bought,) = (await filled(tws, spy(), limit("BUY", 2, 600), client)).fills
    assert bought.execution.shares == 2.0
    ib.disconnect()
    await client.connect(1_000 + version)
    (known,) = ib.openTrades()
    shown = known.order
    assert (shown.lmtPrice, shown.tif, shown.orderRef) == (101.25, "GTC", f"v{version}")
    assert (shown.outsideRth, shown.permId, shown.account) == (True, trade.order.permId, "DU1000001")
    ib.cancelOrder(shown)
    await client.until(lambda: known.orderStatus.status == "Cancelled")
    over = {each.order.permId: each for each in await ib.reqCompletedOrdersAsync(apiOnly=True)}
    assert over[bought.execution.permId].order.filledQuantity == 2.0
    assert over[shown.permId].orderStatus.status == "Cancelled"
    assert tws.decoder.lines == []
    ib.disconnect()


# contracts ------------------------------------------------------------------------------------------


@checked
async def test_an_index_is_qualified(tws):
    (index,) = await tws.main.ib.qualifyContractsAsync(spx())
    assert (index.conId, index.secType, index.exchange) == (416904, "IND", "CBOE")


@checked
async def test_an_option_is_qualified_by_its_terms(tws):
    (found,) = await tws.main.ib.qualifyContractsAsync(call(505.0, "P"))
    assert (found.localSymbol, found.multiplier) == (f"SPY   {EXPIRY:%y%m%d}P00505000", "100")


@checked
async def test_empty_fields_fit_every_contract(tws):
    details = await tws.main.ib.reqContractDetailsAsync(Option("SPY", MONTH[:6]))
    assert {(each.contract.strike, each.contract.right) for each in details} == {
        (strike, right) for strike in (495.0, 500.0, 505.0) for right in "CP"
    }


@checked
async def test_two_classes_of_one_symbol_are_two_contracts(tws):
    details = await tws.main.ib.reqContractDetailsAsync(Option("SPX", MONTH[:6], 5000.0, "C"))
    days = {each.contract.tradingClass: each.contract.lastTradeDateOrContractMonth for each in details}
    assert days == {"SPX": "20240418", "SPXW": MONTH}  # settled in the morning: traded to the day before
    assert {each.realExpirationDate for each in details} == {MONTH}
    (only,) = await tws.main.ib.qualifyContractsAsync(
        Option("SPX", MONTH, 5000.0, "C", "SMART", tradingClass="SPXW")
    )
    assert only.localSymbol.startswith("SPXW")


@checked
async def test_the_contract_id_decides_alone(tws):
    (known,) = await tws.main.ib.qualifyContractsAsync(call())
    (found,) = await tws.main.ib.reqContractDetailsAsync(Contract(conId=known.conId, symbol="XYZ"))
    assert (found.contract.localSymbol, found.underConId) == (known.localSymbol, 756733)


@pytest.mark.parametrize(
    "contract",
    [Stock("NONE", "SMART", "USD"), Option("SPY", MONTH, 1.0, "C"), Contract(secType="BAG", symbol="SPY")],
    ids=["share", "strike", "bag"],
)
@checked
async def test_an_unknown_contract_is_200(tws, contract):
    with pytest.raises(RequestError) as caught:
        await tws.main.ib.reqContractDetailsAsync(contract)
    assert caught.value.code == 200


@pytest.mark.parametrize("con_id", [0, 12345])
@checked
async def test_the_chains_of_an_unknown_underlying_are_200(tws, con_id):
    with pytest.raises(RequestError) as caught:
        async with asyncio.timeout(PATIENCE):
            await tws.main.ib.reqSecDefOptParamsAsync("NOPE", "", "STK", con_id)
    assert caught.value.code == 200


@checked
async def test_market_rules_state_the_increments(tws):
    ib = tws.main.ib
    (details,) = await ib.reqContractDetailsAsync(Option("SPX", MONTH[:6], 5000.0, "P", tradingClass="SPX"))
    rule = int(details.marketRuleIds.split(",")[0])
    steps = await ib.reqMarketRuleAsync(rule)
    assert [(each.lowEdge, each.increment) for each in steps] == [(0.0, 0.05), (3.0, 0.1)]
    assert details.minTick == 0.05


@checked
async def test_trading_hours_are_those_of_the_session(tws):
    (details,) = await tws.main.ib.reqContractDetailsAsync(spy())
    first = details.tradingHours.split(";")[0]
    assert first == "20240304:0930-20240304:1600"
    assert (details.timeZoneId, details.tradingHours.split(";")[5]) == ("US/Eastern", "20240309:CLOSED")


# market data ----------------------------------------------------------------------------------------


@checked
async def test_a_line_follows_bid_and_ask_until_it_is_cancelled(tws):
    ib = tws.main.ib
    (share,) = await known(tws, spy())
    ticker = ib.reqMktData(share)
    await tws.main.until(ticker.hasBidAsk)
    tws.advance()
    now = quote(tws)
    await tws.main.until(lambda: (ticker.bid, ticker.askSize) == (now.bid, now.ask_size))
    assert (ticker.ask, ticker.bidSize, ticker.marketDataType) == (now.ask, now.bid_size, 1)
    assert ticker.minTick == 0.01
    # the last price is a message of its own
    await tws.main.until(lambda: ticker.last == pytest.approx((now.bid + now.ask) / 2))
    assert ticker.low <= ticker.last <= ticker.high
    assert ticker.close == DAILY_CLOSES[-1]
    ib.cancelMktData(share)
    await ib.reqCurrentTimeAsync()
    lines = tws.protocol.market.line_count()
    tws.advance()
    await ib.reqCurrentTimeAsync()
    assert (ticker.bid, lines) == (now.bid, 0)


@checked
async def test_an_index_has_a_level_and_no_quote(tws):
    (ticker,) = await tickers(tws, spx())
    now = quote(tws, SPX)
    assert ticker.last == pytest.approx((now.bid + now.ask) / 2)
    assert (ticker.lastSize, ticker.low <= ticker.last <= ticker.high) == (0.0, True)
    assert math.isnan(ticker.bid)
    assert math.isnan(ticker.volume)


@checked
async def test_greeks_are_those_of_the_quoted_volatility(tws):
    above, below = await tickers(tws, call(), call(right="P"))
    for ticker in (above, below):
        assert ticker.modelGreeks.impliedVol == pytest.approx(VOL, abs=2e-4)
        assert ticker.bidGreeks.impliedVol < ticker.modelGreeks.impliedVol < ticker.askGreeks.impliedVol
        assert ticker.modelGreeks.theta < 0 < ticker.modelGreeks.vega
    spot = (quote(tws).bid + quote(tws).ask) / 2
    assert above.modelGreeks.undPrice == pytest.approx(spot)
    # put and call at one strike: deltas differ by 1, gamma and vega are one (no rates)
    assert above.modelGreeks.delta - below.modelGreeks.delta == pytest.approx(1.0, abs=2e-3)
    assert above.modelGreeks.gamma == pytest.approx(below.modelGreeks.gamma, rel=2e-2)
    # at the money: vega of a point S sqrt(T / 2 pi) / 100, theta of a day -S vol / (2 sqrt(2 pi T) 365)
    years = (
        datetime(2024, 4, 19, 16, tzinfo=ZoneInfo("America/New_York")).timestamp() - tws.world.now_ns / 1e9
    ) / (365 * 86_400)
    assert above.modelGreeks.vega == pytest.approx(spot * math.sqrt(years / (2 * math.pi)) / 100, rel=0.01)
    decay = spot * VOL / (2 * math.sqrt(2 * math.pi * years)) / 365
    assert above.modelGreeks.theta == pytest.approx(-decay, rel=0.01)


@checked
async def test_a_snapshot_ends_and_leaves_no_line(tws):
    before = tws.protocol.market.line_count()
    (ticker,) = await tickers(tws, spy())
    assert ticker.bid == quote(tws).bid
    assert tws.protocol.market.line_count() == before


@checked
async def test_a_combo_is_quoted_by_its_legs(tws):
    (ticker,) = await tws.main.ib.reqTickersAsync(await straddle(tws))
    above, below = quote(tws, CALL), quote(tws, PUT)
    assert ticker.bid == pytest.approx(above.bid + below.bid)
    assert ticker.ask == pytest.approx(above.ask + below.ask)


@checked
async def test_open_interest_comes_on_request(tws):
    ib = tws.main.ib
    ticker = ib.reqMktData(*await known(tws, call(505.0)), "101")
    await tws.main.until(lambda: ticker.callOpenInterest == 1_000.0)
    ib.cancelMktData(ticker.contract)


@checked
async def test_delayed_data_have_their_own_numbers(tws):
    client = await tws.client(32)
    client.ib.reqMarketDataType(3)
    kinds = set()
    client.ib.pendingTickersEvent += lambda lines: kinds.update(
        tick.tickType for line in lines for tick in line.ticks
    )
    (ticker,) = await tickers(tws, call(), client=client)
    assert ticker.marketDataType == 3
    assert {66, 67} <= kinds <= {66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 88}
    assert ticker.modelGreeks.impliedVol == pytest.approx(VOL, abs=2e-4)
    client.ib.disconnect()


@checked
async def test_what_is_not_entitled_is_354_or_delayed(tws):
    client = await tws.client(33)
    share, option = await known(tws, spy(), call())
    tws.admin("tws/data", b'{"live": false}')
    try:
        client.ib.reqMktData(share)
        assert "Delayed market data is available" in await client.error(354)
        client.ib.reqMarketDataType(3)
        ticker = client.ib.reqMktData(share)
        await client.error(10167)
        await client.until(ticker.hasBidAsk)
        assert ticker.marketDataType == 3
        tws.admin("tws/data", b'{"live": false, "delayed": false}')
        client.ib.reqMktData(option)
        await client.until(lambda: [code for _, code, _ in client.errors].count(354) == 2)
    finally:
        tws.admin("tws/data")
        client.ib.disconnect()


@checked
async def test_lines_are_limited(tws):
    client = await tws.client(34)
    tws.admin("tws/data", b'{"lines": %d}' % (tws.protocol.market.line_count() + 2))
    try:
        *contracts, fourth = await known(tws, spy(), call(), call(right="P"), call(495.0))
        lines = [client.ib.reqMktData(each) for each in contracts]
        await client.error(101)
        await client.until(lines[1].hasBidAsk)
        assert not lines[2].hasBidAsk()
        client.ib.cancelMktData(contracts[0])
        again = client.ib.reqMktData(fourth)
        await client.until(again.hasBidAsk)
    finally:
        tws.admin("tws/data")
        client.ib.disconnect()


@checked
async def test_a_line_that_is_not_there_is_300_and_one_twice_322(tws):
    client = await tws.client(35)
    raw = client.ib.client
    raw.cancelMktData(9_999)
    await client.error(300, 9_999)
    raw.reqMktData(9_000, spy(), "", False, False, [])
    raw.reqMktData(9_000, spy(), "", False, False, [])
    await client.error(322, 9_000)
    client.ib.disconnect()


# orders ---------------------------------------------------------------------------------------------


@checked
async def test_a_market_order_pays_the_far_side_and_its_commission_follows(tws):
    trade = await filled(tws, spy(), MarketOrder("BUY", 10))
    (fill,) = trade.fills
    assert (fill.execution.price, fill.execution.side) == (quote(tws).ask, "BOT")
    assert (fill.commissionReport.commission, fill.commissionReport.currency) == (1.0, "USD")
    assert [entry.status for entry in trade.log][:2] == ["PendingSubmit", "PreSubmitted"]
    assert fill.execution.time == datetime.fromtimestamp(
        tws.world.now_ns / 1e9, tz=fill.execution.time.tzinfo
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [({"lmtPrice": 100.001}, 110), ({"action": "SELL"}, 105), ({"orderType": "MKT"}, 329)],
    ids=["tick", "side", "type"],
)
@checked
async def test_a_refused_modification_leaves_the_order_alive(tws, change, code):
    order = limit("BUY", 5, 100)
    trade = await working(tws, spy(), order)
    before = {name: getattr(order, name) for name in change}
    for name, value in change.items():
        setattr(order, name, value)
    tws.main.ib.placeOrder(spy(), order)
    await tws.main.error(code, order.orderId)
    await tws.main.until(lambda: trade.orderStatus.status == "Submitted")
    if "lmtPrice" in before:
        assert order.lmtPrice == 100.0
    order.action = "BUY"
    tws.main.ib.cancelOrder(order)
    await tws.main.until(lambda: trade.orderStatus.status == "Cancelled")


@checked
async def test_cancels_of_unknown_and_of_closed_orders_have_their_codes(tws):
    raw = tws.main.ib.client
    raw.cancelOrder(987_654, "")
    await tws.main.error(10147, 987_654)
    done = await filled(tws, spy(), MarketOrder("BUY", 1))
    raw.cancelOrder(done.order.orderId, "")
    await tws.main.error(10148, done.order.orderId)


@checked
async def test_used_order_ids_are_103_and_104(tws):
    raw = tws.main.ib.client
    done = (await filled(tws, spy(), MarketOrder("BUY", 1))).order
    raw.placeOrder(done.orderId, spy(), MarketOrder("BUY", 1))
    await tws.main.error(104, done.orderId)
    gone = await working(tws, spy(), limit("BUY", 1, 100))
    tws.main.ib.cancelOrder(gone.order)
    await tws.main.until(lambda: gone.orderStatus.status == "Cancelled")
    raw.placeOrder(gone.order.orderId, spy(), limit("BUY", 1, 100))
    await tws.main.error(103, gone.order.orderId)


@checked
async def test_a_rejected_order_is_inactive_and_its_id_used(tws):
    trade = tws.main.ib.placeOrder(spy(), MarketOrder("BUY", 10_000_000))
    await tws.main.until(lambda: trade.orderStatus.status == "Inactive")
    assert "Order rejected - reason:" in await tws.main.error(201, trade.order.orderId)
    tws.main.ib.client.placeOrder(trade.order.orderId, spy(), limit("BUY", 1, 100))
    await tws.main.error(103, trade.order.orderId)


@checked
async def test_an_index_is_not_tradable_and_an_unknown_share_neither(tws):
    for contract, code in ((spx(), 201), (Stock("NONE", "SMART", "USD"), 200)):
        trade = tws.main.ib.placeOrder(contract, MarketOrder("BUY", 1))
        await tws.main.error(code, trade.order.orderId)


@checked
async def test_the_price_of_an_option_is_on_its_increments(tws):
    weekly = Option("SPX", MONTH, 5000.0, "C", "SMART", tradingClass="SPXW")
    for price, is_good in ((2.95, True), (3.05, False), (2.97, False)):
        trade = tws.main.ib.placeOrder(weekly, limit("BUY", 1, price))
        if is_good:
            await tws.main.until(lambda trade=trade: trade.orderStatus.status == "Submitted")
        else:
            await tws.main.error(110, trade.order.orderId)
            assert trade.orderStatus.status == "Cancelled"


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (LimitOrder("BUY", 0, 100), 434),
        (LimitOrder("BUY", 1, 100.001), 110),
        (LimitOrder("BUY", 1, 100, account="DU7"), 321),
        (LimitOrder("BUY", 1, 100, parentId=1), 321),
        (MarketOrder("BUY", 1, tif="???"), 321),
        (Order(action="BUY", totalQuantity=1, orderType="STP"), 321),
        (LimitOrder("HOLD", 1, 100), 321),
        (LimitOrder("BUY", 1, 100, transmit=False), 321),
        (LimitOrder("BUY", 1, 100, ocaGroup="both"), 321),
        (Order(action="BUY", totalQuantity=1, orderType="PEG MID"), 321),
        (LimitOrder("BUY", 1, 100, algoStrategy="Adaptive", algoParams=[TagValue("a", "b")]), 321),
        (LimitOrder("BUY", 1, 100, conditions=[TimeCondition(time="20300101 10:00:00")]), 321),
    ],
    ids=[
        "size",
        "tick",
        "account",
        "attached",
        "lifetime",
        "no-trigger",
        "side",
        "held",
        "group",
        "type",
        "algorithm",
        "condition",
    ],
)
@checked
async def test_an_order_that_is_not_valid_has_the_vendors_code(tws, order, code):
    count = len(tws.server.admin.orders())
    order.orderId = 0
    trade = tws.main.ib.placeOrder(spy(), order)
    await tws.main.error(code, trade.order.orderId)
    assert len(tws.server.admin.orders()) == count


@checked
async def test_a_stop_limit_keeps_both_prices(tws):
    trade = await working(tws, spy(), StopLimitOrder("BUY", 1, 551.0, 550.0), "PreSubmitted")
    (shown,) = [each.order for each in await tws.main.ib.reqOpenOrdersAsync() if each is trade]
    assert (shown.orderType, shown.lmtPrice, shown.auxPrice) == ("STP LMT", 551.0, 550.0)


@checked
async def test_a_trailing_stop_shows_its_distance(tws):
    order = Order(action="SELL", totalQuantity=1, orderType="TRAIL", auxPrice=25.0)
    trade = await working(tws, spy(), order, "PreSubmitted")
    (shown,) = [each for each in tws.server.admin.orders() if each["trail_price"] == "25"]
    assert (shown["side"], trade.order.auxPrice) == ("sell", 25.0)


@checked
async def test_market_on_close_waits_for_the_closing(tws):
    trade = await working(tws, spy(), Order(action="BUY", totalQuantity=1, orderType="MOC"), "PreSubmitted")
    tws.main.ib.cancelOrder(trade.order)
    await tws.main.until(lambda: trade.orderStatus.status == "Cancelled")


@checked
async def test_the_rest_of_an_ioc_order_is_cancelled_and_its_fill_kept(tws):
    size = int(quote(tws).ask_size)
    trade = tws.main.ib.placeOrder(spy(), limit("BUY", size + 50, 600, tif="IOC"))
    await tws.main.until(lambda: trade.orderStatus.status == "Cancelled")
    assert (trade.orderStatus.filled, trade.orderStatus.remaining) == (size, 50.0)


@checked
async def test_parts_of_an_order_count_up(tws):
    tws.world.faults.inject(Fault("partial_fill", fraction=0.4, seconds=5))
    order = limit("BUY", 10, 600)
    trade = tws.main.ib.placeOrder(spy(), order)
    await tws.main.until(lambda: trade.orderStatus.filled == 4.0)
    assert trade.orderStatus.status == "Submitted"
    tws.advance(10)
    await tws.main.until(lambda: trade.orderStatus.status == "Filled")
    assert [each.execution.cumQty for each in trade.fills] == [4.0, 10.0]
    prices = [
        Decimal(str(each.execution.price)) * Decimal(str(each.execution.shares)) for each in trade.fills
    ]
    assert trade.orderStatus.avgFillPrice == pytest.approx(float(sum(prices)) / 10)


@checked
async def test_executions_count_on_over_a_modification(tws):
    tws.world.faults.inject(Fault("partial_fill", fraction=0.5))
    order = limit("BUY", 10, 600)
    trade = tws.main.ib.placeOrder(spy(), order)
    await tws.main.until(lambda: trade.orderStatus.filled == 5.0)
    order.lmtPrice = 601
    tws.main.ib.placeOrder(spy(), order)
    await tws.main.until(lambda: trade.orderStatus.status == "Filled")
    listed = [each.execution for each in await tws.main.ib.reqExecutionsAsync()]
    assert [each.cumQty for each in listed if each.permId == order.permId] == [5.0, 10.0]
    assert (trade.orderStatus.filled, trade.orderStatus.remaining) == (10.0, 0.0)


@checked
async def test_a_commission_may_come_late(tws):
    tws.admin("tws/commission", b'{"seconds": 30}')
    try:
        trade = tws.main.ib.placeOrder(spy(), MarketOrder("BUY", 1))
        await tws.main.until(lambda: trade.orderStatus.status == "Filled")
        await tws.main.ib.reqCurrentTimeAsync()
        assert trade.fills[0].commissionReport.execId == ""
        tws.advance(30)
        await tws.main.until(lambda: trade.fills[0].commissionReport.execId)
        assert trade.fills[0].commissionReport.commission == 1.0
    finally:
        tws.admin("tws/commission")


@checked
async def test_a_closing_trade_states_its_profit(tws):
    client, held = await tws.client(36), call(495.0, "P")
    bought = await filled(tws, held, limit("BUY", 2, 50, account="DU1000002"), client)
    sold = await filled(tws, held, limit("SELL", 2, 1, account="DU1000002"), client)
    paid, got = bought.fills[0].execution.price, sold.fills[0].execution.price
    report = sold.fills[0].commissionReport
    assert bought.fills[0].commissionReport.realizedPNL == 0.0
    assert report.realizedPNL == pytest.approx(200 * (got - paid) - report.commission)
    client.ib.disconnect()


@checked
async def test_a_corrected_execution_has_a_higher_last_part(tws):
    trade = await filled(tws, spy(), MarketOrder("BUY", 3))
    first = trade.fills[0].execution
    newest = [each for each in tws.server.admin.fills() if each["account"] == "account-1"][-1]
    tws.admin("correct", b'{"price": "499.99", "execution_id": "%s"}' % newest["execution_id"].encode())
    await tws.main.until(lambda: len(trade.fills) == 2)
    second = trade.fills[1].execution
    assert (first.execId[:-2], first.execId[-2:]) == (second.execId[:-2], "01")
    assert (second.execId[-2:], second.price) == ("02", 499.99)
    shown = [each.execution.execId for each in await tws.main.ib.reqExecutionsAsync()]
    assert second.execId in shown
    assert first.execId not in shown


@checked
async def test_a_cancel_that_comes_too_late_is_10148_and_the_fill_stands(tws):
    trade = await working(tws, spy(), limit("BUY", 2, 100))
    tws.world.faults.inject(Fault("cancel_too_late"))
    tws.main.ib.cancelOrder(trade.order)
    await tws.main.until(lambda: trade.orderStatus.status == "Filled")
    assert "state: Filled" in await tws.main.error(10148, trade.order.orderId)
    assert trade.orderStatus.filled == 2.0


@checked
async def test_a_modification_that_comes_too_late_leaves_the_fill(tws):
    order = limit("BUY", 2, 100)
    trade = await working(tws, spy(), order)
    tws.world.faults.inject(Fault("replace_too_late"))
    order.lmtPrice = 101
    tws.main.ib.placeOrder(spy(), order)
    await tws.main.error(329, order.orderId)
    await tws.main.until(lambda: trade.orderStatus.status == "Filled")
    assert (trade.orderStatus.filled, trade.fills[0].execution.price) == (2.0, 100.0)


@checked
async def test_a_late_reject_ends_an_order_that_was_acknowledged(tws):
    tws.world.faults.inject(Fault("late_reject"))
    trade = tws.main.ib.placeOrder(spy(), limit("BUY", 2, 100))
    await tws.main.until(lambda: trade.orderStatus.status == "Inactive")
    assert "Order rejected" in await tws.main.error(201, trade.order.orderId)
    assert trade.fills == []


@checked
async def test_a_trade_may_be_reported_after_the_cancel(tws):
    trade = await working(tws, spy(), limit("BUY", 2, 100))
    tws.world.faults.inject(Fault("late_fill_after_cancel", seconds=5))
    tws.main.ib.cancelOrder(trade.order)
    await tws.main.until(lambda: trade.orderStatus.status == "Cancelled")
    tws.advance(5)
    await tws.main.until(lambda: trade.orderStatus.status == "Filled")
    assert [each.execution.cumQty for each in trade.fills] == [2.0]


@checked
async def test_a_busted_trade_is_no_execution_any_more(tws):
    trade = await filled(tws, spy(), MarketOrder("BUY", 4))
    newest = [each for each in tws.server.admin.fills() if each["account"] == "account-1"][-1]
    tws.admin("bust", b'{"execution_id": "%s"}' % newest["execution_id"].encode())
    shown = {each.execution.execId for each in await tws.main.ib.reqExecutionsAsync()}
    assert trade.fills[0].execution.execId not in shown


@checked
async def test_latency_shows_the_states_between(tws):
    tws.world.faults.inject(Fault("cancel_stuck", seconds=3))
    trade = await working(tws, spy(), limit("BUY", 1, 100))
    tws.main.ib.cancelOrder(trade.order)
    await tws.main.ib.reqCurrentTimeAsync()
    assert trade.isActive() or trade.orderStatus.status == "PendingCancel"
    tws.advance(3)
    await tws.main.until(lambda: trade.orderStatus.status == "Cancelled")


# combos ---------------------------------------------------------------------------------------------


@checked
async def test_a_combo_fills_whole_at_its_net_price(tws):
    bag = await straddle(tws)
    above, below = quote(tws, CALL), quote(tws, PUT)
    before = {each.contract.conId: each.position for each in tws.main.ib.positions("DU1000001")}
    trade = await filled(tws, bag, limit("BUY", 2, round(above.ask + below.ask + 1, 2)))
    kinds = [each.contract.secType for each in trade.fills]
    assert kinds == ["BAG", "OPT", "OPT"]
    whole, *legs = (each.execution for each in trade.fills)
    assert whole.price == pytest.approx(above.ask + below.ask)
    assert [each.price for each in legs] == [above.ask, below.ask]
    assert len({each.execId for each in (whole, *legs)}) == 3
    assert trade.orderStatus.avgFillPrice == pytest.approx(whole.price)
    charged = sum(fill.commissionReport.commission for fill in trade.fills[1:3])
    # Four at .65, OCC .02 and ORF .02685: which cent a part falls in depends on what the day has paid before.
    assert charged == pytest.approx(2.787, abs=0.01)
    assert trade.fills[0].commissionReport.execId == ""

    def bought():
        held = {each.contract.conId: each.position for each in tws.main.ib.positions("DU1000001")}
        return all(held.get(leg.conId, 0) - before.get(leg.conId, 0) == 2.0 for leg in bag.comboLegs)

    await tws.main.until(bought)
    assert all(each.contract.secType != "BAG" for each in tws.main.ib.positions())
    sold = await filled(tws, bag, limit("SELL", 2, 0.01))
    assert sold.fills[0].execution.side == "SLD"
    assert sold.fills[0].execution.price == pytest.approx(above.bid + below.bid)
    assert [each.execution.side for each in sold.fills[1:]] == ["SLD", "SLD"]


@checked
async def test_a_working_combo_is_shown_with_its_legs_modified_and_cancelled(tws):
    bag = await straddle(tws)
    order = limit("BUY", 1, 0.5, orderRef="bag")
    trade = await working(tws, bag, order)
    client = await tws.client(37)
    (shown,) = [each for each in await client.ib.reqAllOpenOrdersAsync() if each.order.orderRef == "bag"]
    assert [(leg.conId, leg.ratio, leg.action) for leg in shown.contract.comboLegs] == [
        (leg.conId, 1, "BUY") for leg in bag.comboLegs
    ]
    assert (shown.contract.secType, shown.order.lmtPrice) == ("BAG", 0.5)
    order.lmtPrice = 0.75
    tws.main.ib.placeOrder(bag, order)
    await tws.main.until(lambda: any(entry.message == "Modified" for entry in trade.log))
    (broker_order,) = [each for each in tws.server.admin.orders() if each["limit_price"] == "0.75"]
    assert (broker_order["order_class"], len(broker_order["legs"])) == ("mleg", 2)
    tws.main.ib.cancelOrder(order)
    await tws.main.until(lambda: trade.orderStatus.status == "Cancelled")
    client.ib.disconnect()


@pytest.mark.parametrize(("first", "then"), [(1, 3), (3, 1)], ids=["more", "fewer"])
@checked
async def test_a_combo_of_another_quantity_fills_whole(tws, first, then):
    bag, order = await straddle(tws), limit("BUY", first, 0.5)
    trade = await working(tws, bag, order)
    order.totalQuantity, order.lmtPrice = then, 90.0
    tws.main.ib.placeOrder(bag, order)
    await tws.main.until(lambda: trade.orderStatus.status == "Filled")
    assert trade.orderStatus.filled == then
    await tws.main.until(lambda: len(trade.fills) == 3)
    assert [each.execution.shares for each in trade.fills] == [then] * 3


@checked
async def test_a_sold_combo_rests_at_what_it_asks(tws):
    order = limit("SELL", 1, 90.0, account="DU1000002")
    trade = await working(tws, await straddle(tws), order, "Inactive")
    assert "Order rejected" in await tws.main.error(201, trade.order.orderId)  # uncovered
    spread = await straddle(tws, "BUY", "BUY")
    (low,) = await tws.main.ib.qualifyContractsAsync(call(495.0))
    spread.comboLegs[1] = ComboLeg(low.conId, 1, "SELL", "SMART")  # buys 500, sells 495: a credit
    order = limit("BUY", 1, -4.99)
    resting = await working(tws, spread, order)
    assert resting.order.lmtPrice == -4.99
    tws.main.ib.cancelOrder(order)
    await tws.main.until(lambda: resting.orderStatus.status == "Cancelled")


@checked
async def test_combos_of_one_leg_are_not_valid(tws):
    bag = await straddle(tws)
    bag.comboLegs.pop()
    trade = tws.main.ib.placeOrder(bag, limit("BUY", 1, 1))
    await tws.main.error(321, trade.order.orderId)


# what-if --------------------------------------------------------------------------------------------


@checked
async def test_a_what_if_order_states_its_margin_and_leaves_nothing(tws):
    ib, count = tws.main.ib, len(tws.server.admin.orders())
    bid = quote(tws).bid
    order = limit("SELL", 1, 60, account="DU1000002")
    state = await ib.whatIfOrderAsync(call(), limit("BUY", 1, 20, account="DU1000002"))
    held = quote(tws, CALL)
    # bought options are paid in full, and margined at their mark
    assert float(state.initMarginChange) == pytest.approx(50 * (held.bid + held.ask))
    assert float(state.equityWithLoanChange) == pytest.approx(
        50 * (held.bid + held.ask) - 2_000 - state.commission
    )
    assert (float(state.maintMarginChange), state.status) == (0.0, "PreSubmitted")
    assert state.commission == 1.05  # the least a trade costs, OCC .02 and ORF .02685
    shares = await ib.whatIfOrderAsync(spy(), MarketOrder("BUY", 100, account="DU1000002"))
    ask = quote(tws).ask
    mid = (bid + ask) / 2
    # Regulation T: half of the value at first, a quarter to keep it
    assert float(shares.initMarginChange) == pytest.approx(50 * mid, abs=1)
    assert float(shares.maintMarginChange) == pytest.approx(25 * mid, abs=1)
    naked = await ib.whatIfOrderAsync(call(), order)
    assert float(naked.initMarginChange) > 0
    assert naked.warningText
    assert len(tws.server.admin.orders()) == count


@checked
async def test_a_what_if_combo_needs_no_more_than_it_can_lose(tws):
    ib = tws.main.ib
    bag = await straddle(tws)
    (high,) = await ib.qualifyContractsAsync(call(505.0))
    bag.comboLegs = [bag.comboLegs[0], ComboLeg(high.conId, 1, "SELL", "SMART")]
    bag.comboLegs[0].action = "BUY"
    state = await ib.whatIfOrderAsync(bag, limit("BUY", 1, 5, account="DU1000002"))
    assert float(state.initMarginAfter) > float(state.initMarginBefore)
    assert float(state.maintMarginChange) == 0.0  # the bought call covers the sold one


# clients --------------------------------------------------------------------------------------------


@checked
async def test_orders_of_others_are_seen_on_request_alone(tws):
    other = await tws.client(41)
    mine = await working(tws, spy(), limit("BUY", 1, 102, orderRef="mine"))
    assert await other.ib.reqOpenOrdersAsync() == []
    shown = {each.order.orderRef: each.order for each in await other.ib.reqAllOpenOrdersAsync()}
    assert (shown["mine"].clientId, shown["mine"].permId) == (MAIN, mine.order.permId)
    other.ib.client.cancelOrder(mine.order.orderId, "")
    await other.error(10147)
    assert mine.isActive()
    other.ib.disconnect()


@checked
async def test_executions_are_found_by_their_client_symbol_side_and_time(tws):
    other = await tws.client(42)
    trade = await filled(tws, call(505.0), limit("BUY", 1, 50), other)
    execution = trade.fills[0].execution

    async def ids(**terms):
        found = await tws.main.ib.reqExecutionsAsync(ExecutionFilter(**terms))
        return {each.execution.execId for each in found}

    assert execution.execId in await ids()
    assert await ids(clientId=42) == {execution.execId}
    assert execution.execId in await ids(symbol="SPY", secType="OPT", side="BUY")
    assert execution.execId not in await ids(side="SELL")
    assert execution.execId not in await ids(secType="STK")
    other.ib.disconnect()
    filled_at = execution.time
    for seconds, is_listed in ((0, True), (1, False)):
        since = filled_at + timedelta(seconds=seconds)
        local, there = (since.astimezone(ZoneInfo(name)) for name in ("America/New_York", "Asia/Tokyo"))
        for text in (
            f"{since.astimezone(UTC):%Y%m%d-%H:%M:%S}",
            f"{local:%Y%m%d %H:%M:%S}",
            f"{local:%Y%m%d %H:%M:%S} US/Eastern",
            f"{there:%Y%m%d %H:%M:%S} Asia/Tokyo",
        ):
            assert (execution.execId in await ids(time=text)) is is_listed, text


@checked
async def test_order_ids_count_on_for_each_client(tws):
    other = await tws.client(43)
    trade = await working(tws, spy(), limit("BUY", 1, 100), client=other)
    other.ib.disconnect()
    again = await tws.client(43)
    assert again.ib.client.getReqId() > trade.order.orderId
    again.ib.disconnect()


@checked
async def test_a_global_cancel_ends_the_orders_of_all(tws):
    one, two = await tws.client(44), await tws.client(45)
    trades = [await working(tws, spy(), limit("BUY", 1, 103), client=each) for each in (one, two)]
    two.ib.reqGlobalCancel()
    for client, trade in zip((one, two), trades, strict=True):
        await client.until(lambda trade=trade: trade.orderStatus.status == "Cancelled")
        client.ib.disconnect()


# account --------------------------------------------------------------------------------------------


@checked
async def test_positions_follow_trades_and_end_with_0(tws):
    client, seen = await tws.client(46), []
    client.ib.positionEvent += lambda line: seen.append((line.contract.localSymbol, line.position))
    before = sum(each.position for each in client.ib.positions("DU1000002") if each.contract.strike == 505.0)
    held = call(505.0, "P")
    await filled(tws, held, limit("BUY", 3, 50, account="DU1000002"), client)
    await client.until(lambda: any(position == 3.0 for _, position in seen))
    (line,) = [each for each in client.ib.positions("DU1000002") if each.contract.strike == 505.0]
    assert line.avgCost == pytest.approx(100 * client.ib.fills()[-1].execution.price)
    await filled(tws, held, limit("SELL", 3, 0.01, account="DU1000002"), client)
    await client.until(lambda: seen[-1][1] == 0.0)
    assert before == 0
    client.ib.disconnect()


@checked
async def test_the_portfolio_of_an_account_follows_trades(tws):
    client = await tws.client(47)
    await client.ib.reqAccountUpdatesAsync("DU1000002")
    held = call(495.0)
    trade = await filled(tws, held, limit("BUY", 1, 50, account="DU1000002"), client)
    await client.until(lambda: client.ib.portfolio("DU1000002"))
    (line,) = client.ib.portfolio("DU1000002")
    assert (line.position, line.averageCost) == (1.0, pytest.approx(100 * trade.fills[0].execution.price))
    assert line.unrealizedPNL == pytest.approx(line.marketValue - line.averageCost, abs=0.01)
    await filled(tws, held, limit("SELL", 1, 0.01, account="DU1000002"), client)
    await client.until(lambda: not client.ib.portfolio("DU1000002"))
    client.ib.disconnect()


@checked
async def test_profits_are_sent_about_each_second(tws):
    client = await tws.client(48)
    ib = client.ib
    (held,) = await ib.qualifyContractsAsync(call())
    await filled(tws, held, limit("BUY", 1, 50), client)
    whole, single = ib.reqPnL("DU1000001"), ib.reqPnLSingle("DU1000001", "", held.conId)
    await client.until(lambda: not math.isnan(whole.dailyPnL) and not math.isnan(single.dailyPnL))
    tws.advance(120)
    account = tws.world.ledger.accounts["account-1"]
    position = account.holdings[CALL]
    mark = tws.world.ledger.mark(CALL)
    value = float(position.value(mark))
    await client.until(lambda: single.value == pytest.approx(value, abs=0.01))
    assert (single.position, single.unrealizedPnL) == (
        float(position.quantity),
        pytest.approx(value - float(position.cost), abs=0.01),
    )
    assert whole.dailyPnL == pytest.approx(
        float(tws.world.ledger.figures(account).equity - account.last_equity), abs=0.02
    )
    ib.cancelPnL("DU1000001")
    ib.cancelPnLSingle("DU1000001", "", held.conId)
    await filled(tws, held, limit("SELL", 1, 0.01), client)
    ib.disconnect()


# history --------------------------------------------------------------------------------------------


@checked
async def test_minute_bars_are_those_of_the_market(tws):
    bars = await tws.main.ib.reqHistoricalDataAsync(spy(), "", "1800 S", "1 min", "TRADES", True)
    made = tws.world.bars.minutes(SPY)[-len(bars) :]
    assert 25 <= len(bars) <= 31
    assert [each.close for each in bars] == pytest.approx([each.close for each in made])
    assert bars[-1].date.timestamp() == made[-1].start_ns / 1e9
    assert bars[0].date.tzinfo is not None


@checked
async def test_wider_bars_hold_the_narrow_ones(tws):
    ib = tws.main.ib
    narrow = await ib.reqHistoricalDataAsync(
        spy(), "20240304 10:00:00 US/Eastern", "1800 S", "1 min", "TRADES", True
    )
    wide = await ib.reqHistoricalDataAsync(
        spy(), "20240304-15:00:00", "1800 S", "5 mins", "MIDPOINT", True, 2
    )
    assert (len(narrow), len(wide)) == (30, 6)
    for place, bar in enumerate(wide):
        inside = narrow[5 * place : 5 * place + 5]
        assert bar.high == max(each.high for each in inside)
        assert (bar.open, bar.close) == (inside[0].open, inside[-1].close)
        assert (bar.volume, bar.barCount) == (-1.0, -1)


@checked
async def test_the_first_bar_of_a_session_begins_with_it(tws):
    bars = await tws.main.ib.reqHistoricalDataAsync(spy(), "", "1 D", "1 hour", "TRADES", True)
    assert [f"{each.date:%H:%M}" for each in bars[:2]] == ["09:30", "10:00"]
    minutes = tws.world.bars.minutes(SPY)
    assert bars[0].high == max(each.high for each in minutes[:30])
    assert bars[1].open == minutes[30].open


@checked
async def test_daily_bars_have_the_days_before(tws):
    bars = await tws.main.ib.reqHistoricalDataAsync(spy(), "", "1 M", "1 day", "TRADES", True)
    assert [each.close for each in bars[:-1]] == list(DAILY_CLOSES)
    assert bars[-1].date == DAY


@checked
async def test_the_earliest_bar_is_that_of_the_first_day(tws):
    first = await tws.main.ib.reqHeadTimeStampAsync(spy(), "TRADES", True, 2)
    assert (DAY - first.date()).days == len(DAILY_CLOSES)


@checked
async def test_bars_are_kept_up_to_date(tws):
    client = await tws.client(49)
    bars = await client.ib.reqHistoricalDataAsync(
        spy(), "", "600 S", "1 min", "TRADES", True, keepUpToDate=True
    )
    count = len(bars)
    tws.advance(120)
    await client.until(lambda: len(bars) >= count + 2)
    assert bars[-1].close == pytest.approx(float(tws.world.ledger.mark(SPY)))
    client.ib.cancelHistoricalData(bars)
    client.ib.disconnect()


@pytest.mark.parametrize(
    ("size", "shown", "span", "code"),
    [
        ("1 secs", "TRADES", "60 S", 162),
        ("1 min", "HISTORICAL_VOLATILITY", "60 S", 162),
        ("1 min", "TRADES", "forever", 321),
    ],
    ids=["size", "kind", "span"],
)
@checked
async def test_bars_that_are_not_there_are_162(tws, size, shown, span, code):
    client = await tws.client(50)
    client.ib.RaiseRequestErrors = False
    client.ib.client.reqHistoricalData(77, spy(), "", span, size, shown, 1, 1, False, [])
    await client.error(code, 77)
    client.ib.disconnect()


# connectivity ---------------------------------------------------------------------------------------


@checked
async def test_a_lost_link_is_reported_and_the_socket_stays(tws):
    client = await tws.client(51)
    (share,) = await known(tws, spy())
    ticker = client.ib.reqMktData(share)
    await client.until(ticker.hasBidAsk)
    for code in (1100, 1102):
        tws.admin("tws/message", b'{"code": %d, "text": "link"}' % code)
        assert await client.error(code, -1) == "link"
    tws.admin("tws/message", b'{"code": 1101, "text": "data lost"}')
    await client.error(1101, -1)
    assert client.ib.isConnected()
    bid = ticker.bid
    tws.advance()
    await client.ib.reqCurrentTimeAsync()
    assert ticker.bid == bid  # the line is gone
    again = client.ib.reqMktData(share)
    await client.until(lambda: again.bid == quote(tws).bid)
    client.ib.disconnect()
