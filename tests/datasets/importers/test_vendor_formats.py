"""Files made to the vendors' published columns (sources: docstring of vendor_formats), imported."""

import gzip
import zipfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import DataError
from scalpdesk.core.sockets import IMPORTERS
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest
from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.importers.base import no_progress
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file, day_files

CALL = "SPY240119C00470000"
DAY = "2024-01-16"  # New York is five hours behind UTC
OPEN_NS = 1_705_415_400_000_000_000  # 2024-01-16 14:30:00 UTC
QUOTES = (
    "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,sequence_number,sip_timestamp"
)
SHARE_QUOTES = (
    "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,conditions,indicators,"
    "participant_timestamp,sequence_number,sip_timestamp,tape,trf_timestamp"
)
TRADES = "ticker,conditions,correction,exchange,price,sip_timestamp,size"
MINUTES = "ticker,volume,open,close,high,low,window_start,transactions"


def put(folder: Path, vendor: str, path: Path, **flags):
    spec = IMPORTERS.find_spec(ImporterSpec, vendor)
    request = ImportRequest(path=path, catalog=folder / "cat", progress=no_progress)
    return spec.run(request, spec.flags(**flags))[0]


def lines(path: Path, *rows: str) -> Path:
    text = "\n".join(rows) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def stored(folder: Path, name: str, table: str, key: str, columns: str) -> list[tuple]:
    path = day_file(folder / "cat", name, table, key, DAY)
    return connect().execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY ts", [str(path)]).fetchall()


TIME = "strftime(ts, '%H:%M:%S.%f')"
START = "strftime(bar_start, '%H:%M:%S')"


def test_polygon_quotes_are_utc_nanoseconds_and_a_price_of_zero_is_no_side(tmp_path):
    path = lines(
        tmp_path / "2024-01-16.csv.gz",
        QUOTES,
        f"O:{CALL},302,5.10,12,303,5.00,7,11,{OPEN_NS + 1_500_000_001}",
        f"O:{CALL},302,0,0,303,5.00,9,12,{OPEN_NS + 2_000_000_000}",
        f"O:{CALL},302,5.20,3,303,0,4,13,{OPEN_NS + 3_000_000_000}",
        f"O:QQQ240119C00400000,302,1,1,303,0.9,1,14,{OPEN_NS}",
    )
    report = put(tmp_path, "polygon", path, underlying=("SPY",))
    rows = stored(tmp_path, "polygon", "option_quotes", "SPY", f"{TIME}, bid, bid_size, ask, ask_size")
    # the first is known at 1.500000001 s: not before 1.500001 s
    assert rows == [
        ("14:30:01.500001", 5.0, 7, 5.1, 12),
        ("14:30:02.000000", 5.0, 9, float("inf"), 0),
        ("14:30:03.000000", 0.0, 0, 5.2, 3),
    ]
    assert report.rows == {"option_quotes/SPY": 3}
    assert sorted(read_manifest(tmp_path / "cat", "polygon").underlyings) == ["SPY"]


def test_of_quotes_of_one_instant_the_last_remains_and_of_an_interval_by_choice(tmp_path):
    path = lines(
        tmp_path / "2024-01-16.csv.gz",
        SHARE_QUOTES,
        f"SPY,8,470.02,200,11,470.00,100,1,,{OPEN_NS},1,{OPEN_NS + 100},1,0",
        f'SPY,8,470.03,300,11,470.01,400,"1,81",,{OPEN_NS},2,{OPEN_NS + 200},1,0',
        f"SPY,8,470.05,300,11,470.04,400,1,,{OPEN_NS},3,{OPEN_NS + 900_000_000},1,0",
        f"SPY,8,470.07,300,11,470.06,400,1,,{OPEN_NS},4,{OPEN_NS + 1_100_000_000},1,0",
    )
    put(tmp_path, "polygon", path, underlying=("SPY",))
    assert stored(tmp_path, "polygon", "quotes", "SPY", "bid") == [(470.01,), (470.04,), (470.06,)]
    put(tmp_path, "polygon", path, underlying=("SPY",), name="second", every=1)
    rows = stored(tmp_path, "second", "quotes", "SPY", f"{TIME}, bid, bid_size")
    assert rows == [("14:30:00.900000", 470.04, 400), ("14:30:01.100000", 470.06, 400)]


