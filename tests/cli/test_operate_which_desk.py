"""Which desk a command obeys, by the folder in which it is typed: the one that was meant, or none."""

import json
import os
from contextlib import contextmanager

import pytest

from scalpdesk.cli.dashboard import runs_shown
from scalpdesk.cli.main import main
from scalpdesk.cli.operate import run_meant
from scalpdesk.core.errors import ConfigError
from scalpdesk.journal.log import JournalWriter
from scalpdesk.live.account_mode import AskedWhileStarting, record_of
from scalpdesk.live.arming import DeskHolder, DeskMark, place_of
from scalpdesk.live.finding import DeskFinder
from scalpdesk.live.starts import note_start
from scalpdesk_testing.kit.journaled_run import journal_header
from scalpdesk_testing.kit.served_desk import served_desk

DONE = {"was": "ACTIVE", "mode": "HALTED", "cancels": 0, "milliseconds": 1.0}
COMMANDS = [
    ["halt"],
    ["reduce"],
    ["flatten"],
    ["flatten", "--now"],
    ["resume", "--reason", "well"],
    ["status"],
    ["why", "12"],
]
BROKEN = {
    "syntax": ("scalpdesk.toml", "[desk\nruns_dir"),
    "a value": ("scalpdesk.toml", '[strategies.gamma-scalper]\nentry.gate = "offf"\n'),
    "a key": ("scalpdesk.toml", "[desk]\nrun_dir = 'runs'\n"),
    "env": (".env", "TRADING_API_KEY='open\n"),
    "params": ("params.yaml", "expiries_dte: [1\n"),
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The folders of this machine's desks; commands are typed in ``P``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("A", "P"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "P")
    return tmp_path


@pytest.fixture
def desk_of(machine):
    """Serve a desk that was started in a folder, its runs elsewhere if that is said."""
    pids = iter(range(1_000_001, 1_000_099))

    @contextmanager
    def serve(folder, runs_dir, run_id, *, is_starting=False):
        stage, pid = "starting" if is_starting else "desk", next(pids)
        holder = DeskHolder(
            pid,
            "" if is_starting else run_id,
            str(runs_dir),
            1,
            started_in=str(folder),
            place=place_of(folder),
        )
        mark = DeskMark(machine / "state" / "scalpdesk" / f"{stage}-{pid}.lock", holder)
        try:
            if is_starting:
                yield holder
            else:
                with served_desk(runs_dir, run_id) as desk:
                    desk.answer.update(DONE)
                    yield desk
        finally:
            mark.end()

    return serve


def asked(desk):
    return [each["do"] for each in desk.asked]


@pytest.fixture(params=BROKEN)
def broken(request, machine):
    """Settings of the folder that cannot be read; its runs lie elsewhere."""
    name, content = BROKEN[request.param]
    (machine / "P" / name).write_text(content)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("broken")
def test_beside_settings_that_cannot_be_read_the_folders_own_desk_obeys(machine, desk_of, capsys, command):
    """The desk of the first folder of runs on the machine was halted, and its straddle sold."""
    own, other = machine / "Pdata" / "runs", machine / "A" / "runs"
    with desk_of(machine / "A", other, "a-1") as wrong, desk_of(machine / "P", own, "p-1") as right:
        main([*command, "--json"])
        assert asked(wrong) == []
        assert asked(right) == [command[0]]
    capsys.readouterr()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_without_a_desk_touches_no_other_folders(machine, desk_of, capsys, command):
    (machine / "P" / "scalpdesk.toml").write_text("[desk\n")
    with desk_of(machine / "A", machine / "A" / "runs", "a-1") as wrong:
        assert main([*command, "--json"]) != 0
        assert wrong.asked == []
    said = capsys.readouterr().out
    assert "a-1" in said or command[0] == "why"  # why reads runs on record


def test_a_desk_elsewhere_is_reached_by_its_whole_id_alone(machine, desk_of, capsys):
    (machine / "P" / "scalpdesk.toml").write_text("[desk\n")
    with desk_of(machine / "A", machine / "A" / "runs", "a-12") as other:
        assert main(["halt", "--run", "a-1"]) != 0
        assert other.asked == []
        assert main(["halt", "--run", "a-12"]) == 0
        assert asked(other) == ["halt"]
    capsys.readouterr()


def test_a_desk_is_found_that_was_started_with_a_folder_of_runs_of_its_own(machine, desk_of, capsys):
    """Settings that can be read name another folder: no desk was found, and the next start was halted."""
    with desk_of(machine / "P", machine / "set-by-hand", "p-1") as right:
        assert main(["halt", "--json"]) == 0
        assert asked(right) == ["halt"]
    capsys.readouterr()


@pytest.mark.parametrize("text", ["", "[desk\n"])
@pytest.mark.parametrize("command", [["halt"], ["flatten"], ["flatten", "--now"], ["reduce"]], ids=" ".join)
def test_of_two_desks_of_one_folder_none_is_touched_without_its_name(machine, desk_of, capsys, command, text):
    (machine / "P" / "scalpdesk.toml").write_text(text)
    with (
        desk_of(machine / "P", machine / "P" / "runs", "one") as one,
        desk_of(machine / "P", machine / "X", "two") as two,
    ):
        assert main([*command, "--json"]) == 2
        said = json.loads(capsys.readouterr().out)["error"]
        assert "--run one" in said["fix"]
        assert "--run two" in said["fix"]
        assert (one.asked, two.asked) == ([], [])
        assert main([*command, "--run", "two", "--json"]) == 0
        assert (asked(one), asked(two)) == ([], [command[0]])
        assert main([command[0], "--all", "--json"]) == 0
        assert (asked(one), asked(two)) == ([command[0]], [command[0]] * 2)
    capsys.readouterr()


def test_a_desk_that_starts_beside_one_that_runs_makes_a_command_ambiguous(machine, desk_of, capsys):
    with (
        desk_of(machine / "P", machine / "P" / "runs", "one") as one,
        desk_of(machine / "P", machine / "X", "", is_starting=True) as other,
    ):
        assert main(["halt"]) == 2
        assert one.asked == []
        assert main(["halt", "--all"]) == 0
        assert asked(one) == ["halt"]
        waiting = machine / "state" / "scalpdesk" / f"asked-{other.pid}.json"
        assert waiting.exists()
    capsys.readouterr()
    assert [each.action for each in AskedWhileStarting(waiting.parent).read("account")] == ["halt"]


@pytest.mark.parametrize("text", ["", "[desk\n"])
def test_a_desk_is_found_in_its_folder_after_that_was_moved(machine, desk_of, monkeypatch, capsys, text):
    (machine / "P" / "scalpdesk.toml").write_text(text)
    with desk_of(machine / "P", machine / "P" / "data" / "runs", "p-1") as right:
        (machine / "P").rename(machine / "Q")
        monkeypatch.chdir(machine / "Q")
        assert main(["halt"]) == 0
        assert asked(right) == ["halt"]
        (machine / "P").mkdir()  # another desk's folder by now
        (machine / "P" / "scalpdesk.toml").write_text(text)
        monkeypatch.chdir(machine / "P")
        assert main(["halt"]) != 0
        assert asked(right) == ["halt"]
    capsys.readouterr()


def last_run(folder, runs_dir, run_id, account, monkeypatch):
    """Leave the run of a desk that ended beside what it held."""
    header = journal_header(run_id=run_id, venue="alpaca", mode="paper", data={"account_id": account})
    JournalWriter.create(runs_dir / run_id, header).abandon()
    monkeypatch.chdir(folder)
    note_start(DeskFinder(None).state, runs_dir / run_id, header)


def mode_of(machine, account):
    found = record_of(machine / "state" / "scalpdesk", "alpaca", account).read()
    return None if found is None else found.state.account.mode.value


@pytest.mark.parametrize("text", ["", "[desk\n"])
def test_without_a_desk_the_account_of_the_folders_last_start_is_commanded(
    machine, desk_of, monkeypatch, capsys, text
):
    last_run(machine / "A", machine / "A" / "runs", "a-1", "PA-A", monkeypatch)
    last_run(machine / "P", machine / "Pdata", "p-1", "PA-P", monkeypatch)
    (machine / "P" / "scalpdesk.toml").write_text(text)
    with desk_of(machine / "A", machine / "A" / "runs", "a-2") as other:
        assert main(["halt"]) == 0
        assert other.asked == []
    assert (mode_of(machine, "PA-P"), mode_of(machine, "PA-A")) == ("HALTED", None)
    assert "PA-P at alpaca" in capsys.readouterr().out


def test_of_two_accounts_of_one_folder_none_is_commanded_without_its_name(machine, monkeypatch, capsys):
    last_run(machine / "P", machine / "P" / "runs", "p-1", "PA-1", monkeypatch)
    last_run(machine / "P", machine / "Pdata", "p-2", "PA-2", monkeypatch)
    assert main(["halt", "--json"]) == 2
    assert (mode_of(machine, "PA-1"), mode_of(machine, "PA-2")) == (None, None)
    assert main(["halt", "--run", "p-2"]) == 0
    assert (mode_of(machine, "PA-1"), mode_of(machine, "PA-2")) == (None, "HALTED")
    capsys.readouterr()


def test_a_desk_of_an_earlier_version_elsewhere_leaves_accounts_alone(machine, monkeypatch, capsys):
    """Its mark does not say where it was started: it may be the one that is meant."""
    last_run(machine / "P", machine / "P" / "runs", "p-1", "PA-1", monkeypatch)
    (machine / "P" / "scalpdesk.toml").write_text("[desk\n")
    with served_desk(machine / "old", "old-1") as old:
        old.answer.update(DONE)
        mark = DeskMark(
            machine / "state" / "scalpdesk" / "desk-1000001.lock",
            DeskHolder(1_000_001, "", str(machine / "old"), 1),
        )
        assert main(["halt"]) != 0
        assert (old.asked, mode_of(machine, "PA-1")) == ([], None)
        assert main(["halt", "--run", "old-1"]) == 0
        assert asked(old) == ["halt"]
        mark.end()
    capsys.readouterr()


def test_pages_and_alerts_show_the_desk_that_a_command_would_reach(machine, desk_of):
    (machine / "P" / "scalpdesk.toml").write_text("[desk\n")
    with desk_of(machine / "A", machine / "A" / "runs", "a-1"):
        with desk_of(machine / "P", machine / "Pdata", "p-1") as right:
            finder = DeskFinder(None)
            assert run_meant(None, finder, "alerts ls") == right.run_dir
            assert runs_shown(finder) == machine / "Pdata"
            with desk_of(machine / "P", machine / "X", "p-2"), pytest.raises(ConfigError) as refused:
                run_meant(None, finder, "alerts ack")
            assert "alerts ack --run p-2" in (refused.value.fix or "")
        assert DeskFinder(None).running() == []


def test_an_answer_names_account_venue_and_folder_of_the_desk_that_obeyed(machine, desk_of, capsys):
    with desk_of(machine / "P", machine / "P" / "runs", "p-1") as desk:
        desk.answer.update(run_id="p-1", venue="alpaca", account="PA-7", folder="/srv/p")
        assert main(["halt"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("p-1", "PA-7", "alpaca", "/srv/p"))


def test_a_folder_that_is_gone_hides_no_desk_elsewhere(machine, desk_of, monkeypatch, capsys):
    gone = machine / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with desk_of(machine / "A", machine / "A" / "runs", "a-1") as other:
        assert main(["halt"]) != 0
        assert other.asked == []
    os.chdir(machine)
    capsys.readouterr()
