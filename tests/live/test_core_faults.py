"""An event on which the engine raises: recorded without effect, and the desk goes on as if it never came."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.events import (
    AccountSnapshot,
    FailedEvent,
    OperatorEvent,
    OrderAccepted,
    OrderFilled,
    QuoteEvent,
    SessionEvent,
    TimerEvent,
)
from scalpdesk.engine.timers import Timers
from scalpdesk.journal.codec import encode_events, encode_outputs
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.core import LiveCore
from scalpdesk.live.recovery import rebuild
from scalpdesk.live.supervision import FaultError
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.small_desk import small_header

ERRORS = (RuntimeError, ValueError, AssertionError, KeyError, ZeroDivisionError, FaultError)


class Day(AlpacaTrial):
    """A quiet day of a desk that trades and hedges, and the events that reached it."""

    def __init__(self, folder, seed=4):
        super().__init__(quiet_schedule(seed), folder)
        self.fed = []
        self.run()

    def watch(self, event, feed):
        self.fed.append(event)
        return super().watch(event, feed)

    def header(self):
        return small_header(self.market, self.schedule.seed)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return Day(tmp_path_factory.mktemp("day"))


class Life:
    """An engine and its journal on disk, from one fault to the next."""

    def __init__(self, day, run_dir, *, is_first=True):
        self.engine, timers = day.fresh_engine(), Timers()
        if is_first:
            self.journal = JournalWriter.create(run_dir, day.header())
        else:
            self.journal = JournalWriter.reopen(run_dir, started_ns=1)
            self.rebuilt = rebuild(JournalReader(run_dir), self.engine)
            timers = self.rebuilt.timers
        self.outputs = []
        watchers = (lambda _, outputs: self.outputs.append(encode_outputs(outputs)),)
        self.core = LiveCore(self.engine, self.journal, timers, watchers)

    def feed(self, events):
        for event in events:
            self.core.feed(event)
        self.core.inform_watchers()
        return self

    def fail_on(self, event, error, *, changes):
        """Let the engine raise on an event, before or after its effects."""
        handle = self.engine.handle

        def raising(event):
            if changes:
                handle(event)
            raise error("poison")

        self.engine.handle = raising
        with pytest.raises(FaultError, match="poison"):
            self.core.feed(event)
        self.journal.abandon()


def books(life):
    desk = life.engine.desk
    held = {line.instrument_id: (line.quantity, line.average_price) for line in desk.positions.held()}
    orders = {name: (order.state, order.filled) for name, order in desk.orders.orders.items()}
    return desk.cash(), held, orders


def reduce_at(now_ns):
    who = OperatorCause.FAULT
    return OperatorEvent(now_ns, now_ns, OperatorAction.REDUCE, "poison", who.value, who)


def first_of(day, kind):
    """Return the place of the first event of a kind once the day's account is known."""
    begins = next(place for place, event in enumerate(day.fed) if type(event) is AccountSnapshot)
    return next(place for place in range(begins + 1, len(day.fed)) if type(day.fed[place]) is kind)


@given(
    place=st.integers(0, 10_000),
    error=st.sampled_from(ERRORS),
    changes=st.booleans(),
)
@settings(deadline=None, max_examples=8)
def test_after_an_event_that_raises_the_desk_decides_as_if_it_never_came(
    day, tmp_path_factory, place, error, changes
):
    begins = first_of(day, SessionEvent)
    at = begins + place % (len(day.fed) - begins)
    before, poison, after = day.fed[:at], day.fed[at], day.fed[at + 1 :]
    folder = tmp_path_factory.mktemp("fault")
    life = Life(day, folder / "run").feed(before)
    now_ns = max(life.engine.now_ns, poison.ts_recv_ns)
    life.fail_on(poison, error, changes=changes)
    life = Life(day, folder / "run", is_first=False)
    assert life.rebuilt.failed is not None
    life.feed([reduce_at(now_ns), *after])
    never = Life(day, folder / "never").feed(before)
    known = len(never.outputs)
    never.feed([reduce_at(now_ns), *after])
    assert life.outputs == never.outputs[known:]
    assert life.engine.desk.gate.kept_mode is never.engine.desk.gate.kept_mode is not Mode.ACTIVE
    assert books(life) == books(never)
    life.journal.abandon()
    never.journal.abandon()
    again = rebuild(JournalReader(folder / "run"), day.fresh_engine())  # refuses other outputs
    assert again.failed is None


def test_the_day_of_the_law_trades_hedges_and_fires_timers(day):
    counts = Counter(type(event) for event in day.fed)
    assert counts[OrderFilled] >= 6
    assert counts[TimerEvent] >= 3
    assert counts[QuoteEvent] > 100


@pytest.mark.rows("kind", [QuoteEvent, TimerEvent, OrderAccepted, OrderFilled])
def test_an_event_that_raises_is_recorded_as_such_and_its_core_takes_no_other(day, tmp_path, kind):
    at = first_of(day, kind)
    life = Life(day, tmp_path / "run").feed(day.fed[:at])
    life.fail_on(day.fed[at], ValueError, changes=True)
    with pytest.raises(FaultError):
        life.core.feed(day.fed[at + 1])
    *_, last = (event for step, _ in JournalReader(tmp_path / "run").steps() for event in step)
    assert type(last) is FailedEvent
    assert encode_events([last.event]) == encode_events([day.fed[at]])
    assert "ValueError: poison" in last.why


def test_an_execution_that_raises_comes_again_and_after_the_second_time_its_order_is_over(day, tmp_path):
    at = first_of(day, OrderFilled)
    fill = day.fed[at]
    Life(day, tmp_path / "run").feed(day.fed[:at]).fail_on(fill, KeyError, changes=True)
    once = Life(day, tmp_path / "run", is_first=False)
    orders = once.engine.desk.orders
    assert fill.client_order_id in orders.live
    assert orders.left == {}
    once.fail_on(fill, KeyError, changes=True)
    twice = Life(day, tmp_path / "run", is_first=False).engine.desk
    assert fill.client_order_id not in twice.orders.live
    assert list(twice.orders.left) == [fill.execution_id]
    assert not twice.positions.held()
