"""Reconstructed coin markets: days of account of the perpetual and of inverse options, around the clock.

Nothing in it is recorded. A day's path, its volatilities, its jumps and its funding are drawn from the seed
and the day alone, so that a day is the same in every span. Results show ``kind = "reconstructed"``.

Where the figures come from
---------------------------
Measured on Coinbase BTC-USD (daily 2014-12-01 to 2018-08-13, 1,317 returns; seconds of 2016-10-07 to 09):

- variance of a day on a weekend: 0.47 of a working day's (median absolute return 0.90 of it);
- autocorrelation of absolute daily returns: 0.36, 0.17, 0.11 after 1, 5 and 20 days, met by a log
  volatility of long memory in the day's level and noise of its own beside it;
- days beyond 3 and 4 local deviations (median absolute return of 61 days over 0.6745): 5.4 % and 3.0 %, some
  of them bad prints;
- bipower over realised variance of 5-minute returns: 0.81, so that a fifth of the variance is jumps
  (Scaillet, Treccani and Trevisan 2020 find jumps to be frequent in bitcoin).

Measured on Deribit's tickers of 2021-07-22 (half a minute, five Bitcoin options with a two-sided market in
size): a spread is 1.5 points of volatility (1.35 to 1.81 near the money and in the far call), and a tick or
two where that is less. Two calls deep in the money of 246 and 337 days, quoted 14 and 28 points wide, are
left out: nothing so far is listed here.

Chosen, with what they rest on: the level of implied volatility about 55 %, the middle of Deribit's index DVOL
since 2023; implied above realised variance on average (Alexander and Imeraj 2021); a smile in standardised
moneyness with a small skew; funding by Deribit's formula from a premium of a few basis points. All expiries
trade on the perpetual's price: the futures curve is flat. Ether is drawn by the same statistics around a
level of implied volatility a fifth above Bitcoin's; no record of its own was measured, and the two coins are
drawn apart.
"""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.units import DAYS_PER_YEAR, HOUR_NS, MINUTE_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract, Right
from scalpdesk.instruments.deribit import (
    PERPETUAL_TICKS,
    deribit_option,
    funding_rate,
    option_name,
    perpetual,
    perpetual_symbol,
)
from scalpdesk.instruments.sessions import Session, coin_session, expiry_instant_ns
from scalpdesk.instruments.settlement import MEAN_MINUTES
from scalpdesk.marketdata.tape import FundingRate, LazyQuotes, MarketTape, QuoteColumns
from scalpdesk.pricing.models import greeks
from scalpdesk.volatility.variance_time import CALENDAR

RECONSTRUCTED = "reconstructed"
FIRST_HISTORY, _FIRST_DAY, LAST_DAY = date(2023, 1, 1), date(2024, 7, 1), date(2026, 12, 31)

_STEP_SECONDS = 30
STEPS = 86_400 // _STEP_SECONDS
_OPTION_STEPS = 2
"""Steps between two quotes of an option."""

_LEVEL_SD, _LEVEL_HALF_LIFE_DAYS = 0.22, 20.0
"""Implied volatility of 30 days: the deviation of its logarithm, and the half-life of that."""
_OWN_SD = 0.35
"""Deviation of a day's own log volatility around the level."""
_REALISED_OVER_IMPLIED = 0.88
"""Ratio of the median day: the mean variance stays below the implied variance."""
_WEEKEND_VARIANCE = 0.47
_JUMP_SHARE, _JUMPS_A_DAY = 0.20, 1.0
_PREMIUM_SD, _PREMIUM_MEAN, _PREMIUM_HALF_LIFE_STEPS = 0.0003, 0.00015, 120.0
_SKEW, _CURVATURE, _SHORT_END = -0.03, 0.035, 0.10
"""Smile in standardised moneyness; and what a week adds to the volatility of 30 days' own noise."""
_VOL_SPREAD = 0.0075
"""Half-spread of an option, in volatility."""
_COIN_MEAN_NS = MEAN_MINUTES * MINUTE_NS
"""Span of the index before the expiry: the delivery price is the mean."""
_STRIKES_EACH_SIDE = 4
_OPEN_INTEREST = 500
_SATURDAY, FRIDAY = 5, 4

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _CoinMarket:
    """Figures in which the markets of coins differ."""

    coin: str
    start_price: float
    """US dollars, where the history begins."""
    level: float
    """Median implied volatility of 30 days, a fraction a year."""
    strike_steps: tuple[int, int, int]
    """US dollars between strikes: to two days, to two weeks, beyond."""
    depth: float
    """Contracts of the perpetual at each side of its quote."""
    option_size: float
    """Coins at each side of an option's quote."""
    stream: int
    """Which of a seed's random streams is the coin's; with seed 1 the price keeps its order of size."""

    @property
    def name(self) -> str:
        """Name of the data set."""
        return f"embedded-{self.coin.lower()}"


