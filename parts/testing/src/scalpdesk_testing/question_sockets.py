"""Cells of the matrix of questions with real commands: exchange, desk, watchdog, ``flatten``, kill -9."""

import json
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.live.status import ask, running_desks
from scalpdesk_testing.kit.forked import Command
from scalpdesk_testing.question_cells import Cell, How, Road, Seen, When

SLACK_SECONDS = 6.0
"""What a busy machine may add to the time of a road: commands are processes of their own."""
_NOTICED_SECONDS = 18.0
"""From the beginning of bad answers to the road: the next comparison, its time-outs, and ten seconds."""
_ENTRY_SECONDS, _START_SECONDS, _END_SECONDS = 240.0, 20.0, 10.0
_LEAVE_SECONDS, _HEALED_SECONDS = 45.0, 60.0
"""Waits for a flat account: while questions are answered badly, and once they no longer are."""
_WATCH_SECONDS = {"alpaca": 15.0, "deribit": 75.0, "tws": 15.0}
"""How long a desk that is left alone is looked at: the coin market's perpetual is quoted each half minute."""
_FOR_A_PERSON = ("desk*.err", "flatten.*", "runs/*.log")
_STARTING = threading.Lock()
"""Commands are started one after the other: the process that forks them takes its surroundings from here."""
_TRADES = (
    "entry.gate=off",
    "entry.not_before=00:01",
    "entry.not_after=23:59",
    "exits.edge_gone=false",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
    "hedge.band=fixed",
    "triggers.heartbeat_seconds=1",
    "venue.forecast=false",
    "venue.requests_per_minute=1000000",
)
"""Settings under which the desk buys at once, stays, and hedges all the time."""
_SETTINGS = {
    "alpaca": (
        "hedge.threshold_shares=0.2",
        "triggers.price_change_usd=0.01",
        "exits.flat_minutes_before_close=1",
    ),
    "tws": (
        "hedge.threshold_shares=0.2",
        "triggers.price_change_usd=0.01",
        "exits.flat_minutes_before_close=1",
        "selection.min_open_interest=-1",
    ),
    "deribit": ("hedge.threshold_shares=0.002", "triggers.price_change_usd=1"),
}
_VENUES = {"tws": "ibkr"}
_MARKETS = {
    "alpaca": ("--generated", "SPY", "--cash", "1000000"),
    "deribit": ("--data", "embedded-btc", "--start", "2025-03-05"),
    "tws": ("--data", "embedded", "--start", "2018-02-05", "--cash", "1000000", "--tws-port", "0"),
}
_COIN_SETTINGS = """\
desk:
  currency: BTC
strategies:
  gamma-scalper:
    underlying: BTC-PERPETUAL
    selection:
      min_expiration_days: 2
      max_expiration_days: 30
    exits:
      min_dte: null
      minutes_before_expiry: 60.0
"""


