"""Trades of combos: which order of the account a trade of a leg is part of.

An order for a combo trades as the combo and, at the same time, as each leg in the leg's own instrument. A
leg's trade has the id of an order that the venue makes for the leg and never shows. Only ``combo_trade_id``
leads from it to the combo's trade, whose order is the account's. Either of the two may come first. A combo's
trade repeats its legs in ``legs`` where nothing but trades of combos is asked for (Deribit,
``user.combo_trades`` and the trade's fields).
"""

from typing import NamedTuple

from scalpdesk_deribit.wire import Message

_MOST_KEPT = 4_096
"""Trades of combos that are known by their ids, and legs that wait for theirs."""


class _WholeOrder(NamedTuple):
    """The order for a combo that a leg is part of: the venue's id and the label of its sender."""

    order_id: str
    label: str


class ComboTrades:
    """Trades of combos by their ids, and trades of legs that came before them."""

    def __init__(self) -> None:
        self._orders: dict[str, _WholeOrder] = {}
        self._waiting: dict[str, list[Message]] = {}

    def add(self, message: Message) -> list[Message]:
        """Keep the trade of a combo; return the trades of its legs: those in it, and those that waited."""
        trade_id = str(message.get("trade_id"))
        self._orders[trade_id] = _WholeOrder(str(message.get("order_id")), str(message.get("label") or ""))
        _drop_oldest(self._orders)
        inside = [{"combo_trade_id": trade_id, **leg} for leg in message.get("legs") or []]
        return [*inside, *self._waiting.pop(trade_id, ())]

    def order_of(self, leg: Message) -> _WholeOrder | None:
        """Return the order of the combo whose trade a leg's is part of; None while that is not known."""
        return self._orders.get(str(leg.get("combo_trade_id")))

    def hold(self, leg: Message) -> None:
        """Keep a leg's trade until that of its combo comes."""
        self._waiting.setdefault(str(leg.get("combo_trade_id")), []).append(leg)
        _drop_oldest(self._waiting)


def _drop_oldest(kept: dict[str, _WholeOrder] | dict[str, list[Message]]) -> None:
    if len(kept) > _MOST_KEPT:
        del kept[next(iter(kept))]
