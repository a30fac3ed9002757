"""VWAP reclaim: a price that stayed on one side of the session's average crosses it with volume."""

from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import MarketFacts, Reading, absent, scored, sign

_NEAR_USD = 0.20
_VOLUME_RATIO_ABOVE = 1.5
BARS_BEFORE = 3
_AWAY_FRACTION = 0.001
_WELL_BEYOND_FRACTION = 0.0005


class VwapReclaim:
    """A close on the other side of the volume-weighted price after three away from it.

    ``measured``: three closed minutes each at least 0.10 % on one side of the average as it stood then,
    followed by a close on the other side: 4 points; 2 more for 1.5 times the usual volume (without it
    the least score is not reached); 1 more when the close lies 0.05 % beyond. Goes to the new side.

    ``original``: 4 points for any price within 0.20 USD of the average, 2 for volume, 1 when the last
    close is nearer to it than the one before. Being near says nothing about where to: no direction.
    """

    name: ClassVar[str] = "VWAP_RECLAIM"
    weight: ClassVar[float] = 7.0
    minimum: ClassVar[float] = 5.0
    high_from: ClassVar[float] = 5.0
    medium_from: ClassVar[float] = 3.0

    def measured(self, facts: MarketFacts) -> Reading:
        """Three minutes on one side, a close on the other, volume."""
        if len(facts.bars) < BARS_BEFORE + 1:
            return absent(self, f"fewer than {BARS_BEFORE + 1} closed minutes")
        distances = [
            None if bar.vwap is None else bar.close / bar.vwap - 1.0 for bar in facts.bars[-BARS_BEFORE - 1 :]
        ]
        known = [distance for distance in distances if distance is not None]
        if len(known) < len(distances):
            return absent(self, "no volume-weighted price: the bars carry no volume")
        if facts.volume_ratio is None:
            why = facts.volume_unknown
            return absent(self, why or "no earlier sessions to compare the volume with")
        before, now = known[:-1], known[-1]
        side = sign(now)
        was_away = all(-side * distance >= _AWAY_FRACTION - 1e-12 for distance in before)
        if not side or not was_away:
            return scored(self, 0.0, 0, ())
        score = 4.0
        word = "above" if side > 0 else "below"
        reasons = [f"closed {abs(now):.3%} {word} the session's average after {len(before)} away from it: +4"]
        if exceeds(facts.volume_ratio, _VOLUME_RATIO_ABOVE):
            score += 2.0
            reasons.append(f"volume {facts.volume_ratio:.2f} times the usual: +2")
        if abs(now) >= _WELL_BEYOND_FRACTION:
            score += 1.0
            reasons.append("well beyond it: +1")
        return scored(self, score, side, reasons)

    def original(self, facts: MarketFacts) -> Reading:
        """Near the average, volume, nearer than before."""
        if facts.vwap is None:
            return absent(self, "no volume-weighted price: the bars carry no volume")
        if len(facts.bars) < 2:
            return absent(self, "fewer than two closed minutes")
        if facts.volume_ratio is None:
            why = facts.volume_unknown
            return absent(self, why or "no earlier sessions to compare the volume with")
        score, reasons = 0.0, []
        distance = abs(facts.price - facts.vwap)
        if exceeds(_NEAR_USD, distance):
            score += 4.0
            reasons.append(f"{distance:.2f} USD from the session's average {facts.vwap:.2f}: +4")
        if exceeds(facts.volume_ratio, _VOLUME_RATIO_ABOVE):
            score += 2.0
            reasons.append(f"volume {facts.volume_ratio:.2f} times the usual: +2")
        before, last = (abs(bar.close - facts.vwap) for bar in facts.bars[-2:])
        if exceeds(before, last):
            score += 1.0
            reasons.append("nearer than a minute ago: +1")
        return scored(self, score, 0, reasons)


PLUG = VwapReclaim
