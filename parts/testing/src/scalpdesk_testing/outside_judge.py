"""A judge of decisions outside the desk: what was due, by the venue's ledger and its quotes alone.

It asks the desk nothing but the mode that it shows a person, and has formulas of its own: each option's
volatility is implied from the venue's quote by bisection, and its delta is Black and Scholes' at a rate of
zero. These markets have no rate, and no dividend on their options: an early exercise is worth nothing, and
the European formula is exact for both styles.

A desk that sees the venue's quotes within a second and hedges in whole shares is within three shares of the
judge's delta: half a share of rounding, a tenth by the cent of an option's quote, and what a second's step of
the share moves two straddles, 7.6 shares a currency unit. Where it hedges at the volatility of its entry,
each one that the venue showed about the entry counts, and the nearest decides. Duties are judged in calm
alone: half a minute after the last fault, restart, break of a line or command.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from scalpdesk.core.enums import Mode
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange import BrokerAccount, BrokerOrder, Status
from scalpdesk.simulation.ledger import Ledger

CALM_SECONDS = 30.0
"""After the last disturbance: by then a sound desk has repaired what was wrong."""
SLACK_SHARES = 3.5
"""By which a hedge of two straddles may miss the judge's own delta; see above."""
HEDGE_SECONDS = 12.0
"""By then a delta outside the band has an order at work: three looks of the desk."""
NAKED_SECONDS = 30.0
"""By then it is back: sizes of a single share last for a few quotes."""
ENTRY_SECONDS, EXIT_SECONDS = 45.0, 40.0
"""By then a desk that may trade holds what it was told to, and one that leaves holds nothing."""
UNEVEN_SECONDS = 40.0
"""By then legs are held in their ratio."""
_MEMORY_SECONDS = 48.0
"""Of volatilities: each stands for 40 s, and the desk believes a leap at the third quote, 8 s apart."""
_SEEN_SECONDS = 6.0
"""An order is decided by quotes of so short a time ago, and arrives by the line."""
_DISTANCE, _DISTANCE_USD = 0.25, 0.25
"""A limit lies no further beyond the far side of the quotes: a part of it, or in currency."""
_LOSS_SLACK_USD = 40.0
"""By which a loss at mids may differ from that at the desk's marks, for two straddles."""
_BY_HAND = "by-hand-"
"""Begins the ids of somebody else's orders in the account."""
_ASSIGNED, _MOVED = "OPASN", "JNLC"
"""Kinds of the account's lines: an assignment; money that its owner brought or took away."""
_YEAR_NS = 365 * 86_400 * NANOS_PER_SECOND


class Leg(NamedTuple):
    """An option that is traded: ``ratio`` is signed contracts of one set, ``expires_ns`` UTC nanoseconds."""

    number: InstrumentId
    ratio: int
    strike: float
    is_call: bool
    expires_ns: int
    multiplier: int


class Mandate(NamedTuple):
    """What the desk was told.

    ``share``, ``legs``: Hedged with; of one set.
    ``sets``, ``most_sets``: To be held; most of them where their number follows the edge.
    ``band_shares``: Half width of the hedging band for ``sets``; None where no law says which.
    ``hedges_by_entry``: Whether the delta is that at the volatility of the entry; else the market's.
    ``leaves_ns``, ``closes_ns``: From when on everything is closed, None: never; the session's close. UTC
    nanoseconds.
    ``max_loss``: Loss of the session at which it ends, currency; None without one.
    ``parts``: Strategies that share what is held, each with its part of the band.
    ``may_be_called``: Whether the broker's margin may ask for exits, or refuse what opens.
    """

    share: InstrumentId
    legs: tuple[Leg, ...]
    sets: int
    most_sets: int
    band_shares: float | None
    hedges_by_entry: bool
    leaves_ns: int | None
    closes_ns: int
    max_loss: Decimal | None = None
    parts: int = 1
    may_be_called: bool = False


def normal(x: float) -> float:
    """Return the standard normal distribution at ``x``."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def price_and_delta(
    spot: float, strike: float, years: float, vol: float, *, is_call: bool
) -> tuple[float, float]:
    """Return an option's value (currency per unit) and delta by Black and Scholes at a rate of zero."""
    sign = 1.0 if is_call else -1.0
    deviation = vol * math.sqrt(max(years, 0.0))
    if deviation <= 0.0:
        return max(sign * (spot - strike), 0.0), sign if sign * (spot - strike) > 0.0 else 0.0
    first = math.log(spot / strike) / deviation + 0.5 * deviation
    delta = sign * normal(sign * first)
    return spot * delta - sign * strike * normal(sign * (first - deviation)), delta


