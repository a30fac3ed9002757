import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import (
    CancelIntent,
    LegOrders,
    Purpose,
    Side,
)
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import Scripted, buy, decisions, wanting


def test_a_proposal_becomes_a_decision_and_its_orders_in_this_order(desk):
    one = desk(wanting(buy(0, 10), buy(0, 5)))
    outputs = one.quote(0, 499.99, 500.01)
    decision, first, second = outputs
    assert (decision.kind, decision.taken, decision.reasons, decision.facts) == (
        "entry",
        True,
        ("because",),
        {"n": 1},
    )
    assert decision.client_order_ids == ("t-000001", "t-000002")
    assert decision.ts_ns == one.now_ns
    assert [(order.client_order_id, int(order.quantity)) for order in (first, second)] == [
        ("t-000001", 10),
        ("t-000002", 5),
    ]


def test_legs_that_are_to_go_as_one_leave_as_one_order_of_the_proposal(desk):
    legs = tuple(buy(number, 1, Purpose.OPEN) for number in (1, 2))

    def think(view, wake, event):
        if wake is not Wake.PRICE:
            return ()
        return (Proposal(DecisionKind.ENTRY, ("because",), {}, legs, leg_orders=LegOrders.COMBO),)

    one = desk(Scripted(think, [EveryQuote(0)]))
    one.quote(1, 5.00, 5.10)
    one.quote(2, 4.00, 4.10)
    decision, combo = one.quote(0, 499.99, 500.01)
    assert decision.client_order_ids == tuple(leg.client_order_id for leg in combo.legs)
    assert [leg.instrument_id for leg in combo.legs] == [1, 2]
    assert one.engine.desk.orders.live.keys() == set(decision.client_order_ids)


def test_all_or_none_sends_none_when_one_leg_is_refused(desk):
    one = desk(wanting(buy(0, 2, Purpose.OPEN), buy(1, 1, Purpose.OPEN)))  # 1 was never quoted
    (decision,) = one.quote(0, 499.99, 500.01)
    assert not decision.taken
    assert decision.reasons == (
        "because",
        "buy 1 SPY240419C00500000: the quote of SPY240419C00500000 is absent",
        "buy 1 SPY240419C00500000: the risk of the order is not known: no ask",
    )
    assert one.engine.desk.orders.orders == {}


def test_without_all_or_none_the_others_go(desk):
    one = desk(wanting(buy(0, 10), buy(1, 1), all_or_none=False))
    decision, order = one.quote(0, 499.99, 500.01)
    assert decision.taken
    assert decision.client_order_ids == (order.client_order_id,)
    assert decision.reasons[1:] == ("buy 1 SPY240419C00500000: the quote of SPY240419C00500000 is absent",)
    assert order.instrument_id == 0


def test_a_decision_not_to_act_is_recorded(desk):
    one = desk(wanting())
    (decision,) = one.quote(0, 499.99, 500.01)
    assert (decision.taken, decision.client_order_ids) == (False, ())


def test_the_gate_is_asked_about_orders_that_went_before(desk):
    one = desk(wanting(buy(), times=9), limits=RiskLimits(max_live_orders=2))
    for _ in range(3):
        outputs = one.wait(1).quote(0, 499.99, 500.01)
    assert not decisions(outputs)[0].taken
    assert "2 orders at the venue, limit 2" in decisions(outputs)[0].reasons[1]
    assert one.engine.desk.orders.pending(0) == 20


def test_the_throttle_counts_what_was_sent(desk):
    one = desk(wanting(buy(), times=9), limits=RiskLimits(max_orders_per_minute=2))
    taken = [decisions(one.wait(1).quote(0, 499.99, 500.01))[0].taken for _ in range(3)]
    assert taken == [True, True, False]
    assert decisions(one.wait(60).quote(0, 499.99, 500.01))[0].taken


def test_an_order_is_cut_to_the_cap_on_net_delta_and_the_decision_says_so(desk):
    one = desk(wanting(buy(0, 30)), limits=RiskLimits(max_net_delta_fraction=0.10))
    decision, order = one.quote(0, 499.99, 500.01)
    assert order.quantity == 20
    assert decision.taken
    why = "net delta would be 15000 (now 0), cap 10000 (risk.max_net_delta_fraction)"
    assert decision.reasons == ("because", f"buy 30 SPY cut to buy 20 SPY: {why}")


def test_the_size_of_exits_counts_towards_no_limit_of_size(desk, monkeypatch):
    one = desk(Scripted())
    one.adopt({0: (50, "500"), 1: (5, "5")})
    for number, price in enumerate((500.0, 5.0)):
        one.quote(number, price - 0.01, price + 0.01)
    noted = []
    monkeypatch.setattr(
        one.engine.desk.gate.counters,
        "note_order",
        lambda at, size, *, is_option: noted.append((at, size, is_option)),
    )
    legs = (
        buy(0, 3, Purpose.HEDGE, Side.SELL),
        buy(0, 4, Purpose.UNWIND_HEDGE, Side.SELL),
        buy(1, 2, Purpose.CLOSE, Side.SELL),
        buy(2, 1, Purpose.OPEN),
    )
    one.quote(2, 4.99, 5.01)
    one.engine._decisions.decide(Proposal(DecisionKind.EXIT, ("x",), {}, legs, all_or_none=False))
    assert noted == [
        (one.now_ns, 3, False),
        (one.now_ns, 0, False),
        (one.now_ns, 0, True),
        (one.now_ns, 1, True),
    ]


def test_a_proposal_that_was_carried_out_inside_the_desk_is_taken_without_an_order(desk):
    done = Proposal(DecisionKind.HEDGE, ("crossed",), {}, (CancelIntent("gone", "x"),), carried_out=True)
    one = desk(Scripted(lambda view, wake, event: (done,) if wake is Wake.PRICE else (), [EveryQuote(0)]))
    (decision,) = one.quote(0, 499.99, 500.01)
    assert (decision.taken, decision.client_order_ids) == (True, ())


def test_a_strategy_hears_to_what_its_sizes_were_cut(desk):
    heard = []

    class Cut(Scripted):
        def on_cut(self, view, intents):
            heard.append([one.quantity for one in intents])

    limits = RiskLimits(max_net_delta_fraction=0.10)
    one = desk(
        Cut(wanting(buy(0, 5), buy(0, 30), times=1, all_or_none=False).think, [EveryQuote(0)]), limits=limits
    )
    one.quote(0, 499.99, 500.01)
    assert heard == [[5, 15]]
    other = desk(Cut(wanting(buy(0, 5)).think, [EveryQuote(0)]), limits=limits)
    other.quote(0, 499.99, 500.01)
    assert heard == [[5, 15]]


def test_an_unknown_kind_of_proposal_is_refused_with_those_that_there_are(desk):
    wish = Proposal("entrance", ("because",), {})
    one = desk(Scripted(lambda view, wake, event: (wish,) if wake is Wake.TIMER else ()))
    with pytest.raises(ArgumentError, match="a proposal has a kind that is not known") as refused:
        one.timer("mine")
    assert (refused.value.where, refused.value.value) == ("Proposal.kind", "entrance")
    assert refused.value.fix == f"use one of {', '.join(kind.value for kind in DecisionKind)}"
    wish = Proposal("exit", ("because",), {})
    assert decisions(one.timer("mine"))[0].kind is DecisionKind.EXIT
