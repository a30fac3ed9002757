"""Structures, which are options traded together in signed ratios, and the shapes by which a chain lists them.

A structure is a value: its legs, and nothing of the market or of the account. A shape is a row of data, from
which ``Shape.at`` makes the structures of a chain.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId, number_text
from scalpdesk.instruments.contract import OptionContract, Right

QuantityOf: TypeAlias = Callable[[InstrumentId], Decimal]
"""Signed contracts of an option: held, or held and ordered."""


class StructureLeg(NamedTuple):
    """An option of a structure."""

    option_id: InstrumentId
    contract: OptionContract
    ratio: int
    """Contracts of one set: positive when bought, negative when sold."""


@dataclass(frozen=True, slots=True)
class Structure:
    """Options in fixed signed ratios; one set of it has ``ratio`` contracts of each leg.

    Raises
    ------
    ArgumentError
        Without legs, with an option twice, or with a ratio of 0.
    """

    legs: tuple[StructureLeg, ...]
    option_ids: tuple[InstrumentId, ...] = field(init=False, repr=False, compare=False)
    first_expiry: date = field(init=False, repr=False, compare=False)
    last_expiry: date = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the legs, and keep what is asked for at every wake."""
        ids = tuple(leg.option_id for leg in self.legs)
        if not ids or len(set(ids)) < len(ids) or not all(leg.ratio for leg in self.legs):
            raise ArgumentError(
                "a structure has at least one leg, each option once and no ratio of 0",
                where="legs",
                value=str(self),
                fix="add up the ratios of an option, and leave out what comes to 0",
            )
        expiries = [leg.contract.expiry for leg in self.legs]
        object.__setattr__(self, "option_ids", ids)
        object.__setattr__(self, "first_expiry", min(expiries))
        object.__setattr__(self, "last_expiry", max(expiries))

    def __str__(self) -> str:
        """Return ratio and symbol of each leg: the same text in every run and version."""
        return legs_text((Decimal(leg.ratio), leg.contract.symbol) for leg in self.legs)

    @property
    def lead(self) -> StructureLeg:
        """The first leg, by whose strike and expiry its shape places the others."""
        return self.legs[0]

    @property
    def strikes(self) -> str:
        """Strikes as text, each once and in the order of the legs."""
        return "/".join(dict.fromkeys(number_text(leg.contract.strike) for leg in self.legs))

    @property
    def label(self) -> str:
        """Expiries and strikes as text."""
        return f"{'/'.join(dict.fromkeys(str(leg.contract.expiry) for leg in self.legs))} {self.strikes}"

    def total(self, figures: Iterable[float]) -> float:
        """Return a figure of one set, such as its delta, from the figures of its options."""
        return sum((leg.ratio * figure for leg, figure in zip(self.legs, figures, strict=True)), 0.0)

    def sets_held(self, quantity: QuantityOf) -> int:
        """Return the whole sets that every leg has; negative where a leg is held the other way round."""
        return min(int(quantity(leg.option_id) / leg.ratio) for leg in self.legs)

    def is_whole(self, quantity: QuantityOf) -> bool:
        """Return whether the quantities stand in the ratios of the legs; also true when flat."""
        return len({quantity(leg.option_id) / leg.ratio for leg in self.legs}) == 1

    def missing(self, sets: int, quantity: QuantityOf) -> dict[InstrumentId, Decimal]:
        """Return what to trade in each leg to have ``sets`` sets: positive to buy, negative to sell."""
        return {leg.option_id: sets * leg.ratio - quantity(leg.option_id) for leg in self.legs}


def legs_text(legs: Iterable[tuple[Decimal, str]]) -> str:
    """Return signed quantities with their symbols as text."""
    return ", ".join(f"{quantity:+f} {symbol}" for quantity, symbol in legs)


@dataclass(frozen=True, slots=True)
class ShapeLeg:
    """A leg of a shape: what is traded, and where it stands beside the first leg."""

    right: Right
    side: Side
    ratio: int = 1
    """Contracts of one set, above 0."""
    strike: Callable[[OptionContract], Decimal] = attrgetter("strike")
    expiry: Callable[[OptionContract], date] = attrgetter("expiry")
    """``strike``, ``expiry``: Those of the leg, given the first leg's contract; by default the same."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of structure as a row of data; its first leg stands at each listed option of its right."""

    name: str
    legs: tuple[ShapeLeg, ...]

    def at(self, options: Iterable[tuple[InstrumentId, OptionContract]]) -> list[Structure]:
        """Return the structures of a chain, by root, expiry and strike of the first leg.

        All legs of a structure have one root; where a leg is not listed there is no structure.
        """
        place_of, found = attrgetter("root", "expiry", "strike", "right"), []
        listed = {place_of(contract): (number, contract) for number, contract in options}
        for place in sorted(listed):
            first = listed[place][1]
            places = [(first.root, leg.expiry(first), leg.strike(first), leg.right) for leg in self.legs]
            if places[0] == place and all(each in listed for each in places):
                pairs = zip(places, self.legs, strict=True)
                legs = (StructureLeg(*listed[each], leg.side.sign * leg.ratio) for each, leg in pairs)
                found.append(Structure(tuple(legs)))
        return found


STRADDLE = Shape("straddle", (ShapeLeg(Right.CALL, Side.BUY), ShapeLeg(Right.PUT, Side.BUY)))
