"""Dealer gamma exposure of a chain as a document."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.core.units import NANOS_PER_SECOND, count_text
from scalpdesk.datasets.chain_files import read_chain
from scalpdesk.datasets.dealer_gamma import SessionExposure
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.marketdata.chain_gamma import PricedChain, chain_of, price_chain
from scalpdesk.marketdata.dealer_gamma import (
    FLIP_SPAN,
    FLIP_STEP,
    covered,
    covered_text,
    exposure_near,
    gamma_exposure,
    gamma_flip,
    repriced_exposure,
)

_CONVENTION = "calls +, puts -: customers are taken to sell calls and buy puts; nobody can observe it"
_NEAR_CHAIN = 0.05
_FEWEST_STRIKES = 5


@dataclass(frozen=True, slots=True)
class ChainAt:
    """A priced chain and where it is from."""

    symbol: str
    data: str
    kind: str
    day: date
    now_ns: int
    priced: PricedChain
    notes: tuple[str, ...]

    def as_session(self) -> SessionExposure:
        """Return the exposure as the session's, to be kept."""
        found = gamma_exposure(self.priced.rows, self.priced.spot)
        if found.net_usd is None:
            return SessionExposure(self.day, math.nan, math.nan)
        return SessionExposure(self.day, found.net_usd, exposure_near(found))


def exposure_document(at: ChainAt, usual_usd: tuple[float, float]) -> dict[str, Any]:
    """Return the exposure ready for JSON: USD of dealers' delta per move of 1 %.

    ``usual_usd`` counts as large, of the whole chain and near the money; NaN without a history.
    """
    priced = at.priced
    rows, spot = priced.rows, priced.spot
    found = gamma_exposure(rows, spot)
    steps = round(FLIP_SPAN / FLIP_STEP)
    levels = spot * (1.0 + np.arange(-steps, steps + 1, dtype=np.float64) * FLIP_STEP)
    profile = repriced_exposure(rows, levels, rate=priced.rate, dividend_yield=priced.borrow)
    flip = gamma_flip(rows, spot, rate=priced.rate, dividend_yield=priced.borrow)
    usual, near_usual = (None if math.isnan(usd) else usd for usd in usual_usd)
    net = found.net_usd
    return {
        "symbol": at.symbol,
        "data": {"name": at.data, "kind": at.kind},
        "session": str(at.day),
        "at": datetime.fromtimestamp(at.now_ns / NANOS_PER_SECOND, UTC).isoformat(),
        "time": f"{to_new_york(at.now_ns):%Y-%m-%d %H:%M}",
        "spot": spot,
        "net_usd": net,
        "sum_usd": found.sum_usd,
        "reason": found.reason,
        "near_usd": exposure_near(found),
        "usual_usd": usual,
        "near_usual_usd": near_usual,
        "relative": net / usual if net is not None and usual is not None else None,
        "call_wall": found.call_wall,
        "put_wall": found.put_wall,
        "flip": flip,
        "coverage": found.coverage,
        "covers": covered(found, at.day),
        "covers_text": covered_text(found, at.day),
        "rows": {
            "listed": found.rows_listed,
            "counted": found.rows_counted,
            "vol_quoted": priced.from_quotes,
            "vol_from_smile": priced.from_smile,
        },
        "expiries": [{"expiry": str(day), "net_usd": usd} for day, usd in found.by_expiry],
        "strikes": [
            {"strike": row.strike, "call_usd": row.call_usd, "put_usd": row.put_usd, "net_usd": row.net_usd}
            for row in found.by_strike
        ],
        "profile": [
            {"spot": float(level), "net_usd": float(usd)} for level, usd in zip(levels, profile, strict=True)
        ],
        "convention": _CONVENTION,
        "notes": [*_sampled([row.strike for row in found.by_strike], spot), *at.notes],
    }


def _sampled(strikes: Sequence[float], spot: float) -> list[str]:
    """Remark on too few strikes to be a chain: coverage knows only of options that are listed."""
    near = sum(abs(strike / spot - 1.0) <= _NEAR_CHAIN for strike in strikes)
    if near >= _FEWEST_STRIKES:
        return []
    return [f"only {near} strikes within {_NEAR_CHAIN:.0%} of the spot: a sample of a chain, not a chain"]


def chain_from_file(path: Path, symbol: str, day: date | None, spot: float | None, rate: float) -> ChainAt:
    """Return the priced chain of a CSV or Parquet file.

    ``spot`` is for a file that does not say it; ``rate`` a year, continuous.
    """
    stored = read_chain(path, symbol, session=day, spot=spot)
    chain = chain_of(
        stored.contracts,
        stored.bid,
        stored.ask,
        spot=stored.spot,
        ts_ns=stored.ts_ns,
        rate=rate,
    )
    living = [contract for contract in stored.contracts if expiry_instant_ns(contract) > stored.ts_ns]
    counts = zip(stored.contracts, stored.open_interest, strict=True)
    held = {contract.symbol: float(count) for contract, count in counts}
    notes = []
    if len(living) < len(stored.contracts):
        gone = len(stored.contracts) - len(living)
        notes.append(f"left out, as they had expired by the time of the quotes: {count_text(gone, 'option')}")
    if stored.rows_refused:
        notes.append(f"{stored.rows_refused} rows are no options of {symbol}")
    at_day = stored.session or to_new_york(stored.ts_ns).date()
    priced = price_chain(chain, living, held)
    return ChainAt(symbol, path.name, "recorded", at_day, stored.ts_ns, priced, tuple(notes))
