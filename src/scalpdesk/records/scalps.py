"""Options scalps of a run from its journal, and the questions that are asked of all of them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, case, func, insert, select
from sqlalchemy.orm import InstrumentedAttribute

from scalpdesk.core.enums import ENDED, EXERCISED, DecisionKind
from scalpdesk.core.events import OrderFilled, PositionChanged
from scalpdesk.core.intents import Decision, Side, SubmitOrder
from scalpdesk.core.units import ZERO, InstrumentId, exact
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import from_ns, to_new_york
from scalpdesk.records.store import Store
from scalpdesk.records.tables import OptionsScalpRecord, ScalpOutcomeRow
from scalpdesk.signals.conviction import conviction_level

_SCALP_ID = "scalp_id"
"""Fact of each decision on a scalp."""
EXPIRED = ENDED | EXERCISED
_SHOWN_FACTS = (
    "conviction",
    "macro_bias",
    "volume_ratio",
    "iv_rank",
    "spot",
    "gamma",
    "contract_score",
    "contracts_planned",
    "points_alignment",
    "points_frames",
    "points_volume",
    "points_thickness",
    "points_body",
    "points_factor",
)
_FLAT_TO = 0.005
"""A result nearer to zero than half a cent is neither won nor lost."""


class _Execution(NamedTuple):
    quantity: Decimal
    price: Decimal
    fee: Decimal
    ts_ns: int


class _Scalp:
    """One scalp as the journal tells it."""

    def __init__(self, contract: OptionContract, decision: Decision) -> None:
        self.contract = contract
        """As it was bought."""
        self.held_as, self.units = contract, Decimal(1)
        """Contract that it is after corporate actions, and how many of it one bought has become."""
        self.facts = decision.facts
        self.decided_ns = decision.ts_ns
        owner = decision.facts.get("strategy")
        self.owner = owner if isinstance(owner, str) else None
        """Strategy whose orders they are; None before the first fill where it has the desk to itself."""
        self.order_ids: list[str] = []
        self.exit_reason = ""
        self.buys: dict[tuple[str, str], _Execution] = {}
        self.sells: dict[tuple[str, str], _Execution] = {}
        self.is_expired = False

    @property
    def held(self) -> Decimal:
        return _quantity(self.buys) - _quantity(self.sells)

    def sell(self, key: tuple[str, str], execution: _Execution) -> None:
        """Book a sale, in contracts and prices as it was bought."""
        factor = self.units * self.held_as.multiplier / self.contract.multiplier
        quantity, price = execution.quantity / self.units, execution.price * factor
        self.sells[key] = execution._replace(quantity=quantity, price=price)

    @property
    def span_ns(self) -> tuple[int, int]:
        """Instants of its first and last execution: where a purchase was taken back, the first is a sale."""
        stamps = [item.ts_ns for item in (*self.buys.values(), *self.sells.values())]
        return min(stamps), max(stamps)

    @property
    def fees(self) -> Decimal:
        return sum((item.fee for item in (*self.buys.values(), *self.sells.values())), ZERO)


class ScalpProjection:
    """Collects the scalps of a run while its journal is read."""

    def __init__(self, instruments: Instruments, broker: str, run_id: str, underlying: str | None) -> None:
        self._instruments = instruments
        self._broker = broker
        self._run_id = run_id
        self._underlying = underlying
        """The run's main one, whose price each mark shows."""
        self._exercised: list[tuple[_Scalp, str]] = []
        """Scalps and the reference of their exercise, until a mark tells what it is worth."""
        self._scalps: dict[str, _Scalp] = {}
        self._by_order: dict[str, _Scalp] = {}

    def on_decision(self, decision: Decision) -> None:
        """Take in a decision; one on no scalp changes nothing."""
        name = decision.facts.get(_SCALP_ID)
        if not isinstance(name, str):
            return
        scalp = self._scalps.get(name)
        if scalp is None:
            contract = self._contract(decision)
            if contract is None or decision.kind is not DecisionKind.ENTRY or not decision.taken:
                return
            scalp = self._scalps[name] = _Scalp(contract, decision)
        if decision.kind is DecisionKind.EXIT:
            scalp.exit_reason = str(decision.facts.get("exit_reason", "")) or scalp.exit_reason
        for client_order_id in decision.client_order_ids:
            self._by_order[client_order_id] = scalp
            scalp.order_ids.append(client_order_id)

    def _contract(self, decision: Decision) -> OptionContract | None:
        symbol = decision.facts.get("contract")
        if not isinstance(symbol, str) or symbol not in self._instruments:
            return None
        found = self._instruments[self._instruments.id_of(symbol)]
        return found if found.is_option else None

    def on_fill(self, event: OrderFilled, command: SubmitOrder) -> None:
        """Take in an execution of the desk's: of a scalp's order, or one that closes a scalp's contract."""
        scalp = self._by_order.get(event.client_order_id)
        if scalp is None and command.side is Side.SELL:
            scalp = self._open_in(command.instrument_id, command.owner)
        if scalp is None:
            return
        scalp.owner = command.owner
        key = event.client_order_id, event.execution_id
        done = _Execution(event.quantity, event.price, event.fee, event.ts_event_ns)
        if command.side is Side.BUY:
            scalp.buys[key] = done
        else:
            scalp.sell(key, done)

    def on_bust(self, client_order_id: str, execution_id: str) -> None:
        """Take an execution back."""
        for scalp in self._scalps.values():
            scalp.buys.pop((client_order_id, execution_id), None)
            scalp.sells.pop((client_order_id, execution_id), None)

    def on_position_changed(self, event: PositionChanged) -> None:
        """Take in an expiry, a close that the desk did not order, or new terms of the contract."""
        if event.source is not None:
            self._adjust(event, event.source)
            return
        scalp = self._open_in(event.instrument_id)
        if scalp is None or event.quantity_change >= 0:
            return
        gone = min(-event.quantity_change, scalp.held * scalp.units)
        scalp.sell(("", event.reference), _Execution(gone, event.price, ZERO, event.ts_event_ns))
        if event.cause in EXERCISED and scalp.held_as.underlying == self._underlying:
            self._exercised.append((scalp, event.reference))
        scalp.is_expired = event.cause in EXPIRED
        scalp.exit_reason = scalp.exit_reason or ("expired" if scalp.is_expired else str(event.cause))

    def _adjust(self, event: PositionChanged, source: InstrumentId) -> None:
        """Follow scalps of a contract into the one that a corporate action has made of it."""
        old, new = self._instruments[source], self._instruments[event.instrument_id]
        if not new.is_option or not event.source_change:
            return
        for scalp in self._scalps.values():
            if scalp.held_as == old and scalp.held > 0:
                scalp.held_as = new
                scalp.units *= event.quantity_change / -event.source_change

    def on_mark(self, spot: float) -> None:
        """Value what was exercised at what it pays at the spot: it is booked at nothing, for shares."""
        if not 0.0 < spot < inf:
            return
        for scalp, reference in self._exercised:
            strike = scalp.held_as.strike
            pays = exact(spot) - strike if scalp.held_as.is_call else strike - exact(spot)
            ended = scalp.sells["", reference]
            scalp.sell(
                ("", reference), ended._replace(quantity=ended.quantity * scalp.units, price=max(pays, ZERO))
            )
        self._exercised.clear()

    def _open_in(self, number: InstrumentId, owner: str | None = None) -> _Scalp | None:
        """Return the scalp that holds an instrument: of one strategy of the desk, or None for of any."""
        contract = self._instruments[number]
        held = (item for item in self._scalps.values() if item.held_as == contract and item.held > 0)
        return next((item for item in held if owner is None or item.owner == owner), None)

    def write(self, connection: Connection, ids: Mapping[str, int]) -> None:
        """Insert the rows of what was bought, inside the caller's transaction.

        A scalp whose signal is in ``ids`` keeps that id: rows that are made again keep their place in the
        history. They go in first, before the database gives ids to the others.
        """
        rows = [(self._row(name, scalp), scalp) for name, scalp in self._scalps.items() if scalp.buys]
        for row, scalp in sorted(rows, key=lambda item: item[0]["signal_id"] not in ids):
            if row["signal_id"] in ids:
                row["id"] = ids[row["signal_id"]]
            made = connection.execute(insert(OptionsScalpRecord).values(row))
            entry_ns, last_ns = scalp.span_ns
            local = to_new_york(entry_ns)
            conviction = scalp.facts.get("conviction")
            outcome = {
                "scalp_id": made.inserted_primary_key[0] if made.inserted_primary_key else None,
                "run_id": self._run_id,
                "ticker": row["ticker"],
                "session": local.date().isoformat(),
                "entry_hour": local.hour,
                "conviction": conviction if isinstance(conviction, int) else None,
                "hold_seconds": None if row["exit_time"] is None else (last_ns - entry_ns) / 1e9,
                "pnl": row["pnl"],
            }
            connection.execute(insert(ScalpOutcomeRow).values(outcome))

    def _row(self, name: str, scalp: _Scalp) -> dict[str, Any]:
        contract, facts = scalp.contract, scalp.facts
        bought = _quantity(scalp.buys)
        entry = _average(scalp.buys)
        is_over = scalp.held <= 0
        leave = _average(scalp.sells) if is_over else None
        pnl = None if leave is None else (leave - entry) * bought * contract.multiplier - scalp.fees
        about: dict[str, Any] = {key: facts[key] for key in _SHOWN_FACTS if key in facts}
        about |= {"run_id": self._run_id, "fees": str(scalp.fees), "order_ids": scalp.order_ids}
        option_type = "call" if contract.is_call else "put"
        return {
            "signal_id": name[:50],
            "ticker": contract.underlying,
            "option_symbol": contract.symbol,
            "option_type": option_type,
            "strike": float(contract.strike),
            "expiry": contract.expiry,
            "dte": int(facts.get("days_to_expiry", 0)),
            "direction": f"long_{option_type}",
            "contracts": int(bought),
            "entry_premium": float(entry),
            "exit_premium": None if leave is None else float(leave),
            "entry_delta": _number(facts.get("delta")),
            "entry_theta": _number(facts.get("theta_per_day")),
            "entry_iv": _number(facts.get("implied_vol")),
            "status": ("expired" if scalp.is_expired else "closed") if is_over else "open",
            "exit_reason": scalp.exit_reason[:50] or None if is_over else None,
            "pnl": None if pnl is None else float(pnl),
            "pnl_pct": None if leave is None else float(leave / entry - 1),
            "broker": self._broker[:20],
            "order_id": scalp.order_ids[0] if scalp.order_ids else None,
            "entry_time": _utc(scalp.span_ns[0]),
            "exit_time": _utc(scalp.span_ns[1]) if is_over else None,
            "metadata_json": json.dumps(about, sort_keys=True),
            "created_at": _utc(scalp.decided_ns),
        }


