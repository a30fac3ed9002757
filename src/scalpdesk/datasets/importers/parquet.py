"""Import a Parquet file with the catalogue's columns (docs/data.md)."""

from pathlib import Path

from scalpdesk.datasets.importers.base import ImportReport, Progress, no_progress
from scalpdesk.datasets.importers.tabular import ImportChoices, TableSource, import_table
from scalpdesk.datasets.store import connect


def import_parquet(
    catalog: Path, path: Path, choices: ImportChoices, progress: Progress = no_progress
) -> ImportReport:
    """Read a Parquet file into the data set ``choices.name``.

    Raises
    ------
    DataError
        See :func:`scalpdesk.datasets.importers.tabular.import_table`.
    """
    source = TableSource(path, "read_parquet(?)", "Parquet")
    return import_table(connect(), catalog, source, choices, progress)
