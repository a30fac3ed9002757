"""The rows of a run from its journal; making them again gives the same rows, and nothing else is needed."""

from array import array
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from itertools import count, islice, repeat
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection, insert, select, update

from scalpdesk.core.errors import InvariantError, JournalError
from scalpdesk.core.events import (
    AccountSnapshot,
    Event,
    FillBusted,
    OrderEvent,
    OrderFilled,
    PositionChanged,
    is_order_event,
)
from scalpdesk.core.intents import CancelOrder, Decision, Mark, MultiLegOrder, Output, SubmitOrder
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.postings import of_change, of_fill, of_snapshot
from scalpdesk.journal.cut import cut_short
from scalpdesk.journal.reader import JournalReader, sorted_dirs
from scalpdesk.orders.order import Order
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.explain import BASIS, PARTS
from scalpdesk.portfolio.positions import Position, PositionManager
from scalpdesk.records.scalps import ScalpProjection
from scalpdesk.records.store import Store, delete_run, load_run
from scalpdesk.records.tables import (
    Base,
    DecisionRow,
    FillRow,
    MarkRow,
    OrderRow,
    PositionRow,
    RunRow,
    SessionRow,
    TradeRow,
)
from scalpdesk.report.fold import RunFold, shown
from scalpdesk.report.run_report import tables_of
from scalpdesk.report.summary import held_by_symbol
from scalpdesk.volatility.variance_time import clock_of

_BATCH_ROWS = 2000


