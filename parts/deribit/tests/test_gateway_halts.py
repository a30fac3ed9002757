"""A book that Deribit closes is a trading halt of its instrument, over its websocket."""

from datetime import date

from scalpdesk.core.events import TradingHalt


def test_a_closed_book_halts_its_instrument_until_it_opens(on_bench):
    async def scenario(bench):
        desk = await bench.connected()
        (call, _), _ = bench.pair_near(desk.gateway, bench.world.ledger.mark(0), date(2025, 3, 14))

        async def statuses(count):
            bench.advance(120.0)
            await desk.until(lambda: len(desk.of(TradingHalt)) >= count)
            return [(each.instrument_id, each.is_halted) for each in desk.of(TradingHalt)]

        await desk.gateway.subscribe([0, call])
        assert await statuses(1) == [(0, False)]  # ends a halt that an earlier connection saw begin
        bench.world.halt(0)
        assert sorted((await statuses(3))[1:]) == [(0, True), (call, True)]
        bench.world.resume(0)
        assert sorted((await statuses(5))[3:]) == [(0, False), (call, False)]

    on_bench(scenario)
