"""Deadlines of a live desk, and its operator's socket, status and commands."""

import asyncio
import json
import os
import stat
import threading
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.broker_terms import known_cutoff
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import from_ns, new_york_ns, session_on
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.run import answer
from scalpdesk.live.sessions import deadline_ns
from scalpdesk.live.status import SOCKET_NAME, ControlServer, ask, running_desks, status, why
from scalpdesk_testing.kit.desk import change, in_mode
from scalpdesk_testing.kit.live import LiveBench, follower, until, walk
from tests.live.venue_views import CalendarDesk

HALF_DAY = date(2024, 7, 3)


# schedule -----------------------------------------------------------------------------------------


def test_deadline_follows_the_sessions_own_close_and_the_venues_rule():
    fund, stock = us_option("SPY240703C00500000"), us_option("NVDA240703C00500000")
    for venue in ("alpaca", "paper"):
        assert deadline_ns(fund, known_cutoff(venue), 0) == new_york_ns(HALF_DAY, time(12, 30))
        assert deadline_ns(stock, known_cutoff(venue), 0) == new_york_ns(HALF_DAY, time(12, 15))
        assert deadline_ns(stock, known_cutoff(venue), 300) == new_york_ns(HALF_DAY, time(12, 10))
    full = us_option("NVDA240705C00500000")
    assert deadline_ns(full, known_cutoff("alpaca"), 0) == new_york_ns(date(2024, 7, 5), time(15, 15))
    assert deadline_ns(full, known_cutoff("simulated"), 300) == new_york_ns(date(2024, 7, 5), time(15, 55))
    assert deadline_ns(full, known_cutoff("unheard-of"), 300) == new_york_ns(date(2024, 7, 5), time(15, 10))


def expiring_day(venue="alpaca", mode=Mode.ACTIVE, expiry="240703"):
    """Return a desk that holds an option on its last day, a half day, and has planned its deadline."""
    desk = CalendarDesk(
        f"SPY{expiry}C00500000",
        held=1,
        mode=mode,
        cutoff=known_cutoff(venue),
        margin_seconds=300.0,
        open_first=session_on(HALF_DAY),
    )
    desk.calendar.plan_deadline()
    return desk


@pytest.mark.parametrize(("venue", "minutes"), [("alpaca", 35), ("simulated", 5)])
def test_desk_plans_the_deadline_of_the_venue_it_trades_at(venue, minutes):
    assert session_on(HALF_DAY).close_ns - expiring_day(venue).calendar.due_ns == minutes * 60_000_000_000


@pytest.mark.parametrize("mode", [Mode.ACTIVE, Mode.REDUCING])
def test_at_its_deadline_a_desk_flattens_and_says_for_which_options(mode):
    desk = expiring_day(mode=mode)
    due_ns = desk.calendar.due_ns
    assert [desk.fire(due_ns + late) for late in (-1, 0, 1)] == [[], ["command"], []]
    (event,) = desk.fed
    assert (event.ts_recv_ns, event.action, event.cause) == (
        due_ns,
        OperatorAction.FLATTEN,
        OperatorCause.DEADLINE,
    )
    ((level, text),) = desk.said
    assert (level, "SPY240703C00500000" in text) == ("alarm", True)


def test_without_options_that_expire_or_for_a_desk_that_flattens_already_there_is_no_deadline():
    for how in ({"mode": Mode.HALTED}, {"mode": Mode.FLATTENING}, {"expiry": "240705"}):
        assert expiring_day(**how).calendar.due_ns == NEVER_NS
    for what in ("mode", "sold", "closed"):
        desk = expiring_day()
        if what == "mode":
            in_mode(desk, Mode.HALTED)
        elif what == "sold":
            desk.handle(change(desk, "manual_trade", -1, number=1))
        else:
            desk.close()
        assert desk.calendar.fire(desk.calendar.due_ns) == []
        assert (desk.fed, desk.said) == ([], [])


# the operator's socket ------------------------------------------------------------------------------


def asked(run_dir, requests, answerer):
    """Serve and ask from another thread; return the answers."""

    async def serve():
        server = ControlServer(run_dir, answerer)
        await server.start()
        found = []

        def client():
            found.extend(ask(run_dir, one) for one in requests)
            found.append(running_desks(run_dir.parent))

        thread = threading.Thread(target=client)
        thread.start()
        await until(lambda: not thread.is_alive(), 0.001)
        mode = stat.S_IMODE((run_dir / SOCKET_NAME).stat().st_mode)
        server.close()
        return found, mode

    return asyncio.run(serve())


def test_socket_is_owner_only_and_answers_line_by_line(tmp_path):
    deep = tmp_path / ("long" * 20) / ("name" * 20)  # far beyond what a socket's address may hold
    deep.mkdir(parents=True)

    async def echo(request):
        return {"heard": request}

    (first, second, desks), mode = asked(deep, [{"do": "status"}, {"do": "why", "what": "7"}], echo)
    assert mode == 0o600
    assert first == {"heard": {"do": "status"}}
    assert second == {"heard": {"do": "why", "what": "7"}}
    assert desks == [deep]


