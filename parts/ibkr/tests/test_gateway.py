"""The gateway to Interactive Brokers against the simulated exchange, over TWS's socket on this machine."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.base import NO_FEES, ChangeCause, ConfigError, RetryError
from scalpdesk.core.events import PositionChanged
from scalpdesk.venues import EmergencyGateway, KnownOrder, Listener
from scalpdesk_ibkr.executions import AGREE_SECONDS
from scalpdesk_ibkr.gateway import IbkrGateway
from scalpdesk_ibkr.settings import IbkrSettings
from scalpdesk_testing.kit.served import against

pytestmark = pytest.mark.usefixtures("socket_enabled")


def test_a_commission_report_corrects_the_fee_once():
    async def traded(bench):
        gateway = bench.gateway(fees=NO_FEES)
        await gateway.connect()
        desk = Listener(bench, gateway)
        order = await desk.submit(bench.share, 10)
        await desk.over(order)
        await desk.until(lambda: bool(desk.of(PositionChanged)))
        await gateway.snapshot(fills_since_ns=0)
        ((_, price),), reports = order.executions.values(), desk.of(PositionChanged)
        first = reports[0]
        assert (first.cause, first.quantity_change, first.cash_change) == (ChangeCause.FEE, 0, Decimal(-1))
        assert {each.reference for each in reports} == {first.reference}  # the book takes a reference once
        paid = 10 * price + 1
        assert bench.truth().cash == Decimal(100_000) - paid
        await desk.close()

        second = bench.gateway(fees=NO_FEES)
        known = KnownOrder(
            order.submitted,
            order.filled,
            order.filled * price,
            is_live=False,
            executions=order.executions,
        )
        await second.connect([known])
        again = Listener(bench, second, desk.orders)
        await second.snapshot(fills_since_ns=0)
        assert {each.reference for each in again.of(PositionChanged)} <= {first.reference}
        await again.close()

    against(traded)


def test_what_the_first_login_lists_is_held_and_came_from_nowhere_else():
    async def traded(bench):
        first = bench.gateway()
        await first.connect()
        desk = Listener(bench, first)
        await desk.over(await desk.submit(bench.share, 3))
        await desk.close()
        second = bench.gateway()
        await second.connect()
        again = Listener(bench, second, desk.orders)
        await again.over(await again.submit(bench.share, 2))
        loop = asyncio.get_running_loop()
        ends = loop.time() + AGREE_SECONDS + 0.5
        while loop.time() < ends:
            view = await second.snapshot()
        assert [line.quantity for line in view.positions] == [5]
        assert second.health().counters.get("position_from_elsewhere", 0) == 0
        await again.close()

    against(traded)


@pytest.mark.rows(
    ("multiplier", "scale"), [("0.1", "0.1"), ("", "1"), ("0", "1"), ("many", "1"), ("100", "100")]
)
def test_a_holding_of_any_multiplier_is_shown_and_named_or_not(multiplier, scale):
    def in_a_tenth(fields):
        if fields[0] == "61":
            fields[3:10] = ["999", "MBT", "FUT", "20261224", "0", "", multiplier]
            fields[12] = "MBTZ6"
        return [fields]

    async def held(bench):
        gateway = bench.gateway()
        await gateway.connect()
        desk = Listener(bench, gateway)
        order = await desk.submit(bench.share, 3)
        await desk.over(order)
        (line,) = (await gateway.snapshot()).positions
        assert (line.symbol, line.instrument_id, line.instrument, line.quantity) == ("MBTZ6", None, None, 3)
        assert abs(line.average_price * Decimal(scale) - order.average_price) < 1
        await desk.close()

    against(held, in_a_tenth)


def test_who_cannot_be_connected_learns_what_to_do():
    async def refused(bench):
        first = bench.gateway()
        assert isinstance(first, EmergencyGateway)
        facts = await first.connect()
        assert (facts.account_id, facts.cash) == ("DU1000001", Decimal(100_000))
        with pytest.raises(ConfigError) as caught:
            await bench.gateway(client_id=1).connect()
        assert caught.value.where == "venues.ibkr.client_id"
        await first.close()
        with pytest.raises(ConfigError) as caught:
            await IbkrGateway(bench.setup(), bench.settings(account="DU7")).connect()
        assert caught.value.where == "venues.ibkr.account"
        nowhere = IbkrSettings(port=1)
        with pytest.raises(RetryError):
            await IbkrGateway(bench.setup(), nowhere).connect()

    against(refused)


def test_the_underlying_is_resolved_or_refused():
    async def resolved(bench):
        gateway = bench.gateway()
        await gateway.connect()
        assert (await gateway.resolve("SPY")).is_share
        with pytest.raises(ConfigError):
            await gateway.resolve("NONE")
        await gateway.close()

    against(resolved)


def test_of_a_contract_the_last_row_of_the_answer_counts():
    """The stream may bring a row while positions are asked for: it stands in the answer as well."""

    def twice(fields):
        return [[*fields[:13], "99", *fields[14:]], fields] if fields[0] == "61" else [fields]

    async def held(bench):
        gateway = bench.gateway()
        await gateway.connect()
        desk = Listener(bench, gateway)
        await desk.over(await desk.submit(bench.share, 3))
        assert [line.quantity for line in (await gateway.snapshot()).positions] == [3]
        await desk.close()

    against(held, twice)
