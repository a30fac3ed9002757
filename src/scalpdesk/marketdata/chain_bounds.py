"""Quotes that the other quotes of their expiry contradict: off by a factor, or of another hour.

Whoever buys the lower call of two strikes and sells the higher loses nothing at expiry, and gains at most the
distance of the strikes; of puts it is the reverse (Merton 1973). A call less a put of one strike is the
forward less the strike. A quote that breaks more than half of these bounds, each with another quote, is off.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import date
from operator import itemgetter
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import mark_price

MARGIN = 0.10
"""Fraction of the dearer of two options by which a bound is broken before it counts: quotes of a chain come
one after the other.
"""
FEW_TICKS = 2
YEARLY_CARRY = 0.10
"""Interest less dividends a year that parity may be off by, a fraction of the strike."""
STRIKES_EACH_SIDE = 3
"""Strikes below and above that are looked through for a quote."""
ShownQuote = Callable[[InstrumentId], QuoteEvent | None]
"""Returns an option's quote where its sides tell a price and it is not lost, else None."""


class _Place(NamedTuple):
    contract: OptionContract
    side: float
    """1 of a call, whose price falls with the strike; -1 of a put."""
    least_room: float
    """Two ticks, currency per unit."""
    other: InstrumentId | None
    """The put of a call's strike, the call of a put's."""
    near: tuple[tuple[InstrumentId, float], ...]
    """The same right at other strikes, the nearest first, each with how far above it lies."""


class ChainBounds:
    """Holds quotes against those of the neighbouring strikes and of the strike's other leg.

    Parameters
    ----------
    instruments
        Instruments of the run.
    shown
        Gives the quotes that count.
    """

    def __init__(self, instruments: Instruments, shown: ShownQuote) -> None:
        self._instruments, self._shown = instruments, shown
        self._places: dict[InstrumentId, _Place | None] = {}
        self._chains: dict[tuple[str, str, date, bool], list[tuple[float, InstrumentId]]] = {}
        """Strikes of each expiry and right, ascending."""
        self._known = 0

    def contradict(self, quote: QuoteEvent, spot: QuoteEvent | None) -> bool:
        """Return whether more of the neighbouring quotes contradict a quote than agree with it.

        One neighbour that agrees is enough. The strike's other leg is asked where no neighbour is quoted.
        """
        number = quote.instrument_id
        place = self._places.get(number)
        if place is None and number not in self._places:
            place = self._places[number] = self._place_of(number)
        price = 0.0 if spot is None else mark_price(spot)
        if place is None or spot is None or not price > 0.0:
            return False
        unit = 1.0 / price if place.contract.is_inverse else 1.0
        broken = 0
        for gap, near in self._quoted_near(place):
            if not _is_broken(quote, near, place.side * gap, unit * abs(gap), place.least_room):
                return False
            broken += 1
        other = None if place.other is None else self._shown(place.other)
        if other is None or broken > 1:  # two strikes contradict it
            return broken > 1
        return self._breaks_parity(place, quote, other, spot)

    def _quoted_near(self, place: _Place) -> Iterator[tuple[float, QuoteEvent]]:
        for number, gap in place.near:
            near = self._shown(number)
            if near is not None:
                yield gap, near

    def _breaks_parity(self, place: _Place, quote: QuoteEvent, other: QuoteEvent, spot: QuoteEvent) -> bool:
        contract, price = place.contract, mark_price(spot)
        strike, own, theirs = float(contract.strike), mark_price(quote), mark_price(other)
        years = max(expiry_instant_ns(contract) - spot.ts_recv_ns, 0) / (SECONDS_PER_YEAR * NANOS_PER_SECOND)
        unit = 1.0 / price if contract.is_inverse else 1.0
        room = 0.5 * (quote.ask - quote.bid + other.ask - other.bid) + MARGIN * max(own, theirs)
        room += YEARLY_CARRY * years * strike * unit
        return abs(place.side * (own - theirs) - (price - strike) * unit) > room

    def _place_of(self, number: InstrumentId) -> _Place | None:
        contract = self._instruments.by_id[number]
        if not contract.is_option or contract.underlying not in self._instruments:
            return None
        if self._known != len(self._instruments):
            self._learn()
        strike = float(contract.strike)
        key = contract.root, contract.underlying, contract.expiry
        own, others = self._chains[*key, contract.is_call], self._chains.get((*key, not contract.is_call), [])
        at = bisect_left(own, strike, key=itemgetter(0))
        below = own[max(at - STRIKES_EACH_SIDE, 0) : at][::-1]
        above = own[at + 1 : at + 1 + STRIKES_EACH_SIDE]
        near = sorted((*below, *above), key=lambda each: (abs(each[0] - strike), each[0]))
        across = bisect_left(others, strike, key=itemgetter(0))
        is_listed = across < len(others) and others[across][0] == strike
        return _Place(
            contract,
            1.0 if contract.is_call else -1.0,
            FEW_TICKS * float(contract.tick_rule.below),
            others[across][1] if is_listed else None,
            tuple((each, price - strike) for price, each in near),
        )

    def _learn(self) -> None:
        self._chains, self._places = {}, {}
        for number, each in enumerate(self._instruments):
            if each.is_option:
                key = each.root, each.underlying, each.expiry, each.is_call
                self._chains.setdefault(key, []).append((float(each.strike), InstrumentId(number)))
        for chain in self._chains.values():
            chain.sort()
        self._known = len(self._instruments)


def _is_broken(quote: QuoteEvent, near: QuoteEvent, gap: float, most: float, least_room: float) -> bool:
    """Return whether two quotes of one right break a bound; ``gap`` is positive where ``near`` is cheaper.

    ``most`` is the most that the cheaper one may be cheaper by, currency per unit.
    """
    dear, cheap = (quote, near) if gap > 0.0 else (near, quote)
    room = max(MARGIN * max(dear.ask, cheap.ask), least_room)
    return cheap.bid > dear.ask + room or dear.bid > cheap.ask + most + room
