"""Public incidents of other trading programs, each as a trial that this desk must survive.

What their reports tell is staged with the faults of a trial; the laws of
:mod:`scalpdesk_testing.invariants` are the judge. This desk never modifies an order: it cancels and
sizes it again, so incidents of a modify are staged on its cancel.
"""

from collections.abc import Iterable
from typing import NamedTuple

from scalpdesk.simulation.faults import Fault
from scalpdesk_testing.campaign import run_trial
from scalpdesk_testing.schedule import Crash, Moment, Schedule, quiet_schedule
from scalpdesk_testing.trial import TrialOutcome

OFTEN = 40
FILL = "/stream fill"
POST = "POST /v2/orders"
DELETE = "DELETE /v2/orders"


class Incident(NamedTuple):
    """One incident.

    Parameters
    ----------
    name
        Of the scenario.
    source
        Where it was reported.
    story
        What went wrong there.
    schedule
        What is staged here.
    must_hit
        Faults that must strike, or the scenario has shown nothing.
    """

    name: str
    source: str
    story: str
    schedule: Schedule
    must_hit: tuple[str, ...]


def _staged(
    *rules: Fault,
    seed: int = 4,
    moments: Iterable[Moment] = (),
    crashes: Iterable[Crash] = (),
    held: float = 0.0,
    held_seconds: float = 0.0,
) -> Schedule:
    return quiet_schedule(
        seed,
        rules=rules,
        moments=tuple(moments),
        crashes=tuple(crashes),
        held_fraction=held,
        held_seconds=held_seconds,
    )


def _slow_fill(times: int = OFTEN) -> Fault:
    """Half of an order fills, the rest only after a minute: a desk that waits must cancel."""
    return Fault("partial_fill", times=times, fraction=0.5, seconds=60.0, match="SPY")


