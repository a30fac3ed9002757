"""Ways to get a protocol message wrong, and a second opinion on each, written apart from the product.

The second opinion reads JSON with a tokenizer of its own and judges fields by a table, slowly and plainly.
"""

import json
import random
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

VALID: tuple[dict[str, Any], ...] = (
    {
        "protocol": "v1",
        "type": "order_intent",
        "intent_id": "hedge_SPY_abc123",
        "event_id": "evt_12345",
        "ts": "2025-12-30T14:30:00Z",
        "symbol": "SPY",
        "side": "sell",
        "qty": 7.0,
        "order_type": "limit",
        "limit_price": 1.25,
        "time_in_force": "day",
        "client_tag": "tag",
        "metadata": {"reason": "delta_hedge", "deep": {"a": [1, 2, {"b": None}]}},
    },
    {
        "protocol": "v1",
        "type": "order_intent",
        "intent_id": "x",
        "event_id": "e",
        "ts": "2025-07-01T09:30:00.123456-04:00",
        "symbol": "SPY251230C00500000",
        "side": "buy",
        "qty": 1,
        "order_type": "market",
    },
    {
        "protocol": "v1",
        "type": "market_event",
        "event_id": "evt_12345",
        "ts": "2025-12-30T14:30:00Z",
        "symbol": "SPY251230C00500000",
        "source": "alpaca",
        "payload": {"delta": 0.65, "price": 2.5, "quantity": 10, "underlying_price": 495.5},
    },
    {"protocol": "v1", "type": "log", "ts": "2025-12-30T14:30:00Z", "level": "info", "message": "m"},
    {"type": "shutdown"},
)
_FIELDS = tuple(dict.fromkeys(name for message in VALID for name in message))
_ODD_TEXTS = (
    "",
    " ",
    "v2",
    "V1",
    "sell",
    "SELL",
    "short",
    "buy\n",
    "market",
    "stop",
    "stop_limit",
    "limit",
    "LIMIT",
    "gtc",
    "fok",
    "opg",
    "-bad",
    "_bad",
    "a" * 128,
    "a" * 129,
    "evt\n",
    "evt 1",
    "é",
    "evt\u0661",
    "\u0000",
    "\u2028",
    "2025-12-30",
    "2025-12-30T14:30:00",
    "2025-12-30T24:00:00Z",
    "2025-02-30T00:00:00Z",
    "20251230T143000Z",
    "2025-W53-2T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2025-12-30T14:30:00z",
    "2025-12-30T14:30:00+99:00",
    "\u0662\u0660\u0662\u0665-12-30T14:30:00Z",
    "order_intent",
    "market_event",
    "log",
    "info",
    "warn",
    "fatal",
    "NaN",
    "1e999",
    "true",
    "day",
)
_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    7.0,
    0.0,
    -0.0,
    1e-320,
    1e308,
    2**53,
    2**63,
    2**64 - 1,
    -(2**63),
    0.1,
    [],
    [1],
    {},
    {"a": 1},
    [[]],
    {"qty": 7},
    "",
    "",
    "",
    *_ODD_TEXTS,
)
_ODD_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "1e999",
    "-1e999",
    "1E400",
    "9" * 25,
    "-" + "9" * 25,
    "9" * 5000,
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    "1_000",
    "1e",
    "--1",
    "18446744073709551616",
    "-9223372036854775809",
    "1e-9999",
    "0e0",
)
_ENDS = (b"", b"\n", b"\r\n", b" ", b",", b"}", b"{}", b"\x00", b"\x0c", b"\xc2\xa0", b" null")
_BAD_BYTES = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf5\x80\x80\x80",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\x1f",
    b"\x7f",
)
_BAD_ESCAPES = (
    b"\\ud800",
    b"\\udfff\\ud800",
    b"\\ud83d\\ude00",
    b"\\x41",
    b"\\u12",
    b"\\",
    b"\\u0000",
    b"\\/",
)


def malformed_lines(seed: int, count: int) -> Iterator[bytes]:
    """Yield so many lines, most of them wrong in some way; the same for the same seed."""
    rng = random.Random(seed)
    makers = (
        _changed_fields,
        _changed_fields,
        _changed_fields,
        _odd_number,
        _twice,
        _bytes,
        _escapes,
        _cut,
        _any,
    )
    for index in range(count):
        if index % 20_000 == 19_999:
            yield _enormous(rng)
        else:
            yield rng.choice(makers)(rng)


def _message(rng: random.Random) -> dict[str, Any]:
    return dict(rng.choice(VALID))


def _text(rng: random.Random, message: Any) -> str:
    return json.dumps(
        message, ensure_ascii=rng.random() < 0.5, separators=rng.choice(((",", ":"), (", ", ": ")))
    )


