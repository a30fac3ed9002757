from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.importers.tabular import (
    ImportChoices,
    import_download,
    import_table,
)
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"

HEADER = "ts,symbol,bid,ask,bid_size,ask_size\n"
ROW = "2015-12-23T14:31:00Z,XYZ,100.0,100.2,300,200\n"
BARS = "ts,symbol,open,high,low,close,volume\n"
BAR_ROWS = "2015-12-23T14:31:00Z,XYZ,100,101,99,100,5\n"


def put(folder: Path, text: str, **choices):
    path = folder / "rows.csv"
    path.write_text(text)
    return import_table(
        folder / "cat", path, ImportChoices(**({"name": "mine", "underlying": "XYZ"} | choices))
    )


def stored(catalog: Path, table: str, key: str, columns: str, day: str = "2015-12-23") -> list[tuple]:
    path = day_file(catalog, "mine", table, key, day)
    return connect().execute(f"SELECT {columns} FROM read_parquet(?)", [str(path)]).fetchall()


def tape_of(catalog: Path, underlying: str = "XYZ", day: date = date(2015, 12, 23)):
    return load_tape(catalog, "mine", underlying=underlying, start=day, end=day)


TIMES = "strftime(ts, '%H:%M:%S'), strftime(bar_start, '%H:%M:%S')"


def test_rows_are_keyed_by_the_time_they_are_known(tmp_path):
    put(tmp_path, "bar_start,seconds,symbol,bid,ask,bid_size,ask_size\n2015-12-23T14:30:00Z,60,XYZ,1,2,3,4\n")
    assert stored(tmp_path / "cat", "quotes", "XYZ", TIMES) == [("14:31:00", "14:30:00")]
    assert read_manifest(tmp_path / "cat", "mine").bar_seconds == 60


def bars_of(step: int, count: int = 12) -> str:
    """Quotes by bars that bear their start, so many seconds apart."""
    start = datetime(2015, 12, 23, 14, 30, tzinfo=UTC)
    rows = [f"{start + timedelta(seconds=step * n):%Y-%m-%dT%H:%M:%SZ},XYZ,1,2,3,4" for n in range(count)]
    return "\n".join(["bar_start,symbol,bid,ask,bid_size,ask_size", *rows]) + "\n"


@pytest.mark.rows(("apart", "said"), [(300, 60), (60, 300), (60, 59), (3600, 60), (1, 60)])
def test_a_bars_length_is_that_of_its_rows_and_not_of_a_flag(apart, said, tmp_path):
    """Five-minute bars taken for minutes are known four minutes early."""
    with pytest.raises(DataError, match=f"{apart} s apart"):
        put(tmp_path, bars_of(apart), bar_seconds=said)
    put(tmp_path, bars_of(apart), bar_seconds=apart)
    known = stored(tmp_path / "cat", "quotes", "XYZ", TIMES)[0][0]
    ends = datetime(2015, 12, 23, 14, 30, tzinfo=UTC) + timedelta(seconds=apart)
    assert known == f"{ends:%H:%M:%S}"


def test_bars_of_a_minute_with_gaps_are_still_of_a_minute(tmp_path):
    lines = bars_of(60, 40).splitlines()
    put(tmp_path, "\n".join([lines[0], *lines[1::5], lines[3]]) + "\n", bar_seconds=60)


@pytest.mark.rows("blank", (" ", "    "))
def test_a_cell_of_blanks_is_empty(blank, tmp_path):
    text = HEADER + ROW + ROW.replace("14:31", "14:32").replace("100.0", blank, 1)
    put(tmp_path, text)
    assert stored(tmp_path / "cat", "quotes", "XYZ", "bid") == [(100.0,), (None,)]


def test_equal_and_contradicting_rows_are_told_apart(tmp_path):
    report = put(tmp_path, HEADER + ROW + ROW + ROW.replace("100.2", "100.3"))
    notes = " ".join(report.notes)
    assert "1 row of another's symbol, time and figures" in notes
    assert "1 row of another's symbol and time with other figures" in notes


def test_without_a_bar_length_the_commonest_gap_is_taken(tmp_path):
    put(tmp_path, HEADER + ROW + ROW.replace("14:31:00", "14:31:05") + ROW.replace("14:31:00", "14:31:10"))
    assert read_manifest(tmp_path / "cat", "mine").bar_seconds == 5
    assert stored(tmp_path / "cat", "quotes", "XYZ", TIMES)[0] == ("14:31:00", "14:30:55")


