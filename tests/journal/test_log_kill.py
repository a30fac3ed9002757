"""A process that is killed loses nothing that it said it had."""

import subprocess
import sys

import pytest

from scalpdesk.core.events import TimerEvent
from scalpdesk.journal.codec import encode_header
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader

WRITER = """
import sys
from pathlib import Path
from scalpdesk.core.events import TimerEvent
from scalpdesk.core.intents import CancelOrder
from scalpdesk.journal.codec import decode_header
from scalpdesk.journal.log import JournalWriter
header = decode_header(bytes.fromhex(sys.stdin.readline()))
writer = JournalWriter.create(Path(sys.argv[1]), header)
number = 0
while True:
    number += 1
    writer.add_event(TimerEvent(number, number, "beat"))
    writer.add_outputs((CancelOrder(f"d-{number}"),))
    print(number, flush=True)
"""


@pytest.mark.rows("acknowledged", [1, 7, 40])
def test_what_was_acknowledged_outlives_a_kill(tmp_path, header, acknowledged):
    run_dir = tmp_path / "r"
    command = [sys.executable, "-c", WRITER, str(run_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdin.write(encode_header(header).hex() + "\n")
        child.stdin.flush()
        for _ in range(acknowledged):
            last = int(child.stdout.readline())
        child.kill()
        child.wait()
    reader = JournalReader(run_dir)
    steps = list(reader.steps())
    assert [outputs[0].client_order_id for _, outputs in steps if outputs][:last] == [
        f"d-{number}" for number in range(1, last + 1)
    ]
    with JournalWriter.reopen(run_dir, started_ns=1) as writer:  # the lock died with its holder
        writer.add_event(TimerEvent(9, 9, "again"))
    assert JournalReader(run_dir).sealed
