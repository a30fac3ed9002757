"""Laws of the plan from what is held to what is wanted, for any shape, either side, and whatever fills."""

import math
from collections import Counter
from datetime import date
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.closing.covers import uncovered
from scalpdesk.closing.last_resort import AT_THE_MARKET, Flattener
from scalpdesk.closing.leg import Sight, Tactics
from scalpdesk.closing.plan import BOTH_TYPES, LIMITS_ALONE, Target, TargetLine, World, plan
from scalpdesk.closing.worth import LegLeft
from scalpdesk.core.intents import LegOrders, Purpose
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS
from scalpdesk.entry.shapes import SHAPES, At
from scalpdesk.instruments.contract import Instruments
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.kit.tape import quote

D, S = Decimal, NANOS_PER_SECOND
LATER = date(2024, 6, 21)
STRIKES = (480, 490, 500, 510, 520)
BOOK = Instruments([share()])
PLACES = {}
for right, strike, is_far in product("CP", STRIKES, (False, True)):
    PLACES[right, strike, is_far] = len(PLACES) + 1
    BOOK.add(option(right, strike, LATER) if is_far else option(right, strike))
OUT_BY = {At.CENTRE: 0, At.BODY: 0, At.WING: 10, At.OUTER: 20}
TAKES_ALL, TAKES_LIMITS = (frozenset(kinds) for kinds in (BOTH_TYPES, LIMITS_ALONE))


def structure(shape, sign):
    """Return the signed contracts of one set by option."""
    ratios = {}
    for leg in SHAPES[shape].legs:
        right = leg.right or "C"
        away = OUT_BY[leg.at] * (-1 if leg.is_inside else 1)
        number = PLACES[right, 500 + away * (1 if right == "C" else -1), leg.is_far]
        ratios[number] = sign * leg.ratio * (2 if leg.is_many else 1)
    return ratios


def times(ratios, sets):
    return {number: D(ratio * sets) for number, ratio in ratios.items()}


def fair(number):
    """Return a value of an option at a spot of 500: convex in the strike, and more where it ends later."""
    contract = BOOK[number]
    away = 500.0 - float(contract.strike)
    time_value = (6.0 if contract.expiry == LATER else 4.0) * math.exp(-abs(away) / 10.0)
    return max(away if contract.is_call else -away, 0.0) + time_value


class Venue:
    """Fills, rejects, doubts and cancels as it is told by a source of random numbers."""

    def __init__(self, held, rng):
        self.held, self.rng = Counter(held), rng
        self.live, self.halted, self.unquoted, self.now_ns = [], set(), set(), S
        self.half_widths, self.shift = {}, 0.0

    def look(self, number):
        mid, half = (
            max(fair(number) + self.shift * (1 if BOOK[number].is_call else -1), 0.0),
            self.half_widths.get(number, 0.02),
        )
        bid, ask = (math.nan, math.nan) if number in self.unquoted else (max(mid - half, 0.0), mid + half)
        is_halted, is_fine = number in self.halted, number not in self.unquoted
        return Sight(
            self.now_ns,
            BOOK[number],
            quote(number, self.now_ns, bid, ask),
            500.0,
            is_fine=is_fine,
            has_no_bid=bid == 0.0,
            is_halted=is_halted,
            is_unquoted=not is_fine,
            model=lambda: (mid, 0.0),
        )

    def world(self, left=()):
        return World(self.now_ns, BOOK, self.look, tuple(self.live), left=left)

    def lines(self, wanted):
        return [
            TargetLine("", number, D(self.held[number]), D(wanted.get(number, 0)))
            for number in {**wanted, **{number: 0 for number, units in self.held.items() if units}}
        ]

    def take(self, found):
        for cancel in found.cancels:
            (order,) = [one for one in self.live if one.client_order_id == cancel.client_order_id]
            order.is_unwanted = True
            if order.state is not OrderState.UNKNOWN:
                order.state = OrderState.PENDING_CANCEL
        for intent in found.orders:
            order = Order(intent.order(f"o{self.now_ns}-{intent.instrument_id}", ""), self.now_ns)
            order.state, order.parent_id = OrderState.WORKING, "one" if found.goes_as_one else ""
            self.live.append(order)

    def fill(self, order, quantity):
        order.filled += quantity
        self.held[order.submitted.instrument_id] += quantity * order.submitted.side.sign
        if not order.leaves:
            order.state = OrderState.FILLED

    def go_on(self, *, is_fair=False):
        """Let something happen to each order, in any order, and time pass."""
        self.rng.shuffle(self.live)
        for order in list(self.live):
            what = 5 if is_fair else self.rng.randrange(8)
            whole = [one for one in self.live if one.parent_id] if order.parent_id else [order]
            if not order.is_live:
                continue
            if what == 0:
                order.state = OrderState.UNKNOWN
            elif what in (1, 2) and (order.state is OrderState.PENDING_CANCEL or what == 1):
                for one in whole:
                    one.state = OrderState.CANCELLED
            elif what == 3 and not order.parent_id:
                self.fill(order, D(self.rng.randint(1, int(order.leaves))))
            elif what >= 5:
                for one in whole:
                    self.fill(one, one.leaves)
        self.live = [order for order in self.live if order.is_live]
        self.now_ns += self.rng.randint(5 * S if is_fair else 1, 20 * S)  # a pause ends
        options = list(PLACES.values())
        self.halted = set() if is_fair else set(self.rng.sample(options, 2))
        self.unquoted = set() if is_fair else set(self.rng.sample(options, 2))