_BITCOIN = _CoinMarket("BTC", 90_000.0, 0.55, (500, 1_000, 2_000), 40_000.0, 25.0, 0)
ETHER = _CoinMarket("ETH", 3_000.0, 0.66, (25, 50, 100), 400_000.0, 250.0, 3)
MARKETS = {perpetual_symbol(market.coin): market for market in (_BITCOIN, ETHER)}
"""By the symbol of the perpetual."""


@dataclass(frozen=True, slots=True)
class _Day:
    """One day's draw: the logarithm of the index over its open, and the implied level."""

    log_path: _Floats
    """At each step, the first 0; ``STEPS + 1`` points."""
    level: float


def available_days() -> tuple[date, date]:
    """Return the first and the last day of the market."""
    return _FIRST_DAY, LAST_DAY


def reconstruct_coin(
    start: date, end: date, *, seed: int = 1, underlying: str = perpetual_symbol("BTC")
) -> MarketTape:
    """Build the reconstructed market of a coin over consecutive days of account (08:00 UTC to 08:00 UTC).

    ``start``, ``end``: First and last day, both included; a day is named by its beginning.
    ``seed``: Of everything that is drawn.
    ``underlying``: ``BTC-PERPETUAL`` or ``ETH-PERPETUAL``.

    Returns options of daily, weekly and monthly expiries within ten weeks, around the spot of each day's
    open; one that is listed stays until it expires. An option without a bid has NaN there.

    Raises DataError when a day is outside the market. Raises ArgumentError for another underlying or a seed
    below 0.
    """
    market = MARKETS.get(underlying)
    if market is None:
        raise ArgumentError(
            "no reconstructed coin market has this underlying",
            where="underlying",
            value=underlying,
            fix=f"set strategies.gamma-scalper.underlying to {' or '.join(MARKETS)}",
        )
    if seed < 0:
        raise ArgumentError("a seed is 0 or more", where="seed", value=seed)
    if not _FIRST_DAY <= start <= end <= LAST_DAY:
        raise DataError(
            f"the market {market.name} has the days from {_FIRST_DAY} to {LAST_DAY}",
            where="session",
            value=f"{start} to {end}" if end != start else str(start),
            nearest=str(min(max(start, _FIRST_DAY), LAST_DAY)),
        )
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    sessions = tuple(coin_session(day) for day in days)
    swap = perpetual(market.coin)
    instruments = Instruments([swap])
    for option in chain.from_iterable(_listed(day, seed, market) for day in days):
        instruments.add(option)
    return MarketTape(
        name=market.name,
        kind=RECONSTRUCTED,
        underlying=swap.symbol,
        sessions=sessions,
        instruments=instruments,
        quotes=LazyQuotes(sessions, lambda session: _quotes(session, instruments, start, seed, market)),
        open_interest={item.symbol: _OPEN_INTEREST for item in instruments if item.is_option},
        funding=tuple(rate for session in sessions for rate in _funding(session, seed, market)),
        variance_clock=CALENDAR.name,
        settlement_prices={
            (swap.symbol, day + timedelta(days=1)): _delivery_price(day, seed, market) for day in days
        },
        quote_seconds=float(_STEP_SECONDS),
        notes=(f"reconstructed: nothing in it is recorded; seed {seed}", "the futures curve is flat"),
    )


def daily_bars_before(
    day: date, count: int, *, seed: int = 1, market: _CoinMarket = _BITCOIN
) -> dict[str, _Floats]:
    """Return up to ``count`` daily bars of the index (US dollars) that end before ``day``, oldest first."""
    first = max(day - timedelta(days=count), FIRST_HISTORY)
    rows = []
    while first < day:
        path = index_path(first, seed, market)
        rows.append((path[0], path.max(), path.min(), path[-1]))
        first += timedelta(days=1)
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return {name: table[:, index].copy() for index, name in enumerate(("open", "high", "low", "close"))}


