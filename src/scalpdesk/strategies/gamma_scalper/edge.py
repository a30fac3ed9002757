"""The edge of a straddle: forecast against implied volatility, less the costs; at entry and while held."""

import math
from typing import Literal

import msgspec

from scalpdesk.core.bounds import Bound, check_bounds, time_of_day
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import LegOrders
from scalpdesk.entry.edge_gate import EdgeGate, EdgeGateConfig, EdgeInputs, edge_usd
from scalpdesk.entry.straddle_selector import Candidate
from scalpdesk.hedging.base import HedgeBand, HedgeInputs
from scalpdesk.hedging.expected_cost import expected_cost
from scalpdesk.instruments.contract import StraddlePair
from scalpdesk.portfolio.delta_engine import Valuation
from scalpdesk.strategies.contract import DeskView, Facts
from scalpdesk.volatility.forecast import VolForecast

SECONDS = Bound(0, 3_600, "seconds, not milliseconds")
VOL = Bound(0, 5, "a volatility as a fraction a year: 0.20 is 20 %")
ENTRY_BOUNDS = {
    "min_edge_usd": Bound(-1e6, 1e6, "currency a straddle"),
    "k_stderr": Bound(0, 10, "a number of standard errors", may_equal_low=True),
    "min_vol_ratio": Bound(0, 10, "forecast over implied volatility", may_equal_low=True),
    "horizon_days": Bound(0, 252, "trading days"),
    "forecast_vol": VOL,
    "passes": Bound(0, 100, "a number of evaluations"),
    "pass_seconds": SECONDS,
    "max_straddle_delta": Bound(0, 100, "shares of 100"),
    "order_ttl_seconds": SECONDS,
    "max_attempts": Bound(0, 100, "a number of orders"),
}


class EntryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to buy, and at what edge.

    Parameters
    ----------
    gate
        ``enforce`` buys only with an edge; ``advise`` states the verdict and buys; ``off`` does not ask.
    min_edge_usd, k_stderr, min_vol_ratio
        Of the gate: net edge a straddle in USD, standard errors it must exceed, forecast over implied.
    passes, pass_seconds
        An enforced gate must let an entry through so many times in a row, at least so far apart; it is
        asked no sooner, and not at each tick.
    max_straddle_delta
        With an enforced gate: largest delta of a straddle, shares of 100; None takes any. What lies far
        from the money is skew, not an edge.
    horizon_days
        Trading days over which the edge is counted.
    forecast_vol
        Use this volatility (fraction a year) instead of the run's forecast.
    not_before, not_after
        New York times (``HH:MM``) between which an entry may be made.
    order_ttl_seconds
        A leg's order that has not been filled by then is cancelled and priced anew.
    max_attempts
        So often; then what was bought is sold again.
    again_after_exit
        Look for another entry after an exit.
    orders
        How a straddle's legs go to the venue, in and out: ``combo`` as one order, ``legs`` one by one,
        ``auto`` as one order where a live venue takes it and leg by leg in a backtest.
    """

    gate: Literal["enforce", "advise", "off"] = "enforce"
    min_edge_usd: float = 5.0
    k_stderr: float = 1.0
    min_vol_ratio: float = 1.05
    passes: int = 3
    pass_seconds: float = 60.0
    max_straddle_delta: float | None = 10.0
    horizon_days: float = 5.0
    forecast_vol: float | None = None
    not_before: str = "09:35"
    not_after: str = "15:30"
    order_ttl_seconds: float = 15.0
    max_attempts: int = 5
    again_after_exit: bool = False
    orders: LegOrders = LegOrders.AUTO

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, times that are none, and a window that is empty."""
        check_bounds(self, ENTRY_BOUNDS, "entry")
        if time_of_day("entry.not_after", self.not_after) < time_of_day("entry.not_before", self.not_before):
            raise ConfigError(
                "the entry window is empty: its end lies before its start",
                where="entry.not_after",
                value=self.not_after,
                fix=f"set entry.not_after to {self.not_before} (entry.not_before) or later",
            )


class EntryVerdict(msgspec.Struct, frozen=True):
    """Whether to buy, the reasons and the figures."""

    passed: bool
    reasons: tuple[str, ...]
    facts: Facts


