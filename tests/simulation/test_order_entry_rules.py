"""Which requests the simulated broker refuses and in which words, orders with exits, and its hours."""

from datetime import date, time
from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.simulation.hours import ExchangeHours
from scalpdesk.simulation.orders import Changes, LegRequest, OrderClass, OrderRequest
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
T = 1_000_000_000
CALL, PUT = (straddle_book()[number].symbol for number in (1, 2))
LEGS = (LegRequest(CALL, D(1), Side.BUY), LegRequest(PUT, D(1), Side.BUY))
MARKET, LIMIT = OrderType.MARKET, OrderType.LIMIT


@pytest.fixture
def venue(exchange):
    """Return a broker that quotes a share at 500 and options at 9 and 8."""
    connection = exchange()
    for number, mid in enumerate((500, 9, 8)):
        connection.on_quote(quote(number, T, mid - 0.5, mid + 0.5))
    return connection


def submit(venue, symbol="SPY", side=Side.BUY, kind=MARKET, **wanted):
    request = OrderRequest(symbol, side, kind, **({"quantity": D(10)} | wanted))
    return venue.broker.submit(venue.account.name, request)


def combo(legs=LEGS, kind=MARKET, **wanted):
    return {"symbol": "", "side": None, "kind": kind, "structure": OrderClass.MLEG, "legs": legs} | wanted


def bracket(structure=OrderClass.BRACKET, profit="510", loss="490", **wanted):
    exits = {"take_profit_limit": profit and D(profit), "stop_loss_stop": loss and D(loss)}
    return {"structure": structure} | exits | wanted


@pytest.mark.rows(
    ("wanted", "why"),
    [
        ({"side": None}, "side is required"),
        ({"limit_price": D(500)}, "market orders require no stop or limit price"),
        ({"kind": LIMIT}, "limit orders require only limit price"),
        ({"kind": LIMIT, "limit_price": D(0)}, "limit_price must be > 0"),
        ({"kind": Stop(D(0))}, "stop_price must be > 0"),
        ({"kind": Trailing(D(0))}, "trail must be > 0"),
        ({"kind": Trailing(D(-1), is_percent=True)}, "trail must be > 0"),
        ({"quantity": D(0)}, "qty must be > 0"),
        ({"quantity": D(-1)}, "qty must be > 0"),
        ({"quantity": None, "notional": D(0)}, "notional must be > 0"),
        ({"quantity": None}, "qty or notional is required, but not both"),
        ({"notional": D(100)}, "qty or notional is required, but not both"),
        (
            {"quantity": None, "notional": D(100), "lifetime": TimeInForce.GTC},
            "notional orders must be DAY market orders",
        ),
        ({"quantity": D("0.5"), "lifetime": TimeInForce.GTC}, "fractional orders must be DAY orders"),
        ({"quantity": D("0.1234567891")}, "qty must have no more than 9 decimals"),
        ({"client_order_id": "x" * 129}, "client_order_id must be no more than 128 characters"),
        (
            {"kind": Stop(D(1)), "lifetime": TimeInForce.IOC},
            "ioc orders must be market or limit orders",
        ),
        ({"symbol": CALL, "quantity": D("0.5")}, "qty must be an integer for options orders"),
        (
            {"symbol": CALL, "quantity": None, "notional": D(100)},
            "notional is not supported for options orders",
        ),
        ({"symbol": CALL} | bracket(), "complex orders are not supported for options trading"),
        (
            {"symbol": CALL, "kind": Trailing(D(1))},
            "invalid order type for options trading",
        ),
        (combo(quantity=None, notional=D(5)), "qty is required for mleg orders"),
        (combo(quantity=D(0)), "qty must be > 0"),
        (combo(quantity=D(-1), kind=LIMIT, limit_price=D(17)), "qty must be > 0"),
        (combo(kind=Stop(D(1))), "mleg orders must be market or limit orders"),
        (combo(LEGS[:1]), "mleg orders must have between 2 and 4 legs"),
        (combo((LEGS * 3)[:5]), "mleg orders must have between 2 and 4 legs"),
        (combo((LEGS[0], LEGS[0])), "mleg orders must have unique symbols"),
        (combo((LEGS[0], LegRequest(PUT, D(0), Side.BUY))), "ratio_qty must be a whole number > 0"),
        (combo((LEGS[0], LegRequest(PUT, D("1.5"), Side.BUY))), "ratio_qty must be a whole number > 0"),
        (combo((LEGS[0], LegRequest("SPY", D(1), Side.BUY))), "mleg orders are for option contracts only"),
        (
            bracket(loss=None),
            "bracket orders require take_profit.limit_price and stop_loss.stop_price",
        ),
        (bracket(OrderClass.OTO), "oto orders require either take_profit or stop_loss"),
        (bracket(OrderClass.OTO, None, None), "oto orders require either take_profit or stop_loss"),
        (bracket(lifetime=TimeInForce.IOC), "bracket orders must be DAY or GTC"),
    ],
)
def test_a_malformed_request_is_refused_in_these_words(venue, wanted, why):
    with pytest.raises(Refused) as refused:
        submit(venue, **wanted)
    assert (refused.value.cause, refused.value.detail) == (Cause.MALFORMED, why)
    assert venue.account.orders == {}