INCIDENTS: tuple[Incident, ...] = (
    Incident(
        "open_order_counted_twice_at_start",
        "nautechsystems/nautilus_trader#3476",
        "start-up booked the net position and then the open order's partial fills again",
        _staged(_slow_fill(), moments=[Moment(9.5, "kill"), Moment(40.0, "kill")]),
        ("partial_fill", "kill"),
    ),
    Incident(
        "inferred_fill_and_the_real_one",
        "nautechsystems/nautilus_trader#3493",
        "a fill was inferred from a report, then the real one came: counted twice",
        _staged(Fault("stream_delay", times=OFTEN, match=FILL, seconds=45.0)),
        ("stream_delay",),
    ),
    Incident(
        "fill_before_the_order_was_known",
        "nautechsystems/nautilus_trader#3949",
        "a fill came before the message that the order is open: swallowed",
        _staged(
            Fault("fill_before_ack", times=OFTEN),
            Fault("slow_answer", times=OFTEN, match=POST, seconds=1.0),
        ),
        ("fill_before_ack", "slow_answer"),
    ),
    Incident(
        "two_live_orders_after_a_lost_line",
        "nautechsystems/nautilus_trader#4564",
        "a modify while the connection was lost left two live orders",
        _staged(_slow_fill(), Fault("disconnect_after", times=OFTEN, match=DELETE)),
        ("disconnect_after", "partial_fill"),
    ),
    Incident(
        "new_orders_at_each_restart",
        "nautechsystems/nautilus_trader#3176",
        "each restart made new orders out of the positions it found",
        _staged(moments=[Moment(float(at), "kill") for at in (20, 45, 70, 95, 120)]),
        ("kill",),
    ),
    Incident(
        "declared_rejected_by_a_time_out",
        "nautechsystems/nautilus_trader#4958",
        "an order without a venue id was declared rejected although it could still arrive",
        _staged(held=0.5, held_seconds=8.0),
        ("held_request",),
    ),
    Incident(
        "partial_then_cancel_taken_for_filled",
        "nautechsystems/nautilus_trader#4787",
        "a partly filled and cancelled order was mapped to filled and stuck in pending cancel",
        _staged(_slow_fill()),
        ("partial_fill",),
    ),
    Incident(
        "old_remainder_restored",
        "nautechsystems/nautilus_trader#4154",
        "the answer to a modify brought back the old remaining quantity: overfilled",
        _staged(_slow_fill(), Fault("cancel_too_late", times=OFTEN)),
        ("cancel_too_late",),
    ),
    Incident(
        "fill_of_an_order_that_nobody_knows",
        "nautechsystems/nautilus_trader#4970",
        "a fill was not matched to its order; the order stayed at zero beside an external one",
        _staged(
            Fault("slow_answer", times=OFTEN, match=POST, seconds=1.8),
            Fault("stream_drop", times=OFTEN, match="/stream new"),
        ),
        ("slow_answer", "stream_drop"),
    ),
    Incident(
        "duplicate_id_after_a_time_out",
        "nautechsystems/nautilus_trader#4215",
        "time-out, retry after acceptance, and the duplicate's reject ended the living order",
        _staged(Fault("disconnect_after", times=OFTEN, match=POST)),
        ("disconnect_after",),
    ),
    Incident(
        "fills_never_delivered_on_a_living_socket",
        "nautechsystems/nautilus_trader#3869",
        "fills were silently not delivered although the socket was up",
        _staged(Fault("stream_drop", times=OFTEN, match=FILL)),
        ("stream_drop",),
    ),
    Incident(
        "fills_during_a_disconnection",
        "QuantConnect/Lean.Brokerages.InteractiveBrokers#249",
        "fills during a disconnection were never asked for again",
        _staged(
            moments=[Moment(8.03, "outage", 12.0), Moment(60.0, "outage", 15.0), Moment(100.0, "cut")],
        ),
        ("outage", "cut"),
    ),
    Incident(
        "fill_while_a_change_is_under_way",
        "QuantConnect/Lean.Brokerages.TradeStation#84",
        "an option's fill during a modify was discarded",
        _staged(Fault("cancel_too_late", times=OFTEN), Fault("late_ack", times=OFTEN, seconds=7.0)),
        ("cancel_too_late", "late_ack"),
    ),
    Incident(
        "acknowledged_and_never_filled",
        "QuantConnect/Lean.Brokerages.Alpaca#28",
        "the order was acknowledged, its fill event never came",
        _staged(Fault("stream_drop", times=3, match=FILL)),
        ("stream_drop",),
    ),
    Incident(
        "pending_cancel_for_a_day",
        "alpacahq/Alpaca-API#111, #199; alpacahq/alpaca-py#400",
        "orders stood in pending_cancel for hours",
        _staged(_slow_fill(), Fault("cancel_stuck", times=4, seconds=40.0)),
        ("cancel_stuck",),
    ),
    Incident(
        "accepted_orders_forgotten_in_an_outage",
        "hummingbot/hummingbot#8457",
        "names did not resolve for a while; accepted orders were forgotten",
        _staged(_slow_fill(), moments=[Moment(8.5, "outage", 30.0), Moment(80.0, "outage", 30.0)]),
        ("outage",),
    ),
    Incident(
        "lost_orders_placed_again",
        "hummingbot/hummingbot#3374",
        "orders taken for lost were placed again; all of them filled",
        _staged(
            Fault("drop_request", times=6, match=POST),
            Fault("half_open", times=6, match=POST, probability=0.3),
            held=0.34,
            held_seconds=6.0,
        ),
        ("drop_request", "held_request"),
    ),
    Incident(
        "open_after_its_cancel",
        "freqtrade/freqtrade#9273, #2383",
        "an order looked open after its cancel; a part was booked as the whole",
        _staged(_slow_fill(), Fault("stream_drop", times=OFTEN, match="/stream canceled")),
        ("stream_drop", "partial_fill"),
    ),
    Incident(
        "time_out_yet_alive_and_an_old_fill_again",
        "ccxt/ccxt#2599, #18078",
        "a request timed out and the order lived; an old fill was sent again",
        _staged(
            Fault("slow_answer", times=OFTEN, match=POST, seconds=5.0),
            Fault("stream_duplicate", times=OFTEN, match=FILL),
        ),
        ("slow_answer", "stream_duplicate"),
    ),
    Incident(
        "corrections_and_the_brokers_own_liquidation",
        "erdewit/ib_insync#364; QuantConnect/Lean#5016, #8413, #5839",
        "corrections were added as if they were new; a liquidation by the broker was ignored",
        _staged(
            Fault("correct", times=3, seconds=2.0, match="SPY"),
            moments=[Moment(60.0, "bust"), Moment(100.0, "auto_liquidation")],
        ),
        ("correct", "bust", "auto_liquidation"),
    ),
)


def survive(incident: Incident, *, verbose: bool = False) -> TrialOutcome:
    """Stage an incident; what did not happen although it must is a violation too."""
    outcome = run_trial(incident.schedule, verbose=verbose)
    for name in incident.must_hit:
        if not any(pair.startswith(f"{name} x ") for pair in outcome.pairs):
            outcome.note("0 nothing_staged", f"{name} never struck")
    return outcome
