"""Commands that operate a running desk from another terminal: status, halt, flatten, resume.

``scalpdesk arm`` and ``disarm``: live trading is switched on in two steps, for one account.
"""

import math
import os
import shlex
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
    from scalpdesk.live.arming import DeskHolder
    from scalpdesk.live.finding import DeskFinder


def desk_finder(
    runs_dir: str | None, config_file: str | None = None, overrides: Sequence[str] = ()
) -> "DeskFinder":
    """Return what finds the desks of this folder: by a flag, the settings, and what was started here.

    A desk can be stopped without a configuration that can be read.
    """
    from scalpdesk.live.finding import DeskFinder

    if runs_dir is not None:
        return DeskFinder(Path(runs_dir), is_named=True)
    try:
        config = settings_from(config_file, overrides, simulated_account=False).config
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the settings, a desk can be stopped
        what = error.what if isinstance(error, ScalpdeskError) else repr(error)
        finder = DeskFinder(None, problem=what)
        click.echo(f"the configuration is not read: {what}; looking for what was started here", err=True)
        return finder
    return DeskFinder(Path(config.desk.runs_dir))


def _state_folder() -> Path:
    """Return the machine-wide folder of locks, armings and modes."""
    from scalpdesk.core.owner_only import state_dir

    return state_dir(os.environ)


def running_desk(run_id: str | None, finder: "DeskFinder", command: str = "status") -> Path | None:
    """Return the folder of the running desk that is meant, None where no desk runs.

    Raises RetryError when a desk is starting. Raises ConfigError when more than one desk is meant.
    """
    found = finder.running(run_id)
    if len(found) == 1:
        return found[0]
    starting = [] if found else finder.starting()
    if starting:
        seconds = (SystemClock().now_ns() - starting[-1].started_ns) / NANOS_PER_SECOND
        raise RetryError(
            "a desk is starting here and does not answer yet",
            where=str(finder.folder),
            value=f"process {starting[-1].pid}, for {seconds:.0f} s",
            fix="ask again in a few seconds: its first start takes up to a minute",
        )
    if not found:
        return None
    raise _several_desks(found, finder, command)


_FOR_ALL = ("halt", "reduce", "resume", "flatten")
"""Commands that take ``--all``."""


def _several_desks(
    found: Sequence[Path], finder: "DeskFinder", command: str, starting: Sequence["DeskHolder"] = ()
) -> ConfigError:
    """Return the refusal of a command that may mean several desks, with the command for each."""
    every = f"; scalpdesk {command} --all means all of them" if command in _FOR_ALL else ""
    return ConfigError(
        "more than one desk may be meant; none was touched",
        where=str(finder.folder),
        value=", ".join(
            [*(path.name for path in found), *(f"process {each.pid}, which starts" for each in starting)]
        ),
        fix="\n       ".join(_command_for(path, finder, command) for path in found) + every,
    )


def _command_for(run_dir: Path, finder: "DeskFinder", command: str) -> str:
    """Return a command as it is typed for one desk, wherever that is."""
    in_place = not finder.problem and run_dir.parent.resolve() == finder.folder.resolve()
    where = "" if in_place else f" --runs-dir {shlex.quote(str(run_dir.parent.resolve()))}"
    return f"scalpdesk {command} --run {run_dir.name}{where}"


def _desk(run_id: str | None, runs_dir: str | None) -> Path:
    """Return the folder of the running desk that is meant."""
    finder = desk_finder(runs_dir)
    found = running_desk(run_id, finder)
    if found is None:
        raise _no_desk(finder)
    return found


def run_meant(run: str | None, finder: "DeskFinder", command: str) -> Path:
    """Return the folder of a run: the one named, else that of the desk that runs here, else the last.

    Raises ConfigError where more than one desk may be meant, DataError where there is no such run.
    """
    from scalpdesk.journal.reader import LAST, find_run_dir

    found = finder.running(run)
    if len(found) > 1 and run is None:
        raise _several_desks(found, finder, command)
    return found[0] if len(found) == 1 else find_run_dir(finder.folder, run or LAST)


