"""A data stream that stands and says nothing: noticed in an open session, renewed, and said."""

import asyncio
from dataclasses import replace

import pytest

from fakes.alpaca_bench import AlpacaBench
from fakes.live import until
from fakes.venue_desk import BRISK, VenueDesk
from scalpdesk.core.events import QuoteEvent
from scalpdesk.live.supervision import StaleStreamMonitor
from scalpdesk.venues.contract import Health


class Gateway:
    def __init__(self, **silent):
        self.silent = silent
        self.up = dict.fromkeys(silent, True)

    def health(self):
        return Health(dict(self.up), dict(self.silent), 0, (), 1, {})


def test_only_silent_data_streams_that_stand_are_renewed_and_only_in_a_session():
    gateway = Gateway(orders=900.0, stocks=61.0, options=3.0)
    silence = StaleStreamMonitor(gateway, 60.0)
    assert list(silence.due(10.0, is_open=False)) == []
    assert list(silence.due(10.0, is_open=True)) == [("stocks", 61.0)]
    assert list(silence.due(10.5, is_open=True)) == []  # not looked at again at once
    gateway.up["stocks"] = False
    assert list(silence.due(20.0, is_open=True)) == []  # its reconnection is under way
    assert list(StaleStreamMonitor(Gateway(stocks=900.0), 0.0).due(10.0, is_open=True)) == []


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_silent_stream_is_renewed_until_it_speaks(tmp_path, socket_enabled):
    bench = AlpacaBench()
    desk = VenueDesk(tmp_path, bench, replace(BRISK, silent_seconds=0.4))
    pace = bench.server.admin._pace

    async def meanwhile(desk):
        await until(lambda: desk.engine.desk.market.quotes[0] is not None, 0.01)
        pace.change(0.0, bench.server.world.now_ns)
        await until(lambda: desk.gateway.health().counters.get("stocks_renewed", 0) >= 1, 0.05)
        stood = desk.engine.desk.market.quotes[0].ts_event_ns
        pace.change(1.0, bench.server.world.now_ns)
        await until(lambda: desk.engine.desk.market.quotes[0].ts_event_ns > stood, 0.02)
        await asyncio.sleep(0)

    desk.live(meanwhile)
    assert any(text.startswith("stocks silent:") for _, text in desk.said)
    assert desk.runner.state.counters["disconnected/stocks/silent"] >= 1
    assert desk.events(QuoteEvent)
