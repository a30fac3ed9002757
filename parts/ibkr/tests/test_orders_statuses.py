"""Labels of orders at TWS that look dead and live on: an order ends once its quantity is accounted for."""

import asyncio

import pytest

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import CancelRejected, OrderFilled, OrderRejected, PositionChanged
from scalpdesk.core.intents import CancelOrder, OrderIntent, OrderType, Purpose, Side
from scalpdesk.instruments.fees import NO_FEES
from scalpdesk.orders.order import OrderState
from scalpdesk.venues import MAY_FILL, NoticeKind, Outcome
from scalpdesk_ibkr.codes import COMPLETED, STATUSES, UNLISTED, rule_of
from scalpdesk_testing.kit.served import D, with_desk

pytestmark = pytest.mark.usefixtures("socket_enabled", "asked_soon")
STATUS, OPEN_ORDER, EXECUTION, COMMISSION, ERROR, COMPLETED_ORDER = "3", "5", "11", "59", "4", "101"
LOCAL_SYMBOL = 12
LIVE = "-1"
"""Id of the request in an execution that comes by itself."""
REFUSALS = (103, 104, 110, 200, 201, 203, 321, 434, 460)


class TwsLabels:
    """Rule of a proxy: shows statuses under other labels, and holds messages back.

    Attributes
    ----------
    shown
        Label and reason for which an order is held, by TWS's own status.
    error
        Code that is sent with the first message on each order.
    lost
        Ids of messages that are not passed on.
    """

    def __init__(self, shown=None, error=0):
        self.shown = shown or {}
        self.error, self.lost = error, set()
        self._named = set()

    def __call__(self, fields):
        kind = fields[0]
        if kind in self.lost or tuple(fields[:2]) in self.lost:
            return []
        if kind == STATUS:
            status, why_held = self.shown.get(fields[2], (fields[2], fields[10]))
            fields[2], fields[10] = status, why_held
        if kind == OPEN_ORDER and self.error and fields[1] not in self._named:
            self._named.add(fields[1])
            return [["4", "2", fields[1], str(self.error), "as the vendor words it", ""], fields]
        return [fields]


def told(desk, name):
    return [each.detail for each in desk.notices if each.name == name]


async def resting(bench, desk):
    return await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))


async def traded_at_the_exchange(bench, desk):
    while not bench.truth().positions:  # the desk is told nothing of it
        await desk.gateway.snapshot()


async def cancelled(bench, desk, order):
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.over(order)
    assert order.state is OrderState.CANCELLED
    assert bench.truth().fills == []


@pytest.mark.rows(
    ("label", "why_held", "is_told"),
    [
        ("Inactive", "", True),
        ("Inactive", "locate", True),
        ("PreSubmitted", "locate,trigger", True),
        ("PreSubmitted", "child,trigger", False),
        ("PreSubmitted", "moonrise", True),
        ("PendingCancel", "", False),
        ("ApiCancelled", "", False),
        ("PendingSubmit", "", False),
    ],
)
def test_a_label_that_looks_dead_leaves_an_order_that_is_listed_as_open_alive(label, why_held, is_told):
    labels = TwsLabels({"Submitted": (label, why_held), "PreSubmitted": (label, why_held)})

    async def held(bench, desk):
        order = await resting(bench, desk)
        await desk.resolved(order)
        assert order.state is OrderState.WORKING
        (shown,) = (await desk.gateway.snapshot()).open_orders
        assert (shown.client_order_id, shown.is_open, shown.status) == (order.client_order_id, True, label)
        assert bool(told(desk, "held_order")) is is_told
        await desk.gateway.query_order(order.client_order_id)
        assert len(told(desk, "held_order")) == is_told
        labels.shown = {}
        await cancelled(bench, desk, order)

    with_desk(held, rules=labels, timeout_seconds=2.0)


