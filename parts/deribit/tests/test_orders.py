"""The order path's reading of each answer that the venue may give, request by request, in virtual time."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.venues import EventPublisher, KnownOrder, Notice, NoticeKind, VenueSetup
from scalpdesk_deribit import wire
from scalpdesk_deribit.orders import DeribitOrders
from scalpdesk_deribit.queries import AccountAndMarket
from scalpdesk_deribit.rpc import Disconnected
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.virtual_time import VirtualLoop

D = Decimal
NOW_MS = 1_741_176_000_000
SWAP = "BTC-PERPETUAL"
USD = 10
"""One contract: the venue counts dollars, the desk contracts."""
BUY, CANCEL = "private/buy", "private/cancel"
CANCEL_LABEL = "private/cancel_by_label"
BY_LABEL = "private/get_order_state_by_label"
TRADES_OF = "private/get_user_trades_by_order"
TRADES_SINCE = "private/get_user_trades_by_currency_and_time"
OPEN_ORDERS = "private/get_open_orders_by_currency"
LOST, UNSENT = Disconnected("lost", was_sent=True), Disconnected("not connected", was_sent=False)
BROKEN = wire.RpcError(11_094, "internal_server_error")
REFUSED, GONE = wire.RpcError(10_009, "not_enough_funds"), wire.RpcError(11_044, "not_open_order")
BUSY = wire.RpcError(10_028, "too_many_requests")


def state(filled=0, amount=100, status="open", **changes):
    return {
        "order_id": "BTC-1",
        "order_state": status,
        "order_type": "limit",
        "direction": "buy",
        "instrument_name": SWAP,
        "amount": USD * amount,
        "filled_amount": USD * filled,
        "average_price": 90_000.5 if filled else None,
        "price": 90_000.5,
        "label": "sd-1",
        "creation_timestamp": NOW_MS,
        "last_update_timestamp": NOW_MS,
    } | changes


def trade(number=1, amount=100, **changes):
    return {
        "trade_id": f"t{number}",
        "order_id": "BTC-1",
        "instrument_name": SWAP,
        "direction": "buy",
        "amount": USD * amount,
        "price": 90_000.5,
        "fee": 0.0,
        "fee_currency": "BTC",
        "label": "sd-1",
        "timestamp": NOW_MS + number,
    } | changes


def order(name="sd-1", quantity=100, purpose=Purpose.HEDGE, limit="90000.5"):
    return SubmitOrder(
        name,
        InstrumentId(0),
        Side.BUY,
        D(quantity),
        OrderType.LIMIT,
        D(limit),
        TimeInForce.GTC,
        purpose,
    )


class LoopClock(ManualClock):
    """A machine's clock, whose seconds are the loop's."""

    def __init__(self, loop):
        super().__init__(NOW_MS * 10**6)
        self._loop = loop

    def now_ns(self):
        return super().now_ns() + round(self._loop.time() * 10**9)


class Venue:
    """Answers each method by what a test wrote down; a list is used up from its front."""

    def __init__(self, answers=None, *, options=(), clock=None, **setup):
        self.answers, self.asked, self.is_up, self.connections = dict(answers or {}), [], True, 1
        self.loop = VirtualLoop()
        clock = clock(self.loop) if clock else ManualClock(NOW_MS * 10**6)
        made = VenueSetup(
            instruments=Instruments([perpetual("BTC"), *map(deribit_option, options)]),
            clock=clock,
            keys=(Key("k"), Key("s")),
            currency="BTC",
            **setup,
        )
        self.publisher = EventPublisher(clock)
        self.queries = AccountAndMarket(self, made, self.publisher, "BTC")
        self.orders = DeribitOrders(self, self.queries, made, self.publisher)
        self.path = self.orders.path
        self.path.is_open = True

    async def request(self, method, params, timeout_seconds=None):
        del timeout_seconds
        self.asked.append((method, params))
        found = self.answers[method]
        if isinstance(found, list) and method not in (BY_LABEL, OPEN_ORDERS, TRADES_OF):
            found = found.pop(0) if len(found) > 1 else found[0]
        await asyncio.sleep(0.1)
        if callable(found):
            found = found()
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, call, settle=True):
        async def whole():
            found = call()
            if asyncio.iscoroutine(found):
                found = await found
            while settle and self.path.under_way:
                await asyncio.wait(tuple(self.path.under_way))
            return found

        return self.loop.run_until_complete(whole())

    def send(self, *commands):
        for command in commands:
            self.run(lambda command=command: self.path.send(command))
        return self.said()

    def said(self):
        found = []
        while (item := self.publisher.queue.take()) is not None:
            found.append(item)
        return found

    def methods(self):
        return [method for method, _ in self.asked]


def kinds(said):
    return [one.name if isinstance(one, Notice) else type(one) for one in said]


@pytest.fixture
def at_venue():
    """Build a venue, closed with the test; ``working`` has sent the order sd-1, which rests there."""
    made = []

    def build(answers=None, *, working=False, **setup):
        venue = Venue(answers, **setup)
        made.append(venue)
        if working:
            venue.answers.setdefault(BUY, {"order": state(), "trades": []})
            assert kinds(venue.send(order())) == [OrderAccepted]
            venue.asked.clear()
        return venue

    yield build
    for venue in made:
        venue.loop.close()


@pytest.mark.rows(
    ("answer", "expected"),
    [
        ({"order": state(), "trades": []}, [OrderAccepted]),
        ({"order": state()}, [OrderAccepted]),
        ({"order": state(100, status="filled"), "trades": [trade()]}, [OrderAccepted, OrderFilled]),
        (REFUSED, [OrderRejected]),
        (BUSY, ["too_many_requests", OrderRejected]),
        (BROKEN, [OrderStatusUnknown]),
        (LOST, [OrderStatusUnknown]),
        (UNSENT, [OrderStatusUnknown, OrderNotFound]),
        (TimeoutError(), [OrderStatusUnknown]),
        ({}, ["malformed_answer", OrderStatusUnknown]),
        ([[]], ["malformed_answer", OrderStatusUnknown]),
        ({"order": state(filled_amount="x")}, ["malformed_answer", OrderStatusUnknown]),
    ],
)
def test_what_becomes_of_an_order_by_the_answer_to_it(at_venue, answer, expected):
    venue = at_venue({BUY: answer})
    said = venue.send(order())
    assert kinds(said) == expected
    ((method, params),) = venue.asked
    assert method == BUY
    assert (params["instrument_name"], params["amount"], params["label"]) == (SWAP, D(1_000), "sd-1")
    assert (params["type"], params["price"]) == ("limit", D("90000.5"))
    assert params["valid_until"] == NOW_MS + 5_000
    assert venue.path.tracker.orders["sd-1"].answered_ns == 10**8
    for one in said:
        if isinstance(one, OrderStatusUnknown) and answer is BROKEN:
            assert one.reason == "internal_server_error (11094)"
        elif isinstance(one, OrderStatusUnknown) and not isinstance(answer, Disconnected):
            assert one.reason in ("no answer in time", "an answer without meaning")
        if isinstance(one, Notice) and answer is BUSY:
            assert one.kind is NoticeKind.LIMITED


def test_an_order_of_a_path_that_is_closed_or_down_or_over_budget_never_leaves(at_venue):
    venue = at_venue(requests_per_minute=15)
    venue.path.is_open = False
    assert kinds(venue.send(order("sd-1"))) == [OrderStatusUnknown, OrderNotFound]
    venue.path.is_open, venue.is_up = True, False
    venue.run(lambda: asyncio.sleep(60.0))
    assert kinds(venue.send(order("sd-2"))) == [OrderStatusUnknown, OrderNotFound]
    venue.is_up = True
    assert kinds(venue.send(order("sd-3"))) == ["own_budget", OrderStatusUnknown, OrderNotFound]
    assert venue.asked == []


# cancels and edits ---------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("answer", "expected", "asks"),
    [
        (state(status="cancelled"), [OrderCancelled], []),
        (REFUSED, [CancelRejected], []),
        (GONE, [CancelRejected, OrderCancelled], [BY_LABEL, TRADES_OF]),
        (BROKEN, [OrderStatusUnknown], []),
        (LOST, [OrderStatusUnknown], []),
        (TimeoutError(), [OrderStatusUnknown], []),
        (state(filled_amount="x"), ["malformed_answer", OrderStatusUnknown], []),
    ],
)
def test_what_becomes_of_a_cancel_by_the_answer_to_it(at_venue, answer, expected, asks):
    venue = at_venue({CANCEL: answer, BY_LABEL: [state(status="cancelled")], TRADES_OF: []}, working=True)
    assert kinds(venue.send(CancelOrder("sd-1"))) == expected
    assert venue.asked[0] == (CANCEL, {"order_id": "BTC-1"})
    assert venue.methods()[1:] == asks


def test_an_order_without_an_id_is_cancelled_by_its_label_and_asked_after(at_venue):
    venue = at_venue({BUY: LOST, CANCEL_LABEL: 1, BY_LABEL: [state(status="cancelled")], TRADES_OF: []})
    venue.send(order())
    venue.asked.clear()
    assert kinds(venue.send(CancelOrder("sd-1"))) == [OrderAccepted, OrderCancelled]
    assert venue.asked[:2] == [
        (CANCEL_LABEL, {"label": "sd-1", "currency": "BTC"}),
        (BY_LABEL, {"currency": "BTC", "label": "sd-1"}),
    ]
    assert kinds(venue.send(CancelOrder("never-sent"))) == ["unknown_order", CancelRejected]
    assert venue.publisher.counters["unknown_order"] == 1


def test_a_cancel_is_refused_where_a_view_shows_the_order_at_work_long_after(at_venue):
    venue = at_venue({CANCEL: state(), TRADES_OF: [], OPEN_ORDERS: [state()]}, working=True)
    venue.send(CancelOrder("sd-1"))
    venue.path._cancels.close()  # it asks by the label
    for seconds, expected in ((4.0, []), (2.0, [CancelRejected])):
        venue.run(lambda seconds=seconds: asyncio.sleep(seconds))
        venue.run(venue.orders.open_orders)
        assert kinds(venue.said()) == expected


@pytest.mark.rows(
    ("answer", "taken"),
    [(state(), True), (GONE, True), (REFUSED, False), (LOST, False), (TimeoutError(), False)],
)
def test_a_cancel_by_the_venues_id_is_taken_when_it_answers_or_the_order_is_over(at_venue, answer, taken):
    venue = at_venue({CANCEL: answer})
    assert venue.run(lambda: venue.orders.cancel_at_venue("BTC-9/leg")) is taken
    assert venue.asked == [(CANCEL, {"order_id": "BTC-9"})]


# combos --------------------------------------------------------------------------------------------------

CALL, PUT = "BTC-14MAR25-90000-C", "BTC-14MAR25-90000-P"
COMBO = "BTC-STRD-14MAR25-90000"
CREATE, SELL = "private/create_combo", "private/sell"
MADE = {"id": COMBO, "legs": [{"instrument_name": CALL, "amount": 1}, {"instrument_name": PUT, "amount": 1}]}


def straddle(name="whole", quantity="0.5", side=Side.BUY, purpose=Purpose.OPEN):
    legs = tuple(
        SubmitOrder(
            f"{name}-{right}", number, side, D(quantity), OrderType.LIMIT, None, TimeInForce.GTC, purpose
        )
        for number, right in ((InstrumentId(1), "C"), (InstrumentId(2), "P"))
    )
    return MultiLegOrder(name, legs, D("0.05") * side.sign, TimeInForce.GTC)


def combo_state(filled=0.0, name="whole", **changes):
    amounts = {"amount": 0.5, "filled_amount": filled, "average_price": 0.05 if filled else None}
    named = {"order_id": "BTC-7", "instrument_name": COMBO, "label": name, "price": 0.05}
    return state() | amounts | named | changes


def leg_trades(number=1, amount=0.5):
    """Return the trades of the legs of a combo's trade: under orders of their own, without a label."""
    legs = []
    for place, (name, price) in enumerate(((CALL, 0.03), (PUT, 0.02))):
        leg = trade(10 * number + place) | {"instrument_name": name, "amount": amount, "price": price}
        del leg["label"]
        whole = {"combo_id": COMBO, "combo_trade_id": f"c{number}"}
        legs.append(leg | whole | {"order_id": f"BTC-{80 + place}"})
    return legs


