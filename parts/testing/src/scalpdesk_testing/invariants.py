"""Laws that hold at every event of a trial. Each law is one function with its number and name.

A law looks at the desk, at what is on its disk, and at the exchange's own truth, which the desk
itself never sees. It returns None, or in words what is wrong.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.events import (
    AccountSnapshot,
    Event,
    FillBusted,
    OrderFilled,
    OrderStatusUnknown,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import Mark, Output, Purpose, Side, SubmitOrder, orders_of
from scalpdesk.core.units import CENT, NANOS_PER_SECOND, InstrumentId, years_between
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.exchange import BrokerAccount, BrokerOrder, Status
from scalpdesk.instruments.postings import Origin
from scalpdesk.instruments.sessions import Session, expiry_instant_ns
from scalpdesk.orders.order import ALLOWED, TERMINAL, OrderState
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks
from scalpdesk_testing.market import CALL, SHARE, VOL_SECONDS
from scalpdesk_testing.small_desk import SMALL_PLAN, DeskPlan, MortalJournal

ZERO = Decimal(0)
BY_HAND = "by-hand-"
"""Begins the client order ids of somebody else's trades in the account."""
_FAR_DELTA_SHARES = 3.0
"""By which a mark's net delta may be off: quotes are rounded."""
ASSIGNED, _DELIVERED = "OPASN", "OPTRD"
"""Kinds of the lines of an assignment: the contracts, and the shares that it delivers."""
_LEG_PATIENCE_NS = 40 * NANOS_PER_SECOND
"""Longer than the strategy waits after rejections."""
_HALT_END_NS = 125 * NANOS_PER_SECOND
"""A halt whose end was missed ends with the first minute bar that began after it: two minutes at most."""
_HEDGE_PATIENCE_NS = 20 * NANOS_PER_SECOND
_DEADLINE_GRACE_NS = 60 * NANOS_PER_SECOND


