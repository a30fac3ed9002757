import json
import math
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.base import UnreadableFileError
from scalpdesk.datasets.importers.lean import import_lean, read_factor_file
from scalpdesk.datasets.importers.lean_files import find_files, lean_root
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file
from scalpdesk_testing.kit.archives import put_zip

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


def rows_of(path: Path, columns: str) -> list[tuple]:
    return connect().execute(f"SELECT {columns} FROM read_parquet(?)", [str(path)]).fetchall()


KNOWN_AT = "strftime(ts, '%Y-%m-%d %H:%M:%S'), strftime(bar_start, '%Y-%m-%d %H:%M:%S')"


def test_each_kind_is_scaled_named_and_known_when_its_bar_ends_in_its_own_zone(small_lean, tmp_path):
    import_lean(tmp_path / "cat", small_lean)

    def kept(table, key, day, columns):
        return rows_of(day_file(tmp_path / "cat", "lean", table, key, day), columns)

    sides = f"{KNOWN_AT}, symbol, bid_open, bid, bid_size, ask_high, ask, ask_size"
    assert kept("quotes", "XYZ", "2015-12-23", sides) == [
        ("2015-12-23 14:31:00", "2015-12-23 14:30:00", "XYZ", 100.0, 100.05, 300.0, 100.3, 100.25, 200.0),
        ("2015-12-23 14:32:00", "2015-12-23 14:31:00", "XYZ", 100.05, 100.05, 100.0, None, None, 0.0),
    ]
    terms = 'symbol, root, expiry::VARCHAR, strike, "right", style, bid, ask, ask_size'
    assert kept("option_quotes", "XYZ", "2015-12-23", terms) == [
        ("XYZ151224C00100000", "XYZ", "2015-12-24", 100.0, "C", "american", 1.6, 1.75, 9.0),
        ("XYZ151224P00097500", "XYZ", "2015-12-24", 97.5, "P", "american", None, 0.5, 12.0),
    ]
    # levels run on Chicago's time, futures on UTC; neither is scaled
    assert kept("index_levels", "SPX", "2021-01-04", f"{KNOWN_AT}, open, close") == [
        ("2021-01-04 14:31:00", "2021-01-04 14:30:00", 3764.61, 3766.63)
    ]
    assert kept("trades", "ES", "2013-10-07", f"{KNOWN_AT}, symbol, close") == [
        ("2013-10-07 00:01:00", "2013-10-07 00:00:00", "ES_201312", 1676.5)
    ]
    days, rates = zip(*kept("rates", "USD", "all", "date::VARCHAR, rate"), strict=True)
    assert days == ("2015-01-01", "2015-12-17")
    assert rates == pytest.approx((math.log(1.0075), math.log(1.01)), rel=1e-12)


def test_the_market_hours_database_decides_the_zone(small_lean, tmp_path):
    database = small_lean / "market-hours" / "market-hours-database.json"
    database.parent.mkdir()
    database.write_text(json.dumps({"entries": {"Future-cme-ES": {"dataTimeZone": "America/New_York"}}}))
    import_lean(tmp_path / "cat", small_lean, only=["future"])
    path = day_file(tmp_path / "cat", "lean", "trades", "ES", "2013-10-07")
    assert rows_of(path, KNOWN_AT) == [("2013-10-07 04:01:00", "2013-10-07 04:00:00")]


def test_factor_files_become_dividends_and_splits_on_the_next_session(small_lean):
    actions = read_factor_file(small_lean / "equity" / "usa" / "factor_files" / "xyz.csv")
    assert [(str(day), kind, amount) for day, kind, amount in actions] == [
        ("2015-06-02", "split", Decimal("0.5")),
        ("2015-12-21", "dividend", Decimal("1.000")),
    ]


def test_the_report_and_the_manifest_say_what_came(small_lean, tmp_path):
    (report,) = import_lean(tmp_path / "cat", small_lean, only=["xyz"])
    assert report.files_read == 3
    assert report.rows == {
        "quotes/XYZ": 2,
        "trades/XYZ": 1,
        "option_quotes/XYZ": 2,
        "corporate_actions/XYZ": 2,
        "rates/USD": 2,
    }
    manifest = read_manifest(tmp_path / "cat", "lean")
    assert manifest.underlyings.keys() == {"XYZ"}
    assert manifest.underlyings["XYZ"].sessions == ("2015-12-23",)
    assert manifest.underlyings["XYZ"].instruments == 3
    assert manifest.rows == 5
    assert manifest.underlyings["XYZ"].tables == {"quotes/XYZ": 2, "trades/XYZ": 1, "option_quotes/XYZ": 2}
    assert any("market-hours-database" in note for note in report.notes)


