"""The scripts of the docs folder, which is no package, as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script(name):
    """Import a script; those that it imports come before it."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shown_outputs():
    return script("shown_outputs")


@pytest.fixture(scope="session")
def generate(shown_outputs):
    return script("generate")


@pytest.fixture(scope="session")
def take_pictures():
    return script("take_pictures")
