"""Wide tables with the headings that vendors write, and with the dirt of a spreadsheet."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.importers.chain import ChainChoices, import_chain
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.marketdata.tape import MarketTape

DAY = date(2024, 1, 17)
CALL, PUT = "SPY240216C00470000", "SPY240216P00470000"
NEW_YORK = timedelta(hours=-5)
KNOWN = tuple(datetime(2024, 1, 17, hour + 5, tzinfo=UTC) for hour in (10, 11, 12, 13, 14))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A table of a call at 7.1 to 7.14 and a put at 6.2 to 6.24, the share at 470.5, 12 contracts a side."""

    heading: str
    row: Callable[[datetime], str]
    """Lines of one instant, which is given in UTC."""
    choices: dict[str, Any] = field(default_factory=dict)
    known: tuple[datetime, ...] = KNOWN
    open_interest: int | None = None
    root: str = "SPY"

    def text(self) -> str:
        return "\n".join([self.heading, *(self.row(at) for at in self.known)]) + "\n"


def _local(at: datetime) -> datetime:
    return at + NEW_YORK


def _serial(at: datetime, digits: int = 9) -> str:
    return f"{(_local(at) - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1):.{digits}f}"


def _both(call: str, put: str, **words: str) -> str:
    """Return the lines of a call and a put: a template with their words, bid and ask."""
    line = words.pop("line")
    return "\n".join(
        line.format(right=right, bid=bid, ask=ask, **words)
        for right, bid, ask in ((call, "7.1", "7.14"), (put, "6.2", "6.24"))
    )


