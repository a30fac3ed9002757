"""Questions to a venue: each may stay unanswered by itself, and its name says which one does."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from scalpdesk.core.errors import RetryError

BRIEF_SECONDS = 2.0
"""Longest wait for an answer that is welcome and not needed."""
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
        self, name: str, answer: Awaitable[T], missing: list[str], seconds: float = BRIEF_SECONDS
    ) -> T | None:
        """Return an answer that is not needed; None where it does not come at once.

        ``missing``: Gets the question and why it was not answered.
        """
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            missing.append(f"{name}: no answer within {seconds:g} s")
        except RetryError as error:
            missing.append(UnansweredError(name, error).text)
        return None

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        self._under_way.append(name)
        try:
            yield
        finally:
            self._under_way.remove(name)
