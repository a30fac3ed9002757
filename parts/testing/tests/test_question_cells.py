"""The matrix of questions: its verdicts, and a sample of its cells in virtual time."""

import pytest

from scalpdesk.exchange import Question
from scalpdesk.simulation.faults import OF_ANSWERS
from scalpdesk_testing.question_cells import (
    QUESTIONS,
    VENUES,
    Cell,
    How,
    Road,
    Seen,
    Verdict,
    When,
    cell_named,
    cells,
    verdict,
)
from scalpdesk_testing.question_matrix import Tried, in_virtual_time, table_of
from scalpdesk_testing.schedule import FAULTS, draw_schedule

FLATTEN = Cell("alpaca", Question.ACCOUNT, How.SILENT, When.CUT, Road.FLATTEN)
CONTROL = Seen(held=True, flat_seconds=2.0)


def judged(cell, **seen):
    return verdict(cell, Seen(**{"held": True, **seen}), CONTROL, 3.0)[0]


def test_every_cell_has_a_name_that_brings_it_back():
    whole = list(cells())
    assert len(whole) == len(VENUES) * len(QUESTIONS) * 6 * 3 * 8
    assert [cell_named(str(cell)) for cell in whole] == whole


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(9.9, Verdict.HELD), (10.1, Verdict.FAILED), (None, Verdict.FAILED)]
)
def test_a_flatten_may_wait_five_seconds_beyond_the_time_to_sell(seconds, outcome):
    assert judged(FLATTEN, flat_seconds=seconds, alarm="said") is outcome


def test_the_watchdog_may_not_wait_for_answers():
    watched = FLATTEN.but(road=Road.WATCHDOG)
    assert judged(watched, flat_seconds=4.9) is Verdict.HELD
    assert judged(watched, flat_seconds=5.1) is Verdict.FAILED


def test_a_reversal_fails_whatever_else_is_right():
    assert judged(FLATTEN, flat_seconds=1.0, reversed_="sell 2 at 0") is Verdict.FAILED


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        ({"mode": "ACTIVE", "orders": 3}, Verdict.HELD),
        ({"mode": "ACTIVE", "alarm": "late"}, Verdict.FAILED),
        ({"mode": "REDUCING", "alarm": "late"}, Verdict.HELD),
        ({"mode": "REDUCING"}, Verdict.FAILED),
        ({"mode": ""}, Verdict.FAILED),
    ],
)
def test_a_desk_that_is_left_alone_trades_or_says_why_not(seen, outcome):
    assert judged(FLATTEN.but(road=Road.NOTHING), **seen) is outcome


def test_positions_that_fail_are_told_and_asked_again():
    cell = FLATTEN.but(question=Question.POSITIONS)
    assert judged(cell, healed_seconds=4.0, alarm="said") is Verdict.HELD
    assert judged(cell, healed_seconds=4.0) is Verdict.FAILED
    assert judged(cell, alarm="said") is Verdict.FAILED


def test_a_refused_start_is_told_and_not_counted_as_held():
    starting = FLATTEN.but(when=When.STARTING)
    assert judged(starting, alarm="the venue does not answer") is Verdict.TOLD
    assert judged(starting, alarm="the venue does not answer", mode="FLATTENING") is Verdict.FAILED
    assert judged(starting.but(road=Road.NOW), alarm="the venue does not answer") is Verdict.FAILED


def test_the_table_counts_cells_by_venue_question_and_road():
    tried = [
        Tried(FLATTEN, CONTROL, Verdict.HELD, ""),
        Tried(FLATTEN.but(how=How.LATE), CONTROL, Verdict.FAILED, "not flat"),
    ]
    assert table_of(tried).splitlines()[-1] == "| alpaca | account |  | 1/2 |  |  |  |  |  |  | 1/2 |"


