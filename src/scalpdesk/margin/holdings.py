"""Input of a margin model, an account and its holdings, and its answer."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from scalpdesk.core.refusals import Refused
from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.instruments.contract import Instrument, underlying_of


class Holding(FrozenLeaf, frozen=True, gc=False):
    """Units of one instrument at a price: held at the mark, or asked for at an order's price."""

    instrument: Instrument
    quantity: Decimal
    """Signed contracts or shares."""
    price: Decimal
    """Currency per unit of the underlying."""

    @property
    def is_option(self) -> bool:
        """True for an option."""
        return self.instrument.is_option

    @property
    def value(self) -> Decimal:
        """Signed value, currency."""
        return self.instrument.value(self.quantity, self.price)


class Requirement(NamedTuple):
    """Margin, currency. The initial one holds the premium of bought and uncovered sold options."""

    initial: Decimal
    maintenance: Decimal


class AccountFigures(NamedTuple):
    """Equity and buying power of an account, in currency."""

    cash: Decimal
    equity: Decimal
    long_value: Decimal
    short_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    buying_power: Decimal
    """Shares that may be bought for within the day."""
    overnight_buying_power: Decimal
    """Shares that may be bought for and kept."""
    options_buying_power: Decimal
    """Amount for which options may be bought, and cash that may secure sold options."""
    free: Decimal
    """Own funds that nothing ties up; negative once more is tied up than there is."""
    excess: Decimal
    """Own funds above the maintenance margin; negative is a deficit, which the broker calls."""


class MarginAccount(Protocol):
    """The part of an account that a margin model reads."""

    multiplier: int
    """Largest leverage in shares within the day; 1 is a cash account, 2 one without day trading."""
    options_level: int
    pairs_with_held: bool
    """Whether a sold leg may be covered by a bought one that is held; else only by one of its own order."""
    day_trades_blocked: bool
    """The broker's flag: nothing may be opened until the day-trade rule is met again."""
    cash: Decimal
    unsettled: Decimal
    """Proceeds of sales that a cash account may not use before the next session."""

    def may_short(self, symbol: str) -> bool:
        """Return whether a share may be sold short."""
        ...

    def valued(self) -> Iterable[Holding]:
        """Return what is held, at the present marks."""
        ...

    def spot(self, symbol: str) -> Decimal:
        """Return the mark of an underlying; 0 where it is not known."""
        ...

    def quantity_of(self, symbol: str) -> Decimal:
        """Return the signed units held of an instrument."""
        ...

    def free_shares(self, symbol: str) -> Decimal:
        """Return the shares that neither open orders nor sold calls need."""
        ...

    def free_bound(self) -> Decimal | None:
        """Return cash less what open orders and sold shares could take at most; None with sold options."""
        ...

    def long_shares(self) -> Decimal:
        """Return the value of the shares that are held long, currency."""
        ...

    def reserved(self) -> tuple[Decimal, Decimal]:
        """Return what open orders may still use: shares at full value, and cash for options."""
        ...


class MarginModel(Protocol):
    """The contract of a margin model."""

    def figures(self, account: MarginAccount) -> AccountFigures:
        """Return what the account is worth and may still use."""
        ...

    def fits(self, account: MarginAccount, order: Holding) -> bool:
        """Return True where a cheap bound shows already that the order is not refused."""
        ...

    def permission(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return why the account is not allowed to open these legs, whatever it is worth; None if it is."""
        ...

    def refusal(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return why the account may not open these legs, together, at these prices; None if it may."""
        ...

    def uncovers(self, account: MarginAccount, order: Holding) -> Refused | None:
        """Return why the account may not sell what covers an option it has sold; None if it may."""
        ...

    def need(self, account: MarginAccount, order: Sequence[Holding]) -> Decimal:
        """Return the own funds that legs tie up beside their proceeds, currency, at least 0."""
        ...


def by_underlying(holdings: Iterable[Holding]) -> dict[str, list[Holding]]:
    """Return holdings by the symbol of their underlying."""
    groups: dict[str, list[Holding]] = {}
    for holding in holdings:
        groups.setdefault(underlying_of(holding.instrument), []).append(holding)
    return groups


def merged(held: Sequence[Holding], order: Sequence[Holding]) -> list[Holding]:
    """Holdings after an order: units of one instrument are netted, added units count at its price."""
    after = {holding.instrument.symbol: holding for holding in held}
    for line in order:
        known = after.get(line.instrument.symbol)
        if known is None:
            after[line.instrument.symbol] = line
        else:
            quantity, price = known.quantity + line.quantity, known.price
            if known.quantity * line.quantity > 0:  # a limit below the market is no gain before it trades
                price = (known.quantity * known.price + line.quantity * line.price) / quantity
            after[line.instrument.symbol] = replace(known, quantity=quantity, price=price)
    return list(after.values())


class Filled:
    """An account once an order is filled at the prices of its lines, as a margin model reads it."""

    def __init__(self, account: MarginAccount, order: Sequence[Holding]) -> None:
        self.multiplier, self.options_level = account.multiplier, account.options_level
        self.pairs_with_held = account.pairs_with_held
        self.day_trades_blocked, self.unsettled = account.day_trades_blocked, account.unsettled
        self.cash = account.cash - sum((line.value for line in order), Decimal(0))
        self.may_short, self.spot, self.reserved = account.may_short, account.spot, account.reserved
        self.quantity_of, self.free_shares = account.quantity_of, account.free_shares
        self.free_bound, self.long_shares = account.free_bound, account.long_shares
        self._lines = [line for line in merged(list(account.valued()), order) if line.quantity]

    def valued(self) -> Sequence[Holding]:
        """Return what is held then."""
        return self._lines
