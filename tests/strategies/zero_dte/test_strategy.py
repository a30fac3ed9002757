"""The 0DTE gamma scalper driven by hand: what it orders, when, and what it does when refused."""

import math
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import GammaExposureEvent, PositionChanged, TradingHalt
from scalpdesk.core.intents import OrderType, Purpose, SetTimer, Side
from scalpdesk.instruments.broker_terms import known_cutoff
from scalpdesk.instruments.contract import Index, Instruments
from scalpdesk.instruments.sessions import next_session, session_on, to_new_york
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.zero_dte.strategy import (
    ZeroDteConfig,
    ZeroDteEntry,
    ZeroDteExit,
    ZeroDteHedge,
    ZeroDteScalper,
)
from scalpdesk.strategies.zero_dte.watch import ZeroDteWatch
from scalpdesk_testing.kit.bookings import booked
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book

SHARE, CALL, PUT = 0, 1, 2
LOOSE = RiskLimits(max_daily_loss_fraction=0.99)


def desk_of(
    *, held=None, venue="simulated", book=None, session=None, entry=None, exits=None, watch=None, **hedge
):
    """Return an open desk at 09:30 with a 500 straddle that expires today on the book."""
    config = ZeroDteConfig(
        entry=ZeroDteEntry(**(entry or {})),
        exit=ZeroDteExit(**(exits or {})),
        hedge=ZeroDteHedge(**hedge),
        watch=ZeroDteWatch(**({"report_hedges": False} | (watch or {}))),
        triggers=TriggersConfig(price_change_usd=0.0, heartbeat_seconds=0.0, spread_filter=False),
    )
    day = DAY if session is None else session.day
    desk = HandDesk(
        ZeroDteScalper(config), book or straddle_book(500, expiry=day), limits=LOOSE, mark_seconds=1e6
    )
    if session is not None:
        desk.session, desk.now_ns = session, session.open_ns
    desk.engine.desk.view.cutoff = known_cutoff(venue)
    if held:
        desk.adopt(held)
    desk.open(session)
    return desk


def straddle(quantity=1):
    return {CALL: (quantity, "2.00"), PUT: (quantity, "2.00")}


def gex(desk, exposure, *, age_seconds=0.0, source="firestore"):
    at_ns = desk.now_ns - int(age_seconds * 1e9)
    desk.handle(GammaExposureEvent("SPX", at_ns, desk.now_ns, exposure, source))


def settle(desk, outputs):
    """Fill every order, and those that follow, until no order follows; return all of them in order."""
    sent = []
    waiting = orders(outputs)
    while waiting:
        order = waiting.pop(0)
        sent.append(order)
        waiting += orders(desk.fill(order))
    return sent


def kinds(outputs):
    return [one.kind for one in decisions(outputs)]


def test_is_found_by_its_name():
    for name in ("zero-dte", "zero_dte"):
        assert type(find_strategy(name).build(ZeroDteConfig())) is ZeroDteScalper


def test_adopts_what_is_held_and_hedges_it():
    desk = desk_of(held={CALL: (10, "2.00")})
    (order,) = orders(desk.go_to("10:00").market(500.0))
    assert (order.side, order.instrument_id, order.purpose) == (Side.SELL, SHARE, Purpose.HEDGE)
    assert 490 < order.quantity < 530  # ten calls at the money
    desk.fill(order)
    assert orders(desk.wait(120).market(500.0)) == []  # its own hedge counts


def test_adopt_buys_nothing_and_says_so():
    desk = desk_of()
    assert any("adopt buys nothing" in reason for one in decisions(desk.outputs) for reason in one.reasons)
    for clock in ("09:45", "12:00", "15:50"):
        assert orders(desk.go_to(clock).market(500.0)) == []


def test_shares_that_are_not_its_hedge_are_left_alone():
    desk = desk_of(held={SHARE: (300, "480.00")})
    for clock in ("09:45", "12:00", "15:50"):
        assert orders(desk.go_to(clock).market(500.0)) == []
    desk.close()
    assert desk.positions == {SHARE: 300}


