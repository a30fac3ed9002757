"""A venue that leaves one question open: the desk says so, reduces, and leaves by the positions alone."""

import json

import pytest

from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.live.leaving import LEAVE_SECONDS
from scalpdesk.live.without_desk import close_everything, command_account, last_runs, leave_if_asked
from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.served.requests import Answer
from scalpdesk_testing.line_desk import CHAIN, LineDesk

HELD = {CHAIN[2]: 2, CHAIN[7]: 2, "SPY": 400}
SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume")
QUESTIONS = {
    "account": "/v2/account",
    "history": "/v2/account/activities",
    "open orders": "/v2/orders",
    "clock": "/v2/clock",
    "order by id": "/v2/orders:by_client_order_id",
}
FAILURES = {
    "refused": lambda answer: Answer(500, b'{"message":"internal server error"}'),
    "silent": lambda answer: Answer(200, answer.body, fault=Fault("drop_request")),
    "late": lambda answer: Answer(answer.status, answer.body, answer.headers, Fault("delay", seconds=20.0)),
}


def fail(desk, question, how):
    """Let one question of the account fail from now on; return what lets it be answered again."""
    handle, path = desk.api.handle, QUESTIONS[question]

    def failing(request):
        answer = handle(request)
        is_asked = request.method == "GET" and request.path == path
        return FAILURES[how](answer) if is_asked else answer

    desk.api.handle = failing
    return lambda: setattr(desk.api, "handle", handle)


@pytest.mark.rows(
    ("question", "how"),
    [("account", "refused"), ("history", "silent"), ("open orders", "late"), ("clock", "refused")],
)
def test_after_a_cut_an_unanswered_question_is_an_alarm_within_ten_seconds_and_the_desk_reduces(
    tmp_path, question, how
):
    """It was ACTIVE, sent nothing for hours, and said nothing."""

    async def cut(desk):
        await desk.following()
        await desk.wait(5.0)
        heal = fail(desk, question, how)
        before = len(desk.said)
        desk.line.cut()
        await desk.until(lambda: not desk.engine.desk.gate.is_compared, 10.0)
        await desk.wait(10.0)
        gate = desk.engine.desk.gate
        assert (gate.mode, gate.kept_mode) == (Mode.REDUCING, Mode.REDUCING)
        told = [text for level, text in desk.said[before:] if level == "alarm"]
        assert any(question in text and "flatten" in text for text in told), desk.said[before:]
        heal()
        await desk.until(lambda: gate.mode is Mode.ACTIVE, 60.0)
        assert any("has come" in text for _, text in desk.said[before:])
        return dict(desk.held())

    with LineDesk(tmp_path, HELD) as desk:
        assert desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), cut) == desk.truth()


@pytest.mark.rows(
    ("question", "how", "at_once"),
    [
        ("account", "refused", False),
        ("account", "silent", True),
        ("history", "late", False),
        ("history", "refused", True),
        ("open orders", "silent", False),
        ("clock", "refused", True),
    ],
)
def test_a_flatten_waits_five_seconds_for_the_comparison_and_sells_what_the_positions_show(
    tmp_path, question, how, at_once
):
    async def leaves(desk):
        await desk.following()
        await desk.wait(5.0)
        fail(desk, question, how)
        desk.line.cut()
        await desk.until(lambda: not desk.engine.desk.gate.is_compared, 10.0)
        await desk.wait(12.0)
        began = desk.loop.time()
        await desk.desk.runner.operate("flatten", "news", "ann", at_once=at_once)
        await desk.until(lambda: not desk.truth(), 60.0)
        took = desk.loop.time() - began
        await desk.wait(30.0)
        assert desk.truth() == {}
        assert desk.engine.desk.gate.mode is Mode.FLATTENING
        return took

    with LineDesk(tmp_path, HELD) as desk:
        took = desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), leaves)
    # an option, then the hedge two seconds later; the open orders are waited for two seconds a look
    assert took <= (0.0 if at_once else LEAVE_SECONDS) + 15.0
    assert took >= (0.0 if at_once else LEAVE_SECONDS)


