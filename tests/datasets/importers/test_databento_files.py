"""DBN files written by the vendor's own library, imported."""

import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("databento", reason="the extra databento")

import databento_dbn as dbn

from scalpdesk.core.errors import ConfigError, DataError
from scalpdesk.core.sockets import IMPORTERS
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest
from scalpdesk.datasets.importers.base import no_progress
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file

CALL, PUT = "SPY   240119C00470000", "SPY   240119P00470000"
OPEN_NS = 1_705_415_400_000_000_000  # 2024-01-16 14:30:00 UTC
SECOND = 1_000_000_000
TIME = "strftime(ts, '%H:%M:%S.%f')"


class Interval(NamedTuple):
    start_date: date
    end_date: date
    symbol: str


class Mapping(NamedTuple):
    raw_symbol: str
    intervals: list[Interval]


def nano(price: float | None) -> int:
    return dbn.UNDEF_PRICE if price is None else round(price * 1e9)


def write(path: Path, schema: str, records: list, symbols: dict[str, int], *, is_mapped: bool = True) -> Path:
    metadata = dbn.Metadata(
        dataset="OPRA.PILLAR",
        start=OPEN_NS,
        stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID,
        schema=dbn.Schema.from_str(schema),
        symbols=list(symbols),
        mappings=[
            Mapping(name, [Interval(date(2024, 1, 16), date(2024, 1, 17), str(number))])
            for name, number in symbols.items()
        ]
        if is_mapped
        else [],
    )
    path.write_bytes(metadata.encode() + b"".join(bytes(record) for record in records))
    return path


def quote(number: int, ns: int, bid: float | None, ask: float | None, *, trade: float | None = None, **more):
    levels = dbn.ConsolidatedBidAskPair(
        nano(bid), nano(ask), 0 if bid is None else 7, 0 if ask is None else 12
    )
    return dbn.CMBP1Msg(
        rtype=more.get("rtype", dbn.RType.CMBP_1),
        publisher_id=30,
        instrument_id=number,
        ts_event=ns,
        price=nano(trade),
        size=more.get("size", 0),
        action=dbn.Action.ADD if trade is None else dbn.Action.TRADE,
        side=dbn.Side.NONE,
        ts_recv=ns,
        levels=levels,
    )


def put(folder: Path, path: Path, **flags):
    spec = IMPORTERS.find_spec(ImporterSpec, "databento")
    request = ImportRequest(path=path, catalog=folder / "cat", progress=no_progress)
    return spec.run(request, spec.flags(**flags))[0]


def stored(folder: Path, table: str, key: str, columns: str, order: str = "ts") -> list[tuple]:
    day = "all" if table == "listings" else "2024-01-16"
    path = day_file(folder / "cat", "databento", table, key, day)
    return (
        connect().execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY {order}", [str(path)]).fetchall()
    )


def test_consolidated_quotes_keep_their_nanoseconds_and_a_missing_price_is_no_side(tmp_path):
    records = [
        quote(1, OPEN_NS + 1_500_000_001, 5.0, 5.1),
        quote(1, OPEN_NS + 2 * SECOND, 5.0, None),
        quote(1, OPEN_NS + 3 * SECOND, None, 5.2),
        quote(1, OPEN_NS + 4 * SECOND, 5.0, 5.2, trade=5.15, size=3),
        quote(2, OPEN_NS + 4 * SECOND, 0.1, 0.2),
    ]
    path = write(tmp_path / "day.cmbp-1.dbn", "cmbp-1", records, {CALL: 1, "QQQ   240119C00400000": 2})
    report = put(tmp_path, path, underlying=("SPY",))
    assert stored(tmp_path, "option_quotes", "SPY", f"{TIME}, symbol, bid, bid_size, ask, ask_size") == [
        ("14:30:01.500001", "SPY240119C00470000", 5.0, 7, 5.1, 12),
        ("14:30:02.000000", "SPY240119C00470000", 5.0, 7, float("inf"), 0),
        ("14:30:03.000000", "SPY240119C00470000", 0.0, 0, 5.2, 12),
        ("14:30:04.000000", "SPY240119C00470000", 5.0, 7, 5.2, 12),
    ]
    assert stored(tmp_path, "option_trades", "SPY", f"{TIME}, close, volume") == [
        ("14:31:00.000000", 5.15, 3)
    ]
    assert report.rows == {"option_quotes/SPY": 4, "option_trades/SPY": 1}
    assert sorted(read_manifest(tmp_path / "cat", "databento").underlyings) == ["SPY"]


