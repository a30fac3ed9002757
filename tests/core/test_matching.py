"""Laws of matching a venue's lines with the books'."""

from decimal import Decimal
from itertools import permutations

import pytest

from scalpdesk.core.matching import Matching
from scalpdesk.core.units import DAY_NS

D = Decimal


def execution(name="", order="o", units=1, price=100, symbol="SPY", ts_ns=0):
    return (name, order, (symbol, D(units)), D(price)), ts_ns


def matched(venue, books):
    matching = Matching(venue, books, lambda line: line[1], lambda line: line[1])
    matching.pair_executions(lambda line: line[0], lambda line: line[0])
    return matching


@pytest.mark.parametrize(
    "venue", list(permutations([execution("a", price=90), execution("b"), execution("c")]))
)
def test_an_id_goes_before_a_price_and_a_price_before_the_size_alone(venue):
    by_id, by_price, corrected = execution("a"), execution("x"), execution("y", price=101)
    matching = matched(venue, [corrected, by_price, by_id])
    pairs = {mine[0]: theirs[0] for ((mine, _),), ((theirs, _),) in matching.found}
    assert pairs["a"] == "a"
    assert sorted(pairs) == ["a", "b", "c"]
    assert sorted(pairs.values()) == ["a", "x", "y"]
    assert (matching.venue, matching.books) == ([], [])


@pytest.mark.parametrize(
    "other",
    [execution("b", order="p"), execution("b", units=-1), execution("b", symbol="QQQ"), execution("b", "")],
)
def test_executions_of_another_order_side_or_instrument_stay_alone(other):
    matching = matched([other], [execution("a")])
    assert (matching.found, matching.venue, matching.books) == ([], [other], [execution("a")])


def test_lines_without_an_order_are_not_of_one_order():
    assert matched([execution("b", "")], [execution("a", "")]).found == []


@pytest.mark.parametrize(("most_days", "pairs"), [(None, 2), (2, 1), (0.5, 0)])
def test_the_nearest_in_time_belong_together_and_none_beyond_the_limit(most_days, pairs):
    matching = Matching([0, 10 * DAY_NS], [DAY_NS, 40 * DAY_NS], lambda ns: ns, lambda ns: ns)
    matching.pair(lambda _: "one", lambda _: "one", most_days)
    assert matching.found == [([0], [DAY_NS]), ([10 * DAY_NS], [40 * DAY_NS])][:pairs]


@pytest.mark.parametrize(("parts", "is_paired"), [([2, 3], True), ([2, 2], False), ([], False)])
def test_several_lines_are_one_where_they_come_to_the_same(parts, is_paired):
    matching = Matching([5], parts, lambda _: 0, lambda _: 0)
    matching.pair_groups(lambda _: "o", lambda _: "o", lambda some, others: sum(some) == sum(others))
    assert bool(matching.found) is is_paired
    assert matching.books == ([] if is_paired else parts)
