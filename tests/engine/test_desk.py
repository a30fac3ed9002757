import math
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause, Mode
from scalpdesk.core.events import (
    AccountLimits,
    AccountSnapshot,
    FillBusted,
    HeldPosition,
    ImpliedVolEvent,
    OrderFilled,
    PositionChanged,
    TradeEvent,
    TradingHalt,
)
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.engine.desk import by_strategy, by_underlying
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.sessions import next_session
from scalpdesk.margin.liquidation import MarginDistance
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.bookings import booked
from scalpdesk_testing.kit.desk import BUY, DeskOfTwo, HandDesk, Scripted, marks, order, orders
from scalpdesk_testing.kit.instruments import DAY, option, share

D = Decimal


def test_a_snapshot_becomes_the_desks_own_start():
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (-30, "490"), 1: (2, "5.5")}, cash=D(5_000))
    assert desk.positions == {0: -30, 1: 2}
    inner = desk.engine.desk
    assert inner.account.cash == 5_000
    # -30 at 500 and two calls that were never quoted at what was paid
    assert inner.attribution.nav == D(5_000) - 15_000 + 1_100
    assert inner.attribution.nav_change == 0


def test_the_same_snapshot_twice_is_adopted_once():
    desk = HandDesk(Scripted())
    snapshot = AccountSnapshot(1, desk.now_ns, D(5_000), (HeldPosition(0, D(7), D(490)),))
    desk.handle(snapshot)
    desk.handle(snapshot)
    assert desk.positions == {0: 7}


def test_the_explain_of_a_desk_that_adopts_nothing_begins_at_its_first_open():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    assert inner.attribution.mark(desk.now_ns) is None
    assert inner.gate.closed_trades.start_cash == inner.session_equity == inner.account.cash


def test_what_comes_between_an_adopted_account_and_the_open_is_explained():
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (100, "490")}, cash=D(5_000))
    desk.quote(0, 501.99, 502.01)
    desk.open()
    inner = desk.engine.desk
    inner.attribution.mark(desk.now_ns)
    assert (inner.attribution.nav_change, inner.attribution.totals["delta"]) == (200, 200)


def test_a_loss_that_cannot_be_summed_for_want_of_a_price_may_be_at_its_limit():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    assert not inner.is_near_loss_limit()
    booked(inner.positions, 1, D(-1), D(5), "x")  # sold, and never quoted
    assert inner.is_near_loss_limit()


def test_a_strategy_sees_which_symbols_are_halted():
    desk = HandDesk(Scripted())
    assert not desk.engine.desk.view.is_halted(0)
    desk.handle(TradingHalt(0, desk.now_ns, desk.now_ns, is_halted=True))
    assert desk.engine.desk.view.is_halted(0)
    assert desk.engine.desk.view.is_halted(1)  # an option on it


def test_an_underlyings_implied_volatility_reaches_the_market():
    desk = HandDesk(Scripted())
    told = ImpliedVolEvent(0, desk.now_ns, desk.now_ns, 0.18, (0.16, 0.17), "VIX")
    desk.handle(told)
    assert desk.engine.desk.market.implied_vols[0] == told


# the session's loss ----------------------------------------


def margin_of_loss(held=None, *, cash="100000", **limits):
    """A desk at its open that may lose 1,000; the share was quoted at 500, each option at 5."""
    desk = HandDesk(Scripted(), limits=RiskLimits(**{"max_daily_loss": D(1_000), **limits}))
    for number in (1, 2):
        desk.quote(number, 4.99, 5.01)
    desk.quote(0, 499.99, 500.01)
    desk.adopt(held or {}, cash=D(cash))
    desk.open()
    return desk, desk.engine.desk


@pytest.mark.rows(
    ("loss", "words"),
    [
        ("999.99", ""),
        ("1000", "daily loss: -1000.00 at the limit of -1000.00"),
        ("1000.01", "daily loss: -1000.01 at the limit of -1000.00"),
        ("-2000", ""),
    ],
)
def test_the_sessions_loss_ends_it_at_its_limit(loss, words):
    _, inner = margin_of_loss()
    assert inner.loss_at_limit(D(100_000) - D(loss)) == words


def test_a_limit_as_a_fraction_is_of_the_equity_that_the_session_began_with():
    _, inner = margin_of_loss(max_daily_loss=None, max_daily_loss_fraction=0.02)
    assert inner.loss_at_limit(D(98_000)) == "daily loss: -2000.00 at the limit of -2000.00"
    assert inner.loss_at_limit(D("98000.01")) == ""
    inner.session_equity = D(50_000)
    assert inner.loss_at_limit(D(49_000)) == "daily loss: -1000.00 at the limit of -1000.00"
    assert inner.loss_at_limit(D("49000.01")) == ""
    inner.account.cash = D("49000.01")
    assert not inner.is_near_loss_limit()
    inner.account.cash = D(49_000)
    assert inner.is_near_loss_limit()


