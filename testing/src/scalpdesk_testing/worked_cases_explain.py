"""Worked cases of the P&L explain (area I of the trade's reference)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

from scalpdesk.portfolio.explain import NO_LEG_PARTS, LegParts, MoveMeter, leg_parts
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import PricedState, corner_prices, option_greeks

Answer = dict[str, Any]
RIGHTS = {"C": (True,), "P": (False,), "straddle": (True, False)}


def _vol(state: PricedState) -> float:
    """Return the volatility over calendar time."""
    return state.vol * sqrt(state.variance_years / state.years) if state.years else 0.0


def _greeks(strike: float, is_call: bool, state: PricedState, *, american: bool = False) -> OptionGreeks:
    terms = (state.spot, strike, state.years, _vol(state), is_call, state.rate, state.dividend_yield)
    return OptionGreeks(*option_greeks(*terms, american=american))


def _leg(
    strike: float,
    is_call: bool,
    units: float,
    start: PricedState,
    end: PricedState,
    *,
    stepped: float | None = None,
    d_mark: float | None = None,
    american: bool = False,
) -> LegParts:
    spot = end.spot if stepped is None else stepped
    at_start = _greeks(strike, is_call, start, american=american)
    return leg_parts(
        corner_prices(strike, is_call, start, end, spot, end.spot, american=american),
        units=units,
        delta=at_start.delta,
        gamma=at_start.gamma,
        vega=at_start.vega * sqrt(start.variance_years / start.years),
        d_spot=spot - start.spot,
        d_vol=end.vol - start.vol,
        d_mark=d_mark,
    )


def _explain_leg(
    K: float,
    cp: str,
    units: float,
    S0: float,
    S1: float,
    sig0: float,
    sig1: float,
    tau0: float,
    tau1: float,
    mark0: float | None = None,
    mark1: float | None = None,
    r0: float = 0.0,
    r1: float | None = None,
    q0: float = 0.0,
    q1: float | None = None,
    T0: float | None = None,
    T1: float | None = None,
    pv0: float = 0.0,
    pv1: float | None = None,
    ex_div: float = 0.0,
    style: str = "european",
) -> Answer:
    start = PricedState(S0 - pv0, sig0, tau0, tau0 if T0 is None else T0, r0, q0)
    end = PricedState(
        S1 - (pv0 if pv1 is None else pv1),
        sig1,
        tau1,
        tau1 if T1 is None else T1,
        r0 if r1 is None else r1,
        q0 if q1 is None else q1,
    )
    american = style == "american"
    d_mark = None if mark0 is None or mark1 is None else mark1 - mark0
    parts = _leg(K, cp == "C", units, start, end, stepped=S1 + ex_div - pv0, d_mark=d_mark, american=american)
    return parts._asdict() | {"total": sum(parts)}


def _explain_path(
    K: float, kind: str, units: float, path: Sequence[Sequence[float]], anchors: Sequence[int]
) -> Answer:
    def state(row: Sequence[float]) -> PricedState:
        return PricedState(row[0], row[1], row[2], row[2])

    sums = dict.fromkeys(LegParts._fields, 0.0)
    shares = 0.0
    trades = [at for at, (before, after) in enumerate(pairwise(path), start=1) if before[3] != after[3]]
    for first, last in pairwise(sorted({0, *anchors, *trades, len(path) - 1})):
        for is_call in RIGHTS[kind]:
            shown = NO_LEG_PARTS
            for row in path[first + 1 : last + 1]:  # marks between anchors: the running value telescopes
                running = _leg(K, is_call, units, state(path[first]), state(row))
                for name, value, was in zip(LegParts._fields, running, shown, strict=True):
                    sums[name] += value - was
                shown = running
    for before, after in pairwise(path):
        shares += before[3] * (after[0] - before[0])
    return sums | {
        "shares": shares,
        "total": sum(sums.values()) + shares,
        "net_delta_pnl": sums["delta"] + shares,
    }


def _session_theta(
    S: float,
    K: float,
    kind: str,
    sigma: float,
    tau0: float,
    tau1: float,
    T0: float | None = None,
    T1: float | None = None,
    r: float = 0.0,
) -> Answer:
    start = PricedState(S, sigma, tau0, tau0 if T0 is None else T0, r)
    end = PricedState(S, sigma, tau1, tau1 if T1 is None else T1, r)
    value = theta = carry = first_order = 0.0
    for is_call in RIGHTS[kind]:
        corners = corner_prices(K, is_call, start, end, S, S, american=False)
        gamma = _greeks(K, is_call, start).gamma
        value += corners[0]
        theta += corners[3] - corners[0]
        carry += corners[9] - corners[7]
        first_order -= 0.5 * gamma * S * S * sigma * sigma * (tau0 - tau1)
    answer = {"value": value, "theta": theta, "carry": carry, "theta_first_order": first_order}
    if T0 is not None and T1 is not None:
        vol = _vol(start)
        by_calendar = [PricedState(S, vol, T, T, r) for T in (T0, T1)]
        prices = [sum(_greeks(K, is_call, state).price for is_call in RIGHTS[kind]) for state in by_calendar]
        answer["calendar_theta"] = prices[1] - prices[0]
    return answer


def _realised_vs_implied(rows: Sequence[Sequence[float]]) -> Answer:
    meter = MoveMeter()
    for row in rows:
        meter.add(*row)
    figures = meter.figures()
    figures["break_even_sum"] = figures.pop("break_even_move")
    figures.pop("realised_move")
    return figures


BINDINGS: Mapping[str, Callable[..., Answer]] = {
    "explain_leg": _explain_leg,
    "explain_path": _explain_path,
    "session_theta": _session_theta,
    "realised_vs_implied": _realised_vs_implied,
}
