"""Twenty public incidents, staged; no law is broken, and each really struck."""

import pytest

from scalpdesk_testing.schedule import quiet_schedule
from tests.faults.incidents import INCIDENTS, survive


def test_there_are_twenty_with_names_of_their_own():
    assert len({one.name for one in INCIDENTS}) == 20


@pytest.mark.parametrize(
    "incidents",
    [INCIDENTS[:2], pytest.param(INCIDENTS[2:], marks=pytest.mark.second)],
    ids=["two", "the others"],
)
def test_incident_is_survived(incidents):
    for incident in incidents:
        outcome = survive(incident)
        assert outcome.violations == [], incident.name
        assert outcome.orders >= 2, incident.name


def test_scenario_in_which_nothing_strikes_shows_nothing():
    empty = INCIDENTS[0]._replace(schedule=quiet_schedule(4))
    assert [one.invariant for one in survive(empty).violations] == ["0 nothing_staged"] * 2
