"""``scalpdesk vol``: how much an underlying moved, how much it will, and what options charge for it."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import load_tape
from scalpdesk.cli.output import (
    cell,
    fields_of,
    new_table,
    print_answer,
    print_json,
    print_table,
    save_figure,
    table_of,
)
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import ConfigError, DataError, naming_file
from scalpdesk.core.figures import new_figure
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.units import count_text
from scalpdesk.datasets.daily_history import (
    PACKAGED,
    DailyHistory,
    find_history,
    packaged_history,
)
from scalpdesk.datasets.embedded import EMBEDDED, USUAL_DAY

if TYPE_CHECKING:
    from rich.table import Table

    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.marketdata.tape import MarketTape
    from scalpdesk.volatility.evaluation import ModelScore

_HISTORY_DAYS = 1_500
"""Daily bars that forecasts are fitted to: what a run of the desk uses."""

_RECORD_FILE = "forecasts.jsonl"
_GATE_FIELDS = ("opened_ns", "forecast_vol", "implied_level", "realised_vol", "edge_usd", "edge_stderr_usd")
"""Of a trade: what its entry gate compared and promised."""


class VolOptions(Options, frozen=True, kw_only=True):
    """What is reported, and by which bars."""

    data_set: Annotated[str, Flag("Name of the data set.", name="--data")] = EMBEDDED
    session: Annotated[date, Flag("Trading day.", "DATE", "--start")] = USUAL_DAY
    horizon: Annotated[int, Flag("Days ahead.", least=1, most=252)] = 5
    window: Annotated[int, Flag("Days back.", least=2, most=252)] = 20
    history: Annotated[
        str | None,
        Flag("Daily bars: a data set, or a CSV or Parquet file [default: DATA-daily].", "NAME|FILE"),
    ] = None
    plot: Annotated[str | None, Flag("Draw the report (extra plots).", "FILE")] = None
    keep: Annotated[
        bool, Flag("Add the forecasts and the closing implied volatility to the desk's records.")
    ] = False
    days: Annotated[
        int | None,
        Flag("With --keep: implied volatilities of N sessions [default: 1].", least=1, most=400),
    ] = None
    evaluate: Annotated[bool, Flag("Judge the forecast models on a packaged series.")] = False
    series: Annotated[Literal["sp500", "nasdaq"], Flag("")] = "sp500"
    tracked: Annotated[
        tuple[str, ...],
        Flag(
            "The entry gate's edges against what the trades of RUN then earned. May be repeated.",
            "RUN",
            "--track",
        ),
    ] = ()
    models: Annotated[
        tuple[str, ...], Flag("With --evaluate: only this model; may be repeated.", name="--model")
    ] = ()


@desk_command(
    "vol",
    example=(
        "scalpdesk vol SPY --start 2018-02-05",
        "scalpdesk vol GOOG --data lean --start 2015-12-23 --history goog_daily.csv --plot goog.png",
        "scalpdesk vol --evaluate --series nasdaq",
        "scalpdesk vol --track last",
    ),
)
@click.argument("symbol", required=False)
@options(VolOptions)
@settings_options
def vol(
    *,
    as_json: bool,
    symbol: str | None,
    options: VolOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Report the volatility of SYMBOL as known before a session, and what options charge for it.

    Realised volatility by estimator, forecasts by model with 90 % intervals, the implied volatility of
    30 days at the open, its rank and percentile, the variance premium and the regime. With --evaluate
    the forecast models are judged instead, day by day without look-ahead; with --track the entry gate.
    """
    instead = "--track" if options.tracked else "--evaluate" if options.evaluate else None
    given = {"--keep": options.keep, "--days": options.days, "--plot": options.plot}
    for name in (name for name, value in given.items() if value):
        if instead is not None:
            raise ConfigError(
                f"{instead} reports on no symbol: there is nothing for {name}",
                where=f"{instead}, {name}",
                fix=f"leave {name} out, or {instead}",
            )
    if options.tracked:
        _track_gate(options.tracked, config_file, overrides, as_json=as_json)
        return
    if options.evaluate:
        _run_evaluation(options.series, options.models, as_json=as_json)
        return
    if symbol is None:
        raise ConfigError("which underlying?", where="scalpdesk vol SYMBOL", fix="scalpdesk vol SPY")
    if options.models:
        raise ConfigError(
            "--model goes with --evaluate", where="--model", value=options.models[0], fix="add --evaluate"
        )
    days = options.days
    if days is not None and not options.keep:
        raise ConfigError("--days goes with --keep", where="--days", value=days, fix="add --keep")
    from scalpdesk.research.volatility import volatility_report

    settings = settings_from(config_file, overrides)
    day, name, data_set = options.session, symbol.upper(), options.data_set
    history = _history(settings, data_set, name, options.history).before(day, _HISTORY_DAYS)
    tape = load_tape(settings, data_set, name, day)
    document = volatility_report(tape, history, horizon=options.horizon, window=options.window)
    record_path = Path(settings.config.desk.runs_dir) / _RECORD_FILE
    if options.keep:
        _keep(document, record_path)
        document["implied_kept"] = _keep_implied(settings, tape, data_set, day, days or 1)
    document["track_record"] = _track_record(record_path, name, history)
    if options.plot is not None:
        _plot_report(document, history, Path(options.plot))
    print_answer(document, lambda: _print_report(document), as_json=as_json)


