"""Rebuild a desk from its journal: the engine by replaying the events, the orders for the gateway.

Start and recovery are one path: a desk that starts afresh has an empty journal to replay.
"""

from dataclasses import dataclass
from pathlib import Path

from scalpdesk.core.errors import InvariantError, StopError
from scalpdesk.core.events import OperatorEvent
from scalpdesk.core.intents import Output
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.journal.codec import same_outputs
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.core import Timers, Watcher
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.venues.contract import KnownOrder


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a journal gave back.

    Parameters
    ----------
    timers
        Timers asked for and not fired.
    unwritten
        Outputs of the very last event that were never written, and so never acted on; empty
        otherwise. They go into the journal first.
    events
        Events replayed.
    last_operator
        The last word of a person or the desk on its mode, or None.
    cut
        What was cut off a torn tail, in words, or None.
    """

    timers: Timers
    unwritten: tuple[Output, ...]
    events: int
    last_operator: OperatorEvent | None
    cut: str | None


def rebuild(reader: JournalReader, engine: TradingEngine, watch: Watcher | None = None) -> Rebuilt:
    """Replay a journal into a fresh engine; ``watch`` sees each event that led to outputs.

    Raises
    ------
    InvariantError
        When this program decides otherwise than the one that wrote the journal.
    JournalError
        When the journal is damaged.
    """
    timers = Timers()
    events = 0
    last_operator = None
    unwritten: tuple[Output, ...] = ()
    for step, journaled in reader.steps():
        if unwritten:
            raise _differs(reader.run_dir, events, "outputs that the journal does not have")
        produced: tuple[Output, ...] = ()
        for event in step:
            if produced:
                raise _differs(reader.run_dir, events, "outputs that the journal does not have")
            produced = engine.handle(event)
            timers.note(event, produced)
            if produced and watch is not None:
                watch(event, produced)
            events += 1
            if type(event) is OperatorEvent:
                last_operator = event
        if not journaled:
            unwritten = produced
        elif not same_outputs(journaled, produced):
            raise _differs(reader.run_dir, events, "other outputs than the journal has")
    cut = None if reader.recovered is None else str(reader.recovered)
    return Rebuilt(timers, unwritten, events, last_operator, cut)


def _differs(run_dir: Path, events: int, how: str) -> StopError:
    return InvariantError(
        f"replaying the journal gives {how}, at event {events}",
        where=str(run_dir),
        fix="resume with the version and configuration that wrote it, or start a new run:"
        " it takes over what the account holds",
    )


def known_orders(engine: TradingEngine) -> tuple[KnownOrder, ...]:
    """Return what the desk knows of its orders, for the gateway; a fill is then never given twice."""
    return tuple(_known(order) for order in engine.desk.orders.orders.values())


def _known(order: Order) -> KnownOrder:
    doubted = order.state is OrderState.UNKNOWN and not order.filled
    return KnownOrder(
        order.submitted,
        order.filled,
        order.filled * order.average_price,
        order.is_live,
        "" if doubted else order.venue_order_id,
        "",
        (*order.executions, *order.busted),
        order.created_ns,
    )
