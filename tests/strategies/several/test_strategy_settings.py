"""Settings of several strategies: each reads its own section, and a journal alone rebuilds them."""

from decimal import Decimal

import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.strategies.registry import find_strategy, member_names

BOTH = "st0cka+gamma-scalper"
D = Decimal


def load(tmp_path, *overrides, text=""):
    (tmp_path / "scalpdesk.toml").write_text(text)
    return load_settings(BOTH, overrides=overrides, cwd=tmp_path)


def test_each_reads_its_own_section(tmp_path):
    text = "[strategies.st0cka]\nposition_size_max = 5\n[strategies.gamma-scalper]\nstraddles = 2\n"
    found = load(tmp_path, text=text)
    assert found.strategy == BOTH
    assert found.strategy_config.members["st0cka"].position_size_max == 5
    assert found.strategy_config.members["gamma-scalper"].straddles == 2
    assert found.strategy_config.budgets == {"st0cka": D("0.5"), "gamma-scalper": D("0.5")}


def test_a_key_goes_to_whom_it_names_or_to_all_that_have_it(tmp_path):
    found = load(
        tmp_path,
        "underlying=QQQ",
        "straddles=3",
        "st0cka.mode=resume",
        "gamma_scalping.entry.gate=off",
        "strategies.st0cka.stop_usd=0.2",
        "simulation.seed=4",
    ).strategy_config
    st0cka, scalper = found.members["st0cka"], found.members["gamma-scalper"]
    assert (st0cka.underlying, scalper.underlying, found.underlying) == ("QQQ", "QQQ", "QQQ")
    assert (st0cka.mode, scalper.mode) == ("resume", "init")
    assert (scalper.straddles, scalper.entry.gate, st0cka.stop_usd) == (3, "off", D("0.2"))
    assert find_strategy(BOTH).expiry_days(found) == (scalper.selection.min_expiration_days, 90)


def test_an_unknown_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown configuration key"):
        load(tmp_path, "stradles=3")


def test_budgets_by_name_and_who_adopts(tmp_path):
    text = '[budgets]\nadopts = "gamma-scalper"\n[budgets.fractions]\nst0cka = 0.25\nst0ckg = 0.9\n'
    found = load(tmp_path, text=text).strategy_config
    assert found.budgets == {"st0cka": D("0.25"), "gamma-scalper": D("0.75")}
    assert found.adopts == ("gamma-scalper",)


def test_budgets_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="share of the equity") as caught:
        load(tmp_path, "budgets.fractions.st0cka=1.2")
    assert caught.value.where == "budgets.fractions.st0cka"
    with pytest.raises(ConfigError, match="shares of the equity") as caught:
        load(tmp_path, "budgets.fractions.st0cka=0.7", "budgets.fractions.gamma-scalper=0.7")
    assert caught.value.where == "budgets.fractions"


def test_the_hash_counts_budgets_only_where_they_count(tmp_path):
    alone = load_settings("st0cka", cwd=tmp_path).config_hash
    assert (
        load_settings("st0cka", overrides=["budgets.fractions.st0cka=0.5"], cwd=tmp_path).config_hash == alone
    )
    both = load(tmp_path).config_hash
    assert both != alone
    assert load(tmp_path, "budgets.fractions.st0cka=0.6").config_hash != both
    assert load(tmp_path, "strategies.st0cka.stop_usd=0.2").config_hash != both
    assert load(tmp_path, "strategies.st0ckg.volume_sessions=3").config_hash == both


def test_the_members_of_a_name():
    assert member_names(BOTH) == ("st0cka", "gamma-scalper")
    assert member_names("gamma_scalping") == ("gamma-scalper",)


@pytest.mark.parametrize(
    ("overrides", "seconds"),
    [
        ((), (900.0, 900.0)),
        (("gex.max_age_seconds=3600",), (3600.0, 3600.0)),
        (("gex.max_age_seconds=3600", "hedge.gex_max_age_seconds=60"), (3600.0, 60.0)),
        (("hedge.gex_max_age_seconds=60",), (900.0, 60.0)),
        (("gex.max_age_seconds=1e9",), (1e9, 86_400.0)),  # no hedge takes more than a day
    ],
)
@pytest.mark.parametrize("strategy", ["zero-dte", "st0cka+zero-dte"])
def test_the_age_of_dealer_gamma_is_one_setting_and_its_former_name_still_works(
    tmp_path, strategy, overrides, seconds
):
    """At 50 minutes the source knew a value that the hedge took for unknown, though 3600 s were allowed."""
    found = load_settings(strategy, overrides=overrides, cwd=tmp_path)
    own = found.effective()["strategies"]["zero-dte"]["hedge"]["gex_max_age_seconds"]
    assert (found.config.gex.max_age_seconds, own) == seconds
    if not overrides:
        assert found.sources["strategies.zero-dte.hedge.gex_max_age_seconds"] == "default"


@pytest.mark.parametrize(
    ("overrides", "seconds"),
    [
        (("hedge.band=regime_threshold",), 900.0),
        (("hedge.band=regime_threshold", "gex.max_age_seconds=3600"), 3600.0),
        (
            (
                "hedge.band=regime_threshold",
                "gex.max_age_seconds=3600",
                "hedge.band_settings.gex_max_age_seconds=60",
            ),
            60.0,
        ),
    ],
)
def test_the_age_of_dealer_gamma_holds_for_the_band_of_the_gamma_scalper(tmp_path, overrides, seconds):
    hedge = load_settings("gamma-scalper", overrides=overrides, cwd=tmp_path).strategy_config.hedge
    assert hedge.make_band().config.gex_max_age_seconds == seconds


def test_the_age_of_dealer_gamma_is_no_setting_of_another_band(tmp_path):
    found = load_settings("gamma-scalper", overrides=("gex.max_age_seconds=3600",), cwd=tmp_path)
    assert found.strategy_config.hedge.band_settings == {}


@pytest.mark.parametrize("value", ["nan", "-1", "soon"])
def test_an_age_of_dealer_gamma_that_is_none_is_refused_by_the_name_that_was_set(tmp_path, value):
    with pytest.raises(ConfigError) as refused:
        load_settings("zero-dte", overrides=(f"gex.max_age_seconds={value}",), cwd=tmp_path)
    assert "gex.max_age_seconds" in refused.value.render()
    assert "hedge" not in refused.value.render()