def utc_days_before(
    day: date, *, seed: int = 1, market: _CoinMarket = _BITCOIN
) -> list[tuple[date, tuple[float, float, float, float]]]:
    """Return the open, high, low and close of the index on each UTC day that ended before ``day``."""
    to_midnight = STEPS * 2 // 3  # a day of account begins at 08:00 UTC
    rows = []
    at, early = FIRST_HISTORY, np.empty(0)
    while at < day:
        path = index_path(at, seed, market)
        if early.size:
            whole = np.concatenate((early, path[:to_midnight]))
            opened, high, low, close = np.round((whole[0], whole.max(), whole.min(), whole[-1]), 2).tolist()
            rows.append((at, (opened, high, low, close)))
        early, at = path[to_midnight:-1], at + timedelta(days=1)
    return rows


# what is drawn ------------------------------------------------------------------------------------------


def _generator(seed: int, market: _CoinMarket, *place: int) -> np.random.Generator:
    """Return the coin's own stream of a seed at a place; Bitcoin's, the first there was, adds no number."""
    own = (market.stream, seed) if market.stream else (seed,)
    return np.random.default_rng((*own, *place))


@lru_cache(maxsize=8)
def _levels(seed: int, market: _CoinMarket = _BITCOIN) -> _Floats:
    """Implied volatility of 30 days at the open of each day since the history begins."""
    count = (LAST_DAY - FIRST_HISTORY).days + 1
    pull = 0.5 ** (1.0 / _LEVEL_HALF_LIFE_DAYS)
    shocks = _generator(seed, market, 0).standard_normal(count) * _LEVEL_SD
    shocks[1:] *= np.sqrt(1.0 - pull * pull)
    logs = lfilter([1.0], [1.0, -pull], shocks)
    return np.asarray(market.level * np.exp(logs))


@lru_cache(maxsize=2_048)
def _draw(day: date, seed: int, market: _CoinMarket) -> _Day:
    generator = _generator(seed, market, day.toordinal())
    level = float(_levels(seed, market)[(day - FIRST_HISTORY).days])
    own = np.exp(_OWN_SD * generator.standard_normal() - 0.5 * _OWN_SD**2)
    week = (5.0 + 2.0 * _WEEKEND_VARIANCE) / 7.0
    weight = (_WEEKEND_VARIANCE if day.weekday() >= _SATURDAY else 1.0) / week
    variance = (level * _REALISED_OVER_IMPLIED * own) ** 2 / DAYS_PER_YEAR * weight
    moves = generator.standard_normal(STEPS) * np.sqrt((1.0 - _JUMP_SHARE) * variance / STEPS)
    count = generator.poisson(_JUMPS_A_DAY)
    # a Laplace jump of scale b has the variance 2b²
    sizes = generator.laplace(scale=np.sqrt(0.5 * _JUMP_SHARE * variance / _JUMPS_A_DAY), size=count)
    np.add.at(moves, generator.integers(0, STEPS, size=count), sizes)
    log_path = np.concatenate(([0.0], np.cumsum(moves - 0.5 * variance / STEPS)))
    return _Day(log_path, level)


@lru_cache(maxsize=64)
def _premium(day: date, seed: int, market: _CoinMarket) -> _Floats:
    """Return what the perpetual is above the index at each step of a day, a fraction."""
    pull = 0.5 ** (1.0 / _PREMIUM_HALF_LIFE_STEPS)
    shocks = _generator(seed, market, day.toordinal(), 1).standard_normal(STEPS + 1) * _PREMIUM_SD
    shocks[1:] *= np.sqrt(1.0 - pull * pull)
    return np.asarray(lfilter([1.0], [1.0, -pull], shocks)) + _PREMIUM_MEAN


@lru_cache(maxsize=4_096)
def _open_log(day: date, seed: int, market: _CoinMarket) -> float:
    """Return the log of the index at a day's open, over the first; it adds up 32 days at most."""
    since = (day - FIRST_HISTORY).days
    if since <= 0:
        return 0.0
    at = day - timedelta(days=(since - 1) % 32 + 1)
    total = _open_log(at, seed, market)
    while at < day:
        total += float(_draw(at, seed, market).log_path[-1])
        at += timedelta(days=1)
    return total


