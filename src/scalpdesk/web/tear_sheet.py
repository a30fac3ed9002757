"""The tear sheet: one run as one offline file, drawn by the dashboard's own chart parts.

The file holds its data, its styles and its scripts, names no address, and its policy lets only these scripts
run. Figures are the run's own: the same replica of the engine that the dashboard follows, read to its end.
"""

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.intents import Mark, without_figures
from scalpdesk.core.owner_only import new_own_file
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO
from scalpdesk.core.version import BUILD
from scalpdesk.instruments.deribit import delta_unit
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.cut import sessions_begun
from scalpdesk.monitor import answers, documents, order_documents
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import currency_of
from scalpdesk.monitor.texts import clock, part_label, per_cent, plain, signed, tone
from scalpdesk.portfolio.explain import part_names
from scalpdesk.portfolio.gamma_verdict import GammaVerdict
from scalpdesk.report.figures import json_safe
from scalpdesk.report.pnl_calendar import calendar_of_report
from scalpdesk.report.run_report import RunReport
from scalpdesk.report.session_tables import ROLLING_SESSIONS, SessionPnl, rolling
from scalpdesk.report.trades import Trade
from scalpdesk.research.reruns import OtherRun, command_again, result_of
from scalpdesk.volatility.variance_time import clock_of
from scalpdesk.web.reruns import model_block, path_block
from scalpdesk.web.runs import thinned
from scalpdesk.web.static_files import chart_file, static_file

_MOST_POINTS = 2_000
_MOST_HEDGES = 25_000
_SCRIPTS = ("dom.js", "figures.js", "charts.js", "reruns.js", "sheet_parts.js")
MARKET_KINDS = {"reconstructed": "Reconstructed market, not recorded", "recorded": "Recorded market"}


def read_run(run_dir: Path) -> RunFollower:
    """Follow a run to its end.

    Raises DataError when its journal cannot be followed; says why.
    """
    follower = RunFollower(run_dir, most_decisions=None)
    while follower.advance(1_000):
        pass
    follower.close()
    if follower.problem or follower.engine is None:
        raise DataError(
            f"this run cannot be shown: {follower.problem or 'its journal has no event'}", where=str(run_dir)
        )
    return follower


# the document -----------------------------------------------------------------------------------


def sheet_document(
    follower: RunFollower,
    models: Sequence[OtherRun] = (),
    paths: Sequence[OtherRun] = (),
) -> dict[str, Any]:
    """Return everything that the tear sheet shows.

    ``follower``: The run, read to its end.
    ``models``, ``paths``: The run under other fill models and on other paths.
    """
    header, desk, report = follower.header, follower.desk, follower.report()
    assert header is not None
    unit, figures, parts = desk.attribution.unit, report.figures, report.pnl
    stated = figures.get("gamma_paying")
    paying = None if stated is None else msgspec.convert(stated, GammaVerdict)
    own = result_of("own", figures)
    columns = _thin_columns(follower)
    days = [session.day for session in sessions_begun(header, follower.now_ns)]
    cut = documents.cut_of(follower)
    span = {0: "Live run", 1: "One session"}.get(len(days), f"{len(days)} sessions")
    data, total = header.data, parts["total"]
    kind = MARKET_KINDS.get(str(data.get("kind")), f"{header.venue}, {header.mode}")
    model = str(header.config.get("simulation", {}).get("fill_model", ""))
    unit_of_delta, decimals = delta_unit(str(data.get("underlying", "")))
    return {
        "title": title_of(header.strategy, str(data.get("underlying", "")), days),
        "subtitle": f"{span if cut is None else str(cut).capitalize()}. {kind}.",
        "cut": None if cut is None else str(cut),
        "kind": documents.account_kind(header),
        "currency": currency_of(follower),
        "delta_unit": unit_of_delta,
        "delta_decimals": decimals,
        "result": signed(total),
        "result_tone": tone(total),
        "result_note": _rank_note(total, paths),
        "question": None if paying is None else paying.question,
        "verdict": documents.verdict(follower, parts, paying, is_one_session=len(days) < 2),
        "parts": documents.waterfall(parts),
        "costs": documents.costs_of(parts, paying),
        "residual_share": documents.residual_share(parts),
        "columns": columns,
        "fills": order_documents.fills_document(follower)["columns"],
        "models": model_block(model, own, models),
        "paths": path_block(total, paths),
        "rent": {
            "gamma": signed(parts["gamma"]),
            "theta": signed(parts["theta"]),
            "per_cost": _per_cost(paying),
        },
        "facts": [
            *_what_was_run(header, figures, [] if cut is not None else _statistics(report)),
            ["Decisions", str(follower.tail.summary.get("decision_hash", ""))[:12] or "run not ended"],
            ["Build", header.build],
        ],
        "warnings": _warnings(follower),
        "command": command_again(header),
        "rerun": f"scalpdesk replay {header.run_id} --under",
        "hedges": _hedges(report),
        "decisions": _decision_counts(report),
        "greeks": _greeks_of_marks(report.marks),
        "drawdown": _drawdown(report),
        "months": _months(report, unit),
        "rolling": rolling(
            [float(each.pnl) for each in report.sessions], clock_of(header.data).days_per_year
        ),
        "rolling_sessions": ROLLING_SESSIONS,
        "sessions": [_session_row(row, max(decimals, 2)) for row in report.sessions],
        "trade_columns": answers.shown_fields(Trade),
        "decimals": -int(unit.as_tuple().exponent),
        "trades": [_trade_row(each.in_cents(unit)) for each in report.trades or ()],
        "part_names": [part_label(name) for name in part_names(parts)],
        "version": BUILD,
    }


