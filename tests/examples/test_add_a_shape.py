"""The package of docs/developing/add_a_shape.md, built: a double calendar is traded by its name."""

import sys
from datetime import date

import pytest

from scalpdesk_testing.kit.chain_desk import best_of, edge_of, tools_of, view_at
from tests.docs.pages import DOCS, install_page


@pytest.fixture
def installed(tmp_path, monkeypatch):
    files = install_page(DOCS / "developing" / "add_a_shape.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield files
    for module in [name for name in sys.modules if name.partition(".")[0] == "my_shapes"]:
        del sys.modules[module]


def test_a_double_calendar_is_ten_lines_and_keeps_the_law(installed):
    text = installed["src/my_shapes/double_calendar.py"]
    assert len([line for line in text.splitlines() if line]) <= 10
    view = view_at(date(2017, 5, 10), "11:00")
    for side, signs in (("long", [-1, -1, 1, 1]), ("short", [1, 1, -1, -1])):
        tools = tools_of(view, shape="double_calendar", side=side, body="20d")
        best = best_of(tools, view)
        near_call, near_put, far_call, far_put = best.structure.legs
        assert [leg.ratio for leg in best.structure.legs] == signs
        assert near_call.contract.strike == far_call.contract.strike > far_put.contract.strike
        assert near_put.contract.expiry < far_put.contract.expiry == far_call.contract.expiry
        level = edge_of(tools, best, view)["implied_level"]
        again = tools_of(view, level, shape="double_calendar", side=side, body="20d")
        assert edge_of(again, best, view)["edge_gross_usd"] == pytest.approx(0.0, abs=1e-6)