def whole_trade(number=1, amount=0.5, **changes):
    """Return a trade of the combo as it stands among trades of all kinds."""
    named = {"trade_id": f"c{number}", "order_id": "BTC-7", "label": "whole", "instrument_name": COMBO}
    return trade() | {"amount": amount, "price": 0.05} | named | changes


def combo_trade(number=1, amount=0.5, **changes):
    """Return a trade of the combo with those of its legs."""
    return whole_trade(number, amount, legs=leg_trades(number, amount)) | changes


@pytest.fixture
def with_options(at_venue):
    """Build a venue that lists a straddle; ``working`` has sent it as the combo ``whole``, which rests."""

    def build(answers=None, *, working=False, **setup):
        venue = at_venue({CREATE: MADE} | (answers or {}), options=(CALL, PUT), **setup)
        if working:
            venue.answers.setdefault(BUY, {"order": combo_state(), "trades": []})
            assert kinds(venue.send(straddle())) == [OrderAccepted] * 2
            venue.asked.clear()
        return venue

    return build


def test_a_straddle_is_named_once_and_then_sent_as_one_order(with_options):
    rests = [{"order": combo_state(name=name), "trades": []} for name in ("whole", "more", "again")]
    venue = with_options({BUY: rests, SELL: REFUSED})
    said = venue.send(straddle())
    assert [(type(one), one.client_order_id, one.venue_order_id) for one in said] == [
        (OrderAccepted, "whole-C", f"BTC-7/{CALL}"),
        (OrderAccepted, "whole-P", f"BTC-7/{PUT}"),
    ]
    legs = [{"instrument_name": name, "amount": D(1), "direction": "buy"} for name in (CALL, PUT)]
    (made, named), (method, params) = venue.asked
    assert (made, named, method) == (CREATE, {"trades": legs}, BUY)
    assert (params["instrument_name"], params["amount"], params["price"]) == (COMBO, D("0.5"), D("0.05"))
    assert (params["label"], params["valid_until"]) == ("whole", NOW_MS + 5_000)
    tracked = venue.path.tracker.orders
    assert {tracked[name].parent_id for name in ("whole-C", "whole-P")} == {"whole"}
    assert {tracked[name].answered_ns for name in ("whole-C", "whole-P")} == {2 * 10**8}
    venue.asked.clear()
    assert kinds(venue.send(straddle("more"))) == [OrderAccepted] * 2
    assert kinds(venue.send(straddle("out", side=Side.SELL))) == [OrderRejected] * 2
    assert venue.methods() == [
        BUY,
        SELL,
    ]
    assert venue.asked[1][1]["price"] == D("0.05")  # of the combo, of which a sale gets what the desk asks
    venue.asked.clear()
    venue.send(straddle("again"))  # a refused combo may have ended: it is asked for again
    assert venue.methods() == [CREATE, BUY]


