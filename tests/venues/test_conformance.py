"""The one list of questions to a venue: what a vendor's paper account is asked of it, and what it is not."""

import re
from itertools import pairwise

from scalpdesk.venues.conformance import SERVED, VENUE_QUESTIONS, Need

KNOWN_STEPS = (
    "login", "account", "clock", "contracts", "quotes", "stream", "order", "doubled", "queried",
    "cancelled", "combo", "dropped", "history", "compared", "limits",
)  # fmt: skip
"""Steps of `certify` that users have reports of."""


def test_each_question_stands_once_and_its_name_is_a_files():
    for names in ([each.name for each in VENUE_QUESTIONS], [each.__name__ for each in VENUE_QUESTIONS]):
        assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z-]+", each.name) for each in VENUE_QUESTIONS)
    assert all(each.asked[0].islower() for each in VENUE_QUESTIONS)


def test_a_paper_account_is_asked_the_steps_that_users_know_in_their_order():
    asked = [each.name for each in VENUE_QUESTIONS if each.is_for_vendors]
    assert all(asked.index(one) < asked.index(other) for one, other in pairwise(KNOWN_STEPS))
    assert asked[:7] == list(KNOWN_STEPS[:7])


def test_a_question_to_a_paper_account_goes_through_the_connection_that_is_there():
    """One that connects by itself would leave its orders to nobody's cancel."""
    assert all(each.takes_desk for each in VENUE_QUESTIONS if each.is_for_vendors)


def test_what_may_fill_or_go_wrong_on_purpose_is_never_asked_of_a_paper_account():
    apart = [each for each in VENUE_QUESTIONS if not SERVED.isdisjoint(each.needs)]
    assert not any(each.is_for_vendors for each in apart)
    assert len(apart) == 21
    assert {Need.FILLS, Need.BOOKS, Need.FAULTS} == SERVED
