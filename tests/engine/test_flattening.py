from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.desk import HandDesk, Scripted, cancels, decisions, orders
from fakes.instruments import straddle_book
from fakes.tape import quote
from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.events import CancelRejected, OrderStatusUnknown, PositionChanged, TimerEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, SetTimer, Side, SubmitOrder, TimeInForce
from scalpdesk.engine.flattening import ClosingLine, Flattener
from scalpdesk.instruments.sessions import next_session
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal

D, NAN = Decimal, float("nan")
S = 10**9
NOW = 1_000 * S


@pytest.fixture
def desk():
    """Return a desk that holds a straddle and short shares, under a strategy that does nothing."""

    def build(strategy=None, held=None, **engine):
        one = HandDesk(strategy or Scripted(triggers=[EveryQuote(0)]), straddle_book(500), **engine)
        one.adopt({0: (-30, "500"), 1: (2, "12"), 2: (2, "12")} if held is None else held)
        one.open()
        one.go_to("11:00").market(500.0)
        return one

    return build


def look(one, seconds):
    """Let time pass and fire the desk's timer."""
    one.wait(seconds)
    one.market(500.0)
    return one.handle(TimerEvent(one.now_ns, one.now_ns, "flatten"))


def flatten_timers(outputs, now_ns):
    return [
        (one.due_ns - now_ns) / S for one in outputs if isinstance(one, SetTimer) and one.name == "flatten"
    ]


def wants(outputs):
    return [
        (int(one.instrument_id), one.side.value, int(one.quantity), one.purpose.value)
        for one in orders(outputs)
    ]


def test_the_strategy_has_its_own_moment_first(desk):
    one = desk()
    outputs = one.operate("flatten")
    assert flatten_timers(outputs, one.now_ns) == [10.0]
    assert orders(outputs) == []


def test_what_a_silent_strategy_leaves_is_closed_options_first_then_the_hedge(desk):
    one = desk()
    one.operate("flatten")
    outputs = look(one, 10)
    assert wants(outputs) == [(1, "sell", 2, "close"), (2, "sell", 2, "close")]
    (decision,) = decisions(outputs)
    assert (decision.kind, decision.taken) == ("exit", True)
    assert decision.reasons == (
        "flattening: still held: -30 SPY, +2 SPY240419C00500000, +2 SPY240419P00500000",
        "sell the options",
    )
    call, put = orders(outputs)
    one.fill(call)
    assert wants(look(one, 2)) == []  # the put is still at the venue: the hedge stays
    one.fill(put)
    outputs = look(one, 2)
    assert wants(outputs) == [(0, "buy", 30, "unwind_hedge")]
    one.fill(orders(outputs)[0])
    outputs = look(one, 2)
    assert (one.positions, orders(outputs), flatten_timers(outputs, one.now_ns)) == ({}, [], [])


def test_nothing_is_held_nothing_is_done(desk):
    one = desk(held={})
    one.operate("flatten")
    assert look(one, 10) == ()


def test_the_desk_waits_while_the_strategys_own_exit_works(desk):
    def think(view, wake, event):
        if wake is not Wake.OPERATOR:
            return ()
        leaves = [OrderIntent(n, Side.SELL, D(2), Purpose.CLOSE, "mine") for n in (1, 2)]
        return (Proposal(DecisionKind.EXIT, ("mine",), {}, tuple(leaves), all_or_none=False),)

    one = desk(Scripted(think, [EveryQuote(0)]))
    mine = orders(one.operate("flatten"))
    assert len(mine) == 2
    for _ in range(2):
        outputs = look(one, 7)
        assert (orders(outputs), cancels(outputs)) == ([], [])
        assert flatten_timers(outputs, one.now_ns) == [2.0]


def test_an_exit_that_nobody_took_is_taken_back_and_sent_again(desk):
    one = desk()
    one.operate("flatten")
    sent = orders(look(one, 10))
    for order in sent:
        one.accept(order)
    outputs = look(one, 15)
    assert cancels(outputs) == [order.client_order_id for order in sent]
    assert orders(outputs) == []
    for order in sent:
        one.cancelled(order.client_order_id)
    assert wants(look(one, 2)) == [(1, "sell", 2, "close"), (2, "sell", 2, "close")]


def test_an_order_in_doubt_is_waited_for(desk):
    one = desk(held={1: (2, "12")})
    one.operate("flatten")
    (order,) = orders(look(one, 10))
    one.handle(OrderStatusUnknown(order.client_order_id, one.now_ns, one.now_ns, "time-out"))
    for _ in range(20):
        outputs = look(one, 2)
        assert (orders(outputs), cancels(outputs)) == ([], [])


