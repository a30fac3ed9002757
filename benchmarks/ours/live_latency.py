"""Answer time of a live desk: quote in, order out, on loopback, with the cost of the journal on disk first.

A desk as ``scalpdesk run`` makes it trades the embedded market at ``scalpdesk exchange``, a process of its
own that goes as fast as the desk reads: shares and their options over Alpaca's protocol, or the coin market
over Deribit's. Settings make it hedge all the time. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientWebSocketResponse
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from scalpdesk import pricing
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import coin_session, session_on
from scalpdesk.journal.codec import encode_events, encode_outputs
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, peek_header
from scalpdesk.live.assembly import LiveDesk
from scalpdesk.live.core import LiveCore
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.run import carry_out
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk_alpaca import market_data, stream
from scalpdesk_deribit import gateway as deribit
from scalpdesk_deribit import rpc

ALWAYS = (
    "entry.gate=advise",
    "exits.edge_gone=false",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
    # the market goes a hundred times as fast; the requests of a minute of the wall would hold orders back
    "venue.requests_per_minute=1000000",
)
COIN_PARAMS = Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml"


@dataclass(frozen=True, slots=True)
class Venue:
    """A venue and its instruments."""

    name: str
    data: str
    opens_ns: int
    streams: int
    busy: tuple[str, ...]
    config: Path | None = None


VENUES = {
    "alpaca": Venue(
        "alpaca",
        "embedded",
        session_on(date(2018, 2, 5)).open_ns,
        3,
        (
            *ALWAYS,
            "entry.not_before=09:31",
            "rates.flat=0.0",
            "hedge.threshold_shares=0.6",
            "triggers.price_change_usd=0.01",
        ),
    ),
    "deribit": Venue(
        "deribit",
        "embedded-btc",
        coin_session(date(2025, 3, 5)).open_ns,
        2,
        (
            *ALWAYS,
            "entry.not_before=03:01",
            "venue.forecast=false",
            "hedge.threshold_shares=0.0005",
            "triggers.price_change_usd=1",
        ),
        COIN_PARAMS,
    ),
}
FRAMES_BYTES = 128
"""About what the heads of two records take."""
NAME, LABEL = b'"client_order_id":"', '"label":"'
now = time.perf_counter_ns


class Probes:
    """Stop-watches at the desk's edges; each takes well under a microsecond."""

    def __init__(self) -> None:
        self.received: dict[int, int] = {}
        """Time of the last bytes by connection."""
        self.frame_at = 0
        self.quote_at: dict[tuple[int, int], int] = {}
        self.caused: dict[str, tuple[int, ...]] = {}
        """By order: arrival of its quote, time of the disk, begin and end of handling."""
        self.stages_ns: dict[str, list[int]] = {name: [] for name in ("queue", "decide", "journal", "write")}
        self.decided_ns = self.journaled_ns = 0
        self.answers_ns: list[int] = []
        self.stalls_ns: list[int] = []
        self.own_stalls_ns: list[int] = []
        """The same, less what the disk took."""
        self.turn_sync_ns = 0
        self.syncs_ns: list[int] = []
        self.sync_ns = 0
        self.has_begun: Callable[[], bool] = lambda: False
        """Whether what the desk does counts: the first orders are not the rule."""

    def put_in(self) -> None:
        """Wrap what is to be watched; the program ends before anybody else could mind."""
        self._watch_bytes()
        self._watch_frames()
        self._watch_decisions()
        self._watch_disk()

    def _watch_bytes(self) -> None:
        taken, received, read = (
            ResponseHandler.data_received,
            stream.StreamConnection._receive,  # noqa: SLF001 - the edge itself
            market_data.MarketReader.read,
        )
        write = StreamWriter.write

        def data_received(handler: Any, data: bytes) -> None:
            self.received[id(handler)] = now()
            taken(handler, data)

        async def _receive(connection: Any, socket: Any) -> bytes:
            raw = await received(connection, socket)
            self.frame_at = self.received.get(id(socket._conn.protocol), 0)  # noqa: SLF001 - names it
            return raw

        def read_frame(reader: Any, raw: bytes, stamp: Any) -> Any:
            items = list(read(reader, raw, stamp))
            for item in items:
                if type(item) is QuoteEvent:
                    self.quote_at[item.instrument_id, item.ts_event_ns] = self.frame_at
            return items

        async def written(writer: Any, body: Any, **options: Any) -> None:
            await write(writer, body, **options)
            at = now()
            begins = body.find(NAME)
            if begins > 0:
                begins += len(NAME)
                self._left(body[begins : body.index(b'"', begins)].decode(), at)

        ResponseHandler.data_received = data_received
        stream.StreamConnection._receive = _receive  # noqa: SLF001 - the edge itself
        market_data.MarketReader.read = read_frame
        StreamWriter.write = written

    def _left(self, name: str, at: int) -> None:
        """Note that an order has been written."""
        came, synced, began, ended = self.caused.pop(name, (0, 0, 0, 0))
        if came and self.has_begun():
            self.answers_ns.append(at - came - synced)
            self.stages_ns["queue"].append(began - came)
            self.stages_ns["decide"].append(self.decided_ns)
            self.stages_ns["journal"].append(self.journaled_ns - synced)
            self.stages_ns["write"].append(at - ended)

    def _watch_frames(self) -> None:
        """Watch the same edges of Deribit's sockets."""
        sent = ClientWebSocketResponse.send_str
        take = rpc.RpcConnection._take  # noqa: SLF001 - the edge itself
        show = deribit.DeribitGateway._on_market  # noqa: SLF001 - the edge itself

        def _take(connection: Any, frame: Any) -> None:
            handler = connection._socket._conn.protocol  # noqa: SLF001 - names it
            self.frame_at = self.received.get(id(handler), 0)
            take(connection, frame)

        def _on_market(gateway: Any, note: Any) -> None:
            number = gateway._instruments.id_of(note.data["instrument_name"])  # noqa: SLF001 - names it
            self.quote_at[number, note.data["timestamp"] * 1_000_000] = self.frame_at
            show(gateway, note)

        async def send(socket: Any, text: Any, **options: Any) -> None:
            await sent(socket, text, **options)
            at = now()
            begins = text.find(LABEL)
            if begins > 0:
                begins += len(LABEL)
                self._left(text[begins : text.index('"', begins)], at)

        ClientWebSocketResponse.send_str = send
        rpc.RpcConnection._take = _take  # noqa: SLF001 - the edge itself
        deribit.DeribitGateway._on_market = _on_market  # noqa: SLF001 - the edge itself

    def _watch_decisions(self) -> None:
        feed = LiveCore.feed

        def fed(core: Any, event: Any) -> Any:
            self.sync_ns = 0
            began = now()
            commands = feed(core, event)
            ended = now()
            if commands and type(event) is QuoteEvent:
                came = self.quote_at.get((event.instrument_id, event.ts_event_ns), 0)
                for command in commands:
                    if isinstance(command, SubmitOrder):
                        self.caused[command.client_order_id] = came, self.sync_ns, began, ended
            return commands

        LiveCore.feed = fed
        handle = TradingEngine.handle

        def handled(engine: Any, event: Any) -> Any:
            began = now()
            outputs = handle(engine, event)
            if outputs:
                self.decided_ns = now() - began
            return outputs

        TradingEngine.handle = handled

    def _watch_disk(self) -> None:
        add, sync = JournalWriter.add_outputs, os.fdatasync

        def fdatasync(descriptor: int) -> None:
            began = now()
            sync(descriptor)
            took = now() - began
            self.sync_ns += took
            self.turn_sync_ns += took
            if self.has_begun():
                self.syncs_ns.append(took)

        def add_outputs(journal: Any, outputs: Any) -> None:
            began = now()
            add(journal, outputs)
            took = now() - began
            if any(isinstance(output, SubmitOrder) for output in outputs):
                self.journaled_ns = took

        os.fdatasync = fdatasync
        JournalWriter.add_outputs = add_outputs

    def watch_loop(self) -> None:
        """Note how long each turn of the running loop keeps everybody else waiting."""
        selector = asyncio.get_running_loop()._selector  # noqa: SLF001 - the loop has no door to its turns
        select, left = selector.select, [0]

        def selecting(timeout: Any = None) -> Any:
            if left[0]:
                took = now() - left[0]
                self.stalls_ns.append(took)
                self.own_stalls_ns.append(took - self.turn_sync_ns)
            self.turn_sync_ns = 0
            found = select(timeout)
            left[0] = now()
            return found

        selector.select = selecting


