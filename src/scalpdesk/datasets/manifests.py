"""Description of a data set, in a few lines of JSON beside its files: source, days, amount."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.errors import DataError, nearest_name
from scalpdesk.datasets.embedded import RECONSTRUCTED
from scalpdesk.datasets.store import DATED_TABLES, checked_name, day_files, read_columns, replace_file

_MANIFEST = "manifest.json"
FORMAT = 1


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a data set for one underlying."""

    type: str
    """``equity``, ``index`` or ``future``."""
    sessions: tuple[str, ...]
    """Days with at least one row, ISO dates (years for hourly and daily bars)."""
    instruments: int
    rows: int
    keys: tuple[str, ...]
    """Folder names that belong to it: its own symbol and the roots of its options."""
    tables: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows by ``table/key``."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a data set, in a few lines of JSON beside it."""

    format: int = FORMAT
    name: str
    source: str
    """Where the rows came from: the importer and the folder's name."""
    kind: str = "recorded"
    bar_seconds: int = 60
    underlyings: dict[str, Coverage] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all underlyings."""
        return sum(part.rows for part in self.underlyings.values())


def read_manifest(catalog: Path, name: str) -> Manifest:
    """Read the manifest of a data set.

    Raises DataError when there is no such data set (names those there are) or its manifest is damaged.
    """
    path = catalog / name / _MANIFEST
    if not path.is_file():
        there = data_set_names(catalog)
        listed = ", ".join(there) if there else "none"
        nearest = nearest_name(name, (*there, *RECONSTRUCTED))
        raise DataError(
            f"no data set of this name in the catalogue; there: {listed}",
            where=str(catalog),
            value=name,
            nearest=nearest,
            fix=f"write {nearest}"
            if nearest
            else "scalpdesk data import lean PATH (or: data import csv|parquet), then: scalpdesk data ls",
        )
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise DataError(
            f"the manifest of this data set is damaged: {error}",
            where=str(path),
            fix=f"rm '{path}', then import the data set again: scalpdesk data import ...",
        ) from error
    if manifest.format != FORMAT:
        raise DataError(
            f"this data set is of format {manifest.format}, this version reads {FORMAT}",
            where=str(path),
            fix="import the data set again: scalpdesk data import ...",
        )
    return manifest


def data_set_names(catalog: Path) -> list[str]:
    """Return the names of the data sets in the catalogue, sorted."""
    return sorted(path.parent.name for path in catalog.glob(f"*/{_MANIFEST}"))


def save_manifest(catalog: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    document = msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()
    replace_file(catalog / manifest.name / _MANIFEST, f"{document}\n")


def coverage_of(
    connection: Any, catalog: Path, name: str, types: Mapping[str, str], keys: Mapping[str, Iterable[str]]
) -> dict[str, Coverage]:
    """Count what the data set holds of every underlying, from the files themselves."""
    found: dict[str, Coverage] = {}
    for underlying in sorted(keys):
        names = tuple(sorted(set(keys[underlying])))
        tables, symbols, sessions = dict[str, int](), set[str](), set[str]()
        for table in DATED_TABLES:
            for key in names:
                files = day_files(catalog, name, table, key)
                if not files:
                    continue
                counted = read_columns(
                    connection, files, "SELECT symbol, count(*) AS n FROM rows GROUP BY symbol"
                )
                tables[f"{table}/{key}"] = int(counted["n"].sum())
                symbols.update(counted["symbol"].tolist())
                sessions.update(path.stem for path in files)
        if sessions:
            found[underlying] = Coverage(
                type=types[underlying],
                sessions=tuple(sorted(sessions)),
                instruments=len(symbols),
                rows=sum(tables.values()),
                keys=names,
                tables=tables,
            )
    return found


def manifest_bar_seconds(catalog: Path, name: str) -> int | None:
    """Return the bar length of the data set to write to, None when there is none of this name.

    Raises DataError when the name is no folder's name, or that of a reconstructed market.
    """
    if name.lower() in RECONSTRUCTED:
        raise DataError(
            "this name belongs to a reconstructed market: a data set of it could not be traded on",
            where="data set name",
            value=name,
            fix=f"choose another name, e.g. --name my-{name.lower()}",
        )
    is_there = (catalog / checked_name(name, where="data set name") / _MANIFEST).is_file()
    return read_manifest(catalog, name).bar_seconds if is_there else None


def manifest_to_extend(catalog: Path, name: str, bar_seconds: int) -> Manifest | None:
    """Return the manifest of the data set that rows will be added to, None when it is new.

    Importers call it before they write the first row. Raises DataError when the name is no folder's name or
    that of a reconstructed market, or the data set holds bars of another length.
    """
    known = manifest_bar_seconds(catalog, name)
    if known is None:
        return None
    old = read_manifest(catalog, name)
    if known != bar_seconds:
        raise DataError(
            f"the data set holds bars of {old.bar_seconds} s, these are of {bar_seconds} s",
            where=str(catalog / name),
            fix="import them under another name: --name NAME",
        )
    return old


def update_manifest(
    connection: Any,
    catalog: Path,
    name: str,
    *,
    source: str,
    bar_seconds: int,
    types: Mapping[str, str],
    keys: Mapping[str, Iterable[str]],
    notes: Iterable[str] = (),
) -> Manifest:
    """Write the manifest after an import: what was there before, plus what has come.

    By underlying: ``types`` has its type, ``keys`` the folders (its symbol, option roots) just written.
    Raises DataError when the data set already holds bars of another length: they would be mixed up.
    """
    old = manifest_to_extend(catalog, name, bar_seconds)
    before = old.underlyings if old is not None else {}
    all_types = {underlying: part.type for underlying, part in before.items()} | dict(types)
    all_keys: dict[str, set[str]] = {underlying: set(part.keys) for underlying, part in before.items()}
    for underlying, names in keys.items():
        all_keys.setdefault(underlying, set()).update(names)
    manifest = Manifest(
        name=name,
        source=source,
        bar_seconds=bar_seconds,
        underlyings=coverage_of(connection, catalog, name, all_types, all_keys),
        notes=tuple(dict.fromkeys([*(old.notes if old is not None else ()), *notes])),
    )
    save_manifest(catalog, manifest)
    return manifest
