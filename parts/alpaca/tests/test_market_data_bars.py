"""Bars of the past from the data interface."""

import json
from datetime import date
from urllib.parse import parse_qs, urlsplit

import pytest

from scalpdesk.venues.contract import DailyBar
from scalpdesk_alpaca import market_data
from scalpdesk_alpaca.fields import Malformed
from scalpdesk_alpaca.market_data import daily_bar

BAR = {
    "t": "2024-03-04T05:00:00Z",
    "o": 500.0,
    "h": 505.5,
    "l": 499,
    "c": 501.25,
    "v": 1000,
    "n": 3,
    "vw": 502.0,
}


def page(*bars, token=None, symbol="SPY"):
    return json.dumps({"bars": {symbol: list(bars)}, "next_page_token": token}).encode()


def test_a_bar_belongs_to_its_day_in_new_york():
    bars, token = market_data.read_bars(page(BAR, token="next"), "SPY", daily_bar)
    assert bars == [DailyBar(date(2024, 3, 4), 500.0, 505.5, 499.0, 501.25, 1000.0)]
    assert token == "next"


def test_no_bars_are_no_bars():
    for raw in (b'{"bars": null}', b'{"bars": {}, "next_page_token": null}', page(BAR, symbol="QQQ")):
        assert market_data.read_bars(raw, "SPY", daily_bar) == ([], None)


@pytest.mark.rows(
    "change",
    [{"l": 502}, {"h": 400}, {"c": 0}, {"o": -1}, {"t": "yesterday"}, {"c": None}, {"v": -1}, {"h": 1e999}],
)
def test_a_bar_that_cannot_be_spoils_the_page(change):
    with pytest.raises(Malformed):
        market_data.read_bars(page(BAR, {**BAR, **change}), "SPY", daily_bar)


def test_the_request_names_span_feed_and_page():
    asked = market_data.bars_request("SPY", "1Day", date(2023, 1, 2), date(2024, 3, 4), "sip", "p2")
    query = parse_qs(urlsplit(asked.path).query)
    assert (query["start"], query["end"]) == (["2023-01-02"], ["2024-03-04"])
    assert (query["feed"], query["timeframe"], query["page_token"]) == (["sip"], ["1Day"], ["p2"])
    assert query["adjustment"] == ["split"]


def test_the_request_for_minutes_takes_the_last_day_whole():
    asked = market_data.bars_request("SPY", "1Min", date(2024, 2, 28), date(2024, 2, 29), "iex")
    query = parse_qs(urlsplit(asked.path).query)
    assert (query["start"], query["end"]) == (["2024-02-28"], ["2024-03-01"])
    assert query["timeframe"] == ["1Min"]
    assert "page_token" not in query
