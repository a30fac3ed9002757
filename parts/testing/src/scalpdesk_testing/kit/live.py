"""A live desk on a tape, in one process: it can be killed between any two steps and brought back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, SubmitOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.timers import Timers
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.core import LiveCore
from scalpdesk.live.recovery import Start, known_orders, rebuild
from scalpdesk.live.runner import LiveRunner, RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.strategies.contract import Proposal
from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.desk import CASH, Scripted, build_engine
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import TapeBuilder

SHARE = InstrumentId(0)
FAST = RunnerOptions(
    reconcile_seconds=5.0,
    confirm_seconds=0.0,
    resolve_seconds=0.0,
    absent_after_seconds=0.0,
    tick_seconds=0.001,
    most_waiting=1,
    stop=StopMode.LEAVE,
)


async def until(condition: Callable[[], Any], seconds: float = 0.0) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 - the desk is watched from outside, it has no event for this
        await asyncio.sleep(seconds)


class Died(BaseException):
    """The process is gone: no farewell of any kind."""


def follower(*targets: int, limit: str | None = None) -> Scripted:
    """Return a strategy that wants ``targets[i]`` shares at the i-th minute after 10:00."""
    opens_ns = session_on(DAY).open_ns

    def think(view: Any, wake: Wake, event: Event) -> Any:
        minute = (view.now_ns - opens_ns) // 60_000_000_000 - 30
        if view.mode == "HALTED" or minute < 0 or view.market.quotes[SHARE] is None:
            return ()
        target = 0 if view.mode == "FLATTENING" else targets[min(minute, len(targets) - 1)]
        missing = target - view.exposure(SHARE)
        if not missing:
            return ()
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        price = None if limit is None else Decimal(limit)
        side = Side.BUY if missing > 0 else Side.SELL
        intent = OrderIntent(SHARE, side, abs(missing), Purpose.HEDGE, "follow", kind, price)
        return (Proposal(DecisionKind.HEDGE, (f"want {target}",), {}, (intent,)),)

    return Scripted(think, [EveryQuote(SHARE)])


def walk(minutes: int = 6, *, per_minute: int = 4) -> MarketTape:
    """Return a tape with a few quotes a minute from 10:00 on."""
    builder = TapeBuilder()
    step = 60 // per_minute
    for minute in range(minutes):
        for part in range(per_minute):
            builder.spot(f"10:{minute:02d}:{part * step:02d}", 500.0 + minute + 0.1 * part)
    return builder.build()


class DyingCore(LiveCore):
    """Dies at a given step: before the event is journaled, before it is handled, before a command leaves."""

    dies_at: int | None = None
    steps = 0

    def feed(self, event: Event) -> Any:
        self._step()
        commands = super().feed(event)
        self._step()
        return commands

    def _step(self) -> None:
        self.steps += 1
        if self.dies_at is not None and self.steps == self.dies_at:
            raise Died


@dataclass
class LiveBench:
    """One venue, one run, as many lives as wanted.

    Parameters
    ----------
    folder
        Of the journal.
    tape
        The market.
    make_strategy
        Builds the strategy; each life has its own.
    latency_ms
        One way to the venue.
    """

    folder: Path
    tape: MarketTape
    make_strategy: Callable[[], Any]
    latency_ms: float = 5.0
    mark_seconds: float = 1e9
    options: RunnerOptions = FAST
    watchdog: Any = None
    core_class: type[DyingCore] = DyingCore
    gateway_class: type[SimulatedGateway] = SimulatedGateway
    limits: RiskLimits | None = None
    said: list[tuple[str, str]] = field(default_factory=list)
    lives: int = 0

    def __post_init__(self) -> None:
        connection = connect(
            self.tape.instruments,
            cash=CASH,
            hours=TapeHours(self.tape.sessions),
            latency_ns=int(self.latency_ms * 1e6),
            is_open=False,
        )
        self.account = connection.account
        self.venue = PlayedSession(self.tape, connection)
        self.run_dir = self.folder / "run"

    def header(self) -> JournalHeader:
        return JournalHeader(
            SCHEMA, "run", "scripted", "simulated", "simulated", {}, "0" * 64, "test",
            tuple(self.tape.instruments), (), {"account_id": "a"}, 1,
        )  # fmt: skip

    def live(
        self, dies_at: int | None = None, meanwhile: Callable[["LiveBench"], Any] | None = None
    ) -> LiveRunner | None:
        """Live once; None when the desk died."""
        return asyncio.run(self._live(dies_at, meanwhile))

    async def _live(
        self, dies_at: int | None, meanwhile: Callable[["LiveBench"], Any] | None
    ) -> LiveRunner | None:
        self.lives += 1
        is_fresh = not self.run_dir.exists()
        self.engine = build_engine(
            self.make_strategy(), self.tape.instruments, mark_seconds=self.mark_seconds, limits=self.limits
        )
        timers = Timers()
        if is_fresh:
            journal = JournalWriter.create(self.run_dir, self.header())
        else:
            journal = JournalWriter.reopen(self.run_dir, started_ns=1)
            rebuilt = rebuild(JournalReader(self.run_dir), self.engine)
            journal.add_outputs(rebuilt.unwritten)
            timers = rebuilt.timers
        self.gateway = self.gateway_class(self.venue, clock := FollowingClock())
        await self.gateway.connect(known_orders(self.engine))
        core = self.core_class(self.engine, journal, timers)
        core.dies_at = dies_at
        self.core = core
        self.runner = LiveRunner(
            core,
            self.gateway,
            clock,
            self.options,
            notify=lambda *words: self.said.append(words),
            watchdog=self.watchdog,
        )
        helper = None if meanwhile is None else asyncio.get_running_loop().create_task(meanwhile(self))
        try:
            await self.runner.run(Start(is_fresh=is_fresh))
        except Died:
            journal._release()  # what was not written is lost, as with the process
            return None
        finally:
            if helper is not None:
                helper.cancel()
        journal.abandon()
        return self.runner

    @property
    def orders(self) -> list[SubmitOrder]:
        """Every order that reached the venue."""
        return list(self.venue.record.submitted.values())

    def differences(self) -> list[str]:
        """Return where the desk's ledger is not the venue's truth."""
        desk, account = self.engine.desk, self.account
        found = []
        if desk.account.cash != account.cash:
            found.append(f"cash {desk.account.cash} {account.cash}")
        for number in range(len(self.tape.instruments)):
            one = InstrumentId(number)
            ours, theirs = desk.positions.quantity(one), account.quantity(one)
            if ours != theirs:
                found.append(f"{number}: {ours} {theirs}")
        return found + [f"duplicate {name}" for name in self.venue.record.duplicates]
