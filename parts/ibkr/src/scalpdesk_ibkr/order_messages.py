"""What TWS says of orders: their states, and the errors that say why.

What a status means, and what the desk does, is a table in :mod:`scalpdesk_ibkr.codes`. An error never ends an
order by itself: it says why. Whether the order is over say the lists of TWS.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

from ib_async import Contract, Trade
from ib_async.util import UNSET_DOUBLE

from scalpdesk.venues.budget import loop_ns
from scalpdesk.venues.contract import NoticeKind
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import (
    OrderPath,
)
from scalpdesk.venues.tracker import (
    MAY_FILL,
    OrderReport,
    Outcome,
    TrackedOrder,
)
from scalpdesk_ibkr import codes, messages
from scalpdesk_ibkr.connection import TwsConnection
from scalpdesk_ibkr.contracts import Contracts
from scalpdesk_ibkr.executions import Executions, exact, leg_id

EXPLAINED_SECONDS = 1.0
"""Until an error has said why an order ended: it may come behind the end."""
_ID_JUMP = 1_000
"""Order ids that are left out after TWS has called one a duplicate (103)."""


class OrderMessages:
    """Takes the messages on orders in; ``executions``: what is reported of their trades."""

    def __init__(
        self,
        connection: TwsConnection,
        contracts: Contracts,
        publisher: EventPublisher,
        path: OrderPath,
        executions: Executions,
    ) -> None:
        self._connection, self._ib = connection, connection.ib
        self._contracts, self._publisher, self._path = contracts, publisher, path
        self._tracker, self._executions = path.tracker, executions
        self._errors: dict[str, tuple[int, str]] = {}
        """Code and text of the error that says why an order ended, by its name at TWS."""
        self._told: set[tuple[str, str, str]] = set()
        """Orders that the operator has heard of, with their status and why TWS holds them."""
        connection.listen("openOrderEvent", self._on_trade)
        connection.listen("orderStatusEvent", self._on_trade)
        connection.listen("errorEvent", self._on_error)

    def doubt_unanswered(self) -> None:
        """Put in doubt each order that TWS has not answered: the connection broke."""
        why = "the connection broke before TWS showed the order"
        for order in self._tracker.orders.values():
            if not order.accepted and not order.ended:
                self.doubt(order, why)

    def doubt(self, order: TrackedOrder, why: str) -> None:
        """Put an order in doubt."""
        if order.answered_ns is None:
            order.answered_ns = loop_ns()
        if not order.unknown:
            self._path.doubt([order], why)

    def ask_for(self, order: TrackedOrder) -> None:
        """Ask for an order."""
        self._path.spawn(self._path.query_order(order.submitted.client_order_id))

    def _on_trade(self, trade: Trade) -> None:
        """Apply the state of an order; its executions come by themselves."""
        if trade.order.clientId != self._ib.client.clientId or not self._connection.is_synced:
            return  # what a login lists is looked at by the reconciliation that follows it
        rule = codes.rule_of(trade.orderStatus.status)
        for order, report in self.reports(trade):
            is_short = report.outcome not in MAY_FILL and report.filled > order.covered
            if rule.deed is codes.Deed.ASK or is_short:
                # the error that says why may come behind it, and so may executions that it counts
                self._ask_soon(order)
            elif trade.order.permId and rule.deed is codes.Deed.FOLLOW:
                self._path.report(order, report, infer=False)
                self._report_held(trade)
        self._look_at_the_dead(trade, rule)

    def _look_at_the_dead(self, trade: Trade, rule: codes.StatusRule) -> None:
        """Ask for reconciliation where TWS works an order that is over at the desk: it was not over."""
        left = trade.orderStatus.remaining
        is_live = rule.deed is codes.Deed.FOLLOW and rule.outcome is Outcome.OPEN
        if not is_live or left in (0, UNSET_DOUBLE):
            return
        for order, units in self.orders_of(trade):
            filled = exact(trade.orderStatus.filled) * units
            if order.ended and not order.busted_ns and order.covered <= filled < order.submitted.quantity:
                name = order.submitted.client_order_id
                self._publisher.notice(NoticeKind.GAP, "orders", "order_lives_on", name)

    def _ask_soon(self, order: TrackedOrder) -> None:
        """Ask for an order after a moment, whose end something is about to explain."""
        asyncio.get_running_loop().call_later(EXPLAINED_SECONDS, self._ask_now, order, "TWS leaves it open")

    def _ask_now(self, order: TrackedOrder, why: str) -> None:
        if not order.ended and self._path.is_open:
            self._path.spawn(self._ask(order, why))

    async def _ask(self, order: TrackedOrder, why: str) -> None:
        """Ask for an order; one that TWS's lists leave open is in doubt."""
        if not await self._path.query_order(order.submitted.client_order_id):
            self.doubt(order, why)

    def orders_of(self, trade: Trade) -> Iterator[tuple[TrackedOrder, Decimal]]:
        """Yield the desk's orders that an order of TWS stands for, with units in a set."""
        name = trade.order.orderRef
        if legs := self._tracker.legs(name):
            sets = exact(trade.order.totalQuantity) or Decimal(1)
            for leg in legs:
                yield leg, leg.submitted.quantity / sets
            return
        order = self._tracker.orders.get(name)
        if order is not None:
            yield order, Decimal(1)

    def outcome(self, trade: Trade, *, is_completed: bool) -> Outcome:
        """Return what may become of an order: by the list that shows it, its status, and errors."""
        status, code = trade.orderStatus.status, self._errors.get(trade.order.orderRef, (0, ""))[0]
        if is_completed:
            return codes.COMPLETED.get(status, Outcome.CANCELLED)
        if status == messages.INACTIVE and code in codes.REFUSALS:
            return Outcome.REJECTED
        return codes.rule_of(status).outcome

    def reports(self, trade: Trade, *, is_completed: bool = False) -> list[tuple[TrackedOrder, OrderReport]]:
        """Return what the state of an order means for the desk's orders that are not over."""
        status, at_ns = trade.orderStatus, self._publisher.timestamp()
        outcome = self.outcome(trade, is_completed=is_completed)
        filled = exact(status.filled)
        if not filled and trade.order.filledQuantity not in (0, UNSET_DOUBLE):
            filled = exact(trade.order.filledQuantity)  # of a completed order
        why = "" if outcome in (Outcome.OPEN, Outcome.CANCELLING) else self._why(trade)
        found = []
        for order, units in self.orders_of(trade):
            if order.ended:
                continue
            perm_id = str(trade.order.permId)
            if order.parent_id:
                perm_id = leg_id(perm_id, self._contracts.of(order.submitted.instrument_id).conId)
            own = min(filled * units, order.submitted.quantity)
            mean = exact(status.avgFillPrice) if not order.parent_id and status.filled else None
            name = order.submitted.client_order_id
            found.append((order, OrderReport(name, perm_id, at_ns, outcome, own, mean, why)))
        return found

    def _why(self, trade: Trade) -> str:
        """Return the words with which TWS ended an order, or shows it."""
        status, (_, why) = trade.orderStatus, self._errors.get(trade.order.orderRef, (0, ""))
        return why or f"{status.status} {status.whyHeld}".strip()

    def _on_error(self, request_id: int, code: int, text: str, contract: Contract | None) -> None:
        """Apply an error that names an order; the library has marked that one as it sees fit."""
        del contract
        trade = self._ib.wrapper.trades.get((self._ib.client.clientId, request_id))
        if request_id < 0 or trade is None:
            return
        name = codes.name_of(code)
        self._publisher.count(name)
        why = f"{code} {name}: {text}"
        orders = [order for order, _ in self.orders_of(trade) if not order.ended]
        if codes.is_remark(code):
            if code in codes.NAMES:  # the connection tells what no table lists
                self._publisher.tell("orders", name, why)
            for order in orders[:1]:
                self.ask_for(order)
            return
        if code in codes.NO_CANCEL:
            for order in orders:
                self._path.reject_cancel(order, why)
        else:
            self._keep_error(trade.order.orderRef, code, why)
            if code not in codes.REFUSALS and code != codes.CANCELLED:
                for order in orders:
                    self.doubt(order, why)
        if code in codes.USED_IDS and not trade.order.permId:
            self._connection.client.updateReqId(request_id + _ID_JUMP)
        for order in orders[:1]:  # its legs are asked for with it
            if code == codes.CANCELLED:
                self._ask_soon(order)
            else:
                self._ask_now(order, why)

    def refusal(self, name: str) -> str:
        """Return the words with which TWS has refused an order; empty where it has not."""
        code, why = self._errors.get(name, (0, ""))
        return why if code in codes.REFUSALS else ""

    def _keep_error(self, name: str, code: int, why: str) -> None:
        """Keep what an error says of an order; a refusal is not forgotten for what follows from it."""
        if self._errors.get(name, (0, ""))[0] not in codes.REFUSALS:
            self._errors[name] = code, why

    def apply_open(self, trade: Trade, asked_ns: int, question: int) -> None:
        """Apply an order that TWS lists as open; one that it has refused by an error may live on."""
        for order, report in self.reports(trade):
            self._path.report(order, report, infer=True, question=question)
            self._path.judge_cancel(order, report.outcome, asked_ns)
            if report.outcome in MAY_FILL and not order.ended:
                self._errors.pop(trade.order.orderRef, None)
                self._report_held(trade)

    def _report_held(self, trade: Trade) -> None:
        """Tell the operator, once, that TWS holds an order, or shows an unlisted status."""
        status = trade.orderStatus
        key = trade.order.orderRef, status.status, status.whyHeld
        if codes.is_news(status.status, status.whyHeld) and key not in self._told:
            self._told.add(key)
            name = "held_order" if status.status in codes.STATUSES else "unknown_status"
            self._publisher.count(name)
            detail = f"{trade.contract.localSymbol} {' '.join(key)}".strip()
            self._publisher.notice(NoticeKind.LIMITED, "orders", name, detail)
