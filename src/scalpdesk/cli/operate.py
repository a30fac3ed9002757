"""Commands that operate a running desk from another terminal: status, halt, flatten, resume.

``scalpdesk arm`` and ``disarm``: live trading is switched on in two steps, for one account.
"""

import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import console, held_text, moment_of, print_answer, print_json
from scalpdesk.cli.strategy_choice import strategy_flags
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import EXIT_FAILED, ConfigError, RetryError, ScalpdeskError
from scalpdesk.core.units import NANOS_PER_SECOND, count_text, money_decimals, rounded_text
from scalpdesk.venues.registry import DEFAULT_VENUE, venue_names

if TYPE_CHECKING:
    from rich.console import Console

    from scalpdesk.live.account_mode import WaitingCommand


def runs_folder(runs_dir: str | None) -> Path:
    """Return the folder of the runs: the one named, or that of the configuration.

    A desk can be stopped without a configuration that can be read: the desks of this machine that were
    started here are meant then, or the default folder.
    """
    if runs_dir is not None:
        return Path(runs_dir)
    try:
        return Path(settings_from().config.desk.runs_dir)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the settings, a desk can be stopped
        what = error.what if isinstance(error, ScalpdeskError) else repr(error)
        from scalpdesk.config.settings import DeskSection
        from scalpdesk.live.arming import desks_folders

        folders = desks_folders(_state_folder())
        here = [folder for folder in folders if folder.is_relative_to(Path.cwd())]
        found = here or folders or [Path(DeskSection().runs_dir)]
        click.echo(f"the configuration is not read: {what}; looking in {found[0]}", err=True)
        return found[0]


def _state_folder() -> Path:
    """Return the machine-wide folder of locks, armings and modes."""
    from scalpdesk.core.owner_only import state_dir

    return state_dir(os.environ)


def running_desk(run_id: str | None, folder: Path) -> Path | None:
    """Return the folder of the running desk that is meant, None where no desk runs.

    Raises RetryError when a desk is starting. Raises ConfigError when more than one desk is meant.
    """
    from scalpdesk.live.arming import starting_desks

    found = _desks_meant(run_id, folder)
    if len(found) == 1:
        return found[0]
    starting = [] if found else starting_desks(_state_folder(), folder)
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
    raise _several_desks(found, folder, "status")


def _desks_meant(run_id: str | None, folder: Path) -> list[Path]:
    """Return the folders of the running desks whose ids begin with ``run_id``; None: of all."""
    from scalpdesk.live.status import running_desks

    return [path for path in running_desks(folder) if run_id is None or path.name.startswith(run_id)]


def _several_desks(found: Sequence[Path], folder: Path, command: str) -> ConfigError:
    """Return the refusal of a command that may mean several desks, with the command for each."""
    every = "" if command in ("status", "why") else f"; scalpdesk {command} --all means all of them"
    return ConfigError(
        "more than one desk runs here",
        where=str(folder),
        value=", ".join(path.name for path in found),
        fix="\n       ".join(f"scalpdesk {command} --run {path.name}" for path in found) + every,
    )


def _desk(run_id: str | None, runs_dir: str | None) -> Path:
    """Return the folder of the running desk that is meant."""
    folder = runs_folder(runs_dir)
    found = running_desk(run_id, folder)
    if found is None:
        raise _no_desk(folder)
    return found


def _no_desk(folder: Path) -> RetryError:
    return RetryError(
        "no desk runs here",
        where=str(folder),
        fix="scalpdesk run STRATEGY starts one; --runs-dir looks elsewhere",
    )


def which_desk(body: Any) -> Any:
    """Add ``--run RUN`` (``run_id: str | None``) and ``--runs-dir DIR`` (``runs_dir: str | None``)."""
    body = click.option("--run", "run_id", metavar="RUN", help="Which desk, if several run.")(body)
    return click.option("--runs-dir", metavar="DIR", help="Folder of the runs.")(body)


