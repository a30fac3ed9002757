"""A run of a tape with all that was said; and that of st0ckg, as a command would run it."""

from dataclasses import dataclass, field

from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.simulate import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, OrderFilled, PositionChanged
from scalpdesk.core.intents import Decision, Output, SubmitOrder
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.journal.codec import TapeRows
from scalpdesk.marketdata.tape import MarketTape


@dataclass
class KeptRun(Journal):
    """Result of a run; takes the place of its journal."""

    engine: TradingEngine
    outputs: list[Output] = field(default_factory=list)
    fills: list[OrderFilled] = field(default_factory=list)
    changes: list[PositionChanged] = field(default_factory=list)

    def add_event(self, event: Event) -> None:
        """Keep the fills and what moved without an order."""
        if isinstance(event, OrderFilled):
            self.fills.append(event)
        elif isinstance(event, PositionChanged):
            self.changes.append(event)

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Keep everything."""
        self.outputs.extend(outputs)

    def add_rows(self, rows: TapeRows) -> None:
        """Keep no quotes."""

    def flush(self) -> None:
        """Write nothing."""

    @property
    def decisions(self) -> list[Decision]:
        """All that was decided, taken and skipped."""
        return [one for one in self.outputs if isinstance(one, Decision)]

    @property
    def orders(self) -> list[SubmitOrder]:
        """All that was sent."""
        return [one for one in self.outputs if isinstance(one, SubmitOrder)]


def run_scalps(tape: MarketTape, *overrides: str) -> KeptRun:
    """Run st0ckg over a tape with these settings, fees as passed on by a broker."""
    settings = load_settings("st0ckg", overrides=("simulation.fees=alpaca", *overrides))
    header, engine = build_backtest(settings, tape, run_id="t", mode="backtest", started_ns=0, seed=1)
    day = KeptRun(engine=engine)
    assemble_backtest(settings, tape, header, engine, day).runner.run()
    return day
