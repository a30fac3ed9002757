"""The run summary as a trader reads it, and the screen or progress bar while a run goes on."""

import math
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from scalpdesk.cli.output import Made, fields_of, held_text, money, new_table, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.intents import without_figures
from scalpdesk.core.units import ZERO, count_text, money_decimals, rounded_text
from scalpdesk.instruments.deribit import delta_unit
from scalpdesk.instruments.sessions import moment_text, to_new_york
from scalpdesk.portfolio.explain import PARTS, part_names
from scalpdesk.portfolio.gamma_verdict import GammaVerdict
from scalpdesk.report.figures import Shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from scalpdesk.backtesting.runs import Observer
    from scalpdesk.backtesting.simulate import Assembled
    from scalpdesk.core.intents import Decision, Mark
    from scalpdesk.engine.trading_engine import TradingEngine
    from scalpdesk.instruments.sessions import Session
    from scalpdesk.marketdata.tape import MarketTape
    from scalpdesk.report.run_report import Hedge
    from scalpdesk.report.session_tables import SessionPnl
    from scalpdesk.report.trades import Trade

_LABELS = {
    "delta": "delta (direction)",
    "gamma": "gamma (scalps)",
    "theta": "theta",
    "vega": "vega (implied vol)",
    "higher_order": "higher order",
    "carry": "carry, dividends",
    "basis": "basis of the hedge",
    "spread": "spread paid",
    "fees": "fees",
    "slippage": "slippage",
    "residual": "residual",
}
SPARKS = "▁▂▃▄▅▆▇█"
_CHARTED = {"ts_ns": "q", "nav": "d", "spot": "d", "net_delta_shares": "d", "implied_vol": "d"}
"""Fields of the marks that are drawn, with the type of the array that takes each: a run of years has many."""
_MOST_TOLD = 4
"""Trades that are told in words; more are in the table alone."""
_LONGEST_TABLE = 60
"""Sessions that a table lists; of more it shows months, weekdays and levels of the VIX."""


def _bar_of(amount: float, widest: float) -> str:
    """Draw an amount as a bar against the largest one, which has 24 cells."""
    if not widest > 0:
        return ""
    length = round(24 * abs(amount) / widest)
    colour = "green" if amount > 0 else "red"
    return f"[{colour}]{'█' * length}[/]"


def _area_chart(values: Sequence[float], width: int = 64, height: int = 1) -> list[str]:
    """Draw a series as lines of blocks from the top line down; empty for fewer than two values.

    >>> _area_chart([1, 2, 3, 4])
    ['▁▃▆█']
    >>> _area_chart([1, 2, 3, 4], height=2)
    ['  ▃█', '▁▆██']
    """
    if len(values) < 2:
        return []
    count = min(width, len(values))
    picked = [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]
    low, high = min(picked), max(picked)
    most = len(SPARKS) * height - 1
    levels = [1 + (round((value - low) / (high - low) * most) if high > low else 0) for value in picked]
    lines = []
    for row in reversed(range(height)):
        filled = [min(max(level - row * len(SPARKS), 0), len(SPARKS)) for level in levels]
        lines.append("".join(SPARKS[each - 1] if each else " " for each in filled))
    return lines


def _band_chart(
    deltas: Sequence[float], bands: Sequence[float], width: int = 64, height: int = 5
) -> list[str]:
    """Draw a net delta between the edges of its band, from the top line down; nan where there is none.

    >>> _band_chart([0.0, 20.0, -5.0], [10.0, 10.0, 10.0], height=5)
    [' • ', '───', '• •', '───', '   ']
    """
    if len(deltas) < 2 or height < 3:
        return []
    count = min(width, len(deltas))
    picked = [round(i * (len(deltas) - 1) / (count - 1)) for i in range(count)]
    known = [abs(each) for at in picked for each in (deltas[at], bands[at]) if math.isfinite(each)]
    half = max(known, default=0.0) or 1.0
    lines = [[" "] * count for _ in range(height)]

    def row(value: float) -> int:
        return round((half - value) / (2.0 * half) * (height - 1))

    for column, at in enumerate(picked):
        if math.isfinite(bands[at]):
            for edge in (bands[at], -bands[at]):
                lines[row(edge)][column] = "─"
        if math.isfinite(deltas[at]):
            lines[row(deltas[at])][column] = "•"
    return ["".join(line) for line in lines]


