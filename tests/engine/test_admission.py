"""Orders that the gate lets through, seen from the engine: account, book and flow put together."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import AccountLimits, ForecastEvent
from scalpdesk.core.intents import LegOrders, OrderIntent, OrderType, Purpose, Side, Stop
from scalpdesk.engine.admission import OrderAdmission
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import DeskOfTwo, HandDesk, Scripted, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, share, straddle_book

D = Decimal
CASH = D(100_000)


def admission(one):
    """Return what judges the orders of a desk."""
    return OrderAdmission(one.engine.desk)


def intent(number=0, quantity=10, purpose=Purpose.HEDGE, side=Side.BUY, limit=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return OrderIntent(number, side, D(quantity), purpose, "test", kind, None if limit is None else D(limit))


@pytest.fixture
def desk():
    """Return a desk at 11:00 whose options and share are quoted."""

    def build(held=None, cash=CASH, **limits):
        one = HandDesk(Scripted(triggers=[EveryQuote(0)]), straddle_book(500), limits=RiskLimits(**limits))
        if held:
            one.adopt(held, cash=cash)
        one.open()
        one.go_to("11:00").market(500.0)
        return one

    return build


def propose(one, *intents, all_or_none=True, wait=1):
    """Let the strategy want these once; return what follows."""
    one.strategy.think = lambda _v, wake, _e: (
        (Proposal(DecisionKind.ENTRY, ("want",), {}, intents, all_or_none),) if wake is Wake.PRICE else ()
    )
    outputs = one.wait(wait).quote(0, 499.99, 500.01)
    one.strategy.think = None
    return outputs


def told(one, **changes):
    limits = AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(200_000), D(50_000), (0,))
    one.handle(msgspec.structs.replace(limits, **changes))


def reasons(outputs):
    return [why for one in decisions(outputs) for why in one.reasons[1:]]


# the venue's word ----------------------------------------------------------------------------------


def test_what_cannot_be_borrowed_is_sold_as_far_as_it_is_held_and_the_rest_is_said(desk):
    one = desk(held={0: (6, "500")})
    told(one, shortable=())
    outputs = propose(one, intent(side=Side.SELL))
    assert [int(order.quantity) for order in orders(outputs)] == [6]
    assert reasons(outputs) == [
        "sell 10 SPY cut to sell 6 SPY: SPY cannot be borrowed: 4 shares stay unhedged"
    ]
    again = propose(one, intent(quantity=4, side=Side.SELL))
    assert orders(again) == []  # those six are on their way
    assert reasons(again) == ["sell 4 SPY: SPY cannot be borrowed: 4 shares stay unhedged"]


def test_an_account_that_may_not_sell_short_says_so(desk):
    one = desk()
    told(one, may_short=False)
    assert reasons(propose(one, intent(side=Side.SELL))) == [
        "sell 10 SPY: the account may not sell short: 10 shares stay unhedged"
    ]
    assert len(orders(propose(one, intent(side=Side.BUY)))) == 1


def test_a_blocked_account_a_low_level_and_missing_buying_power_are_reasons(desk):
    one = desk()
    told(one, may_trade=False, options_level=1, options_buying_power=D(1))
    found = reasons(propose(one, intent(1, 1, Purpose.OPEN)))
    assert [why.split(": ", 1)[1].split(",")[0] for why in found] == [
        "the venue has blocked trading in this account",
        "the account's options level is 1",
        "the order costs 1424.00",
    ]


def test_buying_power_counts_what_was_bought_since_the_venue_spoke(desk):
    one = desk()
    told(one, options_buying_power=D(2_000))
    (order,) = orders(propose(one, intent(1, 1, Purpose.OPEN)))
    # its quote's middle while it works, what it cost once it is filled
    assert "options buying power left 581.00" in reasons(propose(one, intent(1, 1, Purpose.OPEN)))[0]
    one.fill(order)
    assert "options buying power left 576.00" in reasons(propose(one, intent(1, 1, Purpose.OPEN)))[0]
    told(one, options_buying_power=D(2_000))
    assert len(orders(propose(one, intent(1, 1, Purpose.OPEN)))) == 1


# exposure ------------------------------------------------------------------------------------------


def test_a_straddle_is_judged_as_one_trade_and_a_lone_leg_by_itself(desk):
    limits = {"max_bought_delta_fraction": 0.20}  # one leg is 26 500 USD of delta, both together a little
    one = desk(**limits)
    assert len(orders(propose(one, intent(1, 1, Purpose.OPEN), intent(2, 1, Purpose.OPEN)))) == 2
    two = desk(**limits)
    assert orders(propose(two, intent(1, 1, Purpose.OPEN))) == []
    three = desk(**limits)
    outputs = propose(three, intent(1, 1, Purpose.OPEN), intent(2, 1, Purpose.OPEN), all_or_none=False)
    assert [int(order.instrument_id) for order in orders(outputs)] == []


def test_orders_one_by_one_see_those_before_them(desk):
    one = desk()
    outputs = propose(one, intent(quantity=30), intent(quantity=25), all_or_none=False)
    assert [int(order.quantity) for order in orders(outputs)] == [30, 10]  # 20 000 USD at 500
    assert reasons(outputs)[0].startswith("buy 25 SPY cut to buy 10 SPY: net delta would be")


def test_an_entry_finds_no_room_in_an_exit_before_it_in_the_same_proposal(desk):
    """A call of 26,500 dollars of delta beside shares of 20,000, and an order that may sell them."""
    far = {"max_daily_loss": D(90_000), "max_bought_delta_fraction": 0.4}
    one = desk({0: (40, "500")}, D(80_000), **far)
    call = intent(1, 1, Purpose.OPEN)
    outputs = propose(one, intent(0, 40, Purpose.CLOSE, Side.SELL), call, all_or_none=False)
    assert [(order.instrument_id, order.quantity) for order in orders(outputs)] == [(0, 40)]
    assert "net delta would be" in reasons(outputs)[0]
    one.fill(orders(outputs)[0])
    assert len(orders(propose(one, call))) == 1


def test_working_orders_count_as_filled(desk):
    one = desk()
    assert len(orders(propose(one, intent(quantity=40, limit="500")))) == 1
    assert orders(propose(one, intent(quantity=1))) == []
    assert len(orders(propose(one, intent(quantity=2, side=Side.SELL, limit="600")))) == 1


def test_an_exit_is_never_cut(desk):
    one = desk(held={1: (20, "12"), 2: (20, "12")}, max_vega_fraction=0.0001, max_net_delta_fraction=0.001)
    outputs = propose(one, intent(1, 20, Purpose.CLOSE, Side.SELL), all_or_none=False)
    assert [int(order.quantity) for order in orders(outputs)] == [20]


def test_a_book_without_greeks_lets_no_new_exposure_in(desk):
    one = HandDesk(Scripted(triggers=[EveryQuote(0)]), straddle_book(500))
    one.adopt({2: (1, "12")})
    one.open()
    one.go_to("11:00")
    one.quote(1, 10.0, 10.1)
    one.quote(0, 499.99, 500.01)
    found = reasons(propose(one, intent(quantity=30)))
    assert found == ["buy 30 SPY: the exposure is not known: the Greeks of SPY240419P00500000 are not known"]
    assert len(orders(propose(one, intent(2, 1, Purpose.CLOSE, Side.SELL)))) == 0  # it has no quote either
    one.quote(2, 10.0, 10.1)
    assert len(orders(propose(one, intent(quantity=30)))) == 1


def test_the_greeks_are_only_worked_out_when_a_cap_could_bind(desk, monkeypatch):
    one = desk(held={1: (1, "12")})
    asked = []
    engine = one.engine.desk.delta_engine
    plain = engine.state
    monkeypatch.setattr(engine, "state", lambda *a, **k: asked.append(a) or plain(*a, **k))
    propose(one, intent(quantity=1))  # 100 units of an option and a share: 50 500 USD against 20 000
    assert asked
    asked.clear()
    rich = desk(held={1: (1, "12")}, cash=D(1_000_000))
    engine = rich.engine.desk.delta_engine
    other = engine.state
    monkeypatch.setattr(engine, "state", lambda *a, **k: asked.append(a) or other(*a, **k))
    assert len(orders(propose(rich, intent(quantity=1)))) == 1
    assert asked == []


def test_an_option_is_not_opened_on_an_old_quote_of_its_underlying_and_is_closed_on_one(desk):
    one = desk(held={1: (1, "12")})
    one.wait(300).quote(2, 14.0, 14.1)  # the share was quoted five minutes ago, the option just now
    judge = admission(one).judge
    (refusal,) = judge((intent(2, 1, Purpose.OPEN),), one.now_ns, all_or_none=True).refusals
    assert refusal == "buy 1 SPY240419P00500000: the quote of SPY is stale"
    assert judge((intent(1, 1, Purpose.CLOSE, Side.SELL),), one.now_ns, all_or_none=True).intents


# flow ----------------------------------------------------------------------------------------------


def test_the_same_order_twice_in_one_proposal_is_refused(desk):
    one = desk()
    outputs = propose(one, intent(quantity=2), intent(quantity=2), all_or_none=False)
    assert [int(order.quantity) for order in orders(outputs)] == [2]
    assert "an equal order was sent" in reasons(outputs)[0]


def test_an_order_does_not_meet_one_of_the_desks_own(desk):
    one = desk()
    propose(one, intent(quantity=2, limit="499"))
    found = reasons(propose(one, intent(quantity=3, side=Side.SELL)))
    assert found == ["sell 3 SPY: would trade with the desk's own order to buy 2 at 499"]


def test_cancels_are_counted(desk):
    one = desk(max_messages_per_minute=5, max_orders_per_minute=5)
    for _ in range(2):
        propose(one, intent(quantity=1, limit="400"))
    one.operate("halt")  # two cancels
    one.operate("resume")
    assert len(orders(propose(one, intent(quantity=1)))) == 1
    assert "5 orders and cancels in the last minute" in reasons(propose(one, intent(quantity=2)))[0]


# disabled ------------------------------------------------------------------------------------------


def test_repeated_executions_leave_only_exits_until_a_person_resumes(desk):
    one = desk(max_repeats_per_minute=3)
    for count in range(4):
        (order,) = orders(propose(one, intent(quantity=1)))
        one.fill(order)
        assert one.engine.desk.gate.mode == ("ACTIVE" if count < 3 else "REDUCING")
    mode = next(one for one in decisions(one.outputs) if one.kind == "mode")
    why = "SPY: 4 executions in a row to buy within a minute, limit 3 (risk.max_repeats_per_minute)"
    assert mode.reasons == (f"ACTIVE to REDUCING: {why}",)
    assert reasons(propose(one, intent(1, 1, Purpose.OPEN)))[0].endswith("nothing new is opened")
    (order,) = orders(propose(one, intent(quantity=1, side=Side.SELL)))
    one.fill(order)
    one.operate("resume")
    for _ in range(3):
        (order,) = orders(propose(one, intent(quantity=1)))
        one.fill(order)
    assert one.engine.desk.gate.mode == "ACTIVE"  # the count began again


def test_in_and_out_of_flat_again_and_again_disables(desk):
    one = desk(max_flips_per_minute=2)
    for count in range(3):
        (order,) = orders(propose(one, intent(quantity=1)))
        one.fill(order)
        (order,) = orders(propose(one, intent(quantity=1, purpose=Purpose.UNWIND_HEDGE, side=Side.SELL)))
        one.fill(order)
        assert one.engine.desk.gate.mode == ("ACTIVE" if count < 2 else "REDUCING")


def test_parts_of_one_order_count_once(desk):
    one = desk(max_repeats_per_minute=1)
    (order,) = orders(propose(one, intent(quantity=6)))
    for _ in range(6):
        one.fill(order, 1)
    assert one.engine.desk.gate.mode == "ACTIVE"


# what binds ----------------------------------------------------------------------------------------


@given(
    shares=st.integers(-400, 400),
    calls=st.integers(-3, 5),
    puts=st.integers(-3, 5),
    quantity=st.integers(1, 600),
    side=st.sampled_from(Side),
    purpose=st.sampled_from([Purpose.OPEN, Purpose.HEDGE]),
    fraction=st.sampled_from([None, 0.01, 0.2, 1.0]),
    working=st.integers(-50, 50),
    works_for=st.sampled_from([Purpose.HEDGE, Purpose.CLOSE]),
)
def test_an_order_in_shares_is_cut_to_the_net_delta_of_the_book_to_the_share(
    shares, calls, puts, quantity, side, purpose, fraction, working, works_for
):
    limits = RiskLimits(max_net_delta_fraction=fraction, max_bought_delta_fraction=None)
    one = HandDesk(Scripted(triggers=[EveryQuote(0)]), straddle_book(500), limits=limits)
    lines = {0: (shares, "500"), 1: (calls, "12"), 2: (puts, "12")}
    one.adopt({number: line for number, line in lines.items() if line[0]})
    one.open()
    one.go_to("11:00").market(500.0)
    inner = one.engine.desk
    if working:
        way = Side.BUY if working > 0 else Side.SELL
        inner.orders.submit(intent(0, abs(working), works_for, way), one.now_ns)
    wanted = intent(quantity=quantity, side=side, purpose=purpose)
    admitted = admission(one).cut((wanted,), (), one.now_ns, [], [])
    delta = float(shares)
    for number, contracts in ((1, calls), (2, puts)):
        delta += 100 * contracts * inner.delta_engine.state(number, one.now_ns).greeks.delta
    cap = float("inf") if fraction is None else fraction * float(inner.attribution.nav) / 500.0
    sign = 1 if side is Side.BUY else -1
    if works_for is Purpose.HEDGE:
        delta += working
    # an exit counts as filled only where it leaves the order less room
    worst = delta + working if works_for is Purpose.CLOSE and working * sign > 0 else delta
    fits = [n for n in range(quantity + 1) if abs(worst + sign * n) <= max(cap, abs(worst)) + 1e-9]
    lowers = [n for n in range(quantity + 1) if abs(delta + sign * n) <= abs(delta) + 1e-9]
    assert sum(int(order.quantity) for order in admitted) == max(*fits, *lowers)


@given(
    shares=st.integers(-400, 400),
    straddles=st.integers(1, 4),
    quantity=st.integers(1, 300),
    exits=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(Side), st.integers(1, 300)), max_size=3),
    fraction=st.floats(0.001, 0.5),
)
def test_a_hedge_that_lowers_what_is_held_is_never_cut_whatever_exits_work(
    shares, straddles, quantity, exits, fraction
):
    limits = RiskLimits(max_net_delta_fraction=fraction, max_underlying_fraction=1.0)
    one = HandDesk(Scripted(triggers=[EveryQuote(0)]), straddle_book(500), limits=limits)
    one.adopt(
        {0: (shares, "500"), 1: (straddles, "12"), 2: (straddles, "12")}
        if shares
        else {1: (straddles, "12"), 2: (straddles, "12")}
    )
    one.open()
    one.go_to("11:00").market(500.0)
    inner = one.engine.desk
    for number, side, units in exits:
        inner.orders.submit(
            intent(number, units if number == 0 else 1 + units // 100, Purpose.CLOSE, side), one.now_ns
        )
    delta = inner.delta_engine.position_greeks(inner.positions.held(), one.now_ns).net_delta_shares
    side = Side.SELL if delta > 0 else Side.BUY
    wanted = min(quantity, int(2 * abs(delta)))
    if wanted:
        hedge = intent(quantity=wanted, side=side)
        assert admission(one).cut((hedge,), (), one.now_ns, [], []) == (hedge,)


def test_an_exit_that_nobody_takes_does_not_stop_the_hedge(desk):
    """Three puts of -47 shares each beside 130 shares: 11 short, and 130 long once the exit is filled."""
    one = desk({0: (130, "500"), 2: (3, "12")}, max_net_delta_fraction=0.02)
    assert len(orders(propose(one, intent(2, 3, Purpose.CLOSE, Side.SELL, limit="20")))) == 1
    assert [int(order.quantity) for order in orders(propose(one, intent(quantity=11)))] == [11]


@pytest.mark.parametrize(
    ("limits", "sent"), [({"betas": {"SPY": 2.0}}, 20), ({"max_net_delta_fraction": 0.02}, 4)]
)
def test_betas_and_the_net_delta_each_cut(desk, limits, sent):
    outputs = propose(desk(**limits), intent(quantity=25, purpose=Purpose.HEDGE))
    assert sum(int(order.quantity) for order in orders(outputs)) == sent


@pytest.mark.rows(
    ("vol", "sent", "why"),
    [
        (0.15, 4, []),
        (0.30, 2, ["volatility 30.0% is above the target 15.0% (risk.target_vol)"]),
        (None, 0, ["risk.target_vol is set and no volatility is known"]),
    ],
)
def test_an_entry_is_cut_to_the_target_volatility_over_the_forecast(desk, vol, sent, why):
    one = desk(target_vol=0.15, max_daily_loss=D(50_000))
    if vol is not None:
        one.handle(ForecastEvent(0, one.now_ns, one.now_ns, "har", 5, vol, vol, vol, 0.01, ""))
    outputs = propose(one, *(intent(leg, 4, Purpose.OPEN) for leg in (1, 2)))
    assert [int(order.quantity) for order in orders(outputs)] == [sent, sent] * bool(sent)
    assert {reason.rsplit(": ", 1)[1] for reason in reasons(outputs)} == set(why)


def test_of_two_cuts_the_narrower_counts(desk):
    """At twice the target volatility two of four straddles are left, by the cap on vega one or all."""
    for fraction, sent in ((0.002, 1), (0.01, 2)):
        one = desk(target_vol=0.15, max_daily_loss=D(50_000), max_vega_fraction=fraction)
        one.handle(ForecastEvent(0, one.now_ns, one.now_ns, "har", 5, 0.3, 0.3, 0.3, 0.01, ""))
        outputs = propose(one, *(intent(leg, 4, Purpose.OPEN) for leg in (1, 2)))
        assert [int(order.quantity) for order in orders(outputs)] == [sent, sent]


def test_a_share_that_was_never_quoted_is_not_traded_at_all():
    one = HandDesk(Scripted(triggers=[EveryQuote(0)]), straddle_book(500))
    one.open()
    one.go_to("11:00")
    verdict = admission(one).judge((intent(),), one.now_ns, all_or_none=True)
    assert verdict.intents == ()
    assert verdict.refusals[0] == "buy 10 SPY: the quote of SPY is absent"


def test_working_orders_in_options_are_counted(desk):
    one = desk()
    propose(one, intent(1, 1, Purpose.OPEN, limit="14"))  # about 53 shares' worth of delta, when it is filled
    outputs = propose(one, intent(quantity=5))
    assert orders(outputs) == []
    assert "net delta would be" in reasons(outputs)[0]
    assert len(orders(propose(one, intent(quantity=5, side=Side.SELL)))) == 1


@pytest.mark.rows(
    ("expires_today", "clock", "goes"),
    [
        (True, "14:59", False),
        (True, "15:09", True),  # venues take orders in it until a quarter past three at the earliest
        (False, "15:29", False),
        (False, "15:59", False),  # there is a next session
    ],
)
def test_an_exit_at_the_market_does_not_wait_for_a_fresh_quote_at_the_last_call(expires_today, clock, goes):
    book = straddle_book(500, **({"expiry": DAY} if expires_today else {}))
    one = HandDesk(Scripted(triggers=[EveryQuote(0)]), book)
    one.adopt({1: (1, "2")})
    one.open()
    one.go_to("11:00").market(500.0)
    one.go_to(clock)
    outputs = propose(one, intent(1, 1, Purpose.CLOSE, Side.SELL), wait=0)
    assert bool(orders(outputs)) is goes, reasons(outputs)


def test_room_that_an_exit_may_make_is_no_room_to_open_in(desk):
    far = {"max_daily_loss": D(90_000), "max_position_fraction": 1.0}
    one = desk({0: (40, "500")}, D(80_000), **far)  # 20,000 of 100,000: all that the net delta may be
    (exit_,) = orders(propose(one, intent(0, 40, Purpose.CLOSE, Side.SELL, "510")))
    outputs = propose(one, intent(0, 30, Purpose.OPEN, Side.BUY, "499"))
    assert not orders(outputs)
    assert "net delta would be" in reasons(outputs)[0]
    one.fill(exit_)
    assert [
        order.quantity for order in orders(propose(one, intent(0, 30, Purpose.OPEN, Side.BUY, "499")))
    ] == [30]


@pytest.mark.rows("is_at_work", [False, True])
@pytest.mark.rows(("purpose", "goes"), [(Purpose.OPEN, [10]), (Purpose.HEDGE, [20]), (Purpose.CLOSE, [])])
def test_only_a_hedge_on_its_way_is_lowered_like_what_is_held(desk, is_at_work, purpose, goes):
    """An entry that may sell 40 shares leaves no room; what may buy 10 before it leaves some, or lowers."""
    one = desk(max_net_delta_fraction=0.2)
    sent, before = one.engine.desk.orders, intent(quantity=10, purpose=purpose, limit="490")
    sent.submit(intent(quantity=40, purpose=Purpose.OPEN, side=Side.SELL, limit="510"), one.now_ns)
    if is_at_work:
        sent.submit(before, one.now_ns)
    wanted = intent(quantity=20, purpose=Purpose.OPEN, side=Side.SELL, limit="515")
    found = admission(one).cut((wanted,), () if is_at_work else (before,), one.now_ns, [], [])
    assert [order.quantity for order in found] == goes


@pytest.mark.parametrize("all_or_none", [True, False])
def test_an_exit_larger_than_one_order_may_be_leaves_in_parts(desk, all_or_none):
    one = desk({1: (25, "2"), 2: (25, "2")}, max_order_contracts=10)
    legs = [intent(number, 25, Purpose.CLOSE, Side.SELL) for number in (1, 2)]
    outputs = propose(one, *legs, all_or_none=all_or_none)
    assert [(order.instrument_id, order.quantity) for order in orders(outputs)] == [(1, 10), (2, 10)]
    assert reasons(outputs)[0] == (
        "sell 25 SPY240419C00500000 cut to sell 10 SPY240419C00500000:"
        " no order is larger (risk.max_order_contracts)"
    )
    outputs = propose(one, intent(1, 25, Purpose.HEDGE, Side.SELL))
    assert "order of 25 contracts is above the limit of 10" in reasons(outputs)[0]  # an exit alone is cut


STRADDLE = (intent(1, 2, Purpose.OPEN), intent(2, 2, Purpose.OPEN))
STOPPED = tuple(msgspec.structs.replace(leg, order_type=Stop(D(20))) for leg in STRADDLE)


@pytest.mark.rows(
    ("legs", "leg_orders", "takes_combos", "level", "goes_as_one"),
    [
        (STRADDLE, LegOrders.COMBO, False, 3, True),
        (STRADDLE, LegOrders.AUTO, True, 3, True),
        (STRADDLE, LegOrders.AUTO, False, 3, False),
        (STRADDLE, LegOrders.LEGS, True, 3, False),
        (STRADDLE, LegOrders.COMBO, True, 2, False),  # an account of that level may not spread
        (STRADDLE[:1], LegOrders.COMBO, True, 3, False),
        ((STRADDLE[0], intent(2, 3, Purpose.OPEN)), LegOrders.COMBO, True, 3, True),
        (
            (STRADDLE[0], intent(2, 23, Purpose.OPEN)),
            LegOrders.COMBO,
            True,
            3,
            False,
        ),  # no set
        ((STRADDLE[0], STRADDLE[0]), LegOrders.COMBO, True, 3, False),
        ((STRADDLE[0], intent(0, 2, Purpose.OPEN)), LegOrders.COMBO, True, 3, False),
        (STOPPED, LegOrders.COMBO, True, 3, False),  # a combo would trade at once
    ],
)
def test_different_options_in_small_ratios_may_go_as_one(
    desk, legs, leg_orders, takes_combos, level, goes_as_one
):
    one = desk()
    told(one, options_level=level)
    one.engine.desk.takes_combos = takes_combos
    assert admission(one).may_combine(legs, leg_orders) is goes_as_one


# what the checks are told ----------------------------------------


def test_an_order_is_judged_by_the_account_as_it_is_and_by_the_orders_before_it(desk):
    one = desk(held={1: (-2, "12"), 0: (7, "500")})
    inner, judge = one.engine.desk, admission(one)
    sent = inner.orders.submit(intent(quantity=4, limit="499"), one.now_ns - 5)
    one.fill(sent, 1)
    before = (intent(2, 3, Purpose.OPEN), intent(quantity=5, side=Side.SELL), intent(2, 1, Purpose.CLOSE))
    found = judge.context(intent(1, 1, Purpose.OPEN), before, one.now_ns)
    assert (found.held, found.live_orders, found.orders_before, found.now_ns) == (-2, 4, 3, one.now_ns)
    assert (found.is_option, found.in_session, found.is_halted) == (True, True, False)
    assert found.quote is inner.market.quotes[1]
    (ask,) = {quote.ask for quote in [inner.market.quotes[2]]}
    figures = found.facts.figures()
    assert figures.risk_before == D(f"{300 * ask:.2f}")  # only what opens
    assert (figures.equity, figures.session_equity) == (inner.view.nav, inner.session_equity)
    assert (figures.cash, figures.cash_at_report) == (inner.account.cash, inner.gate.cash_at_report)
    assert (figures.consecutive_losses, figures.margin_fraction) == (0, None)
    at_work, *others = found.facts.working()
    assert at_work == (
        *(0, inner.instruments[0], Side.BUY, 3, OrderType.LIMIT, 499, Purpose.HEDGE),
        *(one.now_ns - 5, 4, ""),
    )
    assert [(order.instrument_id, order.leaves, order.created_ns) for order in others] == [
        (2, 3, one.now_ns),
        (0, 5, one.now_ns),
        (2, 1, one.now_ns),
    ]
    assert {(line.instrument_id, line.instrument.symbol, line.quantity) for line in found.facts.held()} == {
        (0, "SPY", 8),
        (1, "SPY240419C00500000", -2),
    }
    assert found.facts.held_by("a", 0) is None
    assert (found.facts.mark(0), found.facts.verdict_on("SPY")) == (500.0, QuoteVerdict.GOOD)
    share_ = judge.context(intent(), (), one.now_ns)
    assert (share_.is_option, share_.held, share_.live_orders, share_.orders_before) == (False, 8, 1, 0)
    assert (share_.facts.figures().risk_before, share_.facts.is_last_call()) == (0, False)


def test_what_was_admitted_before_and_has_no_ask_puts_nothing_known_at_risk(desk):
    one = desk()
    one.quote(2, 10.0, float("nan"))
    one.engine.desk.market.quotes[2] = None
    before = (intent(2, 3, Purpose.OPEN), intent(1, 1, Purpose.OPEN, limit="7"))
    assert admission(one).context(intent(), before, one.now_ns).facts.figures().risk_before == 700


@pytest.mark.rows(
    ("clock", "is_in"), [("09:29:59", False), ("09:30", True), ("16:00", True), ("16:00:01", False)]
)
def test_an_order_is_within_the_session_from_its_open_to_its_close(desk, clock, is_in):
    one = desk()
    one.go_to(clock)
    assert admission(one).context(intent(), (), one.now_ns).in_session is is_in
    one.engine.desk.view.session = None
    assert not admission(one).context(intent(), (), one.now_ns).in_session


def test_an_order_in_what_is_halted_is_refused_and_another_is_not(desk):
    one = desk()
    one.engine.desk.gate.halted[1] = one.now_ns
    halted = [admission(one).context(intent(number), (), one.now_ns).is_halted for number in (0, 1, 2)]
    assert halted == [False, True, False]


def test_a_strategys_own_holding_is_told_where_several_share_the_account():
    both = DeskOfTwo(adopts="b")
    both.desk.adopt({0: (7, "490")})
    both.open()
    facts = admission(both.desk).context(intent(), (), both.desk.now_ns).facts
    assert [facts.held_by(owner, 0) for owner in ("a", "b", "nobody")] == [0, 7, 0]


# what is cut ----------------------------------------


def test_of_a_trade_that_goes_whole_or_not_at_all_no_cut_is_noted_when_a_leg_is_refused(desk):
    one = desk({1: (25, "2")}, max_order_contracts=10)
    legs = (intent(1, 25, Purpose.CLOSE, Side.SELL), intent(2, 25, Purpose.HEDGE))
    whole = admission(one).judge(legs, one.now_ns, all_or_none=True)
    assert (whole.intents, whole.notes, len(whole.refusals)) == ((), (), 1)
    parts = admission(one).judge(legs, one.now_ns, all_or_none=False)
    assert ([order.quantity for order in parts.intents], len(parts.notes), parts.refusals) == (
        [10],
        1,
        whole.refusals,
    )


@pytest.mark.rows(
    ("number", "quantity", "goes"), [(1, 9, 9), (1, 10, 10), (1, 11, 10), (0, 40, 40), (0, 41, 40)]
)
def test_an_exit_is_cut_only_beyond_the_largest_order(desk, number, quantity, goes):
    one = desk({0: (50, "500"), 1: (50, "2")}, max_order_contracts=10, max_order_shares=40)
    purpose = Purpose.CLOSE if number else Purpose.UNWIND_HEDGE
    found = admission(one).judge(
        (intent(number, quantity, purpose, Side.SELL),), one.now_ns, all_or_none=True
    )
    assert [order.quantity for order in found.intents] == [goes]
    name = ("SPY", "SPY240419C00500000")[number]
    key = ("risk.max_order_shares", "risk.max_order_contracts")[number]
    cut = f"sell {quantity} {name} cut to sell {goes} {name}: no order is larger ({key})"
    assert found.notes == ((cut,) if goes < quantity else ())


def test_an_exit_of_no_number_is_refused_as_it_is(desk):
    one = desk({0: (50, "500")})
    found = admission(one).judge(
        (msgspec.structs.replace(intent(0, 1, Purpose.UNWIND_HEDGE, Side.SELL), quantity=D("NaN")),),
        one.now_ns,
        all_or_none=True,
    )
    assert (found.intents, found.notes) == ((), ())
    assert found.refusals[0].startswith("sell NaN SPY: ")


@pytest.mark.parametrize("legs", [1, 2])
def test_one_leg_and_two_are_cut_to_the_target_volatility_alike(desk, legs):
    one = desk(
        target_vol=0.15, max_daily_loss=D(50_000), max_bought_delta_fraction=None, max_net_delta_fraction=None
    )
    one.handle(ForecastEvent(0, one.now_ns, one.now_ns, "har", 5, 0.30, 0.30, 0.30, 0.01, ""))
    trade = tuple(intent(leg, 4, Purpose.OPEN) for leg in (1, 2)[:legs])
    found = admission(one).judge(trade, one.now_ns, all_or_none=True)
    assert [order.quantity for order in found.intents] == [2] * legs
    (note,) = found.notes
    names = ["SPY240419C00500000", "SPY240419P00500000"][:legs]
    whole, cut = (", ".join([f"buy {size} {name}" for name in names]) for size in (4, 2))
    assert note == (f"{whole} cut to {cut}: volatility 30.0% is above the target 15.0% (risk.target_vol)")


@pytest.mark.rows(
    ("may_short", "shortable", "why"),
    [
        (False, (0,), "the account may not sell short"),
        (True, (1,), "SPY cannot be borrowed"),
        (True, (0,), None),
    ],
)
def test_shares_are_sold_short_only_where_account_and_share_allow_it(desk, may_short, shortable, why):
    one = desk(held={0: (6, "500")})
    told(one, may_short=may_short, shortable=shortable)
    found = admission(one).judge((intent(side=Side.SELL),), one.now_ns, all_or_none=True)
    assert [order.quantity for order in found.intents] == [6 if why else 10]
    cut = f"sell 10 SPY cut to sell 6 SPY: {why}: 4 shares stay unhedged"
    assert found.notes == ((cut,) if why else ())


def test_shares_that_are_on_their_way_out_are_not_sold_a_second_time_and_what_is_bought_is_none_of_them(desk):
    one = desk(held={0: (10, "500"), 1: (3, "12")})
    told(one, shortable=())
    orders_ = one.engine.desk.orders
    orders_.submit(intent(quantity=4, side=Side.SELL, limit="510"), one.now_ns)
    orders_.submit(intent(quantity=5, limit="400"), one.now_ns)
    orders_.submit(intent(1, 2, Purpose.CLOSE, Side.SELL, "20"), one.now_ns)
    found = admission(one).judge((intent(side=Side.SELL, limit="505"),), one.now_ns, all_or_none=True)
    assert [order.quantity for order in found.intents] == [6]


def test_a_trade_in_several_parts_is_cut_to_as_many_sets_as_its_shares_allow(desk):
    uncapped = ("net_delta", "bought_delta", "gamma", "bought_gamma", "vega", "theta")
    one = desk(held={0: (7, "500")}, **{f"max_{cap}_fraction": None for cap in uncapped})
    told(one, shortable=())
    trade = (intent(0, 20, side=Side.SELL, limit="499"), intent(1, 10, Purpose.HEDGE, limit="12"))
    found = admission(one).cut(trade, (), one.now_ns, [], notes := [])
    assert [order.quantity for order in found] == [6, 3]
    assert notes[0].endswith("SPY cannot be borrowed: 13 shares stay unhedged")
    none = admission(one).cut(
        (intent(0, 20, side=Side.SELL, limit="499"), intent(1, 1, Purpose.HEDGE, limit="12")),
        (),
        one.now_ns,
        refusals := [],
        [],
    )
    assert (none, len(refusals)) == ((), 1)


@pytest.mark.rows(("count", "goes_as_one"), [(2, True), (4, True), (5, False)])
def test_no_more_than_four_legs_go_as_one(desk, count, goes_as_one):
    one = HandDesk(Scripted(), straddle_book(490, 500, 510))
    legs = tuple(intent(number, 1, Purpose.OPEN) for number in range(1, count + 1))
    assert admission(one).may_combine(legs, LegOrders.COMBO) is goes_as_one


def test_in_a_trade_that_buys_first_what_it_sells_is_cut_all_the_same(desk):
    uncapped = ("net_delta", "bought_delta", "gamma", "bought_gamma", "vega", "theta")
    one = desk(held={0: (6, "500")}, **{f"max_{cap}_fraction": None for cap in uncapped})
    told(one, shortable=())
    trade = (intent(1, 10, Purpose.HEDGE, limit="12"), intent(0, 10, side=Side.SELL, limit="499"))
    found = admission(one).cut(trade, (), one.now_ns, [], [])
    assert [order.quantity for order in found] == [6, 6]


def test_of_two_shares_the_one_that_cannot_be_borrowed_is_cut_after_one_that_can():
    uncapped = ("net_delta", "bought_delta", "gamma", "bought_gamma", "vega", "theta")
    limits = RiskLimits(**{f"max_{cap}_fraction": None for cap in uncapped})
    one = HandDesk(Scripted(), Instruments([share(), share("QQQ")]), limits=limits)
    one.adopt({0: (5, "500"), 1: (2, "400")})
    one.open()
    for number in (0, 1):
        one.quote(number, 499.99, 500.01)
    told(one, shortable=(0,))
    trade = tuple(intent(number, side=Side.SELL) for number in (0, 1))
    found = admission(one).cut(trade, (), one.now_ns, [], notes := [])
    assert [order.quantity for order in found] == [2, 2]
    assert notes[0].endswith(": QQQ cannot be borrowed: 8 shares stay unhedged")
