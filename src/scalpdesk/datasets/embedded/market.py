"""Embedded market: reconstructed sessions of two index shares and their options around daily figures.

Recorded are open, high, low, close of the S&P 500 and the NASDAQ Composite (SPY and QQQ are a tenth and a
fortieth of them) and the closing level of the VIX. Everything else is drawn, deterministically by session
and seed, from the models in ``path``, ``surface`` and ``chain`` with the measured constants of ``days``.
Results show the tape's ``kind = "reconstructed"``.
"""

import ast
import fcntl
import hashlib
import os
import shutil
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.enums import Quality
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.events import SessionBarsEvent
from scalpdesk.core.units import DAY_SECONDS, NANOS_PER_MS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.datasets.embedded import EMBEDDED
from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded.chain import (
    Carry,
    SharePath,
    StrikePair,
    build_pairs,
    checked_expiries,
    expiries_and_strikes,
    listed_expiries,
    open_interest,
    option_quotes,
    strike_pair,
)
from scalpdesk.datasets.embedded.days import (
    MarketDay,
    available_sessions,
    index_rows,
    index_share,
    market_day,
    us_date,
)
from scalpdesk.datasets.embedded.kernels import persistent
from scalpdesk.datasets.embedded.path import Leader, SessionCents, UnderlyingPath, draw_path, u_shape
from scalpdesk.datasets.embedded.quality import disturbed
from scalpdesk.datasets.embedded.surface import log_vix_at_open, money_variance_from_vix, vix_path
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import Session, session_on
from scalpdesk.marketdata.tape import (
    BarColumns,
    CashDividend,
    LazyBars,
    LazyQuotes,
    MarketTape,
    Morning,
    QuoteColumns,
    RateCurve,
)
from scalpdesk.volatility.variance_time import EMBEDDED_SESSIONS

__all__ = [
    "SessionOhlc",
    "available_sessions",
    "reconstruct",
    "reconstruct_bars",
    "reconstruct_span",
    "session_cents",
    "session_ohlc",
]

