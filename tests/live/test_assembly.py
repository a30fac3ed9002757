"""Runs that are resumed, and runs that begin."""

import asyncio
import os
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest

from fakes.clock import ManualClock
from fakes.closed_folder import close_folder
from scalpdesk.backtesting.summary import Tally
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError, JournalError, ScalpdeskError
from scalpdesk.core.events import RateEvent
from scalpdesk.core.intents import AskFolder, OrderType, Purpose, SetTimer, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import NEVER_NS
from scalpdesk.engine.timers import Timers
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.frames import segment_path
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live import assembly
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.recovery import Rebuilt, Start
from scalpdesk.live.status import SOCKET_NAME, ControlServer
from scalpdesk.live.watchdog import ACTED_FILE
from scalpdesk.venues.contract import NoSettings, VenueSpec
from scalpdesk.venues.registry import find_venue

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
    found = assembly._resume(plan, ManualClock(2_000), Tally(), lambda *words: said.append(words))
    return found, said


def test_a_run_that_died_before_its_first_event_is_ended_and_begun_afresh(tmp_path):
    plan, folder = interrupted_run(tmp_path, [])
    found, said = resumed(plan)
    assert found is None
    assert "had not begun" in said[0][1]
    assert JournalReader(folder).sealed
    assert assembly.unfinished_run(plan) is None


def test_a_run_that_had_begun_is_rebuilt(tmp_path):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    found, said = resumed(plan)
    assert found.events == 1
    assert found.run_dir == folder
    assert "1 event replayed" in said[0][1]
    found.journal.abandon()


def test_what_the_watchdog_did_is_reported_by_the_next_start_and_once(tmp_path):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    (folder / ACTED_FILE).write_text("ALARM: the desk died\n2 orders\ndone after 0.31 s\n", encoding="utf-8")
    for times in (1, 0):
        found, said = resumed(plan)
        found.journal.abandon()
        assert [level for level, _ in said] == ["info"]  # the account may yet be refused
        told = []
        assembly._report_watchdog(folder, lambda _level, text, told=told: told.append(text))
        assert (
            told
            == ["the watchdog ended this run's last life: ALARM: the desk died; done after 0.31 s"] * times
        )


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


@pytest.mark.parametrize("set_aside", [False, True])
@pytest.mark.parametrize("resume", [False, True])
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(("ended", "found"), [((), 2), ((0,), 2), ((2,), None), ((0, 1, 2), None)])
def test_the_latest_run_alone_is_gone_on_with(tmp_path, ended, found):
    plan = plan_in(tmp_path)
    at = {0: 5, 1: 1, 2: 9}  # made in another order than they began in
    folders = [run_of(plan, at[number], ended=number in ended) for number in range(3)]
    assert assembly.unfinished_run(plan) == (None if found is None else folders[found])


@pytest.mark.parametrize(("damaged", "readable", "found"), [(2, 1, 2), (1, 2, 2), (1, None, 1)])
def test_a_run_that_cannot_be_read_counts_where_it_is_the_latest(tmp_path, damaged, readable, found):
    plan = plan_in(tmp_path)
    folders = {number: run_of(plan, number) for number in (damaged, readable) if number is not None}
    segment_path(folders[damaged], 1).write_bytes(b"")
    (folders[damaged] / SOCKET_NAME).touch()
    stranger = plan.runs_dir / "99991231-000000-zero-dte-simulated-000000"
    stranger.mkdir()
    (stranger / SOCKET_NAME).touch()
    assert assembly.unfinished_run(plan) == folders[found]


@pytest.mark.parametrize(
    ("how", "exists", "outcome"),
    [
        ({}, False, None),
        ({"set_aside": True}, False, None),
        ({"resume": True}, False, "there is no unfinished run to go on with"),
        ({}, True, "a run on this venue did not end; nothing was sent"),
        ({"resume": True}, True, "the run"),
        ({"set_aside": True}, True, None),
    ],
)
def test_a_run_is_gone_on_with_only_when_that_is_asked_for(tmp_path, how, exists, outcome):
    plan = plan_in(tmp_path, **how)
    folder = run_of(plan, 1) if exists else None
    if outcome in (None, "the run"):
        assert assembly._run_to_resume(plan) == (folder if outcome else None)
    else:
        with pytest.raises(ConfigError, match=outcome) as refused:
            assembly._run_to_resume(plan)
        assert refused.value.where == str(folder or plan.runs_dir)
    assert exists is False or (folder / "set-aside").exists() is how.get("set_aside", False)


