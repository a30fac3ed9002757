"""Number of fields of the messages that differ by version, against the vendor's list of changes."""

import pytest

from scalpdesk_ibkr.served import layouts
from scalpdesk_ibkr.served.layouts import Layout

CONTRACT = {"contract": ("",) * 11}
AT_157 = {
    "OPEN_ORDER": (CONTRACT, 119),
    "COMPLETED_ORDER": (CONTRACT, 91),
    "EXECUTION": (CONTRACT, 30),
    "CONTRACT_DATA": ({"sizes": (1, 1, 1)}, 38),
    "ERROR": ({}, 4),
    "SYMBOL_ROW": ({"derivatives": (1, "OPT")}, 7),
    "PLACED_TERMS": ({}, 32),
}
"""Values that stand for several fields, and the number of fields after the message's id."""
CHANGES = {
    "OPEN_ORDER": {159: 1, 160: 1, 162: 1, 170: 5, 177: -1},
    "COMPLETED_ORDER": {170: 5, 177: -1},
    "EXECUTION": {178: 1},
    "CONTRACT_DATA": {163: 1, 164: 3 - 3},
    "ERROR": {166: 1},
    "SYMBOL_ROW": {176: 2},
    "PLACED_TERMS": {177: -1},
}
"""Fields that come or go, by the first version; at 164 three sizes come and three other fields go."""


@pytest.mark.rows("name", AT_157)
def test_each_version_has_its_number_of_fields(name):
    layout, (values, count) = getattr(layouts, name), AT_157[name]
    for version in (157, *range(159, 179)):
        count += CHANGES[name].get(version, 0)
        known = {column: value for column, value in values.items() if column != "sizes" or version >= 164}
        assert len(layout.write(version, known)) == count


def test_defaults_fill_what_has_no_value():
    layout = Layout("id name=empty count=-1 late>160 early<160 legs=0")
    assert layout.write(157, {"id": 5}) == (5, "empty", "-1", "", "0")
    assert layout.write(160, {"id": 5, "legs": (2, 7, 8), "late": 1}) == (5, "empty", "-1", 1, 2, 7, 8)
    assert layout.read(160, iter("abcde").__next__) == dict(
        zip(("id", "name", "count", "late", "legs"), "abcde", strict=True)
    )
