"""``scalpdesk run`` at ``scalpdesk exchange`` over a split: the backtest's books and decisions."""

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.enums import ChangeCause, SessionPhase
from scalpdesk.core.events import (
    AccountSnapshot,
    HeldPosition,
    OrderFilled,
    PositionChanged,
    PriceAdjustmentEvent,
    QuoteEvent,
    SessionEvent,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.datasets.embedded import market
from scalpdesk.exchange.admin import Advance
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.sessions import session_on
from scalpdesk.live.core import LiveCore
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.reconciler import is_carried
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import SessionCalendar, StopMode
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.tape_reader import price_adjustments
from scalpdesk.venues.contract import VenueActivity, VenueClock
from scalpdesk_testing.kit.desk import Scripted, build_engine
from scalpdesk_testing.kit.live import KeptJournal, until
from scalpdesk_testing.kit.live_session import Played, Wanted, backtest, differing, rows
from scalpdesk_testing.kit.tape import quote

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("socket_enabled")]
DAYS = date(2016, 3, 10), date(2016, 3, 11)
RATIO = 4
SECOND_NS = 10**9
KEPT = ("buy_until=23:00", "sell_until=23:30", "profit_target=5", "stop_usd=50", "volatility=0.12")
"""Shares that st0cka buys stay over the night."""


def tape_over_a_split():
    """Return two minutes before a close and two after the next open; a share became four in between."""
    whole = market.reconstruct_span(*DAYS, seed=1)
    first, second = whole.sessions

    def cut(columns):
        stamps = columns.ts_ns
        is_near = (stamps >= first.close_ns - 120 * SECOND_NS) & (stamps <= second.open_ns + 120 * SECOND_NS)
        return columns.take(is_near & (columns.instrument_id == 0))

    quotes = cut(whole.quotes.whole())
    shift = np.where(quotes.ts_ns <= first.close_ns, (RATIO - 1) * 0.5 * (quotes.bid + quotes.ask), 0.0)
    split = CorporateAction(symbol="SPY", ex_date=DAYS[1], kind=ActionKind.SPLIT, ratio=Decimal(RATIO))
    return replace(
        whole,
        instruments=Instruments([Equity("SPY")]),
        quotes=replace(quotes, bid=quotes.bid + shift, ask=quotes.ask + shift),
        bars=None,
        open_interest={},
        dividends=(),
        morning=None,
        actions=(split,),
    )


class Night:
    """Plays the tape at an exchange, and a desk there second by second."""

    def __init__(self, folder, flat_minutes) -> None:
        self.folder, self.flat_minutes = folder, flat_minutes
        self.tape = tape_over_a_split()
        plan = LaunchPlan(TapeSource(self.tape), speed=0.0, trading_limit=0, data_limit=0)
        self.server = build_server(plan, SystemClock())
        self.desks, self.said = [], []

    def plan(self):
        keys = self.server.keyring.credentials[0]
        settings = load_settings(
            "st0cka",
            overrides=(
                *KEPT,
                f"flat_minutes_before_close={self.flat_minutes}",
                "venue.forecast=false",
                "venue.roll=false",
                "rates.flat=0.0",
                f"desk.runs_dir={self.folder / 'runs'}",
            ),
            environ={"TRADING_API_KEY": keys.key, "TRADING_API_SECRET": keys.secret},
            cwd=self.folder,
        )
        options = RunnerOptions(
            absent_after_seconds=0.5,
            confirm_seconds=0.05,
            resolve_seconds=0.1,
            reconcile_seconds=0.2,
            stop=StopMode.LEAVE,
        )
        state = self.folder / "state"
        return LivePlan(
            settings, "alpaca", url=self.server.url, state=state, runner=options, follows_venue=True
        )

    async def passes(self, to_ns):
        """Let the exchange come to an instant quote by quote, and the desk answer each."""
        (desk,) = self.desks
        stamps = self.tape.quotes.ts_ns
        now_ns = self.server.world.now_ns
        for at_ns in [*stamps[(stamps > now_ns) & (stamps < to_ns)].tolist(), to_ns]:
            self.server.admin.advance(Advance(to_ns=at_ns))
            if at_ns in stamps:
                await until(lambda at_ns=at_ns: desk.engine.now_ns >= at_ns, 0.001)
            await until(lambda: not desk.gateway.health().in_flight, 0.001)

    async def play(self):
        first, second = self.tape.sessions
        await self.server.start()
        running = asyncio.create_task(
            carry_out(self.plan(), notify=lambda *words: self.said.append(words), on_ready=self.desks.append)
        )
        await until(lambda: self.desks or running.done(), 0.01)
        (desk,) = self.desks
        await until(lambda: desk.runner.state.recovered_seconds is not None, 0.01)
        await self.passes(first.close_ns + 60 * SECOND_NS)
        await until(lambda: desk.runner.state.closes == 1, 0.01)
        await until(lambda: desk.runner.calendar.session.day == DAYS[1], 0.01)
        await self.passes(second.open_ns - 300 * SECOND_NS)
        await until(lambda: desk.engine.desk.market.going_ex(second.open_ns), 0.01)
        await self.passes(second.open_ns + 121 * SECOND_NS)
        view = desk.runner.queries.latest
        await until(lambda: desk.runner.queries.latest is not view, 0.01)
        truth = self.server.admin.state()
        desk.runner.stop(StopMode.LEAVE)
        summary = await running
        await self.server.stop()
        return Played(Wanted(day=DAYS[0], strategy="st0cka"), truth, summary, desk.run_dir, 0.0)


