"""The names of PRD-136 at the path of its page."""

from importlib import import_module

import pytest

from scalpdesk.records.tables import OptionsScalpRecord
from scalpdesk_strategies import ema_scalper


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("", "OptionsScalper StrikeSelector GreeksGate ScalpPosition ScalpConfig ScalpSizer"),
        (".scalper", "OptionsScalper ScalpPosition"),
        (".strike_selector", "StrikeSelector StrikeSelection"),
        (".greeks_gate", "GreeksGate GreeksDecision"),
        (".sizing", "ScalpSizer"),
    ],
)
def test_the_names_of_the_page_are_those_of_the_strategy(module, names):
    found = import_module(f"src.options_scalper{module}")
    for name in names.split():
        assert getattr(found, name) is getattr(ema_scalper, name)


def test_the_record_of_the_page_is_the_class_of_the_table():
    record = import_module("src.options_scalper").OptionsScalpRecord
    assert record is OptionsScalpRecord
    assert record.__tablename__ == "options_scalps"