class Violation(NamedTuple):
    """A law that did not hold."""

    seed: int
    invariant: str
    step: int
    detail: str

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON types."""
        return {"seed": self.seed, "invariant": self.invariant, "step": self.step, "detail": self.detail}


def _standing(vol: float) -> Callable[[int], float]:
    """Return a volatility that stands, by UTC nanoseconds."""
    return lambda _at_ns: vol


def _nearest_zero(nets: Sequence[float]) -> float:
    """Return the value of a range that is nearest to 0; the range is that of some values."""
    return 0.0 if min(nets) < 0.0 < max(nets) else min(nets, key=abs)


@dataclass
class Scene:
    """State that the laws look at, after an event was handled.

    ``engine``, ``journal``: The desk as it is now and its disk.
    ``account``: The truth: the exchange's own books of the account.
    ``session``: The session that is played.
    """

    engine: TradingEngine
    journal: MortalJournal
    account: BrokerAccount
    session: Session
    healed: Callable[[], bool]
    connected: Callable[[], bool]
    implied_vol: Callable[[int], float]
    """Volatility of the market by UTC nanoseconds, a fraction a year."""
    shown_ns: dict[InstrumentId, int] = field(default_factory=dict)
    """When the exchange made the last quote of an instrument, UTC nanoseconds."""
    off_feed: Callable[[], Collection[InstrumentId]] = tuple
    """Contracts that are quoted no more."""
    plan: DeskPlan = SMALL_PLAN
    cash_tolerance: Decimal = CENT
    """By which the desk's cash may differ from the venue's: what its messages round."""
    event: Event | None = None
    outputs: tuple[Output, ...] = ()
    states_before: dict[str, OrderState] = field(default_factory=dict)
    filled_before: dict[str, Decimal] = field(default_factory=dict)
    booked: dict[InstrumentId, Decimal] = field(default_factory=dict)
    """Units that came to the desk without an order of its own."""
    outside_since_ns: int | None = None
    uneven_since_ns: int | None = None
    open_at_venue: tuple[BrokerOrder, ...] = ()
    now_ns: int = 0
    share_seen_ns: int = 0
    """When the first quote of the share that came to the desk was made, UTC nanoseconds."""
    phase: str = ""
    """Phase of the strategy, after the event; of several, the phase that they share."""
    references: set[str] = field(default_factory=set)
    """References of bookings beside the desk's orders."""
    is_booked_twice: bool = False
    opened_vols: dict[InstrumentId, set[float]] = field(default_factory=dict)
    """Volatilities at which the venue's books show that options were opened, fractions a year."""
    held_at: dict[str, Decimal] = field(default_factory=dict)
    """By client order id: what the desk held of the instrument when it decided the order."""
    truth: tuple[object, ...] = ()
    """Holdings, cash and executions of the account, to see when it last moved."""
    truth_since_ns: int = 0
    has_fair_quotes: bool = True
    """Whether no quote is spoilt or missing."""
    execution_id: Callable[[str], str] = str
    """Returns the exchange's own id of an execution that the venue names so."""
    has_whole_stream: bool = False
    """Whether each execution reaches the desk under its own id: no line, venue or process fails."""
    has_stated_difference: bool = False
    """Whether the desk has named a difference without a cause: a person has to clear it."""
    has_jumped: bool = False
    """Whether the price jumps once by far more than the volatility has it."""
    left_as: set[str] = field(default_factory=set)
    """Beginnings of the ids of orders by which a start left that never saw the account."""
    excused: set[int] = field(default_factory=set)
    """Laws that a fault outside the desk's power suspends (a bust may leave a hedge naked for a moment)."""

    def net_delta_shares(self) -> float:
        """Net delta by the market's own volatility; the desk's prices play no part.

        That at each option's last quote, or that in force before it, whichever leaves less: a filtered
        volatility follows a jump by and by.
        """
        vol, earlier_ns = self.implied_vol, VOL_SECONDS * NANOS_PER_SECOND
        nets = [self._net_delta_at(vol), self._net_delta_at(lambda quoted_ns: vol(quoted_ns - earlier_ns))]
        return _nearest_zero(nets)

    def note_opened(self, number: InstrumentId, at_ns: int, mid: float, spot: float) -> None:
        """Keep the volatility of the venue's quote at which an option was opened, and those of just before.

        An entry begins with the volatility of its first look: its orders may fill somewhat later.
        """
        contract = self.engine.desk.instruments[number]
        assert contract.is_option
        years = years_between(at_ns, expiry_instant_ns(contract))
        terms = mid, spot, float(contract.strike), years, contract.is_call
        vol, status = implied_vol_scalar(*terms, american=False)
        earlier_ns = at_ns - VOL_SECONDS * NANOS_PER_SECOND
        found = [self.implied_vol(at_ns), self.implied_vol(earlier_ns), *((vol,) if status == "ok" else ())]
        self.opened_vols.setdefault(number, set()).update(found)

    def nearest_hedged_delta(self) -> float:
        """Return the net delta at the volatilities that hedges go by, the one nearest 0, shares.

        A desk that hedges at its entry's goes by those that the venue shows its options to have been opened
        at; any other, and one that took its options over, by the market's.
        """
        options = [each.instrument_id for each in self.engine.desk.positions.held()]
        is_known = all(number in self.opened_vols for number in options if number != SHARE)
        if not self.plan.is_hedged_to_the_middle or not is_known:
            return self.net_delta_shares()
        return _nearest_zero(self._bounds(self.opened_vols))

    def _bounds(self, vols_of: Mapping[InstrumentId, Collection[float]]) -> tuple[float, float]:
        """Return the least and the largest net delta with each option at one of its volatilities, shares."""
        desk = self.engine.desk
        low = high = float(desk.positions.quantity(SHARE))
        for position in desk.positions.held():
            if position.instrument_id in vols_of:
                vols = vols_of[position.instrument_id]
                deltas = [self._delta_and_vega(_standing(vol), {position.instrument_id})[0] for vol in vols]
                low, high = low + min(deltas), high + max(deltas)
        return low, high

    def _net_delta_at(self, vol_of: Callable[[int], float]) -> float:
        return self._delta_and_vega(vol_of)[0]

    def mark_is_off(self, mark: Mark) -> str | None:
        """Return which Greek of a mark is at no volatility of the market, where quotes tell it.

        After a leap that of before counts, too: the desk believes the third quote that shows another, of each
        leg alone.
        """
        if self._delta_by_old_quotes():
            return None
        earlier_ns = VOL_SECONDS * NANOS_PER_SECOND
        vols = self.implied_vol, lambda at_ns: self.implied_vol(at_ns - earlier_ns)
        positions = self.engine.desk.positions
        held = [{position.instrument_id} for position in positions.held()]
        legs = [[self._delta_and_vega(vol, only) for vol in vols] for only in held]
        shares = float(positions.quantity(SHARE))
        deltas = [shares + sum(end(delta for delta, _ in leg) for leg in legs) for end in (min, max)]
        vegas = [sum(end(vega for _, vega in leg) for leg in legs) for end in (min, max)]
        delta = sorted((*deltas, mark.net_delta_shares))[1]  # the mark's own where it lies between the two
        vega = sorted((*vegas, mark.vega_usd_per_point))[1]
        if abs(mark.net_delta_shares - delta) > max(0.05 * abs(delta), _FAR_DELTA_SHARES):
            return f"a mark's delta is {mark.net_delta_shares:+.1f}, outside {delta:+.1f} shares"
        gross = sum(
            max(abs(vega) for _, vega in leg) for leg in legs
        )  # legs offset, their quotes' rounding not
        if abs(mark.vega_usd_per_point - vega) > max(0.1 * abs(vega), 0.02 * gross) + 1.0:
            return f"a mark's vega is {mark.vega_usd_per_point:.2f}, outside {vega:.2f} a point"
        return None

    def _delta_and_vega(
        self, vol_of: Callable[[int], float], only: Collection[InstrumentId] | None = None
    ) -> tuple[float, float]:
        """Return net delta (shares) and vega (currency a volatility point) of what the desk holds.

        ``only`` of these options, and without the shares; None of all.
        """
        desk = self.engine.desk
        net, vega, spot = float(desk.positions.quantity(SHARE)), 0.0, desk.market.mark(SHARE)
        net = net if only is None else 0.0
        for position in desk.positions.held():
            contract = desk.instruments[position.instrument_id]
            is_asked = only is None or position.instrument_id in only
            if contract.is_option and spot is not None and is_asked:
                years = years_between(self.engine.now_ns, expiry_instant_ns(contract))
                quote = desk.market.quotes[position.instrument_id]
                quoted_ns = self.engine.now_ns if quote is None else quote.ts_event_ns
                # over TWS the desk has the time at which a standing quote arrived
                vol = vol_of(min(quoted_ns, self.shown_ns.get(position.instrument_id, quoted_ns)))
                terms = (spot, float(contract.strike), years, vol, contract.is_call, 0.0)
                greeks = option_greeks(*terms, american=False)
                units = float(position.quantity) * position.multiplier
                net += units * greeks.delta
                vega += units * greeks.vega / 100.0
        return net, vega

    def delta_bounds(self) -> tuple[float, float]:
        """Return the least and the largest net delta at the volatilities that the market has had, shares.

        The desk hedges at its entry's volatility, and what it held then was opened at one of them, or at that
        of a quote that the venue let stand: a contract that has left the feed trades at its last one.
        """
        vols, at_ns = set(), self.session.open_ns
        assert self.event is not None
        until_ns = max(self.now_ns, self.event.ts_event_ns)  # a clock that was set back is behind the market
        while at_ns <= until_ns:
            vols.add(self.implied_vol(at_ns))
            at_ns += VOL_SECONDS * NANOS_PER_SECOND
        nets = [self._net_delta_at(_standing(vol)) for vol in vols]
        if len(self.plan.legs) > 2:  # legs that do not offset one another: each at a volatility of its own
            nets += self._bounds(dict.fromkeys(self.plan.legs, vols))
        options = [each.instrument_id for each in self.engine.desk.positions.held()]
        if all(number in self.opened_vols for number in options if number != SHARE):
            nets += self._bounds(self.opened_vols)
        nets += self._delta_by_old_quotes()
        return min(nets), max(nets)

    def _delta_by_old_quotes(self) -> list[float]:
        """Return the net delta at what old quotes show at the spot of now; empty without any.

        Old are those made before the session, or before the desk first saw the share: it cannot know with
        which volatility they were made.
        """
        desk, spot = self.engine.desk, self.engine.desk.market.mark(SHARE)
        net, is_old = float(desk.positions.quantity(SHARE)), False
        for position in desk.positions.held():
            number, contract = position.instrument_id, desk.instruments[position.instrument_id]
            quote = desk.market.quotes[number]
            if not contract.is_option or quote is None or spot is None:
                continue
            vol = self.implied_vol(self.now_ns)
            made_ns = min(quote.ts_event_ns, self.shown_ns.get(number, quote.ts_event_ns))
            if made_ns < max(self.session.open_ns, self.share_seen_ns):
                years = years_between(self.now_ns, expiry_instant_ns(contract))
                terms = quote.mid, spot, float(contract.strike), years, contract.is_call
                shown, status = implied_vol_scalar(*terms, american=False)
                vol, is_old = (shown if status == "ok" else vol), True
            net += self._delta_and_vega(_standing(vol), {number})[0]
        return [net] if is_old else []

    def tolerance(self) -> Decimal:
        """Return by how much the desk's cash may differ from the venue's.

        The fees of an execution that was put together from several are rounded up once, the venue's each
        time.
        """
        orders = self.engine.desk.orders.orders.values()
        is_inferred = any("/" in name for order in orders for name in order.executions)
        charged = [each for each in self.account.executions if each.fee] if is_inferred else ()
        return self.cash_tolerance + CENT * len(charged)

    def note_decided(self) -> None:
        """Keep what the desk held when it decided its new orders."""
        desk = self.engine.desk
        for name, order in desk.orders.live.items():
            if name not in self.held_at:
                self.held_at[name] = desk.positions.quantity(order.submitted.instrument_id)

    def note_booked(self) -> None:
        """Follow what moves positions, and those that no order moves."""
        event = self.event
        if isinstance(event, PositionChanged):
            self.booked[event.instrument_id] = (
                self.booked.get(event.instrument_id, ZERO) + event.quantity_change
            )
            # a fee is reported again by each process; the cash shows whether it counted once
            self.is_booked_twice = event.cause != "fee" and event.reference in self.references
            self.references.add(event.reference)
            held = sum(line.instrument_id != SHARE for line in self.engine.desk.positions.held())
            trades = held or self.engine.desk.orders.live or self.phase not in ("entering", "waiting", "done")
            if not trades and event.cause == "manual_trade":
                self.excused.add(7)  # somebody else's trade beside a desk at rest is his to undo
        elif isinstance(event, AccountSnapshot):
            for line in event.positions:
                self.booked[line.instrument_id] = line.quantity

    def truth_of(self, name: str) -> BrokerOrder | None:
        """Return the venue's order behind one of the desk's; of a leg, the one in its combo there."""
        known, mine = self.account.by_client_id, self.engine.desk.orders.orders.get(name)
        if mine is None or not mine.parent_id:
            return known.get(name)
        combo, number = known.get(mine.parent_id), mine.submitted.instrument_id
        return next((leg for leg in combo.legs if leg.instrument_id == number), None) if combo else None

    def closed_by_venue(self, number: InstrumentId) -> Decimal:
        """Return the units that the venue closed by force, or by assignment, while an order was on its way.

        Of what came to the venue later than the desk looks at its account again, the desk has to know.
        """
        orders = [each for each in self.account.orders.values() if each.instrument_id == number]
        closed = [(each.filled_ns, each.filled) for each in orders if each.is_forced]
        symbol = self.engine.desk.instruments[number].symbol
        lines = [each for each in self.account.activities if (each.kind, each.symbol) == (ASSIGNED, symbol)]
        closed += [(each.ts_ns, abs(each.quantity)) for each in lines]
        own = [each for each in orders if not each.is_forced]
        crossed = (
            units
            for at_ns, units in closed
            if any(each.created_ns <= at_ns + _QUIET_NS and each.updated_ns >= at_ns for each in own)
        )
        return sum(crossed, ZERO)

    def has_intent(self, name: str) -> bool:
        """Return whether an order may be at the venue under a name of the desk.

        Its intent is on disk; of the last resort, which writes no journal, the name is that of such a start.
        """
        return name in self.journal.durable or self.is_last_resort(name)

    def is_last_resort(self, name: str) -> bool:
        """Return whether an order is one by which a start left that never saw the account."""
        return any(name.startswith(f"{each}-") for each in self.left_as)

    def sent_as(self, order: BrokerOrder) -> str:
        """Return the id that the desk sent an order under: of a leg its combo's."""
        sent = order if order.parent is None else self.account.orders[order.parent]
        return sent.client_order_id

    def name_of(self, order: BrokerOrder) -> str:
        """Return the desk's own id of an order at the venue, which knows a combo's legs by other ids."""
        name = self.sent_as(order)
        return name if order.parent is None else self.leg_name(name, order.instrument_id)

    def leg_name(self, combo: str, number: InstrumentId | None) -> str:
        """Return the desk's id of a combo's leg; the combo's own where the desk knows no leg."""
        orders = self.engine.desk.orders.orders.values()
        mine = (each for each in orders if each.parent_id == combo and each.submitted.instrument_id == number)
        return next((each.client_order_id for each in mine), combo)

    @property
    def submitted(self) -> list[SubmitOrder]:
        """Orders among the outputs."""
        return [order for output in self.outputs for order in orders_of(output)]


