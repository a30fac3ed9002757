"""The desk from Python: load a market, run a strategy over it, look at the result."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, time
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import RunResult, run_backtest
from scalpdesk.backtesting.simulate import PreparedMarket, prepared
from scalpdesk.config.settings import LoadedSettings, load_settings
from scalpdesk.config.sources import overrides_of
from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.enums import Quality
from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.datasets.embedded import EMBEDDED
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.report.run_report import report_of
from scalpdesk.research.band_lab import HELD, BandReport, compare_recorded, compare_simulated
from scalpdesk.research.folds import FoldPlan
from scalpdesk.research.options import SweepOptions
from scalpdesk.research.session_model import BandTerms, SessionModel
from scalpdesk.research.sweep import SweepFolder, SweepResult
from scalpdesk.research.sweep_plan import SweepPlan, run_plan

if TYPE_CHECKING:
    from scalpdesk.research.parity import ParityResult
    from scalpdesk.research.stored_run import StoredRun
    from scalpdesk.research.volatility import PremiumHistory
    from scalpdesk.research.walk_forward import WalkForwardResult


def load_data(
    name: str = EMBEDDED,
    *,
    start: str | date,
    end: str | date | None = None,
    underlying: str = "SPY",
    catalog: str | Path | None = None,
    seed: int = 1,
    quality: Quality | None = None,
) -> MarketTape:
    """Load sessions of a market.

    Parameters
    ----------
    name
        ``embedded``, or a data set of the catalogue (``scalpdesk data ls``).
    start, end
        First and last session, both included; one session without ``end``. A text is written
        ``YYYY-MM-DD``; of a datetime or a pandas timestamp midnight stands for its day.
    underlying
        Share, index, future's root or option root.
    catalog
        Folder of the catalogue; None takes ``data.catalog`` of the configuration. Runs on the data look for
        daily history there too, and their replays for the quotes.
    seed
        Path of the embedded market.
    quality
        Quotes of the embedded market: ``real`` has faults; None takes ``data.quality``.

    Raises
    ------
    ArgumentError
        When a day is missing, the last lies before the first, or a name or the seed is of another type.
    DataError
        When the data set, the underlying or a session is not there; says what is.
    """
    _check_type("name", name, str, EMBEDDED)
    _check_type("underlying", underlying, str, "SPY")
    _check_type("seed", seed, Integral, 1)
    _check_folder("catalog", catalog)
    first = _day(start, "start")
    last = first if end is None else _day(end, "end")
    if last < first:
        raise ArgumentError(
            "the last day lies before the first",
            where="end",
            value=str(last),
            fix=f'start="{last}", end="{first}", or leave end out for one day',
        )
    named = {"data.catalog": catalog, "data.quality": quality}
    chosen = [f"{key}={value}" for key, value in named.items() if value is not None]
    settings = load_settings(None, overrides=chosen, environ=os.environ, cwd=Path())
    tape = load_market(settings, name, underlying=underlying, start=first, end=last, seed=seed)
    return tape if catalog is None else replace(tape, catalog=str(Path(catalog).absolute()))


def backtest(
    strategy: str,
    data: MarketTape | PreparedMarket,
    *,
    settings: Mapping[str, Any] | None = None,
    runs_dir: str | Path | None = None,
    seed: int | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Run a strategy over a market.

    Parameters
    ----------
    strategy
        Its name, e.g. ``gamma-scalper``.
    data
        From :func:`load_data`; prepared, what was worked out for a run over it serves the next.
    settings
        Keys as for ``--set``, e.g. ``{"hedge.threshold_shares": 5}``; also tables and lists, as
        ``{"simulation.positions": {"SPY": 100}, "risk.allowed_underlyings": ["SPY"]}``.
    runs_dir
        Folder in which to keep the run's journal; None keeps no journal.
    seed
        Written into the run's record.
    clock
        Stamps the run's start; the machine's clock when None.

    Returns
    -------
    RunResult
        ``summary`` (the run summary), ``marks`` (the book over time), and with a journal or without
        ``orders``, ``fills``, ``decisions``, ``sessions``, ``trades`` and ``hedges``; ``to_frame`` makes
        frames of them.

    Raises
    ------
    ArgumentError
        When ``data`` is no market, or another argument is of another type.
    ConfigError
        For a key or value that the configuration does not have; names the nearest.
    """
    market, overrides = _check_run(strategy, data, settings, seed)
    _check_folder("runs_dir", runs_dir)
    return run_backtest(
        load_settings(strategy, overrides=overrides),
        market,
        clock or SystemClock(),
        seed=seed,
        runs_dir=None if runs_dir is None else Path(runs_dir),
    )


