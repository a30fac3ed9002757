from decimal import Decimal

from fakes.desk import HandDesk, Scripted
from scalpdesk.core.events import AccountSnapshot, HeldPosition, ImpliedVolEvent, TradingHalt

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


def test_what_comes_between_an_adopted_account_and_the_open_is_explained():
    desk = HandDesk(Scripted())
    desk.quote(0, 499.99, 500.01)
    desk.adopt({0: (100, "490")}, cash=D(5_000))
    desk.quote(0, 501.99, 502.01)
    desk.open()
    inner = desk.engine.desk
    inner.attribution.mark(desk.now_ns)
    assert (inner.attribution.nav_change, inner.attribution.totals["delta"]) == (200, 200)


def test_a_loss_that_cannot_be_summed_for_want_of_a_price_may_be_at_its_limit():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    assert not inner.is_near_loss_limit()
    inner.positions.book(1, D(-1), D(5), "x")  # sold, and never quoted
    assert inner.is_near_loss_limit()


def test_a_strategy_sees_which_symbols_are_halted():
    desk = HandDesk(Scripted())
    assert not desk.engine.desk.view.is_halted(0)
    desk.handle(TradingHalt(0, desk.now_ns, desk.now_ns, is_halted=True))
    assert desk.engine.desk.view.is_halted(0)
    assert desk.engine.desk.view.is_halted(1)  # an option on it


def test_an_underlyings_implied_volatility_reaches_the_market():
    desk = HandDesk(Scripted())
    told = ImpliedVolEvent(0, desk.now_ns, desk.now_ns, 0.18, (0.16, 0.17), "VIX")
    desk.handle(told)
    assert desk.engine.desk.market.implied_vols[0] == told
