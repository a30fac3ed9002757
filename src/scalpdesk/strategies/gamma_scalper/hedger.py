"""The delta hedge of a long straddle: when the band is left, how many shares, at which volatility."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import CancelIntent, Intent, OrderIntent, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.hedging.base import HedgeBand, HedgeInputs, make_band
from scalpdesk.hedging.sizing import quantity_to_target, split_at_zero
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.orders.order import OrderState
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.gamma_scalper.config import HedgeConfig


def expired_orders(view: DeskView, numbers: Sequence[InstrumentId], ttl_seconds: float) -> tuple[Intent, ...]:
    """Return cancels for live orders on these instruments that are older than their time to live."""
    limit_ns = view.now_ns - int(ttl_seconds * NANOS_PER_SECOND)
    return tuple(
        CancelIntent(order.client_order_id, f"not filled within {ttl_seconds:g} s")
        for order in view.orders.live.values()
        if order.created_ns <= limit_ns
        and order.submitted.instrument_id in numbers
        and order.state not in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)
    )


class _HeldGreeks(NamedTuple):
    """Delta in shares, gamma in shares per currency unit, mean volatility, years to expiry."""

    delta: float
    gamma: float
    vol: float
    years: float
    multiplier: int


class StraddleHedger:
    """Keeps the net delta of a straddle inside its band.

    Parameters
    ----------
    config
        Band, volatility of the delta, time to live of an order.
    straddles
        Number of straddles held.
    forecast_vol
        Gives the forecast volatility (fraction a year) when ``config.delta_vol`` asks for it.
    """

    def __init__(
        self, config: HedgeConfig, straddles: int, forecast_vol: Callable[[DeskView], float | None]
    ) -> None:
        self._config = config
        self._straddles = straddles
        self._forecast_vol = forecast_vol
        settings: dict[str, object] = dict(config.band_settings)
        if config.band == "fixed":
            settings.setdefault("threshold", config.threshold_shares)
        self.band: HedgeBand = make_band(config.band, settings)
        self._entry_vols: dict[InstrumentId, float] = {}
        self._last_hedge_ns = 0
        self._session: Session | None = None
        self._unfinished: float | None = None
        """Net delta that a hedge across zero was meant to reach, while only its first order is out."""

    def begin(self, entry_vols: dict[InstrumentId, float], now_ns: int, straddles: int) -> None:
        """Remember the implied volatilities and the size at entry; start the clock of time-based bands."""
        self._straddles = straddles
        self._entry_vols = dict(entry_vols)
        self._last_hedge_ns = now_ns

    def hedge(self, view: DeskView, legs: Sequence[InstrumentId]) -> Sequence[Action]:
        """Bring the net delta back when it has left the band; count what is already on its way."""
        number = view.underlying
        if view.orders.live:
            cancels = expired_orders(view, (number,), self._config.order_ttl_seconds)
            if cancels:
                return (
                    Proposal(DecisionKind.HEDGE, ("hedge not filled in time: size it again",), {}, cancels),
                )
        quote = view.market.quotes[number]
        verdict = view.market.verdict(number, view.now_ns)
        if quote is None or verdict not in (QuoteVerdict.GOOD, QuoteVerdict.LOCKED):
            return ()
        owned = view.positions.quantity(number)
        pending = view.orders.pending(number)
        inputs = self._inputs(view, legs, quote, float(owned + pending))
        if inputs is None:
            return ()
        net = inputs.net_delta_shares
        judged = self.band.judge(inputs)
        # While an order is on its way its outcome is counted in full; the next word from the venue
        # wakes the strategy again, and what is then still missing is ordered.
        if pending:
            return ()
        unfinished, self._unfinished = self._unfinished, None
        if judged.inside and unfinished is None:
            return ()
        target = judged.target_delta_shares if not judged.inside or unfinished is None else unfinished
        quantity = quantity_to_target(net, target)
        if not quantity:
            return ()
        # A sell may not exceed the long holding: the rest follows, from a fresh delta, once this is done.
        legs_of_order = split_at_zero(int(owned), quantity)
        first = legs_of_order[0]
        if len(legs_of_order) > 1:
            self._unfinished = target
        self._last_hedge_ns = view.now_ns
        facts: dict[str, str | float | int] = {
            "spot": quote.mid,
            "option_delta_shares": net - float(owned + pending),
            "owned_shares": int(owned),
            "net_delta_shares": net,
            "half_width_shares": judged.half_width_shares,
            "gamma_shares_per_usd": inputs.gamma_shares_per_usd,
            "hedge_vol": inputs.vol,
            "hedge_vol_source": self._config.delta_vol,
            "quantity_shares": first,
        }
        side = Side.BUY if first > 0 else Side.SELL
        intent = OrderIntent(number, side, Decimal(abs(first)), Purpose.HEDGE, judged.reason)
        if unfinished is None:
            return (Proposal(DecisionKind.HEDGE, (judged.reason,), facts, (intent,)),)
        why = f"second order of the hedge: the holding crosses zero, {first:+d} shares to {target:+.2f}"
        return (Proposal(DecisionKind.HEDGE_SECOND_ORDER, (why,), facts, (intent,)),)

    def _inputs(
        self, view: DeskView, legs: Sequence[InstrumentId], quote: QuoteEvent, shares: float
    ) -> HedgeInputs | None:
        """What the band is asked; None while the Greeks are unknown or the options have expired."""
        known = self._option_greeks(view, legs, 1.0)
        # at the expiry instant the payoff is fixed: settlement decides, not a hedge
        if known is None or known.years <= 0.0:
            return None
        inputs = HedgeInputs(
            net_delta_shares=known.delta + shares,
            gamma_shares_per_usd=known.gamma,
            spot=quote.mid,
            years=known.years,
            vol=known.vol,
            rate=view.delta_engine.rate(known.years),
            straddles=self._straddles,
            multiplier=known.multiplier,
            seconds_since_hedge=self._seconds_since_hedge(view),
            own_cost_fraction=max(0.5 * (quote.ask - quote.bid) / quote.mid, 0.0),
        )
        adjusted_vol = getattr(self.band, "delta_vol", None)
        if adjusted_vol is None:
            return inputs
        # Leland: hedge at the volatility that the costs leave
        vol = adjusted_vol(inputs) or known.vol
        again = self._option_greeks(view, legs, vol / known.vol) if known.vol > 0.0 else None
        if again is None:
            return inputs
        return msgspec.structs.replace(
            inputs, net_delta_shares=again.delta + shares, gamma_shares_per_usd=again.gamma, vol=again.vol
        )

    def _seconds_since_hedge(self, view: DeskView) -> float:
        """Trading seconds since the last hedge: nights and weekends do not count."""
        session = view.session
        if session is not self._session and session is not None and session != self._session:
            if self._session is not None and self._last_hedge_ns < session.open_ns:
                self._last_hedge_ns += session.open_ns - self._session.close_ns
            self._session = session
        return (view.now_ns - self._last_hedge_ns) / NANOS_PER_SECOND

    def _option_greeks(
        self, view: DeskView, legs: Sequence[InstrumentId], vol_factor: float
    ) -> _HeldGreeks | None:
        """Greeks of what is held, at the chosen volatility times a factor; None while unknown."""
        delta = gamma = vol_sum = years = 0.0
        multiplier = 1
        for leg in legs:
            valuation = view.delta_engine.value(leg, view.now_ns, fresh=False)
            if valuation is None:
                return None
            vol = self._vol(view, leg, valuation.vol) * vol_factor
            greeks = valuation.greeks
            if vol != valuation.vol:
                greeks = view.delta_engine.greeks_at(leg, view.now_ns, vol) or greeks
            multiplier = view.instruments[leg].multiplier
            units = float(view.positions.quantity(leg)) * multiplier
            delta += units * greeks.delta
            gamma += units * greeks.gamma
            vol_sum += vol
            years = valuation.years
        if not legs or not abs(delta) < 1e15 or not abs(gamma) < 1e15:  # NaN never reaches a hedge
            return None
        return _HeldGreeks(delta, gamma, vol_sum / len(legs), years, multiplier)

    def _vol(self, view: DeskView, leg: InstrumentId, implied: float) -> float:
        choice = self._config.delta_vol
        if choice == "entry":
            return self._entry_vols.get(leg) or implied
        if choice == "fixed":
            return self._config.fixed_vol or implied
        if choice == "forecast":
            return self._forecast_vol(view) or implied
        return implied
