"""What the gamma scalper expects to earn: forecast against implied volatility, less what it costs."""

import math

import msgspec

from scalpdesk.entry.edge_gate import EdgeGate, EdgeGateConfig, EdgeInputs, edge_usd
from scalpdesk.entry.straddle_selector import Candidate
from scalpdesk.hedging.base import HedgeBand, HedgeInputs
from scalpdesk.hedging.expected_cost import cost_of_band, cost_of_clock
from scalpdesk.instruments.contract import StraddlePair
from scalpdesk.portfolio.delta_engine import Valuation
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.gamma_scalper.config import EntryConfig
from scalpdesk.volatility.forecast import VolForecast

TRADING_SECONDS_PER_DAY = 6.5 * 3600.0


class EntryVerdict(msgspec.Struct, frozen=True):
    """Whether to buy, why, and the figures."""

    passed: bool
    reasons: tuple[str, ...]
    facts: dict[str, str | float | int]


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
        facts: dict[str, str | float | int] = {"forecast_model": forecast.model}
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
            one.multiplier for _, one in view.instruments.options(view.instruments[view.underlying].symbol)
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
        days = self._config.horizon_days
        interval_of = getattr(band, "interval_seconds", None)
        if interval_of is not None:
            a_day = TRADING_SECONDS_PER_DAY / interval_of(inputs)
            cost = cost_of_clock(gamma_shares, call.spot, forecast.vol, days, a_day, half_spread)
        else:
            width = band.judge(inputs).half_width_shares
            # no band at all is a hedge at every look: cost it as one share at a time
            width = max(width, 0.5)
            config = getattr(band, "config", None)
            cost = cost_of_band(
                gamma_shares,
                call.spot,
                forecast.vol,
                days,
                width,
                half_spread,
                rehedge_to=getattr(config, "rehedge_to", "zero"),
            )
        return cost.cost_usd / self._straddles


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
