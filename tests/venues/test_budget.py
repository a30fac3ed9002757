import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.venues.budget import RequestBudget, Urgency, urgency_of


def spend(budget, urgency, now_ns=0):
    taken = 0
    while budget.take(urgency, now_ns):
        taken += 1
    return taken


def test_each_urgency_leaves_the_share_of_the_more_urgent():
    budget = RequestBudget(200)
    assert [spend(budget, urgency) for urgency in sorted(Urgency)] == [120, 30, 20, 10, 20]


@given(st.sampled_from(sorted(Urgency)), st.integers(1, 10), st.integers(0, 10))
def test_whatever_the_venue_grants_no_request_waits_for_ever(urgency, limit, remaining):
    budget = RequestBudget(200)
    budget.learn(limit, remaining, 0)
    spend(budget, urgency)
    assert budget.take(urgency, budget.wait_ns(urgency, 0))


@given(st.integers(1, 10_000))
def test_after_a_refusal_the_account_is_asked_for_before_anything_opens(per_minute):
    budget = RequestBudget(per_minute)
    budget.learn(per_minute, 0, 0)
    waits = [budget.wait_ns(urgency, 0) for urgency in sorted(Urgency)]
    assert waits == sorted(waits, reverse=True)
    if per_minute >= 200:
        assert waits[Urgency.ACCOUNT] < 10e9 < waits[Urgency.OPEN]


def test_a_full_minute_gives_all_back():
    budget = RequestBudget(200)
    spend(budget, Urgency.CANCEL)
    assert budget.left(0) == 0
    assert budget.left(MINUTE_NS // 2) == 100
    assert budget.left(MINUTE_NS * 5) == 200


@given(st.lists(st.tuples(st.sampled_from(sorted(Urgency)), st.integers(0, 10**9)), max_size=80))
def test_orders_and_questions_never_use_up_the_share_of_cancels(asked):
    budget = RequestBudget(50)
    now_ns = 0
    for urgency, pause_ns in asked:
        now_ns += pause_ns
        if urgency is not Urgency.CANCEL:
            budget.take(urgency, now_ns)
    assert budget.take(Urgency.CANCEL, now_ns)


@given(st.sampled_from(sorted(Urgency)), st.integers(1, 10_000))
def test_the_stated_wait_is_long_enough(urgency, per_minute):
    budget = RequestBudget(per_minute)
    spend(budget, urgency)
    wait_ns = budget.wait_ns(urgency, 0)
    assert 0 < wait_ns <= MINUTE_NS + 1
    assert not budget.take(urgency, wait_ns - 1_000)
    assert budget.take(urgency, wait_ns)


def test_the_stated_wait_counts_what_has_come_back_meanwhile():
    budget = RequestBudget(60)  # one a second
    spend(budget, Urgency.CANCEL)
    at_once = budget.wait_ns(Urgency.CANCEL, 0)
    assert at_once == pytest.approx(10**9, abs=2)
    assert budget.wait_ns(Urgency.CANCEL, 400_000_000) == pytest.approx(at_once - 400_000_000, abs=2)


def test_the_venues_own_count_is_believed_where_it_is_lower():
    budget = RequestBudget(200)
    budget.learn(100, 7, 0)
    assert budget.left(0) == 7
    budget.learn(100, 90, 0)
    assert budget.left(0) == 7


def test_a_limit_that_was_raised_may_be_used_at_once():
    budget = RequestBudget(200)
    spend(budget, Urgency.CANCEL)
    budget.learn(1_000, 950, 0)
    assert budget.left(0) == 800
    budget.learn(1_000, 790, 0)
    assert budget.left(0) == 790
    assert budget.per_minute == 1_000


def test_time_that_runs_backwards_gives_nothing():
    budget = RequestBudget(200)
    spend(budget, Urgency.CANCEL, MINUTE_NS)
    assert budget.left(0) == 0


def test_what_lowers_risk_is_more_urgent_than_what_opens_it():
    assert urgency_of(Purpose.OPEN) is Urgency.OPEN
    for purpose in (Purpose.HEDGE, Purpose.CLOSE, Purpose.UNWIND_HEDGE):
        assert urgency_of(purpose) is Urgency.HEDGE
