"""Names, flags and defaults that earlier programs had for a strategy."""

import json
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.cli.strategy_choice import choose_strategy, flag_settings
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.strategies.registry import canonical_name, find_strategy
from scalpdesk.venues.registry import find_venue


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Start in an empty folder with none of the names set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATEGY_MODE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


ENV_OF_THE_SEED = """\
# Essential settings
IS_PAPER_TRADING=true
ST0CKAKEY=your_alpaca_api_key
ST0CKASECRET=your_alpaca_secret
ST0CKGKEY=another_key
ST0CKGSECRET=another_secret
STRATEGY_MODE=st0cka
"""


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("gamma_scalping", "gamma-scalper"),
        ("gamma_scalper", "gamma-scalper"),
        ("gamma-scalper", "gamma-scalper"),
        ("st0cka", "st0cka"),
        ("ST0CKA", "st0cka"),
        ("st0ckg", "st0ckg"),
    ],
)
def test_an_earlier_name_finds_its_strategy(given, name):
    assert canonical_name(given) == name
    assert find_strategy(given) is find_strategy(name)
    assert load_settings(given).strategy == name


def test_the_env_file_of_the_seed_chooses_the_strategy_and_its_account(tmp_path):
    (tmp_path / ".env").write_text(ENV_OF_THE_SEED)
    (tmp_path / ".env").chmod(0o600)
    assert choose_strategy(None, None) == "st0cka"
    assert choose_strategy("gamma_scalping", None) == "gamma-scalper"
    keys = load_settings("st0cka", cwd=tmp_path).venue_keys()
    assert [one.reveal() for one in keys] == ["your_alpaca_api_key", "your_alpaca_secret"]
    keys = load_settings("st0ckg", cwd=tmp_path).venue_keys()
    assert [one.reveal() for one in keys] == ["another_key", "another_secret"]
    assert load_settings("gamma-scalper", cwd=tmp_path).venue_keys() is None


@pytest.mark.parametrize("strategy", ["st0cka", "gamma-scalper", "hybrid", "st0ckg"])
def test_the_keys_of_st0cka_open_the_account_at_alpaca_for_each_that_has_none(tmp_path, strategy):
    alpaca = find_venue("alpaca").other_keys
    st0cka = {"ST0CKAKEY": "k", "ST0CKASECRET": "s"}
    settings = load_settings(strategy, environ=st0cka, cwd=tmp_path)
    assert [one.reveal() for one in settings.venue_keys(alpaca)] == ["k", "s"]
    assert settings.keys_taken(find_venue("deribit").other_keys) == (
        ("st0cka_key", "st0cka_secret") if strategy == "st0cka" else None
    )
    common = {"TRADING_API_KEY": "c", "TRADING_API_SECRET": "t"}
    both = load_settings(strategy, environ=st0cka | common, cwd=tmp_path)
    assert [one.reveal() for one in both.venue_keys(alpaca)] == (
        ["k", "s"] if strategy == "st0cka" else ["c", "t"]
    )


def test_without_keys_of_its_own_a_strategy_trades_the_common_account(tmp_path):
    common = {"TRADING_API_KEY": "k", "TRADING_API_SECRET": "s"}
    for strategy in ("st0cka", "st0ckg", "gamma-scalper"):
        keys = load_settings(strategy, environ=common, cwd=tmp_path).venue_keys()
        assert [one.reveal() for one in keys] == ["k", "s"]


@pytest.mark.parametrize("half", [{"ST0CKAKEY": "k"}, {"ST0CKASECRET": "s"}])
def test_half_a_pair_of_keys_never_falls_back_to_another_account(tmp_path, half):
    settings = load_settings(
        "st0cka", environ={"TRADING_API_KEY": "k", "TRADING_API_SECRET": "s", **half}, cwd=tmp_path
    )
    with pytest.raises(ConfigError, match="a key needs its secret") as refused:
        settings.venue_keys()
    assert refused.value.fix == "put both of ST0CKAKEY and ST0CKASECRET into .env, or neither"


