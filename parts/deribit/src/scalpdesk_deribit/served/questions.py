"""Which method of Deribit's interface asks what, and results that are empty or false."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scalpdesk.exchange import AHEAD_SECONDS, Question, spoilt, too_large

QUESTION_OF: Mapping[str, Question] = {
    "private/get_account_summary": Question.ACCOUNT,
    "private/get_account_summaries": Question.ACCOUNT,
    "private/get_positions": Question.POSITIONS,
    "private/get_position": Question.POSITIONS,
    "private/get_open_orders": Question.OPEN_ORDERS,
    "private/get_open_orders_by_currency": Question.OPEN_ORDERS,
    "private/get_open_orders_by_instrument": Question.OPEN_ORDERS,
    "private/get_order_state": Question.ORDER_BY_ID,
    "private/get_order_state_by_label": Question.ORDER_BY_ID,
    "private/get_user_trades_by_currency": Question.EXECUTIONS,
    "private/get_user_trades_by_currency_and_time": Question.EXECUTIONS,
    "private/get_user_trades_by_instrument": Question.EXECUTIONS,
    "private/get_user_trades_by_order": Question.EXECUTIONS,
    "private/get_transaction_log": Question.EXECUTIONS,
    "public/get_instruments": Question.CONTRACTS,
    "public/get_instrument": Question.CONTRACTS,
    "public/get_book_summary_by_currency": Question.CONTRACTS,
    "public/get_combo_details": Question.CONTRACTS,
    "public/get_time": Question.CLOCK,
    "public/ticker": Question.QUOTES,
    "public/get_order_book": Question.QUOTES,
    "public/get_tradingview_chart_data": Question.QUOTES,
    "private/buy": Question.FILLS,
    "private/sell": Question.FILLS,
}
_QUANTITY, _PRICE = partial(too_large, is_price=False), partial(too_large, is_price=True)
_MONEY = dict.fromkeys(("equity", "balance", "margin_balance", "available_funds"), _PRICE)
_QUOTED = ("best_bid_price", "best_ask_price", "mark_price", "index_price")
_FALSE: dict[tuple[Question, str], Mapping[str, Callable[[Any], Any]]] = {
    (Question.ACCOUNT, "price"): _MONEY,
    (Question.ACCOUNT, "quantity"): _MONEY,
    (Question.POSITIONS, "price"): {"average_price": _PRICE},
    (Question.POSITIONS, "quantity"): {"size": _QUANTITY},
    (Question.OPEN_ORDERS, "price"): {"price": _PRICE, "average_price": _PRICE},
    (Question.OPEN_ORDERS, "quantity"): {"amount": _QUANTITY},
    (Question.ORDER_BY_ID, "price"): {"average_price": _PRICE},
    (Question.ORDER_BY_ID, "quantity"): {"filled_amount": _QUANTITY},
    (Question.EXECUTIONS, "price"): {"price": _PRICE, "cash_flow": _PRICE, "change": _PRICE},
    (Question.EXECUTIONS, "quantity"): {"amount": _QUANTITY},
    (Question.CONTRACTS, "price"): {"strike": _PRICE},
    (Question.CONTRACTS, "quantity"): {"contract_size": _QUANTITY},
    (Question.QUOTES, "price"): dict.fromkeys(_QUOTED, _PRICE),
    (Question.QUOTES, "quantity"): dict.fromkeys(("best_bid_amount", "best_ask_amount"), _QUANTITY),
    (Question.FILLS, "price"): {"price": _PRICE},
    (Question.FILLS, "quantity"): {"amount": _QUANTITY},
}
"""Changed fields, by question and whether prices or quantities are false."""
_CHANNELS = {"portfolio": Question.ACCOUNT, "trades": Question.FILLS, "combo_trades": Question.FILLS}


def question_of_channel(channel: str, data: Any) -> Question | None:
    """Return what a notification tells, None for what answers no question."""
    scope, _, rest = channel.partition(".")
    if scope in ("ticker", "quote", "book"):
        return Question.QUOTES
    kind = rest.partition(".")[0] if scope == "user" else ""
    if kind == "changes":
        return Question.FILLS if data.trades else None
    return _CHANNELS.get(kind)


def falsified(question: Question, fault: str, result: Any) -> Any:
    """Return a result with the numbers of a fault ``answer_wrong_price`` or ``answer_wrong_quantity``."""
    if question is Question.CLOCK:
        return result + AHEAD_SECONDS * 1_000
    if question is Question.FILLS and isinstance(result, dict):  # of a change its trades alone
        return {**result, "trades": falsified(question, fault, result["trades"])}
    return spoilt(result, _FALSE[question, fault.removeprefix("answer_wrong_")])


def emptied(result: Any) -> Any:
    """Return the result of a venue that has nothing: no line of a list, no field of an object."""
    if isinstance(result, list):
        return []
    if isinstance(result, dict):
        lists: dict[str, Any] = {name: [] for name, value in result.items() if isinstance(value, list)}
        return lists | ({"continuation": None} if "continuation" in result else {})
    return None
