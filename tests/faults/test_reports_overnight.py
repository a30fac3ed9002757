"""Reports of other programs on nights, expiries, assignments, forecasts and daily bars: what this desk does.

The log is docs/evidence/faults.md. Each right value is worked out here by other means than the desk's.
"""

import math
from datetime import date, time
from decimal import Decimal

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAY_SECONDS, MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.datasets.daily_checks import bar_day, sound_bars
from scalpdesk.datasets.daily_history import packaged_history
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.classes import trading_hours, us_option
from scalpdesk.instruments.contract import Equity, Index, Instruments
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF, exit_deadline_ns, order_cutoff_ns
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    globex_session,
    next_session,
    session_on,
    to_new_york,
)
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.pricing import greeks
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.simulation.expiry import liquidation_ns
from scalpdesk.simulation.option_values import quoted_vol
from scalpdesk.volatility import forecast_vol, realized_vol
from scalpdesk_testing.kit.broker import Market
from scalpdesk_testing.kit.tape import quote

D = Decimal
SHARE, FIRST, SECOND = 0, 1, 2
DAY_NS = DAY_SECONDS * NANOS_PER_SECOND


def book(under, *symbols):
    made = Instruments([under])
    for symbol in symbols:
        made.add(us_option(symbol, [under.symbol]))
    return made


def black_scholes_call(spot, strike, years, vol):
    spread = vol * math.sqrt(years)
    above = math.log(spot / strike) / spread + 0.5 * spread
    return spot * norm.cdf(above) - strike * norm.cdf(above - spread)


# overnight volatility -------------------------------------------------------------------------------


def test_the_weights_of_nights_and_days_are_yang_and_zhangs():
    """jasonstrimpel/volatility-trading#16 (1 for 1.34), emerzon/mt-data-mcp#2 (night and day exchanged)."""
    steps = np.random.default_rng(3).standard_normal((31, 4))
    nights, days = 0.012 * steps[:, 0], 0.008 * steps[:, 1]
    up, down = 0.004 * np.abs(steps[:, 2:]).T
    opens = 100.0 * np.exp(np.cumsum(nights + np.r_[0.0, days[:-1]]))
    closes = opens * np.exp(days)
    highs, lows = np.maximum(opens, closes) * np.exp(up), np.minimum(opens, closes) * np.exp(-down)
    high, low = np.log(highs / opens)[1:], np.log(lows / opens)[1:]
    ranges = np.mean(high * (high - days[1:]) + low * (low - days[1:]))

    def by_hand(night, day, added):
        part = 0.34 / (added + 31 / 29)
        return math.sqrt(252 * (night.var(ddof=1) + part * day.var(ddof=1) + (1 - part) * ranges))

    found = realized_vol({"open": opens, "high": highs, "low": lows, "close": closes}, "yang_zhang", 30).vol
    right = by_hand(nights[1:], days[1:], 1.34)
    assert found == pytest.approx(right, rel=1e-12)
    assert abs(by_hand(nights[1:], days[1:], 1.0) - right) > 1e-4
    assert abs(by_hand(days[1:], nights[1:], 1.34) - right) > 1e-2


@pytest.mark.rows(
    ("report", "days"),
    [
        ("nautechsystems/nautilus_trader#3581", 17.0),  # held to one day: .326 · √17
        ("nautechsystems/nautilus_trader#3581", 30.0),
        ("OpenBB-finance/OpenBB#3660", 3.27),  # the whole days were lost
        ("OpenBB-finance/OpenBB#3660", 0.27),
    ],
)
def test_implied_volatility_has_all_the_time_to_the_expiry(report, days):
    option = us_option("AAPL240419C00150000", ["AAPL"])
    at_ns = expiry_instant_ns(option) - round(days * DAY_NS)
    price = black_scholes_call(150.0, 150.0, days / 365.0, 0.326)
    found = quoted_vol(
        option, quote(FIRST, at_ns, price - 0.01, price + 0.01), quote(SHARE, at_ns, 149.99, 150.01)
    )
    assert found == pytest.approx(0.326, abs=1e-6), report


# spreads and single options at their end ------------------------------------------------------------


@pytest.mark.rows(
    ("report", "under", "held", "level", "cash", "left", "after"),
    [
        # 10,000 and less than either strike's value: both legs end, (4485 − 4490) · 100
        (
            "QuantConnect/Lean#8152",
            Index("SPX"),
            {"SPXW220124P04490000": -1, "SPXW220124P04485000": 1},
            4410.13,
            10_000,
            {},
            9_500,
        ),
        # 3.00 received, 100 shares taken at 100: 300 of the option, −500 of the shares
        (
            "nautechsystems/nautilus_trader#3948",
            Equity("SPY"),
            {"SPY240304P00100000": -1},
            95.0,
            100_300,
            {SHARE: 100},
            90_300,
        ),
        (
            "Lumiwealth/lumibot#149",
            Equity("SPY"),
            {"SPY210929C00430000": 1},
            434.45,
            50_000,
            {SHARE: 100},
            7_000,
        ),
    ],
)
def test_options_end_at_their_close_whole_and_at_the_strike(report, under, held, level, cash, left, after):
    contracts = book(under, *held)
    positions = {number: (units, D(3)) for number, units in enumerate(held.values(), 1)}
    end_ns = expiry_instant_ns(contracts[FIRST])
    day = to_new_york(end_ns).date()
    market = Market(contracts, positions, cash=cash, opens_ns=session_on(day).open_ns)
    market.quote(SHARE, session_on(day).open_ns, level - 0.01, level + 0.01)
    market.broker.advance(end_ns)
    assert (market.units(), market.bookings()) == (dict(enumerate(held.values(), 1)), []), report
    market.quote(SHARE, end_ns, level - 0.01, level + 0.01)
    market.broker.advance(end_ns + 1)
    market.broker.advance(cleared_ns(end_ns))
    assert (market.units(), market.account.cash) == (left, after), report