def unsafe(held, orders):
    """Return the sold options that are uncovered once every sale on its own has filled and no purchase."""
    worst = Counter(held)
    for order in orders:
        worst[order.submitted.instrument_id] += min(order.signed_leaves, 0)
    return uncovered({number: D(units) for number, units in worst.items() if number}, BOOK)


SHAPE = st.sampled_from(sorted(SHAPES))
SIGN = st.sampled_from([1, -1])
SETS = st.integers(0, 3)
STYLE = st.builds(
    Tactics,
    retry_seconds=st.sampled_from([2.0, 15.0]),
    pause_seconds=st.sampled_from([0.0, 15.0]),
    opening_pause_seconds=st.sampled_from([0.0, 15.0]),
    limits_only=st.booleans(),
    walks=st.booleans(),
)


@st.composite
def changes(draw):
    """What is held and what is wanted: another size, another structure, or nothing, in any manner."""
    shape, other, sign = draw(SHAPE), draw(SHAPE), draw(SIGN)
    old = structure(shape, sign)
    new = old if draw(st.booleans()) else structure(other, draw(SIGN))
    wanted = times(new, draw(SETS))
    venue = Venue(times(old, draw(SETS)), draw(st.randoms(use_true_random=False)))
    leg_orders = draw(st.sampled_from([LegOrders.AUTO, LegOrders.LEGS]))
    until_ns = draw(st.sampled_from([0, 30 * S]))
    allowed = draw(st.sampled_from([TAKES_ALL, TAKES_LIMITS]))
    return venue, wanted, draw(STYLE), new, leg_orders, until_ns, allowed


def aim(venue, wanted, style, ratios, leg_orders, until_ns, allowed, **more):
    return Target(
        venue.lines(wanted),
        style,
        "change",
        "straddle",
        ratios,
        leg_orders,
        allowed,
        mid_until_ns=until_ns,
        **more,
    )


