"""Bounds that no sane set of quotes breaks: intrinsic value and put-call parity, on columns.

Both are tested against the weakest form of the bound, so that a finding is a finding whatever the
rate between zero and the tape's own, for American and European options alike (Merton 1973, "Theory
of rational option pricing", Bell Journal of Economics 4).
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.sessions import expiry_instant_ns, from_ns
from scalpdesk.marketdata.tape import MarketTape

MOMENTS_APART = 5e-4
"""Allowance, as a share of the spot: the closes of one bar may be a bar apart, and five basis points
are one standard deviation of a minute at 15 % a year."""


@dataclass(frozen=True, slots=True)
class OptionRows:
    """Option quotes beside what the underlying was quoted at; one row each."""

    ts_ns: NDArray[np.int64]
    pair: NDArray[np.int64]
    """Number of the (root, expiry, strike) that the option shares with its twin."""
    is_call: NDArray[np.bool_]
    is_american: NDArray[np.bool_]
    strike: NDArray[np.float64]
    discount: NDArray[np.float64]
    """Present value of one dollar at expiry, at the tape's rate."""
    payouts: NDArray[np.float64]
    """Dividends until expiry and the yield's share of the spot, currency per unit."""
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    spot_bid: NDArray[np.float64]
    spot_ask: NDArray[np.float64]
    tolerance: NDArray[np.float64]
    """One tick of the option and the allowance for closes of different moments."""

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True, slots=True)
class Finding:
    """How many rows were tested, how many broke the bound, and by how much at worst."""

    checked: int
    found: int
    worst: float
    """Currency per unit beyond the tolerance; 0 when nothing was found."""
    tolerance: float
    """Median tolerance that was allowed."""


def option_rows(tape: MarketTape) -> OptionRows | None:
    """Line up the options' quotes with the underlying's last quote before or at the same instant.

    Returns None when the tape has no option rows after the underlying's first quote.
    """
    quotes = tape.quotes
    root_id = int(tape.instruments.id_of(tape.underlying))
    options = [o if isinstance(o, OptionContract) else None for o in tape.instruments]
    is_option = np.array([o is not None for o in options], dtype=np.bool_)
    spot_rows = np.flatnonzero(
        (quotes.instrument_id == root_id) & np.isfinite(quotes.bid) & np.isfinite(quotes.ask)
    )
    rows = np.flatnonzero(is_option[quotes.instrument_id])
    if not len(rows) or not len(spot_rows):
        return None
    spot_at = np.searchsorted(quotes.ts_ns[spot_rows], quotes.ts_ns[rows], side="right") - 1
    spot_ts = quotes.ts_ns[spot_rows][np.maximum(spot_at, 0)]
    fresh = (spot_at >= 0) & (
        quotes.ts_ns[rows] - spot_ts <= round(2 * tape.quote_seconds * NANOS_PER_SECOND)
    )
    rows, spot_at = rows[fresh], spot_at[fresh]
    if not len(rows):
        return None
    ids, ts = quotes.instrument_id[rows], quotes.ts_ns[rows]
    per = _per_instrument(tape, options)
    years = np.maximum(per.expiry_ns[ids] - ts, 0) / NANOS_PER_SECOND / SECONDS_PER_YEAR
    spot_bid, spot_ask = quotes.bid[spot_rows][spot_at], quotes.ask[spot_rows][spot_at]
    rate = np.array([tape.rate_curve.rate_at(days) for days in range(int(years.max() * 365) + 2)])
    discount = np.exp(-rate[(years * 365).astype(np.int64)] * years)
    payouts = per.dividends[ids] + spot_ask * -np.expm1(-tape.dividend_yield * years)
    bid = quotes.bid[rows]
    tick = np.where(np.nan_to_num(bid) < per.tick_threshold[ids], per.tick_below[ids], per.tick_above[ids])
    return OptionRows(
        ts,
        per.pair[ids],
        per.is_call[ids],
        per.is_american[ids],
        per.strike[ids],
        discount,
        payouts,
        bid,
        quotes.ask[rows],
        spot_bid,
        spot_ask,
        tick + MOMENTS_APART * spot_bid,
    )


