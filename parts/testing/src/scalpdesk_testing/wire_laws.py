"""Laws on the bytes that leave the desk: what was sent, held against the exchange's own books.

They read the requests as they are written, before any fault of the line, so that a request that never
arrives counts too. What the gateway reports plays no part.
"""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from scalpdesk.base import NANOS_PER_SECOND, InstrumentId, Mode, Purpose, QuoteEvent
from scalpdesk.core.intents import EXITS
from scalpdesk.exchange import BrokerOrder
from scalpdesk.simulation.ledger import Ledger
from scalpdesk_testing.invariants import Scene

ORDERS_PATH = "/v2/orders"
LOOKS = frozenset({ORDERS_PATH, "/v2/account", "/v2/positions", "/public/get_time"})
"""Requests with which a look at the account begins: at Deribit that for the venue's time."""
_CANCEL_PATIENCE_NS = 20 * NANOS_PER_SECOND
"""After a halt, with a line: by then each order at the venue was cancelled, or its cancel was sent."""
_LOOK_PATIENCE_NS = 15 * NANOS_PER_SECOND
"""After the order stream came up again: by then the account was looked at."""
_SEEN_NS = 5 * NANOS_PER_SECOND
_SECOND_NS = NANOS_PER_SECOND
_FAR = Decimal("1.75")
"""A buy limit above so many times the largest ask of a fresh quote is beyond every collar."""
_AGE_SLACK_NS = 10 * _SECOND_NS
"""Beyond the age at which a quote is too old: an order may wait for its turn on the wire."""


class SentOrder(NamedTuple):
    """One order as its bytes name it."""

    client_order_id: str
    symbol: str
    is_buy: bool
    quantity: Decimal
    limit_price: Decimal | None
    at_ns: int
    is_leg: bool = False


def read_orders(body: bytes, at_ns: int) -> list[SentOrder]:
    """Return the orders of a request's body: one, or the legs of a combo under the name of the whole."""
    wire: dict[str, Any] = msgspec.json.decode(body)
    quantity = Decimal(wire["qty"])
    price = None if wire.get("limit_price") is None else Decimal(wire["limit_price"])
    if wire.get("legs"):
        return [
            SentOrder(
                wire["client_order_id"],
                leg["symbol"],
                leg["side"] == "buy",
                quantity * Decimal(leg["ratio_qty"]),
                None,
                at_ns,
                is_leg=True,
            )
            for leg in wire["legs"]
        ]
    return [SentOrder(wire["client_order_id"], wire["symbol"], wire["side"] == "buy", quantity, price, at_ns)]


