"""The strategy folder of the example ``hello`` in the harness."""

import json
from pathlib import Path

import pytest

from scalpdesk.cli.main import main

HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello"
HERE = "--no-isolate"


@pytest.mark.parametrize("where", ["--isolate", HERE])
def test_the_hello_folder(capsys, where):
    assert main(["harness", "--strategy", f"{HELLO}", "--events", f"{HELLO / 'events.ndjson'}", where]) == 0
    captured = capsys.readouterr()
    (intent,) = json.loads(captured.out)
    assert intent["event_id"] == "evt_3"
    assert captured.out == json.dumps([intent], indent=2, sort_keys=True) + "\n"
    if where == HERE:  # the isolated one writes to the real stderr
        assert "bought one share" in captured.err
