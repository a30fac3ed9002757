"""Choice of the pricing model by name, and the call for prices and Greeks."""

from numpy.typing import ArrayLike

from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.core.sockets import PRICING_MODELS
from scalpdesk.pricing.american import AmericanModel
from scalpdesk.pricing.base import Dividends, Greeks, ModelChoice, PricingModel, checked_inputs
from scalpdesk.pricing.cash_dividends import CashDividendModel
from scalpdesk.pricing.european import EuropeanModel, InverseModel

_STYLES = ("american", "european")


def bsm_model(*, american: bool, has_dividends: bool) -> PricingModel:
    """Return the model of a spot, its cash dividends in escrow."""
    if has_dividends:
        return CashDividendModel(american=american, spot_model=False)
    return AmericanModel() if american else EuropeanModel()


def spot_model(*, american: bool, has_dividends: bool) -> PricingModel:
    """Return the model of a spot that falls by each dividend."""
    if has_dividends:
        return CashDividendModel(american=american, spot_model=True)
    return AmericanModel() if american else EuropeanModel()


def black76_model(*, american: bool, has_dividends: bool) -> PricingModel:
    """Return the model of a forward."""
    if has_dividends:
        raise ArgumentError(
            "a forward already carries its dividends",
            where="dividends",
            fix='leave them out, or use "bsm"',
        )
    return AmericanModel(futures=True) if american else EuropeanModel(futures=True)


def inverse_model(*, american: bool, has_dividends: bool) -> PricingModel:
    """Return the model of options that are paid in the coin they are on."""
    del american, has_dividends  # the venue lists European options alone, on coins
    return InverseModel()


def chosen_model(style: str, model: str, *, has_dividends: bool) -> PricingModel:
    """Return the model for a style and a name, the product's own or that of an installed package.

    ``bsm`` with cash dividends is the ``escrowed`` model; ``spot`` is the other dividend model. ``inverse``
    options are always European, as the venue lists no others. Raises ArgumentError for an unknown style or
    model, dividends on a forward, or a package's model that does not keep its contract.
    """
    if style not in _STYLES:
        raise ArgumentError(
            f"unknown style; it is one of {', '.join(_STYLES)}",
            where="style",
            value=style,
            nearest=nearest_name(str(style), _STYLES),
        )
    choice: ModelChoice = PRICING_MODELS.find_argument(model)
    return choice(american=style == "american", has_dividends=has_dividends)


def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    *,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    dividends: Dividends | None = None,
    style: str = "american",
    model: str = "bsm",
) -> Greeks:
    """Return prices and Greeks of options, per ONE unit of the underlying.

    Arrays broadcast by NumPy's rules; every field of the answer has the broadcast shape.

    Parameters
    ----------
    spot
        Price of the underlying (of the forward for ``black76`` and ``inverse``), at least 0.
    strike
        Strike, at least 0.
    years
        Time to expiry in years (ACT/365 by seconds); 0 or less is expired: intrinsic value, delta 0, ½ or
        1 in size, every other Greek 0.
    vol
        Annual volatility, 0.20 for 20 %, at least 0.
    is_call
        True for a call, False for a put.
    rate, dividend_yield
        Continuously compounded, per year.
    dividends
        Cash dividends as (years_to_ex_date, amount), common to all elements; one at time 0 is already in
        the spot and is left out. A third number is the years to the last exercise notice before the
        ex-date: nobody exercises between the two. Without it an option is exercised until the ex-date.
    style
        "american" or "european".
    model
        "bsm" (with dividends the escrowed model, also by its own name "escrowed"), "spot" (the spot jumps
        by each dividend), "black76" (spot is the forward), "inverse" (coin-settled; USD under ``usd``).

    Returns
    -------
    Greeks
        price, delta, gamma, theta (per year), vega (per 1.00 of vol), rho (per 1.00 of rate), vanna, volga,
        charm (per year).

    Raises
    ------
    ArgumentError
        For NaN, infinities, negative prices or volatility, shapes that do not fit or unknown names.

    Examples
    --------
    >>> round(float(greeks(100.0, 100.0, 0.5, 0.25, False, rate=0.04).price), 4)
    6.2046
    """
    inputs = checked_inputs(
        spot, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield, dividends=dividends
    )
    return chosen_model(style, model, has_dividends=inputs.has_dividends).greeks(inputs)
