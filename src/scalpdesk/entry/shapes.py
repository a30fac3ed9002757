"""Shapes: kinds of structures as rows of data, and the structures of a chain that they stand for.

A row says of each leg what is traded and where: at the centre, which is the strike nearest the forward, or so
far out as the settings have it, in delta, moves, currency, a part of the forward, or by its price. Long means
bought as the row has it, which for all but a few is for a debit; short is the other side of each leg.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import permutations
from typing import Annotated, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.intents import Side
from scalpdesk.core.sockets import SHAPES as SOCKET
from scalpdesk.core.units import DAY_NS, InstrumentId
from scalpdesk.instruments.contract import OptionContract, Right
from scalpdesk.instruments.events import EventKind, events_between
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.instruments.structure import Structure, StructureLeg
from scalpdesk.margin.regulation_t import LONG_OPTIONS, SPREADS, UNCOVERED
from scalpdesk.marketdata.quotes import judge_quote, may_trade
from scalpdesk.marketdata.state import MarketView
from scalpdesk.portfolio.delta_engine import OptionValuer
from scalpdesk.portfolio.strike_vols import ExpirySmile

SideName: TypeAlias = Literal["long", "short"]
RightName: TypeAlias = Literal["call", "put"]
SIDES: tuple[SideName, ...] = ("long", "short")
Listed: TypeAlias = tuple[InstrumentId, OptionContract]
_NEAREST_CENTRES = 7
"""Strikes about the forward at which a shape is placed that needs the market's smile for its other legs."""
_EVENT_DAYS = 400
"""So many days ahead a scheduled event is looked for."""


class At(StrEnum):
    """Where a leg stands."""

    CENTRE = "centre"
    BODY = "body"
    """At ``structure.body`` from the forward."""
    WING = "wing"
    """At ``structure.wing``, beyond the body, or the centre of a shape without one."""
    OUTER = "outer"
    """At ``structure.outer``, likewise."""


@dataclass(frozen=True, slots=True)
class ShapeLeg:
    """A leg of a shape."""

    ratio: int
    """Contracts of one set that is bought: positive when bought, negative when sold."""
    right: Right | None = None
    """None: the right that the settings name."""
    at: At = At.CENTRE
    """Out of the money from the centre, unless ``is_inside``."""
    is_inside: bool = False
    """Whether it stands on the other side of the centre than options of its right out of the money."""
    is_far: bool = False
    """Whether it has the later expiry."""
    is_many: bool = False
    """Whether ``structure.ratio`` multiplies it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of structure as a row of data; the first leg has the nearer expiry."""

    name: str
    legs: tuple[ShapeLeg, ...]
    body: str = "25d"
    wing: str = "25d"
    outer: str = "10d"
    """``body``, ``wing``, ``outer``: Distances unless the settings have others."""
    is_neutral: bool = True
    """Whether its delta is about 0 where it is opened: the largest delta at entry holds for it."""

    @property
    def is_centred(self) -> bool:
        """Whether its first leg stands at the centre: the choice of a strike is the choice of it."""
        return self.legs[0].at is At.CENTRE

    @property
    def places(self) -> tuple[At, ...]:
        """Where legs stand that do not stand at the centre, each once."""
        return tuple(dict.fromkeys(leg.at for leg in self.legs if leg.at is not At.CENTRE))

    @property
    def needs_smile(self) -> bool:
        """Whether a leg stands elsewhere than at the centre."""
        return bool(self.places)

    def at(self, options: Iterable[Listed], settings: "StructureConfig | None" = None) -> list[Structure]:
        """Return the structures of a chain by root, expiry and strike, where all legs stand at the centre.

        All legs of a structure have one root; where a leg is not listed there is no structure.
        """
        if self.needs_smile:
            raise ArgumentError(
                "the legs of this shape are placed by the market's smile",
                where="shape",
                value=self.name,
                fix="list its structures with a ShapeLister",
            )
        lister = ShapeLister(settings or StructureConfig(shape=self.name), self)
        lister.learn(options)
        return lister.all_centred()


