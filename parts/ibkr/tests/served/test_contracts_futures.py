"""Futures and the options on them as TWS contracts, over ib_async."""

import math
from decimal import Decimal

import pytest

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')
from ib_async import Future, FuturesOption, LimitOrder, MarketOrder

from scalpdesk.base import MINUTE_NS, Instruments, Right
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.futures import future_contract, future_option, future_option_symbol
from scalpdesk_testing.kit.exchange import TwsBench, checked
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import TapeBuilder, at

pytestmark = pytest.mark.enable_socket

EXPIRY = "20240315"


@pytest.fixture(scope="module")
def tws():
    near, far = future_contract("ES_202403"), future_contract("ES_202406")
    option = future_option(future_option_symbol(near.symbol, near.expiry, Right.CALL, Decimal(5_000)))
    builder = TapeBuilder(Instruments([near, far, option]), days=(DAY,))
    for minute in range(385):
        for number, mid in ((0, 5_000.0), (1, 5_050.0), (2, 50.0)):
            half = 0.25
            builder.quote(number, at("09:30") + minute * MINUTE_NS, mid - half, mid + half, 100.0, 100.0)
    bench = TwsBench(source=TapeSource(builder.build()))
    bench.main = bench.runner.run(bench.client(1))
    yield bench
    bench.stop()


def es(month="202403"):
    return Future("ES", month, "CME")


@checked
async def test_a_future_is_found_by_its_month(tws):
    (found,) = await tws.main.ib.qualifyContractsAsync(es())
    assert (found.lastTradeDateOrContractMonth, found.localSymbol) == (EXPIRY, "ESH4")
    assert (found.multiplier, found.exchange, found.tradingClass) == ("50", "CME", "ES")
    both = await tws.main.ib.reqContractDetailsAsync(Future("ES", exchange="CME"))
    assert [each.contract.localSymbol for each in both] == ["ESH4", "ESM4"]
    assert {each.minTick for each in both} == {0.25}


@checked
async def test_its_options_are_a_chain_of_their_own(tws):
    ib = tws.main.ib
    (future,) = await ib.qualifyContractsAsync(es())
    (chain,) = await ib.reqSecDefOptParamsAsync("ES", "CME", "FUT", future.conId)
    assert (chain.exchange, chain.multiplier, chain.strikes) == ("CME", "50", [5_000.0])
    (option,) = await ib.qualifyContractsAsync(FuturesOption("ES", EXPIRY, 5_000.0, "C", "CME"))
    (ticker,) = await ib.reqTickersAsync(option)
    # Black at the money: the price is about F vol sqrt(T / 2 pi)
    years = (11 * 24 - 1) * 3_600 / (365 * 86_400)
    vol = 50.0 / (5_000.0 * math.sqrt(years / (2 * math.pi)))
    assert ticker.modelGreeks.impliedVol == pytest.approx(vol, rel=0.02)
    assert ticker.modelGreeks.undPrice == 5_000.0


@checked
async def test_a_future_is_traded_for_its_margin(tws):
    ib = tws.main.ib
    (future,) = await ib.qualifyContractsAsync(es())
    state = await ib.whatIfOrderAsync(future, LimitOrder("BUY", 1, 5_000.25, account="DU1000002"))
    assert 0.05 * 250_000 < float(state.initMarginChange) < 0.10 * 250_000
    trade = ib.placeOrder(future, MarketOrder("BUY", 2))
    await tws.main.until(lambda: trade.fills and trade.fills[0].commissionReport.execId)
    assert trade.fills[0].execution.price == 5_000.25
    assert trade.fills[0].commissionReport.commission == 2 * 2.25
    await tws.main.until(lambda: ib.positions("DU1000001"))
    (held,) = ib.positions("DU1000001")
    assert (held.position, held.avgCost, held.contract.secType) == (2.0, 50 * 5_000.25, "FUT")
    off_tick = ib.placeOrder(future, LimitOrder("BUY", 1, 4_000.10))
    await tws.main.error(110, off_tick.order.orderId)