OPTIONSDX = (
    "[QUOTE_UNIXTIME], [QUOTE_READTIME], [QUOTE_DATE], [QUOTE_TIME_HOURS], [UNDERLYING_LAST], [EXPIRE_DATE], "
    "[EXPIRE_UNIX], [DTE], [C_DELTA], [C_IV], [C_VOLUME], [C_LAST], [C_SIZE], [C_BID], [C_ASK], [STRIKE], "
    "[P_BID], [P_ASK], [P_SIZE], [P_LAST], [P_DELTA], [P_IV], [P_VOLUME], [STRIKE_DISTANCE]"
)
ORATS = (
    "ticker,tradeDate,expirDate,dte,strike,stockPrice,callVolume,callOpenInterest,callBidSize,callAskSize,"
    "putVolume,putOpenInterest,putBidSize,putAskSize,callBidPrice,callValue,callAskPrice,putBidPrice,putValue,"
    "putAskPrice,smvVol,delta,spotPrice,quoteDate,updatedAt,snapShotEstTime,snapShotDate,expiryTod"
)
THETADATA = (
    "symbol,expiration,strike,right,timestamp,open,close,volume,bid_size,bid_exchange,bid,bid_condition,ask_size,"
    "ask_exchange,ask,ask_condition,delta,implied_vol,iv_error,underlying_timestamp,underlying_price"
)
SHAPES = {
    "ORATS, a minute": Shape(
        heading=ORATS,
        row=lambda at: (
            "SPY,2024-01-17,2024-02-16,30,470,470.9,5,50,12,12,5,60,12,12,7.1,7.12,7.14,6.2,6.22,6.24,.14,.5,470.5,"
            f"{at - timedelta(seconds=40):%Y-%m-%dT%H:%M:%SZ},{at:%Y-%m-%dT%H:%M:%SZ},"
            f"{_local(at):%-H%M},{at:%Y-%m-%dT%H:%M:%SZ},pm"
        ),
        open_interest=50,
    ),
    "ORATS, end of day": Shape(
        heading="ticker,cOpra,pOpra,stkPx,expirDate,yte,strike,cVolu,cOi,pVolu,pOi,cBidPx,cValue,cAskPx,pBidPx,"
        "pValue,pAskPx,delta,spot_px,trade_date",
        row=lambda at: (
            f"SPY,{CALL},{PUT},470.9,2/16/2024,.08,470,5,50,5,60,7.1,7.12,7.14,6.2,6.22,6.24,.5,470.5,1/17/2024"
        ),
        choices={"time": "15:45", "default_size": 12},
        known=(datetime(2024, 1, 17, 20, 45, tzinfo=UTC),),
        open_interest=50,
    ),
    "OptionsDX": Shape(
        heading=OPTIONSDX,
        row=lambda at: (
            f"{at.timestamp():.0f}, {_local(at):%Y-%m-%d %H:%M}, 2024-01-17, {_local(at).hour}.000000, "
            "470.500000, 2024-02-16, 1708117200, 30.0, 0.5, 0.14, 5.0, 7.1, 12 x 12, 7.100000, 7.140000, "
            "470.000000, 6.200000, 6.240000, 12x12, , -0.5, 0.14, , 0.5"
        ),
        choices={"underlying": "SPY"},
    ),
    "Cboe, an interval": Shape(
        heading="underlying_symbol,quote_datetime,root,expiration,strike,option_type,open,high,low,close,"
        "trade_volume,bid_size,bid,ask_size,ask,underlying_bid,underlying_ask,active_underlying_price,"
        "open_interest",
        row=lambda at: _both(
            "C",
            "P",
            at=f"{_local(at):%Y-%m-%d %H:%M:%S}",
            line="SPY,{at},SPY,2024-02-16,470.000,{right},0,0,0,0,0,12,{bid},12,{ask},470.49,470.51,470.5,50",
        ),
        open_interest=50,
    ),
    "ThetaData, version 2": Shape(
        heading="root,expiration,strike,right,ms_of_day,date,bid_size,bid,ask_size,ask,underlying_price",
        row=lambda at: _both(
            "C",
            "P",
            at=str(_local(at).hour * 3_600_000),
            line="SPY,20240216,470,{right},{at},20240117,12,{bid},12,{ask},470.5",
        ),
    ),
    "ThetaData, version 3": Shape(
        heading=THETADATA,
        row=lambda at: _both(
            '"CALL"',
            '"PUT"',
            at=f"{_local(at):%Y-%m-%dT%H:%M:%S}.000",
            line='"SPY","2024-02-16",470.000,{right},{at},0,0,0,12,1,{bid},50,12,1,{ask},50,.5,.14,.0,{at},470.5',
        ),
    ),
    "Polygon, a flattened chain": Shape(
        heading="details.ticker,details.contract_type,details.expiration_date,details.strike_price,"
        "details.shares_per_contract,last_quote.bid,last_quote.bid_size,last_quote.ask,last_quote.ask_size,"
        "last_quote.last_updated,open_interest,underlying_asset.price,underlying_asset.ticker",
        row=lambda at: (
            _both(
                "call",
                "put",
                at=str(to_ns(at)),
                line="O:SPY240216{right}00470000,{right},2024-02-16,470,100,{bid},12,{ask},12,{at},50,470.5,SPY",
            )
            .replace("240216call", "240216C")
            .replace("240216put", "240216P")
        ),
        open_interest=50,
    ),
    "Polygon, quotes": Shape(
        heading="ticker,sip_timestamp,bid_price,bid_size,ask_price,ask_size,underlying_price",
        row=lambda at: _both(
            "C",
            "P",
            at=str(to_ns(at)),
            line="O:SPY240216{right}00470000,{at},{bid},12,{ask},12,470.5",
        ),
    ),
    "IVolatility, an interval": Shape(
        heading="date,time,symbol,option symbol,call/put,expiration,strike,bid,ask,stock price,settlement",
        row=lambda at: _both(
            "C",
            "P",
            at=f"{_local(at):%m/%d/%Y,%I:%M %p}",
            line="{at},SPY,SPY   240216{right}00470000,{right},02/16/2024,470,{bid},{ask},470.5,6.9",
        ),
        choices={"default_size": 12},
    ),
    "IVolatility, end of day": Shape(
        heading="symbol,exchange,date,stock price for iv,strike,expiration,call/put,style,ask,bid,settlement,"
        "iv,volume,open interest,delta",
        row=lambda at: _both(
            "C",
            "P",
            line="SPY,NYSEArca,01/17/2024,470.5,470,02/16/2024,{right},A,{ask},{bid},6.9,.14,5,50,.5",
        ),
        choices={"time": "16:00", "default_size": 12},
        known=(datetime(2024, 1, 17, 21, tzinfo=UTC),),
        open_interest=50,
    ),
    "a serial of a sheet with decimal commas": Shape(
        heading="Datum und Zeit;Expiry;Strike;Type;Bid;Ask;Spot",
        row=lambda at: _both(
            "Call", "Put", at=_serial(at, 8), line="{at};45338;470;{right};{bid};{ask};470.5"
        ).replace(".", ","),
        choices={"default_size": 12, "underlying": "SPY", "columns": {"ts": "Datum und Zeit"}},
    ),
    "two serials of a sheet with decimal commas": Shape(
        heading="Date;Time;Underlying;Expiry;Strike;Call/Put;Bid;Ask;Spot",
        row=lambda at: _both(
            "Call",
            "Put",
            at=f"{_serial(at)[:5]};0{_serial(at)[5:]}",
            line="{at};SPY;45338;470;{right};{bid};{ask};470.5",
        ).replace(".", ","),
        choices={"default_size": 12},
    ),
    "months by three letters": Shape(
        heading="exported by somebody\nday\ttime of day\tunderlying\texpiry\tk\tcp\tbid\task\tspot",
        row=lambda at: _both(
            "CE",
            "PE",
            at=f"17-Jan-2024\t{_local(at):%H%M%S}",
            line="{at}\tSPY\t16FEB24\t470\t{right}\t${bid}\t${ask}\t$470.5",
        ),
        choices={"default_size": 12},
    ),
    "months by name": Shape(
        heading="Trade Date\tQuote Time\tTicker\tExpiration\tStrike Price\tType\tBest Bid\tBest Ask\t"
        "Size\tSpot",
        row=lambda at: _both(
            "Calls",
            "Puts",
            at=f"{_local(at):%b %d, %Y\t%I:%M:%S %p}",
            line="{at}\tSPY\tFebruary 16, 2024\t$470.00\t{right}\t${bid}\t${ask}\t12 x 12\t$470.50",
        ),
        choices={},
    ),
    "a frame of pandas": Shape(
        heading=",date,underlying,expiration,strike,right,bid,ask,bid_size,ask_size,underlying_price,iv",
        row=lambda at: _both(
            "c",
            "p",
            at=f"{_local(at):%Y-%m-%d %H:%M:%S}-05:00",
            line="0,{at},SPY,2024-02-16 00:00:00,470.0,{right},{bid},{ask},12.0,12.0,470.5,0.14",
        ),
    ),
    "days before months": Shape(
        heading="day|timestamp|underlying|expiry|k|cp|bid|ask|bidqty|askqty|spot",
        row=lambda at: _both(
            "C",
            "P",
            at=f"17.01.2024|{_local(at):%H.%M.%S}".replace(".00.00", ":00:00"),
            line="{at}|SPY|16.02.2024|470|{right}|{bid}|{ask}|12|12|470.5",
        ),
    ),
}


