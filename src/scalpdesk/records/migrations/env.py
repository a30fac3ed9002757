"""Alembic's entry: it runs inside :func:`scalpdesk.records.store.open_store`, on its connection."""

from alembic import context

from scalpdesk.records.tables import Base

if context.is_offline_mode():
    dialect = context.config.attributes["dialect"]
    context.configure(dialect_name=dialect, target_metadata=Base.metadata, literal_binds=True)
else:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
