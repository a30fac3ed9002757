"""Figures of a session: the same measures for reconstructed and for recorded tapes."""

import math
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from scalpdesk.base import DataError, InstrumentId, OptionContract, Session, expiry_instant_ns
from scalpdesk.core.units import SECONDS_PER_YEAR
from scalpdesk.datasets.embedded.market import session_ohlc
from scalpdesk.marketdata.tape import MarketTape

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_NANOS = 1_000_000_000
_NEAR_THE_MONEY = 0.01
_FAR_FROM_THE_MONEY = 0.05
_CORRELATION_MINUTES = 5
_WIDEST_CHAIN = 0.08


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Quotes of one stretch of moneyness, over all expiries of the tape."""

    contracts: int
    median_spread_usd: float
    median_relative_spread: float
    """Spread over mid, of two-sided quotes."""
    median_size_contracts: float
    mean_seconds_between_quotes: float


@dataclass(frozen=True, slots=True)
class MarketStatistics:
    """Figures of one session. A figure that the tape cannot give is NaN (or None for a group)."""

    variance_ratio: float
    """Realised variance of 1-minute mids over the Garman-Klass estimate of the session."""
    half_hour_variance: tuple[float, ...]
    """Share of the session's realised variance in each thirteenth of it (half hours of a full day)."""
    minute_kurtosis: float
    """Kurtosis of 1-minute mid returns, raw fourth moment over squared second; 3 for a normal."""
    absolute_return_autocorrelation: float
    """Lag 1, absolute 1-minute mid returns."""
    second_over_minute_variance: float
    """Realised variance of 1-second mids over that of 1-minute mids: above 1 is bounce."""
    changed_seconds_share: float
    """Share of seconds in which the mid of the underlying changes."""
    spot_volatility_correlation: float
    """Between 5-minute log returns of the mid and changes of the at-the-money implied volatility."""
    spread_usd: float
    size_shares: float
    quotes_per_second: float
    near_options: OptionGroup | None
    """Within 1 % of the money."""
    far_options: OptionGroup | None
    """More than 5 % out of the money."""
    worst_parity_error_usd: float
    """Largest |C − P − (S − K)| of mids beyond the two half spreads, in simultaneous quotes (rate 0)."""
    quote_rows: int


def embedded_market_statistics(tape: MarketTape) -> MarketStatistics:
    """Measure a tape of one session.

    ``tape``: Reconstructed or recorded, with quotes of the underlying about once a second (a tape of minute
    quotes gives NaN for the two measures of seconds).
    Raises DataError when the tape holds another number of sessions than one, or no quote of its underlying.
    """
    if len(tape.sessions) != 1:
        raise DataError("statistics are of one session", where=tape.name, value=len(tape.sessions))
    session = tape.sessions[0]
    share = tape.instruments.id_of(tape.underlying)
    rows, mids = _two_sided(tape, share, session)
    if not len(rows):
        raise DataError(f"no two-sided quote of {tape.underlying}", where=tape.name, value=str(session.day))
    seconds = (session.close_ns - session.open_ns) // _NANOS
    by_second = _last_known(tape.quotes.whole().ts_ns[rows], mids, session, 1)
    by_minute = _last_known(tape.quotes.whole().ts_ns[rows], mids, session, 60)
    minute_returns = np.diff(np.log(by_minute))
    realised = float(np.sum(minute_returns**2))
    absolute = np.abs(minute_returns)
    fine = len(rows) > seconds / 10
    bid, ask = tape.quotes.whole().bid[rows], tape.quotes.whole().ask[rows]
    near, far = _option_groups(tape, session, by_second)
    return MarketStatistics(
        variance_ratio=realised / _garman_klass(tape),
        half_hour_variance=tuple(_shares(minute_returns, 13)),
        minute_kurtosis=float(np.mean(minute_returns**4) / np.mean(minute_returns**2) ** 2),
        absolute_return_autocorrelation=_correlation(absolute[:-1], absolute[1:]),
        second_over_minute_variance=float(np.sum(np.diff(np.log(by_second)) ** 2)) / realised
        if fine
        else math.nan,
        changed_seconds_share=float(np.mean(np.abs(np.diff(by_second)) > 1e-9)) if fine else math.nan,
        spot_volatility_correlation=_spot_volatility_correlation(tape, session, by_second),
        spread_usd=float(np.median(ask - bid)),
        size_shares=float(np.median(tape.quotes.whole().bid_size[rows])),
        quotes_per_second=len(rows) / seconds,
        near_options=near,
        far_options=far,
        worst_parity_error_usd=_worst_parity_error(tape),
        quote_rows=len(tape.quotes.whole()),
    )


