"""The table of contract classes against the vendors' pages, and every monthly expiry of 2005 to 2027."""

import calendar
from datetime import date, time, timedelta
from decimal import Decimal

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.classes import (
    FUTURES,
    INDICES,
    Kind,
    OptionClass,
    UnknownClassError,
    last_trading_ns,
    listed_expiries,
    option_class,
    roots_of,
    trading_hours,
    underlying_of_root,
    us_option,
    use_classes,
)
from scalpdesk.instruments.contract import Right, Settlement, Style, occ_symbol
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.futures import future_contract, future_option
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    final_close_ns,
    from_ns,
    hours_table,
    is_session,
    new_york_ns,
    session_on,
    to_new_york,
)

AM, PM, SHARES = Settlement.CASH_AM, Settlement.CASH_PM, Settlement.PHYSICAL
A, E = Style.AMERICAN, Style.EUROPEAN
DIME, PENNY, CENT = (("0.05", "0.10"), ("0.01", "0.05"), ("0.01", "0.01"))
FRIDAY, WEDNESDAY = "260320", "260318"


@pytest.mark.rows(
    ("root", "expiry", "underlying", "style", "settlement", "tick", "last_trade"),
    [
        # Cboe's and Nasdaq's specification pages; OCC for the roots of share classes
        ("SPX", FRIDAY, "SPX", E, AM, DIME, "03-19 16:15"),
        ("SPXW", FRIDAY, "SPX", E, PM, DIME, "03-20 16:00"),
        ("SPXPM", "160318", "SPX", E, PM, DIME, "03-18 16:00"),
        ("XSP", FRIDAY, "XSP", E, PM, CENT, "03-20 16:00"),
        ("NDX", FRIDAY, "NDX", E, AM, DIME, "03-19 16:15"),
        ("NDXP", FRIDAY, "NDX", E, PM, DIME, "03-20 16:00"),
        ("MNX", "160318", "MNX", E, AM, PENNY, "03-17 16:15"),
        ("XND", FRIDAY, "XND", E, PM, DIME, "03-20 16:00"),
        ("RUT", FRIDAY, "RUT", E, AM, DIME, "03-19 16:15"),
        ("RUTW", FRIDAY, "RUT", E, PM, DIME, "03-20 16:00"),
        ("MRUT", FRIDAY, "MRUT", E, PM, CENT, "03-20 16:00"),
        ("RUI", FRIDAY, "RUI", E, AM, DIME, "03-19 16:15"),
        ("RLG", FRIDAY, "RLG", E, AM, DIME, "03-19 16:15"),
        ("RLV", FRIDAY, "RLV", E, AM, DIME, "03-19 16:15"),
        ("OEX", FRIDAY, "OEX", A, PM, DIME, "03-20 16:00"),
        ("XEO", FRIDAY, "OEX", E, PM, DIME, "03-20 16:00"),
        ("DJX", FRIDAY, "DJX", E, AM, PENNY, "03-19 16:15"),
        ("MXEA", FRIDAY, "MXEA", E, PM, DIME, "03-20 16:00"),
        ("MXEF", FRIDAY, "MXEF", E, PM, DIME, "03-20 16:00"),
        ("VIX", WEDNESDAY, "VIX", E, AM, PENNY, "03-17 16:15"),
        ("VIX", "220921", "VIX", E, AM, DIME, "09-20 16:15"),
        ("VIXW", "260325", "VIX", E, AM, CENT, "03-24 16:15"),
        ("SPY", FRIDAY, "SPY", A, SHARES, CENT, "03-20 16:15"),
        ("QQQ", FRIDAY, "QQQ", A, SHARES, CENT, "03-20 16:15"),
        ("IWM", FRIDAY, "IWM", A, SHARES, CENT, "03-20 16:15"),
        ("DIA", FRIDAY, "DIA", A, SHARES, PENNY, "03-20 16:15"),
        ("EEM", FRIDAY, "EEM", A, SHARES, PENNY, "03-20 16:15"),
        ("XLF", FRIDAY, "XLF", A, SHARES, PENNY, "03-20 16:15"),
        ("UVXY", FRIDAY, "UVXY", A, SHARES, PENNY, "03-20 16:15"),
        ("IBIT", FRIDAY, "IBIT", A, SHARES, PENNY, "03-20 16:00"),
        ("NVDA", WEDNESDAY, "NVDA", A, SHARES, PENNY, "03-18 16:00"),
        ("TSLA", WEDNESDAY, "TSLA", A, SHARES, PENNY, "03-18 16:00"),
        ("BRKB", FRIDAY, "BRK.B", A, SHARES, PENNY, "03-20 16:00"),
        ("BFB", FRIDAY, "BF.B", A, SHARES, PENNY, "03-20 16:00"),
        ("KO", FRIDAY, "KO", A, SHARES, PENNY, "03-20 16:00"),
        ("RDSA", "210319", "RDS.A", A, SHARES, PENNY, "03-19 16:00"),
    ],
)
def test_each_class_has_the_terms_of_its_vendors_page(
    root, expiry, underlying, style, settlement, tick, last_trade
):
    contract = us_option(f"{root}{expiry}C00100000", ["KO", "RDS.A"])
    below, above = (Decimal(price) for price in tick)
    assert (contract.underlying, contract.style, contract.settlement) == (underlying, style, settlement)
    assert (contract.tick_rule.tick_at(Decimal(3)), contract.tick_rule.tick_at(Decimal("3.01"))) == (
        below,
        above,
    )
    assert contract.multiplier == 100
    assert contract.delivers is (settlement is SHARES)
    assert (underlying in INDICES) is (settlement is not SHARES)
    assert f"{to_new_york(last_trading_ns(contract)):%m-%d %H:%M}" == last_trade