_Law = Callable[[Scene], str | None]


class _Invariant(NamedTuple):
    """A law with its number in the list of requirements; ``at_quotes`` when quotes can break it too.

    ``at_venue``: looked at as each request is answered, too.
    """

    number: int
    name: str
    law: _Law
    at_quotes: bool = False
    at_venue: bool = False


def no_order_without_intent(scene: Scene) -> str | None:
    """Everything at the venue under the desk's name is on the desk's disk."""
    for order in scene.account.by_client_id.values():
        name = scene.sent_as(order)
        if order.request.client_order_id is None or name.startswith(BY_HAND):
            continue  # the broker's own liquidation, or somebody else's hand
        if not scene.has_intent(name):
            return f"{order.side.value} {order.quantity} {order.request.symbol} {name} was never journaled"
    return None


def one_live_order_per_intent(scene: Scene) -> str | None:
    """The venue never works two orders for one want: beside one that the desk thinks over, another."""
    seen: set[tuple[InstrumentId | None, str]] = set()
    live = scene.engine.desk.orders.live
    # those that the desk counts as live are part of its exposure: the next one asks for the rest only, and
    # so does the last resort, whose orders the desk does not know
    names = {order.order_id: scene.name_of(order) for order in scene.open_at_venue}
    known = {each for each, name in names.items() if name in live or scene.is_last_resort(name)}
    hidden = [order for order in scene.open_at_venue if order.order_id not in known]
    for order in (*hidden, *(order for order in scene.open_at_venue if order not in hidden)):
        key = (order.instrument_id, order.side.value)
        if not hidden or key not in {(order.instrument_id, order.side.value) for order in hidden}:
            continue
        if key in seen:
            return f"two live orders: {order.side.value} {order.request.symbol}"
        seen.add(key)
    return None


