"""Websocket protocols, frame by frame."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from scalpdesk.core.units import InstrumentId
from scalpdesk.exchange.outbox import Frame
from scalpdesk.exchange.source import TapeSource
from scalpdesk.marketdata.tape import BarColumns
from scalpdesk_alpaca.served.streams import ERRORS, DataStream
from scalpdesk_testing.kit.exchange import Bench, Line, generated
from scalpdesk_testing.kit.tape import TapeBuilder, at


def last_error(line):
    message = line.messages()[-1]
    assert message[0]["T"] == "error"
    assert message[0]["msg"] == ERRORS[message[0]["code"]]
    return message[0]["code"]


def test_trade_stream_speaks_json_in_binary_frames(bench):
    line = bench.trade_stream()
    bench.order()
    assert not any(frame.is_text for frame in line.frames)
    first, second, *updates = line.messages()
    assert first["stream"] == "authorization"
    assert first["data"].pop("message").startswith("this authentication format is being deprecated")
    assert first["data"] == {"status": "authorized", "action": "authenticate"}
    assert second == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
    ids = [one["data"]["event_id"] for one in updates]
    assert ids == sorted(ids)
    assert all(len(one) == 26 for one in ids)


def test_trade_stream_speaks_msgpack_when_asked(bench):
    line = bench.trade_stream(packed=True)
    bench.order()
    decoded = [msgspec.msgpack.decode(frame.data) for frame in line.frames]
    assert [one["stream"] for one in decoded] == ["authorization", "listening"] + ["trade_updates"] * 3


def test_short_form_of_authentication(bench):
    line = bench.trade_stream(listen=False)
    assert line.messages() == []
    one = bench.credentials[0]
    line.say({"action": "auth", "key": one.key, "secret": one.secret})
    assert line.messages()[0]["data"]["status"] == "authorized"


def test_wrong_keys_end_the_trade_stream(bench):
    line = bench.trade_stream(listen=False)
    line.say({"action": "authenticate", "data": {"key_id": "x", "secret_key": "y"}})
    assert line.messages()[0]["data"]["status"] == "unauthorized"
    assert line.is_closed


def test_listening_to_nothing_stops_the_updates(bench):
    line = bench.trade_stream()
    line.say({"action": "listen", "data": {"streams": []}})
    line.messages()
    bench.order()
    assert line.messages() == []


def test_updates_belong_to_one_account(bench):
    other = bench.trade_stream(account=1)
    other.messages()
    bench.order()
    assert other.messages() == []


def test_data_stream_greets_authenticates_and_lists_all_subscriptions(bench):
    line = bench.data_stream()
    line.say({"action": "subscribe", "quotes": ["SPY"], "bars": ["*"]})
    line.say({"action": "subscribe", "trades": ["NVDA"]})
    greeting, authenticated, _, state = line.messages()
    assert greeting == [{"T": "success", "msg": "connected"}]
    assert authenticated == [{"T": "success", "msg": "authenticated"}]
    assert state[0]["quotes"] == ["SPY"]
    assert state[0]["trades"] == ["NVDA"]
    assert state[0]["bars"] == ["*"]
    assert set(state[0]) == {
        "T", "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections",
        "cancelErrors",
    }  # fmt: skip
    line.say({"action": "unsubscribe", "quotes": ["SPY"]})
    assert line.messages()[0][0]["quotes"] == []


def test_json_and_msgpack_carry_the_same_quote(bench):
    plain, packed = bench.data_stream("/v2/iex"), bench.data_stream("/v2/sip", packed=True)
    for line in (plain, packed):
        line.say({"action": "subscribe", "quotes": ["SPY"]})
        line.messages()
    bench.advance(1)
    (text,), (binary,) = plain.messages()[0], packed.messages()[0]
    assert text.pop("t").endswith("Z")
    stamp = binary.pop("t")
    assert isinstance(stamp, __import__("datetime").datetime)
    assert text == binary
    assert text["T"] == "q"
    assert text["z"] == "B"


def test_option_stream_is_msgpack_only(bench):
    line = bench.data_stream("/v1beta1/indicative", auth=False)
    assert last_error(line) == 412
    assert line.is_closed


def test_option_stream_sends_quotes_of_what_is_followed(bench):
    symbol = bench.option()
    line = bench.data_stream("/v1beta1/opra", packed=True)
    line.say({"action": "subscribe", "quotes": [symbol]})
    line.messages()
    bench.advance(2)
    got = line.messages()
    assert len(got) == 2
    assert got[0][0]["S"] == symbol
    assert got[0][0]["c"] == "A"
    assert "z" not in got[0][0]


@pytest.mark.rows(
    ("message", "code"),
    [
        ({"action": "subscribe", "quotes": ["*"]}, 413),
        ({"action": "subscribe", "bars": ["X"]}, 410),
        ({"action": "subscribe", "quotes": "X"}, 400),
        ({"action": "subscribe", "nonsense": ["X"]}, 400),
        ({"action": "dance"}, 400),
        ({"action": "subscribe", "quotes": ["A", "B", "C"]}, 405),
    ],
)
def test_option_stream_errors(bench, message, code):
    line = bench.data_stream("/v1beta1/opra", packed=True, limit=2)
    line.messages()
    line.say(message)
    assert last_error(line) == code


def test_authentication_errors(bench):
    line = bench.data_stream(auth=False)
    line.say({"action": "subscribe", "quotes": ["SPY"]})
    assert last_error(line) == 401
    line.say({"action": "auth", "key": "x", "secret": "y"})
    assert last_error(line) == 402
    assert line.is_closed
    twice = bench.data_stream()
    one = bench.credentials[0]
    twice.say({"action": "auth", "key": one.key, "secret": one.secret})
    assert last_error(twice) == 403
    second = bench.data_stream()
    assert last_error(second) == 406
    assert second.is_closed
    assert bench.data_stream(account=1).messages()[-1][0]["msg"] == "authenticated"
    idle = bench.data_stream("/v2/sip", auth=False)
    idle.stream.time_out()
    assert last_error(idle) == 404


@pytest.mark.rows("raw", [b"", b"{", b"\xc1", b"[1,2]", b"\x81\xa1", b'"x"', b"\xff\xfe"])
def test_malformed_frames_are_answered_not_raised(bench, raw):
    for is_text in (True, False):
        line = bench.data_stream(auth=False)
        line.messages()
        line.stream.receive(Frame(raw, is_text=is_text))
        assert last_error(line) in (400, 401)
        trades = bench.trade_stream()
        trades.messages()
        trades.stream.receive(Frame(raw, is_text=is_text))
        (answer,) = trades.messages()
        assert answer["action"] == "error"
        assert answer["data"]["error_message"]
        assert trades.is_closed


def test_halts_are_told(bench):
    line = bench.data_stream()
    line.say({"action": "subscribe", "statuses": ["SPY"]})
    line.messages()
    bench.world.halt(bench.world.ledger.instruments.id_of("SPY"), seconds=2)
    bench.advance(3)
    assert [one[0]["sc"] for one in line.messages()] == ["2", "3"]


def test_a_tape_has_no_bar_and_no_trade_of_the_minutes_in_which_it_is_halted():
    tape = TapeBuilder().path("10:00", 60.0, [500.0] * 6).build()
    ends = np.array([at(f"10:0{minute}") for minute in range(1, 6)], np.int64)
    prices = [np.full(5, 500.0)] * 5
    minutes = BarColumns(ends, np.zeros(5, np.int32), np.full(5, 60, np.int32), *prices)
    bench = Bench(TapeSource(replace(tape, bars=minutes)))
    bench.world.advance_to(at("10:01:30"))
    line = bench.data_stream()
    line.say({"action": "subscribe", "bars": ["SPY"], "trades": ["SPY"]})
    line.messages()
    bench.world.halt(InstrumentId(0), seconds=120)  # to 10:03:30
    bench.world.advance_to(at("10:05"))
    said = [(one[0]["T"], one[0]["t"][11:16]) for one in line.messages()]
    # the minutes of 10:01, which had begun before, and of 10:03, in which it trades again
    bars = [start for kind, start in said if kind == "b"]
    assert bars == ["15:01", "15:03", "15:04"]
    # one print a minute at its end: that of 10:01 would fall into the halt
    assert [ended for kind, ended in said if kind == "t"] == ["15:04", "15:05"]


def test_bars_close_on_the_minute():
    bench = Bench(generated("SPY"))
    line = bench.data_stream()
    line.say({"action": "subscribe", "bars": ["SPY"]})
    line.messages()
    bench.advance(125)
    bars = [one[0] for one in line.messages()]
    assert [bar["T"] for bar in bars] == ["b", "b"]
    assert all(bar["l"] <= bar["o"] <= bar["h"] for bar in bars)
    assert all(bar["t"].endswith(":00.000000000Z") for bar in bars)


def test_a_stream_follows_any_number_of_symbols_unless_it_is_limited(bench):
    options = [bench.option(right=right) for right in ("call", "put")]
    line = Line(bench)
    line.start(DataStream("/v1beta1/opra", bench.world, bench.keyring, line.wire, packed=True))
    keys = bench.credentials[0]
    line.say({"action": "auth", "key": keys.key, "secret": keys.secret})
    line.say({"action": "subscribe", "quotes": options})
    assert line.messages()[-1][0] == {"T": "subscription", "trades": [], "quotes": sorted(options)}
