"""The end of a trial: the session is over, all is quiet, and both sides must say the same.

One seeded trial: the live desk, its gateway and the simulated exchange, bytes between them.

First everything may go wrong that the schedule holds (safety), then everything is healed (liveness):
within a minute every order must be over. All in virtual time, in one thread, from the seed alone.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from pathlib import Path

import msgspec

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import ConfigError, InvariantError, RetryError, StopError
from scalpdesk.core.events import Event, OpenInterestEvent, OrderFilled, QuoteEvent
from scalpdesk.core.intents import Output, VenueCommand
from scalpdesk.core.units import CENT, MINUTE_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.timers import Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.exchange.keyring import Credential, Keyring
from scalpdesk.exchange.market import MarketOptions, SimulatedMarket
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.live.account_mode import ModeKeeper
from scalpdesk.live.core import LiveCore
from scalpdesk.live.recovery import Start, known_orders, rebuild
from scalpdesk.live.runner import LiveRunner, RunnerOptions
from scalpdesk.live.sessions import RunEnd
from scalpdesk.live.supervision import FaultError
from scalpdesk.orders.order import OrderState
from scalpdesk.plugins import JournalReader
from scalpdesk.simulation.accounts import AccountTerms, BrokerAccount
from scalpdesk.simulation.faults import OF_ANSWERS, PLACES
from scalpdesk.simulation.orders import BrokerOrder, OrderUpdate
from scalpdesk.strategies.contract import ReportsPhase, members_of
from scalpdesk.venues.contract import EmergencyGateway
from scalpdesk_alpaca.served.protocol import PROTOCOL as ALPACA
from scalpdesk_testing.conduct import Conduct
from scalpdesk_testing.invariants import BY_HAND, INVARIANTS, Scene, Violation, broken
from scalpdesk_testing.line import STRAIGHT, Asked, Line, OnTheWay
from scalpdesk_testing.market import SHARE, SmallMarket
from scalpdesk_testing.mishaps import Mishaps
from scalpdesk_testing.outside_judge import Mandate, OutsideJudge, legs_of
from scalpdesk_testing.schedule import (
    JUMP,
    LINE_FAULTS,
    MOMENTS,
    STRAY,
    CountingPlan,
    Moment,
    Schedule,
    Story,
    draw_schedule,
)
from scalpdesk_testing.small_desk import (
    SMALL_PLAN,
    DeskPlan,
    Killed,
    MortalJournal,
    MortalRecord,
    small_engine,
    small_header,
)
from scalpdesk_testing.virtual_time import Stuck, VirtualClock, VirtualLoop
from scalpdesk_testing.wire_laws import ORDERS_PATH, WireLaws, read_orders

Feed = Callable[[Event], tuple[VenueCommand, ...]]
"""Hands an event to the desk and returns its commands."""


@dataclass
class TrialOutcome:
    """Result of one seeded trial.

    ``seed``, ``digest``: Which, and a hash over all events, outputs and the exchange's own books.
    ``violations``: Laws that did not hold.
    ``orders``, ``faults``, ``events``, ``lives``: Orders at the venue, faults that struck, events handled,
    lives of the desk's process.
    ``edges``, ``pairs``: How often each edge of the order machine and each pair of fault and state was met.
    ``says``: Notices of the desk to a person, with their time (seconds after the beginning).
    ``seconds_judged``: In which a delta was due by the outside judge.
    ``seconds_outside``: Those of them in which it was outside the band.
    """

    seed: int
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    orders: int = 0
    faults: int = 0
    events: int = 0
    lives: int = 1
    edges: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    says: list[tuple[float, str, str]] = field(default_factory=list)
    seconds_judged: int = 0
    seconds_outside: int = 0

    def note(self, invariant: str, detail: str) -> None:
        """Add a violation at the end."""
        self.violations.append(Violation(self.seed, invariant, self.events, detail))


@dataclass(frozen=True, slots=True)
class _Left:
    """End of a desk that left without a start; ``is_flat`` when it says that the account is flat."""

    ended_ns: int
    is_flat: bool


def _is_left_flat(trial: "Trial", ended_ns: int) -> None:
    """Hold the venue's book against a desk that left: it has no book of its own of what it closed.

    What others sent after its end, and a fill of its own order after the confirmed cancel, are not its doing.
    """
    account, scene = trial.account, trial.scene
    held = {number: account.quantity(number) for number in trial.numbers}
    for trade in account.executions:
        order = account.orders[trade.order_id]
        is_beyond = order.created_ns > ended_ns or scene.is_last_resort(scene.sent_as(order))
        if trade.ts_ns > ended_ns and is_beyond and trade.instrument_id is not None:
            held[trade.instrument_id] -= trade.side.sign * trade.quantity
    for number, units in held.items():
        if units:
            symbol = trial.market.instruments[number].symbol
            trial.violate(
                "3 left_flat", f"the desk says that it left, and the venue holds {units:+f} {symbol}"
            )


def _final_look(trial: "Trial") -> None:
    """The session is over and all is quiet: both sides must say the same."""
    if trial.left is not None:
        if trial.left.is_flat:
            _is_left_flat(trial, trial.left.ended_ns)
        return
    desk = trial.engine.desk
    for name, order in desk.orders.live.items():
        trial.violate("L liveness", f"{name} is {order.state.value} after the close")
    for number in trial.numbers:
        ours, theirs = desk.positions.quantity(number), trial.account.quantity(number)
        if ours != theirs and not trial.is_stated:
            symbol = desk.instruments[number].symbol
            trial.violate("3 position_equals_venue", f"{symbol}: desk {ours}, venue {theirs}")
    if abs(desk.account.cash - trial.account.cash) > trial.scene.tolerance() and not trial.is_stated:
        trial.violate("8 cash_equals_venue", f"desk {desk.account.cash}, venue {trial.account.cash}")
    if b"canary" in b"".join(path.read_bytes() for path in trial.journal.files()):
        trial.violate("10 no_secrets", "a secret is in the journal")
    _replays(trial)


def _replays(trial: "Trial") -> None:
    """Replaying the last life's journal gives the same desk."""
    trial.journal.flush()
    engine = trial.fresh_engine()
    try:
        rebuild(JournalReader(trial.journal.run_dir), engine)
    except StopError as error:
        trial.violate("9 replay_identical", error.what)
        return
    ours = {number: trial.engine.desk.positions.quantity(number) for number in trial.numbers}
    again = {number: engine.desk.positions.quantity(number) for number in trial.numbers}
    if ours != again or engine.desk.account.cash != trial.engine.desk.account.cash:
        trial.violate("9 replay_identical", f"positions {ours}, replayed {again}")


