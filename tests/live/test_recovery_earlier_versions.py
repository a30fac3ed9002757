"""A run that an earlier version left with an open position goes on in this one."""

import asyncio
import gzip
from datetime import date
from decimal import Decimal
from pathlib import Path

from scalpdesk.config.settings import load_settings
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode

JOURNAL = Path(__file__).parents[1] / "journal/data/v0.1.0_open.sdj.gz"
SETTINGS = (
    "entry.gate=advise",
    "entry.not_before=09:31",
    "exits.edge_gone=false",
    "exits.close_at=09:37",
    "hedge.threshold_shares=1",
)
"""Settings of the run: kept, with every default of 0.1.0, in the hash that a resume compares."""


def test_a_run_of_0_1_0_that_was_killed_is_taken_over_hedged_and_closed(tmp_path):
    run_dir = tmp_path / "runs/20180205-093000-gamma-scalper-simulated-fde0ca"
    run_dir.mkdir(parents=True)
    (run_dir / "journal-000001.sdj").write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    settings = load_settings("gamma-scalper", overrides=(*SETTINGS, f"desk.runs_dir={tmp_path / 'runs'}"))
    plan = LivePlan(
        settings,
        "simulated",
        contracts=2,
        resume=True,
        session=date(2018, 2, 5),
        runner=RunnerOptions(stop=StopMode.HOLD),
    )
    taken_over, tasks = {}, []

    def on_ready(desk):
        book = desk.engine.desk
        taken_over.update(cash=book.account.cash)
        taken_over.update(
            {book.instruments[each.instrument_id].symbol: each.quantity for each in book.positions.held()}
        )

        async def stop_when_flat():
            while book.positions.held():  # noqa: ASYNC110 - the desk has no event for this
                await asyncio.sleep(0)
            desk.runner.stop(StopMode.HOLD)

        tasks.append(asyncio.get_running_loop().create_task(stop_when_flat()))

    summary = asyncio.run(carry_out(plan, notify=lambda *_: None, on_ready=on_ready))
    assert taken_over == {
        "cash": Decimal("99950.74"),
        "SPY180316C00274000": 1,
        "SPY180316P00274000": 1,
        "SPY": -4,
    }
    assert summary["run_id"] == run_dir.name
    assert (summary["hedges"], summary["fills"], summary["end_positions"]) == (13, 18, {})  # 10 and 12 before
    assert summary["pnl"]["total"] == summary["nav_change"] == "11.64"
    assert JournalReader(run_dir).sealed
