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
from scalpdesk.instruments.deadlines import NO_CUTOFF, VenueCutoff, is_past_cutoff
from scalpdesk.orders.order import UNCERTAIN, Order

_MODEL_STEPS = 4
"""From the model's value of an option without a quote to the least that is asked for it."""
_MOVED_AWAY = 0.05
"""Fraction of a resting limit: the leg is offered again once the least price is so far better, or stays so
far worse.
"""
_PATIENCE_NS = 30 * MINUTE_NS
_LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries, where nothing came of those before."""
_LONGEST_UNSOLD_SECONDS = 1_800.0
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
    NEAR = "near"
    """Its own side's quote, where a hedge waits to be met."""
    LEAST = "least"
    """For an option without a bid; the order rests there."""


class Tactics(msgspec.Struct, frozen=True, kw_only=True):
    """How orders are tried."""

    retry_seconds: float
    """Age at which an order that is not filled is taken back."""
    pause_seconds: float
    longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS
    """``pause_seconds``, ``longest_pause_seconds``: Between two tries; doubled while nothing comes of
    them.
    """
    opening_pause_seconds: float = 0.0
    """Between two tries of what opens."""
    max_tries: float = math.inf
    """Tries of what opens, after which it is given up; an exit never is."""
    market_tries: float = 1
    """Tries at the market before the first limit; where there is no end to them any quote will do."""
    limits_only: bool = False
    """Whether options go by limits alone."""
    unwinds_shares: bool = False
    """Whether shares are a hedge that is unwound at the market, not a position of their own."""
    tops_up: bool = False
    """Whether an exit that works for a part is not waited for: another goes for what is left."""
    rests_near: bool = False
    """Whether a hedge waits at its own side of the quote, not at the market."""
    walks: bool = False
    """Whether the time at the mid is a walk from there to the other side."""
    cover_seconds: float = 60.0
    """So long nothing is sold at most while a sold option can be bought back."""
    late: str = "exit not filled in time"
    off: str = "leaving"
    """``late``, ``off``: Why an exit is taken off that was not filled in time, and what is not wanted."""

    @property
    def retry_ns(self) -> int:
        """``retry_seconds`` in nanoseconds."""
        return int(self.retry_seconds * NANOS_PER_SECOND)


class Sight(NamedTuple):
    """An instrument as a plan sees it now."""

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
    cutoff: VenueCutoff = NO_CUTOFF
    """When the venue takes the last orders in an expiring option."""

    def is_unsold(self, side: Side) -> bool:
        """Return whether an order has no taker: nobody bids for it, or the venue takes none any more."""
        is_late = is_past_cutoff(self.instrument, self.cutoff, self.now_ns)
        return is_late or (side is Side.SELL and self.has_no_bid)

    @property
    def holds_up_no_hedge(self) -> bool:
        """Whether it is an option without a bid or a payoff: once bought, it has nothing to hedge.

        One in the money delivers shares that its hedge stands against.
        """
        option, quote, spot = self.instrument, self.quote, self.spot
        if not option.is_option or quote is None or not spot:
            return False
        return not (quote.bid > 0 or option.payoff(spot))

    @property
    def without_price(self) -> str:
        """Why it is priced by the model, in words."""
        assert self.quote is not None
        if self.shows_no_price:
            return f"the quote of {self.quote.bid:g} by {self.quote.ask:g} shows no price"
        return f"no quote for {(self.now_ns - self.quote.ts_recv_ns) / MINUTE_NS:.0f} minutes"


Look = Callable[[InstrumentId], Sight]
HasSent = Callable[[InstrumentId, int | None], bool]
"""Returns whether the try of an instant became an order."""


