from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest

from scalpdesk.assembly import load_market
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.datasets.store import connect, day_file, write_table
from scalpdesk.datasets.verify import Check, CheckVerdict, VerifyReport, verify_data_set, verify_tape
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import CashDividend, MarketTape, QuoteColumns, RateCurve

DAY = date(2015, 12, 23)
MINUTE = 60_000_000_000
NAN = float("nan")


def tape_of(*rows: tuple[int, int, float, float], pace: float = 7200.0) -> MarketTape:
    """A tape of (minute after the open, instrument, bid, ask): share, call 100, put 100."""
    session = session_on(DAY)
    minute, ids, bid, ask = (np.array(column) for column in zip(*rows, strict=True))
    book = Instruments(
        [Equity("XYZ"), us_option("XYZ151224C00100000", ["XYZ"]), us_option("XYZ151224P00100000", ["XYZ"])]
    )
    quotes = QuoteColumns(
        session.open_ns + minute.astype(np.int64) * MINUTE,
        ids.astype(np.int32),
        bid.astype(float),
        ask.astype(float),
        np.where(np.isnan(bid.astype(float)), 0.0, 10.0),
        np.where(np.isnan(ask.astype(float)), 0.0, 10.0),
    )
    return MarketTape("small", "recorded", "XYZ", (session,), book, quotes, quote_seconds=pace)


GOOD = ((1, 0, 100.0, 100.1), (1, 1, 1.0, 1.1), (1, 2, 0.95, 1.05), (2, 0, 100.1, 100.2))


def check(report: VerifyReport, name: str) -> Check:
    return next(each for each in report.checks if each.name == name)


def test_a_sound_tape_passes_every_check():
    report = verify_tape(tape_of(*GOOD))
    assert report.ok
    assert [each.name for each in report.checks if each.verdict is not CheckVerdict.OK] == []
    assert check(report, "put-call parity").checked == 1
    assert check(report, "asks not below intrinsic value").checked == 2


def test_crossed_quotes_fail_and_are_named():
    report = verify_tape(tape_of(*GOOD, (3, 1, 1.2, 1.1)))
    assert not report.ok
    crossed = check(report, "quotes not crossed")
    assert (crossed.found, crossed.checked, crossed.verdict) == (1, 5, CheckVerdict.FAILED)
    assert "XYZ151224C00100000 2015-12-23 14:33:00Z bid 1.2 ask 1.1" in crossed.detail


def test_impossible_prices_and_unknown_instruments_fail():
    assert check(verify_tape(tape_of(*GOOD, (3, 1, -1.0, 1.1))), "prices and sizes are possible").found
    strange = tape_of(*GOOD, (3, 9, 1.0, 1.1))
    report = verify_tape(strange)
    assert not report.ok
    assert check(report, "instruments are in the book").found == 1


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ((3, 1, 1.1, 1.1), "quotes not locked"),
        ((3, 1, NAN, 1.1), "both sides quoted"),
        ((2, 0, 100.1, 100.3), "one row an instrument and instant"),
        ((391, 0, 100.1, 100.3), "rows inside session times"),
    ],
)
def test_lesser_faults_warn_with_their_count(row, name):
    found = check(verify_tape(tape_of(*GOOD, row)), name)
    assert (found.found, found.verdict) == (1, CheckVerdict.WARNING)
    assert verify_tape(tape_of(*GOOD, row)).ok


def test_a_silence_of_the_underlying_is_a_gap_with_its_length():
    gaps = check(verify_tape(tape_of(*GOOD, pace=60.0)), "underlying without gaps")
    assert gaps.found == 1
    assert f"longest {388 * 60} s from 2015-12-23 14:32:00Z" in gaps.detail


@pytest.mark.parametrize("sides", [(0.0, 100.2), (NAN, 100.2), (0.0, 0.0), (100.2, NAN)])
def test_an_underlying_that_ends_without_two_sides_is_unfit(sides):
    name = "underlying keeps two sides"
    found = check(verify_tape(tape_of(*GOOD, (3, 0, *sides))), name)
    assert (found.found, found.verdict) == (1, CheckVerdict.FAILED)
    mended = tape_of(*GOOD, (3, 0, *sides), (4, 0, 100.1, 100.2))
    assert check(verify_tape(mended), name).verdict is CheckVerdict.OK
    gap = check(verify_tape(replace(mended, quote_seconds=6.0)), name)
    assert (gap.found, gap.verdict) == (1, CheckVerdict.FAILED)


