from decimal import Decimal

from fakes.desk import HandDesk, Scripted
from scalpdesk.core.events import AccountSnapshot, HeldPosition

D = Decimal


def test_a_snapshot_becomes_the_desks_own_start():
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (-30, "490"), 1: (2, "5.5")}, cash=D(5_000))
    assert desk.positions == {0: -30, 1: 2}
    inner = desk.engine.desk
    assert inner.account.cash == 5_000
    # -30 at 500 and two calls that were never quoted at what was paid
    assert inner.attribution.nav == D(5_000) - 15_000 + 1_100
    assert inner.attribution.nav_change == 0


def test_the_same_snapshot_twice_is_adopted_once():
    desk = HandDesk(Scripted())
    snapshot = AccountSnapshot(1, desk.now_ns, D(5_000), (HeldPosition(0, D(7), D(490)),))
    desk.handle(snapshot)
    desk.handle(snapshot)
    assert desk.positions == {0: 7}


def test_the_explain_of_a_desk_that_adopts_nothing_begins_at_its_first_open():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    assert inner.attribution.mark(desk.now_ns) is None
    assert inner.gate.closed_trades.start_cash == inner.session_equity == inner.account.cash
