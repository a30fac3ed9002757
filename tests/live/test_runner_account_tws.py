"""Assignment of a sold option at TWS, over the socket: shares and cash are its proof."""

from decimal import Decimal

import pytest

from scalpdesk.core.units import InstrumentId
from scalpdesk_testing.kit.broker import give
from scalpdesk_testing.kit.live import VenueDesk, until
from scalpdesk_testing.kit.served import IbkrBench

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')
pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("socket_enabled")]
D = Decimal
SHARE, CALL, PUT = map(InstrumentId, range(3))


async def settled(desk, views=2):
    queries = desk.runner.queries
    for _ in range(views):
        seen = queries.latest
        await until(lambda seen=seen: queries.latest is not seen, 0.01)
    await until(lambda: not queries.is_asking, 0.01)


@pytest.mark.parametrize(("number", "assigned", "shares"), [(CALL, 2, -200), (PUT, 3, 300)])
def test_assignment_of_a_sold_contract_is_booked_from_shares_and_cash(tmp_path, number, assigned, shares):
    bench = IbkrBench()
    world = bench.server.world
    account = next(iter(world.ledger.accounts.values()))

    def listed(own):
        return world.ledger.instruments.id_of(bench.book[own].symbol)

    give(account, listed(number), -3, 9)
    desk = VenueDesk(tmp_path, bench)

    async def meanwhile(desk):
        await until(lambda: desk.runner.reconciler.is_settled, 0.01)
        await settled(desk)
        assert world.broker.expiry.assign(account.name, listed(number), D(assigned))
        world.settle()
        await until(lambda: desk.desk.positions.quantity(SHARE) == shares, 0.01)
        await settled(desk, 4)

    desk.live(meanwhile)
    assert desk.runner.reconciler.unexplained == ()
    assert desk.desk.gate.mode == "ACTIVE"
    assert desk.desk.account.cash == account.cash
    for own in (SHARE, CALL, PUT):
        assert desk.desk.positions.quantity(own) == account.quantity(listed(own))
    strike = bench.book[number].strike
    assert [(one.cause, one.quantity_change, one.price) for one in desk.events()] == [
        ("assignment", assigned, 0),
        ("delivery", shares, strike),
    ]
