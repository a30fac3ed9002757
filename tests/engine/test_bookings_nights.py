"""What is booked in a night: assignments, exercises and dividends, as of the evening's prices."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import DividendEvent, PositionChanged, TimerEvent
from scalpdesk.instruments.sessions import next_session
from scalpdesk.portfolio.explain import DETAILS, HIGHER, explain_lines
from scalpdesk_testing.kit.desk import change, marks

D = Decimal
CALL, PUT, PAID = 1, 2, D(2)
MODEL = ("delta", "gamma", "theta", "vega", "higher_order", "carry")


@pytest.fixture
def evening(desk):
    """Build a desk at its close, with a dividend of 2 dollars that goes ex in the morning."""

    def build(spot, held):
        one = desk()
        ex_ns = next_session(one.session.day).open_ns
        one.handle(DividendEvent(0, one.now_ns, one.now_ns, ex_ns, PAID))
        one.market(spot)
        one.adopt(
            {number: (quantity, "10" if number else "500") for number, quantity in held.items() if quantity}
        )
        one.now_ns = one.session.close_ns - 1
        one.market(spot)
        one.close()
        return one

    return build


def delivered(one, number, quantity):
    """Tell the desk of an exercise (or of an assignment, below 0), as of the close, and of its shares."""
    contract, sign = one.book[number], 1 if number == CALL else -1
    cause = ChangeCause.EXERCISE if quantity > 0 else ChangeCause.ASSIGNMENT
    shares, known = D(100 * quantity * sign), (one.session.close_ns, one.now_ns)
    out = one.handle(PositionChanged(number, *known, cause, D(-quantity), D(0), D(0), f"of-{number}"))
    terms = ChangeCause.DELIVERY, shares, contract.strike, -shares * contract.strike, f"shares-{number}"
    return out + one.handle(PositionChanged(0, *known, *terms))


def pays(one):
    """Pay the dividend on what is held."""
    held = one.positions.get(0, 0)
    return one.handle(change(one, "dividend", cash=PAID * held, reference="paid")) if held else ()


def morning(one, spot):
    """Open the next session at a price without the dividend, and mark the book."""
    one.open(next_session(one.session.day))
    one.wait(10).market(spot)
    return one.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))


def check_lines(one):
    """See that each part is the sum of its lines, and the whole that of the parts."""
    explain = one.engine.desk.attribution
    exact = {name: float(amount) for name, amount in explain.totals.items()}
    details = explain.sums.details
    assert sum(explain.totals.values()) == explain.nav_change
    assert sum(details[name] for name in HIGHER) == pytest.approx(exact["higher_order"], abs=1e-4)
    assert details["dividend"] + details["rate"] == pytest.approx(exact["carry"], abs=1e-4)
    assert details["mark_noise"] == pytest.approx(exact["residual"], abs=0.03)
    lines = {name: D(text) for name, text in explain_lines(explain)["details"].items()}
    assert list(lines) == list(DETAILS)
    assert sum(lines[name] for name in HIGHER) == round(explain.totals["higher_order"], 2)
    assert lines["dividend"] + lines["rate"] == round(explain.totals["carry"], 2)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.rows(
    ("spot", "ended", "contracts", "shares"),
    [
        (510.0, CALL, 1, -51),
        (510.0, CALL, 3, -120),
        (490.0, PUT, 1, 60),
        (490.0, PUT, 2, 0),
        (502.0, None, 0, 40),
    ],
)
def test_a_night_of_bookings_is_explained_at_the_prices_of_its_ends(
    evening, spot, ended, contracts, shares, sign
):
    """One or all of three straddles end in the night before an ex-date, bought or sold."""
    one = evening(spot, {0: sign * shares, CALL: 3 * sign, PUT: 3 * sign})
    explain = one.engine.desk.attribution
    before = dict(explain.totals)
    one.now_ns = next_session(one.session.day).open_ns
    out = () if ended is None else delivered(one, ended, contracts * sign)
    for mark in marks(out):
        assert all(abs(mark.parts[name]) < D("0.01") for name in MODEL), mark.parts
    out = pays(one)
    morning(one, spot - float(PAID))
    moved = {name: float(amount - before[name]) for name, amount in explain.totals.items()}
    assert abs(moved["delta"]) < 1e-6  # the share fell by its dividend
    assert abs(moved["gamma"]) < 1e-6
    check_lines(one)


def test_an_assigned_call_costs_its_time_value_alone_and_the_line_says_so(evening):
    one = evening(510.0, {CALL: -1})
    explain, number = one.engine.desk.attribution, CALL
    time_value = D(str(one.engine.desk.delta_engine.mark(number))) - 10
    one.now_ns = next_session(one.session.day).open_ns - 7_200 * 10**9
    before, nav = dict(explain.totals), explain.nav
    delivered(one, CALL, -1)
    assert float(explain.nav - nav) == pytest.approx(float(100 * time_value), abs=1e-4)
    assert float(explain.totals["residual"] - before["residual"]) == pytest.approx(
        float(100 * time_value), abs=0.01
    )
    check_lines(one)


def test_dividend_and_interest_of_a_night_are_lines_of_the_carry(evening):
    one = evening(500.0, {0: 100, CALL: 1, PUT: -1})
    one.now_ns = next_session(one.session.day).open_ns
    one.handle(change(one, "interest", cash="-3.21", reference="i"))
    pays(one)
    morning(one, 498.0)
    check_lines(one)
    assert one.engine.desk.attribution.sums.details["dividend"] == pytest.approx(0.0, abs=2.0)
    assert one.engine.desk.attribution.sums.details["rate"] == pytest.approx(-3.21, abs=2.0)