class Exchange:
    def __init__(self, venue: Venue, *options: str) -> None:
        command = [sys.executable, "-m", "scalpdesk.cli.main", "exchange", "--data", venue.data]
        command += ["--speed", "0", "--rate-limit", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        mine, *others = sorted(os.sched_getaffinity(0))
        if others:  # a venue does not take the desk's core to read an order
            os.sched_setaffinity(self.process.pid, others)
            os.sched_setaffinity(0, {mine})
        ready = json.loads(self.process.stdout.readline())
        self.url = ready["urls"]["admin"].removesuffix("/admin")
        self.key, self.secret = ready["keys"][venue.name]

    def admin(self, name: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/admin/{name}", data), timeout=30
        ) as reply:
            return json.load(reply)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


CLIENTS = """
import selectors, socket, sys, time
port, total, silent = map(int, sys.argv[1:])
lines = []
for number in range(total):
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(b"GET /api/events HTTP/1.1\\r\\nHost: localhost:%d\\r\\n\\r\\n" % port)
    lines.append(line)
reading = selectors.DefaultSelector()
for line in lines[silent:]:
    line.setblocking(False)
    reading.register(line, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in reading.select():
        if not key.fileobj.recv(1 << 20):
            reading.unregister(key.fileobj)
"""


class Pages:
    """The dashboard of a folder of runs in a process of its own, and its clients in another.

    They have the cores that the desk does not use.
    """

    def __init__(self, runs_dir: Path, clients: int, silent: int) -> None:
        mine = os.sched_getaffinity(0)
        others = set(range(os.cpu_count() or 1)) - mine or mine
        words = ["dashboard", "--json", "--port", "0", "--runs-dir", str(runs_dir)]
        self.server = subprocess.Popen(
            [sys.executable, "-m", "scalpdesk", *words], stdout=subprocess.PIPE, text=True
        )
        os.sched_setaffinity(self.server.pid, others)
        text = "".join(iter(self.server.stdout.readline, "}\n"))
        port = json.loads(text + "}")["url"].rpartition(":")[2].strip("/")
        words = ["-c", CLIENTS, port, str(clients), str(silent)]
        self.clients = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self.clients.pid, others)
        self.clients.stdout.readline()
        self.port = port

    def served(self) -> dict[str, Any]:
        """Return the server's metrics: open streams, and states skipped for slow clients."""
        with urllib.request.urlopen(f"http://localhost:{self.port}/api/metrics", timeout=30) as reply:
            return json.load(reply)["server"]

    def close(self) -> None:
        for process in (self.clients, self.server):
            process.terminate()
            process.wait()


