"""The diagrams of docs/concepts/order-life.md show the states and edges of the code."""

from scalpdesk.core.enums import Mode
from scalpdesk.orders.order import ALLOWED, OrderState


def test_the_diagram_of_the_order_has_every_edge_and_no_other(diagrams):
    edges = {(before, after) for before, ends in ALLOWED.items() for after in ends if before is not after}
    # an unknown order that is shown and cancelled in one turn goes through ``working``
    assert diagrams.ORDER_LIFE.pairs() == edges - {(OrderState.UNKNOWN, OrderState.PENDING_CANCEL)}


def test_the_diagram_of_the_modes_has_every_mode(diagrams):
    edges = diagrams.DESK_MODES.pairs()
    assert {mode for edge in edges for mode in edge} == set(Mode)
    for reached_from_all in (Mode.HALTED, Mode.ACTIVE, Mode.FLATTENING):
        assert {before for before, after in edges if after is reached_from_all} == set(Mode) - {
            reached_from_all
        }


def test_every_node_of_a_diagram_is_drawn_apart_from_the_others(diagrams):
    for diagram in diagrams.FILES.values():
        boxes = [(each.x, each.y, each.x + each.width, each.y + each.height) for each in diagram.nodes]
        assert len(boxes) > 3
        for n, (left, top, right, bottom) in enumerate(boxes):
            assert 0 <= left < right <= diagram.width
            assert 0 <= top < bottom <= diagram.height
            for other in boxes[:n]:
                assert left >= other[2] or right <= other[0] or top >= other[3] or bottom <= other[1]
