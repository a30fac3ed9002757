"""Dealer gamma exposure: sums, walls, coverage, the flip level and the thresholds built on it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.marketdata.dealer_gamma import (
    MIN_YEARS,
    ExposureRows,
    exposure_near,
    exposures,
    gamma_exposure,
    gamma_flip,
    reference_exposure_usd,
    repriced_exposure,
)
from scalpdesk.pricing import greeks

NAN = float("nan")
NEAR = date(2018, 2, 5)
FAR = date(2018, 2, 16)


def chain(rows: Sequence[tuple[float, str, float, float]], **more: Any) -> ExposureRows:
    """Return rows of (strike, right, gamma, open interest) as columns."""
    strike, right, gamma, held = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns: dict[str, Any] = {
        "strike": np.array(strike, dtype=np.float64),
        "is_call": np.array([one == "C" for one in right], dtype=np.bool_),
        "gamma": np.array(gamma, dtype=np.float64),
        "open_interest": np.array(held, dtype=np.float64),
        "multiplier": np.full(len(rows), 100.0),
    }
    return ExposureRows(**(columns | more))


WORKED = [
    (590, "C", 0.05, 2000.0),
    (595, "C", 0.04, 8500.0),
    (585, "P", 0.04, 6000.0),
    (580, "P", 0.02, 9000.0),
]


def flip_chain(*rows: tuple[float, str, float, float], years: float) -> ExposureRows:
    """Return rows of (strike, right, volatility, open interest) with one time to expiry."""
    return chain(
        [(strike, right, NAN, held) for strike, right, _, held in rows],
        vol=np.array([vol for _, _, vol, _ in rows]),
        years=np.full(len(rows), years),
    )


def test_the_worked_chain_has_its_sum_and_its_walls() -> None:
    found = gamma_exposure(chain(WORKED), 590.0)
    assert found.net_usd == pytest.approx(6_962_000.0, rel=1e-12)
    assert (found.call_wall, found.put_wall) == (595.0, 585.0)
    assert found.coverage == 1.0
    assert sum(one.net_usd for one in found.by_strike) == pytest.approx(found.sum_usd, rel=1e-12)


def test_of_equal_walls_the_lower_strike_is_named() -> None:
    rows = [(610, "C", 0.01, 5.0), (600, "C", 0.01, 5.0), (590, "P", 0.01, 5.0), (580, "P", 0.01, 5.0)]
    found = gamma_exposure(chain(rows), 600.0)
    assert (found.call_wall, found.put_wall) == (600.0, 580.0)


def test_a_side_that_nobody_holds_has_no_wall() -> None:
    found = gamma_exposure(chain([(600, "C", 0.01, 5.0), (590, "P", 0.01, 0.0)]), 600.0)
    assert (found.call_wall, found.put_wall) == (600.0, None)
    assert found.net_usd is not None


def test_the_multiplier_is_the_contracts_own() -> None:
    rows = chain([(600, "C", 0.01, 5.0), (600, "C", 0.01, 5.0)], multiplier=np.array([100.0, 10.0]))
    assert exposures(rows, 600.0).tolist() == pytest.approx([18_000.0, 1_800.0])


def test_rows_without_gamma_or_open_interest_are_left_out_and_counted() -> None:
    found = gamma_exposure(chain([*WORKED, (600, "C", NAN, 10.0)]), 590.0)
    assert found.net_usd == pytest.approx(6_962_000.0)
    assert (found.rows_counted, found.rows_listed) == (4, 5)
    assert found.reason == ""
    # three of four is below four of five
    thin = gamma_exposure(chain([*WORKED[:3], (600, "C", 0.01, NAN)]), 590.0)
    assert thin.net_usd is None
    assert thin.reason == "coverage 75% is below 80%"
    assert thin.sum_usd != 0.0


def test_exactly_four_fifths_is_enough() -> None:
    rows = [(600.0 + i, "C", 0.01, 5.0 if i else NAN) for i in range(5)]
    assert gamma_exposure(chain(rows), 600.0).net_usd is not None


def test_an_option_that_nobody_holds_needs_no_gamma() -> None:
    found = gamma_exposure(chain([(600, "C", NAN, 0.0), (590, "P", 0.01, 1.0)]), 600.0)
    assert found.coverage == 1.0


def test_a_chain_without_open_interest_says_nothing_of_dealers() -> None:
    """It was a net exposure of 0, and dealers "short"."""
    rows = [(strike, side, 0.02, 0.0) for strike in (99.0, 100.0, 101.0) for side in "CP"]
    found = gamma_exposure(chain(rows), 100.0)
    assert (found.coverage, found.net_usd) == (1.0, None)
    assert "open interest" in found.reason
    held = gamma_exposure(chain([*rows[:-1], (101.0, "P", 0.02, 3.0)]), 100.0)
    assert held.net_usd is not None
    assert held.net_usd < 0.0


def test_an_empty_chain_is_unknown() -> None:
    found = gamma_exposure(chain([]), 600.0)
    assert (found.net_usd, found.reason, found.call_wall, found.put_wall) == (None, "no options", None, None)


def test_expiries_are_told_apart() -> None:
    rows = chain(WORKED, expiry=(FAR, NEAR, NEAR, FAR))
    found = gamma_exposure(rows, 590.0)
    assert [day for day, _ in found.by_expiry] == [NEAR, FAR]
    assert sum(usd for _, usd in found.by_expiry) == pytest.approx(6_962_000.0)


def test_near_the_spot_only_near_strikes_count() -> None:
    found = gamma_exposure(chain(WORKED), 590.0)
    at_the_money = 0.05 * 2000 * 100 * 590**2 * 0.01
    assert exposure_near(found) == pytest.approx(at_the_money)


@pytest.mark.rows("spot", [0.0, -1.0, NAN, float("inf")])
def test_a_spot_that_is_none_is_refused(spot: float) -> None:
    with pytest.raises(ArgumentError, match="positive number"):
        gamma_exposure(chain(WORKED), spot)
    with pytest.raises(ArgumentError, match="positive number"):
        gamma_flip(flip_chain((595, "C", 0.15, 1.0), years=0.1), spot)


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ArgumentError, match="one value a row: 4"):
        chain(WORKED, multiplier=np.array([100.0]))


def test_repriced_at_the_spot_it_is_the_sum_over_the_models_own_gammas() -> None:
    strike, years, vol = (
        np.array([95.0, 100.0, 110.0]),
        np.array([0.1, 0.5, 0.02]),
        np.array([0.3, 0.2, 0.25]),
    )
    is_call = np.array([True, False, True])
    answer = greeks(101.0, strike, years, vol, is_call, rate=0.04, dividend_yield=0.01, style="european")
    rows = ExposureRows(
        strike, is_call, answer.gamma, np.array([10.0, 20.0, 30.0]), np.full(3, 100.0), vol=vol, years=years
    )
    repriced = repriced_exposure(rows, np.array([101.0]), rate=0.04, dividend_yield=0.01)
    assert repriced[0] == pytest.approx(gamma_exposure(rows, 101.0).sum_usd, rel=1e-12)


def test_the_worked_flip() -> None:
    rows = flip_chain((595, "C", 0.15, 8000.0), (585, "P", 0.18, 8000.0), years=5 / 365)
    assert gamma_flip(rows, 590.0) == pytest.approx(588.081518506, rel=1e-9)


def test_a_chain_of_calls_never_flips() -> None:
    assert gamma_flip(flip_chain((595, "C", 0.15, 8000.0), years=5 / 365), 590.0) is None


def test_the_flip_nearest_to_the_spot_is_named() -> None:
    rows = flip_chain(
        (560, "P", 0.10, 5000.0), (590, "C", 0.10, 5000.0), (620, "P", 0.10, 5000.0), years=5 / 365
    )
    below, above = gamma_flip(rows, 585.0), gamma_flip(rows, 598.0)
    assert below is not None
    assert above is not None
    assert 560 < below < 590 < above < 620


def test_on_the_last_day_the_profile_is_that_of_an_hour() -> None:
    wide = dict.fromkeys(("last", "hour"), 0.0)
    for name, years in (("last", 1e-7), ("hour", MIN_YEARS)):
        rows = flip_chain((595, "C", 0.15, 8000.0), (585, "P", 0.18, 8000.0), years=years)
        found = gamma_flip(rows, 590.0)
        assert found is not None
        wide[name] = found
    assert wide["last"] == wide["hour"]


def test_without_volatilities_there_is_nothing_to_reprice() -> None:
    with pytest.raises(ArgumentError, match="repricing needs"):
        gamma_flip(chain(WORKED), 590.0)


@given(
    st.lists(
        st.tuples(
            st.floats(400.0, 800.0), st.sampled_from("CP"), st.floats(0.05, 1.0), st.integers(0, 10_000)
        ),
        min_size=2,
        max_size=8,
    ),
    st.floats(0.0, 1.0),
)
def test_the_profile_has_opposite_signs_on_the_two_sides_of_a_flip(
    rows: list[tuple[float, str, float, int]], years: float
) -> None:
    made = flip_chain(*((k, right, vol, float(held)) for k, right, vol, held in rows), years=years)
    flip = gamma_flip(made, 600.0)
    if flip is None:
        return
    assert 0.85 * 600.0 <= flip <= 1.15 * 600.0
    # the two neighbours of the flip on a fine grid; a sum that is too small to have a sign says nothing
    below, above = repriced_exposure(made, np.array([flip * (1 - 1e-7), flip * (1 + 1e-7)]))
    assert below * above <= 0.0 or max(abs(below), abs(above)) < 1e-6 * _gross(made, flip)


def _gross(rows: ExposureRows, spot: float) -> float:
    """Return the size of the exposure before calls and puts are set against one another."""
    calls = replace(rows, is_call=np.ones(len(rows), dtype=np.bool_))
    return float(repriced_exposure(calls, np.array([spot]))[0])


@given(st.floats(0.1, 10.0))
def test_the_flip_does_not_depend_on_the_size_of_the_market(factor: float) -> None:
    small = flip_chain((595, "C", 0.15, 8000.0), (585, "P", 0.18, 8000.0), years=5 / 365)
    large = flip_chain((595, "C", 0.15, 8000.0 * factor), (585, "P", 0.18, 8000.0 * factor), years=5 / 365)
    assert gamma_flip(large, 590.0) == pytest.approx(gamma_flip(small, 590.0), rel=1e-9)


@given(st.floats(50.0, 5_000.0))
def test_the_sum_scales_with_the_square_of_the_spot(spot: float) -> None:
    one, other = gamma_exposure(chain(WORKED), spot).sum_usd, gamma_exposure(chain(WORKED), 2 * spot).sum_usd
    assert other == pytest.approx(4 * one, rel=1e-12)


def test_a_large_exposure_is_the_ninetieth_percentile_of_sizes() -> None:
    history = [float(size) * (-1) ** size for size in range(1, 62)]
    assert reference_exposure_usd(history) == pytest.approx(np.quantile(np.arange(2.0, 62.0), 0.9))
    assert reference_exposure_usd([*history[:-20], *[NAN] * 20]) is not None


def test_a_short_or_empty_history_has_no_reference() -> None:
    assert reference_exposure_usd([1.0] * 19) is None
    assert reference_exposure_usd([1.0] * 20) == 1.0
    assert reference_exposure_usd([1.0] * 30 + [NAN] * 50) is None
    assert reference_exposure_usd([0.0] * 60) is None
