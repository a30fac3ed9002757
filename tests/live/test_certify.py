"""A certification at the three served exchanges, from the command line: each step, its bytes, no secret."""

import json
import time
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.live.certify import STEPS, WireTap, unmasked
from scalpdesk_testing.kit.live_session import ExchangeProcess, Wanted

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

DAY, D = date(2025, 3, 5), Decimal
VENUES = {
    "alpaca": (Wanted(lockstep_ms=0.0), ()),
    "ibkr": (Wanted(venue="ibkr", lockstep_ms=0.0), ()),
    "deribit": (
        Wanted(
            venue="deribit",
            data="embedded-btc",
            day=DAY,
            underlyings=("BTC-PERPETUAL",),
            lockstep_ms=0.0,
            cash=D(2),
        ),
        ("--symbol", "BTC-PERPETUAL", "--set", "desk.currency=BTC"),
    ),
}


@pytest.mark.parametrize(
    "venue", ["alpaca", *(pytest.param(venue, marks=pytest.mark.second) for venue in ("ibkr", "deribit"))]
)
def test_each_served_exchange_keeps_the_contract(venue, tmp_path, monkeypatch, capsys):
    wanted, words = VENUES[venue]
    monkeypatch.chdir(tmp_path)
    exchange = ExchangeProcess(wanted)
    monkeypatch.setenv("TRADING_API_KEY", exchange.key)
    monkeypatch.setenv("TRADING_API_SECRET", exchange.secret)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    try:
        exchange.post("speed", speed=60)
        while exchange.get("clock")["now_ns"] < wanted.open_ns + 60 * NANOS_PER_SECOND:
            time.sleep(0.05)
        exchange.post("speed", speed=5)
        where = ("--url", exchange.venue_url, "--exchange-time", "--out", "report")
        code = main(["certify", "--venue", venue, *where, *words, "--json"])
        books = exchange.get("state")
    finally:
        exchange.close()
    report = json.loads(capsys.readouterr().out)
    assert {
        step["name"]: (step["verdict"], step["seen"])
        for step in report["steps"]
        if step["verdict"] == "differs"
    } == {}
    assert code == 0
    assert [step["name"] for step in report["steps"]] == [question.name for question in STEPS]
    assert {step["name"]: step["seen"] for step in report["steps"] if step["verdict"] == "not asked"} == {}
    assert books["fills"] == []
    assert len(books["orders"]) >= 3
    files = list((tmp_path / "report").rglob("*"))
    text = b"".join(file.read_bytes() for file in files if file.is_file())
    assert exchange.secret.encode() not in text
    assert (tmp_path / "report" / "wire" / "07-order.txt").stat().st_size > 100
    assert (tmp_path / "report").stat().st_mode & 0o077 == 0


def test_a_live_configuration_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["certify", "--venue", "alpaca", "--set", "desk.paper=false", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "desk.paper"


def test_keys_are_taken_out_of_headers_messages_and_masked_frames():
    tap = WireTap(["the-key", "the-secret"])
    mask, payload = b"\x01\x02\x03\x04", b'{"key":"the-key","secret":"the-secret"}'
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    frame = bytes([0x81, 0x80 | len(payload)]) + mask + masked
    assert unmasked(frame).strip() == payload
    tap.note(">", frame[:20])
    tap.note(">", frame[20:])
    tap.note("<", b'{"access_token":"abc.def","expires_in":9}')
    tap.note(">", b"GET / HTTP/1.1\r\nAuthorization: Bearer abc.def\r\n\r\nthe-secret")
    shown = tap.text()
    assert not any(secret in shown for secret in ("the-key", "the-secret", "abc.def"))
    assert '"expires_in":9' in shown
