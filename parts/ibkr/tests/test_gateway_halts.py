"""The last resort at TWS in a trading halt: the exchange's own orders show when it sends."""

import pytest

from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues import Listener
from scalpdesk_testing.kit.served import against

pytestmark = pytest.mark.usefixtures("socket_enabled")


def test_over_tws_an_order_leaves_only_after_the_halt():
    async def halted(bench):
        before = bench.gateway()
        await before.connect()
        desk = Listener(bench, before)
        await desk.over(await desk.submit(bench.share, 10))
        await desk.close()
        share = bench.server.world.ledger.instruments.id_of("SPY")
        bench.server.world.halt(share)
        log, sent = [], len(bench.server.admin.orders())
        gateway = bench.gateway()
        await gateway.connect()

        def note(text):
            log.append(text)
            if "halted" in text:
                assert len(bench.server.admin.orders()) == sent
                bench.server.world.resume(share)

        trader = EmergencyTrader(
            gateway=gateway,
            instruments=bench.book,
            name="wd",
            limits=RiskLimits(),
            log=note,
        )
        assert await trader.clear((), flatten=True)
        assert any("halted" in text for text in log)
        assert [order["side"] for order in bench.server.admin.orders()[sent:]] == ["sell"]
        assert bench.truth().positions == {}
        await gateway.close()

    against(halted)
