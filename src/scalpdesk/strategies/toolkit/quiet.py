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
from scalpdesk.marketdata.triggers import Trigger
from scalpdesk.portfolio.delta_engine import DEEP_WHOLLY
from scalpdesk.portfolio.positions import Position
from scalpdesk.strategies.contract import DeskView, TradeStart
from scalpdesk.strategies.toolkit.hedger import LARGEST, DeltaHedger

_FARTHEST, _WIDTH_POWER = 2.5, 2.0 / 3.0
"""Deviations from the strike up to which a gamma that changes faster counts; the power of gamma by which the
width of a band goes at most.
"""
_GAMMA_BY_VOL, _VANNA_BY_SPOT = 5.25, 0.4
"""Part by which gamma changes at most for that of a volatility, and by how much a unit's delta changes more
with it for each deviation that the spot goes.
"""
_VOL_WAY = 0.004
"""Part by which new quotes may change a leg's volatility."""
_REACHES = tuple(
    (reach, math.expm1(change), math.exp(-_WIDTH_POWER * change))
    for reach in (0.02, 0.06, 0.15)
    for change in (_FARTHEST * reach + _GAMMA_BY_VOL * _VOL_WAY,)
)
"""Deviations to expiry within which the spot may stay, by how much gamma changes there, and what is left of a
width. The reach that gives the widest way counts.
"""
_SHALLOW, _DEEP, _PRICE_SLOPE = 0.2, DEEP_WHOLLY + 0.05, 2.0
"""Deviations in the money up to which a mark is its mid, and stands; from which it is what parity says, and
gains its delta. What one in between may gain a unit of the spot: its delta, and as much on the way from its
mid to what parity says, or back.
"""
_PART_OF_LIFE, _LONGEST_NS = 0.01, 5 * MINUTE_NS
"""Part of the time to expiry in which Greeks stay what they are. Longest that exits are not asked."""


class Quiet(FrozenLeaf, frozen=True, gc=False):
    """Bounds strictly within which a rule has no reason: of the trade's P&L, in currency, and of time."""

    least_pnl: float = -math.inf
    most_pnl: float = math.inf
    until_ns: int = NEVER_NS
    """UTC nanoseconds."""
    price_way: float = math.inf
    """Change of a leg's price, currency per unit, before which it has none."""
    same_quotes: bool = False
    """Whether it may have one once an option is quoted anew."""
    follows: tuple[Callable[[Decimal], float], ...] = ()
    """Take in the trade's P&L at spared looks. Each returns the change of it, in currency, before it has to
    be told again; below zero where it has a reason.
    """

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
            mine.same_quotes or other.same_quotes,
            mine.follows + other.follows,
        )


ALWAYS = Quiet()
"""Of a rule that has no reason before an event that wakes the strategy anyway."""
SAME_QUOTES = Quiet(same_quotes=True)
USUAL = NEVER_NS, LARGEST
"""Where nothing watches the net delta."""


class _QuietLeg(NamedTuple):
    """A leg as it was looked at, and its latest quote since."""

    number: InstrumentId
    units: float
    is_out: bool
    """Whether it is out of the money: the other leg of its strike goes by its volatility."""
    mark: float
    """At the look, currency per unit."""
    quote: QuoteEvent
    until_ns: int
    """By when it is lost, or its strike's volatility is another, UTC nanoseconds; 0 where that goes with the
    spot, and before the underlying is quoted later: of one instant another may come.
    """
    vol: float
    """By which it is hedged now, a year."""


class _QuietHedge(NamedTuple):
    """Where, until when and while what stands the band has nothing to do."""

    low: float
    high: float
    until_ns: int
    """``low``, ``high``, ``until_ns``: As of the exits."""
    least_spread: float
    """Of the underlying: at a narrower one a hedge costs less, and a band is narrower."""
    vols: tuple[float, ...]
    """Of each leg."""
    proxy: QuoteEvent | None
    """Quote of a hedge that is not the underlying."""
    dealers: tuple[GammaExposureEvent, ...]
    """Dealer gamma that is known."""


