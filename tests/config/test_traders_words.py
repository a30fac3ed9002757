"""The table of other people's words: each answers with a key, an option or a command that there is."""

import re

import pytest

from scalpdesk.cli.main import COMMANDS as OUR_COMMANDS
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.config.traders_words import COMMANDS, OPTIONS, STRATEGIES, WORDS
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.readings import date_meant, number_meant, time_meant
from scalpdesk.strategies.registry import strategy_names

WORDS_OF_KEYS = [(word, row) for row in WORDS for word in row.words.split()]
_PASTED = re.compile(r"--set (\S+=\S+)")


def _refused(tmp_path, *overrides, strategy="gamma-scalper"):
    with pytest.raises(ConfigError) as caught:
        load_settings(strategy, overrides=overrides, cwd=tmp_path)
    return caught.value


def _fix_of(tmp_path, override):
    try:
        load_settings("gamma-scalper", overrides=[override], cwd=tmp_path)
    except ConfigError as error:
        return error.fix
    return None  # the strategy has a key of that name


@pytest.mark.parametrize("row", WORDS, ids=lambda row: row.words.split()[0])
def test_the_line_that_a_word_is_answered_with_is_taken_when_it_is_pasted(row, tmp_path):
    answered = 0
    fixes = {word: _fix_of(tmp_path, f"{word}={row.usual}") for word in row.words.split()}
    for word, fix in fixes.items():
        if fix is not None:
            pasted = _PASTED.findall(fix)
            assert pasted, (word, fix)
            answered += pasted[0].partition("=")[0] in row.keys.split()
            shapes = ["structure.shape=iron_condor"] if "structure." in pasted[0] else []
            load_settings("gamma-scalper", overrides=[*shapes, *pasted], cwd=tmp_path)
    assert answered


@pytest.mark.rows(
    ("typed", "pasted"),
    [
        ("selection.dte=30", ["selection.min_expiration_days=30", "selection.max_expiration_days=37"]),
        ("stop_loss=25%", ["exits.stop_fraction=0.25"]),
        ("exits.close=3:50pm", ["exits.close_at=15:50"]),
        ("cash=$50,000", ["simulation.starting_cash=50000"]),
        ("commission=0.65", ["simulation.fees=ibkr"]),
        ("structure.delta=0.16", ["structure.body=16d"]),
        ("hedge.delta=4", ["hedge.threshold_shares=4"]),
        ("risk.max_loss=1k", ["risk.max_daily_loss=1000"]),
        ("entry.min_edge_stderrs=2", ["entry.k_stderr=2"]),
        ("risk.max_daily_los=500", ["risk.max_daily_loss=500"]),
        ("risk.loss_daily_max=300", ["risk.max_daily_loss=300"]),
        ("exits.profit_percent=50", ["exits.target_fraction=0.5"]),
        ("exits.time_exit=15:30", ["exits.close_at=15:30"]),
        ("hedge.interval_minutes=30", ["hedge.band=time_based", "hedge.band_settings.interval_seconds=1800"]),
        ("entry.latest_time=14:00", ["entry.not_after=14:00"]),
        ("risk.daily_loss_limit_pct=5", ["risk.max_daily_loss_fraction=0.05"]),
        ("hedge.delta_hedge=10", ["hedge.threshold_shares=10"]),
        ("selection.delta_target=0.3", ["structure.body=30d"]),
    ],
)
def test_a_traders_word_is_answered_with_key_and_value(typed, pasted, tmp_path):
    assert _PASTED.findall(_refused(tmp_path, typed).fix) == pasted


@pytest.mark.rows(
    ("typed",), [("data.symbols=SPY",), ("simulation.margin=2",), ("risk.stop_loss=1",), ("foo=1",)]
)
def test_a_word_of_another_section_gets_no_advice(typed, tmp_path):
    error = _refused(tmp_path, typed)
    assert error.nearest is None
    assert not _PASTED.findall(error.fix)


def test_a_word_in_a_file_is_answered_with_the_line_and_its_section(tmp_path):
    (tmp_path / "scalpdesk.toml").write_text("[account]\ncash = 50000\n")
    fix = _refused(tmp_path).fix
    assert "starting_cash = 50000" in fix
    assert "[simulation]" in fix
    (tmp_path / "scalpdesk.toml").write_text("[simulation]\nstarting_cash = 50000\n")
    assert load_settings("gamma-scalper", cwd=tmp_path).config.simulation.starting_cash == 50_000


