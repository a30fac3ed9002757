"""``scalpdesk why``: what a run decided, its orders and their fills; of a running desk or from the store."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from
from scalpdesk.cli.operate import accepted, ask_desk, desk_finder, running_desk, which_desk
from scalpdesk.cli.output import print_json
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Decision, headline, likeness
from scalpdesk.core.units import ZERO, count_text, number_text
from scalpdesk.instruments.sessions import from_ns, moment_text, to_new_york, to_ns

Row = dict[str, Any]


@desk_command(
    "why",
    example=(
        "scalpdesk why",
        "scalpdesk why 12",
        "scalpdesk why 000042",
        "scalpdesk why --run last --list",
    ),
)
@click.argument("what", required=False, default=None, metavar="[ORDER|DECISION]")
@click.option("--list", "shows_all", is_flag=True, help="Every decision with its orders, page by page.")
@which_desk
def why(
    *, as_json: bool, what: str | None, shows_all: bool, run_id: str | None, runs_dir: str | None
) -> None:
    """Explain an order (its id or the end of it) or a decision (its number); the latest without either.

    It reads the desk that runs here; without one, or with --run, a run on record: the last run, or RUN.
    """
    from scalpdesk.journal.reader import LAST, find_run_dir, peek_header

    finder = desk_finder(runs_dir)
    run_dir = running_desk(run_id, finder, "why")
    if run_dir is not None and not shows_all and not peek_header(run_dir).is_backtest:
        found = ask_desk(run_dir, {"do": "why", "what": what})
    else:
        run_dir = run_dir or find_run_dir(finder.folder, run_id or LAST)
        tables = _tables(run_dir)
        if shows_all:
            _show_list(run_dir.name, tables, as_json=as_json)
            return
        found = {"run_id": run_dir.name} | accepted(_stored_answer(tables, what), "why")
    if as_json:
        print_json(found)
        return
    if "run_id" in found:
        click.echo(f"run {found.pop('run_id')}")
    order = found.get("order")
    if order is not None:
        click.echo(
            f"{order['id']}: {order['side']} {order['quantity']} {order['symbol']}, {order['state']},"
            f" filled {order['filled']} at {order['average']} {order['reason']}".rstrip()
        )
    decision = found.get("decision", None if order is not None else found)
    if decision is not None:
        moment = moment_text(to_ns(datetime.fromisoformat(decision["time"])))
        taken, reasons = decision["taken"], decision["reasons"]
        click.echo(f"decision {decision['number']} at {moment}: {'' if taken else 'no '}{decision['kind']}")
        if not taken and (first := headline(reasons, decision["facts"])) not in reasons:
            click.echo(f"  not, because {first}")
            for reason in reasons[1:-1]:  # what else was said of what was wanted, or refused it
                click.echo(f"  {reason}")
            reasons = ()
        for reason in reasons:
            click.echo(f"  {'because' if taken else 'not, because'} {reason}")
        for name, value in decision["facts"].items():
            click.echo(f"  {name} = {value}")


def _tables(run_dir: Path) -> dict[str, list[Row]]:
    from scalpdesk.records.projection import project_if_new
    from scalpdesk.records.store import load_tables, read_runs

    url = settings_from().config.records_url
    names = ("orders", "fills", "decisions")
    return read_runs(
        run_dir.parent, lambda store: load_tables(store, project_if_new(run_dir, store).run_id, *names), url
    )


def _stored_answer(tables: Mapping[str, list[Row]], what: str | None) -> dict[str, Any]:
    """Return the answer that a running desk would give, from a run's tables."""
    from scalpdesk.live.status import find_why

    orders = {row["client_order_id"]: row for row in tables["orders"]}

    def shown_order(name: str) -> dict[str, Any]:
        row = orders[name]
        return {
            "id": name,
            "venue_id": row["venue_order_id"] or "",
            **{key: row[key] for key in ("symbol", "side", "state", "purpose")},
            "quantity": number_text(row["quantity"]),
            "filled": number_text(row["filled_quantity"]),
            "average": str(row["average_price"] or ZERO),
            "limit": None if row["limit_price"] is None else str(row["limit_price"]),
            "trigger": None if row["trigger_price"] is None else str(row["trigger_price"]),
            "reason": row["reason"] or "",
            "created": from_ns(row["created_ns"]).isoformat(),
        }

    known = [(row["number"], _decision(row)) for row in tables["decisions"]]
    return find_why(known, list(orders), what, shown_order)


