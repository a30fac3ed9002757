"""A finished run as tables, with its sessions, straddles and hedges explained."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any

from scalpdesk.backtesting.session_tables import (
    amounts_in_cents,
    exposure,
    is_hedge,
    session_rows,
    straddle_rows,
)
from scalpdesk.backtesting.strategy_tables import StrategyRecord, divided_to_cents, strategy_records
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.intents import Side
from scalpdesk.core.units import money_decimals, run_currency
from scalpdesk.datasets.daily_history import vix_closes_before
from scalpdesk.entry.shape_names import structure_text
from scalpdesk.hedging.sizing import least_fraction_of
from scalpdesk.instruments.contract import Equity, Instrument, underlying_of
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.journal.cut import sessions_begun
from scalpdesk.records.projection import Projection, project_journal
from scalpdesk.records.store import Store, load_run, load_tables, pnl_in_cents, read_runs
from scalpdesk.volatility.variance_time import VarianceClock, clock_of

_EXACT = 10
"""Decimals of amounts that are yet to be summed."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as tables: those of the store, and its sessions and straddles made from them."""

    run: dict[str, Any]
    summary: dict[str, Any]
    orders: list[dict[str, Any]]
    fills: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    marks: list[dict[str, Any]]
    positions: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    straddles: list[dict[str, Any]] | None
    """Those of every strategy; None where a shared run cannot be divided any more."""
    spans_ns: list[tuple[int, int]]
    """Open and close of each session, UTC nanoseconds."""
    clock: VarianceClock
    """The run's variance clock."""
    hedge: Instrument
    """Hedge instrument: the listed perpetual, else shares."""
    strategies: dict[str, StrategyRecord]
    """By name, where several strategies shared the desk; else empty."""
    undivided: str = ""
    """Why a shared run could not be divided any more; empty where it was."""

    def hedges(self) -> list[dict[str, Any]]:
        """Return each hedge explained, with the marks of the strategy that sent it."""
        if not self.strategies:
            return hedge_explain(self.decisions, self.fills, self.orders, self.marks, self.decimals)
        found = [
            {"strategy": name} | row
            for name, record in self.strategies.items()
            for row in hedge_explain(record.decisions, record.fills, self.orders, record.marks, self.decimals)
        ]
        return sorted(found, key=itemgetter("ts_ns"))

    @property
    def is_cut(self) -> bool:
        """Whether it is a backtest that was cut short."""
        return bool(self.summary.get("cut"))

    @property
    def currency(self) -> str:
        """Currency of the run."""
        return run_currency(self.run["config"])

    @property
    def decimals(self) -> int:
        """Decimals of its amounts."""
        return money_decimals(self.currency)


def read_stored(run_dir: Path, records_url: str | None = None) -> StoredRun:
    """Return the tables of a run, projected from its journal into the store of the runs."""

    def projected(
        store: Store,
    ) -> tuple[Projection, dict[str, Any], dict[str, list[dict[str, Any]]]]:
        projection = project_journal(run_dir, store)
        run_id = projection.header.run_id
        return projection, load_run(store, run_id).as_dict(), load_tables(store, run_id)

    projection, row, tables = read_runs(run_dir.parent, projected, records_url)
    header = projection.header
    clock, listed = clock_of(header.data), header.instruments
    dividends: dict[str, dict[int, float]] = {}
    for event in projection.dividends:
        dividends.setdefault(listed[event.instrument_id].symbol, {})[event.ts_ex_ns] = float(event.amount)
    underlyings = {each.symbol: underlying_of(each) for each in listed}
    options = {
        each.symbol: (expiry_instant_ns(each), each.multiplier)
        for each in header.instruments
        if each.is_option
    }

    def vix_before(day: date) -> float | None:
        known = vix_closes_before(day)
        return None if known is None else round(100 * known[1], 2)

    spans = sessions_begun(header, row["last_event_ns"])
    days = [session.day for session in spans]
    decimals = money_decimals(run_currency(row["config"]))
    sessions = session_rows(tables["marks"], days, vix_before, clock, decimals)
    records: dict[str, StrategyRecord] | None = {}
    undivided = ""
    if projection.owners or "strategies" in dict(row["summary"]):  # also where no order was sent
        try:
            records = strategy_records(run_dir, tables["fills"], tables["decisions"], projection.owners)
        except ScalpdeskError as error:
            records, undivided = None, error.what
    if records:
        for name, record in records.items():
            own = session_rows(record.marks, days, lambda _: None, clock, decimals=_EXACT)
            for session, part in zip(sessions, own, strict=True):
                session.setdefault("strategies", {})[name] = Decimal(part["pnl"])
        unit = Decimal(1).scaleb(-decimals)
        for session in sessions:
            session["strategies"] = divided_to_cents(session["strategies"], Decimal(session["pnl"]), unit)

    def straddles_of(record: StrategyRecord) -> list[dict[str, Any]]:
        traded = {underlyings[fill["symbol"]] for fill in record.fills}
        own = traded.pop() if len(traded) == 1 else row["underlying"]
        return straddle_rows(
            record.fills,
            record.marks,
            record.decisions,
            options,
            clock,
            record.changes,
            [each.symbol for each in listed],
            list(dividends.get(own, {}).items()),
        )

    straddles: list[dict[str, Any]] | None
    if records is None:
        straddles = None
    elif records:
        straddles = [
            {"strategy": name} | each for name, record in records.items() for each in straddles_of(record)
        ]
        straddles.sort(key=itemgetter("opened_ns"))
        for number, each in enumerate(straddles, start=1):
            each["number"] = number
    else:
        straddles = straddles_of(
            StrategyRecord(tables["marks"], projection.holding_changes, tables["fills"], tables["decisions"])
        )
    contracts = {each.symbol: each for each in header.instruments}
    for each in straddles or ():
        legs = ((contracts[symbol], Decimal(held)) for symbol, held in each["legs"].items())
        each["structure"] = structure_text(legs)
    return StoredRun(
        run=row,
        summary=dict(row["summary"]) if row["sealed"] else _unended_summary(row),
        **tables,
        sessions=sessions,
        straddles=straddles,
        spans_ns=[(session.open_ns, session.close_ns) for session in spans],
        clock=clock,
        hedge=next((each for each in listed if each.is_perpetual), Equity("")),
        strategies=records or {},
        undivided=undivided,
    )


