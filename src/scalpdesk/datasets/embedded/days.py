"""Data behind the embedded market: index prices and VIX by day, 2014 to 2018, and measured constants.

The series are files of the installed ``arch`` package. They are read as text: importing ``arch`` takes
seconds because it brings pandas and statsmodels.

Each constant states the data it was measured on. The recorded days are those of LEAN's sample data
(Apache-2.0): SPY seconds of 2013-10-07..11, GOOG options of 2015-12-23 and -24, SPXW options of
2021-01-04..08, SPY options of 2023-08-03; and end-of-day SPY chains of 2026-08-13..19 for open interest.
``docs/evidence/embedded-market.md`` compares them with the reconstruction.
"""

import csv
import gzip
import io
import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.instruments.sessions import why_closed

_FIRST_YEAR, _LAST_YEAR = 2014, 2018


@dataclass(frozen=True, slots=True)
class _IndexShare:
    """A share of the embedded market: a fixed part of an index whose daily prices are packaged."""

    symbol: str
    series: str
    """Name of the index in ``arch.data``."""
    points_per_dollar: int
    vix_multiple: float
    """Its implied volatility over the VIX."""
    daily_shares: float
    """Median daily volume, scaled by the index volume of the day."""
    index_volume_median: float
    """Median of the series in 2014-2018, shares."""


@dataclass(frozen=True, slots=True)
class MarketDay:
    """Recorded figures of an index on one day."""

    day: date
    open: float
    high: float
    low: float
    close: float
    """Index points."""
    volume: float
    """Shares of the index members traded."""
    vix: float
    """Closing level of the VIX in points, times the share's multiple."""
    previous_close: float
    previous_vix: float
    """Levels at the previous close; the day's own VIX on 2014-01-03, where the series begins."""
    share: _IndexShare

    @property
    def garman_klass_variance(self) -> float:
        """Variance of the session's log return after Garman and Klass (1980), from the four prices.

        ½·ln(H/L)² − (2·ln 2 − 1)·ln(C/O)²; an estimate for the open to the close, not annualised.
        """
        span, move = math.log(self.high / self.low), math.log(self.close / self.open)
        return 0.5 * span**2 - (2.0 * math.log(2.0) - 1.0) * move**2


def available_sessions() -> tuple[date, ...]:
    """Return every session that can be reconstructed, in order (2014-01-03 to 2018-12-31)."""
    return tuple(_days())


def index_share(symbol: str) -> _IndexShare:
    """Return a share of the embedded market. Raises ArgumentError when it has no such share."""
    found = SHARES.get(symbol)
    if found is not None:
        return found
    raise ArgumentError(
        "the embedded market knows two shares: a tenth of the S&P 500 and a fortieth of the NASDAQ Composite",
        where="underlying",
        value=symbol,
        nearest=" or ".join(SHARES),
        fix="use one of them, or import recorded data",
    )


def market_day(session: date, symbol: str = "SPY") -> MarketDay:
    """Return the recorded figures of ``session`` for a share's index.

    Raises DataError when the embedded market has no such day; names its range and the nearest sessions.
    """
    days = _days(symbol)
    found = days.get(session)
    if found is not None:
        return found
    known = tuple(days)
    place = bisect_left(known, session)
    around = [known[i].isoformat() for i in (place - 1, place) if 0 <= i < len(known)]
    closed = why_closed(session) if known[0] <= session <= known[-1] else None
    held = f"the embedded market holds {len(known)} sessions, {known[0]} to {known[-1]}"
    raise DataError(
        f"this day is {closed}, the exchange is closed; {held}" if closed else f"{held}, and not this day",
        where="session",
        value=session.isoformat(),
        nearest=" or ".join(around),
        fix=f"choose {around[-1]}, or import recorded data for the day you want",
    )


@lru_cache(maxsize=2)
def _days(symbol: str = "SPY") -> dict[date, MarketDay]:
    """Read the share's index and the VIX once (about 10 ms)."""
    share = index_share(symbol)
    vix = {
        us_date(row[0]): float(row[1]) * share.vix_multiple
        for row in index_rows("vix")
        if row[1] not in {"", "."}
    }
    days: dict[date, MarketDay] = {}
    previous_close, previous_vix = math.nan, math.nan
    for row in index_rows(share.series):
        day = us_date(row[0])
        if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            continue
        opened, high, low, close = (float(text) for text in row[1:5])
        level = vix.get(day)
        if level is not None:
            days[day] = MarketDay(
                day, opened, high, low, close, float(row[6]), level,
                previous_close=opened if math.isnan(previous_close) else previous_close,
                previous_vix=level if math.isnan(previous_vix) else previous_vix,
                share=share,
            )  # fmt: skip
            previous_vix = level
        previous_close = close
    return days


