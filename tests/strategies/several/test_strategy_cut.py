"""An order that the risk gate makes smaller is reported to the order's own strategy alone."""

from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.desk import BUY, HEDGE, DeskOfTwo, decisions, order, orders


def listening(strategy):
    """Let a member hear of cuts; return what it hears and the exposure that it sees then."""
    heard = []

    def on_cut(view, sent):
        heard.append(([(one.owner, int(one.quantity)) for one in sent], int(view.exposure(0))))

    strategy.on_cut = on_cut
    return heard


def test_a_cut_is_heard_by_its_owner_who_sees_what_is_on_its_way():
    two = DeskOfTwo(limits=RiskLimits()).open()
    a_heard, b_heard = listening(two.a), listening(two.b)
    two.a.want(order(BUY, 60, purpose=HEDGE))  # 20 000 USD of net delta at 500
    outputs = two.tick()
    assert [(one.owner, int(one.quantity)) for one in orders(outputs)] == [("a", 40)]
    assert "cut to buy 40 SPY" in decisions(outputs)[0].reasons[-1]
    assert a_heard == [([("a", 40)], 40)]
    assert b_heard == []


def test_a_member_that_does_not_listen_is_not_asked():
    two = DeskOfTwo(limits=RiskLimits()).open()
    two.a.want(order(BUY, 60, purpose=HEDGE))
    assert [int(one.quantity) for one in orders(two.tick())] == [40]
