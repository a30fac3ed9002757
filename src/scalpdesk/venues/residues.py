"""Parts of holdings that no order over a venue's API can sell: a fraction of a share, less than one step.

A dividend that is reinvested, a split or a liquidation leaves them behind. The desk never sees them: it would
send the same refused order for ever, open nothing beside it, and never end a flatten. A person is told once.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from scalpdesk.core.units import ZERO, number_text
from scalpdesk.venues.contract import NoticeKind, VenuePosition
from scalpdesk.venues.event_queue import EventPublisher


def _step(held: VenuePosition) -> Decimal:
    return ZERO if held.instrument is None else held.instrument.step


class Residues:
    """Splits what an account holds into what its API sells and the rest.

    ``step``: Returns the least quantity of an order in a holding, and its step; 0 where any quantity may go.
    """

    def __init__(self, publisher: EventPublisher, step: Callable[[VenuePosition], Decimal] = _step) -> None:
        self._publisher, self._step = publisher, step
        self._named: dict[str, Decimal] = {}
        self.held: tuple[VenuePosition, ...] = ()
        """Parts that the latest holdings had beyond whole steps."""

    def without(self, positions: Iterable[VenuePosition]) -> tuple[VenuePosition, ...]:
        """Return the holdings in whole steps; name each part beyond them once."""
        whole, parts = list[VenuePosition](), list[VenuePosition]()
        for held in positions:
            step = self._step(held)
            part = held.quantity % step if step else ZERO  # it has the sign of the holding
            whole.append(msgspec.structs.replace(held, quantity=held.quantity - part) if part else held)
            if part:
                parts.append(msgspec.structs.replace(held, quantity=part))
                self._name(parts[-1], step)
        self.held = tuple(parts)
        self._named = {held.symbol: held.quantity for held in parts}
        return tuple(whole)

    def _name(self, part: VenuePosition, step: Decimal) -> None:
        if self._named.get(part.symbol) == part.quantity:
            return
        self._publisher.count("unsellable")
        detail = (
            f"{part}: the API takes no order for less than {number_text(step)}. The desk leaves it out of its"
            " account; sell it on the broker's own page"
        )
        self._publisher.notice(NoticeKind.LIMITED, "orders", "unsellable", detail)
