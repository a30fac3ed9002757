"""Corporate actions: what becomes of shares, and of listed options by the rules of the clearing house (OCC).

Options Clearing Corporation, By-Laws article VI section 11A and its interpretations: a whole split multiplies
contracts and divides strikes; another split of more than one for one raises the units of the contract; a
special cash dividend lowers strikes; a reverse split, a spin-off and a merger leave the strike and change
what is delivered. Strikes are rounded to the cent.
"""

from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import CENT, ZERO
from scalpdesk.instruments.contract import OptionContract, occ_symbol

ONE = Decimal(1)
LARGEST_ORDINARY_DIVIDEND = Decimal("0.03")
"""Fraction of the price up to which a distribution of unnamed kind passes for an ordinary cash dividend."""


class ActionKind(StrEnum):
    """Kind of a corporate action; an ordinary cash dividend is none of them."""

    SPLIT = "split"
    SPECIAL_DIVIDEND = "special_dividend"
    SPIN_OFF = "spin_off"
    MERGER = "merger"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """A corporate action, effective at the open of ``ex_date``.

    Raises
    ------
    ArgumentError
        When a number is out of its range or the new share is not named.
    """

    symbol: str
    """The share."""
    ex_date: date
    """First session in which it trades without the right."""
    kind: ActionKind
    """What happens."""
    ratio: Decimal = ONE
    """Units received for one held: of the share itself after a split (0.1: one for ten), of ``into`` after a
    spin-off or a merger; 0 for a merger in cash alone.
    """
    into: str = ""
    """Symbol of the new share of a spin-off or merger."""
    value_fraction: Decimal = ONE
    """Part of the share's value, and with it of its cost, that the new units are (spin-off, merger)."""
    cash: Decimal = ZERO
    """Paid for one share held, in its currency (special dividend, merger)."""

    def __post_init__(self) -> None:
        """Refuse numbers that no action has."""
        gives_units = self.kind in (ActionKind.SPIN_OFF, ActionKind.MERGER) and self.ratio > 0
        if self.ratio < 0 or (self.kind is ActionKind.SPLIT and not self.ratio):
            raise ArgumentError("units received for one held are above 0", where="ratio", value=self.ratio)
        if gives_units and not self.into:
            raise ArgumentError("the new share has no symbol", where="into", value=self.into)
        if not 0 <= self.value_fraction <= 1:
            raise ArgumentError(
                "a part of the value is from 0 to 1", where="value_fraction", value=self.value_fraction
            )
        if self.cash < 0:
            raise ArgumentError("cash received is 0 or more", where="cash", value=self.cash)


@dataclass(frozen=True, slots=True)
class AdjustedOption:
    """Terms of an option contract after a corporate action."""

    contract: OptionContract
    """With its new root, strike and multiplier; the multiplier counts for premium and strike."""
    contracts: int
    """Contracts for one held."""
    delivers: tuple[tuple[str, Decimal], ...]
    """Symbols and shares that one contract delivers."""
    cash: Decimal
    """Cash that one contract delivers besides."""

    @property
    def is_standard(self) -> bool:
        """Whether it delivers its multiplier in shares of its underlying: then an option model prices it."""
        return not self.cash and self.delivers == (
            (self.contract.underlying, Decimal(self.contract.multiplier)),
        )


def price_scale(action: CorporateAction) -> tuple[float, float, float] | None:
    """Return by what an action changes the scale of its share; None for a merger, after which it has none.

    Returns
    -------
    tuple of float, optional
        Factor of prices, factor of volumes, and the currency a share that prices fall by before that.

    >>> price_scale(
    ...     CorporateAction(symbol="X", ex_date=date(2024, 6, 10), kind=ActionKind.SPLIT, ratio=Decimal(4))
    ... )
    (0.25, 4.0, 0.0)
    """
    if action.kind is ActionKind.SPLIT:
        return float(1 / action.ratio), float(action.ratio), 0.0
    if action.kind is ActionKind.SPECIAL_DIVIDEND:
        return 1.0, 1.0, float(action.cash)
    if action.kind is ActionKind.SPIN_OFF and action.value_fraction < 1:
        return float(1 - action.value_fraction), 1.0, 0.0
    return None


