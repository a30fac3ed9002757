"""A pytest plugin: writes the seconds of each passing test to the file that PYTEST_MUTANTS_TIMES names.

The programs that a test starts are measured by the coverage settings that PYTEST_MUTANTS_PROGRAMS names. They
are passed on only here: in the environment of pytest itself they would measure its own process twice.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

_SECONDS: Counter[str] = Counter()
_FAILED: set[str] = set()

os.environ["COVERAGE_PROCESS_START"] = os.environ["PYTEST_MUTANTS_PROGRAMS"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _SECONDS[report.nodeid] += report.duration
    if report.failed:
        _FAILED.add(report.nodeid)


def pytest_sessionfinish() -> None:
    Path(os.environ["PYTEST_MUTANTS_TIMES"]).write_text(
        json.dumps({name: took for name, took in _SECONDS.items() if name not in _FAILED}), "utf-8"
    )
