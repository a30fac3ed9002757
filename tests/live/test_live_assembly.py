"""What is resumed, and what is begun afresh."""

import asyncio
import os
from dataclasses import replace
from datetime import date

import pytest

from fakes.clock import ManualClock
from scalpdesk.backtesting.summary import Tally
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError, JournalError
from scalpdesk.core.events import RateEvent
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.journal.frames import segment_path
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live import assembly
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.status import SOCKET_NAME, ControlServer
from scalpdesk.live.watchdog import ACTED_FILE

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
    assert "1 events replayed" in said[0][1]
    found.journal.abandon()


def test_what_the_watchdog_did_is_reported_by_the_next_start_and_once(tmp_path):
    plan, folder = interrupted_run(tmp_path, [RateEvent(1_500, 1_500, (1.0,), (0.01,))])
    (folder / ACTED_FILE).write_text("ALARM: the desk died\n2 orders\ndone after 0.31 s\n", encoding="utf-8")
    for times in (1, 0):
        found, said = resumed(plan)
        found.journal.abandon()
        told = [text for level, text in said if level == "warning"]
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
