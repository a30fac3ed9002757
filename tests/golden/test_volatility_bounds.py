"""The table of bounds in docs/evidence/forecasts.md: five days of SPY, with the weeks of a crash apart.

Every day from 2000 to 2021 is forecast from the 1,500 bars before it, and scored by QLIKE, which is the log
score of normal returns but for a factor.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.datasets.daily_history import find_history
from scalpdesk.volatility import forecast_vol

pytestmark = [pytest.mark.second, pytest.mark.slow]
DAILY = (
    Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "daily_history" / "equity_daily.parquet"
)
HORIZON, WINDOW, FIRST = 5, 1500, 600
CRASH_DAY, CRASH_VOL, CRASH_DAYS = 0.05, 0.45, 5
"""A crash week: five days from a close that moved so much, and days on which the average stands so high."""


@pytest.mark.skipif(not DAILY.is_file(), reason="the recorded daily bars are not here")
def test_held_forecasts_lose_nothing_on_calm_days_and_less_in_a_crash(tmp_path):
    history = find_history(tmp_path, "mine", "SPY", str(DAILY))
    returns = np.diff(np.log(history.bars["close"]))
    losses, ratios, crash = {"held": [], "own": [], "ewma": []}, [], []
    for end in range(FIRST, len(history.days) - HORIZON):
        bars = {name: column[max(end - WINDOW, 0) : end] for name, column in history.bars.items()}
        got, average = forecast_vol(bars, "har", HORIZON), forecast_vol(bars, "ewma", HORIZON)
        realised = float(np.square(returns[end - 1 : end - 1 + HORIZON]).mean())
        own = got.vol if got.held_from is None else got.held_from
        for name, vol in (("held", got.vol), ("own", own), ("ewma", average.vol)):
            losses[name].append(252 * realised / vol**2 + math.log(1e4 * vol**2 / 252))
        ratios.append(got.vol / average.vol)
        recent = np.abs(returns[max(end - 1 - CRASH_DAYS, 0) : end - 1])
        crash.append(bool((recent > CRASH_DAY).any()) or average.vol > CRASH_VOL)
    weeks = np.array(crash)
    calm = {name: round(float(np.array(each)[~weeks].mean()), 3) for name, each in losses.items()}
    wild = {name: round(float(np.array(each)[weeks].mean()), 3) for name, each in losses.items()}
    assert len(ratios) == 5244
    assert max(ratios) < 2.0001
    assert calm == pytest.approx({"own": 0.908, "held": 0.907, "ewma": 0.919}, abs=0.0015)
    assert calm["held"] <= calm["own"]
    assert wild["held"] < wild["own"] - 0.1
    assert wild["held"] < wild["ewma"]
