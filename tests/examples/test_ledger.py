from datetime import UTC, date, datetime, time
from decimal import Decimal

import ledger as ledger_module
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger import MOST_UNDERLYINGS, HedgeRules, Hours, Update, ZeroDteLedger, number_in

from scalpdesk.instruments.deadlines import exit_deadline_ns
from scalpdesk.instruments.sessions import is_session, new_york_ns, session_on, to_ns

D = Decimal
CALL, PUT = "SPY251230C00500000", "SPY251230P00495000"
WINTER, SUMMER = date(2025, 12, 30), date(2025, 7, 15)


def hours(underlying, day):
    """A session's hours; the deadline of QQQ comes half an hour before the others'."""
    if not is_session(day):
        return None
    session = session_on(day)
    early = 30 if underlying == "QQQ" else 0
    return Hours(session.open_ns, exit_deadline_ns(session.close_ns, cutoff_minutes=early), session.close_ns)


def ledger(**options):
    return ZeroDteLedger(HedgeRules(), hours, **({"quantity_unit": "shares"} | options))


def at(clock, day=WINTER):
    return new_york_ns(day, time.fromisoformat(clock))


def option(clock, delta=None, quantity=None, price="495.50", symbol=CALL, day=WINTER):
    return Update(
        symbol,
        at(clock, day),
        True,
        None if delta is None else D(delta),
        None if quantity is None else D(quantity),
        None if price is None else D(price),
    )


def tick(clock, price="495.50", symbol="SPY"):
    return Update(symbol, at(clock), False, underlying_price=D(price))


def told(orders):
    return [(order.kind, order.side, order.quantity, order.symbol) for order in orders]


def levels(book):
    return [level for level, _ in book.notes]


def test_the_hedge_of_its_own_is_not_sold_again_a_minute_later():
    book = ledger()
    assert told(book.apply(option("09:30", "0.65", 10))) == [("hedge", "sell", 7, "SPY")]
    assert book.hedge_shares("SPY") == -7
    assert book.net_delta("SPY") == D("-0.50")
    # seven are not sold again; half a share over is beyond the threshold and rounds to one, the tie's price
    assert told(book.apply(option("09:31", "0.65"))) == [("hedge", "buy", 1, "SPY")]
    assert book.apply(option("09:32", "0.63")) == []


def test_contracts_are_their_multiplier_in_shares():
    book = ledger(quantity_unit="contracts")
    assert told(book.apply(option("09:30", "0.65", 10))) == [("hedge", "sell", 650, "SPY")]
    assert book.apply(option("10:30", "0.65")) == []


def test_the_minute_counts_from_the_last_hedge_in_event_time():
    book = ledger()
    book.apply(option("09:30:00", "0.65", 10))
    assert book.apply(option("09:30:59.999999", "0.95")) == []
    assert told(book.apply(option("09:31:00", "0.95"))) == [("hedge", "sell", 3, "SPY")]


def test_dealers_short_gamma_tighten_the_threshold():
    assert ledger(quantity_unit="contracts").apply(option("10:00", "0.12", 1)) == []
    tight = ledger(quantity_unit="contracts").apply(option("10:00", "0.12", 1), D(-15000))
    assert told(tight) == [("hedge", "sell", 12, "SPY")]
    assert tight[0].verdict.threshold == D("0.10")


@pytest.mark.parametrize(("day", "utc"), [(WINTER, "2025-12-30T20:45:00"), (SUMMER, "2025-07-15T19:45:00")])
def test_leaves_at_a_quarter_to_four_in_winter_and_in_summer(day, utc):
    book = ledger()
    symbol = f"SPY{day:%y%m%d}C00500000"
    book.apply(option("10:30", "0.65", 10, symbol=symbol, day=day))
    assert book.apply(option("15:44:59.999999", "0.65", symbol=symbol, day=day)) != []  # still hedging
    exit_ns = to_ns(datetime.fromisoformat(utc).replace(tzinfo=UTC))
    leaving = book.apply(Update(symbol, exit_ns, True, D("0.60"), None, D(496)))
    assert [(order.kind, order.symbol) for order in leaving] == [("exit", symbol), ("exit", "SPY")]
    assert book.positions() == {}
    assert book.hedge_shares("SPY") == 0
    assert book.is_closed("SPY")


