import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.hedging.sizing import perpetual_trade_usd
from scalpdesk_testing.field_formulas import expiry_payoff_coin, perpetual_pnl_coin, perpetual_target_usd


@pytest.mark.rows(
    ("target", "held", "trade"),
    [
        (-239389.657814, 0.0, -239390),
        (258122.779997, -200_000.0, 458_120),
        (5.0, 0.0, 10),
        (-5.0, 0.0, -10),
        (4.9, 0.0, 0),
    ],
)
def test_the_order_is_what_is_missing_in_whole_contracts(target, held, trade):
    assert perpetual_trade_usd(target, held) == trade


def test_a_hedge_at_the_target_keeps_the_coin_value_for_a_small_move():
    """Long 5 calls of premium-adjusted delta 0.4788: the perpetual's coin P&L cancels the option's."""
    spot, delta = 100_000.0, 0.4788
    amount = perpetual_target_usd(5.0, delta, spot)
    move = 1.0
    option_coin = 5.0 * delta * move / spot
    assert perpetual_pnl_coin(amount, spot, spot + move) == pytest.approx(-option_coin, rel=2e-5)


def test_refusals_name_the_argument():
    with pytest.raises(ArgumentError, match="contract_size"):
        perpetual_trade_usd(1.0, 0.0, 0)
    with pytest.raises(ArgumentError, match="exit_price"):
        perpetual_pnl_coin(1.0, 1.0, 0.0)
    with pytest.raises(ArgumentError, match="spot"):
        expiry_payoff_coin(0.0, 1.0, True)


def test_payoffs_in_coin():
    assert expiry_payoff_coin(125_000.0, 100_000.0, True) == 0.2
    assert expiry_payoff_coin(5_000.0, 10_000.0, False) == 1.0
    assert expiry_payoff_coin(90_000.0, 100_000.0, True) == 0.0
