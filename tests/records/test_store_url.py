"""The store that ``credentials.records_url`` names: its password stays hidden, its absence is named."""

import sys

import pytest

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.records.projection import project_missing
from scalpdesk.records.store import SETTING, STORE_FILE, list_runs, open_store, read_runs

NO_SERVER = "127.0.0.1:1"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://desk:hidden-word@{NO_SERVER}/desk",
        f"postgres://desk:hidden%2Dword@{NO_SERVER}/desk?sslpassword=hidden-word",
        f"postgresql+psycopg://desk@{NO_SERVER}/desk?password=hidden-word",
        "postgresql://desk:hidden-word@[::1/desk",
        "postgresql://desk:hidden-word@host:port/desk",
        "nonsense://desk:hidden-word@host/desk",
        "hidden-nonsense",
    ],
)
def test_no_refusal_of_a_database_shows_its_password(url):
    with pytest.raises((RetryError, ConfigError)) as refused:
        open_store(url)
    error = refused.value
    assert error.where == SETTING
    assert error.fix
    while error is not None:
        assert "hidden" not in f"{error!r} {error} {getattr(error, 'value', '')}"
        error = error.__cause__


def test_a_database_that_is_down_is_no_reason_to_make_another_store(tmp_path):
    with pytest.raises(RetryError):
        read_runs(tmp_path, list_runs, f"postgresql://desk@{NO_SERVER}/desk")
    assert not list(tmp_path.iterdir())


def test_a_missing_driver_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError) as refused:
        open_store(f"postgresql://desk@{NO_SERVER}/desk")
    assert refused.value.where == SETTING
    assert 'pip install "scalpdesk[postgres]"' in refused.value.fix


def test_the_runs_of_a_folder_are_made_again_in_an_empty_database(
    postgres_url, tmp_path, header, story, write
):
    write(tmp_path, header, story)

    def listed(store):
        return project_missing(tmp_path, store), [run.run_id for run in list_runs(store)]

    assert read_runs(tmp_path, listed, postgres_url) == ({}, ["demo-1"])
    assert read_runs(tmp_path, list_runs, postgres_url)[0].fills
    assert not (tmp_path / STORE_FILE).exists()