def sweep(
    strategy: str,
    data: MarketTape | PreparedMarket,
    params: Mapping[str, str | Sequence[Any]],
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    engine: Literal["local", "ray"] = "local",
    workers: int | None = 1,
    address: str | None = None,
    search: int | None = None,
    search_seed: int = 1,
    out: str | Path | None = None,
) -> SweepResult:
    """Run a strategy with every combination of some settings, or search among them.

    Parameters
    ----------
    strategy, data, settings, seed
        As in :func:`backtest`. The paths of a reconstructed market are drawn with the seed of its data.
    params
        Values by key: ``{"hedge.threshold_shares": [2, 5, 10]}``, or a range as of ``--param``:
        ``{"hedge.threshold_shares": "1:20:log:5"}``; without its number in a search.
    engine
        ``local``: processes of this machine; ``ray``: a Ray cluster (extra ``ray``).
    workers
        Processes; None: one a processor. A script that gives another number than 1 guards its main part:
        ``if __name__ == "__main__":``.
    address
        Of a running Ray cluster; None starts one here.
    search
        Backtests that Optuna proposes (extra ``search``) in place of every combination.
    search_seed
        Of the proposals.
    out
        Folder that keeps the rows: the same sweep goes on where it ended. None keeps nothing.

    Returns
    -------
    SweepResult
        ``rows``, ``to_frame()`` and ``plot()``.

    Raises
    ------
    ArgumentError
        When ``data`` is no market, or another argument is of another type.
    ConfigError
        When no combination is a configuration, or a package is missing.
    """
    market, overrides = _check_run(strategy, data, settings, seed)
    _check_type("params", params, Mapping, {"hedge.threshold_shares": [2, 5]})
    _check_folder("out", out)
    # a list is written as one value of --set: with commas between
    texts = [text for key, values in params.items() for text in overrides_of({key: values})]
    options = SweepOptions(
        engine=engine, workers=workers, address=address, search=search, search_seed=search_seed
    )
    plan = SweepPlan.read(texts, options)

    def load(texts: tuple[str, ...]) -> LoadedSettings:
        return load_settings(strategy, overrides=[*overrides, *texts])

    def silent(_done: int, _of_all: int, _label: str) -> None: ...

    folder = None if out is None else SweepFolder(Path(out))
    about = {"strategy": strategy, "data": market.facts(), "params": texts, "search": search}
    return run_plan(
        plan, load, market, seed=seed, folder=folder, about=about, preparing=silent, report=silent
    )


