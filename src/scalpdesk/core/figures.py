"""Figures of matplotlib, which the extra ``plots`` brings."""

from collections.abc import Mapping
from itertools import accumulate
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


def draw_waterfall(panel: Any, amounts: Mapping[str, float], total: str) -> None:
    """Draw amounts as bars that each begin where the bar before ended; the last bar is their sum.

    Parameters
    ----------
    panel
        Axes of matplotlib.
    amounts
        By label, in order.
    total
        Label of the sum.
    """
    ends = list(accumulate(amounts.values(), initial=0.0))
    heights = [*amounts.values(), ends[-1]]
    colors = ["tab:blue" if height >= 0.0 else "tab:orange" for height in heights[:-1]]
    bars = panel.bar(
        [*amounts, total], heights, 0.7, bottom=[*ends[:-1], 0.0], color=[*colors, "dimgrey"]
    )
    panel.bar_label(bars, [f"{height:+.2f}" for height in heights], padding=2, fontsize="small")
    panel.axhline(0.0, color="grey", linewidth=0.5)
    panel.margins(y=0.12)
    panel.tick_params(axis="x", rotation=30)