def test_the_question_for_a_combo_counts_in_the_budget(with_options):
    venue = with_options({BUY: {"order": combo_state(), "trades": []}})
    before = venue.path.budget.left(0)
    venue.send(straddle())
    assert venue.path.budget.left(0) == before - 2
    for name in ("b", "c", "d"):
        venue.send(straddle(name))
    assert venue.path.budget.left(0) == before - 3  # of five, two came back in 0.4 s


@pytest.mark.rows(
    ("answer", "expected", "reason"),
    [
        (REFUSED, [OrderRejected] * 2, "not_enough_funds (10009)"),
        ({"id": COMBO, "legs": MADE["legs"][:1]}, [OrderRejected] * 2, "other legs than were asked for"),
        ({"id": ""}, [OrderRejected] * 2, "legs is no list of objects"),
        (BROKEN, [OrderStatusUnknown, OrderNotFound] * 2, None),
        (LOST, [OrderStatusUnknown, OrderNotFound] * 2, None),
        (TimeoutError(), [OrderStatusUnknown, OrderNotFound] * 2, None),
    ],
)
def test_a_combo_that_has_no_name_is_never_ordered(with_options, answer, expected, reason):
    venue = with_options({CREATE: answer})
    said = venue.send(straddle())
    assert kinds(said) == expected
    assert venue.methods() == [CREATE]
    assert venue.orders._combos == {}
    if reason is not None:
        assert all(reason in one.reason for one in said)


