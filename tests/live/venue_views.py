"""Accounts as a venue shows them, and calendars of desks driven by hand."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import Side
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deadlines import NO_CUTOFF, VenueCutoff
from scalpdesk.live.sessions import SessionCalendar
from scalpdesk.venues.contract import AccountFacts, VenueClock, VenueOrder, VenuePosition, VenueView
from scalpdesk_testing.kit.desk import HandDesk, Scripted, in_mode

SHUT = VenueClock(0, False, 1, 2)


def account_facts(cash: Any = 100_000) -> AccountFacts:
    """Return an account that may trade everything."""
    money = Decimal(cash)
    return AccountFacts("a", "ACTIVE", "USD", money, money, money, money, 3, may_trade=True, may_short=True)


def venue_view(
    at_ns: int = 0,
    held: Mapping[int | None, Any] | None = None,
    *,
    clock: VenueClock = SHUT,
    orders: Iterable[str] = (),
    cash: Any = 100_000,
) -> VenueView:
    """Return a view of an account: its holdings by number (None: not in the run), and open orders by id."""
    positions = tuple(
        VenuePosition("SPY" if number == 0 else f"X{number}", number, Decimal(quantity), Decimal(1))
        for number, quantity in (held or {}).items()
    )
    working = tuple(
        VenueOrder(name, f"v-{name}", "SPY", 0, Side.BUY, Decimal(1), Decimal(0), None, "new", True, None, 0)
        for name in orders
    )
    return VenueView(at_ns, at_ns, account_facts(cash), clock, positions, working, ())


class CalendarDesk(HandDesk):
    """A desk that holds one contract of an option, or nothing, and its calendar.

    Parameters
    ----------
    open_first
        Open the session before the calendar is made, as in a run that is resumed.
    """

    def __init__(
        self,
        option: str = "SPY240304C00500000",
        *,
        held: int = 0,
        mode: Mode = Mode.ACTIVE,
        cutoff: VenueCutoff = NO_CUTOFF,
        margin_seconds: float = 60.0,
        open_first: Any = None,
        keeps: bool = False,
    ) -> None:
        contract = us_option(option, ["GOOG"])
        super().__init__(Scripted(), Instruments([Equity(contract.underlying), contract]))
        self.engine.desk.view.cutoff = cutoff
        self.now_ns = 1
        self.adopt({1: (held, "1")} if held else {})
        in_mode(self, mode)
        if open_first is not None:
            self.open(open_first)
        self.fed: list[Any] = []
        self.said: list[tuple[str, str]] = []
        self.called: list[str] = []
        self.kept: list[Any] = []
        self.calendar = SessionCalendar(
            engine=self.engine,
            feed=self.feed,
            notify=lambda level, text: self.said.append((level, text)),
            on_close=lambda: self.called.append("closed") or ["after the close"],  # type: ignore[func-returns-value]
            on_morning=lambda: self.called.append("morning"),
            on_kept=self.kept.append if keeps else None,
            margin_seconds=margin_seconds,
        )

    def feed(self, event: Any) -> list[Any]:
        """Feed the engine at its own time, as the core does; an event leads to one command."""
        self.fed.append(event)
        self.handle(msgspec.structs.replace(event, ts_recv_ns=max(event.ts_recv_ns, self.engine.now_ns)))
        return ["command"]

    def at_ns(self, at_ns: int) -> "CalendarDesk":
        """Let the engine's time come to an instant."""
        self.now_ns = at_ns
        self.timer("nothing")
        return self

    def plan(self, clock: VenueClock, at_ns: int = 0) -> "CalendarDesk":
        """Look at the venue's clock."""
        self.calendar.plan(clock, at_ns or clock.now_ns)
        return self

    def fire(self, at_ns: int) -> list[Any]:
        """Carry out what is due."""
        if at_ns > self.engine.now_ns:
            self.at_ns(at_ns)
        return self.calendar.fire(at_ns)
