"""The API in process: every route answers, says the same as the records, and refuses as specified."""

import asyncio
import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from hashlib import sha256
from importlib.resources import files
from urllib.parse import quote

import jsonschema
import pytest
import uvicorn
from fastapi.testclient import TestClient
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families
from uvicorn.server import ServerState

from scalpdesk.alerts.service import PageWatch
from scalpdesk.config.settings import AlertSettings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import RetryError
from scalpdesk.live.run import operate
from scalpdesk.records.projection import project_journal
from scalpdesk.records.store import list_runs, load_tables, open_store, store_url
from scalpdesk.web import app as web
from scalpdesk.web import static_files
from scalpdesk.web.access import MOST_READS, WRONG_TOKENS
from scalpdesk.web.feed import ACKNOWLEDGED_FILE, STATE_FILE, WATCHER_SECONDS, DeskFeed
from scalpdesk.web.routes.pages import PAGES
from scalpdesk_testing.virtual_time import VirtualLoop
from tests.web.reading import read_up

ORIGIN = {"origin": "http://localhost:10000"}
OPERATOR = {"authorization": "Bearer operator-token"}


@pytest.fixture
def client(client_of, held_feed):
    return client_of(held_feed)


def test_every_documented_route_answers_with_json(client):
    routes = client.get("/openapi.json").json()["paths"]
    assert {
        "/api/performance", "/api/metrics", "/api/positions", "/api/greeks", "/api/orders", "/api/decisions",
        "/api/events", "/metrics", "/healthz",
    } <= routes.keys()  # fmt: skip
    for path, methods in routes.items():
        assert all(method["summary"] for method in methods.values()), path
        if "get" not in methods or path == "/api/events" or "{" in path:
            continue
        answer = client.get(path)
        assert answer.status_code == 200, path
        if path != "/metrics":
            json.loads(answer.text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON


@pytest.mark.parametrize("query", ["", "?days=2&leg=SPY:100"])
def test_every_answer_has_the_shape_that_its_description_says(client_of, held_feed, ended_feed, query):
    for feed in (held_feed, ended_feed, DeskFeed(held_feed.runs_dir / "nothing", None, SystemClock())):
        client = client_of(feed)
        described = client.get("/openapi.json").json()
        for schema in described["components"]["schemas"].values():
            if schema.get("properties"):
                schema["additionalProperties"] = False  # no answer has more than it says
        for path, methods in described["paths"].items():
            if "get" not in methods or path == "/api/events" or (query and path != "/api/position"):
                continue
            answer = client.get(path.replace("{run_id}", "last") + query)
            content = methods["get"]["responses"][str(answer.status_code)]["content"]
            ((media, shape),) = content.items()
            assert answer.headers["content-type"].startswith(media), path
            assert shape["schema"], path
            if media == "application/json":
                jsonschema.validate(answer.json(), {**shape["schema"], "components": described["components"]})


def test_every_change_and_every_refusal_is_described(client):
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for verb, method in methods.items():
            answers = method["responses"]
            assert all(shape["schema"] for each in answers.values() for shape in each["content"].values()), (
                path
            )
            role = method.get("security", [{"token": []}])[0]["token"]
            is_open = path in {"/healthz", "/login", "/logout"}
            assert role == ([] if is_open else ["operator"] if verb == "post" else ["viewer"]), path


def test_every_page_carries_the_policy_and_the_account_in_its_markup(client):
    for name in PAGES:
        answer = client.get("/" if name == "desk" else f"/{name}")
        assert answer.status_code == 200
        assert 'data-kind="SIMULATED"' in answer.text
        assert f'data-page="{name}"' in answer.text
        assert "{{" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"


class Wire(asyncio.Transport):
    """The server's end of a connection whose client sends what a test says."""

    def __init__(self):
        super().__init__()
        self.written, self.is_ended = b"", False

    def write(self, data):
        self.written += data

    def abort(self):
        self.is_ended = True

    close = abort

    def is_closing(self):
        return self.is_ended

    def pause_reading(self): ...

    resume_reading = pause_reading


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "stays"),
    [
        ([], False),
        ([HEAD], False),
        ([HEAD, b"a: b\r\n", b"c: d\r\n"], False),  # a piece each three seconds
        ([POST, b"part"], False),
        ([HEAD + b"\r\n"], True),
        ([POST, b"whole bod"], True),
        ([HEAD + b"\r\n", b"GET / HT"], True),  # the next request waits for the first one's answer
    ],
)
def test_a_connection_ends_when_no_whole_request_comes_in_time(sent, stays):
    async def never_answers(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    loop, wire = VirtualLoop(), Wire()
    config = uvicorn.Config(never_answers, ws="none")
    connection = web.BoundedConnection(config, ServerState(), {}, _loop=loop)

    async def course():
        connection.connection_made(wire)
        for piece in sent:
            connection.data_received(piece)
            await asyncio.sleep(3.0)
        await asyncio.sleep(web.REQUEST_SECONDS - 3.0 * len(sent) - 0.5)
        before = wire.is_ended
        await asyncio.sleep(1.0)
        after = wire.is_ended
        connection.connection_lost(None)
        return before, after

    assert loop.run_until_complete(course()) == (False, not stays)
    loop.close()


def test_after_its_answer_a_connection_has_the_same_time_again():
    async def answers(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    loop, wire = VirtualLoop(), Wire()
    connection = web.BoundedConnection(uvicorn.Config(answers, ws="none"), ServerState(), {}, _loop=loop)

    async def course():
        connection.connection_made(wire)
        for _ in range(3):
            connection.data_received(HEAD + b"\r\n")
            await asyncio.sleep(4.0)
        connection.data_received(b"GET / HT")  # four seconds after the last answer
        await asyncio.sleep(web.REQUEST_SECONDS - 4.5)
        before = wire.is_ended
        await asyncio.sleep(1.0)
        return before, wire.is_ended

    assert loop.run_until_complete(course()) == (False, True)
    assert wire.written.count(b"204") == 3
    loop.close()


def test_without_a_run_the_account_is_unknown(client_of, tmp_path):
    empty = client_of(DeskFeed(tmp_path, None, SystemClock()))
    assert 'data-kind="UNKNOWN"' in empty.get("/").text
    assert empty.get("/healthz").json() == {"ok": True, "run_id": None, "running": False, "problem": None}
    assert "error" in empty.get("/api/performance").json()
    assert "error" in empty.get("/api/orders").json()


def test_metrics_and_fills_are_those_of_summary_and_database(client_of, ended_feed, ended_runs):
    folder, summary = ended_runs
    api = client_of(ended_feed)
    with open_store(store_url(folder)) as store:
        run_id = project_journal(folder / summary["run_id"], store).header.run_id
        fills = load_tables(store, run_id, "fills")["fills"]
    metrics = {
        (sample.name, sample.labels.get("part")): sample.value
        for family in text_string_to_metric_families(api.get("/metrics").text)
        for sample in family.samples
    }
    for name, amount in summary["pnl"].items():
        if name in {"total", "residual"}:  # the residual of the cents takes up the rounding of the others
            continue
        assert metrics["scalpdesk_pnl_usd", name] == pytest.approx(float(amount), abs=0.005)
    columns = api.get("/api/fills").json()["columns"]
    assert columns["price"] == [float(fill["price"]) for fill in fills]
    assert [side > 0 for side in columns["side"]] == [fill["side"] == "buy" for fill in fills]


def test_performance_names_capital_risk_regime_and_the_days_result(
    client_of, held_feed, ended_feed, ended_runs
):
    shown = client_of(held_feed).get("/api/performance").json()
    desk = held_feed.follower.desk
    tied = 0.0
    for position in desk.positions.held():
        value = abs(float(position.quantity)) * desk.view.mark(position.instrument_id) * position.multiplier
        tied += value if position.multiplier == 100 else value / 2
    assert float(shown["risk"]["capital_tied_up"]) == pytest.approx(tied, abs=0.01)
    assert shown["risk"]["daily_loss_limit"] == "5000.00"
    assert float(shown["risk"]["loss_left"]) <= 5_000
    assert shown["volatility_regime"]["regime"] == "normal"
    assert shown["daily"] == []  # the session goes on
    ended = client_of(ended_feed).get("/api/performance").json()
    assert ended["daily"] == [{"session": "2017-07-03", "pnl": ended_runs[1]["nav_change"]}]
    assert ended["round_trips"]["pnl"] == ended_runs[1]["nav_change"]


@pytest.mark.parametrize("name", ["a" * 5_000, "%F0%9F%93%89" * 90])
def test_a_run_of_a_name_that_no_folder_can_have_is_not_found(client, name):
    for path in (f"/api/runs/{name}", f"/api/scalps?run={name[:99]}", f"/api/scalps?run={name}"):
        answer = client.get(path)
        assert answer.status_code in {404, 422}, path
    assert client.get(f"/api/runs/{name}").json()["error"] == "no such run"


def test_a_wrong_field_is_named_and_its_value_not_sent_back(client):
    for path, body, field in (
        ("/login", b'{"token":"canary\\ud800"}', "token"),
        ("/login", b'{"token":["canary"]}', "token"),
        ("/api/commands/halt", b'{"key":"12345678","reason":"canary\\ud800"}', "reason"),
    ):
        json_type = {"content-type": "application/json"}
        answer = client.post(path, content=body, headers=ORIGIN | OPERATOR | json_type)
        assert answer.status_code == 422, body
        assert answer.json()["detail"][0]["loc"] == ["body", field]
        assert "canary" not in answer.text


def test_scalps_of_a_run_are_found_by_its_name_and_of_no_run_refused(client_of, ended_feed):
    client = client_of(ended_feed)
    whole = client.get("/api/scalps").json()
    assert (whole["open"], whole["history"], whole["performance"]["total"]["scalps"]) == ([], [], 0)
    assert client.get("/api/scalps?run=last").json() == whole
    unknown = client.get("/api/scalps?run=nope")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "no such run")


def test_position_takes_a_date_and_legs_and_names_what_is_wrong_with_them(client):
    now = client.get("/api/position").json()
    later = client.get("/api/position?days=7&leg=SPY:10&leg=SPY:-4").json()
    assert (now["at"], later["days"], len(later["legs"])) == ("now", 7.0, len(now["legs"]) + 2)
    refused = client.get("/api/position?leg=NOPE:1")
    assert (refused.status_code, set(refused.json())) == (422, {"error", "fix"})
    assert client.get("/api/position?days=-1").status_code == 422
    listed = client.get("/api/contracts").json()
    assert listed["underlying"] == "SPY"
    assert sorted(listed["expiries"]) == list(listed["expiries"])


@pytest.mark.parametrize(
    ("shape", "legs"), [("iron_fly", 4), ("strangle", 2), ("calendar", 2), ("butterfly", 3)]
)
def test_a_shape_is_added_by_its_name_and_teaches_the_desk_nothing(client, shape, legs):
    before = client.get("/api/position").json()
    sold = client.get(f"/api/position?leg={shape}:-2").json()
    added = [leg for leg in sold["legs"] if leg.get("is_added")]
    assert len(added) == legs
    bought = client.get(f"/api/position?leg={shape}:2").json()
    turned = [-Decimal(leg["quantity"]) for leg in bought["legs"] if leg.get("is_added")]
    assert [Decimal(leg["quantity"]) for leg in added] == turned
    assert client.get("/api/position").json() == before
    assert shape in client.get("/api/contracts").json()["shapes"]
    assert client.get(f"/api/position?leg={shape}:0.5").status_code == 422


def read_to_end(client, run):
    """Return the decisions of a run once its journal was read."""
    while (found := client.get(f"/api/decisions?run={run}&limit=2000").json())["reading"]:
        pass
    return found


@pytest.mark.second
def test_orders_and_decisions_of_any_run_are_read_beside_the_followed_one(
    client_of, held_runs, ended_runs, tmp_path
):
    """A second run on record: the page showed the followed run alone."""
    folder, summary = ended_runs
    for source in (*held_runs.iterdir(), folder / summary["run_id"]):
        if source.is_dir():
            (tmp_path / source.name).symlink_to(source)
    (followed,) = (path.name for path in held_runs.iterdir() if path.is_dir())
    feed = DeskFeed(tmp_path, followed, SystemClock())
    while feed.step():
        pass
    client = client_of(feed)
    here = client.get("/api/decisions").json()
    assert (here["run"], here["reading"]) == (followed, None)
    name = summary["run_id"]
    found = read_to_end(client, name)
    assert (found["run"], found["found"]) == (name, summary["decisions"])
    orders = client.get(f"/api/orders?run={name}").json()
    assert (orders["run"], orders["total"]) == (name, summary["orders"])
    assert client.get("/api/orders").json()["total"] == len(feed.follower.desk.orders.orders)
    growing = tmp_path / f"{name[:-1]}{'0' if name[-1] != '0' else '1'}"  # a desk beside it that goes on
    growing.mkdir()
    (journal,) = (tmp_path / name).glob("journal-*.sdj")
    whole = journal.read_bytes()
    (growing / journal.name).write_bytes(whole[: len(whole) // 2])
    half = read_to_end(client, growing.name)
    with (growing / journal.name).open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    assert 0 < half["found"] < read_to_end(client, growing.name)["found"] == found["found"]
    unknown = client.get("/api/orders?run=nope")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "no such run")
    feed.stop()


def test_no_route_reads_a_run_that_lies_elsewhere(client_of, ended_feed, held_runs, tmp_path, monkeypatch):
    """By its path, by a way through the parent folder, by a name in the folder where the page was started."""
    (foreign,) = (path for path in held_runs.iterdir() if path.is_dir())
    (tmp_path / "elsewhere").symlink_to(foreign)
    beside = ended_feed.runs_dir.parent / f"{tmp_path.name}-beside"
    beside.symlink_to(foreign)
    client = client_of(ended_feed)
    takes_run = [
        (path, place["in"])
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for place in methods.get("get", {}).get("parameters", ())
        if place["name"] in {"run", "run_id"}
    ]
    assert {
        "/api/orders", "/api/decisions", "/api/scalps", "/api/state", "/api/position", "/api/risk",
        "/api/series", "/api/runs/{run_id}", "/api/runs/{run_id}/sheet",
    } <= {path for path, _ in takes_run}  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in (str(foreign), "elsewhere", f"../{beside.name}", f"{ended_feed.runs_dir}/../{beside.name}"):
        for path, place in takes_run:
            word = quote(name, safe="")
            answer = client.get(path.format(run_id=word) if place == "path" else f"{path}?run={word}")
            assert answer.status_code in {404, 422}, (path, name)  # 422: too long for a name
            assert foreign.name not in answer.text
    with open_store(store_url(ended_feed.runs_dir)) as store:
        assert foreign.name not in {row.run_id for row in list_runs(store)}
    beside.unlink()


def test_series_comes_from_a_position_on(client, held):
    whole = client.get("/api/series").json()
    rest = client.get("/api/series?since=100").json()
    assert rest["columns"]["t"] == whole["columns"]["t"][100:]
    assert whole["columns"]["spot"] == held.series.columns["spot"]


def test_changes_need_the_operator_and_a_desk_that_runs(client):
    body = {"key": "0123456789", "reason": "test"}
    assert client.post("/api/commands/halt", json=body).status_code == 403
    assert client.post("/api/commands/halt", json=body, headers=ORIGIN).status_code == 403
    answer = client.post("/api/commands/halt", json=body, headers=OPERATOR)
    assert answer.status_code == 409
    assert "takes no commands" in answer.json()["error"]
    assert client.post("/api/commands/explode", json=body, headers=OPERATOR).status_code == 404
    assert client.post("/api/commands/halt", json={"key": "x"}, headers=OPERATOR).status_code == 422
    assert client.post("/api/commands/halt", content=b"x" * 20_000, headers=OPERATOR).status_code == 413


@pytest.mark.parametrize("action", ["halt", "flatten", "resume"])
def test_an_ended_run_takes_no_commands_and_shows_no_plan_of_one(ended_feed, client_of, action):
    client = client_of(ended_feed)
    body = {"key": f"{action}-0123456789", "reason": "test"}
    for _ in range(2):  # nothing was sent: the key is free again
        answer = client.post(f"/api/commands/{action}", json=body, headers=OPERATOR)
        assert answer.status_code == 409
        assert "has ended" in answer.json()["error"]
    assert client.get("/api/flatten").json() == answer.json()
    assert 'data-state="ended"' in client.get("/").text


def test_open_alerts_are_listed_and_the_operator_acknowledges_them(held_runs, client_of):
    watch = PageWatch(AlertSettings(silent_seconds=0.0), SystemClock())
    feed = DeskFeed(held_runs, None, SystemClock(), watch)
    while feed.step():
        pass
    client = client_of(feed)
    assert client.get("/api/alerts").json() == {"open": [], "sent": [], "is_sent": None}  # not judged yet
    feed.follower.tail.header = structs.replace(feed.follower.header, mode="paper")
    feed.judge()
    shown = client.get("/api/alerts").json()
    assert ([each["key"] for each in shown["open"]], shown["is_sent"]) == (["gone"], False)
    feed.publish()
    head = json.loads(feed.encoded)["head"]
    assert (head["state"], head["alarm"]) == ("gone", None)  # the page says by itself that it is gone
    assert shown["open"][0]["what"].startswith("No desk listens for")
    assert client.post("/api/alerts/acknowledge", json={}, headers=ORIGIN).status_code == 403
    assert client.post("/api/alerts/acknowledge", json={}, headers=OPERATOR).status_code == 200
    (acknowledged,) = client.get("/api/alerts").json()["open"]
    assert acknowledged["acknowledged"] == "operator on the dashboard"
    file = feed.follower.run_dir / ACKNOWLEDGED_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (feed.follower.run_dir / STATE_FILE).write_text('{"open": [], "sent": []}')
    feed.judge()  # a watcher has left its own: that counts
    assert client.get("/api/alerts").json() == {"open": [], "sent": [], "is_sent": True}
    for name in (ACKNOWLEDGED_FILE, STATE_FILE):
        (feed.follower.run_dir / name).unlink()
    feed.follower.tail.close()


def hangs(_run_dir, _request, **_):
    raise RetryError("the desk does not answer")


def test_a_page_judges_a_running_desk_whose_watcher_is_gone(own_run):
    watch = PageWatch(AlertSettings(silent_seconds=1e-9), SystemClock())
    feed = DeskFeed(own_run.parent, None, SystemClock(), watch, ask_desk=hangs)
    while feed.step():
        pass
    feed.is_running = True
    state = own_run / STATE_FILE
    state.write_text('{"open": [], "sent": []}')
    feed.judge()
    assert feed.alerts() == {"open": [], "sent": [], "is_sent": True}
    written = state.stat().st_mtime - WATCHER_SECONDS - 1
    os.utime(state, (written, written))
    feed.judge()
    feed.judge()
    alarms = [each for each in feed.alerts()["open"] if each["level"] == "alarm"]
    assert "silent" in [each["key"] for each in alarms]
    feed.publish()
    alarm = json.loads(feed.encoded)["head"]["alarm"]
    assert alarm == {"what": alarms[0]["what"], "number": len(alarms)}
    assert feed.alerts()["is_sent"] is False
    feed.is_running = False  # of a run that is over the last of its watcher stays
    feed.judge()
    assert feed.alerts()["is_sent"] is True
    feed.follower.tail.close()


@pytest.mark.parametrize("answered", [{"run": "starting"}, {"run": "running"}, {"error": "a demo"}, None])
def test_a_page_shows_a_desk_that_starts_as_starting(own_run, answered):
    ask = hangs if answered is None else lambda *_, **__: answered
    feed = DeskFeed(own_run.parent, None, SystemClock(), ask_desk=ask)
    while feed.step():
        pass
    feed.is_running = True
    feed.judge()
    feed.publish()
    assert json.loads(feed.encoded)["head"]["starting"] is (answered == {"run": "starting"})
    feed.follower.tail.close()


def test_where_a_token_is_needed_a_page_is_a_frame_to_log_in_by(client_of, held_feed):
    client = client_of(held_feed, host="0.0.0.0")
    frame = client.get("/orders")
    assert (frame.status_code, client.get("/api/orders").status_code) == (200, 401)
    assert 'data-role="nobody"' in frame.text
    assert 'data-kind="UNKNOWN"' in frame.text  # without a role the account is not shown either
    assert client.post("/login", json={"token": "viewer-token"}, headers=ORIGIN).json() == {"role": "viewer"}
    assert 'data-kind="SIMULATED"' in client.get("/orders").text
    assert client.get("/api/orders").status_code == 200


def test_login_over_the_api_lets_the_page_operate(client):
    assert client.post("/login", json={"token": "wrong"}, headers=ORIGIN).status_code == 401
    answer = client.post("/login", json={"token": "operator-token"}, headers=ORIGIN)
    assert answer.json() == {"role": "operator"}
    body = {"key": "0123456789", "reason": "test"}
    assert client.post("/api/commands/halt", json=body, headers=ORIGIN).status_code == 409  # past the guard
    assert 'data-role="operator"' in client.get("/").text
    client.post("/logout", headers=ORIGIN)
    assert client.post("/api/commands/halt", json=body, headers=ORIGIN).status_code == 403


def test_wrong_tokens_close_the_door_to_wrong_tokens_of_their_source_alone(client_of, held_feed):
    client = client_of(held_feed, proxies=("10.0.0.0/8",))
    proxy = TestClient(client.app, base_url="http://localhost:10000", client=("10.0.0.1", 4711))
    for number in range(WRONG_TOKENS):
        sent = {"x-forwarded-for": f"203.0.113.{number}, 198.51.100.9"}  # the first is the visitor's own
        answer = proxy.get("/api/orders", headers=sent | {"authorization": "Bearer guess"})
        assert answer.status_code == 401
    waits = proxy.post("/login", json={"token": "guess"}, headers=ORIGIN | sent)
    assert waits.status_code == 429
    assert 50 < int(waits.headers["retry-after"]) <= 60
    assert proxy.get("/api/orders", headers=sent | {"authorization": "Bearer guess"}).status_code == 429
    assert proxy.post("/login", json={"token": "operator-token"}, headers=ORIGIN | sent).is_success
    assert proxy.get("/api/orders", headers=sent | OPERATOR).is_success  # the right one always counts
    others = {"x-forwarded-for": "198.51.100.10"}
    assert proxy.post("/login", json={"token": "operator-token"}, headers=ORIGIN | others).is_success
    assert proxy.get("/api/orders", headers=others | OPERATOR).is_success
    assert client.get("/api/orders", headers=sent | OPERATOR).is_success  # sent by no proxy of ours


def running(runs, ask):
    """Return the feed of a desk that runs and answers by ``ask``."""
    feed = DeskFeed(runs, None, SystemClock(), ask_desk=ask)
    feed.choose()
    feed.is_running = True
    return feed


@pytest.mark.parametrize("held_up", ["lock", "_others_lock"])
def test_a_halt_waits_for_no_reader_and_a_busy_reader_is_told_when_to_ask_again(
    held_runs, ended_runs, client_of, held_up, tmp_path
):
    """Sixty readers without a token wait for a journal; the halt, a login and the health check do not."""
    for source in (*held_runs.iterdir(), *ended_runs[0].iterdir()):
        if source.is_dir():
            (tmp_path / source.name).symlink_to(source)
    feed = running(tmp_path, lambda *_, **__: {"was": "ACTIVE", "mode": "HALTED", "cancels": 2})
    feed.start = lambda: None  # it follows nothing by itself
    (other,) = (path.name for path in tmp_path.iterdir() if path.name != feed.follower.run_dir.name)
    with client_of(feed) as client, ThreadPoolExecutor(60) as pool:
        with getattr(feed, held_up):
            path = "/api/orders" if held_up == "lock" else f"/api/orders?run={other}"
            reads = [pool.submit(client.get, path) for _ in range(60)]
            wait_for(lambda: sum(each.done() for each in reads) >= 60 - MOST_READS)
            began = time.monotonic()
            body = {"key": "0123456789", "reason": "test"}
            assert client.post("/api/commands/halt", json=body, headers=OPERATOR).json()["mode"] == "HALTED"
            assert client.post("/login", json={"token": "operator-token"}, headers=ORIGIN).is_success
            assert client.get("/healthz").json()["running"]
            assert time.monotonic() - began < 1.0
            if held_up == "_others_lock":  # whoever waits for another run is refused at last
                wait_for(lambda: all(each.done() for each in reads))
        answers = [each.result() for each in reads]
    refused = [each for each in answers if each.status_code == 503]
    assert len(refused) == (60 if held_up == "_others_lock" else 60 - MOST_READS)
    assert {each.headers["retry-after"] for each in refused} == {"1"}


def wait_for(condition):
    ends = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_command_reaches_the_desk_once_for_each_key(held_runs):
    asked = []

    def ask(run_dir, request, **_):
        asked.append((run_dir.name, request))
        return {"was": "ACTIVE", "mode": "HALTED", "cancels": 2}

    feed = running(held_runs, ask)
    first = feed.command("halt", "key-00001", "because")
    assert feed.command("halt", "key-00001", "because") == first
    assert asked == [(feed.follower.run_dir.name, {"do": "halt", "reason": "because"})]
    feed.command("halt", "key-00002", "again")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("action", "reason", "run"),
    [
        ("flatten", "because", ""),
        ("resume", "because", ""),
        ("halt", "another reason", ""),
        ("halt", "because", "the-desk-before"),
    ],
)
def test_a_key_is_of_one_command_and_under_another_nothing_is_sent(held_runs, client_of, action, reason, run):
    asked = []
    feed = running(held_runs, lambda _dir, request, **_: asked.append(request["do"]) or {"was": "ACTIVE"})
    client, key = client_of(feed), "key-00001"
    first = {"key": key, "reason": "because"}
    assert client.post("/api/commands/halt", json=first, headers=OPERATOR).is_success
    body = {"key": key, "reason": reason, "run": run}
    answer = client.post(f"/api/commands/{action}", json=body, headers=OPERATOR)
    assert (answer.status_code, asked) == (409, ["halt"])
    again = client.post(f"/api/commands/{action}", json=body | {"key": "key-00002"}, headers=OPERATOR)
    assert again.is_success == (run == "")


def test_a_command_that_the_desk_refused_may_be_sent_again_with_its_key(held_runs):
    """As a resume while the venue's stream is down: once it is up, the same request is to be heard."""
    answers = iter([{"error": "the venue's order stream is down"}, {"was": "HALTED", "mode": "ACTIVE"}])
    feed = running(held_runs, lambda *_, **__: next(answers))
    assert "error" in feed.command("resume", "key-00001", "seen")
    for _ in range(2):
        assert feed.command("resume", "key-00001", "seen")["mode"] == "ACTIVE"


def test_the_answer_of_one_desk_is_none_of_the_next_ones(held_runs, tmp_path):
    """The page follows the desk that runs: a key of the one before it is no halt of this one."""
    (source,) = (path for path in held_runs.iterdir() if path.is_dir())
    for name in ("first", "second"):
        (tmp_path / name).symlink_to(source)
    asked = []
    feed = running(tmp_path, lambda run_dir, _request, **_: asked.append(run_dir.name) or {"was": "ACTIVE"})
    assert "error" not in feed.command("halt", "key-00001", "because")
    before = feed.follower.run_dir.name
    (tmp_path / before).unlink()  # the desk before is over, and the other one runs
    feed.choose()
    feed.is_running = True
    assert feed.follower.run_dir.name != before
    assert "error" in feed.command("halt", "key-00001", "because")
    assert asked == [before]
    feed.stop()


@pytest.mark.parametrize(
    ("action", "reason", "status"), [("resume", "", 409), ("resume", "seen", 200), ("halt", "", 200)]
)
def test_the_page_resumes_no_desk_without_a_reason(client_of, held_runs, action, reason, status):
    async def act(*_):
        return {"was": "ACTIVE", "mode": "HALTED", "cancels": 0}

    feed = running(held_runs, lambda _dir, request, **_: asyncio.run(operate(request, act)))
    body = {"key": "key-00001", "reason": reason}
    answer = client_of(feed).post(f"/api/commands/{action}", json=body, headers=ORIGIN | OPERATOR)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("fails", [False, True])
def test_two_concurrent_commands_of_one_key_reach_the_desk_once(held_runs, fails):
    asked, under_way, may_answer = [], threading.Event(), threading.Event()

    def ask(_run_dir, request, **_):
        asked.append(request)
        under_way.set()
        assert may_answer.wait(30.0)
        if fails:
            raise RetryError("the desk does not answer")
        return {"number": len(asked)}

    feed = running(held_runs, ask)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(feed.command, "flatten", "key-00001", "enough")
        assert under_way.wait(30.0)
        second = pool.submit(feed.command, "flatten", "key-00001", "enough")
        while not second.running():
            pass
        may_answer.set()
        if not fails:
            assert first.result() == second.result() == {"number": 1}
            assert len(asked) == 1
            return
        for each in (first, second):
            assert isinstance(each.exception(), RetryError)
    with pytest.raises(RetryError):  # what did not reach the desk may be tried again
        feed.command("flatten", "key-00001", "enough")


def test_a_command_for_the_desk_that_the_page_showed_never_reaches_another(held_runs, client_of):
    asked = []
    feed = running(held_runs, lambda run_dir, _request, **_: asked.append(run_dir) or {})
    shown = feed.follower.run_dir.name
    client, body = client_of(feed), {"key": "0123456789", "run": "the-desk-before"}
    answer = client.post("/api/commands/flatten", json=body, headers=OPERATOR)
    assert answer.status_code == 409
    assert answer.json() == {
        "error": f"nothing was sent: the page showed the-desk-before, and follows {shown} by now",
        "fix": "scalpdesk flatten --run the-desk-before",
    }
    assert asked == []
    body["run"] = shown
    assert client.post("/api/commands/flatten", json=body, headers=OPERATOR).status_code == 200
    assert [path.name for path in asked] == [shown]


def test_stream_gives_the_newest_state_and_drops_what_nobody_took(held_runs):
    feed = read_up(held_runs)

    async def read():
        states = feed.states()
        first = await anext(states)
        feed.publish()
        feed.publish()
        feed.publish()
        second = await anext(states)
        await states.aclose()
        return first, second

    first, second = asyncio.run(read())
    assert first.startswith(b"id: 1\nevent: state\ndata: {")
    assert second.startswith(b"id: 4\n")
    assert feed.dropped == 2
    assert feed.clients == 0
    one = json.loads(first.split(b"data: ")[1])
    assert one["series"]["from"] == 0
    assert len(one["series"]["columns"]["t"]) == len(feed.follower.series)
    four = json.loads(second.split(b"data: ")[1])
    assert four["series"]["from"] == len(feed.follower.series)
    assert four["series"]["columns"]["t"] == []
    assert len(second) < 20_000


def test_chart_library_is_the_one_we_know_and_is_never_imported(client):
    import sys

    for name, (_, digest) in static_files.CHART_FILES.items():
        content = client.get(f"/static/{name}").content
        assert sha256(content).hexdigest() == digest
    assert "youplot" not in sys.modules


def test_another_chart_file_is_not_served(monkeypatch):
    place, _ = static_files.CHART_FILES["uplot.js"]
    monkeypatch.setitem(static_files.CHART_FILES, "uplot.js", (place, "0" * 64))
    assert static_files.chart_file("uplot.js") is None
    monkeypatch.setitem(static_files.CHART_FILES, "uplot.js", ("youplot/vendor/absent.js", "0" * 64))
    assert static_files.chart_file("uplot.js") is None


def test_markup_of_our_own_has_nothing_that_the_policy_refuses():
    for entry in files("scalpdesk.web").joinpath("static").iterdir():
        text = entry.read_text("utf-8")
        if entry.name.endswith(".html"):
            assert "style=" not in text
            assert "<style" not in text
            assert " on" not in text.replace(" on this", "").replace(" only", "")
            scripts = text.count("<script src=") + text.count('<script type="module" src=')
            assert text.count("<script") == scripts
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        if entry.name.endswith(".js"):
            assert ".innerHTML" not in text
            assert "eval(" not in text
            assert 'setAttribute("style"' not in text
