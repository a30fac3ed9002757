import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import msgspec
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, select, text
from sqlalchemy.exc import OperationalError

from scalpdesk.core.errors import ConfigError, DataError, RetryError
from scalpdesk.records import store as store_module
from scalpdesk.records.projection import project_journal, project_missing
from scalpdesk.records.store import (
    HEAD_REVISION,
    STORE_FILE,
    alembic_config,
    list_runs,
    load_run,
    load_tables,
    open_store,
    read_runs,
    store_url,
)
from scalpdesk.records.tables import MarkRow
from tests.records.stores import migrate


def test_the_known_head_is_the_newest_migration():
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD_REVISION


def test_migrations_go_down_to_nothing(store):
    migrate(store, command.downgrade, "base")
    assert inspect(store.engine).get_table_names() == ["alembic_version"]


def test_postgresql_gets_exact_numbers(capsys):
    config = alembic_config()
    config.attributes["dialect"] = "postgresql"
    command.upgrade(config, "head", sql=True)
    script = capsys.readouterr().out
    assert "nav_change NUMERIC NOT NULL" in script
    assert "CREATE TABLE positions" in script


def test_an_up_to_date_store_opens_without_alembic(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'a' / 'desk.sqlite'}"
    open_store(url).close()
    monkeypatch.setitem(sys.modules, "alembic", None)
    with open_store(url) as store:
        assert list_runs(store) == []


def test_the_default_store_lies_in_the_runs_folder(tmp_path):
    with open_store(store_url(tmp_path / "runs")) as store:
        assert list_runs(store) == []
    assert (tmp_path / "runs" / "desk.sqlite").is_file()


def test_amounts_come_back_digit_for_digit(store, tmp_path, header, story, write):
    project_journal(write(tmp_path, header, story), store)
    with store.session() as session:
        mark = session.scalars(select(MarkRow).order_by(MarkRow.number)).first()
        assert str(mark.nav_change) == "-0.55"
        assert session.scalar(select(MarkRow.number).where(MarkRow.nav_change == Decimal("10.25"))) == 2


def test_runs_are_listed_and_found_by_what_a_person_types(store, tmp_path, header, story, write):
    with pytest.raises(DataError, match="no run yet"):
        load_run(store, "last")
    for started, name in ((2, "demo-b"), (1, "demo-a"), (3, "backtest-c")):
        own = msgspec.structs.replace(header, run_id=name, started_ns=started)
        project_journal(write(tmp_path, own, story[:1]), store)
    assert [run.run_id for run in list_runs(store)] == ["demo-a", "demo-b", "backtest-c"]
    assert load_run(store, "last").run_id == "backtest-c"
    assert load_run(store, "back").run_id == "backtest-c"
    assert load_run(store, "demo-a").as_dict()["strategy"] == "gamma_scalper"
    with pytest.raises(DataError, match="2 runs begin with this"):
        load_run(store, "demo")
    with pytest.raises(DataError) as refused:
        load_run(store, "demo_a")
    assert refused.value.nearest == "demo-a"


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "desk.sqlite").write_bytes(b"PAR1 this is no database" * 100)
    with pytest.raises(DataError, match=r"not a store of runs[\s\S]*desk\.sqlite"):
        open_store(f"sqlite:///{tmp_path / 'desk.sqlite'}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        open_store(f"sqlite:///{tmp_path / 'file' / 'sub' / 'desk.sqlite'}")
    (tmp_path / "desk.sqlite").mkdir()
    with pytest.raises(RetryError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path / 'desk.sqlite'}")


def test_a_store_of_a_newer_program_is_refused(tmp_path):
    path = tmp_path / "desk.sqlite"
    open_store(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = 'r9999'")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match=r"another version.*r9999"):
        open_store(f"sqlite:///{path}")


def test_several_that_open_a_new_store_at_once_all_get_it(tmp_path):
    url = f"sqlite:///{tmp_path / 'desk.sqlite'}"
    waiting = threading.Barrier(4)

    def open_at_once(_number):
        waiting.wait()
        with open_store(url) as store:
            return list_runs(store)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_at_once, range(4))) == [[]] * 4


def test_a_store_in_memory_is_migrated_too():
    with open_store("sqlite://") as store:
        assert list_runs(store) == []


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "desk.sqlite"

    def half_way(_config, _revision):
        with_connection = _config.attributes["connection"]
        with_connection.execute(text("CREATE TABLE runs (run_id TEXT)"))
        raise RuntimeError

    monkeypatch.setattr(command, "upgrade", half_way)
    with pytest.raises(RuntimeError):
        open_store(f"sqlite:///{path}")
    monkeypatch.undo()
    with open_store(f"sqlite:///{path}") as store:
        assert list_runs(store) == []


def test_the_migrations_are_inside_the_package():
    assert (store_module.MIGRATIONS / "env.py").is_file()
    assert (store_module.MIGRATIONS / "script.py.mako").is_file()


def test_a_database_that_fails_while_it_is_used_is_named_with_the_fix(tmp_path):
    url = f"sqlite:///{tmp_path / 'desk.sqlite'}"
    with pytest.raises(RetryError, match="database or disk is full") as refused, open_store(url):
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert refused.value.value == url
    assert "its disk has room" in refused.value.fix


def test_runs_are_read_from_their_journals_where_the_store_cannot_be_written(
    tmp_path, header, story, write, monkeypatch, caplog
):
    """As on a read-only or a full disk: the runs that the store holds, and one that came later."""

    def listed(store):
        return project_missing(tmp_path, store), [run.run_id for run in list_runs(store)]

    write(tmp_path, header, story)
    assert read_runs(tmp_path, listed) == ({}, ["demo-1"])
    write(tmp_path, msgspec.structs.replace(header, run_id="demo-2", started_ns=2**61), story)
    before = (tmp_path / STORE_FILE).read_bytes()

    def read_only(url):
        engine = create_engine(url)
        if url.database:
            event.listen(engine, "connect", lambda made, _: made.execute("PRAGMA query_only = ON"))
        return engine

    monkeypatch.setattr(store_module, "create_engine", read_only)
    assert read_runs(tmp_path, listed) == ({}, ["demo-1", "demo-2"])
    assert (tmp_path / STORE_FILE).read_bytes() == before
    assert "attempt to write a readonly database; the runs are read from their journals" in caplog.text
    fills = read_runs(
        tmp_path, lambda store: (listed(store), load_tables(store, "demo-1", "fills")["fills"])[1]
    )
    assert len(fills) == 5


def test_runs_are_read_where_no_store_can_be_made(tmp_path, header, story, write):
    write(tmp_path, header, story)
    (tmp_path / STORE_FILE).mkdir()
    with pytest.raises(RetryError), open_store(store_url(tmp_path)):
        pass
    found = read_runs(tmp_path, lambda store: (project_missing(tmp_path, store), load_run(store, "last")))
    assert (found[0], found[1].run_id) == ({}, "demo-1")
