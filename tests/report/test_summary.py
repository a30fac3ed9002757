import errno
from decimal import Decimal
from io import BytesIO
from tempfile import gettempdir

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import StopError
from scalpdesk.core.events import OrderFilled, TimerEvent
from scalpdesk.core.intents import CancelOrder, Decision, Mark, OrderIntent, Purpose, SetTimer, Side
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.report.fold import PACKED_ROWS, PackedLog, RunFold
from scalpdesk.report.run_report import report_of
from scalpdesk.report.summary import run_summary, verdict
from scalpdesk.simulation.faults import Fault, FaultPlan
from scalpdesk.strategies.contract import Proposal
from scalpdesk.strategies.several.strategy import Several
from scalpdesk_testing.kit.desk import Puppet, Scripted, run_tape
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.journaled_run import journal_header
from scalpdesk_testing.kit.tape import TapeBuilder

D = Decimal


def header(tape):
    data = {"name": tape.name, "kind": tape.kind, "underlying": "SPY", "secret": 1}
    return journal_header(tape.instruments, run_id="r-1", sessions=tape.sessions, data=data, seed=7)


def hedging(*quantities):
    left = list(quantities)

    def think(view, wake, event):
        if wake is not Wake.PRICE or not left:
            return ()
        quantity = left.pop(0)
        side = Side.BUY if quantity > 0 else Side.SELL
        intent = OrderIntent(0, side, D(abs(quantity)), Purpose.HEDGE, "")
        return (Proposal(DecisionKind.HEDGE, ("because",), {}, (intent,)),)

    return Scripted(think, [EveryQuote(0)])


@pytest.fixture
def summary():
    def build(strategy, mids=(500.0, 502.0, 501.0), wall_seconds=2.0):
        tape = TapeBuilder().path("10:00", 1.0, list(mids)).build()
        run = run_tape(tape, strategy)
        return run, run_summary(header(tape), run.engine, run.fold, run.runner.events, wall_seconds)

    return build


def test_the_summary_counts_what_happened(summary):
    run, told = summary(hedging(10, -4))
    assert (told["run_id"], told["strategy"], told["venue"], told["seed"]) == (
        "r-1",
        "scripted",
        "simulated",
        7,
    )
    assert told["data"]["name"] == "by-hand"
    assert told["data"]["open"] is None
    assert "secret" not in told["data"]
    assert (told["decisions"], told["orders"], told["fills"], told["hedges"]) == (2, 2, 2, 2)
    assert told["events"] == run.runner.events == len(run.events)
    assert told["events_per_second"] == round(told["events"] / 2)
    assert told["end_positions"] == {"SPY": "6"}
    assert told["verdict"] == "traded: 0 entry, 2 hedges, 0 exit"
    assert told["mode"] == "ACTIVE"
    assert told["decision_hash"] == run.fold.hash.hex()
    assert len(told["decision_hash"]) == 32


def test_the_parts_of_the_profit_sum_to_the_change_of_value(summary):
    _, told = summary(hedging(10, -4))
    # bought 10 at 500.01, sold 4 at 501.99; 6 left at 501.00
    assert told["nav_change"] == "13.86"
    assert told["pnl"] == dict.fromkeys(PARTS, "0.00") | {
        "total": "13.86",
        "delta": "14.00",
        "spread": "-0.14",
    }
    assert sum(D(told["pnl"][name]) for name in PARTS) == D(told["pnl"]["total"])
    assert told["scalp_realized"] == "7.92"


def test_the_outcome_of_a_losing_run_begins_with_what_it_lost(summary):
    """Bought 10 at 500.01 and worth 499.00: direction lost 10.00 of 10.10."""
    _, told = summary(hedging(10), mids=(500.0, 499.0, 499.0))
    assert told["nav_change"] == "-10.10"
    assert told["verdict"].split(";")[0] == "lost 10.10: direction (delta) -10.00, costs -0.10"


class Hedging(Puppet):
    """A strategy that reports its hedges: as many as its name has letters."""

    def hedge_summary(self):
        return {"fills": len(self.name)}


def test_each_of_several_strategies_reports_its_own_hedges(summary):
    def of(*members):
        return summary(Several(members, {each.name: D("0.5") for each in members}))[1]

    both = of(Hedging("first"), Hedging("one"))
    assert {name: row.get("hedge_costs") for name, row in both["strategies"].items()} == {
        "first": {"fills": 5},
        "one": {"fills": 3},
    }
    assert "hedge_costs" not in both
    assert of(Hedging("first"), Puppet("b"))["hedge_costs"] == {"fills": 5}


