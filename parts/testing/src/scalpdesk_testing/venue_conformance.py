"""The questions to every venue's gateway, asked over its own wire against a simulated exchange.

A venue's test builds a :class:`Bench` around the exchange and asks what :func:`questions_for` returns::

    @pytest.mark.parametrize("question", questions_for(MyBench), ids=lambda each: each.__name__)
    def test_conformance(question, socket_enabled):
        ask(question, MyBench)

The questions are those of :mod:`scalpdesk.venues.conformance`, which ``scalpdesk certify`` asks a vendor's
paper account as far as that can answer. Nothing here is a stand-in: the gateway is the one that trades, the
exchange keeps its own truth, and what the gateway said must add up to that truth in the end.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol

from scalpdesk.venues import PATIENCE_SECONDS, VENUE_QUESTIONS, ServedVenue, VenueQuestion, connected


class Bench(ServedVenue, Protocol):
    """A venue under test with its exchange.

    Its attributes may be set as late as in :meth:`start`.
    """

    cannot_be_asked: ClassVar[Mapping[str, str]]
    """Questions without a meaning at this venue by their names, each with the reason."""

    async def start(self) -> None:
        """Start the exchange."""
        ...

    async def stop(self) -> None:
        """Stop the exchange, and gateways that a failed question left open."""
        ...


def questions_for(bench: type[Bench]) -> Sequence[VenueQuestion]:
    """Return the questions that a venue can be asked."""
    unknown = set(bench.cannot_be_asked) - {question.__name__ for question in VENUE_QUESTIONS}
    assert not unknown, f"no such questions: {sorted(unknown)}"
    return [question for question in VENUE_QUESTIONS if question.__name__ not in bench.cannot_be_asked]


def ask(question: VenueQuestion, new_bench: Callable[[], Bench]) -> None:
    """Ask one question of a bench of its own."""

    async def scenario() -> None:
        bench = new_bench()
        await bench.start()
        try:
            async with asyncio.timeout(2.0 * PATIENCE_SECONDS):
                if not question.takes_desk:
                    await question.ask(bench)
                else:
                    desk = await connected(bench)
                    await question.ask(bench, desk)
                    await desk.close()
        finally:
            await bench.stop()

    asyncio.run(scenario())
