"""Statements of Interactive Brokers: Flex queries in XML, activity (``AF``) or trade confirmations (``TCF``).

A statement grows new attributes, codes and sections every year. A row that moves units or cash is kept under
its own word, or named as not read; passed over is only what repeats or values what other rows move. Times
have no zone of their own: they are those of the account's report, New York unless the query says otherwise.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, NoReturn
from xml.parsers import expat
from zoneinfo import ZoneInfo

import msgspec

from scalpdesk.base import NANOS_PER_SECOND, ZERO, ChangeCause, DataError, number_text, to_ns
from scalpdesk.plugins import Movement, Statement, StatementSpec, StatementTrade

Row = Mapping[str, str]

_SUMMARIES = frozenset({"ORDER", "SYMBOL_SUMMARY", "ASSET_SUMMARY", "SUMMARY_OF_SYMBOL", "CLOSED_LOT", "LOT"})
"""Levels of detail of rows that say again what the executions beside them say."""
SECTIONS = dict.fromkeys(
    ("TradeConfirm", "Order", "SymbolSummary", "AssetSummary", "Lot", "WashSale"), "Trade"
)
"""Section whose rows an element says again, or is of, where it does not bear its name."""
_SUMMED = frozenset({"CashTransaction", "CorporateAction"})
"""Elements of which ``SUMMARY`` is a sum of the others."""
_STILL = """
AccountInformation ChangeInNAV EquitySummaryByReportDateInBase MTMPerformanceSummaryUnderlying
MTDYTDPerformanceSummaryUnderlying FIFOPerformanceSummaryUnderlying StatementOfFundsLine
ChangeInPositionValue NetStockPosition ComplexPosition FxPosition FxLot PriorPeriodPosition
PendingExcercise UnsettledTransfer UnbundledCommissionDetail RoutingCommission InterestAccrualsCurrency
TierInterestDetail HardToBorrowDetail HardToBorrowMarkupDetail ChangeInDividendAccrual
OpenDividendAccrual SecurityInfo ConversionRate ClientFeesDetail SLBOpenContract SLBActivity
"""
_NO_MOVES = frozenset(_STILL.split())
"""Elements that sum, value, accrue or announce what other rows move."""
_MOVING = re.compile(
    r"(?!.*Rate$).*(amount|quantity|proceeds|cash|money|fee|tax|charge|credit|commission)", re.IGNORECASE
)
"""Attributes of amounts and quantities."""
_OPTION_ENDS = {
    "A": ChangeCause.ASSIGNMENT,
    "Ex": ChangeCause.EXERCISE,
    "GEA": ChangeCause.EXERCISE,
    "Ep": ChangeCause.EXPIRED_WORTHLESS,
}
"""Codes of ``notes`` that say how an option ended; its shares carry the same."""
OPTIONS = frozenset({"OPT", "FOP", "IOPT", "WAR"})
_PAYMENTS = {
    "Dividends": ChangeCause.DIVIDEND,
    "Payment In Lieu Of Dividends": ChangeCause.DIVIDEND,
    "Withholding Tax": ChangeCause.DIVIDEND,
    "871(m) Withholding": ChangeCause.DIVIDEND,
    "Broker Interest Paid": ChangeCause.INTEREST,
    "Broker Interest Received": ChangeCause.INTEREST,
    "Bond Interest Paid": ChangeCause.INTEREST,
    "Bond Interest Received": ChangeCause.INTEREST,
    "Other Fees": ChangeCause.FEE,
    "Broker Fees": ChangeCause.FEE,
    "Advisor Fees": ChangeCause.FEE,
    "Commission Adjustments": ChangeCause.FEE,
    "Deposits/Withdrawals": ChangeCause.TRANSFER,
    "Deposits & Withdrawals": ChangeCause.TRANSFER,
}
"""Types of cash transactions."""
_ZONES = {"EST": "Etc/GMT+5", "EDT": "Etc/GMT+4", "UTC": "UTC", "GMT": "UTC"}
"""Abbreviations that a report may write behind its times."""


class Element(NamedTuple):
    """A row of the file."""

    tag: str
    row: dict[str, str]
    line: int


class UnreadableRow(ValueError):  # noqa: N818 - it is caught by name in this module and never leaves it
    """A row of which a field cannot be read."""


@dataclass(slots=True)
class _Booked:
    """A trade with what cancellations know it by."""

    trade: StatementTrade
    names: frozenset[str]


@dataclass(slots=True)
class FlexStatement:
    """One account's part of the file, while it is read."""

    zone: ZoneInfo
    found: Statement = field(default_factory=lambda: Statement(has_all_positions=False))
    trades: list[_Booked] = field(default_factory=list)
    cancels: list[Row] = field(default_factory=list)
    ends: list[tuple[str, Movement]] = field(default_factory=list)
    """Ends of options in their own section, which repeats those among the trades, by the trade's id."""
    booked: list[tuple[str, Movement]] = field(default_factory=list)
    """Those among the trades, by the trade's id."""
    taxes: list[tuple[str, Movement]] = field(default_factory=list)
    """Taxes in their own section, by the trade's id."""
    taxed: set[str] = field(default_factory=set)
    """Ids of the trades that have their tax in their own row."""
    detailed: set[str] = field(default_factory=set)
    """Sections of which a row was read."""
    sums: dict[str, Element] = field(default_factory=dict)
    """The first row of a section that says again what its others say."""
    strange: dict[str, list[Element]] = field(default_factory=lambda: defaultdict(list))
    """Rows with an amount that nobody reads, by element."""

    def take(self, element: Element) -> None:
        """Read a row."""
        tag, row = element.tag, element.row
        if not row:  # a container: that of the ends of options bears the name of its rows
            return
        section, level = SECTIONS.get(tag, tag), row.get("levelOfDetail", "").upper()
        read_row = _READERS.get(tag)
        is_sum = level in _SUMMARIES or (level == "SUMMARY" and tag in _SUMMED)
        if is_sum if read_row else tag in SECTIONS:
            self.sums.setdefault(section, element)
        elif read_row is None:
            if tag not in _NO_MOVES and _moved(row):
                self.strange[tag].append(element)
        else:
            self.detailed.add(section)
            try:
                read_row(self, row)
            except UnreadableRow as problem:
                self.found.unread.append(f"line {element.line}, {tag}: {problem}")

    def read_trade(self, row: Row) -> None:
        """Read a ``Trade``."""
        kind, symbol = row.get("transactionType", "ExchTrade"), _symbol(row)
        codes = _codes(row)
        ended = next((_OPTION_ENDS[code] for code in codes if code in _OPTION_ENDS), None)
        if kind == "TradeCancel" or "Ca" in codes:
            _number(row, "quantity")
            self.cancels.append(row)
        elif kind == "BookTrade":
            kind = f"{kind} {row.get('notes', '')}".strip()
            moved = self._movement(row, symbol, ended, kind)
            self.booked.append((row.get("tradeID", ""), moved))
            self.found.movements.append(moved)
        else:
            names = (row.get(name, "") for name in ("transactionID", "tradeID"))
            self.trades.append(_Booked(self._trade(row, symbol), frozenset(filter(None, names))))

    def _trade(self, row: Row, symbol: str) -> StatementTrade:
        ts_ns, has_time = self._time(row)
        units = _number(row, "quantity")
        side = _first(row, "buySell").upper()
        if side.startswith("SELL") and units > 0:
            units = -units
        if not units:
            raise UnreadableRow("a trade of no units")
        paid = _first(row, "ibCommissionCurrency", "commissionCurrency")
        currency = _first(row, "currency")
        fee = -_number(row, "ibCommission", "commission", default=ZERO)
        taxes = -_number(row, "taxes", "tax", default=ZERO)
        if taxes:
            self.taxed.add(row.get("tradeID", ""))
        if fee and paid not in ("", currency):
            self.found.unread.append(f"trade {row.get('tradeID')}: its commission of {fee:f} is in {paid}")
            fee = ZERO
        return StatementTrade(
            execution=_first(row, "ibExecID", "execID"),
            order=_first(row, "ibOrderID", "orderID"),
            client_order=_first(row, "orderReference"),
            symbol=symbol,
            units=units,
            price=_number(row, "tradePrice", "price"),
            fee=fee + taxes,
            currency=currency,
            ts_ns=ts_ns,
            has_time=has_time,
        )

    def _movement(self, row: Row, symbol: str, ended: ChangeCause | None, kind: str) -> Movement:
        """Return a row that moves units without an order: the end of an option, or its delivery."""
        ts_ns, has_time = self._time(row)
        proceeds = _number(row, "proceeds", default=ZERO)
        is_option = row.get("assetCategory") in OPTIONS
        if ended is not None and not is_option:
            ended = ChangeCause.DELIVERY
        elif ended is not None and proceeds:
            ended = ChangeCause.CASH_SETTLEMENT
        fees = _number(row, "ibCommission", "commisionsAndTax", default=ZERO)
        return Movement(
            reference=_first(row, "transactionID", "tradeID"),
            kind=kind,
            cause=ended,
            symbol=symbol,
            units=_number(row, "quantity"),
            cash=proceeds + fees + _number(row, "taxes", default=ZERO),
            currency=_first(row, "currency"),
            ts_ns=ts_ns,
            has_time=has_time,
        )

    def read_end(self, row: Row) -> None:
        """Read an ``OptionEAE``."""
        kind = row.get("transactionType", "")
        end = self._movement(row, _symbol(row), _ENDS_BY_WORD.get(kind), f"OptionEAE {kind}".strip())
        self.ends.append((row.get("tradeID", ""), end))

    def read_cash(self, row: Row) -> None:
        """Read a ``CashTransaction``."""
        kind = row.get("type", "")
        found = self._line(row, kind or "cash transaction", _PAYMENTS.get(kind), cash=_number(row, "amount"))
        self.found.movements.append(found)

    def read_action(self, row: Row) -> None:
        """Read a ``CorporateAction``."""
        units, cash = (_number(row, name, default=ZERO) for name in ("quantity", "proceeds"))
        self._take_in_kind(row, "CorporateAction", ChangeCause.CORPORATE_ACTION, units, cash)

    def read_transfer(self, row: Row) -> None:
        """Read a ``Transfer`` of units or cash, in or out."""
        sign = -1 if row.get("direction", "").upper() == "OUT" else 1
        units, cash = (sign * abs(_number(row, name, default=ZERO)) for name in ("quantity", "cashTransfer"))
        self._take_in_kind(row, "Transfer", ChangeCause.TRANSFER, units, cash)

    def _take_in_kind(self, row: Row, tag: str, cause: ChangeCause, units: Decimal, cash: Decimal) -> None:
        if not units and not cash and (moved := _moved(row)):
            raise UnreadableRow(f"it moves neither units nor cash, and it has {moved}")
        kind = f"{tag} {row.get('type', '')}".strip()
        self.found.movements.append(self._line(row, kind, cause, units, cash))

    def read_tax(self, row: Row) -> None:
        """Read a ``TransactionTax``; its quantity is that of the trade."""
        tax = self._line(row, "TransactionTax", ChangeCause.FEE, cash=_number(row, "taxAmount"))
        self.taxes.append((_first(row, "tradeId", "tradeID"), tax))

    def read_sales_tax(self, row: Row) -> None:
        """Read a ``SalesTax``."""
        tax = self._line(row, "SalesTax", ChangeCause.FEE, cash=_number(row, "salesTax"))
        self.found.movements.append(tax)

    def _line(
        self, row: Row, kind: str, cause: ChangeCause | None, units: Decimal = ZERO, cash: Decimal = ZERO
    ) -> Movement:
        ts_ns, has_time = self._time(row)
        return Movement(
            reference=row.get("transactionID", ""),
            kind=kind,
            cause=cause,
            symbol=_symbol(row) if row.get("symbol", "--") != "--" else "",
            units=units,
            cash=cash,
            currency=_first(row, "currency"),
            ts_ns=ts_ns,
            has_time=has_time,
        )

    def read_position(self, row: Row) -> None:
        """Read a ``OpenPosition``."""
        symbol = _symbol(row)
        self.found.positions[symbol] = self.found.positions.get(symbol, ZERO) + _number(row, "position")

    def read_balance(self, row: Row) -> None:
        """Read a ``CashReportCurrency``."""
        currency = _first(row, "currency")
        if currency != "BASE_SUMMARY" and row.get("endingCash"):
            self.found.cash[currency] = _number(row, "endingCash")

    def _time(self, row: Row) -> tuple[int, bool]:
        """Return UTC nanoseconds of a row, and whether it says more than the day."""
        text = _first(row, "dateTime")
        if not text:
            day = _first(row, "tradeDate", "date", "reportDate")
            text = f"{day} {row.get('tradeTime', '')}".strip()
        found = _time_of(text, self.zone)
        first, last, reported = self.found.first, self.found.last, row.get("reportDate")
        if first and last and reported and not first <= _day_of(found[0], self.zone) <= last:
            return _time_of(reported, self.zone)  # booked now for an earlier day, as a correction is
        return found

    def result(self) -> Statement:
        """Return the statement: what was cancelled taken out, ends of options once."""
        for row in self.cancels:
            self._cancel(row)
        names = {name for name, _ in self.booked}
        same = Counter((end.symbol, end.units) for _, end in self.booked)
        for name, end in self.ends:
            if not name and same[end.symbol, end.units]:
                same[end.symbol, end.units] -= 1
            elif not name or name not in names:
                self.found.movements.append(end)
        self.found.movements += [tax for name, tax in self.taxes if name not in self.taxed]
        self.found.trades = [each.trade for each in self.trades]
        self._name_unread()
        return self.found

    def _name_unread(self) -> None:
        """Name the rows that nobody reads, and the sections of which there are sums alone."""
        for tag, rows in self.strange.items():
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            self.found.unread.append(
                f"line {rows[0].line}{more}, {tag}: nobody reads it, and it has {_moved(rows[0].row)}"
            )
        for section, first in self.sums.items():
            if section not in self.detailed:
                level = first.row.get("levelOfDetail") or first.tag
                self.found.unread.append(
                    f"line {first.line}, {first.tag}: the rows of {section} are sums alone ({level}); "
                    "let the query have each"
                )

    def _cancel(self, row: Row) -> None:
        """Take out the trade that a row cancels; what it cost stays with the trade in its place.

        IBKR leaves the commission with the first of the three rows and books the trade again for nothing.
        """
        wanted = {row.get(name, "") for name in ("origTransactionID", "origTradeID")} - {"", "0"}
        units = _number(row, "quantity")
        same = [
            each
            for each in self.trades
            if (
                wanted & each.names
                if wanted
                else each.trade.order == _first(row, "ibOrderID", "orderID")
                and each.trade.price == _number(row, "tradePrice", "price")
            )
            and each.trade.units == -units
        ]
        if not same:
            name = row.get("origTradeID") or row.get("ibOrderID") or "?"
            self.found.unread.append(f"a cancellation of a trade that the statement does not have: {name}")
            return
        gone = same[0]
        self.trades.remove(gone)
        rest = gone.trade.fee - _number(row, "ibCommission", "commission", default=ZERO)
        what = f"{number_text(gone.trade.units)} {gone.trade.symbol} at {number_text(gone.trade.price)}"
        self.found.notes.append(f"execution {gone.trade.execution} was cancelled: {what}")
        if not rest:
            return
        again = next((each for each in self.trades if _is_same_order(each.trade, gone.trade)), None)
        if again is not None:
            again.trade = msgspec.structs.replace(again.trade, fee=again.trade.fee + rest)
            return
        self.found.movements.append(
            Movement(
                reference="",
                kind="commission of a cancelled trade",
                cause=ChangeCause.FEE,
                symbol=gone.trade.symbol,
                cash=-rest,
                currency=gone.trade.currency,
                ts_ns=gone.trade.ts_ns,
            )
        )


