"""Worked cases of the trade: nowcast and smile level (area J), smile and delta for hedging (area K)."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scalpdesk.hedging.delta_models import least_hedge, minimum_variance_delta, skew_delta
from scalpdesk.marketdata.chain_surface import weighted_median
from scalpdesk.marketdata.vol_filter import VolFilter, quoted_vol
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.pricing.smile_level import (
    Level,
    Shift,
    Smile,
    horizon_level,
    level_of,
    shifted_smile,
    swap_variance_of_quotes,
    swap_vol,
)
from scalpdesk.volatility.nowcast import nowcast

Answer = dict[str, Any]

STICKINESS = {"sticky_strike": 1.0, "sticky_delta": 0.0, "local_vol": 2.0}


def _ssvi(tau: float, theta: float, rho: float, eta: float) -> Smile:
    def vol(k: float) -> float:
        x = eta * k / math.sqrt(theta)
        return math.sqrt(0.5 * theta * (1.0 + rho * x + math.sqrt((x + rho) ** 2 + 1.0 - rho**2)) / tau)

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
    atm, swap = smile(0.0), swap_vol(smile, tau)
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
    logs = [math.log(strike / F) for strike in strikes]
    return {
        "market_level": level_of(smile, tau, chosen),
        "vols": [moved(k) for k in logs],
        "market_vols": [smile(k) for k in logs],
    }


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
    skew = slope / (2.0 * smile(k) * tau)
    g = _black(S, K, tau, smile(k), kind)
    stickiness = STICKINESS[model] if R is None else R
    return {
        "iv": smile(k),
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


BINDINGS: dict[str, Callable[..., Answer]] = {
    "nowcast_split": _nowcast_split,
    "variance_swap_vol": _variance_swap_vol,
    "variance_swap_smile": _variance_swap_smile,
    "horizon_level": _horizon_level,
    "shifted_smile": _shifted_smile,
    "iv_quote": _iv_quote,
    "asof_spot": _asof_spot,
    "iv_filter": _iv_filter,
    "parity_forward": _parity_forward,
    "smile_delta": _smile_delta,
    "mv_delta": _mv_delta,
    "hedge_noise": _hedge_noise,
}
