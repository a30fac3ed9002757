"""Commands that operate a running desk from another terminal: status, halt, flatten, resume.

``scalpdesk arm`` and ``disarm``: live trading is switched on in two steps, for one account.
"""

import os
import sys
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import console, print_json
from scalpdesk.cli.strategy_choice import strategy_flags
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.units import NANOS_PER_SECOND, count_text, money_decimals, rounded_text
from scalpdesk.venues.registry import DEFAULT_VENUE, venue_names

if TYPE_CHECKING:
    from rich.console import Console


def runs_folder(runs_dir: str | None) -> Path:
    """Return the folder of the runs: the one named, or that of the configuration."""
    return Path(settings_from().config.desk.runs_dir if runs_dir is None else runs_dir)


def running_desk(run_id: str | None, folder: Path) -> Path | None:
    """Return the folder of the running desk that is meant, None where no desk runs.

    Raises
    ------
    RetryError
        When a desk is starting.
    ConfigError
        When more than one desk is meant.
    """
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.live.arming import starting_desks
    from scalpdesk.live.status import running_desks

    found = running_desks(folder)
    if run_id is not None:
        found = [path for path in found if path.name == run_id or path.name.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    starting = [] if found else starting_desks(state_dir(os.environ), folder)
    if starting:
        seconds = (SystemClock().now_ns() - starting[-1].started_ns) / NANOS_PER_SECOND
        raise RetryError(
            "a desk is starting here and does not answer yet",
            where=str(folder),
            value=f"process {starting[-1].pid}, for {seconds:.0f} s",
            fix="ask again in a few seconds: its first start takes up to a minute",
        )
    if not found:
        return None
    raise ConfigError(
        "more than one desk runs here",
        where=str(folder),
        value=", ".join(path.name for path in found),
        fix="add --run with the beginning of its id",
    )


def _desk(run_id: str | None, runs_dir: str | None) -> Path:
    """Return the folder of the running desk that is meant."""
    folder = runs_folder(runs_dir)
    found = running_desk(run_id, folder)
    if found is None:
        raise RetryError(
            "no desk runs here",
            where=str(folder),
            fix="scalpdesk run STRATEGY starts one; --runs-dir looks elsewhere",
        )
    return found


def which_desk(body: Any) -> Any:
    """Add ``--run RUN`` (``run_id: str | None``) and ``--runs-dir DIR`` (``runs_dir: str | None``)."""
    body = click.option("--run", "run_id", default=None, metavar="RUN", help="Which desk, if several run.")(
        body
    )
    return click.option("--runs-dir", default=None, metavar="DIR", help="Folder of the runs.")(body)


def ask_desk(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return a running desk's answer.

    Raises
    ------
    ConfigError
        When it refuses the request.
    """
    from scalpdesk.live.status import ask

    return accepted(ask(run_dir, request), str(request["do"]))


def accepted(answer: dict[str, Any], request: str) -> dict[str, Any]:
    """Return an answer that is no refusal.

    Raises
    ------
    ConfigError
        When it is a refusal.
    """
    if "error" in answer:
        near = ", ".join(answer.get("orders") or ())
        raise ConfigError(
            str(answer["error"]),
            where=answer.get("where") or {"why": "ORDER|DECISION", "resume": "--reason"}.get(request),
            fix=answer.get("fix") or (f"the newest orders: {near}" if near else None),
        )
    return answer


WATCH_SECONDS = 0.2


def watch_desk(run_dir: Path, out: "Console") -> None:
    """Show a desk live until its run ends; it is followed from its journal, so that nothing delays it."""
    from scalpdesk.cli.summary_view import LiveView
    from scalpdesk.monitor.follower import RunFollower

    follower = RunFollower(run_dir)
    while follower.advance(1_000) or (follower.header is None and not follower.problem):
        if follower.header is None:  # it has just begun
            time.sleep(WATCH_SECONDS)
    header = follower.header
    if header is None or follower.engine is None:
        raise RetryError(follower.problem.partition("\n")[0], where=run_dir.name)
    with LiveView(str(header.data["kind"]), out, "Ctrl-C ends the view, the desk goes on") as view:
        columns = follower.series.columns
        start = float(follower.session_nav)
        for spot, pnl in zip(columns["spot"], columns["pnl"], strict=True):
            if spot is not None and pnl is not None:
                view.remember(spot, start + pnl, pnl)
        while not follower.tail.sealed and not follower.problem:
            last = follower.decisions[-1][1] if follower.decisions else None
            view.draw(follower.engine, header.strategy, follower.taken["hedge"], last)
            time.sleep(WATCH_SECONDS)
            while follower.advance(1_000):
                pass
    if follower.problem:
        raise RetryError(follower.problem.partition("\n")[0], where=run_dir.name)
    out.print(f"{run_dir.name} has ended: scalpdesk report {run_dir.name}", markup=False)


@desk_command("status", example=("scalpdesk status", "scalpdesk status --watch", "scalpdesk status --json"))
@click.option(
    "--watch", is_flag=True, help="Show it live: spot, NAV and P&L as charts; Ctrl-C ends the view."
)
@which_desk
def status(*, as_json: bool, watch: bool, run_id: str | None, runs_dir: str | None) -> None:
    """Show what a running desk does: mode, positions, orders, P&L, connections."""
    from scalpdesk.engine.exposure import exposure_text
    from scalpdesk.live.sessions import RunPhase

    if watch:
        if as_json or not sys.stdout.isatty():
            raise ConfigError(
                "a live view needs a terminal",
                where="--watch",
                fix="leave --watch out, or open the dashboard",
            )
        with suppress(KeyboardInterrupt):
            watch_desk(_desk(run_id, runs_dir), console())
        return
    found = ask_desk(_desk(run_id, runs_dir), {"do": "status"})
    if as_json:
        print_json(found)
        return
    stage = "" if found["run"] == RunPhase.RUNNING else f"{found['run'].upper()}  "
    label = "sandbox" if found["venue"] == "sandbox" else f"{found['trading']} on {found['venue']}"
    click.echo(f"{found['run_id']}  {label}  account {found['account']}")
    phase = found["phase"] or "-"
    click.echo(f"{stage}mode {found['mode']}  phase {phase}  session {found['session']}  {found['now']}")
    if found["halted"]:
        click.echo(f"trading is halted in {', '.join(found['halted'])}")
    places = money_decimals(found["currency"])
    nav, pnl, cash = (
        rounded_text(Decimal(found[name]), places, "") for name in ("nav", "session_pnl", "cash")
    )
    click.echo(f"NAV {nav} {found['currency']}  session P&L {pnl}  cash {cash}")
    if found["margin"]:
        click.echo(found["margin"]["text"])
    for symbol, position in found["positions"].items():
        click.echo(f"  {position['quantity']:>8} {symbol} at {float(position['average']):.4f}")
    for name, member in ((found.get("strategies") or {}) | (found.get("underlyings") or {})).items():
        held = ", ".join(f"{quantity} {symbol}" for symbol, quantity in member["positions"].items()) or "flat"
        working = len(member["live_orders"])
        click.echo(f"  {name}: P&L {member['pnl']['total']}, {count_text(working, 'order')} at work, {held}")
    if found.get("exposure"):
        click.echo(f"  {exposure_text(found['exposure'], found['currency'])}")
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


def _operation(name: str, text: str, *, needs_reason: bool) -> Any:
    @click.option("--reason", required=needs_reason, default=None, help="Kept in the journal.")
    @which_desk
    def body(*, as_json: bool, reason: str | None, run_id: str | None, runs_dir: str | None) -> None:
        answer = ask_desk(_desk(run_id, runs_dir), {"do": name, "reason": (reason or "").strip() or None})
        if as_json:
            print_json(answer)
        else:
            click.echo(
                f"{answer['was']} to {answer['mode']}; {answer['cancels']} cancels sent"
                f" within {answer['milliseconds']:.1f} ms"
                if "note" not in answer
                else answer["note"]
            )

    body.__doc__ = text
    example = f'scalpdesk {name} --reason "…"' if needs_reason else f"scalpdesk {name}"
    return desk_command(name, example=example)(body)


halt = _operation("halt", "Cancel all orders and send nothing more until resumed.", needs_reason=False)
flatten = _operation("flatten", "Cancel all orders, close the options, unwind the hedge.", needs_reason=False)
reduce = _operation("reduce", "Only send orders that make positions smaller.", needs_reason=False)
resume = _operation("resume", "Let a halted or reducing desk trade again; says why.", needs_reason=True)


@desk_command(
    "arm", example=("scalpdesk arm gamma-scalper", "scalpdesk arm gamma-scalper --config live.toml")
)
@click.argument("strategy", required=False)
@click.option(
    "--venue", type=click.Choice(venue_names()), default=DEFAULT_VENUE, show_default=True, help="Where."
)
@click.option("--account", default=None, metavar="ID", help="The account's id, typed back.")
@click.option("--hash", "typed_hash", default=None, metavar="HASH", help="Its first 8 digits, typed back.")
@settings_options
@strategy_flags
def arm(
    *,
    as_json: bool,
    strategy: str,
    venue: str,
    account: str | None,
    typed_hash: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Arm live trading in two steps: it shows account and configuration and wants both typed back.

    The arming holds for this account and this configuration; a change of either ends it.
    """
    import asyncio

    from scalpdesk.cli.output import console
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.live import arming
    from scalpdesk.live.run import operator_name
    from scalpdesk.risk.limits import check_account
    from scalpdesk.venues.contract import LiveToken

    settings = settings_from(config_file, overrides, strategy, simulated_account=False)
    facts = asyncio.run(arming.live_account(settings, venue))
    check_account(settings.config.risk, facts.equity, "the account's equity at the venue")
    digest = settings.config_hash
    if account is None or typed_hash is None:
        out = console()
        out.print(
            f"account {facts.account_id}  equity {facts.equity} {facts.currency}  status {facts.status}"
        )
        out.print(f"configuration {digest[:8]}  strategy {strategy}")
        if not sys.stdin.isatty():
            raise ConfigError(
                "arming needs both typed back",
                where="arm",
                fix=f"scalpdesk arm {strategy} --account ID --hash HASH, as shown",
            )
        account = click.prompt("type the account's id")
        typed_hash = click.prompt("type the configuration's 8 digits")
    assert account is not None
    assert typed_hash is not None
    token = LiveToken(facts.account_id, digest, SystemClock().now_ns(), operator_name())
    arming.arm(state_dir(os.environ), venue, token, typed_account=account, typed_hash=typed_hash)
    if as_json:
        print_json({"armed": facts.account_id, "config_hash": digest})
    else:
        click.echo(f"armed: {venue} account {facts.account_id}, configuration {digest[:8]}")


@desk_command("disarm", example="scalpdesk disarm")
@click.option(
    "--venue", type=click.Choice(venue_names()), default=DEFAULT_VENUE, show_default=True, help="Where."
)
@click.option("--account", default=None, metavar="ID", help="Only this account.")
def disarm(*, as_json: bool, venue: str, account: str | None) -> None:
    """End the arming of live trading, of all accounts or one; a running desk is not stopped by it."""
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.live import arming

    gone = arming.disarm(state_dir(os.environ), venue, account)
    if as_json:
        print_json({"disarmed": gone})
    else:
        click.echo(f"disarmed: {', '.join(gone)}" if gone else "nothing was armed")