def test_trades_of_a_combo_are_booked_leg_by_leg_and_once(with_options):
    venue = with_options(working=True)
    said = change(venue, [combo_trade(1, 0.2)], [combo_state(0.2)])
    assert [(one.client_order_id, one.execution_id, one.quantity) for one in said] == [
        ("whole-C", "t10", D("0.2")),
        ("whole-P", "t11", D("0.2")),
    ]
    assert change(venue, [combo_trade(1, 0.2)], [combo_state(0.2)]) == []
    other = combo_trade(2, label="by-hand", order_id="BTC-9")
    (notice,) = change(venue, [other])
    assert (notice.name, notice.detail) == ("foreign_execution", COMBO)
    (half,) = change(venue, [combo_trade(3, 0.3) | {"legs": [combo_trade(3, 0.3)["legs"][1]]}])
    assert half.client_order_id == "whole-P"


@pytest.mark.rows("first", ["whole", "legs", "one leg"])
def test_legs_that_trade_under_orders_of_their_own_are_booked_as_the_combos(with_options, first):
    venue = with_options(working=True)
    call, put = leg_trades()
    notes = {
        "whole": [[whole_trade()], [call], [put]],
        "legs": [[call], [put], [whole_trade()]],
        "one leg": [[put], [whole_trade()], [call]],
    }
    said = [one for note in notes[first] for one in change(venue, note)]
    assert {(one.client_order_id, one.execution_id, one.quantity, one.price) for one in said} == {
        ("whole-C", "t10", D("0.5"), D("0.03")),
        ("whole-P", "t11", D("0.5"), D("0.02")),
    }
    assert len(said) == 2
    assert change(venue, [whole_trade(), call, put]) == []


def test_legs_of_a_combo_that_others_trade_ask_for_a_look_at_the_account(with_options):
    venue = with_options(working=True)
    assert change(venue, leg_trades()) == []  # of whom, the combo's trade says
    (notice,) = change(venue, [whole_trade(label="by-hand", order_id="BTC-9")])
    assert (notice.name, notice.detail) == ("foreign_execution", COMBO)
    (notice,) = change(venue, [leg_trades(2)[0], whole_trade(2, label="", order_id="BTC-9")])
    assert notice.detail == COMBO
    assert kinds(change(venue, leg_trades(3))) == []


