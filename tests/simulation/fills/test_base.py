"""Each fill model's stated conditions, one by one."""

import math
from decimal import Decimal

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import Side
from scalpdesk.core.sockets import FILL_MODELS
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.fills.base import Resting
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.kit.tape import quote

D = Decimal


def resting(side=Side.BUY, quantity=10, limit=None):
    return Resting(side.sign, D(quantity), None if limit is None else D(limit))


def show(model, order, *quotes, instrument=None):
    """Show quotes (bid, ask, bid size, ask size) to one order as the exchange does; return the matches."""
    found = []
    for step, sides in enumerate(quotes):
        execution = model.match(order, quote(0, step, *sides), instrument or share())
        order.tries += 1
        if execution is None:
            found.append(None)
            continue
        quantity, price = execution
        order.leaves -= quantity
        found.append((int(quantity), f"{price.normalize():f}"))
    return found


def test_every_model_is_found_by_the_name_of_its_file():
    assert FILL_MODELS.names() == ("adverse", "cross", "mid", "queue")
    for name in FILL_MODELS.names():
        assert fill_model(name).name == name
    assert fill_model("queue") is not fill_model("queue")


def test_a_model_that_is_not_there_names_the_nearest():
    with pytest.raises(ConfigError) as caught:
        fill_model("crosss")
    assert (caught.value.where, caught.value.nearest) == ("simulation.fill_model", "cross")
    with pytest.raises(ConfigError):
        fill_model("base")


@pytest.mark.rows("name", ["adverse", "cross", "mid", "queue"])
@pytest.mark.rows("side", Side)
@pytest.mark.rows("limit", [None, "10"])
def test_no_model_fills_on_a_side_that_is_not_there(name, side, limit):
    empty = (math.nan, math.nan, 0, 0)
    assert show(fill_model(name), resting(side, limit=limit), empty, empty) == [None, None]


# cross ---------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("side", "limit", "match"),
    [
        (Side.BUY, None, (10, "10.1")),
        (Side.SELL, None, (10, "9.9")),
        (Side.BUY, "10.10", (10, "10.1")),
        (Side.BUY, "10.50", (10, "10.1")),
        (Side.BUY, "10.09", None),
        (Side.SELL, "9.90", (10, "9.9")),
        (Side.SELL, "9.50", (10, "9.9")),
        (Side.SELL, "9.91", None),
    ],
)
def test_cross_fills_a_marketable_order_at_the_far_side(side, limit, match):
    assert show(fill_model("cross"), resting(side, limit=limit), (9.9, 10.1, 50, 50)) == [match]


@pytest.mark.parametrize("name", ["cross", "queue"])
def test_cross_and_queue_fill_no_more_than_is_displayed(name):
    seen = show(
        fill_model(name),
        resting(),
        (9.9, 10.1, 50, 4),
        (9.9, 10.1, 50, 0.5),
        (9.9, 10.2, 50, 3.9),
        (9.9, 10.1, 50, 50),
    )
    assert seen == [(4, "10.1"), (0, "10.1"), (3, "10.2"), (3, "10.1")]


def test_cross_fills_a_resting_limit_at_its_own_price():
    seen = show(fill_model("cross"), resting(limit="10"), (9.9, 10.1, 5, 5), (9.7, 9.8, 5, 5))
    assert seen == [None, (5, "10")]


# mid -----------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("side", "limit", "match"),
    [
        (Side.BUY, None, (10, "10")),
        (Side.SELL, None, (10, "10")),
        (Side.BUY, "10", (10, "10")),
        (Side.BUY, "9.99", None),
        (Side.SELL, "10", (10, "10")),
        (Side.SELL, "10.01", None),
        (Side.SELL, "9", (10, "10")),
    ],
)
def test_mid_fills_whole_at_the_mid(side, limit, match):
    assert show(fill_model("mid"), resting(side, limit=limit), (9.9, 10.1, 1, 1)) == [match]


# adverse -------------------------------------------------------------------------------------------


def test_adverse_makes_a_market_order_wait_and_pay_the_worse_side_and_a_tick():
    adverse = fill_model("adverse")
    better, worse = (9.8, 10.0, 100, 100), (10.0, 10.2, 100, 100)
    start = (9.9, 10.1, 100, 100)
    assert show(adverse, resting(), start, better) == [None, (10, "10.11")]
    assert show(adverse, resting(), start, worse) == [None, (10, "10.21")]
    assert show(adverse, resting(Side.SELL), start, better) == [None, (10, "9.79")]
    assert show(adverse, resting(Side.SELL), start, worse) == [None, (10, "9.89")]


def test_adverse_ticks_are_the_instruments_own():
    wide = option("C", 5000, root="SPXW")
    seen = show(fill_model("adverse"), resting(), (9.9, 10.1, 50, 50), (9.9, 10.1, 50, 50), instrument=wide)
    assert seen == [None, (10, "10.2")]  # 10.10 and a dime


def test_adverse_fills_at_most_half_of_what_is_displayed():
    level = (9.9, 10.1, 100, 8)
    assert show(fill_model("adverse"), resting(), level, level, level, level) == [
        None,
        (4, "10.11"),
        (4, "10.11"),
        (2, "10.11"),
    ]
    assert show(fill_model("adverse"), resting(quantity=3), level, (9.9, 10.1, 100, 1)) == [
        None,
        (1, "10.11"),
    ]
    assert show(fill_model("adverse"), resting(quantity=1), level, level) == [None, (1, "10.11")]


def test_adverse_fills_a_whole_order_where_no_sizes_are_known():
    level = (9.9, 10.1, 0, 0)
    assert show(fill_model("adverse"), resting(quantity=300), level, level) == [None, (300, "10.11")]


def test_adverse_fills_a_limit_only_when_the_market_trades_through_it():
    adverse = fill_model("adverse")
    touched, through = (9.9, 10.0, 50, 50), (9.9, 9.99, 50, 50)
    assert show(adverse, resting(limit="10"), touched, through) == [None, (10, "10")]
    above, touched, through = (9.9, 10.1, 50, 50), (10.0, 10.1, 50, 50), (10.01, 10.1, 50, 50)
    assert show(adverse, resting(Side.SELL, limit="10"), above, touched, through) == [None, None, (10, "10")]


# queue ---------------------------------------------------------------------------------------------


def test_queue_crosses_the_spread_like_cross():
    assert show(fill_model("queue"), resting(limit="10.2"), (9.9, 10.1, 5, 5)) == [(5, "10.1")]
    assert show(fill_model("queue"), resting(), (9.9, math.nan, 5, 0)) == [None]


def test_queue_fills_an_order_behind_the_market_when_it_moves_through_it():
    seen = show(fill_model("queue"), resting(limit="9.95"), (9.96, 10.1, 30, 50), (9.94, 10.1, 30, 7))
    assert seen == [None, (7, "9.95")]


def test_queue_fills_at_the_limit_when_the_far_side_reaches_it():
    seen = show(fill_model("queue"), resting(limit="9.90"), (9.90, 10.1, 30, 50), (9.80, 9.90, 30, 4))
    assert seen == [None, (4, "9.9")]
