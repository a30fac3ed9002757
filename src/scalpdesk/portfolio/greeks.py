"""Sum of the Greeks of positions, for strategies, views and checks."""

from scalpdesk.core.structs import FrozenLeaf, Leaf
from scalpdesk.core.units import DAYS_PER_YEAR
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.volatility.filtered_moves import vega_weight


class PositionGreeks(FrozenLeaf, frozen=True, gc=False):
    """Greeks of positions on one underlying, signed."""

    option_delta_shares: float
    owned_shares: float
    gamma_shares_per_usd: float
    theta_usd_per_day: float
    vega_usd_per_point: float
    weighted_vega_usd_per_point: float
    """For a point of 30-day volatility, each expiry by its
    :func:`~scalpdesk.volatility.filtered_moves.vega_weight`: only so vegas of several expiries are one risk.
    """

    @property
    def net_delta_shares(self) -> float:
        """Options and shares together."""
        return self.option_delta_shares + self.owned_shares


def gamma_beside_perpetual(gamma: float, delta: float, spot: float) -> float:
    """Return what the net delta of inverse options and the perpetual that hedges them gains a US dollar.

    The coins that the perpetual is worth change as well, by the delta over the spot: together it is the
    options' gamma in US dollars.

    ``gamma``, ``delta``: Of the options in coin: what the delta, net of the premium, gains a US dollar; in
    coins.

    >>> round(gamma_beside_perpetual(-1.6e-5, 0.8, 50_000.0), 10)  # a call deep in the money
    0.0
    """
    return gamma + delta / spot


def gamma_in_coin(gamma: float, delta: float, spot: float) -> float:
    """Return the gamma of an inverse option beside its hedge: ½ of it times dS² is earned, in coin."""
    return gamma_beside_perpetual(gamma, delta, spot) / spot


class GreekSum(Leaf, gc=False):
    """Running sum of Greeks over options and shares."""

    shares: float = 0.0
    delta: float = 0.0
    gamma: float = 0.0
    theta: float = 0.0
    vega: float = 0.0
    weighted_vega: float = 0.0

    def add(self, units: float, greeks: OptionGreeks, years: float) -> None:
        """Add ``units`` (contracts times multiplier, signed) of an option with ``years`` to its expiry."""
        self.delta += units * greeks.delta
        self.gamma += units * greeks.gamma
        self.theta += units * greeks.theta
        self.vega += units * greeks.vega
        self.weighted_vega += units * greeks.vega * vega_weight(years)

    def total(self) -> PositionGreeks:
        """Return the sum."""
        theta, vega = self.theta / DAYS_PER_YEAR, self.vega / 100.0
        weighted = self.weighted_vega / 100.0
        return PositionGreeks(self.delta, self.shares, self.gamma, theta, vega, weighted)