def test_a_spread_is_left_before_a_venue_takes_its_legs_one_by_one():
    """alpacahq/alpaca-py#774: at 15:30:34 of the last day the short leg alone was bought back."""
    short, long = (us_option(f"WMT260828C{strike:05}000", ["WMT"]) for strike in (103, 104))
    close_ns = session_on(date(2026, 8, 28)).close_ns
    exit_ns = exit_deadline_ns(close_ns, cutoff_minutes=ALPACA_CUTOFF.of("WMT"))
    assert to_new_york(exit_ns).time() == time(15, 10)
    assert exit_ns < order_cutoff_ns(short, ALPACA_CUTOFF) < liquidation_ns(short) == liquidation_ns(long)
    assert liquidation_ns(short) - exit_ns == 20 * MINUTE_NS


# assignment and early exercise ----------------------------------------------------------------------


@pytest.mark.rows(("dividend", "put", "assigned"), [("1.75", 0.10, 1), ("1.75", 2.0, 0), ("0", 0.10, 0)])
def test_a_sold_call_is_assigned_where_its_dividend_is_above_the_put(dividend, put, assigned):
    """QuantConnect/Lean#6938: assignment knew nothing of the dividend of the next day."""
    symbols = "SPY240419C00450000", "SPY240419P00450000"
    session = session_on(date(2024, 3, 4))
    holders = {"assignment": AssignmentTerms()}
    market = Market(book(Equity("SPY"), *symbols), {FIRST: -1}, opens_ns=session.open_ns, broker=holders)
    morning = next_session(session.day)
    if D(dividend):
        market.broker.actions.schedule = (CashDividend("SPY", morning.day, D(dividend)),)
    for number, mid in ((SHARE, 500.0), (FIRST, 50.0 + put), (SECOND, put)):
        market.quote(number, session.close_ns - 1, mid - 0.01, mid + 0.01)
    market.broker.close_session(session.close_ns)
    assert market.units() == {FIRST: -1}
    market.broker.open_session(morning.open_ns, morning.close_ns)
    told = [each for each in market.bookings() if each.cause == "assignment"]
    assert sum(each.quantity_change for each in told) == assigned
    assert all(session.close_ns < each.ts_recv_ns < morning.open_ns for each in told)


def test_an_american_call_is_exercised_before_a_dividend_of_its_last_day():
    """amaggiulli/QLNet#211: 97.057 where QuantLib has 124.308; 40 are paid a day before the end.

    Without interest the one evening to exercise on is the last before the dividend.
    """
    years, last, vol = 27 / 365, 1 / 365, 0.2

    def on_the_evening(shock):
        spot = 2900.0 * math.exp(vol * math.sqrt(years) * shock - 0.5 * vol**2 * years)
        return norm.pdf(shock) * max(spot - 2800.0, black_scholes_call(spot - 40.0, 2800.0, last, vol))

    right = quad(on_the_evening, -8.0, 8.0, limit=400)[0]
    found = greeks(
        2900.0,
        2800.0,
        years + last,
        vol,
        rate=0.0,
        dividends=[(years, 40.0)],
        is_call=True,
        style="american",
        model="spot",
    ).price
    assert found == pytest.approx(right, abs=1e-3)
    assert right == pytest.approx(124.303, abs=1e-3)


# forecasts ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history():
    return packaged_history("sp500").before(date(2016, 6, 1), 1000)


def test_a_garch_forecast_goes_to_the_long_run_not_to_zero(history):
    """RJT1990/pyflux#56: its forecasts fell to zero. The other calculation is arch's own."""
    from arch import arch_model

    returns = 100.0 * np.diff(np.log(history.bars["close"]))
    model = arch_model(returns, mean="Constant", vol="GARCH", p=1, q=1, dist="normal", rescale=False)
    variances = model.fit(disp="off").forecast(horizon=252, reindex=False).variance.to_numpy()[0]
    for horizon in (1, 5, 63, 252):
        right = math.sqrt(252 * variances[:horizon].mean()) / 100.0
        assert forecast_vol(history.bars, "garch", horizon).vol == pytest.approx(right, rel=1e-4)


