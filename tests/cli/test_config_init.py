import re
import stat
from pathlib import Path

import pytest

from scalpdesk.cli.config import toml_value
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.datasets.store import replace_file


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_yes_writes_both_files_which_change_nothing(tmp_path, document_of):
    assert document_of("init", "--yes")["written"] == ["scalpdesk.toml", ".env.example"]
    written = load_settings("gamma-scalper", cwd=tmp_path)
    assert written.config_hash == load_settings("gamma-scalper", cwd=tmp_path / "elsewhere").config_hash
    assert "TRADING_API_KEY" in (tmp_path / ".env.example").read_text()


def test_the_env_example_has_the_names_of_the_st0ck_template_and_all_its_lines_are_settings(tmp_path):
    assert main(["init", "--yes"]) == 0
    lines = [line.removeprefix("# ") for line in (tmp_path / ".env.example").read_text().splitlines()]
    given = dict(line.split("=") for line in lines if re.fullmatch(r"[A-Z0-9_]+=\S*", line))
    keys = {name: "k" for name, value in given.items() if not value}
    assert list(keys) == [
        "TRADING_API_KEY", "TRADING_API_SECRET", "ST0CKAKEY", "ST0CKASECRET", "ST0CKGKEY", "ST0CKGSECRET"
    ]  # fmt: skip
    loaded = load_settings("st0cka", environ=given | keys, cwd=tmp_path)
    assert {f"environment {name}" for name in given} <= set(loaded.sources.values())
    assert {"STRATEGY_MODE", "USE_VOLATILITY_SIZING", "USE_MEAN_REVERSION", "MAX_DAILY_LOSS"} < set(given)


def test_init_writes_what_a_beginner_sets_below_what_it_means(tmp_path, document_of):
    assert main(["init", "--yes"]) == 0
    text = (tmp_path / "scalpdesk.toml").read_text()
    keys = re.findall(r"^# (\w+) = ", text, re.MULTILINE)
    assert 30 <= len(keys) <= 45
    told = document_of("config", "show", "exits.stop_fraction")
    assert told["default"] == "0.3"
    said = " ".join(line.removeprefix("# ") for line in text.splitlines())
    assert told["means"].replace("`", "") in said
    assert told["takes"] in said
    assert main(["init", "--yes", "--all", "--force"]) == 0
    every = re.findall(r"^# (\w+) = ", (tmp_path / "scalpdesk.toml").read_text(), re.MULTILINE)
    assert len(every) > 3 * len(keys)


def test_every_commented_default_is_a_valid_setting(tmp_path):
    assert main(["init", "--yes", "--all"]) == 0
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


def test_nothing_is_overwritten_without_force(tmp_path, told_by):
    (tmp_path / "scalpdesk.toml").write_text("# mine\n")
    assert "fix: scalpdesk init --force" in told_by("init", "--yes", code=2).err
    assert (tmp_path / "scalpdesk.toml").read_text() == "# mine\n"
    assert not (tmp_path / ".env.example").exists()
    assert main(["init", "--yes", "--force"]) == 0
    assert "[simulation]" in (tmp_path / "scalpdesk.toml").read_text()


def test_without_a_terminal_and_without_yes_it_says_so(told_by):
    assert "scalpdesk init --yes" in told_by("init", code=2).err


def answered(monkeypatch, answers, store=True):
    """Answer the wizard by the beginning of each question, the default where nothing is given; note them."""
    asked = []

    def prompt(question, default=None, type=None, **_):  # noqa: A002 - click's own name
        asked.append(question)
        given = answers.get(question, default)
        given = given.pop(0) if isinstance(given, list) else given
        return type.convert(given, None, None) if type is not None else given

    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("click.confirm", lambda question, **_: asked.append(question) or store)
    return asked


def test_answers_are_set_for_a_simulated_desk_without_keys(tmp_path, monkeypatch, told_by):
    answers = {
        "Strategy": "st0cka",
        "Underlying": "QQQ",
        "Starting cash of the account": 50_000,
        "Fees": "alpaca",
        "Largest loss of a day, % of the equity": 2,
        "Largest risk of one position, % of the equity": 12.5,
    }
    asked = answered(monkeypatch, answers)
    assert told_by("init").out.endswith(
        "next: scalpdesk config check, then scalpdesk run --venue simulated\n"
    )
    loaded = load_settings("st0cka", cwd=tmp_path)
    assert loaded.strategy_config.underlying == "QQQ"
    assert loaded.config.desk.strategy_mode == "st0cka"
    assert loaded.config.simulation.starting_cash == 50_000
    assert loaded.config.simulation.fees == "alpaca"
    assert loaded.config.risk.max_daily_loss_fraction == 0.02
    assert loaded.config.risk.max_position_fraction == 0.125
    assert set(answers) < set(asked)
    assert not (tmp_path / ".env").exists()


