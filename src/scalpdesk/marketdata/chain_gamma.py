"""Gammas of an option chain from its quotes, and the dealer gamma events of a tape.

The volatility of a strike is that of its out-of-the-money option, used for both the call and the put. Where
no option of a strike is quoted on both sides, the fitted smile of the expiry gives it. Forwards come from
put-call parity.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instruments, OptionContract, options_in_order
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.chain_surface import (
    ChainQuotes,
    ChainSurface,
    ExpiryLabel,
    ExpiryQuotes,
    chain_quotes_at,
    chain_quotes_of,
    expiry_quotes,
    fit_chain,
)
from scalpdesk.marketdata.dealer_gamma import ExposureRows, exposure_near, gamma_exposure
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing.models import greeks

Floats = NDArray[np.float64]

_SOURCE = "chain"
_EARLY_NS = MINUTE_NS
"""Time between two computations while a session's first quotes arrive."""
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class PricedChain:
    """Option chain with gammas."""

    rows: ExposureRows
    """One row a listed option."""
    spot: float
    """Underlying, currency per unit."""
    rate: Floats
    borrow: Floats
    """``rate``, ``borrow``: Continuously compounded, a year, one value a row; together they carry the spot to
    the forward by parity, also where the spot is of another moment.
    """
    from_quotes: int
    from_smile: int
    """``from_quotes``, ``from_smile``: Number of rows with a quoted volatility, and with one of the fitted
    smile.
    """
    surface: ChainSurface | None
    """The fitted surface; None when nothing was quoted."""


def price_chain(
    chain: ChainQuotes,
    contracts: Sequence[OptionContract],
    open_interest: Mapping[str, float],
    *,
    previous: ChainSurface | None = None,
) -> PricedChain:
    """Compute volatility and gamma of every listed option.

    ``contracts``: Every listed option that has not expired, quoted or not: missing options lower the
    coverage.
    ``open_interest``: Contracts by option symbol; unknown where absent.
    ``previous``: The last fit, whose smiles start this one.
    """
    fitted = fit_chain(chain, previous=previous) if chain.expiries else None
    quoted = {entry.label: entry for entry in chain.expiries}
    size = len(contracts)
    vol, gamma, years = np.full(size, NAN), np.full(size, NAN), np.full(size, NAN)
    rate, borrow, is_quoted = np.zeros(size), np.zeros(size), np.zeros(size, dtype=np.bool_)
    strike = np.array([float(contract.strike) for contract in contracts])
    is_call = np.array([contract.is_call for contract in contracts], dtype=np.bool_)
    for label, rows_of_expiry in _rows_by_expiry(contracts).items():
        if fitted is None or label not in quoted:
            continue
        at = np.array(rows_of_expiry)
        entry = quoted[label]
        vol[at], is_quoted[at] = _vols(fitted, entry, strike[at])
        years[at], rate[at] = entry.years, fitted.rates[label]
        borrow[at] = fitted.forwards[label].borrow
        gamma[at] = _gammas(fitted, entry, strike[at], is_call[at], vol[at])
    known = np.isfinite(vol)
    rows = ExposureRows(
        strike=strike,
        is_call=is_call,
        gamma=gamma,
        open_interest=np.array(
            [open_interest.get(contract.symbol, NAN) for contract in contracts], dtype=np.float64
        ),
        multiplier=np.array([float(contract.multiplier) for contract in contracts]),
        expiry=tuple(contract.expiry for contract in contracts),
        vol=vol,
        years=years,
    )
    from_quotes = int(is_quoted.sum())
    return PricedChain(rows, chain.spot, rate, borrow, from_quotes, int(known.sum()) - from_quotes, fitted)


def _rows_by_expiry(contracts: Sequence[OptionContract]) -> dict[ExpiryLabel, list[int]]:
    rows: dict[ExpiryLabel, list[int]] = {}
    for row, contract in enumerate(contracts):
        rows.setdefault(ExpiryLabel(contract.expiry, contract.root), []).append(row)
    return rows


def chain_of(
    contracts: Sequence[OptionContract],
    bid: Floats,
    ask: Floats,
    *,
    spot: float,
    ts_ns: int,
    rate: float,
) -> ChainQuotes:
    """Return simultaneous quotes as a chain, without expired options.

    ``bid``, ``ask``: One value a contract, currency per unit; NaN where a side is missing.
    ``ts_ns``: The instant, UTC nanoseconds.
    ``rate``: Continuously compounded, a year.
    """
    expiries = []
    for label, listed in _rows_by_expiry(contracts).items():
        if expiry_instant_ns(contracts[listed[0]]) <= ts_ns:
            continue
        at = sorted(listed, key=lambda row: (contracts[row].strike, not contracts[row].is_call))
        expiries.append(
            expiry_quotes(
                label, [contracts[row] for row in at], ts_ns, bid[at], ask[at], np.full(len(at), spot)
            )
        )
    expiries.sort(key=lambda entry: entry.years)
    return ChainQuotes(ts_ns, spot, tuple(expiries), lambda _days: rate)


def price_tape(tape: MarketTape, now_ns: int, *, previous: ChainSurface | None = None) -> PricedChain:
    """Price the chain of a tape's underlying at one instant.

    Only quotes known by ``now_ns`` (UTC) are used; the smiles of ``previous`` start this fit. Raises
    DataError when the underlying was not quoted yet.
    """
    chain = chain_quotes_at(tape, now_ns)
    options = (each for each in tape.instruments if each.is_option and each.underlying not in tape.others)
    contracts = [
        contract
        for underlying in sorted({option.underlying for option in options})
        for _, contract in options_in_order(tape.instruments, underlying)
        if expiry_instant_ns(contract) > now_ns
    ]
    return price_chain(chain, contracts, tape.open_interest, previous=previous)


