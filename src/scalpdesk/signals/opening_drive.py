"""Opening drive: a day that leaves its opening price and the levels of the day before with volume."""

from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import MarketFacts, Reading, absent, scored, sign

_MOVE_FRACTION = 0.002
_VOLUME_RATIO_ABOVE = 2.0


class OpeningDrive:
    """Away from the open, beyond yesterday's range, on volume.

    3 points for more than 0.20 % from the opening price; only then 2.5 beyond the high (low) of the
    session before or else 2 beyond the premarket's: a level is left only by a price that has moved.
    2 for an opening volume of more than twice the usual. Goes where the price went. The two definitions
    score alike: ``measured`` insists on levels computed from bars and leaves the premarket's points out
    where the feed has no premarket; ``original`` is absent where a move would need them to be scored.
    """

    name: ClassVar[str] = "OPENING_DRIVE"
    weight: ClassVar[float] = 7.5
    minimum: ClassVar[float] = 6.0
    high_from: ClassVar[float] = 6.0
    medium_from: ClassVar[float] = 4.0

    def measured(self, facts: MarketFacts) -> Reading:
        """Score with the levels there are."""
        return self._score(facts, needs_overnight=False)

    def original(self, facts: MarketFacts) -> Reading:
        """Score with all levels, or not at all."""
        return self._score(facts, needs_overnight=True)

    def _score(self, facts: MarketFacts, *, needs_overnight: bool) -> Reading:
        start = facts.open_price
        if not start:
            return absent(self, "the opening price is not known")
        if facts.prior_high is None or facts.prior_low is None:
            return absent(self, "the range of the session before is not known")
        if facts.opening_volume_ratio is None:
            why = facts.opening_volume_unknown
            return absent(self, why or "no earlier sessions to compare the opening volume with")
        moved = facts.price / start - 1.0
        side = sign(moved)
        prior = facts.prior_high if side > 0 else facts.prior_low
        overnight = facts.overnight_high if side > 0 else facts.overnight_low
        edge = "high" if side > 0 else "low"
        score, reasons = 0.0, []
        if exceeds(abs(moved), _MOVE_FRACTION):
            score += 3.0
            reasons.append(f"{moved:+.2%} from the open: +3")
            if exceeds(side * facts.price, side * prior):
                score += 2.5
                reasons.append(f"beyond the {edge} of the session before, {prior:.2f}: +2.5")
            elif overnight is None:
                if needs_overnight:
                    return absent(self, "the premarket's range is not known")
            elif exceeds(side * facts.price, side * overnight):
                score += 2.0
                reasons.append(f"beyond the premarket's {edge}, {overnight:.2f}: +2")
        if exceeds(facts.opening_volume_ratio, _VOLUME_RATIO_ABOVE):
            score += 2.0
            reasons.append(f"opening volume {facts.opening_volume_ratio:.2f} times the usual: +2")
        return scored(self, score, side, reasons)


PLUG = OpeningDrive
