"""Orders that write options at the gate: levels, margin of all legs, the stress of the whole book."""

from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause, DecisionKind, Mode
from scalpdesk.core.events import AccountLimits, PositionChanged
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.engine.margins import working_order
from scalpdesk.margin.regulation_t import LONG_OPTIONS, SPREADS, UNCOVERED
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import HandDesk, Scripted, decisions, orders, run_tape
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, model_price

D = Decimal
CASH = D(100_000)
STRIKES = (480, 490, 500, 510, 520)
CALL = {strike: 2 * at + 1 for at, strike in enumerate(STRIKES)}
PUT = {strike: 2 * at + 2 for at, strike in enumerate(STRIKES)}
WIDE = {
    "max_short_contracts": 50,
    "max_net_delta_fraction": None,
    "max_gamma_fraction": None,
    "max_vega_fraction": None,
    "max_theta_fraction": None,
    "max_bought_delta_fraction": None,
    "max_bought_gamma_fraction": None,
    "max_position_fraction": 1.0,
    "max_daily_loss_fraction": 1.0,
    "max_margin_fraction": None,
    "reduce_margin_fraction": None,
    "flatten_margin_fraction": None,
    "max_premium_fraction": 1.0,
}


def leg(number, side, quantity=1, price=None, purpose=Purpose.OPEN):
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    limit = None if price is None else D(str(price))
    return OrderIntent(number, side, D(quantity), purpose, "test", kind, limit)


def sell(number, quantity=1, price=None):
    return leg(number, Side.SELL, quantity, price)


def buy(number, quantity=1, price=None):
    return leg(number, Side.BUY, quantity, price)


@pytest.fixture
def desk():
    def build(held=None, cash=CASH, level=UNCOVERED, **limits):
        one = HandDesk(
            Scripted(triggers=[EveryQuote(0)]),
            straddle_book(*STRIKES),
            limits=RiskLimits(**{**WIDE, **limits}),
            options_level=level,
        )
        if held:
            one.adopt(held, cash=cash)
        one.open()
        one.go_to("11:00").market(500.0)
        return one

    return build


def propose(one, *intents, all_or_none=True):
    one.strategy.think = lambda _v, wake, _e: (
        (Proposal(DecisionKind.ENTRY, ("want",), {}, intents, all_or_none),) if wake is Wake.PRICE else ()
    )
    outputs = one.wait(1).quote(0, 499.99, 500.01)
    one.strategy.think = None
    return outputs


def reasons(outputs):
    return [why for one in decisions(outputs) for why in one.reasons[1:]]


def asked(one, *intents):
    """Return what the gate asks the margin model about a trade on top of the desk's book."""
    desk = one.engine.desk
    legs = [working_order(desk.instruments, each, each.quantity, one.now_ns) for each in intents]
    return desk.margins.written([], legs, one.now_ns)


def mids(one, number):
    quote = one.engine.desk.market.quotes[number]
    return D(str(quote.bid)), D(str(quote.ask))


# the margin of a trade ------------------------------------------------------------------------------


def test_a_naked_call_needs_a_fifth_of_the_price_beside_its_premium(desk):
    found = asked(desk(), sell(CALL[500]))
    assert found.refusal is None
    assert found.need == 20 * 500  # at the money: 20 % of 500 a share, 100 shares
    assert asked(desk(), sell(CALL[520])).need == 100 * (100 - 20)


def test_a_naked_straddle_needs_the_greater_side_alone(desk):
    one = desk()
    both = asked(one, sell(CALL[500]), sell(PUT[500]))
    assert both.need == 10_000
    found = asked(one, sell(CALL[510]), sell(PUT[480]))  # 100 - 10 and 100 - 20 a share
    assert found.need == 9_000


def test_an_iron_condor_needs_its_largest_loss(desk):
    one = desk(level=SPREADS)
    legs = [sell(CALL[510], 2), buy(CALL[520], 2), sell(PUT[490], 2), buy(PUT[480], 2)]
    credit = sum(
        (mids(one, each.instrument_id)[0] if each.side is Side.SELL else -mids(one, each.instrument_id)[1])
        for each in legs
    )
    found = asked(one, *legs)
    assert found.refusal is None
    assert found.need == 2 * 100 * (10 - credit)
    assert found.margin_fraction == D(2_000) / (CASH + 200 * credit)


