"""A desk and the database of the runs: it trades on without one, and its rows are made afterwards."""

import asyncio
from datetime import date
from decimal import Decimal
from pathlib import Path

from scalpdesk.config.settings import load_settings
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.records.projection import project_missing
from scalpdesk.records.store import list_runs, read_runs

SETTINGS = ("entry.gate=advise", "entry.not_before=09:31", "hedge.threshold_shares=1")
DOWN = "postgresql://desk:hidden-word@127.0.0.1:1/desk"


def test_a_desk_trades_while_the_database_of_the_runs_is_down_and_nothing_of_its_run_is_lost(tmp_path):
    runs_dir = tmp_path / "runs"
    overrides = (*SETTINGS, f"desk.runs_dir={runs_dir}")
    settings = load_settings(
        "gamma-scalper", overrides=overrides, environ={"SCALPDESK_CREDENTIALS__RECORDS_URL": DOWN}
    )
    assert settings.config_hash == load_settings("gamma-scalper", overrides=overrides).config_hash
    plan = LivePlan(
        settings,
        "simulated",
        contracts=2,
        session=date(2018, 2, 5),
        runner=RunnerOptions(stop=StopMode.FLATTEN),
    )
    tasks = []

    def on_ready(desk):
        async def stop_when_hedged():
            while len(desk.engine.desk.positions.held()) < 3:  # noqa: ASYNC110 - the desk has no event for this
                await asyncio.sleep(0)
            desk.runner.stop(StopMode.FLATTEN)

        tasks.append(asyncio.get_running_loop().create_task(stop_when_hedged()))

    summary = asyncio.run(carry_out(plan, notify=lambda *_: None, on_ready=on_ready))
    assert summary["fills"] >= 6
    assert summary["end_positions"] == {}
    for path in runs_dir.rglob("*"):
        assert path.is_dir() or b"hidden" not in Path(path).read_bytes()
    read_runs(runs_dir, lambda store: project_missing(runs_dir, store))
    (row,) = read_runs(runs_dir, list_runs)
    assert (row.fills, row.sealed) == (summary["fills"], True)
    assert row.nav_change == Decimal(summary["nav_change"])
