"""When an account hears of the end of its options.

The simulated broker books by these times, so that a desk trades on nothing before an account could know it.
The table of all messages, with their sources, stands in the kit of tests, which holds each to its row.
"""

from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import takes_notices
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    next_session,
    to_new_york,
)

_CLEARED_BEFORE_NS = 120 * MINUTE_NS
"""Before an opening: the clearing house has processed the night, and members have posted it to accounts."""


def cleared_ns(at_ns: int) -> int:
    """Return when an account shows what the clearing house makes of a close, UTC nanoseconds.

    Two hours before the next session's open: exercise notices end at 17:30 New York, the clearing house
    assigns in the night, and members have its report before the market opens.
    """
    return next_session(to_new_york(at_ns).date()).open_ns - _CLEARED_BEFORE_NS


def booking_ns(option: OptionContract) -> int:
    """Return when the end of an option whose level is known is booked, UTC nanoseconds.

    With the night's clearing where its holders decide, else at the instant that fixes its payoff.
    """
    ends_ns = expiry_instant_ns(option)
    return cleared_ns(ends_ns) if takes_notices(option) else ends_ns