@settings(max_examples=100)
@given(changes())
def test_whatever_fills_nothing_crosses_zero_or_its_target_and_no_more_is_uncovered_than_allowed(change):
    venue, wanted, *how = change
    memory, start = {}, Counter(venue.held)
    whole = Counter({number: D(units) for number, units in wanted.items()})
    for _ in range(12):
        held = Counter(venue.held)
        halted, unquoted = set(venue.halted), set(venue.unquoted)
        target, world = aim(venue, wanted, *how), venue.world()
        found = plan(target, world, memory)
        again = plan(target, world, memory)
        assert again == found  # a plan changes nothing that it was given
        venue.take(found)
        memory = found.memory
        follows = plan(target, venue.world(), memory)
        assert (follows.orders, follows.cancels) == ((), ())
        assert not halted & {order.instrument_id for order in found.orders}
        working = Counter((one.submitted.instrument_id, one.submitted.side) for one in venue.live)
        assert all(count == 1 for count in working.values())
        for number in {*start, *wanted}:
            leaves = [one.signed_leaves for one in venue.live if one.submitted.instrument_id == number]
            least = held[number] + sum(one for one in leaves if one < 0)
            most = held[number] + sum(one for one in leaves if one > 0)
            ends = min(0, held[number], whole[number]), max(0, held[number], whole[number])
            assert ends[0] <= least <= most <= ends[1]
            assert least * most >= 0
        alone = [one for one in venue.live if not one.parent_id]
        allowed = max(unsafe(held, ()), unsafe(whole, ()))
        assert unsafe(held, alone) <= allowed
        for line in target.lines:
            number = line.instrument_id
            is_busy = any(one.submitted.instrument_id == number for one in venue.live)
            if line.held and not line.wanted and number not in halted | unquoted and not is_busy:
                assert found.due_ns or found.is_held_back or any(one.parent_id for one in venue.live)
        venue.go_on()
        for number in {*start, *wanted}:  # no fill leads away from what is wanted
            before, after = held[number] - whole[number], venue.held[number] - whole[number]
            assert abs(after) <= abs(before)


@settings(max_examples=60)
@given(changes())
def test_with_fair_fills_it_ends_at_what_is_wanted(change):
    venue, wanted, *how = change
    memory = {}
    for _ in range(30):
        found = plan(aim(venue, wanted, *how), venue.world(), memory)
        venue.take(found)
        memory = found.memory
        venue.go_on(is_fair=True)
    assert {n: units for n, units in venue.held.items() if units} == {n: u for n, u in wanted.items() if u}
    last = plan(aim(venue, wanted, *how), venue.world(), memory)
    assert (last.orders, last.cancels, last.due_ns, last.is_given_up) == ((), (), (), False)


@given(changes(), st.randoms(use_true_random=False))
def test_a_plan_is_the_same_whatever_the_order_of_its_lines(change, rng):
    venue, wanted, *how = change
    target = aim(venue, wanted, *how)
    mixed = rng.sample(target.lines, len(target.lines))
    plans = [plan(target._replace(lines=lines), venue.world(), {}) for lines in (target.lines, mixed)]
    assert len({found.goes_as_one for found in plans}) == 1
    if not any(units < 0 for units in (*venue.held.values(), *wanted.values())):
        assert len({frozenset(found.orders) for found in plans}) == 1
    assert len({frozenset((one.instrument_id, one.side) for one in found.orders) for found in plans}) == 1


@given(changes())
def test_where_nothing_may_open_nothing_does_and_that_is_told(change):
    venue, wanted, *how = change
    target = aim(venue, wanted, *how, may_open=False)
    found = plan(target, venue.world(), {})
    assert all(order.purpose is Purpose.CLOSE for order in found.orders)
    assert found.is_given_up is any(line.opens for line in target.lines)


@pytest.mark.rows("most", [1, 3])
@given(SHAPE, SIGN, st.integers(1, 3))
def test_what_opens_is_given_up_after_so_many_tries_and_an_exit_never_is(most, shape, sign, sets):
    ratios = structure(shape, sign)
    style = Tactics(retry_seconds=5.0, pause_seconds=5.0, opening_pause_seconds=5.0, max_tries=most)
    for held, wanted in (({}, times(ratios, sets)), (times(ratios, sets), {})):
        venue, memory, tries = Venue(held, None), {}, 0
        for _ in range(40):
            found = plan(Target(venue.lines(wanted), style, "change", ratios=ratios), venue.world(), memory)
            tries, memory = tries + bool(found.orders), found.memory
            venue.now_ns += 6 * S
            if found.is_given_up:
                break
        assert found.is_given_up is bool(wanted)
        assert tries == (most if wanted else 40)