def test_refused_at_venueare_sent_again_at_growing_intervals(desk):
    one = desk(held={1: (2, "12")})
    one.operate("flatten")
    waits = []
    outputs = look(one, 10)
    for _ in range(6):
        (order,) = orders(outputs)
        waits += flatten_timers(outputs, one.now_ns)
        one.reject(order)
        outputs = look(one, waits[-1])
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_an_opening_order_goes_first_and_a_hedge_stays_while_there_are_options(desk):
    one = desk()

    def think(view, wake, event):
        opening = OrderIntent(1, Side.BUY, D(1), Purpose.OPEN, "", OrderType.LIMIT, D("1"))
        hedge = OrderIntent(0, Side.BUY, D(1), Purpose.HEDGE, "", OrderType.LIMIT, D("490"))
        return (Proposal(DecisionKind.ENTRY, ("both",), {}, (opening, hedge)),)

    one.strategy.think = think
    opening, hedge = orders(one.wait(1).quote(0, 499.99, 500.01))
    one.strategy.think = None
    # cancels of the mode change that the venue refuses leave both at work
    one.operate("flatten")
    for order in (opening, hedge):
        one.handle(CancelRejected(order.client_order_id, one.now_ns, one.now_ns, "too late"))
    outputs = look(one, 10)
    assert cancels(outputs) == [opening.client_order_id]


def test_without_market_at_venuethe_desk_leaves_at_the_far_side(desk):
    one = desk(held={1: (2, "12")}, limits=RiskLimits(allowed_order_types=("limit",)))
    one.operate("flatten")
    (order,) = orders(look(one, 10))
    assert (order.order_type, order.limit_price) == (
        OrderType.LIMIT,
        D(f"{one.engine.desk.market.quotes[1].bid:.2f}"),
    )


def test_flattening_ends_with_the_mode(desk):
    one = desk()
    one.operate("flatten")
    one.operate("resume")
    assert look(one, 10) == ()
    outputs = one.operate("flatten")
    assert flatten_timers(outputs, one.now_ns) == [10.0]


def test_flattening_goes_on_in_the_next_session(desk):
    one = desk()
    one.operate("flatten")
    one.close()
    assert one.handle(TimerEvent(one.now_ns, one.now_ns, "flatten")) == ()
    before = len(one.outputs)
    one.open(next_session(one.session.day))
    assert flatten_timers(one.outputs[before:], one.now_ns) == [10.0]
    one.wait(60).market(500.0)
    assert wants(look(one, 10)) == [(1, "sell", 2, "close"), (2, "sell", 2, "close")]


def test_a_daily_loss_is_flattened_without_the_strategy_and_a_reducing_desk_goes_back_to_reducing():
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.open()
    one.quote(0, 499.99, 500.01)
    one.operate("reduce")
    one.quote(0, 498.99, 499.01)
    one.wait(60).handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    assert one.engine.desk.gate.mode == "FLATTENING"
    one.wait(10).quote(0, 498.99, 499.01)
    outputs = one.handle(TimerEvent(one.now_ns, one.now_ns, "flatten"))
    assert wants(outputs) == [(0, "sell", 100, "unwind_hedge")]
    one.fill(orders(outputs)[0])
    one.close()
    one.open(next_session(one.session.day))
    assert one.engine.desk.gate.mode == "REDUCING"


def test_a_line_that_was_never_quoted_waits_and_one_that_nobody_bids_for_rests_at_the_smallest_price(desk):
    one = HandDesk(Scripted(), straddle_book(500), limits=RiskLimits(allowed_order_types=("limit",)))
    one.adopt({1: (2, "12"), 2: (1, "12")})
    one.open()
    one.go_to("11:00")
    one.quote(0, 499.99, 500.01)
    one.quote(2, float("nan"), 0.05)
    one.operate("flatten")
    outputs = one.wait(10).handle(TimerEvent(one.now_ns, one.now_ns, "flatten"))
    (sale,) = orders(outputs)
    assert (sale.instrument_id, sale.side, sale.limit_price) == (2, Side.SELL, D("0.01"))
    assert flatten_timers(outputs, one.now_ns) == [2.0]
    one.quote(1, 5.0, 5.1)
    outputs = one.wait(2).handle(TimerEvent(one.now_ns, one.now_ns, "flatten"))
    assert wants(outputs) == [(1, "sell", 2, "close")]


def test_an_offer_that_nobody_bids_for_is_made_again_after_pauses_that_double():
    flattener = Flattener(straddle_book(500))
    line, market = [ClosingLine("", 1, D(2))], {0: quote(0, NOW, 499.99, 500.01), 1: quote(1, NOW, 0.0, 0.05)}
    offered = [
        second
        for second in range(64)
        if flattener.step(NOW + second * S, line, [], market, RiskLimits()).orders
    ]
    assert offered == [0, 2, 6, 14, 30, 62]


