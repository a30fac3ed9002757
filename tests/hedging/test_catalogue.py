import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.hedging.catalogue import band_names, make_band


def test_every_band_is_made_by_its_modules_name():
    names = band_names()
    assert {"fixed", "time_based", "leland", "whalley_wilmott", "zakamouline"} <= set(names)
    for name in names:
        assert make_band(name).name == name


def test_settings_reach_the_band():
    band = make_band("whalley_wilmott", {"risk_aversion": 0.5, "limits": {"cap_fraction": 0.1}})
    assert band.config.risk_aversion == 0.5
    assert band.config.limits.cap_fraction == 0.1


@pytest.mark.parametrize(
    ("name", "settings", "nearest", "where"),
    [
        ("fixd", {}, "fixed", "hedge.band"),
        ("fixed", {"treshold": 1.0}, "threshold", "hedge.band"),
        ("fixed", {"threshold": "wide"}, None, "hedge.band"),
        ("fixed", {"rehedge_to": "middle"}, None, "hedge.band"),
        ("fixed", {"threshold": -1.0}, None, "hedge.band.threshold"),
        ("zakamouline", {"limits": {"flor": 1.0}}, None, "hedge.band"),
    ],
)
def test_what_is_wrong_is_named(name, settings, nearest, where):
    with pytest.raises(ConfigError) as refusal:
        make_band(name, settings)
    assert refusal.value.nearest == nearest
    assert refusal.value.where == where
