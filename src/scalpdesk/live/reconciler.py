"""Holds the desk against the venue's view: at start, after a reconnection, on a timer, in doubt.

A difference is acted on only when two views in a row show the same one and no order event came
between them: a fill may travel on the stream while the query is answered.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import islice

import msgspec

from scalpdesk.core.events import Event, FillBusted, OperatorEvent, OrderAccepted, PositionChanged
from scalpdesk.core.intents import VenueCommand
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.core import LiveCore
from scalpdesk.orders.order import OrderState
from scalpdesk.orders.reconcile import (
    AccountChange,
    AccountPicture,
    BookedFill,
    Difference,
    Explained,
    ForeignFill,
    OpenOrder,
    Reconciliation,
    Tolerance,
    reconcile,
    side_by_side,
)
from scalpdesk.venues.base import VenueView

ZERO = Decimal(0)
LATEST_ORDERS = 200
"""Orders whose executions may turn out to have been busted."""
Say = Callable[[str, str], None]
"""Takes a level (``info``, ``warning``, ``alarm``) and a sentence."""


def desk_picture(engine: TradingEngine) -> AccountPicture:
    """Return the desk's side of a reconciliation."""
    desk = engine.desk
    return AccountPicture(
        engine.now_ns,
        desk.account.cash,
        {one.instrument_id: one.quantity for one in desk.positions.held()},
        tuple(
            OpenOrder(
                name,
                order.venue_order_id,
                desk.instruments[order.submitted.instrument_id].symbol,
                order.filled,
                order.state is OrderState.UNKNOWN,
            )
            for name, order in desk.orders.live.items()
        ),
        tuple(
            BookedFill(
                name, execution_id, order.submitted.instrument_id, quantity * order.submitted.side.sign, price
            )
            for name, order in islice(reversed(desk.orders.orders.items()), LATEST_ORDERS)
            for execution_id, (quantity, price) in order.executions.items()
        )[::-1],
    )


def venue_picture(view: VenueView) -> AccountPicture:
    """Return the venue's side; positions that the book does not know are left out."""
    holdings: dict[InstrumentId, Decimal] = {}
    for one in view.positions:
        if one.instrument_id is not None:
            holdings[one.instrument_id] = holdings.get(one.instrument_id, ZERO) + one.quantity
    orders = tuple(
        OpenOrder(one.client_order_id, one.venue_order_id, one.symbol, one.filled)
        for one in view.open_orders
        if one.is_open
    )
    return AccountPicture(view.ts_recv_ns, view.account.cash, holdings, orders)


def _same_twice(one: Explained) -> tuple[object, ...]:
    """What of a difference two views must agree on; its reference may hold the time of the view."""
    event = one.event
    if isinstance(event, FillBusted):
        return one.cause, event.client_order_id, event.execution_id
    return one.cause, event.instrument_id, event.quantity_change, event.price, event.cash_change


