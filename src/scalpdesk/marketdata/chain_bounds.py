"""Quotes that the other quotes of their expiry contradict: off by a factor, or of another hour.

A buyer of the lower call of two strikes who sells the higher loses nothing at expiry, and gains at most the
distance of the strikes; of puts it is the reverse (Merton 1973). A quote that breaks these bounds with both
of its neighbours is off. With one neighbour, or without any, it is off where it also breaks put-call parity.

Near the money neighbours differ. Where one is worth as much as its neighbour, strikes farther away are asked:
by these bounds, and by the box of two calls and two puts, which is worth the distance of its strikes.

A whole expiry that is off by a factor keeps these bounds. Its boxes are off by it: the price that call
and put tell rises or falls from strike to strike. Where all strikes tell one price, and it is not that of an
underlying whose quote stands still, nobody knows which of the two is right.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from operator import itemgetter
from typing import NamedTuple, Protocol

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import LEAP, shows_price

_NANOS_PER_YEAR = SECONDS_PER_YEAR * NANOS_PER_SECOND
_MARGIN = 0.10
"""Fraction of the dearer of two options by which a bound is broken before it counts: quotes of a chain come
one after the other.
"""
_FEW_TICKS = 2
_YEARLY_CARRY = 0.10
"""Interest less dividends a year that parity may be off by, a fraction of the strike."""
_USUAL_MOVE = 0.002
"""Fraction of the spot by which it moves between an option's quote and the next."""
_STRIKES_EACH_SIDE = 3
"""Strikes below and above that are looked through for a quote."""
_FLAT = 0.1
"""Part of their distance by which two strikes near the money differ in worth at least."""
_LEAST_PAIRS, _GLANCED = 3, 4
"""Strikes with a call and a put that tell the spot, as one alone may lag; those that are looked at first."""
_EARLY_PART = 0.25
"""Part of the carry that early exercise is worth 5 % in the money at most."""
_NEAR_MONEY = 0.05
"""Distance of strikes from the spot, a fraction of it, up to which calls and puts tell the spot."""


Chain = tuple[str, str, date]
"""Root, underlying and expiry."""
Pair = tuple[float, InstrumentId, InstrumentId]
"""Strike, call and put."""


class _QuotesInForce(Protocol):
    """Latest quotes by instrument id."""

    def __getitem__(self, number: InstrumentId, /) -> QuoteEvent | None:
        """Return the latest quote; None when never quoted."""
        ...


class _Place(NamedTuple):
    side: float
    """1 of a call, whose price falls with the strike; -1 of a put."""
    strike: float
    expires_ns: int
    is_inverse: bool
    least_room: float
    """Two ticks, currency per unit."""
    other: InstrumentId | None
    """The put of a call's strike, the call of a put's."""
    near: tuple[tuple[tuple[InstrumentId, float], ...], ...]
    """The same right at strikes below and above, the nearest first, each with how much cheaper it is at most,
    before a coin's price: negative of those that are dearer.
    """
    far: tuple[tuple[InstrumentId, InstrumentId, float], ...]
    """The last of these below and above, with its strike's other leg, and how much cheaper it is."""


