"""Checks shared by the hedging formulas, which take numbers or arrays alike."""

import math

import numpy as np
import numpy.typing as npt

from scalpdesk.core.errors import ArgumentError

Array = npt.NDArray[np.float64]
Numbers = float | Array


def refuse_below(lowest: float, *, strict: bool, **arguments: Numbers) -> None:
    """Refuse any argument with an element that is not finite or is below ``lowest``.

    Parameters
    ----------
    lowest
        The bound.
    strict
        Whether the bound itself is refused too.
    **arguments
        The values by the names that the caller's caller knows them by.

    Raises
    ------
    ArgumentError
        Naming the first argument that fails.
    """
    for name, value in arguments.items():
        if (
            isinstance(value, float)
            and math.isfinite(value)
            and (value > lowest or (value == lowest and not strict))
        ):
            continue  # the decision path asks for one good number at a time
        numbers = np.asarray(value, dtype=np.float64)
        low = numbers <= lowest if strict else numbers < lowest
        bad = low | ~np.isfinite(numbers)
        if bad.any():
            bound = "above" if strict else "at least"
            raise ArgumentError(
                f"{name} must be finite and {bound} {lowest:g}",
                where=name,
                value=float(numbers[bad].flat[0]) if numbers.ndim else float(numbers),
            )