def test_importing_twice_changes_nothing_and_adds_up_with_another_part(small_lean, tmp_path):
    cat = tmp_path / "cat"
    import_lean(cat, small_lean, only=["xyz"])
    once = (cat / "lean" / "manifest.json").read_bytes()
    import_lean(cat, small_lean, only=["xyz"])
    assert (cat / "lean" / "manifest.json").read_bytes() == once
    import_lean(cat, small_lean, only=["index"])
    assert read_manifest(cat, "lean").underlyings.keys() == {"XYZ", "SPX"}


def test_hourly_bars_of_many_days_go_to_a_set_of_their_own(tmp_path, small_lean):
    put_zip(
        small_lean / "equity" / "usa" / "hour" / "xyz.zip",
        {"xyz.csv": "20141231 15:00,10000,10100,9900,10050,5\n20150102 09:00,10000,10100,9900,10050,5\n"},
    )
    reports = import_lean(tmp_path / "cat", small_lean, only=["hour"])
    assert [report.name for report in reports] == ["lean-hour"]
    assert read_manifest(tmp_path / "cat", "lean-hour").bar_seconds == 3600
    first = day_file(tmp_path / "cat", "lean-hour", "trades", "XYZ", "2014")
    assert rows_of(first, f"{KNOWN_AT}, close") == [("2014-12-31 21:00:00", "2014-12-31 20:00:00", 1.005)]
    assert day_file(tmp_path / "cat", "lean-hour", "trades", "XYZ", "2015").is_file()


def test_a_folder_that_is_not_leans_is_refused_with_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="not LEAN's Data folder") as refused:
        lean_root(tmp_path)
    assert refused.value.where == str(tmp_path)
    assert "import lean" in refused.value.fix


def test_the_parent_of_the_data_folder_is_accepted(small_lean):
    assert lean_root(small_lean.parent) == small_lean


def test_a_misspelt_filter_names_the_nearest_word(small_lean):
    with pytest.raises(DataError, match="nothing to import") as refused:
        find_files(small_lean, ["opton"])
    assert refused.value.nearest == "option"


def bad_row(root: Path) -> Path:
    path = root / "equity" / "usa" / "minute" / "xyz" / "20151224_trade.zip"
    return put_zip(path, {"20151224_xyz_minute_trade.csv": "34200000,abc,1,1,1,1\n"})


def no_zip(root: Path) -> Path:
    path = root / "equity" / "usa" / "minute" / "xyz" / "20151222_trade.zip"
    path.write_bytes(b"PK\x03\x04 not a zip any more")
    return path


def bad_chain(root: Path) -> Path:
    path = root / "option" / "usa" / "universes" / "xyz" / "20151222.csv"
    path.parent.mkdir(parents=True)
    path.write_text("#expiry,strike,right\n2015,much,C,1,1,1,1,1,1,1,1,1,1,1,1\n")
    return path


def bad_factors(root: Path) -> Path:
    path = root / "equity" / "usa" / "factor_files" / "xyz.csv"
    path.write_text("20151218,zero,1,100\n")
    return path


def bad_rates(root: Path) -> Path:
    path = root / "alternative" / "interest-rate" / "usa" / "interest-rate.csv"
    path.write_text("DATE,PCREDIT8\n2015-12-17,much\n")
    return path


@pytest.mark.parametrize("spoil", [bad_row, no_zip, bad_chain, bad_factors, bad_rates])
def test_a_damaged_file_is_named_and_every_other_row_is_imported(small_lean, tmp_path, spoil):
    whole = {report.name: report for report in import_lean(tmp_path / "whole", small_lean)}
    bad = spoil(small_lean)
    reports = {report.name: report for report in import_lean(tmp_path / "cat", small_lean)}
    named = {str(error.where).partition(":")[0] for report in reports.values() for error in report.unreadable}
    assert named == {str(bad)}
    lost = {bad_factors: {"corporate_actions/XYZ"}, bad_rates: {"rates/USD"}}.get(spoil, set())
    kept = {key: rows for key, rows in whole["lean"].rows.items() if key not in lost}
    assert reports["lean"].rows == kept
    if lost:  # a line beside the bars is named with its number
        lines = bad.read_text().splitlines()
        (error,) = reports["lean"].unreadable
        assert (error.where, error.value) == (f"{bad}:{len(lines)}", lines[-1])
    assert read_manifest(tmp_path / "cat", "lean").rows == read_manifest(tmp_path / "whole", "lean").rows


def test_a_folder_of_which_nothing_can_be_read_is_refused(small_lean, tmp_path):
    bad = bad_row(small_lean)
    with pytest.raises(UnreadableFileError, match="not what LEAN writes") as refused:
        import_lean(tmp_path / "cat", small_lean, only=["2015-12-24"])
    assert refused.value.where == str(bad)
    assert not (tmp_path / "cat").exists()


