from dataclasses import replace
from datetime import date
from decimal import Decimal
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import DividendEvent, OpenInterestEvent, PriceAdjustmentEvent, RateEvent
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import BarColumns, CashDividend, session_bars
from scalpdesk.simulation import tape_reader
from scalpdesk.simulation.tape_reader import (
    TapeReader,
    ex_instant_ns,
    opening_events,
    session_quotes,
    settlement_level,
)
from scalpdesk_testing.kit.instruments import DAY, option, share, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at


def quotes(tape, session=None):
    return session_quotes(tape, session or tape.sessions[0]).quotes(slice(None))


def test_at_one_instant_the_options_come_before_the_underlying():
    tape = TapeBuilder(straddle_book(490, 500)).spot("10:00", 500.0).spot("10:01", 501.0).build()
    assert [int(tape.quotes.instrument_id[row]) for row in range(5)] == [0, 1, 2, 3, 4]  # as it was recorded
    seen = [(one.ts_recv_ns, one.instrument_id) for one in quotes(tape)]
    first, second = at("10:00"), at("10:01")
    assert seen == [(first, n) for n in (1, 2, 3, 4, 0)] + [(second, n) for n in (1, 2, 3, 4, 0)]


def test_one_option_comes_before_its_underlying_too():
    book = Instruments([share(), option("C")])
    assert [one.instrument_id for one in quotes(TapeBuilder(book).spot("10:00", 500.0).build())] == [1, 0]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=30))
def test_each_instant_is_in_order_and_equal_quotes_stay_as_they_came(rows):
    builder, start = TapeBuilder(straddle_book(490)), at("10:00")
    for place, (second, number) in enumerate(sorted(rows, key=itemgetter(0))):
        builder.quote(number % 3, start + second * 10**9, 1.0 + place, 100.0)  # the bid shows the place
    tape = builder.build()
    recorded = [
        (int(ts_ns), int(number), float(bid))
        for ts_ns, number, bid in zip(
            tape.quotes.ts_ns, tape.quotes.instrument_id, tape.quotes.bid, strict=True
        )
    ]
    wanted = sorted(recorded, key=lambda row: (row[0], row[1] or 99))  # the underlying (0) last
    assert [(one.ts_recv_ns, one.instrument_id, one.bid) for one in quotes(tape)] == wanted
    assert [float(bid) for bid in tape.quotes.bid] == [bid for _, _, bid in recorded]  # the tape stays


def test_every_quote_comes_once_whatever_the_size_of_a_chunk(monkeypatch):
    rng = np.random.default_rng(3)
    builder = TapeBuilder()
    start = at("10:00")
    for _ in range(200):
        instant = start + int(rng.integers(0, 40)) * 10**9
        builder.quote(int(rng.integers(0, 3)), instant, 1.0 + float(rng.random()), 3.0)
    tape = builder.build()
    whole = quotes(tape)
    assert len(whole) == 200
    for rows in (1, 3, 7, 64):
        monkeypatch.setattr(tape_reader, "CHUNK_ROWS", rows)
        reader = TapeReader(tape)
        instants = []
        while reader.next_ns() < NEVER_NS:
            instants.append(reader.take_next())
        assert [one for events in instants for one in events] == whole
        stamps = [{one.ts_recv_ns for one in events} for events in instants]
        assert all(len(stamp) == 1 for stamp in stamps)
        assert len(stamps) == len({one.ts_recv_ns for one in whole})  # no instant is cut


def test_quotes_outside_the_session_are_left_out_and_its_bounds_are_inside():
    session = session_on(DAY)
    builder = TapeBuilder()
    for instant in (session.open_ns - 1, session.open_ns, session.close_ns, session.close_ns + 1):
        builder.quote(0, instant, 1.0, 1.1)
    assert [one.ts_recv_ns for one in quotes(builder.build())] == [session.open_ns, session.close_ns]


def test_what_is_known_before_the_open_is_stamped_at_the_open():
    tape = TapeBuilder().dividend("1.57", date(2024, 3, 15)).dividend("9", date(2024, 3, 15), "QQQ").build()
    tape = replace(tape, open_interest={"SPY240419P00500000": 7, "SPY240419C00500000": 9, "OTHER": 1})
    session = tape.sessions[0]
    at_ns = session.open_ns
    assert opening_events(tape, session, is_first=True) == [
        RateEvent(at_ns, at_ns, (1.0,), (0.0,)),
        OpenInterestEvent(1, at_ns, at_ns, 9),
        OpenInterestEvent(2, at_ns, at_ns, 7),
        DividendEvent(0, at_ns, at_ns, session_on(date(2024, 3, 15)).open_ns, Decimal("1.57")),
    ]
    assert opening_events(tape, session, is_first=False) == [RateEvent(at_ns, at_ns, (1.0,), (0.0,))]


def test_before_a_later_session_what_changes_the_scale_of_prices_since_the_one_before_is_known():
    """Friday to Monday; figures that a run begins with need no other scale."""
    days = date(2024, 3, 1), date(2024, 3, 4)
    terms = [("split", {"ratio": Decimal("0.1")}), ("special_dividend", {"cash": Decimal("2.5")})]
    actions = tuple(
        CorporateAction(symbol="SPY", ex_date=days[1], kind=ActionKind(kind), **more) for kind, more in terms
    )
    others = (
        replace(actions[0], symbol="QQQ"),
        replace(actions[0], ex_date=days[0]),
        replace(actions[0], ex_date=date(2024, 3, 5)),
    )
    tape = replace(TapeBuilder(days=days).build(), actions=(*actions, *others))
    first, second = tape.sessions
    at_ns = second.open_ns
    assert not any(
        isinstance(each, PriceAdjustmentEvent) for each in opening_events(tape, first, is_first=True)
    )
    assert opening_events(tape, second, is_first=False)[1:] == [
        PriceAdjustmentEvent(0, at_ns, at_ns, 10.0, 0.1),
        PriceAdjustmentEvent(0, at_ns, at_ns, 1.0, 1.0, 2.5),
    ]