def test_buys_the_straddle_at_the_money_when_asked():
    desk = desk_of(entry={"mode": "straddle", "straddles": 2}, book=straddle_book(495, 500, 505, expiry=DAY))
    assert orders(desk.go_to("09:44:59").market(500.3)) == []
    legs = orders(desk.go_to("09:45").market(500.3))
    assert [(one.instrument_id, one.quantity, one.order_type) for one in legs] == [
        (3, 2, OrderType.LIMIT),
        (4, 2, OrderType.LIMIT),
    ]
    desk.fill(legs[0])
    (hedge,) = orders(desk.fill(legs[1]))
    assert hedge.purpose is Purpose.HEDGE


def test_a_straddle_too_far_from_the_forward_is_awaited_and_refused_once():
    desk = desk_of(entry={"mode": "straddle"}, book=straddle_book(495, 500, 505, expiry=DAY))
    outputs = [*desk.go_to("09:45").market(502.4), *desk.wait(10).market(502.6)]
    assert orders(outputs) == []
    (refusal,) = decisions(outputs)
    assert not refusal.taken
    assert len(orders(desk.wait(10).market(500.2))) == 2
    bought = next(each for each in reversed(decisions(desk.outputs)) if each.taken)
    assert bought.facts["strike"] == 500.0
    assert bought.facts["forward"] == pytest.approx(500.2)
    assert 0.0 < bought.facts["straddle_delta_of_100"] <= 10.0


def test_any_delta_is_bought_where_the_settings_say_so():
    desk = desk_of(entry={"mode": "straddle", "max_straddle_delta": None})
    assert len(orders(desk.go_to("09:45").market(502.4))) == 2


def test_a_halt_at_the_entry_time_is_waited_out():
    # five refused attempts in a minute and a half ended the session without a straddle
    desk = desk_of(entry={"mode": "straddle"})
    desk.go_to("09:44")
    desk.handle(TradingHalt(SHARE, desk.now_ns, desk.now_ns, is_halted=True))
    before = len(decisions(desk.outputs))
    for _ in range(60):
        desk.wait(5).market(500.0)
    assert decisions(desk.outputs)[before:] == []
    desk.handle(TradingHalt(SHARE, desk.now_ns, desk.now_ns, is_halted=False))
    assert [one.instrument_id for one in orders(desk.wait(1).market(500.0))] == [CALL, PUT]


def test_a_market_without_quotes_of_the_day_is_reported_once_and_not_at_every_wake():
    desk = desk_of(entry={"mode": "straddle"})
    desk.go_to("09:46")
    outputs = [*desk.quote(SHARE, 499.99, 500.01), *desk.wait(10).quote(SHARE, 499.79, 499.81)]
    (refusal,) = decisions(outputs)
    assert refusal.reasons[0].endswith("a good quote on both legs removed 1")
    assert len(orders(desk.wait(10).market(500.0))) == 2


def test_does_not_buy_when_something_is_held_already():
    desk = desk_of(held={CALL: (1, "2.00")}, entry={"mode": "straddle"})
    assert all(one.purpose is Purpose.HEDGE for one in orders(desk.go_to("09:50").market(500.0)))


def test_attempts_are_spaced_so_that_a_refusal_may_pass():
    desk = desk_of(entry={"mode": "straddle", "order_ttl_seconds": 15.0, "max_attempts": 2})
    desk.engine.desk.gate.set_limits(RiskLimits(max_order_contracts=0.5))  # the gate refuses every option
    desk.go_to("09:45")
    for _ in range(10):
        desk.wait(1).market(500.0)
    refused = [one for one in decisions(desk.outputs) if one.kind == "entry" and one.facts]
    assert [one.taken for one in refused] == [False]
    desk.engine.desk.gate.set_limits(LOOSE)
    assert len(orders(desk.go_to("09:46").market(500.0))) == 2


