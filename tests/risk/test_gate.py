from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.checks import CHECKS
from scalpdesk.risk.context import EVERY_ORDER, SCOPES, OrderKey, Working
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.instruments import option, share

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


def test_closed_trades_are_counted_and_a_session_starts_afresh():
    gate = RiskGate(RiskLimits())
    for pnl in ("-1", "0", "-2"):
        gate.closed_trades.note(Decimal(pnl))
    assert gate.closed_trades.losses_in_a_row == 2
    gate.closed_trades.note(Decimal("0.01"))
    assert gate.closed_trades.losses_in_a_row == 0
    gate.closed_trades.note(Decimal(-1))
    gate.counters.note_order(0)
    gate.new_session()
    assert (gate.closed_trades.losses_in_a_row, len(gate.counters.orders_ns)) == (0, 0)


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


def test_other_limits_choose_the_checks_anew(context):
    gate = RiskGate(RiskLimits())
    assert gate.refusals(context(on_share=True)) == ()
    gate.set_limits(RiskLimits(allowed_underlyings=("QQQ",)))
    named = context(on_share=True, limits={"allowed_underlyings": ("QQQ",)})
    assert gate.refusals(named) == ("SPY is not on risk.allowed_underlyings",)
    gate.set_limits(RiskLimits())
    assert gate.refusals(context(on_share=True)) == ()


def test_a_size_that_is_no_number_is_refused_and_nothing_is_worked_out_from_it(context):
    for purpose in Purpose:
        nan = context(intent=OrderIntent(0, Side.BUY, Decimal("NaN"), purpose, ""))
        assert RiskGate(RiskLimits()).refusals(nan) == ("order size NaN is not above zero",)


ANYTHING = st.fixed_dictionaries(
    {
        "purpose": st.sampled_from(Purpose),
        "side": st.sampled_from(Side),
        "quantity": st.sampled_from([1, 3, 150, 30_000]),
        "limit": st.sampled_from([None, "0.01", "10", "99"]),
        "mode": st.sampled_from(Mode),
        "on_share": st.booleans(),
        "verdict": st.sampled_from(QuoteVerdict),
        "held": st.sampled_from([-5, 0, 5]),
        "orders": st.sampled_from([(), ("buy",), ("sell", "buy")]),
        "reported": st.booleans(),
        "rejected": st.booleans(),
        "is_late": st.booleans(),
        "is_halted": st.booleans(),
        "is_compared": st.booleans(),
    }
)


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "allowed_underlyings": st.sampled_from([("SPY",), ("QQQ",)]),
        "allowed_order_types": st.sampled_from([("limit",), ("market",)]),
        "max_order_premium": st.just(Decimal(1)),
        "max_capital_fraction": st.just(1e-9),
        "max_position_fraction": st.just(1e-9),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(st.lists(ANYTHING, min_size=1, max_size=4), LIMITS)
def test_what_was_asked_before_changes_no_answer_of_the_gate(context, book, several, limits):
    """The checks chosen for one kind of order are asked of no other kind."""
    gate = RiskGate(RiskLimits(**limits))
    for drawn in several:
        one, key = drawn_context(context, book, drawn, limits)
        concerned = [c for c in CHECKS if SCOPES.get(c, EVERY_ORDER).contains(key, one.limits)]
        objections = [check(one) for check in concerned]
        assert gate.refusals(one) == tuple(why for why in objections if why is not None)


def drawn_context(context, book, drawn, limits):
    kind = OrderType.MARKET if drawn["limit"] is None else OrderType.LIMIT
    price = None if drawn["limit"] is None else Decimal(drawn["limit"])
    counters = OrderCounters()
    for _ in range(20 * drawn["rejected"]):
        counters.note_answer(0, rejected=True)
        counters.note_order(0, Decimal(10**9), is_option=True)
    instrument = share() if drawn["on_share"] else option("C")
    orders = [
        Working(0, instrument, Side(side), Decimal(3), kind, price, Purpose.OPEN, 0, Decimal(3))
        for side in drawn["orders"]
    ]
    blocked = AccountLimits(0, 0, False, False, 0, Decimal(0), Decimal(0))
    wanted = OrderIntent(0, drawn["side"], Decimal(drawn["quantity"]), drawn["purpose"], "", kind, price)
    one = context(
        limits=limits,
        instrument=instrument,
        intent=wanted,
        mode=drawn["mode"],
        verdict=drawn["verdict"],
        underlying_verdict=drawn["verdict"],
        is_late=drawn["is_late"],
        held=Decimal(drawn["held"]),
        cash=Decimal(0),
        daily_pnl=Decimal(-99_999),
        venue_limits=blocked if drawn["reported"] else None,
        counters=counters,
        live_orders=len(orders),
        book=book(*orders),
        is_halted=drawn["is_halted"],
        is_compared=drawn["is_compared"],
    )
    key = (drawn["mode"], one.is_option, drawn["reported"], bool(orders), drawn["is_halted"])
    key = (*key, drawn["is_compared"])
    return one, OrderKey(wanted.purpose, kind, *key)