def _open_price(day: date, seed: int, market: _CoinMarket) -> float:
    """Return the index at the open of a day, US dollars."""
    return market.start_price * float(np.exp(_open_log(day, seed, market)))


def index_path(day: date, seed: int, market: _CoinMarket = _BITCOIN) -> _Floats:
    """Return the index at each half minute of a day, its open and its close included; US dollars."""
    return np.asarray(_open_price(day, seed, market) * np.exp(_draw(day, seed, market).log_path))


def _delivery_price(day: date, seed: int, market: _CoinMarket) -> float:
    """Mean of the index over the last half hour of a day, to the cent."""
    steps = _COIN_MEAN_NS // NANOS_PER_SECOND // _STEP_SECONDS
    return round(float(index_path(day, seed, market)[-steps:].mean()), 2)


def _funding(session: Session, seed: int, market: _CoinMarket) -> list[FundingRate]:
    index, premium = index_path(session.day, seed, market), _premium(session.day, seed, market)
    symbol = perpetual(market.coin).symbol
    hour = 3_600 // _STEP_SECONDS
    rates = []
    for n in range(1, 25):
        price = Decimal(f"{index[n * hour]:.2f}")
        mark = price * Decimal(f"{1.0 + premium[(n - 1) * hour : n * hour].mean():.8f}")
        ts_ns = session.open_ns + n * HOUR_NS - (NANOS_PER_SECOND if n == 24 else 0)
        rates.append(FundingRate(symbol, ts_ns, round(funding_rate(mark, price), 8), price))
    return rates


# what is listed -----------------------------------------------------------------------------------------


def coin_expiries(day: date) -> list[date]:
    """Return the expiries that are listed on a day: two days, four Fridays, two months' last Fridays."""
    fridays = [day + timedelta(days=n) for n in range(1, 29) if (day + timedelta(days=n)).weekday() == FRIDAY]
    months = []
    for ahead in range(3):
        month = day.month - 1 + ahead
        year, month = day.year + month // 12, month % 12 + 1
        last = date(year, month, calendar.monthrange(year, month)[1])
        months.append(last - timedelta(days=(last.weekday() - FRIDAY) % 7))
    near = [day + timedelta(days=n) for n in (1, 2)]
    return sorted({*near, *fridays, *(month for month in months if month > day)})


@lru_cache(maxsize=256)
def _listed(day: date, seed: int, market: _CoinMarket) -> tuple[OptionContract, ...]:
    """Return the options listed at a day's open, around its spot, by expiry, strike, call before put."""
    spot = _open_price(day, seed, market)
    near, weeks, beyond = market.strike_steps
    found = []
    for expiry in coin_expiries(day):
        days = (expiry - day).days
        wide = near if days <= 2 else weeks if days <= 14 else beyond
        middle = round(spot / wide)
        for strike in range(middle - _STRIKES_EACH_SIDE, middle + _STRIKES_EACH_SIDE + 1):
            for right in Right:
                name = option_name(market.coin, expiry, Decimal(strike * wide), right)
                found.append(deribit_option(name))
    return tuple(found)


# quotes -------------------------------------------------------------------------------------------------


def smile_vol(level: float, years: _Floats, moneyness: _Floats, market: _CoinMarket = _BITCOIN) -> _Floats:
    """Return the implied volatility of strikes, fractions a year.

    ``level`` is that of 30 days at the money; ``moneyness`` is ln(K/F) over ``level·√years``.
    """
    pull = 30.0 / DAYS_PER_YEAR / (30.0 / DAYS_PER_YEAR + years)
    term = level + (market.level - level) * (1.0 - pull) * _SHORT_END
    x = np.clip(moneyness, -4.0, 4.0)
    return np.asarray(term * (1.0 + _SKEW * x + _CURVATURE * x * x))


