"""A data stream that stands and says nothing is noticed and renewed; so is every one after a standstill."""

import asyncio
from dataclasses import replace

import pytest

from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS
from scalpdesk.live.supervision import StaleStreamMonitor, StandstillMonitor
from scalpdesk.venues.contract import Health
from scalpdesk_testing.kit.live import BRISK, VenueDesk, until
from scalpdesk_testing.kit.served import AlpacaBench


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


class MachineClock(SystemClock):
    """The machine's clock, set by hand."""

    seconds = 1_000.0
    behind_ns = 0

    def now_ns(self):
        return int(self.seconds * NANOS_PER_SECOND)


class Standstill:
    """A monitor that has had a sign of life at second 1,000; orders and both data streams are up."""

    def __init__(self, clock=None, **up):
        self.clock = clock or MachineClock()
        self.woken, self.set_back = [], []
        gateway = Gateway(orders=0.0, stocks=0.0, options=0.0)
        gateway.up |= up
        self.monitor = StandstillMonitor(
            gateway,
            self.clock,
            lambda seconds, streams: self.woken.append((seconds, sorted(streams))),
            self.set_back.append,
        )
        self.monitor.tick()

    def passes_over(self, second):
        """Return whether a quote that is read at this second is passed over."""
        read_ns = int(second * NANOS_PER_SECOND)
        return read_ns > self.monitor.limit_ns and self.monitor.is_late(read_ns)

    def tick(self, second):
        self.clock.seconds = second
        self.monitor.tick()


def test_quotes_that_waited_while_the_process_stood_still_are_passed_over():
    desk = Standstill()
    assert not desk.passes_over(1_005.0)
    assert desk.woken == []
    assert desk.passes_over(1_012.0)  # the first thing that a process does as it wakes
    assert desk.woken == [(12.0, ["options", "stocks"])]
    desk.tick(1_012.1)
    assert desk.passes_over(1_012.2)
    desk.monitor.ended("options")
    desk.monitor.ended("orders")
    assert desk.passes_over(1_012.3)
    desk.monitor.ended("stocks")
    assert not desk.passes_over(1_012.4)
    assert len(desk.woken) == 1


def test_a_standstill_is_found_without_a_quote_as_well():
    desk = Standstill(options=False)
    desk.tick(1_000.0 + 8 * 3_600.0)
    assert desk.woken == [(28_800.0, ["stocks"])]
    assert desk.passes_over(1_000.1 + 8 * 3_600.0)


def test_a_connection_whose_end_nobody_reports_holds_quotes_up_for_half_a_minute():
    desk = Standstill()
    desk.tick(1_010.0)
    for second in range(1_011, 1_041):
        assert desk.passes_over(second)
    assert not desk.passes_over(1_040.1)
    assert len(desk.woken) == 1


def test_a_clock_that_is_set_back_is_no_standstill():
    desk = Standstill()
    desk.tick(1_000.0 - 600.0)
    assert not desk.passes_over(1_000.0)  # stamps never run backwards
    desk.tick(1_000.0 - 599.0)
    assert not desk.passes_over(1_000.0)
    assert desk.woken == []


def test_a_clock_that_was_set_back_is_named_once_each_time():
    desk = Standstill()
    for second, behind in enumerate((3_600.0, 3_600.0, 0.0, 60.0, 100.0), 1_001):
        desk.clock.behind_ns = int(behind * NANOS_PER_SECOND)
        desk.tick(float(second))
    assert desk.set_back == [3_600.0, 60.0, 40.0]
    assert desk.woken == []


def test_the_time_of_an_exchange_tells_nothing_of_the_process():
    desk = Standstill(FollowingClock(1))
    assert desk.monitor.limit_ns == NEVER_NS
