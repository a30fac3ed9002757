"""Worked cases of the P&L explain (area I of the trade's reference)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from math import sqrt
from typing import Any

from msgspec import structs
from scipy.optimize import brentq

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import NEW_YORK, session_on, sessions_between, to_ns
from scalpdesk.portfolio.interval import NO_LEG_PARTS, LegParts, leg_parts
from scalpdesk.portfolio.move_meter import MoveMeter
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import PricedState, corner_prices, option_greeks
from scalpdesk.volatility.variance_time import CALENDAR, SessionWeights, VarianceClock, convert_vol

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
    amounts = structs.asdict(parts)
    return amounts | {"total": sum(amounts.values())}


def _explain_path(
    K: float, kind: str, units: float, path: Sequence[Sequence[float]], anchors: Sequence[int]
) -> Answer:
    def state(row: Sequence[float]) -> PricedState:
        return PricedState(row[0], row[1], row[2], row[2])

    sums = dict.fromkeys(LegParts.__struct_fields__, 0.0)
    shares = 0.0
    trades = [at for at, (before, after) in enumerate(pairwise(path), start=1) if before[3] != after[3]]
    for first, last in pairwise(sorted({0, *anchors, *trades, len(path) - 1})):
        for is_call in RIGHTS[kind]:
            shown = NO_LEG_PARTS
            for row in path[first + 1 : last + 1]:  # marks between anchors: the running value telescopes
                running = _leg(K, is_call, units, state(path[first]), state(row))
                for name in sums:
                    sums[name] += getattr(running, name) - getattr(shown, name)
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


def _break_even_move(S: float, K: float, kind: str, sigma: float, tau0: float, tau1: float) -> Answer:
    start, end = PricedState(S, sigma, tau0, tau0), PricedState(S, sigma, tau1, tau1)
    delta = sum(_greeks(K, is_call, start).delta for is_call in RIGHTS[kind])

    def earned(move: float) -> float:
        total = -delta * move
        for is_call in RIGHTS[kind]:
            corners = corner_prices(K, is_call, start, end, S + move, S, american=False)
            total += corners[5] - corners[0]
        return total

    meter = MoveMeter()
    meter.add(1.0, S, 0.0, sigma, tau0 - tau1)
    first_order = meter.figures()["break_even_move"]
    up, down = (brentq(earned, 0.0, side * 3.0 * first_order, xtol=1e-13) for side in (1.0, -1.0))
    return {"first_order": first_order, "up": up, "down": down}


# the variance clock --------------------------------------------------------------------------------


def _clock(night: float, half_weight: float = 0.6, event_days: float = 0.0, **weights: Any) -> VarianceClock:
    """Return a clock whose nights hold a share of each day."""
    day = 1.0 / (1.0 - night)  # a session is one: the clock's unit
    shares = SessionWeights(
        night=night * day,
        weekend=night * day,
        holiday=night * day,
        half_day=half_weight,
        announcement=(event_days * day, 0.0),
        year=252.0 * day,
        **weights,
    )
    at_noon = to_ns(datetime(2017, 7, 3, 11, 0, tzinfo=NEW_YORK))
    return VarianceClock("case", shares, (at_noon,) if event_days else ())


def _elapsed_share(minute: float, buckets: Sequence[Sequence[float]]) -> Answer:
    clock = _clock(0.3, profile=tuple(share for _, share in buckets))
    session = session_on(date(2017, 6, 20))
    so_far = clock.years(session.open_ns, session.open_ns + round(minute * 60 * NANOS_PER_SECOND))
    return {"result": so_far / clock.years(session.open_ns, session.close_ns)}


def _variance_time(
    elapsed: float,
    full_days: int = 0,
    half_days: int = 0,
    night: float = 0.3,
    half_weight: float = 0.6,
    events: float = 0.0,
) -> Answer:
    """The span begins so many sessions before 2017-07-03, a half day, or ends before it."""
    clock = _clock(night, half_weight, events)
    sessions = sessions_between(date(2017, 1, 3), date(2017, 7, 3))
    last = len(sessions) - (1 if half_days else 2)
    first = sessions[last - full_days - half_days]
    whole = clock.years(first.open_ns, first.close_ns)
    start_ns = brentq(
        lambda at: clock.years(first.open_ns, first.open_ns + int(at)) / whole - elapsed,
        0.0,
        first.close_ns - first.open_ns,
        xtol=1.0,
    )
    years = clock.years(first.open_ns + int(start_ns), sessions[last].close_ns)
    return {"days": 252.0 * years, "years": years}


class _Span(VarianceClock, frozen=True):
    """A clock by which every span is as long as a case says."""

    length: float = 1.0

    def years(self, start_ns: int, end_ns: int) -> float:
        del start_ns, end_ns
        return self.length


def _convert_vol(vol: float, years_from: float, years_to: float) -> Answer:
    by, to = _Span("from", length=years_from), _Span("to", length=years_to)
    return {"result": convert_vol(vol, by, to, 0, 1)}


def _calendar_iv(sigma: float, taus: Sequence[float], cal_days: Sequence[float]) -> Answer:
    found = []
    for tau, days in zip(taus, cal_days, strict=True):
        end_ns = round(days * 86_400 * NANOS_PER_SECOND)
        found.append(convert_vol(sigma, _Span("session", length=tau), CALENDAR, 0, end_ns))
    return {"result": found}


BINDINGS: Mapping[str, Callable[..., Answer]] = {
    "explain_leg": _explain_leg,
    "explain_path": _explain_path,
    "session_theta": _session_theta,
    "realised_vs_implied": _realised_vs_implied,
    "break_even_move": _break_even_move,
    "elapsed_share": _elapsed_share,
    "variance_time": _variance_time,
    "convert_vol": _convert_vol,
    "calendar_iv": _calendar_iv,
}