def intrinsic_findings(rows: OptionRows) -> Finding:
    """Count asks below what the option is worth at once (or at expiry, for a European one)."""
    paid_out = np.where(rows.is_american, 0.0, rows.payouts)
    paid_in = np.where(rows.is_american, 1.0, rows.discount)
    call_floor = rows.spot_bid - paid_out - rows.strike
    put_floor = rows.strike * paid_in - rows.spot_ask
    floor = np.maximum(np.where(rows.is_call, call_floor, put_floor), 0.0)
    quoted = np.isfinite(rows.ask)
    short = (floor - rows.ask - rows.tolerance)[quoted]
    return _finding(short, rows.tolerance[quoted])


def parity_findings(rows: OptionRows) -> Finding:
    """Count pairs whose quotes break ``S - D - K <= C - P <= S - K DF`` even at their best sides."""
    whole = np.isfinite(rows.bid) & np.isfinite(rows.ask)
    calls, puts = np.flatnonzero(whole & rows.is_call), np.flatnonzero(whole & ~rows.is_call)
    _, moment = np.unique(rows.ts_ns, return_inverse=True)
    key = moment.astype(np.int64) * (int(rows.pair.max()) + 1) + rows.pair
    _, at_call, at_put = np.intersect1d(key[calls], key[puts], return_indices=True)
    c, p = calls[at_call], puts[at_put]
    lowest, highest = rows.bid[c] - rows.ask[p], rows.ask[c] - rows.bid[p]
    floor = rows.spot_bid[c] - rows.payouts[c] - rows.strike[c]
    ceiling = rows.spot_ask[c] - rows.strike[c] * rows.discount[c]
    broken_by = np.maximum(floor - highest, lowest - ceiling) - rows.tolerance[c] - rows.tolerance[p] / 2
    return _finding(broken_by, rows.tolerance[c])


def _finding(excess: NDArray[np.float64], tolerance: NDArray[np.float64]) -> Finding:
    bad = excess > 0.0
    return Finding(
        checked=len(excess),
        found=int(bad.sum()),
        worst=float(excess[bad].max()) if bool(bad.any()) else 0.0,
        tolerance=float(np.median(tolerance)) if len(tolerance) else 0.0,
    )


@dataclass(frozen=True, slots=True)
class _PerInstrument:
    """The contracts' terms by instrument number; zeros for what is no option."""

    pair: NDArray[np.int64]
    is_call: NDArray[np.bool_]
    is_american: NDArray[np.bool_]
    strike: NDArray[np.float64]
    expiry_ns: NDArray[np.int64]
    dividends: NDArray[np.float64]
    tick_below: NDArray[np.float64]
    tick_above: NDArray[np.float64]
    tick_threshold: NDArray[np.float64]


def _per_instrument(tape: MarketTape, options: list[OptionContract | None]) -> _PerInstrument:
    first_day = from_ns(tape.sessions[0].open_ns).date()
    pairs: dict[tuple[str, date, Decimal], int] = {}
    paid: dict[date, float] = {}
    count = len(options)
    floats = {name: np.zeros(count) for name in ("strike", "dividends", "below", "above", "threshold")}
    pair, expiry_ns = np.zeros(count, np.int64), np.zeros(count, np.int64)
    is_call, is_american = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for number, option in enumerate(options):
        if option is None:
            continue
        pair[number] = pairs.setdefault((option.root, option.expiry, option.strike), len(pairs))
        expiry_ns[number] = expiry_instant_ns(option)
        is_call[number], is_american[number] = option.is_call, option.style is Style.AMERICAN
        if option.expiry not in paid:
            paid[option.expiry] = float(
                sum((d.amount for d in tape.dividends if first_day < d.ex_date <= option.expiry), Decimal(0))
            )
        rule = option.tick_rule
        floats["strike"][number], floats["dividends"][number] = float(option.strike), paid[option.expiry]
        floats["below"][number], floats["above"][number] = float(rule.below), float(rule.above)
        floats["threshold"][number] = float(rule.threshold)
    return _PerInstrument(
        pair,
        is_call,
        is_american,
        floats["strike"],
        expiry_ns,
        floats["dividends"],
        floats["below"],
        floats["above"],
        floats["threshold"],
    )
