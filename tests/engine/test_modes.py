from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause, DecisionKind, OperatorAction, OperatorCause
from scalpdesk.core.events import (
    AccountLimits,
    ModeKept,
    PositionChanged,
    TimerEvent,
)
from scalpdesk.core.intents import (
    Purpose,
)
from scalpdesk.core.mode import AccountMode, Mode, ModeEntry
from scalpdesk.instruments.sessions import next_session
from scalpdesk.marketdata.triggers import EveryQuote, PriceMove, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy, cancels, decisions, orders, wanting
from scalpdesk_testing.kit.instruments import DAY

D = Decimal


@pytest.mark.rows(
    ("action", "mode", "cancels_all"),
    [("halt", "HALTED", True), ("flatten", "FLATTENING", True), ("reduce", "REDUCING", False)],
)
def test_the_operator_sets_the_mode(desk, action, mode, cancels_all):
    one = desk(wanting(buy(), times=2))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    outputs = one.operate(action, "enough")
    decision = decisions(outputs)[0]
    assert (decision.kind, decision.reasons) == ("mode", (f"ACTIVE to {mode}: enough",))
    assert decision.facts == {"who": "operator"}
    assert cancels(outputs) == ([order.client_order_id] if cancels_all else [])
    assert one.engine.desk.gate.mode == one.engine.desk.view.mode == mode
    assert one.strategy.wakes[-1] is Wake.OPERATOR
    assert decisions(one.operate(action)) == []  # said twice
    resumed = decisions(one.operate("resume", "fine"))[0]
    assert resumed.reasons == (f"{mode} to ACTIVE: fine",)


def test_a_halted_desk_sends_nothing(desk):
    one = desk(wanting(buy(0, 10, Purpose.CLOSE)))
    one.operate("halt")
    (decision,) = one.quote(0, 499.99, 500.01)
    assert decision.reasons[1] == "buy 10 SPY: the desk is halted"


def test_a_loss_at_the_daily_limit_flattens_until_the_next_session():
    desk = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)), mark_seconds=60.0)
    desk.adopt({0: (100, "500")})
    desk.open()
    desk.quote(0, 499.99, 500.01)
    desk.wait(60).handle(TimerEvent(desk.now_ns, desk.now_ns, "mark"))
    assert desk.engine.desk.gate.mode == "ACTIVE"
    desk.quote(0, 498.99, 499.01)
    (mode,) = decisions(desk.wait(60).handle(TimerEvent(desk.now_ns, desk.now_ns, "mark")))
    assert (mode.kind, mode.reasons) == (
        "mode",
        ("ACTIVE to FLATTENING: daily loss: -100.00 at the limit of -100.00",),
    )
    assert desk.engine.desk.view.mode == "FLATTENING"
    desk.close()
    desk.open(next_session(desk.session.day))
    assert desk.engine.desk.gate.mode == "ACTIVE"


def test_the_days_loss_is_judged_at_the_marks_of_now_whether_or_not_the_strategy_is_woken(desk):
    limits = RiskLimits(max_daily_loss=D(300), max_daily_loss_fraction=1.0)
    strategy = wanting(buy())
    strategy.triggers = [PriceMove(0, 1e6, 1e6)]
    one = desk(strategy, limits=limits, mark_seconds=1e6)
    (order,) = orders(one.quote(0, 499.99, 500.01))
    one.fill(order)
    for step in range(1, 60):
        mid = 500.0 - step
        assert one.wait(1).quote(0, mid - 0.01, mid + 0.01) == ()
        outputs = one.judge_loss()
        loss = D("0.01") * 10 + 10 * step
        told = [item for item in decisions(outputs) if item.kind is DecisionKind.MODE]
        assert bool(told) is (loss >= 300)
        if told:
            why = f"daily loss: {-loss:.2f} at the limit of -300.00"
            assert told[0].reasons == (f"ACTIVE to FLATTENING: {why}",)
            assert strategy.wakes.count(Wake.PRICE) == 1  # to buy
            return
    pytest.fail("the limit never struck")


@pytest.mark.rows(
    ("before", "said", "after"),
    [
        ("ACTIVE", None, "ACTIVE"),
        ("REDUCING", None, "REDUCING"),
        ("ACTIVE", "flatten", "FLATTENING"),
        ("ACTIVE", "halt", "HALTED"),
    ],
)
def test_the_mode_before_a_loss_comes_back_in_the_next_session_unless_an_operator_spoke(before, said, after):
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.open()
    if before == "REDUCING":
        one.operate("reduce")
    one.wait(1).quote(0, 498.99, 499.01)
    one.timer("mark")
    assert one.engine.desk.gate.mode == "FLATTENING"
    one.wait(1).quote(0, 489.99, 490.01)
    assert [made for made in decisions(one.timer("mark")) if made.kind == "mode"] == []
    if said is not None:
        one.operate(said)
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == after
    if said is None:
        (mode,) = [made for made in decisions(one.outputs) if made.kind == "mode"][-1:]
        assert mode.reasons == (f"FLATTENING to {before}: a new session",)
        assert mode.facts == {"who": "risk gate"}
    one.operate("resume")
    one.close()
    one.open(next_session(next_session(DAY).day))
    assert one.engine.desk.gate.mode == "ACTIVE"