def test_polygon_trades_become_bars_of_a_minute_without_cancelled_prints(tmp_path):
    path = lines(
        tmp_path / "2024-01-16.csv.gz",
        TRADES,
        f"O:{CALL},209,0,302,5.00,{OPEN_NS + 1},2",
        f"O:{CALL},209,0,302,5.30,{OPEN_NS + 2_000_000_000},1",
        f"O:{CALL},209,0,302,4.90,{OPEN_NS + 3_000_000_000},1",
        f"O:{CALL},201,0,302,9.00,{OPEN_NS + 4_000_000_000},5",
        f"O:{CALL},209,8,302,9.00,{OPEN_NS + 5_000_000_000},5",
        f"O:{CALL},209,0,302,5.10,{OPEN_NS + 60_000_000_000},4",
    )
    put(tmp_path, "polygon", path, underlying=("SPY",))
    columns = f"{TIME}, {START}, open, high, low, close, volume"
    assert stored(tmp_path, "polygon", "option_trades", "SPY", columns) == [
        ("14:31:00.000000", "14:30:00", 5.0, 5.3, 4.9, 4.9, 4),
        ("14:32:00.000000", "14:31:00", 5.1, 5.1, 5.1, 5.1, 4),
    ]


def test_polygon_minutes_bear_their_start_and_are_known_at_their_end(tmp_path):
    path = lines(tmp_path / "2024-01-16.csv.gz", MINUTES, f"SPY,1200.5,470,470.2,470.3,469.9,{OPEN_NS},31")
    put(tmp_path, "polygon", path, underlying=("SPY",))
    columns = f"{TIME}, {START}, open, high, low, close, volume"
    assert stored(tmp_path, "polygon", "trades", "SPY", columns) == [
        ("14:31:00.000000", "14:30:00", 470.0, 470.3, 469.9, 470.2, 1200.5)
    ]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 240 * 10**9), st.integers(1, 900), st.integers(1, 50)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([1, 60, 300]),
)
def test_bars_of_trades_are_those_of_their_prints(tmp_path_factory, prints, seconds):
    folder = tmp_path_factory.mktemp("bars")
    rows = [f"O:{CALL},209,0,302,{cents / 100},{OPEN_NS + ns},{size}" for ns, cents, size in prints]
    put(folder, "polygon", lines(folder / "t.csv", TRADES, *rows), underlying=("SPY",), bar_seconds=seconds)
    bars: dict[int, list[tuple[int, int]]] = {}
    for ns, cents, size in sorted(prints, key=lambda each: each[0]):
        moment = -(-ns // 1_000) * 1_000  # in microseconds, rounded up
        bars.setdefault(moment // (seconds * 10**9), []).append((cents, size))
    expected = [
        (
            OPEN_NS // 10**9 + (place + 1) * seconds,
            members[0][0] / 100,
            max(cents for cents, _ in members) / 100,
            min(cents for cents, _ in members) / 100,
            members[-1][0] / 100,
            float(sum(size for _, size in members)),
        )
        for place, members in sorted(bars.items())
    ]
    columns = "epoch(ts)::BIGINT, open, high, low, close, volume"
    assert stored(folder, "polygon", "option_trades", "SPY", columns) == expected


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (QUOTES, f"O:{CALL},302,5.10,12,303,5.00,7,11,{OPEN_NS // 1_000_000}"),  # milliseconds
        (
            MINUTES,
            f"SPY,1,1,1,1,1,{OPEN_NS - 34_200_000_000_000},1",
        ),  # a bar of a day, at midnight in New York
        (QUOTES, f"O:{CALL},302,dear,12,303,5.00,7,11,{OPEN_NS}"),
        (QUOTES, f"O:{CALL},302,5.10,12,303,5.00,7,11,"),
        (QUOTES.replace("bid_price", "bid_prize"), f"O:{CALL},302,5.10,12,303,5.00,7,11,{OPEN_NS}"),
    ],
)
def test_a_file_that_is_not_the_vendors_is_refused_by_name(tmp_path, header, row):
    path = lines(tmp_path / "2024-01-16.csv", header, row)
    with pytest.raises(DataError) as refusal:
        put(tmp_path, "polygon", path, underlying=("SPY",))
    assert str(path) in refusal.value.where
    assert refusal.value.fix
    assert not day_files(tmp_path / "cat", "polygon", "option_quotes", "SPY")


