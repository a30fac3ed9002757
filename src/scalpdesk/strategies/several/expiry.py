"""Expired options that the account does not hold because its strategies hold them against each other.

The venue settles what the account holds; of one strategy's long against another's short it knows
nothing. They settle between themselves, at the intrinsic value by the underlying's mark.
"""

from decimal import Decimal

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.strategies.contract import DeskView, Proposal

ZERO = Decimal(0)


def settle_inside(view: DeskView, books: SubBooks) -> list[Proposal]:
    """Settle what has expired between the books; return each settlement as a decision."""
    found: list[Proposal] = []
    numbers = {one.instrument_id for book in books.books.values() for one in book.positions.held()}
    for number in sorted(numbers):
        contract = view.instruments[number]
        if not isinstance(contract, OptionContract) or view.positions.quantity(number):
            continue
        if expiry_instant_ns(contract) > view.now_ns:
            continue
        mark = view.market.mark(view.instruments.id_of(contract.underlying))
        if mark is not None:
            found += _settle(view, books, number, contract, exact(mark))
    return found


def _settle(
    view: DeskView, books: SubBooks, number: InstrumentId, contract: OptionContract, level: Decimal
) -> list[Proposal]:
    intrinsic = level - contract.strike if contract.is_call else contract.strike - level
    price = max(intrinsic, ZERO)
    found: list[Proposal] = []
    longs = [name for name, book in books.books.items() if book.quantity(number) > 0]
    for holder in longs:
        for writer, book in books.books.items():
            units = min(books.of(holder).quantity(number), -book.quantity(number))
            if units <= 0:
                continue
            reference = f"expiry-{contract.symbol}-{holder}-{writer}"
            books.cross(
                (writer, Purpose.CLOSE), (holder, Purpose.CLOSE), number, units, price, reference, view.now_ns
            )
            words = (
                f"{units} {contract.symbol} of {holder or 'nobody'} against {writer or 'nobody'} expired:"
                f" settled inside at {price}"
            )
            facts: dict[str, str | float | int] = {"symbol": contract.symbol, "price": float(price)}
            found.append(Proposal(DecisionKind.CROSS, (words,), facts, carried_out=True))
    return found