_ENDS_BY_WORD = {
    "Assignment": ChangeCause.ASSIGNMENT,
    "Exercise": ChangeCause.EXERCISE,
    "Expiration": ChangeCause.EXPIRED_WORTHLESS,
    "Cash Settlement": ChangeCause.CASH_SETTLEMENT,
    "Buy": ChangeCause.DELIVERY,
    "Sell": ChangeCause.DELIVERY,
}
"""Words of the section of exercises, assignments and expirations."""


def _is_same_order(trade: StatementTrade, gone: StatementTrade) -> bool:
    return (trade.order, trade.symbol, trade.units) == (gone.order, gone.symbol, gone.units)


def _codes(row: Row) -> list[str]:
    """Return the codes of a row: ``A;P`` as well as ``A, P``."""
    text = row.get("notes", "") or row.get("code", "")
    return text.replace(",", ";").replace(".", "").replace(" ", "").split(";")


def _moved(row: Row) -> str:
    """Return the attributes of a row that are amounts or quantities other than 0."""
    return ", ".join(f"{name} {text}" for name, text in row.items() if _MOVING.match(name) and _is_some(text))


def _is_some(text: str) -> bool:
    try:
        return Decimal(text.replace(",", "")) != ZERO
    except InvalidOperation:
        return False


def _first(row: Row, *names: str) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _number(row: Row, *names: str, default: Decimal | None = None) -> Decimal:
    """Return a number; thousands may be set off by commas."""
    text = _first(row, *names).replace(",", "")
    if not text and default is not None:
        return default
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise UnreadableRow(f"{names[0]} is no number: {text!r}") from None
    if not found.is_finite():
        raise UnreadableRow(f"{names[0]} is not finite: {text!r}")
    return found