def test_trades_with_the_book_before_them_give_both(tmp_path):
    records = [
        quote(1, OPEN_NS + n * SECOND, 5.0, 5.1, trade=price, size=n, rtype=dbn.RType.TCBBO)
        for n, price in ((1, 5.1), (2, 5.0), (61, 5.05))
    ]
    put(tmp_path, write(tmp_path / "day.tcbbo.dbn", "tcbbo", records, {PUT: 1}))
    columns = f"{TIME}, open, high, low, close, volume"
    assert stored(tmp_path, "option_trades", "SPY", columns) == [
        ("14:31:00.000000", 5.1, 5.1, 5.0, 5.0, 3),
        ("14:32:00.000000", 5.05, 5.05, 5.05, 5.05, 61),
    ]
    assert len(stored(tmp_path, "option_quotes", "SPY", "bid")) == 3


def test_shares_by_their_book_and_by_bars(tmp_path):
    book = dbn.MBP1Msg(
        publisher_id=2,
        instrument_id=9,
        ts_event=OPEN_NS,
        price=nano(470.0),
        size=100,
        action=dbn.Action.ADD,
        side=dbn.Side.BID,
        depth=0,
        ts_recv=OPEN_NS + 5,
        levels=dbn.BidAskPair(nano(470.0), nano(470.01), 100, 200),
    )
    bar = dbn.OHLCVMsg(
        rtype=dbn.RType.OHLCV_1M,
        publisher_id=2,
        instrument_id=9,
        ts_event=OPEN_NS,
        open=nano(470.0),
        high=nano(470.3),
        low=nano(469.9),
        close=nano(470.2),
        volume=1200,
    )
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "day.mbp-1.dbn", "mbp-1", [book], {"SPY": 9})
    write(folder / "day.ohlcv-1m.dbn", "ohlcv-1m", [bar], {"SPY": 9})
    put(tmp_path, folder)
    assert stored(tmp_path, "quotes", "SPY", "bid, ask, bid_size, ask_size") == [(470.0, 470.01, 100, 200)]
    columns = f"{TIME}, strftime(bar_start, '%H:%M:%S'), open, high, low, close, volume"
    assert stored(tmp_path, "trades", "SPY", columns) == [
        ("14:31:00.000000", "14:30:00", 470.0, 470.3, 469.9, 470.2, 1200)
    ]


def test_statistics_give_open_interest_alone(tmp_path):
    records = [
        dbn.StatMsg(
            publisher_id=30,
            instrument_id=1,
            ts_event=OPEN_NS - 3 * 3_600 * SECOND,
            ts_recv=OPEN_NS - 3 * 3_600 * SECOND,
            ts_ref=dbn.UNDEF_TIMESTAMP,
            price=dbn.UNDEF_PRICE,
            quantity=quantity,
            stat_type=kind,
        )
        for kind, quantity in ((dbn.StatType.OPEN_INTEREST, 4321), (dbn.StatType.CLEARED_VOLUME, 99))
    ]
    report = put(tmp_path, write(tmp_path / "day.statistics.dbn", "statistics", records, {CALL: 1}))
    assert report.rows == {"open_interest/SPY": 1}
    assert stored(tmp_path, "open_interest", "SPY", f"{TIME}, open_interest") == [("11:30:00.000000", 4321)]


def definition(number: int, symbol: str, strike: float):
    return dbn.InstrumentDefMsg(
        publisher_id=30,
        instrument_id=number,
        ts_event=OPEN_NS,
        ts_recv=OPEN_NS,
        min_price_increment=nano(0.01),
        display_factor=nano(1.0),
        raw_symbol=symbol,
        asset="SPY",
        security_type="OPT",
        instrument_class=dbn.InstrumentClass.CALL,
        security_update_action=dbn.SecurityUpdateAction.ADD,
        expiration=1_705_698_000_000_000_000,
        strike_price=nano(strike),
        contract_multiplier=100,
        currency="USD",
        underlying="SPY",
    )


def test_definitions_name_the_numbers_of_other_files_and_become_listings(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "a.cmbp-1.dbn", "cmbp-1", [quote(1, OPEN_NS, 5.0, 5.1)], {}, is_mapped=False)
    with pytest.raises(DataError) as refusal:
        put(tmp_path, folder)
    assert refusal.value.where == f"{folder / 'a.cmbp-1.dbn'}, row 1"
    write(folder / "b.definition.dbn", "definition", [definition(1, CALL, 470.0)], {})
    report = put(tmp_path, folder)
    assert report.rows == {"option_quotes/SPY": 1, "listings/SPY": 1}
    columns = "symbol, strike, \"right\", tick_size, contract_size, strftime(expires, '%Y-%m-%d %H:%M')"
    assert stored(tmp_path, "listings", "SPY", columns, "symbol") == [
        ("SPY240119C00470000", 470.0, "C", 0.01, 100.0, "2024-01-19 21:00")
    ]


