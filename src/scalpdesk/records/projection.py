"""The rows of a run from its journal; making them again gives the same rows, and nothing else is needed."""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, insert, select, update

from scalpdesk.core.errors import InvariantError, JournalError
from scalpdesk.core.events import (
    AccountSnapshot,
    CancelRejected,
    DividendEvent,
    FillBusted,
    OrderEvent,
    OrderFilled,
    PositionChanged,
)
from scalpdesk.core.intents import MARK_STATE, CancelOrder, Decision, Mark, MultiLegOrder, Output, SubmitOrder
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.postings import Posting, of_change, of_fill, of_snapshot
from scalpdesk.journal.cut import cut_short
from scalpdesk.journal.reader import JournalReader, sorted_dirs
from scalpdesk.orders.order import Order
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.portfolio.positions import PositionManager
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
)

_BATCH_ROWS = 2000
_FLOAT_MARKS = (*MARK_STATE, "gamma_rent", "theta_paid")


class _Rows:
    """Rows of one table on their way in, a batch at a time."""

    def __init__(self, connection: Connection, table: type[Base]) -> None:
        self._connection = connection
        self._table = table
        self._waiting: list[dict[str, Any]] = []
        self.count = 0

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        self.count += 1
        if len(self._waiting) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._connection.execute(insert(self._table), self._waiting)
            self._waiting = []