C, P = Right.CALL, Right.PUT
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("straddle", (ShapeLeg(1, C), ShapeLeg(1, P))),
        Shape("strangle", (ShapeLeg(1, C, At.BODY), ShapeLeg(1, P, At.BODY))),
        Shape(
            "iron_fly",
            (ShapeLeg(1, C), ShapeLeg(1, P), ShapeLeg(-1, C, At.WING), ShapeLeg(-1, P, At.WING)),
        ),
        Shape(
            "iron_condor",
            (
                *(ShapeLeg(1, right, At.BODY) for right in (C, P)),
                *(ShapeLeg(-1, right, At.WING) for right in (C, P)),
            ),
            wing="10d",
        ),
        Shape("vertical", (ShapeLeg(1), ShapeLeg(-1, at=At.WING)), is_neutral=False),
        Shape("calendar", (ShapeLeg(-1), ShapeLeg(1, is_far=True))),
        Shape("diagonal", (ShapeLeg(-1, at=At.WING), ShapeLeg(1, is_far=True)), is_neutral=False),
        Shape("ratio", (ShapeLeg(1), ShapeLeg(-1, at=At.WING, is_many=True)), is_neutral=False),
        Shape("back_ratio", (ShapeLeg(-1), ShapeLeg(1, at=At.WING, is_many=True)), is_neutral=False),
        Shape("risk_reversal", (ShapeLeg(1, C, At.BODY), ShapeLeg(-1, P, At.BODY)), is_neutral=False),
        Shape(
            "butterfly",
            (
                ShapeLeg(-2),
                ShapeLeg(1, at=At.WING, is_inside=True),
                ShapeLeg(1, at=At.WING),
            ),
        ),
        Shape(
            "broken_wing",
            (
                ShapeLeg(-2),
                ShapeLeg(1, at=At.WING, is_inside=True),
                ShapeLeg(1, at=At.OUTER),
            ),
            is_neutral=False,
        ),
    )
}
STRADDLE = SHAPES["straddle"]


def shape_named(name: str) -> Shape:
    """Return a shape of the product's own or of an installed package.

    Raises ConfigError when the name is unknown.
    """
    return SOCKET.find_spec(Shape, name)


class Distance(NamedTuple):
    """Distance of a leg from the forward, or from the leg before it."""

    amount: float
    unit: Literal["d", "sd", "%", "p", ""]
    """Delta in hundredths, expected moves to expiry, percent of the forward, price of the option in currency
    per unit, or currency.
    """

    @classmethod
    def of(cls, text: str, where: str) -> "Distance":
        """Read ``25d``, ``1.5sd``, ``2%``, ``1.20p`` or ``5``.

        Raises ConfigError when the text is none of these, or a delta not between 0 and 50.
        """
        for unit in ("sd", "d", "%", "p", ""):
            number = text.strip().removesuffix(unit)
            if unit and number == text.strip():
                continue
            try:
                amount = float(number)
            except ValueError:
                break
            if math.isfinite(amount) and (amount >= 0.0 if unit != "d" else 0.0 < amount <= 50.0):
                return cls(amount, unit)
            break
        raise ConfigError(
            "a distance is a number with its unit",
            where=where,
            value=text,
            fix="use 25d (a delta of 0.25), 1.5sd (moves to expiry), 2%, 5 (currency) or 1.20p (a price)",
        )


def _refuse_ambiguous(distance: Distance, text: str, where: str) -> None:
    """Refuse a bare number that reads as a delta: 25 where 25d is meant, 0.25 likewise."""
    amount = distance.amount
    if distance.unit == "" and text.strip().isdigit() and 10 < amount <= 50:
        raise ConfigError(
            "a bare number is currency, and this one reads as a delta",
            where=where,
            value=text,
            fix=f"{amount:g}d for a delta of {amount / 100:g}, {amount:.2f} for a width in currency",
        )
    if distance.unit in ("", "d") and 0.0 < amount < 0.5:
        hundredths = 100.0 * amount
        raise ConfigError(
            "a fraction where points are meant",
            where=where,
            value=text,
            fix=f"{hundredths:g}d for a delta of {amount:g}; a width in currency is 0.50 at least",
        )


