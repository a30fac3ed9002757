"""How long nothing can be decided: bounds that rules state, and the looks that they spare.

Of some eight thousand looks of a day eighty lead to an order. A rule states bounds of its own variable within
which it has no reason, the band those of the net delta; the position knows how fast both can move with the
spot. While the spot stays where no bound is reached and the legs' quotes as they are, a look would find what
the last one found, and is not made.
"""

import math
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import GammaExposureEvent, QuoteEvent
from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.core.units import (
    DAYS_PER_YEAR,
    MINUTE_NS,
    NANOS_PER_SECOND,
    NEVER_NS,
    SECONDS_PER_YEAR,
    InstrumentId,
)
from scalpdesk.instruments.structure import Structure
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.toolkit.hedger import DeltaHedger

FARTHEST, WIDTH_POWER = 2.5, 2.0 / 3.0
"""Deviations from the strike up to which a gamma that changes faster counts; the power of gamma by which the
width of a band goes at most.
"""
REACHES = tuple(
    (reach, math.expm1(FARTHEST * reach), math.exp(-FARTHEST * reach * WIDTH_POWER))
    for reach in (0.02, 0.06, 0.15)
)
"""Deviations to expiry within which the spot may stay, by how much gamma changes there, and what is left of a
width. The reach that gives the widest way counts.
"""
SHALLOW, PRICE_SLOPE = 0.2, 2.0
"""Deviations in the money up to which a mark is its mid, and stands. What a mark farther in may gain a unit
of the spot: its delta, and as much on the way from its mid to what parity says.
"""
PART_OF_LIFE = 0.01
"""Part of the time to expiry in which Greeks stay what they are."""
LEAST_WAY = 0.01
"""A way of the spot, currency per unit, below which no look is spared."""


class Quiet(FrozenLeaf, frozen=True, gc=False):
    """Bounds strictly within which a rule has no reason: of the trade's P&L, in currency, and of time."""

    least_pnl: float = -math.inf
    most_pnl: float = math.inf
    until_ns: int = NEVER_NS
    """UTC nanoseconds."""
    price_way: float = math.inf
    """Change of a leg's price, currency per unit, before which it has none."""

    def and_within(self, other: "Quiet") -> "Quiet":
        """Return the bounds of both."""
        if other is ALWAYS:
            return self
        mine = self
        return Quiet(
            max(other.least_pnl, mine.least_pnl),
            min(other.most_pnl, mine.most_pnl),
            min(other.until_ns, mine.until_ns),
            min(other.price_way, mine.price_way),
        )


ALWAYS = Quiet()
"""Of a rule that has no reason before an event that wakes the strategy anyway."""


class Calm(NamedTuple):
    """Where, until when and while what stands a look finds what the last one found."""

    low: float
    high: float
    """``low``, ``high``: Mids of the underlying strictly between which it holds, currency per unit."""
    until_ns: int
    least_spread: float
    """Of the underlying: at a narrower one a hedge costs less, and a band is narrower."""
    quotes: tuple[tuple[InstrumentId, QuoteEvent, Decimal], ...]
    """Those of the legs, and of a hedge that is not the underlying, with the quantity held."""
    owned: Decimal
    """Quantity held of the hedge."""
    dealers: tuple[GammaExposureEvent, ...]
    """Dealer gamma that is known."""

    def holds(self, view: DeskView) -> bool:
        """Return whether nothing can be decided now."""
        market = view.market
        spot = market.quotes[view.underlying]
        if (
            spot is None
            or view.now_ns >= self.until_ns
            or not self.low < 0.5 * (spot.bid + spot.ask) < self.high
            or spot.ask - spot.bid < self.least_spread
            or view.mode is not Mode.ACTIVE
            or view.orders.live
            or tuple(market.gamma_exposures.values()) != self.dealers
        ):
            return False
        quantity = view.positions.quantity
        if quantity(view.hedge) != self.owned:
            return False
        for number, quote, held in self.quotes:
            if market.quotes[number] is not quote or quantity(number) != held:
                return False
        return True