KEYS = {"Venue": "alpaca", "Straddles, at most": 2}


@pytest.fixture
def exchange(socket_enabled):
    from scalpdesk.exchange.launch import LaunchPlan
    from scalpdesk_testing.kit.exchange import Venue, generated

    running = Venue(LaunchPlan(source=generated(), speed=0.0, trading_limit=0, data_limit=0))
    yield running
    running.stop()


def test_keys_are_tried_at_the_venue_and_stored_for_their_owner_alone(
    tmp_path, monkeypatch, told_by, exchange
):
    (tmp_path / ".env").write_text("OTHER=1\n")
    right = {"TRADING_API_KEY": exchange.key, "TRADING_API_SECRET": exchange.secret}
    wrong_first = {name: ["wrong", value] for name, value in right.items()}
    more = {"Addresses for alerts (apprise; empty: no alerts)": "json://canary.example/hook"}
    answered(monkeypatch, KEYS | wrong_first | more)
    out = told_by("init", "--url", exchange.url).out
    assert "not taken: " in out
    assert "taken: account …" in out
    assert "equity 100000" in out
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (tmp_path / ".env").read_text().startswith("OTHER=1\nIS_PAPER_TRADING=true\nTRADING_API_KEY=")
    loaded = load_settings("gamma-scalper", cwd=tmp_path)
    assert loaded.strategy_config.straddles == 2
    assert loaded.config.venue.url == exchange.url
    assert loaded.config.credentials.trading_api_key.reveal() == exchange.key
    text = (tmp_path / "scalpdesk.toml").read_text() + out
    for secret in (*right.values(), "canary"):
        assert secret not in text
    # again: the keys that are there are tried, and they are not asked for
    asked = answered(monkeypatch, KEYS)
    assert main(["init", "--url", exchange.url, "--force"]) == 0
    assert not [question for question in asked if "KEY" in question or "keys" in question]


def test_keys_that_are_never_taken_are_not_stored(tmp_path, monkeypatch, told_by, exchange):
    wrong = {"TRADING_API_KEY": "wrong", "TRADING_API_SECRET": "wrong"}
    asked = answered(monkeypatch, KEYS | wrong)
    assert "no keys were stored" in told_by("init", "--url", exchange.url).out
    assert asked.count("TRADING_API_KEY") == 3
    assert not (tmp_path / ".env").exists()


def test_a_venue_that_does_not_answer_leaves_the_keys_untried(tmp_path, monkeypatch, told_by, socket_enabled):
    keys = {"TRADING_API_KEY": "PK1", "TRADING_API_SECRET": "S1"}
    answered(monkeypatch, KEYS | keys)
    assert "stored untried" in told_by("init", "--url", "http://127.0.0.1:9").out
    assert "TRADING_API_KEY=PK1" in (tmp_path / ".env").read_text()


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


def test_a_full_disk_leaves_no_empty_file_and_keeps_what_was_there(tmp_path, monkeypatch, capsys):
    write = Path.write_text

    def fill_up(path, text, **more):
        write(path, text[:10], **more)
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "write_text", fill_up)
    assert main(["init", "--yes"]) == 1
    assert list(tmp_path.iterdir()) == []
    told = capsys.readouterr().err
    assert f"No space left on device\n  where: {tmp_path / 'scalpdesk.toml'}\n  fix: free disk space" in told
    write(tmp_path / "scalpdesk.toml", "# mine\n")
    assert main(["init", "--yes", "--force"]) == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["# mine\n"]


def test_a_dotenv_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "kept").write_text("A=1\n")
    (tmp_path / ".env").symlink_to(tmp_path / "kept")
    replace_file(tmp_path / ".env", "A=2\n", mode=0o600)
    assert (tmp_path / ".env").is_symlink()
    assert (tmp_path / "kept").read_text() == "A=2\n"
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600
