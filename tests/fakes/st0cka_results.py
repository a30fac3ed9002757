"""Results of st0cka in some sessions: the rows of the tables in docs/evidence/st0cka.md."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Decision, Output, SubmitOrder
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.explain import parts_in_cents
from scalpdesk_testing.kit.tape import until

COSTS = ("simulation.fees=alpaca",)
"""Every row of every table is after the fees that a sale really has."""


@dataclass
class Sessions:
    """Every decision and order of a run, and what it came to."""

    decisions: list[Decision]
    orders: list[SubmitOrder]
    net: Decimal
    fees: Decimal
    parts: dict[str, Decimal]
    held: list[object]

    def ended(self) -> Counter[str]:
        """Round trips by what ended them: ``target``, ``stop``, ``window``."""
        words = {"target filled": "target", "stop": "stop", "selling window ended": "window"}
        flat = [one.reasons[0].removeprefix("flat: ") for one in self.decisions if is_flat(one)]
        return Counter(
            next((word for start, word in words.items() if text.startswith(start)), text) for text in flat
        )

    def row(self) -> list[str]:
        """Return purchases, trips, those by target, stop and window, result before fees, fees, result."""
        sent = sum(one.taken and one.reasons[0].startswith("buy ") for one in self.decisions)
        ended = self.ended()
        counts = [sent, ended.total(), ended["target"], ended["stop"], ended["window"]]
        return [
            *map(str, counts),
            *(f"{amount:+.2f}" for amount in (self.net - self.fees, self.fees, self.net)),
        ]


def is_flat(decision: Decision) -> bool:
    """Whether the decision states the end of a round trip."""
    return decision.reasons[0].startswith("flat: ")


@lru_cache(maxsize=2)
def _tape(data: str, start: date, end: date, catalog: Path | None) -> MarketTape:
    """Load a market once for the rows of one table; nothing in a run writes to it."""
    settings = load_settings(overrides=() if catalog is None else (f"data.catalog={catalog}",))
    return load_market(settings, data, underlying="SPY", start=start, end=end, seed=1)


def trade(
    data: str,
    start: date,
    end: date,
    overrides: tuple[str, ...] = (),
    *,
    catalog: Path | None = None,
    last_quote: time | None = None,
) -> Sessions:
    """Run st0cka over sessions of a data set, with the quotes up to an hour of New York."""
    where = () if catalog is None else (f"data.catalog={catalog}",)
    settings = load_settings("st0cka", overrides=(*COSTS, *where, *overrides))
    tape = _tape(data, start, end, catalog)
    if last_quote is not None:
        tape = until(tape, last_quote)
    header, engine = build_backtest(settings, tape, run_id="table", mode="backtest", started_ns=0, seed=1)
    said: list[Output] = []
    handle = engine.handle

    def record(event: Event) -> tuple[Output, ...]:
        outputs = handle(event)
        said.extend(outputs)
        return outputs

    engine.handle = record  # type: ignore[method-assign]
    assemble_backtest(settings, tape, header, engine, None).runner.run()
    attribution = engine.desk.attribution
    parts = parts_in_cents(attribution.totals, attribution.nav_change)
    return Sessions(
        [one for one in said if isinstance(one, Decision)],
        [one for one in said if isinstance(one, SubmitOrder)],
        parts["total"],
        parts["fees"],
        parts,
        list(engine.desk.positions.held()),
    )
