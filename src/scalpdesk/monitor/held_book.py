"""Book of a followed run as its risk is measured: legs with volatilities, smiles and times of their own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scalpdesk.core.errors import JournalError
from scalpdesk.core.units import InstrumentId
from scalpdesk.entry.shape_names import structure_text
from scalpdesk.instruments.contract import OptionContract, underlying_of
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.position_documents import currency_of
from scalpdesk.portfolio.risk_book import RiskBook, RiskLeg, RiskPart, SmileShape, risk_leg, step_instants
from scalpdesk.portfolio.strike_vols import ExpirySmile
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.known_dividends import years_ahead
from scalpdesk.volatility.variance_time import clock_of


def held_book(follower: RunFollower) -> RiskBook | None:
    """Return what a run holds now; None when nothing is held, or a leg has no price yet."""
    held = [] if follower.engine is None else follower.desk.positions.held()
    if not held:
        return None
    desk, now_ns, header = follower.desk, follower.now_ns, follower.header
    assert header is not None
    instants = step_instants(now_ns, always_open=clock_of(header.data).weights is None)
    spots: dict[str, float] = {}
    legs: dict[str, list[RiskLeg]] = {}
    shares: dict[str, float] = {}
    dollars: dict[str, float] = {}
    for position in held:
        contract = desk.instruments[position.instrument_id]
        symbol = desk.instruments[desk.view.underlying].symbol
        if desk.by_underlying is not None:
            symbol = underlying_of(contract)
        spot = desk.market.mark(desk.instruments.id_of(symbol))
        if spot is None:
            return None
        spots[symbol] = spot
        quantity = float(position.quantity)
        if contract.is_option:
            leg = _leg(follower, position.instrument_id, contract, quantity, spot, instants)
            if leg is None:
                return None
            legs.setdefault(symbol, []).append(leg)
        elif contract.is_inverse_future:
            dollars[symbol] = dollars.get(symbol, 0.0) + quantity * contract.contract_size
        else:
            shares[symbol] = shares.get(symbol, 0.0) + quantity * contract.multiplier
    return RiskBook(
        as_of_ns=now_ns,
        parts=tuple(
            RiskPart(
                underlying=symbol,
                spot=spot,
                legs=tuple(legs.get(symbol, ())),
                shares=shares.get(symbol, 0.0),
                inverse_usd=dollars.get(symbol, 0.0),
            )
            for symbol, spot in sorted(spots.items())
        ),
        currency=currency_of(follower),
        is_coin=any(desk.instruments[position.instrument_id].is_coin for position in held),
        holdings=tuple(
            (desk.instruments[position.instrument_id].symbol, float(position.quantity)) for position in held
        ),
        structure=structure_text(
            (desk.instruments[position.instrument_id], position.quantity) for position in held
        ),
    )


def followed_to(run_dir: Path, until_ns: int | None, report: Callable[[int, int, str], None]) -> RunFollower:
    """Return a run read up to an instant, by default to the last block of records with something held.

    Parameters
    ----------
    run_dir
        Folder of the run.
    until_ns
        UTC nanoseconds.
    report
        Called with the bytes of the journal that were read, those there are, and a label.

    Raises
    ------
    JournalError
        When the run cannot be read up to there.
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
        vol=valuation.hedge_vol,
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