def position_is_sum_of_fills(scene: Scene) -> str | None:
    """The desk holds the sum of its executions and bookings."""
    desk = scene.engine.desk
    sums = dict(scene.booked)
    for order in desk.orders.orders.values():
        if order.executions:
            number = order.submitted.instrument_id
            signed = sum((quantity for quantity, _ in order.executions.values()), ZERO)
            sums[number] = sums.get(number, ZERO) + signed * order.submitted.side.sign
    for number in map(InstrumentId, range(len(desk.instruments))):
        held = desk.positions.quantity(number)
        if held != sums.get(number, ZERO):
            return f"{desk.instruments[number].symbol}: holds {held}, fills give {sums.get(number, ZERO)}"
    return None


def worst_case_within_limits(scene: Scene) -> str | None:
    """Position plus everything that may still fill, at the venue itself, stays within the limits."""
    straddles = Decimal(scene.plan.most_straddles)
    # a straddle's delta lies between minus and plus its multiplier: the hedge never needs more
    shares = 100 * straddles
    bounds = {number: (sign, ZERO, straddles) for number, sign in scene.plan.legs.items()}
    # what an assignment delivers comes beside the hedge
    delivered = [line.quantity for line in scene.account.activities if line.kind == _DELIVERED]
    shares += sum(map(abs, delivered), ZERO)
    bounds[SHARE] = 1, -shares, shares
    for number, (sign, least, most) in bounds.items():  # what is sold is held the other way round
        held = sign * scene.account.quantity(number)
        low = high = held
        for order in scene.open_at_venue:
            if order.instrument_id == number:
                if sign * order.side.sign > 0:
                    high += order.leaves
                else:
                    low -= order.leaves
        # an exit may be left over when its entry is taken back, or on its way as the venue itself closes
        floor = -most if 11 in scene.excused else least - scene.closed_by_venue(number)
        if high > most:  # and an exit that is taken back returns what it closed, the broker's own too
            sales = [order for order in scene.account.by_client_id.values() if sign * order.side.sign < 0]
            high -= sum((order.busted for order in sales if order.instrument_id == number), ZERO)
        if (low < floor or high > most) and 4 not in scene.excused:
            symbol = scene.engine.desk.instruments[number].symbol
            return f"{symbol}: from {low} to {high} is possible, limits {least} to {most}"
    return None


