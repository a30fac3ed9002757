"""Dealer gamma that a run over a tape gets."""

import math
from datetime import date

import pytest

from scalpdesk.datasets import dealer_gamma as words_module
from scalpdesk.datasets.dealer_gamma import ExposureHistory, SessionExposure, tape_gamma_events
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.dealer_gamma import ExposureSettings

SETTINGS = ExposureSettings()


class Tape:
    """A tape of two sessions; the chain of its quotes is never priced here."""

    name, underlying, underlyings = "lean", "SPY", ("SPY",)
    sessions = (Session(date(2018, 3, 1), 10, 20), Session(date(2018, 3, 2), 30, 40))

    def with_main(self, symbol):
        return self


TAPE = Tape()


@pytest.fixture
def asked(monkeypatch):
    """Record how the chain is asked instead of pricing one."""
    calls = []

    def events(tape, *, every_seconds, usual_usd):
        calls.append((tape, every_seconds, usual_usd))
        return iter(())

    monkeypatch.setattr(words_module, "exposure_events", events)
    return calls


def test_a_hand_is_told_at_every_open_and_no_chain_is_priced(asked):
    words = tape_gamma_events(TAPE, SETTINGS, "-15000.0", is_read=True)
    assert [(one.symbol, one.ts_recv_ns, one.exposure_usd, one.source) for one in words] == [
        ("SPX", 10, -15_000.0, "environment"),
        ("SPX", 30, -15_000.0, "environment"),
    ]
    assert asked == []


def test_a_hand_that_wrote_no_number_is_unknown_and_said_once(asked):
    said = []
    words = tape_gamma_events(TAPE, SETTINGS, "much", is_read=False, say=lambda *words: said.append(words))
    assert all(math.isnan(one.exposure_usd) for one in words)
    assert [level for level, _ in said] == ["warning"]
    assert asked == []


@pytest.mark.parametrize(
    ("settings", "is_read"), [(SETTINGS, False), (ExposureSettings(from_chain=False), True)]
)
def test_a_chain_that_nobody_reads_is_not_priced(asked, settings, is_read):
    assert tape_gamma_events(TAPE, settings, None, is_read=is_read) == ()
    assert asked == []


def test_the_chain_is_compared_with_sessions_before_the_run(asked, tmp_path):
    history = ExposureHistory(tmp_path, "lean", "SPY")
    history.keep(SessionExposure(date(2018, 2, day), 10.0, 2.0) for day in range(1, 25))
    history.keep([SessionExposure(date(2018, 3, 1), 1e9, 1e9)])
    tape_gamma_events(TAPE, SETTINGS, None, is_read=True, history_folder=tmp_path)
    assert asked == [(TAPE, 600.0, (10.0, 2.0))]
