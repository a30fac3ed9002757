"""How ``scalpdesk gex`` shows an exposure: a JSON document, a table with bars, a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from scalpdesk.cli.output import console, new_figure, save_figure
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.regime.exposure_history import SessionExposure
from scalpdesk.signals.chain_exposure import NEAR_MONEY, PricedChain
from scalpdesk.signals.gamma_exposure import (
    FLIP_SPAN,
    FLIP_STEP,
    exposure_near,
    gamma_exposure,
    gamma_flip,
    repriced_exposure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONVENTION = "calls +, puts -: customers are taken to sell calls and buy puts; nobody can observe it"
BAR_CELLS = 24
PROFILE_SHOWN = (-0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05)
MILLION = 1e6
NEAR_CHAIN = 0.05
FEWEST_STRIKES = 5


@dataclass(frozen=True, slots=True)
class ChainAt:
    """A priced chain and where it is from."""

    symbol: str
    data: str
    kind: str
    day: date
    now_ns: int
    priced: PricedChain
    notes: tuple[str, ...]

    def as_session(self) -> SessionExposure:
        """Return the exposure as the session's, to be kept."""
        found = gamma_exposure(self.priced.rows, self.priced.spot)
        if found.net_usd is None:
            return SessionExposure(self.day, math.nan, math.nan)
        return SessionExposure(self.day, found.net_usd, exposure_near(found, NEAR_MONEY))


def exposure_document(at: ChainAt, usual_usd: tuple[float, float]) -> dict[str, Any]:
    """Return the exposure ready for JSON: USD of dealers' delta per move of 1 %.

    Parameters
    ----------
    at
        The chain.
    usual_usd
        What counts as large, of the whole chain and near the money; NaN without a history.
    """
    priced = at.priced
    rows, spot = priced.rows, priced.spot
    found = gamma_exposure(rows, spot)
    steps = round(FLIP_SPAN / FLIP_STEP)
    levels = spot * (1.0 + np.arange(-steps, steps + 1, dtype=np.float64) * FLIP_STEP)
    profile = repriced_exposure(rows, levels, rate=priced.rate, dividend_yield=priced.borrow)
    flip = gamma_flip(rows, spot, rate=priced.rate, dividend_yield=priced.borrow)
    usual, near_usual = (None if math.isnan(one) else one for one in usual_usd)
    net = found.net_usd
    return {
        "symbol": at.symbol,
        "data": {"name": at.data, "kind": at.kind},
        "session": str(at.day),
        "at": datetime.fromtimestamp(at.now_ns / NANOS_PER_SECOND, UTC).isoformat(),
        "time": f"{to_new_york(at.now_ns):%Y-%m-%d %H:%M}",
        "spot": spot,
        "net_usd": net,
        "sum_usd": found.sum_usd,
        "reason": found.reason,
        "near_usd": exposure_near(found, NEAR_MONEY),
        "usual_usd": usual,
        "near_usual_usd": near_usual,
        "relative": net / usual if net is not None and usual is not None else None,
        "call_wall": found.call_wall,
        "put_wall": found.put_wall,
        "flip": flip,
        "coverage": found.coverage,
        "rows": {
            "listed": found.rows_listed,
            "counted": found.rows_counted,
            "vol_quoted": priced.from_quotes,
            "vol_from_smile": priced.from_smile,
        },
        "expiries": [{"expiry": str(day), "net_usd": usd} for day, usd in found.by_expiry],
        "strikes": [
            {"strike": one.strike, "call_usd": one.call_usd, "put_usd": one.put_usd, "net_usd": one.net_usd}
            for one in found.by_strike
        ],
        "profile": [
            {"spot": float(level), "net_usd": float(usd)} for level, usd in zip(levels, profile, strict=True)
        ],
        "convention": CONVENTION,
        "notes": [*_sampled([one.strike for one in found.by_strike], spot), *at.notes],
    }


def _sampled(strikes: Sequence[float], spot: float) -> list[str]:
    """Say so when the strikes are too few to be a chain: coverage knows only of options that are listed."""
    near = sum(abs(strike / spot - 1.0) <= NEAR_CHAIN for strike in strikes)
    if near >= FEWEST_STRIKES:
        return []
    return [f"only {near} strikes within {NEAR_CHAIN:.0%} of the spot: a sample of a chain, not a chain"]


