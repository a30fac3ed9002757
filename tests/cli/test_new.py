"""``scalpdesk new strategy``: a package that trades as it is written; names and folders that are refused."""

from pathlib import Path

import pytest

from scalpdesk.cli.main import main
from scalpdesk_testing.kit.packages import install_points


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files(folder):
    return {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}


def test_a_new_strategy_is_written_under_its_own_name_and_trades(tmp_path, monkeypatch, document_of):
    written = document_of("new", "strategy", "my-own")["written"]
    assert sorted(written) == sorted(files("my-own"))
    for text in (path.read_text("utf-8").lower() for path in files("my-own").values()):
        assert not {
            name for name in ("morning-straddle", "morning_straddle", "morningstraddle") if name in text
        }
    site = tmp_path / "my-own" / "src"
    install_points(site, "my-own", {"scalpdesk.strategies": {"my-own": "my_own.strategy:PLUG"}})
    monkeypatch.syspath_prepend(str(site))
    found = document_of("backtest", "my-own", "--start", "2018-02-05", "--end", "2018-02-06")
    assert found["end_positions"] == {}
    assert "traded: 2 entry" in found["verdict"]  # one a session


@pytest.mark.parametrize("name", ["My", "1st", "a_b", "a-", ""])
def test_a_name_that_no_package_has_is_refused(name, tmp_path):
    assert main(["new", "strategy", name]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_and_a_folder_with_files_are_refused(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").write_text("kept")
    assert main(["new", "strategy", "st0cka"]) == 2
    assert main(["new", "strategy", "fine", "--folder", "here"]) == 2
    assert sorted(files(tmp_path)) == ["here/mine.txt"]
    assert main(["new", "strategy", "fine", "--folder", "there"]) == 0
    assert "there/src/fine/strategy.py" in files(tmp_path)


def test_a_time_of_a_strategys_own_is_written_as_hours_and_minutes(tmp_path, monkeypatch, told_by):
    assert main(["new", "strategy", "timed"]) == 0
    install_points(
        tmp_path / "timed" / "src", "timed", {"scalpdesk.strategies": {"timed": "timed.strategy:PLUG"}}
    )
    monkeypatch.syspath_prepend(str(tmp_path / "timed" / "src"))
    for given, read in (("9:45", "09:45:00"), ("12:30", "12:30:00"), ("10:00:30", "10:00:30")):
        assert f'"{read}"' in told_by("config", "show", "timed", "--set", f"buy_at={given}", "--json").out
    assert "HH:MM" in told_by("config", "show", "timed", "--set", "buy_at=noon", code=2).err
