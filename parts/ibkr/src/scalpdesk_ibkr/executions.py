"""What TWS reports of trades: executions, their corrections and commissions, and positions beside them.

An execution is booked with the schedule's fee and corrected by its commission report; one whose id differs
only behind its last dot takes the place of the one before it. A combo's executions name their legs.
"""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import Contract, Fill, Position
from ib_async.objects import CommissionReport

from scalpdesk.core.errors import RetryError
from scalpdesk.core.intents import (
    Side,
)
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.venues.bounds import is_amount, is_figure
from scalpdesk.venues.contract import NoticeKind, VenueFill, VenueSetup
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.order_path import (
    OrderPath,
)
from scalpdesk.venues.tracker import (
    TrackedOrder,
)
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.connection import TwsConnection
from scalpdesk_ibkr.contracts import Contracts

_SIDES = {
    "BUY": Side.BUY,
    messages.BOUGHT: Side.BUY,
    "SELL": Side.SELL,
    messages.SOLD: Side.SELL,
    messages.SELL_SHORT: Side.SELL,
    "SLONG": Side.SELL,
}
"""Sides of orders and executions; the last two are sales of an institution's account."""
AGREE_SECONDS = 1.0
"""Until a position that TWS shows agrees with the executions: either may come first."""


def exact(value: float | Decimal | None) -> Decimal:
    """Return a number of ib_async as it stood in the message.

    Raises
    ------
    RetryError
        When it is beyond all bounds: the vendor's "no value" too.
    """
    found = Decimal(str(value)).normalize()
    if not is_amount(found):
        raise RetryError("TWS sends a number beyond all bounds", where="amount", value=str(value))
    return found + ZERO


def _fee_paid(report: CommissionReport) -> Decimal | None:
    """Return what a commission report charges; None for an empty one, and one without an amount."""
    return exact(report.commission) if report.execId and is_figure(report.commission) else None


def _root_of(execution_id: str) -> str:
    """Return the part of an execution's id that its corrections keep.

    >>> _root_of("0001f4e5.65e.01.02"), _root_of("plain")
    ('0001f4e5.65e.01', 'plain')
    """
    return execution_id.rpartition(".")[0] or execution_id


def side_of(label: str) -> Side:
    """Return the side of an order or execution.

    Raises RetryError when TWS names a side that its pages do not list.
    """
    if label not in _SIDES:
        raise RetryError("TWS names a side that is not known", where="action, side", value=label)
    return _SIDES[label]


def leg_id(perm_id: int | str, con_id: int) -> str:
    """Return the venue's id of a combo's leg: the order's and the contract's."""
    return f"{perm_id}-{con_id}"


