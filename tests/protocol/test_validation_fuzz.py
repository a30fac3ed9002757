"""Malformed messages: nothing crashes, and what is let through is what a second reading lets through."""

from collections import Counter

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.protocol import event_verdict, intent_verdict, log_verdict
from scalpdesk.protocol.messages import read_event, read_message
from scalpdesk_strategies.answers import SeenIds, sort_answers
from scalpdesk_testing.kit.malformed import Wrong, malformed_lines, second_reading, second_verdict

pytestmark = pytest.mark.second

JUDGES = {"intent": intent_verdict, "event": event_verdict, "log": log_verdict}


def try_lines(seed, count):
    """Hold both readings against one another; return how often each thing happened."""
    seen = Counter()
    for line in malformed_lines(seed, count):
        try:
            expected = second_reading(line)
        except Wrong:
            expected = None
        try:
            message = read_message(line)
        except DataError:
            message = None
        assert message == expected, line[:500]
        try:
            event = read_event(line)
        except DataError:
            seen["no event"] += 1
        else:
            seen["events" if event is not None else "shutdowns"] += 1
        if message is None:
            seen["no message"] += 1
            continue
        for name, judge in JUDGES.items():
            verdict = judge(message)
            assert verdict == second_verdict(name, message), line[:500]
            seen[f"{name} {verdict}"] += 1
        passed = sort_answers([message], SeenIds())
        is_intent = second_verdict("intent", message) == "ok"
        assert passed.intents == ((expected,) if is_intent else ())
    return seen


def test_twenty_thousand_malformed_messages():
    seen = try_lines(seed=1, count=20_000)
    # the sample reaches what it is meant to reach: every verdict on an intent, and messages that pass
    fields = ["protocol", "type", "intent_id", "event_id", "ts", "symbol", "side", "qty", "order_type"]
    optional = ["limit_price", "time_in_force", "client_tag"]
    wanted = {f"intent {kind}:{name}" for kind in ("missing", "type", "value") for name in fields}
    wanted |= {f"intent {kind}:{name}" for kind in ("type", "value") for name in optional} | {
        "intent type:metadata"
    }
    assert {name for name in wanted if seen[name] == 0} == set()
    assert min(seen["intent ok"], seen["event ok"], seen["log ok"], seen["shutdowns"]) > 100
    assert seen["no message"] > 2_000


@pytest.mark.slow
def test_a_million_malformed_messages():
    seen = try_lines(seed=2, count=1_000_000)
    assert seen["intent ok"] > 10_000
    assert seen["no message"] > 100_000


def test_the_second_reading_is_strict_by_itself():
    assert second_reading(b' {"a": [1, 2.5e0, "\\ud83d\\ude00", null], "b": {}} \r\n') == {
        "a": [1, 2.5, "\U0001f600", None],
        "b": {},
    }
    for line in (
        b"",
        b"{",
        b"[1]",
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a" 1}',
        b"{1:1}",
    ):
        with pytest.raises(Wrong):
            second_reading(line)
