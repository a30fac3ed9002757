import errno
import json
import logging
import os
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from scalpdesk.cli import main as main_module
from scalpdesk.cli.command import desk_command
from scalpdesk.cli.main import COMMANDS, EXTRA_OF_MODULE, FORMER, TOPICS, main, root
from scalpdesk.core.errors import JournalError
from scalpdesk.core.installing import install_line
from scalpdesk.journal.frames import segment_path

HEAVY = ("numpy", "numba", "duckdb", "sqlalchemy", "rich", "scipy", "pandas", "msgspec", "arch", "yaml")


@pytest.fixture
def command(monkeypatch):
    """Put a command into the table whose body is handed in."""

    def put(body, name="probe"):
        module = types.ModuleType("probe_commands")
        module.probe = desk_command(name, example="scalpdesk probe")(body)
        monkeypatch.setitem(sys.modules, "probe_commands", module)
        monkeypatch.setitem(COMMANDS, name, ("probe_commands:probe", "A probe."))

    return put


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom scalpdesk.cli.main import main\nassert main(['--help']) == 0\n"
        f"print('heavy:', sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "heavy: []"
    assert all(name in done.stdout for name in COMMANDS)
    assert "Exit codes: 0 success" in done.stdout


def test_the_first_screen_has_ten_commands_and_every_other_name_by_topic(told_by):
    shown = told_by("--help").out
    assert len(shown.splitlines()) <= 40
    assert shown.partition("Commands:")[2].partition("More,")[0].count("\n  ") == 10
    for topic, commands in TOPICS.items():
        told = told_by("help", topic).out
        assert [line.split()[0] for line in told.splitlines() if line[0] != " "] == [*commands]
    assert "scalpdesk halt" in told_by("help", "halt").out
    assert main(["help"]) == 0
    assert main(["help", "hallt"]) == 2


@pytest.mark.parametrize(("name", "now"), FORMER.items())
def test_a_command_of_a_former_name_works_with_a_word_and_no_help_shows_it(name, now, capsys):
    assert main([name, "--help"]) == 0
    told = capsys.readouterr()
    assert f"scalpdesk {name} is now: scalpdesk {now}" in told.err
    assert f"Usage: scalpdesk {now.partition(' --')[0]}" in told.out
    assert name not in COMMANDS


def test_no_words_show_the_help(told_by):
    assert "Commands:" in told_by().out


def leaves(group, words=()):
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        module = COMMANDS[name][0].partition(":")[0] if not words and name in COMMANDS else __name__
        if words or find_spec(module) is not None:
            found = group.get_command(ctx, name)
            if isinstance(found, click.Group):
                yield from leaves(found, (*words, name))
            else:
                yield (*words, name)


@pytest.mark.parametrize("words", list(leaves(root)), ids=" ".join)
def test_every_command_has_help_json_debug_and_an_example(words, told_by):
    shown = told_by(*words, "--help").out
    assert "Example" in shown
    assert f"scalpdesk {' '.join(words)}" in shown.partition("Example")[2]
    assert "--json" in shown
    assert "--debug" in shown


def test_help_is_the_same_whoever_called_the_command_before(command, capsys, told_by):
    def body(*, as_json: bool) -> None:
        """Do nothing."""

    command(body)
    alone = root.get_command(click.Context(root), "probe")
    with pytest.raises(SystemExit):
        alone.main(["-h"], prog_name="probe")
    assert "-h, --help" in capsys.readouterr().out
    assert "-h, --help" in told_by("probe", "-h").out


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["demoo"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "error: unknown command",
        "  where: scalpdesk",
        "  value: 'demoo'",
        "  nearest: demo",
        "  fix: scalpdesk demo",
    ]


