"""Before a further session: the next run, or a desk that goes on and learns again."""

import asyncio
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from scalpdesk import pricing
from scalpdesk.assembly import load_market
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.enums import Mode, OperatorCause
from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import ForecastEvent, RateEvent
from scalpdesk.exchange.admin import Advance
from scalpdesk.exchange.launch import LaunchPlan, build_server, tape_source
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.run import carry_out
from scalpdesk.live.sessions import ROLLED, DailyRollover, OrderlyStop, StopMode
from scalpdesk.live.supervision import Supervisor
from scalpdesk.simulation.hours import TapeHours
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy, in_mode
from scalpdesk_testing.kit.live import until
from tests.live.killing import plan_for

MONDAY, TUESDAY = session_on(date(2018, 2, 5)), session_on(date(2018, 2, 6))
RATE = RateEvent(1, 1, (1.0,), (0.03,))


class Bench:
    def __init__(
        self, mode=Mode.ACTIVE, *, holds=False, orders=False, rolls=True, answer=(RATE,), expires=False
    ):
        desk = HandDesk(Scripted())
        desk.adopt({0: (1, "1")} if holds else {})
        if orders:
            desk.engine.desk.orders.submit(buy(), 1)
        if expires:
            desk.operate("flatten", cause=OperatorCause.DEADLINE)
        else:
            in_mode(desk, mode)
        self.stop = OrderlyStop(desk.engine, lambda _: None)
        self.answer = answer
        self.put = []
        self.said = []
        self.supervisor = Supervisor(lambda *words: self.said.append(words), self.said.append)
        self.rollover = DailyRollover(
            engine=desk.engine,
            stop=self.stop,
            supervisor=self.supervisor,
            put=self.put.append,
            update=self.learn,
            rolls=rolls,
        )

    async def learn(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def comes(self):
        async def before_open():
            self.rollover.before_open()
            await asyncio.sleep(0)

        asyncio.run(before_open())
        return self


def test_a_flat_desk_at_work_ends_for_the_next_run():
    bench = Bench().comes()
    assert bench.stop.reason == ROLLED
    assert bench.put == []


@pytest.mark.rows("how", [{"holds": True}, {"orders": True}, {"mode": Mode.REDUCING}, {"mode": Mode.HALTED}])
def test_one_that_holds_or_was_stopped_goes_on_and_learns_anew(how):
    bench = Bench(**how).comes()
    assert bench.stop.reason == ""
    assert bench.put == [RATE]
    assert any("knows no contracts listed since" in text for _, text in bench.said)


def test_flattening_for_an_expiry_is_nobodys_stop_and_a_persons_is():
    assert Bench("FLATTENING", expires=True).comes().stop.reason == ROLLED
    assert Bench("FLATTENING").comes().stop.reason == ""


def test_a_run_that_is_not_to_roll_learns_anew_and_says_nothing():
    bench = Bench(rolls=False).comes()
    assert (bench.stop.reason, bench.put, bench.said) == ("", [RATE], [])


def test_a_stop_under_way_is_not_overtaken():
    bench = Bench()
    bench.stop.mode = StopMode.FLATTEN
    assert bench.comes().stop.reason == ""


def test_a_venue_that_does_not_answer_leaves_yesterdays_figures():
    bench = Bench(holds=True, answer=RetryError("no answer")).comes()
    assert bench.put == []
    assert bench.said[-1][0] == "warning"


@dataclass
class Address:
    """Where an exchange of this process is reached, and its keys."""

    url: str
    key: str
    secret: str
    venue: str = "alpaca"


def two_days():
    """Return an exchange that stands still at the open of the first of two sessions; the second is quiet."""
    settings = load_settings("gamma-scalper", environ={}, cwd=Path())
    tape = load_market(settings, "embedded", underlying="SPY", start=MONDAY.day, end=MONDAY.day, seed=1)
    source = tape_source(tape)
    source.hours = TapeHours((MONDAY, TUESDAY))
    return build_server(LaunchPlan(source, speed=0.0, trading_limit=0, data_limit=0), SystemClock())


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.second
def test_the_next_day_is_a_run_of_its_own_with_a_forecast(tmp_path, socket_enabled):
    pricing.warm_up()
    server = two_days()
    desks, said = [], []

    async def passes(desk, to_ns):
        """Let the exchange come to an instant, and the desk see it."""
        server.admin.advance(Advance(to_ns=to_ns))
        await until(lambda: desk.engine.now_ns >= to_ns - 60_000_000_000 or desk.runner.state.reason, 0.01)

    async def play():
        await server.start()
        keys = server.keyring.credentials[0]
        plan = plan_for(
            Address(server.url, keys.key, keys.secret), tmp_path, "entry.not_before=15:29", contracts=4
        )
        plan = replace(plan, runner=replace(plan.runner, rolls=True, reconcile_seconds=0.1))
        running = asyncio.create_task(
            carry_out(plan, notify=lambda *words: said.append(words), on_ready=desks.append)
        )
        await until(lambda: desks, 0.01)
        await until(lambda: desks[0].runner.state.recovered_seconds is not None, 0.01)
        server.world.advance_to(MONDAY.close_ns - 1)
        await passes(desks[0], MONDAY.close_ns + 60_000_000_000)
        await until(lambda: desks[0].runner.state.closes == 1, 0.01)
        await until(lambda: desks[0].runner.calendar.session.day == TUESDAY.day, 0.01)
        await passes(desks[0], TUESDAY.open_ns - 300_000_000_000)
        await until(lambda: len(desks) == 2 or running.done(), 0.01)
        await until(lambda: desks[1].runner.state.recovered_seconds is not None, 0.01)
        desks[1].runner.stop(StopMode.LEAVE)
        summary = await running
        await server.stop()
        return summary

    summary = asyncio.run(asyncio.wait_for(play(), 600))
    first, second = desks
    assert summary["run_id"] == second.header.run_id != first.header.run_id
    assert JournalReader(first.run_dir).sealed
    assert (first.header.data["session"], second.header.data["session"]) == ("2018-02-05", "2018-02-06")
    for desk, vol in zip(desks, (0.1568, 0.3614), strict=True):  # those of a backtest
        told = [event for step, _ in JournalReader(desk.run_dir).steps() for event in step]
        (forecast,) = [one for one in told if isinstance(one, ForecastEvent)]
        assert forecast.vol == pytest.approx(vol, abs=1e-3)
        assert any("daily bars of the venue" in note for note in desk.header.data["notes"])
    assert ("info", ROLLED) in said
