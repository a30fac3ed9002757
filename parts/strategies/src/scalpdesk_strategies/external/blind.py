"""A folder that does not see its hedge: it asks again for what it has already sent."""

from decimal import Decimal

from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId

MOST_BLIND = 4
"""Orders in a row that a folder which sees its hedge does not send."""

Held = dict[InstrumentId, Decimal]


class BlindWatch:
    """Counts orders for the shares that what was sent before them had made needless.

    Such an order asks for the whole delta of the options although shares of its own side are held against it,
    or leads away from a net delta of zero after a hedge of its side; and what is held after it is far from a
    hedge. Another side, other options, or an order that fits begins the count anew.
    """

    def __init__(self) -> None:
        self._options: Held = {}
        self._side = 0
        self._has_hedged = False
        self.count = 0

    def judge(
        self,
        signed: Decimal,
        purpose: Purpose,
        *,
        options: Held,
        options_delta_shares: float | None,
        multiplier: int,
        held_shares: Decimal,
    ) -> bool:
        """Return whether an order for the shares is the last of too many.

        ``signed`` and ``held_shares``: Shares of the order and before it; working orders count as held.
        ``options``: Exposure by option; ``options_delta_shares`` is their delta, None where it is not known.
        """
        side = 1 if signed > 0 else -1
        if options != self._options or side != self._side:
            self._options, self._side, self._has_hedged, self.count = options, side, False, 0
        is_again = False
        if options_delta_shares is not None and options:
            whole, order, held = options_delta_shares, float(signed), float(held_shares)
            asks_whole = held * side >= 1 and any(
                abs(order + each) <= 0.5 for each in (whole, whole / multiplier)
            )
            leads_away = self._has_hedged and purpose is Purpose.OPEN
            # a share more or less beside a hedge that is nearly whole is a matter of rounding, or of a model
            is_far = abs(whole + held + order) > abs(whole) / 2
            is_again = is_far and (asks_whole or leads_away)
        self.count = self.count + 1 if is_again else 0
        self._has_hedged = self._has_hedged or purpose is Purpose.HEDGE
        return self.count >= MOST_BLIND