def show_summary(
    out: "Console", summary: dict[str, Any], marks: Iterable["Mark"], trades: Sequence["Trade"] = ()
) -> None:
    """Show a run, and how each of a few trades was opened and closed."""
    series: dict[str, array[Any]] = {name: array(kind) for name, kind in _CHARTED.items()}
    for mark in marks:
        for name, values in series.items():
            values.append(getattr(mark, name))
    spots = [spot for spot in series["spot"] if spot]  # nothing was quoted yet at the first mark
    data = summary["data"]
    quality = ", quality [bold]real[/]" if data.get("quality") == "real" else ""
    traded = ", ".join((str(data.get("underlying")), *data.get("others", ())))
    out.print(
        f"[bold]{summary['strategy']}[/] on {traded}, {data.get('session') or summary['venue']}"
        f"  ([bold]{data.get('kind')}[/] market '{data.get('name')}'{quality})",
    )
    is_whole = "pnl_detail" in summary  # of one that did not end the store knows less
    if is_whole and data.get("open") is not None:
        out.print(
            f"underlying: open {data['open']}  high {data['high']}  low {data['low']}  close {data['close']}"
        )
    out.print(summary["verdict"] if is_whole else f"[bold red]{summary['verdict']}[/]")
    from scalpdesk.report.summary import remedy

    fix = remedy(summary["verdict"])
    if fix is not None:
        out.print(f"[dim]{fix}[/]")
    _show_words(out, trades)
    for reason in summary.get("straddle", ()):
        out.print(f"[dim]   {reason}[/]")
    out.print()
    pnl = {name: float(amount) for name, amount in summary["pnl"].items()}
    if summary["fills"] or any(pnl.values()):
        _show_parts(out, summary, pnl)
    currency = summary.get("currency", "USD")
    strategies, underlyings = summary.get("strategies") or {}, summary.get("underlyings") or {}
    show_strategies(out, strategies, currency=currency)
    if [row["orders"] for row in strategies.values()] != [row["orders"] for row in underlyings.values()]:
        show_strategies(out, underlyings, "underlying", currency)
    if summary.get("exposure"):
        from scalpdesk.engine.exposure import exposure_text

        out.print(exposure_text(summary["exposure"], currency), markup=False)
    if "folder" in summary:
        out.print(folder_line(summary["folder"]), markup=False)
    for row in summary.get("dividends", ()):
        text = f"{row['known']} dividend of {row['symbol']}: {row['amount']:g} a share, ex {row['ex_date']}"
        out.print(f"[dim]{text}[/]")
    held = held_text(summary["end_positions"])
    if is_whole:
        out.print(f"at the end: {held or 'flat'}; mode {summary['mode']}")
    else:
        out.print(f"held at its last event: {held or 'nothing'}")
    if len(spots) > 1:
        nav = f"\nNAV  {_area_chart(series['nav'])[0]}" if any(pnl.values()) else ""
        out.print(f"spot {_area_chart(spots)[0]}{nav}")
    if any(series["implied_vol"]):
        _show_held(out, series, data)
    for note in data.get("notes") or ():
        out.print(f"[dim]note: {note}[/]")
    took = f" in {summary['wall_seconds']:.1f} s" if is_whole else ""
    if "slow" in summary:
        out.print(f"[yellow]slow: {summary['slow']}[/]")
    out.print(
        f"[dim]{count_text(summary['events'], 'event')}{took},"
        f" {count_text(summary['orders'], 'order')}, {count_text(summary['fills'], 'fill')};"
        f" run {summary['run_id']}, decision hash {summary['decision_hash']}[/]"
    )


