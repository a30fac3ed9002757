"""``scalpdesk research``: tests of what dealer gamma, signals and the facts of entries foretell."""

import tempfile
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import LazyGroup, desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import DaySpan, load_tape, seed_option, span_of
from scalpdesk.cli.output import Made, print_json, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import ConfigError, DataError, naming_file
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.units import count_text, money_text
from scalpdesk.datasets.embedded import EMBEDDED, RECONSTRUCTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.marketdata.tape import MarketTape
    from scalpdesk.research.gamma_hypotheses import Window
    from scalpdesk.research.meta_labels import EntryReport, PastEntry
    from scalpdesk.research.signal_hypotheses import ScalpOutcome
    from scalpdesk.research.significance import Finding

COMMANDS: dict[str, tuple[str, str]] = {
    "gex": ("scalpdesk.cli.research:gex", "Does dealer gamma foretell variance or hedging P&L?"),
    "signals": (
        "scalpdesk.cli.research:signals",
        "Which signals earn after costs? Does conviction help?",
    ),
    "entries": (
        "scalpdesk.cli.research:entries",
        "Which entries would a meta-model leave? Does it pay?",
    ),
    "lookahead": (
        "scalpdesk.cli.lookahead:lookahead",
        "Change the future of a market: do earlier decisions change?",
    ),
    "stress": (
        "scalpdesk.cli.stress:stress",
        "Disturb quotes of held options: is the day traded as before?",
    ),
    "hedges": ("scalpdesk.cli.hedges:hedges", "Instruments to hedge with, compared on the same sessions."),
    "basis": ("scalpdesk.cli.hedges:basis", "The basis of a hedge against its underlying, from quotes."),
}


OWN_STUDIES = {name: place for name, (place, _) in COMMANDS.items()}
"""The studies of this distribution: ``module:attribute`` by name."""


@click.group(cls=LazyGroup, table=COMMANDS, socket="STUDIES")
def research() -> None:
    """Test hypotheses about the market and about the desk's own signals, with controls and corrections."""


