"""Forwards, smiles and term structure of one chain, and a ladder for a straddle."""

from datetime import date
from typing import Any

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAYS_PER_YEAR, NANOS_PER_SECOND, SECONDS_PER_YEAR, SESSIONS_PER_YEAR, finite
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.marketdata.chain_surface import ChainSurface, ExpiryLabel
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.risk_book import SMILES, RiskLeg, RiskPart
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.surface import Clock, SurfaceExpiry
from scalpdesk.volatility.variance_time import clock_named

_LADDER_STEPS = 6
_LADDER_UNITS = {
    "pnl_usd": "currency, whole position, against the book as it stands",
    "delta_shares": "units of the underlying, whole position",
    "gamma_shares_per_usd": "units of the underlying per 1.00 of its price, whole position",
    "theta_usd_per_day": "currency a calendar day, whole position",
    "vega_usd_per_point": "currency per 0.01 of volatility, whole position",
}


def clock_from(name: str, now_ns: int) -> Clock:
    """Return the clock of that name as a function of calendar years from ``now_ns``."""
    clock = clock_named(name)
    return lambda years: clock.years(now_ns, now_ns + round(years * SECONDS_PER_YEAR * NANOS_PER_SECOND))


def surface_document(
    tape: MarketTape, fitted: ChainSurface, now_ns: int, max_age_seconds: float
) -> dict[str, Any]:
    """Return the surface ready for JSON: volatilities a year as fractions, times in years and days."""
    fit = fitted.surface
    return {
        "symbol": tape.underlying,
        "data": {"name": tape.name, "kind": tape.kind},
        "session": str(tape.sessions[0].day),
        "time": f"{to_new_york(now_ns):%H:%M}",
        "spot": fit.spot,
        "clock": fit.clock_name,
        "max_age_seconds": max_age_seconds,
        "share_inside": finite(fit.share_inside),
        "expiries": [
            {**_expiry_document(fitted, expiry), "forward_vol": vol}
            for expiry, vol in zip(fit.expiries, _forward_vols(fit.expiries), strict=True)
        ],
        "notes": list(tape.notes),
    }


def _forward_vols(expiries: tuple[SurfaceExpiry, ...]) -> list[float | None]:
    """Volatility at the forward from each fitted expiry to the next, a year of the surface's clock."""
    vols: list[float | None] = []
    variance = clock_years = 0.0
    for expiry in expiries:
        if expiry.smile is None or not expiry.clock_years > clock_years:
            vols.append(None)
            continue
        total = float(expiry.smile.total_variance(0.0))
        vols.append(max((total - variance) / (expiry.clock_years - clock_years), 0.0) ** 0.5)
        variance, clock_years = total, expiry.clock_years
    return vols


def _expiry_document(fitted: ChainSurface, expiry: SurfaceExpiry) -> dict[str, Any]:
    label = expiry.label
    assert isinstance(label, ExpiryLabel)
    forward, smile = fitted.forwards[label], expiry.smile
    parameters = None
    if smile is not None:
        parameters = {name: getattr(smile, name) for name in ("a", "b", "rho", "m", "s")}
    return {
        "expiry": str(label.expiry),
        "root": label.root,
        "days": expiry.years * DAYS_PER_YEAR,
        "years": expiry.years,
        "clock_years": expiry.clock_years,
        "forward": finite(forward.forward),
        "forward_uncertainty": finite(forward.uncertainty),
        "forward_status": str(forward.status),
        "pairs_used": forward.pairs_used,
        "rate": fitted.rates[label],
        "borrow": finite(forward.borrow),
        "atm_vol": finite(expiry.atm_vol),
        "risk_reversal": finite(expiry.risk_reversal),
        "butterfly": finite(expiry.butterfly),
        "rms_residual": finite(expiry.rms_residual),
        "share_inside": finite(expiry.share_inside),
        "quotes": expiry.quotes_used,
        "verdict": str(expiry.verdict),
        "arbitrage_found": {"butterfly": expiry.found.butterfly, "calendar": expiry.found.calendar},
        "arbitrage_left": {"butterfly": expiry.left.butterfly, "calendar": expiry.left.calendar},
        "svi": parameters,
    }