def test_after_the_exit_nothing_follows_until_the_next_session():
    book = ledger()
    book.apply(option("09:30", "0.65", 10))
    assert told(book.apply(option("15:45", "0.65"))) == [
        ("exit", "sell", 10, CALL),
        ("exit", "buy", 7, "SPY"),
    ]
    for clock, symbol in (("15:46", CALL), ("15:50", PUT), ("15:59", "SPY_CALL"), ("23:59", CALL)):
        assert book.apply(option(clock, "0.9", 50, symbol=symbol)) == []
    assert book.positions() == {}
    next_day = date(2025, 12, 31)
    tomorrow = option("09:30", "0.65", 10, symbol="SPY251231C00500000", day=next_day)
    assert told(book.apply(tomorrow)) == [("hedge", "sell", 7, "SPY")]


def test_a_half_day_ends_fifteen_minutes_before_its_own_close():
    day, symbol = date(2025, 12, 24), "SPY251224C00690000"
    book = ledger()
    book.apply(option("09:30", "0.65", 10, symbol=symbol, day=day))
    book.apply(option("12:44:59", "0.65", symbol=symbol, day=day))
    assert not book.is_closed("SPY")
    assert told(book.apply(option("12:45", "0.65", symbol=symbol, day=day)))[0] == (
        "exit",
        "sell",
        10,
        symbol,
    )


def test_shares_that_the_account_tells_of_are_the_last_word_on_the_hedge():
    book = ledger(quantity_unit="contracts")
    book.apply(option("10:00", "0.65", 10))
    told_of = Update("SPY", at("10:05"), False, quantity=D(-400), underlying_price=D("495.5"))
    assert told(book.apply(told_of)) == [("hedge", "sell", 250, "SPY")]  # a share has a delta of one
    assert book.hedge_shares("SPY") == -650
    assert told(book.apply(tick("15:45")))[-1] == ("exit", "buy", 650, "SPY")


def test_each_underlying_has_its_own_delta_hedge_and_deadline():
    book = ledger()
    assert told(book.apply(option("10:00", "0.65", 10))) == [("hedge", "sell", 7, "SPY")]
    other = option("10:00:01", "-0.5", 4, price="510", symbol="QQQ251230P00510000")
    assert told(book.apply(other)) == [("hedge", "buy", 2, "QQQ")]
    # a tick of SPY is the first event after QQQ's deadline
    assert told(book.apply(tick("15:26"))) == [
        ("exit", "sell", 4, "QQQ251230P00510000"),
        ("exit", "sell", 2, "QQQ"),
        ("hedge", "buy", 1, "SPY"),
    ]
    assert book.positions() == {CALL: 10}


def test_a_position_that_first_shows_after_the_deadline_is_left_at_once():
    assert told(ledger().apply(option("15:50", "0.65", 10))) == [("exit", "sell", 10, CALL)]


def test_quantity_nought_removes_the_position():
    book = ledger()
    book.apply(option("10:00", "0.65", 10))
    assert told(book.apply(option("10:01", "0.65", 0))) == [("hedge", "buy", 7, "SPY")]
    assert book.positions() == {}
    assert not book.knows(CALL)
    assert book.apply(option("15:45", price="500", symbol="SPY", quantity=0)) == []


def test_short_positions_are_bought_back():
    book = ledger()
    assert told(book.apply(option("10:00", "0.65", -10))) == [("hedge", "buy", 7, "SPY")]
    assert told(book.apply(tick("15:45"))) == [("exit", "buy", 10, CALL), ("exit", "sell", 7, "SPY")]


def test_an_event_out_of_order_gives_no_order_and_does_not_undo_a_newer_one():
    book = ledger()
    book.apply(option("10:00", "0.65", 10))
    assert book.apply(option("09:59", "0.95", 99, price="1.00")) == []
    assert levels(book) == ["warn"]
    assert book.positions() == {CALL: 10}
    # another position's event may still be the newest word on that one
    assert book.apply(option("09:59:30", "-0.35", 5, symbol=PUT)) == []
    assert book.positions() == {CALL: 10, PUT: 5}
    assert told(book.apply(tick("10:01")))[0][:2] == ("hedge", "buy")


