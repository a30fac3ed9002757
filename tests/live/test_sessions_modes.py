"""A mode outlasts every end of a run: only a person gives it back, whatever stopped the desk between."""

import pytest

from fakes.line_desk import CHAIN, LineDesk
from fakes.order_faults import FaultsLater
from scalpdesk.closing.last_resort import Flattener
from scalpdesk.core.enums import Mode
from scalpdesk.instruments.contract import Instruments
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.live.run import answer
from scalpdesk.live.sessions import StopMode
from scalpdesk.simulation.faults import Fault
from scalpdesk.venues.alpaca.stream import StreamRefused

HELD = {CHAIN[2]: 2, CHAIN[7]: 2, "SPY": 400}
RESTS = Fault("partial_fill", times=0, fraction=0.0, seconds=3_600)
SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume", "venue.flatten_seconds=8")


async def by_command(desk, action):
    await desk.desk.runner.operate(action, "stop: news", "me")


async def keys_are_revoked(desk):
    handler = desk.desk.gateway._stream._handler
    kept = handler.hello

    async def refuse(send, receive):
        raise StreamRefused("the order stream does not accept the keys", is_final=True)

    handler.hello = refuse
    await desk.desk.gateway._stream.drop()
    await desk.until(lambda: desk.engine.desk.gate.mode is Mode.HALTED)
    handler.hello = kept


async def account_differs(desk):
    handle = desk.api.handle
    desk.also_holds(
        {"symbol": "XYZ", "qty": "3", "side": "long", "avg_entry_price": "1", "asset_class": "us_equity"}
    )
    await desk.until(lambda: desk.desk.runner.reconciler.unexplained)
    desk.api.handle = handle  # it is gone before the next start: what was found is not found again


BEFORE = {
    "active": (Mode.ACTIVE, None),
    "halt": (Mode.HALTED, lambda desk: by_command(desk, "halt")),
    "reduce": (Mode.REDUCING, lambda desk: by_command(desk, "reduce")),
    "flatten": (Mode.FLATTENING, lambda desk: by_command(desk, "flatten")),
    "revoked": (Mode.HALTED, keys_are_revoked),
    "difference": (Mode.REDUCING, account_differs),
}


async def emergency(desk):
    gateway = desk.gateway(Instruments(desk.engine.desk.instruments))
    facts = await gateway.connect()
    assert facts.account_id
    trader = EmergencyTrader(
        gateway=gateway,
        instruments=desk.engine.desk.instruments,
        flattener=Flattener(desk.engine.desk.instruments, "wd"),
        limits=desk.engine.desk.gate.limits,
        log=lambda _text: None,
    )
    assert await trader.clear((), flatten=False)
    await gateway.close(graceful=False)


@pytest.mark.parametrize("end", [*StopMode, "twice", "kill", "killed while stopping", "watchdog"])
@pytest.mark.parametrize("before", BEFORE)
def test_after_a_resume_the_mode_is_the_one_before_the_stop(tmp_path, before, end):
    """A halt, an interrupt, a resume: the desk came back ACTIVE. So it did after a halt for "stop: news"."""
    mode, bring = BEFORE[before]
    plan = FaultsLater((RESTS,), 1)

    async def ends(desk):
        plan.is_armed = True
        await desk.following()
        if bring is not None:
            await bring(desk)
        assert desk.engine.desk.gate.mode is mode
        runner = desk.desk.runner
        if end in tuple(StopMode) or end == "twice":
            runner.stop(StopMode.HOLD if end == "twice" else StopMode(end))
            if end == "twice":
                runner.stop(StopMode.FLATTEN)
            await desk.until(lambda: runner.state.reason)
        elif end == "killed while stopping":
            runner.stop(StopMode.FLATTEN)
            await desk.until(lambda: desk.engine.desk.gate.stopped_from is not None)
        elif end == "watchdog":
            await emergency(desk)

    async def goes_on(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        gate = desk.engine.desk.gate
        assert (gate.mode, gate.kept_mode, gate.stopped_from) == (mode, mode, None)
        answered = await answer(desk.desk, {"do": "status"})
        assert answered["mode"] == mode
        if mode is not Mode.ACTIVE:
            assert (await answer(desk.desk, {"do": "resume", "reason": "seen"}))["mode"] == Mode.ACTIVE

    with LineDesk(tmp_path, HELD, plan) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), ends)
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True), goes_on)
