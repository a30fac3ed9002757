"""The desk of a trial: the real engine and gamma scalper with settings that fit a few minutes."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, cast

from msgspec.structs import replace

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.errors import StopError
from scalpdesk.core.events import Event
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderIntent,
    OrderType,
    Output,
    Purpose,
    Side,
    SubmitOrder,
)
from scalpdesk.core.mode import AccountMode
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.core.version import BUILD
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.entry.shapes import StructureConfig, shape_named
from scalpdesk.instruments.contract import Instruments, Style
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter, RunLock
from scalpdesk.live.account_mode import ModeRecord
from scalpdesk.marketdata.state import MarketState
from scalpdesk.orders.order import OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.plugins import JournalReader
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies import Action, DeskView, ExitConfig, Proposal, Strategy, Wake
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.several.strategy import Several
from scalpdesk.strategies.toolkit.sizing import ScaleConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.market import CALL, COVERS, SHAPE_LEGS, SHARE, WING_WIDTH, SmallMarket
from scalpdesk_testing.schedule import Crash, Schedule

CASH = Decimal(1_000_000)
_CALLED_CASH, _JUMP_CASH = Decimal(70_000), Decimal(45_000)
"""Cash of an account that the broker will call: as money is taken away, and as the price jumps."""
_STRADDLES = 2
_STALE_SHARE_SECONDS, _STALE_OPTION_SECONDS = 6.0, 30.0
_FORECAST_VOL = 0.25
"""Forecast where straddles are scaled, a fraction a year: the market begins a fifth below it."""
_FLAT_MINUTES = 1.5
"""Before the close the strategy begins to leave."""
BAND_SHARES = 8.0
"""Half width of the hedging band for the whole position, shares."""


def _small_config() -> GammaScalperConfig:
    """Return the strategy's settings: enter at once, hedge at the entry's volatility, end flat."""
    return GammaScalperConfig(
        underlying="SPY",
        straddles=_STRADDLES,
        mode="resume",
        selection=SelectionConfig(min_expiration_days=1, max_expiration_days=30),
        entry=EntryConfig(
            gate="off",
            not_before="00:01",
            not_after="23:59",
            max_straddle_delta=None,
            order_ttl_seconds=6.0,
            max_attempts=6,
        ),
        triggers=TriggersConfig(price_change_usd=0.02, heartbeat_seconds=4.0, spread_filter=False),
        hedge=HedgeConfig(
            band="fixed",
            threshold_shares=BAND_SHARES / _STRADDLES,
            least_fraction=0.35,
            delta_vol="entry",
            delta_model="sticky_strike",
            order_ttl_seconds=4.0,
        ),
        exits=ExitConfig(
            min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False,
            flat_minutes_before_close=_FLAT_MINUTES, credit_multiple=None, credit_fraction=None,
        ),
    )  # fmt: skip


class _QuickScale(ScaleConfig, frozen=True, kw_only=True):
    passes: ClassVar[int] = 2
    pass_seconds: ClassVar[float] = 4.0


@dataclass(frozen=True)
class DeskPlan:
    """Settings of the desk of a trial.

    ``config``, ``limits``: Of the strategy and of the risk gate.
    ``members``: How many strategies share the desk, and its straddles.
    ``is_reckless``: Whether the strategy also proposes what no strategy may.
    ``stale_share_seconds``, ``stale_option_seconds``: Age at which a quote is too old.
    ``band_shares``: Half width of the hedging band, shares; the laws use it.
    ``cash``: Of the account at the beginning, currency.
    """

    config: GammaScalperConfig
    limits: RiskLimits
    members: int = 1
    is_reckless: bool = False
    stale_share_seconds: float = _STALE_SHARE_SECONDS
    stale_option_seconds: float = _STALE_OPTION_SECONDS
    band_shares: float = BAND_SHARES
    cash: Decimal = CASH

    @property
    def is_hedged_to_the_middle(self) -> bool:
        """Return whether a hedge brings the delta at the entry's volatility to the middle of the band."""
        return self.config.hedge.band == "fixed" and self.config.hedge.delta_vol == "entry"

    @property
    def legs(self) -> dict[InstrumentId, int]:
        """Return the signed contracts of one set of what is traded, by leg."""
        sign = self.config.structure.sign
        return {number: sign * ratio for number, ratio in SHAPE_LEGS[self.config.structure.shape].items()}

    @property
    def covers(self) -> dict[InstrumentId, InstrumentId]:
        """Return the bought leg that covers each sold one; empty where what is sold is uncovered."""
        legs = self.legs
        return {sold: cover for sold, cover in COVERS.items() if legs.get(sold, 0) < 0 < legs.get(cover, 0)}

    @property
    def most_straddles(self) -> int:
        """Return how many straddles the strategies may hold together."""
        each = self.config.straddles // self.members
        return self.members * int(each * (self.config.scale.max_multiple or 1.0))

    def drawn(self, schedule: Schedule) -> "DeskPlan":
        """Return the plan with what a schedule says of the desk."""
        config = self.config
        config = replace(
            config,
            entry=replace(config.entry, orders=schedule.leg_orders),
            hedge=replace(config.hedge, passive_seconds=schedule.passive_seconds),
        )
        if schedule.max_multiple is not None:
            # bought whatever the edge is, changed as it changes
            entry = replace(config.entry, gate="advise", forecast_vol=_FORECAST_VOL)
            scale = _QuickScale(max_multiple=schedule.max_multiple)
            config = replace(config, entry=entry, scale=scale)
        limits = self.limits
        if schedule.is_sold:
            given = {"body": "0", "wing": str(WING_WIDTH)}
            placed = {at.value: given[at] for at in shape_named(schedule.shape).places}
            structure = replace(StructureConfig(shape=schedule.shape, side="short"), **placed)
            entry = replace(config.entry, max_straddle_delta=None)
            config = replace(config, structure=structure, entry=entry)
        if schedule.max_loss is not None:
            limits = replace(limits, max_daily_loss=Decimal(schedule.max_loss))
        plan = dataclasses.replace(
            self, config=config, limits=limits, members=schedule.members, is_reckless=schedule.is_reckless
        )
        limits = replace(limits, max_option_contracts=plan.most_straddles)
        if schedule.is_sold:
            limits = replace(limits, max_short_contracts=plan.most_straddles)
        if schedule.called_at is not None:  # the margin is the limit, not the size of the account
            limits = replace(
                limits,
                max_net_delta_fraction=1.0,
                max_gamma_fraction=10.0,
                max_vega_fraction=1.0,
                max_theta_fraction=1.0,
                max_capital_fraction=1.0,
                max_position_fraction=1.0,
                max_premium_fraction=1.0,
                max_daily_loss=None,
                max_daily_loss_fraction=0.9,
            )
        called_with = _JUMP_CASH if schedule.is_jump else _CALLED_CASH
        cash = self.cash if schedule.called_at is None else called_with
        return dataclasses.replace(plan, limits=limits, cash=cash)