def test_what_a_trade_writes_is_found_behind_its_purchases_and_its_shares(desk):
    margins = desk().engine.desk.margins
    shares, bought = sell(0, 100), buy(CALL[520])
    assert margins.writes([shares, bought, sell(CALL[510])])
    assert not margins.writes([shares, bought])
    assert not margins.writes([leg(CALL[510], Side.SELL, purpose=Purpose.CLOSE)])


def test_a_working_sale_leaves_less_of_its_own_option_to_sell(desk):
    one = desk(held={CALL[510]: (1, "5"), CALL[520]: (1, "5")})
    assert orders(propose(one, leg(CALL[520], Side.SELL, 1, "9.5", purpose=Purpose.CLOSE)))
    writes = one.engine.desk.margins.writes
    assert [writes([sell(CALL[strike])]) for strike in (510, 520)] == [False, True]


def test_a_covered_call_needs_nothing_and_adds_no_loss(desk):
    one = desk(held={0: (100, "500")}, cash=D(50_000), level=1)
    found = asked(one, sell(CALL[520]))
    assert (found.refusal, found.need, found.day_loss) == (None, 0, 0)
    assert [order.instrument_id for order in orders(propose(one, sell(CALL[520])))] == [CALL[520]]


def test_a_put_below_level_four_is_secured_by_its_strike(desk):
    one = desk(level=SPREADS, cash=D(60_000), held={0: (1, "500")})
    assert asked(one, sell(PUT[500], 1, 10)).need == 50_000 - 1_000
    assert reasons(propose(one, sell(PUT[500], 2))) != []


@pytest.mark.rows(
    ("level", "legs", "goes"),
    [
        (SPREADS, [sell(CALL[510])], False),
        (UNCOVERED, [sell(CALL[510])], True),
        (SPREADS, [sell(CALL[510]), buy(CALL[520])], True),
        (LONG_OPTIONS, [sell(CALL[510]), buy(CALL[520])], False),
        (SPREADS, [sell(CALL[510]), sell(PUT[490])], False),
        (SPREADS, [sell(CALL[510], 2), buy(CALL[520])], False),
        (LONG_OPTIONS, [buy(CALL[510]), buy(PUT[510])], True),
        (1, [buy(CALL[510])], False),
    ],
)
def test_the_simulated_accounts_level_is_asked_at_the_gate(desk, level, legs, goes):
    outputs = propose(desk(level=level), *legs)
    assert bool(orders(outputs)) is goes
    assert bool(reasons(outputs)) is not goes


def test_one_leg_speaks_for_all_of_a_refused_trade(desk):
    one = desk(cash=D(4_000), held={0: (1, "500")})
    outputs = propose(one, buy(CALL[520], 5), sell(CALL[490], 5), sell(PUT[490], 5), buy(PUT[480], 5))
    (why,) = [each for each in reasons(outputs) if "ties up" in each]
    assert why.startswith("sell 5 SPY")
    assert orders(outputs) == []


def test_an_own_legs_price_that_is_received_counts_nowhere_as_cash(desk):
    """After a straddle is sold its premium and its margin are both gone from what the next order may use."""
    one = desk(cash=D(12_100), held={0: (1, "500")}, level=UNCOVERED)
    for order in orders(propose(one, sell(CALL[500]), sell(PUT[500]))):
        one.fill(order)
    free = one.engine.desk.margins.figures().free
    assert 0 < free < 3_000
    assert one.engine.desk.account.cash > 12_100
    assert any("cash left" in why for why in reasons(propose(one, buy(CALL[500], 3))))


# the loss of a day ----------------------------------------------------------------------------------


def repriced(one, number, spot):
    contract = one.engine.desk.instruments[number]
    return model_price(contract, spot, one.vol, one.now_ns)


