"""The control socket at its edges: whose request, how long an answer, what a failure leaves behind."""

import asyncio
import os
import socket
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.live import until
from scalpdesk.core.errors import RetryError, StopError
from scalpdesk.live import status
from scalpdesk.live.status import SOCKET_NAME, ControlServer, ask, running_desks


async def echo(request):
    return request


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("platform", "owner", "is_owner"),
    [("linux", 0, True), ("linux", 1, True), ("linux", 2, False), ("darwin", 2, True)],
)
def test_requests_are_taken_from_the_process_own_user_and_from_root(monkeypatch, platform, owner, is_owner):
    user = 300  # more than a byte
    monkeypatch.setattr(os, "getuid", lambda: user)
    monkeypatch.setattr(sys, "platform", platform)
    asked = []

    def getsockopt(*how):
        asked.append(how)
        uid = (0, user, user + 1)[owner]
        return b"\x07\x00\x00\x00" + uid.to_bytes(4, "little") + b"\x00" * 4

    assert status._is_owner(SimpleNamespace(getsockopt=getsockopt)) is is_owner
    wanted = (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert asked == ([wanted] if platform == "linux" else [])


@pytest.mark.parametrize(("length", "is_short"), [(99, True), (100, False)])
def test_a_path_too_long_for_a_socket_goes_by_its_folder(length, is_short):
    path = Path("/" + "x" * (length - 14) + "/" + SOCKET_NAME)
    assert len(str(path)) == length
    assert status._short(7, path) == (str(path) if is_short else "/proc/self/fd/7/control.sock")


class Line:
    """A connection that answers in parts."""

    def __init__(self, parts):
        self.parts, self.sent, self.asked = list(parts), b"", []

    def sendall(self, data):
        self.sent += data

    def recv(self, most):
        self.asked.append(most)
        return self.parts.pop(0)


@pytest.mark.parametrize(
    ("parts", "answer", "reads"),
    [
        ([b'{"a": 1}\n'], {"a": 1}, 1),
        ([b'{"a"', b": 1}", b"\n", b"never read"], {"a": 1}, 3),
        ([b'{"a": 1}', b""], {"a": 1}, 2),  # whoever ends without a new line has answered, too
        ([b"", b""], None, 1),
        ([b"x" * 20, b"y", b"z"], None, 2),  # as long as an answer may be, and still more
        ([b"x" * 19, b"y", b"z", b"\n"], None, 3),
        ([b"[1]\n"], None, 1),
        ([b"x"] * 9, None, 4),  # no end in time
    ],
)
def test_an_answer_is_read_to_its_line_its_end_its_length_or_its_time(monkeypatch, parts, answer, reads):
    line, connected = Line(parts), []

    @contextmanager
    def connect(*how):
        connected.append(how)
        yield line

    now = iter(range(99))
    monkeypatch.setattr(status, "_connected", connect)
    monkeypatch.setattr(status, "ANSWER_BYTES", 19)
    monkeypatch.setattr(status, "time", SimpleNamespace(monotonic=lambda: next(now)))
    if answer is None:
        with pytest.raises(RetryError, match="the desk does not answer") as refused:
            ask(Path("run"), {"do": "x"}, timeout_seconds=5.0)
        assert refused.value.where == "run"
    else:
        assert ask(Path("run"), {"do": "x"}, timeout_seconds=5.0) == answer
    assert (line.sent, connected) == (b'{"do":"x"}\n', [(Path("run"), 5.0)])
    assert line.asked == [65_536] * reads


def test_desks_that_listen_are_listed_newest_last(tmp_path, monkeypatch):
    for name in ("c", "a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / SOCKET_NAME).touch()

    @contextmanager
    def connect(folder, seconds):
        if folder.name == "b":
            raise ConnectionRefusedError
        yield

    monkeypatch.setattr(status, "_connected", connect)
    assert running_desks(tmp_path) == [tmp_path / "a", tmp_path / "c"]


def test_a_request_that_fails_is_answered_and_reported_and_the_server_goes_on(tmp_path):
    failures = []

    async def answer(request):
        if request:
            raise ValueError("no")
        return {"fine": True}

    async def talk(server):
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b'{"a":1}\n{}\n')
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
        for _ in range(2):
            serving = asyncio.ensure_future(server.serve())
            await until(path.exists)
            await asyncio.sleep(0)
            path.unlink()
            with pytest.raises(StopError, match="the control socket has disappeared") as refused:
                await serving
            assert refused.value.where == str(path)

    before = open_files()
    asyncio.run(lose(ControlServer(tmp_path, echo)))
    assert open_files() == before


def test_a_socket_that_cannot_be_made_is_refused_and_leaves_no_mask_and_no_open_file(tmp_path, monkeypatch):
    before = open_files()
    missing = ControlServer(tmp_path / "nowhere", echo)
    with pytest.raises(StopError, match="the control socket cannot be made"):
        asyncio.run(missing.start())
    missing.close()
    mask = os.umask(0o022)
    try:

        def too_long(folder, path):
            return "x" * 200

        monkeypatch.setattr(status, "_short", too_long)
        with pytest.raises(StopError, match="the control socket cannot be made") as refused:
            asyncio.run(ControlServer(tmp_path, echo).start())
        assert refused.value.where == str(tmp_path / SOCKET_NAME)
        assert os.umask(0o022) == 0o022
        assert open_files() == before
    finally:
        os.umask(mask)


def test_what_a_dead_desk_left_behind_is_replaced_and_a_stranger_gets_no_answer(tmp_path, monkeypatch):
    (tmp_path / SOCKET_NAME).touch()
    monkeypatch.setattr(status, "_is_owner", lambda line: False)
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