@pytest.mark.rows(
    ("before", "is_lost", "after"),
    [
        ("resume", True, "REDUCING"),
        ("reduce", True, "REDUCING"),
        ("flatten", False, "FLATTENING"),
        ("halt", False, "HALTED"),
    ],
)
def test_an_unexplained_difference_outlasts_a_lost_day_and_raises_no_mode(before, is_lost, after):
    """A desk that found a difference while it flattened for its loss traded on the next day."""
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.open()
    one.operate(before)
    if is_lost:
        one.wait(1).quote(0, 489.99, 490.01)
        one.timer("mark")
        assert one.engine.desk.gate.mode == "FLATTENING"
    mode = one.engine.desk.gate.mode
    one.operate("reduce", cause=OperatorCause.RECONCILIATION)
    assert one.engine.desk.gate.mode is mode
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == after


@pytest.mark.rows("stop", ["halt", "flatten"])
@pytest.mark.rows("opens_while_stopping", [True, False])
def test_the_mode_before_a_loss_outlasts_a_stop_of_the_run(stop, opens_while_stopping):
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.open()
    one.wait(1).quote(0, 489.99, 490.01)
    one.timer("mark")
    gate = one.engine.desk.gate
    one.operate(stop, cause=OperatorCause.STOP)
    assert (gate.kept_mode, gate.mode) == ("FLATTENING", OperatorAction(stop).mode)
    one.close()
    if opens_while_stopping:
        one.open(next_session(DAY))
        assert (gate.kept_mode, gate.mode) == ("ACTIVE", OperatorAction(stop).mode)
    one.operate("resume", cause=OperatorCause.STOP)
    if not opens_while_stopping:
        assert gate.mode == "FLATTENING"
        one.open(next_session(DAY))
    assert (gate.mode, gate.desk_mode.stop) == ("ACTIVE", None)


@pytest.mark.rows(
    ("stop", "said", "now", "kept"),
    [
        ("halt", "reduce", "HALTED", "REDUCING"),
        ("flatten", "reduce", "FLATTENING", "REDUCING"),
        ("flatten", "halt", "HALTED", "HALTED"),
    ],
)
def test_a_command_in_a_stop_is_kept_and_counts_at_once_where_it_is_stricter(desk, stop, said, now, kept):
    one = desk(Scripted())
    one.operate(stop, cause=OperatorCause.STOP)
    one.operate(said)
    gate = one.engine.desk.gate
    assert (gate.mode, gate.kept_mode) == (now, kept)
    one.operate("resume", cause=OperatorCause.STOP)
    assert (gate.mode, gate.desk_mode.stop) == (kept, None)


@pytest.mark.parametrize(("before", "rolls"), [("resume", True), ("reduce", False)])
def test_only_an_active_desk_that_flattens_for_an_expiry_begins_afresh(desk, before, rolls):
    """A desk reduced by a person, flattened at the deadline, began ACTIVE the next day."""
    one = desk(Scripted())
    one.operate(before)
    one.operate("flatten", cause=OperatorCause.DEADLINE)
    state = one.engine.desk.gate.desk_mode
    assert state.state.is_free is rolls
    one.operate("flatten")
    assert not state.state.is_free


@pytest.mark.parametrize("mode", ["halt", "flatten"])
def test_a_loss_ends_nothing_that_has_ended(desk, mode):
    one = desk(Scripted(triggers=[EveryQuote(0)]), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.operate(mode)
    outputs = one.wait(2).quote(0, 399.99, 400.01) + one.judge_loss() + one.timer("loss") + one.timer("mark")
    assert [made.kind for made in decisions(outputs)] == []


@pytest.mark.rows(
    ("used", "before", "after"),
    [
        ("0.4", "ACTIVE", "ACTIVE"),
        ("0.5", "ACTIVE", "REDUCING"),
        ("0.5", "REDUCING", "REDUCING"),
        ("0.75", "ACTIVE", "FLATTENING"),
        ("0.75", "REDUCING", "FLATTENING"),
        ("0.75", "HALTED", "HALTED"),
    ],
)
def test_margin_changes_the_mode_at_a_mark_and_what_it_flattens_goes_on_in_the_next_session(
    desk, used, before, after
):
    limits = RiskLimits(max_margin_fraction=0.25, reduce_margin_fraction=0.5, flatten_margin_fraction=0.75)
    one = desk(Scripted(), limits=limits)
    if before != "ACTIVE":
        one.operate({"REDUCING": "reduce", "HALTED": "halt"}[before])
    known = AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), (), margin_fraction=D(used))
    one.handle(known)
    outputs = one.timer("mark")
    assert one.engine.desk.gate.mode == after
    found = [made.reasons[0] for made in decisions(outputs)]
    limit = {"REDUCING": "50%", "FLATTENING": "75%"}.get(after)
    why = f"maintenance margin is {float(used):.0%} of collateral, limit {limit}"
    assert found == ([f"{before} to {after}: {why}"] if after != before else [])
    one.handle(AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), ()))
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == (before if after == "FLATTENING" else after)


