"""Fixed sets of values that events, decisions and the risk gate share; journals hold their values as text."""

from enum import StrEnum
from typing import Literal

Quality = Literal["clean", "real"]
"""Quotes of the embedded market: as they are drawn, or with the faults that recorded quotes have."""


class Mode(StrEnum):
    """Trading mode of the desk: which orders it may send."""

    ACTIVE = "ACTIVE"
    """Everything that passes the risk checks."""
    REDUCING = "REDUCING"
    """Only orders that lower risk."""
    FLATTENING = "FLATTENING"
    """Closing everything that is held."""
    HALTED = "HALTED"
    """No orders at all."""


STRICTNESS = tuple(Mode)
"""The desk's modes, the freest first."""


class OperatorAction(StrEnum):
    """An operator command that changes the desk's mode."""

    HALT = "halt"
    RESUME = "resume"
    REDUCE = "reduce"
    FLATTEN = "flatten"

    @property
    def mode(self) -> Mode:
        """Mode of the desk after the command."""
        return _MODE_AFTER[self]


_MODE_AFTER = {
    OperatorAction.HALT: Mode.HALTED,
    OperatorAction.RESUME: Mode.ACTIVE,
    OperatorAction.REDUCE: Mode.REDUCING,
    OperatorAction.FLATTEN: Mode.FLATTENING,
}


class OperatorCause(StrEnum):
    """Origin of a change of the desk's mode."""

    PERSON = "person"
    STOP = "stop"
    """An orderly stop of the run, or the start that ends it: neither changes the mode that is kept."""
    DEADLINE = "deadline"
    """Held options expire."""
    VENUE = "venue"
    """The venue ended the session for good, revoked keys for example."""
    RECONCILIATION = "reconciliation"
    """Nothing explains a difference between desk and account."""
    FAULT = "fault"
    """An event raised in the desk's own code."""


class SessionPhase(StrEnum):
    """Which end of a trading session an event marks."""

    OPEN = "open"
    CLOSE = "close"


class ChangeCause(StrEnum):
    """Why units or cash of the account moved without an order of the desk."""

    EXERCISE = "exercise"
    ASSIGNMENT = "assignment"
    EXPIRED_WORTHLESS = "expired_worthless"
    CASH_SETTLEMENT = "cash_settlement"
    DELIVERY = "delivery"
    VARIATION = "variation"
    """A future's daily settlement: its position goes on at the settlement price."""
    DIVIDEND = "dividend"
    INTEREST = "interest"
    FUNDING = "funding"
    """Between the longs and the shorts of a perpetual."""
    FEE = "fee"
    CORPORATE_ACTION = "corporate_action"
    MANUAL_TRADE = "manual_trade"
    AUTO_LIQUIDATION = "auto_liquidation"
    """The venue closed the position itself."""
    TRANSFER = "transfer"
    """Moved in or out by the account's owner: neither gain nor loss."""
    BUST = "bust"
    """The venue cancelled an execution; found by reconciliation only."""


CARRY = frozenset({ChangeCause.DIVIDEND, ChangeCause.INTEREST, ChangeCause.FUNDING, ChangeCause.FEE})
"""Causes whose cash is booked as carry."""
ENDED = frozenset({ChangeCause.CASH_SETTLEMENT, ChangeCause.EXPIRED_WORTHLESS})
"""Causes that end an option at its payoff in cash."""
EXERCISED = frozenset({ChangeCause.EXERCISE, ChangeCause.ASSIGNMENT})
"""Causes that end an option and are followed by the delivery of its underlying."""


class DecisionKind(StrEnum):
    """Subject of a decision."""

    ENTRY = "entry"
    EDGE = "edge"
    """The course of the entry gate's edge against its bar."""
    HEDGE = "hedge"
    HEDGE_SECOND_ORDER = "hedge_second_order"
    """The second of two orders of a hedge that turns a holding from long to short, or back."""
    HEDGE_FILL = "hedge_fill"
    EXIT = "exit"
    RISK = "risk"
    MODE = "mode"
    SESSION = "session"
    SUMMARY = "summary"
    ALERT = "alert"
    VENUE = "venue"
    """What the venue said; the desk decides nothing by it."""
    RIGHT_OF_WAY = "right_of_way"
    """A hedge or exit that waits for another strategy's order to be off the book, or has waited."""
