"""Gamma squeeze: dealers short gamma near the price must chase a move that has begun."""

from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import NO_HISTORY, MarketFacts, Reading, absent, scored, sign

_STRIKE_WITHIN_USD = 1.0
_STRIKES_LOOKED_AT = 10
_OPEN_INTEREST_ABOVE = 1000
_MOVE_ABOVE_USD = 0.20
_VOLUME_RATIO_ABOVE = 2.0
_SIGMAS = 2.0


class GammaSqueeze:
    """Negative dealer gamma near the price, a sharp minute, and volume behind it.

    ``measured``: 4 points times the exposure's share of its own 90 % quantile when the exposure within
    half a per cent of the price is negative, 3 for a last minute beyond two standard deviations of the
    session's minutes, 1.5 for twice the usual volume. Follows the last minute.

    ``original``: 4 points when one of the ten strikes nearest to the price lies within 1 USD and holds
    more than 1000 contracts (calls or puts), 3 for a minute of more than 0.20 USD, 1.5 for volume. The
    program took the first ten rows of an unordered chain; here they are ordered by distance.
    """

    name: ClassVar[str] = "GAMMA_SQUEEZE"
    weight: ClassVar[float] = 8.5
    minimum: ClassVar[float] = 6.0
    high_from: ClassVar[float] = 6.0
    medium_from: ClassVar[float] = 3.0

    def measured(self, facts: MarketFacts) -> Reading:
        """Dealer gamma near the price, the last minute in standard deviations, volume."""
        gone = facts.last_return
        if gone is None:
            return absent(self, "fewer than two closed minutes")
        if facts.near_exposure_usd is None:
            return absent(self, facts.exposure_unknown or "dealer gamma near the price is not known")
        if not facts.near_exposure_p90_usd:
            return absent(self, f"dealer gamma near the price has {NO_HISTORY}")
        if not facts.minute_vol:
            return absent(self, "too few minutes for their standard deviation")
        if facts.volume_ratio is None:
            why = facts.volume_unknown
            return absent(self, why or "no earlier sessions to compare the volume with")
        score, reasons = 0.0, []
        exposure = facts.near_exposure_usd
        if exposure < 0.0:
            points = 4.0 * min(1.0, -exposure / facts.near_exposure_p90_usd)
            score += points
            reasons.append(f"dealer gamma near the price {exposure:,.0f} USD a per cent: +{points:.2f}")
        sigmas = abs(gone) / facts.minute_vol
        if exceeds(sigmas, _SIGMAS):
            score += 3.0
            reasons.append(f"last minute {gone:+.3%} is {sigmas:.1f} standard deviations: +3")
        if exceeds(facts.volume_ratio, _VOLUME_RATIO_ABOVE):
            score += 1.5
            reasons.append(f"volume {facts.volume_ratio:.2f} times the usual: +1.5")
        return scored(self, score, sign(gone), reasons)

    def original(self, facts: MarketFacts) -> Reading:
        """Open interest near the price, a move in USD, volume."""
        if len(facts.bars) < 2:
            return absent(self, "fewer than two closed minutes")
        if facts.strikes is None:
            return absent(self, "no options expire today, or their open interest is not known")
        if facts.volume_ratio is None:
            why = facts.volume_unknown
            return absent(self, why or "no earlier sessions to compare the volume with")
        score, reasons = 0.0, []
        near = sorted(facts.strikes, key=lambda row: (abs(row.strike - facts.price), row.strike))
        for row in near[:_STRIKES_LOOKED_AT]:
            most = max(row.calls, row.puts)
            if exceeds(_STRIKE_WITHIN_USD, abs(row.strike - facts.price)) and most > _OPEN_INTEREST_ABOVE:
                score += 4.0
                reasons.append(f"{most} contracts open at {row.strike:g}: +4")
                break
        move = facts.bars[-1].close - facts.bars[-2].close
        if exceeds(abs(move), _MOVE_ABOVE_USD):
            score += 3.0
            reasons.append(f"last minute {move:+.2f} USD: +3")
        if exceeds(facts.volume_ratio, _VOLUME_RATIO_ABOVE):
            score += 1.5
            reasons.append(f"volume {facts.volume_ratio:.2f} times the usual: +1.5")
        return scored(self, score, sign(move), reasons)


PLUG = GammaSqueeze