@pytest.mark.parametrize("kept", [-30, 3])
def test_a_damaged_file_is_named(tmp_path, kept):
    path = write(tmp_path / "day.cmbp-1.dbn", "cmbp-1", [quote(1, OPEN_NS, 5.0, 5.1)] * 2, {CALL: 1})
    path.write_bytes(path.read_bytes()[:kept] if kept < 0 else b"PK" + path.read_bytes())
    with pytest.raises(DataError) as refusal:
        put(tmp_path, path)
    assert refusal.value.where == str(path)


def test_without_the_vendors_library_an_import_names_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "day.cmbp-1.dbn", "cmbp-1", [quote(1, OPEN_NS, 5.0, 5.1)], {CALL: 1})
    monkeypatch.setitem(sys.modules, "databento", None)
    with pytest.raises(ConfigError) as refusal:
        put(tmp_path, path)
    assert "scalpdesk[databento]" in refusal.value.fix


def define(number: int, symbol: str, ns: int, action=dbn.SecurityUpdateAction.ADD):
    right = dbn.InstrumentClass.CALL if symbol[12] == "C" else dbn.InstrumentClass.PUT
    return dbn.InstrumentDefMsg(
        publisher_id=30,
        instrument_id=number,
        ts_event=ns,
        ts_recv=ns,
        min_price_increment=nano(0.01),
        display_factor=nano(1.0),
        raw_symbol=symbol,
        asset="SPY",
        security_type="OPT",
        instrument_class=right,
        security_update_action=action,
        expiration=1_705_622_400 * SECOND,  # midnight UTC of the 19th: the evening of the 18th in New York
        strike_price=nano(470.0),
        contract_multiplier=100,
        currency="USD",
        underlying="SPY",
    )


def bids(folder: Path, day: str) -> dict[str, float]:
    path = day_file(folder / "cat", "databento", "option_quotes", "SPY", day)
    query = "SELECT symbol, bid FROM read_parquet(?)"
    return dict(connect().execute(query, [str(path)]).fetchall())


def numbers_of_days(folder: Path, *days: dict[int, str], defined: int = 99) -> Path:
    """Quotes at a bid of their number, and definitions of the first days."""
    files = folder / "files"
    files.mkdir()
    for place, symbols in enumerate(days):
        ns = OPEN_NS + place * 86_400 * SECOND
        quotes = [quote(number, ns, float(number), number + 0.1) for number in symbols]
        write(files / f"{place}.cmbp-1.dbn", "cmbp-1", quotes, {}, is_mapped=False)
        if place < defined:
            defs = [define(number, symbol, ns - 5 * 3_600 * SECOND) for number, symbol in symbols.items()]
            write(files / f"{place}.definition.dbn", "definition", defs, {}, is_mapped=False)
    return files


def test_a_number_means_what_its_own_day_says(tmp_path):
    """Two days of definitions swapped call and put of the first."""
    files = numbers_of_days(tmp_path, {1: CALL, 2: PUT}, {2: CALL, 1: PUT})
    put(tmp_path, files, underlying=("SPY",))
    call, put_ = CALL.replace(" ", ""), PUT.replace(" ", "")
    assert bids(tmp_path, "2024-01-16") == {call: 1.0, put_: 2.0}
    assert bids(tmp_path, "2024-01-17") == {call: 2.0, put_: 1.0}
    (expires,) = {row[0] for row in stored(tmp_path, "listings", "SPY", "expires", "symbol")}
    assert str(expires).startswith("2024-01-19 21:00")


def test_a_day_without_definitions_has_no_numbers_once_they_were_given_anew(tmp_path):
    files = numbers_of_days(tmp_path, {1: CALL, 2: PUT}, {2: CALL, 1: PUT}, {1: CALL}, defined=2)
    report = put(tmp_path, files, underlying=("SPY",))
    assert ["2.cmbp-1.dbn" in str(each.where) for each in report.unreadable] == [True]


def test_numbers_that_never_change_serve_a_day_without_definitions(tmp_path):
    put(tmp_path, numbers_of_days(tmp_path, {1: CALL}, {1: CALL}, defined=1), underlying=("SPY",))
    assert bids(tmp_path, "2024-01-17") == {CALL.replace(" ", ""): 1.0}


def test_a_deleted_definition_names_nothing_on_later_days(tmp_path):
    files = numbers_of_days(tmp_path, {1: CALL}, {1: CALL}, defined=1)
    gone = define(1, CALL, OPEN_NS + 3_600 * SECOND, dbn.SecurityUpdateAction.DELETE)
    write(files / "9.definition.dbn", "definition", [gone], {}, is_mapped=False)
    report = put(tmp_path, files, underlying=("SPY",))
    assert bids(tmp_path, "2024-01-16") == {CALL.replace(" ", ""): 1.0}
    assert len(report.unreadable) == 1
