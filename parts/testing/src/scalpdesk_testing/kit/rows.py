"""Tables as one test: ``pytest.mark.rows(names, rows)``, written as ``parametrize`` is.

A plugin of pytest, which :mod:`scalpdesk_testing.kit.surroundings` brings.
"""

from collections.abc import Iterator
from inspect import signature
from itertools import product
from typing import Any, cast

import pytest
from _pytest.tmpdir import tmppath_result_key


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", "rows: a table that is one test, carried out for each row")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let ``pytest.mark.rows(names, rows)``, written as ``parametrize`` is, be one test of all its rows."""
    for mark in metafunc.definition.iter_markers("rows"):
        metafunc.parametrize(mark.args[0], list(mark.args[1])[:1], ids=["rows"])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Carry out a test for each row of its tables, with fixtures of its own; a fault names the row."""
    tables = [list(_table(mark)) for mark in pyfuncitem.iter_markers("rows")]
    if not tables:
        return None
    assert all(tables), "a table has no rows, or gives them once alone"
    asked, state = signature(pyfuncitem.obj).parameters, cast("Any", pyfuncitem.session)._setupstate
    for number, parts in enumerate(product(*tables)):
        row = {name: value for part in parts for name, value in part.items()}
        try:
            if number and asked.keys() - row:
                pyfuncitem.callspec.params.update(row)
                pyfuncitem.stash.setdefault(tmppath_result_key, {})  # which tmp_path takes as it goes
                state.teardown_exact(pyfuncitem.parent)
                pyfuncitem._initrequest()
                state.setup(pyfuncitem)
            pyfuncitem.obj(**{name: row.get(name, pyfuncitem.funcargs.get(name)) for name in asked})
        except BaseException as error:
            error.add_note(f"row {number + 1}: {row}"[:2_000])
            raise
    return True


def _table(mark: pytest.Mark) -> Iterator[dict[str, Any]]:
    names, rows = mark.args
    several = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    for row in rows:
        yield dict(zip(several, [row] if names == several[0] else row, strict=True))
