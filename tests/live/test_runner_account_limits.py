"""Limits of the account at the venue reach the engine through the journal, once for each change."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import AccountLimits
from scalpdesk.journal.reader import JournalReader
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues.simulated import SimulatedGateway
from scalpdesk_testing.kit.live import SHARE, LiveBench, follower, walk

D = Decimal


def telling(shorts):
    """Return a simulated venue that reports what may be sold short."""

    class Telling(SimulatedGateway):
        async def snapshot(self, *, fills_since_ns=None):
            view = await super().snapshot(fills_since_ns=fills_since_ns)
            return msgspec.structs.replace(view, shortable=shorts)

    return Telling


def told(bench):
    steps = JournalReader(bench.run_dir).steps()
    return [one for events, _ in steps for one in events if isinstance(one, AccountLimits)]


def test_a_venue_that_says_nothing_tells_nothing(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, 5))
    bench.live()
    assert told(bench) == []
    assert bench.engine.desk.gate.venue_limits is None


def test_each_change_is_told_once_and_a_replay_knows_it(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, 5), gateway_class=telling((SHARE,)))
    bench.live()
    words = told(bench)
    assert words
    last = bench.engine.desk.gate.venue_limits
    assert last == words[-1]
    assert last.shortable == (SHARE,)
    figures = [msgspec.structs.replace(one, ts_event_ns=0, ts_recv_ns=0) for one in words]
    assert all(one != another for one, another in pairwise(figures))
    assert bench.engine.desk.positions.quantity(SHARE) == 5
    assert bench.differences() == []


def test_a_short_sale_that_the_venue_does_not_lend_for_never_leaves(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, -20), gateway_class=telling(()))
    bench.live()
    assert all(one.side.sign > 0 or one.quantity <= D(10) for one in bench.orders)
    assert bench.engine.desk.positions.quantity(SHARE) >= 0
    assert bench.differences() == []


def test_a_loss_limit_above_the_account_at_the_venue_ends_the_run_before_its_first_order(tmp_path):
    limits = RiskLimits(max_daily_loss=D(100_001))
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, 5), limits=limits)
    with pytest.raises(ConfigError, match="the account's equity at the venue is 100000") as caught:
        bench.live()
    assert caught.value.where == "risk.max_daily_loss"
    assert not bench.engine.desk.orders.orders
