"""The desk's own status, and the control socket at its edges: whose request, how long an answer."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.core.events import AccountLimits, OrderAccepted, UnmatchedOrderEvent
from scalpdesk.core.intents import Decision, OrderIntent, OrderType, Purpose, Side
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.live import status
from scalpdesk.live.differences import Difference
from scalpdesk.live.status import SOCKET_NAME, TOKEN_NAME, ControlServer, ask, is_owner, running_desks
from scalpdesk.venues.contract import Health, Notice, NoticeKind
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.live import BenchGateway, runner_around, until

D = Decimal


async def echo(request):
    return request


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.rows(
    ("platform", "owner", "is_permitted"),
    [("linux", 0, True), ("linux", 1, True), ("linux", 2, False), ("darwin", 2, True)],
)
def test_requests_are_taken_from_the_process_own_user_and_from_root(
    platform, owner, is_permitted, monkeypatch
):
    user, asked = os.getuid(), []
    monkeypatch.setattr(status.sys, "platform", platform)

    class Connection:
        def getsockopt(self, *how):
            asked.append(how)
            return b"\x07\x00\x00\x00" + (0, user, user + 1)[owner].to_bytes(4, "little") + b"\x00" * 4

    assert is_owner(Connection()) is is_permitted
    wanted = (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert asked == ([wanted] if platform == "linux" else [])


@pytest.mark.parametrize(("length", "is_short"), [(99, True), (100, False)])
def test_a_path_too_long_for_a_socket_goes_by_its_folder(length, is_short):
    path = Path("/" + "x" * (length - 14) + "/" + SOCKET_NAME)
    assert len(str(path)) == length
    assert status.short_path(7, path) == (str(path) if is_short else "/proc/self/fd/7/control.sock")


@pytest.mark.rows(
    ("parts", "answer", "reads"),
    [
        ([b'{"a": 1}\n'], b'{"a": 1}\n', 1),
        ([b'{"a"', b": 1}", b"\n", b"never read"], b'{"a": 1}\n', 3),
        ([b'{"a": 1}', b""], b'{"a": 1}', 2),  # an answer without a new line counts, too
        ([b"", b""], b"", 1),
        ([b"x"] * 9, b"xxxx", 4),  # no end in time
    ],
)
def test_an_answer_is_read_to_its_line_its_end_or_its_time(parts, answer, reads):
    asked, now = [], iter(range(1, 99))
    left = list(parts)

    def receive(most):
        asked.append(most)
        return left.pop(0)

    assert status.read_line(receive, lambda: next(now) >= 5) == answer
    assert asked == [65_536] * reads


def test_an_answer_holds_sixteen_megabytes_and_the_part_that_was_read_last():
    part = b"x" * 65_536
    assert len(status.read_line(lambda _: part, lambda: False)) == 16 * 1024**2 + len(part)


@contextmanager
def listening(folder, answer=b""):
    """Listen where a desk does, and answer each connection; without an answer none is taken."""
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, contextlib.chdir(folder):
        listener.bind(SOCKET_NAME)
        listener.listen()

        def serve():
            line, _ = listener.accept()
            with line:
                line.recv(100)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        if answer:
            thread.start()
        yield
        if answer:
            thread.join()


def test_desks_that_listen_are_listed_newest_last(tmp_path):
    with listening(tmp_path / "b"):
        pass  # its process has ended
    with listening(tmp_path / "c"), listening(tmp_path / "a"):
        assert running_desks(tmp_path) == [tmp_path / "a", tmp_path / "c"]


@pytest.mark.parametrize("answer", [b"", b"[1]\n"])
def test_a_desk_that_does_not_answer_in_time_or_not_in_words_is_named(tmp_path, answer):
    run_dir = tmp_path / "run"
    before = open_files()
    with listening(run_dir, answer):
        with pytest.raises(RetryError) as refused:
            ask(run_dir, {"do": "x"}, timeout_seconds=60.0 if answer else 0.05)
        assert refused.value.where == str(run_dir)
    assert open_files() == before  # counted after the listener's end of the line is closed, too


def test_a_request_that_fails_is_answered_and_reported_and_the_server_goes_on(tmp_path):
    failures = []

    async def answer(request):
        if request:
            raise ValueError("no")
        return {"fine": True}

    async def talk(server):
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        token = (tmp_path / TOKEN_NAME).read_text()
        writer.write(f'{{"a":1,"token":"{token}"}}\n{{"token":"{token}"}}\n'.encode())
        lines = [await reader.readline() for _ in range(2)]
        writer.close()
        await reader.read()
        server.close()
        return lines

    before = open_files()
    for reported in (failures.append, None):
        server = ControlServer(tmp_path, answer, *([reported] if reported else []))
        failed, fine = asyncio.run(talk(server))
        assert failed.startswith(b'{"error":"the request failed: ValueError: no at ')
        assert fine == b'{"fine":true}\n'
        assert not (tmp_path / SOCKET_NAME).exists()
    assert [str(error) for error in failures] == ["no"]
    assert open_files() == before


def test_a_socket_that_disappears_ends_the_server_which_is_started_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "CHECK_SECONDS", 0.0)
    path = tmp_path / SOCKET_NAME

    async def lose(server):
        await server.start()
        for lost in (path, path.with_name(TOKEN_NAME)):
            serving = asyncio.ensure_future(server.serve())
            await until(path.exists)
            await asyncio.sleep(0)
            lost.unlink()
            with pytest.raises(StopError, match="the control socket has disappeared") as refused:
                await serving
            assert refused.value.where == str(path)

    before = open_files()
    asyncio.run(lose(ControlServer(tmp_path, echo)))
    assert open_files() == before


def test_a_socket_that_cannot_be_made_is_refused_and_leaves_no_mask_and_no_open_file(tmp_path):
    before, mask = open_files(), os.umask(0o022)
    try:
        for folder in (tmp_path / "nowhere", Path("/proc/self")):  # no socket lies among processes
            server = ControlServer(folder, echo)
            with pytest.raises(StopError) as refused:
                asyncio.run(server.start())
            server.close()
            assert refused.value.where == str(folder / SOCKET_NAME)
            assert os.umask(0o022) == 0o022
        assert open_files() == before
    finally:
        os.umask(mask)


def test_what_a_dead_desk_left_behind_is_replaced_and_a_stranger_gets_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "is_owner", lambda line: False)
    (tmp_path / SOCKET_NAME).touch()
    heard = []

    async def listen(request):
        heard.append(request)

    async def talk():
        server = ControlServer(tmp_path, listen)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        answer = b""
        with suppress(ConnectionError):  # where it was hung up on before its request was read
            writer.write(b"{}\n")
            answer = await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        server.close()
        return answer

    assert (asyncio.run(talk()), heard) == (b"", [])


def test_a_request_is_heard_with_the_token_of_this_start_alone(tmp_path):
    heard, token = [], tmp_path / TOKEN_NAME

    async def listen(request):
        heard.append(request)
        return {"fine": True}

    async def talk():
        server = ControlServer(tmp_path, listen)
        await server.start()
        before = token.read_text()
        server.close()
        assert not token.exists()
        await server.start()
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        now = token.read_text()
        found = []
        for given in (
            {},
            {"token": None},
            {"token": before},
            {"token": now[:-1]},
            {"token": "é"},
            {"token": now},
        ):
            writer.write(json.dumps({"do": "resume", **given}).encode() + b"\n")
            found.append(json.loads(await reader.readline()))
        writer.close()
        server.close()
        return found

    *refused, taken = asyncio.run(talk())
    assert all("error" in each for each in refused)
    assert (taken, heard) == ({"fine": True}, [{"do": "resume"}])  # the token goes no further


# what the desk shows of itself ----------------------------------------


def header(**data):
    """Return the header of a run."""
    return JournalHeader(SCHEMA, "r1", "scripted", "alpaca", "paper", {}, "c0de", "t", (), (), data, 1)


HEADER = header(account_id="A1")
HEALTH = Health({"orders": True}, {"orders": 0.5}, 2, ("t-000009",), 180, {"half_open": 1})


def decided(number, *orders, taken=True):
    return number, Decision(number * 10**9, DecisionKind.HEDGE, taken, ("why", "and"), {"n": number}, orders)


class HealthyGateway(BenchGateway):
    """A venue whose connections are as in :data:`HEALTH`."""

    def health(self):
        return HEALTH


def runner_of(desk, *, decisions=(), adopted=(), notices=(), last_ns=0):
    """Return a live runner around an engine driven by hand."""
    runner = runner_around(desk.engine)
    runner.gateway = HealthyGateway(desk.book, ManualClock())
    runner.core.events = 7
    runner.core.decisions.extend(decisions)
    runner.core.counters.update({"late": 2, "both": 3})
    runner.reconciler.last_ns, runner.reconciler.adopted = last_ns, list(adopted)
    runner.reconciler.unexplained = (Difference("cash", "1.00", "2.00"),)
    runner.state.counters.update({"stopped": 1, "both": 4})
    runner.state.notices.extend(notices)
    runner.state.recovered_seconds = 1.5
    return runner


def test_a_desk_that_has_not_begun_shows_what_it_is():
    desk = HandDesk(Scripted())
    assert status.status(HEADER, runner_of(desk)) == {
        "run_id": "r1",
        "strategy": "scripted",
        "venue": "alpaca",
        "trading": "paper",
        "account": "A1",
        "config_hash": "c0de",
        "mode": "ACTIVE",
        "mode_text": "",
        "run": "running",
        "waiting": [],
        "halted": [],
        "phase": "",
        "now": "1970-01-01T00:00:00+00:00",
        "session": None,
        "currency": "USD",
        "nav": "100000",
        "cash": "100000",
        "session_pnl": "0",
        "margin": None,
        "positions": {},
        "orders": [],
        "strategies": None,
        "underlyings": None,
        "exposure": None,
        "events": 7,
        "decisions": [],
        "reconciled": None,
        "doubts": [],
        "unsellable": [],
        "differences": ["cash: desk 1.00, venue 2.00"],
        "adopted": [],
        "quarantine": [],
        "connection": {
            "streams": {"orders": True},
            "silent_seconds": {"orders": 0.5},
            "in_flight": 2,
            "unknown": ("t-000009",),
            "requests_left": 180,
            "counters": {"half_open": 1},
        },
        "counters": {"stopped": 1, "both": 4, "late": 2},
        "notices": [],
        "told": [],
        "recovered_seconds": 1.5,
    }
    assert status.status(header(), runner_of(desk))["account"] == ""


def trading_desk():
    """A desk at 10:00 with ten shares, a call sold, and an order at work that bought three of its five."""
    desk = HandDesk(Scripted())
    for number, price in enumerate((500.0, 5.0, 5.0)):
        desk.quote(number, price - 0.01, price + 0.01)
    desk.adopt({0: (10, "490"), 1: (-1, "5.25")})
    desk.open()
    desk.go_to("10:00")
    intents = [
        OrderIntent(0, Side.BUY, D(5), Purpose.HEDGE, "", OrderType.LIMIT, D("499.5")),
        OrderIntent(1, Side.BUY, D(1), Purpose.CLOSE, ""),
    ]
    sent = [desk.engine.desk.orders.submit(intent, desk.now_ns) for intent in intents]
    desk.accept(sent[0])
    desk.fill(sent[0], 3, price=499.25)
    return desk, sent


FIRST_ORDER = {
    "id": "t-000001",
    "venue_id": "v",
    "symbol": "SPY",
    "side": "buy",
    "quantity": "5",
    "filled": "3",
    "average": "499.25",
    "limit": "499.5",
    "trigger": None,
    "state": "partially_filled",
    "purpose": "hedge",
    "reason": "",
    "created": "2024-03-04T15:00:00+00:00",
}


def test_the_result_is_at_the_market_of_now_as_on_the_page_not_at_that_of_the_last_mark():
    desk, _ = trading_desk()
    desk.timer("mark")
    marked = D(status.status(HEADER, runner_of(desk))["session_pnl"])
    desk.quote(0, 501.99, 502.01)
    desk.quote(1, 5.99, 6.01)
    shown = status.status(HEADER, runner_of(desk))
    assert D(shown["session_pnl"]) - marked == 13 * 2 - 100 * 1
    assert D(shown["nav"]) == desk.engine.desk.attribution.current_nav()


def test_a_trading_desk_shows_holdings_orders_result_and_what_happened_last():
    desk, _ = trading_desk()
    inner = desk.engine.desk
    inner.gate.halted.update({1: 5, 0: 4})
    for number in range(7):
        word = OrderAccepted(f"x{number}", 1, 1, "v")
        inner.orders.unmatched.append(UnmatchedOrderEvent(word, 1, 1, f"why {number}"))
    desk.timer("mark")
    notices = [Notice(NoticeKind.GAP, 1, "orders", f"n{number}", "") for number in range(6)]
    notices.append(Notice(NoticeKind.LIMITED, 1, "requests", "budget", "waited 2 s"))
    shown = status.status(
        HEADER,
        runner_of(
            desk,
            decisions=[decided(number) for number in range(1, 8)],
            adopted=[f"a{number}" for number in range(7)],
            notices=notices,
            last_ns=desk.now_ns,
        ),
    )
    assert shown["halted"] == ["SPY", "SPY240419C00500000"]
    assert shown["now"] == "2024-03-04T15:00:00+00:00" == shown["reconciled"]
    assert shown["session"] == "2024-03-04"
    assert shown["positions"] == {
        "SPY": {"quantity": "13", "average": str(inner.positions.positions[0].average_price)},
        "SPY240419C00500000": {"quantity": "-1", "average": "5.25"},
    }
    assert D(shown["cash"]) == 100_000 - D("1497.75")
    assert D(shown["nav"]) == 100_000 - D("1497.75") + 13 * 500 - 500
    assert D(shown["session_pnl"]) == D("2.25")  # three shares at 499.25 are worth 500 each
    first, second = shown["orders"]
    assert first == FIRST_ORDER
    assert (second["limit"], second["state"], second["venue_id"]) == (None, "pending_new", "")
    assert (second["purpose"], second["average"], second["symbol"]) == ("close", "0", "SPY240419C00500000")
    assert [row["number"] for row in shown["decisions"]] == [3, 4, 5, 6, 7]
    assert shown["decisions"][-1] == {
        "number": 7,
        "time": "1970-01-01T00:00:07+00:00",
        "kind": "hedge",
        "taken": True,
        "reasons": ["why", "and"],
        "facts": {"n": 7},
        "orders": [],
    }
    assert shown["adopted"] == ["a2", "a3", "a4", "a5", "a6"]
    assert shown["quarantine"] == ["why 2", "why 3", "why 4", "why 5", "why 6"]
    assert shown["notices"] == [
        *(f"gap orders n{number}" for number in (2, 3, 4, 5)),
        "limited requests budget waited 2 s",
    ]


@pytest.mark.rows("is_reported", [True, False])
@pytest.mark.rows("is_quoted", [True, False])
def test_margin_is_shown_where_the_distance_and_the_price_are_known(is_reported, is_quoted):
    desk = HandDesk(Scripted(), Instruments([perpetual("BTC")]))
    if is_quoted:
        desk.quote(0, 49_999.0, 50_001.0)
    desk.adopt({0: (100, "50000")}, D(1))
    if is_reported:
        at_ns, one = desk.now_ns, D(1)
        desk.handle(AccountLimits(at_ns, at_ns, True, True, 3, one, one, (), D("0.25")))
    shown = status.status(HEADER, runner_of(desk))["margin"]
    if is_quoted and is_reported:
        distance = desk.engine.desk.margin_distance()
        assert shown == {**distance.row(), "text": distance.text(50_000.0)}
        assert shown["maintenance_fraction"] == 0.25
    else:
        assert shown is None


def test_why_names_the_decision_by_its_number_or_the_latest():
    desk, _ = trading_desk()
    runner = runner_of(desk)
    for what in (None, "1", "t-000001"):
        assert status.why(runner, what) == {"error": "nothing has been decided yet"}
    runner.core.decisions.extend([decided(3), decided(4, taken=False), decided(5)])
    assert status.why(runner, None)["number"] == 5
    assert status.why(runner, "4") == {
        "number": 4,
        "time": "1970-01-01T00:00:04+00:00",
        "kind": "hedge",
        "taken": False,
        "reasons": ["why", "and"],
        "facts": {"n": 4},
        "orders": [],
    }
    for absent in ("2", "6"):
        error = f"decision {absent} is not among the latest 3"
        assert status.why(runner, absent) == {"error": error, "nearest": 5}


def test_why_names_an_order_by_its_whole_id_or_its_tail_with_its_latest_decision():
    desk, sent = trading_desk()
    first, second = (order.client_order_id for order in sent)
    runner = runner_of(desk, decisions=[decided(1, first), decided(2, second), decided(3, second)])
    for what in (first, "000001", "01"):
        found = status.why(runner, what)
        assert (found["order"], found["decision"]["number"]) == (FIRST_ORDER, 1)
    assert status.why(runner, second)["decision"]["number"] == 3
    runner = runner_of(desk, decisions=[decided(4)])
    assert list(status.why(runner, second)) == ["order"]
    for what in ("nothing", "t-", "0"):
        assert status.why(runner, what)["error"] == f"no order, or more than one, goes by {what}"
    names = [first, second]
    orders = desk.engine.desk.orders
    for name in ("x", "y", "z", "longer-t-000001", "w"):
        orders.orders[name] = orders.orders[first]
        names.append(name)
    assert status.why(runner, first)["order"]["id"] == first  # the whole id goes before another's tail
    assert status.why(runner, "000001") == {
        "error": "no order, or more than one, goes by 000001",
        "orders": names[-5:],
    }
