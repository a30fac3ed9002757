"""Worked cases of the trade: nowcast, smile level and edge (area J), smile and delta for hedging (area K)."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from scalpdesk.core.units import NANOS_PER_SECOND, SESSIONS_PER_YEAR
from scalpdesk.entry.edge_gate import EdgeExpiry, EdgeInputs, GatePasses, recentring, shifted_edge
from scalpdesk.entry.straddle_selector import straddle_score
from scalpdesk.hedging.bands.leland import leland_vol
from scalpdesk.hedging.bands.whalley_wilmott import whalley_wilmott_band
from scalpdesk.hedging.base import RehedgeTo
from scalpdesk.hedging.delta_models import (
    fit_minimum_variance,
    least_hedge,
    minimum_variance_delta,
    skew_delta,
)
from scalpdesk.hedging.expected_cost import cost_of_band
from scalpdesk.marketdata.robust import weighted_median
from scalpdesk.marketdata.vol_filter import VolAverage, VolFilter
from scalpdesk.pricing.base import Floats, OptionGreeks
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.pricing.smile_level import (
    Level,
    Shift,
    Smile,
    horizon_level,
    level_of,
    shifted_smile,
    swap_vol,
)
from scalpdesk.strategies.toolkit.sizing import (
    SizeConfig,
    Sizing,
    StraddleRisk,
    pnl_deviation,
    straddle_size,
)
from scalpdesk.volatility.nowcast import nowcast
from scalpdesk.volatility.variance_time import event_forecast, event_from_two_after, event_variance
from scalpdesk_testing.field_formulas import quoted_vol, swap_variance_of_quotes

Answer = dict[str, Any]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)

STICKINESS = {"sticky_strike": 1.0, "sticky_delta": 0.0, "local_vol": 2.0}


def _ssvi(tau: float, theta: float, rho: float, eta: float) -> Smile:
    def vol(k: Floats) -> Floats:
        x = eta * k / math.sqrt(theta)
        return np.sqrt(0.5 * theta * (1.0 + rho * x + np.sqrt((x + rho) ** 2 + 1.0 - rho**2)) / tau)

    return vol


def _legs(kind: str) -> list[bool]:
    return {"C": [True], "P": [False], "straddle": [True, False]}[kind]


def _black(S: float, K: float, tau: float, sigma: float, kind: str) -> OptionGreeks:
    legs = [option_greeks(S, K, tau, sigma, is_call, american=False) for is_call in _legs(kind)]
    return OptionGreeks._make(math.fsum(column) for column in zip(*legs, strict=True))


def _nowcast_split(forecast: float, realised_variance: float, elapsed: float, react: float = 0.5) -> Answer:
    found = nowcast(forecast, realised_variance, elapsed, reaction=react)
    return {"day_vol": found.day_vol, "weight": found.weight, "rest_vol": found.rest_vol}


def _variance_swap_vol(F: float, T: float, r: float, quotes: Sequence[Sequence[float]]) -> Answer:
    variance = swap_variance_of_quotes(F, T, r, [(strike, mid) for strike, mid in quotes])
    return {"variance": variance, "vol": math.sqrt(variance)}


def _variance_swap_smile(tau: float, theta: float, rho: float, eta: float) -> Answer:
    smile = _ssvi(tau, theta, rho, eta)
    atm, swap = level_of(smile, tau, "atm"), swap_vol(smile, tau)
    return {"atm_vol": atm, "swap_vol": swap, "ratio": swap / atm}


def _horizon_level(
    level: float, tau: float, tau_h: float, forecast: float, implied_h: float | None = None
) -> Answer:
    return {"result": horizon_level(level, tau, tau_h, forecast, implied_h)}


def _shifted_smile(
    F: float,
    tau: float,
    ssvi: Mapping[str, float],
    level: float,
    strikes: Sequence[float],
    mode: str = "atm",
    kind: str = "standardised",
) -> Answer:
    smile = _ssvi(tau, **ssvi)
    chosen: Level = "swap" if mode == "swap" else "atm"
    shift: Shift = "parallel" if kind == "parallel" else "standardised"
    moved = shifted_smile(smile, tau, level, level=chosen, shift=shift)
    logs = np.log(np.array(strikes) / F)
    return {
        "market_level": level_of(smile, tau, chosen),
        "vols": moved(logs).tolist(),
        "market_vols": smile(logs).tolist(),
    }


def _shifted_edge(
    K: float,
    S: float,
    tau: float,
    ssvi: Mapping[str, float],
    forecast: float,
    stderr: float = 0.0,
    half_spreads: float = 0.0,
    hedge_cost_usd: float = 0.0,
    market: float | None = None,
    mode: str = "atm",
    kind: str = "standardised",
    tau_h: float | None = None,
    implied_h: float | None = None,
) -> Answer:
    smile = _ssvi(tau, **ssvi)

    def value(vols: Floats) -> float:
        return _black(S, K, tau, float(vols[0]), "straddle").price

    inputs = EdgeInputs(
        expiries=(EdgeExpiry(smile, tau, np.array([math.log(K / S)]), value),),
        mid=market,
        half_spreads=half_spreads,
        hedge_cost_usd=hedge_cost_usd,
        multiplier=100,
        horizon_years=tau_h,
        implied_to_horizon=implied_h,
        level="swap" if mode == "swap" else "atm",
        shift="parallel" if kind == "parallel" else "standardised",
    )
    edge = shifted_edge(inputs, forecast, stderr)
    delta = 100.0 * _black(S, K, tau, edge.implied_vol, "straddle").delta
    return {
        "market_level": edge.market_level,
        "target_level": edge.target_level,
        "iv_market": edge.implied_vol,
        "iv_shifted": edge.shifted_vol,
        "model_value": value(np.array([edge.shifted_vol])),
        "market_value": value(np.array([edge.implied_vol])) if market is None else market,
        "gross": edge.gross_usd,
        "edge": edge.net_usd,
        "stderr": edge.stderr_usd,
        "straddle_delta": delta,
        "delta_ok": abs(delta) <= 10.0,
    }


def _gate_pass(
    times: Sequence[float], edges: Sequence[float], need: float, n: int = 3, spacing: float = 60.0
) -> Answer:
    passes = GatePasses(n, spacing)
    for at, edge in zip(times, edges, strict=True):
        now_ns = int(at * NANOS_PER_SECOND)
        if passes.is_due(now_ns) and passes.note(now_ns, passed=edge >= need):
            return {"result": at}
    return {"result": None}


def _band_cost(
    gamma: float,
    S: float,
    sigma: float,
    tau_h: float,
    band: float,
    cost_per_share: float,
    rehedge_to: RehedgeTo = "edge",
) -> Answer:
    days = tau_h * SESSIONS_PER_YEAR
    cost = cost_of_band(gamma, S, sigma, days, band, cost_per_share, rehedge_to=rehedge_to)
    return {"shares": cost.rehedges * cost.shares_per_rehedge, "cost": cost.cost_usd}


def _ww_cost(
    gamma: float,
    S: float,
    sigma: float,
    tau_h: float,
    lam: float,
    a: float,
    r: float = 0.0,
    tau: float = 0.0,
) -> Answer:
    band = float(whalley_wilmott_band(gamma, S, tau, lam, a, rate=r))
    found = _band_cost(gamma, S, sigma, tau_h, band, lam * S)
    risk = a * (S * sigma * band) ** 2 / 6.0 * tau_h
    return found | {"band": band, "risk": risk, "certainty_equivalent": found["cost"] + risk}


def _pnl_sd(
    gamma: float,
    S: float,
    sigma: float,
    tau_h: float,
    hedges: float,
    edge_slope: float,
    stderr: float,
) -> Answer:
    found = pnl_deviation(gamma, S, sigma, tau_h, hedges, edge_slope * stderr)
    return {"hedging": found.hedging, "forecast": found.forecast, "total": found.total}


def _sizing(
    mode: Sizing,
    equity: float,
    premium_usd: float,
    vega_usd: float = 0.0,
    theta_session_usd: float = 0.0,
    edge_usd: float = 0.0,
    stderr_usd: float = 0.0,
    pnl_sd_usd: float = 0.0,
    fixed: int = 1,
    buying_power: float | None = None,
    cap: int | None = None,
    kappa: float | None = None,
    h: float = 1.0,
    premium_limit: float = 0.05,
) -> Answer:
    risk = StraddleRisk(premium_usd, vega_usd, theta_session_usd, edge_usd, stderr_usd, pnl_sd_usd)
    config = SizeConfig(fraction=kappa, k_stderr=h, max_premium_fraction=premium_limit, max_straddles=cap)
    found = straddle_size(mode, equity, risk, fixed=fixed, config=config, buying_power=buying_power)
    return found._asdict()


def _recentre(
    S: float,
    K: float,
    K_new: float,
    iv: float,
    iv_new: float,
    tau: float,
    forecast: float,
    tau_h: float,
    cost_usd: float = 0.0,
    straddles: int = 1,
) -> Answer:
    units = 100.0 * straddles
    held = ((K, iv), (K_new, iv_new))
    old, new = (units * _black(S, strike, tau, vol, "straddle").gamma for strike, vol in held)
    found = recentring(S, (old, new), (iv, iv_new), forecast, tau_h, cost_usd)
    return {**found._asdict(), "recentre": found.is_due(0.5)}


def _event_forecast(forecast: float, tau: float, events: Sequence[float]) -> Answer:
    return {"result": event_forecast(forecast, tau, events)}


def _event_variance(iv1: float, tau1: float, iv2: float, tau2: float, base: float | None = None) -> Answer:
    """``base`` is the volatility between the expiries without the event; None takes that of the first."""
    variance = event_variance(iv1, tau1, iv2, tau2)
    if base is not None:
        variance = max(iv2 * iv2 * tau2 - iv1 * iv1 * tau1 - base * base * (tau2 - tau1), 0.0)
    return {
        "variance": variance,
        "move_sd": math.sqrt(variance),
        "mean_abs_move": math.sqrt(2.0 * variance / math.pi),
    }


def _event_from_two_after(iv1: float, tau1: float, iv2: float, tau2: float) -> Answer:
    base, variance = event_from_two_after(iv1, tau1, iv2, tau2)
    return {"base_vol": base, "variance": variance, "move_sd": math.sqrt(variance)}


def _iv_quote(F: float, K: float, cp: str, bid: float, ask: float, tau: float, D: float = 1.0) -> Answer:
    found = quoted_vol(F, K, cp == "C", bid, ask, tau, D)
    return {
        "iv_bid": found.bid,
        "iv_mid": found.mid,
        "iv_ask": found.ask,
        "vega": found.vega,
        "sd": found.deviation,
    }


def _asof_spot(ts: float, series: Sequence[Sequence[float]]) -> Answer:
    return {"result": series[bisect_right([at for at, _ in series], ts) - 1][1]}


def _iv_filter(
    dtau: Sequence[float],
    z: Sequence[float],
    sd: Sequence[float],
    vol_of_vol: float = 1.0,
    gate: float = 5.0,
    repeats: int = 3,
) -> Answer:
    state = VolFilter(vol_of_vol, gate, repeats)
    vols, deviations, used = [], [], []
    for years, vol, deviation in zip(dtau, z, sd, strict=True):
        used.append(state.update(years, vol, deviation))
        vols.append(state.vol)
        deviations.append(state.deviation)
    return {"vol": vols, "sd": deviations, "used": used}


def _iv_ewma(seconds: Sequence[float], z: Sequence[float], half_life: float = 60.0) -> Answer:
    state, vols = VolAverage(half_life), []
    for lapse, vol in zip([0.0, *(b - a for a, b in pairwise(seconds))], z, strict=True):
        state.average(lapse, vol, 0.0)
        vols.append(state.vol)
    return {"result": vols}


def _parity_forward(pairs: Sequence[Sequence[float]], r: float = 0.0, T: float = 0.0) -> Answer:
    table = np.array(pairs, dtype=np.float64)
    strike, call_bid, call_ask, put_bid, put_ask = table.T
    forwards = strike + math.exp(r * T) * 0.5 * (call_bid + call_ask - put_bid - put_ask)
    return {"result": weighted_median(forwards, 1.0 / (call_ask - call_bid + put_ask - put_bid))}


def _smile_delta(
    S: float,
    K: float,
    kind: str,
    tau: float,
    ssvi: Mapping[str, float],
    model: str = "sticky_strike",
    R: float | None = None,
) -> Answer:
    smile = _ssvi(tau, **ssvi)
    k = math.log(K / S)
    per_log, x = ssvi["eta"] / math.sqrt(ssvi["theta"]), ssvi["eta"] * k / math.sqrt(ssvi["theta"])
    rho = ssvi["rho"]
    slope = 0.5 * ssvi["theta"] * per_log * (rho + (x + rho) / math.sqrt((x + rho) ** 2 + 1.0 - rho**2))
    vol = float(smile(np.array(k)))
    skew = slope / (2.0 * vol * tau)
    g = _black(S, K, tau, vol, kind)
    stickiness = STICKINESS[model] if R is None else R
    return {
        "iv": vol,
        "skew": skew,
        "delta_bs": g.delta,
        "vega": g.vega,
        "delta": g.delta + skew_delta(g.vega, S, skew, stickiness),
    }


def _mv_delta(
    S: float, K: float, kind: str, sigma: float, tau: float, a: float, b: float, c: float
) -> Answer:
    g = _black(S, K, tau, sigma, kind)
    a_leg = minimum_variance_delta(S, K, tau, sigma, (a, b, c))
    return {
        "delta_bs": g.delta,
        "adjustment_per_leg": a_leg,
        "delta": g.delta + len(_legs(kind)) * a_leg,
    }


def _hedge_noise(
    S: float, K: float, kind: str, tau: float, sigma: float, iv_sd: float, units: float, z: float = 2.0
) -> Answer:
    vanna = _black(S, K, tau, sigma, kind).vanna
    return {
        "vanna": vanna,
        "delta_sd_shares": abs(vanna) * iv_sd * units,
        "least_hedge": least_hedge(vanna * iv_sd * units, z),
    }


def _mv_fit(rows: Sequence[Sequence[float]]) -> Answer:
    (a, b, c), gain = fit_minimum_variance(*zip(*rows, strict=True))
    return {"a": a, "b": b, "c": c, "gain": gain}


def _leland_delta(S: float, K: float, kind: str, tau: float, sigma: float, lam: float, dt: float) -> Answer:
    vol = leland_vol(lam, sigma, dt, long_gamma=True)
    return {"sigma_long": vol, "delta": None if vol is None else _black(S, K, tau, vol, kind).delta}


def _theta_gamma_pick(S: float, tau: float, ssvi: Mapping[str, float], strikes: Sequence[float]) -> Answer:
    smile, scores = _ssvi(tau, **ssvi), []
    for strike in strikes:
        g = _black(S, strike, tau, float(smile(np.array(math.log(strike / S)))), "C")
        scores.append(straddle_score(g.theta, g.gamma, 0.0).score)
    return {"scores": scores, "pick": min(zip(scores, strikes, strict=True))[1]}


def _hedge_pnl(
    S: float, K: float, kind: str, T: float, implied: float, actual: float, mu: float = 0.0
) -> Answer:
    """Ahmad and Wilmott (2005): certain at the actual volatility, a mean at the implied one."""

    def mean_dollar_gamma(t: float) -> float:
        centre, spread = math.log(S) + (mu - 0.5 * actual * actual) * t, actual * math.sqrt(t)
        width = implied * math.sqrt(T - t)
        peak = math.log(K) + 0.5 * width * width
        # density and gamma are bells: nodes where both are
        both = 1.0 / (1.0 / spread**2 + 1.0 / width**2)
        at = both * (centre / spread**2 + peak / width**2) + 9.0 * math.sqrt(both) * _NODES
        density = np.exp(-0.5 * ((at - centre) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
        spots = np.exp(at).tolist()
        gammas = [spot * spot * _black(spot, K, T - t, implied, kind).gamma for spot in spots]
        return 9.0 * math.sqrt(both) * float(np.dot(_WEIGHTS * density, gammas))

    # t = T·sin²: finely spaced at both ends, where one of the bells is narrow
    x = 0.25 * math.pi * (_NODES + 1.0)
    times, weights = T * np.sin(x) ** 2, 0.25 * math.pi * _WEIGHTS * T * np.sin(2.0 * x)
    earned = sum(w * mean_dollar_gamma(t) for w, t in zip(weights.tolist(), times.tolist(), strict=True))
    certain = _black(S, K, T, actual, kind).price - _black(S, K, T, implied, kind).price
    return {"at_actual": certain, "at_implied_mean": 0.5 * (actual**2 - implied**2) * earned}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "nowcast_split": _nowcast_split,
    "variance_swap_vol": _variance_swap_vol,
    "variance_swap_smile": _variance_swap_smile,
    "horizon_level": _horizon_level,
    "shifted_smile": _shifted_smile,
    "shifted_edge": _shifted_edge,
    "gate_pass": _gate_pass,
    "band_cost": _band_cost,
    "ww_cost": _ww_cost,
    "recentre": _recentre,
    "event_forecast": _event_forecast,
    "event_variance": _event_variance,
    "event_from_two_after": _event_from_two_after,
    "pnl_sd": _pnl_sd,
    "sizing": _sizing,
    "iv_quote": _iv_quote,
    "asof_spot": _asof_spot,
    "iv_filter": _iv_filter,
    "iv_ewma": _iv_ewma,
    "parity_forward": _parity_forward,
    "smile_delta": _smile_delta,
    "mv_delta": _mv_delta,
    "hedge_noise": _hedge_noise,
    "mv_fit": _mv_fit,
    "leland_delta": _leland_delta,
    "theta_gamma_pick": _theta_gamma_pick,
    "hedge_pnl": _hedge_pnl,
}
