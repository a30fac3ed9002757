"""A pytest plugin: writes how long each test took to the file that PYTEST_MUTANTS_TIMES names."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

_SECONDS: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _SECONDS[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    Path(os.environ["PYTEST_MUTANTS_TIMES"]).write_text(json.dumps(_SECONDS), "utf-8")
