"""Names of positions: which shape a set of held options forms."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import reduce
from math import gcd
from typing import NamedTuple

from scalpdesk.core.sockets import SHAPES as SOCKET
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.entry.shapes import (
    SHAPES,
    SIDES,
    RightName,
    ShapeLister,
    SideName,
    StructureConfig,
    shape_named,
)
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.structure import Structure

_MOST_LEGS = 6
"""A book of more options is no single structure: its legs are tried in every order."""
_BUTTERFLY = "butterfly"


class NamedStructure(NamedTuple):
    """A position that is so many sets of a shape."""

    shape: str
    side: SideName
    structure: Structure
    sets: int

    def __str__(self) -> str:
        """Return sets, side and shape, as ``2 × short iron fly``."""
        count = f"{self.sets} × " if self.sets > 1 else ""
        return f"{count}{self.side} {self.shape.replace('_', ' ')}"


def name_structure(held: Iterable[tuple[OptionContract, Decimal]]) -> NamedStructure | None:
    """Return the shape that the held options are whole sets of; None where they form no such one.

    What is both the long side of a shape and the short side of another, as a back ratio and a ratio, has the
    name of the long side. A butterfly has wings of equal width; with others it is a broken wing.

    ``held``: Every option that is held, with its signed quantity.
    """
    legs = list(held)
    counts = [int(quantity) for _, quantity in legs]
    if not 2 <= len(legs) <= _MOST_LEGS or not all(counts) or counts != [quantity for _, quantity in legs]:
        return None
    sets = reduce(gcd, counts)
    quantities = {InstrumentId(number): quantity / sets for number, (_, quantity) in enumerate(legs)}
    listed = [(InstrumentId(number), contract) for number, (contract, _) in enumerate(legs)]
    for settings in _candidates(len(legs), most=max(map(abs, counts)) // sets):
        lister = ShapeLister(settings)
        lister.learn(listed)
        found = lister.recognise(quantities)
        if found is None or found.ratios != quantities:
            continue
        if settings.shape == _BUTTERFLY and not _has_equal_wings(found):
            continue
        return NamedStructure(settings.shape, settings.side, found, sets)
    return None


def structure_of(held: Iterable[tuple[Instrument, Decimal]]) -> NamedStructure | None:
    """Return which shape the options of a position form, None where they form none.

    What is no option is left out; an option may come in parts.
    """
    sums = dict[OptionContract, Decimal]()
    for instrument, quantity in held:
        if instrument.is_option:
            sums[instrument] = sums.get(instrument, ZERO) + quantity
    return name_structure((contract, quantity) for contract, quantity in sums.items() if quantity)


def structure_text(held: Iterable[tuple[Instrument, Decimal]]) -> str | None:
    """Return in words which shape the options of a position form, None where they form none."""
    named = structure_of(held)
    return None if named is None else str(named)


def _candidates(legs: int, *, most: int) -> Iterator[StructureConfig]:
    installed = (each.name for each in SOCKET.members() if each.problem is None)
    names = [*SHAPES, *(name for name in installed if name not in SHAPES)]
    shapes = [shape for shape in map(shape_named, names) if len(shape.legs) == legs]
    for side in SIDES:
        for shape in shapes:
            ratio = most if 2 <= most <= 10 and any(leg.is_many for leg in shape.legs) else 2
            has_right = any(leg.right is None for leg in shape.legs)
            rights: tuple[RightName, ...] = ("call", "put") if has_right else ("call",)
            for right in rights:
                yield StructureConfig(shape=shape.name, side=side, right=right, ratio=ratio)


def _has_equal_wings(structure: Structure) -> bool:
    body, *wings = (leg.contract.strike for leg in structure.legs)
    return len({abs(wing - body) for wing in wings}) == 1
