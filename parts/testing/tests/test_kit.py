"""The builders for authors of plug-ins do what their examples say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["instruments", "tape", "desk"])
def test_the_examples_of_the_builders_hold(name):
    result = doctest.testmod(import_module(f"scalpdesk_testing.kit.{name}"), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