class QuietPosition(Leaf, gc=False):
    """Where, until when and while what stands no exit has a reason."""

    start: TradeStart
    low: float
    high: float
    """``low``, ``high``: Mids of the underlying strictly between which it holds, currency per unit."""
    until_ns: int
    legs: list[_QuietLeg]
    room_usd: float
    price_room: float
    """``room_usd``, ``price_room``: Change of the legs' marks together, in currency, and of one, currency per
    unit, below which it holds.
    """
    held: Sequence[Position]
    follows: tuple[Callable[[Decimal], float], ...]
    """As of the rules' bounds."""
    slope: float
    """What the P&L may change by with the spot, currency a unit of it."""
    band: _QuietHedge | None = None
    told: tuple[float, float] = (0.0, 0.0)
    """Mids strictly between which no rule need be told the P&L."""

    def holds(self, view: DeskView, hedger: DeltaHedger) -> bool:
        """Return whether no exit has a reason now."""
        quotes, now_ns = view.market.quotes, view.now_ns
        quote, is_same = quotes[view.underlying], True
        if quote is None:
            return False
        spot = 0.5 * (quote.bid + quote.ask)
        if (
            now_ns >= self.until_ns
            or not self.low < spot < self.high
            or view.mode is not Mode.ACTIVE
            or view.orders.live
            or view.positions.held() is not self.held  # another list once something is booked
        ):
            return False
        for leg in self.legs:
            if quotes[leg.number] is not leg.quote or now_ns >= leg.until_ns:
                is_same = False
        if not is_same and not self._takes_in(view, quote, hedger):
            return False
        if not self.follows or (is_same and self.told[0] < spot < self.told[1]):
            return True
        pnl = view.trade_pnl(self.start)
        way = min(follows(pnl) for follows in self.follows) / self.slope
        self.told = spot - way, spot + way
        return way >= 0.0 and all(view.market.is_valid(leg.number) for leg in self.legs)

    def _takes_in(self, view: DeskView, spot: QuoteEvent, hedger: DeltaHedger) -> bool:
        """Take in new quotes of legs; return whether these are worth about what they were."""
        room, quotes = self.room_usd, view.market.quotes
        is_new = any(quotes[leg.number] is not leg.quote for leg in self.legs)
        for place, leg in enumerate(self.legs):
            if not is_new and view.now_ns < leg.until_ns:
                continue
            found = _leg_of(view, spot, hedger, *leg[:3])
            if found is None:
                return False
            change, band = abs(found.mark - leg.mark), self.band
            room -= abs(leg.units) * change
            if not room > 0.0 or not change < self.price_room:
                return False
            if band is not None and not abs(found.vol - band.vols[place]) <= _VOL_WAY * band.vols[place]:
                self.band = None
            self.legs[place] = found._replace(mark=leg.mark)
        return True

    def is_inside(self, view: DeskView) -> bool:
        """Return whether the band has nothing to do now."""
        band, market = self.band, view.market
        spot, exposures = market.quotes[view.underlying], market.gamma_exposures
        return not (
            band is None
            or spot is None
            or view.now_ns >= band.until_ns
            or not band.low < 0.5 * (spot.bid + spot.ask) < band.high
            or spot.ask - spot.bid < band.least_spread
            or (band.proxy is not None and market.quotes[view.hedge] is not band.proxy)
            or ((exposures or band.dealers) and tuple(exposures.values()) != band.dealers)
        )


