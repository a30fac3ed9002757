"""In which currency an account at TWS is kept, and which of its rows count, over the socket."""

from decimal import Decimal

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.venues.contract import NoticeKind, check_currency
from scalpdesk_testing.kit.served import between

pytestmark = pytest.mark.usefixtures("socket_enabled")

D = Decimal
TOTALS = ("NetLiquidation", "TotalCashValue", "BuyingPower", "AvailableFunds", "EquityWithLoanValue")
VALUE = ("6", "63", "73")
"""Messages with a tag, its value and its currency."""


def place(fields):
    """Return the place of the currency in a value's message; None in another message."""
    return fields.index("USD") if fields[0] in VALUE and "USD" in fields else None


def row(fields, currency, amount):
    """Return a value's message in another currency."""
    at, made = place(fields), list(fields)
    made[at - 1 : at + 1] = [str(amount), currency]
    return made


def in_euro(fields):
    """An account that is kept in EUR, at 0.86 EUR a dollar."""
    at = place(fields)
    if at is None:
        return [fields]
    is_rate = fields[at - 2] == "ExchangeRate"
    return [row(fields, "EUR", 1 if is_rate else round(D(fields[at - 1]) * D("0.86"), 2))]


def of_two(fields, *, order=(), base="USD", with_rates=True):
    """An account with a row a currency and one of all: of what it has, 500 EUR at 1.16 USD are in EUR."""
    at = place(fields)
    if at is None:
        return [fields]
    tag, amount = fields[at - 2], D(fields[at - 1])
    if tag == "ExchangeRate":
        rates = {"USD": 1, "EUR": D("1.16")} if base == "USD" else {"USD": D("0.86"), "EUR": 1}
        return [row(fields, name, rate) for name, rate in rates.items()] if with_rates else []
    if tag not in (*TOTALS, "CashBalance"):
        return [row(fields, base, amount)]
    rows = {"USD": amount, "EUR": D(500), "BASE": amount + 580}
    return [row(fields, name, rows[name]) for name in order or rows]


def facts_behind(change):
    """Return what a gateway finds in an account whose messages are changed, its notices, and a later view."""
    found = {}

    async def scenario(bench, line):
        line.server = change
        gateway = bench.gateway()
        found["facts"] = await gateway.connect()
        found["later"] = (await gateway.snapshot()).account
        await gateway.close()
        found["notices"] = [item async for item in gateway.events()]

    between(scenario)
    return found


def test_an_account_in_euro_is_no_account_in_dollars():
    facts = facts_behind(in_euro)["facts"]
    assert (facts.currency, facts.cash, facts.equity) == ("EUR", D(86_000), D(86_000))
    with pytest.raises(ConfigError) as refused:
        check_currency(facts, "USD")
    assert (refused.value.where, refused.value.value) == ("desk.currency", "USD")
    check_currency(facts, "EUR")


@pytest.mark.rows("order", [("USD", "EUR", "BASE"), ("BASE", "USD", "EUR"), ("EUR", "BASE", "USD")])
def test_rows_of_one_tag_count_by_their_currency_and_not_by_their_order(order):
    found = facts_behind(lambda fields: of_two(fields, order=order))
    for facts in (found["facts"], found["later"]):
        assert (facts.currency, facts.cash, facts.equity) == ("USD", D(100_000), D(100_580))
        assert facts.options_buying_power == D(100_580)
    (notice,) = [each for each in found["notices"] if getattr(each, "name", "") == "foreign_cash"]
    assert notice.kind is NoticeKind.LIMITED
    assert "500 EUR" in notice.detail


def test_without_a_row_of_all_the_row_of_the_base_currency_is_the_total():
    found = facts_behind(lambda fields: of_two(fields, order=("USD", "EUR")))
    assert (found["facts"].currency, found["facts"].equity) == ("USD", D(100_000))


def test_an_account_in_euro_with_dollars_is_kept_in_euro():
    facts = facts_behind(lambda fields: of_two(fields, base="EUR"))["facts"]
    assert (facts.currency, facts.cash) == ("EUR", D(500))


def test_rows_that_do_not_say_the_base_currency_are_refused():
    with pytest.raises(ConfigError) as refused:
        facts_behind(lambda fields: of_two(fields, with_rates=False))
    assert refused.value.where == "venues.ibkr.account"