def _symbol(row: Row) -> str:
    """Return the desk's name of a contract.

    >>> _symbol({"assetCategory": "OPT", "symbol": "SPY   240315C00500000"})
    'SPY240315C00500000'
    >>> _symbol({"assetCategory": "FUT", "symbol": "ESH4", "underlyingSymbol": "ES", "expiry": "20240315"})
    'ES_202403'
    >>> _symbol({"assetCategory": "STK", "symbol": "BRK B"})
    'BRK.B'
    """
    symbol, kind = row.get("symbol", ""), row.get("assetCategory", "")
    if kind == "OPT":
        return symbol.replace(" ", "")
    if kind == "FUT" and row.get("underlyingSymbol") and row.get("expiry"):
        return f"{row['underlyingSymbol']}_{row['expiry'].replace('-', '')[:6]}"
    return symbol.replace(" ", ".") if kind == "STK" else symbol


def _time_of(text: str, zone: ZoneInfo) -> tuple[int, bool]:
    """Return UTC nanoseconds of a time of a statement, and whether it says more than the day.

    >>> _time_of("20240304;103000", ZoneInfo("America/New_York")) == _time_of(
    ...     "2024-03-04, 10:30:00 EST", ZoneInfo("Europe/Rome")
    ... )
    True
    >>> _time_of("20240304", ZoneInfo("UTC"))
    (1709510400000000000, False)
    """
    words = text.replace(";", " ").replace(",", " ").split()
    if words and words[-1] in _ZONES:
        zone = ZoneInfo(_ZONES[words.pop()])
    digits = "".join(words).replace("-", "").replace(":", "").replace("T", "")
    if not digits.isdigit() or len(digits) not in (8, 14) or "/" in text:
        raise UnreadableRow(f"{text!r} is no time; let the query write yyyyMMdd;HHmmss")
    try:
        moment = datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        raise UnreadableRow(f"{text!r} is no time") from None
    return to_ns(moment), len(digits) == 14