def _shape_with(place: At) -> str:
    """Return the first of our shapes that has legs at a place."""
    return next(shape.name for shape in SHAPES.values() if place in shape.places)


class StructureConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The structure that is traded: its shape and where its legs stand."""

    section = "structure"
    shape: str = "straddle"
    """``straddle``, ``strangle``, ``iron_fly``, ``iron_condor``, ``vertical``, ``calendar``, ``diagonal``,
    ``ratio``, ``back_ratio``, ``risk_reversal``, ``broken_wing``, ``butterfly``, or a plug-in's.
    """
    side: SideName = "long"
    """``long`` buys the shape (a straddle, or an iron fly for a debit), ``short`` sells it."""
    right: RightName = "call"
    """Right of the legs of ``vertical``, ``calendar``, ``diagonal``, ``ratio``, ``back_ratio``, ``butterfly``
    and ``broken_wing``.
    """
    body: str | None = None
    wing: str | None = None
    outer: str | None = None
    """``body``, ``wing``, ``outer``: Where legs stand that are not at the centre: ``25d`` at a delta of 0.25,
    ``1.5sd`` so many expected moves to expiry from the forward, ``2%`` of it, ``5`` currency from the leg
    before it (a width), ``1.20p`` where an option costs about so much. None: the shape's own.
    """
    ratio: Annotated[int, at_least(2, 10, "contracts for one of the first leg")] = 2
    """For ``ratio`` and ``back_ratio``."""
    far_days: Annotated[int, above(0, 1_000, "calendar days")] = 28
    """Calendar days between the expiries of ``calendar`` and ``diagonal``: the nearest listed expiry."""
    after_event: EventKind | None = None
    """Only the first expiry after the next event of this kind (``fomc``, ``cpi``, ``payrolls``)."""

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, a shape that is not known and distances that cannot be read."""
        super().__post_init__()
        shape = self.find_shape()
        for place, given in ((At.BODY, self.body), (At.WING, self.wing), (At.OUTER, self.outer)):
            if given is None:
                continue
            where, has = f"structure.{place}", shape.places
            if place not in has:
                raise ConfigError(
                    f"a {shape.name} has no {place}",
                    where=where,
                    value=given,
                    fix=f"leave it out, or set structure.{has[0]}={given}"
                    if has
                    else f"leave it out, or set structure.shape={_shape_with(place)}, which has a {place}",
                )
            _refuse_ambiguous(Distance.of(given, where), given, where)

    @property
    def sign(self) -> int:
        """1 where the shape is bought, -1 where it is sold."""
        return 1 if self.side == "long" else -1

    @property
    def days_behind(self) -> int:
        """Calendar days behind the nearer expiry that a later one is looked for; 0 for a shape of one."""
        return 2 * self.far_days if any(leg.is_far for leg in self.find_shape().legs) else 0

    @property
    def most_sold(self) -> int:
        """Contracts of the option that one set sells most of; 0 where all are bought."""
        counts = (
            self.sign * leg.ratio * (self.ratio if leg.is_many else 1) for leg in self.find_shape().legs
        )
        return max(0, *(-count for count in counts))

    @property
    def options_level(self) -> int:
        """Lowest options level of an account that may open it: 4 where a sold call is not covered.

        Sold puts are secured by cash below that.
        """
        counts = [
            (leg.right or self.own_right, self.sign * leg.ratio * (self.ratio if leg.is_many else 1))
            for leg in self.find_shape().legs
        ]
        if sum(count for right, count in counts if right is Right.CALL) < 0:
            return UNCOVERED
        return SPREADS if any(count < 0 for _, count in counts) else LONG_OPTIONS

    @property
    def own_right(self) -> Right:
        """Right of the legs whose shape leaves it to the settings."""
        return Right.CALL if self.right == "call" else Right.PUT

    def find_shape(self) -> Shape:
        """Return the shape."""
        return shape_named(self.shape)


