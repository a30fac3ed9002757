"""The end of contracts at a broker: levels, deliveries, exercises; and how orders match."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.intents import Side, Stop, Trailing
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import MINUTE_NS, NEVER_NS
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF, order_cutoff_ns
from scalpdesk.instruments.sessions import OLDEST_CLOSE_NS, expiry_instant_ns, session_on
from scalpdesk.instruments.settlement import delivery
from scalpdesk.simulation.expiry import can_take_delivery, liquidation_ns
from scalpdesk.simulation.fills.base import Resting, displayed, takes_liquidity
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk.simulation.orders import OrderRequest, PositionIntent, Status
from scalpdesk_testing.kit.broker import Market, connect
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
OPEN_NS, CLOSE_NS = session_on(DAY).open_ns, session_on(DAY).close_ns
EXPIRING = straddle_book(500, expiry=DAY)
ENDS_NS = expiry_instant_ns(EXPIRING[CALL])
CLEARED_NS = cleared_ns(ENDS_NS)


class Venue(Market):
    """A broker of SPY and a straddle that ends today, with one account."""

    def __init__(self, positions=None, *, book=None, rules=None, **terms):
        book = straddle_book(500, expiry=DAY) if book is None else book
        super().__init__(book, positions, opens_ns=OPEN_NS, broker={"rules": rules}, **terms)

    def quote(self, number, mid, at_ns=OPEN_NS, half=0.5, size=100.0):
        super().quote(number, at_ns, mid - half, mid + half, size, size)


# levels ---------------------------------------------------------------------------------------------


def test_an_option_is_settled_at_the_last_quote_before_its_end():
    venue = Venue({CALL: 2})
    venue.quote(SHARE, 510, ENDS_NS)
    venue.broker.advance(ENDS_NS)
    venue.broker.advance(ENDS_NS + 1)
    venue.quote(SHARE, 400, ENDS_NS + 2)
    venue.broker.advance(CLEARED_NS - 1)
    assert (venue.bookings(), venue.account.quantity(CALL)) == ([], 2)
    venue.broker.advance(CLEARED_NS)
    gone, delivered = venue.bookings()
    assert (gone.cause, gone.quantity_change, gone.ts_event_ns) == (ChangeCause.EXERCISE, -2, ENDS_NS)
    assert (delivered.quantity_change, delivered.cash_change) == (200, -100_000)
    assert delivered.ts_recv_ns == CLEARED_NS
    assert venue.account.quantity(SHARE) == 200


@pytest.mark.parametrize(("age_ns", "settles"), [(OLDEST_CLOSE_NS, True), (OLDEST_CLOSE_NS + 1, False)])
def test_a_closing_level_is_only_so_old(age_ns, settles):
    venue = Venue({CALL: 2})
    venue.quote(SHARE, 510, ENDS_NS - age_ns)
    venue.broker.advance(ENDS_NS + 1)
    if settles:
        venue.broker.expiry.check_levels()
        venue.broker.advance(CLEARED_NS)
        assert [one.cause for one in venue.bookings()] == ["exercise", "delivery"]
        return
    assert venue.broker.ledger.awaited == {SHARE}
    assert venue.broker.ledger.working == {SHARE: []}
    with pytest.raises(DataError, match="SPY240304C00500000 is held to its expiry on 2024-03-04") as caught:
        venue.broker.expiry.check_levels()
    assert caught.value.value.startswith("last known level: 510.00 of 2024-03-04 ")
    venue.quote(SHARE, 512, ENDS_NS + MINUTE_NS)
    venue.broker.advance(CLEARED_NS)
    assert [one.cause for one in venue.bookings()] == ["exercise", "delivery"]
    assert (venue.broker.ledger.awaited, venue.broker.ledger.working) == (set(), {})
    venue.broker.expiry.check_levels()


@pytest.mark.rows(
    ("exercises_nothing", "told", "shares"), [(True, None, -100), (False, None, 100), (False, 1, 0)]
)
def test_an_owner_who_lets_go_is_not_exercised_and_is_assigned_all_the_same(exercises_nothing, told, shares):
    book = straddle_book(500, 490, expiry=DAY)
    venue = Venue({CALL: 2, 3: -1}, book=book, exercises_nothing=exercises_nothing)
    if told:
        venue.broker.expiry.instruct("account", CALL, exercises=False, contracts=D(told))
    venue.quote(SHARE, 510, ENDS_NS)
    venue.broker.advance(ENDS_NS + 1)
    assert venue.account.quantity(SHARE) == 0
    venue.broker.advance(CLEARED_NS)
    assert venue.account.quantity(SHARE) == shares
    assert venue.account.quantity(CALL) == venue.account.quantity(3) == 0
    references = [one.reference for one in venue.bookings()]
    assert len(set(references)) == len(references)


def test_notices_are_refused_for_what_is_not_held_long_or_too_late():
    venue = Venue({CALL: 2, PUT: -1})
    for number, contracts in ((PUT, 1), (SHARE, 1), (CALL, 3), (CALL, 0)):
        with pytest.raises(Refused):
            venue.broker.expiry.instruct("account", number, exercises=True, contracts=D(contracts))
    venue.broker.ledger.now_ns = ENDS_NS
    for exercises in (True, False):
        with pytest.raises(Refused) as caught:
            venue.broker.expiry.instruct("account", CALL, exercises=exercises)
        assert caught.value.cause is Cause.OUTSIDE_HOURS
    assert venue.broker.expiry.instructions == {}


def test_without_any_quote_the_missing_level_is_named():
    venue = Venue({PUT: -1})
    venue.broker.advance(ENDS_NS + 1)
    with pytest.raises(DataError) as caught:
        venue.broker.expiry.check_levels()
    assert caught.value.value == "last known level: none"
    assert caught.value.fix == "import SPY of 2024-03-04, or end the run before that day"


def test_an_official_level_counts_before_any_quote():
    venue = Venue({CALL: 2})
    asked = []
    venue.broker.expiry.settlement_of = lambda symbol, day: asked.append((symbol, day)) or D(499)
    venue.quote(SHARE, 510, ENDS_NS)
    venue.broker.advance(ENDS_NS + 1)
    venue.broker.advance(CLEARED_NS)
    assert [one.cause for one in venue.bookings()] == [ChangeCause.EXPIRED_WORTHLESS]
    assert set(asked) == {("SPY", DAY)}


def test_what_nobody_holds_waits_for_no_level():
    venue = Venue({SHARE: 10})
    venue.broker.expiry.watch(CALL)
    venue.broker.advance(ENDS_NS + 1)
    assert (venue.bookings(), venue.broker.ledger.awaited) == ([], set())


def test_a_contract_is_watched_once_and_its_orders_end_with_it():
    venue = Venue({CALL: 1})
    before = len(venue.broker.ledger.timers)
    venue.broker.expiry.watch(CALL)
    venue.broker.expiry.watch(SHARE)
    assert len(venue.broker.ledger.timers) == before == 1
    venue.quote(SHARE, 490, ENDS_NS - 1)
    venue.quote(CALL, 1.0, ENDS_NS - 1, 0.05)
    resting, other = venue.order(CALL, -1, 5), venue.order(SHARE, 1, 400)
    venue.broker.advance(ENDS_NS + 1)
    assert (resting.status, other.status) == (Status.EXPIRED, Status.NEW)
    venue.broker.advance(CLEARED_NS)
    assert venue.account.holdings == {}


def test_at_the_close_of_the_session_what_ends_then_is_settled():
    venue = Venue({CALL: 1, PUT: 1})
    venue.quote(SHARE, 510, CLOSE_NS)
    venue.broker.expiry.close_session(CLOSE_NS - 1)
    assert venue.bookings() == []
    venue.broker.expiry.close_session(ENDS_NS)
    venue.broker.advance(CLEARED_NS)
    assert [(one.instrument_id, one.cause) for one in venue.bookings()] == [
        (CALL, "exercise"),
        (SHARE, "delivery"),
        (PUT, "expired_worthless"),
    ]


# liquidations, exercises ----------------------------------------------------------------------------


def test_a_position_that_cannot_be_paid_for_is_closed_before_the_end():
    assert liquidation_ns(EXPIRING[CALL]) == ENDS_NS - 15 * MINUTE_NS
    single = option("C", 500, DAY, "AAPL")
    assert liquidation_ns(single) == expiry_instant_ns(single) - 30 * MINUTE_NS
    assert order_cutoff_ns(single, ALPACA_CUTOFF) == expiry_instant_ns(single) - 45 * MINUTE_NS
    assert order_cutoff_ns(EXPIRING[CALL], ALPACA_CUTOFF) == ENDS_NS - 30 * MINUTE_NS

    def closed(cash, *, liquidation=True):
        venue = Venue({CALL: 1}, cash=cash, rules=VenueRules(liquidation=liquidation))
        venue.quote(SHARE, 510)
        venue.quote(CALL, 11)
        resting = venue.order(CALL, -1, 50)
        venue.broker.advance(ENDS_NS - 15 * MINUTE_NS - 1)
        assert (venue.account.quantity(CALL), resting.status) == (1, Status.NEW)
        venue.broker.advance(ENDS_NS - 15 * MINUTE_NS)
        return venue.account.quantity(CALL), resting.status

    assert closed(25_000) == (1, Status.NEW)  # 50 000 of shares on margin
    assert closed(20_000) == (0, Status.CANCELED)
    assert closed(20_000, liquidation=False) == (1, Status.NEW)


def test_a_bought_option_is_exercised_when_its_holder_wants():
    venue = Venue({CALL: 2, SHARE: 1, PUT: -3})
    venue.broker.expiry.exercise("account", CALL)
    assert (venue.account.quantity(CALL), venue.account.quantity(SHARE)) == (0, 201)
    assert venue.account.cash == 0
    for number in (CALL, PUT, SHARE):
        with pytest.raises(Refused) as caught:
            venue.broker.expiry.exercise("account", number)
        assert caught.value.cause is Cause.UNKNOWN_POSITION


def test_an_exercise_takes_off_the_order_that_would_open_and_no_other():
    venue = Venue({CALL: 2})
    venue.quote(SHARE, 500)
    venue.quote(CALL, 12)
    closing = venue.order(CALL, -2, 30, intent=PositionIntent.SELL_TO_CLOSE)
    other = venue.order(SHARE, 5, 400)
    venue.broker.expiry.exercise("account", CALL)
    assert (closing.status, other.status) == (Status.CANCELED, Status.NEW)


@pytest.mark.rows(("held", "contracts", "left"), [(-3, 2, -1), (-3, 5, 0), (3, 1, 3), (0, 1, 0)])
def test_a_sold_option_is_assigned_as_far_as_it_is_held(held, contracts, left):
    venue = Venue({PUT: held} if held else {})
    assert venue.broker.expiry.assign("account", PUT, D(contracts)) is (held < 0)
    assert venue.account.quantity(PUT) == left
    assert venue.account.quantity(SHARE) == 100 * (left - held)


@pytest.mark.rows(
    ("right", "held", "shares"), [("C", 2, 200), ("C", -2, -200), ("P", 2, -200), ("P", -2, 200)]
)
def test_a_delivery_moves_shares_and_their_price(right, held, shares):
    gone, delivered = delivery(option(right, 500), 1, 0, D(held), 5, 7)
    assert (gone.quantity_change, delivered.quantity_change) == (-held, shares)
    assert (delivered.price, delivered.cash_change) == (500, -500 * shares)
    assert {(one.ts_event_ns, one.ts_recv_ns) for one in (gone, delivered)} == {(5, 7)}


# orders and quotes ----------------------------------------------------------------------------------


@pytest.mark.rows(
    ("sign", "limit", "bid", "ask", "takes"),
    [
        (1, "10", 9.0, 10.0, True),
        (1, "9.99", 9.0, 10.0, False),
        (1, None, 9.0, 10.0, True),
        (1, None, 0.0, 0.0, False),
        (-1, "9", 9.0, 10.0, True),
        (-1, "9.01", 9.0, 10.0, False),
        (-1, None, 9.0, 10.0, True),
        (-1, None, 0.0, 10.0, False),
        (-1, "0.01", 0.0, 10.0, False),
    ],
)
def test_an_order_takes_the_far_side_where_there_is_one_within_its_limit(sign, limit, bid, ask, takes):
    resting = Resting(sign, D(5), None if limit is None else D(limit))
    assert takes_liquidity(resting, quote(0, 0, bid, ask)) is takes


@pytest.mark.rows(("size", "shown"), [(0.0, 5), (3.0, 3), (5.0, 5), (7.0, 5), (4.9, 4), (0.5, 0)])
@pytest.mark.rows("sign", [1, -1])
def test_as_much_is_filled_as_the_far_side_shows(size, shown, sign):
    sizes = (99.0, size) if sign > 0 else (size, 99.0)
    assert displayed(Resting(sign, D(5), None), quote(0, 0, 9.0, 10.0, *sizes)) == shown


def test_a_stop_wakes_at_its_price_and_a_trailing_one_follows():
    venue = Venue({SHARE: 10})
    venue.quote(SHARE, 500)
    symbol = "SPY"
    stop = venue.broker.submit("account", OrderRequest(symbol, Side.SELL, Stop(D(490)), quantity=D(1)))
    trailing = venue.broker.submit("account", OrderRequest(symbol, Side.SELL, Trailing(D(8)), quantity=D(1)))
    percent = venue.broker.submit(
        "account",
        OrderRequest(symbol, Side.SELL, Trailing(D(2), is_percent=True), quantity=D(1)),
    )
    assert (trailing.high_water, trailing.stop_price, percent.stop_price) == (500, 492, 490)
    for at, mid in enumerate((510, 505), start=1):
        venue.quote(SHARE, mid, OPEN_NS + at)
    assert (trailing.high_water, trailing.stop_price, percent.stop_price) == (510, 502, D("499.8"))
    assert [one.status for one in (stop, trailing, percent)] == [Status.NEW] * 3
    venue.quote(SHARE, 502, OPEN_NS + 3)
    assert [one.status for one in (stop, trailing, percent)] == [Status.NEW, Status.FILLED, Status.NEW]
    venue.quote(SHARE, 490.01, OPEN_NS + 4)
    assert [one.status for one in (stop, percent)] == [Status.NEW, Status.FILLED]
    assert stop.triggered is False
    venue.quote(SHARE, 490, OPEN_NS + 5)
    assert (stop.status, stop.triggered) == (Status.FILLED, True)


def test_nothing_trades_on_a_quote_of_the_session_before_or_in_a_halt():
    venue = Venue()
    venue.broker.ledger.quotes[SHARE] = quote(SHARE, OPEN_NS - 1, 499.5, 500.5)
    early = venue.order(SHARE, 1)
    assert early.status is Status.NEW
    venue.quote(SHARE, 500)
    assert early.status is Status.FILLED
    venue.broker.halt(SHARE)
    halted = venue.order(SHARE, 1)
    venue.quote(SHARE, 500, OPEN_NS + 1)
    assert halted.status is Status.NEW
    venue.broker.resume(SHARE)
    assert halted.status is Status.FILLED


def test_a_broker_opens_each_session_with_settled_cash():
    venue = Venue(multiplier=1)
    venue.account.unsettled = D(500)
    assert (venue.broker.is_open, venue.broker.due_ns) == (True, NEVER_NS)
    venue.broker.close_session(CLOSE_NS)
    assert (venue.broker.is_open, venue.account.unsettled) == (False, 500)
    venue.broker.open_session(CLOSE_NS + 5, NEVER_NS)
    assert (venue.broker.is_open, venue.account.unsettled) == (True, 0)
    assert venue.broker.ledger.now_ns == CLOSE_NS + 5
    assert isinstance(venue.broker.ledger.instruments, Instruments)


def test_a_contract_that_settles_at_the_close_misses_its_level_behind_one_of_the_opening():
    book = Instruments([Equity("SPX"), us_option("SPX210115C03700000"), us_option("SPXW210115C03700000")])
    venue = Venue({1: 1, 2: 1}, book=book)
    venue.broker.advance(expiry_instant_ns(book[2]) + 1)
    assert venue.bookings() == []
    with pytest.raises(DataError, match="SPXW210115C03700000 is held to its expiry on 2021-01-15"):
        venue.broker.expiry.check_levels()


def test_a_share_is_assigned_by_nobody():
    venue = Venue({SHARE: -5})
    assert venue.broker.expiry.assign("account", SHARE, D(1)) is False
    assert venue.account.quantity(SHARE) == -5


def test_a_level_of_before_the_end_settles_at_the_end_and_not_later():
    venue = Venue({CALL: 1})
    venue.quote(SHARE, 510, ENDS_NS - MINUTE_NS)
    venue.broker.expiry.settle(CALL, EXPIRING[CALL])
    venue.broker.advance(CLEARED_NS)
    assert [one.cause for one in venue.bookings()] == ["exercise", "delivery"]
    venue = Venue({CALL: 1})
    venue.quote(SHARE, 510, ENDS_NS - MINUTE_NS)
    venue.broker.ledger.now_ns = ENDS_NS + 2
    venue.broker.expiry.settle(CALL, EXPIRING[CALL])
    venue.broker.advance(CLEARED_NS)
    assert venue.bookings() == []
    venue.quote(SHARE, 511, CLEARED_NS + 3)
    assert [one.ts_recv_ns for one in venue.bookings()] == [CLEARED_NS + 3] * 2


@pytest.mark.rows(
    ("root", "right", "held", "shares", "power", "can"),
    [
        ("XSP", "C", 1, 0, 0, True),  # settled in cash
        ("SPY", "C", 0, 0, 0, True),  # nothing is held
        ("SPY", "C", 1, 0, 49_999, False),
        ("SPY", "C", 1, 0, 50_000, True),
        ("SPY", "C", -1, 100, 0, True),  # the shares are there
        ("SPY", "C", -1, 40, 29_999, False),  # sixty have to be borrowed
        ("SPY", "P", 1, 100, 0, True),
        ("SPY", "P", -1, 100, 49_999, False),  # a hundred more to be paid for
    ],
)
def test_an_account_can_take_delivery_of_what_it_can_pay_for_or_holds(root, right, held, shares, power, can):
    contract = option(right, 500, root=root)
    book = Instruments([Equity("SPY"), contract])
    account = connect(book, positions={0: shares, 1: held}).account
    assert can_take_delivery(account, contract, book, D(power)) is can
