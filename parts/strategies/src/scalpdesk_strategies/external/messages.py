"""Messages of protocol v1: the desk's market as events for a folder, and its intents as the desk's."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import nearest_name
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, TimeInForce
from scalpdesk.core.order_types import WORKING_AT_ONCE
from scalpdesk.core.units import DAY_NS, DAYS_PER_YEAR, ZERO, InstrumentId
from scalpdesk.hedging.sizing import up_to_zero
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.marketdata.quotes import KEPT
from scalpdesk.protocol import market_event, to_decimal, ts_text
from scalpdesk.protocol.messages import exact_qty
from scalpdesk.strategies.contract import DeskView

KINDS = {
    Purpose.OPEN: DecisionKind.ENTRY,
    Purpose.HEDGE: DecisionKind.HEDGE,
    Purpose.CLOSE: DecisionKind.EXIT,
    Purpose.UNWIND_HEDGE: DecisionKind.EXIT,
}
_SENDABLE = {name: OrderType(name) for name in sorted(WORKING_AT_ONCE, reverse=True)}
_MOST_FACTS = 32
_LONGEST_FACT = 200

Facts = dict[str, str | float | int]


class Exposures:
    """Exposure by instrument: held, open in working orders, and asked for by this answer so far.

    ``waiting`` are signed shares whose order goes once another is filled.
    """

    def __init__(self, view: DeskView, waiting: Mapping[InstrumentId, Decimal]) -> None:
        self._view = view
        self._asked = dict(waiting)

    def of(self, number: InstrumentId) -> Decimal:
        """Signed contracts or shares."""
        return self._view.exposure(number) + self._asked.get(number, ZERO)

    def add(self, number: InstrumentId, signed: Decimal) -> None:
        """Count an order of this answer."""
        self._asked[number] = self._asked.get(number, ZERO) + signed

    def options(self) -> dict[InstrumentId, Decimal]:
        """Options that are not zero."""
        view = self._view
        numbers = {item.instrument_id for item in view.positions.held()} | set(self._asked)
        numbers |= {order.submitted.instrument_id for order in view.orders.live.values()}
        return {
            number: self.of(number)
            for number in sorted(numbers)
            if self.of(number) and view.instruments[number].is_option
        }

    def option_delta_shares(self) -> float | None:
        """Delta of the options in shares; None when one is not known."""
        total = 0.0
        for number, quantity in self.options().items():
            value = self._view.delta_engine.state(number, self._view.now_ns)
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
    message: Mapping[str, Any], view: DeskView, exposures: Exposures, quantity_unit: str
) -> Wanted | str:
    """Return what a valid intent asks of this desk, or why the desk cannot send it.

    ``message``: A valid order intent.
    ``view``: The desk.
    ``exposures``: What is held and asked for; the intent is added to it.
    ``quantity_unit``: ``contracts`` or ``shares``; see the strategy's configuration.
    """
    number = _find_instrument(str(message["symbol"]), view)
    if isinstance(number, str):
        return number
    order_type = _SENDABLE.get(str(message["order_type"]))
    if order_type is None:
        return f"{message['order_type']} orders are not sent: protocol v1 has no stop price"
    instrument = view.instruments[number]
    quantity = exact_qty(message)
    unit = "shares"
    if instrument.is_option:
        unit = "contracts"
        if quantity_unit == "shares":
            quantity /= instrument.multiplier
    if quantity != quantity.to_integral_value():
        return f"{quantity} {unit} of {instrument.symbol} are not a whole number"
    side = Side(str(message["side"]))
    signed = quantity * side.sign
    held = exposures.of(number)
    price = message.get("limit_price") if order_type is OrderType.LIMIT else None
    line = TargetLine(
        "",
        number,
        held,
        held + signed,
        limit=None if price is None else to_decimal(price),
        time_in_force=TimeInForce(str(message.get("time_in_force", "day"))),
    )
    rest = signed - line.missing(())
    if rest and instrument.is_option:
        return f"{side} {quantity} {instrument.symbol} would turn {held}: close first, then open"
    line = line._replace(purpose=purpose_of(number, signed - rest, view, exposures))
    exposures.add(number, signed)
    return Wanted(line.next_order(reason_of(message)), rest)


def _find_instrument(symbol: str, view: DeskView) -> InstrumentId | str:
    """Return the instrument of a symbol (an OCC symbol may be padded), or the text of a refusal."""
    for spelling in (symbol, symbol.replace(" ", "").upper()):
        if spelling in view.instruments:
            return view.instruments.id_of(spelling)
    nearest = nearest_name(symbol, (item.symbol for item in view.instruments))
    hint = f"; the nearest is {nearest}" if nearest else ""
    return f"{symbol[:40]!r} is no instrument of this run{hint}"


def purpose_of(number: InstrumentId, signed: Decimal, view: DeskView, exposures: Exposures) -> Purpose:
    """Return the purpose of an order by its effect on the positions, whatever it is called.

    An option order that brings its position nearer to zero closes. A share order hedges when it brings
    the net delta of the options and shares nearer to zero, and unwinds when no options are left and it
    brings the shares nearer to zero. Everything else opens.
    """
    held = exposures.of(number)
    lowers = abs(held + signed) < abs(held)
    if view.instruments[number].is_option:
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
    reason = given if isinstance(given, str) and given else message.get("client_tag", message["intent_id"])
    return str(reason)[:_LONGEST_FACT]


def facts_of(message: Mapping[str, Any]) -> Facts:
    """Return the intent's ids, tag and metadata as a decision's facts."""
    facts: Facts = {"intent_id": message["intent_id"], "event_id": message["event_id"]}
    if "client_tag" in message:
        facts["client_tag"] = str(message["client_tag"])[:_LONGEST_FACT]
    for key, value in list(message.get("metadata", {}).items())[:_MOST_FACTS]:
        name = f"metadata.{key}"[:_LONGEST_FACT]
        if isinstance(value, str):
            facts[name] = value[:_LONGEST_FACT]
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 53:
            facts[name] = value
        else:
            facts[name] = msgspec.json.encode(value).decode()[:_LONGEST_FACT]
    return facts


_SOURCE = "scalpdesk"
_DECIMALS = 8
"""Greeks are shown to so many."""
_encode = msgspec.json.Encoder().encode


class MarketPicture:
    """Turns the desk's view into market events of protocol v1.

    ``quantity_unit``, ``chain_contracts``, ``shares_as_position``: See the strategy's configuration.
    ``options``: The underlying's options with their numbers.
    """

    def __init__(
        self,
        options: Sequence[tuple[InstrumentId, OptionContract]],
        *,
        quantity_unit: str,
        chain_contracts: int,
        shares_as_position: bool,
    ) -> None:
        self._quantity_unit = quantity_unit
        self._chain_contracts = chain_contracts
        self._shares_as_position = shares_as_position
        self._contracts = dict(options)
        self._by_expiry: dict[date, list[tuple[Decimal, InstrumentId]]] = {}
        for number, contract in options:
            self._by_expiry.setdefault(contract.expiry, []).append((contract.strike, number))
        self._shown: set[InstrumentId] = set()
        """Options that the folder takes to be held."""

    def forget(self) -> None:
        """The folder begins afresh: it takes nothing to be held."""
        self._shown.clear()

    def events(self, view: DeskView, request: int, waiting_shares: Decimal = ZERO) -> tuple[str, ...]:
        """Return the events of one request; empty while the underlying has no usable price.

        ``waiting_shares`` of the underlying, signed, go once another order is filled.
        """
        spot = view.market.mark(view.underlying)
        if spot is None or view.market.verdict(view.underlying, view.now_ns) not in KEPT:
            return ()
        session = view.session
        day = f"{session.day:%Y%m%d}" if session is not None else str(view.now_ns // DAY_NS)
        ts = ts_text(view.now_ns)
        shown: list[tuple[str, dict[str, Any]]] = []
        for number in self._options(view, spot):
            payload = self._option(view, number, spot)
            if payload is not None:
                shown.append((self._contracts[number].symbol, payload))
        # the underlying comes last: a folder that acts on it has seen every option of the same instant
        shown.append((view.instruments[view.underlying].symbol, self._underlying(view, spot, waiting_shares)))
        made = []
        for index, (symbol, payload) in enumerate(shown, start=1):
            payload["picture_index"], payload["picture_size"] = index, len(shown)
            event = market_event(f"{day}_{request}_{index}", ts, symbol, _SOURCE, payload)
            made.append(_encode(event).decode())
        return tuple(made)

    def _underlying(self, view: DeskView, spot: float, waiting_shares: Decimal) -> dict[str, Any]:
        payload: dict[str, Any] = {"price": spot, "underlying_price": spot}
        payload |= _prices(view, view.underlying)
        payload["position_shares"] = float(view.positions.quantity(view.underlying))
        payload["pending_shares"] = float(view.orders.pending(view.underlying) + waiting_shares)
        if self._shares_as_position:
            payload["delta"] = 1.0
            payload["quantity"] = float(view.exposure(view.underlying) + waiting_shares)
        return payload

    def _options(self, view: DeskView, spot: float) -> list[InstrumentId]:
        """Return what is held or ordered, what was held, and the nearest of the chain; in that order."""
        held = [item.instrument_id for item in view.positions.held()]
        ordered = [item.submitted.instrument_id for item in view.orders.live.values()]
        wanted = dict.fromkeys(number for number in (*held, *ordered) if number in self._contracts)
        wanted |= dict.fromkeys(sorted(self._shown))
        wanted |= dict.fromkeys(self._nearest(view, spot))
        return list(wanted)

    def _nearest(self, view: DeskView, spot: float) -> list[InstrumentId]:
        most, session = self._chain_contracts, view.session
        if not most or session is None:
            return []
        expiries = [expiry for expiry in self._by_expiry if expiry >= session.day]
        if not expiries:
            return []
        at = Decimal(f"{spot:.4f}")
        rows = sorted(self._by_expiry[min(expiries)], key=lambda row: (abs(row[0] - at), row))
        return [number for _, number in rows[:most]]

    def _option(self, view: DeskView, number: InstrumentId, spot: float) -> dict[str, Any] | None:
        """Return an option's payload; None while its delta is not known and it is held, or never was."""
        contract = self._contracts[number]
        held = view.positions.quantity(number)
        pending = view.orders.pending(number)
        shown = held
        if self._shares_as_position and held * pending < 0:
            shown += up_to_zero(pending, held)  # what is being closed is asked to be closed once
        unit = contract.multiplier if self._quantity_unit == "shares" else 1
        payload: dict[str, Any] = {
            "quantity": float(shown * unit),
            "pending_quantity": float(pending * unit),
            "quantity_unit": self._quantity_unit,
            "multiplier": contract.multiplier,
            "underlying_price": spot,
        }
        value = view.delta_engine.state(number, view.now_ns)
        greeks = None if value is None else value.greeks
        if greeks is None or not math.isfinite(greeks.delta):
            if held or number not in self._shown:
                return None  # a delta that is not there must not be read as 0
            payload["delta"] = 0.0
        else:
            payload["delta"] = round(float(greeks.delta), _DECIMALS)
            for name in ("gamma", "theta", "vega"):
                figure = float(getattr(greeks, name))
                if math.isfinite(figure):
                    payload[name] = round(figure / (DAYS_PER_YEAR if name == "theta" else 1.0), _DECIMALS)
        mark = view.mark(number)
        if mark is not None:
            payload["price"] = mark
        payload |= _prices(view, number)
        if held:
            self._shown.add(number)
        else:
            self._shown.discard(number)
        return payload