@pytest.mark.parametrize(
    ("exposure", "age", "source", "tightens"),
    [
        (-1e9, 0, "firestore", True),
        (-1e9, 850, "firestore", True),
        (-1e9, 901, "firestore", False),  # older than a quarter of an hour: unknown
        (-1e9, 20_000, "environment", True),  # set by hand: it stands
        (1e9, 0, "firestore", False),
        (0.0, 0, "firestore", False),
        (float("nan"), 0, "firestore", False),
    ],
)
def test_only_known_and_fresh_negative_dealer_gamma_tightens(exposure, age, source, tightens):
    desk = desk_of(held=straddle(), seconds_between_hedges=0.0)
    settle(desk, desk.go_to("12:00").market(500.0))
    gex(desk, exposure, age_seconds=age, source=source)
    threshold = 0.10 if tightens else 0.15
    for cents in range(1, 300):
        outputs = desk.wait(0.1).market(500.0 + cents / 100)
        if orders(outputs):
            facts = next(one.facts for one in decisions(outputs) if one.kind == "hedge")
            assert facts["threshold_contracts"] == threshold
            assert threshold < abs(facts["net_delta_contracts"]) < threshold + 0.02
            return
    pytest.fail("never hedged")


def test_the_rule_by_own_gamma_tightens_for_sold_options_alone():
    for quantity, tight in ((1, False), (-1, True)):
        desk = desk_of(held=straddle(quantity), regime="own_gamma")
        desk.go_to("12:00").market(500.0)
        gex(desk, -1e9)
        view = desk.engine.desk.view
        hedger = desk.strategy.hedger
        threshold, _ = hedger.band.threshold(hedger.measure(view, [CALL, PUT]).inputs)
        assert threshold == (Decimal("0.10") if tight else Decimal("0.15"))


def test_a_rate_decision_widens_the_threshold_where_that_is_asked_for():
    decision_day = session_on(date(2024, 3, 20))
    for factor, clock, expected in (
        ("1", "14:00", "0.15"),
        ("1.25", "14:00", "0.1875"),
        ("1.25", "13:00", "0.15"),
    ):
        desk = desk_of(held=straddle(), session=decision_day, macro_widening=Decimal(factor))
        desk.go_to(clock).market(500.0)
        hedger = desk.strategy.hedger
        threshold, _ = hedger.band.threshold(hedger.measure(desk.engine.desk.view, [CALL, PUT]).inputs)
        assert threshold == Decimal(expected)


def test_hedges_at_most_once_a_minute():
    desk = desk_of(held=straddle())
    settle(desk, desk.go_to("12:00").market(500.0))
    settle(desk, desk.wait(60).market(501.0))
    assert orders(desk.wait(59.999).market(502.0)) == []
    assert len(orders(desk.wait(0.001).market(502.1))) == 1


def test_an_option_without_a_usable_quote_is_not_hedged_on():
    desk = desk_of(held=straddle())
    outputs = desk.go_to("10:00").quote(SHARE, 499.99, 500.01)
    assert orders(outputs) == []
    assert "alert" not in kinds(desk.outputs[: -len(outputs)])  # at the open quotes may be a moment late
    assert kinds(outputs) == ["alert"]
    assert kinds(desk.wait(10).quote(SHARE, 499.79, 499.81)) == []  # said once


@pytest.mark.parametrize(
    ("venue", "session", "symbol", "clock"),
    [
        ("simulated", session_on(DAY), "SPY", "15:45:00"),
        ("alpaca", session_on(DAY), "SPY", "15:25:00"),
        ("alpaca", session_on(DAY), "GOOG", "15:10:00"),
        ("an unknown venue", session_on(DAY), "SPY", "15:10:00"),
        ("simulated", session_on(date(2024, 7, 3)), "SPY", "12:45:00"),
        ("alpaca", session_on(date(2024, 7, 3)), "SPY", "12:25:00"),
        ("simulated", session_on(date(2024, 7, 15)), "SPY", "15:45:00"),
    ],
)
def test_the_deadline_is_the_sessions_and_the_venues(venue, session, symbol, clock):
    config = ZeroDteConfig(underlying=symbol)
    desk = HandDesk(
        ZeroDteScalper(config), straddle_book(500, expiry=session.day, symbol=symbol), mark_seconds=1e6
    )
    desk.session, desk.now_ns = session, session.open_ns
    desk.engine.desk.view.cutoff = known_cutoff(venue)
    desk.open(session)
    due = [one.due_ns for one in desk.outputs if isinstance(one, SetTimer) and "deadline" in one.name]
    assert [f"{to_new_york(one):%H:%M:%S}" for one in due] == [clock]