def us_date(text: str) -> date:
    """Read a date written month/day/year."""
    month, day, year = text.split("/")
    return date(int(year), int(month), int(day))


def index_rows(name: str) -> list[list[str]]:
    """Return the rows of ``arch/data/<name>/<name>.csv.gz`` without the header."""
    spec = find_spec("arch")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        path = Path(place) / "data" / name / f"{name}.csv.gz"
        if path.is_file():
            text = gzip.decompress(path.read_bytes()).decode("ascii")
            return list(csv.reader(io.StringIO(text)))[1:]
    raise DataError(
        "the daily figures under the embedded market are not installed",
        where=f"arch/data/{name}/{name}.csv.gz",
        fix="pip install 'arch>=7.0'",
    )


# The path -----------------------------------------------------------------------------------------
U_SHAPE_FLOOR, U_SHAPE_OPEN, U_SHAPE_OPEN_DECAY, U_SHAPE_CLOSE, U_SHAPE_CLOSE_DECAY = (
    0.55,
    1.35,
    0.17,
    0.9,
    0.06,
)
"""Share of the session's variance by its elapsed share x: floor + open·exp(−x/decay) +
close·exp(−(1−x)/decay), smoothed from SPY 1-minute mid returns of the five sessions 2013-10-07..11 (by half
hours 0.135, 0.107, 0.087, 0.082, 0.086, … 0.048, 0.069, 0.110)."""

VOLATILITY_WAVE_SD = 0.38
VOLATILITY_WAVE_HALF_LIFE_MINUTES = 20.0
VOLATILITY_MINUTE_SD = 0.42
"""Log-variance of a minute: a slow wave and an independent shock. Together they give minute
returns a kurtosis of 3·exp(0.38² + 0.42²) = 4.1 about the U shape; SPY 2013-10-07..11 shows 3.9 about it
and 4.2 (3.6 to 4.5 by day) with it, and autocorrelation of absolute returns of 0.05 to 0.2."""

QUOTE_STICKINESS_CENTS = 0.35
"""Distance of the value from the displayed cent at which the quote follows. With it the SPY mid changes
in about 0.2 to 0.35 of all seconds, as recorded 2013-10-07..11 (0.18 to 0.34), and second-by-second
variance is about that of minutes (recorded 1.03 to 1.19 of it), not the 1.4 times of plain rounding."""

# The share's quotes and prints ----------------------------------------------------------------------
UNDERLYING_QUOTE_PROBABILITY = 0.97
"""Share of seconds with a quote row: 22160 to 23128 of 23400, SPY 2013-10-07..11."""
UNDERLYING_TRADE_PROBABILITY = 0.74
"""Share of seconds with a print: 14432 to 19516 of 23400, the same sessions."""
UNDERLYING_SIZE_MEDIAN_SHARES = 5300.0
UNDERLYING_SIZE_LOG_SD = 0.8
"""Displayed size on SPY 2013-10-07..11: medians by day 4000 to 6700 shares; quartiles 3300 and 9200 on
2013-10-07."""
UNDERLYING_SIZE_PERSISTENCE = 0.9
"""Autocorrelation of the log size from one second to the next: assumed."""
VOLUME_LOG_SD = 0.65
VOLUME_PERSISTENCE = 0.85
VOLUME_LASTING_PART = 0.41
VOLUME_MOVE_CORRELATION = 0.25
"""A minute's log volume about that of its time of day: an ARMA(1,1) of 0.85 and -0.61, which is a level and
shocks of a minute that are 0.59 of its variance, and its correlation with the size of the minute's move: SPY
2013-10-04..11 (autocorrelation 0.36, 0.31, 0.26). By the deviation 19 % of minutes exceed 1.5 times the mean
of the 20 before: 19 to 24 % on those days, 14 to 19 % on others that are recorded."""

# The shares -----------------------------------------------------------------------------------------
NASDAQ_VIX_MULTIPLE = 1.2
"""Deviation of daily log returns of the NASDAQ Composite over that of the S&P 500, 2014-2018: 1.202 (by year
1.09 to 1.44). Its options are quoted at as much of the VIX, as if both variance premiums were alike."""
NASDAQ_CORRELATION = 0.944
"""Correlation of the two indices' daily log returns 2014-2018 (by year 0.88 to 0.96). The minutes
have it too: no minutes of the second index are at hand."""
SHARES = {
    # median daily SPY volume 2014-2018: LEAN daily history
    "SPY": _IndexShare("SPY", "sp500", 10, 1.0, 76_000_000.0, 3.45e9),
    # that QQQ trades a third of SPY's shares is assumed; 1/40 brings it near the fund's price of those years
    "QQQ": _IndexShare("QQQ", "nasdaq", 40, NASDAQ_VIX_MULTIPLE, 25_000_000.0, 1.92e9),
}