@pytest.mark.rows(
    ("root", "multiplier", "tick"),
    [("ES", 50, "0.25"), ("MES", 5, "0.25"), ("NQ", 20, "0.25"), ("MNQ", 2, "0.25"), ("YM", 5, "1"),
     ("RTY", 50, "0.10"), ("M2K", 5, "0.10")],
)  # fmt: skip
def test_each_future_has_the_terms_of_its_page(root, multiplier, tick):
    future = future_contract(f"{root}_202603")
    assert (future.multiplier, future.tick_rule.below) == (multiplier, Decimal(tick))
    assert FUTURES[root].exchange == ("CBOT" if root == "YM" else "CME")


def monthly_dates(year, month):
    """Return the third Friday and the symbol's date: the Saturday after it until January 2015."""
    weeks = calendar.monthcalendar(year, month)
    friday = date(year, month, [week[4] for week in weeks if week[4]][2])
    return friday, friday + timedelta(days=1) if (year, month) < (2015, 2) else friday


def session_before(day):
    day -= timedelta(days=1)
    return day if is_session(day) else session_before(day)


MONTHS = [(year, month) for year in range(2005, 2028) for month in range(1, 13)]


@pytest.mark.rows("root", ["SPX", "NDX", "RUT", "SPY", "AAPL", "OEX"])
def test_every_monthly_of_2005_to_2027_ends_on_its_session(root):
    """Settled on the third Friday, on the day before where that is Good Friday, and never traded after it."""
    for year, month in MONTHS:
        friday, dated = monthly_dates(year, month)
        last = friday if is_session(friday) else session_before(friday)
        contract = us_option(occ_symbol(root, dated, Right.CALL, Decimal(100)))
        assert contract.expiry == last
        assert contract.symbol[len(root) :].startswith(f"{dated:%y%m%d}")
        ends_ns, close_ns = expiry_instant_ns(contract), final_close_ns(contract)
        if contract.settlement is AM:
            assert ends_ns == session_on(last).open_ns
            assert close_ns == session_on(session_before(last)).close_ns
            assert close_ns <= last_trading_ns(contract) < ends_ns
        else:
            assert ends_ns == close_ns == session_on(last).close_ns


def test_every_vix_expiry_of_2006_to_2027_is_settled_in_the_morning_after_its_last_trade():
    for year, month in MONTHS[14:-1]:
        later = monthly_dates(*((year, month + 1) if month < 12 else (year + 1, 1)))[0]
        wednesday = later - timedelta(days=30)
        contract = us_option(occ_symbol("VIX", wednesday, Right.PUT, Decimal(20)))
        last = wednesday if is_session(wednesday) else session_before(wednesday)
        assert expiry_instant_ns(contract) == session_on(last).open_ns
        assert to_new_york(last_trading_ns(contract)).date() == session_before(last)