def test_a_sold_straddle_risks_what_full_pricing_says_at_four_deviations(desk):
    one = desk()
    found = asked(one, sell(CALL[500]), sell(PUT[500]))
    move = 4 * 0.20 / 252**0.5
    losses = [
        100
        * sum(
            repriced(one, each, 500 * (1 + part * move)) - repriced(one, each, 500.0)
            for each in (CALL[500], PUT[500])
        )
        for part in (-1, -0.5, 0.5, 1)
    ]
    assert float(found.day_loss) == pytest.approx(max(losses), rel=0.02)


def test_the_loss_limit_of_the_day_refuses_by_the_stress_and_never_by_the_premium(desk):
    one = desk(level=UNCOVERED)
    loss = asked(one, sell(CALL[500]), sell(PUT[500])).day_loss
    premium = 100 * (mids(one, CALL[500])[0] + mids(one, PUT[500])[0])
    assert loss < premium  # by the premium it would be refused at this limit
    just = desk(max_daily_loss=loss + 1)
    assert len(orders(propose(just, sell(CALL[500]), sell(PUT[500])))) == 2
    small = desk(max_daily_loss=loss - 1)
    assert any(
        "would_breach_daily_loss" in why for why in reasons(propose(small, sell(CALL[500]), sell(PUT[500])))
    )


def test_shares_that_an_order_before_it_sells_cover_no_call(desk):
    covered, bare = (desk(held={0: (100, "500")}, level=SPREADS) for _ in range(2))
    assert len(orders(propose(covered, sell(CALL[510])))) == 1
    shares = leg(0, Side.SELL, 100, purpose=Purpose.CLOSE)
    assert len(orders(propose(bare, shares, sell(CALL[510]), all_or_none=False))) == 1


@pytest.mark.rows("sold_first", [True, False])
@pytest.mark.rows(
    ("held", "cover", "written"),
    [
        ({CALL[520]: (1, "5")}, leg(CALL[520], Side.SELL, purpose=Purpose.CLOSE), CALL[510]),
        ({PUT[480]: (1, "5")}, leg(PUT[480], Side.SELL, purpose=Purpose.CLOSE), PUT[490]),
    ],
)
def test_what_an_exit_of_the_same_proposal_sells_covers_nothing(desk, held, cover, written, sold_first):
    """Wherever the exit stands: both may be filled."""
    one = desk(held=held, cash=D(5_000))
    legs = [cover, sell(written)]
    (order,) = orders(propose(one, *(legs if sold_first else legs[::-1]), all_or_none=False))
    assert order.purpose is Purpose.CLOSE
    assert orders(propose(desk(held=held, cash=D(5_000)), sell(written))) != []


def test_a_cover_that_is_on_its_way_out_covers_nothing_and_frees_nothing(desk):
    one = desk(held={CALL[520]: (1, "5")}, cash=D(5_000))
    propose(one, leg(CALL[520], Side.SELL, 1, "9.5", purpose=Purpose.CLOSE))
    assert any("ties up" in why for why in reasons(propose(one, sell(CALL[510]))))


def test_what_was_sold_before_counts_and_wings_take_away(desk):
    one = desk()
    alone = asked(one, sell(CALL[500])).day_loss
    winged = asked(one, sell(CALL[500]), buy(CALL[510])).day_loss
    assert winged < alone / 2
    held = desk(held={CALL[500]: (-1, "10")})
    assert float(asked(held, sell(CALL[500])).day_loss) == pytest.approx(2 * float(alone), rel=1e-6)
    assert asked(held, buy(CALL[510])).day_loss == 0


def test_the_position_is_as_large_as_its_margin(desk):
    passes = desk(max_position_fraction=0.1001)
    assert len(orders(propose(passes, sell(CALL[500])))) == 1
    assert any(
        "position_size" in why for why in reasons(propose(desk(max_position_fraction=0.09), sell(CALL[500])))
    )


def test_the_capital_of_a_book_with_sold_options_is_its_margin(desk):
    one = desk(max_capital_fraction=0.15, held={0: (1, "500")}, cash=CASH)
    for order in orders(propose(one, sell(CALL[500]))):
        one.fill(order)
    refused = reasons(propose(one, sell(CALL[510], 1)))
    assert any("of capital would be tied up" in why for why in refused)
    assert len(orders(propose(one, buy(CALL[510])))) == 1  # covers what is sold: less is tied up


