"""What a running desk says of itself: ``status`` and ``why``, in JSON types.

Operate a running desk from another terminal: an owner-only Unix socket, one JSON line each way.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.core.intents import Decision
from scalpdesk.engine.desk import by_strategy
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.live.runner import LiveRunner
from scalpdesk.orders.order import Order

NEWEST = 5


def status(header: JournalHeader, runner: LiveRunner) -> dict[str, Any]:
    """Return the state of the desk."""
    core = runner.core
    engine, desk = core.engine, core.engine.desk
    book = desk.instruments
    session = desk.view.session
    reconciler, state = runner.reconciler, runner.state
    health = runner.gateway.health()
    return {
        "run_id": header.run_id,
        "strategy": header.strategy,
        "venue": header.venue,
        "trading": header.mode,
        "account": header.data.get("account_id", ""),
        "config_hash": header.config_hash,
        "mode": desk.gate.mode,
        "phase": str(getattr(engine.strategy, "phase", "")),
        "now": from_ns(engine.now_ns).isoformat(),
        "session": None if session is None else session.day.isoformat(),
        "nav": str(desk.attribution.nav),
        "cash": str(desk.account.cash),
        "session_pnl": str(desk.attribution.nav - desk.session_equity),
        "positions": {
            book[one.instrument_id].symbol: {"quantity": str(one.quantity), "average": str(one.average_price)}
            for one in desk.positions.held()
        },
        "orders": [
            _order(order, book[order.submitted.instrument_id].symbol) for order in desk.orders.live.values()
        ],
        "strategies": by_strategy(desk),
        "events": core.events,
        "decisions": [_decision(number, one) for number, one in list(core.decisions)[-NEWEST:]],
        "reconciled": None if not reconciler.last_ns else from_ns(reconciler.last_ns).isoformat(),
        "differences": [str(one) for one in reconciler.unexplained],
        "adopted": reconciler.adopted[-NEWEST:],
        "quarantine": [one.why for one in core.quarantine[-NEWEST:]],
        "connection": msgspec.to_builtins(health),
        "counters": dict(state.counters | core.counters),
        "notices": [f"{one.kind} {one.stream} {one.name} {one.detail}".rstrip() for one in state.notices][
            -NEWEST:
        ],
        "recovered_seconds": state.recovered_seconds,
    }


def why(runner: LiveRunner, what: str | None) -> dict[str, Any]:
    """Return the decision that ``what`` names (its number or an order's id), the latest for None.

    The answer has ``error`` when there is none.
    """
    core = runner.core
    known = list(core.decisions)
    if not known:
        return {"error": "nothing has been decided yet"}
    if what is None:
        return _decision(*known[-1])
    if what.isdigit() and not what.startswith("0"):  # the tail of an order's id begins with zeros
        for number, one in known:
            if number == int(what):
                return _decision(number, one)
        return {"error": f"decision {what} is not among the latest {len(known)}", "nearest": known[-1][0]}
    orders = core.engine.desk.orders.orders
    fitting = [name for name in orders if name == what] or [name for name in orders if name.endswith(what)]
    if len(fitting) != 1:
        return {"error": f"no order, or more than one, goes by {what}", "orders": list(orders)[-NEWEST:]}
    order = orders[fitting[0]]
    symbol = core.engine.desk.instruments[order.submitted.instrument_id].symbol
    answer: dict[str, Any] = {"order": _order(order, symbol)}
    for number, one in reversed(known):
        if fitting[0] in one.client_order_ids:
            return answer | {"decision": _decision(number, one)}
    return answer


def _decision(number: int, one: Decision) -> dict[str, Any]:
    return {
        "number": number,
        "time": from_ns(one.ts_ns).isoformat(),
        "kind": one.kind,
        "taken": one.taken,
        "reasons": list(one.reasons),
        "facts": one.facts,
        "orders": list(one.client_order_ids),
    }


def _order(order: Order, symbol: str) -> dict[str, Any]:
    command = order.submitted
    return {
        "id": command.client_order_id,
        "venue_id": order.venue_order_id,
        "symbol": symbol,
        "side": command.side.value,
        "quantity": str(command.quantity),
        "filled": str(order.filled),
        "average": str(order.average_price),
        "limit": None if command.limit_price is None else str(command.limit_price),
        "state": order.state.value,
        "purpose": command.purpose.value,
        "reason": order.reason,
        "created": from_ns(order.created_ns).isoformat(),
    }


SOCKET_NAME = "control.sock"
MOST_BYTES = 64 * 1024
ANSWER_BYTES = 16 * 1024 * 1024
Answerer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlServer:
    """Answers the owner of the process, and nobody else.

    Parameters
    ----------
    run_dir
        Folder of the run; the socket lies in it with mode 0600.
    answer
        Turns a request into an answer.
    """

    def __init__(self, run_dir: Path, answer: Answerer) -> None:
        self.path = run_dir / SOCKET_NAME
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._folder = -1

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        StopError
            When the socket cannot be made.
        """
        try:
            self.path.unlink(missing_ok=True)
            self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o177)  # the socket is born owner-only: no moment in which others may connect
            try:
                listener.bind(_short(self._folder, self.path))
            finally:
                os.umask(mask)
        except OSError as error:
            raise StopError(f"the control socket cannot be made: {error}", where=str(self.path)) from error
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MOST_BYTES)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not _is_owner(writer.get_extra_info("socket")):
                return
            while True:
                line = await reader.readline()
                if not line:
                    return
                try:
                    request = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.MsgspecError:
                    answer: dict[str, Any] = {"error": "a request is one JSON object on one line"}
                else:
                    answer = await self._answer(request)
                writer.write(msgspec.json.encode(answer, enc_hook=str) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line longer than the limit
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.path.unlink(missing_ok=True)
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1


def ask(run_dir: Path, request: dict[str, Any], *, timeout_seconds: float = 10.0) -> dict[str, Any]:
    """Ask the desk that runs in ``run_dir``; synchronous, for the command line.

    Raises
    ------
    RetryError
        When no desk listens there, or it does not answer in time.
    """
    folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + timeout_seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_seconds)
            line.connect(_short(folder, run_dir / SOCKET_NAME))
            line.sendall(msgspec.json.encode(request) + b"\n")
            received = bytearray()
            while not received.endswith(b"\n") and time.monotonic() < deadline:
                part = line.recv(65_536)
                if not part or len(received) > ANSWER_BYTES:
                    break
                received += part
            return msgspec.json.decode(bytes(received), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise RetryError(
            "the desk does not answer",
            where=str(run_dir),
            value=str(error),
            fix="scalpdesk status lists the desks that run; the watchdog cancels orders of one that hangs",
        ) from error
    finally:
        os.close(folder)


def running_desks(runs_dir: Path) -> list[Path]:
    """Return the run folders in which a desk listens, newest last; a dead desk's socket is passed over."""
    found = []
    for path in sorted(runs_dir.glob(f"*/{SOCKET_NAME}")):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(1.0)
                line.connect(_short(folder, path))
            found.append(path.parent)
        except OSError:
            continue
        finally:
            os.close(folder)
    return found


def _short(folder: int, path: Path) -> str:
    """Return a path of the socket that fits into the 108 bytes which the system allows."""
    if len(os.fsencode(path)) < 100:
        return str(path)
    return f"/proc/self/fd/{folder}/{path.name}"


def _is_owner(line: Any) -> bool:
    """Return whether the other side is this user; where the system cannot say, the mode must do."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    credentials = line.getsockopt(socket.SOL_SOCKET, option, 12)
    uid = int.from_bytes(credentials[4:8], "little")
    return uid in (os.getuid(), 0)
