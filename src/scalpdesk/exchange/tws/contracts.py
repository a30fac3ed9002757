"""Instruments of the market as TWS contracts: their ids, their fields, and the search by some of them."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import InstrumentId
from scalpdesk.exchange.tws.wire import Field, Reader, TwsError
from scalpdesk.instruments.contract import Instrument, Instruments, underlying_of

KNOWN_IDS = {"SPY": 756733, "SPX": 416904}
"""The vendor's own ids."""
MOST_OF_HASH = 0x3FFFFFFF
ZONE = "US/Eastern"
ORDER_TYPES = "DAY,GTC,IOC,LMT,MKT,OPG,STP,STPLMT"
OF_SIZES = 164
"""Version from which contractData has three sizes, and neither a version nor a multiplier of sizes."""


class Query(NamedTuple):
    """The fields by which a client names a contract; an empty one fits every contract."""

    con_id: int
    symbol: str
    kind: str
    last: str
    """Last trading day as YYYYMMDD, or its month as YYYYMM."""
    strike: Decimal | None
    right: str
    multiplier: str
    exchange: str
    currency: str
    local_symbol: str
    trading_class: str


def read_query(reader: Reader) -> Query:
    """Read the twelve fields of a contract; its primary exchange decides nothing here."""
    con_id = reader.whole("conId")
    symbol, kind, last = reader.texts(3)
    strike = reader.number("strike")
    right, multiplier, exchange, _, *rest = reader.texts(7)
    return Query(con_id, symbol, kind, last, strike or None, right, multiplier, exchange, *rest)


def kind_of(instrument: Instrument) -> str:
    """Return the security type of an instrument.

    Raises
    ------
    ArgumentError
        When the protocol has no such type.
    """
    if instrument.is_option:
        return "OPT"
    if instrument.is_share or instrument.is_index:
        return "STK" if instrument.is_share else "IND"
    raise ArgumentError(
        "TWS has no contract for this instrument",
        where="instrument",
        value=instrument.symbol,
        fix="serve a market of shares, indices and their options",
    )


class ContractBook:
    """Contract ids of the market's instruments, which may grow."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._by_id: dict[int, InstrumentId] = {}
        self._ids: list[int] = []

    def _grow(self) -> None:
        """Give an id to each new instrument: derived from its symbol, so that a restart keeps it."""
        for number in range(len(self._ids), len(self._instruments)):
            symbol = self._instruments[InstrumentId(number)].symbol
            digest = hashlib.sha256(symbol.encode()).digest()
            con_id = KNOWN_IDS.get(symbol) or int.from_bytes(digest[:4], "big") & MOST_OF_HASH
            while con_id in self._by_id:
                con_id += 1
            self._by_id[con_id] = InstrumentId(number)
            self._ids.append(con_id)

    def con_id(self, number: InstrumentId) -> int:
        """Return the contract id of an instrument."""
        self._grow()
        return self._ids[number]

    def fields(self, number: InstrumentId) -> tuple[Field, ...]:
        """Return the fields that name a contract in replies: the twelve without the primary exchange."""
        item = self._instruments[number]
        last, strike, right, multiplier, trading_class, local = _terms(item)
        venue = "CBOE" if item.is_index else "SMART"
        head = (self.con_id(number), underlying_of(item), kind_of(item), last, strike, right, multiplier)
        return (*head, venue, item.currency, local, trading_class)

    def find(self, query: Query) -> list[InstrumentId]:
        """Return the instruments that fit a query; an id decides alone."""
        self._grow()
        if query.con_id:
            found = self._by_id.get(query.con_id)
            return [] if found is None else [found]
        return [
            InstrumentId(number)
            for number, item in enumerate(self._instruments)
            if underlying_of(item) == query.symbol or not query.symbol
            if self._fits(query, InstrumentId(number))
        ]

    def _fits(self, query: Query, number: InstrumentId) -> bool:
        _, _, kind, last, strike, right, multiplier, venue, currency, local, group = self.fields(number)
        wanted_right = query.right[:1].upper()
        return (
            query.kind in ("", kind)
            and str(last).startswith(query.last)
            and query.strike in (None, strike)
            and (not wanted_right or wanted_right in "0?" or wanted_right == right)
            and query.multiplier in ("", str(multiplier))
            and query.exchange in ("", "SMART", venue)
            and query.currency in ("", currency)
            and query.local_symbol in ("", local)
            and query.trading_class in ("", group)
        )

    def only(self, query: Query) -> InstrumentId:
        """Return the one instrument that fits a query.

        Raises
        ------
        TwsError
            When no instrument fits, or several do.
        """
        found = self.find(query)
        if len(found) == 1:
            return found[0]
        which = "is ambiguous" if found else "does not exist"
        raise TwsError(
            200, f"No security definition has been found for the request: {query.symbol} {which} here"
        )

    def details(self, version: int, request_id: int, number: InstrumentId) -> Sequence[Field]:
        """Return a contractData message (10)."""
        item = self._instruments[number]
        con_id, symbol, kind, last, strike, right, multiplier, venue, currency, local, group = self.fields(
            number
        )
        named = (symbol, kind, last, strike, right, venue, currency, local, local, group, con_id)
        before_sizes = version < OF_SIZES
        under = self._instruments.find(underlying_of(item)) if item.is_option else None
        return (
            10,
            *((8,) if before_sizes else ()),
            request_id,
            *named,
            item.tick_rule.below,
            *((100,) if before_sizes else ()),
            multiplier,
            ORDER_TYPES,
            "CBOE" if item.is_index else "SMART,CBOE",
            1,
            0 if under is None else self.con_id(under),
            symbol,
            "",
            str(last)[:6],
            *("", "", "", ZONE, "", "", "", 0, 0),
            *(1, "" if under is None else symbol, _kind_below(self._instruments, under), "", last),
            "ETF" if kind == "STK" else "",
            *[item.step] * (version == OF_SIZES - 1 or 3 * (not before_sizes)),
        )


def _kind_below(instruments: Instruments, under: InstrumentId | None) -> str:
    return "" if under is None else kind_of(instruments[under])


def _terms(item: Instrument) -> tuple[Field, Field, Field, Field, Field, Field]:
    """Return last day, strike, right, multiplier, trading class and local symbol."""
    if item.is_option:
        local = f"{item.root:<6}{item.symbol[len(item.root) :]}"
        return f"{item.expiry:%Y%m%d}", item.strike, item.right.value, item.multiplier, item.root, local
    return "", 0, "", "", item.symbol, item.symbol
