"""Two strategies over a short embedded day: explained one by one, and the journal alone rebuilds them."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.assembly import engine_from_header, load_market
from scalpdesk.backtesting import runs
from scalpdesk.backtesting.runs import replay, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.errors import ConfigError, DataError
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId, to_cents
from scalpdesk.instruments.contract import Equity, options_in_order
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.postings import Posting
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.recovery import rebuild
from scalpdesk.marketdata.triggers import PriceMove, Wake
from scalpdesk.notebook import backtest
from scalpdesk.report.run_report import hedge_deltas
from scalpdesk.report.trades import exposure
from scalpdesk.research import stored_run
from scalpdesk.research.stored_run import read_stored
from scalpdesk.strategies.contract import Proposal
from scalpdesk.strategies.several.strategy import Several
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import run_tape
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

D = Decimal
SHARE = InstrumentId(0)
DAY = date(2018, 2, 5)
FIRST_HOUR_NS = 3_600 * 10**9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The first hour of the day, by st0cka and the gamma scalper."""
    folder = tmp_path_factory.mktemp("several")
    settings = load_settings(
        "st0cka+gamma-scalper",
        overrides=("entry.gate=advise", "budgets.fractions.st0cka=0.1"),
        cwd=folder,
    )
    tape = load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=1)
    session = tape.sessions[0]
    short = replace(session, close_ns=session.open_ns + FIRST_HOUR_NS)
    tape = replace(tape, sessions=(short,))
    return run_backtest(settings, tape, ManualClock(session.close_ns), seed=1, runs_dir=folder)


def test_each_strategy_has_its_row_and_they_sum_to_the_account(run):
    rows = run.summary["strategies"]
    assert list(rows)[:2] == ["st0cka", "gamma-scalper"]
    assert rows["st0cka"]["fills"] > 1
    assert rows["gamma-scalper"]["fills"] > 2
    assert sum(row["fills"] for row in rows.values()) == run.summary["fills"]
    assert sum(row["orders"] for row in rows.values()) == run.summary["orders"]
    total = sum(D(row["pnl"]["total"]) for row in rows.values())
    assert total == D(run.summary["nav_change"])
    for row in rows.values():
        parts = sum(D(amount) for name, amount in row["pnl"].items() if name != "total")
        assert parts == D(row["pnl"]["total"])
    held: dict[str, Decimal] = {}
    for row in rows.values():
        for symbol, quantity in row["positions"].items():
            held[symbol] = held.get(symbol, D(0)) + D(quantity)
    assert {symbol: quantity for symbol, quantity in held.items() if quantity} == {
        symbol: D(quantity) for symbol, quantity in run.summary["end_positions"].items()
    }


def test_the_tables_of_a_shared_run_are_each_strategys_own_and_sum_to_the_account(run):
    """The straddle had the account's P&L, and st0cka's shares counted as minutes beyond its band."""
    stored = read_stored(run.run_dir)
    totals = {name: D(row["pnl"]["total"]) for name, row in run.summary["strategies"].items()}
    assert totals["st0cka"] != 0
    (trade,) = stored.trades
    assert trade.strategy == "gamma-scalper"
    assert 0.05 < trade.vol_in < 2.0
    # rounded so that the strategies sum to the account
    assert to_cents(trade.pnl) == pytest.approx(totals["gamma-scalper"], abs=D("0.01"))
    assert trade.hedges == sum(fill.purpose == "hedge" for fill in stored.fills)
    parts = run.summary["strategies"]["gamma-scalper"]["pnl"]
    assert to_cents(trade.parts["gamma"]) == D(parts["gamma"])
    (session,) = stored.sessions
    own = session.strategies
    assert sum(own.values()) == session.pnl == D(run.summary["nav_change"])
    assert own == totals
    marks = [record.marks for record in stored.report.strategies.values()]
    for mark, *rows in zip(stored.report.marks, *marks, strict=True):
        assert sum(row.nav_change for row in rows) == mark.nav_change
        assert sum(row.net_delta_shares for row in rows) == pytest.approx(mark.net_delta_shares)
        for row in rows:
            assert (row.ts_ns, sum(row.parts.values())) == (mark.ts_ns, row.nav_change)
    assert {each.strategy for each in stored.hedges} == {"gamma-scalper"}
    shown = run.report.performance
    assert shown == stored.report.performance == run.summary["performance"]
    own_minutes = shown["strategies"]["gamma-scalper"]["unhedged_minutes"]
    by_account = exposure(
        stored.report.marks,
        stored.report.decisions,
        [(each.opened_ns, each.closed_ns) for each in stored.trades],
        [(each.open_ns, each.close_ns) for each in JournalReader(run.run_dir).header.sessions],
        hedges=hedge_deltas(run.fills, Equity("")),
    )
    assert list(shown["strategies"]) == ["gamma-scalper"]
    assert shown["unhedged_minutes"] == own_minutes != by_account["unhedged_minutes"]
    assert shown["exposure"] == by_account["exposure"]


