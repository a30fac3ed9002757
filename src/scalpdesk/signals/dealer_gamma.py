"""Dealer gamma: dealers short gamma push a move on, dealers long gamma bring the price back."""

from typing import ClassVar

from scalpdesk.core.units import exceeds
from scalpdesk.signals.base import NO_HISTORY, MarketFacts, Reading, absent, scored, sign

_SIGMAS = 1.5
_AWAY_FRACTION = 0.002
_REVERSION_POINTS = 6.0
_OWN_DELTA_ABOVE_SHARES = 5.0


class DealerGamma:
    """The exposure of the whole chain in units of its own 90 % quantile, g.

    ``measured``: g below zero and a last minute beyond 1.5 standard deviations: 9 times the smaller of 1
    and |g|, with the move. g above zero and a price more than 0.2 % from the session's average: 6 times
    the smaller of 1 and g, back to the average. The sign of dealers' positions is a convention, never an
    observation.

    ``original``: 9 whenever the own book's delta exceeds 5 shares either way, against it. That is not the
    dealers' gamma; it is kept to show what was.
    """

    name: ClassVar[str] = "DEALER_GAMMA"
    weight: ClassVar[float] = 9.0
    minimum: ClassVar[float] = 6.0
    high_from: ClassVar[float] = 7.5
    medium_from: ClassVar[float] = 6.0

    def measured(self, facts: MarketFacts) -> Reading:
        """Momentum under negative exposure, reversion under positive."""
        if facts.exposure_usd is None:
            return absent(self, facts.exposure_unknown or "dealer gamma is not known")
        if not facts.exposure_p90_usd:
            return absent(self, f"dealer gamma has {NO_HISTORY}")
        level = facts.exposure_usd / facts.exposure_p90_usd
        if level < 0.0:
            gone = facts.last_return
            if gone is None or not facts.minute_vol:
                return absent(self, "too few minutes for their standard deviation")
            sigmas = abs(gone) / facts.minute_vol
            if not exceeds(sigmas, _SIGMAS):
                return scored(self, 0.0, 0, ())
            why = f"dealer gamma {level:+.2f} of its usual top, last minute {sigmas:.1f} standard deviations"
            return scored(self, self.weight * min(1.0, -level), sign(gone), (f"{why}: goes on",))
        if facts.vwap is None:
            return absent(self, "no volume-weighted price: the bars carry no volume")
        away = facts.price / facts.vwap - 1.0
        if not exceeds(abs(away), _AWAY_FRACTION):
            return scored(self, 0.0, 0, ())
        why = f"dealer gamma {level:+.2f} of its usual top, price {away:+.2%} from the session's average"
        return scored(self, _REVERSION_POINTS * min(1.0, level), -sign(away), (f"{why}: comes back",))

    def original(self, facts: MarketFacts) -> Reading:
        """Delta of the own book."""
        delta = facts.own_delta_shares
        if delta is None:
            return absent(self, "the delta of the own book is not known")
        if not exceeds(abs(delta), _OWN_DELTA_ABOVE_SHARES):
            return scored(self, 0.0, 0, ())
        return scored(self, self.weight, -sign(delta), (f"own delta {delta:+.1f} shares: against it",))


PLUG = DealerGamma