def _quantity(executions: dict[tuple[str, str], _Execution]) -> Decimal:
    return sum((item.quantity for item in executions.values()), ZERO)


def _average(executions: dict[tuple[str, str], _Execution]) -> Decimal:
    value = sum((item.quantity * item.price for item in executions.values()), ZERO)
    return value / _quantity(executions)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _utc(ts_ns: int) -> datetime:
    """Return an instant as the columns hold it: UTC without a zone."""
    return from_ns(ts_ns).astimezone(UTC).replace(tzinfo=None)


# questions ----------------------------------------------------------------------------------------


def open_scalps(
    store: Store, run_id: str | None = None, *, ticker: str | None = None
) -> list[dict[str, Any]]:
    """Return the scalps that are held, newest last, of one run and one underlying; None stands for all."""
    table = OptionsScalpRecord
    # by each ticker the index answers; by the status alone all scalps would be read
    is_open = table.ticker.in_(select(table.ticker).distinct()) & (table.status == "open")
    if ticker is not None:
        is_open = is_open & (table.ticker == ticker)
    return _rows(store, _of_run(run_id).where(is_open).order_by(table.id))


def scalp_history(
    store: Store, run_id: str | None = None, *, limit: int = 100, ticker: str | None = None
) -> list[dict[str, Any]]:
    """Return the scalps that are over, the newest first.

    At most ``limit`` of one run and one underlying; None stands for all.
    """
    statement = _of_run(run_id).where(OptionsScalpRecord.status.in_(("closed", "expired")))
    if ticker is not None:
        statement = statement.where(OptionsScalpRecord.ticker == ticker)
    return _rows(store, statement.order_by(OptionsScalpRecord.id.desc()).limit(limit))