SMALL_PLAN = DeskPlan(
    _small_config(),
    RiskLimits(
        max_orders_per_minute=60,
        max_live_orders=8,
        max_order_shares=500,
        max_daily_loss=Decimal(50_000),
        max_consecutive_losses=3,
    ),
)


def small_engine(book: Instruments, prefix: str, plan: DeskPlan = SMALL_PLAN) -> TradingEngine:
    """Return a fresh engine; ``prefix`` begins the ids of its orders."""
    market = MarketState(
        book,
        stale_seconds_underlying=plan.stale_share_seconds,
        stale_seconds_option=plan.stale_option_seconds,
    )
    pricing = DeltaEngine(book, market, ContractPricer(Style.EUROPEAN))
    desk = Desk(book, market, pricing, RiskGate(plan.limits), OrderManager(prefix), SHARE, plan.cash)
    make = _RecklessScalper if plan.is_reckless else GammaScalper
    if plan.members == 1:
        return TradingEngine(desk, cast("Strategy", make(plan.config)), mark_seconds=30.0)
    config = replace(plan.config, straddles=plan.config.straddles // plan.members)
    scalpers = [make(config) for _ in range(plan.members)]
    for number, scalper in enumerate(scalpers):
        scalper.name = f"scalper-{number + 1}"
        if isinstance(scalper, _RecklessScalper):
            scalper.is_alone = False
    share = Decimal(1) / plan.members
    several = Several([cast("Strategy", item) for item in scalpers], {item.name: share for item in scalpers})
    return TradingEngine(desk, cast("Strategy", several), mark_seconds=30.0)


_AT_ONCE_NS = NANOS_PER_SECOND // 2
"""An equal order within this time is a duplicate by any setting."""


class _RecklessScalper(GammaScalper):
    """A gamma scalper that also proposes what no strategy may; the risk gate refuses all of it.

    By turns: an order equal to one that works, an order that would trade with one's own, an exit of
    more than is held, more than the largest position, a size above the limit, a price far off, an opening
    order while the desk reduces, any order while it is halted. Beside another strategy no order against its
    own: it would have the other's order cancelled and be sent after it.
    """

    def __init__(self, config: GammaScalperConfig) -> None:
        super().__init__(config)
        self.is_alone = True
        self._turn = 0

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Do what the scalper does, then what it may not."""
        actions = [*super().on_wake(view, wake, event)]
        self._turn += 1
        intent = self._forbidden(view, self._turn % 4)
        if intent is not None:
            actions.append(Proposal(DecisionKind.HEDGE, ("reckless",), {}, (intent,)))
        return actions

    def _forbidden(self, view: DeskView, turn: int) -> OrderIntent | None:
        call = view.market.quotes[CALL]
        if view.session is None or call is None:
            return None
        ask = Decimal(str(call.ask)) if call.ask == call.ask and call.ask > 0 else Decimal(4)
        if view.mode is Mode.HALTED:
            return OrderIntent(SHARE, Side.BUY, Decimal(5), Purpose.HEDGE, "halted")
        if view.mode is not Mode.ACTIVE:
            limit = OrderType.LIMIT
            return OrderIntent(CALL, Side.BUY, Decimal(1), Purpose.OPEN, "not active", limit, ask)
        working = next(
            (order for order in view.orders.live.values() if order.state is OrderState.WORKING), None
        )
        if working is not None and (
            (turn == 0 and self.is_alone) or (turn == 1 and working.created_ns > view.now_ns - _AT_ONCE_NS)
        ):
            sent = working.submitted
            side = sent.side if turn else (Side.SELL if sent.side is Side.BUY else Side.BUY)
            purpose = sent.purpose if turn else Purpose.HEDGE
            return OrderIntent(
                sent.instrument_id, side, sent.quantity, purpose, "twice", sent.order_type, sent.limit_price
            )
        held = view.positions.quantity(CALL)
        most = Decimal(int(self.config.straddles * (self.config.scale.max_multiple or 1.0)))
        if turn == 1 and self.is_alone and 0 < held <= most:
            more, limit = most + 1 - held, OrderType.LIMIT
            return OrderIntent(CALL, Side.BUY, more, Purpose.OPEN, "too many", limit, ask)
        if turn == 2 and held > 0:
            return OrderIntent(CALL, Side.SELL, held + 1, Purpose.CLOSE, "too much", OrderType.LIMIT, ask)
        if turn == 3 or not self.is_alone:
            return OrderIntent(SHARE, Side.BUY, Decimal(501), Purpose.HEDGE, "too large")
        far = (ask * 2).quantize(Decimal("0.01"))
        return OrderIntent(CALL, Side.BUY, Decimal(1), Purpose.OPEN, "too dear", OrderType.LIMIT, far)


def small_header(market: SmallMarket, seed: int) -> JournalHeader:
    """Return the journal's header of a trial."""
    return JournalHeader(
        schema=SCHEMA,
        run_id=f"trial-{seed}",
        strategy="gamma-scalper",
        venue="alpaca",
        mode="drill",
        config={},
        config_hash="",
        build=BUILD,
        instruments=tuple(market.instruments),
        sessions=(market.session,),
        data={},
        started_ns=market.start_ns,
        seed=seed,
    )


_MEMORY_DISK = "/dev/shm"  # noqa: S108 - the folder in it has a random name


class Killed(BaseException):
    """The desk's process died here."""


class _CountedWriter(JournalWriter):
    """A journal writer that counts what it has written, and what of it is on disk for good."""

    def __init__(self, run_dir: Path, lock: RunLock, durability: str, segment_limit_bytes: int) -> None:
        super().__init__(run_dir, lock, durability, segment_limit_bytes)
        self._reserve_bytes = 0  # a trial writes a few kilobytes
        self.written_bytes = 0
        self.synced_bytes = 0

    def _continue_after(self, reader: JournalReader) -> None:
        super()._continue_after(reader)
        self.written_bytes = self.synced_bytes = self._segment_bytes

    def _write_out(self, *, is_synced: bool) -> None:
        length = len(self._buffer)
        super()._write_out(is_synced=is_synced)
        self.written_bytes += length
        if is_synced:
            self.synced_bytes = self.written_bytes

    @property
    def is_synced(self) -> bool:
        """Whether every record so far is on disk for good."""
        return not self._buffer and self.synced_bytes == self.written_bytes


class MortalJournal:
    """A journal on a disk that can fail, in a process that can die at any write.

    The death of the process loses what was not handed to the system, a power cut what was not synced
    to disk. A death is :class:`Killed`, raised where the write is.

    ``folder``: Scratch space; each life of the desk has a folder of its own in it.
    ``crashes``: At which writes it dies.
    """

    def __init__(self, folder: Path, header: JournalHeader, crashes: tuple[Crash, ...]) -> None:
        self._folder = folder
        self._lives = 1
        self.run_dir = folder / "life-1"
        self._writer = _CountedWriter.create(self.run_dir, header)
        self._crashes = list(crashes)
        self._writes = 0
        self._unsynced: list[str] = []
        self.durable: set[str] = set()
        """Client order ids of all orders whose intent is on disk for good."""
        self.fails_until: Callable[[], bool] = lambda: False
        self.deaths: list[str] = []

    @property
    def decision_hash(self) -> str:
        """Hash over all outputs so far."""
        return self._writer.decisions.hex()

    @property
    def synced_bytes(self) -> int:
        """Bytes of this life's journal that are on disk for good."""
        return self._writer.synced_bytes

    def add_event(self, event: Event) -> None:
        """Add one input of the engine."""
        self._writer.add_event(event)

    def replace_event(self, event: Event) -> None:
        """Put another event in place of the one added last."""
        self._writer.replace_event(event)

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Add what the engine gave; the writer decides what of it is on disk on return."""
        if self.fails_until():
            raise StopError("the journal cannot be written: no space left", where=str(self.run_dir.name))
        ids = [name for output in outputs for name in _ids_of(output)]
        crash = (
            self._due_crash() if ids or any(isinstance(output, CancelOrder) for output in outputs) else None
        )
        if crash is not None and crash.how == "before":
            self._die(crash, self._writer.written_bytes)
        before = self._writer.written_bytes
        self._writer.add_outputs(outputs)
        if crash is not None and crash.how == "torn":
            self._die(crash, before + int((self._writer.written_bytes - before) * crash.fraction))
        self._unsynced += ids
        self._note_synced()
        if crash is not None:
            self._die(crash, self._writer.synced_bytes)

    def finish(self, outputs: tuple[Output, ...]) -> None:
        """Write the outputs of the last event, which a death left out: they were never acted on."""
        self._writer.add_outputs(outputs)
        self._unsynced += [name for output in outputs for name in _ids_of(output)]
        self.flush()

    def flush(self) -> None:
        """Write everything pending."""
        if self.fails_until():
            raise StopError("the journal cannot be written: no space left", where=str(self.run_dir.name))
        self._writer.flush()
        self._note_synced()

    def _note_synced(self) -> None:
        if self._unsynced and self._writer.is_synced:
            self.durable.update(self._unsynced)
            self._unsynced.clear()

    def _due_crash(self) -> Crash | None:
        self._writes += 1
        due = next((crash for crash in self._crashes if crash.write == self._writes), None)
        if due is not None:
            self._crashes.remove(due)
        return due

    def heal(self) -> None:
        """Let no write be the last one from here on."""
        self._crashes.clear()

    def files(self) -> list[Path]:
        """Files of the journal as they are on disk."""
        return [path for path in sorted(self.run_dir.iterdir()) if path.suffix != ".lock"]

    def _die(self, crash: Crash, size: int) -> None:
        self._end_life(f"{crash.how} write {crash.write}", size)
        raise Killed(crash.how)

    def die(self, how: str, *, is_power_cut: bool = False) -> None:
        """End this life of the desk; memory is lost, and at a power cut what was not synced."""
        writer = self._writer
        self._end_life(how, writer.synced_bytes if is_power_cut else writer.written_bytes)

    def _end_life(self, how: str, size: int) -> None:
        self.deaths.append(how)
        self._lives += 1
        fresh = self._folder / f"life-{self._lives}"
        fresh.mkdir()
        (file,) = self.files()
        (fresh / file.name).write_bytes(file.read_bytes()[:size])
        self._unsynced.clear()
        self._writer.abandon()
        self.run_dir = fresh

    def reopen(self, now_ns: int) -> None:
        """Go on with what the disk has."""
        self._writer = _CountedWriter.reopen(self.run_dir, started_ns=now_ns)

    def close(self) -> None:
        """Release the folder."""
        self._writer.abandon()


class MortalRecord(ModeRecord):
    """The record of the account's mode, on the disk of the journal."""

    fails_until: Callable[[], bool] = staticmethod(lambda: False)

    def write(self, state: AccountMode) -> None:
        """Record a state; it is on disk on return."""
        if self.fails_until():
            raise StopError("the account's mode cannot be kept on disk: no space left", where=self.path.name)
        super().write(state)


def _ids_of(output: Output) -> tuple[str, ...]:
    """Return the client order ids of the orders that an output sends."""
    if isinstance(output, SubmitOrder):
        return (output.client_order_id,)
    if isinstance(output, MultiLegOrder):
        return (output.client_order_id, *(leg.client_order_id for leg in output.legs))
    return ()


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is gone when it is no longer held; in memory where the system has such a disk."""
    memory = _MEMORY_DISK if os.access(_MEMORY_DISK, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="scalpdesk-trial-", dir=memory, ignore_cleanup_errors=True)
