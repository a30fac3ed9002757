"""Content of orders, the buying power they withhold, and orders that market or account forbid."""

from dataclasses import replace
from datetime import date, time
from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import MINUTE_NS, NEVER_NS
from scalpdesk.instruments.classes import last_trading_ns, us_option
from scalpdesk.instruments.contract import Equity, Index, Instruments
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    final_close_ns,
    new_york_ns,
    next_session,
    session_on,
)
from scalpdesk.instruments.ticks import NICKEL_DIME
from scalpdesk.margin.regulation_t import SPREADS, UNCOVERED
from scalpdesk.simulation.hours import ExchangeHours
from scalpdesk.simulation.order_entry import (
    ALPACA_RULES,
    DERIBIT_RULES,
    VenueRules,
    check_available,
    position_intent,
)
from scalpdesk.simulation.orders import Changes, LegRequest, OrderClass, OrderRequest, PositionIntent, Status
from scalpdesk_testing.kit.broker import Market
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book

D = Decimal
DAY_ORDER = TimeInForce.DAY
SHARE, CALL, PUT = 0, 1, 2
OPEN_NS, CLOSE_NS = session_on(DAY).open_ns, session_on(DAY).close_ns
T = OPEN_NS + MINUTE_NS


def market(positions=None, *, rules=None, book=None, **how):
    """Return a broker that has seen SPY at 500 and its options at 9 and 8, half a point each side."""
    made = Market(book or straddle_book(500), positions, opens_ns=OPEN_NS, broker={"rules": rules}, **how)
    for number, mid in enumerate((500, 9, 8)):
        made.quote(number, T, mid - 0.5, mid + 0.5)
    return made


def refused(cause, send):
    with pytest.raises(Refused) as caught:
        send()
    assert caught.value.cause is cause
    return caught.value


# what an order is -----------------------------------------------------------------------------------


@pytest.mark.rows(
    ("held", "quantity", "intent"),
    [(0, 1, "buy_to_open"), (2, -1, "sell_to_close"), (-2, 1, "buy_to_close"), (0, -1, "sell_to_open")],
)
def test_an_order_opens_or_closes_by_what_is_held(held, quantity, intent):
    venue = market({SHARE: held} if held else {})
    order = venue.order(SHARE, quantity, 400 if quantity > 0 else 600)
    assert (order.intent.value, order.created_ns, order.number) == (intent, T, 0)
    assert position_intent(order.side, D(held)).value == intent
    assert venue.account.orders == {order.order_id: order} == venue.ledger.orders
    assert venue.account.by_client_id == {order.client_order_id: order}


def test_orders_are_numbered_over_all_accounts_and_named_where_nobody_names_them():
    venue = market()
    first = venue.order(SHARE, 1, 400, client_order_id=None)
    second = venue.order(SHARE, 1, 401)
    assert (first.number, second.number) == (0, 1)
    assert (first.client_order_id, second.client_order_id) == ("client-1", "client-2")
    assert (first.order_id, second.order_id) == ("sim-1", "sim-2")


def test_an_order_for_the_opening_lives_to_the_close_of_the_next_session():
    venue = Market(straddle_book(500), hours=ExchangeHours(), opens_ns=OPEN_NS)
    venue.quote(SHARE, T, 499.5, 500.5)
    order = venue.order(SHARE, 1, 400, TimeInForce.OPG)
    assert order.expires_ns == next_session(DAY).close_ns
    closed = Market(straddle_book(500), hours=ExchangeHours(), opens_ns=None)
    closed.ledger.now_ns = CLOSE_NS + 1
    assert closed.order(SHARE, 1, 400).expires_ns == next_session(DAY).close_ns
    assert closed.order(SHARE, 1, 400, TimeInForce.GTC).expires_ns == NEVER_NS


def test_an_order_withholds_its_price_where_it_opens_an_option():
    venue = market({PUT: 2})
    assert venue.order(CALL, 2, 5).withholds == 500
    assert venue.order(PUT, -1, 20).withholds == 0
    assert venue.order(SHARE, 1, 400).withholds == 0
    venue.broker.halt(CALL)
    order = venue.order(CALL, 1)
    assert (order.withholds, order.is_unpriced) == (950, False)  # at the ask
    assert venue.order(CALL, 1, kind=Stop(D(12))).withholds == 1_200