def _unended_summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the store knows of a run that did not end, as the run summary has it."""
    return {
        **{name: row[name] for name in ("run_id", "strategy", "venue", "events", "decisions")},
        **{name: row[name] for name in ("orders", "fills", "hedges", "end_positions", "decision_hash")},
        "data": row["data"],
        "pnl": {name: f"{amount:f}" for name, amount in pnl_in_cents(row).items()},
        "currency": run_currency(row["config"]),
        "verdict": "this run is not over",
        "cut": None,
        **row["summary"],
    }


def hedge_explain(
    decisions: list[dict[str, Any]],
    fills: list[dict[str, Any]],
    orders: list[dict[str, Any]],
    marks: list[dict[str, Any]],
    decimals: int,
) -> list[dict[str, Any]]:
    """Return each hedge with the P&L parts of the interval that led up to it.

    The interval runs from the hedge before; its parts are the sum of the marks in it. All intervals
    together are the run up to its last hedge. A hedge through zero goes in two orders and has one row.
    """
    by_order = {fill["client_order_id"]: fill for fill in fills}
    sent = {order["client_order_id"]: order for order in orders}
    explained: list[dict[str, Any]] = []
    index = 0
    for decision in decisions:
        if decision["kind"] == "hedge_second_order" and explained:
            explained[-1]["quantity_shares"] += _hedged_quantity(decision, sent)
        if not is_hedge(decision):
            continue
        parts: dict[str, Decimal] = {}
        while index < len(marks) and marks[index]["ts_ns"] <= decision["ts_ns"]:
            for name, amount in marks[index]["parts"].items():
                parts[name] = parts.get(name, Decimal(0)) + Decimal(amount)
            index += 1
        fill = next((by_order[name] for name in decision["client_order_ids"] if name in by_order), None)
        explained.append(
            {
                "ts_ns": decision["ts_ns"],
                "reason": decision["reasons"][0],
                "quantity_shares": _hedged_quantity(decision, sent),
                "price": None if fill is None else str(fill["price"]),
                **amounts_in_cents(sum(parts.values(), Decimal(0)), parts, Decimal(1).scaleb(-decimals)),
            }
        )
    return explained


def _hedged_quantity(decision: dict[str, Any], orders: dict[str, dict[str, Any]]) -> int | float:
    """Return the signed quantity that a hedge's decision names, else that of its orders in one symbol."""
    named = decision["facts"].get("quantity_shares")
    if isinstance(named, int | float):
        return named
    sent = [orders[name] for name in decision["client_order_ids"] if name in orders]
    total = sum(
        (
            Side(order["side"]).sign * Decimal(order["quantity"])
            for order in sent
            if order["symbol"] == sent[0]["symbol"]
        ),
        Decimal(0),
    )
    return int(total) if total == int(total) else float(total)


def exposures(stored: StoredRun) -> dict[str, Any]:
    """Return how long options were held and how long beyond the band; by strategy, too, if several."""

    def of(record: StoredRun | StrategyRecord, straddles: list[dict[str, Any]]) -> dict[str, float]:
        return exposure(
            record.marks,
            record.decisions,
            straddles,
            stored.spans_ns,
            hedges=hedge_deltas(record.fills, stored.hedge),
            least_fraction=least_fraction_of(stored.run["config"]),
            hedge=stored.hedge,
        )

    rows = stored.straddles or []
    if not stored.strategies:
        return dict(of(stored, rows))
    own = {
        name: of(record, straddles)
        for name, record in stored.strategies.items()
        if (straddles := [row for row in rows if row["strategy"] == name])
    }
    minutes = sum(figures["unhedged_minutes"] for figures in own.values())
    return of(stored, rows) | {"unhedged_minutes": minutes, "strategies": own}


def hedge_deltas(fills: list[dict[str, Any]], hedge: Instrument) -> dict[int, float]:
    """Return what the last hedge of each instant did to the net delta: shares, or coins of a perpetual."""
    found = {}
    for fill in fills:
        if fill["purpose"] == "hedge" and not fill["busted"]:
            units = float(fill["quantity"] if fill["side"] == "buy" else -fill["quantity"])
            found[fill["ts_recv_ns"]] = hedge.delta(units, float(fill["price"]))
    return found
