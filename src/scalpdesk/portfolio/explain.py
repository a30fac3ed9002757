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
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Mark
from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.core.units import (
    CENT,
    DAYS_PER_YEAR,
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
from scalpdesk.portfolio.held_legs import COIN_DECIMALS, NO_MARKS, HeldLegs, Marked
from scalpdesk.portfolio.interval import LegParts
from scalpdesk.portfolio.move_meter import GammaMeter
from scalpdesk.portfolio.positions import Account, PositionManager, exact_price, net_asset_value
from scalpdesk.portfolio.trade_cost import TradeCost, trade_cost

PARTS = ("delta", "gamma", "theta", "vega", "higher_order", "carry", "spread", "fees", "slippage", "residual")
BASIS = "basis"
"""Part of a desk that hedges with another instrument than the underlying, before the residual: what the
instrument earned beyond what the underlying would have on the same dollar delta.
"""
_NO_AMOUNT = Decimal("0.000000")
"""Zero in the format of a part; most parts of a book without options are zero."""
_MODEL_PARTS = PARTS[:5]
"""Parts that revaluation alone gives."""
DETAILS = LegParts.__struct_fields__[4:-1]
"""Lines under the parts: six in ``higher_order``, two in ``carry``, the last in the residual."""
HIGHER = DETAILS[:6]
LARGEST_UNEXPLAINED = 0.05
"""Fraction of the gross: a larger residual with its three-way term is flagged."""
_LAST_HOURS_SECONDS = 2 * 3_600
"""Before a held expiry, in which the grid of the anchors is finer."""


def part_names(parts: Iterable[str]) -> tuple[str, ...]:
    """Return the parts of an explain in the order in which they are shown.

    >>> part_names(["total", *PARTS]) == PARTS, part_names([*PARTS, BASIS])[-2:]
    (True, ('basis', 'residual'))
    """
    return (*PARTS[:-1], BASIS, PARTS[-1]) if BASIS in parts else PARTS


class AmountFormat(FrozenLeaf, frozen=True, gc=False):
    """Formats of an account's amounts."""

    unit: Decimal
    """Smallest amount of the account."""
    scale: float
    least: Decimal
    """Number of smallest amounts of a part in one unit of currency, and that amount."""

    def part(self, value: float) -> Decimal:
        """Return a part as an amount: by whole numbers, in a fourth of the time of a text."""
        if -1e15 < value < 1e15:
            whole = round(value * self.scale)
            # what rounds to zero keeps its sign, as it does in a text: the hash of a run's outputs has it
            return whole * self.least if whole or value > 0.0 else -self.least * 0
        return Decimal(value)


_IN_DOLLARS = AmountFormat(CENT, 1e6, Decimal("1E-6"))
_IN_COIN = AmountFormat(SATOSHI, 10.0**COIN_DECIMALS, Decimal(1).scaleb(-COIN_DECIMALS))


class _BookedSinceMark(Leaf, gc=False):
    """Costs of the trades (negative) and carry since the last mark, exact."""

    ts_ns: int
    """Time of that mark, UTC nanoseconds."""
    spread: Decimal = ZERO
    fees: Decimal = ZERO
    slippage: Decimal = ZERO
    carry: Decimal = ZERO
    hedges: Decimal = ZERO
    """Part of the costs: those of what is no option."""

    def trade(self, cost: TradeCost, fee: Decimal, *, is_hedge: bool) -> None:
        """Book the cost of an execution."""
        self.fees -= fee
        self.spread -= cost.spread
        self.slippage -= cost.slippage
        if is_hedge:
            self.hedges -= cost.spread + cost.slippage + fee


class _ExplainSums(Leaf, gc=False):
    """Sums of an explain over its run."""

    start_nav: Decimal
    """Net asset value when the run began, and what the owner has brought since."""
    totals: dict[str, Decimal]
    overnight: dict[str, Decimal]
    """Part of the totals: from a close to the first mark of the next session."""
    details: dict[str, float]
    """Lines under the totals, in currency."""
    hedge_costs: Decimal = ZERO
    """Part of the totals: spread, fees and slippage of hedges; negative, up to the last mark."""
    realised_vs_implied: float = 0.0
    theta_paid: float = 0.0
    better_fills: int = 0
    better_by: Decimal = ZERO
    """Fills that beat the mark by more than the quote's near side and a tick, and their sum, currency."""
    hedge_fills: int = 0
    fills_without_spread: int = 0
    """Fills of what is no option, and those at a quote whose sides were one price."""

    def trade(self, cost: TradeCost, quote: QuoteEvent, *, is_hedge: bool) -> None:
        """Count an execution."""
        self.details["mark_noise"] += cost.mark_noise
        if is_hedge:
            self.hedge_fills += 1
            self.fills_without_spread += quote.bid == quote.ask
        if cost.better_by:
            self.better_fills += 1
            self.better_by += cost.better_by

    def add_steps(self, steps: Iterable[tuple[bool, list[float]]]) -> tuple[float, ...]:
        """Add the steps of legs, as :meth:`HeldLegs.advance` returns them, to the lines under the totals.

        Returns delta, gamma, theta, vega, higher order, carry and basis of all.
        """
        delta = gamma = theta = vega = higher_order = carry = basis = 0.0
        details = self.details
        for is_valued, (by_delta, by_gamma, by_time, by_vol, *lines) in steps:
            delta += by_delta
            gamma += by_gamma
            *higher, dividend, rate, _, by_basis = lines
            if not is_valued:
                carry += dividend
                details["dividend"] += dividend
                basis += by_basis
                continue
            theta += by_time
            vega += by_vol
            for step in higher:
                higher_order += step
            carry += dividend + rate
            for name, step in zip(DETAILS, lines[:-1], strict=True):
                details[name] += step
        self.realised_vs_implied += gamma + theta
        self.theta_paid += theta
        return delta, gamma, theta, vega, higher_order, carry, basis

    def add(self, parts: Mapping[str, Decimal], *, is_overnight: bool) -> None:
        """Add the parts of an interval to the totals."""
        totals = self.totals
        for name, amount in parts.items():
            if amount is not _NO_AMOUNT and amount:
                totals[name] += amount
                if is_overnight:
                    self.overnight[name] += amount

    def unexplained(self, decimals: int = 2) -> dict[str, str | float | bool]:
        """Return what the model leaves open, as JSON types: residual and three-way term against the gross.

        ``amount`` is their sum, ``gross`` the sum of the parts' sizes, both in the desk's currency;
        ``of_gross`` their ratio (0 without any), ``flagged`` whether it exceeds :data:`LARGEST_UNEXPLAINED`.
        """
        gross = float(sum((abs(amount) for amount in self.totals.values()), ZERO))
        left = float(self.totals["residual"]) + self.details["three_way"]
        share = abs(left) / gross if gross > 0.0 else 0.0
        amounts = {"amount": f"{left:.{decimals}f}", "gross": f"{gross:.{decimals}f}"}
        return {**amounts, "of_gross": round(share, 6), "flagged": share > LARGEST_UNEXPLAINED}

    def details_in(self, unit: Decimal) -> dict[str, Decimal]:
        """Round the lines so that they sum to their part; three-way term and rate take the rest."""
        rounded = {name: to_cents(exact(each, 12), unit) + ZERO for name, each in self.details.items()}
        others = sum((rounded[name] for name in HIGHER if name != "three_way"), ZERO)
        rounded["three_way"] = to_cents(self.totals["higher_order"], unit) - others
        rounded["rate"] = to_cents(self.totals["carry"], unit) - rounded["dividend"]
        return rounded


class PnlExplain:
    """P&L explain of an account, from mark to mark.

    ``instruments``, ``state``, ``delta_engine``, ``account``, ``positions``: The desk's parts, which the
    explain only reads.
    ``underlying``: Id of the run's main underlying: its mark is the spot of each mark.

    Attributes
    ----------
    nav, marks
        Net asset value at the last mark, and the marks of what was held at it.
    booked, sums, legs
        Costs and carry since that mark; sums over the run; what is held, with its anchors.
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
        main = instruments[underlying]
        self._state = state
        self._delta_engine = delta_engine
        self._account = account
        self._positions = positions
        self.amounts = _IN_COIN if main.is_inverse else _IN_DOLLARS
        if main.is_inverse:  # from the start, so that no mark changes what a strategy finds
            state.keep_quotes(underlying)
        self.nav = account.cash
        self.marks = NO_MARKS
        self.booked = _BookedSinceMark(0)
        totals = dict.fromkeys(part_names((BASIS,)) if delta_engine.proxies else PARTS, ZERO)
        self.sums = _ExplainSums(account.cash, totals, totals.copy(), dict.fromkeys(DETAILS, 0.0))
        meter = GammaMeter(state, delta_engine.terms, underlying, main.symbol)
        self.legs = HeldLegs(state, delta_engine, account, positions, meter)

    @property
    def unit(self) -> Decimal:
        """Smallest amount of the account."""
        return self.amounts.unit

    @property
    def totals(self) -> dict[str, Decimal]:
        """Parts of the change of net asset value since the run began, at the last mark."""
        return self.sums.totals

    @property
    def nav_change(self) -> Decimal:
        """Change of net asset value since the run began, at the last mark."""
        return self.nav - self.sums.start_nav

    def current_nav(self) -> Decimal:
        """Return the current net asset value."""
        return net_asset_value(self._account, self._positions.held(), self._delta_engine)

    def change_now(self) -> Decimal:
        """Return the change of net asset value since the run began, at the quotes of now."""
        return self.current_nav() - self.sums.start_nav

    def begin(self, now_ns: int) -> None:
        """Start the explain from the current positions."""
        self.booked.ts_ns = now_ns
        self.nav = self.sums.start_nav = self.current_nav()
        self.legs.rebase(now_ns)

    def note_trade(
        self, quote: QuoteEvent | None, signed_quantity: Decimal, price: Decimal, fee: Decimal
    ) -> None:
        """Book the cost of an execution against the mark.

        See :func:`trade_cost`; costs are negative. Where the quote was lost the distance to the model's mark
        is mark noise, in the residual.
        """
        booked = self.booked
        if quote is None:
            booked.fees -= fee
            return
        number = quote.instrument_id
        instrument, mark, fair = (
            self._positions.instruments.by_id[number],
            self._delta_engine.mark(number),
            None,
        )
        is_lost = instrument.is_option and self._state.is_lost(number)
        if instrument.is_option and instrument.is_inverse and not is_lost:
            fair = self.legs.fair(number, instrument, booked.ts_ns)
        at = price if mark is None else exact_price(mark)
        cost = trade_cost(instrument, quote, signed_quantity, price, at, fair=fair, is_lost=is_lost)
        booked.trade(cost, fee, is_hedge=not instrument.is_option)
        self.sums.trade(cost, quote, is_hedge=not instrument.is_option)

    def note_delivery(
        self, instrument_id: InstrumentId, payoff: Decimal, units: Decimal | None = None
    ) -> None:
        """End the leg of an option that is settled at ``payoff``, currency per unit.

        Of one that is exercised or assigned, ``units`` of it: contracts times multiplier, signed. The noise
        of its last mark ends with it: what that mark was beyond the payoff. An option on a coin is settled at
        the mean of the index over half an hour: for that leg a last step of the spot.
        """
        leg = self.legs.held.get(instrument_id)
        if leg is None or leg.start.state is None:
            return
        if leg.start.instrument.is_coin:
            self.legs.settle(instrument_id, float(payoff))
            return
        marked = self.marks.get(instrument_id)
        if marked is not None and marked.mark is not None:
            ended = leg.start.units if units is None else float(units)
            self.sums.details["mark_noise"] += ended * (float(payoff) - marked.mark)

    def note_carry(self, amount: Decimal, *, line: str = "rate") -> None:
        """Book a dividend, interest, funding or a charge that was received (negative when paid).

        ``line`` is that of :data:`DETAILS` which it belongs to, under the carry.
        """
        self.booked.carry += amount
        self.sums.details[line] += float(amount)

    def note_transfer(self, worth: Decimal) -> None:
        """Shift the reference levels of gains by a deposit (negative: withdrawal) of the owner."""
        self.nav += worth
        self.sums.start_nav += worth

    def mark(self, now_ns: int, *, is_anchor: bool = False, of: InstrumentId | None = None) -> Mark | None:
        """Explain the interval since the last mark; None when nothing has changed.

        ``now_ns``: UTC nanoseconds.
        ``is_anchor``: Whether a new interval begins here whatever the clock says: the close of a session.
        ``of``: Instrument whose trade asks for the mark: legs on other underlyings show their running values
        and stay as they are. None for a mark by the clock.
        """
        legs, sums, booked, amount_of = self.legs, self.sums, self.booked, self.amounts.part
        changed = None if of is None else legs.owners[of]
        if legs.session.opens:
            legs.session.open(now_ns)
        if is_anchor:
            legs.session.closed_ns = now_ns
        nav, marks, greeks, vol, last_hours = self._book_now(now_ns)
        self.marks = marks
        spread, fees, slippage, change = booked.spread, booked.fees, booked.slippage, nav - self.nav
        if now_ns == booked.ts_ns and not change and not (spread or fees):
            return None
        is_overnight = legs.session.is_overnight
        steps = legs.advance(now_ns, marks, changed, last_hours, is_anchor)
        delta, gamma, theta, vega, higher_order, carry, basis = sums.add_steps(steps)
        parts = dict.fromkeys(sums.totals, _NO_AMOUNT)
        parts["spread"], parts["fees"], parts["slippage"] = spread, fees, slippage
        explained = _NO_AMOUNT + spread + slippage + fees + booked.carry
        for name, value in zip(_MODEL_PARTS, (delta, gamma, theta, vega, higher_order), strict=True):
            if value:
                parts[name] = amount = amount_of(value)
                explained += amount
        if booked.carry is not ZERO or carry:
            amount = amount_of(carry) if carry else _NO_AMOUNT
            parts["carry"] = amount + booked.carry  # a sum has no negative zero
            explained += amount
        if basis:
            parts[BASIS] = amount = amount_of(basis)
            explained += amount
        parts["residual"] = change - explained
        sums.add(parts, is_overnight=is_overnight)
        sums.hedge_costs += booked.hedges
        self.nav, self.booked = nav, _BookedSinceMark(now_ns)
        main = marks.get(legs.meter.underlying)
        spot = self._state.mark(legs.meter.underlying) if main is None else main.mark
        spot = 0.0 if spot is None else spot  # of a record: before the first quote
        a_day, a_point = greeks.theta / DAYS_PER_YEAR, greeks.vega / 100.0
        shown = greeks.delta + greeks.shares, greeks.gamma, a_day, a_point, vol
        # by position: names take twice as long
        return Mark(now_ns, nav, change, parts, spot, *shown, gamma + theta, theta)

    def _book_now(
        self, now_ns: int
    ) -> tuple[Decimal, Mapping[InstrumentId, Marked], GreekSum, float, set[InstrumentId]]:
        """Return net asset value, marks and Greeks of what is held at the marks of now.

        Then the mean implied volatility of the options by their size (fractions a year of the variance clock;
        without those whose mark determines none, and before quotes have shown their forward; 0 without any),
        and the underlyings with an option in its last hours.
        """
        nav, greeks, currency, engine = (
            self._account.cash,
            GreekSum(),
            self._account.currency,
            self._delta_engine,
        )
        marks, last_hours = dict[InstrumentId, Marked](), set[InstrumentId]()
        vol_sum = vol_weight = 0.0
        for number, position in self._positions.positions.items():
            quantity, instrument = position.quantity, position.instrument
            if not quantity or instrument.currency != currency:
                continue
            marks[number] = marked = self.legs.mark_of(number, instrument, now_ns)
            mark, valuation = marked.mark, marked.valuation
            price = position.average_price if mark is None else exact_price(mark)
            nav += instrument.value(quantity, price)
            if valuation is None:
                if engine.proxies:
                    greeks.shares += engine.delta_of(position, float(price))
                else:
                    greeks.shares += instrument.delta(position.float_quantity, float(price))
                continue
            units = position.float_quantity * position.multiplier
            greeks.add(units, valuation.greeks, valuation.years)
            if valuation.tells_vol and (not self.legs.has_guesses or engine.knows_forward(number, now_ns)):
                vol_sum += abs(units) * valuation.vol * engine.to_clock(valuation.contract, now_ns)
                vol_weight += abs(units)
            if valuation.years * SECONDS_PER_YEAR < _LAST_HOURS_SECONDS:
                last_hours.add(self.legs.owners[number])
        return nav, marks, greeks, vol_sum / vol_weight if vol_weight else 0.0, last_hours


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


def explain_lines(explained: PnlExplain) -> dict[str, Any]:
    """Return the lines under the parts as JSON types: amounts in cents, volatilities as fractions a year.

    ``intraday`` and ``overnight`` hold the parts of each; volatilities and moves are null where nothing
    was held.
    """
    unit, sums = explained.unit, explained.sums
    decimals = -int(unit.as_tuple().exponent)
    night = {name: to_cents(amount, unit) for name, amount in sums.overnight.items()}
    figures = {
        name: round(value, 6) if math.isfinite(value) else None
        for name, value in explained.legs.meter.total.figures().items()
        if name.endswith(("_vol", "_weighted", "_move"))
    }
    return {
        "details": {name: f"{amount:f}" for name, amount in sums.details_in(unit).items()},
        "unexplained": sums.unexplained(decimals),
        "without_spread": {"fills": sums.fills_without_spread, "of": sums.hedge_fills},
        "better_than_quoted": {"fills": sums.better_fills, "amount": f"{sums.better_by:.{decimals}f}"},
        "overnight": {name: str(amount) for name, amount in night.items()},
        "intraday": {name: str(to_cents(each, unit) - night[name]) for name, each in sums.totals.items()},
        "realised_against_implied": {"total": f"{sums.realised_vs_implied:.{decimals}f}", **figures},
    }
