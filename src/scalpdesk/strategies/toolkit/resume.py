"""Holdings of a strategy's instruments: their cost, and their adoption at the start."""

from collections.abc import Callable, Container, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.structure import legs_text
from scalpdesk.strategies.contract import DeskView, Proposal

Holdings = Mapping[InstrumentId, Decimal]
"""Signed quantities by instrument."""


def held_of(view: DeskView, candidates: Container[InstrumentId]) -> list[InstrumentId]:
    """Return which of these instruments are held, in the order of their first trade."""
    return [
        position.instrument_id for position in view.positions.held() if position.instrument_id in candidates
    ]


def cost_of(view: DeskView, held: Iterable[InstrumentId]) -> Decimal:
    """Return what the present positions in these instruments cost before fees, in currency."""
    positions = (view.positions.positions[number] for number in held)
    return sum((each.quantity * each.average_price * each.multiplier for each in positions), Decimal(0))


class Adopted(NamedTuple):
    """Holdings as expected: adopted by the strategy."""

    held: Holdings
    names: str
    """Quantities and symbols, in words."""


class ResumeRefused(NamedTuple):
    """Holdings other than expected: left alone."""

    proposal: Proposal
    """The refusal, with what is held."""


class Flat(NamedTuple):
    """Nothing of the candidates is held."""


def resume(
    view: DeskView, candidates: Container[InstrumentId], wrong: Callable[[Holdings], str] = lambda _: ""
) -> Adopted | ResumeRefused | Flat:
    """Judge what the account holds of the instruments that a strategy trades.

    ``view``: The desk.
    ``candidates``: Instruments that the strategy would take over.
    ``wrong``: Returns why holdings are not what the strategy would have built, in words; empty when they are.
    """
    held = {number: view.positions.quantity(number) for number in held_of(view, candidates)}
    if not held:
        return Flat()
    names = legs_text((quantity, view.instruments[number].symbol) for number, quantity in held.items())
    why = wrong(held)
    if not why:
        return Adopted(held, names)
    reason = f"resume refused: {why}: {names}; use mode=init to start flat"
    return ResumeRefused(Proposal(DecisionKind.ENTRY, (reason,)))


def begins_afresh(view: DeskView) -> bool:
    """Return whether a session that opens now is a new run of a live desk: free, flat, no order alive.

    Such a run has not seen the sessions before; a backtest over days decides on the same.
    """
    return view.mode is Mode.ACTIVE and not view.positions.held() and not view.orders.live
