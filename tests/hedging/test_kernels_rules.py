"""The rules of the bands give the same bits in Python, where a desk asks, and as machine code, in the lab."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.units import exceeds
from scalpdesk.hedging.bands.whalley_wilmott import WhalleyWilmottBand
from scalpdesk.hedging.bands.zakamouline import ZakamoulineBand
from scalpdesk.hedging.base import AversionColumns, AversionConfig, HedgeInputs
from scalpdesk.hedging.kernels.columns import steps_to
from scalpdesk.hedging.kernels.rules import (
    held_between,
    is_worth_sending,
    minimum_variance_addition,
    nearest_whole,
    no_narrower_than_limit,
    rehedge_target,
    whole_position,
)
from scalpdesk.hedging.sizing import quantity_to_target
from scalpdesk.pricing.kernels.compiling import inner

SHARES = st.floats(-500.0, 500.0)
WIDTHS = st.floats(0.0, 100.0)


def every_rule(net, width, spot, vol, years, gamma):
    return (
        1.0 if exceeds(abs(net), width) else 0.0,
        rehedge_target(net, width, True),
        rehedge_target(net, width, False),
        held_between(net, width, 2.0 * width),
        nearest_whole(net),
        1.0 if is_worth_sending(net, width, 0.5, net, 1.0) else 0.0,
        no_narrower_than_limit(width, 0.5 * width, gamma, spot, 2e-5, 0.01),
        minimum_variance_addition(spot, 1.01 * spot, years, vol, -0.55, 1.25, -0.93),
        whole_position(width, 3, 100),
        steps_to(net, width, 1.0),
    )


compiled = inner(every_rule)
ROUNDED = 9
"""Place of the rounded hedge."""


@settings(max_examples=30, deadline=None)
@given(
    SHARES,
    WIDTHS,
    st.floats(1.0, 9e3),
    st.floats(0.02, 2.0),
    st.floats(1e-4, 2.0),
    st.floats(-50.0, 50.0),
)
def test_machine_code_gives_the_bits_of_python(net, width, spot, vol, years, gamma):
    python, machine = (each(net, width, spot, vol, years, gamma) for each in (every_rule, compiled))
    for ours, theirs in zip(python, machine, strict=True):
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    assert machine[ROUNDED] == quantity_to_target(net, width)


@pytest.mark.rows(("net", "steps"), [(2.5, -3), (-2.5, 3), (2.4999999999999, -3), (0.49, 0)])
def test_a_half_share_goes_away_from_zero_in_the_lab_as_at_the_desk(net, steps):
    found = compiled(net, 0.0, 100.0, 0.2, 0.1, 1.0)[ROUNDED]
    assert found == quantity_to_target(net, 0.0) == steps


@pytest.mark.parametrize("band", [WhalleyWilmottBand, ZakamoulineBand])
def test_a_formula_over_columns_gives_the_bits_that_it_gives_a_desk(band):
    generator = np.random.default_rng(1)
    made = band(AversionConfig(risk_aversion=0.02))
    gamma, spot = generator.normal(0.0, 5.0, 200), generator.uniform(50.0, 5_000.0, 200)
    years, vol = generator.uniform(1e-3, 1.0, 200), generator.uniform(0.05, 1.0, 200)
    cost, rate = generator.uniform(0.0, 1e-3, 200), generator.uniform(-0.02, 0.06, 200)
    columns = made.widths(AversionColumns(gamma, spot, years, vol, cost, rate))
    for row, width in enumerate(np.asarray(columns).tolist()):
        inputs = HedgeInputs(
            net_delta_shares=0.0,
            gamma_shares_per_usd=float(gamma[row]),
            spot=float(spot[row]),
            years=float(years[row]),
            vol=float(vol[row]),
            rate=float(rate[row]),
            straddles=1,
            multiplier=100,
            seconds_since_hedge=0.0,
            own_cost_fraction=float(cost[row]),
        )
        assert made.half_width(inputs)[0] == width
