"""Volatility of the day under way: the forecast from before it, moved by what has been realised since."""

import math
from typing import NamedTuple

SESSIONS_PER_YEAR = 252
REACTION = 0.5
"""Elapsed share of a day's variance at which what was realised counts half (the desk's choice)."""


class Nowcast(NamedTuple):
    """Volatilities of one day, fractions a year of 252 sessions.

    Attributes
    ----------
    day_vol
        Of the whole day: realised so far, and the rest as forecast.
    weight
        Share of the surprise so far that is expected to go on, 0 to 1.
    rest_vol
        Of what is left of the day.
    """

    day_vol: float
    weight: float
    rest_vol: float


def nowcast(
    forecast_vol: float, realized_variance: float, share_elapsed: float, *, reaction: float = REACTION
) -> Nowcast:
    """Return a day's volatility from a forecast and what the day has shown so far.

    Parameters
    ----------
    forecast_vol
        Made before the day, fraction a year.
    realized_variance
        Sum of squared log returns so far, the gap at the open among them.
    share_elapsed
        Share of the day's variance that they cover on the session's variance clock, 0 to 1.
    reaction
        Elapsed share at which half of the surprise is expected to go on.

    Notes
    -----
    With the forecast's daily variance d and the share u, the rest of the day is scaled by
    ``1 + g·(RV/(d·u) − 1)``, ``g = u/(u + reaction)``: nothing at the open, two thirds of the surprise at the
    close.

    Examples
    --------
    >>> round(nowcast(0.157, 0.00024, 0.45).rest_vol, 6)
    0.276833
    """
    a_day = forecast_vol**2 / SESSIONS_PER_YEAR
    day_vol = math.sqrt(SESSIONS_PER_YEAR * (realized_variance + a_day * (1.0 - share_elapsed)))
    expected = a_day * share_elapsed
    if expected <= 0.0:
        return Nowcast(day_vol, 0.0, forecast_vol)
    weight = share_elapsed / (share_elapsed + reaction)
    return Nowcast(
        day_vol, weight, forecast_vol * math.sqrt(1.0 + weight * (realized_variance / expected - 1.0))
    )
