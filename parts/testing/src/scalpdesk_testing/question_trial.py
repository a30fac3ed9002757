"""Cells of the matrix of questions in virtual time: the live desk, its gateway and the exchange of a trial.

The desk holds a straddle and hedges. Then a question is answered badly and somebody leaves; the exchange's
own books tell how long it took. Once the account had its time everything is answered well again.
"""

import asyncio
from contextlib import suppress
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.enums import OperatorAction
from scalpdesk.core.errors import RetryError, ScalpdeskError
from scalpdesk.core.units import InstrumentId
from scalpdesk.exchange import Question
from scalpdesk.live.account_mode import WaitingCommand
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.venues.contract import EmergencyGateway
from scalpdesk_testing.campaign import trial_of
from scalpdesk_testing.market import SmallMarket
from scalpdesk_testing.question_cells import Cell, How, Road, Seen, When
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.small_desk import scratch_folder
from scalpdesk_testing.trial import Trial
from scalpdesk_testing.virtual_time import Stuck

SLACK_SECONDS = 3.0
"""What a market of quotes every two seconds may add to the time of a road."""
_SEED = 5
_BAD_AT = 12.0
_NOTICED_SECONDS = 42.0
"""From the beginning of bad answers to the road: the next comparison is due within thirty seconds."""
_LEAVE_SECONDS, _HEALED_SECONDS = 36.0, 36.0
_WATCH_SECONDS = 20.0
_SILENCE_SECONDS = 40.0
"""Longer until a desk says that its quotes have ended: it takes a minute (``venue.silent_seconds``)."""
_CONNECT_PAUSE_SECONDS = 1.0
_STALL_SECONDS = 3.0
"""Without a heartbeat for so long the watchdog takes a desk for hanging."""
_TOLD = frozenset({"alarm", "ended", "watchdog"})
"""Levels of what a person hears: alarms, the end of a start or run, and the last resort's log."""
_LENGTH = 360
_NEVER = 1e9