def not_against_the_broker(scene: Scene) -> str | None:
    """No order of the desk's own is on the other side of what the broker closes."""
    forced = [order for order in scene.account.open_orders() if order.is_forced]
    for order in scene.open_at_venue:
        against = (
            other
            for other in forced
            if order.instrument_id == other.instrument_id and order.side is not other.side
        )
        if not order.is_forced and any(order.created_ns > other.created_ns for other in against):
            return f"{order.side.value} {order.quantity} {order.request.symbol} while the broker closes it"
    return None


def no_leg_alone(scene: Scene) -> str | None:
    """While a straddle is held, both legs are: half of one is a bet, not a hedge."""
    gate = scene.engine.desk.gate
    if scene.phase != "holding" or gate.mode == "HALTED":
        scene.uneven_since_ns = None
        return None
    positions = scene.engine.desk.positions
    held = {number: sign * positions.quantity(number) for number, sign in scene.plan.legs.items()}
    if len(set(held.values())) == 1:
        scene.uneven_since_ns = None
        return None
    since_ns = scene.uneven_since_ns = scene.uneven_since_ns or scene.now_ns
    return f"holds {held} sets of its legs" if scene.now_ns - since_ns > _LEG_PATIENCE_NS else None


def no_sold_leg_uncovered(scene: Scene) -> str | None:
    """The desk's own orders never leave a sold leg without its cover: bought first in, sold first out."""
    for sold, cover in scene.plan.covers.items():
        short = -scene.account.quantity(sold)
        left = scene.account.quantity(cover)
        for order in scene.open_at_venue:
            if order.parent is None and not order.is_forced and order.side is Side.SELL:
                short += order.leaves if order.instrument_id == sold else ZERO
                left -= order.leaves if order.instrument_id == cover else ZERO
        if short > max(left, ZERO) and short > 0 and not {4, 11} & scene.excused:
            symbol = scene.engine.desk.instruments[sold].symbol
            return f"{symbol}: {short} may be sold, and {left} cover it"
    return None