def walk_forward(
    strategy: str,
    data: MarketTape | PreparedMarket,
    params: Mapping[str, str | Sequence[Any]],
    *,
    folds: int | None = None,
    train: int | None = None,
    test: int | None = None,
    anchored: bool = False,
    purge: int = 0,
    embargo: int = 0,
    metric: Literal["sharpe", "pnl"] = "sharpe",
    one_run: bool = False,
    earlier_trials: int = 0,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    workers: int | None = 1,
) -> "WalkForwardResult":
    """Choose settings on past sessions and judge each choice on the sessions that follow.

    Parameters
    ----------
    strategy, data, params, settings, seed, workers
        As in :func:`sweep`; the data has several sessions.
    folds, train, test, anchored, purge, embargo
        How the sessions are divided: see :class:`~scalpdesk.research.folds.FoldPlan`.
    metric
        Figure that a choice maximises.
    one_run
        Choose by the P&L by session of one backtest over all sessions; by default each choice has
        backtests of its own, which begin flat.
    earlier_trials
        Configurations that were tried before, beside these.

    Returns
    -------
    WalkForwardResult
        ``report`` has all figures; ``to_frame()`` the P&L out of sample by session.

    Raises
    ------
    ArgumentError
        When an argument is of another type, or the sessions do not suffice.
    ConfigError
        When no combination is a configuration.
    """
    from scalpdesk.research.walk_forward import (  # noqa: PLC0415 - a backtest needs no scipy
        walk_forward as run_walk_forward,
    )

    market, overrides = _check_run(strategy, data, settings, seed)
    _check_type("params", params, Mapping, {"hedge.threshold_shares": [2, 5]})
    plan = FoldPlan(
        folds=folds,
        train=train,
        test=test,
        anchored=anchored,
        purge=purge,
        embargo=embargo,
        metric=metric,
        one_run=one_run,
        earlier_trials=earlier_trials,
    )
    texts = [text for key, values in params.items() for text in overrides_of({key: values})]
    return run_walk_forward(
        SweepPlan.read(texts, SweepOptions(workers=workers)),
        lambda texts: load_settings(strategy, overrides=[*overrides, *texts]),
        market,
        plan,
        seed=seed,
    )


def run_desk(
    strategy: str,
    data: MarketTape | PreparedMarket,
    *,
    runs_dir: str | Path,
    settings: Mapping[str, Any] | None = None,
    venue: Mapping[str, Any] | None = None,
) -> RunResult:
    """Run the live desk over one session at the simulated venue, in the market's own time.

    The desk is that of ``scalpdesk run --venue simulated --speed max``: it connects, sends, reconciles and
    writes its journal as at any venue.

    Parameters
    ----------
    strategy, data, settings
        As in :func:`backtest`; the data has one session.
    runs_dir
        Folder in which to keep the run's journal.
    venue
        Conditions at the venue that the desk's configuration does not know, by the keys of its section
        ``simulation``: ``{"latency_ms": 400, "fees": "alpaca"}``. None: as configured.

    Returns
    -------
    RunResult
        As of a backtest; :func:`parity` compares the two.

    Raises
    ------
    ArgumentError
        When ``data`` is no market of one session, or another argument is of another type.
    ConfigError
        For a key or value that the configuration does not have; names the nearest.
    """
    from scalpdesk.assembly import connect_broker, gamma_events, starting_positions  # noqa: PLC0415 - a backtest needs no desk
    from scalpdesk.core.clock import FollowingClock  # noqa: PLC0415
    from scalpdesk.live.assembly import LiveDesk  # noqa: PLC0415
    from scalpdesk.live.options import RunOptions  # noqa: PLC0415
    from scalpdesk.live.plan import plan_of  # noqa: PLC0415
    from scalpdesk.live.run import carry_out  # noqa: PLC0415
    from scalpdesk.simulation.hours import TapeHours  # noqa: PLC0415
    from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway  # noqa: PLC0415

    market, overrides = _check_run(strategy, data, settings, None)
    _check_folder("runs_dir", runs_dir, may_be_none=False)
    conditions: Any = {} if venue is None else venue
    _check_type("venue", conditions, Mapping, {"latency_ms": 400})
    tape = market.tape
    if len(tape.sessions) != 1:
        raise ArgumentError(
            "the simulated venue plays one session",
            where="data",
            value=f"{len(tape.sessions)} sessions",
            fix='data=load_data(start="2018-02-05")',
        )
    overrides = [*overrides, f"desk.runs_dir={runs_dir}"]
    own = load_settings(strategy, overrides=overrides)
    there = load_settings(
        strategy, overrides=[*overrides, *overrides_of({"simulation": dict(conditions)})]
    ).config
    connection = connect_broker(
        there,
        tape.instruments,
        TapeHours(tape.sessions),
        there.simulation.starting_cash,
        starting_positions(tape, there),
    )
    clock = FollowingClock()
    played = PlayedSession(tape, connection, exposures=gamma_events(tape, own))
    day = tape.sessions[0].day
    options = RunOptions(start=day, data_set=tape.name, speed="max", sessions=1, new_run=True)
    plan = plan_of(own, options)
    desks: list[LiveDesk] = []
    course = carry_out(
        plan,
        notify=lambda _level, _text: None,
        clock=clock,
        gateway=SimulatedGateway(played, clock),
        on_ready=desks.append,
    )
    with ThreadPoolExecutor(1) as own_thread:  # a notebook's own thread has a loop that runs already
        summary = own_thread.submit(asyncio.run, course).result()
    desk = desks[-1]
    return RunResult(summary, desk.run_dir, report_of(desk.header, desk.fold, summary, vix_before))


