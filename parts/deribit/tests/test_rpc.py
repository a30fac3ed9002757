"""Frames of a JSON-RPC connection, its end and its return, in virtual time."""

import asyncio
import gc
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk_deribit.rpc import Disconnected, KeysRefused, RpcConnection, RpcEvents, RpcTarget
from scalpdesk_deribit.wire import Notification, RpcError
from scalpdesk_testing.virtual_time import VirtualLoop

URL = "wss://venue.test/ws"
AUTH, BEAT, TEST = "public/auth", "public/set_heartbeat", "public/test"
CANCELS = "private/enable_cancel_on_disconnect"
BY_KEYS = {"grant_type": "client_credentials", "client_id": "id", "client_secret": "word"}
KEYS, ENDED, BUSY = 13_004, 13_009, 10_028
LIFE_SIGN = {"method": "heartbeat", "params": {"type": "heartbeat"}}
TEST_REQUEST = {"method": "heartbeat", "params": {"type": "test_request"}}


def error(code):
    return {"error": {"code": code, "message": "no"}}


class Socket:
    """One websocket: the venue answers each method as its table says, at once."""

    def __init__(self, venue):
        self.venue, self.frames, self.close_code = venue, asyncio.Queue(), None

    async def __aenter__(self):
        if self.venue.faults and (fault := self.venue.faults.pop(0)) is not None:
            raise fault
        self.venue.sockets.append(self)
        return self

    async def __aexit__(self, *_):
        self.venue.left.append(self.venue.now())

    def __aiter__(self):
        return self

    async def __anext__(self):
        frame = await self.frames.get()
        if isinstance(frame, ValueError):
            return aiohttp.WSMessage(aiohttp.WSMsgType.ERROR, frame, None)
        if isinstance(frame, Exception):
            raise frame
        if frame is None:
            raise StopAsyncIteration
        text = frame if isinstance(frame, str) else json.dumps(frame)
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, text, None)

    async def send_str(self, text):
        request = json.loads(text)
        method, params = request["method"], request["params"]
        self.venue.asked.append((self.venue.now(), method, params))
        found = self.venue.answer(method, params)
        if isinstance(found, Exception):
            raise found
        if found is not None:
            self.frames.put_nowait({"jsonrpc": "2.0", "id": request["id"], **found})

    async def close(self):
        self.frames.put_nowait(None)


