"""A loop whose time is counted: no wait, the right order, and a stop where nothing can come."""

import asyncio

import pytest

from scalpdesk_testing.virtual_time import Stuck, VirtualClock, VirtualLoop


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def test_hours_pass_without_waiting(loop):
    loop.run_until_complete(asyncio.sleep(36_000))
    assert loop.time() == pytest.approx(36_000)


def test_what_is_due_first_comes_first(loop):
    order = []

    async def note(name, seconds):
        await asyncio.sleep(seconds)
        order.append((name, round(loop.time(), 6)))

    async def all_of_them():
        await asyncio.gather(note("c", 3), note("a", 0.5), note("b", 2))

    loop.run_until_complete(all_of_them())
    assert order == [("a", 0.5), ("b", 2.0), ("c", 3.0)]


def test_wait_that_nothing_can_end_is_found(loop):
    async def for_ever():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="cannot come"):
        loop.run_until_complete(for_ever())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.1))


def test_time_out_strikes_in_virtual_time(loop):
    async def late():
        async with asyncio.timeout(2.0):
            await asyncio.sleep(5.0)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(late())
    assert loop.time() == pytest.approx(2.0)


def test_clock_tells_market_time_and_jumps_apart_from_it(loop):
    clock = VirtualClock(loop, 1_000_000_000)
    loop.run_until_complete(asyncio.sleep(1.5))
    clock.skew_ns = -7
    assert (clock.true_ns(), clock.now_ns()) == (2_500_000_000, 2_499_999_993)
    assert clock.loop_seconds(clock.true_ns()) == pytest.approx(loop.time())


@pytest.mark.parametrize("seconds", [0.0, 1e-7])
def test_a_program_that_goes_on_and_on_is_stopped(loop, seconds):
    async def turns_for_ever():
        while True:  # noqa: ASYNC110 - the fault that is looked for
            await asyncio.sleep(seconds)

    loop.most_turns = 5_000 if seconds else None
    with pytest.raises(Stuck, match="turns on"):
        loop.run_until_complete(turns_for_ever())
    assert loop.time() < 1.0
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.count_afresh()
    loop.run_until_complete(asyncio.sleep(0.1))


def test_hours_of_work_are_no_endless_program(loop):
    async def works():
        for _ in range(5_000):
            await asyncio.sleep(3.0)

    loop.run_until_complete(works())
    assert loop.time() == pytest.approx(15_000.0)


def test_throttle_that_waits_until_an_instant_is_past_goes_on(loop):
    began, past = loop.time(), []

    def send():
        # as ib_async does with what is above its requests a second
        if loop.time() - began > 1.0:
            past.append(loop.time())
        else:
            loop.call_at(began + 1.0, send)

    send()
    loop.run_until_complete(asyncio.sleep(2.0))
    assert past == [pytest.approx(1.0, abs=1e-5)]
