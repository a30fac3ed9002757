"""A statement against the journal: each kind of difference found, and each way of saying the same passed."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest

from scalpdesk.accounting.agreement import ComparedSpan, LineVerdict, Tolerances, compare, span_of
from scalpdesk.accounting.journals import read_lines
from scalpdesk.accounting.statements import Movement, Statement, StatementTrade, without_repeats
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import AccountSnapshot, FillBusted, HeldPosition, OrderAccepted
from scalpdesk.core.units import DAY_NS
from scalpdesk.instruments.settlement import delivery
from scalpdesk.journal.log import JournalWriter
from scalpdesk_testing.kit.journaled_run import (
    CALL,
    OPTION,
    SHARE,
    START_NS,
    Equity,
    Run,
    journal_header,
)

D = Decimal
WEEK = ComparedSpan(START_NS - DAY_NS, START_NS + 6 * DAY_NS)
NEW_YORK = ZoneInfo("America/New_York")


def trade(of, units, fee=None, **changes):
    """The broker's line of an execution of the journal."""
    line = StatementTrade(
        execution=of.execution_id,
        symbol="KO",
        units=D(units),
        price=of.price,
        fee=of.fee if fee is None else D(fee),
        currency="USD",
        ts_ns=of.ts_event_ns,
    )
    return msgspec.structs.replace(line, **changes)


def paid(cause, cash, at_ns=START_NS, **more):
    return Movement(
        reference=more.pop("reference", "r1"),
        kind="line",
        cause=cause,
        cash=D(cash),
        currency="USD",
        ts_ns=at_ns,
        **more,
    )


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path, "a")
    run.event(AccountSnapshot(*run.stamps(), D("10000.00"), (HeldPosition(SHARE, D(3), D(60)),)))
    return run


def check(run, *, span=WEEK, **parts):
    found = compare(Statement(**parts), read_lines([run.end()]), span)
    assert all(total.closes for total in found.totals.values())
    return found


def told(found):
    return [
        (line.kind, line.verdict, line.differences)
        for line in found.lines
        if line.verdict is not LineVerdict.AGREES
    ]


def test_the_same_trades_agree_and_their_sums_are_equal(run):
    first, second = run.fill(SHARE, "buy", 10, "60.00", "0.35"), run.fill(SHARE, "sell", 4, "60.10", "-0.02")
    found = check(run, trades=[trade(first, 10), trade(second, -4)])
    assert found.agrees
    assert (found.totals["USD"].broker, found.totals["USD"].journal) == (D("-359.93"), D("-359.93"))


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"fee": D("0.36")}, {"fee": D("0.01"), "cash": D("-0.01")}),
        ({"fee": D("-0.35")}, {"fee": D("-0.70"), "cash": D("0.70")}),
        ({"price": D("60.01")}, {"price": D("0.01"), "cash": D("-0.10")}),
        ({"units": D(9)}, {"units": D(-1), "cash": D("60.00")}),
        ({"fee": D("0.3549")}, {}),
    ],
)
def test_a_cent_is_a_difference_and_half_of_it_is_none(run, changes, differences):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    found = check(run, trades=[msgspec.structs.replace(trade(filled, 10), **changes)])
    assert [line.differences for line in found.lines] == [differences]
    assert found.agrees is not bool(differences)