def _import(folder: Path, text: str, **choices: Any) -> tuple[ImportReport, MarketTape]:
    (folder / "wide.csv").write_text(text, encoding="utf-8")
    (report,) = import_chain(folder / "catalog", folder / "wide.csv", ChainChoices(name="own", **choices))
    return report, load_tape(folder / "catalog", "own", underlying="SPY", start=DAY, end=DAY)


def _quotes(tape: MarketTape, symbol: str) -> list[tuple[int, float, float]]:
    quotes = tape.quotes.whole()
    rows = quotes.instrument_id == tape.instruments.id_of(symbol)
    return list(
        zip(quotes.ts_ns[rows].tolist(), quotes.bid[rows].tolist(), quotes.ask[rows].tolist(), strict=True)
    )


@pytest.mark.parametrize("name", SHAPES)
def test_a_table_is_read_to_the_instant_and_the_cent(tmp_path: Path, name: str) -> None:
    shape = SHAPES[name]
    _, tape = _import(tmp_path, shape.text(), **shape.choices)
    for symbol, bid, ask in ((CALL, 7.1, 7.14), (PUT, 6.2, 6.24), ("SPY", 470.49, 470.51)):
        assert _quotes(tape, symbol) == [(to_ns(at), bid, ask) for at in shape.known]
    quotes = tape.quotes.whole()
    of_call = quotes.instrument_id == tape.instruments.id_of(CALL)
    assert set(quotes.bid_size[of_call].tolist()) == set(quotes.ask_size[of_call].tolist()) == {12.0}
    assert tape.open_interest.get(CALL) == shape.open_interest


