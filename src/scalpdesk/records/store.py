"""Open the store of runs and read what it lists. SQLite by default, PostgreSQL by URL."""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, delete, event, inspect, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import DatabaseError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from scalpdesk.core.errors import ConfigError, DataError, RetryError
from scalpdesk.core.owner_only import make_folder, own_file
from scalpdesk.core.units import money_decimals, run_currency
from scalpdesk.journal.reader import pick_run_id
from scalpdesk.portfolio.explain import BASIS, PARTS, parts_in_cents
from scalpdesk.records.form import complete, differences
from scalpdesk.records.tables import (
    CHILD_TABLES,
    DecisionRow,
    FillRow,
    MarkRow,
    NoteRow,
    OptionsScalpRecord,
    OrderRow,
    PositionRow,
    RunRow,
    ScalpOutcomeRow,
)

STORE_FILE = "desk.sqlite"
HEAD_REVISION = "r0006"
"""Newest migration. A store that stands there already is opened without loading Alembic."""
_EARLIER_REVISIONS = ("r0002", "r0003", "r0004", "r0005")
"""Steps of earlier programs: the newest migration brings a store from any of them."""
MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x5CA1DE5C
_BUSY_SECONDS = 30
_POSTGRES = {"connect_timeout": "10", "client_encoding": "utf8"}
"""A host that does not answer would hold a page for minutes; a database in SQL_ASCII, as a server without a
locale makes it, would send bytes for text."""
SETTING = "credentials.records_url"
"""The setting that names another store than the default one."""
_MOST_PARAMETERS = 500
"""Values in one statement."""
_Found = TypeVar("_Found")


class Store:
    """An open store, migrated to the newest tables. Made by :func:`open_store`; close it after use.

    Attributes
    ----------
    engine
        SQLAlchemy's engine.
    session
        Makes ORM sessions on it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.session: sessionmaker[Session] = sessionmaker(engine, expire_on_commit=False)

    @property
    def shown_url(self) -> str:
        """The store's URL, without its password."""
        return _shown(self.engine.url)

    def rows(self, statement: Any) -> list[Any]:
        """Return what a statement selects."""
        with self.session() as session:
            return list(session.scalars(statement))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close()
        if isinstance(error, OperationalError):  # a full disk, a file that cannot be written, a server gone
            raise _refused("read or written", error, self.engine.url) from error


def _refused(done: str, error: OperationalError, url: URL) -> RetryError:
    """Return the refusal of a database that lets nothing be ``done``."""
    fix = "see that the folder can be written and its disk has room"
    if not _is_file(url):
        fix = (
            "see that the database runs and lets this user in; without the setting the runs are read from"
            f" their journals into {STORE_FILE}"
        )
    return RetryError(
        f"the store of runs cannot be {done}: {_first_line(error)}", where=SETTING, value=_shown(url), fix=fix
    )


def store_url(runs_dir: Path) -> str:
    """Return the URL of the default store: ``desk.sqlite`` in the folder of the runs."""
    return URL.create("sqlite", database=str(runs_dir / STORE_FILE)).render_as_string()


def open_store(url: str) -> Store:
    """Open a store, made when it is not there, and bring its tables to the newest form.

    ``url`` is one of SQLAlchemy: ``sqlite:///runs/desk.sqlite``, ``postgresql://user:password@host/desk``.

    Raises ConfigError when the URL cannot be read, or its driver is not installed. Raises DataError when the
    file is no database, or a newer program has changed its tables. Raises RetryError when the database does
    not answer.
    """
    engine = _engine_of(_parse(url))
    if _is_file(engine.url):
        _prepare_sqlite(engine, engine.url)
    try:
        with _refusals(engine.url):
            _migrate(engine, _shown(engine.url))
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


def stored_revision(url: str) -> tuple[str, str | None]:
    """Return a store's URL as it may be shown, and the migration of its tables, None without any.

    Nothing is made or changed.

    Raises ConfigError, DataError, RetryError as :func:`open_store`.
    """
    engine = _engine_of(_parse(url))
    shown = _shown(engine.url)
    if _is_file(engine.url) and not Path(engine.url.database or "").exists():
        return shown, None
    try:
        with _refusals(engine.url), engine.connect() as connection:
            return shown, _revision(connection)
    finally:
        engine.dispose()


