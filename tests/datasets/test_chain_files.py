"""A chain from a file that anybody may have written."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.chain_files import read_chain

RECORDED = (
    Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "eod_chains_2026" / "spy_qqq.parquet"
)
HEADER = "ts,session,symbol,underlying,spot,bid,ask,open_interest"
ROWS = (
    "2018-02-05T17:00:00Z,2018-02-05,SPY180216C00265000,SPY,264.8,2.10,2.20,1200",
    "2018-02-05T17:00:00Z,2018-02-05,SPY180216P00265000,SPY,264.8,0,2.30,",
    "2018-02-05T17:00:00Z,2018-02-05,QQQ180216P00160000,QQQ,161.0,1.0,1.1,5",
    "2018-02-02T17:00:00Z,2018-02-02,SPY180216C00275000,SPY,276.0,3.0,3.1,7",
)


@pytest.fixture
def write(tmp_path):
    def written(*lines, name="chain.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return written


def test_the_latest_chain_of_the_underlying_is_read(write):
    found = read_chain(write(HEADER, *ROWS), "SPY")
    assert (found.underlying, found.session, found.spot) == ("SPY", date(2018, 2, 5), 264.8)
    assert found.ts_ns == int(datetime(2018, 2, 5, 17, tzinfo=UTC).timestamp()) * NANOS_PER_SECOND
    assert [one.symbol for one in found.contracts] == ["SPY180216C00265000", "SPY180216P00265000"]
    np.testing.assert_array_equal(found.bid, [2.10, np.nan])  # a bid of 0 counts as missing
    np.testing.assert_array_equal(found.ask, [2.20, 2.30])
    np.testing.assert_array_equal(found.open_interest, [1200.0, np.nan])


def test_an_open_interest_below_nought_is_not_known(write):
    rows = (ROWS[0], ROWS[1] + "-1", ROWS[1].replace("P00265", "P00260") + "0")
    found = read_chain(write(HEADER, *rows), "SPY")
    held = dict(zip((one.symbol[-9:] for one in found.contracts), found.open_interest, strict=True))
    assert (held["C00265000"], held["P00260000"]) == (1200.0, 0.0)
    assert np.isnan(held["P00265000"])


def test_a_session_may_be_chosen(write):
    found = read_chain(write(HEADER, *ROWS), "SPY", session=date(2018, 2, 2))
    assert [one.symbol for one in found.contracts] == ["SPY180216C00275000"]
    assert found.spot == 276.0


def test_only_the_last_snapshot_of_a_session_counts(write):
    earlier = "2018-02-05T16:00:00Z,2018-02-05,SPY180216C00270000,SPY,266.0,1,1.1,9"
    assert len(read_chain(write(HEADER, *ROWS, earlier), "SPY").contracts) == 2


def test_a_plain_file_needs_no_underlying_and_no_session(write):
    path = write("ts,symbol,bid,ask,open_interest", "2018-02-05T17:00:00Z,SPY180216C00265000,2.1,2.2,3")
    found = read_chain(path, "SPY", spot=265.0)
    assert (found.spot, found.session, len(found.contracts)) == (265.0, None, 1)


def test_rows_that_are_no_options_are_counted(write):
    other = "2018-02-05T17:00:00Z,2018-02-05,SPY,SPY,264.8,264.7,264.9,"
    assert read_chain(write(HEADER, *ROWS, other), "SPY").rows_refused == 1


def test_a_cell_that_is_no_number_costs_that_cell_and_not_its_column(write):
    lines = (
        "ts,symbol,bid,ask,open_interest,spot",
        *(
            f"2018-02-05T17:00:00Z,SPY180216C002{strike}000,{cells}"
            for strike, cells in ((60, "2.1,2.2,n/a,264.8"), (65, "n/a,2.2,3,264.8"))
        ),
    )
    found = read_chain(write(*lines), "SPY")
    np.testing.assert_array_equal(found.bid, [2.1, np.nan])
    np.testing.assert_array_equal(found.open_interest, [np.nan, 3.0])


def test_options_on_something_else_are_not_taken_for_its_own(write):
    plain = "ts,symbol,bid,ask,open_interest,spot"
    index = "2018-02-05T17:00:00Z,SPXW180216C02650000,21,22,5,2648"
    found = read_chain(write(plain, index, "2018-02-05T17:00:00Z,SPY180216C00265000,2.1,2.2,3,2648"), "SPX")
    assert ([one.root for one in found.contracts], found.rows_refused) == (["SPXW"], 1)
    with pytest.raises(DataError, match="no row of the file is an option on QQQ") as caught:
        read_chain(write(plain, index), "QQQ")
    assert caught.value.nearest == "SPX"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("symbol,bid,ask,ts", "SPY180216C00265000,1,2,2018-02-05T17:00:00Z"), "open_interest"),
        (("ts,symbol,bid,ask,open_interest", "2018-02-05T17:00:00Z,SPY180216C00265000,1,2,3"), "stood"),
        ((HEADER, "2018-02-05T17:00:00Z,2018-02-05,SPY,SPY,264.8,1,2,3"), "no row of the file is an option"),
        ((HEADER, "noon,2018-02-05,SPY180216C00265000,SPY,264.8,1,2,3"), "no instants"),
        ((HEADER, "2018-02-05T17:00:00Z,2018-02-05,SPY180216C00265000,SPY,,1,2,3"), "has no price"),
    ],
)
def test_what_is_no_chain_is_named(write, lines, said):
    with pytest.raises(DataError, match=said):
        read_chain(write(*lines), "SPY")


def test_a_chain_that_is_not_there_names_those_that_are(write):
    with pytest.raises(DataError) as caught:
        read_chain(write(HEADER, *ROWS), "IWM")
    assert caught.value.nearest == "SPY 2018-02-05, SPY 2018-02-02, QQQ 2018-02-05"


def test_a_file_that_is_not_there_or_not_readable_is_named(tmp_path, write):
    with pytest.raises(DataError, match="no such file"):
        read_chain(tmp_path / "none.csv", "SPY")
    with pytest.raises(DataError, match="cannot be read"):
        read_chain(write("no parquet", name="chain.parquet"), "SPY")


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded data is not there")
def test_recorded_chains_are_read_whole():
    found = read_chain(RECORDED, "SPY", session=date(2026, 8, 12))
    assert (len(found.contracts), found.rows_refused) == (5472, 0)
    assert found.spot == pytest.approx(775.81, abs=0.001)
    assert int(np.isnan(found.open_interest).sum()) == 1


def test_a_chain_keeps_its_cents_after_twenty_thousand_whole_prices(write):
    """DuckDB judges a column by its first 20,480 rows, and a file may hold many sessions."""
    row = "2018-02-05T17:00:00Z,2018-02-0{day},SPY180216C00260000,SPY,264.5,{sides},3"
    lines = [HEADER, *[row.format(day=2, sides="2,3")] * 20_600, row.format(day=5, sides="2.25,2.75")]
    found = read_chain(write(*lines), "SPY")
    assert (found.bid[0], found.ask[0]) == (2.25, 2.75)
