"""Runs that are resumed, and runs that begin."""

import asyncio
import os
from dataclasses import replace
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import (
    ConfigError,
    InvariantError,
    JournalError,
    RetryError,
    ScalpdeskError,
    StopError,
)
from scalpdesk.core.events import RateEvent
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.frames import segment_path
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live import assembly
from scalpdesk.live.arming import account_file, arm
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.status import SOCKET_NAME, ControlServer
from scalpdesk.live.watchdog import ACTED_FILE
from scalpdesk.venues.contract import LiveToken, VenuePosition
from scalpdesk.venues.registry import find_venue
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.closed_folder import close_folder
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.live import KEYS, BenchGateway, InstalledVenue, bench_plan
from scalpdesk_testing.virtual_time import VirtualLoop

DATA = {"underlying": "SPY", "quote_seconds": 1.0, "dividend_yield": 0.0, "order_prefix": "t", "url": None}


def interrupted_run(tmp_path, events):
    """A simulated run whose journal holds the header and these events, and no seal."""
    settings = load_settings("gamma-scalper", overrides=[f"desk.runs_dir={tmp_path / 'runs'}"], cwd=tmp_path)
    plan = LivePlan(settings, resume=True, session=date(2018, 2, 5), state=tmp_path)
    header = assembly.live_header(plan, Instruments([Equity("SPY")]), dict(DATA), 1_000)
    journal = JournalWriter.create(plan.runs_dir / header.run_id, header)
    for event in events:
        journal.add_event(event)
    journal.flush()
    journal.abandon()
    return plan, plan.runs_dir / header.run_id


def resumed(plan):
    said = []
    found = assembly.resume_run(plan, ManualClock(2_000), lambda *words: said.append(words))
    return found, said


def test_a_run_that_died_before_its_first_event_is_ended_and_begun_afresh(tmp_path):
    plan, folder = interrupted_run(tmp_path, [])
    (folder / ACTED_FILE).write_text("ALARM: it died\n", encoding="utf-8")
    found, said = resumed(plan)
    assert found is None
    assert [level for level, _ in said] == ["warning", "info"]
    assert JournalReader(folder).sealed
    assert assembly.unfinished_run(plan) is None


@pytest.mark.rows("how", [{}, {"resume": True}, {"resume": True, "may_begin": True}])
@pytest.mark.rows("overrides", [(), ("risk.max_order_contracts=7",)])
def test_a_run_that_died_before_its_first_event_stands_in_nobodys_way(tmp_path, how, overrides):
    # the account changed while it started: the next start was refused until a person set it aside
    plan, folder = interrupted_run(tmp_path, [])
    settings = load_settings(
        "gamma-scalper", overrides=[f"desk.runs_dir={tmp_path / 'runs'}", *overrides], cwd=tmp_path
    )
    assert resumed(replace(plan, settings=settings, **({"resume": False} | how)))[0] is None
    assert JournalReader(folder).sealed
    assert resumed(replace(plan, resume=False))[0] is None


def test_a_run_that_had_begun_is_rebuilt(tmp_path):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    found, said = resumed(plan)
    assert found.events == 1
    assert found.run_dir == folder
    assert "1 event replayed" in said[0][1]
    found.journal.abandon()


def test_an_emptied_journal_of_a_run_that_had_begun_refuses_the_start_until_it_is_set_aside(tmp_path):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    segment_path(folder, 1).write_bytes(b"")
    assert assembly.unfinished_run(plan) is None  # it died while its journal was made: nothing was sent
    (folder / SOCKET_NAME).touch()
    assert assembly.unfinished_run(plan) == folder
    with pytest.raises(ConfigError, match="did not end; nothing was sent"):
        resumed(replace(plan, resume=False))
    with pytest.raises(JournalError):
        resumed(plan)
    assert resumed(replace(plan, resume=False, set_aside=True)) == (None, [])
    assert assembly.unfinished_run(plan) is None