def calm_of(
    view: DeskView, structure: Structure, hedger: DeltaHedger, quiet: Quiet, way_usd: float
) -> Calm | None:
    """Return where and until when nothing can be decided on a structure that was just looked at.

    None where that is not known: the hedger has not measured at this instant, its band states no width, or a
    leg is valued by the model, or at a spot that is not settled.

    Parameters
    ----------
    view, structure, hedger
        The desk, the options held, and what hedges them.
    quiet, way_usd
        Where the exits have no reason, and the change of the P&L before which none has, currency.
    """
    known, market, now_ns = hedger.quiet(view.now_ns), view.market, view.now_ns
    spot_quote = market.quotes[view.underlying]
    if known is None or spot_quote is None:
        return None
    position, stated, least = known
    inputs, spot = position.inputs, position.inputs.spot
    low, high, deviation = 0.0, math.inf, spot * inputs.vol * math.sqrt(inputs.years)
    quotes, deep = list[tuple[InstrumentId, QuoteEvent, Decimal]](), list[tuple[float, float]]()
    until_ns, lost_ns = min(quiet.until_ns, stated.until_ns, now_ns + MINUTE_NS), market.lost_ns
    for leg, contract, _ in structure.legs:
        quote, strike = market.quotes[leg], float(contract.strike)
        # of one instant another spot may still come
        if quote is None or quote.ts_event_ns >= spot_quote.ts_event_ns:
            return None
        until_ns = min(until_ns, quote.ts_recv_ns + lost_ns[leg])
        held = view.positions.quantity(leg)
        quotes.append((leg, quote, held))
        within = spot - strike if contract.is_call else strike - spot
        if within > 0.0:
            deep.append((within / max(deviation, 1e-9), abs(float(held)) * contract.multiplier))
        # beyond it the strike's other leg shows its volatility
        low, high = (max(low, strike), high) if strike < spot else (low, min(high, strike))
    if view.hedge != view.underlying:
        quote = market.quotes[view.hedge]
        if quote is None:
            return None
        quotes.append((view.hedge, quote, view.positions.quantity(view.hedge)))
    life_ns = int(PART_OF_LIFE * inputs.years * SECONDS_PER_YEAR * NANOS_PER_SECOND)
    until_ns = min(until_ns, now_ns + life_ns)
    decay = 2.0 * abs(position.greeks.theta_usd_per_day) * DAYS_PER_YEAR
    way_usd -= decay * (until_ns - now_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR
    owned, unit = abs(position.greeks.owned_shares), 1.0
    if view.instruments.by_id[view.hedge].is_inverse:
        unit = spot
    net, gamma = inputs.net_delta_shares, inputs.gamma_shares_per_usd
    gross, down, up = max(position.gross_gamma, abs(gamma)), 0.0, 0.0
    for reach, changes, left in REACHES:
        width = stated.width if stated.is_fixed else stated.width * left
        width = max(width, least) if not stated.to_edge else width + max(hedger.least_fraction * width, least)
        unsure = changes * gross
        rises, falls = max(gamma + unsure, 1e-9), max(unsure - gamma, 1e-9)
        units = sum(held for depth, held in deep if depth + reach > SHALLOW)
        way = min(reach * deviation, way_usd * unit / max(PRICE_SLOPE * units + owned, 1e-9))
        if units:
            way = min(way, quiet.price_way / PRICE_SLOPE)
        above, beneath = width - net, width + net
        ways = min(way, beneath / rises, above / falls), min(way, above / rises, beneath / falls)
        if min(ways) > min(down, up):
            down, up = ways
    low, high = max(low, spot - down), min(high, spot + up)
    if not (low < spot - LEAST_WAY and high > spot + LEAST_WAY and until_ns > now_ns):
        return None
    spread, dealers = spot_quote.ask - spot_quote.bid, tuple(market.gamma_exposures.values())
    return Calm(low, high, until_ns, spread, tuple(quotes), view.positions.quantity(view.hedge), dealers)
