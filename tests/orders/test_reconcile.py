"""Differences between desk and venue: named, or shown to a person; never booked twice."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.desk import Scripted, build_engine
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import (
    DividendEvent,
    FillBusted,
    OrderAccepted,
    OrderFilled,
    OrderStatusUnknown,
    PositionChanged,
)
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import SATOSHI, InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments, us_option
from scalpdesk.instruments.sessions import expiry_instant_ns, last_trading_ns, session_on, to_new_york
from scalpdesk.live.reconciliation import desk_picture
from scalpdesk.orders import reconcile as reconcile_
from scalpdesk.orders.reconcile import (
    AccountChange,
    AccountPicture,
    BookedFill,
    Explained,
    ForeignFill,
    OpenOrder,
    Reconciliation,
    Tolerance,
    busted,
    cash_bookings,
    cash_cause,
    cash_only_bookings,
    ended,
    matching_bookings,
    of_change,
    of_fill,
    reconcile,
    side_by_side,
)

D = Decimal
EQUAL = Reconciliation()
BOOK = Instruments(
    [
        Equity("SPY"),
        us_option("SPY240304C00500000"),
        us_option("SPY240304P00500000"),
        us_option("SPXW240304C05000000"),
        us_option("SPY240419C00500000"),
    ]
)
SHARE, CALL, PUT, INDEX_CALL, LATER = map(InstrumentId, range(5))
EXPIRY_NS = expiry_instant_ns(BOOK[CALL])
NOON_NS = session_on(date(2024, 3, 4)).open_ns + 9_000_000_000_000
AFTER_NS = EXPIRY_NS + 3_600_000_000_000


def picture(cash="1000", holdings=None, *orders, ts_ns=NOON_NS):
    return AccountPicture(ts_ns, D(cash), {k: D(v) for k, v in (holdings or {}).items()}, tuple(orders))


def after(ours, found: Reconciliation):
    """Return the desk's side once everything explained is booked."""
    holdings, cash = dict(ours.holdings), ours.cash
    for one in found.explained:
        event = one.event
        holdings[event.instrument_id] = holdings.get(event.instrument_id, D(0)) + event.quantity_change
        cash += event.cash_change
    return AccountPicture(ours.ts_ns, cash, {k: v for k, v in holdings.items() if v}, ours.open_orders)


def booked(found):
    return frozenset(one.event.reference for one in found.explained)


def test_equal_sides_are_equal():
    one = picture("5", {SHARE: 3}, OpenOrder("a", "v", "SPY", D(0)))
    assert reconcile(one, one, BOOK) == EQUAL


@pytest.mark.parametrize(
    ("held", "shares", "cash", "causes"),
    [
        ({CALL: 2}, 200, -100_000, ["exercise", "delivery"]),
        ({CALL: -1}, -100, 50_000, ["assignment", "delivery"]),
        ({PUT: 1}, -100, 50_000, ["exercise", "delivery"]),
        ({PUT: -3}, 300, -150_000, ["assignment", "delivery"]),
        ({CALL: 2}, 0, 0, ["expired_worthless"]),
        ({CALL: -2, PUT: 1}, 0, 0, ["expired_worthless", "expired_worthless"]),
    ],
)
def test_expired_options_are_exercised_assigned_or_worthless(held, shares, cash, causes):
    ours = picture("1000", held)
    theirs = picture(str(1000 + cash), {SHARE: shares} if shares else {}, ts_ns=AFTER_NS)
    found = reconcile(ours, theirs, BOOK)
    assert [one.cause for one in found.explained] == causes
    assert found.unexplained == ()
    assert reconcile(after(ours, found), theirs, BOOK, booked=booked(found)) == EQUAL


def test_short_option_may_be_assigned_before_it_expires_and_a_long_one_may_not():
    theirs = picture(str(1000 + 50_000), {SHARE: -100})
    assert [one.cause for one in reconcile(picture("1000", {LATER: -1}), theirs, BOOK).explained] == [
        "assignment",
        "delivery",
    ]
    theirs = picture(str(1000 - 50_000), {SHARE: 100})
    found = reconcile(picture("1000", {LATER: 1}), theirs, BOOK)
    assert {one.what for one in found.unexplained} == {"SPY", "SPY240419C00500000", "cash"}


def test_cash_settled_option_brings_its_payoff():
    ours = picture("1000", {INDEX_CALL: 2})
    theirs = picture("3500", {}, ts_ns=AFTER_NS)
    (one,) = reconcile(ours, theirs, BOOK).explained
    assert (one.cause, one.event.price, one.event.cash_change) == ("cash_settlement", D("12.5"), D(2500))


def foreign(quantity=5, price="500", side=Side.BUY, number=SHARE, ts_ns=NOON_NS, name="x1"):
    return ForeignFill(name, number, side, D(quantity), D(price), ts_ns)


def test_trade_by_hand_is_adopted_once():
    ours, theirs = picture("10000", {SHARE: 3}), picture("7500", {SHARE: 8})
    found = reconcile(ours, theirs, BOOK, foreign_fills=[foreign()])
    assert [one.cause for one in found.explained] == ["manual_trade"]
    mine = after(ours, found)
    again = reconcile(mine, theirs, BOOK, foreign_fills=[foreign()], booked=booked(found))
    assert again == EQUAL


def test_foreign_fill_that_the_position_does_not_show_explains_nothing():
    one = picture("10000", {SHARE: 3})
    assert reconcile(one, one, BOOK, foreign_fills=[foreign()]) == EQUAL
    found = reconcile(one, picture("7500", {SHARE: 3}), BOOK, foreign_fills=[foreign()])  # cash alone
    assert (found.explained, [difference.what for difference in found.unexplained]) == ((), ["cash"])


