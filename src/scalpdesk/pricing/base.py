"""Pricing models: their validated inputs, Greeks, and the interface of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalpdesk.core.errors import ArgumentError

Floats: TypeAlias = NDArray[np.float64]
Payment: TypeAlias = tuple[float, float] | tuple[float, float, float]
"""A cash dividend: years to or from the ex-date, currency a share, and years to or from the last exercise
notice with which a holder still gets it; without the third, the ex-date is that instant."""
Dividends: TypeAlias = Sequence[Payment]
Schedule: TypeAlias = tuple[Payment, ...]
"""Known cash dividends of an expiry, the next one first, in years from each instant to the expiry. It is the
same while time passes; what has gone ex is no longer ahead."""

NO_DIVIDENDS: tuple[Floats, Floats, Floats] = (np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class Greeks:
    """Price and sensitivities of options, per ONE unit of the underlying; arrays of one shape."""

    price: Floats
    """Option price in the quote currency (in coin for the inverse model)."""
    delta: Floats
    """Change of price per 1.00 of the underlying's price."""
    gamma: Floats
    """Change of delta per 1.00 of the underlying's price."""
    theta: Floats
    """Change of price per YEAR of calendar time (divide by 365 for a day)."""
    vega: Floats
    """Change of price per 1.00 of volatility (divide by 100 for a point)."""
    rho: Floats
    """Change of price per 1.00 of the interest rate."""
    vanna: Floats
    """Change of delta per 1.00 of volatility."""
    volga: Floats
    """Change of vega per 1.00 of volatility."""
    charm: Floats
    """Change of delta per YEAR of calendar time."""
    usd_greeks: "Greeks | None" = None
    """For the inverse model the same option in USD, else None; read it as ``usd``."""

    @property
    def usd(self) -> "Greeks":
        """The Greeks in USD of the inverse model, which quotes in coin.

        Raises ArgumentError when the option was not priced with ``model="inverse"``.
        """
        if self.usd_greeks is None:
            raise ArgumentError(
                "only the inverse model has separate Greeks in USD",
                where="Greeks.usd",
                fix='price with model="inverse", or read the Greeks directly: they are in the quote currency',
            )
        return self.usd_greeks


class OptionGreeks(NamedTuple):
    """Price and Greeks of one long option, per ONE unit of the underlying, in the units of `Greeks`."""

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float
    vanna: float
    volga: float
    charm: float


Seven: TypeAlias = tuple[Floats, Floats, Floats, Floats, Floats, Floats, Floats]


@dataclass(frozen=True, slots=True)
class PricingInputs:
    """Validated inputs, broadcast to one shape and flattened for the kernels.

    ``phi`` is +1.0 for calls and -1.0 for puts; ``years`` may be zero or negative (expired); dividends are
    in ascending order of time, without those at or before now.
    """

    shape: tuple[int, ...]
    spot: Floats
    strike: Floats
    years: Floats
    vol: Floats
    phi: Floats
    rate: Floats
    dividend_yield: Floats
    dividend_years: Floats
    dividend_cash: Floats
    dividend_notice: Floats
    """Years to the last exercise notice before each ex-date; 0 or less once it has passed."""

    @property
    def has_dividends(self) -> bool:
        """Whether any cash dividend lies ahead."""
        return self.dividend_years.size > 0

    def terms(self, *, futures: bool = False) -> Seven:
        """Arguments of a Greeks kernel; with ``futures`` the yield is the rate."""
        dividend_yield = self.rate if futures else self.dividend_yield
        return self.phi, self.spot, self.strike, self.years, self.vol, self.rate, dividend_yield

    def quoted(self, price: Floats, *, futures: bool = False) -> Seven:
        """Arguments of an implied volatility kernel; with ``futures`` the yield is the rate."""
        dividend_yield = self.rate if futures else self.dividend_yield
        return price, self.phi, self.spot, self.strike, self.years, self.rate, dividend_yield

    def at(self, chosen: NDArray[np.bool_]) -> "PricingInputs":
        """The chosen elements, flat, with the same dividends."""
        columns = ("spot", "strike", "years", "vol", "phi", "rate", "dividend_yield")
        picked = {name: getattr(self, name)[chosen] for name in columns}
        return replace(self, shape=(int(chosen.sum()),), **picked)