def lived(folder, flat_minutes):
    """Return the night and what both sides of it were left with."""
    night = Night(folder, flat_minutes)
    return night, asyncio.run(asyncio.wait_for(night.play(), 60))


def assert_books_and_event(night, played):
    """The desk has the exchange's cash and shares, and had the backtest's event once.

    The exchange charges no fees, as the venue's paper account does; the desk books its schedule.
    """
    fees = sum(fill[6] for fill in played.desk_fills())
    assert fees > 0
    assert played.summary["differences"] == []
    assert played.desk_positions() == played.truth_positions()
    assert played.desk_cash() == played.truth_cash() - fees
    told = [one for one in played.events if isinstance(one, PriceAdjustmentEvent)]
    assert len(told) >= 2  # the evening's list and the morning's
    (known,) = played.engine.desk.market.adjustments
    (wanted,) = price_adjustments(night.tape, night.tape.sessions[1])
    assert msgspec.structs.replace(known, ts_recv_ns=wanted.ts_recv_ns) == wanted


def in_one_process(night, played):
    """Return the decisions of the run and those of its backtest, and the backtest."""
    seen = min(one.ts_event_ns for one in played.events if isinstance(one, QuoteEvent))
    quotes = night.tape.quotes
    heard = quotes.take(quotes.ts_ns >= seen)  # the first instant is played before anybody can listen
    alone = backtest(played, replace(night.tape, quotes=heard), arrivals=played.arrivals())
    until_ns = int(quotes.ts_ns[-1])
    live, tested = (rows(each, played.symbols, until_ns) for each in (played.outputs, alone.outputs))
    return live, tested, alone


