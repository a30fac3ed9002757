"""Hypotheses on signals: by scalps with a planted edge, and by rows of the scalps' table."""

from datetime import datetime

import numpy as np
import pytest

from scalpdesk.research.signal_hypotheses import ScalpOutcome, outcome_of, signal_findings
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder


def scalps(name, mean, sessions=30, seed=1, right=0.0, by_conviction=0.0):
    draw = np.random.default_rng(seed)
    found = []
    for number in range(sessions):
        shock = 0.05 * draw.normal()
        for _ in range(3):
            points = float(draw.integers(50, 100))
            fraction = mean + by_conviction * (points - 75.0) / 10.0 + shock + 0.2 * draw.normal()
            move = right + 0.002 * draw.normal()
            found.append(ScalpOutcome(name, f"2018-01-{number:02}", points, fraction, move))
    return found


def test_an_edge_is_shown_and_a_lucky_signal_is_not():
    outcomes = scalps("GOOD", 0.15, right=0.001) + scalps("NOISE", 0.0, seed=2) + scalps("BAD", -0.2, seed=3)
    found = {each.name: each.verdict for each in signal_findings(outcomes, ["SILENT"])}
    assert found["GOOD: return after costs"] == "shown, positive"
    assert found["GOOD: move in its direction"] == "shown, positive"
    assert found["NOISE: return after costs"] == found["NOISE: move in its direction"] == "not shown"
    assert found["BAD: return after costs"] == "shown, negative"
    assert found["SILENT: return after costs"] == "not tested"


def test_conviction_that_tells_the_better_scalps():
    found = {each.name: each for each in signal_findings(scalps("EMA", 0.0, by_conviction=0.1))}
    slope = found["EMA: return for 10 points of conviction"]
    assert slope.verdict == "shown, positive"
    assert slope.effect == pytest.approx(0.1, abs=0.04)


def test_few_sessions_are_not_tested():
    assert {each.verdict for each in signal_findings(scalps("X", 5.0, sessions=9))} == {"not tested"}


def row(**other):
    """Return a scalp that bought two calls at 2.00 and sold them at 2.50, for 1.30 USD of fees."""
    return {
        "ticker": "SPY",
        "option_symbol": "SPY180205C00275000",
        "option_type": "call",
        "contracts": 2,
        "entry_premium": 2.0,
        "exit_premium": 2.5,
        "pnl": 98.7,
        "pnl_pct": 0.25,
        "entry_time": datetime.fromisoformat("2018-02-05T15:00"),
        "exit_time": datetime.fromisoformat("2018-02-05T15:10"),
        "metadata_json": '{"signal": "VWAP_RECLAIM", "conviction": 72}',
    } | other


def test_a_row_of_the_table():
    found = outcome_of(row())
    assert (found.signal, found.session, found.conviction) == ("VWAP_RECLAIM", "2018-02-05", 72.0)
    assert found.return_fraction == pytest.approx(98.7 / 400.0)
    assert found.move is None
    assert outcome_of(row(exit_premium=2.0, pnl=-1.3)).return_fraction == pytest.approx(-1.3 / 400.0)
    assert outcome_of(row(metadata_json="{}")).signal == "EMA_CLOUD"
    assert outcome_of(row(pnl=None, exit_time=None)) is None


def test_the_move_is_signed_by_the_direction():
    tape = TapeBuilder(straddle_book(500)).path("10:00:00", 60.0, [500.0, 501.0, 502.5]).build()
    day = tape.sessions[0].day
    times = {
        "entry_time": datetime.fromisoformat(f"{day}T15:00:01"),
        "exit_time": datetime.fromisoformat(f"{day}T15:02:01"),
    }
    call, put = (outcome_of(row(option_type=right, **times), tape).move for right in ("call", "put"))
    assert (call, put) == (pytest.approx(0.005), pytest.approx(-0.005))
