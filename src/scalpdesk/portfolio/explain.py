"""Where the money came from: between two marks, to the cent.

Over an interval in which the positions stand still, the change of each leg is read from the Greeks
at its start (Taylor's formula to second order in spot and volatility):

    dV = Δ dS + ½Γ dS² + Θ dt + 𝒱 dσ + Vanna dS dσ + ½Volga dσ² + Charm dS dt + ρ dr + residual

The residual is what the formula does not explain; it closes the sum to the change of net asset
value exactly. Where the formula explains an option's interval badly (a large move near expiry), the
interval is walked in eight steps from its start to its end, each with Greeks of its own. Trades
happen between intervals: each costs its half-spread, its fee and what its price was worse than the
far side of the quote (slippage).

Gamma rent: a long-gamma book earns ½Γ(dS² − S²σ²dt) over what the option market charged for it.
"""

from decimal import Decimal

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Mark
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId, to_cents
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DAYS_PER_YEAR, DeltaEngine, Valuation
from scalpdesk.portfolio.positions import Account, Position, PositionManager, exact_price, net_asset_value
from scalpdesk.pricing.base import OptionGreeks

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
NOTHING_EXPLAINED = dict.fromkeys(PARTS[:6], 0.0)
"""The parts that the market moves; the others come from trades, or are what is left."""
ZERO = Decimal(0)
NO_AMOUNT = Decimal("0.000000")
"""What a part of exactly nothing is written as; most parts of a book without options are."""
NO_PARTS = dict.fromkeys(PARTS, NO_AMOUNT)
_STEPS = 8
_TOLERATED_FRACTION = 0.02
_TOLERATED_AMOUNT = 0.05
"""A leg's unexplained part, as a fraction of its terms and in currency, up to which one step is enough."""


class TaylorTerms(msgspec.Struct, frozen=True):
    """The terms of one leg over one interval, in currency (units of the position included)."""

    delta: float
    gamma: float
    theta: float
    vega: float
    vanna: float
    volga: float
    charm: float
    rho: float

    @property
    def total(self) -> float:
        """What the formula explains."""
        return (
            self.delta + self.gamma + self.theta + self.vega + self.vanna + self.volga + self.charm + self.rho
        )


TERM_NAMES = ("delta", "gamma", "theta", "vega", "vanna", "volga", "charm", "rho")


def taylor_terms(
    greeks: OptionGreeks, units: float, *, d_spot: float, d_vol: float, d_years: float, d_rate: float
) -> TaylorTerms:
    """Return the terms of ``units`` (contracts x multiplier, signed) for a move of the market.

    Parameters
    ----------
    greeks
        At the start of the interval, per unit.
    units
        Signed units of the underlying that the position stands for.
    d_spot, d_vol, d_years, d_rate
        Change of spot (currency), volatility (1.00 = 100 points), calendar time (years) and rate.
    """
    return TaylorTerms(
        delta=units * greeks.delta * d_spot,
        gamma=units * 0.5 * greeks.gamma * d_spot * d_spot,
        theta=units * greeks.theta * d_years,
        vega=units * greeks.vega * d_vol,
        vanna=units * greeks.vanna * d_spot * d_vol,
        volga=units * 0.5 * greeks.volga * d_vol * d_vol,
        charm=units * greeks.charm * d_spot * d_years,
        rho=units * greeks.rho * d_rate,
    )


class _Leg(msgspec.Struct):
    """One position as it stood at the last mark."""

    number: InstrumentId
    units: float
    mark: float
    is_quoted: bool
    """False while the mark is the average price for want of any quote."""
    valuation: Valuation | None


class _Costs(msgspec.Struct):
    """What the trades since the last mark have cost, exact and negative."""

    spread: Decimal = ZERO
    fees: Decimal = ZERO
    slippage: Decimal = ZERO
    carry: Decimal = ZERO


class _Interval(msgspec.Struct):
    """Sums over all legs for one interval."""

    parts: dict[str, float]
    gamma_rent: float = 0.0
    theta_paid: float = 0.0


