"""The facts that the signals ask for, gathered from what the desk sees; what it cannot see stays None."""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from statistics import median, pstdev
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from scalpdesk.core.events import BarEvent, QuoteEvent
from scalpdesk.core.units import HOUR_NS, NANOS_PER_SECOND, InstrumentId, exact
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.instruments.sessions import Session, expiry_instant_ns
from scalpdesk.marketdata.bars import earlier_sessions
from scalpdesk.marketdata.dealer_gamma import NEAR_MONEY, gamma_exposure, listed_rows
from scalpdesk.plugins import MarketFacts, Scoring, SignalBar, StrikeInterest
from scalpdesk.portfolio.delta_engine import OptionValuer
from scalpdesk.signals.base import sign
from scalpdesk.signals.ema_cloud import Ema
from scalpdesk.strategies import Absent, DeskView, Timeframes, known_exposure_usd
from scalpdesk_strategies.st0ckg.config import St0ckgConfig

_MINUTE, _FIVE_MINUTES = 60, 300
_BOOK_MINUTES = 30
_LEAST_RETURNS = 10
_TREND_BARS = 5
_TREND_MARGIN = 0.10

T = TypeVar("T")


class FactsCollector:
    """Collects the facts of one underlying and its options over the session and the sessions before.

    ``view``: The desk, for the list of instruments.
    ``config``: What the signals read: their scoring, the sessions compared with, the source of dealer gamma.
    """

    def __init__(self, view: DeskView, config: St0ckgConfig) -> None:
        self._config = config
        symbol = view.instruments[view.underlying].symbol
        self.options = options_in_order(view.instruments, symbol)
        self.frames = Timeframes(
            view.underlying, (_MINUTE, _FIVE_MINUTES), kept_sessions=max(config.volume_sessions, 1)
        )
        self._exposure = _ChainExposure(symbol, self.options, view.delta_engine, config)
        self._minutes: list[SignalBar] = []
        self._minute_ends: list[int] = []
        self._spreads: deque[float] = deque(maxlen=_BOOK_MINUTES)
        self._sizes: deque[float] = deque(maxlen=_BOOK_MINUTES)
        self._sessions_taken = 0

    # feeding ------------------------------------------------------------------------------------

    def open_session(self, view: DeskView, session: Session) -> None:
        """Take the earlier sessions' bars in that came since the last one, and begin this one."""
        earlier = view.market.earlier_sessions.get(view.underlying, [])
        for before, bars in earlier_sessions(earlier[self._sessions_taken :], session.open_ns):
            self.frames.open_session(before)
            for bar in bars:
                self.frames.add_bar(bar)
            self.frames.close_session()
        self._sessions_taken = len(earlier)
        self.frames.open_session(session, view.market.adjustments)
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
        minutes = [bar for bar in closed if bar.bar_seconds == _MINUTE]
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
        volume = frames.volume_ratio(self._config.volume_sessions)
        opening_volume = frames.opening_volume_ratio(self._config.volume_sessions)
        has_book = len(self._spreads) == _BOOK_MINUTES and quote is not None
        facts = MarketFacts(
            price=spot,
            bars=tuple(self._minutes),
            volume_ratio=_known(volume),
            volume_unknown=_why_not(volume),
            vwap=_known(frames.vwap()),
            open_price=None if so_far is None else so_far.open,
            prior_high=None if before is None else before.high,
            prior_low=None if before is None else before.low,
            opening_volume_ratio=_known(opening_volume),
            opening_volume_unknown=_why_not(opening_volume),
            minute_vol=self._minute_vol(),
            spread=quote.ask - quote.bid if quote is not None and has_book else None,
            spread_median=median(self._spreads) if has_book else None,
            top_size=quote.bid_size + quote.ask_size if quote is not None and has_book else None,
            top_size_median=median(self._sizes) if has_book else None,
            strikes=self._strikes(view),
            hours_to_expiry=self._hours(view),
            volume_trend=self._volume_trend(),
        )
        if self._config.scoring is Scoring.ORIGINAL:
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
            found = self.frames.closes(_FIVE_MINUTES, count)
            if not isinstance(found, Absent):
                closes = found
                break
        if closes is None:
            return None
        short, long = ([average.update(close) for close in closes][-1] for average in (Ema(fast), Ema(slow)))
        return sign(short - long)

    def _minute_vol(self) -> float | None:
        """Standard deviation of the 1-minute returns before the last one."""
        closes = [bar.close for bar in self._minutes[:-1]]
        returns = [after / before - 1.0 for before, after in pairwise(closes)]
        return pstdev(returns) if len(returns) >= _LEAST_RETURNS else None

    def _volume_trend(self) -> str | None:
        """The last five minutes' volume against the five before: more or less by a tenth is a trend."""
        if len(self._minutes) < 2 * _TREND_BARS:
            return None
        volumes = [bar.volume for bar in self._minutes[-2 * _TREND_BARS :]]
        before, last = sum(volumes[:_TREND_BARS]), sum(volumes[_TREND_BARS:])
        if last > (1.0 + _TREND_MARGIN) * before:
            return "increasing"
        return "decreasing" if last < (1.0 - _TREND_MARGIN) * before else "neutral"

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