def scalp_performance(
    store: Store, run_id: str | None = None, *, ticker: str | None = None
) -> dict[str, Any]:
    """Return what the scalps that are over came to, of one run and one underlying; None stands for all.

    Returns ``total``; ``by_ticker``, ``by_hour`` (of the entry, New York) and ``by_conviction`` (level): each
    with count, won, win rate, P&L and average hold in seconds; ``best`` and ``worst`` scalps; and the
    cumulative P&L by session.
    """
    table = ScalpOutcomeRow
    wanted = ((table.run_id, run_id), (table.ticker, ticker))
    which = [column == value for column, value in wanted if value is not None]
    by_session = _grouped(store, which, table.session)
    by_ticker = _grouped(store, which, table.ticker)
    by_hour = _grouped(store, which, table.entry_hour)
    by_conviction = _by_level(_grouped(store, which, table.conviction))
    curve, total = [], 0.0
    for row in by_session:
        total += row["pnl"]
        curve.append({"session": row["key"], "pnl": row["pnl"], "cumulative_pnl": round(total, 2)})
    return {
        "total": _together(by_ticker),
        "by_ticker": by_ticker,
        "by_hour": by_hour,
        "by_conviction": by_conviction,
        "best": _extreme(store, which, table.pnl.desc()),
        "worst": _extreme(store, which, table.pnl),
        "cumulative": curve,
    }


