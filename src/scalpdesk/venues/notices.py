"""What a gateway says of itself, in its place among the events."""

from enum import StrEnum

import msgspec


class NoticeKind(StrEnum):
    """What a gateway has to say beside events."""

    CONNECTED = "connected"
    """A stream stands (again). The runner reconciles when it is the order stream."""
    DISCONNECTED = "disconnected"
    """A stream is gone; its reconnection is under way."""
    GAP = "gap"
    """Something was missed: ask for a snapshot and reconcile."""
    REFUSED = "refused"
    """A message could not be read, or speaks of an order or symbol that the desk does not know."""
    LIMITED = "limited"
    """The venue's rate limit or the desk's own budget held a request back."""
    HALTED = "halted"
    """The venue stopped trading in the symbol that ``name`` holds."""
    TRADING = "trading"
    """The symbol that ``name`` holds trades (again)."""
    DEAD = "dead"
    """The venue ended the session for good (keys revoked, account blocked): no reconnection."""


class Notice(msgspec.Struct, frozen=True):
    """Something about the connection, in its place among the events.

    Parameters
    ----------
    kind
        What happened.
    ts_recv_ns
        When the gateway knew, UTC nanoseconds.
    stream
        ``orders``, ``stocks``, ``options`` or ``requests``.
    name
        The named condition, for counters: ``half_open``, ``malformed_json``, ``unknown_order`` …
    detail
        For people. Never holds a key.
    """

    kind: NoticeKind
    ts_recv_ns: int
    stream: str
    name: str
    detail: str = ""

    @property
    def asks_for_reconciliation(self) -> bool:
        """True when fills or order states may have been missed."""
        return self.kind is NoticeKind.GAP or (self.kind is NoticeKind.CONNECTED and self.stream == "orders")