def test_sale_by_the_venue_before_expiry_is_its_liquidation():
    ours, theirs = picture("1000", {CALL: 1}), picture("1250", {})
    sold = foreign(1, "2.50", Side.SELL, CALL, EXPIRY_NS - 600_000_000_000)
    (one,) = reconcile(ours, theirs, BOOK, foreign_fills=[sold]).explained
    assert one.cause == "auto_liquidation"


@pytest.mark.parametrize(
    "lines",
    [["9.00", "-0.16"], ["-0.16", "9.00"], ["-0.10", "9.00", "-0.16"], ["6.00", "-0.10", "3.00", "-0.16"]],
)
def test_payments_are_booked_without_the_fees_that_the_desk_has_charged_already(lines):
    changes = [
        change("fee" if cash[0] == "-" else "dividend", cash=cash, name=f"a{at}", ts_ns=NOON_NS - 9 + at)
        for at, cash in enumerate(lines)
    ]
    within = Tolerance(equity=D(100_000), uncharged=D("0.28"))
    found = reconcile(picture("1000.00"), picture("1009.00"), BOOK, changes=changes, tolerance=within)
    assert {each.cause for each in found.explained} == {"dividend"}
    assert sum(each.event.cash_change for each in found.explained) == D("9.00")
    assert found.unexplained == ()


def test_dividend_has_its_name_and_small_change_is_interest():
    dividend = DividendEvent(SHARE, NOON_NS - 10, NOON_NS - 10, NOON_NS - 5, D("1.50"))
    ours, theirs = picture("1000", {SHARE: 10}), picture("1015", {SHARE: 10})
    (one,) = reconcile(ours, theirs, BOOK, dividends=[dividend]).explained
    assert one.cause == "dividend"
    within = Tolerance(equity=D(100_000))
    (one,) = reconcile(ours, theirs, BOOK, tolerance=within).explained
    assert one.cause == "interest"
    found = reconcile(ours, picture("1100", {SHARE: 10}), BOOK, tolerance=within)
    assert [str(one) for one in found.unexplained] == ["cash: desk 1000.00, venue 1100.00"]


def test_orders_are_missing_shown_or_foreign():
    lost = OpenOrder("lost", "", "SPY", D(0))
    doubted = OpenOrder("doubted", "", "SPY", D(0), is_unknown=True)
    shown = OpenOrder("doubted", "v2", "SPY", D(0))
    stranger = OpenOrder("", "v9", "SPY", D(0))
    found = reconcile(picture("1", {}, lost, doubted), picture("1", {}, shown, stranger), BOOK)
    assert found.missing_orders == ("lost",)
    assert found.shown_orders == (shown,)
    assert [one.what for one in found.unexplained] == ["order v9"]


def test_both_views_stand_side_by_side():
    table = side_by_side(
        picture("1000", {SHARE: 3}, OpenOrder("a", "v", "SPY", D(1))),
        picture("900", {CALL: 1}),
        BOOK,
        Tolerance(),
    )
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["desk", "venue"]
    assert rows[1] == ["cash", "1000.00", "900.00"]
    assert ["SPY", "3", "0"] in rows
    assert ["SPY240304C00500000", "0", "1"] in rows
    assert rows[-1] == ["order", "a", "open,", "filled", "1", "none"]


QUANTITIES = st.integers(-3, 3)


@settings(deadline=None)
@given(
    calls=QUANTITIES,
    puts=QUANTITIES,
    shares=st.integers(-300, 300),
    is_itm=st.booleans(),
    trades=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(Side)), max_size=3),
    tail=st.integers(-5, 5),
)
def test_what_is_explained_leaves_nothing_over_and_is_never_explained_again(
    calls, puts, shares, is_itm, trades, tail
):
    """Whatever befell the account overnight: booking what was found makes a second look find no more."""
    ours = picture("100000", {k: v for k, v in ((CALL, calls), (PUT, puts), (SHARE, shares)) if v})
    cash, held = D(100_000), D(shares)
    if is_itm:
        held += calls * 100
        cash -= calls * 100 * 500
    fills = []
    for index, (quantity, side) in enumerate(trades):
        fills.append(foreign(quantity, "500", side, name=f"x{index}"))
        held += quantity * side.sign
        cash -= quantity * side.sign * 500
    theirs = picture(str(cash + tail), {SHARE: held} if held else {}, ts_ns=AFTER_NS)
    found = reconcile(ours, theirs, BOOK, foreign_fills=fills, tolerance=Tolerance(equity=D(100_000)))
    mine = after(ours, found)
    again = reconcile(
        mine, theirs, BOOK, foreign_fills=fills, booked=booked(found), tolerance=Tolerance(equity=D(100_000))
    )
    assert again.explained == ()
    assert {one.what for one in again.unexplained} == {one.what for one in found.unexplained}


def change(cause, quantity=0, number=SHARE, *, price="0", cash="0", name="a1", ts_ns=NOON_NS):
    return AccountChange(name, ChangeCause(cause), number, D(quantity), D(price), D(cash), ts_ns, "as told")


def test_an_early_exercise_that_the_history_tells_is_booked_as_told():
    ours, theirs = picture("100000", {LATER: 2}), picture("0", {SHARE: 200})
    told = [
        change("exercise", -2, LATER),
        change("delivery", 200, SHARE, price="500", cash="-100000", name="a2"),
    ]
    found = reconcile(ours, theirs, BOOK, changes=told)
    assert [one.event.reference for one in found.explained] == ["a1", "a2"]
    assert found.unexplained == ()
    mine = after(ours, found)
    assert reconcile(mine, theirs, BOOK, changes=told, booked=booked(found)) == EQUAL
    assert reconcile(mine, theirs, BOOK, changes=told) == EQUAL