def test_a_bad_cell_is_named_with_its_line(tmp_path):
    good = f"O:{CALL},302,5.10,12,303,5.00,7,11,{OPEN_NS}"
    path = lines(tmp_path / "2024-01-16.csv", QUOTES, good, good, good.replace("5.10", "dear"))
    with pytest.raises(DataError) as refusal:
        put(tmp_path, "polygon", path, underlying=("SPY",))
    assert refusal.value.where == f"{path}:4"


def test_a_damaged_file_among_several_is_named_and_the_rest_is_read(tmp_path):
    quote = f"O:{CALL},302,5.10,12,303,5.00,7,11,{OPEN_NS}"
    lines(tmp_path / "files" / "a.csv", QUOTES, quote.replace("5.10", "dear"))
    lines(tmp_path / "files" / "b.csv", QUOTES, quote)
    lines(tmp_path / "files" / "c.csv", QUOTES, *[quote.replace("5.10", "0")] * 2)
    lines(tmp_path / "files" / "d.csv", QUOTES, quote.replace("5.10", "0").replace("11,1", "12,1"))
    report = put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",))
    assert [error.where for error in report.unreadable] == [f"{tmp_path / 'files' / 'a.csv'}:2"]
    assert report.files_read == 3
    assert len(stored(tmp_path, "polygon", "option_quotes", "SPY", "bid")) == 1
    assert [note.split()[0] for note in report.notes if "ask" in note] == ["2"]  # counted over all files


def test_an_import_goes_on_where_it_stopped_and_reads_changed_files_again(tmp_path):
    quote = f"O:{CALL},302,5.10,12,303,5.00,7,11,{OPEN_NS}"
    lines(tmp_path / "files" / "a.csv", QUOTES, quote)
    assert put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",)).files_read == 1
    later = quote.replace(str(OPEN_NS), str(OPEN_NS + 60_000_000_000))
    second = lines(tmp_path / "files" / "b.csv", QUOTES, later)
    report = put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",))
    assert (report.files_read, report.rows) == (1, {"option_quotes/SPY": 1})
    # two files of one day: the second leaves the rows of the first, which lie outside of its own
    assert len(stored(tmp_path, "polygon", "option_quotes", "SPY", "bid")) == 2
    assert put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",)).files_read == 0
    lines(second, QUOTES, later.replace("5.10", "5.40"))
    assert put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",)).files_read == 1
    assert [row[0] for row in stored(tmp_path, "polygon", "option_quotes", "SPY", "ask")] == [5.1, 5.4]
    assert put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",), again=True).files_read == 2


def test_a_file_of_a_day_without_a_session_is_named_and_the_rest_is_read(tmp_path):
    sunday = OPEN_NS - 2 * 86_400_000_000_000
    quote = f"O:{CALL},302,5.10,12,303,5.00,7,11"
    lines(tmp_path / "files" / "a.csv", QUOTES, f"{quote},{sunday}")
    lines(tmp_path / "files" / "b.csv", QUOTES, f"{quote},{OPEN_NS}")
    report = put(tmp_path, "polygon", tmp_path / "files", underlying=("SPY",))
    assert [error.where for error in report.unreadable] == [str(tmp_path / "files" / "a.csv")]
    assert report.rows == {"option_quotes/SPY": 1}


