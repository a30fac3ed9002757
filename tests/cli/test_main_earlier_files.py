"""Files of a checkout under the names of the earlier programs: each is today's command, and says so."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "command", "key"),
    [
        (("main.py",), "scalpdesk run gamma-scalper --venue alpaca", "TRADING_API_KEY"),
        (("run_st0ck.py", "st0cka"), "scalpdesk run st0cka --venue alpaca", "ST0CKAKEY"),
        (
            ("run_st0ck.py", "gamma_scalping"),
            "scalpdesk run gamma_scalping --venue alpaca",
            "TRADING_API_KEY",
        ),
    ],
)
def test_the_files_that_the_pages_start_are_todays_commands(tmp_path, words, command, key):
    program = [sys.executable, str(ROOT / words[0]), *words[1:]]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, cwd=tmp_path, env={"HOME": str(tmp_path)}
    )
    assert done.returncode == 2
    assert command in done.stderr
    assert key in done.stderr


def test_the_file_of_settings_shows_where_they_are_now(tmp_path):
    program = [sys.executable, str(ROOT / "config.py"), "--changed"]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "scalpdesk.toml" in done.stderr


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (".env.example", {"IS_PAPER_TRADING", "TRADING_API_KEY", "TRADING_API_SECRET"}),
        (".env.st0ck.template", {"IS_PAPER_TRADING", "ST0CKAKEY", "ST0CKASECRET", "STRATEGY_MODE"}),
    ],
)
def test_the_examples_of_an_env_file_name_the_keys_of_their_pages(name, keys):
    lines = (ROOT / name).read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if not line.startswith("#")} == keys
