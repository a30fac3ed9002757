"""An engine that a journal leads: what shows a run reads what was decided and decides nothing anew."""

from collections.abc import Sequence

from scalpdesk.core.events import Event
from scalpdesk.core.intents import Output, acts_of, modes_in
from scalpdesk.engine.trading_engine import TradingEngine


class Replica:
    """Feeds a journal to an engine rebuilt from its header.

    The strategy is woken for its memory alone. From the first order or mode that differs from the journal's
    on, as where another build wrote it, the strategy sleeps and the journal's stand, until a desk that was
    resumed there took over what the account held.

    ``engine``: Fresh.
    """

    def __init__(self, engine: TradingEngine) -> None:
        self.engine = engine
        self.produced: tuple[Output, ...] = ()
        """What the engine decided at the last event, until the journal's outputs have come."""
        self._mode = engine.desk.gate.desk_mode.state

    def take(self, event: Event) -> None:
        """Take the next event; where the one before it had no outputs in the journal, it had none."""
        self.heed(())
        self._mode = self.engine.desk.gate.desk_mode.state
        self.produced = self.engine.handle(event)

    def heed(self, journaled: Sequence[Output]) -> None:
        """Take the outputs that the journal has for the last event."""
        own, self.produced = self.produced, ()
        if not (own or journaled) or acts_of(own) == acts_of(journaled):
            return
        if [mode for mode, _ in modes_in(own)] != [mode for mode, _ in modes_in(journaled)]:
            self.engine.desk.gate.desk_mode.keep(self._mode)
        self.engine.lead(own, journaled)