def test_without_a_far_side_the_mark_is_what_an_order_costs():
    venue = Market(straddle_book(500), opens_ns=OPEN_NS)
    venue.quote(CALL, T, 8.0, 0.0)
    order = venue.order(CALL, 1)
    assert order.withholds == 100 * venue.ledger.mark(CALL)
    assert order.is_unpriced is (venue.ledger.mark(CALL) == 0)


# sizes ----------------------------------------------------------------------------------------------


def test_parts_of_a_share_are_not_sold_short():
    venue = market()
    assert refused(Cause.SHORTING, lambda: venue.order(SHARE, "-0.5")).facts == {"symbol": "SPY"}
    assert venue.order(SHARE, -1).status is Status.FILLED
    held = market({SHARE: 1})
    assert held.order(SHARE, "-0.5").status is Status.FILLED


@pytest.mark.parametrize(("amount", "allowed"), [("2000", True), ("2000.01", False)])
def test_an_amount_of_money_is_asked_for_its_means(amount, allowed):
    venue = market(cash=1_000, multiplier=2)
    request = OrderRequest("SPY", Side.BUY, OrderType.MARKET, notional=D(amount))
    if allowed:
        assert venue.broker.submit("account", request).status is Status.FILLED
    else:
        refused(Cause.BUYING_POWER, lambda: venue.broker.submit("account", request))


INTENTS = {(1, False): "buy_to_open", (1, True): "buy_to_close", (-1, False): "sell_to_open"}
INTENTS |= {(-1, True): "sell_to_close"}


@pytest.mark.rows("held", [-3, 0, 3])
@pytest.mark.rows("asked", INTENTS.values())
def test_an_intent_that_the_holding_contradicts_is_refused_both_ways(asked, held):
    sign = 1 if asked.startswith("buy") else -1
    inferred, intent = INTENTS[sign, held * sign < 0], PositionIntent(asked)
    holdings = {CALL: held} if held else {}
    single = market(holdings, cash=10**6, options_level=UNCOVERED)
    both = market(holdings, cash=10**6, options_level=UNCOVERED)
    symbols = [both.ledger.instruments[number].symbol for number in (CALL, PUT)]
    legs = (
        LegRequest(symbols[0], D(1), intent.side, intent),
        LegRequest(symbols[1], D(1), Side.BUY, PositionIntent.BUY_TO_OPEN),
    )
    whole = OrderRequest("", None, OrderType.MARKET, DAY_ORDER, D(1), structure=OrderClass.MLEG, legs=legs)
    ways = (
        lambda: single.order(CALL, sign, intent=intent),
        lambda: both.broker.submit(both.account.name, whole),
    )
    for way in ways:
        if asked == inferred:
            assert way() is not None
            continue
        why = refused(Cause.INTENT, way)
        assert why.facts == {"inferred": inferred, "specified": asked}


def test_what_an_order_that_works_will_close_is_still_held():
    venue = market({SHARE: 10})
    venue.order(SHARE, -10, 600)
    why = refused(Cause.INTENT, lambda: venue.order(SHARE, -10, 600, intent=PositionIntent.SELL_TO_OPEN))
    assert why.facts["inferred"] == "sell_to_close"


@pytest.mark.rows(("price", "is_taken"), [("2.35", True), ("2.37", False), ("3.10", True), ("3.15", False)])
def test_the_price_of_an_option_lies_on_its_grid_where_the_venue_asks_for_it(price, is_taken):
    book = Instruments([Equity("SPY"), replace(option("C", 500), tick_rule=NICKEL_DIME), option("P", 500)])
    venue = market(book=book, rules=VenueRules(contract_ticks=True))
    if is_taken:
        working, changes = venue.order(CALL, 1, price), Changes(limit_price=D("2.01"))
        why = refused(
            Cause.SUB_PENNY, lambda: venue.broker.replace(venue.account.name, working.order_id, changes)
        )
    else:
        why = refused(Cause.SUB_PENNY, lambda: venue.order(CALL, 1, price))
    assert why.facts == {"name": "limit_price", "price": "2.01" if is_taken else price}


# rules of a venue -----------------------------------------------------------------------------------