def test_what_the_history_tells_and_the_account_does_not_show_is_not_booked():
    one = picture("1000", {SHARE: 3})
    assert (
        reconcile(one, one, BOOK, changes=[change("dividend", cash="12"), change("delivery", 5)])
        == Reconciliation()
    )


def test_a_trade_by_hand_and_a_delivery_of_the_same_shares_are_told_apart():
    ours, theirs = picture("0", {SHARE: 0}), picture("-52000", {SHARE: 200})
    told = [change("delivery", 300, price="340", cash="-102000", ts_ns=NOON_NS + 1)]
    hand = [foreign(100, "500", Side.SELL)]
    found = reconcile(ours, theirs, BOOK, foreign_fills=hand, changes=told)
    assert [one.cause for one in found.explained] == ["manual_trade", "delivery"]
    assert found.unexplained == ()


@pytest.mark.parametrize(
    ("paid", "causes", "unexplained"),
    [
        ("-30", ["fee"], 0),
        ("970", ["transfer", "fee"], 0),
        ("970.30", ["transfer", "fee", "interest"], 0),
        ("975.00", ["transfer", "fee", "interest"], 0),  # 5 of an equity of 10,000 may be interest
        ("975.01", [], 1),
        ("500", [], 1),
    ],
)
def test_payments_are_taken_from_the_latest_back_and_only_when_they_fit(paid, causes, unexplained):
    told = [
        change("dividend", cash="77", name="old"),
        change("transfer", cash="1000", name="in", number=None),
        change("fee", cash="-30", name="f", number=None),
    ]
    within = Tolerance(equity=D(10_000))
    theirs = picture(str(1000 + D(paid)), {SHARE: 3})
    found = reconcile(picture("1000", {SHARE: 3}), theirs, BOOK, changes=told, tolerance=within)
    assert [one.cause for one in found.explained] == causes
    assert len(found.unexplained) == unexplained


def test_a_round_trip_by_hand_between_two_views_is_adopted_by_its_cash():
    fills = tuple(
        ForeignFill(name, SHARE, side, D(10), D(price), NOON_NS - age)
        for name, side, price, age in (("b", Side.BUY, "500", 2), ("s", Side.SELL, "503", 1))
    )
    ours, theirs = picture("1000", {SHARE: 7}), picture("1030", {SHARE: 7})
    found = reconcile(ours, theirs, BOOK, foreign_fills=fills)
    assert [one.event.quantity_change for one in found.explained] == [10, -10]
    assert found.unexplained == ()
    assert (
        reconcile(after(ours, found), theirs, BOOK, foreign_fills=fills, booked=booked(found))
        == Reconciliation()
    )


def test_a_round_trip_that_does_not_give_the_cash_explains_nothing():
    fills = tuple(
        ForeignFill(name, SHARE, side, D(10), D("500"), NOON_NS)
        for name, side in (("b", Side.BUY), ("s", Side.SELL))
    )
    found = reconcile(picture("1000"), picture("900"), BOOK, foreign_fills=fills)
    assert [one.what for one in found.unexplained] == ["cash"]
    assert found.explained == ()


@given(
    premiums=st.lists(st.integers(1, 900), min_size=1, max_size=3),
    dividend=st.none() | st.integers(1, 900),
    known=st.booleans(),
)
def test_what_was_sold_and_assigned_between_two_views_is_booked_as_that_and_never_as_interest(
    premiums, dividend, known
):
    # beside a dividend, or an assignment that the desk's books hold already, a premium passed for interest
    def line(name, cause, number, units, cash, age):
        return AccountChange(name, ChangeCause(cause), number, D(units), D(0), D(cash), NOON_NS - age, name)

    fills, changes = [], []
    if known:
        changes.append(line("before", "assignment", LATER, 1, "0", 1_000))
    for number, premium in enumerate(premiums):
        age = 100 - 10 * number
        price = D(premium) / 100
        fills.append(ForeignFill(f"x{number}", LATER, Side.SELL, D(1), price, NOON_NS - age))
        changes.append(line(f"a{number}", "assignment", LATER, 1, "0", age - 5))
    if dividend is not None:
        changes.append(line("d", "dividend", SHARE, 0, str(dividend), 3))
    cash = D(1000) + sum(premiums) + (dividend or 0)
    ours, theirs = picture("1000", {SHARE: 7}), picture(str(cash), {SHARE: 7})
    within = Tolerance(equity=D(10_000_000))
    found = reconcile(ours, theirs, BOOK, foreign_fills=fills, changes=changes, tolerance=within)
    assert found.unexplained == ()
    assert {one.cause for one in found.explained} <= {"manual_trade", "assignment", "dividend"}
    assert sum(one.event.cash_change for one in found.explained) == cash - 1000
    again = reconcile(
        after(ours, found),
        theirs,
        BOOK,
        foreign_fills=fills,
        changes=changes,
        booked=booked(found),
        tolerance=within,
    )
    assert again == EQUAL


def test_deliveries_that_offset_each_other_are_booked_with_their_exercises():
    def line(name, cause, number, units, price="0", cash="0"):
        return AccountChange(name, ChangeCause(cause), number, D(units), D(price), D(cash), NOON_NS, name)

    changes = (
        line("c", "exercise", CALL, -1),
        line("p", "exercise", PUT, -1),
        line("dc", "delivery", SHARE, 100, "490", "-49000"),
        line("dp", "delivery", SHARE, -100, "510", "51000"),
    )
    ours, theirs = picture("1000", {CALL: 1, PUT: 1}), picture("3000")
    found = reconcile(ours, theirs, BOOK, changes=changes)
    assert sorted(one.cause for one in found.explained) == ["delivery", "delivery", "exercise", "exercise"]
    assert found.unexplained == ()
    assert reconcile(after(ours, found), theirs, BOOK, changes=changes, booked=booked(found)) == EQUAL


