"""What the band lab is asked: simulated sessions, and the terms by which bands are compared."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.flags import Flag, Options

if TYPE_CHECKING:
    from scalpdesk.hedging.base import HedgeInputs

_MarketModel = Literal["gbm", "stochastic_vol", "jumps"]


class BandTerms(Options, frozen=True, kw_only=True):
    """Cap and aversion to risk by which hedge bands are made and compared.

    Raises
    ------
    ArgumentError
        When the cap is no number of shares above 0, or the fraction none.
    """

    delta_cap: Annotated[float | None, Flag("Largest net delta that you take.", "SHARES")] = None
    """No hedge waits beyond it at the open. None takes the Whalley–Wilmott band of ``risk_aversion``, and
    wider bands.
    """
    risk_aversion: Annotated[float | None, Flag("1/currency [default: that of the cap, or 0.01].", "A")] = (
        None
    )
    least_fraction: Annotated[
        float,
        Flag(
            "Smallest hedge of bands that stop at their edge, of the half width.",
            least=0.0,
            most=1.0,
        ),
    ] = 0.5

    def __post_init__(self) -> None:
        """Refuse a cap that no delta keeps to."""
        super().__post_init__()
        if self.delta_cap is not None and not self.delta_cap > 0.0:
            raise ArgumentError(
                "the delta cap is a number of shares above 0",
                where="delta_cap",
                value=self.delta_cap,
                fix="such as 10",
            )


class SessionModel(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sessions of one straddle that is bought at the money at the open and sold at the close.

    Time is trading time, 252 sessions a year; an expiry of so many calendar days is as many 365ths of a year
    away. Shares and options earn the rate on average, so that no band gains or loses before its costs.
    """

    days: Annotated[
        int,
        above(0, 1_000_000, "simulated sessions"),
        Flag("Simulated sessions [default: {default}].", least=2, most=1_000_000),
    ] = 2_000
    model: Annotated[_MarketModel, Flag("Simulated market [default: {default}].")] = "gbm"
    """``gbm``; ``stochastic_vol`` is Heston's (mean reversion 5 a year, volatility of variance 0.3 and
    correlation -0.7: an implied volatility of 30 days moves by 0.8 points a day at 16); ``jumps`` is
    Merton's, half of the variance in jumps that come once in two sessions.
    """
    spot: Annotated[
        float,
        above(0, math.inf, "currency a share"),
        Flag("Price of the underlying [default: {default}]."),
    ] = 500.0
    vol: Annotated[
        float,
        above(0, 5, "a volatility as a fraction a year: 0.20 is 20 %"),
        Flag("Realised volatility, a fraction a year [default: {default}]."),
    ] = 0.16
    """On average."""
    implied_vol: Annotated[
        Annotated[float, above(0, 5, "a volatility as a fraction a year")] | None,
        Flag("Implied volatility of the straddle [default: --vol].", name="--implied"),
    ] = None
    """Of the option's price and of the hedge's delta."""
    rate: Annotated[
        float, at_least(-0.2, 1, "a continuous rate"), Flag("Continuous rate [default: {default}].")
    ] = 0.0
    dte: Annotated[
        float,
        above(0, 3_650, "calendar days to expiry"),
        Flag("Calendar days to expiry [default: {default}]."),
    ] = 30.0
    cost_bp: Annotated[
        float,
        at_least(0, 1_000, "basis points, one way"),
        Flag("Cost of trading shares one way, basis points [default: {default}]."),
    ] = 0.2
    """Of the underlying's price: half the spread and fees."""
    straddles: Annotated[
        int,
        above(0, 10_000, "a number of straddles"),
        Flag("Number of straddles [default: {default}]."),
    ] = 1
    side: Annotated[Literal["long", "short"], Flag("Straddles bought or sold [default: {default}].")] = "long"
    multiplier: Annotated[int, above(0, 10_000, "shares of a contract")] = 100
    looks: Annotated[int, above(0, 23_400, "looks a session")] = 390
    """Times a session at which the desk looks; 390 is once a minute."""
    seed: int = 1

    @property
    def hedge_vol(self) -> float:
        """Volatility of the option's price at the open."""
        return self.vol if self.implied_vol is None else self.implied_vol

    @property
    def units(self) -> float:
        """Straddles times shares of a contract, below zero where they are sold."""
        return (1.0 if self.side == "long" else -1.0) * self.straddles * self.multiplier

    def opening(self) -> "HedgeInputs":
        """Return what a band is asked at the open, at the money and with no delta."""
        from scalpdesk.hedging.base import HedgeInputs  # noqa: PLC0415 - numpy, which the flags do without

        years, vol = self.dte / 365.0, self.hedge_vol
        root = vol * math.sqrt(years)
        shift = (self.rate / vol + 0.5 * vol) * math.sqrt(years)
        density = math.exp(-0.5 * shift * shift) / math.sqrt(2.0 * math.pi)
        return HedgeInputs(
            net_delta_shares=0.0,
            gamma_shares_per_usd=2.0 * self.units * density / (self.spot * root),
            spot=self.spot,
            years=years,
            vol=vol,
            rate=self.rate,
            straddles=self.straddles,
            multiplier=self.multiplier,
            seconds_since_hedge=0.0,
            own_cost_fraction=self.cost_bp * 1e-4,
        )
