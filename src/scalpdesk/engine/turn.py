"""One event's turn: its time, and the outputs that it has led to so far."""

from scalpdesk.core.intents import Output


class Turn:
    """Shared by the parts of the engine while they handle one event.

    ``now_ns``: When the desk knew the event, UTC nanoseconds.
    ``out``: Outputs, in the order in which they leave.
    ``is_led``: A journal says what was sent and in which mode: nothing is decided here.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.out: list[Output] = []
        self.is_led = False