def test_timestamps_without_a_zone_are_read_in_the_zone_given(tmp_path):
    text = HEADER + ROW.replace("2015-12-23T14:31:00Z", "2015-12-23 09:31:00")
    put(tmp_path, text, timezone="America/New_York")
    assert stored(tmp_path / "cat", "quotes", "XYZ", TIMES)[0][0] == "14:31:00"


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
def test_timestamps_without_a_zone_are_refused_until_it_is_given(tmp_path, zone):
    """The day of a market in New York, in its own time or in UTC: the shares tell which."""
    first = 9 * 60 + 31 if zone != "UTC" else 14 * 60 + 31
    clocks = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(first, first + 390)]
    rows = "".join(f"2015-12-23 {clock}:00,XYZ,100.0,100.2,300,200\n" for clock in clocks)
    with pytest.raises(DataError, match="no zone and none is given") as refused:
        put(tmp_path, HEADER + rows)
    assert f"read as {zone} 100%" in refused.value.what
    assert refused.value.fix.startswith(f"--timezone {zone} ")
    assert not (tmp_path / "cat").exists()
    put(tmp_path, HEADER + rows, timezone=zone)
    tape = tape_of(tmp_path / "cat")
    assert len(tape.quotes.ts_ns) == 390


@pytest.mark.parametrize(
    ("times", "zone", "row", "value"),
    [
        (("01/04/2021 09:31:00", "01/04/2021 09:32:00"), "America/New_York", 2, "01/04/2021 09:31:00"),
        (("2021-01-04T14:31:00Z", "2021-01-04T09:32:00"), "America/New_York", 3, "2021-01-04T09:32:00"),
    ],
)
def test_a_time_that_can_be_read_in_two_ways_is_refused(tmp_path, times, zone, row, value):
    """January 4 written month first would become April 1, a time without a zone among others UTC."""
    rows = "".join(f"{time},XYZ,100.0,100.2,300,200\n" for time in times)
    with pytest.raises(DataError) as refused:
        put(tmp_path, HEADER + rows, timezone=zone)
    assert (refused.value.where, refused.value.value) == (f"{tmp_path / 'rows.csv'}:{row}: ts", value)
    assert not (tmp_path / "cat").exists()


@pytest.mark.parametrize(
    "time", ["2021-01-04T14:31:00Z", "2021/01/04 14:31:00+00", "2021-01-04 09:31:00.5-05:00"]
)
def test_times_that_begin_with_the_year_are_read(tmp_path, time):
    put(tmp_path, HEADER + f"{time},XYZ,100.0,100.2,300,200\n")
    assert stored(tmp_path / "cat", "quotes", "XYZ", TIMES, "2021-01-04")[0][0] == "14:31:00"


def test_a_side_at_zero_is_none_and_an_older_one_is_not_carried_over_it(tmp_path):
    minutes = {
        "31": "100.0,100.2,300,200",
        "32": "100.0,0,300,0",
        "33": "100.1,,300,",
        "34": "-1,100.4,-1,200",
    }
    report = put(
        tmp_path,
        HEADER + "".join(f"2015-12-23T14:{minute}:00Z,XYZ,{sides}\n" for minute, sides in minutes.items()),
    )
    assert report.notes == ["1 row with ask <= 0: read as no ask", "1 row with bid < 0: read as no bid"]
    quotes = tape_of(tmp_path / "cat").quotes
    assert quotes.bid.tolist() == [100.0, 100.0, 100.1, 0.0]
    np.testing.assert_equal(quotes.ask, [100.2, np.nan, np.nan, 100.4])
    assert quotes.ask_size.tolist() == [200.0, 0.0, 0.0, 200.0]


