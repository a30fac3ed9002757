"""The desk against single views of its account: what is booked, asked for and said."""

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause, DecisionKind, Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import (
    FillBusted,
    OperatorEvent,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderStatusUnknown,
    PositionChanged,
)
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import HOUR_NS, MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import trade_date
from scalpdesk.instruments.futures import future_contract
from scalpdesk.live.core import LiveCore
from scalpdesk.live.differences import BookedFill, OpenOrder
from scalpdesk.live.reconciler import (
    AccountQueries,
    Reconciler,
    UnknownOrders,
    Viewed,
    desk_picture,
    missing_fills,
)
from scalpdesk.live.supervision import Supervisor
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.strategies.contract import Proposal
from scalpdesk.venues.contract import (
    AccountFacts,
    VenueActivity,
    VenueClock,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueView,
)
from scalpdesk_testing.kit.desk import CASH, HandDesk, Scripted, buy, orders
from scalpdesk_testing.kit.live import SHARE, KeptJournal
from scalpdesk_testing.virtual_time import VirtualLoop

D = Decimal
CALL = "SPY240419C00500000"
BUY = D("500.01")
"""Price that a market order pays for a share."""


def trader(quantity, side=Side.BUY):
    """Return a strategy that trades so many shares on its first quote, and then does nothing."""
    intent = OrderIntent(SHARE, side, D(quantity), Purpose.HEDGE, "buy", OrderType.MARKET, None)
    proposals = [(Proposal(DecisionKind.HEDGE, ("buy",), {}, (intent,)),)] if quantity else []

    def think(view, wake, event):
        return proposals.pop() if proposals and view.market.quotes[SHARE] is not None else ()

    return Scripted(think, [EveryQuote(SHARE)])


class Core(LiveCore):
    """The live core; the name of each event that it is fed stands for the commands that follow."""

    def feed(self, event):
        super().feed(event)
        return (type(event).__name__,)


class Bench:
    """A desk that trades so many shares at 10:00, and the reconciler that compares it with views."""

    def __init__(self, target=0, *fills, book=None, side=Side.BUY):
        self.hand = HandDesk(trader(target, side), book)
        self.hand.open()
        self.orders = orders(self.hand.go_to("10:00").market(500.0))
        for quantity in fills:
            self.hand.wait(1).fill(self.orders[0], quantity)
        journal, self.said = KeptJournal(), []
        self.events = journal.events
        self.engine = self.hand.engine
        self.desk = self.engine.desk
        self.reconciler = Reconciler(Core(self.engine, journal), lambda *words: self.said.append(words))

    def view(self, seconds=1, cash=None, held=None, recv_ns=0, **lists):
        """Return a view of so many seconds after the desk's time, in all else the desk's own."""
        now_ns = self.engine.now_ns + seconds * NANOS_PER_SECOND
        book = self.desk.instruments
        if held is None:
            held = {book[line.instrument_id].symbol: line.quantity for line in self.desk.positions.held()}
        positions = tuple(
            VenuePosition(symbol, book.find(symbol), D(quantity), D(1)) for symbol, quantity in held.items()
        )
        cash = self.desk.account.cash if cash is None else D(cash)
        facts = AccountFacts("a", "ACTIVE", "USD", cash, D(100_000), cash, cash, 3, True, True)
        lists = {"open_orders": (), "fills": (), "activities": ()} | lists
        return VenueView(
            now_ns, recv_ns or now_ns + 7, facts, VenueClock(now_ns, True, 0, 0), positions, **lists
        )

    def order_at_venue(self, *, is_open=True, filled=0, name=None):
        name = self.orders[0].client_order_id if name is None else name
        return VenueOrder(name, "v9", "SPY", 0, Side.BUY, D(10), D(filled), None, "new", is_open, None, 0)

    def judge(self, **view):
        return self.reconciler.judge(self.view(**view))


def activity(name="1", symbol="SPY", quantity=0, cash="-40", cause=ChangeCause.FEE):
    return VenueActivity(name, "FEE", cause, symbol, D(quantity), D(0), D(cash), 5)


def foreign(name="f1", order="hand", symbol="SPY", quantity=2, price=400, fee="0.50"):
    return VenueFill(name, order, symbol, Side.BUY, D(quantity), None, D(price), 5, D(fee))


# the two sides ----------------------------------------


def test_the_desks_side_is_its_cash_holdings_open_orders_and_latest_executions_oldest_first():
    bench = Bench(10, 4, 4)
    name = bench.orders[0].client_order_id
    bench.hand.accept(bench.orders[0])
    picture = desk_picture(bench.engine)
    assert picture.ts_ns == bench.hand.now_ns
    assert picture.cash == CASH - 8 * BUY
    assert picture.holdings == {0: 8}
    assert picture.open_orders == (OpenOrder(name, "v", "SPY", D(8), False),)
    assert missing_fills(bench.engine, (), 0) == [BookedFill(name, f"x{n}", 0, D(4), BUY) for n in (1, 2)]
    now_ns = bench.hand.now_ns
    bench.engine.handle(OrderStatusUnknown(name, now_ns, now_ns, "no answer"))
    (shown,) = desk_picture(bench.engine).open_orders
    assert shown.is_unknown


