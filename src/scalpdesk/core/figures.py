"""Figures of matplotlib, which the extra ``plots`` brings, and tables of notebooks."""

import html
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from io import BytesIO
from itertools import accumulate
from typing import Any

from scalpdesk.core.errors import ConfigError


def new_figure(width_inches: float, height_inches: float) -> Any:
    """Return an empty figure of matplotlib, which a notebook shows as a picture.

    Raises ConfigError when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, and an extra
    except ModuleNotFoundError as problem:
        raise ConfigError(
            "drawing needs a package that is not installed",
            where="matplotlib",
            fix='pip install "scalpdesk[plots]"',
        ) from problem

    class ShownFigure(Figure):
        """A figure that notebooks show also where pyplot was never imported."""

        def _repr_png_(self) -> bytes:
            picture = BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return ShownFigure(figsize=(width_inches, height_inches), layout="constrained")


def draw_waterfall(panel: Any, amounts: Mapping[str, float], total: str) -> None:
    """Draw amounts as bars that each begin where the bar before ended; the last bar is their sum.

    ``total``: Label of the sum.
    """
    ends = list(accumulate(amounts.values(), initial=0.0))
    heights = [*amounts.values(), ends[-1]]
    colors = ["tab:blue" if height >= 0.0 else "tab:orange" for height in heights[:-1]]
    bars = panel.bar([*amounts, total], heights, 0.7, bottom=[*ends[:-1], 0.0], color=[*colors, "dimgrey"])
    labels = [f"{height:+.2f}" if height else "0.00" for height in heights]
    panel.bar_label(bars, labels, padding=2, fontsize="small")
    panel.axhline(0.0, color="grey", linewidth=0.5)
    low, high = min(ends), max(ends)
    room = 0.12 * (high - low) or 1.0
    panel.set_ylim(low - room, high + room)


def show_clock(panel: Any, zone: Any) -> None:
    """Label the time axis of a panel by the clock of a zone: hours within a day, days beyond."""
    dates: Any = import_module("matplotlib.dates")  # an extra, and without types
    locator = dates.AutoDateLocator(zone, minticks=4, maxticks=9)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, zone))


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int = 1) -> str:
    """Return a table of a notebook.

    ``caption``, ``head``: What stands above it: a sentence, and a name for each column.
    ``rows``: Cells; None is left empty.
    ``texts``: Columns from the left that hold texts; the others hold numbers, aligned to the right.
    """

    def line(cells: Sequence[object], tag: str) -> str:
        return (
            "<tr>"
            + "".join(
                f'<{tag} style="text-align:{"left" if place < texts else "right"}">'
                f"{'' if cell is None else html.escape(str(cell))}</{tag}>"
                for place, cell in enumerate(cells)
            )
            + "</tr>"
        )

    title = f'<caption style="text-align:left;white-space:nowrap">{html.escape(caption)}</caption>'
    top = line(head, "th") if head else ""
    return f"<table>{title}{top}{''.join(line(row, 'td') for row in rows)}</table>"
