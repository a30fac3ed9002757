"""What the strategies of one wake have asked for, while it can still be netted."""

from decimal import Decimal

import msgspec

from scalpdesk.core.intents import AskFolder, CancelIntent, Intent, OrderIntent, SetTimer
from scalpdesk.core.units import InstrumentId
from scalpdesk.strategies.contract import Action, Proposal
from scalpdesk.strategies.several.member import Member
from scalpdesk.strategies.several.netting import can_meet, wish_of

ZERO = Decimal(0)


class Piece(msgspec.Struct):
    """An order on its way out; ``left`` is what of it is not crossed inside."""

    member: Member
    intent: OrderIntent
    left: Decimal


class Outgoing(msgspec.Struct):
    """One proposal of one strategy on its way out."""

    member: Member
    proposal: Proposal
    notes: list[str] = msgspec.field(default_factory=list)
    pieces: list[Piece] = msgspec.field(default_factory=list)
    cancels: list[CancelIntent] = msgspec.field(default_factory=list)
    is_done_inside: bool = False
    """Something of it was done without the venue."""

    def as_proposal(self) -> Proposal:
        """Return what the engine is told."""
        name = self.member.name
        intents: list[Intent] = [
            msgspec.structs.replace(piece.intent, quantity=piece.left, owner=name)
            for piece in self.pieces
            if piece.left > 0
        ]
        return Proposal(
            self.proposal.kind,
            (*self.proposal.reasons, *self.notes),
            {"strategy": name, **self.proposal.facts},
            (*self.cancels, *intents),
            self.proposal.all_or_none,
            carried_out=self.is_done_inside,
        )


class Outbox:
    """Collects the actions of one wake in order."""

    def __init__(self) -> None:
        self._entries: list[Outgoing | Proposal | SetTimer | AskFolder] = []

    def add(self, entry: Outgoing | Proposal | SetTimer | AskFolder) -> None:
        """Put something at the end."""
        self._entries.append(entry)

    def actions(self) -> tuple[Action, ...]:
        """Return everything as the engine takes it."""
        return tuple(one.as_proposal() if isinstance(one, Outgoing) else one for one in self._entries)

    def pieces(self) -> list[Piece]:
        """Return the orders that are on their way out."""
        return [
            piece
            for one in self._entries
            if isinstance(one, Outgoing)
            for piece in one.pieces
            if piece.left > 0
        ]

    def meeting(self, member: Member, intent: OrderIntent) -> list[Piece]:
        """Return other strategies' orders on their way out that this one could meet."""
        wish = wish_of(intent)
        return [
            piece
            for piece in self.pieces()
            if piece.member is not member and can_meet(wish, wish_of(piece.intent))
        ]

    def signed(self, number: InstrumentId) -> tuple[Decimal, Decimal]:
        """Return the units of an instrument on their way out: sold (zero or below) and bought."""
        sells = buys = ZERO
        for piece in self.pieces():
            if piece.intent.instrument_id == number:
                signed = piece.left * piece.intent.side.sign
                sells, buys = sells + min(signed, ZERO), buys + max(signed, ZERO)
        return sells, buys

    def pieces_of(self, member: Member) -> list[Piece]:
        """Return the member's orders on their way out."""
        return [piece for piece in self.pieces() if piece.member is member]

    def note_crossed(self, piece: Piece, note: str) -> None:
        """Say of the proposal that this order belongs to that part of it was crossed inside."""
        for one in self._entries:
            if isinstance(one, Outgoing) and any(own is piece for own in one.pieces):
                one.is_done_inside = True
                one.notes.append(note)
