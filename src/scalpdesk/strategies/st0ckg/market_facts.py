"""The facts that the signals ask for, gathered from what the desk sees; what it cannot see stays None."""

from collections import deque
from datetime import date
from decimal import Decimal
from itertools import pairwise
from statistics import median, pstdev
from typing import TypeVar

import msgspec

from scalpdesk.core.events import BarEvent, QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, exact
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.instruments.sessions import Session, expiry_instant_ns
from scalpdesk.marketdata.bars import Absent, Timeframes
from scalpdesk.signals.base import MarketFacts, Scoring, SignalBar, StrikeInterest, sign
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.st0ckg.exposure_watch import ChainExposure

MINUTE, FIVE_MINUTES = 60, 300
BOOK_MINUTES = 30
LEAST_RETURNS = 10
TREND_BARS = 5
TREND_MARGIN = 0.10
HOUR_NS = 3600 * NANOS_PER_SECOND

T = TypeVar("T")


class FactsCollector:
    """Collects the facts of one underlying and its options over the session and the ones before.

    Parameters
    ----------
    view
        The desk, for the list of instruments.
    scoring
        Whether the original signals are asked: they read other facts.
    volume_sessions
        Earlier sessions that a volume is compared with.
    exposure_symbol
        Symbol of the dealer gamma; empty for the underlying's own.
    exposure_p90_usd, near_exposure_p90_usd, exposure_sessions
        As of :class:`~scalpdesk.strategies.st0ckg.exposure_watch.ChainExposure`.
    """

    def __init__(
        self,
        view: DeskView,
        *,
        scoring: Scoring,
        volume_sessions: int,
        exposure_symbol: str,
        exposure_p90_usd: float | None,
        near_exposure_p90_usd: float | None,
        exposure_sessions: int,
    ) -> None:
        self._scoring = scoring
        self._volume_sessions = volume_sessions
        symbol = view.instruments[view.underlying].symbol
        self.options = options_in_order(view.instruments, symbol)
        self.frames = Timeframes(
            view.underlying, (MINUTE, FIVE_MINUTES), kept_sessions=max(volume_sessions, 1)
        )
        self._exposure = ChainExposure(
            exposure_symbol or symbol,
            self.options,
            view.delta_engine.observer(),
            p90_usd=exposure_p90_usd,
            near_p90_usd=near_exposure_p90_usd,
            least_sessions=exposure_sessions,
        )
        self._minutes: list[SignalBar] = []
        self._minute_ends: list[int] = []
        self._spreads: deque[float] = deque(maxlen=BOOK_MINUTES)
        self._sizes: deque[float] = deque(maxlen=BOOK_MINUTES)
        self._sessions_taken = 0

    # feeding ------------------------------------------------------------------------------------

    def open_session(self, view: DeskView, session: Session) -> None:
        """Take the earlier sessions' bars in that came since the last one, and begin this one."""
        earlier = view.market.earlier_sessions.get(view.underlying, [])
        for item in earlier[self._sessions_taken :]:
            if item.close_ns > session.open_ns:
                continue
            self.frames.open_session(Session(date.fromisoformat(item.session), item.open_ns, item.close_ns))
            columns = zip(item.ends_ns, item.open, item.high, item.low, item.close, item.volume, strict=True)
            for end_ns, opened, high, low, close, volume in columns:
                self.frames.add_bar(
                    BarEvent(
                        view.underlying, end_ns, end_ns, item.bar_seconds, opened, high, low, close, volume
                    )
                )
            self.frames.close_session()
        self._sessions_taken = len(earlier)
        self.frames.open_session(session)
        self._minutes.clear()
        self._minute_ends.clear()
        self._spreads.clear()
        self._sizes.clear()

    def close_session(self) -> None:
        """End the session."""
        self.frames.close_session()

    def add(self, view: DeskView, event: BarEvent | QuoteEvent) -> bool:
        """Take a bar or a quote of the underlying in; return whether a minute closed with it."""
        closed = self.frames.add_bar(event) if isinstance(event, BarEvent) else self.frames.add_quote(event)
        minutes = [bar for bar in closed if bar.bar_seconds == MINUTE]
        for bar in minutes:
            self._note(view, bar)
        return bool(minutes)

    def _note(self, view: DeskView, bar: BarEvent) -> None:
        while self._minute_ends and self._minute_ends[-1] >= bar.ts_event_ns:
            # a better source began the session afresh: what the lesser one gave is replaced
            self._minute_ends.pop()
            self._minutes.pop()
        self._minute_ends.append(bar.ts_event_ns)
        self._minutes.append(
            SignalBar(bar.open, bar.high, bar.low, bar.close, bar.volume, _known(self.frames.vwap()))
        )
        quote = view.market.quotes[view.underlying]
        if quote is not None and quote.ask > quote.bid > 0.0:
            self._spreads.append(quote.ask - quote.bid)
            self._sizes.append(quote.bid_size + quote.ask_size)

    # reading ------------------------------------------------------------------------------------

    def facts(self, view: DeskView, spot: float) -> MarketFacts:
        """Return what is known as of now at a price of the underlying of ``spot``."""
        frames = self.frames
        so_far, before = _known(frames.session_range()), _known(frames.prior_session())
        quote = view.market.quotes[view.underlying]
        has_book = len(self._spreads) == BOOK_MINUTES and quote is not None
        facts = MarketFacts(
            price=spot,
            bars=tuple(self._minutes),
            volume_ratio=_known(frames.volume_ratio(self._volume_sessions)),
            vwap=_known(frames.vwap()),
            open_price=None if so_far is None else so_far.open,
            prior_high=None if before is None else before.high,
            prior_low=None if before is None else before.low,
            opening_volume_ratio=_known(frames.opening_volume_ratio(self._volume_sessions)),
            minute_vol=self._minute_vol(),
            spread=quote.ask - quote.bid if quote is not None and has_book else None,
            spread_median=median(self._spreads) if has_book else None,
            top_size=quote.bid_size + quote.ask_size if quote is not None and has_book else None,
            top_size_median=median(self._sizes) if has_book else None,
            strikes=self._strikes(view),
            hours_to_expiry=self._hours(view),
            volume_trend=self._volume_trend(),
        )
        if self._scoring is Scoring.ORIGINAL:
            held = view.delta_engine.position_greeks(view.positions.held(), view.now_ns)
            return msgspec.structs.replace(facts, own_delta_shares=held.net_delta_shares)
        exposure = self._exposure.read(view, spot)
        return msgspec.structs.replace(
            facts,
            exposure_usd=exposure.total_usd,
            exposure_p90_usd=exposure.total_p90_usd,
            near_exposure_usd=exposure.near_usd,
            near_exposure_p90_usd=exposure.near_p90_usd,
            exposure_unknown=exposure.unknown,
        )

    def trend(self, fast: int, slow: int) -> int | None:
        """Return the sign of the fast less the slow average of 5-minute closes; None with too few.

        Exponential averages with weight 2/(period+1), begun with the oldest close that is kept; bars
        of earlier sessions count.
        """
        closes: tuple[float, ...] | None = None
        for count in (4 * slow, slow):  # four periods where there are so many: then the seed has faded
            found = self.frames.closes(FIVE_MINUTES, count)
            if not isinstance(found, Absent):
                closes = found
                break
        if closes is None:
            return None
        averages = []
        for period in (fast, slow):
            weight, average = 2.0 / (period + 1.0), closes[0]
            for close in closes[1:]:
                average += weight * (close - average)
            averages.append(average)
        return sign(averages[0] - averages[1])

    def _minute_vol(self) -> float | None:
        """Standard deviation of the 1-minute returns before the last one."""
        closes = [bar.close for bar in self._minutes[:-1]]
        returns = [after / before - 1.0 for before, after in pairwise(closes)]
        return pstdev(returns) if len(returns) >= LEAST_RETURNS else None

    def _volume_trend(self) -> str | None:
        """The last five minutes' volume against the five before: more or less by a tenth is a trend."""
        if len(self._minutes) < 2 * TREND_BARS:
            return None
        volumes = [bar.volume for bar in self._minutes[-2 * TREND_BARS :]]
        before, last = sum(volumes[:TREND_BARS]), sum(volumes[TREND_BARS:])
        if last > (1.0 + TREND_MARGIN) * before:
            return "increasing"
        return "decreasing" if last < (1.0 - TREND_MARGIN) * before else "neutral"

    def _strikes(self, view: DeskView) -> tuple[StrikeInterest, ...] | None:
        """Open interest of today's expiry; None when nothing expires today or nothing is known of it."""
        assert view.session is not None
        counts: dict[float, list[int]] = {}
        known = view.market.open_interest
        for number, contract in self.options:
            if contract.expiry == view.session.day and number in known:
                row = counts.setdefault(float(contract.strike), [0, 0])
                row[0 if contract.is_call else 1] += known[number]
        rows = tuple(StrikeInterest(strike, calls, puts) for strike, (calls, puts) in sorted(counts.items()))
        return rows or None

    def _hours(self, view: DeskView) -> float | None:
        assert view.session is not None
        for _, contract in self.options:
            if contract.expiry == view.session.day:
                return max(expiry_instant_ns(contract) - view.now_ns, 0) / HOUR_NS
        return None


def invalid_levels(facts: MarketFacts) -> tuple[Decimal | None, Decimal | None]:
    """Return the prices below (above) which a bullish (bearish) reason no longer holds."""
    lows = [low for low in (facts.prior_low, facts.overnight_low) if low is not None]
    highs = [high for high in (facts.prior_high, facts.overnight_high) if high is not None]
    return exact(min(lows)) if lows else None, exact(max(highs)) if highs else None


def _known(value: T | Absent) -> T | None:
    return None if isinstance(value, Absent) else value
