import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.store import (
    SCHEMAS,
    as_float,
    checked_name,
    connect,
    day_file,
    day_files,
    file_days,
    missing_columns,
    read_columns,
    sql_text,
    write_table,
)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 65, "a b"])
def test_names_that_could_leave_the_catalogue_are_refused(name, tmp_path):
    with pytest.raises(DataError, match="letters, digits"):
        checked_name(name, where="name")
    with pytest.raises(DataError, match="letters, digits"):
        day_file(tmp_path, "mine", "quotes", name, "2015-12-23")


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    connection, path = connect(), tmp_path / "t" / "day.parquet"
    assert write_table(connection, "SELECT 1 AS a", path) == 1
    before = path.read_bytes()
    with pytest.raises(Exception, match="Conversion"):
        write_table(connection, "SELECT 'x'::INTEGER AS a", path)
    assert path.read_bytes() == before
    assert write_table(connection, "SELECT ? AS a", path, parameters=[5]) == 1
    assert read_columns(connection, [path], "SELECT a FROM rows")["a"].tolist() == [5]


def test_a_path_with_a_quote_in_it_can_be_written(tmp_path):
    path = tmp_path / "it's" / "day.parquet"
    write_table(connect(), "SELECT 1 AS a", path)
    assert path.is_file()
    assert sql_text("it's") == "'it''s'"


def test_a_file_without_a_column_of_its_table_is_named(tmp_path):
    connection = connect()
    path = day_file(tmp_path, "mine", "quotes", "XYZ", "2015-12-23")
    write_table(connection, "SELECT now() AS ts, now() AS bar_start, 'XYZ' AS symbol, 1.0 AS bid", path)
    assert missing_columns(connection, path) == [
        c for c in SCHEMAS["quotes"] if c[:3] in ("bid", "ask") and c != "bid"
    ]
    with pytest.raises(DataError, match="lacks columns of its table") as refused:
        read_columns(connection, [path], "SELECT ask FROM rows")
    assert refused.value.where == str(path)


def test_a_mistake_in_our_own_sql_is_not_blamed_on_a_file(tmp_path):
    path = tmp_path / "t" / "day.parquet"
    write_table(connect(), "SELECT 1 AS a", path)
    with pytest.raises(Exception, match="nonsense") as raised:
        read_columns(connect(), [path], "SELECT nonsense FROM rows")
    assert not isinstance(raised.value, DataError)


def test_times_are_utc_whatever_the_machine_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    got = connect().execute("SELECT epoch_ns('2021-01-04 14:31:00'::TIMESTAMPTZ) AS ts").fetchnumpy()
    assert got["ts"][0] == 1_609_770_660_000_000_000


def test_files_are_found_by_day_and_by_year(tmp_path):
    from datetime import date

    for day in ("2014", "2015-12-24", "2015-12-23"):
        write_table(connect(), "SELECT 1 AS a", day_file(tmp_path, "mine", "quotes", "XYZ", day))
    names = [path.stem for path in day_files(tmp_path, "mine", "quotes", "XYZ")]
    assert names == ["2014", "2015-12-23", "2015-12-24"]
    chosen = day_files(tmp_path, "mine", "quotes", "XYZ", ["2015-12-24", "2015-12-25", "2015-12-24"])
    assert [path.stem for path in chosen] == ["2015-12-24"]
    assert file_days(date(2014, 5, 1), date(2015, 12, 23), names) == ["2014", "2015-12-23"]


def test_nulls_become_nan():
    masked = np.ma.masked_array([1, 2], mask=[False, True])
    np.testing.assert_array_equal(as_float(masked), [1.0, np.nan])
    np.testing.assert_array_equal(as_float(np.array([1, 2])), [1.0, 2.0])


def test_a_catalogue_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = day_file(tmp_path / "file", "mine", "quotes", "XYZ", "2015-12-23")
    with pytest.raises(DataError, match="cannot write into the catalogue") as refused:
        write_table(connect(), "SELECT 1 AS a", path)
    assert refused.value.where == str(path)