def _quotes(
    session: Session, instruments: Instruments, start: date, seed: int, market: _CoinMarket
) -> QuoteColumns:
    """Return a day's quotes of the perpetual and of the options listed since the span began."""
    day, level = session.day, _draw(session.day, seed, market).level
    index = index_path(day, seed, market)
    mid = index * (1.0 + _premium(day, seed, market))
    stamps = session.open_ns + np.arange(STEPS + 1, dtype=np.int64) * _STEP_SECONDS * NANOS_PER_SECOND
    stamps[0] += 1  # known once the session is open, and the last before it ends
    stamps[-1] -= 1
    tick = float(PERPETUAL_TICKS[market.coin])
    bid, ask = (np.round((np.floor(mid / tick) + side) * tick, 2) for side in (0, 1))
    depth = np.full(STEPS + 1, market.depth)
    swap = (stamps, np.zeros(STEPS + 1, np.int32), bid, ask, depth, depth)
    since = [start + timedelta(days=n) for n in range((day - start).days + 1)]
    options = {
        item.symbol: item
        for item in chain.from_iterable(_listed(at, seed, market) for at in since)
        if item.expiry > day
    }
    at = slice(0, STEPS + 1, _OPTION_STEPS)
    # of what ends with the day: the mean of its last half hour so far
    steps = _COIN_MEAN_NS // NANOS_PER_SECOND // _STEP_SECONDS
    means = np.concatenate([index[:-steps], np.cumsum(index[-steps:]) / np.arange(1, steps + 1)])
    rows = [swap]
    for symbol, option in options.items():
        number = instruments.id_of(symbol)
        rows.append(_option_rows(option, number, stamps[at], mid[at], level, market, means[at]))
    columns = [np.concatenate([row[place] for row in rows]) for place in range(6)]
    # options before their underlying at one instant: a strategy woken by its quote sees all of them
    order = np.lexsort((-columns[1], columns[0]))
    ts_ns, ids, *sides = (column[order] for column in columns)
    return QuoteColumns(ts_ns, ids, *sides)


def _option_rows(
    option: OptionContract,
    number: InstrumentId,
    stamps: NDArray[np.int64],
    forward: _Floats,
    level: float,
    market: _CoinMarket,
    means: _Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int32], _Floats, _Floats, _Floats, _Floats]:
    strike = float(option.strike)
    left = (expiry_instant_ns(option) - stamps) / NANOS_PER_SECOND
    years = np.maximum(left, 1.0) / 86_400 / DAYS_PER_YEAR
    vol = smile_vol(level, years, np.log(strike / forward) / (level * np.sqrt(years)), market)
    # a part of the mean that settles is fixed: what is left is an option on the mean of the rest
    part = np.clip(left * NANOS_PER_SECOND / _COIN_MEAN_NS, 1e-3, 1.0)
    moved = (strike - (1.0 - part) * means) / part
    strikes = np.maximum(moved, 1e-3 * strike)
    decided = part * (strikes - moved) / forward if option.is_call else 0.0
    years = np.where(part < 1.0, years / 3.0, years)
    value = greeks(forward, strikes, years, vol, option.is_call, model="inverse", style="european")
    bid, ask = option_sides(part * np.asarray(value.price) + decided, part * np.asarray(value.vega))
    bid = np.maximum(bid, 0.0)
    size = np.full(len(stamps), market.option_size)
    return stamps, np.full(len(stamps), number, np.int32), bid, ask, np.where(bid > 0.0, size, 0.0), size


def option_sides(value: _Floats, vega: _Floats, *, cheap_tick: float = 0.0001) -> tuple[_Floats, _Floats]:
    """Return bid and ask around values in coin: the fitted spread to the nearest ticks, the value within it.

    ``value``, ``vega``: In coin a coin; vega per 1.00 of volatility.
    ``cheap_tick``: Of prices below 0.005: 0.0005 in 2021, 0.0001 since.
    """

    def on_grid(price: _Floats, towards: np.ufunc) -> _Floats:
        tick = np.where(price < 0.005, cheap_tick, 0.0005)
        return np.asarray(np.round(towards(np.round(price / tick, 6)) * tick, 4))

    half = vega * _VOL_SPREAD
    bid = np.minimum(on_grid(value - half, np.rint), on_grid(value, np.floor))
    ask = np.maximum(on_grid(value + half, np.rint), on_grid(value, np.ceil))
    return bid, np.maximum(ask, on_grid(bid + cheap_tick, np.ceil))