def _refuse(*_: Any) -> NoReturn:
    raise DataError(
        "the file declares a document type; no statement of the broker does",
        where="statement",
        fix="take the file as the broker gave it",
    )


def elements(raw: bytes) -> Iterator[Element]:
    """Yield the rows of a file in order.

    Raises DataError when it is no XML, or declares a document type: entities could read files or fill the
    memory.
    """
    found: list[Element] = []
    # the standard library's own tree builder would expand what a document type declares
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = lambda tag, row: found.append(Element(tag, row, parser.CurrentLineNumber))
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise DataError(
            f"the file is no XML: {error}",
            where="statement",
            fix="choose XML as the format of the Flex query",
        ) from error
    yield from found


def read(raw: bytes, zone: ZoneInfo) -> list[Statement]:
    """Read a Flex query, each account its statement.

    Raises DataError when it is no Flex query, or the broker answered with an error.
    """
    accounts: dict[str, FlexStatement] = defaultdict(lambda: FlexStatement(zone))
    current: FlexStatement | None = None
    for element in elements(raw):
        if element.tag in {"ErrorMessage", "FlexStatementResponse"}:
            raise DataError(
                "the file is the broker's answer that no statement is ready",
                where="statement",
                fix="ask for it again in a minute",
            )
        if element.tag == "FlexStatement":
            current = accounts[element.row.get("accountId", "")]
            _head(current, element.row)
        elif element.tag == "OpenPositions" and current is not None:
            current.found.has_all_positions = True
        elif current is not None:
            current.take(element)
    if not accounts:
        raise DataError(
            "the file holds no Flex statement",
            where="statement",
            fix="save a Flex query (activity or trade confirmations) in XML",
        )
    return [part.result() for part in accounts.values()]