def test_nan_is_an_empty_cell_in_both_formats(tmp_path):
    """Polars and others write NaN where nothing is known: a side without an update, as an empty cell is."""
    lines = [ROW, ROW.replace("14:31", "14:32").replace("100.0", "nan"), ROW.replace("14:31", "14:33")]
    put(tmp_path, HEADER + "".join(lines))
    made = tmp_path / "rows.parquet"
    connect().execute(
        f"COPY (SELECT * REPLACE (bid::DOUBLE AS bid) FROM read_csv('{tmp_path / 'rows.csv'}')) TO '{made}'"
    )
    import_table(tmp_path / "cat2", made, ImportChoices("mine", "XYZ"), file_format="parquet")
    for catalog in (tmp_path / "cat", tmp_path / "cat2"):
        assert [bid for (bid,) in stored(catalog, "quotes", "XYZ", "bid")] == [100.0, None, 100.0]
        tape = tape_of(catalog)
        assert tape.quotes.bid.tolist() == [100.0] * 3  # carried forward for the minute


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_file_with_a_header_alone_has_no_rows(tmp_path, file_format):
    path = tmp_path / "rows.csv"
    path.write_text(HEADER)
    if file_format == "parquet":
        connect().execute(f"COPY (SELECT * FROM read_csv('{path}')) TO '{tmp_path / 'rows.parquet'}'")
        path = tmp_path / "rows.parquet"
    with pytest.raises(DataError, match="the file has no rows") as caught:
        import_table(tmp_path / "cat", path, ImportChoices("mine", "XYZ"), file_format=file_format)
    assert (caught.value.where, caught.value.fix) == (str(path), "export it again")


def test_prices_in_single_precision_stay_on_their_tick(tmp_path):
    path = tmp_path / "rows.parquet"
    connect().execute(
        "COPY (SELECT '2015-12-23T14:31:00Z'::TIMESTAMPTZ AS ts, 'XYZ' AS symbol, 603.89::FLOAT AS bid, "
        f"603.91::FLOAT AS ask, 3::FLOAT AS bid_size, 'nan'::FLOAT AS ask_size) TO '{path}' (FORMAT parquet)"
    )
    import_table(tmp_path / "cat", path, ImportChoices("mine", "XYZ"), file_format="parquet")
    got = stored(tmp_path / "cat", "quotes", "XYZ", "bid, ask, bid_size, ask_size")
    assert got == [(603.89, 603.91, 3.0, None)]


def test_ticks_of_different_pace_make_one_data_set(tmp_path):
    quick = "".join(ROW.replace("14:31:00", f"14:31:{second:02d}") for second in range(0, 60, 5))
    slow = "".join(ROW.replace("14:31:00", f"14:31:{second:02d}") for second in (1, 18, 35))
    put(tmp_path, HEADER + quick)
    put(tmp_path, HEADER + slow.replace("XYZ", "XYZ151224C00100000"))
    assert read_manifest(tmp_path / "cat", "mine").rows == 15
    assert read_manifest(tmp_path / "cat", "mine").bar_seconds == 5


def test_options_are_told_by_their_symbol_and_padding_is_taken_off(tmp_path):
    report = put(tmp_path, HEADER + ROW + ROW.replace("XYZ", "XYZ   151224C00100000"))
    assert report.rows == {"quotes/XYZ": 1, "option_quotes/XYZ": 1}
    rows = stored(tmp_path / "cat", "option_quotes", "XYZ", 'symbol, expiry::VARCHAR, strike, "right", style')
    assert rows == [("XYZ151224C00100000", "2015-12-24", 100.0, "C", "american")]


def test_index_options_and_levels_find_their_places(tmp_path):
    put(
        tmp_path,
        HEADER + "2021-01-04T14:31:00Z,SPXW210104C03700000,64.9,67.9,48,15\n",
        underlying="SPX",
        bar_seconds=60,
    )
    put(
        tmp_path,
        "ts,symbol,open,high,low,close,volume\n2021-01-04T14:31:00Z,SPX,3764,3770,3764,3766.63,0\n",
        underlying="SPX",
        bar_seconds=60,
    )
    coverage = read_manifest(tmp_path / "cat", "mine").underlyings["SPX"]
    assert coverage.type == "index"
    assert coverage.keys == ("SPX", "SPXW")
    tape = tape_of(tmp_path / "cat", "SPXW", date(2021, 1, 4))
    assert tape.quotes.bid.tolist() == [3766.63, 64.9]


def test_a_quoted_index_is_refused(tmp_path):
    with pytest.raises(DataError, match="an index is not quoted"):
        put(tmp_path, HEADER + ROW.replace("XYZ", "SPX"), underlying="SPX")


