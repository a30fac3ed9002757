"""The questions to every venue's gateway, asked of all that the product has, over their own wires."""

import pytest

from scalpdesk.venues import VENUE_QUESTIONS
from scalpdesk_testing.kit.served import AlpacaBench, DeribitBench, IbkrBench, SandboxBench, SimulatedBench
from scalpdesk_testing.venue_conformance import ask, questions_for

BENCHES = {
    "alpaca": AlpacaBench,
    "deribit": DeribitBench,
    "ibkr": IbkrBench,
    "sandbox": SandboxBench,
    "simulated": SimulatedBench,
}


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("bench", BENCHES.values(), ids=BENCHES)
def test_a_venue_answers(bench, socket_enabled):
    for question in questions_for(bench):
        ask(question, bench)


def test_no_question_is_asked_of_no_venue_with_a_wire():
    wires = ("alpaca", "deribit", "ibkr")
    asked = {question for venue in wires for question in questions_for(BENCHES[venue])}
    assert asked == set(VENUE_QUESTIONS)