class Reconciler:
    """Compares views with the desk and says what follows.

    Parameters
    ----------
    core
        What events are fed to.
    say
        Told of what is found.
    """

    def __init__(self, core: LiveCore, say: Say) -> None:
        self._core = core
        self._say = say
        self.is_settled = False
        """True once a view has been equal, or what it showed has been acted on."""
        self.last_ns = 0
        """When a view was last found equal or acted on, UTC nanoseconds."""
        self.views = 0
        self.unexplained: tuple[Difference, ...] = ()
        self.adopted: list[str] = []
        """Differences that were booked, in words."""
        self.fills_since_ns = 0
        """Executions are asked for from here on."""
        self._pending: tuple[object, int] | None = None
        self._foreign_positions: frozenset[tuple[str, Decimal]] | None = None
        self._accounted: set[str] = set()
        """Activities that equal views showed: the desk's books hold what they did, one way or another."""
        self._shown: set[str] = set()

    def judge(self, view: VenueView, order_events: int) -> tuple[list[VenueCommand], tuple[str, ...], bool]:
        """Take a view in.

        Parameters
        ----------
        view
            The venue's side.
        order_events
            How many order and account events the desk has handled so far: a count that moved says
            that the account was in motion.

        Returns
        -------
        commands
            What the engine answered to what was booked.
        ask_for
            Orders to ask the venue about.
        look_again
            Whether a second view is wanted to make sure.
        """
        self.views += 1
        core, engine = self._core, self._core.engine
        ours, theirs = desk_picture(engine), venue_picture(view)
        self._note_foreign_positions(view)
        found = self._compare(view, ours, theirs)
        commands: list[VenueCommand] = []
        now_ns = max(view.ts_recv_ns, engine.now_ns)
        for shown in found.shown_orders:
            commands += core.feed(
                OrderAccepted(shown.client_order_id, view.ts_event_ns, now_ns, shown.venue_order_id)
            )
        if found.missing_orders:
            # what became of them may be the very difference: first their story, then the sums
            self._pending = None
            return commands, found.missing_orders, True
        if not found.explained and not found.unexplained:
            self._settle(view)
            names = {one.activity_id for one in view.activities}
            # one that is new may be younger than the positions of this very view
            self._accounted |= names & self._shown
            self._shown |= names
            self.unexplained = ()
            return commands, (), False
        key = (tuple(_same_twice(one) for one in found.explained), found.unexplained)
        if self._pending != (key, order_events):
            self._pending = (key, order_events)
            return commands, (), True
        self._pending = None
        commands += self._act(found, ours, theirs, now_ns)
        self._settle(view)
        return commands, (), bool(found.explained)

    def _compare(self, view: VenueView, ours: AccountPicture, theirs: AccountPicture) -> Reconciliation:
        desk = self._core.engine.desk
        own = {order.venue_order_id for order in desk.orders.orders.values()}
        foreign = tuple(
            ForeignFill(
                fill.execution_id,
                desk.instruments.id_of(fill.symbol),
                fill.side,
                fill.quantity,
                fill.price,
                fill.ts_event_ns,
            )
            for fill in view.fills
            if fill.venue_order_id not in own and fill.symbol in desk.instruments
        )
        changes = tuple(
            AccountChange(
                f"activity-{one.activity_id}",
                one.cause,
                desk.instruments.id_of(one.symbol) if one.symbol in desk.instruments else None,
                one.quantity_change,
                one.price,
                one.cash_change,
                one.ts_event_ns,
                str(one),
            )
            for one in view.activities
            if one.activity_id not in self._accounted
            and (not one.quantity_change or one.symbol in desk.instruments)
        )
        names = [f"foreign-{fill.execution_id}" for fill in foreign] + [one.reference for one in changes]
        booked = frozenset(name for name in names if desk.positions.already_applied(name))
        return reconcile(
            ours,
            theirs,
            desk.instruments,
            foreign_fills=foreign,
            changes=changes,
            dividends=desk.market.dividends,
            booked=booked,
            tolerance=Tolerance(equity=view.account.equity),
        )

    def _act(
        self, found: Reconciliation, ours: AccountPicture, theirs: AccountPicture, now_ns: int
    ) -> list[VenueCommand]:
        commands: list[VenueCommand] = []
        for one in found.explained:
            self.adopted.append(one.detail)
            self._say("warning", f"adopted from the venue: {one.detail}")
            event: Event = one.event
            if isinstance(event, PositionChanged) and one is not found.explained[-1]:
                event = msgspec.structs.replace(event, more_follow=True)
            commands += self._core.feed(event)
        known = {one.what for one in self.unexplained}
        self.unexplained = found.unexplained
        if any(one.what not in known for one in found.unexplained):
            table = side_by_side(ours, theirs, self._core.engine.desk.instruments)
            text = "; ".join(str(one) for one in found.unexplained)
            self._say("alarm", f"the venue's account differs and nothing explains it: {text}\n{table}")
            if self._core.engine.desk.gate.mode == "ACTIVE":
                word = OperatorEvent(
                    now_ns, now_ns, "reduce", f"unexplained difference: {text}", "reconciliation"
                )
                commands += self._core.feed(word)
        return commands

    def _settle(self, view: VenueView) -> None:
        self.is_settled = True
        self.last_ns = view.ts_recv_ns
        self.fills_since_ns = max(self.fills_since_ns, view.ts_event_ns - 60_000_000_000)

    def _note_foreign_positions(self, view: VenueView) -> None:
        """Say which holdings of the account the desk leaves alone because they are not its market."""
        foreign = frozenset((one.symbol, one.quantity) for one in view.positions if one.instrument_id is None)
        if foreign != (self._foreign_positions or frozenset()):
            listed = ", ".join(f"{quantity:+f} {symbol}" for symbol, quantity in sorted(foreign)) or "none"
            self._say("warning", f"holdings outside this run's market, left alone: {listed}")
        self._foreign_positions = foreign
