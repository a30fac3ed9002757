from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.closing.closer import BOTH_TYPES, LIMITS_ALONE, Closer, ClosingLine
from scalpdesk.closing.ladder import DEEPEST, LEAST_PART, PriceLadder
from scalpdesk.closing.leg import ClosingLeg, ClosingStyle, Rung, Sight
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Equity
from scalpdesk.orders.order import Order, OrderState
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

STYLE = ClosingStyle(retry_seconds=5.0, pause_seconds=5.0)
TICK, D95 = Decimal("0.01"), Decimal("0.95")
CALL = straddle_book(500)[1]


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
    leg = ClosingLeg()
    leg.tries = tries
    found = [leg.rung(seen, Side.SELL, STYLE, allowed, is_patient=patient) for patient in (False, True)]
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
    leg, offered = ClosingLeg(), []
    for _ in range(8):
        rung = leg.rung(seen, Side.SELL, STYLE, BOTH_TYPES if takes_all else LIMITS_ALONE, is_patient=False)
        assert rung is Rung.MODEL
        offered.append(leg.price(rung, seen, Side.SELL, ticks=0, walked=0.0))
        leg.tries += 1
    assert offered == sorted(offered, reverse=True)
    least = max(worth / 2, 0.95 * intrinsic / 100) if must_go else max(0.95 * worth, intrinsic / 100)
    assert float(offered[-1]) == pytest.approx(least, abs=0.05)
    assert float(offered[-1]) >= worth / 2 - 1e-9


@pytest.mark.rows("lost", ["no quote", "no bid"])
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 5))
def test_what_is_quoted_or_bid_for_again_is_tried_as_by_a_closer_that_begins(lost, blind, later, refusals):
    """Nothing that was offered while nobody could take it delays or cheapens what follows."""
    line, now_ns = ClosingLine("", 1, Decimal(3)), 0

    def tried(closer, *, is_lost):
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
        sent = closer.tries([line], lambda _: (), lambda _: seen, "out", has_sent=lambda *_: True)
        return sent.orders, [due - now_ns for due in sent.due_ns]

    old = Closer(STYLE)
    for _ in range(blind):
        tried(old, is_lost=True)
        now_ns = old.leg(1).not_before_ns
    old.leg(1).is_unsold = lost == "no bid"  # as the alert says of it
    for _ in range(refusals):
        now_ns = old.leg(1).refuse(now_ns, 1.0, 1_800.0) - 1
    new = Closer(STYLE)
    for is_lost in (False, False, *[True] * later, False):
        assert tried(old, is_lost=is_lost) == tried(new, is_lost=is_lost)
        now_ns = max(now_ns, new.leg(1).not_before_ns)
    assert old.leg(1).refuse(now_ns, 1.0, 1_800.0) == new.leg(1).refuse(now_ns, 1.0, 1_800.0)


def test_an_offer_at_the_least_rests_until_it_has_moved_away_and_is_looked_after_meanwhile():
    worth, closer, line = [5.0], Closer(STYLE), ClosingLine("", 1, Decimal(3))

    def seen(now_ns, **changes):
        flags = {"is_fine": False, "has_no_bid": False, "is_halted": False, "is_unquoted": True, **changes}
        return Sight(now_ns, CALL, quote(1, 0, 4.9, 5.1), 500.0, **flags, model=lambda: (worth[0], 0.0))

    def tries(now_ns, *working):
        return closer.tries(
            [line], lambda _: working, lambda _: seen(now_ns), "out", has_sent=lambda *_: True
        )

    def order(kind, limit):
        terms = Side.SELL, Decimal(3), kind, limit, TimeInForce.DAY, Purpose.CLOSE, ""
        return Order(SubmitOrder("o", 1, *terms), now_ns, OrderState.WORKING)

    now_ns = 0
    for _ in range(6):
        (sent,), (now_ns,) = tries(now_ns)
    offer = order(OrderType.LIMIT, sent.limit_price)
    nothing, (due_ns,) = tries(now_ns + 7 * 10**9, offer)
    assert (nothing, due_ns - now_ns) == ([], 10 * 10**9)  # every five seconds since it was sent
    for away, rests in ((1.0, True), (1.04, True), (1.06, False)):
        worth[0] = 5.0 * away
        assert closer.is_late(offer, lambda _: seen(due_ns), due_ns) is not rests
    worth[0] = 5.0
    at_any_price = seen(due_ns, must_go=True)  # then the market order waits for a bidder, and no limit does
    assert closer.is_late(offer, lambda _: at_any_price, due_ns)
    assert not closer.is_late(order(OrderType.MARKET, None), lambda _: at_any_price, due_ns)
