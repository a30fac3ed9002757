"""Options scalps on record: rows of a journal, the migration, and the questions asked of them."""

from datetime import date, datetime
from decimal import Decimal

import msgspec
import pytest
from alembic import command
from sqlalchemy import insert, inspect, select

from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.events import FillBusted, OrderAccepted, OrderFilled, PositionChanged
from scalpdesk.core.intents import Decision, Mark, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.records.projection import project_journal, project_missing
from scalpdesk.records.scalps import open_scalps, scalp_history, scalp_performance
from scalpdesk.records.store import delete_run, open_store
from scalpdesk.records.tables import OptionsScalpRecord, RunRow, ScalpOutcomeRow
from tests.records.stores import differs_from_the_models, migrate

CALL = InstrumentId(1)
SECOND = 10**9
START_NS = 1_517_841_000_000_000_000
"""2018-02-05 09:30 New York."""
SIGNAL = "SPY|1m|2018-02-05T14:31:00Z|flip_up"
FACTS = {
    "scalp_id": SIGNAL,
    "signal_id": SIGNAL,
    "contract": "SPY180209C00270000",
    "conviction": 80,
    "days_to_expiry": 4,
    "delta": 0.41,
    "theta_per_day": -0.2,
    "implied_vol": 0.31,
}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """Open a store in each database; PostgreSQL where TEST_POSTGRES_URL names one."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'd.sqlite'}" if is_sqlite else request.getfixturevalue("postgres_url")
    with open_store(url) as opened:
        yield opened
        migrate(opened, command.downgrade, "base")


def order(name, side, quantity, purpose):
    price = Decimal("2.50")
    return SubmitOrder(name, CALL, side, Decimal(quantity), OrderType.LIMIT, price, TimeInForce.DAY, purpose)


def fill(name, second, execution, quantity, price, fee="0.05"):
    at_ns = START_NS + second * SECOND
    return OrderFilled(name, at_ns, at_ns, execution, Decimal(quantity), Decimal(price), Decimal(fee))


def decided(second, kind, *order_ids, **facts):
    return Decision(START_NS + second * SECOND, kind, bool(order_ids), ("why",), FACTS | facts, order_ids)


def bought():
    """Return a first half in two fills and a second half."""
    buy, add = order("d-1", Side.BUY, 3, Purpose.OPEN), order("d-2", Side.BUY, 2, Purpose.OPEN)
    at_ns = START_NS + 60 * SECOND
    return [
        (
            [OrderAccepted("none", at_ns, at_ns, "v-0")],
            (decided(60, DecisionKind.ENTRY), decided(60, DecisionKind.ENTRY, "d-1"), buy),
        ),
        ([fill("d-1", 61, "x1", 1, "2.40")], ()),
        ([fill("d-1", 62, "x2", 2, "2.50")], ()),
        ([OrderAccepted("d-1", at_ns + 60 * SECOND, at_ns + 60 * SECOND, "v-1")],
         (decided(120, DecisionKind.ENTRY, "d-2"), add)),
        ([fill("d-2", 121, "x3", 2, "2.60")], ()),
    ]  # fmt: skip


def sold(price="3.10", reason="profit_target"):
    sale = order("d-3", Side.SELL, 5, Purpose.CLOSE)
    at_ns = START_NS + 180 * SECOND
    selling = decided(180, DecisionKind.EXIT, "d-3", exit_reason=reason)
    flat = decided(181, DecisionKind.EXIT, exit_reason=reason)
    return [
        ([OrderAccepted("d-2", at_ns, at_ns, "v-2")], (selling, sale)),
        ([fill("d-3", 181, "x4", 5, price, fee="0.35")], (flat,)),
    ]


def test_a_scalp_is_one_row_from_its_first_fill_to_its_last(store, tmp_path, header, write):
    run_dir = write(tmp_path, header, bought() + sold())
    for _ in range(2):  # made again, they are the same
        project_journal(run_dir, store)
        (row,) = scalp_history(store)
        assert open_scalps(store) == []
    assert (row["ticker"], row["option_symbol"], row["option_type"]) == ("SPY", "SPY180209C00270000", "call")
    assert (row["strike"], row["expiry"], row["dte"]) == (270.0, date(2018, 2, 9), 4)
    assert (row["direction"], row["contracts"], row["status"]) == ("long_call", 5, "closed")
    assert row["entry_premium"] == pytest.approx((2.40 + 2 * 2.50 + 2 * 2.60) / 5)
    assert row["exit_premium"] == pytest.approx(3.10)
    assert row["pnl"] == pytest.approx((3.10 - 2.52) * 5 * 100 - 0.50)
    assert row["pnl_pct"] == pytest.approx(3.10 / 2.52 - 1)
    assert (row["entry_delta"], row["entry_theta"], row["entry_iv"]) == (0.41, -0.2, 0.31)
    assert (row["exit_reason"], row["order_id"], row["broker"]) == ("profit_target", "d-1", "simulated")
    assert (row["entry_time"], row["exit_time"]) == (
        datetime.fromisoformat("2018-02-05T14:31:01"),
        datetime.fromisoformat("2018-02-05T14:33:01"),
    )
    assert msgspec.json.decode(row["metadata_json"])["order_ids"] == ["d-1", "d-2", "d-3"]


def test_what_is_held_is_open_and_has_no_result(store, tmp_path, header, write):
    project_journal(write(tmp_path, header, bought(), seal=False), store)
    (row,) = open_scalps(store)
    assert scalp_history(store) == []
    assert (row["status"], row["pnl"], row["exit_time"], row["exit_reason"]) == ("open", None, None, None)
    assert scalp_performance(store)["total"]["scalps"] == 0


def test_a_signal_without_a_fill_is_no_scalp(store, tmp_path, header, write):
    project_journal(write(tmp_path, header, bought()[:1]), store)
    assert open_scalps(store) == scalp_history(store) == []


def test_an_execution_taken_back_is_not_counted(store, tmp_path, header, write):
    at_ns = START_NS + 122 * SECOND
    project_journal(
        write(tmp_path, header, [*bought(), ([FillBusted("d-2", at_ns, at_ns, "x3", "bad")], ())]), store
    )
    (row,) = open_scalps(store)
    assert row["contracts"] == 3


@pytest.mark.parametrize(
    ("cause", "price", "status", "reason"),
    [
        (ChangeCause.EXPIRED_WORTHLESS, "0", "expired", "expired"),
        (ChangeCause.CASH_SETTLEMENT, "1.25", "expired", "expired"),
        (ChangeCause.AUTO_LIQUIDATION, "0.40", "closed", "auto_liquidation"),
    ],
)
def test_an_expiry_or_a_close_by_the_venue_ends_it(
    store, tmp_path, header, write, cause, price, status, reason
):
    at_ns = START_NS + 300 * SECOND
    change = PositionChanged(CALL, at_ns, at_ns, cause, Decimal(-5), Decimal(price), Decimal(0), "end-1")
    project_journal(write(tmp_path, header, [*bought(), ([change], ())]), store)
    (row,) = scalp_history(store)
    assert (row["status"], row["exit_reason"], row["exit_premium"]) == (status, reason, float(price))
    assert row["pnl"] == pytest.approx((float(price) - 2.52) * 500 - 0.15)


@pytest.mark.parametrize(
    ("main", "pays", "pnl"), [("SPY", 3.50, (3.50 - 2.52) * 500 - 0.15), ("QQQ", 0.0, -2.52 * 500 - 0.15)]
)
def test_an_exercise_is_worth_what_it_pays_at_the_mark_beside_it(
    store, tmp_path, header, write, main, pays, pnl
):
    """The option goes at nothing, its shares come at the strike; the mark shows the main underlying."""
    own = msgspec.structs.replace(header, data=header.data | {"underlying": main})
    at_ns, none = START_NS + 300 * SECOND, Decimal(0)
    gone = PositionChanged(CALL, at_ns, at_ns, ChangeCause.EXERCISE, Decimal(-5), none, none, "end-1", True)
    amounts = Decimal(500), Decimal(270), Decimal(-135_000)
    came = PositionChanged(InstrumentId(0), at_ns, at_ns, ChangeCause.DELIVERY, *amounts, "end-2")
    nav = Decimal(100_000)
    seen = Mark(at_ns, nav, none, {}, 273.5, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0)
    story = [*bought(), ([gone], (msgspec.structs.replace(seen, spot=float("nan")),)), ([came], (seen,))]
    project_journal(write(tmp_path, own, story), store)
    (row,) = scalp_history(store)
    assert (row["status"], row["exit_reason"], row["exit_premium"]) == ("expired", "expired", pays)
    assert row["pnl"] == pytest.approx(pnl)


def test_a_sale_that_the_desk_made_for_it_counts(store, tmp_path, header, write):
    """As when the desk flattens: the order belongs to no decision on the scalp."""
    sale = order("d-9", Side.SELL, 5, Purpose.CLOSE)
    at_ns = START_NS + 180 * SECOND
    flat = Decision(at_ns, DecisionKind.EXIT, True, ("flatten",), {}, ("d-9",))
    story = [
        *bought(),
        ([OrderAccepted("d-2", at_ns, at_ns, "v")], (flat, sale)),
        ([fill("d-9", 181, "x9", 5, "2")], ()),
    ]
    project_journal(write(tmp_path, header, story), store)
    (row,) = scalp_history(store)
    assert row["status"] == "closed"


def test_a_sale_of_another_strategy_of_the_desk_ends_no_scalp(store, tmp_path, header, write):
    def owned(output, owner):
        is_order = isinstance(output, SubmitOrder)
        return msgspec.structs.replace(output, owner=owner) if is_order else output

    at_ns = START_NS + 180 * SECOND
    buy, sale = order("d-7", Side.BUY, 5, Purpose.OPEN), order("d-8", Side.SELL, 5, Purpose.CLOSE)
    flat = order("d-9", Side.SELL, 5, Purpose.CLOSE)  # what the desk sells as it flattens has its owner too
    other = Decision(at_ns, DecisionKind.EXIT, True, ("time",), {}, ("d-8",))
    story = [
        *((events, tuple(owned(item, "ema-scalper") for item in outputs)) for events, outputs in bought()),
        ([OrderAccepted("none", at_ns, at_ns, "v")], (other, owned(buy, "st0ckg"), owned(sale, "st0ckg"))),
        ([fill("d-7", 181, "x7", 5, "2.00")], ()),
        ([fill("d-8", 182, "x8", 5, "2.00")], (owned(flat, "ema-scalper"),)),
    ]
    project_journal(write(tmp_path / "one", header, story), store)
    assert [row["contracts"] for row in open_scalps(store)] == [5]
    project_journal(
        write(tmp_path / "two", header, [*story, ([fill("d-9", 183, "x9", 5, "3.10")], ())]), store
    )
    assert [row["exit_premium"] for row in scalp_history(store)] == [3.10]


def test_a_scalp_goes_on_under_the_name_of_its_adjusted_contract(store, tmp_path, header, write):
    """Five calls of 270 become ten of 135 by a split of two for one; six are sold and four are exercised."""
    new = us_option("SPY180209C00135000")
    own = msgspec.structs.replace(
        header, data=header.data | {"underlying": "SPY"}, instruments=(*header.instruments, new)
    )
    number, none, at_ns = InstrumentId(len(header.instruments)), Decimal(0), START_NS + 300 * SECOND
    split = PositionChanged(
        *(number, at_ns, at_ns, ChangeCause.CORPORATE_ACTION, Decimal(10), none, none, "split-1"),
        source=CALL,
        source_change=Decimal(-5),
    )
    sale = msgspec.structs.replace(order("d-9", Side.SELL, 6, Purpose.CLOSE), instrument_id=number)
    gone = PositionChanged(number, at_ns, at_ns, ChangeCause.EXERCISE, Decimal(-4), none, none, "end-1", True)
    seen = Mark(at_ns, Decimal(100_000), none, {}, 136.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0)
    story = [
        *bought(),
        ([split], (sale,)),
        ([fill("d-9", 300, "x9", 6, "1.50", fee="0")], ()),
    ]
    project_journal(write(tmp_path / "one", own, story, seal=False), store)
    (row,) = open_scalps(store)
    assert (row["option_symbol"], row["contracts"]) == ("SPY180209C00270000", 5)
    project_journal(write(tmp_path / "two", own, [*story, ([gone], (seen,))]), store)
    (row,) = scalp_history(store)
    assert (row["option_symbol"], row["contracts"], row["status"]) == ("SPY180209C00270000", 5, "expired")
    assert row["exit_premium"] == pytest.approx((3 * 3.00 + 2 * 2.00) / 5)
    assert row["pnl"] == pytest.approx((6 * 1.50 + 4 * 1.00) * 100 - 5 * 2.52 * 100 - 0.15)


def test_a_purchase_taken_back_after_the_sale_is_over_with_what_it_was_bought_back_for(
    store, tmp_path, header, write
):
    at_ns = START_NS + 190 * SECOND
    cover = order("d-4", Side.BUY, 5, Purpose.CLOSE)
    taken_back = [FillBusted(name, at_ns, at_ns, ex, "bad") for name, ex in
                  (("d-1", "x1"), ("d-1", "x2"), ("d-2", "x3"))]  # fmt: skip
    story = [*bought(), *sold("2.00"), (taken_back, (decided(190, DecisionKind.EXIT, "d-4"), cover))]
    project_journal(write(tmp_path / "one", header, story, seal=False), store)
    assert open_scalps(store) == scalp_history(store) == []  # nothing was bought: the account is short
    project_journal(
        write(tmp_path / "two", header, [*story, ([fill("d-4", 195, "x5", 5, "2.10")], ())]), store
    )
    (row,) = scalp_history(store)
    assert row["pnl"] == pytest.approx((2.00 - 2.10) * 500 - 0.35 - 0.05)
    assert (row["entry_time"].second, row["exit_time"].second) == (1, 15)
    assert scalp_performance(store)["total"]["average_hold_seconds"] == 14.0


def test_the_performance_groups_what_is_over(store, tmp_path, header, write):
    for name, price in (("a", "3.10"), ("b", "2.00"), ("c", "2.00")):
        own = msgspec.structs.replace(header, run_id=name)
        project_journal(write(tmp_path, own, bought() + sold(price)), store)
    made = scalp_performance(store)
    won, lost = (3.10 - 2.52) * 500 - 0.50, (2.00 - 2.52) * 500 - 0.50
    assert made["total"]["pnl"] == pytest.approx(won + 2 * lost)
    assert made["total"]["win_rate"] == pytest.approx(1 / 3)
    assert made["total"]["average_hold_seconds"] == pytest.approx(120.0)
    assert [(one["key"], one["scalps"]) for one in made["by_ticker"]] == [("SPY", 3)]
    assert [(one["key"], one["won"]) for one in made["by_hour"]] == [(9, 1)]
    assert [(one["key"], one["lost"]) for one in made["by_conviction"]] == [("high", 2)]
    assert made["best"]["pnl"] == pytest.approx(won)
    assert made["worst"]["pnl"] == pytest.approx(lost)
    assert made["cumulative"][-1]["cumulative_pnl"] == pytest.approx(won + 2 * lost)
    alone = scalp_performance(store, "b")
    assert (alone["total"]["scalps"], alone["total"]["won"]) == (1, 0)
    assert len(scalp_history(store, "b")) == 1
    assert scalp_history(store, ticker="QQQ") == []
    assert scalp_performance(store, ticker="SPY") == made
    other = scalp_performance(store, ticker="QQQ")
    assert (other["total"]["scalps"], other["total"]["pnl"], other["cumulative"]) == (0, 0.0, [])
    assert other["best"] is None


def test_scalps_of_a_run_that_is_read_again_keep_their_ids_and_their_place(store, tmp_path, header, write):
    killed, later = (msgspec.structs.replace(header, run_id=name) for name in ("a-killed", "b-later"))
    write(tmp_path, killed, bought() + sold("2.00"), seal=False)
    write(tmp_path, later, bought() + sold("3.10"))
    for _ in range(3):  # the killed one is read again each time
        assert project_missing(tmp_path, store) == {}
        assert [(row["id"], row["exit_premium"]) for row in scalp_history(store)] == [(2, 3.10), (1, 2.00)]
        assert [row["exit_premium"] for row in scalp_history(store, limit=1)] == [3.10]


def test_a_late_fill_gives_a_scalp_an_id_of_its_own(store, tmp_path, header, write):
    """A first signal's order is filled after the second scalp's row was made."""
    other = {"scalp_id": "SPY|1m|2018-02-05T14:30:30Z|flip_up"}
    buy, at_ns = order("d-0", Side.BUY, 1, Purpose.OPEN), START_NS + 30 * SECOND
    first = [
        ([OrderAccepted("none", at_ns, at_ns, "v")], (decided(30, DecisionKind.ENTRY, "d-0", **other), buy))
    ]
    late = [([fill("d-0", 300, "x0", 1, "2.40")], ())]
    for name, story in (("one", first + bought()), ("two", first + bought() + late)):
        project_journal(write(tmp_path / name, header, story, seal=False), store)
    assert [(row["id"], row["contracts"]) for row in open_scalps(store)] == [(1, 5), (2, 1)]


def test_a_run_that_is_deleted_takes_its_scalps_along(store, tmp_path, header, write):
    project_journal(write(tmp_path, header, bought() + sold()), store)
    with store.engine.connect().execution_options(writes=True) as connection, connection.begin():
        delete_run(connection, header.run_id)
    with store.session() as session:
        for table in (OptionsScalpRecord, ScalpOutcomeRow, RunRow):
            assert session.scalars(select(table)).all() == []


def test_the_migration_makes_the_documents_table_and_goes_down_and_up_again(store):
    wanted = {
        "id": "INTEGER", "signal_id": "VARCHAR(50)", "ticker": "VARCHAR(10)", "option_symbol": "VARCHAR(30)",
        "option_type": "VARCHAR(4)", "strike": "FLOAT", "expiry": "DATE", "dte": "INTEGER",
        "direction": "VARCHAR(20)", "contracts": "INTEGER", "entry_premium": "FLOAT", "exit_premium": "FLOAT",
        "entry_delta": "FLOAT", "entry_theta": "FLOAT", "entry_iv": "FLOAT", "status": "VARCHAR(20)",
        "exit_reason": "VARCHAR(50)", "pnl": "FLOAT", "pnl_pct": "FLOAT", "broker": "VARCHAR(20)",
        "order_id": "VARCHAR(100)", "entry_time": "DATETIME", "exit_time": "DATETIME",
        "metadata_json": "TEXT", "created_at": "DATETIME",
    }  # fmt: skip
    wire = {"DOUBLE PRECISION": "FLOAT", "TIMESTAMP": "DATETIME"}
    for _ in range(2):
        found = inspect(store.engine)
        columns = found.get_columns("options_scalps")
        assert {one["name"]: wire.get(str(one["type"]), str(one["type"])) for one in columns} == wanted
        needed = {one["name"] for one in columns if not one["nullable"]}
        assert needed == {
            "id", "ticker", "option_symbol", "option_type", "strike", "expiry", "dte", "direction",
            "contracts", "entry_premium", "entry_time",
        }  # fmt: skip
        indexes = {tuple(one["column_names"]) for one in found.get_indexes("options_scalps")}
        assert indexes == {("ticker", "status"), ("signal_id",), ("expiry",)}
        migrate(store, command.downgrade, "r0001")
        assert "options_scalps" not in inspect(store.engine).get_table_names()
        migrate(store, command.upgrade, "head")
    assert differs_from_the_models(store) == []


def test_status_and_creation_have_the_documents_defaults(store):
    row = {
        "ticker": "SPY", "option_symbol": "SPY180209C00270000", "option_type": "call", "strike": 270.0,
        "expiry": date(2018, 2, 9), "dte": 4, "direction": "long_call", "contracts": 1, "entry_premium": 1.0,
        "entry_time": datetime.fromisoformat("2018-02-05T15:00:00"),
    }  # fmt: skip
    with store.engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(OptionsScalpRecord).values(row))
    (made,) = open_scalps(store)
    assert made["status"] == "open"
    assert isinstance(made["created_at"], datetime)
