"""Combos in the journal: what a restart finds of a parent and its legs."""

from decimal import Decimal

from scalpdesk.core.events import OrderAccepted
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.journal.codec import decode_outputs, encode_outputs
from scalpdesk.live.recovery import known_orders
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk_testing.kit.desk import HandDesk, Scripted

LEGS = [OrderIntent(InstrumentId(number), Side.BUY, Decimal(2), Purpose.OPEN, "entry") for number in (1, 2)]


def test_a_combo_and_its_legs_survive_the_journal():
    command = OrderManager("r").submit_combo(LEGS, Decimal("14.70"), 5)
    assert decode_outputs(encode_outputs((command,))) == (command,)
    assert command.client_order_id == "r-000001"
    assert [leg.client_order_id for leg in command.legs] == ["r-000002", "r-000003"]


def test_after_a_restart_the_gateway_learns_the_parent_of_each_leg():
    engine = HandDesk(Scripted()).engine
    engine.desk.orders = orders = OrderManager("r")
    orders.submit_combo(LEGS, None, 5)
    orders.submit(LEGS[0], 6)
    orders.apply(OrderAccepted("r-000003", 7, 7, "venue-leg"))
    known = known_orders(engine)
    assert [(one.submitted.client_order_id, one.parent_id, one.venue_order_id) for one in known] == [
        ("r-000002", "r-000001", ""),
        ("r-000003", "r-000001", "venue-leg"),
        ("r-000004", "", ""),
    ]
