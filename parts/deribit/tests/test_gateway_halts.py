"""A book that Deribit closes is a trading halt of its instrument, over its websocket."""

from scalpdesk.core.events import TradingHalt


def statuses(bench):
    return [(each.instrument_id, each.is_halted) for each in bench.of(TradingHalt)]


def test_a_closed_book_halts_its_instrument_until_it_opens(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        call, _ = bench.straddle(gateway)
        await gateway.subscribe([0, call])
        bench.advance(120.0)
        await bench.until(TradingHalt)
        assert statuses(bench) == [(0, False)]  # ends a halt that an earlier connection saw begin
        bench.world.halt(0)
        bench.advance(120.0)
        await bench.until(TradingHalt, 3)
        assert sorted(statuses(bench)[1:]) == [(0, True), (call, True)]
        bench.world.resume(0)
        bench.advance(120.0)
        await bench.until(TradingHalt, 5)
        assert sorted(statuses(bench)[3:]) == [(0, False), (call, False)]

    on_bench(scenario)