HOUR_NS = 3_600 * 10**9


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(-60, 60).filter(lambda cents: abs(cents) > 1)), max_size=40
    )
)
def test_cash_passes_for_interest_once_a_day_and_on_two_days_a_week_and_the_rest_is_reported(leaks):
    """A fee that is never booked is found, however small: on the day of its second charge or the third.

    What undoes an amount of the same day leaves nothing behind, and is taken for its end.
    """
    now_ns, desk_cash, venue_cash, passed = NOON_NS, D(100_000), D(100_000), []
    references = frozenset()
    for hours, cents in leaks:
        now_ns += hours * HOUR_NS
        venue_cash += D(cents) / 100
        ours = AccountPicture(now_ns, desk_cash, {SHARE: D(1)})
        theirs = AccountPicture(now_ns, venue_cash, {SHARE: D(1)})
        left = venue_cash - desk_cash
        found = reconcile(ours, theirs, BOOK, booked=references, tolerance=Tolerance(equity=D(100_000)))
        day = to_new_york(now_ns).date()
        days = {one for one, _ in passed}
        may = day not in days and sum(0 < (day - one).days < 7 for one in days) < 2
        today = [amount for one, amount in passed if one == day]
        undone, same = (sum(abs(one + sign * left) <= D("0.01") for one in today) for sign in (1, -1))
        if abs(left) <= D("0.01"):
            assert found == EQUAL
        elif (may and abs(left) <= 50) or undone > same:
            (one,) = found.explained
            assert (one.cause, one.event.cash_change, found.unexplained) == ("interest", left, ())
            desk_cash, references = venue_cash, references | booked(found)
            passed.append((day, left))
        else:
            assert found.explained == ()
            assert [one.what for one in found.unexplained] == ["cash"]


def test_the_desks_side_tells_which_of_its_orders_are_in_doubt():
    engine = build_engine(Scripted(), BOOK)
    names = []
    for number in (SHARE, CALL):
        intent = OrderIntent(number, Side.BUY, D(3), Purpose.HEDGE, "")
        names.append(engine.desk.orders.submit(intent, 1).client_order_id)
        engine.handle(OrderAccepted(names[-1], 1, 1, f"v{number}"))
    engine.handle(OrderFilled(names[0], 1, 1, "x", D(1), D(500), D(0)))
    engine.handle(OrderStatusUnknown(names[1], 1, 1, "time-out"))
    assert desk_picture(engine).open_orders == (
        OpenOrder(names[0], "v0", "SPY", D(1), is_unknown=False),
        OpenOrder(names[1], "v1", "SPY240304C00500000", D(0), is_unknown=True),
    )


@settings(deadline=None)
@given(
    fills=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 90_000), st.integers(-50, 90)), min_size=1, max_size=5
    ),
    which=st.integers(0, 4),
    side=st.sampled_from(Side),
)
def test_a_fill_that_is_gone_at_the_venue_is_taken_back_with_its_fee_to_the_cent(fills, which, side):
    """The desk's picture carries every execution with its fee; booking the bust makes both sides equal."""
    engine = build_engine(Scripted(), BOOK)
    desk = engine.desk
    for number, (quantity, cents, fee_cents) in enumerate(fills):
        intent = OrderIntent(SHARE, side, D(quantity), Purpose.HEDGE, "")
        name = desk.orders.submit(intent, 1).client_order_id
        engine.handle(OrderAccepted(name, 1, 1, f"v{number}"))
        engine.handle(OrderFilled(name, 1, 1, f"x{number}", D(quantity), D(cents) / 100, D(fee_cents) / 100))
    assert [fill.execution_id for fill in desk_picture(engine).fills] == [f"x{n}" for n in range(len(fills))]
    quantity, cents, fee_cents = fills[which % len(fills)]
    signed = quantity * side.sign
    cash = desk.account.cash + signed * D(cents) / 100 + D(fee_cents) / 100
    held = desk.positions.quantity(SHARE) - signed
    venue = AccountPicture(9, cash, {SHARE: held} if held else {})
    found = reconcile(desk_picture(engine), venue, BOOK)
    (one,) = found.explained
    assert (one.cause, found.unexplained) == ("bust", ())
    engine.handle(one.event)
    assert (desk.account.cash, desk.positions.quantity(SHARE)) == (cash, held)
    assert reconcile(desk_picture(engine), venue, BOOK) == EQUAL


@pytest.mark.parametrize(("count", "is_found"), [(3, True), (4, False)])
def test_the_earlier_of_two_equal_fills_is_found_busted_in_up_to_three_instruments(count, is_found):
    """Each instrument was bought at 5 and then at 8; the venue took back what was bought at 5."""
    numbers = (SHARE, CALL, PUT, LATER)[:count]
    fills = tuple(
        BookedFill(f"{number}-{price}", f"x{number}-{price}", number, D(1), D(price))
        for price in (5, 8)
        for number in numbers
    )
    ours = AccountPicture(NOON_NS, D(0), dict.fromkeys(numbers, D(2)), fills=fills)
    back = sum(D(5) * (1 if number == SHARE else 100) for number in numbers)
    found = reconcile(ours, AccountPicture(NOON_NS, back, dict.fromkeys(numbers, D(1))), BOOK)
    busted = [one.event.client_order_id for one in found.explained if one.cause == "bust"]
    assert busted == ([f"{number}-5" for number in numbers] if is_found else [])
    assert bool(found.unexplained) is not is_found


