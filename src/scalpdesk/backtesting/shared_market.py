"""A prepared market for many processes: its rows once in memory, in blocks that each of them only reads.

A block holds one session: quotes in the order of events, where each instrument's lie, bars, and publications
before the open. It is a pickle whose arrays lie outside of it (protocol 5), so that a process reads them
where they are: in a file mapped into memory, or in the object store of a cluster.
"""

import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.version import BUILD
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.latest_quotes import RowIndex, are_options
from scalpdesk.marketdata.tape import (
    FLAT_ZERO,
    NO_QUOTES,
    BarColumns,
    LazyBars,
    LazyQuotes,
    MarketTape,
    Morning,
)
from scalpdesk.simulation.tape_reader import session_quotes

Block = NDArray[np.uint8]
_ALIGNED_BYTES = 64
"""Arrays begin at multiples of a cache line."""
_OPEN_BLOCKS = 2
"""Sessions whose objects stay in a process; their rows are shared."""


@dataclass(frozen=True, slots=True)
class _SessionBlock:
    """All that a run reads of one session."""

    index: RowIndex
    bars: BarColumns | None
    morning: Morning | None


def pack(value: object) -> list[bytes | memoryview]:
    """Return a value in parts that joined are a block."""
    arrays: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    raw = [array.raw() for array in arrays]
    sizes = np.array([len(raw), len(text), *(len(each) for each in raw)], np.int64)
    whole: list[bytes | memoryview] = [sizes.tobytes(), text, *raw]
    return [part for each in whole for part in (each, bytes(-len(each) % _ALIGNED_BYTES))]


def unpack(block: Block) -> Any:
    """Return the value of a block; its arrays are views of the block and cannot be written."""
    number = int(block[:8].view(np.int64)[0])
    sizes = block[: 8 * (number + 2)].view(np.int64)[1:].tolist()
    whole = block.data.toreadonly()
    at, parts = _aligned(8 * (number + 2)), []
    for size in sizes:
        parts.append(whole[at : at + size])
        at = _aligned(at + size)
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - what this module has packed


def _aligned(at: int) -> int:
    return at + -at % _ALIGNED_BYTES


@dataclass(frozen=True, slots=True)
class _BlockFiles:
    """Blocks of a market as files of a folder."""

    folder: Path

    def file(self, place: int) -> Path:
        """Return the file of the session in a place."""
        return self.folder / f"session-{place:05}"

    def __call__(self, place: int) -> Block:
        """Return the block of the session in a place, mapped into memory."""
        return np.asarray(np.memmap(self.file(place), np.uint8, mode="r"))


class _Head(NamedTuple):
    """A market without its rows."""

    tape: MarketTape
    worked_out: dict[tuple[Any, ...], Any]
    bar_edges: dict[int, tuple[float, float, float, float]] | None
    """Edges of ``LazyBars``; None without bars."""
    has_mornings: bool
    is_flat_zero: bool
    """The rate curve is the very ``FLAT_ZERO``, which stands for no curve."""


@dataclass(frozen=True, slots=True)
class SharedMarket:
    """A prepared market that goes to other processes without its rows."""

    head: bytes
    load: Callable[[int], Block]
    """Loads the block of the session in a place."""
    build: str = BUILD

    def open(self) -> PreparedMarket:
        """Return the market; runs over it read the blocks.

        Raises ConfigError when this process has another version of scalpdesk than the one that shared it.
        """
        if self.build != BUILD:
            raise ConfigError(
                "this worker has another version of scalpdesk than the sweep",
                where="scalpdesk",
                value=BUILD,
                fix=f"install version {self.build} on every node",
            )
        head: _Head = pickle.loads(self.head)  # noqa: S301 - what `head_of` has packed
        tape, load = head.tape, self.load
        places = {session: place for place, session in enumerate(tape.sessions)}

        @lru_cache(_OPEN_BLOCKS)
        def block(session: Session) -> _SessionBlock:
            found: _SessionBlock = unpack(load(places[session]))
            return found

        def bars(session: Session) -> BarColumns:
            found = block(session).bars
            assert found is not None
            return found

        def morning(session: Session) -> Morning:
            found = block(session).morning
            assert found is not None
            return found

        edges = head.bar_edges
        shared = replace(
            tape,
            quotes=LazyQuotes(tape.sessions, lambda session: block(session).index.columns),
            bars=None if edges is None else LazyBars(tape.sessions, bars, edges),
            morning=morning if head.has_mornings else None,
            rate_curve=FLAT_ZERO if head.is_flat_zero else tape.rate_curve,
        )
        return PreparedMarket(
            shared,
            kept_sessions=_OPEN_BLOCKS,
            worked_out=head.worked_out,
            index_of=lambda session: block(session).index,
        )


def session_block(market: PreparedMarket, session: Session) -> _SessionBlock:
    """Return all that a run reads of a session."""
    tape = market.tape
    bars = None if tape.bars is None else tape.bars.between(session.open_ns + 1, session.close_ns)
    morning = None if tape.morning is None else tape.morning(session)
    return _SessionBlock(
        RowIndex.of(session_quotes(tape, session), are_options(tape.instruments)), bars, morning
    )


def head_of(market: PreparedMarket) -> bytes:
    """Return a market without its rows, pickled."""
    tape = market.tape
    edges = None
    if tape.bars is not None:
        found = {number: tape.bars.edges_of(number) for number in tape.underlying_ids}
        edges = {int(number): each for number, each in found.items() if each is not None}
    bare = replace(tape, quotes=NO_QUOTES, bars=None, morning=None, loaded=None, load_again=None)
    has_mornings, is_flat_zero = tape.morning is not None, tape.rate_curve is FLAT_ZERO
    return pickle.dumps(_Head(bare, market.worked_out(), edges, has_mornings, is_flat_zero), protocol=5)


def share_in_files(
    market: PreparedMarket,
    folder: Path,
    *,
    configs: Iterable[BacktestConfig] = (),
    report: Callable[[int, int], None] | None = None,
) -> SharedMarket:
    """Write the rows of a market into files that processes of this machine map; about 20 MB a session.

    ``market``: From which the rows are read, session by session.
    ``folder``: Of the files; the caller removes it when the last process has ended.
    ``configs``: Of the runs: what they have in common is worked out here, once.
    ``report``: Called with the sessions done and all of them.
    """
    market.prepare(configs)
    files, sessions = _BlockFiles(folder), market.tape.sessions
    for place, session in enumerate(sessions):
        with files.file(place).open("wb") as file:
            file.writelines(pack(session_block(market, session)))
        if report is not None:
            report(place + 1, len(sessions))
    return SharedMarket(head_of(market), files)
