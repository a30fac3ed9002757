"""The end of a run after its last session: looks at the account until it is settled, then the stop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from scalpdesk.core.enums import Mode
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Settlement
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.live.reconciler import AccountQueries
from scalpdesk.live.sessions import StopMode

_LONGEST_SECONDS = 30.0
"""Longest wait until the venue shows a settled account."""


@dataclass(slots=True, kw_only=True)
class LastLooks:
    """Looks at the account after the last close, and stops the run once.

    ``confirm_seconds``: Between two looks.
    ``usual``, ``stop``: How a run ends, and what ends it, for a reason in words.
    """

    engine: TradingEngine
    queries: AccountQueries
    confirm_seconds: float
    usual: StopMode
    stop: Callable[[StopMode, str], None]
    _left: int | None = None
    """Looks still to come; None before the last close and once stopped."""

    @property
    def are_due(self) -> bool:
        """Whether the last session has ended and the run has not."""
        return self._left is not None

    def begin(self) -> None:
        """Ask for the account after the last close."""
        self._left = 2 if self.queries.is_asking else 1  # one under way may have begun before the close
        asyncio.get_running_loop().call_later(_LONGEST_SECONDS, self._end)
        self.queries.ask_anew()

    def looked(self, *, is_equal: bool) -> None:
        """Stop once the account is settled and what ended with the session is delivered."""
        if self._left is None:
            return
        self._left -= 1
        if self._left > 0 or not is_equal:
            return
        engine = self.engine
        instruments = (engine.desk.instruments[held.instrument_id] for held in engine.desk.positions.held())
        awaits_delivery = any(
            item.is_option
            and item.settlement is Settlement.CASH_MEAN
            and expiry_instant_ns(item) <= engine.now_ns
            for item in instruments
        )
        if awaits_delivery:
            self.queries.ask(self.confirm_seconds)
        else:
            self._end()

    def _end(self) -> None:
        """Stop, once; a flatten that is under way is carried to its end."""
        if self._left is not None:
            self._left = None
            state = self.engine.desk.gate.desk_mode.state
            for_expiry = state.is_free and state.passing is not None and state.passing.until_next_run
            is_asked = state.mode is Mode.FLATTENING and not for_expiry
            self.stop(StopMode.FLATTEN if is_asked else self.usual, "the end of the session")
