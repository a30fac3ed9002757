"""How long nothing can be decided: bounds that rules state, and the looks that they spare.

Of some eight thousand looks of a day eighty lead to an order. A rule states bounds of its own variable within
which it has no reason, the band those of the net delta; the position knows how fast both can move with the
spot. While the spot stays where no bound is reached and the legs' quotes as they are, a look would find what
the last one found, and is not made.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import GammaExposureEvent, QuoteEvent
from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.core.units import (
    DAYS_PER_YEAR,
    MINUTE_NS,
    NANOS_PER_SECOND,
    NEVER_NS,
    SECONDS_PER_YEAR,
    InstrumentId,
)
from scalpdesk.instruments.structure import Structure
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.strike_vols import LARGEST_DEVIATION, OLDEST_NS, WIDEST_SPREAD
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.toolkit.hedger import LARGEST, DeltaHedger

FARTHEST, WIDTH_POWER = 2.5, 2.0 / 3.0
"""Deviations from the strike up to which a gamma that changes faster counts; the power of gamma by which the
width of a band goes at most.
"""
REACHES = 0.02, 0.06, 0.15
"""Deviations to expiry within which the spot may stay. The reach that gives the widest way counts."""
GAMMA_BY_VOL, VANNA_BY_SPOT = 5.25, 0.4
"""Part by which gamma changes at most for that of a volatility, and by how much a unit's delta changes more
with it for each deviation that the spot goes.
"""
LEAST_VOL_WAY, MOST_VOL_WAY, VOL_ROOM = 0.002, 0.008, 0.1
"""Bounds of the part by which new quotes may change a volatility; part of a band's room that is for it."""
SHALLOW, PRICE_SLOPE = 0.2, 2.0
"""Deviations in the money up to which a mark is its mid, and stands. What a mark farther in may gain a unit
of the spot: its delta, and as much on the way from its mid to what parity says.
"""
SOUND = LARGEST_DEVIATION * math.sqrt(3.0)
"""Spread over vega of half the noise at which a quote would be no measurement of its strike's volatility."""
PART_OF_LIFE = 0.01
"""Part of the time to expiry in which Greeks stay what they are."""
LEAST_WAY = 0.01
"""A way of the spot, both sides together, below which no look is spared, currency per unit."""


class Quiet(FrozenLeaf, frozen=True, gc=False):
    """Bounds strictly within which a rule has no reason: of the trade's P&L, in currency, and of time."""

    least_pnl: float = -math.inf
    most_pnl: float = math.inf
    until_ns: int = NEVER_NS
    """UTC nanoseconds."""
    price_way: float = math.inf
    """Change of a leg's price, currency per unit, before which it has none."""
    half_widths: float = LARGEST
    """Net delta, in half widths of the band, up to which it has none."""
    same_quotes: bool = False
    """Whether it may have one once an option is quoted anew."""
    follows: tuple[Callable[[Decimal], bool], ...] = ()
    """Asked with the trade's P&L at each look that is spared: whether it still has none."""

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
            min(other.half_widths, mine.half_widths),
            mine.same_quotes or other.same_quotes,
            mine.follows + other.follows,
        )


ALWAYS = Quiet()
"""Of a rule that has no reason before an event that wakes the strategy anyway."""
SAME_QUOTES = Quiet(same_quotes=True)


class CalmLeg(NamedTuple):
    """A leg as it was looked at, and its latest quote since."""

    number: InstrumentId
    quote: QuoteEvent
    is_settled: bool
    """Whether it shows its strike's volatility, and the underlying was quoted later: of one instant another
    spot may still come.
    """
    lost_ns: int
    """When the quote is lost, or shows that volatility no more, UTC nanoseconds."""
    units: float
    mark: float
    vol: float
    """``mark``, ``vol``: Of the look: currency per unit; volatility of the hedge, a year."""


