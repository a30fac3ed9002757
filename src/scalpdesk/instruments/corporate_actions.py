"""Corporate actions: what becomes of shares, and of listed options by the rules of the clearing house (OCC).

Options Clearing Corporation, By-Laws article VI section 11A and its interpretations: a whole split multiplies
contracts and divides strikes; another split of more than one for one raises the units of the contract; a
special cash dividend lowers strikes; a reverse split leaves the strike and changes what is delivered. Strikes
are rounded to the cent. No run is carried across a spin-off or a merger.
"""

from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import CENT, ZERO, InstrumentId, number_text
from scalpdesk.instruments.contract import Instruments, OptionContract, occ_symbol

ONE = Decimal(1)


class ActionKind(StrEnum):
    """Kind of a corporate action; an ordinary cash dividend is none of them."""

    SPLIT = "split"
    SPECIAL_DIVIDEND = "special_dividend"


_CASH_KINDS = frozenset({ActionKind.SPECIAL_DIVIDEND})
"""Kinds that pay cash on each share, by which the strikes of options fall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """A corporate action, effective at the open of ``ex_date``.

    Raises ArgumentError when a number is out of its range.
    """

    symbol: str
    """The share."""
    ex_date: date
    """First session in which it trades without the right."""
    kind: ActionKind
    """Kind of the action."""
    ratio: Decimal = ONE
    """Units after a split for one held (0.1: one for ten)."""
    cash: Decimal = ZERO
    """Special dividend on one share held, in its currency."""

    @classmethod
    def of_figure(cls, symbol: str, ex_date: date, kind: str, figure: Decimal) -> "CorporateAction":
        """Return the action of a data set: currency a share, or of a split the shares before for one after.

        Raises ValueError when the kind is not known.
        """
        if ActionKind(kind) is ActionKind.SPLIT:
            return cls(symbol=symbol, ex_date=ex_date, kind=ActionKind.SPLIT, ratio=split_ratio(figure))
        return cls(symbol=symbol, ex_date=ex_date, kind=ActionKind(kind), cash=figure)

    def __post_init__(self) -> None:
        """Refuse numbers that no action has."""
        if self.ratio <= 0:
            raise ArgumentError("units received for one held are above 0", where="ratio", value=self.ratio)
        if self.cash < 0:
            raise ArgumentError("cash received is 0 or more", where="cash", value=self.cash)


@dataclass(frozen=True, slots=True)
class _AdjustedOption:
    """Terms of an option contract after a corporate action."""

    contract: OptionContract
    """With its new root, strike and multiplier; the multiplier counts for premium and strike."""
    contracts: int
    """Contracts for one held."""
    delivers: Decimal
    """Shares of its underlying that one contract delivers."""

    @property
    def is_standard(self) -> bool:
        """Whether it delivers its multiplier in shares of its underlying: then an option model prices it."""
        return self.delivers == self.contract.multiplier


def price_scale(action: CorporateAction) -> tuple[float, float, float]:
    """Return by what an action changes the scale of its share.

    Returns
    -------
    tuple of float
        Factor of prices, factor of volumes, and the currency a share that prices fall by before that.

    >>> price_scale(
    ...     CorporateAction(symbol="X", ex_date=date(2024, 6, 10), kind=ActionKind.SPLIT, ratio=Decimal(4))
    ... )
    (0.25, 4.0, 0.0)
    """
    if action.kind is ActionKind.SPLIT:
        return float(1 / action.ratio), float(action.ratio), 0.0
    return 1.0, 1.0, float(action.cash)


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
    """Divide signed units into whole units and the fraction that is paid in cash, both of one sign.

    A ratio of one for three has no exact decimal: units are exact to the ninth.

    >>> whole_units(Decimal("-12.5")), whole_units(300 * split_ratio(Decimal(3)))
    ((Decimal('-12'), Decimal('-0.5')), (Decimal('100'), Decimal('0')))
    """
    rounded = round(units, 9)
    exact = units if rounded == units else rounded.normalize() + 0
    whole = exact // 1
    return whole, exact - whole


def dividend(
    number: InstrumentId, held: Decimal, amount: Decimal, reference: str, now_ns: int
) -> list[PositionChanged]:
    """Return the cash that a holding receives (a short one pays): ``amount`` a share."""
    cash = held * amount
    terms = ChangeCause.DIVIDEND, ZERO, ZERO, cash, reference
    return [PositionChanged(number, now_ns, now_ns, *terms)] if cash else []


def split(
    number: InstrumentId, units: Decimal, reference: str, at_ns: int, known_ns: int | None = None
) -> PositionChanged:
    """Return the signed units that come to a holding of shares without a cost of their own."""
    terms = ChangeCause.CORPORATE_ACTION, units, ZERO, ZERO, reference
    return PositionChanged(number, at_ns, at_ns if known_ns is None else known_ns, *terms, source=number)


def adjust(
    instruments: Instruments,
    number: InstrumentId,
    held: Decimal,
    action: CorporateAction,
    price: Decimal,
    now_ns: int,
) -> list[PositionChanged]:
    """Return what an action makes of a holding of its share, or of an option on it.

    ``held``: Signed shares or contracts.
    ``price``: Last price of the share before the action, currency: a fraction of a share is paid in cash; 0
    where it is not known.
    ``now_ns``: UTC nanoseconds.
    Raises DataError when a contract would deliver anything but its multiplier in shares, the run has no
    instrument of the new terms, or a fraction has no price.
    """
    contract, label = instruments[number], f"{action.kind.value}-{action.symbol}-{action.ex_date}"
    if contract.is_option:
        after = adjusted_option(contract, action)
        new = instruments.find(after.contract.symbol)
        if not after.is_standard:
            goods = f"{number_text(after.delivers)} {action.symbol}"
            raise _cannot_carry(contract, action, f"it then delivers {goods}, and no model prices that")
        if new is None or instruments[new] != after.contract:
            raise _cannot_carry(
                contract, action, f"the data have no {after.contract.symbol}, which it becomes"
            )
        terms = ChangeCause.CORPORATE_ACTION, held * after.contracts, ZERO, ZERO, f"{label}-{contract.symbol}"
        return [PositionChanged(new, now_ns, now_ns, *terms, source=number, source_change=-held)]
    if action.kind in _CASH_KINDS:
        return dividend(number, held, action.cash, f"{label}-cash", now_ns)
    whole, fraction = whole_units(held * action.ratio)
    changes = [split(number, whole + fraction - held, f"{label}-units", now_ns)]
    if fraction:
        if not price:
            raise DataError(
                f"a fraction of {action.symbol} is paid in cash, and no price of it is known",
                where=f"corporate actions of {action.symbol}",
                value=f"{action.ex_date}: {fraction} shares",
                fix="begin the run at least a session earlier",
            )
        paid = (price / action.ratio).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)
        sold = ChangeCause.CORPORATE_ACTION, -fraction, paid, fraction * paid, f"{label}-fraction"
        changes.append(PositionChanged(number, now_ns, now_ns, *sold))
    return changes


def _cannot_carry(contract: OptionContract, action: CorporateAction, why: str) -> DataError:
    event = f"{action.kind.value.replace('_', ' ')} of {action.symbol} on {action.ex_date}"
    return DataError(
        f"{contract.symbol} cannot be carried across the {event}: {why}",
        where=f"corporate actions of {action.symbol}",
        value=f"ratio {action.ratio}, cash {action.cash}",
        fix="close the position or end the run before that day",
    )


def adjusted_option(contract: OptionContract, action: CorporateAction) -> _AdjustedOption:
    """Return an option's terms after a corporate action of its underlying.

    Raises ArgumentError when the action is another share's, or no contract of the new terms can be named.
    """
    if action.symbol != contract.underlying:
        raise ArgumentError(
            "the action is another share's",
            where="action.symbol",
            value=action.symbol,
            nearest=contract.underlying,
        )
    units, ratio = Decimal(contract.multiplier), action.ratio
    if action.kind in _CASH_KINDS:
        return _AdjustedOption(_renamed(contract, contract.root, contract.strike - action.cash), 1, units)
    if ratio > 1:
        strike = contract.strike / ratio
        if ratio == int(ratio):
            return _AdjustedOption(_renamed(contract, contract.root, strike), int(ratio), units)
        if units * ratio == int(units * ratio):
            renamed = _renamed(contract, _next_root(contract.root), strike, int(units * ratio))
            return _AdjustedOption(renamed, 1, units * ratio)
    renamed = _renamed(contract, _next_root(contract.root), contract.strike)
    return _AdjustedOption(renamed, 1, units * ratio)


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
