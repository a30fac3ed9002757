"""Does dealer gamma say anything about the next hour? Tests over the sessions of a data set.

Each session is divided into windows. At a window's start the exposure is computed from the chain as
``scalpdesk gex`` does; over the window the underlying's variance and the P&L of a straddle hedged every
minute are measured. Known without dealer gamma, and therefore controls, are the variance of the hour before,
the implied volatility and the time of day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import MINUTE_NS, SECONDS_PER_YEAR
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.chain_gamma import PricedChain, price_tape
from scalpdesk.marketdata.dealer_gamma import exposure_near, gamma_exposure
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing.models import greeks
from scalpdesk.research.significance import (
    FEWEST_SESSIONS,
    Finding,
    Floats,
    Labels,
    corrected,
    other_session_p,
    slope_by_session,
)

_LEAST_YEARS = 4.0 / (24.0 * 365.0)
"""Life that the straddle has left at the window's start beside the window itself: four hours."""


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a session: dealer gamma at its start, and what came."""

    session: int
    """Number of the session."""
    slot: int
    """Number of the window in its session."""
    total_usd: float
    near_usd: float
    """``total_usd``, ``near_usd``: Exposure of the whole chain and near the money, USD per 1 %."""
    implied_vol: float
    """At the money, a fraction a year."""
    log_variance_before: float
    log_variance: float
    """``log_variance_before``, ``log_variance``: Logarithms of the sums of squared returns over 1 minute."""
    hedged_pnl: float
    """P&L of the straddle at the volatility of its purchase, hedged every minute, without costs: a fraction
    of its premium.
    """


def windows_of(tape: MarketTape, number: int, minutes: int) -> Iterator[Window]:
    """Yield the windows of a tape's first session, the first an hour or a window after the open.

    ``number`` is the session's. A window whose exposure, volatility or prices are not known is left out.
    """
    session = tape.sessions[0]
    lead = max(minutes, 60)
    step_ns, start_ns = minutes * MINUTE_NS, session.open_ns + lead * MINUTE_NS
    grid_ns, mids = _minute_mids(tape, session)
    fitted = None
    for slot, now_ns in enumerate(range(start_ns, session.close_ns - step_ns + 1, step_ns)):
        try:
            priced = price_tape(tape, now_ns, previous=fitted)
        except DataError:  # the underlying was not quoted yet
            continue
        fitted = priced.surface
        exposure = gamma_exposure(priced.rows, priced.spot)
        at = int(np.searchsorted(grid_ns, now_ns))
        path, before = mids[at : at + minutes + 1], mids[at - lead : at + 1]
        if exposure.net_usd is None or not np.isfinite([*path, *before]).all():
            continue
        variance, earlier = (float(np.square(np.diff(np.log(each))).sum()) for each in (path, before))
        straddle = _straddle(priced, minutes)
        if straddle is None or variance <= 0.0 or earlier <= 0.0:
            continue
        strike, years, vol = straddle
        yield Window(
            number,
            slot,
            exposure.net_usd,
            exposure_near(exposure),
            vol,
            float(np.log(earlier)),
            float(np.log(variance)),
            hedged_pnl(path, strike, years, vol),
        )


def _minute_mids(tape: MarketTape, session: Session) -> tuple[Labels, Floats]:
    """Return whole minutes of a session and the underlying's mid at each; NaN before its first quote."""
    quotes = tape.quotes.between(session.open_ns, session.close_ns)
    own = quotes.take(quotes.instrument_id == tape.underlying_ids[0])
    grid = np.arange(session.open_ns, session.close_ns + 1, MINUTE_NS, dtype=np.int64)
    place = np.searchsorted(own.ts_ns, grid, side="right") - 1
    mids = 0.5 * (own.bid + own.ask)
    return grid, np.where(place >= 0, mids[np.maximum(place, 0)], np.nan)


def _straddle(priced: PricedChain, minutes: int) -> tuple[float, float, float] | None:
    """Return strike, years and volatility of the first expiry's straddle that outlives the window."""
    rows, years, vols = priced.rows, priced.rows.years, priced.rows.vol
    assert years is not None
    assert vols is not None
    least = _LEAST_YEARS + minutes * 60.0 / SECONDS_PER_YEAR
    usable = np.isfinite(vols) & (vols > 0.0) & (years >= least)
    if not usable.any():
        return None
    first = usable & (years == years[usable].min())
    distance = np.where(first, np.abs(rows.strike - priced.spot), np.inf)
    row = int(np.argmin(distance))
    return float(rows.strike[row]), float(years[row]), float(vols[row])


def hedged_pnl(path: Floats, strike: float, years: float, vol: float) -> float:
    """Return the P&L of a straddle hedged at each price of a path of whole minutes.

    ``path``: Prices of the underlying, the first at the purchase, currency per share.
    ``strike``, ``years``, ``vol``: Strike, ACT/365 years to expiry at the purchase, and the volatility of
    every price and hedge.

    Returns a fraction of the premium; without rates, dividends and costs.
    """
    left = years - np.arange(len(path)) * 60.0 / SECONDS_PER_YEAR
    call, put = (greeks(path, strike, left, vol, is_call, style="european") for is_call in (True, False))
    worth, delta = call.price + put.price, call.delta + put.delta
    hedges = float((delta[:-1] * np.diff(path)).sum())
    return float((worth[-1] - worth[0] - hedges) / worth[0])


def gamma_findings(windows: Sequence[Window]) -> list[Finding]:
    """Test eight hypotheses: sign and size of two exposures, on variance and on hedging P&L.

    In the control each session gets the exposures of another.
    """
    session = np.array([each.session for each in windows], np.int64)
    slot = np.array([each.slot for each in windows], np.int64)
    count = len(np.unique(session))
    implied = np.array([each.implied_vol for each in windows])
    before = np.array([each.log_variance_before for each in windows])
    times = [(slot == each).astype(np.float64) for each in np.unique(slot)[1:]]
    controls = np.column_stack([np.log(implied), before, *times])
    rng = np.random.default_rng(1)
    found = []
    for outcome, unit in (
        ("log_variance", "log of the next window's variance"),
        ("hedged_pnl", "fraction of premium"),
    ):
        values = np.array([getattr(each, outcome) for each in windows])
        for exposure in ("total_usd", "near_usd"):
            usd = np.array([getattr(each, exposure) for each in windows])
            for kind, per in (("sign", "from short to long gamma"), ("size", "for the usual size")):
                bare = Finding(
                    name=f"{kind} of {exposure.removesuffix('_usd')} exposure on {outcome.replace('_', ' ')}",
                    unit=f"{unit}, {per}",
                    observations=len(windows),
                    sessions=count,
                )
                on = np.sign(usd) / 2.0 if kind == "sign" else usd / np.median(np.abs(usd))
                if count < FEWEST_SESSIONS:
                    problem = f"{count} sessions, at least {FEWEST_SESSIONS}"
                elif np.ptp(on) == 0.0:
                    problem = "it was the same in every window"
                else:
                    slope = slope_by_session(values, on, controls, session)
                    control_p = other_session_p(values, on, controls, session, slot, rng)
                    found.append(bare.with_estimate(slope, control_p))
                    continue
                found.append(replace(bare, problem=problem))
    return corrected(found)
