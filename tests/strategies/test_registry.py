from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.sockets import STRATEGIES
from scalpdesk.instruments.contract import Index, Instruments
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.strategies import contract
from scalpdesk.strategies.contract import Proposal
from scalpdesk.strategies.gamma_scalper import PLUG
from scalpdesk.strategies.registry import find_strategy, strategy_names
from scalpdesk_testing.kit.desk import HandDesk, Scripted, orders
from scalpdesk_testing.kit.packages import install_points


def test_a_strategy_is_found_by_the_name_of_its_module():
    assert find_strategy("gamma-scalper") is PLUG
    assert find_strategy("gamma_scalper") is PLUG
    assert PLUG.name == "gamma-scalper"


def test_a_label_makes_another_strategy_of_the_same_kind():
    spec = find_strategy("gamma_scalping@wings")
    assert (spec.name, spec.config) == ("gamma-scalper@wings", PLUG.config)
    assert spec.build(PLUG.config()).name == "gamma-scalper@wings"
    both = find_strategy("gamma-scalper@a+gamma-scalper@b")
    assert both.members == ("gamma-scalper@a", "gamma-scalper@b")


@pytest.mark.parametrize("name", ["gamma-scalper@", "gamma-scalper@a b", "hybrid@a", "gamma-scalper@a@b"])
def test_a_label_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match="label"):
        find_strategy(name)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that brings a strategy."""

    def with_point(name, target):
        install_points(tmp_path, "a-package", {STRATEGIES.group: {name: target}})
        monkeypatch.syspath_prepend(tmp_path)

    return with_point


def test_the_names_are_the_products_own_and_those_of_plug_ins(install):
    install("scripted", "scalpdesk_testing.kit.desk:Scripted")
    names = strategy_names()
    assert {"gamma-scalper", "scripted"} <= set(names)
    assert "base" not in names
    assert list(names) == sorted(names)
    spec = find_strategy("scripted")  # a class, as plug-ins exported before specs
    assert (spec.name, spec.config) == (Scripted.name, Scripted.Config)
    assert isinstance(spec.build(Scripted.Config()), Scripted)


class Unfinished:
    """A strategy of a package that lacks a method."""

    name = "my-scalper"
    Config = type(None)

    def start(self, view):
        return ()


class OtherArguments:
    """A strategy of a package whose method takes one argument less."""

    name = "my-scalper"
    Config = type(None)

    def __init__(self, config):
        pass

    def start(self, view):
        return ()

    def on_wake(self, view, event):
        return ()


class NoSettings(OtherArguments):
    def __init__(self):
        pass

    def on_wake(self, view, wake, event):
        return ()


NOT_SPEC = {"name": "unfinished"}


@pytest.mark.parametrize(
    ("attribute", "what"),
    [
        ("Unfinished", "the strategy my-scalper does not keep its contract: .*Unfinished: it has no on_wake"),
        ("NOT_SPEC", "the entry point is not of the type StrategySpec"),
        (
            "OtherArguments",
            r"OtherArguments: on_wake\(self, view, event\) is called with \(view, wake, event\)",
        ),
        ("NoSettings", r"build\(\) is called with \(any\)"),
        ("Absent", "cannot be loaded: AttributeError"),
    ],
)
def test_a_strategy_of_a_package_that_is_none_is_refused_by_its_entry_point(install, attribute, what):
    install("my-scalper", f"{__name__}:{attribute}")
    with pytest.raises(ConfigError, match=what) as caught:
        find_strategy("my-scalper")
    assert caught.value.where.startswith("entry point my")


def test_a_strategy_of_a_package_goes_by_one_name(install):
    install("my-scalper", "scalpdesk_testing.kit.desk:Scripted")
    for name in ("my-scalper", "my-scalper+gamma-scalper"):
        with pytest.raises(ConfigError, match="its name is scripted"):
            find_strategy(name)


@pytest.mark.parametrize(("name", "nearest"), [("gama-scalper", "gamma-scalper"), ("base", None)])
def test_a_strategy_that_is_not_there_names_the_nearest(name, nearest):
    with pytest.raises(ConfigError, match="no strategy of this name") as caught:
        find_strategy(name)
    assert caught.value.nearest == nearest
    assert "gamma-scalper" in caught.value.fix


def test_exposure_is_what_is_held_and_what_is_on_its_way():
    def think(view, wake, event):
        if view.orders.live:
            return ()
        intent = OrderIntent(0, Side.SELL, Decimal(7), Purpose.HEDGE, "")
        return (Proposal(DecisionKind.HEDGE, ("because",), {}, (intent,)),)

    desk = HandDesk(Scripted(think, [EveryQuote(0)]))
    desk.open()
    desk.adopt({0: (30, "500")})
    desk.go_to("10:00")
    order = orders(desk.quote(0, 499.99, 500.01))[0]
    assert desk.engine.desk.view.exposure(0) == 23
    desk.engine.strategy.think = None
    desk.fill(order, 3)
    assert desk.engine.desk.view.exposure(0) == 23
    desk.cancelled(order.client_order_id)
    assert desk.engine.desk.view.exposure(0) == 27


@pytest.mark.parametrize(("configured", "by_class"), [("QQQ", True), ("SPXW", True), ("QQQ", False)])
def test_a_run_on_another_underlying_is_refused_by_the_strategys_key(configured, by_class):
    view = HandDesk(Scripted()).engine.desk.view
    assert contract.traded_symbol(view, "SPY", "some") == "SPY"
    with pytest.raises(ConfigError, match="another underlying") as caught:
        contract.traded_symbol(view, configured, "some", by_class=by_class)
    assert (caught.value.where, caught.value.nearest) == ("strategies.some.underlying", "SPY")


def test_a_class_of_index_options_stands_for_its_index_where_that_is_meant():
    view = HandDesk(Scripted(), Instruments([Index("SPX")])).engine.desk.view
    assert contract.traded_symbol(view, "SPXW", "some") == "SPX"
    with pytest.raises(ConfigError, match="another underlying"):
        contract.traded_symbol(view, "SPXW", "some", by_class=False)