def test_an_order_in_an_expiring_contract_is_refused_in_its_last_minutes_where_the_venue_does():
    book = straddle_book(500, expiry=DAY)
    cutoff_ns = expiry_instant_ns(book[CALL]) - 30 * MINUTE_NS
    venue = market(book=book, rules=VenueRules(cutoff=ALPACA_CUTOFF))
    venue.broker.advance(cutoff_ns - 1)
    assert venue.order(CALL, 1, 5).status is Status.NEW
    venue.broker.advance(cutoff_ns)
    assert refused(Cause.EXPIRING_CONTRACT, lambda: venue.order(CALL, 1, 5)).facts == {
        "symbol": book[CALL].symbol
    }
    free = market(book=straddle_book(500, expiry=DAY))
    last_ns = final_close_ns(book[CALL])
    free.broker.advance(last_ns - 1)
    assert free.order(CALL, 1, 5).status is Status.NEW
    free.broker.advance(last_ns)
    assert refused(Cause.INACTIVE_ASSET, lambda: free.order(CALL, 1, 5)).facts == {
        "symbol": book[CALL].symbol
    }


def test_an_option_dated_to_a_saturday_is_not_traded_on_the_day_it_is_settled():
    book = Instruments([Index("SPX"), us_option("SPX240420C05000000")])
    venue = market(book=book)
    last_ns = last_trading_ns(book[1])
    assert last_ns == new_york_ns(date(2024, 4, 18), time(16, 15))
    venue.broker.advance(last_ns - 1)
    assert venue.order(1, 1, 5).status is Status.NEW
    venue.broker.advance(last_ns)
    refused(Cause.INACTIVE_ASSET, lambda: venue.order(1, 1, 5))


def test_a_cash_index_cannot_be_bought_but_where_a_study_says_so():
    book = Instruments([Index("SPX")])
    refused(Cause.INACTIVE_ASSET, lambda: market(book=book).order(0, 1, 5))
    assert market(book=book, rules=VenueRules(index_orders=True)).order(0, 1, 5).status is Status.NEW


def test_each_leg_of_a_combo_meets_the_rules_of_its_market():
    book = straddle_book(500, expiry=DAY)
    venue = market(book=book)
    venue.broker.advance(final_close_ns(book[CALL]) - 1)
    assert venue.combo({CALL: 1, PUT: 1}, 5).status is Status.NEW
    venue.broker.advance(final_close_ns(book[CALL]))
    refused(Cause.INACTIVE_ASSET, lambda: venue.combo({CALL: 1, PUT: 1}, 5))
    closed = Market(straddle_book(500), opens_ns=None)
    refused(Cause.OUTSIDE_HOURS, lambda: closed.combo({CALL: 1, PUT: 1}))
    assert closed.combo({CALL: 1, PUT: 1}, 5).status is Status.ACCEPTED


@pytest.mark.rows(
    ("price", "allowed"),
    [
        ("1.00", True),
        ("1.005", False),
        ("0.9999", True),
        ("0.99995", False),
        ("500.01", True),
        ("500.011", False),
    ],
)
def test_prices_have_two_decimals_from_one_on_where_the_venue_asks_it(price, allowed):
    venue = market(rules=VenueRules(penny_prices=True))
    if allowed:
        assert venue.order(SHARE, 1, price).limit_price == D(price)
        return
    why = refused(Cause.SUB_PENNY, lambda: venue.order(SHARE, 1, price))
    assert why.facts == {"name": "limit_price", "price": price}
    order = venue.order(SHARE, 1, 400)
    refused(
        Cause.SUB_PENNY,
        lambda: venue.broker.replace("account", order.order_id, Changes(limit_price=D(price))),
    )
    assert market().order(SHARE, 1, price).limit_price == D(price)


@pytest.mark.rows(
    ("lifetime", "limit", "allowed"),
    [
        (TimeInForce.DAY, None, True),
        (TimeInForce.DAY, 5, True),
        (TimeInForce.GTC, 5, True),
        (TimeInForce.GTC, None, False),
        (TimeInForce.IOC, 5, False),
    ],
)
def test_orders_in_options_live_for_the_day_or_with_a_limit_until_cancelled(lifetime, limit, allowed):
    venue = market(rules=VenueRules(option_lifetimes=True))
    if allowed:
        assert venue.order(CALL, 1, limit, lifetime).lifetime is lifetime
    else:
        refused(Cause.MALFORMED, lambda: venue.order(CALL, 1, limit, lifetime))
    assert market().order(CALL, 1, limit, lifetime).lifetime is lifetime


