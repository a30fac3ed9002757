from decimal import Decimal

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.risk.limits import RiskLimits


@pytest.mark.parametrize("name", RiskLimits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1])
def test_no_limit_is_switched_off_with_zero(name, value):
    with pytest.raises(ConfigError, match="above zero") as caught:
        RiskLimits(**{name: value})
    assert caught.value.where == f"risk.{name}"


def test_the_daily_loss_is_an_amount_or_a_fraction_of_the_opening_equity():
    assert RiskLimits().daily_loss_limit(Decimal(100_000)) == Decimal(5_000)
    assert RiskLimits(max_daily_loss_fraction=0.01).daily_loss_limit(Decimal(50_000)) == Decimal(500)
    assert RiskLimits(max_daily_loss=Decimal(250)).daily_loss_limit(Decimal(100_000)) == Decimal(250)
