"""The surroundings of every test: no settings of the user's, an empty folder, nothing left behind.

A plugin of pytest, named in a ``conftest.py``: ``pytest_plugins = ["scalpdesk_testing.kit.surroundings"]``.

The environment holds what :data:`_KEPT` names and no more, so a ``SCALPDESK_`` variable, a vendor's key or a
terminal's width changes no test; the working folder has no ``.env`` and no ``scalpdesk.toml``; armings,
locks and drawn sessions lie in folders of this session. A test that leaves a variable, a folder or a file
behind fails. What is marked ``recorded`` is skipped where the recorded data is not beside the project.
"""

import decimal
import fcntl
import gc
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import configuration, settings
from sqlalchemy import create_engine, make_url, text

from scalpdesk.datasets.embedded import market
from scalpdesk.datasets.importers.lean import import_lean
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.tape import BarColumns, MarketTape
from scalpdesk_testing.kit.finished_runs import FinishedRun, finished_runs

pytest_plugins = ["scalpdesk_testing.kit.rows"]

_KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH", "CI"),
    *(
        "PYTHON",
        "VIRTUAL_ENV",
        "PYTEST",
        "COV",
        "HYPOTHESIS",
        "NUMBA_",
        "OMP_",
        "OPENBLAS_",
        "MPL",
        "SYSTEMROOT",
    ),
    *("TEST_POSTGRES_URL", "DEM_GBP_RETURNS"),
)
"""Beginnings of the names that the environment keeps; a process with another BLAS rounds otherwise."""

for _name in [name for name in os.environ if not name.startswith(_KEPT)]:
    del os.environ[_name]

# an example that takes long says something of the machine, nothing of the law
settings.register_profile("drawn", deadline=None)
# the suite's verdict depends on the code alone; `make release-check` draws new examples, a hundred of each
settings.register_profile("desk", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("desk")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, and let test modules of two folders share a name."""
    configuration.set_hypothesis_home_dir(config.rootpath / ".hypothesis")
    config.option.importmode = "importlib"
    for mark in (
        "recorded: uses the recorded market data beside the project; skipped where that folder is absent",
        "slow: takes more than five seconds",
        "second: fault trials, fuzz, disturbed quotes, notebooks, runs of whole days: CI's second stage",
    ):
        config.addinivalue_line("markers", mark)


def _recorded(config: pytest.Config) -> Path:
    return config.rootpath.parent / "shared" / "data" / "raw_lean" / "Data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what uses the recorded data where the folder is absent."""
    if not _recorded(config).is_dir():
        for item in items:
            if item.get_closest_marker("recorded") is not None:
                item.add_marker(pytest.mark.skip(reason="the recorded data is not beside the project"))


@pytest.fixture(scope="session", autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in an empty folder of this session; keep armings, locks and drawn sessions in others."""
    folder, before = tmp_path_factory.mktemp("here"), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CACHE_HOME", str(_of_all_workers(tmp_path_factory) / "cache"))
        os.chdir(folder)
        yield folder
        os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def frozen() -> Iterator[list[str]]:
    """Note what a desk freezes until it lets go; what it lets go would be the collected tests, too."""
    noted: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        noting = SimpleNamespace(
            collect=gc.collect, freeze=lambda: noted.append("frozen"), unfreeze=noted.clear
        )
        patch.setattr("scalpdesk.live.run.gc", noting)
        yield noted


@pytest.fixture(autouse=True)
def nothing_left_behind(empty_folder: Path, frozen: list[str]) -> Iterator[None]:
    """Compare the surroundings after a test with those before it; take back where a command logged to."""
    before = _environment()
    with decimal.localcontext(decimal.DefaultContext):  # ccxt sets the rounding of its caller's thread
        yield
    logging.getLogger("scalpdesk").setLevel(logging.NOTSET)
    for handler in [one for one in logging.root.handlers if type(one) is logging.StreamHandler]:
        logging.root.removeHandler(handler)
    assert _environment() == before
    assert frozen == []
    assert Path.cwd() == empty_folder
    assert list(empty_folder.iterdir()) == []


def _environment() -> dict[str, str]:
    ours = ("PYTEST_CURRENT_TEST", "KMP_")  # the latter are set where scikit-learn is first imported
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="session", autouse=True)
def embedded_days_built_once() -> Iterator[None]:
    """Keep the embedded days that commands load; their columns cannot be written to.

    Tests that import ``reconstruct`` itself reach the plain function. The minutes of sessions are kept, too:
    some strategies read those of the twenty before their own.
    """
    build, draw = lru_cache(maxsize=4)(market.reconstruct), lru_cache(maxsize=256)(market.reconstruct_bars)

    def close(columns: Any) -> None:
        for column in fields(columns):
            getattr(columns, column.name).flags.writeable = False

    def reconstruct_bars(session: date, **terms: Any) -> BarColumns:
        bars = draw(session, **{"seed": 1, "underlying": "SPY"} | terms)
        close(bars)
        return bars

    def reconstruct(session: date, **terms: Any) -> MarketTape:
        tape = build(session, **{"seed": 1, "underlying": "SPY"} | terms)
        close(tape.quotes)
        close(tape.bars)
        return replace(
            tape,
            instruments=Instruments(tape.instruments),
            open_interest=dict(tape.open_interest),
            settlement_prices=dict(tape.settlement_prices),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market, "reconstruct", reconstruct)
        patch.setattr(market, "reconstruct_bars", reconstruct_bars)
        yield


@pytest.fixture(scope="session")
def finished_run(pytestconfig: pytest.Config) -> FinishedRun:
    """Copy a backtest of one embedded session into a folder: made once while the program stays the same."""
    return finished_runs(pytestconfig.rootpath / ".pytest_cache" / "finished_runs")


def _of_all_workers(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the workers of this session share."""
    ours = factory.getbasetemp()
    return ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours


def _built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Build a folder for all workers of this session: the first that asks builds, the others wait."""
    shared = _of_all_workers(factory)
    done = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_dir():
            part = factory.mktemp(name) / name
            build(part)
            part.rename(done)
    return done


@pytest.fixture(scope="session")
def recorded_catalog(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Import the whole recorded LEAN folder once; tests do not write to it."""
    folder = _recorded(pytestconfig)
    if not folder.is_dir():
        pytest.skip("the recorded data is not beside the project")
    return _built_once(tmp_path_factory, "recorded", lambda built: import_lean(built, folder))


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """Return the URL of an empty schema of the test's own, in the database that TEST_POSTGRES_URL names."""
    if "TEST_POSTGRES_URL" not in os.environ:
        pytest.skip("TEST_POSTGRES_URL names no database")
    url, name = make_url(os.environ["TEST_POSTGRES_URL"]), f"test_{uuid4().hex}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    yield url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()
