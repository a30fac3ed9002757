"""``scalpdesk run``: one desk on one account, simulated, on paper or live."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options, typed_command
from scalpdesk.cli.dashboard import DEFAULT_PORT, PageProcess
from scalpdesk.cli.flags import options
from scalpdesk.cli.output import held_text, print_answer
from scalpdesk.cli.strategy_choice import folder_option, folder_overrides, strategy_flags
from scalpdesk.cli.summary_view import folder_line
from scalpdesk.cli.waiting import TOLD, progress_bar
from scalpdesk.core.errors import EXIT_FAILED, ConfigError
from scalpdesk.core.units import count_text, to_cents
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.live.options import SIMULATED_ACCOUNTS, RunOptions
from scalpdesk.venues.registry import DEFAULT_VENUE, find_venue, venue_names

if TYPE_CHECKING:
    from scalpdesk.alerts.service import WatcherProcess
    from scalpdesk.config.settings import DeskConfig
    from scalpdesk.engine.desk import Desk
    from scalpdesk.engine.trading_engine import TradingEngine
    from scalpdesk.journal.codec import JournalHeader
    from scalpdesk.live.assembly import LiveDesk
    from scalpdesk.live.plan import LivePlan
    from scalpdesk.live.watchdog import HeartbeatChannel, WatchdogSupervisor

_PROGRESS_SECONDS = 1.0
_SHOWN_SECONDS = 0.25
"""The desk waits so long, once, for a message that its reader does not take."""


@desk_command(
    "run",
    example=(
        "scalpdesk run gamma-scalper",
        "scalpdesk run gamma-scalper --venue alpaca",
        "scalpdesk run gamma-scalper --venue sandbox",
        "scalpdesk run gamma-scalper --venue alpaca --url http://127.0.0.1:8001 --exchange-time",
        "scalpdesk run gamma-scalper --venue alpaca --live --on-stop flatten",
        "scalpdesk run external --strategy examples/hello",
    ),
)
@click.argument("strategy", required=False)
@options(RunOptions)
@folder_option
@click.option(
    "--dashboard/--no-dashboard",
    default=None,
    help="Serve the web page as well [default: only in a terminal].",
)
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, help="Port of the web page.")
@settings_options
@strategy_flags
def run(
    *,
    as_json: bool,
    strategy: str,
    options: RunOptions,
    folder: str | None,
    dashboard: bool | None,
    port: int,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int | None:
    """Trade STRATEGY: simulated unless a venue is named, its paper account unless --live and armed.

    "sandbox" takes a venue's live quotes, fills orders in this process and sends no order ("paper" is
    its former name). Options in [brackets] have their default in that key of the configuration. Operate the
    desk from another terminal with status, why, halt, flatten and resume. Ctrl-C stops it.
    """
    from scalpdesk.cli.compiling import are_compiled, compile_all_kernels
    from scalpdesk.config.sources import take_keys
    from scalpdesk.live.plan import plan_of

    _check_venue(options)
    overrides = (*folder_overrides(strategy, folder, overrides), *options.overrides())
    own_account = options.place in SIMULATED_ACCOUNTS
    settings = settings_from(config_file, overrides, strategy, simulated_account=own_account)
    keys = take_keys(os.environ)
    plan = plan_of(settings, options)
    spec = find_venue(plan.venue) if plan.venue in venue_names() else None
    if spec is not None and spec.needs_keys:  # said before minutes of compiling
        settings.needed_keys(spec.other_keys)
    if not are_compiled("all"):
        compile_all_kernels()
    line = _guard_of(plan, options, partial(_start_watchdog, plan, config_file, overrides, keys))
    watcher = _start_watcher(settings.config)
    shows_page = sys.stderr.isatty() if dashboard is None else dashboard
    page = PageProcess(plan.runs_dir, port, settings.config.records_url) if shows_page else None
    if page is not None:  # no order waits for it
        threading.Thread(
            target=lambda: _say("info", page.where(with_token=sys.stderr.isatty())), daemon=True
        ).start()
    desks: list[LiveDesk] = []
    try:
        summary = _carry_out(plan, line, watcher, desks)
        if watcher is not None:
            watcher.end()
    except KeyboardInterrupt as stop:
        desk = desks[-1] if desks else None
        _say("alarm", interrupted(desk, plan, line, flattens=_closes(plan, options)))
        stop.args = (TOLD,)
        raise
    finally:
        if page is not None:
            page.end()
        if line is not None:
            line.end(clean=False)  # says nothing new after an orderly end
    return report_end(summary, plan, is_guarded=line is not None and line.has_taken_over, as_json=as_json)


def _check_venue(wanted: RunOptions) -> None:
    """Refuse what the venue does not have; say where it goes by another name."""
    place = wanted.place
    if wanted.live and not (place in venue_names() and find_venue(place).live_account):
        raise ConfigError(
            "real money is traded at a venue that can be armed",
            where="--live, --venue",
            value=wanted.venue,
            fix=f"--venue {DEFAULT_VENUE} --live",
        )
    if wanted.venue not in {None, place}:
        _say(
            "info",
            f"--venue {wanted.venue} is now --venue {place}: live quotes, simulated fills, no order leaves",
        )
    if place == "simulated":
        _refuse_elsewhere(wanted.url, wanted.exchange_time)


def _closes(plan: "LivePlan", wanted: RunOptions) -> bool:
    """Return whether the watchdog also closes positions."""
    usual = plan.settings.config.venue.watchdog_flatten
    return usual if wanted.watchdog_flatten is None else wanted.watchdog_flatten


def _guard_of(
    plan: "LivePlan", wanted: RunOptions, start: "Callable[..., WatchdogSupervisor]"
) -> "WatchdogSupervisor | None":
    """Start the watchdog of a run at a venue that wants one."""
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.live.arming import marked_as_starting

    usual = plan.settings.config.venue.watchdog
    if plan.venue in SIMULATED_ACCOUNTS or not (usual if wanted.watchdog is None else wanted.watchdog):
        return None
    with marked_as_starting(plan.state or state_dir(os.environ), plan.runs_dir):
        return start(flatten=_closes(plan, wanted), leaves_foreign=wanted.foreign_orders == "leave")


def report_end(summary: dict[str, Any], plan: "LivePlan", *, is_guarded: bool, as_json: bool) -> int | None:
    """Print a run's summary and what it leaves behind; return the exit code.

    ``is_guarded``: Whether a watchdog goes on with the orders that are left.
    """
    from scalpdesk.live.sessions import RunEnd

    print_answer(summary, lambda: _show(summary, plan), as_json=as_json)
    if summary["open_orders"]:
        _say("alarm", _orders_left(summary["open_orders"], plan, is_guarded=is_guarded))
    is_unwell = summary["differences"] or summary["open_orders"] or summary["end"] == RunEnd.NOT_FLAT
    return EXIT_FAILED if is_unwell else None


def _refuse_elsewhere(url: str | None, exchange_time: bool | None) -> None:
    """Refuse the address of an exchange for a market in this process: it would be passed over in silence."""
    for name, given in (("--url", url), ("--exchange-time", exchange_time)):
        if given:
            raise ConfigError(
                "the simulated venue is a market in this process and has no address",
                where=name,
                value=given,
                fix=f"--venue {DEFAULT_VENUE} {name}, or leave it out",
            )


def _orders_left(names: list[str], plan: "LivePlan", *, is_guarded: bool) -> str:
    """Return which orders may still work after the end, and who cancels them."""
    what = f"orders may still work at {plan.venue}: {', '.join(names)}"
    if is_guarded:
        from scalpdesk.live.watchdog import LOG_FILE

        return f"{what}; the watchdog goes on cancelling, see {plan.runs_dir / LOG_FILE}"
    return f"{what}; nothing guards them: cancel them at the venue, or go on with --resume"


class DeskMessages:
    """Writes to standard error that the desk does not wait for.

    A terminal or pipe whose reader stands still may take a part of a message and hold the rest of the write
    up for hours; no question to the system foretells it.

    ``stream``: Where messages go; None is standard error as it is at each message.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._writing: threading.Thread | None = None

    def say(self, level: str, text: str) -> None:
        """Write a message of a level (``info``, ``warning``, ``alarm``)."""
        # not click.echo: it writes past a progress bar, into its line
        stream, line = self._stream or sys.stderr, f"{text}\n" if level == "info" else f"{level}: {text}\n"
        self.show(lambda: stream.write(line))

    def show(self, write: Callable[[], object]) -> None:
        """Write; nothing is written while an earlier message waits for its reader."""
        if self._writing is not None and self._writing.is_alive():
            return

        def run() -> None:
            # a terminal, pipe or disk that takes nothing never stops the desk; ValueError: it is closed here
            with suppress(OSError, ValueError):
                write()

        self._writing = threading.Thread(target=run, name="message", daemon=True)
        self._writing.start()
        self._writing.join(_SHOWN_SECONDS)


