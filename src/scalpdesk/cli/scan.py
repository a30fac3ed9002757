"""``scalpdesk scan``: straddles and strangles of whole chains, ranked by their edge after all costs."""

from functools import partial
from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import Moment, instant_ns
from scalpdesk.cli.output import Made, print_answer, print_notes, print_table, table_of
from scalpdesk.cli.waiting import progress_bar

STRATEGY = "gamma-scalper"
"""Strategy whose gate, horizon and hedge a scan goes by."""


@desk_command(
    "scan",
    example=(
        "scalpdesk scan SPY --start 2018-02-05 --time 15:00",
        "scalpdesk scan SPY QQQ --start 2018-02-05 --top 50 --json",
        "scalpdesk scan SPY --start 2018-02-05 --time 15:00 --structure all",
        "scalpdesk scan GOOG --data lean --start 2015-12-24 --time 11:00 --set entry.forecast_vol=0.25",
    ),
)
@click.argument("symbols", nargs=-1, metavar="[SYMBOL ...]")
@options(Moment, "moment")
@click.option(
    "--width",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.10,
    show_default=True,
    help="Largest distance of a strike from the spot, as a fraction of it.",
)
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Positions shown; 0 is all."
)
@click.option("--straddles", is_flag=True, help="Leave strangles out.")
@click.option(
    "--structure",
    "shapes",
    multiple=True,
    metavar="NAME",
    help="Rank this shape instead, bought and sold, at its own distances (may be repeated; or all).",
)
@settings_options
def scan(
    *,
    as_json: bool,
    symbols: tuple[str, ...],
    moment: Moment,
    width: float,
    top: int,
    straddles: bool,
    shapes: tuple[str, ...],
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Rank all straddles and strangles of SYMBOL by expected edge, net of spread and hedging cost.

    Without SYMBOL the strategy's own. Every position is priced off one fit of the surface, with the
    thresholds, the horizon and the hedge of the gamma scalper's entry gate (--set entry.…, hedge.…).
    """
    from scalpdesk.assembly import bars_before
    from scalpdesk.research.chain import oldest_quote_seconds
    from scalpdesk.research.scan import ranked_rows, read_chain, scan_tape
    from scalpdesk.research.scan_structures import all_structures, scan_structures
    from scalpdesk.strategies.contract import configured_underlyings
    from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig

    settings = settings_from(config_file, overrides, STRATEGY)
    config = settings.strategy_config
    assert isinstance(config, GammaScalperConfig)
    names = [name.upper() for name in symbols] or list(configured_underlyings(config))
    chains, rows = [], []
    with progress_bar(as_json=as_json) as report:
        for done, name in enumerate(dict.fromkeys(names)):
            report(done, len(names), f"scan {name}")
            tape = moment.load(settings, name)
            now_ns, age = instant_ns(tape, moment.clock), oldest_quote_seconds(tape, moment.max_age)
            bars = bars_before(tape, settings, name, moment.session)
            if shapes:
                chain = read_chain(tape, now_ns, bars=bars, config=config, max_age_seconds=age, width=width)
                wanted = all_structures(() if "all" in shapes else shapes)
                chains.append(chain.facts)
                rows += scan_structures(chain, config, wanted)
                continue
            ranking, facts = scan_tape(
                tape,
                now_ns,
                bars=bars,
                config=config,
                max_age_seconds=age,
                width=width,
                strangles=not straddles,
            )
            chains.append(facts)
            held = config.selection.theta_weight_days
            rows += ranked_rows(ranking, name, facts["spot"], hold_days=held, most=top or None)
        report(len(names), len(names), "scan")
    rows.sort(key=lambda row: -row["edge_usd"])
    document = {"chains": chains, "positions": rows[: top or None]}
    print_answer(document, partial(_print, document, is_of_shapes=bool(shapes)), as_json=as_json)


def _print(document: dict[str, Any], *, is_of_shapes: bool) -> None:
    for chain in document["chains"]:
        _print_chain(chain)
    (_print_structures if is_of_shapes else _print_pairs)(document)
    for chain in document["chains"]:
        print_notes(chain["notes"])


def _print_structures(document: dict[str, Any]) -> None:
    columns = f"structure|{_EDGE}|delta:.2f|theta $={{theta_usd_per_day:.2f}}|OI={{open_interest}}|gate"
    table = table_of(document["positions"], columns, _MADE, is_tight=True, text=("gate",))
    print_table(table, first_to_go=("OI", "gross $", "delta"))
    click.echo("USD a set: net = gross - spread - hedge; f/i: forecast over implied; theta: a calendar day's")


def _print_pairs(document: dict[str, Any]) -> None:
    columns = (
        f"position|{_EDGE}|move $={{breakeven_move:.2f}}|move %={{breakeven_fraction:.2p}}"
        "|sprd %={spread_fraction:.1p}|size={ask_size:.0f}|OI={open_interest}|delta:.2f|gate"
    )
    table = table_of(document["positions"], columns, _MADE, is_tight=True, text=("gate",))
    print_table(table, first_to_go=("OI", "size", "gross $", "move $"))
    click.echo(
        "USD for one contract of each leg: net = gross - spread - hedge; f/i: forecast over implied; move: of"
        " the\nunderlying at once that pays a day's theta and the spread; size: displayed at the ask"
    )


def _print_chain(chain: dict[str, Any]) -> None:
    forecast = chain["forecast"]
    data = chain["data"]
    click.echo(
        f"{chain['symbol']} {chain['spot']:.2f} at {chain['session']} {chain['time']} New York "
        f"({data['name']}, {data['kind']}): "
        + (
            f"{chain['straddles']} straddles and {chain['strangles']} strangles"
            f" of {chain['expiries']} expiries, {chain['passing']} pass the gate"
            if "straddles" in chain
            else f"{chain['expiries']} expiries"
        )
    )
    line = f"  forecast {forecast['vol']:.2%} over {chain['horizon_days']:g} days ({forecast['model']}"
    if forecast.get("low") is not None:
        line += f"; before the session {forecast['vol_before_session']:.2%}"
        line += f", {forecast['confidence']:.0%} from {forecast['low']:.2%} to {forecast['high']:.2%}"
    click.echo(line + ")")
    past = forecast.get("past")
    if past is not None:
        click.echo(
            f"  its last {past['forecasts']} forecasts: variance {past['bias']:.2f} times that realised,"
            f" median miss {past['median_miss']:.2%}, {past['inside']:.0%} inside such an interval"
        )


def _structure(row: dict[str, Any]) -> str:
    expiries = "/".join(dict.fromkeys((row["expiry"], row["last_expiry"])))
    return f"{row['side']} {row['kind'].replace('_', ' ')} {row['symbol']} {expiries} {row['strikes']}"


def _name(row: dict[str, Any]) -> str:
    strikes = f"{row['call_strike']:g}"
    if row["kind"] == "strangle":
        strikes = f"{row['put_strike']:g}/{strikes}"
    return f"{row['symbol']} {row['expiry']} {strikes}"


_EDGE = (
    "net $={edge_usd:.2f}|±={edge_stderr_usd:.2f}|gross $={gross_usd:.2f}|spread $={spread_usd:.2f}"
    "|hedge $={hedge_cost_usd:.2f}|f/i={forecast_over_implied:.2f}"
)
_MADE: Made = {
    "structure": _structure,
    "position": _name,
    "gate": lambda row: "passes" if row["passes"] else "refuses",
}
