"""A stop waits for its trigger and no longer, at every fill model, and never beyond its limit."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.events import OrderAccepted, OrderFilled
from scalpdesk.core.intents import Purpose, Side, Stop, SubmitOrder, TimeInForce
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
SECOND = 10**9


@settings(max_examples=150, deadline=None)
@given(
    cents=st.lists(st.integers(-120, 120), min_size=2, max_size=14),
    half_spreads=st.lists(st.integers(0, 8), min_size=14, max_size=14),
    side=st.sampled_from(Side),
    trigger=st.integers(-100, 100),
    limit=st.none() | st.integers(-100, 100),
    fills=st.sampled_from(["cross", "mid", "queue", "adverse"]),
    latency_s=st.sampled_from([0, 1, 2]),
    size=st.sampled_from([0.0, 3.0, 100.0]),
)
def test_a_stop_fills_only_after_the_mid_came_to_its_trigger_and_within_its_limit(
    cents, half_spreads, side, trigger, limit, fills, latency_s, size
):
    """The reference walks over the mids in whole half cents, apart from what the broker does."""
    venue = connect(straddle_book(), model=fills, positions={0: 10}, latency_ns=latency_s * SECOND)
    command = SubmitOrder(
        "stop",
        0,
        side,
        D(10),
        Stop(D(50_000 + trigger) / 100),
        None if limit is None else D(50_000 + limit) / 100,
        TimeInForce.DAY,
        Purpose.CLOSE,
    )
    met, filled = [], []
    for place, (cent, half) in enumerate(zip(cents, half_spreads, strict=False)):
        now_ns = (place + 1) * SECOND
        venue.on_quote(quote(0, now_ns, 500 + (cent - half) / 100, 500 + (cent + half) / 100, size, size))
        if place == 0:
            venue.send(command, now_ns)
        filled += venue.take_due(now_ns)
        if place >= latency_s and (cent - trigger) * side.sign >= 0:
            met.append(now_ns)
    fills_seen = [event for event in filled if isinstance(event, OrderFilled)]
    assert any(isinstance(event, OrderAccepted) for event in filled) or len(cents) <= 2 * latency_s
    if fills_seen:
        assert met
        assert min(event.ts_event_ns for event in fills_seen) >= met[0]
    for event in fills_seen:
        assert limit is None or (event.price - D(50_000 + limit) / 100) * side.sign <= 0
    stop = venue.account.by_client_id.get("stop")
    assert stop is None or stop.waits_for_stop is not bool(met)
    if fills == "cross" and latency_s == 0 and limit is None and size in (0.0, 100.0):
        assert bool(fills_seen) is bool(met)  # a stop without a limit trades at once when it is triggered