def leaving_desk(**options):
    desk = desk_of(held=straddle(), **options)
    settle(desk, desk.go_to("12:00").market(501.0))
    settle(desk, desk.go_to("15:44:59").market(501.0))
    return desk


def test_after_the_exit_nothing_follows():
    desk = leaving_desk()
    settle(desk, desk.go_to("15:45").timer())
    for clock in ("15:46", "15:50", "15:59"):
        assert desk.go_to(clock).market(490.0) == ()
        assert desk.timer() == ()


def test_opens_again_in_the_next_session():
    tomorrow = next_session(DAY)
    book = straddle_book(500, expiry=DAY)
    for contract in straddle_book(500, expiry=tomorrow.day):
        book.add(contract)
    desk = leaving_desk(book=book)
    settle(desk, desk.go_to("15:45").timer())
    desk.close()
    desk.open(tomorrow)
    desk.now_ns += 60_000_000_000
    desk.adopt({3: (10, "2.00")})
    sent = settle(desk, desk.market(500.0))
    assert [one.purpose for one in sent] == [Purpose.HEDGE]


def test_a_working_hedge_is_taken_back_before_the_exit():
    desk = desk_of(held=straddle())
    (hedge,) = orders(desk.go_to("15:44:59").market(501.0))
    outputs = desk.go_to("15:45").timer()
    assert cancels(outputs) == [hedge.client_order_id]
    legs = orders(outputs)
    assert {one.purpose for one in legs} == {Purpose.CLOSE}
    desk.cancelled(hedge.client_order_id)
    for leg in legs:
        desk.fill(leg)
    assert desk.positions == {}


def test_a_refused_exit_is_tried_again_as_a_limit_that_is_met_then_said_aloud():
    desk = leaving_desk(exits={"alert_after": 2, "retry_seconds": 2.0})
    call, put = orders(desk.go_to("15:45").timer())
    settle(desk, desk.fill(put))
    shares = desk.positions[SHARE]
    assert shares  # the call that is held keeps its hedge
    outputs = desk.reject(call, "opening of 0DTE positions is closed")
    assert any("refused" in reason for one in decisions(outputs) for reason in one.reasons)
    said, tried = [], []
    for _ in range(4):
        desk.wait(3)
        outputs = desk.market(501.0) + desk.timer()
        again = [one for one in orders(outputs) if one.instrument_id == CALL]
        said += [one for one in decisions(outputs) if one.kind == "alert"]
        for order in again:
            tried.append(order)
            said += [one for one in decisions(desk.reject(order, "no")) if one.kind == "alert"]
    assert len(tried) >= 2
    bid = desk.engine.desk.market.quotes[CALL].bid
    assert all(one.order_type is OrderType.LIMIT and 0 < float(one.limit_price) <= bid for one in tried)
    assert said
    assert desk.positions[CALL] == 1  # never counted as closed
    assert desk.strategy.phase == "leaving"


