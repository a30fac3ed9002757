"""A journal written event by event, as a live run would have it."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import Event, OrderFilled, PositionChanged
from scalpdesk.core.intents import OrderType, Output, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instrument
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter

D = Decimal
Amount = Decimal | int | str
SHARE, CALL = InstrumentId(0), InstrumentId(1)
OPTION = us_option("KO240315C00060000", ["KO"])
START_NS = 1_709_564_400_000_000_000  # 4 March 2024, 10:00 New York


def journal_header(instruments: Iterable[Instrument] = (), **terms: Any) -> JournalHeader:
    """Return the header of a journal, of a backtest named ``run`` unless its terms say otherwise."""
    usual: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": "run",
        "strategy": "scripted",
        "venue": "simulated",
        "mode": "backtest",
        "config": {},
        "config_hash": "c0ffee",
        "build": "0.1.0",
        "sessions": (),
        "data": {},
        "started_ns": 1,
    }
    return JournalHeader(instruments=tuple(instruments), **(usual | terms))


class Run:
    """Writes a journal of orders and what became of them, a second between two events."""

    def __init__(self, folder: Path, name: str, start_ns: int = START_NS) -> None:
        self.folder, self.now_ns, self.orders = folder / name, start_ns, 0
        header = journal_header(
            (Equity("KO"), OPTION), run_id=name, venue="ibkr", mode="live", started_ns=start_ns
        )
        self.writer = JournalWriter.create(self.folder, header, durability="none")

    def event(self, event: Event, outputs: tuple[Output, ...] = ()) -> None:
        """Write an event and what it led to."""
        self.writer.add_event(event)
        self.writer.add_outputs(outputs)

    def stamps(self) -> tuple[int, int]:
        """Return the times of the next event, a second later."""
        self.now_ns += 1_000_000_000
        return self.now_ns, self.now_ns

    def fill(
        self,
        number: InstrumentId,
        side: str,
        quantity: Amount,
        price: Amount,
        fee: Amount,
        execution: str | None = None,
    ) -> OrderFilled:
        """Write an order and its fill."""
        self.orders += 1
        name, done = f"{self.folder.name}-{self.orders}", execution or f"x{self.orders}"
        order = SubmitOrder(
            name, number, Side(side), D(quantity), OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN
        )
        self.event(self.booking(SHARE, ChangeCause.FEE, 0, 0, 0, f"beat-{self.now_ns}"), (order,))
        sent_ns, got_ns = self.stamps()
        filled = OrderFilled(name, sent_ns, got_ns, done, D(quantity), D(price), D(fee))
        self.event(filled)
        return filled

    def booking(
        self,
        number: InstrumentId,
        cause: ChangeCause,
        units: Amount,
        price: Amount,
        cash: Amount,
        reference: str,
        **more: Any,
    ) -> PositionChanged:
        """Return a change of a position without an order."""
        now = self.stamps()
        return PositionChanged(number, *now, cause, D(units), D(price), D(cash), reference, **more)

    def change(self, *change: Any, **more: Any) -> None:
        """Write such a change."""
        self.event(self.booking(*change, **more))

    def end(self) -> Path:
        """Seal the run; return its folder."""
        self.writer.close({})
        return self.folder