async def trade(
    exchange: Exchange, venue: Venue, folder: Path, minutes: float, probes: Probes
) -> dict[str, Any]:
    settings = load_settings(
        "gamma-scalper",
        config_file=venue.config,
        overrides=(*venue.busy, f"desk.runs_dir={folder / 'runs'}"),
        environ={"TRADING_API_KEY": exchange.key, "TRADING_API_SECRET": exchange.secret},
        cwd=folder,
    )
    plan = LivePlan(
        settings,
        venue.name,
        url=exchange.url,
        contracts=12,
        runner=RunnerOptions(absent_after_seconds=0.5, stop=StopMode.LEAVE),
        state=folder / "state",
        follows_venue=True,
    )
    tasks = []

    async def lead(desk: LiveDesk) -> None:
        probes.has_begun = lambda: bool(desk.engine.desk.positions.held())
        while (  # noqa: ASYNC110 - another process has no event
            desk.engine.desk.view.session is None
            or (await asyncio.to_thread(exchange.admin, "streams"))["ready"] < venue.streams
        ):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(exchange.admin, "speed", speed="max")
        while not probes.has_begun():  # noqa: ASYNC110 - no event reports a new position
            await asyncio.sleep(0.05)
        probes.watch_loop()
        while desk.engine.now_ns < venue.opens_ns + int(minutes * 60e9):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.05)
        await asyncio.to_thread(exchange.admin, "speed", speed=0)
        await asyncio.sleep(0.5)
        desk.runner.stop(StopMode.LEAVE)

    return await carry_out(
        plan,
        notify=lambda *_words: None,
        on_ready=lambda desk: tasks.append(asyncio.get_running_loop().create_task(lead(desk))),
    )


