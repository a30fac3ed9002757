"""Databento's DBN files: chunks of records as rows of the catalogue's importers, and definitions as listings.

Schemas and fields: https://databento.com/docs/schemas-and-data-formats. Prices are whole numbers of 1e-9 with
an extreme value for a missing one, times are nanoseconds of UTC; ``ts_recv`` is the instant at which a record
is known, and a bar bears its start in ``ts_event``. Each record names its instrument by a number, whose
symbol stands in the file's metadata, or in a file of definitions beside it.
"""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ConfigError, ScalpdeskError
from scalpdesk.core.units import DAY_NS, count_text
from scalpdesk.datasets.importers.base import FETCH_AGAIN, UnreadableFileError
from scalpdesk.datasets.importers.staged import TableSource
from scalpdesk.datasets.importers.vendor_files import VendorChoices
from scalpdesk.datasets.importers.vendor_formats import OCC_TAIL, FileFormat, RowKind, utc_instant
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import expiry_instant_ns

_ZSTD = b"\x28\xb5\x2f\xfd"
"""First bytes of a file compressed with zstd."""
ENDINGS = (".dbn", ".dbn.zst")
_RECORDS = 500_000
"""Records that are held in memory at once, about 50 MB."""
_OPEN_INTEREST = 9
"""``stat_type`` of open interest."""
_BOOK_SCHEMAS = ("cmbp-1", "mbp-1", "tcbbo", "tbbo", "bbo-1s", "bbo-1m", "cbbo-1s", "cbbo-1m")
_PRINT_SCHEMAS = ("cmbp-1", "mbp-1", "tcbbo", "tbbo", "trades")
"""Schemas with single trades among their records."""
_BAR_SECONDS = {"ohlcv-1s": 1, "ohlcv-1m": 60, "ohlcv-1h": 3_600}
_ROOT = f"regexp_replace(replace(written, ' ', ''), '{OCC_TAIL}', '')"


def databento() -> Any:
    """Return the vendor's library.

    Raises ConfigError when it is not installed.
    """
    try:
        import databento as library  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "files of Databento need a package that is not installed",
            where=missing.name,
            fix='pip install "scalpdesk[databento]"',
        ) from missing
    return library


def _format(schema: str) -> FileFormat:
    """Return the rows of a schema over the columns that :class:`DbnStage` writes."""
    at = utc_instant("ns")
    rows = []
    if schema in _BOOK_SCHEMAS:
        sides = {side: side for side in ("bid", "ask", "bid_size", "ask_size")}
        rows.append(RowKind(kind="quotes", symbol="written", at=at, values=sides, latest="(ns + 999) % 1000"))
    if schema in _PRINT_SCHEMAS:
        values = {"price": "price", "size": "size"}
        rows.append(
            RowKind(kind="prints", symbol="written", at=at, values=values, where="is_print", latest="ns")
        )
    if schema in _BAR_SECONDS:
        bar = {column: f'"{column}"' for column in ("open", "high", "low", "close", "volume")}
        rows.append(RowKind(kind="trades", symbol="written", at=at, is_start=True, values=bar))
    if schema == "statistics":
        values = {"open_interest": "quantity"}
        rows.append(
            RowKind(kind="open_interest", symbol="written", at=at, values=values, where="is_interest")
        )
    return FileFormat(name=schema, columns={}, root=_ROOT, rows=tuple(rows), seconds=_BAR_SECONDS.get(schema))


