"""A store that another build made is opened, whatever columns came, went or changed since."""

import sqlite3

import pytest
from sqlalchemy import select, text

from scalpdesk.records.form import differences
from scalpdesk.records.projection import project_if_new, project_journal, project_missing
from scalpdesk.records.store import open_store, store_url
from scalpdesk.records.tables import Base, NoteRow, RunRow
from tests.records.stores import all_rows, differs_from_the_models


@pytest.fixture
def kept(tmp_path, header, story, write):
    """Return the folder of a run whose rows are in a store beside it, and these rows."""
    run = write(tmp_path, header, story, summary={"wall_seconds": 0.5})
    with open_store(store_url(tmp_path)) as store:
        project_journal(run, store)
        rows = all_rows(store)
    return tmp_path, rows


def change(folder, *statements):
    with sqlite3.connect(folder / "desk.sqlite") as connection:
        for each in statements:
            connection.execute(each)
    connection.close()


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER TABLE marks DROP COLUMN spot"],
        ["ALTER TABLE orders ADD COLUMN what_another_build_noted TEXT NOT NULL DEFAULT '-'"],
        ["ALTER TABLE fills DROP COLUMN price", "ALTER TABLE fills ADD COLUMN price DOUBLE"],
        ["ALTER TABLE runs DROP COLUMN pnl_basis", "DROP TABLE trades"],
        ["DROP INDEX ix_fills_order", "ALTER TABLE fills DROP COLUMN client_order_id"],
        ["DROP TABLE positions", "CREATE TABLE positions (run_id TEXT PRIMARY KEY, symbol TEXT)"],
    ],
)
def test_rows_are_made_again_where_columns_differ(kept, statements):
    folder, rows = kept
    change(folder, *statements)
    with open_store(store_url(folder)) as store:
        with store.engine.connect() as connection:
            assert not differences(connection)
        assert not differs_from_the_models(store)
        assert not project_missing(folder, store)
        assert all_rows(store) == rows


def test_one_run_is_made_again_when_it_is_asked_for(kept):
    folder, rows = kept
    change(folder, "ALTER TABLE marks DROP COLUMN spot")
    with open_store(store_url(folder)) as store:
        project_if_new(folder / "demo-1", store)
        assert all_rows(store) == rows


def test_a_run_without_its_journal_keeps_its_rows(kept):
    folder, rows = kept
    change(folder, "ALTER TABLE runs DROP COLUMN seed")
    for file in sorted((folder / "demo-1").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    (folder / "demo-1").rmdir()
    with open_store(store_url(folder)) as store:
        assert not project_missing(folder, store)
        (run,) = store.rows(select(RunRow))
        assert run.run_id == "demo-1"
        assert run.seed is None
        assert all_rows(store)["marks"] == rows["marks"]


def test_what_a_person_wrote_is_never_taken_away(kept):
    folder, _ = kept
    change(
        folder,
        "INSERT INTO notes VALUES ('demo-1', 'run', '', '[]', 'bought too early', 1)",
        "ALTER TABLE notes ADD COLUMN mood TEXT",
        "ALTER TABLE options_scalps ADD COLUMN desk TEXT",
        "ALTER TABLE marks DROP COLUMN spot",
    )
    with open_store(store_url(folder)) as store:
        (note,) = store.rows(select(NoteRow))
        assert note.note == "bought too early"
        with store.engine.connect() as connection:
            assert connection.execute(text("SELECT mood FROM notes")).all() == [(None,)]
            assert connection.execute(text("SELECT desk FROM options_scalps")).all() == []


def test_notes_change_by_a_migration_alone():
    columns = [(each.name, each.nullable) for each in Base.metadata.tables["notes"].columns]
    assert columns == [(name, False) for name in ("run_id", "kind", "name", "tags", "note", "changed_ns")]
