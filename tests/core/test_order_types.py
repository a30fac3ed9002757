"""The table of order types is that of the classes, of the settings and of each venue's words."""

from decimal import Decimal
from typing import get_args

import pytest

from scalpdesk.core.intents import OrderKind, OrderType, Stop, TimeInForce, Trailing
from scalpdesk.core.order_types import SENT, TRAITS, WORKING_AT_ONCE, OrderTypeName
from scalpdesk_deribit import order_words as deribit
from scalpdesk_ibkr import order_words as ibkr

ONE = Decimal(1)
KINDS = [(OrderType.MARKET, None), (OrderType.LIMIT, ONE), (Stop(ONE), None), (Stop(ONE), ONE)]


def test_the_table_has_a_row_for_every_type_and_no_other():
    names = [kind.name_with(limit) for kind, limit in [*KINDS, (Trailing(ONE), None)]]
    assert names == list(TRAITS)
    assert {type(kind) for kind, _ in KINDS} == set(get_args(OrderKind))
    assert list(get_args(OrderTypeName)) == list(SENT) == names[:4]
    assert {"market", "limit"} == WORKING_AT_ONCE


@pytest.mark.rows(("kind", "limit"), KINDS)
def test_a_row_says_what_its_type_states(kind, limit):
    traits = TRAITS[kind.name_with(limit)]
    assert traits.needs_limit is (limit is not None)
    assert traits.needs_trigger is traits.waits is (kind.trigger_price(None, 1) is not None)
    assert (TimeInForce.CLS in traits.lifetimes) is not traits.waits


@pytest.mark.rows("words", [ibkr, deribit])
def test_a_venue_has_a_word_of_its_own_for_every_type_that_a_desk_sends(words):
    assert set(SENT) <= set(words.ORDER_WORDS)
    assert set(words.TYPE_OF.values()) == set(words.ORDER_WORDS)
    assert {name for word, name in words.TYPE_OF.items() if words.needs_limit(word)} == {
        "limit",
        "stop_limit",
    }
    assert not words.needs_limit("no such word")