def test_a_second_file_adds_symbols_and_replaces_its_own(tmp_path):
    put(tmp_path, HEADER + ROW + ROW.replace("XYZ", "XYZ151224C00100000"))
    put(tmp_path, HEADER + ROW.replace("XYZ", "XYZ151224P00100000"))
    put(tmp_path, HEADER + ROW.replace("XYZ", "XYZ151224C00100000").replace("100.2", "100.4"))
    rows = stored(tmp_path / "cat", "option_quotes", "XYZ", "symbol, ask")
    assert rows == [("XYZ151224C00100000", 100.4), ("XYZ151224P00100000", 100.2)]
    assert len(stored(tmp_path / "cat", "quotes", "XYZ", "symbol")) == 1


def test_open_interest_is_published_before_the_open(tmp_path):
    put(tmp_path, HEADER + ROW + ROW.replace("XYZ", "XYZ151224C00100000"), bar_seconds=60)
    put(tmp_path, "ts,symbol,open_interest\n2015-12-23T11:31:00Z,XYZ151224C00100000,15\n", bar_seconds=60)
    tape = tape_of(tmp_path / "cat")
    assert tape.open_interest == {"XYZ151224C00100000": 15}


def test_columns_of_another_kind_of_row_are_named_as_not_read(tmp_path):
    text = HEADER.replace("\n", ",volume,open_interest\n")
    text += "2015-12-23T14:31:00Z,SPY151224C00100000,1,2,3,4,9,500\n"
    report = put(tmp_path, text, bar_seconds=60, underlying="SPY")
    assert report.notes == [
        "not read: volume, open_interest; import them as a file of their own, without bid and ask"
    ]


