"""What settles at a mean is valued and hedged as an option on that mean, once a part of it is fixed."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.instruments.contract import Right
from scalpdesk.instruments.deribit import deribit_option, option_name
from scalpdesk.portfolio.option_pricer import ContractPricer

MINUTE = 1.0 / (365.0 * 24 * 60)
VOL = 0.5


def contract_of(right, strike=100_000):
    return deribit_option(option_name("BTC", date(2025, 1, 15), Decimal(strike), right))


def pricer_at(mean):
    pricer = ContractPricer()
    pricer.mean_fixed = lambda _contract, _years: mean
    return pricer


def simulated(right, spot, mean, minutes, strike=100_000.0, paths=8_000):
    """Worth in dollars of an option on the mean of 30 minutes, by drawn paths of what is left of them."""
    dice, steps = np.random.Generator(np.random.PCG64(5)), 60
    years = minutes * MINUTE
    shocks = dice.standard_normal((paths // 2, steps)) * VOL * np.sqrt(years / steps)
    shocks = np.concatenate([shocks, -shocks])
    path = spot * np.exp(np.cumsum(shocks - 0.5 * VOL**2 * years / steps, axis=1))
    level = ((30 - minutes) * mean + minutes * path.mean(axis=1)) / 30
    sign = 1.0 if right is Right.CALL else -1.0
    return float(np.maximum(sign * (level - strike), 0.0).mean())


@settings(max_examples=10)
@given(
    st.sampled_from([Right.CALL, Right.PUT]),
    st.floats(99_700.0, 100_300.0),
    st.floats(99_700.0, 100_300.0),
    st.sampled_from([3.0, 6.0, 12.0, 24.0]),
)
def test_price_and_delta_are_those_of_paths_of_what_is_left_of_the_mean(right, spot, mean, minutes):
    option = contract_of(right)
    found = pricer_at(mean).greeks(option, spot, minutes * MINUTE, VOL, 0.0, 0.0)
    in_dollars = simulated(right, spot, mean, minutes)
    assert found.price * spot == pytest.approx(in_dollars, abs=0.01 * in_dollars + 1.0)
    up, down = (simulated(right, spot + move, mean, minutes) for move in (5.0, -5.0))
    assert found.delta + found.price == pytest.approx((up - down) / 10.0, abs=0.015)


def test_with_24_of_30_minutes_fixed_an_option_in_the_money_has_a_fifth_of_a_delta():
    option, spot = contract_of(Right.CALL), 100_200.0
    found = pricer_at(100_150.0).greeks(option, spot, 6 * MINUTE, VOL, 0.0, 0.0)
    assert found.delta + found.price == pytest.approx(0.2, abs=0.005)
    plain = ContractPricer().greeks(option, spot, 6 * MINUTE, VOL, 0.0, 0.0)
    assert plain.delta > 0.75  # as if the last price decided
    # the part that is fixed has decided alone: nothing is left to a put, and no more to a call
    decided = pricer_at(126_000.0).greeks(option, spot, 6 * MINUTE, VOL, 0.0, 0.0)
    assert decided.delta + decided.price == pytest.approx(0.2)
    assert decided.price * spot == pytest.approx(0.8 * 126_000 + 0.2 * spot - 100_000)
    put = pricer_at(126_000.0).greeks(contract_of(Right.PUT), spot, 6 * MINUTE, VOL, 0.0, 0.0)
    assert put.price == put.delta == put.gamma == 0.0


def test_in_the_window_a_quote_tells_no_volatility():
    option, spot, years = contract_of(Right.CALL), 100_050.0, 12 * MINUTE
    pricer = pricer_at(100_000.0)
    price = pricer.greeks(option, spot, years, VOL, 0.0, 0.0).price
    assert pricer.implied_vol(option, price, spot, years, 0.0, 0.0) is None
    one = np.ones(1)
    vols, vegas = pricer.vols_and_vegas(
        option, price * one, one > 0, spot * one, 1e5 * one, years * one, 0 * one, 0 * one
    )
    assert np.isnan(vols[0])
    assert np.isnan(vegas[0])


def test_before_the_window_and_for_what_settles_otherwise_nothing_changes():
    option = contract_of(Right.CALL)
    at = 100_000.0, 31 * MINUTE, VOL, 0.0, 0.0
    assert pricer_at(90_000.0).greeks(option, *at) == ContractPricer().greeks(option, *at)
