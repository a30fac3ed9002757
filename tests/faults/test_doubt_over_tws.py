"""A desk at TWS whose messages fail it: executions that never come, impossible ones, fractions of shares."""

from decimal import Decimal

import pytest

from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk_testing.campaign import run_trial
from scalpdesk_testing.market import SHARE
from scalpdesk_testing.schedule import Moment, quiet_schedule

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')
from scalpdesk_testing.tws_trial import TwsTrial

D = Decimal
EXECUTION, STATUS, COMMISSION, ORDER = "11", "3", "59", "5"


def tws(rule=None, holds=None, later=None):
    """Return a trial whose TWS follows a rule, in an account that holds more at the open."""

    class Changed(TwsTrial):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.scene.has_whole_stream = rule is None
            if rule is not None:
                self.line.rule = lambda fields: rule(fields, self.line)
            for number, units in (holds or {}).items():
                more = self.world.open_account(
                    AccountTerms(name="more", cash=D(1), positions={number: (units, D(500))})
                )
                self.account.holdings[number] = more.holdings[number]
                del self.world.ledger.accounts["more"]
            if later is not None:
                later(self)
            Changed.latest = self

    return Changed


def said(outcome, *words):
    return [text for _, _, text in outcome.says if all(word in text for word in words)]


def test_a_fraction_of_a_share_is_named_once_and_everything_else_goes_on():
    make = tws(holds={SHARE: D("0.4132")})
    outcome = run_trial(quiet_schedule(4, moments=(Moment(100.0, "flatten"),)), make=make)
    trial = make.latest
    left = {number: held.quantity for number, held in trial.account.holdings.items() if held.quantity}
    assert len(said(outcome, "0.4132", "unsellable")) == 1
    assert left == {SHARE: D("0.4132")}
    assert all(not order.quantity % 1 for order in trial.account.by_client_id.values())
    assert len(trial.account.by_client_id) > 2


class HiddenHedge:
    """Answers each request for executions with its end alone, and hides what is said of one hedge's fill.

    Its fill is then followed by a loss of the broker's link for four seconds.
    """

    def __init__(self, at=20.0):
        self.at, self.order_id, self.execution = at, None, ""
        self.knows_nothing = True

    def __call__(self, fields, line):
        kind = fields[0]
        if kind == EXECUTION and fields[1] != "-1" and self.knows_nothing:
            return []
        if kind == EXECUTION and fields[5] == "STK" and line.loop.time() > self.at and self.order_id is None:
            self.order_id, self.execution = fields[2], fields[14]
            line.loop.call_later(1.0, line.tell_all, 1100, "Connectivity has been lost.")
            line.loop.call_later(5.0, line.tell_all, 1102, "Connectivity has been restored.")
        is_hidden = (kind in (EXECUTION, STATUS) and self.order_id in fields[1:3]) or (
            kind == COMMISSION and self.execution and self.execution in fields
        )
        return [] if is_hidden and self.knows_nothing else [fields]


def flat(make):
    return all(not held.quantity for held in make.latest.account.holdings.values())


def test_a_fill_that_no_message_shows_is_counted_by_position_and_cash():
    rule = HiddenHedge()
    make = tws(rule)
    outcome = run_trial(quiet_schedule(4, moments=(Moment(100.0, "flatten"),)), make=make)
    assert len(said(outcome, "by position and cash")) == 1
    assert outcome.violations == []
    assert flat(make)


def test_an_execution_that_comes_at_last_takes_the_place_of_what_position_and_cash_showed():
    rule = HiddenHedge()

    def tell_at_last(trial):
        tell = trial.line.tell_all
        trial.loop.call_at(60.0, setattr, rule, "knows_nothing", False)
        trial.loop.call_at(60.5, tell, 1100, "Connectivity has been lost.")
        trial.loop.call_at(61.5, tell, 1102, "Connectivity has been restored.")

    make = tws(rule, later=tell_at_last)
    outcome = run_trial(quiet_schedule(4), make=make)
    assert len(said(outcome, "by position and cash")) == 1
    orders = make.latest.engine.desk.orders.orders.values()
    assert all(not order.settled for order in orders)
    assert any("settled/" in name for order in orders for name in order.busted)
    assert outcome.violations == []


@pytest.mark.parametrize("hides_the_end", [False, True])
def test_the_account_shows_a_fill_where_the_completed_orders_do_not(hides_the_end):
    rule = HiddenHedge()

    def hidden(fields, line):
        if fields[0] == "101" and hides_the_end:
            return []
        return rule(fields, line)

    make = tws(hidden)
    outcome = run_trial(quiet_schedule(4, moments=(Moment(100.0, "flatten"),)), make=make)
    assert len(said(outcome, "by position and cash")) == 1
    laws = {violation.invariant for violation in outcome.violations}
    # for ten seconds nothing at the venue shows that the order was ever there
    assert laws <= ({"13 terminal_is_final", "13 never_there"} if hides_the_end else set())
    assert flat(make)


@pytest.mark.parametrize("shares", ["2", "40", "2000000", "2147483646", "2147483647", "0", "-9"])
def test_one_execution_of_an_impossible_quantity_leaves_no_order_in_doubt_for_good(shares):
    struck = []

    def change(fields, line):
        if fields[0] == EXECUTION and fields[5] == "STK" and line.loop.time() > 20.0 and not struck:
            struck.append(fields[16])
            fields = [*fields[:16], shares, *fields[17:]]
        return [fields]

    make = tws(change)
    outcome = run_trial(quiet_schedule(4, moments=(Moment(100.0, "flatten"),)), make=make)
    assert struck
    assert outcome.violations == []
    assert flat(make)