def parity(
    run: RunResult | str | Path, data: MarketTape | None = None, *, seed: int | None = None
) -> "ParityResult":
    """Compare a live run with its backtest: the difference of their P&L, in parts that sum to it.

    Parameters
    ----------
    run
        From :func:`run_desk`, or the folder of a run of a venue, the sandbox or the simulated venue.
    data
        Market that the backtest plays; None takes that of the run itself, or its recorded stream.
    seed
        Path of an embedded market.

    Returns
    -------
    ParityResult
        ``document`` has all figures; ``to_frame()`` and ``plot()`` the parts.

    Raises
    ------
    ArgumentError
        When the run is a backtest or has no journal.
    DataError
        When no session was opened in it.
    """
    from scalpdesk.research.parity import ParityResult, compare, played_by  # noqa: PLC0415 - a backtest needs neither

    folder = _folder_of(run)
    return ParityResult(compare(folder, played_by(folder) if data is None else data, seed=seed))


def load_run(run: RunResult | str | Path) -> "StoredRun":
    """Load a journaled run.

    Parameters
    ----------
    run
        Of :func:`backtest` with ``runs_dir`` or of :func:`run_desk`, or the folder of a run.

    Returns
    -------
    StoredRun
        A result as :func:`backtest` gives it, with ``positions``, ``notes`` and its row in the store.

    Raises
    ------
    ArgumentError
        When the run has no journal.
    JournalError
        When the journal is damaged or not there.
    """
    from scalpdesk.research.stored_run import read_stored  # noqa: PLC0415 - a backtest needs no store

    return read_stored(_folder_of(run))


def _folder_of(run: object) -> Path:
    """Return the folder of a run's journal."""
    folder = run.run_dir if isinstance(run, RunResult) else run
    if not isinstance(folder, str | Path):
        raise ArgumentError(
            "the run has no journal",
            where="run",
            value=type(run).__name__,
            fix='backtest(..., runs_dir="runs") keeps a journal; or name the folder of a run',
        )
    return Path(folder)