def _show_held(out: "Console", series: Mapping[str, "array[Any]"], data: Mapping[str, Any]) -> None:
    """Show net delta, implied volatility and that realised by the half hours, while options were held."""
    from scalpdesk.report.session_tables import realised_path
    from scalpdesk.volatility.variance_time import clock_of

    held = [place for place, vol in enumerate(series["implied_vol"]) if vol]
    realised = realised_path(zip(series["ts_ns"], series["spot"], strict=True), clock_of(data))
    deltas = [series["net_delta_shares"][place] for place in held]
    vols = [100.0 * series["implied_vol"][place] for place in held]
    came = [100.0 * vol for place in held if (vol := realised[place]) is not None]
    unit_of_delta = delta_unit(data["underlying"])
    shown = (("Δ   ", deltas, unit_of_delta), ("IV  ", vols, ("%", 1)), ("RV  ", came, ("%", 1)))
    for name, values, (unit, n) in shown:
        if len(values) > 1:
            low, high = min(values), max(values)
            out.print(f"{name} {_area_chart(values, width=40)[0]} {low:.{n}f} to {high:.{n}f} {unit}")


def _show_parts(out: "Console", summary: dict[str, Any], pnl: dict[str, float]) -> None:
    """Show the P&L by part and what gamma earned against theta."""
    names = part_names(pnl)
    widest = max(abs(pnl[name]) for name in names)
    in_coin = summary.get("usd")
    currency = summary.get("currency", "USD")
    decimals = money_decimals(currency)
    table = new_table("where it came from", currency, "", text=("",))
    schedule = summary.get("fee_schedule", "none")
    rows = summary.get("fee_rows")
    if rows is not None and schedule != "none":
        schedule = f"{rows['name']}, {'assumed' if rows['assumed'] else rows['until']}"
    is_charged = schedule != "none" or not pnl["fees"]  # a live venue states its own
    theta = f"theta ({'received' if pnl['theta'] > 0 else 'paid'})"
    labels = _LABELS | {"theta": theta} | ({"fees": f"fees ({schedule})"} if is_charged else {})
    for name in names:
        table.add_row(labels[name], money(pnl[name], decimals), _bar_of(pnl[name], widest))
    table.add_section()
    table.add_row("[bold]P&L = change of NAV[/]", f"[bold]{money(pnl['total'], decimals)}[/]", "")
    print_table(table, out)
    if in_coin:
        change, trading, held = (
            money(float(in_coin[name])) for name in ("nav_change", "trading", "currency")
        )
        out.print(f"\nin USD: {change}, of it {trading} by trading, {held} by the price of the coin held")
    if paying := summary.get("gamma_paying"):
        out.print(f"\n[bold]{msgspec.convert(paying, GammaVerdict).question}[/] {verdict_text(paying)}")
    for line in findings_of(summary):
        out.print(f"[bold red]{line}[/]")


