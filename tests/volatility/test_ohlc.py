from types import SimpleNamespace

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.ohlc import read_ohlc

ROWS = [
    {"open": 100.0, "high": 102.0, "low": 99.0, "close": 101.0},
    {"open": 101.0, "high": 103.0, "low": 100.5, "close": 102.4},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


class Table:
    """Tables of a library: columns by name, and their names."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


FORMS = {
    "mapping of lists": COLUMNS,
    "mapping of arrays": {name: np.array(column) for name, column in COLUMNS.items()},
    "capital names": {name.capitalize(): column for name, column in COLUMNS.items()},
    "table": Table({name.capitalize(): np.array(column) for name, column in COLUMNS.items()}),
    "mappings": ROWS,
    "objects": [SimpleNamespace(**row) for row in ROWS],
    "structured": np.array([tuple(row.values()) for row in ROWS], dtype=[(n, "f8") for n in ROWS[0]]),
}


@pytest.mark.rows("bars", FORMS.values())
def test_every_form_gives_the_same_columns(bars):
    got = read_ohlc(bars)
    for name, column in COLUMNS.items():
        assert getattr(got, name).tolist() == column
    assert got.follows.tolist() == [False, True]
    assert got.dropped == ()


def test_bad_bars_are_dropped_and_named():
    bars = {name: column * 3 for name, column in COLUMNS.items()}
    bars["high"] = [102.0, 101.0, 102.0, 103.0, 102.0, 103.0]
    bars["low"] = [99.0, 100.5, 100.5, 100.5, -1.0, 100.5]
    bars["close"] = [101.0, 102.4, 101.0, float("nan"), 101.0, 102.4]
    got = read_ohlc(bars)
    assert [(bar.position, bar.reason) for bar in got.dropped] == [
        (1, "the high is below the open or the close"),
        (2, "the low is above the open or the close"),
        (3, "a price is missing or not finite"),
        (4, "a price is not above zero"),
    ]
    assert got.positions.tolist() == [0, 5]
    assert got.follows.tolist() == [False, False]


def test_closes_alone_will_do_for_closes_only():
    assert read_ohlc([1, 2.5, 3], closes_only=True).close.tolist() == [1.0, 2.5, 3.0]
    assert read_ohlc({"close": [1, 2]}, closes_only=True).close.tolist() == [1.0, 2.0]
    with pytest.raises(ArgumentError, match="have no ranges"):
        read_ohlc([1, 2, 3])


@pytest.mark.rows(
    ("bars", "match"),
    [
        ({"open": [1.0], "high": [1.0], "low": [1.0]}, "no column close"),
        ({"open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0, 2.0]}, "differ in length"),
        ({"open": ["a"], "high": [1.0], "low": [1.0], "close": [1.0]}, "not numbers"),
        ([{"open": 1.0, "high": 1.0, "low": 1.0}], "has no close"),
    ],
)
def test_what_is_not_bars_is_refused(bars, match):
    with pytest.raises(ArgumentError, match=match):
        read_ohlc(bars)


def test_no_bars_are_no_bars():
    assert len(read_ohlc([]).close) == 0
