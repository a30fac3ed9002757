"""What a venue's history tells beside trades: exercises, expiries, dividends, fees, transfers."""

from decimal import Decimal

import msgspec


class VenueActivity(msgspec.Struct, frozen=True):
    """One line of an account's history that is no trade.

    Parameters
    ----------
    activity_id
        The venue's id, unique in the account.
    kind
        In the venue's own words.
    cause
        In the desk's, as in :class:`scalpdesk.core.events.PositionChanged`.
    symbol
        What it concerns; empty for the account as a whole.
    quantity_change
        Signed contracts or shares that it moved; zero when it moved cash alone.
    price
        What a unit is booked at, in currency.
    cash_change
        Signed currency.
    ts_event_ns
        When it happened, UTC nanoseconds; the start of its day where the venue only says the day.
    """

    activity_id: str
    kind: str
    cause: str
    symbol: str
    quantity_change: Decimal
    price: Decimal
    cash_change: Decimal
    ts_event_ns: int

    def __str__(self) -> str:
        units = f"{self.quantity_change:+f} " if self.quantity_change else ""
        return f"{self.kind} {units}{self.symbol} {self.cash_change:+.2f}".replace("  ", " ")