def test_the_history_shows_legs_under_the_ids_that_the_desk_knows_them_by(with_options):
    call, put = leg_trades()
    by_hand = leg_trades(2)[:1]  # its combo's trade is not listed
    since_ns = (NOW_MS + 10) * 10**6
    page = {"trades": [whole_trade(timestamp=NOW_MS + 9), call, put, *by_hand], "has_more": False}
    venue = with_options({TRADES_SINCE: page})
    known = [
        KnownOrder(leg, venue_order_id=f"BTC-7/{name}", parent_id="whole")
        for leg, name in zip(straddle().legs, (CALL, PUT), strict=True)
    ]
    venue.path.tracker.restore(known)
    venue.orders.adopted(known)
    fills = venue.run(lambda: venue.orders.history(since_ns))
    assert [(fill.execution_id, fill.venue_order_id) for fill in fills] == [
        ("t10", f"BTC-7/{CALL}"),
        ("t11", f"BTC-7/{PUT}"),
        ("t20", "BTC-80"),
    ]
    assert [(one.client_order_id, one.execution_id) for one in venue.said()] == [
        ("whole-C", "t10"),
        ("whole-P", "t11"),
    ]
    ((_, asked),) = venue.asked
    assert asked["start_timestamp"] < NOW_MS + 9


def test_a_combo_that_counts_more_than_was_reported_asks_for_the_trades_since_it_was_taken(with_options):
    page = {"trades": [whole_trade(1, 0.2), *leg_trades(1, 0.2)], "has_more": False}
    venue = with_options({TRADES_SINCE: page}, working=True)
    said = change(venue, orders=[combo_state(0.2)])
    assert sorted((one.client_order_id, one.quantity) for one in said) == [
        ("whole-C", D("0.2")),
        ("whole-P", D("0.2")),
    ]
    ((method, asked),) = venue.asked
    assert (method, asked["start_timestamp"]) == (TRADES_SINCE, NOW_MS - 1_000)


def test_a_cancel_of_a_leg_without_an_answer_leaves_both_legs_in_doubt(with_options):
    venue = with_options({CANCEL: TimeoutError("slow")}, working=True)
    said = venue.send(CancelOrder("whole-C"))
    assert [(type(one), one.client_order_id, one.reason) for one in said] == [
        (OrderStatusUnknown, "whole-C", "cancel: slow"),
        (OrderStatusUnknown, "whole-P", "cancel: slow"),
    ]


def test_open_combos_are_shown_by_their_legs_under_the_desks_names_or_the_venues(with_options):
    venue = with_options({"public/get_combo_details": MADE | {"id": "other"}}, working=True)
    by_hand = combo_state(name="by-hand", instrument_name="BTC-STRD-14MAR25-95000", order_id="BTC-8")
    venue.answers[OPEN_ORDERS] = [combo_state(), by_hand, by_hand]
    shown = venue.run(venue.orders.open_orders)
    assert [(one.client_order_id, one.instrument_id, one.venue_order_id) for one in shown] == [
        ("whole-C", 1, f"BTC-7/{CALL}"),
        ("whole-P", 2, f"BTC-7/{PUT}"),
        *[(f"by-hand/{CALL}", 1, f"BTC-8/{CALL}"), (f"by-hand/{PUT}", 2, f"BTC-8/{PUT}")] * 2,
    ]
    assert venue.methods() == [OPEN_ORDERS, "public/get_combo_details"]
    assert venue.asked[-1][1] == {"combo_id": "BTC-STRD-14MAR25-95000"}


AT_WORK = {"order": state(), "trades": []}
COMBO_AT_WORK, COMBO_OVER = {"order": combo_state(), "trades": []}, [OrderAccepted] * 2 + [OrderCancelled] * 2