@pytest.mark.rows(
    ("held", "number", "cash", "at_limit"),
    [
        ({0: (100, "500")}, 0, "50000", 490.0),  # ten dollars a share
        ({0: (-100, "500")}, 0, "150000", 510.0),
        ({1: (-2, "5")}, 1, "101000", 10.0),  # a contract is a hundred
    ],
)
def test_a_loss_is_near_its_limit_from_the_price_at_which_it_is_lost(held, number, cash, at_limit):
    desk, inner = margin_of_loss(held, cash=cash)
    assert inner.session_equity == 100_000
    way = 1 if at_limit < 500 and held[number][0] > 0 else -1
    for off, is_near in ((0.02, False), (0.01, False), (0.0, True), (-0.01, True), (-1.0, True)):
        price = at_limit + way * off
        desk.wait(1).quote(number, price - 0.01, price + 0.01)
        assert inner.is_near_loss_limit() is is_near, price
        assert bool(inner.loss_at_limit(inner.view.nav)) is is_near


@pytest.mark.rows(
    ("held", "cash", "quiet"),
    [
        ({0: (100, "500")}, "50000", (0, 490.0, math.inf)),
        ({0: (-100, "500")}, "150000", (0, -math.inf, 510.0)),
        ({0: (100, "500"), 1: (1, "5")}, "49500", (0, 495.0, math.inf)),  # without the option
        ({1: (1, "5")}, "99500", (None, -math.inf, math.inf)),
        ({1: (300, "5")}, "10000", None),
        ({0: (100, "500"), 1: (30, "5")}, "49000", None),  # the share alone may have lost too much
        ({1: (-1, "5")}, "100500", None),
    ],
)
def test_no_loss_is_near_between_two_prices_of_what_decides_it_alone(held, cash, quiet):
    _, inner = margin_of_loss(held, cash=cash)
    found = inner.quiet_price()
    assert (found is None) is (quiet is None)
    if quiet is not None:
        assert found == (quiet[0], *(pytest.approx(edge, abs=1e-4) for edge in quiet[1:]))
        assert found[1] >= quiet[1]
        assert found[2] <= quiet[2]


def test_bought_options_are_asked_for_only_where_the_rest_alone_may_have_lost_too_much():
    _, inner = margin_of_loss({1: (1, "5")}, cash="99500")
    asked = []
    plain, inner.delta_engine.mark = (
        inner.delta_engine.mark,
        lambda number: asked.append(number) or plain(number),
    )
    assert not inner.is_near_loss_limit()
    assert asked == []
    inner.account.cash = D(98_900)
    assert not inner.is_near_loss_limit()  # with the option it is 99,400
    inner.account.cash = D(98_500)
    assert inner.is_near_loss_limit()
    assert asked == [1, 1]


def test_of_a_perpetual_in_coin_a_loss_is_always_near():
    assert coin_desk({0: (100, "50000")}, cash="2").is_near_loss_limit()


# margin ----------------------------------------


SWAP = perpetual("BTC")
COIN_CALL, COIN_PUT = deribit_option("BTC-26APR24-50000-C"), deribit_option("BTC-26APR24-50000-P")


def coin_desk(held, *, cash="2", quoted=True, **limits):
    """A desk with a perpetual (0) at 50,000, two options (1, 2) at 0.1 coin and a share (3) at 500."""
    book = Instruments([SWAP, COIN_CALL, COIN_PUT, share()])
    desk = HandDesk(Scripted(), book, limits=RiskLimits(**limits))
    desk.quote(0, 49_999.0, 50_001.0)
    desk.quote(3, 499.99, 500.01)
    for number in (1, 2) if quoted else ():
        desk.quote(number, 0.09, 0.11)
    desk.adopt(held, cash=D(cash))
    desk.open()
    return desk.engine.desk


def test_the_loss_limit_of_a_coin_desk_is_shown_to_the_satoshi():
    inner = coin_desk({}, max_daily_loss=D("0.005"))
    assert inner.loss_at_limit(D("1.9951")) == ""
    assert inner.loss_at_limit(D("1.9949")) == "daily loss: -0.00510000 at the limit of -0.00500000"