def test_each_strategy_is_answered_with_its_own_key(tmp_path):
    assert "exit.stop_fraction=0.5" in _refused(tmp_path, "stop_loss=0.5", strategy="zero-dte").fix
    assert "entry.straddles=2" in _refused(tmp_path, "contracts=2", strategy="zero-dte").fix


@pytest.mark.rows(
    ("typed", "pasted"),
    [
        (
            "backtest gamma-scalper --cash 50000",
            "scalpdesk backtest gamma-scalper --set simulation.starting_cash=50000",
        ),
        ("backtest gamma-scalper --from 2018-02-05", "scalpdesk backtest gamma-scalper --start 2018-02-05"),
        ("demo --ticker=spy --seed 2", "scalpdesk demo --symbols SPY --seed 2"),
        ("backtest SPY", "scalpdesk backtest gamma-scalper --symbols SPY"),
        ("demo --stop-loss 30", "scalpdesk demo --set exits.stop_fraction=0.3"),
        ("close-all", "scalpdesk flatten"),
        ("backtest gamma-scalper --start 02/05/2018", "--start 2018-02-05"),
    ],
)
def test_a_word_on_the_command_line_is_answered_with_the_whole_line(
    typed, pasted, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(typed.split()) == 2
    assert pasted in capsys.readouterr().err


def test_the_table_names_only_what_there_is():
    assert {command.split()[0] for command in COMMANDS.values()} <= set(OUR_COMMANDS)
    assert not set(COMMANDS) & set(OUR_COMMANDS) - {"report", "run"}
    assert set(STRATEGIES.values()) <= set(strategy_names())
    words = [word for word, _ in WORDS_OF_KEYS]
    assert len(words) == len(set(words))
    assert all(option.startswith("--") for _, option, _ in OPTIONS)


def test_readings_of_a_number_take_the_first_that_fits():
    assert number_meant("30", lambda number: 0 < number <= 1) == "0.3"
    assert number_meant(-500, lambda number: number > 0) == "500"
    assert number_meant("200%", lambda number: 0 < number <= 1) is None
    assert number_meant("1e", lambda _: True) is None
    assert (time_meant("12:30 am"), time_meant("24:00")) == ("00:30", None)
    assert date_meant("31.04.2018").isoformat() == "2018-04-30"
    assert date_meant("2018-13-01") is None


@pytest.mark.rows(
    ("typed", "key", "pasted"),
    [
        ("entry.not_before=16:30", "entry.not_before", "entry.not_before=09:35"),
        ("entry.not_after=09:00", "entry.not_after", "entry.not_after=09:35"),
        ("exits.close_at=09:35", "exits.close_at", "exits.close_at=15:45"),
        (
            "selection.max_expiration_days=10",
            "selection.max_expiration_days",
            "selection.max_expiration_days=30",
        ),
        ("exits.min_dte=30", "exits.min_dte", "exits.min_dte=29"),
        ("exits.target_fraction=-0.5", "exits.target_fraction", "exits.target_fraction=0.5"),
        ("simulation.starting_cash=100k", "simulation.starting_cash", "simulation.starting_cash=100000"),
        ("structure.body=25d", "structure.body", "structure.shape=strangle"),
    ],
)
def test_a_contradiction_is_refused_with_key_and_the_setting_that_ends_it(typed, key, pasted, tmp_path):
    error = _refused(tmp_path, typed)
    assert key in error.where
    assert pasted in error.fix
    kept = [] if typed.partition("=")[0] == pasted.partition("=")[0] else [typed]
    load_settings("gamma-scalper", overrides=[*kept, pasted], cwd=tmp_path)


def test_a_line_that_is_no_toml_is_answered_with_the_line(tmp_path):
    for line, written in (
        ("fees = ibkr", 'fees = "ibkr"'),
        ("starting_cash: 50,000", "starting_cash = 50000"),
    ):
        (tmp_path / "scalpdesk.toml").write_text(f"[simulation]\n{line}\n")
        assert written in _refused(tmp_path).fix