def premium_history(
    name: str = EMBEDDED,
    *,
    start: str | date,
    end: str | date,
    underlying: str = "SPY",
    catalog: str | Path | None = None,
    history: str | Path | None = None,
    horizon: int = 21,
) -> "PremiumHistory":
    """Compare implied volatility day by day with the forecast and with what was realised after.

    Parameters
    ----------
    name
        ``embedded``: S&P 500 and VIX of 2014 to 2018, both real. Else a data set of the catalogue: its daily
        bars, and the implied volatilities that ``scalpdesk vol --keep`` has kept.
    start, end
        First and last day, both included; as in :func:`load_data`.
    underlying
        Its symbol.
    catalog
        Folder of the catalogue; None takes ``data.catalog`` of the configuration.
    history
        Daily bars: another data set, or a CSV or Parquet file. None: those of the data set.
    horizon
        Sessions that forecast and realised volatility cover: 21 are the 30 days of the VIX.

    Returns
    -------
    PremiumHistory
        ``rows``, ``mean_premium``, ``to_frame()`` and ``plot()``.

    Raises
    ------
    ArgumentError
        When an argument is of another type.
    DataError
        When bars or implied volatilities are not there.
    """
    from scalpdesk.datasets.daily_history import find_history, packaged_history, packaged_vix  # noqa: PLC0415
    from scalpdesk.datasets.implied_vols import VIX_SYMBOLS, ImpliedVolHistory  # noqa: PLC0415
    from scalpdesk.instruments.deribit import is_perpetual  # noqa: PLC0415
    from scalpdesk.research.volatility import premium_history as compared  # noqa: PLC0415 - a backtest needs no scipy

    _check_type("name", name, str, EMBEDDED)
    _check_type("underlying", underlying, str, "SPY")
    _check_type("horizon", horizon, Integral, 21)
    _check_folder("catalog", catalog)
    _check_folder("history", history)
    first, last = _day(start, "start"), _day(end, "end")
    overrides = () if catalog is None else (f"data.catalog={catalog}",)
    folder = Path(load_settings(None, overrides=overrides).config.data.catalog)
    implied: dict[date, float] = {}
    if name == EMBEDDED and underlying == "SPY" and history is None:
        bars = packaged_history("sp500")
    else:
        bars = find_history(folder, name, underlying, None if history is None else str(history))
        implied = {row.session: row.vol for row in ImpliedVolHistory(folder).read(underlying)}
    source = f"{underlying}, {bars.source}"
    if not implied and underlying in VIX_SYMBOLS:
        vix = packaged_vix()
        implied = {day: close / 100.0 for day, close in zip(vix.days, vix.bars["close"], strict=True)}
        source = f"{bars.source} and {vix.source}"
    return compared(
        replace(bars, source=source),
        implied,
        start=first,
        end=last,
        horizon=horizon,
        periods_per_year=365.0 if is_perpetual(underlying) else 252.0,
    )


def _check_run(
    strategy: object, data: object, settings: object, seed: object
) -> tuple[PreparedMarket, list[str]]:
    """Return the market of a run and its settings as texts; refuse what is of another type."""
    if not isinstance(data, MarketTape | PreparedMarket):  # a frame, or the name of a data set
        raise ArgumentError(
            "a backtest takes a market",
            where="data",
            value=type(data).__name__,
            fix='data=load_data(NAME, start="2018-02-05"); quotes of yours: scalpdesk data import csv',
        )
    if not isinstance(strategy, str):  # a class, or a strategy itself
        raise ArgumentError(
            "a strategy goes by its name",
            where="strategy",
            value=repr(strategy),
            fix='strategy="gamma-scalper"; one of yours gets a name by docs/developing/write_a_strategy.md',
        )
    chosen: Any = {} if settings is None else settings
    _check_type("settings", chosen, Mapping, {"hedge.threshold_shares": 5})
    _check_type("seed", 1 if seed is None else seed, Integral, 1)
    market = prepared(data)
    catalog = market.tape.catalog
    return market, [*([] if catalog is None else [f"data.catalog={catalog}"]), *overrides_of(chosen)]