def test_the_cash_of_a_desk_with_futures_is_the_balance_that_a_futures_broker_shows():
    """Bought and adopted contracts take nothing from it: a broker shows no cost of futures as cash spent."""
    bench = Bench(10, 4, book=Instruments([future_contract("MES_202403")]))
    assert desk_picture(bench.engine).cash == CASH
    other = HandDesk(Scripted(), Instruments([future_contract("MES_202403")]))
    other.handle(bench.view(held={"MES_202403": 3}, cash="123456.78").as_event())
    assert desk_picture(other.engine).cash == D("123456.78")
    assert desk_picture(other.engine).holdings == {0: 3}


@pytest.mark.parametrize(("listed", "busted"), [("x1", "x2"), ("x2", "x1")])
def test_of_two_equal_executions_the_one_that_the_history_does_not_list_was_busted(listed, busted):
    bench = Bench(10, 4, 4)
    left = {"held": {"SPY": 4}, "cash": CASH - 4 * BUY, "open_orders": (bench.order_at_venue(filled=4),)}
    left["fills"] = (foreign(listed, "", quantity=4),)
    assert bench.judge(**left).look_again
    bench.judge(**left)
    (bust,) = bench.events
    assert (type(bust), bust.execution_id, bust.more_follow) == (FillBusted, busted, False)
    assert bench.desk.positions.quantity(0) == 4


def test_what_a_late_fee_changed_goes_with_the_execution_that_was_busted():
    bench = Bench(10, 4)
    fee = PositionChanged(
        0, bench.engine.now_ns, bench.engine.now_ns, ChangeCause.FEE, D(0), D(0), D("-1.20"), "fee/x1"
    )
    bench.engine.handle(fee)
    for _ in range(2):
        bench.judge(held={}, cash=CASH, open_orders=(bench.order_at_venue(),))
    assert [type(event) for event in bench.events] == [FillBusted]
    assert (bench.desk.account.cash, bench.reconciler.unexplained) == (CASH, ())


@pytest.mark.parametrize(("quantity", "is_instead"), [(4, True), (3, False), (6, False)])
def test_an_execution_stands_in_for_a_missing_one_of_its_own_size_alone(quantity, is_instead):
    """A bust beside an execution of another size is no correction: both are booked as what they are."""
    bench = Bench(10, 4)
    bench.hand.accept(bench.orders[0])
    (missing,) = missing_fills(bench.engine, (foreign("x9", "v", quantity=quantity),), 0)
    assert (missing.execution_id, missing.corrected is not None) == ("x1", is_instead)


@pytest.mark.parametrize(("symbol", "side"), [("QQQ", Side.BUY), ("SPY", Side.SELL)])
def test_an_execution_of_another_leg_of_the_order_stands_in_for_none(symbol, side):
    """The legs of a combo may have one order id at the venue, and are of one size as a rule."""
    bench = Bench(10, 4)
    bench.hand.accept(bench.orders[0])
    line = msgspec.structs.replace(foreign("x9", "v", symbol, quantity=4), side=side)
    (missing,) = missing_fills(bench.engine, (line,), 0)
    assert (missing.execution_id, missing.corrected) == ("x1", None)


def test_of_two_missing_executions_of_one_size_one_replacement_corrects_one():
    """The other one was busted: a bust beside a correction of one size."""
    bench = Bench(10, 4, 4)
    bench.hand.accept(bench.orders[0])
    found = missing_fills(bench.engine, (foreign("x9", "v", quantity=4),), 0)
    assert len(found) == 2
    assert [each.corrected is not None for each in found].count(True) == 1


def test_two_views_that_show_other_executions_busted_book_neither():
    bench = Bench(10, 4, 6)
    for quantity, listed in ((4, "x1"), (6, "x2"), (4, "x1")):
        shown = (bench.order_at_venue(filled=quantity),)
        fills = (foreign(listed, "", quantity=quantity),)
        bench.judge(held={"SPY": quantity}, cash=CASH - quantity * BUY, open_orders=shown, fills=fills)
    assert bench.events == []


def test_an_execution_of_before_the_history_begins_and_one_worked_out_from_a_sum_are_not_missed():
    bench = Bench(10, 4)
    order = bench.desk.orders.orders[bench.orders[0].client_order_id]
    sent_ns = order.created_ns
    assert len(missing_fills(bench.engine, (), sent_ns - MINUTE_NS)) == 1
    assert missing_fills(bench.engine, (), sent_ns - MINUTE_NS + 1) == []
    assert missing_fills(bench.engine, (foreign("x1"),), 0) == []
    now_ns = bench.engine.now_ns
    bench.engine.handle(OrderAccepted(order.client_order_id, now_ns, now_ns, "v9"))
    bench.engine.handle(OrderFilled(order.client_order_id, now_ns, now_ns, "v9/4-10", D(6), BUY, D(0)))
    assert [fill.execution_id for fill in missing_fills(bench.engine, (), 0)] == ["x1"]


