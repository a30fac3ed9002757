"""Entry into a position of several legs by limit orders with new prices until all are filled.

The first orders are at the ask, or, where a walk is asked for, at the mid; each later one is a step nearer to
the ask then.
"""

from collections.abc import Sequence
from enum import StrEnum

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import LegOrders, OrderIntent, OrderType, Purpose, SetTimer, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, exact
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.entry.straddle_selector import Candidate
from scalpdesk.instruments.structure import Structure
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.order_life import expired_orders, has_rejected_combo

ABANDONED = "entry abandoned"
"""Begins the reason of an entry that was given up."""
AGAIN_IN = "again_in_seconds"
"""Fact of an entry that was given up: when the next one is looked for."""

STRADDLE_DELTA = "straddle_delta_of_100"
"""Fact of a decision to buy a straddle: its delta, shares of 100."""


class EntryStatus(StrEnum):
    """State of an entry."""

    WORKING = "working"
    FILLED = "filled"
    ABANDONED = "abandoned"
    """As many attempts as allowed, and a leg is still missing."""


class LegEntry:
    """Opens sets of a structure, each leg at the far side or walking there from the mid.

    Parameters
    ----------
    structure, sets
        The legs, and the sets to hold in the end.
    ttl_seconds
        Age at which an order that is not filled is cancelled and gets a new price.
    max_attempts
        Orders at the ask after the first that may be tried.
    timer
        Name of a timer; with one, attempts are ``ttl_seconds`` apart.
    leg_orders
        Whether the legs may go as one order; after one that the venue rejected each goes on its own.
    walk_steps
        Steps of ``ttl_seconds`` from the mid to the far side; 0 begins there.
    name
        What the structure is called.
    """

    def __init__(
        self,
        structure: Structure,
        sets: int,
        *,
        ttl_seconds: float,
        max_attempts: int,
        timer: str = "",
        leg_orders: LegOrders = LegOrders.LEGS,
        walk_steps: int = 0,
        name: str = STRADDLE.name,
    ) -> None:
        self._name = name
        self.structure = structure
        self.legs = structure.option_ids
        self.sets = sets
        self.attempts = 0
        self._ttl_seconds = ttl_seconds
        self._max_attempts = max_attempts + walk_steps
        self._walk_steps = walk_steps
        self._mids: dict[InstrumentId, float] = {}
        """Mid of each leg when the entry began."""
        self._timer = timer
        self._leg_orders = leg_orders
        self._not_before_ns = 0

    def begin(self, view: DeskView, proposal: Proposal) -> list[Action]:
        """Return the proposal with the first orders of all legs."""
        quotes = [view.market.quotes[leg] for leg in self.legs]
        self._mids = {quote.instrument_id: quote.mid for quote in quotes if quote is not None}
        return self._sent(view, proposal.kind, proposal.reasons, proposal.facts, self._missing(view))

    def step(self, view: DeskView) -> tuple[EntryStatus, list[Action]]:
        """Follow the orders: filled, working, too old, or wanted again at the current ask."""
        if self.structure.sets_held(view.positions.quantity) >= self.sets:
            return EntryStatus.FILLED, self._saved(view)
        late = expired_orders(view, self.legs, self._ttl_seconds)
        if late:
            return EntryStatus.WORKING, [
                Proposal(DecisionKind.ENTRY, ("leg not filled in time: price it again",), {}, late)
            ]
        if any(view.orders.live_for(leg) for leg in self.legs) or view.now_ns < self._not_before_ns:
            return EntryStatus.WORKING, []
        if self.attempts >= self._max_attempts:
            return EntryStatus.ABANDONED, []
        self.attempts += 1
        if has_rejected_combo(view, self.legs):
            self._leg_orders = LegOrders.LEGS
        intents = self._missing(view)
        if not intents:
            return EntryStatus.WORKING, []
        facts: Facts = {"attempt": self.attempts}
        return EntryStatus.WORKING, self._sent(
            view, DecisionKind.ENTRY, (f"complete the {self._name}",), facts, intents
        )

    def note_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Reduce the entry to the sets that the risk gate passed, unless it cut another order."""
        ratios = self.structure.ratios
        opened = [order.instrument_id for order in sent if order.purpose is Purpose.OPEN]
        legs = [leg for leg in opened if leg in ratios]
        if legs:
            self.sets = min(int(view.exposure(leg) / ratios[leg]) for leg in legs)

    def _missing(self, view: DeskView) -> tuple[OrderIntent, ...]:
        """Return orders for what is neither held nor ordered of each leg; on their own, bought legs first."""
        intents = []
        held, waits = self.structure.missing(self.sets, view.positions.quantity), False
        if self._leg_orders is LegOrders.LEGS:
            waits = any(held[leg] > 0 for leg, _, ratio in self.structure.legs if ratio > 0)
        missing_of = self.structure.missing(self.sets, view.exposure)
        for leg, _, ratio in self.structure.legs:
            missing, quote = missing_of[leg], view.market.quotes[leg]
            if missing * ratio <= 0 or quote is None or (waits and ratio < 0):
                continue
            is_bought = missing > 0
            far = quote.ask if is_bought else quote.bid
            if not far > 0:
                continue
            price, side = exact(far), "ask" if is_bought else "bid"
            why = f"{self._name} leg at the {side}"
            if self.attempts < self._walk_steps and quote.bid > 0:
                left = 1.0 - self.attempts / self._walk_steps
                to_mid = 0.5 * left * (quote.ask - quote.bid)
                wanted = exact(far - to_mid if is_bought else far + to_mid, 8)
                price = view.instruments[leg].tick_rule.round(wanted, "down" if is_bought else "up")
                steps = f"step {self.attempts} of {self._walk_steps}"
                why = f"{self._name} leg, {steps} from the mid to the {side}"
            traded = Side.BUY if is_bought else Side.SELL
            intents.append(OrderIntent(leg, traded, abs(missing), Purpose.OPEN, why, OrderType.LIMIT, price))
        return tuple(intents)

    def _saved(self, view: DeskView) -> list[Action]:
        """Report how far below the present ask the legs were bought, and how far their mids have moved."""
        if not self._walk_steps or len(self._mids) < len(self.legs):
            return []
        saved = moved = 0.0
        for leg, contract, ratio in self.structure.legs:
            quote, position = view.market.quotes[leg], view.positions.positions[leg]
            if quote is None:
                return []
            units = self.sets * ratio * contract.multiplier
            far = quote.ask if ratio > 0 else quote.bid
            saved += units * (far - float(position.average_price))
            moved += units * (quote.mid - self._mids[leg])
        why = f"bought {saved:+.2f} below the ask of now; the mid has moved {moved:+.2f} since the decision"
        facts: Facts = {"saved_usd": saved, "moved_usd": moved, "attempts": self.attempts}
        return [Proposal(DecisionKind.ENTRY, (why,), facts)]

    def _sent(
        self,
        view: DeskView,
        kind: DecisionKind,
        reasons: tuple[str, ...],
        facts: Facts,
        intents: tuple[OrderIntent, ...],
    ) -> list[Action]:
        ratios = self.structure.ratios
        is_whole = len({order.quantity / abs(ratios[order.instrument_id]) for order in intents}) == 1
        leg_orders = self._leg_orders if is_whole and len(intents) == len(ratios) else LegOrders.LEGS
        actions: list[Action] = [Proposal(kind, reasons, facts, intents, leg_orders=leg_orders)]
        if self._timer:
            self._not_before_ns = view.now_ns + int(self._ttl_seconds * NANOS_PER_SECOND)
            actions.append(SetTimer(self._timer, self._not_before_ns))
        return actions


def entry_facts(best: Candidate, spot: float) -> Facts:
    """Return the figures behind the choice of a structure; prices in currency per unit."""
    structure = best.structure
    legs: Facts = {"legs": str(structure)}
    if structure.is_straddle:
        legs = {name: leg.contract.symbol for name, leg in zip(("call", "put"), structure.legs, strict=True)}
    return {
        "spot": spot,
        "strike": float(structure.lead.contract.strike),
        "forward": best.forward,
        STRADDLE_DELTA: 100.0 * best.delta,
        "expiry": structure.first_expiry.isoformat(),
        **legs,
        "implied_vol": best.vol,
        "breakeven_move_usd": best.score.breakeven_move or 0.0,
        "spread_usd_per_unit": best.spread,
    }
