"""Changes of an account without an order, over sockets: told by the venue's history, booked once."""

import json
from decimal import Decimal

import pytest

from scalpdesk.core.units import InstrumentId
from scalpdesk_testing.kit.broker import give
from scalpdesk_testing.kit.live import VenueDesk, until
from scalpdesk_testing.kit.served import AlpacaBench

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("socket_enabled")]
D = Decimal
SHARE, CALL, PUT = map(InstrumentId, range(3))


class Account:
    """The one account of the exchange, seen from inside."""

    def __init__(self, bench: AlpacaBench) -> None:
        self.bench = bench
        self.world = bench.server.world
        (self.own,) = self.world.ledger.accounts.values()

    def number(self, instrument_id):
        return self.world.ledger.instruments.id_of(self.bench.book[instrument_id].symbol)

    def give(self, instrument_id, quantity, price="1.00"):
        give(self.own, self.number(instrument_id), quantity, price)

    def admin(self, name, **body):
        status, answer = self.bench.server.admin.handle("POST", name, json.dumps(body).encode())
        assert status == 200, answer

    def assign(self, instrument_id, contracts):
        self.admin("assign", symbol=self.bench.book[instrument_id].symbol, contracts=contracts)

    def exercise(self, instrument_id):
        self.world.broker.expiry.exercise(self.own.name, self.number(instrument_id))

    def pay(self, kind, amount):
        self.admin("pay", kind=kind, amount=amount)

    def dividend(self, amount):
        self.admin("dividend", symbol="SPY", amount=amount)


async def settled(desk, views=2):
    """Wait until the desk and its venue agree, and agree again."""
    queries = desk.runner.queries
    for _ in range(views):
        seen = queries.latest
        await until(lambda seen=seen: queries.latest is not seen, 0.01)
    await until(lambda: not queries.is_asking, 0.01)


def lived(tmp_path, prepare, happen):
    """Live through something; return the desk and the account."""
    bench = AlpacaBench()
    account = Account(bench)
    prepare(account)
    desk = VenueDesk(tmp_path, bench)

    async def meanwhile(desk):
        await until(lambda: desk.runner.reconciler.is_settled, 0.01)
        await settled(desk)
        happen(account)
        await settled(desk, 4)

    desk.live(meanwhile)
    return desk, account


def agrees(desk, account):
    """Whether the desk's books are the exchange's, nothing being left over for a person."""
    assert desk.runner.reconciler.unexplained == ()
    assert desk.desk.gate.mode == "ACTIVE"
    assert desk.desk.account.cash == account.own.cash
    for number in (SHARE, CALL, PUT):
        assert desk.desk.positions.quantity(number) == account.own.quantity(account.number(number))


def told(desk):
    return [(one.cause, one.instrument_id, one.quantity_change, one.price) for one in desk.events()]


def test_assignment_of_a_sold_contract(tmp_path):
    desk, account = lived(tmp_path, lambda one: one.give(CALL, -3), lambda one: one.assign(CALL, 2))
    agrees(desk, account)
    strike = desk.bench.book[CALL].strike
    assert told(desk) == [("assignment", CALL, 2, 0), ("delivery", SHARE, -200, strike)]
    assert [one.more_follow for one in desk.events()] == [True, False]
    assert all(one.reference.startswith("activity-") for one in desk.events())


def test_exercise_of_a_bought_contract_before_its_end(tmp_path):
    desk, account = lived(tmp_path, lambda one: one.give(PUT, 1), lambda one: one.exercise(PUT))
    agrees(desk, account)
    assert told(desk) == [
        ("exercise", PUT, -1, 0),
        ("delivery", SHARE, -100, desk.bench.book[PUT].strike),
    ]


