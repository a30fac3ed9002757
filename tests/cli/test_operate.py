import json
import os

import pytest

from scalpdesk.cli.main import main
from scalpdesk.live.account_mode import AskedWhileStarting
from scalpdesk.live.arming import marked_as_running, marked_as_starting
from scalpdesk_testing.kit.served_desk import served_desk


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A desk that runs below the working folder."""
    monkeypatch.chdir(tmp_path)
    with served_desk(tmp_path) as running:
        yield running


@pytest.fixture
def desk(served):
    """The answer of a desk, to be filled."""
    return served.answer


def test_a_refused_question_says_what_to_type(desk, document_of):
    desk.update(error="no order, or more than one, goes by x7", orders=["sd-000001", "sd-000002"])
    said = document_of("why", "x7", "--runs-dir", ".", code=2)["error"]
    assert said["where"] == "ORDER|DECISION"
    assert said["fix"] == "the newest orders: sd-000001, sd-000002"
    assert "value" not in said


@pytest.mark.parametrize(
    ("currency", "amounts", "shown"),
    [
        ("USD", ("99997.0000", "-3.0000", "892.3000"), "NAV 99997.00 USD  session P&L -3.00  cash 892.30"),
        (
            "BTC",
            ("1.998053393166016069159036656", "-0.001946606833983930840963344", "2.591788694935936"),
            "NAV 1.99805339 BTC  session P&L -0.00194661  cash 2.59178869",
        ),
    ],
)
def test_amounts_of_a_status_have_the_decimals_of_its_currency(desk, told_by, currency, amounts, shown):
    desk.update(dict.fromkeys(("run_id", "trading", "venue", "account", "mode", "phase", "session", "now")))
    desk.update(dict.fromkeys(("halted", "orders", "differences", "decisions"), ()))
    desk.update(positions={}, margin=None, run="running")
    desk.update(connection={"streams": {}}, reconciled=None, currency=currency)
    desk.update(zip(("nav", "session_pnl", "cash"), amounts, strict=True))
    assert shown in told_by("status", "--runs-dir", ".").out.splitlines()


def test_a_desk_that_still_starts_is_named_with_how_long_it_does(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    runs = tmp_path / "runs"
    with marked_as_starting(tmp_path / "scalpdesk", runs):
        assert main(["status", "--runs-dir", str(runs), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)["error"]
    assert said["what"] == "a desk is starting here and does not answer yet"
    assert f"process {os.getpid()}, for 0 s" in said["value"]
    main(["status", "--runs-dir", str(runs), "--json"])
    assert json.loads(capsys.readouterr().out)["error"]["what"] == "no desk runs here"


def test_a_command_to_a_desk_that_connects_is_on_disk_until_it_is_taken(monkeypatch, tmp_path, capsys):
    """It was refused, and the desk traded once it was up."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    runs, state = tmp_path / "runs", tmp_path / "scalpdesk"
    with marked_as_starting(state, runs):
        assert main(["halt", "--reason", "news", "--runs-dir", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["processes"] == [os.getpid()]
    taken = AskedWhileStarting(state)
    assert [(one.action, one.reason) for one in taken.read("account")] == [("halt", "news")]
    taken.forget("account")
    assert AskedWhileStarting(state).read("account") == []


BOMB = "a: &b0 [x, x]\n" + "".join(f"k{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 20))
"""Each line is nine times the one before it."""
BROKEN = {
    "toml": ("scalpdesk.toml", "[desk\nruns_dir"),
    "huge": ("scalpdesk.toml", "# " + "x" * 1_100_000),
    "aliases": ("params.yaml", BOMB),
    "merges": ("params.yaml", BOMB.replace("[", "{<<: [").replace("]", "]}").replace("[x, x]", "[{x: 1}]")),
    "not text": ("scalpdesk.toml", "\x00\udcff"),
    "env": (".env", "TRADING_API_KEY='open\n"),
}


@pytest.mark.parametrize("command", ["halt", "flatten", "reduce"])
@pytest.mark.parametrize("what", BROKEN)
def test_a_desk_is_stopped_whatever_is_wrong_with_the_configuration(
    tmp_path, monkeypatch, capsys, what, command
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    name, content = BROKEN[what]
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    own = tmp_path / "own-runs"
    own.mkdir()
    done = {"was": "ACTIVE", "mode": "HALTED", "cancels": 0, "milliseconds": 1.0}
    with served_desk(own) as desk, marked_as_running(tmp_path / "state" / "scalpdesk", own):
        desk.answer.update(done)
        assert main([command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done
    assert [one["do"] for one in desk.asked] == [command]


def test_of_several_desks_each_is_named_with_its_command_and_all_are_stopped(
    tmp_path, monkeypatch, capsys, document_of
):
    monkeypatch.chdir(tmp_path)
    done = {"was": "ACTIVE", "mode": "HALTED", "cancels": 0, "milliseconds": 1.0}
    with served_desk(tmp_path, "first") as one, served_desk(tmp_path, "second") as other:
        fix = document_of("halt", "--runs-dir", ".", code=2)["error"]["fix"]
        assert "scalpdesk halt --run first" in fix
        assert "scalpdesk halt --all" in fix
        one.answer.update(error="no")
        other.answer.update(done)
        assert main(["halt", "--runs-dir", ".", "--all", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["first"]["error"], said["second"]["mode"]) == ("no", "HALTED")


def test_a_reason_of_blanks_is_none(served, capsys):
    served.answer["error"] = "no"
    assert main(["resume", "--reason", "   ", "--runs-dir", "."]) == 2
    assert served.asked == [{"do": "resume", "reason": None}]
    capsys.readouterr()


def test_a_resume_without_a_reason_names_the_flag(desk, document_of):
    desk.update(error="going back to work needs a reason", fix="scalpdesk resume --reason TEXT")
    assert document_of("resume", "--reason", "", "--runs-dir", ".", code=2)["error"]["where"] == "--reason"


SETTLED = {"order": "sd-000012", "state": "filled", "filled": "1", "average": "500.02"}


@pytest.mark.rows(
    ("typed", "asked"),
    [
        (
            ("--filled", "1", "--price", "500.02"),
            {"filled": "1", "price": "500.02", "fee": None},
        ),
        (
            ("--filled", "2", "--price", "5.1", "--fee", "0.35"),
            {"filled": "2", "price": "5.1", "fee": "0.35"},
        ),
        (("--never-arrived",), {"filled": "0", "price": None, "fee": None}),
    ],
)
def test_a_person_s_word_on_an_order_reaches_the_desk(served, told_by, typed, asked):
    served.answer.update(SETTLED)
    said = told_by("settle", "000012", *typed, "--reason", "seen", "--runs-dir", ".").out
    assert "sd-000012" in said
    request = {name: value for name, value in served.asked[-1].items() if name != "token"}
    assert request == {"do": "settle", "order": "000012", "reason": "seen"} | asked


@pytest.mark.rows("typed", [(), ("--filled", "1", "--never-arrived")])
def test_a_person_says_one_thing_of_an_order(served, document_of, typed):
    said = document_of("settle", "000012", *typed, "--reason", "seen", "--runs-dir", ".", code=2)["error"]
    assert said["where"] == "--filled, --never-arrived"
    assert served.asked == []
