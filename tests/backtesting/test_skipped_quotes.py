"""A backtest hands its engine only the quotes that something waits for; handing over each gives the same."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from fakes.desk import Scripted, run_tape
from fakes.instruments import straddle_book
from fakes.tape import TapeBuilder
from scalpdesk import assembly
from scalpdesk.backtesting import runs
from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import JournalError
from scalpdesk.core.events import OrderFilled, QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.strategies.contract import Proposal

DAY = date(2018, 2, 5)
MINUTES = 8


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
        ("gamma-scalper", ("entry.gate=off",)),
        ("gamma-scalper", ("entry.gate=off", "simulation.latency_ms=250")),
        ("zero-dte", ("entry.mode=straddle",)),
        ("st0cka", ()),
        ("st0ckg", ()),
        ("hybrid", ()),
    ],
)
def test_the_outputs_are_those_of_every_quote(tape, strategy, overrides):
    skipping = outputs_of(tape, strategy, overrides, every_quote=False)
    every = outputs_of(tape, strategy, overrides, every_quote=True)
    assert skipping == every
    if strategy == "gamma-scalper":
        assert any(type(output) is SubmitOrder for output in skipping[0])


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
