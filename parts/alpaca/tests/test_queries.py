"""Alpaca's answers to questions for the account and the market: pages, refusals, budgets; and the end."""

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.base import InstrumentId, OrderType, Purpose, RetryError, Side, SubmitOrder, TimeInForce
from scalpdesk.core.events import OrderAccepted
from scalpdesk.venues import Notice, NoticeKind, Urgency, VenueMinute
from scalpdesk_alpaca.account_messages import CLOCK
from scalpdesk_testing.kit import alpaca_wire as samples

SHARE, CALL = InstrumentId(0), InstrumentId(1)
D = Decimal
DAY = date(2026, 11, 20)
BROKEN = (500, {"message": "internal server error occurred"})
ACTIVITIES, ACTIONS = "GET /v2/account/activities", "GET /v1/corporate-actions"
ORDER = SubmitOrder(
    "sd-1", SHARE, Side.BUY, D(10), OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE
)  # fmt: skip


def viewed(made, since_ns=None):
    """Return the account as the gateway shows it."""
    return made.run(lambda: made.gateway.snapshot(fills_since_ns=since_ns))


def names(said):
    return [one.name if isinstance(one, Notice) else type(one) for one in said]


@pytest.mark.rows("status", [400, 404, 422])
def test_a_venue_that_refuses_its_activities_is_asked_for_the_rest_all_the_same(talk, account, status):
    made = talk(account | {ACTIVITIES: (status, {"message": "no"})})
    assert viewed(made, samples.AT_NS).activities == ()
    assert names(made.said()) == ["activities_refused"]
    (asked,) = [asked for asked in made.venue.asked if asked.line == ACTIVITIES]
    assert asked.query["after"] == "2026-11-15T14:30:00.123456789Z"  # five days before


@pytest.mark.rows("answer", [BROKEN, (403, {"code": 40310000, "message": "no"}), (200, b"[1]"), None])
def test_activities_that_do_not_come_leave_no_view_of_the_account(talk, account, answer):
    with pytest.raises(RetryError):
        viewed(talk(account | {ACTIVITIES: answer}), samples.AT_NS)


def test_what_cannot_be_read_of_an_answer_is_left_out_and_named(talk):
    page = {"option_contracts": [{"symbol": 7}], "next_page_token": None}
    made = talk({"GET /v2/options/contracts": (200, page)})
    assert made.run(lambda: made.gateway.discover(samples.STOCK, DAY, DAY)) == ()
    assert names(made.said()) == ["malformed_contract"]
    for number, symbol, host in (
        (SHARE, samples.STOCK, "/v2/stocks"),
        (CALL, samples.OPTION, "/v1beta1/options"),
    ):
        made = talk({f"GET {host}/quotes/latest": (200, {"quotes": {symbol: {"t": None}}})})
        assert made.run(lambda made=made, number=number: made.gateway.quotes([number])) == ()
        (told,) = made.said()
        assert (told.kind, told.stream, told.name) == (NoticeKind.REFUSED, "requests", "malformed_quote")
        assert made.health().counters["malformed_quote"] == 1


@pytest.mark.rows(
    ("number", "host", "feed"),
    [(SHARE, "/v2/stocks", "iex"), (CALL, "/v1beta1/options", "indicative")],
)
def test_quotes_are_asked_of_the_feed_of_their_kind(talk, number, host, feed):
    made = talk({f"GET {host}/quotes/latest": (200, {"quotes": {}})})
    assert made.run(lambda: made.gateway.quotes([number])) == ()
    assert [asked.query["feed"] for asked in made.venue.asked if asked.line.endswith("/quotes/latest")] == [
        feed
    ]


def test_open_orders_are_asked_page_by_page_and_each_comes_once(talk, account):
    def page(asked):
        after = asked.query.get("after")
        numbers = range(500) if after is None else range(499, 700)
        stamp = "2026-11-20T14:30:00.000000000Z"
        return 200, [
            samples.order(id=f"v-{n}", client_order_id=f"o-{n}", submitted_at=stamp) for n in numbers
        ]

    made = talk(account | {"GET /v2/orders": page})
    assert [one.venue_order_id for one in viewed(made).open_orders] == [f"v-{n}" for n in range(700)]
    asked = [one for one in made.venue.asked if one.line == "GET /v2/orders"]
    assert [one.query.get("after") for one in asked] == [None, "2026-11-20T14:29:59.999999000Z"]
    dreaming = samples.order(status="?", id="v-2", client_order_id="o-2")
    made = talk(account | {"GET /v2/orders": (200, [samples.order(), dreaming])})
    assert [(one.status, one.is_open) for one in viewed(made).open_orders] == [("new", True), ("?", True)]
    made = talk(account | {"GET /v2/orders": (200, [samples.order(), samples.order(side="?")])})
    with pytest.raises(RetryError, match="cannot be believed"):
        viewed(made)


