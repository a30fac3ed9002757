"""Risk of the followed book: from the run to its page."""

import json
from contextlib import redirect_stdout
from datetime import date, time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.monitor.held_book import followed_to, held_book, worst_of
from scalpdesk.monitor.texts import signed
from scalpdesk.portfolio.risk_book import GRID_MOVES, GRID_POINTS, SMILES, RiskBook, RiskPart
from scalpdesk.research.book_risk import past_moves, risk_document
from scalpdesk.web.book_risk import risk_answer
from scalpdesk.web.feed import DeskFeed


@pytest.fixture(scope="module")
def book(held):
    return held_book(held)


def quiet(*_words):
    """Report nothing."""


def test_the_book_is_what_the_run_holds(held, book):
    assert dict(book.holdings) == {
        held.desk.instruments[each.instrument_id].symbol: float(each.quantity)
        for each in held.desk.positions.held()
    }
    (part,) = book.parts
    assert (part.underlying, len(part.legs)) == ("SPY", 2)


def told_by_the_terminal(folder, *words):
    out = StringIO()
    with redirect_stdout(out):
        main(["risk", "last", "--json", "--set", f"desk.runs_dir={folder}", *words])
    return json.loads(out.getvalue())


@pytest.mark.parametrize("smile", SMILES)
def test_ladder_and_worst_case_are_one_on_header_page_api_terminal_and_in_python(
    client_of, held_feed, held_runs, book, smile
):
    """Two ladders gave +1,437 and +1,853 in the same cell, and there were three worst cases."""
    client = client_of(held_feed)
    page = client.get(f"/api/position?smile={smile}").json()
    told = told_by_the_terminal(held_runs, "--smile", smile)
    python = book.ladder(smile=smile)
    assert page["smile"] == told["smile"] == smile
    assert (page["ladder"]["moves"], page["ladder"]["vol_points"]) == (list(GRID_MOVES), list(GRID_POINTS))
    assert np.array(page["ladder"]["pnl"]) == pytest.approx(python)
    assert np.array(told["grid"]["pnl"][0]) == pytest.approx(python)
    assert told["worst_case"]["pnl"] == python.min() == worst_of(held_feed.follower, smile).pnl
    assert f"worst case is {signed(python.min(), 0)}" in page["sentence"]
    if smile == SMILES[0]:
        head, risk = client.get("/api/desk").json()["head"], client.get("/api/risk").json()
        assert head["worst_pnl"] == risk["worst_case"]["pnl"] == python.min() < -100.0
        definition = told["worst_case"]["definition"]
        assert head["worst_definition"] == risk["worst_case"]["definition"] == definition


def test_the_switch_changes_the_ladder_of_a_book_with_a_skew(book):
    ladders = [book.ladder(smile=smile) for smile in SMILES]
    middle = GRID_MOVES.index(0.0)
    assert ladders[0][middle] == pytest.approx(ladders[1][middle])
    assert abs(ladders[0] - ladders[1]).max() > 50.0


def test_the_next_session_takes_a_days_theta(held, book):
    (part,) = book.parts
    unmoved = part.pnl(part.spot, 0.0, step=1)[0]
    assert unmoved == pytest.approx(held.greeks().theta_usd_per_day, rel=0.6)
    assert part.pnl(part.spot, 0.0, step=2)[0] < 3.5 * unmoved < 0.0


def test_with_the_smile_the_upper_strike_is_worth_more_as_the_spot_falls(book):
    """A falling skew that moves with the spot lowers the volatility of a strike when the spot rises."""
    (part,) = book.parts
    (call, _) = part.legs
    spots, nothing = part.spot * np.array([0.97, 1.0, 1.03]), np.zeros(3)
    down, here, up = call.vols(part.spot, spots, nothing, 0, "sticky-delta", nothing)
    assert here == pytest.approx(call.vol)
    assert down < here < up


def test_the_answer_is_what_the_document_says(client_of, held_feed, book):
    client = client_of(held_feed)
    answer = client.get("/api/risk").json()
    assert client.get("/api/risk").json() == answer  # of the same version
    moves, notes = past_moves(("SPY",), Path("nothing"), "embedded", before=date(2018, 2, 5))
    document = risk_document(book, moves, notes=notes)
    assert (answer["run"], answer["current"]) == (held_feed.follower.run_dir.name, True)
    assert len(answer["measures"]) >= 2
    for name in ("measures", "stress", "worst_case", "history", "notes"):
        assert answer[name] == document[name]


def test_a_flat_run_and_no_run_have_no_risk(client_of, ended_feed, tmp_path):
    assert set(client_of(ended_feed).get("/api/risk").json()) == {"empty"}
    assert "error" in client_of(DeskFeed(tmp_path, None, SystemClock())).get("/api/risk").json()


def test_an_answer_in_coin_has_no_stress_days_and_one_of_two_its_correlation():
    part = RiskPart(underlying="BTC", spot=5e4, inverse_usd=1e5)
    coin = RiskBook(as_of_ns=1, parts=(part,), currency="BTC", is_coin=True)
    answer = risk_answer("run", risk_document(coin, None, notes=("no bars",)))
    assert (answer["stress"], answer["history"], answer["notes"]) == ([], None, ["no bars"])
    # long dollars lose coin as the price falls: 100,000 less at 45,000 than at 50,000
    assert answer["worst_case"]["pnl"] == pytest.approx(1e5 * (1 / 5e4 - 1 / 4.5e4))
    parts = tuple(RiskPart(underlying=name, spot=100.0, shares=10.0) for name in ("QQQ", "SPY"))
    moves, _ = past_moves(("QQQ", "SPY"), Path("nothing"), "embedded", before=None)
    both = risk_answer("run", risk_document(RiskBook(as_of_ns=1, parts=parts), moves))
    assert both["correlation"]["symbols"] == ["QQQ", "SPY"]
    assert both["correlation"]["ewma"][0][1] == pytest.approx(0.95, abs=0.05)
    assert [row["underlying"] for row in both["alone"]] == ["QQQ", "QQQ", "SPY", "SPY"]


def test_a_run_is_read_up_to_an_instant_or_to_when_it_held_something_last(ended_runs, held_runs):
    folder, summary = ended_runs
    last = followed_to(folder / summary["run_id"], None, quiet)
    found = held_book(last)
    assert found is not None
    assert last.now_ns <= new_york_ns(date(2017, 7, 3), time(13))
    (run,) = (path for path in held_runs.iterdir() if path.is_dir())
    at = new_york_ns(date(2018, 2, 5), time(9, 40))
    early = followed_to(run, at, quiet)
    assert at - 10**9 < early.now_ns <= at
    assert early.advance(100) == 0
    assert not early.is_reading
