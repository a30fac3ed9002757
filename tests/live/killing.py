"""Kill a live desk at random moments and bring it back; exchange and desk are processes of their own."""

import asyncio
import json
import os
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.assembly import LiveDesk, unfinished_run
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.live.watchdog import WatchdogSupervisor
from scalpdesk.live.watchdog_program import WatchdogSettings, start_watchdog
from scalpdesk_testing.kit.forked import ExchangeCommand, start
from scalpdesk_testing.kit.live import until
from scalpdesk_testing.kit.live_session import status_of

BUSY = (
    "entry.gate=advise",
    "entry.not_before=09:31",
    "exits.edge_gone=false",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
    "hedge.threshold_shares=0.6",
    "triggers.price_change_usd=0.01",
    "triggers.heartbeat_seconds=1",
)
"""Settings under which the scalper enters early, stays, and hedges all the time."""
BUSY_AT_TWS = (
    *BUSY,
    "selection.min_open_interest=-1",  # it comes with the lines of quotes
    "venue.requests_per_minute=1000000",
)
"""The same at TWS, which paces orders by the wall's seconds."""
PROTOCOLS = {"ibkr": "tws"}
"""Protocol of a venue where that has another name."""
BUSY_IN_COIN = (
    "entry.gate=advise",
    "entry.not_before=03:01",
    "exits.edge_gone=false",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
    "hedge.threshold_shares=0.002",
    "triggers.price_change_usd=1",
    "triggers.heartbeat_seconds=1",
    "venue.forecast=false",
    "venue.requests_per_minute=1000000",  # its minutes are those of the wall
)
"""The same for the one that trades coin options."""
PATIENCE_SECONDS = 300.0
"""A test that fails waits so long."""
COIN_PARAMS = Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml"


class Exchange:
    """``scalpdesk exchange``, standing still until told otherwise."""

    def __init__(
        self, session: str = "2018-02-05", seed: int = 1, *options: str, venue: str = "alpaca"
    ) -> None:
        words = ["--data", "embedded-btc" if venue == "deribit" else "embedded", "--session", session]
        words += ["--seed", str(seed), "--speed", "0", "--rate-limit", "0", *options]
        protocol = PROTOCOLS.get(venue, venue)
        words += ["--tws-port", "0"] if protocol == "tws" else []
        self.running = ExchangeCommand(words)
        self.venue = venue
        urls = self.running.ready["urls"]
        self.admin: str = urls["admin"].removesuffix("/admin")
        self.url: str = urls["tws"] if protocol == "tws" else self.admin
        self.key, self.secret = self.running.ready["keys"][protocol]

    def get(self, name: str) -> Any:
        with urllib.request.urlopen(f"{self.admin}/admin/{name}", timeout=120) as reply:
            return json.load(reply)

    def post(self, name: str, /, **body: Any) -> Any:
        content = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.admin}/admin/{name}", content, method="POST")
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def speed(self, seconds_a_second: float) -> None:
        self.post("speed", speed=seconds_a_second)

    def close(self) -> None:
        self.running.close()


def plan_for(exchange: Exchange, folder: Path, *overrides: str, **options: Any) -> LivePlan:
    """Return a plan of a desk on this exchange with everything below ``folder``."""
    settings = load_settings(
        "gamma-scalper",
        config_file=COIN_PARAMS if exchange.venue == "deribit" else None,
        overrides=(*overrides, f"desk.runs_dir={folder / 'runs'}"),
        environ={"TRADING_API_KEY": exchange.key, "TRADING_API_SECRET": exchange.secret},
        cwd=folder,
    )
    runner = RunnerOptions(
        absent_after_seconds=0.5,
        confirm_seconds=0.1,
        resolve_seconds=0.1,
        reconcile_seconds=1.0,
        stop=StopMode.LEAVE,
    )
    plan = LivePlan(
        settings, exchange.venue, url=exchange.url, state=folder / "state", runner=runner, follows_venue=True
    )
    return replace(plan, **options)


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write a document whole or not at all."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(facts))
    partial.replace(path)


def _live(plan: LivePlan, report: Path) -> None:
    """Run the desk in a process of its own; it writes what it finds to ``report``."""
    code = 1
    try:
        sys.stdout = sys.stderr = report.with_suffix(".log").open("a", buffering=1)
        began = time.monotonic()
        tellers: list[asyncio.Task[None]] = []

        def ready(desk: LiveDesk) -> None:
            async def tell() -> None:
                await until(lambda: desk.runner.state.recovered_seconds is not None, 0.005)
                facts = {"settled": time.monotonic() - began, "loop": desk.runner.state.recovered_seconds}
                write(report, facts)

            tellers.append(asyncio.get_running_loop().create_task(tell()))

        def say(level: str, text: str) -> None:
            sys.stderr.write(f"{time.monotonic() - began:.3f} {level}: {text}\n")

        if unfinished_run(plan) is not None:
            plan = replace(plan, resume=True)
        summary = asyncio.run(carry_out(plan, notify=say, on_ready=ready))
        report.with_suffix(".summary").write_text(json.dumps(summary, default=str))
        code = 0
    except BaseException:  # noqa: BLE001 - the child's end, in its log
        traceback.print_exc()
    finally:
        os._exit(code)