def test_the_fee_of_a_delivery_is_in_the_trade_and_in_the_carry_once():
    """A call bought at 0.1 ends at 55,556: what it pays is 2e-5 of a coin above its cost, its fee 0.00015."""
    inner = coin_desk({1: (1, "0.1")})
    trade, nav, payoff, fee = inner.view.begin_trade([1]), inner.attribution.nav, D("0.10002"), D("0.00015")
    carry = inner.attribution.totals["carry"]
    end = PositionChanged(1, 1, 1, ChangeCause.CASH_SETTLEMENT, D(-1), payoff, payoff - fee, "end")
    inner.book_change(end)
    inner.attribution.legs.rebase(inner.view.now_ns)
    mark = inner.attribution.mark(inner.view.now_ns)
    assert inner.view.trade_pnl(trade) == D("0.00002") - fee
    assert mark.nav - nav == D("0.00002") - fee
    assert inner.attribution.totals["carry"] - carry == -fee
    assert inner.gate.closed_trades.losses_in_a_row == 1  # before its fee it had won


def told_margin(inner, fraction):
    now_ns = inner.view.now_ns
    inner.gate.venue_limits = AccountLimits(
        now_ns, now_ns, True, True, 4, D(0), D(0), (), margin_fraction=fraction and D(fraction)
    )


KEPT = (D("0.01") + D("0.00005") * 2) * 2
"""A perpetual of two coins takes 1 %, and 0.005 % more for each coin."""


@pytest.mark.rows("reported", [None, "0.01", "0.9"])
@pytest.mark.rows(
    ("held", "cash", "own"),
    [
        ({}, "2", None),
        ({3: (1, "500")}, "2", None),  # a share asks for no coin
        ({0: (10_000, "50000")}, "4", KEPT / 2),  # 100,000 dollars, for which two coins came in
        ({0: (-10_000, "50000"), 3: (1, "500")}, "0", KEPT / 2),  # a share in dollars is worth no coin
        ({0: (10_000, "50000"), 1: (10, "0.1")}, "3", KEPT / 1),  # bought options are no collateral
        ({0: (10_000, "50000")}, "2", 1),
        ({0: (10_000, "50000")}, "1.99", 1),
        ({1: (5, "0.1")}, "2", 0),
    ],
)
def test_margin_is_the_larger_of_the_venues_figure_and_the_books_own(held, cash, own, reported):
    inner = coin_desk(held, cash=cash)
    assert inner.is_margined
    told_margin(inner, reported)
    known = [figure for figure in (own, reported and D(reported)) if figure is not None]
    found = inner.margin_fraction()
    assert found == (pytest.approx(max(known), rel=D("1e-12")) if known else None)
    inner.gate.venue_limits = None
    assert inner.margin_fraction() == (None if own is None else pytest.approx(own, rel=D("1e-12")))
    inner.is_margined = False
    assert inner.margin_fraction() is None


def test_what_sold_options_owe_lowers_the_collateral_once():
    inner = coin_desk({1: (-1, "0.1"), 2: (-1, "0.1")}, cash="1")
    # 7.5 % and the mark of each; a put at least 7.5 % of its mark, which is less here
    assert inner.view.nav == D("0.8")
    assert inner.margin_fraction() == pytest.approx(2 * (D("0.075") + D("0.1")) / D("0.8"), rel=D("1e-9"))


def test_a_desk_whose_book_may_hold_coin_is_margined_and_another_where_the_venue_says_so():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    assert not inner.is_margined
    told = AccountLimits(desk.now_ns, desk.now_ns, True, True, 4, D(0), D(0), ())
    desk.handle(told)
    assert not inner.is_margined
    desk.handle(msgspec.structs.replace(told, margin_fraction=D("0.2")))
    assert inner.is_margined
    assert inner.margin_fraction() == D("0.2")
    assert inner.margin_distance() is None  # nothing is held in coin
    desk.close()
    desk.open(next_session(DAY))
    assert inner.is_margined


def test_coin_that_is_listed_during_a_session_makes_the_next_one_margined():
    desk = HandDesk(Scripted(), Instruments([share()]))
    desk.open()
    inner = desk.engine.desk
    inner.instruments.add(COIN_CALL)
    assert not inner.is_margined
    desk.close()
    desk.open(next_session(DAY))
    assert inner.is_margined