RECONSTRUCTED = "reconstructed"
_BAR_SECONDS = 60

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SessionOhlc:
    """Open, high, low and close of one session, exact."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


def reconstruct(
    session: date,
    *,
    seed: int = 1,
    underlying: str = "SPY",
    expiries: Sequence[date] | None = None,
    quote_seconds: float = 1.0,
    quality: Quality = "clean",
) -> MarketTape:
    """Build the embedded market of one session.

    ``session``: A session with packaged daily figures; see :func:`available_sessions`.
    ``seed``: Seed of the path; the four recorded prices and the closing VIX are the same for all.
    ``underlying``: ``SPY`` or ``QQQ``. With one seed the second one's path moves with the first one's.
    ``expiries``: Option expiries; by default those of
    :func:`~scalpdesk.datasets.embedded.chain.listed_expiries`.
    ``quote_seconds``: Mean time between two quotes of the share; those of the options scale with it.
    ``quality``: ``real`` disturbs the quotes as often as recorded quotes were; see
    :mod:`~scalpdesk.datasets.embedded.quality`.

    One session; equal arguments give the same bytes. The quote mids of the share and its 1-minute
    trade bars both start at the day's recorded open, touch its high and low and end at its close: index
    levels over ten or forty, rounded to the cent.

    Raises DataError when the session is not in the embedded market. Raises ArgumentError when another
    argument is out of range.
    """
    _check(seed, underlying, quote_seconds, quality)
    day = market_day(session, underlying)
    hours = session_on(session)
    listed = checked_expiries(session, expiries)
    drawn = _DrawnSession(session, seed, underlying)
    opening = float(drawn.path.mid[0]), float(drawn.money_variance[0])
    pairs = build_pairs(underlying, session, listed, *opening)
    instruments = Instruments([Equity(underlying)])
    for pair in pairs:
        instruments.add(pair.call)
        instruments.add(pair.put)
    columns = drawn.columns(pairs, quote_seconds)
    quotes, bars = _with_faults(columns, hours, seed, underlying, 2 * len(pairs), quality)
    return MarketTape(
        name=EMBEDDED,
        kind=RECONSTRUCTED,
        underlying=underlying,
        sessions=(hours,),
        instruments=instruments,
        quotes=quotes,
        bars=bars,
        open_interest=open_interest(drawn.for_chain, pairs, session, *opening),
        variance_clock=EMBEDDED_SESSIONS.name,
        settlement_prices={(underlying, session): session_cents(day).close / 100.0},
        quote_seconds=figures.MONTHLY_UPDATE_SECONDS * quote_seconds,
        notes=(*_notes(day, seed), *_QUALITY_NOTES[quality]),
        quality=quality,
    )


_LISTED_AHEAD_DAYS = 100
"""Calendar days within which a strike that is still listed was listed first."""


def reconstruct_span(
    start: date, end: date, *, seed: int = 1, underlying: str = "SPY", quality: Quality = "clean"
) -> MarketTape:
    """Build the embedded market of consecutive sessions, with the nights between them.

    A session's path, VIX and bars are those of the lone session (:func:`reconstruct`) with the dividend that
    the share has accrued on top. A strike once listed stays until its expiry, so that each session has the
    strikes that the hundred days before it have listed; its quotes are the same in every span. Options are
    quoted with the session's rate and the share's next dividend.

    ``underlying`` is ``SPY`` or ``QQQ``, which pays no dividend here; seed and quality count as for a lone
    session.

    Its quotes and bars are drawn when a session is read, and kept in :func:`cache_folder`. Raises
    DataError when the embedded market has no session between the two days, or does not reach to one of them.
    Raises ArgumentError when another argument is out of range.
    """
    _check(seed, underlying, 1.0, quality)
    every = available_sessions()
    days = [day for day in every if start <= day <= end]
    for day in (start, end):
        if not days or not every[0] <= day <= every[-1]:
            market_day(day)  # refuses a day that is not there
    sessions = tuple(session_on(day) for day in days)
    instruments = Instruments([Equity(underlying)])
    first_id: dict[StrikePair, int] = {}
    places: dict[date, NDArray[np.int32]] = {}
    options: dict[date, int] = {}
    for day in days:
        pairs = listed_pairs(day, underlying)
        for pair in pairs:
            if pair not in first_id:
                first_id[pair] = instruments.add(pair.call)
                instruments.add(pair.put)
        options[day] = 2 * len(pairs)
        calls = np.array([first_id[pair] for pair in pairs], dtype=np.int32)
        places[day] = np.concatenate(([np.int32(0)], np.column_stack((calls, calls + 1)).ravel()))

    @lru_cache(maxsize=2)
    def drawn(day: date) -> tuple[QuoteColumns, BarColumns]:
        after = bisect_right(days, day)
        ahead = days[after : after + _DRAWN_AHEAD]
        columns = SessionCache(cache_folder(), _drawn).read(day, seed, underlying, ahead)
        return _with_faults(columns, session_on(day), seed, underlying, options[day], quality)

    def quotes(session: Session) -> QuoteColumns:
        own = drawn(session.day)[0]
        return replace(own, instrument_id=places[session.day][own.instrument_id])

    prices = [
        session_cents(market_day(day, underlying), figures.accrued_cents(day, underlying)) for day in days
    ]
    edges = (
        prices[0].open / 100.0,
        max(each.high for each in prices) / 100.0,
        min(each.low for each in prices) / 100.0,
        prices[-1].close / 100.0,
    )
    return MarketTape(
        name=EMBEDDED,
        kind=RECONSTRUCTED,
        underlying=underlying,
        sessions=sessions,
        instruments=instruments,
        quotes=LazyQuotes(sessions, quotes),
        variance_clock=EMBEDDED_SESSIONS.name,
        bars=LazyBars(sessions, lambda session: drawn(session.day)[1], {0: edges}),
        dividends=tuple(
            CashDividend(underlying, ex_date, Decimal(str(amount)))
            for ex_date, amount in figures.SPY_DIVIDENDS_USD
            if underlying == "SPY" and days[0] < ex_date <= days[-1]
        ),
        rate_curve=_rate_curve(days[0]),
        settlement_prices={
            (underlying, day): each.close / 100.0 for day, each in zip(days, prices, strict=True)
        },
        quote_seconds=figures.MONTHLY_UPDATE_SECONDS,
        notes=(*_span_notes(seed, underlying), *_QUALITY_NOTES[quality]),
        quality=quality,
        morning=partial(_morning, underlying, days[0], seed),
    )


def listed_pairs(session: date, symbol: str = "SPY") -> tuple[StrikePair, ...]:
    """Return the strikes that are listed on ``session`` where sessions follow one another.

    By expiry and strike: what this session and those of the hundred days before it list, less what expired.
    Each listing rests on that session's opening price and VIX, so that nothing later is in it.
    """
    since = session - timedelta(days=_LISTED_AHEAD_DAYS)
    days = available_sessions()
    recent = days[bisect_left(days, since) : bisect_right(days, session)]
    listed = {item for day in recent for item in _newly_listed(day, symbol) if item[0] >= session}
    return tuple(strike_pair(symbol, expiry, strike) for expiry, strike in sorted(listed))


@lru_cache(maxsize=512)
def _newly_listed(session: date, symbol: str) -> tuple[tuple[date, int], ...]:
    return tuple(expiries_and_strikes(session, listed_expiries(session), *_opening(session, symbol)))


def _opening(session: date, symbol: str) -> tuple[float, float]:
    """Return the share's price at the open in US dollars, and the variance at the money of its options."""
    day = market_day(session, symbol)
    open_usd = (session_cents(day).open + figures.accrued_cents(session, symbol)) / 100.0
    return open_usd, float(money_variance_from_vix(np.exp(np.array([log_vix_at_open(day)])))[0])


