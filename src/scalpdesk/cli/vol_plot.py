"""The volatility report as a picture, through matplotlib (extra ``plots``)."""

from importlib import import_module
from pathlib import Path
from typing import Any

from scalpdesk.cli.output import save_figure
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.daily_history import DailyHistory

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
    try:
        figure_module = import_module("matplotlib.figure")
    except ImportError as missing:
        raise ConfigError(
            "plots need matplotlib, which is not installed",
            where="--plot",
            value=str(path),
            fix='pip install "scalpdesk[plots]"',
        ) from missing
    figure = figure_module.Figure(figsize=_SIZE_INCHES, layout="constrained")
    past, ahead = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    _draw_past(past, document, history)
    _draw_forecasts(ahead, document)
    save_figure(figure, path)


def _draw_past(axes: Any, document: dict[str, Any], history: DailyHistory) -> None:
    from scalpdesk.volatility.realized import realized_vol

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
    made = [one for one in document["forecasts"] if one["vol"] is not None]
    for place, one in enumerate(made):
        axes.plot([place, place], [100.0 * one["low"], 100.0 * one["high"]], color="grey")
        axes.plot(place, 100.0 * one["vol"], "o", color="C3")
    axes.set_xticks(range(len(made)), [one["model"] for one in made], rotation=60)
    axes.set_title(f"next {document['horizon_days']} days, 90 % interval")
