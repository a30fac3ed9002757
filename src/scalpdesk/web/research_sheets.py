"""Tear sheets of many backtests: a sweep, a walk-forward test, a comparison of hedge bands.

Each is one offline file in the style of the single run's sheet, with the figures of the result as data.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.core.units import count_text, money_decimals
from scalpdesk.core.version import BUILD
from scalpdesk.monitor.texts import per_cent, plain, signed, tone
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.research.band_lab import BandReport, BandRow, advice
from scalpdesk.research.folds import Fold
from scalpdesk.research.overfitting import Measure, OverfittingReport
from scalpdesk.research.sweep import SweepResult, SweepRow, in_order, numbers_of
from scalpdesk.research.walk_forward import (
    FoldResult,
    SpanPnl,
    WalkForwardResult,
    settings_text,
    verdict_lines,
)
from scalpdesk.web.tear_sheet import MARKET_KINDS, title_of, write_sheet

DRAWING = "research_sheet.js"
_MOST_VALUES = 16
"""Different numbers of a parameter that a heat map shows singly."""
GROUPS = 8
"""Groups of equal size in which it shows more."""
_MOST_OUTCOMES = 150
_SHOWN_ROWS = 25
_NORMAL_95 = 1.96
"""Standard errors to each side of a 95 % interval."""
Result = SweepResult | WalkForwardResult | BandReport


def research_sheet(result: Result, command: str | None = None) -> dict[str, Any]:
    """Return everything that the tear sheet of a result shows.

    ``result``: Of a sweep, a walk-forward test or a comparison of bands.
    ``command``: Command line that makes it again.
    """
    if isinstance(result, SweepResult):
        document = _sweep(result)
    elif isinstance(result, WalkForwardResult):
        document = _walk_forward(result)
    else:
        document = _bands(result)
    return {"command": command, "version": BUILD} | document


def write_research_sheet(file: Path, result: Result, command: str | None = None) -> int:
    """Write the tear sheet of a result; return its bytes.

    Raises ArgumentError when the file cannot be written.
    """
    return write_sheet(file, research_sheet(result, command), DRAWING)


def _luck(judged: OverfittingReport) -> dict[str, Any]:
    """Return deflated Sharpe ratio and probability of overfitting, with what they rest on."""
    return {
        "deflated_sharpe": judged.deflated_sharpe,
        "pbo": judged.pbo,
        "facts": [
            ["Deflated Sharpe ratio", plain(judged.deflated_sharpe, 3)],
            ["Probability of overfitting", plain(judged.pbo, 2)],
            ["Trials", f"{judged.trials:,}"],
        ],
        "lines": [_sentence(line) for line in judged.lines()],
    }


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{re.sub(r'(?<= )-(?=[0-9])', '−', line[1:])}."


# sweep ------------------------------------------------------------------------------------------


def _sweep(result: SweepResult) -> dict[str, Any]:
    about, done, keys = result.about, result.done, result.varied
    currency = str(about.get("currency", "USD"))
    data, decimals = about.get("data") or {}, money_decimals(currency)
    days = sorted({day for row in done for day in row.daily})
    title = title_of(
        str(about.get("strategy", "strategy")),
        str(data.get("underlying", "")),
        list(map(date.fromisoformat, days)),
    )
    stopped = sum(row.pruned for row in result.rows)
    failed = [row for row in result.rows if row.problem is not None]
    ended = {"whole": len(done), "stopped by the search": stopped, "failed": len(failed)}
    counts = ", ".join(f"{count:,} {how}" for how, count in ended.items() if count)
    luck = _luck(result.overfitting)
    best = done[0].total if done else None
    kind = MARKET_KINDS.get(str(data.get("kind")), "")
    places = [_places(key, done) for key in keys]
    return {
        "kind": "sweep",
        **({"command": about["command"]} if "command" in about else {}),
        "title": f"Sweep: {title}",
        "subtitle": f"{count_text(len(result.rows), 'combination')} over {count_text(len(days), 'session')}:"
        f" {counts or 'no backtest'}." + (f" {kind}." if kind else ""),
        "currency": currency,
        "decimals": decimals,
        "result": signed(best, decimals) or "no result",
        "result_tone": tone(best),
        "result_note": result.why_no_trade or _choice(len(done)),
        "parameters": [{"key": key, "labels": labels} for key, (labels, _) in zip(keys, places, strict=True)],
        "places": [list(at) for at in zip(*(each for _, each in places), strict=True)],
        "values": [row.total for row in done],
        "texts": [signed(row.total, decimals) for row in done],
        "outcomes": _outcomes(done),
        "luck": luck,
        "keys": keys or result.keys,
        "best": [_sweep_row(row, keys or result.keys, decimals) for row in done[:_SHOWN_ROWS]],
        "part_names": [part.replace("_", " ") for part in PARTS],
        "problems": [[settings_text(row.settings), row.problem] for row in failed],
        "facts": [
            ["Data", ", ".join([
                *(str(data[name]) for name in ("name", "kind", "session") if data.get(name)),
                *([f"quality {data['quality']}"] if data.get("quality") else []),
            ])],
            ["Parameters", "; ".join(map(str, about.get("params") or result.keys))],
            *([["Search", f"{about['search']} proposals by Optuna"]] if about.get("search") else []),
            *([[
                "Fills",
                f"{about['fill_model']}, fees {about['fees']}, unless a parameter says otherwise",
            ]] if "fees" in about else []),
            *([] if result.table is None else [["Table", str(result.table)]]),
        ],
    }  # fmt: skip


def _choice(number: int) -> str:
    if number < 2:
        return "The only result" if number else "No combination has a result"
    return f"Best of {number:,}, chosen afterwards"


def _places(key: str, rows: Sequence[SweepRow]) -> tuple[list[str], list[int]]:
    """Return the values of a parameter in order, many numbers in groups, and each row's place among them."""
    texts = [row.settings.get(key, "") for row in rows]
    ordered = in_order(texts)
    is_numeric = all(isinstance(number, float) for number in numbers_of(ordered))
    if len(ordered) <= _MOST_VALUES or not is_numeric:
        at = {text: place for place, text in enumerate(ordered)}
        short = [f"{float(text):.4g}" if is_numeric and len(text) > 6 else text for text in ordered]
        labels = short if len(set(short)) == len(ordered) else ordered
        return labels, [at[text] for text in texts]
    group_of = {text: place * GROUPS // len(ordered) for place, text in enumerate(ordered)}
    groups = [[text for text in ordered if group_of[text] == group] for group in range(GROUPS)]
    return [f"{float(each[0]):.3g} to {float(each[-1]):.3g}" for each in groups], [
        group_of[text] for text in texts
    ]


def _outcomes(done: Sequence[SweepRow]) -> dict[str, list[Any]]:
    """Return P&L by rank with its interval; of very many an even choice with the best and the last."""
    shown = (
        np.unique(np.linspace(0, len(done) - 1, min(len(done), _MOST_OUTCOMES)).astype(int)) if done else ()
    )
    intervals = [done[place].interval() for place in shown]
    return {
        "rank": [int(place) + 1 for place in shown],
        "pnl": [done[place].total for place in shown],
        "low": [None if each is None else each.low for each in intervals],
        "high": [None if each is None else each.high for each in intervals],
    }


def _sweep_row(row: SweepRow, keys: Sequence[str], decimals: int) -> dict[str, Any]:
    interval = row.interval()
    ends = None if interval is None else [signed(end, decimals) for end in (interval.low, interval.high)]
    return {
        "settings": [row.settings.get(key) for key in keys],
        "pnl": signed(row.total, decimals),
        "tone": tone(row.total),
        "interval": None if ends is None else " to ".join(map(str, ends)),
        "sharpe": plain(row.sharpe, 2),
        "parts": [signed(float(row.pnl.get(part, "nan")), decimals) for part in PARTS],
        "hedges": f"{row.hedges:,}",
        "fills": f"{row.fills:,}",
        "sessions": str(row.sessions) if row.traded is None else f"{row.traded} of {row.sessions}",
    }


# walk-forward -----------------------------------------------------------------------------------


def _walk_forward(result: WalkForwardResult) -> dict[str, Any]:
    report = result.report
    decimals, outside = money_decimals(report.currency), report.out_of_sample
    tested = list(map(date.fromisoformat, report.daily))
    days = sorted({day for fold in result.folds for part in _parts_of(fold).values() for day in part})
    of_luck, number = report.overfitting.lines(), count_text(len(report.folds), "fold")
    measure = {Measure.SHARPE: "Sharpe ratio", Measure.PNL: "P&L"}[report.measure]
    total = float(outside.total)
    return {
        "kind": "walk_forward",
        "title": f"Walk-forward: {title_of(report.strategy, report.data, tested)}",
        "subtitle": f"{number}: a choice among {count_text(report.combinations, 'combination')} by {measure}"
        " on past sessions, its test on the sessions that follow.",
        "currency": report.currency,
        "decimals": decimals,
        "result": signed(total, decimals),
        "result_tone": tone(total),
        "result_note": f"Out of sample over {count_text(outside.sessions, 'session')}",
        "days": [day.isoformat() for day in days],
        "folds": [
            _fold(number, made, fold, days, decimals)
            for number, (made, fold) in enumerate(zip(report.folds, result.folds, strict=True), 1)
        ],
        "running": {
            "pnl": [float(amount) for amount in report.daily.values()],
            "days": list(report.daily),
            "starts": [list(report.daily).index(fold.test_first.isoformat()) for fold in report.folds],
        },
        "lines": [_sentence(line) for line in verdict_lines(report) if line not in of_luck],
        "luck": _luck(report.overfitting),
        "degradation": report.degradation,
        "verdict": [
            ["In sample, a session", signed(report.in_sample.per_session, decimals)],
            ["Out of sample, a session", signed(outside.per_session, decimals)],
            ["Gone out of sample", per_cent(report.degradation, 0)],
            ["Chance that the ratio is above 0", plain(report.probabilistic_sharpe, 2)],
        ],
        "problems": [[settings, problem] for settings, problem in report.problems.items()],
        "facts": [
            ["Choice", "from the first session on" if report.anchored else "on sessions that move on"],
            ["Purge", f"{count_text(report.purge, 'session')} before each test"],
            ["Embargo", f"{count_text(report.embargo, 'session')} after each test"],
            ["Backtests", "over all sessions at once" if report.one_run else "for each choice, from flat"],
        ],
    }


def _parts_of(fold: Fold) -> dict[str, tuple[date, ...]]:
    return {"train": fold.train, "embargo": fold.embargoed, "purge": fold.purged, "test": fold.test}


def _fold(number: int, made: FoldResult, fold: Fold, days: Sequence[date], decimals: int) -> dict[str, Any]:
    kinds = {day: kind for kind, part in _parts_of(fold).items() for day in part}
    own = [place for place, day in enumerate(days) if day in kinds]
    spans, place = [], own[0]
    for kind, run in groupby(kinds[days[place]] for place in own):
        length = len(list(run))
        ends = {"first": days[place].isoformat(), "last": days[place + length - 1].isoformat()}
        spans.append({"kind": kind, "from": place, "to": place + length, **ends})
        place += length
    return {
        "name": f"Fold {number}",
        "settings": settings_text(made.settings),
        "spans": spans,
        "in_sample": _span_pnl(made.in_sample, decimals),
        "out_of_sample": _span_pnl(made.out_of_sample, decimals),
        "trained": f"{made.train_first} to {made.train_last}",
        "tested": f"{made.test_first} to {made.test_last}",
        "rank": plain(made.rank, 2),
    }


def _span_pnl(found: SpanPnl, decimals: int) -> dict[str, Any]:
    return {
        "per_session": found.per_session,
        "text": signed(found.per_session, decimals),
        "total": signed(float(found.total), decimals),
        "tone": tone(found.per_session),
        "sessions": f"{found.traded} of {found.sessions}",
        "sharpe": plain(found.sharpe_annual, 2),
    }


# bands ------------------------------------------------------------------------------------------


def _bands(report: BandReport) -> dict[str, Any]:
    market, chosen = report.market, report.recommendation
    currency = str(market.get("currency", "USD"))
    decimals = money_decimals(currency)
    is_simulated = market.get("kind") == "simulated"
    days = count_text(report.days, "simulated session" if is_simulated else "session")
    skipped: Sequence[Mapping[str, str]] = market.get("skipped", ())
    span = "" if is_simulated else f", {market.get('first', '')} to {market.get('last', '')}"
    best = None if chosen is None else chosen.certainty_equivalent
    shown = {
        name: value
        for name, value in market.items()
        if name not in {"kind", "first", "last", "currency", "skipped"} and value is not None
    }
    return {
        "kind": "bands",
        "title": f"Hedge bands over {days}{span}",
        "subtitle": f"{len(report.rows)} bands on the same sessions. Worth is the mean P&L less half of"
        f" {report.risk_aversion:.3g} times its variance, a day.",
        "currency": currency,
        "decimals": decimals,
        "result": "no band" if chosen is None else chosen.band.replace("_", " "),
        "result_tone": "text",
        "result_note": "No band keeps to the delta cap"
        if chosen is None
        else f"{chosen.setting}: worth {signed(best, decimals)} ± {plain(chosen.stderr, decimals)} a day",
        "advice": None if chosen is None else _sentence(advice(chosen)),
        "recommended": []
        if chosen is None
        else [
            ["Worth, a day", f"{signed(best, decimals)} ± {plain(chosen.stderr, decimals)}"],
            ["Best by worth", chosen.best],
            ["Behind the best", f"{plain(chosen.behind_best, 3)} ± {plain(chosen.behind_best_stderr, 3)}"],
            ["Ahead of", chosen.runner_up or None],
            [
                "By",
                f"{signed(chosen.ahead, 3)} ± {plain(chosen.ahead_stderr, 3)}" if chosen.runner_up else None,
            ],
            ["Its kind is best", f"in {per_cent(chosen.chance_best_family, 0)} of the resamples"],
        ],
        "settings": []
        if chosen is None
        else [f"--set {key}={value}" for key, value in chosen.settings.items()],
        "families": [name.replace("_", " ") for name in dict.fromkeys(row.band for row in report.rows)],
        "rows": [
            _band_row(
                row, decimals, chosen is not None and (row.band, row.setting) == (chosen.band, chosen.setting)
            )
            for row in report.rows
        ],
        "unhedged": report.unhedged_spread,
        "facts": [
            ["Sessions", "simulated" if is_simulated else "of a data set, at the desk's own looks"],
            *([name.replace("_", " ").capitalize(), str(value)] for name, value in shown.items()),
            ["Delta cap", None if report.delta_cap is None else f"{report.delta_cap:g} shares"],
            ["Unhedged spread", f"{plain(report.unhedged_spread, decimals)} {currency} a day"],
        ],
        "warnings": [f"{each['day']} left out: {each['reason']}" for each in skipped],
    }


def _band_row(row: BandRow, decimals: int, is_chosen: bool) -> dict[str, Any]:
    ends = {
        f"{name}_{end}": value + side * _NORMAL_95 * error
        for name, value, error in (
            ("cost", row.cost, row.cost_stderr),
            ("spread", row.spread, row.spread_stderr),
        )
        for end, side in (("low", -1.0), ("high", 1.0))
    }
    return {
        "band": row.band.replace("_", " "),
        "setting": row.setting,
        "cost": row.cost,
        "spread": row.spread,
        **ends,
        "frontier": row.on_frontier,
        "eligible": row.eligible,
        "chosen": is_chosen,
        "texts": {
            "width": plain(row.half_width_shares, 2),
            "mean": signed(row.mean, decimals),
            "spread": plain(row.spread, decimals),
            "cost": plain(row.cost, decimals),
            "hedges": plain(row.hedges, 1),
            "largest": plain(row.largest_delta, 1),
            "worth": signed(row.certainty_equivalent, decimals),
        },
    }