def _rate_curve(session: date) -> RateCurve:
    return RateCurve((1.0,), (figures.rate_on(session),))


def _morning(underlying: str, first: date, seed: int, session: Session) -> Morning:
    """Return what is published before a session: rate, open interest, the next dividend once it is known."""
    pairs = listed_pairs(session.day, underlying)
    shocks = {
        contract.symbol: shock
        for pair in pairs
        for contract, shock in zip((pair.call, pair.put), _open_interest_shocks(pair, seed), strict=True)
    }
    nobody = np.random.Generator(np.random.PCG64(0))  # every contract has its own shock
    held = open_interest(nobody, pairs, session.day, *_opening(session.day, underlying), shocks)
    (last, _), (coming, amount) = figures.dividends_around(session.day)
    # the next dividend is taken as known from the ex-date before it: estimates of it are close
    is_news = underlying == "SPY" and session.day in {first, last}
    declared = (CashDividend(underlying, coming, Decimal(str(amount))),) if is_news else ()
    return Morning(_rate_curve(session.day), held, declared)


@lru_cache(maxsize=2_048)
def _open_interest_shocks(pair: StrikePair, seed: int) -> tuple[float, float]:
    """Return what sets the open interest of call and put apart from the usual, for their whole life."""
    stream = np.random.SeedSequence(
        [pair.expiry.toordinal(), round(pair.strike), seed, *_stream_of(pair.call.underlying)]
    )
    first, second = np.random.Generator(np.random.PCG64(stream)).standard_normal(2).tolist()
    return first, second


def _drawn(session: date, seed: int, symbol: str) -> tuple[QuoteColumns, BarColumns]:
    """Draw quotes and bars of a session among others; its instruments are numbered as they are listed."""
    drawn = _DrawnSession(session, seed, symbol)
    drawn.accrue()
    _, (coming, amount) = figures.dividends_around(session)
    paid = amount if symbol == "SPY" else 0.0
    return drawn.columns(listed_pairs(session, symbol), 1.0, Carry(figures.rate_on(session), coming, paid))


@lru_cache(maxsize=4)
def _path(session: date, seed: int, symbol: str) -> UnderlyingPath:
    """Draw a share's path; that of QQQ moves with SPY's of the same seed."""
    day, hours = market_day(session, symbol), session_on(session)
    leader = None
    if symbol != "SPY":
        leader = Leader(_path(session, seed, "SPY"), figures.NASDAQ_CORRELATION)
    seconds = (hours.close_ns - hours.open_ns) // NANOS_PER_SECOND
    generator = _generators(session, seed, symbol)[0]
    return draw_path(generator, seconds, session_cents(day), day.garman_klass_variance, leader)