@pytest.mark.rows("side", Side)
@pytest.mark.rows(("quantities", "corrected"), [((4, 6), 4), ((4, 6), 6), ((5, 5), 5)])
def test_what_the_history_lists_in_the_place_of_an_execution_is_its_correction(side, quantities, corrected):
    bench = Bench(10, *quantities, side=side)
    name = f"x{quantities.index(corrected) + 1}"
    kept = [(f"x{n}", quantity) for n, quantity in enumerate(quantities, 1) if f"x{n}" != name]
    lines = tuple(
        msgspec.structs.replace(foreign(each, "v", quantity=quantity, price=499, fee=0), side=side)
        for each, quantity in (("y", corrected), *kept)
    )
    bench.hand.accept(bench.orders[0])
    (fill,) = missing_fills(bench.engine, lines, 0)
    assert (fill.execution_id, fill.corrected.execution_id, fill.corrected.price) == (name, "y", 499)
    shown = {"open_orders": (bench.order_at_venue(filled=10),), "fills": lines}
    paid = bench.desk.positions.booking(f"{bench.orders[0].client_order_id}/{name}").price
    cash = bench.desk.account.cash + corrected * (paid - 499) * side.sign
    for _ in range(2):
        bench.judge(cash=cash, **shown)
    bust, again = bench.events
    assert (type(bust), bust.execution_id, bust.is_corrected) == (FillBusted, name, True)
    assert (type(again), again.execution_id, again.price) == (OrderFilled, "y", 499)
    assert (bench.desk.account.cash, bench.desk.positions.quantity(0)) == (cash, 10 * side.sign)
    assert bench.judge(cash=cash, **shown) == ([], (), False)


# what a view leads to ----------------------------------------


def test_an_equal_view_settles_and_asks_for_executions_of_the_minute_before_it():
    bench = Bench()
    reconciler = bench.reconciler
    assert (reconciler.is_settled, reconciler.last_ns, reconciler.fills_since_ns) == (False, 0, 0)
    view = bench.view()
    assert reconciler.judge(view) == ([], (), False)
    assert (reconciler.is_settled, reconciler.last_ns) == (True, view.ts_recv_ns)
    assert reconciler.fills_since_ns == view.ts_event_ns - MINUTE_NS
    bench.judge(seconds=-5)  # a view of before moves nothing back
    assert reconciler.fills_since_ns == view.ts_event_ns - MINUTE_NS
    assert (bench.events, bench.said, reconciler.adopted) == ([], [], [])


@pytest.mark.parametrize(("recv_seconds", "at_seconds"), [(3, 3), (-3, 0)])
def test_an_order_of_unknown_state_that_the_venue_shows_is_accepted(recv_seconds, at_seconds):
    bench = Bench(10)
    name, now_ns = bench.orders[0].client_order_id, bench.engine.now_ns
    bench.engine.handle(OrderStatusUnknown(name, now_ns, now_ns, "no answer"))
    view = bench.view(recv_ns=now_ns + recv_seconds * NANOS_PER_SECOND, open_orders=(bench.order_at_venue(),))
    assert bench.reconciler.judge(view) == (["OrderAccepted"], (), False)
    assert bench.events == [
        OrderAccepted(name, view.ts_event_ns, now_ns + at_seconds * NANOS_PER_SECOND, "v9")
    ]


@pytest.mark.parametrize("shown", [(), ("closed",)])
def test_an_order_that_the_venue_does_not_show_is_asked_for_before_anything_is_booked(shown):
    bench = Bench(10)
    closed = tuple(bench.order_at_venue(is_open=False) for _ in shown)
    wanted = (bench.orders[0].client_order_id,)
    for _ in range(3):
        verdict = bench.judge(cash=CASH - 10, open_orders=closed)
        assert verdict == ([], wanted, True)
    assert (bench.events, bench.reconciler.is_settled) == ([], False)


def test_an_order_that_has_filled_may_be_shown_as_open_by_a_view_that_is_older():
    bench = Bench(10, 10)
    assert bench.judge(open_orders=(bench.order_at_venue(filled=4),)) == ([], (), False)
    assert bench.reconciler.is_settled


def test_two_lines_of_one_instrument_are_one_holding():
    bench = Bench(10, 10)
    view = bench.view(held={"SPY": 4})
    other = msgspec.structs.replace(view.positions[0], quantity=D(6))
    view = msgspec.structs.replace(view, positions=(*view.positions, other))
    assert bench.reconciler.judge(view) == ([], (), False)


