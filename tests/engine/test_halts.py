import pytest

from scalpdesk.core.events import (
    BarEvent,
    QuoteEvent,
    TradingHalt,
)
from scalpdesk.core.intents import (
    SetTimer,
)
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.triggers import Wake
from scalpdesk_testing.kit.desk import Scripted, cancels, decisions, orders, working

SECOND = 10**9


def status_of(one, number=0, *, at_ns=None, is_halted=True, reason=""):
    at_ns = one.now_ns if at_ns is None else at_ns
    return one.handle(TradingHalt(number, at_ns, one.now_ns, is_halted=is_halted, reason=reason))


def test_a_halt_cancels_what_works_in_the_symbol_and_its_end_is_told_once(desk):
    one = desk(Scripted())
    names = [working(one, number) for number in (0, 1)]
    outputs = status_of(one, reason="news")
    (alert,) = decisions(outputs)
    assert (alert.kind, alert.taken, alert.facts) == ("alert", True, {"symbol": "SPY"})
    assert alert.reasons == ("SPY: trading halted, no orders in it until it resumes (news)",)
    assert cancels(outputs) == names  # an option on it is halted, too
    assert one.engine.desk.gate.halted == {0: one.now_ns}
    assert status_of(one) == ()
    (alert,) = status_of(one, is_halted=False)
    assert alert.reasons == ("SPY: trading resumed",)
    assert one.engine.desk.gate.halted == {}
    assert status_of(one, is_halted=False) == ()
    (alert,) = status_of(one, 1)
    assert alert.facts == {"symbol": "SPY240419C00500000"}
    assert one.strategy.wakes == [Wake.SESSION, Wake.ORDER, Wake.ORDER]


def test_a_halt_of_an_option_leaves_orders_in_its_share_alone(desk):
    one = desk(Scripted())
    names = [working(one, number) for number in (0, 1, 2)]
    assert cancels(status_of(one, 1)) == [names[1]]


@pytest.mark.rows(("age", "is_halted"), [(-1, False), (0, True), (1, True)])
def test_of_two_statuses_the_later_holds(desk, age, is_halted):
    one = desk(Scripted())
    status_of(one, is_halted=False, at_ns=100)
    status_of(one, at_ns=100 + age)
    assert bool(one.engine.desk.gate.halted) is is_halted
    status_of(one, 1, at_ns=5)  # the statuses of another symbol are its own
    assert 1 in one.engine.desk.gate.halted


@pytest.mark.rows(("late_ns", "ends"), [(-1, False), (0, True), (1, True)])
def test_a_bar_that_began_after_a_halt_ends_it_and_the_halts_message_may_come_again(desk, late_ns, ends):
    one = desk(Scripted())
    status_of(one)
    since_ns = one.now_ns
    one.wait(120)
    outputs = one.handle(BarEvent(0, since_ns + 60 * 10**9 + late_ns, one.now_ns, 60, 1, 2, 0.5, 1.5, 9))
    assert (outputs != ()) is ends
    assert bool(one.engine.desk.gate.halted) is not ends
    if ends:
        assert outputs[0].reasons == ("SPY: trading resumed (it trades again)",)
        assert status_of(one, at_ns=since_ns + late_ns) == ()
        assert status_of(one, at_ns=since_ns + late_ns + 1) != ()
    other = BarEvent(1, since_ns + 60 * 10**9 + 5, one.now_ns, 60, 1, 2, 0.5, 1.5, 9)
    assert one.handle(other) == ()


def test_a_second_halt_outlasts_a_bar_of_the_trades_before_it_when_the_first_ones_end_was_missed(desk):
    # it trades from 10:05:10, is halted again at 10:05:30, and the bar of 10:05 counted as the end
    one = desk(Scripted())
    start = one.now_ns
    status_of(one)
    one.wait(330)
    assert status_of(one) == ()  # said once
    one.wait(30)
    price = 500.0
    one.handle(BarEvent(0, start + 360 * SECOND, one.now_ns, 60, price, price, price, price, 1.0))
    assert one.engine.desk.gate.halted == {0: start + 330 * SECOND}


def test_a_flattening_desk_looks_again_when_a_halt_ends(desk):
    one = desk(Scripted())
    one.operate("flatten")
    one.wait(10).timer("flatten")
    one.adopt({0: (10, "500")})
    status_of(one)
    outputs = one.wait(1).handle(TradingHalt(0, one.now_ns, one.now_ns, is_halted=False))
    timer, alert = outputs
    assert timer == SetTimer("flatten", one.now_ns + 2 * SECOND)
    assert alert.kind == "alert"


def test_a_flattening_desk_sends_nothing_in_a_halt_and_at_once_after_it(desk):
    # a refused order every 30 s, and the next one up to 30 s after the halt
    one = desk(Scripted())
    one.adopt({0: (10, "500"), 1: (1, "9")})
    one.operate("flatten")
    status_of(one)
    one.wait(10)
    for _ in range(150):
        assert one.timer("flatten") == (SetTimer("flatten", one.now_ns + 2 * SECOND),)
        one.wait(2)
        one.quote(0, 499.99, 500.01)
        one.quote(1, 8.9, 9.1)
    status_of(one, is_halted=False)
    (sale,) = orders(one.timer("flatten"))
    assert (sale.instrument_id, sale.quantity) == (1, 1)


def test_a_quote_of_a_halt_is_stale_after_it_until_the_next_one_of_its_instrument(desk):
    one = desk(Scripted())
    status_of(one)
    for number, price in ((0, 500.0), (1, 9.0), (2, 9.0)):
        one.quote(number, price - 0.01, price + 0.01)
    status_of(one, is_halted=False)
    market, now_ns = one.engine.desk.market, one.now_ns
    assert [market.verdict(number, now_ns) for number in (0, 1, 2)] == [QuoteVerdict.STALE] * 3
    one.quote(1, 8.9, 9.1)
    assert [market.verdict(number, now_ns) for number in (0, 1)] == [QuoteVerdict.STALE, QuoteVerdict.GOOD]


@pytest.mark.parametrize(("age_seconds", "verdict"), [(900, QuoteVerdict.STALE), (3, QuoteVerdict.GOOD)])
def test_a_delayed_quote_is_stale_to_the_desk_as_it_comes(desk, age_seconds, verdict):
    one = desk(Scripted())
    made_ns = one.now_ns - age_seconds * SECOND
    one.handle(QuoteEvent(0, made_ns, one.now_ns, 499.99, 500.01, 1.0, 1.0))
    assert one.engine.desk.market.verdict(0, one.now_ns) is verdict


def test_a_flattening_desk_keeps_the_hedge_of_an_option_that_is_halted_alone(desk):
    one = desk(Scripted())
    one.adopt({0: (10, "500"), 1: (1, "9")})
    one.quote(1, 8.9, 9.1)
    one.operate("flatten")
    status_of(one, 1)
    assert orders(one.wait(10).timer("flatten")) == []
