"""The gamma scalper on SPY and QQQ at ``scalpdesk exchange``: subscriptions, orders, reports, recovery."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.core.events import QuoteEvent
from scalpdesk.engine.desk import by_strategy, by_underlying
from scalpdesk.engine.exposure import exposure
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.recovery import rebuild
from scalpdesk.live.run import carry_out
from scalpdesk.live.status import ask
from scalpdesk_testing.kit.desk import orders
from scalpdesk_testing.kit.live import until
from scalpdesk_testing.kit.live_session import (
    Wanted,
    backtest,
    differing,
    known_market,
    ledger_differences,
    play,
    rows,
)
from tests.live.killing import BUSY, Exchange, plan_for

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.second]
SYMBOLS = ("SPY", "QQQ")


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Eight minutes of 5 February 2018: an entry and hedges in each."""
    plain = Wanted()
    wanted = Wanted(
        underlyings=SYMBOLS,
        contracts=24,
        minutes=8.0,
        overrides=(
            *plain.overrides,
            "underlying=SPY,QQQ",
            "entry.not_before=09:31",
            "hedge.threshold_shares=2.0",
        ),
    )
    return play(tmp_path_factory.mktemp("two"), wanted, patience_seconds=600.0)


def test_each_scalper_trades_its_own_underlying_on_one_account(morning):
    assert ledger_differences(morning) == []
    listed = morning.header.instruments
    sent = [(each.owner, underlying_of(listed[each.instrument_id])) for each in orders(morning.outputs)]
    assert set(sent) == {(f"gamma-scalper:{symbol}", symbol) for symbol in SYMBOLS}
    assert min(sent.count(pair) for pair in set(sent)) >= 4
    assert set(morning.desk_positions()) >= set(SYMBOLS)


def test_it_decides_what_the_backtest_decides(morning):
    until_ns = max(each.ts_recv_ns for each in morning.events if isinstance(each, QuoteEvent))
    alone = backtest(morning, known_market(morning), arrivals=morning.arrivals())
    live, tested = (rows(each.outputs, morning.symbols, until_ns) for each in (morning, alone))
    assert differing(live, tested) == ([], [])
    assert live == tested
    assert alone.engine.desk.account.cash == morning.desk_cash()


def test_the_parts_sum_to_the_account_and_a_recovery_rebuilds_them(morning):
    desk, summary = morning.engine.desk, morning.summary
    for found in (summary["strategies"], summary["underlyings"]):
        totals = [Decimal(row["pnl"]["total"]) for row in found.values()]
        assert sum(totals) == Decimal(summary["nav_change"])
    assert sum(book.account.cash for book in desk.books.books.values()) == morning.truth_cash()
    reader = JournalReader(morning.run_dir)
    engine = engine_from_header(reader.header)
    rebuild(reader, engine)
    again = engine.desk
    assert by_strategy(again) == summary["strategies"]
    assert by_underlying(again) == summary["underlyings"]
    assert exposure(again, engine.now_ns) == summary["exposure"]


@pytest.mark.enable_socket
def test_the_sandbox_trades_both_on_live_quotes(tmp_path, socket_enabled):
    del socket_enabled
    exchange = Exchange("2018-02-05", 1, "--underlying", "SPY,QQQ")
    plan = plan_for(exchange, tmp_path, *BUSY, "underlying=SPY,QQQ", venue="sandbox", contracts=24)
    desks, answers = [], {}

    async def play():
        running = asyncio.create_task(carry_out(plan, notify=lambda *_: None, on_ready=desks.append))
        await until(lambda: desks or running.done(), 0.02)
        exchange.speed(60)
        held = desks[0].engine.desk.positions
        await until(lambda: len(held.held()) == 6, 0.02)  # two straddles with their shares
        answers["status"] = await asyncio.to_thread(ask, desks[0].run_dir, {"do": "status"})
        await asyncio.to_thread(ask, desks[0].run_dir, {"do": "stop", "how": "flatten"})
        return await running

    try:
        summary = asyncio.run(asyncio.wait_for(play(), 600))
    finally:
        exchange.close()
    status = answers["status"]
    assert set(status["exposure"]["underlyings"]) == set(status["underlyings"]) == set(SYMBOLS)
    assert list(status["strategies"]) == [f"gamma-scalper:{symbol}" for symbol in SYMBOLS]
    assert {symbol[:3] for symbol in status["positions"]} == set(SYMBOLS)
    assert summary["ended"] == "stopped: flat, and the venue shows it"
    assert summary["differences"] == []
