"""Requests leave the live loop, answers come back through its queue, and nothing waits for a slow folder."""

import asyncio
import threading
from dataclasses import replace

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import FolderAnswered, SessionEvent, TimerEvent
from scalpdesk.core.intents import AskFolder, SetTimer
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.frames import segment_path
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live import assembly
from scalpdesk.live.assembly import open_desk
from scalpdesk.live.core import FolderChannel
from scalpdesk.live.plan import LivePlan
from scalpdesk.strategies.contract import members_of
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.folders import folder
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.live import BenchGateway
from scalpdesk_testing.kit.tape import quote

TICK = TimerEvent(7, 7, "tick")


class Answerer:
    """Answers when it is let; says what it was asked."""

    def __init__(self, error=None):
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = []
        self.error = error
        self.ended = []

    def answer(self, ask, now_ns):
        self.asked.append(ask.request)
        self.may_answer.wait(120.0)
        if self.error is not None:
            raise self.error
        return FolderAnswered(now_ns, now_ns, ask.request, ("{}",), owner=ask.owner)

    def abort(self):
        self.ended.append("abort")
        self.may_answer.set()

    def close(self):
        self.ended.append("close")


def asks(*numbers):
    return tuple(AskFolder(number, (), "me") for number in numbers)


def test_in_step_the_answer_is_there_at_once():
    answerer, got = Answerer(), []
    line = FolderChannel(answerer, ManualClock(5), in_step=True)
    line.deliver_to(got.append)
    line.see(TICK, (SetTimer("x", 9), *asks(1, 2)))
    assert [(one.request, one.ts_recv_ns) for one in got] == [(1, 7), (2, 7)]
    line.close()
    line.see(TICK, asks(3))
    assert answerer.asked == [1, 2]
    assert answerer.ended == ["close"]


def test_a_slow_folder_holds_nothing_up_and_answers_in_order():
    answerer, clock = Answerer(), ManualClock(5)
    answerer.may_answer.clear()

    async def live():
        got = asyncio.Queue()
        line = FolderChannel(answerer, clock, in_step=False)
        line.deliver_to(got.put_nowait)
        line.see(TICK, asks(1))
        line.see(TICK, asks(2))
        assert got.empty()
        clock.move_to(50)
        answerer.may_answer.set()
        both = [await got.get(), await got.get()]
        line.close()
        return both

    both = asyncio.run(live())
    assert [(one.request, one.ts_recv_ns, one.owner) for one in both] == [(1, 50, "me"), (2, 50, "me")]


def test_a_fault_on_our_side_of_the_line_is_an_answer_too():
    async def live():
        got = asyncio.Queue()
        line = FolderChannel(Answerer(OSError("no more pipes")), ManualClock(5), in_step=False)
        line.deliver_to(got.put_nowait)
        line.see(TICK, asks(4))
        answer = await got.get()
        line.close()
        return answer

    answer = asyncio.run(live())
    assert answer.request == 4
    assert answer.failures == ("request: OSError: no more pipes",)


def test_closing_waits_for_no_answer_and_delivers_none():
    answerer, got = Answerer(), []
    answerer.may_answer.clear()

    async def live():
        line = FolderChannel(answerer, ManualClock(5), in_step=False)
        line.deliver_to(got.append)
        line.see(TICK, asks(1, 2, 3))
        line.close()

    asyncio.run(live())
    assert got == []
    assert answerer.ended == ["abort", "close"]


def test_a_fresh_folder_sees_again_what_the_one_before_it_saw():
    answerer, got = Answerer(), []
    line = FolderChannel(answerer, ManualClock(5), in_step=True)
    line.deliver_to(got.append)
    line.recall(asks(1, 2))
    assert answerer.asked == [1, 2]
    assert got == []
    line.recall(asks(3, 4), awaited=[4])
    assert [one.request for one in got] == [4]
    line.close()


# put together -------------------------------------------------------------------------------------------


class Gateway:
    """A venue that must not be asked anything."""

    closed = False

    async def close(self, *, graceful=True):
        self.closed = True


def plan_of(tmp_path, made, *overrides):
    overrides = [f"folder={made}", f"desk.runs_dir={tmp_path / 'runs'}", *overrides]
    return LivePlan(
        load_settings("external", overrides=overrides, cwd=tmp_path), resume=True, session=DAY, state=tmp_path
    )