HEAD = "ts,underlying,spot,expiry,strike,right,bid,ask,bid_size,ask_size"
ROW = "{at},SPY,{spot},2024-02-16,470,C,{bid},7.14,12,12"


@pytest.mark.parametrize(
    ("day", "written", "hour"),
    [
        ("2024-03-08", "2024-03-08 10:00", 15),
        ("2024-03-11", "2024-03-11 10:00", 14),
        ("2024-11-01", "2024-11-01T10:00 EST", 14),
        ("2024-11-04", "2024-11-04 16:00 +0100", 15),
        ("2024-07-01", "2024-07-01T14:00:00.000Z", 14),
    ],
)
def test_a_time_is_of_its_zone_in_summer_and_winter(
    tmp_path: Path, day: str, written: str, hour: int
) -> None:
    row = f"{written},SPY,470.5,2024-12-20,470,C,7.1,7.14,12,12"
    (tmp_path / "wide.csv").write_text(f"{HEAD}\n{row}\n")
    import_chain(tmp_path / "catalog", tmp_path / "wide.csv", ChainChoices(name="own"))
    tape = load_tape(
        tmp_path / "catalog",
        "own",
        underlying="SPY",
        start=date.fromisoformat(day),
        end=date.fromisoformat(day),
    )
    at = datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")
    assert _quotes(tape, "SPY241220C00470000") == [(to_ns(at), 7.1, 7.14)]


def test_of_rows_that_come_again_the_last_counts_and_is_said(tmp_path: Path) -> None:
    rows = [
        ROW.format(at="2024-01-17 10:00", spot=spot, bid=bid)
        for spot, bid in ((470.5, 7.0), (471.5, 7.05), (470.5, 7.1))
    ]
    report, tape = _import(tmp_path, "\n".join([HEAD, *rows]))
    at = to_ns(KNOWN[0])
    assert _quotes(tape, CALL) == [(at, 7.1, 7.14)]
    assert _quotes(tape, "SPY") == [(at, 470.49, 470.51)]
    notes = " ".join(report.notes)
    assert "2 rows of another's symbol and time with other figures" in notes
    assert "up to 1.00" in notes
    assert "0.02 wide" in notes


def test_rows_of_the_share_that_come_again_are_one_quote(tmp_path: Path) -> None:
    lines = ["ts,expiry,strike,right,bid,ask,bid_size,ask_size"]
    lines += [f"2024-01-17 10:00,,,,470.{cents},470.51,5,5" for cents in (10, 20, 49)]
    lines += ["2024-01-17 10:00,2024-02-16,470,C,7.1,7.14,12,12"]
    report, tape = _import(tmp_path, "\n".join(lines), underlying="SPY")
    assert _quotes(tape, "SPY") == [(to_ns(KNOWN[0]), 470.49, 470.51)]
    assert "2 rows of another's symbol and time with other figures" in " ".join(report.notes)


