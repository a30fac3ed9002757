import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.datasets.sides import QuoteRows, complete_sides

NAN = float("nan")
MINUTE = 60_000_000_000


def rows(
    *table: tuple[int, int, float, float], sizes: tuple[float, float] = (5.0, 7.0), session=0
) -> QuoteRows:
    """(minute, instrument, bid, ask); a null side has size 0."""
    minute, ids, bid, ask = (np.array(column) for column in zip(*table, strict=True))
    return QuoteRows(
        minute.astype(np.int64) * MINUTE,
        ids.astype(np.int32),
        np.full(len(ids), session, np.int32),
        bid.astype(float),
        ask.astype(float),
        np.where(np.isnan(bid.astype(float)), 0.0, sizes[0]),
        np.where(np.isnan(ask.astype(float)), 0.0, sizes[1]),
    )


def test_a_missing_side_is_carried_with_its_size_until_it_is_too_old():
    table = rows((1, 0, 10.0, 10.2), (3, 0, NAN, 10.3), (6, 0, NAN, 10.4), (7, 0, NAN, 10.5))
    out, counts = complete_sides(table, max_age_seconds=300.0)
    np.testing.assert_array_equal(out.bid, [10.0, 10.0, 10.0, NAN])
    np.testing.assert_array_equal(out.bid_size, [5.0, 5.0, 5.0, 0.0])
    np.testing.assert_array_equal(out.ask, [10.2, 10.3, 10.4, 10.5])
    assert (counts.sides_carried, counts.sides_missing) == (2, 1)


def test_without_a_limit_a_side_is_carried_through_the_session():
    out, _ = complete_sides(rows((1, 0, 10.0, 10.2), (300, 0, NAN, 10.3)), max_age_seconds=None)
    assert out.bid[1] == 10.0


def test_nothing_is_carried_into_another_session_or_instrument():
    first = rows((1, 0, 10.0, 10.2), (2, 1, NAN, 3.0))
    later = rows((3, 0, NAN, 10.4), session=1)
    both = QuoteRows.joined([first, later])
    out, _ = complete_sides(both, max_age_seconds=None)
    np.testing.assert_array_equal(out.bid, [10.0, NAN, NAN])


def test_of_a_crossed_row_the_side_that_did_not_move_is_withheld():
    # The bid of 0.15 has not moved; the ask fell to 0.10 through it.
    out, counts = complete_sides(rows((1, 0, 0.15, 0.20), (2, 0, 0.15, 0.10), (3, 0, 0.05, 0.10)), None)
    np.testing.assert_array_equal(out.bid, [0.15, NAN, 0.05])
    np.testing.assert_array_equal(out.bid_size, [5.0, 0.0, 5.0])
    np.testing.assert_array_equal(out.ask, [0.20, 0.10, 0.10])
    assert (counts.crossed_as_stored, counts.sides_withheld) == (1, 1)


def test_a_crossed_row_of_which_nothing_is_known_loses_both_sides():
    out, counts = complete_sides(rows((1, 0, 0.15, 0.10)), None)
    assert np.isnan(out.bid[0])
    assert np.isnan(out.ask[0])
    assert counts.sides_withheld == 2


def test_a_carried_side_gives_way_to_a_newer_one_that_crosses_it():
    out, counts = complete_sides(rows((1, 0, 10.0, 10.2), (2, 0, NAN, 9.9)), None)
    assert np.isnan(out.bid[1])
    assert out.ask[1] == 9.9
    assert counts.crossed_as_stored == 0
    assert counts.sides_withheld == 1


price = st.one_of(st.just(NAN), st.floats(0.01, 20.0))


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2), price, price), min_size=1, max_size=40),
    st.one_of(st.none(), st.sampled_from([60.0, 300.0])),
)
def test_what_comes_out_is_sorted_never_crossed_and_never_invented(table, max_age):
    before = rows(*table)
    out, counts = complete_sides(before, max_age)
    assert len(out) == len(before) == counts.rows
    assert bool((np.diff(out.ts_ns) >= 0).all())
    assert not bool((out.bid > out.ask).any())
    assert bool((out.bid_size[np.isnan(out.bid)] == 0).all())
    for ts, instrument, bid in zip(out.ts_ns, out.instrument_id, out.bid, strict=True):
        if not np.isnan(bid):
            told = (before.ts_ns <= ts) & (before.instrument_id == instrument) & (before.bid == bid)
            assert told.any()
            if max_age is not None:
                assert ts - before.ts_ns[told].max() <= max_age * 1e9


def test_no_rows_stay_no_rows():
    empty = rows((1, 0, 1.0, 2.0)).take(np.zeros(1, dtype=np.bool_))
    out, counts = complete_sides(empty, 300.0)
    assert len(out) == counts.rows == 0


def test_rows_of_one_instant_come_in_an_order_that_does_not_depend_on_how_they_were_read():
    table = [(1, 0, 10.0, 10.3), (1, 0, 10.1, 10.2), (1, 0, 10.0, 10.2), (2, 0, NAN, 10.4)]
    one, _ = complete_sides(rows(*table), None)
    other, _ = complete_sides(rows(*reversed(table)), None)
    np.testing.assert_array_equal(one.bid, other.bid)
    np.testing.assert_array_equal(one.ask, other.ask)
    assert one.bid.tolist() == [10.0, 10.0, 10.1, 10.1]
