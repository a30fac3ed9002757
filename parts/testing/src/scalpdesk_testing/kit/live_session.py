"""One session traded by ``scalpdesk run`` at ``scalpdesk exchange``, and what to hold it against.

Each is a process of its own, forked from this one. The exchange goes as fast as the desk reads; its admin
tells the truth afterwards. The same market, cut to what the desk knew, then goes through a backtest of the
same configuration.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.assembly import engine_from_header
from scalpdesk.backtesting.runner import BacktestRunner
from scalpdesk.core.events import Event, OpenInterestEvent, OrderCancelled, OrderFilled, QuoteEvent, RateEvent
from scalpdesk.core.intents import Decision, Output, VenueCommand
from scalpdesk.datasets.embedded import market
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.instruments.fees import ALPACA_FEES, IBKR_FEES
from scalpdesk.instruments.sessions import coin_session, session_on
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.live.status import ask, running_desks
from scalpdesk.marketdata.tape import MarketTape, QuoteColumns, RateCurve, joined_tape
from scalpdesk.plugins import JournalReader
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.hours import TapeHours
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.desk import combos as combos_of
from scalpdesk_testing.kit.desk import orders as orders_of
from scalpdesk_testing.kit.forked import Command, ExchangeCommand
from scalpdesk_testing.kit.scalp_days import KeptRun

CASH, COIN_CASH = Decimal(100_000), Decimal(2)
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Wanted:
    """The session that is played.

    ``lockstep_ms`` is how long the exchange waits for orders after the desk has read a quote; ``minutes``
    of the session are played, all of it for None.
    """

    day: date = date(2018, 2, 5)
    overrides: tuple[str, ...] = ("entry.gate=advise", "rates.flat=0.0", "venue.forecast=false")
    contracts: int = 20
    lockstep_ms: float = 5.0
    minutes: float | None = None
    seed: int = 1
    strategy: str = "gamma-scalper"
    streams: int = 3
    """Connections of the desk: orders, shares, and options where it trades some."""
    underlyings: tuple[str, ...] = ("SPY",)
    sessions: int = 1
    venue: str = "alpaca"
    data: str = "embedded"
    catalog: Path | None = None
    """Data set that the exchange plays, and the catalogue that holds it."""
    speed: float | str = "max"
    """Pace of the exchange: over TWS it cannot wait for a client, whose messages have no answer."""
    cash: Decimal = Decimal(100_000)
    """The account's cash at the start, in its currency."""
    config: Path | None = None
    busts_last: bool = False
    """Take the latest trade back when the desk has gone, and ask for the statement again."""
    as_users_start_it: bool = False
    """Start the desk in an interpreter of its own instead of a fork."""

    @property
    def open_ns(self) -> int:
        """Return the opening of the first session, UTC nanoseconds."""
        return (coin_session if self.venue == "deribit" else session_on)(self.day).open_ns

    def market(self) -> MarketTape:
        """Return the exchange's market, a reconstructed one."""
        if self.venue == "deribit":
            return reconstruct_coin(self.day, self.day + timedelta(days=self.sessions - 1), seed=self.seed)
        tapes = [
            market.reconstruct(self.day, seed=self.seed, underlying=symbol) for symbol in self.underlyings
        ]
        return tapes[0] if len(tapes) == 1 else joined_tape(tapes)


