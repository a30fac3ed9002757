"""A contrary instruction of a desk reaches the account over each protocol that has one."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.core.errors import RetryError
from scalpdesk.simulation.expiry import Instruction
from scalpdesk.venues.contract import TakesNotices
from scalpdesk_testing.kit.broker import give
from scalpdesk_testing.kit.served import AlpacaBench, IbkrBench

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("socket_enabled")]
D = Decimal


@pytest.mark.parametrize(("bench_type", "contracts"), [(AlpacaBench, None), (IbkrBench, D(2))])
def test_it_is_kept_at_the_broker_and_shown_as_no_order_of_somebody_else(bench_type, contracts):
    async def scenario():
        bench = bench_type()
        await bench.start()
        gateway = bench.gateway()
        try:
            world = bench.server.world
            (account,) = world.ledger.accounts.values()
            numbers = [world.ledger.instruments.id_of(bench.book[own].symbol) for own in (1, 2)]
            give(account, numbers[0], 2, 1)
            give(account, numbers[1], -1, 1)
            await gateway.connect()
            assert isinstance(gateway, TakesNotices)
            await gateway.do_not_exercise(1, D(2))
            told = {(account.name, numbers[0]): Instruction(exercises=False, contracts=contracts)}
            assert world.broker.expiry.instructions == told
            assert (await gateway.snapshot()).open_orders == ()
            with pytest.raises(RetryError) as caught:  # one that is sold
                await gateway.do_not_exercise(2, D(1))
            assert caught.value.where == bench.book[2].symbol
            assert world.broker.expiry.instructions == told
        finally:
            await gateway.close(graceful=False)
            await bench.stop()

    asyncio.run(asyncio.wait_for(scenario(), 60))