class Projection:
    """Reads a journal from beginning to end and writes its rows.

    The connection is inside a transaction; rows go in as they come, a batch at a time.

    Attributes
    ----------
    header
        Description of the run.
    holding_changes
        What moved units or cash without an order, each once; first what the run began with.
    dividends
        As journaled.
    owners
        Strategy by client order id, of the orders that name one: several share the desk.
    """

    def __init__(self, reader: JournalReader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection
        self.header = reader.header
        self.holding_changes: list[Posting] = []
        self.dividends: list[DividendEvent] = []
        self.owners: dict[str, str] = {}
        self._run_id = reader.header.run_id
        self._instruments = Instruments(reader.header.instruments)
        self._decisions = _Rows(connection, DecisionRow)
        self._marks = _Rows(connection, MarkRow)
        self._orders = _Rows(connection, OrderRow)
        self._fills = _Rows(connection, FillRow)
        self._positions = _Rows(connection, PositionRow)
        self._manager = OrderManager(self._run_id)
        self._book = PositionManager(self._instruments)
        self._history: dict[str, list[list[Any]]] = {}
        self._updated_ns: dict[str, int] = {}
        self._executions: dict[tuple[str, str], dict[str, Any]] = {}
        header = reader.header
        underlying = _text(header.data.get("underlying"))
        self._scalps = ScalpProjection(self._instruments, header.venue, self._run_id, underlying)
        self._events = 0
        self._span_ns: tuple[int | None, int | None] = (None, None)
        self._kinds: Counter[str] = Counter()
        self._parts: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        self._nav_change = ZERO

    def run(self, scalp_ids: Mapping[str, int]) -> None:
        """Walk the journal; all rows but the run's own are in the database afterwards.

        ``scalp_ids`` are those that its scalps have had, by signal.
        """
        take_event: dict[type, Callable[[Any], None]] = {
            **dict.fromkeys(get_args(OrderEvent), self._on_order_event),
            PositionChanged: self._on_position_changed,
            DividendEvent: self.dividends.append,
            AccountSnapshot: self._on_snapshot,
        }
        for events, outputs in self._reader.steps():
            for event in events:
                take = take_event.get(type(event))
                if take is not None:
                    take(event)
            self._events = self._reader.passed
            first_ns, now_ns = self._span_ns[0], events[-1].ts_recv_ns
            self._span_ns = (events[0].ts_recv_ns if first_ns is None else first_ns, now_ns)
            for output in outputs:
                self._on_output(output, now_ns)
        self._add_orders()
        self._add_positions()
        for execution in self._executions.values():
            self._fills.add(execution)
        for rows in (self._decisions, self._marks, self._orders, self._fills, self._positions):
            rows.flush()
        self._scalps.write(self._connection, scalp_ids)

    def run_row(self) -> dict[str, Any]:
        """Return the run's own row, with the figures gathered so far."""
        header = self._reader.header
        data = header.data
        held = {
            self._instruments[position.instrument_id].symbol: str(position.quantity)
            for position in self._book.held()
        }
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
            "first_event_ns": self._span_ns[0],
            "last_event_ns": self._span_ns[1],
            "events": self._events,
            "decisions": self._decisions.count,
            "orders": self._orders.count,
            "fills": self._manager.fill_count(),
            "hedges": self._kinds["hedge"],
            "nav_change": self._nav_change,
            **{f"pnl_{name}": self._parts[name] for name in PARTS},
            "end_positions": held,
            "decision_hash": self._reader.decisions.hex(),
            "sealed": self._reader.sealed,
            "recovered": None if recovered is None else str(recovered),
            "journal_digest": self._reader.end.digest.hex(),
            "config": _json(header.config),
            "data": _json(data),
            "summary": _json(self._reader.summary or self._cut()),
        }

    def _cut(self) -> dict[str, Any]:
        """Return the mark of a backtest that was cut short; empty of other runs."""
        reader = self._reader
        cut = cut_short(reader.run_dir, self.header, self._span_ns[1], sealed=reader.sealed)
        return {} if cut is None else {"verdict": str(cut), "cut": msgspec.to_builtins(cut)}

    def _on_output(self, output: Output, now_ns: int) -> None:
        if isinstance(output, Decision):
            self._on_decision(output)
        elif isinstance(output, Mark):
            self._on_mark(output)
        elif isinstance(output, SubmitOrder | MultiLegOrder):
            for order in self._manager.restore(output, now_ns):
                leg_of = f", leg of {order.parent_id}" if order.parent_id else ""
                self._note(order, now_ns, order.submitted.purpose.value + leg_of)
                if order.submitted.owner:
                    self.owners[order.client_order_id] = order.submitted.owner
        elif isinstance(output, CancelOrder) and self._manager.cancel(output.client_order_id) is not None:
            for order in self._manager.legs_with(self._manager.orders[output.client_order_id]):
                self._note(order, now_ns, "cancel sent")

    def _on_decision(self, decision: Decision) -> None:
        if decision.is_counted:
            self._kinds[decision.kind] += 1
        self._scalps.on_decision(decision)
        self._decisions.add(
            {
                "run_id": self._run_id,
                "number": self._decisions.count + 1,
                "event_number": self._events,
                "ts_ns": decision.ts_ns,
                "kind": decision.kind,
                "taken": decision.taken,
                "reasons": list(decision.reasons),
                "facts": _json(decision.facts),
                "client_order_ids": list(decision.client_order_ids),
            }
        )

    def _on_mark(self, mark: Mark) -> None:
        self._scalps.on_mark(mark.spot)
        self._nav_change += mark.nav_change
        for name, amount in mark.parts.items():
            # A part without a column of its own counts as what is not explained.
            column = name if name in self._parts else "residual"
            self._parts[column] += amount
        self._marks.add(
            {
                "run_id": self._run_id,
                "number": self._marks.count + 1,
                "ts_ns": mark.ts_ns,
                "nav": mark.nav,
                "nav_change": mark.nav_change,
                "parts": {name: str(amount) for name, amount in mark.parts.items()},
                **{name: _finite(getattr(mark, name)) for name in _FLOAT_MARKS},
            }
        )

    def _on_order_event(self, event: OrderEvent) -> None:
        order = self._manager.orders.get(event.client_order_id)
        try:
            if isinstance(event, OrderFilled):
                self._on_fill(event, order)
                if order is not None:
                    self._manager.fill(order, event)
            else:
                if isinstance(event, FillBusted):
                    self._on_bust(event, order)
                if order is not None:
                    self._manager.apply(event)
        except InvariantError as error:
            # The engine stopped on this very event; the row says why.
            if order is not None:
                order.reason = error.what
        if order is not None:
            concerned = self._manager.legs_with(order) if isinstance(event, CancelRejected) else (order,)
            for each in concerned:
                self._note(each, event.ts_recv_ns, getattr(event, "reason", ""))

    def _on_fill(self, event: OrderFilled, order: Order | None) -> None:
        key = (event.client_order_id, event.execution_id)
        if key in self._executions:
            return
        command = None if order is None else order.submitted
        self._executions[key] = {
            "run_id": self._run_id,
            "number": len(self._executions) + 1,
            "client_order_id": event.client_order_id,
            "execution_id": event.execution_id,
            "ts_event_ns": event.ts_event_ns,
            "ts_recv_ns": event.ts_recv_ns,
            "symbol": None if command is None else self._instruments[command.instrument_id].symbol,
            "side": None if command is None else command.side.value,
            "purpose": None if command is None else command.purpose.value,
            "quantity": event.quantity,
            "price": event.price,
            "fee": event.fee,
            "busted": False,
        }
        if command is not None:
            signed = event.quantity * command.side.sign
            number, purpose = command.instrument_id, command.purpose
            terms = number, signed, event.price, event.fee, purpose, "/".join(key), event.ts_recv_ns
            self._book.apply(of_fill(self._instruments[number], *terms))
            self._scalps.on_fill(event, command)

    def _on_bust(self, event: FillBusted, order: Order | None) -> None:
        row = self._executions.get((event.client_order_id, event.execution_id))
        if row is None or row["busted"]:
            return
        row["busted"] = True
        self._scalps.on_bust(event.client_order_id, event.execution_id)
        if order is not None:
            self._book.take_back(f"{event.client_order_id}/{event.execution_id}")

    def _on_position_changed(self, event: PositionChanged) -> None:
        if not self._book.already_applied(event.reference):
            self.holding_changes.append(of_change(self._instruments[event.instrument_id], event))
            self._book.apply(self.holding_changes[-1])
            self._scalps.on_position_changed(event)

    def _on_snapshot(self, event: AccountSnapshot) -> None:
        for posting in of_snapshot(event):
            if not self._book.already_applied(posting.reference):
                self._book.apply(posting)
                self.holding_changes.append(posting)

    def _note(self, order: Order, now_ns: int, reason: str) -> None:
        self._updated_ns[order.client_order_id] = now_ns
        history = self._history.setdefault(order.client_order_id, [])
        if not history or history[-1][1] != order.state.value:
            history.append([now_ns, order.state.value, reason])

    def _add_orders(self) -> None:
        for number, order in enumerate(self._manager.orders.values(), start=1):
            command = order.submitted
            self._orders.add(
                {
                    "run_id": self._run_id,
                    "client_order_id": order.client_order_id,
                    "number": number,
                    "created_ns": order.created_ns,
                    "updated_ns": self._updated_ns[order.client_order_id],
                    "symbol": self._instruments[command.instrument_id].symbol,
                    "side": command.side.value,
                    "quantity": command.quantity,
                    "order_type": command.type_name,
                    "limit_price": command.limit_price,
                    "trigger_price": command.trigger_price,
                    "time_in_force": command.time_in_force.value,
                    "purpose": command.purpose.value,
                    "venue_order_id": order.venue_order_id or None,
                    "state": order.state.value,
                    "filled_quantity": order.filled,
                    "average_price": _shown(order.average_price) if order.filled else None,
                    "reason": order.reason or None,
                    "history": self._history[order.client_order_id],
                }
            )

    def _add_positions(self) -> None:
        for position in self._book.positions.values():
            instrument = self._instruments[position.instrument_id]
            self._positions.add(
                {
                    "run_id": self._run_id,
                    "symbol": instrument.symbol,
                    "instrument": type(instrument).__name__,
                    "multiplier": position.multiplier,
                    "quantity": position.quantity,
                    "average_price": _shown(position.average_price),
                    "realized": _shown(position.realized),
                    "fees": position.fees,
                }
            )


