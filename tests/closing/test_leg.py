from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.closing.ladder import DEEPEST, LEAST_PART, PriceLadder
from scalpdesk.closing.leg import Rung, Sight, Tactics, Tried
from scalpdesk.closing.plan import BOTH_TYPES, LIMITS_ALONE, Target, TargetLine, World, plan
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Equity
from scalpdesk.orders.order import Order, OrderState
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

STYLE = Tactics(retry_seconds=5.0, pause_seconds=5.0)
BOOK = straddle_book(500)
OUT = Target([TargetLine("", 1, Decimal(3))], STYLE, "out")
KEY = ("", 1)
TICK, D95 = Decimal("0.01"), Decimal("0.95")
CALL = BOOK[1]
OUT_OF_SIGHT = Sight(0, CALL, None, None, is_fine=False, has_no_bid=False, is_halted=False)


def world(seen, *working):
    return World(seen.now_ns, BOOK, lambda _: seen, working)


@pytest.mark.rows(
    ("bid", "is_unquoted", "must_go", "tries", "allowed", "rungs"),
    [
        (5.0, False, False, 0, BOTH_TYPES, "market mid"),
        (5.0, False, False, 1, BOTH_TYPES, "limit mid"),
        (5.0, False, False, 0, LIMITS_ALONE, "limit mid"),
        (5.0, True, False, 0, BOTH_TYPES, "model model"),
        (5.0, True, True, 0, BOTH_TYPES, "market market"),
        (5.0, True, True, 0, LIMITS_ALONE, "model model"),
        (0.0, False, True, 0, BOTH_TYPES, "least least"),
    ],
)
def test_the_rung_of_a_try_follows_from_what_is_seen(bid, is_unquoted, must_go, tries, allowed, rungs):
    is_fine = bid > 0 and not is_unquoted
    seen = Sight(0, CALL, quote(1, 0, bid, 5.1), 500.0, is_fine, not bid, False, is_unquoted, must_go=must_go)
    leg = Tried(tries)
    found = [
        leg.rung(seen, Side.SELL, STYLE.market_tries, allowed, is_patient=patient)
        for patient in (False, True)
    ]
    assert " ".join(found) == rungs


@given(st.integers(1, 100_000), st.integers(0, 500), st.integers(0, 50), st.floats(0, 1))
def test_a_limit_gives_away_no_more_than_five_percent_and_lies_on_the_tick(cents, wide, ticks, walked):
    low, high = Decimal(cents) / 100, Decimal(cents + wide) / 100
    for side, least, most in ((Side.SELL, D95 * low, low), (Side.BUY, high, high / D95)):
        ladder = PriceLadder(Equity("SPY"), side, float(low), float(high))
        assert least <= ladder.meeting(ticks) <= most
        assert low <= ladder.between(walked) <= high
        assert {ladder.between(walked) % TICK, ladder.meeting(ticks) % TICK} == {0}


@given(st.integers(10, 9_000), st.sampled_from([LEAST_PART, DEEPEST]), st.floats(0, 1))
def test_an_option_is_bought_back_by_the_model_within_a_price_collar(cents, part, step):
    worth = cents / 100
    limit = PriceLadder(CALL, Side.BUY, 0.0, 0.0).by_model(worth, 0.0, step, part)
    assert limit <= Decimal(cents) / 100 / D95 + Decimal("0.05")


@given(st.integers(10, 5_000), st.integers(0, 5_000), st.integers(0, 5_000), st.booleans(), st.booleans())
def test_an_option_whose_quote_shows_no_price_is_never_sold_at_the_market_nor_below_half_of_its_worth(
    cents, intrinsic, stub, must_go, takes_all
):
    worth = max(cents, intrinsic) / 100
    seen = Sight(
        0,
        CALL,
        quote(1, 0, min(stub / 100, 0.05), worth + 30.0),
        500.0,
        is_fine=False,
        has_no_bid=False,
        is_halted=False,
        is_unquoted=True,
        shows_no_price=True,
        must_go=must_go,
        model=lambda: (worth, intrinsic / 100),
    )
    leg, offered = Tried(), []
    for _ in range(8):
        rung = leg.rung(seen, Side.SELL, 1, BOTH_TYPES if takes_all else LIMITS_ALONE, is_patient=False)
        assert rung is Rung.MODEL
        offered.append(leg.price(rung, seen, Side.SELL, ticks=0, walked=0.0))
        leg = leg.after_try(seen, Side.SELL, rung, STYLE, is_opening=False, has_come=True)
    assert offered == sorted(offered, reverse=True)
    least = max(worth / 2, 0.95 * intrinsic / 100) if must_go else max(0.95 * worth, intrinsic / 100)
    assert float(offered[-1]) == pytest.approx(least, abs=0.05)
    assert float(offered[-1]) >= worth / 2 - 1e-9


