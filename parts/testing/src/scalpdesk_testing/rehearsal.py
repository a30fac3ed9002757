"""A day's disasters on a person's own configuration: what happens, what the desk does, how it ends."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from scalpdesk.base import ConfigError, Event
from scalpdesk.core.intents import CancelOrder, Decision, VenueCommand, orders_of
from scalpdesk.exchange import Fault
from scalpdesk.hedging.bands.fixed import DEFAULT_PART, FixedBand
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.market import CALL, PUT, SHARE, SmallMarket
from scalpdesk_testing.schedule import Crash, Moment, Schedule, quiet_schedule
from scalpdesk_testing.small_desk import DeskPlan, scratch_folder
from scalpdesk_testing.trial import Feed

SEED = 11
_STRIKES_AT = 60.0
_SAMPLE_SECONDS = 0.5
_JUDGED_BEFORE_CLOSE = 20.0
"""Seconds before the session's close at which the end of a disaster is judged."""
_WATCHDOG_SECONDS = 5.0
"""From the death of the desk to the watchdog's first cancel."""
ADAPTED = ("entry.gate=off", "entry.not_before=00:00", "entry.not_after=23:59", "selection.strike=null",
           "selection.expiry=null")  # fmt: skip
"""Settings that a rehearsal of a few minutes replaces."""
_MOVES = (0.15, 0.5, 1.5)
"""Standard deviations of the share's move in two seconds, currency: a wide band needs a wild market."""
_WORKS_LONG = Fault("partial_fill", times=8, after=2, fraction=0.5, seconds=40.0)
"""A hedge that fills in part and then rests: something is at the venue when the disaster comes."""


class _Disaster(NamedTuple):
    """One thing to rehearse.

    ``name``, ``happens``: What it is called, and what happens.
    ``when_working``: ``outage``, ``kill`` or ``watchdog``: strikes as soon as an order works after 60 s.
    ``flat_minutes``: Replaces ``exits.flat_minutes_before_close``, where the exit's moment is what is missed.
    """

    name: str
    happens: str
    schedule: Schedule
    when_working: str = ""
    flat_minutes: float | None = None


def _staged(*rules: Fault, moments: tuple[Moment, ...] = (), crashes: tuple[Crash, ...] = ()) -> Schedule:
    return quiet_schedule(SEED, heal_at=200.0, rules=rules, moments=moments, crashes=crashes)


DISASTERS: tuple[_Disaster, ...] = (
    _Disaster("reject", "the venue rejects three hedges", _staged(Fault("reject", times=3, after=2))),
    _Disaster("partial", "hedges fill by half and then rest", _staged(_WORKS_LONG)),
    _Disaster(
        "lost acknowledgement",
        "two hedges arrive; their answers and fills are lost",
        _staged(
            Fault("disconnect_after", times=2, after=2, match="POST /v2/orders"),
            Fault("stream_drop", times=2, after=2, match="/stream new"),
            Fault("stream_drop", times=2, after=2, match="/stream fill"),
        ),
    ),
    _Disaster(
        "disconnect mid-order",
        "every connection breaks for 20 s while an order works",
        _staged(_WORKS_LONG),
        "outage",
    ),
    _Disaster(
        "stale data",
        "no quotes of anything for 40 s",
        _staged(Fault("gap", times=3, after=80, seconds=40.0)),
    ),
    _Disaster(
        "crash and restart", "the process dies in a journal write", _staged(crashes=(Crash(3, "torn"),))
    ),
    _Disaster(
        "exchange halt",
        "trading in the share is halted for 40 s",
        _staged(moments=(Moment(_STRIKES_AT, "trading_halt", 40.0),)),
    ),
    _Disaster(
        "missed deadline",
        "the line is down as the exit's moment passes",
        _staged(moments=(Moment(205.0, "outage", 40.0),)),
        flat_minutes=2.0,
    ),
    _Disaster(
        "watchdog kill",
        "the process dies with an order at the venue and stays away for 40 s",
        _staged(_WORKS_LONG),
        "watchdog",
    ),
)