def test_without_wall_time_there_is_no_rate(summary):
    assert summary(Scripted(), wall_seconds=0.0)[1]["events_per_second"] is None


def decision(kind="entry", reasons=("no edge",), *, taken=False, **facts):
    return Decision(0, kind, taken, tuple(reasons), facts)


SHARE = straddle_book(500)
AT = TimerEvent(0, 0, "t")
BUY = OrderIntent(0, Side.BUY, D(1), Purpose.OPEN, "")


def empty():
    return RunFold(SHARE, OrderManager("r"))


def test_a_hedge_that_only_takes_an_order_back_counts_as_none():
    fold, sent = empty(), Decision(0, DecisionKind.HEDGE, True, ("net delta",), {}, ("r-000001",))
    late = Decision(1, DecisionKind.HEDGE, True, ("hedge not filled in time: size it again",), {})
    fold.see(AT, (sent,))
    fold.see(AT, (late, decision("exit", taken=True)))
    assert (fold.taken, len(fold.decisions)) == ({"hedge": 1, "exit": 1}, 3)


def test_no_trade_comes_with_its_reason():
    manager = OrderManager("r")
    fold = RunFold(SHARE, manager)
    assert verdict(fold) == "no trade: the strategy never asked for one"
    orders = tuple(manager.submit(BUY, 0) for _ in range(2))
    fold.see(AT, orders)
    assert verdict(fold) == "no trade: orders were sent and none was filled"
    fold.see(AT, (decision(reasons=("first",)), decision(reasons=("no edge", "too dear"))))
    assert verdict(fold) == "no trade: no edge; too dear; before: first"
    fold.see(AT, (decision(taken=True), decision("exit", taken=True)))
    name = orders[0].client_order_id
    filled = OrderFilled(name, 1, 1, "e", D(1), D(500), D(0))
    manager.fill(manager.orders[name], filled)
    fold.see(filled, ())
    assert verdict(fold) == "traded: 1 entry, 0 hedges, 1 exit"
    fold.taken["hedge"] += 1
    assert verdict(fold) == "traded: 1 entry, 1 hedge, 1 exit"


def test_an_entry_that_was_given_up_comes_with_what_refused_its_orders():
    """With 10,000 USD it said that nothing was filled, and not that the day may not lose a straddle."""
    fold = empty()
    fold.see(AT, (decision(reasons=("complete the straddle", "would_breach_daily_loss")),))
    fold.see(AT, (decision(reasons=("in other words", "looks again in 30 s"), again_in_seconds=30.0),))
    assert verdict(fold) == (
        "no trade: in other words; looks again in 30 s;"
        " before: complete the straddle; would_breach_daily_loss"
    )
    fold.see(AT, (decision(taken=True),))
    fold.see(AT, (decision(reasons=("nothing was filled",), again_in_seconds=30.0),))
    assert verdict(fold) == "no trade: nothing was filled"  # orders went, none was filled


def test_a_last_refusal_of_another_kind_comes_with_the_one_before():
    """Of a day without a forecast it named the strikes alone, which had refused its last minute."""
    fold = empty()
    fold.see(AT, (decision(reasons=("no forecast",), refused_by="gate"),))
    fold.see(AT, (decision(reasons=("of 11 strikes",), refused_by="selection"),))
    assert verdict(fold) == "no trade: of 11 strikes; before: no forecast"
    fold.see(AT, (decision(reasons=("one strike is left",), refused_by="selection"),))
    assert verdict(fold) == "no trade: one strike is left; before: no forecast"  # however often it refused


def test_a_run_without_a_trade_names_the_gate_whatever_refused_after_it():
    fold = empty()
    gate = decision(reasons=("edge -3 is below 5",), refused_by="entry gate: min_edge_usd")
    later = [decision(reasons=(f"{name} is closed",), refused_by=name) for name in ("event", "market")]
    fold.see(AT, (gate, *later, *later, later[0]))
    told = verdict(fold)
    assert told.startswith("no trade: event is closed; before: market is closed")
    assert told.count("edge -3 is below 5") == 1
    fold.see(AT, (decision(reasons=("edge -4 is below 5",), refused_by="entry gate: k_stderr"),))
    assert verdict(fold) == "no trade: edge -4 is below 5"  # its tests are one gate