def test_a_dividend_is_known_from_the_ex_date_before_it_and_not_earlier():
    days = date(2024, 3, 14), date(2024, 3, 15), date(2024, 3, 18)
    tape = TapeBuilder(days=days).dividend("1.9", date(2024, 9, 20)).dividend("1.7", date(2024, 6, 21))
    tape = tape.dividend("1.5", date(2023, 12, 15)).dividend("1.6", date(2024, 3, 15)).build()

    def known(session, *, is_first):
        found = opening_events(tape, session, is_first=is_first)
        return sorted(float(each.amount) for each in found if isinstance(each, DividendEvent))

    first, second, third = tape.sessions
    assert known(first, is_first=True) == [1.5, 1.6]
    assert known(second, is_first=False) == [1.7]
    assert known(third, is_first=False) == []


def test_a_share_goes_ex_at_the_open_of_the_ex_date():
    assert ex_instant_ns(CashDividend("SPY", date(2024, 3, 15), Decimal(1))) == at("09:30", date(2024, 3, 15))
    assert ex_instant_ns(CashDividend("SPY", date(2024, 3, 16), Decimal(1))) == 0  # a Saturday: unknown


@pytest.mark.parametrize("has_bars", [False, True])
def test_bars_of_the_session_come_at_their_ends(has_bars):
    tape = TapeBuilder().spot("10:00", 500.0).build()
    session = tape.sessions[0]
    if not has_bars:
        assert session_bars(tape, session) == []
        return
    ends = np.array([session.open_ns, session.open_ns + 60 * 10**9, session.close_ns, session.close_ns + 1])
    ones = np.ones(4)
    columns = BarColumns(
        ends, np.zeros(4, np.int32), np.full(4, 60, np.int32), ones, ones * 3, ones, ones * 2, ones * 9
    )
    bars = session_bars(replace(tape, bars=columns), session)
    assert [bar.ts_recv_ns for bar in bars] == [session.open_ns + 60 * 10**9, session.close_ns]
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close, bars[0].volume) == (
        1.0,
        3.0,
        1.0,
        2.0,
        9.0,
    )


def test_only_an_underlying_that_comes_too_early_moves_and_only_within_its_instant():
    """Two instants: in the first the share stands between its options, in the second it is last already."""
    first, second = at("10:00"), at("10:01")
    builder = TapeBuilder()
    for number, instant in ((1, first), (0, first), (2, first), (1, second), (2, second), (0, second)):
        builder.quote(number, instant, 1.0 + number, 2.0 + number)
    reader = TapeReader(builder.build())
    assert reader.next_ns() == first
    assert [(one.instrument_id, one.bid, one.ask) for one in reader.take_next()] == [
        (1, 2.0, 3.0),
        (2, 3.0, 4.0),
        (0, 1.0, 2.0),
    ]
    assert reader.next_ns() == second
    assert [one.instrument_id for one in reader.take_next()] == [1, 2, 0]
    assert (reader.next_ns(), reader.take_next()) == (NEVER_NS, [])


def test_options_of_one_instant_keep_the_order_of_their_numbers():
    builder = TapeBuilder(straddle_book(490, 500))
    for number in (4, 0, 2, 3, 1):
        builder.quote(number, at("10:00"), 1.0, 2.0)
    assert [one.instrument_id for one in TapeReader(builder.build()).take_next()] == [1, 2, 3, 4, 0]


def test_bars_follow_the_quotes_of_their_instant():
    tape = TapeBuilder().quote(0, at("09:31"), 1.0, 2.0).quote(0, at("09:33"), 1.0, 2.0).build()
    ends = np.array([at("09:31"), at("09:32"), at("09:33")])
    ones = np.ones(3)
    bars = BarColumns(ends, np.zeros(3, np.int32), np.full(3, 60, np.int32), ones, ones, ones, ones, ones)
    reader = TapeReader(replace(tape, bars=bars))
    assert reader.barred == {0}
    seen = []
    while (now_ns := reader.next_ns()) < NEVER_NS:
        seen.append((now_ns, [type(one).__name__ for one in reader.take_next()]))
    assert seen == [
        (at("09:31"), ["QuoteEvent", "BarEvent"]),
        (at("09:32"), ["BarEvent"]),
        (at("09:33"), ["QuoteEvent", "BarEvent"]),
    ]
    assert TapeReader(tape).barred == frozenset()


def test_a_reader_of_one_session_plays_that_alone():
    tape = TapeBuilder(days=(DAY, date(2024, 3, 5)))
    tape.quote(0, "10:00", 1.0, 2.0).quote(0, at("10:00", date(2024, 3, 5)), 3.0, 4.0)
    built = tape.build()
    whole = TapeReader(built)
    assert [whole.take_next()[0].bid for _ in range(2)] == [1.0, 3.0]
    last = TapeReader(built, built.sessions[1])
    assert (last.take_next()[0].bid, last.next_ns()) == (3.0, NEVER_NS)


def test_a_level_of_the_tape_has_four_decimals():
    tape = TapeBuilder()
    tape.settlement_prices = {("SPY", DAY): 501.23456}
    built = tape.build()
    assert settlement_level(built, "SPY", DAY) == Decimal("501.2346")
    assert settlement_level(built, "SPY", date(2024, 3, 5)) is None