@pytest.mark.rows(
    ("used", "stage"),
    [
        (None, None),
        ("0.49", None),
        ("0.5", (Mode.REDUCING, "maintenance margin is 50% of collateral, limit 50%")),
        ("0.74", (Mode.REDUCING, "maintenance margin is 74% of collateral, limit 50%")),
        ("0.75", (Mode.FLATTENING, "maintenance margin is 75% of collateral, limit 75%")),
        ("2", (Mode.FLATTENING, "maintenance margin is 200% of collateral, limit 75%")),
    ],
)
def test_margin_reduces_and_then_flattens(used, stage):
    limits = {"max_margin_fraction": 0.25, "reduce_margin_fraction": 0.5, "flatten_margin_fraction": 0.75}
    inner = coin_desk({}, **limits)
    told_margin(inner, used)
    assert inner.margin_stage() == stage
    inner.gate.limits = RiskLimits(**dict.fromkeys(limits))
    assert inner.margin_stage() is None


def test_margin_at_a_limit_that_no_float_holds_exactly_has_reached_it():
    inner = coin_desk({})
    for used, mode in (("0.6", Mode.REDUCING), ("0.7999", Mode.REDUCING), ("0.8", Mode.FLATTENING)):
        told_margin(inner, used)
        assert inner.margin_stage()[0] is mode


def test_no_distance_is_known_while_an_option_has_no_price():
    assert coin_desk({1: (-1, "0.1")}, quoted=False).margin_distance() is None
    assert coin_desk({0: (10, "50000"), 2: (-1, "0.1")}, quoted=False).margin_distance() is None
    distance = coin_desk({0: (10, "50000"), 1: (-5, "0.1")}).margin_distance()
    assert distance.fall is None
    assert 0.0 < distance.rise < 4.0


def test_the_fall_that_liquidates_a_long_perpetual_is_found_to_a_millionth():
    inner = coin_desk({0: (10_000, "50000")}, cash="3")

    def left(move):  # 100,000 dollars bought at 50,000
        coins = 2 / (1 + move)
        return 1 + 2 - coins - (0.01 + 0.00005 * coins) * coins

    distance = inner.margin_distance()
    assert distance.rise is None
    assert left(distance.fall) == pytest.approx(0.0, abs=1e-8)
    assert distance.used == pytest.approx(KEPT, rel=D("1e-12"))
    told_margin(inner, "0.5")  # what the venue asks beyond the schedule is kept
    closer = inner.margin_distance()
    more = 0.5 - float(KEPT)
    assert left(closer.fall) == pytest.approx(more, abs=1e-8)
    assert closer.used == D("0.5")
    told_margin(inner, "1.1")
    due_already = inner.margin_distance()
    assert (due_already.fall, due_already.rise) == pytest.approx((0.0, 0.0), abs=1e-9)


@pytest.mark.rows(
    ("fall", "rise", "where"),
    [
        (None, None, "at no price between a twentieth and five times it"),
        (-0.1, None, "at 54,000 (-10.0%)"),
        (None, 0.5, "at 90,000 (+50.0%)"),
        (-0.1, 0.5, "at 54,000 (-10.0%) and 90,000 (+50.0%)"),
    ],
)
def test_the_distance_to_liquidation_is_said_in_prices_and_shown_in_fractions(fall, rise, where):
    distance = MarginDistance(D("0.1234567"), fall, rise)
    assert distance.text(60_000.0) == (
        f"Maintenance margin is 12.3% of collateral; the venue would liquidate {where}."
    )
    assert distance.row() == {
        "maintenance_fraction": 0.123457,
        "liquidation_fall": fall,
        "liquidation_rise": rise,
    }
    assert MarginDistance(D(0), -0.12345678, 0.12345644).row()["liquidation_fall"] == -0.123457


# what changes the book without an order ----------------------------------------


def changed(desk, cause, quantity=0, price="0", cash="0", *, number=0, reference="r", **more):
    desk.engine.desk.book_change(
        PositionChanged(
            number, 7, desk.now_ns, ChangeCause(cause), D(quantity), D(price), D(cash), reference, **more
        )
    )


CALL, PUT, NEW_CALL, NEW_SHARE = 1, 2, 3, 4


def adjusting_desk(held):
    """A desk with a share, a call and a put, and what a corporate action may make of them."""
    new_call = replace(option("C", 250), symbol="SPY1")
    book = Instruments([share(), option("C", 500), option("P", 500), new_call, share("NEW")])
    desk = HandDesk(Scripted(), book)
    desk.quote(0, 499.99, 500.01)
    desk.adopt(held)
    carried = []
    desk.engine.desk.market.carry_price = lambda *how, paid=0.0: carried.append((*how, paid))
    return desk, carried


