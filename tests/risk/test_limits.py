from decimal import Decimal

import pytest

from scalpdesk.config.settings import SimulationSection
from scalpdesk.core.bounds import bounds_of
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import Purpose
from scalpdesk.risk.limits import RiskLimits, check_account, check_sizes
from scalpdesk.strategies.registry import find_strategy

FREE = {"betas", "allowed_underlyings", "allowed_order_types", "index_orders"}
BOUNDS = {name: bound for name, bound in bounds_of(RiskLimits).items() if name not in FREE}
MAY_BE_ZERO = {"max_short_contracts"}


@pytest.mark.rows("name", sorted(BOUNDS))
@pytest.mark.rows("value", [0, -1])
def test_no_limit_is_switched_off_with_zero(name, value):
    if not value and name in MAY_BE_ZERO:
        assert getattr(RiskLimits(**{name: 0}), name) == 0
        return
    with pytest.raises(ConfigError) as caught:
        RiskLimits(**{name: value})
    assert caught.value.where == f"risk.{name}"


@pytest.mark.parametrize("key", ["allowed_order_types", "allowed_underlyings"])
def test_a_list_that_allows_nothing_is_refused(key):
    with pytest.raises(ConfigError) as caught:
        RiskLimits(**{key: ()})
    assert caught.value.where == f"risk.{key}"


def test_limits_that_are_not_given_follow_the_largest_order():
    limits = RiskLimits(max_order_contracts=3, max_order_shares=100, max_orders_per_minute=12).resolve()
    assert (limits.option_contracts, limits.expiry_contracts, limits.underlying_contracts) == (15, 30, 60)
    assert (limits.position_shares, limits.window_shares, limits.window_contracts) == (500, 1_000, 30)
    assert (limits.messages_per_minute, limits.repeats_per_minute, limits.flips_per_minute) == (18, 6, 2)


def test_the_daily_loss_is_an_amount_or_a_fraction_of_the_opening_equity():
    assert RiskLimits().daily_loss_limit(Decimal(100_000)) == Decimal(5_000)
    assert RiskLimits(max_daily_loss_fraction=0.01).daily_loss_limit(Decimal(50_000)) == Decimal(500)
    assert RiskLimits(max_daily_loss=Decimal(250)).daily_loss_limit(Decimal(100_000)) == Decimal(250)


LARGEST_AND_DEFAULT = """
max_daily_loss               1000000000  none
max_daily_loss_fraction      1           0.05
max_consecutive_losses       1000        3
max_position_fraction        1           0.25
max_premium_fraction         1           0.5
max_capital_fraction         4           1
max_order_contracts          10000       100
max_order_shares             10000000    20000
max_order_premium            1000000000  none
max_option_contracts         100000      none
max_expiry_contracts         100000      none
max_underlying_contracts     1000000     none
max_short_contracts          100000      0
max_position_shares          100000000   none
max_orders_per_minute        1000000     120
max_messages_per_minute      10000000    none
max_live_orders              10000       20
price_collar_fraction        1           0.1
least_sale_fraction          1           0.5
max_net_delta_fraction       1           0.2
max_bought_delta_fraction    100         5
max_underlying_fraction      1           1
max_gamma_fraction           10          0.1
max_bought_gamma_fraction    1000        10
max_vega_fraction            1           0.02
max_theta_fraction           1           0.01
max_margin_fraction          1           0.5
reduce_margin_fraction       1           0.6
flatten_margin_fraction      1           0.8
target_vol                   2           none
max_window_contracts         1000000     none
max_window_shares            1000000000  none
max_repeats_per_minute       1000000     none
max_flips_per_minute         1000000     none
max_reject_fraction          1           0.5
"""
"""As the page of configuration keys states them."""
ROWS = [line.split() for line in LARGEST_AND_DEFAULT.strip().splitlines()]


@pytest.mark.rows(("name", "largest", "default"), ROWS)
def test_a_limit_starts_at_its_default_and_takes_values_up_to_its_largest_one(name, largest, default):
    assert getattr(RiskLimits(), name) == (None if default == "none" else pytest.approx(float(default)))
    low, high, _, may_equal_low = BOUNDS[name]
    assert (low, high, may_equal_low) == (0, float(largest), name in MAY_BE_ZERO)


def test_every_number_among_the_limits_is_bounded_and_in_the_table():
    assert (
        [row[0] for row in sorted(ROWS)] == sorted(BOUNDS) == sorted({*RiskLimits.__struct_fields__} - FREE)
    )


def test_a_desk_without_a_list_of_symbols_trades_all_and_sends_both_types_of_order():
    limits = RiskLimits()
    assert (limits.betas, limits.allowed_underlyings) == ({}, None)
    assert limits.allowed_order_types == ("market", "limit")


@pytest.mark.rows("beta", [0, -0.5, 10.1])
def test_a_beta_is_refused_with_its_symbol(beta):
    with pytest.raises(ConfigError) as caught:
        RiskLimits(betas={"SPY": 10, "QQQ": beta})
    assert (caught.value.where, caught.value.value) == ("risk.betas.QQQ", beta)


