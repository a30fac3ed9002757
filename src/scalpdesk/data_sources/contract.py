"""The contracts of an importer, a downloader and a recorder, and their registries.

Each is a spec in a light module: its name and texts, a struct whose fields are its flags on the command line,
and a function that imports what it needs only when it is called.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from scalpdesk.core.flags import Flag as Flag  # noqa: PLC0414 - sources of packages take it from here
from scalpdesk.datasets.importers.base import ImportReport, Progress
from scalpdesk.venues.contract import Revealable


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """A file or folder to import."""

    path: Path
    catalog: Path
    """Folder of the catalogue."""
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """Symbol and days to download from a venue."""

    symbol: str
    first: date
    last: date
    """``first``, ``last``: Days asked for, both included."""
    catalog: Path
    """Folder of the catalogue."""
    keys: Callable[[], tuple[Revealable, Revealable]]
    """Returns key and secret of the trading account; ConfigError without keys."""
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """Symbol whose live market data is to be recorded."""

    symbol: str
    catalog: Path
    """Folder of the catalogue."""
    every_seconds: float
    """Between two records."""
    seconds: float | None
    """Duration; None: until stopped."""
    stopped: asyncio.Event
    """Set when the user ends the recording."""
    keys: Callable[[], tuple[Revealable, Revealable]]
    """Returns key and secret of the trading account; ConfigError without keys."""
    notify: Callable[[str], None]
    """Shows a line of progress."""


F = TypeVar("F", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec(Generic[F]):
    """A source by name, with its texts for the command line."""

    name: str
    summary: str
    """One line of the list of sources."""
    help: str
    """Text of its own help."""
    examples: tuple[str, ...]
    """Command lines as they would be typed."""
    flags: type[F]
    is_raw: bool = False
    """Whether the catalogue is that of raw data (``data/raw``), and not the configured one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImporterSpec(SourceSpec[F]):
    """A format of files: ``scalpdesk data import NAME PATH``."""

    run: Callable[[ImportRequest, F], Sequence[ImportReport]]
    """Imports a file; a damaged one among many is named in a report, and the rest is read.

    Raises DataError for a file that cannot be read, ConfigError for a wrong flag.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloaderSpec(SourceSpec[F]):
    """A venue's history: ``scalpdesk data download NAME SYMBOL``."""

    run: Callable[[DownloadRequest, F], Sequence[ImportReport]]
    """Downloads the days; RetryError where the venue does not answer."""
    argument: str = "symbol"
    """Word for the symbol in the help."""
    days_help: str = "First day."


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSpec(SourceSpec[F]):
    """A venue's live market data: ``scalpdesk data record NAME SYMBOL``."""

    run: Callable[[RecordRequest, F], Awaitable[Sequence[ImportReport]]]
    """Records until ``stopped`` or the end of the duration, and writes what it has.

    Raises RetryError where the venue does not answer at the start.
    """
    argument: str = "symbol"
    """Word for the symbol in the help."""


FLUSH_SECONDS = 300.0
"""Between two writes of what has been recorded."""
