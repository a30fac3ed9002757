"""A broker's statement against the journal, line by line: what agrees, what differs, what one side lacks."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from scalpdesk.accounting.files import instrument_named
from scalpdesk.accounting.journals import JournalChange, JournalFill, JournalLines
from scalpdesk.accounting.statements import Movement, Statement, StatementTrade
from scalpdesk.core.enums import ENDED, ChangeCause
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.matching import Matching
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, count_text, money_decimals
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.deribit import deribit_option, inverse_perpetual
from scalpdesk.instruments.postings import Origin
from scalpdesk.instruments.sessions import to_new_york, to_ns

_FOREIGN_TRADES = frozenset({ChangeCause.MANUAL_TRADE, ChangeCause.AUTO_LIQUIDATION})
"""Causes under which the desk books executions that are not its own."""
_NO_MOVEMENTS = _FOREIGN_TRADES | {ChangeCause.VARIATION}
"""What the comparison of other lines leaves out: trades, and a future's daily settlement."""
NAME = re.compile(r"[A-Z][A-Z0-9._-]*")
"""Symbols of the desk have no blanks; an option on a future at IBKR has."""
_MOST_PRICE_ROUNDING = Decimal("0.0000005")
"""Statements print prices with six decimals or more."""
_MOVE_DAYS, _PAYMENT_DAYS = 5, 60
"""A broker may book an option's end so much later than the desk, and pay a dividend after its ex-date."""


class LineVerdict(StrEnum):
    """How a line of the statement stands to the journal."""

    AGREES = "agrees"
    DIFFERS = "differs"
    BROKER_ONLY = "only at the broker"
    JOURNAL_ONLY = "only in the journal"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the comparison: one of the statement, one of the journal, or several of one order."""

    kind: str
    """``trade``, ``movement``, ``fees``, ``position`` or ``cash``."""
    verdict: LineVerdict
    what: str
    """Symbol, and the broker's word for a movement."""
    ts_ns: int
    currency: str
    broker: str = ""
    journal: str = ""
    """``broker``, ``journal``: Ids on each side."""
    broker_cash: Decimal = ZERO
    journal_cash: Decimal = ZERO
    differences: dict[str, Decimal] = {}
    """The broker's less the journal's: ``units``, ``price``, ``fee``, ``cash``, ``seconds``."""
    unlike: dict[str, str] = {}
    """What is another thing on each side, ``broker, journal X``: ``contract``, ``cause``, ``currency``."""

    @property
    def cash(self) -> Decimal:
        """The broker's cash less the journal's."""
        return self.broker_cash - self.journal_cash


class Total(msgspec.Struct, kw_only=True):
    """Sums of one currency; the broker's, and the journal's."""

    broker: Decimal = ZERO
    journal: Decimal = ZERO
    listed: Decimal = ZERO
    """Sum of the differences of all lines."""

    @property
    def closes(self) -> bool:
        """Whether the lines explain the difference of the sums whole."""
        return self.broker - self.journal == self.listed


class ComparedSpan(msgspec.Struct, frozen=True):
    """The time that a statement covers, UTC nanoseconds; its end is not in it."""

    start_ns: int
    end_ns: int

    def has(self, ts_ns: int) -> bool:
        """Return whether an instant lies in it."""
        return self.start_ns <= ts_ns < self.end_ns


@dataclass(kw_only=True, slots=True)
class Agreement:
    """The result."""

    span: ComparedSpan
    lines: list[Line] = field(default_factory=list)
    totals: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))
    """By currency."""
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    outside: int = 0
    """Lines of the journal before or after the statement's days."""

    @property
    def agrees(self) -> bool:
        """Whether every line agrees and every one was read."""
        return not self.unread and all(line.verdict is LineVerdict.AGREES for line in self.lines)


class Tolerances(msgspec.Struct, frozen=True, kw_only=True):
    """Differences that count as none."""

    cash: Decimal | None = None
    """Half of the currency's smallest coin for None: a cent is a difference."""
    seconds: float = 2.0
    """Of the time of a trade."""

    def of(self, currency: str) -> Decimal:
        """Return the largest difference of cash."""
        return Decimal(1).scaleb(-money_decimals(currency)) / 2 if self.cash is None else self.cash


