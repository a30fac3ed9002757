"""Legs of the explain: each position that is held, from its anchor, and its moves from mark to mark."""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from types import MappingProxyType

from msgspec import structs

from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instrument, Instruments
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine, OptionState
from scalpdesk.portfolio.interval import NO_LEG_PARTS, LegParts, LegSnapshot, explain
from scalpdesk.portfolio.move_meter import MOST_ASSUMED, GammaMeter, paid_a_share
from scalpdesk.portfolio.positions import Account, Position, PositionManager

COIN_DECIMALS = 12
"""Decimals of an amount in coin, where an amount in dollars has six."""
LONG_GAP_NS = 30 * 60 * NANOS_PER_SECOND
"""Without a quote for longer, what a leg's volatility did is mark noise, not vega."""
_ANCHOR_NS = 300 * NANOS_PER_SECOND
_LAST_ANCHOR_NS = 60 * NANOS_PER_SECOND
"""Wall-clock grid of the anchors, and the finer one in the last hours of a held expiry."""


class Marked(FrozenLeaf, frozen=True, gc=False):
    """Worth of an instrument at an instant."""

    mark: float | None
    """Currency per unit; None before a quote."""
    valuation: OptionState | None = None
    """None but for an option, and while it is not valued."""


Marks = Mapping[InstrumentId, Marked]
NO_MARKS: Marks = MappingProxyType({})


class HeldLeg(Leaf, gc=False):
    """Position since its anchor, and what of the interval was shown."""

    start: LegSnapshot
    underlying: InstrumentId
    """Underlying that its anchors are of; of a hedge in another's place that one."""
    is_lost: bool = False
    """Whether it has had no quote for long; see :data:`LONG_GAP_NS`."""
    is_forward_assumed: bool = False
    """Whether its state stands on the configured yield, as no quotes have shown the market's yet."""
    shown: LegParts = NO_LEG_PARTS
    final: LegParts | None = None
    """Parts since its anchor, once it has been delivered."""
    assumed: tuple[tuple[LegSnapshot, LegSnapshot, LegParts], ...] = ()
    """Its earlier intervals on the configured yield: start, end and parts."""
    corrected: LegParts = NO_LEG_PARTS
    """Correction of those parts to the yield that quotes have shown since."""


class AnchorSession(Leaf, gc=False):
    """Session of the marks: its opening, and the night before it."""

    opens: bool = False
    """Whether its first mark is still to come."""
    is_overnight: bool = False
    """Whether the interval up to the next mark began before it."""
    opened_ns: int = 0
    opened_before_ns: int = 0
    """First mark of this session, and of the one before it."""
    closed_ns: int = 0
    """The last close."""

    def open(self, now_ns: int) -> None:
        """Note the first mark."""
        self.opens, self.opened_before_ns, self.opened_ns = False, self.opened_ns, now_ns

    def is_long_lost(self, since_ns: int, now_ns: int) -> bool:
        """Return whether what was shown at ``since_ns`` is lost for longer than half an hour or a night."""
        if since_ns < self.opened_ns:
            return now_ns - self.opened_ns > _ANCHOR_NS or since_ns < self.opened_before_ns
        return now_ns - since_ns > LONG_GAP_NS


class _AnchorOwners(dict[InstrumentId, InstrumentId]):
    """Underlyings whose anchors are an instrument's, by its id."""

    def __init__(self, instruments: Instruments, delta_engine: DeltaEngine) -> None:
        super().__init__()
        self._instruments, self._delta_engine = instruments, delta_engine

    def __missing__(self, number: InstrumentId) -> InstrumentId:
        """Find an instrument's once."""
        instrument, proxy = self._instruments.by_id[number], self._delta_engine.proxies.get(number)
        found = number if proxy is None else proxy.underlying_id
        if instrument.is_option:
            found = self._instruments.id_of(instrument.underlying)
        self[number] = found
        return found


