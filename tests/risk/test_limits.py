from decimal import Decimal

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.risk.limits import BOUNDS, RiskLimits

MAY_BE_ZERO = {"max_short_contracts", "throttle_reserve_fraction"}


@pytest.mark.parametrize("name", sorted(BOUNDS))
@pytest.mark.parametrize("value", [0, -1])
def test_no_limit_is_switched_off_with_zero(name, value):
    if not value and name in MAY_BE_ZERO:
        assert getattr(RiskLimits(**{name: 0}), name) == 0
        return
    with pytest.raises(ConfigError, match="this key takes") as caught:
        RiskLimits(**{name: value})
    assert caught.value.where == f"risk.{name}"


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_every_limit_has_a_largest_value_that_is_allowed_itself(name):
    high = BOUNDS[name].high
    largest = dict.fromkeys(BOUNDS, None) | {name: high}
    required = {key: BOUNDS[key].high for key in BOUNDS if getattr(RiskLimits(), key) is not None}
    with pytest.raises(ConfigError) as caught:
        RiskLimits(**(largest | required | {name: high * 1.001}))
    assert caught.value.where == f"risk.{name}"
    assert f"risk.{name}" in caught.value.fix


OF_EQUITY_AT_MOST_ALL = [
    *("max_daily_loss_fraction", "max_position_fraction", "max_net_delta_fraction", "max_vega_fraction"),
    *("max_theta_fraction", "max_underlying_fraction", "max_margin_fraction", "reduce_margin_fraction"),
    *("flatten_margin_fraction", "max_reject_fraction", "price_collar_fraction"),
]


@pytest.mark.parametrize("name", OF_EQUITY_AT_MOST_ALL)
def test_a_fraction_that_is_written_in_percent_is_refused(name):
    with pytest.raises(ConfigError) as caught:
        RiskLimits(**{name: 1.5})
    assert caught.value.where == f"risk.{name}"


@pytest.mark.parametrize(
    "name", [name for name in BOUNDS if name.startswith("max_") and "fraction" not in name]
)
def test_the_smallest_count_is_one(name):
    others = {"max_messages_per_minute": {"max_orders_per_minute": 1}}.get(name, {})
    assert getattr(RiskLimits(**others, **{name: 1}), name) == 1


def test_every_number_among_the_limits_is_bounded():
    free = {"betas", "allowed_underlyings", "allowed_order_types"}
    assert set(RiskLimits.__struct_fields__) - free == set(BOUNDS)


@pytest.mark.parametrize("beta", [0, -0.5, 10.1, float("nan")])
def test_a_beta_is_a_beta(beta):
    with pytest.raises(ConfigError, match="beta") as caught:
        RiskLimits(betas={"QQQ": beta})
    assert caught.value.where == "risk.betas.QQQ"


@pytest.mark.parametrize("key", ["allowed_order_types", "allowed_underlyings"])
def test_a_list_that_allows_nothing_is_refused(key):
    with pytest.raises(ConfigError) as caught:
        RiskLimits(**{key: ()})
    assert caught.value.where == f"risk.{key}"


def test_a_pair_that_contradicts_is_refused_and_names_both():
    with pytest.raises(ConfigError, match=r"risk\.max_option_contracts = 6") as caught:
        RiskLimits(max_option_contracts=6, max_expiry_contracts=5)
    assert caught.value.where == "risk.max_expiry_contracts"
    assert RiskLimits(max_option_contracts=5, max_expiry_contracts=5).resolve().expiry_contracts == 5


def test_limits_that_are_not_given_follow_the_largest_order():
    limits = RiskLimits(max_order_contracts=3, max_order_shares=100, max_orders_per_minute=12).resolve()
    assert (limits.option_contracts, limits.expiry_contracts, limits.underlying_contracts) == (15, 30, 60)
    assert (limits.position_shares, limits.window_shares, limits.window_contracts) == (500, 1_000, 30)
    assert (limits.messages_per_minute, limits.repeats_per_minute, limits.flips_per_minute) == (18, 6, 2)
    given = RiskLimits(max_position_shares=25_000, max_messages_per_minute=500, max_repeats_per_minute=1)
    given = given.resolve()
    assert (given.position_shares, given.messages_per_minute, given.repeats_per_minute) == (25_000, 500, 1)


def test_the_daily_loss_is_an_amount_or_a_fraction_of_the_opening_equity():
    assert RiskLimits().daily_loss_limit(Decimal(100_000)) == Decimal(5_000)
    assert RiskLimits(max_daily_loss_fraction=0.01).daily_loss_limit(Decimal(50_000)) == Decimal(500)
    assert RiskLimits(max_daily_loss=Decimal(250)).daily_loss_limit(Decimal(100_000)) == Decimal(250)
