"""One book: positions, cash, P&L and round trips of an account, or of the part of it that an owner has.

What a posting does to a book is written here once; the account's own book and the books of its strategies
and underlyings are all of this class.
"""

from decimal import Decimal

from scalpdesk.core.enums import CARRY, ENDED, EXERCISED, ChangeCause
from scalpdesk.core.intents import Mark, Purpose
from scalpdesk.core.units import SATOSHI, ZERO, InstrumentId, to_cents
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.postings import Posting
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PnlExplain
from scalpdesk.portfolio.positions import Account, ClosedTrades, PositionManager, exact_price

_OPENED = Purpose.OPEN, Purpose.CLOSE
"""Purposes of what uses the budget: hedges do not."""


class Book:
    """Positions, cash and P&L of one owner.

    ``name``: The owner's name; empty for the account's own book and for what belongs to no owner.
    ``instruments``, ``state``, ``delta_engine``, ``underlying``: What is traded, the latest market, the
    pricing, and the main underlying.
    ``cash``: Cash at the start, in the quote currency.
    ``closed_trades``: Counts its round trips; None for a count of its own.

    Attributes
    ----------
    account, positions, attribution
        Cash; units and lots; the explain.
    opened
        Signed units by instrument that the owner opened and has not closed, without hedges: its use of the
        budget.
    last_mark
        What its last mark found; None before the first.
    counts_trips
        Whether it counts round trips from flat to flat; a divided account leaves that to its parts.
    """

    def __init__(
        self,
        name: str,
        instruments: Instruments,
        state: MarketState,
        delta_engine: DeltaEngine,
        underlying: InstrumentId,
        *,
        cash: Decimal = ZERO,
        closed_trades: ClosedTrades | None = None,
    ) -> None:
        self.name = name
        self._instruments = instruments
        self._state = state
        self.account = Account(cash, instruments[underlying].currency)
        self.positions = PositionManager(instruments)
        self.attribution = PnlExplain(
            instruments, state, delta_engine, self.account, self.positions, underlying
        )
        self.opened: dict[InstrumentId, Decimal] = {}
        self.closed_trades = ClosedTrades() if closed_trades is None else closed_trades
        self.counts_trips = True
        self.last_mark: Mark | None = None

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed contracts or shares held."""
        return self.positions.quantity(instrument_id)

    def mark(self, now_ns: int, *, is_anchor: bool = False, of: InstrumentId | None = None) -> None:
        """Explain the P&L since the last mark; the arguments are those of :meth:`PnlExplain.mark`."""
        self.last_mark = self.attribution.mark(now_ns, is_anchor=is_anchor, of=of) or self.last_mark

    def begin(self, now_ns: int) -> None:
        """Start the explain and the round trips from what is held."""
        self.attribution.begin(now_ns)
        self.closed_trades.start_cash = self.attribution.nav

    def apply(self, posting: Posting) -> None:
        """Book a posting: units, cash, its part of the explain, and the count of round trips."""
        cause, number, units = posting.cause, posting.instrument_id, posting.units
        if isinstance(cause, Purpose):
            self.positions.apply(posting)
            self._trade(posting)
            if cause in _OPENED:
                self._count_opened(number, units, adds=cause is Purpose.OPEN)
        elif cause is ChangeCause.BUST:
            was_flat = not self.positions.held()
            booked = self.positions.take_back(posting.reference)
            if was_flat and self.counts_trips:
                self.closed_trades.reopen()
            self._trade(posting)
            if booked.cause in _OPENED:
                self._count_opened(number, units, adds=True)
        else:
            self._change(posting, cause)

    def _trade(self, posting: Posting) -> None:
        """Book the cash of an execution or a bust, its cost beyond the mark, and the count of round trips."""
        number, account = posting.instrument_id, self.account
        position = self.positions.positions[number]
        currency = position.instrument.currency
        if currency != account.currency:
            account.add(currency, posting.cash)
        else:
            account.cash += posting.cash
            quote = self._state.quotes[number]
            self.attribution.note_trade(quote, posting.units, posting.price, -posting.income)
        if not position.quantity:
            self._note_round_trip()

    def _count_opened(self, number: InstrumentId, units: Decimal, *, adds: bool) -> None:
        """Count units as opened, or as closing what is opened."""
        opened = self.opened.get(number, ZERO)
        if adds:
            self.opened[number] = opened + units
        elif opened and (opened > 0) != (units > 0):  # closes it to zero at most
            left = opened + units
            self.opened[number] = left if (left > 0) == (opened > 0) else ZERO

    def _change(self, posting: Posting, cause: ChangeCause) -> None:
        """Book and explain a change that no order caused, and count the round trip that it ends."""
        attribution, number, units = self.attribution, posting.instrument_id, posting.units
        # its prices move with the units, and its earlier parts are noted
        worth = attribution.nav + attribution.booked.carry
        held, opened = self.quantity(number), self.opened.get(number, ZERO)
        self.positions.apply(posting)
        currency = self._instruments[number].currency
        self.account.add(currency, posting.cash)
        if units and opened:
            if cause is not ChangeCause.CORPORATE_ACTION:
                self._count_opened(number, units, adds=False)
            elif held:
                self.opened[number] = opened * (held + units) / held
        if currency != self.account.currency:
            return  # figures are in the account's own
        if cause is ChangeCause.CORPORATE_ACTION:
            attribution.note_carry(attribution.current_nav() - worth, line="dividend")
        elif cause in ENDED:
            attribution.note_delivery(number, posting.price)
            charge = to_cents(posting.income, SATOSHI) if posting.price else ZERO
            if charge:  # what a venue's ledger keeps of its fee
                attribution.note_carry(charge)
        elif cause in EXERCISED:
            self._note_exercised(number, units)
        elif cause in CARRY:
            line = "dividend" if cause is ChangeCause.DIVIDEND else "rate"
            attribution.note_carry(posting.cash, line=line)
        elif cause is ChangeCause.TRANSFER:  # money brought or taken away is neither gained nor lost
            attribution.note_transfer(posting.income)
            self.closed_trades.move_cash(posting.cash)
        if units:
            if cause not in EXERCISED:  # those end with their delivery
                self._note_round_trip()
        elif cause in CARRY and self.counts_trips and not self.positions.held():
            self.closed_trades.move_cash(posting.cash)  # no trade of its own, nor the next one's

    def _note_exercised(self, number: InstrumentId, units: Decimal) -> None:
        """End the noise of an option's last mark: from now on it is its underlying at the strike."""
        option = self._instruments[number]
        if not option.is_option or option.is_coin:
            return
        spot = self._state.mark(self._instruments.id_of(option.underlying))
        if spot is not None:
            worth = exact_price(spot) - option.strike
            terms = worth if option.is_call else -worth, -units * option.multiplier
            self.attribution.note_delivery(number, *terms)

    def _note_round_trip(self) -> None:
        """Count a closed trade when the book is flat: options, hedge and costs from flat to flat."""
        if self.counts_trips and not self.positions.held():
            self.closed_trades.close(self.account.cash)
