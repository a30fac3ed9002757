"""The life of a leg that is closed: market, limit, model, least price, rest.

An option without a good quote is offered at the model's value, then in steps, each twice as long, down to its
payoff at the present spot, and no less than 95 % of the model's value. There the offer rests until the option
is quoted again or the spot has moved away; what must go today is sold at the market. So is one whose quote
shows no price, but never at the market: what must go today is offered down to half of the model's value, and
for less a person sells it. An option without a bid rests at 95 % of its payoff, or at the smallest price.

The rung is decided afresh at each try from what is seen, so that no answer of the venue leaves a leg on a
rung that no longer fits: an option that is quoted again begins at the market once more.
"""

import math
from collections.abc import Callable, Collection
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import msgspec

from scalpdesk.closing.ladder import DEEPEST, LEAST_PART, PriceLadder
from scalpdesk.core.backoff import doubled
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import EXITS, OrderType, Side
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, InstrumentId, exact
from scalpdesk.instruments.contract import Instrument
from scalpdesk.orders.order import UNCERTAIN, Order

MODEL_STEPS = 4
"""From the model's value of an option without a quote to the least that is asked for it."""
MOVED_AWAY = 0.05
"""Fraction of a resting limit: the leg is offered again once the least price is so far better, or stays so
far worse.
"""
PATIENCE_NS = 30 * MINUTE_NS
LONGEST_UNSENT_SECONDS = 60.0
"""Between two tries of which the risk gate makes no order."""
LONGEST_UNSOLD_SECONDS = 1_800.0
"""Pause between two offers that no bidder takes, or the venue no longer."""


class Rung(StrEnum):
    """Kind of a try at a leg: an order at the market, or a limit and where its price comes from."""

    MARKET = "market"
    MID = "mid"
    """From the mid to the other side's quote, while there is time."""
    LIMIT = "limit"
    """Met by the other side's quote."""
    MODEL = "model"
    """For an option without a quote: the model's value, then in steps down to the least."""
    LEAST = "least"
    """For an option without a bid; the order rests there."""


