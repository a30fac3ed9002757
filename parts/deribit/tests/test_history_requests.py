"""Questions for the venue's history, page by page and try by try, and the rows that messages become."""

import asyncio
import json
import math
import urllib.error
from io import BytesIO
from types import SimpleNamespace

import pytest

from scalpdesk.core.errors import DataError, RetryError
from scalpdesk_deribit import history, wire
from scalpdesk_deribit.history import (
    DeribitHistory,
    listing_row,
    print_row,
    read_chart,
    readable,
)
from scalpdesk_deribit.rpc import Disconnected
from scalpdesk_testing.virtual_time import VirtualLoop

MS, HOUR_MS = 1_000_000, 3_600_000
TOO_MANY, REFUSED = 10_028, -32_602


class Connection:
    """Answers by a function; keeps what was asked and when."""

    def __init__(self, answer):
        self.answer, self.asked, self.subscribed, self.closed = answer, [], [], 0
        self.start_error = self.subscribe_error = None

    async def start(self):
        if self.start_error is not None:
            raise self.start_error

    async def close(self):
        self.closed += 1

    async def subscribe(self, channels):
        self.subscribed.append(channels)
        if self.subscribe_error is not None:
            raise self.subscribe_error

    async def request(self, method, params):
        self.asked.append((round(asyncio.get_running_loop().time(), 3), method, dict(params)))
        found = self.answer(method, params)
        if isinstance(found, Exception):
            raise found
        return found


def ask(answer, call):
    """Return what a call of the history gives, and the connection that it asked."""
    made, connection = DeribitHistory("ws://here", "http://here"), Connection(answer)
    made._connection = connection
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(call(made)), connection
    finally:
        loop.close()


def params_of(connection, method=None):
    return [params for _, asked, params in connection.asked if method in (None, asked)]


# rows ------------------------------------------------------------------------------------------------------

OPTION = {
    "instrument_name": "BTC-6MAR25-90000-C",
    "kind": "option",
    "base_currency": "BTC",
    "creation_timestamp": 1_000,
    "expiration_timestamp": 2_000,
    "option_type": "call",
    "tick_size_steps": [{"tick_size": 0.0005, "above_price": 0.005}],
    "min_trade_amount": 0.1,
    "maker_commission": 0.0003,
    "taker_commission": 0.0004,
    "strike": 90_000.0,
    "tick_size": 0.0001,
    "contract_size": 1.0,
}
SWAP = {
    "instrument_name": "BTC-PERPETUAL",
    "kind": "future",
    "base_currency": "BTC",
    "settlement_currency": "BTC",
    "creation_timestamp": 1_000,
    "expiration_timestamp": 32_503_708_800_000,
    "tick_size": 0.5,
}


def test_terms_of_an_option_are_in_the_coin_that_it_settles_in():
    assert listing_row(OPTION) == {
        "symbol": "BTC-6MAR25-90000-C",
        "kind": "option",
        "currency": "BTC",
        "created": 1_000 * MS,
        "expires": 2_000 * MS,
        "right": "C",
        "tick_size_above": 0.0005,
        "above_price": 0.005,
        "min_amount": 0.1,
        "maker_fee": 0.0003,
        "taker_fee": 0.0004,
        "strike": 90_000.0,
        "tick_size": 0.0001,
        "contract_size": 1.0,
    }
    assert listing_row(OPTION | {"settlement_currency": "USDC"})["currency"] == "USDC"
    steps = [*OPTION["tick_size_steps"], {"tick_size": 0.001, "above_price": 0.05}]
    assert listing_row(OPTION | {"tick_size_steps": steps}) == listing_row(OPTION)


def test_a_perpetual_has_no_expiry_no_right_and_no_second_step():
    row = listing_row(SWAP)
    assert (row["expires"], row["right"], row["currency"], row["tick_size"]) == (None, "", "BTC", 0.5)
    assert math.isnan(row["tick_size_above"])
    assert math.isnan(row["strike"])


def trade(number, at_ms):
    return {
        "instrument_name": "BTC-PERPETUAL",
        "timestamp": at_ms,
        "trade_id": f"t{number}",
        "direction": "buy",
        "price": 90_000.5,
        "amount": 100.0,
        "mark_price": 90_000.0,
        "index_price": 89_999.0,
        "iv": 50.0,
    }


def test_a_chart_is_read_column_by_column_and_a_list_of_no_messages_refused():
    chart = {name: [n, n + 1] for n, name in enumerate(("ticks", "open", "high", "low", "close", "volume"))}
    assert read_chart(chart) == [(0, (1.0, 2.0, 3.0, 4.0, 5.0)), (MS, (2.0, 3.0, 4.0, 5.0, 6.0))]
    for rubbish in ({}, None, chart | {"open": [1]}, chart | {"open": ["x", 1]}):
        with pytest.raises(wire.WireError, match="not a chart: "):
            read_chart(rubbish)
    for rubbish in ("no list", [{"timestamp": 1}]):
        with pytest.raises(DataError, match="the venue's trades cannot be read"):
            readable(print_row, rubbish, "trades")