THETA_2 = (
    "root,expiration,strike,right,ms_of_day,bid_size,bid_exchange,bid,bid_condition,ask_size,ask_exchange,"
    "ask,ask_condition,date"
)
THETA_3 = (
    "symbol,expiration,strike,right,timestamp,bid_size,bid_exchange,bid,bid_condition,ask_size,ask_exchange,"
    "ask,ask_condition"
)


@pytest.mark.parametrize(
    ("header", "row", "utc"),
    [
        (THETA_2, "SPY,20240119,470000,C,34260000,7,1,5.00,50,12,1,5.10,50,20240116", "14:31:00"),
        (
            THETA_3,
            '"SPY","2024-01-19",470.000,"CALL",2024-01-16T09:31:00.000,7,1,5.00,50,12,1,5.10,50',
            "14:31:00",
        ),
        # in summer New York is four hours behind UTC
        (THETA_2, "SPY,20240719,470000,C,34260000,7,1,5.00,50,12,1,5.10,50,20240716", "13:31:00"),
    ],
)
def test_thetadata_times_are_new_york(tmp_path, header, row, utc):
    put(tmp_path, "thetadata", lines(tmp_path / "quotes.csv", header, row))
    (file,) = day_files(tmp_path / "cat", "thetadata", "option_quotes", "SPY")
    columns = "strftime(ts, '%H:%M:%S'), strike, \"right\", bid, bid_size, ask, ask_size"
    (found,) = connect().execute(f"SELECT {columns} FROM read_parquet(?)", [str(file)]).fetchall()
    assert found == (utc, 470.0, "C", 5.0, 7, 5.1, 12)


def test_thetadata_bars_trades_and_open_interest(tmp_path):
    terms = "SPY,20240119,470000,P"
    folder = tmp_path / "files"
    lines(
        folder / "ohlc.csv",
        "root,expiration,strike,right,ms_of_day,open,high,low,close,volume,count,date",
        f"{terms},34200000,1.0,1.2,0.9,1.1,8,3,20240116",
        f"{terms},34500000,0,0,0,0,0,0,20240116",
        f"{terms},34800000,1.3,1.3,1.3,1.3,2,1,20240116",
    )
    lines(
        folder / "oi.csv",
        "root,expiration,strike,right,ms_of_day,open_interest,date",
        f"{terms},23400000,4321,20240116",
    )
    report = put(tmp_path, "thetadata", folder)
    assert report.rows == {"option_trades/SPY": 2, "open_interest/SPY": 1}
    # bars of five minutes by their gaps; an interval without a trade has no bar
    columns = f"{TIME}, {START}, close, volume"
    assert stored(tmp_path, "thetadata", "option_trades", "SPY", columns) == [
        ("14:35:00.000000", "14:30:00", 1.1, 8),
        ("14:45:00.000000", "14:40:00", 1.3, 2),
    ]
    assert stored(tmp_path, "thetadata", "open_interest", "SPY", f"{TIME}, open_interest") == [
        ("11:30:00.000000", 4321)
    ]
    prints = lines(
        tmp_path / "trades.csv",
        "ms_of_day,sequence,ext_condition1,ext_condition2,ext_condition3,ext_condition4,condition,size,exchange,"
        "price,condition_flags,price_flags,volume_type,records_back,date",
        "34200100,1,255,255,255,255,18,2,60,1.10,0,1,0,0,20240116",
        "34200200,2,255,255,255,255,40,2,60,9.99,0,1,0,0,20240116",
    )
    put(tmp_path, "thetadata", prints, name="prints", symbol="SPY240119P00470000")
    columns = f"{TIME}, symbol, high, volume"
    assert stored(tmp_path, "prints", "option_trades", "SPY", columns) == [
        ("14:31:00.000000", "SPY240119P00470000", 1.1, 2)
    ]


