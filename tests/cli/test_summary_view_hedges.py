"""The table of hedges as a person reads it: its columns are all of each interval."""

import re
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from scalpdesk.cli.summary_view import show_hedges
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.report.run_report import Hedge


@pytest.mark.parametrize("residual", ["0.00", "-31.27"])
def test_the_columns_of_a_hedge_add_up_to_its_interval_to_the_cent(residual):
    parts = {name: Decimal(f"{number}.{number}1") for number, name in enumerate(PARTS)} | {
        "carry": Decimal(0)
    }
    parts["residual"] = Decimal(residual)
    pnl, at_ns = sum(parts.values()), 1_517_863_797_944_000_000
    row = Hedge(ts_ns=at_ns, reason="", quantity_shares=3, price=Decimal("264.94"), parts=parts, pnl=pnl)
    out = StringIO()
    show_hedges(Console(file=out, width=40), [row], 1)
    head, line = out.getvalue().splitlines()[1:3]
    amounts = [Decimal(found) for found in re.findall(r"[+-]\d+\.\d\d", line)]
    assert amounts[-1] == sum(amounts[:-1]) == sum(parts.values())
    assert ("residual" in head) is (residual != "0.00")
    assert "carry" not in head
