"""Leverage within the day of margin accounts, by date: the day-trading rule, and intraday margin after it.

FINRA rule 4210 lost its day-trading part on 2026-06-04 (91 FR 20731, SR-FINRA-2025-017). The approval is from
a primary source; the start date, and that members may keep the former part until 2027-10-20, are from
secondary sources. The count of day trades and the 25,000 dollars gave way to the *intraday margin level*, own
funds above the maintenance margin at any time of the day. An order that lowers it below zero makes a
deficit. A member blocks such an order, as here, or has the deficit met later. Whether members lend to
accounts of less than 2,000 dollars within the day, and how they count bought options, is unconfirmed: options
stay judged as kept overnight.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum

_INTRADAY_FROM, _PATTERN_UNTIL = date(2026, 6, 4), date(2027, 10, 20)
_PATTERN_EQUITY = Decimal(25_000)
"""Dollars that a pattern day trader had to hold (FINRA 4210(f)(8)(B), until 2026-06-03)."""
_OVERNIGHT, _WITHIN_DAY = 2, 4


class DayRule(StrEnum):
    """Rule that a broker applies to trades within the day."""

    PATTERN = "pattern"
    """Pattern day traders: four times the excess for accounts of 25,000 dollars or more."""
    INTRADAY = "intraday"
    """Any margin account may use its excess over the maintenance margin."""


def rule_on(day: date, broker: DayRule) -> DayRule:
    """Return the rule of a day at a broker that prefers ``broker`` while both are allowed.

    >>> rule_on(date(2026, 6, 3), DayRule.INTRADAY).value, rule_on(date(2027, 10, 21), DayRule.PATTERN).value
    ('pattern', 'intraday')
    """
    if day < _INTRADAY_FROM:
        return DayRule.PATTERN
    return DayRule.INTRADAY if day > _PATTERN_UNTIL else broker


def leverage_on(day: date, broker: DayRule, multiplier: int, equity: Decimal) -> int:
    """Return the leverage in shares within a day.

    The count of day trades is not kept: an account of ``multiplier`` 4 is taken for a day trader's.

    ``day``, ``broker``: Of the question; the rule that the broker has adopted.
    ``multiplier``: On which the account was opened: 1 cash, 2 margin, 4 day trading.
    ``equity``: At the session's open, US dollars.
    """
    if multiplier < _OVERNIGHT:
        return multiplier
    if rule_on(day, broker) is DayRule.INTRADAY:
        return _WITHIN_DAY
    return _OVERNIGHT if equity < _PATTERN_EQUITY else multiplier
