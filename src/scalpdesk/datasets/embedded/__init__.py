"""Reconstructed markets: sessions of the S&P 500 from 2014 to 2018 with their option chains, and coins."""

from datetime import date

from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.deribit import perpetual_symbol

EMBEDDED = "embedded"
"""The data set of shares and their options."""
COIN_MARKETS = {"embedded-btc": perpetual_symbol("BTC"), "embedded-eth": perpetual_symbol("ETH")}
"""The data sets that settle in coin, with their underlyings."""
RECONSTRUCTED = (EMBEDDED, *COIN_MARKETS)
"""Data sets that are in no catalogue."""
USUAL_DAY, USUAL_COIN_DAY = date(2018, 2, 5), date(2025, 3, 5)
"""Sessions that are played where none is named: of shares, and of coins."""


def require_own_coin(data_set: str, underlying: str, where: str, fix: str) -> None:
    """Check that a reconstructed market has an underlying; those of shares have many and pass.

    ``data_set``, ``underlying``: Name of the market and symbol asked of it.
    ``where``: What names the underlying: the setting or option.
    ``fix``: What to do where no market has it.

    Raises ConfigError when it is the market of another coin; names the market that has this one.
    """
    own = COIN_MARKETS.get(data_set)
    if own is None or underlying == own:
        return
    other = next((name for name, coin in COIN_MARKETS.items() if coin == underlying), None)
    raise ConfigError(
        f"the market {data_set} has {own} alone",
        where=where,
        value=underlying,
        nearest=own,
        fix=fix if other is None else f"--data {other}",
    )
