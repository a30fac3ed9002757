"""Hedging by the clock: every so many seconds, whatever the delta."""

import math
from typing import Annotated, ClassVar

from scalpdesk.core.bounds import BoundedSettings, above
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.hedging.base import BandVerdict, HedgeInputs, QuietBand, check_inputs, verdict_of_width
from scalpdesk.hedging.kernels.rules import is_due


def verdict_of_clock(inputs: HedgeInputs, interval_seconds: float, why: str) -> BandVerdict:
    """Return a verdict by the time since the last hedge: a hedge that is due brings net delta to zero.

    A net delta of less than the smallest hedge stays, however long ago the last hedge was.
    """
    net, since, smallest = inputs.net_delta_shares, inputs.seconds_since_hedge, inputs.smallest_hedge
    if not is_due(since, interval_seconds):
        reason = f"{since:.0f} s since the last hedge of {interval_seconds:.0f} s ({why}): no hedge yet"
        return BandVerdict(math.inf, net, inside=True, reason=reason)
    if abs(net) < smallest:
        reason = f"a hedge is due ({why}), but net delta {net:+.3g} is less than {smallest:.3g}: no hedge"
        return BandVerdict(smallest, net, inside=True, reason=reason)
    # Exactly the smallest hedge is to be hedged, so the strict comparison of a band is made against nothing.
    return verdict_of_width(inputs, 0.0, "zero", lambda: f"{why}, {since:.0f} s since the last hedge")


def quiet_of_clock(inputs: HedgeInputs, verdict: BandVerdict, interval_seconds: float) -> QuietBand | None:
    """Return until when the clock forbids a hedge; None once one is due."""
    if verdict.half_width_shares < math.inf:
        return None
    left_ns = int((interval_seconds - inputs.seconds_since_hedge) * NANOS_PER_SECOND)
    return QuietBand(math.inf, until_ns=inputs.now_ns + left_ns)


class TimeBasedConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True):
    """Settings of the clock."""

    interval_seconds: Annotated[float, above(0, math.inf, "seconds")] = 1800.0
    """Trading seconds between hedges; the default makes thirteen a session."""


class TimeBasedBand:
    """Hedge to zero at spaced times, skipping what is less than the smallest hedge."""

    name: ClassVar[str] = "time_based"
    Config = TimeBasedConfig

    def __init__(self, config: TimeBasedConfig | None = None) -> None:
        self.config = TimeBasedConfig() if config is None else config

    def interval_seconds(self, inputs: HedgeInputs) -> float:  # noqa: ARG002 - other clocks look at it
        """Trading seconds between hedges."""
        return self.config.interval_seconds

    def quiet(self, inputs: HedgeInputs, verdict: BandVerdict) -> QuietBand | None:
        """Return until when the clock forbids a hedge."""
        return quiet_of_clock(inputs, verdict, self.config.interval_seconds)

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return whether the interval has passed and there is enough to be traded."""
        check_inputs(inputs)
        interval = self.config.interval_seconds
        return verdict_of_clock(inputs, interval, f"every {interval:.0f} s")


PLUG = TimeBasedBand