@pytest.mark.rows(
    ("command", "name", "answer", "after_seconds", "expected", "by_id"),
    [
        (order(), "sd-1", AT_WORK, 0.05, [OrderAccepted, OrderCancelled], ["BTC-1"]),
        (
            order(), "sd-1", {"order": state(100, status="filled"), "trades": [trade()]}, 0.05,
            [OrderAccepted, OrderFilled], [],
        ),
        (order(), "sd-1", REFUSED, 0.05, [OrderRejected], []),
        (order(), "sd-1", LOST, 0.05, [OrderStatusUnknown, CancelRejected], []),
        # before the combo has its name, and after
        *(
            (straddle(), "whole-P", COMBO_AT_WORK, seconds, COMBO_OVER, ["BTC-7"])
            for seconds in (0.05, 0.3)
        ),
    ],
)  # fmt: skip
def test_a_cancel_that_overtakes_its_order_waits_for_the_answer_that_tells_the_id(
    with_options, command, name, answer, after_seconds, expected, by_id
):
    over = combo_state(order_state="cancelled") if by_id == ["BTC-7"] else state(status="cancelled")
    venue = with_options({CANCEL_LABEL: 0, BY_LABEL: [], CANCEL: over})
    quick, venue.answers[BUY] = venue.request, answer

    async def request(method, params, timeout_seconds=None):
        if method == BUY:
            await asyncio.sleep(0.4)
        return await quick(method, params, timeout_seconds)

    venue.request = request

    async def scenario():
        venue.path.send(command)
        await asyncio.sleep(after_seconds)
        venue.path.send(CancelOrder(name))
        await asyncio.sleep(5.0)

    venue.run(scenario)
    assert kinds(venue.said()) == expected
    assert [params["order_id"] for method, params in venue.asked if method == CANCEL] == by_id


# questions -----------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("answer", "trades", "proof", "expected"),
    [
        ([state(100, status="filled")], [trade()], True, [OrderFilled]),
        ([state(100, status="filled")], {"trades": [trade()]}, True, [OrderFilled]),
        ([state(40)], LOST, True, ["executions_missing", OrderFilled]),  # inferred
        ([state()], [], True, []),
        (LOST, [], False, ["query_failed"]),
        ("rubbish", [], False, ["query_failed"]),
    ],
)
def test_what_a_question_after_an_order_proves(at_venue, answer, trades, proof, expected):
    venue = at_venue({BY_LABEL: answer, TRADES_OF: trades}, working=True)
    assert venue.run(lambda: venue.path.query_order("sd-1")) is proof
    assert kinds(venue.said()) == expected
    assert venue.run(lambda: venue.path.query_order("never-sent")) is False


async def adopt_in_loop(venue):
    venue.path.adopt([KnownOrder(order())])


def proven_absent_after(venue, name="sd-1"):
    """Ask until the venue gives proof; return when that was, by the loop's time."""

    async def ask():
        while not await venue.path.query_order(name):
            assert OrderNotFound not in kinds(venue.said())
        return venue.loop.time()

    return venue.run(ask)


@pytest.mark.rows(("connection", "seconds"), [(1, 2.0), (2, 6.0)])
def test_an_order_on_a_connection_that_broke_may_come_until_its_time_limit(at_venue, connection, seconds):
    """Behind a connection that stands nothing overtakes it; a proxy may bring what another one sent."""
    venue = at_venue({BUY: LOST, BY_LABEL: []}, acceptance_seconds=2.0, clock=LoopClock)
    venue.send(order())
    venue.connections = connection
    assert proven_absent_after(venue) == pytest.approx(seconds, abs=0.3)
    assert venue.asked[0][1]["valid_until"] == NOW_MS + 5_000


@pytest.mark.rows("is_own", [True, False])
@pytest.mark.rows("speed", [1.0, 8.0, 60.0])
def test_the_time_limit_at_a_venue_with_a_time_of_its_own_is_of_that_time(at_venue, speed, is_own):
    """Ten seconds of the desk: those of a request, and as many for a clock that stands between messages."""
    clock = FollowingClock(NOW_MS * 10**6)
    venue = at_venue({BUY: LOST, BY_LABEL: []}, acceptance_seconds=2.0, clock=lambda _: clock)

    async def tick():
        while True:
            clock.observe(NOW_MS * 10**6 + int(speed * venue.loop.time() * 10**9))
            await asyncio.sleep(0.05)

    async def begin():
        venue.ticking = asyncio.ensure_future(tick())
        venue.queries.begin(NOW_MS)
        await asyncio.sleep(20.0)

    venue.run(begin, settle=False)
    sent_ms = NOW_MS + int(speed * 20_000)
    if is_own:
        venue.send(order())
        assert venue.asked[0][1]["valid_until"] == pytest.approx(sent_ms + speed * 10_000, abs=speed * 200)
        venue.connections = 2
    else:
        venue.run(lambda: adopt_in_loop(venue))
    seconds = proven_absent_after(venue)
    venue.ticking.cancel()
    venue.run(lambda: asyncio.sleep(0))
    assert seconds == pytest.approx(30.0 + 1.0 / speed, abs=0.5)


def test_orders_of_an_earlier_life_are_followed_under_their_ids(at_venue):
    venue = at_venue()

    def adopt(orders):
        venue.run(lambda: venue.path.adopt(orders))

    adopt([KnownOrder(order("sd-3"), venue_order_id="BTC-3")])
    assert [each.client_order_id for each in change(venue, [trade(order_id="BTC-3")])] == ["sd-3"]
    leg = KnownOrder(order("leg"), parent_id="whole", venue_order_id="BTC-7/BTC-PERPETUAL")
    adopt(iter([leg]))
    adopt([leg])  # twice is once
    assert venue.path.tracker.combos == {"whole": ("leg",)}
    assert venue.orders._parent_ids == {"whole": "BTC-7"}


