"""What a strategy wants to hold, pursued order by order: an entry, another size or other legs, an exit.

The plan is that of `scalpdesk.closing.plan`; here are the words, the timers and the records around it.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import partial

from scalpdesk.closing.leg import Sight, Tactics, Tried
from scalpdesk.closing.plan import Memory, Plan, Target, TargetLine, World, plan
from scalpdesk.closing.worth import LegLeft
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.intents import LegOrders, OrderIntent, Purpose, SetTimer
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.instruments.deadlines import must_go_now
from scalpdesk.instruments.structure import Structure
from scalpdesk.marketdata.quotes import TRADABLE, QuoteVerdict
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.order_life import has_rejected_combo

_COVER_FIRST = "leg by leg: those that were sold are bought back before what covers them is sold"


def sight_of(view: DeskView, number: InstrumentId) -> Sight:
    """Return an instrument as a strategy sees it now."""
    contract, quote, now_ns = view.instruments[number], view.market.quotes[number], view.now_ns
    verdict = view.market.verdict(number, now_ns)
    shows_no_price = contract.is_option and quote is not None and view.market.is_stub(quote)
    return Sight(
        now_ns,
        contract,
        quote,
        view.market.mark(view.instruments.id_of(underlying_of(contract))),
        is_fine=verdict in TRADABLE and not shows_no_price,
        has_no_bid=contract.is_option and quote is not None and not (quote.bid > 0 or shows_no_price),
        is_halted=view.is_halted(number),
        is_unquoted=contract.is_option and (verdict is QuoteVerdict.STALE or shows_no_price),
        shows_no_price=shows_no_price,
        must_go=contract.is_option
        and (view.mode is Mode.FLATTENING or must_go_now(contract, view.session, now_ns)),
        model=partial(_model, view, number),
        cutoff=view.cutoff,
    )


def _model(view: DeskView, number: InstrumentId) -> tuple[float, float] | None:
    contract, valuation = view.instruments[number], view.delta_engine.state(number, view.now_ns)
    if valuation is None or not contract.is_option:
        return None
    # at the volatility of the marks: the risk gate holds the limit against the mark
    return valuation.mark if valuation.is_modelled else valuation.greeks_at(
        valuation.own_vol
    ).price, contract.payoff(valuation.spot)


class Pursuit:
    """Plans on, from what was tried so far.

    ``tactics``: How orders are tried.
    ``timer``: Name of the timer of the next attempt; none is set without a name.
    ``leg_orders``: Whether legs may go as one order; after one that the venue rejected each goes on its own.
    ``step``: What an exit does, in words; empty where the reason says enough.
    ``name``: What the structure is called.
    """

    def __init__(
        self,
        tactics: Tactics,
        *,
        timer: str = "",
        leg_orders: LegOrders = LegOrders.LEGS,
        step: str = "",
        name: str = "",
    ) -> None:
        self._tactics = tactics
        self._timer = timer
        self._leg_orders = leg_orders
        self._step = step
        self._name = name
        self.ratios: Mapping[InstrumentId, int] = {}
        """Contracts of one set by option, where it is about a structure."""
        self.why = ""
        self.since_ns: int | None = None
        """When it began; None before."""
        self._mid_until_ns = 0
        self._memory: Memory = {}
        self._began: dict[InstrumentId, tuple[Decimal, Decimal]] = {}
        """Signed contracts of each option, and the cash of its trades, when it was first pursued."""
        self._waiting: set[frozenset[tuple[str, InstrumentId]]] = set()
        """Legs of sets that wait for better quotes, as last told."""

    def begin(self, now_ns: int, why: str, *, rest_seconds: float = 0.0) -> None:
        """Begin; a second reason changes nothing.

        With ``rest_seconds`` the first order rests at the mid for as long, or walks from it: for what can
        wait.
        """
        if self.since_ns is None:
            self.since_ns = now_ns
            self.why = why
            self._mid_until_ns = now_ns + int(rest_seconds * NANOS_PER_SECOND)

    def tried(self, number: InstrumentId) -> Tried:
        """Return what was tried at an instrument."""
        return self._memory.get(("", number), Tried())

    def plan(
        self,
        view: DeskView,
        lines: Sequence[TargetLine],
        orders: Iterable[Order],
        *,
        keeps_hedge: bool = True,
    ) -> Plan:
        """Return what is due of some lines; ``orders`` may be taken off."""
        known, legs = view.orders.orders, [line.instrument_id for line in lines]
        leg_orders = self._leg_orders
        if leg_orders is not LegOrders.LEGS and has_rejected_combo(view, legs):
            leg_orders = LegOrders.LEGS
        target = Target(
            lines,
            self._tactics,
            self.why,
            self._name,
            self.ratios,
            leg_orders,
            since_ns=self.since_ns or 0,
            mid_until_ns=self._mid_until_ns,
            may_open=view.mode is Mode.ACTIVE,
            is_hurried=view.mode is Mode.FLATTENING,
            keeps_hedge=keeps_hedge,
        )
        world = World(
            view.now_ns,
            view.instruments,
            partial(sight_of, view),
            tuple(orders),
            lambda number, at_ns: any(
                order.created_ns == at_ns and order.submitted.instrument_id == number
                for order in reversed([*known.values()])  # the last try is among the last orders
            ),
            self._left(view, lines),
        )
        found = plan(target, world, self._memory)
        self._memory = found.memory
        return found

    def _left(self, view: DeskView, lines: Sequence[TargetLine]) -> tuple[LegLeft, ...]:
        """Return what has gone of the options since they were first pursued."""
        for line in lines:
            number, now = line.instrument_id, _traded(view, line.instrument_id)
            held, _ = self._began.get(number, (ZERO, ZERO))
            if view.instruments[number].is_option and (held * now[0] <= 0 or abs(now[0]) > abs(held)):
                self._began[number] = now  # bought or sold late, after the exit began
        found = list[LegLeft]()
        for number, (held, cash) in self._began.items():
            quantity, cash_now = _traded(view, number)
            if gone := held - quantity:
                found.append(LegLeft("", number, gone, cash_now - cash))
        return tuple(found)

    def exits(self, view: DeskView, found: Plan, facts: Facts) -> list[Action]:
        """Return the cancels and orders of a plan that close, as decisions."""
        tactics, actions = self._tactics, list[Action]()
        cancels = tuple(one for one in found.cancels if one.reason in (tactics.off, tactics.late))
        if cancels:
            reasons = (self.why, "take back what is in the way of the exit")
            actions.append(Proposal(DecisionKind.EXIT, reasons, {}, cancels))
        leg_orders = self._leg_orders if found.goes_as_one else LegOrders.LEGS
        look, is_hurried = partial(sight_of, view), view.mode is Mode.FLATTENING
        waiting = () if is_hurried else found.excesses
        for each in waiting:
            if each.legs not in self._waiting:
                reasons = self.why, each.words(look, is_sent=False)
                actions.append(Proposal(DecisionKind.EXIT, reasons, facts))
        self._waiting = {each.legs for each in waiting} if waiting else self._waiting
        costs = (each.words(look, is_sent=True) for each in found.excesses if is_hurried and each.amount)
        step = (self._step, _COVER_FIRST if found.is_held_back and not waiting else "", *costs)
        for purpose, steps in ((Purpose.CLOSE, step), (Purpose.UNWIND_HEDGE, ("unwind the hedge",))):
            orders = tuple(order for order in found.orders if order.purpose is purpose)
            if orders:
                figures = {**facts, **dict(self._figure(view, order) for order in orders)}
                terms = tuple(filter(None, (self.why, *steps))), figures, orders
                actions.append(Proposal(DecisionKind.EXIT, *terms, all_or_none=False, leg_orders=leg_orders))
        return actions

    def _figure(self, view: DeskView, order: OrderIntent) -> tuple[str, int]:
        number = order.instrument_id
        if order.purpose is Purpose.UNWIND_HEDGE:
            return "owned_shares", int(view.positions.quantity(number))
        return f"try_{view.instruments[number].symbol}", self.tried(number).tries


def _traded(view: DeskView, number: InstrumentId) -> tuple[Decimal, Decimal]:
    """Return the signed contracts that are held of an option, and the cash that its trades have brought."""
    position = view.positions.positions.get(number)
    if position is None:
        return ZERO, ZERO
    return position.quantity, position.realized - position.cost


class MoveStatus(StrEnum):
    """State of a move."""

    WORKING = "working"
    DONE = "done"
    GIVEN_UP = "given up"
    """As many attempts as allowed, and a leg is still missing."""


class Move(Pursuit):
    """Brings legs of a trade to what is wanted of them.

    ``structure``, ``sets``: What is wanted in the end.
    ``gone``: Legs of which nothing is wanted.
    ``tactics``, ``timer``, ``leg_orders``, ``name``: As of a pursuit.
    ``rest_seconds``: So long what opens walks from the mid.
    """

    def __init__(
        self,
        structure: Structure,
        sets: int,
        gone: Sequence[InstrumentId],
        tactics: Tactics,
        *,
        rest_seconds: float,
        timer: str,
        leg_orders: LegOrders,
        name: str,
    ) -> None:
        super().__init__(tactics, timer=timer, leg_orders=leg_orders, name=name)
        self.structure = structure
        self.sets = sets
        self._gone = gone
        self._rest_seconds = rest_seconds
        self.ratios = structure.ratios
        self._told: tuple[tuple[str, ...], Facts] | None = None
        """Reasons and figures of the first order that opens."""
        self._mids: dict[InstrumentId, float] = {}
        """Mid of each leg when an entry that walks began."""

    @property
    def wanted(self) -> dict[InstrumentId, int]:
        """Contracts of each leg in the end, signed."""
        return dict.fromkeys(self._gone, 0) | {leg: self.sets * ratio for leg, ratio in self.ratios.items()}

    def start(self, view: DeskView, reasons: tuple[str, ...], facts: Facts) -> list[Action]:
        """Begin; return the first orders."""
        self.begin(view.now_ns, reasons[0], rest_seconds=self._rest_seconds)
        if self._rest_seconds:
            quotes = [view.market.quotes[leg] for leg in self.ratios]
            self._mids = {quote.instrument_id: quote.mid for quote in quotes if quote is not None}
        self._told = reasons, facts
        return self._orders(view, facts)[1]

    def step(self, view: DeskView) -> tuple[MoveStatus, list[Action]]:
        """Return the next orders until what is wanted is held."""
        quantity = view.positions.quantity
        if all(quantity(leg) == units for leg, units in self.wanted.items()):
            return MoveStatus.DONE, self._saved(view)
        return self._orders(view, {})

    def end_at(self, view: DeskView, why: str, sets: int) -> None:
        """Want no more than so many sets: what is held of a leg beyond them goes."""
        self.sets, self.since_ns, self._memory, self._began = sets, None, {}, {}
        self.begin(view.now_ns, why)

    def note_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Reduce an entry to the sets that the risk gate passed, unless it cut another order."""
        opened = [order.instrument_id for order in sent if order.purpose is Purpose.OPEN]
        legs = [leg for leg in opened if leg in self.ratios]
        if legs:
            self.sets = min(int(view.exposure(leg) / self.ratios[leg]) for leg in legs)

    def _orders(self, view: DeskView, facts: Facts) -> tuple[MoveStatus, list[Action]]:
        lines = [
            TargetLine("", leg, view.positions.quantity(leg), Decimal(units))
            for leg, units in self.wanted.items()
        ]
        live = [order for order in view.orders.live.values() if order.submitted.instrument_id in self.wanted]
        found = self.plan(view, lines, live)
        actions = self.exits(view, found, facts)
        late = tuple(
            one for one in found.cancels if one.reason not in (self._tactics.off, self._tactics.late)
        )
        if late:
            again = ("leg not filled in time: price it again",)
            actions.append(Proposal(DecisionKind.ENTRY, again, {}, late))
        opening = tuple(order for order in found.orders if order.purpose is Purpose.OPEN)
        if opening:
            tries = max(self.tried(order.instrument_id).tries for order in opening)
            reasons, facts = self._told or ((f"complete the {self._name}",), {"attempt": tries - 1})
            leg_orders, self._told = self._leg_orders if found.goes_as_one else LegOrders.LEGS, None
            actions.append(Proposal(DecisionKind.ENTRY, reasons, facts, opening, leg_orders=leg_orders))
            if self._timer:
                actions.append(SetTimer(self._timer, min(found.due_ns)))
        return MoveStatus.GIVEN_UP if found.is_given_up else MoveStatus.WORKING, actions

    def _saved(self, view: DeskView) -> list[Action]:
        """Report how far below the present ask the legs were bought, and how far their mids have moved."""
        structure = self.structure
        if len(self._mids) < len(structure.legs):
            return []
        saved = moved = 0.0
        for leg, contract, ratio in structure.legs:
            quote, position = view.market.quotes[leg], view.positions.positions[leg]
            if quote is None:
                return []
            units = self.sets * ratio * contract.multiplier
            far = quote.ask if ratio > 0 else quote.bid
            saved += units * (far - float(position.average_price))
            moved += units * (quote.mid - self._mids[leg])
        why = f"bought {saved:+.2f} below the ask of now; the mid has moved {moved:+.2f} since the decision"
        attempts = max(self.tried(leg).tries for leg in structure.option_ids) - 1
        facts: Facts = {"saved_usd": saved, "moved_usd": moved, "attempts": attempts}
        return [Proposal(DecisionKind.ENTRY, (why,), facts)]