def _no_desk(finder: "DeskFinder", command: str = "status") -> RetryError:
    """Return the refusal of a command where no desk is found; desks elsewhere are named, and not touched."""
    others = finder.elsewhere()
    if others and not finder.is_named:
        return RetryError(
            "no desk of this folder is found; others run on this machine, and none was touched",
            where=str(finder.cwd if finder.problem else finder.folder),
            value=", ".join(path.name for path in others),
            fix="\n       ".join(_command_for(path, finder, command) for path in others),
        )
    return RetryError(
        "no desk runs here",
        where=str(finder.folder),
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
            where=answer.get("where")
            or {"why": "ORDER|DECISION", "resume": "--reason", "settle": "ORDER"}.get(request),
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
    finder = desk_finder(runs_dir)
    desk = running_desk(run_id, finder)
    if desk is None:
        return _show_without_desk(run_id, finder, as_json=as_json)
    found = ask_desk(desk, {"do": "status"})
    print_answer(found, lambda: _print_status(found), as_json=as_json)
    return None


_SHOWN_WORDS = 3
"""The venue's latest words in a status."""


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
    for doubt in found.get("doubts", ()):
        click.echo(f"  in doubt: {doubt['text']}")
    for part in found.get("unsellable", ()):
        click.echo(f"  cannot be sold over the API, sell it by hand: {part}")
    for difference in found["differences"]:
        click.echo(f"  difference: {difference}")
    for told in found.get("told", ())[-_SHOWN_WORDS:]:
        often = f", {told['times']} times" if told["times"] > 1 else ""
        click.echo(f"  {told['stream']} at {moment_of(told['time'])}{often}: {told['words']}")
    for decision in found["decisions"][-1:]:
        click.echo(
            f"last decision {decision['number']}: {decision['kind']}: {'; '.join(decision['reasons'])}"
        )


def _last_runs(finder: "DeskFinder", run_id: str | None, command: str) -> list[Any]:
    """Return the last run of each account, by the beginning of its id; refuse where there is none."""
    runs = [] if finder.is_doubtful() else finder.last_runs(run_id)
    if not runs:
        raise _no_desk(finder, command)
    return runs


def _show_without_desk(run_id: str | None, finder: "DeskFinder", *, as_json: bool) -> int:
    """Show the accounts whose desks do not run: mode, and what their last run held."""
    rows: list[dict[str, Any]] = []
    for run in _last_runs(finder, run_id, "status"):
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
    try:
        with suppress(ScalpdeskError):  # of a strategy that is no longer installed
            while follower.advance(100_000):
                pass
    finally:
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
            name, (reason or "").strip(), run_id, desk_finder(runs_dir), every=every, as_json=as_json
        )

    body.__doc__ = text
    example = f'scalpdesk {name} --reason "…"' if needs_reason else f"scalpdesk {name}"
    return desk_command(name, example=example)(body)


def _operate_desks(
    name: str,
    reason: str,
    run_id: str | None,
    finder: "DeskFinder",
    *,
    every: bool,
    as_json: bool,
    now: bool = False,
) -> int | None:
    """Give a command to the desk that is meant, to a desk that starts, or to an account without a desk."""
    from scalpdesk.live.account_mode import AskedWhileStarting

    found = finder.running(run_id)
    starting = finder.starting() if run_id is None or not found else []
    if len(found) + len(starting) > 1 and not every:
        raise _several_desks(found, finder, name, starting)
    request = {"do": name, "reason": reason or None} | ({"now": True} if now else {})
    pids = [holder.pid for holder in starting]
    if len(found) == 1 and not pids:
        return _show_answers({found[0].name: ask_desk(found[0], request)}, as_json=as_json)
    if found:
        for pid in pids:
            AskedWhileStarting(_state_folder()).ask(pid, _command(name, reason))
        return _show_answers({path.name: _asked(path, request) for path in found}, as_json=as_json)
    if pids:
        return _ask_starting(pids, name, reason, finder, as_json=as_json)
    return _command_accounts(name, reason, run_id, finder, every=every, as_json=as_json)