@dataclass
class Played:
    """Result of a session: the exchange's truth, the desk's journal and its last words."""

    wanted: Wanted
    truth: dict[str, Any]
    summary: dict[str, Any]
    run_dir: Path
    seconds: float
    statement: bytes = b""
    """The account's statement, as the exchange gives it by its venue's own interface."""
    after_bust: bytes = b""
    steps: list[tuple[Event, tuple[Output, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        reader = JournalReader(self.run_dir)
        self.header: JournalHeader = reader.header
        self.events: list[Event] = []
        self.outputs: list[Output] = []
        self.engine: TradingEngine = engine_from_header(self.header)
        for events, outputs in reader.steps():
            self.events += events
            self.outputs += outputs
            for event in events:
                self.engine.handle(event)

    @cached_property
    def symbols(self) -> list[str]:
        return [one.symbol for one in self.header.instruments]

    def truth_fills(self) -> list[tuple[Any, ...]]:
        """Each execution as the exchange booked it; Deribit's messages name milliseconds, TWS's seconds."""
        unit = {"deribit": 1_000_000, "ibkr": 1_000_000_000}.get(self.wanted.venue, 1)
        return [
            (
                one["execution_id"], one["client_order_id"], one["symbol"], one["side"], Decimal(one["qty"]),
                Decimal(one["price"]), Decimal(one["fee"]), one["ts_ns"] // unit * unit,
            )
            for one in sorted(self.truth["fills"], key=lambda one: (one["ts_ns"], one["client_order_id"]))
        ]  # fmt: skip

    def desk_fills(self) -> list[tuple[Any, ...]]:
        """Each execution as the desk's journal has it, with what its own order says of it."""
        orders = {one.client_order_id: one for one in orders_of(self.outputs)}
        found = []
        for event in self.events:
            if isinstance(event, OrderFilled):
                order, name = orders[event.client_order_id], event.execution_id
                if self.wanted.venue == "ibkr":  # its last part counts corrections
                    name = name.rpartition(".")[0]
                found.append(
                    (
                        name, event.client_order_id, self.symbols[order.instrument_id],
                        order.side.value, event.quantity, event.price, event.fee, event.ts_event_ns,
                    )
                )  # fmt: skip
        return sorted(found, key=lambda one: (one[-1], one[1]))

    def arrivals(self) -> dict[str, int]:
        """When the exchange took each order, UTC nanoseconds."""
        return {one["client_order_id"]: _instant_ns(one["submitted_at"]) for one in self.truth["orders"]}

    def truth_positions(self) -> dict[str, Decimal]:
        return {one["symbol"]: Decimal(one["qty"]) for one in self.truth["positions"] if Decimal(one["qty"])}

    def desk_positions(self) -> dict[str, Decimal]:
        return {self.symbols[one.instrument_id]: one.quantity for one in self.engine.desk.positions.held()}

    def desk_cash(self) -> Decimal:
        return self.engine.desk.account.cash

    def truth_cash(self) -> Decimal:
        return Decimal(self.truth["accounts"][0]["cash"])

    def truth_orders(self) -> dict[str, str]:
        return {one["client_order_id"]: one["status"] for one in self.truth["orders"]}


_Desk = Command | subprocess.Popen[bytes]


class ExchangeProcess:
    """``scalpdesk exchange`` on the embedded market, standing still until told otherwise."""

    def __init__(self, wanted: Wanted) -> None:
        words = ["--data", wanted.data, "--underlying", ",".join(wanted.underlyings)]
        words += ["--tws-port", "0"] if wanted.venue == "ibkr" else []
        if wanted.sessions > 1:
            words += ["--end", (wanted.day + timedelta(days=wanted.sessions - 1)).isoformat()]
        words += ["--session", wanted.day.isoformat(), "--seed", str(wanted.seed), "--speed", "0"]
        words += ["--rate-limit", "0", "--lockstep-ms", str(wanted.lockstep_ms), "--cash", str(wanted.cash)]
        places = {} if wanted.catalog is None else {"SCALPDESK_CATALOG": str(wanted.catalog)}
        self.running = ExchangeCommand(words, environ=os.environ | places)
        ready = self.running.ready
        self.url: str = ready["urls"]["admin"].removesuffix("/admin")
        """Address of the admin, and at Alpaca's and Deribit's exchange that of the venue."""
        self.venue_url = ready["urls"]["tws"] or self.url
        self._venue = wanted.venue
        self.key, self.secret = ready["keys"]["tws" if wanted.venue == "ibkr" else wanted.venue]

    def get(self, name: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/admin/{name}", timeout=120) as reply:
            return json.load(reply)

    def post(self, name: str, **body: Any) -> Any:
        request = urllib.request.Request(f"{self.url}/admin/{name}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def statement(self) -> bytes:
        """Return the account's statement: a Flex query, or pages of activities or of the log."""
        if self._venue == "ibkr":
            return str(self.post("tws/flex")["xml"]).encode()
        pages: list[bytes] = []
        while (page := self._page(pages)) is not None:
            pages.append(page)
        return b"\n".join(pages)

    def _page(self, before: list[bytes]) -> bytes | None:
        """Return the page after others; None after the last."""
        last = json.loads(before[-1]) if before else None
        if self._venue == "alpaca":
            if last == []:
                return None
            token = f"&page_token={last[-1]['id']}" if last else ""
            path = f"/v2/account/activities?direction=asc&page_size=100{token}"
            return self._ask(path, {"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret})
        more = 0 if last is None else last["result"]["continuation"]
        if more is None:
            return None
        path = f"/api/v2/private/get_transaction_log?currency=BTC&count=250&continuation={more}"
        named = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        return self._ask(path, {"Authorization": f"Basic {named}"})

    def _ask(self, path: str, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as reply:
            return bytes(reply.read())

    def close(self) -> None:
        self.running.close()


def play(folder: Path, wanted: Wanted, *, patience_seconds: float = 600.0) -> Played:
    """Trade a session; return when both sides are still."""
    exchange = ExchangeProcess(wanted)
    desk: _Desk | None = None
    try:
        desk = _start_desk(exchange, folder, wanted)
        give_up = time.monotonic() + 300.0
        _until(lambda: _is_following(exchange, folder, wanted.streams), desk, folder, give_up)
        began = time.monotonic()
        exchange.post("speed", speed=wanted.speed)
        give_up = began + patience_seconds
        if wanted.minutes is None:
            _until(lambda: False, desk, folder, give_up, ends=True)
        else:
            until_ns = wanted.open_ns + int(wanted.minutes * 60e9)
            _until(lambda: exchange.get("clock")["now_ns"] >= until_ns, desk, folder, give_up)
            exchange.post("speed", speed=0)
            _until(lambda: _is_still(exchange, folder, wanted), desk, folder, give_up)
            desk.send_signal(signal.SIGTERM)
            _until(lambda: False, desk, folder, give_up, ends=True)
        seconds = time.monotonic() - began
        truth, statement = exchange.get("state"), exchange.statement()
        if wanted.busts_last:
            exchange.post("bust", execution_id=max(truth["fills"], key=itemgetter("ts_ns"))["execution_id"])
        after_bust = exchange.statement() if wanted.busts_last else b""
    finally:
        exchange.close()
        if desk is not None and desk.poll() is None:
            desk.kill()
            desk.wait()
    summary = json.loads((folder / "desk.json").read_text())
    run_dir = next((folder / "runs").glob(f"*-{wanted.strategy}-*"))
    return Played(wanted, truth, summary, run_dir, seconds, statement, after_bust)


def _start_desk(exchange: ExchangeProcess, folder: Path, wanted: Wanted) -> _Desk:
    words = ["run", wanted.strategy, "--venue", wanted.venue]
    words += ["--url", exchange.venue_url, "--exchange-time", "--sessions", str(wanted.sessions)]
    on_stop = "hold" if wanted.venue == "deribit" else "leave"  # Deribit cancels what a desk leaves
    words += ["--on-stop", on_stop, "--no-watchdog", "--json"]
    if wanted.venue == "alpaca":
        words += ["--contracts", str(wanted.contracts)]
    if wanted.config is not None:
        words += ["--config", str(wanted.config)]
    for override in (*wanted.overrides, f"desk.runs_dir={folder / 'runs'}"):
        words += ["--set", override]
    environ = os.environ | {
        "TRADING_API_KEY": exchange.key,
        "TRADING_API_SECRET": exchange.secret,
        "XDG_STATE_HOME": str(folder / "state"),
    }
    with (folder / "desk.json").open("wb") as told, (folder / "desk.log").open("wb") as log:
        if wanted.as_users_start_it:
            command = [sys.executable, "-m", "scalpdesk.cli.main", *words]
            return subprocess.Popen(command, stdout=told, stderr=log, env=environ, cwd=folder)
        return Command(words, stdout=told.fileno(), stderr=log.fileno(), environ=environ, folder=folder)


def _until(condition: Any, desk: _Desk, folder: Path, give_up: float, *, ends: bool = False) -> None:
    """Wait for a condition, or for the desk's end."""
    while not condition():
        if desk.poll() is not None:
            if ends and desk.returncode == 0:
                return
            raise AssertionError(
                f"the desk ended with {desk.returncode}: {(folder / 'desk.log').read_text()}"
            )
        if time.monotonic() > give_up:
            raise AssertionError(f"the desk did not get there in time: {(folder / 'desk.log').read_text()}")
        time.sleep(_POLL_SECONDS)


def _instant_ns(text: str) -> int:
    """Return UTC nanoseconds of ``2018-02-05T14:35:05.738000000Z``."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


def status_of(folder: Path) -> dict[str, Any] | None:
    """Return what the desk that runs below a folder says of itself."""
    runs = folder / "runs"
    desks = running_desks(runs) if runs.exists() else []
    return ask(desks[0], {"do": "status"}, timeout_seconds=120.0) if desks else None


def _is_following(exchange: ExchangeProcess, folder: Path, streams: int) -> bool:
    """Whether the desk has opened its session and its streams stand at the exchange."""
    if exchange.get("streams")["ready"] < streams:
        return False
    found = status_of(folder)
    return found is not None and found["session"] is not None


def _is_still(exchange: ExchangeProcess, folder: Path, wanted: Wanted) -> bool:
    """Whether no order works on either side, and at Deribit the desk has booked all funding."""
    found = status_of(folder)
    if wanted.venue == "deribit" and found is not None:
        owed = Decimal(exchange.get("accounts")[0]["cash"]) - Decimal(found["cash"])
        if abs(owed) >= Decimal("1e-8"):
            return False
    ended = {"filled", "canceled", "expired", "rejected", "replaced"}
    return found is not None and not found["orders"] and all(
        one["status"] in ended for one in exchange.get("orders")
    )  # fmt: skip


# the same market in one process -----------------------------------------------------------------------


def received_market(played: Played) -> tuple[MarketTape, dict[str, int]]:
    """Return the quotes that the desk received as a market, and when it learned the end of each command.

    No tick of TWS carries a time, and the desk's own is the second that TWS states.
    """
    header = played.header
    quotes: list[QuoteEvent] = []
    ends: dict[str, int] = {}
    interest: dict[str, int] = {}
    for event in played.events:
        if isinstance(event, QuoteEvent):
            quotes.append(event)
        elif isinstance(event, OrderFilled | OrderCancelled):
            ends.setdefault(event.client_order_id, event.ts_recv_ns)
        elif isinstance(event, OpenInterestEvent):
            interest[played.symbols[event.instrument_id]] = event.open_interest_contracts
        elif isinstance(event, RateEvent):
            rates = RateCurve(event.days, event.rates)
    ends |= {
        combo.client_order_id: ends[combo.legs[0].client_order_id] for combo in combos_of(played.outputs)
    }
    columns = ([getattr(one, name) for one in quotes] for name in ("bid", "ask", "bid_size", "ask_size"))
    market = MarketTape(
        name=header.data["name"],
        kind="recorded",
        underlying=header.data["underlying"],
        sessions=(session_on(played.wanted.day),),
        instruments=Instruments(header.instruments),
        quotes=QuoteColumns(
            np.array([one.ts_recv_ns for one in quotes], np.int64),
            np.array([one.instrument_id for one in quotes], np.int32),
            *(np.array(column) for column in columns),
        ),
        open_interest=interest,
        rate_curve=rates,
        hedge=header.data["hedge"],
    )
    return market, ends


def known_market(played: Played) -> MarketTape:
    """Return the exchange's market, cut to the instruments and the time that the desk saw."""
    wanted, header = played.wanted, played.header
    whole = wanted.market()
    book = Instruments(header.instruments)
    renumbered = np.full(len(whole.instruments), -1, dtype=np.int32)
    for number, instrument in enumerate(whole.instruments):
        if instrument.symbol in book:
            renumbered[number] = book.id_of(instrument.symbol)
    columns = whole.quotes.whole()
    last_ns = max(one.ts_event_ns for one in played.events if isinstance(one, QuoteEvent))
    quotes = columns.take((renumbered[columns.instrument_id] >= 0) & (columns.ts_ns <= last_ns))
    quotes = replace(quotes, instrument_id=renumbered[quotes.instrument_id])
    rate = next(one for one in played.events if isinstance(one, RateEvent))
    interest = {
        played.symbols[one.instrument_id]: one.open_interest_contracts
        for one in played.events
        if isinstance(one, OpenInterestEvent)
    }
    return replace(
        whole,
        instruments=book,
        quotes=quotes,
        bars=None,
        open_interest=interest,
        rate_curve=RateCurve(rate.days, rate.rates),
    )


class _AsLate(BrokerConnection):
    """Takes each order when the exchange over sockets took it: after the quotes of that instant."""

    arrivals: Mapping[str, int]

    def send(self, command: VenueCommand, now_ns: int) -> None:
        taken_ns = self.arrivals.get(command.client_order_id)
        at_ns = now_ns if taken_ns is None else max(now_ns, taken_ns + 1)
        self._post(at_ns, command)
        self.due_ns = min(self.due_ns, at_ns)


def backtest(
    played: Played,
    tape: MarketTape,
    *,
    arrivals: Mapping[str, int] | None = None,
    known_at_open: tuple[Event, ...] = (),
) -> KeptRun:
    """Run the desk's own configuration, named orders and all, over the same quotes without a wire.

    Orders arrive at once, or at their instant of ``arrivals`` (UTC nanoseconds). ``known_at_open`` are events
    that the desk had before the session.
    """
    engine = engine_from_header(played.header)
    in_coin = played.wanted.venue == "deribit"
    fees: Any = {"deribit": DERIBIT_FEES, "ibkr": IBKR_FEES}.get(played.wanted.venue, ALPACA_FEES)
    engine.desk.account.cash = played.wanted.cash
    plain = connect(
        tape.instruments,
        cash=played.wanted.cash,
        hours=TapeHours(tape.sessions),
        fees=fees,
        currency="BTC" if in_coin else "USD",
        is_open=False,
    )
    broker = _AsLate(plain.broker, plain.account)
    broker.arrivals = arrivals or {}
    kept = KeptRun(engine)
    BacktestRunner(
        tape,
        engine,
        broker,
        kept,
        known_at_open=known_at_open,
    ).run()
    return kept


@dataclass(frozen=True, slots=True)
class Row:
    """One decision with the orders it led to; equal when all of it is."""

    ts_us: int
    kind: str
    taken: bool
    orders: tuple[tuple[str, str, Decimal, str, Decimal | None], ...]

    @property
    def what(self) -> tuple[Any, ...]:
        """All but the time."""
        return self.kind, self.taken, self.orders


def rows(outputs: Iterable[Output], symbols: list[str], until_ns: int) -> list[Row]:
    """Return the decisions up to a time."""
    said = list(outputs)
    orders = {
        one.client_order_id: (
            symbols[one.instrument_id], one.side.value, one.quantity, str(one.order_type), one.limit_price
        )
        for one in orders_of(said)
    }  # fmt: skip
    return [
        Row(
            one.ts_ns // 1_000,
            one.kind,
            one.taken,
            tuple(orders[name] for name in one.client_order_ids if name in orders),
        )
        for one in said
        if isinstance(one, Decision) and one.ts_ns <= until_ns
    ]


def differing(ours: list[Row], theirs: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return what only the first and what only the second list holds."""
    return list((Counter(ours) - Counter(theirs)).elements()), list(
        (Counter(theirs) - Counter(ours)).elements()
    )


ENDED = {"filled", "canceled", "expired", "rejected"}


def ledger_differences(played: Played) -> list[str]:
    """Return where the desk's books are not the exchange's truth, in words."""
    found = []
    orders = played.engine.desk.orders.orders
    legs = {name for name, order in orders.items() if order.parent_id}
    # legs of a combo and their executions go by names of the venue's own, and of the gateway's
    ours = [fill if fill[1] not in legs else fill[2:] for fill in played.desk_fills()]
    theirs = [fill if fill[1] in orders else fill[2:] for fill in played.truth_fills()]
    found += [f"only the desk has {fill}" for fill in ours if fill not in theirs]
    found += [f"only the exchange has {fill}" for fill in theirs if fill not in ours]
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} fills at the desk, {len(theirs)} at the exchange")
    if played.desk_positions() != played.truth_positions():
        found.append(f"holds {played.desk_positions()}, exchange {played.truth_positions()}")
    if played.desk_cash() != played.truth_cash():
        found.append(f"cash {played.desk_cash()}, exchange {played.truth_cash()}")
    states = played.truth_orders()
    names = {order.parent_id or name for name, order in orders.items()}
    if names != names & set(states) or len(states) != len(names) + len(legs):
        found.append(f"orders of one side only: {names ^ set(states)}")
    found += [
        f"{name} is {order.state} here, {states.get(order.parent_id or name)} there"
        for name, order in orders.items()
        if order.is_live or states.get(order.parent_id or name) not in ENDED
    ]
    return found