# Implied volatility -----------------------------------------------------------------------------------
VIX_SPOT_BETA = 8.0
"""Fall of log VIX per unit of log return: regression of daily changes 2014-2018 gives 8.04 with a
correlation of -0.82 and a residual of 0.047 a day (arch.data, 1257 sessions)."""
VIX_NOISE_SHARE = 0.6
"""Independent movement of log VIX within a session over that explained by the share. In the daily changes it
is 0.70 (a correlation of -0.82), part of which is in the day's level."""
OVERNIGHT_VARIANCE_SHARE = 0.30
"""Share of a day's variance that falls outside the session: SPY open against previous close 2014-2018
gives 0.35; the clock of the options uses a little less, because part of it happens in the first minutes."""
HALF_DAY_VARIANCE_WEIGHT = 0.6
"""Variance of a half session against a full one: 3.5 of 6.5 hours, with the volatile open: assumed."""
SMILE_RHO, SMILE_ETA = -0.5, 1.13
"""SSVI smile with φ = η/√θ (Gatheral and Jacquier 2014), fitted to the SPY chains of 2026-08-12..18 with 28
to 65 days to go: ρ −0.44 to −0.53, η 1.08 to 1.18, with an error of 0.4 volatility points (shorter expiries
are flatter there: ρ −0.2 to −0.4). η²(1+|ρ|) = 1.9 ≤ 4: no butterfly arbitrage."""
VARIANCE_REVERSION_PER_YEAR = 12.0
VARIANCE_LONG_RUN, VARIANCE_LONG_RUN_CAP = 0.155**2, 1.6
"""At-the-money variance reverts to this level, or to 1.6 times the 30-day variance where that is less: the
curve falls at a high VIX and rises at a low one. At VIX 14 the volatility for 7 days is 0.87 of that for
30, and that for 60 days 1.09; the same SPY chains show 0.70 to 0.75 and 1.13 to 1.15 (calendar time)."""

# Option quotes ------------------------------------------------------------------------------------------
SPREAD_TICK_USD = 0.01
SPREAD_PER_PREMIUM = 0.004
SPREAD_REFERENCE_VIX = 16.0
SPREAD_VIX_POWER = 1.7
"""Spread = 1 cent + 0.004·(VIX/16)^1.7·time value + 0.035·intrinsic beyond half an expected move. SPY
2023-08-03 at VIX 16: 0.01 at premium 0.66 and 1.95, 0.46 and 0.65 at intrinsic 20. SPXW 2021-01-04 at VIX
27, divided by ten: 0.03 to 0.05 at premium 0.5 to 4.5, 0.10 to 0.25 at intrinsic 10."""
SPREAD_PER_INTRINSIC = 0.035
SPREAD_OPEN_EXTRA, SPREAD_OPEN_DECAY_MINUTES = 0.8, 15.0
"""Wider at the open: first five minutes against mid-session 1.7 (SPY 2023-08-03, 430 call), 1.5 (SPXW
2021-01, 3700), 1.9 (GOOG 2015-12-24, 2016-01-15 expiry); 1.1 to 1.3 after half an hour to an hour."""
SPREAD_CLOSE_EXTRA, SPREAD_CLOSE_MINUTES = 0.2, 5.0
"""In the last five minutes: 1.2 to 1.4 on SPXW, 1.1 on SPY OTM."""
SPREAD_LOG_SD = 0.15
SIZE_AT_DELTA_20, SIZE_LOG10_SLOPE, SIZE_LOG_SD = 900.0, -1.4, 0.6
"""Displayed contracts: 750 to 1150 at |delta| 0.2 and 100 to 150 at 0.85 (SPY 2023-08-03); log-linear
between. Divided by VIX/16: SPXW at VIX 27 shows 11 to 44 at the money, GOOG 20 to 30."""
FRONT_UPDATE_SECONDS, MONTHLY_UPDATE_SECONDS = 8.0, 12.0
UPDATE_DECAY, UPDATE_SLOWEST_SECONDS = 0.3, 120.0
"""Mean time between two quotes at the money, growing by exp(0.3·y²) with y the moneyness in expected
moves. Minutes with a quote on GOOG 2015-12-24 (22 days): 0.99 at the money, 0.83 at 1.6, 0.73 at 2.0, 0.38
at 2.3 and 0.25 beyond: a mean time of at most 14 s, 33 s, 46 s and 120 to 200 s. SPY is quicker: quotes in
390 of 390 minutes on 2023-08-03; that it is about twice as quick as GOOG is assumed."""