def test_an_order_in_an_option_at_the_market_is_for_the_session():
    venue = Market(straddle_book(500), opens_ns=None)
    refused(Cause.OUTSIDE_HOURS, lambda: venue.order(CALL, 1))
    assert venue.order(CALL, 1, 5).status is Status.ACCEPTED
    assert venue.order(SHARE, 1).status is Status.ACCEPTED


@pytest.mark.rows(
    ("resting", "sent", "kind"),
    [
        ((-1, 501), (1, 501), "limit"),
        ((-1, 501), (1, 502), "limit"),
        ((-1, 501), (1, 500), None),
        ((-1, 501), (1, None), "limit"),
        ((1, 499), (-1, 499), "limit"),
        ((1, 499), (-1, 500), None),
        ((1, 499), (1, 499), None),
    ],
)
def test_an_order_that_could_trade_with_ones_own_is_refused_where_the_venue_does(resting, sent, kind):
    """The account holds shares in the way that both orders are allowed by themselves."""
    held = 10 if -1 in (resting[0], sent[0]) else 0
    venue = market({SHARE: held} if held else {}, rules=VenueRules(wash_trades=True))
    venue.quote(SHARE, T + 1, 490.0, 510.0)
    first = venue.order(SHARE, *resting)
    if kind is None:
        assert venue.order(SHARE, *sent).order_id != first.order_id
        return
    why = refused(Cause.WASH_TRADE, lambda: venue.order(SHARE, *sent))
    assert why.facts == {
        "existing_order_id": first.order_id,
        "reject_reason": f"opposite side {kind} order exists",
    }
    free = market({SHARE: held} if held else {})
    free.order(SHARE, *resting)
    assert free.order(SHARE, *sent).is_open in (True, False)


def test_a_stop_counts_with_its_stop_price_and_an_order_in_another_instrument_not_at_all():
    venue = market({SHARE: 10}, rules=VenueRules(wash_trades=True))
    stop = venue.order(SHARE, -1, kind=Stop(D(480)))
    assert refused(Cause.WASH_TRADE, lambda: venue.order(SHARE, 1, 480)).facts == {
        "existing_order_id": stop.order_id,
        "reject_reason": "opposite side market/stop order exists",
    }
    assert venue.order(SHARE, 1, 479).status is Status.NEW
    assert venue.order(CALL, 1, 5).status is Status.NEW


def test_where_a_venue_turns_holdings_round_an_order_may_be_larger_than_one():
    venue = market({SHARE: 10}, rules=DERIBIT_RULES)
    closing = venue.order(SHARE, -10, 600)
    turning = venue.order(SHARE, -11, 600)
    assert (closing.intent.value, turning.intent.value) == ("sell_to_close", "sell_to_open")
    refused(Cause.QUANTITY, lambda: market({SHARE: 10}).order(SHARE, -11, 600))


def test_the_rules_of_the_venues():
    assert (
        VenueRules(
            cutoff=ALPACA_CUTOFF,
            liquidation=True,
            wash_trades=True,
            penny_prices=True,
            contract_ticks=True,
            option_lifetimes=True,
            turns=False,
        )
        == ALPACA_RULES
    )
    assert VenueRules(turns=True) == DERIBIT_RULES
    plain = VenueRules()
    assert not any(
        (
            plain.cutoff,
            plain.liquidation,
            plain.wash_trades,
            plain.penny_prices,
            plain.option_lifetimes,
            plain.turns,
        )
    )


# exits ----------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("quantity", "profit", "loss", "allowed"),
    [
        (1, 510, 490, True),
        (1, 490, 490, False),
        (-1, 490, 510, True),
        (-1, 490, 490, False),
        (-1, 510, 490, False),
    ],
)
def test_the_exits_of_a_bracket_lie_on_their_sides(quantity, profit, loss, allowed):
    venue = market()
    terms = {"structure": OrderClass.BRACKET, "take_profit_limit": profit, "stop_loss_stop": loss}
    if allowed:
        assert len(venue.order(SHARE, quantity, 500, **terms).legs) == 2
        return
    sign = ">" if quantity > 0 else "<"
    assert refused(Cause.UNPROCESSABLE, lambda: venue.order(SHARE, quantity, 500, **terms)).detail == (
        f"take_profit.limit_price must be {sign} stop_loss.stop_price"
    )


