"""The trend filter: colour of the 34/50 cloud on 10-minute bars that have closed.

The bars are anchored at the session's open. At 10:05 the last one is that of 09:50 to 10:00; the bar that
is still forming has no say. Source: the strategy reference F2.
"""

import msgspec

from scalpdesk.core.events import BarEvent, PriceAdjustmentEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.signals.ema_cloud import MACRO, CloudState, FrameClouds, PriceSource

MACRO_SECONDS = 600
_MACRO_NS = MACRO_SECONDS * NANOS_PER_SECOND
_LEAST_MINUTES = 8
"""Minutes below which a bar counts as thin."""


def last_closed_start_ns(at_ns: int, open_ns: int) -> int | None:
    """Return the start of the session's last 10-minute bar that has closed, UTC nanoseconds.

    None in the first ten minutes after ``open_ns``.
    """
    closed = (at_ns - open_ns) // _MACRO_NS
    return open_ns + (closed - 1) * _MACRO_NS if closed > 0 else None


class MacroState(msgspec.Struct, frozen=True):
    """Bias as of the last closed 10-minute bar."""

    bias: int | None
    """+1 bullish, -1 bearish, 0 neutral; None while too few bars have closed."""
    cloud: CloudState | None
    """The 34/50 cloud; None before the first bar."""
    bar_end_ns: int
    """End of that bar, UTC nanoseconds; 0 before the first."""
    minutes: int
    """Minutes of which it is made."""

    @property
    def is_thin(self) -> bool:
        """Whether the bar is made of fewer than eight minutes."""
        return self.minutes < _LEAST_MINUTES


class MacroFilter:
    """Follows the 34/50 cloud over 10-minute bars, across sessions."""

    def __init__(self, source: PriceSource = PriceSource.CLOSE) -> None:
        self._clouds = FrameClouds((MACRO,), source)
        self._state = MacroState(None, None, 0, 0)

    def update(self, bar: BarEvent, minutes: int) -> None:
        """Add a closed 10-minute bar, made of so many minutes."""
        cloud = self._clouds.update(bar).clouds[MACRO]
        bias = cloud.colour if self._clouds.is_ready else None
        self._state = MacroState(bias, cloud, bar.ts_event_ns, minutes)

    def rescale(self, by: PriceAdjustmentEvent) -> None:
        """Bring the clouds to the scale of after a corporate action."""
        self._clouds.rescale(by)
        cloud = self._state.cloud
        if cloud is not None:
            self._state = msgspec.structs.replace(self._state, cloud=cloud.rescaled(by))

    @property
    def state(self) -> MacroState:
        """The bias as of the last closed bar."""
        return self._state