def test_an_event_out_of_order_does_not_bring_back_a_position_that_is_gone():
    book = ledger()
    book.apply(option("10:00", "0.001", 1, symbol=PUT))
    book.apply(option("10:00", "0.05", 1))
    book.apply(option("10:02", "0.05", 0))
    assert book.apply(option("10:01", "0.65", 10)) == []
    assert book.positions() == {PUT: 1}
    assert book.apply(tick("10:03")) == []


def test_a_delta_that_stays_away_is_kept_for_a_minute_then_not_hedged_on():
    book = ledger()
    book.apply(option("10:00", "0.65", 10))
    assert told(book.apply(option("10:01:00", quantity=20))) == [("hedge", "sell", 6, "SPY")]
    assert book.apply(option("10:02:01", quantity=40)) == []
    assert levels(book) == ["error"]
    assert "delta is older than 60 s" in book.notes[0][1]
    assert book.apply(option("10:02:02", quantity=40)) == []
    assert book.notes == []  # said once
    assert told(book.apply(option("10:02:03", "0.65"))) == [("hedge", "sell", 13, "SPY")]


def test_a_delta_that_came_again_may_be_old_without_being_stale():
    book = ledger()
    book.apply(option("10:00", "0.65", 10))
    book.apply(option("10:00:30", quantity=10))
    book.apply(option("10:00:40", "0.65"))
    assert told(book.apply(tick("10:05"))) == [("hedge", "buy", 1, "SPY")]


def test_events_of_one_instant_are_in_order():
    book = ledger()
    assert book.apply(tick("10:00")) == []
    assert told(book.apply(option("10:00", "0.65", 10))) == [("hedge", "sell", 7, "SPY")]


def test_what_expires_today_is_kept_from_the_night_on():
    book = ledger()
    book.apply(option("00:30", "0.65", 10))
    assert told(book.apply(tick("09:30"))) == [("hedge", "sell", 7, "SPY")]
    early = Update(CALL, at("20:00", date(2025, 12, 29)), True, D("0.65"), D(10), D("495"))
    overnight = ledger()
    overnight.apply(early)
    overnight.apply(tick("00:30"))
    assert overnight.positions() == {CALL: 10}


def test_a_delta_that_never_came_is_not_hedged_on_but_left():
    book = ledger()
    assert book.apply(option("10:00", quantity=10)) == []
    assert book.net_delta("SPY") is None
    assert told(book.apply(tick("15:45"))) == [("exit", "sell", 10, CALL)]


@pytest.mark.parametrize("price", [None, "0", "-1"])
def test_without_a_price_of_the_underlying_nothing_is_hedged(price):
    book = ledger()
    assert book.apply(option("10:00", "0.65", 10, price=price)) == []
    assert levels(book) == ["warn"]
    assert told(book.apply(tick("10:01"))) == [("hedge", "sell", 7, "SPY")]


def test_a_price_at_or_below_nought_does_not_use_the_last_good_one():
    book = ledger()
    book.apply(tick("09:59"))
    assert book.apply(option("10:00", "0.65", 10, price="0")) == []


def test_live_hours_keep_the_hedge_inside_the_session():
    book = ledger()
    assert book.apply(option("09:00", "0.65", 10)) == []
    assert told(book.apply(option("09:30", "0.65"))) == [("hedge", "sell", 7, "SPY")]
    replay = ledger(keep_hours=False)
    assert told(replay.apply(option("09:00", "0.65", 10))) == [("hedge", "sell", 7, "SPY")]
    weekend = ledger()
    assert weekend.apply(option("11:00", "0.65", 10, day=date(2026, 1, 3))) == []


def test_a_close_that_passed_unseen_is_an_alert_and_not_an_order():
    book = ledger()
    book.apply(option("10:00", "0.65", 10))
    assert book.apply(tick("16:00")) == []
    assert levels(book) == ["error"]
    assert book.positions() == {CALL: 10}  # never counted as closed without an order


