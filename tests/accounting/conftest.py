from datetime import date, time
from decimal import Decimal

import pytest

from scalpdesk.accounting.entries import BookEntry, EntryKind
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.futures import future_contract
from scalpdesk.instruments.sessions import new_york_ns

D = Decimal


def instrument_of(symbol):
    """A share, a future (``ES_202409``) or an option (``KO 240621 C 70``)."""
    if "_" in symbol:
        return future_contract(symbol)
    if " " not in symbol:
        return Equity(symbol)
    root, expiry, right, strike = symbol.split()
    return us_option(f"{root}{expiry}{right}{int(D(strike) * 1000):08d}", [root])


class Days:
    """Writes the day book of a test: each line has its place in the order of the day."""

    def __init__(self):
        self.entries = []

    def line(self, day, symbol, units, cash, kind=EntryKind.TRADE, ref=None, purchase=""):
        count = len(self.entries) + 1
        self.entries.append(
            BookEntry(
                instrument=instrument_of(symbol),
                ts_ns=new_york_ns(date.fromisoformat(day), time(12)) + count,
                units=D(units),
                cash=D(cash),
                kind=kind,
                reference=ref or f"o{count}/x{count}",
                purchase=purchase,
            )
        )

    def trade(self, day, symbol, units, price, fee="0", **more):
        """Buy or sell so many units at a price, for a fee."""
        instrument = instrument_of(symbol)
        self.line(day, symbol, units, -instrument.value(D(units), D(price)) - D(fee), **more)

    def in_order(self):
        return sorted(self.entries, key=lambda entry: entry.ts_ns)


@pytest.fixture
def days():
    return Days()