def test_open_orders_of_others_are_shown_in_instruments_that_nobody_listed_too(at_venue):
    other = state(25, label="by-hand", order_id="BTC-2", order_type="market", order_state="open")
    unknown = state(label="x", order_id="BTC-3", instrument_name="BTC-NEVER")
    venue = at_venue({OPEN_ORDERS: [unknown, other, state()], TRADES_OF: []}, working=True)
    strange, by_hand, own = venue.run(venue.orders.open_orders)
    assert (strange.symbol, strange.instrument_id, strange.quantity) == ("BTC-NEVER", None, 1_000)
    assert (by_hand.client_order_id, by_hand.quantity, by_hand.filled, by_hand.limit_price) == (
        "by-hand",
        100,
        25,
        None,
    )
    assert (own.client_order_id, own.instrument_id, own.limit_price) == ("sd-1", 0, D("90000.5"))
    assert venue.publisher.counters["foreign_order"] == 1


@pytest.mark.rows(
    ("pages", "starts", "found"),
    [
        ([([1, 2], True), ([2, 3], False)], [1, NOW_MS + 2], ["t1", "t2", "t3"]),
        ([([1], False)], [1], ["t1"]),
        ([([], True)], [1], []),
        ([([1], True), ([1], True)], [1, NOW_MS + 1], ["t1"]),  # nothing new: it would turn in a circle
    ],
)
def test_the_history_is_followed_page_by_page(at_venue, pages, starts, found):
    unlisted = trade(99, instrument_name="BTC-NEVER")
    answers = [
        {
            "trades": [trade(n, 10) for n in numbers] and [unlisted, *(trade(n, 10) for n in numbers)],
            "has_more": more,
        }
        for numbers, more in pages
    ]
    venue = at_venue({TRADES_SINCE: answers}, working=True)
    fills = venue.run(lambda: venue.orders.history(1_001_000_000))
    assert [fill.execution_id for fill in fills] == found
    assert [params["start_timestamp"] for _, params in venue.asked] == starts
    assert {params["end_timestamp"] for _, params in venue.asked} == {NOW_MS + 1_000}
    assert len([one for one in venue.said() if isinstance(one, OrderFilled)]) == len(found)


# changes ---------------------------------------------------------------------------------------------------


def change(venue, trades=(), orders=()):
    data = {"trades": list(trades), "orders": list(orders)}
    venue.run(lambda: venue.orders.on_change(wire.Notification("user.changes", data)))
    return venue.said()


def test_executions_of_others_ask_for_a_look_at_the_account(at_venue):
    venue = at_venue(working=True)
    other = trade(1, label="by-hand", order_id="BTC-9")
    unlisted = trade(2, instrument_name="BTC-NEVER")
    (notice,) = change(venue, [other, unlisted])
    assert (notice.kind, notice.name, notice.detail) == (
        NoticeKind.GAP,
        "foreign_execution",
        "BTC-PERPETUAL, BTC-NEVER",
    )
    assert venue.publisher.counters["foreign_trade"] == 1
    assert [one.quantity for one in change(venue, [trade(3, 60), trade(3, 60)])] == [60]


def test_an_order_is_known_by_the_venues_id_from_its_first_execution_on(at_venue):
    venue = at_venue({BUY: LOST, BY_LABEL: []})
    assert kinds(venue.send(order())) == [OrderStatusUnknown]
    first, second = trade(1, 60), trade(2, 40, label="")
    assert [one.quantity for one in change(venue, [first]) if isinstance(one, OrderFilled)] == [60]
    assert [one.quantity for one in change(venue, [second]) if isinstance(one, OrderFilled)] == [40]


@pytest.mark.rows(("amount", "filled"), [(60, 60), (60, 25), (100, 40)])
def test_an_order_that_was_edited_at_the_venue_ends_with_what_it_filled(at_venue, amount, filled):
    venue = at_venue(working=True)
    assert change(venue, orders=[state(0, amount, price=90_001.0)]) == []
    venue.answers[OPEN_ORDERS] = [state(0, amount, price=90_001.0)]
    venue.answers[TRADES_OF] = []
    (shown,) = venue.run(venue.orders.open_orders)
    assert (shown.client_order_id, shown.quantity, shown.limit_price) == ("sd-1", amount, D("90001.0"))
    end = "filled" if filled == amount else "cancelled"
    said = change(venue, [trade(1, filled)], [state(filled, amount, end, price=90_001.0)])
    assert kinds(said) == [OrderFilled, OrderCancelled]
    assert (said[0].client_order_id, said[0].quantity) == ("sd-1", filled)
    assert venue.path.tracker.orders["sd-1"].ended