def test_the_time_in_which_two_strategies_hold_options_counts_once():
    assert exposure([], [], [(0, 50), (20, 40), (45, 60)], [(0, 100)])["exposure"] == 0.6


def test_a_shared_run_that_cannot_be_replayed_shows_no_trade_as_a_strategys(run, monkeypatch):
    def gone(*_):
        raise DataError("the tape has changed")

    monkeypatch.setattr(stored_run, "replayed", gone)
    stored = read_stored(run.run_dir)
    assert (stored.report.trades, stored.report.strategies) == (None, {})
    assert stored.undivided == "the tape has changed"


def test_an_option_that_was_settled_against_another_strategy_left_its_owners_book(run, monkeypatch):
    plain = runs.engine_from_header
    terms = D(-2), D(0), D(0), D(0), ChangeCause.EXPIRED_WORTHLESS, "offset", 5
    gone = Posting("st0cka", InstrumentId(1), *terms)

    def settled(header):
        engine = plain(header)
        engine.desk.books.changes.append(gone)
        return engine

    monkeypatch.setattr(runs, "engine_from_header", settled)
    found = read_stored(run.run_dir).report.strategies
    assert found["st0cka"].changes == [gone]
    assert found["gamma-scalper"].changes == []


def test_a_replay_of_the_journal_gives_the_same(run):
    verdict = replay(run.run_dir)
    assert verdict.identical, verdict.difference
    assert verdict.summary["strategies"] == run.summary["strategies"]


def test_a_recovery_rebuilds_each_ones_book(run):
    reader = JournalReader(run.run_dir)
    engine = engine_from_header(reader.header)
    rebuild(reader, engine)
    for name, row in run.summary["strategies"].items():
        book = engine.desk.books.of(name)
        held = {
            engine.desk.instruments[one.instrument_id].symbol: str(one.quantity)
            for one in book.positions.held()
        }
        assert held == row["positions"]
        assert f"{book.attribution.nav:.2f}" == row["nav"]


DAYS = date(2024, 3, 14), date(2024, 3, 15)


def over_a_night(book, *spots, last=1.1):
    """Return a builder of two days, in each of which the share moves about a spot."""
    builder = TapeBuilder(book, days=DAYS)
    for session, spot in zip(builder.sessions, spots, strict=True):
        moves = (0.0, 0.4, -0.3, 0.6, last) * 4
        builder.path(session.open_ns + 2 * 10**9, 30, [spot + move for move in moves])
    return builder


@pytest.fixture(scope="module", params=["gamma-scalper", pytest.param(None, marks=pytest.mark.second)])
def carried(request, tmp_path_factory):
    """A straddle and short shares held at the start, by the scalper or by no strategy, over an ex-date."""
    book = straddle_book(500)
    tape = over_a_night(book, 500.0, 499.0).dividend("1.50", DAYS[1])
    settings = {
        "simulation.positions": {item.symbol: 2 for _, item in options_in_order(book, "SPY")} | {"SPY": -10},
        "strategies.gamma-scalper.mode": "resume",
        "strategies.gamma-scalper.entry.gate": "off",
        "strategies.gamma-scalper.exits.edge_gone": False,
    }
    if request.param:
        settings["budgets.adopts"] = request.param
    else:
        settings["strategies.gamma-scalper.entry.not_before"] = "15:00"
    folder = tmp_path_factory.mktemp("carried")
    run = backtest(
        "gamma-scalper+zero-dte", tape.build(), settings=settings, runs_dir=folder, clock=ManualClock(1)
    )
    return request.param or "nobody", run


def test_one_that_holds_all_of_the_account_has_its_parts_over_a_night_and_an_ex_date(carried):
    """The night and the ex-date were steps of their own in its book: other parts of the same total."""
    owner, run = carried
    assert D(run.summary["pnl"]["gamma"]) > 0 > D(run.summary["pnl"]["theta"])
    assert run.summary["strategies"][owner]["pnl"] == run.summary["pnl"]


