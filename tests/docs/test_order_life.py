"""The diagrams of docs/concepts/order-life.md show the states and edges of the code."""

import re
from pathlib import Path

from scalpdesk.core.enums import Mode
from scalpdesk.orders.order import ALLOWED, TERMINAL, OrderState

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "order-life.md"
ORDERS, MODES = re.findall(r"^```mermaid\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
EDGE = re.compile(r"^ *(\w+) --> (\w+)", re.MULTILINE)


def test_the_diagram_of_the_order_has_every_edge_and_no_other():
    live = set(OrderState) - TERMINAL
    shown = {
        (before, OrderState(after))
        for start, after in EDGE.findall(ORDERS)
        for before in (live if start == "live" else {OrderState(start)})
    }
    edges = {(before, after) for before, ends in ALLOWED.items() for after in ends if before is not after}
    # an unknown order that is shown and cancelled in one turn goes through ``working``
    assert shown == edges - {(OrderState.UNKNOWN, OrderState.PENDING_CANCEL)}


def test_the_diagram_of_the_modes_has_every_mode():
    edges = EDGE.findall(MODES)
    assert {Mode(mode) for edge in edges for mode in edge} == set(Mode)
    assert {before for before, after in edges if after == Mode.HALTED} == set(Mode) - {Mode.HALTED}
    assert {before for before, after in edges if after == Mode.ACTIVE} == set(Mode) - {Mode.ACTIVE}