class Venue:
    """Makes sockets for one connection and keeps what was asked and reported, each with its second."""

    def __init__(self, *, key=True, **target):
        self.loop = VirtualLoop()
        self.answers, self.faults, self.unseen = {}, [], []
        self.loop.set_exception_handler(lambda _, context: self.unseen.append(context))
        self.asked, self.sockets, self.connects, self.left, self.said = [], [], [], [], []
        self.token = SimpleNamespace(number=0, life=900)
        keys = {"key": Key("id"), "secret": Key("word")} if key else {}

        def note(kind):
            return lambda *values: self.said.append((self.now(), kind, *values))

        self.connection = RpcConnection(
            RpcTarget(name="orders", url=URL, **keys, **target),
            RpcEvents(
                on_notification=note("notification"),
                on_up=note("up"),
                on_down=note("down"),
                on_refused=note("refused"),
                on_failed=note("failed"),
            ),
            self,
        )

    def now(self):
        return round(self.loop.time(), 3)

    @asynccontextmanager
    async def websockets(self, connect_seconds):
        assert connect_seconds == 10.0
        yield self

    def ws_connect(self, url, **options):
        self.connects.append((self.now(), url, options))
        return Socket(self)

    def answer(self, method, params):
        if method in self.answers:
            found = self.answers[method]
            found = found.pop(0) if isinstance(found, list) else found
            if found != "usual":
                return found
        if method == AUTH:
            self.token.number += 1
            return {"result": {"refresh_token": f"r{self.token.number}", "expires_in": self.token.life}}
        return {"result": params["channels"] if method.endswith("/subscribe") else "ok"}

    def run(self, *steps):
        """Start, run the steps one after the other (a number is a wait), close, and return what they gave."""

        async def whole():
            try:
                await self.connection.start()
                found = []
                for step in steps:
                    if isinstance(step, int | float):
                        await asyncio.sleep(step)
                        continue
                    given = step()
                    found.append(await given if asyncio.iscoroutine(given) else given)
                return found
            finally:
                await self.connection.close()

        return self.loop.run_until_complete(whole())

    def come(self, *frames):
        """Return a step in which frames come on the last socket; None is its end."""
        return lambda: [self.sockets[-1].frames.put_nowait(frame) for frame in frames]

    async def alive(self, seconds):
        for _ in range(seconds // 10):
            self.sockets[-1].frames.put_nowait(LIFE_SIGN)
            await asyncio.sleep(10.0)

    def methods(self, since=0):
        return [method for _, method, _ in self.asked[since:]]

    def ends(self):
        return [(at, *rest) for at, kind, *rest in self.said if kind == "down"]


@pytest.fixture
def venue():
    made = []

    def build(**target):
        made.append(Venue(**target))
        return made[-1]

    yield build
    for each in made:
        each.loop.close()


# how a connection begins -----------------------------------------------------------------------------------


@pytest.mark.rows(
    ("target", "asked"),
    [
        ({"key": False}, [(BEAT, {"interval": 30})]),
        ({"key": False, "heartbeat_seconds": 5}, [(BEAT, {"interval": 10})]),
        ({"heartbeat_seconds": 11}, [(AUTH, BY_KEYS), (BEAT, {"interval": 11})]),
        (
            {"cancels_on_disconnect": True},
            [(AUTH, BY_KEYS), (BEAT, {"interval": 30}), (CANCELS, {"scope": "connection"})],
        ),
    ],
)
def test_a_connection_logs_in_and_asks_for_signs_of_life_before_it_stands(venue, target, asked):
    made = venue(**target)
    made.run()
    assert [(method, params) for _, method, params in made.asked] == asked
    assert [kind for _, kind, *_ in made.said] == ["up"]
    ((_, url, options),) = made.connects
    assert (url, options["timeout"].ws_close, options["max_msg_size"]) == (URL, 1.0, 33_554_432)
    assert not options.keys() & {"heartbeat", "compress"}


@pytest.mark.rows(
    ("code", "tries"), [(KEYS, None), (ENDED, 2), (BUSY, 2)]
)  # only refused keys end all attempts
def test_only_refused_keys_end_all_attempts(venue, code, tries):
    made = venue()
    made.answers[AUTH] = [error(code), "usual", "usual"]
    if tries is None:
        with pytest.raises(KeysRefused, match="no"):
            made.run()
        assert len(made.connects) == 1
    else:
        made.run()
        assert [at for at, _, _ in made.connects] == [0.0, 0.1]
    assert made.ends() == []  # no connection had stood


def test_nothing_is_asked_on_a_connection_that_does_not_stand_yet(venue):
    made = venue()
    made.answers[AUTH] = None

    async def ask():
        starting = asyncio.ensure_future(made.connection.start(3.0))
        await asyncio.sleep(1.0)
        problem = await outcome(made.connection.request("private/x", {}))
        await asyncio.gather(starting, return_exceptions=True)
        await made.connection.close()
        return problem

    problem = made.loop.run_until_complete(ask())
    assert (str(problem), problem.was_sent) == ("not connected", False)
    assert made.methods() == [AUTH]


def test_keys_that_are_refused_later_are_reported_as_final(venue):
    made = venue()
    made.answers[AUTH] = ["usual", error(KEYS)]
    made.run(made.come(None), 60.0)
    assert [rest for _, *rest in made.ends()] == [
        ["connection_lost", "closed by the venue", False],
        ["refused", f"no ({KEYS})", True],
    ]
    assert len(made.connects) == 2


def test_a_greeting_that_is_not_answered_ends_after_ten_seconds(venue):
    made = venue(timeout_seconds=60.0)
    made.answers[BEAT] = [None, "usual"]
    with pytest.raises(TimeoutError):
        made.run()
    assert made.left == [10.0]
    assert made.said == []


# how it ends -----------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("end", "name", "text"),
    [
        (None, "connection_lost", "closed by the venue"),
        (OSError("x" * 300), "connection_lost", "OSError: " + "x" * 191),
        (aiohttp.ClientPayloadError("w"), "connection_lost", "ClientPayloadError: w"),
        (ValueError("v"), "connection_lost", "ClientConnectionError: v"),
        (RuntimeError("y" * 300), "internal_fault", "RuntimeError: " + "y" * 186),
        (TimeoutError(), "half_open", "no frame in time"),
    ],
)
def test_the_cause_of_an_end_is_named_and_another_connection_follows(venue, end, name, text):
    made = venue()

    async def ask():
        with pytest.raises(Disconnected, match="not connected") as caught:
            await made.connection.request("private/x", {})
        return caught.value.was_sent

    found = made.run(made.come(end), 0.05, ask, 1.0, lambda: made.connection.is_up)
    assert made.ends() == [(0.0, name, text, False)]
    assert [at for at, _, _ in made.connects] == [0.0, 0.1]
    assert (found[1:], made.connection.reconnects) == ([False, True], 1)
    assert "private/x" not in made.methods()