# where each explanation begins and ends ----------------------------------------


def moved(quantity, cash="0", name="m", *, number=SHARE, cause=ChangeCause.MANUAL_TRADE):
    """A booking of units, or of cash alone."""
    event = PositionChanged(number, 1, 1, cause, D(quantity), D(0), D(cash), name)
    return Explained(cause, name, event), event


@pytest.mark.parametrize(
    ("quantities", "change", "chosen"),
    [
        ([5], 0, []),
        ([5], 5, [0]),
        ([3, 5], 5, [1]),
        ([3, 5], 8, [0, 1]),
        ([5, 3], 5, [0]),  # no tail gives it: what leads towards it
        ([5, -5, 3], 3, [2]),
        ([9, 4, -2, 4], 5, [1]),
        ([4, 4, 4], 6, [0]),
        ([-4, 9, -3], -7, [0, 2]),
        ([4, -9], -9, [1]),
        ([6], 5, []),
        ([-5], 5, []),
        ([2, 2, 7], 4, [0, 1]),
        ([1, 2], 5, [0, 1]),  # the last booking counts once
        ([3, 5, -1], 4, [1, 2]),
    ],
)
def test_a_change_is_the_latest_bookings_that_give_it_or_those_that_lead_towards_it(
    quantities, change, chosen
):
    bookings = [moved(quantity, name=str(n)) for n, quantity in enumerate(quantities)]
    assert list(matching_bookings(bookings, D(change))) == [bookings[n] for n in chosen]


@pytest.mark.parametrize(
    ("payments", "cash", "equity", "count"),
    [
        ([], "5", 0, 0),
        (["5"], "5", 0, 1),
        (["5"], "5.01", 0, 1),
        (["5"], "5.02", 0, 0),
        (["5"], "6", 2_000, 1),  # five hundredths of a percent may be interest
        (["5"], "6.01", 2_000, 0),
        (["5"], "6", -2_000, 1),
        (["-1", "5"], "5", 0, 1),
        (["-1", "5"], "4", 0, 2),
        (["5", "-10", "10"], "5", 100_000, 3),
        (["7", "5"], "5.5", 100_000, 1),
        (["9"], "2", 100_000, 0),  # it leaves more than there was
        (["4"], "2", 100_000, 0),  # and this as much
    ],
)
def test_payments_are_the_latest_that_leave_least(payments, cash, equity, count):
    bookings = [moved(0, paid, str(n)) for n, paid in enumerate(payments)]
    found = cash_bookings(bookings, D(cash), Tolerance(equity=D(equity)))
    assert list(found) == (bookings[-count:] if count else [])


def test_cash_is_explained_by_the_fewest_bookings_that_leave_no_units():
    trip = [moved(1, "-500", "in"), moved(-1, "503", "out")]
    call = [moved(1, "-5", "buy", number=CALL), moved(-1, "9", "sell", number=CALL)]
    fee, gift = moved(0, "-1", "fee"), moved(0, "3", "gift")
    within = Tolerance()

    def names(bookings, cash, found=()):
        return [event.reference for _, event in cash_only_bookings(bookings, found, D(cash), within)]

    assert names([*trip, *call, fee], "3") == ["in", "out"]
    assert names([*trip, *call], "7") == ["in", "out", "buy", "sell"]
    assert names([*trip, fee], "2") == ["fee", "in", "out"]
    assert names([*trip, gift], "3") == ["gift"]  # one booking rather than two
    assert names([gift, *trip], "3.01") == ["gift"]
    assert names([gift, *trip], "3.02") == []
    assert names([*trip, gift], "3", [gift[0]]) == ["in", "out"]
    assert names([trip[0]], "-500") == []  # units would be left over
    assert names([], "3") == []
    as_much = [moved(1, "-5", "buy", number=CALL), moved(-1, "8", "sell", number=CALL)]
    assert names([*trip, *as_much], "3") == ["buy", "sell"]  # always the same of two that are as short


def test_no_more_sets_of_bookings_are_tried_than_can_be_tried_at_once(monkeypatch):
    payments = [moved(0, "1", str(n)) for n in range(5)]
    assert len(cash_only_bookings(payments, (), D(5), Tolerance())) == 5
    monkeypatch.setattr(reconcile_, "MOST_SETS", 5)  # none, one, two, three, four
    assert cash_only_bookings(payments, (), D(5), Tolerance()) == ()
    assert len(cash_only_bookings(payments, (), D(4), Tolerance())) == 4
    assert reconcile_.MOST_SETS == 5


