"""The suite brings its own environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_suite_passes_among_the_settings_of_a_user(tmp_path):
    (tmp_path / ".env").write_text("SCALPDESK_RISK__MAX_DAILY_LOSS=1\nAPCA_API_KEY_ID=x\n")
    (tmp_path / "scalpdesk.toml").write_text("[risk]\nmax_daily_loss = 1\n")
    root = Path(__file__).resolve().parents[2]
    files = (root / "tests" / "config" / "test_settings.py", root / "tests" / "cli" / "test_output.py")
    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "--rootdir", root, "-c", root / "pyproject.toml")
    strange = {"SCALPDESK_ENTRY__GATE": "off", "SCALPDESK_NONSENSE": "1", "COLUMNS": "20"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=tmp_path,
        env=os.environ | strange,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "leaked" not in done.stdout + done.stderr