class Calm(Leaf, gc=False):
    """Where, until when and while what stands a look finds what the last one found."""

    low: float
    high: float
    """``low``, ``high``: Mids of the underlying strictly between which it holds, currency per unit."""
    until_ns: int
    least_spread: float
    """Of the underlying: at a narrower one a hedge costs less, and a band is narrower."""
    legs: list[CalmLeg]
    room_usd: float
    """Sum of the changes of the legs' marks below which it holds, currency."""
    proxy: QuoteEvent | None
    """Quote of a hedge that is not the underlying."""
    held: Sequence[Position]
    dealers: tuple[GammaExposureEvent, ...]
    """Dealer gamma that is known."""
    price_room: float
    """Change of a leg's mark below which it holds, currency per unit."""
    vol_way: float
    """And of its volatility, a part of it."""
    follows: tuple[Callable[[Decimal], bool], ...]
    """As of the rules' bounds."""

    def holds(self, view: DeskView, hedger: DeltaHedger) -> bool:
        """Return whether nothing can be decided now."""
        market, now_ns = view.market, view.now_ns
        quotes, exposures = market.quotes, market.gamma_exposures
        spot, is_same = quotes[view.underlying], True
        if (
            spot is None
            or now_ns >= self.until_ns
            or not self.low < 0.5 * (spot.bid + spot.ask) < self.high
            or spot.ask - spot.bid < self.least_spread
            or view.mode is not Mode.ACTIVE
            or view.orders.live
            or view.positions.held() is not self.held  # another list once something is booked
            or (self.proxy is not None and quotes[view.hedge] is not self.proxy)
            or ((exposures or self.dealers) and tuple(exposures.values()) != self.dealers)
        ):
            return False
        for leg in self.legs:
            if not leg.is_settled or quotes[leg.number] is not leg.quote:
                is_same = False
            elif now_ns >= leg.lost_ns:
                return False
        return is_same or self._stays(view, spot, hedger)

    def _stays(self, view: DeskView, spot: QuoteEvent, hedger: DeltaHedger) -> bool:
        """Take in new quotes of legs; return whether these are worth about what they were."""
        hedger.learn(view, [leg.number for leg in self.legs])
        room = self.room_usd
        for place, leg in enumerate(self.legs):
            found = _leg_of(view, leg.number, spot, leg.units, hedger)
            if found is None:
                return False
            change = abs(found.mark - leg.mark)
            room -= abs(leg.units) * change
            is_near = change < self.price_room and abs(found.vol - leg.vol) <= self.vol_way * leg.vol
            if not room > 0.0 or not is_near:
                return False
            self.legs[place] = found._replace(mark=leg.mark, vol=leg.vol)
        return True


def _leg_of(
    view: DeskView, number: InstrumentId, spot: QuoteEvent, units: float, hedger: DeltaHedger
) -> CalmLeg | None:
    """Return a leg as it is now; None where its quote shows no price."""
    quote, value = view.market.quotes[number], view.delta_engine.state(number, view.now_ns)
    if quote is None or value is None or value.is_modelled:
        return None
    width, lost_ns = quote.ask - quote.bid, min(view.market.lost_ns[number], OLDEST_NS)
    is_sound = width < WIDEST_SPREAD * quote.mid and width < SOUND * value.hedge_greeks.vega
    is_settled = is_sound and quote.ts_event_ns < spot.ts_event_ns
    vol = value.vol if hedger.goes_by_quotes else value.hedge_vol
    return CalmLeg(number, quote, is_settled, quote.ts_event_ns + lost_ns, units, value.mark, vol)


