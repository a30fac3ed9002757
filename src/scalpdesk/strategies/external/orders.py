"""From an order intent of protocol v1 to one of the desk: which instrument, how many, and what it is for."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import nearest_name
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.protocol.messages import exact_qty
from scalpdesk.protocol.values import to_decimal
from scalpdesk.strategies.contract import DeskView

ZERO = Decimal(0)
KINDS = {
    Purpose.OPEN: DecisionKind.ENTRY,
    Purpose.HEDGE: DecisionKind.HEDGE,
    Purpose.CLOSE: DecisionKind.EXIT,
    Purpose.UNWIND_HEDGE: DecisionKind.EXIT,
}
SENDABLE = {"market": OrderType.MARKET, "limit": OrderType.LIMIT}
MOST_FACTS = 32
LONGEST_FACT = 200

Facts = dict[str, str | float | int]


class Exposures:
    """What is held, what working orders may still fill, and what this answer has asked for so far.

    Parameters
    ----------
    view
        The desk.
    """

    def __init__(self, view: DeskView) -> None:
        self._view = view
        self._asked: dict[InstrumentId, Decimal] = {}

    def of(self, number: InstrumentId) -> Decimal:
        """Signed contracts or shares."""
        return self._view.exposure(number) + self._asked.get(number, ZERO)

    def add(self, number: InstrumentId, signed: Decimal) -> None:
        """Count an order of this answer."""
        self._asked[number] = self._asked.get(number, ZERO) + signed

    def options(self) -> dict[InstrumentId, Decimal]:
        """Options that are not zero."""
        view = self._view
        numbers = {one.instrument_id for one in view.positions.held()} | set(self._asked)
        numbers |= {order.submitted.instrument_id for order in view.orders.live.values()}
        return {
            number: self.of(number)
            for number in sorted(numbers)
            if isinstance(view.instruments[number], OptionContract) and self.of(number)
        }

    def option_delta_shares(self) -> float | None:
        """Delta of the options in shares; None when one is not known."""
        total = 0.0
        for number, quantity in self.options().items():
            value = self._view.delta_engine.value(number, self._view.now_ns, fresh=False)
            if value is None or not -1.5 < value.greeks.delta < 1.5:
                return None
            total += float(quantity) * value.greeks.delta * self._view.instruments[number].multiplier
        return total


class Wanted(msgspec.Struct, frozen=True):
    """An intent of the folder as the desk can send it."""

    intent: OrderIntent
    rest: Decimal = ZERO
    """Signed shares that may go only once the first order is over: it takes the holding to zero."""


def read_intent(
    message: Mapping[str, Any], view: DeskView, exposures: Exposures, quantity_unit: str, owner: str = ""
) -> Wanted | str:
    """Return what a valid intent asks of this desk, or why the desk cannot send it.

    Parameters
    ----------
    message
        A valid order intent.
    view
        The desk.
    exposures
        What is held and asked for; the intent is added to it.
    quantity_unit
        ``contracts`` or ``shares``; see the strategy's configuration.
    owner
        Strategy that its fills belong to.
    """
    number = find_instrument(str(message["symbol"]), view)
    if isinstance(number, str):
        return number
    order_type = SENDABLE.get(str(message["order_type"]))
    if order_type is None:
        return f"{message['order_type']} orders are not sent: protocol v1 has no stop price"
    instrument = view.instruments[number]
    quantity = exact_qty(message)
    unit = "shares"
    if isinstance(instrument, OptionContract):
        unit = "contracts"
        if quantity_unit == "shares":
            quantity /= instrument.multiplier
    if quantity != quantity.to_integral_value():
        return f"{quantity} {unit} of {instrument.symbol} are not a whole number"
    side = Side(str(message["side"]))
    signed = quantity * side.sign
    held = exposures.of(number)
    rest = ZERO
    if held * signed < 0 and abs(signed) > abs(held):
        if isinstance(instrument, OptionContract):
            return f"{side} {quantity} {instrument.symbol} would turn {held}: close first, then open"
        rest, signed = held + signed, -held
    purpose = purpose_of(number, signed, view, exposures)
    exposures.add(number, signed + rest)
    price = message.get("limit_price") if order_type is OrderType.LIMIT else None
    intent = OrderIntent(
        number,
        side,
        abs(signed),
        purpose,
        reason_of(message),
        order_type,
        None if price is None else to_decimal(price),
        TimeInForce(str(message.get("time_in_force", "day"))),
        owner,
    )
    return Wanted(intent, rest)


def find_instrument(symbol: str, view: DeskView) -> InstrumentId | str:
    """Return the instrument of a symbol (an OCC symbol may be padded), or that there is none."""
    for spelling in (symbol, symbol.replace(" ", "").upper()):
        if spelling in view.instruments:
            return view.instruments.id_of(spelling)
    nearest = nearest_name(symbol, (one.symbol for one in view.instruments))
    hint = f"; the nearest is {nearest}" if nearest else ""
    return f"{symbol[:40]!r} is no instrument of this run{hint}"


def purpose_of(number: InstrumentId, signed: Decimal, view: DeskView, exposures: Exposures) -> Purpose:
    """Say what an order is for by what it does to the book, never by what it is called.

    An option order that brings its position nearer to zero closes. A share order hedges when it brings
    the net delta of the options and shares nearer to zero, and unwinds when no options are left and it
    brings the shares nearer to zero. Everything else opens.
    """
    held = exposures.of(number)
    lowers = abs(held + signed) < abs(held)
    if isinstance(view.instruments[number], OptionContract):
        return Purpose.CLOSE if lowers else Purpose.OPEN
    if not exposures.options():
        return Purpose.UNWIND_HEDGE if lowers else Purpose.OPEN
    of_options = exposures.option_delta_shares()
    if of_options is None:
        return Purpose.OPEN
    net = of_options + float(held)
    return Purpose.HEDGE if abs(net + float(signed)) < abs(net) else Purpose.OPEN


def reason_of(message: Mapping[str, Any]) -> str:
    """Return the intent's own reason, else its tag, else its id."""
    metadata = message.get("metadata")
    given = metadata.get("reason") if isinstance(metadata, dict) else None
    said = given if isinstance(given, str) and given else message.get("client_tag", message["intent_id"])
    return str(said)[:LONGEST_FACT]


def facts_of(message: Mapping[str, Any]) -> Facts:
    """Return the intent's ids, tag and metadata as a decision's facts."""
    facts: Facts = {"intent_id": message["intent_id"], "event_id": message["event_id"]}
    if "client_tag" in message:
        facts["client_tag"] = str(message["client_tag"])[:LONGEST_FACT]
    for key, value in list(message.get("metadata", {}).items())[:MOST_FACTS]:
        name = f"metadata.{key}"[:LONGEST_FACT]
        if isinstance(value, str):
            facts[name] = value[:LONGEST_FACT]
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 53:
            facts[name] = value
        else:
            facts[name] = msgspec.json.encode(value).decode()[:LONGEST_FACT]
    return facts