def _shown(value: Decimal) -> Decimal:
    """Cut what a division left behind the tenth decimal; what is exact up to there stays as it is."""
    exponent = value.as_tuple().exponent
    return round(value, 10) if isinstance(exponent, int) and exponent < -10 else value


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


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
    if isinstance(value, dict):
        return {str(key): _json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return value


def project_journal(run_dir: Path, store: Store) -> Projection:
    """Make a run's rows from its journal and replace the old rows with them.

    All of it happens in one transaction: another reader sees the old rows or the new rows.

    Raises
    ------
    JournalError
        When the journal is absent or damaged; the rows stay as they were.
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

    Raises
    ------
    JournalError
        When the journal is absent or damaged.
    """
    with store.session() as session:
        known = session.get(RunRow, run_dir.name)
    if known is None or not known.sealed:  # rows of a run that goes on are those of the last request
        return load_run(store, project_journal(run_dir, store).header.run_id)
    return known


def project_missing(runs_dir: Path, store: Store) -> dict[str, str]:
    """Project every journal under ``runs_dir`` that the store does not hold or holds unfinished.

    Returns
    -------
    dict
        What could not be read: folder name to the refusal. Damage in one run hides no other.
    """
    with store.session() as session:
        rows = session.execute(select(RunRow.run_id, RunRow.sealed))
        is_sealed = {row.run_id: row.sealed for row in rows}
    folders, unreadable = sorted_dirs(runs_dir)
    refused = {folder.name: why for folder, why in unreadable.items()}
    for folder in folders:
        if is_sealed.get(folder.name):
            continue
        try:
            project_journal(folder, store)
        except JournalError as error:
            refused[folder.name] = error.render()
    return refused
