"""``scalpdesk runs``, ``report`` and ``replay``: what was run, what came of it, and whether it still does."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import desk_command, html_option, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.output import (
    console,
    new_table,
    print_answer,
    print_json,
    print_table,
    save_figure,
    shown,
    table_of,
)
from scalpdesk.core.errors import EXIT_FAILED, ArgumentError, ConfigError
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.owner_only import make_folder, new_own_file
from scalpdesk.core.units import count_text, run_currency
from scalpdesk.instruments.deribit import hedge_unit

if TYPE_CHECKING:
    from scalpdesk.research.stored_run import StoredRun


def read_stored(run_dir: Path, records_url: str | None = None) -> "StoredRun":
    """Return the tables of a run; warn where a shared one cannot be divided by strategy."""
    from scalpdesk.research import stored_run

    stored = stored_run.read_stored(run_dir, records_url)
    if stored.undivided:
        why = f"the run cannot be replayed, so no trade is shown by strategy: {stored.undivided}"
        click.echo(f"warning: {why}", err=True)
    return stored


def _settings(row: dict[str, Any]) -> list[str]:
    """Return the settings of a stored run that are not the default, as ``key=value``."""
    from scalpdesk.config.settings import changed_settings

    seed = [] if row["seed"] is None else [f"seed={row['seed']}"]
    return seed + [
        f"{key}={shown(value)}" for key, value in changed_settings(row["strategy"], row["config"]).items()
    ]


@desk_command(
    "runs",
    example=(
        "scalpdesk runs",
        "scalpdesk runs --search 'gamma-scalper backtest'",
        "scalpdesk runs --json",
        "scalpdesk runs --sweeps",
    ),
)
@click.option("--sweeps", is_flag=True, help="List the sweeps instead, each with its best result.")
@click.option(
    "--search",
    default="",
    metavar="WORDS",
    help="Only runs that have every word: in name, market, settings, state, tags, notes.",
)
@settings_options
def runs(
    *, as_json: bool, sweeps: bool, search: str, config_file: str | None, overrides: tuple[str, ...]
) -> None:
    """List the runs on record, the newest last."""
    config = settings_from(config_file, overrides).config
    runs_dir = Path(config.desk.runs_dir)
    if sweeps:
        _list_sweeps(runs_dir, as_json=as_json)
        return
    from scalpdesk.records.store import pnl_in_cents, read_runs
    from scalpdesk.web.runs import is_found, listed_run, recorded_runs

    unreadable, rows = (
        read_runs(runs_dir, lambda store: recorded_runs(store, runs_dir), config.records_url)
        if runs_dir.is_dir()
        else ({}, [])
    )
    rows = [
        row for row in reversed(rows) if not search.strip() or is_found(listed_run(row, runs_dir), search)
    ]
    for row in rows:
        row["cut"] = row["summary"].get("cut")
    if as_json:
        print_json({"runs_dir": str(runs_dir), "runs": rows, "unreadable": unreadable})
        return
    from scalpdesk.cli.summary_view import show_runs

    for row in rows:
        row["settings"], row["currency"] = _settings(row), run_currency(row["config"])
        row["end"], row["pnl"] = _end_of(row), pnl_in_cents(row)["total"]
    show_runs(console(), rows, unreadable, runs_dir)


def _list_sweeps(runs_dir: Path, *, as_json: bool) -> None:
    from scalpdesk.research.sweep import SWEEPS, list_sweeps
    from scalpdesk.research.walk_forward import settings_text

    found = list_sweeps(runs_dir / SWEEPS)
    if as_json:
        print_json({"sweeps_dir": str(runs_dir / SWEEPS), "sweeps": found})
        return
    if not found:
        click.echo(f"no sweeps below {runs_dir / SWEEPS}; scalpdesk sweep --help shows how to make one")
        return
    columns = (
        "sweep={name}|market={data[underlying]}, {data[name]} ({data[kind]})|session={data[session]}|rows"
        "|best P&L={best[pnl]}|its settings={chosen}"
    )
    made = {
        "data": lambda each: each["about"]["data"],
        "best": lambda each: each["best"] or {"pnl": "-"},
        "chosen": lambda each: settings_text(each["best"]["settings"] if each["best"] else {}),
    }
    print_table(table_of(found, columns, made, left=3))
    click.echo("scalpdesk report SWEEP --html FILE draws its tear sheet")


class ReportOptions(Options, frozen=True, kw_only=True):
    """Files and comparisons of a report."""

    plot: Annotated[str | None, Flag("Draw P&L, Greeks, IV and RV (extra plots).", "FILE")] = None
    csv: Annotated[str | None, Flag("Write every table as DIR/TABLE.csv.", "DIR")] = None
    parquet: Annotated[str | None, Flag("Write every table as DIR/TABLE.parquet.", "DIR")] = None
    others: Annotated[
        tuple[str, ...], Flag("Show this run beside RUN. May be repeated.", "RUN", "--compare")
    ] = ()
    paths: Annotated[
        int,
        Flag(
            "--html: redrawn paths of an embedded session that the result is ranked among; 0 for no paths.",
            least=0,
            most=1_000,
        ),
    ] = 20
    fill_models: Annotated[
        bool,
        Flag("--html: repeat a backtest under the other fill models.", name="--fill-models/--no-fill-models"),
    ] = True


@desk_command(
    "report",
    example=(
        "scalpdesk report last",
        "scalpdesk report last --hedges 50 --json",
        "scalpdesk report last --html last.html",
        "scalpdesk report gamma-scalper-1f2e3d4c --html sweep.html",
        "scalpdesk report last --plot last.png",
        "scalpdesk report last --csv tables --parquet tables",
        "scalpdesk report --compare 20180205 last",
    ),
)
@click.argument("run")
@click.option(
    "--hedges",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="Number of the last hedges to show.",
)
@html_option
@options(ReportOptions)
@settings_options
def report(
    *,
    as_json: bool,
    run: str,
    hedges: int,
    html_file: str | None,
    options: ReportOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Explain a finished run: P&L by Greek, hedges, costs. RUN is an id, its beginning, or last.

    With --html it is also a sweep by its name (scalpdesk runs --sweeps) or folder.
    """
    from scalpdesk.journal.reader import find_run_dir

    wanted = {"csv": options.csv, "parquet": options.parquet}
    files = {"html": html_file, "plot": options.plot} | wanted
    _refuse_together(
        ["--compare"] if options.others else [], [f"--{name}" for name, to in files.items() if to]
    )
    config = settings_from(config_file, overrides).config
    runs_dir, url = Path(config.desk.runs_dir), config.records_url
    if options.others:
        found = [find_run_dir(runs_dir, name) for name in (*options.others, run)]
        _compare(found, url, as_json=as_json)
        return
    if _is_sweep_written(runs_dir, run, html_file, as_json=as_json):
        return
    run_dir = find_run_dir(runs_dir, run)
    if html_file is not None:
        written = _write_sheet(run_dir, Path(html_file), options, as_json=as_json)
        text = f"{written['file']}: {written['bytes'] / 1e3:.0f} kB, {written['result']}"
        print_answer(written, text, as_json=as_json)
        return
    stored = read_stored(run_dir, url)
    if options.plot is not None:
        _draw(stored, Path(options.plot))
    if any(wanted.values()):
        rows = [row for form, to in wanted.items() if to for row in _write_tables(stored, Path(to), form)]
        text = "\n".join(f"{each['file']}: {count_text(each['rows'], 'row')}" for each in rows)
        print_answer({"run_id": run_dir.name, "files": rows}, text, as_json=as_json)
        return
    from scalpdesk.report.figures import json_safe
    from scalpdesk.report.session_tables import grouped

    explained, sessions, statistics = stored.hedges, stored.sessions, stored.report.performance
    trades = [each.in_cents(stored.unit) for each in stored.trades]
    if as_json:
        made = {"hedge_explain": explained, "sessions": sessions, "trades": trades}
        print_json({**stored.summary, **json_safe(made), "by": grouped(sessions), "performance": statistics})
        return
    from scalpdesk.cli.summary_view import (
        show_fall,
        show_hedges,
        show_performance,
        show_summary,
        show_trades,
    )

    out = console()
    show_summary(out, stored.summary, stored.report.marks, trades)
    out.print(f"settings: {', '.join(_settings(stored.run)) or 'defaults'}", markup=False)
    underlying = stored.run["underlying"] or ""
    show_hedges(out, explained, hedges, stored.decimals, hedge_unit(underlying))
    show_trades(out, trades, stored.currency)
    if len(sessions) > 1:
        show_performance(out, sessions, grouped(sessions), statistics, stored.currency, underlying)
    else:
        show_fall(out, statistics, stored.currency)


