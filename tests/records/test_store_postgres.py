"""The same store in PostgreSQL: give TEST_POSTGRES_URL, a database, to run this."""

import pytest
from alembic import command
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from scalpdesk.records.projection import project_journal
from scalpdesk.records.store import delete_run, load_run, open_store
from tests.records.stores import all_rows, differs_from_the_models, migrate


@pytest.fixture
def postgres(postgres_url):
    with open_store(postgres_url) as store:
        yield store
        migrate(store, command.downgrade, "base")


def test_postgresql_holds_the_same_rows_as_sqlite(postgres, store, tmp_path, header, story, write):
    run_dir = write(tmp_path, header, story)
    project_journal(run_dir, store)
    for _ in range(2):
        project_journal(run_dir, postgres)
        assert all_rows(postgres) == all_rows(store)
    assert differs_from_the_models(postgres) == []


@pytest.fixture
def ascii_url(postgres_url):
    """Return the URL of a database as a server without a locale makes it."""
    url = make_url(postgres_url)
    name = url.query["options"].removeprefix("-csearch_path=") + "_ascii"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
    plain = url.difference_update_query(["options"]).set(drivername="postgresql", database=name)
    yield plain.render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    engine.dispose()


def test_a_database_without_an_encoding_holds_runs(ascii_url, tmp_path, header, story, write):
    with open_store(ascii_url) as store:
        project_journal(write(tmp_path, header, story), store)
        assert load_run(store, "last").run_id == header.run_id


def test_the_rows_of_a_run_are_made_anew_by_one_transaction_at_a_time(postgres):
    with postgres.engine.connect() as first, postgres.engine.connect() as second:
        with first.begin(), second.begin():
            delete_run(first, "demo-1")
            second.execute(text("SET LOCAL lock_timeout = 1"))
            delete_run(second, "demo-2")
            with pytest.raises(OperationalError, match="lock timeout"):
                delete_run(second, "demo-1")
        with second.begin():
            delete_run(second, "demo-1")
