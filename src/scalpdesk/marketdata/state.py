"""Latest market state of every instrument."""

import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import time
from functools import partial
from operator import attrgetter
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import (
    BarEvent,
    DividendEvent,
    ForecastEvent,
    GammaExposureEvent,
    ImpliedVolEvent,
    OpenInterestEvent,
    PriceAdjustmentEvent,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
    TradeEvent,
)
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instrument, Instruments, OptionContract
from scalpdesk.instruments.sessions import new_york_ns, to_new_york
from scalpdesk.marketdata.chain_bounds import Chain, ChainBounds
from scalpdesk.marketdata.dealer_gamma import MAX_AGE_SECONDS
from scalpdesk.marketdata.latest_quotes import LatestQuotes, QuoteTable, SessionRows
from scalpdesk.marketdata.quotes import (
    GOOD,
    KEPT,
    LEAP,
    TRADABLE,
    WIDE_STRIKES,
    WIDE_TICKS,
    WIDEST,
    QuoteVerdict,
    is_stub,
    judge_quote,
    mark_price,
    shows_price,
)
from scalpdesk.marketdata.tape import FLAT_ZERO, RateCurve
from scalpdesk.pricing.kernels.triggers import are_tradable

_LOST_AFTER = 2
"""Stale ages between the quotes of an option and of its underlying, beyond which the option's is lost."""
_SMALL, _LARGE = 1.0 - LEAP, 1.0 + LEAP
_OLD_NS = MINUTE_NS
"""A quote that was made longer than this before it came counts as known since it was made. A shorter time may
be the error of a clock."""
_LEAP_OF_A_SECOND = 0.0022
"""Fraction of its price by which an underlying may be quoted elsewhere unasked, by the root of the seconds
since its latest quote: a coin moved by 1.16 % in half a minute.
"""
WHEN = attrgetter("ts_event_ns")
_STIRRED = 0.2
"""Part of its price, or of an underlying's leap, by which an option moves until its expiry is judged anew."""
QUOTES_KEPT = 1024
"""Quotes kept of each underlying: at a quote a second the last seventeen minutes."""


class QuoteBook(Protocol):
    """Latest quotes by instrument id."""

    def __getitem__(self, number: InstrumentId, /) -> QuoteEvent | None:
        """Return the latest quote; None when never quoted."""
        ...

    def __setitem__(self, number: InstrumentId, quote: QuoteEvent, /) -> None:
        """Set the latest quote."""
        ...


def paid_between(
    dividends: Sequence[DividendEvent], instrument_id: InstrumentId, from_ns: int, to_ns: int
) -> float:
    """Return the dividends that went ex after ``from_ns`` up to ``to_ns`` (UTC ns), currency a share."""
    due = (
        float(item.amount)
        for item in dividends
        if item.instrument_id == instrument_id and from_ns < item.ts_ex_ns <= to_ns
    )
    return sum(due, 0.0)


def unbid_option(
    instruments: Instruments,
    quotes: Mapping[InstrumentId, QuoteEvent | None] | QuoteBook,
    number: InstrumentId,
) -> tuple[OptionContract, float] | None:
    """Return an option whose quote is a stub or has no bid, and its spot; None while a quote lacks."""
    quote, contract = quotes[number], instruments[number]
    if quote is None or not quote.ts_recv_ns or not contract.is_option:
        return None
    if quote.bid > 0 and not is_stub(quote, widest_spread(contract)):
        return None
    underlying = quotes[instruments.id_of(contract.underlying)]
    spot = 0.0 if underlying is None else mark_price(underlying)
    return (contract, spot) if spot > 0 else None


def moved_unasked(quote: QuoteEvent, now_ns: int) -> float:
    """Return the fraction of its price by which an underlying may be elsewhere by now (UTC nanoseconds)."""
    return _LEAP_OF_A_SECOND * math.sqrt(max(now_ns - quote.ts_event_ns, 0) / NANOS_PER_SECOND)


def widest_spread(instrument: Instrument) -> float:
    """Return how far apart the sides of an instrument's quote may always lie, currency per unit."""
    if not instrument.is_option:
        return math.inf
    scale = 1.0 if instrument.is_inverse else float(instrument.strike)
    return max(WIDE_STRIKES * scale, WIDE_TICKS * float(instrument.tick_rule.below))


