"""What several tests ask of a store: its rows, its migrations, its tables against the models."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from scalpdesk.records.store import alembic_config
from scalpdesk.records.tables import CHILD_TABLES, Base, RunRow


def all_rows(store):
    """Return the rows of every table of runs, by its name."""
    with store.session() as session:
        return {
            table.__table__.name: [
                repr(sorted(row.as_dict().items()))
                for row in session.scalars(select(table).order_by(*table.__table__.primary_key.columns))
            ]
            for table in (RunRow, *CHILD_TABLES)
        }


def migrate(store, way, revision):
    config = alembic_config()
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        way(config, revision)


def differs_from_the_models(store):
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)
