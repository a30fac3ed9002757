"""What a run that lasts for days does before each further session: end for the next run, or learn anew."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import Event
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.ending import Ending

ROLLED = "rolled: the next session is a run of its own"
"""How a run ends that another one follows at once."""
Learn = Callable[[], Awaitable[tuple[Event, ...]]]
"""Asks the venue for what the desk is told each day: forecast and rates."""


class Morning:
    """Before a session that is not the run's first.

    A run knows the contracts that were listed when it began. A desk that holds nothing therefore ends
    here and begins again as a run of its own; one that holds something goes on with what it knows. A desk
    that was taken out of ``ACTIVE`` goes on too: only a person puts it back to work.

    Parameters
    ----------
    engine, ending
        The desk, and how its run ends.
    learn
        Gives what a run that goes on is told; None tells nothing.
    put
        Puts an event into the runner's queue.
    spawn
        Starts a task.
    say
        Told what a person should know.
    rolls
        Whether another run may follow.
    """

    def __init__(
        self,
        engine: TradingEngine,
        ending: Ending,
        learn: Learn | None,
        put: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        say: Callable[[str, str], None],
        *,
        rolls: bool,
    ) -> None:
        self._engine = engine
        self._ending = ending
        self._learn = learn
        self._put = put
        self._spawn = spawn
        self._say = say
        self._rolls = rolls

    def comes(self, *, flattened_by_deadline: bool = False) -> None:
        """A further session is about to open.

        ``flattened_by_deadline``: the desk is flattening because options expired, not by anybody's word.
        """
        if self._rolls and self._ending.how is None:
            why_not = self._why_not(flattened_by_deadline)
            if why_not is None:
                self._ending.finish(ROLLED)
                return
            self._say("info", f"this run goes on into the next session: {why_not}")
        if self._learn is not None:
            self._spawn(self._tell(self._learn))

    def _why_not(self, flattened_by_deadline: bool) -> str | None:
        desk = self._engine.desk
        mode = desk.gate.mode
        if mode != "ACTIVE" and not (mode == "FLATTENING" and flattened_by_deadline):
            return f"the desk is {mode}; it knows no contracts listed since it began"
        if desk.positions.held() or desk.orders.live:
            return "it holds positions; it knows no contracts listed since it began"
        return None

    async def _tell(self, learn: Learn) -> None:
        try:
            events = await learn()
        except RetryError as error:
            self._say("warning", f"forecast and rates stay those of yesterday: {error.what}")
            return
        for event in events:
            self._put(event)
