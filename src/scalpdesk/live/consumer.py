"""The one queue of a live desk and its one consumer: items are handled one at a time, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.intents import VenueCommand
from scalpdesk.live.parts import Ended, Item
from scalpdesk.venues.base import Notice

ITEMS_A_TURN = 64
"""Items handled before other tasks of the process get a turn."""


class Consumer:
    """Takes items out of the queue and lets what follows from each leave before the next.

    Parameters
    ----------
    take
        Handles one item; returns commands that are on disk.
    hand_over
        Hands commands to the gateway.
    when_idle
        Called when nothing waits; returns the commands of what has become due meanwhile.
    most_waiting
        Length of the queue from which on the gateway is not read.
    """

    def __init__(
        self,
        take: Callable[[Item], list[VenueCommand]],
        hand_over: Callable[[list[VenueCommand]], None],
        when_idle: Callable[[], list[VenueCommand]],
        most_waiting: int,
    ) -> None:
        self._take = take
        self._hand_over = hand_over
        self._when_idle = when_idle
        self._most_waiting = most_waiting
        self._items: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_idle = False
        """Whether the consumer waits for something to do."""
        self._at_once = 0
        """Quotes handled where they were read since the consumer's last turn."""
        self._failure: Exception | None = None

    def put(self, item: Item) -> None:
        """Add an item to the queue."""
        self._items.append(item)
        self._wake.set()

    def wake(self) -> None:
        """Let the consumer look for what has become due."""
        self._wake.set()

    def take_at_once(self, quote: QuoteEvent) -> bool:
        """Handle a quote where it was read when there is nothing else to do; say whether.

        Three turns of the event loop lie between the socket and the consumer; an order does not wait
        for them. All else goes through the queue, and a quote never overtakes what is in it.
        """
        if not self._is_idle or self._items:
            return False
        self._is_idle = False  # what follows may put something in the queue: it is not taken in here
        try:
            commands = self._take(quote)
            if commands:
                self._hand_over(commands)
        except Exception as error:  # noqa: BLE001 - whoever read the quote must go on reading; the consumer raises it
            self._failure = error
            self._wake.set()
            return True
        self._at_once += 1
        self._is_idle = self._at_once < ITEMS_A_TURN
        if commands or not self._is_idle:
            self._wake.set()
        return True

    async def consume(self, until: Callable[[], bool]) -> None:
        """Handle items until a condition holds.

        Raises
        ------
        Exception
            Whatever handling an item raised.
        """
        items = self._items
        handled = 0
        while not until():
            if not items:
                self._room.set()
                await self.send(self._when_idle())
                if items or until():
                    continue
                await self._wait()
                handled = 0
                continue
            commands = self._take(items.popleft())
            if commands:
                await self.send(commands)
                handled = 0
            handled += 1
            if handled >= ITEMS_A_TURN:
                handled = 0
                if len(items) < self._most_waiting:
                    self._room.set()
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        self._wake.clear()
        self._is_idle = True
        await self._wake.wait()
        self._is_idle = False
        self._at_once = 0
        if self._failure is not None:
            raise self._failure

    async def send(self, commands: list[VenueCommand]) -> None:
        """Hand journaled commands to the gateway and let it write them."""
        if commands:
            self._hand_over(commands)
            await asyncio.sleep(0)

    async def follow(self, events: AsyncIterator[Event | Notice]) -> None:
        """Move what the gateway says into the queue; wait while the consumer is behind."""
        try:
            async for item in events:
                self.put(item)
                if len(self._items) >= self._most_waiting:
                    self._room.clear()
                    await self._room.wait()
        finally:  # a desk without events is over, however that came about
            self.put(Ended("the venue's events ended"))
