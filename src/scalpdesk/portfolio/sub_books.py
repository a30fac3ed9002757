"""Sub-books: positions, cash and P&L of each strategy that shares one account, or of each underlying.

The account's own book is authoritative; the sub-books divide it. Every share, contract and cent of the
account is in exactly one of them: a strategy's (an underlying's), or the unassigned one (earlier
holdings and transfers of the account's owner). They sum to the account after every event.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import accumulate, pairwise

import msgspec

from scalpdesk.core.enums import EXERCISED, ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import PositionChanged, PriceAdjustmentEvent
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import ZERO, InstrumentId, exact, to_cents
from scalpdesk.instruments.contract import Instruments, underlying_of
from scalpdesk.instruments.corporate_actions import dividend, split
from scalpdesk.instruments.postings import OF_HOLDERS, UNASSIGNED, Posting, of_change, part_of
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.instruments.settlement import settle_option
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.book import Book
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import parts_in_cents
from scalpdesk.portfolio.positions import (
    Account,
    mark_decimal,
    net_asset_value,
)

_FINEST = Decimal("0.000001")
_MOST_UNDELIVERED = 64
Part = tuple[str, Decimal]
"""An owner, and its units."""


class SubBooks:
    """Division of one account among the strategies that share it.

    ``instruments``, ``state``, ``delta_engine``, ``underlying``: The desk's parts, which the books only read.
    ``fractions``: Share of the account's equity by strategy, each above 0, together at most 1.
    ``adopts``: Strategies that get the account's holdings at the start, each those in its own underlying and
    the first the rest; without any they are unassigned.
    ``own_underlying``: Main underlying of a book where it is not the desk's.
    ``is_by_underlying``: A book is an underlying's, not a strategy's: postings fall to it by their
    instrument.
    Raises ArgumentError when the fractions are not valid, or ``adopts`` names another than these strategies.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        delta_engine: DeltaEngine,
        underlying: InstrumentId,
        fractions: Mapping[str, Decimal],
        *,
        adopts: Sequence[str] = (),
        own_underlying: Mapping[str, InstrumentId] | None = None,
        is_by_underlying: bool = False,
    ) -> None:
        total = sum(fractions.values(), ZERO)
        if not fractions or min(fractions.values()) <= 0 or total > 1:
            raise ArgumentError(
                "budgets are fractions above 0 that sum to at most 1",
                where="fractions",
                value={name: str(fraction) for name, fraction in fractions.items()},
            )
        unknown = [name for name in adopts if name not in fractions]
        if unknown:
            raise ArgumentError("no such strategy here", where="adopts", value=unknown[0])
        self.fractions = dict(fractions)
        self._adopter = adopts[0] if adopts else UNASSIGNED
        own = own_underlying or {}
        self._adopter_of = {instruments[own[name]].symbol: name for name in adopts if name in own}
        self._state, self._marks = state, delta_engine
        self.instruments = instruments
        self._is_by_underlying = is_by_underlying
        self.books: dict[str, Book] = {
            name: Book(name, instruments, state, delta_engine, own.get(name, underlying))
            for name in (*fractions, UNASSIGNED)
        }
        self._unit = self.books[UNASSIGNED].attribution.unit
        self.most_losses_in_a_row: int | None = None
        """Losing round trips in a row after which a strategy opens nothing more in the session, or None."""
        self.largest_order_shares: Decimal | None = None
        self.largest_order_contracts: Decimal | None = None
        """Largest order of one strategy, before it is netted with the others'; None for any."""
        self._exercised: list[tuple[tuple[Decimal, Decimal], list[Part]]] = []
        """Shares and strike of pending deliveries, and the holders of the exercised options."""
        self.changes: list[Posting] = []
        """The books' parts of what no order caused, in order."""
        self._has_begun = False
        self._opened_ns = 0

    def of(self, owner: str) -> Book:
        """Return the book of an owner; the unassigned one for any other name."""
        return self.books.get(owner) or self.books[UNASSIGNED]

    def _book_of(self, number: InstrumentId, owner: str) -> Book:
        return self.of(underlying_of(self.instruments[number]) if self._is_by_underlying else owner)

    # start ----------------------------------------------------------------------------------------

    def adopt(self, posting: Posting) -> None:
        """Book a position that the account holds at the start; without an owner for who adopts it."""
        symbol = underlying_of(self.instruments[posting.instrument_id])
        adopter = self._adopter_of.get(symbol, self._adopter)
        book = self._book_of(posting.instrument_id, posting.owner or adopter)
        book.positions.apply(posting)
        self.changes.append(msgspec.structs.replace(posting, owner=book.name))

    def begin(self, now_ns: int, cash: Decimal) -> None:
        """Give each strategy its share of the equity; a later call books a difference as unassigned."""
        if not self._has_begun:
            self._has_begun = True
            worth = {name: self._worth(book) for name, book in self.books.items()}
            equity = cash + sum(worth.values(), ZERO)
            for name, fraction in self.fractions.items():
                part = (fraction * equity).quantize(self._unit, rounding=ROUND_HALF_EVEN)
                self.books[name].account.cash = part - worth[name]
        others = sum((book.account.cash for name, book in self.books.items() if name != UNASSIGNED), ZERO)
        self.books[UNASSIGNED].account.cash = cash - others
        for book in self.books.values():
            book.begin(now_ns)

    def _worth(self, book: Book) -> Decimal:
        return net_asset_value(Account(ZERO, book.account.currency), book.positions.held(), self._marks)

    def new_session(self) -> None:
        """Reset the session's counters; the interval up to the next mark is the night's."""
        for book in self.books.values():
            book.closed_trades.new_session()
            book.attribution.legs.open_session()

    # booking --------------------------------------------------------------------------------------

    def apply(self, posting: Posting, *, more_follow: bool = False) -> None:
        """Book a posting of the account in the books of its owners.

        The end of a whole holding ends each book's part; a partial one is taken from the books on that side,
        in their order. Delivered shares follow the options; dividends, funding and splits the holdings.
        Transfers, interest and manual trades are unassigned.

        ``posting``: An execution or a bust has its owner; any other is divided here.
        ``more_follow``: Whether another posting of the same corporate action comes next.
        """
        if isinstance(posting.cause, Purpose) or posting.cause is ChangeCause.BUST:
            book = self._book_of(posting.instrument_id, posting.owner)
            book.mark(posting.ts_ns, of=posting.instrument_id)
            book.apply(posting)
            book.attribution.legs.rebase(posting.ts_ns, of=posting.instrument_id)
            return
        self._fold(self._divided(posting), more_follow=more_follow)
        if posting.cause is ChangeCause.CORPORATE_ACTION:
            number, rounded = posting.instrument_id, self._whole_units(posting)
            self._fold(rounded, more_follow=more_follow)
            for part in rounded:
                opened = self.books[part.owner].opened
                opened[number] = opened.get(number, ZERO).to_integral_value(ROUND_HALF_EVEN)

    def _fold(self, parts: Sequence[Posting], *, more_follow: bool = False) -> None:
        """Book each part of a change in its owner's book."""
        for part in parts:
            book, now_ns = self.books[part.owner], part.ts_ns
            is_action = part.cause is ChangeCause.CORPORATE_ACTION
            is_dividend = part.cause is ChangeCause.DIVIDEND  # within one step with the night: no anchor
            if not (is_action or is_dividend):  # an action's prices are carried through already
                book.mark(now_ns)
            book.apply(part)
            self.changes.append(part)
            if not is_dividend:
                book.attribution.legs.rebase(now_ns)
                if not (is_action and more_follow):  # options still count shares of before
                    book.mark(now_ns)

    def _holders(self, number: InstrumentId) -> list[Part]:
        return [(name, held) for name, book in self.books.items() if (held := book.quantity(number))]

    def _rounded(self, amounts: Iterable[Decimal], total: Decimal) -> list[Decimal]:
        """Return amounts of cash rounded, and what they leave of the total."""
        unit = min(_FINEST, self._unit)
        rounded = [cash.quantize(unit, rounding=ROUND_HALF_EVEN) for cash in amounts]
        return [*rounded, total - sum(rounded, ZERO)]

    def _divided(self, posting: Posting) -> list[Posting]:
        """Return the owners' parts of a change."""
        shares = self._shares(posting)
        if posting.cause in EXERCISED:
            self._note_exercised(posting, shares)
        whole = posting.units or sum((units for _, units in shares), ZERO)
        cash = self._rounded((posting.cash * units / whole for _, units in shares[:-1]), posting.cash)
        instrument, parts = self.instruments[posting.instrument_id], []
        for (owner, units), paid in zip(shares, cash, strict=True):
            part = part_of(posting, instrument, owner, units if posting.units else ZERO, paid)
            if part.source is not None and part.source_units:  # all that it holds goes
                left = -self.books[owner].quantity(part.source)
                part = msgspec.structs.replace(part, source_units=left)
            parts.append(part)
        return parts

    def _whole_units(self, posting: Posting) -> list[Posting]:
        """Return what gives each book whole units where the account's are whole, paid for at the mark.

        No venue takes an order in 33.333 shares.
        """
        number = posting.instrument_id
        holders = self._holders(number)
        held = [units for _, units in holders]
        if sum(held, ZERO) % 1 or not any(units % 1 for units in held):
            return []
        ends = [ZERO, *(summed.to_integral_value(ROUND_HALF_EVEN) for summed in accumulate(held))]
        moved = [after - before - units for (before, after), units in zip(pairwise(ends), held, strict=True)]
        instrument = self.instruments[number]
        price = mark_decimal(self._marks, self.books[holders[0][0]].positions.positions[number])
        cash = self._rounded((-instrument.value(units, price) for units in moved[:-1]), ZERO)
        reference = f"{posting.reference}/whole"
        change = msgspec.structs.replace(posting, price=price, reference=reference, source=None)
        terms = zip(holders, moved, cash, strict=True)
        parts = [part_of(change, instrument, owner, units, paid) for (owner, _), units, paid in terms]
        return [part for part in parts if part.units or part.cash]

    def _held_offset(self) -> Iterator[tuple[InstrumentId, list[Part]]]:
        """Yield each instrument that books hold and the account does not, with its holders.

        No venue reports anything about what the account does not hold.
        """
        held = {item.instrument_id for book in self.books.values() for item in book.positions.held()}
        for number in sorted(held):
            holders = self._holders(number)
            if not sum((units for _, units in holders), ZERO):
                yield number, holders

    def settle_offset_options(self, now_ns: int) -> Sequence[Posting]:
        """End the expired options that books hold against each other; return what was booked.

        Each book's end by the contract's own law, at the underlying's mark; without a mark they wait for the
        next call.
        """
        before = len(self.changes)
        for number, holders in self._held_offset():
            contract = self.instruments[number]
            if not contract.is_option or expiry_instant_ns(contract) > now_ns:
                continue
            share = self.instruments.id_of(contract.underlying)
            level = self._state.mark(share)
            if level is None:
                continue
            terms = contract, number, share
            paid: dict[ChangeCause, Decimal] = {}
            for count, (owner, units) in enumerate(holders, start=1):
                for change in settle_option(*terms, units, exact(level), expiry_instant_ns(contract), now_ns):
                    so_far = paid.get(change.cause, ZERO)
                    cash = change.cash_change if count < len(holders) else -so_far
                    paid[change.cause] = so_far + cash
                    self._fold([self._offset(change, owner, cash)])
        return self.changes[before:]

    def _offset(self, change: PositionChanged, owner: str, cash: Decimal) -> Posting:
        """Return an owner's change that no venue reports, with so much cash."""
        change = msgspec.structs.replace(change, reference=f"offset-{change.reference}", cash_change=cash)
        return of_change(self.instruments[change.instrument_id], change, owner)

    def carry_offset_shares(
        self, open_ns: int, now_ns: int, going_ex: Sequence[PriceAdjustmentEvent]
    ) -> None:
        """Carry shares that books hold against each other across what goes ex at an open.

        Who is short pays the dividend to who is long, and a split changes the units of both. Prices are those
        of after it by now.
        """
        before_ns, self._opened_ns = self._opened_ns, open_ns
        if not before_ns:
            return  # what is held at the first open was taken over there
        for number, holders in self._held_offset():
            if not self.instruments[number].is_share:
                continue
            actions = [item for item in going_ex if item.instrument_id == number]
            paid = sum((Decimal(f"{item.paid:.12g}") for item in actions), ZERO)
            for item in self._state.dividends:
                if item.instrument_id == number and before_ns < item.ts_ex_ns <= open_ns:
                    paid += item.amount
            ratio = math.prod((Decimal(f"{item.volume_factor:.12g}") for item in actions), start=Decimal(1))
            for owner, units in holders:
                changes = dividend(number, units, paid, f"dividend-{number}-{open_ns}", now_ns)
                if ratio != 1:
                    changes.append(split(number, units * (ratio - 1), f"split-{number}-{open_ns}", now_ns))
                parts = [self._offset(change, owner, change.cash_change) for change in changes]
                self._fold(parts, more_follow=True)  # one step with the night

    def _shares(self, event: Posting) -> list[Part]:
        """Return the owners that a change concerns, each with its units (of a dividend, its holding)."""
        change, unassigned = event.units, [(UNASSIGNED, event.units)]
        holders = self._holders(event.instrument_id if event.source is None else event.source)
        total = sum((held for _, held in holders), ZERO)
        if event.cause is ChangeCause.TRANSFER:
            return unassigned
        if not change:
            return holders if event.cause in OF_HOLDERS and total else [(UNASSIGNED, Decimal(1))]
        if event.cause is ChangeCause.DELIVERY and self._exercised:
            dues, due = [due for due, _ in self._exercised], (change, event.price)
            place = dues.index(due) if due in dues else 0  # without a matching exercise: the oldest one
            return _in_proportion(change, self._exercised.pop(place)[1])
        if event.cause is ChangeCause.CORPORATE_ACTION and total:  # all holdings alike
            return _in_proportion(change, holders)
        if change == -total:
            return [(owner, -held) for owner, held in holders]
        if not total or (change > 0) == (total > 0):
            return unassigned
        return _taken_from(holders, change) or unassigned

    def _note_exercised(self, event: Posting, parts: list[Part]) -> None:
        """Remember the options' holders: a venue may report several exercises before the first delivery."""
        option = self.instruments[event.instrument_id]
        if option.is_option:
            shares = event.units * option.multiplier * (-1 if option.is_call else 1)
            self._exercised.append(((shares, option.strike), parts))
            del self._exercised[:-_MOST_UNDELIVERED]

    # reading --------------------------------------------------------------------------------------

    def mark(self, now_ns: int, *, is_anchor: bool = False, of: InstrumentId | None = None) -> None:
        """Mark every book; the arguments are those of :meth:`PnlExplain.mark`."""
        for book in self.books.values():
            book.mark(now_ns, is_anchor=is_anchor, of=of)

    def opened_value(self, owner: str) -> Decimal:
        """Return the value of the owner's opened units at their marks, in currency."""
        book = self.of(owner)
        value = ZERO
        for instrument_id, opened in book.opened.items():
            position = book.positions.positions.get(instrument_id)
            if opened and position is not None:
                mark = mark_decimal(self._marks, position)
                value += abs(position.instrument.value(opened, mark))
        return value

    def nav(self, owner: str) -> Decimal:
        """Return the owner's current net asset value, in the quote currency."""
        return net_asset_value(self.of(owner).account, self.of(owner).positions.held(), self._marks)

    def explained(self, account_change: Decimal) -> dict[str, dict[str, Decimal]]:
        """Return the explained P&L of each book in cents; the totals sum to the account's exactly.

        ``account_change``: Change of the account's net asset value since the run began, in the quote
        currency.
        """
        rows = {
            name: parts_in_cents(book.attribution.totals, book.attribution.nav_change, self._unit)
            for name, book in self.books.items()
        }
        # half cents: the rounding goes to the unassigned book if that changed, else to the largest change
        unassigned = self.books[UNASSIGNED].attribution.nav_change
        taker = UNASSIGNED if unassigned else max(self.fractions, key=lambda name: abs(rows[name]["total"]))
        rest = to_cents(account_change, self._unit) - sum((row["total"] for row in rows.values()), ZERO)
        rows[taker]["total"] += rest
        rows[taker]["residual"] += rest
        return rows


def _in_proportion(change: Decimal, holders: Sequence[Part]) -> list[Part]:
    """Divide ``change`` in proportion to the holdings; the last gets the rest."""
    total = sum((held for _, held in holders), ZERO)
    parts = [(owner, change * held / total) for owner, held in holders[:-1]]
    return [*parts, (holders[-1][0], change - sum((part for _, part in parts), ZERO))]


def _taken_from(holders: Sequence[Part], change: Decimal) -> list[Part]:
    """Divide ``change`` among the holders of the opposite sign, in their order."""
    parts: list[Part] = []
    left = change
    for owner, held in holders:
        if not left or (held > 0) == (change > 0):
            continue
        taken = left if abs(left) <= abs(held) else -held
        parts.append((owner, taken))
        left -= taken
    if left and parts:
        owner, taken = parts[-1]
        parts[-1] = (owner, taken + left)
    return parts
