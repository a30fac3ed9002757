"""P&L explain: the change of net asset value between two marks by Greek and by trading cost, to the cent.

Over an interval without trades the change of each leg follows from the Greeks at its start (Taylor expansion
to second order in spot and volatility):

    dV = Δ dS + ½Γ dS² + Θ dt + 𝒱 dσ + Vanna dS dσ + ½Volga dσ² + Charm dS dt + ρ dr + residual

The residual closes the sum to the change of net asset value exactly. Where the expansion explains an option's
interval badly (a large move near expiry), the interval is divided into eight steps, each with its own Greeks.
Trades are booked between intervals: each costs its half-spread, its fee, and slippage, the rest of the
distance between its price and the mid.

Realised against implied: a long-gamma book earns ½Γ(dS² − S²σ²dt) over the theta paid for it.
"""

from decimal import Decimal

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Mark
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId, to_cents
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine, Valuation
from scalpdesk.portfolio.greeks import DAYS_PER_YEAR
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
"""Zero in the format of a part; most parts of a book without options are zero."""
NO_PARTS = dict.fromkeys(PARTS, NO_AMOUNT)
OPTION_PARTS = ("gamma", "theta", "vega", "higher_order", "carry")
_STEPS = 8
_TOLERATED_FRACTION = 0.02
_TOLERATED_AMOUNT = 0.05
"""Unexplained part of a leg, as a fraction of its terms and in currency, up to which one step suffices."""


class TaylorTerms(msgspec.Struct, frozen=True, gc=False):
    """Taylor terms of a leg over an interval, in currency for the whole position."""

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
        """Sum of the terms."""
        return (
            self.delta + self.gamma + self.theta + self.vega + self.vanna + self.volga + self.charm + self.rho
        )


TERM_NAMES = ("delta", "gamma", "theta", "vega", "vanna", "volga", "charm", "rho")