class _ChainNow(Protocol):
    """A chain at an instant, as the legs of a shape are placed in it."""

    def smile(self, number: InstrumentId) -> ExpirySmile | None:
        """Return the smile of an option's expiry; None without one."""
        ...

    def traded(self, numbers: Sequence[InstrumentId], *, bought: bool = False) -> Sequence[bool]:
        """Return which of these options a leg may be: quoted well, with open interest enough.

        One that is only ``bought`` needs no bid.
        """
        ...

    def mid(self, number: InstrumentId) -> float:
        """Return an option's mid, currency per unit; not a number where it is not quoted on both sides."""
        ...


def quoted_to_open(
    market: MarketView, numbers: NDArray[np.int64], now_ns: int, bought: NDArray[np.bool_] | bool
) -> NDArray[np.bool_]:
    """Return which options have a good quote; of what is only ``bought`` an ask alone that shows a price."""
    table, quotes = market.table(numbers), market.quotes
    found = market.are_fine(table, numbers, now_ns) & (table.bid < table.ask)
    lacks_bid = bought & ~found & (table.ask > 0.0) & ~(table.bid > 0.0)
    if lacks_bid.any():
        # an ask is as fresh as a quote of both sides would be
        is_fresh = market.are_fine(table._replace(bid=0.5 * table.ask), numbers, now_ns)
        for place in np.flatnonzero(lacks_bid & is_fresh).tolist():
            quote = quotes[InstrumentId(int(numbers[place]))]
            if quote is not None and not market.is_stub(quote):
                verdict = judge_quote(quote.bid, quote.ask)
                found[place] = may_trade(verdict, Side.BUY, is_option=True, opens=True)
    return found


class QuotedChain:
    """The chain as a desk sees it.

    ``now_ns``: UTC nanoseconds.
    ``least_interest``: Open contracts that a leg must exceed; below zero any.
    """

    def __init__(
        self, market: MarketView, engine: OptionValuer, now_ns: int, least_interest: int = -1
    ) -> None:
        self._market, self._engine, self._now_ns = market, engine, now_ns
        self._least = least_interest

    def smile(self, number: InstrumentId) -> ExpirySmile | None:
        """Return the smile of an option's expiry, fitted to the quotes of now."""
        self._engine.follow((number,), self._now_ns)
        return self._engine.smile(number, self._now_ns)

    def traded(self, numbers: Sequence[InstrumentId], *, bought: bool = False) -> Sequence[bool]:
        """Return which of these options have a good quote and open interest enough."""
        interest = self._market.open_interest
        good = quoted_to_open(self._market, np.array(numbers, dtype=np.int64), self._now_ns, bought)
        return [
            is_good and (self._least < 0 or interest.get(number, -1) > self._least)
            for number, is_good in zip(numbers, good.tolist(), strict=True)
        ]

    def mid(self, number: InstrumentId) -> float:
        """Return an option's mid, currency per unit."""
        quote = self._market.quotes[number]
        return math.nan if quote is None or not quote.bid > 0.0 else quote.mid


class SeenChain(QuotedChain):
    """The chain as an onlooker sees it, who teaches the desk nothing by asking."""

    def smile(self, number: InstrumentId) -> ExpirySmile | None:
        """Return the smile of an option's expiry as the desk knows it."""
        return self._engine.smile(number, self._now_ns)


class _Expiry(NamedTuple):
    """Options of a root and expiry by right and strike."""

    root: str
    day: date
    by_strike: dict[tuple[Right, float], Listed]

    def traded(self, chain: _ChainNow, *, bought: bool) -> "_Expiry":
        """Return the options that a leg may be."""
        traded = chain.traded([number for number, _ in self.by_strike.values()], bought=bought)
        pairs = zip(self.by_strike.items(), traded, strict=True)
        return _Expiry(
            self.root, self.day, {place: listed for (place, listed), is_traded in pairs if is_traded}
        )

    def strikes(self, right: Right) -> list[float]:
        """Return the strikes of a right, ascending."""
        return sorted(strike for each, strike in self.by_strike if each is right)


_BySide: TypeAlias = Mapping[bool, _Expiry]
"""Options of an expiry that may be sold, and that may be bought (True)."""


class _UnmetError(Exception):
    """No option stands where a leg is wanted."""