class _FollowedReplay:
    """An engine under replay whose events the laws follow."""

    def __init__(self, engine: TradingEngine, scene: Scene, conduct: Conduct) -> None:
        self._engine = engine
        self._scene = scene
        self._conduct = conduct

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Handle one event of the journal."""
        outputs = self._engine.handle(event)
        self._scene.event = event
        self._scene.note_booked()
        self._conduct.note(event, outputs)
        return outputs


EXCUSES: dict[str, frozenset[int]] = {
    "late_fill_after_cancel": frozenset({4}),  # what fills after a confirmed cancel is beyond any limit
    "bust": frozenset({11, 14}),
    "correct": frozenset({14}),
    "assignment": frozenset({4, 6, 7}),  # somebody else's contract, and the shares that it becomes
    **dict.fromkeys(OF_ANSWERS, frozenset({6, 7, 14})),  # a comparison that does not come holds orders up
}
"""Laws that a fault outside the desk's power suspends."""
ACCOUNT = "drill"
_OF_PROCESSES = frozenset({"kill", "power_cut", "outage", "cut", "freeze", "clock_jump", "disk_full"})
"""Moments after which an execution may be missed, or known only from its order."""
KEY, SECRET = "PKDRILL0000000000000", "drill-canary-secret-9f1c2e"
PAUSE_SECONDS = 3.0
"""Before a run that has ended by itself is begun again."""
_AIMS_AFTER = 3.0
"""Seconds before which the aimed fault waits: the desk is only starting."""
_LIVENESS_SECONDS = 60.0
_JUDGED_AFTER = 0.5
"""The outside judge looks each second from then on: between two quotes, which come at whole seconds."""
_RESUMED_SECONDS = 40.0
"""After the healing a person has resumed the desk, twice if need be."""
_DOUBT_SECONDS = 30.0
_MOST_VIOLATIONS = 5
"""A broken law breaks again at the next event; so many are kept."""
_MOST_AT_ONE_INSTANT = 2_000
"""Events without time going by; more are a desk that answers itself."""
_MOST_TURNS_A_SECOND = 400
"""Turns of the loop a second of the session; a trial takes ten to twenty."""
_MOST_EVENTS = 20_000
"""Events of a trial, which has a few hundred."""


class _CheckedCore(LiveCore):
    """The live core with an eye on every event."""

    trial: "Trial"

    def feed(self, event: Event) -> tuple[VenueCommand, ...]:
        """Handle an event as ever, then look at the laws."""
        return self.trial.watch(event, super().feed)

    def note_outputs(self, outputs: tuple[Output, ...]) -> tuple[VenueCommand, ...]:
        """Keep the outputs for the laws."""
        self.trial.scene.outputs = outputs
        return super().note_outputs(outputs)