def test_why_a_connection_does_not_come_back_is_told_with_the_venues_words(venue):
    made = venue()
    made.answers[AUTH] = ["usual", error(BUSY), error(BUSY), "usual"]
    made.run(made.come(None), 3.0, lambda: made.connection.is_up)
    failed = [what for _, kind, *what in made.said if kind == "failed"]
    assert [name for name, _ in failed] == ["refused", "refused"]
    assert all("10028" in why for _, why in failed)
    assert made.connection.failure == ""


def test_the_code_with_which_the_venue_closes_is_named(venue):
    made = venue()

    def close():
        made.sockets[-1].close_code = 1012
        made.sockets[-1].frames.put_nowait(None)

    made.run(close, 1.0)
    ((_, name, text, _),) = made.ends()
    assert (name, "1012" in text) == ("connection_lost", True)


@pytest.mark.rows(("heartbeat", "at"), [(30, 76.0), (12, 31.0), (1, 3.125)])
def test_a_connection_without_a_frame_for_two_and_a_half_heartbeats_is_dead(venue, heartbeat, at):
    made = venue(key=False, heartbeat_seconds=heartbeat)
    made.run(at + 0.05)  # the first look after 2.5 heartbeats, one a second or a quarter of them
    assert made.ends() == [(at, "half_open", "no frame in time", False)]


def test_any_frame_puts_the_end_off(venue):
    made = venue(key=False)
    unreadable = {"method": "subscription", "params": "x" * 300}
    made.run(70.0, made.come(LIFE_SIGN), 70.0, made.come(unreadable, "no JSON"), 70.0)
    (first, second) = made.said[1:]
    assert first[:-1] == second[:-1] == (140.0, "refused", "malformed_frame")
    assert (len(first[-1]), "not JSON" in second[-1]) == (200, True)


def test_dropping_a_connection_brings_another_and_closing_does_not(venue):
    made = venue()
    made.run(made.connection.drop, 0.5)
    assert len(made.connects) == 2
    made.loop.run_until_complete(asyncio.sleep(60.0))
    assert (len(made.connects), made.connection.is_up) == (2, False)


@pytest.mark.rows(("stood", "pause"), [(9.5, 0.4), (10.5, 0.1)])
def test_pauses_double_until_a_connection_has_stood_for_ten_seconds(venue, stood, pause):
    made = venue(key=False)
    drop = made.connection.drop
    made.run(drop, 0.15, drop, 0.2 + stood, drop, 1.0)
    assert [at for at, _, _ in made.connects] == pytest.approx([0.0, 0.1, 0.35, 0.35 + stood + pause])


# tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.rows(("life", "renewed"), [(100, [80.0, 160.0]), (None, [720.0])])
def test_a_token_is_renewed_after_four_fifths_of_its_life(venue, life, renewed):
    made = venue()
    made.token.life = life
    made.run(lambda: made.alive(170 if life else 730))
    logins = [(at, params) for at, method, params in made.asked if method == AUTH]
    assert logins[0] == (0.0, BY_KEYS)
    assert logins[1:] == [
        (at, {"grant_type": "refresh_token", "refresh_token": f"r{number}"})
        for number, at in enumerate(renewed, 1)
    ]


