"""A pytest plugin: judges mutants in forks of the process that has collected the tests.

It answers the requests that come by the connection PYTEST_MUTANTS_CONNECTION, until the other end closes it.
A fork puts the code of the changed function in place of the original's and runs the tests until the first
failure; a test that fails in a fork without a mutant too is left out. Nothing is imported or collected again,
so a mutant costs what its tests cost. Programs that a test starts run the source unchanged.
"""

import gc
import os
import resource
import select
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from inspect import CO_OPTIMIZED
from multiprocessing.connection import Connection
from types import CodeType, FunctionType

import pytest

_CONNECTION = Connection(int(os.environ["PYTEST_MUTANTS_CONNECTION"]))
_MOST_BYTES = 6 << 30
"""Limit of address space, for a mutant that never stops growing."""


def functions_in(code: CodeType) -> Iterator[CodeType]:
    """Yield the functions and methods of a module that lie in no other function."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and not inner.co_name.startswith("<"):
            if inner.co_flags & CO_OPTIMIZED:
                yield inner
            else:
                yield from functions_in(inner)


class ForkedJudge:
    """The collected tests and the functions that they test."""

    def __init__(self, session: pytest.Session) -> None:
        self._root = session.config.rootpath
        self._items = {item.nodeid: item for item in session.items}
        self._functions = defaultdict[tuple[str, str, int], list[FunctionType]](list)
        for function in gc.get_objects():
            if type(function) is FunctionType:
                code = function.__code__
                place = code.co_filename, code.co_qualname, code.co_firstlineno
                self._functions[place].append(function)
        self._passes: dict[tuple[str, ...], bool] = {}
        """Whether tests pass in a fork without a mutant."""
        self._failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self._failed:
            self._failed = report.nodeid

    def judge(self, path: str, line: int, source: bytes, tests: Sequence[str], limit: float) -> str:
        """Return ``killed``, ``time limit`` or ``survived``; anything else leaves the mutant undecided."""
        tests = [test for test in tests if test in self._items]
        while tests:
            ending, _, killer = self._fork(tests, limit, (path, line, source)).partition(" by ")
            suspects = (killer,) if killer else tuple(tests)
            if ending not in ("killed", "time limit") or self._pass_unchanged(suspects, limit):
                return ending
            tests = [test for test in tests if test not in suspects]
        return "undecided"

    def _pass_unchanged(self, tests: tuple[str, ...], limit: float) -> bool:
        if tests not in self._passes:
            self._passes[tests] = self._fork(tests, limit, None) == "survived"
        return self._passes[tests]

    def _fork(self, tests: Sequence[str], limit: float, change: tuple[str, int, bytes] | None) -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
                ending = "not put in" if change and not self._put_in(*change) else self._run(tests)
                os.write(writer, ending.encode())
            finally:
                os._exit(0)
        os.close(writer)
        ended, _, _ = select.select([reader], [], [], limit)
        ending = os.read(reader, 4096).decode() if ended else "time limit"
        os.close(reader)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return ending

    def _put_in(self, path: str, line: int, source: bytes) -> bool:
        file = str(self._root / path)
        before = [code for code in functions_in(compile(source, file, "exec")) if code.co_firstlineno <= line]
        changed = max(before, key=lambda code: code.co_firstlineno)
        originals = self._functions[file, changed.co_qualname, changed.co_firstlineno]
        try:
            for function in originals:
                function.__code__ = changed
        except ValueError:  # another number of variables of the scopes around it
            return False
        return bool(originals)

    def _run(self, tests: Sequence[str]) -> str:
        items = [self._items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return f"killed by {self._failed}"
        return "survived"


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Judge one mutant after the other instead of running the tests."""
    gc.unfreeze()  # tests/conftest.py has frozen what was collected, and the collector does not list that
    judge = ForkedJudge(session)
    session.config.pluginmanager.register(judge)
    gc.collect()
    gc.freeze()  # else a fork's first collection copies every page
    _CONNECTION.send("ready")
    with suppress(EOFError):
        while True:
            _CONNECTION.send(judge.judge(*_CONNECTION.recv()))
    return True