def _why_not(value: float | Absent) -> str:
    return value.reason if isinstance(value, Absent) else ""


_REFRESH_SECONDS = 300.0
_KEPT_SESSIONS = 60
_QUANTILE = 0.9


class _DealerExposure(NamedTuple):
    """Dealer gamma in USD per 1 %: of the whole chain and near the price; why not, where unknown."""

    total_usd: float | None
    total_p90_usd: float | None
    near_usd: float | None
    near_p90_usd: float | None
    unknown: str


class _ChainExposure:
    """Computes the exposure when asked, and remembers one value a session to compare with.

    A desk event on the configured symbol goes before the own chain for the whole exposure while it is
    fresh; near the price only the chain can say.

    ``symbol``: The underlying's; its events count where the settings name no other.
    ``options``: All options on the underlying.
    ``engine``: Values the chain.
    ``config``: Symbol, quantiles and number of sessions of the dealer gamma.
    """

    def __init__(
        self,
        symbol: str,
        options: Sequence[tuple[InstrumentId, OptionContract]],
        engine: OptionValuer,
        config: St0ckgConfig,
    ) -> None:
        self._config = config
        self._symbol = config.exposure_symbol or symbol
        self._options = options
        self._engine = engine
        self._totals: deque[float] = deque(maxlen=_KEPT_SESSIONS)
        self._nears: deque[float] = deque(maxlen=_KEPT_SESSIONS)
        self._noted: Session | None = None
        self._chain_ns = 0
        self._chain: tuple[float | None, str] = (None, "")

    def read(self, view: DeskView, spot: float) -> _DealerExposure:
        """Return the exposure as of now at an underlying of ``spot``."""
        event = view.market.gamma_exposures.get(self._symbol)
        oldest = view.market.max_exposure_seconds
        total, why = known_exposure_usd(event, view.now_ns, max_age_seconds=oldest), ""
        near = None
        if event is None or total is None:
            total, why = self._of_chain(view, spot)
        else:
            near = _finite(event.near_usd)
        if near is None:
            near, why_near = self._sum(view, spot, NEAR_MONEY)
            why = why or why_near
        if self._noted != view.session and total is not None and near is not None:
            self._noted = view.session
            self._totals.append(abs(total))
            self._nears.append(abs(near))
        # what is usual does not age within a session, however old the word that brought it
        usual = None if event is None else _finite(event.usual_usd)
        near_usual = None if event is None else _finite(event.near_usual_usd)
        return _DealerExposure(
            total,
            self._config.exposure_p90_usd or usual or self._quantile(self._totals),
            near,
            self._config.near_exposure_p90_usd or near_usual or self._quantile(self._nears),
            why,
        )

    def _of_chain(self, view: DeskView, spot: float) -> tuple[float | None, str]:
        """Sum the whole chain, at most every five minutes."""
        if not self._chain_ns or view.now_ns - self._chain_ns >= _REFRESH_SECONDS * NANOS_PER_SECOND:
            self._chain_ns = view.now_ns
            self._chain = self._sum(view, spot, None)
        return self._chain

    def _sum(self, view: DeskView, spot: float, within: float | None) -> tuple[float | None, str]:
        """Sum the chain, or its strikes within a fraction of ``spot``; None with the reason."""
        assert view.session is not None
        interest, quotes = view.market.open_interest, view.market.quotes
        listed = [
            (number, contract)
            for number, contract in self._options
            if contract.expiry >= view.session.day
            and (number in interest or quotes[number] is not None)  # else listed on a later day
            and (within is None or abs(float(contract.strike) - spot) <= within * spot)
        ]
        if not listed:
            return None, "no options are listed near the price" if within else "no options are listed"
        self._engine.follow([number for number, _ in listed], view.now_ns)
        rows = listed_rows(listed, [self._gamma(number, view.now_ns) for number, _ in listed], interest)
        made = gamma_exposure(rows, spot)
        return made.net_usd, made.reason

    def _gamma(self, number: InstrumentId, now_ns: int) -> float:
        state = self._engine.state(number, now_ns)
        return state.greeks.gamma if state is not None and state.vol_is_fresh else float("nan")

    def _quantile(self, history: deque[float]) -> float | None:
        """Return the 90 % quantile of what earlier sessions showed; None while there are too few."""
        # the session under way is in it once it has been noted, and is left out: it compares with itself
        earlier = list(history)[:-1]
        if len(earlier) < self._config.exposure_sessions:
            return None
        return float(np.quantile(np.array(earlier), _QUANTILE))


def _finite(value: float) -> float | None:
    return value if -1e300 < value < 1e300 else None
