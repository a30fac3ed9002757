import pytest

from scalpdesk.protocol import intent_verdict, log_verdict, order_intent
from scalpdesk_strategies.answers import SeenIds, refusal_log, sort_answers

EVENT = {"event_id": "evt_1", "ts": "2025-12-30T14:30:00Z"}
INTENT = order_intent(EVENT, kind="hedge", strategy="s", symbol="SPY", side="buy", qty=1)
LOG = {"type": "log", "ts": EVENT["ts"], "level": "info", "message": "hello"}


def test_answers_are_sorted():
    wrong = INTENT | {"qty": True}
    answers = sort_answers([INTENT, LOG, wrong, 5, LOG | {"level": "x"}, INTENT], SeenIds())
    assert answers.intents == (INTENT,)
    assert answers.logs == (LOG,)
    assert [(one.verdict, one.message) for one in answers.refusals] == [
        ("type:qty", wrong),
        ("type:message", 5),
        ("value:level", LOG | {"level": "x"}),
        ("duplicate:intent_id", INTENT),
    ]


def test_an_intent_repeated_later_is_refused():
    known = SeenIds()
    assert sort_answers([INTENT], known).intents == (INTENT,)
    assert sort_answers([INTENT], known).refusals[0].verdict == "duplicate:intent_id"


def test_a_refused_intent_takes_no_id():
    known = SeenIds()
    sort_answers([INTENT | {"qty": 0}], known)
    assert sort_answers([INTENT], known).intents == (INTENT,)


def test_the_oldest_ids_are_forgotten_first():
    book = SeenIds(capacity=2)
    assert [book.add(name) for name in ("a", "b", "a", "c", "b", "a")] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.rows("message", [INTENT | {"qty": 0}, INTENT | {"intent_id": "x" * 5000, "qty": 0}, 5, {}])
def test_a_refusal_is_a_valid_log_message(message):
    refusal = sort_answers([message], SeenIds()).refusals[0]
    said = refusal_log(EVENT, refusal)
    assert log_verdict(said) == "ok"
    assert refusal.verdict in said["message"]
    assert "evt_1" in said["message"]
    assert len(said["message"]) < 300


def test_the_samples_are_what_they_should_be():
    assert intent_verdict(INTENT) == "ok"
