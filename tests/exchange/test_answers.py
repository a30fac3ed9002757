"""Answers that a served venue spoils: only those of the question, until the fault is lifted."""

import asyncio
from base64 import b64encode

import msgspec
import pytest

from scalpdesk.exchange import AnswerFaults, Question
from scalpdesk.simulation.faults import OF_ANSWERS, Fault, FaultPlan
from scalpdesk_alpaca.served.app import AlpacaApi
from scalpdesk_alpaca.served.requests import Request
from scalpdesk_deribit.served.app import DeribitApi
from scalpdesk_deribit.served.rpc import RpcSession
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.trial import KEY, SECRET

HEADERS = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
PATHS = {
    Question.ACCOUNT: "/v2/account",
    Question.POSITIONS: "/v2/positions",
    Question.OPEN_ORDERS: "/v2/orders",
    Question.EXECUTIONS: "/v2/account/activities",
    Question.CONTRACTS: "/v2/options/contracts",
    Question.CLOCK: "/v2/clock",
    Question.QUOTES: "/v2/stocks/quotes/latest",
}
METHODS = {
    Question.ACCOUNT: ("private/get_account_summary", {"currency": "USD"}),
    Question.POSITIONS: ("private/get_positions", {"currency": "USD"}),
    Question.OPEN_ORDERS: ("private/get_open_orders_by_currency", {"currency": "USD"}),
    Question.EXECUTIONS: ("private/get_user_trades_by_currency", {"currency": "USD"}),
    Question.CLOCK: ("public/get_time", {}),
    Question.QUOTES: ("public/ticker", {"instrument_name": "SPY"}),
}


@pytest.fixture
def trial(tmp_path):
    """An exchange whose account holds two straddles."""
    made = AlpacaTrial(quiet_schedule(1, holds=True), tmp_path)
    made.line.drive()
    yield made
    made.loop.close()
    made.journal.close()


def alpaca(trial, question):
    api: AlpacaApi = trial.line.api
    query = {"symbols": "SPY"} if question is Question.QUOTES else {}
    answer = api.handle(Request("GET", PATHS[question], query, HEADERS, b"", trial.clock.true_ns()))
    return answer.status, answer.body


def test_a_fault_without_a_limit_stands_until_it_is_lifted():
    plan = FaultPlan()
    standing, other = (Fault("answer_refused", times=0, match=name) for name in ("account", "clock"))
    plan.inject(standing)
    plan.inject(other)
    assert [plan.take("question", "account") for _ in range(3)] == [standing] * 3
    plan.lift(standing)
    assert plan.take("question", "account") is None
    assert plan.take("question", "clock") == other
    plan.lift(other)
    assert plan.is_quiet


def test_no_name_of_a_question_is_part_of_another():
    names = [question.value for question in Question]
    assert [(one, other) for one in names for other in names if one != other and one in other] == []


@pytest.mark.parametrize("name", OF_ANSWERS)
@pytest.mark.parametrize("question", PATHS)
def test_alpaca_spoils_the_answers_to_one_question_alone(trial, question, name):
    before = {each: alpaca(trial, each) for each in PATHS}
    trial.plan.inject(Fault(name, times=0, match=question.value))
    assert all(alpaca(trial, each) == before[each] for each in PATHS if each is not question)
    if name == "answer_refused":
        assert alpaca(trial, question)[0] == 500
    trial.plan.heal()
    assert alpaca(trial, question) == before[question]


@pytest.mark.parametrize(
    ("question", "name", "field", "factor"),
    [
        (Question.ACCOUNT, "answer_wrong_price", "cash", 100),
        (Question.POSITIONS, "answer_wrong_quantity", "qty", 2),
        (Question.POSITIONS, "answer_wrong_price", "avg_entry_price", 100),
    ],
)
def test_a_false_number_is_so_many_times_the_true_one(trial, question, name, field, factor):
    def shown():
        found = msgspec.json.decode(alpaca(trial, question)[1])
        return [float(row[field]) for row in (found if isinstance(found, list) else [found])]

    before = shown()
    trial.plan.inject(Fault(name, times=0, match=question.value))
    assert shown() == pytest.approx([factor * value for value in before])
    assert before
    assert all(before)


def test_an_old_answer_is_the_first_one_until_the_fault_ends(trial):
    trial.plan.inject(Fault("answer_old", times=0, match="clock"))
    before = alpaca(trial, Question.CLOCK)
    trial.loop.run_until_complete(_seconds(5.0))
    assert alpaca(trial, Question.CLOCK) == before
    trial.plan.heal()
    assert alpaca(trial, Question.CLOCK) != before
    trial.plan.inject(Fault("answer_old", times=0, match="clock"))
    assert alpaca(trial, Question.CLOCK) != before


async def _seconds(seconds):
    await asyncio.sleep(seconds)


def test_a_deribit_answer_is_refused_left_out_or_late(trial):
    api = DeribitApi(trial.world, trial.line.keyring, trial.clock)
    session = RpcSession(send=lambda _: None, close=lambda: None)
    api.take_basic(session, b64encode(f"{KEY}:{SECRET}".encode()).decode())
    for question, (method, params) in METHODS.items():
        before = api.answer(session, 1, method, params)
        assert "result" in msgspec.json.decode(before.text)
        for name in OF_ANSWERS:
            fault = Fault(name, times=0, match=question.value, seconds=20.0)
            trial.plan.inject(fault)
            reply = api.answer(session, 1, method, params)
            trial.plan.lift(fault)
            assert (not reply.text) == (name == "answer_missing")
            assert reply.late_seconds == (20.0 if name == "answer_late" else 0.0)
            if reply.text:
                assert ("error" in msgspec.json.decode(reply.text)) == (name == "answer_refused")


def test_answers_of_other_questions_keep_no_memory():
    plan = FaultPlan()
    answers = AnswerFaults(lambda: plan)
    assert answers.strike(None) is None
    assert answers.strike(Question.CLOCK) is None
    assert answers.earlier(Question.CLOCK, "a", 1) == 1
    assert answers.earlier(Question.CLOCK, "a", 2) == 1
    assert answers.earlier(Question.CLOCK, "b", 3) == 3