def _asked(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return a desk's answer or its refusal: one of several that refuses holds up no other."""
    try:
        return ask_desk(run_dir, request)
    except ScalpdeskError as error:
        return {"error": error.what, "fix": error.fix or ""}


def _show_answers(answers: dict[str, dict[str, Any]], *, as_json: bool) -> int | None:
    is_one = len(answers) == 1
    text = "\n".join(
        f"{'' if is_one or 'run_id' in each else f'{run}: '}{_answer_text(each)}"
        for run, each in answers.items()
    )
    print_answer(next(iter(answers.values())) if is_one else answers, text, as_json=as_json)
    return EXIT_FAILED if any("error" in answer for answer in answers.values()) else None


def _whose(answer: dict[str, Any]) -> str:
    """Return the beginning of an answer: which desk gives it."""
    if "run_id" not in answer:  # a desk of an earlier version says no more than what it did
        return ""
    return (
        f"{answer['run_id']}, account {answer['account']} at {answer['venue']},"
        f" started in {answer['folder']}:\n  "
    )


def _answer_text(answer: dict[str, Any]) -> str:
    whose = _whose(answer)
    if "error" in answer:
        return f"{whose}error: {answer['error']}"
    if "note" in answer:
        return f"{whose}{answer['note']}"
    cancels, took = answer["cancels"], answer["milliseconds"]
    return f"{whose}{answer['was']} to {answer['mode']}; {cancels} cancels sent within {took:.1f} ms"


def _command(name: str, reason: str) -> "WaitingCommand":
    from scalpdesk.core.enums import OperatorAction
    from scalpdesk.live.account_mode import WaitingCommand
    from scalpdesk.live.run import operator_name

    who = operator_name()
    return WaitingCommand(OperatorAction(name), reason or f"asked by {who}", who, SystemClock().now_ns())


def _ask_starting(
    pids: Sequence[int], name: str, reason: str, finder: "DeskFinder", *, as_json: bool
) -> int | None:
    """Leave the command on disk for a desk that connects; it may have got its socket meanwhile."""
    from scalpdesk.live.account_mode import AskedWhileStarting

    asked = AskedWhileStarting(_state_folder())
    for pid in pids:
        asked.ask(pid, _command(name, reason))
    started = finder.running()
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
    name: str, reason: str, run_id: str | None, finder: "DeskFinder", *, every: bool, as_json: bool
) -> int | None:
    """Put accounts without a desk into a mode, in which the next start begins."""
    from scalpdesk.live.without_desk import command_account

    runs = _last_runs(finder, run_id, name)
    if len(runs) > 1 and not every:
        raise _several_desks([run.run_dir for run in runs], finder, name)
    rows: list[dict[str, Any]] = []
    for run in runs:
        command = _command(name, reason)
        state = command_account(run, _state_folder(), command.action, command.reason, command.who)
        rows.append({"venue": run.header.venue} | _account(run, state))
    if as_json:
        print_json({"desk": None, "accounts": rows})
        return None
    for row in rows:
        mode = row["mode_text"] or "ACTIVE"
        click.echo(
            f"no desk runs; from its next start on account {row['account']} at {row['venue']} is {mode}"
        )
        if row["positions"]:
            held = held_text(row["positions"])
            click.echo(f"  it holds, by the journal of {row['run_id']}: {held}; nothing guards that")
            click.echo("  scalpdesk flatten --now cancels every order and closes everything at the venue")
    return None


halt = _operation("halt", "Cancel all orders and send nothing more until resumed.", needs_reason=False)
reduce = _operation("reduce", "Only send orders that make positions smaller.", needs_reason=False)
resume = _operation("resume", "Let a halted or reducing desk trade again; says why.", needs_reason=True)