class ClosingStyle(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that a closer may use."""

    retry_seconds: float
    """Age at which an exit order that is not filled is taken back."""
    pause_seconds: float
    """Between two tries."""
    market_tries: float = 1
    """Tries at the market before the first limit; where there is no end to them any quote will do."""
    unwinds_shares: bool = False
    """Whether shares are a hedge that is unwound, not a position of their own."""
    tops_up: bool = False
    """Whether an exit that works for a part is not waited for: another goes for what is left."""
    walks: bool = False
    """Whether the time at the mid is a walk from there to the other side."""


class Sight(NamedTuple):
    """An instrument as its closer sees it now."""

    now_ns: int
    instrument: Instrument
    quote: QuoteEvent | None
    spot: float | None
    """Price of an option's underlying; None while it is not known."""
    is_fine: bool
    """Whether the quote is good enough to trade at the market on."""
    has_no_bid: bool
    """Whether it is an option without a bid."""
    is_halted: bool
    is_unquoted: bool = False
    """Whether it is an option that was quoted, and for too long no more."""
    shows_no_price: bool = False
    """Whether its quote is there, and too wide to tell its price: ``is_unquoted`` as well."""
    must_go: bool = False
    """Whether such an option is left whatever it brings: flattening, or in its last hour."""
    model: Callable[[], tuple[float, float] | None] = lambda: None
    """Returns the value by the model and the payoff of such an option, per unit; None while unknown."""


Look = Callable[[InstrumentId], Sight]
HasSent = Callable[[InstrumentId, int], bool]
"""Returns whether the try of an instant became an order."""


class ClosingLeg:
    """Tries so far at one instrument, and the time of the next."""

    def __init__(self) -> None:
        self.tries = 0
        """Orders proposed."""
        self.refusals = 0
        """In a row, since which it waits ever longer."""
        self.not_before_ns = 0
        self.sent_ns: int | None = None
        """When the last try was made."""
        self.is_worthless = self.is_unsold = False
        """Whether it was reported that it rests at its least price, or that the venue takes no offer."""
        self._unsent = 0
        """Tries in a row of which the risk gate made no order."""
        self._offered = 0
        """Limits by the model."""

    def rung(
        self, seen: Sight, side: Side, style: ClosingStyle, allowed: Collection[str], *, is_patient: bool
    ) -> Rung | None:
        """Return what the next try is; None while nothing can be sent."""
        if seen.quote is None:
            return None
        if _goes_at_any_price(seen, allowed):
            return Rung.MARKET
        if seen.has_no_bid and side is Side.SELL and OrderType.LIMIT in allowed:
            return Rung.LEAST
        is_fine = seen.is_fine or math.isinf(style.market_tries)
        if is_fine and not is_patient and self.tries < style.market_tries and OrderType.MARKET in allowed:
            return Rung.MARKET
        if seen.is_unquoted:
            return Rung.MODEL
        return Rung.MID if seen.is_fine and is_patient else Rung.LIMIT

    def price(self, rung: Rung, seen: Sight, side: Side, *, ticks: int, walked: float) -> Decimal | None:
        """Return the limit of a try on a rung; None while the rung has no price."""
        ladder = _ladder(seen, side)
        if rung is Rung.MODEL:
            price = self._by_model(seen, ladder)
            self._offered += 1
            return price
        self._offered = 0
        if rung is Rung.LEAST:
            return ladder.least()
        return ladder.between(walked) if rung is Rung.MID else ladder.meeting(ticks)

    def note_seen(self, seen: Sight) -> None:
        """Start over where an option is quoted or bid for again: what was offered blind counts nothing."""
        is_quoted_again = self._offered and not seen.is_unquoted
        if is_quoted_again or (self.is_unsold and not seen.has_no_bid):
            self._offered = self.tries = self.refusals = self.not_before_ns = 0
            self.is_unsold = False

    def note_try(self, seen: Sight, pause_ns: int, *, is_sent: bool) -> None:
        """Set when the next try is due: later with each by the model, or that the gate lets not through."""
        longest = max(LONGEST_UNSENT_SECONDS * NANOS_PER_SECOND, pause_ns)
        if seen.is_unquoted:
            times, longest = min(self._offered, MODEL_STEPS + 1), math.inf
        else:
            times = self._unsent = 0 if is_sent else self._unsent + 1
        self.sent_ns = seen.now_ns
        self.not_before_ns = seen.now_ns + int(doubled(pause_ns, times, longest))

    def hold_back(self) -> None:
        """Forget its last try, whose order is not proposed: the next waits no longer and gives no more."""
        self.tries -= 1
        self.sent_ns = None

    def refuse(self, now_ns: int, first_seconds: float, longest_seconds: float) -> int:
        """Wait after a refusal, twice as long as after the last; return until when, UTC nanoseconds."""
        pause_s = doubled(first_seconds, self.refusals, longest_seconds)
        self.refusals += 1
        self.not_before_ns = now_ns + int(pause_s * NANOS_PER_SECOND)
        return self.not_before_ns

    def rests_rightly(self, order: Order, seen: Sight, allowed: Collection[str]) -> bool:
        """Return whether an unfilled exit order is left as it is.

        An option without a bid is offered at its least price and left to rest there; one without
        a quote at its least price, until that has moved away.
        """
        limit, side = order.submitted.limit_price, order.submitted.side
        if seen.quote is None or order.submitted.purpose not in EXITS or order.state in UNCERTAIN:
            return False
        ladder = _ladder(seen, side)
        if not seen.is_unquoted:
            return seen.has_no_bid and side is Side.SELL and limit is not None and ladder.is_least(limit)
        if limit is None or _goes_at_any_price(seen, allowed):
            return limit is None
        if seen.now_ns < self.not_before_ns:
            return order.created_ns >= (self.sent_ns or 0)
        wanted = self._by_model(seen, ladder)
        if self._offered <= MODEL_STEPS:
            return wanted == limit
        if wanted is None or abs(wanted - limit) <= limit * exact(MOVED_AWAY):
            return True
        is_too_good = wanted > limit if side is Side.SELL else wanted < limit
        return not is_too_good and seen.now_ns - order.created_ns < PATIENCE_NS

    def _by_model(self, seen: Sight, ladder: PriceLadder) -> Decimal | None:
        worth, must_go = seen.model(), seen.shows_no_price and seen.must_go
        least = LEAST_PART if must_go else DEEPEST
        return (
            None
            if worth is None
            else ladder.by_model(*worth, min(self._offered, MODEL_STEPS) / MODEL_STEPS, least)
        )


def _ladder(seen: Sight, side: Side) -> PriceLadder:
    assert seen.quote is not None
    return PriceLadder(seen.instrument, side, seen.quote.bid, seen.quote.ask, seen.spot)


def _goes_at_any_price(seen: Sight, allowed: Collection[str]) -> bool:
    """Return whether an option without a quote goes at the market: in its last hour, or flattening."""
    return seen.is_unquoted and seen.must_go and not seen.shows_no_price and OrderType.MARKET in allowed
