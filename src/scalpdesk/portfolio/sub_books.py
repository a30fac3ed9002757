"""One account, several books: who of the strategies that share it holds what, and earned what.

The account's own book stays the truth; these books divide it. Every share, contract and cent of the
account is in exactly one of them: a strategy's, or the one of nobody (what was there before and what
the account's owner moves). They sum to the account after every event.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from scalpdesk.core.enums import CARRY, EXERCISED, ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import CENT, InstrumentId, to_cents
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PnlExplain, parts_in_cents
from scalpdesk.portfolio.positions import Account, PositionManager, mark_decimal, net_asset_value

ZERO = Decimal(0)
NOBODY = ""
"""Owner of what belongs to no strategy."""
_FINEST = Decimal("0.000001")
_MOST_UNDELIVERED = 64
Part = tuple["SubBook", Decimal]


class SubBook:
    """What one strategy holds, has paid and has earned.

    Attributes
    ----------
    name
        The strategy's; empty for the book of nobody.
    account, positions, attribution
        As an account of its own would have them.
    opened
        Signed units by instrument that it opened and has not closed: what its budget counts. A hedge
        is not among them.
    """

    def __init__(
        self,
        name: str,
        instruments: Instruments,
        state: MarketState,
        delta_engine: DeltaEngine,
        underlying: InstrumentId,
    ) -> None:
        self.name = name
        self.account = Account()
        self.positions = PositionManager(instruments)
        self.attribution = PnlExplain(
            instruments, state, delta_engine, self.account, self.positions, underlying
        )
        self.opened: dict[InstrumentId, Decimal] = {}
        self.flat_cash = ZERO
        """Cash when it was last flat: what its next round trip is measured from."""
        self.losses_in_a_row = 0
        """Losing round trips of this session without a winning one since; one of zero is neither."""

    def quantity(self, number: InstrumentId) -> Decimal:
        """Signed contracts or shares held."""
        return self.positions.quantity(number)

    def mark(self, now_ns: int) -> None:
        """Explain what has changed since its last mark."""
        self.attribution.mark(now_ns)

    def note_opened(self, number: InstrumentId, signed: Decimal, purpose: Purpose) -> None:
        """Follow what its budget counts: an opening adds, a close takes away down to nothing."""
        opened = self.opened.get(number, ZERO)
        if purpose is Purpose.OPEN:
            self.opened[number] = opened + signed
        elif purpose is Purpose.CLOSE and opened:
            self.opened[number] = _towards_zero(opened, signed)

    def note_round_trip(self) -> None:
        """Count a round trip when it has just ended flat."""
        if self.positions.held():
            return
        gained = self.account.cash - self.flat_cash
        self.flat_cash = self.account.cash
        if gained:
            self.losses_in_a_row = self.losses_in_a_row + 1 if gained < 0 else 0


class SubBooks:
    """Divides one account among the strategies that share it.

    Parameters
    ----------
    instruments, state, delta_engine, underlying
        The desk's own parts; the books read them and change none.
    fractions
        Share of the account's equity by strategy, each above 0, together at most 1.
    adopts
        Strategy that what the account holds at the start belongs to; None: nobody.

    Raises
    ------
    ArgumentError
        When the fractions are not such, or ``adopts`` is none of the strategies.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        delta_engine: DeltaEngine,
        underlying: InstrumentId,
        fractions: Mapping[str, Decimal],
        *,
        adopts: str | None = None,
    ) -> None:
        total = sum(fractions.values(), ZERO)
        if not fractions or min(fractions.values()) <= 0 or total > 1:
            raise ArgumentError(
                "budgets are fractions above 0 that sum to at most 1",
                where="fractions",
                value={name: str(one) for name, one in fractions.items()},
            )
        if adopts is not None and adopts not in fractions:
            raise ArgumentError("no such strategy here", where="adopts", value=adopts)
        self.fractions = dict(fractions)
        self._adopter = adopts or NOBODY
        self._state = state
        self._instruments = instruments
        self.books: dict[str, SubBook] = {
            name: SubBook(name, instruments, state, delta_engine, underlying) for name in (*fractions, NOBODY)
        }
        self.most_losses_in_a_row: int | None = None
        """Losing round trips after which a strategy opens nothing more in the session; None: no limit."""
        self._exercised: list[tuple[tuple[Decimal, Decimal], list[Part]]] = []
        """Shares and strike of deliveries still to come, and who held the options."""
        self._has_begun = False

    def of(self, owner: str) -> SubBook:
        """Return the book of an owner; what no strategy here owns is nobody's."""
        return self.books.get(owner) or self.books[NOBODY]

    # beginning ------------------------------------------------------------------------------------

    def adopt(self, number: InstrumentId, quantity: Decimal, average_price: Decimal, reference: str) -> None:
        """Take over a line that the account holds at the start."""
        self.of(self._adopter).positions.book(number, quantity, average_price, reference)

    def begin(self, now_ns: int, cash: Decimal) -> None:
        """Give each strategy its share of the equity; again later, nobody takes what has changed.

        Parameters
        ----------
        now_ns
            UTC nanoseconds.
        cash
            The account's, in the quote currency.
        """
        if not self._has_begun:
            self._has_begun = True
            worth = {name: self._worth(book) for name, book in self.books.items()}
            equity = cash + sum(worth.values(), ZERO)
            for name, fraction in self.fractions.items():
                self.books[name].account.cash = (fraction * equity).quantize(CENT) - worth[name]
        others = sum((book.account.cash for name, book in self.books.items() if name != NOBODY), ZERO)
        self.books[NOBODY].account.cash = cash - others
        for book in self.books.values():
            book.attribution.begin(now_ns)
            book.flat_cash = book.attribution.nav

    def _worth(self, book: SubBook) -> Decimal:
        return sum(
            (one.quantity * one.multiplier * mark_decimal(self._state, one) for one in book.positions.held()),
            ZERO,
        )

    def new_session(self) -> None:
        """Start the session's tallies."""
        for book in self.books.values():
            book.losses_in_a_row = 0

    # booking --------------------------------------------------------------------------------------

    def book_fill(
        self,
        owner: str,
        number: InstrumentId,
        signed: Decimal,
        price: Decimal,
        fee: Decimal,
        reference: str,
        purpose: Purpose,
        now_ns: int,
    ) -> None:
        """Book one execution in its owner's book."""
        book = self.of(owner)
        book.mark(now_ns)
        self._trade(book, number, signed, price, fee, reference)
        book.note_opened(number, signed, purpose)
        book.attribution.rebase(now_ns)
        book.note_round_trip()

    def book_bust(
        self,
        owner: str,
        number: InstrumentId,
        signed: Decimal,
        price: Decimal,
        reference: str,
        purpose: Purpose,
        now_ns: int,
    ) -> None:
        """Reverse one execution; ``signed`` is what is taken back, with the sign of the reversal."""
        book = self.of(owner)
        book.mark(now_ns)
        self._trade(book, number, signed, price, ZERO, reference)
        if purpose in (Purpose.OPEN, Purpose.CLOSE):
            book.opened[number] = book.opened.get(number, ZERO) + signed
        book.attribution.rebase(now_ns)

    def cross(
        self,
        buyer: tuple[str, Purpose],
        seller: tuple[str, Purpose],
        number: InstrumentId,
        quantity: Decimal,
        price: Decimal,
        reference: str,
        now_ns: int,
    ) -> None:
        """Move units from one strategy to another without the venue.

        Raises
        ------
        ArgumentError
            When nothing or less is moved, or a strategy would trade with itself.
        """
        if quantity <= 0 or buyer[0] == seller[0]:
            raise ArgumentError(
                "a cross needs two strategies and units above zero",
                where="quantity",
                value=f"{quantity} from {seller[0]!r} to {buyer[0]!r}",
            )
        for (owner, purpose), signed in ((buyer, quantity), (seller, -quantity)):
            self.book_fill(owner, number, signed, price, ZERO, f"{reference}/{owner}", purpose, now_ns)

    def _trade(
        self,
        book: SubBook,
        number: InstrumentId,
        signed: Decimal,
        price: Decimal,
        fee: Decimal,
        reference: str,
    ) -> None:
        multiplier = self._instruments[number].multiplier
        book.positions.book(number, signed, price, reference, fee=fee)
        book.account.pay_for(signed, price, multiplier, fee)
        book.attribution.note_trade(self._state.quotes[number], signed, multiplier, price, fee)

    def book_change(self, event: PositionChanged) -> None:
        """Divide an exercise, settlement, dividend or other change among those whom it concerns.

        What ends a whole holding ends each one's own; what ends part of it is taken from those who
        hold it that way, in their order; delivered shares follow the options; a dividend follows the
        holdings, and so does a split. What is nobody's stays nobody's: a transfer, interest, a trade by hand.
        """
        number, now_ns = event.instrument_id, event.ts_recv_ns
        parts = self._parts(event)
        if event.cause in EXERCISED:
            self._note_exercised(event, parts)
        whole = event.quantity_change or sum((one for _, one in parts), ZERO)
        left = event.cash_change
        for count, (book, quantity) in enumerate(parts, start=1):
            cash = left if count == len(parts) else (event.cash_change * quantity / whole).quantize(_FINEST)
            left -= cash
            book.mark(now_ns)
            if event.quantity_change and quantity:
                book.positions.book(number, quantity, event.price, event.reference)
                book.opened[number] = _towards_zero(book.opened.get(number, ZERO), quantity)
            book.account.cash += cash
            if event.cause in CARRY:
                book.attribution.note_carry(cash)
            elif event.cause is ChangeCause.TRANSFER:
                multiplier = self._instruments[number].multiplier
                book.attribution.note_transfer(cash + event.quantity_change * event.price * multiplier)
                book.flat_cash += cash
            book.attribution.rebase(now_ns)
            book.mark(now_ns)
            if event.quantity_change and event.cause not in EXERCISED:  # those end with their delivery
                book.note_round_trip()

    def _parts(self, event: PositionChanged) -> list[Part]:
        """Return whom a change concerns and with how much of it (units; of a dividend: holdings)."""
        number, change, nobody = event.instrument_id, event.quantity_change, self.books[NOBODY]
        holders = [(book, held) for book in self.books.values() if (held := book.quantity(number))]
        total = sum((held for _, held in holders), ZERO)
        if event.cause is ChangeCause.TRANSFER:
            return [(nobody, change)]
        if not change:
            return holders if event.cause is ChangeCause.DIVIDEND and total else [(nobody, Decimal(1))]
        if event.cause is ChangeCause.DELIVERY and self._exercised:
            dues, due = [due for due, _ in self._exercised], (change, event.price)
            place = dues.index(due) if due in dues else 0  # what fits no exercise follows the oldest one
            return _in_proportion(change, self._exercised.pop(place)[1])
        if event.cause is ChangeCause.CORPORATE_ACTION and total:  # a split: everybody's shares alike
            return _in_proportion(change, holders)
        if change == -total:
            return [(book, -held) for book, held in holders]
        if not total or (change > 0) == (total > 0):
            return [(nobody, change)]
        return _taken_from(holders, change) or [(nobody, change)]

    def _note_exercised(self, event: PositionChanged, parts: list[Part]) -> None:
        """Remember whose options they were: a venue may tell of several before the first delivery."""
        option = self._instruments[event.instrument_id]
        if isinstance(option, OptionContract):
            shares = event.quantity_change * option.multiplier * (-1 if option.is_call else 1)
            self._exercised.append(((shares, option.strike), parts))
            del self._exercised[:-_MOST_UNDELIVERED]

    # reading --------------------------------------------------------------------------------------

    def mark(self, now_ns: int) -> None:
        """Mark every book, as the account is marked."""
        for book in self.books.values():
            book.mark(now_ns)

    def opened_value(self, owner: str) -> Decimal:
        """Return what the owner's open risk is worth: its opened units at their marks, currency."""
        book = self.of(owner)
        value = ZERO
        for number, opened in book.opened.items():
            position = book.positions.positions.get(number)
            if opened and position is not None:
                value += abs(opened) * position.multiplier * mark_decimal(self._state, position)
        return value

    def nav(self, owner: str) -> Decimal:
        """Return the owner's net asset value now, in the quote currency."""
        return net_asset_value(self.of(owner).account, self.of(owner).positions.held(), self._state)

    def explained(self, account_change: Decimal) -> dict[str, dict[str, Decimal]]:
        """Return what each has earned, by part, in cents; the totals sum to the account's exactly.

        Parameters
        ----------
        account_change
            Change of the account's net asset value since the run began, in the quote currency.
        """
        rows = {
            name: parts_in_cents(book.attribution.totals, book.attribution.nav_change)
            for name, book in self.books.items()
        }
        nobody = self.books[NOBODY].attribution.nav_change
        # a book may end on half a cent: who moved most takes the rounding, nobody only when it moved itself
        taker = NOBODY if nobody else max(self.fractions, key=lambda name: abs(rows[name]["total"]))
        rest = to_cents(account_change) - sum((row["total"] for row in rows.values()), ZERO)
        rows[taker]["total"] += rest
        rows[taker]["residual"] += rest
        return rows


def _towards_zero(held: Decimal, signed: Decimal) -> Decimal:
    """Return what is left of ``held`` after ``signed``, which may end it but not turn it."""
    if not held or (held > 0) == (signed > 0):
        return held
    left = held + signed
    return left if (left > 0) == (held > 0) else ZERO


def _in_proportion(change: Decimal, holders: Sequence[Part]) -> list[Part]:
    """Divide ``change`` as the holdings are; the last takes what the division leaves."""
    total = sum((held for _, held in holders), ZERO)
    parts = [(book, change * held / total) for book, held in holders[:-1]]
    return [*parts, (holders[-1][0], change - sum((one for _, one in parts), ZERO))]


def _taken_from(holders: Sequence[Part], change: Decimal) -> list[Part]:
    """Divide ``change`` among those who hold the other way, in their order."""
    parts: list[Part] = []
    left = change
    for book, held in holders:
        if not left or (held > 0) == (change > 0):
            continue
        taken = left if abs(left) <= abs(held) else -held
        parts.append((book, taken))
        left -= taken
    if left and parts:
        book, taken = parts[-1]
        parts[-1] = (book, taken + left)
    return parts
