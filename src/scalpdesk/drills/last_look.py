"""The end of a trial: the session is over, all is quiet, and both sides must say the same."""

from typing import TYPE_CHECKING

from scalpdesk.core.errors import StopError
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Output
from scalpdesk.drills.invariants import CENT, Scene
from scalpdesk.drills.market import CALL, PUT, SHARE
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.recovery import rebuild

if TYPE_CHECKING:
    from scalpdesk.drills.trial import Trial


def final_look(trial: "Trial") -> None:
    """The session is over and all is quiet: both sides must say the same."""
    desk = trial.engine.desk
    for name, order in desk.orders.live.items():
        trial.violate("L liveness", f"{name} is {order.state.value} after the close")
    for number in (SHARE, CALL, PUT):
        ours, theirs = desk.positions.quantity(number), trial.account.quantity(number)
        if ours != theirs and not trial.is_stated:
            symbol = desk.instruments[number].symbol
            trial.violate("3 position_equals_venue", f"{symbol}: desk {ours}, venue {theirs}")
    if abs(desk.account.cash - trial.account.cash) > CENT and not trial.is_stated:
        trial.violate("8 cash_equals_venue", f"desk {desk.account.cash}, venue {trial.account.cash}")
    if b"canary" in b"".join(path.read_bytes() for path in trial.journal.files()):
        trial.violate("10 no_secrets", "a secret is in the journal")
    _replays(trial)


def _replays(trial: "Trial") -> None:
    """Replaying the last life's journal gives the same desk."""
    trial.journal.flush()
    engine = trial.fresh_engine()
    try:
        rebuild(JournalReader(trial.journal.run_dir), engine)
    except StopError as error:
        trial.violate("9 replay_identical", error.what)
        return
    ours = {number: trial.engine.desk.positions.quantity(number) for number in (SHARE, CALL, PUT)}
    again = {number: engine.desk.positions.quantity(number) for number in (SHARE, CALL, PUT)}
    if ours != again or engine.desk.account.cash != trial.engine.desk.account.cash:
        trial.violate("9 replay_identical", f"positions {ours}, replayed {again}")


class FollowedReplay:
    """An engine under replay whose bookings the scene follows."""

    def __init__(self, engine: TradingEngine, scene: Scene) -> None:
        self._engine = engine
        self._scene = scene

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Handle one event of the journal."""
        outputs = self._engine.handle(event)
        self._scene.event = event
        self._scene.note_booked()
        return outputs
