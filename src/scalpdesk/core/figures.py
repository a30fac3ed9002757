"""Figures of matplotlib, which the extra ``plots`` brings."""

from typing import Any

from scalpdesk.core.errors import ConfigError


def new_figure(width_inches: float, height_inches: float) -> Any:
    """Return an empty figure of matplotlib.

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, and an extra
    except ModuleNotFoundError as problem:
        raise ConfigError(
            "drawing needs a package that is not installed",
            where="matplotlib",
            fix='pip install "scalpdesk[plots]"',
        ) from problem
    return Figure(figsize=(width_inches, height_inches), layout="constrained")