class Tried(NamedTuple):
    """What was tried at one instrument, as a value: a plan takes it and returns the next."""

    tries: int = 0
    """Orders proposed; of an opening each look for one, whatever came of it."""
    first_ns: int | None = None
    """When the first try was due."""
    not_before_ns: int = 0
    sent_ns: int | None = None
    """When the last try was made."""
    is_worthless: bool = False
    is_unsold: bool = False
    """``is_worthless``, ``is_unsold``: Whether it was reported that it rests at its least price, or that the
    venue takes no offer.
    """
    was_unbid: bool = False
    """Whether nobody bid for it at the last try."""
    in_vain: int = 0
    """Tries in a row of which nothing came."""
    offered: int = 0
    """Limits by the model."""

    def rung(
        self, seen: Sight, side: Side, market_tries: float, allowed: Collection[str], *, is_patient: bool
    ) -> Rung | None:
        """Return what the next try is; None while nothing can be sent."""
        if seen.quote is None:
            return None
        if _goes_at_any_price(seen, allowed):
            return Rung.MARKET
        if seen.has_no_bid and side is Side.SELL and OrderType.LIMIT in allowed:
            return Rung.LEAST
        is_fine = seen.is_fine or math.isinf(market_tries)
        if is_fine and not is_patient and self.tries < market_tries and OrderType.MARKET in allowed:
            return Rung.MARKET
        if seen.is_unquoted:
            return Rung.MODEL
        return Rung.MID if seen.is_fine and is_patient else Rung.LIMIT

    def price(self, rung: Rung, seen: Sight, side: Side, *, ticks: int, walked: float) -> Decimal | None:
        """Return the limit of a try on a rung; None while the rung has no price."""
        ladder = _ladder(seen, side)
        if rung is Rung.MODEL:
            return self._by_model(seen, ladder)
        if rung is Rung.LEAST:
            return ladder.least()
        return ladder.between(walked) if rung is Rung.MID else ladder.meeting(ticks)

    def after_sight(self, seen: Sight) -> "Tried":
        """Start over where an option is quoted or bid for again: what was offered blind counts nothing."""
        is_quoted_again = self.offered and not seen.is_unquoted
        if is_quoted_again or (self.was_unbid and not seen.has_no_bid):
            return self._replace(
                offered=0, tries=0, in_vain=0, sent_ns=None, not_before_ns=0, is_unsold=False
            )
        return self

    def after_try(
        self,
        seen: Sight,
        side: Side,
        rung: Rung | None,
        tactics: Tactics,
        *,
        is_opening: bool,
        has_come: bool,
    ) -> "Tried":
        """Set when the next try is due: later with each by the model, or of which nothing came."""
        offered, in_vain = self.offered, self.in_vain
        if rung is not None and rung is not Rung.MARKET:
            offered = offered + 1 if rung is Rung.MODEL else 0
        pause = tactics.opening_pause_seconds if is_opening else tactics.pause_seconds
        longest = (
            _LONGEST_UNSOLD_SECONDS if seen.is_unsold(side) else max(tactics.longest_pause_seconds, pause)
        )
        if seen.is_unquoted:
            times, longest = min(offered, _MODEL_STEPS + 1), math.inf
        else:
            times = in_vain = 0 if has_come or self.sent_ns is None else in_vain + 1
        return self._replace(
            offered=offered,
            in_vain=in_vain,
            sent_ns=seen.now_ns,
            was_unbid=seen.has_no_bid,
            not_before_ns=seen.now_ns + int(doubled(pause, times, longest) * NANOS_PER_SECOND),
        )

    def after_refusal(self, seen: Sight, side: Side, first_seconds: float, longest_seconds: float) -> "Tried":
        """Wait after a refusal, twice as long with each try."""
        longest = _LONGEST_UNSOLD_SECONDS if seen.is_unsold(side) else longest_seconds
        pause_s = doubled(first_seconds, max(self.tries - 1, 0), longest)
        return self._replace(not_before_ns=seen.now_ns + int(pause_s * NANOS_PER_SECOND))

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
        if self.offered <= _MODEL_STEPS:
            return wanted == limit
        if wanted is None or abs(wanted - limit) <= limit * exact(_MOVED_AWAY):
            return True
        is_too_good = wanted > limit if side is Side.SELL else wanted < limit
        return not is_too_good and seen.now_ns - order.created_ns < _PATIENCE_NS

    def _by_model(self, seen: Sight, ladder: PriceLadder) -> Decimal | None:
        worth, must_go = seen.model(), seen.shows_no_price and seen.must_go
        if worth is None:
            return None
        least = LEAST_PART if must_go else DEEPEST
        return ladder.by_model(*worth, min(self.offered, _MODEL_STEPS) / _MODEL_STEPS, least)


def _ladder(seen: Sight, side: Side) -> PriceLadder:
    assert seen.quote is not None
    return PriceLadder(seen.instrument, side, seen.quote.bid, seen.quote.ask, seen.spot)


def _goes_at_any_price(seen: Sight, allowed: Collection[str]) -> bool:
    """Return whether an option without a quote goes at the market: in its last hour, or flattening."""
    return seen.is_unquoted and seen.must_go and not seen.shows_no_price and OrderType.MARKET in allowed