def _midnight(ts_ns: int) -> int:
    """Return the instant at which the day of ``ts_ns`` begins in New York."""
    return new_york_ns(to_new_york(ts_ns).date(), time(0))


class MarketView(Protocol):
    """The latest market, read-only."""

    @property
    def instruments(self) -> Instruments:
        """Instruments of the run."""
        ...

    @property
    def quotes(self) -> QuoteBook:
        """Latest quote by instrument id."""
        ...

    @property
    def open_interest(self) -> Mapping[InstrumentId, int]:
        """Open contracts of the day before."""
        ...

    def volume_today(self, instrument_id: InstrumentId) -> float | None:
        """Return what has traded in this session: contracts or shares; None when nothing is known of it."""
        ...

    @property
    def forecasts(self) -> Mapping[InstrumentId, ForecastEvent]:
        """Latest volatility forecast by underlying."""
        ...

    @property
    def dividends(self) -> Sequence[DividendEvent]:
        """Dividends declared so far."""
        ...

    @property
    def adjustments(self) -> Sequence[PriceAdjustmentEvent]:
        """Corporate actions of this run that changed the scale of earlier prices, in order."""
        ...

    @property
    def lost_ns(self) -> Sequence[int]:
        """By instrument, so much older than the underlying's a quote is not lost yet, nanoseconds."""
        ...

    @property
    def gamma_exposures(self) -> Mapping[str, GammaExposureEvent]:
        """Latest dealer gamma exposure by symbol."""
        ...

    @property
    def max_exposure_seconds(self) -> float:
        """Age above which a dealer gamma exposure counts as unknown (``gex.max_age_seconds``)."""
        ...

    @property
    def implied_vols(self) -> Mapping[InstrumentId, ImpliedVolEvent]:
        """Latest 30-day implied volatility of each underlying with its history."""
        ...

    @property
    def earlier_sessions(self) -> Mapping[InstrumentId, Sequence[SessionBarsEvent]]:
        """Minute bars of earlier sessions."""
        ...

    def verdict(self, instrument_id: InstrumentId, now_ns: int) -> QuoteVerdict:
        """Return the verdict on the latest quote as of ``now_ns``."""
        ...

    def is_stub(self, quote: QuoteEvent) -> bool:
        """Return whether the sides of a quote tell no price; see :meth:`MarketState.is_stub`."""
        ...

    def is_valid(self, instrument_id: InstrumentId) -> bool:
        """Return whether an option's mark is a quote's: one that shows a price, and is not lost."""
        ...

    def table(self, numbers: NDArray[np.int64]) -> QuoteTable:
        """Return latest quotes as columns; see :meth:`MarketState.table`."""
        ...

    def are_fine(self, table: QuoteTable, numbers: NDArray[np.int64], now_ns: int) -> NDArray[np.bool_]:
        """Return which of a table's quotes are two-sided and fresh; see :meth:`MarketState.are_fine`."""
        ...

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Return the value of one unit of what is no option; see :meth:`MarketState.mark`."""
        ...


class MarketState:
    """Latest quote, bar and open interest of each instrument, and counts of imperfect quotes.

    It has many methods because each kind of market event has its own ``apply_…``, an entry of the engine's
    table of events; the others read the latest quotes, which marks, verdicts and tables share.
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        stale_seconds_underlying: float = 5.0,
        stale_seconds_option: float = 60.0,
        max_exposure_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        self.instruments = instruments
        nothing: list[QuoteEvent | None] = [None] * len(instruments)
        self.quotes: QuoteBook = nothing
        self.rows: LatestQuotes | None = None
        """Where ``quotes`` reads the rows of a backtest: no quote is told then."""
        self.changes = 0
        """Counts the quotes that were taken in one by one, and what changes prices or terms without one."""
        self._unsound: dict[InstrumentId, tuple[QuoteEvent | None, QuoteEvent, QuoteVerdict]] = {}
        """Latest quote of what is no option that is no price of it, after the one that it did not replace."""
        self.bars: list[BarEvent | None] = [None] * len(instruments)
        self.last_trade: list[TradeEvent | None] = [None] * len(instruments)
        self._volumes: dict[tuple[type[BarEvent | TradeEvent], InstrumentId], float] = {}
        """Volume of this session as its bars and as its prints have it: a feed may bring both."""
        self._recent: dict[InstrumentId, deque[QuoteEvent]] = {}
        """Latest quotes of the underlyings that `keep_quotes` names, oldest first."""
        self._recent_row: dict[InstrumentId, int] = {}
        """Row of the session from which on they are kept, of a backtest."""
        self.open_interest: dict[InstrumentId, int] = {}
        self.dividends: list[DividendEvent] = []
        self.expects_dividends = True
        """Whether index funds are expected to pay as in the past year."""
        self.on_dividend: list[Callable[[DividendEvent], None]] = []
        """Called after a dividend has become known."""
        self.adjustments: list[PriceAdjustmentEvent] = []
        self._going_ex: list[PriceAdjustmentEvent] = []
        """Adjustments of the next open: what is marked before it still has the scale of before."""
        self.opened_ns = 0
        """Open of the session that was opened last, UTC nanoseconds."""
        self.forecasts: dict[InstrumentId, ForecastEvent] = {}
        self.gamma_exposures: dict[str, GammaExposureEvent] = {}
        self.max_exposure_seconds = max_exposure_seconds
        self.implied_vols: dict[InstrumentId, ImpliedVolEvent] = {}
        self.earlier_sessions: dict[InstrumentId, list[SessionBarsEvent]] = {}
        self.rate_curve: RateCurve = FLAT_ZERO
        self.oddities: Counter[str] = Counter()
        self._before_ex: dict[InstrumentId, tuple[int, QuoteEvent]] = {}
        """Last quotes of shares that went ex with this session, and when: those of instants before."""
        self._carried: dict[InstrumentId, tuple[int, QuoteEvent | None]] = {}
        """When a price was last carried across a corporate action, and the quote of before, by instrument."""
        self._stale_ns = [
            int(
                (stale_seconds_option if instrument.is_option else stale_seconds_underlying)
                * NANOS_PER_SECOND
            )
            for instrument in instruments
        ]
        self._stale_column = np.array(self._stale_ns, dtype=np.int64)
        self.lost_ns: Sequence[int] = [_LOST_AFTER * stale_ns for stale_ns in self._stale_ns]
        """Nanoseconds by which an option's quote may be older than its underlying's; see :meth:`is_lost`."""
        self._spot_of = [
            instruments.id_of(instrument.underlying)
            if instrument.is_option and instrument.underlying in instruments
            else None
            for instrument in instruments
        ]
        self.widest = [widest_spread(instrument) for instrument in instruments]
        """Distance of an option's sides up to which any quote shows a price, currency per unit."""
        self._judged: dict[InstrumentId, tuple[QuoteEvent, int, bool]] = {}
        """Last judgement of each option's quote, with that quote and how many quotes of all were known."""
        self._off: dict[Chain, tuple[int, bool | None]] = {}
        """Last answer about each expiry, and how many quotes of all were known."""
        self._fine: dict[InstrumentId, float] = {}
        """Mid of each option, currency per unit, that was learnt when nothing was against its expiry."""
        self.bounds: Final = ChainBounds(instruments, self.widest, self.lost_ns)

    def read(self, rows: LatestQuotes) -> None:
        """Read the latest quotes from the rows of a backtest from now on."""
        self.quotes = self.rows = rows

    def apply_quote(self, quote: QuoteEvent) -> bool:
        """Apply a quote; return whether it is good (two-sided, not crossed, in order).

        One without two sides is kept of an option alone: what is none keeps its last sound mid and its age.
        One that was old when it came is as old as it says: delayed, frozen, or of a trading halt.
        """
        number = quote.instrument_id
        last = self.quotes[number]
        if last is not None and quote.ts_event_ns < last.ts_event_ns:
            self.oddities[QuoteVerdict.OUT_OF_ORDER] += 1
            return False
        if quote.ts_recv_ns - quote.ts_event_ns > _OLD_NS:
            quote = msgspec.structs.replace(quote, ts_recv_ns=quote.ts_event_ns)
        self.changes += 1
        verdict = self._judge(quote, last)
        if verdict is not GOOD:
            self.oddities[verdict] += 1
        if verdict in TRADABLE or (verdict in KEPT and self._spot_of[number] is not None):
            self.quotes[number] = quote
            if self._recent and number in self._recent:
                self._recent[number].append(quote)
        # an index level has bid equal to ask: always locked, and good
        return verdict in TRADABLE

    def apply_row(self, quote: QuoteEvent) -> bool:
        """Judge the next row of a backtest, of what is no option; return whether it is good.

        One that leaps to where its options do not follow replaces nothing. Others are counted with the
        rows.
        """
        verdict = self._judge(quote, self.quotes[quote.instrument_id])
        is_leap = verdict is QuoteVerdict.CONTRADICTED and quote.ask <= WIDEST * quote.bid
        if is_leap and self.rows is not None:
            self.oddities[verdict] += 1
            self.rows.refuse(quote.instrument_id)
        return verdict in TRADABLE

    def _judge(self, quote: QuoteEvent, last: QuoteEvent | None) -> QuoteVerdict:
        """Return the verdict on a quote that comes after ``last``, and remember what is no price."""
        bid, ask, number = quote.bid, quote.ask, quote.instrument_id
        verdict = GOOD if 0.0 < bid < ask < math.inf else judge_quote(bid, ask)  # nearly all: no call
        if self._spot_of[number] is not None:
            return verdict
        if verdict in TRADABLE:
            is_near = last is None or _SMALL * (last.bid + last.ask) < bid + ask < _LARGE * (
                last.bid + last.ask
            )
            if ask <= WIDEST * bid and (is_near or last is None or not self._leaps(quote, last)):
                return verdict
            verdict = QuoteVerdict.CONTRADICTED
        self._unsound[number] = last, quote, verdict
        return verdict

    @property
    def version(self) -> int:
        """A number that changes with every quote, of whatever instrument, and with terms and scales."""
        rows = None if self.rows is None else self.rows.rows
        return self.changes if rows is None else self.changes + rows.upto

    def _leaps(self, quote: QuoteEvent, last: QuoteEvent) -> bool:
        """Return whether an underlying is quoted away from ``last`` where its options do not follow.

        What it moves by in the time since its latest quote is no leap, unless that one was.
        """
        before, latest, verdict = self._unsound.get(quote.instrument_id, (None, last, GOOD))
        since = latest if before is last else last
        is_on = before is last and verdict is QuoteVerdict.CONTRADICTED
        room = LEAP if is_on else max(LEAP, moved_unasked(since, quote.ts_event_ns))
        is_far = abs(quote.mid - last.mid) > room * last.mid
        return is_far and self.bounds.stay_behind(quote, last, self.quotes)

    def shows_price(self, quote: QuoteEvent) -> bool:
        """Return whether a quote tells what its instrument is worth.

        Its sides do, see :func:`~scalpdesk.marketdata.quotes.shows_price`, and the quotes of its expiry do
        not contradict it.
        """
        return shows_price(quote, self.widest[quote.instrument_id]) and not self.is_contradicted(quote)

    def is_contradicted(self, quote: QuoteEvent) -> bool:
        """Return whether the other quotes of an option's expiry contradict its quote."""
        number, quotes = quote.instrument_id, self.quotes
        share = self._spot_of[number]
        spot = None if share is None else quotes[share]
        if spot is None:
            return False
        seen = self.version
        known = self._judged.get(number)  # a look asks of each leg several times
        if known is not None and known[0] is quote and known[1] == seen:
            return known[2]
        found = self.bounds.contradict(quote, spot, quotes)
        fine, mid = self._fine.get(number, math.nan), quote.mid
        moves = max(_STIRRED * self.widest[number], min(_STIRRED * fine, _STIRRED * LEAP * spot.mid))
        if not (found or abs(mid - fine) <= moves) and share is not None:  # NaN compares with nothing
            option = self.instruments.by_id[number]
            assert option.is_option
            tells_otherwise = self._tells_otherwise(share, (option.root, option.underlying, option.expiry))
            found = tells_otherwise is None or (tells_otherwise and self._stands_still(share))
        self._judged[number] = quote, seen, found
        return found

    def learn(self, quote: QuoteEvent) -> None:
        """Remember the price of an option's latest quote, where nothing is against it."""
        if not self.is_contradicted(quote):
            self._fine[quote.instrument_id] = quote.mid

    def _tells_otherwise(self, share: InstrumentId, chain: Chain) -> bool | None:
        """Return :meth:`ChainBounds.tells_otherwise` of an expiry now."""
        spot, seen, known = self.quotes[share], self.version, self._off.get(chain)
        if spot is None:
            return False
        if known is None or known[0] != seen:
            found = self.bounds.tells_otherwise(chain, spot, self.quotes, partial(self._worth_then, share))
            known = self._off[chain] = seen, found
        return known[1]

    def _worth_then(self, share: InstrumentId, stamps: Sequence[int], to_ns: int) -> list[float | None]:
        paid = [paid_between(self.dividends, share, at_ns, to_ns) for at_ns in stamps]
        quotes = self.quotes_in_force(share, stamps)
        return [None if q is None else q.mid - less for q, less in zip(quotes, paid, strict=True)]

    def _stands_still(self, share: InstrumentId) -> bool:
        """Return whether an underlying has shown the same quote for as long as a quote may lag."""
        latest = self.quotes[share]
        if share not in self._recent or latest is None:
            return False
        if self.rows is not None:
            found = self.rows.stands(latest, self._recent_row[share], self.lost_ns[share])
            if found is not None:
                return found
        for quote in reversed(self._kept(share)):
            if (quote.bid, quote.ask) != (latest.bid, latest.ask):
                return False
            if latest.ts_event_ns - quote.ts_event_ns >= self.lost_ns[share]:
                return True
        return False

    def is_stub(self, quote: QuoteEvent) -> bool:
        """Return whether a quote tells no price although it has sides: too far apart, or contradicted."""
        return is_stub(quote, self.widest[quote.instrument_id]) or self.is_contradicted(quote)

    def is_valid(self, instrument_id: InstrumentId) -> bool:
        """Return whether an option's mark is a quote's: one that shows a price, and is not lost."""
        quote = self.quotes[instrument_id]
        return quote is not None and not self.is_lost(instrument_id) and self.shows_price(quote)

    def keep_quotes(self, instrument_id: InstrumentId) -> None:
        """Keep the quotes of an instrument from now on."""
        if instrument_id not in self._recent:
            latest = self.quotes[instrument_id]
            self._recent[instrument_id] = deque(() if latest is None else (latest,), QUOTES_KEPT)
            self._recent_row[instrument_id] = self._upto

    def kept_since(self, instrument_id: InstrumentId) -> tuple[int, int]:
        """Return from which row on quotes of an underlying are kept, and when the oldest before was made."""
        earlier = self._recent.get(instrument_id)
        return self._recent_row.get(instrument_id, -1), earlier[0].ts_event_ns if earlier else 0

    @property
    def _upto(self) -> int:
        return 0 if self.rows is None or self.rows.rows is None else self.rows.rows.upto

    def _kept(self, instrument_id: InstrumentId) -> "deque[QuoteEvent]":
        """Return the kept quotes of an underlying, oldest first; those of rows are made when asked for."""
        kept = self._recent[instrument_id]
        if self.rows is None:
            return kept
        own = self.rows.between(instrument_id, self._recent_row[instrument_id], QUOTES_KEPT)
        return deque((*kept, *own), QUOTES_KEPT)

    def last_kept(self, instrument_id: InstrumentId, most: int) -> list[QuoteEvent]:
        """Return the last quotes of an instrument whose quotes are kept, oldest first; none of another."""
        if instrument_id not in self._recent:
            return []
        own: list[QuoteEvent] = []
        if self.rows is not None:
            own = self.rows.between(instrument_id, self._recent_row[instrument_id], most)
        kept = self._recent[instrument_id]
        return [*kept, *own][-most:] if len(own) < most else own

    def follow(self, rows: SessionRows) -> None:
        """Go on with the rows of another session, of a backtest."""
        for number in self._recent:
            self._recent[number], self._recent_row[number] = self._kept(number), 0
        if self.rows is not None:
            self.rows.follow(rows)

    def quote_in_force(self, instrument_id: InstrumentId, at_ns: int) -> QuoteEvent | None:
        """Return the quote of an underlying at an earlier instant (UTC nanoseconds).

        None where it was not quoted by then, or where that is longer ago than its kept quotes reach: those
        since :meth:`keep_quotes`.
        """
        latest = self.quotes[instrument_id]
        if latest is not None and latest.ts_event_ns <= at_ns:
            if self._before_ex and instrument_id in self._before_ex:
                ex_ns, before = self._before_ex[instrument_id]
                if at_ns < ex_ns and latest.ts_event_ns == before.ts_event_ns:
                    return before
            return latest
        return self.quotes_in_force(instrument_id, (at_ns,))[0] if instrument_id in self._recent else None

    def quotes_in_force(self, instrument_id: InstrumentId, stamps: Sequence[int]) -> list[QuoteEvent | None]:
        """Return :meth:`quote_in_force` at each of some instants."""
        if instrument_id not in self._recent:
            return [self.quote_in_force(instrument_id, at_ns) for at_ns in stamps]
        if self.rows is not None:
            found = self.rows.in_force(instrument_id, stamps, self._recent_row[instrument_id], QUOTES_KEPT)
            if found is not None:
                return found
        tail, oldest_ns = list[QuoteEvent](), min(stamps, default=0)
        for kept in reversed(self._kept(instrument_id)):
            tail.append(kept)
            if kept.ts_event_ns <= oldest_ns:
                break
        tail.reverse()
        places = (bisect_right(tail, at_ns, key=WHEN) - 1 for at_ns in stamps)
        return [tail[place] if place >= 0 else None for place in places]

    def carry_price(
        self, source: InstrumentId, target: InstrumentId, factor: float, at_ns: int, *, paid: float = 0.0
    ) -> None:
        """Carry the last price of ``source`` across a corporate action at ``at_ns`` (UTC nanoseconds), once.

        ``target`` then has it, less what is ``paid`` a unit (currency), times a factor; it keeps its time.
        Nothing changes where either was quoted since: from midnight in New York on, before the open, too.
        """
        quote, own = self.quotes[source], self.quotes[target]
        if quote is None or max(quote.ts_event_ns, 0 if own is None else own.ts_event_ns) >= _midnight(at_ns):
            return
        if self._carried.get(target, (0, None))[0] == at_ns:
            return
        self._carried[target] = at_ns, own
        self.quotes[target] = msgspec.structs.replace(
            quote, instrument_id=target, bid=(quote.bid - paid) * factor, ask=(quote.ask - paid) * factor
        )

    def is_carried_since(self, number: InstrumentId, at_ns: int) -> bool:
        """Return whether a last price was carried across what went ex after an instant, UTC nanoseconds."""
        return self._carried.get(number, (0, None))[0] > at_ns

    def apply_bar(self, bar: BarEvent) -> None:
        """Apply a closed bar."""
        self.bars[bar.instrument_id] = bar
        self._add_volume(BarEvent, bar.instrument_id, bar.volume)

    def apply_trade(self, trade: TradeEvent) -> None:
        """Apply a print."""
        self.last_trade[trade.instrument_id] = trade
        self._add_volume(TradeEvent, trade.instrument_id, trade.size)

    def _add_volume(
        self, source: type[BarEvent | TradeEvent], instrument_id: InstrumentId, volume: float
    ) -> None:
        if volume > 0.0:  # NaN and the zero of a feed without volumes are no knowledge
            key = (source, instrument_id)
            self._volumes[key] = self._volumes.get(key, 0.0) + volume

    def volume_today(self, instrument_id: InstrumentId) -> float | None:
        """Return what has traded in this session: contracts or shares; None when nothing is known of it."""
        volumes = self._volumes
        by_bars = volumes.get((BarEvent, instrument_id), 0.0)
        return max(by_bars, volumes.get((TradeEvent, instrument_id), 0.0)) or None

    def open_session(self, open_ns: int) -> None:
        """Count the session's volumes from zero; carry last prices across what goes ex at its open.

        A holding that one of them has changed has carried the price across that one already. A dividend is
        paid by now: a session whose equity had it beside a price with it would begin with a loss.
        """
        self._volumes.clear()
        self.opened_ns = open_ns
        self.changes += 1
        due = self.going_ex(open_ns)
        self.adjustments += due
        self._going_ex = [item for item in self._going_ex if item.ts_event_ns > open_ns]
        instants = {open_ns, *(item.ts_event_ns for item in due)}
        rescaled = {item.instrument_id for item in due}
        self._before_ex.clear()
        going_ex = {item.instrument_id for item in self.dividends} | rescaled
        for number in going_ex:
            last, (carried_ns, before) = self.quotes[number], self._carried.get(number, (0, None))
            if last is None or last.ts_event_ns >= open_ns:
                continue
            is_newer = before is not None and last.ts_event_ns > before.ts_event_ns
            is_before = carried_ns in instants and not is_newer
            quote = before if is_before else last
            if quote is None:
                continue
            paid = paid_between(self.dividends, number, quote.ts_event_ns, open_ns)
            bid, ask = quote.bid - paid, quote.ask - paid
            for item in due:
                if is_before and item.ts_event_ns < carried_ns:  # the price of before has it already
                    continue
                if item.instrument_id == number and quote.ts_event_ns < _midnight(item.ts_event_ns):
                    bid, ask = item.price(bid), item.price(ask)
            if (bid, ask) != (quote.bid, quote.ask):
                if paid and number not in rescaled:
                    self._before_ex[number] = open_ns, quote
                self._carried[number] = open_ns, quote
                self.quotes[number] = msgspec.structs.replace(quote, bid=bid, ask=ask)

    def apply_open_interest(self, event: OpenInterestEvent) -> None:
        """Apply the open interest of the day before."""
        self.open_interest[event.instrument_id] = event.open_interest_contracts

    def apply_rates(self, event: RateEvent) -> None:
        """Apply a rate curve."""
        self.rate_curve = RateCurve(event.days, event.rates)
        self.changes += 1

    def apply_dividend(self, event: DividendEvent) -> None:
        """Apply a declared dividend; a later one of the same ex-date corrects it.

        A live desk gets the venue's list each morning: what it knows changes nothing.
        """
        paid_then = event.instrument_id, event.ts_ex_ns
        for known in self.dividends:
            if (known.instrument_id, known.ts_ex_ns) == paid_then:
                if known.amount == event.amount:
                    return
                self.dividends.remove(known)
                break
        self.dividends.append(event)
        self.changes += 1
        for listener in self.on_dividend:
            listener(event)

    def apply_adjustment(self, event: PriceAdjustmentEvent) -> None:
        """Apply a change of the scale of an instrument's prices, from its open on, once.

        One of a session that was opened already changes nothing: a live desk gets the venue's list of the
        latest days each morning.
        """
        known = (msgspec.structs.replace(item, ts_recv_ns=event.ts_recv_ns) for item in self._going_ex)
        if event.ts_event_ns > self.opened_ns and event not in known:
            self._going_ex.append(event)

    def going_ex(self, open_ns: int) -> list[PriceAdjustmentEvent]:
        """Return the adjustments that an open at ``open_ns`` (UTC nanoseconds) brings."""
        return [item for item in self._going_ex if item.ts_event_ns <= open_ns]

    def apply_forecast(self, event: ForecastEvent) -> None:
        """Apply a volatility forecast."""
        self.forecasts[event.instrument_id] = event

    def apply_gamma_exposure(self, event: GammaExposureEvent) -> None:
        """Apply the latest dealer gamma exposure of a symbol."""
        self.gamma_exposures[event.symbol] = event

    def apply_implied_vol(self, event: ImpliedVolEvent) -> None:
        """Apply the latest 30-day implied volatility of an underlying."""
        self.implied_vols[event.instrument_id] = event

    def apply_session_bars(self, event: SessionBarsEvent) -> None:
        """Append an earlier session's bars; sessions arrive in order."""
        self.earlier_sessions.setdefault(event.instrument_id, []).append(event)

    def verdict(self, instrument_id: InstrumentId, now_ns: int) -> QuoteVerdict:
        """Return the verdict on the instrument's latest quote as of ``now_ns``.

        Of what is no option that may be one without two sides or a price, which gives no mark.
        """
        quote = self.quotes[instrument_id]
        unsound = self._unsound.get(instrument_id) if self._unsound else None
        if unsound is not None and unsound[0] is quote:
            return unsound[2]
        if quote is None:
            return QuoteVerdict.ABSENT
        verdict = judge_quote(quote.bid, quote.ask)
        if verdict not in TRADABLE:
            return verdict
        if now_ns - quote.ts_recv_ns > self._stale_ns[instrument_id]:
            return QuoteVerdict.STALE
        if self._spot_of[instrument_id] is None and self._stands_still(instrument_id):
            chains = self.bounds.chains_of(self.instruments[instrument_id].symbol)
            if any(self._tells_otherwise(instrument_id, each) for each in chains):
                return QuoteVerdict.CONTRADICTED
        return verdict

    def outdate(self, numbers: Iterable[InstrumentId], now_ns: int) -> None:
        """Make the latest quotes of instruments stale: they stay as marks until the next quotes come."""
        self.changes += 1
        for number in numbers:
            quote = self.quotes[number]
            if quote is not None:
                known_ns = min(quote.ts_recv_ns, now_ns - self._stale_ns[number] - 1)
                self.quotes[number] = msgspec.structs.replace(quote, ts_recv_ns=known_ns)

    def table(self, numbers: NDArray[np.int64]) -> QuoteTable:
        """Return the latest quotes of instruments as columns; of a number below zero as never quoted."""
        if self.rows is not None:
            return self.rows.table(numbers)
        quotes = self.quotes
        return QuoteTable.of([quotes[number] if number >= 0 else None for number in numbers.tolist()])

    def are_silent(self, numbers: NDArray[np.int64]) -> bool:
        """Return whether some instruments are known to have no quote, and to get no quote all session."""
        return self.rows is not None and self.rows.are_silent(numbers)

    def are_fine(self, table: QuoteTable, numbers: NDArray[np.int64], now_ns: int) -> NDArray[np.bool_]:
        """Return where :meth:`verdict` is good or locked: two-sided, not crossed, not stale."""
        bid, ask, _, ts_recv_ns = table
        is_fresh = now_ns - ts_recv_ns <= self._stale_column[numbers]
        return are_tradable(bid, ask) & is_fresh

    def is_lost(self, instrument_id: InstrumentId) -> bool:
        """Return whether an option's underlying was quoted long after the option, twice the stale age.

        Such a quote is of another spot, an earlier session's among them: no value is read from it.
        """
        quote, number = self.quotes[instrument_id], self._spot_of[instrument_id]
        spot = None if number is None else self.quotes[number]
        return (
            quote is not None
            and spot is not None
            and spot.ts_recv_ns - quote.ts_recv_ns > self.lost_ns[instrument_id]
        )

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Return the mark of one unit of what is no option: its mid, currency per unit.

        None when never quoted.

        Raises ArgumentError for an option: its quote may tell nothing, and :meth:`DeltaEngine.mark` knows
        what it is worth.
        """
        quote = self.quotes[instrument_id]
        if self._spot_of[instrument_id] is not None:
            raise ArgumentError(
                "quotes alone do not tell the mark of an option",
                where="instrument_id",
                value=self.instruments[instrument_id].symbol,
                fix="ask view.mark(instrument_id)",
            )
        return None if quote is None else mark_price(quote)

    def quoted_mark(self, quote: QuoteEvent) -> float:
        """Return the mark that the latest quote of an instrument gives alone, currency per unit.

        An option whose quote shows no price is worth between its sides, or its bid.
        """
        if shows_price(quote, self.widest[quote.instrument_id]) or self._spot_of[quote.instrument_id] is None:
            return mark_price(quote)
        low = max(0.0, quote.bid)
        return 0.5 * (low + quote.ask) if quote.ask > 0.0 else low
