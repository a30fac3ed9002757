"""A ticker that Deribit sends no more, over its websocket, is subscribed to again beside the others."""

from scalpdesk.core.events import QuoteEvent

TICKER = "ticker.BTC-PERPETUAL.100ms"


def quoted(bench, since):
    return {each.instrument_id for each in bench.came[since:] if isinstance(each, QuoteEvent)}


async def quotes_later(bench, times):
    """Let so many quotes come, and return whose they were."""
    came = len(bench.came)
    for _ in range(times):
        bench.advance(120.0)
        await bench.until(QuoteEvent, len(bench.quotes()) + 1)
    return quoted(bench, came)


def test_a_lost_ticker_is_subscribed_to_again_and_the_others_go_on(on_bench):
    async def scenario(bench):
        api, sessions = bench.server.protocol.api, []
        receive = api.receive
        api.receive = lambda session, text: (sessions.append(session), receive(session, text))
        gateway = await bench.connected()
        call, put = bench.straddle(gateway)
        await gateway.subscribe([0, call])
        assert await quotes_later(bench, 4) == {0, call}
        (session,) = {id(each): each for each in sessions if TICKER in each.channels}.values()
        session.channels.pop(TICKER)
        await bench.round_trip(gateway)
        assert await quotes_later(bench, 4) == {call}
        await gateway.renew_quotes([0, put])  # the put is not subscribed
        assert await quotes_later(bench, 6) == {0, call}
        assert bench.notices("connection_lost") == []

    on_bench(scenario)