class Projection:
    """Reads a journal from beginning to end and writes its rows.

    The connection is inside a transaction.

    Attributes
    ----------
    header
        Description of the run.
    fold
        Of the whole journal, without a desk: prices and books of strategies are not known to it.
    """

    def __init__(self, reader: JournalReader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection
        self.header = header = reader.header
        self._run_id = header.run_id
        self._instruments = Instruments(header.instruments)
        self._manager = OrderManager(self._run_id)
        self.fold = RunFold(
            self._instruments,
            self._manager,
            clock=clock_of(header.data),
            first_day=header.sessions[0].day if header.sessions else None,
        )
        self._book = PositionManager(self._instruments)
        underlying = _text(header.data.get("underlying"))
        self._scalps = ScalpProjection(self._instruments, header.venue, self._run_id, underlying)
        self._event_numbers = array("q")
        """Position of the event that caused each decision among the run's events, from 1."""
        self._first_ns: int | None = None
        self._statistics: dict[str, Any] | None = None
        """Of the sessions, once the journal was walked."""

    def run(self, scalp_ids: Mapping[str, int]) -> None:
        """Walk the journal; all rows but the run's own are in the database afterwards.

        ``scalp_ids`` are those that its scalps have had, by signal.
        """
        for events, outputs in self._reader.steps():
            if self._first_ns is None:
                self._first_ns = events[0].ts_recv_ns
            for event in events:
                self._take(event)
            for output in outputs:
                self._on_output(output, events[-1].ts_recv_ns)
        sessions, trades, self._statistics = tables_of(self.header, self.fold)
        fold, hours = self.fold, self.fold.sums.hours()
        own_hours = [_json(hours.get(each.session, {})) for each in sessions]
        self._write(DecisionRow, fold.decisions, number=count(1), event_number=self._event_numbers)
        self._write(MarkRow, fold.marks, number=count(1))
        self._write(OrderRow, fold.orders)
        self._write(FillRow, fold.fills)
        self._insert(PositionRow, map(self._position, self._book.positions.values()))
        self._write(SessionRow, sessions, hours=own_hours)
        self._write(TradeRow, trades)
        self._scalps.write(self._connection, scalp_ids)

    def _write(self, table: type[Base], structs: Iterable[msgspec.Struct], **columns: Iterable[Any]) -> None:
        """Insert a row for each struct; ``columns`` bring the values that it does not have."""
        more = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=False))
        beside = more if columns else repeat({})
        self._insert(table, (_row(table, each) | own for each, own in zip(structs, beside, strict=False)))

    def _insert(self, table: type[Base], rows: Iterable[dict[str, Any]]) -> None:
        named = ({"run_id": self._run_id} | row for row in rows)
        while batch := list(islice(named, _BATCH_ROWS)):
            self._connection.execute(insert(table), batch)

    def run_row(self) -> dict[str, Any]:
        """Return the run's own row, with the figures gathered so far."""
        header, fold = self.header, self.fold
        data = header.data
        nav_change, parts = fold.sums.total()
        recovered = self._reader.recovered
        return {
            "run_id": header.run_id,
            "strategy": header.strategy,
            "venue": header.venue,
            "mode": header.mode,
            "build": header.build,
            "config_hash": header.config_hash,
            "seed": header.seed,
            "started_ns": header.started_ns,
            "data_name": _text(data.get("name")),
            "data_kind": _kind_of(data),
            "session": _text(data.get("session")),
            "underlying": _text(data.get("underlying")),
            **{name: _amount(data.get(name)) for name in ("open", "high", "low", "close")},
            "first_event_ns": self._first_ns,
            "last_event_ns": fold.last_ns,
            "events": self._reader.passed,
            "decisions": len(fold.decisions),
            "orders": len(fold.orders),
            "fills": fold.fill_count,
            "hedges": fold.taken["hedge"],
            "nav_change": nav_change,
            **{f"pnl_{name}": amount for name, amount in _in_columns(parts).items()},
            "end_positions": held_by_symbol(self._book),
            "decision_hash": self._reader.decisions.hex(),
            "sealed": self._reader.sealed,
            "recovered": None if recovered is None else str(recovered),
            "journal_digest": self._reader.end.digest.hex(),
            "config": _json(header.config),
            "data": _json(data),
            "summary": _json(self._reader.summary or self._unended()),
        }

    def _unended(self) -> dict[str, Any]:
        """Return the mark of a backtest that was cut short; of other runs what their sessions are so far."""
        reader = self._reader
        cut = cut_short(reader.run_dir, self.header, self.fold.last_ns, sealed=reader.sealed)
        if cut is not None:
            return {"verdict": str(cut), "cut": msgspec.to_builtins(cut)}
        return {} if self._statistics is None else {"performance": self._statistics}

    def _take(self, event: Event) -> None:
        """Let the orders and the book that are rebuilt here take an event, then the fold."""
        if is_order_event(event):
            self._on_order_event(event)
        elif isinstance(event, PositionChanged):
            if not self._book.already_applied(event.reference):
                self._book.apply(of_change(self._instruments[event.instrument_id], event))
                self._scalps.on_position_changed(event)
        elif isinstance(event, AccountSnapshot):
            for posting in of_snapshot(event):
                if not self._book.already_applied(posting.reference):
                    self._book.apply(posting)
        self.fold.take(event)

    def _on_output(self, output: Output, now_ns: int) -> None:
        if isinstance(output, Decision):
            self._scalps.on_decision(output)
            self._event_numbers.append(self._reader.passed)
        elif isinstance(output, Mark):
            self._scalps.on_mark(output.spot)
        elif isinstance(output, SubmitOrder | MultiLegOrder):
            self._manager.restore(output, now_ns)
        elif isinstance(output, CancelOrder):
            self._manager.cancel(output.client_order_id)
        self.fold.note(output, now_ns)

    def _on_order_event(self, event: OrderEvent) -> None:
        order = self._manager.orders.get(event.client_order_id)
        if isinstance(event, OrderFilled | FillBusted):
            known = self.fold.fill_of(event.client_order_id, event.execution_id)
            if isinstance(event, OrderFilled):
                if known is None and order is not None:
                    self._on_fill(event, order)
            elif known is not None and not known.busted:
                self._on_bust(event, order)
        if order is None:
            return
        try:
            if isinstance(event, OrderFilled):
                self._manager.fill(order, event)
            else:
                self._manager.apply(event)
        except InvariantError as error:
            # The engine stopped on this very event; the row says why.
            order.reason = error.what

    def _on_fill(self, event: OrderFilled, order: Order) -> None:
        command = order.submitted
        signed, reference = (
            event.quantity * command.side.sign,
            f"{event.client_order_id}/{event.execution_id}",
        )
        number, purpose = command.instrument_id, command.purpose
        terms = number, signed, event.price, event.fee, purpose, reference, event.ts_recv_ns
        self._book.apply(of_fill(self._instruments[number], *terms))
        self._scalps.on_fill(event, command)

    def _on_bust(self, event: FillBusted, order: Order | None) -> None:
        self._scalps.on_bust(event.client_order_id, event.execution_id)
        if order is not None:
            self._book.take_back(f"{event.client_order_id}/{event.execution_id}")

    def _position(self, position: Position) -> dict[str, Any]:
        instrument = position.instrument
        return {
            "symbol": instrument.symbol,
            "instrument": type(instrument).__name__,
            "multiplier": position.multiplier,
            "quantity": position.quantity,
            "average_price": shown(position.average_price),
            "realized": shown(position.realized),
            "fees": position.fees,
        }


