"""The volatility report as a trader reads it: percent a year, every figure with its name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


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


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right")
    return table


def _realised(document: dict[str, Any]) -> "Table":
    table = _table("estimator", "vol %")
    for one in document["realised"]:
        table.add_row(one["estimator"].replace("_", " "), _percent(one["vol"]))
    return table


def _forecasts(document: dict[str, Any]) -> "Table":
    table = _table("model", "vol %", "90 % from", "to", "std. error", "")
    for one in document["forecasts"]:
        remark = "desk default" if one["model"] == document["desk_default"] else ""
        if one["made_by"] != one["model"]:
            remark = f"by {one['made_by']}"
        cells = (_percent(one[name]) for name in ("vol", "low", "high", "stderr"))
        table.add_row(one["model"], *cells, remark)
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
        word = "options are dear" if premium["variance"] > 0.0 else "options are cheap"
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
    found = [one["reason"] for one in with_history if one["reason"]]
    dropped = {(bar["day"], bar["reason"]) for one in document["realised"] for bar in one["dropped"]}
    bad = [f"bar of {day} left out: {reason}" for day, reason in sorted(dropped)]
    return [*dict.fromkeys(found), *bad, *document["notes"]]


def _days(days: float) -> str:
    return f"{days:.0f} day" if round(days) == 1 else f"{days:.0f} days"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f}"