def _head(part: FlexStatement, row: Row) -> None:
    found = part.found
    found.account = row.get("accountId", "")
    days = [_day(row.get(name, ""), part.zone) for name in ("fromDate", "toDate")]
    found.first = min(filter(None, (found.first, days[0])), default=None)
    found.last = max(filter(None, (found.last, days[1])), default=None)
    try:
        made_ns, has_time = _time_of(row.get("whenGenerated", ""), part.zone)
    except UnreadableRow:
        return
    found.made_ns = made_ns + NANOS_PER_SECOND if has_time else None  # it names the second alone


def _day(text: str, zone: ZoneInfo) -> date | None:
    try:
        return _day_of(_time_of(text, zone)[0], zone)
    except UnreadableRow:
        return None


def _day_of(ts_ns: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(ts_ns // NANOS_PER_SECOND, zone).date()


_READERS: Mapping[str, Callable[[FlexStatement, Row], None]] = {
    "Trade": FlexStatement.read_trade,
    "TradeConfirm": FlexStatement.read_trade,
    "OptionEAE": FlexStatement.read_end,
    "CashTransaction": FlexStatement.read_cash,
    "CorporateAction": FlexStatement.read_action,
    "Transfer": FlexStatement.read_transfer,
    "TransactionTax": FlexStatement.read_tax,
    "SalesTax": FlexStatement.read_sales_tax,
    "OpenPosition": FlexStatement.read_position,
    "CashReportCurrency": FlexStatement.read_balance,
}
"""Elements that hold rows."""

STATEMENTS = StatementSpec(
    name="ibkr",
    summary="Flex queries in XML: activity, or trade confirmations",
    zone="America/New_York",
    read=read,
)