@pytest.mark.parametrize(
    ("text", "message", "value", "nearest"),
    [
        (HEADER.replace("ask_size", "ask_sise") + ROW, "unknown column", "ask_sise", "ask_size"),
        (
            HEADER.replace("ask_size", "ask_sise").replace("bid_size", "bid_sise") + ROW,
            "unknown column",
            "bid_sise, ask_sise",
            "bid_size",
        ),
        (BARS.replace("volume", "volum") + BAR_ROWS, "unknown column", "volum", "volume"),
        ("date,time," + BARS[3:] + "2015-12-23," + BAR_ROWS, "unknown column", "date, time", None),
        (
            "ts,symbol,bid,ask,bid_size\n2015-12-23T14:31:00Z,XYZ,1,2,3\n",
            "need a column ask_size",
            "ask_size",
            None,
        ),
        ("symbol,bid,ask,bid_size,ask_size\nXYZ,1,2,3,4\n", "need a column bar_start", "bar_start", None),
        ("ts,symbol\n2015-12-23T14:31:00Z,XYZ\n", "do not say what the rows are", ["ts", "symbol"], None),
        (HEADER + ROW.replace("XYZ", "ABC"), "neither XYZ nor an option", "ABC", None),
        (
            HEADER + ROW.replace("XYZ", "ABC151224C00100000"),
            "neither XYZ nor an option",
            "ABC151224C00100000",
            None,
        ),
        ("bar_start,symbol,bid,ask,bid_size,ask_size\n" + ROW, "not how long a bar is", "bar_start", None),
        (
            "ts,expiry,strike,bid,ask,bid_size,ask_size\n2015-12-23T14:31:00Z,2015-12-24,100,1,2,3,4\n",
            "options need a column symbol",
            "expiry, strike",
            None,
        ),
        (
            "ts,underlying,bid,ask,bid_size,ask_size\n" + ROW + ROW.replace("XYZ", "ABC"),
            "neither XYZ nor an option",
            "ABC",
            None,
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_value_and_fix(tmp_path, text, message, value, nearest):
    with pytest.raises(DataError, match=message) as refused:
        put(tmp_path, text)
    assert refused.value.value == value
    assert refused.value.nearest == nearest
    assert refused.value.fix
    assert not (tmp_path / "cat").exists()


def test_a_number_that_is_none_is_found_by_its_line(tmp_path):
    body = "".join(ROW.replace("14:31", f"14:{minute}") for minute in range(31, 59))
    with pytest.raises(DataError, match="cannot be read") as refused:
        put(tmp_path, HEADER + body + ROW.replace("100.2", "much"))
    assert refused.value.where.endswith("rows.csv:30")
    assert 'column "ask". Could not convert string "much"' in refused.value.what


def test_prices_after_twenty_thousand_rows_of_whole_numbers_keep_their_cents(tmp_path):
    """DuckDB judges a column by its first 20,480 rows."""
    whole = "".join(
        f"2015-12-23T15:{i // 600:02d}:{i // 10 % 60:02d}.{i % 10}Z,XYZ,100,101,3,2\n" for i in range(20_600)
    )
    put(tmp_path, HEADER + whole + "2015-12-23T16:00:00Z,XYZ,100.25,100.75,2.5,NaN\n")
    assert stored(tmp_path / "cat", "quotes", "XYZ", "bid, ask, bid_size, ask_size")[-1] == (
        *(100.25, 100.75, 2.5),
        None,
    )


def test_a_zone_after_twenty_thousand_times_without_one_is_refused(tmp_path):
    """It would be dropped: 09:59 in New York stored as 09:59 of the zone given."""
    times = "".join(
        f"2015-12-23 15:{i // 600:02d}:{i // 10 % 60:02d}.{i % 10},XYZ,100,101,3,2\n" for i in range(20_600)
    )
    with pytest.raises(DataError, match="have no zone, this one has one") as refused:
        put(tmp_path, HEADER + times + "2015-12-23T10:59:00-05:00,XYZ,100,101,3,2\n", timezone="UTC")
    assert refused.value.where.endswith("rows.csv:20602: ts")


def test_times_that_are_none_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(DataError, match="not a timestamp") as refused:
        put(tmp_path, HEADER + ROW.replace("2015-12-23T14:31:00Z", "true"))
    assert refused.value.where.endswith("rows.csv: ts")
    with pytest.raises(DataError, match="1 of 2 rows have no ts"):
        put(tmp_path, HEADER + ROW + ROW.replace("2015-12-23T14:31:00Z", ""))


def minutes_of(header: str, shown: Callable[[datetime], object], rest: str, count: int = 12) -> str:
    """Rows a minute apart from 14:30 UTC on."""
    start = datetime(2015, 12, 23, 14, 30, tzinfo=UTC)
    return header + "".join(f"{shown(start + timedelta(minutes=n))},{rest}\n" for n in range(count))


@pytest.mark.parametrize(
    "shown",
    [
        datetime.isoformat,
        datetime.timestamp,
        lambda at: int(at.timestamp()),
        lambda at: int(at.timestamp() * 1e3),
    ],
)
@pytest.mark.parametrize("title", ["Timestamp", "ticks", "Date", "bar_start"])
def test_bars_by_their_usual_names_begin_at_their_time_and_need_no_volume(title, shown, tmp_path):
    report = put(tmp_path, minutes_of(f"{title},Open,High,Low,c\n", shown, "100,101,99,100.5"))
    rows = stored(tmp_path / "cat", "trades", "XYZ", f"{TIMES}, open, high, low, close, volume")
    assert rows[0] == ("14:31:00", "14:30:00", 100.0, 101.0, 99.0, 100.5, 0.0)
    assert len(rows) == 12
    assert read_manifest(tmp_path / "cat", "mine").bar_seconds == 60
    assert len(report.notes) == (2 if title == "bar_start" else 3)


def test_quotes_by_their_usual_names_are_known_at_their_time(tmp_path):
    header = "Quote Time,Expiry,Strike,Call/Put,Best Bid,Best Ask,Bid Size,Ask Size\n"
    put(tmp_path, header + "2015-12-23T14:31:00Z,2015-12-24,100,Call,1,2,3,4\n", is_share=True)
    columns = f"{TIMES.split('),', maxsplit=1)[0]}), symbol, bid, ask, bid_size, ask_size"
    assert stored(tmp_path / "cat", "option_quotes", "XYZ", columns) == [
        ("14:31:00", "XYZ151224C00100000", 1.0, 2.0, 3.0, 4.0)
    ]


def test_a_name_that_is_given_goes_before_the_usual_one(tmp_path):
    text = minutes_of("Timestamp,Open,High,Low,Close,Last\n", datetime.isoformat, "100,101,99,100.5,100.25")
    put(tmp_path, text, columns={"ts": "Timestamp", "close": "Last"})
    rows = stored(tmp_path / "cat", "trades", "XYZ", f"{TIMES}, open, close")
    assert rows[0] == ("14:30:00", "14:29:00", 100.0, 100.25)


def test_a_bar_by_its_start_alone_needs_its_length_where_the_starts_lie_unevenly(tmp_path):
    text = minutes_of("timestamp,open,high,low,close\n", datetime.isoformat, "1,1,1,1")
    uneven = text + "2015-12-23T15:00:30Z,1,1,1,1\n"
    with pytest.raises(DataError, match="not how long a bar is"):
        put(tmp_path, uneven)
    with pytest.raises(DataError, match="not how long a bar is"):
        put(tmp_path, minutes_of("timestamp,open,high,low,close\n", datetime.isoformat, "1,1,1,1", count=2))


def test_bars_of_two_lengths_do_not_mix(tmp_path):
    header = "bar_start,seconds,symbol,bid,ask,bid_size,ask_size\n"
    row = "2015-12-23T14:30:00Z,60,XYZ,1,2,3,4\n"
    with pytest.raises(DataError, match="bars of one length"):
        put(tmp_path, header + row + row.replace(",60,", ",1,"))
    put(tmp_path, header + row)
    with pytest.raises(DataError, match="holds bars of 60 s, these are of 1 s"):
        put(tmp_path, header + row.replace(",60,", ",1,"))
    assert stored(tmp_path / "cat", "quotes", "XYZ", TIMES) == [("14:31:00", "14:30:00")]


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    choices = ImportChoices("mine", "XYZ")
    with pytest.raises(DataError, match="no such file"):
        import_table(tmp_path / "cat", tmp_path / "none.parquet", choices, file_format="parquet")
    path = tmp_path / "rows.parquet"
    path.write_text(HEADER + ROW)
    with pytest.raises(DataError, match="this Parquet file cannot be read"):
        import_table(tmp_path / "cat", path, choices, file_format="parquet")


def test_a_name_that_is_no_folder_name_is_refused(tmp_path):
    with pytest.raises(DataError, match="letters, digits") as refused:
        put(tmp_path, HEADER + ROW, name="../up")
    assert refused.value.value == "../up"


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("tidy", "underlying", "table", "key"),
    [
        ("goog_2015-12/underlying_quote", "GOOG", "quotes", "GOOG"),
        ("goog_2015-12/options_openinterest", "GOOG", "open_interest", "GOOG"),
        ("spxw_2021-01/options_quote", "SPX", "option_quotes", "SPXW"),
        ("spxw_2021-01/index_trade", "SPX", "index_levels", "SPX"),
    ],
)
def test_a_tidy_file_and_leans_zips_make_the_same_day_files(
    tmp_path, recorded_catalog, tidy, underlying, table, key
):
    import_table(
        tmp_path,
        SHARED / f"{tidy}.parquet",
        ImportChoices("lean", underlying, is_share=underlying == "GOOG"),
        file_format="parquet",
    )
    ours, leans = tmp_path / "lean" / table / key, recorded_catalog / "lean" / table / key
    assert [path.name for path in sorted(ours.glob("*"))] == [path.name for path in sorted(leans.glob("*"))]
    counts = (
        connect()
        .execute(
            f"WITH a AS (SELECT * FROM read_parquet('{ours}/*')), "
            f"b AS (SELECT * FROM read_parquet('{leans}/*')) "
            "SELECT (SELECT count(*) FROM a), "
            "(SELECT count(*) FROM (SELECT * FROM a EXCEPT ALL SELECT * FROM b)), "
            "(SELECT count(*) FROM (SELECT * FROM b EXCEPT ALL SELECT * FROM a))"
        )
        .fetchall()[0]
    )
    assert counts[0] > 0
    assert counts[1:] == (0, 0)


def test_downloaded_dividends_replace_those_of_their_span_and_no_others(tmp_path):
    choices = ImportChoices("mine", "ABC", 60)
    bars = [("ABC", 1_767_623_460_000_000_000, 1.0, 2.0, 0.5, 1.5, 10.0)]
    early, late = date(2025, 3, 14), date(2025, 9, 12)
    import_download(tmp_path, choices, bars, [(early, Decimal("0.5")), (late, Decimal("0.6"))], (early, late))
    report = import_download(tmp_path, choices, bars, [(late, Decimal("0.7"))], (late, late))
    assert report.rows == {"trades/ABC": 1, "corporate_actions/ABC": 2}
    found = connect().execute(
        "SELECT ex_date, action, amount FROM read_parquet(?) ORDER BY ex_date",
        [str(tmp_path / "mine" / "corporate_actions" / "ABC" / "all.parquet")],
    )
    assert found.fetchall() == [(early, "dividend", Decimal("0.5")), (late, "dividend", Decimal("0.7"))]


BAR = "2015-12-23T14:31:00Z,XYZ,100,101,99,100,5\n"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2015-12-23T14:32:00Z,XYZ,100,98,97,100,5\n", "whose high lies below another price"),
        ("2015-12-23T14:32:00Z,XYZ,100,101,100.5,101,5\n", "whose low lies above another price"),
        ("2015-12-23T14:32:00Z,XYZ,100,101,99,100,-5\n", "with a volume below 0"),
        ("2015-12-23T14:32:00Z,XYZ,1,1,-1,1,5\n", "with a price below 0"),
        ("2015-12-26T15:32:00Z,XYZ,100,101,99,100,5\n", "of 2015-12-26, a Saturday"),
        ("2015-12-25T15:32:00Z,XYZ,100,101,99,100,5\n", "of 2015-12-25, a holiday"),
    ],
)
def test_rows_that_cannot_be_are_left_out_by_name(tmp_path, row, words):
    report = put(tmp_path, BARS + BAR + row, bar_seconds=60)
    assert report.notes == [f"1 row {words}: left out; the first is {tmp_path / 'rows.csv'}:3"]
    assert report.rows == {"trades/XYZ": 1}
    assert read_manifest(tmp_path / "cat", "mine").underlyings["XYZ"].sessions == ("2015-12-23",)
    with pytest.raises(DataError, match=f"no row of the file can be imported: 1 row {words}"):
        put(tmp_path, BARS + row, bar_seconds=60)