def test_with_json_an_error_is_one_document_on_stdout(capsys):
    assert main(["demoo", "--json"]) == 2
    told = capsys.readouterr()
    assert told.err == ""
    assert json.loads(told.out) == {
        "error": {
            "type": "ConfigError",
            "what": "unknown command",
            "where": "scalpdesk",
            "value": "'demoo'",
            "nearest": "demo",
            "fix": "scalpdesk demo",
        }
    }


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["price", "--spott", "1"], ["error: unknown option", "value: '--spott'", "nearest: --spot"]),
        (["price", "--spot", "x"], ["where: scalpdesk price --spot", "value: 'x'"]),
        (["price", "--spot", "1"], ["error: Missing option '--strike'", "where: scalpdesk price"]),
        (["price", "--style", "amercan"], ["value: 'amercan'", "nearest: american"]),
        (["config", "shw"], ["error: unknown command", "nearest: show"]),
        (["--debog"], ["error: unknown option", "nearest: --debug"]),
        (["verify"], ["unknown command", "nearest: data verify"]),
        (["chain"], ["Missing argument 'SYMBOL'", "fix: scalpdesk chain SPY", "scalpdesk chain --help"]),
        (["price", "--spot"], ["scalpdesk price", "fix: scalpdesk price --spot", "scalpdesk price --help"]),
    ],
)
def test_wrong_use_has_the_one_shape_and_exit_code_2(words, lines, capsys):
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    for line in lines:
        assert line in told.err


def test_a_refusal_of_a_command_keeps_its_exit_code(command, told_by):
    def refuse(*, as_json):
        raise JournalError("the journal is damaged", where="run/journal: byte 17")

    command(refuse)
    assert told_by("probe", code=1).err == "error: the journal is damaged\n  where: run/journal: byte 17\n"


def test_a_commands_value_is_the_exit_code(command):
    command(lambda *, as_json: 1)
    assert main(["probe"]) == 1
    command(lambda *, as_json: None)
    assert main(["probe"]) == 0


def test_the_unexpected_names_the_strategy_that_raised_it(command, told_by):
    def fall(*, as_json):
        error = ZeroDivisionError("division by zero")
        error.add_note("raised by the strategy zero-dte")
        raise error

    command(fall)
    told = told_by("probe", code=1).err
    assert "unexpected ZeroDivisionError: division by zero; raised by the strategy zero-dte\n" in told


def test_the_unexpected_is_one_line_and_a_traceback_only_with_debug(command, told_by):
    def fall(*, as_json):
        return 1 // 0

    command(fall)
    told = told_by("probe", code=1).err
    assert "unexpected ZeroDivisionError" in told
    assert "--debug" in told
    assert "Traceback" not in told
    for words in (["probe", "--debug"], ["--debug", "probe"]):
        assert "Traceback (most recent call last)" in told_by(*words, code=1).err


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.EACCES, "access"),
        (errno.ENOSPC, "free disk space"),
        (errno.EISDIR, "folder"),
        (errno.EIO, "--debug"),
    ],
)
def test_what_the_system_refuses_names_the_file_what_it_said_and_the_fix(command, told_by, code, fix):
    def fall(*, as_json):
        raise OSError(code, os.strerror(code), "runs/x")

    command(fall)
    told = told_by("probe", code=1).err.splitlines()
    assert told[:2] == [f"error: the system refused this: {os.strerror(code)}", "  where: runs/x"]
    assert fix in told[2]
    assert len(told) == 3


def test_what_cannot_be_compiled_names_the_folder_and_the_variable(command, told_by, tmp_path, monkeypatch):
    def fall(*, as_json):
        import numba

        monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
        numba.njit(cache=True)(fall)

    command(fall)
    told = told_by("probe", code=1).err
    assert f"where: {Path(__file__).parent / '__pycache__'}, " in told
    assert "NUMBA_CACHE_DIR" in told
    assert "unexpected" not in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        pytest.param(["runs"], marks=pytest.mark.second),
        ["runs", "--json"],
        ["price", "--json"],
    ],
)
def test_an_output_that_takes_nothing_is_said_on_stderr(words, unbuffered):
    program = [sys.executable, "-m", "scalpdesk.cli.main", *words]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            program,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    if words[0] == "price":  # refused for its own reason, whose document has no place either
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: Missing option '--spot'")
        return
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == [
        "error: the output cannot be written: No space left on device",
        "  where: stdout",
    ]


def test_a_closed_output_is_said_on_stderr(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["runs", "--json"]) == 1
    assert capsys.readouterr().err.startswith("error: stdout is closed\n  where: stdout\n  fix: ")


def test_ctrl_c_ends_with_130_and_the_command_to_begin_again(command, capsys):
    def interrupted(*, as_json):
        raise KeyboardInterrupt

    command(interrupted)
    assert main(["probe"]) == 130
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.rstrip().endswith("scalpdesk probe")


