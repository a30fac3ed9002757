"""A session of Deribit's JSON-RPC interface, the errors that it answers, and parameters of its methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from scalpdesk.base import InstrumentId, Instruments


class RpcFault(Exception):  # noqa: N818 - an answer, not an error of ours
    """An error answer of the venue."""

    def __init__(self, code: int, message: str, **data: str) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(message)


class ServedReply(NamedTuple):
    """Answer to a request, empty where none comes, and by how much it is late."""

    text: str
    late_seconds: float = 0.0


class Levels(NamedTuple):
    """Best price and amount of each side of a book, None on an empty side; ``change_id`` counts changes."""

    bids: list[list[float]]
    asks: list[list[float]]
    change_id: int = 0


NO_LEVELS = Levels([], [])


@dataclass(slots=True, eq=False)
class RpcSession:
    """One websocket connection, or one REST request."""

    send: Callable[[str], None]
    close: Callable[[], None]
    account: str | None = None
    token_expires_ns: int = 0
    channels: dict[str, Levels] = field(default_factory=dict)
    """Channels that it follows; of a channel of changes of a book the levels that it was last shown."""
    heartbeat_seconds: int = 0
    is_tested: bool = False
    """Whether a test request waits for its ``public/test``."""
    cancels_on_disconnect: bool = False
    orders: list[str] = field(default_factory=list)
    """Ids of the orders that came over this connection."""
    is_ended: bool = False
    """Whether it is closed after its next answer: it has asked too often."""


Method = Callable[[RpcSession, Mapping[str, Any]], Any]
"""Answers the parameters of one request."""


def is_true(value: Any) -> bool:
    """Return whether a flag is set, in JSON or in a query."""
    return value in (True, "true", "True")


def exact_param(params: Mapping[str, Any], name: str) -> Decimal:
    """Return a number of a request exactly. Raises RpcFault when it is missing or no finite number."""
    try:
        found = Decimal(str(params[name]))
    except (KeyError, InvalidOperation):
        raise RpcFault(-32602, "Invalid params", param=name, reason="is missing or no number") from None
    if not found.is_finite():
        raise RpcFault(-32602, "Invalid params", param=name, reason="is not finite")
    return found


def instrument_param(instruments: Instruments, params: Mapping[str, Any]) -> InstrumentId:
    """Return the number of the instrument that a request names.

    Raises RpcFault when it names no instrument, or one that is not listed.
    """
    name = params.get("instrument_name")
    if not isinstance(name, str):
        raise RpcFault(-32602, "Invalid params", param="instrument_name", reason="is missing")
    if name not in instruments:
        raise RpcFault(10020, "invalid_or_unsupported_instrument")
    return instruments.id_of(name)
