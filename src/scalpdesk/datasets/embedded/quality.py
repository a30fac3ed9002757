"""Faults of quotes in the embedded market of quality ``real``: stubs, missing sides, stale quotes, halts.

A drawn session is disturbed after it was drawn: prices, volatility, bars and settlement stay those of the
clean session. Each kind of fault is one :class:`QuoteFault` of :data:`FAULTS`: how often it was counted on
recorded days, in what it strikes, and what it does to the quotes. Each draws from a stream of its own, so
that another kind changes no fault of the others.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import NANOS_PER_MS, NANOS_PER_SECOND
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.tape import NO_QUOTES, BarColumns, QuoteColumns

_Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTE_NS = 60 * NANOS_PER_SECOND
SHARE = 0
"""Number of the share in a drawn session; its options follow."""
_TICK_USD = 0.01
_STUB_BID_USD, _STUB_ASK_USD, _STUB_CONTRACTS = 0.05, 10.0, 10.0
"""A stub is quoted 0.05 at 10, or at the next multiple of 10 from 1.5 times the ask; assumed."""
_JUMP_DEVIATIONS, LEAST_JUMP = 5.0, 0.0005
"""A minute's move of the share that counts as a jump: in robust deviations of the session's minutes, and a
fraction at least."""
HALT_MINUTES = 5
"""Shortest trading pause of the Limit Up-Limit Down plan of the US exchanges."""
_HALT_MARGIN_MINUTES = 15
"""Minutes after the open and before the close without a halt."""


@dataclass(frozen=True, slots=True)
class _Spells:
    """Spans of time in which a fault strikes an instrument; those of one instrument do not overlap."""

    instrument: Ints
    start_ns: Ints
    end_ns: Ints
    """``start_ns``, ``end_ns``: UTC nanoseconds; the end is not included."""

    def __len__(self) -> int:
        return len(self.instrument)


@dataclass(frozen=True, slots=True)
class _Struck:
    """Quotes within the spells of a fault."""

    quotes: QuoteColumns
    held: QuoteColumns
    """For each of them the instrument's last quote before its spell."""
    is_bid: _Bools
    """For each of them the side that is drawn for its spell."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A session for which faults are drawn, with the quotes of its share and the number of its options."""

    session: Session
    options: int
    share: QuoteColumns

    @property
    def minutes(self) -> int:
        """Length of the session."""
        return int((self.session.close_ns - self.session.open_ns) // MINUTE_NS)


@dataclass(frozen=True, slots=True)
class QuoteFault:
    """A kind of fault of quotes, as often as it was counted on recorded days."""

    name: str
    counted: Mapping[str, tuple[int, int]]
    """Events and trials by recorded product."""
    trial: str
    """Among what the events were counted: where a fault may begin."""
    mean_minutes: float
    """Mean length of a spell that was counted."""
    starts: Callable[["QuoteFault", Drawing, np.random.Generator], _Spells]
    changes: Callable[[_Struck], QuoteColumns] | None
    """The quotes as they are disturbed; None where there are no quotes in a spell."""
    is_thin: bool = field(default=True)
    """Whether fewer than thirty events, or those of one product, set its frequency."""

    @property
    def events(self) -> int:
        """Events in all products."""
        return sum(events for events, _ in self.counted.values())

    @property
    def trials(self) -> int:
        """Trials in all products."""
        return sum(trials for _, trials in self.counted.values())

    @property
    def frequency(self) -> float:
        """Chance in a trial, by Jeffreys' estimate: above zero also where no event was counted."""
        return (self.events + 0.5) / (self.trials + 1.0)


def _each_minute(fault: QuoteFault, drawing: Drawing, dice: np.random.Generator) -> _Spells:
    """Draw spells that may begin in each minute of each option."""
    option, minute = np.nonzero(dice.random((drawing.options, drawing.minutes)) < fault.frequency)
    length = dice.geometric(1.0 / fault.mean_minutes, len(option)) * MINUTE_NS
    start = (
        drawing.session.open_ns + minute * MINUTE_NS + dice.integers(0, 60_000, len(option)) * NANOS_PER_MS
    )
    end, same = start + length, np.append(np.diff(option) == 0, False)
    end = np.where(same, np.minimum(end, np.roll(start, -1)), end)
    return _Spells(1 + option, start, end)


def _at_the_open(fault: QuoteFault, drawing: Drawing, dice: np.random.Generator) -> _Spells:
    """Draw the options that open late, and when they do."""
    options = np.flatnonzero(dice.random(drawing.options) < fault.frequency)
    length = dice.geometric(1.0 / fault.mean_minutes, len(options)) * MINUTE_NS
    length += dice.integers(0, 60_000, len(options)) * NANOS_PER_MS
    start = np.full(len(options), drawing.session.open_ns, np.int64)
    return _Spells(1 + options, start, start + length)


def _after_jumps(fault: QuoteFault, drawing: Drawing, dice: np.random.Generator) -> _Spells:
    """Draw the options whose quotes stand still for the minute in which the share jumps."""
    jumps = jump_minutes(drawing)
    option, jump = np.nonzero(dice.random((drawing.options, len(jumps))) < fault.frequency)
    start = drawing.session.open_ns + jumps[jump] * MINUTE_NS
    return _Spells(1 + option, start, start + MINUTE_NS)


def jump_minutes(drawing: Drawing) -> Ints:
    """Return the minutes of a session, from 0, in which its share jumps."""
    ends = drawing.session.open_ns + np.arange(drawing.minutes + 1, dtype=np.int64) * MINUTE_NS
    known = np.maximum(np.searchsorted(drawing.share.ts_ns, ends, side="right") - 1, 0)
    moves = np.abs(np.diff(np.log(0.5 * (drawing.share.bid + drawing.share.ask)[known])))
    usual = 1.4826 * float(np.median(moves))  # of the normal distribution
    return np.flatnonzero(moves >= max(_JUMP_DEVIATIONS * usual, LEAST_JUMP)).astype(np.int64)


def _once_a_session(fault: QuoteFault, drawing: Drawing, dice: np.random.Generator) -> _Spells:
    """Draw a halt of the share and of all its options."""
    count = drawing.options + 1 if dice.random() < fault.frequency else 0
    length = int(fault.mean_minutes)
    minute = dice.integers(_HALT_MARGIN_MINUTES, drawing.minutes - _HALT_MARGIN_MINUTES - length)
    start = np.full(count, drawing.session.open_ns + int(minute) * MINUTE_NS, np.int64)
    return _Spells(np.arange(count, dtype=np.int64), start, start + length * MINUTE_NS)


def one_sided(struck: _Struck) -> QuoteColumns:
    """Hold one side at its last price while the other follows; it gives way before it would cross."""
    q, held = struck.quotes, struck.held
    below = np.maximum(np.round(q.ask - _TICK_USD, 2), 0.0)
    bid = np.where(struck.is_bid, np.minimum(held.bid, below), q.bid)
    ask = np.where(struck.is_bid, q.ask, np.maximum(held.ask, np.round(q.bid + _TICK_USD, 2)))
    bid_size = np.where(struck.is_bid & (bid == held.bid), held.bid_size, np.maximum(q.bid_size, 1.0))
    ask_size = np.where(~struck.is_bid & (ask == held.ask), held.ask_size, q.ask_size)
    return QuoteColumns(q.ts_ns, q.instrument_id, bid, ask, np.where(bid > 0.0, bid_size, 0.0), ask_size)


def locked(struck: _Struck) -> QuoteColumns:
    """Raise the bid to the ask."""
    return _raised(struck.quotes, 0.0)


def crossed(struck: _Struck) -> QuoteColumns:
    """Raise the bid a tick above the ask, as far as most recorded quotes were crossed."""
    return _raised(struck.quotes, _TICK_USD)


def _raised(q: QuoteColumns, above: float) -> QuoteColumns:
    bid = np.round(q.ask + above, 2)
    return QuoteColumns(q.ts_ns, q.instrument_id, bid, q.ask, np.maximum(q.bid_size, 1.0), q.ask_size)


def no_bid(struck: _Struck) -> QuoteColumns:
    """Take the bid away: 0 with size 0, as the market quotes an option without a buyer."""
    q, none = struck.quotes, np.zeros(len(struck.quotes))
    return QuoteColumns(q.ts_ns, q.instrument_id, none, q.ask, none, q.ask_size)


def no_ask(struck: _Struck) -> QuoteColumns:
    """Take the ask away: the side is missing."""
    q, none = struck.quotes, np.zeros(len(struck.quotes))
    return QuoteColumns(q.ts_ns, q.instrument_id, q.bid, np.full(len(none), np.nan), q.bid_size, none)


def stub(struck: _Struck) -> QuoteColumns:
    """Quote a stub on both sides: 0.05 at 10."""
    q = struck.quotes
    bid = np.minimum(q.bid, _STUB_BID_USD)
    steps = np.maximum(np.ceil(1.5 * np.nan_to_num(q.ask) / _STUB_ASK_USD), 1.0)
    size = np.full(len(q), _STUB_CONTRACTS)
    return QuoteColumns(
        q.ts_ns, q.instrument_id, bid, steps * _STUB_ASK_USD, np.where(bid > 0.0, size, 0.0), size
    )


_A_MINUTE = "minutes of an option"
FAULTS = (
    QuoteFault(
        "one_sided",
        # GOOG: a minute in which one side was not updated; the others' minutes are complete
        {"GOOG": (9_205, 78_296), "SPXW": (0, 20_828), "SPX": (0, 1_560), "SPY": (0, 1_560)},
        _A_MINUTE,
        1.3,
        _each_minute,
        one_sided,
    ),
    QuoteFault(
        "locked",
        {"GOOG": (1, 127_690), "SPXW": (69, 21_835), "SPX": (0, 1_560), "SPY": (0, 1_560)},
        _A_MINUTE,
        3.8,
        _each_minute,
        locked,
        is_thin=False,
    ),
    QuoteFault(
        "crossed",
        {"GOOG": (0, 127_690), "SPXW": (11, 21_835), "SPX": (0, 1_560), "SPY": (0, 1_560)},
        _A_MINUTE,
        5.1,
        _each_minute,
        crossed,
    ),
    QuoteFault(
        "no_bid",
        # without GOOG, where a missing side is as a rule one that was not updated
        {"SPXW": (0, 20_828), "SPX": (0, 1_560), "SPY": (0, 1_560)},
        _A_MINUTE,
        1.3,
        _each_minute,
        no_bid,
    ),
    QuoteFault(
        "no_ask",
        {"SPXW": (0, 20_828), "SPX": (0, 1_560), "SPY": (0, 1_560)},
        _A_MINUTE,
        1.3,
        _each_minute,
        no_ask,
    ),
    QuoteFault(
        "stub",
        {"GOOG": (1, 78_296), "SPXW": (1, 20_828), "SPX": (0, 1_560), "SPY": (0, 1_560)},
        _A_MINUTE,
        1.5,
        _each_minute,
        stub,
    ),
    QuoteFault(
        "stale",
        {"GOOG": (1, 38_356), "SPXW": (0, 13_582), "SPX": (0, 1_170)},
        _A_MINUTE,
        3.0,
        _each_minute,
        None,
    ),
    QuoteFault(
        "lag",
        {"GOOG": (5, 226), "SPXW": (0, 67), "SPX": (0, 4)},
        "jumps of the share, by option",
        1.0,
        _after_jumps,
        None,
    ),
    QuoteFault(
        "late_open",
        {"GOOG": (61, 566), "SPXW": (1, 56), "SPX": (0, 4), "SPY": (0, 4)},
        "sessions of an option",
        2.8,
        _at_the_open,
        None,
        is_thin=False,
    ),
    QuoteFault(
        "halt",
        {"GOOG": (0, 3), "SPY": (0, 7), "SPX": (0, 2)},
        "sessions",
        float(HALT_MINUTES),
        _once_a_session,
        None,
    ),
)
"""In the order in which they strike: a later one disturbs what an earlier one left.

Counted by ``docs/quote_quality_figures.py`` on recorded days: GOOG 2015-12-23, -24 (halts also -28), SPXW
2021-01-04..08, SPX 2021-01-04 and -14, SPY 2023-08-03 (halts also 2013-10-04..11), strikes within 5 % of the
underlying, of stale and lag within 2 %. None of them had a halt, and no listed product had an option without
a side; the lengths of these are assumed.
"""


def disturbed(
    quotes: QuoteColumns, bars: BarColumns, session: Session, options: int, stream: tuple[int, ...]
) -> tuple[QuoteColumns, BarColumns]:
    """Return a drawn session with its faults.

    ``quotes``, ``bars``: As they were drawn: the share is number 0, the options follow.
    ``options``: How many options the session lists.
    ``stream``: Seeds of the session; the same give the same faults.
    """
    drawing = Drawing(session, options, quotes.take(quotes.instrument_id == SHARE))
    found = {fault.name: spells_of(fault, drawing, stream) for fault in FAULTS}
    by_contract = _ByInstrument(quotes, session)
    for fault in FAULTS:
        by_contract.strike(fault, found[fault.name], _generator(stream, fault.name, 1))
    return by_contract.by_time(), _traded(bars, found["halt"])


def spells_of(fault: QuoteFault, drawing: Drawing, stream: tuple[int, ...]) -> _Spells:
    """Draw the spells of a fault in a session, in order of instrument and time."""
    return fault.starts(fault, drawing, _generator(stream, fault.name, 0))


def _generator(stream: tuple[int, ...], name: str, purpose: int) -> np.random.Generator:
    seeds = np.random.SeedSequence([*stream, zlib.crc32(name.encode()), purpose])
    return np.random.Generator(np.random.PCG64(seeds))


def _traded(bars: BarColumns, halts: _Spells) -> BarColumns:
    """Leave out the bars of minutes without trading."""
    mine = halts.instrument == SHARE
    spans = zip(halts.start_ns[mine].tolist(), halts.end_ns[mine].tolist(), strict=True)
    halted = (((bars.ts_ns > start) & (bars.ts_ns <= end)) for start, end in spans)
    return bars.take(~reduce(np.logical_or, halted, np.zeros(len(bars), np.bool_)))


class _ByInstrument:
    """Quotes of a session by instrument and time, while faults strike them."""

    def __init__(self, quotes: QuoteColumns, session: Session) -> None:
        self._open_ns, self._close_ns = session.open_ns, session.close_ns
        self._rows = self._in_order(quotes)

    def strike(self, fault: QuoteFault, spells: _Spells, dice: np.random.Generator) -> None:
        """Change or leave out the quotes in the spells; add a quote at the start and the end of each."""
        is_bid = dice.random(len(spells)) < 0.5
        first, end = (self._places(spells.instrument, at) for at in (spells.start_ns, spells.end_ns))
        rows, before = self._rows, first - 1
        if fault.changes is not None:
            # a spell needs a quote that it changes
            begins = (before >= 0) & (rows.instrument_id[before] == spells.instrument)
            first, end, before, is_bid = (each[begins] for each in (first, end, before, is_bid))
            spells = _Spells(*(getattr(spells, each.name)[begins] for each in fields(spells)))
            spell = np.arange(len(spells))
            of_spell = np.concatenate((spell, np.repeat(spell, end - first)))
            quotes = QuoteColumns.joined(
                [_restamped(rows.take(before), spells.start_ns), rows.take(_ranges(first, end))]
            )
            changed = fault.changes(_Struck(quotes, rows.take(before[of_spell]), is_bid[of_spell]))
        else:
            changed = NO_QUOTES
        goes_on = (spells.end_ns < self._close_ns) & ((fault.changes is not None) | (end > first))
        again = _restamped(rows.take(end[goes_on] - 1), spells.end_ns[goes_on])
        kept = np.ones(len(rows), np.bool_)
        kept[_ranges(first, end)] = False
        # at one instant a spell is over before the next one begins
        self._rows = self._in_order(QuoteColumns.joined([again, changed, rows.take(kept)]))

    def by_time(self) -> QuoteColumns:
        """Return the quotes in order of time, at equal instants the options by number and the share last."""
        number = self._rows.instrument_id
        return self._rows.take(
            np.lexsort((np.where(number == SHARE, np.iinfo(np.int32).max, number), self._rows.ts_ns))
        )

    def _places(self, instrument: Ints, at_ns: Ints) -> Ints:
        """Return the place of each instrument's first quote from an instant on."""
        keys = self._keys(self._rows.instrument_id, self._rows.ts_ns)
        wanted = self._keys(instrument, np.minimum(at_ns, self._close_ns))
        return np.searchsorted(keys, wanted, side="left").astype(np.int64)

    def _in_order(self, quotes: QuoteColumns) -> QuoteColumns:
        return quotes.take(np.argsort(self._keys(quotes.instrument_id, quotes.ts_ns), kind="stable"))

    def _keys(self, instrument: NDArray[np.integer[Any]], at_ns: Ints) -> Ints:
        span = np.int64(self._close_ns - self._open_ns + 1)
        return np.asarray(instrument * span + (at_ns - self._open_ns), np.int64)


def _restamped(quotes: QuoteColumns, at_ns: Ints) -> QuoteColumns:
    sides = (quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size)
    return QuoteColumns(at_ns, quotes.instrument_id, *sides)


def _ranges(first: Ints, end: Ints) -> Ints:
    """Return the places from each first to before its end, one span after another."""
    counts = end - first
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(first, counts) + within, np.int64)
