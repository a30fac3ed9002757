"""The volatility report as text and as a picture, and ``scalpdesk vol --evaluate``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.output import cell, console, new_figure, new_table, print_json, save_figure
from scalpdesk.datasets.daily_history import PACKAGED, DailyHistory, packaged_history

if TYPE_CHECKING:
    from rich.table import Table

    from scalpdesk.volatility.evaluation import ModelScore
    from scalpdesk.volatility.ohlc import Ohlc


def report_tables(document: dict[str, Any]) -> "Iterator[str | Table]":
    """Yield the report's lines and tables in order."""
    history = document["history"]
    kind = document["data"]["kind"]
    yield f"{document['symbol']} before {document['session']} ({document['data']['name']}, {kind})"
    if history["days"]:
        yield f"daily history: {history['source']}, {history['days']} days to {history['last']}"
        yield ""
        yield f"realised, last {document['window']} days, % a year"
        yield _realised(document)
        yield ""
        yield f"forecast, next {document['horizon_days']} trading days, % a year"
        yield _forecasts(document)
    else:
        yield "daily history: none, so nothing realised and no forecast; give --history NAME or FILE.csv"
    yield ""
    yield from _implied(document)
    yield _session(document)
    for record in document["track_record"]:
        yield _record_line(record)
    for line in _reasons(document):
        yield f"note: {line}"


def _realised(document: dict[str, Any]) -> "Table":
    table = new_table("estimator", "vol %")
    for row in document["realised"]:
        table.add_row(row["estimator"].replace("_", " "), _percent(row["vol"]))
    return table


def _forecasts(document: dict[str, Any]) -> "Table":
    table = new_table("model", "vol %", "90 % from", "to", "std. error", "")
    for row in document["forecasts"]:
        remark = "desk default" if row["model"] == document["desk_default"] else ""
        if row["made_by"] != row["model"]:
            remark = f"by {row['made_by']}"
        cells = (_percent(row[name]) for name in ("vol", "low", "high", "stderr"))
        table.add_row(row["model"], *cells, remark)
    return table


def _implied(document: dict[str, Any]) -> Iterator[str]:
    implied, past, premium = document["implied"], document["implied_history"], document["variance_premium"]
    if implied["vol"] is None:
        yield f"implied: none, {implied['reason']}"
    else:
        yield (
            f"implied at the money, {_days(implied['days'])}: {_percent(implied['vol'])} % by the calendar "
            f"(365), {_percent(implied['vol_by_session_clock'])} % by session variance time"
        )
    if past["rank"] is None:
        yield f"IV rank, IV percentile: none, {past['reason']}"
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


def plot_report(document: dict[str, Any], history: DailyHistory, path: Path) -> None:
    """Draw realised volatility of the last year, and the forecasts beside it, into a file.

    Parameters
    ----------
    document
        The report.
    history
        Daily bars before the session.
    path
        Its suffix says the format: png, svg, pdf.

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    ArgumentError
        When the format is unknown or the file cannot be written.
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
        series = realized_vol(history.bars, estimator, window).series[-DAYS_SHOWN:]
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


EVALUATED = ("ewma", "garch", "gjr", "egarch", "har", "combined")


def run_evaluation(series: str, models: Sequence[str], *, as_json: bool) -> None:
    """Roll ``models`` over a packaged series and print their losses.

    Parameters
    ----------
    series
        ``sp500`` or ``nasdaq``.
    models
        Names; those of :data:`EVALUATED` when empty.
    as_json
        Write one JSON document instead of a table.
    """
    from scalpdesk.volatility.evaluation import score
    from scalpdesk.volatility.ohlc import read_ohlc
    from scalpdesk.volatility.rolling import FIRST_ORIGIN, REFIT_EVERY

    history = packaged_history(series)
    rolled = _roll(read_ohlc(history.bars), tuple(models) or EVALUATED)
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
    if as_json:
        print_json(document)
    else:
        _print_table(document, scores)


def _roll(bars: "Ohlc", models: tuple[str, ...]) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    from scalpdesk.volatility.rolling import rolling_forecasts

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("days forecast", total=None)
        return rolling_forecasts(
            bars, models, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )


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
        cells = [_cells(by_place[model, days]) for days in horizons]
        table.add_row(model, *(cell for row in cells for cell in row))
    console().print(table)
    click.echo(
        "MCS p: in the model confidence set at 10 % when above 0.10. bias: mean forecast over mean r²."
    )


def _cells(row: "ModelScore") -> tuple[str, str, str, str]:
    test = row.against_garch
    return (
        f"{row.qlike:.3f}",
        "-" if test is None else f"{test.t:+.2f}",
        "-" if row.mcs_p is None else f"{row.mcs_p:.2f}",
        f"{row.bias:.2f}",
    )