def test_past_the_venues_cut_off_refused_exits_wait_ever_longer_also_those_of_a_flattening_desk():
    """340 orders went in 29 minutes, each of them refused: both strategy and desk tried on."""
    desk = desk_of(held=straddle(), venue="alpaca")
    waiting = orders(desk.go_to("15:31").market(501.0) + desk.operate("flatten"))
    sent, due = [], []
    for second in range(29 * 60):
        outputs = ()
        for order in waiting:
            if order.instrument_id == SHARE:
                outputs += desk.fill(order)
            else:
                sent.append((second, order.instrument_id))
                outputs += desk.reject(order, "too late for contracts that expire today")
        outputs += desk.wait(1).market(501.0 + second % 2 * 0.01) + desk.timer()
        due += [one.due_ns for one in desk.outputs if isinstance(one, SetTimer) and one.name == "flatten"]
        desk.outputs.clear()
        if any(due_ns <= desk.now_ns for due_ns in due):
            due = [due_ns for due_ns in due if due_ns > desk.now_ns]
            outputs += desk.timer("flatten")
        waiting = orders(outputs)
    calls = [second for second, number in sent if number == CALL]
    assert calls == [second for second, number in sent if number == PUT]
    assert len(sent) == 42
    assert len([second for second in calls if second > 300]) == 4
    assert calls[-1] == 1046


def test_an_exit_that_is_not_filled_is_cancelled_and_priced_anew():
    desk = leaving_desk()
    call, put = orders(desk.go_to("15:45").timer())
    settle(desk, desk.fill(put))
    desk.wait(2).market(501.0)
    assert call.client_order_id in [one for out in (desk.outputs,) for one in cancels(out)]
    following = desk.cancelled(call.client_order_id) + desk.wait(2).market(501.0)
    (again,) = [one for one in orders(following) if one.instrument_id == CALL]
    assert again.order_type is OrderType.LIMIT
    settle(desk, desk.fill(again))
    assert desk.positions == {}


def test_a_worthless_option_is_offered_at_a_cent_and_holds_no_hedge():
    desk = leaving_desk()
    desk.go_to("15:45").quote(PUT, 0.0, 0.01)
    sent = orders(desk.timer())
    call, put = sent
    assert (put.order_type, put.limit_price) == (OrderType.LIMIT, Decimal("0.01"))
    settle(desk, desk.fill(call))
    for _ in range(5):  # it rests: no cancel, no second order
        out = desk.wait(5).quote(SHARE, 500.99, 501.01)
        assert cancels(out) == []
        settle(desk, out)
    assert desk.positions.get(SHARE, 0) == 0
    assert desk.positions == {PUT: 1}


def test_an_option_in_the_money_that_nobody_bids_for_keeps_its_hedge():
    """Its exercise delivers the shares that the hedge owes: without it 100 would stay over the night."""
    desk = desk_of(held=straddle())
    settle(desk, desk.go_to("15:44").market(510.0))
    assert desk.positions[SHARE] == -94
    desk.go_to("15:45").quote(CALL, 0.0, 10.5)
    call, put = orders(desk.timer())
    assert call.order_type is OrderType.LIMIT
    assert 10 < call.limit_price < Decimal("10.5")  # a bid of zero beside that ask shows no price
    settle(desk, desk.fill(put))
    for _ in range(5):
        settle(desk, desk.wait(5).quote(SHARE, 509.99, 510.01))
    assert desk.positions == {SHARE: -94, CALL: 1}
    settle(desk, desk.fill(call))
    assert desk.positions == {}


def test_an_entry_that_nobody_answered_is_taken_back_at_the_deadline():
    desk = desk_of(held={SHARE: (40, "480.00")}, entry={"mode": "straddle"})
    legs = orders(desk.go_to("09:45").market(500.0))
    outputs = desk.go_to("15:45").timer()
    assert cancels(outputs) == [one.client_order_id for one in legs]
    for leg in legs:
        desk.cancelled(leg.client_order_id)
    assert orders(desk.wait(5).market(500.0)) == []
    assert desk.positions == {SHARE: 40}  # somebody's shares are left alone