def _track_gate(
    runs: Sequence[str], config_file: str | None, overrides: tuple[str, ...], *, as_json: bool
) -> None:
    """Report the edges that the entry gate let through, and what the straddles then earned."""
    from scalpdesk.cli.history import find_run, read_stored
    from scalpdesk.report.figures import Shown, json_safe
    from scalpdesk.report.trades import Trade, gate_record

    folders = [find_run(config_file, overrides, run) for run in runs]
    url = settings_from(config_file, overrides).config.records_url
    stored = [read_stored(folder, url) for folder in folders]
    if len(currencies := sorted({each.currency for each in stored})) > 1:
        raise ConfigError(
            "runs in different currencies have no mean in common",
            where="--track",
            value=", ".join(currencies),
            fix="track those of one currency at a time",
        )
    decimals = stored[0].decimals
    trades = [
        (folder.name, trade.in_cents(each.unit))
        for folder, each in zip(folders, stored, strict=True)
        for trade in each.trades
        if trade.edge_usd is not None
    ]
    record = gate_record(trade for _, trade in trades)
    if as_json:
        rows = [{"run_id": name, **json_safe(trade)} for name, trade in trades]
        print_json({"runs": [folder.name for folder in folders], "record": record, "trades": rows})
        return
    by_name = {each.name: each for each in Shown.of(Trade)}
    heads, made = fields_of((by_name[name] for name in _GATE_FIELDS), decimals)
    made["earned"] = lambda trade: f"{trade.pnl:f}" if trade.closed_ns else "held"
    print_table(table_of([trade for _, trade in trades], f"{heads}|earned", made))
    click.echo(_gate_line(record, decimals))


def _gate_line(record: dict[str, Any], decimals: int) -> str:
    if not record["trades"]:
        return "no trade of these runs was opened on an edge and closed: nothing to compare"
    line = (
        f"{count_text(record['trades'], 'trade')}: the gate promised {record['promised']:.{decimals}f} each,"
        f" they earned {record['earned']:.{decimals}f}; {record['above_zero']:.0%} above zero,"
        f" forecast over implied {record['forecast_over_implied']:.2f}"
    )
    if record["realised_over_implied"] is not None:
        line += f", realised over implied {record['realised_over_implied']:.2f}"
    if "difference_interval" in record:
        low, high = record["difference_interval"]
        line += (
            f"; earned less promised {record['difference']:+.{decimals}f}, 95 % from {low:.{decimals}f}"
            f" to {high:.{decimals}f}"
        )
    if "correlation" in record:
        line += f"; correlation {record['correlation']:.2f}"
    return line


def _history(settings: "LoadedSettings", data_set: str, symbol: str, given: str | None) -> DailyHistory:
    if data_set == EMBEDDED and given is None:
        return packaged_history("sp500")
    return find_history(Path(settings.config.data.catalog), data_set, symbol, given)


