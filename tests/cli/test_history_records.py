"""The commands that show runs, with the database that ``credentials.records_url`` names."""

import gzip
from pathlib import Path

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.errors import EXIT_FAILED
from scalpdesk.records.store import SETTING, STORE_FILE

JOURNAL = Path(__file__).parents[1] / "journal/data/v0.1.0_sealed.sdj.gz"
RUN_ID = "20180205-093000-gamma-scalper-simulated-7be376"
NAME = "SCALPDESK_CREDENTIALS__RECORDS_URL"
COMMANDS = (["runs"], ["report", "last"], ["why", "--list"], ["scalps"], ["vol", "--track", "last"])


@pytest.fixture
def runs_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / RUN_ID
    folder.mkdir(parents=True)
    (folder / "journal-000001.sdj").write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    return folder.parent


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_that_shows_runs_reads_them_from_the_database(
    words, runs_dir, postgres_url, monkeypatch, document_of
):
    monkeypatch.setenv(NAME, postgres_url)
    document_of(*words)
    assert not (runs_dir / STORE_FILE).exists()


@pytest.mark.parametrize("words", [*COMMANDS, ["runs", "--debug"]])
def test_a_database_that_is_down_is_named_by_its_setting_and_without_its_password(
    words, runs_dir, monkeypatch, capsys
):
    monkeypatch.setenv(NAME, "postgresql://desk:hidden-word@127.0.0.1:1/desk")
    assert main(words) == EXIT_FAILED
    said = capsys.readouterr()
    assert SETTING in said.err
    assert "hidden" not in said.out + said.err


def test_no_listing_of_the_configuration_shows_the_password(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(NAME, "postgresql://desk:hidden-word@127.0.0.1:1/desk")
    for words in (["config", "show"], ["config", "show", "--json"], ["config", "check"], ["doctor"]):
        main(words)
        said = capsys.readouterr()
        assert "hidden" not in said.out + said.err