def test_rubbish_is_answered_and_does_no_harm(tmp_path):
    async def talk():
        async def never(_):
            raise AssertionError

        server = ControlServer(tmp_path, never)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b"\xff not json\n[1]\n")
        lines = [json.loads(await reader.readline()) for _ in range(2)]
        writer.write(b"x" * 200_000 + b"\n")
        rest = await reader.read()
        writer.close()
        server.close()
        return lines, rest

    lines, rest = asyncio.run(talk())
    assert all("error" in line for line in lines)
    assert rest == b""


# status and why ---------------------------------------------------------------------------------------


class _Desk:
    """As much of a live desk as answers need."""

    def __init__(self, bench):
        self.header, self.runner, self.run_dir = bench.header(), bench.runner, bench.run_dir


def test_status_and_why_tell_what_a_desk_does(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, 25))
    assert bench.live() is not None
    desk = _Desk(bench)
    shown = asyncio.run(_in_loop(lambda: status(desk.header, desk.runner)))
    json.dumps(shown)
    events = [event for step, _ in JournalReader(bench.run_dir).steps() for event in step]
    assert shown["events"] == len(events)
    assert shown["reconciled"] == from_ns(bench.runner.queries.latest.ts_recv_ns).isoformat()
    assert [text.split()[0] for text in shown["notices"]] == ["connected", "disconnected"]
    assert shown["mode"] == "ACTIVE"
    assert shown["positions"]["SPY"]["quantity"] == "25"
    account = bench.engine.desk
    assert Decimal(shown["session_pnl"]) == Decimal(shown["nav"]) - account.session_equity
    assert shown["cash"] == str(account.account.cash)
    assert shown["counters"] == dict(bench.runner.state.counters + bench.core.counters)
    assert (shown["halted"], shown["orders"], shown["adopted"], shown["quarantine"]) == ([], [], [], [])
    assert shown["session"] is None  # it has closed
    bench.runner.state.counters["reconnects"], bench.core.counters["late"] = 3, 2
    numbers = status(desk.header, desk.runner)["counters"]
    assert (numbers["reconnects"], numbers["late"]) == (3, 2)
    assert shown["differences"] == []
    assert why(bench.runner, None)["number"] == len(bench.core.decisions)
    assert why(bench.runner, "1")["orders"] == ["t-000001"]
    explained = why(bench.runner, "000002")
    assert explained["order"]["quantity"] == "15"
    assert explained["decision"]["reasons"] == ["want 25"]
    newest = len(bench.core.decisions)
    assert why(bench.runner, "999") == {
        "error": f"decision 999 is not among the latest {newest}",
        "nearest": newest,
    }
    assert why(bench.runner, "nonsense") == {
        "error": "no order, or more than one, goes by nonsense",
        "orders": ["t-000001", "t-000002"],
    }
    assert "error" in why(bench.runner, "t-00000")
    bench.core.decisions.clear()
    assert why(bench.runner, None) == {"error": "nothing has been decided yet"}


async def _in_loop(call):
    return call()


def test_an_order_whose_decision_is_no_longer_kept_is_shown_without_it(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, 25))
    assert bench.live() is not None
    first = bench.core.decisions.popleft()
    while "t-000001" not in first[1].client_order_ids:
        first = bench.core.decisions.popleft()
    shown = why(bench.runner, "t-000001")
    assert "decision" not in shown
    assert shown["order"] == {
        "id": "t-000001",
        "venue_id": bench.engine.desk.orders.orders["t-000001"].venue_order_id,
        "symbol": "SPY",
        "side": "buy",
        "quantity": "10",
        "filled": "10",
        "average": str(bench.engine.desk.orders.orders["t-000001"].average_price),
        "limit": None,
        "trigger": None,
        "state": "filled",
        "purpose": "hedge",
        "reason": "",
        "created": from_ns(first[1].ts_ns).isoformat(),
    }


def test_operator_halts_resumes_with_a_reason_and_is_named_in_the_journal(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, limit="400"))
    said = []

    async def operate(bench):
        await until(lambda: bench.engine.desk.orders.live)
        desk = _Desk(bench)
        said.extend(
            [
                await answer(desk, {"do": "halt"}),
                await answer(desk, {"do": "resume", "reason": " "}),
                await answer(desk, {"do": "resume", "reason": "looked at it"}),
                await answer(desk, {"do": "dance"}),
            ]
        )

    assert bench.live(meanwhile=operate) is not None
    assert (said[0]["was"], said[0]["mode"], said[0]["cancels"]) == ("ACTIVE", "HALTED", 1)
    assert said[0]["milliseconds"] < 1_000
    assert (said[0]["run_id"], said[0]["folder"]) == (bench.header().run_id, str(Path.cwd()))
    assert "reason" in said[1]["error"]
    assert said[2]["mode"] == "ACTIVE"
    assert "unknown request" in said[3]["error"]
    modes = [one for _, one in bench.core.decisions if one.kind == "mode"]
    assert [one.reasons for one in modes][-1] == ("HALTED to ACTIVE: looked at it",)
    assert modes[-1].facts["who"] == os.environ.get("USER", modes[-1].facts["who"])
