import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scalpdesk.cli.main import main
from scalpdesk.protocol import log_verdict
from scalpdesk_testing.kit.folders import BUY_ONE, event, folder, lines

CHECKOUT = Path(__file__).resolve().parents[3]
HERE = "--no-isolate"
MADE = "strategy_under_test"


def harness(*args):
    return main(["harness", *map(str, args)])


def test_each_intent_on_a_line(tmp_path, capsys):
    events = lines(tmp_path / "e.ndjson", [event("a"), event("b")])
    assert harness("--strategy", folder(tmp_path, BUY_ONE), "--events", events, "--ndjson", HERE) == 0
    out = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["intent_id"] for line in out] == ["buy_a", "buy_b"]


def test_no_intents_are_an_empty_array(tmp_path, capsys):
    events = lines(tmp_path / "e.ndjson", [event("a")])
    assert harness("--strategy", folder(tmp_path, "return None"), "--events", events, HERE, "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_failing_event_is_said_and_the_rest_goes_on(tmp_path, capsys):
    body = "if event['event_id'] == 'b': raise ValueError('odd')\n" + BUY_ONE.strip()
    events = lines(tmp_path / "e.ndjson", [event("a"), event("b"), event("c")])
    assert harness("--strategy", folder(tmp_path, body), "--events", events, HERE) == 0
    captured = capsys.readouterr()
    assert [one["event_id"] for one in json.loads(captured.out)] == ["a", "c"]
    said = json.loads(captured.err)
    assert log_verdict(said) == "ok"
    assert said["level"] == "error"
    assert said["message"].startswith("event b: ValueError: odd")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("{not json", None),
        (json.dumps(event("b") | {"ts": "soon"}), "value:ts"),
        (json.dumps(event("b") | {"type": "order_intent"}), "value:type"),
        ('{"price": NaN}', None),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_bad_event_ends_it_with_its_line(tmp_path, capsys, line, value, as_json):
    events = tmp_path / "e.ndjson"
    events.write_text(f"{json.dumps(event('a'))}\n\n{line}\n", encoding="utf-8")
    options = ["--json"] if as_json else []
    assert harness("--strategy", folder(tmp_path, BUY_ONE), "--events", events, HERE, *options) == 2
    captured = capsys.readouterr()
    if as_json:
        error = json.loads(captured.out)["error"]
        assert error["type"] == "DataError"
        assert error.get("value") == (None if value is None else repr(value))
        assert f"{events}:3" in error["where"]
    else:
        assert captured.out == ""
        assert "line 3 is no market event" in captured.err


def test_a_shutdown_ends_the_events(tmp_path, capsys):
    events = lines(tmp_path / "e.ndjson", [event("a"), {"type": "shutdown"}, {"not": "read"}])
    assert harness("--strategy", folder(tmp_path, BUY_ONE), "--events", events, HERE) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_a_line_without_an_end_and_one_of_another_system(tmp_path, capsys):
    events = tmp_path / "e.ndjson"
    mark = b"\xef\xbb\xbf"
    events.write_bytes(mark + json.dumps(event("a")).encode() + b"\r\n" + json.dumps(event("b")).encode())
    assert harness("--strategy", folder(tmp_path, BUY_ONE), "--events", events, HERE) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


class Stdin:
    def __init__(self, text):
        self.buffer = io.BytesIO(text.encode())


def test_old_events_of_a_live_source_are_refused(tmp_path, capsys, monkeypatch):
    text = json.dumps(event("old")) + "\n" + json.dumps(event("new", ts="2999-01-01T00:00:00Z")) + "\n"
    monkeypatch.setattr(sys, "stdin", Stdin(text))
    assert harness("--strategy", folder(tmp_path, BUY_ONE), "--events", "-", "--fresh", HERE) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert [json.loads(line)["message"].rpartition(" ")[2] for line in captured.err.splitlines()] == [
        "stale_ts",
        "future_ts",
    ]


def test_a_replay_does_not_ask_for_freshness(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(json.dumps(event("old")) + "\n"))
    assert harness("--strategy", folder(tmp_path, BUY_ONE), "--events", "-", HERE) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--strategy", "nowhere", "--events", "events.ndjson"], "no strategy.py here"),
        (["--strategy", MADE, "--events", "nowhere.ndjson"], "events cannot be read"),
        (
            ["--strategy", MADE, "--events", "events.ndjson", "--ndjson", "--json"],
            "one document",
        ),
        (["--strategy", MADE], "--events"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, capsys, args, said):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path, BUY_ONE)
    lines(tmp_path / "events.ndjson", [event()])
    assert harness(*args) == 2
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_a_loop_without_end_in_the_folder_ends_its_event_only(tmp_path, capsys):
    body = "while event['event_id'] == 'b': pass\n" + BUY_ONE.strip()
    events = lines(tmp_path / "e.ndjson", [event("a"), event("b"), event("c")])
    assert harness("--strategy", folder(tmp_path, body), "--events", events, "--time-limit", "1") == 0
    captured = capsys.readouterr()
    assert [one["event_id"] for one in json.loads(captured.out)] == ["a", "c"]
    # by the folder's own process, or on a busy machine by the desk's second look
    assert re.search("event b: (took longer than 1 s|no answer within 2 s)", captured.err)


def test_a_folder_that_is_given_up_fails_the_run(tmp_path, capsys):
    events = lines(tmp_path / "e.ndjson", [event(f"e{number}") for number in range(30)])
    made = folder(tmp_path, "os._exit(1)", before="import os")
    assert harness("--strategy", made, "--events", events) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "ended 20 times; it is given up" in captured.err


@pytest.mark.parametrize("command", ["backtest", "run"])
def test_only_the_external_strategy_asks_a_folder(capsys, command):
    assert main([command, "gamma-scalper", "--strategy", MADE]) == 2
    assert "only the strategy external asks a folder" in capsys.readouterr().err


def test_a_backtest_of_the_external_strategy_needs_a_folder(capsys):
    assert main(["backtest", "external", "--no-journal"]) == 2
    assert "no strategy folder is given" in capsys.readouterr().err


def test_the_module_of_the_documents_page_answers_with_the_same_flags(tmp_path, capsys):
    events = lines(tmp_path / "e.ndjson", [event("a")])
    words = ["--strategy", str(folder(tmp_path, BUY_ONE)), "--events", str(events)]
    assert harness(*words, HERE) == 0
    at_home = json.loads(capsys.readouterr().out)
    module = [sys.executable, "-m", "backend.strategy_runner.harness", *words]
    done = subprocess.run(module, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [one["qty"] for one in json.loads(done.stdout)] == [one["qty"] for one in at_home] != []


def test_every_module_and_path_of_the_documents_page_starts_in_a_checkout(tmp_path):
    place = "backend/strategy_runner/examples/gamma_scalper_0dte"

    def start(module, *words, cwd=CHECKOUT):
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    for program in ("smoke_test", "test_strategy"):
        module = f"{place.replace('/', '.')}.{program}"
        assert start(module).returncode == 0
        assert f"{program}.py is not here" in start(module, cwd=tmp_path).stderr
    words = ["--strategy", place, "--events", f"{place}/events.ndjson"]
    done = start("backend.strategy_runner.harness", *words)
    assert len(json.loads(done.stdout)) == 6
    assert start("backend.strategy_runner.harness", *words, cwd=tmp_path).returncode == 2