class _DrawnSession:
    """A session's path, its VIX, and the streams of what is still to draw."""

    def __init__(self, session: date, seed: int, symbol: str) -> None:
        self.day, self.hours = market_day(session, symbol), session_on(session)
        self._accrued_cents = figures.accrued_cents(session, symbol)
        seconds = (self.hours.close_ns - self.hours.open_ns) // NANOS_PER_SECOND
        _, self.for_share, for_level, self.for_chain = _generators(session, seed, symbol)
        self.path = _path(session, seed, symbol)
        self.stamps = _stamps(self.for_share, self.hours, seconds)
        self.vix = vix_path(for_level, self.day, self.path)
        self.money_variance = money_variance_from_vix(self.vix)

    def accrue(self) -> None:
        """Put the dividend on top that the share has accrued: the scale of sessions in sequence."""
        path, more = self.path, self._accrued_cents
        self.path = replace(path, bid_cents=path.bid_cents + more, ask_cents=path.ask_cents + more)

    def share(self, quote_seconds: float) -> tuple[Ints, QuoteColumns, BarColumns]:
        """Draw the seconds with a quote of the share, its quotes and its bars."""
        shown, quotes = _share_quotes(self.for_share, self.path, self.stamps, quote_seconds)
        return shown, quotes, _bars(self.for_share, self.path, self.hours, self.day)

    def columns(
        self, pairs: Sequence[StrikePair], quote_seconds: float, carry: Carry | None = None
    ) -> tuple[QuoteColumns, BarColumns]:
        """Draw all quotes and the bars; pair i has ids 1 + 2·i (call) and 2 + 2·i (put)."""
        shown, quotes, bars = self.share(quote_seconds)
        known = SharePath(
            self.stamps[shown], self.path.mid[shown], self.money_variance[shown], self.vix[shown]
        )
        options = option_quotes(self.for_chain, self.hours, pairs, known, 1, quote_seconds, carry)
        return _merged(quotes, options), bars


def cache_folder() -> Path:
    """Return the folder of drawn sessions: in ``XDG_CACHE_HOME``, by the code that draws them."""
    usual = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "scalpdesk" / f"embedded-{_code_digest()}"


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Return the digest of the code that draws sessions: another version draws its own.

    Comments and docstrings are left out: a change of them changes no drawn session.
    """
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.name.encode() + without_docstrings(path.read_text(encoding="utf-8")).encode())
    return found.hexdigest()[:12]


def without_docstrings(source: str) -> str:
    """Return the syntax tree of Python source as text, without docstrings, comments and places."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.__dict__["body"] = [
                each
                for each in body
                if not (
                    isinstance(each, ast.Expr)
                    and isinstance(each.value, ast.Constant)
                    and isinstance(each.value.value, str)
                )
            ]
    return ast.dump(tree)


_UNUSED_SECONDS = 30 * DAY_SECONDS
"""Age at which the sessions that another version drew are removed."""


_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


_DRAWN_AHEAD = 8
"""Sessions ahead among which one is drawn while another process draws the wanted one."""


DrawnColumns = tuple[QuoteColumns, BarColumns]
"""Quotes and minute bars of a session."""