# differences with a cause ----------------------------------------


def test_a_trade_by_hand_is_booked_when_two_views_show_it_and_its_fee_with_it():
    bench = Bench()
    shown = {"held": {"SPY": 2}, "cash": CASH - 800 - D("0.50"), "fills": (foreign(),)}
    assert bench.judge(**shown) == ([], (), True)
    assert (bench.events, bench.said, bench.reconciler.is_settled) == ([], [], False)
    view = bench.view(**shown)
    assert bench.reconciler.judge(view) == (["PositionChanged"], (), True)  # a third view makes sure
    (booked,) = bench.events
    at_ns = view.ts_recv_ns
    assert booked == PositionChanged(
        0, 5, at_ns, ChangeCause.MANUAL_TRADE, D(2), D(400), D("-800.50"), "foreign-f1"
    )
    text = "manual_trade: +2 SPY at 400"
    assert bench.reconciler.adopted == [text]
    assert bench.said == [("warning", f"booked from the venue's account: {text}")]
    assert (bench.desk.account.cash, bench.desk.positions.quantity(0)) == (D("99199.50"), 2)
    assert bench.judge(fills=(foreign(),)) == ([], (), False)  # once is enough
    assert len(bench.events) == 1


def test_what_the_venue_liquidates_is_booked_as_that_and_its_order_is_no_strangers():
    bench = Bench()
    order = msgspec.structs.replace(bench.order_at_venue(name="theirs"), is_liquidation=True)
    fill = msgspec.structs.replace(foreign(fee=0), is_liquidation=True)
    shown = {"held": {"SPY": 2}, "cash": CASH - 800, "fills": (fill,), "open_orders": (order,)}
    assert [bench.judge(**shown).commands for _ in range(2)] == [[], ["PositionChanged"]]
    assert [each.cause for each in bench.events] == [ChangeCause.AUTO_LIQUIDATION]
    assert (bench.reconciler.unexplained, bench.desk.gate.mode) == ((), "ACTIVE")
    strangers = {"open_orders": (bench.order_at_venue(name="theirs"),)}
    for _ in range(2):
        bench.judge(**strangers)
    assert [each.what for each in bench.reconciler.unexplained] == ["order theirs"]


@pytest.mark.rows("change", ["cash", "position", "price", "nothing"])
def test_a_difference_counts_only_when_the_second_view_shows_the_same_and_the_desk_has_not_moved(change):
    bench = Bench(10, 10)
    before = bench.desk.account.cash
    shown = {"held": {"SPY": 12}, "cash": before - 800, "fills": (foreign(fee=0),)}
    assert bench.judge(**shown).look_again
    if change == "cash":
        bench.desk.account.cash -= D("0.001")
    elif change == "position":
        now_ns = bench.engine.now_ns
        bench.engine.handle(PositionChanged(1, now_ns, now_ns, ChangeCause.TRANSFER, D(1), D(0), D(0), "in"))
        shown["held"] = {"SPY": 12, CALL: 1}
    elif change == "price":
        shown |= {"cash": before - 802, "fills": (foreign(price=401, fee=0),)}
    verdict = bench.judge(**shown)
    booked = change == "nothing"
    assert len(bench.events) == booked
    assert verdict.look_again
    if not booked:
        bench.judge(**shown)
        assert len(bench.events) == 1


@pytest.mark.rows(
    ("asked_at", "is_booked"),
    [((10.0, 10.5), False), ((10.0, 12.0), True), ((10.0, 10.5, 12.9), True), ((10.0, 11.9, 11.9), False)],
)
def test_two_views_that_were_asked_for_before_the_first_was_judged_are_one_look(asked_at, is_booked):
    bench = Bench()
    shown = {"held": {"SPY": 2}, "cash": CASH - 800 - D("0.50"), "fills": (foreign(),)}
    for number, asked in enumerate(asked_at):
        verdict = bench.reconciler.judge(bench.view(**shown), asked_at=asked, now=12.0 + number)
        assert verdict.look_again
    assert bool(bench.events) is is_booked


def test_an_order_that_ends_while_two_views_are_under_way_is_no_strangers():
    # both were asked for before the order's end and came after it: the desk called its own legs another's
    bench = Bench(10)
    name, now_ns = bench.orders[0].client_order_id, bench.engine.now_ns
    bench.engine.handle(OrderAccepted(name, now_ns, now_ns, "v9"))
    bench.engine.handle(OrderCancelled(name, now_ns, now_ns, "expired"))
    shown = bench.view(open_orders=(bench.order_at_venue(),))
    for asked, now in ((1.0, 5.0), (4.0, 6.0)):
        assert bench.reconciler.judge(shown, asked_at=asked, now=now).look_again
    assert (bench.desk.gate.kept_mode, bench.events) == (Mode.ACTIVE, [])
    assert bench.reconciler.judge(bench.view(), asked_at=6.5, now=7.0) == ([], (), False)
    for asked, now in ((8.0, 9.0), (10.0, 11.0)):  # one that the venue works on after its end is a person's
        bench.reconciler.judge(shown, asked_at=asked, now=now)
    assert [(one.what, one.desk) for one in bench.reconciler.unexplained] == [(f"order {name}", "over")]
    assert bench.desk.gate.kept_mode is Mode.REDUCING


