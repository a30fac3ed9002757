"""A desk that starts says so, asks the venue again, and keeps what an operator asks of it meanwhile."""

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.live.run import answer
from scalpdesk.live.sessions import RunEnd, StopMode
from scalpdesk_testing.line import OnTheWay, WebSocket
from scalpdesk_testing.line_desk import CHAIN, LineDesk

HELD = {CHAIN[2]: 2, CHAIN[7]: 2, "SPY": 400}
SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume")


class Heard:
    """A watchdog as the desk knows it: what it was sent."""

    is_alive = True

    def __init__(self):
        self.said = []

    def __getattr__(self, name):
        return lambda *how, **more: self.said.append((name, *how, *more.values()))

    def flattens(self):
        return [how for name, *how in self.said if name == "flatten_asked"]


@pytest.fixture
def resumed(tmp_path):
    """Begin a run, let it die, and resume it with a slow line, on which ``before`` loses something."""

    def resume(before, meanwhile):
        async def dies(desk):
            await desk.following()

        async def goes_on(desk):
            desk.desk.runner._watchdog = desk.watchdog = Heard()
            return await meanwhile(desk)

        with LineDesk(tmp_path, HELD) as desk:
            desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), dies)
            desk.line.latency_seconds = 0.6  # 1.2 s there and back
            before(desk)
            return desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20, resume=True), goes_on)

    return resume


@pytest.fixture
def swallows_first_answer(monkeypatch):
    """The first confirmation of each stream of quotes is lost on the way."""
    send, lost = WebSocket.send, set()

    def swallow(self, frame, late=0.0):
        if b"subscription" in frame.data and self not in lost:
            lost.add(self)
            return
        send(self, frame, late)

    return lambda _desk: monkeypatch.setattr(WebSocket, "send", swallow)


async def status_of(desk):
    return await answer(desk.desk, {"do": "status"})


def test_a_start_whose_quotes_do_not_come_is_shown_and_tried_again(resumed, swallows_first_answer):
    """The desk showed ACTIVE and gave up after a quarter of a minute, with its positions left."""

    async def starts(desk):
        runner = desk.desk.runner
        await desk.until(lambda: runner.reconciler.is_settled)
        assert (await status_of(desk))["run"] == "starting"
        await desk.until(lambda: any("quotes" in text for _, text in desk.said))
        assert (await status_of(desk))["run"] == "starting"
        await desk.until(lambda: runner.state.recovered_seconds is not None)
        assert (await status_of(desk))["run"] == "running"
        assert ("started",) in desk.watchdog.said
        runner.stop(StopMode.LEAVE)
        assert (await status_of(desk))["run"] == "stopping"

    resumed(swallows_first_answer, starts)


def test_a_flatten_given_to_a_desk_without_quotes_is_carried_out(resumed, swallows_first_answer):
    async def flattens(desk):
        runner = desk.desk.runner
        await desk.until(lambda: runner.reconciler.is_settled)
        answered = await answer(desk.desk, {"do": "flatten", "reason": "enough"})
        assert (answered["mode"], "note" in answered) == (Mode.FLATTENING, False)
        assert runner.state.recovered_seconds is None
        assert desk.watchdog.flattens() == [[True]]
        await desk.until(lambda: not desk.truth())

    resumed(swallows_first_answer, flattens)


def loses_the_account(desk):
    """Hold every query of the account up for an hour, until ``desk.shows_account`` is set."""
    desk.shows_account = False
    desk.line.on_the_way = lambda _method, path: OnTheWay(
        3_600.0 if path == "/v2/positions" and not desk.shows_account else 0.0
    )


def test_a_resumed_desk_has_compared_nothing_while_the_venue_does_not_show_its_account(resumed):
    async def starts(desk):
        await desk.wait(2.0)  # long before it says that the account is overdue
        assert not desk.engine.desk.gate.is_compared
        desk.shows_account = True
        await desk.until(lambda: desk.engine.desk.gate.is_compared)

    resumed(loses_the_account, starts)


def test_a_command_to_a_desk_that_has_not_met_its_account_is_kept(resumed):
    async def flattens(desk):
        await desk.until(lambda: any("still starting, account" in text for _, text in desk.said))
        assert (await status_of(desk))["run"] == "starting"
        answered = await answer(desk.desk, {"do": "flatten", "reason": "enough"})
        assert (answered["was"], answered["mode"]) == (Mode.REDUCING, Mode.REDUCING)
        assert answered["note"]
        assert desk.watchdog.flattens() == [[True]]
        desk.shows_account = True
        await desk.until(lambda: not desk.truth())
        modes = desk.desk.runner.core.modes  # the next start stays closed, whoever closed this one
        kept = [command.action.mode for command in modes.waiting]
        assert Mode.FLATTENING in (*kept, desk.engine.desk.gate.mode)

    resumed(loses_the_account, flattens)


@pytest.mark.rows("how", list(StopMode))
def test_a_stop_ends_a_start_whose_account_does_not_come(resumed, how):
    async def stops(desk):
        runner = desk.desk.runner
        await desk.until(lambda: any("still starting, account" in text for _, text in desk.said))
        kept = await answer(desk.desk, {"do": "flatten", "reason": "enough"})
        assert kept["note"]
        runner.stop(how)
        await desk.until(lambda: runner.state.reason)
        assert runner.state.end is (RunEnd.NOT_FLAT if how is StopMode.FLATTEN else RunEnd.STOPPED)
        assert desk.truth() == HELD

    resumed(loses_the_account, stops)
