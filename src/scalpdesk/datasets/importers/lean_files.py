"""LEAN's folder layout and file names.

``Data/<security>/<market>/<resolution>/<symbol>/<yyyymmdd>_<rows>[_<style>].zip`` for minute and
second bars; ``Data/<security>/<market>/<resolution>/<symbol>[_<year>_<rows>_<style>].zip`` for
hourly and daily bars. Some archives upstream are called ``.zip.zip``; they are plain zips.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from scalpdesk.core.errors import DataError, ScalpdeskError, nearest_name
from scalpdesk.instruments.classes import FUTURES
from scalpdesk.instruments.contract import Right, occ_symbol
from scalpdesk.instruments.futures import future_option_symbol

_SECURITIES = {
    "equity": "Equity",
    "option": "Option",
    "index": "Index",
    "indexoption": "IndexOption",
    "future": "Future",
    "futureoption": "FutureOption",
}
"""Folder name to the name in LEAN's market hours database."""

_FUTURE_OPTIONS = "futureoption"
"""LEAN's folder of options on futures, with one more folder for the contract month of the future."""

SCALED = frozenset({"equity", "option", "indexoption"})
"""Securities whose prices LEAN stores as ten-thousandths; of indices, futures and their options plain."""

_BAR_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "daily": 86_400}
_DEFAULT_ZONE = {
    "equity": "America/New_York",
    "option": "America/New_York",
    "indexoption": "America/New_York",
    "index": "America/Chicago",
    "future": "UTC",
    "futureoption": "UTC",
}
"""Time zone of files that the market hours database does not name."""

_DAY_FILE = re.compile(
    r"(?P<day>\d{8})_(?P<rows>quote|trade|openinterest)(?:_(?P<style>american|european))?\.zip(?:\.zip)?\Z"
)
_LONG_FILE = re.compile(
    r"(?P<symbol>[a-z0-9.]+?)(?:_(?P<year>\d{4}))?(?:_(?P<rows>quote|trade|openinterest))?"
    r"(?:_(?P<style>american|european))?\.zip(?:\.zip)?\Z"
)
_OPTION_MEMBER = re.compile(
    r"(?:\d{8}_)?(?P<root>[a-z0-9.]+)_(?:(?:minute|second|hour|daily)_)?(?:quote|trade|openinterest)_"
    r"(?P<style>american|european)_(?P<right>call|put)_(?P<strike>\d+)_(?P<expiry>\d{8})\.csv\Z"
)
_FUTURE_MEMBER = re.compile(
    r"(?:\d{8}_)?(?P<root>[a-z0-9.]+)_(?:(?:minute|second|hour|daily)_)?(?:quote|trade|openinterest)_"
    r"(?P<month>\d{6})(?:_\d{8})?\.csv\Z"
)


@dataclass(frozen=True, slots=True)
class LeanFile:
    """One archive of LEAN's folder."""

    path: Path
    security: str
    market: str
    resolution: str
    symbol: str
    """Share, index, option root or future's root, in capitals; of options on a future the future."""
    rows: str
    """``quote``, ``trade`` or ``openinterest``."""
    day: date | None
    """None for an archive with many days."""

    @property
    def bar_seconds(self) -> int:
        """Length of its bars."""
        return _BAR_SECONDS[self.resolution]

    @property
    def kind(self) -> str:
        """The catalogue's kind of its rows."""
        return {"quote": "quotes", "trade": "trades", "openinterest": "open_interest"}[self.rows]

    @property
    def table(self) -> str:
        """The catalogue's table for its rows."""
        if self.kind == "open_interest":
            return self.kind
        if self.security in ("option", "indexoption", _FUTURE_OPTIONS):
            return f"option_{self.kind}"
        return "index_levels" if self.security == "index" else self.kind


@dataclass(frozen=True, slots=True)
class LeanMember:
    """Contract of the rows of one CSV in an archive, from its name."""

    symbol: str
    root: str
    expiry: date | None = None
    strike: float | None = None
    right: str | None = None
    style: str | None = None