def test_of_several_events_that_book_one_view_all_but_the_last_say_that_more_follow():
    bench = Bench()
    lines = (activity("1", cash="-40"), activity("2", "", cash="-2"))
    for _ in range(2):
        bench.judge(cash=CASH - 42, activities=lines)
    assert [(one.reference, one.cash_change, one.more_follow) for one in bench.events] == [
        ("activity-1", -40, True),
        ("activity-2", -2, False),
    ]
    assert bench.desk.account.cash == CASH - 42
    assert bench.reconciler.adopted == ["fee: FEE SPY -40.00", "fee: FEE -2.00"]


def test_what_two_equal_views_showed_explains_nothing_later():
    bench = Bench()
    old = (activity("1", cash="-90"),)
    for _ in range(2):
        assert bench.judge(activities=old) == ([], (), False)
    for _ in range(2):
        bench.judge(cash=CASH - 90, activities=old)
    assert bench.events[:1] != []
    assert not any(isinstance(event, PositionChanged) for event in bench.events)
    assert [str(one) for one in bench.reconciler.unexplained] == ["cash: desk 100000.00, venue 99910.00"]


def test_what_one_equal_view_showed_may_be_younger_than_its_cash_and_is_booked_later():
    bench = Bench()
    young = (activity("1", cash="-90"),)
    assert bench.judge(activities=young) == ([], (), False)
    for _ in range(2):
        bench.judge(cash=CASH - 90, activities=young)
    assert [event.reference for event in bench.events] == ["activity-1"]


@pytest.mark.parametrize(
    "lists",
    [
        {"fills": (foreign(symbol="QQQ"),)},
        {"activities": (activity(symbol="QQQ", quantity=2, cash="-800"),)},
    ],
)
def test_history_of_a_symbol_outside_the_run_explains_nothing(lists):
    bench = Bench()
    for _ in range(2):
        bench.judge(cash=CASH - 800, **lists)
    assert [str(one) for one in bench.reconciler.unexplained] == ["cash: desk 100000.00, venue 99200.00"]


def test_an_execution_of_the_desks_own_order_is_no_foreign_one():
    bench = Bench(10, 10)
    bench.desk.orders.orders[bench.orders[0].client_order_id].venue_order_id = "v9"
    for _ in range(2):
        bench.judge(held={"SPY": 12}, cash=bench.desk.account.cash - 800, fills=(foreign(order="v9"),))
    assert "SPY: desk 10, venue 12" in [str(one) for one in bench.reconciler.unexplained]


def test_little_cash_without_a_line_of_the_history_is_an_alarm_and_more_of_it_is_another():
    """Five cents passed for interest."""
    bench = Bench()
    for cash, alarms in (("99999.95", 1), ("99999.95", 1), ("99999.94", 1), ("99999.90", 2)):
        for _ in range(2):
            bench.judge(cash=cash)
        assert [level for level, _ in bench.said] == ["alarm"] * alarms
    assert bench.desk.account.cash == CASH
    assert bench.desk.gate.mode == Mode.REDUCING
    assert [str(one) for one in bench.reconciler.unexplained] == ["cash: desk 100000.00, venue 99999.90"]


def test_what_is_booked_is_no_part_of_the_difference_that_is_told():
    bench = Bench()
    for _ in range(2):
        bench.judge(held={"SPY": 2}, cash=CASH - D("800.91"), fills=(foreign(),))
    assert [str(one) for one in bench.reconciler.unexplained] == ["cash: desk 99199.50, venue 99199.09"]
    ((_, text),) = [said for said in bench.said if said[0] == "alarm"]
    assert [line.split()[-2:] for line in text.split("\n")[2:]] == [["99199.50", "99199.09"], ["2", "2"]]


def test_a_dividend_beside_a_difference_that_the_operator_knows_is_booked_without_another_alarm():
    bench = Bench()
    for _ in range(2):
        bench.judge(cash=CASH - 7)
    paid = (activity("1", cash="12", cause=ChangeCause.DIVIDEND),)
    for _ in range(2):
        bench.judge(cash=CASH + 5, activities=paid)
    assert [event.reference for event in bench.events if isinstance(event, PositionChanged)] == ["activity-1"]
    assert bench.desk.account.cash == CASH + 12
    assert [level for level, _ in bench.said] == ["alarm", "warning"]
    assert bench.judge(cash=CASH + 12) == ([], (), False)
    assert bench.reconciler.unexplained == ()