def test_a_split_moves_no_part_of_the_book_that_holds_all_of_the_account():
    """Its vega was -2,390 and its residual 2,388: it was marked with the share split and the options not."""
    book = straddle_book(500, 250)
    tape = over_a_night(book, 500.0, 249.5)
    action = CorporateAction(symbol="SPY", ex_date=DAYS[1], kind=ActionKind.SPLIT, ratio=D(2))
    held = {each.symbol: 2 for _, each in options_in_order(book, "SPY") if each.strike == 500}
    settings = {
        "simulation.positions": held | {"SPY": -10},
        "budgets.adopts": "gamma-scalper",
        "strategies.gamma-scalper.mode": "resume",
    }
    summary = backtest(
        "gamma-scalper+zero-dte", replace(tape.build(), actions=(action,)), settings=settings
    ).summary
    assert abs(D(summary["pnl"]["vega"])) < 100
    assert summary["strategies"]["gamma-scalper"]["pnl"] == summary["pnl"]


class Holder:
    """Opens so many shares once, from a minute of the first session on, and keeps them."""

    Config = type(None)

    def __init__(self, name, units, minute):
        self.name, self._units, self._minute = name, units, minute

    def start(self, view):
        return (PriceMove(view.underlying, 0.01, 1.0),)

    def on_wake(self, view, wake, event):
        del event
        since_ns = view.now_ns - view.session.open_ns if view.session else 0
        if wake is not Wake.PRICE or not self._units or since_ns < self._minute * 60 * 10**9:
            return ()
        side, units, self._units = Side.BUY if self._units > 0 else Side.SELL, abs(self._units), 0
        intent = OrderIntent(view.underlying, side, D(units), Purpose.OPEN, "once")
        return (Proposal(DecisionKind.ENTRY, ("once",), {}, (intent,)),)


@pytest.mark.parametrize("short", [-5, -4])
@pytest.mark.parametrize(
    ("kind", "terms", "after"),
    [
        (None, {}, 498.5),
        (ActionKind.SPECIAL_DIVIDEND, {"cash": D("1.50")}, 498.5),
        (ActionKind.SPLIT, {"ratio": D(2)}, 250.0),
    ],
)
def test_shares_held_against_each_other_go_over_a_dividend_and_a_split(short, kind, terms, after):
    """A venue pays and splits what the account holds: of 5 and -5 that is nothing, of 5 and -4 one share."""
    builder = over_a_night(straddle_book(500, 250), 500.0, after, last=0.0)
    if kind is None:
        tape = builder.dividend("1.50", DAYS[1]).build()
    else:
        action = CorporateAction(symbol="SPY", ex_date=DAYS[1], kind=kind, **terms)
        tape = replace(builder.build(), actions=(action,))
    both = Several([Holder("a", 5, 0), Holder("b", short, 3)], {"a": D("0.5"), "b": D("0.5")})
    desk = run_tape(tape, both).engine.desk
    ratio, books = terms.get("ratio", 1), desk.books.books
    quantities = {name: book.quantity(SHARE) for name, book in books.items()}
    assert quantities == {"a": 5 * ratio, "b": short * ratio, "": 0}
    assert books["a"].attribution.nav_change == D("-0.05")  # bought at 500.01, and 500.00 at the end
    assert books["b"].attribution.nav_change == D("0.39") * -short  # sold at 500.39
    assert books["a"].attribution.totals["delta"] == 0
    assert all(not book.attribution.totals[part] for book in books.values() for part in ("carry", "residual"))
    assert sum(book.account.cash for book in books.values()) == desk.account.cash


def test_options_that_were_taken_over_are_a_trade_of_who_holds_them(carried):
    """They were sold short where they were sold, else not there; without an order no table was divided."""
    owner, run = carried
    (trade,) = read_stored(run.run_dir).trades
    assert (trade.strategy, trade.cash_in, trade.closed_ns) == (owner, 0, None)
    assert {leg.quantity for leg in trade.legs} == {2}
    assert to_cents(trade.pnl) == D(run.summary["nav_change"])


def test_a_coin_market_without_the_underlying_names_a_setting_that_there_is(tmp_path):
    settings = load_settings("gamma-scalper+zero-dte", overrides=("underlying=SPY",), cwd=tmp_path)
    with pytest.raises(ConfigError, match="BTC-PERPETUAL") as refused:
        load_market(settings, "embedded-btc", underlying="SPY", start=DAY, end=DAY, seed=1)
    assert refused.value.fix == "--set underlying=BTC-PERPETUAL"
