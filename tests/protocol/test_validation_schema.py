"""The published schemas and the validation let the same messages through."""

import re

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.protocol import event_verdict, intent_verdict, log_verdict, shutdown_verdict
from scalpdesk.protocol.messages import read_message
from scalpdesk.protocol.validation import SCHEMAS
from scalpdesk_testing.kit.malformed import VALID, malformed_lines

PAIRS = list(zip(SCHEMAS, (event_verdict, intent_verdict, log_verdict, shutdown_verdict), strict=True))
TYPES = {
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
RULES = {
    "type": lambda schema, value: TYPES[schema](value),
    "const": lambda schema, value: type(schema) is type(value) and schema == value,
    "enum": lambda schema, value: isinstance(value, str) and value in schema,
    "minLength": lambda schema, value: not isinstance(value, str) or len(value) >= schema,
    "exclusiveMinimum": lambda schema, value: not TYPES["number"](value) or value > schema,
    "pattern": lambda schema, value: (
        not isinstance(value, str) or re.fullmatch(schema[1:-1], value) is not None
    ),
    "required": lambda schema, value: not isinstance(value, dict) or all(name in value for name in schema),
    "properties": lambda schema, value: (
        not isinstance(value, dict)
        or all(fits(schema[name], value[name]) for name in schema if name in value)
    ),
}
SAYINGS = {"$schema", "title", "description", "format", "if", "then"}


def fits(schema, value):
    """Judge a value by the part of JSON Schema that the schemas use; an unknown word is an error."""
    if any(not RULES[word](part, value) for word, part in schema.items() if word not in SAYINGS):
        return False
    return "if" not in schema or not fits(schema["if"], value) or fits(schema["then"], value)


@pytest.mark.rows("number", range(4))
def test_schema_and_validation_agree(number):
    schema, judge = PAIRS[number]
    passed = 0
    for line in malformed_lines(3, 4_000):
        try:
            message = read_message(line)
        except DataError:
            continue
        verdict = judge(message)
        if verdict == "value:ts":  # what an instant is, the schema says in words
            continue
        assert fits(schema, message) == (verdict == "ok"), message
        passed += verdict == "ok"
    assert passed > 20


@pytest.mark.rows("message", VALID)
def test_every_valid_message_fits_one_schema(message):
    assert sum(fits(schema, message) for schema, _ in PAIRS) == 1