def span_of(
    statement: Statement, zone: ZoneInfo, first: date | None = None, last: date | None = None
) -> ComparedSpan | None:
    """Return the days that are compared, whole days in the statement's zone; None without any line."""
    times = [each.ts_ns for each in statement.trades] + [each.ts_ns for each in statement.movements]
    begins = first or statement.first or (_day(min(times), zone) if times else None)
    ends = last or statement.last or (_day(max(times), zone) if times else None)
    if begins is None or ends is None:
        return None
    end_ns = _midnight_ns(ends + timedelta(days=1), zone)
    if statement.made_ns is not None:
        end_ns = min(end_ns, statement.made_ns)
    return ComparedSpan(_midnight_ns(begins, zone), end_ns)


def _day(ts_ns: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(ts_ns // NANOS_PER_SECOND, zone).date()


def _midnight_ns(day: date, zone: ZoneInfo) -> int:
    return to_ns(datetime.combine(day, time(), tzinfo=zone))


_AnyLine = StatementTrade | Movement | JournalFill | JournalChange


def _when(line: _AnyLine) -> int:
    return line.event.ts_event_ns if isinstance(line, JournalChange) else line.ts_ns


def compare(
    statement: Statement, journal: JournalLines, span: ComparedSpan, tolerances: Tolerances | None = None
) -> Agreement:
    """Compare a statement with the journal of the same account.

    ``statement``: Repeated lines taken out.
    ``journal``: Lines of all runs of the account, in order of time.
    ``span``: The days to compare; lines of the broker outside them are left out, too.
    ``tolerances``: Differences that count as none.
    """
    return _Comparison(statement, journal, span, tolerances or Tolerances()).result()


class _Comparison:
    """Compares one statement."""

    def __init__(
        self, statement: Statement, journal: JournalLines, span: ComparedSpan, tolerances: Tolerances
    ) -> None:
        self._statement, self._journal, self._span, self._tolerances = statement, journal, span, tolerances
        parts = journal.fills, journal.changes, journal.held
        self._instruments: dict[str, Instrument | None] = {
            each.instrument.symbol: each.instrument for part in parts for each in part.values()
        }
        foreign = [_as_fill(each) for each in journal.changes.values() if each.event.cause in _FOREIGN_TRADES]
        self._fills = [*journal.fills.values(), *foreign]
        moves = [each for each in journal.changes.values() if _moves(each)]
        self._day_fees = [each.event for each in moves if _is_day_fees(each) and statement.fees_apart]
        self._changes = [each for each in moves if not (_is_day_fees(each) and statement.fees_apart)]
        unread = [*statement.unread, *(f"{name}: {why}" for name, why in journal.unread.items())]
        lines: list[StatementTrade | Movement] = [*statement.trades, *statement.movements]
        self._found = Agreement(span=span, notes=list(statement.notes), unread=unread)
        if others := sum(not self._is_in(each) for each in lines):
            text = f"{count_text(others, 'line')} of the statement outside the days: not compared"
            self._found.notes.append(text)

    def result(self) -> Agreement:
        """Return the comparison."""
        self._compare_trades()
        self._compare_movements()
        for line in self._found.lines:
            total = self._found.totals[line.currency]
            total.broker += line.broker_cash
            total.journal += line.journal_cash
            total.listed += line.cash
        self._compare_positions()
        self._compare_cash()
        self._found.lines.sort(key=lambda line: line.ts_ns)
        return self._found

    # trades -----------------------------------------------------------------------------------------

    def _compare_trades(self) -> None:
        mine = [each for each in self._statement.trades if self._is_in(each)]
        for trade in mine:
            if self._instrument(trade.symbol) is None:
                self._found.unread.append(f"trade {trade.execution}: the desk cannot value {trade.symbol!r}")
        known = (each for each in mine if self._instrument(each.symbol) is not None)
        pairs = Matching(known, self._fills, _when, _when)
        name_of_mine, name_of_theirs = self._order_names()

        def terms(line: StatementTrade | JournalFill) -> tuple[str, Decimal]:
            if isinstance(line, StatementTrade):
                return line.symbol, line.units
            return line.instrument.symbol, line.units

        pairs.pair_executions(
            lambda each: (each.execution, name_of_mine(each), terms(each), each.price),
            lambda each: (each.execution, name_of_theirs(each), terms(each), each.price),
        )
        pairs.pair_groups(
            lambda each: (name_of_mine(each), each.symbol) if name_of_mine(each) else None,
            lambda each: (name_of_theirs(each), each.instrument.symbol),
            lambda some, others: _sum(one.units for one in some) == _sum(one.units for one in others),
        )
        pairs.pair(
            lambda each: (terms(each), each.price), lambda each: (terms(each), each.price), most_days=1
        )
        for some, others in pairs.found:
            self._found.lines.append(self._trade_line(some, others))
        alone = [each for each in pairs.books if self._is_in(each)]
        self._found.lines += [self._trade_line([each], []) for each in pairs.venue]
        self._found.lines += [self._trade_line([], [each]) for each in alone]
        self._found.outside += len(pairs.books) - len(alone)

    def _order_names(self) -> tuple[Callable[[StatementTrade], str], Callable[[JournalFill], str]]:
        """Return what names the order of a line on each side: the venue's id where the journal has it."""
        by_client = {each.order: _venue_order(each) for each in self._fills}
        known = set(by_client.values())

        def of_trade(trade: StatementTrade) -> str:
            return trade.order if trade.order in known else by_client.get(trade.client_order, "")

        return of_trade, _venue_order

    def _trade_line(self, some: Sequence[StatementTrade], others: Sequence[JournalFill]) -> Line:
        symbol = some[0].symbol if some else others[0].instrument.symbol
        currency = some[0].currency if some else others[0].instrument.currency
        mine = _sum(self._cash_of(each) for each in some)
        theirs = _sum(self._journal_cash_of(each) for each in others)
        differences = self._trade_differences(some, others, currency) if some and others else {}
        unlike: dict[str, str] = {}
        if some and others:
            _note_unlike(unlike, "contract", symbol, others[0].instrument.symbol)
            _note_unlike(unlike, "currency", currency, others[0].instrument.currency)
        return Line(
            kind="trade",
            verdict=_verdict(bool(some), bool(others), differences, unlike),
            what=symbol,
            ts_ns=_first_ns(some, others),
            currency=currency,
            broker=", ".join(each.execution or each.order for each in some),
            journal=", ".join(f"{each.order}/{each.execution}".strip("/") for each in others),
            broker_cash=mine,
            journal_cash=theirs,
            differences=differences,
            unlike=unlike,
        )

    def _cash_of(self, trade: StatementTrade) -> Decimal:
        instrument = self._instrument(trade.symbol)
        assert instrument is not None
        fee = ZERO if self._statement.fees_apart else trade.fee
        return instrument.cash_flow(trade.units, trade.price) - fee

    def _journal_cash_of(self, fill: JournalFill) -> Decimal:
        fee = ZERO if self._statement.fees_apart else fill.fee
        return fill.instrument.cash_flow(fill.units, fill.price) - fee

    def _instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument of a symbol, of one that no run has by its name; None for what has none."""
        if symbol not in self._instruments:
            self._instruments[symbol] = _named(symbol)
        return self._instruments[symbol]

    def _trade_differences(
        self, some: Sequence[StatementTrade], others: Sequence[JournalFill], currency: str
    ) -> dict[str, Decimal]:
        most = self._tolerances.of(currency)
        found = {
            "units": _sum(each.units for each in some) - _sum(each.units for each in others),
            "cash": _beyond(_sum(map(self._cash_of, some)) - _sum(map(self._journal_cash_of, others)), most),
        }
        if not self._statement.fees_apart:
            fee = _sum(each.fee for each in some) - _sum(each.fee for each in others)
            found["fee"] = _beyond(fee, most)
        if len(some) == len(others) == 1:
            found["price"] = _beyond(some[0].price - others[0].price, _MOST_PRICE_ROUNDING)
            apart = Decimal(some[0].ts_ns - others[0].ts_ns) / NANOS_PER_SECOND
            if some[0].has_time and others[0].ts_ns:
                found["seconds"] = _beyond(apart, Decimal(str(self._tolerances.seconds)))
        return {name: value for name, value in found.items() if value}

    # other lines ------------------------------------------------------------------------------------

    def _compare_movements(self) -> None:
        lines = [each for each in self._statement.movements if each.units or each.cash]
        pairs = Matching((each for each in lines if self._is_in(each)), self._changes, _when, _when)
        pairs.pair(
            lambda each: each.reference or None,
            lambda each: each.event.reference.removeprefix(Origin.ACTIVITY),
        )
        # two strikes that are assigned in one night deliver the same units for other cash
        pairs.pair(
            lambda each: (each.symbol, each.units, each.cash) if each.units else None,
            lambda each: (each.instrument.symbol, each.event.quantity_change, each.event.cash_change),
            most_days=_MOVE_DAYS,
        )
        pairs.pair(
            lambda each: (each.symbol, each.units) if each.units else None,
            lambda each: (each.instrument.symbol, each.event.quantity_change),
            most_days=_MOVE_DAYS,
        )
        charges = [each for each in pairs.venue if each.charges_day is not None]
        pairs.venue = [each for each in pairs.venue if each.charges_day is None]
        _pair_payments(pairs, has_symbol=True)
        _pair_payments(pairs, has_symbol=False)
        alone = [each for each in pairs.books if self._is_in(each)]
        self._found.outside += len(pairs.books) - len(alone)
        for ours, theirs in (
            *pairs.found,
            *(([each], list[JournalChange]()) for each in pairs.venue),
            *((list[Movement](), [each]) for each in alone),
        ):
            self._found.lines.append(self._movement_line(ours, theirs))
        if self._statement.fees_apart:
            self._compare_fees(charges)

    def _movement_line(self, some: Sequence[Movement], others: Sequence[JournalChange]) -> Line:
        mine, theirs = _sum(each.cash for each in some), _sum(each.event.cash_change for each in others)
        currency = some[0].currency if some else others[0].instrument.currency
        units = _sum(each.units for each in some) - _sum(each.event.quantity_change for each in others)
        apart = {"units": units, "cash": _beyond(mine - theirs, self._tolerances.of(currency))}
        differences = {name: value for name, value in apart.items() if value} if some and others else {}
        names = [f"{each.kind} {each.symbol}" for each in some]
        names += [f"{each.event.cause} {each.instrument.symbol}" for each in others]
        unlike: dict[str, str] = {}
        if some and others:
            _compare_kinds(unlike, some[0], others[0])
        return Line(
            kind="movement",
            verdict=_verdict(bool(some), bool(others), differences, unlike),
            what=names[0].strip(),
            ts_ns=_first_ns(some, others),
            currency=currency,
            broker=", ".join(each.reference or each.kind for each in some),
            journal=", ".join(each.event.reference for each in others),
            broker_cash=mine,
            journal_cash=theirs,
            differences=differences,
            unlike=unlike,
        )

    def _compare_fees(self, charges: Sequence[Movement]) -> None:
        """Compare the fees of each day's trades: the broker charges them by the day, perhaps a later one."""
        days: dict[tuple[date, str], tuple[list[Movement], list[JournalFill]]] = {}
        for charge in charges:
            assert charge.charges_day is not None
            days.setdefault((charge.charges_day, charge.currency), ([], []))[0].append(charge)
        for fill in self._fills:
            key = to_new_york(fill.ts_ns).date(), fill.instrument.currency
            if fill.fee and (self._is_in(fill) or key in days):
                days.setdefault(key, ([], []))[1].append(fill)
        corrected = {Origin.fee_day(each.reference): each.cash_change for each in self._day_fees}
        for (day, currency), (some, others) in days.items():
            mine = _sum(each.cash for each in some)
            theirs = corrected.get(str(day), ZERO) - _sum(each.fee for each in others)
            apart = _beyond(mine - theirs, self._tolerances.of(currency))
            differences = {"fee": -apart} if apart and some and others else {}
            self._found.lines.append(
                Line(
                    kind="fees",
                    verdict=_verdict(bool(some), bool(others), differences),
                    what=f"fees of trades of {day}",
                    ts_ns=_first_ns(some, others),
                    currency=currency,
                    broker=f"{len(some)} lines",
                    journal=f"{len(others)} fills",
                    broker_cash=mine,
                    journal_cash=theirs,
                    differences=differences,
                )
            )

    # what the statement ends with -------------------------------------------------------------------

    def _compare_positions(self) -> None:
        stated = self._statement.positions
        if not stated and not self._statement.has_all_positions:
            self._found.notes.append("positions at the end are not compared: the statement states none")
            return
        held: dict[str, Decimal] = defaultdict(Decimal)
        begun: dict[str, int] = {}
        for entry in sorted(self._journal.held.values(), key=lambda each: each.ts_ns):
            if entry.instrument.symbol not in begun:  # later runs begin with what earlier ones left
                begun[entry.instrument.symbol] = entry.ts_ns
                held[entry.instrument.symbol] = entry.units
        for symbol, ts_ns, units in self._moves():
            if begun.get(symbol, 0) <= ts_ns < self._span.end_ns:
                held[symbol] += units
        symbols = {*stated, *held} if self._statement.has_all_positions else {*stated}
        for symbol in sorted(symbols):
            mine, theirs = stated.get(symbol, ZERO), held.get(symbol, ZERO)
            if mine or theirs:
                differences = {"units": mine - theirs} if mine != theirs else {}
                self._list_end("position", symbol, mine, theirs, differences)

    def _moves(self) -> list[tuple[str, int, Decimal]]:
        """Return what changed holdings: symbol, time, signed units."""
        found = [(each.instrument.symbol, each.ts_ns, each.units) for each in self._journal.fills.values()]
        for instrument, event, source in self._journal.changes.values():
            found.append((instrument.symbol, event.ts_event_ns, event.quantity_change))
            if source is not None and event.source_change:
                found.append((source.symbol, event.ts_event_ns, event.source_change))
        return found

    def _compare_cash(self) -> None:
        if not self._statement.cash:
            self._found.notes.append("cash at the end is not compared: the statement states none")
            return
        if self._journal.cash is None:
            text = "cash at the end is not compared: the first run has no account of what it began with"
            self._found.notes.append(text)
            return
        if any(each.instrument.is_future for each in self._fills):
            self._found.notes.append("cash at the end is not compared: the desk books futures at their value")
            return
        began_ns = min((each.ts_ns for each in self._journal.held.values()), default=0)
        cash: dict[str, Decimal] = defaultdict(Decimal)
        cash[self._journal.currency] = self._journal.cash
        for fill in self._journal.fills.values():
            if began_ns <= fill.ts_ns < self._span.end_ns:
                cash[fill.instrument.currency] += fill.instrument.cash_flow(fill.units, fill.price) - fill.fee
        for instrument, event, _ in self._journal.changes.values():
            if began_ns <= event.ts_event_ns < self._span.end_ns:
                cash[instrument.currency] += event.cash_change
        for name, mine in self._statement.cash.items():
            apart = _beyond(mine - cash[name], self._tolerances.of(name))
            self._list_end("cash", name, mine, cash[name], {"cash": apart} if apart else {})

    def _list_end(
        self, kind: str, what: str, mine: Decimal, theirs: Decimal, differences: dict[str, Decimal]
    ) -> None:
        self._found.lines.append(
            Line(
                kind=kind,
                verdict=LineVerdict.DIFFERS if differences else LineVerdict.AGREES,
                what=what,
                ts_ns=self._span.end_ns,
                currency=what if kind == "cash" else self._currency_of(what),
                broker=f"{mine:f}",
                journal=f"{theirs:f}",
                differences=differences,
            )
        )

    def _currency_of(self, symbol: str) -> str:
        instrument = self._instrument(symbol)
        return "" if instrument is None else instrument.currency

    def _is_in(self, line: _AnyLine) -> bool:
        return self._span.has(_when(line))


def _first_ns(some: Sequence[_AnyLine], others: Sequence[_AnyLine]) -> int:
    """Return the time of a pair: the broker's where it has one."""
    return _when(some[0] if some else others[0])


def _venue_order(fill: JournalFill) -> str:
    """Return the venue's id of an order, of a combo's leg that of the whole; else the desk's own."""
    return fill.venue_order.partition("/")[0] or fill.order


def _is_day_fees(change: JournalChange) -> bool:
    """Return whether it is what a venue charged otherwise for the trades of a day."""
    return change.event.cause is ChangeCause.FEE and bool(Origin.fee_day(change.event.reference))


def _note_unlike(unlike: dict[str, str], name: str, mine: str, theirs: str) -> None:
    if mine != theirs:
        unlike[name] = f"{mine}, journal {theirs}"


def _compare_kinds(unlike: dict[str, str], mine: Movement, theirs: JournalChange) -> None:
    """Note where a line of the broker is of another instrument, or another thing, than the journal's.

    A broker may pay, and charge for, the account as a whole; what ends an option for nothing may be called
    a settlement at 0. A word that no reader knows agrees with nothing.
    """
    event, cause = theirs.event, "unknown" if mine.cause is None else mine.cause.value
    if mine.symbol:
        _note_unlike(unlike, "contract", mine.symbol, theirs.instrument.symbol)
    _note_unlike(unlike, "currency", mine.currency, theirs.instrument.currency)
    if not {mine.cause, event.cause} <= ENDED:
        _note_unlike(unlike, "cause", cause, event.cause.value)


def _moves(change: JournalChange) -> bool:
    """Return whether a booking moves units or cash, and is neither a trade nor a daily settlement."""
    event = change.event
    return event.cause not in _NO_MOVEMENTS and bool(event.quantity_change or event.cash_change)


def _as_fill(change: JournalChange) -> JournalFill:
    """Return an execution that is not the desk's own as one of its lines."""
    instrument, event, _ = change
    fee = instrument.cash_flow(event.quantity_change, event.price) - event.cash_change
    name = event.reference.removeprefix(Origin.FOREIGN_FILL)
    return JournalFill(instrument, "", name, event.ts_event_ns, event.quantity_change, event.price, fee)


def _named(symbol: str) -> Instrument | None:
    """Return the instrument that a symbol names; None where it is no name of the desk's."""
    for make in (deribit_option, inverse_perpetual, instrument_named):
        try:
            return make(symbol) if NAME.fullmatch(symbol) else None
        except (ArgumentError, DataError):
            continue
    return None


def _pair_payments(pairs: Matching[Movement, JournalChange], *, has_symbol: bool) -> None:
    """Pair what moves cash alone: the same amount first, then the same day.

    Without a symbol at the broker, the desk has booked it at whatever instrument there is.
    """

    def mine(each: Movement) -> tuple[Hashable, ...] | None:
        is_cash = each.cause is not None and not each.units and bool(each.symbol) is has_symbol
        return (each.symbol, each.cause) if is_cash else None

    def theirs(each: JournalChange) -> tuple[Hashable, ...]:
        return each.instrument.symbol if has_symbol else "", each.event.cause

    pairs.pair(
        lambda each: (mine(each), each.cash),
        lambda each: (theirs(each), each.event.cash_change),
        most_days=_PAYMENT_DAYS,
    )
    pairs.pair(mine, theirs, most_days=1)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


def _beyond(apart: Decimal, most: Decimal) -> Decimal:
    """Return a difference, 0 where it counts as none."""
    return apart if abs(apart) > most else ZERO


def _verdict(
    has_broker: bool,
    has_journal: bool,
    differences: Mapping[str, Decimal],
    unlike: Mapping[str, str] | None = None,
) -> LineVerdict:
    if not has_broker:
        return LineVerdict.JOURNAL_ONLY
    if not has_journal:
        return LineVerdict.BROKER_ONLY
    return LineVerdict.DIFFERS if differences or unlike else LineVerdict.AGREES
