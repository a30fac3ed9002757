"""The deadline of expiring options on a desk that strategies share: who is stopped by it, and who is not."""

from datetime import time
from decimal import Decimal

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.broker_terms import known_cutoff
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.live.sessions import SessionCalendar
from scalpdesk_testing.kit.desk import BUY, CLOSE, SELL, DeskOfTwo, HandDesk, order, orders
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book

DEADLINE_NS = new_york_ns(DAY, time(15, 25))
"""Five minutes before Alpaca's last order in SPY options of the day."""
CALL = 1


class SharedDesk(DeskOfTwo):
    """A holds two calls that expire today, b ten shares; the calendar is that of a desk at Alpaca."""

    def __init__(self, *, margin_seconds: float = 300.0, adopted: bool = False) -> None:
        super().__init__()
        book = straddle_book(expiry=DAY)
        book.add(option("C", 500))
        self.desk = HandDesk(self.several, book, limits=self.desk.engine.desk.gate.limits)
        self.desk.engine.desk.view.cutoff = known_cutoff("alpaca")
        self.said: list[tuple[str, str]] = []
        if adopted:
            self.desk.adopt({CALL: (2, "4.00")})
        self.open()
        self.desk.market(500.0)
        if not adopted:
            self.a.want(order(BUY, 2, number=CALL))
        self.b.want(order(BUY, 10))
        self.fill_all()
        self.calendar = SessionCalendar(
            engine=self.desk.engine,
            feed=lambda event: list(self.desk.handle(event)),
            notify=lambda *words: self.said.append(words),
            on_close=list,
            on_morning=list,
            margin_seconds=margin_seconds,
        )
        self.calendar.plan_deadline()

    def fill_all(self) -> None:
        """Quote, and fill at once what is sent."""
        for sent in orders(self.tick()):
            self.desk.fill(sent)

    def until(self, seconds: float) -> Mode:
        """Carry out what is due until so many seconds after the deadline; return the desk's mode."""
        self.desk.now_ns = DEADLINE_NS + int(seconds * NANOS_PER_SECOND)
        while self.calendar.due_ns <= self.desk.now_ns:
            self.calendar.fire(self.desk.now_ns)
        return self.desk.engine.desk.gate.mode

    def offer(self, quantity: int, purpose=CLOSE, number: int = CALL):
        """Let a offer its options; return the order."""
        self.desk.market(500.0)
        self.a.want(order(SELL, quantity, purpose=purpose, number=number))
        (sent,) = orders(self.tick())
        return sent


def test_a_strategy_that_leaves_at_its_deadline_stops_nobody_else():
    """Zero-dte's own exit lies at the instant of the desk's guard: all others stood still after it."""
    two = SharedDesk()
    assert (two.held("a", CALL), two.held("b"), two.calendar.due_ns) == (2, 10, DEADLINE_NS)
    assert two.until(0) is Mode.ACTIVE
    two.desk.fill(two.offer(2))
    assert two.until(600) is Mode.ACTIVE
    assert two.said == []
    two.b.want(order(BUY, 5))
    two.fill_all()
    assert (two.held("a", CALL), two.held("b")) == (0, 15)
    two.check_sums()


@pytest.mark.parametrize("offered", [None, 1])
def test_what_nobody_leaves_in_whole_is_flattened_ten_seconds_after_its_deadline(offered):
    two = SharedDesk()
    assert two.until(0) is Mode.ACTIVE
    if offered:
        two.offer(offered)
    assert two.until(9.9) is Mode.ACTIVE
    assert two.until(10) is Mode.FLATTENING
    ((level, text),) = two.said
    assert level == "alarm"
    assert text.startswith("deadline: the venue stops taking orders in expiring options soon: SPY240304C")
    assert two.desk.engine.desk.gate.desk_mode.state.is_free  # the next day's run begins afresh


def test_an_exit_that_is_not_filled_is_waited_for_a_fifth_of_the_margin():
    two = SharedDesk()
    two.until(0)
    two.offer(2)
    assert two.until(59.9) is Mode.ACTIVE
    assert two.until(60) is Mode.FLATTENING


def test_an_exit_that_ends_unfilled_is_flattened_within_two_seconds():
    two = SharedDesk()
    two.until(0)
    sent = two.offer(2)
    assert two.until(20) is Mode.ACTIVE
    two.desk.reject(sent)
    assert two.until(22) is Mode.FLATTENING


@pytest.mark.rows(("margin_seconds", "seconds"), [(0.0, 0.0), (10.0, 2.0), (300.0, 10.0)])
def test_the_time_of_the_owners_is_never_more_than_a_fifth_of_the_margin(margin_seconds, seconds):
    two = SharedDesk(margin_seconds=margin_seconds)
    due = 300 - margin_seconds
    assert two.calendar.due_ns == DEADLINE_NS + due * NANOS_PER_SECOND
    assert two.until(due + seconds - 0.001) is Mode.ACTIVE
    assert two.until(due + seconds) is Mode.FLATTENING


def test_what_belongs_to_no_strategy_is_flattened_at_the_deadline():
    two = SharedDesk(adopted=True)
    assert two.until(-0.001) is Mode.ACTIVE
    assert two.until(0) is Mode.FLATTENING


def test_a_desk_that_comes_late_is_flattened_at_once_unless_the_exit_works():
    assert SharedDesk().until(61) is Mode.FLATTENING


def test_a_worthless_option_that_nobody_bids_for_stops_nobody_while_it_is_offered():
    """The flattening of the desk would offer it at the smallest price, too, and wait as long."""
    two = SharedDesk()
    two.until(0)
    two.offer(2)
    two.desk.quote(0, 489.99, 490.01)
    two.desk.quote(CALL, 0.0, 0.01)
    assert two.until(299) is Mode.ACTIVE
    two.desk.quote(0, 505.99, 506.01)
    two.desk.quote(CALL, 5.90, 6.10)
    assert two.until(301) is Mode.FLATTENING


def test_a_worthless_option_that_nobody_offers_is_flattened_like_any_other():
    two = SharedDesk()
    two.desk.quote(0, 489.99, 490.01)
    two.desk.quote(CALL, 0.0, 0.01)
    assert two.until(10) is Mode.FLATTENING


def test_an_option_of_a_later_day_has_no_deadline():
    two = SharedDesk()
    two.until(0)
    two.desk.fill(two.offer(2))
    two.a.want(order(BUY, 1, number=3))
    two.fill_all()
    two.calendar.plan_deadline()
    assert (two.held("a", 3), two.until(1_000)) == (1, Mode.ACTIVE)
    assert two.books.of("a").account.cash + two.books.of("b").account.cash < Decimal(100_000)