class SessionCache:
    """Drawn sessions on disk. A cache that fails is done without.

    ``folder``: Made when the first session is drawn; folders beside it that no version has used for a month
    go.
    ``draw``: Draws the session of a day, a seed and a symbol.
    """

    def __init__(self, folder: Path, draw: Callable[[date, int, str], DrawnColumns]) -> None:
        self._folder = folder
        self._draw = draw

    def read(self, session: date, seed: int, symbol: str, later: Sequence[date] = ()) -> DrawnColumns:
        """Read a session, or draw it and keep it.

        Parallel runs over the same sessions draw each once: where another process draws this one, the next of
        the ``later`` sessions that is free is drawn meanwhile.
        """
        path = self._path(session, seed, symbol)
        found = _read_kept(path, session)
        if found is not None:
            return found
        with self._right_to_draw(path, waits=False) as is_mine:
            if is_mine:
                return _read_kept(path, session) or self._drawn(path, session, seed, symbol)
        for day in later:
            ahead = self._path(day, seed, symbol)
            with self._right_to_draw(ahead, waits=False) as is_mine:
                if is_mine and not ahead.exists():
                    self._drawn(ahead, day, seed, symbol)
                    break
        with self._right_to_draw(path, waits=True):
            return _read_kept(path, session) or self._drawn(path, session, seed, symbol)

    def _path(self, session: date, seed: int, symbol: str) -> Path:
        return self._folder / str(seed) / f"{symbol}-{session}.npz"

    def _make_folder(self) -> None:
        """Make the folder; as it begins, remove those of versions that draw no more."""
        folder = self._folder
        if folder.is_dir():
            return
        folder.mkdir(parents=True)
        now = folder.stat().st_mtime
        for other in folder.parent.glob("embedded-*"):
            used = max(each.stat().st_mtime for each in (other, *other.iterdir()))
            if now - used > _UNUSED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)

    @contextmanager
    def _right_to_draw(self, path: Path, *, waits: bool) -> Iterator[bool]:
        """Lock a session of the cache for drawing; yield whether this process may draw it."""
        lock = path.with_suffix(".lock")
        with ExitStack() as opened:
            is_mine = True  # without a cache every process draws for itself
            with suppress(OSError):
                self._make_folder()
                lock.parent.mkdir(parents=True, exist_ok=True)
                file = opened.enter_context(lock.open("wb"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
                    opened.callback(lock.unlink, missing_ok=True)
                except BlockingIOError:
                    is_mine = False
            yield is_mine

    def _drawn(self, path: Path, session: date, seed: int, symbol: str) -> DrawnColumns:
        open_ns = session_on(session).open_ns
        quotes, bars = self._draw(session, seed, symbol)
        columns: dict[str, NDArray[Any]] = {
            "milliseconds": np.diff((quotes.ts_ns - open_ns) // NANOS_PER_MS, prepend=0).astype(np.int32),
            "instrument_id": quotes.instrument_id.astype(np.int16),
            "bid_cents": np.rint(quotes.bid * 100.0).astype(np.int32),
            "ask_cents": np.rint(quotes.ask * 100.0).astype(np.int32),
            "bid_size": quotes.bid_size.astype(np.int32),
            "ask_size": quotes.ask_size.astype(np.int32),
        }
        columns |= {f"bar_{column.name}": getattr(bars, column.name) for column in fields(bars)}
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.stem}.{os.getpid()}.npz")
            try:
                np.savez(unfinished, allow_pickle=False, **columns)
                unfinished.replace(path)
            except OSError:
                unfinished.unlink(missing_ok=True)  # on a full disk it holds what was free
                raise
        return quotes, bars


def _read_kept(path: Path, session: date) -> DrawnColumns | None:
    open_ns = session_on(session).open_ns
    with suppress(*_DAMAGE), path.open("rb") as file, np.load(file) as kept:
        stamps = open_ns + np.cumsum(kept["milliseconds"], dtype=np.int64) * NANOS_PER_MS
        bid = np.maximum(kept["bid_cents"], 0) / 100.0  # -1 in files of older versions
        sizes = (kept[name].astype(np.float64) for name in ("bid_size", "ask_size"))
        ids = kept["instrument_id"].astype(np.int32)
        bars = BarColumns(*(kept[f"bar_{column.name}"] for column in fields(BarColumns)))
        return QuoteColumns(stamps, ids, bid, kept["ask_cents"] / 100.0, *sizes), bars
    return None


def reconstruct_bars(
    session: date, *, seed: int = 1, underlying: str = "SPY", in_span: bool = False
) -> BarColumns:
    """Return the 1-minute bars of :func:`reconstruct` for a session and seed, without the options.

    This takes a tenth of the time. ``in_span``: Those of :func:`reconstruct_span`, with the dividend that has
    accrued. Raises DataError when the session is not in the embedded market. Raises ArgumentError when the
    seed is out of range.
    """
    _check(seed, underlying, 1.0)
    drawn = _DrawnSession(session, seed, underlying)
    if in_span:
        drawn.accrue()
    return drawn.share(1.0)[2]


def _stream_of(symbol: str) -> tuple[int, ...]:
    """Return the part of the seed that belongs to a share: empty for the first, its number for others."""
    place = list(figures.SHARES).index(symbol)
    return (place,) if place else ()


def _generators(session: date, seed: int, symbol: str) -> list[np.random.Generator]:
    """Return the random streams of a session: path, share, level of volatility, chain."""
    streams = np.random.SeedSequence([session.toordinal(), seed, *_stream_of(symbol)]).spawn(4)
    return [np.random.Generator(np.random.PCG64(stream)) for stream in streams]


def session_cents(day: MarketDay, more: int = 0) -> SessionCents:
    """Return the four recorded prices of the share: its part of the index in whole cents (half to even).

    ``more``: Cents on top, as of a dividend that it holds.
    """
    levels = (day.open, day.high, day.low, day.close)
    return SessionCents(*(round(level * 100 / day.share.points_per_dollar) + more for level in levels))


def session_ohlc(tape: MarketTape) -> tuple[SessionOhlc, ...]:
    """Return open, high, low and close of the underlying for each session of a tape.

    From its trade bars if it has any, else from the mids of its two-sided quotes. Raises DataError when a
    session of the tape has neither.
    """
    share = tape.instruments.id_of(tape.underlying)
    return tuple(_ohlc_of(tape, share, session) for session in tape.sessions)


def _ohlc_of(tape: MarketTape, share: InstrumentId, session: Session) -> SessionOhlc:
    if tape.bars is not None:
        found = tape.bars.between(session.open_ns + 1, session.close_ns).edges_of(share)
        if found is not None:
            return SessionOhlc(*(Decimal(f"{edge:.2f}") for edge in found))
    _, mids = tape.quotes.between(session.open_ns, session.close_ns).mids(share)
    if not len(mids):
        raise DataError(
            f"{tape.underlying} has neither a trade bar nor a two-sided quote in this session",
            where=tape.name,
            value=session.day.isoformat(),
        )
    edges = (mids[0], mids.max(), mids.min(), mids[-1])
    return SessionOhlc(*(Decimal(f"{float(edge):.4f}") for edge in edges))


def _check(seed: int, underlying: str, quote_seconds: float, quality: Quality = "clean") -> None:
    index_share(underlying)
    if not 0 <= seed < 2**63:
        raise ArgumentError(
            "a seed is a whole number from 0 to 2^63 - 1", where="seed", value=seed, fix="choose one, as 1"
        )
    if not 1.0 <= quote_seconds <= 60.0:
        raise ArgumentError(
            "the share is quoted every 1 to 60 seconds", where="quote_seconds", value=quote_seconds
        )
    if quality not in _QUALITY_NOTES:
        raise ArgumentError(
            "the embedded market has no such quotes", where="quality", value=quality, fix="clean or real"
        )


def _stamps(generator: np.random.Generator, hours: Session, seconds: int) -> Ints:
    """Draw the instant at which each second's quote is known: within the second, never after the close."""
    offset_ms = generator.integers(1, 999, size=seconds + 1)
    stamps = (
        hours.open_ns + np.arange(seconds + 1, dtype=np.int64) * NANOS_PER_SECOND + offset_ms * NANOS_PER_MS
    )
    stamps[0] = hours.open_ns
    stamps[-1] = hours.close_ns - NANOS_PER_MS
    return np.asarray(stamps, dtype=np.int64)


def _share_quotes(
    generator: np.random.Generator, path: UnderlyingPath, stamps: Ints, quote_seconds: float
) -> tuple[Ints, QuoteColumns]:
    """Draw the seconds with a quote of the share, and the quotes."""
    count = len(stamps)
    keep = generator.random(count) < figures.UNDERLYING_QUOTE_PROBABILITY / quote_seconds
    keep[path.anchors] = True
    sizes = []
    for _ in range(2):
        memory = figures.UNDERLYING_SIZE_PERSISTENCE
        shocks = generator.standard_normal(count) * np.sqrt(1.0 - memory**2)
        shocks[0] /= np.sqrt(1.0 - memory**2)
        shares = figures.UNDERLYING_SIZE_MEDIAN_SHARES * np.exp(
            figures.UNDERLYING_SIZE_LOG_SD * persistent(shocks, memory)
        )
        sizes.append(np.maximum(np.rint(shares / 100.0), 1.0) * 100.0)
    shown = np.flatnonzero(keep)
    columns = QuoteColumns(
        stamps[shown],
        np.zeros(len(shown), dtype=np.int32),
        path.bid_cents[shown] / 100.0,
        path.ask_cents[shown] / 100.0,
        sizes[0][shown],
        sizes[1][shown],
    )
    return shown, columns


def _bars(generator: np.random.Generator, path: UnderlyingPath, hours: Session, day: MarketDay) -> BarColumns:
    """Draw 1-minute bars of prints at bid or ask; at the four recorded prices the print is at the mid."""
    count = len(path.bid_cents)
    minutes = (count - 1) // _BAR_SECONDS
    at_ask = generator.random(count) < 0.5
    prints = np.where(at_ask, path.ask_cents, path.bid_cents)
    prints[path.anchors] = (path.bid_cents[path.anchors] + path.ask_cents[path.anchors]) // 2
    traded = generator.random(count) < figures.UNDERLYING_TRADE_PROBABILITY
    traded[path.anchors] = True
    minute = np.minimum(np.arange(count) // _BAR_SECONDS, minutes - 1)
    traded[np.searchsorted(minute, np.arange(minutes))] = True
    prints, minute = prints[traded], minute[traded]
    starts = np.searchsorted(minute, np.arange(minutes))
    ends = np.append(starts[1:], len(prints)) - 1
    opened, closed = prints[starts], prints[ends]
    busy = np.sqrt(u_shape((np.arange(minutes) + 0.5) / minutes)) * _surges(generator, closed - opened)
    total = day.share.daily_shares * day.volume / day.share.index_volume_median
    return BarColumns(
        ts_ns=hours.open_ns + (np.arange(minutes, dtype=np.int64) + 1) * _BAR_SECONDS * NANOS_PER_SECOND,
        instrument_id=np.zeros(minutes, dtype=np.int32),
        bar_seconds=np.full(minutes, _BAR_SECONDS, dtype=np.int32),
        open=opened / 100.0,
        high=np.maximum.reduceat(prints, starts) / 100.0,
        low=np.minimum.reduceat(prints, starts) / 100.0,
        close=closed / 100.0,
        volume=np.rint(total * busy / busy.sum()),
    )


def _surges(generator: np.random.Generator, moves: Ints) -> NDArray[np.float64]:
    """Draw the minutes' volumes over those usual at their time of day.

    Their logarithm is a level that fades within minutes, shocks of a minute each, and the minute's move.
    """
    memory, lasting = figures.VOLUME_PERSISTENCE, figures.VOLUME_LASTING_PART
    shocks = generator.standard_normal(len(moves)) * np.sqrt(1.0 - memory**2)
    shocks[0] /= np.sqrt(1.0 - memory**2)
    level = np.sqrt(lasting) * persistent(shocks, memory)
    level += np.sqrt(1.0 - lasting) * generator.standard_normal(len(moves))
    sizes = np.abs(moves) - np.abs(moves).mean()
    by_move = figures.VOLUME_MOVE_CORRELATION
    level = np.sqrt(1.0 - by_move**2) * level + by_move * sizes / max(float(sizes.std()), 1e-9)
    surges: NDArray[np.float64] = np.exp(figures.VOLUME_LOG_SD * level)
    return surges


def _merged(share: QuoteColumns, options: QuoteColumns) -> QuoteColumns:
    """Merge the quotes by time, at equal instants in the order of events: the share's last."""
    at = np.searchsorted(options.ts_ns, share.ts_ns, side="right") + np.arange(len(share))
    is_option = np.ones(len(options) + len(share), np.bool_)
    is_option[at] = False
    merged = []
    for column in fields(QuoteColumns):
        ours, theirs = getattr(options, column.name), getattr(share, column.name)
        both = np.empty(len(is_option), ours.dtype)
        both[is_option], both[at] = ours, theirs
        merged.append(both)
    return QuoteColumns(*merged)


_QUALITY_NOTES: dict[Quality, tuple[str, ...]] = {
    "clean": (),
    "real": (
        "quality real: quotes are stale, one-sided, crossed, stubs or late as often as recorded quotes were",
    ),
}


def _with_faults(
    columns: "DrawnColumns", hours: Session, seed: int, symbol: str, options: int, quality: Quality
) -> "DrawnColumns":
    """Return a drawn session, with faults by its day, seed and share where the quality is real."""
    if quality == "clean":
        return columns
    stream = hours.day.toordinal(), seed, *_stream_of(symbol)
    return disturbed(*columns, hours, options, stream)


def _real_prices(symbol: str) -> str:
    index = "S&P 500 / 10" if symbol == "SPY" else "NASDAQ Composite / 40"
    return f"open, high, low, close ({index})"


def _notes(day: MarketDay, seed: int) -> tuple[str, ...]:
    multiple = day.share.vix_multiple
    real = f"{_real_prices(day.share.symbol)} and the closing VIX"
    if multiple != 1.0:
        real += f", {multiple:g} times of which its options are quoted at,"
    level = f"{day.vix / multiple:.2f}"
    return (
        f"reconstructed, seed {seed}: {real} of {level} are real, the seconds between are drawn",
        "rates and dividends are zero: American options cost as much as European options",
        "Monday expiries before February 2018 and Wednesday expiries before August 2016 are hypothetical",
    )


def _span_notes(seed: int, symbol: str) -> tuple[str, ...]:
    multiple = figures.SHARES[symbol].vix_multiple
    real = f"{_real_prices(symbol)}, the closing VIX, dividends and rates"
    share = "the share is a tenth of the index and the dividend accrued"
    if multiple != 1.0:
        real = f"{_real_prices(symbol)}, the closing VIX and rates"
        share = f"the share pays no dividend, its options are quoted at {multiple:g} times the VIX"
    return (
        f"reconstructed, seed {seed}: {real} are real, the seconds between are drawn",
        f"{share}; overnight gaps are those of the index",
        "Monday expiries before February 2018 and Wednesday expiries before August 2016 are hypothetical",
    )


def daily_bars_before(session: date, count: int, symbol: str = "SPY") -> dict[str, NDArray[np.float64]]:
    """Return up to ``count`` daily bars of a share's index (index points) that end before ``session``.

    Columns ``open``, ``high``, ``low``, ``close``, oldest first; from 1999 on.
    """
    rows = [row for row in index_rows(index_share(symbol).series) if us_date(row[0]) < session][-count:]
    table = np.array([[float(text) for text in row[1:5]] for row in rows], dtype=np.float64).reshape(-1, 4)
    return {name: table[:, index].copy() for index, name in enumerate(("open", "high", "low", "close"))}


def minute_bars_before(
    session: date,
    count: int,
    instrument_id: InstrumentId,
    *,
    seed: int = 1,
    underlying: str = "SPY",
    in_span: bool = False,
) -> tuple[SessionBarsEvent, ...]:
    """Return the minute bars of up to ``count`` sessions before ``session``, oldest first.

    They are known at the open of ``session`` and equal those of the sessions themselves with this seed: of
    lone ones, or ``in_span`` of sessions in sequence.

    There are fewer than ``count`` where the embedded market begins. ``instrument_id`` is the share's in the
    run.
    """
    known_ns = session_on(session).open_ns
    events = []
    for day in [day for day in available_sessions() if day < session][-count:] if count > 0 else []:
        bars = reconstruct_bars(day, seed=seed, underlying=underlying, in_span=in_span)
        hours = session_on(day)
        figures = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        events.append(
            SessionBarsEvent(
                instrument_id,
                hours.close_ns,
                known_ns,
                day.isoformat(),
                hours.open_ns,
                hours.close_ns,
                _BAR_SECONDS,
                tuple(bars.ts_ns.tolist()),
                *(tuple(column.tolist()) for column in figures),
            )
        )
    return tuple(events)


def minutes_before_tape(tape: MarketTape, count: int, *, seed: int = 1) -> tuple[SessionBarsEvent, ...]:
    """Return the minute bars of up to ``count`` sessions before an embedded tape's first one, of each share.

    Their prices are in the scale of the tape's. Recorded data has no such session: nothing is known before
    the tape.
    """
    if tape.name != EMBEDDED:
        return ()
    day, in_span = tape.sessions[0].day, tape.morning is not None
    return tuple(
        minutes
        for symbol, number in zip(tape.underlyings, tape.underlying_ids, strict=True)
        for minutes in minute_bars_before(day, count, number, seed=seed, underlying=symbol, in_span=in_span)
    )