def split_ratio(shares_before: Decimal) -> Decimal:
    """Return the units after a split for one before, from the factor of a data set (before for one after).

    The factor has six decimals: the simplest fraction within its rounding is taken.

    >>> split_ratio(Decimal("0.333333")), split_ratio(Decimal("0.666667"))
    (Decimal('3'), Decimal('1.5'))
    """
    found = Fraction(shares_before).limit_denominator(100)
    if not found or abs(Fraction(shares_before) - found) > Fraction(1, 1_000_000):
        found = Fraction(shares_before)
    return Decimal(found.denominator) / Decimal(found.numerator)


def whole_units(units: Decimal) -> tuple[Decimal, Decimal]:
    """Divide signed units into whole ones and the fraction that is paid in cash, both of one sign.

    A ratio of one for three has no exact decimal: units are exact to the ninth.

    >>> whole_units(Decimal("-12.5")), whole_units(300 * split_ratio(Decimal(3)))
    ((Decimal('-12'), Decimal('-0.5')), (Decimal('100'), Decimal('0')))
    """
    rounded = round(units, 9)
    exact = units if rounded == units else rounded.normalize() + 0
    whole = exact // 1
    return whole, exact - whole


def adjusted_option(contract: OptionContract, action: CorporateAction) -> AdjustedOption:
    """Return an option's terms after a corporate action of its underlying.

    Raises
    ------
    ArgumentError
        When the action is another share's, or no contract of the new terms can be named.
    """
    if action.symbol != contract.underlying:
        raise ArgumentError(
            "the action is another share's",
            where="action.symbol",
            value=action.symbol,
            nearest=contract.underlying,
        )
    units, ratio = Decimal(contract.multiplier), action.ratio
    own = ((contract.underlying, units),)
    if action.kind is ActionKind.SPECIAL_DIVIDEND:
        return AdjustedOption(_renamed(contract, contract.root, contract.strike - action.cash), 1, own, ZERO)
    if action.kind is ActionKind.SPLIT and ratio > 1:
        strike = contract.strike / ratio
        if ratio == int(ratio):
            return AdjustedOption(_renamed(contract, contract.root, strike), int(ratio), own, ZERO)
        if units * ratio == int(units * ratio):
            renamed = _renamed(contract, _next_root(contract.root), strike, int(units * ratio))
            return AdjustedOption(renamed, 1, ((contract.underlying, units * ratio),), ZERO)
    renamed = _renamed(contract, _next_root(contract.root), contract.strike)
    if action.kind is ActionKind.SPLIT:
        return AdjustedOption(renamed, 1, ((contract.underlying, units * ratio),), ZERO)
    new = ((action.into, units * ratio),) if ratio else ()
    delivers = own + new if action.kind is ActionKind.SPIN_OFF else new
    if action.kind is ActionKind.MERGER and ratio:
        renamed = replace(renamed, underlying=action.into)
    return AdjustedOption(renamed, 1, delivers, units * action.cash)


def _next_root(root: str) -> str:
    """Return the root of adjusted contracts: XYZ, XYZ1, XYZ2."""
    name = root.rstrip("0123456789")
    return f"{name}{int(root[len(name) :] or 0) + 1}"


def _renamed(
    contract: OptionContract, root: str, strike: Decimal, multiplier: int | None = None
) -> OptionContract:
    rounded = strike.quantize(CENT, rounding=ROUND_HALF_UP)
    return replace(
        contract,
        symbol=occ_symbol(root, contract.expiry, contract.right, rounded),
        root=root,
        strike=rounded.normalize() + 0,
        multiplier=contract.multiplier if multiplier is None else multiplier,
    )