# requests --------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("errors", "at", "value"),
    [
        ([Disconnected("gone", was_sent=False)] * 9, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5], "gone"),
        ([TimeoutError()] * 9, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5], "no answer in time"),
        ([wire.RpcError(TOO_MANY, "x" * 300)] * 9, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5], None),
        ([wire.RpcError(REFUSED, "bad")] * 9, [0.0], "bad (-32602)"),  # a refusal is the venue's answer
        ([TimeoutError(), wire.RpcError(TOO_MANY, "later")], [0.0, 0.5, 1.5], "answered"),
    ],
)
def test_what_is_tried_again_and_when(errors, at, value):
    left, connections = list(errors), []

    async def call(made):
        connections.append(made._connection)
        return await made.ask("get_time", a=1)

    def answer(*_):
        return left.pop(0) if left else 77

    if value == "answered":
        assert ask(answer, call)[0] == 77
    else:
        with pytest.raises(RetryError) as refused:
            ask(answer, call)
        assert len(refused.value.value) <= 200
        assert value is None or refused.value.value == value
    assert [when for when, *_ in connections[0].asked] == at
    assert {(method, params["a"]) for _, method, params in connections[0].asked} == {("public/get_time", 1)}


def test_a_hundred_requests_leave_at_once_and_then_twenty_a_second():
    async def call(made):
        for _ in range(141):
            await made.ask("get_time")

    _, connection = ask(lambda *_: 1, call)
    at = [when for when, *_ in connection.asked]
    assert at[99] == 0.0
    assert at[100] > 0.0
    assert at[140] - at[100] == pytest.approx(2.0, abs=0.01)


@pytest.mark.rows("error", [TimeoutError(), OSError("refused")])
def test_a_venue_that_cannot_be_reached_is_named(error):
    async def call(made):
        made._connection.start_error = error
        with pytest.raises(RetryError, match="cannot be reached") as refused:
            async with made:
                raise AssertionError
        return refused.value.where, made._connection.closed

    assert ask(None, call)[0] == ("ws://here", 1)


def reply(body):
    return BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())


def refuse(code, body):
    return urllib.error.HTTPError("http://here", code, "no", {}, reply(body))


@pytest.mark.rows(
    ("answer", "found"),
    [
        (reply({"result": {"trades": []}}), {"trades": []}),
        (reply({"error": {"code": 10028, "message": "too many"}}), wire.RpcError),
        (refuse(400, {"error": {"code": 10028, "message": "too many"}}), wire.RpcError),
        (refuse(502, b"<html>"), OSError),
        (reply({}), OSError),
        (reply([]), OSError),
    ],
)
def test_an_answer_over_http_is_a_result_the_venues_error_or_none(monkeypatch, answer, found):
    asked = []

    def urlopen(url, timeout):
        asked.append((url, timeout))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(history.urllib.request, "urlopen", urlopen)
    made = DeribitHistory("ws://here", "http://here/api/v2")
    if isinstance(found, dict):
        assert made._get("get_x", {"a": 1, "b": "y"}) == found
    else:
        with pytest.raises(found):
            made._get("get_x", {"a": 1, "b": "y"})
    assert asked == [("http://here/api/v2/public/get_x?a=1&b=y", 30.0)]


# pages -----------------------------------------------------------------------------------------------------


def prints(monkeypatch, trades, start_ms, end_ms, page=2):
    """Ask for trades of a venue that gives ``page`` of them at once."""
    asked = []

    async def at_once(call, *arguments):  # virtual time knows no threads
        return call(*arguments)

    monkeypatch.setattr(history.asyncio, "to_thread", at_once)

    def get(name, params):
        asked.append((params["start_timestamp"], params["end_timestamp"]))
        assert (name, params["count"]) == ("get_last_trades_by_currency_and_time", 1_000)
        assert (params["currency"], params["sorting"]) == ("BTC", "asc")
        fitting = [
            one for one in trades if params["start_timestamp"] <= one["timestamp"] <= params["end_timestamp"]
        ]
        return {"trades": fitting[:page], "has_more": len(fitting) > page}

    async def call(made):
        made._get = get
        return await made.prints("BTC", start_ms, end_ms)

    found, _ = ask(None, call)
    return [row["trade_id"] for row in found], asked