def test_a_hedge_that_still_works_keeps_its_shares_from_being_unwound(desk):
    one = desk(held={0: (-30, "500")})
    hedge = OrderIntent(0, Side.BUY, D(1), Purpose.HEDGE, "", OrderType.LIMIT, D("490"))
    one.strategy.think = lambda _v, _w, _e: (Proposal(DecisionKind.HEDGE, ("test",), {}, (hedge,)),)
    (order,) = orders(one.wait(1).quote(0, 499.99, 500.01))
    one.strategy.think = None
    one.operate("flatten")
    one.handle(OrderStatusUnknown(order.client_order_id, one.now_ns, one.now_ns, "time-out"))
    outputs = look(one, 10)
    assert (orders(outputs), cancels(outputs)) == ([], [])
    one.cancelled(order.client_order_id)
    assert wants(look(one, 2)) == [(0, "buy", 30, "unwind_hedge")]


def test_a_fill_that_comes_late_is_flattened_too_though_nothing_was_left_before(desk):
    one = desk(held={})
    entry = OrderIntent(1, Side.BUY, D(1), Purpose.OPEN, "", OrderType.LIMIT, D("12"))
    one.strategy.think = lambda _v, _w, _e: (Proposal(DecisionKind.ENTRY, ("test",), {}, (entry,)),)
    (order,) = orders(one.wait(1).quote(0, 499.99, 500.01))
    one.strategy.think = None
    one.operate("flatten")
    one.cancelled(order.client_order_id)
    assert look(one, 10) == ()  # flat, and nothing at the venue: the desk looks no more
    assert flatten_timers(one.fill(order), one.now_ns) == [2.0]
    assert wants(look(one, 2)) == [(1, "sell", 1, "close")]


def test_shares_delivered_while_flattening_are_unwound(desk):
    one = desk(held={})
    one.operate("flatten")
    assert look(one, 10) == ()
    came = PositionChanged(0, one.now_ns, one.now_ns, ChangeCause.DELIVERY, D(100), D("500"), D(0), "late")
    assert flatten_timers(one.handle(came), one.now_ns) == [2.0]
    assert wants(look(one, 2)) == [(0, "sell", 100, "unwind_hedge")]


def test_an_operator_who_flattens_what_the_gate_flattens_already_is_not_undone_by_a_new_session():
    one = HandDesk(Scripted(), limits=RiskLimits(max_daily_loss=D(100)))
    one.adopt({0: (100, "500")})
    one.open()
    one.quote(0, 499.99, 500.01)
    one.quote(0, 498.89, 498.91)
    one.wait(60).handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    assert one.engine.desk.gate.mode == "FLATTENING"
    one.operate("flatten")
    one.close()
    one.open(next_session(one.session.day))
    assert one.engine.desk.gate.mode == "FLATTENING"


def test_what_is_larger_than_one_order_may_be_leaves_in_parts(desk):
    one = desk(
        held={0: (-250, "500"), 1: (25, "12")},
        limits=RiskLimits(max_order_contracts=10, max_order_shares=200),
    )
    one.operate("flatten")
    sent, outputs = [], look(one, 10)
    for _ in range(8):
        for order in orders(outputs):
            sent.append((int(order.instrument_id), int(order.quantity)))
            one.fill(order)
        outputs = look(one, 2)
    assert sent == [(1, 10), (1, 10), (1, 5), (0, 200), (0, 50)]
    assert one.positions == {}


def test_the_next_part_does_not_wait_for_the_one_before_it(desk):
    one = desk(held={1: (25, "12")}, limits=RiskLimits(max_order_contracts=10))
    one.operate("flatten")
    parts = [wants(look(one, 10)), wants(look(one, 2)), wants(look(one, 4)), wants(look(one, 4))]
    assert parts == [[(1, "sell", n, "close")] if n else [] for n in (10, 10, 5, 0)]


def test_orders_of_a_caller_without_an_order_manager_are_named_by_run_instrument_and_attempt():
    """A program that starts again gives the same ids, and the venue refuses the second of two."""
    book = straddle_book()
    close = OrderIntent(0, Side.SELL, D(100), Purpose.UNWIND_HEDGE, "flattening")
    option = OrderIntent(1, Side.SELL, D(2), Purpose.CLOSE, "flattening")
    flattener = Flattener(book, "run-7")
    first, second = flattener.name_orders((close, option)), flattener.name_orders((close,))
    assert [order.client_order_id for order in (*first, *second)] == [
        "run-7-flat-SPY-1",
        f"run-7-flat-{book[1].symbol}-1",
        "run-7-flat-SPY-2",
    ]
    assert Flattener(book, "run-7").name_orders((close,)) == first[:1]