def _correlation(left: _Floats, right: _Floats) -> float:
    """Pearson's; NaN when one of them never moves."""
    if float(np.std(left)) == 0.0 or float(np.std(right)) == 0.0:
        return math.nan
    return float(np.corrcoef(left, right)[0, 1])


def _two_sided(tape: MarketTape, instrument: InstrumentId, session: Session) -> tuple[_Ints, _Floats]:
    quotes = tape.quotes.whole()
    inside = (quotes.ts_ns >= session.open_ns) & (quotes.ts_ns <= session.close_ns)
    rows = np.flatnonzero(
        inside & (quotes.instrument_id == instrument) & (quotes.bid > 0.0) & np.isfinite(quotes.ask)
    )
    return rows, 0.5 * (quotes.bid[rows] + quotes.ask[rows])


def _last_known(stamps: _Ints, values: _Floats, session: Session, step_seconds: int) -> _Floats:
    """Last value known at each ``step_seconds`` from the open to the close; the first before there is one."""
    grid = np.arange(session.open_ns, session.close_ns + 1, step_seconds * _NANOS)
    return np.asarray(values[np.maximum(np.searchsorted(stamps, grid, side="right") - 1, 0)])


def _garman_klass(tape: MarketTape) -> float:
    prices = session_ohlc(tape)[0]
    span = math.log(prices.high / prices.low)
    move = math.log(prices.close / prices.open)
    return 0.5 * span**2 - (2.0 * math.log(2.0) - 1.0) * move**2


def _shares(returns: _Floats, parts: int) -> list[float]:
    edges = np.linspace(0, len(returns), parts + 1).astype(int)
    sums = np.add.reduceat(returns**2, edges[:-1])
    return [float(value) for value in sums / sums.sum()]


def _options(tape: MarketTape) -> list[tuple[InstrumentId, OptionContract]]:
    return list(tape.instruments.options(tape.underlying))


