"""``scalpdesk demo`` and ``scalpdesk backtest``: run a strategy through a market and show what came of it."""

import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options, typed_command
from scalpdesk.cli.dashboard import DEFAULT_PORT, PageProcess
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DEFAULT_SESSION, DaySpan, Drawn, data_option, tape_of
from scalpdesk.cli.output import console, held_text, print_json
from scalpdesk.cli.strategy_choice import folder_option, folder_overrides, strategy_flags
from scalpdesk.cli.waiting import TOLD, tell_interrupted
from scalpdesk.core.clock import SystemClock, pace_of
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.flags import Flag, Options, read_date
from scalpdesk.datasets.embedded import EMBEDDED, RECONSTRUCTED, USUAL_DAY

if TYPE_CHECKING:
    from scalpdesk.backtesting.runs import Observer, RunResult
    from scalpdesk.backtesting.simulate import Assembled
    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.marketdata.tape import MarketTape

_DEMO_FEES = "simulation.fees=alpaca"
"""A broker's fees: a demo that trades for nothing would flatter hedging often."""
_DEMO_SPEED = 400.0
"""Market seconds a second: a session of six and a half hours in about a minute."""


@desk_command(
    "demo",
    example=(
        "scalpdesk demo",
        "scalpdesk demo --start 2018-02-05",
        "scalpdesk demo --start 2015-08-24 --seed 7",
        "scalpdesk demo --speed max --no-dashboard --json",
    ),
)
@click.option("--strategy", default="gamma-scalper", show_default=True, help="Strategy to run.")
@click.option(
    "--start",
    "session",
    metavar="DATE",
    help=f"Trading day [default: the strategy's showcase; of other settings or data {DEFAULT_SESSION}].",
)
@data_option
@click.option("--speed", metavar="X|max", help=f"X times as fast [default: {_DEMO_SPEED:g}].")
@click.option(
    "--dashboard/--no-dashboard",
    default=None,
    help="Show it live, here and as a web page, or run to the end [default: live in a terminal].",
)
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, help="Port of the web page.")
@options(Drawn, "drawn")
@settings_options
@strategy_flags
def demo(
    *,
    as_json: bool,
    strategy: str,
    session: str | None,
    data_set: str,
    speed: str | None,
    dashboard: bool | None,
    port: int,
    drawn: Drawn,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Trade one session of the embedded market: no keys, no network.

    With the fees that Alpaca passes on, unless simulation.fees says otherwise.
    In a terminal it shows the session live, there and as a web page, then the summary, and the page stays
    until Ctrl-C; elsewhere it runs to the end at once, unless --dashboard is given.
    """
    from scalpdesk.cli.compiling import compiling_kernels
    from scalpdesk.journal.reader import peek_header
    from scalpdesk.research.reruns import command_again
    from scalpdesk.strategies.registry import find_strategy

    overrides = (*overrides, *drawn.overrides())
    spec, for_demo, day = find_strategy(strategy), None, session or DEFAULT_SESSION
    is_its_day = spec.showcase is not None and session in (None, spec.showcase.day.isoformat())
    if spec.showcase and is_its_day and not overrides and data_set == EMBEDDED:
        for_demo, day = spec.showcase.settings, spec.showcase.day.isoformat()
    for_demo = spec.demo_settings if for_demo is None else for_demo
    settings = settings_from(config_file, (*for_demo, *overrides), strategy)
    if settings.config.desk.currency == "USD" and settings.config.simulation.fees == "none":
        settings = settings_from(config_file, (*for_demo, _DEMO_FEES, *overrides), strategy)
    span = DaySpan(start=read_date(day, "--start"), data_set=data_set)
    pace = pace_of(speed, _DEMO_SPEED)
    path_seed = settings.config.simulation.seed if drawn.seed is None else drawn.seed
    is_shown = sys.stdout.isatty() and not as_json if dashboard is None else dashboard
    runs_dir, url = Path(settings.config.desk.runs_dir), settings.config.records_url
    page = PageProcess(runs_dir, port, url) if is_shown else None
    try:
        with compiling_kernels():
            tape = tape_of(settings, span, drawn)
        if page is not None:
            click.echo(page.where(with_token=(sys.stderr if as_json else sys.stdout).isatty()), err=as_json)
        pace = pace if is_shown else None
        result = _run(settings, tape, mode="demo", seed=path_seed, live=is_shown, pace=pace, as_json=as_json)
        _show(result, as_json=as_json)
        if result.run_dir is not None and not as_json:
            click.echo(f"the same run: {command_again(peek_header(result.run_dir))}")
        if page is not None and page.is_up:
            click.echo("the page stays; Ctrl-C ends it", err=as_json)
            page.wait()
    finally:
        if page is not None:
            page.end()


def _refuse_resume(_: click.Context, __: click.Parameter, run: str | None) -> None:
    if run is not None:
        raise ConfigError(
            "no state of a backtest is saved to go on from",
            where="--resume",
            value=run,
            fix="run it again: the same command without --resume",
        )


class BacktestOptions(Options, frozen=True, kw_only=True):
    """Market and fills of a backtest."""

    data_set: Annotated[str, Flag("Name of the data set.", name="--data")] = EMBEDDED
    start: Annotated[
        date | None,
        Flag(f"First session [default: {DEFAULT_SESSION}; all that a recorded data set holds].", "DATE"),
    ] = None
    end: Annotated[date | None, Flag("Last session [default: the first].", "DATE")] = None
    fill_model: Annotated[
        str | None,
        Flag("Fills: cross, mid, queue or adverse [default: cross].", key="simulation.fill_model"),
    ] = None


@desk_command(
    "backtest",
    example=(
        "scalpdesk backtest gamma-scalper --data embedded --start 2018-02-05",
        "scalpdesk backtest gamma-scalper --start 2015-08-24 --fill-model adverse --seed 3 --json",
        "scalpdesk backtest external --strategy examples/hello",
    ),
)
@click.argument("strategy", required=False)
@options(BacktestOptions)
@options(Drawn, "drawn")
@click.option("--out", metavar="DIR", help="Also write summary.json and marks.csv there.")
@folder_option
@click.option("--no-journal", is_flag=True, help="Keep no journal: the run cannot be replayed or reported.")
@click.option(
    "--resume", is_flag=False, flag_value="last", hidden=True, expose_value=False, callback=_refuse_resume
)
@settings_options
@strategy_flags
def backtest(
    *,
    as_json: bool,
    strategy: str,
    options: BacktestOptions,
    drawn: Drawn,
    out: str | None,
    folder: str | None,
    no_journal: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Run STRATEGY over recorded or reconstructed sessions and explain the result.

    What is not given is taken from a recorded data set: its only underlying, all of its sessions, and
    selection.min_open_interest=-1 where it has no open interest.
    """
    from scalpdesk.cli.compiling import compiling_kernels
    from scalpdesk.config.sources import take_keys

    if out is not None:
        _make_writable(Path(out))
    overrides = folder_overrides(strategy, folder, overrides)
    overrides = (*overrides, *drawn.overrides(), *options.overrides())
    settings = settings_from(config_file, overrides, strategy)
    take_keys(os.environ)  # a strategy folder's process could read them there
    start, end, data_set = options.start, options.end, options.data_set
    if data_set not in RECONSTRUCTED:
        more, start, end = _by_data_set(settings, data_set, start, end)
        settings = settings_from(config_file, (*overrides, *more), strategy) if more else settings
    span = DaySpan(start=start or USUAL_DAY, end=end, data_set=data_set)
    with compiling_kernels():
        tape = tape_of(settings, span, drawn)
    result = _run(
        settings,
        tape,
        mode="backtest",
        seed=drawn.seed_of(settings, data_set),
        live=False,
        pace=None,
        as_json=as_json,
        journal=not no_journal,
    )
    if out is not None:
        _write(result, Path(out))
    _show(result, as_json=as_json)


def _by_data_set(
    settings: "LoadedSettings", data_set: str, start: date | None, end: date | None
) -> tuple[list[str], date | None, date | None]:
    """Return settings and span that are not given, as a recorded data set has them; says which it takes.

    The only underlying, its sessions from the first to the last, and no least open interest where none is
    recorded.
    """
    from scalpdesk.datasets.manifests import read_manifest
    from scalpdesk.strategies.contract import configured_underlyings

    held = read_manifest(Path(settings.config.data.catalog), data_set).underlyings
    more = []

    def is_free(key: str) -> bool:
        return settings.sources.get(f"strategies.{settings.strategy}.{key}") == "default"

    (underlying, *_) = configured_underlyings(settings.strategy_config)
    if underlying not in held and len(held) == 1 and is_free("underlying"):
        (underlying,) = held
        more.append(f"underlying={underlying}")
    part = held.get(underlying)
    # a year stands for hourly and daily bars
    days = [] if part is None else [date.fromisoformat(day) for day in part.sessions if "-" in day]
    if part is None or not days:
        return more, start, end
    has_open_interest = any(name.startswith("open_interest/") for name in part.tables)
    if not has_open_interest and is_free("selection.min_open_interest"):
        more.append("selection.min_open_interest=-1")
    span = ""
    if start is None:
        start, end = min(days), end or max(days)
        span = f"{start} to {end}"
    if more or span:
        click.echo(f"by what {data_set} holds: {', '.join((*more, *([span] if span else [])))}", err=True)
    return more, start, end


def _run(
    settings: "LoadedSettings",
    tape: "MarketTape",
    *,
    mode: str,
    seed: int | None,
    live: bool,
    pace: float | None,
    as_json: bool,
    journal: bool = True,
) -> "RunResult":
    from scalpdesk.backtesting.runs import run_backtest
    from scalpdesk.cli.summary_view import LiveView, pacer, progress_view

    runs_dir = Path(settings.config.desk.runs_dir) if journal else None
    with ExitStack() as stack:
        steps: list[Observer] = []
        if live and sys.stdout.isatty():
            steps.append(stack.enter_context(LiveView(tape.kind)).on_step)
        else:
            steps.append(stack.enter_context(progress_view(tape.sessions)))
        if live and runs_dir is not None:
            from scalpdesk.live.run import DemoControl

            steps.append(stack.enter_context(DemoControl(runs_dir)).on_step)
            steps += [] if pace is None else [pacer(tape, pace)]

        interrupts = stack.enter_context(_Interrupts())

        def observe(run: "Assembled", now_ns: int) -> None:
            for step in steps:
                step(run, now_ns)
            interrupts.on_step(run, now_ns)

        try:
            return run_backtest(
                settings,
                tape,
                SystemClock(),
                mode=mode,
                seed=seed,
                runs_dir=runs_dir,
                observer=observe,
                step_seconds=1.0 if live else 60.0,
            )
        except KeyboardInterrupt as stop:
            stack.close()  # the screen or progress bar first
            if interrupts.run is not None:
                _show_cut(interrupts.run, runs_dir, as_json=as_json)
                stop.args = (TOLD,)
            else:
                tell_interrupted(
                    stop,
                    f"interrupted before the market began: nothing was traded; again: {typed_command()}",
                )
            raise
        except ConfigError as error:  # found only once the parts met: say which file and line it came from
            raise settings.located(error) from error


class _Interrupts:
    """Holds an interrupt or termination back to the end of a step, so that the journal ends with it.

    Before the first step, and the second time, it interrupts at once.

    Attributes
    ----------
    run
        The run after its last step; None before the first.
    """

    def __init__(self) -> None:
        self.run: Assembled | None = None
        self._is_asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        with suppress(ValueError):  # not the main thread: an interrupt does not come here
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.run is None or self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True

    def on_step(self, run: "Assembled", now_ns: int) -> None:
        """Interrupt where it was asked for."""
        del now_ns
        self.run = run
        if self._is_asked:
            raise KeyboardInterrupt


def _show_cut(run: "Assembled", runs_dir: Path | None, *, as_json: bool) -> None:
    """Tell what an interrupt has cut short, what was held, and how to run it again."""
    import msgspec

    from scalpdesk.journal.cut import progress_of
    from scalpdesk.report.summary import held_by_symbol

    header, desk = run.header, run.engine.desk
    cut = progress_of(header, run.engine.now_ns)
    held = held_by_symbol(desk.positions)
    again = typed_command()
    if as_json:
        run_id = None if runs_dir is None else header.run_id
        facts = {"verdict": str(cut), "cut": msgspec.to_builtins(cut), "end_positions": held}
        print_json({"run_id": run_id, **facts, "command": again})
        return
    click.echo(f"{header.mode} of {header.strategy} {cut}", err=True)
    what = held_text(held) or "nothing"
    click.echo(f"  held then: {what}; all of it simulated: nothing is left at a venue", err=True)
    click.echo("  no process goes on, and it cannot be resumed", err=True)
    if runs_dir is not None:
        click.echo(f"  what was played: scalpdesk report {header.run_id}", err=True)
    click.echo(f"  begin again: {again}", err=True)


def _show(result: "RunResult", *, as_json: bool) -> None:
    if as_json:
        print_json(result.summary)
        return
    from scalpdesk.cli.summary_view import show_summary

    show_summary(console(), result.summary, result.marks, result.trades)


def _make_writable(folder: Path) -> None:
    """Make the folder of the results; refuse before the run what could not be written after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")
    except OSError as error:
        raise ConfigError(
            f"the results cannot be written there: {error.strerror}",
            where="--out",
            value=str(folder),
            fix="name a folder that can be written",
        ) from error


def _write(result: "RunResult", folder: Path) -> None:
    """Write the summary and the marks for other programs."""
    from scalpdesk.datasets.store import replace_file
    from scalpdesk.portfolio.explain import part_names

    replace_file(folder / "summary.json", json.dumps(result.summary, indent=2) + "\n")
    names = part_names(result.summary["pnl"])
    lines = ["ts_ns,nav,nav_change,spot,net_delta_shares," + ",".join(names)]
    for mark in result.marks:
        figures: list[Any] = [mark.ts_ns, mark.nav, mark.nav_change, mark.spot, mark.net_delta_shares]
        lines.append(",".join(str(figure) for figure in [*figures, *(mark.parts[name] for name in names)]))
    replace_file(folder / "marks.csv", "\n".join(lines) + "\n")