def test_a_folder_that_cannot_be_loaded_is_refused_before_the_venue_is_asked(tmp_path):
    (tmp_path / "strategy.py").write_text("x = 1\n", encoding="utf-8")
    plan, gateway = replace(plan_of(tmp_path, tmp_path), resume=False), Gateway()
    with pytest.raises(ConfigError, match="no function on_market_event"):
        asyncio.run(open_desk(plan, ManualClock(1), notify=lambda *_: None, gateway=gateway))
    assert gateway.closed


@pytest.mark.parametrize("is_written", [True, False])
def test_what_a_folder_was_asked_is_found_in_the_journal_of_an_interrupted_run(tmp_path, is_written):
    """Outputs that never reached the journal are written before anything else."""
    plan = plan_of(tmp_path, folder(tmp_path, "return None"))
    data = {"underlying": "SPY", "quote_seconds": 1.0, "dividend_yield": 0.0, "order_prefix": "t"}
    header = assembly.live_header(plan, Instruments([Equity("SPY")]), data, 1_000)
    engine = engine_from_header(header)
    run_dir = plan.runs_dir / header.run_id
    journal = JournalWriter.create(run_dir, header)
    one = session_on(DAY)
    opening = SessionEvent(
        one.open_ns, one.open_ns, DAY.isoformat(), SessionPhase.OPEN, one.open_ns, one.close_ns
    )
    last = quote(0, one.open_ns + 2, 500.99, 501.01)
    for event in (opening, quote(0, one.open_ns + 1, 499.99, 500.01), last):
        journal.add_event(event)
        outputs = engine.handle(event)
        if outputs and (is_written or event is not last):
            journal.add_outputs(outputs)
    journal.flush()
    journal.abandon()
    with segment_path(run_dir, 1).open("ab") as segment:
        segment.write(b"half a record")
    said = []
    found = assembly.resume_run(plan, ManualClock(one.close_ns), lambda *words: said.append(words))
    found.journal.abandon()
    assert [ask.request for ask in found.asked] == [1]
    assert [member.open_request for member in members_of(found.engine.strategy)] == [1]
    assert '"price":500.0' in found.asked[0].events[0]
    assert found.events == 3
    ((level, text),) = said
    assert (level, "bytes" in text) == ("info", True)  # what was dropped of the last record
    written = [output for _, outputs in JournalReader(run_dir).steps() for output in outputs]
    assert [output.request for output in written if isinstance(output, AskFolder)] == [1]
    assert found.timers.due_ns == min(timer.due_ns for timer in written if isinstance(timer, SetTimer))


@pytest.mark.parametrize("is_same_code", [True, False])
def test_a_fresh_folder_is_shown_what_the_last_life_saw_and_other_code_is_reported(tmp_path, is_same_code):
    seen = tmp_path / "kept" / "seen"
    seen.parent.mkdir()
    made = folder(tmp_path, f"open({str(seen)!r}, 'a').write(event['event_id'] + ' ')")
    plan = replace(plan_of(tmp_path, made, f"writable_paths={seen.parent}"), resume=False)
    plan = replace(plan, is_later_day=True)  # no options are listed
    said = []

    def opened(plan):
        gateway = BenchGateway(Instruments([Equity("SPY")]), plan.clock)
        opening = open_desk(plan, plan.clock, notify=lambda *words: said.append(words), gateway=gateway)
        return asyncio.run(opening)

    desk, one = opened(plan), session_on(DAY)
    for event in (
        SessionEvent(one.open_ns, one.open_ns, DAY.isoformat(), SessionPhase.OPEN, one.open_ns, one.close_ns),
        quote(0, one.open_ns + 1, 499.99, 500.01),
    ):
        desk.runner.core.feed(event)
    first = seen.read_text()
    assert first
    desk.folder.close()
    desk.journal.abandon()
    if not is_same_code:
        source = made / "strategy.py"
        source.write_text(f"{source.read_text()}# changed\n")
    said.clear()
    again = opened(replace(plan, resume=True))
    assert seen.read_text() == 2 * first
    assert [level for level, _ in said if level == "warning"] == ["warning"] * (not is_same_code)
    again.folder.close()
    again.journal.abandon()