@pytest.mark.rows("lost", ["no quote", "no bid"])
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 5))
def test_what_is_quoted_or_bid_for_again_is_tried_as_by_a_closer_that_begins(lost, blind, later, refusals):
    """Nothing that was offered while nobody could take it delays or cheapens what follows."""
    now_ns, memories = 0, {"old": {}, "new": {}}

    def tried(name, *, is_lost):
        bid = 0.0 if is_lost and lost == "no bid" else 4.9
        seen = Sight(
            now_ns,
            CALL,
            quote(1, now_ns, bid, 5.1),
            500.0,
            is_fine=not is_lost,
            has_no_bid=bid == 0.0,
            is_halted=False,
            is_unquoted=is_lost and lost == "no quote",
            model=lambda: (5.0, 0.0),
        )
        found = plan(OUT, world(seen), memories[name])
        memories[name] = dict(found.memory)
        return found.orders, [due - now_ns for due in found.due_ns]

    def refused(name):
        return memories[name][KEY].after_refusal(OUT_OF_SIGHT._replace(now_ns=now_ns), Side.SELL, 1.0, 15.0)

    for _ in range(blind):
        tried("old", is_lost=True)
        now_ns = memories["old"][KEY].not_before_ns
    for _ in range(refusals):
        memories["old"] = {KEY: refused("old")}
        now_ns = memories["old"][KEY].not_before_ns - 1
    for is_lost in (False, False, *[True] * later, False):
        assert tried("old", is_lost=is_lost) == tried("new", is_lost=is_lost)
        now_ns = max(now_ns, memories["new"][KEY].not_before_ns)
    assert refused("old").not_before_ns == refused("new").not_before_ns


def test_an_offer_at_the_least_rests_until_it_has_moved_away_and_is_looked_after_meanwhile():
    worth, memory = [5.0], {}

    def seen(now_ns, **changes):
        flags = {"is_fine": False, "has_no_bid": False, "is_halted": False, "is_unquoted": True, **changes}
        return Sight(now_ns, CALL, quote(1, 0, 4.9, 5.1), 500.0, **flags, model=lambda: (worth[0], 0.0))

    def order(kind, limit):
        terms = Side.SELL, Decimal(3), kind, limit, TimeInForce.DAY, Purpose.CLOSE, ""
        return Order(SubmitOrder("o", 1, *terms), now_ns, OrderState.WORKING)

    def is_late(one, **changes):
        return bool(plan(OUT, world(seen(due_ns, **changes), one), memory).cancels)

    now_ns = 0
    for _ in range(6):
        found = plan(OUT, world(seen(now_ns)), memory)
        (sent,), (now_ns,), memory = found.orders, found.due_ns, found.memory
    offer = order(OrderType.LIMIT, sent.limit_price)
    found = plan(OUT, world(seen(now_ns + 7 * 10**9), offer), memory)
    (due_ns,) = found.due_ns
    assert (found.orders, due_ns - now_ns) == ((), 10 * 10**9)  # every five seconds since it was sent
    for away, rests in ((1.0, True), (1.04, True), (1.06, False)):
        worth[0] = 5.0 * away
        assert is_late(offer) is not rests
    worth[0] = 5.0  # at any price the market order waits for a bidder, and no limit does
    assert is_late(offer, must_go=True)
    assert not is_late(order(OrderType.MARKET, None), must_go=True)