def test_two_exits_of_a_holding_lie_on_the_sides_of_its_exit():
    venue = market({SHARE: 1})
    terms = {"structure": OrderClass.OCO, "take_profit_limit": 490, "stop_loss_stop": 510}
    assert refused(Cause.UNPROCESSABLE, lambda: venue.order(SHARE, -1, 510, **terms)).detail == (
        "take_profit.limit_price must be > stop_loss.stop_price"
    )
    terms = {"structure": OrderClass.OCO, "take_profit_limit": 490, "stop_loss_stop": 510}
    short = market({SHARE: -1}).order(SHARE, 1, 490, **terms)
    assert (short.limit_price, short.legs[0].stop_price, short.legs[0].side) == (490, 510, Side.BUY)


def test_one_exit_of_an_entry_takes_its_profit():
    venue = market()
    entry = venue.order(SHARE, 3, 501, structure=OrderClass.OTO, take_profit_limit=510)
    (profit,) = entry.legs
    assert (profit.kind, profit.limit_price, profit.stop_price, profit.quantity) == (
        OrderType.LIMIT,
        510,
        None,
        3,
    )
    assert (profit.parent, profit.status) == (entry.order_id, Status.NEW)


# what is free ---------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("held", "side", "quantity", "closes"),
    [
        ("1", Side.SELL, "1", True),
        ("0.5", Side.SELL, "0.5", True),
        ("1", Side.BUY, "1", False),
        ("-1", Side.BUY, "1", True),
        ("-1", Side.SELL, "1", False),
    ],
)
def test_an_order_closes_what_it_is_opposite_to(held, side, quantity, closes):
    account = market({SHARE: held}).account
    assert check_available(account, SHARE, "SPY", side, D(quantity)) is closes


def test_more_than_is_free_of_a_holding_is_refused_with_the_figures():
    venue = market({SHARE: -10})
    venue.order(SHARE, 7, 400)
    assert refused(Cause.QUANTITY, lambda: venue.order(SHARE, 4, 400)).facts == {
        "symbol": "SPY",
        "requested": "4",
        "available": "3",
        "existing_qty": "10",
        "held_for_orders": "7",
    }
    assert venue.order(SHARE, 3, 400).status is Status.NEW


def test_a_combo_is_judged_by_its_net_limit():
    """The legs cost 18 at their far sides; the limit of 12 is what is asked for."""
    venue = market(cash=1_200)
    combo = venue.combo({CALL: 1, PUT: 1}, 12)
    assert (combo.withholds, combo.side, combo.intent.value) == (1_200, Side.BUY, "buy_to_open")
    assert [leg.ratio for leg in combo.legs] == [1, 1]
    poor = market(cash=1_199)
    why = refused(Cause.BUYING_POWER, lambda: poor.combo({CALL: 1, PUT: 1}, 12))
    assert (why.facts["buying_power"], why.facts["cost_basis"]) == ("1199.00", "1200.00")
    ratio = market(cash=100_000).combo({CALL: 2, PUT: 1}, 20, units=3)
    assert (ratio.withholds, [leg.quantity for leg in ratio.legs]) == (2_000, [6, 3])


def test_a_leg_closes_or_opens_by_what_is_held():
    venue = market({CALL: 1})
    combo = venue.combo({CALL: -1, PUT: 1}, 50)
    assert [leg.intent.value for leg in combo.legs] == ["sell_to_close", "buy_to_open"]
    assert [leg.side for leg in combo.legs] == [Side.SELL, Side.BUY]


def test_an_option_of_another_underlying_is_watched_without_a_quote_of_it():
    book = Instruments([Equity("SPY"), option("C", 500, root="QQQ")])
    venue = Market(book, opens_ns=OPEN_NS)
    venue.quote(1, T, 8.5, 9.5)
    assert venue.order(1, 1).status is Status.FILLED
    assert venue.ledger.mark(1) == 9
    venue.broker.advance(expiry_instant_ns(book[1]) + 1)
    assert (venue.bookings(), venue.units()) == ([], {1: 1})
    venue.broker.expiry.check_levels()


