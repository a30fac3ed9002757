"""Ticks of trades and of one-sided quotes, over ib_async."""

import math

import pytest

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')
from ib_async import Stock

from scalpdesk.core.units import MINUTE_NS
from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.exchange import TwsBench, checked, generated
from scalpdesk_testing.kit.tape import TapeBuilder, at

pytestmark = pytest.mark.enable_socket


def test_trades_move_the_last_price_the_range_and_the_volume():
    bench = TwsBench(source=generated("SPY"))

    @checked
    async def follow(tws):
        client = await tws.client(1)
        (share,) = await client.ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker = client.ib.reqMktData(share)
        await client.until(lambda: ticker.last > 0 and ticker.volume > 0)
        before, prices = ticker.volume, [ticker.last]
        low, high = ticker.low, ticker.high
        for _ in range(20):
            tws.advance(1)
            trade = tws.world.last_trades[0]
            second = trade.ts_event_ns // 10**9
            await client.until(lambda second=second: ticker.lastTimestamp.timestamp() == second)
            assert ticker.last == pytest.approx(trade.price)
            prices.append(ticker.last)
            before += trade.size
        await client.until(lambda: ticker.volume == before)
        assert (ticker.low, ticker.high) == (min(low, *prices), max(high, *prices))
        assert ticker.low <= ticker.open <= ticker.high

    follow(bench)
    bench.stop()


def test_an_empty_side_has_no_price():
    builder = TapeBuilder()
    for minute, (bid, ask) in enumerate(((499.0, 501.0), (0.0, 501.0), (499.5, math.nan))):
        builder.quote(0, at("09:30") + minute * MINUTE_NS, bid, ask)
    bench = TwsBench(source=TapeSource(builder.build()), start_seconds=0)

    @checked
    async def follow(tws):
        client = await tws.client(1)
        (share,) = await client.ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker = client.ib.reqMktData(share)
        await client.until(lambda: (ticker.bid, ticker.ask) == (499.0, 501.0))
        tws.advance(60)
        await client.until(lambda: (ticker.bid, ticker.bidSize) == (-1.0, 0.0))
        assert ticker.ask == 501.0
        tws.advance(60)
        await client.until(lambda: (ticker.bid, ticker.ask) == (499.5, -1.0))

    follow(bench)
    bench.stop()
