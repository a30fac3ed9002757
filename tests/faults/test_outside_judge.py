"""A desk that is broken on purpose is caught by the judge that sees the venue alone; a sound one is not."""

import ast
import inspect
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.hedging.sizing import quantity_to_target
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks
from scalpdesk.strategies import Proposal
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit import hedger
from scalpdesk_testing import outside_judge
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.market import DAYS, SHARE, SmallMarket
from scalpdesk_testing.outside_judge import implied, price_and_delta
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.small_desk import SMALL_PLAN, small_engine

DECIDES = (
    "closing",
    "engine",
    "entry",
    "hedging",
    "portfolio",
    "pricing",
    "risk",
    "strategies",
    "volatility",
)
WILD = {"seconds": 255, "move": 0.25}
SCHEDULE = quiet_schedule(4, heal_at=20.0, seconds=255)


def laws(outcome):
    """Return the names of the judge's laws that were broken."""
    return {
        each.invariant.removeprefix("18 ") for each in outcome.violations if each.invariant.startswith("18 ")
    }


def market(**terms):
    return SmallMarket(4, DAYS[0], seconds=255, **terms)


def told(**changes):
    """Return the plan with other settings of the hedge."""
    config = SMALL_PLAN.config
    return replace(SMALL_PLAN, config=structs.replace(config, hedge=structs.replace(config.hedge, **changes)))


class Doubled(SmallMarket):
    """A market whose implied volatility is twice as high after a minute."""

    def implied_vol(self, at_ns):
        return 0.20 if at_ns < self.start_ns + 60 * 10**9 else 0.40


class OtherDesk(AlpacaTrial):
    """A trial whose desk goes by another plan than the one that it was told."""

    goes_by = SMALL_PLAN

    def fresh_engine(self):
        return small_engine(self.market.instruments, f"t{self.schedule.seed}", self.goes_by)


@pytest.mark.parametrize("delta_vol", ["entry", "implied"])
def test_a_sound_desk_is_judged_for_most_of_a_quiet_day_and_not_blamed(tmp_path, delta_vol):
    trial = AlpacaTrial(SCHEDULE, tmp_path, plan=told(delta_vol=delta_vol), market=market(is_vol_moving=True))
    outcome = trial.run()
    assert outcome.violations == []
    assert outcome.seconds_judged > 100
    assert outcome.seconds_outside <= 5


def test_hedges_of_the_wrong_sign(tmp_path, monkeypatch):
    monkeypatch.setattr(hedger, "quantity_to_target", lambda net, target: -quantity_to_target(net, target))
    assert "order_wanted" in laws(AlpacaTrial(SCHEDULE, tmp_path).run())


def test_hedges_at_a_stale_volatility(tmp_path, monkeypatch):
    first = {}
    sound = DeltaModel.vol
    monkeypatch.setattr(
        DeltaModel, "vol", lambda self, leg, *seen: first.setdefault(leg, sound(self, leg, *seen) / 2)
    )
    assert "order_wanted" in laws(AlpacaTrial(SCHEDULE, tmp_path).run())


def test_hedges_at_the_entrys_volatility_where_the_markets_was_told(tmp_path):
    """The share moves by three times as much, down, and its volatility doubles after a minute."""
    plan = told(delta_vol="implied")
    trials = [AlpacaTrial(SCHEDULE, tmp_path / "a", plan=told(), market=Doubled(2, DAYS[0], **WILD))]
    trials += [AlpacaTrial(SCHEDULE, tmp_path / "c", plan=plan, market=Doubled(2, DAYS[0], **WILD))]
    assert not set().union(*(laws(trial.run()) for trial in trials))
    wild = Doubled(2, DAYS[0], **WILD)
    outcome = OtherDesk(SCHEDULE, tmp_path / "b", plan=plan, market=wild).run()
    assert laws(outcome) & {"order_wanted", "hedge_due"}


def test_a_delta_that_nothing_hedges(tmp_path, monkeypatch):
    monkeypatch.setattr(hedger, "quantity_to_target", lambda _net, _target: 0)
    assert laws(AlpacaTrial(SCHEDULE, tmp_path).run()) >= {"hedge_due"}


def test_an_exit_that_is_not_made(tmp_path):
    exits = structs.replace(SMALL_PLAN.config.exits, flat_minutes_before_close=None)
    trial = OtherDesk(SCHEDULE, tmp_path)
    trial.goes_by = replace(SMALL_PLAN, config=structs.replace(SMALL_PLAN.config, exits=exits))
    trial.engine = trial.scene.engine = trial.fresh_engine()
    trial.conduct.begin_life()
    assert "exit_due" in laws(trial.run())


@pytest.mark.parametrize(
    ("number", "side", "quantity", "purpose"),
    [
        (SHARE, Side.BUY, 9, Purpose.HEDGE),
        (SHARE, Side.SELL, 25, Purpose.HEDGE),
        (1, Side.SELL, 1, Purpose.CLOSE),
    ],
)
def test_an_order_that_nobody_wanted(tmp_path, monkeypatch, number, side, quantity, purpose):
    sound, done = GammaScalper.on_wake, []

    def on_wake(self, view, wake, event):
        actions = [*sound(self, view, wake, event)]
        seconds = (view.now_ns - view.session.open_ns) / 1e9 if view.session else 0.0
        if seconds > 60.0 and not done and not view.orders.live:
            done.append(seconds)
            intent = OrderIntent(number, side, Decimal(quantity), purpose, "none")
            actions.append(Proposal(DecisionKind.HEDGE, ("none",), {}, (intent,)))
        return actions

    monkeypatch.setattr(GammaScalper, "on_wake", on_wake)
    assert "order_wanted" in laws(AlpacaTrial(SCHEDULE, tmp_path).run())
    assert done


def test_an_entry_that_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr(GammaScalper, "on_wake", lambda *_: ())
    assert laws(AlpacaTrial(SCHEDULE, tmp_path).run()) == {"entry_due"}


def test_the_judge_knows_no_code_that_decides():
    tree = ast.parse(inspect.getsource(outside_judge))
    known = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in known if name.split(".")[1:2] and name.split(".")[1] in DECIDES]
    assert {name.split(".")[0] for name in known} <= {
        "collections", "decimal", "itertools", "scalpdesk", "typing"
    }  # fmt: skip


TERMS = {
    "spot": st.floats(80.0, 120.0),
    "years": st.floats(0.002, 1.0),
    "vol": st.floats(0.05, 1.5),
    "is_call": st.booleans(),
}


@given(**TERMS)
def test_the_judges_formulas_are_those_of_the_field(spot, years, vol, is_call):
    price, delta = price_and_delta(spot, 100.0, years, vol, is_call=is_call)
    theirs = option_greeks(spot, 100.0, years, vol, is_call, 0.0, american=False)
    assert price == pytest.approx(theirs.price, abs=1e-8)
    assert delta == pytest.approx(theirs.delta, abs=1e-8)
    found = implied(price, spot, 100.0, years, is_call=is_call)
    known, status = implied_vol_scalar(price, spot, 100.0, years, is_call, american=False)
    if found is not None and status == "ok" and theirs.vega > 0.05:
        assert found == pytest.approx(known, abs=1e-4)
        assert found == pytest.approx(vol, abs=1e-4)