def _option_groups(
    tape: MarketTape, session: Session, by_second: _Floats
) -> tuple[OptionGroup | None, OptionGroup | None]:
    """Figures near the money (by each quote's own moment) and far out of it (by the open)."""
    options = _options(tape)
    if not options:
        return None, None
    quotes = tape.quotes.whole()
    strike = np.full(len(tape.instruments), np.nan)
    sign = np.zeros(len(tape.instruments))
    for number, contract in options:
        strike[number] = float(contract.strike)
        sign[number] = 1.0 if contract.is_call else -1.0
    second = np.clip((quotes.ts_ns - session.open_ns) // _NANOS, 0, len(by_second) - 1)
    moneyness = strike[quotes.instrument_id] / by_second[second] - 1.0
    near = np.abs(moneyness) <= _NEAR_THE_MONEY
    far = moneyness * sign[quotes.instrument_id] > _FAR_FROM_THE_MONEY
    away = strike[:, None] / by_second[None, ::60] - 1.0
    near_seconds = float(np.sum(np.abs(away) <= _NEAR_THE_MONEY) * 60)
    far_seconds = float(np.sum(away * sign[:, None] > _FAR_FROM_THE_MONEY) * 60)
    return _group(tape, near, near_seconds), _group(tape, far, far_seconds)


def _group(tape: MarketTape, chosen: NDArray[np.bool_], contract_seconds: float) -> OptionGroup | None:
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return None
    quotes = tape.quotes.whole()
    spread = quotes.ask[rows] - quotes.bid[rows]
    two_sided = np.isfinite(spread)
    if not two_sided.any():
        return None
    mid = 0.5 * (quotes.ask[rows] + quotes.bid[rows])
    return OptionGroup(
        contracts=len(np.unique(quotes.instrument_id[rows])),
        median_spread_usd=float(np.median(spread[two_sided])),
        median_relative_spread=float(np.median(spread[two_sided] / mid[two_sided])),
        median_size_contracts=float(np.median(quotes.bid_size[rows][two_sided])),
        mean_seconds_between_quotes=contract_seconds / len(rows),
    )


def _pairs(tape: MarketTape) -> list[tuple[InstrumentId, InstrumentId, OptionContract]]:
    calls = {(c.root, c.expiry, c.strike): (number, c) for number, c in _options(tape) if c.is_call}
    found = []
    for number, contract in _options(tape):
        call = calls.get((contract.root, contract.expiry, contract.strike))
        if not contract.is_call and call is not None:
            found.append((call[0], number, call[1]))
    return found


def _worst_parity_error(tape: MarketTape) -> float:
    """Only quotes of call and put that carry the same stamp are compared."""
    quotes = tape.quotes.whole()
    order = np.argsort(quotes.instrument_id, kind="stable")
    edges = np.searchsorted(quotes.instrument_id[order], np.arange(len(tape.instruments) + 1))
    share = order[edges[0] : edges[1]] if tape.instruments.id_of(tape.underlying) == 0 else None
    if share is None:
        return math.nan
    share_mid = 0.5 * (quotes.bid[share] + quotes.ask[share])
    worst = math.nan
    for call, put, contract in _pairs(tape):
        call_rows, put_rows = order[edges[call] : edges[call + 1]], order[edges[put] : edges[put + 1]]
        _, at_call, at_put = np.intersect1d(
            quotes.ts_ns[call_rows], quotes.ts_ns[put_rows], return_indices=True
        )
        c, p = call_rows[at_call], put_rows[at_put]
        known = np.searchsorted(quotes.ts_ns[share], quotes.ts_ns[c], side="right") - 1
        spot = share_mid[np.maximum(known, 0)]
        gap = 0.5 * (quotes.bid[c] + quotes.ask[c] - quotes.bid[p] - quotes.ask[p])
        room = 0.5 * (quotes.ask[c] - quotes.bid[c] + quotes.ask[p] - quotes.bid[p])
        excess = np.abs(gap - (spot - float(contract.strike))) - room
        excess = excess[np.isfinite(excess)]
        if len(excess):
            worst = float(np.fmax(worst, excess.max()))
    return worst


def _spot_volatility_correlation(tape: MarketTape, session: Session, by_second: _Floats) -> float:
    """Return that of the at-the-money volatility, from the two strikes around the share; longest expiry."""
    by_expiry: dict[date, list[tuple[float, InstrumentId, InstrumentId]]] = {}
    for call, put, contract in _pairs(tape):
        by_expiry.setdefault(contract.expiry, []).append((float(contract.strike), call, put))
    if not by_expiry:
        return math.nan
    expiry = max(by_expiry)
    chain = sorted(row for row in by_expiry[expiry] if abs(row[0] / by_second[0] - 1.0) < _WIDEST_CHAIN)
    step = _CORRELATION_MINUTES * 60
    spot = by_second[::step]
    contract = next(c for _, _, c in _pairs(tape) if c.expiry == expiry)
    left_ns = expiry_instant_ns(contract) - session.open_ns
    seconds_left = left_ns / _NANOS - np.arange(len(spot), dtype=np.float64) * step
    years = np.asarray(seconds_left / SECONDS_PER_YEAR, dtype=np.float64)
    smile = np.full((len(chain), len(spot)), np.nan)
    for place, (strike, call, put) in enumerate(chain):
        value = _time_value(tape, session, (call, put), strike, by_second)
        if value is not None:
            smile[place] = _implied(value, spot, strike, years)
    strikes = np.array([row[0] for row in chain])
    above = np.searchsorted(strikes, spot, side="right")
    if bool(np.any((above == 0) | (above == len(strikes)))):
        return math.nan
    every = np.arange(len(spot))
    weight = (spot - strikes[above - 1]) / (strikes[above] - strikes[above - 1])
    money = smile[above - 1, every] * (1.0 - weight) + smile[above, every] * weight
    moves, changes = np.diff(np.log(spot))[1:], np.diff(money)[1:]
    good = np.isfinite(changes)
    return _correlation(moves[good], changes[good]) if good.sum() > 10 else math.nan


def _time_value(
    tape: MarketTape,
    session: Session,
    pair: tuple[InstrumentId, InstrumentId],
    strike: float,
    by_second: _Floats,
) -> _Floats | None:
    """Value of the option out of the money at each step, from call and put mids at their own moments."""
    step = _CORRELATION_MINUTES * 60
    total = np.zeros(len(by_second[::step]))
    for number in pair:
        rows, mids = _two_sided(tape, number, session)
        if not len(rows):
            return None
        stamps = tape.quotes.whole().ts_ns[rows]
        second = np.clip((stamps - session.open_ns) // _NANOS, 0, len(by_second) - 1)
        # The quote answers to the share of its own moment, not to that of the end of the step.
        outside = mids - 0.5 * np.abs(by_second[second] - strike)
        total += 0.5 * _last_known(stamps, outside, session, step)
    return total


def _implied(value: _Floats, spot: _Floats, strike: float, years: _Floats) -> _Floats:
    """Implied volatility of an out-of-the-money value at zero rates, bisected between 0.1 % and 500 %."""
    sign = np.where(strike >= spot, 1.0, -1.0)
    low, high = np.full(len(value), 1e-3), np.full(len(value), 5.0)
    for _ in range(45):
        middle = 0.5 * (low + high)
        deviation = middle * np.sqrt(years)
        d1 = np.log(spot / strike) / deviation + 0.5 * deviation
        model = sign * (spot * ndtr(sign * d1) - strike * ndtr(sign * (d1 - deviation)))
        low, high = np.where(model < value, middle, low), np.where(model < value, high, middle)
    return np.asarray(0.5 * (low + high))


RECORDED_HALF_HOUR_VARIANCE = (
    0.1347, 0.1065, 0.0871, 0.0815, 0.0857, 0.0526, 0.0392, 0.0609, 0.0442, 0.0809, 0.0484, 0.0688, 0.1095,
)  # fmt: skip
"""Share of the session's variance in each half hour from 09:30: SPY 1-minute mid returns, mean of the
five sessions 2013-10-07..11."""


@dataclass(frozen=True, slots=True)
class _RecordedDay:
    """One recorded SPY session as ``embedded_market_statistics`` measures it."""

    day: str
    variance_ratio: float
    """1-minute realised variance of the mid over the Garman-Klass estimate."""
    first_half_hour_share: float
    minute_kurtosis: float
    changed_seconds_share: float
    median_spread_usd: float
    median_size_shares: float


RECORDED_SPY_DAYS = (
    _RecordedDay("2013-10-07", 1.11, 0.142, 4.4, 0.22, 0.01, 5700.0),
    _RecordedDay("2013-10-08", 1.42, 0.149, 3.6, 0.31, 0.01, 4600.0),
    _RecordedDay("2013-10-09", 1.32, 0.120, 4.4, 0.34, 0.01, 4000.0),
    _RecordedDay("2013-10-10", 1.34, 0.097, 4.5, 0.24, 0.01, 6200.0),
    _RecordedDay("2013-10-11", 1.12, 0.165, 4.0, 0.18, 0.01, 6700.0),
)
"""SPY seconds of LEAN (``Data/equity/usa/second/spy``), 09:30 to 16:00 New York."""