def bands(
    data: MarketTape | Sequence[MarketTape] | None = None,
    *,
    names: Sequence[str] | None = None,
    delta_cap: float | None = None,
    risk_aversion: float | None = None,
    least_fraction: float = 0.5,
    settings: Mapping[str, Any] | None = None,
    **market: Any,
) -> BandReport:
    """Compare hedge bands over the same sessions and recommend a band.

    Parameters
    ----------
    data
        Single sessions from :func:`load_data`; without any, simulated sessions.
    names
        Bands to compare, e.g. ``["fixed", "whalley_wilmott"]``; None compares all.
    delta_cap
        Largest net delta in shares that you take; the aversion to risk is that of a band that hedges there.
    risk_aversion
        1/currency; None takes that of the cap, or 0.01.
    least_fraction
        Smallest hedge of bands that stop at their edge, as a part of the half width.
    settings
        With ``data``: keys as for ``--set``, e.g. ``{"selection.max_expiration_days": 1}``.
    **market
        Without ``data``: fields of :class:`~scalpdesk.research.session_model.SessionModel`, e.g.
        ``days=500, vol=0.2, dte=7, model="jumps", seed=3``.

    Returns
    -------
    BandReport
        ``rows``, ``recommendation``, ``to_frame()`` and ``plot()``.

    Raises
    ------
    ArgumentError
        For a field or a band that the lab does not have, or fields of a simulated market beside sessions.
    DataError
        When no session had a straddle to hedge.
    """
    chosen = None if names is None else tuple(names)
    terms = BandTerms(delta_cap=delta_cap, risk_aversion=risk_aversion, least_fraction=least_fraction)
    known = SessionModel.__struct_fields__
    unknown = next((name for name in market if data is not None or name not in known), None)
    if unknown is not None:
        raise ArgumentError(
            "recorded sessions have what the market had" if unknown in known else "unknown field of a market",
            where=unknown,
            value=repr(market[unknown]),
            nearest=nearest_name(unknown, known),
            fix="leave it out",
        )
    if data is None:
        return compare_simulated(SessionModel(**market), chosen, terms)
    tapes = {tape.sessions[0].day: tape for tape in ([data] if isinstance(data, MarketTape) else data)}
    own = overrides_of(settings or {})

    def settings_of(more: Sequence[str]) -> LoadedSettings:
        return load_settings("gamma-scalper", overrides=[*HELD, *own, *more])

    return compare_recorded(list(tapes), tapes.__getitem__, settings_of, chosen, terms)


def tear_sheet(result: "SweepResult | WalkForwardResult | BandReport", file: str | Path) -> Path:
    """Write the tear sheet of a sweep, a walk-forward test or a comparison of bands: one offline HTML file.

    Parameters
    ----------
    result
        From :func:`sweep`, :func:`walk_forward` or :func:`bands`.
    file
        Where to write it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        For another result, or when the file cannot be written.
    """
    from scalpdesk.research.walk_forward import WalkForwardResult  # noqa: PLC0415 - a backtest needs no scipy
    from scalpdesk.web.research_sheets import write_research_sheet  # noqa: PLC0415

    if not isinstance(result, SweepResult | WalkForwardResult | BandReport):
        raise ArgumentError(
            "no tear sheet of this",
            where="result",
            value=type(result).__name__,
            fix="a result of sweep, walk_forward or bands; of a run: scalpdesk report RUN --html FILE",
        )
    write_research_sheet(Path(file), result)
    return Path(file)


def _check_type(where: str, value: object, kind: type, example: object) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        words: dict[object, str] = {Integral: "whole number", Mapping: "table of keys and values"}
        wanted = words.get(kind, "name")
        raise ArgumentError(
            f"not a {wanted}", where=where, value=repr(value), fix=f"write it as {where}={example!r}"
        )


def _check_folder(where: str, folder: object, *, may_be_none: bool = True) -> None:
    if not isinstance(folder, str | Path) and not (folder is None and may_be_none):
        raise ArgumentError(
            "not a folder",
            where=where,
            value=repr(folder),
            fix=f'write it as {where}="FOLDER"{", or leave it out" if may_be_none else ""}',
        )


def _day(day: str | date, where: str) -> date:
    try:
        if isinstance(day, datetime):  # pandas' timestamp is one, and its NaT, which has no time
            day = day.date() if day.time() == time() else str(day)
        return day if isinstance(day, date) else date.fromisoformat(day)
    except (TypeError, ValueError) as problem:
        raise ArgumentError(
            "not a day", where=where, value=str(day), fix=f'write it as {where}="2018-02-05"'
        ) from problem
