"""Snapshots of a listed option chain in the catalogue: quotes, and own values beside the venue's.

A snapshot becomes rows of ``option_quotes`` and ``quotes``, on which a run can trade, and of ``option_marks``
with implied volatilities and Greeks. Own values come from the mid at the forward that put-call parity implies
for the expiry, so that they need no dividends; units are the venue's: theta a calendar day, vega and rho a
point.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.units import DAYS_PER_YEAR, NANOS_PER_SECOND
from scalpdesk.datasets.coin_data import write_day
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.manifests import update_manifest
from scalpdesk.datasets.store import connect
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.marketdata.chain_surface import ChainQuotes, ExpiryLabel, expiry_quotes, fit_chain
from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.models import greeks

_GREEK_UNITS = {"delta": 1.0, "gamma": 1.0, "theta": DAYS_PER_YEAR, "vega": 100.0, "rho": 100.0}
"""Divisors that turn Greeks a year, and for 1.00, into Greeks a day, and a point."""


class OptionSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Latest quote of one option and the venue's values of it; NaN for a value that it does not give."""

    contract: OptionContract
    quote_ns: int
    """The venue's stamp of the quote."""
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    implied_volatility: float = math.nan
    delta: float = math.nan
    gamma: float = math.nan
    theta: float = math.nan
    vega: float = math.nan
    rho: float = math.nan


class ShareQuote(msgspec.Struct, frozen=True, kw_only=True):
    """Latest quote of the underlying."""

    symbol: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float

    @property
    def mid(self) -> float:
        """The mid; NaN where a side is absent."""
        return 0.5 * (self.bid + self.ask) if self.bid > 0 and self.ask > 0 else math.nan


class ChainSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A chain as it was known at one instant."""

    ts_ns: int
    underlying: ShareQuote
    options: tuple[OptionSnapshot, ...]


def mark_rows(snapshot: ChainSnapshot, *, rate: float = 0.0) -> list[dict[str, Any]]:
    """Return the rows of ``option_marks`` but for their times: own and the venue's values of each option.

    ``snapshot``: The chain. Options without a bid and an ask have no own values.
    ``rate``: Continuously compounded, a year, for all expiries.
    """
    now_ns, spot = snapshot.ts_ns, snapshot.underlying.mid
    groups: dict[ExpiryLabel, list[OptionSnapshot]] = {}
    for option in snapshot.options:
        if expiry_instant_ns(option.contract) > now_ns:
            groups.setdefault(ExpiryLabel(option.contract.expiry, option.contract.root), []).append(option)
    for members in groups.values():
        members.sort(key=lambda each: (each.contract.strike, each.contract.right.value))
    quotes = []
    for label, members in groups.items():
        bid, ask = (np.array([_price(each, side) for each in members]) for side in ("bid", "ask"))
        contracts = [each.contract for each in members]
        quotes.append(expiry_quotes(label, contracts, now_ns, bid, ask, np.full(len(members), spot)))
    quotes.sort(key=lambda entry: entry.years)
    rows = []
    if not math.isfinite(spot):
        return [_mark(each, now_ns, spot, math.nan, {}) for each in snapshot.options]
    fitted = fit_chain(ChainQuotes(now_ns, spot, tuple(quotes), lambda _days: rate))
    for entry in quotes:
        forward = fitted.forwards[entry.label]
        terms: dict[str, Any] = {
            "rate": rate,
            "dividend_yield": forward.pricing_borrow,
            "style": entry.style,
        }
        mid = 0.5 * (entry.bid + entry.ask)
        known = np.isfinite(mid)
        at = (forward.pricing_spot, entry.strike, entry.years)
        vol = implied_vol(np.where(known, mid, 0.0), *at, entry.is_call, **terms).vol
        vol = np.where(known, vol, math.nan)
        values = greeks(*at, np.where(np.isfinite(vol), vol, 0.0), entry.is_call, **terms)
        for i, option in enumerate(groups[entry.label]):
            own = {}
            if np.isfinite(vol[i]):
                own = {name: float(getattr(values, name)[i]) / unit for name, unit in _GREEK_UNITS.items()}
                own["implied_volatility"] = float(vol[i])
            rows.append(_mark(option, now_ns, spot, forward.forward, own))
    return rows


def _price(option: OptionSnapshot, side: str) -> float:
    price = float(getattr(option, side))
    return price if option.bid > 0 and option.ask >= option.bid else math.nan


def _mark(
    option: OptionSnapshot, now_ns: int, spot: float, forward: float, own: Mapping[str, float]
) -> dict[str, Any]:
    names = ("implied_volatility", *_GREEK_UNITS)
    return {
        **_terms(option.contract),
        **_sides(option),
        "quote_age_seconds": (now_ns - option.quote_ns) / NANOS_PER_SECOND,
        "underlying_price": spot,
        "forward": forward,
        **{name: own.get(name, math.nan) for name in names},
        **{f"venue_{name}": getattr(option, name) for name in names},
    }


def _terms(contract: OptionContract) -> dict[str, Any]:
    return {
        "symbol": contract.symbol,
        "root": contract.root,
        "expiry": contract.expiry.isoformat(),
        "strike": float(contract.strike),
        "right": contract.right.value,
        "style": contract.style.value,
    }


def _sides(quote: OptionSnapshot | ShareQuote) -> dict[str, float]:
    """Return the sides as the catalogue has them: no ask is one at infinity, no bid one of 0."""
    has_bid, has_ask = quote.bid > 0, quote.ask > 0
    return {
        "bid": quote.bid if has_bid else 0.0,
        "bid_size": quote.bid_size if has_bid else 0.0,
        "ask": quote.ask if has_ask else math.inf,
        "ask_size": quote.ask_size if has_ask else 0.0,
    }


def add_snapshots(
    catalog: Path,
    name: str,
    snapshots: Iterable[ChainSnapshot],
    report: ImportReport,
    *,
    bar_seconds: int,
    source: str,
    rate: float = 0.0,
) -> None:
    """Write snapshots of one underlying into the files of their days, and the manifest.

    A quote that is not of the snapshot's day is left out of ``option_quotes``: it stands at a closed market.
    Raises DataError when the catalogue cannot be written to, or the data set holds bars of another length.
    """
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    underlying = ""
    for snapshot in snapshots:
        underlying = snapshot.underlying.symbol
        stamp = {"ts": snapshot.ts_ns, "bar_start": snapshot.ts_ns - bar_seconds * NANOS_PER_SECOND}
        today = to_new_york(snapshot.ts_ns).date()
        day = today.isoformat()
        if snapshot.underlying.bid > 0 or snapshot.underlying.ask > 0:
            row = {**stamp, "symbol": underlying, **_sides(snapshot.underlying)}
            found.setdefault(("quotes", underlying, day), []).append(row)
        for option in snapshot.options:
            if to_new_york(option.quote_ns).date() == today:
                row = {**stamp, **_terms(option.contract), **_sides(option)}
                found.setdefault(("option_quotes", option.contract.root, day), []).append(row)
        for mark in mark_rows(snapshot, rate=rate):
            found.setdefault(("option_marks", mark["root"], day), []).append({**stamp, **mark})
    if not found:
        return
    for (table, key, day), rows in found.items():
        write_day(catalog, name, table, key, day, rows)
        report.add(table, key, len(rows))
    with connect() as connection:
        update_manifest(
            connection,
            catalog,
            name,
            source=source,
            bar_seconds=bar_seconds,
            types={underlying: "equity"},
            keys={underlying: {key for _, key, _ in found}},
        )


def newest(snapshots: Sequence[ChainSnapshot]) -> str:
    """Return a line on the last snapshot: its options, and how many have a volatility of the venue."""
    last = snapshots[-1]
    valued = sum(math.isfinite(option.implied_volatility) for option in last.options)
    return f"{len(last.options):,} options of {last.underlying.symbol}, {valued:,} valued by the venue"
