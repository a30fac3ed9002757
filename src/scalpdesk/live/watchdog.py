"""The watchdog: a process of its own, with its own line to the venue, that outlives the engine.

It reads beats from a pipe. When the pipe ends without a farewell, or no beat comes for a while, it
stops the engine for good if it still stands, cancels every order, closes the positions when it was
told to, and says so.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.intents import CancelOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import InstrumentBook, OptionContract
from scalpdesk.live.pulse import Told
from scalpdesk.venues.base import Gateway, KnownOrder, VenueOrder, VenueView

ROUNDS = 40
Say = Callable[[str], None]
Connect = Callable[[tuple[KnownOrder, ...]], Awaitable[Gateway]]
"""Builds a gateway of the account and connects it with these orders known."""


@dataclass(slots=True)
class Watched:
    """What the watchdog knows of the desk."""

    run_dir: str = ""
    has_begun: bool = False
    has_ended: bool = False
    live: dict[str, SubmitOrder] = field(default_factory=dict)

    def take(self, told: Told) -> None:
        """Take one line in."""
        if told.kind == "begin":
            self.run_dir, self.has_begun = told.run_dir, True
        elif told.kind == "sent" and told.order is not None:
            self.live[told.order.client_order_id] = told.order
        elif told.kind == "over":
            self.live.pop(told.name, None)
        elif told.kind == "end":
            self.has_ended = told.clean


async def watch(reader: asyncio.StreamReader, stall_seconds: float, watched: Watched) -> str | None:
    """Read the pipe until it ends; return why the desk needs help, None when it ended well.

    Beats count from ``begin`` on: connecting may take its time.
    """
    while True:
        try:
            line = await asyncio.wait_for(reader.readline(), stall_seconds if watched.has_begun else None)
        except TimeoutError:
            return f"no beat for {stall_seconds:g} s: the desk hangs"
        if not line:
            return None if watched.has_ended else "the desk died"
        try:
            watched.take(msgspec.json.decode(line, type=Told))
        except msgspec.MsgspecError:
            continue
        if watched.has_ended:
            return None


def fence(desk_pid: int, say: Say) -> None:
    """End a desk that hangs, so that it cannot wake up and send while its orders are taken away."""
    if desk_pid > 1 and os.getppid() == desk_pid:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(desk_pid, signal.SIGKILL)
            say(f"the hanging desk (process {desk_pid}) was ended")


async def clear(
    gateway: Gateway, connect: Connect, watched: Watched, book: InstrumentBook, say: Say, *, flatten: bool
) -> bool:
    """Cancel every open order, close what is held when ``flatten``; return whether the venue shows it.

    Parameters
    ----------
    gateway
        The line that stood all the time.
    connect
        Opens a line that knows the orders to cancel.
    watched
        Orders that the desk told of: one of them may be on its way and not shown yet.
    book
        Instruments of the run; grows by what the account holds.
    say
        The alarm.
    flatten
        Close the positions after the orders: options first, then shares.
    """
    view = await _view(gateway)
    known = tuple(_known(order) for order in view.open_orders if order.instrument_id is not None)
    shown = {one.submitted.client_order_id for one in known}
    known += tuple(KnownOrder(order) for name, order in watched.live.items() if name not in shown)
    hand = await connect(known)
    sink = asyncio.create_task(_swallow(hand))
    try:
        for one in known:
            hand.send(CancelOrder(one.submitted.client_order_id))
        cleared = await _until_gone(gateway, hand, say)
        say(f"{len(known)} orders cancelled" if cleared else "the venue still shows open orders")
        if flatten and cleared:
            return await _flatten(gateway, hand, watched, book, say)
        return cleared
    finally:
        await hand.close()
        sink.cancel()
        await asyncio.gather(sink, return_exceptions=True)


async def _swallow(gateway: Gateway) -> None:
    async for _ in gateway.events():
        pass


async def _view(gateway: Gateway) -> VenueView:
    for _ in range(ROUNDS):
        try:
            return await gateway.snapshot()
        except ScalpdeskError:
            await asyncio.sleep(0.25)
    return await gateway.snapshot()


async def _until_gone(gateway: Gateway, hand: Gateway, say: Say) -> bool:
    """Ask until the venue shows no open order; cancel again what stays."""
    for round_number in range(ROUNDS):
        view = await _view(gateway)
        if not view.open_orders:
            return True
        if round_number % 8 == 7:
            for order in view.open_orders:
                say(f"still open: {order.symbol} {order.client_order_id}")
                hand.send(CancelOrder(order.client_order_id))
        await asyncio.sleep(0.1)
    return False


async def _flatten(gateway: Gateway, hand: Gateway, watched: Watched, book: InstrumentBook, say: Say) -> bool:
    """Close options, then shares, at the market; each order under a name of its own."""
    count = 0
    for _ in range(ROUNDS):
        view = await _view(gateway)
        held = [one for one in view.positions if one.instrument_id is not None and one.quantity]
        if not held:
            say("the account is flat")
            return True
        options = [one for one in held if isinstance(book[one.instrument_id], OptionContract)]  # type: ignore[index]
        if not view.open_orders:
            for one in options or held:
                assert one.instrument_id is not None
                count += 1
                purpose = Purpose.CLOSE if options else Purpose.UNWIND_HEDGE
                side = Side.SELL if one.quantity > 0 else Side.BUY
                name = f"wd{abs(hash_of(watched.run_dir)):x}-{view.ts_recv_ns:x}-{count}"
                order = SubmitOrder(
                    name,
                    one.instrument_id,
                    side,
                    abs(one.quantity),
                    OrderType.MARKET,
                    None,
                    TimeInForce.DAY,
                    purpose,
                )
                say(f"closing {one.quantity:+f} {one.symbol}")
                hand.send(order)
        await asyncio.sleep(0.25)
    return False


def hash_of(text: str) -> int:
    """Return a small number that names a run, the same in every process."""
    return sum((index + 1) * byte for index, byte in enumerate(text.encode())) % 65_521


def _known(order: VenueOrder) -> KnownOrder:
    assert order.instrument_id is not None
    kind = OrderType.MARKET if order.limit_price is None else OrderType.LIMIT
    command = SubmitOrder(
        order.client_order_id,
        order.instrument_id,
        order.side,
        order.quantity,
        kind,
        order.limit_price,
        TimeInForce.DAY,
        Purpose.CLOSE,
    )
    value = order.filled * (order.average_price or Decimal(0))
    return KnownOrder(command, order.filled, value, venue_order_id=order.venue_order_id)


async def pipe_of_stdin() -> asyncio.StreamReader:
    """Return standard input as a stream of lines."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