def implied(price: float, spot: float, strike: float, years: float, *, is_call: bool) -> float | None:
    """Return the volatility at which an option has a price, by bisection; None where none has."""
    low, high = 0.01, 4.0
    if not price_and_delta(spot, strike, years, low, is_call=is_call)[0] < price:
        return None
    if not price < price_and_delta(spot, strike, years, high, is_call=is_call)[0]:
        return None
    while high - low > 1e-5:
        middle = 0.5 * (low + high)
        if price_and_delta(spot, strike, years, middle, is_call=is_call)[0] < price:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


class OutsideJudge:
    """Follows one trial, over all lives of its desk.

    ``account``, ``ledger``: The venue's own books and quotes.
    ``mandate``: What the desk was told.
    """

    def __init__(
        self, account: BrokerAccount, ledger: Ledger, mandate: Mandate, seconds: float = 0.0
    ) -> None:
        self._account, self._ledger, self.mandate = account, ledger, mandate
        self._now = seconds
        self._calm_since = seconds
        self._was_struck = self._is_stated = False
        self._asked: Mode = Mode.ACTIVE
        self._is_answered = True
        """Whether the desk has answered a person's last word."""
        self._has_left = self._has_opened = self._is_shared = False
        """Whether a person had it leave; whether it tried to open; whether others traded in the account."""
        self._took_over = {leg.number for leg in mandate.legs if account.quantity(leg.number)}
        """What it was given: hedged at the market's volatility of some instant."""
        self._quotes: dict[InstrumentId, object] = {}
        self._vols: dict[InstrumentId, deque[tuple[float, float]]] = {
            leg.number: deque() for leg in mandate.legs
        }
        """Volatilities that the venue's quotes have shown of late, with their times."""
        self._opened: dict[InstrumentId, set[float]] = {leg.number: set() for leg in mandate.legs}
        """Those about the entries."""
        self._orders_seen = 0
        self._executions_seen = 0
        self._lately: deque[tuple[float, float, float]] = deque()
        """Least and largest net delta of the last seconds, with their times."""
        self._since: dict[str, float] = {}
        """Since when something is due, by the name of the law."""
        self._equity: list[Decimal] = []
        self._moved = Decimal(0)
        self._lines_seen = 0
        self.seconds_judged = 0
        """Seconds in which the delta was a duty."""
        self.seconds_outside = 0
        """Those of them in which it was outside the band."""

    # what happens outside -------------------------------------------------------------------------------

    def struck(self) -> None:
        """Take note that something went wrong: what the desk knows may lag behind."""
        self._was_struck = True
        self._begin_calm()

    def _begin_calm(self) -> None:
        self._calm_since = self._now
        self._since.clear()

    def asked(self, mode: Mode, *, is_answered: bool) -> None:
        """Take note of a mode that a person asks for, and of the desk's answer."""
        self._is_answered = is_answered
        self._has_left |= mode in (Mode.FLATTENING, Mode.HALTED)
        if is_answered:
            self._asked = mode
        self._since.clear()

    # each second ----------------------------------------------------------------------------------------

    def second(
        self, now: float, *, is_disturbed: bool, is_active: bool, is_stated: bool = False
    ) -> Iterator[str]:
        """Yield what is wrong at a time of the trial, seconds from its beginning; asked each second.

        ``is_disturbed``: Whether something is wrong just now: no line, no process, a halt.
        ``is_active``: Whether the desk may trade, by the mode that it shows or by a person's word.
        ``is_stated``: Whether it reduces beside a difference that nothing explains: what the venue holds
        beyond the desk's book goes by a person's word alone.
        """
        self._now, self._is_stated = now, is_stated
        if is_disturbed:
            self._begin_calm()
        self._read_quotes()
        self._follow_executions()
        self._follow_money()
        yield from self.arrived()
        low, high = self._bounds()
        self._lately.append((now, low, high))
        while self._lately[0][0] < now - _SEEN_SECONDS:
            self._lately.popleft()
        if now - self._calm_since < CALM_SECONDS or self._ledger.now_ns >= self.mandate.closes_ns:
            self._since.clear()
            return
        if self._is_shared:
            return
        yield from self._exit_due()
        if is_active and self._is_answered and not self._is_leaving():
            yield from self._delta_due(low, high)
            yield from self._entry_due()
        else:
            self._since = {law: at for law, at in self._since.items() if law.startswith("exit")}

    def _is_leaving(self) -> bool:
        """Return whether everything is to go: by the clock, a person's word or the session's loss."""
        leaves_ns = self.mandate.leaves_ns
        is_late = leaves_ns is not None and self._ledger.now_ns >= leaves_ns
        return is_late or self._asked is not Mode.ACTIVE or self._is_lost(Decimal(str(_LOSS_SLACK_USD)))

    def _is_lost(self, slack: Decimal = Decimal(0)) -> bool:
        limit = self.mandate.max_loss
        return limit is not None and bool(self._equity) and self._loss() + slack >= limit

    def _loss(self) -> Decimal:
        """Return the largest loss of the session so far at the venue's mids, currency."""
        return self._equity[0] - min(self._equity)

    def _due(self, law: str, patience: float, *, is_due: bool) -> bool:
        """Return whether something has been due for longer than its time; told once."""
        if not is_due:
            self._since.pop(law, None)
            return False
        since = self._since.setdefault(law, self._now)
        if self._now - since <= patience:
            return False
        self._since[law] = math.inf
        return True

    def _delta_due(self, low: float, high: float) -> Iterator[str]:
        """Delta held against delta due: outside the band a hedge is at work, and brings it back."""
        mandate, band = self.mandate, self._band()
        if band is None:
            return
        net = 0.0 if low < 0.0 < high else min(low, high, key=abs)
        self.seconds_judged += 1
        is_outside = abs(net) > band + SLACK_SHARES
        self.seconds_outside += is_outside
        working = [
            order
            for order in self._account.open_orders()
            if order.instrument_id == mandate.share and order.side.sign * net < 0.0
        ]
        idle = is_outside and not working
        if self._due("delta: idle", HEDGE_SECONDS * mandate.parts, is_due=idle):
            yield f"18 hedge_due: a delta of {net:+.1f} beside a band of {band:.1f}, and no order works"
        if self._due("delta: naked", NAKED_SECONDS * mandate.parts, is_due=is_outside):
            yield f"18 delta_due: {net:+.1f} for {NAKED_SECONDS:.0f} s beside a band of {band:.1f}"

    def _band(self) -> float | None:
        band, mandate = self.mandate.band_shares, self.mandate
        if band is None:
            return None
        return band * max(float(max(self._sets().values(), default=Decimal(0))) / mandate.sets, 1.0)

    def _sets(self) -> dict[InstrumentId, Decimal]:
        """Return the sets that are held of each leg."""
        return {leg.number: self._account.quantity(leg.number) / leg.ratio for leg in self.mandate.legs}

    def _entry_due(self) -> Iterator[str]:
        """What was told to be held is held, all of it: legs in their ratio, and at first at all."""
        held, mandate = self._sets().values(), self.mandate
        is_missing = not (self._has_opened or self._took_over or self._was_struck or mandate.may_be_called)
        if self._due("entry: missing", ENTRY_SECONDS, is_due=is_missing):
            yield "18 entry_due: nothing was bought or sold, and nothing is in its way"
        is_uneven = len(set(held)) > 1
        if self._due("entry: uneven", UNEVEN_SECONDS, is_due=is_uneven):
            yield f"18 legs_due: {[*map(str, held)]} sets of its legs are held"

    def _exit_due(self) -> Iterator[str]:
        """Time to flat: what is to go is gone."""
        mandate, leaves_ns = self.mandate, self.mandate.leaves_ns
        held = {leg.number: self._account.quantity(leg.number) for leg in mandate.legs}
        held[mandate.share] = self._account.quantity(mandate.share)
        is_late = leaves_ns is not None and self._ledger.now_ns >= leaves_ns and not self._is_stated
        is_told = self._asked is Mode.FLATTENING or (
            self._asked is Mode.ACTIVE and self._is_lost(Decimal(str(-_LOSS_SLACK_USD)))
        )
        is_due = (is_late or is_told) and self._asked is not Mode.HALTED and any(held.values())
        if self._due("exit", EXIT_SECONDS, is_due=is_due):
            left = ", ".join(f"{quantity:+f} of {number}" for number, quantity in held.items() if quantity)
            why = "the moment to leave" if is_late else "a person's word, or the day's loss"
            yield f"18 exit_due: {EXIT_SECONDS:.0f} s after {why} the venue's book holds {left}"

    # orders ---------------------------------------------------------------------------------------------

    def arrived(self) -> Iterator[str]:
        """Yield each order that has come to the venue since the last call and that nothing asked for."""
        orders = self._account.orders
        if len(orders) == self._orders_seen:
            return
        self._read_quotes()
        self._follow_executions()
        fresh = [*islice(orders.values(), self._orders_seen, None)]
        self._orders_seen = len(orders)
        for order in fresh:
            if order.is_forced or order.client_order_id.startswith(_BY_HAND):
                self._is_shared |= (
                    order.is_forced or order.instrument_id in self._vols or not order.limit_price
                )
                continue
            number = order.instrument_id
            if number is None or order.status is Status.REJECTED or self._is_shared:
                continue
            why = self._why_no_hedge(order) if number == self.mandate.share else self._why_no_option(order)
            if why is not None:
                yield f"18 order_wanted: {order.side.value} {order.quantity:f} {order.request.symbol}: {why}"

    def _why_no_option(self, order: BrokerOrder) -> str | None:
        """Return why nobody wanted an order in an option."""
        mandate, ledger = self.mandate, self._ledger
        leg = next((each for each in mandate.legs if each.number == order.instrument_id), None)
        if leg is None:
            return "it is no leg of what is traded"
        is_opening = order.side.sign * leg.ratio > 0
        calm = self._now - self._calm_since
        if is_opening:
            self._has_opened = True
            if mandate.leaves_ns is not None and ledger.now_ns > mandate.leaves_ns + 2 * NANOS_PER_SECOND:
                return "it opens after the moment to leave"
        elif calm > CALM_SECONDS or not self._was_struck:
            held = self._sets()
            held[leg.number] += order.filled / abs(leg.ratio)  # as before its own executions
            sets = held.values()
            is_even = len(set(sets)) == 1
            may_scale = mandate.most_sets > mandate.sets or mandate.may_be_called
            if is_even and not may_scale and not self._has_left and not self._leaves_soon():
                return f"it closes what is to be held, {next(iter(sets)):f} sets"
        return self._why_no_price(order)

    def _leaves_soon(self) -> bool:
        leaves_ns = self.mandate.leaves_ns
        is_late = leaves_ns is not None and self._ledger.now_ns >= leaves_ns - NANOS_PER_SECOND
        return is_late or self._asked is not Mode.ACTIVE or self._is_lost(Decimal(str(_LOSS_SLACK_USD)))

    def _why_no_price(self, order: BrokerOrder) -> str | None:
        """Return what is wrong with a limit beside the venue's quote; a combo's leg has none of its own."""
        assert order.instrument_id is not None
        quote = self._ledger.latest(order.instrument_id)
        limit = order.limit_price
        if limit is None or quote is None or order.parent is not None:
            return None
        if quote.ts_event_ns > self._ledger.now_ns - NANOS_PER_SECOND:
            return None  # the desk may have sent it before this quote came
        if self._now - self._calm_since < CALM_SECONDS and self._was_struck:
            return None
        far = quote.ask if order.side.sign > 0 else quote.bid
        beyond = order.side.sign * (float(limit) - far)
        if far > 0.0 and beyond > max(_DISTANCE * far, _DISTANCE_USD):
            return f"its limit of {limit} is {beyond:.2f} beyond {far}"
        return None

    def _why_no_hedge(self, order: BrokerOrder) -> str | None:
        """Return why nobody wanted an order in the share: it brings the delta to the middle, or closes."""
        mandate, band = self.mandate, self._band()
        calm = self._now - self._calm_since
        if band is None or self._is_stated or (calm < CALM_SECONDS and self._was_struck):
            return None  # beside a difference that is stated a desk hedges by its book
        if mandate.parts > 1 and any(sets < mandate.sets for sets in self._sets().values()):
            return None  # one of the strategies is on its way in or out, and the other is not
        held = float(self._account.quantity(mandate.share)) - order.side.sign * float(order.filled)
        signed = order.side.sign * float(order.quantity)
        lowers = held * signed < 0.0 and abs(signed) <= abs(held)
        if lowers and (self._is_leaving() or self._has_left or not any(self._sets().values())):
            return None
        own = order.side.sign * float(order.filled)
        now = tuple(each - own for each in self._bounds())
        low = min([now[0], *(each[1] for each in self._lately)])
        high = max([now[1], *(each[2] for each in self._lately)])
        slack = SLACK_SHARES * max(band / (mandate.band_shares or band), 1.0)
        slack += band * (mandate.parts - 1)
        # of several strategies each closes its part of the whole
        ends = [bound / part for bound in (low, high) for part in (1, mandate.parts)]
        if min(ends) - slack <= -signed <= max(ends) + slack:
            return None
        is_towards = -signed < high if signed < 0.0 else -signed > low
        if is_towards and held + signed == 0.0:
            return None  # a holding that crosses zero goes by two orders
        return f"the venue's book has a delta of {low:+.1f} to {high:+.1f}"

    # what the quotes and the ledger say -----------------------------------------------------------------

    def _read_quotes(self) -> None:
        """Take the volatility of each quote that is new."""
        ledger, spot = self._ledger, float(self._ledger.mark(self.mandate.share))
        for leg in self.mandate.legs:
            quote, known = ledger.latest(leg.number), self._vols[leg.number]
            if quote is not None and quote is not self._quotes.get(leg.number) and spot > 0.0:
                self._quotes[leg.number] = quote
                is_fresh = quote.ts_event_ns > ledger.now_ns - NANOS_PER_SECOND
                if is_fresh and 0.0 < quote.bid < quote.ask:
                    years = (leg.expires_ns - quote.ts_event_ns) / _YEAR_NS
                    mid = 0.5 * (quote.bid + quote.ask)
                    vol = implied(mid, spot, leg.strike, years, is_call=leg.is_call)
                    if vol is not None:
                        known.append((self._now, vol))
                        if leg.number in self._took_over:
                            self._opened[leg.number].add(vol)
            while len(known) > 1 and known[0][0] < self._now - _MEMORY_SECONDS:
                known.popleft()

    def _follow_executions(self) -> None:
        """Keep the volatilities about each opening trade."""
        executions = self._account.executions
        self._executions_seen = min(self._executions_seen, len(executions))  # a bust takes out one of them
        for trade in islice(executions, self._executions_seen, None):
            for leg in self.mandate.legs:
                if trade.instrument_id == leg.number and trade.side.sign * leg.ratio > 0:
                    self._opened[leg.number].update(vol for _, vol in self._vols[leg.number])
        self._executions_seen = len(executions)

    def _follow_money(self) -> None:
        """Follow the account's worth at the venue's mids, less what its owner moved."""
        account, ledger = self._account, self._ledger
        lines = account.activities
        for line in islice(lines, min(self._lines_seen, len(lines)), None):
            self._moved += line.net_amount if line.kind == _MOVED else Decimal(0)
            self._is_shared |= line.kind == _ASSIGNED
        self._lines_seen = len(lines)
        if self.mandate.max_loss is None:
            return
        worth = account.cash - self._moved
        for number, held in account.holdings.items():
            mark = ledger.mark(number)
            if not mark:
                return
            worth += held.quantity * mark * held.multiplier
        self._equity = [*self._equity[:1], *self._equity[-12:], worth]

    def _bounds(self) -> tuple[float, float]:
        """Return the least and the largest net delta of the venue's book, shares.

        Infinite while a leg is held that no quote has told the volatility of.
        """
        ledger, spot = self._ledger, float(self._ledger.mark(self.mandate.share))
        low = high = float(self._account.quantity(self.mandate.share))
        for leg in self.mandate.legs:
            units = float(self._account.quantity(leg.number)) * leg.multiplier
            vols = self._due_vols(leg)
            if not units:
                continue
            if not vols or not spot > 0.0:
                return -math.inf, math.inf
            years = (leg.expires_ns - ledger.now_ns) / _YEAR_NS
            deltas = [
                units * price_and_delta(spot, leg.strike, years, vol, is_call=leg.is_call)[1] for vol in vols
            ]
            low, high = low + min(deltas), high + max(deltas)
        return low, high

    def _due_vols(self, leg: Leg) -> tuple[float, ...]:
        """Return the least and the largest volatility that a hedge of a leg may go by."""
        vols: list[float] | set[float] = [vol for _, vol in self._vols[leg.number]]
        if self.mandate.hedges_by_entry and self._opened[leg.number]:
            vols = self._opened[leg.number]
        return (min(vols), max(vols)) if vols else ()


def legs_of(
    ratios: Mapping[InstrumentId, int], ledger: Ledger, expires_ns: Mapping[InstrumentId, int]
) -> tuple[Leg, ...]:
    """Return the legs of one set, by their contracts at the venue."""
    found = []
    for number, ratio in ratios.items():
        contract = ledger.instruments[number]
        assert contract.is_option
        terms = float(contract.strike), contract.is_call, expires_ns[number], int(contract.multiplier)
        found.append(Leg(number, ratio, *terms))
    return tuple(found)
