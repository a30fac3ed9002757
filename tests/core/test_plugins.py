"""Plug-ins by name: the product's own names beside installed names, and settings by their keys."""

from importlib.metadata import EntryPoint

import msgspec
import pytest

from scalpdesk.core import plugins
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.plugins import Plugs, configured, loaded


class WidthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    width: float = 2.0

    def __post_init__(self):
        if self.width < 0:
            raise ConfigError("must be zero or more", where="width", value=self.width)


class CountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    looks: int = 2


class Width:
    Config = WidthConfig

    def __init__(self, config):
        self.config = config


class Point:
    name = "far"

    def load(self):
        return Width


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    def entry_points(group, name="far"):
        return [Point()] if (group, name) == ("kind", "far") else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def test_names_are_the_products_own_and_those_installed_sorted():
    assert Plugs("band", "hedge.band", "kind", {"own": "", "near": ""}).names() == ("far", "near", "own")
    assert Plugs("band", "hedge.band", "other", {"near": ""}).names() == ("near",)


def test_a_plug_is_the_products_own_or_the_one_installed_under_the_name():
    own = {"near": f"{__name__}:WidthConfig"}
    for name, plug in (("near", WidthConfig), ("far", Width)):
        assert Plugs("band", "hedge.band", "kind", own).find(name) is plug
    with pytest.raises(ConfigError) as caught:
        Plugs("band", "hedge.band", own=own).find("fear")
    assert (caught.value.where, caught.value.value, caught.value.nearest) == ("hedge.band", "fear", "near")


@pytest.mark.parametrize(("settings", "width"), [({}, 2.0), ({"width": 3}, 3.0)])
def test_settings_reach_the_plug_and_the_rest_keep_their_defaults(settings, width):
    assert configured(Width, settings, kind="band", name="far", where="hedge").config.width == width


def test_a_whole_number_that_was_read_as_a_float_is_one():
    class Count(Width):
        Config = CountConfig

    assert configured(Count, {"looks": 4.0}, kind="rule", name="far", where="exits").config.looks == 4
    with pytest.raises(ConfigError, match="a setting of the rule far is wrong"):
        configured(Count, {"looks": 4.5}, kind="rule", name="far", where="exits")


@pytest.mark.parametrize(
    ("settings", "what", "where", "nearest"),
    [
        ({"widht": 1.0}, "the band far has no setting of this name", "hedge", "width"),
        ({"width": "wide"}, "a setting of the band far is wrong", "hedge", None),
        ({"width": -1.0}, "must be zero or more", "hedge.width", None),
    ],
)
def test_a_wrong_setting_is_refused_with_its_path(settings, what, where, nearest):
    with pytest.raises(ConfigError, match=what) as caught:
        configured(Width, settings, kind="band", name="far", where="hedge")
    assert (caught.value.where, caught.value.nearest) == (where, nearest)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("desk_extras_absent:PLUG", "ModuleNotFoundError: No module named 'desk_extras_absent'"),
        ("fakes.desk:Scirpted", "AttributeError: module 'fakes.desk' has no attribute 'Scirpted'"),
    ],
)
def test_a_plug_that_cannot_be_loaded_is_refused_with_its_entry_point(target, what):
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        loaded(EntryPoint("far", target, "scalpdesk.hedge_bands"))
    assert caught.value.what.endswith(what)
    assert (caught.value.where, caught.value.value) == (
        "entry point far of scalpdesk.hedge_bands",
        target,
    )


def test_a_plug_without_a_member_of_its_contract_is_refused_before_the_run():
    with pytest.raises(
        ConfigError, match="the band far does not keep its contract: it has no judge"
    ) as caught:
        configured(Width, {}, kind="band", name="far", where="hedge.band", contract=("judge",))
    assert (caught.value.where, caught.value.value) == ("hedge.band", "Width")
    with pytest.raises(ConfigError, match="it has no Config, no judge"):
        configured(object(), {}, kind="band", name="far", where="hedge.band", contract=("judge",))