@pytest.mark.rows(
    ("wanted", "cause"),
    [
        ({"symbol": "QQQ"}, Cause.UNKNOWN_ASSET),
        (combo((LEGS[0], LegRequest("QQQ", D(1), Side.BUY))), Cause.UNKNOWN_ASSET),
        ({"extended_hours": True}, Cause.EXTENDED_HOURS),
        (
            {"symbol": CALL, "kind": LIMIT, "limit_price": D(9), "extended_hours": True},
            Cause.EXTENDED_HOURS,
        ),
        (bracket(quantity=D("1.5")), Cause.UNPROCESSABLE),
        (bracket(profit="490", loss="510"), Cause.UNPROCESSABLE),
        (bracket(profit="500", loss="500"), Cause.UNPROCESSABLE),
    ],
)
def test_a_request_against_a_rule_is_refused_by_its_cause(venue, wanted, cause):
    with pytest.raises(Refused) as refused:
        submit(venue, **wanted)
    assert refused.value.cause is cause


def test_a_client_id_and_a_closing_are_for_what_is_there(venue):
    first = submit(venue, kind=LIMIT, limit_price=D(400), client_order_id="one")
    submit(venue, kind=LIMIT, limit_price=D(401), client_order_id="two")
    name, changes = venue.account.name, Changes(limit_price=D(402), client_order_id="two")
    for refused_by, cause in [
        (lambda: venue.broker.replace(name, first.order_id, changes), Cause.DUPLICATE_CLIENT_ID),
        (lambda: venue.broker.close_position(name, 0), Cause.UNKNOWN_POSITION),
        (lambda: venue.broker.cancel(name, "nobody"), Cause.UNKNOWN_ORDER),
    ]:
        with pytest.raises(Refused) as refused:
            refused_by()
        assert refused.value.cause is cause


def test_a_part_of_one_exit_leaves_the_other_what_is_left(venue):
    """Bought 10; 4 of them sold at the limit leave 6 to the stop, and the stop's fill ends the limit."""
    entry = submit(venue, **bracket())
    profit, loss = entry.legs
    venue.on_quote(quote(0, T + 1, 510, 510.5, bid_size=4, ask_size=4))
    assert (profit.leaves, loss.leaves, loss.resting.leaves) == (6, 6, 6)
    venue.on_quote(quote(0, T + 2, 489, 489.5))
    assert [order.status.value for order in (entry, profit, loss)] == ["filled", "canceled", "filled"]
    assert venue.account.holdings == {}


@pytest.mark.parametrize(
    ("trail", "changed", "stops"),
    [(Trailing(D(5)), D(2), 508), (Trailing(D(2), is_percent=True), D(1), D("504.90"))],
)
def test_a_trailing_stop_keeps_its_high_and_takes_a_new_trail(venue, trail, changed, stops):
    submit(venue)
    order = submit(venue, side=Side.SELL, kind=trail)
    venue.on_quote(quote(0, T + 1, 509.5, 510.5))
    venue.broker.replace(venue.account.name, order.order_id, Changes(trail=changed))
    (stop,) = (each for each in venue.account.open_orders())
    venue.on_quote(quote(0, T + 2, 508.5, 509.5))
    assert (stop.high_water, stop.stop_price, stop.triggered) == (510, stops, False)
    venue.on_quote(quote(0, T + 3, float("nan"), 400.5))  # one side alone moves no stop
    assert not stop.triggered
    venue.on_quote(quote(0, T + 4, float(stops) - 1.5, float(stops) - 0.5))
    assert (stop.status.value, venue.account.holdings) == ("filled", {})


def test_shares_that_an_offered_call_would_take_are_not_free(venue):
    submit(venue, quantity=D(100))
    assert venue.account.free_shares("SPY") == 100
    submit(venue, CALL, Side.SELL, LIMIT, quantity=D(1), limit_price=D(20))
    assert venue.account.free_shares("SPY") == 0
    assert venue.account.free_shares("QQQ") == 0


def test_the_exchanges_hours_are_those_of_its_calendar():
    """Thursday 28 March 2024 is followed by Good Friday: the next session is Monday's."""
    hours, thursday, monday = ExchangeHours(), session_on(date(2024, 3, 28)), session_on(date(2024, 4, 1))
    opens, closes = thursday.open_ns, thursday.close_ns
    cases = {
        opens - 1: (None, opens, closes, opens),
        opens: (thursday, monday.open_ns, closes, closes),
        closes - 1: (thursday, monday.open_ns, closes, closes),
        closes: (None, monday.open_ns, monday.close_ns, monday.open_ns),
        new_york_ns(date(2024, 3, 29), time(12)): (None, monday.open_ns, monday.close_ns, monday.open_ns),
    }
    for now_ns, wanted in cases.items():
        found = hours.session_at(now_ns), hours.next_open_ns(now_ns), hours.next_close_ns(now_ns)
        assert (*found, hours.next_boundary_ns(now_ns)) == wanted
    assert list(hours.calendar(thursday.day, monday.day)) == [thursday, monday]


def test_both_exits_of_a_bracket_for_the_day_end_with_it(venue):
    entry = submit(venue, **bracket(lifetime=TimeInForce.DAY))
    ends_ns = max(order.expires_ns for order in entry.legs)
    venue.broker.close_session(ends_ns - 1)
    assert [order.is_open for order in entry.legs] == [True, True]
    venue.broker.close_session(ends_ns)
    assert [order.status.value for order in (entry, *entry.legs)] == ["filled", "expired", "expired"]
