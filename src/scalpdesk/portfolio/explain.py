"""P&L explain: the change of net asset value between two marks by cause, to the cent.

Each option leg is revalued from an *anchor*, the state of the market in which its interval began (anchored
ANOVA: Rabitz and Aliş 1999; for options Carr and Wu 2020): the step in time alone is theta, on the variance
clock of the session; the step in spot alone is delta, gamma and what is left of it; the step in volatility
alone is vega and volga; the cross terms are vanna, charm and veta; rates and dividends come last. A mark
shows the running values, so that marks change nothing: anchors are the changes of a position, the session's
open and close, and the wall clock each 300 s (60 s in the last two hours of a held expiry). Each underlying
has anchors of its own: a trade in another one moves none of them. The path between
is never interpolated: n straight steps would call (n-1)/n of gamma delta. What hedges in the underlying's
place is anchored at its own trades alone: its basis follows from fills, and a quote of an hour ago makes no
new dollar delta of each step of the underlying.

Trades are booked between intervals: each costs its half-spread, its fee, and slippage, the rest of the
distance between its price and the mid. The residual closes the sum to the change of net asset value exactly;
a mark that the model's value does not meet is in it, and shown apart as *mark noise*.

Realised against implied is gamma plus theta: what moving earned less what the implied volatility charged.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from msgspec import structs

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Mark
from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import (
    CENT,
    DAYS_PER_YEAR,
    NANOS_PER_SECOND,
    SATOSHI,
    SECONDS_PER_YEAR,
    ZERO,
    InstrumentId,
    exact,
    to_cents,
)
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.greeks import GreekSum
from scalpdesk.portfolio.interval import (
    NO_LEG_PARTS,
    HeldGamma,
    LegParts,
    LegSnapshot,
    MoveMeter,
    explain,
    held_gamma,
)
from scalpdesk.portfolio.leg_snapshots import COIN_DECIMALS, LegSnapshots, Marked
from scalpdesk.portfolio.positions import Account, Position, PositionManager, exact_price, net_asset_value
from scalpdesk.portfolio.trade_cost import trade_cost

PARTS = (
    "delta",
    "gamma",
    "theta",
    "vega",
    "higher_order",
    "carry",
    "spread",
    "fees",
    "slippage",
    "residual",
)
BASIS = "basis"
"""Part of a desk that hedges with another instrument than the underlying, before the residual: what the
instrument earned beyond what the underlying would have on the same dollar delta.
"""
NO_AMOUNT = Decimal("0.000000")
"""Zero in the format of a part; most parts of a book without options are zero."""
NO_PARTS = dict.fromkeys(PARTS, NO_AMOUNT)
NO_MARKS: Mapping[InstrumentId, Marked] = MappingProxyType({})
MODEL_PARTS = PARTS[:5]
"""Parts that revaluation alone gives."""
DETAILS = LegParts.__struct_fields__[4:-1]
"""Lines under the parts: six in ``higher_order``, two in ``carry``, the last in the residual."""
HIGHER = DETAILS[:6]
LARGEST_UNEXPLAINED = 0.05
"""Fraction of the gross: a larger residual with its three-way term is flagged."""
LONG_GAP_NS = 30 * 60 * NANOS_PER_SECOND
"""Without a quote for longer, what a leg's volatility did is mark noise, not vega."""
MOST_ASSUMED = 500
"""Intervals on the configured yield that are kept to be restated; the oldest stay as they are."""
ANCHOR_NS = 300 * NANOS_PER_SECOND
LAST_ANCHOR_NS = 60 * NANOS_PER_SECOND
LAST_HOURS_SECONDS = 2 * 3_600
"""Wall-clock grid of the anchors, and the finer one in the last hours of a held expiry."""


def part_names(parts: Iterable[str]) -> tuple[str, ...]:
    """Return the parts of an explain in the order in which they are shown.

    >>> part_names(["total", *PARTS]) == PARTS, part_names([*PARTS, BASIS])[-2:]
    (True, ('basis', 'residual'))
    """
    return (*PARTS[:-1], BASIS, PARTS[-1]) if BASIS in parts else PARTS


