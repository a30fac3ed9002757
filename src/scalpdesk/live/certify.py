"""The contract of a venue, asked at the vendor with a paper account, step by step, with the bytes."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.events import (
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    QuoteEvent,
    is_order_event,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import DAY_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.live.supervision import describe
from scalpdesk.venues.contract import (
    AccountFacts,
    EmergencyGateway,
    KnownOrder,
    ListedContract,
    VenueOrder,
    VenueView,
)

_PATIENCE_SECONDS = 15.0
"""Longest wait for an answer that the venue owes."""
LOOK_SECONDS = 0.05
_CLOCK_SECONDS = 2.0
"""Most by which the machine's clock may differ from the venue's."""
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


class NotAskedError(Exception):
    """A step cannot be asked now."""


@dataclass(slots=True)
class Certification:
    """Connections, instruments and findings of one certification.

    ``build``: Makes a gateway to the venue's paper account; nothing is connected yet.
    ``symbol``: The underlying whose options are asked for.
    ``days``: Longest time to expiry of the options asked for.
    ``prefix``: Begins the ids of the orders.
    """

    build: Callable[[Instruments], EmergencyGateway]
    instruments: Instruments
    clock: Clock
    symbol: str
    currency: str
    days: int
    prefix: str
    follows_venue: bool = False
    patience_seconds: float = _PATIENCE_SECONDS
    gateway: EmergencyGateway = field(init=False)
    """The connection of now."""
    facts: AccountFacts = field(init=False)
    view: VenueView = field(init=False)
    underlying: InstrumentId | None = None
    listed: tuple[ListedContract, ...] = ()
    quoted: dict[InstrumentId, QuoteEvent] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    order: SubmitOrder | None = None
    before: VenueView | None = None
    _sent: int = 0
    _following: "asyncio.Task[None] | None" = None

    # connection -----------------------------------------------------------------------------------

    async def connect(self, known: Sequence[KnownOrder] = ()) -> AccountFacts:
        """Connect with a gateway of its own and follow its events."""
        self.gateway = self.build(self.instruments)
        facts = await self.gateway.connect(known)
        self._following = asyncio.get_running_loop().create_task(self._follow())
        return facts

    async def _follow(self) -> None:
        async for item in self.gateway.events():
            self.events.append(item)

    async def close(self, *, graceful: bool = True) -> None:
        """End the connection."""
        gateway = getattr(self, "gateway", None)  # without keys none was made
        if gateway is not None:
            await gateway.close(graceful=graceful)
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def until(self, condition: Callable[[], Any]) -> bool:
        """Wait for a condition, as long as the venue may take to answer."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.patience_seconds
        while not condition():
            if loop.time() > ends:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def of(self, name: str) -> list[OrderEvent]:
        """Return the events of an order so far."""
        return [item for item in self.events if is_order_event(item) and item.client_order_id == name]

    def is_accepted(self, name: str) -> bool:
        """Return whether the venue accepted an order."""
        return any(type(item) is OrderAccepted for item in self.of(name))

    def is_over(self, name: str) -> bool:
        """Return whether the venue ended an order."""
        ends = (OrderCancelled, OrderRejected, OrderExpired)
        return any(isinstance(item, ends) for item in self.of(name))

    # orders ---------------------------------------------------------------------------------------

    def to_order(self) -> tuple[InstrumentId, QuoteEvent]:
        """Return the quoted option with the highest bid; where no options are listed the underlying."""
        found = [
            (number, quote)
            for number, quote in self.quoted.items()
            if (self.instruments[number].is_option or not self.listed) and quote.bid > 0
        ]
        if not found:
            raise NotAskedError(f"no {'option' if self.listed else 'underlying'} with a bid is quoted now")
        return max(found, key=lambda pair: pair[1].bid)

    def far_limit(self, number: InstrumentId, quote: QuoteEvent) -> Decimal:
        """Return a price far below the bid, on the tick."""
        instrument = self.instruments[number]
        price = instrument.tick_rule.round(Decimal(str(quote.bid)) * _FAR, "down")
        if price <= 0:
            raise NotAskedError(f"the bid of {instrument.symbol} is too low for a far limit")
        return price

    def new_order(self, number: InstrumentId, limit: Decimal) -> SubmitOrder:
        """Return an order to buy the least quantity at a limit."""
        self._sent += 1
        return SubmitOrder(
            f"{self.prefix}-{self._sent:03d}",
            number,
            Side.BUY,
            self.instruments[number].step,
            OrderType.LIMIT,
            limit,
            TimeInForce.DAY,
            Purpose.OPEN,
        )

    async def open_order(self, name: str) -> list[str]:
        """Return the status of each open order under an id, as the venue lists them now."""
        return [order.status for order in await self._listed(name)]

    async def cancel_twins(self, name: str) -> None:
        """Cancel what is still open under an id: where it is but a label, the second one that was sent."""
        for order in await self._listed(name):
            await self.gateway.cancel_at_venue(order.venue_order_id)

    async def _listed(self, name: str) -> list[VenueOrder]:
        view = await self.gateway.snapshot()
        return [order for order in view.open_orders if name in (order.client_order_id, order.parent_id)]