class Trial(ABC):
    """Runs one schedule over a venue's protocol.

    Parameters
    ----------
    schedule
        What goes wrong, and when.
    folder
        Scratch space.
    verbose
        Keep each order event and command among the notices.
    plan, market
        How the desk is set and what it trades; a small market drawn from the seed unless given.
    """

    STREAMS: int
    """Connections of a gateway that is up."""
    CASH_TOLERANCE = CENT
    OPTIONS = RunnerOptions(
        reconcile_seconds=30.0, tick_seconds=1.0, sessions=1, resolve_seconds=1.0, flush_seconds=2.0
    )
    """Options of the desk's run."""
    STATES_QUOTE_TIMES = True
    """Whether the venue's messages state when a quote was made."""
    HAS_OPTIONS_LEVELS = True
    """Whether an options level forbids to sell a call beside a bought one by an order of its own."""
    TELLS_FORCED_ORDERS = False
    """Whether the venue says of an open order that it is the broker's own."""

    def __init__(
        self,
        schedule: Schedule,
        folder: Path,
        *,
        verbose: bool = False,
        plan: DeskPlan = SMALL_PLAN,
        market: SmallMarket | None = None,
    ) -> None:
        self.schedule = schedule
        self.outcome = TrialOutcome(schedule.seed)
        self.is_stated = False
        """The desk reduces for a stated reason that only a person can clear."""
        self.left: _Left | None = None
        """How the desk left by the venue's positions alone, without a start; None where it did not."""
        self.verbose = verbose
        self.loop = VirtualLoop()
        self.desk_plan = plan.drawn(schedule)
        self.market = market or SmallMarket(
            schedule.seed,
            schedule.day,
            seconds=schedule.seconds,
            has_other="assignment" in schedule.faults,
            quoted_days_ago=schedule.held_days,
            is_vol_moving=schedule.max_multiple is not None,
            shape=schedule.shape,
            jump_at=schedule.called_at if schedule.is_jump else None,
            jump=JUMP,
        )
        self.clock = VirtualClock(self.loop, self.market.start_ns)
        self.loop.most_turns = int(_MOST_TURNS_A_SECOND * self._length)
        self.plan = CountingPlan(schedule.rules, schedule.seed, schedule.aim)
        self.world = SimulatedMarket(self.market, ALPACA.terms, self.market_options(), self.plan)
        self.account = self._open_account()
        keyring = Keyring([Credential(KEY, SECRET, ACCOUNT)])
        self.line = self.make_line(keyring)
        self.line.on_the_way = self._fate
        self.line.on_sent = self._sent
        self.line.on_stream = self._stream_opened
        self.line.after_request.append(self._look_at_venue)
        self.journal = MortalJournal(folder, small_header(self.market, schedule.seed), schedule.crashes)
        self.record = MortalRecord(folder / "account.mode.json", f"trial-{schedule.seed}")
        self.mishaps = Mishaps(self.line, self.plan, self.journal, self.account, self.market, self._say)
        self.mishaps.ends_at = self._length
        # a person does not resume a desk whose positions the broker is about to close
        self.mishaps.may_resume = lambda: (
            not self.is_stated and self.world.ledger.figures(self.account).excess >= 0
        )
        self.journal.fails_until = lambda: self.loop.time() < self.mishaps.disk_full_until
        self.record.fails_until = self.journal.fails_until
        self.plan.states = self._live_states
        self._requests = self._orders_sent = 0
        self.restart_seconds = schedule.restart_seconds
        self._digest = blake2b(digest_size=16)
        self._at_one_instant = 0
        self._is_stuck = False
        self._halted_ns = 0
        """When trading was last seen halted at the venue, UTC nanoseconds."""
        self._members_of: tuple[TradingEngine, tuple[ReportsPhase, ...]] | None = None
        self.gateway: EmergencyGateway | None = None
        self.engine = self.fresh_engine()
        self.scene = self._make_scene()
        self.mishaps.execution_id = self.execution_id
        self.wire = WireLaws(self.scene, self.world.ledger)
        self.wire.knows_ages = self.STATES_QUOTE_TIMES
        self.world.on_market(self.wire.published)
        self.conduct = Conduct(self.scene, seconds=self.loop.time, is_slowed=self._is_slowed)
        self.conduct.has_strays = any(moment.kind == STRAY for moment in schedule.moments)
        self.line.on_asked = self.conduct.asked_for
        self.world.on_update(self.conduct.venue_reported)
        self.world.on_update(self._note_opened)
        self.judge = OutsideJudge(self.account, self.world.ledger, self._mandate())
        self.mishaps.on_struck = self.plan.on_struck = self.judge.struck
        self.mishaps.on_commanded = self._commanded
        self.mishaps.on_operated = self._operated
        self.mishaps.on_noted = self._noted

    def _make_scene(self) -> Scene:
        """Return what the laws look at, with what a schedule lets go wrong."""
        schedule = self.schedule
        scene = Scene(
            self.engine,
            self.journal,
            self.account,
            self.market.session,
            healed=lambda: self.loop.time() > schedule.heal_at + _LIVENESS_SECONDS,
            connected=self._is_connected,
            implied_vol=self.market.implied_vol,
            off_feed=self.market.off_feed,
        )
        spoilt = {name for name, place in PLACES.items() if place in ("data", "stream")}
        scene.has_jumped = schedule.is_jump
        scene.has_fair_quotes = not schedule.is_jump and not schedule.faults & (
            spoilt | {"lost_quotes", "left_feed"}
        )
        failing = {name for name, place in PLACES.items() if place in ("http", "stream", "fill")}
        scene.has_whole_stream = not (
            schedule.faults & (failing | set(LINE_FAULTS) | _OF_PROCESSES)
            or schedule.crashes
            or schedule.held_fraction
            or schedule.doubled_fraction
            or schedule.history_seconds
            or schedule.dies_at_order
        )
        scene.execution_id = self.execution_id
        scene.plan, scene.cash_tolerance = self.desk_plan, self.CASH_TOLERANCE
        scene.excused |= _excused(schedule)
        return scene

    def _mandate(self) -> Mandate:
        """Return what the desk was told, as the outside judge knows it."""
        plan, ledger, session = self.desk_plan, self.world.ledger, self.market.session
        config, minutes = plan.config, plan.config.exits.flat_minutes_before_close
        contracts = {number: ledger.instruments[number] for number in plan.legs}
        ends = {number: expiry_instant_ns(each) for number, each in contracts.items() if each.is_option}
        leaves_ns = None if minutes is None else session.close_ns - int(minutes * 60 * NANOS_PER_SECOND)
        return Mandate(
            SHARE,
            legs_of(plan.legs, ledger, ends),
            config.straddles,
            plan.most_straddles,
            plan.band_shares if config.hedge.band == "fixed" and not self.schedule.is_jump else None,
            config.hedge.delta_vol == "entry",
            leaves_ns,
            session.close_ns,
            plan.limits.max_daily_loss,
            plan.members,
            may_be_called=self.schedule.called_at is not None,
        )

    def market_options(self) -> MarketOptions:
        """Return how the exchange behaves."""
        return MarketOptions(seed=self.schedule.seed, fees=self.schedule.has_fees)

    def _open_account(self) -> BrokerAccount:
        """Open the account, with what it holds at the open."""
        schedule = self.schedule
        # who sells a call uncovered may be assigned
        may_be_uncovered = schedule.is_sold or "assignment" in schedule.faults
        is_uncovered = may_be_uncovered and schedule.shape == "straddle"
        level = 4 if is_uncovered or not self.HAS_OPTIONS_LEVELS else 3
        sets = self.desk_plan.config.straddles if schedule.held_days or schedule.holds else 0
        legs = self.desk_plan.legs if sets else {}
        held = {number: (Decimal(sets * ratio), Decimal(4)) for number, ratio in legs.items()}
        cash = self.desk_plan.cash
        return self.world.open_account(
            AccountTerms(name=ACCOUNT, cash=cash, positions=held, options_level=level)
        )

    @staticmethod
    def draw(seed: int) -> Schedule:
        """Draw a schedule from a seed."""
        return draw_schedule(seed)

    # run --------------------------------------------------------------------------------------------

    async def _run_in_time(self) -> None:
        async with asyncio.timeout(self._length + 240.0):
            await self._run()

    def run(self) -> TrialOutcome:
        """Run the trial to its end."""
        loop = self.loop
        try:
            loop.run_until_complete(self._run_in_time())
        except (StopError, Stuck, TimeoutError) as error:
            self.violate("0 trial_ends", f"{type(error).__name__}: {error}")
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.count_afresh()
            with suppress(Stuck):  # a task that turned on and on may do so without end
                loop.run_until_complete(asyncio.sleep(0.001))
            loop.close()
            self.journal.close()
        return self._summed_up()

    @property
    def _length(self) -> float:
        return (self.market.session.close_ns - self.market.start_ns) / NANOS_PER_SECOND

    async def _run(self) -> None:
        loop = self.loop
        self.line.drive()
        loop.call_at(_JUDGED_AFTER, self._second)
        for moment in self.schedule.moments:
            loop.call_at(moment.at, self.mishaps.strike, moment)
        for bad in self.schedule.bad_answers:
            loop.call_at(bad.at, self.mishaps.answer_badly, bad)
        loop.call_at(self.schedule.heal_at, self.mishaps.heal)
        loop.call_at(self.schedule.heal_at + _LIVENESS_SECONDS, self._all_over)
        lives = 0
        while True:
            lives += 1
            ended = await self._live(is_first=lives == 1)
            if ended or self._is_stuck or loop.time() > self._length + 60.0:
                break
            has_ended = bool(self.journal.deaths) and self.journal.deaths[-1] in ("stopped", "crashed")
            await asyncio.sleep(PAUSE_SECONDS if has_ended else self.restart_seconds)
        self.outcome.lives = lives
        await asyncio.sleep(5.0)
        if ended:
            _final_look(self)
        elif not self._is_stuck:
            self.violate("0 trial_ends", "the desk never ended in order")

    async def _live(self, *, is_first: bool) -> bool:
        """One life of the desk's process; True when it ended in order."""
        if not is_first:
            self.judge.struck()
        try:
            timers, is_fresh = (Timers(), True) if is_first else self._reborn()
        except StopError as error:  # the disk is still full
            self._say("ended", f"{type(error).__name__}: {error.what}")
            self.journal.die("stopped")
            return False
        core = _CheckedCore.__new__(_CheckedCore)
        core.trial = self
        own = self.engine.desk.gate.desk_mode.state
        kept, modes = self.record.for_start(None if is_fresh else own), ModeKeeper(self.record, self._say)
        modes.keep(kept)
        LiveCore.__init__(core, self.engine, self.journal, timers, modes=modes)
        self.gateway = gateway = self.make_gateway()
        self.mishaps.runner = None
        try:
            await gateway.connect(known_orders(self.engine))
            self.mishaps.runner = LiveRunner(core, gateway, self.clock, self.OPTIONS, notify=self._say)
            halted_after = self.schedule.halted_after
            if not is_first and halted_after is not None and self.loop.time() < self.schedule.heal_at:
                self.loop.call_later(halted_after, self.mishaps.operate, "halt", "back again")
            self.mishaps.running = self.loop.create_task(
                self.mishaps.runner.run(
                    Start(self._opening(), is_fresh=is_fresh, kept=None if kept == own else kept)
                )
            )
            await self.mishaps.running
            self._note_leaving(self.mishaps.runner)
        except FaultError as fault:
            is_contradiction = isinstance(fault.__cause__, InvariantError)
            self.violate(f"0 desk_{'contradicts_itself' if is_contradiction else 'crashed'}", fault.what)
            self.journal.die("crashed")
            return False
        except (RetryError, ConfigError, StopError) as error:
            self._say("ended", f"{type(error).__name__}: {error.what}")
            self.journal.die("stopped")
            return False
        except Killed as death:
            self._say("killed", str(death))
            return False
        except Exception as crash:  # noqa: BLE001 - whatever escapes the desk is a crash, and a finding
            self.violate("0 desk_crashed", f"{type(crash).__name__}: {crash}")
            self.journal.die("crashed")
            return False
        except asyncio.CancelledError:
            if self.mishaps.running is None or not self.mishaps.running.cancelled():
                raise
            return False
        else:
            return True
        finally:
            self.mishaps.running = None
            await gateway.close(graceful=False)

    def _note_leaving(self, runner: LiveRunner) -> None:
        """Note that a desk has ended which left without a start, and whether it says that it left flat."""
        state = runner.state
        if state.leaves_as:
            is_flat = state.end is RunEnd.STOPPED and not state.stop_asked
            self.left = _Left(self.clock.true_ns(), is_flat=is_flat)

    @abstractmethod
    def make_line(self, keyring: Keyring) -> Line:
        """Return the line to the exchange."""

    @abstractmethod
    def make_gateway(self) -> EmergencyGateway:
        """Return a gateway of the account, not connected yet."""

    def make_watchdog_gateway(self) -> EmergencyGateway:
        """Return a gateway of another process of the account, as the watchdog's, not connected yet."""
        return self.make_gateway()

    def execution_id(self, name: str) -> str:
        """Return the exchange's own id of an execution that the venue names so."""
        return name

    @property
    def numbers(self) -> tuple[InstrumentId, ...]:
        """All instruments of the market."""
        return tuple(map(InstrumentId, range(len(self.market.instruments))))

    def fresh_engine(self) -> TradingEngine:
        """Return an engine that knows nothing yet."""
        return small_engine(self.market.instruments, f"t{self.schedule.seed}", self.desk_plan)

    def _opening(self) -> tuple[Event, ...]:
        """Events that a fresh desk receives first: open interest, so that it may choose."""
        at_ns = self.clock.now_ns()
        return tuple(OpenInterestEvent(number, at_ns, at_ns, 5_000) for number in self.desk_plan.legs)

    def _reborn(self) -> tuple[Timers, bool]:
        """Rebuild the desk from what the disk has."""
        self.journal.reopen(self.clock.true_ns())
        self.engine = self.fresh_engine()
        reader = JournalReader(self.journal.run_dir)
        self.scene.booked.clear()
        self.scene.references.clear()
        self.scene.outside_since_ns = self.scene.uneven_since_ns = None
        self.scene.engine = self.engine
        self.conduct.begin_life()
        rebuilt = rebuild(reader, _FollowedReplay(self.engine, self.scene, self.conduct))
        self.conduct.resume(self.clock.now_ns(), is_fresh=not rebuilt.events)
        if rebuilt.unwritten:
            self.journal.finish(rebuilt.unwritten)
        return rebuilt.timers, not rebuilt.events

    def _second(self) -> None:
        """Let the judge look at the venue, between two quotes of it."""
        loop, mishaps = self.loop, self.mishaps
        silent = self.market.silent_until.values()
        if self.world.ledger.halted:
            self._halted_ns = self.clock.true_ns()
        is_disturbed = (
            mishaps.running is None
            or not self._is_connected()
            or self._is_slowed()
            or bool(self.clock.skew_ns or self.world.ledger.halted)
            or self._is_end_of_halt_unseen()
            or any(until_ns > self.clock.true_ns() for until_ns in silent)
        )
        # a person resumes the desk at the latest then, unless something is his to clear
        is_resumed = loop.time() > self.schedule.heal_at + _RESUMED_SECONDS and mishaps.may_resume()
        is_active = is_resumed or self.engine.desk.gate.mode is Mode.ACTIVE
        told = {"is_disturbed": is_disturbed, "is_active": is_active, "is_stated": self.is_stated}
        for why in self.judge.second(loop.time(), **told):
            self._violate_once(why)
        if loop.time() < self._length:
            loop.call_later(1.0, self._second)

    def _is_end_of_halt_unseen(self) -> bool:
        """Whether the message that ended a halt was lost, and no bar that began after it has come yet."""
        shown_ns = (-(-self._halted_ns // MINUTE_NS) + 1) * MINUTE_NS + 2 * NANOS_PER_SECOND
        return SHARE in self.engine.desk.gate.halted and self.clock.true_ns() < shown_ns

    def _commanded(self, mode: Mode) -> None:
        self.conduct.commanded(mode)
        self.judge.asked(mode, is_answered=False)

    def _operated(self, mode: Mode, asked: Mode) -> None:
        self.conduct.operated(mode, asked)
        self.judge.asked(mode, is_answered=True)

    def _noted(self, mode: Mode) -> None:
        self.conduct.noted(mode)
        self.judge.asked(mode, is_answered=False)

    # every event ------------------------------------------------------------------------------------

    def watch(self, event: Event, feed: Feed) -> tuple[VenueCommand, ...]:
        """Feed one event and look at the laws."""
        scene = self.scene
        orders = self.engine.desk.orders
        is_quote = type(event) is QuoteEvent
        scene.outputs = ()
        scene.states_before = {}
        if not is_quote:
            scene.states_before = {name: order.state for name, order in orders.orders.items()}
            scene.filled_before = (
                {event.client_order_id: orders.orders[event.client_order_id].filled}
                if type(event) is OrderFilled and event.client_order_id in orders.orders
                else {}
            )
        commands: tuple[VenueCommand, ...] = feed(event)
        self.outcome.events += 1
        self._at_one_instant = self._at_one_instant + 1 if self.engine.now_ns == scene.now_ns else 0
        if self._at_one_instant > _MOST_AT_ONE_INSTANT or self.outcome.events > _MOST_EVENTS:
            self._is_stuck = True
            is_still = self._at_one_instant > _MOST_AT_ONE_INSTANT
            why = f"livelock: the desk goes on{' while time stands still' if is_still else ' and on'}"
            self.violate("0 trial_ends", f"{why}: {event!r}"[:200])
            raise Stuck(why, where=repr(event)[:120])
        self._digest.update(msgspec.msgpack.encode(event))
        scene.event, scene.now_ns = event, self.engine.now_ns
        if type(event) is QuoteEvent and event.instrument_id == SHARE:
            scene.share_seen_ns = scene.share_seen_ns or event.ts_event_ns
        if not is_quote or scene.outputs:
            scene.note_decided()
            phases = {member.phase for member in self._members(self.engine)}
            scene.phase = phases.pop() if len(phases) == 1 else ""
        if not is_quote:
            scene.note_booked()
            kind = type(event).__name__
            for name, before in scene.states_before.items():
                after = orders.orders[name].state
                if after is not before:
                    self.outcome.edges[f"{before.value} > {after.value}"] += 1
                    if self.verbose:
                        self._say("state", f"{name} {before.value} > {after.value} by {kind}")
        for _ in scene.submitted:
            self.outcome.edges["(new) > pending_new"] += 1
        if self.verbose and (commands or not is_quote):
            self._say("event", f"{event} -> {commands}")
        self.conduct.note(event, scene.outputs)
        self._look()
        for why in self.conduct.broken():
            self._violate_once(why)
        overdue = self.wire.overdue(scene.now_ns, is_connected=self._is_connected())
        if overdue is not None:
            self._violate_once(overdue)
        aim = self.plan.aimed(MOMENTS) if self.loop.time() > _AIMS_AFTER else None
        if aim is not None:
            moment = Moment(self.loop.time(), aim.fault, aim.seconds)
            self.loop.call_soon(self.mishaps.strike, moment)
        return commands

    def _members(self, engine: TradingEngine) -> tuple[ReportsPhase, ...]:
        """Return the strategies of the desk; a check against a protocol costs as much as an event."""
        if self._members_of is None or self._members_of[0] is not engine:
            members = tuple(
                member for member in members_of(engine.strategy) if isinstance(member, ReportsPhase)
            )
            self._members_of = engine, members
        return self._members_of[1]

    def _sent(self, method: str, path: str, body: bytes) -> None:
        """A request leaves the desk: the laws on its bytes."""
        runner = self.mishaps.runner
        if runner is not None and runner.state.leaves_as:
            self.scene.left_as.add(runner.state.leaves_as)
        if method == "POST" and path == ORDERS_PATH:
            self._orders_sent += 1
            self.conduct.left_at[read_orders(body, 0)[0].client_order_id] = self.loop.time()
            if self._orders_sent == self.schedule.dies_at_order:
                self.loop.call_later(0.01, self.mishaps.strike, Moment(self.loop.time(), "kill"))
        for why in self.wire.sent(method, path, body, self.engine.now_ns):
            law, _, detail = why.partition(": ")
            self._violate_once(f"{law}: on the wire: {detail}")

    def _violate_once(self, why: str) -> None:
        if len(self.outcome.violations) < _MOST_VIOLATIONS:
            law, _, detail = why.partition(": ")
            self.violate(law, detail)

    def _look(self) -> None:
        scene = self.scene
        scene.open_at_venue = self._open_at_venue()
        if len(self.outcome.violations) < _MOST_VIOLATIONS:
            self.outcome.violations += broken(scene, self.schedule.seed, self.outcome.events)

    def _open_at_venue(self) -> tuple[BrokerOrder, ...]:
        """Open orders in contracts at the venue, without those of other people: of a combo its legs."""
        return tuple(
            order
            for order in self.account.open_orders()
            if order.instrument_id is not None and not order.client_order_id.startswith(BY_HAND)
        )

    def _note_opened(self, update: OrderUpdate) -> None:
        """Follow at which volatilities options were opened, each leg on its side of the plan."""
        ledger, legs = self.world.ledger, self.desk_plan.legs
        for trade in (update.execution, *update.leg_executions):
            number = None if trade is None else trade.instrument_id
            if trade is None or number is None or not ledger.instruments[number].is_option:
                continue
            if trade.side.sign * legs.get(number, 1) > 0:
                mid, spot = float(ledger.mark(number)), float(ledger.mark(SHARE))
                self.scene.note_opened(number, trade.ts_ns, mid, spot)

    def _look_at_venue(self, request: Asked) -> None:
        """A request has just been answered: the venue's side of the laws."""
        if request.method == "GET" or len(self.outcome.violations) >= _MOST_VIOLATIONS:
            return
        for unwanted in self.judge.arrived():
            self._violate_once(unwanted)
        scene = self.scene
        scene.open_at_venue = self._open_at_venue()
        for invariant in INVARIANTS:
            if invariant.at_venue:
                why = invariant.law(scene)
                if why is not None:
                    self.violate(f"{invariant.number} {invariant.name}", f"at the venue: {why}")

    def violate(self, invariant: str, detail: str) -> None:
        """Add a violation."""
        self.outcome.violations.append(Violation(self.schedule.seed, invariant, self.outcome.events, detail))

    def _say(self, level: str, text: str) -> None:
        if "nothing explains it" in text:
            self._note_unexplained(text)
        self.outcome.says.append((round(self.loop.time(), 3), level, text))

    def shown_name(self, order: BrokerOrder) -> str:
        """Return the name by which the desk knows an order that it did not send."""
        return order.client_order_id

    def _note_unexplained(self, text: str) -> None:
        """Only others' open orders, and trades taken back, may leave a difference without a cause."""
        strange = self.schedule.faults
        table = text.partition("\n")[0].partition("explains it: ")[2]
        others = {
            f"order {self.shown_name(order)}"
            for name, order in self.account.by_client_id.items()
            if name.startswith(BY_HAND) or (order.is_forced and not self.TELLS_FORCED_ORDERS)
        }
        if all(part.partition(":")[0] in others for part in table.split("; ")):
            return  # it goes away again, and a person lets the desk resume
        if strange & {"bust", "correct"}:
            self.is_stated = self.conduct.is_stated = self.scene.has_stated_difference = True
            self.scene.excused |= {3, 7, 8}
        else:
            self.violate("14 every_difference_has_a_cause", text.partition("\n")[0])

    def _live_states(self) -> list[str]:
        return [order.state.value for order in self.engine.desk.orders.live.values()]

    def _is_slowed(self) -> bool:
        """Whether the desk's process cannot act at once."""
        line, loop = self.line, self.loop
        return loop.time() < line.frozen_until + 2.0 or loop.time() < self.mishaps.disk_full_until

    def _stream_opened(self) -> None:
        self.wire.stream_opened(self.clock.true_ns())
        self.conduct.line_opened()

    def _is_connected(self) -> bool:
        return self.gateway is not None and not self.line.is_down and len(self.line.sockets) == self.STREAMS

    def _fate(self, method: str, path: str) -> OnTheWay:
        """Let some requests lie on the way, arrive twice or be answered twice, by the schedule's shares."""
        schedule = self.schedule
        if self.loop.time() > schedule.heal_at:
            return STRAIGHT
        aim = self.plan.aimed(LINE_FAULTS) if self.loop.time() > _AIMS_AFTER else None
        kind = "" if aim is None else aim.fault
        seconds = schedule.held_seconds if aim is None else aim.seconds
        is_order = method == "POST" and path == ORDERS_PATH
        if aim is None and (is_order or (method != "GET" and schedule.story is not Story.RESTART)):
            self._requests += 1
            if _is_turn(self._requests, schedule.held_fraction):
                kind = "held_request"
            elif _is_turn(self._requests, schedule.doubled_fraction):
                kind = LINE_FAULTS[1 + self._requests % 2]
        if not kind:
            return STRAIGHT
        self.plan.hits[kind] += 1
        self.plan.note(kind)
        if kind == "held_request":
            return OnTheWay(held_seconds=seconds)
        return OnTheWay(again_after=0.05) if kind == "double_request" else OnTheWay(is_answered_twice=True)

    def _all_over(self, *, is_last: bool = False) -> None:
        """Liveness: a minute after the healing no order of the time before is open or in doubt.

        What the venue refuses when it comes again is in doubt for a minute of its own, and two questions.
        """
        limit_ns = self.clock.start_ns + int(self.schedule.heal_at * NANOS_PER_SECOND)
        for name, order in self.engine.desk.orders.live.items():
            if order.created_ns < limit_ns and (is_last or order.state is not OrderState.UNKNOWN):
                self.violate("L liveness", f"{name} is still {order.state.value}")
        if not is_last:
            self.loop.call_later(_DOUBT_SECONDS, partial(self._all_over, is_last=True))

    def _summed_up(self) -> TrialOutcome:
        outcome = self.outcome
        for execution in self.account.executions:
            self._digest.update(f"{execution.execution_id}{execution.quantity}{execution.price}".encode())
        self._digest.update(f"{self.account.cash}{self.journal.decision_hash}".encode())
        outcome.digest = self._digest.hexdigest()
        outcome.orders = len(self.account.by_client_id)
        outcome.faults = sum(self.plan.hits.values()) + len(self.journal.deaths)
        outcome.pairs = self.plan.pairs
        outcome.seconds_judged = self.judge.seconds_judged
        outcome.seconds_outside = self.judge.seconds_outside
        return outcome


def _excused(schedule: Schedule) -> set[int]:
    """Return the laws that what goes wrong suspends."""
    excused = set[int]()
    if schedule.is_jump:  # no account of that size may buy the shares that the hedge wants then
        excused.add(6)
    for fault, laws in EXCUSES.items():
        is_own = fault == "assignment" and schedule.shape != "straddle"  # a leg of the desk's own
        if fault in schedule.faults and not is_own:
            excused |= laws
    if schedule.members > 1 and schedule.faults & {"auto_liquidation", "manual_trade"}:
        excused.add(7)  # no strategy sells shares that none of the strategies bought
    return excused


def _is_turn(count: int, fraction: float) -> bool:
    return bool(fraction) and not count % max(int(1 / fraction), 1)
