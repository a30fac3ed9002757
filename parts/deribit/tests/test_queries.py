"""Questions on the account and the market, one by one, and the reading of each answer."""

import asyncio
import math
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.base import InstrumentId, Instruments, RetryError, deribit_option
from scalpdesk.config.schema import Secret as Key
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.venues import EventPublisher, Notice, VenueSetup
from scalpdesk_deribit.queries import AccountAndMarket
from scalpdesk_deribit.rpc import Disconnected
from scalpdesk_deribit.wire import RpcError
from scalpdesk_testing.kit.clock import ManualClock

D = Decimal
NOW_MS = 1_741_176_000_000
DAY_MS = 86_400_000
SWAP, CALL = "BTC-PERPETUAL", "BTC-14MAR25-90000-C"
POSITIONS, SUMMARY = "private/get_positions", "private/get_account_summary"
LOG, TICKER = "private/get_transaction_log", "public/ticker"
CHART = "public/get_tradingview_chart_data"
NAMED = "public/get_instrument"
LISTING, INTEREST = "public/get_instruments", "public/get_book_summary_by_currency"


class Account:
    """Answers each method by the next of its answers, the last of them again and again."""

    def __init__(self, answers):
        self.answers = {method: list(given) for method, given in answers.items()}
        self.asked = []
        clock = ManualClock(NOW_MS * 10**6)
        setup = VenueSetup(
            instruments=Instruments([perpetual("BTC"), deribit_option(CALL)]),
            clock=clock,
            keys=(Key("k"), Key("s")),
            currency="BTC",
            timeout_seconds=2.0,
        )
        self.publisher = EventPublisher(clock)
        self.queries = AccountAndMarket(self, setup, self.publisher, "BTC")

    async def request(self, method, params, timeout_seconds):
        self.asked.append((method, dict(params), timeout_seconds))
        given = self.answers[method]
        found = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(found, Exception):
            raise found
        return found

    def refused(self):
        found = []
        while (item := self.publisher.queue.take()) is not None:
            assert isinstance(item, Notice)
            found.append((item.name, item.detail))
        return found


@pytest.mark.rows(
    ("problem", "what"),
    [
        (RpcError(10_009, "x" * 300), "the venue refuses this"),
        (Disconnected("lost", was_sent=True), "the venue does not answer"),
        (TimeoutError(), "the venue does not answer"),
    ],
)
def test_a_question_without_an_answer_may_be_asked_again(problem, what):
    account = Account({TICKER: [problem]})
    with pytest.raises(RetryError, match=what) as caught:
        asyncio.run(account.queries.question(TICKER, {"a": 1}))
    assert caught.value.where == TICKER
    assert caught.value.value == repr(problem)[:200]
    assert account.asked == [(TICKER, {"a": 1}, 8.0)]  # four times as long as an order


def test_the_venues_time_is_the_desks_and_what_the_venue_is_ahead():
    queries = Account({}).queries
    assert queries.venue_ms() == NOW_MS
    queries.ahead_ms = 250
    assert queries.venue_ms() == NOW_MS + 250


# the account -----------------------------------------------------------------------------------------------


def position(name=SWAP, size=900.0, mark=90_000.0, **more):
    return {"instrument_name": name, "size": size, "mark_price": mark, "average_price": 80_000.0} | more


def summary(equity):
    return {
        "currency": "BTC",
        "equity": equity,
        "available_funds": 1.5,
        "maintenance_margin": 0.5,
        "margin_balance": 2.0,
        "id": 7,
    }


MOVED, SETTLED = position(mark=60_000.0), position(mark=45_000.0)


@pytest.mark.rows(
    ("positions", "looks", "cash"),
    [
        ([[position()]], 1, D("3.01")),
        ([[position(profit=1)], [position(profit=2)]], 1, D("3.01")),
        ([[position()], [MOVED]], 2, D("4.015")),
        ([[position()], [MOVED], [SETTLED]], 3, D("5.02")),
        ([[position()], [position(size=1_800.0)]], 2, D("4.02")),
        ([[], [position()]], 2, D("4.01")),
        ([[position(mark=90_000.0 + n)] for n in range(9)], 5, None),
    ],
)
def test_the_account_is_asked_for_until_its_marks_stand_still(positions, looks, cash):
    summaries = [summary(2.0 + look) for look in range(1, 9)]
    account = Account({POSITIONS: positions, SUMMARY: summaries})
    facts, held = asyncio.run(account.queries.account())
    assert [method for method, _, _ in account.asked] == [POSITIONS, *[SUMMARY, POSITIONS] * looks]
    assert account.asked[0][1] == {"currency": "BTC"}
    assert account.asked[1][1] == {"currency": "BTC", "extended": True}
    assert facts.equity == 2 + looks  # of the last look
    assert (facts.account_id, facts.margin_fraction, facts.buying_power) == ("7", D("0.25"), D("1.5"))
    if cash is not None:  # equity less the perpetual's value, in coins of the last marks
        assert facts.cash == cash
    assert [line.position.symbol for line in held] == [SWAP]