def _changed_fields(rng: random.Random) -> bytes:
    message = _message(rng)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        name = rng.choice(_FIELDS)
        what = rng.random()
        if what < 0.25:
            message.pop(name, None)
        elif what < 0.9:
            message[name] = rng.choice(_ODD_VALUES)
        else:
            message[rng.choice((name.upper(), name + " ", "extra"))] = message.pop(name, 1)
    if rng.random() < 0.3:
        pairs = list(message.items())
        rng.shuffle(pairs)
        message = dict(pairs)
    return _text(rng, message).encode() + rng.choice(_ENDS[:4])


def _odd_number(rng: random.Random) -> bytes:
    message = _message(rng)
    name = rng.choice(("qty", "limit_price", "qty", "extra"))
    message[name] = "@"
    return _text(rng, message).replace('"@"', rng.choice(_ODD_NUMBERS)).encode()


def _twice(rng: random.Random) -> bytes:
    message = _message(rng)
    name = rng.choice(list(message))
    again = json.dumps({name: rng.choice((message[name], *_ODD_VALUES[:8]))})[1:-1]
    text = _text(rng, message)
    return (
        (text[:-1] + ", " + again + "}").encode()
        if rng.random() < 0.5
        else ("{" + again + "," + text[1:]).encode()
    )


def _bytes(rng: random.Random) -> bytes:
    line = bytearray(_text(rng, _message(rng)).encode())
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(line) + 1)
        what = rng.random()
        if what < 0.4:
            line[at:at] = rng.choice(_BAD_BYTES)
        elif what < 0.7 and at < len(line):
            line[at] = rng.randrange(256)
        else:
            del line[at : at + rng.randrange(1, 6)]
    return bytes(line)


def _escapes(rng: random.Random) -> bytes:
    line = _text(rng, _message(rng)).encode()
    at = rng.choice([index for index, byte in enumerate(line) if byte == 0x22])
    return line[: at + 1] + rng.choice(_BAD_ESCAPES) + line[at + 1 :]


def _cut(rng: random.Random) -> bytes:
    line = _text(rng, _message(rng)).encode()
    what = rng.random()
    if what < 0.4:
        return line[: rng.randrange(len(line))]
    if what < 0.7:
        return line + rng.choice(_ENDS)
    if what < 0.8:
        return line.decode().encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
    return rng.choice(_ENDS[:4]) + line


def _any(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(200))
    if rng.random() < 0.02:
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        depth = rng.choice((5, 50, 50_000, 100_000))
        return (opening * depth + "1" + closing * depth * rng.choice((0, 1))).encode()
    return _text(rng, _random_value(rng, 0)).encode()


def _random_value(rng: random.Random, depth: int) -> Any:
    what = rng.random()
    if depth > 3 or what < 0.4:
        return rng.choice(_ODD_VALUES)
    if what < 0.6:
        return [_random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(_FIELDS): _random_value(rng, depth + 1) for _ in range(rng.randrange(6))}


def _enormous(rng: random.Random) -> bytes:
    message = _message(rng)
    message["extra"] = "x" * rng.choice((900_000, 1_048_577, 3_000_000))
    return json.dumps(message).encode()


# a second opinion ---------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r'([{}\[\],:])|"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"'
    r"|(-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)|(true|false|null)"
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_NAMES = {"true": True, "false": False, "null": None}


class Wrong(Exception):  # noqa: N818 - an answer, not an error
    """The line is no JSON object that may be taken over."""


def second_reading(line: bytes) -> dict[str, Any]:
    """Return the object of a line, or raise :class:`Wrong`."""
    if len(line) > 1_048_576:
        raise Wrong
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Wrong from error
    tokens = _tokens(text)
    if not tokens or len(tokens) > 200_000 or _depth(tokens) > 900:
        raise Wrong
    value, at = _value(tokens, 0)
    if at != len(tokens) or not isinstance(value, dict):
        raise Wrong
    return value


def _depth(tokens: list[tuple[str, Any]]) -> int:
    depth = most = 0
    for kind, _ in tokens:
        depth += (kind in "[{") - (kind in "]}")
        most = max(most, depth)
    return most


def _tokens(text: str) -> list[tuple[str, Any]]:
    made: list[tuple[str, Any]] = []
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return made
        found = _TOKEN.match(text, at)
        if found is None:
            raise Wrong
        at = found.end()
        sign, string, number, fraction, exponent, name = found.groups()
        if sign:
            made.append((sign, None))
        elif string is not None:
            made.append(("v", _unescaped(string)))
        elif number:
            made.append(("v", _number(number, whole=not fraction and not exponent)))
        else:
            made.append(("v", _NAMES[name]))