@pytest.mark.rows("set_aside", [False, True])
@pytest.mark.rows("resume", [False, True])
def test_a_second_run_beside_a_live_one_names_it_and_leaves_it_alone(
    tmp_path, socket_enabled, resume, set_aside
):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    plan = replace(plan, resume=resume, set_aside=set_aside)
    alive = JournalWriter.reopen(folder, started_ns=1_600)

    async def beside():
        server = ControlServer(folder, lambda _request: None)
        await server.start()
        try:
            return await asyncio.to_thread(resumed, plan)
        finally:
            for _ in range(10):  # a connection that was just accepted gets its handler, which closes it
                await asyncio.sleep(0)
            server.close()

    try:
        if set_aside:
            assert asyncio.run(beside()) == (None, [])
        else:
            with pytest.raises(ConfigError, match="a desk trades this strategy here and now") as refused:
                asyncio.run(beside())
            assert refused.value.where == str(folder)
            assert refused.value.value == f"process {os.getpid()}"
    finally:
        alive.abandon()
    assert not (folder / "set-aside").exists()
    assert assembly.unfinished_run(plan) == folder


# which run is gone on with ----------------------------------------


def run_of(plan, number, *, ended=False, **header):
    """Put a run of the plan into its folder, the later the greater its number."""
    made = assembly.live_header(plan, Instruments([Equity("SPY")]), dict(DATA), number * 1_000_000_000)
    data = made.data | header.pop("data", {})
    made = msgspec.structs.replace(made, data=data, **header)
    journal = JournalWriter.create(plan.runs_dir / made.run_id, made)
    journal.add_event(RateEvent(1_500, 1_500, (1.0,), (0.01,)))
    if ended:
        journal.close({})
    else:
        journal.flush()
        journal.abandon()
    return plan.runs_dir / made.run_id


def plan_in(tmp_path, **plan):
    settings = load_settings("gamma-scalper", overrides=[f"desk.runs_dir={tmp_path / 'runs'}"], cwd=tmp_path)
    return LivePlan(settings, state=tmp_path, **plan)


@pytest.mark.rows(
    "other",
    [
        {"venue": "alpaca"},
        {"mode": "paper"},
        {"strategy": "zero-dte"},
        {"data": {"url": "http://127.0.0.1:1"}},
    ],
)
def test_only_a_run_of_the_same_venue_mode_strategy_and_address_is_unfinished_business(tmp_path, other):
    plan = plan_in(tmp_path)
    own = run_of(plan, 1)
    run_of(plan, 2, **other)
    assert assembly.unfinished_run(plan) == own
    (own / "set-aside").touch()
    assert assembly.unfinished_run(plan) is None


@pytest.mark.rows(("ended", "found"), [((), 2), ((0,), 2), ((2,), None), ((0, 1, 2), None)])
def test_the_latest_run_alone_is_gone_on_with(tmp_path, ended, found):
    plan = plan_in(tmp_path)
    at = {0: 5, 1: 1, 2: 9}  # made in another order than they began in
    folders = [run_of(plan, at[number], ended=number in ended) for number in range(3)]
    assert assembly.unfinished_run(plan) == (None if found is None else folders[found])


@pytest.mark.parametrize("open_seed", [1, 2])
def test_of_runs_with_one_start_the_one_that_did_not_end_is_gone_on_with(tmp_path, open_seed):
    plan = plan_in(tmp_path)  # runs of one simulated session: their order by name says nothing
    folders = {seed: run_of(plan, 1, ended=seed != open_seed, seed=seed) for seed in (1, 2)}
    assert len(set(folders.values())) == 2
    assert assembly.unfinished_run(plan) == folders[open_seed]


@pytest.mark.rows(("damaged", "readable", "found"), [(2, 1, 2), (1, 2, 2), (1, None, 1)])
def test_a_run_that_cannot_be_read_counts_where_it_is_the_latest(tmp_path, damaged, readable, found):
    plan = plan_in(tmp_path)
    folders = {number: run_of(plan, number) for number in (damaged, readable) if number is not None}
    segment_path(folders[damaged], 1).write_bytes(b"")
    (folders[damaged] / SOCKET_NAME).touch()
    stranger = plan.runs_dir / "99991231-000000-zero-dte-simulated-000000"
    stranger.mkdir()
    (stranger / SOCKET_NAME).touch()
    assert assembly.unfinished_run(plan) == folders[found]