def test_trades_are_asked_page_by_page_from_the_last_ones_millisecond_on(monkeypatch):
    trades = [trade(n, at) for n, at in enumerate((10, 11, 11, 12, 13, 20))]
    found, asked = prints(monkeypatch, trades, 10, 20)
    assert found == ["t0", "t1", "t2", "t3", "t4"]
    # from 11 on the same page comes twice: the second time the next millisecond is taken
    assert asked == [(10, 19), (11, 19), (11, 19), (12, 19)]
    assert prints(monkeypatch, [], 10, 20) == ([], [(10, 19)])
    assert prints(monkeypatch, trades, 20, 20) == ([], [])
    assert prints(monkeypatch, trades, 10, 21, page=100) == ([f"t{n}" for n in range(6)], [(10, 20)])


@pytest.mark.rows(
    ("length", "asked", "seconds"), [("minute", "1", 60), ("hour", "60", 3_600), ("day", "1D", 86_400)]
)
def test_a_bar_is_known_when_its_minute_hour_or_day_is_over(length, asked, seconds):
    chart = {"ticks": [0]} | {name: [1.0] for name in ("open", "high", "low", "close", "volume")}
    (row,), connection = ask(lambda *_: chart, lambda made: made.bars("BTC-PERPETUAL", 0, 1, length=length))
    assert (row["bar_start"], row["ts"]) == (0, seconds * 10**9)
    assert [params["resolution"] for params in params_of(connection)] == [asked]


def test_bars_are_asked_for_by_their_span_and_named_where_they_cannot_be_read():
    chart = {"ticks": [60_000, 120_000]} | {name: [1.0, 2.0] for name in ("open", "high", "low", "close")}
    chart["volume"] = [5.0, 6.0]
    found, connection = ask(lambda *_: chart, lambda made: made.bars("BTC-PERPETUAL", 60_000, 180_000))
    assert [(row["bar_start"], row["symbol"], row["volume"]) for row in found] == [
        (60_000 * MS, "BTC-PERPETUAL", 5.0),
        (120_000 * MS, "BTC-PERPETUAL", 6.0),
    ]
    span = {"start_timestamp": 60_000, "end_timestamp": 179_999}
    assert params_of(connection) == [{"instrument_name": "BTC-PERPETUAL", "resolution": "1"} | span]
    with pytest.raises(DataError, match="bars cannot be read") as refused:
        ask(lambda *_: {}, lambda made: made.bars("BTC-PERPETUAL", 0, 1))
    assert refused.value.where == "BTC-PERPETUAL"


def settled(at_ms, symbol="X"):
    return {"timestamp": at_ms, "instrument_name": symbol, "type": "settlement"}


