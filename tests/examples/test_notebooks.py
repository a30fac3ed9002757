"""The notebooks, their cells run in order, and what the sanity checks find in data that is not sound."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scalpdesk.notebook
from scalpdesk.datasets.embedded.coin import FIRST_HISTORY, _levels, smile_vol

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
