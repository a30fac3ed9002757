import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.hedging.bands.fixed import DEFAULT_PART
from scalpdesk.hedging.base import make_band
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.toolkit.exits import ExitConfig


def test_the_defaults_are_the_published_bots():
    config = GammaScalperConfig()
    assert (config.underlying, config.straddles) == ("SPY", 1)
    assert make_band("fixed").config.threshold is None
    assert 100 * DEFAULT_PART == 2.0
    assert (config.triggers.price_change_usd, config.triggers.heartbeat_seconds) == (0.05, 5.0)
    assert (config.selection.min_expiration_days, config.selection.max_expiration_days) == (30, 90)


def test_the_default_band_is_whalley_wilmotts_unless_a_threshold_is_given():
    assert HedgeConfig().make_band().name == "whalley_wilmott"
    assert HedgeConfig(band_settings={"risk_aversion": 0.01}).make_band().config.risk_aversion == 0.01
    assert HedgeConfig(threshold_shares=1.7).make_band().config.threshold == 1.7
    assert HedgeConfig(band="whalley_wilmott", threshold_shares=1.7).make_band().name == "whalley_wilmott"


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda: EntryConfig(not_before="nine"), "entry.not_before"),
        (lambda: EntryConfig(not_after="25:00"), "entry.not_after"),
        (lambda: HedgeConfig(delta_vol="fixed"), "hedge.fixed_vol"),
        (lambda: HedgeConfig(delta_vol="fixed", fixed_vol=-0.1), "hedge.fixed_vol"),
        (lambda: GammaScalperConfig(straddles=0), "straddles"),
        (lambda: GammaScalperConfig(exits=ExitConfig(min_dte=30)), "exits.min_dte"),
        (
            lambda: SelectionConfig(min_expiration_days=30, max_expiration_days=29),
            "selection.max_expiration_days",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(build, where):
    with pytest.raises(ConfigError) as caught:
        build()
    assert caught.value.where == where


def test_holding_into_expiry_is_a_choice():
    config = GammaScalperConfig(
        selection=SelectionConfig(min_expiration_days=0), exits=ExitConfig(min_dte=None)
    )
    assert config.exits.min_dte is None
