"""Trades of combos: which order of the account a trade of a leg is part of.

An order for a combo trades as the combo and, at the same time, as each leg in the leg's own instrument. A
leg's trade has the id of an order that the venue makes for the leg and never shows. Only ``combo_trade_id``
leads from it to the combo's trade, whose order is the account's. Either of the two may come first. A combo's
trade repeats its legs in ``legs`` where nothing but trades of combos is asked for (Deribit,
``user.combo_trades`` and the trade's fields).
"""

from typing import NamedTuple

from msgspec import structs

from scalpdesk_deribit.messages import TradeMessage
from scalpdesk_deribit.wire import id_text, read

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
        self._waiting: dict[str, list[TradeMessage]] = {}

    def add(self, trade: TradeMessage) -> list[TradeMessage]:
        """Keep the trade of a combo; return the trades of its legs: those in it, and those that waited."""
        trade_id = id_text(trade.trade_id)
        self._orders[trade_id] = _WholeOrder(trade.order_id or "", trade.label or "")
        _drop_oldest(self._orders)
        legs = [read(leg, TradeMessage, "leg") for leg in trade.legs or ()]
        inside = [structs.replace(leg, combo_trade_id=leg.combo_trade_id or trade_id) for leg in legs]
        return [*inside, *self._waiting.pop(trade_id, ())]

    def order_of(self, leg: TradeMessage) -> _WholeOrder | None:
        """Return the order of the combo whose trade a leg's is part of; None while that is not known."""
        return self._orders.get(leg.combo_trade_id or "")

    def hold(self, leg: TradeMessage) -> None:
        """Keep a leg's trade until that of its combo comes."""
        self._waiting.setdefault(leg.combo_trade_id or "", []).append(leg)
        _drop_oldest(self._waiting)


def _drop_oldest(kept: dict[str, _WholeOrder] | dict[str, list[TradeMessage]]) -> None:
    if len(kept) > _MOST_KEPT:
        del kept[next(iter(kept))]