def test_a_run_is_not_gone_on_with_by_another_configuration(tmp_path):
    plan = plan_in(tmp_path, resume=True)
    folder = run_of(plan, 1, config_hash="0123456789")
    with pytest.raises(ConfigError, match="not the one that this run began with") as refused:
        resumed(plan)
    assert refused.value.where == f"{folder.name}: 01234567"
    assert refused.value.value == plan.settings.config_hash[:8]


# the header of a new run ----------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(0, "0"), (1, "1"), (35, "z"), (36, "10"), (1_295, "zz"), (1_700_000_000, "s44we8")]
)
def test_a_second_is_written_to_the_base_36(number, code):
    assert assembly.base36(number) == code
    assert int(code, 36) == number


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


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"url": "http://127.0.0.1:1"}, "--live trades at the venue itself"),
        ({}, "--live contradicts the configuration"),
    ],
)
def test_live_at_another_address_or_against_the_configuration_is_refused(tmp_path, how, what):
    plan = plan_in(tmp_path, venue="alpaca", live=True, **how)
    with pytest.raises(ConfigError, match=what) as refused:
        assembly._live_token(plan)
    assert refused.value.value == how.get("url", True)
    assert assembly._live_token(replace(plan, live=False)) is None


def test_a_venue_is_built_with_the_plans_settings(tmp_path, monkeypatch):
    environ = {"TRADING_API_KEY": "key-of-a-test", "TRADING_API_SECRET": "secret-of-a-test"}
    settings = load_settings("gamma-scalper", environ=environ, cwd=tmp_path)
    built = []
    monkeypatch.setattr(
        assembly,
        "find_venue",
        lambda name: VenueSpec(
            name=name, build=lambda setup, _: built.append((name, setup)), settings=NoSettings
        ),
    )
    plan = LivePlan(settings, venue="alpaca", url="http://127.0.0.1:1")
    instruments, clock = Instruments([]), ManualClock(5)
    assembly.build_gateway(plan, instruments, clock)
    assembly.venue_gateway(plan, instruments, clock, venue="deribit", data_only=True)
    (name, setup), (other, data) = built
    section = settings.config.venue
    assert (name, other) == ("alpaca", "deribit")
    assert (setup.data_only, data.data_only) == (False, True)
    assert (setup.instruments, setup.clock, setup.url) == (instruments, clock, plan.url)
    assert tuple(key.reveal() for key in setup.keys) == ("key-of-a-test", "secret-of-a-test")
    assert (setup.live_token, setup.options_level, setup.fees) == (None, 2, NO_FEES)
    assert setup.acceptance_seconds == plan.runner.absent_after_seconds
    assert setup.heartbeat_seconds == section.heartbeat_seconds
    shares = load_settings("st0cka", environ=environ, cwd=tmp_path)
    assembly.venue_gateway(replace(plan, settings=shares), instruments, clock)
    assert built[-1][1].options_level == 0
    without = load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    with pytest.raises(ConfigError, match="needs a key and a secret"):
        assembly.build_gateway(replace(plan, settings=without), instruments, clock)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:8080/v2"])
def test_an_account_is_locked_by_venue_address_and_id(tmp_path, monkeypatch, url):
    taken = []
    monkeypatch.setattr(assembly, "AccountLock", lambda *how: taken.append(how))
    plan = plan_in(tmp_path, venue="alpaca", url=url)
    header = SimpleNamespace(run_id="r1", data={"account_id": "a1"})
    facts = SimpleNamespace(account_id="a1")
    assembly._take_account(plan, facts, None)
    assembly._take_account(plan, facts, SimpleNamespace(header=header))
    where = "alpaca" if url is None else "alpaca-at-127.0.0.1:8080"
    assert [how[:3] for how in taken] == [(tmp_path, where, "a1")] * 2
    assert [how[3].run_id for how in taken] == ["a new run", "run r1"]
    assert {how[3].pid for how in taken} == {os.getpid()}
    header.data["account_id"] = "a2"
    with pytest.raises(ConfigError, match="the keys belong to another account") as refused:
        assembly._take_account(plan, facts, SimpleNamespace(header=header))
    assert (refused.value.where, refused.value.value) == ("run r1: account a2", "a1")
    assert len(taken) == 2