SAMPLE = (
    "alpaca/contracts/refused/after a cut/flatten",
    "alpaca/order_by_id/silent/running/kill -9, flatten --now",
    "alpaca/quotes/silent/running/watchdog",
    "alpaca/contracts/late/starting/nothing",
    "deribit/contracts/old/running/flatten",
    "deribit/order_by_id/empty/after a cut/kill -9, watchdog",
    "deribit/executions/refused/running/watchdog",
    "deribit/quotes/silent/running/kill -9, watchdog",
    "tws/contracts/silent/after a cut/flatten",
    "tws/contracts/late/running/watchdog",
    "tws/quotes/refused/running/flatten",
    "tws/quotes/late/after a cut/kill -9, watchdog",
)


def test_a_sample_of_the_matrix_holds():
    tried = in_virtual_time([cell_named(name) for name in SAMPLE], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


@pytest.mark.second
@pytest.mark.parametrize("venue", VENUES)
def test_questions_that_no_road_needs_hold_up_no_road(venue):
    whole = list(cells((venue,), (Question.CONTRACTS,), roads=[road for road in Road if road.leaves]))
    tried = in_virtual_time(whole)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


def test_some_seeds_leave_questions_without_an_answer_and_no_other_dice_know_of_it():
    drawn = [draw_schedule(seed) for seed in range(400)]
    with_bad = [schedule for schedule in drawn if schedule.bad_answers]
    assert 0.10 < len(with_bad) / len(drawn) < 0.20
    assert not set(FAULTS) & set(OF_ANSWERS)
    for schedule in drawn:
        assert not {rule.name for rule in schedule.rules} & set(OF_ANSWERS)
        assert all(bad.at + bad.seconds <= schedule.heal_at + 1e-6 for bad in schedule.bad_answers)


LEAVING = (
    "tws/clock/silent/running/kill -9, watchdog",
    "tws/account/silent/running/kill -9, flatten --now",
    "deribit/open_orders/late/running/kill -9, watchdog",
    "deribit/clock/old/running/kill -9, watchdog",
    "alpaca/open_orders/silent/running/kill -9, watchdog",
)


STAYING = (
    "alpaca/executions/silent/starting/nothing",
    "deribit/open_orders/refused/starting/nothing",
    "tws/contracts/late/starting/kill -9, restart",
    "alpaca/quotes/silent/running/nothing",
    "deribit/quotes/old/running/nothing",
    "tws/quotes/silent/running/nothing",
)
LIES = (
    "deribit/positions/old/running/watchdog",
    "tws/positions/old/after a cut/kill -9, flatten --now",
    "alpaca/positions/empty/running/kill -9, watchdog",
)


def test_a_desk_that_starts_or_is_not_quoted_says_so_and_reduces():
    tried = in_virtual_time([cell_named(name) for name in STAYING], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


def test_positions_that_lie_are_sold_once_and_never_called_flat():
    tried = in_virtual_time([cell_named(name) for name in LIES], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


def test_the_last_resort_waits_for_no_question_but_the_positions():
    """Clock and open orders held it up for three to eight seconds; a clock that stood still for good."""
    tried = in_virtual_time([cell_named(name) for name in LEAVING], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


@pytest.mark.parametrize("venue", VENUES)
def test_quotes_beyond_belief_hold_up_no_flatten_and_no_start_trades_on_them(venue):
    """The strategy's own exit offered at them, ahead of the flattener; a start took them for the market's."""
    names = (
        f"{venue}/quotes/wrong/after a cut/flatten",
        f"{venue}/quotes/wrong/running/flatten --now",
        f"{venue}/quotes/wrong/starting/nothing",
    )
    tried = in_virtual_time([cell_named(name) for name in names], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


def test_a_flatten_leaves_once_positions_are_answered_again_and_not_when_requests_are_left():
    tried = in_virtual_time([cell_named("alpaca/positions/refused/starting/flatten")], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []


def test_a_desk_whose_contracts_nobody_names_says_so_and_reduces():
    tried = in_virtual_time([cell_named("tws/contracts/empty/starting/nothing")], workers=1)
    assert [(str(each.cell), each.why) for each in tried if each.outcome is Verdict.FAILED] == []
    assert tried[0].seen.mode == "REDUCING"
