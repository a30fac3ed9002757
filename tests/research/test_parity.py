"""Differences injected between a run and its backtest come back as the parts of those names."""

import asyncio
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.backtesting.recorded import LiveRecord
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.enums import ChangeCause, SessionPhase
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import FillBusted, OrderFilled, OrderRejected, SessionEvent
from scalpdesk.datasets.embedded.market import reconstruct, reconstruct_span
from scalpdesk.instruments.broker_terms import fees_named
from scalpdesk.instruments.sessions import Session
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.options import RunOptions
from scalpdesk.live.plan import plan_of
from scalpdesk.live.run import carry_out
from scalpdesk.marketdata.tape import FLAT_ZERO, QuoteColumns
from scalpdesk.research.parity import PARTS, compare, headline
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.faults import Fault, FaultPlan
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway
from scalpdesk_testing.kit.journaled_run import SHARE, Run

D = Decimal
DAY, MINUTE_NS = date(2018, 2, 5), 60_000_000_000
BUSY = (
    "entry.gate=advise",
    "entry.not_before=09:31",
    "exits.edge_gone=false",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
    "hedge.threshold_shares=0.8",
    "entry.orders=legs",
)


@dataclass
class Worse:
    """A fill model whose prices are worse by so much a unit."""

    cents: Decimal
    name: str = "worse"

    def match(self, resting, quote, instrument):
        found = fill_model("cross").match(resting, quote, instrument)
        return None if found is None else (found[0], found[1] + resting.sign * self.cents)


@pytest.fixture(scope="module")
def market():
    """The first six minutes of a session, as a session of its own."""
    whole = reconstruct(DAY, seed=1, underlying="SPY")
    opens = whole.sessions[0].open_ns
    short = Session(DAY, opens, opens + 6 * MINUTE_NS)
    quotes = whole.quotes.between(short.open_ns, short.close_ns)
    return replace(whole, sessions=(short,), quotes=quotes, bars=None, loaded=None)


def settings_for(folder, *overrides):
    return load_settings(
        "gamma-scalper", overrides=(*BUSY, f"desk.runs_dir={folder}", *overrides), environ={}, cwd=folder
    )


def traded(
    market, folder: Path, *overrides, latency_ms=0.0, cents="0", fees="none", faults=None, model="cross"
) -> Path:
    """Trade the market at a broker with conditions that the configuration does not know.

    Hedges pay ``cents`` a share more than the far side; ``model`` fills options.
    """
    settings = settings_for(folder, *overrides)
    models = fill_model(model), Worse(D(cents)) if model == "cross" else fill_model(model)
    broker = Broker(
        market.instruments, TapeHours(market.sessions), *models, fees=fees_named(fees), faults=faults
    )
    own = broker.open_account(AccountTerms(cash=D(100_000)))
    latency_ns = int(latency_ms * 1e6)
    connection = BrokerConnection(broker, own, out_ns=latency_ns, back_ns=latency_ns)
    clock = FollowingClock()
    gateway = SimulatedGateway(PlayedSession(market, connection), clock)
    plan = plan_of(settings, RunOptions(start=DAY, speed="max", sessions=1, new_run=True))
    summary = asyncio.run(carry_out(plan, notify=lambda *_: None, clock=clock, gateway=gateway))
    return folder / summary["run_id"]


@pytest.fixture(scope="module")
def plain(market, tmp_path_factory):
    """A run at the conditions that its configuration names, and what it was compared to."""
    run_dir = traded(market, tmp_path_factory.mktemp("plain"))
    return run_dir, compare(run_dir, market)


def events_of(run_dir, kind):
    return [event for step, _ in JournalReader(run_dir).steps() for event in step if type(event) is kind]


def others_are_zero(found, *named):
    return all(amount == 0 for name, amount in found["parts"].items() if name not in named)


def assert_sums(found):
    assert tuple(found["parts"]) == PARTS
    assert sum(found["parts"].values()) == found["difference"] == found["live_pnl"] - found["backtest_pnl"]


