"""Instruments of the market as TWS contracts: their ids, their fields, and the searches for them."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.instruments.contract import Instrument, underlying_of
from scalpdesk.instruments.futures import final_settlement_ns
from scalpdesk.instruments.sessions import NEW_YORK, final_close_ns, to_new_york, to_ns
from scalpdesk.instruments.ticks import CENT_TICK, NICKEL_DIME, PENNY_NICKEL, TickRule
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.served.layouts import CONTRACT_DATA, SYMBOL_ROW
from scalpdesk_ibkr.served.wire import DECIMAL_SIZES, Field, Message, Reader, TwsError

_KNOWN_IDS = {"SPY": 756733, "SPX": 416904}
_COMBO_ID = 28812380
"""``_KNOWN_IDS``, ``_COMBO_ID``: The vendor's own ids; that of every combo in US dollars."""
_MOST_OF_HASH = 0x3FFFFFFF
ZONE = "US/Eastern"
_ORDER_TYPES = "ACTIVETIM,DAY,GTC,IOC,FOK,OPG,LMT,MKT,MOC,LOC,STP,STPLMT,TRAIL,WHATIF"
VENUES = {
    messages.SHARE: "SMART,AMEX,NYSE,CBOE,ISLAND,NASDAQ,ARCA,BATS,BYX,EDGEA,IEX",
    messages.OPTION: "SMART,AMEX,BATS,BOX,CBOE,CBOE2,EDGX,ISE,MIAX,NASDAQOM,PHLX,PSE",
    messages.INDEX: messages.CBOE,
    messages.FUTURE: "CME",
    messages.FUTURE_OPTION: "CME",
}
"""Exchanges of each security type."""
_MONTH_CODES = "FGHJKMNQUVXZ"
"""Letters of the months in the local symbols of futures."""
CHAIN_VENUES = (messages.SMART, messages.CBOE)
"""Exchanges under which option chains are listed."""
_KNOWN_RULES = {CENT_TICK: 26, PENNY_NICKEL: 109, NICKEL_DIME: 239}
_FIRST_OTHER_RULE = 1_000
_HOURS_AHEAD = 6
"""Calendar days whose hours contractData states."""
_MOST_SAMPLES = 16
_MOST_RATIO = 1_000
NO_CONTRACT = "No security definition has been found for the request"


class ComboLeg(NamedTuple):
    """A leg of a combo as its client named it."""

    number: InstrumentId
    ratio: Decimal
    side: Side
    fields: Message
    """Contract id, ratio, action and exchange; in orders four more."""


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


def time_text(ts_ns: int) -> str:
    """Return an instant with its zone, as ``20210104 09:31:00 US/Eastern``."""
    return f"{to_new_york(ts_ns):%Y%m%d %H:%M:%S} {ZONE}"


def instant_of(text: str) -> int | None:
    """Return the instant of a time in a request, UTC nanoseconds; None for a text that is no time.

    With a dash it is UTC; with a space it is in the zone that it names, New York (the login's) by default.
    """
    day, mark = text[:8], text[8:9]
    clock, _, zone = text[9:].partition(" ")
    try:
        place = ZoneInfo(zone) if zone else {"-": UTC, " ": NEW_YORK}[mark]
        moment = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S").replace(tzinfo=place)
    except (KeyError, ValueError, OSError, ZoneInfoNotFoundError):
        return None
    return to_ns(moment)


def read_query(reader: Reader) -> Query:
    """Read the twelve fields of a contract; its primary exchange decides nothing here."""
    con_id = reader.whole("conId")
    symbol, kind, last = reader.texts(3)
    strike = reader.number("strike")
    right, multiplier, exchange, _, *rest = reader.texts(7)
    return Query(con_id, symbol, kind, last[:8], strike or None, right, multiplier, exchange, *rest)


