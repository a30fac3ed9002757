"""What these tests have beside the surroundings of the kit: an order, and a collector at rest."""

import atexit
import gc
from collections.abc import Generator

import pytest

pytest_plugins = ["scalpdesk_testing.kit.surroundings"]

YOUNG_OBJECTS = 10_000
"""Objects made, less those gone, before the collector looks: fewer than in a backtest, which a test holds."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collected tests, which live to the end, from the sight of the garbage collector.

    It looks less often than it would, which took a twelfth of the time; more often than in a backtest.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        gc.enable()


LONGEST = frozenset(
    {
        *(
            f"live/test_{name}.py"
            for name in ("recovery_kill", "watchdog", "run_session", "sessions_morning")
        ),
        *(f"live/test_{name}.py" for name in ("run_several", "run_coin_desk")),
        *("live/test_runner_account_activities.py", "live/test_run_sandbox.py"),
        *("examples/test_band_trader.py", "determinism/test_decisions.py", "isolation/test_process.py"),
    }
)
"""Modules with tests of five seconds, most of which they wait for other processes."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, whatever the order of the rest: begun last, one would keep others waiting."""
    items.sort(key=lambda item: "/".join(item.path.parts[-2:]) not in LONGEST)
