"""Option chain of an embedded session: expiries, strikes, open interest and quotes.

The contracts depend only on data known at the open (opening price, VIX level), not on the day's range.

A strike is requoted as time passes (a Poisson stream, slower away from the money) and as the share moves (all
strikes near the money within half a second). The latter keeps quotes near the money close to the share: no
stale quote can be picked off for more than about its own spread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NANOS_PER_MS, NANOS_PER_SECOND, SECONDS_PER_YEAR
from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded.kernels import moves
from scalpdesk.datasets.embedded.path import expected_clock
from scalpdesk.datasets.embedded.surface import (
    SmilePrices,
    exercise_premiums,
    option_prices,
    total_variance,
    variance_years,
)
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import OptionContract, Right, occ_symbol
from scalpdesk.instruments.sessions import Session, is_session, next_session, previous_session, session_on
from scalpdesk.marketdata.dividends import last_notice_ns
from scalpdesk.marketdata.tape import QuoteColumns

_Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FULL_SESSION_SECONDS = 23_400
_NANOS_PER_YEAR = NANOS_PER_SECOND * SECONDS_PER_YEAR
ALL_ROWS = 370_000
MOST_ROUND_ROWS = 250_000
MOST_QUIET_ROWS = 180_000
"""Most option rows in a full session, in total and by reason; in a volatile session both are thinned evenly.
A real feed has millions; these suffice to mark, trade and hedge."""
_WIDE_ROUND = 4.0
"""Multiple of the share's move at which the strikes further out are requoted."""
_EVE_INSTANTS = 3
"""Instants of the session before an ex-date at which early exercise is valued: until the last notice a third
of a session is a good part of what is left."""


