"""Differences between desk and venue: named, or shown to a person; never booked twice."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

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
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import expiry_instant_ns, final_close_ns, session_on
from scalpdesk.live.differences import (
    AccountPicture,
    BookedFill,
    Differences,
    Gap,
    OpenOrder,
    Tolerance,
    explain,
    of_fill,
    side_by_side,
)
from scalpdesk.live.reconciler import desk_picture
from scalpdesk.venues.contract import VenueActivity, VenueFill
from scalpdesk_testing.kit.desk import Scripted, build_engine

D = Decimal
EQUAL = Differences()
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


def after(ours, found: Differences):
    """Return the desk's side once everything explained is booked."""
    holdings, cash = dict(ours.holdings), ours.cash
    for one in found.explained:
        holdings[one.instrument_id] = holdings.get(one.instrument_id, D(0)) + one.units
        cash += one.cash
    return AccountPicture(ours.ts_ns, cash, {k: v for k, v in holdings.items() if v}, ours.open_orders)


def booked(found):
    return frozenset(one.event.reference for one in found.explained)


def test_equal_sides_are_equal():
    one = picture("5", {SHARE: 3}, OpenOrder("a", "v", "SPY", D(0)))
    assert explain(one, one, BOOK) == EQUAL


@pytest.mark.rows(
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
    found = explain(ours, theirs, BOOK)
    assert [one.cause for one in found.explained] == causes
    assert found.unexplained == ()
    assert explain(after(ours, found), theirs, BOOK, is_booked=booked(found).__contains__) == EQUAL


def foreign(quantity=5, price="500", side=Side.BUY, number=SHARE, ts_ns=NOON_NS, name="x1"):
    return VenueFill(name, "hand", BOOK[number].symbol, side, D(quantity), None, D(price), ts_ns)


def test_trade_by_hand_is_adopted_once():
    ours, theirs = picture("10000", {SHARE: 3}), picture("7500", {SHARE: 8})
    found = explain(ours, theirs, BOOK, foreign_fills=[foreign()])
    assert [one.cause for one in found.explained] == ["manual_trade"]
    mine = after(ours, found)
    again = explain(mine, theirs, BOOK, foreign_fills=[foreign()], is_booked=booked(found).__contains__)
    assert again == EQUAL


def test_foreign_fill_that_the_position_does_not_show_explains_nothing():
    one = picture("10000", {SHARE: 3})
    assert explain(one, one, BOOK, foreign_fills=[foreign()]) == EQUAL
    found = explain(one, picture("7500", {SHARE: 3}), BOOK, foreign_fills=[foreign()])  # cash alone
    assert (found.explained, [difference.what for difference in found.unexplained]) == ((), ["cash"])


def test_sale_by_the_venue_before_expiry_is_its_liquidation():
    ours, theirs = picture("1000", {CALL: 1}), picture("1250", {})
    sold = foreign(1, "2.50", Side.SELL, CALL, EXPIRY_NS - 600_000_000_000)
    (one,) = explain(ours, theirs, BOOK, foreign_fills=[sold]).explained
    assert one.cause == "auto_liquidation"


@pytest.mark.rows(
    "lines",
    [["9.00", "-0.16"], ["-0.16", "9.00"], ["-0.10", "9.00", "-0.16"], ["6.00", "-0.10", "3.00", "-0.16"]],
)
def test_payments_are_booked_without_the_fees_that_the_desk_has_charged_already(lines):
    changes = [
        change("fee" if cash[0] == "-" else "dividend", cash=cash, name=f"a{at}", ts_ns=NOON_NS - 9 + at)
        for at, cash in enumerate(lines)
    ]
    within = Tolerance(uncharged=D("0.28"))
    found = explain(picture("1000.00"), picture("1009.00"), BOOK, changes=changes, tolerance=within)
    assert {each.cause for each in found.explained} == {"dividend"}
    assert sum(each.event.cash_change for each in found.explained) == D("9.00")
    assert found.unexplained == ()


@pytest.mark.rows(
    ("gap", "is_unexplained"), [("-0.0100080", False), ("-0.05", False), ("-0.10", True), ("0.30", False)]
)
def test_a_charged_fee_never_turns_a_gap_into_a_wider_one(gap, is_unexplained):
    # four executions known by their sum: the venue rounded up four times
    fees = [change("fee", cash=cash, name=cash, ts_ns=NOON_NS) for cash in ("-0.08", "-0.13", "-0.31")]
    within = Tolerance(uncharged=D("0.81"))
    found = explain(picture("1000"), picture(str(1000 + D(gap))), BOOK, changes=fees, tolerance=within)
    assert found.explained == ()
    assert bool(found.unexplained) is is_unexplained


def test_orders_are_missing_shown_or_foreign():
    lost = OpenOrder("lost", "", "SPY", D(0))
    doubted = OpenOrder("doubted", "", "SPY", D(0), is_unknown=True)
    shown = OpenOrder("doubted", "v2", "SPY", D(0))
    stranger = OpenOrder("", "v9", "SPY", D(0))
    found = explain(picture("1", {}, lost, doubted), picture("1", {}, shown, stranger), BOOK)
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
    found = explain(ours, theirs, BOOK, foreign_fills=fills)
    mine = after(ours, found)
    again = explain(mine, theirs, BOOK, foreign_fills=fills, is_booked=booked(found).__contains__)
    assert again.explained == ()
    assert {one.what for one in again.unexplained} == {one.what for one in found.unexplained}


def change(cause, quantity=0, number=SHARE, *, price="0", cash="0", name="a1", ts_ns=NOON_NS):
    symbol = "" if number is None else BOOK[number].symbol
    figures = D(quantity), D(price), D(cash), ts_ns
    return VenueActivity(name, "TOLD", ChangeCause(cause), symbol, *figures)


def test_an_early_exercise_that_the_history_tells_is_booked_as_told():
    ours, theirs = picture("100000", {LATER: 2}), picture("0", {SHARE: 200})
    told = [
        change("exercise", -2, LATER),
        change("delivery", 200, SHARE, price="500", cash="-100000", name="a2"),
    ]
    found = explain(ours, theirs, BOOK, changes=told)
    assert [one.event.reference for one in found.explained] == ["activity-a1", "activity-a2"]
    assert found.unexplained == ()
    mine = after(ours, found)
    assert explain(mine, theirs, BOOK, changes=told, is_booked=booked(found).__contains__) == EQUAL
    assert explain(mine, theirs, BOOK, changes=told) == EQUAL


def test_what_the_history_tells_and_the_account_does_not_show_is_not_booked():
    one = picture("1000", {SHARE: 3})
    assert (
        explain(one, one, BOOK, changes=[change("dividend", cash="12"), change("delivery", 5)])
        == Differences()
    )


def test_a_trade_by_hand_and_a_delivery_of_the_same_shares_are_told_apart():
    ours, theirs = picture("0", {SHARE: 0}), picture("-52000", {SHARE: 200})
    told = [change("delivery", 300, price="340", cash="-102000", ts_ns=NOON_NS + 1)]
    hand = [foreign(100, "500", Side.SELL)]
    found = explain(ours, theirs, BOOK, foreign_fills=hand, changes=told)
    assert [one.cause for one in found.explained] == ["manual_trade", "delivery"]
    assert found.unexplained == ()


def test_a_round_trip_by_hand_between_two_views_is_adopted_by_its_cash():
    fills = tuple(
        foreign(10, price, side, ts_ns=NOON_NS - age, name=name)
        for name, side, price, age in (("b", Side.BUY, "500", 2), ("s", Side.SELL, "503", 1))
    )
    ours, theirs = picture("1000", {SHARE: 7}), picture("1030", {SHARE: 7})
    found = explain(ours, theirs, BOOK, foreign_fills=fills)
    assert [one.event.quantity_change for one in found.explained] == [10, -10]
    assert found.unexplained == ()
    assert (
        explain(after(ours, found), theirs, BOOK, foreign_fills=fills, is_booked=booked(found).__contains__)
        == Differences()
    )


def test_a_round_trip_that_does_not_give_the_cash_explains_nothing():
    fills = tuple(foreign(10, side=side, name=name) for name, side in (("b", Side.BUY), ("s", Side.SELL)))
    found = explain(picture("1000"), picture("900"), BOOK, foreign_fills=fills)
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
        return change(cause, units, number, cash=cash, name=name, ts_ns=NOON_NS - age)

    fills, changes = [], []
    if known:
        changes.append(line("before", "assignment", LATER, 1, "0", 1_000))
    for number, premium in enumerate(premiums):
        age = 100 - 10 * number
        price = D(premium) / 100
        fills.append(foreign(1, price, Side.SELL, LATER, NOON_NS - age, f"x{number}"))
        changes.append(line(f"a{number}", "assignment", LATER, 1, "0", age - 5))
    if dividend is not None:
        changes.append(line("d", "dividend", SHARE, 0, str(dividend), 3))
    cash = D(1000) + sum(premiums) + (dividend or 0)
    ours, theirs = picture("1000", {SHARE: 7}), picture(str(cash), {SHARE: 7})
    found = explain(ours, theirs, BOOK, foreign_fills=fills, changes=changes)
    assert found.unexplained == ()
    assert {one.cause for one in found.explained} <= {"manual_trade", "assignment", "dividend"}
    assert sum(one.event.cash_change for one in found.explained) == cash - 1000
    again = explain(
        after(ours, found),
        theirs,
        BOOK,
        foreign_fills=fills,
        changes=changes,
        is_booked=booked(found).__contains__,
    )
    assert again == EQUAL


def test_deliveries_that_offset_each_other_are_booked_with_their_exercises():
    def line(name, cause, number, units, price="0", cash="0"):
        return change(cause, units, number, price=price, cash=cash, name=name)

    changes = (
        line("c", "exercise", CALL, -1),
        line("p", "exercise", PUT, -1),
        line("dc", "delivery", SHARE, 100, "490", "-49000"),
        line("dp", "delivery", SHARE, -100, "510", "51000"),
    )
    ours, theirs = picture("1000", {CALL: 1, PUT: 1}), picture("3000")
    found = explain(ours, theirs, BOOK, changes=changes)
    assert sorted(one.cause for one in found.explained) == ["delivery", "delivery", "exercise", "exercise"]
    assert found.unexplained == ()
    assert (
        explain(after(ours, found), theirs, BOOK, changes=changes, is_booked=booked(found).__contains__)
        == EQUAL
    )


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


@pytest.mark.rows(
    ("number", "before_ns", "cause"),
    [
        (CALL, -1, "manual_trade"),
        (CALL, 0, "auto_liquidation"),
        (CALL, 3_600 * 10**9, "auto_liquidation"),
        (CALL, 3_600 * 10**9 + 1, "manual_trade"),
        (SHARE, 0, "manual_trade"),
    ],
)
@pytest.mark.rows("side", Side)
def test_a_foreign_trade_in_an_options_last_hour_is_the_venues_liquidation(number, before_ns, cause, side):
    at_ns = final_close_ns(BOOK[CALL]) - before_ns
    fill = replace(foreign(3, "2.5", side, number, at_ns, "x7"), fee=D("0.65"))
    why = of_fill(fill, BOOK, at_ns - 5)
    event = why.event
    signed = 3 * side.sign
    units = 1 if number == SHARE else 100
    assert (why.cause, event.cause) == (cause, cause)
    assert why.detail == f"{cause}: {signed:+d} {BOOK[number].symbol} at 2.5"
    assert (event.quantity_change, event.price, event.reference) == (signed, D("2.5"), "foreign-x7")
    assert event.cash_change == -signed * units * D("2.5") - D("0.65")
    assert (event.ts_event_ns, event.ts_recv_ns) == (at_ns, at_ns)
    assert of_fill(fill, BOOK, at_ns + 5).event.ts_recv_ns == at_ns + 5


@pytest.mark.rows("number", [None, CALL])
@pytest.mark.rows(("now_ns", "heard_ns"), [(NOON_NS - 1, NOON_NS), (NOON_NS + 1, NOON_NS + 1)])
def test_a_line_of_the_history_is_booked_as_told_and_cash_alone_at_what_is_held(number, now_ns, heard_ns):
    told = change("interest", number=number, cash="1.5")
    (why,) = explain(
        picture("0", {PUT: 1}), picture("1.5", {PUT: 1}, ts_ns=now_ns), BOOK, changes=[told]
    ).explained
    assert why.event == PositionChanged(
        PUT if number is None else number,
        NOON_NS,
        heard_ns,
        ChangeCause.INTEREST,
        D(0),
        D(0),
        D("1.5"),
        "activity-a1",
    )
    symbol = "" if number is None else f" {BOOK[number].symbol}"
    assert (why.detail, why.cause) == (f"interest: TOLD{symbol} +1.50", "interest")


@pytest.mark.rows(("cash", "is_reported"), [("1000.01", False), ("1000.02", True), ("999.98", True)])
def test_a_cent_is_no_difference(cash, is_reported):
    found = explain(picture("1000"), picture(cash), BOOK)
    assert [str(one) for one in found.unexplained] == (
        [f"cash: desk 1000.00, venue {cash}"] if is_reported else []
    )
    assert found.explained == ()


def test_a_difference_of_coin_is_told_to_the_satoshi():
    within = Tolerance(cash=SATOSHI)
    ours, theirs = picture("2.08458641"), picture("2.07927837")
    (found,) = explain(ours, theirs, BOOK, tolerance=within).unexplained
    assert str(found) == "cash: desk 2.08458641, venue 2.07927837"
    assert side_by_side(ours, theirs, BOOK, within).split()[-3:] == ["cash", "2.08458641", "2.07927837"]


def test_units_that_nothing_explains_are_told_with_both_sides():
    found = explain(picture("0", {SHARE: "3.50", PUT: 1}), picture("0", {SHARE: "1.0", PUT: 1}), BOOK)
    assert [str(one) for one in found.unexplained] == ["SPY: desk 3.5, venue 1"]
    found = explain(picture("0", {SHARE: 100}), picture("0"), BOOK)
    assert [str(one) for one in found.unexplained] == ["SPY: desk 100, venue 0"]


def test_bookings_are_taken_in_the_order_in_which_they_happened_and_each_once():
    told = [change("manual_trade", 5, name="b", ts_ns=NOON_NS + 2), change("manual_trade", 3, name="a")]
    theirs = picture("1000", {SHARE: 8})
    found = explain(picture("1000"), theirs, BOOK, changes=told)
    assert [one.event.reference for one in found.explained] == ["activity-a", "activity-b"]
    found = explain(
        picture("1000", {SHARE: 3}), theirs, BOOK, changes=told, is_booked={"activity-a"}.__contains__
    )
    assert [one.event.reference for one in found.explained] == ["activity-b"]
    found = explain(picture("1000"), theirs, BOOK, changes=told, is_booked={"activity-a"}.__contains__)
    assert found.explained == ()
    assert [str(one) for one in found.unexplained] == ["SPY: desk 0, venue 8"]


def test_an_order_of_the_venue_without_the_desks_id_goes_by_the_venues():
    theirs = picture("1", {}, OpenOrder("other", "v1", "SPY", D(0)), OpenOrder("", "v2", "QQQ", D(0)))
    found = explain(picture("1"), theirs, BOOK)
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


# what was only to be guessed is the operator's ----------------------------------------


def told_of(found):
    return {difference.what for difference in found.unexplained}


@pytest.mark.rows(
    ("cash", "lines"),
    [
        ("0.05", []),  # passed for interest
        ("9", [("transfer", "4"), ("dividend", "7"), ("transfer", "5")]),  # 4 + 5, with a line between them
        ("970.30", [("transfer", "1000"), ("fee", "-30")]),
    ],
)
def test_cash_that_no_latest_lines_give_is_the_operators(cash, lines):
    changes = [change(cause, cash=paid, name=f"a{n}") for n, (cause, paid) in enumerate(lines)]
    theirs = picture(str(1000 + D(cash)), {SHARE: 3})
    found = explain(picture("1000", {SHARE: 3}), theirs, BOOK, changes=changes)
    assert (found.explained, told_of(found)) == ((), {"cash"})
    assert found.left == Gap({}, D(cash))


@pytest.mark.parametrize("by_stock", [True, False])
def test_an_early_assignment_is_booked_from_the_history_or_once_shares_and_cash_are_those_of_the_strike(
    by_stock,
):
    ours, theirs = picture("1000", {LATER: -1}), picture("51000", {SHARE: -100})
    lines = [
        change("assignment", 1, LATER),
        change("delivery", -100, SHARE, price="500", cash="50000", name="a2"),
    ]
    found = explain(ours, theirs, BOOK, changes=lines if by_stock else [])
    assert [one.cause for one in found.explained] == ["assignment", "delivery"]
    assert told_of(found) == set()
    assert [one.event.price for one in found.explained] == [0, 500]


@pytest.mark.rows(
    ("held", "after", "cash"),
    [
        ({LATER: -1}, {SHARE: -100}, "50999"),  # other cash than the strike's
        ({LATER: -1}, {SHARE: 100}, "-49000"),  # what a put would deliver
        ({LATER: -1}, {SHARE: -99}, "51000"),
        ({LATER: 1}, {SHARE: 100}, "-49000"),  # only its holder exercises a bought option
        ({LATER: -1}, {LATER: 1, SHARE: -200}, "101000"),
    ],
)
def test_what_is_no_assignment_at_the_strike_is_the_operators(held, after, cash):
    found = explain(picture("1000", held), picture(cash, after), BOOK)
    assert found.unexplained
    assert not {one.cause for one in found.explained} & {"assignment", "delivery"}


def test_a_settlement_in_cash_is_booked_at_the_level_that_the_history_names():
    ours, theirs = picture("1000", {INDEX_CALL: 2}), picture("3500", ts_ns=AFTER_NS)
    found = explain(ours, theirs, BOOK)
    assert (found.explained, told_of(found)) == ((), {"SPXW240304C05000000", "cash"})
    line = change("cash_settlement", -2, INDEX_CALL, price="12.5", cash="2500")
    (one,) = explain(ours, theirs, BOOK, changes=[line]).explained
    assert (one.cause, one.event.price, one.cash) == ("cash_settlement", D("12.5"), D(2500))
    (lapse,) = explain(ours, picture("1000", ts_ns=AFTER_NS), BOOK).explained
    assert (lapse.cause, lapse.units, lapse.cash) == ("expired_worthless", -2, 0)


@pytest.mark.rows(
    ("held", "shares", "cash", "at_ns"),
    [
        ({CALL: 1}, 99, 0, EXPIRY_NS),  # fewer shares than a contract delivers
        ({CALL: 1}, -100, 50_000, EXPIRY_NS),  # and of the wrong sign
        ({CALL: 1}, 100, -50_000, EXPIRY_NS - 1),
        ({CALL: 1, PUT: 1}, 200, -100_000, EXPIRY_NS),
    ],
)
def test_what_no_level_of_the_underlying_gives_is_no_expiry(held, shares, cash, at_ns):
    found = explain(picture("1000", held), picture(str(1000 + cash), {SHARE: shares}, ts_ns=at_ns), BOOK)
    assert found.explained == ()
    assert "SPY240304C00500000" in told_of(found)


def test_the_cash_decides_between_two_levels_that_deliver_the_same_shares():
    """A call at 500 and a put at 510: both exercised between the strikes, and neither leaves shares."""
    book = Instruments([Equity("SPY"), us_option("SPY240304C00500000"), us_option("SPY240304P00510000")])
    found = explain(picture("0", {1: 1, 2: 1}), picture("1000", ts_ns=AFTER_NS), book)
    assert [one.cause for one in found.explained] == ["exercise", "delivery"] * 2
    assert found.unexplained == ()
    short = explain(picture("0", {1: 1, 2: -1}), picture("0", {SHARE: 200}, ts_ns=AFTER_NS), book)
    assert [one.cause for one in short.explained] == ["exercise", "delivery", "assignment", "delivery"]
    assert [(one.what, one.venue) for one in short.unexplained] == [("cash", "0.00")]


def test_what_the_venue_names_in_one_instrument_is_booked_beside_a_riddle_in_another():
    theirs = picture("-2500", {SHARE: 5, LATER: 1})
    found = explain(picture("0"), theirs, BOOK, foreign_fills=[foreign()])
    assert [one.event.reference for one in found.explained] == ["foreign-x1"]
    assert told_of(found) == {"SPY240419C00500000"}


def test_a_gap_that_the_operator_knows_hides_neither_a_cause_nor_its_own_end():
    known = Gap({LATER: D(1)}, D(-7))
    ours = picture("1000", {SHARE: 3})
    paid = [change("dividend", cash="12")]
    found = explain(ours, picture("1005", {SHARE: 3, LATER: 1}), BOOK, changes=paid, known=known)
    assert [one.cause for one in found.explained] == ["dividend"]
    assert (told_of(found), found.left) == ({"SPY240419C00500000", "cash"}, known)
    late = [*paid, change("transfer", 1, LATER, cash="-7", name="a2")]
    found = explain(ours, picture("1005", {SHARE: 3, LATER: 1}), BOOK, changes=late, known=known)
    assert ([one.cause for one in found.explained], found.unexplained) == (["dividend", "transfer"], ())


# executions that the venue's history lists no more ----------------------------------------


@settings(deadline=None)
@given(
    fills=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 90_000), st.integers(-50, 90)), min_size=1, max_size=5
    ),
    gone=st.sets(st.integers(0, 4), min_size=1),
    side=st.sampled_from(Side),
)
def test_executions_that_are_gone_are_taken_back_by_name_with_their_fees_to_the_cent(fills, gone, side):
    booked_ones = [
        BookedFill(f"o{n}", f"x{n}", SHARE, D(quantity) * side.sign, D(cents) / 100, D(fee) / 100)
        for n, (quantity, cents, fee) in enumerate(fills)
    ]
    missing = [booked_ones[n] for n in sorted(gone) if n < len(booked_ones)]
    held = sum(fill.quantity for fill in booked_ones)
    left = held - sum(fill.quantity for fill in missing)
    cash = sum(fill.quantity * fill.price + fill.fee for fill in missing)
    theirs = picture(str(cash), {SHARE: left} if left else {})
    found = explain(picture("0", {SHARE: held}), theirs, BOOK, missing=missing)
    assert [one.event for one in found.explained] == [
        FillBusted(fill.client_order_id, NOON_NS, NOON_NS, fill.execution_id, "not at the venue any more")
        for fill in missing
    ]
    assert found.unexplained == ()


