from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.datasets.sides import closing_level, parity_level_rows, parity_levels, recorded_levels
from scalpdesk.datasets.store import connect
from scalpdesk.instruments.sessions import new_york_ns, session_on

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
DERIVED = SHARED / "spxw_2021-01" / "index_parity_DERIVED.parquet"
WEEK = [date(2021, 1, day) for day in (4, 5, 6, 7, 8)]


@pytest.mark.recorded
def test_the_derived_index_of_the_recorded_week_is_reproduced(recorded_catalog):
    theirs = (
        connect()
        .execute(
            "SELECT epoch_ns(ts) AS ts, expiry::VARCHAR AS expiry, strike, implied_forward, uncertainty "
            "FROM read_parquet(?) ORDER BY ts",
            [str(DERIVED)],
        )
        .fetchnumpy()
    )
    found = [parity_levels(connect(), recorded_catalog, "lean", ["SPXW"], day) for day in WEEK]
    assert all(one is not None for one in found)
    ts = np.concatenate([levels.ts_ns for levels, _ in found])
    np.testing.assert_array_equal(ts, theirs["ts"])
    expiries = np.concatenate([np.full(len(levels), str(expiry)) for levels, expiry in found])
    assert expiries.tolist() == theirs["expiry"].tolist()
    level = np.concatenate([levels.level for levels, _ in found])
    np.testing.assert_allclose(level, theirs["implied_forward"], rtol=0, atol=1e-9)
    width = np.concatenate([levels.uncertainty for levels, _ in found])
    np.testing.assert_allclose(width, theirs["uncertainty"], rtol=0, atol=1e-9)
    # Two pairs are equally tight at 2021-01-06 15:41 UTC and imply the same level: either strike will do.
    strike = np.concatenate([levels.strike for levels, _ in found])
    assert int((strike != theirs["strike"]).sum()) <= 1


@pytest.mark.recorded
def test_the_derived_level_stays_near_the_recorded_one(recorded_catalog):
    session = session_on(date(2021, 1, 4))
    place = (connect(), recorded_catalog, "lean")
    recorded = recorded_levels(*place, "SPX", session, regular_hours=True)
    derived = parity_level_rows(*place, ["SPX", "SPXW"], session)
    assert recorded is not None
    assert derived is not None
    assert len(recorded.ts_ns) == len(derived.ts_ns) == 390
    error = derived.level - recorded.level
    # The data set's own comparison: median +0.03, 5 % to 95 % from -0.61 to +0.78 points.
    assert np.median(error) == pytest.approx(0.03, abs=0.01)
    np.testing.assert_allclose(np.quantile(error, [0.05, 0.95]), [-0.61, 0.78], atol=0.02)
    assert derived.derived
    assert not recorded.derived
    assert "put-call parity" in derived.note


@pytest.mark.recorded
def test_the_official_close_comes_from_the_print_after_the_session(recorded_catalog):
    session = session_on(date(2021, 1, 4))
    place = (connect(), recorded_catalog, "lean", "SPX", session)
    rows = recorded_levels(*place, regular_hours=True)
    assert rows is not None
    assert rows.ts_ns[-1] == new_york_ns(session.day, time(16, 0))
    assert rows.level[-1] != closing_level(*place) == 3700.65  # S&P 500 close, S&P Dow Jones Indices


@pytest.mark.recorded
def test_a_day_without_a_recording_has_no_recorded_level(recorded_catalog):
    session = session_on(date(2021, 1, 5))
    assert recorded_levels(connect(), recorded_catalog, "lean", "SPX", session, regular_hours=True) is None
    assert closing_level(connect(), recorded_catalog, "lean", "SPX", session) is None
    assert parity_levels(connect(), recorded_catalog, "lean", ["SPXW"], date(2021, 2, 1)) is None