def test_options_that_are_taken_away_leave_no_naked_hedge():
    desk = desk_of(held={CALL: (1, "2.00")})
    settle(desk, desk.go_to("12:00").market(500.0))
    assert desk.positions[SHARE] < 0
    # the venue closed the option by itself: a snapshot without it, as reconciliation adopts it
    booked(desk.engine.desk.positions, CALL, Decimal(-1), Decimal("2.00"), "liquidated")
    sent = settle(desk, desk.wait(10).market(500.1))
    assert [one.purpose for one in sent] == [Purpose.UNWIND_HEDGE]
    assert desk.positions == {}


def test_each_hedge_fill_is_measured():
    desk = desk_of(held=straddle(), watch={"report_hedges": True})
    (order,) = orders(desk.go_to("12:00").market(501.0))
    outputs = desk.fill(order, price=500.98)  # a cent below the bid of 500.99
    (told,) = [one for one in decisions(outputs) if one.kind == "hedge_fill"]
    assert told.facts["slippage_usd"] == pytest.approx(0.01 * float(order.quantity))
    assert told.facts["spread_cost_usd"] == pytest.approx(0.01 * float(order.quantity))
    assert told.facts["realized_usd"] == 0
    back = orders(desk.wait(61).market(500.5))[0]
    (told,) = [one for one in decisions(desk.fill(back)) if one.kind == "hedge_fill"]
    assert told.facts["realized_usd"] == pytest.approx(float(back.quantity) * (500.98 - 500.51))
    totals = desk.strategy.meter.totals
    assert (totals.fills, totals.shares) == (2, order.quantity + back.quantity)
    report = desk.strategy.hedge_summary()
    assert (report["fills"], report["fees"]) == (2, "0.00")
    assert report["realized"] == f"{float(back.quantity) * (500.98 - 500.51):.2f}"


def test_unusual_delta_and_greeks_are_said_once():
    watch = {"delta_z": 3.0, "delta_multiple": 1.0, "max_gamma_shares_per_usd": 0.001}
    desk = desk_of(held=straddle(), watch=watch, threshold=Decimal("0.5"))
    desk.go_to("12:00")
    for step in range(62):
        desk.wait(30).market(500.0 + 0.05 * (step % 2))
    said = [one for one in decisions(desk.outputs) if one.kind == "alert"]
    assert [one.reasons[0].split(":")[0] for one in said] == ["unusual gamma"] * 3  # each quarter of an hour
    outputs = desk.wait(30).market(506.0)
    assert any("unusual delta" in one.reasons[0] for one in decisions(outputs) if one.kind == "alert")
    desk.outputs.clear()
    desk.wait(30).market(506.1)
    assert not any("unusual" in one.reasons[0] for one in decisions(desk.outputs))


def test_a_delta_counts_into_the_mean_once_in_half_a_minute_however_often_it_is_looked():
    desk = desk_of(held=straddle(), watch={"delta_z": 3.0, "delta_multiple": 0.0})
    desk.go_to("12:00")
    alerts = desk.strategy.tools.watch._alerts
    for step in range(12):
        desk.wait(10).market(500.0 + 0.01 * (step % 2))
    assert alerts._count == 4


def test_a_usual_delta_is_not_said():
    desk = desk_of(held=straddle(), watch={"delta_multiple": 0.0})
    desk.go_to("12:00")
    for step in range(70):
        settle(desk, desk.wait(30).market(500.0 + 0.02 * (step % 3)))
    assert "alert" not in kinds(desk.outputs)


def test_a_hedge_goes_on_at_the_last_volatility_of_an_option_whose_quote_is_stale():
    for spot in (500.0, 540.0):
        desk = desk_of(held={CALL: (10, "2.00")})
        settle(desk, desk.go_to("12:00").market(spot))
        desk.go_to("12:20")  # the option was quoted twenty minutes ago
        out = desk.quote(SHARE, spot + 1.49, spot + 1.51)
        # by hand the net delta is put off its mark: fifty shares are gone
        booked(desk.engine.desk.positions, SHARE, Decimal(50), Decimal(500), f"odd-{spot}")
        out += desk.wait(60).quote(SHARE, spot + 1.39, spot + 1.41)
        (order,) = orders(out)
        assert order.side == Side.SELL


