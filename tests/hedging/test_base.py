import pytest

from scalpdesk.core import plugins
from scalpdesk.core.errors import ConfigError
from scalpdesk.hedging.bands.fixed import FixedBand
from scalpdesk.hedging.base import BANDS, make_band


def test_every_band_is_made_by_its_modules_name():
    names = BANDS.names()
    assert {"fixed", "time_based", "leland", "whalley_wilmott", "zakamouline"} <= set(names)
    for name in names:
        assert make_band(name).name == name


def test_settings_reach_the_band():
    band = make_band("whalley_wilmott", {"risk_aversion": 0.5, "cap_fraction": 0.1})
    assert band.config.risk_aversion == 0.5
    assert band.config.cap_fraction == 0.1


@pytest.mark.parametrize(
    ("name", "settings", "nearest", "where"),
    [
        ("fixd", {}, "fixed", "hedge.band"),
        ("fixed", {"treshold": 1.0}, "threshold", "hedge.band"),
        ("fixed", {"threshold": "wide"}, None, "hedge.band"),
        ("fixed", {"rehedge_to": "middle"}, None, "hedge.band"),
        ("fixed", {"threshold": -1.0}, None, "hedge.band.threshold"),
        ("zakamouline", {"cap_fracton": 1.0}, "cap_fraction", "hedge.band"),
        ("zakamouline", {"cap_fraction": 2.0}, None, "hedge.band.cap_fraction"),
    ],
)
def test_what_is_wrong_is_named(name, settings, nearest, where):
    with pytest.raises(ConfigError) as refusal:
        make_band(name, settings)
    assert refusal.value.nearest == nearest
    assert refusal.value.where == where


def test_a_band_of_an_installed_package_is_found(monkeypatch):
    class Elsewhere(FixedBand):
        name = "elsewhere"

    class Point:
        name = "elsewhere"

        def load(self):
            return Elsewhere

    monkeypatch.setattr(plugins, "entry_points", lambda **asked: [Point()])
    assert "elsewhere" in BANDS.names()
    assert isinstance(make_band("elsewhere", {"threshold": 1.0}), Elsewhere)
