from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.frames import in_library, required

polars = import_module("polars") if find_spec("polars") else None  # sets a variable of the environment
TIMES = pd.date_range("2018-02-05 09:30", periods=3, freq="min", tz="America/New_York", name="time")
FRAME = pd.DataFrame({"pnl": [0.0, -1.25, np.nan], "side": ["buy", "sell", "buy"]}, index=TIMES)


def test_a_frame_of_pandas_stays_as_it_is():
    assert in_library(FRAME, "pandas") is FRAME


def test_another_library_is_refused_by_its_name():
    with pytest.raises(ArgumentError) as caught:
        in_library(FRAME, "spark")
    assert caught.value.value == "spark"


def test_a_package_that_is_missing_is_named_with_its_fix():
    with pytest.raises(ConfigError) as caught:
        required("no_such_module", "no-such-package", "a test needs it")
    assert "no-such-package" in caught.value.fix


@pytest.mark.skipif(polars is None, reason="polars is not installed")
def test_a_frame_of_polars_has_the_same_rows_and_the_index_first():
    found = in_library(FRAME, "polars")
    assert isinstance(found, polars.DataFrame)
    assert found.columns == ["time", "pnl", "side"]
    assert [at.isoformat() for at in found["time"]] == [at.isoformat() for at in TIMES]
    assert found["pnl"].to_list()[:2] == [0.0, -1.25]
    assert found["side"].to_list() == FRAME["side"].tolist()
    assert in_library(FRAME.reset_index(drop=True), "polars").columns == ["pnl", "side"]