def update_times(
    generator: np.random.Generator,
    open_ns: int,
    close_ns: int,
    mean_seconds: _Floats,
    strikes: _Floats,
    share_stamps_ns: Ints,
    share_mid_usd: _Floats,
    quote_seconds: float,
) -> tuple[Ints, Ints]:
    """Draw the instants at which strikes are requoted, in order.

    ``open_ns``, ``close_ns``: The session, UTC nanoseconds.
    ``mean_seconds``: Mean time between two quotes in a quiet market, for each row (an expiry and strike).
    ``strikes``: Strike of each row, currency per share.
    ``share_stamps_ns``, ``share_mid_usd``: The share's quotes.
    ``quote_seconds``: Factor by which all quotes are thinned.

    Returns UTC nanoseconds in whole milliseconds, and the quoted row. Every row has a quote in the first 20
    seconds and in the last 5, so that it always has a mark.
    """
    length = (close_ns - open_ns) / NANOS_PER_SECOND
    scale = length / _FULL_SESSION_SECONDS / quote_seconds
    round_at, round_row = _rounds(generator, strikes, share_stamps_ns, share_mid_usd, scale * MOST_ROUND_ROWS)
    left = max(scale * ALL_ROWS - 2.0 * len(round_row), 0.0)
    quiet_rows = min(left, scale * MOST_QUIET_ROWS)
    expected = length / mean_seconds
    counts = generator.poisson(expected * min(1.0 / quote_seconds, quiet_rows / (2.0 * expected.sum())))
    every = np.arange(len(strikes))
    row = np.repeat(every, counts)
    at = _active_time(generator.random(len(row))) * length
    first = 0.5 + 19.5 * generator.random(len(strikes))
    last = length - 0.01 - 4.9 * generator.random(len(strikes))
    seconds = np.concatenate((at, first, last))
    stamps = open_ns + (seconds * 1e3).astype(np.int64) * NANOS_PER_MS
    stamps, row = np.concatenate((stamps, round_at)), np.concatenate((row, every, every, round_row))
    keep = (stamps > open_ns + NANOS_PER_SECOND // 2) & (stamps < close_ns)
    stamps, row = stamps[keep], row[keep]
    # by time and row, one quote where both reasons fall in the same millisecond
    keys = np.sort((stamps - open_ns) // NANOS_PER_MS * len(strikes) + row)
    keys = keys[np.append(True, np.diff(keys) != 0)]
    return open_ns + keys // len(strikes) * NANOS_PER_MS, keys % len(strikes)


def _rounds(
    generator: np.random.Generator,
    strikes: _Floats,
    share_stamps_ns: Ints,
    share_mid_usd: _Floats,
    most_rows: float,
) -> tuple[Ints, Ints]:
    """Requote all strikes near the money each time the share has moved far enough since the last round."""
    reach = figures.ROUND_REACH_USD
    near = max(int(np.sum(np.abs(strikes - share_mid_usd[0]) <= reach)), 1)
    rows_a_round = 2.0 * (near + (len(strikes) - near) / _WIDE_ROUND**2)
    most_rounds = max(most_rows / rows_a_round, 1.0)
    threshold = figures.ROUND_LEAST_MOVE_USD
    while len(moments := moves(share_mid_usd, threshold)) > most_rounds:
        threshold *= max(1.05, float(np.sqrt(len(moments) / most_rounds)))
    wide = moves(share_mid_usd, _WIDE_ROUND * threshold)
    close_by, close_row = np.nonzero(np.abs(strikes[None, :] - share_mid_usd[moments][:, None]) <= reach)
    far_off, far_row = np.nonzero(np.abs(strikes[None, :] - share_mid_usd[wide][:, None]) > reach)
    moment = np.concatenate((moments[close_by], wide[far_off]))
    lag = generator.integers(20, 500, size=len(moment)) * NANOS_PER_MS
    stamps = share_stamps_ns[moment] // NANOS_PER_MS * NANOS_PER_MS + lag
    return stamps, np.concatenate((close_row, far_row))


def _active_time(uniform: _Floats) -> _Floats:
    """Elapsed share of the session at which the share ``uniform`` of the quiet updates has occurred.

    Half of the activity is uniform, half follows the U shape.
    """
    elapsed = np.linspace(0.0, 1.0, 401)
    return np.asarray(np.interp(uniform, 0.5 * elapsed + 0.5 * expected_clock(elapsed), elapsed))


def quiet_means(moneyness: _Floats, front: Sequence[bool]) -> _Floats:
    """Mean seconds between two quotes by moneyness in expected moves; ``front``: expiry in under 30 days."""
    base = np.where(np.array(front), figures.FRONT_UPDATE_SECONDS, figures.MONTHLY_UPDATE_SECONDS)
    slower = np.exp(np.minimum(figures.UPDATE_DECAY * moneyness**2, 9.0))
    return np.asarray(np.minimum(base * slower, figures.UPDATE_SLOWEST_SECONDS))


_MONDAY, _WEDNESDAY, _FRIDAY = 0, 2, 4
_MOST_CONTRACTS = 400
_SHORTEST_MONTHLY_DAYS, _LONGEST_MONTHLY_DAYS = 30, 90
_EXPECTED_MOVES = 2.5
_LEAST_HALF_WIDTH = 0.05
_DOLLAR_STEP_HALF_WIDTHS_USD = (15, 12, 10, 8, 6)
_FAR_STEP_USD = 5
_LEAST_OPEN_INTEREST, _NEAR_THE_MONEY_USD = 110, 3.0


@dataclass(frozen=True, slots=True)
class StrikePair:
    """Call and put of one strike and expiry, which are quoted together."""

    call: OptionContract
    put: OptionContract
    strike: float
    expiry: date


def listed_expiries(session: date) -> tuple[date, ...]:
    """Return the listed expiries on ``session``, nearest first.

    The session itself when it is a Monday, Wednesday or Friday expiry, the next two such weeklies, and
    every monthly (third Friday) 30 to 90 calendar days away. SPY's Wednesday weeklies began in August
    2016 and its Monday weeklies in February 2018: before that they are hypothetical, as a tape notes.
    """
    weeklies: list[date] = []
    ahead = session
    while len([day for day in weeklies if day > session]) < 2:
        found = _weekly_expiry(ahead)
        if found is not None and found >= session and found not in weeklies:
            weeklies.append(found)
        ahead += timedelta(days=1)
    monthlies = []
    for days in range(_SHORTEST_MONTHLY_DAYS - 1, _LONGEST_MONTHLY_DAYS + 2):
        day = session + timedelta(days=days)
        if day.weekday() == _FRIDAY and 15 <= day.day <= 21:
            expiry = day if is_session(day) else previous_session(day).day
            if _SHORTEST_MONTHLY_DAYS <= (expiry - session).days <= _LONGEST_MONTHLY_DAYS:
                monthlies.append(expiry)
    return tuple(sorted({*weeklies, *monthlies}))


def _weekly_expiry(day: date) -> date | None:
    """Return the weekly expiry for ``day``: off holidays, Mondays move on, Wednesdays and Fridays back."""
    if day.weekday() not in {_MONDAY, _WEDNESDAY, _FRIDAY}:
        return None
    if is_session(day):
        return day
    return next_session(day).day if day.weekday() == _MONDAY else previous_session(day).day


def checked_expiries(session: date, expiries: Sequence[date] | None) -> tuple[date, ...]:
    """Return the caller's expiries in order, or the listed expiries.

    Raises ArgumentError when one lies before the session, more than a year after it, or is no session.
    """
    if expiries is None:
        return listed_expiries(session)
    for day in expiries:
        if not session <= day <= session + timedelta(days=365) or not is_session(day):
            raise ArgumentError(
                "an expiry must be a session from the day itself to a year later",
                where="expiries",
                value=day.isoformat(),
                fix="leave expiries out for the listed expiries",
            )
    if not expiries:
        raise ArgumentError("a chain needs an expiry", where="expiries", value=[], fix="leave it out")
    return tuple(sorted(set(expiries)))


def build_pairs(
    underlying: str, session: date, expiries: tuple[date, ...], open_usd: float, money_variance_30d: float
) -> tuple[StrikePair, ...]:
    """Return the strikes: $1 apart near the money, $5 beyond, out to 2.5 expected moves.

    The range of $1 steps shrinks until there are at most 400 contracts.
    """
    listed = expiries_and_strikes(session, expiries, open_usd, money_variance_30d)
    return tuple(strike_pair(underlying, expiry, strike) for expiry, strike in listed)


def expiries_and_strikes(
    session: date, expiries: tuple[date, ...], open_usd: float, money_variance_30d: float
) -> list[tuple[date, int]]:
    """Return expiry and strike of every pair of :func:`build_pairs`, in its order."""
    listed: list[tuple[date, int]] = []
    for near in _DOLLAR_STEP_HALF_WIDTHS_USD:
        listed = []
        for expiry in expiries:
            move = _move_from_open(session, expiry, money_variance_30d)
            half_width = open_usd * max(_EXPECTED_MOVES * move, _LEAST_HALF_WIDTH)
            listed += [(expiry, strike) for strike in _strikes(open_usd, half_width, near)]
        if 2 * len(listed) <= _MOST_CONTRACTS:
            break
    return listed


@lru_cache(maxsize=2_048)
def strike_pair(underlying: str, expiry: date, strike: int) -> StrikePair:
    """Return call and put of a strike."""
    call, put = (us_option(occ_symbol(underlying, expiry, r, Decimal(strike)), [underlying]) for r in Right)
    return StrikePair(call, put, float(strike), expiry)


@lru_cache(maxsize=4096)
def _move_from_open(session: date, expiry: date, money_variance_30d: float) -> float:
    """Return the standard deviation of the log return from the open of ``session`` to ``expiry``."""
    years = variance_years(session, np.zeros(1), expiry, half_day=False)
    return float(np.sqrt(total_variance(np.array([money_variance_30d]), years))[0])


def _strikes(centre: float, half_width: float, near: int) -> list[int]:
    middle = round(centre)
    reach = round(half_width)
    close_by = set(range(middle - min(reach, near), middle + min(reach, near) + 1))
    far = {k for k in range(middle - reach, middle + reach + 1) if k % _FAR_STEP_USD == 0}
    return sorted(k for k in close_by | far if k > 0)


def open_interest(
    generator: np.random.Generator,
    pairs: Sequence[StrikePair],
    session: date,
    open_usd: float,
    money_variance_30d: float,
    shocks: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """Draw the open interest before the session, in contracts by symbol.

    ``shocks`` (standard normal, by symbol) stay with a contract for its life; without them they are drawn.

    Level by days to expiry and decay by moneyness as in
    :data:`~scalpdesk.datasets.embedded.days.OPEN_INTEREST_AT_THE_MONEY`; more at multiples of 5 and 10;
    above 100 within one expected move or three dollars of the money.
    """
    result: dict[str, int] = {}
    for pair in pairs:
        days = (pair.expiry - session).days
        level = next(value for limit, value in figures.OPEN_INTEREST_AT_THE_MONEY if days <= limit)
        move = _move_from_open(session, pair.expiry, money_variance_30d)
        y = float(np.log(pair.strike / open_usd)) / move
        near = abs(y) <= 1.0 or abs(pair.strike - open_usd) <= _NEAR_THE_MONEY_USD
        whole = round(pair.strike)
        round_number = 3.0 if whole % 10 == 0 else 1.8 if whole % 5 == 0 else 1.0
        for contract, out in ((pair.call, y), (pair.put, -y)):
            width = figures.OPEN_INTEREST_OUT if out >= 0 else figures.OPEN_INTEREST_IN
            draw = generator.standard_normal() if shocks is None else shocks[contract.symbol]
            noise = float(np.exp(figures.OPEN_INTEREST_LOG_SD * draw))
            count = level * round_number * float(np.exp(-(y**2) / width)) * noise
            result[contract.symbol] = max(int(count), _LEAST_OPEN_INTEREST if near else 0)
    return result


@dataclass(frozen=True, slots=True)
class SharePath:
    """Quotes of the share with the level of volatility, the input of the option quotes."""

    stamps_ns: NDArray[np.int64]
    mid_usd: _Floats
    money_variance_30d: _Floats
    vix: _Floats


@dataclass(frozen=True, slots=True)
class Carry:
    """Rate and next dividend of the share as of one session."""

    rate: float
    """Continuous, a fraction a year."""
    ex_date: date
    dividend_usd: float

    def american_prices(
        self, session: date, expiry: date, stamps_ns: Ints, spot: _Floats, strike: _Floats, theta: _Floats
    ) -> SmilePrices:
        """Return prices today: European on the forward, and the right to exercise early."""
        close_ns = session_on(expiry).close_ns
        years = (close_ns - stamps_ns) / _NANOS_PER_YEAR
        growth = np.exp(self.rate * years)
        paid, is_ahead = np.zeros(len(spot)), session < self.ex_date <= expiry
        if is_ahead:
            opens_ns = session_on(self.ex_date).open_ns
            paid = self.dividend_usd * np.exp(-self.rate * (opens_ns - stamps_ns) / _NANOS_PER_YEAR)
        forward = (spot - paid) * growth
        found = option_prices(forward, strike, theta)
        call, put = found.call / growth, found.put / growth
        if expiry > session:
            dividend = self.dividend_usd / float(np.mean(spot)) if is_ahead else 0.0
            is_eve = is_ahead and previous_session(self.ex_date).day == session
            for at_ns, share in _instants(stamps_ns, _EVE_INSTANTS if is_eve else 1):
                extra = exercise_premiums(
                    np.log(strike / spot),
                    found.deviation,
                    rate=self.rate,
                    years=(close_ns - at_ns) / _NANOS_PER_YEAR,
                    dividend=dividend,
                    years_to_ex=(opens_ns - at_ns) / _NANOS_PER_YEAR if is_ahead else 0.0,
                    years_to_notice=(last_notice_ns(opens_ns) - at_ns) / _NANOS_PER_YEAR if is_ahead else 0.0,
                )
                call, put = call + share * spot * extra[0], put + share * spot * extra[1]
        exercised = spot - strike
        return found._replace(call=np.maximum(call, exercised), put=np.maximum(put, -exercised))


def _instants(stamps_ns: Ints, count: int) -> list[tuple[float, _Floats]]:
    """Return instants of a session, and the part of each in what lies linearly between them at each stamp."""
    if count == 1 or len(stamps_ns) < count:
        return [(float(np.mean(stamps_ns)), np.ones(len(stamps_ns)))]
    at = np.linspace(float(stamps_ns.min()), float(stamps_ns.max()), count)
    return [
        (float(each), np.interp(stamps_ns, at, part)) for each, part in zip(at, np.eye(count), strict=True)
    ]


def option_quotes(
    generator: np.random.Generator,
    session: Session,
    pairs: Sequence[StrikePair],
    share: SharePath,
    first_instrument_id: int,
    quote_seconds: float,
    carry: Carry | None = None,
) -> QuoteColumns:
    """Draw the quotes of all pairs; pair i has ids ``first_instrument_id + 2·i`` (call) and one more (put).

    Call and put are quoted at the same instant from the same price of the share: their mids satisfy parity
    within the rounding to cents.
    """
    length = (session.close_ns - session.open_ns) // NANOS_PER_SECOND
    half_day = session.is_half_day
    strikes = np.array([pair.strike for pair in pairs])
    means = _quiet_means(session, pairs, share)
    stamps, row = update_times(
        generator,
        session.open_ns,
        session.close_ns,
        means,
        strikes,
        share.stamps_ns,
        share.mid_usd,
        quote_seconds,
    )
    at = (stamps - session.open_ns) / NANOS_PER_SECOND
    known = np.searchsorted(share.stamps_ns, stamps, side="right") - 1
    spot, variance, vix = share.mid_usd[known], share.money_variance_30d[known], share.vix[known]
    strike = strikes[row]
    theta, call, put, delta = (np.empty(len(at)) for _ in range(4))
    expiries = sorted({pair.expiry for pair in pairs})
    which = np.array([expiries.index(pair.expiry) for pair in pairs], dtype=np.int8)[row]
    for number, expiry in enumerate(expiries):
        of_expiry = np.flatnonzero(which == number)
        years = variance_years(session.day, at[of_expiry] / length, expiry, half_day=half_day)
        theta[of_expiry] = total_variance(variance[of_expiry], years)
        market = spot[of_expiry], strike[of_expiry], theta[of_expiry]
        if carry is None:
            prices = option_prices(*market)
        else:
            prices = carry.american_prices(session.day, expiry, stamps[of_expiry], *market)
        call[of_expiry], put[of_expiry], delta[of_expiry] = prices[:3]
    width = _SpreadTerms(vix, at, length)
    move_usd = spot * np.sqrt(theta)
    quotes: list[_Floats] = [np.empty(2 * len(at)) for _ in range(4)]
    for is_put, price, absolute_delta in ((0, call, delta), (1, put, 1.0 - delta)):
        intrinsic = np.maximum((spot - strike) * (1 - 2 * is_put), 0.0)
        spread = width.spread_usd(generator, price, intrinsic, move_usd)
        # rows are in order of time and pair, so that a put beside its call is in order of time and id
        for column, side in zip(quotes, _rounded(generator, price, spread, absolute_delta, vix), strict=True):
            column[is_put::2] = side
    ids = (first_instrument_id + 2 * row).astype(np.int32)
    return QuoteColumns(np.repeat(stamps, 2), np.column_stack((ids, ids + 1)).ravel(), *quotes)


def _quiet_means(session: Session, pairs: Sequence[StrikePair], share: SharePath) -> _Floats:
    """Mean seconds between two quotes of each pair, from its moneyness at the open."""
    scaled = []
    moves: dict[date, float] = {}
    for pair in pairs:
        if pair.expiry not in moves:
            years = variance_years(session.day, np.zeros(1), pair.expiry, half_day=session.is_half_day)
            moves[pair.expiry] = float(np.sqrt(total_variance(share.money_variance_30d[:1], years))[0])
        scaled.append(float(np.log(pair.strike / share.mid_usd[0])) / moves[pair.expiry])
    front = [(pair.expiry - session.day).days < _SHORTEST_MONTHLY_DAYS for pair in pairs]
    return quiet_means(np.array(scaled), front)


class _SpreadTerms:
    """Terms that the spreads of calls and puts share: VIX and time of day."""

    def __init__(self, vix: _Floats, at: _Floats, length: float) -> None:
        minutes = at / 60.0
        opening = figures.SPREAD_OPEN_EXTRA * np.exp(-minutes / figures.SPREAD_OPEN_DECAY_MINUTES)
        closing = figures.SPREAD_CLOSE_EXTRA * (minutes > length / 60.0 - figures.SPREAD_CLOSE_MINUTES)
        self._by_time = 1.0 + opening + closing
        self._per_premium = (
            figures.SPREAD_PER_PREMIUM * (vix / figures.SPREAD_REFERENCE_VIX) ** figures.SPREAD_VIX_POWER
        )

    def spread_usd(
        self, generator: np.random.Generator, price: _Floats, intrinsic: _Floats, move_usd: _Floats
    ) -> _Floats:
        """Draw full spreads in currency per share, wider by time value and depth in the money."""
        deep = np.maximum(intrinsic - 0.5 * move_usd, 0.0)
        wobble = np.exp(figures.SPREAD_LOG_SD * generator.standard_normal(len(price)))
        beyond_a_cent = self._per_premium * (price - intrinsic) + figures.SPREAD_PER_INTRINSIC * deep
        return np.asarray(figures.SPREAD_TICK_USD + beyond_a_cent * self._by_time * wobble)


def _rounded(
    generator: np.random.Generator, price: _Floats, spread: _Floats, absolute_delta: _Floats, vix: _Floats
) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Bid, ask and sizes on the cent grid around ``price``; without a bid that is 0 with size 0."""
    cents = price * 100.0
    half = np.maximum(50.0 * spread - 0.5, 0.0)
    bid_cents = np.floor(cents - half)
    ask_cents = np.floor(cents + half) + 1.0
    stress = vix / figures.SPREAD_REFERENCE_VIX
    median = figures.SIZE_AT_DELTA_20 * 10.0 ** (figures.SIZE_LOG10_SLOPE * (absolute_delta - 0.2)) / stress
    bid_size, ask_size = (
        np.maximum(np.rint(median * np.exp(figures.SIZE_LOG_SD * generator.standard_normal(len(price)))), 1.0)
        for _ in range(2)
    )
    no_bid = bid_cents < 1.0
    bid = np.where(no_bid, 0.0, bid_cents / 100.0)
    return bid, np.maximum(ask_cents, 1.0) / 100.0, np.where(no_bid, 0.0, bid_size), ask_size
