"""Numbers of executions beside their orders, quotes and fees: what fits, and what is asked for again."""

from datetime import date
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import FillBusted, OrderFilled, OrderStatusUnknown, PositionChanged, QuoteEvent
from scalpdesk.core.intents import MultiLegOrder, OrderType, Purpose, Side, Stop, SubmitOrder, TimeInForce
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.fees import ALPACA_FEES, IBKR_FEES
from scalpdesk.venues.contract import KnownOrder
from scalpdesk.venues.execution_bounds import misfit_of_fee, misfit_of_price
from scalpdesk.venues.tracker import OrderReport, OrderTracker, Outcome
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
SHARE, CALL, PUT = (InstrumentId(number) for number in range(3))
BOOK = straddle_book(500)
NOW = 1_520_283_278 * NANOS_PER_SECOND
BUY, SELL = Side.BUY, Side.SELL


def quote(number=SHARE, bid=499.99, ask=500.01, at_ns=NOW):
    return QuoteEvent(number, at_ns, at_ns, bid, ask, 100.0, 100.0)


def order(number=SHARE, side=BUY, quantity=10, limit=None, kind=None, name="sd-1"):
    kind = kind or (OrderType.MARKET if limit is None else OrderType.LIMIT)
    limit = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, limit, TimeInForce.DAY, Purpose.HEDGE)


def tracked(command=None, *, fees=ALPACA_FEES, quotes=None):
    """Return a tracker with one order, and what it tells of numbers that do not fit."""
    known = [quote()] if quotes is None else quotes
    tracker = OrderTracker(BOOK, fees, quotes={each.instrument_id: each for each in known})
    told = list[str]()
    tracker.on_refused = lambda _order, why, _is_unit: told.append(why)
    return tracker, tracker.track(command or order(), NOW), told


def execute(tracker, one, quantity, price, filled=None, name="e1", question=None, **more):
    filled = quantity if filled is None else filled
    return tracker.execution(one, name, D(quantity), D(price), D(filled), NOW, NOW, question=question, **more)


def kinds(events):
    return [type(each).__name__ for each in events]


@pytest.mark.rows(
    ("command", "quotes", "price"),
    [
        (order(limit=500), [quote()], "499.20"),  # a better price than the limit
        (order(limit="512.00"), [quote()], "505.70"),  # a marketable limit while the market runs away
        (order(limit=500), [], "450"),  # no quote is known
        (order(side=SELL, limit="0.01", number=CALL), [quote(CALL, 0.0, 0.02)], "0.01"),  # worthless
        (order(side=SELL, number=CALL), [quote(CALL, 0.0, 0.01)], "0"),  # sold for nothing at the expiry
        (order(side=SELL, limit="0.05", number=CALL), [quote(CALL, 8.0, 8.2)], "8.00"),  # sold at any price
        (order(number=CALL), [quote(CALL, 4.0, 4.2)], "6.10"),  # an option jumps
        (order(kind=Stop(D(507))), [quote()], "509.10"),  # behind its trigger
        (order(), [quote(bid=500.0, ask=500.0, at_ns=NOW - 3_600 * NANOS_PER_SECOND)], "560"),  # an auction
        (order(limit=500), [quote()], "500.01"),  # a tick beyond the limit: an average that was rounded
    ],
)
def test_a_price_that_can_be_fits(command, quotes, price):
    assert misfit_of_price(BOOK[command.instrument_id], command, D(price), NOW, quotes) is None


@pytest.mark.rows(
    ("command", "quotes", "price", "expected"),
    [
        (order(limit=500), [], "500.02", "500"),
        (order(side=SELL, limit=500), [], "499.98", "500"),
        (order(), [quote()], "50000", "510"),  # cents for dollars
        (order(), [quote()], "5.00", "489"),
        (order(side=SELL, limit="400.00"), [quote()], "40000", "510"),  # a profit of a hundred times
        (order(number=CALL), [quote(CALL, 4.0, 4.2)], "500", "6.3"),  # its strike
        (order(number=CALL, side=SELL), [quote(CALL, 4.0, 4.2)], "0", "2.0"),
        (order(), [quote()], "0", "above 0"),
        (order(number=CALL), [quote(CALL, 0.01, 0.02)], "-0.01", "0 or more"),
        (order(), [], "NaN", "above 0"),
    ],
)
def test_a_price_that_cannot_be_names_what_was_expected(command, quotes, price, expected):
    found = misfit_of_price(BOOK[command.instrument_id], command, D(price), NOW, quotes)
    assert found.field == "price"
    assert expected in found.expected


