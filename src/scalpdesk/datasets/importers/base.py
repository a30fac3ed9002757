"""Report, progress and safe reading of zip archives, shared by the importers."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import count_text

FETCH_AGAIN = "fetch the file again, or move it out of the folder to import the rest"
_WORKBOOKS = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
_OLD_WORKBOOK = bytes.fromhex("d0cf11e0a1b11ae1")
"""Beginning of an Excel workbook of before 2007."""
MAX_MEMBERS = 100_000
MAX_MEMBER_BYTES = 512 * 2**20
MAX_ARCHIVE_BYTES = 4 * 2**30


class UnreadableFileError(DataError):
    """A file of the source that is damaged: an import names it, passes over it and reads the rest."""


Progress = Callable[[int, int, str], None]
"""Called with (files done, number of files, current file)."""


def no_progress(_done: int, _total: int, _label: str) -> None:
    """Show nothing."""


@dataclass(slots=True)
class ImportReport:
    """Files read and rows written by an import."""

    name: str
    files_read: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Rows written, by ``table/key``."""
    notes: list[str] = field(default_factory=list)
    """Caveats of the data, and rows or files that were skipped."""
    unreadable: list[UnreadableFileError] = field(default_factory=list)
    """Files that were passed over because they are damaged."""
    _counted: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    def add(self, table: str, key: str, rows: int) -> None:
        """Count rows written to a table."""
        label = f"{table}/{key}"
        self.rows[label] = self.rows.get(label, 0) + rows

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def count(self, words: str, rows: int, first: str = "") -> None:
        """Note how many rows are of a kind, over all files, and where the first of them stands."""
        before, place, old = self._counted.get(words, (0, first, ""))
        note = f"{count_text(before + rows, 'row')} {words}" + (f"; the first is {place}" if place else "")
        self._counted[words] = (before + rows, place, note)
        if old in self.notes:
            self.notes[self.notes.index(old)] = note
        else:
            self.note(note)

    @contextmanager
    def passing_over(self) -> Iterator[None]:
        """Read one file; when it is damaged, keep its name and the reason instead of raising."""
        try:
            yield
        except UnreadableFileError as error:
            self.unreadable.append(error)

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {
            "name": self.name,
            "files_read": self.files_read,
            "rows": dict(sorted(self.rows.items())),
            "rows_total": sum(self.rows.values()),
            "unreadable": [{"file": error.where, "reason": error.what} for error in self.unreadable],
            "notes": list(self.notes),
        }


def refuse_missing(path: Path, *, may_be_folder: bool = False) -> None:
    """Refuse a path without a file. Raises DataError."""
    if not path.is_file() and not (may_be_folder and path.is_dir()):
        raise DataError("no such file", where=str(path), fix="check the path")


def refuse_workbook(path: Path) -> None:
    """Refuse a workbook of a spreadsheet, whatever its ending.

    Raises UnreadableFileError when it is one: an importer reads tables of text.
    """
    is_workbook = path.suffix.lower() in _WORKBOOKS
    if path.is_file() and not is_workbook:
        with path.open("rb") as opened:
            start = opened.read(8)
        is_workbook = start == _OLD_WORKBOOK
        if start.startswith(b"PK") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                is_workbook = "xl/workbook.xml" in archive.namelist()
    if is_workbook:
        raise UnreadableFileError(
            "this is an Excel workbook; tables are read as text",
            where=str(path),
            fix="save its sheet as CSV (Save As, CSV UTF-8), and import that",
        )


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a zip after checking its declared size.

    Raises UnreadableFileError when it is no zip, is encrypted, or has more or larger members than a day of
    market data.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UnreadableFileError(
            f"not a readable zip: {error}",
            where=str(path),
            fix=FETCH_AGAIN,
        ) from error
    infos = archive.infolist()
    trouble = None
    if len(infos) > MAX_MEMBERS:
        trouble = f"it has {len(infos)} members; at most {MAX_MEMBERS} are read"
    elif any(info.flag_bits & 0x1 for info in infos):
        trouble = "it is encrypted"
    elif any(info.file_size > MAX_MEMBER_BYTES for info in infos):
        trouble = f"a member unpacks to more than {MAX_MEMBER_BYTES} bytes"
    elif sum(info.file_size for info in infos) > MAX_ARCHIVE_BYTES:
        trouble = f"it unpacks to more than {MAX_ARCHIVE_BYTES} bytes"
    if trouble is not None:
        archive.close()
        raise UnreadableFileError(
            f"this zip is not read: {trouble}", where=str(path), fix="split it, or move it away"
        )
    return archive


def read_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in the zip, limited to the declared size.

    Raises UnreadableFileError when a member is damaged; names the zip and the member.
    """
    for info in archive.infolist():
        if info.is_dir():
            continue
        try:
            with archive.open(info) as member:
                content = member.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError) as error:
            raise UnreadableFileError(
                f"a member of this zip cannot be read: {error}",
                where=f"{archive.filename}:{info.filename}",
                fix=FETCH_AGAIN,
            ) from error
        if len(content) > info.file_size:
            raise UnreadableFileError(
                "a member of this zip is longer than it claims",
                where=f"{archive.filename}:{info.filename}",
                fix=FETCH_AGAIN,
            )
        yield info.filename, content


def write_numbered_lines(out: BinaryIO, number: int, content: bytes) -> None:
    """Write the lines of one CSV member, each with the member's number as its first column."""
    prefix = b"%d," % number
    for line in content.splitlines():
        if line:
            out.write(prefix + line + b"\n")