_MESSAGES = DeskMessages()
_say = _MESSAGES.say


def _start_watcher(config: "DeskConfig") -> "WatcherProcess | None":
    """Start the process that sends alerts, where there is anywhere to send them."""
    keys = config.credentials
    if keys.alert_urls is None and keys.alert_heartbeat_url is None:
        return None
    from scalpdesk.alerts.channels import Channels
    from scalpdesk.alerts.service import WatcherProcess

    Channels(keys.alert_urls)  # a wrong address, or a missing extra, is refused before anything starts
    return WatcherProcess(config)


def interrupted(
    desk: "LiveDesk | None", plan: "LivePlan", line: "WatchdogSupervisor | None", *, flattens: bool
) -> str:
    """Return what a second interrupt leaves: what is held, who goes on and for how long, how to go on."""
    from scalpdesk.live.emergency import CLEAR_SECONDS
    from scalpdesk.live.watchdog import LOG_FILE
    from scalpdesk.report.summary import held_by_symbol

    if desk is None:
        return "interrupted while the desk started: no order was sent"
    book = desk.engine.desk
    held = held_text(held_by_symbol(book.positions))
    orders = ", ".join(book.orders.live)
    if line is not None:
        does = "cancels the orders and closes the positions" if flattens else "cancels the orders"
        who = f"the watchdog {does}, for up to {CLEAR_SECONDS / 60:.0f} minutes: {plan.runs_dir / LOG_FILE}"
    elif plan.venue in SIMULATED_ACCOUNTS:
        who = "no process goes on; all of it is simulated: nothing is left at a venue"
    else:
        who = f"no process goes on: nothing guards orders and positions at {plan.venue}"
    return (
        f"{desk.header.run_id} was interrupted before it had stopped in order\n"
        f"  held: {held or 'nothing'}; orders that may still work: {orders or 'none'}\n"
        f"  {who}\n  go on with: {_resume_command()}"
    )


