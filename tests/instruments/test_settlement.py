from decimal import Decimal

import pytest

from scalpdesk.instruments.settlement import settle_option
from scalpdesk_testing.kit.instruments import option

D = Decimal
T = 99


def settle(right, held, level, root="SPY"):
    return settle_option(option(right, 500, root=root), 7, 3, D(held), D(level), T)


@pytest.mark.rows(
    ("right", "held", "level", "shares", "cause"),
    [
        ("C", 2, "507.00", 200, "exercise"),
        ("C", -2, "507.00", -200, "assignment"),
        ("P", 2, "493.00", -200, "exercise"),
        ("P", -2, "493.00", 200, "assignment"),
        ("C", 1, "500.01", 100, "exercise"),  # a cent in the money is exercised by exception
    ],
)
def test_in_the_money_shares_change_hands_at_the_strike(right, held, level, shares, cause):
    gone, delivered = settle(right, held, level)
    assert (gone.instrument_id, gone.cause, gone.quantity_change) == (7, cause, D(-held))
    assert (gone.price, gone.cash_change) == (D(0), D(0))
    assert (delivered.instrument_id, delivered.cause, delivered.quantity_change) == (3, "delivery", D(shares))
    assert (delivered.price, delivered.cash_change) == (D(500), D(-500) * shares)
    assert gone.reference != delivered.reference
    assert {gone.ts_recv_ns, delivered.ts_recv_ns} == {T}


@pytest.mark.rows("root", ["SPY", "XSP"])
@pytest.mark.rows(
    ("right", "level"), [("C", "500"), ("C", "500.009"), ("C", "480"), ("P", "500"), ("P", "520")]
)
def test_at_or_out_of_the_money_an_option_lapses(right, level, root):
    (change,) = settle(right, 3, level, root)
    assert (change.cause, change.quantity_change, change.price, change.cash_change) == (
        "expired_worthless",
        D(-3),
        D(0),
        D(0),
    )


@pytest.mark.rows(
    ("right", "held", "level", "cash"),
    [("C", 2, "507.25", 1450), ("C", -2, "507.25", -1450), ("P", 1, "493", 700)],
)
def test_cash_settlement_pays_the_intrinsic_value(right, held, level, cash):
    (change,) = settle(right, held, level, "XSP")
    assert (change.cause, change.quantity_change, change.cash_change) == (
        "cash_settlement",
        D(-held),
        D(cash),
    )
    assert change.price == abs(D(level) - 500)