def intents_and_bare(run_dir: Path, folder: Path, count: int) -> tuple[list[int], list[int]]:
    """Put intents of a run on disk again, in turn with bare appends of as many bytes and their sync.

    Returns nanoseconds of both. The bare file is preallocated as the journal's is.
    """
    steps = [
        (events[-1], outputs)
        for events, outputs in JournalReader(run_dir).steps()
        if any(isinstance(output, SubmitOrder) for output in outputs)
    ]
    journal = JournalWriter.create(folder / "again", peek_header(run_dir))
    bare = os.open(folder / "bare", os.O_CREAT | os.O_WRONLY)
    os.posix_fallocate(bare, 0, 1 << 22)
    ours, theirs = [], []
    for turn in range(count):
        event, outputs = steps[turn % len(steps)]
        size = len(encode_outputs(outputs)) + len(encode_events([event])) + FRAMES_BYTES
        journal.add_event(event)
        began = now()
        journal.add_outputs(outputs)
        between = now()
        os.write(bare, bytes(size))
        os.fdatasync(bare)
        theirs.append(now() - between)
        ours.append(between - began)
    os.close(bare)
    journal.abandon()
    return ours, theirs


def noise(seconds: float) -> list[int]:
    """Time that fixed work of about 100 µs takes beyond its quickest, in nanoseconds."""
    took, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        began = now()
        sum(range(4_000))
        took.append(now() - began)
    return [nanos - min(took) for nanos in took]


def percentiles(values_ns: list[int], unit_ns: float = 1e3) -> dict[str, float]:
    p50, p99 = np.percentile(values_ns, (50, 99)) / unit_ns
    return {"p50": float(p50), "p99": float(p99)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("minutes", type=float, help="of market, from the open on")
    parser.add_argument(
        "lockstep_ms", type=float, help="how long the exchange waits after each quote is read"
    )
    parser.add_argument("--clients", type=int, default=0, help="of a dashboard beside the desk")
    parser.add_argument("--venue", choices=VENUES, default="alpaca")
    parser.add_argument("--silent", type=int, default=0, help="of them read nothing")
    arguments = parser.parse_args()
    pricing.warm_up()
    quiet = noise(0.5)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        probes = Probes()
        probes.put_in()
        venue = VENUES[arguments.venue]
        exchange = Exchange(venue, "--lockstep-ms", str(arguments.lockstep_ms))
        pages = None
        if arguments.clients:
            (folder / "runs").mkdir()
            pages = Pages(folder / "runs", arguments.clients, arguments.silent)
        began = time.monotonic()
        served: dict[str, Any] | None = None
        try:
            summary = asyncio.run(trade(exchange, venue, folder, arguments.minutes, probes))
            served = None if pages is None else pages.served()
        finally:
            exchange.close()
            if pages is not None:
                pages.close()
        seconds = time.monotonic() - began
        (run_dir,) = (folder / "runs").glob("*-gamma-scalper-*")
        intents, bare = intents_and_bare(run_dir, folder, 400)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "pages": served,
                "orders": summary["orders"],
                "fills": summary["fills"],
                "measured": len(probes.answers_ns),
                "answer_us": percentiles(probes.answers_ns),
                "stages_us": {name: percentiles(each) for name, each in probes.stages_ns.items()},
                "stall_us": percentiles(probes.stalls_ns),
                "stall_beyond_sync_us": percentiles(probes.own_stalls_ns),
                "turns": len(probes.stalls_ns),
                "sync_us": percentiles(probes.syncs_ns),
                "intent_us": percentiles(intents),
                "bare_sync_us": percentiles(bare),
                "noise_us": percentiles(quiet + noise(0.5)),
            }
        )
    )


if __name__ == "__main__":
    main()
