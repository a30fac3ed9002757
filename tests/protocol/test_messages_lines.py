import json

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.protocol.messages import LONGEST_LINE_BYTES, read_event, read_message


@pytest.mark.rows(
    ("line", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "beyond the range of a double"),
        (b'{"a": ' + b"9" * 30 + b"}", "beyond 64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "beyond 64 bits"),
        (b'{"side": "buy", "side": "sell"}', "duplicate name"),
        (b'{"a": {"b": 1, "b": 1}}', "duplicate name"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"\\udc00": 1}', "lone surrogate"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": "' + b"x" * LONGEST_LINE_BYTES + b'"}', "longer than 1 MiB"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line, why):
    with pytest.raises(DataError, match=why):
        read_message(line)


def test_a_whole_character_may_be_escaped():
    assert read_message(b'{"a": "\\ud83d\\ude00", "b": "\\u00e9"}') == {"a": "\U0001f600", "b": "é"}


def test_numbers_keep_their_kind():
    message = read_message(
        b'{"a": 7, "b": 7.0, "c": 18446744073709551615, "d": -9223372036854775808, "e": 1e308}'
    )
    assert [type(value) for value in message.values()] == [int, float, int, int, float]


def test_a_shutdown_is_no_event():
    assert read_event(b'{"type": "shutdown"}\n') is None
    with pytest.raises(DataError) as caught:
        read_event(b'{"type": "shutdown", "protocol": "v2"}')
    assert caught.value.value == "value:protocol"


def test_the_verdict_is_in_the_refusal():
    with pytest.raises(DataError) as caught:
        read_event(json.dumps({"protocol": "v1", "type": "market_event"}).encode())
    assert caught.value.value == "missing:event_id"
