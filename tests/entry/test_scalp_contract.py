"""Limit and score of a scalp's contract."""

from decimal import Decimal

import pytest

from scalpdesk.entry.scalp_selector import ContractConfig, buy_limit, contract_score
from scalpdesk.instruments.contract import CENT_TICK, PENNY_NICKEL

CONFIG = ContractConfig()


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
