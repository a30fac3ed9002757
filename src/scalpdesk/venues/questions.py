"""Questions to a venue: each may stay unanswered by itself, and its name says which one does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from scalpdesk.core.errors import RetryError

BRIEF_SECONDS = 1.0
"""Longest wait for an answer that is welcome and not needed; once, for it is asked beside the looks then."""
T = TypeVar("T")


class UnansweredError(RetryError):
    """A venue does not answer one question, or not credibly.

    ``question``: Its name, as ``positions``.
    ``error``: What came in place of the answer.
    """

    def __init__(self, question: str, error: RetryError) -> None:
        self.question = question
        super().__init__(error.what, where=error.where or question, value=error.value, fix=error.fix)

    @property
    def text(self) -> str:
        """The question and what came in place of its answer, in one line."""
        detail = "" if self.value is None else f" ({self.value})"
        return f"{self.question}: {self.what}{detail}"


def text_of(error: RetryError) -> str:
    """Return an error in one line, with the question where it names one."""
    return error.text if isinstance(error, UnansweredError) else error.what


class Questions:
    """Questions of one gateway that are under way, by name."""

    def __init__(self) -> None:
        self._under_way: list[str] = []
        self._late: dict[str, asyncio.Future[Any]] = {}
        """Questions that nobody waits for, because they were not answered at once."""

    def waiting(self) -> tuple[str, ...]:
        """Return the names of the questions that are under way, the oldest first."""
        return tuple(dict.fromkeys(self._under_way))

    async def ask(self, name: str, answer: Awaitable[T]) -> T:
        """Return an answer; raises UnansweredError where it does not come."""
        with self._noted(name):
            try:
                return await answer
            except UnansweredError:
                raise
            except RetryError as error:
                raise UnansweredError(name, error) from error

    async def ask_briefly(
        self,
        name: str,
        ask: Callable[[], Awaitable[T]],
        missing: list[str],
        seconds: float = BRIEF_SECONDS,
    ) -> T | None:
        """Return an answer that is not needed; None where it does not come at once.

        A question without an answer goes on beside the caller. While it does, nobody waits for it again; once
        it is answered, it is asked and waited for anew.

        ``missing``: Gets the question and why it was not answered.
        """
        late = self._late.get(name)
        if late is not None and not late.done():
            missing.append(f"{name}: no answer yet")
            return None
        answering = asyncio.ensure_future(ask())
        try:
            await asyncio.wait({answering}, timeout=seconds if late is None or _is_answered(late) else 0.0)
        except asyncio.CancelledError:
            answering.cancel()
            raise
        if not answering.done():
            self._late[name] = answering
            missing.append(f"{name}: no answer within {seconds:g} s")
            return None
        self._late.pop(name, None)
        try:
            return answering.result()
        except RetryError as error:
            missing.append(UnansweredError(name, error).text)
        return None

    async def any_late(self, seconds: float) -> bool:
        """Wait until one of the questions that were not answered at once is; False when none is in time."""
        ends = asyncio.get_running_loop().time() + seconds
        while self._late and not any(late.done() and _is_answered(late) for late in self._late.values()):
            under_way = [late for late in self._late.values() if not late.done()]
            left = ends - asyncio.get_running_loop().time()
            if not under_way or left <= 0.0:
                return False
            await asyncio.wait(under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return bool(self._late)

    def close(self) -> None:
        """Give up the questions that go on without anybody who waits for them."""
        for late in self._late.values():
            late.cancel()
        self._late.clear()

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        self._under_way.append(name)
        try:
            yield
        finally:
            self._under_way.remove(name)


def _is_answered(late: "asyncio.Future[Any]") -> bool:
    """Return whether a question that came late has an answer; raises what is no failure of the venue's."""
    if late.cancelled():
        return False
    problem = late.exception()
    if problem is not None and not isinstance(problem, RetryError):
        raise problem
    return problem is None
