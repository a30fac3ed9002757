from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.protocol import log_verdict, order_intent
from scalpdesk_strategies.isolation.folder import FolderReply
from scalpdesk_strategies.isolation.harness import outcomes
from scalpdesk_testing.kit.folders import event


class Told:
    """A folder that answers as it is told to."""

    restarts = 0

    def __init__(self, answer):
        self.answer = answer
        self.seen = []

    def ask_all(self, events, *, window=8):
        for one in events:
            self.seen.append(one["event_id"])
            yield self.answer(one)

    def close(self):
        pass


def buy(one, **fields):
    made = order_intent(one, kind="buy", strategy="t", symbol="SPY", side="buy", qty=1)
    return made | fields


def test_intents_come_with_their_event():
    made = list(outcomes(Told(lambda one: FolderReply([buy(one)])), [event("a"), event("b")]))
    assert [(one.event["event_id"], one.intents[0]["event_id"]) for one in made] == [("a", "a"), ("b", "b")]
    assert not any(one.logs for one in made)


def test_a_repeated_event_is_not_handed_on_and_yields_nothing():
    told = Told(lambda one: FolderReply([buy(one)]))
    made = list(outcomes(told, [event("a"), event("a", price=2), event("b"), event("a"), event("b")]))
    assert told.seen == ["a", "b"]
    assert [len(one.intents) for one in made] == [1, 0, 1, 0, 0]
    assert [bool(one.logs) for one in made] == [False, True, False, True, True]
    assert "seen before" in made[1].logs[0]["message"]


def test_refused_intents_are_said_and_not_passed_on():
    def answer(one):
        return FolderReply([buy(one, qty=True), buy(one), buy(one), 7])

    (made,) = outcomes(Told(answer), [event("a")])
    assert len(made.intents) == 1
    said = [log["message"] for log in made.logs]
    assert [text.rpartition("refused: ")[2] for text in said] == [
        "type:qty",
        "duplicate:intent_id",
        "type:message",
    ]
    assert all("event a" in text for text in said)


def test_a_failure_names_its_event():
    (made,) = outcomes(Told(lambda one: FolderReply(failure="KeyError: 'x'", took_us=5)), [event("evt_9")])
    assert made.intents == ()
    assert made.logs[0]["level"] == "error"
    assert made.logs[0]["message"] == "event evt_9: KeyError: 'x'"
    assert made.took_us == 5


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abcdef"), max_size=30))
def test_each_event_has_one_outcome_in_order_and_its_intent_once(names):
    made = list(outcomes(Told(lambda one: FolderReply([buy(one)])), [event(name) for name in names]))
    assert [one.event["event_id"] for one in made] == names
    intents = [intent["event_id"] for one in made for intent in one.intents]
    assert intents == list(dict.fromkeys(names))
    assert all(log_verdict(log) == "ok" for one in made for log in one.logs)
