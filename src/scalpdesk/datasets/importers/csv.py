"""Import a CSV file with the catalogue's columns (docs/data.md)."""

from pathlib import Path

from scalpdesk.datasets.importers.base import ImportReport, Progress, no_progress
from scalpdesk.datasets.importers.tabular import ImportChoices, TableSource, import_table
from scalpdesk.datasets.store import connect


def import_csv(
    catalog: Path, path: Path, choices: ImportChoices, progress: Progress = no_progress
) -> ImportReport:
    """Read a CSV file (header, comma) into the data set ``choices.name``.

    Raises
    ------
    DataError
        See :func:`scalpdesk.datasets.importers.tabular.import_table`.
    """
    source = TableSource(path, "read_csv(?, header = true)", "CSV")
    return import_table(connect(), catalog, source, choices, progress)