@dataclass(frozen=True)
class Rehearsed:
    """Course of a disaster."""

    name: str
    happened: str
    did: str
    seconds: float
    """Simulated, from the first strike until the hedge was right or a halt stated; 0 when never wrong."""
    position: str
    ending: str
    """``hedge right``, ``flat``, ``stated: …`` or what is wrong."""
    ok: bool


class _RehearsalTrial(AlpacaTrial):
    """A trial that watches how one disaster is dealt with."""

    disaster: _Disaster

    def begin(self, disaster: _Disaster) -> None:
        """Set what is rehearsed."""
        self.disaster = disaster
        self.did: Counter[str] = Counter()
        self.modes: list[str] = []
        self.struck_at: float | None = None
        self.wrong_until = 0.0
        self.ending = ("the session ended before it was judged", False)
        self.position = ""
        self._helpers: list[asyncio.Task[object]] = []
        if disaster.when_working == "watchdog":
            self.restart_seconds = 40.0
        self.loop.call_at(1.0, self._sample)
        self.loop.call_at(self._length - _JUDGED_BEFORE_CLOSE, self._judge)

    # what it did ------------------------------------------------------------------------------------

    def watch(self, event: Event, feed: Feed) -> tuple[VenueCommand, ...]:
        """Follow what the desk does once it has been struck."""
        commands = super().watch(event, feed)
        if self.struck_at is None and (self.journal.deaths or any(self.plan.hits.values())):
            self.struck_at = self.loop.time()
        if self.struck_at is not None and self.loop.time() < self._length - _JUDGED_BEFORE_CLOSE:
            self.did["orders sent"] += sum(len(orders_of(command)) for command in commands)
            self.did["cancels sent"] += sum(isinstance(command, CancelOrder) for command in commands)
            kind = type(event).__name__
            self.did["orders in doubt"] += kind == "OrderStatusUnknown"
            self.did["rejections"] += kind == "OrderRejected"
        for output in self.scene.outputs:
            judged = self.loop.time() > self._length - _JUDGED_BEFORE_CLOSE
            if isinstance(output, Decision) and output.kind == "mode" and not judged:
                self.modes.append(output.reasons[0])
            width = output.facts.get("half_width_shares") if isinstance(output, Decision) else None
            if isinstance(width, float):
                self.band = width
        return commands

    band = 0.0

    # right or wrong ---------------------------------------------------------------------------------

    def _state(self) -> tuple[str, bool]:
        """Say how the desk stands now, and whether that is an end to be content with."""
        desk = self.engine.desk
        running = self.mishaps.running
        if running is None or running.done():
            return "the desk is down", False
        if desk.gate.mode != "ACTIVE":
            return f"stated: {self.modes[-1] if self.modes else desk.gate.mode}", True
        if not self._is_connected():
            return "the line is down", False
        if self.world.ledger.halted:
            return "the exchange does not trade", False
        now_ns, traded = self.clock.now_ns(), (SHARE, CALL, PUT)
        if any(desk.market.verdict(instrument, now_ns).value == "stale" for instrument in traded):
            return "the quotes are stale", False
        if any(order.state.value in ("unknown", "pending_cancel") for order in desk.orders.live.values()):
            return "an order is in doubt", False
        if not desk.positions.held():
            return "flat", True
        net = self.scene.net_delta_shares()
        most = 1.5 * max(self.band, self.desk_plan.band_shares) + 1.0
        if abs(net) <= most:
            return "hedge right", True
        if desk.orders.live_for(SHARE):
            return f"net delta {net:+.1f} shares, a hedge works", False
        return f"net delta {net:+.1f} shares", False

    def _sample(self) -> None:
        now = self.loop.time()
        self._strike_when_working()
        if self.struck_at is not None and not self._state()[1]:
            self.wrong_until = now + _SAMPLE_SECONDS
        if now < self._length - _JUDGED_BEFORE_CLOSE:
            self.loop.call_later(_SAMPLE_SECONDS, self._sample)

    def _judge(self) -> None:
        self.ending = self._state()
        # what the venue itself holds: the desk's own view may be what is wrong
        held = self.account.holdings.items()
        book = self.market.instruments
        self.position = (
            ", ".join(f"{position.quantity:+f} {book[number].symbol}" for number, position in held) or "flat"
        )

    # striking ---------------------------------------------------------------------------------------

    def _strike_when_working(self) -> None:
        kind = self.disaster.when_working
        early = self.loop.time() < _STRIKES_AT
        if not kind or early or not self.engine.desk.orders.live or "struck" in self.did:
            return
        self.did["struck"] += 1
        self.struck_at = self.loop.time()
        if kind == "outage":
            self.mishaps.strike(Moment(self.loop.time(), "outage", 20.0))
        else:
            self.mishaps.strike(Moment(self.loop.time(), "kill"))
            if kind == "watchdog":
                self.loop.call_later(_WATCHDOG_SECONDS, self._call_watchdog)

    def _call_watchdog(self) -> None:
        self._helpers.append(self.loop.create_task(self._watchdog()))

    async def _watchdog(self) -> None:
        """Act as the watchdog's process does, on a connection of its own."""
        line = self.make_gateway()
        await line.connect()
        trader = EmergencyTrader(
            gateway=line,
            instruments=self.market.instruments,
            name=f"w{self.schedule.seed}",
            limits=self.desk_plan.limits,
            log=partial(self._say, "watchdog"),
        )
        try:
            self.did["orders taken off by the watchdog"] += await trader.clear((), flatten=False)
        finally:
            await line.close(graceful=False)


