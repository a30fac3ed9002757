"""One scalp of st0ckg from its order to its end: its signal, its levels, how far its exits have come."""

from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.strategies.contract import TradeStart
from scalpdesk.strategies.toolkit.exits import ExitRule, ScalpView
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.scalp_orders import ScalpOrders

RETRY_SECONDS = 5.0
"""Age at which an exit order that is not filled is cancelled and priced anew."""


class Scalp(ScalpOrders):
    """A scalp on one signal.

    Parameters
    ----------
    number, contract
        What is bought.
    signal, direction
        Why: the signal's name and +1 (calls) or -1 (puts).
    ordered_ns
        When the entry was proposed, UTC nanoseconds.
    trade
        The contract's P&L before it.
    """

    def __init__(
        self,
        number: InstrumentId,
        contract: OptionContract,
        signal: str,
        direction: int,
        ordered_ns: int,
        trade: TradeStart,
    ) -> None:
        super().__init__(number, contract, ordered_ns)
        self.trade = trade
        self.rules: Sequence[ExitRule[ScalpView]] = ()
        self.signal = signal
        self.direction = direction
        self.entry_spot: Decimal | None = None
        """Underlying at the first fill; None before it."""
        self.invalid_below: Decimal | None = None
        self.invalid_above: Decimal | None = None
        self.is_breakeven_armed = False
        self.is_scale_skipped = False
        """One contract cannot be halved: it runs on."""
        self.exit = Liquidation(None, retry_seconds=RETRY_SECONDS, timer="st0ckg: exit again", step="")
