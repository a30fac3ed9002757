"""A store's tables held against those of this program, and brought to them."""

from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Dialect, Table, inspect, update
from sqlalchemy.types import TypeDecorator

from scalpdesk.records.tables import Base, NoteRow, OptionsScalpRecord, RunRow

_KEPT = frozenset({NoteRow.__tablename__, OptionsScalpRecord.__tablename__})
"""Tables to which others write, too: a column is added where it lacks, none is taken away."""


class TableDifference(NamedTuple):
    """What a table of a store lacks, and what it has for nothing."""

    table: Table
    is_there: bool
    lacking: tuple[Column[Any], ...]
    unknown: tuple[str, ...]
    """Columns of another program, or of another kind than today's."""


def differences(connection: Connection) -> list[TableDifference]:
    """Return the tables of a store that are not those of this program."""
    look, found = inspect(connection), list[TableDifference]()
    names = set(look.get_table_names())
    for table in Base.metadata.sorted_tables:
        if table.name not in names:
            found.append(TableDifference(table, is_there=False, lacking=(), unknown=()))
            continue
        stored = {each["name"]: _kind_of_stored(each) for each in look.get_columns(table.name)}
        wanted = {column.name: _kind_of(column, connection.dialect) for column in table.columns}
        lacking = [column for column in table.columns if column.name not in stored]
        unknown = list[str]()
        if table.name not in _KEPT:
            other = {name for name in wanted.keys() & stored.keys() if wanted[name] != stored[name]}
            lacking += [column for column in table.columns if column.name in other]
            unknown += sorted((stored.keys() - wanted.keys()) | other)
        if lacking or unknown:
            found.append(TableDifference(table, True, tuple(lacking), tuple(unknown)))
    return found


def complete(connection: Connection, found: list[TableDifference]) -> None:
    """Bring a store's tables to those of this program, in the caller's transaction.

    The rows of a run are made again from its journal when they are asked for next; where that is gone they
    stay as they are, with nothing in what is new.
    """
    if not found:
        return
    from alembic.migration import MigrationContext  # noqa: PLC0415 - half a second that few openings pay
    from alembic.operations import Operations  # noqa: PLC0415 - as above

    operations = Operations(MigrationContext.configure(connection))
    for table, is_there, lacking, unknown in found:
        if not is_there:
            table.create(connection)
            continue
        if any(column.primary_key for column in lacking):  # its rows are named otherwise now
            table.drop(connection)
            table.create(connection)
            continue
        indexes = {name for index in table.indexes for name in (index.name,) if name is not None}
        for known in inspect(connection).get_indexes(table.name):
            if known["name"] in indexes:
                operations.drop_index(known["name"], table.name)
        for name in unknown:
            operations.drop_column(table.name, name)
        for column in lacking:
            default = None if column.nullable else "0"
            added = Column(column.name, column.type, nullable=column.nullable, server_default=default)
            operations.add_column(table.name, added)
        for index in table.indexes:
            index.create(connection)
    connection.execute(update(RunRow).values(journal_digest=""))


def _kind_of(column: Column[Any], dialect: Dialect) -> tuple[type, bool]:
    """Return what a column of this program holds, and whether it may be empty."""
    kind = column.type.dialect_impl(dialect)
    kind = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return kind.python_type, bool(column.nullable)


def _kind_of_stored(column: Any) -> tuple[type, bool]:
    return column["type"].python_type, bool(column["nullable"])