def test_an_unexplained_difference_is_judged_by_a_day_of_executions():
    """An execution of an hour ago was taken back: the minute before the last view does not list it."""
    bench = Bench(10, 10)
    bench.reconciler.begin(bench.engine.now_ns - HOUR_NS)
    gone = {"held": {}, "cash": CASH, "open_orders": (bench.order_at_venue(filled=10),)}
    for _ in range(2):
        view = bench.view(seconds=3_600, **gone)
        since_ns = view.ts_event_ns - MINUTE_NS
        assert bench.reconciler.judge(view, since_ns) == ([], (), True)
        assert bench.reconciler.fills_since_ns == bench.reconciler.begins_ns
    assert (bench.events, bench.said) == ([], [])
    bench.reconciler.judge(bench.view(seconds=3_601, **gone), bench.reconciler.begins_ns)
    bench.reconciler.judge(bench.view(seconds=3_602, **gone), bench.reconciler.begins_ns)
    (bust,) = bench.events
    assert (type(bust), bust.execution_id) == (FillBusted, "x1")


@pytest.mark.parametrize("charged", [False, True], ids=["paper", "at the end of the day"])
def test_fees_that_the_desk_estimates_are_no_difference_whenever_the_venue_charges_them(charged):
    bench = Bench(10, 4, 4)
    line = bench.desk.positions.positions[0]
    line.fees = D("0.60")
    bench.desk.account.cash -= line.fees
    bought = CASH - 8 * BUY
    left = {"open_orders": (bench.order_at_venue(filled=8),), "estimates_fees": True}
    for _ in range(2):
        assert bench.judge(cash=bought, **left) == ([], (), False)
    if charged:
        fee = activity("fee", cash="-0.59")
        for _ in range(2):
            assert bench.judge(cash=bought - D("0.59"), activities=(fee,), **left) == ([], (), False)
    for cash in (bought + D("0.62"), bought - D("0.68")):
        assert bench.judge(cash=cash, **left).look_again
    taken_back = CASH - 4 * BUY - (D("0.59") if charged else 0)
    left |= {"open_orders": (bench.order_at_venue(filled=4),), "fills": (foreign("x1", "", quantity=4),)}
    for _ in range(2):
        bench.judge(held={"SPY": 4}, cash=taken_back, **left)
    assert [type(event) for event in bench.events] == [FillBusted]


def _charge(name, cash, day):
    return msgspec.structs.replace(activity(name, "", cash=cash), charges_day=day)


@pytest.mark.rows(
    ("booked", "charged"),
    [("9.42", ["-6.99"]), ("9.42", ["-2.40", "-4.00", "-0.05", "-0.27", "-0.27"]), ("0.40", ["-0.43"])],
)
def test_fees_of_a_day_that_the_desk_booked_otherwise_become_what_the_venues_lines_charge(booked, charged):
    """Booked too high, cash comes back: the gap alone would be fees not charged yet, for ever."""
    bench = Bench(10)
    day, stamps = trade_date(bench.hand.now_ns), (bench.hand.now_ns, bench.hand.now_ns)
    bench.hand.handle(OrderFilled(bench.orders[0].client_order_id, *stamps, "x1", D(4), BUY, D(booked)))
    bought = CASH - 4 * BUY
    left = {"open_orders": (bench.order_at_venue(filled=4),), "estimates_fees": True}
    assert bench.judge(cash=bought, **left) == ([], (), False)  # not charged yet
    lines = tuple(_charge(f"a{at}", cash, day) for at, cash in enumerate(charged))
    left |= {"cash": bought + sum(map(D, charged)), "activities": lines}
    assert bench.judge(**left).look_again
    bench.judge(**left)
    (back,) = bench.events
    assert (back.cause, back.reference) == (ChangeCause.FEE, f"fee/{day}")
    assert back.cash_change == D(booked) + sum(map(D, charged))
    assert bench.desk.account.cash == left["cash"]
    for _ in range(3):  # once: another view of the same lines brings nothing more
        assert bench.judge(**left) == ([], (), False)
    assert len(bench.events) == 1


def test_lines_of_a_day_that_the_cash_does_not_confirm_change_nothing():
    """A line of another day's trades, or of a run before, is no proof that this desk's fees are wrong."""
    bench = Bench(10, 4)
    bench.desk.positions.positions[0].fees = D("0.60")
    bench.desk.account.cash -= D("0.60")
    day = trade_date(bench.hand.now_ns)
    left = {"open_orders": (bench.order_at_venue(filled=4),), "estimates_fees": True}
    for lines in ((_charge("a", "-0.20", day),), (_charge("b", "-0.20", day - timedelta(days=1)),)):
        for _ in range(2):
            view = bench.judge(cash=CASH - 4 * BUY, activities=lines, **left)
            assert view == ([], (), False)
    assert bench.events == []


# differences without a cause ----------------------------------------