@given(
    held=st.integers(-300, 300).filter(bool),
    working=st.lists(
        st.tuples(
            st.integers(1, 200),
            st.sampled_from([OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.WORKING]),
        )
    ),
)
def test_a_step_sends_what_is_held_less_what_works_and_never_more(held, working):
    """However often it is asked: an order on its way, or of unknown state, is not sent again."""
    side = Side.SELL if held > 0 else Side.BUY
    at_venue = [
        Order(
            SubmitOrder(
                f"o{n}", 0, side, D(size), OrderType.MARKET, None, TimeInForce.DAY, Purpose.UNWIND_HEDGE
            ),
            NOW,
            state,
        )
        for n, (size, state) in enumerate(working)
    ]
    flattener = Flattener(straddle_book(), "run")
    line = ClosingLine("", 0, D(held))
    quotes = [quote(0, NOW, 499.99, 500.01)]
    for _ in range(3):
        step = flattener.step(NOW, [line], at_venue, quotes, RiskLimits())
        assert step.cancels == ()
        left = abs(held) - sum(size for size, _ in working)
        assert [(order.side, order.quantity) for order in step.orders] == ([(side, left)] if left > 0 else [])
        for order in flattener.name_orders(step.orders):
            at_venue.append(Order(order, NOW))
            working = [*working, (int(order.quantity), OrderState.PENDING_NEW)]


@given(
    spot=st.floats(400.0, 600.0),
    number=st.sampled_from([1, 2]),
    has_quote=st.booleans(),
    has_spot=st.booleans(),
)
def test_an_option_is_never_offered_below_its_payoff_and_one_not_seen_goes_at_the_market(
    spot, number, has_quote, has_spot
):
    """A resting offer fills at its own price: where the bid lacks for a moment, nothing is given away."""
    book = straddle_book(500)
    quotes = defaultdict(lambda: quote(0, 0, NAN, NAN))
    if has_spot:
        quotes[0] = quote(0, NOW, spot, spot)
    if has_quote:
        quotes[number] = quote(number, NOW, NAN, 200.0)
    step = Flattener(book).step(NOW, [ClosingLine("", number, D(1))], [], quotes, RiskLimits())
    (sale,) = step.orders
    payoff = max(spot - 500.0 if number == 1 else 500.0 - spot, 0.0)
    if has_quote and has_spot:
        assert sale.order_type is OrderType.LIMIT
        assert 0.0 <= float(sale.limit_price) - max(0.95 * payoff, 0.0) <= 0.0100001
        assert sale.limit_price > 0
    else:
        assert (sale.order_type, sale.limit_price) == (OrderType.MARKET, None)


def test_an_offer_that_the_spot_has_left_behind_is_made_anew_at_the_payoff():
    flattener, line = Flattener(straddle_book(500)), [ClosingLine("", 1, D(1))]
    quotes = {0: quote(0, NOW, 499.0, 499.0), 1: quote(1, NOW, NAN, 200.0)}
    (sale,) = flattener.name_orders(flattener.step(NOW, line, [], quotes, RiskLimits()).orders)
    resting = [Order(sale, NOW, OrderState.WORKING)]
    later = NOW + 20 * S
    assert flattener.step(later, line, resting, quotes, RiskLimits()).cancels == ()
    quotes[0] = quote(0, later, 520.0, 520.0)
    (cancel,) = flattener.step(later, line, resting, quotes, RiskLimits()).cancels
    assert cancel.client_order_id == sale.client_order_id
    (again,) = flattener.step(later, line, [], quotes, RiskLimits()).orders
    assert (sale.limit_price, again.limit_price) == (D("0.01"), D("19.00"))


@pytest.mark.parametrize(
    ("held", "bid", "ask", "sent"),
    [
        (10, 499.5, 500.5, [("sell", D("499.5"))]),
        (10, 0.0, 500.5, []),  # no limit can be named
        (10, NAN, 500.5, []),
        (-10, 499.5, 0.0, []),
        (-10, 0.0, 500.5, [("buy", D("500.5"))]),
    ],
)
def test_shares_are_unwound_at_a_limit_only_at_a_price_above_zero(held, bid, ask, sent):
    lines = [ClosingLine("", 0, D(held))]
    quotes = {0: quote(0, NOW, bid, ask)}
    limits = RiskLimits(allowed_order_types=(OrderType.LIMIT,))
    step = Flattener(straddle_book(500)).step(NOW, lines, (), quotes, limits)
    assert [(one.side.value, one.limit_price) for one in step.orders] == sent