class WireLaws:
    """Follows the requests of one trial."""

    def __init__(self, scene: Scene, ledger: Ledger) -> None:
        self._scene = scene
        self._ledger = ledger
        self._bodies: dict[str, bytes] = {}
        self._cancelled: set[str] = set()
        """Last parts of the paths of cancels since the halt."""
        self._halted_ns: int | None = None
        self._stream_up_ns: int | None = None
        self._seen_ns = 0
        self._mode: tuple[Mode, int] = (Mode.ACTIVE, 0)
        """Mode of the desk and since when, UTC nanoseconds."""
        self._asks: dict[InstrumentId, deque[tuple[int, float]]] = {}
        """Asks that the exchange has shown of late, with their true times (UTC nanoseconds)."""
        self.knows_ages = True
        """Whether the venue's messages state when a quote was made."""

    def published(self, event: object) -> None:
        """Follow the exchange's quotes, whether they reach the desk or not."""
        if isinstance(event, QuoteEvent):
            self._scene.shown_ns[event.instrument_id] = event.ts_event_ns
            self._asks.setdefault(event.instrument_id, deque(maxlen=100)).append(
                (event.ts_event_ns, event.ask)
            )

    def sent(self, method: str, path: str, body: bytes, now_ns: int) -> Iterator[str]:
        """Yield what is wrong with a request."""
        if method == "DELETE":
            self._cancelled.add(path.rpartition("/")[2])
        elif method == "GET" and path in LOOKS:
            self._stream_up_ns = None
        elif method == "POST" and path == ORDERS_PATH:
            orders = read_orders(body, now_ns)
            name = orders[0].client_order_id
            if not self._scene.has_intent(name):
                yield f"1 no_order_without_intent: {name} left before its intent was on disk"
            first, is_free = self._bodies.setdefault(name, body), self._scene.is_last_resort(name)
            if not _is_repetition(first, body, is_free=is_free):
                yield f"2 one_live_order_per_intent: {name} was sent with another content"
            for order in orders:
                why = self._why_not(order)
                if why is not None:
                    yield why

    def stream_opened(self, now_ns: int) -> None:
        """Take note that the order stream came up."""
        self._stream_up_ns = now_ns

    def overdue(self, now_ns: int, *, is_connected: bool) -> str | None:
        """Return what should have left the desk by now."""
        desk = self._scene.engine.desk
        if desk.gate.mode is not self._mode[0]:
            self._mode = desk.gate.mode, now_ns
        if not is_connected or desk.gate.mode is not Mode.HALTED:
            self._halted_ns = None
        elif self._halted_ns is None:
            self._halted_ns = now_ns
            self._cancelled.clear()
        elif now_ns - self._halted_ns > _CANCEL_PATIENCE_NS:
            left = [order for order in self._own() if not {order.order_id, order.parent} & self._cancelled]
            if left:
                return f"5 halt_cancels: {left[0].client_order_id} works on, no cancel of it was sent"
        was_seen = now_ns - self._seen_ns <= _SEEN_NS  # without events the line may have been down
        self._seen_ns = now_ns
        if not (is_connected and was_seen):
            self._stream_up_ns = None if self._stream_up_ns is None else now_ns
        elif self._stream_up_ns is not None and now_ns - self._stream_up_ns > _LOOK_PATIENCE_NS:
            self._stream_up_ns = None
            return "14 reconnect_looks: the order stream is back and the account was not looked at"
        return None

    def _own(self) -> list[BrokerOrder]:
        """Orders at the venue that the desk knows to be its own and alive."""
        scene, live = self._scene, self._scene.engine.desk.orders.live
        orders = (each for each in scene.account.open_orders() if each.instrument_id is not None)
        return [order for order in orders if scene.name_of(order) in live]

    def _why_not(self, order: SentOrder) -> str | None:
        scene, ledger = self._scene, self._ledger
        desk, limits = scene.engine.desk, scene.plan.limits
        number = ledger.instruments.id_of(order.symbol)
        is_option = ledger.instruments[number].is_option
        what = f"{'buy' if order.is_buy else 'sell'} {order.quantity} {order.symbol}"
        name = order.client_order_id
        name = scene.leg_name(name, number) if order.is_leg else name
        mine = desk.orders.orders.get(name)
        # what was decided before a person spoke may be on its way to the wire just then
        is_held = desk.gate.mode is self._mode[0] and (mine is None or mine.created_ns > self._mode[1])
        if desk.gate.mode is Mode.HALTED and is_held:
            return f"5 no_new_risk_blindly: {what} while halted"
        held, known = scene.account.quantity(number), desk.positions.quantity(number)
        # what was decided a moment before the desk heard of a late fill is on its way to the wire just then
        is_new = mine is not None and order.at_ns - mine.created_ns < _SECOND_NS
        decided = scene.held_at.get(name, known) if is_new else known
        # what somebody sold and the desk buys back may be assigned meanwhile
        # of strategies that share the account one may be short of what another holds
        is_exit = mine is not None and mine.submitted.purpose in EXITS and scene.plan.members > 1
        opens = is_option and order.is_buy and min(held, known, decided) >= 0 and not is_exit
        if opens and desk.gate.mode is not Mode.ACTIVE and is_held:
            return f"5 no_new_risk_blindly: {what} while {desk.gate.mode}"
        most = limits.max_order_contracts if is_option else limits.max_order_shares
        if order.quantity > most:
            return f"4 worst_case_within_limits: {what} in one order, limit {most}"
        plan = scene.plan
        fresh_ns = int((plan.stale_option_seconds if is_option else plan.stale_share_seconds) * _SECOND_NS)
        quotes, price = self._asks.get(number, deque()), order.limit_price
        # the latest one, however old, and those that were fresh a moment ago
        since_ns = min(ledger.now_ns - fresh_ns - _AGE_SLACK_NS, quotes[-1][0]) if quotes else 0
        asks = [ask for at_ns, ask in quotes if at_ns >= since_ns and ask > 0.0]
        is_old = bool(quotes) and quotes[-1][0] < ledger.now_ns - fresh_ns - _AGE_SLACK_NS
        if is_old and scene.has_jumped:  # the last quote of an option that is quoted no more is far off
            asks.clear()
        if price is not None and order.is_buy and asks and price > _FAR * Decimal(str(max(asks))):
            return f"5 price_within_collar: {what} at {price}, ask {max(asks)}"
        if mine is None:
            return None
        if is_old and self.knows_ages and mine.submitted.purpose is Purpose.OPEN:
            age = (ledger.now_ns - quotes[-1][0]) / _SECOND_NS
            return f"5 no_new_risk_blindly: {what}, last quoted {age:.0f} s before"
        same = [other for other in self._own() if other.instrument_id == number and other.leaves > 0]
        for other in same:
            if (other_name := scene.name_of(other)) == name:
                continue
            theirs = desk.orders.orders[other_name].submitted
            # the venue knows one price for a combo: those of its legs are the desk's
            priced, standing = order.limit_price, other.working_limit
            if order.is_leg or other.parent is not None:
                priced, standing = mine.submitted.limit_price, theirs.limit_price
            if (other.side.sign > 0) is not order.is_buy and _crosses(order.is_buy, priced, standing):
                return f"5 no_wash_trade: {what} against its own {other_name}"
            is_equal = other.quantity == order.quantity and other.request.limit_price == order.limit_price
            age_ns = mine.created_ns - desk.orders.orders[other_name].created_ns
            soon = age_ns < limits.duplicate_window_seconds * NANOS_PER_SECOND
            alike = (theirs.purpose, theirs.owner) == (mine.submitted.purpose, mine.submitted.owner)
            if (other.side.sign > 0) is order.is_buy and is_equal and alike and soon:
                return f"2 no_duplicate: {what} again beside {other_name}"
        # where strategies share the account, one may sell what another has sold short; what was decided
        # before the desk heard of a late fill or a bust may be on its way to the wire just then
        is_known = held == known == scene.held_at.get(name, known)
        if mine.submitted.purpose in EXITS and is_known and scene.plan.members == 1:
            closing = sum(
                (other.leaves for other in same if (other.side.sign > 0) is order.is_buy), Decimal(0)
            )
            if order.quantity + closing > abs(held):
                return f"4 exit_lowers: {what} beside {closing} closes more than the {held} held"
        return None


def _crosses(is_buy: bool, price: Decimal | None, other: Decimal | None) -> bool:
    """Return whether an order could trade with one of the other side, by their limits; None: the market."""
    if price is None or other is None:
        return True
    return price >= other if is_buy else price <= other


def _is_repetition(first: bytes, body: bytes, *, is_free: bool) -> bool:
    """Return whether a request is an earlier one again, for no more: the venue takes its id once.

    ``is_free``: In place of a request that was refused the last resort asks for what is held by then.
    """
    if first == body:
        return True
    before, now = (msgspec.json.decode(each, type=dict[str, Any]) for each in (first, body))
    is_more = Decimal(now.pop("qty", 0)) > Decimal(before.pop("qty", 0))
    return (is_free or not is_more) and before == now
