"""Ten reports of other programs on marks and restarts (docs/evidence/faults.md): what this desk does."""

import math

import pytest

from scalpdesk.simulation.faults import Fault
from scalpdesk_testing.campaign import run_trial
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.schedule import Moment, quiet_schedule

STRIKES = 490, 495, 500, 505, 510
SHARE, CALL = 0, 5


@pytest.mark.rows(
    ("report", "number", "bid", "ask"),
    [
        ("erdewit/ib_insync#471", SHARE, -1.0, -1.0),
        ("erdewit/ib_insync#109", SHARE, -1.0, 500.01),
        ("ccxt/ccxt#3337", SHARE, math.nan, math.nan),
        ("hummingbot/hummingbot#4962", SHARE, 499.99, 0.0),
        ("QuantConnect/Lean#3689", CALL, 0.0, 5.0),
        ("QuantConnect/Lean#8797", SHARE, 1.0, 900.0),
        ("QuantConnect/Lean#2349", CALL, 2.0, 20.0),
    ],
)
def test_a_quote_that_shows_no_price_moves_no_mark_and_no_worth(report, number, bid, ask):
    desk = HandDesk(Scripted(), straddle_book(*STRIKES))
    desk.open()
    desk.go_to("10:00").adopt({SHARE: (100, "500"), CALL: (1, "5")})
    for _ in range(2):
        desk.wait(60).market(500.0)
        desk.timer("mark")
    book = desk.engine.desk
    before = book.attribution.current_nav(), book.delta_engine.mark(number)
    desk.wait(5).quote(number, bid, ask)
    after = book.attribution.current_nav(), book.delta_engine.mark(number)
    assert (report, after[0]) == (report, before[0])
    assert after[1] == pytest.approx(before[1], abs=0.005), report


@pytest.mark.second
@pytest.mark.rows(
    ("report", "schedule"),
    [
        (
            "nautechsystems/nautilus_trader#3104",
            quiet_schedule(4, held_days=2, moments=(Moment(9.5, "kill"),)),
        ),
        (
            "nautechsystems/nautilus_trader#3176",
            quiet_schedule(4, moments=tuple(Moment(at, "kill") for at in (20.0, 50.0, 90.0))),
        ),
        (
            "nautechsystems/nautilus_trader#5057",
            quiet_schedule(
                4,
                rules=(Fault("partial_fill", times=40, fraction=0.5, seconds=60.0, match="SPY"),),
                moments=(Moment(30.0, "kill"),),
            ),
        ),
    ],
)
def test_a_restart_keeps_what_the_venue_has_and_sends_nothing_twice(report, schedule):
    outcome = run_trial(schedule)
    assert (report, outcome.violations) == (report, [])
    assert outcome.lives >= 2
