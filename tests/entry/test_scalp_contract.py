"""Sizing, limit and score of a scalp's contract."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.entry.scalp_selector import ContractConfig, buy_limit, contract_score, contracts_for
from scalpdesk.instruments.contract import CENT_TICK, PENNY_NICKEL

CONFIG = ContractConfig()


@pytest.mark.parametrize(
    ("equity", "ask", "count"),
    [("20000", "0.85", 2), ("20000", "2.50", 0), ("200000", "0.50", 10), ("8500", "0.85", 1), ("0", "1", 0)],
)
def test_contracts_for(equity, ask, count):
    assert contracts_for(Decimal(equity), Decimal(ask), 100, CONFIG) == count


@given(
    equity=st.decimals(0, 10_000_000, places=2),
    ask=st.decimals("0.01", 500, places=2),
    multiplier=st.sampled_from([1, 10, 100]),
)
def test_the_premium_never_exceeds_the_budget_and_one_more_would(equity, ask, multiplier):
    count = contracts_for(equity, ask, multiplier, CONFIG)
    assert 0 <= count <= CONFIG.max_contracts
    budget = equity / 100
    assert count * ask * multiplier <= budget or count == 0
    if count < CONFIG.max_contracts:
        assert (count + 1) * ask * multiplier > budget


@pytest.mark.parametrize(
    ("ask", "rule", "limit"),
    [
        ("0.85", CENT_TICK, "0.87"),
        ("1.00", CENT_TICK, "1.02"),
        ("0.01", CENT_TICK, "0.02"),
        ("3.10", PENNY_NICKEL, "3.20"),
    ],
)
def test_buy_limit_is_rounded_up_to_the_tick(ask, rule, limit):
    assert buy_limit(Decimal(ask), rule, CONFIG) == Decimal(limit)


def test_contract_score_parts():
    assert contract_score(0.30, 0.0, 10_000, 0.0, 0.20) == pytest.approx(100.0)
    assert contract_score(0.40, 0.0, 0, 0.05, 0.40) == pytest.approx(0.0)
    assert contract_score(0.35, 100.0, 500, 0.025, 0.25) == pytest.approx(20.0 + 0.3 * 15.0 + 10.0 + 7.5)
