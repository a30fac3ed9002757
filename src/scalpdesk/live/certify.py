"""The questions to a venue, asked at the vendor with a paper account, step by step, with the bytes."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.intents import CancelOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.live.supervision import describe
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues.conformance import VENUE_QUESTIONS, Need, VenueQuestion
from scalpdesk.venues.contract import EmergencyGateway
from scalpdesk.venues.listener import AskingTerms, Listener, NotAskedError, opened

_PATIENCE_SECONDS = 15.0
"""Longest wait for an answer that the venue owes."""
_FAR = Decimal("0.5")
"""A far limit is at most this part of the bid."""


class StepVerdict(StrEnum):
    """Outcome of a step."""

    OK = "ok"
    DIFFERS = "differs"
    """The venue did otherwise than the desk expects."""
    NOT_ASKED = "not asked"
    """It could not be asked now, a closed session for example."""


class StepResult(msgspec.Struct, frozen=True):
    """One step of a certification."""

    name: str
    expected: str
    seen: str
    verdict: StepVerdict
    wire: str = ""
    """Bytes that passed meanwhile, with keys and tokens taken out."""


STEPS = tuple(question for question in VENUE_QUESTIONS if question.is_for_vendors)
"""The questions that a paper account can answer, in order."""


@dataclass(slots=True)
class PaperAccount:
    """A vendor's paper account as it is asked: it finds what it can order, and orders nothing that may trade.

    ``build``: Makes a gateway to the account; nothing is connected yet.
    ``symbol``: The underlying whose options are asked for.
    ``days``: Longest time to expiry of the options asked for.
    ``prefix``: Begins the ids of the orders.
    ``follows_venue``: The venue has a time of its own.
    """

    build: Callable[[Instruments], EmergencyGateway]
    book: Instruments
    clock: Clock
    symbol: str
    currency: str
    days: int
    prefix: str
    follows_venue: bool = False
    patience_seconds: float = _PATIENCE_SECONDS
    call: InstrumentId | None = None
    put: InstrumentId | None = None
    """``call``, ``put``: Two options of one strike near the market, the dearer first; None before they are
    known, or where none are listed.
    """
    _share: InstrumentId | None = None
    _is_found: bool = False
    _options: dict[InstrumentId, OptionContract] = field(default_factory=dict)
    _bids: dict[InstrumentId, float] | None = None
    """Of what is quoted; None before it was asked for."""

    async def open(self) -> Listener:
        """Connect."""
        clock = None if self.follows_venue else self.clock
        terms = AskingTerms(
            may_fill=False, currency=self.currency, clock=clock, patience_seconds=self.patience_seconds
        )
        return await opened(self, orders=OrderManager(self.prefix), terms=terms)

    def gateway(self) -> EmergencyGateway:
        """Return a new gateway to the account, not connected."""
        return self.build(self.book)

    def truth(self) -> None:
        """Return nothing: a vendor shows no more than its gateway says."""

    @property
    def share(self) -> InstrumentId:
        """The underlying."""
        if self._share is None:
            raise NotAskedError("the underlying is not known")
        return self._share

    def far_below(self, number: InstrumentId) -> Decimal:
        """Return a price far below the bid, on the tick."""
        instrument, bid = self.book[number], (self._bids or {}).get(number)
        if bid is None:
            raise NotAskedError(f"no {'option' if self._options else 'underlying'} with a bid is quoted now")
        price = instrument.tick_rule.round(Decimal(str(bid)) * _FAR, "down")
        if price <= 0:
            raise NotAskedError(f"the bid of {instrument.symbol} is too low for a far limit")
        return price

    async def meet(self, need: Need, desk: Listener) -> None:
        """Find what a question needs.

        Raises NotAskedError where it is not there now.
        """
        match need:
            case Need.INSTRUMENTS:
                await self._find(desk)
            case Need.SESSION:
                if desk.view is None:
                    raise NotAskedError("the venue's clock is not known")
                if not desk.view.clock.is_open:
                    raise NotAskedError("the session is closed")
            case Need.COMBO:
                if not desk.gateway.takes_combos:
                    raise NotAskedError("the venue takes no combos from the desk")
            case Need.QUOTE | Need.STRADDLE:
                await self._price(desk)
                if need is Need.STRADDLE and not {self.call, self.put} <= (self._bids or {}).keys():
                    raise NotAskedError("no put and call of one strike are quoted now")
            case _:
                raise NotAskedError(f"it needs {need}")

    async def _find(self, desk: Listener) -> None:
        """Find the underlying and the options of the nearest expiry about its middle strike, once."""
        if self._is_found:
            _ = self.share  # not asked where it was not found
            return
        self._is_found = True
        view = desk.view or await desk.gateway.snapshot()
        underlying = await desk.gateway.resolve(self.symbol)
        first = to_new_york(view.clock.now_ns).date()
        found = await desk.gateway.discover(underlying.symbol, first, first + timedelta(days=self.days))
        self._share = self.book.add(underlying)
        listed = [item.contract for item in found if item.is_tradable]
        nearest = [one for one in listed if one.expiry == min(each.expiry for each in listed)]
        strikes = sorted({one.strike for one in nearest})
        middle = strikes[max(len(strikes) // 2 - 3, 0) : len(strikes) // 2 + 4]
        self._options = {self.book.add(one): one for one in nearest if one.strike in middle}
        if self._options:
            by_nearness = sorted(self._options, key=lambda number: self._options[number].strike)
            self._choose(by_nearness[len(by_nearness) // 2])

    def _choose(self, number: InstrumentId) -> None:
        """Take an option, and the other one of its strike."""
        strike = self._options[number].strike
        others = [each for each, one in self._options.items() if one.strike == strike and each != number]
        self.call, self.put = number, next(iter(others), None)

    async def _price(self, desk: Listener) -> None:
        """Ask for the quotes, once, and take the option with the highest bid, or else the underlying."""
        if self._bids is not None:
            return
        quotes = await desk.gateway.quotes([self.share, *self._options])
        self._bids = {each.instrument_id: each.bid for each in quotes if each.bid > 0}
        desk.terms.ordered = max(
            self._options, key=lambda number: (self._bids or {}).get(number, 0.0), default=self.share
        )
        if desk.terms.ordered in self._options:
            self._choose(desk.terms.ordered)


async def certify(
    account: PaperAccount, tap: "WireTap", report: Callable[[StepResult], None]
) -> list[StepResult]:
    """Ask every question that a paper account can answer; one that fails ends no other but the login.

    ``report``: Called with each step as it ends.
    """
    results = []
    desk: Listener | None = None
    try:
        for question in STEPS:
            tap.clear()
            verdict = StepVerdict.OK
            try:
                desk = desk or await account.open()
                seen = await _asked(question, account, desk)
            except NotAskedError as why:
                verdict, seen = StepVerdict.NOT_ASKED, str(why)
            except Exception as error:  # noqa: BLE001 - a step that cannot go on is a finding, the next is asked
                verdict = StepVerdict.DIFFERS
                if isinstance(error, ScalpdeskError):
                    seen = error.render()
                else:
                    seen = str(error) if isinstance(error, AssertionError) else describe(error)
            result = StepResult(question.name, question.asked, seen, verdict, tap.text())
            results.append(result)
            report(result)
            if desk is None:
                break
    finally:
        if desk is not None:
            with suppress(Exception):  # the step that it concerned has said so, and the report must stand
                await desk.end()
    return results


async def _asked(question: VenueQuestion, account: PaperAccount, desk: Listener) -> str:
    """Meet what a question needs, ask it, and leave no order of it open."""
    for need in question.needs:
        await account.meet(need, desk)
    before = set(desk.orders.live)
    try:
        return await question.ask(account, desk)
    finally:
        left = [order for name, order in desk.orders.live.items() if name not in before]
        for order in left:
            desk.gateway.send(CancelOrder(order.client_order_id))
        with suppress(AssertionError):  # `compared` names those that are left
            await desk.over(*left)


_SECRET_FIELDS = re.compile(
    rb'("(?:access_token|refresh_token|client_secret|secret|signature|password)"\s*:\s*")[^"]*'
    rb"|((?:authorization|apca-api-[a-z-]+|cookie|set-cookie)\s*:\s*)[^\r\n]*",
    re.IGNORECASE,
)
MOST_BYTES = 100_000
"""Most bytes that are kept of a step in each direction."""


class WireTap:
    """Bytes that pass a loop's connections, with secrets taken out before anything is kept.

    ``secrets``: Texts that are never shown: key and secret.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [text.encode() for text in secrets if text]
        self._parts: list[tuple[str, bytearray]] = []

    def note(self, direction: str, data: bytes) -> None:
        """Keep bytes; parts of one direction that follow each other are one."""
        if not self._parts or self._parts[-1][0] != direction:
            self._parts.append((direction, bytearray()))
        part = self._parts[-1][1]
        part += data[: max(MOST_BYTES - len(part), 0)]

    def clear(self) -> None:
        """Begin a step."""
        self._parts.clear()

    def text(self) -> str:
        """Return the bytes since the beginning of the step as text, each part with its direction."""
        return "\n".join(f"{direction} {self._shown(bytes(part))}" for direction, part in self._parts)

    def _shown(self, data: bytes) -> str:
        data = _SECRET_FIELDS.sub(lambda found: (found[1] or found[2]) + b"***", unmasked(data))
        for secret in self._secrets:
            data = data.replace(secret, b"***")
        return data.decode("utf-8", "backslashreplace")


