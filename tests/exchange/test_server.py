"""The sockets: what a client sees of network faults, the admin, the address."""

import asyncio
import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.installing import install_line
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.market import Pace
from scalpdesk.exchange.server import INSTANTS_A_LOOK, INSTANTS_A_TURN, TURN_NS, ExchangeServer
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.sessions import to_ns
from scalpdesk_alpaca.served.protocol import PROTOCOL
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.exchange import Venue, generated, start_ns
from scalpdesk_testing.kit.tape import TapeBuilder

pytestmark = pytest.mark.enable_socket


def call(venue, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", venue.server.port, timeout=120)
    try:
        headers = {"APCA-API-KEY-ID": venue.key, "APCA-API-SECRET-KEY": venue.secret}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


ORDER = {
    "symbol": "SPY",
    "qty": 1,
    "side": "buy",
    "type": "market",
    "time_in_force": "day",
    "client_order_id": "c1",
}


@pytest.mark.rows(
    ("fault", "taken"), [("disconnect_before", 0), ("drop_request", 0), ("disconnect_after", 1)]
)
def test_connections_that_break_before_and_after(venue, fault, taken):
    venue.admin("faults", {"name": fault})
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        call(venue, "POST", "/v2/orders", ORDER)
    assert len(venue.admin("orders")) == taken
    status, body = call(venue, "POST", "/v2/orders", ORDER)
    assert status == (422 if taken else 200), body


def test_an_answer_cut_short(venue):
    venue.admin("faults", {"name": "truncated_answer", "fraction": 0.4})
    with pytest.raises(http.client.IncompleteRead):
        call(venue, "POST", "/v2/orders", ORDER)
    assert len(venue.admin("fills")) == 1


def test_the_admin_shows_the_truth_and_moves_time(venue):
    call(venue, "POST", "/v2/orders", ORDER)
    state = venue.admin("state")
    assert state["positions"] == [
        {"account": "account-1", "symbol": "SPY", "qty": "1", "avg_entry_price": state["fills"][0]["price"]}
    ]
    assert float(state["accounts"][0]["cash"]) == pytest.approx(100_000 - float(state["fills"][0]["price"]))
    before = state["clock"]["now_ns"]
    venue.advance(5)
    assert venue.admin("clock")["now_ns"] == before + 5_000_000_000
    assert venue.admin("step", {"events": 2})["now_ns"] == before + 7_000_000_000
    assert venue.admin("bust", {})["busted"] == state["fills"][0]["execution_id"]
    assert venue.admin("positions") == []
    assert venue.admin("account", {"account": "account-2", "cash": "5"})["cash"] == "5"
    assert venue.admin("faults")["hits"] == {}


def test_the_admin_refuses_browsers_other_names_and_nonsense(venue):
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        request = urllib.request.Request(f"{venue.url}/admin/state", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=120)
        assert caught.value.code == 403
        caught.value.close()
    for name, body in (
        ("faults", {"name": "nope"}),
        ("halt", {"symbol": "NOPE"}),
        ("advance", {}),
        ("none", {}),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            venue.admin(name, body)
        assert caught.value.code in (400, 404)
        caught.value.close()


@pytest.mark.rows(
    ("name", "body", "field"),
    [
        ("speed", {"speed": "nan"}, "speed"),
        ("speed", {"speed": "-1"}, "speed"),
        ("speed", {"speed": True}, "speed"),
        ("speed", {"speed": [1]}, "speed"),
        ("speed", {}, "speed"),
        ("pay", {"kind": "FEE", "amount": "nan"}, "amount"),
        ("pay", {"kind": "FEE", "amount": "abc"}, "amount"),
        ("pay", {"amount": "1"}, "kind"),
        ("pay", {"kind": "FEE", "amount": "1", "account": "account-9"}, "account"),
        ("account", {"account": "account-1", "cash": "nan"}, "cash"),
        ("account", {"account": "account-1", "cash": "Infinity"}, "cash"),
        ("account", {"account": "account-1", "cash": "5", "options_level": "abc"}, "options_level"),
        ("account", {"account": "account-1", "cash": "5", "options_level": 2.5}, "options_level"),
        ("account", {"account": "account-1", "cash": "5", "trading_blocked": "no"}, "trading_blocked"),
        ("account", {"account": "account-1", "cash": "5", "blocked": True}, "blocked"),
        ("account", {"cash": "5"}, "account"),
        ("advance", {"seconds": "nan"}, "seconds"),
        ("advance", {"seconds": 1e300}, "seconds"),
        ("advance", {"to_ns": "soon"}, "to_ns"),
        ("step", {"events": "abc"}, "events"),
        ("halt", {"symbol": "SPY", "seconds": "nan"}, "seconds"),
        ("halt", {}, "symbol"),
        ("dividend", {"symbol": "SPY", "amount": "abc"}, "amount"),
        ("assign", {"symbol": "SPY", "contracts": -1}, "contracts"),
        ("correct", {"price": "nan"}, "price"),
    ],
)
def test_the_admin_names_the_field_that_is_wrong_and_goes_on(bench, name, body, field):
    bench.order()
    pace = Pace(ManualClock(), bench.world.now_ns, 0, 2.0)
    admin = ExchangeServer(bench.world, bench.keyring.credentials, pace, PROTOCOL).admin
    before = admin.handle("GET", "state", b"")
    status, answer = admin.handle("POST", name, json.dumps(body).encode())
    assert status == 400
    assert answer["where"] == field
    assert answer["what"] in answer["message"]
    assert admin.handle("GET", "state", b"") == before
    assert pace.speed == 2.0


def test_as_fast_as_can_be_waits_for_who_reads(socket_enabled):
    builder = TapeBuilder().path("09:30", 1.0, [500.0 + n / 100 for n in range(60)])
    venue = Venue(LaunchPlan(TapeSource(builder.build()), speed=0.0, trading_limit=0))
    seen = []

    async def follow():
        headers = {"APCA-API-KEY-ID": venue.key, "APCA-API-SECRET-KEY": venue.secret}
        async with aiohttp.ClientSession(headers=headers) as session:
            stream = await session.ws_connect(f"{venue.ws}/v2/iex")
            await stream.receive()
            await stream.receive()
            await stream.send_json({"action": "subscribe", "quotes": ["SPY"]})
            await stream.receive()
            async with session.post(f"{venue.url}/admin/speed", json={"speed": "max"}) as answer:
                assert answer.status == 200
            while len(seen) < 59:
                (quote,) = (await stream.receive(timeout=120)).json()
                async with session.get(f"{venue.url}/admin/clock") as answer:
                    seen.append((quote["t"], (await answer.json())["now"]))
            await stream.close()

    asyncio.run(follow())
    venue.stop()
    stamps = [stamp for stamp, _ in seen]
    assert stamps == sorted(set(stamps))
    assert all(now >= stamp for stamp, now in seen)
    assert sum(now == stamp for stamp, now in seen) >= 50


def test_only_loopback_addresses():
    for host in ("0.0.0.0", "example.com", "10.0.0.1"):
        with pytest.raises(ConfigError):
            build_server(LaunchPlan(source=generated(), host=host), ManualClock())


def test_pace_follows_the_wall():
    clock = ManualClock(1_000)
    pace = Pace(clock, 0, 1_000, 10.0)
    clock.advance(2_000_000_000)
    assert pace.target_ns(0) == 20_000_000_000
    assert pace.wait_seconds(30_000_000_000, 0) == pytest.approx(1.0)
    pace.change(0.0, 20_000_000_000)
    clock.advance(1)
    assert pace.target_ns(20_000_000_000) == 20_000_000_000
    pace.change(float("inf"), 0)
    assert pace.target_ns(0) > 0


def test_a_market_on_the_wall_is_never_behind_its_clients_clock(socket_enabled):
    clock = ManualClock(start_ns())
    server = build_server(LaunchPlan(generated(), is_wall_time=True), clock)
    clock.advance(1_500_000_000)  # what a start of the server takes

    async def asked():
        await server.start()
        key = server.keyring.credentials[0]
        headers = {"APCA-API-KEY-ID": key.key, "APCA-API-SECRET-KEY": key.secret}
        stamps = []
        try:
            async with aiohttp.ClientSession(server.url, headers=headers) as session:
                for _ in range(3):
                    clock.advance(400_000_000)
                    async with session.post("/v2/orders", json=ORDER | {"client_order_id": None}) as answer:
                        made = datetime.fromisoformat((await answer.json())["created_at"])
                        stamps.append((to_ns(made), clock.now_ns()))
        finally:
            await server.stop()
        return stamps

    for stamp, sent in asyncio.run(asked()):
        assert stamp == sent


def test_the_command_says_where_it_is(socket_enabled):
    program = Path(sys.executable).with_name("scalpdesk")
    command = [str(program), "exchange", "--generated", "NVDA", "--clock", "wall", "--accounts", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            line = json.loads(process.stdout.readline())
            assert set(line["urls"]) == {"alpaca", "deribit", "tws", "admin"}
            key, secret = line["keys"]["alpaca"]
            headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
            request = urllib.request.Request(f"{line['urls']['alpaca']}/v2/clock", headers=headers)
            with urllib.request.urlopen(request, timeout=120) as answer:
                assert json.loads(answer.read())["is_open"] is True
            assert len(line["accounts"]) == 2
        finally:
            process.terminate()


@pytest.mark.rows(
    ("arguments", "word"),
    [
        (["--speed", "fast"], "speed"),
        (["--generated", "SPY", "--data", "embedded"], "made up"),
        (["--generated", "SPY", "--speed", "5"], "wall clock"),
        (["--generated", "BTC"], "--data embedded-btc"),
        (["--data", "embedded-btc", "--tws-port", "0"], "--tws-port"),
        (["--generated", "eth,BTC"], "--data embedded-eth"),
        (["--session", "yesterday"], "date"),
        (["--faults", "none.json"], "faults"),
        (["--speed", "nan"], "speed"),
        (["--latency-ms", "nan"], "--latency-ms"),
        (["--cash", "nan"], "--cash"),
        (["--lockstep-ms", "nan"], "--lockstep-ms"),
        (["--session", "2018-02-07", "--end", "2018-02-05"], "--start 2018-02-05 --end 2018-02-07"),
        (["--generated", "SPY", "--session", "2018-02-05"], "leave --start out"),
        (["--generated", "SPY", "--end", "2018-02-05"], "leave --end out"),
        (["--generated", "SPY", "--underlying", "QQQ"], "leave --underlying out"),
        (["--data", "embedded-btc", "--underlying", "ETH-PERPETUAL"], "--data embedded-eth"),
        (["--data", "embedded-eth", "--underlying", "SPY"], "leave --underlying out"),
    ],
)
def test_wrong_use_is_told(arguments, word, capsys):
    from scalpdesk.cli.main import main

    assert main(["exchange", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_a_missing_package_names_the_extra():
    # an interpreter of its own: modules imported a second time would leave their packages without them
    program = (
        "import sys; sys.modules['aiohttp'] = None; from scalpdesk.cli.main import main; "
        "sys.exit(main(['exchange', '--generated', 'SPY']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert install_line("scalpdesk[exchange]") in ended.stderr


def test_a_market_that_is_behind_its_pace_plays_a_bounded_part_before_each_answer():
    clock = ManualClock(0)
    builder = TapeBuilder().path("09:30", 1.0, [500.0 + n / 100 for n in range(2_000)])
    server = build_server(LaunchPlan(TapeSource(builder.build()), speed=1_000.0), clock)
    start_ns = server.world.now_ns
    clock.advance(1_800_000_000)  # 1,800 seconds of market at a thousand times the wall's pace
    server.keep_up()
    played = (server.world.now_ns - start_ns) / 1e9
    assert played == pytest.approx(INSTANTS_A_TURN, abs=2)
    for _ in range(3):
        server.keep_up()
    assert server.world.now_ns == start_ns + 1_800 * 10**9


class BusyClock(ManualClock):
    """A clock for a machine so busy that each part of a turn takes 2 ms."""

    def now_ns(self):
        self.advance(2_000_000)
        return super().now_ns()


def test_a_busy_machine_plays_a_shorter_part_before_each_answer():
    clock = BusyClock(0)
    builder = TapeBuilder().path("09:30", 1.0, [500.0 + n / 100 for n in range(2_000)])
    server = build_server(LaunchPlan(TapeSource(builder.build()), speed=1_000.0), clock)
    start_ns = server.world.now_ns
    clock.advance(1_800_000_000)
    server.keep_up()
    played = (server.world.now_ns - start_ns) / 1e9
    parts = -(-TURN_NS // 2_000_000)
    assert played == pytest.approx(parts * INSTANTS_A_LOOK, abs=2)