def rehearse(config: GammaScalperConfig, limits: RiskLimits, disaster: _Disaster) -> Rehearsed:
    """Run one disaster on a configuration.

    ``config``, ``limits``: The person's own strategy and risk settings; :data:`ADAPTED` says what is
    replaced.

    Raises ConfigError when the settings allow no straddle of this market at all.
    """
    adapted, days = _adapted(config, disaster)
    band = config.hedge.make_band()
    shares = 1e9
    if isinstance(band, FixedBand):
        given = band.config.threshold
        shares = (100 * DEFAULT_PART if given is None else given) * config.straddles
    plan = DeskPlan(adapted, limits, stale_share_seconds=6.0, stale_option_seconds=60.0, band_shares=shares)
    for move in _MOVES:
        market = SmallMarket(
            SEED,
            disaster.schedule.day,
            move=move,
            symbol=config.underlying,
            expires_after_days=days,
            is_deep=True,
        )
        with scratch_folder() as folder:
            trial = _RehearsalTrial(disaster.schedule, Path(folder), plan=plan, market=market)
            trial.begin(disaster)
            outcome = trial.run()
        if trial.struck_at is not None:
            break
    if not outcome.orders:
        raise ConfigError(
            "with these settings the desk buys nothing, so there is nothing to rehearse",
            where="strategies.gamma-scalper",
            value="; ".join(text for _, _, text in outcome.says[-2:]) or None,
            fix="loosen selection and risk limits, or rehearse another configuration",
        )
    ending, ok = trial.ending
    laws = [violation.invariant for violation in outcome.violations]
    if laws:
        ending, ok = f"broken: {', '.join(sorted(set(laws)))}", False
    if trial.struck_at is None:
        ending, ok = "it never struck", False
    took = max(trial.wrong_until - (trial.struck_at or 0.0), 0.0)
    return Rehearsed(
        disaster.name,
        disaster.happens,
        _deeds(trial, outcome.lives),
        round(took, 1),
        trial.position,
        ending,
        ok,
    )


def _adapted(config: GammaScalperConfig, disaster: _Disaster) -> tuple[GammaScalperConfig, int]:
    change = msgspec.structs.replace
    exits = config.exits
    if disaster.flat_minutes is not None:
        exits = change(exits, flat_minutes_before_close=disaster.flat_minutes)
    adapted = change(
        config,
        entry=change(config.entry, gate="off", not_before="00:00", not_after="23:59"),
        selection=change(config.selection, strike=None, expiry=None),
        exits=exits,
    )
    least = max(config.selection.min_expiration_days, 1)
    return adapted, least + (4 if config.selection.max_expiration_days >= least + 4 else 0)


def _deeds(trial: _RehearsalTrial, lives: int) -> str:
    parts = [f"{count} {what}" for what, count in trial.did.items() if count and what != "struck"]
    if lives > 1:
        parts.append(f"{lives - 1} restart{'s' if lives > 2 else ''}")
    return ", ".join(parts + trial.modes[:2]) or "nothing was needed"
