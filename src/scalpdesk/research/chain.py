"""One option chain of a data set, with implied volatilities and Greeks."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAYS_PER_YEAR, NANOS_PER_SECOND, finite, years_between
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.marketdata.chain_surface import dividends_ahead, last_rows, spots_until
from scalpdesk.marketdata.quotes import QuoteVerdict, judge_quote
from scalpdesk.marketdata.tape import MarketTape, QuoteColumns
from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.models import greeks

_AGE_IN_QUOTE_INTERVALS = 2.5
"""An option's quote older than this many of the data's own intervals does not count as current."""


def oldest_quote_seconds(tape: MarketTape, max_age: float | None) -> float:
    """Return the age up to which a quote counts as current, seconds; ``max_age`` is what was asked for."""
    return _AGE_IN_QUOTE_INTERVALS * tape.quote_seconds if max_age is None else max_age


_GREEKS = ("delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm")


def chain_document(
    tape: MarketTape, now_ns: int, wanted: date | None, max_age: float | None = None
) -> dict[str, Any]:
    """Return the chain of one expiry as of ``now_ns``, ready for JSON.

    Only quotes known by ``now_ns`` are used; without ``wanted`` the nearest expiry that is not over. A quote
    older than ``max_age`` seconds (default: 2.5 quote intervals of the data) is ``stale``.

    Returns facts of the market and ``options``, one a contract, sorted by strike, call before put; ``years``
    of each are to its own settlement, those of the whole to the first. Greeks per unit of the underlying:
    theta and charm a year, vega, vanna and volga per 1.00 of volatility. What cannot be computed is null, and
    ``iv_status`` says why. Raises DataError when there is no option of that expiry, none of its quotes is
    current, or the underlying was not quoted yet.
    """
    today = tape.sessions[0].day
    listed = options_in_order(tape.instruments, tape.underlying)
    expiries = sorted({contract.expiry for _, contract in listed if expiry_instant_ns(contract) >= now_ns})
    if not expiries or (wanted is not None and wanted not in expiries):
        near = min(expiries, key=lambda day: abs((day - (wanted or today)).days), default=None)
        raise DataError(
            f"there is no option on {tape.underlying} of this expiry in this session",
            where=f"{tape.name}, {today}",
            value=str(wanted or "any"),
            nearest=str(near) if near is not None else None,
            fix=f"--expiry {near}"
            if near is not None
            else "scalpdesk data ls shows what each data set holds",
        )
    expiry = wanted or expiries[0]
    chosen = [
        (number, contract)
        for number, contract in listed
        if contract.expiry == expiry and expiry_instant_ns(contract) >= now_ns
    ]
    ids = [number for number, _ in chosen]
    contracts = [contract for _, contract in chosen]
    spot_ts, spots = spots_until(tape, now_ns)
    spot, spot_age = float(spots[-1]), (now_ns - int(spot_ts[-1])) / NANOS_PER_SECOND
    oldest = oldest_quote_seconds(tape, max_age)
    columns = tape.quotes.until(now_ns)
    rows = last_rows(columns)
    quotes = [_last_quote(columns, rows.get(number), now_ns, oldest) for number in ids]
    if all(quote.verdict in {QuoteVerdict.ABSENT, QuoteVerdict.STALE} for quote in quotes):
        raise _no_current_quote(tape, expiry, now_ns, quotes, oldest)
    years = [years_between(now_ns, expiry_instant_ns(contract)) for contract in contracts]
    return {
        "symbol": tape.underlying,
        "data": {"name": tape.name, "kind": tape.kind},
        "session": str(today),
        "time": f"{to_new_york(now_ns):%H:%M}",
        "spot": spot,
        "spot_age_seconds": spot_age,
        "max_age_seconds": oldest,
        "expiry": str(expiry),
        "years": min(years),
        "rate": tape.rate_curve.rate_at(min(years) * DAYS_PER_YEAR),
        "dividend_yield": tape.dividend_yield,
        "expiries": [str(day) for day in expiries],
        "options": _valued_at_their_ends(tape, contracts, quotes, years, spot, now_ns),
        "notes": [*_age_notes(tape.underlying, spot_age, quotes, oldest), *tape.notes],
    }


@dataclass(frozen=True, slots=True)
class _LastQuote:
    """Last quote of a contract: prices (NaN: a missing side), its age in seconds, and the verdict on it."""

    bid: float
    ask: float
    age: float
    verdict: QuoteVerdict


def _last_quote(columns: QuoteColumns, row: int | None, now_ns: int, oldest: float) -> _LastQuote:
    if row is None:
        nan = float("nan")
        return _LastQuote(nan, nan, nan, QuoteVerdict.ABSENT)
    bid, ask = float(columns.bid[row]), float(columns.ask[row])
    age = (now_ns - int(columns.ts_ns[row])) / NANOS_PER_SECOND
    return _LastQuote(bid, ask, age, QuoteVerdict.STALE if age > oldest else judge_quote(bid, ask))


def _no_current_quote(
    tape: MarketTape, expiry: date, now_ns: int, quotes: list[_LastQuote], oldest: float
) -> DataError:
    """Return the refusal of a chain without a current quote; it names the newest one."""
    where = f"{tape.name}, {to_new_york(now_ns):%Y-%m-%d %H:%M}, expiry {expiry}"
    ages = [quote.age for quote in quotes if quote.verdict is QuoteVerdict.STALE]
    if not ages:
        return DataError(
            f"there is no quote of an option on {tape.underlying} at this time",
            where=where,
            fix="choose a later --time, or another --expiry",
        )
    newest = to_new_york(now_ns - round(min(ages) * NANOS_PER_SECOND))
    return DataError(
        f"every quote of an option on {tape.underlying} is older than {oldest:g} s at this time",
        where=where,
        value=f"the newest is of {newest:%H:%M:%S}",
        fix=f"choose a --time up to {newest:%H:%M}, or a longer --max-age",
    )


def _age_notes(underlying: str, spot_age: float, quotes: list[_LastQuote], oldest: float) -> list[str]:
    """Return what the reader must know of quotes that are not current."""
    notes = []
    if spot_age > oldest:
        notes.append(f"the quote of {underlying} itself is {spot_age:.0f} s old")
    ages = [quote.age for quote in quotes if quote.verdict is QuoteVerdict.STALE]
    if ages:
        notes.append(
            f"{len(ages)} of {len(quotes)} options are not valued: their quotes are {min(ages):.0f} to "
            f"{max(ages):.0f} s old; up to {oldest:g} s count as current (--max-age)"
        )
    return notes


def _valued_at_their_ends(
    tape: MarketTape,
    contracts: list[OptionContract],
    quotes: list[_LastQuote],
    years: list[float],
    spot: float,
    now_ns: int,
) -> list[dict[str, Any]]:
    """Return one table a contract, each to its own settlement: the morning (SPX) or the close (SPXW)."""
    found: dict[int, dict[str, Any]] = {}
    for end in dict.fromkeys(years):
        places = [place for place, each in enumerate(years) if each == end]
        made = _valued(
            tape,
            [contracts[place] for place in places],
            [quotes[place] for place in places],
            spot,
            end,
            now_ns,
        )
        found.update(zip(places, made, strict=True))
    return [found[place] for place in range(len(contracts))]


def _valued(
    tape: MarketTape,
    contracts: list[OptionContract],
    quotes: list[_LastQuote],
    spot: float,
    years: float,
    now_ns: int,
) -> list[dict[str, Any]]:
    """Return one table a contract: its quote, implied volatility and Greeks at the mid.

    A stale quote is not valued.
    """
    nan = float("nan")
    bid, ask = (np.array([getattr(quote, side) for quote in quotes]) for side in ("bid", "ask"))
    is_stale = np.array([quote.verdict is QuoteVerdict.STALE for quote in quotes])
    mid = 0.5 * (bid + ask)
    strike = np.array([float(contract.strike) for contract in contracts])
    is_call = np.array([contract.is_call for contract in contracts])
    terms: dict[str, Any] = {
        "rate": tape.rate_curve.rate_at(years * DAYS_PER_YEAR),
        "dividend_yield": tape.dividend_yield,
        "dividends": [pair for pair in dividends_ahead(tape, now_ns) if pair[0] <= years] or None,
        "style": contracts[0].style.value,
    }
    known = np.isfinite(mid) & ~is_stale
    implied = implied_vol(np.where(known, mid, 0.0), spot, strike, years, is_call, **terms)
    vol = np.where(known, implied.vol, nan)
    priced = np.isfinite(vol)
    answer = greeks(spot, strike, years, np.where(priced, vol, 0.0), is_call, **terms)
    options = []
    for i, contract in enumerate(contracts):
        ok = bool(priced[i])
        options.append(
            {
                "symbol": contract.symbol,
                "root": contract.root,
                "strike": str(contract.strike),
                "right": "call" if contract.is_call else "put",
                "years": years,
                "bid": finite(bid[i]),
                "ask": finite(ask[i]),
                "mid": finite(mid[i]),
                "quote": str(quotes[i].verdict),
                "age_seconds": finite(quotes[i].age),
                "open_interest": tape.open_interest.get(contract.symbol),
                "iv": finite(vol[i]),
                "iv_status": (str(implied.status[i]) if known[i] else "stale" if is_stale[i] else "no_mid"),
                **{name: float(getattr(answer, name)[i]) if ok else None for name in _GREEKS},
            }
        )
    return options