class HeldLegs:
    """Positions of an account, each with its anchor.

    Market, valuation, account and positions it only reads; ``meter`` measures the gamma that they hold.
    """

    def __init__(
        self,
        state: MarketState,
        delta_engine: DeltaEngine,
        account: Account,
        positions: PositionManager,
        meter: GammaMeter,
    ) -> None:
        self._state, self._delta_engine = state, delta_engine
        self._account, self._positions = account, positions
        self.meter = meter
        self.held: dict[InstrumentId, HeldLeg] = {}
        self._ended: list[HeldLeg] = []
        """Legs that were delivered since the last mark."""
        self._anchors: dict[InstrumentId, int] = {}
        """When the interval of what is held began, by its underlying; UTC nanoseconds."""
        self.owners = _AnchorOwners(positions.instruments, delta_engine)
        self.session = AnchorSession()
        self.has_guesses = False
        """Whether a leg may stand on the configured yield: spares the question at most marks."""

    def open_session(self) -> None:
        """Count the interval up to the next mark as overnight."""
        self.session.is_overnight, self.session.opens = bool(self.held), True

    def as_of(self, own: InstrumentId, now_ns: int) -> int:
        """Return the instant of what is held on the underlying ``own``, UTC nanoseconds.

        That of the close, up to the next opening or an earlier quote or corporate action. What is assigned in
        a night is known by then: the last price is one of the evening, and no dividend has left it yet.
        """
        closed_ns, state = self.session.closed_ns, self._state
        if state.opened_ns >= closed_ns:
            return now_ns
        quote = state.quotes[own]
        if quote is None or quote.ts_recv_ns > closed_ns or state.is_carried_since(own, closed_ns):
            return now_ns
        return min(closed_ns, now_ns)

    def mark_of(self, number: InstrumentId, instrument: Instrument, now_ns: int) -> Marked:
        """Return the mark of one unit and, of an option, its valuation."""
        mark = self._delta_engine.mark(number)
        if not instrument.is_option:
            return Marked(mark)
        return Marked(mark, self._delta_engine.state(number, self.as_of(self.owners[number], now_ns)))

    def fair(self, number: InstrumentId, instrument: Instrument, now_ns: int) -> Decimal | None:
        """Return an inverse option's mark carried to the spot of now; None while it has no volatility.

        A trade's cost is measured from it: the quote is often older than the spot.
        """
        valuation, leg = self.mark_of(number, instrument, now_ns).valuation, self.held.get(number)
        if (
            valuation is None
            or valuation.is_modelled
            or valuation.years <= 0.0
            or not valuation.own_vol > 0.0
        ):
            return None
        vol, state = valuation.own_vol, None if leg is None else leg.start.state
        if state is not None and state.years > 0.0:
            vol = state.vol * math.sqrt(state.variance_years / state.years)
        vol = self._delta_engine.vols.quoted.within_tick(valuation.contract, vol)
        greeks = self._delta_engine.greeks_at(number, now_ns, vol)
        return None if greeks is None else Decimal(f"{greeks.price:.{COIN_DECIMALS}f}")

    def settle(self, number: InstrumentId, price: float) -> None:
        """End the leg of an option on a coin that is settled at ``price``, currency per unit."""
        leg = self.held.pop(number)
        start, contract, state = leg.start, leg.start.instrument, leg.start.state
        assert contract.is_option
        assert state is not None
        side, strike = -1.0 if contract.is_call else 1.0, float(contract.strike)
        level = strike / (1.0 + side * price) if contract.is_inverse else strike - side * price
        if not price:
            last = self._state.mark(leg.underlying)
            ends = (level,) if last is None else (last, level)
            level = min(ends) if contract.is_call else max(ends)
        end = state._replace(spot=level, variance_years=0.0, years=0.0)
        leg.final = explain(start, structs.replace(start, mark=price, state=end))
        self._ended.append(leg)

    def rebase(self, now_ns: int, marks: Marks = NO_MARKS, of: InstrumentId | None = None) -> None:
        """Begin a new interval, at ``now_ns`` (UTC nanoseconds), with the current positions.

        ``marks`` are those that are known already. ``of`` is the instrument whose trade ends the interval:
        only the legs on its underlying begin again.
        """
        changed = None if of is None else self.owners[of]
        for own in (*self._anchors,) if changed is None else (changed,):
            self._anchors[own] = self.as_of(own, now_ns)
        before, held, has_options = self.held, {}, False
        for number, position in self._positions.positions.items():
            if position.quantity and position.instrument.currency == self._account.currency:
                leg, units = before.get(number), position.float_quantity * position.multiplier
                own = leg.underlying if leg is not None else self.owners[number]
                begins = leg is None or ((changed is None or own == changed) and not leg.start.proxied)
                if leg is None or begins or leg.start.units != units:
                    marked = marks.get(number) or self.mark_of(number, position.instrument, now_ns)
                    self._anchors[own] = at_ns = self.as_of(own, now_ns)
                    leg = self._begun(position, at_ns, leg, marked, own)
                held[number] = leg
                has_options = has_options or leg.start.state is not None
        self.held, meter = held, self.meter
        if (changed is None or changed == meter.underlying) and (has_options or meter.interval is not None):
            starts = [leg.start for leg in held.values()]
            meter.renew(self.as_of(meter.underlying, now_ns), starts, is_assumed=self.has_guesses)

    def _begun(
        self, position: Position, now_ns: int, before: HeldLeg | None, marked: Marked, own: InstrumentId
    ) -> HeldLeg:
        """Return a position at an anchor of the underlying ``own``, UTC nanoseconds.

        The volatility in which its last interval (``before``) ended stands, so that noise ends with it. What
        was never quoted is marked at its average price.
        """
        number, mark, valuation = position.instrument_id, marked.mark, marked.valuation
        engine, state, greeks, expires_ns = self._delta_engine, None, None, 0
        if valuation is not None:
            option = engine.vols.options.get(number) or engine.vols.facts(number)
            assert option is not None
            expires_ns = option.expires_ns
            vol = None if before is None or before.start.state is None else before.start.state.vol
            state = engine.models.state(option, valuation, now_ns, vol)
            if state is not None and option.is_inverse and state.years > 0.0:
                by_clock = math.sqrt(state.variance_years / state.years)
                greeks = engine.greeks_at(number, now_ns, state.vol * by_clock)
            if state is not None and greeks is None:
                greeks = valuation.greeks_at(valuation.mark_vol or valuation.own_vol)
        units = position.float_quantity * position.multiplier
        price = float(position.average_price) if mark is None else mark
        proxy, proxied, spot = engine.proxies.get(number) if engine.proxies else None, 0.0, 0.0
        level = None if proxy is None else self._state.mark(proxy.underlying_id)
        if level is not None:
            proxied, spot = engine.delta_of(position, price), level
        at = position.instrument, now_ns, units, price, state, greeks, expires_ns
        leg = HeldLeg(LegSnapshot(number, *at, proxied=proxied, spot=spot), own)
        if mark is None or not position.instrument.is_option:
            return leg
        if valuation is not None and valuation.is_modelled:
            leg.is_lost = self.session.is_long_lost(valuation.since_ns, now_ns)
        leg.is_forward_assumed = valuation is not None and valuation.is_forward_assumed
        self.has_guesses = self.has_guesses or leg.is_forward_assumed
        if leg.is_forward_assumed and before is not None and before.is_forward_assumed:
            end = self._later(before.start, now_ns, marked, keeps_vol=False)
            if end is not None:
                leg.assumed = (*before.assumed, (before.start, end, before.shown))[-MOST_ASSUMED:]
        return leg

    def advance(
        self,
        now_ns: int,
        marks: Marks,
        changed: InstrumentId | None,
        late: set[InstrumentId],
        is_anchor: bool,
    ) -> list[tuple[bool, list[float]]]:
        """Bring the legs to the marks of now, and begin those again whose interval ends here.

        ``changed`` is the underlying whose trade asks for the mark, None for the clock; ``late`` are those
        with the finer grid; with ``is_anchor`` all begin again. Returns of each leg whether a model
        values it, and its steps since the last mark in the order of :class:`LegParts`.
        """
        steps, found, is_restated = list[tuple[bool, list[float]]](), set[InstrumentId](), False
        legs: Iterable[HeldLeg] = self.held.values()
        if self._ended:
            legs, self._ended = (*legs, *self._ended), []
        for leg in legs:
            before, parts, number = leg.shown, leg.final, leg.start.instrument_id
            if parts is None:
                # a leg that is gone is explained to its last mark
                marked = marks.get(number) or self.mark_of(number, leg.start.instrument, now_ns)
                valuation, is_found = marked.valuation, False
                if valuation is not None:
                    if leg.is_forward_assumed and (changed is None or leg.underlying == changed):
                        is_restated = self._restate(leg, valuation) or is_restated
                    # what was not seen is no move of this interval
                    is_found = leg.is_lost and not valuation.is_modelled
                at_ns = self.as_of(leg.underlying, now_ns)
                end = self._later(leg.start, at_ns, marked, keeps_vol=is_found)
                parts = before if end is None else explain(leg.start, end)
                if end is not None:
                    if is_found:
                        found.add(leg.underlying)
                    if leg.corrected is not NO_LEG_PARTS:
                        parts = _added(leg.corrected, parts, NO_LEG_PARTS)
            leg.shown = parts
            ends = zip(structs.astuple(parts), structs.astuple(before), strict=True)
            steps.append((leg.start.state is not None, [now - then for now, then in ends]))
        if is_restated:
            self.has_guesses = any(leg.is_forward_assumed for leg in self.held.values())
            starts, shown = [leg.start for leg in self.held.values()], partial(self._as_shown, marks)
            self.meter.restate(starts, shown, is_assumed=self.has_guesses)
        if is_anchor or (self.session.is_overnight and changed is None):
            self.rebase(now_ns, marks)
        else:
            for own, anchor_ns in list(self._anchors.items()):
                grid = _LAST_ANCHOR_NS if own in late else _ANCHOR_NS
                is_due = now_ns // grid != anchor_ns // grid or own in found
                if is_due and (changed is None or own == changed):
                    self.rebase(now_ns, marks, own)
        self.session.is_overnight = False
        return steps

    def _restate(self, leg: HeldLeg, valuation: OptionState) -> bool:
        """Bring a leg from the configured yield to what quotes show; return whether they show it."""
        leg.is_forward_assumed = valuation.is_forward_assumed
        if leg.is_forward_assumed:
            return False
        leg.start = self._at_carry(leg.start, valuation)
        for start, ended, shown in leg.assumed:
            parts = explain(self._at_carry(start, valuation), self._at_carry(ended, valuation))
            leg.corrected = _added(leg.corrected, parts, shown)
        leg.assumed = ()
        return True

    def _as_shown(self, marks: Marks, start: LegSnapshot) -> LegSnapshot:
        leg, marked = self.held.get(start.instrument_id), marks.get(start.instrument_id)
        if marked is None or marked.valuation is None or leg is None or leg.is_forward_assumed:
            return start
        return self._at_carry(start, marked.valuation)

    def _at_carry(self, start: LegSnapshot, now: OptionState) -> LegSnapshot:
        """Return the start of an option's interval at the carry of now, worth the same.

        The first correction of a configured carry is no move of the market: neither rates nor volatility
        have earned it.
        """
        if start.state is None:
            return start
        carry = now.rate, now.dividend_yield, now.dividends
        found = self._delta_engine.models.at_carry(now.contract, start.state, *carry)
        return start if found is None else structs.replace(start, state=found[0], greeks=found[1])

    def _later(
        self, start: LegSnapshot, now_ns: int, marked: Marked, *, keeps_vol: bool
    ) -> LegSnapshot | None:
        """Return a position that has not changed since an interval began; None of what no model values.

        With ``keeps_vol`` its volatility is that of the start.
        """
        mark, valuation, instrument, state = marked.mark, marked.valuation, start.instrument, None
        engine, number = self._delta_engine, start.instrument_id
        share, proxy = number, engine.proxies.get(number) if engine.proxies else None
        if mark is None:
            return None
        if instrument.is_option:
            option = engine.vols.options.get(number) or engine.vols.facts(number)
            if start.state is None or valuation is None or option is None:
                return None
            state = engine.models.state(option, valuation, now_ns, start.state.vol)
            assert state is not None  # where no volatility is found that of the start stands
            if keeps_vol:
                state = state._replace(vol=start.state.vol)
            share = option.underlying
        goes_ex = (self._state.dividends or self._state.adjustments) and not instrument.is_inverse
        paid = paid_a_share(self._state, share, start.ts_ns, now_ns) if goes_ex else 0.0
        spot = None if proxy is None else self._state.mark(proxy.underlying_id)
        at = number, instrument, now_ns, start.units, mark, state
        return LegSnapshot(*at, paid=paid, spot=0.0 if spot is None else spot)


def _added(before: LegParts, more: LegParts, less: LegParts) -> LegParts:
    parts = zip(structs.astuple(before), structs.astuple(more), structs.astuple(less), strict=True)
    return LegParts(*(have + plus - minus for have, plus, minus in parts))
