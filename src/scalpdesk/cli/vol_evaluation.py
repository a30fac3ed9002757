"""``scalpdesk vol --evaluate``: the forecast models judged on a packaged series, in one table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.output import console, print_json
from scalpdesk.datasets.daily_history import PACKAGED, packaged_history

if TYPE_CHECKING:
    from scalpdesk.volatility.evaluation import ModelScore
    from scalpdesk.volatility.ohlc import Ohlc

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
        "scores": [_as_dict(one) for one in scores],
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


def _as_dict(one: "ModelScore") -> dict[str, Any]:
    test = one.against_garch
    return {
        "model": one.model,
        "horizon_days": one.horizon_days,
        "qlike": one.qlike,
        "dm_t_against_garch": None if test is None else test.t,
        "dm_p_value": None if test is None else test.p_value,
        "dm_lags": None if test is None else test.lags,
        "mcs_p_value": one.mcs_p,
        "bias": one.bias,
    }


def _print_table(document: dict[str, Any], scores: "tuple[ModelScore, ...]") -> None:
    from rich.table import Table

    horizons = sorted({one.horizon_days for one in scores})
    by_place = {(one.model, one.horizon_days): one for one in scores}
    click.echo(
        f"{PACKAGED[document['series']]}, {document['days']:,} days {document['first_day']} to "
        f"{document['last_day']}; parameters from past days only, refit every {document['refit_every']}"
    )
    click.echo(
        "loss mean(r²/f + ln f), r in percent, lower is better; DM t against GARCH(1,1), below -2 better"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("forecast")
    for days in horizons:
        for name in (f"{days} d", "DM t", "MCS p", "bias"):
            table.add_column(name, justify="right")
    for model in dict.fromkeys(one.model for one in scores):
        cells = [_cells(by_place[model, days]) for days in horizons]
        table.add_row(model, *(cell for row in cells for cell in row))
    console().print(table)
    click.echo(
        "MCS p: in the model confidence set at 10 % when above 0.10. bias: mean forecast over mean r²."
    )


def _cells(one: "ModelScore") -> tuple[str, str, str, str]:
    test = one.against_garch
    return (
        f"{one.qlike:.3f}",
        "-" if test is None else f"{test.t:+.2f}",
        "-" if one.mcs_p is None else f"{one.mcs_p:.2f}",
        f"{one.bias:.2f}",
    )
