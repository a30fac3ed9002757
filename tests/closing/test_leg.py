from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.closing.closer import BOTH_TYPES, LIMITS_ALONE
from scalpdesk.closing.ladder import DEEPEST, LEAST_PART, PriceLadder
from scalpdesk.closing.leg import ClosingLeg, ClosingStyle, Rung, Sight
from scalpdesk.core.intents import Side
from scalpdesk.instruments.contract import Equity
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
