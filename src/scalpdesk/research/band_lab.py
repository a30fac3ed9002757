"""The band lab: hedging alone, every band over the same sessions, and the band that a trader should take.

Each band runs over the same paths, simulated or of a desk's own looks, so that what differs between two of
them is the band and not the luck. The rules are those of the desk: :mod:`scalpdesk.hedging.kernels.rules`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import count, cycle
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.backtesting.simulate import PreparedMarket, prepared
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.errors import ArgumentError, DataError, nearest_name
from scalpdesk.core.figures import html_table, new_figure
from scalpdesk.core.frames import Framed
from scalpdesk.core.sockets import HEDGE_BANDS
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.bands.leland import LelandBand
from scalpdesk.hedging.bands.regime_threshold import RegimeThresholdBand
from scalpdesk.hedging.bands.time_based import TimeBasedBand
from scalpdesk.hedging.base import (
    AversionColumns,
    ClockBand,
    ColumnBand,
    HedgeBand,
    HedgeInputs,
    make_band,
)
from scalpdesk.hedging.delta_models import MINIMUM_VARIANCE
from scalpdesk.hedging.kernels.columns import (
    PARTS,
    add_minimum_variance,
    fill_straddles,
    hold_widths,
    walk,
    walk_ladder,
)
from scalpdesk.hedging.kernels.rules import ONE_HOUR_YEARS, whole_position
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing.base import Floats
from scalpdesk.research.hedge_looks import record_looks
from scalpdesk.research.lab_markets import (
    LabSessions,
    simulate_sessions,
)
from scalpdesk.research.session_model import BandTerms, SessionModel

Deltas = Literal["sticky_strike", "minimum_variance", "leland"]
_DEFAULT_AVERSION = 0.01
_USUAL_TERMS = BandTerms()
_RESAMPLES = 1_000
_SEPARATE = 2.0
"""Standard errors of a difference below which two bands count as equal."""
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_MINUTES = (5, 15, 30, 60, 120)
_LELAND_NUMBERS = (0.01, 0.02, 0.03, 0.05)
_THROUGH = 1.0
"""Half spreads by which the mid goes through a resting order before it is filled: as the desk's own model of
fills has it, the other side's quote has come to the order.
"""
_NO_TRACE = np.empty((0, 2))
_DEALERS = "dealers"
"""Name of the columns with dealer gamma."""
Flags = NDArray[np.bool_]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class LabBand:
    """One band of the lab, with its settings."""

    family: str
    """Its name in the lab, as ``whalley_wilmott``."""
    label: str
    """Its setting, as a trader reads it."""
    setting: float
    band: HedgeBand | None
    """The desk's own band; None for the resting ladder."""
    delta: Deltas = "sticky_strike"
    least_fraction: float = 0.0
    half_width: float = math.inf
    """At the open, shares; infinite for a clock, which knows no width."""
    rung: float = 0.0
    """Shares of an order of the ladder."""

    @property
    def columns(self) -> str:
        """Name of the recorded columns that it hedges.

        Leland's depend on the number too, and only a desk that asks for dealer gamma gets it.
        """
        if isinstance(self.band, RegimeThresholdBand) and self.band.config.regime == "dealers":
            return _DEALERS
        return f"leland {self.setting:g}" if self.delta == "leland" else self.delta

    @property
    def reach(self) -> float:
        """Net delta in shares at which a hedge goes out at the open; infinite for a clock."""
        return self.half_width * (1.0 + self.least_fraction)