def test_closed_positions_are_left_out_and_those_of_what_nobody_trades_are_worth_nothing():
    other = position("BTC-27MAR26", size=30.0)
    rows = [position(CALL, size=0.0), other, position(CALL, size=-0.5, mark=0.02)]
    future = {"instrument_name": "BTC-27MAR26", "kind": "future", "settlement_period": "month"}
    account = Account({POSITIONS: [rows], SUMMARY: [summary(3.0)], NAMED: [future]})
    _, held = asyncio.run(account.queries.account())
    assert [(line.position.symbol, line.position.instrument_id, line.value) for line in held] == [
        ("BTC-27MAR26", None, 0),
        (CALL, InstrumentId(1), D("-0.010")),
    ]
    asyncio.run(account.queries.account())
    assert [method for method, _, _ in account.asked].count(NAMED) == 1


def test_what_the_account_holds_is_known_before_any_list_of_contracts():
    """A new run, and a watchdog without the run's header, take over options that were not listed yet."""
    name = "BTC-21MAR25-80000-P"
    shown = {"instrument_name": name, "kind": "option", "tick_size": 0.0001}
    account = Account(
        {POSITIONS: [[position(name, size=0.5, mark=0.02)]], SUMMARY: [summary(3.0)], NAMED: [shown]}
    )
    facts, (line,) = asyncio.run(account.queries.account())
    assert (line.position.instrument.symbol, line.position.instrument_id) == (name, None)
    assert (line.value, facts.cash) == (D("0.01"), D("2.99"))
    asyncio.run(account.queries.account())
    assert [params for method, params, _ in account.asked if method == NAMED] == [{"instrument_name": name}]


@pytest.mark.rows("problem", [RpcError(10_020, "unknown"), {"kind": "option"}, None])
def test_a_position_that_the_venue_does_not_explain_stays_without_an_instrument(problem):
    rows = [position("BTC-21MAR25-80000-P", size=0.5)]
    account = Account({POSITIONS: [rows], SUMMARY: [summary(3.0)], NAMED: [problem]})
    _, (line,) = asyncio.run(account.queries.account())
    assert (line.position.instrument, line.value) == (None, 0)


def line(number, kind="transfer", at_ms=0, **more):
    return {"id": number, "type": kind, "change": 0.25, "timestamp": NOW_MS + at_ms} | more


def test_the_log_is_read_page_by_page_each_line_once_and_sorted():
    pages = [
        {"logs": [line(3, at_ms=30), line(9, "trade"), line(2, at_ms=20)], "continuation": 17},
        {"logs": [line(2, at_ms=20), line(1, at_ms=10)], "continuation": None},
    ]
    account = Account({LOG: pages})
    account.queries.ahead_ms = 5
    found = asyncio.run(account.queries.activities((NOW_MS - 1_000) * 10**6 + 999_999))
    assert [each.activity_id for each in found] == ["1", "2", "3"]
    first = {
        "currency": "BTC",
        "start_timestamp": NOW_MS - 1_000 - 2 * DAY_MS,
        "end_timestamp": NOW_MS + 5 + 1_000,
        "count": 250,
    }
    assert [params for _, params, _ in account.asked] == [first, first | {"continuation": 17}]


# the market ------------------------------------------------------------------------------------------------


def ticker(**more):
    return {
        "timestamp": NOW_MS - 3,
        "best_bid_price": 0.02,
        "best_bid_amount": 1.5,
        "best_ask_price": 0.03,
        "best_ask_amount": 2.5,
    } | more


def test_a_quote_that_cannot_be_read_is_refused_and_the_others_come():
    bad = ticker(best_bid_price="x" * 300)
    account = Account({TICKER: [bad, None, ticker(), ticker(best_ask_amount=0.0)]})
    ids = [InstrumentId(number) for number in (1, 1, 1, 0)]
    quotes = asyncio.run(account.queries.quotes(ids))
    assert [(each.instrument_id, each.bid, each.bid_size, each.ask_size) for each in quotes] == [
        (1, 0.02, 1.5, 2.5),
        (0, 0.02, 0.15, 0.0),
    ]
    assert math.isnan(quotes[1].ask)
    assert {each.ts_event_ns for each in quotes} == {(NOW_MS - 3) * 10**6}
    assert [params for _, params, _ in account.asked] == [
        {"instrument_name": name} for name in (CALL, CALL, CALL, SWAP)
    ]
    refused = account.refused()
    assert [name for name, _ in refused] == ["malformed_quote"] * 2
    assert max(len(detail) for _, detail in refused) == 200


