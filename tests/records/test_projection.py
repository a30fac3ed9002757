import json
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import func, select, text

from scalpdesk.core.errors import JournalError
from scalpdesk.core.events import DividendEvent, FillBusted, OrderFilled, OrderStatusUnknown, TimerEvent
from scalpdesk.core.intents import CancelOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.journal.cut import cut_short
from scalpdesk.journal.reader import JournalReader
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.records import projection
from scalpdesk.records.projection import project_if_new, project_journal, project_missing
from scalpdesk.records.store import load_run, load_tables, open_store
from scalpdesk.records.tables import CHILD_TABLES, DecisionRow, FillRow, MarkRow, OrderRow, PositionRow
from tests.records.stores import all_rows, differs_from_the_models


def by_number(store, table, run_id):
    with store.session() as session:
        return list(session.scalars(select(table).filter_by(run_id=run_id).order_by(table.number)))


def load_positions(store, run_id):
    with store.session() as session:
        return list(
            session.scalars(select(PositionRow).filter_by(run_id=run_id).order_by(PositionRow.symbol))
        )


@pytest.fixture
def projected(tmp_path, header, story, store, write):
    project_journal(write(tmp_path, header, story, summary={"wall_seconds": 0.5}), store)
    return store


def test_the_run_has_its_summary(projected, header):
    run = load_run(projected, "last")
    assert (run.run_id, run.strategy, run.venue, run.mode) == ("demo-1", "gamma_scalper", "simulated", "demo")
    assert (run.data_kind, run.session, run.underlying) == ("reconstructed", "2018-02-05", "SPY")
    assert (run.open, run.high, run.low, run.close) == (Decimal("273.45"), Decimal("275.85"), None, None)
    assert (run.events, run.decisions, run.orders, run.fills, run.hedges) == (15, 3, 2, 3, 1)
    assert str(run.nav_change) == "9.70"
    assert sum(getattr(run, f"pnl_{name}") for name in PARTS) == run.nav_change
    assert run.pnl_gamma == Decimal("10.20")
    assert run.end_positions == {"SPY": "-90"}
    assert run.last_event_ns == header.started_ns + 112
    assert run.first_event_ns == header.started_ns + 100
    assert run.sealed
    assert run.recovered is None
    assert run.summary == {"wall_seconds": 0.5}
    assert run.config == {"capital": "100000.00", "limit": "inf"}
    assert len(run.decision_hash) == len(run.journal_digest) == 32


def test_orders_show_how_they_ended_and_how_they_came_there(projected, header):
    bought, sold = by_number(projected, OrderRow, "demo-1")
    assert (bought.state, bought.filled_quantity, bought.venue_order_id) == ("filled", 3, "v-1")
    assert (bought.limit_price, bought.order_type, bought.purpose) == (Decimal("3.50"), "limit", "open")
    assert (bought.trigger_price, sold.trigger_price, sold.order_type) == (None, Decimal("273.50"), "stop")
    assert str(bought.average_price) == "3.4833333333"
    assert [each[1] for each in bought.history] == ["pending_new", "working", "partially_filled", "filled"]
    assert bought.history[0] == [header.started_ns + 101, "pending_new", "open"]
    assert bought.updated_ns == header.started_ns + 105
    assert [each[1] for each in sold.history] == [
        "pending_new",
        "partially_filled",
        "pending_cancel",
        "partially_filled",
        "filled",
        "cancelled",
    ]
    assert (sold.state, sold.filled_quantity, sold.limit_price) == ("cancelled", 100, None)
    assert sold.reason == "execution busted"


def test_fills_count_once_and_a_stranger_is_shown_as_one(projected):
    fills = by_number(projected, FillRow, "demo-1")
    assert [(fill.client_order_id, fill.execution_id, fill.busted) for fill in fills] == [
        ("d-1", "x-1", False),
        ("d-1", "x-2", False),
        ("d-2", "x-1", False),
        ("d-2", "x-3", True),
        ("stranger", "y-1", False),
    ]
    assert [fill.symbol for fill in fills] == ["SPY180209C00270000"] * 2 + ["SPY"] * 2 + [None]
    assert str(fills[0].price) == "3.45"


def test_decisions_and_marks_keep_their_numbers(projected):
    entry, skipped, hedge = by_number(projected, DecisionRow, "demo-1")
    assert entry.facts == {"edge": 1.5, "vol": "nan"}
    assert (entry.event_number, entry.client_order_ids) == (2, ["d-1"])
    assert (skipped.taken, skipped.reasons) == (False, ["inside the band"])
    assert hedge.facts == {"delta": 150}
    first, second = by_number(projected, MarkRow, "demo-1")
    assert first.parts == {"spread": "-0.50", "fees": "-0.05"}
    assert first.implied_vol is None
    assert second.nav == Decimal("100010.25")


