"""``scalpdesk bands``: every hedge band over the same sessions, and the band to take."""

from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import to_builtins
from msgspec.structs import replace

from scalpdesk.cli.command import (
    desk_command,
    html_option,
    settings_from,
    settings_options,
    write_result_sheet,
)
from scalpdesk.cli.flags import given_flags, options
from scalpdesk.cli.market import load_tape, read_span, seed_option
from scalpdesk.cli.output import Made, print_answer, print_table, save_figure, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import ConfigError
from scalpdesk.datasets.embedded import EMBEDDED
from scalpdesk.research.session_model import BandTerms, SessionModel

if TYPE_CHECKING:
    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.research.band_lab import BandReport


@desk_command(
    "bands",
    example=(
        "scalpdesk bands --delta-cap 8",
        "scalpdesk bands --model stochastic_vol --vol 0.2 --dte 7 --bands fixed,whalley_wilmott",
        "scalpdesk bands --data embedded --start 2018-02-05 --end 2018-02-09 --plot bands.png",
        "scalpdesk bands --delta-cap 8 --html bands.html",
    ),
)
@options(SessionModel, "market")
@click.option("--data", "data_set", help="Sessions of this data set instead: the desk's own.")
@click.option("--start", metavar="DATE", help="With --data: first day.")
@click.option("--end", metavar="DATE", help="With --data: last day [default: the first].")
@click.option("--bands", "names", metavar="NAMES", help="Bands with commas between them [default: all].")
@options(BandTerms, "terms")
@seed_option
@click.option("--plot", "plot_file", metavar="FILE", help="Draw the frontier (extra plots).")
@html_option
@settings_options
def bands(
    *,
    as_json: bool,
    market: SessionModel,
    data_set: str | None,
    start: str | None,
    end: str | None,
    names: str | None,
    terms: BandTerms,
    seed: int | None,
    plot_file: str | None,
    html_file: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Compare hedge bands over the same sessions and recommend a band.

    One straddle at the money is held through each simulated session, or with --data the straddle that the
    gamma scalper buys in each session of a data set, at the desk's own looks. The mean P&L is weighed against
    its spread by the aversion to risk at which the Whalley-Wilmott band hedges at --delta-cap.
    """
    from scalpdesk.research.band_lab import compare_recorded, compare_simulated

    given = given_flags(SessionModel)
    if data_set is not None and given:
        raise ConfigError(
            "recorded sessions have what the market had",
            where=given[0],
            fix=f"leave {given[0]} out, or --data",
        )
    if data_set is None and (start is not None or end is not None):
        raise ConfigError(
            "--start and --end go with --data", where="--start, --end", fix=f"add --data {EMBEDDED}"
        )
    chosen = None if names is None else tuple(name.strip() for name in names.split(","))
    with progress_bar(as_json=as_json) as progress:
        if data_set is None:
            drawn = replace(market, seed=1 if seed is None else seed)
            report = compare_simulated(drawn, chosen, terms, progress=progress)
        else:
            if start is None:
                raise ConfigError("which sessions?", where="--start", fix="--start 2018-02-05")
            base = _settings_of(config_file, overrides, ())
            first, last = read_span(start, end)
            symbol = base.strategy_config.underlying
            report = compare_recorded(
                _sessions_of(base, data_set, symbol, first, last, seed),
                partial(load_tape, base, data_set, symbol, seed=seed),
                partial(_settings_of, config_file, overrides),
                chosen,
                terms,
                seed=base.config.simulation.seed if seed is None else seed,
                progress=progress,
            )
    if plot_file is not None:
        save_figure(report.plot(), Path(plot_file))
    if html_file is not None:
        write_result_sheet(report, html_file)
    print_answer(to_builtins(report), partial(show, report), as_json=as_json)


def _settings_of(config_file: str | None, overrides: Sequence[str], more: Sequence[str]) -> "LoadedSettings":
    """Return the gamma scalper's settings: the straddle is held whatever it earns, but for what is given."""
    from scalpdesk.research.band_lab import HELD

    return settings_from(config_file, (*HELD, *overrides, *more), "gamma-scalper")


def _sessions_of(
    settings: "LoadedSettings", data_set: str, symbol: str, first: date, last: date, seed: int | None
) -> list[date]:
    """Return the sessions of a span that a data set has."""
    if data_set == EMBEDDED:
        from scalpdesk.datasets.embedded.market import available_sessions

        found = [day for day in available_sessions() if first <= day <= last]
        if found:
            return found
    tape = load_tape(settings, data_set, symbol, first, last=last, seed=seed)
    return [session.day for session in tape.sessions]


def show(report: "BandReport") -> None:
    """Print the table of bands and the recommendation."""
    from scalpdesk.research.band_lab import advice

    columns = (
        "band|setting|±shares={half_width_shares:.2f}|mean:.2f|spread:.2f|cost:.2f|error:.2f|hedges:.1f"
        "|largest={largest_delta:.1f}|worth={certainty_equivalent:.2f}|={marks}"
    )
    made: Made = {
        "band": lambda row: row.band.replace("_", " "),
        "marks": lambda row: (("frontier" * row.on_frontier) + ("" if row.eligible else " -")).strip(),
    }
    table = table_of(report.rows, columns, made, left=2)
    print_table(table, first_to_go=("largest", "error"))
    click.echo("")
    click.echo(
        f"{report.days} sessions, a day each; unhedged spread {report.unhedged_spread:.2f}; worth is the mean"
        f" less half of {report.risk_aversion:.3g} times the squared spread; - is not recommended"
    )
    for skipped in report.market.get("skipped", ()):
        click.echo(f"note: {skipped['day']} left out: {skipped['reason']}")
    chosen = report.recommendation
    if chosen is None:
        click.echo("no band keeps to the delta cap: raise --delta-cap")
        return
    click.echo(advice(chosen))
    click.echo(" ".join(f"--set {key}={value}" for key, value in chosen.settings.items()))