class _Leg(Leaf, gc=False):
    """Position since its anchor, and what of the interval was shown."""

    start: LegSnapshot
    underlying: InstrumentId
    """Underlying that its anchors are of; of a hedge in another's place that one."""
    is_lost: bool = False
    """Whether it has had no quote for long; see :data:`LONG_GAP_NS`."""
    is_carry_assumed: bool = False
    """Whether its state stands on the configured yield, as no quotes have shown the market's yet."""
    shown: LegParts = NO_LEG_PARTS
    final: LegParts | None = None
    """Parts since its anchor, once it has been delivered."""
    assumed: tuple[tuple[LegSnapshot, LegSnapshot, LegParts], ...] = ()
    """Its earlier intervals on the configured yield: start, end and parts."""
    corrected: LegParts = NO_LEG_PARTS
    """Correction of those parts to the yield that quotes have shown since."""


class PnlExplain:
    """P&L explain of an account, from mark to mark.

    Parameters
    ----------
    instruments, state, delta_engine, account, positions
        The desk's parts, which the explain only reads.
    underlying
        Id of the run's main underlying: its mark is the spot of each mark.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        delta_engine: DeltaEngine,
        account: Account,
        positions: PositionManager,
        underlying: InstrumentId,
    ) -> None:
        self._underlying, self._symbol = underlying, instruments[underlying].symbol
        self._instruments = instruments
        self._state = state
        self._delta_engine = delta_engine
        self._snapshots = LegSnapshots(instruments, state, delta_engine)
        self._account = account
        self._positions = positions
        is_coin = instruments[underlying].is_inverse
        self.unit = SATOSHI if is_coin else CENT
        """Smallest amount of the account."""
        self._decimals = COIN_DECIMALS if is_coin else 6
        self._scale, self._least = 10.0**self._decimals, Decimal(1).scaleb(-self._decimals)
        """Number of smallest amounts in one unit, and that amount."""
        if is_coin:  # from the start, so that no mark changes what a strategy finds
            state.keep_quotes(underlying)
        self._last_ns = 0
        self.nav = account.cash
        """Net asset value at the last mark."""
        self._start_nav = account.cash
        self._legs: dict[InstrumentId, _Leg] = {}
        self._spread = self._fees = self._slippage = self.noted_carry = ZERO
        """Costs of the trades (negative) and carry since the last mark, exact."""
        self._hedge_costs = ZERO
        self.hedge_costs = ZERO
        """Part of the totals: spread, fees and slippage of hedges; negative, up to the last mark."""
        names = part_names((BASIS,)) if delta_engine.proxies else PARTS
        self._parts = NO_PARTS if names is PARTS else dict.fromkeys(names, NO_AMOUNT)
        """Parts of a mark, all zero."""
        self.totals: dict[str, Decimal] = dict.fromkeys(self._parts, ZERO)
        self.overnight: dict[str, Decimal] = dict.fromkeys(self._parts, ZERO)
        """Part of the totals: from a close to the first mark of the next session."""
        self.details: dict[str, float] = dict.fromkeys(DETAILS, 0.0)
        """Lines under the totals, in currency."""
        self.better_fills, self.better_by = 0, ZERO
        """Fills that beat the mark by more than the quote's near side and a tick, and their sum, currency."""
        self.hedge_fills = self.fills_without_spread = 0
        """Fills of what is no option, and those at a quote whose sides were one price."""
        self.meter = MoveMeter()
        self._interval: tuple[int, float, HeldGamma] | None = None
        """State of the meter: its start, the spot, and the gamma held."""
        self._anchors: dict[InstrumentId, int] = {}
        """When the interval of what is held began, by its underlying; UTC nanoseconds."""
        self._owners: dict[InstrumentId, InstrumentId] = {}
        self._found: set[InstrumentId] = set()
        """Underlyings of legs that have a quote again."""
        self._is_overnight = self._opens = self._is_restated = False
        self._starts: list[LegSnapshot] = []
        """Starts of the meter's interval, while one of them stands on the configured yield."""
        self._assumed = deque[tuple[list[LegSnapshot], float, float, float, HeldGamma]](maxlen=MOST_ASSUMED)
        """Intervals of the meter that began so: starts, spot, move, years and gamma."""
        self._has_guesses = False
        """Whether a leg may stand on the configured yield: spares the question at most marks."""
        self._opened_ns = self._opened_before_ns = 0
        """First mark of this session, and of the one before it."""
        self._ended: list[_Leg] = []
        """Legs that were delivered since the last mark."""
        self.marks = NO_MARKS
        """Marks of what was held at the last mark."""
        self.realised_vs_implied = 0.0
        self.theta_paid = 0.0

    @property
    def nav_change(self) -> Decimal:
        """Change of net asset value since the run began, at the last mark."""
        return self.nav - self._start_nav

    def current_nav(self) -> Decimal:
        """Return the current net asset value."""
        return net_asset_value(self._account, self._positions.held(), self._delta_engine)

    def begin(self, now_ns: int) -> None:
        """Start the explain from the current positions."""
        self._last_ns = now_ns
        self.nav = self._start_nav = self.current_nav()
        self.rebase(now_ns)

    def note_trade(
        self, quote: QuoteEvent | None, signed_quantity: Decimal, price: Decimal, fee: Decimal
    ) -> None:
        """Book the cost of an execution against the mark.

        See :func:`trade_cost`; costs are negative. Where the quote was lost the distance to the model's mark
        is mark noise, in the residual.
        """
        self._fees -= fee
        if quote is None:
            return
        number = quote.instrument_id
        instrument, mark, fair = self._instruments.by_id[number], self._delta_engine.mark(number), None
        is_lost = instrument.is_option and self._state.is_lost(number)
        if instrument.is_option and instrument.is_inverse and not is_lost:
            leg = self._legs.get(number)
            fair = self._snapshots.fair(number, self._last_ns, None if leg is None else leg.start)
        at = price if mark is None else exact_price(mark)
        cost = trade_cost(instrument, quote, signed_quantity, price, at, fair=fair, is_lost=is_lost)
        self._spread -= cost.spread
        self._slippage -= cost.slippage
        self.details["mark_noise"] += cost.mark_noise
        if not instrument.is_option:
            self.hedge_fills += 1
            self.fills_without_spread += quote.bid == quote.ask
            self._hedge_costs -= cost.spread + cost.slippage + fee
        if cost.better_by:
            self.better_fills += 1
            self.better_by += cost.better_by

    def note_delivery(self, instrument_id: InstrumentId, payoff: Decimal) -> None:
        """End the leg of an option that is settled at ``payoff``, currency per unit.

        The noise of its last mark ends with it. An option on a coin is settled at the mean of the index over
        half an hour: for that leg a last step of the spot.
        """
        leg = self._legs.get(instrument_id)
        if leg is None or leg.start.state is None:
            return
        start, contract, state, price = leg.start, leg.start.instrument, leg.start.state, float(payoff)
        assert contract.is_option
        if not contract.is_coin:
            mark = self.marks[instrument_id][0] if instrument_id in self.marks else None
            self.details["mark_noise"] += 0.0 if mark is None else start.units * (price - mark)
            return
        side = -1.0 if contract.is_call else 1.0
        strike = float(contract.strike)
        level = strike / (1.0 + side * price) if contract.is_inverse else strike - side * price
        if not payoff:
            last = self._state.mark(self._instruments.id_of(contract.underlying)) or level
            level = min(last, level) if contract.is_call else max(last, level)
        end = state._replace(spot=level, variance_years=0.0, years=0.0)
        leg.final = explain(start, structs.replace(start, mark=price, state=end))
        self._ended.append(self._legs.pop(instrument_id))

    def note_carry(self, amount: Decimal) -> None:
        """Book a dividend or interest received (negative when paid)."""
        self.noted_carry += amount

    def note_transfer(self, worth: Decimal) -> None:
        """Shift the reference levels of gains by a deposit (negative: withdrawal) of the owner."""
        self.nav += worth
        self._start_nav += worth

    def open_session(self) -> None:
        """Count the interval up to the next mark as overnight."""
        self._is_overnight = bool(self._legs)
        self._opens = True

    def rebase(
        self,
        now_ns: int,
        marks: Mapping[InstrumentId, Marked] = NO_MARKS,
        of: InstrumentId | None = None,
    ) -> None:
        """Begin a new interval, at ``now_ns`` (UTC nanoseconds), with the current positions.

        ``marks`` are those that are known already, as :attr:`marks` is just after a mark. ``of`` is the
        instrument whose trade ends the interval: only the legs on its underlying begin again.
        """
        changed = None if of is None else self._anchored_with(of)
        for own in (*self._anchors,) if changed is None else (changed,):
            self._anchors[own] = now_ns
        before, legs, has_options = self._legs, {}, False
        for number, position in self._positions.positions.items():
            if position.quantity and position.instrument.currency == self._account.currency:
                leg, units = before.get(number), position.float_quantity * position.multiplier
                own = leg.underlying if leg is not None else self._anchored_with(number)
                begins = leg is None or ((changed is None or own == changed) and not leg.start.proxied)
                if leg is None or begins or leg.start.units != units:
                    marked = marks.get(number) or self._snapshots.marked(number, now_ns)
                    leg = self._leg(position, now_ns, leg, marked, own)
                    self._anchors[own] = now_ns
                legs[number] = leg
                has_options = has_options or leg.start.state is not None
        self._legs = legs
        if (changed is None or changed == self._underlying) and (has_options or self._interval is not None):
            self._renew_interval(now_ns)

    def _anchored_with(self, number: InstrumentId) -> InstrumentId:
        """Return the underlying whose anchors are an instrument's."""
        found = self._owners.get(number)
        if found is None:
            proxy = self._delta_engine.proxies.get(number)
            instrument = self._instruments.by_id[number]
            found = number if proxy is None else proxy.underlying_id
            if instrument.is_option:
                found = self._instruments.id_of(instrument.underlying)
            self._owners[number] = found
        return found

    def _renew_interval(self, now_ns: int) -> None:
        """End the meter's interval and begin the next with the gamma of now."""
        spot = self._state.mark(self._underlying)
        if spot is None:
            return
        paid = 0.0
        if self._interval is not None:
            start_ns, start_spot, held = self._interval
            years = held.variance_years - self._delta_engine.terms.variance_left(held.expires_ns, now_ns)
            if years > 0.0:
                if self._state.dividends or self._state.adjustments:
                    paid = self._snapshots.dividends(self._underlying, start_ns, now_ns)
                d_spot = spot + paid - start_spot
                self.meter.add(held.gamma, start_spot, d_spot, held.vol, years)
                if self._starts:
                    self._assumed.append((self._starts, start_spot, d_spot, years, held))
        starts = [leg.start for leg in self._legs.values()]
        found = held_gamma(starts, self._symbol)
        self._starts = starts if self._has_guesses else []
        self._interval = None if found is None else (now_ns, spot, found)

    def _leg(
        self, position: Position, now_ns: int, before: _Leg | None, marked: Marked, underlying: InstrumentId
    ) -> _Leg:
        """Return a position at an anchor and its mark; ``before`` is its leg of the interval that ends."""
        number, (mark, valuation) = position.instrument_id, marked
        vol = None if before is None or before.start.state is None else before.start.state.vol
        start = self._snapshots.first(position, now_ns, marked, vol)
        if mark is None or not position.instrument.is_option:
            return _Leg(start, underlying)
        is_modelled = valuation is not None and valuation.is_modelled
        is_lost = is_modelled and self._is_long_lost(number, now_ns)
        is_carry_assumed = valuation is not None and valuation.is_forward_assumed
        self._has_guesses = self._has_guesses or is_carry_assumed
        leg = _Leg(start, underlying, is_lost, is_carry_assumed)
        if is_carry_assumed and before is not None and before.is_carry_assumed:
            end = self._snapshots.later(before.start, now_ns, marked, keeps_vol=False)
            if end is not None:
                leg.assumed = (*before.assumed, (before.start, end, before.shown))[-MOST_ASSUMED:]
        return leg

    def _is_long_lost(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether a quote is lost for longer than a gap of half an hour or the night before."""
        quote = self._state.two_sided(instrument_id)
        if quote is None:
            return True
        if quote.ts_recv_ns < self._opened_ns:
            return now_ns - self._opened_ns > ANCHOR_NS or quote.ts_recv_ns < self._opened_before_ns
        return now_ns - quote.ts_recv_ns > LONG_GAP_NS

    def mark(self, now_ns: int, *, is_anchor: bool = False, of: InstrumentId | None = None) -> Mark | None:
        """Explain the interval since the last mark; None when nothing has changed.

        Parameters
        ----------
        now_ns
            UTC nanoseconds.
        is_anchor
            Whether a new interval begins here whatever the clock says: the close of a session.
        of
            Instrument whose trade asks for the mark: legs on other underlyings show their running values and
            stay as they are. None for a mark by the clock.
        """
        changed = None if of is None else self._anchored_with(of)
        if self._opens:
            self._opens, self._opened_before_ns, self._opened_ns = False, self._opened_ns, now_ns
        nav, marks, greeks, vol, last_hours = self._book_now(now_ns)
        self.marks = marks
        spread, fees, slippage, change = self._spread, self._fees, self._slippage, nav - self.nav
        if now_ns == self._last_ns and not change and not (spread or fees):
            return None
        delta, gamma, theta, vega, higher_order, carry, basis = self._legs_moved(now_ns, marks, changed)
        parts, booked = self._parts.copy(), self.noted_carry
        parts["spread"], parts["fees"], parts["slippage"] = spread, fees, slippage
        explained = NO_AMOUNT + spread + slippage + fees + booked
        for name, value in zip(MODEL_PARTS, (delta, gamma, theta, vega, higher_order), strict=True):
            if value:
                parts[name] = amount = self._amount(value)
                explained += amount
        if booked is not ZERO or carry:
            amount = self._amount(carry) if carry else NO_AMOUNT
            parts["carry"] = amount + booked  # a sum has no negative zero
            explained += amount
        if basis:
            parts[BASIS] = amount = self._amount(basis)
            explained += amount
        parts["residual"] = change - explained
        self._add_to_totals(parts)
        self.realised_vs_implied += gamma + theta
        self.theta_paid += theta
        self._last_ns, self.nav = now_ns, nav
        self.hedge_costs += self._hedge_costs
        self._spread = self._fees = self._slippage = self.noted_carry = self._hedge_costs = ZERO
        if is_anchor or (self._is_overnight and changed is None):
            self.rebase(now_ns, marks)
        else:
            for number, anchor_ns in list(self._anchors.items()):
                grid = LAST_ANCHOR_NS if number in last_hours else ANCHOR_NS
                is_due = now_ns // grid != anchor_ns // grid or number in self._found
                if is_due and (changed is None or number == changed):
                    self.rebase(now_ns, marks, number)
        self._found.clear()
        self._is_overnight = False
        spot = (marks.get(self._underlying) or self._snapshots.marked(self._underlying, now_ns))[0] or 0.0
        return Mark(  # by position: names take twice as long
            now_ns,
            nav,
            change,
            parts,
            spot,
            greeks.delta + greeks.shares,
            greeks.gamma,
            greeks.theta / DAYS_PER_YEAR,
            greeks.vega / 100.0,
            vol,
            gamma + theta,
            theta,
        )

    def _legs_moved(
        self, now_ns: int, marks: Mapping[InstrumentId, Marked], changed: InstrumentId | None
    ) -> tuple[float, float, float, float, float, float, float]:
        """Bring the legs to the marks of now, and the lines under the parts with them.

        Returns delta, gamma, theta, vega, higher order, carry and basis of the interval since the last mark.
        """
        delta = gamma = theta = vega = higher_order = carry = basis = 0.0
        details = self.details
        legs: Iterable[_Leg] = self._legs.values()
        if self._ended:
            legs, self._ended = (*legs, *self._ended), []
        for leg in legs:
            before = structs.astuple(leg.shown)
            leg.shown = leg.final or self._since_anchor(leg, now_ns, marks, changed)
            steps = [now - then for now, then in zip(structs.astuple(leg.shown), before, strict=True)]
            by_delta, by_gamma, by_time, by_vol, *lines = steps
            delta += by_delta
            gamma += by_gamma
            *higher, dividend, rate, _, by_basis = lines
            if leg.start.state is None:
                carry += dividend
                basis += by_basis
                continue
            theta += by_time
            vega += by_vol
            for step in higher:
                higher_order += step
            carry += dividend + rate
            for name, step in zip(DETAILS, lines[:-1], strict=True):
                details[name] += step
        if self._is_restated:
            self._is_restated = False
            self._has_guesses = any(leg.is_carry_assumed for leg in self._legs.values())
            found = held_gamma([leg.start for leg in self._legs.values()], self._symbol)
            if self._interval is not None:
                self._interval = None if found is None else (*self._interval[:2], found)
            self._restate_meter(marks)
            if not self._has_guesses:
                self._starts = []
        return delta, gamma, theta, vega, higher_order, carry, basis

    def _add_to_totals(self, parts: Mapping[str, Decimal]) -> None:
        """Add the parts of an interval to the totals."""
        totals = self.totals
        for name, amount in parts.items():
            if amount is not NO_AMOUNT and amount:
                totals[name] += amount
                if self._is_overnight:
                    self.overnight[name] += amount

    def _amount(self, value: float) -> Decimal:
        """Return a part as an amount: by whole numbers, in a fourth of the time of a text."""
        if -1e15 < value < 1e15:
            whole = round(value * self._scale)
            # what rounds to zero keeps its sign, as it does in a text: the hash of a run's outputs has it
            return whole * self._least if whole or value > 0.0 else -self._least * 0
        return Decimal(value)

    def _book_now(
        self, now_ns: int
    ) -> tuple[Decimal, Mapping[InstrumentId, Marked], GreekSum, float, set[InstrumentId]]:
        """Return net asset value, marks and Greeks of what is held at the marks of now.

        Then the mean implied volatility of the options by their size (fractions a year of the variance clock;
        0 without any, and before quotes have shown their forward), and the underlyings with an option in its
        last hours.
        """
        nav, greeks, currency = self._account.cash, GreekSum(), self._account.currency
        marks: dict[InstrumentId, Marked] = {}
        vol_sum = vol_weight = 0.0
        last_hours = set[InstrumentId]()
        for instrument_id, position in self._positions.positions.items():
            quantity = position.quantity
            instrument = position.instrument
            if not quantity or instrument.currency != currency:
                continue
            mark, valuation = self._delta_engine.mark(instrument_id), None
            if instrument.is_option:
                valuation = self._delta_engine.state(instrument_id, now_ns)
            marks[instrument_id] = mark, valuation
            price = position.average_price if mark is None else exact_price(mark)
            nav += instrument.value(quantity, price)
            if valuation is None:
                if self._delta_engine.proxies:
                    greeks.shares += self._delta_engine.delta_of(position, float(price))
                else:
                    greeks.shares += instrument.delta(position.float_quantity, float(price))
                continue
            units = position.float_quantity * position.multiplier
            greeks.add(units, valuation.hedge_greeks)
            if not self._has_guesses or self._delta_engine.knows_forward(instrument_id, now_ns):
                to_clock = self._delta_engine.to_clock(valuation.contract, now_ns)
                vol_sum += abs(units) * valuation.hedge_vol * to_clock
                vol_weight += abs(units)
            if valuation.years * SECONDS_PER_YEAR < LAST_HOURS_SECONDS:
                last_hours.add(self._anchored_with(instrument_id))
        return nav, marks, greeks, vol_sum / vol_weight if vol_weight else 0.0, last_hours

    def _since_anchor(
        self, leg: _Leg, now_ns: int, marks: Mapping[InstrumentId, Marked], changed: InstrumentId | None
    ) -> LegParts:
        """Return what has moved a leg since its anchor; a leg that is gone is explained to its last mark."""
        number = leg.start.instrument_id
        marked = marks.get(number) or self._snapshots.marked(number, now_ns)
        valuation = marked[1]
        is_own = changed is None or leg.underlying == changed
        if valuation is not None and leg.is_carry_assumed and is_own:
            leg.is_carry_assumed = valuation.is_forward_assumed
            if not leg.is_carry_assumed:
                restated = self._snapshots.restated
                leg.start, self._is_restated = restated(leg.start, valuation), True
                for start, ended, shown in leg.assumed:
                    parts = explain(restated(start, valuation), restated(ended, valuation))
                    leg.corrected = _added(leg.corrected, parts, shown)
                leg.assumed = ()
        # what was not seen is no move of this interval
        is_found = leg.is_lost and valuation is not None and not valuation.is_modelled
        end = self._snapshots.later(leg.start, now_ns, marked, keeps_vol=is_found)
        if end is None:
            return leg.shown
        if is_found:
            self._found.add(leg.underlying)
        moved = explain(leg.start, end)
        return moved if leg.corrected is NO_LEG_PARTS else _added(leg.corrected, moved, NO_LEG_PARTS)

    def _restate_meter(self, marks: Mapping[InstrumentId, Marked]) -> None:
        """Count the intervals that began on a configured yield at the yield that quotes have shown since."""
        kept = self._assumed.copy()
        self._assumed.clear()
        for starts, spot, d_spot, years, held in kept:
            wrong = MoveMeter()
            wrong.add(held.gamma, spot, d_spot, held.vol, years)
            known = [self._as_shown(start, marks) for start in starts]
            found = held_gamma(known, self._symbol) or held
            self.meter = self.meter.since(wrong)
            self.meter.add(found.gamma, spot, d_spot, found.vol, years)
            if self._has_guesses:
                self._assumed.append((known, spot, d_spot, years, found))

    def _as_shown(self, start: LegSnapshot, marks: Mapping[InstrumentId, Marked]) -> LegSnapshot:
        leg, valuation = self._legs.get(start.instrument_id), marks.get(start.instrument_id, (None, None))[1]
        if valuation is None or leg is None or leg.is_carry_assumed:
            return start
        return self._snapshots.restated(start, valuation)


def _added(before: LegParts, more: LegParts, less: LegParts) -> LegParts:
    parts = zip(structs.astuple(before), structs.astuple(more), structs.astuple(less), strict=True)
    return LegParts(*(have + plus - minus for have, plus, minus in parts))


def parts_in_cents(
    totals: dict[str, Decimal], nav_change: Decimal, unit: Decimal = CENT
) -> dict[str, Decimal]:
    """Round the parts to cents so that they sum to the rounded change; the residual takes the rest.

    ``unit`` is the account's smallest amount, where that is no cent.
    """
    rounded = {name: to_cents(amount, unit) + ZERO for name, amount in totals.items()}  # no negative zero
    total = to_cents(nav_change, unit)
    rounded["residual"] = total - sum(
        (amount for name, amount in rounded.items() if name != "residual"), ZERO
    )
    return {"total": total, **rounded}


def unexplained(explained: PnlExplain, decimals: int = 2) -> dict[str, str | float | bool]:
    """Return what the model leaves open, as JSON types: residual and three-way term against the gross.

    ``amount`` is their sum, ``gross`` the sum of the parts' sizes, both in the desk's currency; ``of_gross``
    their ratio (0 without any), ``flagged`` whether it exceeds :data:`LARGEST_UNEXPLAINED`.
    """
    gross = float(sum((abs(amount) for amount in explained.totals.values()), ZERO))
    left = float(explained.totals["residual"]) + explained.details["three_way"]
    share = abs(left) / gross if gross > 0.0 else 0.0
    return {
        "amount": f"{left:.{decimals}f}",
        "gross": f"{gross:.{decimals}f}",
        "of_gross": round(share, 6),
        "flagged": share > LARGEST_UNEXPLAINED,
    }


def _details_in_cents(explained: PnlExplain) -> dict[str, Decimal]:
    """Round the lines so that those of the higher order sum to it; the three-way term takes the rest."""
    rounded = {
        name: to_cents(exact(each, 12), explained.unit) + ZERO for name, each in explained.details.items()
    }
    others = sum((rounded[name] for name in HIGHER if name != "three_way"), ZERO)
    rounded["three_way"] = to_cents(explained.totals["higher_order"], explained.unit) - others
    return rounded


def explain_lines(explained: PnlExplain) -> dict[str, Any]:
    """Return the lines under the parts as JSON types: amounts in cents, volatilities as fractions a year.

    ``intraday`` and ``overnight`` hold the parts of each; volatilities and moves are null where nothing
    was held.
    """
    unit = explained.unit
    decimals = -int(unit.as_tuple().exponent)
    night = {name: to_cents(amount, unit) for name, amount in explained.overnight.items()}
    figures = explained.meter.figures()
    return {
        "details": {name: f"{amount:f}" for name, amount in _details_in_cents(explained).items()},
        "unexplained": unexplained(explained, decimals),
        "without_spread": {"fills": explained.fills_without_spread, "of": explained.hedge_fills},
        "better_than_quoted": {
            "fills": explained.better_fills,
            "amount": f"{explained.better_by:.{decimals}f}",
        },
        "overnight": {name: str(amount) for name, amount in night.items()},
        "intraday": {
            name: str(to_cents(amount, unit) - night[name]) for name, amount in explained.totals.items()
        },
        "realised_against_implied": {
            "total": f"{explained.realised_vs_implied:.{decimals}f}",
            **{
                name: round(value, 6) if math.isfinite(value) else None
                for name, value in figures.items()
                if name.endswith(("_vol", "_weighted", "_move"))
            },
        },
    }
