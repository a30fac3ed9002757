"""File formats of data vendors: columns, and the catalogue's rows in them as SQL.

Sources of the columns and their meaning:

- Polygon (Massive) flat files, https://massive.com/docs/flat-files: one CSV.gz a day; ``sip_timestamp`` and
  ``window_start`` are nanoseconds of UTC, sizes are shares or contracts, a price of 0 is no such side.
- ThetaData, https://docs.thetadata.us (v3) and https://http-docs.thetadata.us (v2): ``ms_of_day`` and
  ``timestamp`` are New York time; a v2 strike is thousandths of a dollar, a v3 strike dollars; a quote at an
  interval is the last one at that instant, a bar bears its start; open interest is that of the day before.
- Cboe DataShop Option Quote Intervals, https://datashop.cboe.com: ``quote_datetime`` is New York time at the
  end of the interval; open, high, low and close are 0 where nothing traded; open interest is that at the
  day's start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

NEW_YORK = "'America/New_York'"
INTEREST_TIME = "'06:30:00'"
"""New York time at which OPRA publishes open interest."""
SIZES_IN_SHARES = date(2025, 11, 3)
"""Day from which the consolidated tapes give sizes of shares in shares; until then in round lots of 100 (SEC,
Market Data Infrastructure rule, 89 FR 81620).
"""
ROUND_LOT = 100
OCC_TAIL = r"\d{6}[CP]\d{8}$"
"""End of an OCC symbol: what follows its root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind:
    """Rows of one kind in a file; every text is SQL over the file's columns and ``file_row``."""

    kind: Literal["quotes", "trades", "open_interest", "prints"]
    """The catalogue's kind; prints are single trades, which become bars."""
    symbol: str
    """OCC symbol of an option, or the symbol of a share or an index."""
    at: str
    """Instant at which a row is known; the start of a bar where ``is_start``."""
    is_start: bool = False
    values: Mapping[str, str]
    """SQL by column of the catalogue; prints have ``price`` and ``size``."""
    where: str = "true"
    latest: str | None = None
    """Whole number below 10¹⁸ by which the later of two rows of one instant is known; None where rows are
    snapshots, of which a symbol has one an instant.
    """
    lots_until: date | None = None
    """First day on which sizes of shares are shares; before it they are round lots, where the file does not
    show otherwise. None where they are shares always.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """A format of files, known by its columns."""

    name: str
    columns: Mapping[str, str]
    """DuckDB type by column; all of them are needed."""
    optional: Mapping[str, str] = field(default_factory=dict)
    """Columns that are null where the file lacks them."""
    without: tuple[str, ...] = ()
    """Columns by which another format is known."""
    root: str
    """SQL of the root of an option, or the symbol of a share."""
    rows: tuple[RowKind, ...]
    share: str = ""
    """SQL of the underlying where the file says that it is a share."""
    seconds: int | None = None
    """Length of its bars; None: as chosen, or a minute."""
    has_intervals: bool = False
    """Whether the most frequent gap between two rows of a symbol is the length of its bars."""
    refusals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Defect and its correction, by a condition of SQL on the whole file."""


def utc_instant(column: str) -> str:
    """Return the SQL of an instant from nanoseconds of UTC, rounded up to a microsecond: not known before."""
    return f"make_timestamp(({column} + 999) // 1000)::TIMESTAMPTZ"