def test_call_and_put_of_a_strike_are_hedged_at_one_volatility():
    # the call's wide quote shows 82 %, the put out of the money 30 %: the hedge of both goes by the put's
    desk = desk_of(held=straddle(10))
    desk.go_to("12:00").quote(SHARE, 502.99, 503.01)
    desk.wait(1).quote(CALL, 5.10, 5.30)
    desk.quote(PUT, 0.28, 0.32)
    desk.quote(SHARE, 502.99, 503.01)
    (hedge,) = [one for one in decisions(desk.outputs) if one.kind == "hedge"]
    vol, years = desk.engine.desk.view.delta_engine.state(PUT, desk.now_ns).vol, 4.0 / 24.0 / 365.0
    root = vol * math.sqrt(years)
    call_delta = 0.5 * math.erfc(-(math.log(503.0 / 500.0) / root + 0.5 * root) / math.sqrt(2.0))
    assert hedge.facts["hedge_vol"] == pytest.approx(vol, rel=1e-3)
    assert hedge.facts["option_delta_shares"] == pytest.approx(1000 * (2 * call_delta - 1), abs=1.0)


def test_shares_bought_by_somebody_after_the_exit_are_left_alone():
    desk = leaving_desk()
    settle(desk, desk.go_to("15:45").timer())
    desk.close()
    booked(desk.engine.desk.positions, SHARE, Decimal(100), Decimal(500), "a person's")
    desk.outputs.clear()
    desk.open(next_session(DAY))
    for _ in range(3):
        desk.wait(600).market(500.0)
    assert orders(desk.outputs) == []
    assert desk.positions == {SHARE: 100}


def test_its_own_time_counts_where_it_is_the_earliest():
    desk = desk_of(held=straddle(), exits={"at": "15:00"}, entry={"not_after": "14:00"})
    settle(desk, desk.go_to("14:59:59").market(501.0))
    assert {one.purpose for one in orders(desk.go_to("15:00").timer())} == {Purpose.CLOSE}


def test_a_later_exit_than_a_quarter_to_four_takes_both_keys():
    desk = desk_of(held=straddle(), exits={"at": "15:50", "minutes_before_close": 10.0})
    settle(desk, desk.go_to("15:49:59").market(501.0))
    assert {one.purpose for one in orders(desk.go_to("15:50").timer())} == {Purpose.CLOSE}


def test_the_hedge_of_what_is_paid_in_cash_is_dropped_before_the_close():
    book = Instruments([Index("SPX")])
    for right in ("C", "P"):
        book.add(option(right, 5000, DAY, "SPXW"))
    config = ZeroDteConfig(
        underlying="SPXW", triggers=TriggersConfig(price_change_usd=0.0, heartbeat_seconds=0.0)
    )
    limits = msgspec.structs.replace(LOOSE, index_orders=True)
    desk = HandDesk(ZeroDteScalper(config), book, limits=limits, mark_seconds=1e6)
    desk.adopt({CALL: (1, "20.00")})
    desk.open()
    settle(desk, desk.go_to("15:30").market(5002.0))
    assert desk.positions[SHARE] < 0
    for clock in ("15:45", "15:50", "15:58:50"):
        for order in orders(desk.go_to(clock).market(5002.0)):
            if order.purpose is Purpose.CLOSE:
                desk.reject(order, "closed")
            else:
                desk.fill(order)
    assert desk.positions[SHARE] < 0  # what could not be left keeps its hedge
    last = []
    for seconds in (20, 5, 5):
        last += orders(desk.wait(seconds).market(5002.0))
        for order in last:
            if order.purpose is Purpose.UNWIND_HEDGE and desk.positions.get(SHARE):
                desk.fill(order)
    assert Purpose.UNWIND_HEDGE in {one.purpose for one in last}
    assert desk.positions == {CALL: 1}