def _refuse_together(compare: list[str], files: list[str]) -> None:
    """Refuse what one report cannot do at once, instead of leaving the rest out in silence."""
    alone = compare or [name for name in files if name == "--html"]
    beside = [name for name in files if name not in alone]
    if alone and beside:
        raise ConfigError(
            "a comparison is printed and a tear sheet is written, each by itself",
            where=", ".join((*alone, *beside)),
            fix=f"leave out {', '.join(beside)}, and call report once more for it",
        )


def _end_of(row: dict[str, Any]) -> str:
    """Return how a stored run ended, for a line of the list."""
    if row["sealed"]:
        return "ended"
    return str(row["summary"].get("verdict", "not over, as of its last mark"))


def _draw(stored: "StoredRun", path: Path) -> None:
    if not stored.marks:
        raise ArgumentError("the run has no marks to draw", where="--plot", value=str(path))
    with new_own_file(path):
        save_figure(stored.plot(), path)


def _write_tables(stored: "StoredRun", folder: Path, form: str) -> list[dict[str, Any]]:
    """Write every table of a run that has rows; return the files and their rows."""
    from scalpdesk.backtesting.runs import TABLES
    from scalpdesk.datasets.store import write_rows
    from scalpdesk.report.figures import flat

    tables = {
        "runs": [{name: value for name, value in stored.run.items() if name != "summary"}],
        **{
            name: [
                {"run_id": stored.run["run_id"], "number": number, **flat(each)}
                for number, each in enumerate(getattr(stored, name), start=1)
            ]
            for name in ("marks", *TABLES)
        },
        "positions": stored.positions,
        "notes": stored.notes,
    }
    tables = {name: rows for name, rows in tables.items() if rows}
    try:
        make_folder(folder)
        for name, rows in tables.items():
            write_rows(folder / f"{name}.{form}", rows)
    except OSError as error:
        raise ArgumentError(
            f"cannot write the tables: {error.strerror}", where=f"--{form}", value=str(folder)
        ) from error
    return [{"file": str(folder / f"{name}.{form}"), "rows": len(rows)} for name, rows in tables.items()]


