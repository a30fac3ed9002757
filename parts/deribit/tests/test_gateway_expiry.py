"""A day at a venue in coin: funding by the hour, and the end of options beside the settlement price."""

from datetime import date
from decimal import Decimal

from scalpdesk.base import ChangeCause, Side
from scalpdesk.core.units import SATOSHI

D = Decimal
DAY = date(2025, 3, 6)
SOLD = D("0.5")


def test_a_day_of_funding_and_of_a_pin_adds_up_to_the_brokers_cash(on_bench):
    """Sold straddle at the strike beside the level: one line pays the difference, the other one nothing.

    A change of the balance without a trade comes by its own id.
    """

    async def scenario(bench):
        desk = await bench.connected()
        began_ns = bench.world.now_ns
        ((_, level),) = bench.world.source.tape.settlement_prices.items()
        level = D(str(level))
        pair = bench.pair_near(desk.gateway, level, DAY)
        strike = pair[0][1].strike
        assert 0 < abs(strike / level - 1) < D("0.02")
        ledger, before = bench.world.ledger, bench.account.cash
        await desk.over(*[await desk.submit(number, SOLD, Side.SELL) for number, _ in pair])
        assert bench.account.cash > before
        await desk.over(await desk.submit(0, 300, Side.SELL))
        after_sale = bench.account.cash
        bench.advance(24 * 3_600)
        view = await desk.gateway.snapshot(fills_since_ns=began_ns)
        told = {each.symbol: each for each in view.activities if each.quantity_change}
        assert len(told) == 2
        funding = [each for each in view.activities if each.cause is ChangeCause.FUNDING]
        assert len(funding) == 10  # hours with a rate
        paid = D(0)
        for _, item in pair:
            sign = 1 if item.is_call else -1
            pays = round(max((level - strike) * sign, D(0)) / level, 8)
            line = told[item.symbol]
            assert line.quantity_change == SOLD
            assert abs(line.cash_change + SOLD * pays) <= SATOSHI  # a daily option is delivered free
            assert abs(line.price - pays) <= SATOSHI
            assert (line.cause is ChangeCause.EXPIRED_WORTHLESS) == (pays == 0)
            assert bench.account.quantity(ledger.instruments.id_of(item.symbol)) == 0
            paid += line.cash_change
        assert paid < 0
        paid += sum(each.cash_change for each in funding)
        assert abs(bench.account.cash - after_sale - paid) <= SATOSHI
        assert abs(view.account.cash - bench.account.cash) <= SATOSHI

    on_bench(scenario)