def test_negative_open_interest_is_left_out(tmp_path):
    rows = "2015-12-23T14:31:00Z,SPY151224C00100000,7\n2015-12-23T14:31:00Z,SPY151224P00100000,-7\n"
    report = put(tmp_path, f"ts,symbol,open_interest\n{rows}", underlying="SPY")
    assert report.rows == {"open_interest/SPY": 1}
    assert "1 row with an open interest below 0: left out" in report.notes[0]


def test_a_future_s_sunday_evening_is_kept(tmp_path):
    report = put(tmp_path, BARS + "2013-10-06T22:31:00Z,ES_201312,100,101,99,100,5\n", underlying="ES")
    assert (report.notes, report.rows) == ([], {"trades/ES": 1})


def test_a_day_s_bar_that_ends_on_a_saturday_is_kept(tmp_path):
    report = put(tmp_path, BARS + BAR.replace("23T14:31", "26T05:00"), bar_seconds=86_400)
    assert (report.notes, report.rows) == ([], {"trades/XYZ": 1})


@pytest.mark.parametrize("year", ["3024", "1015"])
def test_a_time_that_no_calendar_reaches_is_refused_with_its_row(tmp_path, year):
    with pytest.raises(DataError, match="outside of 1995-01-01 to 2030-12-31") as refused:
        put(tmp_path, HEADER + ROW + ROW.replace("2015", year))
    assert refused.value.where == f"{tmp_path / 'rows.csv'}:3"
    assert year in refused.value.value
    assert not (tmp_path / "cat").exists()