class Executions:
    """Books what the account trades: the desk's executions as events, all of them as history.

    ``path``: The orders that they are of, and where events go.
    """

    def __init__(
        self,
        connection: TwsConnection,
        contracts: Contracts,
        setup: VenueSetup,
        publisher: EventPublisher,
        path: OrderPath,
    ) -> None:
        self._connection, self._ib = connection, connection.ib
        self._contracts, self._publisher, self._path = contracts, publisher, path
        self._instruments, self._tracker = setup.instruments, path.tracker
        self.account = ""
        self.adopted: set[str] = set()
        """Names of orders of an earlier life, whose client id may have been another one."""
        self._question = 0
        """Number of the latest question for executions."""
        self._reported: set[tuple[str, str, str]] = set()
        """Executions whose fee in another currency the operator has heard of, with that currency."""
        self._net: defaultdict[int, Decimal] = defaultdict(Decimal)
        self._shown: dict[int, Decimal] = {}
        """``_net``, ``_shown``: Positions by contract id: by executions, and as TWS showed them last."""
        self._counted: set[str] = set()
        """Executions in ``_net``, by the part of their ids that a correction keeps."""
        connection.listen("execDetailsEvent", lambda _, fill: self.on_fill(fill))
        connection.listen(
            "commissionReportEvent", lambda _, fill, __: self.on_commission(fill, self._question)
        )
        connection.listen("positionEvent", self._on_position)

    def count_positions(self) -> None:
        """Take the positions and executions that a login has listed as the state to follow from."""
        self._counted = {_root_of(fill.execution.execId) for fill in self._ib.fills()}
        held = {line.contract.conId: exact(line.position) for line in self._ib.positions(self.account)}
        self._net, self._shown = defaultdict(Decimal, held), dict(held)

    def is_own(self, name: str, client_id: int) -> bool:
        """Return whether a name is this desk's: another client may use the same one."""
        return client_id == self._ib.client.clientId or name in self.adopted

    def owner(self, fill: Fill) -> TrackedOrder | None:
        """Return the desk's order of an execution; None for one of somebody else's."""
        execution, contract = fill.execution, fill.contract
        if not self.is_own(execution.orderRef, execution.clientId):
            return None
        if legs := self._tracker.legs(execution.orderRef):
            ids = {self._contracts.of(leg.submitted.instrument_id).conId: leg for leg in legs}
            item, leg = self._contracts.instrument(contract), ids.get(contract.conId)
            if leg is None and item is not None:
                leg = self._tracker.leg(execution.orderRef, item.symbol)
            return None if contract.secType == messages.COMBO else leg
        return self._tracker.orders.get(execution.orderRef)

    def on_fill(self, fill: Fill, question: int | None = None) -> None:
        """Publish an execution of the desk with the schedule's fee; ``question`` as in the tracker."""
        execution = fill.execution
        if fill.contract.secType == messages.COMBO or execution.acctNumber != self.account:
            return  # the legs have executions of their own
        order = self.owner(fill)
        if order is None:
            self._publisher.notice(NoticeKind.GAP, "orders", "foreign_execution", fill.contract.localSymbol)
            return
        if not order.venue_order_id:
            perm_id = str(execution.permId)
            is_leg = bool(order.parent_id)
            perm_id = leg_id(perm_id, fill.contract.conId) if is_leg else perm_id
            self._tracker.bind(order.submitted.client_order_id, perm_id)
        at_ns = to_ns(execution.time)
        root, now_ns = _root_of(execution.execId), self._publisher.timestamp(at_ns)
        versions = [known for known in order.executions if _root_of(known) == root]
        if any(known > execution.execId for known in versions):
            return  # corrected since
        quantity, price = exact(execution.shares), exact(execution.price)
        terms = execution.execId, quantity, price
        filled = None if order.parent_id else exact(execution.cumQty)
        earlier = [known for known in versions if known < execution.execId]
        if earlier:
            stamps = "corrected", at_ns, now_ns
            events = self._tracker.correct(
                order, earlier[0], *terms, *stamps, cumulative=filled, question=question
            )
            if execution.execId in order.executions:
                self._publisher.count("execution_corrected")
        elif filled is None:
            events = self._tracker.next_execution(order, *terms, at_ns, now_ns, question=question)
        else:
            events = self._tracker.execution(order, *terms, filled, at_ns, now_ns, question=question)
        if root not in self._counted and execution.execId in order.executions:
            self._counted.add(root)
            self._net[fill.contract.conId] += quantity * order.submitted.side.sign
        self._path.publish(events)

    def on_commission(self, fill: Fill, question: int | None = None) -> None:
        """Correct the fee of an execution of the desk; ``question`` as in the tracker."""
        order, paid = self.owner(fill), _fee_paid(fill.commissionReport)
        if order is None or paid is None:
            return
        currency = fill.commissionReport.currency
        if currency not in ("", self._instruments[order.submitted.instrument_id].currency):
            key = fill.execution.execId, "fee", currency
            if key not in self._reported:
                self._reported.add(key)
                detail = f"execution {key[0]} charges {paid} {currency}: the schedule's fee stays booked"
                self._publisher.refuse("orders", "fee_in_other_currency", detail)
            return
        at_ns = to_ns(fill.execution.time)
        now_ns, name = self._publisher.timestamp(at_ns), fill.execution.execId
        events = self._tracker.fee_reported(order, name, paid, at_ns, now_ns, question=question)
        if self._tracker.is_fee_refused(order, name):
            fill.commissionReport.execId = ""  # the library keeps it: only a report that comes anew counts
        self._path.publish(events)

    def _on_position(self, line: Position) -> None:
        """Ask for reconciliation where a position moves without an execution of this client.

        The broker's liquidation, an exercise and an order from elsewhere send this client nothing else.
        """
        con_id, shown = line.contract.conId, exact(line.position)
        if line.account != self.account or not self._connection.is_synced:
            return  # what a login lists is counted once the account is known
        self._shown[con_id] = shown
        if self._net[con_id] != shown:
            asyncio.get_running_loop().call_later(AGREE_SECONDS, self._agree, line.contract, shown)

    def _agree(self, contract: Contract, shown: Decimal) -> None:
        con_id = contract.conId
        if self._shown.get(con_id) != shown or self._net[con_id] == shown:  # a later one is checked by itself
            return
        self._net[con_id] = shown
        self._publisher.count("position_from_elsewhere")
        if self._path.is_open:
            name = contract.localSymbol or contract.symbol
            self._publisher.notice(NoticeKind.GAP, "orders", "position_from_elsewhere", name)

    async def listed(self) -> list[Fill]:
        """Return the day's executions as TWS states them now, each with the commission that is known."""
        known, self._question = self._ib.wrapper.fills, self._tracker.questions
        found = await self._ib.reqExecutionsAsync()
        first = [known.get(fill.execution.execId, fill) for fill in found]
        pairs = zip(found, first, strict=True)
        return [fill._replace(commissionReport=earlier.commissionReport) for fill, earlier in pairs]

    async def history(self, since_ns: int) -> tuple[VenueFill, ...]:
        """Return the day's executions since an instant, oldest first; those of the desk are events too.

        The last correction of an execution counts.
        """
        since = datetime.fromtimestamp(since_ns / NANOS_PER_SECOND, UTC)
        question = self._tracker.ask()
        asked = self._connection.question(self.listed, "executions")
        latest: dict[str, Fill] = {}
        for fill in await asked:  # in the order in which they happened, within a second too
            execution = fill.execution
            if execution.acctNumber != self.account or fill.contract.secType == messages.COMBO:
                continue
            root = _root_of(execution.execId)
            if root not in latest or latest[root].execution.execId < execution.execId:
                latest[root] = fill
        found = []
        in_time = sorted(latest.values(), key=lambda each: to_ns(each.execution.time))
        owned: dict[str, list[Fill]] = {}
        for fill in in_time:
            owner = self.owner(fill)
            if owner is not None:
                self.on_fill(fill, question)
                self.on_commission(fill, question)
                owned.setdefault(owner.submitted.client_order_id, []).append(fill)
        for name, fills in owned.items():
            listed = {fill.execution.execId: exact(fill.execution.shares) for fill in fills}
            now_ns = self._publisher.timestamp()
            if busts := self._tracker.taken_back(self._tracker.orders[name], listed, now_ns):
                self._path.publish(busts)
                for fill in (*fills, *fills):  # once those that are known stand, there is room for the others
                    self.on_fill(fill, question)
                    self.on_commission(fill, question)
        for fill in in_time:
            execution, owner = fill.execution, self.owner(fill)
            if execution.time < since:
                continue
            is_leg = bool(self._tracker.legs(execution.orderRef))
            perm_id, paid = str(execution.permId), _fee_paid(fill.commissionReport)
            shown = VenueFill(
                execution.execId,
                leg_id(perm_id, fill.contract.conId) if is_leg else perm_id,
                self._symbol(fill, owner),
                side_of(execution.side) if owner is None else owner.submitted.side,
                exact(execution.shares),
                None if is_leg else exact(execution.cumQty),
                exact(execution.price),
                to_ns(execution.time),
                paid or ZERO,
                bool(execution.liquidation),
            )
            found.append(self._tracker.with_fee(shown) if paid is None else shown)
        return tuple(found)

    def _symbol(self, fill: Fill, owner: TrackedOrder | None) -> str:
        """Return the symbol of an execution, TWS's own one of what the desk cannot name."""
        if owner is not None:
            return self._tracker.symbol(owner)
        instrument = self._contracts.instrument(fill.contract)
        return fill.contract.localSymbol if instrument is None else instrument.symbol
