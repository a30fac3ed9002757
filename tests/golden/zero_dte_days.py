"""Whole 0DTE days through the engine, watched at every step; for the tests of docs/evidence/results.md."""

import math
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.intents import Decision, Mark, Output, Purpose, SubmitOrder
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.strategies.zero_dte.strategy import ZeroDteScalper

SPXW = (
    "underlying=SPXW",
    "data.index_source=parity",
    "entry.max_straddle_delta=none",
    "risk.index_orders=true",
)
"""Two strikes a hundred apart are all that was recorded."""
BUY = ("entry.mode=straddle", "simulation.fees=alpaca", "simulation.starting_cash=1000000")
"""An account of a million: a straddle on the index is too large for the gate's caps at 100,000."""

RECORDED = {"2021-01-04": SPXW, "2021-01-06": SPXW, "2021-01-08": SPXW}
RECONSTRUCTED = (
    "2014-10-15",
    "2015-08-24",
    "2016-06-24",
    "2016-11-09",
    "2017-07-14",
    "2017-11-24",  # half day
    "2018-02-05",
    "2018-02-09",
    "2018-10-10",
    "2018-12-24",  # half day
)


@dataclass
class PlayedDay:
    """The course of a day, and its faults."""

    engine: TradingEngine
    fold: Any
    decisions: list[Decision] = field(default_factory=list)
    naked: list[str] = field(default_factory=list)
    """Instants after the deadline with shares and neither options nor an order under way."""
    late: list[str] = field(default_factory=list)
    """Orders after the deadline that open something, or hedge what is not held."""
    not_finite: list[str] = field(default_factory=list)

    @property
    def strategy(self) -> ZeroDteScalper:
        """The strategy after its day."""
        one = self.engine.strategy
        assert isinstance(one, ZeroDteScalper)
        return one

    @property
    def parts(self) -> dict[str, Decimal]:
        """Change of the value, by part, exactly."""
        return dict(self.engine.desk.attribution.totals)

    @property
    def paid(self) -> Decimal:
        """Price of the straddle, currency per unit of the underlying."""
        orders = self.engine.desk.orders.orders.values()
        return sum((o.average_price for o in orders if o.submitted.purpose is Purpose.OPEN), Decimal(0))

    @property
    def hedges(self) -> int:
        """Hedges sent before the exit."""
        return int(self.fold.taken["hedge"])


class Auditor:
    """Looks at the desk after each event that is no quote, and at each output."""

    def __init__(self, engine: TradingEngine, day: PlayedDay) -> None:
        self._engine, self._day = engine, day
        self._handle = engine.handle

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Handle an event and note what is wrong after it."""
        outputs = self._handle(event)
        if outputs:
            self._look_at(outputs)
        if outputs or type(event) is not QuoteEvent:
            self._look_at_book()
        return outputs

    def _late(self) -> bool:
        deadline_ns = self._day.strategy.deadline_ns
        return deadline_ns is not None and self._engine.now_ns > deadline_ns

    def _options_held(self) -> bool:
        desk = self._engine.desk
        return any(
            isinstance(desk.instruments[one.instrument_id], OptionContract) for one in desk.positions.held()
        )

    def _look_at_book(self) -> None:
        desk = self._engine.desk
        shares = desk.positions.quantity(desk.view.underlying)
        if self._late() and shares and not desk.orders.live and not self._options_held():
            self._day.naked.append(f"{self._engine.now_ns}: {shares} shares")

    def _look_at(self, outputs: tuple[Output, ...]) -> None:
        for one in outputs:
            if isinstance(one, Decision):
                self._day.decisions.append(one)
                self._check(one.facts.items(), "decision")
            elif isinstance(one, Mark):
                figures = {name: getattr(one, name) for name in ("spot", "net_delta_shares", "implied_vol")}
                self._check([*figures.items(), *((n, float(v)) for n, v in one.parts.items())], "mark")
            elif isinstance(one, SubmitOrder) and self._late():
                opens = one.purpose is Purpose.OPEN
                if opens or (one.purpose is Purpose.HEDGE and not self._options_held()):
                    self._day.late.append(f"{self._engine.now_ns}: {one}")

    def _check(self, items: Any, where: str) -> None:
        bad = [name for name, value in items if isinstance(value, float) and not math.isfinite(value)]
        if bad:
            self._day.not_finite.append(f"{where} at {self._engine.now_ns}: {', '.join(bad)}")


def play_day(data: str, day: str, *overrides: str, seed: int = 1) -> PlayedDay:
    """Run one day of a data set."""
    settings = load_settings("zero-dte", overrides=(*BUY, *overrides))
    when = date.fromisoformat(day)
    underlying = settings.strategy_config.underlying
    tape = load_market(settings, data, underlying=underlying, start=when, end=when, seed=seed)
    header, engine = build_backtest(
        settings, tape, run_id="zero-dte", mode="backtest", started_ns=0, seed=seed
    )
    played = PlayedDay(engine, None)
    engine.handle = Auditor(engine, played).handle  # type: ignore[method-assign]
    run = assemble_backtest(settings, tape, header, engine, None)
    played.fold = run.fold
    run.runner.run()
    return played
