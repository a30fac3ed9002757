from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.protocol import decimal_text, intent_id, to_decimal
from scalpdesk.protocol.values import ID


@pytest.mark.rows(
    ("value", "text"),
    [
        (0.65, "0.65"),
        (10, "10"),
        ("6.50", "6.50"),
        (1e-7, "1E-7"),
        (Decimal("2.500"), "2.500"),
        (-0.0, "-0.0"),
    ],
)
def test_a_number_is_read_as_it_is_written(value, text):
    assert str(to_decimal(value)) == text


@pytest.mark.rows(
    "value", [True, None, "", "x", "1_000", "NaN", "Infinity", float("nan"), float("inf"), [], "9" * 500]
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ArgumentError):
        to_decimal(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_its_decimal(value):
    assert float(to_decimal(value)) == value


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1_000_000, max_value=1_000_000)
)
def test_the_text_of_a_number_is_short_and_exact(value):
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert not ("." in text and text.endswith("0"))
    assert text != "-0"


def test_a_number_beyond_a_double_has_no_text():
    with pytest.raises(ArgumentError, match="too large"):
        decimal_text(Decimal("1e999999"))


def test_ids_of_the_reference():
    ours = {"strategy": "0dte_gamma_scalper", "side": "sell"}
    assert intent_id("hedge", "SPY", event_id="evt_12345", qty="7", **ours) == "hedge_SPY_b330d6012b4c"
    assert intent_id("exit", "BRK.B", event_id="evt_9", qty="10", **ours) == "exit_BRK_B_e4a883016f69"


def test_trailing_zeros_make_no_other_id():
    ids = {
        intent_id("hedge", "SPY", strategy="s", event_id="e", side="buy", qty=qty)
        for qty in (7, 7.0, "7.000", Decimal("7.0"))
    }
    assert len(ids) == 1


NAMES = st.text("abcXYZ019_-", min_size=1, max_size=12)
ASKED = st.tuples(
    st.sampled_from(["hedge", "exit", "entry"]),
    st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    NAMES,
    NAMES,
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 10**6),
    st.integers(0, 5),
)


def made(asked):
    kind, symbol, strategy, event_id, side, qty, seq = asked
    return intent_id(kind, symbol, strategy=strategy, event_id=event_id, side=side, qty=qty, seq=seq)


@given(ASKED)
def test_every_id_is_valid_and_the_same_again(asked):
    assert ID.match(made(asked))
    assert made(asked) == made(asked)


@given(ASKED, ASKED)
def test_other_questions_get_other_ids(one, other):
    assert (made(one) == made(other)) == (one == other)


@pytest.mark.rows(("kind", "symbol"), [("", "SPY"), ("-x", "SPY"), ("hedge", "S" * 200), ("he dge", "SPY")])
def test_what_gives_no_valid_id_is_refused(kind, symbol):
    with pytest.raises(ArgumentError, match="not a valid intent id"):
        intent_id(kind, symbol, strategy="s", event_id="e", side="buy", qty=1)


def test_half_a_character_gives_no_id():
    with pytest.raises(ArgumentError, match="UTF-8"):
        intent_id("hedge", "\ud800", strategy="s", event_id="e", side="buy", qty=1)