def _compare(run_dirs: list[Path], records_url: str | None, *, as_json: bool) -> None:
    """Show runs side by side: what was set otherwise, results, P&L by part."""
    from scalpdesk.portfolio.explain import part_names
    from scalpdesk.records.store import pnl_in_cents

    stored = [read_stored(run_dir, records_url) for run_dir in run_dirs]
    settings = [dict(each.partition("=")[::2] for each in _settings(each_run.run)) for each_run in stored]
    keys = dict.fromkeys(key for each in settings for key in each)
    differing = {key: [each.get(key) for each in settings] for key in keys}
    differing = {key: values for key, values in differing.items() if len(set(values)) > 1}
    rows = [each_run.run for each_run in stored]
    figures: dict[str, list[Any]] = {
        name: [None if row[name] is None else str(row[name]) for row in rows]
        for name in ("strategy", "venue", "data_name", "session", "sealed", "decision_hash")
    }
    figures["cut"] = [each_run.summary["verdict"] if each_run.is_cut else None for each_run in stored]
    figures["currency"] = [each_run.currency for each_run in stored]
    counts = {name: [row[name] for row in rows] for name in ("orders", "fills", "hedges", "decisions")}
    counts["trades"] = [len(each_run.trades) for each_run in stored]
    decimals = [each_run.decimals for each_run in stored]
    in_cents = [pnl_in_cents(row) for row in rows]
    names = ("total", *part_names({name for parts in in_cents for name in parts}))
    pnl = {name: [parts.get(name, Decimal(0)) for parts in in_cents] for name in names}

    def told(found: dict[str, list[Decimal]]) -> dict[str, list[str]]:
        named = ((name, zip(row, decimals, strict=True)) for name, row in found.items())
        return {name: [f"{each:.{n}f}" for each, n in row] for name, row in named}

    if as_json:
        beside = {name: [each - amounts[0] for each in amounts] for name, amounts in pnl.items()}
        one_currency = len(set(figures["currency"])) == 1  # dollars less coin would be neither
        about: dict[str, Any] = {"runs": [row["run_id"] for row in rows], "settings": differing}
        about |= {"facts": figures, "counts": counts, "pnl": told(pnl)}
        print_json(about | {"pnl_differences": told(beside) if one_currency else None})
        return
    table = new_table("", *(row["run_id"] for row in rows))
    named = {name.replace("_", " "): values for name, values in (figures | counts).items()}
    for name, values in (differing | named).items():
        table.add_row(name, *("·" if value is None else str(value) for value in values))
    for name, amounts in pnl.items():
        shown_amounts = (f"{each + 0:+,.{n}f}" for each, n in zip(amounts, decimals, strict=True))
        table.add_row(f"P&L {name.replace('_', ' ')}", *shown_amounts)
    print_table(table)


def find_run(config_file: str | None, overrides: tuple[str, ...], run: str) -> Path:
    """Return the folder of a run by its id, the beginning of it, or ``last``."""
    from scalpdesk.journal.reader import find_run_dir

    return find_run_dir(Path(settings_from(config_file, overrides).config.desk.runs_dir), run)