def find_files(
    data: Path, only: Iterable[str] = (), *, may_be_none: bool = False
) -> tuple[list[LeanFile], list[str]]:
    """List the archives in LEAN's ``Data`` folder, with notes on skipped archives.

    ``data``: The folder that holds ``equity``, ``option``, ..., or its parent.
    ``only``: Security types (``option``), symbols (``goog``), resolutions or days to keep; all when empty.
    ``may_be_none``: Return an empty list where nothing matches instead of raising.

    Raises DataError when the folder does not exist or is not LEAN's, or ``only`` matches nothing.
    """
    root = lean_root(data)
    kept: dict[tuple[Path, str], LeanFile] = {}
    others: dict[str, list[str]] = {}
    wanted = [word.lower() for word in only]
    for path in sorted([*root.rglob("*.zip"), *root.glob("*/*/universes/**/*.csv")]):
        parts = path.relative_to(root).parts
        found = _parse_path(path, root)
        if found is not None:
            kept.setdefault((path.parent, path.name.removesuffix(".zip").removesuffix(".zip")), found)
        elif not is_chain(parts) and is_wanted(set(parts), wanted):
            others.setdefault("/".join(parts[:-1][:3]), []).append(path.name)
    files = [file for file in kept.values() if is_wanted(set(_words(file)), wanted)]
    if not files and not may_be_none:
        words = sorted({word for file in kept.values() for word in _words(file)})
        raise DataError(
            "nothing to import here"
            + ("" if kept else ": no LEAN archive with minute, second, hour or daily bars"),
            where=str(root),
            value=list(only),
            nearest=nearest_name(wanted[0], words) if wanted else None,
            fix="pass --only with a security type, symbol, resolution or day that is there: "
            + ", ".join(words[:12]),
        )
    return files, [_passed_over(folder, names) for folder, names in others.items()]


def _passed_over(folder: str, names: list[str]) -> str:
    """Return the note on the archives of a folder that hold no bars of a security known here."""
    security = folder.partition("/")[0]
    which = f"{len(names)} files" if len(names) > 3 else ", ".join(names)
    if security == _FUTURE_OPTIONS:
        return f"passed over, options on futures other than {', '.join(FUTURES)}: {which} in {folder}"
    if security not in _SECURITIES:
        return f"passed over, {security} is not among {', '.join(_SECURITIES)}: {which} in {folder}"
    return f"passed over, no name that LEAN gives to minute, second, hour or daily bars: {which} in {folder}"


def is_chain(parts: tuple[str, ...]) -> bool:
    """Return whether this is the path of an option universe: the chain of one root on one day."""
    return (
        len(parts) == 5
        and parts[0] in ("option", "indexoption")
        and parts[2] == "universes"
        and parts[4].endswith(".csv")
        and day_of(parts[4].removesuffix(".csv")) is not None
    )


def lean_root(data: Path) -> Path:
    """Return the folder with LEAN's security types: ``data`` itself or the ``Data`` in it.

    Raises DataError when neither is such a folder.
    """
    for folder in (data, data / "Data"):
        if any((folder / security).is_dir() for security in _SECURITIES):
            return folder
    raise DataError(
        "this is not LEAN's Data folder: none of its folders "
        + ", ".join(_SECURITIES)
        + (" is here" if data.is_dir() else " can be here, there is no such folder"),
        where=str(data),
        fix="pass the folder that holds equity/, option/, ..., e.g. scalpdesk data import lean Lean/Data",
    )


def _parse_path(path: Path, root: Path) -> LeanFile | None:
    """Parse the path of an archive; None when it holds no bars."""
    parts = path.relative_to(root).parts
    if len(parts) < 4 or parts[0] not in _SECURITIES or parts[2] not in _BAR_SECONDS:
        return None
    security, market, resolution = parts[:3]
    folders, symbol = parts[3:-1], parts[3].upper()
    if security == _FUTURE_OPTIONS:
        if len(parts) != 6 or symbol not in FUTURES or not parts[4].isdigit():
            return None
        folders, symbol = parts[3:4], f"{symbol}_{parts[4][:6]}"
    if resolution in ("minute", "second"):
        match = _DAY_FILE.match(path.name)
        if match is None or len(folders) != 1:
            return None
        day = day_of(match["day"])
        if day is None:
            return None
        return LeanFile(path, security, market, resolution, symbol, match["rows"], day)
    match = _LONG_FILE.match(path.name)
    if match is None or len(parts) != (6 if security == _FUTURE_OPTIONS else 4):
        return None
    symbol = symbol if security == _FUTURE_OPTIONS else match["symbol"].upper()
    return LeanFile(path, security, market, resolution, symbol, match["rows"] or "trade", None)