def _engine_of(url: URL) -> Engine:
    try:
        return create_engine(url)
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            "the driver of this database is not installed",
            where=SETTING,
            value=_shown(url),
            fix='pip install "scalpdesk[postgres]" and write postgresql://…, or use sqlite:///FILE',
        ) from error


@contextmanager
def _refusals(url: URL) -> Iterator[None]:
    """Turn what a database refuses on opening into the errors of :func:`open_store`."""
    try:
        yield
    except OperationalError as error:
        raise _refused("opened", error, url) from error
    except DatabaseError as error:
        raise DataError(
            f"this is not a store of runs: {_first_line(error)}",
            where=SETTING,
            value=_shown(url),
            fix="move the file away: the journals make the store again, but for notes and tags"
            if _is_file(url)
            else "name an empty database in which this user may create tables",
        ) from error


def read_runs(runs_dir: Path, read: Callable[[Store], _Found], url: str | None = None) -> _Found:
    """Return what ``read`` finds in the store of the runs, which it may bring up to date first.

    ``url``: Of :data:`SETTING`; None is the default store. Where the disk lets nothing be written into that,
    a copy in memory is read, with a warning.
    Raises RetryError when the database at ``url`` does not answer.
    """
    if url is not None:
        with open_store(url) as store:
            return read(store)
    try:
        with open_store(store_url(runs_dir)) as store:
            return read(store)
    except RetryError as error:
        _warn_once(runs_dir, error.what)
    with _open_copy(runs_dir) as store:
        return read(store)


@cache
def _warn_once(runs_dir: Path, why: str) -> None:
    logging.getLogger(__name__).warning(
        "%s: %s; the runs are read from their journals every time;"
        " fix: free disk space, or let the folder be written",
        runs_dir / STORE_FILE,
        why,
    )


def _open_copy(runs_dir: Path) -> Store:
    """Open a copy of the default store in memory; an empty one where the store cannot be read either."""
    url = make_url("sqlite://")
    engine = create_engine(url)
    _prepare_sqlite(engine, url)
    source = f"{(runs_dir / STORE_FILE).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(source, uri=True)) as stored, engine.connect() as connection:
            copy: Any = connection.connection.dbapi_connection
            stored.backup(copy)
    except sqlite3.Error:
        engine.dispose()
    _migrate(engine, str(url))
    return Store(engine)


def list_runs(store: Store) -> list[RunRow]:
    """Return all runs, oldest first."""
    return store.rows(select(RunRow).order_by(RunRow.started_ns, RunRow.run_id))


def load_run(store: Store, name: str) -> RunRow:
    """Return the run that ``name`` means: its id, the beginning of its id, or ``last``.

    Raises
    ------
    DataError
        When no run or more than one fits; names the nearest, or those that fit.
    """
    run_ids = store.rows(select(RunRow.run_id).order_by(RunRow.started_ns, RunRow.run_id))
    run_id = pick_run_id(name, run_ids, where=store.shown_url)
    (found,) = store.rows(select(RunRow).where(RunRow.run_id == run_id))
    run: RunRow = found
    return run


def pnl_in_cents(row: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the P&L of a run of the list by part and in ``total``, in its account's smallest unit.

    It is that of its sealed report; of a run that goes on, of its marks so far.
    """
    sealed = row["summary"].get("pnl")
    if sealed:
        return {name: Decimal(amount) for name, amount in sealed.items()}
    parts = {name: Decimal(row[f"pnl_{name}"]) for name in PARTS}
    if row["pnl_basis"]:
        parts[BASIS] = Decimal(row["pnl_basis"])
    unit = Decimal(1).scaleb(-money_decimals(run_currency(row["config"])))
    return parts_in_cents(parts, Decimal(row["nav_change"]), unit)


def load_tables(store: Store, run_id: str, *names: str) -> dict[str, list[dict[str, Any]]]:
    """Return a run's rows by the name of their table, each in order: ``orders``, ``fills`` and so on."""
    ordered: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "orders": (OrderRow, (OrderRow.number,)),
        "fills": (FillRow, (FillRow.number,)),
        "decisions": (DecisionRow, (DecisionRow.number,)),
        "marks": (MarkRow, (MarkRow.number,)),
        "positions": (PositionRow, (PositionRow.symbol,)),
        "notes": (NoteRow, (NoteRow.kind, NoteRow.name)),
    }
    return {
        name: [row.as_dict() for row in store.rows(select(table).filter_by(run_id=run_id).order_by(*order))]
        for name in names
        for table, order in (ordered[name],)
    }