def taylor_terms(
    greeks: OptionGreeks, units: float, *, d_spot: float, d_vol: float, d_years: float, d_rate: float
) -> TaylorTerms:
    """Return the Taylor terms of a position for a move of the market.

    Parameters
    ----------
    greeks
        At the start of the interval, per unit.
    units
        Contracts times multiplier, signed.
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
    """Position at the last mark."""

    instrument_id: InstrumentId
    units: float
    mark: float
    is_quoted: bool
    """False when the mark is the average price, as there was no quote."""
    valuation: Valuation | None


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
        self._last_ns = 0
        self.nav = account.cash
        """Net asset value at the last mark."""
        self._start_nav = account.cash
        self._legs: dict[InstrumentId, _Leg] = {}
        self._spread = self._fees = self._slippage = self._carry = ZERO
        """Costs of the trades (negative) and carry since the last mark, exact."""
        self.totals: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        self.high_water = account.cash
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
        """Book the cost of an execution against the mark.

        Half the spread of the latest ``quote`` is the spread cost; the rest of the distance between the price
        and the mark is slippage. Costs are negative.
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
            # a fill inside the quote (at mid, or resting) costs only the distance to the mid
            spread = max(paid_over_mark, ZERO)
        self._spread -= spread
        self._slippage -= paid_over_mark - spread
        self._fees -= fee

    def note_carry(self, amount: Decimal) -> None:
        """Book a dividend or interest received (negative when paid)."""
        self._carry += amount

    def note_transfer(self, worth: Decimal) -> None:
        """Shift the reference levels of gains by a deposit (negative: withdrawal) of the owner."""
        self.nav += worth
        self._start_nav += worth
        self.high_water += worth

    def rebase(self, now_ns: int, instrument_id: InstrumentId | None = None) -> None:
        """Start the next interval from the current positions.

        Parameters
        ----------
        now_ns
            UTC nanoseconds; at the instant of the last mark only the changed position is updated.
        instrument_id
            The instrument whose position has changed since the last mark; None for any.
        """
        positions = self._positions.positions
        if instrument_id is not None and instrument_id in self._legs and now_ns == self._last_ns:
            position, leg = positions[instrument_id], self._legs[instrument_id]
            if not position.quantity:
                del self._legs[instrument_id]
            elif leg.is_quoted:  # at one instant and one quote a trade changes the units alone
                leg.units = float(position.quantity) * position.multiplier
            else:
                self._legs[instrument_id] = self._leg(position, now_ns)
            return
        self._legs = {
            instrument_id: self._leg(position, now_ns)
            for instrument_id, position in positions.items()
            if position.quantity
        }

    def _leg(self, position: Position, now_ns: int) -> _Leg:
        instrument_id = position.instrument_id
        units = float(position.quantity) * position.multiplier
        mark = self._state.mark(instrument_id)
        valuation = None
        if type(self._instruments.by_id[instrument_id]) is OptionContract:
            valuation = self._delta_engine.value(instrument_id, now_ns)
        if mark is None:
            return _Leg(instrument_id, units, float(position.average_price), False, valuation)
        return _Leg(instrument_id, units, mark, True, valuation)

    def mark(self, now_ns: int) -> Mark | None:  # noqa: PLR0915 - sums in locals: a fifth of an order's time
        """Explain the interval since the last mark; None when nothing has changed."""
        before, legs = self._legs, dict[InstrumentId, _Leg]()
        nav = self._account.cash
        net_delta = net_gamma = net_theta = net_vega = vol_sum = vol_weight = 0.0
        for instrument_id, position in self._positions.positions.items():
            if not position.quantity:
                continue
            leg = legs[instrument_id] = self._leg(position, now_ns)
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
        delta = gamma = theta = vega = higher_order = carry = realised_vs_implied = 0.0
        has_options = False
        for instrument_id, leg in before.items():
            after = legs.get(instrument_id)
            mark_now = self._state.mark(instrument_id) if after is None else after.mark
            if mark_now is None:
                continue
            start = leg.valuation
            if start is None:
                delta += leg.units * (mark_now - leg.mark)
                continue
            has_options = True
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
            realised_vs_implied += leg.units * 0.5 * start.greeks.gamma * (d_spot * d_spot - expected)
        slippage, totals, parts = self._slippage, self.totals, NO_PARTS.copy()
        explained = NO_AMOUNT + self._carry + spread + fees + slippage
        if delta:
            parts["delta"] = amount = Decimal(f"{delta:.6f}")
            explained += amount
            totals["delta"] += amount
        if has_options:  # shares have no other part
            for name, value in zip(OPTION_PARTS, (gamma, theta, vega, higher_order, carry), strict=True):
                if value:
                    parts[name] = amount = Decimal(f"{value:.6f}")
                    explained += amount
                    totals[name] += amount
        parts["carry"] += self._carry
        if self._carry:
            totals["carry"] += self._carry
        parts["spread"], parts["fees"], parts["slippage"] = spread, fees, slippage
        if spread:
            totals["spread"] += spread
        if fees:
            totals["fees"] += fees
        if slippage:
            totals["slippage"] += slippage
        parts["residual"] = residual = change - explained
        if residual:
            totals["residual"] += residual
        self.realised_vs_implied += realised_vs_implied
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
            gamma_rent=realised_vs_implied,
            theta_paid=theta,
        )

    def _leg_terms(
        self, leg: _Leg, start: Valuation, end: Valuation, d_years: float, change: float
    ) -> TaylorTerms:
        """Return the terms of an option over an interval, in several steps where one is too coarse."""
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
            share = step / _STEPS
            greeks = self._delta_engine.reprice(
                leg.instrument_id,
                start.spot + share * d_spot,
                start.years + share * (end.years - start.years),
                start.vol + share * d_vol,
                start.rate + share * d_rate,
            )
            step_terms = taylor_terms(
                greeks,
                leg.units,
                d_spot=d_spot / _STEPS,
                d_vol=d_vol / _STEPS,
                d_years=d_years / _STEPS,
                d_rate=d_rate / _STEPS,
            )
            for name in TERM_NAMES:
                sums[name] += getattr(step_terms, name)
        finer = TaylorTerms(**sums)
        return finer if abs(change - finer.total) < unexplained else terms


def parts_in_cents(totals: dict[str, Decimal], nav_change: Decimal) -> dict[str, Decimal]:
    """Round the parts to cents so that they sum to the rounded change; the residual takes the rest."""
    rounded = {name: to_cents(amount) for name, amount in totals.items()}
    total = to_cents(nav_change)
    rounded["residual"] = total - sum(
        (amount for name, amount in rounded.items() if name != "residual"), ZERO
    )
    return {"total": total, **rounded}
