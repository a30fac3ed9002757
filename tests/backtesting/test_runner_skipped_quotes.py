"""A backtest hands its engine only the quotes that something waits for; handing over each gives the same."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk import assembly
from scalpdesk.backtesting import runs
from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import JournalError
from scalpdesk.core.events import OrderFilled, QuoteEvent
from scalpdesk.core.intents import Decision, OrderIntent, OrderType, Purpose, SetTimer, Side, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.marketdata.triggers import EveryQuote, PriceMove, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import Scripted, run_tape
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

DAY = date(2018, 2, 5)
MINUTES = 5
AT_ONCE = ("entry.gate=off", "entry.not_before=09:31")


class Outputs(Journal):
    """Keeps what the engine gave."""

    def __init__(self):
        self.outputs = []

    def add_outputs(self, outputs):
        self.outputs += outputs


@pytest.fixture(scope="module")
def tape():
    """The first minutes of a day of the embedded market."""
    settings = load_settings("gamma-scalper")
    whole = assembly.load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=1)
    session = whole.sessions[0]
    short = replace(session, close_ns=session.open_ns + MINUTES * 60 * NANOS_PER_SECOND)
    return replace(whole, sessions=(short,))


def outputs_of(tape, strategy, overrides, *, every_quote):
    settings = load_settings(strategy, overrides=overrides)
    header, engine = build_backtest(settings, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    journal = Outputs()
    run = assemble_backtest(settings, tape, header, engine, journal, every_quote=every_quote)
    run.runner.run()
    return journal.outputs, run.runner.events, dict(engine.desk.market.oddities)


@pytest.mark.parametrize(
    ("strategy", "overrides"),
    [
        pytest.param("gamma-scalper", AT_ONCE, marks=pytest.mark.second),
        ("gamma-scalper", (*AT_ONCE, "simulation.latency_ms=250")),
        ("zero-dte", ("entry.mode=straddle",)),
        ("st0cka", ()),
        ("st0ckg", ()),
        pytest.param("hybrid", (), marks=pytest.mark.second),
        ("hybrid", ("volatility=0.5", "gamma-scalper.entry.gate=off")),
        ("ema-scalper", ()),
        ("st0cka+gamma-scalper", ("gamma-scalper.entry.gate=off",)),
    ],
)
def test_the_outputs_are_those_of_every_quote(tape, strategy, overrides):
    skipping = outputs_of(tape, strategy, overrides, every_quote=False)
    every = outputs_of(tape, strategy, overrides, every_quote=True)
    assert skipping == every
    if strategy == "gamma-scalper":
        assert any(type(output) is SubmitOrder for output in skipping[0])


def seen_and_given(tape, made, **run):
    ran = [run_tape(tape, made(), every_quote=every, **run) for every in (False, True)]
    seen = [sum(type(event) is QuoteEvent for event in each.events) for each in ran]
    assert ran[0].outputs == ran[1].outputs
    return seen, ran[0].outputs


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_loss_limit_is_met_at_the_quote_that_reaches_it_though_nothing_wakes(side):
    """Shares lose between two calls of the strategy; a fall that comes back loses too where it is judged."""
    down = [500.0 - 0.2 * step for step in range(300)]
    path = [*down, *reversed(down)] if side is Side.BUY else [*reversed(down), *down]
    tape = TapeBuilder(Instruments([Equity("SPY")])).path("10:00", 0.3, path).build()

    def made():
        def trade_once(view, wake, event):
            if wake is not Wake.PRICE:
                return ()
            intent = OrderIntent(InstrumentId(0), side, Decimal(150), Purpose.HEDGE, "x")
            return (Proposal(DecisionKind.ENTRY, ("x",), {}, (intent,)),)

        return Scripted(trade_once, triggers=(PriceMove(InstrumentId(0), 1_000.0, 600.0),))

    limits = RiskLimits(max_daily_loss=Decimal(1_500))
    (skipping, every), outputs = seen_and_given(tape, made, limits=limits)
    flattens = [each for each in outputs if isinstance(each, Decision) and each.kind is DecisionKind.MODE]
    assert ["daily loss" in each.reasons[0] for each in flattens] == [True]
    assert skipping < every == len(tape.quotes)


def test_a_resting_order_meets_every_quote_of_its_contract():
    """A limit that only one quote of the contract reaches is filled by it."""
    call = InstrumentId(1)
    book = straddle_book(500)
    bids = [10.0, 10.0, 10.0, 9.0, 10.0, 10.0, 10.0]
    tape = TapeBuilder(book).path("10:00", 5.0, [500.0] * len(bids)).build()
    rows = tape.quotes.instrument_id == call
    bid, ask = tape.quotes.bid.copy(), tape.quotes.ask.copy()
    bid[rows], ask[rows] = bids, [price + 0.1 for price in bids]
    tape = replace(tape, quotes=replace(tape.quotes, bid=bid, ask=ask))

    def think(view, wake, event):
        if wake is not Wake.PRICE or view.orders.live or view.positions.quantity(call):
            return ()
        intent = OrderIntent(
            call, Side.BUY, Decimal(1), Purpose.OPEN, "x", OrderType.LIMIT, limit_price=Decimal("9.2")
        )
        return (Proposal(DecisionKind.ENTRY, ("x",), {}, (intent,)),)

    ran = [
        run_tape(tape, Scripted(think, triggers=(EveryQuote(InstrumentId(0)),)), every_quote=every)
        for every in (False, True)
    ]
    fills = [[event for event in run.events if isinstance(event, OrderFilled)] for run in ran]
    assert fills[0] == fills[1]
    assert [(fill.price, fill.ts_recv_ns) for fill in fills[0]] == [
        (Decimal("9.2"), int(tape.quotes.ts_ns[rows][3]))
    ]
    seen = [sum(type(event) is QuoteEvent for event in run.events) for run in ran]
    assert seen[0] < seen[1] == len(tape.quotes)


def test_what_is_due_after_the_last_quote_that_is_waited_for_sees_no_later_quotes():
    """The index is silent from 15:52 on, its option is quoted to the close: a timer sells at its minute."""
    call = InstrumentId(1)
    made = TapeBuilder(straddle_book(500)).path("15:50", 60.0, [500.0, 500.0, 500.0])
    for minute in range(53, 60):
        made.quote(1, f"15:{minute}:00", 10.0 + minute, 10.1 + minute)
    tape = made.build()

    def think(view, wake, event):
        quantity = view.positions.quantity(call)
        if wake is Wake.TIMER:
            intent = OrderIntent(call, Side.SELL, quantity, Purpose.CLOSE, "x")
            return (Proposal(DecisionKind.EXIT, ("x",), {}, (intent,)),)
        if quantity or view.orders.live or wake is not Wake.PRICE:
            return ()
        intent = OrderIntent(call, Side.BUY, Decimal(1), Purpose.OPEN, "x")
        return (Proposal(DecisionKind.ENTRY, ("x",), {}, (intent,)), SetTimer("sell", at("15:56:10")))

    ran = [
        run_tape(tape, Scripted(think, triggers=(EveryQuote(InstrumentId(0)),)), every_quote=every)
        for every in (False, True)
    ]
    fills = [[event for event in run.events if isinstance(event, OrderFilled)] for run in ran]
    assert ran[0].outputs == ran[1].outputs
    assert fills[0] == fills[1]
    assert fills[0][-1].price == Decimal(66)  # the bid of 15:56


def test_a_replay_refuses_data_that_changed(tape, monkeypatch, tmp_path):
    settings = load_settings("gamma-scalper", overrides=("entry.gate=off",))
    loaded = replace(
        tape, loaded=(assembly.TapeOrigin("embedded", "SPY", DAY, DAY, 1), tape.quotes, tape.sessions)
    )
    result = runs.run_backtest(settings, loaded, _Stopped(), seed=1, runs_dir=tmp_path)
    monkeypatch.setattr(assembly, "_load", lambda *_: tape)
    assert runs.replay(result.run_dir).identical
    bid = tape.quotes.bid.copy()
    bid[100] -= 0.01
    monkeypatch.setattr(assembly, "_load", lambda *_: replace(tape, quotes=replace(tape.quotes, bid=bid)))
    with pytest.raises(JournalError, match="session 2018-02-05"):
        runs.replay(result.run_dir)


class _Stopped:
    def now_ns(self):
        return 1


RECORDED = {
    "gamma-scalper": ("GOOG", ("entry.gate=off", "selection.min_open_interest=0"), date(2015, 12, 23)),
    "zero-dte": (
        "SPXW",
        (
            "entry.mode=straddle",
            "data.index_source=parity",
            "simulation.starting_cash=1000000",
            "risk.index_orders=true",
        ),
        date(2021, 1, 4),
    ),
    "st0cka": ("SPY", (), date(2013, 10, 7)),
    "st0ckg": ("SPY", ("volume_sessions=3",), date(2013, 10, 11)),
    "hybrid": ("SPY", (), date(2013, 10, 7)),
    "ema-scalper": ("SPY", (), date(2013, 10, 7)),
}
"""Underlying, settings and session."""


@pytest.mark.recorded
@pytest.mark.parametrize("strategy", RECORDED)
def test_nor_do_outputs_differ_on_a_recorded_day(recorded_catalog, strategy):
    underlying, settings, day = RECORDED[strategy]
    overrides = (f"underlying={underlying}", f"data.catalog={recorded_catalog}", *settings)
    loaded = load_settings(strategy, overrides=overrides)
    whole = assembly.load_market(loaded, "lean", underlying=underlying, start=day, end=day, seed=1)
    session = whole.sessions[0]
    short = replace(session, close_ns=session.open_ns + 45 * 60 * NANOS_PER_SECOND)
    tape = replace(whole, sessions=(short,))
    skipping, every = (outputs_of(tape, strategy, overrides, every_quote=each) for each in (False, True))
    assert skipping == every
    assert skipping[0]
