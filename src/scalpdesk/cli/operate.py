"""What operates a running desk from another terminal: status, why, halt, flatten, resume."""

import os
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.cli.output import print_json
from scalpdesk.core.errors import ConfigError, RetryError


def _runs_dir(runs_dir: str | None) -> Path:
    from scalpdesk.settings import load_settings

    if runs_dir is not None:
        return Path(runs_dir)
    return Path(load_settings(environ=os.environ, cwd=Path()).config.desk.runs_dir)


def _desk(run_id: str | None, runs_dir: str | None) -> Path:
    """Return the folder of the running desk that is meant."""
    from scalpdesk.live.control import running_desks

    folder = _runs_dir(runs_dir)
    found = running_desks(folder)
    if run_id is not None:
        found = [path for path in found if path.name == run_id or path.name.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RetryError(
            "no desk runs here",
            where=str(folder),
            fix="scalpdesk run STRATEGY starts one; --runs-dir looks elsewhere",
        )
    raise ConfigError(
        "more than one desk runs here",
        where=str(folder),
        value=", ".join(path.name for path in found),
        fix="add --run with the beginning of its id",
    )


def _which(body: Any) -> Any:
    body = click.option("--run", "run_id", default=None, metavar="RUN", help="Which desk, if several run.")(
        body
    )
    return click.option("--runs-dir", default=None, metavar="DIR", help="Folder of the runs.")(body)


def _ask(run_id: str | None, runs_dir: str | None, request: dict[str, Any]) -> dict[str, Any]:
    from scalpdesk.live.control import ask

    answer = ask(_desk(run_id, runs_dir), request)
    if "error" in answer:
        near = ", ".join(answer.get("orders") or ())
        raise ConfigError(
            str(answer["error"]),
            where={"why": "ORDER|DECISION", "resume": "--reason"}.get(request["do"]),
            fix=answer.get("fix") or (f"the newest orders: {near}" if near else None),
        )
    return answer


@desk_command("status", example=("scalpdesk status", "scalpdesk status --json"))
@_which
def status(*, as_json: bool, run_id: str | None, runs_dir: str | None) -> None:
    """Show what a running desk does: mode, positions, orders, P&L, connections."""
    found = _ask(run_id, runs_dir, {"do": "status"})
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['run_id']}  {found['trading']} on {found['venue']}  account {found['account']}")
    click.echo(
        f"mode {found['mode']}  phase {found['phase'] or '-'}  session {found['session']}  {found['now']}"
    )
    click.echo(f"NAV {found['nav']}  session P&L {found['session_pnl']}  cash {found['cash']}")
    for symbol, one in found["positions"].items():
        click.echo(f"  {one['quantity']:>8} {symbol} at {float(one['average']):.4f}")
    for name, one in (found.get("strategies") or {}).items():
        held = ", ".join(f"{quantity} {symbol}" for symbol, quantity in one["positions"].items()) or "flat"
        click.echo(f"  {name}: P&L {one['pnl']['total']}, {len(one['live_orders'])} orders at work, {held}")
    for order in found["orders"]:
        click.echo(
            f"  order {order['id']} {order['side']} {order['filled']}/{order['quantity']}"
            f" {order['symbol']} {order['state']}"
        )
    streams = ", ".join(
        f"{name} {'up' if up else 'DOWN'}" for name, up in found["connection"]["streams"].items()
    )
    click.echo(f"streams: {streams}; reconciled {found['reconciled']}")
    for difference in found["differences"]:
        click.echo(f"  difference: {difference}")
    for decision in found["decisions"][-1:]:
        click.echo(
            f"last decision {decision['number']}: {decision['kind']}: {'; '.join(decision['reasons'])}"
        )


@desk_command("why", example=("scalpdesk why", "scalpdesk why 12", "scalpdesk why 000042"))
@click.argument("what", required=False, default=None, metavar="[ORDER|DECISION]")
@_which
def why(*, as_json: bool, what: str | None, run_id: str | None, runs_dir: str | None) -> None:
    """Explain an order (its id or the end of it) or a decision (its number); the latest without either."""
    found = _ask(run_id, runs_dir, {"do": "why", "what": what})
    if as_json:
        print_json(found)
        return
    order = found.get("order")
    decision = found.get("decision", None if order is not None else found)
    if order is not None:
        click.echo(
            f"{order['id']}: {order['side']} {order['quantity']} {order['symbol']}, {order['state']},"
            f" filled {order['filled']} at {order['average']} {order['reason']}".rstrip()
        )
    if decision is not None:
        click.echo(f"decision {decision['number']} at {decision['time']}: {decision['kind']}")
        for reason in decision["reasons"]:
            click.echo(f"  {'because' if decision['taken'] else 'not, because'} {reason}")
        for name, value in decision["facts"].items():
            click.echo(f"  {name} = {value}")


def _operation(name: str, text: str, *, needs_reason: bool) -> Any:
    @click.option("--reason", required=needs_reason, default=None, help="Kept in the journal.")
    @_which
    def body(*, as_json: bool, reason: str | None, run_id: str | None, runs_dir: str | None) -> None:
        said = _ask(run_id, runs_dir, {"do": name, "reason": reason})
        if as_json:
            print_json(said)
        else:
            click.echo(
                f"{said['was']} to {said['mode']}; {said['cancels']} cancels sent"
                f" within {said['milliseconds']:.1f} ms"
            )

    body.__doc__ = text
    example = f'scalpdesk {name} --reason "…"' if needs_reason else f"scalpdesk {name}"
    return desk_command(name, example=example)(body)


halt = _operation("halt", "Cancel all orders and send nothing more until resumed.", needs_reason=False)
flatten = _operation("flatten", "Cancel all orders, close the options, unwind the hedge.", needs_reason=False)
resume = _operation("resume", "Let a halted or reducing desk trade again; says why.", needs_reason=True)
