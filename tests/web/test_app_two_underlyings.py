"""Pages and terminal of a desk that holds straddles in SPY and QQQ, against the two desks of one each."""

from dataclasses import replace
from datetime import date
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from scalpdesk import assembly
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.cli.summary_view import LiveView
from scalpdesk.config.settings import load_settings
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.monitor import documents, position_documents
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import held_book
from scalpdesk_testing.kit.clock import ManualClock
from tests.web.reading import lines_of, read_whole

pytestmark = pytest.mark.second

DAY = date(2018, 2, 5)
SYMBOLS = ("SPY", "QQQ")
MINUTES = 90
MOVES, VOLS = (-0.1, -0.03, 0.0, 0.05), (-0.05, 0.0, 0.1)


def followed(symbols, folder):
    """Return a run that holds its straddles to the end, read to there."""
    overrides = (f"underlying={symbols}", "entry.gate=advise", "exits.edge_gone=false")
    settings = load_settings("gamma-scalper", overrides=overrides)
    day = assembly.load_market(settings, "embedded", underlying=symbols, start=DAY, end=DAY, seed=1)
    (session,) = day.sessions
    tape = replace(day, sessions=(replace(session, close_ns=session.open_ns + MINUTES * MINUTE_NS),))
    run = run_backtest(settings, tape, ManualClock(), seed=1, runs_dir=folder)
    found = read_whole(RunFollower(run.run_dir))
    assert not found.problem
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return [followed(symbols, folder / symbols) for symbols in ("SPY,QQQ", *SYMBOLS)]


def test_the_ladder_is_the_sum_of_both_at_the_same_relative_move(runs):
    both, *alone = [held_book(each).ladder(MOVES, VOLS) for each in runs]
    assert abs(both).max() > 100
    assert both == pytest.approx(sum(alone), rel=1e-6, abs=0.01)
    spot = runs[0].desk.market.mark(runs[0].desk.view.underlying)
    greeks, total = held_book(runs[0]).greeks(0, spot), runs[0].greeks()
    assert greeks[2:] == pytest.approx((total.theta_usd_per_day, total.weighted_vega_usd_per_point), rel=1e-6)


def test_a_joint_move_earns_what_it_earns_in_each_book_alone(runs):
    both, spy, qqq = (held_book(each) for each in runs)
    assert [part.underlying for part in both.parts] == ["QQQ", "SPY"]
    falls, vol_moves = np.array([-0.04, 0.0, 0.01]), np.array([0.3, 0.0, -0.1])
    expected = qqq.pnl([1.2 * falls], vol_moves, step=1) + spy.pnl([falls], vol_moves, step=1)
    assert both.pnl([1.2 * falls, falls], vol_moves, step=1) == pytest.approx(expected, abs=0.5)
    assert abs(expected).max() > 100


def test_the_worst_case_is_of_one_move_of_both(runs):
    both, *alone = [position_documents.worst_case(each)["worst_pnl"] for each in runs]
    assert sum(alone) <= both + 1e-6 < min(alone)
    assert both == held_book(runs[0]).ladder().min()


def test_the_net_delta_is_in_shares_of_the_main_underlying(runs):
    both, *alone = runs
    spots = [each.desk.market.mark(each.desk.view.underlying) for each in alone]
    deltas = [each.greeks().net_delta_shares for each in alone]
    expected = deltas[0] + 1.14 * spots[1] / spots[0] * deltas[1]
    assert both.greeks().net_delta_shares == pytest.approx(expected)
    assert both.fold.last_mark.net_delta_shares == pytest.approx(expected, abs=0.05)
    vegas = [each.greeks().vega_usd_per_point for each in runs]
    assert vegas[0] == pytest.approx(vegas[1] + vegas[2])


def test_pages_show_both(runs):
    page = documents.desk_page(runs[0])
    legs = {leg["symbol"][:3] for leg in page["position"]["legs"]}
    assert legs == set(SYMBOLS)
    assert "SPY/QQQ" in page["exposure"]
    assert not documents.desk_page(runs[1])["exposure"]
    shown = documents.performance(runs[0])
    assert list(shown["underlyings"]) == list(shown["exposure"]["underlyings"]) == list(SYMBOLS)
    assert documents.performance(runs[1])["exposure"] is None


def test_the_terminal_shows_both_prices(runs):
    both = runs[0]
    out = Console(width=120, height=40, file=StringIO(), force_terminal=True, color_system=None)
    view = LiveView("reconstructed", out)
    view.draw(both.engine, "gamma-scalper", 1, both.decisions[-1][1])
    text = "\n".join(lines_of(view, out))
    for each, symbol in zip(runs[1:], SYMBOLS, strict=True):
        assert f"{symbol} {each.desk.market.mark(each.desk.view.underlying):,.2f}" in text
