from fakes.tape import quote
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import EveryQuote, PriceMove, Wake

S = NANOS_PER_SECOND


def ask(trigger, seconds, mid, spread=0.02):
    """Check one quote and, when it wakes, let the trigger know that the strategy has thought."""
    one = quote(0, int(seconds * S), mid - spread / 2, mid + spread / 2)
    wake = trigger.check(one)
    if wake is not None:
        trigger.done(one, wake)
    return wake


def test_a_move_that_reaches_the_threshold_wakes_and_sets_the_reference():
    trigger = PriceMove(0, 0.05, 60.0)
    assert ask(trigger, 1, 500.00) is Wake.PRICE
    assert ask(trigger, 2, 500.04) is None
    assert ask(trigger, 3, 500.05) is Wake.PRICE
    assert ask(trigger, 4, 500.01) is None
    assert ask(trigger, 5, 500.00) is Wake.PRICE


def test_a_heartbeat_must_be_passed_and_does_not_move_the_reference():
    trigger = PriceMove(0, 0.05, 5.0)
    ask(trigger, 0, 500.00)
    assert ask(trigger, 5, 500.03) is None
    assert ask(trigger, 5.001, 500.03) is Wake.HEARTBEAT
    assert ask(trigger, 6, 500.05) is Wake.PRICE  # 0.05 from the last price wake, not from the heartbeat


def test_a_wake_that_could_not_be_used_comes_again():
    trigger = PriceMove(0, 0.05, 60.0)
    ask(trigger, 0, 500.00)
    moved = quote(0, S, 500.09, 500.11)
    assert trigger.check(moved) is Wake.PRICE
    assert trigger.check(moved) is Wake.PRICE


def test_a_spread_filter_keeps_odd_quotes_from_waking():
    trigger = PriceMove(0, 0.05, 1.0, SpreadFilter())
    assert ask(trigger, 0, 500.00) is None  # the first quote only teaches
    assert ask(trigger, 1, 500.00) is Wake.PRICE
    assert ask(trigger, 9, 510.00, spread=0.30) is None
    assert ask(trigger, 10, 500.00) is Wake.HEARTBEAT


def test_every_quote_wakes_on_every_quote():
    trigger = EveryQuote(0)
    assert [ask(trigger, second, 500.0) for second in range(3)] == [Wake.PRICE] * 3