@pytest.mark.parametrize("resumes", [False, True])
def test_a_sandbox_begins_with_its_configured_cash_or_with_what_the_journal_has(
    tmp_path, monkeypatch, resumes
):
    connected = []
    monkeypatch.setattr(assembly, "venue_gateway", lambda *_how, **named: named)
    monkeypatch.setattr(assembly, "connect_broker", lambda *how: connected.append(how))
    monkeypatch.setattr(assembly, "SandboxGateway", lambda *how: how)
    plan = plan_in(tmp_path, venue="sandbox")
    held = SimpleNamespace(instrument_id=3, quantity=Decimal(-2), average_price=Decimal("1.5"))
    desk = SimpleNamespace(
        account=SimpleNamespace(cash=Decimal(77)), positions=SimpleNamespace(held=lambda: [held])
    )
    engine = SimpleNamespace(desk=desk) if resumes else None
    data, _, clock, hours = assembly.build_gateway(plan, "book", "clock", engine)
    assert (data, clock) == ({"venue": "alpaca", "data_only": True}, "clock")
    ((config, instruments, same_hours, cash, positions),) = connected
    assert (config, instruments, same_hours) == (plan.settings.config, "book", hours)
    expected = (Decimal(77), {3: (Decimal(-2), Decimal("1.5"))})
    assert (cash, positions) == (expected if resumes else (config.simulation.starting_cash, {}))


@pytest.mark.parametrize("day", [None, date(2018, 2, 6)])
def test_a_simulated_venue_plays_one_day_with_the_configured_holdings_or_those_of_the_journal(
    tmp_path, monkeypatch, day
):
    loaded, connected = [], []
    book = Instruments([Equity("SPY")])
    session = session_on(date(2018, 2, 5))
    mids = {(session.open_ns, session.close_ns, 0): [273.35, 273.4]}  # taken over at the first
    tape = SimpleNamespace(
        instruments=book,
        sessions=(session,),
        quotes=SimpleNamespace(
            between=lambda *span: SimpleNamespace(mids=lambda number: ([], mids[*span, number]))
        ),
    )
    monkeypatch.setattr(assembly, "load_market", lambda *how, **named: loaded.append(named) or tape)
    monkeypatch.setattr(assembly, "connect_broker", lambda *how: connected.append(how) or "connection")
    monkeypatch.setattr(assembly, "gamma_events", lambda *_: ("gamma",))
    monkeypatch.setattr(assembly, "PlayedSession", lambda *how, **named: (*how, named))
    monkeypatch.setattr(assembly, "SimulatedGateway", lambda *how, pace: (*how, pace))
    plan = plan_in(tmp_path, session=day, pace=7.0)
    monkeypatch.setitem(plan.settings.config.simulation.positions, "SPY", 5)
    clock = plan.clock
    played = (tape, "connection", {"exposures": ("gamma",), "from_ns": 0})
    assert assembly.build_gateway(plan, book, clock) == (played, clock, 7.0)
    on = day or date(2018, 2, 5)
    seed = plan.settings.config.simulation.seed
    assert loaded == [{"underlying": "SPY", "start": on, "end": on, "seed": seed}]
    assert connected[0][3:] == (plan.settings.config.simulation.starting_cash, {0: (5, Decimal("273.35"))})
    held = SimpleNamespace(instrument_id=0, quantity=Decimal(3), average_price=Decimal("274.1"))
    desk = SimpleNamespace(
        account=SimpleNamespace(cash=Decimal(77)), positions=SimpleNamespace(held=lambda: [held])
    )
    played[-1]["from_ns"] = now_ns = session.open_ns + 1
    resumed = assembly.build_gateway(plan, book, clock, SimpleNamespace(desk=desk, now_ns=now_ns))
    assert resumed == (played, clock, 7.0)
    assert connected[1][3:] == (Decimal(77), {0: (Decimal(3), Decimal("274.1"))})
    loaded.pop()
    with pytest.raises(ScalpdeskError):
        assembly.simulated_gateway(replace(plan, session=date(2018, 2, 4)), clock)  # a Sunday
    assert len(loaded) == 1