def test_shares_held_over_a_split_are_rescaled_once_and_so_is_what_they_are_to_be_sold_at(tmp_path):
    night, played = lived(tmp_path, 0.000001)
    assert_books_and_event(night, played)
    live, tested, alone = in_one_process(night, played)
    open_ns = night.tape.sessions[1].open_ns
    for changes in ([one for one in played.events if isinstance(one, PositionChanged)], alone.changes):
        assert [(one.quantity_change, one.ts_event_ns) for one in changes] == [(6, open_ns)]
    sales = [
        next(row.orders for row in rows if row.ts_us >= open_ns // 1_000 and row.orders)
        for rows in (live, tested)
    ]
    assert sales[0] == sales[1] == (("SPY", "sell", Decimal(8), "limit", Decimal("199.9075")),)


def test_decisions_after_the_night_of_a_split_are_the_backtests(tmp_path):
    """Those before it end with a cancel, which takes its time over the wire and no time in a backtest."""
    night, played = lived(tmp_path, 1.0)
    assert_books_and_event(night, played)
    live, tested, alone = in_one_process(night, played)
    open_us = night.tape.sessions[1].open_ns // 1_000
    live, tested = ([row for row in rows if row.ts_us >= open_us] for rows in (live, tested))
    assert len(live) >= 2
    assert differing(live, tested) == ([], [])
    assert live == tested
    open_ns, last_ns = night.tape.sessions[1].open_ns, int(night.tape.quotes.ts_ns[-1])
    filled = [one for one in alone.fills if open_ns <= one.ts_event_ns <= last_ns]
    told = [one for one in played.events if isinstance(one, OrderFilled) and one.ts_event_ns >= open_ns]
    assert filled
    assert [(one.client_order_id, one.quantity, one.price) for one in filled] == [
        (one.client_order_id, one.quantity, one.price) for one in told
    ]


MONDAY, TUESDAY = map(session_on, DAYS)
SPLIT = PriceAdjustmentEvent(InstrumentId(0), TUESDAY.open_ns, TUESDAY.open_ns - 600 * SECOND_NS, 0.25, 4.0)
HELD = 100
MORE = Decimal(3 * HELD)


class Morning:
    """A desk that holds shares over the night, its two sources of a split in any order."""

    def __init__(self, held=HELD) -> None:
        self.engine = build_engine(Scripted(), Instruments([Equity("SPY")]), limits=RiskLimits())
        handle, open_ns = self.engine.handle, MONDAY.open_ns
        handle(quote(0, open_ns, 400.0, 400.02))
        line = HeldPosition(InstrumentId(0), Decimal(held), Decimal(400))
        handle(AccountSnapshot(open_ns, open_ns, Decimal(100_000), (line,)))
        for phase, at_ns in ((SessionPhase.OPEN, open_ns), (SessionPhase.CLOSE, MONDAY.close_ns)):
            handle(SessionEvent(at_ns, at_ns, MONDAY.day.isoformat(), phase, open_ns, MONDAY.close_ns))

    def account_shows_it(self, at_ns, units=MORE, paid=Decimal(0)):
        """Book the account's own line; venues stamp it with the day, or when their books are done."""
        now_ns = max(at_ns, self.engine.now_ns)
        cause = ChangeCause.CORPORATE_ACTION
        line = PositionChanged(
            InstrumentId(0),
            at_ns,
            now_ns,
            cause,
            units,
            Decimal(0),
            paid,
            "activity-1/SPLIT",
        )
        self.engine.handle(line)

    def list_shows_it(self):
        self.engine.handle(SPLIT)

    def opens(self):
        calendar = SessionCalendar(
            engine=self.engine,
            feed=lambda event: list(self.engine.handle(event)),
            notify=lambda *_: None,
            on_close=list,
            on_morning=lambda: None,
            margin_seconds=300.0,
        )
        clock = VenueClock(TUESDAY.open_ns - 1, False, TUESDAY.open_ns, TUESDAY.close_ns)
        calendar.plan(clock, clock.now_ns)
        calendar.fire(TUESDAY.open_ns)

    def reconciled(self):
        """Return whether the account's line is still there to be booked."""
        core = LiveCore(self.engine, KeptJournal())
        line = VenueActivity(
            "1/SPLIT", "SPLIT", ChangeCause.CORPORATE_ACTION, "SPY", MORE, Decimal(0), Decimal(0),
            TUESDAY.open_ns,
        )  # fmt: skip
        return not is_carried(core.engine, line)


EVENING_NS, NIGHT_NS = MONDAY.close_ns + 4 * 3_600 * SECOND_NS, TUESDAY.open_ns - 4 * 3_600 * SECOND_NS


@pytest.mark.rows("at_ns", [EVENING_NS, NIGHT_NS])
@pytest.mark.rows(
    "order", ["account list", "list account", "list", "list list", "list account list", "account"]
)
def test_units_and_price_are_rescaled_once_in_whatever_order_the_sources_come(order, at_ns):
    morning = Morning()
    for source in order.split():
        if source == "list":
            morning.list_shows_it()
        else:
            morning.account_shows_it(at_ns)
    morning.opens()
    desk = morning.engine.desk
    assert desk.positions.quantity(0) == 4 * HELD
    assert desk.market.mark(0) == pytest.approx(100.0025)
    assert len(desk.market.adjustments) == ("list" in order)
    assert desk.session_equity == pytest.approx(Decimal(100_000) + HELD * Decimal("400.01"))
    assert morning.reconciled() is ("account" in order)  # its own reference keeps that one from coming again


def test_a_split_with_a_fraction_that_the_account_shows_after_the_open_is_no_loss_of_the_session():
    """The session began with 301 shares at three times their price: 461,209.03, and a loss of 240,806.02."""
    morning = Morning(held=301)
    desk = morning.engine.desk
    morning.engine.handle(msgspec.structs.replace(SPLIT, price_factor=3.0, volume_factor=1 / 3))
    morning.opens()
    assert desk.market.mark(0) == pytest.approx(1_200.03)
    assert desk.session_equity == Decimal("220403.01")
    paid = Decimal("400.01")  # a third of a share
    morning.account_shows_it(TUESDAY.open_ns, Decimal(-201), paid)
    assert desk.positions.quantity(0) == 100
    assert desk.attribution.current_nav() == pytest.approx(desk.session_equity)
