import io
import json
from dataclasses import replace
from datetime import date

import pytest
from rich.console import Console

from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.cli.main import main
from scalpdesk.cli.summary_view import LiveView
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import FollowingClock
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.instruments.sessions import Session
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway

DAY = date(2018, 2, 5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A backtest and a run of the simulated venue over the first five minutes of a session."""
    import asyncio

    from scalpdesk.assembly import connect_broker
    from scalpdesk.live.options import RunOptions
    from scalpdesk.live.plan import plan_of
    from scalpdesk.live.run import carry_out

    folder = tmp_path_factory.mktemp("runs")
    whole = reconstruct(DAY, seed=1, underlying="SPY")
    opens = whole.sessions[0].open_ns
    short = Session(DAY, opens, opens + 300_000_000_000)
    quotes = whole.quotes.between(short.open_ns, short.close_ns)
    market = replace(whole, sessions=(short,), quotes=quotes, bars=None, loaded=None)
    settings = load_settings(
        "gamma-scalper",
        overrides=(
            "entry.gate=advise", "entry.not_before=09:31", "hedge.threshold_shares=0.8",
            f"desk.runs_dir={folder}",
        ),
        environ={},
        cwd=folder,
    )  # fmt: skip
    back = run_backtest(settings, market, FollowingClock(), runs_dir=folder)
    config, cash = settings.config, settings.config.simulation.starting_cash
    connection = connect_broker(config, market.instruments, TapeHours(market.sessions), cash, {})
    clock = FollowingClock()
    gateway = SimulatedGateway(PlayedSession(market, connection), clock)
    plan = plan_of(settings, RunOptions(start=DAY, speed="max", sessions=1, new_run=True))
    live = asyncio.run(carry_out(plan, notify=lambda *_: None, clock=clock, gateway=gateway))
    return folder, live["run_id"], back.summary["run_id"]


def run(capsys, runs, *arguments):
    code = main(["parity", *arguments, "--set", f"desk.runs_dir={runs[0]}"])
    return code, capsys.readouterr()


def test_the_document_has_parts_that_sum_and_is_kept_for_the_dashboard(runs, capsys):
    from scalpdesk.web.runs import run_page

    code, got = run(capsys, runs, runs[1], "--json")
    assert code == 0
    found = json.loads(got.out)
    assert float(found["difference"]) == 0.0
    assert sum(map(float, found["parts"].values())) == 0.0
    kept = run_page(runs[0], runs[1])["parity"]
    assert kept == {"headline": found["headline"], "parts": found["parts"]}
    assert run_page(runs[0], runs[2])["parity"] is None


def test_the_table_has_every_part(runs, capsys):
    code, got = run(capsys, runs, runs[1])
    assert code == 0
    assert all(part in got.out for part in ("data", "latency", "fills", "rejects", "fees", "decisions"))


def test_a_backtest_is_refused(runs, capsys):
    code, got = run(capsys, runs, runs[2])
    assert code != 0
    assert runs[2] in got.err


def test_a_live_run_is_watched_and_its_book_priced(runs, capsys):
    folder, live, _ = runs
    follower = RunFollower(folder / live)
    while follower.advance(1_000):
        pass
    out = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    with LiveView("live", out) as view:
        view.draw(follower.engine, follower.header.strategy, 0, None)
    follower.tail.close()
    assert "SPY" in out.file.getvalue()
    assert main(["risk", live, "--time", "09:34", "--json", "--set", f"desk.runs_dir={folder}"]) == 0
    assert "09:34" in json.dumps(json.loads(capsys.readouterr().out))
