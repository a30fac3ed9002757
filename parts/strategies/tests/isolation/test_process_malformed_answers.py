"""A folder that returns whatever comes along: nothing crashes, and only valid intents pass."""

from collections import Counter

from scalpdesk_strategies.answers import SeenIds, sort_answers
from scalpdesk_strategies.isolation.process import FolderProcess
from scalpdesk_testing.kit.folders import event, folder
from scalpdesk_testing.kit.malformed import malformed_lines, second_verdict

ECHO = """
    try:
        return [json.loads(event["payload"]["text"])]
    except (ValueError, RecursionError):
        return eval(ODD[int(event["event_id"][4:]) % len(ODD)])
"""
BEFORE = """
import json, decimal, datetime
ODD = ["None", "[]", "{1: 2}", "[{'qty': decimal.Decimal(7)}]", "[{b'a': 1}]", "[set()]", "[float('nan')]",
       "[10 ** 30]", "['\\\\ud800']", "[datetime.datetime.min]", "[()]", "{'type': 'log'}", "7", "[[[]]]",
       "[{'side': b'buy'}]", "object()", "[{'a': lambda: 1}]"]
"""


def test_two_thousand_malformed_answers(tmp_path):
    lines = [line for line in malformed_lines(5, 2_000) if len(line) < 300_000]
    events = [event(f"evt_{number}", text=line.decode("latin-1")) for number, line in enumerate(lines)]
    seen = Counter()
    with FolderProcess(folder(tmp_path, ECHO, before=BEFORE)) as process:
        for reply in process.ask_all(events):
            seen["failure" if reply.failure else "reply"] += 1
            answers = sort_answers(reply.messages, SeenIds())
            for message in reply.messages:
                is_valid = isinstance(message, dict) and second_verdict("intent", message) == "ok"
                is_log = isinstance(message, dict) and message.get("type") == "log"
                assert (message in answers.intents) == (is_valid and not is_log)
                seen["intent"] += is_valid
        assert process.restarts == 0
    assert sum(seen[name] for name in ("failure", "reply")) == len(events)
    assert min(seen["failure"], seen["intent"]) > 50