def _grouped(
    store: Store, which: Sequence[ColumnElement[bool]], key: InstrumentedAttribute[Any]
) -> list[dict[str, Any]]:
    """Return a line for each value of a column: counts, P&L and seconds held of the scalps that are over."""
    table = ScalpOutcomeRow
    statement = select(
        key,
        func.count(table.pnl),
        func.sum(case((table.pnl > _FLAT_TO, 1), else_=0)),
        func.sum(case((table.pnl < -_FLAT_TO, 1), else_=0)),
        func.sum(table.pnl),
        func.sum(table.hold_seconds),
    )
    with store.session() as session:
        rows = session.execute(statement.where(*which).group_by(key).order_by(key)).all()
    return [_line(name, (count, won, lost, pnl, held)) for name, count, won, lost, pnl, held in rows if count]


def _line(key: Any, figures: Sequence[Any]) -> dict[str, Any]:
    count, won, lost, pnl, held = figures
    return {
        "key": key,
        "scalps": count,
        "won": won,
        "lost": lost,
        "win_rate": won / count,
        "pnl": round(pnl, 2),
        "average_hold_seconds": held / count,
    }


def _together(groups: Sequence[dict[str, Any]], key: Any = None) -> dict[str, Any]:
    """Return several lines as one."""
    count = sum(group["scalps"] for group in groups)
    if not count:
        return {"scalps": 0, "won": 0, "lost": 0, "win_rate": None, "pnl": 0.0, "average_hold_seconds": None}
    held = sum(group["average_hold_seconds"] * group["scalps"] for group in groups)
    sums = [sum(group[name] for group in groups) for name in ("won", "lost", "pnl")]
    return _line(key, (count, *sums, held))


def _by_level(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    levels: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        known = group["key"]
        levels.setdefault("unknown" if known is None else conviction_level(known).value, []).append(group)
    return [_together(found, level) for level, found in sorted(levels.items())]


def _extreme(store: Store, which: Sequence[ColumnElement[bool]], by: Any) -> dict[str, Any] | None:
    """Return the first scalp in an order, in JSON types."""
    table = ScalpOutcomeRow
    first = select(table.scalp_id).where(table.pnl.is_not(None), *which).order_by(by, table.scalp_id).limit(1)
    rows = _rows(store, select(OptionsScalpRecord).where(OptionsScalpRecord.id == first.scalar_subquery()))
    return plain_row(rows[0]) if rows else None


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scalp's row in JSON types: the columns hold UTC without a zone, and it is named here."""
    return {
        name: f"{value.isoformat()}{'Z' * isinstance(value, datetime)}" if isinstance(value, date) else value
        for name, value in row.items()
    }


def _of_run(run_id: str | None) -> Select[OptionsScalpRecord]:
    statement = select(OptionsScalpRecord)
    if run_id is None:
        return statement
    mine = select(ScalpOutcomeRow.scalp_id).where(ScalpOutcomeRow.run_id == run_id)
    return statement.where(OptionsScalpRecord.id.in_(mine))


def _rows(store: Store, statement: Select[OptionsScalpRecord]) -> list[dict[str, Any]]:
    return [row.as_dict() for row in store.rows(statement)]