def _unescaped(string: str) -> str:
    def plain(found: re.Match[str]) -> str:
        word = found[1]
        return chr(int(word[1:], 16)) if word[0] == "u" else _PLAIN[word]

    if "\\" not in string:
        return string
    text = _ESCAPE.sub(plain, string)
    try:  # halves that belong together become one; a half alone has no bytes
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise Wrong from error


def _number(text: str, *, whole: bool) -> float:
    if whole:
        if len(text) > 30 or not -(2**63) <= int(text) < 2**64:
            raise Wrong
        return int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Wrong
    return number


def _value(tokens: list[tuple[str, Any]], at: int) -> tuple[Any, int]:
    if at >= len(tokens):
        raise Wrong
    kind, value = tokens[at]
    if kind == "v":
        return value, at + 1
    if kind not in "[{":
        raise Wrong
    end = "]" if kind == "[" else "}"
    items: list[Any] = []
    made: dict[str, Any] = {}
    at += 1
    if at < len(tokens) and tokens[at][0] == end:
        return (items if kind == "[" else made), at + 1
    while True:
        if kind == "{":
            if at + 1 >= len(tokens) or not isinstance(tokens[at][1], str) or tokens[at + 1][0] != ":":
                raise Wrong
            name = tokens[at][1]
            if name in made:
                raise Wrong
            made[name], at = _value(tokens, at + 2)
        else:
            item, at = _value(tokens, at)
            items.append(item)
        if at >= len(tokens) or tokens[at][0] not in ("," + end):
            raise Wrong
        at += 1
        if tokens[at - 1][0] == end:
            return (items if kind == "[" else made), at


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_id(value: str) -> bool:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return 1 <= len(value) <= 128 and value[0] in letters and all(one in letters + "_-" for one in value)


def _is_instant(value: str) -> bool:
    try:
        moment = datetime.fromisoformat(value)
        offset = moment.utcoffset()
        return offset is not None and 1 <= (moment - offset).year <= 9999
    except (ValueError, OverflowError):
        return False


def _above_zero(value: float) -> bool:
    return 0 < value < float("inf")


def _anything(value: Any) -> bool:
    return bool(value == value)  # noqa: PLR0124 - a NaN is not itself


Rule = tuple[str, Any, Any, bool]
_TS: Rule = ("ts", _is_text, _is_instant, True)
_INTENT: tuple[Rule, ...] = (
    ("protocol", _is_text, lambda value: value == "v1", True),
    ("type", _is_text, lambda value: value == "order_intent", True),
    ("intent_id", _is_text, _is_id, True),
    ("event_id", _is_text, _is_id, True),
    _TS,
    ("symbol", _is_text, len, True),
    ("side", _is_text, lambda value: value in ("buy", "sell"), True),
    ("qty", _is_number, _above_zero, True),
    ("order_type", _is_text, lambda value: value in ("market", "limit", "stop", "stop_limit"), True),
    ("limit_price", _is_number, _anything, False),
    ("time_in_force", _is_text, lambda value: value in ("day", "gtc", "ioc", "fok"), False),
    ("client_tag", _is_text, len, False),
    ("metadata", _is_object, _anything, False),
)
_EVENT: tuple[Rule, ...] = (
    ("protocol", _is_text, lambda value: value == "v1", True),
    ("type", _is_text, lambda value: value == "market_event", True),
    ("event_id", _is_text, _is_id, True),
    _TS,
    ("symbol", _is_text, len, True),
    ("source", _is_text, len, True),
    ("payload", _is_object, _anything, True),
)
_LOG: tuple[Rule, ...] = (
    ("protocol", _is_text, lambda value: value == "v1", False),
    ("type", _is_text, lambda value: value == "log", True),
    _TS,
    ("level", _is_text, lambda value: value in ("debug", "info", "warn", "error"), True),
    ("message", _is_text, len, True),
)


def second_verdict(rules: str, message: dict[str, Any]) -> str:
    """Return the verdict on an object as an ``intent``, ``event`` or ``log``."""
    for name, is_type, is_value, is_required in {"intent": _INTENT, "event": _EVENT, "log": _LOG}[rules]:
        if name not in message:
            if is_required:
                return f"missing:{name}"
            if name == "limit_price" and message["order_type"] in ("limit", "stop_limit"):
                return "value:limit_price"
            continue
        value = message[name]
        if not is_type(value):
            return f"type:{name}"
        if not is_value(value):
            return f"value:{name}"
        if name == "limit_price" and message["order_type"] in ("limit", "stop_limit") and value <= 0:
            return "value:limit_price"
    return "ok"