def test_positions_are_what_fills_bust_snapshot_and_expiry_leave(projected):
    spy, call = load_positions(projected, "demo-1")
    assert (spy.symbol, spy.quantity, spy.instrument) == ("SPY", Decimal(-90), "Equity")
    assert (call.quantity, call.multiplier) == (0, 100)
    assert call.realized == -1045
    assert call.fees == Decimal("0.10")


def test_projecting_again_and_into_a_new_store_gives_the_same_rows(projected, tmp_path):
    before = all_rows(projected)
    project_journal(tmp_path / "demo-1", projected)
    assert all_rows(projected) == before
    with open_store(f"sqlite:///{tmp_path / 'again.sqlite'}") as again:
        project_journal(tmp_path / "demo-1", again)
        assert all_rows(again) == before


@pytest.mark.parametrize("parts", [(1, 3), (2, 5, 6), (4,)])
def test_a_run_that_goes_on_has_at_each_request_the_rows_of_all_so_far(
    tmp_path, header, story, store, write, parts
):
    for count in (*parts, len(story)):
        run_dir = write(tmp_path / str(count), header, story[:count], seal=count == len(story))
        project_if_new(run_dir, store)
        with open_store(f"sqlite:///{tmp_path / str(count)}.sqlite") as fresh:
            project_journal(run_dir, fresh)
            assert all_rows(store) == all_rows(fresh)


def test_another_run_is_not_touched(projected, tmp_path, header, story, write):
    before = all_rows(projected)
    other = msgspec.structs.replace(header, run_id="demo-2", started_ns=header.started_ns + 1)
    project_journal(write(tmp_path, other, story[:4]), projected)
    after = all_rows(projected)
    for table, rows in before.items():
        assert set(rows) <= set(after[table])
        assert len(after[table]) > len(rows)
    assert load_run(projected, "last").end_positions == {"SPY": "10", "SPY180209C00270000": "1"}


def test_a_damaged_journal_leaves_the_rows_as_they_were(projected, tmp_path):
    before = all_rows(projected)
    path = tmp_path / "demo-1" / "journal-000001.sdj"
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(JournalError):
        project_journal(tmp_path / "demo-1", projected)
    assert all_rows(projected) == before


def test_a_run_that_was_cut_says_so(tmp_path, header, story, store, write):
    run_dir = write(tmp_path, header, story, seal=False)
    path = run_dir / "journal-000001.sdj"
    path.write_bytes(path.read_bytes()[:-1])
    run = load_run(store, project_journal(run_dir, store).header.run_id)
    assert not run.sealed
    assert "journal-000001.sdj" in run.recovered
    cut = cut_short(run_dir, header, run.last_event_ns, sealed=False)
    assert run.summary == {"verdict": str(cut), "cut": msgspec.to_builtins(cut)}


def test_an_execution_beyond_the_order_is_told_in_its_row(tmp_path, header, story, store, write):
    too_much = OrderFilled("d-1", 1, 2, "x-9", Decimal(9), Decimal(1), Decimal(0))
    project_journal(write(tmp_path, header, [*story[:2], ([too_much], ())]), store)
    (row,) = by_number(store, OrderRow, "demo-1")
    assert "beyond its quantity" in row.reason
    assert row.filled_quantity == 0
    assert [fill.quantity for fill in by_number(store, FillRow, "demo-1")] == [9]


def test_a_run_without_events_has_a_row(tmp_path, header, store, write):
    run = load_run(store, project_journal(write(tmp_path, header, []), store).header.run_id)
    assert (run.events, run.first_event_ns, run.nav_change) == (0, None, 0)


def test_long_runs_go_in_by_batches(tmp_path, header, story, store, write, monkeypatch):
    monkeypatch.setattr("scalpdesk.records.projection._BATCH_ROWS", 7)
    decision = story[5][1][0]
    steps = [([TimerEvent(n, n, "beat")], (decision,)) for n in range(50)]
    project_journal(write(tmp_path, header, steps), store)
    with store.session() as session:
        assert session.scalar(select(func.count()).select_from(CHILD_TABLES[2])) == 50
    assert [row.number for row in by_number(store, DecisionRow, "demo-1")] == list(range(1, 51))