@pytest.mark.rows(
    ("held", "change", "carried"),
    [
        # a split of two for one, a reverse one of one for four
        ({0: (100, "500")}, {"quantity": 100}, [(0, 0, 0.5, 7, 0.0)]),
        ({0: (-100, "500")}, {"quantity": 75}, [(0, 0, 4.0, 7, 0.0)]),
        ({0: (100, "500")}, {"quantity": 100, "source": 0}, [(0, 0, 0.5, 7, 0.0)]),
        ({0: (100, "500")}, {"quantity": 1, "price": "500"}, []),  # units that were paid for
        ({0: (100, "500")}, {"quantity": -100}, []),
        ({}, {"quantity": 100}, []),
        # shares for shares, two new for three old; a fifth of the value spun off
        (
            {0: (150, "500")},
            {"number": NEW_SHARE, "quantity": 100, "source": 0, "source_change": D(-150)},
            [(0, NEW_SHARE, 1.5, 7, 0.0)],
        ),
        (
            {0: (150, "500")},
            {"number": NEW_SHARE, "quantity": 50, "source": 0, "cost_fraction": D("0.2")},
            [(0, NEW_SHARE, 0.6, 7, 0.0), (0, 0, 0.8, 7, 0.0)],
        ),
        ({}, {"number": NEW_SHARE, "quantity": 50, "source": 0, "cost_fraction": D("0.2")}, []),
        ({0: (150, "500")}, {"number": NEW_SHARE, "source": 0, "cost_fraction": D("0.2")}, []),
        # an option at half the strike: two for one after a split, one for one after a special dividend
        (
            {CALL: (-3, "5")},
            {"number": NEW_CALL, "quantity": -6, "source": CALL, "source_change": D(3)},
            [(CALL, NEW_CALL, 0.5, 7, 0.0), (0, 0, 0.5, 7, 0.0)],
        ),
        (
            {CALL: (3, "5")},
            {"number": NEW_CALL, "quantity": 3, "source": CALL, "source_change": D(-3)},
            [(CALL, NEW_CALL, 1.0, 7, 0.0), (0, 0, 1.0, 7, 250.0)],
        ),
    ],
)
def test_a_corporate_action_carries_the_prices_along(held, change, carried):
    desk, found = adjusting_desk(held)
    changed(desk, "corporate_action", **change)
    assert found == carried


def test_an_option_of_more_shares_at_the_same_strike_is_a_split():
    desk, found = adjusting_desk({CALL: (3, "5")})
    desk.engine.desk.instruments.by_id[NEW_CALL] = replace(option("C", 250), symbol="SPY1", multiplier=200)
    changed(desk, "corporate_action", 3, number=NEW_CALL, source=CALL, source_change=D(-3))
    assert found == [(CALL, NEW_CALL, 0.5, 7, 0.0), (0, 0, 0.5, 7, 0.0)]


def test_a_split_is_worth_what_was_held_before():
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (100, "500")}, cash=D(1_000))
    inner = desk.engine.desk
    changed(desk, "corporate_action", 100, cash="3")
    assert inner.attribution.current_nav() == 1_003 + 200 * 500  # never carried: quoted at its very instant
    inner.attribution.mark(desk.now_ns)
    assert inner.attribution.totals["carry"] == 50_003


@pytest.mark.rows(
    ("quantity", "price", "cash", "worth"),
    [(0, "0", "250", 250), (10, "500", "0", 5_000), (-10, "500", "0", -5_000), (10, "500", "-100", 4_900)],
)
def test_what_the_owner_moves_shifts_every_starting_point(quantity, price, cash, worth):
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (100, "500")}, cash=D(1_000))
    desk.open()
    inner = desk.engine.desk
    inner.gate.closed_trades.start_cash = D(1_000)
    changed(desk, "transfer", quantity, price, cash)
    assert inner.session_equity == 51_000 + worth == inner.attribution.current_nav() == inner.attribution.nav
    assert inner.attribution.nav_change == 0
    assert inner.gate.closed_trades.start_cash == 1_000 + D(cash)


@pytest.mark.rows(
    ("cause", "part"),
    [
        ("dividend", "carry"),
        ("interest", "carry"),
        ("funding", "carry"),
        ("fee", "carry"),
        ("manual_trade", None),
    ],
)
def test_cash_without_an_order_is_carry_where_its_cause_says_so(cause, part):
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (100, "500")}, cash=D(1_000))
    inner = desk.engine.desk
    changed(desk, cause, cash="-12.5")
    assert inner.account.cash == D("987.5")
    inner.attribution.mark(desk.now_ns)
    assert inner.attribution.totals["carry"] == (D("-12.5") if part else 0)


