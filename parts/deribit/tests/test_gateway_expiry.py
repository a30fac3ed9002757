"""The end of options on a coin whose strike lies beside the settlement price: cash, and no exercise."""

from datetime import date
from decimal import Decimal

from scalpdesk.base import ChangeCause, OptionContract, OrderFilled
from scalpdesk.core.units import SATOSHI

D = Decimal
DAY = date(2025, 3, 6)
SOLD = D("-0.5")


def test_a_pin_pays_in_coin_on_one_side_and_nothing_on_the_other(on_bench):
    """Sold straddle at the strike beside the level: one line pays the difference, the other one nothing."""

    async def scenario(bench):
        gateway = await bench.connected()
        began_ns = bench.world.now_ns
        ((_, level),) = bench.world.source.tape.settlement_prices.items()
        level = D(str(level))
        options = [
            (number, item)
            for number, item in enumerate(gateway._instruments)
            if isinstance(item, OptionContract) and item.expiry == DAY
        ]
        strike = min({item.strike for _, item in options}, key=lambda each: abs(each - level))
        assert 0 < abs(strike / level - 1) < D("0.02")
        pair = [(number, item) for number, item in options if item.strike == strike]
        ledger, before = bench.world.ledger, bench.account.cash
        for number, _ in pair:
            gateway.send(bench.order(number, SOLD))
        fills = await bench.until(OrderFilled, 2)
        after_sale = bench.account.cash
        assert after_sale > before
        bench.advance(24 * 3_600)
        view = await gateway.snapshot(fills_since_ns=began_ns)
        told = {each.symbol: each for each in view.activities if each.quantity_change}
        assert len(fills) == len(told) == 2
        paid = D(0)
        for _, item in pair:
            sign = 1 if item.is_call else -1
            pays = round(max((level - strike) * sign, D(0)) / level, 8)
            line = told[item.symbol]
            assert line.quantity_change == -SOLD
            assert abs(line.cash_change - SOLD * pays) <= SATOSHI  # a daily option is delivered free
            assert abs(line.price - pays) <= SATOSHI
            assert (line.cause is ChangeCause.EXPIRED_WORTHLESS) == (pays == 0)
            assert bench.account.quantity(ledger.instruments.id_of(item.symbol)) == 0
            paid += line.cash_change
        assert paid < 0
        assert abs(bench.account.cash - after_sale - paid) <= SATOSHI
        assert abs(view.account.cash - bench.account.cash) <= SATOSHI

    on_bench(scenario)
