"""Questions that nobody needs: one without an answer is waited for once."""

import asyncio

import pytest

from scalpdesk.core.errors import RetryError
from scalpdesk.venues.questions import BRIEF_SECONDS, Questions, UnansweredError
from scalpdesk_testing.virtual_time import VirtualLoop


class Venue:
    """Answers after a while; counts how often it was asked."""

    def __init__(self):
        self.seconds, self.problem, self.asked = 0.1, None, 0

    async def answer(self):
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.problem is not None:
            raise self.problem
        return self.asked


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def run(loop, work):
    try:
        return loop.run_until_complete(work())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))


@pytest.mark.parametrize("looks", [2, 30])
def test_a_question_without_an_answer_holds_up_one_look_and_no_other(loop, looks):
    venue, questions = Venue(), Questions()
    venue.seconds = 3_600.0

    async def look():
        began, missing = loop.time(), []
        for _ in range(looks):
            assert await questions.ask_briefly("clock", venue.answer, missing) is None
        assert [text.partition(":")[0] for text in missing] == ["clock"] * looks
        questions.close()
        return loop.time() - began

    assert run(loop, look) == pytest.approx(BRIEF_SECONDS)
    assert venue.asked == 1


def test_a_question_that_is_answered_late_is_asked_anew(loop):
    venue, questions = Venue(), Questions()
    venue.seconds = 20.0

    async def look():
        missing = []
        await questions.ask_briefly("clock", venue.answer, missing)
        await asyncio.sleep(20.0)
        venue.seconds = 0.5
        assert await questions.ask_briefly("clock", venue.answer, missing) == 2
        assert len(missing) == 1

    run(loop, look)


def test_one_that_fails_late_is_not_waited_for_again_until_it_is_answered(loop):
    venue, questions = Venue(), Questions()
    venue.seconds, venue.problem = 5.0, RetryError("no answer")

    async def look():
        missing, began = [], loop.time()
        await questions.ask_briefly("clock", venue.answer, missing)
        await asyncio.sleep(5.0)
        venue.seconds, venue.problem = 0.5, None
        before = loop.time()
        assert await questions.ask_briefly("clock", venue.answer, missing) is None
        assert loop.time() == pytest.approx(before, abs=1e-3)
        await asyncio.sleep(0.6)
        assert await questions.ask_briefly("clock", venue.answer, missing) == 3
        return loop.time() - began

    assert run(loop, look) == pytest.approx(BRIEF_SECONDS + 5.0 + 0.6 + 0.5, abs=1e-3)


def test_a_refusal_is_named_at_once(loop):
    venue, questions = Venue(), Questions()
    venue.problem = RetryError("the venue does not answer", value="HTTP 500")

    async def look():
        missing, began = [], loop.time()
        assert await questions.ask_briefly("account", venue.answer, missing) is None
        assert missing == [UnansweredError("account", venue.problem).text]
        return loop.time() - began

    assert run(loop, look) == pytest.approx(0.1)


def test_a_fault_of_our_own_is_no_missing_answer(loop):
    venue, questions = Venue(), Questions()
    venue.seconds, venue.problem = 5.0, TypeError("ours")

    async def look():
        await questions.ask_briefly("clock", venue.answer, [])
        await asyncio.sleep(5.0)
        with pytest.raises(TypeError):
            await questions.ask_briefly("clock", venue.answer, [])

    run(loop, look)


@pytest.mark.parametrize(("seconds", "is_reached"), [(4.0, True), (12.0, False)])
def test_a_slow_venue_is_reached_all_the_same(loop, seconds, is_reached):
    venue, questions = Venue(), Questions()
    venue.seconds = seconds

    async def look():
        await questions.ask_briefly("account", venue.answer, [])
        assert await questions.any_late(10.0) is is_reached

    run(loop, look)