@pytest.mark.rows(
    ("how", "exists", "outcome"),
    [
        ({}, False, None),
        ({"set_aside": True}, False, None),
        ({"resume": True}, False, "refused"),
        ({"resume": True, "may_begin": True}, False, None),
        ({"resume": True, "may_begin": True}, True, "the run"),
        ({}, True, "refused"),
        ({"resume": True}, True, "the run"),
        ({"set_aside": True}, True, None),
    ],
)
def test_a_run_is_gone_on_with_only_when_that_is_asked_for(tmp_path, how, exists, outcome):
    plan = plan_in(tmp_path, **how)
    folder = run_of(plan, 1) if exists else None
    if outcome == "refused":
        with pytest.raises(ConfigError) as refused:
            resumed(plan)
        assert refused.value.where == str(folder or plan.runs_dir)
    else:
        found, _ = resumed(plan)
        assert (found and found.run_dir) == (folder if outcome else None)
        if found:
            found.journal.abandon()
    assert exists is False or (folder / "set-aside").exists() is how.get("set_aside", False)


def test_a_run_is_not_gone_on_with_by_another_configuration(tmp_path):
    plan = plan_in(tmp_path, resume=True)
    folder = run_of(plan, 1, config_hash="0123456789")
    with pytest.raises(ConfigError, match="not the one that this run began with") as refused:
        resumed(plan)
    assert refused.value.where == f"{folder.name}: 01234567"
    assert refused.value.value == plan.settings.config_hash[:8]


# the header of a new run ----------------------------------------


def test_runs_of_one_second_have_names_and_order_prefixes_of_their_own(tmp_path):
    plan = plan_in(tmp_path)
    at_ns = 1_517_841_000_900_000_000  # 2018-02-05 09:30:00.9 in New York
    base = f"20180205-093000-gamma-scalper-simulated-{plan.settings.config_hash[:6]}"
    prefix = f"sd{plan.settings.config_hash[:4]}p3olm0"
    assert int("p3olm0", 36) == 1_517_841_000
    for suffix, count in (("", ""), ("+2", "2"), ("+3", "3")):
        header = assembly.live_header(plan, Instruments([Equity("SPY")]), {"a": 1}, at_ns)
        assert header.run_id == base + suffix
        assert header.data == {"a": 1, "venue": "simulated", "order_prefix": prefix + count}
        (plan.runs_dir / header.run_id).mkdir(parents=True)
    assert (header.strategy, header.venue, header.mode) == ("gamma-scalper", "simulated", "simulated")
    assert (header.started_ns, header.seed, header.sessions) == (at_ns, None, ())
    assert header.instruments == (Equity("SPY"),)
    assert header.config_hash == plan.settings.config_hash


# the gateway and the account ----------------------------------------

OPEN_NS = session_on(DAY).open_ns


@pytest.fixture
def venue(tmp_path, monkeypatch):
    return InstalledVenue(tmp_path / "site", monkeypatch)


def built(plan, **how):
    assembly.venue_gateway(plan, Instruments([]), ManualClock(5), **how)
    return InstalledVenue.built[-1][0]


@pytest.mark.rows(
    ("how", "overrides", "value"),
    [
        ({"url": "http://127.0.0.1:1"}, ["desk.paper=false"], "http://127.0.0.1:1"),
        ({}, [], True),
        ({}, ["desk.paper=false"], None),  # not armed
    ],
)
def test_live_at_another_address_or_against_the_configuration_or_unarmed_is_refused(
    tmp_path, venue, how, overrides, value
):
    plan = bench_plan(tmp_path, *overrides, live=True, **how)
    with pytest.raises(ConfigError) as refused:
        built(plan)
    assert refused.value.value == value
    assert built(replace(plan, live=False)).live_token is None