@given(changes())
def test_what_is_not_sent_was_not_tried(change):
    venue, wanted, *how = change
    found = plan(aim(venue, wanted, *how), venue.world(), {})
    sent = {order.instrument_id for order in found.orders}
    assert {number: tried.tries for (_, number), tried in found.memory.items()} == {
        line.instrument_id: int(line.instrument_id in sent) for line in venue.lines(wanted)
    }


@given(SHAPE, SIGN, st.integers(1, 3))
def test_a_leg_that_failed_is_opened_again_once_no_other_works(shape, sign, sets):
    ratios = structure(shape, sign)
    style = Tactics(retry_seconds=60.0, pause_seconds=1.0, opening_pause_seconds=1.0)
    venue, memory = Venue({}, None), {}

    def wake(seconds):
        nonlocal memory
        venue.now_ns += seconds * S
        lines = venue.lines(times(ratios, sets))
        found = plan(Target(lines, style, "change", ratios=ratios), venue.world(), memory)
        venue.take(found)
        memory = found.memory
        return found.orders

    wake(0)
    failed, *others = venue.live
    venue.live = list(others)
    if others:
        assert wake(5) == ()
    for order in others:
        venue.fill(order, order.leaves)
    venue.live = []
    assert failed.submitted.instrument_id in {order.instrument_id for order in wake(5)}


@given(SHAPE, SIGN, st.integers(1, 3))
def test_a_flatten_is_the_plan_that_wants_nothing(shape, sign, sets):
    held = times(structure(shape, sign), sets)
    venue = Venue(held, None)
    quotes = {number: quote(number, venue.now_ns, 4.9, 5.1) for number in PLACES.values()}
    quotes[0] = quote(0, venue.now_ns, 499.9, 500.1)
    lines = venue.lines({})
    wanted = plan(Target(lines, AT_THE_MARKET, "flattening"), venue.world(), {})
    step = Flattener(BOOK).step(venue.now_ns, lines, (), quotes, RiskLimits())
    assert step.orders == wanted.orders
    assert NEVER_NS not in wanted.due_ns


def payoff_at(held, price):
    """Return what options of one expiry pay at a price, by hand."""
    total = 0.0
    for number, units in held.items():
        contract = BOOK[number]
        away = price - float(contract.strike)
        total += 100.0 * float(units) * max(away if contract.is_call else -away, 0.0)
    return total


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(each for each in SHAPES if not any(leg.is_far for leg in SHAPES[each].legs))),
    SIGN,
    st.integers(1, 3),
    st.lists(st.floats(0.01, 8.0), min_size=5, max_size=5),
    STYLE,
    st.sampled_from([LegOrders.AUTO, LegOrders.LEGS]),
    st.sampled_from([TAKES_ALL, TAKES_LIMITS]),
    st.sampled_from([0, 30 * S]),
)
def test_no_set_is_left_for_less_than_its_payoffs_allow_but_in_a_hurry(
    shape, sign, sets, half_widths, style, leg_orders, allowed, until_ns
):
    held = times(structure(shape, sign), sets)
    venue = Venue(held, None)
    venue.half_widths = dict(zip(held, half_widths, strict=False))
    how = style, structure(shape, sign), leg_orders, until_ns, allowed
    found = plan(aim(venue, {}, *how), venue.world(), {})
    hurried = plan(aim(venue, {}, *how, is_hurried=True), venue.world(), {})
    assert hurried.orders  # a person may leave at any price
    is_open = sum(units for number, units in held.items() if BOOK[number].is_call) < 0
    if is_open or len({units > 0 for units in held.values()}) == 1:
        return  # without a bound, or each leg with a ladder of its own
    least = min(payoff_at(held, price) for price in (0, *STRIKES, 1000))
    limits = {order.instrument_id: order.limit_price for order in found.orders}
    brings = at_quotes = 0.0
    for number, units in held.items():
        seen = venue.look(number).quote
        near = seen.bid if units > 0 else seen.ask
        at_quotes += 100.0 * float(units) * near
        brings += 100.0 * float(units) * float(limits.get(number) or near)
    if found.orders:
        assert brings >= least + sets - 1e-6
        assert not found.excesses
    else:
        (excess,) = {each.legs: each for each in found.excesses}.values()
        assert float(excess.least) == pytest.approx(least)
    if at_quotes < least:
        assert not found.orders or until_ns
        assert max((each.amount for each in hurried.excesses), default=0) > 0