def spare_calls(trigger: Trigger, view: DeskView, quiet: QuietPosition, until_ns: int) -> None:
    """Let a trigger pass over the calls of a backtest that would find neither exit nor hedge due.

    Each of them would answer as :meth:`QuietPosition.holds` and :meth:`QuietPosition.is_inside` do, whose
    bounds these are. ``until_ns``: What else of the strategy falls due.
    """
    band, market, now_ns = quiet.band, view.market, view.now_ns
    if band is None or band.proxy is not None or market.gamma_exposures:
        return
    low, high = max(quiet.low, band.low), min(quiet.high, band.high)
    if quiet.follows:
        low, high = max(low, quiet.told[0]), min(high, quiet.told[1])
    until_ns = min(until_ns, quiet.until_ns, band.until_ns, (now_ns // _LONGEST_NS + 1) * _LONGEST_NS)
    until_ns = min(until_ns, *(leg.until_ns for leg in quiet.legs))
    if until_ns > now_ns and low < high:
        trigger.spare(low, high, band.least_spread, until_ns, [leg.quote for leg in quiet.legs])


def _leg_of(
    view: DeskView, spot: QuoteEvent, hedger: DeltaHedger, number: InstrumentId, units: float, is_out: bool
) -> _QuietLeg | None:
    """Return a leg as it is now; None where its quote shows no price."""
    quote, value = view.market.quotes[number], view.delta_engine.state(number, view.now_ns)
    if quote is None or value is None or value.is_modelled:
        return None
    until_ns, strike = quote.ts_event_ns + view.market.lost_ns[number], value.strike_vol
    if is_out:
        until_ns = 0 if strike is None else min(until_ns, strike.until_ns)
    if not quote.ts_event_ns < spot.ts_event_ns:
        until_ns = 0
    vol = value.own_vol if hedger.goes_by_quotes else value.vol
    return _QuietLeg(number, units, is_out, value.mark, quote, until_ns, vol)


def quiet_position(
    view: DeskView,
    structure: Structure,
    start: TradeStart,
    hedger: DeltaHedger,
    quiet: Quiet,
    way_usd: float,
    partners: Mapping[InstrumentId, InstrumentId],
) -> QuietPosition | None:
    """Return where and until when no exit of a structure that was just looked at has a reason.

    None where that is not known: the hedger has not measured now, or a leg is valued by the model.

    ``view``, ``structure``, ``start``, ``hedger``: The desk, the options held and from when, and what hedges
    them.
    ``quiet``, ``way_usd``: Where the exits have no reason, and the change of the P&L before which none has,
    currency.
    ``partners``: The other option of an option's strike: in the money it shows the volatility.
    """
    position, quote, now_ns = hedger.measured(view.now_ns), view.market.quotes[view.underlying], view.now_ns
    if position is None or quote is None:
        return None
    inputs, spot = position.inputs, position.inputs.spot
    low, high, deviation = 0.0, math.inf, spot * inputs.vol * math.sqrt(inputs.years)
    legs, deep = list[_QuietLeg](), list[tuple[float, float]]()
    for number, contract, _ in structure.legs:
        strike, units = float(contract.strike), float(view.positions.quantity(number)) * contract.multiplier
        within = spot - strike if contract.is_call else strike - spot
        asked = [(number, units, not within > 0.0)]
        if within > 0.0:
            deep.append((within / max(deviation, 1e-9), units if contract.is_call else -units))
            if partners.get(number, number) not in structure.ratios:
                asked.append((partners[number], 0.0, True))
        for option, held, is_out in asked:
            leg = _leg_of(view, quote, hedger, option, held, is_out)
            if leg is None:
                return None
            legs.append(leg)
        # beyond it the strike's other leg shows its volatility
        low, high = (max(low, strike), high) if strike < spot else (low, min(high, strike))
    until_ns = min(quiet.until_ns, now_ns + _LONGEST_NS)
    decay = 2.0 * abs(position.greeks.theta_usd_per_day) * DAYS_PER_YEAR
    way_usd -= decay * (until_ns - now_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR
    way_usd, price_room = 0.5 * way_usd, 0.5 * quiet.price_way  # the other halves are for new quotes
    unit = spot if view.instruments.by_id[view.hedge].is_inverse else 1.0
    way = slope = 0.0
    for reach in (*(reach for reach, _, _ in _REACHES), 1.0):
        falls = rises = position.greeks.owned_shares
        by_price = math.inf
        for depth, units in deep:
            if depth + reach > _SHALLOW:
                back, on = (0.0, 1.0) if depth - reach > _DEEP else (1.0 - _PRICE_SLOPE, _PRICE_SLOPE)
                falls, rises = falls + min(back * units, on * units), rises + max(back * units, on * units)
                by_price = price_room / _PRICE_SLOPE
        slope = max(-falls, rises, 1e-9) / unit
        way = max(way, min(reach * deviation, way_usd / slope, by_price))
    low, high, room = max(low, spot - way), min(high, spot + way), 0.0 if quiet.same_quotes else way_usd
    bounds = start, low, high, until_ns, legs, room, price_room
    return QuietPosition(*bounds, view.positions.held(), quiet.follows, slope)


def quiet_hedge(
    view: DeskView, quiet: QuietPosition, hedger: DeltaHedger, usual: tuple[int, float]
) -> _QuietHedge | None:
    """Return where and until when the band has nothing to do on a position just measured; None if unknown.

    ``usual`` is until when, and to what multiple of the half width, no net delta is unusual.
    """
    known, market, now_ns = hedger.quiet(view.now_ns), view.market, view.now_ns
    quote = market.quotes[view.underlying]
    if known is None or quote is None:
        return None
    position, stated, least = known
    inputs, sizes = position.inputs, sum(abs(leg.units) for leg in quiet.legs)
    deviation = inputs.spot * inputs.vol * math.sqrt(inputs.years)
    life_ns = min(int(_PART_OF_LIFE * inputs.years * SECONDS_PER_YEAR * NANOS_PER_SECOND), MINUTE_NS)
    net, gamma = inputs.net_delta_shares, inputs.gamma_shares_per_usd
    gross, down, up = max(position.gross_gamma, abs(gamma)), 0.0, 0.0
    for reach, changes, left in _REACHES:
        width = stated.width if stated.is_fixed else stated.width * left
        width = max(width, least) if not stated.to_edge else width + max(hedger.least_fraction * width, least)
        width = min(width, usual[1] * stated.width)
        width -= _VOL_WAY * (position.vol_slope + _VANNA_BY_SPOT * reach * sizes)
        unsure, way = changes * gross, reach * deviation
        rises, falls = max(gamma + unsure, 1e-9), max(unsure - gamma, 1e-9)
        above, beneath = width - net, width + net
        ways = min(way, beneath / rises, above / falls), min(way, above / rises, beneath / falls)
        if min(ways) > 0.0 and sum(ways) > down + up:
            down, up = ways
    until_ns = min(stated.until_ns, now_ns + life_ns, usual[0])
    proxy = None if view.hedge == view.underlying else market.quotes[view.hedge]
    bounds = inputs.spot - down, inputs.spot + up, until_ns, 0.99 * (quote.ask - quote.bid)
    stands = tuple(leg.vol for leg in quiet.legs), proxy, tuple(market.gamma_exposures.values())
    return _QuietHedge(*bounds, *stands)