def test_a_status_that_no_page_lists_is_told_and_leaves_the_order_in_doubt_until_a_known_one_comes():
    labels = TwsLabels(dict.fromkeys(("Submitted", "PreSubmitted"), ("Suspended", "")))

    async def shown(bench, desk):
        order = await resting(bench, desk)
        await desk.until(lambda: order.state is OrderState.UNKNOWN)
        assert not await desk.gateway.query_order(order.client_order_id)
        assert order.state is OrderState.UNKNOWN
        assert len(told(desk, "unknown_status")) == 1
        assert (await desk.gateway.snapshot()).open_orders[0].is_open
        labels.shown = {}
        await desk.resolved(order)
        assert order.state is OrderState.WORKING
        await cancelled(bench, desk, order)

    with_desk(shown, rules=labels)


def test_a_held_order_that_goes_on_is_filled_and_counts():
    labels = TwsLabels({"Submitted": ("Inactive", "locate")})

    async def located(bench, desk):
        bench.strike("partial")
        order = await desk.submit(bench.share, 8, Side.SELL)
        await desk.until(lambda: order.filled == 4)
        await desk.resolved(order)
        assert (order.is_live, order.leaves) == (True, 4)
        bench.heal()
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert (order.state, order.filled) == (OrderState.CANCELLED, 4)
        desk.assert_adds_up()

    with_desk(located, rules=labels)


@pytest.mark.rows("code", [*REFUSALS, 202, 399, 404, 2109, 10349, 10999])
def test_no_error_ends_an_order_that_tws_works_on(code):
    labels = TwsLabels(error=code)

    async def named(bench, desk):
        order = await resting(bench, desk)
        await desk.resolved(order)
        assert order.state is OrderState.WORKING
        filled = await desk.submit(bench.share, 2)
        await desk.over(filled)
        assert (filled.state, filled.filled) == (OrderState.FILLED, 2)
        assert desk.of(OrderRejected) == []
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert order.state is OrderState.CANCELLED
        desk.assert_adds_up()

    with_desk(named, rules=labels)


def test_an_order_that_was_changed_by_hand_ends_with_what_it_filled():
    def smaller(fields):
        if fields[0] == OPEN_ORDER and fields[14] == "5":
            fields[14] = "2"
        if fields[0] == STATUS and fields[2] == "Submitted":
            fields[4] = "2"
        return [fields]

    async def changed(bench, desk):
        order = await resting(bench, desk)
        await desk.until(lambda: order.state is OrderState.WORKING)
        (shown,) = (await desk.gateway.snapshot()).open_orders
        assert (shown.client_order_id, shown.quantity) == (order.client_order_id, 2)
        await cancelled(bench, desk, order)

    with_desk(changed, rules=smaller)


@pytest.mark.rows("code", [135, 136, 161, 10147, 10148])
def test_a_refused_cancel_leaves_the_order_as_it_is(code):
    labels = TwsLabels(error=code)

    async def refused(bench, desk):
        order = await resting(bench, desk)
        await desk.until(lambda: bool(desk.of(CancelRejected)))
        await desk.resolved(order)
        assert order.state is OrderState.WORKING
        await cancelled(bench, desk, order)

    with_desk(refused, rules=labels)


def test_a_reused_id_refuses_the_order_and_the_next_ids_are_skipped():
    def from_one(fields):
        return [[*fields[:2], "1"] if fields[0] == "9" and len(fields) == 3 else fields]

    async def reused(bench, desk):
        first = await desk.submit(bench.share, 1)
        await desk.over(first)
        ids = [first.state]
        await desk.gateway.close()
        again = bench.gateway(client_id=1)
        await again.connect()
        desk.gateway = again
        listener = type(desk)(bench, again, desk.orders)
        while OrderState.REJECTED not in ids:
            order = await listener.submit(bench.share, 1)
            await listener.over(order)
            ids.append(order.state)
        assert order.reason.startswith(("103", "104"))
        last = await listener.submit(bench.share, 1)
        await listener.over(last)
        assert last.state is OrderState.FILLED
        await listener.close()

    with_desk(reused, rules=from_one)


