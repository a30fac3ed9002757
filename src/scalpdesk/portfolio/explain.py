"""P&L explain: the change of net asset value between two marks by cause, to the cent.

Each option leg is revalued from an *anchor*, the state of the market in which its interval began (anchored
ANOVA: Rabitz and Aliş 1999; for options Carr and Wu 2020): the step in time alone is theta, on the variance
clock of the session; the step in spot alone is delta, gamma and what is left of it; the step in volatility
alone is vega and volga; the cross terms are vanna, charm and veta; rates and dividends come last. A mark
shows the running values, so that marks change nothing: anchors are the changes of a position, the session's
open and close, and the wall clock each 300 s (60 s in the last two hours of a held expiry). The path between
is never interpolated: n straight steps would call (n-1)/n of gamma delta.

Trades are booked between intervals: each costs its half-spread, its fee, and slippage, the rest of the
distance between its price and the mid. The residual closes the sum to the change of net asset value exactly;
a mark that the model's value does not meet is in it, and shown apart as *mark noise*.

Realised against implied is gamma plus theta: what moving earned less what the implied volatility charged.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Mark
from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import (
    CENT,
    DAYS_PER_YEAR,
    NANOS_PER_SECOND,
    SATOSHI,
    SECONDS_PER_YEAR,
    InstrumentId,
    exact,
    to_cents,
)
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.marketdata.state import MarketState, paid_between
from scalpdesk.portfolio.delta_engine import DeltaEngine, Valuation
from scalpdesk.portfolio.greeks import GreekSum, gamma_in_coin
from scalpdesk.portfolio.leg_parts import NO_LEG_PARTS, LegParts, MoveMeter, in_coin, leg_parts
from scalpdesk.portfolio.positions import Account, Position, PositionManager, exact_price, net_asset_value
from scalpdesk.portfolio.quoted_vols import OptionFacts
from scalpdesk.pricing.scalar import PricedState, corner_prices

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
ZERO = Decimal(0)
COIN_DECIMALS = 12
"""Of a part in coin, where one in dollars has six."""
NO_AMOUNT = Decimal("0.000000")
"""Zero in the format of a part; most parts of a book without options are zero."""
NO_PARTS = dict.fromkeys(PARTS, NO_AMOUNT)
Marked = tuple[float | None, Valuation | None]
"""Mark of one unit, None where it was never quoted, and an option's valuation, None while it has none."""
NO_MARKS: Mapping[InstrumentId, Marked] = MappingProxyType({})
MODEL_PARTS = PARTS[1:5]
"""Parts that revaluation alone gives, beside delta."""
DETAILS = (
    "spot_higher",
    "volga",
    "vanna",
    "charm",
    "veta",
    "three_way",
    "dividend",
    "rate",
    "mark_noise",
)
"""Lines under the parts: six in ``higher_order``, two in ``carry``, the last in the residual."""
HIGHER = DETAILS[:6]
LARGEST_UNEXPLAINED = 0.05
"""Of the gross: a larger residual with its three-way term is flagged."""
LONG_GAP_NS = 30 * 60 * NANOS_PER_SECOND
"""Without a quote for longer, what a leg's volatility did is mark noise, not vega."""
ANCHOR_NS = 300 * NANOS_PER_SECOND
LAST_ANCHOR_NS = 60 * NANOS_PER_SECOND
LAST_HOURS_SECONDS = 2 * 3_600
"""Wall-clock grid of the anchors, and the finer one in the last hours of a held expiry."""