def _decision(row: Row) -> Decision:
    """Return a decision as the run made it."""
    kind, orders = DecisionKind(row["kind"]), tuple(row["client_order_ids"])
    return Decision(row["ts_ns"], kind, row["taken"], tuple(row["reasons"]), row["facts"], orders)


def _show_list(run_id: str, tables: Mapping[str, list[Row]], *, as_json: bool) -> None:
    """Show every decision with the orders and fills that it led to; equal refusals in a row are one line."""
    fills = _grouped_fills(tables["fills"])
    orders = {
        row["client_order_id"]: {
            **{key: row[key] for key in ("client_order_id", "side", "symbol", "state")},
            "quantity": number_text(row["quantity"]),
            "fill": fills.get(row["client_order_id"]),
        }
        for row in tables["orders"]
    }
    if as_json:
        rows = [
            {**row, "orders": [orders[name] for name in row["client_order_ids"] if name in orders]}
            for row in tables["decisions"]
        ]
        print_json({"run_id": run_id, "decisions": rows})
        return
    lines = (f"{line}\n" for line in _lines(tables["decisions"], orders))
    click.echo_via_pager((f"run {run_id}\n", *lines))  # in a pipe it is plain output


def _grouped_fills(fills: Iterable[Row]) -> dict[str, Row]:
    """Return the executions that stand by order: how many, their sum, average price and fees."""
    parts: dict[str, list[Row]] = {}
    for row in fills:
        if not row["busted"]:
            parts.setdefault(row["client_order_id"], []).append(row)
    found = {}
    for name, rows in parts.items():
        quantity = sum((row["quantity"] for row in rows), ZERO)
        amount = sum((row["quantity"] * row["price"] for row in rows), ZERO)
        found[name] = {
            "executions": len(rows),
            "quantity": number_text(quantity),
            "price": number_text(round(amount / quantity, 6)) if quantity else None,
            "fees": number_text(sum((row["fee"] for row in rows), Decimal(0))),
        }
    return found


def _lines(decisions: Sequence[Row], orders: Mapping[str, Row]) -> Iterator[str]:
    for (kind, taken, _), group in groupby(decisions, _fold):
        rows = list(group)
        for row in rows if taken else rows[:1]:
            at = f"{to_new_york(row['ts_ns']):%m-%d %H:%M:%S} ET"
            again = f" ({count_text(len(rows), 'time')})" if not taken and len(rows) > 1 else ""
            what = kind if taken or kind == DecisionKind.ALERT else f"no {kind}"
            what += again
            yield f"{row['number']:>6}  {at}  {what}: {headline(row['reasons'], row['facts'])}"
            for name in row["client_order_ids"]:
                if name in orders:
                    yield f"                         {_order_line(orders[name])}"


def _fold(row: Row) -> tuple[str, bool, str]:
    """Return what is equal of refusals that differ in their figures alone."""
    return row["kind"], row["taken"], likeness(row["reasons"], row["facts"])


def _order_line(order: Row) -> str:
    fill = order["fill"]
    done = order["state"]
    if fill is not None:
        times = f" in {fill['executions']} executions" if fill["executions"] > 1 else ""
        done = f"{fill['quantity']} filled at {fill['price']}{times}, fees {fill['fees']}"
    return f"{order['side']} {order['quantity']} {order['symbol']}: {done}  [{order['client_order_id']}]"
