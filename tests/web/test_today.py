"""The morning: the account, what came since, what expires, what is on, what is left, the next line."""

import json
from datetime import date
from decimal import Decimal

import pytest
from msgspec import structs

from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import ChangeCause
from scalpdesk.instruments.sessions import session_on
from scalpdesk.live.account_look import AccountLook
from scalpdesk.live.reconciler import account_since
from scalpdesk.venues.contract import AccountFacts, VenueActivity, VenueClock, VenuePosition, VenueView
from scalpdesk.web.today import LastDesk, events_of, today_page
from tests.web.reading import read_up

KEY = {"authorization": "Bearer viewer-token"}
OPEN_NS = session_on(date(2018, 2, 6)).open_ns


def view_of(follower, *, without=(), cash=Decimal(0), activities=()):
    """The account as its books have it, less some positions and plus some cash, on the next morning."""
    held = [
        VenuePosition(each.instrument.symbol, each.instrument_id, each.quantity, each.average_price)
        for each in follower.desk.positions.held()
        if each.instrument.symbol not in without
    ]
    equity = follower.desk.cash() + cash
    session = session_on(date(2018, 2, 6))
    return VenueView(
        OPEN_NS,
        OPEN_NS,
        structs.replace(FACTS, cash=equity, equity=equity),
        VenueClock(OPEN_NS, True, session.open_ns, session.close_ns),
        tuple(held),
        (),
        (),
        activities,
    )


_NONE = Decimal(0)
FACTS = AccountFacts("PA1", "ACTIVE", "USD", _NONE, _NONE, _NONE, _NONE, 3, True, True)


@pytest.fixture
def desk(held_runs):
    """A desk of a venue's paper account whose journal stops with a straddle held."""
    feed = read_up(held_runs)
    header = structs.replace(feed.follower.header, mode="paper", venue="alpaca")
    return LastDesk(feed.follower.run_dir, header), feed.follower


def morning(desk, look=None):
    return today_page(*desk, OPEN_NS, is_running=False, look=look)


def test_an_account_as_it_was_left_says_so_and_the_run_goes_on(desk):
    _, follower = desk
    view = view_of(follower)
    page = morning(desk, AccountLook(view, account_since(follower.engine, view, 0)))
    assert (page["is_as_left"], page["differences"], page["happened"]) == (True, [], [])
    assert page["day"] == "2018-02-06"
    assert page["next_line"].startswith("scalpdesk run gamma-scalper --venue alpaca ")
    assert page["next_line"].endswith(" --resume")
    assert morning(desk)["is_as_left"] is None  # nobody has asked


def test_the_next_line_has_what_was_typed_for_the_last_run_but_not_what_the_folder_sets(desk):
    """A run goes on with its own settings alone, and the next one is to trade the same."""
    last, follower = desk
    overrides = ["structure.shape=iron_condor", "hedge.band=fixed"]
    typed = load_settings("gamma-scalper", overrides=overrides, environ={})
    last = LastDesk(last.run_dir, structs.replace(last.header, config=typed.effective()))
    line = morning((last, follower))["next_line"]
    assert all(f"--set {each}" in line for each in overrides)
    given = {"hedge.band": "fixed"}
    line = today_page(last, follower, OPEN_NS, is_running=False, given=given)["next_line"]
    assert [each in line for each in overrides] == [True, False]


def test_what_nothing_explains_is_a_difference_in_units_and_cash(desk):
    _, follower = desk
    gone = next(
        each.instrument.symbol for each in follower.desk.positions.held() if each.instrument.is_option
    )
    view = view_of(follower, without=(gone,))
    page = morning(desk, AccountLook(view, account_since(follower.engine, view, 0)))
    assert not page["is_as_left"]
    assert any(line.startswith(gone) for line in page["differences"])


def test_a_line_of_the_venues_history_is_what_happened(desk):
    _, follower = desk
    paid = Decimal("12.34")
    line = VenueActivity("a-1", "INT", ChangeCause.INTEREST, "", _NONE, _NONE, paid, OPEN_NS - 10**9)
    view = view_of(follower, cash=paid, activities=(line,))
    page = morning(desk, AccountLook(view, account_since(follower.engine, view, 0)))
    assert page["is_as_left"]
    (happened,) = page["happened"]
    assert (happened["kind"], Decimal(happened["cash"])) == ("interest", paid)