def test_a_holding_that_ends_without_an_order_closes_the_trade_and_one_that_stays_does_not():
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (100, "500"), 1: (1, "5")}, cash=D(1_000))
    closed = desk.engine.desk.gate.closed_trades
    start = closed.start_cash
    changed(desk, "expired_worthless", -1, number=1, reference="a")
    assert (closed.losses_in_a_row, closed.start_cash) == (0, start)
    changed(desk, "manual_trade", -100, "400", "40000", reference="b")
    assert (closed.losses_in_a_row, closed.start_cash) == (1, 41_000)


@pytest.mark.rows("cause", ["fee", "interest", "dividend"])
def test_cash_that_comes_to_a_flat_book_is_no_closed_trade_and_counts_in_none(cause):
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({}, cash=D(1_000))
    closed = desk.engine.desk.gate.closed_trades
    closed.note(D(-1))
    for amount, reference in (("-0.02", "a"), ("-0.02", "b"), ("0.03", "c")):
        changed(desk, cause, cash=amount, reference=reference)
    assert (closed.losses_in_a_row, closed.start_cash) == (1, D("999.99"))


def test_an_exercised_option_closes_its_trade_when_the_delivered_shares_are_gone():
    desk = HandDesk(Scripted())
    desk.quote(0, 509.99, 510.01)
    desk.adopt({1: (1, "5")}, cash=D(60_000))
    closed = desk.engine.desk.gate.closed_trades
    closed.start_cash = D(60_500)
    changed(desk, "exercise", -1, number=1, reference="a")
    assert closed.losses_in_a_row == 0
    changed(desk, "delivery", 100, "500", "-50000", reference="b")
    changed(desk, "manual_trade", -100, "510", "51000", reference="c")
    assert (closed.losses_in_a_row, closed.start_cash) == (0, 61_000)


# an account that several share ----------------------------------------


def test_each_strategy_has_a_row_and_what_belongs_to_nobody_has_one_when_there_is_any():
    both = DeskOfTwo({"a": "0.25", "b": "0.5"}).open()
    inner = both.desk.engine.desk
    both.a.want(order(BUY, 10))
    (sent,) = orders(both.tick())
    both.desk.fill(sent, 4, price=500.01)
    both.b.want(order(BUY, 2, "480"))
    (waiting,) = orders(both.tick())
    both.desk.timer("mark")
    rows = by_strategy(inner)
    assert list(rows) == ["a", "b"]
    assert rows["a"] == {
        "budget": "0.25",
        "nav": "24999.96",
        "pnl": rows["a"]["pnl"],
        "positions": {"SPY": "4"},
        "orders": 1,
        "live_orders": [sent.client_order_id],
        "fills": 1,
    }
    assert (rows["a"]["pnl"]["total"], rows["b"]["pnl"]["total"]) == ("-0.04", "0.00")
    assert rows["b"] | {"pnl": {}} == {
        "budget": "0.5",
        "nav": "50000.00",
        "pnl": {},
        "positions": {},
        "orders": 1,
        "live_orders": [waiting.client_order_id],
        "fills": 0,
    }
    both.desk.fill(sent, 6, price=500.01)
    both.desk.handle(
        PositionChanged(
            0, both.desk.now_ns, both.desk.now_ns, ChangeCause.MANUAL_TRADE, D(3), D(500), D(-1_500), "h"
        )
    )
    rows = by_strategy(inner)
    assert list(rows) == ["a", "b", "nobody"]
    assert (rows["a"]["live_orders"], rows["a"]["fills"], rows["a"]["orders"]) == ([], 2, 1)
    assert (rows["nobody"]["budget"], rows["nobody"]["positions"]) == (None, {"SPY": "3"})
    assert rows["nobody"]["nav"] == "25000.00"
    assert inner.divisions


def test_a_desk_of_one_strategy_and_one_underlying_has_no_rows():
    inner = HandDesk(Scripted()).engine.desk
    assert (by_strategy(inner), by_underlying(inner), inner.divisions) == (None, None, [])


def test_each_underlying_has_a_row_without_a_share_of_the_cash():
    book = Instruments([share(), option("C", 500), share("QQQ"), option("C", 400, root="QQQ")])
    desk = HandDesk(Scripted(), book)
    inner = desk.engine.desk
    inner.divide_by_underlying(["SPY", "QQQ"])
    assert inner.divisions
    assert inner.by_underlying.fractions == {"SPY": D("0.5"), "QQQ": D("0.5")}
    desk.open()
    for number, price in enumerate((500.0, 5.0, 400.0, 4.0)):
        desk.quote(number, price - 0.01, price + 0.01)
    for number, quantity in ((0, 10), (3, 2)):
        sent = inner.orders.submit(OrderIntent(number, Side.BUY, D(quantity), Purpose.OPEN, "t"), desk.now_ns)
        desk.fill(sent)
    desk.timer("mark")
    rows = by_underlying(inner)
    assert {name: row["positions"] for name, row in rows.items()} == {
        "SPY": {"SPY": "10"},
        "QQQ": {"QQQ240419C00400000": "2"},
    }
    assert [row["pnl"]["total"] for row in rows.values()] == ["-0.10", "-2.00"]
    assert {key for row in rows.values() for key in row} == {
        "pnl",
        "positions",
        "orders",
        "live_orders",
        "fills",
    }
    book_of = inner.by_underlying.books
    assert [book_of[name].attribution.legs.meter.underlying for name in ("SPY", "QQQ")] == [0, 2]