def test_options_in_coin_are_held_to_their_quotes_in_coin():
    coin = Instruments([perpetual("BTC"), deribit_option("BTC-14MAR25-90000-C")])
    command, bid_ask = order(number=CALL, quantity=1), quote(CALL, 0.0410, 0.0425)
    fits = [misfit_of_price(coin[CALL], command, D(price), NOW, [bid_ask]) for price in ("0.055", "0.0005")]
    assert (fits[0], fits[1] is None) == (None, False)
    assert misfit_of_price(coin[CALL], command, D("4.1"), NOW, [bid_ask]).field == "price"


@given(
    st.sampled_from([BUY, SELL]),
    st.decimals("0.01", "900", places=2),
    st.decimals("0.01", "900", places=2),
    st.sampled_from([SHARE, CALL]),
)
def test_no_execution_beyond_its_limit_counts_unasked_whatever_the_quotes(side, limit, price, number):
    command = order(number, side, limit=limit)
    tracker, one, told = tracked(command, quotes=())
    events = execute(tracker, one, 4, price)
    is_beyond = (price - limit) * side.sign > BOOK[number].tick_rule.tick_at(limit)
    assert bool(told) == is_beyond
    assert ("OrderFilled" in kinds(events)) != is_beyond


def test_a_refused_execution_leaves_its_order_in_doubt_and_names_it():
    tracker, one, told = tracked()
    (doubt,) = execute(tracker, one, 10, 50_000)
    assert type(doubt) is OrderStatusUnknown
    (why,) = told
    assert all(word in why for word in ("e1", "sd-1", "SPY", "price 50000", "expected"))
    assert execute(tracker, one, 10, 50_000) == []  # the same message comes twice, and proves nothing
    assert (len(told), one.covered, one.unknown) == (1, 0, True)


def test_the_true_number_of_an_answer_is_booked_and_ends_the_doubt():
    tracker, one, _ = tracked()
    execute(tracker, one, 10, 50_000)
    events = execute(tracker, one, 10, 500, question=tracker.ask())
    assert kinds(events) == ["OrderAccepted", "OrderFilled"]
    assert (events[1].price, one.refused, one.ended) == (500, {}, True)


def test_a_number_that_a_later_answer_states_again_is_booked_as_it_is():
    tracker, one, _ = tracked()
    before = tracker.ask()
    execute(tracker, one, 10, 50_000)
    assert execute(tracker, one, 10, 50_000, question=before) == []  # it was asked before the doubt
    events = execute(tracker, one, 10, 50_000, question=tracker.ask())
    assert [each.price for each in events if type(each) is OrderFilled] == [50_000]


@pytest.mark.rows(("quantity", "filled"), [(11, 11), (2_000_000, 10), (0, 0), (-3, 3), ("NaN", 1), (5, 4)])
def test_a_quantity_that_is_not_open_never_counts_however_often_it_is_said(quantity, filled):
    tracker, one, told = tracked()
    for _ in range(3):
        execute(tracker, one, quantity, 500, filled, question=tracker.ask())
    assert (one.covered, len(told), "quantity" in told[0]) == (0, 1, True)
    assert kinds(execute(tracker, one, 10, 500)) == ["OrderAccepted", "OrderFilled"]


def test_an_inferred_price_is_held_to_the_order_too():
    tracker, one, told = tracked(order(limit=500))
    said = OrderReport("sd-1", "v1", NOW, Outcome.FILLED, D(10), D(50_000))
    assert kinds(tracker.apply(one, said, NOW, infer=True, question=tracker.ask())) == ["OrderStatusUnknown"]
    assert (one.covered, one.inferred, len(told)) == (0, 0, 1)
    again = tracker.apply(one, said, NOW, infer=True, question=tracker.ask())
    assert [each.price for each in again if type(each) is OrderFilled] == [50_000]
    assert one.inferred == 10


