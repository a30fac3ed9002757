"""A journal written event by event, as a live run would have it."""

from decimal import Decimal

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import AccountSnapshot, OrderFilled, PositionChanged
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter

D = Decimal
SHARE, CALL = InstrumentId(0), InstrumentId(1)
OPTION = us_option("KO240315C00060000", ["KO"])
START_NS = 1_709_564_400_000_000_000  # 4 March 2024, 10:00 New York


class Run:
    """Writes a journal of orders and what became of them, a second between two events."""

    def __init__(self, folder, name, start_ns=START_NS):
        self.folder, self.now_ns, self.orders = folder / name, start_ns, 0
        header = JournalHeader(
            SCHEMA, name, "scripted", "ibkr", "live", {}, "c", "t", (Equity("KO"), OPTION), (), {}, start_ns
        )
        self.writer = JournalWriter.create(self.folder, header, durability="none")

    def event(self, event, outputs=()):
        self.writer.add_event(event)
        self.writer.add_outputs(outputs)

    def stamps(self):
        self.now_ns += 1_000_000_000
        return self.now_ns, self.now_ns

    def fill(self, number, side, quantity, price, fee, execution=None):
        self.orders += 1
        name = f"{self.folder.name}-{self.orders}"
        order = SubmitOrder(
            name, number, Side(side), D(quantity), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN
        )
        self.event(AccountSnapshot(*self.stamps(), D(0), ()) if self.orders == 0 else self.beat(), (order,))
        filled = OrderFilled(
            name, *self.stamps(), execution or f"x{self.orders}", D(quantity), D(price), D(fee)
        )
        self.event(filled)
        return filled

    def beat(self):
        return PositionChanged(
            SHARE, *self.stamps(), ChangeCause.FEE, D(0), D(0), D(0), f"beat-{self.now_ns}"
        )

    def change(self, number, cause, units, price, cash, reference, **more):
        self.event(
            PositionChanged(number, *self.stamps(), cause, D(units), D(price), D(cash), reference, **more)
        )

    def end(self):
        self.writer.close({})
        return self.folder