class StraddleEdge:
    """Edge of one straddle at entry and while it is held.

    Parameters
    ----------
    config
        The gate's settings.
    straddles
        Number of straddles (the hedge cost of a band depends on it).
    """

    def __init__(self, config: EntryConfig, straddles: int) -> None:
        self._config = config
        self._straddles = straddles
        self._gate = EdgeGate(
            EdgeGateConfig(
                min_edge_usd=config.min_edge_usd,
                k_stderr=config.k_stderr,
                min_vol_ratio=config.min_vol_ratio,
            )
        )

    def forecast(self, view: DeskView) -> VolForecast:
        """Return the run's forecast for the underlying, or the configured one."""
        given = self._config.forecast_vol
        if given is not None:
            return _as_forecast(given, 0.0, "given in entry.forecast_vol", None)
        event = view.market.forecasts.get(view.underlying)
        if event is None:
            reason = "this market comes with no daily history; set entry.forecast_vol, or entry.gate=off"
            return _as_forecast(math.nan, math.nan, "none", reason)
        return _as_forecast(event.vol, event.stderr, event.model, event.reason or None)

    def forecast_vol(self, view: DeskView) -> float | None:
        """Return the forecast volatility (fraction a year), or None when there is none."""
        forecast = self.forecast(view)
        return forecast.vol if forecast.known else None

    def judge(self, best: Candidate, view: DeskView, band: HedgeBand) -> EntryVerdict:
        """Say whether to buy this straddle."""
        if self._config.gate == "off":
            return EntryVerdict(passed=True, reasons=("entry gate off",), facts={})
        forecast = self.forecast(view)
        inputs = self._inputs(best.call, best.put, best.spread, view, band, forecast, round_trip=True)
        verdict = self._gate.judge(inputs, forecast)
        facts: Facts = {"forecast_model": forecast.model}
        if forecast.known:
            facts["forecast_vol"] = forecast.vol
        if verdict.edge is not None:
            facts |= {
                "edge_usd": verdict.edge.net_usd,
                "edge_gross_usd": verdict.edge.gross_usd,
                "edge_spread_usd": verdict.edge.spread_usd,
                "edge_hedge_cost_usd": verdict.edge.hedge_cost_usd,
            }
        if verdict.passed or self._config.gate == "enforce":
            label = "entry gate: " if verdict.passed else "entry gate refuses: "
            return EntryVerdict(verdict.passed, tuple(label + why for why in verdict.reasons), facts)
        advice = tuple(f"entry gate (advice only) would refuse: {why}" for why in verdict.reasons)
        return EntryVerdict(passed=True, reasons=advice, facts=facts)

    def left(self, pair: StraddlePair, view: DeskView, band: HedgeBand) -> float | None:
        """Return the edge left in USD, with the spread of getting out only; None when unknown."""
        forecast = self.forecast(view)
        call = view.delta_engine.value(pair.call_id, view.now_ns, fresh=False)
        put = view.delta_engine.value(pair.put_id, view.now_ns, fresh=False)
        if not forecast.known or call is None or put is None:
            return None
        spread = 0.0
        for leg in (pair.call_id, pair.put_id):
            quote = view.market.quotes[leg]
            if quote is None or not quote.ask > quote.bid > 0:
                return None
            spread += quote.ask - quote.bid
        inputs = self._inputs(call, put, spread, view, band, forecast, round_trip=False)
        return edge_usd(inputs, forecast.vol).net_usd

    def _inputs(
        self,
        call: Valuation,
        put: Valuation,
        spread: float,
        view: DeskView,
        band: HedgeBand,
        forecast: VolForecast,
        *,
        round_trip: bool,
    ) -> EdgeInputs:
        multiplier = next(
            item.multiplier for _, item in view.instruments.options(view.instruments[view.underlying].symbol)
        )
        gamma = max(call.greeks.gamma + put.greeks.gamma, 0.0)
        vol = 0.5 * (call.vol + put.vol)
        # sitting out the whole spread once in and once out is two half-spreads; out alone is one
        spread_usd = multiplier * max(spread, 0.0) * (1.0 if round_trip else 0.5)
        return EdgeInputs(
            spot=call.spot,
            gamma_per_usd=gamma,
            implied_vol=vol,
            horizon_days=self._config.horizon_days,
            spread_usd=spread_usd,
            hedge_cost_usd=self._hedge_cost_usd(gamma, multiplier, vol, call, view, band, forecast),
            multiplier=multiplier,
        )

    def _hedge_cost_usd(
        self,
        gamma: float,
        multiplier: int,
        vol: float,
        call: Valuation,
        view: DeskView,
        band: HedgeBand,
        forecast: VolForecast,
    ) -> float:
        """Expected cost of hedging one straddle over the horizon with this band."""
        quote = view.market.quotes[view.underlying]
        if quote is None or not forecast.known or not gamma > 0.0 or not call.years > 0.0:
            return 0.0
        half_spread = max(0.5 * (quote.ask - quote.bid), 0.0)
        gamma_shares = gamma * multiplier * self._straddles
        inputs = HedgeInputs(
            net_delta_shares=0.0,
            gamma_shares_per_usd=gamma_shares,
            spot=call.spot,
            years=call.years,
            vol=max(vol, 1e-4),
            rate=call.rate,
            straddles=self._straddles,
            multiplier=multiplier,
            seconds_since_hedge=0.0,
            own_cost_fraction=half_spread / call.spot,
        )
        cost = expected_cost(band, inputs, forecast.vol, self._config.horizon_days, half_spread)
        return cost.cost_usd / self._straddles


def entry_facts(view: DeskView, best: Candidate, spot: float) -> Facts:
    """Return the figures behind the choice of a straddle; prices in currency per unit."""
    return {
        "spot": spot,
        "strike": float(best.pair.strike),
        "expiry": best.pair.expiry.isoformat(),
        "call": view.instruments[best.pair.call_id].symbol,
        "put": view.instruments[best.pair.put_id].symbol,
        "implied_vol": 0.5 * (best.call.vol + best.put.vol),
        "score": best.score.score or 0.0,
        "legacy_score": best.score.legacy_score or 0.0,
        "breakeven_move_usd": best.score.breakeven_move or 0.0,
        "spread_usd_per_unit": best.spread,
    }


def _as_forecast(vol: float, stderr: float, model: str, reason: str | None) -> VolForecast:
    return VolForecast(
        vol=vol,
        low=math.nan,
        high=math.nan,
        stderr=stderr,
        confidence=math.nan,
        horizon_days=0,
        model=model,
        requested=model,
        reason=reason,
        fit={},
        observations=0,
        dropped=(),
    )