def test_an_ask_far_below_intrinsic_value_is_found():
    # Stock at 110: the call is worth 10 at once, and one may buy it for 8.
    report = verify_tape(tape_of((1, 0, 110.0, 110.1), (1, 1, 7.0, 8.0)))
    found = check(report, "asks not below intrinsic value")
    assert found.found == 1
    # 10 - 8, less a nickel tick and five basis points of the spot.
    assert "worst 1.90 beyond it" in found.detail
    assert found.verdict is CheckVerdict.FAILED  # every row


def test_broken_parity_is_found_and_a_dividend_can_explain_it():
    # C - P = -2 with stock and strike at 100: only a dividend of about 2 makes that fair.
    rows = ((1, 0, 100.0, 100.1), (1, 1, 1.0, 1.1), (1, 2, 3.0, 3.1))
    tape = tape_of(*rows)
    found = check(verify_tape(tape), "put-call parity")
    assert found.found == 1
    assert found.detail.endswith("beyond it; no rates known, zero assumed")
    low = replace(tape, rate_curve=RateCurve((1.0,), (0.01,)))
    assert check(verify_tape(low), "put-call parity").detail.endswith("beyond it")
    paying = replace(tape, dividends=(CashDividend("XYZ", date(2015, 12, 24), Decimal(2)),))
    assert check(verify_tape(paying), "put-call parity").found == 0


# ------------------------------------------------------------------ data sets


def import_rows(folder: Path, body: str, header: str = "ts,symbol,bid,ask,bid_size,ask_size") -> Path:
    path = folder / "rows.csv"
    path.write_text(header + "\n" + body)
    import_table(folder / "cat", path, ImportChoices("mine", "XYZ", bar_seconds=60))
    return folder / "cat"


def test_a_plain_crossed_quote_in_a_file_fails_the_set(tmp_path):
    catalog = import_rows(
        tmp_path,
        "2015-12-23T14:31:00Z,XYZ,100.0,100.2,10,10\n2015-12-23T14:32:00Z,XYZ,100.0,99.9,10,10\n",
    )
    report = verify_data_set(catalog, "mine", "XYZ")
    assert not report.ok
    stored = check(report, "stored rows not crossed")
    assert (stored.found, stored.verdict) == (1, CheckVerdict.FAILED)
    assert "XYZ 2015-12-23 14:32:00Z" in stored.detail


def test_a_crossed_bar_of_two_moments_warns_and_is_withheld_from_the_desk(tmp_path):
    header = "ts,symbol,bid_open,bid_high,bid_low,bid,bid_size,ask_open,ask_high,ask_low,ask,ask_size"
    catalog = import_rows(
        tmp_path,
        "2015-12-23T14:31:00Z,XYZ,0.15,0.15,0.15,0.15,4,0.2,0.2,0.1,0.1,9\n"
        "2015-12-23T14:32:00Z,XYZ,0.15,0.15,0.15,0.15,4,0.2,0.2,0.2,0.2,9\n",
        header,
    )
    report = verify_data_set(catalog, "mine", "XYZ")
    assert report.ok
    assert check(report, "stored rows not crossed").verdict is CheckVerdict.WARNING
    assert check(report, "quotes not crossed").found == 0


def test_swapped_columns_of_a_whole_file_of_bars_are_no_two_moments(tmp_path):
    header = "ts,symbol,bid_open,bid_high,bid_low,bid,bid_size,ask_open,ask_high,ask_low,ask,ask_size"
    rows = "".join(
        f"2015-12-23T14:{30 + minute}:00Z,XYZ,100.1,100.2,99.9,100.1,4,100,100.1,99.8,100,9\n"
        for minute in range(1, 26)
    )
    stored = check(
        verify_data_set(import_rows(tmp_path, rows, header), "mine", "XYZ"), "stored rows not crossed"
    )
    assert (stored.found, stored.verdict) == (25, CheckVerdict.FAILED)
    assert "bid and ask are swapped in 1 file" in stored.detail


def test_a_damaged_file_fails_by_name(tmp_path):
    catalog = import_rows(tmp_path, "2015-12-23T14:31:00Z,XYZ,100.0,100.2,10,10\n")
    path = catalog / "mine" / "quotes" / "XYZ" / "2015-12-23.parquet"
    path.write_bytes(b"PAR1 this is not Parquet PAR1")
    report = verify_data_set(catalog, "mine", "XYZ")
    assert not report.ok
    assert str(path) in check(report, "files can be read").detail