@pytest.mark.rows(
    ("smaller", "larger", "low", "high"),
    [
        ("max_margin_fraction", "reduce_margin_fraction", 0.7, 0.6),
        ("reduce_margin_fraction", "flatten_margin_fraction", 0.9, 0.8),
        ("max_option_contracts", "max_expiry_contracts", 6, 5),
        ("max_expiry_contracts", "max_underlying_contracts", 6, 5),
        ("max_short_contracts", "max_option_contracts", 6, 5),
        ("max_orders_per_minute", "max_messages_per_minute", 6, 5),
        ("max_net_delta_fraction", "max_bought_delta_fraction", 0.6, 0.5),
        ("max_gamma_fraction", "max_bought_gamma_fraction", 6, 5),
    ],
)
def test_of_two_limits_the_narrower_may_equal_the_wider_and_not_exceed_it(smaller, larger, low, high):
    assert getattr(RiskLimits(**{smaller: high, larger: high}), smaller) == high
    with pytest.raises(ConfigError) as caught:
        RiskLimits(**{smaller: low, larger: high})
    error = caught.value
    assert (error.where, error.value) == (f"risk.{larger}", high)
    assert error.what == f"contradicts risk.{smaller} = {low}, which may not be the larger one"
    assert error.fix == f"set risk.{larger} to at least {low}, or lower risk.{smaller}"
    for missing in (smaller, larger):
        if getattr(RiskLimits(), missing) is None or "fraction" in missing:
            RiskLimits(**({smaller: low, larger: high} | {missing: None}))


def test_each_purpose_has_its_own_throttles():
    throttles = RiskLimits(max_orders_per_minute=50, max_live_orders=30).resolve().throttles
    assert throttles[Purpose.OPEN] == (40, 60, 24)  # of 50, 75 and 30, less 10, 15 and 6
    assert throttles[Purpose.HEDGE] == (45, 68, 27)  # less 5, 7 and 3
    assert throttles[Purpose.CLOSE] == throttles[Purpose.UNWIND_HEDGE] == (50, 75, 30)
    assert throttles[Purpose.OPEN].messages == 60


def test_every_limit_that_follows_another_one_can_be_given():
    given = RiskLimits(
        max_option_contracts=7,
        max_expiry_contracts=8,
        max_underlying_contracts=9,
        max_position_shares=10,
        max_messages_per_minute=121,
        max_window_contracts=11,
        max_window_shares=12,
        max_repeats_per_minute=13,
        max_flips_per_minute=14,
    ).resolve()
    assert (given.option_contracts, given.expiry_contracts, given.underlying_contracts) == (7, 8, 9)
    assert (given.position_shares, given.window_contracts, given.window_shares) == (10, 11, 12)
    assert (given.messages_per_minute, given.repeats_per_minute, given.flips_per_minute) == (121, 13, 14)
    assert (given.order_contracts, given.order_shares) == (100, 20_000)
    fewest = RiskLimits(max_orders_per_minute=1).resolve()
    assert (fewest.messages_per_minute, fewest.repeats_per_minute, fewest.flips_per_minute) == (1, 1, 1)


# the account and the strategy ----------------------------------------------------------------------


@pytest.mark.rows("cash", ["0.01", "1000000000000"])
@pytest.mark.rows("units", ["100000000", "-100000000", "0"])
def test_a_simulated_account_may_hold_up_to_a_bound(cash, units):
    SimulationSection(starting_cash=Decimal(cash), positions={"SPY": Decimal(units)})


@pytest.mark.rows("cash", ["0", "-1", "1000000000000.01", "NaN", "Infinity"])
def test_a_simulated_account_starts_with_a_sum_above_zero(cash):
    with pytest.raises(ConfigError) as caught:
        SimulationSection(starting_cash=Decimal(cash))
    assert (caught.value.where, caught.value.value) == ("simulation.starting_cash", cash)


@pytest.mark.rows("units", ["100000001", "-100000001", "NaN", "-Infinity"])
def test_a_simulated_position_is_a_number_within_its_bound(units):
    with pytest.raises(ConfigError) as caught:
        SimulationSection(positions={"QQQ": 1, "SPY": Decimal(units)})
    assert (caught.value.where, caught.value.value) == ("simulation.positions.SPY", units)


@pytest.mark.parametrize("key", ["max_daily_loss", "max_order_premium"])
def test_an_amount_above_the_whole_account_is_refused(key):
    limits = RiskLimits(**{key: Decimal(500)})
    check_account(RiskLimits(), Decimal(1), "the account's equity")
    check_account(limits, Decimal(500), "the account's equity")
    with pytest.raises(ConfigError, match=r"the account's equity is 499\.99") as caught:
        check_account(limits, Decimal("499.99"), "the account's equity")
    assert (caught.value.where, caught.value.value) == (f"risk.{key}", "500")
    assert caught.value.fix == f"set risk.{key} to at most 499.99"
    with pytest.raises(ConfigError) as caught:
        check_account(limits, Decimal(400), "simulation.starting_cash")
    assert caught.value.fix == f"set risk.{key} to at most 400, or raise simulation.starting_cash"


def test_a_strategy_buys_no_more_straddles_than_an_order_may_have_contracts():
    limits = RiskLimits(max_order_contracts=4)
    sizes = find_strategy("gamma-scalper").config
    for config in (sizes(straddles=4), find_strategy("st0cka").config(), sizes(straddles=None)):
        check_sizes(limits, "gamma-scalper", config, "--set")
    with pytest.raises(ConfigError, match="no leg could be bought") as caught:
        check_sizes(limits, "gamma-scalper", sizes(straddles=5), "--set")
    assert (caught.value.where, caught.value.value) == ("strategies.gamma-scalper.straddles (--set)", 5)
    assert caught.value.fix == "set straddles to at most 4, or raise risk.max_order_contracts"