def test_a_weekly_dated_to_a_monday_without_a_session_ends_on_the_next_one():
    assert us_option("SPXW260119C06000000").expiry == date(2026, 1, 20)  # Martin Luther King's day
    assert us_option("SPXW260703C06000000").expiry == date(2026, 7, 2)


@pytest.mark.rows(
    ("symbol", "shares"),
    [
        ("VXEEM260318C00020000", ["EEM"]),
        ("ABCDW260320C00020000", ["ABCD"]),
        ("SDS1260320C00020000", ["SDS"]),
        ("KO260320C00070000", []),
        ("XND200320C00100000", ["XND"]),  # before its first day
    ],
)
def test_a_root_that_nothing_explains_is_refused_with_the_row_to_write(symbol, shares):
    with pytest.raises(UnknownClassError) as refused:
        us_option(symbol, shares)
    assert "[classes." in refused.value.fix


@pytest.fixture
def own_rows():
    yield use_classes
    use_classes({})


def test_a_row_of_the_settings_comes_before_the_tables(own_rows):
    own_rows(
        {
            "VXEEM": OptionClass(kind=Kind.VOLATILITY, settlement=AM),
            "SDS1": OptionClass(underlying="SDS", multiplier=20),
            "XND": OptionClass(kind=Kind.BROAD_INDEX, settlement=PM, tick="0.01"),
        }
    )
    assert us_option("VXEEM260318C00020000").style is E
    assert (underlying_of_root("SDS1"), us_option("SDS1260320C00020000").multiplier) == ("SDS", 20)
    assert us_option("XND260320C00100000").tick_rule.tick_at(Decimal(9)) == Decimal("0.01")
    assert "VXEEM" in INDICES
    own_rows({})
    assert "VXEEM" not in INDICES


@pytest.mark.rows(
    "row",
    [
        {"kind": Kind.BROAD_INDEX},
        {"tick": "penny"},
        {"tick": "0"},
        {"multiplier": 0},
    ],
)
def test_a_row_that_cannot_be_is_refused(row):
    with pytest.raises(ConfigError):
        OptionClass(**row)


@pytest.mark.rows("root", ["BRK.B", "toolong", ""])
def test_a_row_needs_a_root(own_rows, root):
    with pytest.raises(ConfigError):
        own_rows({root: OptionClass()})


def spans(contract, day):
    return [f"{to_new_york(a):%a %H:%M}-{to_new_york(b):%H:%M}" for a, b in trading_hours(contract, day)]


@pytest.mark.rows(
    ("symbol", "day", "hours"),
    [
        ("SPX260320C06000000", 19, ["Wed 20:15-09:25", "Thu 09:30-16:15"]),
        ("SPX260320C06000000", 20, []),
        ("SPX260417C06000000", 19, ["Wed 20:15-09:25", "Thu 09:30-16:15", "Thu 16:15-17:00"]),
        ("SPXW260320C06000000", 20, ["Thu 20:15-09:25", "Fri 09:30-16:00"]),
        ("VIXW260325C00020000", 25, []),
        ("NDXP260323C06000000", 20, ["Fri 09:30-16:15"]),
        ("SPY260320C00600000", 20, ["Fri 09:30-16:15"]),
        ("NVDA260320C00150000", 20, ["Fri 09:30-16:00"]),
        ("NVDA260320C00150000", 21, []),
        ("SPX261218C06000000", 15, []),
    ],
)
def test_options_trade_in_the_hours_of_their_class(symbol, day, hours):
    assert spans(us_option(symbol), date(2026, 3, day)) == hours