def spoilt(catalog: Path, table: str, key: str, select: str) -> Path:
    """Write a day file again by ``select`` over its rows, as an import of today would not."""
    path = day_file(catalog, "mine", table, key, "2015-12-23")
    write_table(connect(), select, path, parameters=[str(path)])
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [("98.0 AS high", "high"), ("-5.0 AS volume", "volume"), ("-1.0 AS low", "low")],
)
def test_impossible_bars_fail(tmp_path, change, words):
    header = "ts,symbol,open,high,low,close,volume"
    catalog = import_rows(tmp_path, "2015-12-23T14:31:00Z,XYZ,100,101,99,100,5\n", header)
    assert verify_data_set(catalog, "mine", "XYZ").ok
    spoilt(catalog, "trades", "XYZ", f"SELECT * REPLACE ({change}) FROM read_parquet(?)")
    found = check(verify_data_set(catalog, "mine", "XYZ"), "stored figures are possible")
    assert (found.found, found.verdict) == (1, CheckVerdict.FAILED)
    assert "XYZ 2015-12-23 14:31:00Z" in found.detail


def test_negative_open_interest_fails(tmp_path):
    import_rows(tmp_path, "2015-12-23T14:31:00Z,XYZ,100.0,100.2,10,10\n")
    rows = "2015-12-23T14:31:00Z,XYZ151224C00100000,7\n"
    catalog = import_rows(tmp_path, rows, "ts,symbol,open_interest")
    spoilt(catalog, "open_interest", "XYZ", "SELECT * REPLACE (-7 AS open_interest) FROM read_parquet(?)")
    assert check(verify_data_set(catalog, "mine", "XYZ"), "stored figures are possible").found == 1


def test_a_row_in_the_year_3024_fails_by_its_file(tmp_path):
    catalog = import_rows(tmp_path, "2015-12-23T14:31:00Z,XYZ,100.0,100.2,10,10\n")
    later = "SELECT * REPLACE (ts + INTERVAL 1009 YEAR AS ts) FROM read_parquet(?)"
    path = spoilt(catalog, "quotes", "XYZ", later)
    report = verify_data_set(catalog, "mine", "XYZ")
    assert not report.ok
    detail = check(report, "files can be read").detail
    assert f"{path}: 1 row of impossible times, such as 3024-12-23 14:31:00Z" in detail
    with pytest.raises(DataError, match="impossible times") as refused:
        load_tape(catalog, "mine", underlying="XYZ", start=DAY, end=DAY)
    assert refused.value.where == str(path)


def test_rows_on_days_without_a_session_are_counted(tmp_path):
    catalog = import_rows(tmp_path, "2015-12-23T14:31:00Z,XYZ,100.0,100.2,10,10\n")
    for day in (
        "2015-12-26",
        "3024-12-23",
    ):  # a Saturday, and a file that is named after no day of the calendar
        path = day_file(catalog, "mine", "quotes", "XYZ", "2015-12-23")
        path.with_name(f"{day}.parquet").write_bytes(path.read_bytes())
    hours = check(verify_data_set(catalog, "mine", "XYZ"), "stored rows inside regular hours")
    assert hours.found == 2
    assert "2 of them on days without a session" in hours.detail


@pytest.mark.rows(
    ("days", "found", "verdict"),
    [
        (("2024-01-16", "2024-01-17", "2024-01-18"), 0, CheckVerdict.OK),
        (("2024-01-12", "2024-01-16"), 0, CheckVerdict.OK),  # Martin Luther King
        (("2024-01-16", "2024-01-18"), 1, CheckVerdict.WARNING),
        (("2024-01-16", "2024-02-06"), 14, CheckVerdict.WARNING),
    ],
)
def test_sessions_that_are_missing_are_found_by_the_exchanges_calendar(days, found, verdict, tmp_path):
    """A straddle was held over three weeks without a hedge, on data that was fit to trade on."""
    body = "".join(f"{day}T15:0{minute}:00Z,XYZ,470.00,470.02,5,5\n" for day in days for minute in (1, 2))
    catalog = import_rows(tmp_path, body)
    report = verify_data_set(catalog, "mine", "XYZ")
    got = check(report, "no session is missing")
    assert (got.found, got.verdict) == (found, verdict)
    is_hole = found > 5
    assert ("trading" in report.fit_for) is not is_hole
    assert ("2024-01-17 to 2024-02-05" in report.missing) is is_hole
    settings = load_settings(None, cwd=tmp_path, overrides=[f"data.catalog={catalog}"])
    span = {"start": date.fromisoformat(days[0]), "end": date.fromisoformat(days[-1])}
    if is_hole:
        with pytest.raises(DataError) as refused:
            load_market(settings, "mine", underlying="XYZ", seed=1, **span)
        assert "2024-01-16" in refused.value.fix
        assert "2024-02-06" in refused.value.fix
        span["end"] = span["start"]  # as it says: the days on one side
    tape = load_market(settings, "mine", underlying="XYZ", seed=1, **span)
    assert tape.sessions


