"""The size of an entry by the risk of its budget."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.strategies.toolkit.sizing import size_by_risk

MOST = 10


def contracts_for(equity, ask, multiplier):
    return size_by_risk(equity, ask * multiplier, equity_fraction=Decimal("0.01"), most=MOST)


@pytest.mark.parametrize(
    ("equity", "ask", "count"),
    [("20000", "0.85", 2), ("20000", "2.50", 0), ("200000", "0.50", 10), ("8500", "0.85", 1), ("0", "1", 0)],
)
def test_the_budget_buys_whole_units_and_none_where_one_costs_more(equity, ask, count):
    assert contracts_for(Decimal(equity), Decimal(ask), 100) == count


@given(
    equity=st.decimals(0, 10_000_000, places=2),
    ask=st.decimals("0.01", 500, places=2),
    multiplier=st.sampled_from([1, 10, 100]),
)
def test_the_premium_never_exceeds_the_budget_and_one_more_would(equity, ask, multiplier):
    count = contracts_for(equity, ask, multiplier)
    assert 0 <= count <= MOST
    budget = equity / 100
    assert count * ask * multiplier <= budget or count == 0
    if count < MOST:
        assert (count + 1) * ask * multiplier > budget