def test_margin_after_the_trade_is_held_against_its_limit(desk):
    one = desk(max_margin_fraction=0.3, reduce_margin_fraction=0.6, flatten_margin_fraction=0.8)
    assert len(orders(propose(one, sell(CALL[500], 2)))) == 1
    other = desk(max_margin_fraction=0.3, reduce_margin_fraction=0.6, flatten_margin_fraction=0.8)
    assert any("maintenance margin is" in why for why in reasons(propose(other, sell(CALL[500], 4))))


# at a venue -----------------------------------------------------------------------------------------


def told(one, **changes):
    limits = AccountLimits(one.now_ns, one.now_ns, True, True, 4, D(200_000), D(50_000), (0,))
    one.handle(msgspec.structs.replace(limits, **changes))


@pytest.mark.rows(("reported", "is_sold"), [("0.29", True), ("0.31", False), (None, True)])
def test_nothing_is_sold_against_the_margin_that_the_venue_reports(desk, reported, is_sold):
    """The money may be gone already, and the model of the desk's own cash does not know it yet."""
    one = desk(max_margin_fraction=0.3, reduce_margin_fraction=0.6, flatten_margin_fraction=0.8)
    told(one, margin_fraction=None if reported is None else D(reported))
    sold = propose(one, sell(CALL[500], 1))
    assert bool(orders(sold)) is is_sold
    assert any("maintenance margin is 31%" in why for why in reasons(sold)) is not is_sold


def test_the_venues_figure_counts_less_what_was_tied_up_since(desk):
    one = desk()
    told(one, options_buying_power=D(15_000))
    assert asked(one, sell(CALL[500])).free == 15_000
    (order,) = orders(propose(one, sell(CALL[500])))
    assert any("ties up" in why for why in reasons(propose(one, sell(CALL[510]))))  # it still works
    one.fill(order)
    assert any("ties up" in why for why in reasons(propose(one, sell(CALL[510]))))
    told(one, options_buying_power=D(15_000))
    assert len(orders(propose(one, sell(CALL[510])))) == 1
    told(one, options_level=SPREADS)
    assert reasons(propose(one, sell(CALL[520]))) != []


@pytest.mark.rows(
    ("wings", "sold", "is_told", "goes"),
    [
        ((1, 1), [sell(CALL[500]), sell(PUT[500])], False, True),
        ((1, 1), [sell(CALL[500])], False, True),
        ((1, 1), [sell(CALL[500], 2)], False, False),
        ((0, 1), [sell(CALL[500])], False, False),
        ((1, 1), [sell(CALL[500]), sell(PUT[500])], True, False),  # such a venue wants it within one order
    ],
)
def test_wings_that_are_held_cover_the_rest_of_a_set_where_no_level_is_reported(
    desk, wings, sold, is_told, goes
):
    held = {CALL[510]: (wings[0], "3"), PUT[490]: (wings[1], "3")}
    one = desk(level=SPREADS, held={number: line for number, line in held.items() if line[0]})
    if is_told:
        told(one, options_level=SPREADS)
    assert bool(orders(propose(one, *sold))) is goes


# the desk's own margin ------------------------------------------------------------------------------


def test_a_desk_in_dollars_knows_its_margin_once_it_has_written(desk):
    one = desk()
    inner = one.engine.desk
    for trade in (buy(CALL[500]), leg(CALL[500], Side.SELL, purpose=Purpose.CLOSE)):
        for order in orders(propose(one, trade)):
            one.fill(order)
    assert not one.engine.desk.positions.held()
    assert (inner.is_margined, inner.margin_fraction()) == (False, None)
    for order in orders(propose(one, sell(CALL[500], 2))):
        one.fill(order)
    one.market(500.0)
    mark = D(str(round(inner.delta_engine.mark(CALL[500]), 6)))
    kept = 200 * (100 + mark)
    assert inner.margin_fraction() == pytest.approx(kept / inner.account.cash)
    told(one, margin_fraction=D("0.11"))
    assert inner.margin_fraction() == D("0.11")  # reported, not guessed


