"""Pauses that double, cancels of what is too old, reports that are not repeated."""

from decimal import Decimal

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.strategies.toolkit.order_life import ReportOnce, cancels_of

SECOND = 1_000_000_000


def test_each_failure_in_a_row_waits_twice_as_long_up_to_a_maximum():
    pause = BackOff(1.0, 30.0)
    assert [pause.fail(0) // SECOND for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pause.fail(0, longest_seconds=600.0) // SECOND == 128
    pause.succeed()
    assert (pause.until_ns, pause.fail(5 * SECOND)) == (0, 6 * SECOND)


def test_a_report_is_made_when_its_key_changes():
    reports = ReportOnce("entry")
    made = [bool(reports.report(key, (key,))) for key in ("a", "a", "b", "a")]
    assert made == [True, False, True, True]
    (report,) = reports.report("c", ("why",), {"n": 1})
    assert (report.kind, report.reasons, report.facts, report.intents) == (
        "entry",
        ("why",),
        {"n": 1, "refused_by": "c"},
        (),
    )


def test_a_report_held_back_for_a_while_is_made_again_after_it():
    reports = ReportOnce(again_after_seconds=300.0)
    at = [("a", 0), ("b", 1), ("a", 299), ("b", 302), ("a", 303)]
    assert [bool(reports.report(key, (key,), now_ns=t * SECOND)) for key, t in at] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_a_report_of_the_day_is_made_once_until_it_is_forgotten():
    reports = ReportOnce()
    assert [bool(reports.once(key, (key,))) for key in ("a", "b", "a")] == [True, True, False]
    assert reports.has_reported
    reports.forget()
    assert not reports.has_reported
    assert reports.once("a", ("a",))


def test_an_order_is_cancelled_once():
    terms = 0, Side.BUY, Decimal(7), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN
    order = Order(SubmitOrder("a", *terms), SECOND)
    for state in OrderState:
        order.state = state
        is_asked = state in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)
        assert bool(cancels_of([order], "late")) is not is_asked
