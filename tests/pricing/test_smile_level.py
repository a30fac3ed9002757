import math
from dataclasses import replace

import numpy as np
import pytest

from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded.surface import smile_factor, swap_over_money
from scalpdesk.pricing import greeks
from scalpdesk.pricing.smile_level import (
    SviVols,
    horizon_level,
    level_of,
    shifted_smile,
    swap_vol,
)
from scalpdesk.pricing.svi import SviSmile
from scalpdesk_testing.field_formulas import swap_variance_of_quotes

YEARS = 28.7 / 252
AT_MONEY = 0.1541


def embedded(k):
    """The embedded market's smile with 30 days to go."""
    theta = AT_MONEY**2 * YEARS
    return AT_MONEY * np.sqrt(smile_factor(np.asarray(k) / math.sqrt(theta)))


@pytest.mark.rows("level", ["swap", "atm"])
@pytest.mark.rows("shift", ["standardised", "parallel"])
@pytest.mark.rows("wanted", [0.12, 0.2, 0.34])
def test_a_moved_smile_has_the_level_that_it_was_moved_to(level, shift, wanted):
    moved = shifted_smile(embedded, YEARS, wanted, level=level, shift=shift)
    assert level_of(moved, YEARS, level) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("shift", ["standardised", "parallel"])
def test_a_forecast_at_the_markets_level_moves_nothing(shift):
    moved = shifted_smile(embedded, YEARS, swap_vol(embedded, YEARS), shift=shift)
    at = np.array([-0.1, 0.0, 0.05])
    assert moved(at).tolist() == embedded(at).tolist()


def test_a_flat_smile_is_its_own_variance_swap():
    def flat(k):
        return np.full_like(k, 0.2)

    assert swap_vol(flat, 0.25) == pytest.approx(0.2, rel=1e-12)
    moved = shifted_smile(flat, 0.25, 0.3)
    assert moved(np.array([-0.2])) == pytest.approx(0.3, rel=1e-9)


def test_the_swap_of_the_embedded_smile_is_a_fifth_above_the_money():
    # three calculations: the smile's integral, the embedded market's own, and a strip of option prices
    ratio = swap_vol(embedded, YEARS) / AT_MONEY
    assert 1.19 <= ratio <= 1.20
    assert ratio**2 == pytest.approx(swap_over_money(AT_MONEY**2 * YEARS), rel=3e-3)
    strikes = np.linspace(10.0, 300.0, 5801)
    vols = embedded(np.log(strikes / 100.0))
    mids = greeks(100.0, strikes, YEARS, vols, strikes > 100.0, style="european").price
    at = int(np.searchsorted(strikes, 100.0))
    mids[at] = greeks(100.0, 100.0, YEARS, float(embedded(0.0)), True, style="european").price
    variance = swap_variance_of_quotes(100.0, YEARS, 0.0, list(zip(strikes, mids, strict=True)))
    assert math.sqrt(variance) / AT_MONEY == pytest.approx(ratio, rel=1e-3)
    assert figures.SMILE_RHO < 0.0


def test_a_standardised_shift_keeps_the_smile_over_deviations():
    moved = shifted_smile(embedded, YEARS, 1.5 * AT_MONEY, level="atm")
    for k in (-0.1, -0.02, 0.0, 0.04):
        assert moved(1.5 * k) == pytest.approx(1.5 * embedded(k), rel=1e-9)


def test_only_the_variance_to_the_horizon_moves():
    assert horizon_level(0.16, YEARS, 5 / 252, 0.16) == pytest.approx(0.16)
    assert horizon_level(0.16, YEARS, YEARS, 0.2) == pytest.approx(0.2)
    moved = horizon_level(0.16, YEARS, 5 / 252, 0.2, 0.145)
    gained = moved**2 * YEARS - 0.16**2 * YEARS
    assert gained == pytest.approx((0.2**2 - 0.145**2) * 5 / 252)


def test_the_compiled_level_of_an_svi_smile_is_that_of_its_volatilities():
    years = 0.1
    vols = SviVols(SviSmile(0.001, 0.01, -0.5, 0.01, 0.05), years)
    for smile in (vols, replace(vols, factor=1.3)):
        assert swap_vol(smile, years) == pytest.approx(swap_vol(lambda k, s=smile: s(k), years), rel=1e-11)
    moved = shifted_smile(vols, years, 0.2)
    at = np.array([-0.1, 0.0, 0.05])
    assert moved(at) == pytest.approx(shifted_smile(lambda k: 1.0 * vols(k), years, 0.2)(at), rel=1e-9)


def test_a_wing_too_steep_for_a_density_has_a_level_all_the_same():
    """The fit of 2015-08-24 at 13:11 with one quote below the forward: its left wing rises by 2.23."""
    svi = SviSmile(-0.005803012522, 1.133859530595, -0.967091497111, -0.092141477024, 0.045376557425)
    vols = SviVols(svi, 0.0688)
    level = swap_vol(vols, 0.0688)
    assert level == pytest.approx(swap_vol(lambda k: 1.0 * vols(k), 0.0688), rel=1e-9)
    assert 0.3 < level < 0.5  # at the money it is 0.374
