"""Risk of the followed book: from the run to its page."""

from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.monitor.held_book import followed_to, held_book
from scalpdesk.monitor.position_documents import ladder
from scalpdesk.monitor.texts import signed
from scalpdesk.portfolio.risk_book import RiskBook, RiskPart
from scalpdesk.research.book_risk import GRID_MOVES, GRID_POINTS, past_moves, risk_document
from scalpdesk.web.book_risk import risk_answer
from scalpdesk.web.feed import DeskFeed


@pytest.fixture(scope="module")
def book(held):
    return held_book(held)


def quiet(*_words):
    """Report nothing."""


def test_the_book_is_what_the_run_holds_and_is_worth_what_its_ladder_shows(held, book):
    assert dict(book.holdings) == {
        held.desk.instruments[each.instrument_id].symbol: float(each.quantity)
        for each in held.desk.positions.held()
    }
    (part,) = book.parts
    assert (part.underlying, len(part.legs)) == ("SPY", 2)
    holdings = {each.instrument_id: each.quantity for each in held.desk.positions.held()}
    expected = ladder(held, holdings, (-0.05, 0.0, 0.03), (-0.05, 0.0, 0.1))["pnl_usd"][:, :, 0]
    for place, points in enumerate((-0.05, 0.0, 0.1)):
        found = part.pnl(
            part.spot * np.array([0.95, 1.0, 1.03]), np.zeros(1), smile="sticky-strike", vol_points=points
        )
        assert found == pytest.approx(expected[:, place], abs=0.01)


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


def test_the_answer_is_the_document_in_texts(client_of, held_feed, book):
    answer = client_of(held_feed).get("/api/risk").json()
    moves, notes = past_moves(("SPY",), Path("nothing"), "embedded", before=date(2018, 2, 5))
    document = risk_document(book, moves, notes=notes)
    assert (answer["run"], answer["current"]) == (held_feed.follower.run_dir.name, True)
    assert [row["var"] for row in answer["measures"]] == [
        f"{row['var']:,.0f}" for row in document["measures"]
    ]
    assert [row["pnl"] for row in answer["stress"]] == [signed(row["pnl"], 0) for row in document["stress"]]
    assert [row["time"] for row in answer["grid"]["times"]] == document["grid"]["times"]
    rows = answer["grid"]["times"][0]["rows"]
    assert (len(rows), len(rows[0]["cells"])) == (len(GRID_MOVES), len(GRID_POINTS))
    assert rows[len(rows) // 2]["cells"][GRID_POINTS.index(0.0)]["text"] == "0"
    assert rows[0]["cells"][0]["text"] == signed(document["grid"]["pnl"][0][-1][0], 0)
    heats = [
        abs(cell["heat"]) for time in answer["grid"]["times"] for row in time["rows"] for cell in row["cells"]
    ]
    assert max(heats) == 1.0
    assert answer["sentence"]


def test_the_same_version_is_answered_alike(client_of, held_feed):
    client = client_of(held_feed)
    first, second = (client.get("/api/risk").json() for _ in range(2))
    assert first == second


def test_a_flat_run_and_no_run_have_no_risk(client_of, ended_feed, tmp_path):
    assert set(client_of(ended_feed).get("/api/risk").json()) == {"empty"}
    assert "error" in client_of(DeskFeed(tmp_path, None, SystemClock())).get("/api/risk").json()


def test_an_answer_in_coin_has_no_stress_days_and_one_of_two_its_correlation():
    coin = RiskBook(
        as_of_ns=1,
        parts=(RiskPart(underlying="BTC", spot=5e4, inverse_usd=1e5),),
        currency="BTC",
        is_coin=True,
    )
    answer = risk_answer("run", risk_document(coin, None, notes=("no bars",)))
    assert (answer["stress"], answer["history"], answer["notes"]) == ([], None, ["no bars"])
    assert answer["grid"]["times"][0]["rows"][0]["cells"][0]["text"] == "+0.1818"
    parts = tuple(RiskPart(underlying=name, spot=100.0, shares=10.0) for name in ("QQQ", "SPY"))
    moves, _ = past_moves(("QQQ", "SPY"), Path("nothing"), "embedded", before=None)
    both = risk_answer("run", risk_document(RiskBook(as_of_ns=1, parts=parts), moves))
    assert both["correlation"].startswith("QQQ/SPY 0.9")
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
