"""Intents, decisions and commands. Intents come from strategies, commands go to venues."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from math import gcd
from typing import TypeGuard, final, get_args

import msgspec

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.units import InstrumentId, exact


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is BUY else -1


BUY = Side.BUY  # looking up an enum's member costs as much as a call


class OrderType(StrEnum):
    """Type of an order that works from its arrival on; :class:`Stop` describes a resting trigger."""

    MARKET = "market"
    LIMIT = "limit"

    def name_with(self, limit_price: Decimal | None) -> str:  # noqa: ARG002 - a stop's name depends on it
        """Return the name of the type."""
        return self.value

    def trigger_price(self, best: Decimal | None, sign: int) -> Decimal | None:  # noqa: ARG002 - as of a stop
        """Return None: the order waits for no price."""
        return None


@final
class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop", gc=False):
    """Type of an order that waits until the price of its instrument has come to ``trigger``.

    A buy waits for that price or a higher one, a sell for that or a lower one. Then it works as a market
    order; with a limit price it is a stop-limit order, and works at the limit.
    """

    trigger: Decimal
    """Currency per unit."""

    def name_with(self, limit_price: Decimal | None) -> str:
        """Return the name of the type of an order with this limit price."""
        return "stop" if limit_price is None else "stop_limit"

    def trigger_price(self, best: Decimal | None, sign: int) -> Decimal | None:  # noqa: ARG002 - it stays
        """Return the price that an order waits for; a type that follows the market reckons it from ``best``.

        Parameters
        ----------
        best
            Best price since the order came, currency per unit: the lowest for a buy, the highest for a sell.
        sign
            +1 for a buy, -1 for a sell.
        """
        return self.trigger


@final
class Trailing(msgspec.Struct, frozen=True, array_like=True, tag="trailing_stop", gc=False):
    """Type of an order whose trigger follows the best price; clients of the simulated exchange send it."""

    distance: Decimal
    """Currency per unit, or percent of the best price."""
    is_percent: bool = False

    def name_with(self, limit_price: Decimal | None) -> str:  # noqa: ARG002 - it has no limit
        """Return the name of the type."""
        return "trailing_stop"

    def trigger_price(self, best: Decimal | None, sign: int) -> Decimal | None:
        """Return the trigger behind ``best``, as of :meth:`Stop.trigger_price`."""
        if best is None:
            return None
        distance = best * self.distance / 100 if self.is_percent else self.distance
        return exact(float(best + sign * distance), 2)


OrderKind = OrderType | Stop
"""Type of an order of the desk as a value. It says when the order works; its limit price is a field of the
order.
"""


class TimeInForce(StrEnum):
    """Lifetime of an order; ``OPG`` and ``CLS`` trade in the opening and the closing only."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


class Purpose(StrEnum):
    """Why an order is wanted; the risk gate lets through what lowers risk."""

    OPEN = "open"
    HEDGE = "hedge"
    CLOSE = "close"
    UNWIND_HEDGE = "unwind_hedge"


class LegOrders(StrEnum):
    """Order in which the legs of a position are sent to the venue."""

    AUTO = "auto"
    """As one order where the venue takes one."""
    COMBO = "combo"
    """As one order."""
    LEGS = "legs"
    """Each as an order of its own."""


OPENING = frozenset({Purpose.OPEN})
"""Purposes that add risk. A hedge, a close and an unwind lower it and pass most risk checks."""
EXITS = frozenset({Purpose.CLOSE, Purpose.UNWIND_HEDGE})
"""Purposes that reduce what is held."""