@pytest.mark.parametrize("own_folder", [False, True])
def test_an_armed_desk_trades_with_the_token_of_its_configuration(tmp_path, monkeypatch, own_folder):
    settings = load_settings("gamma-scalper", overrides=["desk.paper=false"], environ={}, cwd=tmp_path)
    monkeypatch.setattr(assembly, "token_for", lambda *how: how)
    monkeypatch.setattr(assembly, "state_dir", lambda environ: "the user's own")
    plan = LivePlan(settings, venue="alpaca", live=True, state=tmp_path if own_folder else None)
    folder = tmp_path if own_folder else "the user's own"
    assert assembly._live_token(plan) == (folder, "alpaca", settings.config_hash)


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


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("venue", "fees"), [("alpaca", ALPACA_FEES), ("deribit", DERIBIT_FEES)], ids=lambda each: str(each)[:8]
)
def test_orders_cost_their_venues_fees_for_real_money_and_on_paper(tmp_path, monkeypatch, live, venue, fees):
    built = []
    spec = replace(find_venue(venue), build=lambda setup, _: built.append(setup))
    monkeypatch.setattr(assembly, "find_venue", lambda name: spec)
    monkeypatch.setattr(assembly, "_live_token", lambda plan: "token" if plan.live else None)
    environ = {"TRADING_API_KEY": "key-of-a-test", "TRADING_API_SECRET": "secret-of-a-test"}
    settings = load_settings("gamma-scalper", environ=environ, cwd=tmp_path)
    assembly.venue_gateway(LivePlan(settings, venue=venue, live=live), Instruments([]), ManualClock(5))
    (setup,) = built
    assert setup.fees is fees
    assert setup.live_token == ("token" if live else None)


# a run that is resumed ----------------------------------------


def rebuilding(monkeypatch, rebuilt):
    """Let a journal give back what the test says; keep what is written and closed of it."""
    steps = []

    class Journal:
        recovered = rebuilt.truncated

        def __getattr__(self, name):
            return lambda *how: steps.append((name, *how))

    monkeypatch.setattr(
        assembly.JournalWriter, "reopen", lambda folder, started_ns: steps.append(started_ns) or Journal()
    )
    return steps


def rebuilt_with(events=3, unwritten=(), truncated=None):
    return Rebuilt(Timers(), tuple(unwritten), events, truncated)


def test_outputs_that_never_reached_the_journal_are_written_before_anything_else(tmp_path, monkeypatch):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    timer = SetTimer("mine", 5)
    known = rebuilt_with(unwritten=[timer], truncated="half a record")
    asks = [AskFolder(1, ()), AskFolder(2, ())]
    order = SubmitOrder("a", 0, Side.BUY, Decimal(1), OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE)
    steps = rebuilding(monkeypatch, known)

    def rebuild(reader, engine, watch):
        assert reader.run_dir == folder
        watch("event", (asks[0], order, timer))
        watch("event", (asks[1],))
        return known

    monkeypatch.setattr(assembly, "rebuild", rebuild)
    said, tally = [], Tally()
    found = assembly._resume(plan, ManualClock(2_000), tally, lambda *words: said.append(words))
    assert steps == [2_000, ("add_outputs", (timer,))]
    assert (found.asked, found.events, found.truncated) == (asks, 3, "half a record")
    assert found.timers is known.timers
    assert tally.orders == 1
    assert said == [("info", f"resumed {folder.name}: 3 events replayed; half a record")]
    rebuilding(monkeypatch, rebuilt_with())
    monkeypatch.setattr(assembly, "rebuild", lambda *_how, **_named: rebuilt_with())
    steps.clear()
    assert assembly._resume(plan, ManualClock(2_000), tally, lambda *_: None).truncated is None
    assert steps == []


@pytest.mark.parametrize("failure", [JournalError("no"), KeyboardInterrupt()])
def test_a_journal_whose_replay_fails_is_let_go(tmp_path, monkeypatch, failure):
    plan, _ = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    steps = rebuilding(monkeypatch, rebuilt_with())

    def rebuild(*_how, **_named):
        raise failure

    monkeypatch.setattr(assembly, "rebuild", rebuild)
    with pytest.raises(type(failure)):
        resumed(plan)
    assert steps == [2_000, ("abandon",)]


# a run that is begun ----------------------------------------


def test_a_new_run_has_its_market_its_account_and_the_accounts_cash(tmp_path, monkeypatch):
    plan = plan_in(tmp_path, url="http://127.0.0.1:1")
    asked = []

    async def first_market(*how):
        asked.append(how)
        how[2].add(Equity("SPY"))
        return dict(DATA), ("opening",)

    monkeypatch.setattr(assembly, "first_market", first_market)
    gateway = SimpleNamespace(takes_combos=True)
    facts = SimpleNamespace(account_id="a7", cash=Decimal(4_321))
    book, clock = Instruments(), ManualClock(3_000)
    run = asyncio.run(assembly._new_run(plan, clock, gateway, facts, book))
    assert asked == [(plan, gateway, book, clock)]
    data = run.header.data
    assert (data["account_id"], data["url"], data["takes_combos"]) == ("a7", plan.url, True)
    assert (run.header.started_ns, run.header.instruments) == (3_000, (Equity("SPY"),))
    assert run.engine.desk.account.cash == 4_321
    assert run.run_dir == plan.runs_dir / run.header.run_id
    assert run.start == Start(("opening",))
    assert (run.events, run.truncated, run.asked, run.timers.due_ns) == (0, None, [], NEVER_NS)
    run.journal.close()
    assert JournalReader(run.run_dir).sealed