class PricingModel(Protocol):
    """Interface of a pricing model."""

    def greeks(self, inputs: PricingInputs) -> Greeks:
        """Return price and eight Greeks, each of shape ``inputs.shape``."""
        ...

    def implied_vol(self, price: Floats, inputs: PricingInputs) -> tuple[Floats, NDArray[np.int64]]:
        """Return volatility (NaN where none exists) and status code, flat; ``inputs.vol`` is unused."""
        ...


class ModelChoice(Protocol):
    """The contract of a pricing model by name: a function that makes it for a style of exercise."""

    def __call__(self, *, american: bool, has_dividends: bool) -> PricingModel:
        """Return the model.

        Raises
        ------
        ArgumentError
            When the model prices no such options.
        """
        ...


def as_floats(name: str, value: ArrayLike) -> Floats:
    """Convert an argument to a float64 array. Raises ArgumentError when it is not numeric."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name} must be a number or an array of numbers", where=name, value=value
        ) from error


def as_phi(is_call: ArrayLike) -> Floats:
    """Convert ``is_call`` to +1.0 for calls and -1.0 for puts.

    Raises ArgumentError when it holds anything but true/false or 1/0 (a text such as "put" would count as
    true).
    """
    flags = np.asarray(is_call)
    if flags.dtype != np.bool_:
        if flags.dtype.kind not in "iuf" or not bool(np.isin(flags, (0, 1)).all()):
            raise ArgumentError(
                "is_call must be True for a call and False for a put", where="is_call", value=is_call
            )
        flags = flags.astype(np.bool_)
    return np.where(flags, 1.0, -1.0)


def require(name: str, values: Floats, good: NDArray[np.bool_], rule: str) -> None:
    """Refuse the first element that breaks ``rule``, by argument name and index.

    Raises ArgumentError that names the argument, the index (for an array) and the value.
    """
    if good.all():
        return
    index = tuple(int(i) for i in np.argwhere(~good)[0])
    where = f"{name}[{', '.join(map(str, index))}]" if index else name
    fix = f"give a {name} that is {rule}"
    raise ArgumentError(f"{name} must be {rule}", where=where, value=float(values[index]), fix=fix)


def dividend_schedule(dividends: Dividends | None) -> tuple[Floats, Floats, Floats]:
    """Return times, amounts and last notices of the cash dividends after now, in ascending order of time.

    A dividend at time 0 or before is already in the spot and is left out. Raises ArgumentError when an entry
    is not of two or three finite numbers, an amount is negative or a notice comes after its ex-date.
    """
    if dividends is None or len(dividends) == 0:
        return NO_DIVIDENDS
    found: list[tuple[float, float, float]] = []
    for index, entry in enumerate(dividends):
        try:
            years, cash, notice = (float(part) for part in (*entry, *entry[: 3 - len(entry)]))
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                "each dividend must be (years_to_ex_date, cash_amount), with years_to_last_notice at will",
                where=f"dividends[{index}]",
                value=entry,
            ) from error
        if not (np.isfinite(years) and np.isfinite(cash) and cash >= 0.0 and -np.inf < notice <= years):
            raise ArgumentError(
                "a dividend must have finite times, no notice after its ex-date, and an amount of at least 0",
                where=f"dividends[{index}]",
                value=entry,
            )
        if years > 0.0 and cash > 0.0:
            found.append((years, cash, notice))
    if not found:
        return NO_DIVIDENDS
    times, amounts, notices = np.array(sorted(found), dtype=np.float64).T.copy()
    return times, amounts, notices


def after(payment: Payment, years: float) -> Payment:
    """Return a dividend ahead as it lies ``years`` later."""
    if len(payment) == 2:
        return payment[0] - years, payment[1]
    return payment[0] - years, payment[1], payment[2] - years


def broadcast_flat(**arrays: Floats) -> tuple[tuple[int, ...], dict[str, Floats]]:
    """Broadcast named arrays to one shape (NumPy's rules) and flatten them.

    Raises ArgumentError when the shapes do not broadcast; lists them.
    """
    shapes_in = {array.shape for array in arrays.values()} - {()}
    try:
        shape = next(iter(shapes_in), ()) if len(shapes_in) < 2 else np.broadcast_shapes(*shapes_in)
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ArgumentError(
            f"the arguments do not broadcast to one shape: {shapes}", where="shapes"
        ) from error
    return shape, {name: _flat(array, shape) for name, array in arrays.items()}


def _flat(array: Floats, shape: tuple[int, ...]) -> Floats:
    """Return an array of the one form that the kernels are compiled for: flat, contiguous and writeable."""
    if array.ndim == 0:
        return np.full(prod(shape), float(array))
    if array.shape == shape and array.flags.c_contiguous and array.flags.writeable:
        return array.reshape(-1)
    return np.broadcast_to(array, shape).flatten()


def _packed(numbers: tuple[ArrayLike, ...], is_call: ArrayLike) -> tuple[tuple[int, ...], Floats] | None:
    """Return the common shape and the arguments as the rows of one array, sides of ±1 last.

    None if anything is wrong or unusual: the checks of each argument then find what. The first three rows
    must be at least 0. A quarter of the time of those checks, which a call for a few options feels.
    """
    try:
        flags = np.asarray(is_call)
        shape = np.broadcast(*numbers, flags).shape
        rows = np.empty((7, *shape))
        for row, values in enumerate(numbers):
            rows[row] = values
    except (TypeError, ValueError):
        return None
    if flags.dtype != np.bool_ or rows.size == 0:
        return None
    rows[6] = flags
    flat = rows.reshape(7, -1)
    side = flat[6]
    side += side
    side -= 1.0
    # a sum is finite only if its terms are; one that overflows is checked slowly
    return (shape, flat) if isfinite(flat.sum()) and flat[:3].min() >= 0.0 else None


def checked_inputs(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    *,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    dividends: Dividends | None = None,
) -> PricingInputs:
    """Validate and broadcast the arguments of a pricing call.

    Raises ArgumentError for NaN, infinities, a negative spot, strike or volatility, or shapes that do not
    broadcast; names the argument and the index.
    """
    coming = dividend_schedule(dividends)
    packed = _packed((spot, strike, vol, years, rate, dividend_yield), is_call)
    if packed is not None:
        shape, (s, k, v, t, r, q, phi) = packed
        return PricingInputs(shape, s, k, t, v, phi, r, q, *coming)
    numbers = {
        "spot": as_floats("spot", spot),
        "strike": as_floats("strike", strike),
        "years": as_floats("years", years),
        "vol": as_floats("vol", vol),
        "rate": as_floats("rate", rate),
        "dividend_yield": as_floats("dividend_yield", dividend_yield),
    }
    for name, values in numbers.items():
        require(name, values, np.isfinite(values), "finite")
        if name in {"spot", "strike", "vol"}:
            require(name, values, values >= 0.0, "at least 0")
    shape, flat = broadcast_flat(**numbers, phi=as_phi(is_call))
    times, cash, notice = coming
    dividends_of = {"dividend_years": times, "dividend_cash": cash, "dividend_notice": notice}
    return PricingInputs(shape=shape, **flat, **dividends_of)


def greeks_from_columns(columns: Floats, shape: tuple[int, ...]) -> Greeks:
    """Return the nine columns of a kernel as Greeks."""
    if len(shape) == 1:
        return Greeks(*columns)
    return Greeks(*(column.reshape(shape) for column in columns))
