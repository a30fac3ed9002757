"""Book of positions that are named, priced by the quotes of a data set at an instant."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAYS_PER_YEAR, InstrumentId, years_between
from scalpdesk.entry.shape_names import structure_text
from scalpdesk.instruments.contract import OptionContract, underlying_of
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.marketdata.chain_surface import (
    ChainSurface,
    ExpiryLabel,
    chain_quotes_at,
    dividends_ahead,
    fit_chain,
    last_rows,
    spots_until,
)
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.risk_book import RiskBook, RiskLeg, RiskPart, SmileShape, risk_leg, step_instants
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.implied import implied_vol
from scalpdesk.volatility.variance_time import clock_named


def quoted_book(tape: MarketTape, given: Sequence[tuple[str, float]], now_ns: int) -> RiskBook:
    """Return positions as a book: each option at the volatility of its mid, else of its expiry's smile.

    ``tape``: Session with all of the underlyings.
    ``given``: Symbol and quantity of each position; a symbol that is named twice is summed.
    ``now_ns``: UTC nanoseconds.

    Raises DataError when the tape has no such symbol, an option has expired, or has neither a quote nor a
    smile.
    """
    sums: dict[str, float] = {}
    for symbol, quantity in given:
        sums[symbol] = sums.get(symbol, 0.0) + quantity
    by_underlying: dict[str, list[tuple[InstrumentId, float]]] = {}
    for symbol, quantity in sums.items():
        number = tape.instruments.find(symbol)
        if number is None:
            raise DataError(
                "the data has no such instrument in this session",
                where="position",
                value=symbol,
                fix=f"scalpdesk chain {tape.underlying} --json shows its symbols",
            )
        by_underlying.setdefault(underlying_of(tape.instruments[number]), []).append((number, quantity))
    parts = [
        _part(tape.with_main(symbol) if symbol in tape.others else tape, held, now_ns)
        for symbol, held in sorted(by_underlying.items())
    ]
    traded = [tape.instruments[number] for held in by_underlying.values() for number, _ in held]
    return RiskBook(
        as_of_ns=now_ns,
        parts=tuple(parts),
        currency=traded[0].currency if traded else "USD",
        is_coin=any(instrument.is_coin for instrument in traded),
        holdings=tuple(sums.items()),
        structure=structure_text(
            (tape.instruments[number], Decimal(quantity))
            for held in by_underlying.values()
            for number, quantity in held
        ),
    )


def _part(tape: MarketTape, held: Sequence[tuple[InstrumentId, float]], now_ns: int) -> RiskPart:
    spot = float(spots_until(tape, now_ns)[1][-1])
    options = [(number, quantity) for number, quantity in held if tape.instruments[number].is_option]
    fitted = fit_chain(chain_quotes_at(tape, now_ns)) if options else None
    legs = []
    for number, quantity in options:
        contract = tape.instruments[number]
        assert contract.is_option
        assert fitted is not None
        legs.append(_leg(tape, fitted, number, contract, quantity, spot, now_ns))
    return RiskPart(
        underlying=tape.underlying,
        spot=spot,
        legs=tuple(legs),
        shares=sum(
            quantity * tape.instruments[number].multiplier
            for number, quantity in held
            if not tape.instruments[number].is_option
        ),
    )


def _leg(
    tape: MarketTape,
    fitted: ChainSurface,
    number: InstrumentId,
    contract: OptionContract,
    quantity: float,
    spot: float,
    now_ns: int,
) -> RiskLeg:
    years = years_between(now_ns, expiry_instant_ns(contract))
    if not years:
        raise DataError(
            "this option has expired", where=f"{to_new_york(now_ns):%Y-%m-%d %H:%M}", value=contract.symbol
        )
    terms: dict[str, Any] = {
        "rate": tape.rate_curve.rate_at(years * DAYS_PER_YEAR),
        "dividend_yield": tape.dividend_yield,
        "dividends": [pair for pair in dividends_ahead(tape, now_ns) if pair[0] <= years],
    }
    label = ExpiryLabel(contract.expiry, contract.root)
    smile = next((each for each in fitted.surface.expiries if each.label == label), None)
    has_smile = smile is not None and smile.smile is not None
    forward = None if smile is None else smile.forward
    vol = _quoted_vol(tape, number, contract, years, spot, now_ns, terms)
    if not np.isfinite(vol) and has_smile:
        assert smile is not None
        vol = float(smile.vol(float(contract.strike)))
    if not np.isfinite(vol):
        raise DataError(
            "this option has no quote that gives a volatility, and its expiry no smile",
            where=f"{to_new_york(now_ns):%Y-%m-%d %H:%M}",
            value=contract.symbol,
            fix="choose another --time",
        )
    shape: SmileShape | None = None
    if has_smile and smile is not None:
        strikes = smile.strike[smile.used]
        reach = float(strikes.min()), float(strikes.max())
        fit, middle = smile, smile.forward

        def shape(log_moneyness: Floats) -> Floats:
            return fit.vol(np.clip(middle * np.exp(log_moneyness), *reach))

    clock = clock_named(tape.variance_clock)
    return risk_leg(
        contract,
        quantity,
        vol=vol,
        spot=spot,
        instants=step_instants(now_ns, always_open=clock.weights is None),
        clock_years=clock.years,
        forward=forward,
        smile=shape,
        **terms,
    )


def _quoted_vol(
    tape: MarketTape,
    number: InstrumentId,
    contract: OptionContract,
    years: float,
    spot: float,
    now_ns: int,
    terms: dict[str, Any],
) -> float:
    """Return the volatility of the last mid; NaN without one."""
    columns = tape.quotes.until(now_ns)
    row = last_rows(columns).get(number)
    mid = float("nan") if row is None else 0.5 * float(columns.bid[row] + columns.ask[row])
    if not np.isfinite(mid):
        return mid
    found = implied_vol(
        mid, spot, float(contract.strike), years, contract.is_call, style=contract.style.value, **terms
    )
    return float(found.vol)