def test_a_renewal_that_is_refused_begins_again_with_the_keys(venue):
    made = venue()
    made.token.life = 100
    made.answers[AUTH] = ["usual", error(KEYS), "usual"]
    made.run(lambda: made.alive(90))
    assert [(at, params["grant_type"]) for at, method, params in made.asked if method == AUTH] == [
        (0.0, "client_credentials"),
        (80.0, "refresh_token"),
        (80.0, "client_credentials"),
    ]
    assert made.ends() == []


def test_a_renewal_that_fails_otherwise_ends_the_connection(venue):
    made = venue()
    made.token.life = 100
    made.answers[AUTH] = ["usual", error(BUSY), "usual"]
    made.run(lambda: made.alive(90))
    assert [rest for _, *rest in made.ends()] == [["refused", f"no ({BUSY})", False]]


@pytest.mark.rows("grant", [{}, {"refresh_token": None, "expires_in": None}])
def test_a_login_without_a_refresh_token_is_renewed_by_the_keys(venue, grant):
    made = venue()
    made.answers[AUTH] = [{"result": grant}, "usual"]
    made.answers["private/x"] = [error(ENDED), {"result": 5}]
    assert made.run(lambda: made.connection.request("private/x", {})) == [5]
    assert [params for _, method, params in made.asked if method == AUTH] == [BY_KEYS, BY_KEYS]


def test_a_request_whose_token_has_ended_goes_out_again_under_a_new_one(venue):
    made = venue()
    made.answers["private/x"] = [error(ENDED), {"result": 5}]
    assert made.run(lambda: made.connection.request("private/x", {"a": 1})) == [5]
    assert made.methods(2) == ["private/x", AUTH, "private/x"]
    assert made.asked[2][2] == made.asked[4][2] == {"a": 1}
    assert made.asked[3][2] == {"grant_type": "refresh_token", "refresh_token": "r1"}


# requests --------------------------------------------------------------------------------------------------


async def outcome(asked):
    try:
        return await asked
    except (RpcError, Disconnected, TimeoutError) as problem:
        return problem


@pytest.mark.rows(
    ("key", "code", "times"), [(True, BUSY, 1), (True, KEYS, 1), (False, ENDED, 1), (True, ENDED, 2)]
)
def test_an_error_is_raised_as_the_venue_gave_it(venue, key, code, times):
    made = venue(key=key)
    made.answers["x"] = error(code)
    (problem,) = made.run(lambda: outcome(made.connection.request("x", {})))
    assert (type(problem), problem.code, problem.message) == (RpcError, code, "no")
    assert made.methods().count("x") == times


@pytest.mark.rows(("given", "seconds"), [(None, 5.0), (2.0, 2.0)])
def test_an_answer_that_comes_too_late_is_for_nobody(venue, given, seconds):
    made = venue(key=False)
    made.answers["x"] = None
    took = []

    async def ask():
        began = made.now()
        found = await outcome(made.connection.request("x", {}, given))
        took.append(made.now() - began)
        assert not made.connection._waiting
        return type(found)

    late = {"id": 2, "result": "late"}
    found = made.run(ask, made.come(late), 1.0, lambda: made.connection.request("y", {}))
    assert (found[0], took, found[-1]) == (TimeoutError, [seconds], "ok")
    assert made.connection._waiting == {}
    assert made.said[1:] == []


def test_what_is_asked_while_a_task_is_being_cancelled_ends_in_a_time_out(venue):
    made = venue(key=False, timeout_seconds=3.0)
    made.answers["x"] = None
    took = []

    async def clean_up():
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(2):  # it goes on after the first
                began = made.now()
                found = await outcome(made.connection.request("x", {}))
                took.append((type(found), made.now() - began))

    async def cancelled():
        task = asyncio.ensure_future(clean_up())
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert made.run(cancelled) == [True]
    assert took == [(TimeoutError, 3.0)] * 2


