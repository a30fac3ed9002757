"""Whatever is wrong with an argument is named; nothing becomes a silent NaN."""

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing import greeks, implied_vol

GOOD = {"spot": 100.0, "strike": 100.0, "years": 0.1, "vol": 0.2, "is_call": True}


@pytest.mark.rows(
    ("name", "value"),
    [
        ("spot", -1.0),
        ("spot", float("nan")),
        ("strike", -1.0),
        ("strike", float("inf")),
        ("vol", -0.2),
        ("vol", float("nan")),
        ("years", float("nan")),
        ("rate", float("inf")),
        ("dividend_yield", float("nan")),
    ],
)
def test_a_bad_number_is_named_with_its_index(name, value):
    with pytest.raises(ArgumentError, match=name):
        greeks(**GOOD | {name: value})
    with pytest.raises(ValueError, match=rf"{name}\[2\]"):
        greeks(**GOOD | {name: np.array([0.1, 0.2, value])})
    with pytest.raises(ValueError, match=rf"{name}\[1, 0\]"):
        greeks(**GOOD | {name: np.array([[0.1, 0.2], [value, 0.3]])})


def test_shapes_that_do_not_fit_are_listed():
    with pytest.raises(ArgumentError, match=r"strike \(3,\)"):
        greeks(**GOOD | {"strike": [90.0, 100.0, 110.0], "vol": [0.2, 0.3]})
    with pytest.raises(ArgumentError, match=r"strike \(3,\)"):
        implied_vol([1.0, 2.0], 100.0, [90.0, 100.0, 110.0], 0.1, True)


@pytest.mark.rows("flag", ["put", 2, None, 0.5])
def test_a_side_that_is_neither_is_refused(flag):
    with pytest.raises(ArgumentError, match="is_call"):
        greeks(**GOOD | {"is_call": flag})