class DbnStage:
    """Reads DBN files into ``file_rows``; numbers without a symbol are looked up among the definitions.

    ``folder``: File or folder of the import; its definitions are read first.
    ``wanted``: Roots whose definitions become listings; empty for all.
    """

    def __init__(self, folder: Path, wanted: Collection[str] = ()) -> None:
        self._wanted = frozenset(wanted)
        self._library = library = databento()
        from databento.common.error import BentoWarning  # noqa: PLC0415 - the extra
        from databento_dbn import DBNError  # noqa: PLC0415 - the same

        self._truncated = BentoWarning
        self._failures = (library.BentoError, BentoWarning, DBNError, ValueError, OSError)
        self.listings: dict[str, dict[str, dict[str, Any]]] = {}
        """Terms of options by root and symbol."""
        self._names = _NumberedNames()
        paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
        for path in paths:
            if path.is_file() and path.name.lower().endswith(ENDINGS):
                try:
                    store = self._open(path)
                    with closing(store.reader):
                        if str(store.schema) == "definition":
                            self._add_definitions(store, path)
                except UnreadableFileError:
                    continue  # named when its rows are read

    def __call__(
        self, connection: Any, path: Path, choices: VendorChoices
    ) -> tuple[FileFormat, TableSource] | None:
        """Read a file; None for a file of definitions."""
        source = TableSource(path, "DBN")
        store = self._open(path)
        schema = str(store.schema)
        if schema == "definition":
            for _ in self._chunks(store, path):
                pass  # a damaged file is named
            return None
        form = _format(schema)
        if not form.rows:
            raise UnreadableFileError(
                "this schema holds nothing for the catalogue",
                where=str(path),
                value=schema,
                fix=f"take one of {', '.join([*_BOOK_SCHEMAS, 'trades', *_BAR_SECONDS, 'statistics'])}",
            )
        from databento.common.symbology import InstrumentMap  # noqa: PLC0415 - the extra

        symbols = InstrumentMap()
        symbols.insert_metadata(store.metadata)
        kept = f"{_ROOT} IN (FROM wanted)" if choices.wanted else "true"
        first, is_new = 1, True
        for records in self._chunks(store, path):
            columns = _columns(records, schema)
            codes, names = self._named(records, columns["ns"], symbols)
            unknown = np.flatnonzero(names == "")
            if len(unknown):
                row = first + int(np.argmax(np.isin(codes, unknown)))
                raise UnreadableFileError(
                    "records name an instrument by a number without a symbol",
                    where=source.place(row),
                    value=int(records["instrument_id"][row - first]),
                    fix="put the file of the schema definition into the same folder, or download the data "
                    "with the mapping of its symbols",
                )
            columns |= {"file_row": np.arange(first, first + len(records)), "code": codes}
            connection.register("records", columns)
            connection.register("names", {"code": np.arange(len(names)), "written": names})
            verb = "CREATE OR REPLACE TEMP TABLE file_rows AS" if is_new else "INSERT INTO file_rows"
            connection.execute(f"{verb} FROM records JOIN names USING (code) WHERE {kept}")
            first, is_new = first + len(records), False
        if is_new:
            return None
        connection.unregister("records")
        connection.unregister("names")
        return form, source

    def _open(self, path: Path) -> Any:
        with path.open("rb") as file:
            is_dbn = file.read(4).startswith((b"DBN", _ZSTD))
        trouble: Exception | str = "it begins as none"
        if is_dbn:
            try:
                return self._library.DBNStore.from_file(path)
            except self._failures as error:
                trouble = error
        raise UnreadableFileError(f"not a DBN file: {str(trouble)[:120]}", where=str(path), fix=FETCH_AGAIN)

    def _chunks(self, store: Any, path: Path) -> Iterator[NDArray[Any]]:
        """Yield the records; the file is closed at their end."""
        try:
            with closing(store.reader):
                records = store.to_ndarray(count=_RECORDS)
                while True:
                    with warnings.catch_warnings():
                        warnings.simplefilter("error", self._truncated)
                        chunk = next(records, None)
                    if chunk is None:
                        return
                    yield chunk
        except self._failures as error:
            raise UnreadableFileError(
                f"the records of this file cannot be read: {str(error)[:120]}",
                where=str(path),
                fix=FETCH_AGAIN,
            ) from error

    def _named(
        self, records: NDArray[Any], ns: NDArray[np.int64], symbols: Any
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return a code for each record and the symbol of each code, empty where it is not known."""
        days = ns // DAY_NS
        pairs = records["instrument_id"].astype(np.int64) * 65_536 + days
        unique, codes = np.unique(pairs, return_inverse=True)
        found = symbols.resolve_many(
            (unique // 65_536).astype(np.uint64), (unique % 65_536).astype("datetime64[D]")
        )
        numbers, on = (unique // 65_536).tolist(), (unique % 65_536).tolist()
        names = [
            name or self._names.name_on(number, day)
            for name, number, day in zip(found, numbers, on, strict=True)
        ]
        return codes.astype(np.int64), np.array(names, dtype=object)

    def _add_definitions(self, store: Any, path: Path) -> None:
        for records in self._chunks(store, path):
            for record in records:
                symbol = _text(record["raw_symbol"])
                deleted = record["security_update_action"] in (b"D", "D")
                self._names.add(
                    int(record["instrument_id"]), int(record["ts_recv"]), "" if deleted else symbol
                )
                if deleted:
                    continue
                root = re.sub(OCC_TAIL, "", symbol).strip()
                if root == symbol or (self._wanted and root not in self._wanted):
                    continue
                try:
                    option = us_option(symbol, [root])
                except ScalpdeskError:
                    continue
                self.listings.setdefault(option.root, {})[option.symbol] = _terms(
                    record, option.symbol, expiry_instant_ns(option)
                )


class _NumberedNames:
    """Symbols of instruments by number and day: the venue may give a number anew with each day."""

    def __init__(self) -> None:
        self._by_number: dict[int, dict[int, list[tuple[int, str]]]] = {}
        self._days: set[int] = set()
        self._given_anew = False
        """Whether any number has had two symbols: then each day needs its own definitions."""

    def add(self, number: int, ns: int, symbol: str) -> None:
        """Keep a definition as of an instant (UTC nanoseconds); an empty symbol deletes the number."""
        day = ns // DAY_NS
        of_number = self._by_number.setdefault(number, {})
        others = {each for found in of_number.values() for _, each in found if each}
        self._given_anew |= bool(symbol and others - {symbol})
        of_number.setdefault(day, []).append((ns, symbol))
        self._days.add(day)

    def name_on(self, number: int, day: int) -> str:
        """Return the symbol of a number on a day (since 1970); empty where it is not known."""
        of_number = self._by_number.get(number)
        if not of_number:
            return ""
        if day in of_number:  # what is deleted within a day was quoted before
            return next((symbol for _, symbol in sorted(of_number[day], reverse=True) if symbol), "")
        if self._given_anew or day in self._days:
            return ""
        before = max((each for each in of_number if each < day), default=None)
        return max(of_number[min(of_number) if before is None else before])[1]


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").rstrip("\x00").strip()


def _terms(record: Mapping[str, Any], symbol: str, expires_ns: int) -> dict[str, Any]:
    """Return the terms of an option with the columns of the catalogue's listings.

    ``expires_ns``: By its class; the venue's ``expiration`` is midnight UTC, the evening before in New York.
    """

    def price(name: str) -> float | None:
        value = int(record[name])
        return None if value == np.iinfo(np.int64).max else value / 1e9

    def instant(name: str) -> int | None:
        value = int(record[name])
        return None if value == np.iinfo(np.uint64).max else value

    multiplier = int(record["contract_multiplier"])
    return {
        "symbol": symbol,
        "kind": "option",
        "currency": _text(record["currency"]) or "USD",
        "right": _text(record["instrument_class"]),
        "created": instant("activation"),
        "expires": expires_ns,
        "strike": price("strike_price"),
        "tick_size": price("min_price_increment"),
        "contract_size": float(multiplier) if 0 < multiplier < np.iinfo(np.int32).max else None,
    }


def _columns(records: NDArray[Any], schema: str) -> dict[str, Any]:
    """Return the columns of a chunk that the rows of its schema are made of.

    A side without a price is there as 0, which means no such side.
    """
    missing = np.iinfo(np.int64).max

    def price(name: str, absent: float) -> NDArray[np.float64]:
        raw = records[name]
        return np.where(raw == missing, absent, raw / 1e9)

    is_bar = schema in _BAR_SECONDS
    stamp = records["ts_event" if is_bar else "ts_recv"]
    known = stamp != np.iinfo(np.uint64).max
    columns: dict[str, Any] = {"ns": np.where(known, stamp, 0).astype(np.int64)}
    if schema in _BOOK_SCHEMAS:
        for side in ("bid", "ask"):
            columns[side] = price(f"{side}_px_00", 0.0)
            columns[f"{side}_size"] = records[f"{side}_sz_00"].astype(np.float64)
    if schema in _PRINT_SCHEMAS:
        columns["price"] = price("price", np.nan)
        columns["size"] = records["size"].astype(np.float64)
        columns["is_print"] = np.isfinite(columns["price"])
        # the library leaves it out of tcbbo, which has trades alone
        if "action" in (records.dtype.names or ()):
            columns["is_print"] &= records["action"] == b"T"
    if is_bar:
        for name in ("open", "high", "low", "close"):
            columns[name] = price(name, np.nan)
        columns["volume"] = records["volume"].astype(np.float64)
    if schema == "statistics":
        columns["quantity"] = records["quantity"].astype(np.int64)
        columns["is_interest"] = records["stat_type"] == _OPEN_INTEREST
    return columns


def listings_note(listings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many definitions were read."""
    total = sum(len(found) for found in listings.values())
    return f"{count_text(total, 'definition')} of {', '.join(sorted(listings))}"