def test_a_time_beyond_the_tolerance_differs_but_not_where_the_statement_has_the_day_alone(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    late = trade(filled, 10, ts_ns=filled.ts_event_ns + 3_000_000_000)
    lines = read_lines([run.end()])
    assert told(compare(Statement(trades=[late]), lines, WEEK))[0][2] == {"seconds": D(3)}
    assert compare(Statement(trades=[late]), lines, WEEK, Tolerances(seconds=5)).agrees
    day = msgspec.structs.replace(late, has_time=False)
    assert compare(Statement(trades=[day]), lines, WEEK).agrees


def test_what_one_side_lacks_is_named_on_its_side(run):
    known, missing = run.fill(SHARE, "buy", 10, "60.00", "0.35"), run.fill(SHARE, "sell", 4, "60.10", "0.02")
    strange = trade(known, 7, execution="z9", price=D(58))
    found = check(run, trades=[trade(known, 10), strange])
    assert {verdict for _, verdict, _ in told(found)} == {LineVerdict.JOURNAL_ONLY, LineVerdict.BROKER_ONLY}
    only = {line.verdict: line for line in found.lines}
    assert only[LineVerdict.JOURNAL_ONLY].journal.endswith(f"/{missing.execution_id}")
    assert only[LineVerdict.JOURNAL_ONLY].cash == -D("240.38")
    assert only[LineVerdict.BROKER_ONLY].cash == -D("406.35")


def test_several_executions_of_an_order_that_the_desk_knows_by_their_sum(run):
    filled = run.fill(SHARE, "buy", 10, "60.03", "0.30", execution="v7/10")
    run.event(OrderAccepted(filled.client_order_id, *run.stamps(), "v7"))
    parts = [
        trade(filled, 4, execution="e1", order="v7", price=D("60.00"), fee=D("0.10")),
        trade(filled, 6, execution="e2", order="v7", price=D("60.05"), fee=D("0.20")),
    ]
    found = check(run, trades=parts)
    assert found.agrees
    assert [line.broker for line in found.lines] == ["e1, e2"]
    parts[1] = trade(filled, 6, execution="e2", order="v7", price=D("60.06"), fee=D("0.20"))
    assert told(check(run, trades=parts)) == [("trade", LineVerdict.DIFFERS, {"cash": D("-0.06")})]


def test_an_execution_under_another_id_is_found_by_its_order_and_then_by_its_terms(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    other = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    named = trade(other, 10, execution="9", client_order=other.client_order_id, ts_ns=filled.ts_event_ns)
    bare = trade(filled, 10, execution="")
    assert told(check(run, trades=[named, bare])) == []


def test_a_correction_that_only_the_broker_has_differs_in_its_price(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    again = trade(filled, 10, execution="x1.02", client_order=filled.client_order_id, price=D("60.02"))
    assert told(check(run, trades=[again])) == [
        ("trade", LineVerdict.DIFFERS, {"cash": D("-0.20"), "price": D("0.02")})
    ]


def test_a_bust_that_the_journal_has_leaves_the_brokers_line_alone(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    run.event(FillBusted(filled.client_order_id, *run.stamps(), filled.execution_id, "erroneous"))
    assert told(check(run, trades=[trade(filled, 10)])) == [("trade", LineVerdict.BROKER_ONLY, {})]
    assert check(run).agrees


def test_a_line_that_the_file_has_twice_counts_once_and_is_noted(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    twice = without_repeats(Statement(trades=[trade(filled, 10)] * 2, movements=[paid(None, "1")] * 2))
    assert (len(twice.trades), len(twice.movements), len(twice.notes)) == (1, 1, 2)
    nameless = [paid(ChangeCause.FEE, "-1", reference="")] * 2
    assert len(without_repeats(Statement(movements=nameless)).movements) == 2


def test_lines_of_the_journal_outside_the_days_are_counted_and_no_difference(run):
    first = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    run.now_ns += DAY_NS
    run.fill(SHARE, "sell", 10, "61.00", "0.30")
    statement = Statement(trades=[trade(first, 10)])
    span = span_of(statement, NEW_YORK)
    assert span is not None
    found = check(run, span=span, trades=statement.trades)
    assert (found.agrees, found.outside) == (True, 1)


def test_the_days_are_whole_ones_in_the_statements_zone_up_to_when_it_was_made():
    evening = StatementTrade(
        execution="", symbol="KO", units=D(1), price=D(1), currency="USD", ts_ns=1_709_604_000_000_000_000
    )  # 21:00 in New York, the next day in UTC
    spans = [span_of(Statement(trades=[evening]), zone) for zone in (NEW_YORK, ZoneInfo("UTC"))]
    starts = [datetime.fromtimestamp(each.start_ns / 1e9, UTC).isoformat() for each in spans]
    assert starts == ["2024-03-04T05:00:00+00:00", "2024-03-05T00:00:00+00:00"]
    made = Statement(first=date(2024, 3, 4), last=date(2024, 3, 8), made_ns=START_NS)
    assert span_of(made, NEW_YORK).end_ns == START_NS
    assert span_of(Statement(), NEW_YORK) is None


def test_a_trade_by_hand_is_one_trade_on_both_sides(run):
    run.change(SHARE, ChangeCause.MANUAL_TRADE, -3, "61.00", "182.95", "foreign-m1")
    line = StatementTrade(
        execution="m1", symbol="KO", units=D(-3), price=D(61), fee=D("0.05"), currency="USD", ts_ns=run.now_ns
    )
    assert check(run, trades=[line]).agrees


def test_an_assignment_agrees_with_the_brokers_two_lines_of_the_next_morning(run):
    run.fill(CALL, "sell", 1, "2.00", "0.65", execution="c1")
    for change in delivery(OPTION, CALL, SHARE, D(-1), *run.stamps()):
        run.event(change)
    sold = StatementTrade(
        execution="c1", symbol=OPTION.symbol, units=D(-1), price=D(2), fee=D("0.65"), currency="USD",
        ts_ns=run.now_ns,
    )  # fmt: skip
    morning = run.now_ns + DAY_NS // 2
    option = paid(ChangeCause.ASSIGNMENT, 0, morning, symbol=OPTION.symbol, units=D(1))
    shares = paid(ChangeCause.DELIVERY, 6000, morning, reference="r2", symbol="KO", units=D(-100))
    assert check(run, trades=[sold], movements=[option, shares]).agrees
    wrong = msgspec.structs.replace(shares, cash=D(5990))
    assert told(check(run, trades=[sold], movements=[option, wrong])) == [
        ("movement", LineVerdict.DIFFERS, {"cash": D(-10)})
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_strikes_of_one_night_agree_by_units_and_cash(run, order):
    for number, cash in enumerate((6000, 6500)):
        run.change(SHARE, ChangeCause.DELIVERY, -100, cash / 100, cash, f"delivery-{number}")
    morning = run.now_ns + DAY_NS // 2
    lines = [
        paid(ChangeCause.DELIVERY, cash, morning, reference=f"r{cash}", symbol="KO", units=D(-100))
        for cash in (6000, 6500)
    ]
    assert check(run, movements=[lines[place] for place in order]).agrees


def test_cash_that_the_journal_does_not_have_and_a_dividend_that_is_paid_later(run):
    run.change(SHARE, ChangeCause.DIVIDEND, 0, 0, "4.85", "dividend-0-2024-03-04")
    later = run.now_ns + 40 * DAY_NS
    dividend = paid(ChangeCause.DIVIDEND, "4.85", later, symbol="KO")
    fee = paid(ChangeCause.FEE, "-1.50", later, reference="r2")
    word = paid(None, "-0.25", later, reference="r3")
    april = ComparedSpan(later - DAY_NS, later + DAY_NS)
    found = check(run, span=april, movements=[dividend, fee, word])
    assert told(found) == [("movement", LineVerdict.BROKER_ONLY, {})] * 2
    assert found.totals["USD"].broker - found.totals["USD"].journal == D("-1.75")


def test_fees_that_the_broker_charges_by_the_day_stand_against_those_of_the_days_fills(run):
    filled = run.fill(SHARE, "sell", 10, "60.00", "0.02")
    other = run.fill(SHARE, "sell", 5, "60.00", "0.01")
    trades = [trade(filled, -10, fee=0), trade(other, -5, fee=0)]
    charges = {"charges_day": date(2024, 3, 4)}

    def of(cash):
        # charged on the next day, for this one
        line = paid(ChangeCause.FEE, cash, START_NS + DAY_NS, **charges)
        return check(run, trades=trades, movements=[line], fees_apart=True)

    assert of("-0.03").agrees
    assert told(of("-0.04")) == [("fees", LineVerdict.DIFFERS, {"fee": D("0.01")})]
    assert told(check(run, trades=trades, fees_apart=True)) == [("fees", LineVerdict.JOURNAL_ONLY, {})]
    tomorrow = ComparedSpan(START_NS + DAY_NS // 2, START_NS + 2 * DAY_NS)
    line = paid(ChangeCause.FEE, "-0.03", START_NS + DAY_NS, **charges)
    assert check(run, span=tomorrow, movements=[line], fees_apart=True).agrees


def test_positions_and_cash_at_the_end_are_compared_where_the_statement_has_them(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    ends = {"trades": [trade(filled, 10)], "positions": {"KO": D(13)}, "cash": {"USD": D("9399.65")}}
    assert check(run, has_all_positions=True, **ends).agrees
    ends |= {"positions": {}, "cash": {"USD": D("9399.64")}}
    assert told(check(run, has_all_positions=True, **ends)) == [
        ("position", LineVerdict.DIFFERS, {"units": D(-13)}),
        ("cash", LineVerdict.DIFFERS, {"cash": D("-0.01")}),
    ]
    assert [each[0] for each in told(check(run, **ends))] == ["cash"]


@pytest.mark.rows(
    "symbol", ["KO240315P00060000", "KO240315C00065000", "KO240419C00060000", "KO", "QQQ240315C00060000"]
)
def test_the_right_id_on_another_contract_is_a_difference(run, symbol):
    """Put for call, strike, expiry, the share itself, another name: units, price and cash are the same."""
    filled = run.fill(CALL, "buy", 2, "1.20", "0.10")
    line = trade(filled, 2, symbol=symbol)
    (found,) = check(run, trades=[line]).lines
    assert (found.verdict, found.unlike["contract"]) == (
        LineVerdict.DIFFERS, f"{symbol}, journal {OPTION.symbol}",
    )  # fmt: skip


@pytest.mark.rows(
    ("changes", "unlike"),
    [
        ({"cause": ChangeCause.EXPIRED_WORTHLESS}, "cause"),
        ({"cause": ChangeCause.EXERCISE}, "cause"),
        ({"cause": None}, "cause"),
        ({"symbol": "KO240315P00060000", "reference": "expiry-KO240315C00060000"}, "contract"),
        ({"currency": "EUR"}, "currency"),
    ],
)
def test_an_end_that_the_broker_calls_otherwise_is_a_difference(run, changes, unlike):
    end = delivery(OPTION, CALL, SHARE, D(-2), *run.stamps())
    for event in end:
        run.event(event)
    lines = [
        Movement(
            reference=f"b{at}",
            kind="line",
            cause=event.cause,
            symbol="KO" if at else OPTION.symbol,
            units=event.quantity_change,
            cash=event.cash_change,
            currency="USD",
            ts_ns=event.ts_event_ns,
        )
        for at, event in enumerate(end)
    ]
    assert check(run, movements=lines).agrees
    lines[0] = msgspec.structs.replace(lines[0], **changes)
    again = compare(Statement(movements=lines), read_lines([run.folder]), WEEK)
    (differs,) = [line for line in again.lines if line.verdict is LineVerdict.DIFFERS]
    assert list(differs.unlike) == [unlike]


def test_a_settlement_at_nothing_and_a_worthless_end_are_the_same(run):
    run.change(CALL, ChangeCause.EXPIRED_WORTHLESS, -2, 0, 0, "expiry-x")
    settled = paid(ChangeCause.CASH_SETTLEMENT, "0", symbol=OPTION.symbol, units=D(-2))
    assert check(run, movements=[settled]).agrees


def test_the_cash_of_a_backtest_is_compared_from_what_it_begins_with(tmp_path):
    header = journal_header(
        (Equity("KO"), OPTION), config={"simulation": {"starting_cash": "5000.00"}}, started_ns=START_NS
    )
    run = Run(tmp_path, "b")
    run.folder = tmp_path / "backtest"
    run.writer.close({})
    run.writer = JournalWriter.create(run.folder, header, durability="none")
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    run.end()

    def cash(amount):
        statement = Statement(trades=[trade(filled, 10)], cash={"USD": D(amount)})
        return compare(statement, read_lines([run.folder]), WEEK)

    assert cash("4399.65").agrees
    assert told(cash("4399.66")) == [("cash", LineVerdict.DIFFERS, {"cash": D("0.01")})]


def test_what_is_not_compared_at_the_end_is_said(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    notes = check(run, trades=[trade(filled, 10)]).notes
    assert [" ".join(note.split()[:2]) for note in notes] == ["positions at", "cash at"]
    assert check(run, positions={"KO": D(13)}, cash={"USD": D("9399.65")}).notes == []


def test_a_line_that_could_not_be_read_is_never_an_agreement(run):
    assert not check(run, unread=["line 7: a trade of no units"]).agrees


def test_one_trade_that_the_desk_cannot_value_hides_no_other(run):
    filled = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    strange = [
        trade(filled, 1, execution=f"z{name}", symbol=name) for name in ("ESH4 C5000", "QQ_202403", "")
    ]
    found = check(run, trades=[trade(filled, 10), *strange])
    assert (len(found.unread), told(found), found.agrees) == (3, [], False)


def test_an_execution_that_two_runs_have_agrees_once(run, tmp_path):
    bought = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    second = Run(tmp_path, "b", START_NS + DAY_NS)
    second.event(bought)  # read again, of an order that this run did not send
    sold = second.fill(SHARE, "sell", 10, "61.00", "0.30")
    lines = read_lines([run.end(), second.end()])
    assert compare(Statement(trades=[trade(bought, 10), trade(sold, -10)]), lines, WEEK).agrees
    lines = read_lines([second.folder])
    assert compare(Statement(trades=[trade(sold, -10)]), lines, WEEK).unread


def test_interest_without_a_symbol_is_what_the_desk_booked_at_some_instrument(run):
    run.change(SHARE, ChangeCause.INTEREST, 0, 0, "-1.20", "gap-1")
    assert check(run, movements=[paid(ChangeCause.INTEREST, "-1.20", run.now_ns)]).agrees
    assert told(check(run, movements=[paid(ChangeCause.INTEREST, "-1.25", run.now_ns)])) == [
        ("movement", LineVerdict.DIFFERS, {"cash": D("-0.05")})
    ]


def test_what_the_desk_trades_after_the_statements_end_is_not_in_its_positions(run):
    first = run.fill(SHARE, "buy", 10, "60.00", "0.35")
    span = ComparedSpan(WEEK.start_ns, run.now_ns + 1)
    run.fill(SHARE, "buy", 5, "60.00", "0.35")
    ends = {"positions": {"KO": D(13)}, "cash": {"USD": D("9399.65")}}
    assert check(run, span=span, trades=[trade(first, 10)], **ends).agrees


def test_the_legs_of_a_combo_go_by_the_venues_id_of_the_whole(run):
    leg = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    run.event(OrderAccepted(leg.client_order_id, *run.stamps(), "v7/KO"))
    other = run.fill(SHARE, "buy", 10, "60.00", "0.30")
    line = trade(leg, 10, execution="", order="v7", price=D("60.01"))
    assert told(check(run, trades=[line, trade(other, 10)])) == [
        ("trade", LineVerdict.DIFFERS, {"cash": D("-0.10"), "price": D("0.01")})
    ]
