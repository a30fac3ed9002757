"""Exposure of an account in several underlyings: Greeks beta-weighted, and deltas by their correlation.

A beta-weighted delta counts each underlying as its beta's part of the index, as if all moved together. The
combined delta takes them by the measured correlation of their returns: √(Σᵢⱼ ρᵢⱼ dᵢ dⱼ) of the dollars dᵢ.
"""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import msgspec

from scalpdesk.core.intents import Mark
from scalpdesk.engine.desk import Desk
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.portfolio.greeks import PositionGreeks
from scalpdesk.portfolio.positions import Position
from scalpdesk.risk.caps import BETAS
from scalpdesk.volatility.correlation import ReturnCorrelation, combined


def spots_of(desk: Desk) -> dict[str, float | None]:
    """Return the price of each underlying of the run by symbol, the main one first."""
    main = desk.instruments[desk.view.underlying].symbol
    symbols = (main,) if desk.by_underlying is None else desk.by_underlying.fractions
    return {symbol: desk.market.mark(desk.instruments.id_of(symbol)) for symbol in symbols}


def _dollars_a_share(desk: Desk) -> dict[str, float]:
    """Return by underlying what a delta of one share counts, beta-weighted: beta times price, in currency.

    Those without a price yet are left out.
    """
    betas, spots = {**BETAS, **desk.gate.limits.betas}, spots_of(desk).items()
    return {symbol: betas.get(symbol, 1.0) * spot for symbol, spot in spots if spot is not None}


def _in_main_shares(desk: Desk) -> dict[str, float]:
    """Return by underlying how many shares of the main one a share of it counts as; 0 where one has no price.

    What has no price has no Greeks either.
    """
    dollars = _dollars_a_share(desk)
    main = dollars.get(desk.instruments[desk.view.underlying].symbol, math.inf)
    return {symbol: dollars.get(symbol, 0.0) / main for symbol in spots_of(desk)}


def _greeks_by_underlying(desk: Desk, now_ns: int) -> dict[str, PositionGreeks]:
    """Return the Greeks of what is held, by underlying, in its own shares."""
    held: dict[str, list[Position]] = {}
    for position in desk.positions.held():
        held.setdefault(underlying_of(position.instrument), []).append(position)
    return {symbol: desk.delta_engine.position_greeks(own, now_ns) for symbol, own in held.items()}


def account_greeks(desk: Desk, now_ns: int) -> PositionGreeks:
    """Return the Greeks of all that is held; of several underlyings in shares of the main one, beta-weighted.

    Δ = Σ βᵢ·Δᵢ·Sᵢ / (β·S), and Γ with the square of each weight.
    """
    if desk.by_underlying is None:
        return desk.delta_engine.position_greeks(desk.positions.held(), now_ns)
    weights, total = _in_main_shares(desk), PositionGreeks(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for symbol, own in _greeks_by_underlying(desk, now_ns).items():
        weight = weights.get(symbol, 1.0)
        total = PositionGreeks(
            total.option_delta_shares + weight * own.option_delta_shares,
            total.owned_shares + weight * own.owned_shares,
            total.gamma_shares_per_usd + weight * weight * own.gamma_shares_per_usd,
            total.theta_usd_per_day + own.theta_usd_per_day,
            total.vega_usd_per_point + own.vega_usd_per_point,
            total.weighted_vega_usd_per_point + own.weighted_vega_usd_per_point,
        )
    return total


def note_returns(desk: Desk, correlation: ReturnCorrelation) -> None:
    """Take in the prices of the underlyings for the correlation of their returns."""
    correlation.add(list(spots_of(desk).values()))


def weighted_mark(desk: Desk, mark: Mark) -> Mark:
    """Return a mark of the account with delta and gamma as :func:`account_greeks` has them."""
    assert desk.by_underlying is not None
    weights, delta, gamma = _in_main_shares(desk), 0.0, 0.0
    for symbol, book in desk.by_underlying.books.items():
        if book.last_mark is not None:
            weight = weights.get(symbol, 1.0)
            delta += weight * book.last_mark.net_delta_shares
            gamma += weight * weight * book.last_mark.gamma_shares_per_usd
    return msgspec.structs.replace(mark, net_delta_shares=delta, gamma_shares_per_usd=gamma)


def exposure(desk: Desk, now_ns: int) -> dict[str, Any] | None:
    """Return deltas by underlying, their beta-weighted sum, and their size by the measured correlation.

    In JSON types; None with one underlying. ``combined_delta_usd`` and ``correlations`` are None until the
    correlation is known.
    """
    if desk.by_underlying is None:
        return None
    dollars = _dollars_a_share(desk)
    found = _greeks_by_underlying(desk, now_ns)
    deltas = {symbol: found[symbol].net_delta_shares if symbol in found else 0.0 for symbol in dollars}
    amounts = [dollars[symbol] * delta for symbol, delta in deltas.items()]
    matrix = None if desk.correlation is None else desk.correlation.matrix()
    pairs = combinations(enumerate(dollars), 2)
    return {
        "underlyings": {
            symbol: {"net_delta_shares": round(delta, 4), "beta_delta_usd": round(amount, 2)}
            for (symbol, delta), amount in zip(deltas.items(), amounts, strict=True)
        },
        "net_delta_usd": round(sum(amounts), 2),
        "combined_delta_usd": None if matrix is None else round(combined(amounts, matrix), 2),
        "correlations": None
        if matrix is None
        else {f"{first}/{other}": round(matrix[row][column], 4) for (row, first), (column, other) in pairs},
    }


def exposure_text(found: Mapping[str, Any], currency: str) -> str:
    """Return an exposure of :func:`exposure` as one line."""
    deltas = ", ".join(
        f"{symbol} {row['net_delta_shares']:+.1f}" for symbol, row in found["underlyings"].items()
    )
    text = f"net delta {found['net_delta_usd']:+,.0f} {currency} beta-weighted ({deltas} shares)"
    if found["correlations"] is None:
        return f"{text}; correlation not known yet"
    pairs = ", ".join(f"{pair} {rho:.2f}" for pair, rho in found["correlations"].items())
    return f"{text}, {found['combined_delta_usd']:,.0f} by correlation ({pairs})"
