"""The section ``[venue]`` and what the command line lays over it."""

from dataclasses import replace
from datetime import date

import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import FollowingClock, SteadyClock, SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.contract import Instruments
from scalpdesk.live.assembly import build_gateway
from scalpdesk.live.options import RunOptions
from scalpdesk.live.plan import LivePlan, plan_of, trades_options
from scalpdesk.live.run import next_day

URL = "http://127.0.0.1:7"
CANARY = "canary-secret-58d1"


def settings(tmp_path, *overrides):
    return load_settings(
        "gamma-scalper",
        overrides=overrides,
        environ={"TRADING_API_KEY": "PK1", "TRADING_API_SECRET": CANARY},
        cwd=tmp_path,
    )


def test_defaults_of_a_venue_and_of_an_exchange_in_its_place(tmp_path):
    at_venue = plan_of(settings(tmp_path), RunOptions(venue="alpaca"))
    assert (at_venue.url, at_venue.contracts, at_venue.follows_venue) == (None, 200, False)
    runner = at_venue.runner
    assert (runner.reconcile_seconds, runner.absent_after_seconds, runner.stop) == (60.0, 10.0, "hold")
    assert runner.rolls
    there = plan_of(settings(tmp_path), RunOptions(venue="alpaca", url=URL, exchange_time=True))
    assert (there.runner.reconcile_seconds, there.runner.absent_after_seconds) == (5.0, 2.0)


@pytest.mark.parametrize(("sessions", "left"), [(5, 3), (None, None)])
def test_the_run_of_thenext_day_has_the_sessions_that_are_left(tmp_path, sessions, left):
    plan = plan_of(settings(tmp_path), RunOptions(venue="alpaca", sessions=sessions))
    following = next_day(replace(plan, resume=True), 2)
    assert (following.runner.sessions, following.resume) == (left, False)
    assert (plan.is_later_day, following.is_later_day) == (False, True)


def test_the_file_sets_and_the_command_line_wins(tmp_path):
    (tmp_path / "scalpdesk.toml").write_text(
        f'[venue]\nurl = "{URL}"\ncontracts = 20\non_stop = "leave"\nreconcile_seconds = 7\n'
        "silent_seconds = 0\nroll = false\nexchange_time = true\n"
    )
    plan = plan_of(settings(tmp_path), RunOptions(venue="alpaca"))
    assert (plan.url, plan.contracts, plan.follows_venue) == (URL, 20, True)
    runner = plan.runner
    assert (runner.stop, runner.reconcile_seconds, runner.silent_seconds, runner.rolls) == (
        "leave",
        7,
        0,
        False,
    )
    over = plan_of(
        settings(tmp_path),
        RunOptions(
            venue="alpaca",
            url="http://127.0.0.1:8",
            contracts=5,
            on_stop="flatten",
            exchange_time=False,
        ),
    )
    assert (over.url, over.contracts, over.runner.stop) == ("http://127.0.0.1:8", 5, "flatten")
    assert not over.follows_venue


def test_feeds_and_limits_reach_the_gateway(tmp_path):
    chosen = settings(
        tmp_path, "venue.stock_feed=sip", "venue.option_feed=opra", "venue.requests_per_minute=1000"
    )
    gateway = build_gateway(
        plan_of(chosen, RunOptions(venue="alpaca", url=URL)), Instruments(), SystemClock()
    )
    assert gateway._endpoints.stocks_url.endswith("/v2/sip")
    assert gateway._endpoints.options_url.endswith("/v1beta1/opra")
    assert gateway._budget.per_minute == 1000
    assert CANARY not in repr(gateway)


def test_contradictions_are_refused_and_no_key_is_shown(tmp_path):
    with pytest.raises(ConfigError, match="time of its own"):
        plan_of(settings(tmp_path), RunOptions(venue="alpaca", exchange_time=True))
    with pytest.raises(ConfigError, match="holds no keys") as caught:
        plan_of(settings(tmp_path), RunOptions(venue="alpaca", url=f"http://PK1:{CANARY}@127.0.0.1:7"))
    assert CANARY not in caught.value.render()
    chosen = settings(tmp_path, f"venue.url={URL}", "desk.paper=false")
    with pytest.raises(ConfigError, match="not at another address"):
        build_gateway(plan_of(chosen, RunOptions(venue="alpaca", live=True)), Instruments(), SystemClock())