class Bench:
    """An exchange, a desk that trades there, and the commands of a person, each a process of its own."""

    def __init__(self, folder: Path, venue: str) -> None:
        folder.mkdir(parents=True)
        folder = folder.resolve()
        self.folder, self.venue = folder, venue
        self.environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}
        self.exchange = self._start(["exchange", *_MARKETS[venue], "--rate-limit", "0"], "exchange")
        line = self._first_line(folder / "exchange.out")
        ready = json.loads(line)
        self.admin: str = ready["urls"]["admin"]
        self.url = ready["urls"]["tws"] if venue == "tws" else self.admin.removesuffix("/admin")
        key, secret = ready["keys"][venue] or ("none", "none")
        self.environ |= {"TRADING_API_KEY": key, "TRADING_API_SECRET": secret}
        self.desk: Command | None = None
        self.starts = 0
        if venue == "deribit":
            (folder / "params.yaml").write_text(_COIN_SETTINGS)

    def _start(self, words: list[str], name: str) -> Command:
        out, err = ((self.folder / f"{name}.{end}").open("ab") for end in ("out", "err"))
        with out, err, _STARTING:
            return Command(
                words,
                stdout=out.fileno(),
                stderr=err.fileno(),
                environ=self.environ,
                folder=self.folder,
            )

    def _first_line(self, path: Path) -> str:
        until = time.monotonic() + _ENTRY_SECONDS
        while time.monotonic() < until:
            text = path.read_text()
            if "\n" in text:
                return text.partition("\n")[0]
            time.sleep(0.1)
        raise TimeoutError(f"the exchange does not start: {(self.folder / 'exchange.err').read_text()}")

    def get(self, name: str) -> Any:
        """Return what the exchange's admin shows."""
        with urllib.request.urlopen(f"{self.admin}/{name}", timeout=60) as reply:  # noqa: S310
            return json.load(reply)

    def post(self, name: str, body: object) -> Any:
        """Give the exchange's admin a command."""
        content = msgspec.json.encode(body)
        request = urllib.request.Request(f"{self.admin}/{name}", content, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - on loopback
            return json.load(reply)

    def run(self, *options: str) -> None:
        """Start the desk."""
        venue = _VENUES.get(self.venue, self.venue)
        sets = [word for each in (*_TRADES, *_SETTINGS[self.venue]) for word in ("--set", each)]
        time_of = () if self.venue == "alpaca" else ("--exchange-time",)
        words = ["run", "gamma-scalper", "--venue", venue, "--url", self.url, "--no-dashboard", *time_of]
        words += [*options, *sets]
        self.starts += 1
        self.desk = self._start(words, f"desk{self.starts}")

    def start_again(self, *options: str) -> None:
        """Start the desk with ``--resume``, and wait until it answers or has ended."""
        self.run("--resume", *options)
        desk = self.desk
        assert desk is not None
        self.until(lambda: desk.poll() is not None or self.status() is not None, _ENTRY_SECONDS)

    def typed(self, *words: str) -> Command:
        """Type a command, which goes on beside the caller."""
        return self._start(list(words), words[0])

    def said(self) -> Counter[str]:
        """Return the lines that desks and commands have written for a person, and the watchdog's log."""
        files = [path for form in _FOR_A_PERSON for path in sorted(self.folder.glob(form))]
        return Counter(line for path in files for line in path.read_text(errors="replace").splitlines())

    def status(self) -> dict[str, Any] | None:
        """Return what the desk says of itself, None without one."""
        with suppress(Exception):
            desks = running_desks(self.folder / "runs")
            return ask(desks[0], {"do": "status"}, timeout_seconds=5.0) if desks else None
        return None

    def held(self) -> dict[str, Decimal]:
        """Return what the account holds by the exchange's own books."""
        return {one["symbol"]: Decimal(one["qty"]) for one in self.get("positions") if Decimal(one["qty"])}

    def until(self, condition: Any, seconds: float) -> bool:
        """Wait until something is so; return whether it became so in time."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if condition():
                return True
            time.sleep(0.2)
        return False

    def end(self) -> None:
        """End all processes of this bench."""
        running = [process for process in (self.desk, self.exchange) if process is not None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        ends = time.monotonic() + _END_SECONDS
        while time.monotonic() < ends and any(process.poll() is None for process in running):
            time.sleep(0.2)
        for process in running:
            process.kill()


def _is_option(symbol: str) -> bool:
    return any(mark.isdigit() for mark in symbol)


def _reversals(fills: list[dict[str, Any]], held: dict[str, Decimal]) -> str:
    """Return the first execution since the road began that took a contract through zero or away from it.

    A share's hedge may be on its way until the last option is gone.
    """
    now = dict(held)
    for fill in fills:
        symbol, before = fill["symbol"], now.get(fill["symbol"], Decimal(0))
        after = before + Decimal(fill["qty"]) * (1 if fill["side"] == "buy" else -1)
        now[symbol] = after
        has_options = any(units and _is_option(name) for name, units in now.items())
        is_hedge = not _is_option(symbol) and has_options
        if not is_hedge and (abs(after) > abs(before) or after * before < 0):
            return f"{fill['side']} {fill['qty']} {symbol} at {before:f} ({fill['client_order_id']})"
    return ""


def try_cell(cell: Cell, folder: Path) -> Seen:
    """Run one cell."""
    bench = Bench(folder, cell.venue)
    try:
        return _try(bench, cell)
    finally:
        bench.end()


def _try(bench: Bench, cell: Cell) -> Seen:
    road, is_well = cell.road, cell.how is How.WELL
    guarded = road in (Road.WATCHDOG, Road.KILL_WATCHDOG)
    options = ("--watchdog-flatten",) if guarded else ("--no-watchdog",)
    bench.run(*options)

    def has_entered() -> bool:
        held = bench.held()
        return sum(map(_is_option, held)) >= 2 and any(not _is_option(symbol) for symbol in held)

    desk = bench.desk
    assert desk is not None
    if not bench.until(lambda: desk.poll() is not None or has_entered(), _ENTRY_SECONDS) or not has_entered():
        return Seen(held=False, alarm=_alarm_in(bench.said()))
    assert bench.desk is not None
    if cell.when is When.STARTING:
        bench.desk.kill()
        bench.desk.wait()
        if guarded:  # the watchdog of the first life has acted; hold what is left of the position
            return Seen(held=False)
    said_before = bench.said()
    if not is_well:
        bench.post("faults", cell.fault)
    if cell.when is When.CUT:
        bench.post("disconnect", {})
    if cell.when is When.STARTING:
        bench.start_again(*options)
        time.sleep(_START_SECONDS)
    else:
        time.sleep(_NOTICED_SECONDS)
    if road is Road.NOTHING:
        return _watch(bench, said_before, len(bench.get("orders")))
    return _leave(bench, cell, said_before)


def _alarm_in(said: Counter[str]) -> str:
    lines = [line for line in said if line.lower().startswith(("alarm", "error")) or "ALARM" in line]
    return lines[-1][:200] if lines else ""


def _watch(bench: Bench, said_before: Counter[str], orders: int) -> Seen:
    """Look whether the desk trades, or says why it does not."""
    time.sleep(_WATCH_SECONDS[bench.venue])
    status = bench.status() or {}
    return Seen(
        held=bool(bench.held()),
        mode=str(status.get("mode", "")),
        alarm=_alarm_in(bench.said() - said_before),
        orders=len(bench.get("orders")) - orders,
    )


def _leave(bench: Bench, cell: Cell, said_before: Counter[str]) -> Seen:
    """Leave by a road and wait for a flat account."""
    road = cell.road
    held, fills = bench.held(), len(bench.get("fills"))
    if not held:
        return Seen(held=False)
    began = time.monotonic()
    assert bench.desk is not None
    if road is Road.WATCHDOG:
        bench.desk.send_signal(signal.SIGSTOP)
    elif road.kills:
        bench.desk.kill()
        bench.desk.wait()
    commands = []
    if road in (Road.FLATTEN, Road.KILL_FLATTEN):
        commands.append(bench.typed("flatten", "--reason", "tried"))
    elif road in (Road.NOW, Road.KILL_NOW):
        commands.append(bench.typed("flatten", "--now", "--reason", "tried"))
    if road in (Road.KILL_FLATTEN, Road.KILL_NOTHING):
        for command in commands:
            command.wait()
        bench.start_again("--no-watchdog")
        began = time.monotonic()
    if road is Road.KILL_NOTHING:
        time.sleep(_NOTICED_SECONDS)
        return _watch(bench, said_before, len(bench.get("orders")))
    flat = healed = None
    if bench.until(lambda: not bench.held(), _LEAVE_SECONDS):
        flat = time.monotonic() - began
    mode, alarm = str((bench.status() or {}).get("mode", "")), _alarm_in(bench.said() - said_before)
    if flat is None:
        bench.post("heal", {})
        began = time.monotonic()
        if bench.until(lambda: not bench.held(), _HEALED_SECONDS):
            healed = time.monotonic() - began
    for command in commands:
        command.kill()
    reversal = _reversals(bench.get("fills")[fills:], held)
    return Seen(True, flat, healed, reversal, mode, alarm)
