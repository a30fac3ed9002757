"""Files as vendors deliver them, one row each, where the pages of instructions have them."""

import gzip
from datetime import date
from pathlib import Path
from typing import NamedTuple

from scalpdesk_testing.kit.archives import put_zip

OPEN_NS = 1_705_415_400_000_000_000  # 2024-01-16 14:30:00 UTC


def put_vendor_downloads(folder: Path) -> None:
    """Write a file of Polygon's options and one of its shares, of Databento, ThetaData and Cboe."""
    quotes = folder / "us_options_opra" / "quotes_v1" / "2024" / "01" / "2024-01-16.csv.gz"
    shares = folder / "us_stocks_sip" / "quotes_v1" / "2024" / "01" / "2024-01-16.csv.gz"
    text = (
        "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,sequence_number,"
        f"sip_timestamp\nO:SPY240119C00470000,302,5.10,12,303,5.00,7,11,{OPEN_NS}\n"
    )
    quotes.parent.mkdir(parents=True)
    quotes.write_bytes(gzip.compress(text.encode()))
    text = (
        "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,conditions,indicators,"
        "participant_timestamp,sequence_number,sip_timestamp,tape,trf_timestamp\n"
        f"SPY,8,470.02,200,11,470.00,100,1,,{OPEN_NS},1,{OPEN_NS + 100},1,0\n"
    )
    shares.parent.mkdir(parents=True)
    shares.write_bytes(gzip.compress(text.encode()))
    (folder / "quotes").mkdir()
    (folder / "quotes" / "quotes.csv").write_text(
        "root,expiration,strike,right,ms_of_day,bid_size,bid_exchange,bid,bid_condition,ask_size,ask_exchange,"
        "ask,ask_condition,date\nSPY,20240119,470000,C,34260000,7,1,5.00,50,12,1,5.10,50,20240116\n"
    )
    day = "UnderlyingOptionsIntervals_60sec_2021-01-04"
    text = (
        "underlying_symbol,quote_datetime,root,expiration,strike,option_type,open,high,low,close,trade_volume,"
        "bid_size,bid,ask_size,ask,underlying_bid,underlying_ask,implied_underlying_price,active_underlying_price,"
        "implied_volatility,delta,gamma,theta,vega,rho,open_interest\n"
        "^SPX,2021-01-04 09:31:00,SPX,2021-01-15,3700.000,C,0,0,0,0,0,7,50.00,12,50.50,3700.00,3700.50,0,"
        "3700.25,0.2,0.5,0,0,0,0,1234\n"
    )
    put_zip(folder / f"{day}.zip", {f"{day}.csv": text})
    _put_databento(folder / "OPRA-20240117-ABCDEF")


class _Interval(NamedTuple):
    start_date: date
    end_date: date
    symbol: str


class _Mapping(NamedTuple):
    raw_symbol: str
    intervals: list[_Interval]


def _put_databento(folder: Path) -> None:
    import databento_dbn as dbn

    folder.mkdir()
    symbol, number = "SPY   240119C00470000", 1
    metadata = dbn.Metadata(
        dataset="OPRA.PILLAR",
        start=OPEN_NS,
        stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID,
        schema=dbn.Schema.from_str("cmbp-1"),
        symbols=[symbol],
        mappings=[_Mapping(symbol, [_Interval(date(2024, 1, 16), date(2024, 1, 17), str(number))])],
    )
    quote = dbn.CMBP1Msg(
        rtype=dbn.RType.CMBP_1,
        publisher_id=30,
        instrument_id=number,
        ts_event=OPEN_NS,
        price=dbn.UNDEF_PRICE,
        size=0,
        action=dbn.Action.ADD,
        side=dbn.Side.NONE,
        ts_recv=OPEN_NS,
        levels=dbn.ConsolidatedBidAskPair(5_000_000_000, 5_100_000_000, 7, 12),
    )
    (folder / "opra-pillar-20240116.cmbp-1.dbn").write_bytes(metadata.encode() + bytes(quote))