def test_a_set_that_waits_looks_again_after_a_pause_and_goes_once_its_quotes_allow():
    held = times(structure("vertical", -1), 1)
    venue = Venue(held, None)
    venue.half_widths = dict.fromkeys(held, 6.0)
    style, memory = Tactics(retry_seconds=2.0, pause_seconds=2.0), {}
    how = style, structure("vertical", -1), LegOrders.LEGS, 0, TAKES_ALL
    for _ in range(3):
        found = plan(aim(venue, {}, *how), venue.world(), memory)
        assert (found.orders, len(found.excesses)) == ((), 1)
        assert min(found.due_ns) == venue.now_ns + 2 * S
        assert plan(aim(venue, {}, *how), venue.world(), found.memory).due_ns == found.due_ns
        memory, venue.now_ns = found.memory, venue.now_ns + 2 * S
    venue.half_widths = {}
    assert plan(aim(venue, {}, *how), venue.world(), memory).orders


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(each for each in SHAPES if not any(leg.is_far for leg in SHAPES[each].legs))),
    SIGN,
    st.integers(1, 3),
    st.lists(st.floats(0.01, 3.0), min_size=5, max_size=5),
    st.lists(st.floats(-3.0, 3.0), min_size=40, max_size=40),
    STYLE,
)
def test_leg_by_leg_a_set_brings_no_less_in_all_than_its_payoffs_allow_but_what_is_kept(
    shape, sign, sets, half_widths, moves, style
):
    """Each leg fills at the worst that its order allows, and the quotes move before the next."""
    held = times(structure(shape, sign), sets)
    is_open = sum(units for number, units in held.items() if BOOK[number].is_call) < 0
    if is_open or len({units > 0 for units in held.values()}) == 1:
        return
    venue = Venue(held, None)
    venue.half_widths = dict(zip(held, half_widths, strict=False))
    least = min(payoff_at(held, price) for price in (0, *STRIKES, 1000))
    cash, memory = dict.fromkeys(held, 0.0), {}
    for shift in moves:
        lines = [line for line in venue.lines({}) if line.held]
        left = [
            LegLeft("", number, D(units - venue.held[number]), D(str(cash[number])))
            for number, units in held.items()
            if venue.held[number] != units
        ]
        how = Target(lines, style, "change", "", structure(shape, sign))
        found = plan(how, venue.world(left), memory)
        memory = found.memory
        for order in found.orders[:1]:  # the others do not fill
            number, side = order.instrument_id, order.side.sign
            seen = venue.look(number).quote
            price = float(order.limit_price or (seen.ask if side > 0 else seen.bid))
            venue.held[number] += side * order.quantity
            cash[number] -= side * 100.0 * float(order.quantity) * price
        venue.shift = shift
        venue.now_ns += 60 * S
    if not any(venue.held.values()):
        assert sum(cash.values()) >= least + sets - 1e-6