def straddle_ladder(
    tape: MarketTape, fitted: ChainSurface, wanted: date | None, smile: str = SMILES[0]
) -> dict[str, Any]:
    """Price one long straddle at the money over spots, now and at the session's close.

    The smile goes with the spot (``sticky-delta``) or stays with the strikes (``sticky-strike``). Steps are
    half the move that one day (or the time left, where that is less) is expected to bring at the volatility
    at the forward. They begin at the spot that the expiry is priced with: the chain's may be late by minutes.
    Raises DataError when the expiry has no smile.
    """
    fit = fitted.surface
    there = [(expiry.label, expiry) for expiry in fit.fitted if isinstance(expiry.label, ExpiryLabel)]
    pair = next((pair for pair in there if wanted is None or pair[0].expiry == wanted), None)
    if pair is None:
        raise DataError(
            "no expiry with a smile to price the straddle on",
            where="--expiry",
            value=str(wanted or "the nearest"),
            nearest=", ".join(str(label.expiry) for label, _ in there) or None,
        )
    label, found = pair
    entry = next(quotes for quotes in fitted.chain.expiries if quotes.label == label)
    strike = float(entry.strike[np.argmin(np.abs(entry.strike - found.forward))])
    vol = float(found.vol(strike))
    listed = (contract for _, contract in tape.instruments.options(tape.underlying))
    contract = next(contract for contract in listed if contract.expiry == label.expiry)
    left_days = (tape.sessions[0].close_ns - fitted.chain.ts_ns) / 86_400e9
    years = found.years, max(found.years - left_days / DAYS_PER_YEAR, 0.0)

    def shape(log_moneyness: Floats) -> Floats:
        return found.vol(found.forward * np.exp(log_moneyness))

    legs = tuple(
        RiskLeg(
            symbol=contract.symbol,
            strike=strike,
            is_call=is_call,
            units=float(contract.multiplier),
            vol=vol,
            forward=found.forward,
            years=years,
            clock_years=years,
            rate=fitted.rates[label],
            dividend_yield=fitted.forwards[label].pricing_borrow,
            dividends=fitted.chain.dividends,
            style=entry.style,
            smile=shape,
        )
        for is_call in (True, False)
    )
    spot_now = fitted.forwards[label].pricing_spot
    step = 0.5 * found.atm_vol * np.sqrt(min(1.0 / SESSIONS_PER_YEAR, found.years)) * spot_now
    spots = spot_now + step * np.arange(-_LADDER_STEPS, _LADDER_STEPS + 1)
    part = RiskPart(underlying=tape.underlying, spot=spot_now, legs=legs)
    now, later = (part.pnl(spots, np.zeros(1), step=after, smile=smile) for after in (0, 1))
    each = [leg.greeks(spot_now, spots, 0, smile) for leg in legs]
    columns = (
        now,
        *(contract.multiplier * sum(getattr(g, name) for g in each) for name in ("delta", "gamma")),
        contract.multiplier * sum(g.theta for g in each) / DAYS_PER_YEAR,
        contract.multiplier * sum(g.vega for g in each) / 100.0,
    )
    return {
        "position": f"long 1 straddle {label.expiry} {strike:g} (multiplier {contract.multiplier})",
        "strike": strike,
        "expiry": str(label.expiry),
        "vol": vol,
        "smile": smile,
        "premium_usd": float(contract.multiplier * sum(g.price[_LADDER_STEPS] for g in each)),
        "days_to_close": left_days,
        "units": _LADDER_UNITS,
        "ladder": [
            {
                "spot": float(spot),
                **{name: float(column[i]) for name, column in zip(_LADDER_UNITS, columns, strict=True)},
                "pnl_usd_at_close": float(later[i]),
            }
            for i, spot in enumerate(spots)
        ],
    }