@pytest.mark.parametrize(
    "row",
    [
        "SPY,20240230,470000,C,34260000,7,1,5.00,50,12,1,5.10,50,20240116",  # no such expiration
        "SPY,20240119,470000,X,34260000,7,1,5.00,50,12,1,5.10,50,20240116",  # no such right
        "SPY,20240119,470000,C,34260000,7,1,5.00,50,12,1,5.10,50,20240140",  # no such day
    ],
)
def test_a_row_without_contract_or_time_is_named_with_its_line(tmp_path, row):
    good = "SPY,20240119,470000,C,34260000,7,1,5.00,50,12,1,5.10,50,20240116"
    path = lines(tmp_path / "quotes.csv", THETA_2, good, row)
    with pytest.raises(DataError) as refusal:
        put(tmp_path, "thetadata", path)
    assert refusal.value.where == f"{path}:3"


CBOE = (
    "underlying_symbol,quote_datetime,root,expiration,strike,option_type,open,high,low,close,trade_volume,"
    "bid_size,bid,ask_size,ask,underlying_bid,underlying_ask,implied_underlying_price,active_underlying_price,"
    "implied_volatility,delta,gamma,theta,vega,rho,open_interest"
)


def cboe(
    symbol: str, root: str, time: str, right: str, quote: str, bar: str = "0,0,0,0,0", spot: str = "1,2"
):
    terms = f"{symbol},2024-01-16 {time},{root},2024-01-19,470.000,{right}"
    return f"{terms},{bar},{quote},{spot},0,0,0,0,0,0,0,0,55"


def test_cboe_intervals_give_options_their_interest_and_the_share(tmp_path):
    rows = (
        CBOE,
        cboe("SPY", "SPY", "09:31:00", "C", "7,5.00,12,5.10", "5,5.2,4.9,5.1,30", "470.00,470.02"),
        cboe("SPY", "SPY", "09:31:00", "P", "8,4.00,13,4.10", spot="470.00,470.02"),
        cboe("SPY", "SPY", "09:32:00", "C", "0,0,12,5.10", spot="470.10,470.12"),
        cboe("SPY", "SPY", "09:32:00", "P", "8,4.00,0,0", spot="470.10,470.12"),
    )
    archive = tmp_path / "UnderlyingOptionsIntervals_60sec_2024-01-16.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("UnderlyingOptionsIntervals_60sec_2024-01-16.csv", "\n".join(rows) + "\n")
    report = put(tmp_path, "cboe", archive)
    assert report.rows == {
        "option_quotes/SPY": 4,
        "option_trades/SPY": 1,
        "open_interest/SPY": 2,
        "quotes/SPY": 2,
    }
    columns = f'{TIME}, {START}, "right", bid, bid_size, ask, ask_size'
    assert stored(tmp_path, "cboe", "option_quotes", "SPY", columns)[2:] == [
        ("14:32:00.000000", "14:31:00", "C", 0.0, 0, 5.1, 12),
        ("14:32:00.000000", "14:31:00", "P", 4.0, 8, float("inf"), 0),
    ]
    assert stored(tmp_path, "cboe", "option_trades", "SPY", f"{TIME}, high, volume") == [
        ("14:31:00.000000", 5.2, 30)
    ]
    assert stored(tmp_path, "cboe", "open_interest", "SPY", f"{TIME}, open_interest") == [
        ("11:30:00.000000", 55),
        ("11:30:00.000000", 55),
    ]
    day = date(2024, 1, 16)
    tape = load_tape(tmp_path / "cat", "cboe", underlying="SPY", start=day, end=day)
    assert [item.symbol for item in tape.instruments] == ["SPY", CALL, CALL.replace("C0", "P0")]
    assert tape.open_interest == {CALL: 55, CALL.replace("C0", "P0"): 55}
    assert len(tape.quotes.ts_ns) == 6