@pytest.mark.parametrize(("venue", "in_step"), [("simulated", True), ("alpaca", False)])
def test_a_strategy_folder_answers_in_step_with_a_tape(tmp_path, monkeypatch, venue, in_step):
    plan = plan_in(tmp_path, venue=venue)
    monkeypatch.setattr(assembly, "start_folder", lambda *how: "answerer")
    monkeypatch.setattr(assembly, "FolderChannel", lambda *how, in_step: (*how, in_step))
    assert assembly._folder_channel(plan, "clock") == ("answerer", "clock", in_step)
    monkeypatch.setattr(assembly, "start_folder", lambda *how: None)
    assert assembly._folder_channel(plan, "clock") is None


@pytest.mark.parametrize("same", [True, False])
def test_a_fresh_folder_is_shown_what_the_one_before_saw_and_other_code_is_told(tmp_path, monkeypatch, same):
    class Asks:
        def __init__(self, number):
            self.open_request = number

        def folder_summary(self):
            return {}

    plan, said, recalled = plan_in(tmp_path), [], []
    members = [Asks(3), object(), Asks(None), Asks(0)]
    monkeypatch.setattr(assembly, "members_of", lambda strategy: members)
    monkeypatch.setattr(assembly, "folder_facts", lambda *how: {"folder_sha256": "c0de"})
    header = SimpleNamespace(strategy="mine", data={"folder_sha256": "c0de" if same else "other"})
    run = SimpleNamespace(header=header, asked=["a"], engine=SimpleNamespace(strategy="it"))
    folder = SimpleNamespace(recall=lambda *how: recalled.append(how))
    assembly._recall(plan, run, folder, lambda *words: said.append(words))
    assert recalled == [(["a"], [3, 0])]
    other = "the strategy folder's code is not the one that this run began with"
    assert said == ([] if same else [("warning", other)])


class Opening:
    """Stands for what a desk is opened with, and writes down what is opened, closed and begun."""

    def __init__(self, monkeypatch, *, is_resumed=False, has_folder=True, fails=""):
        self.steps, self.fails = [], fails
        self.run = SimpleNamespace(
            header=SimpleNamespace(instruments=(Equity("SPY"),)),
            run_dir="there",
            engine=SimpleNamespace(desk="desk"),
            journal=SimpleNamespace(abandon=self.step("journal let go")),
            start="start",
            timers="timers",
            events=17,
            decided=40,
            truncated="half a record",
        )
        self.gateway = SimpleNamespace(
            connect=self.later("connect", "facts"), close=self.later("gateway closed")
        )
        self.folder = SimpleNamespace(
            close=self.step("folder closed"), see="folder sees", deliver_to=self.step("delivers")
        )
        lock = SimpleNamespace(release=self.step("account released"))
        put_in = {
            "_resume": self.step("resume", self.run if is_resumed else None),
            "build_gateway": self.step("build", self.gateway),
            "_folder_channel": self.step("folder", self.folder if has_folder else None),
            "_take_account": self.step("take", lock),
            "_report_watchdog": self.step("report"),
            "_new_run": self.later("new run", self.run),
            "implied_vol_recorders": self.step("recorders", ("recorder",)),
            "known_orders": self.step("known", "orders"),
            "LiveCore": self.step("core", SimpleNamespace(engine=self.run.engine, events=0)),
            "LiveRunner": self.step("runner"),
            "_recall": self.step("recall"),
        }
        for name, stub in put_in.items():
            monkeypatch.setattr(assembly, name, stub)
        make, self.runner = assembly.LiveRunner, SimpleNamespace(put="put")
        monkeypatch.setattr(
            assembly,
            "LiveRunner",
            lambda *how, **named: make(*how, **named) or setattr(self.runner, "core", how[0]) or self.runner,
        )

    def step(self, name, result=None):
        def do(*how, **named):
            self.steps.append((name, how, named))
            if name == self.fails:
                raise RuntimeError(name)
            return result

        return do

    def later(self, name, result=None):
        do = self.step(name, result)

        async def soon(*how, **named):
            return do(*how, **named)

        return soon

    def open(self, plan, **how):
        return asyncio.run(assembly.open_desk(plan, "clock", notify="notify", watchdog="dog", **how))

    def names(self):
        return [name for name, _, _ in self.steps]

    def named(self, name):
        ((_, how, named),) = [step for step in self.steps if step[0] == name]
        return how, named


