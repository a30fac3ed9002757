"""Answers of a served venue that go wrong: refused, missing, empty, late, false, or of an earlier instant.

Each protocol says which of its requests ask which question, and how an answer of its own form is spoilt.
"""

from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import number_text
from scalpdesk.simulation.faults import Fault, FaultPlan

A = TypeVar("A")
_QUANTITY_FACTOR, _PRICE_FACTOR = 2, 100
"""By what a wrong quantity, and a wrong price or amount of money, is too large."""
AHEAD_SECONDS = 3_600
"""By how much a wrong time is ahead."""


class Question(StrEnum):
    """Question that a desk asks a venue, by what it wants to know."""

    ACCOUNT = "account"
    POSITIONS = "positions"
    OPEN_ORDERS = "open_orders"
    ORDER_BY_ID = "order_by_id"
    EXECUTIONS = "executions"
    CONTRACTS = "contracts"
    CLOCK = "clock"
    QUOTES = "quotes"
    FILLS = "fills"
    """No question: executions as the order stream tells them."""


class AnswerFaults(Generic[A]):
    """Which fault strikes an answer, and the answers of an earlier instant.

    ``plan``: Where faults come from.
    """

    def __init__(self, plan: Callable[[], FaultPlan]) -> None:
        self._plan = plan
        self._earlier: dict[tuple[int, Question, Hashable], A] = {}

    def strike(self, question: Question | None) -> Fault | None:
        """Return the fault of an answer to ``question`` now, None without one."""
        plan = self._plan()
        return None if question is None or plan.is_quiet else plan.take("question", question.value)

    def earlier(self, question: Question, asked: Hashable, answer: A) -> A:
        """Return the answer that the same question got first since a fault was put in last."""
        return self._earlier.setdefault((self._plan().injected, question, asked), answer)


def is_false(fault: Fault) -> bool:
    """Return whether an answer comes with false numbers; a stream leaves out what any other fault strikes."""
    return fault.name.startswith("answer_wrong")


def priced(quote: QuoteEvent, fault: Fault) -> QuoteEvent:
    """Return a quote with the false prices, or the false sizes, of a fault."""
    change = msgspec.structs.replace
    if fault.name == "answer_wrong_price":
        return change(quote, bid=quote.bid * _PRICE_FACTOR, ask=quote.ask * _PRICE_FACTOR)
    return change(
        quote, bid_size=quote.bid_size * _QUANTITY_FACTOR, ask_size=quote.ask_size * _QUANTITY_FACTOR
    )


def too_large(value: Any, *, is_price: bool) -> Any:
    """Return a false quantity or price for one of a message: of JSON, or a text as a venue writes one."""
    factor = _PRICE_FACTOR if is_price else _QUANTITY_FACTOR
    if isinstance(value, str):
        return number_text(Decimal(value) * factor) if value else value
    return value * factor if isinstance(value, int | float | Decimal) else value


def spoilt(document: Any, fields: Mapping[str, Callable[[Any], Any]]) -> Any:
    """Return a JSON document with changed fields, at any depth."""
    if isinstance(document, list):
        return [spoilt(each, fields) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        name: fields[name](value)
        if name in fields and not isinstance(value, list | dict)
        else spoilt(value, fields)
        for name, value in document.items()
    }