@pytest.mark.rows("model", ("garch", "gjr", "egarch", "har"))
def test_a_forecast_does_not_depend_on_the_unit_of_the_price(model, history):
    """bashtage/arch#632: fitted on rescaled data, forecasts were of another variance than those without."""
    forecasts = [
        forecast_vol({name: np.array(column) * unit for name, column in history.bars.items()}, model, 5).vol
        for unit in (1.0, 0.01, 100.0)
    ]
    assert forecasts == pytest.approx([forecasts[0]] * 3, rel=1e-9)


# daily bars -----------------------------------------------------------------------------------------


def sound(symbol, *rows):
    """Check bars of date, open, high, low and close; of a date and a close where there are two."""
    days = [date.fromisoformat(row[0]) for row in rows]
    prices = np.array([row[1:] * 4 if len(row) == 2 else row[1:] for row in rows]).T
    bars = dict(zip(("open", "high", "low", "close"), prices, strict=True))
    return sound_bars(symbol, "daily.csv", days, bars, trades_daily=False)


def test_equal_prices_of_several_days_are_several_days():
    """ranaroussi/yfinance#793: 2 and 8 July were dropped, as a fund's price had been the same before."""
    closes = 60.52, 60.40, 60.19, 60.52, 60.10, 60.30, 60.19, 60.80
    days = "06-29", "06-30", "07-01", "07-02", "07-06", "07-07", "07-08", "07-09"
    made = sound("APHMX", *((f"2021-{day}", close) for day, close in zip(days, closes, strict=True)))
    assert (made.bars["close"], made.notes) == (list(closes), ())


def test_two_rows_of_a_day_that_differ_are_named_by_what_differs():
    """pydata/pandas-datareader#610: Friday came twice, with another high and low and the same close."""
    with pytest.raises(DataError) as refused:
        sound(
            "AMZN",
            ("2019-01-25", 1670.5, 1683.449951, 1662.0, 1670.569946),
            ("2019-01-25", 1670.5, 1683.47998, 1661.609985, 1670.569946),
        )
    assert [text in str(refused.value.value) for text in ("2019-01-25", "1683.45", "1683.48")] == [True] * 3


def test_prices_that_lost_their_split_are_refused_on_its_day():
    """JECSand/yahoofinancials#103: AAPL as it traded to 14 February 2020, a quarter of it from the 18th."""
    closes = ("02-12", 327.2), ("02-13", 324.87), ("02-14", 324.95), ("02-18", 79.75), ("02-19", 80.905)
    with pytest.raises(DataError) as refused:
        sound("AAPL", *((f"2020-{day}", close) for day, close in closes))
    assert (refused.value.value, "by 4" in refused.value.fix) == ("2020-02-18", True)


GME = (
    ("2021-01-19", 41.55, 45.52, 36.64, 39.36),
    ("2021-01-20", 37.37, 41.19, 36.06, 39.12),
    ("2021-01-21", 39.23, 44.75, 37.0, 43.03),
    ("2021-01-22", 42.59, 76.76, 42.32, 65.01),
    ("2021-01-25", 96.73, 159.18, 61.13, 76.79),
    ("2021-01-26", 88.56, 150.0, 80.2, 147.98),
    ("2021-01-27", 354.83, 380.0, 249.0, 347.51),
    ("2021-01-28", 265.0, 483.0, 112.25, 193.6),
    ("2021-01-29", 379.71, 413.98, 250.0, 325.0),
    ("2021-02-01", 316.56, 322.0, 212.0, 225.0),
)


def test_a_night_among_days_as_wild_is_no_split():
    """ranaroussi/yfinance#2660: a split was seen in GME, which opened at 379.71 after 193.60."""
    made = sound("GME", *GME)
    assert (made.bars["close"], made.notes) == ([row[4] for row in GME], ())


@pytest.mark.rows(
    "text",
    (
        "2021-07-01 00:00:00+02:00",
        "2021-07-01T04:00:00Z",
        "2021-07-01T20:00:00Z",
        "2021-07-01 16:00:00-04:00",
    ),
)
def test_a_bar_of_midnight_is_of_its_own_day(text):
    """pbrissaud/suivi-bourse#1013: a midnight of Paris was read in UTC, a day early."""
    assert bar_day(text) == date(2021, 7, 1)


@pytest.mark.rows(
    ("report", "day", "closes"),
    [
        ("rsheftel/pandas_market_calendars#400", date(2025, 7, 3), time(13, 15)),
        ("rsheftel/pandas_market_calendars#244", date(2023, 4, 7), time(9, 15)),
    ],
)
def test_index_futures_end_early_where_cme_says_so(report, day, closes):
    assert to_new_york(globex_session(day).close_ns).time() == closes, report


@pytest.mark.rows("day", (date(2017, 7, 3), date(2019, 7, 3)))
def test_index_options_end_at_a_quarter_past_one_on_a_half_day(day):
    """rsheftel/pandas_market_calendars#230: 15:15 Chicago, as on a whole day."""
    option = us_option(f"SPX{day:%y}0920C02450000", ["SPX"])
    assert to_new_york(trading_hours(option, day)[-1][1]).time() == time(13, 15)
