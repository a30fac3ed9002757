"""Every account message comes at its own time, in a backtest and at the served exchange."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.exchange.market import MarketOptions, MarketTerms, SimulatedMarket
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.fees import NO_FEES
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk_testing.kit.account_messages import ACCOUNT_MESSAGES, AccountMessage, message_kind
from scalpdesk_testing.kit.desk import Scripted, run_tape
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

D = Decimal
TUESDAY, FRIDAY = DAY + timedelta(days=1), DAY + timedelta(days=4)
MONDAY = FRIDAY + timedelta(days=3)
SHARE, CALL, PUT = 0, 1, 2


class Days(NamedTuple):
    """Two sessions, an account, and the messages that come of them, each with its New York time."""

    tape: MarketTape
    held: dict[int, int]
    kinds: dict[AccountMessage, int]
    """When each is known, UTC nanoseconds."""


def days(book, first, second, spots=(507.0, 507.0), vol=0.15):
    builder = TapeBuilder(book, days=(first, second), vol=vol)
    builder.spot("10:00", spots[0], day=first).spot("15:59", spots[0], day=first)
    return builder.spot("10:00", spots[1], day=second)


def pin():
    tape = days(straddle_book(500, expiry=DAY), DAY, TUESDAY).build()
    return Days(tape, {CALL: 2, PUT: -1}, {AccountMessage.CLEARING: at("07:30", TUESDAY)})


def pin_over_a_weekend():
    tape = days(straddle_book(500, expiry=FRIDAY), FRIDAY, MONDAY).build()
    return Days(tape, {CALL: -2, PUT: 1}, {AccountMessage.CLEARING: at("07:30", MONDAY)})


def ex_night():
    tape = days(straddle_book(400), DAY, TUESDAY, (500.0, 498.5)).dividend("1.50", TUESDAY).build()
    known = {AccountMessage.CLEARING: at("07:30", TUESDAY), AccountMessage.DIVIDEND: at("09:30", TUESDAY)}
    return Days(tape, {SHARE: 300, CALL: -2}, known)


def in_cash():
    tape = days(straddle_book(500, expiry=DAY, symbol="XSP"), DAY, TUESDAY).build()
    return Days(tape, {CALL: 2, PUT: -1}, {AccountMessage.CASH_SETTLEMENT: at("16:00")})


def at_an_opening():
    tape = days(straddle_book(490, expiry=TUESDAY, symbol="SPX"), DAY, TUESDAY).build()
    return Days(tape, {CALL: 2, PUT: -1}, {AccountMessage.OPENING_SETTLEMENT: at("10:00", TUESDAY)})


def split():
    tape = days(straddle_book(500), DAY, TUESDAY, (500.0, 250.0)).build()
    doubled = CorporateAction(symbol="SPY", ex_date=TUESDAY, kind=ActionKind.SPLIT, ratio=D(2))
    known = {AccountMessage.CORPORATE_ACTION: at("09:30", TUESDAY)}
    return Days(replace(tape, actions=(doubled,)), {SHARE: 10}, known)


def by_backtest(asked):
    terms = AssignmentTerms("worth")
    run = run_tape(asked.tape, Scripted(), positions=asked.held, assignment=terms)
    return [event for event in run.events if isinstance(event, PositionChanged)]


def by_served_exchange(asked):
    terms = MarketTerms(fees=NO_FEES, rules=VenueRules())
    world = SimulatedMarket(TapeSource(asked.tape), terms, MarketOptions())
    told = []
    world.on_booking(lambda booking: told.append(booking.change))
    positions = {number: (D(quantity), D(9)) for number, quantity in asked.held.items()}
    world.open_account(AccountTerms(name="mine", cash=D(100_000), positions=positions))
    world.advance_to(asked.tape.sessions[-1].close_ns)
    return told


@pytest.mark.parametrize("play", [by_backtest, by_served_exchange])
@pytest.mark.parametrize("case", [pin, pin_over_a_weekend, ex_night, in_cash, at_an_opening, split])
def test_an_account_hears_of_everything_at_its_own_time(case, play):
    asked = case()
    told, book, seen = play(asked), asked.tape.instruments, {}
    option = None
    for each in told:
        if each.cause is ChangeCause.DELIVERY:  # with the option that it comes from
            assert (each.ts_event_ns, each.ts_recv_ns) == (option.ts_event_ns, option.ts_recv_ns)
            continue
        option, instrument = each, book[each.instrument_id]
        kind = message_kind(instrument, each)
        assert ACCOUNT_MESSAGES[kind].holds(instrument, each), (kind, each)
        seen.setdefault(kind, set()).add(each.ts_recv_ns)
    assert seen.keys() == asked.kinds.keys()
    for kind, known_ns in asked.kinds.items():
        assert all(0 <= each - known_ns <= 1 for each in seen[kind]), kind


def test_a_message_before_its_time_breaks_its_row():
    book = straddle_book(500, expiry=DAY)
    early = PositionChanged(CALL, at("16:00"), at("16:00"), ChangeCause.ASSIGNMENT, D(1), D(0), D(0), "x")
    assert message_kind(book[CALL], early) is AccountMessage.CLEARING
    assert not ACCOUNT_MESSAGES[AccountMessage.CLEARING].holds(book[CALL], early)
    assert ACCOUNT_MESSAGES.keys() == set(AccountMessage)