def test_an_index_of_cboe_is_a_level_and_its_weekly_root_is_kept(tmp_path):
    path = lines(
        tmp_path / "spx.csv",
        CBOE,
        cboe("^SPX", "SPXW", "09:31:00", "C", "7,5.00,12,5.10", spot="4770.00,4771.00"),
        cboe("^SPX", "SPX", "09:31:00", "C", "7,5.00,12,5.10", spot="4770.00,4771.00"),
        cboe("^NDX", "NDX", "09:31:00", "C", "7,5.00,12,5.10", spot="0,0"),
    )
    put(tmp_path, "cboe", path, underlying=("spx",))
    assert stored(tmp_path, "cboe", "index_levels", "SPX", f"{TIME}, close, volume") == [
        ("14:31:00.000000", 4770.5, 0)
    ]
    coverage = read_manifest(tmp_path / "cat", "cboe").underlyings
    assert {name: (part.type, part.keys) for name, part in coverage.items()} == {
        "SPX": ("index", ("SPX", "SPXW"))
    }


SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
_LOCAL = "(ts AT TIME ZONE 'America/New_York')"
WRITTEN = {
    "polygon": "SELECT 'O:' || symbol AS ticker, 1 AS ask_exchange, ask AS ask_price, ask_size, "
    "1 AS bid_exchange, bid AS bid_price, bid_size, 1 AS sequence_number, epoch_ns(ts) AS sip_timestamp",
    "thetadata": "SELECT 'GOOG' AS root, strftime(expiry, '%Y%m%d') AS expiration, "
    '(strike * 1000)::BIGINT AS strike, "right", '
    f"(epoch_ms({_LOCAL}) - epoch_ms({_LOCAL}::DATE::TIMESTAMP)) AS ms_of_day, bid_size, bid, ask_size, ask, "
    f"strftime({_LOCAL}, '%Y%m%d') AS date",
    "cboe": "SELECT 'GOOG' AS underlying_symbol, "
    f"strftime({_LOCAL}, '%Y-%m-%d %H:%M:%S') AS quote_datetime, 'GOOG' AS root, expiry AS expiration, "
    'strike, "right" AS option_type, 0 AS open, 0 AS high, 0 AS low, 0 AS close, 0 AS trade_volume, '
    "bid_size, bid, ask_size, ask, 0 AS underlying_bid, 0 AS underlying_ask",
}
"""The recorded quotes of GOOG as a vendor would write them."""


@pytest.mark.recorded
@pytest.mark.parametrize("vendor", WRITTEN)
def test_recorded_quotes_come_through_a_vendors_format_as_they_are(tmp_path, vendor):
    source = SHARED / "goog_2015-12" / "options_quote.parquet"
    if not source.is_file():
        pytest.skip("no recorded data")
    connection = connect()
    connection.execute(
        "CREATE VIEW quotes AS SELECT * FROM read_parquet($path) WHERE bid > 0 AND ask > 0 "
        "AND ts::DATE = '2015-12-24' AND strike BETWEEN 740 AND 760".replace("$path", f"'{source}'")
    )
    path = tmp_path / "day.csv.gz"
    connection.execute(f"COPY ({WRITTEN[vendor]} FROM quotes) TO '{path}' (HEADER, COMPRESSION gzip)")
    share = SHARED / "goog_2015-12" / "underlying_quote.parquet"
    import_table(tmp_path / "cat", share, ImportChoices("mine", "GOOG"), file_format="parquet")
    report = put(tmp_path, vendor, path, underlying=("GOOG",), name="mine")
    file = day_file(tmp_path / "cat", "mine", "option_quotes", "GOOG", "2015-12-24")
    columns = 'ts, symbol, expiry, strike, "right", bid, bid_size, ask, ask_size'
    differing, count = connection.execute(
        f"SELECT (SELECT count(*) FROM (SELECT {columns} FROM quotes EXCEPT SELECT {columns} FROM "
        f"read_parquet('{file}'))), count(*) FROM quotes"
    ).fetchall()[0]
    assert differing == 0
    assert report.rows == {"option_quotes/GOOG": count}
    assert count > 5_000
    assert read_manifest(tmp_path / "cat", "mine").bar_seconds == 60