def test_an_unexplained_difference_is_an_alarm_with_both_sides_and_stops_new_risk_once():
    bench = Bench(10)
    shown = {
        "held": {"SPY": 5, "XYZ": 3, "NIL": 0},
        "open_orders": (bench.order_at_venue(),),
        "cash": CASH,
    }
    assert bench.judge(**shown) == ([], (), True)
    view = bench.view(**shown)
    verdict = bench.reconciler.judge(view)
    texts = "SPY: desk 0, venue 5; XYZ: desk not in this run's market, venue 3"
    assert "; ".join(str(one) for one in bench.reconciler.unexplained) == texts
    assert bench.events == [
        OperatorEvent(
            view.ts_recv_ns,
            view.ts_recv_ns,
            OperatorAction.REDUCE,
            f"unexplained difference: {texts}",
            "reconciliation",
            OperatorCause.RECONCILIATION,
        )
    ]
    ((level, text),) = bench.said
    said, *table = text.split("\n")
    assert (level, said) == ("alarm", f"the venue's account differs and nothing explains it: {texts}")
    assert [line.split()[-2:] for line in table[:3]] == [
        ["desk", "venue"],
        ["100000.00", "100000.00"],
        ["0", "5"],
    ]
    assert bench.desk.gate.mode == Mode.REDUCING
    assert verdict.commands == ["OperatorEvent"]
    assert (verdict.look_again, bench.reconciler.is_settled) == (False, True)
    # the same again, or less of it, is not said again; more of it is, and the mode has been set
    for _ in range(2):
        assert bench.judge(**shown).look_again
        bench.judge(**shown | {"held": {"SPY": 5}})
        bench.judge(**shown | {"held": {"SPY": 5}})
    assert (len(bench.said), len(bench.events)) == (1, 1)
    for _ in range(2):
        bench.judge(**shown | {"held": {"SPY": 5, "ABC": 1}})
    assert (len(bench.said), len(bench.events)) == (2, 1)
    assert bench.judge(**shown | {"held": {}}) == ([], (), False)
    assert bench.reconciler.unexplained == ()


def test_a_difference_that_went_away_between_two_views_begins_anew():
    bench = Bench(10)
    name = bench.orders[0].client_order_id
    differs = {"held": {"SPY": 5}, "cash": CASH, "open_orders": (bench.order_at_venue(),)}
    assert bench.judge(**differs).look_again
    assert bench.judge(held={"SPY": 5}, cash=CASH).query == (name,)
    assert bench.judge(**differs).look_again
    assert (bench.events, bench.said) == ([], [])
    bench.judge(**differs)
    assert len(bench.said) == 1


# the queries ----------------------------------------


class Queried:
    """A venue that takes a second to show the account, and fails as often as it is told."""

    def __init__(self, fails=0):
        self.loop, self.fails, self.asked, self.put, self.said = VirtualLoop(), fails, [], [], []
        self.order = []
        self.supervisor = Supervisor(lambda *words: self.said.append(words), self.said.append)
        reconciler = Reconciler(LiveCore(HandDesk(Scripted()).engine, KeptJournal()), lambda *_: None)
        reconciler.begin(77)
        self.queries = AccountQueries(
            gateway=self,
            reconciler=reconciler,
            supervisor=self.supervisor,
            put=self.receive,
        )

    def receive(self, item):
        self.order.append("view")
        self.put.append((self.loop.time(), item))

    async def snapshot(self, *, fills_since_ns):
        self.asked.append((round(self.loop.time(), 9), fills_since_ns))
        number = len(self.asked)
        await self.wait(1.0)
        if self.fails:
            self.fails -= 1
            raise RetryError("busy")
        self.pass_on(3)
        return f"view {number}"

    def pass_on(self, times):
        """Put something into the queue after so many turns of the loop."""
        if times:
            self.loop.call_soon(self.pass_on, times - 1)
        else:
            self.order.append("stream")

    async def wait(self, seconds):
        done = self.loop.create_future()
        self.loop.call_later(seconds, done.set_result, None)
        await done

    def run(self, *calls, seconds=20.0):
        """Make calls, each at its second, and let the time pass."""

        async def inside():
            for at, call in calls:
                self.loop.call_later(at, call)
            await self.wait(seconds)

        self.loop.run_until_complete(inside())
        self.loop.close()
        ticks = 4  # decimals: a timer that is due rings at the clock's next microsecond
        put = [(round(at, ticks), item.view) for at, item in self.put]
        return [round(at, ticks) for at, _ in self.asked], put