def _is_sweep_written(runs_dir: Path, name: str, file: str | None, *, as_json: bool) -> bool:
    """Write the tear sheet of a sweep; return whether a sweep has this name."""
    from scalpdesk.research.sweep import SWEEPS, find_sweep, stored_sweep

    folder = find_sweep(runs_dir / SWEEPS, name)
    if folder is None:
        return False
    if file is None:
        raise ArgumentError(
            "a sweep is shown as a tear sheet",
            where="RUN",
            value=name,
            fix=f"scalpdesk report {folder.name} --html sweep.html",
        )
    from scalpdesk.web.research_sheets import write_research_sheet

    found = stored_sweep(folder)
    size = write_research_sheet(Path(file), found)
    text = f"{file}: {size / 1e3:.0f} kB, {count_text(len(found.rows), 'row')}"
    document = {"sweep": str(folder), "file": file, "bytes": size, "rows": len(found.rows)}
    print_answer(document, text, as_json=as_json)
    return True


def _write_sheet(run_dir: Path, file: Path, options: ReportOptions, *, as_json: bool) -> dict[str, Any]:
    """Write the tear sheet of a run; return where, how large and the result."""
    from scalpdesk.cli.waiting import progress_bar
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.monitor.documents import cut_of
    from scalpdesk.research.reruns import carry_out, fill_model_reruns, path_reruns
    from scalpdesk.web.tear_sheet import read_run, sheet_document, write_sheet

    follower = read_run(run_dir)
    assert follower.header is not None
    fill_models, paths = options.fill_models, options.paths
    if cut_of(follower) is not None:  # the same run to its end would be another one
        fill_models, paths = False, 0
    with progress_bar(as_json=as_json) as report_progress:
        clock = SystemClock()
        models = carry_out(fill_model_reruns(follower.header, clock) if fill_models else [], report_progress)
        redrawn = carry_out(path_reruns(follower.header, clock, paths), report_progress)
    document = sheet_document(follower, models, redrawn)
    return {
        "run_id": follower.header.run_id,
        "file": str(file),
        "bytes": write_sheet(file, document),
        "result": document["result"],
        "fill_models": document["models"],
        "paths": document["paths"],
    }


@desk_command(
    "replay",
    example=(
        "scalpdesk replay last --verify",
        "scalpdesk replay last --under",
        "scalpdesk replay last --under --no-fill-models --paths 100 --json",
    ),
)
@click.argument("run")
@click.option("--verify", is_flag=True, help="Stop at the first output that is not as journaled; exit 1.")
@click.option("--under", is_flag=True, help="Make it again under other fill models and on redrawn paths.")
@click.option("--fill-models/--no-fill-models", default=True, help="--under: the other fill models.")
@click.option(
    "--paths",
    type=click.IntRange(0, 1_000),
    default=20,
    show_default=True,
    help="--under: redrawn paths of an embedded session, its own among them; 0 for none.",
)
@click.option("--beside-desk", is_flag=True, hidden=True, help="End with the process that started it.")
@settings_options
def replay(
    *,
    as_json: bool,
    run: str,
    verify: bool,
    under: bool,
    fill_models: bool,
    paths: int,
    beside_desk: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int:
    """Run a journal again through an engine rebuilt from it. RUN is an id, its beginning, or last.

    With --under the session is traded anew. The run is only read; the results are kept beside the runs, and
    shown on the Runs page and in the page's tear sheet.
    """
    from scalpdesk.backtesting.runs import replay as replay_run
    from scalpdesk.core.version import BUILD

    run_dir = find_run(config_file, overrides, run)
    if under:
        from scalpdesk.cli.rerun import rerun

        rerun(run_dir, fill_models=fill_models, paths=paths, beside_desk=beside_desk, as_json=as_json)
        return 0
    verdict = replay_run(run_dir, verify=verify)
    facts = {
        "run_id": verdict.summary["run_id"],
        "build": verdict.build,
        "replayed_by": BUILD,
        "identical": verdict.identical,
        "events": verdict.events,
        "outputs": verdict.outputs,
        "difference": verdict.difference,
        "recovered": verdict.recovered,
        "decision_hash": verdict.summary["decision_hash"],
    }
    if as_json:
        print_json({**facts, "summary": verdict.summary})
    else:
        click.echo(
            f"run {facts['run_id']} of build {verdict.build}, replayed by {BUILD}:"
            f" {count_text(verdict.events, 'event')}, {count_text(verdict.outputs, 'output')}"
        )
        if verdict.recovered:
            click.echo(f"journal: {verdict.recovered}")
        word = "identical" if verdict.identical else f"different: {verdict.difference}"
        click.echo(f"{word} (decision hash {facts['decision_hash']})")
    return EXIT_FAILED if verify and not verdict.identical else 0
