"""What a variance model hands to the forecast: a variance, how sure it is, and what was fitted."""

import msgspec


class VarianceFit(msgspec.Struct, frozen=True):
    """Forecast of the mean variance per period over the horizon.

    Parameters
    ----------
    variance
        Expected variance per period (a decimal return squared).
    log_median
        Log of the variance that realises above and below with equal chance.
    log_spread
        Standard deviation of the log of the variance that will realise, about ``log_median``.
    log_error
        Standard error of the log of ``variance`` itself, from estimating it.
    observations
        Periods that went into the fit.
    parameters
        The fitted numbers by name; variances in decimal returns squared.
    """

    variance: float
    log_median: float
    log_spread: float
    log_error: float
    observations: int
    parameters: dict[str, float]