@final
class OrderIntent(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A strategy wants ``quantity`` (unsigned contracts or shares) of an instrument."""

    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    purpose: Purpose
    reason: str
    order_type: OrderKind = OrderType.MARKET
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    owner: str = ""
    """Strategy that sent it, where several share a desk."""
    loss_at_stop: Decimal | None = None
    """Largest loss of an opening order at its stop, in currency; None: all that it pays."""

    @property
    def signed_quantity(self) -> Decimal:
        """Quantity with the sign of the side."""
        return self.quantity if self.side is BUY else -self.quantity

    @property
    def type_name(self) -> str:
        """Name of its type, as ``stop_limit``."""
        return self.order_type.name_with(self.limit_price)

    def order(self, client_order_id: str, owner: str) -> "SubmitOrder":
        """Return the order for it; ``owner`` is the strategy that its fills belong to."""
        return SubmitOrder(
            client_order_id,
            self.instrument_id,
            self.side,
            self.quantity,
            self.order_type,
            self.limit_price,
            self.time_in_force,
            self.purpose,
            owner,
        )


@final
class CancelIntent(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A strategy wants an order of its own off the book."""

    client_order_id: str
    reason: str


Intent = OrderIntent | CancelIntent


@final
class SubmitOrder(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """An order for the venue; its id is derived from the intent, so a replay names it the same."""

    client_order_id: str
    instrument_id: InstrumentId
    side: Side
    quantity: Decimal
    order_type: OrderKind
    limit_price: Decimal | None
    time_in_force: TimeInForce
    purpose: Purpose
    owner: str = ""
    """Strategy that its fills belong to, where several share a desk."""

    @property
    def type_name(self) -> str:
        """Name of its type, as ``stop_limit``."""
        return self.order_type.name_with(self.limit_price)

    @property
    def trigger_price(self) -> Decimal | None:
        """Price that it waits for at the venue, currency per unit; None where it does not wait."""
        return self.order_type.trigger_price(None, self.side.sign)


@final
class CancelOrder(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A cancel for the venue."""

    client_order_id: str


REFUSED_BY = "refused_by"
"""Fact of a refusal: the rule, filter or setting that refused, the same at any figures."""


def without_figures(reason: str) -> str:
    """Return a reason with an ellipsis for each figure.

    >>> without_figures("edge -1,204.50 of 3 is below +0.5")
    'edge … of … is below …'
    """
    return re.sub(r"[-+−]?\d[\d,.]*", "…", reason)


RISK_GATE = "risk gate"
"""What refused a decision whose orders the checks on orders did not let go."""


def headline(reasons: Sequence[str], facts: Mapping[str, object]) -> str:
    """Return what a line says of a decision: its first reason, or what refused its orders.

    What was wanted comes after the refusal: read by itself it would pass for what was done.
    """
    if not reasons:
        return ""
    if facts.get(REFUSED_BY) != RISK_GATE or len(reasons) == 1:
        return reasons[0]
    return f"the {RISK_GATE} refuses {reasons[-1]}; wanted: {reasons[0]}"


def likeness(reasons: Sequence[str], facts: Mapping[str, object]) -> str:
    """Return what decisions that differ in their figures alone share: what refused them, else the words."""
    return str(facts.get(REFUSED_BY, without_figures(reasons[0]) if reasons else ""))


@final
class Decision(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """One thing decided, taken or skipped, with its reasons and the numbers behind it."""

    ts_ns: int
    kind: DecisionKind
    taken: bool
    reasons: tuple[str, ...]
    facts: dict[str, str | float | int]
    client_order_ids: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """What a line says of it: its first reason, or what refused its orders."""
        return headline(self.reasons, self.facts)

    @property
    def likeness(self) -> str:
        """What decisions that differ in their figures alone share."""
        return likeness(self.reasons, self.facts)

    @property
    def is_refused(self) -> bool:
        """Whether the risk gate let none of its orders go."""
        return self.facts.get(REFUSED_BY) == RISK_GATE

    @property
    def is_counted(self) -> bool:
        """Whether it counts as a trade: a hedge that only cancels an order does not."""
        return self.taken and (self.kind is not DecisionKind.HEDGE or bool(self.client_order_ids))


MARK_STATE = (
    "spot",
    "net_delta_shares",
    "gamma_shares_per_usd",
    "theta_usd_per_day",
    "vega_usd_per_point",
    "implied_vol",
)
"""Fields of a mark that are the state at its instant; its other figures are of the interval before it."""


@final
class Mark(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """State of the book at an instant and what moved its value since the mark before.

    Amounts of money are exact strings in the quote currency; the parts sum to ``nav_change``.
    """

    ts_ns: int
    nav: Decimal
    nav_change: Decimal
    parts: dict[str, Decimal]
    spot: float
    net_delta_shares: float
    gamma_shares_per_usd: float
    theta_usd_per_day: float
    vega_usd_per_point: float
    implied_vol: float
    """Mean of the held options by their size, a fraction a year of the variance clock, as realised volatility
    is; without those whose price determines none, 0 without any.
    """
    gamma_rent: float
    theta_paid: float
    """Gamma rent meter over the interval, in USD: ½Γ(dS² − S²σ²dt), and the theta paid."""


@final
class SetTimer(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The engine asks to be called at ``due_ns`` with a :class:`TimerEvent` of this name."""

    name: str
    due_ns: int


@final
class MultiLegOrder(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Several option orders that the venue fills together or not at all.

    Each leg is an order of its own to the desk, with its own id, fills and state.
    """

    client_order_id: str
    """Name of the whole at the venue; no event carries it."""
    legs: tuple[SubmitOrder, ...]
    """Two to four; their own limit prices are not looked at."""
    net_limit_price: Decimal | None
    """Currency per unit of one set: paid when above zero, received when below; None at the market."""
    time_in_force: TimeInForce = TimeInForce.DAY

    @property
    def sets(self) -> Decimal:
        """Number of sets: the largest quantity of which each leg is a whole multiple."""
        return sets_of_all([leg.quantity for leg in self.legs])


def sets_of_all(quantities: Sequence[Decimal]) -> Decimal:
    """Return the largest quantity of which each of these is a whole multiple."""
    exponents = [quantity.normalize().as_tuple().exponent for quantity in quantities]
    places = max([0, *(-int(exponent) for exponent in exponents)])
    return Decimal(gcd(*(int(quantity.scaleb(places)) for quantity in quantities))).scaleb(-places)


@final
class AskFolder(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """A strategy wants its folder's answer; it comes as :class:`scalpdesk.core.events.FolderAnswered`."""

    request: int
    """Counts from 1, and is 0 where it asks for needs; the answer names it."""
    events: tuple[str, ...]
    """Market events of protocol v1, each as JSON."""
    owner: str = ""
    """Strategy that asks, where several share a desk."""
    asks_needs: bool = False
    """Ask how the folder has to be shown the book so that it sees its hedge; the events are a sample of the
    market, and are not handed on.
    """


VenueCommand = SubmitOrder | CancelOrder | MultiLegOrder
"""Commands that a gateway carries to its venue."""
COMMANDS = frozenset(get_args(VenueCommand))
"""Its types; they are final, and looking one up costs a fifth of `isinstance`."""


def is_command(output: object) -> TypeGuard[VenueCommand]:
    """Return whether something is a command for a venue."""
    return type(output) in COMMANDS


Output = SubmitOrder | CancelOrder | Decision | Mark | SetTimer | MultiLegOrder | AskFolder
"""Tag 6 is used up: earlier builds had a change of an order there."""


def orders_of(output: Output) -> tuple[SubmitOrder, ...]:
    """Return the orders that an output sends: itself, the legs of a combo, or an empty tuple."""
    if isinstance(output, SubmitOrder):
        return (output,)
    return output.legs if isinstance(output, MultiLegOrder) else ()


_MODES = {mode.value: mode for mode in Mode}


def modes_in(outputs: Sequence[Output]) -> list[tuple[Mode, Decision]]:
    """Return each change of the desk's mode: the mode after it, and the decision that names it."""
    found = []
    for output in outputs:
        if type(output) is Decision and output.kind is DecisionKind.MODE and output.reasons:
            words = re.findall(r"\w+", output.reasons[0].partition(":")[0])
            named = [_MODES[word] for word in words if word in _MODES]
            if len(named) == 2 and "to" in words:
                found.append((named[1], output))
    return found


def acts_of(outputs: Sequence[Output]) -> list[object]:
    """Return what of an event's outputs counts outside the desk: what reaches the venue, and its mode.

    Orders by id, contract, side, quantity, type, price and time in force; no words and no facts.
    """
    acts: list[object] = []
    for output in outputs:
        if is_command(output):
            acts.append((output.client_order_id, type(output).__name__, *map(_sent, orders_of(output))))
            if type(output) is MultiLegOrder:
                acts.append(output.net_limit_price)
    return acts + [mode for mode, _ in modes_in(outputs)]


def _sent(order: SubmitOrder) -> tuple[object, ...]:
    terms = order.side, order.quantity, order.order_type, order.limit_price, order.time_in_force
    return (order.client_order_id, order.instrument_id, *terms)