Step = Callable[[Certification], Awaitable[str]]


class DiffersError(Exception):
    """The venue did otherwise than expected."""


def _expect(condition: object, seen: str) -> str:
    """Return what was seen; a false condition is a difference."""
    if not condition:
        raise DiffersError(seen)
    return seen


async def _login(run: Certification) -> str:
    run.facts = await run.connect()
    return f"account {run.facts.account_id}, status {run.facts.status}"


async def _account(run: Certification) -> str:
    facts = run.facts
    may = "may trade" if facts.may_trade else "may not trade"
    seen = f"{facts.currency}, cash {facts.cash:f}, options level {facts.options_level}, {may}"
    return _expect(facts.currency == run.currency and facts.may_trade, seen)


async def _clock(run: Certification) -> str:
    run.view = run.before = await run.gateway.snapshot()
    seconds = (run.clock.now_ns() - run.view.clock.now_ns) / NANOS_PER_SECOND
    state = "open" if run.view.clock.is_open else "closed"
    seen = f"the venue's clock differs by {seconds:+.2f} s; the session is {state}"
    return _expect(run.follows_venue or abs(seconds) <= _CLOCK_SECONDS, seen)


async def _contracts(run: Certification) -> str:
    underlying = await run.gateway.resolve(run.symbol)
    run.underlying = run.instruments.add(underlying)
    first = to_new_york(run.view.clock.now_ns).date()
    listed = await run.gateway.discover(underlying.symbol, first, first + timedelta(days=run.days))
    run.listed = tuple(item for item in listed if item.is_tradable)
    if not run.listed and not run.facts.options_level:
        return f"none, and the account may trade none: the orders are for {underlying.symbol}"
    classes = {_class_text(item.contract) for item in run.listed}
    expiries = {item.contract.expiry for item in run.listed}
    seen = f"{len(run.listed)} options of {len(expiries)} expiries: {'; '.join(sorted(classes)) or 'none'}"
    return _expect(run.listed, seen)


def _class_text(contract: OptionContract) -> str:
    return f"{contract.style}, {contract.settlement}, multiplier {contract.multiplier}"