class _Leg(Leaf, gc=False):
    """Position at its anchor, and what of the interval since was shown."""

    instrument_id: InstrumentId
    units: float
    mark: float
    """The average price where there was no quote."""
    ts_ns: int
    valuation: Valuation | None
    state: PricedState | None
    """None for what is no option, or has no volatility."""
    is_lost: bool = False
    """Whether it has had no quote for long; see :data:`LONG_GAP_NS`."""
    is_carry_assumed: bool = False
    """Whether its state stands on the configured yield, as no quotes have shown the market's yet."""
    shown: LegParts = NO_LEG_PARTS
    final: LegParts | None = None
    """What moved it since its anchor, once it has been delivered."""


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
        self._underlying = underlying
        self._instruments = instruments
        self._state = state
        self._delta_engine = delta_engine
        self._account = account
        self._positions = positions
        is_coin = instruments[underlying].is_inverse
        self.unit = SATOSHI if is_coin else CENT
        """Smallest amount of the account."""
        self._decimals = COIN_DECIMALS if is_coin else 6
        self._scale, self._least = 10.0**self._decimals, Decimal(1).scaleb(-self._decimals)
        """How many of the smallest amount of a part make one, and that amount."""
        if is_coin:  # from the start, so that no mark changes what a strategy finds
            state.keep_quotes(underlying)
        self._last_ns = 0
        self.nav = account.cash
        """Net asset value at the last mark."""
        self._start_nav = account.cash
        self._legs: dict[InstrumentId, _Leg] = {}
        self._spread = self._fees = self._slippage = self._carry = ZERO
        """Costs of the trades (negative) and carry since the last mark, exact."""
        self._hedge_costs = ZERO
        self.hedge_costs = ZERO
        """Of the totals: spread, fees and slippage of what is no option; negative, up to the last mark."""
        self.totals: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        self.overnight: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        """Of the totals: from a close to the first mark of the next session."""
        self.details: dict[str, float] = dict.fromkeys(DETAILS, 0.0)
        """Lines under the totals, in currency."""
        self.better_fills, self.better_by = 0, ZERO
        """Fills that beat the mark by more than the quote's near side and a tick, and their sum, currency."""
        self.meter = MoveMeter()
        self._interval: tuple[int, float, float, float, int, float] | None = None
        """Of the meter: start, gamma (shares a unit of currency), spot, volatility, expiry, time to it."""
        self._anchor_ns = 0
        self._is_overnight = self._opens = self._is_found = False
        self._opened_ns = self._opened_before_ns = 0
        """First mark of this session, and of the one before it."""
        self._ended: list[_Leg] = []
        """Legs that were delivered since the last mark."""
        self._terms: dict[InstrumentId, OptionFacts] = {}
        self._spans: dict[int, tuple[int, float]] = {}
        """Variance time to an expiry instant, with when it was asked for."""
        self.marks = NO_MARKS
        """Of what was held at the last mark."""
        self.realised_vs_implied = 0.0
        self.theta_paid = 0.0

    @property
    def nav_change(self) -> Decimal:
        """Change of net asset value since the run began, at the last mark."""
        return self.nav - self._start_nav

    def current_nav(self) -> Decimal:
        """Return the current net asset value."""
        return net_asset_value(self._account, self._positions.held(), self._state)

    def begin(self, now_ns: int) -> None:
        """Start the explain from the current positions."""
        self._last_ns = now_ns
        self.nav = self._start_nav = self.current_nav()
        self.rebase(now_ns)

    def note_trade(
        self, quote: QuoteEvent | None, signed_quantity: Decimal, price: Decimal, fee: Decimal
    ) -> None:
        """Book the cost of an execution against the mark.

        The distance from the mark to the far side of the latest ``quote`` is the spread cost, half the spread
        near the money; the rest of the distance between the price and the mark is slippage. Costs are
        negative. Where the quote was lost the distance to the model's mark is mark noise, in the residual.
        """
        self._fees -= fee
        if quote is None:
            return
        number = quote.instrument_id
        contract, mark = self._instruments.by_id[number], self._state.mark(number)
        worth, at = contract.value, price if mark is None else exact_price(mark)
        worth_at_mark, paid = worth(signed_quantity, at), worth(signed_quantity, price)
        if number in self._terms and self._state.is_lost(number):
            self.details["mark_noise"] -= float(paid - worth_at_mark)
            return
        is_purchase, spread = signed_quantity > 0, ZERO
        far, near = (quote.ask, quote.bid) if is_purchase else (quote.bid, quote.ask)
        if far > 0.0:  # a side that is missing is no number
            spread = max(worth(signed_quantity, exact_price(far)) - worth_at_mark, ZERO)
        if not contract.is_option:
            self._hedge_costs -= paid - worth_at_mark + fee
        elif contract.is_inverse:
            fair = self._fair(number, contract)
            if fair is not None:
                at = fair
                self.details["mark_noise"] += float(worth_at_mark - worth(signed_quantity, at))
                worth_at_mark = worth(signed_quantity, at)
        paid_over_mark = paid - worth_at_mark
        if paid_over_mark < spread:
            # a fill inside the quote (at mid, or resting) costs only the distance to the mid
            spread = max(paid_over_mark, ZERO)
        self._spread -= spread
        self._slippage -= paid_over_mark - spread
        if paid_over_mark < ZERO:
            allowed = contract.tick_rule.tick_at(at)
            if near > 0.0:
                allowed += abs(exact_price(near) - at)
            if paid_over_mark < -abs(worth(signed_quantity, at + allowed) - worth_at_mark):
                self.better_fills += 1
                self.better_by -= paid_over_mark

    def _fair(self, instrument_id: InstrumentId, contract: OptionContract) -> Decimal | None:
        """Return an inverse option's mark carried to the spot of now; None while it has no volatility.

        A trade's cost is measured from it: the quote is often older than the spot.
        """
        valuation = self._delta_engine.marked(instrument_id, self._last_ns)
        if valuation is None or valuation.is_modelled or valuation.years <= 0.0 or not valuation.vol > 0.0:
            return None
        vol, leg = valuation.vol, self._legs.get(instrument_id)
        if leg is not None and leg.state is not None and leg.state.years > 0.0:
            vol = leg.state.vol * math.sqrt(leg.state.variance_years / leg.state.years)
        vol = self._delta_engine.quoted.within_tick(contract, vol)
        greeks = self._delta_engine.greeks_at(instrument_id, self._last_ns, vol)
        return None if greeks is None else Decimal(f"{greeks.price:.{COIN_DECIMALS}f}")

    def note_delivery(self, instrument_id: InstrumentId, payoff: Decimal) -> None:
        """End the leg of an option that is settled at ``payoff``, currency per unit.

        The noise of its last mark ends with it. The price that an inverse one is settled at is the mean of
        the index over half an hour: for that leg a last step of the spot.
        """
        leg, terms = self._legs.get(instrument_id), self._terms.get(instrument_id)
        if leg is None or leg.state is None or terms is None:
            return
        if not terms.is_inverse:
            mark = self.marks[instrument_id][0] if instrument_id in self.marks else None
            self.details["mark_noise"] += 0.0 if mark is None else leg.units * (float(payoff) - mark)
            return
        side = -1.0 if terms.is_call else 1.0
        level = terms.strike / (1.0 + side * float(payoff))
        if not payoff:
            last = self._state.mark(terms.underlying) or level
            level = min(last, level) if terms.is_call else max(last, level)
        end = leg.state._replace(spot=level, variance_years=0.0, years=0.0)
        leg.final = self._stepped(leg, terms, end, level, float(payoff))
        self._ended.append(self._legs.pop(instrument_id))

    @property
    def noted_carry(self) -> Decimal:
        """Carry that was booked since the last mark, in currency."""
        return self._carry

    def note_carry(self, amount: Decimal) -> None:
        """Book a dividend or interest received (negative when paid)."""
        self._carry += amount

    def note_transfer(self, worth: Decimal) -> None:
        """Shift the reference levels of gains by a deposit (negative: withdrawal) of the owner."""
        self.nav += worth
        self._start_nav += worth

    def open_session(self) -> None:
        """Count the interval up to the next mark as overnight."""
        self._is_overnight = bool(self._legs)
        self._opens = True

    def rebase(self, now_ns: int, marks: Mapping[InstrumentId, Marked] = NO_MARKS) -> None:
        """Begin a new interval, at ``now_ns`` (UTC nanoseconds), with the current positions.

        ``marks`` are those that are known already, as :attr:`marks` is just after a mark.
        """
        self._anchor_ns = now_ns
        before, legs = self._legs, {}
        for instrument_id, position in self._positions.positions.items():
            if position.quantity and position.instrument.currency == self._account.currency:
                mark = marks[instrument_id] if instrument_id in marks else self._marked(instrument_id, now_ns)
                legs[instrument_id] = self._leg(position, now_ns, before.get(instrument_id), mark)
        self._legs = legs
        if self._terms:  # options, ever
            self._renew_interval(now_ns)

    def _renew_interval(self, now_ns: int) -> None:
        """End the meter's interval and begin the next with the gamma of now."""
        spot = self._state.mark(self._underlying)
        if spot is None:
            return
        paid = 0.0
        if self._interval is not None:
            start_ns, gamma, start_spot, vol, expires_ns, left = self._interval
            years = left - self._variance_years(expires_ns, now_ns)
            if years > 0.0:
                if self._state.dividends or self._state.adjustments:
                    paid = self._dividends(self._underlying, start_ns, now_ns)
                self.meter.add(gamma, start_spot, spot + paid - start_spot, vol, years)
        gamma = variance = size = left = 0.0
        expires_ns = 0
        for instrument_id, leg in self._legs.items():
            if leg.state is None or self._terms[instrument_id].underlying != self._underlying:
                continue
            assert leg.valuation is not None
            terms = self._terms[instrument_id]
            expires_ns, left = terms.expires_ns, leg.state.variance_years
            mine = leg.units * leg.valuation.greeks.gamma
            if terms.is_inverse:
                mine = gamma_in_coin(mine, leg.units * leg.valuation.greeks.delta, leg.state.spot)
            gamma += mine
            size += abs(mine)
            variance += abs(mine) * leg.state.vol * leg.state.vol
        self._interval = None
        if size:
            self._interval = (now_ns, gamma, spot, math.sqrt(variance / size), expires_ns, left)

    def _marked(self, instrument_id: InstrumentId, now_ns: int) -> Marked:
        """Return the mark of one unit and, of an option, its valuation."""
        mark = self._state.mark(instrument_id)
        if not self._instruments.by_id[instrument_id].is_option:
            return mark, None
        return mark, self._delta_engine.marked(instrument_id, now_ns)

    def _leg(self, position: Position, now_ns: int, before: _Leg | None, marked: Marked) -> _Leg:
        """Return a position at an anchor and its mark; ``before`` is its leg of the interval that ends."""
        instrument_id = position.instrument_id
        units = position.float_quantity * position.multiplier
        contract = self._instruments.by_id[instrument_id]
        mark, valuation = marked
        if mark is not None and not contract.is_option:
            return _Leg(instrument_id, units, mark, now_ns, None, None)
        state = None
        if valuation is not None:
            assert contract.is_option
            terms = self._terms.get(instrument_id) or self._delta_engine.facts(instrument_id)
            assert terms is not None
            if instrument_id not in self._terms:
                self._terms[instrument_id] = terms
                self._state.keep_quotes(terms.underlying)  # a quote that is lost later has its spot there
            vol = None if before is None or before.state is None else before.state.vol
            # an interval begins with the volatility in which the last one ended, so that noise ends too
            state = self._priced_state(contract, terms, valuation, now_ns, vol)
            if state is not None and terms.is_inverse and state.years > 0.0:
                by_clock = math.sqrt(state.variance_years / state.years)
                greeks = self._delta_engine.greeks_at(instrument_id, now_ns, state.vol * by_clock)
                valuation = (
                    valuation if greeks is None else msgspec.structs.replace(valuation, own_greeks=greeks)
                )
        if mark is None:
            price = float(position.average_price)
            return _Leg(instrument_id, units, price, now_ns, valuation, state)
        is_lost = (
            valuation is not None and valuation.is_modelled and self._is_long_lost(instrument_id, now_ns)
        )
        assumed = contract.is_option and self._delta_engine.is_carry_assumed(instrument_id)
        return _Leg(instrument_id, units, mark, now_ns, valuation, state, is_lost, assumed)

    def _is_long_lost(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether a quote is lost for longer than a gap of half an hour or the night before."""
        quote = self._state.two_sided(instrument_id)
        if quote is None:
            return True
        if quote.ts_recv_ns < self._opened_ns:
            return now_ns - self._opened_ns > ANCHOR_NS or quote.ts_recv_ns < self._opened_before_ns
        return now_ns - quote.ts_recv_ns > LONG_GAP_NS

    def _variance_years(self, expires_ns: int, now_ns: int) -> float:
        """Return the variance time to an expiry; legs of one expiry share it."""
        known = self._spans.get(expires_ns)
        if known is not None and known[0] == now_ns:
            return known[1]
        years = self._delta_engine.variance_years(now_ns, expires_ns) if expires_ns > now_ns else 0.0
        self._spans[expires_ns] = (now_ns, years)
        return years

    def _priced_state(
        self,
        contract: OptionContract,
        terms: OptionFacts,
        valuation: Valuation,
        now_ns: int,
        vol: float | None,
    ) -> PricedState | None:
        """Return the state of an option's value; without a volatility or time left that of ``vol``."""
        variance_years, years = self._variance_years(terms.expires_ns, now_ns), valuation.years
        if variance_years > 0.0 and valuation.vol > 0.0:
            by_clock = math.sqrt(years / variance_years)
            if terms.is_inverse and not valuation.is_modelled:
                vol = valuation.vol if vol is None else vol / by_clock
                vol = self._delta_engine.quoted.within_tick(contract, vol) * by_clock
            elif vol is None or valuation.vol_is_fresh or valuation.is_modelled:
                vol = valuation.vol * by_clock
        if vol is None:
            return None
        carry = (0.0, 0.0) if terms.is_inverse else (valuation.rate, valuation.dividend_yield)
        return PricedState(valuation.spot, vol, variance_years, years, *carry)

    def _dividends(self, share: InstrumentId, from_ns: int, to_ns: int) -> float:
        """Return what a share paid in between, special dividends too, currency a share."""
        state = self._state
        special = (
            item.paid
            for item in state.adjustments
            if item.instrument_id == share and from_ns < item.ts_event_ns <= to_ns
        )
        return paid_between(state.dividends, share, from_ns, to_ns) + sum(special)

    def mark(self, now_ns: int, *, is_anchor: bool = False) -> Mark | None:
        """Explain the interval since the last mark; None when nothing has changed.

        Parameters
        ----------
        now_ns
            UTC nanoseconds.
        is_anchor
            Whether a new interval begins here whatever the clock says: the close of a session.
        """
        if self._opens:
            self._opens, self._opened_before_ns, self._opened_ns = False, self._opened_ns, now_ns
        nav, marks, greeks, vol, is_last_hours = self._book_now(now_ns)
        self.marks = marks
        spread, fees, slippage, change = self._spread, self._fees, self._slippage, nav - self.nav
        if now_ns == self._last_ns and not change and not (spread or fees):
            return None
        delta, gamma, theta, vega, higher_order, carry = self._legs_moved(now_ns, marks)
        parts, booked = NO_PARTS.copy(), self._carry
        parts["spread"], parts["fees"], parts["slippage"] = spread, fees, slippage
        explained = NO_AMOUNT + spread + slippage
        if fees:
            explained += fees
        if booked is not ZERO:
            explained += booked
        if delta:
            parts["delta"] = amount = self._amount(delta)
            explained += amount
        if gamma or theta or vega or higher_order:
            values = (gamma, theta, vega, higher_order)
            for name, value in zip(MODEL_PARTS, values, strict=True):
                if value:
                    parts[name] = amount = self._amount(value)
                    explained += amount
        if booked is not ZERO or carry:
            amount = self._amount(carry) if carry else NO_AMOUNT
            parts["carry"] = amount + booked  # a sum has no negative zero
            explained += amount
        parts["residual"] = change - explained
        self._add_to_totals(parts)
        self.realised_vs_implied += gamma + theta
        self.theta_paid += theta
        self._last_ns, self.nav = now_ns, nav
        self.hedge_costs += self._hedge_costs
        self._spread = self._fees = self._slippage = self._carry = self._hedge_costs = ZERO
        grid = LAST_ANCHOR_NS if is_last_hours else ANCHOR_NS
        if is_anchor or now_ns // grid != self._anchor_ns // grid or self._is_overnight or self._is_found:
            self._is_found = False
            self.rebase(now_ns, marks)
        self._is_overnight = False
        spot = (marks.get(self._underlying) or self._marked(self._underlying, now_ns))[0] or 0.0
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
        self, now_ns: int, marks: Mapping[InstrumentId, Marked]
    ) -> tuple[float, float, float, float, float, float]:
        """Bring the legs to the marks of now, and the lines under the parts with them.

        Returns delta, gamma, theta, vega, higher order and carry of the interval since the last mark.
        """
        delta = gamma = theta = vega = higher_order = carry = 0.0
        details = self.details
        legs: Iterable[_Leg] = self._legs.values()
        if self._ended:
            legs, self._ended = (*legs, *self._ended), []
        for leg in legs:
            before = leg.shown
            running = leg.shown = leg.final or self._since_anchor(leg, now_ns, marks)
            delta += running.delta - before.delta
            gamma += running.gamma - before.gamma
            if leg.state is None:
                carry += running.dividend - before.dividend
                continue
            theta += running.theta - before.theta
            vega += running.vega - before.vega
            higher = (
                running.spot_higher - before.spot_higher,
                running.volga - before.volga,
                running.vanna - before.vanna,
                running.charm - before.charm,
                running.veta - before.veta,
                running.three_way - before.three_way,
            )
            for name, step in zip(HIGHER, higher, strict=True):
                details[name] += step
                higher_order += step
            dividend, rate = running.dividend - before.dividend, running.rate - before.rate
            carry += dividend + rate
            details["dividend"] += dividend
            details["rate"] += rate
            details["mark_noise"] += running.mark_noise - before.mark_noise
        return delta, gamma, theta, vega, higher_order, carry

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

    def _book_now(self, now_ns: int) -> tuple[Decimal, Mapping[InstrumentId, Marked], GreekSum, float, bool]:
        """Return net asset value, marks and Greeks of what is held at the marks of now.

        Then the mean implied volatility of the options by their size (fractions a year; 0 without any), and
        whether one of them is in its last hours.
        """
        nav, greeks, state, currency = self._account.cash, GreekSum(), self._state, self._account.currency
        marks: dict[InstrumentId, Marked] = {}
        vol_sum = vol_weight = 0.0
        is_last_hours = False
        for instrument_id, position in self._positions.positions.items():
            quantity = position.quantity
            instrument = position.instrument
            if not quantity or instrument.currency != currency:
                continue
            mark, valuation = state.mark(instrument_id), None
            if instrument.is_option:
                valuation = self._delta_engine.marked(instrument_id, now_ns)
            marks[instrument_id] = mark, valuation
            price = position.average_price if mark is None else exact_price(mark)
            nav += instrument.value(quantity, price)
            if valuation is None:
                greeks.shares += instrument.delta(position.float_quantity, float(price))
                continue
            units = position.float_quantity * position.multiplier
            shown = self._delta_engine.as_hedged(valuation, instrument_id, now_ns)
            greeks.add(units, shown.greeks)
            vol_sum += abs(units) * shown.vol
            vol_weight += abs(units)
            is_last_hours = is_last_hours or valuation.years * SECONDS_PER_YEAR < LAST_HOURS_SECONDS
        return nav, marks, greeks, vol_sum / vol_weight if vol_weight else 0.0, is_last_hours

    def _since_anchor(self, leg: _Leg, now_ns: int, marks: Mapping[InstrumentId, Marked]) -> LegParts:
        """Return what has moved a leg since its anchor."""
        instrument_id, units, market = leg.instrument_id, leg.units, self._state
        # a leg that is gone is explained to its last mark
        mark, now = marks[instrument_id] if instrument_id in marks else self._marked(instrument_id, now_ns)
        if mark is None:
            return leg.shown
        start, valuation = leg.state, leg.valuation
        if start is None or valuation is None or now is None:
            instrument = self._instruments.by_id[instrument_id]
            if instrument.is_option:
                return leg.shown  # what no model values is residual
            goes_ex = not instrument.is_inverse and (market.dividends or market.adjustments)
            paid = self._dividends(instrument_id, leg.ts_ns, now_ns) if goes_ex else 0.0
            # the curvature of an inverse contract meets the option's: both are gamma
            delta, gamma = instrument.earned(units, leg.mark, mark + paid)
            return LegParts(delta=delta, gamma=gamma, dividend=-units * paid if paid else 0.0)
        terms, contract = self._terms[instrument_id], self._instruments.by_id[instrument_id]
        assert contract.is_option
        if leg.is_carry_assumed and not self._delta_engine.is_carry_assumed(instrument_id):
            start = self._restate(leg, start, contract, valuation, now)
        end = self._priced_state(contract, terms, now, now_ns, start.vol)
        assert end is not None  # where no volatility is found that of the anchor stands
        if leg.is_lost and not now.is_modelled:  # what was not seen is no move of this interval
            end = end._replace(vol=start.vol)
            self._is_found = True
        goes_ex = market.dividends or market.adjustments
        paid = self._dividends(terms.underlying, leg.ts_ns, now_ns) if goes_ex else 0.0
        return self._stepped(leg, terms, end, end.spot + paid, mark)

    def _restate(
        self, leg: _Leg, start: PricedState, contract: OptionContract, then: Valuation, now: Valuation
    ) -> PricedState:
        """Let a leg's interval begin at the carry that quotes have shown since; return its state.

        The first correction of a configured carry is no move of the market: neither rates nor volatility
        have earned it.
        """
        leg.is_carry_assumed = False
        if start.years > 0.0 and start.variance_years > 0.0:
            to_calendar = math.sqrt(start.variance_years / start.years)
            found = self._delta_engine.at_carry(contract, then, start.vol * to_calendar, now)
            leg.valuation = found
            leg.state = start._replace(
                vol=found.vol / to_calendar, rate=found.rate, dividend_yield=found.dividend_yield
            )
        return leg.state or start

    @staticmethod
    def _stepped(leg: _Leg, terms: OptionFacts, end: PricedState, stepped: float, mark: float) -> LegParts:
        """Return the parts of a leg between its anchor and ``end``, where its mark is ``mark``.

        ``stepped`` is the spot with the dividends since the anchor added back.
        """
        start, valuation = leg.state, leg.valuation
        assert start is not None
        assert valuation is not None
        greeks = valuation.greeks
        by_clock = math.sqrt(start.variance_years / start.years) if start.years > 0.0 else 0.0
        delta, gamma = greeks.delta, greeks.gamma
        corners = corner_prices(
            terms.strike,
            terms.is_call,
            start,
            end,
            stepped,
            end.spot,
            american=terms.is_american,
        )
        if terms.is_inverse:
            corners = in_coin(corners, start.spot, end.spot)
            delta, gamma = delta / start.spot, (gamma - delta / start.spot) / start.spot
        return leg_parts(
            corners,
            units=leg.units,
            delta=delta,
            gamma=gamma,
            vega=greeks.vega * by_clock,
            d_spot=stepped - start.spot,
            d_vol=end.vol - start.vol,
            d_mark=mark - leg.mark,
        )


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