@desk_command("gex", example="scalpdesk research gex SPY --start 2018-01-02 --end 2018-01-31")
@click.argument("symbol")
@options(DaySpan, "span")
@click.option(
    "--minutes", type=click.IntRange(5, 120), default=60, show_default=True, help="Length of a window."
)
@seed_option
@settings_options
def gex(
    *,
    as_json: bool,
    symbol: str,
    span: DaySpan,
    minutes: int,
    seed: int | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Test whether SYMBOL's dealer gamma says anything about the next window of a session.

    Eight questions: sign and size of the exposure, of the whole chain and near the money, on the variance
    that follows and on the P&L of a straddle hedged every minute. Volatility, the variance before and the
    time of day are controls. Sessions without open interest are passed over.
    """
    from scalpdesk.research.gamma_hypotheses import gamma_findings, windows_of

    settings = settings_from(config_file, overrides)
    windows: list[Window] = []
    skipped: list[str] = []
    for number, tape in enumerate(_sessions(settings, span, symbol.upper(), seed, as_json)):
        if not tape.open_interest:
            skipped.append(str(tape.sessions[0].day))
            continue
        windows += windows_of(tape, number, minutes)
    notes = [f"no open interest on {', '.join(skipped)}"] if skipped else []
    if span.data_set in RECONSTRUCTED:
        notes.append(
            "the reconstructed market was drawn without dealers: it holds no effect, and tests of the method"
            " should not find any"
        )
    _print(gamma_findings(windows), {"symbol": symbol.upper(), "minutes": minutes}, notes, as_json=as_json)


class SignalOptions(Options, frozen=True, kw_only=True):
    """Sessions whose backtests are tested instead of the runs on record."""

    start: Annotated[date | None, Flag("First session [default: the runs on record].", "DATE")] = None
    end: Annotated[date | None, Flag("Last session [default: the first].", "DATE")] = None
    data_set: Annotated[str, Flag("Name of the data set.", name="--data")] = EMBEDDED
    seed: Annotated[int | None, Flag("Path of the embedded market [default: simulation.seed].")] = None


@desk_command(
    "signals",
    example=(
        "scalpdesk research signals --start 2018-01-02 --end 2018-01-31",
        "scalpdesk research signals",
    ),
)
@options(SignalOptions)
@settings_options
def signals(
    *, as_json: bool, options: SignalOptions, config_file: str | None, overrides: tuple[str, ...]
) -> None:
    """Test whether each signal of st0ckg and the EMA scalper's conviction earn after costs.

    With --start each signal trades alone in backtests of these sessions; without it the scalps of the runs on
    record are tested.
    """
    from scalpdesk.research.signal_hypotheses import signal_findings

    settings = settings_from(config_file, overrides)
    names: list[str] = []
    if options.start is None:
        runs_dir = _runs_on_record(Path(settings.config.desk.runs_dir))
        outcomes = _outcomes(runs_dir, None, settings.config.records_url)
    else:
        names, outcomes = _backtested(overrides, config_file, options, as_json)
    found = signal_findings(outcomes, names)
    source = "runs on record" if options.start is None else "backtests"
    about = {"source": source, "scalps": len(outcomes)}
    _print(found, about, [], as_json=as_json)


class EntryOptions(Options, frozen=True, kw_only=True):
    """How entries are judged, and where the model goes."""

    folds: Annotated[int, Flag("Parts of the sessions, each judged by the others.")] = 5
    embargo: Annotated[int, Flag("Sessions after a part that do not train for it.")] = 1
    save: Annotated[str | None, Flag("Write the model, trained on all entries.", "FILE")] = None


@desk_command(
    "entries",
    example=(
        "scalpdesk research entries last",
        "scalpdesk research entries last --save gate.json --json",
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN ...]")
@options(EntryOptions)
@settings_options
def entries(
    *,
    as_json: bool,
    runs: tuple[str, ...],
    options: EntryOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Test whether boosted trees can tell the entries of RUN that earn from those that do not.

    Several runs are taken together; without any, all on record. What was known at each entry predicts
    whether it earns after costs; entries below a probability chosen in training are left. The P&L of the
    entries kept is held against that of all, out of sample, by session. Takes the extra ml.
    """
    from scalpdesk.research.meta_labels import judge_entries, train_model

    url = settings_from(config_file, overrides).config.records_url
    with progress_bar(as_json=as_json) as report:
        past, currency = _past_entries(_folders(runs, config_file, overrides), url, report)
    with progress_bar(as_json=as_json) as report:
        found = judge_entries(past, folds=options.folds, embargo=options.embargo, progress=report)
    notes = [] if found else ["no entry of these runs is over"]
    if options.save is not None:
        if len(found) != 1:
            raise ConfigError(
                f"a model is of one strategy, these are entries of {len(found)}",
                where="--save",
                value=options.save,
                fix="name runs of one strategy",
            )
        with naming_file(Path(options.save)):
            train_model(past, found[0], options.embargo).write(Path(options.save))
        notes.append(f"model written to {options.save}")
    about = {"currency": currency, "folds": options.folds, "embargo": options.embargo}
    if as_json:
        shown = [each.document() for each in found]
        print_json({**about, "strategies": shown, "notes": notes})
        return
    _print([each.finding for each in found], about, notes, as_json=False)
    for each in found:
        click.echo(_entries_line(each, currency))


def _folders(runs: tuple[str, ...], config_file: str | None, overrides: tuple[str, ...]) -> list[Path]:
    """Return the folders of the runs, or of all on record."""
    from scalpdesk.cli.history import find_run
    from scalpdesk.journal.reader import sorted_dirs

    if runs:
        return [find_run(config_file, overrides, run) for run in runs]
    return sorted_dirs(_runs_on_record(Path(settings_from(config_file, overrides).config.desk.runs_dir)))[0]


def _past_entries(
    folders: "Sequence[Path]", records_url: str | None, report: "Callable[[int, int, str], None]"
) -> "tuple[list[PastEntry], str]":
    """Return the entries of runs that are over, and their currency."""
    from scalpdesk.cli.history import read_stored
    from scalpdesk.records.scalps import scalp_history
    from scalpdesk.records.store import read_runs
    from scalpdesk.research.meta_labels import scalp_entries, straddle_entries

    found: list[PastEntry] = []
    currencies = set()
    for done, folder in enumerate(folders):
        report(done, len(folders), "runs")
        stored = read_stored(folder, records_url)
        run_id = stored.run["run_id"]
        of_run = partial(scalp_history, run_id=run_id, limit=1_000_000)
        scalps = read_runs(folder.parent, of_run, records_url)
        own = scalp_entries(stored, scalps) if scalps else straddle_entries(stored)
        if own:
            currencies.add(stored.currency)
        found += own
    if len(currencies) > 1:
        raise ConfigError(
            "amounts in different currencies have no sum",
            where="RUN",
            value=", ".join(sorted(currencies)),
            fix="name runs of one currency",
        )
    return found, next(iter(currencies), "USD")


def _entries_line(report: "EntryReport", currency: str) -> str:
    """Return a report's figures and advice in a sentence."""
    if report.finding.problem:
        return f"{report.strategy}: not tested, {report.finding.problem}"
    amounts = [money_text(each, currency) for each in (report.pnl_all, report.pnl_kept)]
    advice = "it won out of sample" if report.won else "leave it off"
    if report.finding.verdict == "shown, positive" and not report.won:
        advice = "it lost less, but lost: leave it off"
    ends = [money_text(each, currency) for each in report.kept_interval or (0.0, 0.0)]
    most = ", ".join(f"{name} {part:.0%}" for name, part in [*report.importance.items()][:3])
    return (
        f"{report.strategy}: all {report.entries:,} entries earned {amounts[0]},"
        f" the {report.kept:,} kept {amounts[1]} ({ends[0]} to {ends[1]} a session);"
        f" {report.auc or 0.5:.1%} of pairs ranked rightly, luck is 50 %, mostly by {most}: {advice}"
    )


def _sessions(
    settings: "LoadedSettings",
    span: DaySpan,
    symbol: str,
    seed: int | None,
    as_json: bool,
) -> "Iterable[MarketTape]":
    """Yield each session of a span as a tape of its own, with progress."""
    from scalpdesk.instruments.sessions import is_session, next_session

    first, last = span.days
    days = []
    day = first if is_session(first) else next_session(first).day
    while day <= last:
        days.append(day)
        day = next_session(day).day
    if not days:
        raise DataError(
            "no session in this span", where="--start", value=str(first), fix="name a trading day"
        )
    with progress_bar(as_json=as_json) as report:
        for done, day in enumerate(days):
            report(done, len(days), "sessions")
            yield load_tape(settings, span.data_set, symbol, day, seed=seed)


def _runs_on_record(runs_dir: Path) -> Path:
    """Return the folder of the runs; refuse an absent folder."""
    if not runs_dir.is_dir():
        raise ConfigError(
            "there are no runs on record",
            where="desk.runs_dir",
            value=str(runs_dir),
            fix="backtest the sessions of a market with --start and --end",
        )
    return runs_dir


def _outcomes(
    runs_dir: Path, tape: "MarketTape | None", records_url: str | None = None
) -> "list[ScalpOutcome]":
    from scalpdesk.records.projection import project_missing
    from scalpdesk.records.scalps import scalp_history
    from scalpdesk.records.store import Store, read_runs
    from scalpdesk.research.signal_hypotheses import outcome_of

    def read(store: Store) -> list[dict[str, Any]]:
        project_missing(runs_dir, store)
        return scalp_history(store, limit=1_000_000)

    found = (outcome_of(row, tape) for row in read_runs(runs_dir, read, records_url))
    return [each for each in found if each is not None]


def _backtested(
    overrides: tuple[str, ...],
    config_file: str | None,
    options: SignalOptions,
    as_json: bool,
) -> "tuple[list[str], list[ScalpOutcome]]":
    """Backtest each signal alone and the EMA scalper, session by session; return names and outcomes."""
    from scalpdesk.backtesting.runs import run_backtest
    from scalpdesk.backtesting.simulate import PreparedMarket
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.signals.base import find_signal
    from scalpdesk.strategies.registry import find_strategy

    assert options.start is not None
    first, last = span_of(options.start, options.end)
    defaults: Any = find_strategy("st0ckg").config()
    alone = {find_signal(name).name: ("st0ckg", f"signals={name}") for name in defaults.signals}
    jobs = {**alone, "EMA_CLOUD": ("ema-scalper", "")}
    base = settings_from(config_file, overrides, "st0ckg")
    tape = load_tape(base, options.data_set, "SPY", first, last=last, seed=options.seed)
    market = PreparedMarket(tape, kept_sessions=2)
    with tempfile.TemporaryDirectory() as folder, progress_bar(as_json=as_json) as report:
        for done, (strategy, setting) in enumerate(jobs.values()):
            report(done, len(jobs), "backtests")
            own = (*overrides, *([setting] if setting else ()))
            settings = settings_from(config_file, own, strategy)
            run_backtest(settings, market, SystemClock(), seed=options.seed, runs_dir=Path(folder))
        return list(jobs), _outcomes(Path(folder), tape)


def _print(found: "Sequence[Finding]", about: dict[str, Any], notes: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({**about, "findings": [each.document() for each in found], "notes": notes})
        return
    columns = (
        "test={name}|n={observations}|sessions|effect|95 %={span}|p={p_value:.3f}|control p={control_p:.3f}"
        "|corrected p={adjusted_p:.3f}|verdict"
    )
    made: Made = {
        "effect": lambda each: "" if each.effect is None else f"{each.effect:+.4g}",
        "span": lambda each: "" if each.low is None else f"{each.low:+.4g} to {each.high:+.4g}",
        "verdict": lambda each: each.problem or each.verdict,
    }
    table = table_of(found, columns, made)
    print_table(table, first_to_go=("control p", "p", "95 %"))
    shown = sum(each.verdict.startswith("shown") for each in found)
    click.echo(
        f"{shown} of {count_text(len(found), 'test')} shown at 5 % after the correction for all of them"
    )
    for note in notes:
        click.echo(f"note: {note}")