class PnlExplain:
    """Keeps the book as of the last mark and explains each change since.

    Parameters
    ----------
    instruments, state, delta_engine, account, positions
        The desk's own parts; the attribution reads them and changes none.
    underlying
        Number of the run's main underlying: its mark is the spot shown with each mark.
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
        self._last_ns = 0
        self._last_nav = account.cash
        self._start_nav = account.cash
        self._legs: list[_Leg] = []
        self._costs = _Costs()
        self.totals: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        self.high_water = account.cash
        self.gamma_rent = 0.0
        self.theta_paid = 0.0

    @property
    def nav(self) -> Decimal:
        """Net asset value at the last mark."""
        return self._last_nav

    @property
    def nav_change(self) -> Decimal:
        """Change of net asset value since the run began, at the last mark."""
        return self._last_nav - self._start_nav

    def current_nav(self) -> Decimal:
        """Net asset value now."""
        return net_asset_value(self._account, self._positions.held(), self._state)

    def begin(self, now_ns: int) -> None:
        """Take what is held now as the start: nothing before it is explained."""
        self._last_ns = now_ns
        self._last_nav = self._start_nav = self.high_water = self.current_nav()
        self.rebase(now_ns)

    def note_trade(
        self,
        quote: QuoteEvent | None,
        signed_quantity: Decimal,
        multiplier: int,
        price: Decimal,
        fee: Decimal,
    ) -> None:
        """Book what an execution cost against the mark at which it was made.

        ``quote`` is the latest one; half its spread is the spread cost, the rest of the distance
        between the price paid and the mark is slippage. Both are negative when they cost.
        """
        units = signed_quantity * multiplier
        if quote is None:
            mark, half_spread = price, ZERO
        else:
            mark = exact_price(mark_price(quote))
            has_both = quote.bid == quote.bid and quote.ask == quote.ask
            half_spread = exact_price(0.5 * (quote.ask - quote.bid)) if has_both else ZERO
        paid_over_mark = units * (price - mark)
        spread = half_spread * abs(units)
        if paid_over_mark < spread:
            # a fill inside the quote (at mid, or resting) costs only the part that was paid
            spread = max(paid_over_mark, ZERO)
        self._costs.spread -= spread
        self._costs.slippage -= paid_over_mark - spread
        self._costs.fees -= fee

    def note_carry(self, amount: Decimal) -> None:
        """Book a dividend or interest received (negative when paid)."""
        self._costs.carry += amount

    def note_transfer(self, worth: Decimal) -> None:
        """Raise (or lower) every level that gains are counted from by what the owner moved in or out."""
        self._last_nav += worth
        self._start_nav += worth
        self.high_water += worth

    def rebase(self, now_ns: int) -> None:
        """Take the positions as they stand now as the start of the next interval."""
        self._legs = [self._leg(position, now_ns) for position in self._positions.held()]

    def _leg(self, position: Position, now_ns: int) -> _Leg:
        number = position.instrument_id
        units = float(position.quantity) * position.multiplier
        mark = self._state.mark(number)
        valuation = None
        if isinstance(self._instruments[number], OptionContract):
            valuation = self._delta_engine.value(number, now_ns)
        if mark is None:
            return _Leg(number, units, float(position.average_price), False, valuation)
        return _Leg(number, units, mark, True, valuation)

    def mark(self, now_ns: int) -> Mark | None:
        """Explain the interval since the last mark; None when nothing at all has changed."""
        legs_now: list[_Leg] = []
        nav = self._account.cash
        for position in self._positions.held():
            leg = self._leg(position, now_ns)
            legs_now.append(leg)
            price = exact_price(leg.mark) if leg.is_quoted else position.average_price
            nav += position.quantity * position.multiplier * price
        costs = self._costs
        if now_ns == self._last_ns and nav == self._last_nav and not (costs.spread or costs.fees):
            self._legs = legs_now
            return None
        interval = self._explain(legs_now, (now_ns - self._last_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR)
        change = nav - self._last_nav
        parts = NO_PARTS.copy()
        explained = NO_AMOUNT + costs.carry + costs.spread + costs.fees + costs.slippage
        for name, value in interval.parts.items():
            if value:
                amount = parts[name] = Decimal(f"{value:.6f}")
                explained += amount
        parts["carry"] += costs.carry
        parts["spread"] = costs.spread
        parts["fees"] = costs.fees
        parts["slippage"] = costs.slippage
        parts["residual"] = change - explained
        for name, amount in parts.items():
            if amount:
                self.totals[name] += amount
        self.gamma_rent += interval.gamma_rent
        self.theta_paid += interval.theta_paid
        self.high_water = max(self.high_water, nav)
        self._last_ns, self._last_nav = now_ns, nav
        self._legs = legs_now
        self._costs = _Costs()
        return self._as_mark(now_ns, nav, change, parts, interval)

    def _explain(self, legs_now: list[_Leg], d_years: float) -> _Interval:
        """Sum the Taylor terms of the legs that were held over the interval."""
        now_by_number = {leg.number: leg for leg in legs_now}
        interval = _Interval(NOTHING_EXPLAINED.copy())
        parts = interval.parts
        for leg in self._legs:
            after = now_by_number.get(leg.number)
            mark_now = after.mark if after is not None else self._state.mark(leg.number)
            if mark_now is None:
                continue
            start = leg.valuation
            if start is None:
                parts["delta"] += leg.units * (mark_now - leg.mark)
                continue
            end = after.valuation if after is not None else None
            if end is None:
                end = start
            terms = self._leg_terms(leg, start, end, d_years, leg.units * (mark_now - leg.mark))
            parts["delta"] += terms.delta
            parts["gamma"] += terms.gamma
            parts["theta"] += terms.theta
            parts["vega"] += terms.vega
            parts["higher_order"] += terms.vanna + terms.volga + terms.charm
            parts["carry"] += terms.rho
            d_spot = end.spot - start.spot
            expected = start.spot * start.spot * start.vol * start.vol * d_years
            interval.gamma_rent += leg.units * 0.5 * start.greeks.gamma * (d_spot * d_spot - expected)
            interval.theta_paid += terms.theta
        return interval

    def _leg_terms(
        self, leg: _Leg, start: Valuation, end: Valuation, d_years: float, change: float
    ) -> TaylorTerms:
        """Explain one option over one interval: in one step, or in several where one is too coarse."""
        d_spot, d_rate = end.spot - start.spot, end.rate - start.rate
        d_vol = end.vol - start.vol if end.vol_is_fresh else 0.0
        terms = taylor_terms(
            start.greeks, leg.units, d_spot=d_spot, d_vol=d_vol, d_years=d_years, d_rate=d_rate
        )
        unexplained = abs(change - terms.total)
        size = sum(abs(getattr(terms, name)) for name in TERM_NAMES)
        if unexplained <= max(_TOLERATED_AMOUNT, _TOLERATED_FRACTION * size) or start.years <= 0.0:
            return terms
        sums = dict.fromkeys(TERM_NAMES, 0.0)
        for step in range(_STEPS):
            way = step / _STEPS
            greeks = self._delta_engine.reprice(
                leg.number,
                start.spot + way * d_spot,
                start.years + way * (end.years - start.years),
                start.vol + way * d_vol,
                start.rate + way * d_rate,
            )
            small = taylor_terms(
                greeks,
                leg.units,
                d_spot=d_spot / _STEPS,
                d_vol=d_vol / _STEPS,
                d_years=d_years / _STEPS,
                d_rate=d_rate / _STEPS,
            )
            for name in TERM_NAMES:
                sums[name] += getattr(small, name)
        finer = TaylorTerms(**sums)
        return finer if abs(change - finer.total) < unexplained else terms

    def _as_mark(
        self, now_ns: int, nav: Decimal, change: Decimal, parts: dict[str, Decimal], interval: _Interval
    ) -> Mark:
        delta = gamma = theta = vega = 0.0
        vol_weight = vol_sum = 0.0
        for leg in self._legs:
            valuation = leg.valuation
            if valuation is None:
                delta += leg.units
                continue
            greeks = valuation.greeks
            delta += leg.units * greeks.delta
            gamma += leg.units * greeks.gamma
            theta += leg.units * greeks.theta
            vega += leg.units * greeks.vega
            vol_sum += abs(leg.units) * valuation.vol
            vol_weight += abs(leg.units)
        return Mark(
            ts_ns=now_ns,
            nav=nav,
            nav_change=change,
            parts=parts,
            spot=self._state.mark(self._underlying) or 0.0,
            net_delta_shares=delta,
            gamma_shares_per_usd=gamma,
            theta_usd_per_day=theta / DAYS_PER_YEAR,
            vega_usd_per_point=vega / 100.0,
            implied_vol=vol_sum / vol_weight if vol_weight else 0.0,
            gamma_rent=interval.gamma_rent,
            theta_paid=interval.theta_paid,
        )


def parts_in_cents(totals: dict[str, Decimal], nav_change: Decimal) -> dict[str, Decimal]:
    """Round the parts to cents so that they still sum to the rounded change exactly.

    The residual takes the rounding: it is the part that is defined as what is left over.
    """
    rounded = {name: to_cents(amount) for name, amount in totals.items()}
    total = to_cents(nav_change)
    rounded["residual"] = total - sum(
        (amount for name, amount in rounded.items() if name != "residual"), ZERO
    )
    return {"total": total, **rounded}
