"""Faults of orders at the broker: what each delays, fills or takes back, and in which order it is told."""

from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import OrderType, Side, Stop
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.simulation.faults import PLACES, Fault, FaultPlan, load_faults, seeded_faults
from scalpdesk.simulation.orders import Changes, OrderClass, OrderRequest, Status
from scalpdesk_testing.kit.broker import Market
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
T = 1_000_000_000
SECOND = 1_000_000_000


def market(*faults, positions=None, **how):
    """Return a broker with these faults that has seen SPY at 500 and its options at 9 and 8."""
    made = Market(straddle_book(500), positions, broker={"faults": FaultPlan(faults), **how})
    for number, mid in enumerate((500, 9, 8)):
        made.quote(number, T, mid - 0.5, mid + 0.5)
    return made


def events(made):
    return [event for _, event in made.reports()]


# orders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "cause"), [("wash_trade", Cause.WASH_TRADE), ("no such reason", Cause.BUYING_POWER)]
)
def test_a_refusal_on_request_has_the_cause_that_was_asked_for(reason, cause):
    venue = market(Fault("reject", reason=reason, match="SPY"))
    with pytest.raises(Refused) as refused:
        venue.order(SHARE, 1)
    assert (refused.value.cause, refused.value.detail) == (cause, "refused by the fault plan")
    assert venue.account.orders == {}
    assert venue.order(SHARE, 1).status is Status.FILLED  # once


@pytest.mark.parametrize(("struck", "spared"), [(CALL, SHARE), (PUT, CALL), (CALL, PUT)])
def test_a_refusal_of_one_symbol_leaves_every_other_alone(struck, spared):
    symbol = straddle_book(500)[struck].symbol
    venue = market(Fault("reject", reason="wash_trade", match=symbol), positions={CALL: 1, PUT: 1})
    assert venue.order(spared, 1).status is Status.FILLED
    with pytest.raises(Refused):
        venue.order(struck, 1)
    assert venue.order(struck, 1).status is Status.FILLED


def test_another_fault_of_an_order_refuses_nothing():
    venue = market(Fault("late_reject", reason="wash_trade"))
    order = venue.order(SHARE, 1)
    assert (order.status, order.reject_reason, order.failed_ns) == (Status.REJECTED, "wash_trade", T)
    assert events(venue) == ["rejected"]


