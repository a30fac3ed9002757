"""From a chain's quotes to the gammas that its exposure is summed from.

A volatility belongs to a strike: it is read from the option out of the money there, which carries the least
intrinsic value, and used for the call and the put. Where no option of a strike is quoted on both sides the
fitted smile of its expiry stands in. Forwards come from put-call parity.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND, years_between
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.chain_surface import (
    ChainQuotes,
    ChainSurface,
    ExpiryLabel,
    ExpiryQuotes,
    chain_quotes_at,
    fit_chain,
)
from scalpdesk.marketdata.dealer_gamma import MIN_COVERAGE, ExposureRows, exposure_near, gamma_exposure
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing import greeks

Floats = NDArray[np.float64]

SOURCE = "chain"
EARLY_NS = 60 * NANOS_PER_SECOND
"""Pause between two looks while a session's first quotes are still coming in."""
NEAR_MONEY = 0.005
"""Strikes this close to the underlying, as a fraction of it, are near the money."""
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class PricedChain:
    """A chain with the gamma of every option that one could be found for.

    Parameters
    ----------
    rows
        One row a listed option.
    spot
        Underlying, currency per unit.
    rate, borrow
        Continuously compounded, a year, one value a row.
    from_quotes, from_smile
        Rows whose volatility is a quoted one, and those whose volatility is the fitted smile's.
    surface
        What was fitted; None when nothing was quoted.
    """

    rows: ExposureRows
    spot: float
    rate: Floats
    borrow: Floats
    from_quotes: int
    from_smile: int
    surface: ChainSurface | None


def price_chain(
    chain: ChainQuotes,
    contracts: Sequence[OptionContract],
    open_interest: Mapping[str, float],
    *,
    previous: ChainSurface | None = None,
) -> PricedChain:
    """Find volatility and gamma of every listed option.

    Parameters
    ----------
    chain
        Quotes at one instant.
    contracts
        Every listed option that has not expired, quoted or not: what is missing lowers the coverage.
    open_interest
        Contracts by option symbol; what is not named is not known.
    previous
        The last fit, from whose smiles this one starts.
    """
    fitted = fit_chain(chain, previous=previous) if chain.expiries else None
    quoted = {entry.label: entry for entry in chain.expiries}
    size = len(contracts)
    vol, gamma, years = np.full(size, NAN), np.full(size, NAN), np.full(size, NAN)
    rate, borrow, is_quoted = np.zeros(size), np.zeros(size), np.zeros(size, dtype=np.bool_)
    strike = np.array([float(one.strike) for one in contracts])
    is_call = np.array([one.is_call for one in contracts], dtype=np.bool_)
    places: dict[ExpiryLabel, list[int]] = {}
    for place, one in enumerate(contracts):
        places.setdefault(ExpiryLabel(one.expiry, one.root), []).append(place)
    for label, listed in places.items():
        if fitted is None or label not in quoted:
            continue
        at = np.array(listed)
        entry = quoted[label]
        found = _vols(fitted, entry, strike[at])
        vol[at], is_quoted[at] = found
        years[at], rate[at] = entry.years, fitted.rates[label]
        borrow[at] = fitted.forwards[label].pricing_borrow
        gamma[at] = _gammas(fitted, entry, strike[at], is_call[at], vol[at])
    known = np.isfinite(vol)
    rows = ExposureRows(
        strike=strike,
        is_call=is_call,
        gamma=gamma,
        open_interest=np.array([open_interest.get(one.symbol, NAN) for one in contracts], dtype=np.float64),
        multiplier=np.array([float(one.multiplier) for one in contracts]),
        expiry=tuple(one.expiry for one in contracts),
        vol=vol,
        years=years,
    )
    from_quotes = int(is_quoted.sum())
    return PricedChain(rows, chain.spot, rate, borrow, from_quotes, int(known.sum()) - from_quotes, fitted)


def chain_of(
    contracts: Sequence[OptionContract],
    bid: Floats,
    ask: Floats,
    *,
    spot: float,
    ts_ns: int,
    rate: float,
) -> ChainQuotes:
    """Return quotes made at one instant as a chain, without those that have expired by then.

    Parameters
    ----------
    contracts
        The options.
    bid, ask
        One value a contract, currency per unit; NaN where a side is missing.
    spot
        Underlying at that instant.
    ts_ns
        The instant, UTC nanoseconds.
    rate
        Continuously compounded, a year.
    """
    groups: dict[ExpiryLabel, list[int]] = {}
    for place, one in enumerate(contracts):
        if expiry_instant_ns(one) > ts_ns:
            groups.setdefault(ExpiryLabel(one.expiry, one.root), []).append(place)
    expiries = []
    for label, listed in groups.items():
        members = sorted(listed, key=lambda place: (contracts[place].strike, not contracts[place].is_call))
        first, at = contracts[members[0]], np.array(members)
        expiries.append(
            ExpiryQuotes(
                label,
                years_between(ts_ns, expiry_instant_ns(first)),
                first.style.value,
                np.array([float(contracts[place].strike) for place in members]),
                np.array([contracts[place].is_call for place in members]),
                bid[at],
                ask[at],
                np.full(len(at), spot),
            )
        )
    expiries.sort(key=lambda entry: entry.years)
    return ChainQuotes(ts_ns, spot, tuple(expiries), lambda _days: rate)


