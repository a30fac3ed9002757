"""A run that an earlier version left with an open position goes on in this one."""

import asyncio
import gzip
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import StopError
from scalpdesk.instruments.contract import Instruments
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.assembly import open_desk
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.recovery import known_orders, rebuild
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.live import BenchGateway

JOURNAL = Path(__file__).parents[1] / "journal/data/v0.1.0_open.sdj.gz"
SETTINGS = (
    "entry.gate=advise",
    "entry.not_before=09:31",
    "exits.edge_gone=false",
    "exits.close_at=09:37",
    "hedge.threshold_shares=1",
)
"""Settings of the run: kept, with every default of 0.1.0, in the hash that a resume compares."""


@pytest.fixture
def killed_run(tmp_path):
    """Return the folder of the run, and the plan that goes on with it."""
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
    return run_dir, plan


def test_a_copy_older_than_the_account_is_not_gone_on_with(killed_run):
    """Its next order would have the id of an order that the desk sent after the copy was made."""
    run_dir, plan = killed_run
    header = JournalReader(run_dir).header
    clock = ManualClock(header.started_ns)
    gateway = BenchGateway(Instruments(header.instruments), clock)
    engine = engine_from_header(header)
    rebuild(JournalReader(run_dir), engine)
    last = known_orders(engine)[-1].submitted.client_order_id
    prefix, number = last.split("-")
    gateway.taken = {f"{prefix}-{int(number) + 1:06d}"}
    with pytest.raises(StopError) as refused:
        asyncio.run(open_desk(plan, clock, notify=lambda *_: None, gateway=gateway))
    assert {refused.value.where} == gateway.taken
    assert gateway.log[-1] == ("closed", False)
    JournalWriter.reopen(run_dir, started_ns=1).abandon()  # it is free, and as it was
    assert JournalReader(run_dir).totals.events == 7_880


def test_a_run_of_0_1_0_that_was_killed_is_taken_over_hedged_and_closed(killed_run):
    run_dir, plan = killed_run
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