def parse_member(file: LeanFile, member: str) -> LeanMember | None:
    """Parse the name of a CSV in an archive; None for an unknown kind.

    >>> from pathlib import Path
    >>> file = LeanFile(Path("x.zip"), "option", "usa", "minute", "GOOG", "quote", None)
    >>> parse_member(file, "20151224_goog_minute_quote_american_call_7525000_20151224.csv").symbol
    'GOOG151224C00752500'
    """
    name = member.lower()
    if not name.endswith(".csv"):
        return None
    if file.security in ("equity", "index"):
        return LeanMember(file.symbol, file.symbol)
    match = _FUTURE_MEMBER.match(name) if file.security == "future" else _OPTION_MEMBER.match(name)
    if match is None:
        return None
    root = match["root"].upper()
    if file.security == "future":
        return LeanMember(f"{root}_{match['month']}", root)
    expiry = day_of(match["expiry"])
    if expiry is None:
        return None
    strike = Decimal(int(match["strike"])) / 10_000
    right = Right.CALL if match["right"] == "call" else Right.PUT
    try:
        if file.security == _FUTURE_OPTIONS:
            symbol = future_option_symbol(file.symbol, expiry, right, strike)
        else:
            symbol = occ_symbol(root, expiry, right, strike)
    except ScalpdeskError:
        return None
    return LeanMember(symbol, root, expiry, float(strike), right.value, match["style"])


class DataZones:
    """Time zones of LEAN's files by security."""

    def __init__(self, root: Path) -> None:
        path = root / "market-hours" / "market-hours-database.json"
        self.found = path.is_file()
        self._entries: dict[str, dict[str, object]] = {}
        if self.found:
            try:
                document = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, object]])
            except msgspec.MsgspecError as error:
                raise DataError(
                    f"the market hours database is damaged: {error}",
                    where=str(path),
                    fix="fetch the file again, or remove it to use the usual zones",
                ) from error
            entries = document.get("entries", {})
            self._entries = {k: v for k, v in entries.items() if isinstance(v, dict)}

    def of(self, file: LeanFile) -> str:
        """Return the time zone of a file."""
        return self.of_security(file.security, file.market, file.symbol)

    def of_security(self, security: str, market: str, symbol: str = "[*]") -> str:
        """Return the time zone of a security."""
        for key in (symbol, "[*]"):
            zone = self._entries.get(f"{_SECURITIES[security]}-{market}-{key}", {}).get("dataTimeZone")
            if isinstance(zone, str):
                return zone
        return _DEFAULT_ZONE[security]


def _words(file: LeanFile) -> Iterator[str]:
    yield file.security
    yield file.symbol.lower()
    yield file.symbol.partition("_")[0].lower()
    yield file.resolution
    if file.day is not None:
        yield file.day.isoformat()


def is_wanted(words: set[str], wanted: list[str]) -> bool:
    """Return whether a file's words match every kind of filter given (type, symbol, resolution, day)."""
    types = [w for w in wanted if w in _SECURITIES]
    resolutions = [w for w in wanted if w in _BAR_SECONDS]
    days = [w for w in wanted if re.fullmatch(r"\d{4}-\d{2}-\d{2}", w)]
    symbols = [w for w in wanted if w not in {*types, *resolutions, *days}]
    return all(not group or words & set(group) for group in (types, resolutions, days, symbols))


def day_of(text: str) -> date | None:
    """Parse ``yyyymmdd``; None when it is no date."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) if re.fullmatch(r"\d{8}", text) else None
    except ValueError:
        return None