def price_tape(tape: MarketTape, now_ns: int, *, previous: ChainSurface | None = None) -> PricedChain:
    """Price the chain of a tape's underlying as it stood at one instant.

    Parameters
    ----------
    tape
        Market with quotes and open interest; only quotes known by ``now_ns`` are used.
    now_ns
        UTC nanoseconds.
    previous
        The last fit, from whose smiles this one starts.

    Raises
    ------
    DataError
        When the underlying was not quoted yet.
    """
    chain = chain_quotes_at(tape, now_ns)
    on = {one.underlying for one in tape.instruments if isinstance(one, OptionContract)}
    contracts = [
        contract
        for underlying in sorted(on)
        for _, contract in options_in_order(tape.instruments, underlying)
        if expiry_instant_ns(contract) > now_ns
    ]
    held = {symbol: float(contracts_open) for symbol, contracts_open in tape.open_interest.items()}
    return price_chain(chain, contracts, held, previous=previous)


def exposure_event(
    priced: PricedChain,
    symbol: str,
    now_ns: int,
    *,
    usual_usd: tuple[float, float] = (NAN, NAN),
    min_coverage: float = MIN_COVERAGE,
) -> GammaExposureEvent:
    """Return what a priced chain says, as the desk is told it.

    Parameters
    ----------
    priced
        The chain.
    symbol
        Its underlying.
    now_ns
        UTC nanoseconds of its quotes.
    usual_usd
        What counts as large, of the whole chain and near the money; NaN without a history.
    min_coverage
        Share of the rows that must count.
    """
    found = gamma_exposure(priced.rows, priced.spot, min_coverage=min_coverage)
    usd = NAN if found.net_usd is None else found.net_usd
    near = NAN if found.net_usd is None else exposure_near(found, NEAR_MONEY)
    return GammaExposureEvent(symbol, now_ns, now_ns, usd, SOURCE, found.reason, near, *usual_usd)


def exposure_events(
    tape: MarketTape, *, every_seconds: float, usual_usd: tuple[float, float] = (NAN, NAN)
) -> Iterator[GammaExposureEvent]:
    """Yield what a tape's chain says over its first session, from the open on.

    Open interest is that of the evening before the first session; of later ones a tape knows none, and
    nothing is said of them.

    Parameters
    ----------
    tape
        Market with quotes and open interest; without open interest nothing is yielded.
    every_seconds
        Time from one word to the next, above 0; each uses the quotes known by then. At the open, where not
        enough is quoted yet, the next look is a minute later. That nothing is known is said once.
    usual_usd
        What counts as large, of the whole chain and near the money.
    """
    if not tape.open_interest:
        return
    session = tape.sessions[0]
    step_ns = max(round(every_seconds * NANOS_PER_SECOND), 1)
    now_ns, fitted, is_unknown = session.open_ns, None, False
    while now_ns < session.close_ns:
        word = None
        try:
            priced = price_tape(tape, now_ns, previous=fitted)
        except DataError:  # the underlying was not quoted yet
            pass
        else:
            fitted = priced.surface
            word = exposure_event(priced, tape.underlying, now_ns, usual_usd=usual_usd)
        if word is not None and not (word.reason and is_unknown):
            is_unknown = bool(word.reason)
            yield word
        # the first quotes of a session come one by one: look again soon rather than wait a whole step
        is_early = now_ns < session.open_ns + step_ns and (word is None or word.reason)
        now_ns += min(step_ns, EARLY_NS) if is_early else step_ns


def _vols(fitted: ChainSurface, entry: ExpiryQuotes, strike: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the volatility of each strike, and whether it is a quoted one."""
    vols = np.full(len(strike), NAN)
    said = next(one for one in fitted.smile_quotes if one.label == entry.label)
    middle = 0.5 * (said.bid_vol + said.ask_vol)
    by_strike = dict(zip(said.strike.tolist(), middle.tolist(), strict=True))
    vols[:] = [by_strike.get(float(one), NAN) for one in strike]
    is_quoted = np.isfinite(vols)
    smile = next(one for one in fitted.surface.expiries if one.label == entry.label)
    if smile.smile is not None and not is_quoted.all():
        vols[~is_quoted] = smile.vol(strike[~is_quoted])
    return vols, is_quoted


def _gammas(
    fitted: ChainSurface, entry: ExpiryQuotes, strike: Floats, is_call: NDArray[np.bool_], vol: Floats
) -> Floats:
    known = np.isfinite(vol) & (vol > 0.0)
    forward = fitted.forwards[entry.label]
    answer = greeks(
        forward.pricing_spot,
        strike,
        entry.years,
        np.where(known, vol, 0.0),
        is_call,
        rate=fitted.rates[entry.label],
        dividend_yield=forward.pricing_borrow,
        dividends=[pair for pair in fitted.chain.dividends if pair[0] <= entry.years] or None,
        style=entry.style,
    )
    return np.where(known, answer.gamma, NAN)