def test_equal_and_contradicting_rows_of_one_instant_are_told_apart(tmp_path):
    row = "2015-12-23T14:31:00Z,XYZ,100.0,{},10,10\n"
    catalog = import_rows(tmp_path, "".join(row.format(ask) for ask in (100.2, 100.3, 100.4)))
    path = next((catalog / "mine" / "quotes").rglob("*.parquet"))
    with duckdb.connect() as connection:  # one of them once more, in full
        rows = f"SELECT * FROM '{path}'"
        connection.execute(f"COPY ({rows} UNION ALL ({rows} LIMIT 1)) TO '{path}.new' (FORMAT parquet)")
    path.with_name(f"{path.name}.new").replace(path)
    report = verify_data_set(catalog, "mine", "XYZ")
    stored = check(report, "stored rows are unique")
    assert stored.found == 3
    assert stored.detail.startswith("1 equal to another, 2 with other figures")
    assert check(report, "one row an instrument and instant").detail.endswith(stored.detail)


def test_repeated_rows_and_another_bar_length_are_counted(tmp_path):
    body = "".join(f"2015-12-23T14:31:00Z,XYZ,100.0,{ask},10,10\n" for ask in (100.2, 100.3))
    catalog = import_rows(tmp_path, body)
    assert check(verify_data_set(catalog, "mine", "XYZ"), "stored rows are unique").found == 1
    manifest = catalog / "mine" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"bar_seconds": 60', '"bar_seconds": 61'))
    report = verify_data_set(catalog, "mine", "XYZ")
    assert check(report, "rows are known when their bar ends").found == 2
    assert not report.ok


def test_one_session_can_be_asked_for_and_must_be_there(tmp_path):
    catalog = import_rows(tmp_path, "2015-12-23T14:31:00Z,XYZ,100.0,100.2,10,10\n")
    report = verify_data_set(catalog, "mine", "XYZ", session=DAY)
    assert check(report, "the session makes a tape").checked == 1
    with pytest.raises(DataError, match="does not cover"):
        verify_data_set(catalog, "mine", "XYZ", session=date(2015, 12, 22))


@pytest.mark.recorded
@pytest.mark.parametrize(
    "underlying", ["ES", *(pytest.param(name, marks=pytest.mark.second) for name in ("GOOG", "SPX", "SPY"))]
)
def test_the_recorded_days_are_fit_to_trade_on(recorded_catalog, underlying):
    report = verify_data_set(recorded_catalog, "lean", underlying)
    assert report.ok
    assert check(report, "quotes not crossed").found == 0
    assert check(report, "files can be read").checked > 0
    assert sum(each.checked for each in report.checks) > 10_000


@pytest.mark.recorded
def test_crossed_bars_of_the_recorded_week_are_counted_not_hidden(recorded_catalog):
    found = check(
        verify_data_set(recorded_catalog, "lean", "SPXW", session=date(2021, 1, 8)), "stored rows not crossed"
    )
    # SPXW minute rows of 2021-01-04..08 with bid above ask: 7, 1 and 48 on the 6th, 7th and 8th.
    assert (found.found, found.verdict) == (56, CheckVerdict.WARNING)


def test_rows_outside_regular_hours_are_counted_and_do_not_reach_the_tape(tmp_path):
    body = "".join(
        f"{moment},XYZ,100.0,100.2,10,10\n"
        for moment in (
            "2015-12-23T14:30:00Z",  # a bar that ended as the session opened
            "2015-12-23T14:31:00Z",
            "2015-12-23T21:00:00Z",
            "2015-12-23T21:01:00Z",
        )
    )
    report = verify_data_set(import_rows(tmp_path, body), "mine", "XYZ")
    hours = check(report, "stored rows inside regular hours")
    assert (hours.checked, hours.found, hours.verdict) == (4, 2, CheckVerdict.OK)
    assert check(report, "quotes not crossed").checked == 2
