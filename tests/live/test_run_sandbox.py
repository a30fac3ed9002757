"""``scalpdesk run --venue sandbox``: a venue's live quotes over sockets, orders that never leave."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import OrderFilled
from scalpdesk.instruments.contract import Instruments
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.assembly import build_gateway, unfinished_run
from scalpdesk.live.options import RunOptions
from scalpdesk.live.plan import plan_of
from scalpdesk.live.run import carry_out
from scalpdesk.live.sessions import StopMode
from scalpdesk.live.status import ask
from scalpdesk_testing.kit.live import until
from tests.live.killing import BUSY, Exchange, plan_for

D = Decimal
pytestmark = pytest.mark.enable_socket


@pytest.fixture
def exchange(socket_enabled):
    running = Exchange()
    yield running
    running.close()


def sandbox_plan(exchange, folder, *overrides, **options):
    return plan_for(exchange, folder, *BUSY, *overrides, venue="sandbox", contracts=12, **options)


def fills_of(run_dir):
    return [one for step, _ in JournalReader(run_dir).steps() for one in step if isinstance(one, OrderFilled)]


def live(plan, exchange, meanwhile, *, speed=60):
    """Run a desk in the sandbox; return it and its summary."""
    desks = []

    async def play():
        running = asyncio.create_task(carry_out(plan, notify=lambda *_: None, on_ready=desks.append))
        await until(lambda: desks or running.done(), 0.02)
        if not running.done():
            exchange.speed(speed)
            await meanwhile(desks[0])
        return await running

    summary = asyncio.run(asyncio.wait_for(play(), 600))
    return desks[0], summary


def test_it_trades_is_operated_and_no_order_ever_leaves(exchange, tmp_path):
    answers = {}

    async def asked(desk, request):
        return await asyncio.to_thread(ask, desk.run_dir, request)

    async def meanwhile(desk):
        orders = desk.engine.desk.orders.orders
        await until(lambda: sum(bool(one.filled) for one in orders.values()) >= 4, 0.02)
        answers["status"] = await asked(desk, {"do": "status"})
        answers["halt"] = await asked(desk, {"do": "halt", "reason": "a look"})
        sent, then_ns = len(orders), desk.engine.now_ns
        await until(lambda: desk.engine.now_ns > then_ns + 15_000_000_000, 0.02)
        assert len(orders) == sent
        answers["resume"] = await asked(desk, {"do": "resume", "reason": "looked"})
        answers["flatten"] = await asked(desk, {"do": "flatten", "reason": "enough"})
        await until(lambda: not desk.engine.desk.positions.held(), 0.02)
        await asked(desk, {"do": "stop", "how": "flatten"})

    desk, summary = live(sandbox_plan(exchange, tmp_path), exchange, meanwhile)
    status = answers["status"]
    assert (status["venue"], status["trading"], status["account"]) == ("sandbox", "paper", "sandbox")
    assert status["connection"]["streams"] == {"orders": True, "stocks": True, "options": True}
    assert status["differences"] == []
    assert answers["halt"]["mode"] == "HALTED"
    assert answers["flatten"]["mode"] == "FLATTENING"
    assert summary["ended"] == "stopped: flat, and the venue shows it"
    assert summary["differences"] == []
    assert len(fills_of(desk.run_dir)) >= 6
    assert exchange.get("orders") == []
    assert exchange.get("fills") == []
    assert D(exchange.get("accounts")[0]["cash"]) == D(100_000)
    assert JournalReader(desk.run_dir).sealed


def test_a_restart_begins_with_what_the_journal_remembers(exchange, tmp_path):
    plan = sandbox_plan(exchange, tmp_path, "simulation.starting_cash=50000")

    async def enter(desk):
        await until(lambda: len(desk.engine.desk.positions.held()) >= 2, 0.02)
        desk.runner.stop(StopMode.LEAVE)

    first, summary = live(plan, exchange, enter)
    assert summary["resumable"]
    held = {one.instrument_id: one.quantity for one in first.engine.desk.positions.held()}
    cash = first.engine.desk.account.cash
    assert cash < 50_000
    assert unfinished_run(plan) == first.run_dir
    seen = {}

    async def look(desk):
        await until(lambda: desk.runner.reconciler.is_settled, 0.02)
        account = desk.gateway.record.account
        seen["cash"] = account.cash
        seen["positions"] = {number: one.quantity for number, one in account.holdings.items()}
        seen["differences"] = desk.runner.reconciler.unexplained
        seen["decisions"] = list(desk.runner.core.decisions)
        desk.runner.stop(StopMode.LEAVE)

    second, _ = live(replace(plan, resume=True), exchange, look, speed=0)
    assert second.run_dir == first.run_dir
    assert seen["differences"] == ()
    before = list(first.runner.core.decisions)
    assert before[0][0] == 1
    assert seen["decisions"][: len(before)] == before  # `why` names them by the numbers they had
    assert seen["positions"].keys() >= held.keys()
    assert exchange.get("orders") == []


@pytest.mark.second
def test_the_edge_gate_decides_on_the_venues_own_history(exchange, tmp_path):
    plan = sandbox_plan(exchange, tmp_path, "entry.gate=enforce")
    seen = []

    async def first_entry(desk):
        def considered():
            return [one for _, one in desk.runner.core.decisions if one.kind == "entry"]

        await until(considered, 0.02)
        seen.extend(considered())
        desk.runner.stop(StopMode.LEAVE)

    live(plan, exchange, first_entry)
    facts = seen[0].facts
    assert 0.02 < float(facts["forecast_vol"]) < 1.0
    assert not any("no forecast" in reason for one in seen for reason in one.reasons)


def test_the_data_gateway_refuses_orders_by_itself(exchange, tmp_path):
    plan = sandbox_plan(exchange, tmp_path)
    gateway = build_gateway(plan, Instruments(), SystemClock())
    assert gateway._data._options.data_only
    assert not gateway._data._path.is_open


@pytest.mark.parametrize("name", ["sandbox", "paper"])
def test_the_sandbox_needs_keys_for_the_data_under_its_former_name_too(tmp_path, name):
    settings = load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    plan = plan_of(settings, RunOptions(venue=name))
    assert plan.venue == "sandbox"
    with pytest.raises(ConfigError, match="needs a key and a secret"):
        build_gateway(plan, Instruments(), SystemClock())