def test_after_an_exercise_it_holds_the_shares_that_were_delivered(desk):
    """The books lack both lines of the night: what is held, what expires, and what happened have them."""
    _, follower = desk
    call = next(each for each in follower.desk.positions.held() if each.instrument.symbol[9] == "C")
    shares = next(each for each in follower.desk.positions.held() if each.instrument.is_share)
    symbol, bought = call.instrument.symbol, 100 * call.quantity
    paid = -bought * call.instrument.strike
    lines = (
        VenueActivity("a-2", "OPEXC", ChangeCause.EXERCISE, symbol, -call.quantity, _NONE, _NONE, OPEN_NS),
        VenueActivity("a-3", "OPTRD", ChangeCause.DELIVERY, "SPY", bought, _NONE, paid, OPEN_NS),
    )
    view = view_of(follower, without=(symbol, "SPY"), cash=paid, activities=lines)
    delivered = VenuePosition("SPY", shares.instrument_id, shares.quantity + bought, call.instrument.strike)
    view = structs.replace(view, positions=(*view.positions, delivered))
    page = morning(desk, AccountLook(view, account_since(follower.engine, view, 0)))
    assert page["is_as_left"], page["differences"]
    assert " call" not in page["holds"]
    assert f"{shares.quantity + bought:+,.0f} SPY shares".replace("-", "−") in page["holds"]
    assert [each["kind"] for each in page["happened"]] == ["exercise", "delivery"]
    assert f"+{bought} SPY shares" == page["happened"][1]["text"]


def test_limits_are_fractions_of_the_equity_in_the_accounts_currency(desk):
    _, follower = desk
    nav = follower.money(follower.desk.attribution.nav)
    rows = {each["name"]: each for each in morning(desk)["limits"]}
    assert Decimal(rows["one new position"]["limit"]) == pytest.approx(
        nav * Decimal("0.25"), abs=Decimal("0.01")
    )
    premium = sum(
        abs(each.quantity) * 100 * Decimal(str(follower.desk.delta_engine.mark(each.instrument_id)))
        for each in follower.desk.positions.held()
        if each.instrument.is_option
    )
    left = Decimal(rows["premium held"]["limit"]) - Decimal(rows["premium held"]["left"])
    assert float(left) == pytest.approx(float(premium), abs=1.0)


def test_an_option_that_expires_within_a_week_says_what_it_takes(desk):
    _, follower = desk
    expiry = min(
        each.instrument.expiry for each in follower.desk.positions.held() if each.instrument.is_option
    )
    at_ns = session_on(expiry).open_ns
    page = today_page(*desk, at_ns, is_running=True)
    for row in page["expires"]:
        assert row["expires"].startswith(f"{expiry:%Y-%m-%d}")
    assert len(page["expires"]) == sum(each.instrument.is_option for each in follower.desk.positions.held())
    assert morning(desk)["expires"] == [] or expiry <= date(2018, 2, 13)


@pytest.mark.parametrize(
    ("day", "first"),
    [(date(2018, 1, 31), "14:00"), (date(2018, 2, 16), "16:00"), (date(2017, 11, 24), "13:00")],
)
def test_the_days_events_have_their_time(day, first):
    assert events_of(session_on(day))[0].startswith(first)


def test_page_and_command_are_of_the_same_run(held_feed, client_of, held_runs, capsys):
    page = client_of(held_feed).get("/api/today", headers=KEY).json()
    assert page["run_id"] == held_feed.follower.run_dir.name
    capsys.readouterr()
    assert main(["today", "--json", "--set", f"desk.runs_dir={held_runs}"]) == 0
    told = json.loads(capsys.readouterr().out)
    shared = ("day", "nav", "holds", "limits", "next_line", "volatility")
    assert [told[name] for name in shared] == [page[name] for name in shared]


def test_a_folder_without_a_desk_says_which_line_begins(tmp_path, capsys):
    assert main(["today", "--json", "--set", f"desk.runs_dir={tmp_path}"]) == 0
    assert json.loads(capsys.readouterr().out)["next_line"].startswith("scalpdesk run ")


@pytest.mark.parametrize("given", ["sheet.pdf", "."])
def test_a_tear_sheet_is_refused_as_another_kind_of_file_and_as_a_folder(given, held_runs, capsys):
    capsys.readouterr()
    assert main(["report", "last", "--html", given, "--set", f"desk.runs_dir={held_runs}"]) == 2
    assert ".html" in capsys.readouterr().err.rpartition("fix:")[2]


def test_a_running_desk_that_trades_is_watched_and_no_resume_is_asked_of_it(desk):
    assert today_page(*desk, OPEN_NS, is_running=True)["next_line"] == "scalpdesk status --watch"