def sample_picture(view: DeskView, options: Sequence[tuple[InstrumentId, OptionContract]]) -> tuple[str, ...]:
    """Return events of a picture to try a folder on: the option nearest the money, then its underlying.

    Empty while the underlying has no usable price. The option's Greeks are a sample's, not the market's.
    """
    spot = view.market.mark(view.underlying)
    if spot is None or view.market.verdict(view.underlying, view.now_ns) not in KEPT:
        return ()
    day = view.session.day if view.session is not None else date.min
    # a call first: the sample's delta is a call's
    option = min(
        (contract for _, contract in options),
        key=lambda each: (
            each.expiry < day,
            not each.is_call,
            each.expiry,
            abs(float(each.strike) - spot),
            each.symbol,
        ),
    )
    greeks = {"delta": 0.65, "gamma": 0.02, "theta": -0.05, "vega": 0.1}
    price = round(spot / 200, 2)
    prices = {"price": price, "bid": price - 0.01, "ask": price + 0.01}
    terms = {"quantity_unit": "contracts", "multiplier": option.multiplier, "underlying_price": spot}
    share = {"price": spot, "underlying_price": spot} | _prices(view, view.underlying)
    shown: tuple[tuple[str, dict[str, Any]], ...] = (
        (option.symbol, greeks | prices | terms),
        (view.instruments[view.underlying].symbol, share),
    )
    ts = ts_text(view.now_ns)
    return tuple(
        _encode(market_event(f"trial_{index}", ts, symbol, _SOURCE, payload)).decode()
        for index, (symbol, payload) in enumerate(shown, start=1)
    )


def _prices(view: DeskView, number: InstrumentId) -> dict[str, float]:
    quote = view.market.quotes[number]
    if quote is None:
        return {}
    sides = {"bid": quote.bid, "ask": quote.ask}
    return {name: price for name, price in sides.items() if math.isfinite(price)}