@given(SIGN, st.floats(0.02, 2.0))
def test_the_last_leg_of_a_spread_is_sold_at_no_less_than_what_the_others_cost_beyond_the_width(sign, over):
    ratios = structure("vertical", sign)
    (short,), (long,) = ([n for n, units in ratios.items() if (units > 0) is way] for way in (False, True))
    least = min(payoff_at(ratios, price) for price in (0, *STRIKES, 1000))
    bid = fair(long) - 0.02
    paid = -least / 100.0 + bid + over - 0.01
    left, cheaper = (
        [LegLeft("", short, D(-1), D(str(round(-100.0 * each, 2))))] for each in (paid, paid - over - 0.01)
    )
    venue = Venue({long: D(1)}, None)
    target = Target(venue.lines({}), Tactics(retry_seconds=2.0, pause_seconds=2.0), "change")
    waiting = plan(target, venue.world(left), {})
    assert (waiting.orders, len(waiting.excesses)) == ((), 1)
    assert plan(target, venue.world(), {}).orders  # alone it has no reserve
    hurried = Target(target.lines, target.tactics, "change", is_hurried=True)
    assert plan(hurried, venue.world(left), {}).orders
    (order,) = plan(target, venue.world(cheaper), {}).orders
    assert 100.0 * float(order.limit_price) + float(cheaper[0].brought) >= least + 1 - 1e-6


SHARES, HEDGES = 0, Tactics(retry_seconds=20, pause_seconds=0)
NEAR = Tactics(retry_seconds=5, pause_seconds=0, rests_near=True)


def hedged(line, live=(), *, now_ns=S, tactics=HEDGES, is_halted=False):
    """Return the plan of a hedge in shares that are quoted at 499.99 by 500.01."""
    seen = Sight(
        now_ns,
        BOOK[SHARES],
        quote(SHARES, now_ns, 499.99, 500.01),
        500.0,
        is_fine=True,
        has_no_bid=False,
        is_halted=is_halted,
    )
    return plan(Target((line,), tactics, "hedge"), World(now_ns, BOOK, lambda _: seen, tuple(live)), {})


@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 20))
def test_a_hedge_goes_into_its_interval_by_one_order_or_by_two_that_meet_at_zero(held, wanted, within):
    sent = []
    for _ in range(3):
        at = held + sum(sent)
        # once it has begun, a hedge goes on to where it was meant to end
        line = TargetLine("", SHARES, D(at), D(wanted), D(0 if sent else within), Purpose.HEDGE)
        sent += [int(order.signed_quantity) for order in hedged(line).orders]
    change = wanted - held
    assert sum(sent) == (0 if abs(change) < within else change)
    assert len(sent) <= 1 + (held * wanted < 0)
    assert all(at * (at + one) >= 0 for at, one in zip((held, held + sum(sent[:1])), sent, strict=False))


def test_a_hedge_waits_for_the_one_before_and_takes_it_off_in_time():
    line = TargetLine("", SHARES, D(0), D(-40), D(1), Purpose.HEDGE)
    (first,) = hedged(line).orders
    working = Order(first.order("o1", ""), S)
    working.state = OrderState.WORKING
    early, late = (hedged(line, [working], now_ns=S + age * S) for age in (19, 20))
    assert (early.orders, early.cancels, early.due_ns) == ((), (), (S + 20 * S,))
    assert [each.client_order_id for each in late.cancels] == ["o1"]
    working.state = OrderState.UNKNOWN
    assert (hedged(line, [working], now_ns=90 * S).orders, hedged(line, is_halted=True).orders) == ((), ())


@pytest.mark.parametrize(("wanted", "near"), [(7, "499.99"), (-7, "500.01")])
def test_a_hedge_that_may_wait_rests_at_its_own_side(wanted, near):
    (order,) = hedged(TargetLine("", SHARES, D(0), D(wanted), purpose=Purpose.HEDGE), tactics=NEAR).orders
    assert (order.limit_price, order.purpose, order.owner) == (D(near), Purpose.HEDGE, "")


@given(st.integers(-50, 50), st.integers(-50, 50))
def test_a_line_that_goes_by_itself_ends_at_zero_before_it_turns(held, change):
    line = TargetLine("one", SHARES, D(held), D(held + change), limit=D(500))
    if change:
        order = line.next_order("a folder's")
        opens = held * change >= 0
        assert order.signed_quantity == (change if opens or abs(change) <= abs(held) else -held)
        assert (order.owner, order.limit_price) == ("one", D(500))
        assert order.purpose is (Purpose.OPEN if opens else Purpose.CLOSE)
