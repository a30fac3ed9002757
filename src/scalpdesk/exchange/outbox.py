"""Messages on their way to a websocket."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple


class Frame(NamedTuple):
    """Websocket message."""

    data: bytes
    is_text: bool


PING = Frame(b"ping", is_text=False)
"""Placeholder for a ping in the queue of a websocket."""


@dataclass(slots=True, eq=False)
class Outbox:
    """Messages waiting to be written to a websocket."""

    frames: asyncio.Queue[Frame | None] = field(default_factory=asyncio.Queue)
    closing: bool = False
    has_unread: bool = False
    """Whether a message was sent since the last ping; the pong proves that it was read."""
    read: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, frame: Frame) -> None:
        """Queue a message."""
        if not self.closing:
            self.has_unread = True
            self.frames.put_nowait(frame)

    def ask(self) -> None:
        """Queue a ping after the waiting messages; its pong sets ``read``."""
        self.has_unread = False
        self.read.clear()
        if not self.closing:
            self.frames.put_nowait(PING)

    def close(self) -> None:
        """End the connection after the waiting messages."""
        if not self.closing:
            self.closing = True
            self.frames.put_nowait(None)
