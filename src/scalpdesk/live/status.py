"""``status`` and ``why`` of a running desk in JSON types, and the control socket that serves them.

The socket is an owner-only Unix socket, one JSON object on one line each way. A request carries the token
that lies beside the socket: processes of the desk's user that are kept from its files, as that of a strategy
folder, have no part in it.
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from hmac import compare_digest
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.core.intents import Decision
from scalpdesk.core.owner_only import read_secret, write_secret
from scalpdesk.core.units import run_currency
from scalpdesk.engine.desk import by_strategy, by_underlying
from scalpdesk.engine.exposure import exposure
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.live.account_mode import state_text
from scalpdesk.live.runner import LiveRunner
from scalpdesk.live.supervision import describe
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import phase_of

_NEWEST = 5


def status(header: JournalHeader, runner: LiveRunner) -> dict[str, Any]:
    """Return the state of the desk."""
    core = runner.core
    engine, desk = core.engine, core.engine.desk
    instruments = desk.instruments
    session = desk.view.session
    reconciler, state = runner.reconciler, runner.state
    health = runner.gateway.health()
    distance, spot = desk.margin_distance(), desk.market.mark(desk.view.underlying)
    nav = desk.attribution.current_nav()  # as on the page: that of the last mark may be a minute old
    return {
        "run_id": header.run_id,
        "strategy": header.strategy,
        "venue": header.venue,
        "trading": header.mode,
        "account": header.data.get("account_id", ""),
        "config_hash": header.config_hash,
        "mode": desk.gate.kept_mode.value,
        "mode_text": state_text(desk.gate.desk_mode.state),
        "run": runner.phase,
        "waiting": [command.text() for command in core.modes.waiting] if core.modes is not None else [],
        "halted": [instruments[number].symbol for number in sorted(desk.gate.halted)],
        "phase": phase_of(engine.strategy),
        "now": from_ns(engine.now_ns).isoformat(),
        "session": None if session is None else session.day.isoformat(),
        "currency": run_currency(header.config),
        "nav": str(nav),
        "cash": str(desk.cash()),
        "session_pnl": str(desk.session_pnl()),
        "margin": None
        if distance is None or spot is None
        else distance.row() | {"text": distance.text(spot)},
        "positions": {
            instruments[position.instrument_id].symbol: {
                "quantity": str(position.quantity),
                "average": str(position.average_price),
            }
            for position in desk.positions.held()
        },
        "orders": [
            _order(order, instruments[order.submitted.instrument_id].symbol)
            for order in desk.orders.live.values()
        ],
        "strategies": by_strategy(desk),
        "underlyings": by_underlying(desk),
        "exposure": exposure(desk, engine.now_ns),
        "events": core.events,
        "decisions": [_decision(number, decision) for number, decision in list(core.decisions)[-_NEWEST:]],
        "reconciled": None if not reconciler.last_ns else from_ns(reconciler.last_ns).isoformat(),
        "doubts": runner.doubt_rows(),
        "unsellable": runner.unsellable(),
        "differences": [str(difference) for difference in reconciler.unexplained],
        "adopted": reconciler.adopted[-_NEWEST:],
        "quarantine": [unmatched.why for unmatched in desk.orders.unmatched[-_NEWEST:]],
        "connection": msgspec.to_builtins(health),
        "counters": dict(state.counters | core.counters),
        "notices": [
            f"{notice.kind} {notice.stream} {notice.name} {notice.detail}".rstrip()
            for notice in list(state.notices)[-_NEWEST:]
        ],
        "told": [
            {
                "time": from_ns(notice.ts_recv_ns).isoformat(),
                "stream": notice.stream,
                "words": notice.detail,
                "times": times,
                "severe": notice.is_severe,
            }
            for notice, times in state.told.latest(_NEWEST)
        ],
        "recovered_seconds": state.recovered_seconds,
    }


def why(runner: LiveRunner, what: str | None) -> dict[str, Any]:
    """Return the decision with this number or of this order, the latest for None.

    The answer has ``error`` when no desk answers.
    """
    core = runner.core
    orders, instruments = core.engine.desk.orders.orders, core.engine.desk.instruments

    def shown_order(name: str) -> dict[str, Any]:
        return _order(orders[name], instruments[orders[name].submitted.instrument_id].symbol)

    return find_why(list(core.decisions), orders, what, shown_order)


def find_why(
    known: Sequence[tuple[int, Decision]],
    orders: Collection[str],
    what: str | None,
    shown_order: Callable[[str], dict[str, Any]],
) -> dict[str, Any]:
    """Return the decision that is meant, with its order where an order was named; ``error`` without one.

    ``known``: Decisions with their numbers, in order.
    ``orders``: Ids of the orders, in order.
    ``what``: Number of a decision, or an order's id or the end of it; None for the latest decision.
    ``shown_order``: Returns an order in JSON types.
    """
    if not known:
        return {"error": "nothing has been decided yet"}
    if what is None:
        return _decision(*known[-1])
    if what.isdigit() and not what.startswith("0"):  # the tail of an order's id begins with zeros
        for number, decision in known:
            if number == int(what):
                return _decision(number, decision)
        return {"error": f"decision {what} is not among the latest {len(known)}", "nearest": known[-1][0]}
    fitting = [name for name in orders if name == what] or [name for name in orders if name.endswith(what)]
    if len(fitting) != 1:
        return {"error": f"no order, or more than one, goes by {what}", "orders": list(orders)[-_NEWEST:]}
    answer: dict[str, Any] = {"order": shown_order(fitting[0])}
    for number, decision in reversed(known):
        if fitting[0] in decision.client_order_ids:
            return answer | {"decision": _decision(number, decision)}
    return answer


def _decision(number: int, decision: Decision) -> dict[str, Any]:
    return {
        "number": number,
        "time": from_ns(decision.ts_ns).isoformat(),
        "kind": decision.kind,
        "taken": decision.taken,
        "reasons": list(decision.reasons),
        "facts": decision.facts,
        "orders": list(decision.client_order_ids),
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
        "trigger": None if command.trigger_price is None else str(command.trigger_price),
        "state": order.state.value,
        "purpose": command.purpose.value,
        "reason": order.reason,
        "created": from_ns(order.created_ns).isoformat(),
    }


SOCKET_NAME = "control.sock"
TOKEN_NAME = "control.token"  # noqa: S105 - the name of its file
MOST_BYTES = 64 * 1024
_ANSWER_BYTES = 16 * 1024 * 1024
CHECK_SECONDS = 1.0
"""Between two checks that the socket is still there."""
_Answerer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def is_owner(line: socket.socket) -> bool:
    """Return whether the other side is this user or root; beyond Linux the socket's mode must do."""
    if sys.platform != "linux":
        return True
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little") in (os.getuid(), 0)