def findings_of(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a run's figures do not show: what is not explained, odd prices, worth on no quote."""
    explain = summary.get("pnl_detail") or {}
    left, better = explain.get("unexplained"), explain.get("better_than_quoted")
    without, found = explain.get("without_spread"), summary.get("on_model")
    if left and left["flagged"]:
        yield (
            f"UNEXPLAINED: residual and three-way term of {left['amount']} are {left['of_gross']:.0%} of the"
            f" gross {left['gross']}, above 5 %: a leg without quotes, or quotes off the model"
        )
    if better and better["fills"]:
        yield (
            f"FINDING: {count_text(better['fills'], 'fill')} better than quoted by more than a tick,"
            f" {better['amount']} in sum: a mark was off, or the quote that filled was not known yet"
        )
    if without and without["fills"]:
        yield (
            f"NO SPREAD: {without['fills']} of {count_text(without['of'], 'fill')} of the hedge at a price"
            " without a spread: the data has one price for both sides, so hedging costs more than this."
            " Assume a spread: data.assumed_spread_bps"
        )
    if found:
        yield (
            f"ON NO QUOTE: {', '.join(found['options'])}, {found['worth']} of NAV by the model or last two"
            f" sides ({found['least']} to {found['most']}), last quoted {found['since']} New York"
        )


def verdict_text(paying: Mapping[str, Any]) -> str:
    """Return the answer to the question of a run summary in words, as the dashboard has it."""
    from scalpdesk.monitor.texts import verdict_pieces

    pieces = verdict_pieces(msgspec.convert(paying, GammaVerdict))
    return "".join(piece["text"] for piece in pieces).replace("−", "-")


def folder_line(folder: dict[str, Any]) -> str:
    """Return what a strategy folder did, in a line; its last failure with it.

    >>> folder_line({"answers": 7, "intents": 2})
    'strategy folder: 7 answers, 2 intents, 0 refused, 0 failures'
    """
    names = ("answers", "intents", "refused", "failures")
    counts = ", ".join(f"{folder.get(name, 0):,} {name}" for name in names)
    last = folder.get("last_failure")
    needs = folder.get("needs")
    shown = (
        ""
        if not needs
        else f"; its hedge is {'' if needs['shares_as_position'] else 'not '}shown as a position"
    )
    return f"strategy folder: {counts}{shown}{f'; the last one: {last}' if last else ''}"


def show_strategies(
    out: "Console", rows: dict[str, dict[str, Any]] | None, what: str = "strategy", currency: str = "USD"
) -> None:
    """Show what each of several strategies (or underlyings) has earned and holds; nothing for one alone."""
    if not rows:
        return
    budget = "|budget={budget:.0%}" if any("budget" in row for row in rows.values()) else ""
    amount = f".{money_decimals(currency)}$"
    columns = (
        f"{what}={{name}}{budget}|orders|fills|costs:{amount}|P&L {currency}={{pnl[total]:{amount}}}|holds"
    )
    made = {
        "budget": lambda row: None if row.get("budget") is None else float(row["budget"]),
        "costs": lambda row: sum(float(row["pnl"][part]) for part in ("spread", "fees", "slippage")),
        "holds": lambda row: held_text(row["positions"]) or "flat",
    }
    named = [row | {"name": name} for name, row in rows.items()]
    table = table_of(named, columns, made, unknown="", text=("holds",))
    print_table(table, out, first_to_go=("budget", "orders", "fills", "costs"))


def show_hedges(
    out: "Console", explained: Sequence["Hedge"], count: int, decimals: int = 2, unit: str = "shares"
) -> None:
    """Show the last hedges with the P&L of the interval that led up to each."""
    if not explained:
        return
    title = f"last {min(count, len(explained))} of {len(explained)} hedges"
    shown = explained[-count:] if count > 0 else ()
    columns: dict[str, tuple[str, ...]] = {name: (name,) for name in ("delta", "gamma", "theta", "vega")}
    columns |= {"higher order": ("higher_order",), "costs": ("spread", "fees", "slippage")}
    # columns add up to the interval's P&L: what is seldom there has one where it is
    rare = [name for name in ("carry", "residual") if any(each.parts.get(name) for each in shown)]
    columns |= {name: (name,) for name in rare}

    def total(names: tuple[str, ...], hedge: "Hedge") -> Decimal:
        return sum((hedge.parts.get(name, ZERO) for name in names), ZERO)

    made: Made = {
        "at": lambda each: f"{to_new_york(each.ts_ns):%m-%d %H:%M:%S}",
        "price": lambda each: each.price or ("refused" if each.refused else "not filled"),
        **{name: partial(total, names) for name, names in columns.items()},
    }
    amounts = "|".join(f"{name}:.{decimals}$" for name in columns)
    heads = f"New York={{at}}|{unit}={{quantity_shares:+}}|price|{amounts}|interval P&L={{pnl:.{decimals}$}}"
    table = table_of(shown, heads, made, title=title)
    print_table(table, out, first_to_go=("higher order", "vega", "theta", "costs"))


def show_trades(out: "Console", trades: Sequence["Trade"], currency: str = "USD") -> None:
    """Show each trade, with every column of one."""
    if not trades:
        return
    shown = trades[-_LONGEST_TABLE:]
    title = f"last {len(shown)} of {len(trades)} trades" if len(shown) < len(trades) else "trades"
    is_shared = any(each.strategy for each in trades)
    columns = Shown.of(type(shown[0]))
    heads, made = fields_of(columns, money_decimals(currency))
    made["reason"] = lambda each: (each.why or "").partition(": ")[0]
    heads = f"trade={{name}}{'|strategy' if is_shared else ''}|{heads}|why={{reason}}"
    table = table_of(shown, heads, made, title=title, left=2 + is_shared, text=("why",))
    print_table(table, out, first_to_go=Shown.first_to_go(columns))


def _show_words(out: "Console", trades: Sequence["Trade"]) -> None:
    """Tell how each of a few trades was opened and closed."""
    for each in trades if len(trades) <= _MOST_TOLD else ():
        out.print(f"{each.number}: {each.entry}", markup=False, highlight=False)
        if each.exit is not None:
            out.print(f"   {each.exit}", markup=False, highlight=False)


def show_performance(
    out: "Console",
    sessions: Sequence["SessionPnl"],
    groups: dict[str, dict[str, dict[str, Any]]],
    figures: dict[str, Any],
    currency: str = "USD",
    underlying: str = "",
) -> None:
    """Show what each session, weekday and level of the VIX earned, and the ratios with their intervals."""
    shown = sessions if len(sessions) <= _LONGEST_TABLE else ()
    n, (unit, places) = money_decimals(currency), delta_unit(underlying)
    names = list(dict.fromkeys(name for each in sessions for name in each.strategies))
    words = ("no entry, because",) if any(each.no_entry for each in shown) else ()
    heads = ("session", f"P&L {currency}", "largest net delta", "VIX before", *names, *words)
    table = new_table(*heads, text=words)
    for each in shown:
        vix = "" if each.vix_before is None else f"{each.vix_before:.2f}"
        own = [money(float(each.strategies.get(name, 0)), n) for name in names]
        largest = f"{each.largest_net_delta_shares:.{places}f}"
        why = (_in_short(each.no_entry),) if words else ()
        table.add_row(each.session, money(float(each.pnl), n), largest, vix, *own, *why)
    for kind in ("month", "weekday", "vix") if len(sessions) > _LONGEST_TABLE else ():
        for name, group in groups[kind].items():
            rate = "" if group["hit_rate"] is None else f"{group['hit_rate']:.0%} of {group['sessions']} won"
            table.add_row(name, money(float(group["pnl"]), n), rate, "", *("" for _ in names))
        table.add_section()
    out.print(table)
    _show_idle(out, sessions)
    if not figures:
        out.print("no mean, ratio or interval: the run was cut short, and its last session with it")
        return
    fall = figures["drawdown"]
    out.print(
        f"{count_text(figures['sessions'], 'session')}, {figures['mean_pnl']:+.{n}f} {currency} each on"
        f" average; deepest fall of the closes {fall['amount']:.{n}f} {currency} ({fall['fraction']:.2%}),"
        f" {fall['after']} to {fall['trough']}"
    )
    show_fall(out, figures, currency)
    if "exposure" in figures:
        largest = f"{figures['largest_net_delta_shares']:.{places}f} {unit}"
        out.print(
            f"options held {figures['exposure']:.0%} of the time, {figures['unhedged_minutes']:.0f} minutes"
            f" beyond the hedge's band; largest net delta {largest}"
        )
        for name, own in figures.get("strategies", {}).items():
            out.print(
                f"{name}: options held {own['exposure']:.0%} of the time,"
                f" {own['unhedged_minutes']:.0f} minutes beyond its band"
            )
    if "sharpe" in figures:
        low, high = figures["mean_pnl_interval"]
        from_, to = figures["sharpe_interval"]
        out.print(
            f"95 % intervals: mean {low:+.{n}f} to {high:+.{n}f} {currency} a session, Sharpe ratio"
            f" {figures['sharpe']:+.2f} ({from_:+.2f} to {to:+.2f})"
        )


def show_fall(out: "Console", figures: Mapping[str, Any], currency: str = "USD") -> None:
    """Show the deepest fall of the marks, which goes on within sessions; nothing of a run without it."""
    fall, n = figures.get("drawdown_of_marks"), money_decimals(currency)
    if fall is not None:
        out.print(
            f"deepest fall of the marks {fall['amount']:.{n}f} {currency} ({fall['fraction']:.2%}),"
            f" {fall['after']} to {fall['trough']} New York"
        )


def _in_short(no_entry: str) -> str:
    """Return of each refusal its first clause."""
    return "; before: ".join(each.partition("; ")[0] for each in no_entry.split("; before: "))


def _show_idle(out: "Console", sessions: Sequence["SessionPnl"]) -> None:
    """Show in how many of several sessions nothing was held or opened, by reason."""
    idle = Counter(without_figures(_in_short(each.no_entry)) for each in sessions if each.no_entry)
    if idle and len(sessions) > 1:
        count = f"{sum(idle.values())} of {count_text(len(sessions), 'session')}"
        out.print(f"nothing was held or opened in {count}:")
        for why, number in idle.most_common():
            out.print(f"  {number} × {why}", markup=False, highlight=False)


def show_runs(
    out: "Console", rows: Sequence[dict[str, Any]], unreadable: dict[str, str], runs_dir: Path
) -> None:
    """List the runs on record."""
    if not rows and not unreadable:
        out.print(f"no runs below {runs_dir}; scalpdesk demo makes the first")
        return
    in_dollars = all(row.get("currency", "USD") == "USD" for row in rows)
    pnl = "P&L USD" if in_dollars else "P&L"
    columns = "run={run_id}|end|started|strategy|market={data_name} ({data_kind})|session|hedges|fills"
    made: Made = {
        "started": lambda row: moment_text(row["started_ns"]),
        "coin": lambda row: f"{money(float(row['pnl']), money_decimals(row['currency']))} {row['currency']}",
        "settings": lambda row: ", ".join(row["settings"]) or "-",
    }
    amount = "pnl:.2$" if in_dollars else "coin"
    # a run is one line in a pipe, where somebody greps
    table = table_of(
        rows, f"{columns}|{pnl}={{{amount}}}|settings", made, left=6, text=("end", "settings"), unknown="None"
    )
    table.columns[1].no_wrap = table.columns[-1].no_wrap = not out.is_terminal
    first_to_go = ("market", "fills", "hedges", "started", "strategy", "settings", "session")
    print_table(table, out, first_to_go=first_to_go)
    for name, why in unreadable.items():
        out.print(f"[red]unreadable[/] {name}: {why}")


_FRAMES_PER_SECOND = 10
_LONGEST_HISTORY = 4_000
_LONGEST_FRAME = ("border", "head", "progress", "border")
"""Lines of the terminal's screen besides charts, state and P&L by part."""
_LEAST_CHART_ROWS = 5
_LEAST_CHART_COLUMNS = 36


def pacer(tape: "MarketTape", pace: float) -> "Observer":
    """Return what holds a run to so many market seconds a second, counted from its first step."""
    began: float | None = None

    def on_step(_run: "Assembled", now_ns: int) -> None:
        nonlocal began
        wall = time.perf_counter()
        began = wall if began is None else began
        ahead = began + (now_ns - tape.sessions[0].open_ns) / 1e9 / pace - wall
        if ahead > 0:
            time.sleep(ahead)

    return on_step


class LiveView:
    """The terminal's screen: spot, P&L and delta in its band in the rows there are, position, P&L by Greek.

    ``kind`` says whether the market is recorded, reconstructed or live, ``footer`` how to stop.
    """

    def __init__(self, kind: str, out: "Console | None" = None, footer: str = "Ctrl-C stops") -> None:
        from rich.live import Live

        self._kind = f"[dim]{kind} market[/]"
        self._footer = footer
        self._next_frame = 0.0
        self._history: list[tuple[float, float, float, float]] = []
        self._band = math.nan
        self.live = Live(console=out, refresh_per_second=_FRAMES_PER_SECOND, transient=True)

    def __enter__(self) -> Self:
        self.live.__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        self.live.stop()

    def on_step(self, run: "Assembled", now_ns: int) -> None:
        """Draw a frame of a run in this process when one is due."""
        del now_ns
        wall = time.perf_counter()
        if wall >= self._next_frame:
            self._next_frame = wall + 1.0 / _FRAMES_PER_SECOND
            self.draw(run.engine, run.header.strategy, run.fold.taken["hedge"], run.fold.last_decision)

    def remember(self, spot: float, pnl: float, delta: float, band: float) -> None:
        """Add a point to the charts; nan for no delta, no band."""
        self._history.append((spot, pnl, delta, band))
        if len(self._history) > _LONGEST_HISTORY:
            del self._history[: _LONGEST_HISTORY // 2 : 2]

    def draw(self, engine: "TradingEngine", strategy: str, hedges: int, decision: "Decision | None") -> None:
        """Draw the desk as it stands."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        from scalpdesk.engine.exposure import account_greeks, spots_of

        desk, now_ns = engine.desk, engine.now_ns
        attribution = desk.attribution
        decimals = -int(attribution.unit.as_tuple().exponent)
        greeks = account_greeks(desk, now_ns)
        spot, nav = desk.market.mark(desk.view.underlying), attribution.current_nav()
        unit, n = delta_unit(desk.instruments[desk.view.underlying].symbol)
        width = math.nan if decision is None else decision.facts.get("half_width_shares", math.nan)
        self._band = float(width) if isinstance(width, float | int) and math.isfinite(width) else self._band
        if spot is not None:
            band = self._band if desk.positions.held() else math.nan
            self.remember(spot, float(nav - desk.session_equity), greeks.net_delta_shares, band)
        head = Table.grid(padding=(0, 2))
        clock = f"{to_new_york(now_ns):%Y-%m-%d %H:%M:%S} ET"
        mode = desk.gate.mode.value
        shown_mode = mode if mode == "ACTIVE" else f"[bold red]{mode}[/]"
        prices = "  ".join(
            f"[bold]{symbol}[/] {'not quoted' if price is None else f'{price:,.2f}'}"
            for symbol, price in spots_of(desk).items()
        )
        head.add_row(prices, clock, self._kind, count_text(hedges, "hedge"), shown_mode)
        state = Table.grid(padding=(0, 2))
        held = "  ".join(f"{each.quantity:+f} {each.instrument.symbol}" for each in desk.positions.held())
        what = "" if decision is None else f"{'' if decision.taken else 'no '}{decision.kind}"
        why = "" if decision is None else f"{what}: {decision.headline}"
        at = "" if decision is None else f"{to_new_york(decision.ts_ns):%H:%M:%S} "
        money_unit, m = ("$", 2) if n == 1 else (unit, n + 2)
        facts = (
            f"{greeks.net_delta_shares:+.{n}f} {unit}   gamma {greeks.gamma_shares_per_usd:+.{m}f} {unit}/$"
            f"   theta {greeks.theta_usd_per_day:+.{m}f} {money_unit}/day"
            f"   vega {greeks.vega_usd_per_point:+.{m}f} {money_unit}/point"
        )
        rows = (("position", held or "flat"), ("net delta", facts), ("last", f"{at}{why}"))
        for row in rows:
            state.add_row(*row)
        parts = Table.grid(padding=(0, 2))
        widest = max((abs(float(amount)) for amount in attribution.totals.values()), default=0.0)
        for name in part_names(attribution.totals):
            amount = float(attribution.totals[name])
            parts.add_row(_LABELS[name], money(amount, decimals), _bar_of(amount, widest))
        columns, height = self.live.console.size
        columns -= len("^C")  # its echo would wrap, and the frame be cleared a line too low
        session = desk.view.session
        total, gone = (
            (1, 0) if session is None else (session.close_ns - session.open_ns, now_ns - session.open_ns)
        )
        done = ProgressBar(total=total, completed=gone, width=columns - 4)
        lines = sum(-(-len(text) // max(columns - 17, 1)) for _, text in rows) + len(_LONGEST_FRAME)
        room = height - 1 - lines
        shows_parts = room >= len(PARTS) + _LEAST_CHART_ROWS
        charts = self._charts(columns - 4, room - (len(PARTS) + 1 if shows_parts else 0), decimals, unit, n)
        progress = Table.grid()
        progress.add_row(done)
        shown = [head, progress, *charts, state, *(("", parts) if shows_parts else ())]
        earned = money(float(attribution.change_now()), decimals)
        self.live.update(
            Panel(
                Group(*shown),
                title=f"scalpdesk  {strategy}  NAV {rounded_text(nav, decimals)}  P&L {earned}",
                subtitle=self._footer,
                width=columns,
            )
        )

    def _charts(self, width: int, rows: int, decimals: int, unit: str, places: int) -> list["RenderableType"]:
        """Return spot, P&L and delta of the session, side by side or one below the other, in so many rows."""
        from rich.table import Table

        if len(self._history) < 2 or rows < 2:
            return []
        beside = width >= 3 * _LEAST_CHART_COLUMNS
        each = width // 3 - 2 if beside else width
        high = max(rows - 1 if beside else rows // 3 - 1, 1)
        grid = Table.grid(padding=(0, 2))
        spots, pnls, deltas, bands = (list(column) for column in zip(*self._history, strict=True))
        cells = []
        for name, digits, values in (("spot", 2, spots), ("P&L today", decimals, pnls)):
            low, top, last = min(values), max(values), values[-1]
            colour = "cyan" if name == "spot" else "green" if last > 0 else "red"
            title = (
                f"{name} [bold]{rounded_text(last, digits)}[/] [dim]{low:,.{digits}f} to {top:,.{digits}f}[/]"
            )
            body = "\n".join(_area_chart(values, each, high))
            cells.append(f"{title}\n[{colour}]{body}[/]")
        edge = "no band" if math.isnan(bands[-1]) else f"band ±{bands[-1]:.{max(places, 1)}f}"
        title = f"delta [bold]{deltas[-1]:+.{max(places, 1)}f}[/] {unit} [dim]{edge}[/]"
        body = "\n".join(_band_chart(deltas, bands, each, high) or _area_chart(deltas, each, high))
        cells.append(f"{title}\n[magenta]{body}[/]")
        if beside:
            grid.add_row(*cells)
            return [grid]
        return [*cells[: max(rows // 2, 1)]]


@contextmanager
def progress_view(sessions: Sequence["Session"]) -> Iterator["Observer"]:
    """Yield what moves a bar on stderr, from two seconds on; plain lines where that is no terminal."""
    spans = [(session.open_ns, session.close_ns) for session in sessions]
    total_ns = sum(closes - opens for opens, closes in spans)
    next_frame = 0.0
    with progress_bar(as_json=False) as report:

        def on_step(_run: "Assembled", now_ns: int) -> None:
            nonlocal next_frame
            wall = time.perf_counter()
            if wall >= next_frame:
                next_frame = wall + 2.0 / _FRAMES_PER_SECOND
                done_ns = sum(min(max(now_ns - opens, 0), closes - opens) for opens, closes in spans)
                report(done_ns, total_ns, f"{to_new_york(now_ns):%Y-%m-%d %H:%M} ET")

        yield on_step
