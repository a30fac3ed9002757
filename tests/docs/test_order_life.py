"""The pictures of docs/concepts/order-life.md name the states of the code."""

import re
from pathlib import Path

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.orders.order import OrderState

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"


@pytest.mark.rows(("picture", "states"), [("order-life.svg", OrderState), ("desk-modes.svg", Mode)])
def test_a_picture_names_every_state_once(picture, states):
    nodes = re.findall(r'<g class="node[^"]*">.*?</g>', (PICTURES / picture).read_text("utf-8"), re.DOTALL)
    names = [re.findall(r">([^<>\n]+)<", node)[0].strip().replace(" ", "_").lower() for node in nodes]
    assert sorted(names) == sorted(state.value.lower() for state in states)
