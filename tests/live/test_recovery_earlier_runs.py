"""Runs of earlier builds, killed while they held a straddle: each later build opens, draws, resumes them.

Each commit made its own: gamma-scalper, simulated, 2018-02-05, these settings; cut as a kill cuts a journal.
"""

import asyncio
import json
import lzma
from datetime import date
from pathlib import Path

import pytest

from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Purpose, orders_of
from scalpdesk.core.version import BUILD
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.monitor.documents import desk_page
from scalpdesk.web.tear_sheet import read_run

FOLDER = Path(__file__).with_name("earlier_runs")
RUNS = sorted(path.name.removesuffix(".sdj.xz") for path in FOLDER.iterdir())
OTHERWISE = "c0b6313f_decides_otherwise"
"""It bought another expiry, seconds earlier, than later builds would at the same quotes."""
SETTINGS = (
    "entry.gate=advise",
    "exits.edge_gone=false",
    "exits.close_at=09:40",
    "hedge.threshold_shares=1",
)
HELD = {"SPY180316C00274000": 1, "SPY180316P00274000": 1}
HELD_OTHERWISE = {"SPY180420C00274000": 1, "SPY180420P00274000": 1}


def settings_of(name):
    return (
        ("entry.not_before=09:30",)
        if name == OTHERWISE
        else ("entry.not_before=09:31", "selection.max_expiration_days=50")
    )


@pytest.fixture
def earlier(request, tmp_path, monkeypatch):
    """Return the folder of an earlier build's run."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    content = lzma.decompress((FOLDER / f"{request.param}.sdj.xz").read_bytes())
    unread = tmp_path / "unread"
    unread.mkdir()
    (unread / "journal-000001.sdj").write_bytes(content)
    run_dir = tmp_path / "runs" / JournalReader(unread).header.run_id
    run_dir.parent.mkdir()
    unread.rename(run_dir)
    return run_dir


def symbols_held(desk):
    return {desk.instruments[each.instrument_id].symbol: each.quantity for each in desk.positions.held()}


def plan_of(run_dir, name):
    overrides = (*SETTINGS, *settings_of(name), f"desk.runs_dir={run_dir.parent}")
    settings = load_settings("gamma-scalper", overrides=overrides, environ={}, cwd=run_dir)
    options = RunnerOptions(stop=StopMode.HOLD)
    return LivePlan(settings, "simulated", contracts=2, resume=True, session=date(2018, 2, 5), runner=options)


@pytest.mark.parametrize("earlier", RUNS, indirect=True)
def test_a_run_of_an_earlier_build_is_opened_drawn_and_shown(earlier, request, capsys):
    name = request.node.callspec.params["earlier"]
    held = HELD_OTHERWISE if name == OTHERWISE else HELD
    where = ["--set", f"desk.runs_dir={earlier.parent}"]
    assert main(["report", "last", "--json", *where]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["fills"], said["orders"]) == (2, 3 if name == OTHERWISE else 2)
    sheet = earlier.parent / "sheet.html"
    assert main(["report", "last", "--html", str(sheet), *where]) == 0
    follower = read_run(earlier)
    assert symbols_held(follower.desk) == held
    assert desk_page(follower)["fills"] == follower.fold.fill_count == 2
    assert len(follower.desk.orders.orders) == said["orders"]  # none that was decided here alone
    capsys.readouterr()
    code = main(["replay", "last", "--verify", *where])
    lines = capsys.readouterr().out.splitlines()
    build = JournalReader(earlier).header.build
    assert f"of build {build}, replayed by {BUILD}: " in lines[0]
    assert max(map(len, lines)) < 400  # the difference, where there is one, is one line
    assert lines[-1].startswith("different: event " if code else "identical ")
    assert code == 1 or name != OTHERWISE


@pytest.mark.parametrize("earlier", RUNS, indirect=True)
def test_a_run_of_an_earlier_build_is_resumed_hedged_and_closed(earlier, request):
    """Whatever this build would have done in its place: what reached the venue stands."""
    name = request.node.callspec.params["earlier"]
    plan, held, tasks, said = plan_of(earlier, name), {}, [], []

    def on_ready(desk):
        book = desk.engine.desk
        held.update(symbols_held(book))

        async def stop_when_flat():
            while book.positions.held():  # noqa: ASYNC110 - the desk has no event for this
                await asyncio.sleep(0)
            desk.runner.stop(StopMode.HOLD)

        tasks.append(asyncio.get_running_loop().create_task(stop_when_flat()))

    summary = asyncio.run(carry_out(plan, notify=lambda *words: said.append(words), on_ready=on_ready))
    assert held == (HELD_OTHERWISE if name == OTHERWISE else HELD)
    assert (summary["run_id"], summary["end_positions"]) == (earlier.name, {})
    assert summary["pnl"]["total"] == summary["nav_change"]
    reader = JournalReader(earlier)
    assert reader.sealed
    orders = [order for _, outputs in reader.steps() for each in outputs for order in orders_of(each)]
    assert len({order.client_order_id for order in orders}) == len(orders)
    assert any(order.purpose is Purpose.HEDGE for order in orders)
    warned = [words for level, words in said if level == "warning" and "decides otherwise" in words]
    assert len(warned) == (name == OTHERWISE)
    assert all(f"than {reader.header.build}, which wrote" in words and BUILD in words for words in warned)
    assert symbols_held(read_run(earlier).desk) == {}
