from decimal import Decimal

import pytest

from scalpdesk.core.errors import (
    ArgumentError,
    ConfigError,
    DataError,
    FixError,
    InvariantError,
    JournalError,
    RefusalFacts,
    RetryError,
    ScalpdeskError,
    StopError,
    nearest_name,
)


@pytest.mark.rows(
    "error",
    [
        ConfigError("no", where="a.b", value="x\ny: z", nearest="y", fix="--set a.b=y"),
        DataError("two\nlines", value=3.5),
        ArgumentError("bare"),
    ],
)
def test_a_refusal_as_a_value_says_what_the_error_said(error):
    refusal = RefusalFacts.of(error)
    assert refusal.text == error.render()
    assert (refusal.what, refusal.where, refusal.value, refusal.fix) == (
        error.what,
        error.where,
        error.value,
        error.fix,
    )


def test_an_error_of_another_kind_is_a_refusal_with_its_class():
    assert RefusalFacts.of(ZeroDivisionError("by 0")) == RefusalFacts("ZeroDivisionError: by 0")
    assert RefusalFacts.of(ConfigError("no", value=Decimal("1.50"))).value == "1.50"


def test_a_refusal_shows_its_facts_in_one_order():
    error = ConfigError("no such key", where="hedge.treshold", value=3, nearest="threshold", fix="rename it")
    assert str(error).splitlines() == [
        "no such key",
        "  where: hedge.treshold",
        "  value: 3",
        "  nearest: threshold",
        "  fix: rename it",
    ]
    assert error.as_dict() == {
        "error": "ConfigError",
        "what": "no such key",
        "where": "hedge.treshold",
        "value": "3",
        "nearest": "threshold",
        "fix": "rename it",
    }


def test_facts_that_are_not_given_are_not_shown_but_a_none_is():
    bare = RetryError("no answer")
    assert str(bare) == "no answer"
    assert bare.as_dict() == {"error": "RetryError", "what": "no answer"}
    assert not bare.has_value
    with_none = RetryError("no answer", value=None)
    assert str(with_none) == "no answer\n  value: None"
    assert with_none.as_dict()["value"] == "None"


@pytest.mark.rows(
    ("kind", "parent", "code"),
    [
        (ConfigError, FixError, 2),
        (ArgumentError, FixError, 2),
        (DataError, FixError, 2),
        (RetryError, ScalpdeskError, 1),
        (JournalError, StopError, 1),
        (InvariantError, StopError, 1),
    ],
)
def test_the_tree_says_what_the_operator_must_do(kind, parent, code):
    assert issubclass(kind, parent)
    assert kind("x").exit_code == code


def test_a_wrong_argument_is_also_a_value_error():
    assert issubclass(ArgumentError, ValueError)


def test_the_nearest_name_forgives_case_and_slips():
    assert nearest_name("treshold", ["threshold", "strategy"]) == "threshold"
    assert nearest_name("SPYY", ["spy", "qqq"]) == "spy"
    assert nearest_name("zzz", ["threshold"]) is None
