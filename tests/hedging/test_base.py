import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import HEDGE_BANDS
from scalpdesk.hedging.bands.fixed import FixedBand
from scalpdesk.hedging.base import make_band
from scalpdesk_testing.kit.packages import install_points


def test_every_band_is_made_by_its_modules_name():
    names = HEDGE_BANDS.names()
    assert {"fixed", "time_based", "leland", "whalley_wilmott", "zakamouline"} <= set(names)
    for name in names:
        assert make_band(name).name == name


def test_settings_reach_the_band():
    band = make_band("whalley_wilmott", {"risk_aversion": 0.5, "cap_fraction": 0.1})
    assert band.config.risk_aversion == 0.5
    assert band.config.cap_fraction == 0.1


@pytest.mark.rows(
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


class Elsewhere(FixedBand):
    name = "elsewhere"


def test_a_band_of_an_installed_package_is_found(tmp_path, monkeypatch):
    install_points(tmp_path, "bands", {HEDGE_BANDS.group: {"elsewhere": f"{__name__}:Elsewhere"}})
    monkeypatch.syspath_prepend(tmp_path)
    assert "elsewhere" in HEDGE_BANDS.names()
    assert isinstance(make_band("elsewhere", {"threshold": 1.0}), Elsewhere)
