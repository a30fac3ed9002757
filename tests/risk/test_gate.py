from decimal import Decimal

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.risk.checks import ASKED_OF, CHECKS
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits

S = NANOS_PER_SECOND


def test_every_reason_comes_back_in_the_order_of_the_checks(context):
    gate = RiskGate(RiskLimits())
    assert gate.refusals(context()) == ()
    assert gate.refusals(context(mode=Mode.HALTED, in_session=False, live_orders=99)) == (
        "the desk is halted",
        "outside the trading session",
        "99 orders at the venue, limit 20",
    )


def test_a_gate_asks_the_checks_it_is_given(context):
    gate = RiskGate(RiskLimits(), checks=(lambda _: "one", lambda _: None, lambda _: "two"))
    assert gate.refusals(context()) == ("one", "two")


def test_orders_leave_the_minute_after_sixty_seconds():
    gate = RiskGate(RiskLimits())
    for second in (0, 10, 20):
        gate.note_sent(second * S)
    assert gate.orders_last_minute(59 * S) == 3
    assert gate.orders_last_minute(60 * S) == 2
    assert gate.orders_last_minute(79 * S + S - 1) == 1
    assert gate.orders_last_minute(200 * S) == 0


def test_closed_trades_are_counted_and_a_session_starts_afresh():
    gate = RiskGate(RiskLimits())
    for pnl in ("-1", "0", "-2"):
        gate.note_closed_trade(Decimal(pnl))
    assert gate.consecutive_losses == 2
    gate.note_closed_trade(Decimal("0.01"))
    assert gate.consecutive_losses == 0
    gate.note_closed_trade(Decimal(-1))
    gate.note_sent(0)
    gate.new_session()
    assert (gate.consecutive_losses, gate.orders_last_minute(0)) == (0, 0)


def test_a_desk_starts_active():
    assert RiskGate(RiskLimits()).mode == "ACTIVE"


def test_executions_beyond_the_limit_disable_the_strategy():
    gate = RiskGate(RiskLimits(max_repeats_per_minute=3, max_flips_per_minute=2))
    held = Decimal(5)
    assert [gate.why_disable(at * S, 0, Side.BUY, held) for at in range(3)] == [None] * 3
    assert gate.why_disable(3 * S, 0, Side.BUY, held) == (
        "4 executions in a row to buy within a minute, limit 3 (risk.max_repeats_per_minute)"
    )
    flat = Decimal(0)
    sides = (Side.BUY, Side.SELL, Side.BUY)
    assert [gate.why_disable((10 + n) * S, 1, side, flat) for n, side in enumerate(sides)] == [
        None,
        None,
        "3 departures from flat within a minute, limit 2 (risk.max_flips_per_minute)",
    ]


def test_an_exit_does_not_count_towards_the_moving_size():
    gate = RiskGate(RiskLimits())
    for purpose in Purpose:
        gate.note_sent(0, OrderIntent(1, Side.BUY, Decimal(2), purpose, ""), is_option=True)
    assert gate.tallies.ordered_lately(0, options=True) == 4  # open and hedge
    assert gate.orders_last_minute(0) == 4


@pytest.mark.parametrize("purpose", Purpose)
def test_a_check_that_is_not_asked_of_a_purpose_has_nothing_to_say_of_it(context, book, purpose):
    """Whatever is wrong: leaving the question out never loses a reason."""
    tallies = OrderCounters()
    for _ in range(20):
        tallies.note_answer(0, refused=True)
        tallies.note_order(0, Decimal(10**9), is_option=True)
    blocked = AccountLimits(0, 0, False, False, 0, Decimal(0), Decimal(0))
    one = context(
        limits={"max_order_premium": Decimal(1), "max_capital_fraction": 1e-9, "max_position_fraction": 1e-9},
        intent=OrderIntent(0, Side.SELL, Decimal(3), purpose, ""),
        held=Decimal(-5),
        cash=Decimal(0),
        daily_pnl=Decimal(-99_999),
        account=blocked,
        tallies=tallies,
        live_orders=1,
        book=book(),
    )
    assert len(RiskGate(RiskLimits()).refusals(one)) >= 2
    for check in CHECKS:
        if purpose not in ASKED_OF.get(check, frozenset(Purpose)):
            assert check(one) is None
    every = tuple(why for why in (check(one) for check in CHECKS) if why is not None)
    assert RiskGate(RiskLimits()).refusals(one) == every