def test_what_desk_and_strategies_forget_stays_in_their_rows():
    both = DeskOfTwo().open()
    inner = both.desk.engine.desk
    both.a.want(order(BUY, 10))
    (sent,) = orders(both.tick())
    both.desk.fill(sent, 4, price=500.01)
    both.desk.fill(sent, 6, price=500.01)
    both.b.want(order(BUY, 2, "480"))
    orders(both.tick())
    both.desk.timer("mark")
    rows, books = by_strategy(inner), [inner.positions, both.books.of("a").positions]
    references = [f"{sent.client_order_id}/{name}" for name in ("x1", "x2")]
    assert all(positions.already_applied(name) for positions in books for name in references)
    inner.forget(both.desk.now_ns + 1)
    assert not any(positions.already_applied(name) for positions in books for name in references)
    assert len(inner.orders.orders) == 1
    assert by_strategy(inner) == rows
    both.check_sums()


def test_a_third_of_the_account_is_rounded_down_so_that_three_parts_are_no_more_than_all():
    inner = HandDesk(Scripted(), Instruments([share(name) for name in ("SPY", "QQQ", "IWM")])).engine.desk
    inner.divide_by_underlying(["SPY", "QQQ", "IWM"])
    assert set(inner.by_underlying.fractions.values()) == {D("0.3333")}


def test_the_books_of_strategies_are_bound_by_the_desks_own_limits():
    limits = RiskLimits(max_consecutive_losses=4, max_order_shares=70, max_order_contracts=9)
    books = DeskOfTwo(limits=limits).books
    assert books.most_losses_in_a_row == 4
    assert (books.largest_order_shares, books.largest_order_contracts) == (70, 9)


def test_holdings_are_adopted_by_the_strategy_that_adopts_and_by_their_own_underlying():
    both = DeskOfTwo(adopts="b")
    both.desk.adopt({0: (7, "490")})
    assert (both.held("a"), both.held("b")) == (0, 7)
    desk = HandDesk(Scripted(), Instruments([share(), share("QQQ")]))
    inner = desk.engine.desk
    inner.divide_by_underlying(["SPY", "QQQ"])
    for _ in range(2):
        desk.adopt({0: (7, "490"), 1: (3, "390")})
    books = inner.by_underlying.books
    assert [books[name].quantity(number) for name in ("SPY", "QQQ") for number in (0, 1)] == [7, 0, 0, 3]


@pytest.mark.parametrize("side", Side)
def test_a_perpetual_is_booked_in_coin_and_a_bust_takes_coin_and_fee_back(side):
    desk = HandDesk(Scripted(), Instruments([SWAP]))
    desk.quote(0, 49_999.0, 50_001.0)
    desk.adopt({}, cash=D(3))
    desk.open()
    inner = desk.engine.desk
    sent = inner.orders.submit(OrderIntent(0, side, D(5_000), Purpose.HEDGE, "t"), desk.now_ns)
    fill = OrderFilled(sent.client_order_id, 1, desk.now_ns, "x", D(5_000), D(50_000), D("0.0005"))
    desk.handle(fill)
    assert inner.account.cash == 3 + side.sign * 1 - D("0.0005")  # 50,000 dollars for a coin
    assert inner.attribution.current_nav() == D("2.9995")
    desk.timer("mark")
    totals = inner.attribution.totals
    assert (totals["fees"], totals["spread"] + totals["residual"]) == (D("-0.0005"), 0)
    desk.handle(FillBusted(sent.client_order_id, 1, desk.now_ns, "x", "error"))
    assert (inner.account.cash, desk.positions) == (3, {})
    desk.timer("mark")
    assert inner.attribution.nav == 3
    assert {part: total for part, total in inner.attribution.totals.items() if total} == {}