def ask_desk(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return a running desk's answer.

    Raises ConfigError when it refuses the request.
    """
    from scalpdesk.live.status import ask

    return accepted(ask(run_dir, request), str(request["do"]))


def accepted(answer: dict[str, Any], request: str) -> dict[str, Any]:
    """Return an answer that is no refusal.

    Raises ConfigError when it is a refusal.
    """
    if "error" in answer:
        near = ", ".join(answer.get("orders") or ())
        raise ConfigError(
            str(answer["error"]),
            where=answer.get("where") or {"why": "ORDER|DECISION", "resume": "--reason"}.get(request),
            fix=answer.get("fix")
            or (
                f"the newest orders: {near}"
                if near
                else f"scalpdesk {request} --list"
                if request == "why"
                else None
            ),
        )
    return answer


_WATCH_SECONDS = 0.2


def _watch_desk(run_dir: Path, out: "Console") -> None:
    """Show a desk live until its run ends; it is followed from its journal, so that nothing delays it."""
    from scalpdesk.cli.summary_view import LiveView
    from scalpdesk.monitor.follower import RunFollower

    follower = RunFollower(run_dir)
    while follower.advance(1_000) or (follower.header is None and not follower.problem):
        if follower.header is None:  # it has just begun
            time.sleep(_WATCH_SECONDS)
    header = follower.header
    if header is None or follower.engine is None:
        raise RetryError(follower.problem.partition("\n")[0], where=run_dir.name)
    with LiveView(str(header.data["kind"]), out, "Ctrl-C ends the view, the desk goes on") as view:
        columns = follower.series.columns
        drawn = (columns[name] for name in ("spot", "pnl", "net_delta", "band"))
        for spot, pnl, delta, band in zip(*drawn, strict=True):
            if spot is not None and pnl is not None:
                view.remember(spot, pnl, *(math.nan if each is None else each for each in (delta, band)))
        while not follower.tail.sealed and not follower.problem:
            last = follower.decisions[-1][1] if follower.decisions else None
            view.draw(follower.engine, header.strategy, follower.fold.taken["hedge"], last)
            time.sleep(_WATCH_SECONDS)
            while follower.advance(1_000):
                pass
    if follower.problem:
        raise RetryError(follower.problem.partition("\n")[0], where=run_dir.name)
    out.print(f"{run_dir.name} has ended: scalpdesk report {run_dir.name}", markup=False)


@desk_command("status", example=("scalpdesk status", "scalpdesk status --watch", "scalpdesk status --json"))
@click.option(
    "--watch", is_flag=True, help="Show it live: spot, P&L and delta in its band; Ctrl-C ends the view."
)
@which_desk
def status(*, as_json: bool, watch: bool, run_id: str | None, runs_dir: str | None) -> int | None:
    """Show what a running desk does: mode, positions, orders, P&L, connections."""
    if watch:
        if as_json or not sys.stdout.isatty():
            raise ConfigError(
                "a live view needs a terminal",
                where="--watch",
                fix="leave --watch out, or open the dashboard",
            )
        with suppress(KeyboardInterrupt):
            _watch_desk(_desk(run_id, runs_dir), console())
        return None
    folder = runs_folder(runs_dir)
    desk = running_desk(run_id, folder)
    if desk is None:
        return _show_without_desk(run_id, folder, as_json=as_json)
    found = ask_desk(desk, {"do": "status"})
    print_answer(found, lambda: _print_status(found), as_json=as_json)
    return None


def _print_status(found: dict[str, Any]) -> None:
    from scalpdesk.engine.exposure import exposure_text
    from scalpdesk.live.sessions import RunPhase

    stage = "" if found["run"] == RunPhase.RUNNING else f"{found['run'].upper()}  "
    label = "sandbox" if found["venue"] == "sandbox" else f"{found['trading']} on {found['venue']}"
    click.echo(f"{found['run_id']}  {label}  account {found['account']}")
    if found.get("mode_text"):
        click.echo(f"the account is {found['mode_text']}")
    for command in found.get("waiting", ()):
        click.echo(f"waits until the venue has shown the account: {command}")
    click.echo(
        f"{stage}mode {found['mode']}  phase {found['phase'] or '-'}  session {found['session']}"
        f"  {moment_of(found['now'])}"
    )
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
        held = held_text(member["positions"]) or "flat"
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
    click.echo(f"streams: {streams}; reconciled {moment_of(found['reconciled'])}")
    for difference in found["differences"]:
        click.echo(f"  difference: {difference}")
    for decision in found["decisions"][-1:]:
        click.echo(
            f"last decision {decision['number']}: {decision['kind']}: {'; '.join(decision['reasons'])}"
        )


def _last_runs(folder: Path, run_id: str | None) -> list[Any]:
    """Return the last run of each account, by the beginning of its id; refuse where there is none."""
    from scalpdesk.live.without_desk import last_runs

    runs = [run for run in last_runs(folder) if run_id is None or run.run_dir.name.startswith(run_id)]
    if not runs:
        raise _no_desk(folder)
    return runs


def _show_without_desk(run_id: str | None, folder: Path, *, as_json: bool) -> int:
    """Show the accounts whose desks do not run: mode, and what their last run held."""
    rows: list[dict[str, Any]] = []
    for run in _last_runs(folder, run_id):
        recorded = run.record(_state_folder()).read()
        place = {"venue": run.header.venue, "is_over": run.is_over}
        rows.append(place | _account(run, None if recorded is None else recorded.state))
    if as_json:
        print_json({"desk": None, "accounts": rows})
        return EXIT_FAILED
    for row in rows:
        click.echo(f"no desk runs for account {row['account']} at {row['venue']}; last: {row['run_id']}")
        click.echo(f"  the account is {row['mode_text'] or 'ACTIVE'}")
        if row["is_over"]:
            click.echo("  the run ended flat")
            continue
        held = held_text(row["positions"]) or "nothing"
        click.echo(f"  the run is not over, and its process is gone; it holds, by its journal: {held}")
        click.echo("  --resume goes on with it; scalpdesk flatten --now closes everything at the venue")
    return EXIT_FAILED


def _account(run: Any, state: Any) -> dict[str, Any]:
    """Return the mode of an account, None of which is on record while it is active, and what it holds."""
    from scalpdesk.live.account_mode import state_text

    return {
        "account": run.account_id,
        "run_id": run.run_dir.name,
        "mode": "ACTIVE" if state is None else state.mode.value,
        "mode_text": "" if state is None else state_text(state),
        "positions": {} if run.is_over else _held_at_the_end(run.run_dir),
    }


def _held_at_the_end(run_dir: Path) -> dict[str, str]:
    """Return what a run holds at the end of its journal, by symbol; empty where it cannot be read."""
    from scalpdesk.monitor.follower import RunFollower
    from scalpdesk.report.summary import held_by_symbol

    follower = RunFollower(run_dir)
    while follower.advance(100_000):
        pass
    follower.tail.close()
    if follower.engine is None:
        return {}
    return held_by_symbol(follower.desk.positions)


def _operation(name: str, text: str, *, needs_reason: bool) -> Any:
    @click.option("--reason", required=needs_reason, help="Kept in the journal.")
    @click.option("--all", "every", is_flag=True, help="Each desk that runs here.")
    @which_desk
    def body(
        *, as_json: bool, reason: str | None, every: bool, run_id: str | None, runs_dir: str | None
    ) -> int | None:
        return _operate_desks(
            name, (reason or "").strip(), run_id, runs_folder(runs_dir), every=every, as_json=as_json
        )

    body.__doc__ = text
    example = f'scalpdesk {name} --reason "…"' if needs_reason else f"scalpdesk {name}"
    return desk_command(name, example=example)(body)


def _operate_desks(
    name: str, reason: str, run_id: str | None, folder: Path, *, every: bool, as_json: bool
) -> int | None:
    """Give a command to the desk that is meant, to a desk that starts, or to an account without a desk."""
    from scalpdesk.live.arming import starting_desks

    found = _desks_meant(run_id, folder)
    if len(found) > 1 and not every:
        raise _several_desks(found, folder, name)
    request = {"do": name, "reason": reason or None}
    if len(found) == 1:
        return _show_answers({found[0].name: ask_desk(found[0], request)}, as_json=as_json)
    if found:
        return _show_answers({path.name: _asked(path, request) for path in found}, as_json=as_json)
    starting = starting_desks(_state_folder(), folder)
    if starting:
        return _ask_starting([holder.pid for holder in starting], name, reason, folder, as_json=as_json)
    return _command_accounts(name, reason, run_id, folder, every=every, as_json=as_json)


def _asked(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return a desk's answer or its refusal: one of several that refuses holds up no other."""
    try:
        return ask_desk(run_dir, request)
    except ScalpdeskError as error:
        return {"error": error.what, "fix": error.fix or ""}


def _show_answers(answers: dict[str, dict[str, Any]], *, as_json: bool) -> int | None:
    is_one = len(answers) == 1
    text = "\n".join(f"{'' if is_one else f'{run}: '}{_answer_text(each)}" for run, each in answers.items())
    print_answer(next(iter(answers.values())) if is_one else answers, text, as_json=as_json)
    return EXIT_FAILED if any("error" in answer for answer in answers.values()) else None


def _answer_text(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"error: {answer['error']}"
    if "note" in answer:
        return str(answer["note"])
    cancels, took = answer["cancels"], answer["milliseconds"]
    return f"{answer['was']} to {answer['mode']}; {cancels} cancels sent within {took:.1f} ms"


def _command(name: str, reason: str) -> "WaitingCommand":
    from scalpdesk.core.enums import OperatorAction
    from scalpdesk.live.account_mode import WaitingCommand
    from scalpdesk.live.run import operator_name

    who = operator_name()
    return WaitingCommand(OperatorAction(name), reason or f"asked by {who}", who, SystemClock().now_ns())


def _ask_starting(pids: Sequence[int], name: str, reason: str, folder: Path, *, as_json: bool) -> int | None:
    """Leave the command on disk for a desk that connects; it may have got its socket meanwhile."""
    from scalpdesk.live.account_mode import AskedWhileStarting

    asked = AskedWhileStarting(_state_folder())
    for pid in pids:
        asked.ask(pid, _command(name, reason))
    started = _desks_meant(None, folder)
    if started:
        request = {"do": name, "reason": reason or None}
        answers = {path.name: _asked(path, request) for path in started}
        if len(started) == len(pids) and not any("error" in each for each in answers.values()):
            for pid in pids:  # left there, it would come again at a start after this desk's end
                asked.drop(pid)
        return _show_answers(answers, as_json=as_json)
    note = "a desk is starting here: the command is on disk and is carried out once the account is known"
    print_answer({"note": note, "processes": list(pids)}, note, as_json=as_json)
    return None


def _command_accounts(
    name: str, reason: str, run_id: str | None, folder: Path, *, every: bool, as_json: bool
) -> int | None:
    """Put accounts without a desk into a mode, in which the next start begins."""
    from scalpdesk.live.without_desk import command_account

    runs = _last_runs(folder, run_id)
    if len(runs) > 1 and not every:
        raise _several_desks([run.run_dir for run in runs], folder, name)
    rows: list[dict[str, Any]] = []
    for run in runs:
        command = _command(name, reason)
        state = command_account(run, _state_folder(), command.action, command.reason, command.who)
        rows.append(_account(run, state))
    if as_json:
        print_json({"desk": None, "accounts": rows})
        return None
    for row in rows:
        mode = row["mode_text"] or "ACTIVE"
        click.echo(f"no desk runs; from its next start on account {row['account']} is {mode}")
        if row["positions"]:
            held = held_text(row["positions"])
            click.echo(f"  it holds, by the journal of {row['run_id']}: {held}; nothing guards that")
            click.echo("  scalpdesk flatten --now cancels every order and closes everything at the venue")
    return None


halt = _operation("halt", "Cancel all orders and send nothing more until resumed.", needs_reason=False)
reduce = _operation("reduce", "Only send orders that make positions smaller.", needs_reason=False)
resume = _operation("resume", "Let a halted or reducing desk trade again; says why.", needs_reason=True)


@desk_command("flatten", example=("scalpdesk flatten", "scalpdesk flatten --now"))
@click.option("--reason", help="Kept in the journal.")
@click.option("--all", "every", is_flag=True, help="Each desk that runs here.")
@click.option(
    "--now",
    is_flag=True,
    help="Without a desk: cancel every order of the account and close its positions at the venue.",
)
@click.option("--config", "config_file", metavar="FILE", help="With --now: brings the keys.")
@which_desk
def flatten(
    *,
    as_json: bool,
    reason: str | None,
    every: bool,
    now: bool,
    run_id: str | None,
    runs_dir: str | None,
    config_file: str | None,
) -> int | None:
    """Cancel all orders, close the options, unwind the hedge."""
    folder = runs_folder(runs_dir)
    if not now or _desks_meant(run_id, folder):
        return _operate_desks("flatten", (reason or "").strip(), run_id, folder, every=every, as_json=as_json)
    return _flatten_now((reason or "").strip(), run_id, folder, config_file, as_json=as_json)


def _flatten_now(
    reason: str, run_id: str | None, folder: Path, config_file: str | None, *, as_json: bool
) -> int | None:
    import asyncio

    from scalpdesk.live.without_desk import close_everything, command_account

    runs = _last_runs(folder, run_id)
    if len(runs) > 1:
        raise _several_desks([run.run_dir for run in runs], folder, "flatten --now")
    run, command = runs[0], _command("flatten", reason)
    command_account(run, _state_folder(), command.action, command.reason, command.who)
    settings = settings_from(config_file, (), run.header.strategy, simulated_account=False)
    done = asyncio.run(
        close_everything(run, settings, _state_folder(), lambda text: click.echo(text, err=True))
    )
    text = "the venue shows a flat account" if done else "NOT DONE: act by hand on the venue's own pages"
    text = f"account {run.account_id}: {text}\nit stays FLATTENING until scalpdesk resume --reason TEXT"
    print_answer({"account": run.account_id, "is_flat": done, "mode": "FLATTENING"}, text, as_json=as_json)
    return None if done else EXIT_FAILED


_venue_option = click.option(
    "--venue", type=click.Choice(venue_names()), default=DEFAULT_VENUE, show_default=True, help="Where."
)


@desk_command(
    "arm", example=("scalpdesk arm gamma-scalper", "scalpdesk arm gamma-scalper --config live.toml")
)
@click.argument("strategy", required=False)
@_venue_option
@click.option("--account", metavar="ID", help="The account's id, typed back.")
@click.option("--hash", "typed_hash", metavar="HASH", help="Its first 8 digits, typed back.")
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
    arming.arm(_state_folder(), venue, token, typed_account=account, typed_hash=typed_hash)
    text = f"armed: {venue} account {facts.account_id}, configuration {digest[:8]}"
    print_answer({"armed": facts.account_id, "config_hash": digest}, text, as_json=as_json)


@desk_command("disarm", example="scalpdesk disarm")
@_venue_option
@click.option("--account", metavar="ID", help="Only this account.")
def disarm(*, as_json: bool, venue: str, account: str | None) -> None:
    """End the arming of live trading, of all accounts or one; a running desk is not stopped by it."""
    from scalpdesk.live import arming

    gone = arming.disarm(_state_folder(), venue, account)
    text = f"disarmed: {', '.join(gone)}" if gone else "nothing was armed"
    print_answer({"disarmed": gone}, text, as_json=as_json)