def price_desk(
    market: MarketState,
    instruments: Instruments,
    underlying: str,
    now_ns: int,
    *,
    spots: Sequence[tuple[int, float]] = (),
    previous: ChainSurface | None = None,
) -> PricedChain | None:
    """Price all listed options of a desk's underlying by its latest quotes, as :func:`price_tape` does.

    None while the underlying is not quoted; ``spots`` as in :func:`chain_quotes_of`.
    """
    chain = chain_quotes_of(market, instruments, underlying, now_ns, spots)
    if chain is None:
        return None
    listed = [
        (number, contract)
        for number, contract in options_in_order(instruments, underlying)
        if expiry_instant_ns(contract) > now_ns
    ]
    interest = {
        contract.symbol: float(market.open_interest[number])
        for number, contract in listed
        if number in market.open_interest
    }
    return price_chain(chain, [contract for _, contract in listed], interest, previous=previous)


def exposure_event(
    priced: PricedChain,
    symbol: str,
    now_ns: int,
    *,
    usual_usd: tuple[float, float] = (NAN, NAN),
) -> GammaExposureEvent:
    """Return the dealer gamma exposure of a priced chain as an event.

    ``now_ns`` is the instant of its quotes. ``usual_usd`` is the size of a large exposure of the whole chain
    and near the money, NaN without a history.
    """
    exposure = gamma_exposure(priced.rows, priced.spot)
    usd = NAN if exposure.net_usd is None else exposure.net_usd
    near = NAN if exposure.net_usd is None else exposure_near(exposure)
    return GammaExposureEvent(symbol, now_ns, now_ns, usd, _SOURCE, exposure.reason, near, *usual_usd)


def exposure_events(
    tape: MarketTape, *, every_seconds: float, usual_usd: tuple[float, float] = (NAN, NAN)
) -> Iterator[GammaExposureEvent]:
    """Yield the dealer gamma exposure of a tape's chain over its first session, from the open on.

    The tape's open interest is that of the evening before the first session; later sessions have no figure.

    ``tape``: Market with quotes and open interest; without open interest nothing is yielded.
    ``every_seconds``: Time between events, above 0; each uses the quotes known by then. At the open, while
    too little is quoted, the next computation is a minute later. An unknown exposure is reported once.
    ``usual_usd``: Size of a large exposure of the whole chain and near the money.
    """
    if not tape.open_interest:
        return
    session = tape.sessions[0]
    step_ns = max(round(every_seconds * NANOS_PER_SECOND), 1)
    now_ns, fitted, is_unknown = session.open_ns, None, False
    while now_ns < session.close_ns:
        event = None
        try:
            priced = price_tape(tape, now_ns, previous=fitted)
        except DataError:  # the underlying was not quoted yet
            pass
        else:
            fitted = priced.surface
            event = exposure_event(priced, tape.underlying, now_ns, usual_usd=usual_usd)
        if event is not None and not (event.reason and is_unknown):
            is_unknown = bool(event.reason)
            yield event
        # the first quotes of a session arrive one by one: compute again soon rather than after a whole step
        is_early = now_ns < session.open_ns + step_ns and (event is None or event.reason)
        now_ns += min(step_ns, _EARLY_NS) if is_early else step_ns


def _vols(fitted: ChainSurface, entry: ExpiryQuotes, strike: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the volatility of each strike, and whether it is quoted."""
    quotes = next(quotes for quotes in fitted.smile_quotes if quotes.label == entry.label)
    middle = 0.5 * (quotes.bid_vol + quotes.ask_vol)
    by_strike = dict(zip(quotes.strike.tolist(), middle.tolist(), strict=True))
    vols = np.array([by_strike.get(price, NAN) for price in strike.tolist()], dtype=np.float64)
    is_quoted = np.isfinite(vols)
    expiry = next(expiry for expiry in fitted.surface.expiries if expiry.label == entry.label)
    if expiry.smile is not None and not is_quoted.all():
        vols[~is_quoted] = expiry.vol(strike[~is_quoted])
    return vols, is_quoted


def _gammas(
    fitted: ChainSurface, entry: ExpiryQuotes, strike: Floats, is_call: NDArray[np.bool_], vol: Floats
) -> Floats:
    known = np.isfinite(vol) & (vol > 0.0)
    forward = fitted.forwards[entry.label]
    due = [pair for pair in fitted.chain.dividends if pair[0] <= entry.years]
    answer = greeks(
        forward.pricing_spot,
        strike,
        entry.years,
        np.where(known, vol, 0.0),
        is_call,
        rate=fitted.rates[entry.label],
        dividend_yield=forward.pricing_borrow,
        dividends=due or None,
        # exercise at an ex-date takes milliseconds an option and moves the gamma of those deep in the money:
        # 0.1 % of the exposure near the money, 1 to 2 % of the whole
        style="european" if due else entry.style,
    )
    # a share's move is the same fraction of either spot: Γ·S² is that of the spot that fits the quotes
    return np.where(known, answer.gamma * (forward.pricing_spot / fitted.chain.spot) ** 2, NAN)
