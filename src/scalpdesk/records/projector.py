"""Turn a run's journal into rows. Doing it again gives the same rows, and nothing else is needed."""

from pathlib import Path

from sqlalchemy import insert, select, update

from scalpdesk.core.errors import JournalError
from scalpdesk.journal.reader import JournalReader
from scalpdesk.journal.runs import run_dirs
from scalpdesk.records.projection import Progress, Projection
from scalpdesk.records.store import Store, delete_run
from scalpdesk.records.tables import RunRow


def project_journal(run_dir: Path, store: Store, progress: Progress | None = None) -> str:
    """Make a run's rows from its journal and put them in the place of the old ones; return its id.

    All of it happens in one transaction: another reader sees the old rows or the new ones.

    Parameters
    ----------
    run_dir
        Folder of the run.
    store
        An open store.
    progress
        Called now and then with events done and events in all.

    Raises
    ------
    JournalError
        When the journal is absent or damaged; the rows stay as they were.
    """
    reader = JournalReader(run_dir)
    run_id = reader.header.run_id
    with store.engine.connect().execution_options(writes=True) as connection, connection.begin():
        projection = Projection(reader, connection)
        delete_run(connection, run_id)
        # SQLite and PostgreSQL both want the run before the rows that name it; its figures follow.
        connection.execute(insert(RunRow), [projection.run_row()])
        projection.run(progress)
        connection.execute(update(RunRow).where(RunRow.run_id == run_id).values(projection.run_row()))
    return run_id


def project_missing(runs_dir: Path, store: Store, progress: Progress | None = None) -> dict[str, str]:
    """Project every journal under ``runs_dir`` that the store does not hold or holds unfinished.

    Returns
    -------
    dict
        What could not be read: folder name to the refusal. Damage in one run hides no other.
    """
    with store.session() as session:
        rows = session.execute(select(RunRow.run_id, RunRow.sealed))
        is_sealed = {row.run_id: row.sealed for row in rows}
    refused: dict[str, str] = {}
    for folder in run_dirs(runs_dir):
        if is_sealed.get(folder.name):
            continue
        try:
            project_journal(folder, store, progress)
        except JournalError as error:
            refused[folder.name] = error.render()
    return refused