def test_open_interest_of_futures_is_imported_without_an_options_terms(small_lean, tmp_path):
    put_zip(
        small_lean / "future" / "cme" / "minute" / "es" / "20131007_openinterest.zip",
        {"20131007_es_openinterest_201312_20131220.csv": "0,2721513\n"},
    )
    (report,) = import_lean(tmp_path / "cat", small_lean, only=["future"])
    assert report.unreadable == []
    path = day_file(tmp_path / "cat", "lean", "open_interest", "ES", "2013-10-07")
    assert rows_of(path, 'symbol, root, expiry, strike, "right", style, open_interest') == [
        ("ES_201312", "ES", None, None, None, None, 2_721_513)
    ]


OTHERS = {
    "futureoption/comex/minute/og/202004/20200105_quote_american.zip": "futureoption/comex/minute",
    "futureoption/cme/universes/es/20200320/20200103.csv": "futureoption/cme/universes",
    "future/cme/universes/es/20200103.csv": "future/cme/universes",
    "forex/oanda/minute/eurusd/20140501_quote.zip": "forex/oanda/minute",
    "equity/usa/tick/spy/20131007_trade.zip": "equity/usa/tick",
    "equity/usa/fundamental/fine/aapl/20140228.zip": "equity/usa/fundamental",
    "option/usa/minute/xyz/notes.zip": "option/usa/minute",
}


def test_every_archive_of_the_tree_is_read_or_its_folder_is_named(small_lean, tmp_path):
    for path in OTHERS:
        put_zip(small_lean / path, {"x.csv": "1\n"})
    (report,) = import_lean(tmp_path / "cat", small_lean)
    for path, folder in OTHERS.items():
        assert any(f"{path.rpartition('/')[2]} in {folder}" in note for note in report.notes), path
    assert any("futureoption" in note for note in report.notes)
    assert report.files_read == 5


TIDY = [
    ("goog_2015-12/options_quote", "option_quotes/GOOG/*"),
    ("goog_2015-12/options_trade", "option_trades/GOOG/*"),
    ("goog_2015-12/options_openinterest", "open_interest/GOOG/*"),
    ("goog_2015-12/underlying_quote", "quotes/GOOG/*"),
    ("goog_2015-12/underlying_trade", "trades/GOOG/*"),
    ("spxw_2021-01/options_quote", "option_quotes/SPXW/*"),
    ("spxw_2021-01/options_trade", "option_trades/SPXW/*"),
    ("spxw_2021-01/options_openinterest", "open_interest/SPXW/*"),
    ("spxw_2021-01/index_trade", "index_levels/SPX/*"),
    ("spx_2021-01/options_quote", "option_quotes/SPX/*"),
    ("spx_2021-01/options_trade", "option_trades/SPX/*"),
    ("spx_2021-01/options_openinterest", "open_interest/SPX/*"),
    ("spy_2023-08-03/options_quote", "option_quotes/SPY/*"),
    ("spy_2023-08-03/options_trade", "option_trades/SPY/*"),
    ("spy_2023-08-03/underlying_quote", "quotes/SPY/2023*"),
    ("spy_2023-08-03/underlying_trade", "trades/SPY/2023*"),
    ("spy_bars_2013-10/underlying_quote", "quotes/SPY/2013*"),
    ("spy_bars_2013-10/underlying_trade", "trades/SPY/2013*"),
    ("es_bars_2013/futures_trade", "trades/ES/*"),
]


@pytest.mark.recorded
@pytest.mark.parametrize(("tidy", "ours"), TIDY)
def test_every_row_and_value_equals_the_tidy_files(tidy, ours, recorded_catalog):
    connection = connect()
    expected = f"read_parquet('{SHARED / tidy}.parquet')"
    columns = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {expected}").fetchall()]
    theirs = ", ".join(f'"{column}"' for column in columns)
    mine = ", ".join("root AS underlying" if column == "underlying" else f'"{column}"' for column in columns)
    left = f"SELECT {theirs} FROM {expected}"
    right = f"SELECT {mine} FROM read_parquet('{recorded_catalog}/lean/{ours}.parquet')"
    counts = connection.execute(
        f"SELECT (SELECT count(*) FROM ({left})), (SELECT count(*) FROM ({right})), "
        f"(SELECT count(*) FROM ({left} EXCEPT ALL {right})), "
        f"(SELECT count(*) FROM ({right} EXCEPT ALL {left}))"
    ).fetchall()[0]
    assert counts[0] > 0
    assert counts == (counts[0], counts[0], 0, 0)