def test_a_busted_share_is_paid_back_with_its_fee_to_account_and_strategy():
    both = DeskOfTwo().open()
    inner = both.desk.engine.desk
    both.a.want(order(BUY, 10))
    (sent,) = orders(both.tick())
    name = sent.client_order_id
    both.desk.handle(OrderFilled(name, 1, both.desk.now_ns, "x", D(10), D("500.25"), D("0.35")))
    assert inner.account.cash == D(100_000) - D("5002.85")
    both.check_sums()
    assert inner.gate.closed_trades.losses_in_a_row == 0
    both.desk.handle(FillBusted(name, 1, both.desk.now_ns, "x", "error"))
    assert (inner.account.cash, both.held("a")) == (100_000, 0)
    both.check_sums()
    assert both.books.of("a").account.cash == 50_000
    assert inner.gate.closed_trades.losses_in_a_row == 0


@pytest.mark.rows(
    ("quantity", "cash", "fall", "rise"),
    [
        (-10_000, "-0.397", None, 3.98727),  # two coins at 50,000 are 0.4 at five times that
        (-10_000, "-0.395", None, None),
        (10_000, "40.4", -0.9499, None),  # and forty at a twentieth
        (10_000, "40.6", None, None),
    ],
)
def test_liquidation_is_looked_for_down_to_a_twentieth_of_the_price_and_up_to_five_times_it(
    quantity, cash, fall, rise
):
    distance = coin_desk({0: (quantity, "50000")}, cash=cash).margin_distance()
    assert (distance.fall, distance.rise) == pytest.approx((fall, rise), abs=1e-4)


def test_an_option_whose_quote_is_lost_is_worth_what_the_model_says():
    desk = HandDesk(Scripted())
    desk.adopt({1: (1, "12")})
    desk.open()
    desk.go_to("10:00").market(500.0)
    desk.timer("mark")
    inner = desk.engine.desk
    quoted = inner.view.mark(1)
    desk.wait(1_000_000).quote(0, 519.99, 520.01)
    assert inner.delta_engine.state(1, desk.now_ns).is_modelled
    assert inner.view.mark(1) > quoted + 5.0


def test_a_session_counts_its_volumes_losses_and_gains_from_its_open():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    desk.handle(TradeEvent(0, desk.now_ns, desk.now_ns, 500.0, 7))
    inner.gate.closed_trades.note(D(-1))
    assert inner.market.volume_today(0) == 7
    desk.close()
    desk.open(next_session(DAY))
    assert inner.market.volume_today(0) is None
    assert inner.gate.closed_trades.losses_in_a_row == 0
    assert inner.view.session == next_session(DAY)


@pytest.mark.parametrize("closes", [True, False])
def test_what_a_price_moves_between_close_and_open_is_the_nights(closes):
    desk = HandDesk(Scripted())
    desk.adopt({0: (100, "500")}, cash=D(5_000))
    desk.open()
    desk.quote(0, 499.99, 500.01)
    desk.wait(1).quote(0, 500.99, 501.01)
    desk.timer("mark")
    night = desk.engine.desk.attribution.sums.overnight
    before = night["delta"]
    if closes:
        desk.close()
        desk.open(next_session(DAY))
    desk.wait(1).quote(0, 502.99, 503.01)
    (mark,) = marks(desk.timer("mark"))
    assert mark.nav_change == 200
    assert night["delta"] - before == (200 if closes else 0)


def test_a_loss_that_no_quote_shows_reduces_once_and_what_a_person_lets_go_on_goes_on():
    """Ten calls of 14 quoted 0.05 by 30: whether 300 are lost lies within what they may be worth."""
    desk, inner = margin_of_loss({1: (10, "14")}, cash="90000", max_daily_loss=D(300))
    desk.wait(1).quote(1, 0.05, 30.0)
    desk.quote(0, 499.99, 500.01)
    value = inner.delta_engine.state(1, desk.now_ns)
    assert value.is_modelled
    least, mark, most = value.low, value.mark, value.high
    assert least < mark < most
    doubts = [float(amount) for amount in inner.doubt(1, value)]
    assert doubts == pytest.approx([1_000 * (mark - least), 1_000 * (most - mark)], abs=0.1)
    inner.account.cash -= inner.view.nav - inner.session_equity + D(300) - inner.doubt(1, value)[0] / 2
    modes = [inner.gate.mode]
    for command in ("", "resume", ""):
        if command:
            desk.operate(command)
        desk.wait(1).timer("mark")
        modes.append(inner.gate.mode)
    assert modes == [Mode.ACTIVE, Mode.REDUCING, Mode.ACTIVE, Mode.ACTIVE]
    inner.account.cash -= D(1_000)
    desk.wait(1).timer("mark")
    assert inner.gate.mode is Mode.FLATTENING  # lost at the best value that is possible
