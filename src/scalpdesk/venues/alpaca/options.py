"""How a gateway to Alpaca behaves: limits and times."""

from dataclasses import dataclass

from scalpdesk.instruments.fees import NO_FEES, FeeSchedule


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How a gateway to Alpaca behaves.

    Parameters
    ----------
    options_level
        Level that the account must have for the strategy (2 buys options, 3 spreads).
    timeout_seconds
        Of one request.
    absent_after_seconds
        How long after a request ended the venue may still come to accept its order.
    most_clock_skew_seconds
        How far this machine's clock may lie from the venue's.
    requests_per_minute
        Of the trading interface; the venue's own headers correct it.
    data_requests_per_minute
        Of the market data interface (200 on the free plan); its own headers correct it.
    order_connections
        Connections kept open for orders alone.
    heartbeat_seconds
        Between pings of a stream; half of it without the pong ends the connection.
    data_only
        Only the market is asked for: no order stream, and every order is refused here.
    fees
        Charged on each fill, where the venue's messages state none.
    """

    options_level: int = 0
    timeout_seconds: float = 5.0
    absent_after_seconds: float = 10.0
    most_clock_skew_seconds: float = 2.0
    requests_per_minute: int = 200
    data_requests_per_minute: int = 200
    order_connections: int = 3
    heartbeat_seconds: float = 10.0
    data_only: bool = False
    fees: FeeSchedule = NO_FEES