@pytest.mark.parametrize("is_own_folder", [False, True])
def test_an_armed_desk_trades_with_the_token_of_its_configuration(
    tmp_path, venue, monkeypatch, is_own_folder
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    plan = bench_plan(tmp_path, "desk.paper=false", live=True, state=tmp_path if is_own_folder else None)
    token = LiveToken("a", plan.settings.config_hash, 1, "me")
    folder = tmp_path if is_own_folder else tmp_path / "scalpdesk"
    arm(folder, "bench", token, typed_account="a", typed_hash=token.config_hash[:8])
    setup = built(plan)
    assert (setup.live_token, setup.fees) == (token, ALPACA_FEES)


def test_a_venue_is_built_with_the_plans_settings(tmp_path, venue):
    plan = bench_plan(tmp_path, strategy="gamma-scalper", url="http://127.0.0.1:1")
    instruments, clock = Instruments([]), ManualClock(5)
    assembly.build_gateway(plan, instruments, clock)
    ((setup, _),) = venue.built
    section = plan.settings.config.venue
    assert (setup.instruments, setup.clock, setup.url) == (instruments, clock, plan.url)
    assert tuple(key.reveal() for key in setup.keys) == tuple(KEYS.values())
    assert (setup.live_token, setup.options_level, setup.fees) == (None, 2, ALPACA_FEES)
    assert setup.acceptance_seconds == plan.runner.absent_after_seconds
    assert (setup.heartbeat_seconds, setup.data_only) == (section.heartbeat_seconds, False)
    assert built(bench_plan(tmp_path), data_only=True).data_only
    assert built(bench_plan(tmp_path)).options_level == 0
    with pytest.raises(ConfigError):
        assembly.build_gateway(bench_plan(tmp_path, environ={}), instruments, clock)


@pytest.mark.parametrize(("name", "fees"), [("alpaca", ALPACA_FEES), ("deribit", DERIBIT_FEES)])
def test_orders_cost_their_venues_fees(name, fees):
    assert find_venue(name).fees is fees


def desk_that_holds(instruments, **adopted):
    """Return an engine that has adopted an account."""
    desk = HandDesk(Scripted(), instruments)
    desk.adopt({instruments.id_of(symbol): held for symbol, held in adopted.items()}, Decimal(77))
    return desk.engine


@pytest.mark.parametrize("resumes", [False, True])
def test_a_sandbox_begins_with_its_configured_cash_or_with_what_the_journal_has(tmp_path, resumes):
    book = Instruments([Equity("SPY")])
    plan = bench_plan(tmp_path, venue="sandbox")
    engine = desk_that_holds(book, SPY=(-2, "1.5")) if resumes else None
    record = assembly.build_gateway(plan, book, ManualClock(OPEN_NS), engine).record
    cash = Decimal(77) if resumes else plan.settings.config.simulation.starting_cash
    assert record.facts().cash == cash
    held = [(line.symbol, line.quantity, line.average_price) for line in record.positions()]
    assert held == ([("SPY", -2, Decimal("1.5"))] if resumes else [])


@pytest.mark.parametrize("day", [None, date(2018, 2, 6)])
def test_a_simulated_venue_plays_one_day_with_the_configured_holdings_or_those_of_the_journal(tmp_path, day):
    plan = bench_plan(tmp_path, "simulation.positions.SPY=5", venue="simulated", session=day, pace=7.0)
    gateway = assembly.build_gateway(plan, Instruments([]), plan.clock)
    tape, record = gateway.venue.tape, gateway.venue.record
    session = session_on(day or date(2018, 2, 5))
    assert [each.day for each in tape.sessions] == [session.day]
    first = tape.quotes.between(session.open_ns, session.close_ns).mids(0)[1][0]
    (line,) = record.positions()
    assert (line.quantity, float(line.average_price)) == (5, pytest.approx(first, abs=0.01))
    assert record.facts().cash == plan.settings.config.simulation.starting_cash
    engine = desk_that_holds(Instruments([Equity("SPY")]), SPY=(3, "274.1"))
    resumed_ = assembly.build_gateway(plan, Instruments([]), plan.clock, engine).venue.record
    (line,) = resumed_.positions()
    assert (line.quantity, line.average_price) == (3, Decimal("274.1"))
    assert resumed_.facts().cash == 77
    with pytest.raises(ScalpdeskError):
        assembly.build_gateway(
            replace(plan, session=date(2018, 2, 4)), Instruments([]), plan.clock
        )  # a Sunday


def test_a_run_that_was_set_aside_or_is_damaged_hides_no_other(tmp_path):
    plan = plan_in(tmp_path)
    aside, damaged, own = (run_of(plan, number) for number in (1, 2, 3))
    (aside / "set-aside").touch()
    segment_path(damaged, 1).write_bytes(b"")
    assert assembly.unfinished_run(plan) == own


def test_a_run_made_in_the_same_instant_as_another_is_the_later_by_its_name(tmp_path):
    plan = plan_in(tmp_path)
    first, second = run_of(plan, 1), run_of(plan, 1)
    assert (second.name, assembly.unfinished_run(plan)) == (f"{first.name}+2", second)


# a run that is opened ----------------------------------------


def test_a_journal_whose_replay_fails_is_let_go(tmp_path):
    backwards = [RateEvent(at_ns, at_ns, (1.0,), (0.01,)) for at_ns in (1_500, 1_400)]
    plan, folder = interrupted_run(tmp_path, backwards)
    with pytest.raises(InvariantError):
        resumed(plan)
    JournalWriter.reopen(folder, started_ns=1_700).abandon()


class Opening:
    """Opens desks at the installed venue in virtual time."""

    def __init__(self, tmp_path, venue, **plan):
        self.plan, self.venue, self.said = bench_plan(tmp_path, **plan), venue, []
        self.prepare = lambda gateway: None

    def open(self, **how):
        loop = VirtualLoop()
        try:
            return loop.run_until_complete(
                assembly.open_desk(
                    replace(self.plan, **how),
                    ManualClock(OPEN_NS),
                    notify=lambda *words: self.said.append(words),
                )
            )
        finally:
            loop.close()

    @property
    def gateway(self):
        return self.venue.built[-1][1]

    def interrupted(self, desk):
        """Let a desk die that had begun."""
        desk.runner.core.feed(RateEvent(OPEN_NS, OPEN_NS, (1.0,), (0.01,)))
        desk.journal.flush()
        desk.journal.abandon()
        desk.lock.release()


def test_a_new_run_has_its_market_its_account_and_the_accounts_cash(tmp_path, venue):
    opening = Opening(tmp_path, venue)
    type(venue).prepare = lambda gateway: setattr(gateway, "cash", Decimal(4_321))
    desk = opening.open()
    data = desk.header.data
    assert (data["account_id"], data["url"], data["takes_combos"]) == ("a", None, True)
    assert (desk.header.started_ns, desk.header.instruments) == (OPEN_NS, (Equity("SPY"),))
    assert desk.engine.desk.account.cash == 4_321
    assert desk.run_dir == opening.plan.runs_dir / desk.header.run_id
    assert desk.start.is_fresh
    assert any(isinstance(event, RateEvent) for event in desk.start.opening)
    assert (desk.runner.core.events, desk.folder, desk.gateway) == (0, None, opening.gateway)
    assert desk.runner.options is opening.plan.runner
    assert opening.gateway.log == [("connect", [])]
    desk.lock.release()
    desk.journal.close()
    assert JournalReader(desk.run_dir).sealed


@pytest.mark.rows(
    ("held", "is_named"),
    [(None, False), (Equity("QQQ"), True), (Equity("QQ"), False)],
)
def test_what_the_venue_holds_has_a_name_at_the_desk_before_the_run_begins(tmp_path, venue, held, is_named):
    opening = Opening(tmp_path, venue)
    line = VenuePosition("QQQ", None, Decimal(2), Decimal(1), held)

    def holding(gateway):
        gateway.compared = lambda view: msgspec.structs.replace(view, positions=(line,))

    type(venue).prepare = holding
    if is_named:
        desk = opening.open()
        assert [item.symbol for item in desk.header.instruments] == ["SPY", "QQQ"]
        desk.lock.release()
        desk.journal.abandon()
        return
    with pytest.raises(ConfigError) as refused:
        opening.open()
    assert refused.value.where == "account"
    assert not list(opening.plan.runs_dir.glob("*/*"))
    assembly.lock_account(opening.plan, "a", "another").release()


def test_a_run_that_goes_on_reports_its_watchdog_once(tmp_path, venue):
    opening = Opening(tmp_path, venue)
    first = opening.open()
    opening.interrupted(first)
    (first.run_dir / ACTED_FILE).write_text("ALARM: it died\n2 orders\ndone after 0.31 s\n", encoding="utf-8")
    for times in (1, 0):
        opening.said.clear()
        desk = opening.open(resume=True)
        assert (desk.run_dir, desk.start.is_fresh, desk.runner.core.events) == (first.run_dir, False, 1)
        reports = [text for level, text in opening.said if level == "warning"]
        assert len(reports) == times
        assert all("ALARM: it died" in text and "0.31 s" in text for text in reports)
        desk.lock.release()
        desk.journal.abandon()


def test_a_watchdog_that_still_acts_refuses_the_account_before_it_is_reported(tmp_path, venue):
    opening = Opening(tmp_path, venue)
    first = opening.open()
    opening.interrupted(first)
    (first.run_dir / ACTED_FILE).write_text("ALARM\n", encoding="utf-8")
    lock = assembly.lock_account(opening.plan, "a", "run r1", watchdog_log="log")
    with pytest.raises(StopError) as refused:
        opening.open(resume=True)
    assert f"process {os.getpid()}, run r1" in refused.value.value
    assert (first.run_dir / ACTED_FILE).exists()
    assert opening.gateway.log[-1] == ("closed", False)
    lock.release()
    JournalWriter.reopen(first.run_dir, started_ns=1).abandon()  # it is free


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:8080/v2"])
def test_an_account_is_locked_by_venue_address_and_id(tmp_path, venue, url):
    opening = Opening(tmp_path, venue, url=url)
    desk = opening.open()
    where = "bench" if url is None else "bench-at-127.0.0.1:8080"
    assert desk.lock.path == account_file(tmp_path, where, "a", ".lock")
    with pytest.raises(StopError) as refused:
        opening.open(set_aside=True)
    assert f"process {os.getpid()}, a new run" in refused.value.value
    opening.interrupted(desk)


@pytest.mark.parametrize("venue_name", ["sandbox", "simulated"])
def test_an_account_of_the_desks_own_is_not_locked(tmp_path, venue_name):
    gateway = BenchGateway(Instruments([Equity("SPY")]), ManualClock(OPEN_NS))
    plan = bench_plan(tmp_path, venue=venue_name)
    desk = asyncio.run(assembly.open_desk(plan, plan.clock, notify=lambda *_: None, gateway=gateway))
    assert (desk.lock, desk.gateway) == (None, gateway)
    desk.journal.abandon()


def test_a_run_is_gone_on_with_by_the_keys_of_its_account_alone(tmp_path, venue):
    opening = Opening(tmp_path, venue)
    first = opening.open()
    opening.interrupted(first)
    type(venue).account_id = "a2"
    with pytest.raises(ConfigError) as refused:
        opening.open(resume=True)
    assert refused.value.value == "a2"
    assert first.header.run_id in refused.value.where
    assert opening.gateway.log[-1] == ("closed", False)


@pytest.mark.parametrize("is_resumed", [False, True])
def test_an_account_in_another_currency_is_refused_at_every_start(tmp_path, venue, is_resumed):
    """81,090 EUR were taken for as many dollars."""
    opening = Opening(tmp_path, venue)
    if is_resumed:
        opening.interrupted(opening.open())
    type(venue).prepare = staticmethod(lambda gateway: setattr(gateway, "currency", "EUR"))
    with pytest.raises(ConfigError) as refused:
        opening.open(resume=is_resumed)
    assert (refused.value.where, refused.value.value) == ("desk.currency", "USD")
    assert "EUR" in refused.value.what
    assert opening.gateway.sent == []
    assert opening.gateway.log[-1] == ("closed", False)
    assert len(list((tmp_path / "runs").glob("*-st0cka-*"))) == is_resumed


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_desk_that_cannot_connect_closes_what_was_opened(tmp_path, venue, is_resumed):
    opening = Opening(tmp_path, venue)
    first = opening.open()
    opening.interrupted(first)
    gateway = BenchGateway(Instruments(), ManualClock(OPEN_NS))
    gateway.shows = False
    plan = replace(opening.plan, resume=is_resumed, set_aside=not is_resumed)
    with pytest.raises(RetryError):
        asyncio.run(assembly.open_desk(plan, ManualClock(1), notify=lambda *_: None, gateway=gateway))
    assert [what for what, _ in gateway.log] == ["connect", "closed"]
    assert gateway.log[-1] == ("closed", False)
    assembly.lock_account(plan, "a", "another").release()
    JournalWriter.reopen(first.run_dir, started_ns=1).abandon()


def test_a_folder_that_cannot_be_read_keeps_a_desk_from_starting_only_where_it_may_be_its_own(
    tmp_path, monkeypatch
):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    other = plan.runs_dir / "20260105-143000-other-strategy-paper-abc"
    other.mkdir()
    close_folder(monkeypatch, other)
    assert assembly.unfinished_run(plan) == folder
    monkeypatch.undo()
    own = folder.with_name(f"20260105-143000-{plan.settings.strategy}-{plan.trading}-abc")
    folder.rename(own)
    close_folder(monkeypatch, own)
    with pytest.raises(ConfigError, match="it may be a run of this strategy that did not end") as refused:
        resumed(plan)
    assert refused.value.where == str(own)
    assert "chmod u+rwx" in refused.value.fix
    assert resumed(replace(plan, resume=False, set_aside=True)) == (None, [])