class BandRow(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one band, a day, in currency."""

    band: str
    setting: str
    value: float
    """The setting as a number: aversion (1/USD), shares, seconds, contract deltas or Leland number."""
    half_width_shares: float | None
    """At the open; None for a clock."""
    mean: float
    """Mean P&L."""
    mean_stderr: float
    spread: float
    """Standard deviation of the P&L."""
    spread_stderr: float
    cost: float
    """Mean cost of hedging."""
    cost_stderr: float
    """``spread_stderr``, ``cost_stderr``: Standard errors, resampled over days."""
    error: float
    """Standard deviation of the P&L less that of a hedge at every look, both before costs."""
    hedges: float
    """Mean number of hedges."""
    shares: float
    """Mean number of shares traded."""
    largest_delta: float
    """Mean over the days of the largest net delta (shares) beyond the width."""
    certainty_equivalent: float
    """Mean less half the aversion times the variance of the P&L."""
    on_frontier: bool
    """Whether no other band costs less and has a smaller spread."""
    eligible: bool
    """Whether it keeps to the delta cap, and the desk has it: not the ladder."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """The band to take, and how sure that is."""

    band: str
    setting: str
    value: float
    settings: dict[str, float | str]
    """Keys of the gamma scalper that make a desk hedge so."""
    certainty_equivalent: float
    stderr: float
    """Standard error of the certainty equivalent, resampled over days."""
    best: str
    """Eligible band with the highest certainty equivalent."""
    behind_best: float
    behind_best_stderr: float
    """``behind_best``, ``behind_best_stderr``: Currency a day by which the recommended band is behind it."""
    runner_up: str
    """Best eligible band of another kind; empty without one."""
    ahead: float
    ahead_stderr: float
    """``ahead``, ``ahead_stderr``: Currency a day by which the recommended band is ahead of it."""
    chance_best_family: float
    """Part of the resamples in which a band of its kind is the best."""
    inseparable: int
    """Number of bands within two standard errors of the best."""


class BandReport(Framed, msgspec.Struct, frozen=True, kw_only=True):
    """Every band over the same sessions, and the recommendation."""

    market: dict[str, Any]
    days: int
    risk_aversion: float
    """1/currency, by which mean and spread are weighed."""
    delta_cap: float | None
    unhedged_spread: float
    """Standard deviation of the P&L without a hedge."""
    option_mean: float
    rows: tuple[BandRow, ...]
    recommendation: Recommendation | None
    """None where no band keeps to the cap."""

    def _frame(self) -> Any:
        """Return the bands as a frame, a row a band."""
        import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

        return pd.DataFrame([msgspec.structs.asdict(row) for row in self.rows])

    def plot(self) -> Any:
        """Draw spread against cost, a line a band; return a figure (extra ``plots``)."""
        figure = new_figure(9, 6)
        panel = figure.subplots()
        families = dict.fromkeys(row.band for row in self.rows)
        for family, marker, size in zip(families, cycle("osD^vP<X>"), count(12, -1), strict=False):
            own = sorted((row.cost, row.spread) for row in self.rows if row.band == family)
            drawn = {
                "marker": marker,
                "markersize": max(size, 4),
                "linewidth": 1,
                "label": family.replace("_", " "),
            }
            panel.plot(*zip(*own, strict=True), **drawn)  # bands that coincide stay visible
        chosen = self.recommendation
        for row in self.rows:
            if chosen is not None and (row.band, row.setting) == (chosen.band, chosen.setting):
                panel.plot(row.cost, row.spread, marker="*", markersize=18, color="black", linestyle="none")
        _show_plain_log(panel)
        panel.set_xlabel("cost of hedging, USD a day")
        panel.set_ylabel("standard deviation of the P&L, USD a day")
        panel.legend(fontsize="small")
        return figure

    def _repr_html_(self) -> str:
        """Return the table, for notebooks."""
        figures = ("mean", "spread", "cost", "error", "hedges", "certainty_equivalent")
        rows = [
            (row.band.replace("_", " "), row.setting, *(f"{getattr(row, name):.2f}" for name in figures))
            for row in self.rows
        ]
        advised = "no band keeps to the cap" if self.recommendation is None else advice(self.recommendation)
        head = ("band", "setting", *figures[:-1], "worth")
        return html_table(f"USD a day; {advised}", head, rows, texts=2)


def _show_plain_log(panel: Any) -> None:
    """Make both axes of a panel logarithmic, with plain numbers: 0.5, 1, 2, 5."""
    from matplotlib.ticker import LogLocator, NullLocator  # noqa: PLC0415 - an extra

    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")


def advice(chosen: Recommendation) -> str:
    """Return the recommendation in a sentence."""
    text = (
        f"take {chosen.band.replace('_', ' ')}, {chosen.setting}: worth {chosen.certainty_equivalent:.2f} ± "
        f"{chosen.stderr:.2f} a day"
    )
    if chosen.runner_up:
        text += f", {chosen.ahead:+.3f} ± {chosen.ahead_stderr:.3f} against {chosen.runner_up}"
    if chosen.inseparable > 1:
        text += f"; the fewest hedges of {chosen.inseparable} bands that two standard errors do not part"
    return text


# ---- the bands ------------------------------------------------------------------------------------------


def half_width_at(band: HedgeBand, inputs: HedgeInputs) -> float:
    """Return the half width (shares) that a band has for a position."""
    asked = msgspec.structs.replace(inputs, net_delta_shares=0.0, seconds_since_hedge=1e9)
    return band.judge(asked).half_width_shares


def aversion_of_width(name: str, inputs: HedgeInputs, half_width: float) -> float:
    """Return the aversion to risk (1/currency) at which a formula's half width is the given one.

    The width is the formula's, before its floor and cap.

    ``name``: ``whalley_wilmott`` or ``zakamouline``.
    ``inputs``: The position, its cost above zero.
    ``half_width``: Shares, above 0.
    Raises ArgumentError when the cost is zero, where every formula's band has no width, or no aversion gives
    the width.
    """
    if not inputs.own_cost_fraction > 0.0:
        raise ArgumentError(
            "without a cost the best band has no width, whatever the aversion",
            where="cost_bp",
            value=inputs.own_cost_fraction * 1e4,
            fix="give a cost above 0, or compare fixed bands alone",
        )
    from scipy.optimize import brentq  # noqa: PLC0415 - a tenth of a second that only this pays

    columns = AversionColumns(
        inputs.gamma_shares_per_usd,
        inputs.spot,
        inputs.years,
        inputs.vol,
        inputs.own_cost_fraction,
        inputs.rate,
    )

    def excess(log_aversion: float) -> float:
        band = make_band(name, {"risk_aversion": math.exp(log_aversion)})
        assert isinstance(band, ColumnBand)
        return math.log(float(band.widths(columns)) / half_width)

    # beyond the smallest of them Zakamouline's widens again: it is not made for so much aversion
    first = next((place for place in range(-60, 61) if excess(float(place)) < 0.0), None)
    if first is None:
        raise ArgumentError(
            f"the {name} band is never so narrow at this cost",
            where="half_width",
            value=half_width,
            fix="give a wider one, or a smaller cost",
        )
    return math.exp(brentq(excess, first - 1.0, float(first), xtol=1e-13))


FAMILIES = (
    "fixed",
    "time",
    "leland",
    "whalley_wilmott",
    "zakamouline",
    "minimum_variance",
    "own_gamma",
    "gex",
    "ladder",
)
"""Tried at several settings: the desk's, the ladder, Whalley and Wilmott's at the least-variance delta."""
_COVERED = ("time_based", "regime_threshold")
"""The desk's names of bands that are among them under the names of their kinds."""


def every_band() -> tuple[str, ...]:
    """Return the bands that are compared unless some are named: of the lab, and every other of the desk."""
    return (*FAMILIES, *(name for name in HEDGE_BANDS.names() if name not in (*FAMILIES, *_COVERED)))


def lab_bands(
    inputs: HedgeInputs,
    names: Sequence[str] | None = None,
    terms: BandTerms = _USUAL_TERMS,
) -> list[LabBand]:
    """Return the bands to compare: each kind at several settings.

    ``inputs``: The position at the open.
    ``names``: Of :data:`FAMILIES`, or the desk's own name of a band, which is tried as it comes; None: all.
    ``terms``: Cap, aversion where no cap is given, and the least hedge of bands that stop at their edge.
    Raises ArgumentError for an unknown name, or a cost that is zero where a formula's band is asked for.
    """
    names = every_band() if names is None else names
    known = (*every_band(), *_COVERED)
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        nearest = nearest_name(unknown, known)
        raise ArgumentError("unknown band", where="bands", value=unknown, nearest=nearest)
    position = float(inputs.straddles * inputs.multiplier)
    floor = whole_position(0.5, inputs.straddles, inputs.multiplier)
    if terms.delta_cap is None:
        aversion = {"risk_aversion": _aversion_for(inputs, terms)}
        reach = half_width_at(make_band("whalley_wilmott", aversion), inputs) * (1.0 + terms.least_fraction)
        factors: tuple[float, ...] = _FACTORS
    else:
        reach, factors = terms.delta_cap, tuple(factor for factor in (*_FACTORS, 0.75) if factor <= 1.0)
    reaches = sorted({min(max(reach * factor, floor), 0.5 * position) for factor in factors})
    made: list[LabBand] = []
    for name in dict.fromkeys(names):
        made += _of_family(name, inputs, reaches, terms.least_fraction)
    return made


def _of_family(
    name: str, inputs: HedgeInputs, reaches: Sequence[float], least_fraction: float
) -> Iterable[LabBand]:
    per_straddle = float(inputs.straddles)
    if name not in FAMILIES:
        own = make_band(name)
        width = math.inf if isinstance(own, ClockBand) else half_width_at(own, inputs)
        yield LabBand(name, "as it comes", 0.0, own, half_width=width)
    elif name == "fixed":
        for width in reaches:
            band = FixedBand(FixedConfig(threshold=width / per_straddle))
            yield LabBand(name, f"{width:.3g} shares", width / per_straddle, band, half_width=width)
    elif name == "time":
        for minutes in _MINUTES:
            own = make_band("time_based", {"interval_seconds": 60.0 * minutes})
            yield LabBand(name, f"each {minutes} min", 60.0 * minutes, own)
    elif name == "leland":
        for number in _LELAND_NUMBERS:
            own = make_band("leland", {"number": number})
            yield LabBand(name, f"number {number:g}", number, own, "leland")
    elif name in {"own_gamma", "gex"}:
        regime = "own_gamma" if name == "own_gamma" else "dealers"
        for width in reaches:
            deltas = round(width / inputs.multiplier, 9)
            tight = round(deltas * 2.0 / 3.0, 9)
            settings = {"regime": regime, "threshold": f"{deltas}", "threshold_negative_gex": f"{tight}"}
            label = f"{width:.3g} shares, tight {2.0 * width / 3.0:.3g}"
            yield LabBand(name, label, deltas, make_band("regime_threshold", settings), half_width=width)
    elif name == "ladder":
        for width in reaches:
            rung = max(float(round(0.5 * width)), inputs.smallest_hedge)
            label = f"{width:.3g} shares, {rung:g} an order"
            yield LabBand(name, label, width, None, half_width=width, rung=rung)
    else:
        formula = "whalley_wilmott" if name == "minimum_variance" else name
        delta: Deltas = "minimum_variance" if name == "minimum_variance" else "sticky_strike"
        for reach in reaches:
            width = reach / (1.0 + least_fraction)
            aversion = aversion_of_width(formula, inputs, width)
            own = make_band(formula, {"risk_aversion": aversion})
            yield LabBand(
                name,
                f"aversion {aversion:.2g}",
                aversion,
                own,
                delta,
                least_fraction,
                half_width_at(own, inputs),
            )


# ---- the walk -------------------------------------------------------------------------------------------


def _widths_of(band: HedgeBand, block: LabSessions) -> tuple[Floats, Floats, Flags, bool]:
    """Return what a band asks of a walk over a block.

    Returns half widths in shares and seconds between hedges (a row, or a row a path), whether a hedge stops
    at the edge (one a look), and whether a delta of less than the smallest trade is left alone.
    """
    looks, inputs = block.now_ns.size, block.inputs
    straddles, multiplier = inputs.straddles, inputs.multiplier
    no_clock, to_zero = np.zeros((1, looks)), np.zeros(looks, np.bool_)
    if isinstance(band, FixedBand):
        width = band.threshold(multiplier) * straddles
        return np.full((1, looks), width), no_clock, to_zero | (band.rehedge_to == "edge"), False
    if isinstance(band, TimeBasedBand):
        return no_clock, np.full((1, looks), band.config.interval_seconds), to_zero, True
    if isinstance(band, LelandBand):
        return no_clock, _leland_intervals(band, block), to_zero, True
    if isinstance(band, RegimeThresholdBand):
        seconds = np.full((1, looks), band.config.seconds_between_hedges)
        return _regime_widths(band, block), seconds, to_zero, False
    if isinstance(band, ColumnBand):
        limits = band.config
        columns = AversionColumns(
            block.gamma, block.spot[:, :-1], block.years, block.vol, block.cost_fraction, block.rate
        )
        found = np.ascontiguousarray(np.atleast_2d(np.asarray(band.widths(columns))))
        floor = whole_position(limits.floor_shares_per_straddle, straddles, multiplier)
        last = whole_position(limits.last_hour_shares_per_straddle, straddles, multiplier)
        hold_widths(found, block.years, floor, limits.cap_fraction * multiplier * straddles, last)
        edge = (band.config.rehedge_to == "edge") & (block.years >= ONE_HOUR_YEARS)
        return found, no_clock, np.asarray(edge), False
    return _widths_by_judging(band, block)


def _widths_by_judging(band: HedgeBand, block: LabSessions) -> tuple[Floats, Floats, Flags, bool]:
    """Return the same of any band, by its answer at each look to a delta that is beyond every width."""
    far, replace = {"net_delta_shares": 1e9, "seconds_since_hedge": 1e9}, msgspec.structs.replace
    if block.looked:
        asked = [[replace(inputs, **far) for inputs in block.looked]]
    else:
        given = block.gamma, block.spot[:, :-1], block.years, block.vol, block.cost_fraction, block.rate
        names = "gamma_shares_per_usd", "spot", "years", "vol", "own_cost_fraction", "rate"
        columns = [column.tolist() for column in np.broadcast_arrays(*given)]
        asked = [
            [
                msgspec.structs.replace(block.inputs, **far, **dict(zip(names, at, strict=True)))
                for at in looks
            ]
            for looks in (zip(*path, strict=True) for path in zip(*columns, strict=True))
        ]
    if isinstance(band, ClockBand):
        seconds = np.array([[band.interval_seconds(inputs) for inputs in path] for path in asked])
        return np.zeros((1, block.now_ns.size)), seconds, np.zeros(block.now_ns.size, np.bool_), True
    verdicts = [[band.judge(inputs) for inputs in path] for path in asked]
    widths = np.array([[each.half_width_shares for each in path] for path in verdicts])
    to_edge = np.array([each.target_delta_shares != 0.0 for each in verdicts[0]])
    return widths, np.zeros((1, block.now_ns.size)), to_edge, False


def _leland_intervals(band: LelandBand, block: LabSessions) -> Floats:
    if block.looked:
        return np.array([[band.interval_seconds(inputs) for inputs in block.looked]])
    # the cost is a part of the price, so that the interval changes with the volatility alone
    cost = float(block.cost_fraction[0, 0])
    vols, place = np.unique(block.vol, return_inverse=True)
    asked = partial(msgspec.structs.replace, block.inputs, own_cost_fraction=cost)
    seconds = np.array([band.interval_seconds(asked(vol=float(vol))) for vol in vols])
    return np.ascontiguousarray(seconds[place].reshape(block.vol.shape))


def _regime_widths(band: RegimeThresholdBand, block: LabSessions) -> Floats:
    multiplier, config = block.inputs.multiplier, band.config
    if block.looked:
        found = [float(band.threshold(inputs)[0]) * multiplier for inputs in block.looked]
        return np.array([found])
    standard, tight = (float(each) * multiplier for each in (config.threshold, config.threshold_negative_gex))
    decides = block.gamma if config.regime == "own_gamma" else block.exposure_usd
    if decides is None or config.regime == "standard":
        return np.full((1, block.now_ns.size), standard)
    return np.where(decides < 0.0, tight, standard)


def _deltas_of(lab: LabBand, block: LabSessions) -> Floats:
    """Return the options' delta at which a band hedges, shares; of a recorded day as it was recorded."""
    if lab.delta == "sticky_strike" or block.looked:
        return block.delta
    if lab.delta == "minimum_variance":
        found = block.delta.copy()
        add_minimum_variance(
            found, block.spot, block.strike, block.years, block.vol, 2.0 * block.units, *MINIMUM_VARIANCE
        )
        return found
    assert isinstance(lab.band, LelandBand)
    years = _leland_intervals(lab.band, block) / block.inputs.trading_year_seconds
    number = math.sqrt(8.0 / math.pi) * block.cost_fraction[:1, :1] / (block.vol * np.sqrt(years))
    signed = np.where(block.gamma[:1, :1] >= 0.0, -number, number)
    vol = np.where(signed > -1.0, block.vol * np.sqrt(np.maximum(1.0 + signed, 0.0)), block.vol)
    root = np.sqrt(block.years)
    delta, gamma = np.empty_like(block.delta), np.empty_like(block.delta)
    shift = (block.rate / vol + 0.5 * vol) * root
    log_spot = np.log(block.spot / block.strike)
    fill_straddles(block.spot, log_spot, vol * root, shift, block.units, delta, gamma)
    return delta


def hedge_block(
    lab: LabBand, block: LabSessions, *, step: float = 1.0, trace: Floats = _NO_TRACE
) -> tuple[Floats, int]:
    """Hedge every path of a block with a band.

    ``lab``, ``block``: The band and the sessions.
    ``step``: Smallest trade in shares; 0 trades any fraction.
    ``trace``: Takes look and signed shares of each hedge; give one for a block of one path.
    Returns P&L of the shares before costs, costs, hedges, shares, largest net delta beyond the width
    (columns), a row a path; and the number of hedges.
    """
    out = np.empty((block.delta.shape[0], PARTS))
    delta = _deltas_of(lab, block)
    if lab.band is None:
        width = np.full((1, block.now_ns.size), lab.half_width)
        walk_ladder(
            block.spot,
            block.high,
            block.low,
            block.half_spread,
            block.discount,
            delta,
            block.gamma,
            width,
            lab.rung,
            _THROUGH,
            out,
        )
        return out, int(out[:, 2].sum())
    width, interval, to_edge, skips_small = _widths_of(lab.band, block)
    least = block.least_steps if step > 0.0 else np.zeros(block.now_ns.size)
    hedges = walk(
        block.now_ns,
        block.spot,
        block.half_spread,
        block.discount,
        delta,
        width,
        to_edge,
        interval,
        block.since_ns,
        skips_small,
        lab.least_fraction,
        least,
        step,
        bool(block.looked),
        out,
        trace,
    )
    return out, hedges


def hedges_of(lab: LabBand, block: LabSessions) -> list[tuple[int, int]]:
    """Return instant (UTC nanoseconds) and signed shares of each hedge of a recorded day."""
    trace = np.empty((2 * block.now_ns.size, 2))
    _, hedges = hedge_block(lab, block, trace=trace)
    return [(int(block.now_ns[int(look)]), int(quantity)) for look, quantity in trace[:hedges].tolist()]


EVERY_LOOK = LabBand("every look", "", 0.0, FixedBand(FixedConfig(threshold=0.0)), half_width=0.0)
"""The limit in which the straddle is replicated; its hedges are of any fraction."""


# ---- the comparison -------------------------------------------------------------------------------------


def compare(
    blocks: Iterable[Mapping[str, LabSessions]],
    bands: Sequence[LabBand],
    *,
    market: Mapping[str, Any],
    risk_aversion: float,
    delta_cap: float | None = None,
    seed: int = 1,
    is_fair: bool = False,
    progress: Progress | None = None,
    total: int = 0,
) -> BandReport:
    """Hedge the same sessions with every band, and weigh mean against spread.

    ``blocks``: Sessions by :attr:`LabBand.columns`; a band whose columns are missing computes its delta.
    ``bands``: From :func:`lab_bands`.
    ``market``: What the sessions are, for the report.
    ``risk_aversion``: 1/currency, for the certainty equivalent.
    ``delta_cap``: Bands that wait beyond it, and clocks, are not recommended.
    ``seed``: Of the resampling.
    ``is_fair``: Whether the share earns nothing on average, as a simulated one does. The mean P&L of a band
    then differs from that of a hedge at every look by costs alone, and is so estimated.
    ``progress``, ``total``: Called with the sessions done, and their number.
    """
    options, ideals, found = [], [], [list[Floats]() for _ in bands]
    done = 0
    for by_delta in blocks:
        plain = by_delta["sticky_strike"]
        options.append(plain.option_pnl)
        ideals.append(hedge_block(EVERY_LOOK, plain, step=0.0)[0][:, 0])
        for place, lab in enumerate(bands):
            found[place].append(hedge_block(lab, by_delta.get(lab.columns, plain))[0])
        done += len(plain.option_pnl)
        if progress is not None:
            progress(done, total, "sessions")
    option, ideal = np.concatenate(options), np.concatenate(ideals)
    parts = np.array([np.concatenate(each) for each in found])
    error = parts[:, :, 0] - ideal
    figures = _Figures(
        pnl=option + parts[:, :, 0] - parts[:, :, 1],
        # a simulated share earns nothing on average: what the hedges of a band earned by chance is left out
        expected=option + ideal - parts[:, :, 1] if is_fair else option + parts[:, :, 0] - parts[:, :, 1],
        parts=parts,
        error=error,
        option=option,
    )
    return _report(bands, figures, market, risk_aversion, delta_cap, seed)


@dataclass(frozen=True, slots=True)
class _Figures:
    """A row a band, a column a day."""

    pnl: Floats
    expected: Floats
    """P&L whose mean is taken."""
    parts: Floats
    error: Floats
    option: Floats


def _report(
    bands: Sequence[LabBand],
    figures: _Figures,
    market: Mapping[str, Any],
    risk_aversion: float,
    delta_cap: float | None,
    seed: int,
) -> BandReport:
    days = figures.pnl.shape[1]
    free = 1 if days > 1 else 0
    mean, spread = figures.expected.mean(axis=1), figures.pnl.std(axis=1, ddof=free)
    cost, others = figures.parts[:, :, 1].mean(axis=1), figures.parts.mean(axis=1)
    worth = mean - 0.5 * risk_aversion * spread**2
    drawn = np.random.default_rng(seed).multinomial(days, np.full(days, 1.0 / days), _RESAMPLES) / days
    centred = figures.pnl - figures.pnl.mean(axis=1, keepdims=True)
    variances = drawn @ np.square(centred).T - (drawn @ centred.T) ** 2
    spread_error = np.sqrt(np.maximum(variances, 0.0)).std(axis=0, ddof=1)
    cost_error = (drawn @ figures.parts[:, :, 1].T).std(axis=0, ddof=1)
    eligible = [
        lab.band is not None and (delta_cap is None or lab.reach <= delta_cap * (1.0 + 1e-9)) for lab in bands
    ]
    rows = tuple(
        BandRow(
            band=lab.family,
            setting=lab.label,
            value=lab.setting,
            half_width_shares=lab.half_width if math.isfinite(lab.half_width) else None,
            mean=float(mean[i]),
            mean_stderr=float(figures.expected[i].std(ddof=free) / math.sqrt(days)),
            spread=float(spread[i]),
            spread_stderr=float(spread_error[i]),
            cost=float(cost[i]),
            cost_stderr=float(cost_error[i]),
            error=float(figures.error[i].std(ddof=free)),
            hedges=float(others[i, 2]),
            shares=float(others[i, 3]),
            largest_delta=float(others[i, 4]),
            certainty_equivalent=float(worth[i]),
            on_frontier=not bool(np.any((cost < cost[i]) & (spread < spread[i]))),
            eligible=eligible[i],
        )
        for i, lab in enumerate(bands)
    )
    resampled = drawn @ figures.expected.T - 0.5 * risk_aversion * variances
    chosen = _recommend(bands, rows, worth, resampled, np.array(eligible))
    option = figures.option
    return BandReport(
        market=dict(market),
        days=days,
        risk_aversion=risk_aversion,
        delta_cap=delta_cap,
        unhedged_spread=float(option.std(ddof=free)),
        option_mean=float(option.mean()),
        rows=rows,
        recommendation=chosen,
    )


def _recommend(
    bands: Sequence[LabBand],
    rows: Sequence[BandRow],
    worth: Floats,
    resampled: Floats,
    eligible: Any,
) -> Recommendation | None:
    """Choose the band with the fewest hedges among those that equal the best within its error.

    ``resampled`` is what each band is worth in each resample (rows), the days the same for every band: what
    all bands share cancels in the difference of two.
    """
    if not eligible.any():
        return None
    allowed = np.where(eligible, worth, -np.inf)
    best = int(np.argmax(allowed))
    behind = worth[best] - worth
    noise = np.std(resampled[:, [best]] - resampled, axis=0, ddof=1)
    alike = eligible & (behind <= _SEPARATE * noise)
    alike[best] = True
    hedges = np.array([row.hedges for row in rows])
    chosen = int(np.argmin(np.where(alike, hedges, np.inf)))
    lab = bands[chosen]
    winners = np.argmax(np.where(eligible, resampled, -np.inf), axis=1)
    same = np.array([each.family == lab.family for each in bands])
    others = np.where(eligible & ~same, worth, -np.inf)
    second = int(np.argmax(others)) if np.isfinite(others).any() else chosen
    return Recommendation(
        band=lab.family,
        setting=lab.label,
        value=lab.setting,
        settings=desk_settings(lab),
        certainty_equivalent=float(worth[chosen]),
        stderr=float(np.std(resampled[:, chosen], ddof=1)),
        best=named(bands[best]),
        behind_best=float(behind[chosen]),
        behind_best_stderr=float(noise[chosen]),
        runner_up="" if second == chosen else named(bands[second]),
        ahead=float(worth[chosen] - worth[second]),
        ahead_stderr=float(np.std(resampled[:, chosen] - resampled[:, second], ddof=1)),
        chance_best_family=float(same[winners].mean()),
        inseparable=int(alike.sum()),
    )


def named(lab: LabBand) -> str:
    """Return kind and setting of a band in words."""
    return f"{lab.family.replace('_', ' ')}, {lab.label}"


def desk_settings(lab: LabBand) -> dict[str, float | str]:
    """Return the gamma scalper's keys that make a desk hedge with a band; empty for the ladder."""
    if lab.band is None:
        return {}
    found: dict[str, float | str] = {"hedge.band": lab.band.name, "hedge.least_fraction": lab.least_fraction}
    if lab.family not in FAMILIES:
        return found
    if lab.family == "fixed":
        found["hedge.threshold_shares"] = lab.setting
    elif lab.family == "time":
        found["hedge.band_settings.interval_seconds"] = lab.setting
    elif lab.family == "leland":
        found["hedge.band_settings.number"] = lab.setting
    elif lab.family in {"own_gamma", "gex"}:
        assert isinstance(lab.band, RegimeThresholdBand)
        config = lab.band.config
        found["hedge.band_settings.regime"] = config.regime
        found["hedge.band_settings.threshold"] = str(config.threshold)
        found["hedge.band_settings.threshold_negative_gex"] = str(config.threshold_negative_gex)
    else:
        found["hedge.band_settings.risk_aversion"] = float(f"{lab.setting:.6g}")
        if lab.delta == "minimum_variance":
            found["hedge.delta_model"] = "minimum_variance"
    return found


def _aversion_for(inputs: HedgeInputs, terms: BandTerms) -> float:
    """Return the aversion (1/currency): as given, that of Whalley and Wilmott's band at the cap, or 0.01."""
    if terms.risk_aversion is not None:
        return terms.risk_aversion
    if terms.delta_cap is None or not inputs.own_cost_fraction > 0.0:
        return _DEFAULT_AVERSION
    return aversion_of_width("whalley_wilmott", inputs, terms.delta_cap / (1.0 + terms.least_fraction))


def compare_simulated(
    market: SessionModel,
    names: Sequence[str] | None = None,
    terms: BandTerms = _USUAL_TERMS,
    *,
    progress: Progress | None = None,
) -> BandReport:
    """Compare bands on simulated sessions; arguments as of :func:`lab_bands` and :func:`compare`."""
    inputs = market.opening()
    return compare(
        ({"sticky_strike": block} for block in simulate_sessions(market)),
        lab_bands(inputs, names, terms),
        market={"kind": "simulated", **msgspec.to_builtins(market)},
        risk_aversion=_aversion_for(inputs, terms),
        delta_cap=terms.delta_cap,
        seed=market.seed,
        is_fair=True,
        progress=progress,
        total=market.days,
    )


# ---- a desk's own sessions --------------------------------------------------------------------------------

HELD = (
    "entry.gate=off",
    "exits.edge_gone=false",
    "exits.flat_minutes_before_close=10",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
)
"""Settings by which a straddle is bought and held to ten minutes before the close, whatever it earns."""
_RECORDED_LELAND = 0.02
"""The Leland number of recorded days: each number has a delta, and so a recording, of its own."""
_SettingsOf = Callable[[Sequence[str]], LoadedSettings]


def columns_settings(lab: LabBand) -> tuple[str, ...]:
    """Return the settings at which a band's columns are recorded, those of its delta."""
    if lab.delta == "leland":
        return "hedge.band=leland", f"hedge.band_settings.number={lab.setting}"
    if lab.columns == _DEALERS:
        return ("hedge.band=regime_threshold",)
    return (f"hedge.delta_model={lab.delta}",)


def _recorded_blocks(
    market: MarketTape | PreparedMarket, bands: Sequence[LabBand], settings_of: _SettingsOf, *, seed: int = 1
) -> dict[str, LabSessions]:
    """Return one session's columns, a recording for each delta that the bands hedge by.

    ``market``: One session.
    ``bands``: Bands that will hedge it.
    ``settings_of``: Returns the gamma scalper's settings with more of them.
    ``seed``: As of the run.
    Raises DataError when no straddle was held in the session.
    """
    prepared_market = prepared(market)
    wanted: dict[str, tuple[str, ...]] = {"sticky_strike": ("hedge.delta_model=sticky_strike",)}
    wanted |= {lab.columns: columns_settings(lab) for lab in bands}
    return {name: record_looks(settings_of(own), prepared_market, seed=seed) for name, own in wanted.items()}


def compare_recorded(
    days: Sequence[date],
    load: Callable[[date], MarketTape],
    settings_of: _SettingsOf,
    names: Sequence[str] | None = None,
    terms: BandTerms = _USUAL_TERMS,
    *,
    seed: int = 1,
    progress: Progress | None = None,
) -> BandReport:
    """Compare bands on sessions of a desk: the straddle that the gamma scalper buys, at its own looks.

    The bands are those of the first session's position; a session without a straddle is left out, and named
    in ``market``.

    ``days``, ``load``: Sessions, and what loads the market of one.
    ``settings_of``: Returns the gamma scalper's settings with more of them.
    ``names``, ``terms``: As in :func:`lab_bands`.
    ``seed``, ``progress``: As in :func:`compare`.
    Raises DataError when no session had a straddle.
    """
    skipped: list[dict[str, str]] = []
    first: tuple[date, LabSessions] | None = None
    waiting = list(days)
    tapes: dict[date, PreparedMarket] = {}
    while waiting and first is None:
        day = waiting[0]
        tapes[day] = prepared(load(day))
        try:
            first = day, _recorded_blocks(tapes[day], (), settings_of, seed=seed)["sticky_strike"]
        except DataError as error:
            skipped.append({"day": day.isoformat(), "reason": error.what})
            del waiting[0]
    if first is None:
        raise DataError(
            "no session had a straddle to hedge",
            where="--start, --end",
            value=len(days),
            fix="choose other sessions, or other settings with --set selection.…",
        )
    inputs = first[1].inputs
    made = lab_bands(inputs, names, terms)
    bands = [lab for lab in made if lab.delta != "leland" or lab.setting == _RECORDED_LELAND]

    def blocks() -> Iterator[dict[str, LabSessions]]:
        for day in waiting:
            market = tapes.pop(day, None) or prepared(load(day))
            try:
                yield _recorded_blocks(market, bands, settings_of, seed=seed)
            except DataError as error:
                skipped.append({"day": day.isoformat(), "reason": error.what})

    report = compare(
        blocks(),
        bands,
        market={},
        risk_aversion=_aversion_for(inputs, terms),
        delta_cap=terms.delta_cap,
        seed=seed,
        progress=progress,
        total=len(waiting),
    )
    market: dict[str, Any] = {"kind": "sessions", "first": f"{days[0]}", "last": f"{days[-1]}"}
    market |= {"currency": settings_of(()).config.desk.currency, "skipped": skipped}
    return msgspec.structs.replace(report, market=market)
