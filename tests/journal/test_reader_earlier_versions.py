"""Journals that earlier versions wrote are read and replayed."""

import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.backtesting.runs import replay
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.recovery import known_orders, rebuild

DATA = Path(__file__).with_name("data")
CALL, PUT = "SPY180316C00274000", "SPY180316P00274000"


@pytest.fixture
def run_of(tmp_path):
    """Return the folder of a stored run."""

    def unpack(name):
        (tmp_path / "journal-000001.sdj").write_bytes(gzip.decompress((DATA / f"{name}.sdj.gz").read_bytes()))
        return tmp_path

    return unpack


def test_an_order_of_0_1_0_that_the_exchange_had_not_acknowledged_is_known_to_a_resume(run_of):
    reader = JournalReader(run_of("v0.1.0_exchange"))  # killed between an order and its acknowledgement
    engine = engine_from_header(reader.header)
    rebuild(reader, engine)
    waiting = [order.submitted.client_order_id for order in known_orders(engine) if order.is_live]
    assert waiting == ["sd9f82p3olmo-000010"]


@pytest.mark.rows(
    ("name", "events", "fills", "cash", "held", "pnl"),
    [
        (
            "v0.1.0_open",
            7880,
            12,
            "99950.74",
            {CALL: "1", PUT: "1", "SPY": "-4"},
            {"total": "11.07", "delta": "0.15", "gamma": "0.87", "theta": "-0.25", "vega": "16.33"}
            | {"spread": "-13.31", "slippage": "7.25", "residual": "0.03"},
        ),
        (
            "v0.1.0_exchange",
            152,
            8,
            "100521.82",
            {"SPY180316C00275000": "1", "SPY180316P00275000": "1", "SPY": "-6"},
            {"total": "-0.99", "delta": "0.10", "gamma": "0.12", "theta": "-0.02", "vega": "2.97"}
            | {"spread": "-7.38", "fees": "-0.12", "slippage": "3.35", "residual": "-0.01"},
        ),
        (
            "v0.1.0_sealed",
            4731,
            23,
            "99989.93",
            {},
            {"total": "-10.07", "delta": "0.17", "gamma": "0.60", "theta": "-0.11", "vega": "0.89"}
            | {"spread": "-21.62", "slippage": "10.00"},
        ),
    ],
)
def test_a_run_of_0_1_0_has_the_positions_cash_and_pnl_that_it_had(
    run_of, name, events, fills, cash, held, pnl
):
    reader = JournalReader(run_of(name))
    engine = engine_from_header(reader.header)
    assert rebuild(reader, engine).events == events  # every output the same, or it raises
    book = engine.desk
    assert reader.header.build == "0.1.0"
    assert reader.sealed == (not held)
    assert book.account.cash == Decimal(cash)
    assert {
        book.instruments[each.instrument_id].symbol: str(each.quantity) for each in book.positions.held()
    } == held
    summary = replay(reader.run_dir, verify=False).summary
    assert summary["fills"] == fills
    assert {part: amount for part, amount in summary["pnl"].items() if Decimal(amount)} == pnl
    assert summary["nav_change"] == pnl["total"]
