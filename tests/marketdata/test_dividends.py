"""The schedule of dividends that an expiry has ahead: what was declared, and what an index fund repeats."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.events import DividendEvent
from scalpdesk.core.units import NANOS_PER_SECOND, years_between
from scalpdesk.instruments.sessions import session_on, to_new_york
from scalpdesk.marketdata.dividends import coming_dividends, schedule_before
from scalpdesk.marketdata.state import MarketState, paid_between
from scalpdesk_testing.kit.instruments import straddle_book

PAID = (
    (date(2014, 9, 19), "0.939"),
    (date(2014, 12, 19), "1.135"),
    (date(2015, 3, 20), "0.931"),
    (date(2015, 6, 19), "1.030"),
    (date(2015, 9, 18), "1.033"),
)


def events(rows, number=0):
    return [DividendEvent(number, 1, 1, session_on(day).open_ns, Decimal(amount)) for day, amount in rows]


def known(rows, until, symbol="SPY"):
    found = coming_dividends(events(rows), 0, symbol, session_on(until).close_ns)
    return [(to_new_york(each.ts_ex_ns).date(), each.amount, each.is_expected) for each in found]


def test_an_index_fund_is_expected_to_pay_as_in_the_past_year():
    found = known(PAID, date(2016, 6, 17))
    assert found[:5] == [(day, float(amount), False) for day, amount in PAID]
    # the real ex-dates of the months after, at the amounts of the year before
    assert found[5:] == [
        (date(2015, 12, 18), 1.135, True),
        (date(2016, 3, 18), 0.931, True),
        (date(2016, 6, 17), 1.03, True),
    ]


@pytest.mark.rows(
    ("rows", "symbol"), [(PAID, "AAPL"), (PAID[3:], "SPY"), (PAID[:2] + PAID[3:4], "SPY"), ((), "SPY")]
)
def test_nothing_is_expected_of_another_share_or_an_unknown_year(rows, symbol):
    assert not any(expected for _, _, expected in known(rows, date(2017, 1, 20), symbol))


def test_a_declared_dividend_takes_the_place_of_the_expected_one():
    later = (*PAID, (date(2015, 12, 18), "1.212"))
    found = known(later, date(2016, 3, 18))
    assert found[-2:] == [(date(2015, 12, 18), 1.212, False), (date(2016, 3, 18), 0.931, True)]


def test_a_correction_counts_once_and_another_share_not():
    both = [*events(PAID[4:]), *events([(PAID[4][0], "1.05")]), *events([(PAID[4][0], "9")], number=3)]
    found = coming_dividends(both, 0, "AAPL", session_on(date(2015, 9, 18)).close_ns)
    assert [each.amount for each in found] == [1.05]


def test_the_past_year_leads_to_expectations_and_is_not_ahead_itself():
    now_ns = session_on(date(2015, 9, 21)).open_ns
    history = [
        DividendEvent(0, now_ns, now_ns, session_on(day).open_ns, Decimal(amount)) for day, amount in PAID
    ]
    until_ns = session_on(date(2015, 12, 31)).close_ns
    found = coming_dividends(history, 0, "SPY", until_ns)
    assert [(each.amount, each.is_expected) for each in found] == [(1.135, True)]
    assert coming_dividends(history, 0, "SPY", until_ns, expects=False) == ()


def test_a_list_that_comes_each_morning_is_known_once_and_a_correction_replaces():
    state, heard = MarketState(straddle_book()), []
    state.on_dividend.append(heard.append)
    morning = [events([(PAID[4][0], amount)])[0] for amount in ("1.033", "1.033", "1.05")]
    for event in morning:
        state.apply_dividend(event)
    assert [event.amount for event in state.dividends] == [Decimal("1.05")]
    assert heard == [morning[0], morning[2]]
    ex_ns = morning[0].ts_ex_ns
    assert paid_between(state.dividends, 0, ex_ns - 1, ex_ns) == 1.05


def test_a_schedule_counts_from_the_expiry_and_ends_with_it():
    expires_ns = session_on(date(2015, 9, 18)).close_ns
    coming = coming_dividends(events(PAID), 0, "SPY", session_on(date(2016, 6, 17)).close_ns)
    schedule = schedule_before(coming, expires_ns)
    assert len(schedule) == 5
    eve, ex_date = session_on(date(2015, 9, 17)), session_on(date(2015, 9, 18))
    noticed_ns = eve.close_ns + 90 * 60 * NANOS_PER_SECOND
    ahead = [years_between(at_ns, expires_ns) for at_ns in (ex_date.open_ns, noticed_ns)]
    assert schedule[-1] == (ahead[0], 1.033, ahead[1])
    assert schedule == tuple(sorted(schedule, reverse=True))