def test_a_late_acknowledgement_comes_after_its_seconds():
    venue = market(Fault("late_ack", seconds=2.5))
    order = venue.order(SHARE, 1)
    assert (order.status, venue.broker.due_ns) == (Status.PENDING_NEW, T + 5 * SECOND // 2)
    venue.broker.advance(venue.broker.due_ns - 1)
    assert order.status is Status.PENDING_NEW
    venue.broker.advance(venue.broker.due_ns)
    assert (order.status, events(venue)) == (Status.FILLED, ["new", "fill"])


def test_a_fill_may_be_told_before_the_acknowledgement():
    venue = market(Fault("fill_before_ack"))
    first = venue.order(CALL, 1, 5)
    assert events(venue) == ["new"]
    assert first.status is Status.NEW
    venue = market(Fault("fill_before_ack"))
    venue.order(SHARE, 1)
    assert events(venue) == ["fill", "new"]


@pytest.mark.rows(
    ("fraction", "quantity", "part"), [(0.5, 9, 4), (0.1, 9, 1), (0.05, 9, 1), (0.0, 9, 0), (1.0, 9, 9)]
)
def test_a_part_fills_and_the_rest_waits_its_seconds(fraction, quantity, part):
    venue = market(Fault("partial_fill", fraction=fraction, seconds=2))
    order = venue.order(SHARE, quantity)
    assert order.filled == part
    venue.quote(SHARE, T + SECOND, 499.5, 500.5)
    assert order.filled == part
    venue.broker.advance(T + 2 * SECOND)
    assert (order.filled, order.status) == (quantity, Status.FILLED)
    assert venue.broker.matcher.held_back == {}


def test_orders_that_a_fault_holds_back_go_on_when_it_is_healed():
    venue = market(Fault("partial_fill", times=2, seconds=50))
    orders = venue.order(SHARE, 10), venue.order(CALL, 4)
    other = venue.order(SHARE, 3)
    assert [one.filled for one in (*orders, other)] == [5, 2, 3]
    venue.broker.staged.heal()
    assert [one.filled for one in (*orders, other)] == [10, 4, 3]


def test_a_part_of_a_combo_is_held_back_too():
    venue = market(Fault("partial_fill", seconds=2))
    combo = venue.combo({CALL: 1, PUT: 1}, 18, units=4)
    assert (combo.filled, combo.status, venue.units()) == (2, Status.PARTIALLY_FILLED, {CALL: 2, PUT: 2})
    assert [(leg.filled, leg.status) for leg in combo.legs] == [(2, Status.PARTIALLY_FILLED)] * 2
    venue.broker.advance(T + 2 * SECOND)
    assert (combo.filled, combo.status, venue.units()) == (4, Status.FILLED, {CALL: 4, PUT: 4})
    assert [(leg.filled_ns, leg.status) for leg in combo.legs] == [(T + 2 * SECOND, Status.FILLED)] * 2


# cancels and replacements ---------------------------------------------------------------------------


def test_a_cancel_that_is_stuck_comes_after_its_seconds():
    venue = market(Fault("cancel_stuck", seconds=1.5))
    order = venue.order(SHARE, 1, 400)
    venue.broker.cancel("account", order.order_id)
    assert (order.status, venue.broker.due_ns) == (Status.NEW, T + 3 * SECOND // 2)
    venue.broker.advance(venue.broker.due_ns)
    assert order.status is Status.CANCELED


def test_a_cancel_that_comes_too_late_finds_the_order_filled_at_its_limit():
    venue = market(Fault("cancel_too_late"))
    order = venue.order(SHARE, 2, 400)
    venue.broker.cancel("account", order.order_id)
    assert events(venue) == ["new", "fill", "order_cancel_rejected"]
    assert (order.status, order.average, venue.account.cash) == (Status.FILLED, 400, 99_200)


def test_a_cancel_comes_in_time_where_nothing_of_the_order_could_trade():
    """A combo trades leg by leg, the exit of an entry once it has filled, dollars once they are shares."""
    venue = market(*[Fault("cancel_too_late")] * 3)
    entry = venue.order(
        SHARE, 2, 400, structure=OrderClass.BRACKET, take_profit_limit=520, stop_loss_stop=380
    )
    venue.broker.halt(SHARE)
    dollars = OrderRequest("SPY", Side.BUY, OrderType.MARKET, notional=D(100))
    unsized = venue.broker.submit("account", dollars)
    for order in (venue.combo({CALL: 1, PUT: 1}, 16), entry.legs[0], unsized):
        venue.broker.cancel("account", order.order_id)
        assert (order.status, venue.account.executions) == (Status.CANCELED, [])


def test_a_fill_after_the_cancel_counts():
    venue = market(Fault("late_fill_after_cancel", seconds=2))
    order = venue.order(SHARE, 2, 400)
    venue.broker.cancel("account", order.order_id)
    assert order.status is Status.CANCELED
    venue.broker.advance(T + 2 * SECOND - 1)
    assert order.filled == 0
    venue.broker.drain()
    venue.broker.advance(T + 2 * SECOND)
    (update,) = venue.broker.drain()
    assert (update.event, update.execution.price, update.position_quantity) == ("fill", 400, 2)
    assert (order.status, order.filled_ns, venue.units()) == (Status.FILLED, T + 2 * SECOND, {SHARE: 2})


def test_two_cancels_on_their_way_let_the_late_fill_come_once():
    fault = Fault("late_fill_after_cancel", seconds=2)
    plan = FaultPlan([fault, fault])
    venue = Market(straddle_book(500), broker={"faults": plan, "effect_latency_ns": SECOND})
    venue.quote(SHARE, T, 499.5, 500.5)
    order = venue.order(SHARE, 2, 400)
    venue.broker.advance(T + SECOND)
    for _ in range(2):
        venue.broker.cancel("account", order.order_id)
    venue.broker.advance(T + 2 * SECOND)
    assert events(venue)[-2:] == ["canceled", "order_cancel_rejected"]
    venue.broker.advance(T + 4 * SECOND)
    assert events(venue) == ["fill"]
    assert (order.status, order.filled, venue.units(), venue.account.cash) == (
        Status.FILLED,
        2,
        {SHARE: 2},
        99_200,
    )


@pytest.mark.parametrize("name", ["cancel_too_late", "late_fill_after_cancel"])
def test_no_fault_fills_a_stop_before_its_trigger(name):
    venue = market(Fault(name), positions={SHARE: 3})
    order = venue.order(SHARE, -3, kind=Stop(D(490)))
    venue.broker.cancel("account", order.order_id)
    venue.broker.advance(10**15)
    assert (order.status, order.filled) == (Status.CANCELED, 0)


def test_a_replacement_that_comes_too_late_finds_its_order_filled():
    venue = market(Fault("replace_too_late"))
    order = venue.order(SHARE, 2, 400)
    new = venue.broker.replace("account", order.order_id, Changes(limit_price=D(401)))
    assert (order.status, order.average, new.status) == (Status.FILLED, 400, Status.REJECTED)
    plain = market()
    order = plain.order(SHARE, 2, 400)
    assert plain.broker.replace("account", order.order_id, Changes(limit_price=D(401))).status is Status.NEW


# trades that are taken back -------------------------------------------------------------------------


def test_a_busted_trade_leaves_the_account_and_the_order_as_before_it():
    venue = market()
    order = venue.order(CALL, 3)
    kept = venue.order(SHARE, -1)
    first, other = venue.account.executions
    assert venue.account.cash == 100_000 - 2_850 + D("499.5")
    venue.broker.drain()
    assert venue.broker.staged.bust(first) is True
    (update,) = venue.broker.drain()
    assert (update.event, update.execution, update.position_quantity) == ("trade_bust", first, 0)
    assert (order.filled, order.busted, order.value, order.leaves) == (0, 3, 0, 0)
    assert (venue.account.cash, venue.units()) == (100_000 + D("499.5"), {SHARE: -1})
    assert venue.account.executions == [other]
    assert [(one.kind, one.quantity, one.price, one.net_amount) for one in venue.account.activities] == [
        ("FILL", -1, D("499.5"), D("499.5")),
    ]
    assert venue.broker.staged.bust(other) is True
    assert (venue.account.cash, venue.units(), kept.busted) == (100_000, {}, 1)
    assert venue.broker.staged.bust(other) is False


def test_the_bust_of_a_part_of_a_share_returns_the_cash_that_it_took():
    """The trade moved dollars to a millionth, the bust to every decimal: half a millionth went missing."""
    venue = market()
    venue.order(SHARE, D("0.333333333"))
    assert venue.account.cash == 100_000 - D("166.833333")
    venue.broker.staged.bust(*venue.account.executions)
    assert venue.account.cash == 100_000


def test_the_history_of_an_account_gives_its_cash_after_a_bust_and_a_correction_with_fees():
    """A line of price and fee took the place of the fill's: a desk could book no fee beside it."""
    venue = market(fees=ALPACA_FEES)
    venue.order(SHARE, 3)
    venue.order(SHARE, -3)
    venue.order(CALL, 1)
    _, sold, option = venue.account.executions
    assert sold.fee > 0
    assert option.fee > 0
    for _ in range(2):
        history = sum(one.net_amount for one in venue.account.activities)
        assert venue.account.cash == 100_000 + history
        venue.broker.staged.correct(option, D(9))
        venue.broker.staged.bust(sold)


def test_a_cash_account_waits_for_no_proceeds_of_a_sale_that_was_taken_back_or_corrected():
    venue = Market(straddle_book(500), {SHARE: 4}, cash=1_000, multiplier=1)
    venue.quote(SHARE, T, 499.5, 500.5)
    venue.order(SHARE, -1)
    venue.order(SHARE, -2)
    first, second = venue.account.executions
    assert (venue.account.cash, venue.account.unsettled) == (D("2498.5"), D("1498.5"))
    venue.broker.staged.bust(first)
    assert (venue.account.cash, venue.account.unsettled) == (1_999, 999)
    venue.broker.staged.correct(second, D(499))
    assert (venue.account.cash, venue.account.unsettled) == (1_998, 998)
    assert venue.ledger.margin.figures(venue.account).buying_power == 1_000


def test_a_part_that_is_busted_is_not_worked_again():
    venue = market()
    order = venue.order(SHARE, 10, 499)
    venue.quote(SHARE, T + 1, 498.5, 499.0, ask_size=4)
    (execution,) = venue.account.executions
    venue.broker.staged.bust(execution)
    assert (order.filled, order.busted, order.leaves) == (0, 4, 6)
    venue.quote(SHARE, T + 2, 498.5, 499.0)
    assert (order.filled, order.status, venue.units()) == (6, Status.FILLED, {SHARE: 6})


def test_a_corrected_trade_is_booked_again_at_its_new_price():
    venue = market()
    order = venue.order(SHARE, -4)
    (execution,) = venue.account.executions
    venue.broker.drain()
    assert venue.broker.staged.correct(execution, D(499)) is True
    (update,) = venue.broker.drain()
    assert (update.event, update.position_quantity) == ("trade_correct", -4)
    again = update.execution
    assert (again.execution_id, again.corrects, again.price, again.quantity) == ("x2", "x1", 499, 4)
    assert (order.filled, order.busted, order.average, order.status) == (4, 0, 499, Status.FILLED)
    assert (venue.account.cash, venue.units()) == (100_000 + 4 * 499, {SHARE: -4})
    assert venue.broker.staged.correct(execution, D(498)) is False


@pytest.mark.rows(
    ("name", "units", "cash"),
    [("bust", 0, "100000"), ("correct", 2, "98998.98"), ("correct", -2, "100998.98")],
)
def test_a_trade_is_taken_back_or_corrected_after_its_seconds(name, units, cash):
    """A correction moves the price a cent against the account's side."""
    venue = market()
    order = venue.order(SHARE, units or 2)
    (execution,) = venue.account.executions
    before = venue.account.cash
    venue.broker.staged.after_fill(execution, Fault(name, seconds=1.5))
    venue.broker.advance(T + 3 * SECOND // 2 - 1)
    assert venue.account.cash == before
    venue.broker.advance(T + 3 * SECOND // 2)
    assert (venue.account.cash, sum(venue.units().values())) == (D(cash), units)
    assert order.filled == abs(units)


# plans ----------------------------------------------------------------------------------------------


def test_a_plan_answers_where_and_about_what_its_faults_are():
    plan = FaultPlan([Fault("reject", match="SPY"), Fault("cancel_stuck", times=0)])
    assert plan.is_quiet is False
    assert plan.take("submit", "QQQ") is None
    assert plan.take("cancel", "SPY").name == "cancel_stuck"
    assert plan.take("submit", "SPY").name == "reject"
    assert plan.take("submit", "SPY") is None
    assert [plan.take("cancel").name for _ in range(3)] == ["cancel_stuck"] * 3  # without end
    assert plan.hits == {"cancel_stuck": 4, "reject": 1}
    plan.heal()
    assert (plan.is_quiet, plan.take("cancel")) == (True, None)


def test_a_rule_of_the_market_is_asked_whatever_the_question_is_about():
    plan = FaultPlan([Fault("halt", match="SPY")])
    assert plan.take("market").match == "SPY"


def test_faults_put_in_by_hand_answer_first_and_as_often_as_told():
    plan = FaultPlan()
    assert (plan.is_quiet, plan.take("submit")) == (True, None)
    plan.inject(Fault("late_ack", times=2))
    standing = Fault("reject", times=0, match="QQQ")
    plan.inject(standing)
    assert plan.is_quiet is False
    assert [plan.take("submit", "QQQ").name for _ in range(4)] == ["late_ack"] * 2 + ["reject"] * 2
    assert plan.take("submit", "SPY") is None
    plan.lift(standing)
    assert (plan.is_quiet, plan.take("submit", "QQQ")) == (True, None)
    assert plan.hits == {"late_ack": 2, "reject": 2}
    plan = FaultPlan()
    plan.inject(Fault("late_ack"))
    plan.heal()
    assert (plan.is_quiet, plan.take("submit")) == (True, None)


def test_a_chance_is_drawn_from_the_seed():
    def struck(seed):
        plan = FaultPlan([Fault("reject", probability=0.25, times=0)], seed)
        return [plan.take("submit") is not None for _ in range(400)]

    assert struck(5) == struck(5) != struck(6)
    assert 60 < sum(struck(5)) < 140
    never = FaultPlan([Fault("reject", probability=0.0, times=0)])
    assert [never.take("submit") for _ in range(50)] == [None] * 50


@pytest.mark.rows(
    ("figures", "allowed"),
    [
        ({"probability": 0.0}, True),
        ({"probability": 1.0}, True),
        ({"probability": 1.01}, False),
        ({"probability": -0.01}, False),
        ({"fraction": 0.0}, True),
        ({"fraction": 1.0}, True),
        ({"fraction": 1.01}, False),
        ({"fraction": -0.01}, False),
        ({"seconds": 0.0}, True),
        ({"seconds": 86_400.0}, True),
        ({"seconds": 86_400.5}, False),
        ({"seconds": -0.01}, False),
    ],
)
def test_the_figures_of_a_fault_have_bounds(figures, allowed):
    if allowed:
        assert Fault("halt", **figures).name == "halt"
        return
    with pytest.raises(ConfigError) as refused:
        Fault("halt", **figures)
    assert refused.value.where == "faults.halt"


def test_a_fault_of_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ConfigError) as refused:
        Fault("rejekt")
    assert (refused.value.where, refused.value.nearest) == ("faults.name", "reject")


def test_drawn_faults_follow_from_their_seed_within_their_bounds():
    drawn = seeded_faults(3)
    assert (len(drawn), len({one.name for one in drawn}), drawn == seeded_faults(3)) == (12, 12, True)
    assert seeded_faults(4) != drawn
    assert len(seeded_faults(3, 5)) == 5
    drawable = {name for name, place in PLACES.items() if place != "question"}
    many = [fault for seed in range(60) for fault in seeded_faults(seed, len(drawable))]
    assert {fault.name for fault in many} == drawable
    assert {fault.times for fault in many} == {1, 2, 3, 4, 5}
    assert {fault.after for fault in many} == set(range(20))
    for name, least, most in (("probability", 0.01, 0.3), ("seconds", 0.05, 5.0), ("fraction", 0.1, 0.9)):
        figures = [getattr(fault, name) for fault in many]
        assert least <= min(figures) < least + 0.01 * (most - least) + 0.001
        assert most - 0.01 * (most - least) - 0.001 < max(figures) <= most
        assert all(figure == round(figure, 3) for figure in figures)


@pytest.mark.parametrize(
    "text", ['[{"name": "halt", "seconds": 2}]', '{"faults": [{"name": "halt", "seconds": 2}]}']
)
def test_faults_are_read_from_a_file(tmp_path: Path, text):
    path = tmp_path / "faults.json"
    path.write_text(text, "utf-8")
    assert load_faults(path) == [Fault("halt", seconds=2.0)]


def test_a_file_of_faults_that_is_missing_or_of_another_form_says_so(tmp_path: Path):
    path = tmp_path / "faults.json"
    with pytest.raises(ConfigError, match="the file of faults cannot be read") as refused:
        load_faults(path)
    assert refused.value.where == str(path)
    for text in ("{", "[1]", '[{"name": "halt", "minutes": 2}]', "{}"):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match="not a list of faults"):
            load_faults(path)
