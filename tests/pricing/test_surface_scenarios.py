import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import greeks
from scalpdesk.pricing.scenarios import VALUE_UNITS, OptionLine, scenario_grid

CALL = OptionLine(100.0, 30 / 365, True, 0.25, 2.0, rate=0.03)
PUT = OptionLine(95.0, 30 / 365, False, 0.3, -3.0, 10.0, rate=0.03, style="european")
SPOTS, CHANGES, DAYS = (90.0, 100.0, 110.0), (-0.05, 0.0), (0.0, 1.0, 29.0, 30.0, 40.0)


@pytest.fixture(scope="module")
def grid():
    return scenario_grid([CALL, PUT], 100.0, spots=SPOTS, vol_changes=CHANGES, days_ahead=DAYS, shares=-50.0)


def test_every_value_has_the_axes_and_a_unit(grid):
    assert set(grid) == set(VALUE_UNITS)
    for value in grid.values():
        assert value.shape == (3, 2, 5)


@pytest.mark.rows("at", [(0, 0, 0), (2, 1, 1), (1, 0, 2)])
def test_a_point_is_the_book_priced_there(grid, at):
    i, j, n = at
    total = np.zeros(5)
    for line in (CALL, PUT):
        g = greeks(
            SPOTS[i],
            line.strike,
            line.years - DAYS[n] / 365,
            line.vol + CHANGES[j],
            line.is_call,
            rate=0.03,
            style=line.style,
        )
        units = line.contracts * line.multiplier
        total += units * np.array([g.price, g.delta, g.gamma, g.theta / 365, g.vega / 100]).reshape(5)
    total += np.array([-50.0 * SPOTS[i], -50.0, 0.0, 0.0, 0.0])
    names = ("value_usd", "delta_shares", "gamma_shares_per_usd", "theta_usd_per_day", "vega_usd_per_point")
    assert [grid[name][at] for name in names] == pytest.approx(total, rel=1e-9)


def test_profit_is_against_the_book_as_it_stands(grid):
    assert grid["pnl_usd"][1, 1, 0] == 0.0
    base = grid["value_usd"][1, 1, 0]
    assert grid["pnl_usd"] == pytest.approx(grid["value_usd"] - base, abs=1e-9)


def test_after_expiry_what_is_left_is_intrinsic(grid):
    for n in (3, 4):
        assert grid["value_usd"][:, 0, n] == pytest.approx(
            [-3 * 10 * 5.0 - 4500.0, -5000.0, 2 * 100 * 10.0 - 5500.0], abs=1e-9
        )
        assert not grid["gamma_shares_per_usd"][:, :, n].any()


def test_a_surface_moves_the_smile_with_the_spot():
    def vol_of(strike, years, spot):
        return 0.2 + 0.5 * max(np.log(spot / strike), 0.0) + 0.0 * years

    held = scenario_grid([CALL], 100.0, spots=[110.0], vol_of=vol_of)
    direct = greeks(110.0, 100.0, 30 / 365, 0.2 + 0.5 * np.log(1.1), True, rate=0.03)
    assert held["value_usd"][0, 0, 0] == pytest.approx(200.0 * float(direct.price))
    base = greeks(100.0, 100.0, 30 / 365, 0.2, True, rate=0.03)
    assert held["pnl_usd"][0, 0, 0] == pytest.approx(200.0 * float(direct.price - base.price))
    gone = scenario_grid([CALL], 100.0, spots=[110.0], days_ahead=[31.0], vol_of=vol_of)
    assert gone["value_usd"][0, 0, 0] == pytest.approx(2000.0)


def test_a_volatility_does_not_fall_below_zero():
    crushed = scenario_grid([CALL], 100.0, spots=[100.0], vol_changes=[-1.0])
    assert crushed["value_usd"][0, 0, 0] == pytest.approx(200.0 * 100.0 * (1 - np.exp(-0.03 * 30 / 365)))


def test_an_empty_book_holds_its_shares():
    grid = scenario_grid([], 100.0, shares=7.0)
    assert grid["delta_shares"].shape == (21, 1, 1)
    assert (grid["delta_shares"] == 7.0).all()
    assert grid["pnl_usd"][0, 0, 0] == pytest.approx(-70.0)


@pytest.mark.rows(
    ("changed", "where"),
    [
        ({"spots": [100.0, 0.0]}, r"spots\[1\]"),
        ({"spots": []}, "spots"),
        ({"vol_changes": [float("nan")]}, "vol_changes"),
        ({"days_ahead": [-1.0]}, "days_ahead"),
        ({"spots": [[100.0]]}, "spots"),
    ],
)
def test_a_bad_axis_is_refused_by_name(changed, where):
    with pytest.raises(ArgumentError, match=where):
        scenario_grid([CALL], 100.0, **changed)


def test_cash_dividends_come_nearer_with_the_days_and_are_gone_after_their_ex_date():
    line = OptionLine(100.0, 60 / 365, False, 0.2, 1.0, rate=0.03, dividends=((20 / 365, 3.0),))
    days = (0.0, 19.0, 21.0)
    grid = scenario_grid([line], 100.0, spots=[95.0, 100.0], days_ahead=days)
    for j, left in enumerate((((20 / 365, 3.0),), ((1 / 365, 3.0),), ())):
        one = greeks(
            np.array([95.0, 100.0]), 100.0, (60 - days[j]) / 365, 0.2, False, rate=0.03, dividends=left
        )
        assert grid["value_usd"][:, 0, j] == pytest.approx(100 * one.price, abs=1e-9)
        assert grid["delta_shares"][:, 0, j] == pytest.approx(100 * one.delta, abs=1e-9)