async def _quotes(run: Certification) -> str:
    if run.underlying is None:
        raise NotAskedError("the underlying is not known")
    expiry = min((item.contract.expiry for item in run.listed), default=None)
    strikes = sorted({item.contract.strike for item in run.listed if item.contract.expiry == expiry})
    middle = strikes[max(len(strikes) // 2 - 3, 0) : len(strikes) // 2 + 4]
    for contract in (item.contract for item in run.listed):
        if contract.expiry == expiry and contract.strike in middle:
            run.instruments.add(contract)
    wanted = [InstrumentId(number) for number in range(len(run.instruments))]
    found = await run.gateway.quotes(wanted)
    run.quoted = {quote.instrument_id: quote for quote in found}
    ages = [(quote.ts_recv_ns - quote.ts_event_ns) / NANOS_PER_SECOND for quote in found]
    range_text = f", ages {min(ages):.1f} to {max(ages):.1f} s" if ages else ""
    return _expect(found, f"{len(found)} of {len(wanted)} quoted{range_text}")


async def _stream(run: Certification) -> str:
    _needs_open_session(run)
    await run.gateway.subscribe(list(run.quoted))
    came = await run.until(lambda: any(type(item) is QuoteEvent for item in run.events))
    count = sum(type(item) is QuoteEvent for item in run.events)
    return _expect(came, f"{count} quotes streamed within {run.patience_seconds:g} s")


async def _far_order(run: Certification) -> str:
    _needs_open_session(run)
    number, quote = run.to_order()
    run.order = run.new_order(number, run.far_limit(number, quote))
    run.gateway.send(run.order)
    name = run.order.client_order_id
    came = await run.until(lambda: run.of(name))
    is_filled = any(type(item) is OrderFilled for item in run.of(name))
    return _expect(came and run.is_accepted(name) and not is_filled, _words(run, name))


async def _doubled(run: Certification) -> str:
    order = _the_order(run)
    run.gateway.send(order)
    await asyncio.sleep(min(run.patience_seconds, 1.0))
    listed = await run.open_order(order.client_order_id)
    is_label = not run.gateway.takes_id_once  # the desk never sends an id again there
    seen = f"open under this id: {listed}; {_words(run, order.client_order_id)}"
    return _expect(len(listed) == 1 or (listed and is_label), seen)


async def _queried(run: Certification) -> str:
    name = _the_order(run).client_order_id
    is_proven = await run.gateway.query_order(name)
    return _expect(is_proven, f"proof: {is_proven}; {_words(run, name)}")


async def _cancelled(run: Certification) -> str:
    name = _the_order(run).client_order_id
    run.gateway.send(CancelOrder(name))
    over = await run.until(lambda: run.is_over(name))
    if over and not run.gateway.takes_id_once:
        await run.cancel_twins(name)
    left = await run.open_order(name)
    run.order = None
    return _expect(over and not left, f"{_words(run, name)}; open: {left or 'none'}")


async def _combo(run: Certification) -> str:
    _needs_open_session(run)
    if not run.gateway.takes_combos:
        raise NotAskedError("the venue takes no combos from the desk")
    number, quote = run.to_order()
    first = run.instruments[number]
    if not first.is_option:
        raise NotAskedError("no options are listed")
    others = [
        item
        for item in run.quoted
        if (other := run.instruments[item]).is_option
        and item != number
        and (other.expiry, other.strike) == (first.expiry, first.strike)
    ]
    if not others:
        raise NotAskedError("no put and call of one strike are quoted now")
    legs = tuple(run.new_order(leg, run.far_limit(number, quote)) for leg in (number, others[0]))
    legs = tuple(msgspec.structs.replace(leg, limit_price=None) for leg in legs)
    name = f"{run.prefix}-combo"
    run.gateway.send(MultiLegOrder(name, legs, run.far_limit(number, quote)))
    ids = [leg.client_order_id for leg in legs]
    accepted = await run.until(lambda: all(run.of(leg) for leg in ids))
    run.gateway.send(CancelOrder(ids[0]))
    over = await run.until(lambda: all(run.is_over(leg) for leg in ids))
    return _expect(accepted and over, "; ".join(_words(run, leg) for leg in ids))


async def _dropped(run: Certification) -> str:
    _needs_open_session(run)
    number, quote = run.to_order()
    order = run.new_order(number, run.far_limit(number, quote))
    sent_ns = run.clock.now_ns()
    run.gateway.send(order)
    await asyncio.sleep(0.0)
    await run.close(graceful=False)
    await run.connect([KnownOrder(order, sent_ns=sent_ns)])
    name = order.client_order_id
    proven = False
    loop = asyncio.get_running_loop()
    ends = loop.time() + 2 * run.patience_seconds
    while not proven and loop.time() < ends:
        proven = await run.gateway.query_order(name)
        await asyncio.sleep(LOOK_SECONDS)
    run.gateway.send(CancelOrder(name))
    await run.until(lambda: run.is_over(name) or not run.is_accepted(name))
    left = await run.open_order(name)
    return _expect(proven and not left, f"proof: {proven}; {_words(run, name)}; open: {left or 'none'}")


async def _history(run: Certification) -> str:
    view = await run.gateway.snapshot(fills_since_ns=max(run.view.clock.now_ns - DAY_NS, 0))
    return f"{len(view.fills)} executions and {len(view.activities)} other lines since a day"


async def _compared(run: Certification) -> str:
    view, before = await run.gateway.snapshot(), run.before
    assert before is not None
    mine = [name for order in view.open_orders if (name := order.client_order_id).startswith(run.prefix)]
    filled = [item for item in run.events if type(item) is OrderFilled]
    held = {item.symbol: item.quantity for item in view.positions}
    is_same = held == {item.symbol: item.quantity for item in before.positions}
    moved = view.account.cash - before.account.cash
    same = "as before" if is_same else "differ"
    seen = f"positions {same}, cash moved by {moved:f}, open orders of the steps: {mine}"
    return _expect(is_same and not moved and not mine and not filled, seen)


async def _limits(run: Certification) -> str:
    health = run.gateway.health()
    named = {name: count for name, count in health.counters.items() if count}
    doubt = ", ".join(health.unknown) or "no order"
    return _expect(not health.unknown, f"{health.requests_left} requests left; in doubt: {doubt}; {named}")


STEPS: tuple[tuple[str, str, Step], ...] = (
    ("login", "the paper account opens with these keys", _login),
    ("account", "the account is in the desk's currency and may trade", _account),
    ("clock", f"the venue's clock is within {_CLOCK_SECONDS:g} s of this machine's", _clock),
    (
        "contracts",
        "the underlying has options, each with style, settlement and multiplier, or the venue has none",
        _contracts,
    ),
    ("quotes", "the latest quotes come with the time of each", _quotes),
    ("stream", "quotes stream while the session is open", _stream),
    ("order", "a far limit is accepted and rests", _far_order),
    (
        "doubled",
        "the same order sent twice rests once, where the venue takes an id once",
        _doubled,
    ),
    ("queried", "a query by the desk's id proves its state", _queried),
    ("cancelled", "its cancel is reported, and nothing is left", _cancelled),
    ("combo", "two legs are one order, accepted and cancelled", _combo),
    ("dropped", "an order sent as the connection dropped is found, or proven absent", _dropped),
    ("history", "executions come from the history", _history),
    ("compared", "positions and cash are what they were, and no order is left", _compared),
    ("limits", "the budget of requests is known, and no order is in doubt", _limits),
)
"""Name, expectation and body of each step, in order."""


def _needs_open_session(run: Certification) -> None:
    if not run.view.clock.is_open:
        raise NotAskedError("the session is closed")


def _the_order(run: Certification) -> SubmitOrder:
    if run.order is None:
        raise NotAskedError("no order rests")
    return run.order


def _words(run: Certification, name: str) -> str:
    found = [type(item).__name__ + _reason(item) for item in run.of(name)]
    return f"{name}: {', '.join(found) or 'no event'}"


def _reason(item: OrderEvent) -> str:
    reason = getattr(item, "reason", "")
    return f" ({reason})" if reason else ""


async def certify(
    run: Certification, tap: "WireTap", report: Callable[[StepResult], None]
) -> list[StepResult]:
    """Carry out every step; one that fails ends no other, unless nothing is connected.

    ``report``: Called with each step as it ends.
    """
    results = []
    try:
        for name, expected, step in STEPS:
            tap.clear()
            verdict = StepVerdict.OK
            try:
                seen = await step(run)
            except NotAskedError as why:
                verdict, seen = StepVerdict.NOT_ASKED, str(why)
            except DiffersError as difference:
                verdict, seen = StepVerdict.DIFFERS, str(difference)
            except Exception as error:  # noqa: BLE001 - a step that cannot go on is a finding, the next is asked
                verdict = StepVerdict.DIFFERS
                seen = error.render() if isinstance(error, ScalpdeskError) else describe(error)
            result = StepResult(name, expected, seen, verdict, tap.text())
            results.append(result)
            report(result)
            if name == "login" and verdict is not StepVerdict.OK:
                break
    finally:
        await run.close()
    return results


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