def unexplained(explain: PnlExplain, decimals: int = 2) -> dict[str, str | float | bool]:
    """Return what the model leaves open, as JSON types: residual and three-way term against the gross.

    ``amount`` is their sum, ``gross`` the sum of the parts' sizes, both in the desk's currency; ``of_gross``
    their ratio (0 without any), ``flagged`` whether it exceeds :data:`LARGEST_UNEXPLAINED`.
    """
    gross = float(sum((abs(amount) for amount in explain.totals.values()), ZERO))
    left = float(explain.totals["residual"]) + explain.details["three_way"]
    share = abs(left) / gross if gross > 0.0 else 0.0
    return {
        "amount": f"{left:.{decimals}f}",
        "gross": f"{gross:.{decimals}f}",
        "of_gross": round(share, 6),
        "flagged": share > LARGEST_UNEXPLAINED,
    }


def _details_in_cents(explain: PnlExplain) -> dict[str, Decimal]:
    """Round the lines so that those of the higher order sum to it; the three-way term takes the rest."""
    rounded = {name: to_cents(exact(each, 12), explain.unit) + ZERO for name, each in explain.details.items()}
    others = sum((rounded[name] for name in HIGHER if name != "three_way"), ZERO)
    rounded["three_way"] = to_cents(explain.totals["higher_order"], explain.unit) - others
    return rounded


def explain_lines(explain: PnlExplain) -> dict[str, Any]:
    """Return the lines under the parts as JSON types: amounts in cents, volatilities as fractions a year.

    ``intraday`` and ``overnight`` hold the parts of each; volatilities and moves are null where nothing
    was held.
    """
    unit = explain.unit
    decimals = -int(unit.as_tuple().exponent)
    night = {name: to_cents(amount, unit) for name, amount in explain.overnight.items()}
    figures = explain.meter.figures()
    return {
        "details": {name: f"{amount:f}" for name, amount in _details_in_cents(explain).items()},
        "unexplained": unexplained(explain, decimals),
        "better_than_quoted": {"fills": explain.better_fills, "amount": f"{explain.better_by:.{decimals}f}"},
        "overnight": {name: str(amount) for name, amount in night.items()},
        "intraday": {
            name: str(to_cents(amount, unit) - night[name]) for name, amount in explain.totals.items()
        },
        "realised_against_implied": {
            "total": f"{explain.realised_vs_implied:.{decimals}f}",
            **{
                name: round(value, 6) if math.isfinite(value) else None
                for name, value in figures.items()
                if name.endswith(("_vol", "_weighted", "_move"))
            },
        },
    }