def test_rows_that_repeat_another_in_full_are_no_contradiction(tmp_path: Path) -> None:
    rows = [ROW.format(at="2024-01-17 10:00", spot=470.5, bid=bid) for bid in (7.0, 7.1, 7.1, 7.1)]
    report, tape = _import(tmp_path, "\n".join([HEAD, *rows]))
    assert _quotes(tape, CALL) == [(to_ns(KNOWN[0]), 7.1, 7.14)]
    notes = " ".join(report.notes)
    assert "2 rows of another's symbol, time and figures" in notes
    assert "1 row of another's symbol and time with other figures" in notes


@pytest.mark.rows("blank", (" ", "   ", "<empty>", " -- "))
def test_a_cell_of_blanks_is_empty(blank: str, tmp_path: Path) -> None:
    rows = [
        ROW.format(at=f"2024-01-17 {hour}:00", spot=470.5, bid=bid) for hour, bid in ((10, blank), (11, 7.1))
    ]
    _, tape = _import(tmp_path, "\n".join([HEAD, *rows]))
    assert _quotes(tape, CALL)[-1][1:] == (7.1, 7.14)


@pytest.mark.rows(
    "symbol",
    ("BTC-29MAR24-64000-C", "BTC-USD-240329-64000-P", "ETH-240329-3200-C", "XRP_USDC-29MAR24-0d55-C"),
)
def test_a_chain_of_coin_options_never_becomes_options_on_shares(symbol: str, tmp_path: Path) -> None:
    head = "exchange,symbol,timestamp,type,strike_price,expiration,bid_price,ask_price,underlying_price"
    line = f"deribit,{symbol},1709596800000000,call,64000,1711699200000000,0.08,0.081,66000"
    with pytest.raises(DataError, match="on a coin"):
        _import(tmp_path, f"{head}\n{line}\n{line}", underlying="BTC", default_size=10)


def test_yahoos_regular_contract_is_the_classs_own(tmp_path: Path) -> None:
    head = "quote_datetime,underlying_price,contractSymbol,strike,bid,ask,bid_size,ask_size,contractSize"
    line = "2024-01-17 10:00,470.5,SPY240216C00470000,470.0,7.1,7.14,12,12,{}"
    _, tape = _import(tmp_path, "\n".join([head, line.format("REGULAR")]))
    assert _quotes(tape, CALL) == [(to_ns(KNOWN[0]), 7.1, 7.14)]
    with pytest.raises(DataError, match="MINI"):
        _import(tmp_path, "\n".join([head, line.format("MINI")]))


def test_a_second_file_of_a_day_says_what_it_replaced(tmp_path: Path) -> None:
    first, second = (
        [ROW.format(at=f"2024-01-17 {hour}:00", spot=470.5, bid=bid) for hour in hours]
        for hours, bid in (((10, 11, 12), 7.0), ((11, 12, 13), 7.1))
    )
    _import(tmp_path, "\n".join([HEAD, *first]))
    report, tape = _import(tmp_path, "\n".join([HEAD, *second]))
    assert [bid for _, bid, _ in _quotes(tape, CALL)] == [7.0, 7.1, 7.1, 7.1]
    assert "2 rows of option_quotes of SPY on 2024-01-17 replaced" in " ".join(report.notes)


def test_a_bid_of_0_of_an_exchange_is_real(tmp_path: Path) -> None:
    text = SHAPES["ThetaData, version 3"].text().replace(",7.1,50,", ",0.0000,50,")
    _, tape = _import(tmp_path, text)
    assert {bid for _, bid, _ in _quotes(tape, CALL)} == {0.0}


