"""Hypotheses on dealer gamma: a planted effect is found, and nothing where nothing was planted."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from scalpdesk import load_data
from scalpdesk.pricing import greeks
from scalpdesk.research.gamma_hypotheses import Window, gamma_findings, hedged_pnl, windows_of


def drawn(effect=0.0, sessions=40, seed=2):
    """Return windows in which negative dealer gamma adds ``effect`` to the variance's logarithm."""
    draw, found = np.random.default_rng(seed), []
    for session in range(sessions):
        total, level = draw.normal(), draw.normal(0.0, 0.4)
        for slot in range(5):
            near = draw.normal()
            variance = -10.0 + level + 0.3 * draw.normal() + effect * (near < 0.0)
            found.append(
                Window(
                    session,
                    slot,
                    1e9 * total,
                    1e8 * near,
                    0.15 * np.exp(level / 2.0),
                    -10.0 + level + 0.2 * draw.normal(),
                    variance,
                    0.02 * draw.normal(),
                )
            )
    return found


def test_a_planted_effect_is_the_only_finding():
    found = {each.name: each for each in gamma_findings(drawn(effect=0.5))}
    shown = {name for name, each in found.items() if each.verdict.startswith("shown")}
    assert "sign of near exposure on log variance" in shown
    assert shown <= {"sign of near exposure on log variance", "size of near exposure on log variance"}
    assert found["sign of near exposure on log variance"].effect == pytest.approx(-0.5, abs=0.1)


def test_nothing_is_found_where_nothing_was_planted():
    shown = [gamma_findings(drawn(seed=seed)) for seed in range(3, 8)]
    assert sum(each.verdict.startswith("shown") for found in shown for each in found) <= 1


def test_what_cannot_be_tested_says_why():
    few = gamma_findings(drawn(sessions=4))
    assert {each.verdict for each in few} == {"not tested"}
    assert len(few) == 8
    long = [replace(each, total_usd=1e9) for each in drawn()]
    same = [each for each in gamma_findings(long) if "total" in each.name]
    assert all(each.problem and each.adjusted_p is None for each in same)


def test_a_hedged_straddle_loses_its_theta_where_nothing_moves():
    path = np.full(61, 100.0)
    ends = [
        sum(greeks(100.0, 100.0, years, 0.2, call, style="european").price for call in (True, False))
        for years in (0.02, 0.02 - 3600.0 / 31_536_000.0)
    ]
    assert hedged_pnl(path, 100.0, 0.02, 0.2) == pytest.approx(ends[1] / ends[0] - 1.0)


def test_a_straddle_hedged_at_the_volatility_that_comes_earns_nothing_on_average():
    draw, minute = np.random.default_rng(4), 60.0 / 31_536_000.0
    steps = 0.2 * np.sqrt(minute) * draw.normal(size=(2_000, 60)) - 0.5 * 0.04 * minute
    paths = 100.0 * np.exp(np.column_stack([np.zeros(2_000), np.cumsum(steps, axis=1)]))
    fair = np.array([hedged_pnl(path, 100.0, 0.02, 0.2) for path in paths[:500]])
    cheap = np.array([hedged_pnl(path, 100.0, 0.02, 0.15) for path in paths[:500]])
    assert abs(fair.mean()) < 3.0 * fair.std() / np.sqrt(len(fair))
    assert cheap.mean() > 10.0 * cheap.std() / np.sqrt(len(cheap))


def test_windows_of_a_day():
    found = list(windows_of(load_data(start=date(2018, 2, 5)), 7, 120))
    assert [(each.session, each.slot) for each in found] == [(7, 0), (7, 1)]
    for each in found:
        assert 0.2 < each.implied_vol < 1.0  # a day with a VIX of 37 at its close
        assert np.isfinite([each.log_variance, each.hedged_pnl, each.near_usd]).all()
        assert abs(each.near_usd) <= abs(each.total_usd) * 5.0