def test_a_run_without_injected_differences_has_parity_zero(plain):
    found = plain[1]
    assert_sums(found)
    assert found["difference"] == 0
    assert others_are_zero(found)
    assert found["orders"]["matched"] == found["orders"]["live"] == found["orders"]["backtest"] > 20
    assert found["decisions"]["equal"]
    assert found["decisions"]["live"] == found["decisions"]["backtest"] > 20


NEXT = date(2018, 2, 6)


def mornings(*days):
    """The first eight minutes of sessions in sequence, each as a session of its own; the rate is one."""
    whole = reconstruct_span(days[0], days[-1])
    short = tuple(Session(each.day, each.open_ns, each.open_ns + 8 * MINUTE_NS) for each in whole.sessions)
    quotes = QuoteColumns.joined([whole.quotes.between(each.open_ns, each.close_ns) for each in short])
    return replace(
        whole, sessions=short, quotes=quotes, bars=None, loaded=None, morning=None, rate_curve=FLAT_ZERO
    )


def test_a_span_beside_the_runs_of_its_sessions(tmp_path):
    """A desk that rolls has a run a session: each earns and sends what the backtest over both days does."""
    given = "exits.flat_minutes_before_close=2", "selection.min_open_interest=-1"
    config = BacktestConfig.of(settings_for(tmp_path, *given), seed=1)
    span = simulate(config, PreparedMarket(mornings(DAY, NEXT)))
    rows = []
    for day in (DAY, NEXT):
        folder = tmp_path / f"{day}"
        folder.mkdir()
        alone = mornings(day)
        rows += compare(traded(alone, folder, *given), alone)["sessions"]
    assert [row["session"] for row in rows] == ["2018-02-05", "2018-02-06"]
    daily = span.daily()
    for day, row in zip((DAY, NEXT), rows, strict=True):
        assert row["live_pnl"] == row["backtest_pnl"] == daily[day]["total"] != 0
        assert row["difference"] == 0
        assert row["orders"]["live"] == row["orders"]["backtest"] > 3
    assert sum(row["orders"]["live"] for row in rows) == span.orders
    assert len(span.trades) == 2


def test_injected_slippage_comes_back_as_fills(market, tmp_path):
    run_dir = traded(market, tmp_path, cents="0.05")
    found = compare(run_dir)
    assert_sums(found)
    shares = sum(fill.quantity for fill in events_of(run_dir, OrderFilled) if fill.price > 100)
    injected = shares * D("0.05")
    assert injected > 1
    assert float(found["parts"]["fills"]) == pytest.approx(-float(injected), rel=0.05)
    assert others_are_zero(found, "fills")


def test_a_late_fee_goes_with_its_execution_out_of_what_was_paid(tmp_path):
    run = Run(tmp_path, "one")
    opens, closes = run.now_ns, run.now_ns + MINUTE_NS
    run.event(SessionEvent(*run.stamps(), "2024-03-04", SessionPhase.OPEN, opens, closes))
    for price in (60, 61):
        fill = run.fill(SHARE, "buy", 10, price, "0.35")
        run.change(SHARE, ChangeCause.FEE, 0, 0, "-0.70", f"fee/{fill.execution_id}")
    run.event(FillBusted(fill.client_order_id, *run.stamps(), fill.execution_id, "error"))
    run.writer.close({"pnl": {"total": "0"}})
    assert LiveRecord(run.folder).paid.total == D("-1.05")


def test_injected_latency_comes_back_as_latency(market, tmp_path):
    found = compare(traded(market, tmp_path, latency_ms=400.0), market)
    assert_sums(found)
    assert found["latency_ms"] == {"out": 400.0, "back": 400.0}
    slow, quick = (
        simulate(
            BacktestConfig.of(settings_for(tmp_path, f"simulation.latency_ms={ms}"), seed=1),
            PreparedMarket(market),
        ).pnl["total"]
        for ms in (400, 0)
    )
    assert slow != quick
    assert float(found["parts"]["latency"]) == pytest.approx(float(slow - quick), rel=0.05)
    assert others_are_zero(found, "latency")


def test_injected_fees_come_back_to_the_cent(market, tmp_path):
    run_dir = traded(market, tmp_path, fees="alpaca")
    found = compare(run_dir)
    assert_sums(found)
    paid = sum(fill.fee for fill in events_of(run_dir, OrderFilled))
    assert paid > 0
    assert found["parts"]["fees"] == pytest.approx(-paid, abs=D("0.01"))
    assert others_are_zero(found, "fees")