def test_a_hedge_that_the_risk_gate_refused_is_told_as_refused_by_every_reader():
    manager, refusal = OrderManager("r"), "sell 20 SPY: larger than the largest order"
    fold = RunFold(SHARE, manager)
    refused = decision("hedge", ("delta -20: hedge to 0", refusal), refused_by="risk gate")
    assert refused.headline.index(refusal) < refused.headline.index("hedge to 0")
    fold.see(AT, (refused, refused))
    command = manager.submit(BUY, 0)
    filled = OrderFilled(command.client_order_id, 1, 1, "e", D(1), D(500), D(0))
    manager.fill(manager.orders[command.client_order_id], filled)
    assert "0 hedges" in verdict(fold)
    assert "2 more refused" in verdict(fold)
    assert refusal in verdict(fold)


def test_of_a_strategy_that_names_no_rule_equal_reasons_are_told_once():
    fold = empty()
    fold.see(AT, (decision(reasons=("sold out",)), decision(reasons=("sold out",))))
    assert verdict(fold) == "no trade: sold out"
    fold.see(AT, (decision(reasons=("closed",)),))
    assert verdict(fold) == "no trade: closed; before: sold out"


def test_a_fold_keeps_the_last_of_eight_kinds_of_refusals_and_counts_by_kind():
    fold = empty()
    fold.see(AT, tuple(decision(reasons=(chr(97 + at),)) for at in range(10)))
    fold.see(AT, (decision(reasons=("d",)),))
    fold.see(AT, (decision("hedge"), CancelOrder("x"), SetTimer("mark", 1)))
    assert "".join(one.reasons[0] for one in fold.refusals.values()) == "cefghijd"
    assert (len(fold.decisions), dict(fold.skipped), dict(fold.taken)) == (12, {"entry": 11, "hedge": 1}, {})
    assert fold.last_decision.kind == "hedge"


def test_the_hash_depends_on_what_was_decided_and_in_which_order():
    def hashed(*outputs):
        fold = empty()
        fold.see(AT, outputs)
        return fold.hash.hex()

    one, two = decision(reasons=("a",)), decision(reasons=("b",))
    assert hashed(one, two) == hashed(one, two)
    assert len({hashed(), hashed(one), hashed(two), hashed(one, two), hashed(two, one)}) == 5


def mark(number):
    parts = {name: D(number) / 100 for name in PARTS}
    return Mark(
        number, D(100_000 + number), D("0.01"), parts, 500.0 + number, 1.5, 0.5, -3.0, 9.0, 0.2, 0.1, -0.1
    )


@pytest.mark.parametrize("count", [0, 3, PACKED_ROWS, 3 * PACKED_ROWS + 5])
def test_marks_are_read_as_they_were_written(count, monkeypatch):
    monkeypatch.setattr("scalpdesk.report.fold.PACKED_BYTES", 1_000)
    log, marks = PackedLog(Mark), [mark(number) for number in range(count)]
    for number, each in enumerate(marks):
        log.append(each)
        if number == PACKED_ROWS:
            assert list(log) == marks[: number + 1]  # while it grows
    assert len(log) == count
    assert list(log) == list(log) == marks
    assert log[1:3] == marks[1:3]
    first, second = iter(log), iter(log)
    assert list(zip(first, second, strict=True)) == list(zip(marks, marks, strict=True))


def test_a_full_disk_stops_the_run_and_says_where(monkeypatch):
    class Full(BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scalpdesk.report.fold.SpooledTemporaryFile", lambda max_size: Full())
    log = PackedLog(Mark)
    for number in range(PACKED_ROWS - 1):
        log.append(mark(number))
    with pytest.raises(StopError, match="marks of the run cannot be kept: No space left") as stopped:
        log.append(mark(PACKED_ROWS))
    assert (stopped.value.where, stopped.value.value) == (gettempdir(), errno.ENOSPC)
    assert "TMPDIR" in stopped.value.fix


def test_a_hedge_that_the_venue_refused_is_no_row_that_passes_for_done():
    """Its decision was shown as made, with a quantity and "not filled"."""
    tape = TapeBuilder().path("10:00", 1.0, [500.0, 502.0, 501.0]).build()
    run = run_tape(tape, hedging(10, 5), faults=FaultPlan([Fault("reject", times=1)]))
    told = run_summary(header(tape), run.engine, run.fold, run.runner.events, 2.0)
    refused, filled = report_of(header(tape), run.fold, told, lambda _: None).hedges
    assert [line.state for line in run.fold.orders] == ["rejected", "filled"]
    assert (refused.price, filled.refused) == (None, "")
    assert refused.refused == run.fold.orders[0].reason != ""