def test_a_query_under_way_is_enough_unless_something_happened_since_it_began():
    bench = Queried()
    ask, anew = bench.queries.ask, bench.queries.ask_anew
    asked, put = bench.run((0, ask), (0.5, ask), (5, ask), (5.5, anew), (5.7, anew), (10, anew))
    assert asked == [0, 5, 6, 10]
    assert bench.order == ["stream", "view"] * 4  # what the query brought to light comes before its answer
    assert put == [(1, "view 1"), (6, "view 2"), (7, "view 3"), (11, "view 4")]
    assert all(isinstance(item, Viewed) for _, item in bench.put)
    assert {since for _, since in bench.asked} == {77}
    assert not bench.queries.is_asking


def test_a_query_that_fails_is_asked_again_two_seconds_later_and_counted():
    bench = Queried(fails=2)
    asked, put = bench.run((0, lambda: bench.queries.ask(4.0)))
    assert asked == [4, 7, 10]
    assert put == [(11, "view 3")]
    assert bench.supervisor.counters == {"no_view": 2}
    assert bench.said == [("warning", "the venue shows no account: busy; asking again")]


def test_an_outage_is_said_after_pauses_that_double_and_asked_about_every_two_seconds():
    """A quarter of an hour was some 420 lines."""
    bench = Queried(fails=280)
    asked, put = bench.run((0, bench.queries.ask), seconds=1_000)
    assert len(asked) == 281
    assert put == [(841, "view 281")]
    assert bench.supervisor.counters == {"no_view": 280}
    texts = [text for _, text in bench.said]
    assert texts[:2] == [
        "the venue shows no account: busy; asking again",
        "the venue shows no account: busy; asking again (3 times more since)",
    ]
    unsaid = [int(text.partition("(")[2].partition(" ")[0] or 0) for text in texts]
    assert unsaid == [0, 3, 6, 13, 26, 53, 106]


def test_after_a_query_that_broke_the_next_one_is_asked():
    bench = Queried()
    bench.snapshot, shown = None, bench.snapshot

    def mend():
        bench.snapshot = shown
        bench.queries.ask()

    asked, put = bench.run((0, bench.queries.ask), (3, mend))
    assert (asked, put) == ([3], [(4, "view 1")])
    assert [level for level, _ in bench.said] == ["alarm"]


def test_the_first_view_is_waited_for_and_a_view_is_stamped_as_it_leaves_the_queue():
    bench = Queried()
    queries = bench.queries
    assert (queries.latest, queries.last_at, queries.is_asking) == (None, 0.0, False)

    async def inside():
        assert await queries.first(5) == "view 1"
        assert (queries.latest, queries.last_at) == (None, 1.0)
        await bench.wait(2.0)
        queries.take("later")
        assert (queries.latest, queries.last_at) == ("later", 3.0)

    bench.loop.run_until_complete(inside())
    bench.loop.close()
    assert bench.asked == [(0.0, 5)]


# the orders of unknown state ----------------------------------------


def doubted(venue_order_id="", state=OrderState.UNKNOWN):
    sent = SubmitOrder("a", 0, Side.BUY, D(1), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN)
    return Order(sent, 1, state, venue_order_id=venue_order_id)


def test_an_order_is_asked_about_ever_more_seldom_up_to_ten_pauses():
    unknown = UnknownOrders({"a": doubted()}, 1.0)
    asked = [now for now in range(80) if list(unknown.due(float(now)))]
    assert asked == [0, 1, 3, 7, 15, 25, 35, 45, 55, 65, 75]


def test_each_order_waits_for_itself_and_is_forgotten_with_its_end():
    live = {"a": doubted(), "b": doubted("v1"), "c": doubted(state=OrderState.WORKING)}
    unknown = UnknownOrders(live, 1.0)
    unknown.may_prove_absence_at = 5.0
    assert list(unknown.due(0.0)) == ["b"]
    assert list(unknown.due(5.0)) == ["a", "b"]
    unknown.add("c")
    assert list(unknown.due(5.5)) == ["c"]
    unknown.add("c")  # a second wish changes nothing
    assert list(unknown.due(5.6)) == []
    order = live.pop("a")
    unknown.settle("a")
    assert list(unknown.due(5.7)) == []
    live["a"] = order
    assert list(unknown.due(5.8)) == ["a"]
    live["b"].state = OrderState.WORKING
    for name in "abc":
        unknown.settle(name)
    assert list(unknown.due(99.0)) == ["a"]


def test_executions_of_the_latest_two_hundred_orders_are_looked_for():
    hand = HandDesk(Scripted())
    hand.quote(0, 499.0, 500.0)
    desk = hand.engine.desk
    for number in range(201):
        order = desk.orders.submit(buy(quantity=number + 1), MINUTE_NS)
        hand.accept(order)
        hand.fill(order)
        known = desk.orders.order(order.client_order_id)
        known.executions = {**known.executions, "y": (D(1), D(1))}  # it was never booked
    missing = missing_fills(hand.engine, (), 0)
    names = list(desk.orders.orders)
    assert [fill.client_order_id for fill in missing] == names[1:]
    assert {fill.execution_id for fill in missing} == {f"x{number}" for number in range(2, 202)}