def test_an_execution_that_two_answers_state_otherwise_is_corrected():
    tracker, one, told = tracked()
    execute(tracker, one, 10, "501.00")  # within the band, and wrong
    assert execute(tracker, one, 10, "500.00", question=tracker.ask()) == []
    assert "501.00" in told[0]
    busted, filled = execute(tracker, one, 10, "500.00", question=tracker.ask())
    assert (type(busted), busted.execution_id, busted.is_corrected) == (FillBusted, "e1", True)
    assert (filled.quantity, filled.price, one.covered, one.value) == (10, 500, 10, 5_000)
    assert execute(tracker, one, 10, "500.00", question=tracker.ask()) == []


def test_an_answer_that_is_wrong_once_corrects_nothing():
    tracker, one, _ = tracked()
    execute(tracker, one, 10, "500.00")
    assert execute(tracker, one, 10, "501.00", question=tracker.ask()) == []
    assert execute(tracker, one, 10, "500.00", question=tracker.ask()) == []
    assert execute(tracker, one, 10, "501.00", question=tracker.ask()) == []
    assert one.value == 5_000


def test_a_correction_to_a_price_that_does_not_fit_takes_nothing_back():
    tracker, one, told = tracked()
    execute(tracker, one, 10, 500)
    terms = "e1", "e2", D(10), D(50_000), "corrected", NOW, NOW
    assert tracker.correct(one, *terms) == []
    assert (one.covered, one.value, len(told)) == (10, 5_000, 1)
    events = tracker.correct(one, *terms, question=tracker.ask())
    assert kinds(events) == ["FillBusted", "OrderFilled"]
    assert (one.covered, one.value) == (10, 500_000)


def test_a_time_from_before_the_order_is_taken_as_of_now():
    tracker, one, _ = tracked()
    odd = list[tuple[str, str]]()
    tracker.on_odd = lambda name, detail: odd.append((name, detail))
    day_ns = 86_400 * NANOS_PER_SECOND
    events = tracker.execution(one, "e1", D(10), D(500), D(10), NOW - day_ns, NOW + 5)
    assert [each.ts_event_ns for each in events if type(each) is OrderFilled] == [NOW + 5]
    assert odd[0][0] == "implausible_time"


def test_a_restarted_desk_holds_what_it_missed_to_the_quotes_of_its_journal():
    tracker = OrderTracker(BOOK)
    tracker.restore([KnownOrder(order(), quote=quote(), sent_ns=NOW)])
    one = tracker.orders["sd-1"]
    assert kinds(execute(tracker, one, 10, 50_000)) == ["OrderStatusUnknown"]
    assert "OrderFilled" in kinds(execute(tracker, one, 10, 501))


# fees -------------------------------------------------------------------------------------------------


def fee_fits(number, quantity, price, fee, schedule=IBKR_FEES):
    item, on = BOOK[number], schedule.on(date(2018, 3, 5))
    fees = [on.fee(item, BUY, D(quantity), D(price), is_maker=rests) for rests in (False, True)]
    found = misfit_of_fee(item, D(quantity), D(price), D(fee), scheduled=fees[0], resting=fees[1])
    return found is None


@pytest.mark.rows(
    ("number", "quantity", "price", "fee", "fits"),
    [
        (CALL, 10, "4.20", "6.95", True),
        (CALL, 10, "4.20", "695", False),
        (CALL, 10, "4.20", "-6.95", False),
        (CALL, 1, "0.01", "1.00", True),  # an order's minimum beside a worthless option
        (SHARE, 500, "500", "2.50", True),
        (SHARE, 500, "500", "250", False),
        (SHARE, 500, "500", "-1.00", True),  # a rebate
        (SHARE, 8, "500", "2147483647", False),
        (SHARE, 8, "500", "-2147483647", False),
        (SHARE, 8, "500", "NaN", False),
    ],
)
def test_a_fee_is_held_to_its_schedule(number, quantity, price, fee, fits):
    assert fee_fits(number, quantity, price, fee) == fits