def test_what_expired_while_held_is_dropped_and_its_hedge_unwound():
    book = ledger()
    book.apply(option("10:00", "0.65", 10))
    morning = Update("SPY", at("09:30", date(2025, 12, 31)), False, underlying_price=D(500))
    assert told(book.apply(morning)) == [("hedge", "buy", 7, "SPY")]
    assert levels(book) == ["error"]
    assert book.positions() == {}


@pytest.mark.parametrize("day", [date(2025, 12, 29), WINTER], ids=["late", "still listed"])
def test_an_option_that_expired_on_an_earlier_day_is_neither_hedged_nor_left(day):
    book = ledger()
    book.apply(option("10:00", "0.001", 1))
    assert book.apply(option("10:01", "1", 10, symbol="SPY251229C00500000", day=day)) == []
    assert "warn" in levels(book)
    assert book.apply(tick("10:02")) == []
    assert told(book.apply(tick("15:45"))) == [("exit", "sell", 1, CALL)]


def test_a_feed_that_invents_symbols_does_not_fill_the_memory():
    book = ledger()
    for number in range(MOST_UNDERLYINGS + 50):
        book.apply(tick("10:00", symbol=f"X{number}"))
    assert len(book._sides) == MOST_UNDERLYINGS


def test_options_that_are_not_held_any_more_do_not_fill_it_either(monkeypatch):
    monkeypatch.setattr(ledger_module, "MOST_POSITIONS", 3)
    book = ledger()
    for day in (WINTER, date(2025, 12, 31), date(2026, 1, 2)):
        symbols = [f"SPY{day:%y%m%d}C00{strike}000" for strike in range(500, 504)]
        for symbol in symbols:
            book.apply(option("10:00", "0.5", 1, symbol=symbol, day=day))
        assert set(book.positions()) == set(symbols[:3])
        assert levels(book) == ["error"]
        for symbol in symbols[:3]:
            book.apply(option("10:01", "0.5", 0, symbol=symbol, day=day))


moves = st.lists(
    st.tuples(
        st.integers(0, 7 * 3600),  # seconds after 09:00
        st.sampled_from([CALL, PUT, "SPY"]),
        st.one_of(st.none(), st.decimals(-1, 1, places=4)),
        st.one_of(st.none(), st.integers(-20, 20).map(D)),
        st.one_of(st.none(), st.decimals(-1, 600, places=2)),
    ),
    max_size=40,
)


@given(moves, st.booleans())
def test_laws_of_any_day(events, in_time):
    book = ledger(quantity_unit="contracts")
    start, deadline = at("09:00"), at("15:45")
    shares, last_hedge, closed = D(0), None, False
    latest = -1
    for seconds, symbol, delta, quantity, price in sorted(events, key=lambda e: e[0]) if in_time else events:
        ts = start + seconds * 10**9
        is_option = symbol != "SPY"
        orders = book.apply(Update(symbol, ts, is_option, delta, quantity if is_option else None, price))
        if ts < latest:
            assert not orders  # no order on an event out of order
        latest = max(latest, ts)
        for order in orders:
            assert order.quantity > 0
            signed = order.quantity if order.side == "buy" else -order.quantity
            shares += signed if order.symbol == "SPY" else 0
            if order.kind == "hedge":
                assert not closed
                assert at("09:30") <= ts < deadline
                assert abs(order.verdict.net_delta) > D("0.15")
                assert last_hedge is None or ts - last_hedge >= 60 * 10**9
                last_hedge = ts
            else:
                assert ts >= deadline
                closed = True
        assert shares == book.hedge_shares("SPY")
        if closed:
            assert shares == 0
            assert not book.positions()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        "NaN",
        "Infinity",
        True,
        None,
        [],
        {},
        "many",
        "1e400",
        1e10,
        "1e-400",
    ],
)
def test_what_is_no_number_is_none(value):
    assert number_in(value) is None


@pytest.mark.parametrize(("value", "number"), [(0.65, "0.65"), (10, "10"), ("2.50", "2.50"), (-0.1, "-0.1")])
def test_numbers_are_read_as_written(value, number):
    assert str(number_in(value)) == number
