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
from scalpdesk.cli.market import pace_of, quality_option, quality_override, read_date
from scalpdesk.cli.output import print_json, progress_bar
from scalpdesk.cli.strategy_choice import folder_overrides, strategy_flags
from scalpdesk.cli.summary_view import folder_line
from scalpdesk.core.errors import EXIT_FAILED, ConfigError
from scalpdesk.core.units import count_text
from scalpdesk.venues.registry import DEFAULT_VENUE, find_venue, venue_names

if TYPE_CHECKING:
    from scalpdesk.alerts.service import WatcherProcess
    from scalpdesk.config.settings import DeskConfig
    from scalpdesk.engine.trading_engine import TradingEngine
    from scalpdesk.journal.codec import JournalHeader
    from scalpdesk.live.assembly import LiveDesk
    from scalpdesk.live.plan import LivePlan
    from scalpdesk.live.watchdog import HeartbeatChannel, WatchdogSupervisor

SIMULATED_SPEED = 60.0
PROGRESS_SECONDS = 1.0
SHOWN_SECONDS = 0.25
"""The desk waits so long, once, for a message that its reader does not take."""
SIMULATED_ACCOUNTS = frozenset({"simulated", "sandbox", "paper"})
"""Venues whose account is the one that the settings open."""
VENUES = ("simulated", "sandbox", "paper", *venue_names())


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
@click.option(
    "--venue",
    type=click.Choice(VENUES),
    default=None,
    help=f"Where it trades [default: simulated; with --live {DEFAULT_VENUE}].",
)
@click.option("--live", is_flag=True, help="Trade real money; first type scalpdesk arm.")
@click.option("--resume", is_flag=True, help="Continue the run that did not end.")
@click.option("--resume-if-any", is_flag=True, help="Continue the run that did not end, or begin one.")
@click.option("--new-run", is_flag=True, help="Begin a new run beside one that did not end.")
@click.option("--url", default=None, metavar="URL", help="Trade at the simulated exchange at URL.")
@click.option(
    "--exchange-time/--wall-time",
    default=None,
    help="Take the time from the exchange at --url, or from this machine [venue.exchange_time].",
)
@click.option(
    "--on-stop",
    type=click.Choice(["leave", "hold", "flatten"]),
    default=None,
    help="At Ctrl-C: leave all, hold (cancel orders), or flatten (close all) [venue.on_stop].",
)
@click.option("--sessions", type=click.IntRange(1), default=None, help="Stop after N market closes.")
@click.option(
    "--contracts", type=click.IntRange(2), default=None, help="Number of options [venue.contracts]."
)
@click.option(
    "--watchdog/--no-watchdog",
    default=None,
    help="A second process cancels the orders of a dead desk [venue.watchdog].",
)
@click.option(
    "--watchdog-flatten/--watchdog-hold",
    default=None,
    help="The watchdog also closes the positions of a dead desk [venue.watchdog_flatten].",
)
@click.option(
    "--foreign-orders",
    type=click.Choice(["cancel", "leave"]),
    default="cancel",
    show_default=True,
    help="The watchdog cancels or leaves open orders that this run did not send.",
)
@click.option(
    "--start", "session", default=None, metavar="DATE", help="Simulated venue: first day [2018-02-05]."
)
@click.option("--data", "data_set", default="embedded", show_default=True, help="Simulated venue: data set.")
@quality_option
@click.option(
    "--speed", default=None, metavar="X|max", help=f"Simulated venue: X times as fast [{SIMULATED_SPEED:g}]."
)
@click.option("--strategy", "folder", default=None, metavar="DIR", help="Folder of strategy.py (external).")
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
    venue: str | None,
    live: bool,
    resume: bool,
    resume_if_any: bool,
    new_run: bool,
    url: str | None,
    exchange_time: bool | None,
    on_stop: str | None,
    sessions: int | None,
    contracts: int | None,
    watchdog: bool | None,
    watchdog_flatten: bool | None,
    foreign_orders: str,
    session: str | None,
    data_set: str,
    quality: str | None,
    speed: str | None,
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
    from scalpdesk.cli.doctor import compile_kernels_once
    from scalpdesk.config.sources import take_keys
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.live.arming import marked_as_starting
    from scalpdesk.live.plan import plan_of

    venue = venue or (DEFAULT_VENUE if live else "simulated")
    is_real = venue in venue_names()
    if live and not (is_real and find_venue(venue).live_account):
        raise ConfigError(
            "real money is traded at a venue that can be armed",
            where="--live, --venue",
            value=venue,
            fix=f"--venue {DEFAULT_VENUE} --live",
        )
    if venue == "paper":
        _say("info", "--venue paper is now --venue sandbox: live quotes, simulated fills, no order leaves")
    if venue == "simulated":
        _refuse_elsewhere(url, exchange_time)
    overrides = (*folder_overrides(strategy, folder, overrides), *quality_override(quality))
    settings = settings_from(config_file, overrides, strategy, simulated_account=venue in SIMULATED_ACCOUNTS)
    keys = take_keys(os.environ)
    pace = pace_of(speed, SIMULATED_SPEED)
    plan = plan_of(
        settings,
        venue,
        live=live,
        resume=resume,
        resume_if_any=resume_if_any,
        new_run=new_run,
        url=url,
        exchange_time=exchange_time,
        contracts=contracts,
        on_stop=on_stop,
        sessions=sessions,
        session=None if session is None else read_date(session, "--start"),
        data=data_set,
        pace=pace,
    )
    compile_kernels_once()
    section = settings.config.venue
    closes = section.watchdog_flatten if watchdog_flatten is None else watchdog_flatten
    guarded = (section.watchdog if watchdog is None else watchdog) and is_real
    line = None
    if guarded:
        leaves = foreign_orders == "leave"
        with marked_as_starting(plan.state or state_dir(os.environ), plan.runs_dir):
            line = _start_watchdog(plan, config_file, overrides, keys, flatten=closes, leaves_foreign=leaves)
    watcher = _start_watcher(settings.config)
    page = None
    if sys.stderr.isatty() if dashboard is None else dashboard:
        page = PageProcess(plan.runs_dir, port, settings.config.records_url)
        threading.Thread(
            target=lambda: _say("info", page.where()), daemon=True
        ).start()  # no order waits for it
    desks: list[LiveDesk] = []
    try:
        summary = _carry_out(plan, line, watcher, desks)
        if watcher is not None:
            watcher.end()
    except KeyboardInterrupt:
        _say("alarm", interrupted(desks[-1] if desks else None, plan, line, flattens=closes))
        raise
    finally:
        if page is not None:
            page.end()
        if line is not None:
            line.end(clean=False)  # says nothing new after an orderly end
    return report_end(summary, plan, is_guarded=line is not None and line.has_taken_over, as_json=as_json)


