"""Limit and score of a scalp's contract."""

from decimal import Decimal

import pytest

from scalpdesk.core.events import OpenInterestEvent, TradeEvent
from scalpdesk.instruments.ticks import CENT_TICK, PENNY_NICKEL
from scalpdesk_strategies.st0ckg.scalp_selector import (
    ContractConfig,
    ScalpContractSelector,
    buy_limit,
    contract_score,
)
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.instruments import DAY, straddle_book

CONFIG = ContractConfig()


@pytest.mark.rows(
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


@pytest.mark.rows(
    ("open_interest", "prints", "passes"),
    [(500, (), True), (499, (), False), (499, (49.0,), False), (499, (30.0, 20.0), True), (0, (50.0,), True)],
)
def test_a_contract_is_active_by_its_open_interest_or_by_what_it_traded_today(open_interest, prints, passes):
    desk = HandDesk(Scripted(), straddle_book(500, expiry=DAY))
    desk.open()
    desk.go_to("10:00").market(500.0)
    desk.handle(OpenInterestEvent(1, desk.now_ns, desk.now_ns, open_interest))
    for size in prints:
        desk.handle(TradeEvent(1, desk.now_ns, desk.now_ns, 2.0, size))
    selector = ScalpContractSelector(ContractConfig(target_delta=0.5, max_spread_fraction=0.5))
    view = desk.engine.desk.view
    options = tuple(view.instruments.options("SPY"))
    choice = selector.select(options, DAY, 1, view.market, view.delta_engine, desk.now_ns)
    assert (choice.best is not None) is passes
    if passes:
        volume = sum(prints)
        assert choice.best.score == pytest.approx(
            contract_score(
                choice.best.delta,
                volume,
                open_interest,
                (choice.best.ask - choice.best.bid) / choice.best.ask,
                choice.best.vol,
                selector.config,
            )
        )
    else:
        told = "1 with fewer than 500 open and 50 traded" if prints else "1 with fewer than 500 open"
        assert choice.why_none() == f"of 1 contracts: {told}"