def _run_guarded(
    exchange: tuple[str, str, str],
    plan: LivePlan,
    folder: Path,
    overrides: tuple[str, ...],
    flatten: bool,
    stall_seconds: float,
) -> None:
    """Run a desk with a watchdog in a process of its own."""
    url, key, secret = exchange

    def bring_up() -> Any:
        line = start_watchdog(settings, folder / "watchdog.log")
        (folder / "watchdog.pid").write_text(str(line._process.pid))
        return line

    try:
        os.environ |= {"TRADING_API_KEY": key, "TRADING_API_SECRET": secret}
        settings = WatchdogSettings(
            "gamma-scalper",
            plan.venue,
            live=False,
            desk_pid=os.getpid(),
            config_file=str(COIN_PARAMS) if plan.venue == "deribit" else None,
            overrides=(*overrides, f"desk.runs_dir={folder / 'runs'}"),
            url=url,
            stall_seconds=stall_seconds,
            flatten=flatten,
            state=str(folder / "state"),
        )
        guard = WatchdogSupervisor(bring_up, lambda *_: None)
        asyncio.run(carry_out(plan, notify=lambda *_: None, watchdog=guard))
    except BaseException:  # noqa: BLE001 - the child's end, in its log
        (folder / "desk.log").write_text(traceback.format_exc())
    finally:
        os._exit(1)


def guarded_desk(
    exchange: Exchange,
    plan: LivePlan,
    folder: Path,
    overrides: tuple[str, ...],
    *,
    flatten: bool,
    stall_seconds: float = 60.0,
) -> ForkServerProcess:
    """Start a desk with a watchdog, whose process id is in ``watchdog.pid``; return the desk's process."""
    where = (exchange.url, exchange.key, exchange.secret)
    return start(_run_guarded, where, plan, folder, overrides, flatten, stall_seconds)


@dataclass
class Lives:
    """Counts and times of many lives."""

    kills: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the start of a life to an account held against the journal."""


def live_and_die(plan: LivePlan, folder: Path, kills: int, rng: np.random.Generator) -> Lives:
    """Kill the desk ``kills`` times, each at a random moment within three times its usual recovery.

    The measure is the life's own: on a busy machine a recovery takes seconds, and kills at moments of the
    wall would all fall before it.
    """
    lives = Lives()
    report = folder / "report.json"
    usual = 0.4
    for _ in range(kills):
        report.unlink(missing_ok=True)
        life = start(_live, plan, report)
        lived = float(rng.uniform(0.05, 3.0)) * usual
        time.sleep(lived)
        life.kill()
        life.join()
        lives.kills += 1
        if report.exists() and report.stat().st_size:
            lives.recoveries.append(json.loads(report.read_text())["settled"])
            usual = float(np.median(lives.recoveries[-9:]))
        elif lived > usual:
            usual *= 1.3
    return lives


def end_in_order(exchange: Exchange, plan: LivePlan, folder: Path, fills: int) -> dict[str, Any]:
    """Bring the desk back once more, let it trade and hedge, stop the market; return its summary."""
    wanted = len(exchange.get("fills")) + fills
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    life = start(_live, plan, report)
    give_up = time.monotonic() + PATIENCE_SECONDS
    # the perpetual is quoted each half minute, and hedged by the quote before
    slow, quotes_ns = (30, 31 * NANOS_PER_SECOND) if exchange.venue == "deribit" else (1, 0)

    def wait_until(is_so: Callable[[], Any], pause_seconds: float) -> None:
        while not is_so():
            if time.monotonic() > give_up or life.exitcode is not None:
                raise AssertionError(report.with_suffix(".log").read_text()[-3000:])
            time.sleep(pause_seconds)

    try:
        wait_until(lambda: report.exists() and report.stat().st_size, 0.01)
        wait_until(lambda: len(exchange.get("fills")) >= wanted, 0.1)
        exchange.speed(slow)  # on a busy machine the market would outrun the last hedges
        slowed_ns, seen = exchange.get("clock")["now_ns"], [wanted]

        def is_quiet() -> bool:
            """Return whether the desk saw all of the fast market, and a quote since its last fill."""
            fills = exchange.get("fills")
            seen.append(len(fills))
            desk = status_of(folder)
            if desk is None or desk["orders"] or seen[-1] != seen[-2]:
                return False
            quoted_ns = max(one["ts_ns"] for one in fills) + quotes_ns
            return to_ns(datetime.fromisoformat(desk["now"])) > max(slowed_ns, quoted_ns)

        while True:
            wait_until(is_quiet, 1.0 if slow == 1 else 0.2)
            exchange.speed(0)
            wait_until(lambda: _agree_on_cash(exchange, folder), 0.1)  # answers under way have arrived
            time.sleep(1.5)  # a last round of reconciliation
            if is_quiet():
                break
            exchange.speed(slow)  # the last quote called for a hedge: a still market does not fill
        life.terminate()
    except BaseException:
        life.kill()
        raise
    finally:
        life.join()
    return json.loads(report.with_suffix(".summary").read_text())


def _agree_on_cash(exchange: Exchange, folder: Path) -> bool:
    found = status_of(folder)
    if found is None:
        return False
    owed = Decimal(exchange.get("accounts")[0]["cash"]) - Decimal(found["cash"])
    return abs(owed) < Decimal("1e-8" if exchange.venue == "deribit" else "0.004")


def journaled_names(run_dir: Path) -> set[str]:
    """Return the ids of every order that the journal says was about to be sent."""
    return {
        output.client_order_id
        for _, outputs in JournalReader(run_dir).steps()
        for output in outputs
        if isinstance(output, SubmitOrder | MultiLegOrder)
    }