def print_exposure(document: dict[str, Any], strikes: int) -> None:
    """Write the facts, a bar a strike, the expiries and the profile."""
    data, spot = document["data"], document["spot"]
    click.echo(
        f"{document['symbol']} {spot:.2f} at {document['time']} New York, open interest of "
        f"{document['session']} ({data['name']}, {data['kind']})"
    )
    net, rows = document["net_usd"], document["rows"]
    if net is None:
        click.echo(
            f"net exposure  not known: {document['reason']} (what counts sums to "
            f"{_millions(document['sum_usd'])})"
        )
    else:
        held = "long" if net > 0.0 else "short"
        click.echo(
            f"net exposure  {_millions(net)} USD per 1 %: dealers {held} gamma, if the convention holds"
        )
    relative = document["relative"]
    against = (
        "no history to compare with" if relative is None else f"{relative:+.2f} of what is usually large"
    )
    click.echo(f"near money    {_millions(document['near_usd'])} within 0.5 %; {against}")
    flip = document["flip"]
    where = "none within 15 %" if flip is None else f"{flip:.2f} ({flip / spot - 1.0:+.2%})"
    walls = " / ".join(
        "-" if document[name] is None else f"{document[name]:g}" for name in ("call_wall", "put_wall")
    )
    click.echo(f"flip          {where}; call wall / put wall {walls}")
    click.echo(
        f"coverage      {document['coverage']:.1%} of {rows['listed']} options; volatility quoted "
        f"{rows['vol_quoted']}, from the fitted smile {rows['vol_from_smile']}"
    )
    _print_strikes(document, strikes)
    _print_expiries(document)
    _print_profile(document)
    click.echo(f"note: {document['convention']}")
    for note in document["notes"]:
        click.echo(f"note: {note}")
    if "published" in document:
        click.echo(f"published to {document['published']['document']}")


def _print_strikes(document: dict[str, Any], shown: int) -> None:
    from rich.table import Table

    spot, every = document["spot"], document["strikes"]
    if not every:
        return
    middle = min(range(len(every)), key=lambda i: abs(every[i]["strike"] - spot))
    near = every[max(middle - shown, 0) : middle + shown + 1]
    top = max(max(abs(one["call_usd"]), abs(one["put_usd"])) for one in near) or 1.0
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name, side in (
        ("strike", "right"),
        ("puts", "right"),
        ("", "right"),
        (" ", "left"),
        ("calls", "right"),
    ):
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("net M", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in reversed(near):
        marks = [
            name.replace("_", " ") for name in ("call_wall", "put_wall") if document[name] == one["strike"]
        ]
        marks += ["spot"] if one is every[middle] else []
        table.add_row(
            f"{one['strike']:g}",
            _cell(one["put_usd"]),
            "▒" * round(BAR_CELLS * abs(one["put_usd"]) / top),
            "█" * round(BAR_CELLS * one["call_usd"] / top),
            _cell(one["call_usd"]),
            _cell(one["net_usd"]),
            ", ".join(marks),
        )
    console().print(table)
    hidden = len(every) - len(near)
    if hidden:
        click.echo(f"{hidden} more strikes: --strikes {len(every)} or --json")


def _print_expiries(document: dict[str, Any]) -> None:
    parts = [f"{one['expiry']} {_cell(one['net_usd'])}" for one in document["expiries"]]
    click.echo(f"by expiry, M  {'; '.join(parts[:8])}{'; …' if len(parts) > 8 else ''}")


def _print_profile(document: dict[str, Any]) -> None:
    spot, profile = document["spot"], document["profile"]
    parts = []
    for move in PROFILE_SHOWN:
        level = min(profile, key=lambda one: abs(one["spot"] - spot * (1.0 + move)))
        parts.append(f"{move:+.0%} {_cell(level['net_usd'])}")
    click.echo(f"repriced, M   {'; '.join(parts)}")


def draw(at: ChainAt, document: dict[str, Any], path: Path) -> None:
    """Draw the exposure by strike and the repriced profile into a file.

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    ArgumentError
        When the file cannot be written.
    """
    figure = new_figure(9.0, 7.0)
    upper, lower = figure.subplots(2, 1)
    _draw_strikes(upper, document)
    _draw_profile(lower, document)
    figure.suptitle(f"{at.symbol} dealer gamma exposure, {document['time']} New York ({at.data}, {at.kind})")
    save_figure(figure, path)


def _draw_strikes(axis: "Axes", document: dict[str, Any]) -> None:
    spot = document["spot"]
    near = [one for one in document["strikes"] if abs(one["strike"] / spot - 1.0) <= FLIP_SPAN / 2]
    strike = [one["strike"] for one in near]
    width = 0.8 * min((b - a for a, b in pairwise(strike)), default=1.0)
    axis.bar(strike, [one["call_usd"] / MILLION for one in near], width, color="C0", label="calls")
    axis.bar(strike, [one["put_usd"] / MILLION for one in near], width, color="C1", label="puts")
    axis.axvline(spot, color="0.3", linewidth=0.8, label="spot")
    axis.set_xlabel("strike")
    axis.set_ylabel("USD million per 1 %")
    axis.legend(fontsize=8)


def _draw_profile(axis: "Axes", document: dict[str, Any]) -> None:
    levels = [one["spot"] for one in document["profile"]]
    axis.plot(levels, [one["net_usd"] / MILLION for one in document["profile"]], color="C0")
    axis.axhline(0.0, color="0.8", linewidth=0.8)
    axis.axvline(document["spot"], color="0.3", linewidth=0.8, label="spot")
    if document["flip"] is not None:
        axis.axvline(document["flip"], color="C3", linewidth=0.8, linestyle="--", label="flip")
    axis.set_xlabel("underlying, volatility staying with the strike")
    axis.set_ylabel("net, USD million per 1 %")
    axis.legend(fontsize=8)


def _millions(usd: float) -> str:
    return f"{usd / MILLION:+,.1f} M"


def _cell(usd: float) -> str:
    return f"{usd / MILLION:+,.1f}"
