"""``scalpdesk run`` and what operates a running desk: status, why, halt, flatten, resume, arm, disarm."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_options
from scalpdesk.cli.output import print_json
from scalpdesk.cli.strategy_choice import strategy_flags
from scalpdesk.core.errors import EXIT_FAILED, ConfigError, RetryError

if TYPE_CHECKING:
    from scalpdesk.live.pulse import WatchdogLine
    from scalpdesk.live_assembly import LiveDesk, LivePlan
    from scalpdesk.settings import LoadedSettings

SIMULATED_SPEED = 60.0
VENUES = ("simulated", "alpaca")


@desk_command(
    "run",
    example=(
        "scalpdesk run gamma-scalper",
        "scalpdesk run gamma-scalper --venue alpaca",
        "scalpdesk run gamma-scalper --venue alpaca --url http://127.0.0.1:8001 --exchange-time",
        "scalpdesk run gamma-scalper --venue alpaca --live --on-stop flatten",
        "scalpdesk run external --strategy examples/hello",
    ),
)
@click.argument("strategy", required=False)
@click.option(
    "--venue",
    type=click.Choice(["simulated", "alpaca"]),
    default=None,
    help="Where [default: simulated; with --live alpaca].",
)
@click.option("--live", is_flag=True, help="Real money; only once armed (scalpdesk arm).")
@click.option("--resume", is_flag=True, help="Go on with the run that did not end.")
@click.option("--new-run", is_flag=True, help="Leave an unfinished run as it is and begin another.")
@click.option("--url", default=None, metavar="URL", help="A simulated exchange instead of the venue.")
@click.option("--exchange-time", is_flag=True, help="The desk's time is that of the exchange at --url.")
@click.option(
    "--on-stop",
    type=click.Choice(["leave", "hold", "flatten"]),
    default="hold",
    show_default=True,
    help="At the end: leave all as it is, hold positions without orders, or flatten.",
)
@click.option("--sessions", type=click.IntRange(1), default=None, help="Stop after so many closes.")
@click.option("--contracts", type=click.IntRange(2), default=200, show_default=True, help="Most options.")
@click.option("--watchdog/--no-watchdog", default=True, help="Guard the desk by a second process.")
@click.option("--watchdog-flatten", is_flag=True, help="The watchdog also closes the positions.")
@click.option("--session", default=None, metavar="DATE", help="Simulated venue: the day [2018-02-05].")
@click.option("--data", "data_set", default="embedded", show_default=True, help="Simulated venue: the data.")
@click.option(
    "--speed", default=None, metavar="X|max", help=f"Simulated venue: seconds a second [{SIMULATED_SPEED:g}]."
)
@click.option("--strategy", "folder", default=None, metavar="DIR", help="external: folder with strategy.py.")
@settings_options
@strategy_flags
def run(
    *,
    as_json: bool,
    strategy: str,
    venue: str | None,
    live: bool,
    resume: bool,
    new_run: bool,
    url: str | None,
    exchange_time: bool,
    on_stop: str,
    sessions: int | None,
    contracts: int,
    watchdog: bool,
    watchdog_flatten: bool,
    session: str | None,
    data_set: str,
    speed: str | None,
    folder: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int | None:
    """Trade STRATEGY: simulated unless a venue is named, its paper account unless --live and armed.

    Operate it from any other terminal with status, why, halt, flatten and resume. Ctrl-C ends it as
    --on-stop says.
    """
    from scalpdesk.cli.trade import _day, _pace, folder_overrides
    from scalpdesk.live.runner import RunnerOptions
    from scalpdesk.live_assembly import LivePlan

    venue = venue or ("alpaca" if live else "simulated")
    if live and venue == "simulated":
        raise ConfigError("--live needs a venue", where="--venue", fix="--venue alpaca --live")
    overrides = folder_overrides(strategy, folder, overrides)
    settings = _settings(strategy, config_file, overrides)
    in_step = venue == "simulated" and speed == "max"
    options = RunnerOptions(
        stop=on_stop,
        sessions=sessions,
        most_waiting=1 if in_step else 2_000,
        absent_after_seconds=10.0 if url is None else 2.0,
        # a minute of the wall may be an hour of an exchange with a time of its own
        reconcile_seconds=5.0 if exchange_time else 60.0,
    )
    plan = LivePlan(
        settings,
        venue,
        live=live,
        resume=resume,
        set_aside=new_run,
        url=url,
        contracts=contracts,
        runner=options,
        session=None if session is None else _day("--session", session),
        data=data_set,
        pace=_pace(speed) if speed is not None else SIMULATED_SPEED,
        follows_venue=exchange_time,
    )
    guarded = watchdog and venue != "simulated"
    line = _start_watchdog(plan, config_file, overrides, flatten=watchdog_flatten) if guarded else None
    try:
        summary = _carry_out(plan, line, as_json=as_json)
    finally:
        if line is not None:
            line.end(clean=False)  # says nothing new after an orderly end
    if as_json:
        print_json(summary)
    else:
        _show(summary)
    is_unwell = bool(summary["differences"]) or summary["ended"].startswith("not flat")
    return EXIT_FAILED if is_unwell else None


def _carry_out(plan: "LivePlan", line: "WatchdogLine | None", *, as_json: bool) -> dict[str, Any]:
    import asyncio

    from scalpdesk.live_run import carry_out

    def say(level: str, text: str) -> None:
        click.echo(text if level == "info" else f"{level}: {text}", err=True)

    def ready(desk: "LiveDesk") -> None:
        facts = desk.header.data
        click.echo(
            f"{desk.header.run_id}: {desk.header.mode} on {desk.header.venue}, account"
            f" {facts.get('account_id', '')}; scalpdesk status shows it",
            err=True,
        )

    del as_json
    return asyncio.run(carry_out(plan, say=say, watchdog=line, on_ready=ready))


def _start_watchdog(
    plan: "LivePlan", config_file: str | None, overrides: tuple[str, ...], *, flatten: bool
) -> "WatchdogLine":
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.instruments.contract import InstrumentBook
    from scalpdesk.live_assembly import build_gateway
    from scalpdesk.live_watchdog import WatchdogOrders, start_watchdog

    build_gateway(
        plan, InstrumentBook(), SystemClock()
    )  # refuses wrong keys and settings before a process starts
    assert plan.settings.strategy is not None
    orders = WatchdogOrders(
        plan.settings.strategy,
        plan.venue,
        plan.live,
        os.getpid(),
        config_file,
        overrides,
        plan.url,
        flatten=flatten,
        state="" if plan.state is None else str(plan.state),
    )
    return start_watchdog(orders, plan.runs_dir / "watchdog.log")


def _settings(strategy: str, config_file: str | None, overrides: tuple[str, ...]) -> "LoadedSettings":
    from scalpdesk.settings import load_settings

    return load_settings(
        strategy, config_file=config_file, overrides=overrides, environ=os.environ, cwd=Path()
    )


def _show(summary: dict[str, Any]) -> None:
    click.echo(f"{summary['run_id']}: {summary['ended']}")
    click.echo(f"  {summary['verdict']}")
    click.echo(f"  {summary['orders']} orders, {summary['fills']} fills, P&L {summary['pnl']['total']}")
    held = ", ".join(f"{quantity} {symbol}" for symbol, quantity in summary["end_positions"].items())
    click.echo(f"  mode {summary['mode']}; positions: {held or 'none'}")
    if summary["resumable"]:
        click.echo("  not over: scalpdesk run ... --resume goes on with it")


# operating --------------------------------------------------------------------------------------------


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
        raise ConfigError(str(answer["error"]), value=answer.get("orders"), fix=answer.get("fix"))
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
    click.echo(f"mode {found['mode']}  phase {found['phase']}  session {found['session']}  {found['now']}")
    click.echo(f"NAV {found['nav']}  session P&L {found['session_pnl']}  cash {found['cash']}")
    for symbol, one in found["positions"].items():
        click.echo(f"  {one['quantity']:>8} {symbol} at {float(one['average']):.4f}")
    for name, one in (found["strategies"] or {}).items():
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


# arming -----------------------------------------------------------------------------------------------


@desk_command(
    "arm", example=("scalpdesk arm gamma-scalper", "scalpdesk arm gamma-scalper --config live.toml")
)
@click.argument("strategy", required=False)
@click.option("--venue", type=click.Choice(["alpaca"]), default="alpaca", show_default=True, help="Where.")
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
    from scalpdesk.live import arming
    from scalpdesk.live.account_lock import state_dir
    from scalpdesk.live_account import live_account
    from scalpdesk.venues.base import LiveToken

    settings = _settings(strategy, config_file, overrides)
    facts = asyncio.run(live_account(settings))
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
    token = LiveToken(facts.account_id, digest, SystemClock().now_ns(), _user())
    folder = state_dir(os.environ)
    arming.arm(folder, venue, token, typed_account=account, typed_hash=typed_hash)
    if as_json:
        print_json({"armed": facts.account_id, "config_hash": digest})
    else:
        click.echo(f"armed: {venue} account {facts.account_id}, configuration {digest[:8]}")


@desk_command("disarm", example="scalpdesk disarm")
@click.option("--venue", type=click.Choice(["alpaca"]), default="alpaca", show_default=True, help="Where.")
@click.option("--account", default=None, metavar="ID", help="Only this account.")
def disarm(*, as_json: bool, venue: str, account: str | None) -> None:
    """End the arming of live trading, of all accounts or one; a running desk is not stopped by it."""
    from scalpdesk.live import arming
    from scalpdesk.live.account_lock import state_dir

    gone = arming.disarm(state_dir(os.environ), venue, account)
    if as_json:
        print_json({"disarmed": gone})
    else:
        click.echo(f"disarmed: {', '.join(gone)}" if gone else "nothing was armed")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