def test_margin_that_falls_as_the_desk_flattens_leaves_it_free_in_the_next_session(desk):
    """On its way down the margin passes the limit from which a desk reduces until a person resumes it."""
    one = desk(Scripted(), limits=RiskLimits(reduce_margin_fraction=0.5, flatten_margin_fraction=0.75))
    for used in (D("0.75"), D("0.6"), None):
        one.handle(AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), (), margin_fraction=used))
        one.timer("mark")
        assert one.engine.desk.gate.mode == "FLATTENING"
    one.close()
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == "ACTIVE"


@pytest.mark.rows(("source", "mode"), [(1, "FLATTENING"), (2, "FLATTENING"), (0, "ACTIVE"), (None, "ACTIVE")])
def test_an_option_that_was_adjusted_into_another_is_closed_for_no_strategy_knows_it(desk, source, mode):
    one = desk(Scripted())
    one.adopt({0: (10, "500"), 1: (1, "5"), 2: (1, "5")})
    number = 0 if source in (0, None) else 3 - source
    event = PositionChanged(
        *(number, one.now_ns, one.now_ns, ChangeCause.CORPORATE_ACTION, D(1), D(0), D(0), "r"),
        source=source,
        source_change=D(-1) if source else D(0),
    )
    one.engine.desk.delta_engine.vols.shared = {}
    outputs = one.handle(event)
    assert one.engine.desk.delta_engine.vols.shared is None  # its prices are its own from now on
    assert one.engine.desk.gate.mode == mode
    if mode == "FLATTENING":
        old, new = (one.book[of].symbol for of in (source, number))
        (decision,) = decisions(outputs)
        assert decision.reasons == (f"ACTIVE to FLATTENING: {old} was adjusted to {new}",)
    assert one.strategy.wakes[-1] is Wake.ACCOUNT


def test_an_option_adjusted_while_a_loss_is_flattened_keeps_the_desk_flattening(desk):
    """The night's split comes before the session that would bring the desk back to ACTIVE."""
    one = desk(Scripted())
    one.quote(0, 499.99, 500.01)
    one.quote(1, 5.0, 5.2)
    one.adopt({1: (40, "5.1")})
    one.wait(60).quote(1, 1.0, 1.2)
    one.timer("mark")
    assert one.engine.desk.gate.mode == "FLATTENING"
    one.close()
    when = (one.now_ns, one.now_ns)
    event = PositionChanged(
        *(2, *when, ChangeCause.CORPORATE_ACTION, D(80), D(0), D(0), "r"), source=1, source_change=D(-40)
    )
    (decision,) = decisions(one.handle(event))
    old, new = one.book[1].symbol, one.book[2].symbol
    assert f"{old} was adjusted to {new}" in decision.reasons[0]
    one.open(next_session(DAY))
    assert one.engine.desk.gate.mode == "FLATTENING"


def test_the_half_of_an_exercise_is_no_loss(desk):
    """Ten puts worth 60,000 USD are gone before the 1,000 shares are sold at 60 above their price."""
    one = desk(Scripted())
    one.quote(0, 439.99, 440.01)
    one.quote(2, 59.9, 60.1)
    one.adopt({2: (10, "60")})
    when = (one.now_ns, one.now_ns)
    halves = (
        PositionChanged(2, *when, ChangeCause.EXERCISE, D(-10), D(0), D(0), "gone"),
        PositionChanged(0, *when, ChangeCause.DELIVERY, D(-1_000), D(500), D(500_000), "sold"),
    )
    outputs = [each for half in halves for each in one.handle(half)]
    assert decisions(outputs) == []
    assert one.engine.desk.gate.mode == "ACTIVE"
    one.wait(60).quote(0, 449.99, 450.01)
    one.timer("mark")  # short 1,000 shares that rose by 10: a loss like any other
    assert one.engine.desk.gate.mode == "FLATTENING"


@pytest.mark.parametrize("mode", ["halt", "flatten"])
def test_an_adjusted_option_changes_no_mode_of_the_operators(desk, mode):
    one = desk(Scripted())
    one.adopt({1: (1, "5")})
    one.operate(mode)
    outputs = one.handle(
        PositionChanged(
            *(2, one.now_ns, one.now_ns, ChangeCause.CORPORATE_ACTION, D(1), D(0), D(0), "r"),
            source=1,
            source_change=D(-1),
        )
    )
    assert decisions(outputs) == []


def test_a_kept_mode_wakes_the_strategy_as_an_operators_command_does(desk):
    one = desk()
    kept = AccountMode(ModeEntry(Mode.FLATTENING, "a person left", "person", one.now_ns), None, 1)
    one.handle(ModeKept(one.now_ns, one.now_ns, kept))
    assert one.engine.desk.gate.mode is Mode.FLATTENING
    assert one.strategy.wakes[-1] is Wake.OPERATOR
