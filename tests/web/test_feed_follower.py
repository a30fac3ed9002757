"""The replica of a run is the run: same figures as its summary and its marks, from the journal alone."""

import math
from decimal import Decimal
from io import StringIO
from itertools import pairwise

import pytest
from msgspec import structs
from rich.console import Console

from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.cli.summary_view import SPARKS, LiveView
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import FillBusted, OrderFilled, QuoteEvent
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import to_cents
from scalpdesk.journal.reader import JournalReader
from scalpdesk.monitor import documents, market, order_documents, position_documents
from scalpdesk.monitor.follower import (
    COLUMNS,
    MOST_SAMPLES,
    SAMPLE_SECONDS,
    RunFollower,
    Series,
    market_speed,
)
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.report.figures import json_safe
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at
from tests.web.reading import lines_of, read_whole


def test_a_run_that_ended_has_the_figures_of_its_summary_to_the_cent(ended_feed, ended_runs):
    _, summary = ended_runs
    shown = documents.performance(ended_feed.follower)
    assert shown["pnl"] == summary["pnl"]
    assert shown["session_parts"] == summary["pnl"]
    assert shown["pnl_detail"] == summary["pnl_detail"]
    assert summary["realised_vs_implied"] == summary["pnl_detail"]["realised_against_implied"]["total"]
    for name in ("nav_change", "fills", "orders", "hedges", "decisions", "mode", "end_positions"):
        assert shown[name] == summary[name], name
    assert shown["round_trips"]["number"] == 1
    assert ended_feed.follower.tail.sealed
    assert not ended_feed.is_running


def test_parts_of_the_page_sum_to_its_total(held):
    parts = documents.session_parts(held)
    assert sum(parts[name] for name in PARTS) == parts["total"]
    rows = documents.waterfall(parts)
    assert [row["name"] for row in rows] == [*PARTS, "total"]
    for before, after in pairwise(rows[:-1]):
        assert before["to"] == pytest.approx(after["from"])
    assert rows[-2]["to"] == pytest.approx(float(parts["total"]))


def test_cash_and_positions_are_those_of_the_fills(held):
    cash = Decimal(held.header.config["simulation"]["starting_cash"])
    held_units: dict[str, Decimal] = {}
    for (name, _), (_, quantity, price, fee) in held.fills.items():
        order = held.desk.orders.orders[name].submitted
        contract = held.desk.instruments[order.instrument_id]
        signed = quantity * order.side.sign
        held_units[contract.symbol] = held_units.get(contract.symbol, Decimal(0)) + signed
        cash -= signed * price * contract.multiplier + fee
    assert held.desk.account.cash == cash
    rows = position_documents.positions(held)["positions"]
    assert {row["symbol"]: Decimal(row["quantity"]) for row in rows} == held_units
    assert len(rows) == 3


def test_the_curves_end_at_the_close_with_the_runs_result(ended_feed, ended_runs):
    _, summary = ended_runs
    follower = ended_feed.follower
    columns = follower.series.columns
    assert columns["t"][-1] == follower.header.sessions[-1].close_ns / 1e9
    assert columns["equity"][-1] == float(summary["nav_change"])


def test_samples_stand_on_their_grid_and_end_within_it(held):
    stamps = held.series.columns["t"]
    assert {len(column) for column in held.series.columns.values()} == {len(stamps)}
    gaps = [after - before for before, after in pairwise(stamps)]
    assert min(gaps) > 0
    assert max(gaps) < 2 * SAMPLE_SECONDS
    assert len(stamps) == pytest.approx(10 * 60 / SAMPLE_SECONDS, abs=3)
    assert held.now_ns / 1e9 - stamps[-1] < 2 * SAMPLE_SECONDS


def test_following_in_slices_gives_what_following_at_once_gives(held):
    sliced = RunFollower(held.run_dir)
    while sliced.advance(1) or not sliced.events:
        pass
    assert sliced.series.columns == held.series.columns
    assert sliced.fills == held.fills
    assert sliced.events == held.events == JournalReader(held.run_dir).totals.events
    sliced.tail.close()
    assert json_safe(documents.desk_page(sliced)) == json_safe(documents.desk_page(held))


def test_each_hedge_is_in_the_history_of_its_order(held):
    assert len(held.fold.orders) == len(held.desk.orders.orders) == len(held.fills)
    for line in held.fold.orders:
        assert [state for _, state, _ in line.history] == ["pending_new", "working", "filled"]