@pytest.mark.rows(("spot", "mode"), [(500, Mode.ACTIVE), (550, Mode.REDUCING), (600, Mode.FLATTENING)])
def test_a_rise_takes_a_writer_from_warning_to_reducing_to_flattening(desk, spot, mode):
    one = desk(
        max_margin_fraction=0.5, reduce_margin_fraction=0.6, flatten_margin_fraction=0.8, max_daily_loss=CASH
    )
    for order in orders(propose(one, sell(CALL[500], 4))):
        one.fill(order)
    one.wait(61).market(float(spot))
    one.timer("mark")
    assert one.engine.desk.gate.mode is mode


def test_the_rise_that_calls_a_writer_is_found_and_a_fall_calls_nobody(desk):
    one = desk()
    inner = one.engine.desk
    for order in orders(propose(one, sell(CALL[500], 2))):
        one.fill(order)
    distance = inner.margin_distance()
    assert distance.fall is None
    contract, spot = inner.instruments[CALL[500]], 500 * (1 + distance.rise)
    worth = model_price(contract, spot, one.vol, one.now_ns)
    left = float(inner.account.cash) - 200 * (0.20 * spot + worth)
    assert left == pytest.approx(0.0, abs=float(inner.account.cash) * 2e-3)
    assert f"{distance.rise:+.1%}" in distance.text(500.0)


def test_a_spread_is_never_called_and_a_bought_option_has_no_distance(desk):
    spread = desk(held={CALL[500]: (-2, "10"), CALL[510]: (2, "6")})
    spread.engine.desk.is_margined = True
    distance = spread.engine.desk.margin_distance()
    assert (distance.fall, distance.rise, distance.used) == (None, None, D(2_000) / CASH)
    bought = desk(held={CALL[500]: (2, "10")})
    bought.engine.desk.is_margined = True
    assert bought.engine.desk.margin_distance() is None


# a whole run ----------------------------------------------------------------------------------------


def rising(last):
    """Return a tape that stands at 500 for five minutes and then rises by 10 a minute."""
    spots = [500.0] * 5 + [500.0 + 10.0 * step for step in range(1, int((last - 500) / 10) + 1)]
    return TapeBuilder(straddle_book(500)).path("10:00", 60, [*spots, *[float(last)] * 5]).build()


def seller(quantity):
    """Return a strategy that sells calls once and does nothing more."""
    sent = []

    def think(view, wake, _event):
        if sent or wake is not Wake.PRICE:
            return ()
        sent.append(view.now_ns)
        return (Proposal(DecisionKind.ENTRY, ("sell",), {}, (sell(1, quantity),)),)

    return Scripted(think, triggers=[EveryQuote(0)])


def test_a_margin_call_of_the_simulated_broker_is_booked_by_the_desk_to_the_cent():
    """Six calls need 6 * 100 * (20 % of the price and their premium): at 600 more than 108,000."""
    limits = RiskLimits(**WIDE, max_daily_loss=CASH)
    run = run_tape(rising(600), seller(6), limits=limits, options_level=UNCOVERED)
    desk, account = run.engine.desk, run.broker.account
    assert int(account.quantity(1)) == int(desk.positions.quantity(1)) == -4
    assert desk.cash() == account.cash
    closed = [each for each in run.events if isinstance(each, PositionChanged)]
    assert sum(int(each.quantity_change) for each in closed) == 2
    assert all(each.cause is ChangeCause.AUTO_LIQUIDATION for each in closed)
    assert run.broker.broker.ledger.figures(account).excess >= 0


def test_a_desk_with_its_limits_leaves_before_the_broker_calls():
    limits = RiskLimits(
        **{
            **WIDE,
            "max_margin_fraction": 0.7,
            "reduce_margin_fraction": 0.75,
            "flatten_margin_fraction": 0.8,
            "max_daily_loss": CASH,
        }
    )
    run = run_tape(rising(600), seller(6), limits=limits, options_level=UNCOVERED)
    assert [each for each in run.events if isinstance(each, PositionChanged)] == []
    assert run.engine.desk.gate.mode is Mode.FLATTENING
    assert int(run.broker.account.quantity(1)) == int(run.engine.desk.positions.quantity(1)) == 0
