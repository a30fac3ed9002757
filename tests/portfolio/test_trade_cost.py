"""Cost of an execution against the mark: its parts sum to the distance between price and mark."""

from decimal import Decimal

import pytest

from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.portfolio.trade_cost import TradeCost, trade_cost
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.kit.tape import at, quote

D = Decimal
CALL = option("C", 500)
QUOTE = quote(1, at("12:00"), 9.90, 10.10)


@pytest.mark.rows(
    ("quantity", "price", "spread", "slippage"),
    [
        (D(2), D("10.10"), D(20), D(0)),  # at the ask: half the spread
        (D(2), D("10.00"), D(0), D(0)),  # at mid
        (D(2), D("10.04"), D(8), D(0)),  # inside the quote: the distance to the mid
        (D(2), D("10.15"), D(20), D(10)),  # beyond the ask
        (D(-2), D("9.90"), D(20), D(0)),
        (D(-2), D("9.80"), D(20), D(20)),
        (D(-2), D("10.05"), D(0), D(-10)),  # a resting order that sells above the mid
    ],
)
def test_a_price_beyond_the_quote_is_slippage(quantity, price, spread, slippage):
    cost = trade_cost(CALL, QUOTE, quantity, price, D("10.00"))
    assert (cost.spread, cost.slippage, cost.mark_noise) == (spread, slippage, 0.0)
    assert cost.spread + cost.slippage == 100 * quantity * (price - D("10.00"))


def test_a_fill_beats_the_mark_by_more_than_the_near_side_and_a_tick():
    at_bid = trade_cost(CALL, QUOTE, D(1), D("9.89"), D("10.00"))
    assert at_bid.better_by == 0
    below = trade_cost(CALL, QUOTE, D(1), D("9.88"), D("10.00"))
    assert below.better_by == 12
    assert trade_cost(
        share(), quote(0, at("12:00"), 499.99, 500.01), D(-10), D("500.03"), D(500)
    ) == TradeCost(D(0), D("-0.30"), 0.0, D("0.30"))


def test_without_a_far_side_the_whole_distance_is_slippage():
    one_sided = quote(1, at("12:00"), 9.90, 0.0)
    assert trade_cost(CALL, one_sided, D(1), D("10.10"), D("10.00")) == TradeCost(D(0), D(10))


def test_the_distance_to_a_model_mark_of_a_lost_quote_is_mark_noise():
    cost = trade_cost(CALL, QUOTE, D(3), D("10.10"), D("9.00"), is_lost=True)
    assert cost == TradeCost(mark_noise=-330.0)


def test_an_inverse_option_costs_what_it_is_off_the_value_at_the_spot_of_now():
    contract = deribit_option("BTC-28MAR25-90000-C")
    old = quote(1, at("12:00"), 0.0490, 0.0510)
    cost = trade_cost(contract, old, D(2), D("0.0510"), D("0.0500"), fair=D("0.0505"))
    assert (cost.spread, cost.slippage) == (D("0.0010"), D(0))
    assert cost.mark_noise == pytest.approx(-0.001)
    assert float(cost.spread + cost.slippage) - cost.mark_noise == pytest.approx(2 * 0.001)