def report_end(summary: dict[str, Any], plan: "LivePlan", *, is_guarded: bool, as_json: bool) -> int | None:
    """Print a run's summary and what it leaves behind; return the exit code.

    Parameters
    ----------
    is_guarded
        Whether a watchdog goes on with the orders that are left.
    """
    from scalpdesk.live.sessions import RunEnd

    if as_json:
        print_json(summary)
    else:
        _show(summary, plan)
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

    Parameters
    ----------
    stream
        Where messages go; None is standard error as it is at each message.
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
        self._writing.join(SHOWN_SECONDS)


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

    if desk is None:
        return "interrupted while the desk started: no order was sent"
    book = desk.engine.desk
    held = ", ".join(
        f"{position.quantity} {book.instruments[position.instrument_id].symbol}"
        for position in book.positions.held()
    )
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
        f" {facts.get('account_id', '')}; scalpdesk status --watch shows it live\n"
        f"{speed}; Ctrl-C stops the desk (--on-stop {plan.runner.stop.value})"
    )


async def show_progress(
    engine: "TradingEngine",
    report: Callable[[int, int, str], None],
    *,
    messages: DeskMessages = _MESSAGES,
    pause_seconds: float = PROGRESS_SECONDS,
) -> None:
    """Report each second how far the session has come and what has been earned."""
    import asyncio

    from scalpdesk.core.units import to_cents
    from scalpdesk.instruments.sessions import to_new_york

    book = engine.desk
    while True:
        session, now_ns = book.view.session, engine.now_ns
        if session is not None:
            earned = to_cents(book.attribution.nav_change, book.attribution.unit)
            label = f"{to_new_york(now_ns):%Y-%m-%d %H:%M} New York  P&L {earned:+,f}  Ctrl-C stops"
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
    held = ", ".join(f"{quantity} {symbol}" for symbol, quantity in summary["end_positions"].items())
    click.echo(f"  mode {summary['mode']}; positions: {held or 'none'}")
    if held and not summary["open_orders"]:
        is_simulated = plan.venue in SIMULATED_ACCOUNTS
        left = "the positions are simulated" if is_simulated else f"nothing hedges them at {plan.venue}"
        click.echo(f"  no process goes on: {left}")
    if summary["resumable"]:
        click.echo(f"  not over; go on with: {_resume_command()}")