def test_a_missing_extra_says_how_to_install_it(command, told_by, monkeypatch):
    monkeypatch.setitem(EXTRA_OF_MODULE, "module_of_an_extra", "postgres")

    def body(*, as_json):
        import module_of_an_extra  # noqa: F401 - it is meant to be missing

    command(body)
    assert 'fix: pip install "scalpdesk[postgres]"' in told_by("probe", code=2).err


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["run", "gamma-scalper", "--venue", "alpaca"], "scalpdesk[alpaca]"),
        (["run", "gamma-scalper", "--venue", "deribit"], "scalpdesk[deribit]"),
        (["exchange"], "scalpdesk[exchange]"),
        (["backtest", "st0cka", "--start", "2018-02-05"], "scalpdesk-strategies"),
        (["data", "import", "deribit", "file"], "scalpdesk[deribit]"),
        (["drill"], "scalpdesk-testing"),
        (["harness", "--help"], "scalpdesk-strategies"),
    ],
)
def test_what_a_part_brings_says_how_to_install_the_part(words, target, told_by, monkeypatch):
    monkeypatch.setattr("scalpdesk.core.plugins._installed", dict)
    assert install_line(target) in told_by(*words, code=2).err


def test_a_closed_pipe_is_quiet():
    line = f"{sys.executable} -m scalpdesk.cli.main --help | true"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_package_runs_as_a_module():
    run = subprocess.run(
        [sys.executable, "-m", "scalpdesk", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"scalpdesk, version {main_module.BUILD}\n"


@pytest.mark.parametrize("words", [["--debug", "probe"], ["probe", "--debug"]])
def test_debug_logs_to_stderr_wherever_it_stands(words, command, capsys, told_by):
    command(lambda *, as_json: logging.getLogger("scalpdesk.probe").debug("a small thing"))
    assert main(words) == 0
    told = capsys.readouterr()
    assert "DEBUG scalpdesk.probe: a small thing" in told.err
    assert told.out == ""
    assert told_by("probe").err == ""


def completed(words, monkeypatch, capsys):
    """The shell's offers for the last word."""
    monkeypatch.setenv("_SCALPDESK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_the_shell_completes_commands_strategies_runs_venues_and_data_sets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("20180205-a1", "20180205-b2", "20190101-c3"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        segment_path(tmp_path / "runs" / name, 1).touch()
    wanted = {
        ("scalpdesk", "re"): ["report", "reduce", "resume", "replay", "reconcile", "research"],
        ("scalpdesk", "run", "gam"): ["gamma-scalper"],
        ("scalpdesk", "backtest", "zero"): ["zero-dte"],
        ("scalpdesk", "demo", "--strategy", "st0cka"): ["st0cka"],
        ("scalpdesk", "run", "--venue", "si"): ["simulated"],
        ("scalpdesk", "report", "2018"): ["20180205-b2", "20180205-a1"],
        ("scalpdesk", "report", "last", "--compare", "2019"): ["20190101-c3"],
        ("scalpdesk", "replay", "la"): ["last"],
        ("scalpdesk", "backtest", "--data", "emb"): ["embedded", "embedded-btc", "embedded-eth"],
    }
    found = {
        words: [line.removeprefix("plain,") for line in completed(words, monkeypatch, capsys)]
        for words in wanted
    }
    assert found == wanted
    (option,) = completed(("scalpdesk", "run", "--strategy", "ex"), monkeypatch, capsys)
    assert option == "file,ex"  # a folder: the shell completes it
    Path("scalpdesk.toml").write_text("[desk]\nnone = 1\n")  # cannot be read: nothing is offered, no trace
    assert completed(("scalpdesk", "report", "20"), monkeypatch, capsys) == [""]


@pytest.mark.parametrize(
    "words", [["--session", "2018-02-03"], ["--session=2018-02-03"], ["--start", "2018-02-03"]]
)
@pytest.mark.parametrize("command", [["demo"], ["backtest", "gamma-scalper"], ["chain", "SPY"]])
def test_the_first_day_has_one_name_and_its_former_one_still_works(command, words, document_of):
    assert document_of(*command, *words, code=2)["error"]["where"] == "--start"  # a Saturday


@pytest.mark.parametrize("command", [["runs"], ["report", "last"], ["status"], ["why"]])
def test_every_command_of_runs_takes_their_folder_by_one_name(command, tmp_path, capsys):
    main([*command, "--runs-dir", str(tmp_path), "--json"])
    assert str(tmp_path) in capsys.readouterr().out
