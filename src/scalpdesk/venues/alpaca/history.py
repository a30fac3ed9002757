"""History and reference data of Alpaca through its own client library (extra ``alpaca``).

Thin on purpose: the library knows pages and parameters, this module checks each line like any other
message from the wire and gives values of the desk. It blocks; nothing of a running desk calls it.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError, DataError, RetryError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.alpaca.fields import Malformed, day_of, not_negative, ns_of_text
from scalpdesk.venues.alpaca.market_data import BarRow
from scalpdesk.venues.contract import Revealable

BAR_SECONDS = {"minute": 60, "hour": 3_600}
"""Lengths of bars that can be asked for; a day's bar has the length of its session."""


class HistoricalBar(msgspec.Struct, frozen=True):
    """One bar of trades; prices in the quote currency per unit, volume in shares or contracts."""

    symbol: str
    ts_end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class CashDividendLine(msgspec.Struct, frozen=True):
    """One cash dividend of ``amount`` a share."""

    symbol: str
    ex_date: date
    amount: Decimal


class _Dividend(msgspec.Struct):
    symbol: str
    rate: Decimal
    ex_date: str


class AlpacaHistory:
    """Downloads with the user's keys.

    Parameters
    ----------
    key, secret
        Reveal themselves only to the client library.
    base_url
        Another address than the venue's data host, for a simulated exchange.

    Raises
    ------
    ConfigError
        When the extra is not installed.
    """

    def __init__(self, key: Revealable, secret: Revealable, *, base_url: str | None = None) -> None:
        try:
            with warnings.catch_warnings():
                # the library's own talk with its websocket package, not our caller's concern
                warnings.simplefilter("ignore", DeprecationWarning)
                from alpaca.data.historical import (  # noqa: PLC0415 - an extra, and slow to import
                    OptionHistoricalDataClient,
                    StockHistoricalDataClient,
                )
                from alpaca.data.historical.corporate_actions import (  # noqa: PLC0415 - the same
                    CorporateActionsClient,
                )
        except ModuleNotFoundError as missing:
            raise ConfigError(
                "downloads from Alpaca need a package that is not installed",
                where=missing.name,
                fix='pip install "scalpdesk[alpaca]"',
            ) from missing
        keys = (key.reveal(), secret.reveal())
        self._stocks = StockHistoricalDataClient(*keys, raw_data=True, url_override=base_url)
        self._options = OptionHistoricalDataClient(*keys, raw_data=True, url_override=base_url)
        self._actions = CorporateActionsClient(*keys, raw_data=True, url_override=base_url)

    def stock_bars(
        self, symbols: Sequence[str], start: datetime, end: datetime, *, length: str = "minute"
    ) -> Iterator[HistoricalBar]:
        """Yield the bars of shares, symbol by symbol, oldest first.

        Raises
        ------
        ArgumentError
            When the length is not ``minute`` or ``hour``, or a bound has no time zone.
        DataError
            When a bar cannot be believed.
        RetryError
            When the venue does not answer.
        """
        from alpaca.data.requests import StockBarsRequest  # noqa: PLC0415 - an extra

        asked = StockBarsRequest(**self._span(symbols, start, end, length))
        return _bars(_answer(lambda: self._stocks.get_stock_bars(asked)), BAR_SECONDS[length])

    def option_bars(
        self, symbols: Sequence[str], start: datetime, end: datetime, *, length: str = "minute"
    ) -> Iterator[HistoricalBar]:
        """Yield the bars of options, symbol by symbol, oldest first; raises as :meth:`stock_bars`."""
        from alpaca.data.requests import OptionBarsRequest  # noqa: PLC0415 - an extra

        asked = OptionBarsRequest(**self._span(symbols, start, end, length))
        return _bars(_answer(lambda: self._options.get_option_bars(asked)), BAR_SECONDS[length])

    def cash_dividends(self, symbol: str, first: date, last: date) -> list[CashDividendLine]:
        """Return the cash dividends with an ex-date from ``first`` to ``last``, oldest first.

        Raises
        ------
        DataError
            When a dividend cannot be believed.
        RetryError
            When the venue does not answer.
        """
        from alpaca.data.enums import CorporateActionsType  # noqa: PLC0415 - an extra
        from alpaca.data.requests import CorporateActionsRequest  # noqa: PLC0415 - an extra

        asked = CorporateActionsRequest(
            symbols=[symbol], types=[CorporateActionsType.CASH_DIVIDEND], start=first, end=last
        )
        found = _answer(lambda: self._actions.get_corporate_actions(asked))
        lines = [_dividend(row) for row in found.get("cash_dividends", ())]
        return sorted((row for row in lines if first <= row.ex_date <= last), key=lambda row: row.ex_date)

    @staticmethod
    def _span(symbols: Sequence[str], start: datetime, end: datetime, length: str) -> dict[str, Any]:
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit  # noqa: PLC0415 - an extra

        units = {"minute": TimeFrameUnit.Minute, "hour": TimeFrameUnit.Hour}
        if length not in units:
            raise ArgumentError("no such length of a bar", where="length", value=length, fix="minute or hour")
        for name, moment in (("start", start), ("end", end)):
            if moment.tzinfo is None:
                raise ArgumentError("a moment needs a time zone", where=name, value=moment.isoformat())
        frame = TimeFrame(1, units[length])
        return {"symbol_or_symbols": list(symbols), "timeframe": frame, "start": start, "end": end}


def _answer(ask: Callable[[], Any]) -> Mapping[str, Any]:
    import requests  # noqa: PLC0415 - comes with the extra
    from alpaca.common.exceptions import APIError  # noqa: PLC0415 - an extra

    try:
        found = ask()
    except (APIError, requests.RequestException) as error:
        # the text of a request's error may hold its headers: only its kind is shown
        status = error.status_code if isinstance(error, APIError) else None
        raise RetryError(
            "the venue does not give its history",
            value=type(error).__name__ if status is None else f"HTTP {status}",
            fix="check the keys and the data plan of the account, then try again",
        ) from None
    if not isinstance(found, Mapping):
        raise DataError("the venue's history is not of its form", value=type(found).__name__)
    return found


def _bars(found: Mapping[str, Any], seconds: int) -> Iterator[HistoricalBar]:
    for symbol, lines in sorted(found.items()):
        for line in lines or ():
            try:
                row = msgspec.convert(line, BarRow)
                figures = row.figures()
                end_ns = ns_of_text(row.t) + seconds * NANOS_PER_SECOND
            except (Malformed, msgspec.ValidationError) as error:
                raise DataError("a bar cannot be believed", where=symbol, value=str(error)) from None
            yield HistoricalBar(symbol, end_ns, *figures)


def _dividend(line: Any) -> CashDividendLine:
    try:
        row = msgspec.convert(line, _Dividend)
        return CashDividendLine(row.symbol, day_of(row.ex_date, "ex_date"), not_negative(row.rate, "rate"))
    except (Malformed, msgspec.ValidationError) as error:
        raise DataError("a dividend cannot be believed", value=str(error)) from None