CBOE_HEAD = CBOE.partition(",implied_underlying_price")[0] + "\n"


def cboe_rows(underlying, *series):
    return CBOE_HEAD + "".join(
        f"{underlying},2024-01-17 09:31:00,{root},{expiry},100.0,{right},0,0,0,0,0,20,1.0,20,1.05,99.9,100\n"
        for root, expiry in series
        for right in "CP"
    )


@pytest.mark.parametrize(
    ("underlying", "root", "expiry", "style", "settlement"),
    [
        ("^VIX", "VIXW", "2024-01-24", "european", "cash_am"),
        ("^OEX", "OEX", "2024-01-19", "american", "cash_pm"),
        ("^OEX", "XEO", "2024-01-19", "european", "cash_pm"),
        ("^XND", "XND", "2024-01-19", "european", "cash_pm"),
        ("^MRUT", "MRUT", "2024-01-19", "european", "cash_pm"),
        ("KO", "KO", "2024-01-19", "american", "physical"),
        ("BRK.B", "BRKB", "2024-01-19", "american", "physical"),
    ],
)
def test_options_of_a_vendor_have_the_terms_of_their_class(
    tmp_path, underlying, root, expiry, style, settlement
):
    path = tmp_path / "day.csv"
    path.write_text(cboe_rows(underlying, (root, expiry)))
    put(tmp_path, "cboe", path, name="mine")
    name, day = underlying.lstrip("^"), date(2024, 1, 17)
    tape = load_tape(tmp_path / "cat", "mine", underlying=name, start=day, end=day)
    assert tape.instruments[0].is_index is underlying.startswith("^")
    terms = {(each.style, each.settlement, each.underlying) for each in tape.instruments if each.is_option}
    assert terms == {(style, settlement, name)}


@pytest.mark.parametrize(("underlying", "root"), [("^FOO", "FOO"), ("SDS", "SDS1"), ("^SPX", "SPXQ")])
def test_rows_of_an_unknown_root_are_refused_or_left_out_with_the_class_to_write(tmp_path, underlying, root):
    path = tmp_path / "day.csv"
    path.write_text(cboe_rows(underlying, (root, "2024-01-19")))
    with pytest.raises(DataError) as refused:
        put(tmp_path, "cboe", path, name="mine")
    assert f"[classes.{root}]" in refused.value.fix
    path.write_text(cboe_rows(underlying, (root, "2024-01-19"), ("SPXW", "2024-01-19")))
    report = put(tmp_path, "cboe", path, name="other")
    assert report.rows["option_quotes/SPXW"] == 2
    assert not any(root == each.partition("/")[2] for each in report.rows)
    assert any(f"[classes.{root}]" in note for note in report.notes)


@pytest.mark.rows("price", ["underlying_price", "stock_price", "underlying_bid"])
def test_a_price_of_the_underlying_that_the_format_has_not_is_never_dropped(tmp_path, price):
    rows = "root,expiration,strike,right,ms_of_day,bid_size,bid,ask_size,ask,date", \
        "SPY,20240119,470000,C,34260000,1,7.10,1,7.14,20240116"  # fmt: skip
    path = lines(tmp_path / "theta.csv", f"{rows[0]},{price}", f"{rows[1]},471.20")
    with pytest.raises(DataError, match=price) as refused:
        put(tmp_path, "thetadata", path)
    assert f"scalpdesk data import chain {path} --name thetadata" in str(refused.value.fix)