def test_the_simulated_venue_has_no_address(tmp_path):
    plan = plan_of(settings(tmp_path, f"venue.url={URL}", "venue.exchange_time=true"), RunOptions())
    assert (plan.url, plan.follows_venue, plan.runner.rolls) == (None, False, False)


@pytest.mark.rows(
    ("venue", "live", "follows", "trading", "clock"),
    [
        ("simulated", False, False, "simulated", FollowingClock),
        ("simulated", True, False, "simulated", FollowingClock),
        ("alpaca", False, False, "paper", SteadyClock),
        ("alpaca", True, False, "live", SteadyClock),
        ("alpaca", False, True, "paper", FollowingClock),
        ("sandbox", False, False, "paper", SteadyClock),
    ],
)
def test_a_plan_names_the_money_and_the_clock(tmp_path, venue, live, follows, trading, clock):
    plan = LivePlan(settings(tmp_path), venue, live=live, follows_venue=follows)
    assert (plan.trading, type(plan.clock)) == (trading, clock)


@pytest.mark.rows(
    ("venue", "pace", "most_waiting"),
    [("simulated", None, 1), ("simulated", 60.0, 2_000), ("alpaca", None, 2_000), ("alpaca", 60.0, 2_000)],
)
def test_only_a_simulated_market_without_a_pace_is_kept_in_step(tmp_path, venue, pace, most_waiting):
    plan = plan_of(settings(tmp_path), RunOptions(venue=venue, speed=None if pace else "max"))
    assert (plan.runner.most_waiting, plan.pace) == (most_waiting, pace)


def test_what_the_command_line_says_is_in_the_plan(tmp_path):
    said = plan_of(settings(tmp_path), RunOptions(venue="paper"))
    assert said.venue == "sandbox"  # its former name
    assert (said.live, said.resume, said.set_aside) == (False, False, False)
    assert (said.runner.sessions, said.session, said.data) == (None, None, "embedded")
    other = plan_of(
        settings(tmp_path),
        RunOptions(
            venue="alpaca",
            live=True,
            resume=True,
            new_run=True,
            sessions=3,
            start=date(2018, 2, 6),
            data_set="mine",
        ),
    )
    assert (other.live, other.resume, other.set_aside, other.runner.sessions) == (True, True, True, 3)
    assert (other.session, other.data) == (date(2018, 2, 6), "mine")


def test_the_times_of_the_section_reach_the_runner(tmp_path):
    names = ("confirm", "resolve", "absent_after", "silent", "deadline_margin", "flatten", "reconcile")
    given = [f"venue.{name}_seconds={10 * count}" for count, name in enumerate(names, start=1)]
    runner = plan_of(settings(tmp_path, *given), RunOptions(venue="alpaca", url=URL)).runner
    assert [getattr(runner, f"{name}_seconds") for name in names] == [10.0 * n for n in range(1, 8)]
    assert plan_of(settings(tmp_path), RunOptions(venue="alpaca", url=URL)).runner.reconcile_seconds == 60.0


@pytest.mark.parametrize(("strategy", "trades"), [("gamma-scalper", True), ("st0cka", False)])
def test_whether_a_strategy_needs_options_is_known_before_it_runs(tmp_path, strategy, trades):
    assert trades_options(load_settings(strategy, environ={}, cwd=tmp_path)) is trades


@pytest.mark.rows("address", ["URL", "127.0.0.1:8001", "localhost:8001", "http://", "http://127.0.0.1:99999"])
def test_what_is_no_address_is_refused_before_anything_is_asked(tmp_path, address):
    with pytest.raises(ConfigError, match="no address of an exchange") as caught:
        plan_of(settings(tmp_path), RunOptions(venue="alpaca", url=address))
    assert "where: --url" in caught.value.render()
    with pytest.raises(ConfigError, match="no address of an exchange") as caught:
        plan_of(settings(tmp_path, f"venue.url={address}"), RunOptions(venue="deribit"))
    assert "where: venue.url" in caught.value.render()


def test_an_empty_address_is_never_the_venues_own(tmp_path):
    with pytest.raises(ConfigError, match="no address of an exchange"):
        plan_of(settings(tmp_path), RunOptions(venue="alpaca", url=""))
