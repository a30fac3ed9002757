"""The size of an entry, exact: by volatility, or by the risk of the budget.

Volatilities come in as floats (fractions a year) and are read as the decimals that they print as, so
that a boundary is a boundary: at 0.175 between 0.10 and 0.25 a size from 1 to 3 is 2, not 1.9999.
"""

from decimal import ROUND_FLOOR, Decimal

from scalpdesk.core.errors import ArgumentError

ONE = Decimal(1)


def size_by_vol(
    vol: float | None, *, low_vol: float = 0.10, high_vol: float = 0.25, least: int = 1, most: int = 3
) -> int:
    """Return the size in shares: ``most`` in calm markets, ``least`` in wild ones, linear between.

    floor(most − (vol − low)/(high − low)·(most − least)), bounds inclusive. Source: the seed's
    description of st0cka ("10 % vol = max size, 25 % vol = min size").

    Parameters
    ----------
    vol
        Annualised volatility as a fraction; None when it is not known, which gives ``least``.
    low_vol, high_vol
        Volatilities at and below (at and above) which the size is ``most`` (``least``).
    least, most
        Bounds in shares.

    Raises
    ------
    ArgumentError
        When the bounds are the wrong way round.

    Examples
    --------
    >>> [size_by_vol(vol) for vol in (0.08, 0.10, 0.12, 0.175, 0.25, None)]
    [3, 3, 2, 2, 1, 1]
    """
    if not low_vol < high_vol or not 0 < least <= most:
        raise ArgumentError(
            "bounds of a size the wrong way round",
            where="low_vol, high_vol, least, most",
            value=f"{low_vol}, {high_vol}, {least}, {most}",
            fix="low_vol < high_vol and 0 < least <= most",
        )
    if vol is None:
        return least
    level, low, high = exact_vol(vol), exact_vol(low_vol), exact_vol(high_vol)
    share = min(max((level - low) / (high - low), Decimal(0)), ONE)
    return int((most - share * (most - least)).to_integral_value(rounding=ROUND_FLOOR))


def size_by_risk(equity: Decimal, risk_per_unit: Decimal, *, equity_fraction: Decimal, most: int) -> int:
    """Return how many units the budget carries: floor(fraction x equity / risk), capped; 0 for none.

    A unit that risks more than the budget is not bought: forcing one would break the budget exactly
    when the account is small.

    Parameters
    ----------
    equity, risk_per_unit
        Currency; of a bought option the whole premium is at risk.
    equity_fraction
        Fraction of the equity that one entry may risk.
    most
        Largest size.

    Examples
    --------
    >>> size_by_risk(Decimal(20_000), Decimal(85), equity_fraction=Decimal("0.01"), most=10)
    2
    """
    if risk_per_unit <= 0 or equity <= 0:
        return 0
    units = equity_fraction * equity / risk_per_unit
    return min(int(units.to_integral_value(rounding=ROUND_FLOOR)), most)


def exact_vol(value: float) -> Decimal:
    """Return a volatility as the decimal that it prints as."""
    if not value - value == 0.0:
        raise ArgumentError("a volatility must be finite", where="vol", value=value)
    return Decimal(repr(float(value)))