def no_new_risk_blindly(scene: Scene) -> str | None:
    """Opening needs a fresh quote, the mode ACTIVE and an open session; a hedge needs a fresh quote."""
    desk = scene.engine.desk
    for command in scene.submitted:
        quote = desk.market.quotes[command.instrument_id]
        plan = scene.plan
        is_share = command.instrument_id == SHARE
        limit = plan.stale_share_seconds if is_share else plan.stale_option_seconds
        age = float("inf") if quote is None else (scene.now_ns - quote.ts_recv_ns) / NANOS_PER_SECOND
        if command.purpose in (Purpose.OPEN, Purpose.HEDGE) and age > limit:
            return f"{command.purpose.value} on a quote {age:.1f} s old"
        if command.purpose is Purpose.OPEN and desk.gate.mode != "ACTIVE":
            return f"opens risk while {desk.gate.mode}"
        if desk.gate.mode == "HALTED":
            return "sends an order while halted"
        if not scene.session.open_ns <= scene.now_ns <= scene.session.close_ns:
            return "sends an order outside the session"
    return None


def hedge_is_alive(scene: Scene) -> str | None:
    """Outside the band for long, with fresh data and a line: an order works or a reason is stated."""
    event = scene.event
    if not isinstance(event, QuoteEvent) or event.instrument_id != SHARE or 6 in scene.excused:
        return None
    desk = scene.engine.desk
    number = scene.now_ns
    # the options need no fresh quotes: the model's delta serves
    fresh = desk.market.verdict(SHARE, number).value == "good"
    if any(number - since_ns < _HALT_END_NS for since_ns in desk.gate.halted.values()):
        fresh = False
    holding = scene.phase == "holding"
    if not (fresh and holding and desk.gate.mode == "ACTIVE" and scene.connected() and scene.healed()):
        scene.outside_since_ns = None
        return None
    net = scene.nearest_hedged_delta()
    works = bool(desk.orders.live_for(SHARE))
    # the band grows with the straddles that are held
    multiple = max(float(abs(desk.positions.quantity(CALL))) / scene.plan.config.straddles, 1.0)
    if works or abs(net) <= 1.5 * scene.plan.band_shares * multiple + 1.0:
        scene.outside_since_ns = None
        return None
    if scene.outside_since_ns is None:
        scene.outside_since_ns = number
    waited = number - scene.outside_since_ns
    if waited > _HEDGE_PATIENCE_NS:
        return f"net delta {net:.1f} for {waited / 1e9:.0f} s and nothing works"
    return None


def flat_at_the_deadline(scene: Scene) -> str | None:
    """A minute after the strategy's own deadline options and hedge are gone, at the venue itself."""
    minutes = scene.plan.config.exits.flat_minutes_before_close
    if minutes is None:
        return None
    deadline_ns = scene.session.close_ns - int(minutes * 60 * NANOS_PER_SECOND)
    if not deadline_ns + _DEADLINE_GRACE_NS < scene.now_ns < scene.session.close_ns:
        return None
    held = {number: scene.account.quantity(number) for number in (SHARE, *scene.plan.legs)}
    if not scene.healed():
        return None
    if scene.off_feed():  # without a quote there is no buyer: an exit of it works, and its hedge stays
        live = scene.engine.desk.orders.live_for
        # a difference that the desk has stated is a person's to clear
        if scene.has_stated_difference:
            return None
        known = scene.engine.desk.positions.quantity
        idle = [number for number in scene.off_feed() if held[number] and known(number) and not live(number)]
        return f"no exit of {idle[0]} works, which has left the feed" if idle else None
    left = ", ".join(f"{quantity:+f} of {number}" for number, quantity in held.items() if quantity)
    return f"still holds {left}" if left and 7 not in scene.excused else None