def _what_was_run(
    header: JournalHeader, figures: Mapping[str, Any], statistics: list[list[Any]]
) -> list[list[Any]]:
    """Return what was run as facts, with its statistics where they belong."""
    data, simulated = header.data, header.config.get("simulation", {})
    return [
        ["Data", f"{data.get('name', '')}, {data.get('kind', header.mode)}" + _drawn(header)],
        ["Run", header.run_id],
        ["Hedges", f"{figures['hedges']:,}"],
        ["Events", f"{figures['events']:,}"],
        *statistics,
        ["Fills", f"{simulated.get('fill_model') or header.venue}, fees {simulated.get('fees', 'none')}"],
        ["Config", header.config_hash[:12]],
    ]


def _statistics(report: RunReport) -> list[list[Any]]:
    """Return the statistics of the sessions as facts; of a run of one session its fall within it alone."""
    found, rows = report.performance, list[list[Any]]()
    falls = {"closes": found.get("drawdown"), "marks": found.get("drawdown_of_marks")}
    for of, fall in falls.items():
        if fall is not None and (of == "marks" or len(report.sessions) > 1):
            text = f"{plain(fall['amount'])}, {fall['after']} to {fall['trough']}"
            rows.append([f"Deepest fall, {of}", text])
    if len(report.sessions) < 2:
        return rows
    return [*rows, ["Sharpe ratio", plain(found["sharpe"])]] if "sharpe" in found else rows


def _drawdown(report: RunReport) -> list[list[str | None]]:
    """Return the deepest fall of marks and that by sessions as pairs of name and text."""
    fall, marks = (report.performance.get(name) for name in ("drawdown", "drawdown_of_marks"))
    rows: list[list[str | None]] = []
    if marks is not None:
        rows = [
            ["Deepest fall, marks", plain(marks["amount"])],
            ["From, to", f"{marks['after']}, {marks['trough']}"],
        ]
    if fall is None or len(report.sessions) < 2:
        return rows
    return [
        *rows,
        ["Deepest fall, closes", plain(fall["amount"])],
        ["Of the peak", per_cent(fall["fraction"])],
        ["After", fall["after"]],
        ["Lowest", fall["trough"]],
        ["Recovered", fall["recovered"] or "not yet"],
        ["Longest under water, sessions", str(fall["longest_under_water_sessions"])],
    ]


def _months(report: RunReport, unit: Decimal) -> list[dict[str, Any]]:
    """Return the months of the run's calendar; none of a run of one session."""
    found = calendar_of_report(report, unit)["months"] if len(report.sessions) > 1 else []
    return [
        {
            "name": row["name"],
            "pnl": signed(Decimal(row["pnl"])),
            "tone": tone(Decimal(row["pnl"])),
            "sessions": str(row["sessions"]),
            "hit_rate": per_cent(row["hit_rate"], 0),
        }
        for row in found
    ]


