"""Liquidity vacuum: a price moves for want of resting orders."""

from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import MarketFacts, Reading, absent, scored, sign

_MOVE_FRACTION = 0.0015
_THIN_VOLUME = 0.8
_GAP_ABOVE_USD = 0.20
_WIDE_SPREADS = 2.0
_THIN_SIZE = 0.5
_SIGMAS = 2.0
_LEAST_BARS = 3


class LiquidityVacuum:
    """A wide, thin book and a move through it.

    ``measured``: 4 points when the spread is more than twice its 30-minute median and the best bid and
    ask together hold less than half of theirs; 2 for a last minute beyond two standard deviations; 0.5
    for less than 0.8 of the usual volume. Follows the last minute.

    ``original``: 4 points for a minute of more than 0.15 % on less than 0.8 of the mean volume of the
    bars before, 2 for a gap of more than 0.20 USD between two bars, 0.5 for a widening spread.
    """

    name: ClassVar[str] = "LIQUIDITY_VACUUM"
    weight: ClassVar[float] = 6.5
    minimum: ClassVar[float] = 5.0
    high_from: ClassVar[float] = 5.0
    medium_from: ClassVar[float] = 3.0

    def measured(self, facts: MarketFacts) -> Reading:
        """The book itself, then the move."""
        gone = facts.last_return
        if gone is None:
            return absent(self, "fewer than two closed minutes")
        if facts.spread is None or not facts.spread_median:
            return absent(self, "no half hour of quotes to compare the spread with")
        if facts.top_size is None or not facts.top_size_median:
            return absent(self, "the quotes carry no sizes")
        if not facts.minute_vol:
            return absent(self, "too few minutes for their standard deviation")
        if facts.volume_ratio is None:
            why = facts.volume_unknown
            return absent(self, why or "no earlier sessions to compare the volume with")
        score, reasons = 0.0, []
        is_wide = exceeds(facts.spread, _WIDE_SPREADS * facts.spread_median)
        if is_wide and exceeds(_THIN_SIZE * facts.top_size_median, facts.top_size):
            score += 4.0
            reasons.append(
                f"spread {facts.spread:.2f} (median {facts.spread_median:.2f}) on {facts.top_size:.0f} shares"
                f" (median {facts.top_size_median:.0f}): +4"
            )
        sigmas = abs(gone) / facts.minute_vol
        if exceeds(sigmas, _SIGMAS):
            score += 2.0
            reasons.append(f"last minute {gone:+.3%} is {sigmas:.1f} standard deviations: +2")
        if exceeds(_THIN_VOLUME, facts.volume_ratio):
            score += 0.5
            reasons.append(f"volume {facts.volume_ratio:.2f} times the usual: +0.5")
        return scored(self, score, sign(gone), reasons)

    def original(self, facts: MarketFacts) -> Reading:
        """A move on little volume, a gap, a widening spread."""
        if len(facts.bars) < _LEAST_BARS:
            return absent(self, f"fewer than {_LEAST_BARS} closed minutes")
        if facts.spread is None or not facts.spread_median:
            return absent(self, "no half hour of quotes to compare the spread with")
        previous, last = facts.bars[-2], facts.bars[-1]
        earlier = facts.bars[:-1]
        average = sum(bar.volume for bar in earlier) / len(earlier)
        if not average or not previous.close:
            return absent(self, "the bars carry no volume")
        score, reasons = 0.0, []
        moved, ratio = last.close / previous.close - 1.0, last.volume / average
        if exceeds(abs(moved), _MOVE_FRACTION) and exceeds(_THIN_VOLUME, ratio):
            score += 4.0
            reasons.append(f"last minute {moved:+.2%} on {ratio:.2f} of the mean volume: +4")
        gap = last.open - previous.close
        if exceeds(abs(gap), _GAP_ABOVE_USD):
            score += 2.0
            reasons.append(f"gap of {gap:+.2f} USD: +2")
        if exceeds(facts.spread, facts.spread_median):
            score += 0.5
            reasons.append(
                f"spread {facts.spread:.2f} is wider than its median {facts.spread_median:.2f}: +0.5"
            )
        return scored(self, score, sign(moved), reasons)


PLUG = LiquidityVacuum