def explain_sums_to_nav(scene: Scene) -> str | None:
    """The parts of a mark add up to the change of the book's value, to the cent."""
    for output in scene.outputs:
        if isinstance(output, Mark):
            total = sum(output.parts.values(), ZERO)
            if abs(total - output.nav_change) > CENT:
                return f"parts {total}, change {output.nav_change}"
    return None


def executions_count_once(scene: Scene) -> str | None:
    """Cumulative quantity never exceeds the order, and FILLED means equal."""
    for order in scene.engine.desk.orders.orders.values():
        total = sum((quantity for quantity, _ in order.executions.values()), ZERO)
        if total != order.filled or total > order.submitted.quantity:
            return f"{order.client_order_id}: filled {order.filled}, executions {total}"
        if order.state is OrderState.WORKING and order.filled:
            return f"{order.client_order_id} counts as untouched, and {order.filled} of it is filled"
        if order.is_live and not order.busted and order.leaves + total != order.submitted.quantity:
            return f"{order.client_order_id}: {total} filled and {order.leaves} left"
        if order.state is OrderState.FILLED and total != order.submitted.quantity:
            return f"{order.client_order_id} is FILLED at {total} of {order.submitted.quantity}"
    event = scene.event
    if isinstance(event, OrderFilled) and event.client_order_id in scene.filled_before:
        order = scene.engine.desk.orders.orders[event.client_order_id]
        if order.filled < scene.filled_before[event.client_order_id]:
            return f"{event.client_order_id}: cumulative quantity fell"
    return None


def desk_never_ahead_of_venue(scene: Scene) -> str | None:
    """The desk books no execution that the venue does not have, and knows what the venue still works."""
    for name, order in scene.engine.desk.orders.orders.items():
        if not order.filled:
            continue
        truth = scene.truth_of(name)
        if truth is None:
            return f"{name}: {order.filled} booked of an order that the venue never had"
        if order.filled > truth.filled and 11 not in scene.excused:
            return f"{name}: {order.filled} booked, the venue filled {truth.filled}"
        is_same = order.is_live and truth.is_open and truth.filled == order.filled
        is_less = truth.quantity < order.submitted.quantity  # it came again for what was left to close
        if is_same and not is_less and order.leaves != truth.leaves and 11 not in scene.excused:
            return f"{name}: {order.leaves} left, the venue works {truth.leaves}"
    return None


def executions_are_the_venues(scene: Scene) -> str | None:
    """An execution is booked as the venue has it: its order, quantity and price; what stands stands."""
    event = scene.event
    if isinstance(event, FillBusted):
        name = scene.execution_id(event.execution_id)
        stands = any(known.execution_id == name for known in scene.account.executions)
        is_known = stands and 11 not in scene.excused  # of two equal trades the other one may be gone
        return f"{event.execution_id} is taken back, and stands at the venue" if is_known else None
    if not isinstance(event, OrderFilled):
        return None
    name = scene.execution_id(event.execution_id)
    truth = next((known for known in scene.account.executions if known.execution_id == name), None)
    if truth is None:  # put together from an order that the venue shows, until its executions are known
        is_needless = scene.has_whole_stream and "/" in event.execution_id
        return f"{event.execution_id} is put together, and no message was lost" if is_needless else None
    if (truth.quantity, truth.price) != (event.quantity, event.price):
        return f"{event.quantity} at {event.price} booked of {truth.quantity} at {truth.price}"
    return None


def bookings_are_the_venues(scene: Scene) -> str | None:
    """A booking beside the desk's own orders is in the venue's books, and counts once."""
    event = scene.event
    if not isinstance(event, PositionChanged):
        return None
    if scene.is_booked_twice:
        return f"{event.reference} is booked twice"
    if event.cause == "interest" and 14 not in scene.excused:
        return f"{event.cash_change} booked as interest; the venue pays none"
    name = event.reference.removeprefix(Origin.FOREIGN_FILL)
    if name != event.reference:
        name = scene.execution_id(name)
        fills = (line.execution for line in scene.account.activities)
        truth = next((known for known in fills if known is not None and known.execution_id == name), None)
        if truth is None:
            # what the venue took back or corrected since the desk's view of it is booked as it was seen
            missing = f"{event.quantity_change} booked for the trade {name}, which the venue does not have"
            return None if 14 in scene.excused else missing
        if truth.quantity * truth.side.sign != event.quantity_change:
            return f"{event.quantity_change} booked for a trade of {truth.quantity}"
    return None


_QUIET_NS = 45 * NANOS_PER_SECOND
"""Longer than from one look at the account to the next, and a second look to make sure."""