@pytest.mark.rows("label", ["Inactive", "ApiCancelled", "Suspended"])
def test_the_list_of_completed_orders_ends_what_no_label_ends(label):
    labels = TwsLabels({"Cancelled": (label, "")})
    labels.lost = {(ERROR, "2")}

    async def completed(bench, desk):
        order = await resting(bench, desk)
        await desk.until(lambda: order.state is OrderState.WORKING)
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert order.state is OrderState.CANCELLED

    with_desk(completed, rules=labels)


def test_a_cancel_whose_status_never_comes_is_learnt_from_the_lists():
    labels = TwsLabels()

    async def silent(bench, desk):
        order = await resting(bench, desk)
        await desk.until(lambda: order.state is OrderState.WORKING)
        labels.lost = {STATUS}
        await cancelled(bench, desk, order)
        assert order.reason.startswith("202")

    with_desk(silent, rules=labels)


def test_an_order_that_is_over_by_an_error_and_lives_on_asks_for_reconciliation():
    labels = TwsLabels(error=201)

    async def lives(bench, desk):
        labels.lost = {STATUS, COMPLETED_ORDER}
        passed = labels.__call__

        def hidden(fields):
            found = passed(fields)
            return [each for each in found if each[0] != OPEN_ORDER]

        bench.line.server = hidden
        order = await resting(bench, desk)
        await desk.over(order)
        assert order.state is OrderState.REJECTED
        bench.line.server, labels.lost = labels, set()
        (shown,) = (await desk.gateway.snapshot()).open_orders
        assert (shown.client_order_id, shown.is_open) == (order.client_order_id, True)
        await desk.until(lambda: bool(told(desk, "order_lives_on")))
        (notice,) = [each for each in desk.notices if each.name == "order_lives_on"]
        assert notice.kind is NoticeKind.GAP

    with_desk(lives, rules=labels)


def test_an_end_waits_for_the_executions_that_it_counts():
    labels = TwsLabels()

    async def ended(bench, desk):
        bench.strike("partial")
        labels.lost = {(EXECUTION, LIVE)}
        order = await desk.submit(bench.share, 8)
        await desk.until(lambda: order.state is OrderState.WORKING)
        await traded_at_the_exchange(bench, desk)
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert (order.state, order.filled) == (OrderState.CANCELLED, 4)
        desk.assert_adds_up()

    with_desk(ended, rules=labels)


def test_the_legs_of_a_combo_are_in_doubt_while_the_executions_of_its_end_are_missing():
    labels = TwsLabels()

    async def ended(bench, desk):
        labels.lost = {EXECUTION}
        legs = await combo(bench, desk, sets=2)
        await desk.until(lambda: all(leg.state is OrderState.UNKNOWN for leg in legs))
        assert not await desk.gateway.query_order(legs[0].client_order_id)
        assert [leg.leaves for leg in legs] == [2, 2]
        labels.lost = set()
        await desk.gateway.query_order(legs[0].client_order_id)
        await desk.over(*legs)
        assert [(leg.state, leg.filled) for leg in legs] == [(OrderState.FILLED, 2)] * 2
        held = {bench.book[leg.submitted.instrument_id].symbol: leg.filled for leg in legs}
        assert bench.truth().positions == held

    with_desk(ended, rules=labels)


async def combo(bench, desk, sets):
    intents = [
        OrderIntent(number, Side.BUY, D(sets), Purpose.OPEN, "test", OrderType.MARKET, None)
        for number in (bench.call, bench.put)
    ]
    command = desk.orders.submit_combo(intents, D(500), 0)
    desk.gateway.send(command)
    return [desk.orders.order(leg.client_order_id) for leg in command.legs]


def test_the_execution_of_a_leg_goes_by_its_contracts_id_where_its_symbol_is_missing():
    def nameless(fields):
        if fields[0] == EXECUTION:
            fields[LOCAL_SYMBOL] = ""
        return [fields]

    async def traded(bench, desk):
        legs = await combo(bench, desk, sets=2)
        await desk.over(*legs)
        names = {leg.submitted.instrument_id: leg for leg in legs}
        view = await desk.gateway.snapshot(fills_since_ns=0)
        shown = {fill.symbol: fill.price for fill in view.fills}
        assert shown == {bench.book[number].symbol: leg.average_price for number, leg in names.items()}
        assert {line.symbol: line.quantity for line in view.positions} == dict.fromkeys(shown, D(2))

    with_desk(traded, rules=nameless)


