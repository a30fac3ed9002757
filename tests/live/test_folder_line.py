"""Requests leave the live loop, answers come back through its queue, and nothing waits for a slow folder."""

import asyncio
import threading

from scalpdesk.core.clock import ManualClock
from scalpdesk.core.events import FolderAnswered, TimerEvent
from scalpdesk.core.intents import AskFolder, SetTimer
from scalpdesk.live.folder_line import FolderLine

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
        self.may_answer.wait(10.0)
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
    line = FolderLine(answerer, ManualClock(5), in_step=True)
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
        line = FolderLine(answerer, clock, in_step=False)
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
        line = FolderLine(Answerer(OSError("no more pipes")), ManualClock(5), in_step=False)
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
        line = FolderLine(answerer, ManualClock(5), in_step=False)
        line.deliver_to(got.append)
        line.see(TICK, asks(1, 2, 3))
        line.close()

    asyncio.run(live())
    assert got == []
    assert answerer.ended == ["abort", "close"]


def test_a_fresh_folder_sees_again_what_the_one_before_it_saw():
    answerer, got = Answerer(), []
    line = FolderLine(answerer, ManualClock(5), in_step=True)
    line.deliver_to(got.append)
    line.recall(asks(1, 2))
    assert answerer.asked == [1, 2]
    assert got == []
    line.close()