def kind_of(instrument: Instrument) -> str:
    """Return the security type of an instrument. Raises ArgumentError when the protocol has no such type."""
    if instrument.is_option:
        return messages.FUTURE_OPTION if instrument.is_on_future else messages.OPTION
    if instrument.is_future:
        return messages.FUTURE
    if instrument.is_share or instrument.is_index:
        return messages.SHARE if instrument.is_share else messages.INDEX
    raise ArgumentError(
        "TWS has no contract for this instrument",
        where="instrument",
        value=instrument.symbol,
        fix="serve a market of shares, indices, futures and their options",
    )


def symbol_of(instrument: Instrument) -> str:
    """Return the symbol of a contract: that of its underlying, of a future and its options the root."""
    if instrument.is_future or (instrument.is_option and instrument.is_on_future):
        return instrument.root
    return underlying_of(instrument).replace(".", " ")


class ContractBook:
    """Contract ids of the market's instruments, which may grow.

    ``world``: Market whose instruments, hours and time they are.
    """

    def __init__(self, world: SimulatedMarket) -> None:
        self._world = world
        self._instruments = world.ledger.instruments
        self._by_id: dict[int, InstrumentId] = {}
        self._ids: list[int] = []
        self._rules = dict(_KNOWN_RULES)

    def _grow(self) -> None:
        """Give an id to each new instrument: derived from its symbol, so that a restart keeps it."""
        for number in range(len(self._ids), len(self._instruments)):
            symbol = self._instruments[InstrumentId(number)].symbol
            digest = hashlib.sha256(symbol.encode()).digest()
            con_id = _KNOWN_IDS.get(symbol) or int.from_bytes(digest[:4], "big") & _MOST_OF_HASH
            while con_id in self._by_id:
                con_id += 1
            self._by_id[con_id] = InstrumentId(number)
            self._ids.append(con_id)

    def con_id(self, number: InstrumentId) -> int:
        """Return the contract id of an instrument."""
        self._grow()
        return self._ids[number]

    def number(self, con_id: int) -> InstrumentId:
        """Return the instrument of a contract id. Raises TwsError when the market has no such contract."""
        self._grow()
        found = self._by_id.get(con_id)
        if found is None:
            raise TwsError(200, f"{NO_CONTRACT}: the contract id {con_id} is unknown")
        return found

    def fields(self, number: InstrumentId) -> Message:
        """Return the fields that name a contract in replies: the twelve without the primary exchange."""
        item = self._instruments[number]
        last, strike, right, multiplier, trading_class, local = _terms(item)
        kind = kind_of(item)
        venue = (
            VENUES[kind]
            if kind in (messages.INDEX, messages.FUTURE, messages.FUTURE_OPTION)
            else messages.SMART
        )
        head = (self.con_id(number), symbol_of(item), kind, last, strike, right, multiplier)
        return (*head, venue, item.currency, local, trading_class)

    def combo_fields(self, legs: Sequence[ComboLeg]) -> Message:
        """Return the fields that name a combo: those of :meth:`fields`."""
        item = self._instruments[legs[0].number]
        name = symbol_of(item)
        return _COMBO_ID, name, messages.COMBO, "", 0, "", "", messages.SMART, item.currency, name, "COMB"

    # searches ---------------------------------------------------------------------------------------

    def find(self, query: Query, *, with_expired: bool = False) -> list[InstrumentId]:
        """Return the instruments that fit a query; an id decides alone."""
        self._grow()
        if query.con_id:
            found = self._by_id.get(query.con_id)
            return [] if found is None else [found]
        return [
            InstrumentId(number)
            for number, item in enumerate(self._instruments)
            if not query.symbol or symbol_of(item) == query.symbol
            if self._fits(query, InstrumentId(number)) and (with_expired or not self._is_expired(item))
        ]

    def _is_expired(self, item: Instrument) -> bool:
        if item.is_future:
            return final_settlement_ns(item) <= self._world.now_ns
        return item.is_option and final_close_ns(item) <= self._world.now_ns

    def _fits(self, query: Query, number: InstrumentId) -> bool:
        _, _, kind, last, strike, right, multiplier, _, currency, local, group = self.fields(number)
        wanted_right = query.right[:1].upper()
        return (
            query.kind in ("", kind)
            and str(last).startswith(query.last)
            and query.strike in (None, strike)
            and (not wanted_right or wanted_right in "0?" or wanted_right == right)
            and query.multiplier in ("", str(multiplier))
            and query.exchange in ("", messages.SMART, *VENUES[str(kind)].split(","))
            and query.currency in ("", currency)
            and query.local_symbol in ("", local)
            and query.trading_class in ("", group)
        )

    def only(self, query: Query) -> InstrumentId:
        """Return the one instrument that fits a query.

        Raises TwsError when no instrument fits, or several do.
        """
        found = self.find(query)
        if len(found) == 1:
            return found[0]
        which = "is ambiguous" if found else "does not exist"
        raise TwsError(200, f"{NO_CONTRACT}: {query.symbol} {which} here")

    def read_legs(self, reader: Reader, *, in_order: bool) -> tuple[ComboLeg, ...]:
        """Read the legs of a combo: four fields each, in an order eight.

        Raises TwsError when a leg names no contract of this market, or no ratio or side.
        """
        self._grow()
        legs = []
        for _ in range(reader.whole("number of legs")):
            con_id, ratio, action, exchange = reader.whole("conId"), reader.whole("ratio"), *reader.texts(2)
            rest = reader.texts(4) if in_order else []
            number = self._by_id.get(con_id)
            if (
                number is None
                or not 0 < ratio <= _MOST_RATIO
                or action not in ("BUY", "SELL", messages.SELL_SHORT)
            ):
                raise TwsError(200, f"{NO_CONTRACT}: leg {con_id} {action} {ratio} does not exist here")
            side = Side.BUY if action == "BUY" else Side.SELL
            legs.append(ComboLeg(number, Decimal(ratio), side, (con_id, ratio, action, exchange, *rest)))
        if not legs:
            raise TwsError(321, "Error validating request: the combo has no legs")
        return tuple(legs)

    # replies ----------------------------------------------------------------------------------------

    def details(self, version: int, request_id: int, number: InstrumentId, exchange: str = "") -> Message:
        """Return a contractData message (10), for the exchange that was asked for."""
        item = self._instruments[number]
        con_id, symbol, kind, last, strike, right, multiplier, venue, currency, local, group = self.fields(
            number
        )
        under = self._instruments.find(underlying_of(item)) if item.is_option else None
        hours = self._hours()
        venues = VENUES[str(kind)]
        values: dict[str, Field | Message] = {
            "requestId": request_id,
            "symbol": symbol,
            "secType": kind,
            "last": last,
            "strike": strike,
            "right": right,
            "exchange": exchange or venue,
            "currency": currency,
            "localSymbol": local,
            "marketName": group,
            "tradingClass": group,
            "conId": con_id,
            "minTick": item.tick_rule.below,
            "multiplier": multiplier,
            "orderTypes": _ORDER_TYPES,
            "validExchanges": venues,
            "longName": symbol,
            "primaryExchange": "ARCA" if kind == messages.SHARE else "",
            "contractMonth": str(last)[:6],
            "timeZoneId": ZONE,
            "tradingHours": hours,
            "liquidHours": hours,
            "marketRuleIds": ",".join([str(self.rule_id(item.tick_rule))] * len(venues.split(","))),
            "realExpirationDate": f"{item.expiry:%Y%m%d}" if item.is_option else last,
            "stockType": "ETF" if kind == messages.SHARE else "",
            "sizes": (item.step,) * 3,
        }
        if version == DECIMAL_SIZES:
            values["suggestedSize"] = item.step
        if under is not None:
            values["underConId"] = self.con_id(under)
            values["underSymbol"] = symbol
            values["underSecType"] = kind_of(self._instruments[under])
        return 10, *CONTRACT_DATA.write(version, values)

    def _hours(self) -> str:
        """Return the sessions from today on, as ``20240304:0930-20240304:1600;20240309:CLOSED``."""
        today = to_new_york(self._world.now_ns).date()
        last = today + timedelta(days=_HOURS_AHEAD - 1)
        spans = {
            session.day: "-".join(
                f"{to_new_york(at):%Y%m%d:%H%M}" for at in (session.open_ns, session.close_ns)
            )
            for session in self._world.source.hours.calendar(today, last)
        }
        days = [today + timedelta(days=ahead) for ahead in range(_HOURS_AHEAD)]
        return ";".join(spans.get(day, f"{day:%Y%m%d}:CLOSED") for day in days)

    def chains(self, request_id: int, con_id: int, venues: Sequence[str] = CHAIN_VENUES) -> Iterator[Message]:
        """Yield the option chains of an underlying (75), a row for each exchange and class, and the end.

        Raises TwsError when the market has no such contract.
        """
        under = self._instruments[self.number(con_id)]
        chains: dict[tuple[str, int], tuple[set[date], set[Decimal]]] = {}
        for _, contract in self._instruments.options(under.symbol):
            if not self._is_expired(contract):
                days, strikes = chains.setdefault((contract.root, contract.multiplier), (set(), set()))
                days.add(to_new_york(final_close_ns(contract)).date())
                strikes.add(contract.strike)
        for venue in venues:
            for (root, multiplier), (days, strikes) in sorted(chains.items()):
                texts = [f"{day:%Y%m%d}" for day in sorted(days)]
                listed: Message = (len(texts), *texts, len(strikes), *sorted(strikes))
                yield 75, request_id, venue, con_id, root, multiplier, *listed
        yield 76, request_id

    def samples(self, version: int, request_id: int, pattern: str) -> Message:
        """Return the shares and indices whose symbol begins with a pattern (79)."""
        rows: list[Field] = []
        count = 0
        for number, item in enumerate(self._instruments):
            if item.is_option or not item.symbol.startswith(pattern.upper()) or count == _MOST_SAMPLES:
                continue
            count += 1
            con_id, symbol, kind, *_ = self.fields(InstrumentId(number))
            has_options = any(True for _ in self._instruments.options(item.symbol))
            values: dict[str, Field | Message] = {
                "conId": con_id,
                "symbol": symbol,
                "secType": kind,
                "primaryExchange": "ARCA" if kind == messages.SHARE else messages.CBOE,
                "currency": item.currency,
                "derivatives": (2, messages.OPTION, messages.COMBO) if has_options else (0,),
                "description": symbol,
            }
            rows += SYMBOL_ROW.write(version, values)
        return 79, request_id, count, *rows

    def rule_id(self, rule: TickRule) -> int:
        """Return the id of a rule of price increments."""
        return self._rules.setdefault(rule, _FIRST_OTHER_RULE + len(self._rules))

    def market_rule(self, rule_id: int) -> Message:
        """Return the increments of a market rule (93). Raises TwsError when there is no such rule."""
        found = next((rule for rule, known in self._rules.items() if known == rule_id), None)
        if found is None:
            raise TwsError(321, f"Error validating request: the market rule {rule_id} is unknown")
        steps: list[Field] = [0, found.below]
        for step in found.steps:
            steps += [step.above_price, step.tick]
        return 93, rule_id, len(steps) // 2, *steps


def _terms(item: Instrument) -> tuple[Field, Field, Field, Field, str, str]:
    """Return last day, strike, right, multiplier, trading class and local symbol."""
    if item.is_option:
        local = item.symbol if item.is_on_future else f"{item.root:<6}{item.symbol[len(item.root) :]}"
        last = to_new_york(final_close_ns(item))
        return f"{last:%Y%m%d}", item.strike, item.right.value, item.multiplier, item.root, local
    if item.is_future:
        local = f"{item.root}{_MONTH_CODES[item.expiry.month - 1]}{item.expiry.year % 10}"
        return f"{item.expiry:%Y%m%d}", 0, "", item.multiplier, item.root, local
    return "", 0, "", "", symbol_of(item), symbol_of(item)