def test_an_execution_counts_once_and_one_taken_back_not_at_all(held):
    follower = read_whole(RunFollower(held.run_dir))
    events = [event for batch, _ in JournalReader(held.run_dir).steps() for event in batch]
    last = [event for event in events if isinstance(event, OrderFilled)][-1]
    count = len(held.fills)

    def shown():
        page, answer = documents.desk_page(follower), documents.performance(follower)
        drawn = len(order_documents.fills_document(follower)["columns"]["t"])
        return page["fills"], answer["fills"], drawn

    assert shown() == (count, count, count)
    follower.take(structs.replace(last, ts_recv_ns=follower.now_ns + 1))
    assert shown() == (count, count, count)
    now_ns = follower.now_ns + 1
    follower.take(FillBusted(last.client_order_id, now_ns, now_ns, last.execution_id, "clearly erroneous"))
    assert shown() == (count - 1, count - 1, count - 1)


def test_the_card_has_the_headers_pnl_and_its_bars_end_there(held):
    """Header and card told 48.69 and 70.82 of one halted desk: the card's was that of the last mark."""
    follower = read_whole(RunFollower(held.run_dir))

    def last_row():
        head, page = documents.run_head(follower, is_running=True), documents.desk_page(follower)
        *bars, total = page["parts"]
        assert head["pnl"] == page["pnl"] == total["pnl"]
        assert sum(Decimal(bar["pnl"]) for bar in bars) == Decimal(total["pnl"])
        said = "".join(piece["text"] for piece in page["verdict"])
        lost = -min(Decimal(head["pnl"]), Decimal(0))
        assert (f"{lost:,}" in said) if lost else "Lost" not in said  # its sentence has the header's P&L
        performance = documents.performance(follower)
        assert performance["session_pnl"] == head["pnl"]
        shown = sum(Decimal(part) for name, part in performance["session_parts"].items() if name != "total")
        assert shown == Decimal(head["pnl"])
        assert Decimal(head["pnl"]) == follower.money(follower.desk.session_pnl())
        return bars[-1]["name"]

    assert last_row() == "residual"
    number, now_ns = follower.desk.view.underlying, follower.now_ns + 1
    spot = follower.desk.market.mark(number)
    follower.take(QuoteEvent(number, now_ns, now_ns, spot + 0.99, spot + 1.01, 1.0, 1.0))
    assert last_row() == "since_last_mark"
    for _ in range(2):  # to a loss that no mark knows, and back to what one knew
        shares = max(abs(Decimal(documents.run_head(follower, is_running=True)["pnl"])), Decimal(1))
        follower.desk.session_equity += 3 * shares
        assert last_row() == "since_last_mark"
        follower.desk.session_equity -= 3 * shares


def test_round_trips_are_those_of_the_whole_run_and_not_of_the_decisions_kept(held):
    follower = read_whole(RunFollower(held.run_dir, most_decisions=3))
    for number in range(10):
        facts = {"gain_before_fees_usd": number - 2.5, "signal": "fade"}
        follower.note(Decision(follower.now_ns, DecisionKind.EXIT, True, ("sold at the target",), facts))
    assert len(follower.decisions) == 3
    trips = documents.round_trips(follower)
    assert (trips["number"], trips["wins"], trips["pnl"]) == (10, 7, "20.00")
    assert trips["by_signal"]["fade"]["number"] == 10


def test_trades_of_a_strategy_that_states_no_result_are_those_of_the_ledger(ended_runs):
    """Trades were counted by the first words of the decision that ends them."""
    folder, summary = ended_runs

    class OfEvents(RunFollower):
        def _note(self, output):
            """Pass over what was decided."""

    trips = documents.round_trips(read_whole(OfEvents(folder / summary["run_id"])))
    assert (trips["number"], trips["pnl"]) == (1, summary["nav_change"])


@pytest.mark.parametrize("leg", [5, 6], ids=["call", "put"])
def test_the_volatility_series_is_restated_once_quotes_show_the_forward(tmp_path, leg):
    """Held at the start and quoted alone for three minutes: 8 % of yield are configured, the market has 0."""

    def played(name, late_seconds):
        builder = TapeBuilder(straddle_book(480, 490, 500, 510, 520))
        builder.path("09:30", 5.0, [500.0 + 0.01 * (n % 7) for n in range(120)])
        shown_ns = at("09:30") + late_seconds * 10**9
        builder.rows = [
            one for one in builder.rows if one.instrument_id in (0, 5, 6) or one.ts_recv_ns >= shown_ns
        ]
        tape = builder.build()
        overrides = (
            f"simulation.positions.{tape.instruments[leg].symbol}=1",
            "entry.gate=off",
            "entry.not_before=15:00",
            "mode=resume",
            "rates.dividend_yields.SPY=0.08",
        )
        settings = load_settings("gamma-scalper", overrides=overrides)
        run = run_backtest(settings, tape, ManualClock(), runs_dir=tmp_path / name)
        return read_whole(RunFollower(run.run_dir))

    late, known = played("late", 180), played("known", 0)
    assert late.series.generation == 1
    assert late.series.columns["implied"][0] is not None
    assert late.series.columns["implied"] == pytest.approx(known.series.columns["implied"], abs=0.2)
    assert late.first_implied == pytest.approx(known.first_implied, abs=2e-3)


