"""Kept exposures of earlier sessions, and the usual range from them."""

import math
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.dealer_gamma import FILE, ExposureHistory, SessionExposure

FIRST = date(2018, 1, 2)


def sessions(count, size=1.0):
    return [SessionExposure(FIRST + timedelta(i), (i + 1) * size, -(i + 1) * size / 2) for i in range(count)]


def test_what_is_kept_is_read_again_in_order(tmp_path):
    history = ExposureHistory(tmp_path / "catalog", "embedded", "SPY")
    assert history.read() == ()
    kept = sessions(3)
    history.keep(reversed(kept))
    assert history.read() == tuple(kept)


def test_the_last_word_on_a_session_stands(tmp_path):
    history = ExposureHistory(tmp_path, "embedded", "SPY")
    history.keep(sessions(3))
    history.keep([SessionExposure(FIRST, 99.0)])
    assert history.read()[0].exposure_usd == 99.0
    assert len(history.read()) == 3


def test_sources_and_symbols_are_never_mixed(tmp_path):
    histories = [
        ExposureHistory(tmp_path, *key) for key in (("lean", "SPY"), ("lean", "GOOG"), ("fs", "SPY"))
    ]
    for number, history in enumerate(histories, start=1):
        history.keep(sessions(number))
    assert [len(history.read()) for history in histories] == [1, 2, 3]


def test_usual_is_the_ninetieth_percentile_before_the_day(tmp_path):
    history = ExposureHistory(tmp_path, "embedded", "SPY")
    history.keep(sessions(21))
    usual, near = history.usual(FIRST + timedelta(20))
    assert usual == pytest.approx(1 + 0.9 * 19)  # 1 … 20: the day itself is not in it
    assert near == pytest.approx(usual / 2)
    assert math.isnan(history.usual(FIRST + timedelta(19))[0])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_to_the_last_digit(tmp_path_factory, usd):
    history = ExposureHistory(tmp_path_factory.mktemp("kept"), "embedded", "SPY")
    history.keep([SessionExposure(FIRST, usd)])
    assert history.read()[0].exposure_usd == usd
    assert math.isnan(history.read()[0].near_usd)


@pytest.mark.parametrize(
    "line", ["embedded,SPY,yesterday,1,2", "embedded,SPY,2018-01-02,much,2", "embedded,SPY"]
)
def test_a_damaged_line_is_named(tmp_path, line):
    history = ExposureHistory(tmp_path, "embedded", "SPY")
    history.keep(sessions(1))
    with history.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError) as caught:
        history.usual(FIRST)
    assert caught.value.where == f"{tmp_path / FILE}:3"


def test_a_file_of_another_form_is_named(tmp_path):
    (tmp_path / FILE).write_text("a,b\n1,2\n")
    with pytest.raises(DataError):
        ExposureHistory(tmp_path, "embedded", "SPY").read()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "catalog").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        ExposureHistory(tmp_path / "catalog", "embedded", "SPY").keep(sessions(1))