def test_a_state_that_counts_more_than_was_reported_asks_for_the_executions(at_venue):
    venue = at_venue({TRADES_OF: [trade(1, 30)]}, working=True)
    said = change(venue, orders=[state(30)])
    assert [(one.execution_id, one.quantity) for one in said] == [("t1", 30)]
    assert venue.asked == [(TRADES_OF, {"order_id": "BTC-1", "sorting": "asc"})]


@pytest.mark.rows("data", [None, [], {"trades": "x"}, {"orders": [1]}, {"trades": [trade(1, "x")]}])
def test_a_change_that_cannot_be_read_is_refused_and_the_path_goes_on(at_venue, data):
    venue = at_venue(working=True)
    venue.run(lambda: venue.orders.on_change(wire.Notification("user.changes", data)))
    refused, gap = venue.said()
    assert (refused.name, gap.name) == ("malformed_change", "malformed_change")
    assert gap.asks_for_reconciliation
    assert kinds(change(venue, [trade()])) == [OrderFilled]


def test_what_cannot_be_read_beside_them_loses_no_execution_and_no_state(at_venue):
    venue = at_venue(working=True)
    said = change(
        venue,
        [trade(1, 25, direction="sideways"), trade(2, 25)],
        [state(25, order_id=None), state(25, status="cancelled")],
    )
    assert kinds(said) == [OrderFilled, OrderCancelled, "malformed_change", "malformed_change"]


def test_an_execution_is_booked_whatever_its_time_and_the_currency_of_its_fee(at_venue):
    venue = at_venue(working=True)
    said = change(venue, [trade(1, 25, timestamp="soon", fee="0.1", fee_currency="USDC")])
    (filled, *told) = said
    assert (filled.quantity, filled.ts_event_ns, filled.fee) == (25, filled.ts_recv_ns, 0)
    assert kinds(told) == ["unreadable_time", "fee_in_other_currency"]
    assert change(venue, [trade(1, 25, timestamp="soon", fee="0.1", fee_currency="USDC")]) == []


# stops ------------------------------------------------------------------------------------------

WAITS = {"order_id": "SLTS-1", "order_type": "stop_limit", "trigger_price": 91_000.0, "price": 91_500.0}
TRIGGERED = {"order_id": "BTC-9", "trigger_order_id": "SLTS-1", "triggered": True}


def stop(name="sd-1", trigger="91000"):
    return msgspec.structs.replace(order(name, limit="91500"), order_type=Stop(D(trigger)))


def test_a_stop_goes_on_under_the_id_that_its_trigger_gave_it(at_venue):
    venue = at_venue({BUY: {"order": state(status="untriggered", **WAITS), "trades": []}, CANCEL: state()})
    (accepted,) = venue.send(stop())
    assert (type(accepted), accepted.venue_order_id) == (OrderAccepted, "SLTS-1")
    assert change(venue, orders=[state(status="triggered", **WAITS), state(**TRIGGERED)]) == []
    assert kinds(change(venue, [trade(amount=30, order_id="BTC-9")])) == [OrderFilled]
    venue.answers[CANCEL] = state(30, status="cancelled", **TRIGGERED)
    assert kinds(venue.send(CancelOrder("sd-1"))) == [OrderCancelled]
    assert venue.asked[-1] == (CANCEL, {"order_id": "BTC-9"})


def test_a_trade_in_the_message_of_the_trigger_belongs_to_the_stop(at_venue):
    venue = at_venue({BUY: {"order": state(status="untriggered", **WAITS), "trades": []}})
    venue.send(stop())
    filled = state(100, status="filled", **TRIGGERED)
    assert kinds(change(venue, [trade(order_id="BTC-9", label="")], [filled])) == [OrderFilled]


def test_a_cancel_by_the_id_before_the_trigger_is_refused_and_the_next_names_the_new_one(at_venue):
    gone = wire.RpcError(10_004, "order_not_found")
    venue = at_venue({BUY: {"order": state(status="untriggered", **WAITS), "trades": []}, CANCEL: gone})
    venue.send(stop())
    venue.answers |= {BY_LABEL: [state(**TRIGGERED)], TRADES_OF: {"trades": []}}
    assert kinds(venue.send(CancelOrder("sd-1"))) == [CancelRejected]
    venue.answers[CANCEL] = state(status="cancelled", **TRIGGERED)
    assert kinds(venue.send(CancelOrder("sd-1"))) == [OrderCancelled]
    assert venue.asked[-1] == (CANCEL, {"order_id": "BTC-9"})