def test_dividend_fee_interest_and_money_brought_in(tmp_path):
    def happen(account):
        account.dividend("1.75")
        account.pay("FEE", "-0.37")
        account.pay("INT", "-4.10")
        account.pay("CSD", "25000")

    desk, account = lived(tmp_path, lambda one: one.give(SHARE, -100, "600"), happen)
    agrees(desk, account)
    assert [(one.cause, one.cash_change) for one in desk.events()] == [
        ("dividend", D(-175)),
        ("fee", D("-0.37")),
        ("interest", D("-4.1")),
        ("transfer", D(25_000)),
    ]
    # a deposit is no gain: the session began with so much more
    gained = desk.desk.attribution.current_nav() - desk.desk.session_equity
    assert abs(gained) < 5_000


def test_twice_the_same_is_booked_twice_and_each_once(tmp_path):
    def prepare(account):
        account.give(CALL, -2)
        account.give(SHARE, 10)

    bench = AlpacaBench()
    account = Account(bench)
    prepare(account)
    desk = VenueDesk(tmp_path, bench)

    async def meanwhile(desk):
        await until(lambda: desk.runner.reconciler.is_settled, 0.01)
        for _ in range(2):
            account.assign(CALL, 1)
            account.dividend("0.5")
            await settled(desk, 4)

    desk.live(meanwhile)
    agrees(desk, account)
    references = [one.reference for one in desk.events()]
    assert len(references) == len(set(references)) == 6
    assert [one.cause for one in desk.events()].count("assignment") == 2


def test_what_the_history_does_not_tell_is_for_a_person(tmp_path):
    def happen(account):
        account.own.cash -= D(7_000)

    desk, account = lived(tmp_path, lambda one: one.give(SHARE, 10), happen)
    assert desk.desk.gate.mode == "REDUCING"
    assert [one.what for one in desk.runner.reconciler.unexplained] == ["cash"]
    assert desk.events() == []
    assert account.own.cash != desk.desk.account.cash
    assert any("nothing explains it" in text for _, text in desk.said)


def test_history_from_before_the_run_explains_nothing_in_it(tmp_path):
    def prepare(account):
        account.give(SHARE, 10)
        account.pay("CSW", "-5000")

    bench = AlpacaBench()
    account = Account(bench)
    prepare(account)
    desk = VenueDesk(tmp_path, bench)

    async def meanwhile(desk):
        await until(lambda: desk.runner.reconciler.is_settled, 0.01)
        await settled(desk, 3)
        account.own.cash -= D(5_000)
        await settled(desk, 4)

    desk.live(meanwhile)
    assert desk.events() == []
    assert desk.desk.gate.mode == "REDUCING"


def test_an_assignment_and_its_delivery_under_one_id_are_both_booked(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "scalpdesk.exchange.documents.activity_id", lambda _activity: "20260422000000000::one-id"
    )
    desk, account = lived(tmp_path, lambda one: one.give(CALL, -1), lambda one: one.assign(CALL, 1))
    agrees(desk, account)
    assert [cause for cause, *_ in told(desk)] == ["assignment", "delivery"]
    assert len({one.reference for one in desk.events()}) == 2
    assert all(one.reference.startswith("activity-") for one in desk.events())


def test_of_a_venue_that_will_not_tell_its_history_an_assignment_is_known_by_shares_and_cash(
    tmp_path, monkeypatch
):
    # it knows executions, and refuses every other kind as an invalid activity type
    monkeypatch.setattr("scalpdesk_alpaca.served.orders.ACTIVITIES", frozenset({"FILL"}))
    desk, _ = lived(tmp_path, lambda one: one.give(CALL, -1), lambda one: one.assign(CALL, 1))
    assert [cause for cause, *_ in told(desk)] == ["assignment", "delivery"]
    assert desk.runner.reconciler.unexplained == ()
    assert desk.desk.gate.mode == "ACTIVE"
    assert desk.runner.state.counters["refused/requests/activities_refused"] >= 1


def test_the_admin_says_when_there_is_nothing_to_assign(tmp_path):
    bench = AlpacaBench()
    symbol = bench.book[CALL].symbol
    status, answer = bench.server.admin.handle("POST", "assign", json.dumps({"symbol": symbol}).encode())
    assert (status, "nothing sold" in answer["message"]) == (400, True)
