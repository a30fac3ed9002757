"""Band trader: hold the share below a dead band around its moving average, be flat above it.

It shows the parts of a strategy: a ``Config`` of its own, triggers, proposals with reasons. It is
small on purpose and not meant to earn anything.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from scalpdesk.base import NANOS_PER_SECOND, BoundedSettings, Event, OrderIntent, Purpose, Side, above
from scalpdesk.strategies import Action, DeskView, PriceMove, Proposal, StrategySpec, Trigger, Wake


class BandTraderConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings, in the section ``strategies.band-trader``.

    Parameters
    ----------
    underlying
        The share.
    shares
        Held below the band. The risk gate counts their whole price as at risk: with the default
        limits an account of 100,000 may open about 5,000.
    band_usd
        Half width of the dead band around the average, USD a share.
    average_seconds
        Time constant of the exponential average.
    flat_minutes_before_close
        From then on nothing is held.
    """

    underlying: str = "SPY"
    shares: Annotated[int, above(0, math.inf, "shares")] = 10
    band_usd: Annotated[float, above(0, math.inf, "USD a share")] = 0.25
    average_seconds: Annotated[float, above(0, math.inf, "seconds")] = 900.0
    flat_minutes_before_close: float = 10.0


class BandTrader:
    """Holds the share while its price is below the band."""

    name = "band-trader"
    is_done = False

    def __init__(self, config: BandTraderConfig | None = None) -> None:
        self.config = config or BandTraderConfig()
        self._average: float | None = None
        self._last_ns = 0
        self._zone: Literal["inside", "below", "above", "closing"] = "inside"

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Be woken by each move of five cents, and after five seconds of silence."""
        return (PriceMove(view.underlying, 0.05, 5.0),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:  # noqa: ARG002 - the contract's
        """Propose a trade when the price has crossed an edge of the band; once a crossing."""
        if wake is Wake.SESSION:
            self._average = None  # the night between two sessions is no part of an average
            self._zone = "inside"
            return ()
        quote, session = view.market.quotes[view.underlying], view.session
        if wake not in (Wake.PRICE, Wake.HEARTBEAT) or quote is None or session is None:
            return ()
        average = self._learn(quote.mid, view.now_ns)
        away = quote.mid - average
        left_minutes = (session.close_ns - view.now_ns) / NANOS_PER_SECOND / 60.0
        before = self._zone
        if left_minutes <= self.config.flat_minutes_before_close:
            self._zone = "closing"
        elif abs(away) >= self.config.band_usd:
            self._zone = "below" if away < 0 else "above"
        if self._zone == before:
            return ()
        wanted = self.config.shares if self._zone == "below" else 0
        missing = wanted - view.exposure(view.underlying)
        if not missing:
            return ()
        reason = (
            f"{left_minutes:.0f} minutes to the close"
            if self._zone == "closing"
            else f"{quote.mid:.2f} is {abs(away):.2f} {self._zone} its average {average:.2f}"
        )
        kind, purpose = ("entry", Purpose.OPEN) if missing > 0 else ("exit", Purpose.CLOSE)
        side = Side.BUY if missing > 0 else Side.SELL
        intent = OrderIntent(view.underlying, side, Decimal(abs(missing)), purpose, reason)
        facts: dict[str, str | float | int] = {"mid_usd": quote.mid, "average_usd": average}
        return (Proposal(kind, (reason,), facts, (intent,)),)

    def _learn(self, mid: float, now_ns: int) -> float:
        """Move the average towards ``mid`` by what the time since the last quote is worth."""
        if self._average is None:
            self._average = mid
        else:
            seconds = (now_ns - self._last_ns) / NANOS_PER_SECOND
            self._average += (mid - self._average) * -math.expm1(-seconds / self.config.average_seconds)
        self._last_ns = now_ns
        return self._average


PLUG = StrategySpec(
    name="band-trader",
    config=BandTraderConfig,
    build=BandTrader,
    summary="a share bought below its moving average, sold above it",
    trades_options=False,
    trades_underlying=lambda _: True,
)
