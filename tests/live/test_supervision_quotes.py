"""An instrument without a new quote is found while the others go on, asked for again, and ever less often."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import TradingHalt
from scalpdesk.live.supervision import CHECK_SECONDS, LONGEST_PAUSES, StaleQuoteMonitor
from scalpdesk_testing.kit.live import OPTIONS, RunnerBench

SHARE, CALL, PUT = 0, 1, 2


def looks(monitor, seconds, stamps):
    """Return when each instrument was found, looking every half second; ``stamps`` by second."""
    found = []
    for half in range(2 * seconds):
        now = half / 2.0
        found += [(now, number) for number, _ in monitor.due(now, partial(stamps, now))]
    return found


def test_an_instrument_is_asked_for_after_its_time_then_after_ever_longer_pauses():
    monitor = StaleQuoteMonitor(60.0)
    found = looks(monitor, 6_000, lambda now: {SHARE: 7, CALL: int(now)})
    assert {number for _, number in found} == {SHARE}
    times = [at for at, _ in found]
    pauses = [round((later - at) / 60.0) for at, later in pairwise(times)]
    assert times[0] == 61.0
    assert pauses[:6] == [2, 4, 8, 16, 16, 16]
    assert max(pauses) == LONGEST_PAUSES


def test_a_new_quote_a_pause_of_the_session_and_zero_seconds_begin_anew():
    monitor = StaleQuoteMonitor(60.0)
    found = looks(monitor, 150, lambda now: {SHARE: now >= 50.0})
    assert [at for at, _ in found] == [111.0]
    monitor.begin()
    assert list(monitor.due(151.0, lambda: {SHARE: 1})) == []
    assert list(monitor.due(211.0, lambda: {SHARE: 1})) == []
    assert list(monitor.due(212.5, lambda: {SHARE: 1})) == [(SHARE, 61.5)]
    assert looks(StaleQuoteMonitor(0.0), 150, lambda _: {SHARE: 1}) == []


@given(st.lists(st.floats(0.1, 400.0), max_size=30), st.floats(1.0, 90.0))
def test_no_instrument_is_asked_for_within_its_time_after_a_quote(gaps, silent_seconds):
    monitor, now, stamp, quoted_at = StaleQuoteMonitor(silent_seconds), 0.0, 0, 0.0
    list(monitor.due(now, lambda: {SHARE: 0}))
    for gap in gaps:
        steps = int(gap / CHECK_SECONDS)
        for _ in range(steps):
            now += CHECK_SECONDS
            for _, seconds in monitor.due(now, partial(dict, {SHARE: stamp})):
                assert seconds > silent_seconds
                assert now - quoted_at > silent_seconds
        stamp, quoted_at, now = stamp + 1, now, now + gap - steps * CHECK_SECONDS


BRISK = replace(OPTIONS, silent_seconds=4.0)


def test_a_desk_asks_for_its_share_while_the_options_tick():
    bench = RunnerBench(options=BRISK)

    async def play():
        for second in range(20):
            if second < 3:
                bench.gateway.quote(500.0 + second, 500.1 + second)
            bench.gateway.quote(5.0 + second, 5.1 + second, CALL)
            await bench.wait(1.0)

    bench.play(play)
    assert {numbers for _, numbers in bench.gateway.renewed} == {(SHARE,)}
    assert len(bench.gateway.renewed) == 2  # after 4 s and 8 s more
    assert bench.gateway.reconnected == []
    assert any(text.startswith("SPY silent:") for text in bench.notified("warning"))


def test_a_held_option_is_asked_for_and_one_of_the_chain_is_not():
    bench = RunnerBench(options=BRISK)
    bench.gateway.holdings = {CALL: Decimal(1)}

    async def play():
        for second in range(8):
            bench.gateway.quote(500.0 + second, 500.1 + second)
            await bench.wait(1.0)

    bench.play(play)
    assert {numbers for _, numbers in bench.gateway.renewed} == {(CALL,)}


@pytest.mark.rows("why", ["halted", "closed", "reconnected"])
def test_nothing_is_asked_for_in_a_halt_out_of_session_or_while_its_stream_is_replaced(why):
    bench = RunnerBench(options=BRISK, at=-3_600.0 if why == "closed" else 1_800.0)
    if why == "reconnected":
        bench.gateway.silent = {"stocks": 4.5}

    async def play():
        if why == "halted":
            now_ns = bench.gateway.now_ns
            bench.gateway.put(TradingHalt(SHARE, now_ns, now_ns, is_halted=True))
        await bench.wait(20.0)
        await asyncio.sleep(0)

    bench.play(play)
    assert bench.gateway.renewed == []
