"""Is gamma paying, and where did a loss come from: the answers of pages, summaries and reports.

Gamma pays where it earned more than theta and the hedges cost. A loss is told first, whatever gamma earned.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from scalpdesk.core.units import ZERO, to_cents
from scalpdesk.portfolio.explain import BASIS, PnlExplain

COSTS = ("spread", "fees", "slippage")


class GammaVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Answer with its figures, in the account's smallest unit; costs are negative."""

    gamma: Decimal
    theta: Decimal
    hedging: Decimal
    """Spread, fees and slippage of the hedges."""
    entry_exit: Decimal
    """The same of the options; beside the answer, since no hedge can earn it."""
    realised_vol: float | None
    implied_vol: float | None
    """``realised_vol``, ``implied_vol``: Weighted by gamma, fractions a year; None where not measured."""

    @property
    def question(self) -> str:
        """What is asked: who received theta is short gamma."""
        return "Is gamma paying?" if self.theta <= 0 else "Is the premium paying for gamma?"

    @property
    def net(self) -> Decimal:
        """Gamma and theta less the hedging costs."""
        return self.gamma + self.theta + self.hedging

    @property
    def is_paying(self) -> bool:
        """Whether gamma earned more than theta and the hedges cost."""
        return self.net > 0

    @property
    def all_in(self) -> Decimal:
        """Net figure after the cost of entry and exit."""
        return self.net + self.entry_exit

    def document(self) -> dict[str, Any]:
        """Return the answer and its figures as JSON types."""
        own: dict[str, Any] = msgspec.to_builtins(self)
        return {"is_paying": self.is_paying, "net": f"{self.net:f}", "all_in": f"{self.all_in:f}"} | own


def gamma_verdict(
    explain: PnlExplain, parts: Mapping[str, Decimal], hedge_costs: Decimal
) -> GammaVerdict | None:
    """Return whether gamma is paying; None while no option has been held.

    ``explain``: Of the account; gives its smallest unit and the volatilities.
    ``parts``: P&L of the run or a session by part, in that unit.
    ``hedge_costs``: What the hedges of the same time cost, exact; negative.
    """
    if not parts["gamma"] and not parts["theta"]:
        return None
    figures = explain.legs.meter.total.figures()
    vols = (figures["realised_vol_weighted"], figures["implied_vol_weighted"])
    realised, implied = (round(vol, 6) if math.isfinite(vol) else None for vol in vols)
    hedging = to_cents(hedge_costs, explain.unit)
    return GammaVerdict(
        gamma=parts["gamma"],
        theta=parts["theta"],
        hedging=hedging,
        entry_exit=sum((parts[name] for name in COSTS), Decimal(0)) - hedging,
        realised_vol=realised,
        implied_vol=implied,
    )


SINCE_MARK = "since_last_mark"
"""What the book has moved since the mark that its parts are of: with it they sum to the P&L of now."""
GAMMA_AND_THETA, VEGA = "gamma and theta", "vega and higher order"
SOURCES = {
    GAMMA_AND_THETA: ("gamma", "theta"),
    VEGA: ("vega", "higher_order"),
    "direction (delta)": ("delta",),
    "costs": COSTS,
    "carry and basis": ("carry", BASIS),
    "what the model does not explain": ("residual",),
    "quotes since the last mark": (SINCE_MARK,),
}
"""Sources of P&L as sentences name them, each with its parts."""


def sources(parts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return the P&L by source; the sum of the parts."""
    return {source: sum((parts.get(name, ZERO) for name in names), ZERO) for source, names in SOURCES.items()}


class LossBySource(NamedTuple):
    """A loss and where it came from."""

    amount: Decimal
    """Positive."""
    causes: tuple[tuple[str, Decimal], ...]
    """The fewest sources that together lost as much, the worst first, each with its P&L."""

    def words(self) -> list[tuple[str, Decimal]]:
        """Return the sentence without its full stop as pairs of words and the amount behind them."""
        commas = (": ", *[", "] * len(self.causes))
        causes = [
            (f"{comma}{source} ", amount)
            for comma, (source, amount) in zip(commas, self.causes, strict=False)
        ]
        return [("lost ", self.amount), *causes]


def loss_of(parts: Mapping[str, Decimal]) -> LossBySource | None:
    """Return the loss of a run or a session by its parts with their ``total``; None where it lost nothing."""
    lost = -parts["total"]
    if not lost > 0:
        return None
    causes, told = [], ZERO
    for source, amount in sorted(sources(parts).items(), key=lambda item: item[1]):
        if told >= lost:
            break
        causes.append((source, amount))
        told -= amount
    return LossBySource(lost, tuple(causes))