@desk_command(
    "settle",
    example=(
        'scalpdesk settle 000012 --filled 1 --price 500.02 --reason "the broker\'s page shows the fill"',
        'scalpdesk settle 000012 --never-arrived --reason "the broker knows no such order"',
    ),
)
@click.argument("order", metavar="ORDER")
@click.option("--filled", metavar="QUANTITY", help="Filled of what is open; the rest of the order is gone.")
@click.option("--price", metavar="PRICE", help="Mean price a unit of what was filled.")
@click.option("--fee", metavar="FEE", help="What the broker charged [default: as the account's cash shows].")
@click.option(
    "--never-arrived", is_flag=True, help="Nothing of it was filled, and nothing will be: as --filled 0."
)
@click.option("--reason", required=True, help="What you saw, and where; kept in the journal.")
@which_desk
def settle(
    *,
    as_json: bool,
    order: str,
    filled: str | None,
    price: str | None,
    fee: str | None,
    never_arrived: bool,
    reason: str,
    run_id: str | None,
    runs_dir: str | None,
) -> None:
    """Book or strike an order in doubt by what you saw at the broker.

    It is for an order of which the venue itself will never tell: status names it. ORDER is its id, or the end
    of it. An execution that the venue reports later takes the place of what was booked.
    """
    if never_arrived == (filled is not None):
        raise ConfigError(
            "say what became of the order",
            where="--filled, --never-arrived",
            fix="one of the two: --filled QUANTITY --price PRICE, or --never-arrived",
        )
    finder = desk_finder(runs_dir)
    desk = running_desk(run_id, finder, "settle")
    if desk is None:
        raise _no_desk(finder, "settle")
    request = {"do": "settle", "order": order, "reason": reason, "price": price, "fee": fee}
    found = ask_desk(desk, request | {"filled": "0" if never_arrived else filled})
    done = f"{found['filled']} filled at {found['average']}" if Decimal(found["filled"]) else "nothing filled"
    print_answer(found, f"{_whose(found)}order {found['order']} is {found['state']}: {done}", as_json=as_json)


@desk_command("flatten", example=("scalpdesk flatten", "scalpdesk flatten --now"))
@click.option("--reason", help="Kept in the journal.")
@click.option("--all", "every", is_flag=True, help="Each desk that runs here.")
@click.option(
    "--now",
    is_flag=True,
    help="Wait for no comparison with the account: cancel every order, close what the venue's positions"
    " show. Needs no desk; one that does not answer is ended first.",
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
    finder, why = desk_finder(runs_dir), (reason or "").strip()
    if not now or finder.running(run_id):
        try:
            return _operate_desks("flatten", why, run_id, finder, every=every, as_json=as_json, now=now)
        except RetryError as error:
            if not now:
                raise
            click.echo(f"{error.what}: it is ended, and the account closed without it", err=True)
    return _flatten_now(why, run_id, finder, config_file, as_json=as_json)


def _flatten_now(
    reason: str, run_id: str | None, finder: "DeskFinder", config_file: str | None, *, as_json: bool
) -> int | None:
    import asyncio

    from scalpdesk.live.without_desk import close_everything, command_account, end_desk

    runs = _last_runs(finder, run_id, "flatten --now")
    if len(runs) > 1:
        raise _several_desks([run.run_dir for run in runs], finder, "flatten --now")
    run, command = runs[0], _command("flatten", reason)
    end_desk(run, _state_folder(), lambda text: click.echo(text, err=True))
    command_account(run, _state_folder(), command.action, command.reason, command.who)
    settings = settings_from(config_file, (), run.header.strategy, simulated_account=False)
    done = asyncio.run(
        close_everything(run, settings, _state_folder(), lambda text: click.echo(text, err=True))
    )
    text = "the venue shows a flat account" if done else "NOT DONE: act by hand on the venue's own pages"
    stays = "it stays FLATTENING until scalpdesk resume --reason TEXT"
    text = f"account {run.account_id} at {run.header.venue}: {text}\n{stays}"
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
