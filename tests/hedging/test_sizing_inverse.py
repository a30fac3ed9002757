import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.hedging.sizing import perpetual_trade_usd


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


def test_refusals_name_the_argument():
    with pytest.raises(ArgumentError, match="contract_size"):
        perpetual_trade_usd(1.0, 0.0, 0)