def test_the_hedge_of_what_delivers_is_kept_over_the_close():
    """The call brings a hundred shares: without the hedge they would stand alone over the night."""
    desk = desk_of(held={CALL: (1, "2.00")})
    settle(desk, desk.go_to("15:30").market(502.0))
    assert desk.positions[SHARE] < 0
    sent = []
    for clock in ("15:45", "15:50", "15:58:50", "15:59:20", "15:59:40", "15:59:59"):
        sent += orders(desk.go_to(clock).market(502.0) + desk.timer())
        for order in sent:
            if order.purpose is Purpose.CLOSE and order.client_order_id in desk.engine.desk.orders.live:
                desk.reject(order, "closed")
    assert Purpose.UNWIND_HEDGE not in {one.purpose for one in sent}
    assert desk.positions[SHARE] < 0


def test_another_market_is_refused():
    desk = HandDesk(ZeroDteScalper(ZeroDteConfig(underlying="QQQ")), straddle_book(500, expiry=DAY))
    with pytest.raises(ConfigError) as refusal:
        desk.open()
    assert refusal.value.nearest == "SPY"


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        (ZeroDteEntry, {"at": "soon"}),
        (ZeroDteEntry, {"straddles": 0}),
        (ZeroDteEntry, {"not_after": "09:00"}),
        (ZeroDteEntry, {"order_ttl_seconds": float("nan")}),
        (ZeroDteHedge, {"threshold": Decimal(-1)}),
        (ZeroDteHedge, {"threshold_negative_gex": Decimal("0.2")}),
        (ZeroDteHedge, {"order_ttl_seconds": 0.0}),
        (ZeroDteHedge, {"macro_widening": Decimal(0)}),
        (ZeroDteExit, {"at": "25:00"}),
        (ZeroDteExit, {"at": "15:50"}),
        (ZeroDteExit, {"at": "15:50", "minutes_before_close": 10.5}),
        (ZeroDteExit, {"at": "15:58", "minutes_before_close": 2.0}),
        (ZeroDteExit, {"venue": "alpacca"}),
        (ZeroDteExit, {"retry_seconds": 3600.0}),
        (ZeroDteExit, {"buffer_minutes": 0.0}),
        (ZeroDteWatch, {"delta_z": -1.0}),
        (TriggersConfig, {"heartbeat_seconds": 5000.0}),
        (ZeroDteConfig, {"entry": ZeroDteEntry(not_after="15:50")}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(section, wrong):
    with pytest.raises(ConfigError) as refusal:
        section(**wrong)
    assert next(iter(wrong)) in refusal.value.where
    assert refusal.value.fix


@pytest.mark.parametrize("mode", ["adopt", "straddle"])
def test_shares_delivered_overnight_do_not_stay_naked_on_a_day_with_options_of_its_own(mode):
    tomorrow = next_session(DAY)
    book = Instruments(
        [*straddle_book(500, expiry=DAY), option("C", 500, tomorrow.day), option("P", 500, tomorrow.day)]
    )
    desk = desk_of(held={CALL: (1, "2.00")}, book=book, entry={"mode": mode})
    desk.go_to("15:50").market(510.0)
    desk.close()
    for name in tuple(desk.engine.desk.orders.live):
        desk.cancelled(name)  # an unfilled order ends with the day
    for number, cause, units, cash in ((CALL, "exercise", -1, 0), (SHARE, "delivery", 100, -50_000)):
        price = Decimal(500 if number == SHARE else 0)
        desk.handle(
            PositionChanged(
                number,
                desk.now_ns,
                desk.now_ns,
                ChangeCause(cause),
                Decimal(units),
                price,
                Decimal(cash),
                cause,
            )
        )
    before = len(desk.outputs)
    desk.open(tomorrow)
    (sale,) = orders(desk.outputs[before:])
    assert (sale.side, sale.quantity, sale.purpose) == (Side.SELL, 100, Purpose.UNWIND_HEDGE)
    desk.fill(sale)
    assert desk.positions == {}
    legs = orders(desk.go_to("09:45").market(500.0))
    assert len(legs) == (2 if mode == "straddle" else 0)  # the day itself goes on