class ControlServer:
    """Control socket: answers requests of the process's own user alone, with the token of this start.

    ``run_dir``: Folder of the run; the socket and the token lie in it with mode 0600.
    ``on_failure``: Called with what an answer raised; the request is answered with it, too.
    """

    def __init__(
        self,
        run_dir: Path,
        answer: _Answerer,
        on_failure: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self.path = run_dir / SOCKET_NAME
        self._token = ""
        self._answer = answer
        self._on_failure = on_failure
        self._server: asyncio.Server | None = None
        self._folder = -1

    async def start(self) -> None:
        """Listen. Raises StopError when the socket cannot be made."""
        try:
            self.path.unlink(missing_ok=True)
            self._token = write_secret(self.path.with_name(TOKEN_NAME))
            self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o177)  # the socket is born owner-only: no moment in which others may connect
            try:
                listener.bind(short_path(self._folder, self.path))
            except OSError:
                listener.close()
                raise
            finally:
                os.umask(mask)
        except OSError as error:
            self.close()
            raise StopError(f"the control socket cannot be made: {error}", where=str(self.path)) from error
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MOST_BYTES)

    async def serve(self) -> None:
        """Listen until cancelled.

        Raises StopError when the socket cannot be made, or has disappeared; a second call makes it again.
        """
        if self._server is None:
            await self.start()
        try:
            while self._server is not None and self._server.is_serving() and self._is_there():  # noqa: ASYNC110 - a file
                await asyncio.sleep(CHECK_SECONDS)
            raise StopError("the control socket has disappeared", where=str(self.path))
        finally:
            self.close()

    def _is_there(self) -> bool:
        return self.path.exists() and read_secret(self.path.with_name(TOKEN_NAME)) == self._token

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not is_owner(writer.get_extra_info("socket")):
                return
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answered(line), enc_hook=str) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line longer than the limit
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            return {"error": "a request is one JSON object on one line"}
        if not compare_digest(str(request.pop("token", "")).encode(), self._token.encode()):
            return {
                "error": "the request lacks the token of this desk",
                "fix": f"send with it what {TOKEN_NAME} holds, in the folder of the run",
            }
        try:
            return await self._answer(request)
        except Exception as error:  # noqa: BLE001 - a request that fails is answered, the server goes on
            self._on_failure(error)
            return {"error": f"the request failed: {describe(error)}"}

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.path.unlink(missing_ok=True)
        self.path.with_name(TOKEN_NAME).unlink(missing_ok=True)
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
    deadline = time.monotonic() + timeout_seconds
    try:
        with _connected(run_dir, timeout_seconds) as line:
            token = read_secret(run_dir / TOKEN_NAME)
            line.sendall(msgspec.json.encode(request | {"token": token}) + b"\n")
            answer = read_line(line.recv, lambda: time.monotonic() >= deadline)
            return msgspec.json.decode(answer, type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise RetryError(
            "the desk does not answer",
            where=str(run_dir),
            value=str(error),
            fix="scalpdesk status lists the desks that run; the watchdog cancels orders of one that hangs",
        ) from error


def read_line(receive: Callable[[int], bytes], is_late: Callable[[], bool]) -> bytes:
    """Return what comes up to the end of a line, the end of the connection, a length or a time."""
    received = bytearray()
    while not received.endswith(b"\n") and not is_late():
        part = receive(65_536)
        if not part or len(received) > _ANSWER_BYTES:
            break
        received += part
    return bytes(received)


def running_desks(runs_dir: Path) -> list[Path]:
    """Return the run folders in which a desk listens, newest last; a dead desk's socket does not count."""
    found = []
    for path in sorted(runs_dir.glob(f"*/{SOCKET_NAME}")):
        with suppress(OSError), _connected(path.parent, 1.0):
            found.append(path.parent)
    return found


@contextmanager
def _connected(run_dir: Path, timeout_seconds: float) -> Iterator[socket.socket]:
    folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_seconds)
            line.connect(short_path(folder, run_dir / SOCKET_NAME))
            yield line
    finally:
        os.close(folder)


def short_path(folder: int, path: Path) -> str:
    """Return a path of the socket that fits into the 108 bytes which the system allows."""
    if len(os.fsencode(path)) < 100:
        return str(path)
    return f"/proc/self/fd/{folder}/{path.name}"