class ShapeLister:
    """Lists the structures of one shape in a chain.

    ``config``: Side, right and distances.
    ``shape``: The shape; None for that of the settings.
    """

    def __init__(self, config: StructureConfig, shape: Shape | None = None) -> None:
        self.config = config
        self.shape = config.find_shape() if shape is None else shape
        own = config.own_right
        self._legs = [(leg, leg.right or own) for leg in self.shape.legs]
        places = {
            At.BODY: config.body or self.shape.body,
            At.WING: config.wing or self.shape.wing,
            At.OUTER: config.outer or self.shape.outer,
        }
        self._texts = places
        self._distance = {place: Distance.of(text, f"structure.{place}") for place, text in places.items()}
        self._bought: dict[tuple[At, int], bool] = {}
        """Whether a place is only bought at."""
        for leg, right in self._legs:
            key, is_bought = (leg.at, _direction(leg, right)), config.sign * leg.ratio > 0
            self._bought[key] = is_bought and self._bought.get(key, True)
        self.unmet = ""
        """Why a leg had no place when structures were listed last; empty where all had."""
        self.named: dict[Structure, tuple[str, ...]] = {}
        """Of structures listed last: legs that stand elsewhere than asked for, in words."""
        self._chain: dict[tuple[str, date], _Expiry] = {}
        self._centred: list[Structure] | None = None

    def learn(self, options: Iterable[Listed]) -> None:
        """Note the options that are listed."""
        self._chain, self._centred = {}, None
        for number, contract in options:
            key = contract.root, contract.expiry
            of_day = self._chain.setdefault(key, _Expiry(*key, {})).by_strike
            of_day[contract.right, float(contract.strike)] = number, contract
        self._chain = dict(sorted(self._chain.items()))

    def all_centred(self) -> list[Structure]:
        """Return the structures of a shape with all legs at the centre, one for each listed strike."""
        if self._centred is None:
            self._centred = found = []
            for near in self._chain.values():
                far = self._far_of(near)
                for strike in near.strikes(self._legs[0][1]):
                    sides = (None if each is None else {True: each, False: each} for each in (near, far))
                    found += self._made((next(sides), next(sides)), {At.CENTRE: {1: strike, -1: strike}})
        return self._centred

    def recognise(self, held: Mapping[InstrumentId, Decimal]) -> Structure | None:
        """Return the structure whose legs are held, whatever the distances; None where they form no such one.

        ``held`` has the signed contracts of every option that is held.
        """
        contracts = dict(
            number_and_contract
            for each in self._chain.values()
            for number_and_contract in each.by_strike.values()
        )
        if len(held) != len(self._legs) or not all(number in contracts for number in held):
            return None
        fitting = (
            self._fitting([(number, contracts[number]) for number in numbers])
            for numbers in permutations(sorted(held))
        )
        found = [each for each in fitting if each is not None]
        return max(found, key=lambda each: each.sets_held(held.__getitem__), default=None)

    def _fitting(self, listed: Sequence[Listed]) -> Structure | None:
        """Return the structure of options in the order of the shape's legs; None where they do not fit it."""
        near = listed[0][1]
        centre = next(
            (
                item[1].strike
                for item, (leg, _) in zip(listed, self._legs, strict=True)
                if leg.at is At.CENTRE
            ),
            None,
        )
        far = {item[1].expiry for item, (leg, _) in zip(listed, self._legs, strict=True) if leg.is_far}
        legs, bodies = [], dict[Right, Decimal]()
        for (number, contract), (leg, right) in zip(listed, self._legs, strict=True):
            count = self.config.sign * leg.ratio * (self.config.ratio if leg.is_many else 1)
            if leg.at is At.CENTRE:
                is_placed = contract.strike == centre
            elif leg.at is At.BODY:
                bodies[right] = contract.strike
                is_placed = centre is None or (contract.strike - centre) * _direction(leg, right) > 0
            else:
                base = bodies.get(right, centre)
                is_placed = base is None or (contract.strike - base) * _direction(leg, right) > 0
            expiry = next(iter(far), None) if leg.is_far else near.expiry
            if (
                contract.right is not right
                or contract.root != near.root
                or contract.expiry != expiry
                or not is_placed
            ):
                return None
            legs.append(StructureLeg(number, contract, count))
        if len(far) > 1 or any(day <= near.expiry for day in far):
            return None
        return Structure(tuple(legs))

    def list_now(
        self, chain: _ChainNow, now_ns: int, days: tuple[date, date], *, centres: int = _NEAREST_CENTRES
    ) -> Sequence[Structure]:
        """Return the structures as of now, whose nearer expiry lies within days, both included.

        ``chain``: Quotes and smiles, by which legs are placed that do not stand at the centre.
        ``now_ns``: UTC nanoseconds.
        ``days``: First and last expiry day.
        ``centres``: Strikes about the forward at which such a shape is placed.
        """
        after = self._first_after_event(now_ns, days[0])
        if not self.shape.needs_smile:
            found = self.all_centred()
            return found if after is None else [each for each in found if each.first_expiry == after]
        placed: list[Structure] = []
        self.unmet, self.named = "", {}
        for near in self._chain.values():
            if not days[0] <= near.day <= days[1] or near.day != (after or near.day):
                continue
            far, first = self._far_of(near), next(iter(near.by_strike.values()))[0]
            smile = chain.smile(first)
            if smile is None or smile.years <= 0.0:
                continue
            now, later = (
                None if each is None else {side: each.traded(chain, bought=side) for side in (True, False)}
                for each in (near, far)
            )
            assert now is not None
            lead, right = self._legs[0]
            first_leg = now[self.config.sign * lead.ratio > 0]
            by_distance = sorted(first_leg.strikes(right), key=lambda k: (abs(k - smile.forward), k))
            for centre in by_distance[: centres if self.shape.is_centred else 1]:
                words = list[str]()
                try:
                    made = self._made((now, later), self._strikes(near, now, centre, smile, chain, words))
                except _UnmetError as unmet:
                    self.unmet = self.unmet or f"{near.day}: {unmet}"
                    continue
                placed += made
                if words:
                    self.named |= dict.fromkeys(made, tuple(words))
        return sorted(placed, key=lambda each: (each.first_expiry, each.lead.contract.strike))

    def _first_after_event(self, now_ns: int, first: date) -> date | None:
        kind = self.config.after_event
        if kind is None:
            return None
        event = next(iter(events_between(now_ns, now_ns + _EVENT_DAYS * DAY_NS, (kind,))), None)
        ends = {
            each.day: expiry_instant_ns(next(iter(each.by_strike.values()))[1])
            for each in self._chain.values()
        }
        later = [day for day in ends if day >= first and event is not None and ends[day] > event.at_ns]
        return min(later, default=date.min)

    def _far_of(self, near: _Expiry) -> _Expiry | None:
        if not any(leg.is_far for leg, _ in self._legs):
            return near
        wanted = near.day + timedelta(days=self.config.far_days)
        later = [each for (root, day), each in self._chain.items() if root == near.root and day > near.day]
        return min(later, key=lambda each: abs(each.day - wanted), default=None)

    def _strikes(
        self,
        listed: _Expiry,
        now: _BySide,
        centre: float,
        smile: ExpirySmile,
        chain: _ChainNow,
        words: list[str],
    ) -> dict[At, dict[int, float]]:
        """Return the strike of each place, below (-1) and above the centre (1).

        ``words`` takes what stands elsewhere than asked for: a width is kept to or refused, any other
        distance is nearly met by the next option that may be traded.
        """
        found: dict[At, dict[int, float]] = {At.CENTRE: {1: centre, -1: centre}}
        wanted = {(leg.at, _direction(leg, right)): right for leg, right in self._legs}
        for place in (At.BODY, At.WING, At.OUTER):
            of_place = found.setdefault(place, {})
            for direction in (1, -1):
                right = wanted.get((place, direction))
                if right is None:
                    continue
                base = found[At.BODY].get(direction, centre) if place is not At.BODY else centre
                is_bought, distance = self._bought[place, direction], self._distance[place]
                traded = set(now[is_bought].strikes(right))
                ladder = [
                    strike
                    for strike in listed.strikes(right)[::direction]
                    if (strike - base) * direction > 0 or (strike == base and place is At.BODY)
                ]
                off = self._off(ladder, distance, base, direction, listed, smile, chain)
                best = _least(off)
                usable = [
                    each if strike in traded else math.nan for each, strike in zip(off, ladder, strict=True)
                ]
                chosen = _least(usable)
                name = f"{place} of {self._texts[place]} {'above' if direction > 0 else 'below'} {base:g}"
                lacks = "an ask" if is_bought else "both sides of a quote"
                if best is None or chosen is None:
                    raise _UnmetError(f"{name}: no option has {lacks} and open interest enough")
                gap = abs(off[best] - off[best - 1]) if best else math.inf
                is_near = abs(off[best]) <= 0.5 * gap + 1e-9 or best < len(ladder) - 1
                if not is_near and distance.unit == "":
                    raise _UnmetError(f"{name}: the listed strikes end at {ladder[-1]:g}")
                if chosen != best and distance.unit == "":
                    raise _UnmetError(f"{name}: that at {ladder[best]:g} lacks {lacks} or open interest")
                if chosen != best:
                    why = f"that at {ladder[best]:g} lacks {lacks} or open interest"
                    words.append(f"{name} at {ladder[chosen]:g}: {why}")
                elif not is_near:
                    words.append(f"{name} at {ladder[chosen]:g}: the listed strikes end there")
                elif distance.unit == "" and abs(off[best]) > 1e-9:
                    words.append(f"{name} at {ladder[chosen]:g}: the nearest that is listed")
                of_place[direction] = ladder[chosen]
        return found

    def _off(
        self,
        ladder: list[float],
        distance: Distance,
        base: float,
        direction: int,
        near: _Expiry,
        smile: ExpirySmile,
        chain: _ChainNow,
    ) -> list[float]:
        """Return by how much each strike of a ladder is off a distance, in its unit, with its sign."""
        strikes, forward, amount = np.array(ladder), smile.forward, distance.amount
        at_money = float(smile.vols(np.zeros(1))[0]) * math.sqrt(smile.variance_years)
        if distance.unit == "d":
            k = np.log(strikes / forward)
            width = smile.vols(k) * math.sqrt(smile.variance_years)
            d1 = direction * (0.5 * width - k / width)
            deltas = [0.5 * math.erfc(-each / math.sqrt(2.0)) for each in d1.tolist()]
            off = np.array(deltas) - amount / 100.0
        elif distance.unit == "sd":
            off = np.log(strikes / forward) - direction * amount * at_money
        elif distance.unit == "%":
            off = strikes - forward * (1.0 + direction * amount / 100.0)
        elif distance.unit == "p":
            outside = Right.CALL if direction > 0 else Right.PUT
            listed = [near.by_strike.get((outside, strike)) for strike in ladder]
            mids = [math.nan if each is None else chain.mid(each[0]) for each in listed]
            off = np.array(mids) - amount
        else:
            off = strikes - (base + direction * amount)
        return [float(each) for each in off]

    def _made(
        self, expiries: tuple[_BySide | None, _BySide | None], strikes: dict[At, dict[int, float]]
    ) -> list[Structure]:
        legs = []
        for leg, right in self._legs:
            expiry, count = expiries[leg.is_far], self.config.sign * leg.ratio
            strike = strikes[leg.at][_direction(leg, right)]
            listed = None if expiry is None else expiry[count > 0].by_strike.get((right, strike))
            if listed is None:
                return []
            legs.append(StructureLeg(*listed, count * (self.config.ratio if leg.is_many else 1)))
        return [Structure(tuple(legs))]


def _least(off: Sequence[float]) -> int | None:
    """Return the place of the smallest by size; of equals the first, None without any."""
    known = [place for place, each in enumerate(off) if math.isfinite(each)]
    return min(known, key=lambda place: abs(off[place]), default=None)


def _direction(leg: ShapeLeg, right: Right) -> int:
    """Return 1 for a leg above the centre, -1 for one below: calls above unless they stand inside."""
    return 1 if right.is_call != leg.is_inside else -1
