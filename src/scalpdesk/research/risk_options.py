"""How the risk of a book is measured: flags of ``scalpdesk risk``, and an argument of its report."""

from typing import Annotated

from scalpdesk.core.flags import Flag, Options
from scalpdesk.portfolio.risk_book import SMILES
from scalpdesk.volatility.filtered_moves import FILTERS


class RiskOptions(Options, frozen=True, kw_only=True):
    """Past moves, and how a book is repriced in them."""

    smile: Annotated[
        str,
        Flag("Whether the smile moves with the spot or stays with the strikes.", choices=lambda: SMILES),
    ] = SMILES[0]
    filters: Annotated[
        tuple[str, ...],
        Flag(
            "Volatility that past moves are scaled by. May be repeated.",
            name="--filter",
            choices=lambda: FILTERS,
        ),
    ] = FILTERS[:1]
    """Beside plain historical simulation."""
    instant: Annotated[bool, Flag("The moves of a day at once, without a day's theta.")] = False
    history: Annotated[str | None, Flag("Daily bars of the underlyings.", "SET|FILE")] = None
    vix: Annotated[str | None, Flag("Daily bars of the VIX [default: 2014 to 2018].", "SET|FILE")] = None
