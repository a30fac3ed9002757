"""The package of docs/developing/add_an_exchange_protocol.md, built from the page: a client trades on it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import EXCHANGE_PROTOCOLS
from scalpdesk.exchange.launch import LaunchPlan, build_server, ready_line
from scalpdesk.exchange.protocol import find_protocol
from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.tape import TapeBuilder
from tests.docs.pages import DOCS, install_page


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    install_page(DOCS / "developing" / "add_an_exchange_protocol.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] == "line_exchange"]:
        del sys.modules[module]


def test_a_protocol_in_one_file_trades_over_its_own_wire(socket_enabled):
    tape = TapeBuilder().path("10:00", 60, [500.0] * 5).build()
    server = build_server(LaunchPlan(TapeSource(tape), protocol="lines", speed=0.0), SystemClock())

    async def scenario():
        await server.start()
        server.admin.handle("POST", "advance", b'{"seconds": 1800}')
        reader, writer = await asyncio.open_connection("127.0.0.1", server.protocol.port)
        keys = server.keyring.credentials[0]
        replies = []
        for line in ("BUY 3 SPY", f"LOGIN {keys.key} wrong", f"LOGIN {keys.key} {keys.secret}", "BUY 3 SPY"):
            writer.write(f"{line}\n".encode())
            replies.append((await reader.readline()).decode().split())
        filled = (await reader.readline()).decode().split()
        counts = server.protocol.open_count, server.protocol.ready_count
        server.protocol.close_all()
        assert await reader.read() == b""
        await server.stop()
        writer.close()
        return replies, filled, counts

    replies, filled, counts = asyncio.run(scenario())
    assert [words[0] for words in replies] == ["NO", "NO", "OK", "OK"]
    order_id = replies[-1][1]
    (order,) = server.admin.orders()
    (fill,) = server.admin.fills()
    assert filled[:2] == ["FILL", order_id]
    assert [Decimal(figure) for figure in filled[2:]] == [Decimal(fill[name]) for name in ("qty", "price")]
    assert (order["id"], fill["qty"], fill["fee"]) == (order_id, "3", "0")
    assert counts == (1, 1)
    assert ready_line(server)["keys"]["lines"] == [
        getattr(server.keyring.credentials[0], name) for name in ("key", "secret")
    ]


def test_protocols_are_found_by_name():
    assert EXCHANGE_PROTOCOLS.names() == ("alpaca", "deribit", "lines", "tws")
    with pytest.raises(ConfigError) as caught:
        find_protocol("alpacca")
    assert caught.value.nearest == "alpaca"


def served(site, *words):
    """Start ``scalpdesk exchange`` as a program that sees the package; return it and its first line."""
    environ = os.environ | {"PYTHONPATH": str(site), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "scalpdesk", "exchange", *words]
    program = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return program, program.stdout.readline()


def test_the_command_serves_the_protocol_and_prints_its_address(tmp_path, socket_enabled):
    words = ["--protocol", "lines", "--data", "embedded", "--start", "2018-02-05", "--speed", "60"]
    program, line = served(tmp_path / "site", *words)
    try:
        ready = json.loads(line)
        address = urlsplit(ready["urls"]["lines"])
        key, secret = ready["keys"]["lines"]
        with socket.create_connection((address.hostname, address.port)) as wire:
            talk = wire.makefile("rw", encoding="ascii")
            replies = []
            for text in (f"LOGIN {key} {secret}", "SELL 1 NOTHING"):
                print(text, file=talk, flush=True)
                replies.append(talk.readline().split()[0])
        assert replies == ["OK", "NO"]
    finally:
        program.terminate()
        program.communicate()


def test_a_protocol_of_another_market_is_refused(capsys):
    assert main(["exchange", "--protocol", "lines", "--data", "embedded-btc"]) == 2
    assert "where: --protocol" in capsys.readouterr().err
    assert main(["exchange", "--protocol", "linse"]) == 2
    assert "nearest: lines" in capsys.readouterr().err


def test_a_protocol_without_a_method_is_refused_by_name(tmp_path):
    path = tmp_path / "site" / "line_exchange" / "protocol.py"
    path.write_text(path.read_text("utf-8").replace("def close_all", "def close_every"), encoding="utf-8")
    with pytest.raises(ConfigError, match="LineProtocol: it has no close_all") as caught:
        find_protocol("lines")
    assert caught.value.where == "entry point lines of scalpdesk.exchanges (line-exchange 0.1.0)"
