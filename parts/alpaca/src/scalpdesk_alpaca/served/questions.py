"""Which request of Alpaca's interface asks what, and answers that are refused, empty or false."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from scalpdesk.exchange import AHEAD_SECONDS, Question, spoilt, too_large

_PATHS = (
    (Question.ACCOUNT, re.compile(r"/v2/account")),
    (Question.EXECUTIONS, re.compile(r"/v2/account/activities(/.*)?")),
    (Question.POSITIONS, re.compile(r"/v2/positions(/[^/]*)?")),
    (Question.OPEN_ORDERS, re.compile(r"/v2/orders")),
    (Question.ORDER_BY_ID, re.compile(r"/v2/orders(:by_client_order_id|/[^/]*)")),
    (Question.CONTRACTS, re.compile(r"/v2/(assets|options/contracts)(/.*)?")),
    (Question.CLOCK, re.compile(r"/v2/(clock|calendar)")),
    (Question.QUOTES, re.compile(r"/(v2/stocks|v1beta1/options)/.*")),
)
_QUANTITY, _PRICE = partial(too_large, is_price=False), partial(too_large, is_price=True)


def _later(value: Any) -> Any:
    return (datetime.fromisoformat(value) + timedelta(seconds=AHEAD_SECONDS)).isoformat()


_MONEY = dict.fromkeys(("cash", "equity", "portfolio_value", "buying_power", "last_equity"), _PRICE)
_FALSE: dict[tuple[Question, str], Mapping[str, Callable[[Any], Any]]] = {
    (Question.ACCOUNT, "price"): _MONEY,
    (Question.ACCOUNT, "quantity"): _MONEY,
    (Question.POSITIONS, "price"): {"avg_entry_price": _PRICE, "cost_basis": _PRICE},
    (Question.POSITIONS, "quantity"): {"qty": _QUANTITY, "qty_available": _QUANTITY},
    (Question.OPEN_ORDERS, "price"): {"limit_price": _PRICE, "filled_avg_price": _PRICE},
    (Question.OPEN_ORDERS, "quantity"): {"qty": _QUANTITY},
    (Question.ORDER_BY_ID, "price"): {"filled_avg_price": _PRICE},
    (Question.ORDER_BY_ID, "quantity"): {"filled_qty": _QUANTITY},
    (Question.EXECUTIONS, "price"): {"price": _PRICE, "net_amount": _PRICE},
    (Question.EXECUTIONS, "quantity"): {"qty": _QUANTITY},
    (Question.CONTRACTS, "price"): {"strike_price": _PRICE},
    (Question.CONTRACTS, "quantity"): {"size": _QUANTITY},
    (Question.CLOCK, "price"): {"timestamp": _later},
    (Question.CLOCK, "quantity"): {"timestamp": _later},
    (Question.QUOTES, "price"): dict.fromkeys(("bp", "ap", "p", "o", "h", "l", "c"), _PRICE),
    (Question.QUOTES, "quantity"): dict.fromkeys(("bs", "as", "s", "v"), _QUANTITY),
    (Question.FILLS, "price"): {"price": _PRICE, "filled_avg_price": _PRICE},
    (Question.FILLS, "quantity"): {"qty": _QUANTITY},
}
"""Changed fields, by question and whether prices or quantities are false."""


def question_of(method: str, path: str) -> Question | None:
    """Return what a request asks, None for one that asks nothing."""
    if method != "GET":
        return None
    return next((question for question, form in _PATHS if form.fullmatch(path)), None)


def falsified(question: Question, fault: str, document: Any) -> Any:
    """Return a document with the numbers of a fault ``answer_wrong_price`` or ``answer_wrong_quantity``."""
    return spoilt(document, _FALSE[question, fault.removeprefix("answer_wrong_")])


def emptied(question: Question, document: Any) -> Any:
    """Return the answer of a venue that has nothing: no line of a list, no field of an object."""
    if isinstance(document, list):
        return []
    if question in (Question.CONTRACTS, Question.QUOTES):
        return {
            name: emptied(question, value) if isinstance(value, list | dict) else value
            for name, value in document.items()
        }
    return {}