@pytest.mark.parametrize("more", [(), ("entry.walk_steps=3", "exits.close_at=09:34")], ids=["far", "walks"])
def test_the_first_line_is_the_backtest_that_a_person_runs(market, tmp_path, more):
    """A straddle goes as one order on both sides, at whatever fills: nothing is left to explain."""
    overrides = ("simulation.fill_model=adverse", "entry.orders=auto", *more)
    run_dir = traded(market, tmp_path, *overrides, model="adverse")
    config = BacktestConfig.of(settings_for(tmp_path, *overrides), seed=1)
    expected = simulate(config, PreparedMarket(market))
    found = compare(run_dir, market)
    assert_sums(found)
    assert (found["backtest_pnl"], found["difference"]) == (expected.pnl["total"], 0)
    assert others_are_zero(found)
    assert found["decisions"]["equal"]
    assert expected.fills == len(events_of(run_dir, OrderFilled)) > 10


def test_fees_are_what_was_booked_and_what_they_change_is_a_part_of_its_own(market, tmp_path):
    """Fees widen the band: the desk hedges less often than a backtest without them."""
    overrides = ("hedge.threshold_shares=null",)
    run_dir = traded(market, tmp_path, *overrides, fees="ibkr")
    found = compare(run_dir)
    assert_sums(found)
    paid = sum(fill.fee for fill in events_of(run_dir, OrderFilled))
    assert found["parts"]["fees"] == -paid < 0
    assert found["parts"]["choices"] != 0
    assert others_are_zero(found, "fees", "choices")
    assert found["decisions"]["equal"]


@pytest.mark.parametrize("fraction", [0.4, 0.8])
def test_a_run_that_goes_on_is_compared_up_to_one_instant(market, plain, tmp_path, fraction):
    """All sides end at the last event that was written: nothing differs, whenever one looks."""
    (whole, of_whole), half = plain, tmp_path / "half"
    (segment,) = whole.glob("*.sdj")
    half.mkdir()
    written = segment.read_bytes()
    growing = half / segment.name
    growing.write_bytes(written[: int(fraction * len(written))])
    found = compare(half, market)
    assert_sums(found)
    assert found["backtest_pnl"] == found["live_pnl"] != of_whole["live_pnl"]
    assert others_are_zero(found)
    record = LiveRecord(half)
    growing.write_bytes(written)  # the run has gone on
    assert sum(1 for _ in record.stream()) == record.events < LiveRecord(half).events


def test_all_of_them_together_sum_to_the_difference_and_leave_nothing_to_decisions(market, tmp_path):
    faults = FaultPlan([Fault("late_reject", times=8, after=3)])
    run_dir = traded(market, tmp_path, latency_ms=400.0, cents="0.01", fees="alpaca", faults=faults)
    found = compare(run_dir, market)
    assert_sums(found)
    assert len(events_of(run_dir, OrderRejected)) == 8
    assert found["parts"]["decisions"] == 0
    assert found["decisions"]["equal"]
    assert found["decisions"]["live"] == found["decisions"]["backtest"] > 20
    assert found["parts"]["fills"] < 0 > found["parts"]["fees"]
    assert D(0) not in (found["parts"]["rejects"], found["parts"]["latency"])


def test_a_backtest_is_refused_by_its_name(market, tmp_path):
    from scalpdesk.backtesting.runs import run_backtest

    done = run_backtest(settings_for(tmp_path), market, FollowingClock(), runs_dir=tmp_path)
    with pytest.raises(ArgumentError) as refused:
        compare(done.run_dir)
    assert refused.value.value == "backtest"


@pytest.mark.parametrize(
    ("difference", "backtest", "shown"),
    [("-3.12", "214.50", ("-3.12", "214.50", "1.5 %")), ("-0.00", "10", ("0.00", "10.00", "0.0 %"))],
)
def test_the_headline_has_difference_backtest_and_share(difference, backtest, shown):
    text = headline(D(difference), D(backtest), "USD")
    assert all(part in text for part in shown)