def _keep_implied(
    settings: "LoadedSettings", tape: "MarketTape", data_set: str, day: date, days: int
) -> dict[str, Any]:
    """Keep the 30-day implied volatility at the close of a session and of those before it."""
    from scalpdesk.datasets.implied_vols import DailyImpliedVol, ImpliedVolHistory, implied_vol_at_close
    from scalpdesk.instruments.sessions import coin_session, previous_session

    trades_daily = tape.sessions[0] == coin_session(day)
    history = ImpliedVolHistory(Path(settings.config.data.catalog))
    kept, skipped = [], []
    for place in range(days):
        if place:
            day = day - timedelta(days=1) if trades_daily else previous_session(day).day
            try:
                tape = load_tape(settings, data_set, tape.underlying, day)
            except DataError as error:
                skipped.append({"session": day.isoformat(), "reason": error.what})
                continue
        vol = implied_vol_at_close(tape, day)
        if vol is None:
            skipped.append({"session": day.isoformat(), "reason": "no smile reaches to 30 days"})
        else:
            kept.append(DailyImpliedVol(tape.underlying, day, vol, tape.name))
    history.keep(kept)
    return {
        "file": str(history.path),
        "sessions": [{"session": row.session.isoformat(), "implied_vol": row.vol} for row in reversed(kept)],
        "skipped": skipped,
    }


