"""Is gamma paying: the law of the answer, and its hedging costs against a second sum over the fills."""

from datetime import date, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import Side
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.portfolio.explain import BASIS, PARTS, parts_in_cents
from scalpdesk.portfolio.gamma_verdict import COSTS, GammaVerdict, gamma_verdict, loss_of, sources
from scalpdesk_testing.kit.tape import until

D = Decimal
ZERO = D(0)
CENTS = st.integers(-100_000, 100_000).map(lambda cents: D(cents) / 100)


def verdict_of(gamma, theta, hedging, entry_exit=ZERO):
    return GammaVerdict(
        gamma=gamma, theta=theta, hedging=hedging, entry_exit=entry_exit, realised_vol=None, implied_vol=0.2
    )


@given(gamma=CENTS, theta=CENTS, hedging=CENTS, entry_exit=CENTS)
def test_the_answer_is_yes_exactly_where_the_net_figure_is_above_zero(gamma, theta, hedging, entry_exit):
    paying = verdict_of(gamma, theta, hedging, entry_exit)
    told = paying.document()
    assert told["is_paying"] is (D(told["net"]) > 0)
    assert ("premium" in paying.question) is (theta > 0)  # who received theta sold gamma
    assert D(told["net"]) == D(told["gamma"]) + D(told["theta"]) + D(told["hedging"])
    assert D(told["all_in"]) == D(told["net"]) + D(told["entry_exit"])


@pytest.mark.rows(
    ("hedging", "is_paying"),
    [("-61.08", False), ("-60.38", False), ("-60.37", True), ("-72.85", False)],
)
def test_costs_of_hedging_decide(hedging, is_paying):
    """At 72.13 of gamma and -11.75 of theta; the third costs 101 % of gamma."""
    assert verdict_of(D("72.13"), D("-11.75"), D(hedging)).is_paying is is_paying


ALL_PARTS = st.fixed_dictionaries(dict.fromkeys((*PARTS, BASIS), CENTS)).map(
    lambda parts: parts | {"total": sum(parts.values())}
)


@given(ALL_PARTS)
def test_a_loss_names_the_fewest_sources_that_lost_as_much_and_no_gain_is_one(parts):
    assert sum(sources(parts).values()) == parts["total"]
    lost = loss_of(parts)
    assert (lost is not None) is (parts["total"] < 0)
    if lost is not None:
        *fewer, last = [-amount for _, amount in lost.causes]
        assert lost.amount == -parts["total"]
        assert sum(fewer) < lost.amount <= sum(fewer) + last
        assert fewer == sorted(fewer, reverse=True)
        assert max(fewer, default=last) == -min(sources(parts).values())


def test_without_an_option_there_is_no_answer():
    settings = load_settings("gamma-scalper")
    day = date(2017, 7, 3)
    tape = until(load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1), time(9, 31))
    _, engine = build_backtest(settings, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    explain = engine.desk.attribution
    assert gamma_verdict(explain, parts_in_cents(explain.totals, explain.nav_change), D("-3.00")) is None


@pytest.mark.parametrize(
    "settings",
    [("simulation.fees=alpaca",), ("simulation.fees=alpaca", "hedge.passive_seconds=20")],
)
def test_hedging_costs_are_those_of_the_shares_and_the_rest_is_entry_and_exit(settings):
    day = date(2017, 7, 3)
    loaded = load_settings(
        "gamma-scalper",
        overrides=(
            "entry.gate=off",
            "exits.close_at=10:45",
            "hedge.band_settings.risk_aversion=0.25",
            *settings,
        ),
    )
    tape = until(load_market(loaded, "embedded", underlying="SPY", start=day, end=day, seed=1), time(11))
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    paid = {True: D(0), False: D(0)}

    def watch(event):
        if isinstance(event, OrderFilled):
            sent = engine.desk.orders.orders[event.client_order_id].submitted
            contract = engine.desk.instruments[sent.instrument_id]
            signed = event.quantity if sent.side is Side.BUY else -event.quantity
            mark = D(f"{engine.desk.delta_engine.mark(sent.instrument_id):.6f}")
            over = signed * contract.multiplier * (event.price - mark)
            paid[isinstance(contract, OptionContract)] -= over + event.fee
        return handle(event)

    handle, engine.handle = engine.handle, watch
    run.runner.run()
    explain = engine.desk.attribution
    parts = parts_in_cents(explain.totals, explain.nav_change)
    paying = gamma_verdict(explain, parts, explain.sums.hedge_costs)
    assert not engine.desk.positions.held()
    assert paying.hedging == pytest.approx(paid[False], abs=D("0.005"))
    assert paying.entry_exit == pytest.approx(paid[True], abs=D("0.03"))  # each part is rounded
    assert paying.hedging + paying.entry_exit == sum(parts[name] for name in COSTS)
    assert paying.hedging < 0
    assert paying.entry_exit < 0
