"""Laws of a broker's statement against the journal, for any trades."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.accounting.agreement import ComparedSpan, LineVerdict, compare
from scalpdesk.accounting.journals import JournalFill, JournalLines
from scalpdesk.accounting.statements import Statement, StatementTrade
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity

D = Decimal
NAMES = [Equity("KO"), us_option("KO260116C00070000", ["KO"])]
WHOLE = ComparedSpan(0, 10**15)


@st.composite
def books(draw, least=1):
    """A journal, and the broker's lines of the same: ids and orders may be missing, the order may be any."""
    lines, trades = JournalLines(), []
    orders = st.tuples(st.sampled_from(NAMES), st.sampled_from((-1, 1)), st.booleans())
    known = draw(st.lists(orders, min_size=1, max_size=5))
    for number in range(draw(st.integers(least, 12))):
        place = draw(st.integers(0, len(known) - 1))
        (instrument, sign, is_named), order = known[place], f"o{place}"
        fill = JournalFill(
            instrument=instrument,
            order=order,
            execution=f"x{number}",
            ts_ns=(number + 1) * 10**9,
            units=sign * D(draw(st.sampled_from((1, 2)))),
            price=D(draw(st.sampled_from(("9.99", "10.00")))),
            fee=D(draw(st.sampled_from(("0.35", "1.00", "-0.02")))),
            venue_order=f"v{order}" if is_named else "",
        )
        lines.fills["ibkr", order, fill.execution, fill.ts_ns] = fill
        trades.append(
            StatementTrade(
                execution=draw(st.sampled_from(("", fill.execution))),
                order=draw(st.sampled_from(("", f"v{order}"))),
                client_order=draw(st.sampled_from(("", order))),
                symbol=fill.instrument.symbol,
                units=fill.units,
                price=fill.price,
                fee=fill.fee,
                currency="USD",
                ts_ns=fill.ts_ns,
            )
        )
    return lines, draw(st.permutations(trades))


def apart(found):
    return [line for line in found.lines if line.verdict is not LineVerdict.AGREES]


@given(books(least=0))
def test_the_same_trades_have_the_same_sums_whatever_names_they_lack(given_books):
    lines, trades = given_books
    found = compare(Statement(trades=trades), lines, WHOLE)
    verdicts = {line.verdict for line in found.lines}
    assert verdicts <= {LineVerdict.AGREES, LineVerdict.DIFFERS}
    assert sum(line.cash for line in found.lines) == 0


@given(books(), st.data())
def test_a_changed_cent_or_a_missing_line_is_in_the_difference_and_on_a_line(given_books, data):
    lines, trades = given_books
    named = [
        msgspec.structs.replace(each, execution=fill.execution)
        for each, fill in zip(sorted(trades, key=lambda each: each.ts_ns), lines.fills.values(), strict=True)
    ]
    place = data.draw(st.integers(0, len(named) - 1))
    whole = compare(Statement(trades=named), lines, WHOLE)
    assert whole.agrees
    charged = msgspec.structs.replace(named[place], fee=named[place].fee + D("0.01"))
    found = compare(Statement(trades=[*named[:place], charged, *named[place + 1 :]]), lines, WHOLE)
    assert [line.differences["fee"] for line in apart(found)] == [D("0.01")]
    assert found.totals["USD"].broker - found.totals["USD"].journal == D("-0.01")
    less = compare(Statement(trades=named[:place] + named[place + 1 :]), lines, WHOLE)
    (line,) = apart(less)
    assert (line.verdict, line.ts_ns) == (LineVerdict.JOURNAL_ONLY, named[place].ts_ns)
    assert all(total.closes for total in less.totals.values())
