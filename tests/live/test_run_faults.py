"""A fault of the desk's own code ends no run: it goes on from its journal, reducing, in the same process."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.core.events import FailedEvent, OperatorEvent, RateEvent
from scalpdesk.core.intents import CancelOrder
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live import assembly, supervision
from scalpdesk.live.sessions import RunEnd, StopMode
from scalpdesk.live.status import ask
from scalpdesk.live.supervision import FAULT_WINDOW_SECONDS, MOST_FAULTS, FaultHistory
from scalpdesk_testing.kit.desk import buy
from scalpdesk_testing.kit.live import Life, until

ERRORS = (AssertionError, KeyError, StopError)


@pytest.fixture
def life(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "FAULT_PAUSE_SECONDS", 0.01)
    made = Life(tmp_path, monkeypatch)
    made.prepares = lambda gateway: gateway.holdings.update({0: Decimal(5)})
    return made


async def recovered(life, lives):
    """Wait until the desk follows its market in its n-th life; return it."""
    await until(lambda: len(life.desks) == lives, 0.001)
    desk = life.desks[-1]
    await until(lambda: desk.runner.state.recovered_seconds is not None, 0.001)
    return desk


def raise_on(desk, kind, error):
    """Let the engine of this life raise on a kind of event, after its effects."""
    handle = desk.engine.handle

    def raising(event):
        outputs = handle(event)
        if type(event) is kind:
            raise error("poison")
        return outputs

    desk.engine.handle = raising


def poison(desk, error=ValueError):
    """Let the engine of this life raise on rates, which come."""
    raise_on(desk, RateEvent, error)
    desk.gateway.put(RateEvent(1, 1, (1.0,), (0.03,)))


def journaled(desk):
    return [event for step, _ in JournalReader(desk.run_dir).steps() for event in step]


def ends_of(life):
    return [item for item in life.log if type(item) is tuple and item[0] == "end"]


@pytest.mark.rows("error", ERRORS)
def test_the_desk_goes_on_from_its_journal_and_only_reduces(life, error):
    async def goes_on(desk):
        poison(desk, error)
        second = await recovered(life, 2)
        assert second.engine is not desk.engine
        assert second.engine.desk.gate.mode is Mode.REDUCING
        assert second.engine.desk.positions.quantity(0) == 5
        answer = await asyncio.to_thread(ask, second.run_dir, {"do": "status"})
        assert (answer["run"], answer["mode"]) == ("running", "REDUCING")
        await second.runner.operate("resume", "looked at", "me")
        assert second.engine.desk.gate.mode is Mode.ACTIVE
        second.runner.stop(StopMode.LEAVE)

    summary = life.run(goes_on, watchdog=life.watchdog)
    first, second = life.desks
    assert (first.run_dir, summary["end"]) == (second.run_dir, RunEnd.STOPPED)
    (failed,) = (event for event in journaled(second) if type(event) is FailedEvent)
    assert (type(failed.event), "poison" in failed.why) == (RateEvent, True)
    fault, *_ = (event for event in journaled(second) if isinstance(event, OperatorEvent))
    assert (fault.cause, fault.action) == ("fault", "reduce")
    assert any(level == "alarm" and "poison" in text for level, text in life.said)
    # one watchdog over both lives, which hears of no end before the last
    assert {item[1] for item in life.log if type(item) is tuple and item[0] == "begin"} == {first.run_dir}
    assert ends_of(life) == [("end", True, True)]


def test_its_working_orders_are_cancelled_before_it_goes_on(life):
    async def goes_on(desk):
        name = desk.engine.desk.orders.submit(buy(), desk.engine.now_ns).client_order_id
        poison(desk)
        second = await recovered(life, 2)
        places = [life.log.index(item) for item in (CancelOrder(name), ("closed", True))]
        assert places == sorted(places)
        second.runner.stop(StopMode.LEAVE)

    life.run(goes_on)


@pytest.mark.rows(("times", "mode"), [(1, Mode.REDUCING), (2, Mode.REDUCING), (3, Mode.HALTED)])
def test_from_the_third_fault_within_ten_minutes_on_it_stays_up_and_sends_nothing(life, times, mode):
    async def goes_on(desk):
        for number in range(times):
            poison(desk)
            desk = await recovered(life, number + 2)
        assert desk.engine.desk.gate.mode is mode
        assert not desk.runner.state.reason
        desk.runner.stop(StopMode.LEAVE)

    assert life.run(goes_on)["end"] is RunEnd.STOPPED


@pytest.mark.parametrize("command", ["flatten", "halt"])
def test_a_fault_lowers_no_mode_that_a_person_has_set(life, command):
    async def goes_on(desk):
        await desk.runner.operate(command, "by hand", "me")
        for number in range(MOST_FAULTS):
            poison(desk)
            desk = await recovered(life, number + 2)
        assert desk.engine.desk.gate.mode is (Mode.HALTED if command == "halt" else Mode.FLATTENING)
        desk.runner.stop(StopMode.LEAVE)

    life.run(goes_on)


def test_a_command_on_which_the_desk_fails_is_carried_out_by_its_next_life(life):
    async def goes_on(desk):
        raise_on(desk, OperatorEvent, RuntimeError)
        with pytest.raises(StopError):
            await desk.runner.operate("halt", "by hand", "me")
        second = await recovered(life, 2)
        assert second.engine.desk.gate.mode is Mode.HALTED
        assert second.engine.desk.gate.desk_mode.state.account.who == "me"
        second.runner.stop(StopMode.LEAVE)

    life.run(goes_on)


def test_a_stop_that_was_asked_for_is_asked_for_again(life):
    async def goes_on(desk):
        raise_on(desk, OperatorEvent, ValueError)
        desk.runner.stop(StopMode.HOLD)

    summary = life.run(goes_on)
    assert (len(life.desks), summary["ended"]) == (2, "stopped: hold")


def test_a_venue_that_does_not_answer_after_a_fault_is_asked_again(life):
    refusals = [RetryError("no line"), RetryError("no line")]

    def prepare(gateway):
        gateway.holdings[0] = Decimal(5)
        if life.desks and refusals:
            error = refusals.pop()

            async def connect(_=()):
                raise error

            gateway.connect = connect

    async def goes_on(desk):
        poison(desk)
        second = await recovered(life, 2)
        second.runner.stop(StopMode.LEAVE)

    life.prepares = prepare
    life.run(goes_on)
    assert refusals == []


def test_a_fault_while_a_new_run_takes_over_its_account_ends_it(life):
    """Nothing was sent yet: what cannot be taken over is refused at the start."""

    def ready(desk):
        life.desks.append(desk)
        desk.engine.handle = lambda event: 1 / 0

    life.on_ready = ready
    with pytest.raises(StopError, match="ZeroDivisionError"):
        life.run()
    life.plan = replace(life.plan, resume=True)
    with pytest.raises(StopError, match="failed as it took over its account"):
        life.run()


def test_a_desk_that_can_neither_go_on_nor_begin_again_ends_and_its_watchdog_acts(life):
    def prepare(gateway):
        gateway.holdings[0] = Decimal(5)
        if life.desks:

            async def connect(_=()):
                raise StopError("the account is closed")

            gateway.connect = connect

    async def ends(desk):
        poison(desk)

    life.prepares = prepare
    with pytest.raises(StopError, match="the account is closed"):
        life.run(ends, watchdog=life.watchdog)
    assert len(life.desks) == 1
    assert sum("cannot go on yet" in text for _, text in life.said) == 5
    assert ends_of(life) == []  # the command ends its line, uncleanly


def test_faults_are_counted_within_ten_minutes_and_wait_ever_longer():
    faults, seen = FaultHistory(), []
    booted = 2.0 * FAULT_WINDOW_SECONDS  # a loop counts from the machine's start
    for at in (0.0, 10.0, 20.0, 20.0 + FAULT_WINDOW_SECONDS):
        faults.note(booted + at)
        seen.append((faults.pause(), faults.halts))
    assert seen == [(0.5, False), (1.0, False), (2.0, True), (0.5, False)]


@pytest.mark.parametrize("tries", [1, 2])
def test_a_replay_that_fails_once_or_twice_is_tried_again(life, monkeypatch, tries):
    left = [None] * tries
    replay = assembly.rebuild

    def failing(*given, **more):
        if left:
            left.pop()
            raise StopError("the replay fails")
        return replay(*given, **more)

    monkeypatch.setattr(assembly, "rebuild", failing)

    async def goes_on(desk):
        poison(desk)
        second = await recovered(life, 2)
        assert (second.run_dir, second.engine.desk.gate.mode) == (desk.run_dir, Mode.REDUCING)
        second.runner.stop(StopMode.LEAVE)

    life.run(goes_on)
    assert left == []


def test_a_run_that_cannot_be_replayed_is_followed_by_another_that_takes_over_what_is_held(life, monkeypatch):
    def failing(*_, **__):
        raise StopError("the replay fails")

    monkeypatch.setattr(assembly, "rebuild", failing)

    async def goes_on(desk):
        poison(desk)
        second = await recovered(life, 2)
        assert second.run_dir != desk.run_dir
        assert second.engine.desk.gate.mode is Mode.REDUCING
        assert second.engine.desk.positions.quantity(0) == 5
        second.runner.stop(StopMode.LEAVE)

    life.run(goes_on, watchdog=life.watchdog)
    *_, begun = (item[1] for item in life.log if type(item) is tuple and item[0] == "begin")
    assert begun == life.desks[1].run_dir
    assert ends_of(life) == [("end", True, True)]