class ChainBounds:
    """Holds quotes against those of the neighbouring strikes and of the strike's other leg.

    ``widest``, ``lost_ns``: By instrument: how far apart sides always show a price, and how much older than
    the underlying's a quote may be, nanoseconds. Quotes beyond do not count.
    """

    def __init__(self, instruments: Instruments, widest: Sequence[float], lost_ns: Sequence[int]) -> None:
        self._instruments, self._widest, self._lost_ns = instruments, widest, lost_ns
        self._places: dict[InstrumentId, _Place | None] = {}
        self._chains: dict[tuple[str, str, date, bool], list[tuple[float, InstrumentId]]] = {}
        """Strikes of each expiry and right, ascending."""
        self._pairs: dict[Chain, list[Pair]] = {}
        self._known = 0

    def contradict(self, quote: QuoteEvent, spot: QuoteEvent, quotes: _QuotesInForce) -> bool:
        """Return whether the neighbouring quotes contradict a quote; one that agrees with it is enough.

        ``spot`` is the underlying's, ``quotes`` the latest by instrument.
        """
        number = quote.instrument_id
        place = self._places.get(number)
        if place is None and number not in self._places:
            place = self._places[number] = self._place_of(number)
        price = 0.5 * (spot.bid + spot.ask)
        if place is None or not price > 0.0:
            return False
        unit = 1.0 / price if place.is_inverse else 1.0
        bid, ask, broken, is_flat = quote.bid, quote.ask, 0, False  # every mark asks: no call to spare
        widest, lost_ns, now_ns = self._widest, self._lost_ns, spot.ts_recv_ns
        for side in place.near:
            for neighbour, gap in side:
                near = quotes[neighbour]
                if near is None or now_ns - near.ts_recv_ns > lost_ns[neighbour]:
                    continue
                near_bid, near_ask = near.bid, near.ask
                if not near_ask - near_bid <= widest[neighbour] and not shows_price(near, 0.0):
                    continue
                room = _MARGIN * (max(ask, near_ask))
                room = max(room, place.least_room)
                if gap > 0.0:  # it is the dearer one
                    is_broken = near_bid > ask + room or bid > near_ask + unit * gap + room
                else:
                    is_broken = bid > near_ask + room or near_bid > ask - unit * gap + room
                if is_broken:
                    broken += 1
                    break
                off, flat = bid + ask - near_bid - near_ask, 2.0 * _FLAT * unit * gap
                if not (-flat < off < flat or flat < off < -flat) or bid + ask < 8.0 * place.least_room:
                    return False
                is_flat = True
                break
        if is_flat:
            return self._is_off_far_ones(quote, place, unit, now_ns, quotes)
        if broken > 1:
            return True
        other = None if place.other is None else quotes[place.other]
        if other is None or place.other is None or now_ns - other.ts_recv_ns > lost_ns[place.other]:
            return False
        if not other.ask - other.bid <= widest[place.other] and not shows_price(other, 0.0):
            return False
        own, theirs, width = bid + ask, other.bid + other.ask, ask - bid + other.ask - other.bid
        room = 0.5 * (width + _MARGIN * (max(own, theirs)))
        if place.expires_ns > now_ns:
            room += _YEARLY_CARRY * (place.expires_ns - now_ns) / _NANOS_PER_YEAR * place.strike * unit
        room += _USUAL_MOVE * price * unit
        off = 0.5 * place.side * (own - theirs) - (price - place.strike) * unit
        return off > room or off < -room

    def _is_off_far_ones(
        self, quote: QuoteEvent, place: _Place, unit: float, now_ns: int, quotes: _QuotesInForce
    ) -> bool:
        """Return whether each far strike contradicts a quote, itself or as a box; not without any."""
        other, contradicting = self._price(place.other, now_ns, quotes), 0
        own = 0.5 * (quote.bid + quote.ask)
        for number, across, gap in place.far:
            far, theirs = self._price(number, now_ns, quotes), self._price(across, now_ns, quotes)
            if far is None:
                continue
            room = max(_MARGIN * max(own, far), place.least_room)
            low, high = min(gap, 0.0) * unit, max(gap, 0.0) * unit
            is_off = not low - room <= own - far <= high + room
            if other is not None and theirs is not None:
                box = (own - other) - (far - theirs)
                is_off = is_off or abs(box - gap * unit) > 0.5 * abs(gap) * unit
            if not is_off:
                return False
            contradicting += 1
        return contradicting > 0

    def stay_behind(self, quote: QuoteEvent, last: QuoteEvent, quotes: _QuotesInForce) -> bool:
        """Return whether an underlying's options tell its last price rather than that of a new quote.

        By the calls and puts of the first expiry that quotes both at some strikes near the money.
        """
        symbol, price, new = self._instruments.by_id[quote.instrument_id].symbol, last.mid, quote.mid
        for chain in self.chains_of(symbol):
            near = self._near(chain, price)
            votes = [abs(told - price) < abs(told - new) for _, told, *_ in self._told(near, quote, quotes)]
            if len(votes) >= _LEAST_PAIRS:
                return 2 * sum(votes) > len(votes)
        return False

    def chains_of(self, symbol: str) -> list[Chain]:
        """Return the expiries of an underlying, the first first."""
        if self._known != len(self._instruments):
            self._learn()
        return sorted((chain for chain in self._pairs if chain[1] == symbol), key=itemgetter(2))

    def tells_otherwise(
        self,
        chain: Chain,
        spot: QuoteEvent,
        quotes: _QuotesInForce,
        spots_then: Callable[[Sequence[int], int], Sequence[float | None]],
    ) -> bool | None:
        """Return whether an expiry's calls and puts tell another price than the underlying's.

        By more than :data:`LEAP`, at most of three strikes or more. None where three or more tell prices that
        rise or fall with them: they are off by a factor. ``spots_then`` returns what the underlying was worth
        at some instants to who gets it at a later one.
        """
        price, near = spot.mid, self._near(chain, spot.mid)
        if len(near) < _LEAST_PAIRS:
            return False
        contract = self._instruments.by_id[near[0][1]]
        assert contract.is_option
        expires_ns, apart = expiry_instant_ns(contract), 0.5 * (spot.ask - spot.bid)
        carry = _YEARLY_CARRY * max(expires_ns - spot.ts_recv_ns, 0) / _NANOS_PER_YEAR
        room, box_room = (LEAP + carry) * price + apart, (LEAP + _EARLY_PART * carry) * price
        some = (near[at * (len(near) - 1) // (_GLANCED - 1)] for at in range(_GLANCED))
        if all(abs(told - price) <= box_room for _, told, *_ in self._told(some, spot, quotes)):
            return False
        found = [*self._told(near, spot, quotes)]
        then = spots_then([at_ns for each in found for at_ns in each[2:]], expires_ns)
        gaps = list[tuple[float, float]]()
        for (strike, told, *_), first, last in zip(found, then[::2], then[1::2], strict=True):
            if first is not None and last is not None:  # the option in the money tells at which of the two
                gaps.append((strike, told - min(max(told, min(first, last)), max(first, last))))
        if len(gaps) < _LEAST_PAIRS:
            return False
        middle = sorted(gap for _, gap in gaps)[len(gaps) // 2]
        if abs(middle) > room:
            return True
        off = [(strike - price) * (gap - middle) for strike, gap in gaps if abs(gap - middle) > box_room]
        return None if len(off) >= _LEAST_PAIRS and (min(off) > 0.0 or max(off) < 0.0) else False

    def _near(self, chain: Chain, price: float) -> list[Pair]:
        pairs, width = self._pairs.get(chain, []), _NEAR_MONEY * price
        first = bisect_left(pairs, price - width, key=itemgetter(0))
        return pairs[first : bisect_right(pairs, price + width, key=itemgetter(0))]

    def _told(
        self, pairs: Iterable[Pair], spot: QuoteEvent, quotes: _QuotesInForce
    ) -> Iterator[tuple[float, float, int, int]]:
        """Yield each strike with a call and a put: what underlying they tell, and their instants."""
        for strike, call, put in pairs:
            bought, sold = (self._price(each, spot.ts_recv_ns, quotes) for each in (call, put))
            if bought is not None and sold is not None:
                is_inverse = self._instruments.by_id[call].is_inverse
                told = strike / (1.0 - bought + sold) if is_inverse else strike + bought - sold
                first, last = (
                    0 if each is None else each.ts_event_ns for each in (quotes[call], quotes[put])
                )
                yield strike, told, first, last

    def _price(self, number: InstrumentId | None, now_ns: int, quotes: _QuotesInForce) -> float | None:
        """Return the mid of an option; None where its quote is lost or tells no price."""
        quote = None if number is None else quotes[number]
        if quote is None or number is None or now_ns - quote.ts_recv_ns > self._lost_ns[number]:
            return None
        if not quote.ask - quote.bid <= self._widest[number] and not shows_price(quote, 0.0):
            return None
        return 0.5 * (quote.bid + quote.ask)

    def _place_of(self, number: InstrumentId) -> _Place | None:
        contract = self._instruments.by_id[number]
        if not contract.is_option or contract.underlying not in self._instruments:
            return None
        if self._known != len(self._instruments):
            self._learn()
        strike, way = float(contract.strike), 1.0 if contract.is_call else -1.0
        key = contract.root, contract.underlying, contract.expiry
        own, others = self._chains[*key, contract.is_call], self._chains.get((*key, not contract.is_call), [])
        at = bisect_left(own, strike, key=itemgetter(0))
        below = own[max(at - _STRIKES_EACH_SIDE, 0) : at][::-1]
        above = own[at + 1 : at + 1 + _STRIKES_EACH_SIDE]
        legs = dict(others)
        return _Place(
            way,
            strike,
            expiry_instant_ns(contract),
            contract.is_inverse,
            _FEW_TICKS * float(contract.tick_rule.below),
            legs.get(strike),
            tuple(tuple((each, way * (price - strike)) for price, each in side) for side in (below, above)),
            tuple(
                (side[-1][1], legs[side[-1][0]], way * (side[-1][0] - strike))
                for side in (below, above)
                if side and side[-1][0] in legs
            ),
        )

    def _learn(self) -> None:
        self._chains, self._places, self._pairs = {}, {}, {}
        for number, each in enumerate(self._instruments):
            if each.is_option:
                key = each.root, each.underlying, each.expiry, each.is_call
                self._chains.setdefault(key, []).append((float(each.strike), InstrumentId(number)))
        for chain in self._chains.values():
            chain.sort()
        for (root, symbol, expiry, is_call), calls in self._chains.items():
            puts = dict(self._chains.get((root, symbol, expiry, False), ())) if is_call else {}
            pairs = [(strike, number, puts[strike]) for strike, number in calls if strike in puts]
            if pairs:
                self._pairs[root, symbol, expiry] = pairs
        self._known = len(self._instruments)
