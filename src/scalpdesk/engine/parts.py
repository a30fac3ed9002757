"""The parts of an engine, made for one another: each holds one subject, all share an event's turn."""

from typing import NamedTuple

from scalpdesk.engine.bookings import Bookings
from scalpdesk.engine.cancels import Cancels
from scalpdesk.engine.decisions import Decisions
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.flattening import Flattening
from scalpdesk.engine.halts import TradingHalts
from scalpdesk.engine.modes import Modes
from scalpdesk.engine.turn import Turn
from scalpdesk.strategies.contract import Strategy


class EngineParts(NamedTuple):
    """What :class:`scalpdesk.engine.trading_engine.TradingEngine` hands events to."""

    turn: Turn
    cancels: Cancels
    decisions: Decisions
    flattening: Flattening
    modes: Modes
    halts: TradingHalts
    bookings: Bookings


def parts_of(desk: Desk, strategy: Strategy) -> EngineParts:
    """Return the parts of a desk's engine."""
    turn = Turn()
    cancels = Cancels(desk, turn)
    decisions = Decisions(desk, turn, cancels, strategy)
    flattening = Flattening(desk, turn, decisions)
    modes = Modes(desk, turn, cancels, flattening)
    halts = TradingHalts(desk, turn, cancels, flattening)
    return EngineParts(
        turn, cancels, decisions, flattening, modes, halts, Bookings(desk, turn, modes, flattening)
    )