def _keep(document: dict[str, Any], path: Path) -> None:
    from scalpdesk.volatility.track_record import KeptForecast, read_lines, to_line

    made = [
        KeptForecast(
            document["symbol"], date.fromisoformat(document["session"]), row["model"], row["horizon_days"],
            row["vol"], row["low"], row["high"], row["confidence"], document["days_per_year"],
        )
        for row in document["forecasts"]
        if row["vol"] is not None and row["made_by"] == row["model"]
    ]  # fmt: skip
    there = set(read_lines(_lines(path), str(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming_file(path), path.open("a", encoding="ascii") as out:
        out.writelines(f"{to_line(forecast)}\n" for forecast in made if forecast not in there)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii", errors="replace").splitlines() if path.is_file() else []


def _track_record(path: Path, symbol: str, history: DailyHistory) -> list[dict[str, Any]]:
    from scalpdesk.volatility.track_record import read_lines, score_record

    kept = [forecast for forecast in read_lines(_lines(path), str(path)) if forecast.symbol == symbol]
    closes = dict(zip(history.days, history.bars["close"], strict=True))
    return [msgspec.to_builtins(score) for score in score_record(kept, closes)]


def _print_report(document: dict[str, Any]) -> None:
    for part in _report_tables(document):
        print_table(part) if not isinstance(part, str) else click.echo(part)


def _report_tables(document: dict[str, Any]) -> "Iterator[str | Table]":
    """Yield the report's lines and tables in order."""
    history = document["history"]
    kind = document["data"]["kind"]
    yield f"{document['symbol']} before {document['session']} ({document['data']['name']}, {kind})"
    if history["days"]:
        yield f"daily history: {history['source']}, {history['days']} days to {history['last']}"
        yield ""
        yield f"realised, last {document['window']} days, % a year"
        made = {"estimator": lambda row: row["estimator"].replace("_", " ")}
        yield table_of(document["realised"], "estimator|vol %={vol:.1p}", made)
        yield ""
        yield f"forecast, next {document['horizon_days']} trading days, % a year"
        yield _forecasts(document)
    else:
        yield "daily history: missing, so nothing realised and no forecast; give --history NAME or FILE.csv"
    yield ""
    yield from _implied(document)
    yield _session(document)
    for record in document["track_record"]:
        yield _record_line(record)
    for line in _reasons(document):
        yield f"note: {line}"


def _forecasts(document: dict[str, Any]) -> "Table":
    def remark(row: dict[str, Any]) -> str:
        if row["made_by"] != row["model"]:
            return f"by {row['made_by']}"
        if row["held_from"] is not None:
            return f"held, own {row['held_from']:.1%}"
        return "desk default" if row["model"] == document["desk_default"] else ""

    columns = "model|vol %={vol:.1p}|90 % from={low:.1p}|to={high:.1p}|std. error={stderr:.1p}|={remark}"
    return table_of(document["forecasts"], columns, {"remark": remark}, text=("",))


def _implied(document: dict[str, Any]) -> Iterator[str]:
    implied, past, premium = document["implied"], document["implied_history"], document["variance_premium"]
    if implied["vol"] is None:
        yield f"implied: unknown, {implied['reason']}"
    else:
        yield (
            f"implied at the money, {_days(implied['days'])}: {_percent(implied['vol'])} % by the calendar "
            f"(365), {_percent(implied['vol_by_session_clock'])} % by session variance time"
        )
    if past["rank"] is None:
        yield f"IV rank, IV percentile: unknown, {past['reason']}"
    else:
        yield (
            f"VIX close before {past['vix']:.2%}: IV rank {past['rank']:.0%} of the year's range, "
            f"IV percentile {past['percentile']:.0%} of its {past['observations']} closes were lower"
        )
    if premium is not None:
        word = "options are rich" if premium["variance"] > 0.0 else "options are cheap"
        yield (
            f"variance premium: {premium['variance']:+.4f} a year, implied / forecast {premium['ratio']:.2f} "
            f"({word}; a gamma scalper wants it below zero)"
        )
    if document["regime"] is not None:
        yield f"regime by the forecast: {document['regime']}"


def _session(document: dict[str, Any]) -> str:
    came = document["session_itself"]
    if came["reason"] is not None:
        return f"the session itself: {came['reason']}"
    return (
        "the session itself, known only afterwards, open to close: "
        f"{_percent(came['five_minutes'])} % by 5 minutes, {_percent(came['bipower'])} % without jumps, "
        f"{_percent(came['kernel'])} % by the kernel"
    )


def _record_line(record: dict[str, Any]) -> str:
    head = f"track record {record['model']}, {record['horizon_days']} days: {record['forecasts']} came due"
    if not record["forecasts"]:
        return f"{head}, {record['pending']} pending"
    bias = "-" if record["bias"] is None else f"{record['bias']:.2f}"
    return (
        f"{head} ({record['pending']} pending), loss {record['qlike']:.3f}, forecast / realised variance "
        f"{bias}, {record['inside']:.0%} inside the {record['confidence']:.0%} interval"
    )


def _reasons(document: dict[str, Any]) -> list[str]:
    with_history = (*document["realised"], *document["forecasts"]) if document["history"]["days"] else ()
    found = [row["reason"] for row in with_history if row["reason"]]
    dropped = {(bar["day"], bar["reason"]) for row in document["realised"] for bar in row["dropped"]}
    bad = [f"bar of {day} left out: {reason}" for day, reason in sorted(dropped)]
    return [*dict.fromkeys(found), *bad, *document["notes"]]


def _days(days: float) -> str:
    return f"{days:.0f} day" if round(days) == 1 else f"{days:.0f} days"


def _percent(value: float | None) -> str:
    return cell(value, 1, 100.0)


DAYS_SHOWN = 252
_SIZE_INCHES = (10.0, 6.0)


def _plot_report(document: dict[str, Any], history: DailyHistory, path: Path) -> None:
    """Draw realised volatility of the last year, and the forecasts beside it, into a file.

    The suffix of ``path`` says the format: png, svg, pdf.

    Raises ConfigError when matplotlib is not installed. Raises ArgumentError when the format is unknown or
    the file cannot be written.
    """
    figure = new_figure(*_SIZE_INCHES)
    past, ahead = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    _draw_past(past, document, history)
    _draw_forecasts(ahead, document)
    save_figure(figure, path)


def _draw_past(axes: Any, document: dict[str, Any], history: DailyHistory) -> None:
    from scalpdesk.volatility.realised import realized_vol

    days = history.days[-DAYS_SHOWN:]
    window = document["window"]
    for estimator in ("yang_zhang", "close_to_close"):
        series = realized_vol(history.bars, estimator, window, document["days_per_year"]).series[-DAYS_SHOWN:]
        axes.plot(days, 100.0 * series, label=f"{estimator.replace('_', ' ')}, {window} days")
    implied = document["implied"]["vol"]
    if implied is not None:
        axes.axhline(100.0 * implied, color="black", linestyle="--", label="implied, 30 days")
    axes.set_title(f"{document['symbol']}: volatility before {document['session']}")
    axes.set_ylabel("% a year")
    axes.tick_params(axis="x", rotation=30)
    axes.legend()


def _draw_forecasts(axes: Any, document: dict[str, Any]) -> None:
    made = [row for row in document["forecasts"] if row["vol"] is not None]
    for place, row in enumerate(made):
        axes.plot([place, place], [100.0 * row["low"], 100.0 * row["high"]], color="grey")
        axes.plot(place, 100.0 * row["vol"], "o", color="C3")
    axes.set_xticks(range(len(made)), [row["model"] for row in made], rotation=60)
    axes.set_title(f"next {document['horizon_days']} days, 90 % interval")


_EVALUATED = ("ewma", "garch", "gjr", "egarch", "har", "combined")


def _run_evaluation(series: str, models: Sequence[str], *, as_json: bool) -> None:
    """Roll ``models`` over a packaged series and print their losses."""
    from scalpdesk.volatility.evaluation import score
    from scalpdesk.volatility.ohlc import read_ohlc
    from scalpdesk.volatility.rolling import FIRST_ORIGIN, REFIT_EVERY, rolling_forecasts

    history = packaged_history(series)
    with progress_bar(as_json=as_json) as report_progress:
        rolled = rolling_forecasts(
            read_ohlc(history.bars),
            tuple(models) or _EVALUATED,
            progress=lambda done, total: report_progress(done, total, "days forecast"),
        )
    scores = score(rolled)
    document: dict[str, Any] = {
        "series": series,
        "source": history.source,
        "first_day": history.days[int(rolled.origins[0]) + 1],
        "last_day": history.days[int(rolled.origins[-1]) + 1],
        "days": len(rolled.origins),
        "returns_before_first": FIRST_ORIGIN,
        "refit_every": REFIT_EVERY,
        "loss": "mean(r²/f + ln f), r in percent",
        "scores": [_as_dict(row) for row in scores],
    }
    print_answer(document, lambda: _print_table(document, scores), as_json=as_json)


def _as_dict(row: "ModelScore") -> dict[str, Any]:
    test = row.against_garch
    return {
        "model": row.model,
        "horizon_days": row.horizon_days,
        "qlike": row.qlike,
        "dm_t_against_garch": None if test is None else test.t,
        "dm_p_value": None if test is None else test.p_value,
        "dm_lags": None if test is None else test.lags,
        "mcs_p_value": row.mcs_p,
        "bias": row.bias,
    }


def _print_table(document: dict[str, Any], scores: "tuple[ModelScore, ...]") -> None:
    horizons = sorted({row.horizon_days for row in scores})
    by_place = {(row.model, row.horizon_days): row for row in scores}
    click.echo(
        f"{PACKAGED[document['series']]}, {document['days']:,} days {document['first_day']} to "
        f"{document['last_day']}; parameters from past days only, refit every {document['refit_every']}"
    )
    click.echo(
        "loss mean(r²/f + ln f), r in percent, lower is better; DM t against GARCH(1,1), below -2 better"
    )
    figures = [name for days in horizons for name in (f"{days} d", "DM t", "MCS p", "bias")]
    table = new_table("forecast", *figures)
    for model in dict.fromkeys(row.model for row in scores):
        rows = [by_place[model, days] for days in horizons]
        t_of = [None if row.against_garch is None else row.against_garch.t for row in rows]
        cells = (
            (f"{row.qlike:.3f}", "-" if t is None else f"{t:+.2f}", cell(row.mcs_p, 2), f"{row.bias:.2f}")
            for row, t in zip(rows, t_of, strict=True)
        )
        table.add_row(model, *(each for row in cells for each in row))
    print_table(table)
    click.echo(
        "MCS p: in the model confidence set at 10 % when above 0.10. bias: mean forecast over mean r²."
    )
