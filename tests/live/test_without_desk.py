"""An account whose desk is gone: its mode is set, what it holds is named, and it is closed at the venue."""

from dataclasses import replace

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.core.errors import StopError
from scalpdesk.live.account_mode import ModeRecord
from scalpdesk.live.sessions import StopMode
from scalpdesk.live.without_desk import close_everything, command_account, last_runs
from scalpdesk_testing.line_desk import CHAIN, LineDesk

HELD = {CHAIN[2]: 2, CHAIN[7]: 2, "SPY": 400}
SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume")


@pytest.fixture
def gone(tmp_path):
    """A desk that was killed with its position."""

    async def trades(desk):
        await desk.following()

    with LineDesk(tmp_path, HELD) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), trades)
        yield desk


def the_run(desk):
    (run,) = last_runs(desk.folder / "runs")
    return run


def test_the_last_run_of_the_account_is_found_with_what_it_holds(gone, monkeypatch, capsys):
    run = the_run(gone)
    assert (bool(run.account_id), run.is_over) == (True, False)
    monkeypatch.setenv("XDG_STATE_HOME", str(gone.folder))
    assert main(["status", "--runs-dir", str(gone.folder / "runs")]) == 1
    shown = capsys.readouterr().out
    assert all(symbol in shown for symbol in HELD)
    assert "scalpdesk flatten --now" in shown


@pytest.mark.rows("action", [OperatorAction.HALT, OperatorAction.FLATTEN, OperatorAction.REDUCE])
def test_a_command_without_a_desk_counts_from_the_next_start(gone, action):
    command_account(the_run(gone), gone.folder / "state", action, "news", "ann")

    async def starts(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        assert desk.engine.desk.gate.mode is action.mode
        if action is OperatorAction.FLATTEN:
            await desk.until(lambda: not desk.truth())
        command = (the_run(desk), desk.folder / "state", OperatorAction.RESUME, "seen", "ann")
        with pytest.raises(StopError, match="another desk trades this account"):
            command_account(*command)

    plan = gone.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True)
    gone.live(plan, starts)


def test_an_account_is_closed_without_a_desk_and_the_next_run_keeps_it_flat(gone):
    said = []

    async def closes():
        run, settings = the_run(gone), gone.plan("gamma-scalper", *SETTINGS).settings
        return await close_everything(
            run,
            settings,
            gone.folder / "state",
            said.append,
            gateway_of=lambda _plan, instruments, _clock: gone.gateway(instruments),
        )

    command_account(the_run(gone), gone.folder / "state", OperatorAction.FLATTEN, "news", "ann")
    assert gone.loop.run_until_complete(closes())
    assert gone.truth() == {}

    async def starts(desk):
        await desk.until(lambda: desk.desk.runner.reconciler.is_settled)
        await desk.wait(60.0)
        assert (desk.truth(), desk.engine.desk.gate.mode) == ({}, Mode.FLATTENING)
        desk.desk.runner.stop(StopMode.HOLD)
        await desk.until(lambda: desk.desk.runner.state.reason)

    gone.live(gone.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True), starts)


@pytest.mark.rows("content", [b"", b"{", b'{"run_id":"r","state":[["NOSUCH"]]}', b"\xff" * 100])
def test_a_damaged_record_halts_the_account(gone, content):
    """Whatever the file held, the desk does not guess that it may trade."""
    the_run(gone).record(gone.folder / "state").path.write_bytes(content)

    async def starts(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        assert desk.engine.desk.gate.mode is Mode.HALTED

    plan = gone.plan("gamma-scalper", *SETTINGS, contracts=20, new_run=True)
    gone.live(replace(plan, resume=False), starts)


def test_a_command_is_carried_out_and_said_where_the_disk_refuses_it(gone):
    record = the_run(gone).record(gone.folder / "state")

    async def halts(desk):
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        record.path.unlink(missing_ok=True)
        record.path.mkdir()  # no file takes its place
        result = await desk.desk.runner.operate("halt", "news", "ann")
        assert (result["mode"], "note" in result) == (Mode.HALTED, True)
        with pytest.raises(StopError):
            await desk.desk.runner.operate("resume", "seen", "ann")
        record.path.rmdir()
        await desk.until(lambda: not desk.desk.runner.core.modes.problem)
        assert ModeRecord(record.path).read().state.mode is Mode.HALTED

    gone.live(gone.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True), halts)
