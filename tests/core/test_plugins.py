"""Plug-ins by name: the product's own names beside installed names, and settings by their keys."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Protocol

import msgspec
import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.plugins import Socket, configured, loaded
from scalpdesk_testing.kit.packages import install_points


class WidthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    width: float = 2.0

    def __post_init__(self):
        if self.width < 0:
            raise ConfigError("must be zero or more", where="width", value=self.width)


class CountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    looks: int = 2


class Judge(Protocol):
    def judge(self, width: float, *, again: bool = False) -> bool: ...

    async def wait(self) -> None: ...


class Width:
    Config = WidthConfig

    def __init__(self, config):
        self.config = config

    def judge(self, width, *, again=False):
        return again

    async def wait(self):
        pass


class NoJudge(Width):
    judge = None


class InheritedStub(Judge):
    async def wait(self):
        pass


class NeedsMore(Width):
    def judge(self, width, height, *, again=False):
        return again


class NotAgain(Width):
    def judge(self, width):
        return width


class DoesNotWait(Width):
    def wait(self):
        pass


class WaitsAtJudge(Width):
    async def judge(self, width, *, again=False):
        return again


class Other(Width):
    name = "near"


@dataclass(frozen=True, kw_only=True)
class JudgeSpec:
    name: str
    build: Callable[[float], Judge]
    rest: Callable[[], int] | None = None


def made_without_wait(width):
    return type("Made", (), {"judge": Width.judge})()


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    install_points(tmp_path, "widths", {"kind": {"far": f"{__name__}:Width"}})
    monkeypatch.syspath_prepend(tmp_path)


CONTRACT = f"{__name__}:Judge"


def test_names_are_the_products_own_and_those_installed_sorted():
    assert Socket("band", "hedge.band", "kind", own={"own": "", "near": ""}).names() == ("far", "near", "own")
    assert Socket("band", "hedge.band", "other", own={"near": ""}).names() == ("near",)


def test_a_plug_is_the_products_own_or_the_one_installed_under_the_name():
    own = {"near": f"{__name__}:WidthConfig"}
    socket = Socket("band", "hedge.band", "kind", CONTRACT, own=own, is_spec=False)
    for name, plug in (("near", WidthConfig), ("far", Width)):
        assert socket.find(name) is plug
    with pytest.raises(ConfigError) as caught:
        socket.find("fear")
    assert (caught.value.where, caught.value.value, caught.value.nearest) == ("hedge.band", "fear", "far")


@pytest.mark.parametrize(("settings", "width"), [({}, 2.0), ({"width": 3}, 3.0)])
def test_settings_reach_the_plug_and_the_rest_keep_their_defaults(settings, width):
    assert configured(Width, settings, kind="band", name="far", where="hedge").config.width == width


def test_a_whole_number_that_was_read_as_a_float_is_one():
    class Count(Width):
        Config = CountConfig

    assert configured(Count, {"looks": 4.0}, kind="rule", name="far", where="exits").config.looks == 4
    with pytest.raises(ConfigError, match="a setting of the rule far is wrong"):
        configured(Count, {"looks": 4.5}, kind="rule", name="far", where="exits")


@pytest.mark.rows(
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
        (
            "scalpdesk_testing.kit.desk:Scirpted",
            "AttributeError: module 'scalpdesk_testing.kit.desk' has no attribute 'Scirpted'",
        ),
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


def test_a_plug_without_settings_is_refused_before_the_run():
    with pytest.raises(ConfigError, match="the band far does not keep its contract: it has no Config"):
        configured(object(), {}, kind="band", name="far", where="hedge.band")


@pytest.mark.rows(
    ("plug", "fault"),
    [
        ("NoJudge", "judge is NoneType and is called"),
        ("InheritedStub", "it has no judge of its own"),
        ("NeedsMore", "judge(self, width, height, *, again=False) is called with (width, again=…)"),
        ("NotAgain", "judge(self, width) is called with (width, again=…)"),
        ("DoesNotWait", "wait is no coroutine"),
        ("WaitsAtJudge", "judge is a coroutine"),
        ("WidthConfig", "it has no judge; it has no wait"),
        ("Other", "its name is near"),
    ],
)
def test_a_member_that_is_missing_or_called_otherwise_is_named_at_loading(tmp_path, plug, fault):
    install_points(tmp_path, "bad-width", {"kind": {"bad": f"{__name__}:{plug}"}})
    socket = Socket("band", "hedge.band", "kind", CONTRACT, "sockets.md", is_spec=False)
    with pytest.raises(ConfigError) as caught:
        socket.find("bad")
    assert fault in caught.value.what
    assert caught.value.where == "entry point bad of kind (bad-width 0.1.0)"
    assert "docs/developing/sockets.md" in caught.value.fix
    assert socket.find("far") is Width
    problems = {each.name: each.problem for each in socket.members()}
    assert problems["far"] is None
    assert fault in problems["bad"].what


WHOLE = JudgeSpec(name="whole", build=Width)
NO_ARGUMENT = JudgeSpec(name="no-argument", build=lambda: Width(None))
LATE = JudgeSpec(name="late", build=made_without_wait)
NUMBER = JudgeSpec(name="number", build=Width, rest=7)
PARTIAL = JudgeSpec(name="partial", build=DoesNotWait)


def test_what_a_spec_builds_is_checked_with_its_arguments(tmp_path):
    names = {"whole": "WHOLE", "no-argument": "NO_ARGUMENT", "late": "LATE", "number": "NUMBER"}
    names |= {"partial": "PARTIAL", "none": "Width"}
    install_points(
        tmp_path, "specs", {"specs": {name: f"{__name__}:{where}" for name, where in names.items()}}
    )
    socket = Socket("judge", "judge", "specs", f"{__name__}:JudgeSpec")
    assert isinstance(socket.find("whole").build(1.0), Width)
    for name, fault in (
        ("no-argument", "build() is called with (float)"),
        ("number", "rest is int and is called"),
        ("partial", "DoesNotWait: wait is no coroutine"),
        ("none", "not of the type JudgeSpec"),
    ):
        with pytest.raises(ConfigError) as caught:
            socket.find(name)
        assert fault in caught.value.what
    late = socket.find("late")
    with pytest.raises(ConfigError, match="it has no wait"):
        late.build(1.0)


def test_two_packages_of_one_name_are_refused_with_both(tmp_path):
    install_points(tmp_path, "other-widths", {"kind": {"far": f"{__name__}:Width"}})
    with pytest.raises(ConfigError, match=r"other-widths 0\.1\.0, widths 0\.1\.0"):
        Socket("band", "hedge.band", "kind", CONTRACT, is_spec=False).find("far")


def test_a_package_that_ends_the_program_on_import_is_refused(tmp_path):
    (tmp_path / "ends_at_once.py").write_text("raise SystemExit(3)\n")
    install_points(tmp_path, "ends", {"kind": {"ends": "ends_at_once:PLUG"}})
    with pytest.raises(ConfigError, match="SystemExit"):
        Socket("band", "hedge.band", "kind", CONTRACT, is_spec=False).find("ends")