@pytest.mark.rows(
    ("pages", "asked", "found"),
    [
        (
            {None: ([30, 20], "more"), "more": ([15, 5], "rest")},
            [None, "more"],
            [15, 20, 30],
        ),  # past the start
        ({None: ([30], "none")}, [None], [30]),
        ({None: ([30], None)}, [None], [30]),
        ({None: ([30], "")}, [None], [30]),
        ({None: ([], "more")}, [None], []),
        ({None: ([30], "a"), "a": ([20], "a")}, [None, "a"], [20, 30]),  # it turns in a circle
        ({None: ([30], "a"), "a": ([10], "b"), "b": ([9], "c")}, [None, "a", "b"], [10, 30]),
    ],
)
def test_settlements_are_followed_back_to_the_start_of_the_span(pages, asked, found):
    def answer(_, params):
        at, following = pages[params.get("continuation")]
        return {"settlements": [settled(each) for each in at], "continuation": following}

    rows, connection = ask(answer, lambda made: made.settlements("BTC", 10, 40))
    assert [row["ts"] // MS for row in rows] == sorted(found * 2)  # settlements and deliveries alike
    continued = [(params["type"], params.get("continuation")) for params in params_of(connection)]
    assert continued == [(kind, each) for kind in ("settlement", "delivery") for each in asked]
    assert {params["search_start_timestamp"] for params in params_of(connection)} == {39}


def test_the_volatility_index_is_followed_back_and_its_hours_are_fractions():
    pages = {
        10 * HOUR_MS - 1: {"data": [[8 * HOUR_MS, 50, 52, 48, 51]], "continuation": 8 * HOUR_MS - 1},
        8 * HOUR_MS - 1: {"data": [[7 * HOUR_MS, 40, 42, 38, 41]], "continuation": 7 * HOUR_MS - 1},
    }
    found, connection = ask(
        lambda _, params: pages[params["end_timestamp"]],
        lambda made: made.volatility_index("BTC", 7 * HOUR_MS, 10 * HOUR_MS),
    )
    assert found == [
        {
            "bar_start": 7 * HOUR_MS * MS,
            "ts": 8 * HOUR_MS * MS,
            "symbol": "DVOL-BTC",
            "open": 0.4,
            "high": 0.42,
            "low": 0.38,
            "close": 0.41,
        },
        found[1],
    ]
    assert found[1]["ts"] == 9 * HOUR_MS * MS
    assert [params["end_timestamp"] for params in params_of(connection)] == list(pages)
    # a continuation that does not lead back ends it
    circle = {"data": [], "continuation": 10 * HOUR_MS - 1}
    _, connection = ask(lambda *_: circle, lambda made: made.volatility_index("BTC", 0, 10 * HOUR_MS))
    assert len(connection.asked) == 1
    for rubbish in ({}, {"data": [[1, 2]]}, {"data": [[1, "x", 2, 3, 4]]}):
        with pytest.raises(DataError, match="volatility index cannot be read"):
            ask(lambda *_, page=rubbish: page, lambda made: made.volatility_index("BTC", 0, 10))


def test_funding_is_asked_for_the_span_and_named_by_its_hours():
    row = {"timestamp": HOUR_MS, "interest_8h": 0.0008, "interest_1h": 0.0001, "index_price": 90_000.0}
    found, connection = ask(lambda *_: [row], lambda made: made.funding("BTC-PERPETUAL", 0, 2 * HOUR_MS))
    assert found == [
        {
            "ts": HOUR_MS * MS,
            "symbol": "BTC-PERPETUAL",
            "rate_8h": 0.0008,
            "rate_1h": 0.0001,
            "index_price": 90_000.0,
        }
    ]
    ((_, _, params),) = connection.asked
    assert (params["start_timestamp"], params["end_timestamp"]) == (0, 2 * HOUR_MS - 1)


def test_listings_hold_the_expired_and_each_instrument_once():
    def answer(_, params):
        return [OPTION, SWAP] if params["expired"] else [SWAP]

    found, connection = ask(answer, lambda made: made.listings("BTC"))
    assert [row["symbol"] for row in found] == ["BTC-PERPETUAL", "BTC-6MAR25-90000-C"]
    assert [params["expired"] for params in params_of(connection)] == [False, True]
    _, connection = ask(answer, lambda made: made.listings("BTC", expired=False))
    assert [params["expired"] for params in params_of(connection)] == [False]


# chains ----------------------------------------------------------------------------------------------------


def chains(times, *, tickers=None, seconds=None, every=2.0, subscribe_error=None, count=99):
    """Follow a chain whose venue shows these times, ms; return the rows of each look, and the history."""
    kept = []
    clock = iter(times)
    future = SWAP | {"instrument_name": "BTC-28MAR25"}

    def answer(method, _params):
        return next(clock) if method == "public/get_time" else [OPTION, SWAP, future]

    async def call(made):
        kept.append(made)
        made._connection.subscribe_error = subscribe_error
        found = []
        async for rows in made.chains("BTC", asyncio.Event(), every_seconds=every, seconds=seconds):
            found.append([(row["symbol"], row["ts"] // MS) for row in rows])
            for message in (tickers or {}).get(len(found), []):
                made._on_ticker(SimpleNamespace(channel=message.pop("channel", "ticker.x"), data=message))
            if len(found) == count:
                break
        return found, asyncio.get_running_loop().time()

    (found, ended), connection = ask(answer, call)
    return found, connection, kept[0], ended


def test_tickers_are_given_once_each_time_they_change():
    tickers = {
        1: [{"instrument_name": "A", "timestamp": 5}, {"instrument_name": "B", "timestamp": 5}],
        2: [{"instrument_name": "A", "timestamp": 6}, {"channel": "trades.x", "instrument_name": "C"}],
    }
    found, connection, _, ended = chains([0, 1, 2, 3, 4, 5], tickers=tickers, seconds=7.0)
    assert found == [[], [("A", 5), ("B", 5)], [("A", 6)], []]
    assert ended == pytest.approx(7.0)
    (channels,) = connection.subscribed
    assert channels == ["ticker.BTC-6MAR25-90000-C.agg2", "ticker.BTC-PERPETUAL.agg2"]


def test_what_is_newly_listed_is_followed_from_the_next_full_hour_on():
    times = [HOUR_MS - 10, HOUR_MS - 9, HOUR_MS, HOUR_MS + 1, 2 * HOUR_MS, 2 * HOUR_MS + 1]
    _, connection, _, _ = chains(times, count=5)
    assert len(connection.subscribed) == 3


def test_a_chain_that_cannot_be_followed_or_asked_is_noted_and_gone_on_with():
    lost = Disconnected("gone", was_sent=False)
    times = [0, *[lost] * 6, 1, 2]
    found, _, made, _ = chains(times, subscribe_error=TimeoutError(), count=2)
    assert found == [[], []]
    assert made.notices == ["not subscribed: TimeoutError()", "no answer: gone"]