@pytest.mark.rows(
    ("symbol", "day", "hours"),
    [
        # the trade date decides, not the expiry: none before 2015, 3:00 to 9:15 until November 2021
        ("SPXW150117C02000000", date(2015, 1, 15), ["Thu 09:30-16:15"]),
        ("VIX150318C00020000", date(2015, 3, 2), ["Mon 03:00-09:15", "Mon 09:30-16:15"]),
        ("SPX150320C02000000", date(2015, 3, 2), ["Mon 09:30-16:15"]),
        ("SPX150320C02000000", date(2015, 3, 9), ["Mon 03:00-09:15", "Mon 09:30-16:15"]),
        ("SPX211217C04500000", date(2021, 11, 19), ["Fri 03:00-09:15", "Fri 09:30-16:15"]),
        ("SPX211217C04500000", date(2021, 11, 22), ["Sun 20:15-09:15", "Mon 09:30-16:15"]),
        ("SPXW220520C04500000", date(2022, 4, 22), ["Thu 20:15-09:15", "Fri 09:30-16:15"]),
        ("SPXW220520C04500000", date(2022, 4, 25), ["Sun 20:15-09:15", "Mon 09:30-16:15", "Mon 16:15-17:00"]),
        ("XSP221216C00400000", date(2022, 12, 9), ["Fri 09:30-16:15"]),
        ("XSP221216C00400000", date(2022, 12, 12), ["Sun 20:15-09:15", "Mon 09:30-16:15", "Mon 16:15-17:00"]),
        # an option of March 2026 had no night in January
        ("RUTW260331C02000000", date(2026, 1, 15), ["Thu 09:30-16:15"]),
        ("RUTW260331C02000000", date(2026, 2, 9), ["Sun 20:15-09:25", "Mon 09:30-16:15", "Mon 16:15-17:00"]),
    ],
)
def test_hours_of_index_options_are_those_of_the_trade_date(symbol, day, hours):
    assert spans(us_option(symbol), day) == hours


def test_a_class_of_the_settings_that_trades_at_night_has_the_hours_of_spx(own_rows):
    terms = {"underlying": "NDX", "kind": Kind.BROAD_INDEX, "settlement": Settlement.CASH_PM}
    own_rows({"NDXP": OptionClass(nights=True, **terms)})
    assert spans(us_option("NDXP260331C20000000"), date(2026, 3, 19))[0] == "Wed 20:15-09:25"


def test_every_row_of_hours_names_its_page():
    table = hours_table()
    used = {row.source for row in (*table.globex, *table.cboe)}
    assert used <= table.sources.keys()


def test_hours_of_a_half_day_and_of_other_products():
    half = date(2026, 11, 27)
    assert spans(us_option("SPY261218C00600000"), half) == ["Fri 09:30-13:15"]
    assert spans(us_option("SPX261218C06000000"), half) == ["Thu 20:15-09:25", "Fri 09:30-13:15"]
    future = future_option("ES_202603-260320C06000000")
    assert spans(future, date(2026, 1, 19)) == ["Sun 18:00-13:00"]  # New York is closed
    coin = deribit_option("BTC-27MAR26-100000-C")
    (opens, closes), *_ = trading_hours(coin, date(2026, 3, 1))
    assert (from_ns(opens).hour, closes - opens) == (8, 86_400 * 10**9)


def weekdays(root, today, until, earnings=()):
    return [f"{day:%a %d}" for day in listed_expiries(root, today, until, earnings)]


def test_nine_names_expire_on_two_mondays_and_wednesdays_since_2026():
    first, last = date(2026, 2, 2), date(2026, 2, 20)
    expected = ["Mon 02", "Wed 04", "Fri 06", "Mon 09", "Wed 11", "Fri 13", "Fri 20"]
    assert weekdays("NVDA", first, last) == expected
    assert "Wed 04" not in weekdays("GOOGL", first, last, [date(2026, 2, 4)])
    assert "Mon 02" in weekdays("GOOGL", first, last, [date(2026, 2, 2)])
    assert weekdays("NVDA", date(2025, 2, 3), date(2025, 2, 14)) == ["Fri 07", "Fri 14"]
    assert weekdays("KO", first, last) == ["Fri 06", "Fri 13", "Fri 20"]
    # no Monday on a holiday: the sixteenth is Presidents' day
    assert weekdays("NVDA", date(2026, 2, 12), last) == ["Fri 13", "Wed 18", "Fri 20"]


def test_spxw_expires_every_session_and_shares_on_thursday_before_good_friday():
    days = listed_expiries("SPXW", date(2026, 3, 30), date(2026, 4, 10))
    assert [day.day for day in days] == [30, 31, 1, 2, 6, 7, 8, 9, 10]
    assert date(2026, 4, 2) in listed_expiries("KO", date(2026, 3, 30), date(2026, 4, 10))


def test_rows_say_who_says_so():
    assert option_class("SPXW", date(2026, 3, 20)).source.startswith("Cboe")
    assert roots_of("SPX") == ("SPX", "SPXPM", "SPXW")
    assert new_york_ns(date(2026, 3, 19), time(16, 15)) == last_trading_ns(us_option("SPX260320C06000000"))
