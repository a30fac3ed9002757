"""The notebooks, their cells run in order, and what the sanity checks find in data that is not sound."""

import json
from dataclasses import replace
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest

import scalpdesk.notebook
from scalpdesk.datasets.daily_history import packaged_history
from scalpdesk.datasets.embedded.coin import FIRST_HISTORY, _levels, smile_vol
from scalpdesk.volatility.forecast import forecast_vol

pytestmark = pytest.mark.second

FOLDER = Path(__file__).parents[2] / "notebooks"
load_data = scalpdesk.notebook.load_data


def run(name):
    """Execute the code cells; a cell's error names its place."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = {"__name__": name}
    try:
        for number, cell in enumerate(json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{name}.ipynb, cell {number}", "exec"), found)
        found["figures"] = [plt.figure(each).axes for each in plt.get_fignums()]
    finally:
        plt.close("all")
    return found


def test_the_exploratory_notebook_shows_the_market_that_was_drawn(capsys):
    found = run("exploratory")
    assert [len(axes[0].lines) + len(axes[0].collections) for axes in found["figures"]] == [3, 2, 2, 2]
    for row in found["premium"]:
        level = _levels(1)[(row["day"] - FIRST_HISTORY).days]
        wanted = smile_vol(level, np.array([30 / 365]), np.zeros(1))[0]
        assert row["iv_30d"] == pytest.approx(wanted, abs=0.004)
    vols = {row["day"]: row["vol"] for row in found["realised"]}
    one_day = [row for row in found["premium"] if row["window_days"] == 1]
    assert [row["premium"] for row in one_day] == pytest.approx(
        [row["iv_30d"] ** 2 - vols[row["day"]] ** 2 for row in one_day]
    )
    assert found["entry"].share_inside == 1.0
    assert "mean premium -0.037 a year" in capsys.readouterr().out


def test_the_sanity_checks_find_nothing_in_the_reconstructed_market():
    found = run("sanity_checks")
    assert found["findings"] == dict.fromkeys(found["findings"], 0)
    assert len(found["findings"]) == 9
    assert found["checked"] > 200  # pairs
    assert len(found["VENUE"]) == 10


def changed(where, **columns):
    """Return a loader whose tape has other quotes: each column times a factor in the rows that are meant."""

    def load(*args, **more):
        tape = load_data(*args, **more)
        quotes = tape.quotes.whole()
        rows = where(tape, quotes)
        sides = {
            name: np.where(rows, getattr(quotes, name) * factor, getattr(quotes, name))
            for name, factor in columns.items()
        }
        return replace(tape, quotes=replace(quotes, **sides))

    return load


def calls(tape, quotes):
    """Every third of the calls that expire first."""
    numbers = [number for number, item in tape.instruments.options(tape.underlying) if item.is_call]
    return np.isin(quotes.instrument_id, numbers[:40:3])


def swap_at_noon(tape, quotes):
    hours = (quotes.ts_ns - tape.sessions[0].open_ns) / 3.6e12
    return (quotes.instrument_id == 0) & (hours > 4.0) & (hours < 5.0)


@pytest.mark.parametrize(
    ("loader", "names"),
    [
        (changed(calls, bid=1.3, ask=1.3), {"parity broken", "vertical", "butterfly"}),
        (changed(calls, bid=2.0), {"crossed rows"}),
        (changed(calls, bid=0.5, ask=0.5), {"below intrinsic", "calendar"}),
    ],
)
def test_the_sanity_checks_find_what_is_wrong(loader, names, monkeypatch):
    monkeypatch.setattr(scalpdesk.notebook, "load_data", loader)
    findings = run("sanity_checks")["findings"]
    assert {name for name in names if not findings[name]} == set()


def test_the_sanity_checks_find_holes(monkeypatch):
    def load(*args, **more):
        tape = load_data(*args, **more)
        quotes = tape.quotes.whole()
        last = max(item.expiry for _, item in tape.instruments.options(tape.underlying))
        gone = [n for n, item in tape.instruments.options(tape.underlying) if item.expiry == last]
        kept = ~swap_at_noon(tape, quotes) & ~np.isin(quotes.instrument_id, gone)
        names = ("ts_ns", "instrument_id", "bid", "ask", "bid_size", "ask_size")
        return replace(tape, quotes=replace(quotes, **{name: getattr(quotes, name)[kept] for name in names}))

    monkeypatch.setattr(scalpdesk.notebook, "load_data", load)
    findings = run("sanity_checks")["findings"]
    assert (findings["gaps of the perpetual"], findings["expiries without quotes"]) == (1, 4)


def assert_answers(name, *figures):
    """The notebook's row of the page has these figures, to the cent."""
    page = (FOLDER.parent / "docs" / "howto" / "notebooks.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("|") and f"/{name}.ipynb" in line]
    assert [figure for figure in figures if f"{float(figure):.2f}" not in row] == []


def amounts_of(run):
    """The P&L of a run and its parts, as the summary has them."""
    parts = {name: float(amount) for name, amount in run.summary["pnl"].items()}
    return parts.pop("total"), parts


def test_the_first_backtest_earned_the_sum_of_its_parts():
    found = run("first_backtest")
    total, parts = amounts_of(found["run"])
    assert sum(parts.values()) == pytest.approx(total, abs=0.005)
    assert found["marks"]["pnl"].iloc[-1] == pytest.approx(total, abs=0.005)
    assert_answers("first_backtest", total, parts["vega"])
    (panel,) = found["run"].plot("explain").axes
    heights = [bar.get_height() for bar in panel.patches]
    assert heights == pytest.approx([*(amount for amount in parts.values() if amount), total], abs=0.005)
    assert panel.get_ylim()[0] < min(0.0, *np.cumsum(heights[:-1])) < max(heights) < panel.get_ylim()[1]
    assert methodcaller("_repr_png_")(found["run"].plot())[:4] == b"\x89PNG"


def test_the_chosen_band_keeps_to_the_cap_and_is_worth_more_than_others_that_do():
    found = run("choosing_a_band")
    report, chosen = found["report"], found["chosen"]
    rows = {(row.band, row.setting): row for row in report.rows}
    best = max(row.certainty_equivalent for row in report.rows if row.eligible)
    assert rows[chosen.band, chosen.setting].certainty_equivalent == pytest.approx(
        best, abs=2 * chosen.behind_best_stderr
    )
    reach = rows[chosen.band, chosen.setting].half_width_shares * (
        1 + chosen.settings["hedge.least_fraction"]
    )
    assert 0 < reach <= 8.0 + 1e-6
    assert (len(report.to_frame()), found["run"].summary["hedges"]) == (len(report.rows), 34)
    assert_answers("choosing_a_band", chosen.ahead)


def test_implied_volatility_was_above_what_followed_and_the_forecast_sees_no_later_day():
    found = run("implied_against_realised")
    frame, history = found["frame"], found["history"]
    # the figures of docs/concepts/embedded-market.md, which are of all of these days
    assert 1e4 * history.mean_premium == pytest.approx(64, abs=1)
    assert (history.share_rich, found["gap"].mean()) == pytest.approx((0.82, 3.0), abs=0.05)
    assert found["interval"].low < history.mean_premium < found["interval"].high
    assert len(frame) == len(history.rows) == found["frame"]["forecast"].count() == 1235
    assert list(found["came"]).index(found["came"].max()) == 4
    assert found["came"].min() > 0
    bars = packaged_history("sp500")
    first, row = bars.days.index(history.rows[0].day), history.rows[0]
    returns = np.diff(np.log(bars.bars["close"][first : first + 22]))
    assert row.realised == pytest.approx(np.sqrt(252 / 21 * np.sum(returns**2)), rel=1e-9)
    known = {name: column[: first + 1] for name, column in bars.bars.items()}
    assert row.forecast == pytest.approx(forecast_vol(known, "har", 21).vol, rel=1e-9)


def test_the_0dte_day_earned_what_its_fills_moved_in_cash():
    found = run("anatomy_of_a_0dte_day")
    total, parts = amounts_of(found["run"])
    assert sum(parts.values()) == pytest.approx(total, abs=0.005)
    assert parts["theta"] < 0 < parts["gamma"]
    assert_answers("anatomy_of_a_0dte_day", parts["gamma"], -parts["theta"])
    assert found["run"].summary["end_positions"] == {}
    fills = found["fills"]
    units = np.where(fills["symbol"] == "SPY", 1, 100) * np.where(fills["side"] == "buy", -1, 1)
    cash = (units * fills["quantity"].astype(float) * fills["price"].astype(float)).sum()
    assert cash == pytest.approx(total, abs=0.005)
    spot, _, gamma, _, pnl = found["figures"][0]
    assert sum(len(line.get_xdata()) for line in spot.lines[1:3]) == len(found["hedges"])
    assert gamma.lines[0].get_ydata().max() == found["marks"]["gamma_shares_per_usd"].max() > 50
    assert pnl.lines[2].get_ydata()[-1] == pytest.approx(parts["gamma"] + parts["theta"], abs=0.01)


def test_each_choice_of_the_walk_forward_was_the_best_of_its_past():
    found = run("walk_forward")
    report = found["report"]
    daily = {row.settings["profit_target"]: row.daily for row in found["result"].rows}
    assert [fold.test_first > fold.train_last for fold in report.folds] == [True] * 2
    for fold in report.folds:
        span = fold.train_first.isoformat(), fold.train_last.isoformat()
        past = {
            name: np.array([float(pnl) for day, pnl in days.items() if span[0] <= day <= span[1]])
            for name, days in daily.items()
        }
        ratios = {name: pnl.mean() / pnl.std(ddof=1) for name, pnl in past.items()}
        assert fold.settings["profit_target"] == max(ratios, key=ratios.__getitem__)
    frame = found["frame"]
    assert frame["total"].iloc[-1] == pytest.approx(float(report.out_of_sample.total), abs=0.005)
    assert len(frame) == report.out_of_sample.sessions == 4
    assert_answers("walk_forward", report.in_sample.per_session, report.out_of_sample.per_session)


def test_the_live_run_differs_from_its_backtest_by_latency_and_fees_alone():
    compared = run("live_against_backtest")
    found, live = compared["found"], compared["live"]
    parts = {name: float(amount) for name, amount in found["parts"].items()}
    assert sum(parts.values()) == pytest.approx(float(found["live_pnl"] - found["backtest_pnl"]))
    assert {name for name, amount in parts.items() if amount} == {"latency", "fees"}
    assert_answers("live_against_backtest", parts["latency"], parts["fees"], found["backtest_pnl"])
    total, own = amounts_of(live)
    assert (parts["fees"], float(found["live_pnl"])) == pytest.approx((own["fees"], total), abs=0.005)
    assert found["orders"]["matched"] == found["orders"]["live"] > 50
    assert found["latency_ms"] == {"out": 400.0, "back": 400.0}
    frame = compared["compared"].to_frame()
    assert frame.loc["live", "pnl"] == frame["pnl"].iloc[-2] == pytest.approx(total)
    assert len(live.marks) == len(live.to_frame())