def equals_venue_when_quiet(scene: Scene) -> str | None:
    """With a line, no faults and an account at rest the desk's books are the venue's."""
    event, account = scene.event, scene.account
    if not isinstance(event, QuoteEvent) or event.instrument_id != SHARE or not scene.healed():
        return None
    truth = (
        account.cash,
        len(account.executions),
        tuple((number, held.quantity) for number, held in account.holdings.items()),
    )
    if truth != scene.truth or scene.open_at_venue or not scene.connected() or 3 in scene.excused:
        scene.truth, scene.truth_since_ns = truth, scene.now_ns
        return None
    if scene.now_ns - scene.truth_since_ns < _QUIET_NS:
        return None
    desk = scene.engine.desk
    for number in range(len(desk.instruments)):
        ours, theirs = (books.quantity(InstrumentId(number)) for books in (desk.positions, account))
        if ours != theirs:
            return f"{desk.instruments[InstrumentId(number)].symbol}: desk {ours}, venue {theirs}"
    if abs(desk.account.cash - account.cash) > scene.tolerance():
        return f"cash: desk {desk.account.cash}, venue {account.cash}"
    return None


def terminal_is_final(scene: Scene) -> str | None:
    """Orders move only along the edges; a transport error only doubts; REJECTED is the venue's word."""
    for name, before in scene.states_before.items():
        order = scene.engine.desk.orders.orders.get(name)
        if order is None or order.state is before:
            continue
        if order.state not in ALLOWED[before]:
            return f"{name} went from {before} to {order.state}"
        if before in TERMINAL and not isinstance(scene.event, OrderFilled | FillBusted):
            return f"{name} left {before} for {order.state} without an execution"
        doubted = isinstance(scene.event, OrderStatusUnknown) and scene.event.client_order_id == name
        if doubted and order.state is not OrderState.UNKNOWN:
            return f"{name}: a transport error made it {order.state}"
        if order.state is OrderState.REJECTED:
            truth = scene.truth_of(name)
            if truth is not None and truth.status is not Status.REJECTED:
                return f"{name} counts as rejected; at the venue it is {truth.status.value}"
    return None


def _never_there_is_never_there(scene: Scene) -> str | None:
    """An order that the desk ended as refused or never sent does not stand at the venue, then or later."""
    for name, order in scene.engine.desk.orders.orders.items():
        if order.state is OrderState.REJECTED:
            truth = scene.truth_of(name)
            if truth is not None and (truth.is_open or truth.filled):
                return f"{name} counts as never there; at the venue it is {truth.status.value}"
    return None


INVARIANTS: tuple[_Invariant, ...] = (
    _Invariant(1, "no_order_without_intent", no_order_without_intent, at_venue=True),
    _Invariant(2, "one_live_order_per_intent", one_live_order_per_intent, at_venue=True),
    _Invariant(3, "position_is_sum_of_fills", position_is_sum_of_fills),
    _Invariant(4, "worst_case_within_limits", worst_case_within_limits, at_venue=True),
    _Invariant(4, "no_sold_leg_uncovered", no_sold_leg_uncovered, at_venue=True),
    _Invariant(4, "not_against_the_broker", not_against_the_broker, at_venue=True),
    _Invariant(4, "no_leg_alone", no_leg_alone, at_quotes=True),
    _Invariant(5, "no_new_risk_blindly", no_new_risk_blindly, at_quotes=True),
    _Invariant(6, "hedge_is_alive", hedge_is_alive, at_quotes=True),
    _Invariant(7, "flat_at_the_deadline", flat_at_the_deadline, at_quotes=True),
    _Invariant(8, "explain_sums_to_nav", explain_sums_to_nav, at_quotes=True),
    _Invariant(11, "executions_count_once", executions_count_once),
    _Invariant(11, "desk_never_ahead_of_venue", desk_never_ahead_of_venue),
    _Invariant(3, "equals_venue_when_quiet", equals_venue_when_quiet, at_quotes=True),
    _Invariant(11, "executions_are_the_venues", executions_are_the_venues),
    _Invariant(14, "bookings_are_the_venues", bookings_are_the_venues),
    _Invariant(13, "terminal_is_final", terminal_is_final),
    _Invariant(13, "never_there", _never_there_is_never_there, at_venue=True),
)
"""Checked after every event; those that quotes cannot break are left out after quotes without outputs."""


def broken(scene: Scene, seed: int, step: int) -> list[Violation]:
    """Return the laws that do not hold now."""
    is_plain_quote = isinstance(scene.event, QuoteEvent) and not scene.outputs
    found = []
    for invariant in INVARIANTS:
        if is_plain_quote and not invariant.at_quotes:
            continue
        why = invariant.law(scene)
        if why is not None:
            found.append(Violation(seed, f"{invariant.number} {invariant.name}", step, why))
    return found