@pytest.mark.rows(("cash", "is_booked"), [("0.06", True), ("0.05", True), ("0.08", False)])
def test_a_correction_is_its_bust_and_the_execution_in_its_place(cash, is_booked):
    instead = foreign(2, "499.97", ts_ns=NOON_NS - 9, name="y")
    missing = [BookedFill("o", "x", SHARE, D(2), D(500), D("0.10"), instead)]
    ours = picture("0", {SHARE: 2})
    found = explain(ours, picture(cash, {SHARE: 2}), BOOK, missing=missing)
    assert [one.event for one in found.explained] == (
        [
            FillBusted("o", NOON_NS, NOON_NS, "x", "not at the venue any more", is_corrected=True),
            OrderFilled("o", NOON_NS - 9, NOON_NS, "y", D(2), D("499.97"), D("0.10")),
        ]
        if is_booked
        else []
    )
    assert told_of(found) == (set() if is_booked else {"cash"})


@pytest.mark.rows("side", Side)
@pytest.mark.rows("cents", [-2, 2, -300, 300])
@pytest.mark.rows("charged", [["-0.05"], ["-0.02", "-0.05"], []])
@pytest.mark.rows("uncharged", ["0", "0.02", "4.00"])
def test_a_correction_to_the_cent_goes_before_fees_that_may_not_be_charged_yet(
    side, cents, charged, uncharged
):
    # a fee of the history that left two cents open was booked in the correction's place (seed 1040)
    instead = foreign(3, D(500) + D(cents) / 100, side, ts_ns=NOON_NS - 9, name="y")
    instead = replace(instead, fee=D("0.07"))
    missing = [BookedFill("o", "x", SHARE, D(3) * side.sign, D(500), D("0.04"), instead)]
    fees = [
        change("fee", cash=cash, name=f"a{at}", ts_ns=NOON_NS - 9 + at) for at, cash in enumerate(charged)
    ]
    holdings = {SHARE: 3 * side.sign}
    moved = -3 * D(cents) / 100 * side.sign - D("0.03")
    found = explain(
        picture("0", holdings),
        picture(str(moved), holdings),
        BOOK,
        changes=fees,
        missing=missing,
        tolerance=Tolerance(uncharged=D(uncharged)),
    )
    bust, again = (one.event for one in found.explained)
    assert (bust.execution_id, bust.is_corrected) == ("x", True)
    assert (again.execution_id, again.price, again.fee) == ("y", instead.price, D("0.07"))
    assert sum(one.cash for one in found.explained) == moved
    assert found.unexplained == ()


