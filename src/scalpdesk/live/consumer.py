"""The live desk's one queue and its one consumer.

Whatever happens is put in the queue: venue events, operator commands, views of the account. The consumer
handles one item at a time and hands over what follows from it before the next.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.live.account_mode import WaitingCommand
from scalpdesk.live.doubt import Testimony
from scalpdesk.live.leaving import HoldingsSeen
from scalpdesk.live.reconciler import Viewed
from scalpdesk.live.sessions import RunEnd, StopMode
from scalpdesk.venues.contract import Notice

ITEMS_A_TURN = 64
"""Items handled before other tasks of the process get a turn."""
_WRITE_TURNS = 2
"""Turns of the event loop in which a gateway writes an order: aiohttp's client begins a request in a task,
and under Python 3.11 writes its body in another."""


class OperationResult(TypedDict):
    """Outcome of an operator command: the mode before and after it, and how many cancels left."""

    was: str
    mode: str
    cancels: int
    note: NotRequired[str]
    """Why it is not carried out yet, or not kept."""


@dataclass(slots=True)
class Operation:
    """An operator command; ``answer`` is done once it is handled.

    ``stop`` is set for the end of the run; otherwise ``action`` is ``halt``, ``reduce``, ``resume`` or
    ``flatten``.
    """

    action: str
    reason: str
    who: str
    stop: StopMode | None = None
    answer: "asyncio.Future[OperationResult] | None" = None
    waits_as: WaitingCommand | None = None
    """Its entry in the account's record until it is carried out."""
    at_once: bool = False
    """Whether a flatten waits for no comparison with the account."""


@dataclass(slots=True)
class Ended:
    """The run is to end."""

    why: str
    end: RunEnd = RunEnd.STOPPED


@dataclass(slots=True)
class Doubted:
    """Orders have become doubtful beyond their bound: they are looked at in their turn."""


@dataclass(slots=True)
class Overdue:
    """The comparison with the venue's account may have become overdue: it is looked at in its turn."""


@dataclass(slots=True)
class LateQuotes:
    """Quotes that are believed, after they had to wait for others."""

    quotes: tuple[QuoteEvent, ...]


_OwnItem = Operation | Testimony | Viewed | HoldingsSeen | Doubted | Overdue | LateQuotes | Ended
Item = Event | Notice | _OwnItem
"""Items of the queue."""


class ItemQueue:
    """Items that wait to be handled; the gateway's reader waits while the queue is full.

    ``most_waiting``: Length from which on the gateway is not read.
    """

    def __init__(self, most_waiting: int) -> None:
        self.items: deque[Item] = deque()
        self._most_waiting = most_waiting
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._failure: BaseException | None = None

    def put(self, item: Item) -> None:
        """Add an item."""
        self.items.append(item)
        self._wake.set()

    def wake(self) -> None:
        """Wake the consumer to handle what has become due."""
        self._wake.set()

    def fail(self, error: BaseException) -> None:
        """Pass an error of supervised work to the consumer, which raises the first one."""
        self._failure = self._failure or error
        self._wake.set()

    def raise_failure(self) -> None:
        """Raise the first error passed to :meth:`fail`, if there is one."""
        if self._failure is not None:
            raise self._failure

    def make_room(self) -> None:
        """Let the gateway be read again unless too much waits still."""
        if len(self.items) < self._most_waiting:
            self._room.set()

    async def wait(self) -> None:
        """Wait until something is put in, fails or has become due."""
        self._wake.clear()
        await self._wake.wait()

    async def events(self) -> AsyncIterator[Event | Notice]:
        """Yield what the gateway put in, in place of the consumer; operator commands are left out."""
        while True:
            while self.items:
                item = self.items.popleft()
                self.make_room()
                if not isinstance(item, _OwnItem):
                    yield item
            await self.wait()

    async def follow(self, events: AsyncIterator[Event | Notice]) -> None:
        """Put the gateway's events in; wait while the consumer is behind."""
        async for item in events:
            self.put(item)
            if len(self.items) >= self._most_waiting:
                self._room.clear()
                await self._room.wait()
        self.put(Ended("the venue's events ended"))


@dataclass(slots=True)
class Consumer:
    """Takes items out of the queue and hands over the commands of each before it handles the next.

    ``when_idle``: Called when nothing waits; returns the commands of what has become due meanwhile.
    """

    queue: ItemQueue
    take: Callable[[Item], list[VenueCommand]]
    hand_over: Callable[[list[VenueCommand]], None]
    when_idle: Callable[[], list[VenueCommand]]
    _is_idle: bool = False
    """Whether the consumer waits for something to do."""
    _at_once: int = 0
    """Quotes handled where they were read since the consumer's last turn."""
    _is_written: bool = True
    """Whether the gateway has had its turns since the latest commands were handed over."""

    def take_at_once(self, quote: QuoteEvent) -> bool:
        """Handle a quote where it was read when there is nothing else to do; return whether it was.

        Three turns of the event loop lie between the socket and the consumer; an order does not wait
        for them. All else goes through the queue, and a quote never overtakes what is in it. Quotes behind
        one that caused an order, in the same bytes, wait until the order is written.
        """
        if not self._is_idle or self.queue.items:
            return False
        self._is_idle = False  # what follows may put something in the queue: it is not taken in here
        try:
            commands = self.take(quote)
            if commands:
                self.hand_over(commands)
                self._is_written = False
        except BaseException as error:  # noqa: BLE001 - the reader of the quote reads on; the consumer raises it
            self.queue.fail(error)
            return True
        self._at_once += 1
        self._is_idle = self._is_written and self._at_once < ITEMS_A_TURN
        if not self._is_idle:
            self.queue.wake()
        return True

    async def consume(self, until: Callable[[], bool]) -> None:
        """Handle items until a condition holds.

        Raises whatever handling an item raised, or :meth:`ItemQueue.fail` was given.
        """
        queue, items = self.queue, self.queue.items
        handled = 0
        while not until():
            queue.raise_failure()
            if not items:
                queue.make_room()
                await self.send(self.when_idle())
                if items or until():
                    continue
                await self._wait()
                handled = 0
                continue
            commands = self.take(items.popleft())
            if commands:
                await self.send(commands)
                handled = 0
            handled += 1
            if handled >= ITEMS_A_TURN:
                handled = 0
                queue.make_room()
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        self._is_idle = True
        await self.queue.wait()
        self._is_idle = False
        self._at_once = 0
        if not self._is_written:
            await self._let_write()

    async def send(self, commands: list[VenueCommand]) -> None:
        """Hand journaled commands to the gateway and let it write them."""
        if commands:
            self.hand_over(commands)
            await self._let_write()

    async def _let_write(self) -> None:
        for _ in range(_WRITE_TURNS):
            await asyncio.sleep(0)
        self._is_written = True