def unmasked(data: bytes) -> bytes:
    """Return the payloads of a client's websocket frames; other bytes as they are.

    A mask hides a key from a search, not from a reader of the frame.
    """
    shown, at = bytearray(), 0
    while at + 6 <= len(data) and _is_masked_frame(data[at], data[at + 1]):
        size, start = data[at + 1] & 0x7F, at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
        mask, start = data[start : start + 4], start + 4
        payload = data[start : start + size]
        if data[at] & 0x40:
            shown += f"<{size} bytes, compressed>".encode()
        else:
            shown += bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        shown += b"\n"
        at = start + size
    return bytes(shown) + data[at:]


def _is_masked_frame(first: int, second: int) -> bool:
    """Return whether two bytes begin a client's websocket frame: whole, of a known kind, masked."""
    return bool(first & 0x80 and first & 0x0F in {1, 2, 8, 9, 10} and second & 0x80)


class TappedLoop(asyncio.SelectorEventLoop):
    """An event loop that shows a tap what its connections send and receive, inside TLS."""

    def __init__(self, tap: WireTap) -> None:
        super().__init__()
        self._tap = tap

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """Connect, with a protocol that the tap listens to."""
        tap = self._tap

        def tapped() -> Any:
            protocol = protocol_factory()
            kind = type(protocol)

            class Tapped(kind):  # type: ignore[misc, valid-type]
                __slots__ = ()

                def connection_made(self, transport: Any) -> None:
                    write = transport.write

                    def noted(data: Any) -> None:
                        tap.note(">", bytes(data))
                        write(data)

                    transport.write = noted
                    transport.writelines = lambda parts: noted(b"".join(parts))
                    super().connection_made(transport)

                def data_received(self, data: bytes) -> None:
                    tap.note("<", data)
                    super().data_received(data)

            protocol.__class__ = Tapped
            return protocol

        return await super().create_connection(tapped, *args, **options)
