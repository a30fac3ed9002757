"""Bands against the optimum itself: exponential utility and proportional costs, solved on a lattice.

The certainty equivalent of an option with y shares beside it is stepped back through a binomial lattice of
the share (no rate, no drift); at each step shares may be traded at the cost. The band is where its slope in y
is less than the cost. A lattice lets trade only at its steps, so that its band is too narrow by a term in
1/√N, which two lattices take out.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.hedging import whalley_wilmott_band, zakamouline_band
from scalpdesk.hedging.bands.zakamouline import ZakamoulineBand
from scalpdesk.hedging.base import AversionConfig, HedgeInputs

SPOT = STRIKE = 100.0
VOL, YEARS = 0.25, 1.0
PAGE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "hedging.md"
ROOT = VOL * math.sqrt(YEARS)
GAMMA = math.exp(-0.125 * ROOT**2) / math.sqrt(2.0 * math.pi) / (SPOT * ROOT)
REACH = 4.5
"""Standard deviations of the share that the lattice reaches to."""
PER_BAND = 12
"""Points of the grid in y within a Whalley–Wilmott half width."""


def lattice_half_width(units, cost, aversion, steps):
    """Half width at the money of a call held (``units`` 1) or sold (-1), shares; N steps to expiry."""
    step = ROOT / math.sqrt(steps)
    up, down = math.expm1(step), math.expm1(-step)
    chance = -down / (up - down)
    points = np.arange(-0.15, 1.15, whalley_wilmott_band(GAMMA, SPOT, YEARS, cost, aversion) / PER_BAND)
    shares = np.sort(-units * points)

    def nodes(n):
        most = min(n, int(REACH * math.sqrt(steps)))
        return np.arange(-most + (most - n) % 2, most + 1, 2)

    at = nodes(steps)
    spot = SPOT * np.exp(at * step)
    value = units * np.maximum(spot - STRIKE, 0.0)[:, None] - cost * spot[:, None] * np.abs(shares)
    for n in range(steps - 1, -1, -1):
        now, first, last = nodes(n), at[0], len(at) - 1
        spot = SPOT * np.exp(now * step)
        rise = value[np.clip((now + 1 - first) // 2, 0, last)] + (spot * up)[:, None] * shares
        fall = value[np.clip((now - 1 - first) // 2, 0, last)] + (spot * down)[:, None] * shares
        held = fall - np.log1p(chance * np.expm1(aversion * (fall - rise))) / aversion
        paid = (cost * spot)[:, None] * shares
        bought = np.maximum.accumulate(held + paid, axis=1) - paid
        value = np.maximum.accumulate((bought - paid)[:, ::-1], axis=1)[:, ::-1] + paid
        at = now
    slope, middle = -np.diff(held[0]) / np.diff(shares), 0.5 * (shares[1:] + shares[:-1])
    return 0.5 * float(np.diff(np.interp([-cost * SPOT, cost * SPOT], slope, middle))[0])


def optimum(units, cost, aversion, steps=100):
    """Half width in the limit of trading at any time."""
    return 2.0 * lattice_half_width(units, cost, aversion, 4 * steps) - lattice_half_width(
        units, cost, aversion, steps
    )


def band_of(units, cost, aversion, *, gamma=GAMMA, spot=SPOT):
    """Half width that the desk's Zakamouline band gives a share of option."""
    position = HedgeInputs(
        net_delta_shares=0.0,
        gamma_shares_per_usd=units * gamma,
        spot=spot,
        years=YEARS,
        vol=VOL,
        rate=0.0,
        straddles=1,
        multiplier=100,
        seconds_since_hedge=0.0,
        own_cost_fraction=cost,
    )
    return ZakamoulineBand(AversionConfig(risk_aversion=aversion)).half_width(position)[0]


@pytest.mark.parametrize("units", [1, -1])
def test_whalley_and_wilmott_is_the_optimum_where_costs_are_small(units):
    small = (1e-3, 0.1)
    found = optimum(units, *small)
    assert whalley_wilmott_band(GAMMA, SPOT, YEARS, *small) == pytest.approx(found, rel=0.07)
    assert band_of(units, *small) == pytest.approx(found, rel=0.07)


def test_zakamoulines_formula_is_nearer_for_a_call_sold_at_his_cost():
    example = (0.01, 1.0)
    found = optimum(-1, *example)
    assert zakamouline_band(GAMMA, SPOT, YEARS, VOL, *example) == pytest.approx(found, rel=0.15)
    assert whalley_wilmott_band(GAMMA, SPOT, YEARS, *example) > 1.25 * found
    assert band_of(-1, *example) == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("example", [(0.01, 1.0), (0.01, 0.1)])
def test_who_holds_the_call_needs_the_wider_band(example):
    # the formula alone is half of it
    found = optimum(1, *example)
    assert found > whalley_wilmott_band(GAMMA, SPOT, YEARS, *example)
    assert band_of(1, *example) == pytest.approx(found, rel=0.1)


@pytest.mark.rows("example", [(0.01, 1.0), (0.01, 0.1), (0.001, 1.0)])
def test_the_half_widths_are_those_of_docs_evidence(example):
    widths = [optimum(units, *example) for units in (-1, 1)]
    widths.append(whalley_wilmott_band(GAMMA, SPOT, YEARS, *example))
    widths.append(zakamouline_band(GAMMA, SPOT, YEARS, VOL, *example))
    widths += [band_of(units, *example) for units in (-1, 1)]
    *cells, sold, held = (f"{width:.3f}" for width in widths)
    row = f"| {100 * example[0]:g} %, {example[1]:g} | {' | '.join(cells)} | {sold}, {held} |"
    assert row in PAGE.read_text(encoding="utf-8")


@pytest.mark.rows("cost", [1e-6, 2e-5, 1e-3, 0.02])
@pytest.mark.rows("aversion", [1e-3, 0.02, 0.25, 5.0])
@pytest.mark.rows("gamma", [0.2, 2.0, 60.0])
def test_long_gamma_is_hedged_no_more_often_than_by_whalley_and_wilmott(cost, aversion, gamma):
    width = band_of(1, cost, aversion, gamma=gamma, spot=275.0)
    narrow = whalley_wilmott_band(gamma, 275.0, YEARS, cost, aversion)
    assert width >= narrow
    assert width >= band_of(-1, cost, aversion, gamma=gamma, spot=275.0)
