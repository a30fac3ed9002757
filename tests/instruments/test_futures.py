"""Futures and the options on them: CME's specifications, names, sessions, settlement, margin and fees."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Proxy, Right, Settlement, Style
from scalpdesk.instruments.fees import IBKR_FEES
from scalpdesk.instruments.futures import (
    final_settlement_ns,
    front_contract,
    future_contract,
    future_option,
    future_option_symbol,
    listed_option,
)
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    final_close_ns,
    from_ns,
    globex_session,
    globex_sessions,
    is_session,
    session_on,
    to_new_york,
)
from scalpdesk.instruments.settlement import settle_option
from scalpdesk.margin.capital import capital_of, cash_of

ES, OPTION = InstrumentId(0), InstrumentId(1)
prices = st.integers(8_000, 24_000).map(lambda ticks: Decimal(ticks) / 4)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.rows(
    ("symbol", "multiplier", "tick", "expiry"),
    [
        ("ES_202103", 50, "0.25", date(2021, 3, 19)),
        ("MES_202103", 5, "0.25", date(2021, 3, 19)),
        ("ES_202412", 50, "0.25", date(2024, 12, 20)),
    ],
)
def test_the_terms_of_a_future_are_those_of_cme(symbol, multiplier, tick, expiry):
    future = future_contract(symbol)
    assert (future.multiplier, future.tick_rule.below, future.expiry) == (multiplier, Decimal(tick), expiry)
    assert future.value(Decimal(1), Decimal(tick)) == Decimal(tick) * multiplier  # 12.50 and 1.25 dollars


def test_a_future_ends_at_the_opening_of_its_third_friday():
    assert final_settlement_ns(future_contract("ES_202103")) == at("2021-03-19T13:30:00")
    # Good Friday of 2008 was a third Friday: the session before it
    assert final_settlement_ns(future_contract("ES_200803")) == at("2008-03-20T13:30:00")


@pytest.mark.rows("symbol", ["ES", "ES_2021", "ES_202113", "XX_202103"])
def test_another_form_is_refused(symbol):
    with pytest.raises(DataError):
        future_contract(symbol)


def test_the_options_of_a_quarter_are_american_and_end_with_their_future():
    option = future_option("ES_202003-200320P03250000")
    assert (option.style, option.settlement, option.multiplier) == (
        Style.AMERICAN,
        Settlement.FUTURE_AM,
        50,
    )
    assert expiry_instant_ns(option) == final_close_ns(option) == at("2020-03-20T13:30:00")
    assert option.is_on_future
    assert not option.delivers
    assert option.strike == 3250
    assert [option.tick_rule.tick_at(Decimal(each)) for each in ("5", "5.25")] == [
        Decimal("0.05"),
        Decimal("0.25"),
    ]


def test_the_options_of_a_week_are_european_and_deliver_one_future_at_the_close():
    option = future_option("ES_202003-200117C03250000")
    assert (option.style, option.settlement) == (Style.EUROPEAN, Settlement.FUTURE)
    assert expiry_instant_ns(option) == at("2020-01-17T21:00:00")
    gone, come = settle_option(option, OPTION, ES, Decimal(3), Decimal("3271.25"), 0)
    assert (gone.quantity_change, come.quantity_change) == (Decimal(-3), Decimal(3))
    future = future_contract("ES_202003")
    # what is booked and what is held are worth the payoff: 3 x 50 x 21.25
    assert come.cash_change + future.value(come.quantity_change, Decimal("3271.25")) == Decimal("3187.50")


def test_a_quarterly_option_settles_in_cash_with_its_future():
    option = future_option("ES_202003-200320P03250000")
    (change,) = settle_option(option, OPTION, ES, Decimal(-2), Decimal("3200.50"), 0)
    assert (change.quantity_change, change.cash_change) == (Decimal(2), Decimal(-4950))


@given(month=st.sampled_from((3, 6, 9, 12)), year=st.integers(2015, 2030), strike=st.integers(1, 40_000))
@settings(max_examples=30)
def test_the_name_of_an_option_brings_its_terms_back(month, year, strike):
    future = future_contract(f"ES_{year}{month:02d}")
    symbol = future_option_symbol(future.symbol, future.expiry, Right.PUT, Decimal(strike) / 4)
    option = listed_option(symbol)
    assert (option.underlying, option.expiry, option.strike, option.right) == (
        future.symbol,
        future.expiry,
        Decimal(strike) / 4,
        Right.PUT,
    )


def test_a_share_with_the_root_of_a_future_keeps_its_options():
    assert listed_option("ES200320C00090000", ["ES"]).underlying == "ES"  # Eversource Energy
    with pytest.raises(ArgumentError):
        future_option("ES200320C00090000")


@pytest.mark.rows(
    ("day", "opens", "closes"),
    [
        (date(2013, 10, 7), "2013-10-06T22:00:00", "2013-10-07T21:15:00"),  # from Sunday evening
        (date(2021, 1, 4), "2021-01-03T23:00:00", "2021-01-04T22:00:00"),
        (date(2021, 1, 18), "2021-01-17T23:00:00", "2021-01-18T18:00:00"),  # a US holiday: to noon
        (date(2013, 7, 4), "2013-07-03T22:00:00", "2013-07-04T15:30:00"),  # to 10:30 Chicago then
        (date(2024, 7, 3), "2024-07-02T22:00:00", "2024-07-03T17:15:00"),  # half days: to 13:15 New York
        (date(2024, 11, 29), "2024-11-28T23:00:00", "2024-11-29T18:15:00"),
        (date(2024, 12, 24), "2024-12-23T23:00:00", "2024-12-24T18:15:00"),
        (date(2025, 6, 19), "2025-06-18T22:00:00", "2025-06-19T17:00:00"),  # Juneteenth: to 13:00
        (date(2023, 4, 7), "2023-04-06T22:00:00", "2023-04-07T13:15:00"),  # Good Friday with payrolls
        (date(2026, 4, 3), "2026-04-02T22:00:00", "2026-04-03T13:15:00"),
        (date(2018, 12, 5), "2018-12-04T23:00:00", "2018-12-05T14:30:00"),  # days of mourning
        (date(2025, 1, 9), "2025-01-08T23:00:00", "2025-01-09T14:30:00"),
        (date(2012, 10, 30), "2012-10-29T22:00:00", "2012-10-30T13:15:00"),  # Sandy
    ],
)
def test_globex_is_open_around_the_clock_but_for_an_hour(day, opens, closes):
    session = globex_session(day)
    assert (session.open_ns, session.close_ns) == (at(opens), at(closes))


def test_a_good_friday_without_payrolls_and_christmas_have_no_session():
    for day in (
        date(2024, 3, 29),
        date(2025, 4, 18),
        date(2022, 4, 15),
        date(2021, 12, 24),
        date(2025, 12, 25),
    ):
        with pytest.raises(ArgumentError):
            globex_session(day)
        assert globex_sessions(day, day) == ()


@given(st.dates(date(2014, 5, 1), date(2030, 12, 30)))
def test_globex_ends_early_where_the_stock_exchanges_do(day):
    """Half days to 12:15 Chicago, holidays to noon or some minutes into them, others to 16:00 or 16:15."""
    (session,) = globex_sessions(day, day) or (None,)
    if session is None:
        assert not is_session(day)
        return
    ends = to_new_york(session.close_ns).time()
    if not is_session(day):
        assert ends in {time(13, 0), time(9, 15), time(9, 30)}
    elif session_on(day).is_half_day:
        assert ends == time(13, 15)
    else:
        assert ends in {time(17, 0), time(17, 15)}


def test_no_two_sessions_of_globex_overlap():
    sessions = globex_sessions(date(2021, 1, 4), date(2021, 1, 15))
    assert [from_ns(each.open_ns).weekday() for each in sessions[:2]] == [6, 0]
    assert len(sessions) == 10
    assert all(one.close_ns < two.open_ns for one, two in pairwise(sessions))
    with pytest.raises(ArgumentError):
        globex_session(date(2021, 1, 2))


@given(price=prices, quantity=st.integers(-50, 50).filter(bool))
@settings(max_examples=30)
def test_a_future_ties_up_a_margin_and_no_value(price, quantity):
    future, units = future_contract("ES_202103"), Decimal(quantity)
    notional = abs(quantity) * 50 * float(price)
    assert abs(capital_of(future, units, float(price))) == pytest.approx(0.0715 * notional)
    assert float(abs(cash_of(future, units, float(price)))) == pytest.approx(0.0715 * notional, abs=0.01)


def test_fees_of_a_future_are_by_contract_and_root():
    terms, fees = (Side.SELL, Decimal(4), Decimal(3700)), IBKR_FEES.on(date(2021, 3, 1))
    assert fees.fee(future_contract("ES_202103"), *terms) == Decimal("9.00")
    assert fees.fee(future_contract("MES_202103"), *terms) == Decimal("2.48")
    assert fees.fee(future_contract("NQ_202103"), *terms) == Decimal("9.00")


def test_a_hand_worked_hedge_of_a_dollar_delta():
    """40 SPX deltas at 3,700 are 148,000 dollars: 40 MES of 5 at 3,690 stand for 199.46 of them."""
    es, mes = future_contract("ES_202103"), future_contract("MES_202103")
    proxy = Proxy(ES, OPTION)
    assert proxy.delta(es, -1.0, 3_690.0, 3_700.0) == pytest.approx(-50 * 3_690 / 3_700)
    assert proxy.delta(mes, -8.0, 3_690.0, 3_700.0) == pytest.approx(-40 * 3_690 / 3_700)
    # at a beta of 1.2 a dollar of the hedge stands for less of the underlying
    assert Proxy(ES, OPTION, 1.2).delta(mes, -8.0, 3_690.0, 3_700.0) == pytest.approx(-33.2432432432)


@pytest.mark.rows(
    ("day", "front"),
    [
        (date(2018, 2, 9), "MES_201803"),
        (date(2018, 3, 9), "MES_201803"),
        (date(2018, 3, 12), "MES_201806"),  # the Monday of the week in which March expires
        (date(2018, 3, 16), "MES_201806"),
        (date(2018, 9, 3), "MES_201806"),  # no later one is listed
    ],
)
def test_the_front_future_changes_on_the_monday_before_its_expiry(day, front):
    listed = [future_contract("MES_201806"), future_contract("MES_201803")]
    assert front_contract(listed, day).symbol == front
