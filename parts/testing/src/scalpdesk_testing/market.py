"""A market in small for one trial: a share and one straddle, a few minutes up to a session's close."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

import msgspec
import numpy as np

from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, InstrumentId, years_between
from scalpdesk.exchange.source import Bar
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments, Right, occ_symbol
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.sessions import Session, expiry_instant_ns, session_on
from scalpdesk.marketdata.tape import CashDividend, FundingRate, Morning, RateCurve
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.simulation.hours import Hours, TapeHours

DAYS = (date(2018, 3, 5), date(2018, 7, 3), date(2018, 10, 9))
"""A winter Monday, the half day before Independence Day (13:00), a summer-time Tuesday."""
_START_SPOT = 500.0
_SHARE_EVERY = 2
IMPLIED_VOL = 0.20
_MOVED_VOLS, VOL_SECONDS = (0.15, 0.20, 0.24), 40
"""Implied volatilities to which it moves, fractions a year, and how long each stands."""
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)
OTHER = InstrumentId(3)
"""A call further out that the desk does not trade; in a market that has one."""
_OTHER_STRIKE = _START_SPOT + 5.0
_FAR_CALL, _FAR_PUT = InstrumentId(3), InstrumentId(4)
"""Wings of a shape that has them."""
SHAPE_LEGS: dict[str, dict[InstrumentId, int]] = {
    "straddle": {CALL: 1, PUT: 1},
    "iron_fly": {CALL: 1, PUT: 1, _FAR_CALL: -1, _FAR_PUT: -1},
    "iron_condor": {CALL: 1, PUT: 1, _FAR_CALL: -1, _FAR_PUT: -1},
    "vertical": {CALL: 1, _FAR_CALL: -1},
}
"""Contracts of a set that is bought, by shape."""
COVERS = {CALL: _FAR_CALL, PUT: _FAR_PUT}
"""The wing that covers a sold leg."""
_BODIES = {"iron_condor": 4}
"""Distance of a shape's first call and put from the money, currency; 0 unless named."""
WING_WIDTH = 6
"""Between a leg and its wing, currency."""
OLD_SECONDS = 60
"""Until an option that was not quoted for days is quoted again."""


