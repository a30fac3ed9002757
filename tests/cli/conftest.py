"""A command that is called: what it writes, and its JSON document."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from scalpdesk.cli.main import main


@pytest.fixture
def told_by(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what a command writes (``out``, ``err``), which ends with an exit code."""

    def call(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*words]) == code
        return capsys.readouterr()

    return call


@pytest.fixture
def document_of(told_by: Callable[..., Any]) -> Callable[..., Any]:
    """Return the JSON document of a command, which ends with an exit code."""
    return lambda *words, code=0: json.loads(told_by(*words, "--json", code=code).out)