def listed(name, **more):
    return {"instrument_name": name, "kind": "option", "tick_size": 0.0001} | more


def test_the_listing_gives_the_options_of_one_perpetual_in_a_span_of_expiries():
    names = [f"BTC-{day}MAR25-90000-C" for day in (13, 14, 15, 16)]
    future = listed(SWAP, kind="future", settlement_period="perpetual", quote_currency="USD")
    future |= {"contract_size": 10, "base_currency": "BTC"}
    rows = [
        listed(names[3]),
        future,
        listed("ETH-14MAR25-3000-C"),
        listed("BTC-14MAR25-90000-C", tick_size=-1.0),
        listed(names[2], is_active=False),
        listed(names[1]),
        listed(names[0]),
    ]
    interest = [{"instrument_name": names[1], "open_interest": 12.9}]
    account = Account({LISTING: [rows], INTEREST: [interest]})
    found = asyncio.run(account.queries.discover(SWAP, date(2025, 3, 14), date(2025, 3, 15)))
    assert [(each.contract.symbol, each.open_interest_contracts, each.is_tradable) for each in found] == [
        (names[1], 12, True),
        (names[2], None, False),
    ]
    assert [params for _, params, _ in account.asked] == [
        {"currency": "BTC", "kind": "option", "expired": False},
        {"currency": "BTC", "kind": "option"},
    ]
    ((name, detail),) = account.refused()
    assert name == "malformed_instrument"
    assert "tick_size" in detail
    # the desk knows them from now on, though the run does not hold them
    known = [account.queries.instrument(name) for name in (*names, "ETH-14MAR25-3000-C")]
    assert [each and each.symbol for each in known] == [*names, None]
    assert account.queries.instrument(None) is None


def test_bars_are_asked_for_by_whole_days_and_read_by_column():
    chart = {
        "ticks": [NOW_MS, NOW_MS + 60_000],
        "open": [1, 2],
        "high": [3, 4],
        "low": [0.5, 1],
        "close": [2, 3],
        "volume": [10, 0],
    }
    account = Account({CHART: [chart]})
    span = InstrumentId(1), date(2025, 3, 4), date(2025, 3, 5)
    minutes = asyncio.run(account.queries.minute_bars(*span))
    days = asyncio.run(account.queries.daily_bars(*span))
    assert (minutes[1].start_ns, minutes[1].open, minutes[1].high) == ((NOW_MS + 60_000) * 10**6, 2.0, 4.0)
    assert (minutes[1].low, minutes[1].close, minutes[1].volume) == (1.0, 3.0, 0.0)
    assert (days[0].day, days[0].low, days[0].volume) == (date(2025, 3, 5), 0.5, 10.0)
    asked = {
        "instrument_name": CALL,
        "start_timestamp": 1_741_046_400_000,  # 4 March 2025, 0:00 UTC
        "end_timestamp": 1_741_046_400_000 + 2 * DAY_MS - 1,
    }
    assert [params for _, params, _ in account.asked] == [
        asked | {"resolution": "1"},
        asked | {"resolution": "1D"},
    ]


def test_bars_that_cannot_be_read_may_be_asked_for_again():
    account = Account({CHART: [{"ticks": [1]}]})
    with pytest.raises(RetryError, match="bars cannot be read") as caught:
        asyncio.run(account.queries.daily_bars(InstrumentId(0), date(2025, 3, 4), date(2025, 3, 4)))
    assert (caught.value.where, "open" in caught.value.value) == ("bars", True)


@pytest.mark.parametrize(
    ("off_ms", "expected_ms"), [(-90_000, 0), (-1, 0), (0, 0), (250, 250), (3_600_000, 3_600_000)]
)
def test_an_answer_of_an_earlier_instant_puts_no_time_limit_into_the_past(off_ms, expected_ms):
    """Every order was refused (11050) beside a clock that stood still, and nothing could be closed."""
    account = Account({"public/get_time": [NOW_MS + off_ms]})
    asyncio.run(account.queries.venue_time_ms())
    assert account.queries.venue_ms() == NOW_MS + expected_ms
    assert account.queries.ahead_ms == off_ms