def test_what_cannot_be_read_in_a_list_is_no_proof_of_absence():
    def torn(fields):
        return [fields[:9] if fields[0] == OPEN_ORDER else fields]

    async def listed(bench, desk):
        labels = bench.line.server
        order = await resting(bench, desk)
        await desk.until(lambda: order.state is OrderState.UNKNOWN)
        ends = asyncio.get_running_loop().time() + 3 * 0.4  # three times until absence would be believed
        while asyncio.get_running_loop().time() < ends:
            assert not await desk.gateway.query_order(order.client_order_id)
        assert order.state is OrderState.UNKNOWN
        with pytest.raises(RetryError):
            await desk.gateway.snapshot()
        assert any(each.name == "malformed_message" for each in desk.notices)
        bench.line.server = lambda fields: [fields]
        assert labels is not bench.line.server
        await desk.resolved(order)
        await cancelled(bench, desk, order)

    with_desk(listed, rules=torn, timeout_seconds=0.4)


@pytest.mark.rows(("field", "value"), [(3, "1.7976931348623157E308"), (4, "EUR")])
def test_a_commission_without_an_amount_in_the_instruments_currency_changes_no_fee(field, value):
    def unset(fields):
        if fields[0] == COMMISSION:
            fields[field] = value
        return [fields]

    async def paid(bench, desk):
        order = await desk.submit(bench.share, 10)
        await desk.over(order)
        for _ in range(2):
            await desk.gateway.snapshot(fills_since_ns=0)
        assert desk.of(PositionChanged) == []
        assert len(desk.of(OrderFilled)) == 1
        assert len(told(desk, "fee_in_other_currency")) == (value == "EUR")

    with_desk(paid, rules=unset, fees=NO_FEES)


def test_an_order_with_an_institutions_name_of_a_sale_is_shown_as_one():
    def renamed(fields):
        if fields[0] == OPEN_ORDER and fields[13] == "SELL":
            fields[13] = "SSHORT"
        return [fields]

    async def sold(bench, desk):
        order = await desk.submit(bench.share, 5, Side.SELL, limit=D("900.00"))
        await desk.until(lambda: order.state is OrderState.WORKING)
        (shown,) = (await desk.gateway.snapshot()).open_orders
        assert (shown.side, shown.quantity) == (Side.SELL, 5)

    with_desk(sold, rules=renamed)


def test_the_table_knows_every_status_of_the_vendor_and_ends_an_order_by_a_confirmed_cancel_alone():
    assert set(STATUSES) == {
        "ApiPending", "PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel", "ApiCancelled",
        "Cancelled", "Filled", "Inactive",
    }  # fmt: skip
    over = {label: rule.outcome for label, rule in STATUSES.items() if rule.outcome not in MAY_FILL}
    assert over == {"Cancelled": Outcome.CANCELLED, "Filled": Outcome.FILLED}
    assert rule_of("") is rule_of("Rejected") is UNLISTED
    assert set(COMPLETED.values()) == {Outcome.FILLED, Outcome.REJECTED}


def test_a_position_that_cannot_be_read_is_named_and_leaving_sees_the_others():
    torn = set()

    def tears(fields):
        if fields[0] == "61" and fields[4] in torn:
            fields = [*fields[:14], "much", *fields[15:]]
        return [fields]

    async def listed(bench, desk):
        share, call = (
            await desk.submit(bench.share, 2),
            await desk.submit(bench.call, 1, purpose=Purpose.OPEN),
        )
        await desk.over(share, call)
        bench.line.server = tears
        torn.add("SPY")
        view = await desk.gateway.shown_positions()
        assert view.unread
        assert all("SPY" in row for row in view.unread)
        with pytest.raises(RetryError):
            await desk.gateway.snapshot()
        torn.clear()
        view = await desk.gateway.shown_positions()
        assert (view.unread, len(view.positions)) == ((), 2)

    with_desk(listed, rules=tears)
