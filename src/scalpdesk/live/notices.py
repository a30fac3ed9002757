"""What the venue's notices, and its words on orders, make a live desk do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import Notify
from scalpdesk.core.events import (
    AccountComparison,
    Event,
    MarketEvent,
    OperatorEvent,
    OrderCancelled,
    OrderRejected,
    VenueWords,
)
from scalpdesk.core.intents import VenueCommand
from scalpdesk.live.core import LiveCore
from scalpdesk.live.reconciler import AccountQueries, Reconciler
from scalpdesk.live.supervision import LogThrottle, StandstillMonitor
from scalpdesk.live.told import NoticeBoard
from scalpdesk.orders.order import OrderState
from scalpdesk.venues.contract import Notice, NoticeKind


@dataclass(slots=True, kw_only=True)
class NoticeTaker:
    """Takes in what a venue says beside its events.

    ``board``: Where each is counted and kept for ``status``.
    ``feed``, ``put``: Feed an event to the desk; add an item to the runner's queue.
    ``notify``: Tells the operator once the commands of the event under way have been handed over.
    """

    core: LiveCore
    board: NoticeBoard
    reconciler: Reconciler
    queries: AccountQueries
    standstill: StandstillMonitor
    throttle: LogThrottle
    feed: Callable[[Event], list[VenueCommand]]
    put: Callable[[Notice], None]
    notify: Notify

    def count(self, notice: Notice) -> int:
        """Count a notice; return how often one of its name has come."""
        name = f"{notice.kind}/{notice.stream}/{notice.name}"
        self.board.counters[name] += 1
        return self.board.counters[name]

    def take(self, notice: Notice, times: int) -> list[VenueCommand]:
        """Take in a notice that is no mere word: a stream's loss and return, a gap, a limit, a refusal.

        ``times``: How often one of its name has come, this one among them.
        """
        self.board.notices.append(notice)
        commands: list[VenueCommand] = []
        if notice.kind in (NoticeKind.DISCONNECTED, NoticeKind.DEAD):
            self.standstill.ended(notice.stream)
        of_orders = notice.kind is NoticeKind.REFUSED and notice.stream == "orders"
        if of_orders or notice.kind in (NoticeKind.DISCONNECTED, NoticeKind.LIMITED, NoticeKind.GAP):
            now = asyncio.get_running_loop().time()
            self.throttle.warn(f"{notice.stream} {notice.kind}: {notice.name}", notice.detail, now)
        # the first view of a run was asked for after the connection that the run began with
        is_from_before = notice.kind is NoticeKind.CONNECTED and times == 1
        if notice.asks_for_reconciliation and (self.reconciler.is_settled or not is_from_before):
            if not is_from_before:  # positions may have moved unseen: nothing is sent until that is known
                now_ns = self.core.engine.now_ns
                if self.reconciler.is_settled:
                    commands += self.feed(AccountComparison(now_ns, now_ns, is_compared=False))
                self.reconciler.doubt(asyncio.get_running_loop().time())
            self.queries.ask_anew()
        if notice.kind is NoticeKind.DEAD and self.core.engine.desk.gate.kept_mode is not Mode.HALTED:
            self.notify("alarm", f"the venue ended the session for good: {notice.name} {notice.detail}")
            now_ns = max(notice.ts_recv_ns, self.core.engine.now_ns)
            reason = f"the venue ended the session: {notice.stream} {notice.name}"
            who = OperatorCause.VENUE
            commands += self.feed(OperatorEvent(now_ns, now_ns, OperatorAction.HALT, reason, who.value, who))
        return commands

    def hear(self, notice: Notice) -> list[VenueCommand]:
        """Tell what the venue says: on standard error, in status and in the journal, the same summed up."""
        self.board.told.note(notice)
        words, severe = notice.detail, notice.is_severe
        times = self.throttle.warn(
            f"{notice.stream}:",
            words,
            asyncio.get_running_loop().time(),
            level="alarm" if severe else "warning",
            key=notice.likeness,
        )
        if times is None:
            return []
        self.board.notices.append(notice)
        now_ns = max(notice.ts_recv_ns, self.core.engine.now_ns)
        return self.feed(VenueWords(now_ns, now_ns, notice.stream, words, severe, times + 1))

    def words_on_order(self, event: Event) -> Notice | None:
        """Return why the venue refuses an order, or takes one off the book that nobody has cancelled."""
        if not isinstance(event, OrderRejected | OrderCancelled) or not event.reason:
            return None
        order = self.core.engine.desk.orders.live.get(event.client_order_id)
        is_refused = type(event) is OrderRejected
        if order is None or (not is_refused and order.state is OrderState.PENDING_CANCEL):
            return None
        sent = order.submitted
        symbol = self.core.engine.desk.instruments[sent.instrument_id].symbol
        what, name = ("refused", "order_refused") if is_refused else ("cancelled", "order_cancelled")
        words = f"{sent.purpose} to {sent.side} {symbol} is {what} by the venue: {event.reason}"
        return Notice.told(event.ts_recv_ns, "orders", name, words)

    def event_refused(self, event: Event, why: str) -> None:
        """Tell of an event that was refused; one that moved the account is looked for there."""
        of_market = isinstance(event, MarketEvent)
        kind, stream = (NoticeKind.LIMITED, "events") if of_market else (NoticeKind.GAP, "orders")
        detail = f"{type(event).__name__}: {why}"
        self.put(Notice(kind, self.core.engine.now_ns, stream, "refused_event", detail))
