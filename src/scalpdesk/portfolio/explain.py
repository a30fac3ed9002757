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
ZERO = Decimal(0)
NO_AMOUNT = Decimal("0.000000")
"""What a part of exactly nothing is written as; most parts of a book without options are."""
_STEPS = 8
_TOLERATED_FRACTION = 0.02
_TOLERATED_AMOUNT = 0.05
"""A leg's unexplained part, as a fraction of its terms and in currency, up to which one step is enough."""


class TaylorTerms(msgspec.Struct, frozen=True, gc=False):
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


class _Leg(msgspec.Struct, gc=False):
    """One position as it stood at the last mark."""

    number: InstrumentId
    units: float
    mark: float
    is_quoted: bool
    """False while the mark is the average price for want of any quote."""
    valuation: Valuation | None


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
        self.nav = account.cash
        """Net asset value at the last mark."""
        self._start_nav = account.cash
        self._legs: dict[InstrumentId, _Leg] = {}
        self._spread = self._fees = self._slippage = self._carry = ZERO
        """What the trades since the last mark have cost, exact and negative, and the carry since."""
        self.totals: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        self.high_water = account.cash
        self.gamma_rent = 0.0
        self.theta_paid = 0.0

    @property
    def nav_change(self) -> Decimal:
        """Change of net asset value since the run began, at the last mark."""
        return self.nav - self._start_nav

    def current_nav(self) -> Decimal:
        """Net asset value now."""
        return net_asset_value(self._account, self._positions.held(), self._state)

    def begin(self, now_ns: int) -> None:
        """Take what is held now as the start: nothing before it is explained."""
        self._last_ns = now_ns
        self.nav = self._start_nav = self.high_water = self.current_nav()
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
        self._spread -= spread
        self._slippage -= paid_over_mark - spread
        self._fees -= fee

    def note_carry(self, amount: Decimal) -> None:
        """Book a dividend or interest received (negative when paid)."""
        self._carry += amount

    def note_transfer(self, worth: Decimal) -> None:
        """Raise (or lower) every level that gains are counted from by what the owner moved in or out."""
        self.nav += worth
        self._start_nav += worth
        self.high_water += worth

    def rebase(self, now_ns: int, instrument_id: InstrumentId | None = None) -> None:
        """Start the next interval from the positions as they stand now.

        Parameters
        ----------
        now_ns
            UTC nanoseconds; when it is the last mark's, other positions than the changed one stay.
        instrument_id
            The one whose position has changed since the last mark; None for any.
        """
        positions = self._positions.positions
        if instrument_id is not None and instrument_id in self._legs and now_ns == self._last_ns:
            position = positions[instrument_id]
            if position.quantity:
                self._legs[instrument_id] = self._leg(position, now_ns)
            else:
                del self._legs[instrument_id]
            return
        self._legs = {
            number: self._leg(position, now_ns) for number, position in positions.items() if position.quantity
        }

    def _leg(self, position: Position, now_ns: int) -> _Leg:
        number = position.instrument_id
        units = float(position.quantity) * position.multiplier
        mark = self._state.mark(number)
        valuation = None
        if type(self._instruments.by_id[number]) is OptionContract:
            valuation = self._delta_engine.value(number, now_ns)
        if mark is None:
            return _Leg(number, units, float(position.average_price), False, valuation)
        return _Leg(number, units, mark, True, valuation)

    def mark(self, now_ns: int) -> Mark | None:  # noqa: PLR0915 - sums in locals: a fifth of an order's time
        """Explain the interval since the last mark; None when nothing at all has changed."""
        before, legs = self._legs, dict[InstrumentId, _Leg]()
        nav = self._account.cash
        net_delta = net_gamma = net_theta = net_vega = vol_sum = vol_weight = 0.0
        for number, position in self._positions.positions.items():
            if not position.quantity:
                continue
            leg = legs[number] = self._leg(position, now_ns)
            price = exact_price(leg.mark) if leg.is_quoted else position.average_price
            nav += position.quantity * position.multiplier * price
            valuation, units = leg.valuation, leg.units
            if valuation is None:
                net_delta += units
                continue
            greeks = valuation.greeks
            net_delta += units * greeks.delta
            net_gamma += units * greeks.gamma
            net_theta += units * greeks.theta
            net_vega += units * greeks.vega
            vol_sum += abs(units) * valuation.vol
            vol_weight += abs(units)
        self._legs = legs
        spread, fees, change = self._spread, self._fees, nav - self.nav
        if now_ns == self._last_ns and not change and not (spread or fees):
            return None
        d_years = (now_ns - self._last_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR
        delta = gamma = theta = vega = higher_order = carry = gamma_rent = 0.0
        for number, leg in before.items():
            after = legs.get(number)
            mark_now = self._state.mark(number) if after is None else after.mark
            if mark_now is None:
                continue
            start = leg.valuation
            if start is None:
                delta += leg.units * (mark_now - leg.mark)
                continue
            end = start if after is None or after.valuation is None else after.valuation
            terms = self._leg_terms(leg, start, end, d_years, leg.units * (mark_now - leg.mark))
            delta += terms.delta
            gamma += terms.gamma
            theta += terms.theta
            vega += terms.vega
            higher_order += terms.vanna + terms.volga + terms.charm
            carry += terms.rho
            d_spot = end.spot - start.spot
            expected = start.spot * start.spot * start.vol * start.vol * d_years
            gamma_rent += leg.units * 0.5 * start.greeks.gamma * (d_spot * d_spot - expected)
        parts: dict[str, Decimal] = {}
        explained = NO_AMOUNT + self._carry + spread + fees + self._slippage
        for name, value in (
            ("delta", delta),
            ("gamma", gamma),
            ("theta", theta),
            ("vega", vega),
            ("higher_order", higher_order),
            ("carry", carry),
        ):
            parts[name] = NO_AMOUNT
            if value:
                amount = parts[name] = Decimal(f"{value:.6f}")
                explained += amount
        parts["carry"] += self._carry
        parts["spread"] = spread
        parts["fees"] = fees
        parts["slippage"] = self._slippage
        parts["residual"] = change - explained
        totals = self.totals
        for name, amount in parts.items():
            if amount:
                totals[name] += amount
        self.gamma_rent += gamma_rent
        self.theta_paid += theta
        self.high_water = max(self.high_water, nav)
        self._last_ns, self.nav = now_ns, nav
        self._spread = self._fees = self._slippage = self._carry = ZERO
        return Mark(
            ts_ns=now_ns,
            nav=nav,
            nav_change=change,
            parts=parts,
            spot=self._state.mark(self._underlying) or 0.0,
            net_delta_shares=net_delta,
            gamma_shares_per_usd=net_gamma,
            theta_usd_per_day=net_theta / DAYS_PER_YEAR,
            vega_usd_per_point=net_vega / 100.0,
            implied_vol=vol_sum / vol_weight if vol_weight else 0.0,
            gamma_rent=gamma_rent,
            theta_paid=theta,
        )

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
        size = (
            abs(terms.delta)
            + abs(terms.gamma)
            + abs(terms.theta)
            + abs(terms.vega)
            + abs(terms.vanna)
            + abs(terms.volga)
            + abs(terms.charm)
            + abs(terms.rho)
        )
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
