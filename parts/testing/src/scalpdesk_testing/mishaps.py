"""Faults that strike a trial at an instant, and their repair."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial

from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.core.errors import StopError
from scalpdesk.core.events import OrderFilled, OrderRejected
from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.refusals import Refused
from scalpdesk.core.units import CENT, NANOS_PER_SECOND, NEVER_NS, InstrumentId
from scalpdesk.exchange import BrokerAccount, BrokerOrder, Fault, OrderRequest, Status
from scalpdesk.live.runner import KEPT, LiveRunner
from scalpdesk_testing.invariants import BY_HAND
from scalpdesk_testing.line import Line
from scalpdesk_testing.market import CALL, OTHER, SHARE, SmallMarket
from scalpdesk_testing.schedule import (
    ASSIGNED,
    CALLED,
    CORRECTION,
    STRAY,
    TRANSFER,
    BadAnswer,
    CountingPlan,
    Moment,
)
from scalpdesk_testing.small_desk import MortalJournal

_RESUME_AFTER_SECONDS = 12.0
_LOOK_AGAIN_SECONDS = 10.0
_BROKER_LOOKS_SECONDS = 5.0
LOOK_SECONDS = 0.5
"""Between two looks for an order that a moment waits for."""


class Mishaps:
    """Carries out the moments of a schedule.

    ``account``, ``market``: The account at the exchange, and where its quotes come from.
    ``say``: Called with what happens.
    """

    def __init__(
        self,
        line: Line,
        plan: CountingPlan,
        journal: MortalJournal,
        account: BrokerAccount,
        market: SmallMarket,
        say: Callable[[str, str], None],
    ) -> None:
        self.line = line
        self.loop = line.loop
        self.clock = line.clock
        self.world = line.world
        self.plan = plan
        self.journal = journal
        self.account = account
        self.market = market
        self._trades_by_hand = 0
        self._corrected: set[str] = set()
        self._say = say
        self.execution_id: Callable[[str], str] = str
        """Returns the exchange's own id of an execution that the venue names so."""
        self.runner: LiveRunner | None = None
        self.running: asyncio.Task[str] | None = None
        self.disk_full_until = 0.0
        self.on_struck: Callable[[], None] = lambda: None
        """Called as something goes wrong."""
        self.may_resume: Callable[[], bool] = lambda: True
        self.on_commanded: Callable[[Mode], None] = lambda _mode: None
        """Called with the mode that a person asks for, before there is an answer."""
        self.on_noted: Callable[[Mode], None] = lambda _mode: None
        """Called with that mode where a starting desk has taken the command and carries it out later."""
        self.on_operated: Callable[[Mode, Mode], None] = lambda _mode, _asked: None
        """Called with the desk's mode after a person's command, and the mode that was asked for."""
        self.ends_at = 0.0
        self._acts: list[asyncio.Task[None]] = []

    def strike(self, moment: Moment) -> None:
        """Let one thing go wrong now."""
        self._say("fault", f"{moment.kind} {moment.seconds:g} s")
        self.on_struck()
        acts = {
            TRANSFER: self._transfer,
            CORRECTION: self._correct,
            STRAY: self._stray,
            ASSIGNED: self._assign_leg,
            CALLED: self._call,
        }
        if moment.kind in acts:
            acts[moment.kind](moment.seconds)
            self.world.settle()
            self.line.drive()
            return
        self.plan.hits[moment.kind] += 1
        self.plan.note(moment.kind)
        kind = moment.kind
        if kind in ("kill", "power_cut"):
            self._kill(is_power_cut=kind == "power_cut")
        elif kind == "outage":
            self.line.is_down = True
            self.line.cut()
            self.loop.call_later(moment.seconds, self.line.restore)
        elif kind == "cut":
            self.line.cut()
        elif kind == "freeze":
            self.line.freeze(moment.seconds)
        elif kind == "clock_jump":
            self.clock.skew_ns = int((moment.seconds - 6.0) * NANOS_PER_SECOND)
        elif kind == "disk_full":
            self.disk_full_until = self.loop.time() + moment.seconds
        elif kind in ("halt", "reduce", "flatten"):
            self.operate(kind, "rehearsed")
        else:
            self._strike_market(moment)

    def answer_badly(self, bad: BadAnswer) -> None:
        """Let a question be answered badly for a while."""
        self._say("fault", f"{bad.fault.name} {bad.fault.match} {bad.seconds:g} s")
        self.plan.inject(bad.fault)
        self.loop.call_later(bad.seconds, self.plan.lift, bad.fault)
        if bad.is_cut:
            self.line.cut()

    def _strike_market(self, moment: Moment) -> None:
        if moment.kind == "trading_halt":
            self.world.strike_market_fault(Fault("halt", seconds=moment.seconds))
        elif moment.kind == "auto_liquidation":
            self.world.strike_market_fault(
                Fault("auto_liquidation", match=f"{self.world.ledger.instruments[SHARE].symbol}18")
            )
        elif moment.kind == "bust" and self.account.executions:
            self.world.broker.staged.bust(self.account.executions[-1])
        elif moment.kind == "manual_trade" and self.account.quantity(CALL):
            self._by_hand(SHARE, Side.BUY, 3)
        elif moment.kind == "foreign_order":
            away = (self.world.ledger.mark(SHARE) - 5).quantize(Decimal("0.01"))
            order = self._by_hand(SHARE, Side.BUY, 3, away)
            if order is not None:
                self.loop.call_later(moment.seconds, self._end, order, Status.CANCELED)
        elif moment.kind == "dividend":
            self.world.broker.actions.pay_dividend(SHARE, Decimal("0.50"))
        elif moment.kind == "assignment" and self.market.shape != "straddle":
            self._assign_leg(0.0)
        elif moment.kind == "assignment" and self._by_hand(OTHER, Side.SELL, 1) is not None:
            self.loop.call_later(moment.seconds, self._assign)
        elif moment.kind in ("lost_quotes", "left_feed") and self.market.jumps:
            self._say("fault", "not struck: the price jumps")
        elif moment.kind == "lost_quotes":
            until = self.clock.true_ns() + int(12.0 * moment.seconds * NANOS_PER_SECOND)
            self.market.silent_until[CALL] = max(until, self.market.silent_until.get(CALL, 0))
        elif moment.kind == "left_feed":
            self.market.silent_until[CALL] = NEVER_NS
        elif moment.kind in ("venue_cancel", "venue_expiry"):
            open_orders = [
                order
                for order in self.account.open_orders()
                if order.parent is None and not order.client_order_id.startswith(BY_HAND)
            ]
            if open_orders:
                ended = Status.CANCELED if moment.kind == "venue_cancel" else Status.EXPIRED
                self._end(open_orders[-1], ended)
        self.world.settle()
        self.line.drive()

    def _sold_legs(self) -> list[InstrumentId]:
        """Return the options that the account has sold and the desk knows of."""
        if self.runner is None:
            return []
        known = self.runner.core.engine.desk.positions.quantity
        return [
            number
            for number, line in self.account.holdings.items()
            if line.quantity < 0 and line.instrument.is_option and known(number) < 0
        ]

    def _assign_leg(self, seconds: float) -> None:
        """Assign the first leg that was sold, one contract of it or two, as soon as there is one."""
        sold = self._sold_legs()
        if sold:
            contracts = Decimal(1 + len(self.account.orders) % 2)
            self.world.broker.expiry.assign(self.account.name, sold[0], contracts)
        else:
            self._again(ASSIGNED, seconds)

    def _call(self, seconds: float) -> None:
        """Let the account's owner take away so much that its own funds carry what it holds no more.

        It happens within ``seconds``, once something is sold. The broker looks at once, or somewhat later.
        """
        excess = self.world.ledger.figures(self.account).excess
        if not self._sold_legs():
            self._again(CALLED, seconds)
        elif excess > 0:
            self._move_money(-(excess + 100).quantize(CENT))
            later = len(self.account.orders) % 3 * _BROKER_LOOKS_SECONDS
            look_ns = self.clock.true_ns() + int(later * NANOS_PER_SECOND)
            self.world.ledger.at(look_ns, partial(self.world.broker.calls.check, self.account.name))

    def _transfer(self, seconds: float) -> None:
        """Move money of the account's owner: brought above 6, taken away below."""
        self._move_money(Decimal(round(seconds * 1_000.0)) - 6_000)

    def _move_money(self, amount: Decimal) -> None:
        self.account.cash += amount
        self.world.ledger.note(self.account, "JNLC", "", Decimal(0), Decimal(0), amount)

    def _correct(self, seconds: float) -> None:
        """Correct an execution of an order that works, within ``seconds``, or the oldest then, each once.

        What the desk had put together from an order's sum, without an id, it cannot tell from others.
        """
        orders = {} if self.runner is None else self.runner.core.engine.desk.orders.orders
        names = (name for order in orders.values() for name in order.executions)
        known = {self.execution_id(name) for name in names} - self._corrected
        seen = [each for each in self.account.executions if each.execution_id in known]
        works = (each for each in seen if self.account.orders[each.order_id].is_open)
        execution = next(works, seen[0] if seen and seconds <= 0.0 else None)
        if execution is not None:
            self.world.broker.staged.correct(execution, execution.price + Decimal("0.03"))
            self._corrected.add(self.account.executions[-1].execution_id)
        else:
            self._again(CORRECTION, seconds)

    def _stray(self, seconds: float) -> None:
        """Pass on what a careless gateway would.

        The rest of an order rejected after a part of it was filled, within ``seconds``, or else a fill beyond
        an order.
        """
        orders = {} if self.runner is None else self.runner.core.engine.desk.orders.orders
        own = [each for name, each in self.account.by_client_id.items() if name in orders and not each.legs]
        parts = (each for each in own if each.is_open and each.filled)
        order = next((each for each in parts if orders[each.client_order_id].filled == each.filled), None)
        now_ns = self.clock.now_ns()
        if self.runner is None or not own or (order is None and seconds > 0.0):
            self._again(STRAY, seconds)
        elif order is not None:
            self.world.ledger.end(order, Status.REJECTED)
            self.runner.put(OrderRejected(order.client_order_id, now_ns, now_ns, "rejected by the venue"))
        else:
            name, more = own[-1].client_order_id, own[-1].quantity + 1
            self.runner.put(
                OrderFilled(name, now_ns, now_ns, f"stray-{now_ns}", more, Decimal(1), Decimal(0))
            )

    def _again(self, kind: str, seconds: float) -> None:
        """Try a moment again while its time lasts."""
        if seconds > 0.0:
            at = self.loop.time() + LOOK_SECONDS
            self.loop.call_at(at, self.strike, Moment(at, kind, seconds - LOOK_SECONDS))

    def _by_hand(
        self, number: InstrumentId, side: Side, quantity: int, limit_price: Decimal | None = None
    ) -> BrokerOrder | None:
        """Trade in the account as somebody else; None when the exchange refuses."""
        self._trades_by_hand += 1
        kind = OrderType.MARKET if limit_price is None else OrderType.LIMIT
        symbol = self.world.ledger.instruments[number].symbol
        request = OrderRequest(
            symbol,
            side,
            kind,
            quantity=Decimal(quantity),
            limit_price=limit_price,
            client_order_id=f"{BY_HAND}{self._trades_by_hand}",
        )
        try:
            return self.world.broker.submit(self.account.name, request)
        except Refused as refused:
            self._say("fault", f"the hand's trade was refused: {refused}")
            return None

    def _end(self, order: BrokerOrder, status: Status) -> None:
        """Let the venue end an order."""
        if order.is_open:
            self.world.ledger.end(order, status)
        self.world.settle()
        self.line.drive()

    def _assign(self) -> None:
        self.world.strike_market_fault(Fault("assignment"))
        self.line.drive()

    def _kill(self, *, is_power_cut: bool) -> None:
        running = self.running
        if running is not None and not running.done():
            self.journal.die("power cut" if is_power_cut else "killed", is_power_cut=is_power_cut)
            running.cancel()

    def operate(self, action: str, reason: str) -> None:
        """Let a person act, if there is a desk to act on."""
        runner = self.runner
        if runner is not None and self.running is not None and not self.running.done():
            # held until the end: a desk that is killed meanwhile never answers
            self._acts.append(self.loop.create_task(self._ask(runner, action, reason)))

    async def _ask(self, runner: LiveRunner, action: str, reason: str) -> None:
        self.on_commanded(OperatorAction(action).mode)
        with suppress(StopError):  # the run ended first, or hears nothing of its orders yet
            answer = await runner.operate(action, reason, "person")
            if "note" not in answer:
                self.on_operated(Mode(answer["mode"]), OperatorAction(action).mode)
            elif answer["note"] == KEPT:
                self.on_noted(OperatorAction(action).mode)

    def heal(self) -> None:
        """Everything works from here on; a person looks at a desk that is not active."""
        self._say("healed", "all faults end")
        self.plan.heal()
        self.journal.heal()
        self.line.restore()
        self.clock.skew_ns = 0
        self.disk_full_until = 0.0
        # a contract that has left the feed does not come back
        self.market.silent_until = dict.fromkeys(self.market.off_feed(), NEVER_NS)
        for number in tuple(self.world.ledger.halted):
            self.world.resume(number)
        self.world.broker.staged.heal()
        self.line.drive()
        self.loop.call_later(_RESUME_AFTER_SECONDS, self._resume_by_hand)

    def _resume_by_hand(self) -> None:
        if self.loop.time() > self.ends_at:
            return
        runner = self.runner
        if runner is not None and runner.core.engine.desk.gate.mode != "ACTIVE" and self.may_resume():
            self.operate("resume", "the cause is gone")
        self.loop.call_later(_LOOK_AGAIN_SECONDS, self._resume_by_hand)
