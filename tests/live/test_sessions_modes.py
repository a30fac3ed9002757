"""A mode outlasts every end of a run: only a person gives it back, whatever stopped the desk between."""

import os
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path

import pytest

from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.instruments.contract import Instruments
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.account_mode import AskedWhileStarting, WaitingCommand
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.live.run import answer
from scalpdesk.live.sessions import StopMode
from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.stream import StreamRefused
from scalpdesk_testing.kit.order_faults import FaultsLater
from scalpdesk_testing.line_desk import CHAIN, LineDesk

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
        name="wd",
        limits=desk.engine.desk.gate.limits,
        log=lambda _text: None,
    )
    assert await trader.clear((), flatten=False)
    await gateway.close(graceful=False)


ENDS = [
    *StopMode,
    "twice",
    "kill",
    "killed while stopping",
    "watchdog",
    "flat",
    "flat and killed",
]
RESUMED = [(mode, end) for mode, end in zip(cycle(BEFORE), ENDS[:-2])]
"""Every end, and every mode, at least once."""
OTHERS_RESUMED = [cell for cell in product(BEFORE, ENDS[:-2]) if cell not in RESUMED]


@pytest.mark.parametrize(
    ("before", "end"),
    [*RESUMED, *(pytest.param(*cell, marks=pytest.mark.second) for cell in OTHERS_RESUMED)],
)
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
            await desk.until(lambda: desk.engine.desk.gate.desk_mode.stop is not None)
        elif end == "watchdog":
            await emergency(desk)

    async def goes_on(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        gate = desk.engine.desk.gate
        assert (gate.mode, gate.kept_mode, gate.desk_mode.stop) == (mode, mode, None)
        answered = await answer(desk.desk, {"do": "status"})
        assert answered["mode"] == mode
        if mode is not Mode.ACTIVE:
            assert (await answer(desk.desk, {"do": "resume", "reason": "seen"}))["mode"] == Mode.ACTIVE

    with LineDesk(tmp_path, HELD, plan) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), ends)
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True), goes_on)


STARTS = {
    "resume": {"resume": True},
    "resume if any": {"resume": True, "may_begin": True},
    "new run": {"set_aside": True},
    "other strategy": {"set_aside": True},
    "other folder": {"set_aside": True},
    "other version": {"set_aside": True},
}


async def bring_to_an_end(desk, end):
    runner = desk.desk.runner
    if end.startswith("flat"):
        desk.place(CHAIN[2], "sell", HELD[CHAIN[2]], "by-hand-1")
        desk.place(CHAIN[7], "sell", HELD[CHAIN[7]], "by-hand-2")
        desk.place("SPY", "sell", HELD["SPY"], "by-hand-3")
        await desk.until(lambda: not desk.held() and not desk.engine.desk.orders.live)
        if end == "flat":
            runner.stop(StopMode.HOLD)
            await desk.until(lambda: runner.state.reason)
    elif end in tuple(StopMode) or end == "twice":
        runner.stop(StopMode.HOLD if end == "twice" else StopMode(end))
        if end == "twice":
            runner.stop(StopMode.FLATTEN)
        await desk.until(lambda: runner.state.reason)
    elif end == "killed while stopping":
        runner.stop(StopMode.FLATTEN)
        await desk.until(lambda: desk.engine.desk.gate.desk_mode.stop is not None)
    elif end == "watchdog":
        await emergency(desk)


def next_plan(desk, tmp_path, start):
    other = "hybrid" if desk.truth() else "st0cka"  # st0cka takes over no options
    strategy = other if start == "other strategy" else "gamma-scalper"
    own = () if start == "other strategy" else SETTINGS
    folder = (f"desk.runs_dir={tmp_path / 'elsewhere'}",) if start == "other folder" else ()
    options = dict(STARTS[start])
    may_begin, resume = options.pop("may_begin", False), options.pop("resume", False)
    plan = desk.plan(strategy, *own, *folder, contracts=20, resume=resume, new_run=bool(options))
    return replace(plan, may_begin=may_begin)


