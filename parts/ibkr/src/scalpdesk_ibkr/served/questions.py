"""Which TWS message asks or tells what, and messages that are false or of an earlier request."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scalpdesk.exchange import AHEAD_SECONDS, Question, too_large
from scalpdesk_ibkr.messages import AccountTag
from scalpdesk_ibkr.served.wire import Field, Message

ASKED_BY: Mapping[int, Question] = {
    1: Question.QUOTES,
    5: Question.OPEN_ORDERS,
    6: Question.ACCOUNT,
    7: Question.EXECUTIONS,
    9: Question.CONTRACTS,
    16: Question.OPEN_ORDERS,
    20: Question.QUOTES,
    49: Question.CLOCK,
    61: Question.POSITIONS,
    62: Question.ACCOUNT,
    74: Question.POSITIONS,
    76: Question.ACCOUNT,
    78: Question.CONTRACTS,
    99: Question.ORDER_BY_ID,
}
"""Questions by the id of their request."""
_TOLD_BY: Mapping[int, Question] = {
    1: Question.QUOTES,
    2: Question.QUOTES,
    6: Question.ACCOUNT,
    7: Question.ACCOUNT,
    11: Question.FILLS,
    21: Question.QUOTES,
    61: Question.POSITIONS,
    63: Question.ACCOUNT,
    71: Question.POSITIONS,
}
"""What a message tells that answers no request."""
_ENDS = frozenset({52, 53, 54, 55, 62, 64, 72, 74, 76, 102})
"""Messages that say that an answer is whole."""
_MONEY_KEYS = frozenset(
    (AccountTag.LIQUIDATION, AccountTag.TOTAL_CASH, AccountTag.CASH, AccountTag.EQUITY_WITH_LOAN)
)
_QUANTITY, _PRICE = partial(too_large, is_price=False), partial(too_large, is_price=True)
_CONTRACT_FIELDS = 11
"""Fields that name a contract in most messages."""
_FALSE: dict[tuple[int, str], Mapping[int, Callable[[Any], Any]]] = {
    (1, "price"): {4: _PRICE},
    (2, "quantity"): {4: _QUANTITY},
    (3, "price"): {5: _PRICE},
    (3, "quantity"): {3: _QUANTITY},
    (5, "price"): {5 + _CONTRACT_FIELDS: _PRICE},
    (5, "quantity"): {3 + _CONTRACT_FIELDS: _QUANTITY},
    (10, "price"): {5: _PRICE},
    (11, "price"): {9 + _CONTRACT_FIELDS: _PRICE, 14 + _CONTRACT_FIELDS: _PRICE},
    (11, "quantity"): {8 + _CONTRACT_FIELDS: _QUANTITY},
    (49, "price"): {2: lambda seconds: seconds + AHEAD_SECONDS},
    (49, "quantity"): {2: lambda seconds: seconds + AHEAD_SECONDS},
    (61, "price"): {4 + _CONTRACT_FIELDS: _PRICE},
    (61, "quantity"): {3 + _CONTRACT_FIELDS: _QUANTITY},
    (71, "price"): {5 + _CONTRACT_FIELDS: _PRICE},
    (71, "quantity"): {4 + _CONTRACT_FIELDS: _QUANTITY},
    (101, "quantity"): {-14: _QUANTITY},
}
"""Changed fields by message and whether prices or quantities are false."""
_MONEY_AT = {6: (2, 3), 63: (4, 5), 73: (5, 6)}
"""Where a message of account values has its key and the value."""


def told_by(message: Message) -> Question | None:
    """Return what a message tells that answers no request."""
    return _TOLD_BY.get(int(str(message[0])))


def falsified(fault: str, message: Message) -> Message:
    """Return a message with the numbers of a fault ``answer_wrong_price`` or ``answer_wrong_quantity``."""
    kind, changed = int(str(message[0])), list(message)
    if kind in _MONEY_AT:
        key, value = _MONEY_AT[kind]
        if message[key] in _MONEY_KEYS:
            changed[value] = _PRICE(message[value])
    for place, change in _FALSE.get((kind, fault.removeprefix("answer_wrong_")), {}).items():
        changed[place] = change(changed[place])
    return tuple(changed)


def is_end(message: Message) -> bool:
    """Return whether a message only says that an answer is whole."""
    return message[0] in _ENDS


def readdressed(message: Message, before: int, now: int) -> Message:
    """Return a message of an earlier answer under the id of another request."""
    changed: list[Field] = list(message)
    for place in (2, 1):
        if before >= 0 and len(message) > place and message[place] == before:
            changed[place] = now
            break
    return tuple(changed)