@pytest.mark.recorded
def test_spy_dividends_of_2019_are_those_that_were_paid(recorded_catalog):
    rows = rows_of(
        day_file(recorded_catalog, "lean", "corporate_actions", "SPY", "all"),
        "ex_date::VARCHAR, amount::DOUBLE",
    )
    # State Street, SPY distribution history: ex-date and dollars a share.
    assert [row for row in rows if row[0].startswith("2019")] == [
        ("2019-03-15", 1.233),
        ("2019-06-21", 1.432),
        ("2019-09-20", 1.384),
        ("2019-12-20", 1.57),
    ]


def test_second_bars_are_known_a_second_later_in_a_set_of_their_own(small_lean, tmp_path):
    put_zip(
        small_lean / "equity" / "usa" / "second" / "xyz" / "20151223_trade.zip",
        {"20151223_xyz_second_trade.csv": "34200000,1000000,1003000,999000,1001000,1500\n"},
    )
    import_lean(tmp_path / "cat", small_lean, only=["second"])
    path = day_file(tmp_path / "cat", "lean-second", "trades", "XYZ", "2015-12-23")
    assert rows_of(path, KNOWN_AT) == [("2015-12-23 14:30:01", "2015-12-23 14:30:00")]


def test_hourly_option_quotes_are_read_from_their_year(small_lean, tmp_path):
    put_zip(
        small_lean / "option" / "usa" / "hour" / "xyz_2015_quote_american.zip",
        {
            "xyz_quote_american_call_1000000_20151224.csv": (
                "20151223 10:00,15000,16000,15000,16000,7,17000,18000,17000,17500,9\n"
            )
        },
    )
    import_lean(tmp_path / "cat", small_lean, only=["hour"])
    path = day_file(tmp_path / "cat", "lean-hour", "option_quotes", "XYZ", "2015")
    assert rows_of(path, f"{KNOWN_AT}, symbol, bid, ask") == [
        ("2015-12-23 16:00:00", "2015-12-23 15:00:00", "XYZ151224C00100000", 1.6, 1.75)
    ]


def test_what_is_passed_over_is_said(small_lean, tmp_path):
    minute = small_lean / "option" / "usa" / "minute" / "xyz"
    put_zip(
        minute / "20151228_quote_american.zip",
        {
            "readme.txt": "hello",
            "20151228_xyz_minute_quote_american_call_1000000_20151399.csv": "34200000,1,1,1,1,1\n",
            "20151228_xyz_minute_quote_bermudan_call_1000000_20151231.csv": "34200000,1,1,1,1,1\n",
        },
    )
    (minute / "20159999_quote_american.zip").write_bytes(b"")
    (minute / "notes.zip").write_bytes(b"")
    (report,) = import_lean(tmp_path / "cat", small_lean, only=["option"])
    said = "\n".join(report.notes)
    assert "readme.txt in 20151228_quote_american.zip" in said
    assert "call_1000000_20151399.csv" in said
    assert "bermudan" in said
    assert "no rows in 20151228_quote_american.zip" in said
    assert "notes.zip" in said
    assert "20159999_quote_american.zip" in said
    assert report.rows["option_quotes/XYZ"] == 2


def test_a_damaged_market_hours_database_is_named(small_lean, tmp_path):
    path = small_lean / "market-hours" / "market-hours-database.json"
    path.parent.mkdir()
    path.write_text('{"entries": ')
    with pytest.raises(DataError, match="market hours database is damaged") as refused:
        import_lean(tmp_path / "cat", small_lean)
    assert refused.value.where == str(path)


def test_options_on_futures_are_named_by_their_future_and_not_scaled(small_lean, tmp_path):
    folder = small_lean / "futureoption" / "cme" / "minute" / "es"
    for month, expiry in (("202003", "20200320"), ("20200619", "20200619")):
        put_zip(
            folder / month / "20200106_quote_american.zip",
            {
                f"20200106_es_minute_quote_american_call_32500000_{expiry}.csv": (
                    "52200000,46.5,46.75,46.25,46.5,11,47,47.25,46.75,47,9\n"
                )
            },
        )
    (report,) = import_lean(tmp_path / "cat", small_lean, only=["futureoption"])
    assert report.unreadable == []
    for month, day in (("202003", "200320"), ("202006", "200619")):
        path = day_file(tmp_path / "cat", "lean", "option_quotes", f"ES_{month}", "2020-01-06")
        assert rows_of(path, f'{KNOWN_AT}, symbol, root, strike, "right", bid, ask, ask_size') == [
            (
                "2020-01-06 14:31:00",
                "2020-01-06 14:30:00",
                f"ES_{month}-{day}C03250000",
                "ES",
                3250.0,
                "C",
                46.5,
                47.0,
                9.0,
            )
        ]
    assert read_manifest(tmp_path / "cat", "lean").underlyings["ES"].type == "future"