@pytest.mark.parametrize(
    ("number", "before_ns", "cause"),
    [
        (CALL, -1, "manual_trade"),
        (CALL, 0, "auto_liquidation"),
        (CALL, 3_600 * 10**9, "auto_liquidation"),
        (CALL, 3_600 * 10**9 + 1, "manual_trade"),
        (SHARE, 0, "manual_trade"),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_a_foreign_trade_in_an_options_last_hour_is_the_venues_liquidation(number, before_ns, cause, side):
    at_ns = last_trading_ns(BOOK[CALL]) - before_ns
    fill = ForeignFill("x7", number, side, D(3), D("2.5"), at_ns, D("0.65"))
    why, event = of_fill(fill, BOOK, at_ns - 5)
    signed = 3 * side.sign
    units = 1 if number == SHARE else 100
    assert (why.cause, why.event) == (cause, event) == (event.cause, why.event)
    assert why.detail == f"{cause}: {signed:+d} {BOOK[number].symbol} at 2.5"
    assert (event.quantity_change, event.price, event.reference) == (signed, D("2.5"), "foreign-x7")
    assert event.cash_change == -signed * units * D("2.5") - D("0.65")
    assert (event.ts_event_ns, event.ts_recv_ns) == (at_ns, at_ns)
    assert of_fill(fill, BOOK, at_ns + 5)[1].ts_recv_ns == at_ns + 5


@pytest.mark.parametrize("number", [None, CALL])
@pytest.mark.parametrize(("now_ns", "heard_ns"), [(NOON_NS - 1, NOON_NS), (NOON_NS + 1, NOON_NS + 1)])
def test_a_line_of_the_history_is_booked_as_told_and_cash_alone_at_what_is_held(number, now_ns, heard_ns):
    told = change("interest", number=number, cash="1.5")
    why, event = of_change(told, PUT, now_ns)
    assert event == PositionChanged(
        PUT if number is None else number,
        NOON_NS,
        heard_ns,
        ChangeCause.INTEREST,
        D(0),
        D(0),
        D("1.5"),
        "a1",
    )
    assert (why.detail, why.cause) == ("interest: as told", "interest")


@pytest.mark.parametrize(
    ("number", "held", "change", "shares", "cash", "at_ns", "explained"),
    [
        # a share for each option that is gone, of the right sign, and as many as came or more
        (CALL, 1, -1, 100, 0, EXPIRY_NS, [("exercise", -1), ("delivery", 100)]),
        (CALL, 1, -1, 150, 0, EXPIRY_NS, [("exercise", -1), ("delivery", 100)]),
        (CALL, 1, -1, 99, 0, EXPIRY_NS, [("expired_worthless", -1)]),
        (CALL, 1, -1, -100, 0, EXPIRY_NS, [("expired_worthless", -1)]),
        (CALL, 1, -1, 100, 0, EXPIRY_NS - 1, []),  # a person exercises early, not the desk
        (CALL, -1, 1, -100, 0, EXPIRY_NS - 1, [("assignment", 1), ("delivery", -100)]),
        (CALL, -3, 2, -200, 0, NOON_NS, [("assignment", 2), ("delivery", -200)]),
        (PUT, -1, 1, 100, 0, NOON_NS, [("assignment", 1), ("delivery", 100)]),
        (PUT, 2, -2, -200, 0, EXPIRY_NS, [("exercise", -2), ("delivery", -200)]),
        (CALL, 1, -1, 0, 0, EXPIRY_NS - 1, []),
        (CALL, 1, -1, 0, 0, EXPIRY_NS, [("expired_worthless", -1)]),
        # more came, or more is gone than was held
        (CALL, 1, 1, 0, 0, EXPIRY_NS, []),
        (CALL, 1, -2, 200, 0, EXPIRY_NS, []),
        (CALL, 0, -1, 100, 0, EXPIRY_NS, []),
        (CALL, 1, 0, 100, 0, EXPIRY_NS, []),
        (SHARE, 1, -1, 0, 0, EXPIRY_NS, []),
        # in cash, of the right sign
        (INDEX_CALL, 2, -2, 0, 2_500, AFTER_NS, [("cash_settlement", -2)]),
        (INDEX_CALL, -2, 2, 0, -2_500, AFTER_NS, [("cash_settlement", 2)]),
        (INDEX_CALL, -2, 2, 0, 2_500, AFTER_NS, [("expired_worthless", 2)]),
        (INDEX_CALL, 2, -2, 0, 0, AFTER_NS, [("expired_worthless", -2)]),
        (INDEX_CALL, 2, -2, 0, 2_500, NOON_NS, []),
        (CALL, 2, -2, 0, 2_500, AFTER_NS, [("expired_worthless", -2)]),  # it would have brought shares
    ],
)
def test_an_option_that_shrank_without_a_trade(number, held, change, shares, cash, at_ns, explained):
    wanted = {number: D(change), **({SHARE: D(shares)} if shares else {})}
    found = ended(number, D(held), wanted, D(cash), BOOK, at_ns)
    assert [(one.cause, one.event.quantity_change) for one in found] == explained
    assert {(one.event.ts_event_ns, one.event.ts_recv_ns) for one in found} <= {(at_ns, at_ns)}


def test_what_ended_is_named_by_contract_day_and_size_and_booked_at_its_strike():
    wanted = {CALL: D(2), SHARE: D(-300)}
    lapse, delivery = ended(CALL, D(-3), wanted, D(0), BOOK, NOON_NS)
    label = "SPY240304C00500000-20240304--2-of--3"
    assert (lapse.event.reference, delivery.event.reference) == (f"assignment-{label}", f"delivery-{label}")
    assert lapse.detail == delivery.detail == "assignment of -2 SPY240304C00500000: -200 SPY"
    assert (lapse.event.instrument_id, delivery.event.instrument_id) == (CALL, SHARE)
    assert (lapse.event.price, lapse.event.cash_change) == (0, 0)
    assert (delivery.event.price, delivery.event.cash_change) == (500, 100_000)
    (settled,) = ended(INDEX_CALL, D(2), {INDEX_CALL: D(-2)}, D(2_500), BOOK, AFTER_NS)
    assert (settled.event.price, settled.event.cash_change) == (D("12.5"), 2_500)
    assert settled.event.reference == "settled-SPXW240304C05000000-20240304-2-of-2"
    assert settled.detail == "cash settlement of +2 SPXW240304C05000000 at 12.5"
    (lost,) = ended(PUT, D(2), {PUT: D(-1)}, D(0), BOOK, AFTER_NS)
    assert lost.event.reference == "expired-SPY240304P00500000-20240304-1-of-2"
    assert lost.detail == "+1 SPY240304P00500000 expired worthless"
    assert (lost.event.price, lost.event.cash_change) == (0, 0)


@pytest.mark.parametrize(("count", "found"), [(8, "f0"), (9, None)])
def test_a_bust_is_looked_for_among_the_latest_eight_of_its_size(count, found):
    fills = tuple(
        BookedFill(f"f{n}", f"x{n}", SHARE, D(1), D(5 if n == 0 else 8), D("0.1")) for n in range(count)
    )
    ours = AccountPicture(NOON_NS, D(0), {SHARE: D(9)}, fills=fills)
    explained, paid = busted(ours, {SHARE: D(-1)}, D("5.1"), BOOK, Tolerance(), 7)
    if found is None:
        assert (explained, paid) == ([], 0)
        return
    (one,) = explained
    assert one.event == FillBusted(found, 7, 7, "x0", "not at the venue any more")
    assert (one.cause, one.detail, paid) == ("bust", "bust of +1 SPY at 5", D("5.1"))


@pytest.mark.parametrize(
    ("gone", "is_found"),
    [((0, 3), True), ((1, 2), True), ((0, 1, 2, 3), True), ((0, 2, 4), True), ((4,), True), ((0, 0), False)],
)
def test_several_executions_of_an_instrument_are_found_busted_together(gone, is_found):
    """Two of one instrument between two views were an unexplained difference."""
    rows = [(CALL, 1, "5"), (CALL, 2, "5.1"), (CALL, 1, "5.2"), (CALL, 3, "5.3"), (SHARE, -30, "500.02")]
    fills = tuple(
        BookedFill(f"f{n}", f"x{n}", number, D(quantity), D(price), D("0.03"))
        for n, (number, quantity, price) in enumerate(rows)
    )
    held, cash = {CALL: D(7), SHARE: D(-30)}, D("0")
    left = dict(held)
    for n in gone:
        left[fills[n].instrument_id] -= fills[n].quantity
        cash += fills[n].quantity * fills[n].price * (100 if fills[n].instrument_id == CALL else 1) + D(
            "0.03"
        )
    ours = AccountPicture(NOON_NS, D(0), held, fills=fills)
    theirs = AccountPicture(NOON_NS, cash, {number: size for number, size in left.items() if size})
    found = reconcile(ours, theirs, BOOK)
    assert bool(found.unexplained) is not is_found
    assert {one.event.client_order_id for one in found.explained} == (
        {f"f{n}" for n in gone} if is_found else set()
    )


@pytest.mark.parametrize(
    ("cash", "is_found"), [("5.10", True), ("5.11", True), ("5.12", False), ("5.09", True), ("5.08", False)]
)
def test_a_bust_gives_the_cash_to_the_cent(cash, is_found):
    fills = (BookedFill("f", "x", SHARE, D(1), D(5), D("0.1")), BookedFill("g", "y", SHARE, D(2), D(1)))
    ours = AccountPicture(NOON_NS, D(0), {SHARE: D(9)}, fills=fills)
    assert bool(busted(ours, {SHARE: D(-1)}, D(cash), BOOK, Tolerance(), 7)[0]) is is_found
    assert busted(ours, {SHARE: D(1)}, D(-5), BOOK, Tolerance(), 7) == ([], 0)  # nothing of this size
    assert busted(ours, {}, D(0), BOOK, Tolerance(), 7) == ([], 0)


@pytest.mark.parametrize(
    ("held", "ex_ns", "cash", "is_booked", "cause"),
    [
        (10, 0, "15", False, "dividend"),
        (10, 0, "15.01", False, "dividend"),
        (10, 0, "15.02", False, "interest"),
        (10, 1, "15", False, "interest"),  # tomorrow's
        (10, -1, "15", False, "dividend"),
        (10, 0, "15", True, "interest"),
        (-10, 0, "-15", False, "dividend"),
        (0, 0, "0.05", False, "interest"),
        (10, 0, "50", False, "interest"),
        (10, 0, "50.01", False, None),
        (10, 0, "-50", False, "interest"),
        (10, 0, "-50.01", False, None),
    ],
)
def test_cash_alone_is_a_dividend_that_was_due_or_small(held, ex_ns, cash, is_booked, cause):
    dividend = DividendEvent(SHARE, 1, 1, NOON_NS + ex_ns, D("1.50"))
    reference = "dividend-0-2024-03-04"
    ours = picture("0", {LATER: 1, SHARE: held})
    within = Tolerance(equity=D(100_000))
    found = cash_cause(D(cash), ours, [dividend], {reference} if is_booked else (), within, NOON_NS)
    if cause is None:
        assert found is None
        return
    assert found.cause == cause
    event = found.event
    assert (event.cash_change, event.instrument_id, event.quantity_change) == (D(cash), SHARE, 0)
    assert (event.price, event.ts_event_ns, event.ts_recv_ns) == (0, NOON_NS, NOON_NS)
    if cause == "dividend":
        assert (event.reference, found.detail) == (reference, f"dividend of 1.50 on {held}")
    else:
        assert event.reference == f"cash-{NOON_NS}-{cash}"
        assert found.detail == f"interest, fees or rounding of {D(cash):+.2f}"


DAY_NS = 24 * HOUR_NS


@pytest.mark.parametrize(
    ("days", "passes"),
    [
        ([], True),
        ([0], False),
        ([1], True),
        ([1, 2], False),
        ([1, 6], False),
        ([1, 7], True),
        ([6, 7, 8], True),
        ([1, 1], True),
        ([-1, -2], True),
    ],
)
def test_cash_passes_for_interest_once_a_day_and_on_two_days_of_seven(days, passes):
    earlier = {f"cash-{NOON_NS - day * DAY_NS + n}-0.05" for n, day in enumerate(days)}
    other = {f"dividend-0-{NOON_NS}", f"foreign-{NOON_NS}"}
    found = cash_cause(D("0.05"), picture("0"), (), earlier | other, Tolerance(equity=D(1_000)), NOON_NS)
    assert (found is not None) is passes


@pytest.mark.parametrize(("cash", "is_reported"), [("1000.01", False), ("1000.02", True), ("999.98", True)])
def test_a_cent_is_no_difference(cash, is_reported):
    found = reconcile(picture("1000"), picture(cash), BOOK)
    assert [str(one) for one in found.unexplained] == (
        [f"cash: desk 1000.00, venue {cash}"] if is_reported else []
    )
    assert found.explained == ()


def test_a_difference_of_coin_is_told_to_the_satoshi():
    within = Tolerance(cash=SATOSHI)
    ours, theirs = picture("2.08458641"), picture("2.07927837")
    (found,) = reconcile(ours, theirs, BOOK, tolerance=within).unexplained
    assert str(found) == "cash: desk 2.08458641, venue 2.07927837"
    assert side_by_side(ours, theirs, BOOK, within).split()[-3:] == ["cash", "2.08458641", "2.07927837"]
    within = Tolerance(cash=SATOSHI, equity=D(2))
    (small,) = reconcile(ours, picture("2.08459641"), BOOK, tolerance=within).explained
    assert small.detail == "interest, fees or rounding of +0.00001000"


def test_units_that_nothing_explains_are_told_with_both_sides():
    found = reconcile(picture("0", {SHARE: "3.50", PUT: 1}), picture("0", {SHARE: "1.0", PUT: 1}), BOOK)
    assert [str(one) for one in found.unexplained] == ["SPY: desk 3.5, venue 1"]
    found = reconcile(picture("0", {SHARE: 100}), picture("0"), BOOK)
    assert [str(one) for one in found.unexplained] == ["SPY: desk 100, venue 0"]


def test_bookings_are_taken_in_the_order_in_which_they_happened_and_each_once():
    told = [change("manual_trade", 5, name="b", ts_ns=NOON_NS + 2), change("manual_trade", 3, name="a")]
    theirs = picture("1000", {SHARE: 8})
    found = reconcile(picture("1000"), theirs, BOOK, changes=told)
    assert [one.event.reference for one in found.explained] == ["a", "b"]
    found = reconcile(picture("1000"), theirs, BOOK, changes=told, booked={"a"})
    assert [one.event.reference for one in found.explained] == ["b"]
    assert [str(one) for one in found.unexplained] == ["SPY: desk 0, venue 8"]


def test_an_order_of_the_venue_without_the_desks_id_goes_by_the_venues():
    theirs = picture("1", {}, OpenOrder("other", "v1", "SPY", D(0)), OpenOrder("", "v2", "QQQ", D(0)))
    found = reconcile(picture("1"), theirs, BOOK)
    assert [str(one) for one in found.unexplained] == [
        "order other: desk never sent by this desk, venue open, SPY",
        "order v2: desk never sent by this desk, venue open, QQQ",
    ]


def test_both_views_leave_out_what_neither_holds_and_show_orders_of_either():
    table = side_by_side(
        picture("1", {SHARE: 0, CALL: 2}, OpenOrder("a", "v", "SPY", D("1.50"))),
        picture("2", {SHARE: 0}, OpenOrder("b", "w", "SPY", D(0))),
        BOOK,
        Tolerance(),
    )
    assert table.splitlines() == [
        "                                  desk               venue",
        "cash                              1.00                2.00",
        "SPY240304C00500000                   2                   0",
        "order a               open, filled 1.5                none",
        "order b                           none      open, filled 0",
    ]


@pytest.mark.parametrize(("cash", "causes"), [("1000.01", []), ("999.99", []), ("1000.02", ["interest"])])
def test_a_cent_is_no_interest_and_explains_no_payment(cash, causes):
    ours, theirs = picture("1000", {SHARE: 3}), picture(cash, {SHARE: 3})
    within = Tolerance(equity=D(100_000))
    told = [change("fee", cash=str(D(cash) - 1_000), name="f", number=None)] if not causes else []
    found = reconcile(ours, theirs, BOOK, changes=told, tolerance=within)
    assert [one.cause for one in found.explained] == causes
    assert found.unexplained == ()


def test_what_passed_for_interest_today_is_taken_back_once_when_its_cause_is_booked_later():
    """A correction of 0.24 is in the account before the order stream tells of it."""
    within = Tolerance(equity=D(100_000))
    seen = picture("999.76", {SHARE: 3})
    passed = reconcile(picture("1000", {SHARE: 3}), seen, BOOK, tolerance=within)
    known = booked(passed)
    corrected = picture("999.52", {SHARE: 3})  # of the desk: the correction is booked beside the interest
    found = reconcile(corrected, seen, BOOK, tolerance=within, booked=known)
    assert [(one.cause, one.event.cash_change) for one in found.explained] == [("interest", D("0.24"))]
    assert (
        found.explained[0].detail == "-0.24 that passed for interest today, taken back: its cause is booked"
    )
    known |= booked(found)
    for desk, days in ((corrected, 0), (corrected, 1), (picture("999.50", {SHARE: 3}), 0)):
        later = picture("999.76", {SHARE: 3}, ts_ns=NOON_NS + days * DAY_NS)
        again = reconcile(desk, later, BOOK, tolerance=within, booked=known)
        # at most once; another amount, or one of another day, is interest by the usual rule or reported
        assert "taken back" not in "".join(one.detail for one in again.explained)