@pytest.mark.parametrize("written", ["BRK.B", "BRK/B", "BRK B"])
def test_a_share_class_is_one_underlying_however_it_is_written(tmp_path: Path, written: str) -> None:
    row = f"2024-01-17 10:00,{written},360.5,2024-02-16,360,C,7.1,7.14,12,12"
    (tmp_path / "wide.csv").write_text(f"{HEAD}\n{row}\n")
    import_chain(tmp_path / "catalog", tmp_path / "wide.csv", ChainChoices(name="own"))
    tape = load_tape(tmp_path / "catalog", "own", underlying="BRK.B", start=DAY, end=DAY)
    assert _quotes(tape, "BRK.B") == [(to_ns(KNOWN[0]), 360.49, 360.51)]
    assert len(_quotes(tape, "BRKB240216C00360000")) == 1


def test_the_level_of_an_index_is_no_quote(tmp_path: Path) -> None:
    head = HEAD.replace("underlying,spot", "underlying_symbol,root,underlying_bid,underlying_ask")
    row = "2024-01-17 10:00,^SPX,SPXW,4740,4740.5,2024-02-16,4740,C,70.1,71.4,12,12"
    (tmp_path / "wide.csv").write_text(f"{head}\n{row}\n")
    (report,) = import_chain(tmp_path / "catalog", tmp_path / "wide.csv", ChainChoices(name="own"))
    assert report.rows == {"index_levels/SPX": 1, "option_quotes/SPXW": 1}
    tape = load_tape(tmp_path / "catalog", "own", underlying="SPX", start=DAY, end=DAY)
    assert {each.underlying for each in tape.instruments if each.is_option} == {"SPX"}


def test_nothing_is_imported_where_one_of_two_underlyings_is_refused(tmp_path: Path) -> None:
    rows = [ROW.format(at="2024-01-17 10:00", spot=470.5, bid=7.1)]
    rows += [rows[0].replace("SPY", "SDS1"), rows[0].replace("SPY", "ABC2")]
    (tmp_path / "wide.csv").write_text("\n".join([HEAD, *rows]))
    with pytest.raises(DataError) as refused:
        import_chain(tmp_path / "catalog", tmp_path / "wide.csv", ChainChoices(name="own"))
    assert "[classes.SDS1]" in str(refused.value.fix)
    assert "[classes.ABC2]" in str(refused.value.fix)
    assert str(refused.value.where).endswith(":4")
    assert not (tmp_path / "catalog").exists()