@pytest.mark.parametrize("is_resumed", [False, True])
@pytest.mark.parametrize("has_folder", [False, True])
@pytest.mark.parametrize("venue", ["alpaca", "sandbox", "simulated"])
def test_a_desk_is_opened_in_one_order(tmp_path, monkeypatch, venue, has_folder, is_resumed):
    opening = Opening(monkeypatch, is_resumed=is_resumed, has_folder=has_folder)
    plan = plan_in(tmp_path, venue=venue)
    desk = opening.open(plan)
    expected = [
        "resume",
        "build",
        "folder",
        "known",
        "connect",
        "take",
        "report",  # once the account is this desk's: a watchdog that still acts has refused it
        "new run",
        "recorders",
        "core",
        "runner",
    ]
    if has_folder:
        expected += ["delivers", "recall"]
    left_out = {"new run"} if is_resumed else {"known", "report", "recall"}
    if venue != "alpaca":
        left_out.add("take")  # an account of the desk's own
    assert opening.names() == [name for name in expected if name not in left_out]
    assert opening.named("connect")[0] == (("orders",) if is_resumed else ((),))
    assert opening.named("build")[0][3] is (opening.run.engine if is_resumed else None)
    assert list(opening.named("build")[0][1]) == ([Equity("SPY")] if is_resumed else [])
    source = plan.data if venue == "simulated" else venue
    assert opening.named("recorders") == (
        (plan.settings, "desk", plan.underlyings, source),
        {"is_live": venue != "simulated", "say": "notify"},
    )
    core, _ = opening.named("core")
    assert core[:3] == (opening.run.engine, opening.run.journal, "timers")
    assert core[3][1:] == (*(["folder sees"] * has_folder), "recorder")
    assert core[3][0] == desk.tally.see
    assert core[4] == 40
    how, named = opening.named("runner")
    assert how == (desk.runner.core, opening.gateway, "clock", plan.runner)
    assert desk.runner.core.events == 17
    update, splits = named.pop("daily_update"), named.pop("splits")
    assert named == {"notify": "notify", "watchdog": "dog"}
    if venue == "simulated":
        assert update is None
    else:
        assert update.args == (plan, opening.gateway, opening.named("build")[0][1], "clock")
    assert splits.args == (opening.gateway, opening.named("build")[0][1], "clock")
    if has_folder:
        assert opening.named("delivers")[0] == ("put",)
    assert (desk.header, desk.run_dir, desk.gateway) == (opening.run.header, "there", opening.gateway)
    assert (desk.journal, desk.start, desk.recovered) == (opening.run.journal, "start", "half a record")
    assert desk.folder is (opening.folder if has_folder else None)
    assert (desk.lock is not None) is (venue == "alpaca")
    assert desk.engine is opening.run.engine


def test_a_gateway_that_is_given_is_used(tmp_path, monkeypatch):
    opening = Opening(monkeypatch)
    assert opening.open(plan_in(tmp_path, venue="alpaca"), gateway=opening.gateway).gateway is opening.gateway
    assert "build" not in opening.names()


@pytest.mark.parametrize("is_resumed", [False, True])
@pytest.mark.parametrize(
    ("fails", "opened"),
    [
        ("build", []),
        ("folder", ["gateway closed"]),
        ("connect", ["folder closed", "gateway closed"]),
        ("take", ["folder closed", "gateway closed"]),
        ("recorders", ["account released", "folder closed", "gateway closed"]),
        ("delivers", ["account released", "folder closed", "gateway closed"]),
    ],
)
def test_a_desk_that_cannot_be_opened_closes_what_was_opened(
    tmp_path, monkeypatch, is_resumed, fails, opened
):
    opening = Opening(monkeypatch, is_resumed=is_resumed, fails=fails)
    with pytest.raises(RuntimeError, match=fails):
        opening.open(plan_in(tmp_path, venue="alpaca"))
    closed = opening.names()[opening.names().index(fails) + 1 :]
    assert closed == opened + ["journal let go"] * is_resumed
    if "gateway closed" in opened:
        assert opening.named("gateway closed") == ((), {"graceful": False})


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