class _QuestionTrial(Trial):
    """A trial of one cell; joined with the trial of a venue."""

    cell: Cell

    def begin(self, cell: Cell) -> None:
        """Set the cell."""
        self.cell = cell
        self.done = asyncio.Event()
        self.seen = Seen(held=False)
        self.refusal = ""
        self._helpers: list[asyncio.Task[Any]] = []
        self._guard: EmergencyGateway | None = None
        self._guarding: asyncio.Task[None] | None = None
        self.line.on_sent = lambda *_: None  # orders of the last resort are in no journal

    def run_cell(self) -> Seen:
        """Run the cell; return what was seen."""
        loop = self.loop
        try:
            loop.run_until_complete(self._play())
        finally:
            loop.count_afresh()
            with suppress(Stuck):
                loop.run_until_complete(self._clear_up())
            loop.close()
            self.journal.close()
        return self.seen

    async def _clear_up(self) -> None:
        """End what still runs; a gateway of a helper is closed by it."""
        if self._guard is not None:
            await self._guard.close(graceful=False)
        for _ in range(3):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0.3)

    async def _play(self) -> None:
        life = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(_LENGTH):
                await self._cell()
        finally:
            life.cancel()

    async def _cell(self) -> None:
        cell, road = self.cell, self.cell.road
        if road in (Road.WATCHDOG, Road.KILL_WATCHDOG):
            await self._set_guard()
        await asyncio.sleep(_BAD_AT)
        if cell.how is not How.WELL:
            self.plan.inject(cell.fault)
        if cell.when is When.CUT:
            self.line.cut()
        elif cell.when is When.STARTING:
            self.mishaps._kill(is_power_cut=False)  # noqa: SLF001 - as a moment does
        await asyncio.sleep(_NOTICED_SECONDS)
        held = self._held()
        if road.leaves:
            await self._leave(held)
        else:
            if road is Road.KILL_NOTHING:
                self.mishaps._kill(is_power_cut=False)  # noqa: SLF001
                await asyncio.sleep(_NOTICED_SECONDS)
            if cell.question is Question.QUOTES:
                await asyncio.sleep(_SILENCE_SECONDS)
            orders = len(self.account.by_client_id)
            await asyncio.sleep(_WATCH_SECONDS)
            self.seen = self._state(held, orders)

    # what is seen -------------------------------------------------------------------------------------

    def _held(self) -> dict[InstrumentId, Decimal]:
        return {number: line.quantity for number, line in self.account.holdings.items() if line.quantity}

    def _state(self, held: dict[InstrumentId, Decimal], orders: int) -> Seen:
        running = self.mishaps.running
        is_up = running is not None and not running.done()
        told = [text for at, level, text in self.outcome.says if at > _BAD_AT and level in _TOLD]
        return Seen(
            held=bool(held),
            mode=str(self.engine.desk.gate.mode) if is_up else "",
            alarm=(told or [self.refusal])[-1][:160],
            orders=len(self.account.by_client_id) - orders,
        )

    def _reversal(self, since: int, held: dict[InstrumentId, Decimal]) -> str:
        now, instruments = dict(held), self.market.instruments
        for trade in self.account.executions[since:]:
            number = trade.instrument_id
            if number is None:
                continue
            before = now.get(number, Decimal(0))
            after = now[number] = before + trade.side.sign * trade.quantity
            has_options = any(units and instruments[each].is_option for each, units in now.items())
            is_hedge = not instruments[number].is_option and has_options
            if not is_hedge and (abs(after) > abs(before) or after * before < 0):
                return f"{trade.side} {trade.quantity:f} {instruments[number].symbol} at {before:f}"
        return ""

    # roads --------------------------------------------------------------------------------------------

    async def _leave(self, held: dict[InstrumentId, Decimal]) -> None:
        began, since = self.loop.time(), len(self.account.executions)
        self._take(self.cell.road)
        flat = await self._flat_within(_LEAVE_SECONDS)
        flat_seconds, healed_seconds = None if flat is None else flat - began, None
        state = self._state(held, 0)
        if flat is None:
            self.plan.lift(self.cell.fault)
            began = self.loop.time()
            healed = await self._flat_within(_HEALED_SECONDS)
            healed_seconds = None if healed is None else healed - began
        else:
            await asyncio.sleep(12.0)  # it stays so
        self.seen = state._replace(
            flat_seconds=flat_seconds, healed_seconds=healed_seconds, reversed_=self._reversal(since, held)
        )
        if flat is not None and self._held():
            self.seen = self.seen._replace(reversed_=f"flat, then {self._held()}")

    async def _flat_within(self, seconds: float) -> float | None:
        """Return when the account was flat, loop time; None when it was not in time."""
        ends = self.loop.time() + seconds
        while self.loop.time() < ends:
            if not self._held():
                return self.loop.time()
            await asyncio.sleep(0.1)
        return None

    def _take(self, road: Road) -> None:
        """Begin a road."""
        if road is Road.FLATTEN:
            self._flatten()
        elif road is Road.NOW:
            self._flatten_now()
        elif road is Road.WATCHDOG:
            self.loop.call_later(_STALL_SECONDS, self._die)
            self._spawn(self._watchdog(_STALL_SECONDS))
        elif road is Road.KILL_WATCHDOG:
            self._die()
            self._spawn(self._watchdog(0.0))
        elif road is Road.KILL_NOW:
            self._die()
            self._spawn(self._last_resort())
        elif road is Road.KILL_FLATTEN:
            self.mishaps._kill(is_power_cut=False)  # noqa: SLF001
            self._record_flatten()

    def _flatten(self) -> None:
        """Type ``flatten``: the desk obeys, or without one the account's mode changes."""
        if self.mishaps.running is None or self.mishaps.running.done():
            self._record_flatten()
        else:
            self.mishaps.operate("flatten", "tried")

    def _flatten_now(self) -> None:
        """Type ``flatten --now``: a desk that runs obeys at once, one that does not is ended."""
        runner, running = self.mishaps.runner, self.mishaps.running
        if runner is None or running is None or running.done():
            self._die()
            self._spawn(self._last_resort())
        else:
            self._spawn(runner.operate("flatten", "tried", "person", at_once=True))

    def _record_flatten(self) -> None:
        command = WaitingCommand(OperatorAction.FLATTEN, "tried", "person", self.clock.now_ns())
        self.record.write(command.after(self.engine.desk.gate.desk_mode.state))

    def _die(self) -> None:
        self.restart_seconds = _NEVER
        self.mishaps._kill(is_power_cut=False)  # noqa: SLF001

    def _spawn(self, work: Any) -> None:
        self._helpers.append(asyncio.create_task(work))

    async def _set_guard(self) -> None:
        """Connect as the watchdog does, before anything goes wrong, and pass over what comes."""
        self._guard = gateway = self.make_watchdog_gateway()
        await gateway.connect_to_leave()

        async def pass_over() -> None:
            async for _ in gateway.events():
                pass

        self._guarding = asyncio.create_task(pass_over())

    async def _watchdog(self, after: float) -> None:
        await asyncio.sleep(after + 0.2)
        assert self._guard is not None
        assert self._guarding is not None
        self._guarding.cancel()
        orders = [order.submitted for order in self.engine.desk.orders.live.values()]
        await self._trader(self._guard).clear(orders, flatten=True)

    async def _last_resort(self) -> None:
        """Act as ``flatten --now`` does without a desk: connect until it can, then close."""
        gateway = await self._connected()
        try:
            trader = self._trader(gateway)
            await trader.clear_twice((), flatten=True)
        except ScalpdeskError as error:
            self.refusal = f"{type(error).__name__}: {error.what}"
        finally:
            await gateway.close(graceful=False)

    async def _connected(self) -> EmergencyGateway:
        while True:
            gateway = self.make_watchdog_gateway()
            try:
                await gateway.connect_to_leave()
            except RetryError as error:
                self.refusal = f"{type(error).__name__}: {error.what}"
                await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
            else:
                return gateway

    def _trader(self, gateway: EmergencyGateway) -> EmergencyTrader:
        return EmergencyTrader(
            gateway=gateway,
            instruments=self.market.instruments,
            name=f"w{self.schedule.seed}",
            limits=self.desk_plan.limits,
            log=partial(self._say, "watchdog"),
            books={line.instrument_id: line.quantity for line in self.engine.desk.positions.held()},
        )


@cache
def _joined(venue: str) -> type[_QuestionTrial]:
    base = trial_of(venue)
    joined: type[_QuestionTrial] = type(f"Question{base.__name__}", (_QuestionTrial, base), {})
    return joined


def try_cell(cell: Cell) -> Seen:
    """Run one cell."""
    schedule = msgspec.structs.replace(
        quiet_schedule(_SEED, heal_at=_LENGTH - 100.0, holds=True), seconds=_LENGTH
    )
    market = SmallMarket(_SEED, schedule.day, seconds=_LENGTH, move=0.5, is_deep=True)
    with scratch_folder() as folder:
        trial = _joined(cell.venue)(schedule, Path(folder), market=market)
        trial.begin(cell)
        return trial.run_cell()
