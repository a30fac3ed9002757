"""The line between desk and exchange: what the gateway's own HTTP and socket code sees of each fault."""

import pytest

from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.account_messages import CLOCK, read_clock
from scalpdesk_alpaca.transport import NoAnswer, NotSent, RestClient, RestRequest
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.line import BASE_URL, LineNetwork
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.trial import KEY, SECRET

HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}


@pytest.fixture
def trial(tmp_path):
    made = AlpacaTrial(quiet_schedule(1), tmp_path)
    yield made
    made.loop.close()
    made.journal.close()


ORDER = RestRequest("POST", "/v2/orders", b"{}")


def ask(trial, request=CLOCK):
    path = RestClient(BASE_URL, HEADERS, connections=1, timeout_seconds=2.0, network=LineNetwork(trial.line))

    async def work():
        try:
            return await path.ask(request)
        finally:
            await path.close()

    return trial.loop.run_until_complete(work())


def test_answer_comes_back_after_two_ways(trial):
    clock = read_clock(ask(trial).body)
    assert clock.is_open
    assert trial.loop.time() == pytest.approx(2 * trial.line.latency_seconds)


@pytest.mark.parametrize("name", ["drop_request", "half_open"])
def test_silence_ends_by_the_clients_own_time_out(trial, name):
    trial.plan.inject(Fault(name))
    with pytest.raises(NoAnswer):
        ask(trial)
    assert trial.loop.time() == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["disconnect_before", "disconnect_after"])
def test_after_a_broken_connection_a_question_is_asked_again_and_an_order_has_no_answer(trial, name):
    trial.plan.inject(Fault(name))
    assert ask(trial).status == 200
    assert trial.line.requests == 2
    trial.plan.inject(Fault(name))
    with pytest.raises(NoAnswer):
        ask(trial, ORDER)
    assert trial.line.requests == 3
    assert trial.loop.time() < 1.0


def test_line_that_is_down_sends_nothing(trial):
    trial.line.is_down = True
    with pytest.raises(NotSent):
        ask(trial)
    assert trial.line.requests == 0


def test_slow_answer_that_still_comes_in_time(trial):
    trial.plan.inject(Fault("slow_answer", seconds=1.5))
    assert ask(trial).status == 200
    assert trial.loop.time() > 1.5


def test_torn_answer_is_an_error_or_cannot_be_read(trial):
    trial.plan.inject(Fault("truncated_answer", fraction=0.5))
    try:
        reply = ask(trial)
    except NoAnswer:
        return
    assert len(reply.body) < 100


def test_frames_of_one_socket_keep_their_order_and_end_with_the_line(trial):
    async def work():
        async with (
            LineNetwork(trial.line).websockets(1.0) as session,
            session.ws_connect(f"{BASE_URL}/v2/iex", headers=HEADERS) as socket,
        ):
            assert len(trial.line.sockets) == 1
            first = await socket.receive_str()
            second = await socket.receive_str()
            trial.line.cut()
            third = await socket.receive()
            return [first, second], third.type.name, trial.loop.time()

    frames, end, seconds = trial.loop.run_until_complete(work())
    assert ["connected" in frames[0], "authenticated" in frames[1]] == [True, True]
    assert end == "CLOSED"
    assert seconds == pytest.approx(2 * trial.line.latency_seconds)
    assert trial.line.sockets == []
