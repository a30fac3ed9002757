"""Book of a followed run as its risk is measured: legs with volatilities, smiles and times of their own."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from scalpdesk.core.errors import JournalError
from scalpdesk.core.units import ZERO, InstrumentId, run_currency
from scalpdesk.entry.shape_names import structure_text
from scalpdesk.instruments.contract import Instrument, OptionContract, underlying_of
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.portfolio.risk_book import (
    SMILES,
    LowestCell,
    RiskBook,
    RiskLeg,
    RiskPart,
    SmileShape,
    risk_leg,
    step_instants,
    worst_case,
)
from scalpdesk.portfolio.strike_vols import ExpirySmile
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.known_dividends import years_ahead
from scalpdesk.volatility.variance_time import clock_of


def held_book(follower: RunFollower) -> RiskBook | None:
    """Return what a run holds now; None when nothing is held, or a leg has no price yet."""
    held = [] if follower.engine is None else follower.desk.positions.held()
    return book_of(follower, {each.instrument_id: each.quantity for each in held})


def book_of(
    follower: RunFollower, holdings: Mapping[InstrumentId, Decimal], instants: tuple[int, ...] | None = None
) -> RiskBook | None:
    """Return quantities of a run's instruments as a book; None without any, or when a leg has no price yet.

    ``follower``: The followed run.
    ``holdings``: Quantity by instrument, signed.
    ``instants``: Now and the later times that it is priced at; those of the book's risk when None.
    """
    desk, header = follower.desk, follower.header
    assert header is not None
    main = desk.instruments[desk.view.underlying].symbol
    if instants is None:
        instants = step_instants(follower.now_ns, always_open=clock_of(header.data).weights is None)
    held = [(number, desk.instruments[number], quantity) for number, quantity in holdings.items() if quantity]
    by_underlying: dict[str, list[tuple[InstrumentId, Instrument, float]]] = {}
    for number, contract, quantity in held:
        symbol = main if desk.by_underlying is None else underlying_of(contract)
        by_underlying.setdefault(symbol, []).append((number, contract, float(quantity)))
    parts = [_part(follower, symbol, each, instants) for symbol, each in sorted(by_underlying.items())]
    priced = [part for part in parts if part is not None]
    if not priced or len(priced) < len(parts):
        return None
    return RiskBook(
        as_of_ns=follower.now_ns,
        parts=tuple(priced),
        currency=currency_of(follower),
        is_coin=any(contract.is_coin for _, contract, _ in held),
        holdings=tuple((contract.symbol, float(quantity)) for _, contract, quantity in held),
        structure=structure_text((contract, quantity) for _, contract, quantity in held),
    )


def worst_of(follower: RunFollower, smile: str = SMILES[0]) -> LowestCell | None:
    """Return the worst case of what is held now; None when nothing is, or a leg has no price yet."""
    desk = follower.desk
    holdings = {position.instrument_id: position.quantity for position in desk.positions.held()}
    filled = dict(holdings)
    for order in desk.orders.live.values():
        number = order.submitted.instrument_id
        filled[number] = filled.get(number, ZERO) + order.signed_leaves
    wanted = [each for each in (holdings, filled) if any(each.values())]
    books = [book_of(follower, each) for each in wanted]
    if not books or None in books:
        return None
    held = books[0] if wanted[0] is holdings else RiskBook(as_of_ns=follower.now_ns, parts=())
    assert held is not None
    return worst_case(held, books[-1] if filled != holdings and wanted[-1] is filled else None, smile)


def currency_of(follower: RunFollower) -> str:
    """Return what the run counts in."""
    return run_currency({} if follower.header is None else follower.header.config)


def _part(
    follower: RunFollower,
    symbol: str,
    held: Sequence[tuple[InstrumentId, Instrument, float]],
    instants: tuple[int, ...],
) -> RiskPart | None:
    spot = follower.desk.market.mark(follower.desk.instruments.id_of(symbol))
    if spot is None:
        return None
    legs, shares, dollars = list[RiskLeg](), 0.0, 0.0
    for number, contract, quantity in held:
        if contract.is_option:
            leg = _leg(follower, number, contract, quantity, spot, instants)
            if leg is None:
                return None
            legs.append(leg)
        elif contract.is_inverse_future:
            dollars += quantity * contract.contract_size
        else:
            shares += quantity * contract.multiplier
    return RiskPart(underlying=symbol, spot=spot, legs=tuple(legs), shares=shares, inverse_usd=dollars)


def followed_to(run_dir: Path, until_ns: int | None, report: Callable[[int, int, str], None]) -> RunFollower:
    """Return a run read up to an instant, by default to the last block of records with something held.

    ``run_dir``: Folder of the run.
    ``until_ns``: UTC nanoseconds.
    ``report``: Called with the bytes of the journal that were read, those there are, and a label.
    Raises JournalError when the run cannot be read up to there.
    """
    size = max(sum(path.stat().st_size for path in run_dir.glob("journal-*")), 1)
    steps = 2 if until_ns is None else 1

    def read(most: int | None, step: int) -> tuple[RunFollower, int]:
        """Return the run after so many records, and the number of the last with something held."""
        follower, count, held_at = RunFollower(run_dir), 0, 0
        if until_ns is not None:
            follower.until_ns = until_ns
        while count != most and (follower.advance(1) or follower.is_reading):
            count += 1
            if follower.engine is not None and follower.desk.positions.held():
                held_at = count
            report(step * size + min(follower.tail.read_bytes, size), steps * size, "reading the run")
        follower.tail.close()
        if follower.problem:
            raise JournalError(follower.problem.partition("\n")[0], where=run_dir.name)
        return follower, held_at

    follower, held_at = read(None, 0)
    is_flat = follower.engine is None or not follower.desk.positions.held()
    return read(held_at, 1)[0] if until_ns is None and is_flat and held_at else follower


def _leg(
    follower: RunFollower,
    number: InstrumentId,
    contract: OptionContract,
    quantity: float,
    spot: float,
    instants: tuple[int, ...],
) -> RiskLeg | None:
    valuation = follower.value(number)
    if valuation is None:
        return None
    smile = follower.smile(number)
    return risk_leg(
        contract,
        quantity,
        vol=valuation.vol,
        spot=spot,
        instants=instants,
        clock_years=follower.desk.delta_engine.variance_years,
        rate=valuation.rate,
        dividend_yield=valuation.dividend_yield,
        dividends=years_ahead(valuation.dividends, valuation.years),
        forward=valuation.spot if contract.is_inverse else None,
        smile=None if smile is None else _shape(smile),
    )


def _shape(smile: ExpirySmile) -> SmileShape:
    """Return the smile within the reach of its quotes; beyond it the volatility at its end."""

    def vols(log_moneyness: Floats) -> Floats:
        return smile.vols(np.clip(log_moneyness, *smile.reach))

    return vols
