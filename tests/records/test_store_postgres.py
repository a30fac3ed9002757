"""The same store in PostgreSQL: give TEST_POSTGRES_URL, a database, to run this."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.exc import OperationalError

from scalpdesk.records.projection import project_journal
from scalpdesk.records.store import alembic_config, delete_run, load_run, open_store
from scalpdesk.records.tables import CHILD_TABLES, Base, RunRow


def all_rows(store):
    with store.session() as session:
        return [
            repr(sorted(row.as_dict().items()))
            for table in (RunRow, *CHILD_TABLES)
            for row in session.scalars(select(table).order_by(*table.__table__.primary_key.columns))
        ]


@pytest.fixture
def postgres(postgres_url):
    store = open_store(postgres_url)
    yield store
    config = alembic_config()
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    store.close()


def test_postgresql_holds_the_same_rows_as_sqlite(postgres, store, tmp_path, header, story, write):
    run_dir = write(tmp_path, header, story)
    project_journal(run_dir, store)
    for _ in range(2):
        project_journal(run_dir, postgres)
        assert all_rows(postgres) == all_rows(store)
    with postgres.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


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