def test_requests_are_told_apart_by_their_ids(venue):
    made = venue(key=False)
    made.answers.update(x=None, y=None)

    async def both():
        asked = [asyncio.ensure_future(made.connection.request(method, {})) for method in "xy"]
        await asyncio.sleep(0.1)
        made.come({"id": 3, "result": "of y"}, {"id": 9, "result": "?"}, {"id": 2, "result": "of x"})()
        return await asyncio.gather(*asked)

    assert made.run(both) == [["of x", "of y"]]


@pytest.mark.rows("lost", ["before the answer", "while sending"])
def test_a_request_whose_connection_is_lost_may_have_arrived(venue, lost):
    made = venue(key=False)
    made.answers["x"] = None if lost == "before the answer" else aiohttp.ClientConnectionResetError("x")

    async def ask():
        asked = asyncio.ensure_future(outcome(made.connection.request("x", {}, 60.0)))
        await asyncio.sleep(1.0)
        made.come(OSError("cut"))()
        return await asked, made.now()

    ((problem, at),) = made.run(ask)
    assert (type(problem), problem.was_sent, at) == (Disconnected, True, 1.0)
    assert ("OSError: cut" if lost == "before the answer" else "lost while sending") in str(problem)


def test_a_test_request_is_answered_and_a_sign_of_life_is_not(venue):
    made = venue(key=False)
    made.answers[TEST] = [{"result": {}}, error(BUSY)]
    made.run(made.come(LIFE_SIGN), 1.0, made.come(TEST_REQUEST), 1.0, made.come(TEST_REQUEST), 1.0)
    assert made.asked[1:] == [(1.0, TEST, {}), (2.0, TEST, {})]
    assert made.ends() == []  # an error to it is no end
    assert not made.connection._helpers
    gc.collect()
    assert made.unseen == []


def test_an_answer_to_a_test_request_that_is_under_way_ends_with_the_connection(venue):
    made = venue(key=False)
    made.answers[TEST] = None
    made.run(made.come(TEST_REQUEST), 1.0)
    assert not [task for task in asyncio.all_tasks(made.loop) if not task.cancelling()]


# channels --------------------------------------------------------------------------------------------------


@pytest.mark.rows(("key", "scope"), [(True, "private"), (False, "public")])
def test_channels_are_kept_over_connections_and_left_when_no_longer_wanted(venue, key, scope):
    made = venue(key=key)
    connection = made.connection
    found = made.run(
        lambda: connection.subscribe(["a", "b", "a"]),
        lambda: connection.subscribe(["b", "c"]),
        made.come(None),
        1.0,
        lambda: connection.subscribe([]),
    )
    channels = [(method, params["channels"]) for _, method, params in made.asked if "channels" in params]
    assert channels == [
        (f"{scope}/subscribe", ["a", "b"]),
        (f"{scope}/unsubscribe", ["a"]),
        (f"{scope}/subscribe", ["b", "c"]),
        (f"{scope}/subscribe", ["b", "c"]),  # on the second connection
        (f"{scope}/unsubscribe", ["b", "c"]),
    ]
    assert (found[0], found[1], found[-1]) == (["a", "b"], ["b", "c"], [])


def test_many_channels_are_asked_for_in_parts_and_those_refused_are_named(venue):
    made = venue(key=False)
    names = [f"c{number}" for number in range(801)]
    made.answers["public/subscribe"] = [
        {"result": names[:399]},
        {"result": names[500:800]},
        {"result": names[800:]},
    ]
    (accepted,) = made.run(lambda: made.connection.subscribe(names))
    assert [len(params["channels"]) for _, _, params in made.asked[1:]] == [400, 400, 1]
    assert accepted == names[:399] + names[500:]
    ((_, kind, name, text),) = made.said[1:]
    assert (kind, name, text) == ("refused", "channel_refused", ", ".join(names[399:500])[:200])
    assert len(text) == 200


def test_what_comes_on_a_channel_is_passed_on(venue):
    made = venue(key=False)
    made.run(made.come({"method": "subscription", "params": {"channel": "a", "data": {"x": 1}}}), 0.5)
    assert made.said[1:] == [(0.0, "notification", Notification("a", {"x": 1}))]
