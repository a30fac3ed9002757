"""Runs at a venue in memory from start to end, one after another."""

import asyncio
from dataclasses import replace

from scalpdesk.instruments.sessions import session_on
from scalpdesk.live import run
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.live import until
from scalpdesk_testing.kit.runner_bench import BenchWatchdog, InstalledVenue, bench_plan

SESSION = session_on(DAY)
QUICK = RunnerOptions(
    reconcile_seconds=1e9,
    confirm_seconds=0.0,
    absent_after_seconds=0.0,
    tick_seconds=0.001,
    flatten_seconds=0.05,
    hold_seconds=0.05,
    stop=StopMode.HOLD,
)


class Life:
    """Runs at the installed venue, one after another, by a clock that the test sets."""

    def __init__(self, tmp_path, monkeypatch):
        self.venue = InstalledVenue(tmp_path / "site", monkeypatch)
        self.plan = bench_plan(tmp_path, runner=QUICK)
        self.clock = ManualClock(SESSION.open_ns + 60 * 10**9)
        self.said, self.log, self.desks = [], [], []
        self.watchdog = BenchWatchdog(self.log)
        self.prepares = lambda gateway: None
        self.on_ready = self.desks.append
        type(self.venue).prepare = staticmethod(self._prepare)

    def _prepare(self, gateway):
        gateway.log = self.log
        self.prepares(gateway)

    @property
    def gateway(self):
        return self.venue.built[-1][1]

    def run(self, meanwhile=None, *, gateway=None, watchdog=None, **options):
        """Run to the end; return the summary. Without anything meanwhile the run is stopped at once."""
        plan = replace(self.plan, runner=replace(QUICK, **options))

        async def whole():
            running = asyncio.create_task(
                run.carry_out(
                    plan,
                    notify=lambda *words: self.said.append(words),
                    clock=self.clock,
                    gateway=gateway,
                    watchdog=watchdog,
                    on_ready=self.on_ready,
                )
            )
            await until(lambda: self.desks or running.done(), 0.001)
            if not running.done():
                desk = self.desks[0]
                await until(lambda: desk.runner.state.recovered_seconds is not None or running.done(), 0.001)
            if not running.done():
                if meanwhile is None:
                    desk.runner.stop(StopMode.LEAVE)
                else:
                    await meanwhile(desk)
            return await running

        return asyncio.run(asyncio.wait_for(whole(), 120.0))

    def ended(self):
        return [
            item
            for item in self.log
            if item == "leave" or (type(item) is tuple and item[0] in ("end", "closed"))
        ]