def test_names_that_both_programs_had_set_the_keys_of_the_strategy_that_runs(tmp_path):
    (tmp_path / ".env").write_text("TRADE_COMMAND_TTL_SECONDS=7\nHEARTBEAT_TRIGGER_SECONDS=9\n")
    environ = {
        "PRICE_CHANGE_THRESHOLD": "0.03",
        "INITIALIZATION_MODE": "resume",
        "HEARTBEAT_TRIGGER_SECONDS": "4",
    }

    def loaded(strategy):
        return load_settings(strategy, environ=environ, cwd=tmp_path)

    own = loaded("st0cka").strategy_config
    found = (own.price_change_usd, own.heartbeat_seconds, own.order_ttl_seconds, own.mode)
    assert found == (0.03, 4.0, 7.0, "resume")
    scalper = loaded("gamma-scalper")
    assert scalper.strategy_config.triggers.price_change_usd == 0.03
    assert "st0cka" not in scalper.config.strategies
    both = loaded("hybrid").strategy_config.members
    assert both["st0cka"].price_change_usd == both["gamma-scalper"].triggers.price_change_usd == 0.03
    environ["SCALPDESK_STRATEGIES__ST0CKA__PRICE_CHANGE_USD"] = "0.04"
    assert loaded("st0cka").strategy_config.price_change_usd == 0.04


def test_the_asset_of_the_environment_is_what_every_strategy_of_the_earlier_programs_trades(tmp_path):
    """``HEDGING_ASSET`` was the one asset of all of them: st0cka went on with SPY, a hybrid was refused."""
    environ = {"HEDGING_ASSET": "QQQ"}
    for strategy in ("gamma-scalper", "st0cka", "st0ckg"):
        assert load_settings(strategy, environ=environ, cwd=tmp_path).strategy_config.underlying == "QQQ"
        named = load_settings(strategy, environ=environ, overrides=("underlying=DIA",), cwd=tmp_path)
        assert named.strategy_config.underlying == "DIA"
    members = load_settings("hybrid", environ=environ, cwd=tmp_path).strategy_config.members
    assert {name: own.underlying for name, own in members.items()} == {
        "st0cka": "QQQ",
        "gamma-scalper": "QQQ",
    }


def test_the_limits_and_switches_of_the_earlier_template_hold(tmp_path):
    """They were passed over in silence: of 100,000 USD a day might lose 5,000, with -500 in ``.env``."""
    (tmp_path / ".env").write_text(
        "MAX_DAILY_LOSS=-500\nMAX_CONSECUTIVE_LOSSES=2\nUSE_VOLATILITY_SIZING=false\nUSE_MEAN_REVERSION=true\n"
    )
    loaded = load_settings("hybrid", cwd=tmp_path)
    assert loaded.config.risk.daily_loss_limit(Decimal(100_000)) == 500
    assert loaded.config.risk.max_consecutive_losses == 2
    own = loaded.strategy_config.members["st0cka"]
    assert (own.use_volatility_sizing, own.use_mean_reversion) == (False, True)
    assert load_settings(environ={"MAX_DAILY_LOSS": "250"}, cwd=tmp_path).config.risk.max_daily_loss == 250
    for wrong in ("0", "--500", "much"):
        with pytest.raises(ConfigError, match="max_daily_loss"):
            load_settings(environ={"MAX_DAILY_LOSS": wrong}, cwd=tmp_path)


def test_the_command_line_wins_over_the_default_and_none_of_both_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="which strategy") as caught:
        choose_strategy(None, None)
    assert "STRATEGY_MODE" in caught.value.fix
    monkeypatch.setenv("STRATEGY_MODE", "st0ckb")
    with pytest.raises(ConfigError) as caught:
        choose_strategy(None, None)
    assert caught.value.nearest in ("st0cka", "st0ckg")
    assert caught.value.where == "desk.strategy_mode (environment STRATEGY_MODE)"
    assert choose_strategy("st0cka", None) == "st0cka"


def test_flags_stand_for_the_strategys_own_settings():
    both = {"--volatility-off": True, "--mean-reversion": True}
    assert flag_settings("st0cka", both) == ("use_volatility_sizing=false", "use_mean_reversion=true")
    assert flag_settings("st0cka", dict.fromkeys(both, False)) == ()
    with pytest.raises(ConfigError) as caught:
        flag_settings("gamma-scalper", both)
    assert caught.value.where == "--volatility-off"
    assert "st0cka" in caught.value.fix


