"""SPY and QQQ scalped by one desk: one ledger, P&L and limits by underlying and in sum, an exact replay."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk import assembly
from scalpdesk.backtesting import runs
from scalpdesk.backtesting.runs import replay, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import BarEvent
from scalpdesk.core.intents import Decision, Side
from scalpdesk.core.units import NANOS_PER_SECOND, to_cents
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.marketdata.tape import joined_tape
from scalpdesk.simulation.tape_reader import TapeReader
from scalpdesk_testing.kit.clock import ManualClock

DAY = date(2018, 12, 3)
MINUTES = 150
RULES = (
    "underlying=SPY,QQQ",
    "min_volume_ratio=0",
    "require_macro_alignment=false",
    "zero_dte_cutoff=15:58",
    "one_dte_cutoff=15:59",
    "history_sessions=1",
)


def market(settings, symbols="SPY,QQQ"):
    return assembly.load_market(settings, "embedded", underlying=symbols, start=DAY, end=DAY, seed=1)


def begun(tape):
    """Return a tape's first hours."""
    session = tape.sessions[0]
    return replace(
        tape, sessions=(replace(session, close_ns=session.open_ns + MINUTES * 60 * NANOS_PER_SECOND),)
    )


@pytest.fixture(scope="module")
def tape():
    return begun(market(load_settings("ema-scalper", overrides=RULES)))


class Played:
    """A run with its parts and the verdict of its replay."""

    def __init__(self, tape, folder):
        settings = load_settings("ema-scalper", overrides=RULES)
        origin = assembly.TapeOrigin("embedded", "SPY,QQQ", DAY, DAY, 1)
        named = replace(tape, loaded=(origin, tape.quotes, tape.sessions))
        assemble, made = runs.assemble_backtest, []

        def kept(*parts, **more):
            made.append(assemble(*parts, **more))
            return made[0]

        with (
            pytest.MonkeyPatch.context() as patch
        ):  # the journal names the quotes by their place on this tape
            patch.setattr(runs, "journaled_market", lambda _: named)
            patch.setattr(runs, "assemble_backtest", kept)
            self.result = run_backtest(settings, named, ManualClock(), seed=1, runs_dir=folder)
            self.replayed = replay(self.result.run_dir)
        self.summary, self.desk = self.result.summary, made[0].engine.desk
        (self.account,) = made[0].runner.broker.broker.ledger.accounts.values()


@pytest.fixture(scope="module")
def played(tape, tmp_path_factory):
    return Played(tape, tmp_path_factory.mktemp("several"))


def paid(desk, symbol):
    """Return what the executions in an underlying and its options brought in sum."""
    total = Decimal(0)
    for order in desk.orders.orders.values():
        contract = desk.instruments[order.submitted.instrument_id]
        if underlying_of(contract) == symbol:
            sign = -1 if order.submitted.side is Side.BUY else 1
            for quantity, price in order.executions.values():
                total += sign * quantity * price * contract.multiplier
    return total


def test_two_underlyings_are_scalped_on_one_ledger(played):
    desk = played.desk
    assert all(row["fills"] >= 4 for row in played.summary["underlyings"].values())
    assert played.account.cash == desk.account.cash
    assert not desk.positions.held()
    assert desk.attribution.nav_change == paid(desk, "SPY") + paid(desk, "QQQ") != 0


def test_the_explain_by_underlying_is_what_its_executions_paid_and_sums_to_the_whole(played):
    rows, whole = played.summary["underlyings"], played.summary["pnl"]
    assert list(rows) == ["SPY", "QQQ"]
    for symbol, row in rows.items():
        assert Decimal(row["pnl"]["total"]) == to_cents(paid(played.desk, symbol))
        parts = [Decimal(amount) for name, amount in row["pnl"].items() if name != "total"]
        assert sum(parts) == Decimal(row["pnl"]["total"])
    for name, amount in whole.items():
        total = sum(Decimal(row["pnl"][name]) for row in rows.values())
        assert abs(total - Decimal(amount)) <= Decimal("0.02"), name  # of two roundings to the cent
    assert sum(Decimal(row["pnl"]["total"]) for row in rows.values()) == Decimal(whole["total"])


def test_the_replay_of_two_underlyings_is_exact(played):
    assert (played.replayed.identical, played.replayed.difference) == (True, None)
    assert played.replayed.summary["underlyings"] == played.summary["underlyings"]


def test_the_most_scalps_are_counted_over_both_underlyings(tape):
    longer = ("no_average_up=false", "signal_minutes=1,5", "profit_target_pct=50", "max_loss_pct=0.99")
    more = (*RULES, *longer, "risk.max_theta_fraction=1", "max_concurrent_scalps=2")
    settings = load_settings("ema-scalper", overrides=more)
    header, engine = runs.build_backtest(settings, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    run = runs.assemble_backtest(settings, tape, header, engine, None)
    refused, counts = [], set()

    def watch(_, outputs):
        held = {underlying_of(engine.desk.instruments[p.instrument_id]) for p in engine.desk.positions.held()}
        counts.add((len(engine.strategy.scalps), len(held)))
        reasons = [text for output in outputs if isinstance(output, Decision) for text in output.reasons]
        refused.extend(len(held) for text in reasons if "2 scalps open, most 2" in text)

    run.runner.watchers = (watch,)
    run.runner.run()
    assert max(counts) == (2, 2)
    assert refused  # the second ticker's signal is refused for the first one's scalp
    assert set(refused) == {2}


@pytest.mark.second
def test_skipped_quotes_change_nothing_with_two_underlyings(tape, played):
    settings = load_settings("ema-scalper", overrides=RULES)
    header, engine = runs.build_backtest(settings, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    every = runs.assemble_backtest(settings, tape, header, engine, None, every_quote=True)
    every.runner.run()
    assert every.fold.hash.hex() == played.summary["decision_hash"]


def test_each_market_of_a_joined_tape_is_the_lone_one_in_the_order_of_events(tape):
    settings = load_settings("ema-scalper", overrides=RULES)
    session = tape.sessions[0]
    ours = tape.quotes.between(session.open_ns, session.close_ns)
    assert [tape.instruments[number].symbol for number in tape.underlying_ids] == ["SPY", "QQQ"]
    for symbol in ("SPY", "QQQ"):
        lone = begun(market(settings, symbol))
        alone = lone.quotes.between(session.open_ns, session.close_ns)
        numbers = np.array([tape.instruments.id_of(item.symbol) for item in lone.instruments])
        mine = np.isin(ours.instrument_id, numbers)
        assert np.array_equal(numbers[alone.instrument_id], ours.instrument_id[mine])
        assert np.array_equal(alone.ts_ns, ours.ts_ns[mine])
        assert np.array_equal(alone.bid, ours.bid[mine], equal_nan=True)
        number = tape.instruments.id_of(symbol)
        assert tape.bars.edges_of(number) == lone.bars.edges_of(0)
        key = (symbol, DAY)
        assert tape.settlement_prices[key] == lone.settlement_prices[key]
    reader, shares = TapeReader(tape, session), set(tape.underlying_ids)
    for _ in range(2_000):  # options before shares before bars, at each instant
        kinds = [
            2 if isinstance(event, BarEvent) else int(event.instrument_id in shares)
            for event in reader.take_next()
        ]
        assert kinds == sorted(kinds)


def test_markets_that_do_not_go_together_are_refused(tape):
    with pytest.raises(DataError, match="the same sessions, and each instrument once"):
        joined_tape([tape, tape])
