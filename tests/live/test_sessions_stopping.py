"""Ends and halts: orders are cancelled, orders that may work are named, a resumption needs a stream."""

import json

import pytest

from scalpdesk.core.errors import StopError
from scalpdesk.live.run import answer, whose
from scalpdesk.live.sessions import StopMode
from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.served.requests import Answer, Request
from scalpdesk_alpaca.stream import StreamRefused
from scalpdesk_testing.kit.order_faults import FaultsLater
from scalpdesk_testing.line_desk import CHAIN, KEY, SECRET, LineDesk

RESTS = Fault("partial_fill", times=0, fraction=0.0, seconds=3_600)
STUCK = Fault("cancel_stuck", times=0, seconds=3_600)
HELD = {CHAIN[2]: 2, CHAIN[7]: 2, "SPY": 400}
SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume", "venue.flatten_seconds=8")


def open_orders(desk):
    headers = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
    asked = Request("GET", "/v2/orders", {"status": "open"}, headers, b"", desk.clock.true_ns())
    return {order["client_order_id"] for order in json.loads(desk.api.handle(asked).body)}


def stopped(folder, how, *faults, venue=lambda _: None):
    """Stop a desk as ``how`` says while an order of it rests; return it, its state, the orders open then.

    ``venue`` changes the exchange before the stop.
    """
    plan = FaultsLater(faults, 1)

    async def play(desk):
        plan.is_armed = True  # from here on an order rests
        await desk.following()
        await desk.desk.runner.operate("flatten", "enough", "me")
        await desk.until(lambda: open_orders(desk))
        venue(desk)
        desk.desk.runner.stop(how)
        await desk.until(lambda: desk.desk.runner.state.reason)
        return desk.desk.runner.state, open_orders(desk)

    with LineDesk(folder, HELD, plan) as desk:
        state, left = desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), play)
        return desk, state, left


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (StopMode.FLATTEN, f"not flat in time: the venue shows +2 {CHAIN[2]}, +2 {CHAIN[7]}, +400 SPY"),
        (StopMode.HOLD, "stopped: hold"),
    ],
)
def test_no_order_works_after_the_end_of_a_run(tmp_path, how, reason):
    desk, state, left = stopped(tmp_path, how, RESTS)
    assert state.reason == reason
    assert (left, state.open_orders) == (set(), ())
    assert desk.truth() == HELD


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (StopMode.FLATTEN, "not flat in time"),
        (StopMode.HOLD, "stopped; the venue has not confirmed every cancel"),
    ],
)
def test_orders_whose_cancel_the_venue_does_not_confirm_are_named_at_the_end(tmp_path, how, reason):
    desk, state, left = stopped(tmp_path, how, RESTS, STUCK)
    assert state.reason.startswith(reason)
    assert left
    assert left <= set(state.open_orders)
    names = ", ".join(state.open_orders)
    assert ("alarm", f"orders may still work at the venue: {names}") in desk.said


@pytest.mark.parametrize("how", [StopMode.FLATTEN, StopMode.HOLD])
def test_a_cancel_at_the_end_that_the_venue_drops_is_sent_again(tmp_path, how):
    dropped = set()

    def drops_first(desk):
        handle = desk.api.handle

        def handled(request):
            if request.method == "DELETE" and request.path not in dropped:
                dropped.add(request.path)
                return Answer(204, b"")
            return handle(request)

        desk.api.handle = handled

    _, state, left = stopped(tmp_path, how, RESTS, venue=drops_first)
    assert dropped
    assert (left, state.open_orders) == (set(), ())


def test_a_stop_by_leave_touches_no_order_and_says_which_work_on(tmp_path):
    desk, state, left = stopped(tmp_path, StopMode.LEAVE, RESTS)
    assert (state.reason, state.open_orders) == ("stopped: leave", ())
    assert len(left) == 2
    said = next(text for level, text in desk.said if text.startswith("orders that the desk leaves"))
    assert set(said.removeprefix("orders that the desk leaves as they are: ").split(", ")) == left
    assert desk.truth() == HELD


def test_a_cancel_that_is_confirmed_late_ends_the_run_without_a_complaint(tmp_path):
    late = Fault("cancel_stuck", times=0, seconds=7)
    _, state, left = stopped(tmp_path, StopMode.HOLD, RESTS, late)
    assert state.reason == "stopped: hold; the venue shows no order of the desk any more"
    assert (left, state.open_orders) == (set(), ())


def test_a_desk_whose_order_stream_was_refused_for_good_is_not_resumed(tmp_path):
    async def play(desk):
        await desk.following()
        handler = desk.desk.gateway._stream._handler

        async def refuse(send, receive):
            raise StreamRefused("the order stream does not accept the keys", is_final=True)

        handler.hello = refuse
        await desk.desk.gateway._stream.drop()
        await desk.until(lambda: desk.engine.desk.gate.mode == "HALTED")
        with pytest.raises(StopError, match="the venue's order stream is down") as refused:
            await desk.desk.runner.operate("resume", "the keys are fine again", "me")
        answered = await answer(desk.desk, {"do": "resume", "reason": "the keys are fine again"})
        said = {"error": refused.value.what, "where": "orders", "fix": refused.value.fix}
        assert answered == said | whose(desk.desk.header, desk.desk.run_dir)
        assert desk.engine.desk.gate.mode == "HALTED"
        assert (await desk.desk.runner.operate("flatten", "out", "me"))["mode"] == "FLATTENING"

    with LineDesk(tmp_path, HELD) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), play)
