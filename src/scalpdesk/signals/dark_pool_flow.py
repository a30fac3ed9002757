"""Dark-pool flow: large trades away from the exchanges that leave the price where it was."""

from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import MarketFacts, Reading, absent, scored, sign

_LEAST_BARS = 10
_SPIKE = 3.0
_QUIET_USD = 0.20
_SIGMAS = 2.0
_MORE_SIGMAS = 3.0
_IMPACT_FRACTION = 0.0005


class DarkPoolFlow:
    """Off-exchange volume that leaves the price unmoved, taken for informed trading.

    ``measured``: 4.5 points when the off-exchange share of the volume (trade reporting facility prints)
    lies more than two standard deviations above that of 20 sessions and the last minute moved the price
    by less than 0.05 %; 1 more from three standard deviations on. Goes away from the price of the last
    print. A feed that does not tell off-exchange prints apart has no such signal.

    ``original``: every minute with more than three times the mean volume of all but the last and a range
    below 0.20 USD counts 2, two of them 1.5 more, a rising volume 1. The mean includes the spikes
    themselves. Bars stand in for prints.
    """

    name: ClassVar[str] = "DARK_POOL_FLOW"
    weight: ClassVar[float] = 5.5
    minimum: ClassVar[float] = 4.5
    high_from: ClassVar[float] = float("inf")
    medium_from: ClassVar[float] = 4.0

    def measured(self, facts: MarketFacts) -> Reading:
        """Off-exchange prints, and the price that did not follow."""
        if facts.off_exchange_share_z is None or facts.off_exchange_print is None:
            return absent(self, "the feed does not tell off-exchange prints apart")
        gone = facts.last_return
        if gone is None:
            return absent(self, "fewer than two closed minutes")
        score, reasons = 0.0, []
        z = facts.off_exchange_share_z
        if exceeds(z, _SIGMAS) and exceeds(_IMPACT_FRACTION, abs(gone)):
            score += 4.5
            reasons.append(f"off-exchange share {z:.1f} standard deviations up, price {gone:+.3%}: +4.5")
            if exceeds(z, _MORE_SIGMAS):
                score += 1.0
                reasons.append("beyond three: +1")
        return scored(self, score, sign(facts.price - facts.off_exchange_print), reasons)

    def original(self, facts: MarketFacts) -> Reading:
        """Minutes with much volume and little range."""
        if len(facts.bars) < _LEAST_BARS:
            return absent(self, f"fewer than {_LEAST_BARS} closed minutes")
        if facts.volume_trend is None:
            return absent(self, "the trend of the volume is not known")
        before = facts.bars[:-1]
        mean = sum(bar.volume for bar in before) / len(before)
        if not mean:
            return absent(self, "the bars carry no volume")
        spikes = [
            bar for bar in facts.bars if exceeds(bar.volume, _SPIKE * mean) and exceeds(_QUIET_USD, bar.range)
        ]
        score = 2.0 * len(spikes)
        reasons = [f"{len(spikes)} quiet minutes with {_SPIKE:g} times the mean volume: +{score:g}"]
        if len(spikes) >= 2:
            score += 1.5
            reasons.append("two or more: +1.5")
        if facts.volume_trend == "increasing":
            score += 1.0
            reasons.append("rising volume: +1")
        direction = sign(facts.price - spikes[-1].close) if spikes else 0
        return scored(self, score, direction, reasons if score else ())


PLUG = DarkPoolFlow
