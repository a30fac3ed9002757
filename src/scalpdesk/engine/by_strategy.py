"""What each strategy of a shared desk holds, has under way and has earned, in JSON types."""

from typing import Any

from scalpdesk.engine.desk import Desk
from scalpdesk.portfolio.sub_books import NOBODY

REST = "nobody"
"""Name of the row for what belongs to no strategy."""


def by_strategy(desk: Desk) -> dict[str, dict[str, Any]] | None:
    """Return a row for each strategy, or None where one strategy has the desk to itself.

    ``nav`` and the parts of ``pnl`` are in the quote currency; the totals sum to the account's change
    of net asset value to the cent. What belongs to nobody has a row only when there is any of it.
    """
    books = desk.books
    if books is None:
        return None
    explained = books.explained(desk.attribution.nav_change)
    orders = desk.orders.orders.values()
    rows: dict[str, dict[str, Any]] = {}
    for name, book in books.books.items():
        positions = {
            desk.instruments[one.instrument_id].symbol: str(one.quantity) for one in book.positions.held()
        }
        pnl = explained[name]
        if name == NOBODY and not positions and not pnl["total"]:
            continue
        own = [order for order in orders if order.submitted.owner == name]
        rows[name or REST] = {
            "budget": None if name == NOBODY else str(books.fractions[name]),
            "nav": f"{book.attribution.nav:.2f}",
            "pnl": {part: str(amount) for part, amount in pnl.items()},
            "positions": positions,
            "orders": len(own),
            "live_orders": [order.client_order_id for order in own if order.is_live],
            "fills": sum(len(order.executions) for order in own),
        }
    return rows