def _resume_command() -> str:
    return typed_command("--resume", without=("--resume", "--resume-if-any", "--new-run"))


def _carry_out(
    plan: "LivePlan",
    line: "WatchdogSupervisor | None",
    watcher: "WatcherProcess | None",
    desks: "list[LiveDesk]",
) -> dict[str, Any]:
    """Run the desk to its end; ``desks`` takes each one as it begins."""
    import asyncio

    from scalpdesk.live.run import carry_out

    async def carried_out() -> dict[str, Any]:
        watching: list[asyncio.Task[None]] = []

        def ready(desk: "LiveDesk") -> None:
            desks.append(desk)
            if watcher is not None:
                watcher.begin(desk.run_dir)
            _say("info", opening_of(desk.header, plan))
            for earlier in watching:  # of the day before
                earlier.cancel()
            watching[:] = [asyncio.create_task(show_progress(desk.engine, report))]

        with progress_bar(as_json=False) as report:
            try:
                return await carry_out(plan, notify=_say, watchdog=line, on_ready=ready)
            finally:
                for task in watching:
                    task.cancel()

    return asyncio.run(carried_out())


def opening_of(header: "JournalHeader", plan: "LivePlan") -> str:
    """Return what is about to run, how fast, and how to stop it."""
    facts = header.data
    label = header.venue if header.venue == "sandbox" else f"{header.mode} on {header.venue}"
    speed = "at the venue's time"
    if plan.venue == "simulated":
        speed = "as fast as it goes"
        if plan.pace:
            minutes = 390 / plan.pace
            speed = f"at {plan.pace:g} times the market's time, a session in about {minutes:.1f} minutes"
    return (
        f"{header.run_id}: {label}, account"
        f" {facts.get('account_id', '')}{_keys_taken(plan)}; scalpdesk status --watch shows it live\n"
        f"{speed}; Ctrl-C stops the desk (--on-stop {plan.runner.stop.value})"
    )


