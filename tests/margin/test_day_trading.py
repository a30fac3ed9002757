"""Leverage within the day around 2026-06-04 and 2027-10-20 (FINRA rule 4210, 91 FR 20731)."""

import datetime as dt
from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.refusals import Refused
from scalpdesk.instruments.sessions import session_on
from scalpdesk.margin.day_trading import DayRule, leverage_on, rule_on
from scalpdesk.simulation.orders import OrderRequest
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
PATTERN, INTRADAY = DayRule.PATTERN, DayRule.INTRADAY
OLD, NEW, LAST, AFTER = (
    dt.date(2026, 6, 3),
    dt.date(2026, 6, 4),
    dt.date(2027, 10, 20),
    dt.date(2027, 10, 21),
)


@pytest.mark.rows(
    ("day", "broker", "rule"),
    [
        (OLD, PATTERN, PATTERN),
        (OLD, INTRADAY, PATTERN),
        (NEW, PATTERN, PATTERN),
        (NEW, INTRADAY, INTRADAY),
        (LAST, PATTERN, PATTERN),
        (AFTER, PATTERN, INTRADAY),
    ],
)
def test_the_rule_of_a_day_follows_its_date_and_in_between_the_broker(day, broker, rule):
    assert rule_on(day, broker) is rule


@pytest.mark.rows(
    ("day", "multiplier", "equity", "leverage"),
    [
        (OLD, 1, "100000", 1),
        (OLD, 2, "100000", 2),
        (OLD, 4, "25000", 4),
        (OLD, 4, "24999.99", 2),
        (NEW, 1, "100000", 1),
        (NEW, 2, "5000", 4),
        (NEW, 4, "5000", 4),
    ],
)
def test_leverage_within_the_day(day, multiplier, equity, leverage):
    assert leverage_on(day, INTRADAY, multiplier, D(equity)) == leverage


@pytest.mark.rows(
    ("day", "rule", "cash", "most"),
    [
        # 20,000 dollars: twice until the new rule, four times after it; shares cost 100.00
        (OLD, INTRADAY, 20_000, 400),
        (NEW, INTRADAY, 20_000, 800),
        (NEW, PATTERN, 20_000, 400),
        (OLD, INTRADAY, 25_000, 1_000),
        (NEW, INTRADAY, 25_000, 1_000),
        (NEW, None, 20_000, 800),
    ],
)
def test_a_broker_lends_by_the_rule_of_the_session(day, rule, cash, most):
    connection = connect(straddle_book(100), cash=cash, is_open=False, day_rule=rule)
    session, broker = session_on(day), connection.broker
    connection.open_session(session.open_ns, session.close_ns)
    connection.on_quote(quote(0, session.open_ns, 100, 100))
    buy = OrderRequest("SPY", Side.BUY, OrderType.MARKET, quantity=D(most + 1))
    with pytest.raises(Refused):
        broker.submit(connection.account.name, buy)
    fits = OrderRequest("SPY", Side.BUY, OrderType.MARKET, quantity=D(most))
    assert broker.submit(connection.account.name, fits).is_open
