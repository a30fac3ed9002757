"""Options pin: on expiry day the price is drawn to the strike with the most open contracts."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import MarketFacts, Reading, StrikeInterest, absent, scored, sign

_WITHIN_USD = 0.50
_ROOM_USD = 0.15
_RANGE_BARS = 5
_LATE_HOURS = 4.0
_LATE_FACTOR = 1.2


class OptionsPin:
    """The strike that holds most calls, and the one that holds most puts, within half a dollar.

    3 points for each, 1 more when the last five minutes stayed within 0.50 USD around a pin, all times
    1.2 in the last four hours before expiry. Goes toward the pin while 0.15 to 0.50 USD lie between:
    nearer there is nothing to earn. Two pins on different sides of the price say nothing. Both
    definitions score alike; ``measured`` asks of ``hours_to_expiry`` and the five minutes that they are
    known, ``original`` left the points out that it had no input for.
    """

    name: ClassVar[str] = "OPTIONS_PIN"
    weight: ClassVar[float] = 6.0
    minimum: ClassVar[float] = 4.0
    high_from: ClassVar[float] = 4.0
    medium_from: ClassVar[float] = 2.0

    def measured(self, facts: MarketFacts) -> Reading:
        """Score with all inputs."""
        if len(facts.bars) < _RANGE_BARS:
            return absent(self, f"fewer than {_RANGE_BARS} closed minutes")
        if facts.hours_to_expiry is None:
            return absent(self, "no options expire today")
        return self.original(facts)

    def original(self, facts: MarketFacts) -> Reading:
        """Score with the inputs there are."""
        if not facts.strikes:
            return absent(self, "no options expire today, or their open interest is not known")
        score, reasons = 0.0, []
        pins = []
        for word, count in (("calls", attrgetter("calls")), ("puts", attrgetter("puts"))):
            strike = _fullest(facts.strikes, facts.price, count)
            if strike is not None and exceeds(_WITHIN_USD, abs(facts.price - strike)):
                score += 3.0
                pins.append(strike)
                reasons.append(f"most {word} are open at {strike:g}, price {facts.price:.2f}: +3")
        recent = facts.bars[-_RANGE_BARS:]
        if pins and len(recent) == _RANGE_BARS:
            width = max(bar.high for bar in recent) - min(bar.low for bar in recent)
            if exceeds(_WITHIN_USD, width):
                score += 1.0
                reasons.append(f"range of {_RANGE_BARS} minutes {width:.2f} USD: +1")
        if score and facts.hours_to_expiry is not None and exceeds(_LATE_HOURS, facts.hours_to_expiry):
            score *= _LATE_FACTOR
            reasons.append(f"{facts.hours_to_expiry:.1f} hours to expiry: times {_LATE_FACTOR}")
        ways = {_way(facts.price, pin) for pin in pins}
        direction = ways.pop() if len(ways) == 1 else 0
        if pins and not direction:
            reasons.append("no room to the pin, or pins on both sides: no direction")
        return scored(self, score, direction, reasons)


def _way(price: float, pin: float) -> int:
    """Direction to a pin that is within half a dollar; 0 when less than 0.15 USD are left."""
    return 0 if exceeds(_ROOM_USD, abs(pin - price)) else sign(pin - price)


def _fullest(
    strikes: Sequence[StrikeInterest], price: float, count: Callable[[StrikeInterest], int]
) -> float | None:
    """Strike with the most open contracts, of several the nearest to the price; None without any."""
    best = max(strikes, key=lambda row: (count(row), -abs(row.strike - price), -row.strike))
    return best.strike if count(best) > 0 else None


PLUG = OptionsPin
