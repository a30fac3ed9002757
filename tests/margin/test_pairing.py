"""The least of all pairings that the rule allows, tried one by one."""

from decimal import Decimal
from functools import cache
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.pairing import Pairing, out_of_the_money, share_requirement, uncovered_risk

D = Decimal
SPOT = D(100)
FIRST, SECOND, THIRD = "261120", "261218", "270115"


def share(hundreds, price=SPOT):
    return Holding(Equity("XYZ"), D(100 * hundreds), price)


@cache
def contract(right, strike, expiry):
    return us_option(f"XYZ{expiry}{right}{strike * 1000:08d}", ["XYZ"])


def option(right, strike, quantity, price, expiry=SECOND):
    return Holding(contract(right, strike, expiry), D(quantity), D(str(price)))


def worth(leg, at):
    sign = 1 if leg.is_call else -1
    return 100 * max(sign * (at - leg.strike), D(0))


def largest_loss(spreads):
    strikes = {leg.strike for pair in spreads for leg in pair}
    return max(D(0), *(sum(worth(sold, at) - worth(cover, at) for sold, cover in spreads) for at in strikes))


def parted(items):
    """Yield every way to part a list into groups."""
    if not items:
        yield []
        return
    for rest in parted(items[1:]):
        yield [[items[0]], *rest]
        for n, group in enumerate(rest):
            yield [*rest[:n], [items[0], *group], *rest[n + 1 :]]


def is_group(spreads):
    return max(sold.expiry for sold, *_ in spreads) <= min(cover.expiry for _, cover, _ in spreads)


def of_spreads(spreads):
    """Least margin of spreads in groups; none of more than what its sold options ask for alone."""
    return min(
        sum(
            min(largest_loss([pair[:2] for pair in group]), sum(most for *_, most in group))
            for group in groups
        )
        for groups in parted(spreads)
        if all(map(is_group, groups))
    )


def alone(line):
    return line.price + uncovered_risk(line.instrument, SPOT)


def of_naked(lines):
    """Least margin of sold contracts without a cover, each a line of one contract, straddles among them."""
    calls = [line for line in lines if line.instrument.is_call]
    puts = [line for line in lines if not line.instrument.is_call]
    few, many = sorted((calls, puts), key=len)
    freed = max(
        sum(
            min((alone(one), alone(one) - one.price), (alone(other), alone(other) - other.price))[1]
            for one, other in zip(few, some, strict=True)
        )
        for some in permutations(many, len(few))
    )
    return 100 * (sum(map(alone, lines)) - freed)


def of_shares(sign, beside, hundreds, free):
    """Least maintenance of hundreds of shares: beside the sold options that they cover, and the others."""
    plain = share_requirement(D(sign), SPOT).maintenance
    places = [*beside, *[None] * hundreds]
    some = [leg for leg in free if leg.is_call is (sign < 0)] + [None] * len(places)
    asked = [
        sum(map(partial_asked(sign, plain), places, chosen)) for chosen in permutations(some, len(places))
    ]
    return 100 * min(asked, default=D(0))


def partial_asked(sign, plain):
    def asked(sold, leg):
        if leg is None:
            return plain
        tenth, out = leg.strike / 10, out_of_the_money(leg, SPOT)
        if sold is None:
            return min(plain, tenth + out)
        if leg.expiry != sold.expiry:
            return plain
        if leg.strike == sold.strike:
            return min(plain, tenth)
        is_collar = sold.is_call and leg.strike < sold.strike
        return min(plain, tenth + out, sold.strike / 4) if is_collar else plain

    return asked


def of_all(lines, *, is_overnight=False, is_secured=False):
    """Return the uncovered calls that need a cover, and the least margin with what is withheld."""
    sold = [line for line in lines for _ in range(int(-line.quantity)) if line.is_option]
    bought = [line.instrument for line in lines for _ in range(int(line.quantity)) if line.is_option]
    shares = sum(int(line.quantity) // 100 for line in lines if not line.is_option)
    sign, best = 1 if shares > 0 else -1, None

    def choose(n, spreads, naked, beside, free):
        nonlocal best
        if n < len(sold):
            line = sold[n]
            leg = line.instrument
            choose(n + 1, spreads, [*naked, line], beside, free)
            if len(beside) < abs(shares) and leg.is_call is (shares > 0):
                choose(n + 1, spreads, naked, [*beside, leg], free)
            for m, cover in enumerate(free):
                if cover.is_call is leg.is_call and cover.expiry >= leg.expiry:
                    choose(
                        n + 1,
                        [*spreads, (leg, cover, 100 * alone(line))],
                        naked,
                        beside,
                        free[:m] + free[m + 1 :],
                    )
            return
        asked = of_spreads(spreads) + of_naked(naked)
        asked += sum(100 * max(sign * (SPOT - leg.strike), D(0)) for leg in beside)
        if not is_overnight:
            asked += of_shares(sign, beside, abs(shares) - len(beside), free)
        calls = sum(line.instrument.is_call for line in naked) * is_secured
        if is_secured:
            puts = (line for line in naked if not line.instrument.is_call)
            asked += sum(100 * max(line.instrument.strike - alone(line), D(0)) for line in puts)
        best = (calls, asked) if best is None else min(best, (calls, asked))

    choose(0, [], [], [], bought)
    return best


LEGS = st.tuples(
    st.sampled_from("CP"),
    st.sampled_from([80, 90, 95, 100, 105, 110, 150]),
    st.sampled_from([-1, 1]),
    st.sampled_from(["0.5", "2", "5", "13"]),
    st.sampled_from([FIRST, SECOND, THIRD]),
)


@given(st.lists(LEGS, max_size=6, unique_by=lambda leg: (leg[0], leg[1], leg[4])), st.integers(-2, 2))
def test_a_portfolio_is_asked_for_the_least_of_all_pairings(legs, hundreds):
    lines = [option(*leg) for leg in legs] + [share(hundreds)] * bool(hundreds)
    by_day, by_night = Pairing(lines, SPOT), Pairing(lines, SPOT, is_overnight=True)
    assert (0, by_day.maintenance + by_day.withheld) == of_all(lines)
    apart = by_night.premium + sum(
        share_requirement(line.quantity, SPOT).initial for line in lines[len(legs) :]
    )
    assert (0, by_night.initial - apart + by_night.withheld) == of_all(lines, is_overnight=True)
    secured = Pairing(lines, SPOT, is_secured=True)
    calls = sum(quantity for leg, quantity in secured.uncovered if leg.is_call)
    assert (calls, secured.maintenance + secured.withheld) == of_all(lines, is_secured=True)
    if not hundreds and not by_day.uncovered and {leg[4] for leg in legs} == {SECOND}:
        strikes = {each.instrument.strike for each in lines}
        loss = max(-sum(int(each.quantity) * worth(each.instrument, at) for each in lines) for at in strikes)
        assert by_day.maintenance >= loss
    again = Pairing(reversed(lines), SPOT)
    assert (again.maintenance, again.withheld, again.uncovered) == (
        by_day.maintenance,
        by_day.withheld,
        by_day.uncovered,
    )