ROUND_REACH_USD, ROUND_LEAST_MOVE_USD = 8.0, 0.02
"""Strikes within 8 dollars are requoted when the share has moved 2 cents (0.5 to 1.5 cents of an option) or,
in volatile sessions, more, as the limit of rows requires: assumed."""

# Open interest --------------------------------------------------------------------------------------------
OPEN_INTEREST_AT_THE_MONEY = ((2, 5600.0), (10, 960.0), (30, 600.0), (400, 380.0))
"""Median contracts per $1 strike at the money by calendar days up to the first figure: SPY chains of
2026-08-13..19."""
OPEN_INTEREST_OUT, OPEN_INTEREST_IN = 8.0, 1.0
"""Decay exp(−y²/width): the same chains show 0.2 to 1 of it at three expected moves out of the money and
0.01 to 0.3 at one in it."""
OPEN_INTEREST_LOG_SD = 0.5

# Rates and dividends (sessions in sequence; a lone session has neither) ----------------------------------
FED_TARGET_PERCENT = (
    (date(2008, 12, 16), 0.00, 0.25),
    (date(2015, 12, 17), 0.25, 0.50),
    (date(2016, 12, 15), 0.50, 0.75),
    (date(2017, 3, 16), 0.75, 1.00),
    (date(2017, 6, 15), 1.00, 1.25),
    (date(2017, 12, 14), 1.25, 1.50),
    (date(2018, 3, 22), 1.50, 1.75),
    (date(2018, 6, 14), 1.75, 2.00),
    (date(2018, 9, 27), 2.00, 2.25),
    (date(2018, 12, 20), 2.25, 2.50),
)
"""Target range of the federal funds rate from the day on which it is in force: Board of Governors of the
Federal Reserve System, "Open Market Operations". The rate of a session is the middle of its range."""

SPY_DIVIDENDS_USD = (
    (date(2013, 12, 20), 0.98),
    (date(2014, 3, 21), 0.825),
    (date(2014, 6, 20), 0.937),
    (date(2014, 9, 19), 0.939),
    (date(2014, 12, 19), 1.135),
    (date(2015, 3, 20), 0.931),
    (date(2015, 6, 19), 1.030),
    (date(2015, 9, 18), 1.033),
    (date(2015, 12, 18), 1.212),
    (date(2016, 3, 18), 1.050),
    (date(2016, 6, 17), 1.078),
    (date(2016, 9, 16), 1.082),
    (date(2016, 12, 16), 1.329),
    (date(2017, 3, 17), 1.033),
    (date(2017, 6, 16), 1.183),
    (date(2017, 9, 15), 1.235),
    (date(2017, 12, 15), 1.351),
    (date(2018, 3, 16), 1.097),
    (date(2018, 6, 15), 1.246),
    (date(2018, 9, 21), 1.323),
    (date(2018, 12, 21), 1.435),
    (date(2019, 3, 15), 1.233),
)
"""Ex-date and dollars a share, to a tenth of a cent: State Street, SPDR S&P 500 ETF Trust distribution
history."""


def rate_on(session: date) -> float:
    """Return the continuous short rate of a session, a fraction a year (:data:`FED_TARGET_PERCENT`)."""
    low, high = next((low, high) for since, low, high in reversed(FED_TARGET_PERCENT) if since <= session)
    return math.log1p((low + high) / 200.0)


def dividends_around(session: date) -> tuple[tuple[date, float], tuple[date, float]]:
    """Return ex-date and amount of the last dividend up to ``session`` and of the next one after it."""
    ahead = next(place for place, (ex_date, _) in enumerate(SPY_DIVIDENDS_USD) if ex_date > session)
    return SPY_DIVIDENDS_USD[ahead - 1], SPY_DIVIDENDS_USD[ahead]


def accrued_cents(session: date, symbol: str = "SPY") -> int:
    """Return the part of the next dividend that the share holds, in whole cents; QQQ pays no dividend here.

    The trust keeps what its shares pay until the ex-date: the share is a tenth of the index and this, by
    calendar days, and falls by all of it when it goes ex. That it accrues evenly is assumed.
    """
    if symbol != "SPY":
        return 0
    (last, _), (coming, amount) = dividends_around(session)
    return round(100.0 * amount * (session - last).days / (coming - last).days)