@pytest.mark.parametrize("name", ["embedded", "Embedded", "embedded-btc"])
def test_the_name_of_a_reconstructed_market_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="belongs to a reconstructed market"):
        put(tmp_path, HEADER + ROW, name=name)
    assert not (tmp_path / "cat").exists()


def test_a_file_with_columns_and_dates_of_its_own_is_read(tmp_path):
    """US dates, a contract in three columns, N/A where there is no value, and a column of no use."""
    text = (
        "Quote Time,Exp,K,Call/Put,Best Bid,Best Ask,bid_size,ask_size,delta\n"
        "12/23/2015 9:31:00 AM,N/A,N/A,N/A,100.0,100.2,300,200,N/A\n"
        "12/23/2015 9:31:00 AM,1/4/2016,752.5,Put,2.10,N/A,10,0,-0.41\n"
        "12/23/2015 1:31:00 PM,1/4/2016,752.5,c,1.10,1.20,10,7,0.5\n"
    )
    columns = {"ts": "Quote Time", "expiry": "Exp", "strike": "K", "right": "Call/Put"}
    columns |= {"bid": "Best Bid", "ask": "Best Ask"}
    report = put(tmp_path, text, columns=columns, dates=None, timezone="America/New_York")
    assert any("delta" in note for note in report.notes)
    values = "symbol, strftime(ts, '%H:%M'), bid, ask"
    assert stored(tmp_path / "cat", "quotes", "XYZ", values) == [("XYZ", "14:31", 100.0, 100.2)]
    assert stored(tmp_path / "cat", "option_quotes", "XYZ", f"{values}, expiry, strike") == [
        ("XYZ160104P00752500", "14:31", 2.1, None, date(2016, 1, 4), 752.5),
        ("XYZ160104C00752500", "18:31", 1.1, 1.2, date(2016, 1, 4), 752.5),
    ]