def test_an_execution_with_an_odd_fee_counts_at_once_with_the_schedules():
    tracker, one, told = tracked(order(CALL, quantity=2), quotes=[quote(CALL, 4.0, 4.2)])
    events = execute(tracker, one, 2, "4.20", fee=D(2_147_483_647))
    (fill,) = [each for each in events if type(each) is OrderFilled]
    assert 0 < fill.fee < 1
    assert "fee" in told[0]
    (late,) = execute(tracker, one, 2, "4.20", fee=D("0.25"), question=tracker.ask())
    assert (type(late), late.cash_change) == (PositionChanged, fill.fee - D("0.25"))


def test_a_late_fee_that_the_venue_states_again_is_booked():
    tracker, one, _ = tracked(order(CALL, quantity=2), quotes=[quote(CALL, 4.0, 4.2)])
    (*_, fill) = execute(tracker, one, 2, "4.20")
    assert tracker.fee_reported(one, "e1", D(19), NOW, NOW) == []
    assert tracker.is_fee_refused(one, "e1")
    (late,) = tracker.fee_reported(one, "e1", D(19), NOW, NOW, question=tracker.ask())
    assert late.cash_change == fill.fee - 19
    assert not tracker.is_fee_refused(one, "e1")


# combos -----------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("sides", "net", "prices", "fits"),
    [
        ((BUY, BUY), "8.40", ("4.20", "4.20"), True),
        ((BUY, BUY), "8.40", ("4.20", "4.60"), False),
        ((SELL, SELL), "-8.00", ("4.00", "4.05"), True),
        ((SELL, SELL), "-8.00", ("4.00", "3.20"), False),
        ((SELL, BUY), "-0.10", ("4.00", "3.85"), True),  # a set that brings money
        ((SELL, BUY), "0.00", ("4.00", "4.40"), False),
        ((BUY, BUY), None, ("5.90", "5.90"), True),
        ((BUY, BUY), None, ("420", "4.20"), False),
    ],
)
def test_the_legs_of_a_combo_are_held_to_its_limit_and_their_quotes(sides, net, prices, fits):
    quotes = {number: quote(number, 4.0, 4.2) for number in (CALL, PUT)}
    tracker = OrderTracker(BOOK, quotes=quotes)
    legs = [
        order(number, side, 2, name=f"leg-{number}") for number, side in zip((CALL, PUT), sides, strict=True)
    ]
    limit = None if net is None else D(net)
    both = tracker.track_combo(MultiLegOrder("whole", tuple(legs), limit), NOW)
    for leg, price in zip(both, prices, strict=True):
        execute(tracker, leg, 2, price, name=f"e-{leg.submitted.client_order_id}")
    assert (sum(leg.covered for leg in both) == 4) == fits


def test_a_part_of_one_leg_is_not_held_to_the_limit_of_the_whole():
    tracker = OrderTracker(BOOK, quotes={number: quote(number, 4.0, 4.2) for number in (CALL, PUT)})
    legs = tuple(order(number, quantity=2, name=f"leg-{number}") for number in (CALL, PUT))
    call, put = tracker.track_combo(MultiLegOrder("whole", legs, D("8.40")), NOW)
    assert "OrderFilled" in kinds(execute(tracker, call, 1, "4.60"))
    assert "OrderFilled" in kinds(execute(tracker, put, 1, "3.80", name="e2"))


def test_a_trade_beyond_what_its_message_counts_is_refused():
    tracker, one, told = tracked()
    more = {"counted": D(4)}
    assert kinds(tracker.next_execution(one, "t1", D(8), D(500), NOW, NOW, **more)) == ["OrderStatusUnknown"]
    assert "at most 4" in told[0]
    events = tracker.next_execution(one, "t1", D(4), D(500), NOW, NOW, question=tracker.ask())
    assert kinds(events) == ["OrderAccepted", "OrderFilled"]


def test_a_share_without_a_tick_of_its_own_is_held_as_any_other():
    book = Instruments([Equity("SPY")])
    tracker = OrderTracker(book, quotes={SHARE: quote()})
    one = tracker.track(msgspec.structs.replace(order(), quantity=D("0.4132")), NOW)
    assert "OrderFilled" in kinds(execute(tracker, one, "0.4132", 500))
