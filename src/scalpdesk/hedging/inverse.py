"""Hedging options in coin with an inverse perpetual.

The holder who counts in coin is exposed by the premium-adjusted delta Δ − v; a perpetual of A USD
carries A/S coins of delta. So the target is A* = −N·(Δ − v)·S, and the order is what is missing to it,
in whole contracts. (Deribit, "Inverse Options"; Reiswich and Wystup, 2010.)
"""

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import round_half_away


def perpetual_target_usd(options: float, premium_adjusted_delta: float, spot: float) -> float:
    """USD amount of the perpetual that makes the coin value of ``options`` (signed coins) flat.

    Examples
    --------
    >>> round(perpetual_target_usd(5.0, 0.478779315628, 100_000.0), 2)
    -239389.66
    """
    return -options * premium_adjusted_delta * spot


def perpetual_trade_usd(target_usd: float, held_usd: float, contract_usd: int = 10) -> int:
    """Signed USD amount to trade: what is missing to the target, in whole contracts, ties away from zero.

    Raises
    ------
    ArgumentError
        When a contract is not a positive amount.

    Examples
    --------
    >>> perpetual_trade_usd(258_122.78, -200_000.0)
    458120
    """
    if contract_usd <= 0:
        raise ArgumentError("a contract must be above zero", where="contract_usd", value=contract_usd)
    return contract_usd * round_half_away((target_usd - held_usd) / contract_usd)
