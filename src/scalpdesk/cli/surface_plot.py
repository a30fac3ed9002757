"""The smiles of a fitted surface as a picture, through matplotlib (extra ``plots``)."""

from pathlib import Path
from typing import TYPE_CHECKING

from scalpdesk.cli.output import new_figure, save_figure

if TYPE_CHECKING:
    from scalpdesk.marketdata.chain_surface import ChainSurface

DAYS_PER_YEAR = 365.0


def draw_smiles(fitted: "ChainSurface", path: Path, title: str) -> None:
    """Draw every smile with its bid–ask bars into a file; the ending says in which format.

    Raises
    ------
    ConfigError
        When matplotlib is not installed.
    ArgumentError
        When the file cannot be written.
    """
    import numpy as np

    shown = fitted.surface.fitted
    columns = min(len(shown), 4) or 1
    rows = max(-(-len(shown) // columns), 1)
    figure = new_figure(4.0 * columns, 3.0 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).reshape(-1)
    quotes = {one.label: one for one in fitted.smile_quotes}
    for axis, expiry in zip(axes, shown, strict=False):
        said = quotes[expiry.label]
        strikes = said.strike[expiry.used]
        low, high = 100.0 * said.bid_vol[expiry.used], 100.0 * said.ask_vol[expiry.used]
        axis.vlines(strikes, low, high, color="0.6", linewidth=1.5, label="bid to ask")
        line = np.linspace(strikes.min(), strikes.max(), 200)
        axis.plot(line, 100.0 * expiry.vol(line), color="C0", linewidth=1.2, label="SVI")
        axis.axvline(expiry.forward, color="0.8", linewidth=0.8)
        axis.set_title(f"{expiry.label}, {expiry.years * DAYS_PER_YEAR:.1f} days", fontsize=9)
        axis.set_ylabel("volatility %", fontsize=8)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.suptitle(title)
    save_figure(figure, path)