def test_an_execution_that_a_late_history_does_not_list_yet_is_none_that_was_busted():
    missing = [BookedFill("o", "x", SHARE, D(3), D(500)), BookedFill("p", "y", SHARE, D(2), D(501))]
    ours = picture("0", {SHARE: 5})
    assert explain(ours, ours, BOOK, missing=missing) == EQUAL
    found = explain(ours, picture("1500", {SHARE: 2}), BOOK, missing=missing)  # one of the two is gone
    assert (found.explained, told_of(found)) == ((), {"SPY", "cash"})


@pytest.mark.rows(
    ("held", "ex_ns", "cash", "is_booked", "is_found"),
    [
        (10, 0, "15", False, True),
        (10, 0, "15.01", False, True),
        (10, 0, "15.02", False, False),
        (10, 1, "15", False, False),  # tomorrow's
        (10, -1, "15", False, True),
        (10, 0, "15", True, False),
        (-10, 0, "-15", False, True),
        (0, 0, "15", False, False),
    ],
)
def test_a_declared_dividend_is_expected_from_its_ex_date_on(held, ex_ns, cash, is_booked, is_found):
    dividend = DividendEvent(SHARE, 1, 1, NOON_NS + ex_ns, D("1.50"))
    reference = "dividend-0-2024-03-04"
    holdings = {SHARE: held} if held else {}
    found = explain(
        picture("0", holdings),
        picture(cash, holdings),
        BOOK,
        dividends=[dividend],
        is_booked=lambda name: is_booked and name == reference,
    )
    assert [(one.cause, one.event.reference, one.cash) for one in found.explained] == (
        [("dividend", reference, held * D("1.50"))] if is_found else []
    )
    assert told_of(found) == (set() if is_found else {"cash"})