def calm_of(
    view: DeskView,
    structure: Structure,
    hedger: DeltaHedger,
    quiet: Quiet,
    way_usd: float,
    partners: Mapping[InstrumentId, InstrumentId],
) -> Calm | None:
    """Return where and until when nothing can be decided on a structure that was just looked at.

    None where that is not known: the hedger has not measured at this instant, its band states no width, or a
    leg is valued by the model.

    Parameters
    ----------
    view, structure, hedger
        The desk, the options held, and what hedges them.
    quiet, way_usd
        Where the exits have no reason, and the change of the P&L before which none has, currency.
    partners
        The other option of an option's strike: in the money it shows the volatility.
    """
    known, market, now_ns = hedger.quiet(view.now_ns), view.market, view.now_ns
    spot_quote = market.quotes[view.underlying]
    if known is None or spot_quote is None:
        return None
    position, stated, least = known
    inputs, spot = position.inputs, position.inputs.spot
    low, high, deviation = 0.0, math.inf, spot * inputs.vol * math.sqrt(inputs.years)
    legs, deep, sizes = list[CalmLeg](), list[tuple[float, float]](), 0.0
    for number, contract, _ in structure.legs:
        strike, units = float(contract.strike), float(view.positions.quantity(number)) * contract.multiplier
        asked, size = [(number, units)], abs(units)
        sizes += size
        within = spot - strike if contract.is_call else strike - spot
        if within > 0.0:
            deep.append((within / max(deviation, 1e-9), size))
            if partners.get(number, number) not in structure.ratios:
                asked.append((partners[number], 0.0))
        for option, held in asked:
            leg = _leg_of(view, option, spot_quote, held, hedger)
            if leg is None:
                return None
            legs.append(leg)
        # beyond it the strike's other leg shows its volatility
        low, high = (max(low, strike), high) if strike < spot else (low, min(high, strike))
    proxy = None if view.hedge == view.underlying else market.quotes[view.hedge]
    life_ns = int(PART_OF_LIFE * inputs.years * SECONDS_PER_YEAR * NANOS_PER_SECOND)
    until_ns = min(quiet.until_ns, stated.until_ns, now_ns + MINUTE_NS, now_ns + life_ns)
    decay = 2.0 * abs(position.greeks.theta_usd_per_day) * DAYS_PER_YEAR
    way_usd -= decay * (until_ns - now_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR
    way_usd, price_room = 0.5 * way_usd, 0.5 * quiet.price_way  # the other halves are for new quotes
    owned, unit = abs(position.greeks.owned_shares), 1.0
    if view.instruments.by_id[view.hedge].is_inverse:
        unit = spot
    net, gamma = inputs.net_delta_shares, inputs.gamma_shares_per_usd
    gross, down, up = max(position.gross_gamma, abs(gamma)), 0.0, 0.0
    room = (
        min(stated.width, LARGEST)
        + (hedger.least_fraction * stated.width if stated.to_edge else 0.0)
        - abs(net)
    )
    vol_way = min(max(VOL_ROOM * room / max(position.vol_slope, 1e-9), LEAST_VOL_WAY), MOST_VOL_WAY)
    for reach in REACHES:
        change = FARTHEST * reach + GAMMA_BY_VOL * vol_way
        width = stated.width if stated.is_fixed else stated.width * math.exp(-WIDTH_POWER * change)
        width = max(width, least) if not stated.to_edge else width + max(hedger.least_fraction * width, least)
        width = min(width, quiet.half_widths * stated.width)
        width -= vol_way * (position.vol_slope + VANNA_BY_SPOT * reach * sizes)
        unsure = math.expm1(change) * gross
        rises, falls = max(gamma + unsure, 1e-9), max(unsure - gamma, 1e-9)
        units = sum(held for depth, held in deep if depth + reach > SHALLOW)
        way = min(reach * deviation, way_usd * unit / max(PRICE_SLOPE * units + owned, 1e-9))
        if units:
            way = min(way, price_room / PRICE_SLOPE)
        above, beneath = width - net, width + net
        ways = min(way, beneath / rises, above / falls), min(way, above / rises, beneath / falls)
        if min(ways) > 0.0 and sum(ways) > down + up:
            down, up = ways
    low, high = max(low, spot - down), min(high, spot + up)
    if not (low < spot < high and high - low > LEAST_WAY and until_ns > now_ns):
        return None
    least_spread, dealers = 0.99 * (spot_quote.ask - spot_quote.bid), tuple(market.gamma_exposures.values())
    stands = legs, 0.0 if quiet.same_quotes else way_usd, proxy, view.positions.held(), dealers
    return Calm(low, high, until_ns, least_spread, *stands, price_room, vol_way, quiet.follows)