def test_an_end_of_day_table_is_refused_once_with_the_flag_that_helps(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        _import(tmp_path, SHAPES["ORATS, end of day"].text())
    assert "--time 15:45" in str(refused.value.fix)
    assert "--default-size" in str(refused.value.fix)


def test_of_ticks_of_one_second_the_last_of_the_file_counts(tmp_path: Path) -> None:
    lines = ["ts,expiry,strike,right,bid,ask,bid_size,ask_size"]
    for second in range(60):
        at = f"2024-01-17 10:00:{second:02}"
        lines += [f"{at},,,,{470 + tick / 100:.2f},{470.02 + tick / 100:.2f},5,5" for tick in range(100)]
    (tmp_path / "ticks.csv").write_text("\n".join(lines) + "\n")
    choices = ImportChoices("own", "SPY", timezone="America/New_York")
    import_table(tmp_path / "catalog", tmp_path / "ticks.csv", choices)
    tape = load_tape(tmp_path / "catalog", "own", underlying="SPY", start=DAY, end=DAY)
    last = {at: bid for at, bid, _ in _quotes(tape, "SPY")}
    assert len(last) == 60
    assert set(last.values()) == {470.99}


@pytest.mark.parametrize("mark", ["2147483647", "9999999", "1.79e308"])
def test_a_mark_of_no_value_is_no_figure(tmp_path: Path, mark: str) -> None:
    head = f"{HEAD},open_interest"
    rows = [ROW.format(at=f"2024-01-17 1{hour}:00", spot=470.5, bid=7.1) for hour in range(3)]
    rows[1] = rows[1].replace("7.14", mark)
    report, tape = _import(tmp_path, "\n".join([head, *(f"{row},2147483647" for row in rows)]))
    assert report.rows == {"quotes/SPY": 3, "option_quotes/SPY": 3}
    assert "open interest beyond sense" in " ".join(report.notes)
    assert [math.isfinite(ask) for _, _, ask in _quotes(tape, CALL)] == [True, False, True]


def test_one_refusal_names_all_that_is_missing_with_cell_and_line(tmp_path: Path) -> None:
    rows = [f"{_local(at):%H:%M},04/05/2024,470,X,7.1,seven" for at in KNOWN]
    with pytest.raises(DataError) as refused:
        _import(tmp_path, "\n".join(["time,expiry,strike,right,bid,ask", *rows]))
    message = f"{refused.value.what} {refused.value.fix}"
    for needed in (
        "--map ts",
        "--dates",
        "--underlying SYMBOL",
        "underlying_price",
        "line 2: 'X'",
        "'seven'",
    ):
        assert needed in message
    assert not (tmp_path / "catalog").exists()


@pytest.mark.parametrize(("zero", "last"), [(None, 7.1), ("real", 0.0)])
def test_a_bid_of_0_is_no_quote_or_nobody_who_bids(tmp_path: Path, zero: str | None, last: float) -> None:
    rows = [
        ROW.format(at=f"2024-01-17 10:0{minute}", spot=470.5, bid=bid) for minute, bid in ((0, 7.1), (1, 0))
    ]
    _, tape = _import(tmp_path, "\n".join([HEAD, *rows]), zero_bid=zero, timezone="America/New_York")
    assert _quotes(tape, CALL)[-1][1] == last


@pytest.mark.parametrize(
    ("column", "value"), [("style", "European"), ("multiplier", "10"), ("settlement", "cash PM")]
)
def test_terms_that_are_not_of_the_class_are_refused(tmp_path: Path, column: str, value: str) -> None:
    first, *rest = SHAPES["Cboe, an interval"].text().splitlines()
    with pytest.raises(DataError, match=r"classes\.SPY"):
        _import(tmp_path, "\n".join([f"{first},{column}", *(f"{line},{value}" for line in rest)]))


def test_strikes_in_another_unit_are_refused(tmp_path: Path) -> None:
    text = SHAPES["Cboe, an interval"].text().replace(",470.000,", ",47000,")
    with pytest.raises(DataError, match="times the price"):
        _import(tmp_path, text)


@pytest.mark.parametrize("has_price", [True, False])
def test_strikes_in_thousandths_are_read_as_dollars(tmp_path: Path, has_price: bool) -> None:
    """As ThetaData's old interface writes them, with the share's price beside them or in the data set."""
    text = SHAPES["ThetaData, version 2"].text()
    _import(tmp_path, text)
    text = text.replace(",470,", ",470000,")
    if not has_price:
        text = text.replace(",470.5", "").replace(",underlying_price", "")
    _, tape = _import(tmp_path, text)
    assert {each.symbol for each in tape.instruments if each.is_option} == {CALL, PUT}


@pytest.mark.parametrize(("shape", "decimal"), [("470,125", "comma"), ("1,470", "point")])
def test_a_comma_of_two_meanings_is_asked_for(tmp_path: Path, shape: str, decimal: str) -> None:
    row = f"2024-01-17 10:00;SPY;2024-02-16;{shape};C;{shape};{shape};{shape};1;1"
    text = f"ts;underlying;expiry;strike;right;bid;ask;spot;bid_size;ask_size\n{row}\n"
    with pytest.raises(DataError, match="decimal"):
        _import(tmp_path, text, timezone="America/New_York")
    _, tape = _import(tmp_path, text, timezone="America/New_York", decimal=decimal)
    read = float(shape.replace(",", "." if decimal == "comma" else ""))
    assert float(max(each.strike for each in tape.instruments if each.is_option)) == read