def _parts_row(parts: Mapping[str, Decimal]) -> list[str | None]:
    return [signed(parts.get(name, ZERO)) for name in part_names(parts)]


def _session_row(row: SessionPnl, delta_decimals: int) -> dict[str, Any]:
    largest = plain(row.largest_net_delta_shares, delta_decimals)
    shown = {"day": row.session, "delta": largest, "pnl": signed(row.pnl), "tone": tone(row.pnl)}
    return shown | {"parts": _parts_row(row.parts), "no_entry": row.no_entry}


def _trade_row(trade: Trade) -> dict[str, Any]:
    """Return one trade with all of its fields; its P&L reaches up to the next one."""
    shown: dict[str, Any] = json_safe(trade)
    words = f"{trade.strategy}: {trade.entry}" if trade.strategy else trade.entry
    pnl = {"pnl": signed(trade.pnl), "tone": tone(trade.pnl), "parts": _parts_row(trade.parts)}
    return shown | {"name": trade.name, "entry": words} | pnl


def _greeks_of_marks(marks: Sequence[Mark]) -> dict[str, list[float]]:
    """Return the Greeks at the marks as columns; ``t`` in UTC seconds."""
    names = ("gamma_shares_per_usd", "theta_usd_per_day", "vega_usd_per_point")
    found = list(marks)
    kept = thinned([mark.gamma_shares_per_usd for mark in found], _MOST_POINTS // 2)
    at = {"t": [found[i].ts_ns / NANOS_PER_SECOND for i in kept]}
    return at | {name: [round(getattr(found[i], name), 6) for i in kept] for name in names}


def title_of(strategy: str, market: str, days: Sequence[date]) -> str:
    """Return strategy, market, first and last day as a title."""
    when = " to ".join(f"{day:%-d %b %Y}" for day in dict.fromkeys((days[0], days[-1]))) if days else ""
    return ", ".join(filter(None, (f"{strategy.replace('-', ' ').capitalize()} on {market}", when)))


def _drawn(header: JournalHeader) -> str:
    quality, seed = header.data.get("quality"), header.seed
    named = "" if quality is None else f", quality {quality}"
    return named if seed is None else f"{named}, seed {seed}"


def _per_cost(paying: GammaVerdict | None) -> str | None:
    if paying is None or not paying.hedging < 0:
        return None
    return f"{plain((paying.gamma + paying.theta) / -paying.hedging, 1)}×"


def _rank_note(total: Decimal, paths: Sequence[OtherRun]) -> str:
    """Return the result's place among redrawn paths, in words."""
    if not paths:
        return "one path; its luck is not known"
    every = sorted([total, *(other.pnl for other in paths)])
    low, high = (float(np.quantile([float(amount) for amount in every], q)) for q in (0.05, 0.95))
    place = every.index(total) + 1
    word = {1: "Lowest", len(every): "Highest"}.get(place, f"Number {place} from below")
    return f"{word} of {len(every)} redrawn paths, 90 % of them {signed(low, 0)} to {signed(high, 0)}"


def _thin_columns(follower: RunFollower) -> dict[str, list[float | None]]:
    columns = follower.series.columns
    equity = [0.0 if value is None else value for value in columns["equity"]]
    kept = thinned(equity, _MOST_POINTS)
    peaks = np.maximum.accumulate(np.maximum(np.array(equity or [0.0]), 0.0))
    names = ("t", "spot", "equity", "net_delta", "band", "realised", "implied", "gamma", "theta")
    decimals = -int(follower.desk.attribution.unit.as_tuple().exponent)
    found: dict[str, list[float | None]] = {}
    for name in names:
        picked = [columns[name][i] for i in kept]
        found[name] = [None if value is None else round(value, max(decimals, 4)) for value in picked]
    found["drawdown"] = [
        None if columns["equity"][i] is None else round(float(equity[i] - peaks[i]), decimals) for i in kept
    ]
    return found


def _warnings(follower: RunFollower) -> list[str]:
    header = follower.header
    assert header is not None
    notes = [str(note) for note in header.data.get("notes") or ()]
    odd = follower.desk.market.oddities
    if odd:
        counts = (f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(odd.items()))
        notes.append(f"quotes: {', '.join(counts)}")
    if follower.lacks_quotes:
        notes.insert(0, f"curves stand on few quotes, as its market is gone: {follower.lacks_quotes}")
    cut = documents.cut_of(follower)
    if cut is not None:
        notes.insert(0, f"the run was {cut}")
    elif not follower.tail.sealed:
        notes.insert(0, "the run is not over: its journal is not sealed")
    if header.config.get("simulation", {}).get("fees") == "none":
        notes.append("no fees were charged")
    return notes


def _hedges(report: RunReport) -> list[list[Any]]:
    """Return each hedge: time, what, price, reason."""
    return [
        [
            clock(hedge.ts_ns),
            signed(float(hedge.quantity_shares), 0),
            None if hedge.price is None else plain(hedge.price),
            f"refused: {hedge.refused}; wanted: {hedge.reason}" if hedge.refused else hedge.reason,
        ]
        for hedge in report.hedges[-_MOST_HEDGES:]
    ]


def _decision_counts(report: RunReport) -> list[list[Any]]:
    """Return what was decided but hedges by reason, the commonest first."""
    counts, told = Counter[tuple[str, str, str]](), dict[tuple[str, str, str], str]()
    for decision in report.decisions:
        if decision.kind is DecisionKind.HEDGE and decision.is_counted:
            continue
        outcome = "taken" if decision.taken else "skipped"
        row = str(decision.kind), outcome, decision.likeness
        told[row] = without_figures(decision.headline)
        counts[row] += 1
    return [[*row[:2], told[row], count] for row, count in counts.most_common(60)]


# the file ---------------------------------------------------------------------------------------


def write_sheet(file: Path, document: Mapping[str, Any], drawing: str = "sheet.js") -> int:
    """Write a tear sheet; return its bytes.

    Raises ArgumentError when the file cannot be written.
    """
    content = tear_sheet(document, drawing).encode()
    try:
        with new_own_file(file):
            file.write_bytes(content)
    except OSError as error:
        raise ArgumentError(
            f"cannot write the tear sheet: {error.strerror}", where="--html", value=str(file)
        ) from error
    return len(content)


def tear_sheet(document: Mapping[str, Any], drawing: str = "sheet.js") -> str:
    """Return the file: one HTML document without an external address; ``drawing`` is its script."""
    scripts, style = _parts_of(drawing)
    policy = sheet_policy(drawing)
    # no end tag and no comment can begin inside of the data
    data = json.dumps(json_safe(dict(document)), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    body = "".join(f"<script>{text}</script>" for text in scripts)
    title = html.escape(f"{document['title']}: {document['result']}")
    return (
        '<!doctype html>\n<html lang="en" data-theme="auto">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<main id="main" class="sheet"></main>\n'
        f'<script type="application/json" id="data">{data}</script>\n{body}\n</body>\n</html>\n'
    )


def sheet_policy(drawing: str = "sheet.js") -> str:
    """Return the content policy of a tear sheet: its own scripts and style, by their digests."""
    scripts, style = _parts_of(drawing)
    return (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _parts_of(drawing: str) -> tuple[list[str], str]:
    """Return the scripts of a tear sheet and its style."""
    chart = chart_file("uplot.js")
    scripts = [] if chart is None else [chart.decode()]
    scripts.append(f"(() => {{\n{''.join(map(_as_plain_script, (*_SCRIPTS, drawing)))}\n}})();")
    styles = [static_file("desk.css").decode(), static_file("sheet.css").decode()]
    chart_style = chart_file("uplot.css")
    if chart_style is not None:
        styles.insert(0, chart_style.decode())
    return scripts, "\n".join(styles)


def _as_plain_script(name: str) -> str:
    """Return a module without its imports and exports: all of them share one scope in the file."""
    text = static_file(name).decode()
    text = re.sub(r"^import .*?;\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"