@pytest.mark.rows("vendor", ["thetadata", "polygon", "csv", "parquet", "chain"])
def test_a_workbook_is_called_one_whatever_its_ending(tmp_path, vendor):
    flags = {"name": "mine", "underlying": "XYZ"} if vendor in ("csv", "parquet") else {}
    flags |= {"underlying": ("XYZ",)} if vendor == "polygon" else {}
    for name in ("quotes.xlsx", "renamed.csv"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("xl/workbook.xml", "<workbook/>")
    (tmp_path / "old.csv").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + b"x" * 500)
    for name in ("quotes.xlsx", "renamed.csv", "old.csv"):
        with pytest.raises(DataError, match="Excel"):
            put(tmp_path, vendor, tmp_path / name, **flags)


def share_quotes(tmp_path, sizes, day_ns=OPEN_NS, header=SHARE_QUOTES):
    rows = [
        f"SPY,11,470.02,{size},11,470.00,{size},1,,{day_ns},{n},{day_ns + n * 60_000_000_000},1,0"
        for n, size in enumerate(sizes, 1)
    ]
    return put(tmp_path, "polygon", lines(tmp_path / "day.csv", header, *rows), underlying=("SPY",))


def test_sizes_of_shares_are_round_lots_until_november_2025(tmp_path):
    """The tapes have given shares since; a file whose sizes are all whole lots has them already."""
    report = share_quotes(tmp_path, (5, 12, 3), header=SHARE_QUOTES.replace("ticker", "Ticker"))
    assert stored(tmp_path, "polygon", "quotes", "SPY", "bid_size") == [(500,), (1200,), (300,)]
    assert "round lots" in " ".join(report.notes)


def test_sizes_that_are_whole_lots_are_shares_already(tmp_path):
    report = share_quotes(tmp_path, (500, 1200, 300))
    assert stored(tmp_path, "polygon", "quotes", "SPY", "bid_size") == [(500,), (1200,), (300,)]
    assert "in shares" in " ".join(report.notes)


def test_sizes_of_shares_after_november_2025_are_shares(tmp_path):
    at = OPEN_NS + 658 * 86_400_000_000_000  # 2025-11-04
    share_quotes(tmp_path, (5, 12, 3), at)
    path = day_file(tmp_path / "cat", "polygon", "quotes", "SPY", "2025-11-04")
    assert connect().execute("SELECT max(bid_size) FROM read_parquet(?)", [str(path)]).fetchall() == [(12,)]


def test_of_two_quotes_of_one_instant_the_higher_sequence_counts(tmp_path):
    rows = [f"O:{CALL},302,5.{n},12,303,5.0,7,{n},{OPEN_NS}" for n in (20, 11)]
    put(tmp_path, "polygon", lines(tmp_path / "day.csv", QUOTES, *rows), underlying=("SPY",))
    assert stored(tmp_path, "polygon", "option_quotes", "SPY", "ask") == [(5.20,)]


def test_a_file_without_contract_columns_is_refused_where_an_underlying_is_asked_for(tmp_path):
    header = "timestamp,bid_size,bid_exchange,bid,bid_condition,ask_size,ask_exchange,ask,ask_condition"
    path = lines(tmp_path / "q.csv", header, '"2024-01-16T09:31:00.000",3,46,470.00,50,4,46,470.02,50')
    with pytest.raises(DataError, match="without a column"):
        put(tmp_path, "thetadata", path, underlying=("SPY",))
    put(tmp_path, "thetadata", path, symbol="SPY")
    assert stored(tmp_path, "thetadata", "quotes", "SPY", "bid") == [(470.0,)]


def test_a_blank_cell_of_a_vendor_is_empty(tmp_path):
    rows = [
        f"O:{CALL},302,5.1,12,303,{bid},7,1,{OPEN_NS + n}" for n, bid in ((0, "5.0"), (60_000_000_000, "  "))
    ]
    put(tmp_path, "polygon", lines(tmp_path / "day.csv", QUOTES, *rows), underlying=("SPY",))
    assert [bid for (bid,) in stored(tmp_path, "polygon", "option_quotes", "SPY", "bid")] == [5.0, None]