def test_a_replacement_withholds_what_it_costs():
    venue = market()
    old = venue.order(CALL, 2, 5)
    new = venue.broker.replace("account", old.order_id, Changes(limit_price=D(6)))
    assert (new.is_unpriced, new.intent.value) == (False, "buy_to_open")
    assert (old.withholds, new.withholds) == (500, 600)
    assert venue.account.reserved() == (0, 1_200)
    unpriced = Market(straddle_book(500), opens_ns=OPEN_NS)
    old = unpriced.order(CALL, 2)
    new = unpriced.broker.replace("account", old.order_id, Changes(quantity=D(3)))
    assert (old.is_unpriced, new.is_unpriced, new.withholds) == (True, True, 0)


def test_a_replaced_entry_keeps_its_exits_and_a_replaced_exit_its_entry():
    venue = market()
    terms = {"structure": OrderClass.BRACKET, "take_profit_limit": 510, "stop_loss_stop": 490}
    old = venue.order(SHARE, 10, 499, **terms)
    entry = venue.broker.replace("account", old.order_id, Changes(limit_price=D(498)))
    assert entry.legs == old.legs
    assert [leg.status for leg in entry.legs] == [Status.HELD, Status.HELD]
    venue.quote(SHARE, T + 1, 497.5, 498.0)
    profit = entry.legs[0]
    assert (entry.status, profit.status) == (Status.FILLED, Status.NEW)
    moved = venue.broker.replace("account", profit.order_id, Changes(limit_price=D(520)))
    assert (moved.parent, moved.limit_price, moved.quantity) == (profit.parent, 520, 10)
    assert (moved.kind, moved.side) == (OrderType.LIMIT, Side.SELL)


def test_a_trailing_order_takes_the_kind_of_trail_that_it_has():
    venue = market({SHARE: 10})
    amount = venue.order(SHARE, -1, kind=Trailing(D(5)))
    percent = venue.order(SHARE, -1, kind=Trailing(D(2), is_percent=True))
    changed = [
        venue.broker.replace("account", order.order_id, Changes(trail=D(3))) for order in (amount, percent)
    ]
    assert [(one.kind, one.high_water) for one in changed] == [
        (Trailing(D(3)), 500),
        (Trailing(D(3), is_percent=True), 500),
    ]
    kept = venue.broker.replace("account", changed[0].order_id, Changes(quantity=D(2)))
    assert (kept.kind, kept.high_water, kept.quantity) == (Trailing(D(3)), 500, 2)


def test_what_open_orders_in_options_withhold_is_free_for_nothing_else():
    venue = market()
    venue.order(CALL, 2, 5)
    figures = venue.ledger.figures(venue.account)
    assert (figures.options_buying_power, figures.overnight_buying_power, figures.buying_power) == (
        99_000,
        198_000,
        396_000,
    )


@pytest.mark.rows(
    ("held", "sale", "refused"),
    [
        ({SHARE: 150, CALL: -1}, (SHARE, -51), "uncovered_option"),
        ({SHARE: 150, CALL: -1}, (SHARE, -50), ""),
        ({CALL: -1, 3: 2}, (3, -2), "uncovered_option"),
        ({CALL: -1, 3: 2}, (3, -1), ""),
        ({PUT: -1, 4: 1}, (4, -1), "insufficient_buying_power"),
        ({PUT: 1, CALL: 2}, (CALL, -2), ""),
    ],
)
def test_what_covers_a_sold_option_is_sold_only_where_the_level_allows_it(held, sale, refused):
    """Level 3 writes no uncovered calls, and secures puts by their strike, 50,000 USD."""
    for level in (SPREADS, UNCOVERED):
        venue = Market(straddle_book(500, 510), held, cash=5_000, opens_ns=OPEN_NS, options_level=level)
        for number, mid in enumerate((500, 9, 8, 5, 14)):
            venue.quote(number, T, mid - 0.5, mid + 0.5)
        if refused and level == SPREADS:
            with pytest.raises(Refused) as found:
                venue.order(*sale)
            assert found.value.cause.value == refused
        else:
            assert venue.order(*sale).status is Status.FILLED


def test_open_sales_count_before_another_one_sells_the_cover():
    venue = Market(straddle_book(500), {SHARE: 200, CALL: -1}, opens_ns=OPEN_NS)
    venue.quote(SHARE, T, 499.5, 500.5)
    venue.order(SHARE, -100, 510)
    with pytest.raises(Refused):
        venue.order(SHARE, -1, 510)