def _row(table: type[Base], struct: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as a row: what is no plain value is JSON, a figure that is not finite is NULL."""
    row = {name: getattr(struct, name) for name in _field_columns(table, type(struct))}
    for name, value in row.items():
        if isinstance(value, float) and not isfinite(value):
            row[name] = None
        elif isinstance(value, dict | list | tuple | msgspec.Struct):
            row[name] = _json(value)
    return row


@cache
def _field_columns(table: type[Base], kind: type[msgspec.Struct]) -> list[str]:
    """Return the fields of a struct that a table has a column for."""
    return [name for name in kind.__struct_fields__ if name in table.__table__.columns]


def _in_columns(parts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return parts of a P&L by column: one without a column of its own counts as what is not explained."""
    found = dict.fromkeys((*PARTS, BASIS), ZERO)
    for name, amount in parts.items():
        found[name if name in found else "residual"] += amount
    return found


def _kind_of(data: Mapping[str, Any]) -> str | None:
    """Return the kind of a run's market, with the quality of its quotes where they have faults."""
    kind = _text(data.get("kind"))
    return f"{kind}, quality real" if data.get("quality") == "real" else kind


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _amount(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _json(value: Any) -> Any:
    """Return a document that every database's JSON takes: numbers that are not finite become text."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, msgspec.Struct):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): _json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return value


def project_journal(run_dir: Path, store: Store) -> Projection:
    """Make a run's rows from its journal and replace the old rows with them.

    All of it happens in one transaction: another reader sees the old rows or the new rows.

    Raises JournalError when the journal is absent or damaged; the rows stay as they were.
    """
    reader = JournalReader(run_dir)
    run_id = reader.header.run_id
    with store.engine.connect().execution_options(writes=True) as connection, connection.begin():
        projection = Projection(reader, connection)
        scalp_ids = delete_run(connection, run_id)
        # SQLite and PostgreSQL both want the run before the rows that name it; its figures follow.
        connection.execute(insert(RunRow), [projection.run_row()])
        projection.run(scalp_ids)
        connection.execute(update(RunRow).where(RunRow.run_id == run_id).values(projection.run_row()))
    return projection


def project_if_new(run_dir: Path, store: Store) -> RunRow:
    """Return a run's own row, projected first where the store does not hold all of the run.

    Raises JournalError when the journal is absent or damaged.
    """
    with store.session() as session:
        known = session.get(RunRow, run_dir.name)
    # rows of a run that goes on are those of the last request; without a digest, of tables of before
    if known is None or not known.sealed or not known.journal_digest:
        return load_run(store, project_journal(run_dir, store).header.run_id)
    return known


def project_missing(runs_dir: Path, store: Store) -> dict[str, str]:
    """Project every journal under ``runs_dir`` that the store does not hold or holds unfinished.

    Returns what could not be read: folder name to the refusal. Damage in one run hides no other.
    """
    with store.session() as session:
        rows = session.execute(select(RunRow.run_id, RunRow.sealed, RunRow.journal_digest))
        is_whole = {row.run_id: row.sealed and bool(row.journal_digest) for row in rows}
    folders, unreadable = sorted_dirs(runs_dir)
    refused = {folder.name: why for folder, why in unreadable.items()}
    for folder in folders:
        if is_whole.get(folder.name):
            continue
        try:
            project_journal(folder, store)
        except JournalError as error:
            refused[folder.name] = error.render()
    return refused