@pytest.mark.parametrize(("order", "day"), [("mdy", "2015-12-10"), ("dmy", "2015-10-12")])
def test_the_order_of_a_date_that_may_be_either_is_the_one_given(tmp_path, order, day):
    put(
        tmp_path,
        HEADER + ROW.replace("2015-12-23T14:31:00Z", "12/10/2015 09:31"),
        dates=order,
        timezone="UTC",
    )
    assert read_manifest(tmp_path / "cat", "mine").underlyings["XYZ"].sessions == (day,)


def test_an_expiry_that_may_be_either_is_refused(tmp_path):
    text = "ts,expiry,strike,right,bid,ask,bid_size,ask_size\n2015-12-23T14:31:00Z,1/4/2016,100,C,1,2,3,4\n"
    with pytest.raises(DataError) as refused:
        put(tmp_path, text, underlying="SPY")
    assert (refused.value.value, refused.value.where.rpartition(":")[2]) == ("1/4/2016", " expiry")
    put(tmp_path, text, underlying="SPY", dates="dmy")
    assert stored(tmp_path / "cat", "option_quotes", "SPY", "expiry") == [(date(2016, 4, 1),)]


def test_a_date_of_another_order_than_the_others_is_refused_with_its_line(tmp_path):
    rows = "".join(
        ROW.replace("2015-12-23T14:31:00Z", f"{day} 09:31") for day in ("12/23/2015", "23/12/2015")
    )
    with pytest.raises(DataError) as refused:
        put(tmp_path, HEADER + rows, timezone="UTC")
    assert refused.value.where.endswith("rows.csv:2: ts")


@pytest.mark.parametrize(("columns", "value"), [({"bidd": "bid"}, "bidd"), ({"bid": "bidd"}, "bidd")])
def test_a_mapping_names_a_column_of_the_catalogue_and_one_of_the_file(tmp_path, columns, value):
    with pytest.raises(DataError) as refused:
        put(tmp_path, HEADER + ROW, columns=columns)
    assert (refused.value.value, refused.value.nearest) == (value, "bid")


def test_times_in_nanoseconds_as_pandas_writes_them_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    connect().execute(
        "COPY (SELECT TIMESTAMPTZ '2015-12-23 14:31:00Z'::TIMESTAMPTZ_NS AS ts, 'XYZ' AS symbol, 1.0 AS bid, "
        f"2.0 AS ask, 3.0 AS bid_size, 4.0 AS ask_size) TO '{path}' (FORMAT parquet)"
    )
    import_table(tmp_path / "cat", path, ImportChoices("mine", "XYZ"), file_format="parquet")
    assert stored(tmp_path / "cat", "quotes", "XYZ", TIMES)[0][0] == "14:31:00"


@pytest.mark.rows(
    ("columns", "is_wide"),
    [("underlying_price", True), ("c_bid,p_bid", True), ("[UNDERLYING_LAST]", True), ("iv", False)],
)
def test_a_wide_table_is_sent_to_the_chain(tmp_path, columns, is_wide):
    cells = "," + ",".join("1" for _ in columns.split(","))
    with pytest.raises(DataError) as refused:
        put(tmp_path, f"{HEADER.strip()},{columns}\n{ROW.strip()}{cells}\n")
    assert ("scalpdesk data import chain" in str(refused.value.fix)) is is_wide
