import json
import re
import stat

import pytest

from scalpdesk.cli.config import toml_value
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_yes_writes_both_files_which_change_nothing(tmp_path, capsys):
    assert main(["init", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["scalpdesk.toml", ".env.example"]
    written = load_settings("gamma-scalper", cwd=tmp_path)
    assert written.config_hash == load_settings("gamma-scalper", cwd=tmp_path / "elsewhere").config_hash
    assert "TRADING_API_KEY" in (tmp_path / ".env.example").read_text()


def test_every_commented_default_is_a_valid_setting(tmp_path):
    assert main(["init", "--yes"]) == 0
    path = tmp_path / "scalpdesk.toml"
    lines = [
        line.removeprefix("# ") if re.match(r"# \w+ = ", line) and "(not set)" not in line else line
        for line in path.read_text().splitlines()
    ]
    before = load_settings("gamma-scalper", cwd=tmp_path)
    path.write_text("\n".join(lines))
    after = load_settings("gamma-scalper", cwd=tmp_path)
    assert after.config_hash == before.config_hash
    assert after.sources["risk.max_consecutive_losses"].startswith("scalpdesk.toml:")
    assert after.sources["strategies.gamma-scalper.hedge.order_ttl_seconds"].startswith("scalpdesk.toml:")


def test_nothing_is_overwritten_without_force(tmp_path, capsys):
    (tmp_path / "scalpdesk.toml").write_text("# mine\n")
    assert main(["init", "--yes"]) == 2
    assert "fix: scalpdesk init --force" in capsys.readouterr().err
    assert (tmp_path / "scalpdesk.toml").read_text() == "# mine\n"
    assert not (tmp_path / ".env.example").exists()
    assert main(["init", "--yes", "--force"]) == 0
    assert "[simulation]" in (tmp_path / "scalpdesk.toml").read_text()


def test_without_a_terminal_and_without_yes_it_says_so(capsys):
    assert main(["init"]) == 2
    assert "scalpdesk init --yes" in capsys.readouterr().err


def test_answers_are_set_and_keys_are_private(tmp_path, monkeypatch):
    answers = iter(["QQQ", 2, 50_000, "alpaca", "PK1", "S1"])
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("click.prompt", lambda *_, **__: next(answers))
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    assert main(["init"]) == 0
    loaded = load_settings("gamma-scalper", cwd=tmp_path)
    assert loaded.strategy_config.underlying == "QQQ"
    assert loaded.strategy_config.straddles == 2
    assert loaded.config.simulation.starting_cash == 50_000
    assert loaded.config.simulation.fees == "alpaca"
    assert loaded.config.credentials.trading_api_key.reveal() == "PK1"
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_a_dotenv_that_is_there_becomes_private_and_keeps_its_text(tmp_path):
    (tmp_path / ".env").write_text("TRADING_API_KEY=mine\n")
    (tmp_path / ".env").chmod(0o644)
    assert main(["init", "--yes", "--force"]) == 0
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (tmp_path / ".env").read_text() == "TRADING_API_KEY=mine\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        ("a", '"a"'),
        ([1, "b"], '[1, "b"]'),
        ({}, "{}"),
        ({"SPY": 1}, '{"SPY" = 1}'),
    ],
)
def test_toml_value(value, text):
    assert toml_value(value) == text