def test_a_backtest_takes_name_flags_and_a_word_that_wins_over_them(told_by, monkeypatch):
    monkeypatch.setenv("STRATEGY_MODE", "st0cka")
    argv = ["backtest", "--start", "2016-03-01", "--no-journal", "--json"]
    hashes = {}
    for label, more in {
        "plain": [],
        "off": ["--volatility-off"],
        "set": ["--set", "use_volatility_sizing=false"],
        "won": ["--volatility-off", "--set", "use_volatility_sizing=true"],
    }.items():
        summary = json.loads(told_by(*argv, *more).out)
        assert summary["strategy"] == "st0cka"
        hashes[label] = summary["config_hash"], summary["decision_hash"]
    assert hashes["off"] == hashes["set"] != hashes["plain"]
    assert hashes["won"] == hashes["plain"]


def test_debug_logs_each_decision_with_its_reasons(capsys):
    assert main(["backtest", "st0cka", "--start", "2016-03-01", "--no-journal", "--json", "--debug"]) == 0
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if ": decision " in line]
    assert len(lines) == json.loads(told.out)["decisions"] > 3
    assert "entry taken [sd" in lines[0]
    assert "volatility" in lines[0]
    assert lines[0].startswith("DEBUG scalpdesk.report.fold: decision 1 at 2016-03-01 09:3")


def test_live_without_arming_is_refused_step_by_step_and_says_what_to_do(told_by, monkeypatch):
    argv = ["run", "st0cka", "--live", "--debug"]

    def refused(**environment):
        for name, value in environment.items():  # each time: keys are taken out of the environment once read
            monkeypatch.setenv(name, value)
        told = told_by(*argv, code=2).err
        assert "Traceback" not in told
        assert "nothing was sent" in told
        return told

    own = "put ST0CKAKEY and ST0CKASECRET into .env"
    assert f"{own}, or the common TRADING_API_KEY and TRADING_API_SECRET" in refused()
    keys = {"ST0CKAKEY": "AKTEST", "ST0CKASECRET": "secret"}
    assert "IS_PAPER_TRADING=false" in refused(**keys)
    assert "live trading is not armed" in (told := refused(**keys, IS_PAPER_TRADING="false"))
    assert "scalpdesk arm st0cka" in told.replace("STRATEGY", "st0cka")


@pytest.mark.parametrize("given", [["--url", "http://127.0.0.1:8001"], ["--exchange-time"]])
def test_an_exchanges_address_is_never_passed_over_for_the_market_in_process(told_by, given):
    told = told_by("run", "st0cka", *given, code=2).err
    assert f"where: {given[0]}" in told
    assert f"fix: --venue alpaca {given[0]}" in told


def scalper(found):
    return found.config.strategies["gamma-scalper"]


@pytest.mark.parametrize(("nearest", "least"), [("0", None), (1, 0), ("7", 6), (8, 7), (30, 7)])
def test_the_days_before_expiry_at_which_options_are_left_follow_a_window_that_begins_sooner(nearest, least):
    one = load_settings("gamma-scalper", overrides=[f"selection.min_expiration_days={nearest}"])
    assert scalper(one)["exits"]["min_dte"] == least
    set_by_hand = ["selection.min_expiration_days=5", "exits.min_dte=2"]
    assert scalper(load_settings("gamma-scalper", overrides=set_by_hand))["exits"]["min_dte"] == 2


def test_the_two_keys_of_the_bitcoin_document_are_enough(tmp_path):
    (tmp_path / "params.yaml").write_text("hedging_threshold: 0.1\nexpiries: [7, 30]\n")
    found = load_settings("gamma-scalper", cwd=tmp_path)
    days, own = scalper(found)["selection"], scalper(found)
    assert (days["min_expiration_days"], days["max_expiration_days"]) == (7, 30)
    assert (own["exits"]["min_dte"], own["hedge"]["threshold_shares"]) == (6, 0.1)
    assert found.sources["strategies.gamma-scalper.exits.min_dte"] == "params.yaml:2"