def test_missing_runs_are_added_and_damage_hides_no_other(tmp_path, header, story, store, write, monkeypatch):
    runs_dir = tmp_path / "runs"
    for number in (1, 2, 3):
        own = msgspec.structs.replace(header, run_id=f"demo-{number}", started_ns=number)
        write(runs_dir, own, story, seal=number != 3)
    (runs_dir / "demo-1" / "journal-000001.sdj").write_bytes(b"spoiled" * 20)
    refused = project_missing(runs_dir, store)
    assert list(refused) == ["demo-1"]
    assert "not a scalpdesk diary" in refused["demo-1"]
    assert load_run(store, "last").run_id == "demo-3"
    read = []
    monkeypatch.setattr(
        projection, "JournalReader", lambda folder: read.append(folder) or JournalReader(folder)
    )
    project_missing(runs_dir, store)
    assert [folder.name for folder in read] == ["demo-1", "demo-3"]  # the sealed one is not looked at again


def test_a_bust_told_twice_or_of_something_unknown_changes_nothing_more(
    tmp_path, header, story, store, write
):
    stamps = (header.started_ns + 20, header.started_ns + 120)
    busts = [
        FillBusted("d-2", *stamps, "x-3", "again"),
        FillBusted("d-2", *stamps, "x-77", "never was"),
        FillBusted("stranger", *stamps, "y-1", "not ours"),
        OrderStatusUnknown("d-2", *stamps, "late word"),
    ]
    project_journal(write(tmp_path, header, [*story, (busts, ())]), store)
    fills = by_number(store, FillRow, "demo-1")
    assert [fill.busted for fill in fills] == [False, False, False, True, True]
    spy, _ = load_positions(store, "demo-1")
    assert spy.quantity == -90
    assert by_number(store, OrderRow, "demo-1")[1].state == "cancelled"
    assert load_run(store, "demo-1").fills == 3


def test_account_lines_and_changes_are_booked_once(tmp_path, header, story, store, write):
    project_journal(write(tmp_path, header, [*story, story[0], story[-1]]), store)
    spy, call = load_positions(store, "demo-1")
    assert (spy.quantity, call.quantity) == (-90, 0)


def test_a_cancel_of_an_order_that_is_over_is_no_change(tmp_path, header, story, store, write):
    late = ([TimerEvent(header.started_ns + 130, header.started_ns + 130, "beat")], (CancelOrder("d-1"),))
    project_journal(write(tmp_path, header, [*story, late]), store)
    assert by_number(store, OrderRow, "demo-1")[0].state == "filled"


def test_what_moved_the_holdings_and_the_dividends_are_kept_as_they_pass(
    tmp_path, header, story, store, write
):
    (expiry,) = story[-1][0]
    again = msgspec.structs.replace(expiry, ts_recv_ns=expiry.ts_recv_ns + 1)
    dividend = DividendEvent(InstrumentId(0), 1, 2, header.started_ns + 50, Decimal("1.10"))
    found = project_journal(write(tmp_path, header, [*story, ([again, dividend], ())]), store)
    began, ended = found.fold.changes
    assert (began.reference, ended.reference, ended.ts_ns) == ("snapshot-0", "exp-1", expiry.ts_recv_ns)
    assert found.fold.dividends == [dividend]


def test_figures_that_are_no_amounts_are_left_out(tmp_path, header, store, write):
    odd = msgspec.structs.replace(header, data={"open": "nan", "high": "Infinity", "notes": [float("-inf")]})
    run = load_run(store, project_journal(write(tmp_path, odd, []), store).header.run_id)
    assert (run.open, run.high, run.close, run.session) == (None, None, None, None)
    assert run.data["notes"] == ["-inf"]


@pytest.mark.parametrize("revision", ["136_options_scalper", "r0002", "r0005"])
def test_a_store_of_an_earlier_program_gets_what_it_lacks_and_keeps_what_it_has(projected, revision):
    """The basis had no column of its own: SQL and the Runs page showed it as the residual."""
    with projected.engine.begin() as connection:
        values = {"residual": "-3.75", "summary": json.dumps({"pnl": {"basis": "-4.00"}})}
        if projected.engine.dialect.name == "postgresql":
            values["residual"] = Decimal("-3.75")
        connection.execute(text("UPDATE runs SET pnl_residual = :residual, summary = :summary"), values)
        connection.execute(text("ALTER TABLE runs DROP COLUMN pnl_basis"))
        connection.execute(text("DROP TABLE trades"))
        if revision == "136_options_scalper":
            connection.execute(text("ALTER TABLE orders DROP COLUMN trigger_price"))
            connection.execute(text("DROP TABLE notes"))
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    with open_store(projected.engine.url.render_as_string(hide_password=False)) as store:
        assert differs_from_the_models(store) == []
        run = load_run(store, "last")
        assert (run.pnl_basis, run.pnl_residual) == (Decimal("-4.00"), Decimal("0.25"))
        assert len(load_tables(store, run.run_id, "orders")["orders"]) == run.orders