def test_no_volatility_is_shown_where_half_a_tick_moves_it_by_more_than_five_points(held, monkeypatch):
    """The last minute of a sold condor drew 6,059 % into its curve."""
    value, years = held.value, 10.0 / (365 * 86_400)

    def seconds_before_expiry(number):
        state = value(number)
        return state and structs.replace(state, years=years, known_greeks=None, known_vol=-1.0)

    def shown():
        rows = position_documents.positions(held)["positions"]
        return [row["vol"] for row in rows if row["expiry"] is not None]

    assert math.isfinite(held.implied_of_book())
    assert len(shown()) == 2
    assert all(vol > 0.0 for vol in shown())
    monkeypatch.setattr(held, "value", seconds_before_expiry)
    assert math.isnan(held.implied_of_book())
    assert shown() == [None, None]


def test_a_long_series_is_thinned_in_its_older_half():
    series = Series()
    for t in range(MOST_SAMPLES + 1):
        series.add(dict.fromkeys(COLUMNS, float(t)) | {"band": float("nan")})
    assert series.generation == 1
    stamps = series.columns["t"]
    assert stamps[-1] == MOST_SAMPLES
    assert stamps[:4] == [0.0, 2.0, 4.0, 6.0]
    assert len(stamps) == MOST_SAMPLES // 4 + MOST_SAMPLES // 2 + 1
    assert set(series.columns["band"]) == {None}


def test_a_journal_that_cannot_be_followed_says_why(tmp_path, held):
    folder = tmp_path / held.run_dir.name
    folder.mkdir()
    path = folder / "journal-000001.sdj"
    path.write_bytes(b"no journal at all" * 10)
    lost = RunFollower(folder)
    assert lost.advance() == 0
    assert "not a scalpdesk diary" in lost.problem
    assert documents.run_head(lost, is_running=False)["account"]["kind"] == "UNKNOWN"
    told = "This run cannot be read, nor what it holds: "
    shown = (
        documents.desk_page,
        market.volatility_page,
        market.picker_page,
        order_documents.orders_page,
        order_documents.why_page,
        position_documents.position_page,
    )
    assert {page(lost)["empty"] for page in shown} == {told + lost.problem.splitlines()[0]}
    plan = position_documents.flatten_plan(lost)
    assert (plan["legs"], plan["is_flat"]) == (told + lost.problem.splitlines()[0], False)


def test_a_run_of_which_nothing_is_on_disk_yet_is_not_called_flat(tmp_path):
    started = RunFollower(tmp_path)
    assert documents.desk_page(started)["empty"] == "Nothing of this run was read yet."
    assert not position_documents.flatten_plan(started)["is_flat"]


@pytest.mark.parametrize(("width", "height"), [(80, 12), (80, 24), (100, 32), (140, 45), (200, 60)])
def test_terminal_view_uses_the_rows_there_are_and_shows_the_desks_figures(held, width, height):
    out = Console(width=width, height=height, file=StringIO(), force_terminal=True, color_system=None)
    view = LiveView("reconstructed", out)
    columns = held.series.columns
    for drawn in zip(*(columns[name] for name in ("spot", "pnl", "net_delta", "band")), strict=True):
        view.remember(*(math.nan if each is None else each for each in drawn))
    view.draw(held.engine, "gamma-scalper", held.fold.taken["hedge"], held.decisions[-1][1])
    lines = lines_of(view, out)
    text = "\n".join(lines)
    spot = held.desk.market.mark(held.desk.view.underlying)
    today = held.desk.attribution.current_nav() - held.desk.session_equity
    assert len(lines) < height
    assert f"SPY {spot:,.2f}" in text
    if height >= 24:
        assert f"spot {spot:,.2f}" in text
        assert any(mark in text for mark in SPARKS)
        assert "•" in text
        assert f"band ±{held.band:.1f}" in text
        assert f"P&L today {to_cents(today):,.2f}" in text
        assert f"NAV {to_cents(held.desk.attribution.current_nav()):,.2f}" in text
        assert len(lines) >= height - 3  # no row is left empty
    assert ("residual" in text) == (height > 24)


def test_the_speed_is_that_of_the_last_seconds_however_fast_the_journal_was_read_before():
    read_at_once = [(0.0, 0), (0.3, 14_400 * 10**9)]
    every_36_s = [(0.3 + 36.0 * n, (14_400 + 30 * n) * 10**9) for n in range(1, 4)]
    every_second = [(0.3 + n, (14_400 + 2 * n) * 10**9) for n in range(1, 20)]
    assert market_speed([*read_at_once, *every_36_s]) == pytest.approx(30 / 36)
    assert market_speed([*read_at_once, *every_second]) == pytest.approx(2.0)
    assert math.isnan(market_speed(read_at_once[:1]))