def _quotes(bid: str, ask: str, bid_size: str = "bid_size", ask_size: str = "ask_size") -> dict[str, str]:
    return {"bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size}


_BAR = {column: f'"{column}"' for column in ("open", "high", "low", "close", "volume")}
_PRINT = {"price": "price", "size": "size"}

# Polygon ------------------------------------------------------------------------------------------------

_TICKER = "CASE WHEN starts_with(ticker, 'O:') THEN substr(ticker, 3) ELSE ticker END"
_TICKER_ROOT = f"regexp_replace({_TICKER}, '{OCC_TAIL}', '')"
_CANCELLED = "['201', '203', '205', '207']"
"""OPRA's cancellations CANC, CNCL, CNCO and CNOL in Polygon's numbers of conditions."""


def _not_nanoseconds(column: str) -> dict[str, tuple[str, str]]:
    fix = "take the flat file as it is delivered; files of the REST interface go through: data import csv"
    return {f"max({column}) < 100000000000000000": (f"{column} is not in nanoseconds of UTC", fix)}


_PRICE_COLUMNS = dict.fromkeys(("open", "high", "low", "close", "volume"), "DOUBLE")
POLYGON = (
    FileFormat(
        name="quotes_v1",
        columns={"ticker": "VARCHAR", "sip_timestamp": "BIGINT"}
        | dict.fromkeys(("ask_price", "ask_size", "bid_price", "bid_size"), "DOUBLE"),
        optional={"sequence_number": "BIGINT"},
        root=_TICKER_ROOT,
        rows=(
            RowKind(
                kind="quotes",
                symbol=_TICKER,
                at=utc_instant("sip_timestamp"),
                values=_quotes("bid_price", "ask_price"),
                latest="(sip_timestamp + 999) % 1000 * 1000000000000 "
                "+ coalesce(sequence_number, 0) % 1000000000000",
                lots_until=SIZES_IN_SHARES,
            ),
        ),
        refusals=_not_nanoseconds("sip_timestamp"),
    ),
    FileFormat(
        name="trades_v1",
        columns={"ticker": "VARCHAR", "sip_timestamp": "BIGINT", "price": "DOUBLE", "size": "DOUBLE"},
        optional={"correction": "INTEGER", "conditions": "VARCHAR"},
        root=_TICKER_ROOT,
        rows=(
            RowKind(
                kind="prints",
                symbol=_TICKER,
                at=utc_instant("sip_timestamp"),
                values=_PRINT,
                where="coalesce(correction, 0) = 0 AND NOT (starts_with(ticker, 'O:') AND "
                f"list_has_any(string_split(coalesce(conditions, ''), ','), {_CANCELLED}))",
                latest="sip_timestamp",
            ),
        ),
        refusals=_not_nanoseconds("sip_timestamp"),
    ),
    FileFormat(
        name="minute_aggs_v1",
        columns={"ticker": "VARCHAR", "window_start": "BIGINT"} | _PRICE_COLUMNS,
        root=_TICKER_ROOT,
        rows=(
            RowKind(
                kind="trades", symbol=_TICKER, at=utc_instant("window_start"), is_start=True, values=_BAR
            ),
        ),
        seconds=60,
        refusals=_not_nanoseconds("window_start")
        | {
            f"bool_and(({utc_instant('window_start')} AT TIME ZONE {NEW_YORK})::TIME = '00:00:00')": (
                "these are bars of whole days (day_aggs_v1)",
                "take minute_aggs_v1",
            )
        },
    ),
)

# ThetaData ----------------------------------------------------------------------------------------------

_V2_DAY = "try_strptime(date::VARCHAR, '%Y%m%d')"
_V2_AT = f"({_V2_DAY} + to_milliseconds(ms_of_day)) AT TIME ZONE {NEW_YORK}"
_V2_SYMBOL = (
    "CASE WHEN root IS NULL THEN given ELSE upper(root) || strftime(try_strptime(expiration::VARCHAR, "
    "'%Y%m%d'), '%y%m%d') || upper(left(\"right\", 1)) || printf('%08d', strike) END"
)
_V3_AT = (
    "try_strptime(timestamp, ['%Y-%m-%dT%H:%M:%S.%f', '%Y-%m-%dT%H:%M:%S', '%Y-%m-%d %H:%M:%S.%f', "
    f"'%Y-%m-%d %H:%M:%S']) AT TIME ZONE {NEW_YORK}"
)
_V3_SYMBOL = (
    "CASE WHEN symbol IS NULL THEN given WHEN expiration IS NULL THEN upper(symbol) ELSE upper(symbol) || "
    "strftime(try_strptime(expiration, ['%Y-%m-%d', '%Y%m%d']), '%y%m%d') || upper(left(\"right\", 1)) || "
    "printf('%08d', round(strike * 1000)::BIGINT) END"
)
_V2_TERMS = {"root": "VARCHAR", "expiration": "INTEGER", "strike": "BIGINT", "right": "VARCHAR"}
_V3_TERMS = {"symbol": "VARCHAR", "expiration": "VARCHAR", "strike": "DOUBLE", "right": "VARCHAR"}
_V2_TIME = {"ms_of_day": "BIGINT", "date": "INTEGER"}
_V3_TIME = {"timestamp": "VARCHAR"}
_THETA_QUOTE = dict.fromkeys(("bid_size", "bid", "ask_size", "ask"), "DOUBLE")
_THETA_CANCELLED = "coalesce(condition, 0) NOT IN (40, 41, 42, 43, 44)"
"""ThetaData's conditions CANC, CANC_LAST, CANC_OPEN, CANC_ONLY and CANC_STPD."""
_DAY_END = ("ms_of_day2", "created", "last_trade")
"""Columns of reports of a whole day."""


def _theta(version: int) -> tuple[FileFormat, ...]:
    """Return the formats of one version of ThetaData's interface."""
    is_2 = version == 2
    terms, time = (_V2_TERMS, _V2_TIME) if is_2 else (_V3_TERMS, _V3_TIME)
    at, symbol = (_V2_AT, _V2_SYMBOL) if is_2 else (_V3_AT, _V3_SYMBOL)
    root = f"coalesce(upper({'root' if is_2 else 'symbol'}), regexp_replace(given, '{OCC_TAIL}', ''))"
    refusals = (
        {
            "max(ms_of_day) >= 86400000 OR min(ms_of_day) < 0": (
                "ms_of_day is not in milliseconds since midnight in New York",
                "ask the terminal for pretty_time=false, which is its default",
            )
        }
        if is_2
        else {}
    )

    def made(name: str, columns: dict[str, str], rows: RowKind, *without: str) -> FileFormat:
        return FileFormat(
            name=f"v{version} {name}",
            columns=time | columns,
            optional=terms | {"condition": "INTEGER", "sequence": "BIGINT"},
            root=root,
            rows=(rows,),
            refusals=refusals,
            without=without,
            has_intervals=True,
        )

    prints = RowKind(kind="prints", symbol=symbol, at=at, values=_PRINT, where=_THETA_CANCELLED)
    quotes = RowKind(
        kind="quotes",
        symbol=symbol,
        at=at,
        values=_quotes("bid", "ask"),
        lots_until=SIZES_IN_SHARES,
    )
    bars = RowKind(
        kind="trades", symbol=symbol, at=at, is_start=True, values=_BAR, where="volume > 0 AND open > 0"
    )
    interest = RowKind(kind="open_interest", symbol=symbol, at=at, values={"open_interest": "open_interest"})
    return (
        made("trade", {"price": "DOUBLE", "size": "DOUBLE"}, prints),
        made("ohlc", _PRICE_COLUMNS, bars, *_DAY_END, "bid"),
        made("quote", _THETA_QUOTE, quotes, *_DAY_END, "price", "open"),
        made("open_interest", {"open_interest": "BIGINT"}, interest, "bid", "open"),
    )


THETADATA = (*_theta(2), *_theta(3))

# Cboe ---------------------------------------------------------------------------------------------------

_CBOE_AT = "try_strptime(quote_datetime, ['%Y-%m-%d %H:%M:%S', '%Y-%m-%dT%H:%M:%S', '%Y-%m-%d %H:%M:%S.%f'])"
_CBOE_INSTANT = f"{_CBOE_AT} AT TIME ZONE {NEW_YORK}"
_CBOE_SHARE = "ltrim(upper(underlying_symbol), '^')"
_CBOE_SYMBOL = (
    "upper(root) || strftime(try_strptime(expiration, '%Y-%m-%d'), '%y%m%d') || upper(left(option_type, 1)) "
    "|| printf('%08d', round(strike * 1000)::BIGINT)"
)
_CBOE_ROOT = f"if(upper(root) IN (FROM wanted), upper(root), {_CBOE_SHARE})"
_CBOE_MIDDLE = "(underlying_bid + underlying_ask) / 2"
CBOE = (
    FileFormat(
        name="option quote intervals",
        columns={
            "underlying_symbol": "VARCHAR",
            "quote_datetime": "VARCHAR",
            "root": "VARCHAR",
            "expiration": "VARCHAR",
            "strike": "DOUBLE",
            "option_type": "VARCHAR",
            "open": "DOUBLE",
            "high": "DOUBLE",
            "low": "DOUBLE",
            "close": "DOUBLE",
            "trade_volume": "DOUBLE",
            "bid_size": "DOUBLE",
            "bid": "DOUBLE",
            "ask_size": "DOUBLE",
            "ask": "DOUBLE",
            "underlying_bid": "DOUBLE",
            "underlying_ask": "DOUBLE",
        },
        optional={"open_interest": "DOUBLE"},
        has_intervals=True,
        root=_CBOE_ROOT,
        share="if(starts_with(underlying_symbol, '^'), NULL, upper(underlying_symbol))",
        rows=(
            RowKind(kind="quotes", symbol=_CBOE_SYMBOL, at=_CBOE_INSTANT, values=_quotes("bid", "ask")),
            RowKind(
                kind="trades",
                symbol=_CBOE_SYMBOL,
                at=_CBOE_INSTANT,
                values=_BAR | {"volume": "trade_volume"},
                where="trade_volume > 0 AND open > 0",
            ),
            RowKind(
                kind="open_interest",
                symbol=_CBOE_SYMBOL,
                at=f"({_CBOE_AT}::DATE + TIME {INTEREST_TIME}) AT TIME ZONE {NEW_YORK}",
                values={"open_interest": "open_interest::BIGINT"},
                where="open_interest IS NOT NULL",
                latest="-file_row",
            ),
            RowKind(
                kind="quotes",
                symbol=_CBOE_SHARE,
                at=_CBOE_INSTANT,
                values=_quotes("underlying_bid", "underlying_ask", "NULL", "NULL"),
                where="underlying_ask > 0 AND NOT starts_with(underlying_symbol, '^')",
                latest="file_row",
            ),
            RowKind(
                kind="trades",
                symbol=_CBOE_SHARE,
                at=_CBOE_INSTANT,
                values=dict.fromkeys(("open", "high", "low", "close"), _CBOE_MIDDLE) | {"volume": "0"},
                where="underlying_bid > 0 AND underlying_ask > 0 AND starts_with(underlying_symbol, '^') "
                f"AND {_CBOE_SHARE} IN (FROM indices)",
            ),
        ),
    ),
)
