"""The package of docs/developing/add_an_exchange_protocol.md, built from the page: a client trades on it."""

import asyncio
import sys
from decimal import Decimal

import pytest

from fakes.packages import DOCS, install_page
from fakes.tape import TapeBuilder
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import EXCHANGE_PROTOCOLS
from scalpdesk.exchange.launch import LaunchPlan, build_server, ready_line
from scalpdesk.exchange.protocol import find_protocol
from scalpdesk.exchange.source import TapeSource


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