class BareMarket:
    """What a market source has beside its quotes, with nothing in it."""

    def __init__(self) -> None:
        self.barred: frozenset[InstrumentId] = frozenset()
        self.dividends: tuple[CashDividend, ...] = ()
        self.actions: tuple[CorporateAction, ...] = ()
        self.rate_curve = RateCurve((1.0,), (0.0,))
        self.dividend_yield = 0.0
        self.funding: tuple[FundingRate, ...] = ()
        self.open_interest: dict[str, int] = {}

    def published(self, day: date) -> Morning:
        """The same of each day."""
        del day
        return Morning(self.rate_curve, self.open_interest, ())

    def watch(self, number: InstrumentId) -> QuoteEvent | None:
        """Every instrument is played anyway."""
        del number
        return None

    def settlement(self, symbol: str, day: date) -> Decimal | None:
        """No official level: the last mid serves."""
        del symbol, day
        return None

    def history(self, symbol: str, seconds: int, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Nothing came before."""
        del symbol, seconds, start_ns, end_ns
        return ()


class SmallMarket(BareMarket):
    """Quotes of one share and its straddle; satisfies :class:`scalpdesk.exchange.source.MarketSource`.

    ``day``: Session whose last minutes are played.
    ``seconds``: How long it lasts, up to that session's own close.
    ``move``: Standard deviation of the share's move between two quotes, currency.
    ``symbol``: Of the share.
    ``expires_after_days``: Calendar days to the options' expiry.
    ``is_deep``: Whether every order finds its size at once.
    ``has_other``: Whether there is a second call, 5 above the first.
    ``quoted_days_ago``: Age of the options' quotes at the beginning; the next quotes come a minute later.
    ``is_vol_moving``: Whether the implied volatility changes every now and then.
    ``shape``: Of the structures that are traded: where the options' strikes lie.
    ``jump_at``, ``jump``: Seconds from which on the share stands higher by so much, in currency; None: it
    does not jump.
    """

    def __init__(
        self,
        seed: int,
        day: date,
        *,
        seconds: int = 330,
        move: float = 0.08,
        symbol: str = "SPY",
        expires_after_days: int = 4,
        is_deep: bool = False,
        has_other: bool = False,
        quoted_days_ago: int = 0,
        is_vol_moving: bool = False,
        shape: str = "straddle",
        jump_at: float | None = None,
        jump: float = 0.0,
    ) -> None:
        super().__init__()
        close_ns = session_on(day).close_ns
        self.session = Session(day, close_ns - seconds * NANOS_PER_SECOND, close_ns)
        expiry = day + timedelta(days=expires_after_days)
        self.instruments = _small_book(symbol, expiry, shape, has_other=has_other)
        self.options = tuple(InstrumentId(number) for number in range(1, len(self.instruments)))
        self.shape = shape
        self._jump_at, self._jump = jump_at, jump
        self.silent_until: dict[InstrumentId, int] = {}
        """Instruments whose quotes do not come before an instant, UTC nanoseconds."""
        self._is_deep = is_deep
        self.hours: Hours = TapeHours((self.session,))
        self.start_ns = self.session.open_ns
        # of a chain the legs alone have any: the desk can choose nothing else
        traded = range(len(self.instruments)) if shape == "straddle" else {SHARE, *SHAPE_LEGS[shape]}
        self.open_interest = {
            instrument.symbol: 5_000 * (number in traded)
            for number, instrument in enumerate(self.instruments)
        }
        dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 31])))
        moved = dice.choice(_MOVED_VOLS, seconds // VOL_SECONDS) if is_vol_moving else ()
        self._vols = (IMPLIED_VOL, *moved)
        self._quotes = self._draw(seed, seconds, move)
        if quoted_days_ago:
            self._let_age(quoted_days_ago)
        self._at = 0

    def _draw(self, seed: int, seconds: int, move: float) -> list[QuoteEvent]:
        dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 3])))
        moves = dice.normal(0.0, move, seconds // _SHARE_EVERY + 1)
        # thin at times: a hedge then fills in parts, or not before it is too old
        sizes = dice.choice([1.0, 4.0, 9.0, 60.0, 300.0], seconds // _SHARE_EVERY + 1).tolist()
        # a jump now and then, so that hedges are needed and holdings cross zero
        jumps = dice.random(len(moves)) < 0.04
        moves[jumps] += dice.choice([-1.0, 1.0], int(jumps.sum())) * 0.6
        mids = (_START_SPOT + np.cumsum(moves)).round(2).tolist()
        quotes: list[QuoteEvent] = []
        for step, plain in enumerate(mids):
            has_jumped = self._jump_at is not None and step * _SHARE_EVERY >= self._jump_at
            mid = round(plain + self._jump, 2) if has_jumped else plain
            at_ns = self.start_ns + step * _SHARE_EVERY * NANOS_PER_SECOND
            if at_ns >= self.session.close_ns:
                break
            if step * _SHARE_EVERY % 8 == 0:
                quotes += [self._option_quote(number, mid, at_ns) for number in self.options]
            size = 5_000.0 if self._is_deep else sizes[step]
            quotes.append(
                QuoteEvent(SHARE, at_ns, at_ns, round(mid - 0.01, 2), round(mid + 0.01, 2), size, size)
            )
        return quotes

    def _let_age(self, days: int) -> None:
        again_ns = self.start_ns + OLD_SECONDS * NANOS_PER_SECOND
        earlier_ns = self.start_ns - days * 86_400 * NANOS_PER_SECOND
        self._quotes = [
            msgspec.structs.replace(quote, ts_event_ns=earlier_ns)
            if quote.instrument_id != SHARE and quote.ts_recv_ns == self.start_ns
            else quote
            for quote in self._quotes
            if quote.instrument_id == SHARE or not self.start_ns < quote.ts_recv_ns < again_ns
        ]

    def _option_quote(self, number: InstrumentId, spot: float, at_ns: int) -> QuoteEvent:
        contract = self.instruments[number]
        assert contract.is_option
        years = years_between(at_ns, expiry_instant_ns(contract))
        terms = (spot, float(contract.strike), years, self.implied_vol(at_ns), contract.is_call, 0.0)
        fair = option_greeks(*terms, american=False).price
        bid = max(round(fair - 0.03, 2), 0.01)
        return QuoteEvent(number, at_ns, at_ns, bid, round(bid + 0.06, 2), 50.0, 50.0)

    def implied_vol(self, at_ns: int) -> float:
        """Return the volatility that options are quoted at, a fraction a year; of old quotes the first."""
        place = max(at_ns - self.start_ns, 0) // (VOL_SECONDS * NANOS_PER_SECOND)
        return float(self._vols[min(place, len(self._vols) - 1)])

    @property
    def jumps(self) -> bool:
        """Whether the share jumps: an option that is quoted no more has no price after it."""
        return self._jump_at is not None

    def off_feed(self) -> list[InstrumentId]:
        """Return the instruments that have left the feed for good."""
        return [number for number, until_ns in self.silent_until.items() if until_ns == NEVER_NS]

    def next_ns(self) -> int:
        """Return when the next quote is due, UTC nanoseconds."""
        return self._quotes[self._at].ts_recv_ns if self._at < len(self._quotes) else NEVER_NS

    def take_next(self) -> Iterable[QuoteEvent | TradeEvent | BarEvent]:
        """Return the quotes of one instant."""
        now_ns = self.next_ns()
        first = self._at
        while self.next_ns() == now_ns and self._at < len(self._quotes):
            self._at += 1
        quotes = self._quotes[first : self._at]
        if self.silent_until:
            return [quote for quote in quotes if self.silent_until.get(quote.instrument_id, 0) <= now_ns]
        return quotes


def _small_book(symbol: str, expiry: date, shape: str, *, has_other: bool) -> Instruments:
    """Return a share (0), a call and a put (1 and 2); perhaps one call more (3), or a chain."""
    book = Instruments([Equity(symbol)])
    body = _BODIES.get(shape, 0)
    strikes = [(Right.CALL, _START_SPOT + body), (Right.PUT, _START_SPOT - body)]
    if shape != "straddle":
        out = body + WING_WIDTH
        strikes += [(Right.CALL, _START_SPOT + out), (Right.PUT, _START_SPOT - out)]
        # the other option of each strike, by which the market shows its forward
        listed = sorted({_START_SPOT, *(strike for _, strike in strikes)})
        both = [(right, strike) for strike in listed for right in (Right.CALL, Right.PUT)]
        strikes += [each for each in both if each not in strikes]
    elif has_other:
        strikes.append((Right.CALL, _OTHER_STRIKE))
    for right, strike in strikes:
        book.add(us_option(occ_symbol(symbol, expiry, right, Decimal(int(strike))), [symbol]))
    return book