def closes_without_a_desk(desk, said):
    async def closes():
        (run,) = last_runs(desk.folder / "runs")
        return await close_everything(
            run,
            desk.plan("gamma-scalper", *SETTINGS).settings,
            desk.folder / "state",
            said.append,
            gateway_of=lambda _plan, instruments, _clock: desk.gateway(instruments),
        )

    return desk.loop.run_until_complete(closes())


@pytest.mark.rows(
    ("question", "how"),
    [
        ("account", "refused"),
        ("account", "silent"),
        ("history", "late"),
        ("open orders", "refused"),
        ("clock", "silent"),
        ("order by id", "refused"),
    ],
)
def test_the_last_resort_needs_neither_the_account_nor_its_history(tmp_path, question, how):
    async def trades(desk):
        await desk.following()
        await desk.wait(5.0)

    with LineDesk(tmp_path, HELD) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), trades)
        assert desk.truth()
        fail(desk, question, how)
        said, began = [], desk.loop.time()
        assert closes_without_a_desk(desk, said), said
        assert desk.truth() == {}
        assert desk.loop.time() - began < 60.0


@pytest.mark.rows("resume", [False, True])
def test_a_desk_that_cannot_start_leaves_all_the_same(tmp_path, resume):
    async def trades(desk):
        await desk.following()
        await desk.wait(5.0)

    async def starts(desk):
        await desk.wait(9.0)
        assert any(level == "alarm" and "account" in text for level, text in desk.said)
        began = desk.loop.time()
        await desk.desk.runner.operate("flatten", "news", "ann")
        await desk.until(lambda: not desk.truth(), 60.0)
        assert LEAVE_SECONDS <= desk.loop.time() - began < LEAVE_SECONDS + 15.0
        await desk.until(lambda: desk.desk.runner.state.reason, 60.0)

    with LineDesk(tmp_path, HELD) as desk:
        plan = desk.plan("gamma-scalper", *SETTINGS, contracts=20)
        if resume:
            desk.live(plan, trades)
        desk.said.clear()
        answered = desk.api.handle

        async def fails_once_connected(desk):
            fail(desk, "history" if resume else "open orders", "refused")
            await starts(desk)

        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20, resume=resume), fails_once_connected)
        desk.api.handle = answered


@pytest.mark.rows("is_pending", [True, False])
def test_a_start_that_does_not_come_up_leaves_where_a_flatten_is_pending(tmp_path, is_pending):
    async def trades(desk):
        await desk.following()
        await desk.wait(5.0)

    with LineDesk(tmp_path, HELD) as desk:
        plan = desk.plan("gamma-scalper", *SETTINGS, contracts=20)
        desk.live(plan, trades)
        held, said = desk.truth(), []
        (run,) = last_runs(desk.folder / "runs")
        if is_pending:
            command_account(run, desk.folder / "state", OperatorAction.FLATTEN, "news", "ann")
        fail(desk, "account", "refused")

        async def leaves():
            return await leave_if_asked(
                plan,
                lambda *words: said.append(words),
                gateway_of=lambda _plan, instruments, _clock: desk.gateway(instruments),
            )

        assert desk.loop.run_until_complete(leaves()) is is_pending
        assert desk.truth() == ({} if is_pending else held), said
        assert bool(said) is is_pending


def test_a_position_that_cannot_be_read_is_named_and_the_others_are_sold(tmp_path):
    async def trades(desk):
        await desk.following()
        await desk.wait(5.0)

    with LineDesk(tmp_path, HELD) as desk:
        desk.live(desk.plan("gamma-scalper", *SETTINGS, contracts=20), trades)
        handle, bad = desk.api.handle, CHAIN[2]

        def spoilt(request):
            answer = handle(request)
            if request.path != "/v2/positions":
                return answer
            rows = [row | ({"qty": "?"} if row["symbol"] == bad else {}) for row in json.loads(answer.body)]
            return Answer(answer.status, json.dumps(rows).encode(), answer.headers)

        desk.api.handle = spoilt
        said = []
        assert not closes_without_a_desk(desk, said)
        assert list(desk.truth()) == [bad], said
        assert any(bad in text and "cannot be read" in text for text in said)