def delete_run(connection: Connection, run_id: str) -> dict[str, int]:
    """Delete a run's rows from every table, in the caller's transaction; return its scalps' ids by signal.

    In PostgreSQL a second transaction that deletes the run, to make its rows again, waits for the end of this
    transaction: it would delete the rows that it sees and miss or meet the rows made here. SQLite has one
    writer at a time.
    """
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:run_id, :key))")
        connection.execute(lock, {"run_id": run_id, "key": _ADVISORY_LOCK})
    table = OptionsScalpRecord
    mine = select(table.id, table.signal_id).join(ScalpOutcomeRow, ScalpOutcomeRow.scalp_id == table.id)
    # the outcomes name the scalps: read before they go, and gone before what they name
    rows = connection.execute(mine.where(ScalpOutcomeRow.run_id == run_id)).all()
    scalps = [row.id for row in rows]
    connection.execute(delete(ScalpOutcomeRow).where(ScalpOutcomeRow.run_id == run_id))
    for start in range(0, len(scalps), _MOST_PARAMETERS):
        part = scalps[start : start + _MOST_PARAMETERS]
        connection.execute(delete(table).where(table.id.in_(part)))
    for child in (*CHILD_TABLES, RunRow):
        connection.execute(delete(child).where(child.run_id == run_id))
    return {row.signal_id: row.id for row in rows}


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (UrlError, ValueError):
        # The text may hold a password: neither it nor the parser's error is shown.
        raise ConfigError(
            "the URL of the store cannot be read",
            where=SETTING,
            fix="write e.g. postgresql://user:password@host/desk; %40 for @, %2F for / in a password",
        ) from None
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
        return parsed.update_query_dict({**_POSTGRES, **parsed.query})
    return parsed


def _shown(url: URL) -> str:
    """Return a URL as it may be shown: without the password, in its place or among the parameters."""
    hidden = {name: "***" for name in url.query if "pass" in name.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _first_line(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0]


def _prepare_sqlite(engine: Engine, url: URL) -> None:
    """Make folder and file for their owner alone; let transactions hold table changes.

    Python's driver would not hold them.
    """
    if url.database and url.database != ":memory:":
        try:
            make_folder(Path(url.database).parent)
            with suppress(OSError):  # opening it says what is wrong
                own_file(Path(url.database))
        except OSError as error:
            raise ConfigError(
                f"the folder of the store cannot be made: {error.strerror}",
                where=SETTING,
                value=url.database,
            ) from error

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing of itself
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(engine: Engine, shown: str) -> None:
    with engine.connect() as connection:
        if _revision(connection) == HEAD_REVISION and not differences(connection):
            return
    from alembic import command  # noqa: PLC0415 - half a second that an up-to-date store need not pay
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            # SQLite's immediate transaction already keeps a second migration out.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _revision(connection) == HEAD_REVISION:
            complete(connection, differences(connection))  # none, where another program was first
            return
        if _revision(connection) in _EARLIER_REVISIONS:
            connection.execute(text("UPDATE alembic_version SET version_num = '136_options_scalper'"))
        config = alembic_config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise DataError(
                f"the store's tables are of another version: {error}",
                where=SETTING,
                value=shown,
                fix="use the scalpdesk that made it, or move the file away: notes go with it",
            ) from error


def alembic_config() -> Any:
    """Return Alembic's configuration for the migrations inside this package (no ini file)."""
    from alembic.config import Config  # noqa: PLC0415 - see _migrate

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
