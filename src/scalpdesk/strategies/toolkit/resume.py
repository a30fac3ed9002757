"""Taking over what the account holds at the start."""

from collections.abc import Callable, Container, Mapping
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.units import InstrumentId
from scalpdesk.strategies.contract import DeskView, Proposal

Holdings = Mapping[InstrumentId, Decimal]
"""Signed quantities by instrument."""


class Adopted(NamedTuple):
    """What is held is what is expected, and is this strategy's from now on."""

    held: Holdings
    names: str
    """Quantities and symbols, in words."""


class ResumeRefused(NamedTuple):
    """What is held is not what is expected: nothing is touched."""

    proposal: Proposal
    """The refusal, with what is held."""


class Flat(NamedTuple):
    """Nothing of the candidates is held."""


def resume(
    view: DeskView, candidates: Container[InstrumentId], wrong: Callable[[Holdings], str] = lambda _: ""
) -> Adopted | ResumeRefused | Flat:
    """Judge what the account holds of the instruments that a strategy trades.

    Parameters
    ----------
    view
        The desk.
    candidates
        Instruments that the strategy would take over.
    wrong
        Returns why holdings are not what the strategy would have built, in words; empty when they are.
    """
    held = {
        number: position.quantity
        for number, position in view.positions.positions.items()
        if position.quantity and number in candidates
    }
    if not held:
        return Flat()
    names = ", ".join(f"{quantity:+f} {view.instruments[number].symbol}" for number, quantity in held.items())
    why = wrong(held)
    if not why:
        return Adopted(held, names)
    reason = f"resume refused: {why}: {names}; use mode=init to start flat"
    return ResumeRefused(Proposal(DecisionKind.ENTRY, (reason,)))