EACH_PAIR = [
    (tuple(BEFORE)[(row + column) % len(BEFORE)], end, start)
    for row, end in enumerate(ENDS)
    for column, start in enumerate(STARTS)
]
"""Every end with every start, and every mode with each of them at least once."""
OF_ITSELF = [("revoked", "kill", "new run"), ("difference", "kill", "new run")]
"""A mode that the desk took by itself, and no end that records it once more."""
ONCE = [*zip(cycle(BEFORE), ENDS, cycle(STARTS)), *OF_ITSELF]
"""Every mode, end and start, at least once."""
PAIRS = [cell for cell in EACH_PAIR if cell not in ONCE]
OTHERS = [cell for cell in product(BEFORE, ENDS, STARTS) if cell not in (*PAIRS, *ONCE)]


@pytest.mark.parametrize(
    ("before", "end", "start"),
    [
        *ONCE,
        *(pytest.param(*cell, marks=pytest.mark.second) for cell in PAIRS),
        *(pytest.param(*cell, marks=pytest.mark.slow) for cell in OTHERS),
    ],
)
def test_the_account_keeps_its_mode_whatever_ends_and_whatever_follows(
    tmp_path, monkeypatch, before, end, start
):
    """After a flatten and any orderly end the service's own restart bought the straddle again."""
    mode, bring = BEFORE[before]

    async def ends(desk):
        await desk.following()
        if bring is not None:
            await bring(desk)
        await bring_to_an_end(desk, end)

    async def follows(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        gate = desk.engine.desk.gate
        assert (gate.mode, gate.kept_mode, gate.desk_mode.stop) == (mode, mode, None)
        answered = await answer(desk.desk, {"do": "status"})
        assert answered["mode"] == mode
        assert bool(answered["mode_text"]) is (mode is not Mode.ACTIVE)
        assert any(f"is {mode}" in text for _, text in desk.said[told:]) is (mode is not Mode.ACTIVE)
        if mode is not Mode.ACTIVE:
            truth = desk.truth()
            await desk.wait(120.0)
            assert all(abs(units) <= abs(truth.get(name, 0)) for name, units in desk.truth().items())
            assert gate.mode is mode
            assert (await answer(desk.desk, {"do": "resume", "reason": "seen"}))["mode"] == Mode.ACTIVE

    async def is_free(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        assert desk.engine.desk.gate.mode is Mode.ACTIVE

    with LineDesk(tmp_path, HELD) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), ends)
        told = len(desk.said)
        if start == "other version":
            monkeypatch.setattr("scalpdesk.live.assembly.BUILD", "9.9.9")
        plan = next_plan(desk, tmp_path, start)
        sealed = not any(not JournalReader(run).sealed for run in Path(tmp_path / "runs").iterdir())
        if sealed and start == "resume":
            plan = replace(plan, may_begin=True)  # there is nothing to resume: --resume alone is refused
        desk.live(plan, follows)
        desk.live(replace(plan, resume=True, may_begin=True, set_aside=False), is_free)


def test_what_was_asked_for_while_a_desk_started_is_taken_once(tmp_path):
    """Left where it lies, the next start would halt a desk again that a person has set free."""
    found = []

    async def started(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        found.append(desk.engine.desk.gate.mode)
        if len(found) == 1:
            assert (await answer(desk.desk, {"do": "resume", "reason": "seen"}))["mode"] == Mode.ACTIVE

    with LineDesk(tmp_path, HELD) as desk:
        plan = desk.plan("gamma-scalper", *SETTINGS, contracts=20)
        halt = WaitingCommand(OperatorAction.HALT, "news", "me", desk.clock.now_ns())
        AskedWhileStarting(plan.state).ask(os.getpid(), halt)
        desk.live(plan, started)
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True), started)
    assert found == [Mode.HALTED, Mode.ACTIVE]