def _keys_taken(plan: "LivePlan") -> str:
    """Return which keys open the account, by their names in ``.env``; empty without keys."""
    from scalpdesk.config.settings import dotenv_names

    if plan.venue not in venue_names():
        return ""
    spec = find_venue(plan.venue)
    pair = plan.settings.keys_taken(spec.other_keys) if spec.needs_keys else None
    return "" if pair is None else f" by {dotenv_names(pair)[0]}"


def _held(book: "Desk", now_ns: int) -> str:
    """Return what is held and its net delta, for the line of progress; empty while nothing is."""
    from scalpdesk.engine.exposure import account_greeks
    from scalpdesk.entry.shape_names import structure_text

    held = [(each.instrument, each.quantity) for each in book.positions.held()]
    if not held:
        return ""
    what = structure_text(held) or count_text(len(held), "position")
    return f"  {what}  Δ {account_greeks(book, now_ns).net_delta_shares:+.1f}"


async def show_progress(
    engine: "TradingEngine",
    report: Callable[[int, int, str], None],
    *,
    messages: DeskMessages = _MESSAGES,
    pause_seconds: float = _PROGRESS_SECONDS,
) -> None:
    """Report each second how far the session has come and what has been earned."""
    import asyncio

    book = engine.desk
    while True:
        session, now_ns = book.view.session, engine.now_ns
        if session is not None:
            earned = to_cents(book.attribution.change_now(), book.attribution.unit)
            figures = f"P&L {earned:+,f}{_held(book, now_ns)}"
            label = f"{to_new_york(now_ns):%Y-%m-%d %H:%M} New York  {figures}  Ctrl-C stops"
            done_ns, in_all_ns = now_ns - session.open_ns, session.close_ns - session.open_ns
            messages.show(partial(report, done_ns, in_all_ns, label))
        await asyncio.sleep(pause_seconds)


def _start_watchdog(
    plan: "LivePlan",
    config_file: str | None,
    overrides: tuple[str, ...],
    keys: dict[str, str],
    *,
    flatten: bool,
    leaves_foreign: bool,
) -> "WatchdogSupervisor":
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.instruments.contract import Instruments
    from scalpdesk.live.assembly import build_gateway
    from scalpdesk.live.watchdog import LOG_FILE, WatchdogSupervisor
    from scalpdesk.live.watchdog_program import WatchdogSettings, start_watchdog

    build_gateway(
        plan, Instruments(), SystemClock()
    )  # refuses wrong keys and settings before a process starts
    assert plan.settings.strategy is not None
    orders = WatchdogSettings(
        plan.settings.strategy,
        plan.venue,
        plan.live,
        os.getpid(),
        config_file,
        overrides,
        plan.url,
        keys=keys,
        flatten=flatten,
        leaves_foreign=leaves_foreign,
        state="" if plan.state is None else str(plan.state),
    )

    def start() -> "HeartbeatChannel":
        return start_watchdog(orders, plan.runs_dir / LOG_FILE)

    return WatchdogSupervisor(start, _say)


def _show(summary: dict[str, Any], plan: "LivePlan") -> None:
    click.echo(f"{summary['run_id']}: {summary['ended']}")
    click.echo(f"  {summary['verdict']}")
    click.echo(
        f"  {count_text(summary['orders'], 'order')}, {count_text(summary['fills'], 'fill')},"
        f" P&L {summary['pnl']['total']}"
    )
    if "folder" in summary:
        click.echo(f"  {folder_line(summary['folder'])}")
    held = held_text(summary["end_positions"])
    click.echo(f"  mode {summary['mode']}; positions: {held or 'none'}")
    if held and not summary["open_orders"]:
        is_simulated = plan.venue in SIMULATED_ACCOUNTS
        left = "the positions are simulated" if is_simulated else f"nothing hedges them at {plan.venue}"
        click.echo(f"  no process goes on: {left}")
    if summary["resumable"]:
        click.echo(f"  not over; go on with: {_resume_command()}")