def test_what_may_be_sold_short_is_asked_again_after_ten_minutes_and_after_a_failure(talk, account):
    fine = {"symbol": samples.STOCK, "status": "active"}
    fine |= dict.fromkeys(("tradable", "shortable", "easy_to_borrow"), True)
    line = f"GET /v2/assets/{samples.STOCK}"
    assert viewed(talk(account)).shortable == ()  # the venue does not know it
    made = talk(account | {line: [BROKEN, (200, fine)]})
    assert [viewed(made).shortable for _ in range(3)] == [(), (SHARE,), (SHARE,)]
    for seconds, times in ((0, 2), (599, 2), (2, 3)):
        made.loop.leap(seconds)
        viewed(made)
        assert made.venue.count(line) == times


def test_bars_of_all_pages_in_order_each_once_and_pages_that_never_end_are_given_up(talk):
    def bar(minute):
        return {"t": f"2026-11-20T14:{minute:02d}:00Z", "o": 1, "h": 3, "l": 1, "c": 2, "v": 5}

    def page(asked):
        token = asked.query.get("page_token")
        rows = [bar(32), bar(30)] if token is None else [bar(31), bar(30)]
        return 200, {"bars": {samples.STOCK: rows}, "next_page_token": "p2" if token is None else None}

    made = talk({"GET /v2/stocks/bars": page})
    found = made.run(lambda: made.gateway.minute_bars(SHARE, DAY, DAY))
    assert [(one.start_ns - samples.AT_NS) // 60_000_000_000 for one in found] == [-1, 0, 1]
    assert found[0] == VenueMinute(found[0].start_ns, 1, 3, 1, 2, 5)
    endless = {"bars": {}, "next_page_token": "again"}
    made = talk({"GET /v2/stocks/bars": (200, endless)}, data_requests_per_minute=60_000)
    with pytest.raises(RetryError, match="do not end"):
        made.run(lambda: made.gateway.daily_bars(SHARE, DAY, DAY))
    assert len(made.venue.asked) == 500


def split(day, new=4, old=1, symbol=samples.STOCK, **more):
    return {"id": day, "symbol": symbol, "new_rate": new, "old_rate": old, "ex_date": day, **more}


def paid(day="2026-12-18", rate=1.25, symbol=samples.STOCK, **more):
    return {"symbol": symbol, "rate": rate, "ex_date": day, "special": False, **more}


def actions(*pages):
    """Answer with pages of corporate actions; ``types`` are what was asked for."""

    def page(asked):
        answer.types.add(asked.query["types"])
        number = int(asked.query.get("page_token", 0))
        more = str(number + 1) if number + 1 < len(pages) else None
        return 200, {"corporate_actions": pages[number], "next_page_token": more}

    answer = page
    answer.types = set()
    return answer


def test_splits_and_dividends_of_all_pages_by_their_ex_date_each_once(talk):
    again = split("2026-11-19", 3, 2)
    of_splits = actions(
        {"forward_splits": [again, split("2026-11-17", symbol="OTHER")]},
        {
            "forward_splits": [again],
            "reverse_splits": [split("2026-11-18", 1, 10), split("2026-11-21", 1, 2)],
        },
    )
    made = talk({ACTIONS: of_splits})
    found = made.run(lambda: made.gateway.splits(SHARE, date(2026, 11, 17), DAY))
    assert [(one.symbol, one.ex_date.day, one.ratio) for one in found] == [
        (samples.STOCK, 18, D("0.1")),
        (samples.STOCK, 19, D("1.5")),
    ]
    of_cash = actions(
        {"cash_dividends": [paid(rate=1.31), paid("2026-12-11", 9.0, special=True)]},
        {"cash_dividends": [paid("2026-09-18"), paid("2026-09-18", 7.0, "OTHER")]},
    )
    made = talk({ACTIONS: of_cash})
    found = made.run(lambda: made.gateway.dividends(SHARE, date(2025, 11, 20), date(2027, 11, 20)))
    assert [(one.symbol, one.ex_date, one.amount) for one in found] == [
        (samples.STOCK, date(2026, 9, 18), D("1.25")),
        (samples.STOCK, date(2026, 12, 18), D("1.31")),
    ]
    assert (of_splits.types, of_cash.types) == ({"forward_split,reverse_split"}, {"cash_dividend"})


@pytest.mark.rows(
    ("kind", "row"),
    [
        *(("splits", {name: value}) for name, value in (
            ("new_rate", 0), ("old_rate", -1), ("ex_date", "soon"), ("new_rate", 10**9), ("old_rate", None),
        )),
        *(("dividends", {name: value}) for name, value in (
            ("rate", 0), ("rate", -1), ("ex_date", "soon"), ("rate", None),
        )),
    ],
)  # fmt: skip
def test_a_corporate_action_that_cannot_be_believed_is_none(talk, kind, row):
    good = (
        {"forward_splits": [split("2026-11-19") | row]}
        if kind == "splits"
        else {"cash_dividends": [paid() | row]}
    )
    made = talk({ACTIONS: actions(good)})
    with pytest.raises(RetryError, match="cannot be believed"):
        made.run(lambda: getattr(made.gateway, kind)(SHARE, date(2026, 11, 17), date(2027, 11, 20)))


def test_the_venues_own_count_of_requests_is_believed(talk, account):
    headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1795185060"}
    made = talk(account | {"GET /v2/clock": (429, {"message": "rate limit exceeded"}, headers)})
    with pytest.raises(RetryError, match="does not answer"):
        viewed(made)
    assert (made.health().requests_left, made.health().counters["rate_limited"]) == (0, 1)
    made.loop.leap(60)
    assert made.health().requests_left == 100


def test_a_question_waits_until_the_budget_allows_it(talk):
    made = talk({"GET /v2/clock": (200, {})}, requests_per_minute=60)
    while made.gateway._budget.take(Urgency.CANCEL, 0):
        pass
    client, naps = made.gateway._queries._trading, []
    waits, pause = made.gateway._budget.wait_ns(Urgency.QUERY, 0) / 1e9, client.pause

    async def counted(urgency):
        naps.append(urgency)
        await pause(urgency)

    client.pause = counted
    assert made.run(lambda: client.ask(CLOCK, Urgency.QUERY)).status == 200
    assert made.loop.time() == pytest.approx(waits, abs=0.5)
    assert waits > 10.0
    assert set(naps) == {Urgency.QUERY}
    assert len(naps) <= 3  # it sleeps, and does not turn round and round


def test_the_positions_by_which_a_desk_leaves_wait_for_no_budget_but_that_of_exits(talk, account):
    made = talk(account, requests_per_minute=60)
    while made.gateway._budget.take(Urgency.ACCOUNT, 0):
        pass
    assert made.run(made.gateway.shown_positions).missing == ()
    assert made.loop.time() < 0.5


@pytest.mark.rows("graceful", [True, False])
def test_closing_waits_for_answers_under_way_or_ends_them_and_leaves_no_task_behind(talk, graceful):
    made = talk()

    async def scenario():
        made.gateway._warmer = asyncio.get_running_loop().create_task(made.gateway._keep_warm())
        made.gateway.send(ORDER)
        under_way = made.gateway.health().in_flight
        await made.gateway.close(graceful=graceful)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        return under_way, left, [item async for item in made.gateway.events()]

    under_way, left, said = made.run(scenario)
    assert (under_way, left, names(said)) == (1, set(), [OrderAccepted] if graceful else [])


def test_idle_order_connections_are_used_every_25_seconds_and_a_failure_is_counted(talk):
    made = talk({"GET /v2/clock": [(200, {}), None, None, (200, {})]}, order_connections=1)

    async def scenario():
        warmer = asyncio.get_running_loop().create_task(made.gateway._keep_warm())
        await asyncio.sleep(24.9)
        before = len(made.venue.asked)
        await asyncio.sleep(60)
        warmer.cancel()
        await made.gateway.close(graceful=False)
        return before

    assert made.run(scenario) == 0
    assert made.venue.count("GET /v2/clock") == 4  # a question on a stale connection is asked again once
    assert made.health().counters["keep_warm_failed"] == 1


@pytest.mark.rows(("again", "found"), [("100", [100]), ("10", [])])
def test_a_contract_whose_multiplier_is_not_its_own_is_asked_for_again_and_else_left_out(talk, again, found):
    row = {
        "symbol": samples.OPTION,
        "status": "active",
        "tradable": True,
        "expiration_date": "2026-12-18",
        "underlying_symbol": samples.STOCK,
        "strike_price": "185",
    }
    pages = [
        (200, {"option_contracts": [row | {"multiplier": multiplier}], "next_page_token": None})
        for multiplier in ("10", again)
    ]
    made = talk({"GET /v2/options/contracts": pages})
    listed = made.run(lambda: made.gateway.discover(samples.STOCK, DAY, date(2026, 12, 31)))
    assert [each.contract.multiplier for each in listed] == found
    told = made.said()
    assert names(told) == ["implausible_number"] * (2 - len(found))
    assert all(samples.OPTION in each.detail and "expected 100" in each.detail for each in told)
