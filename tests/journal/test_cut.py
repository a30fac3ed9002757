"""A backtest that was cut short is known by its journal alone."""

from datetime import date

import pytest
from msgspec import structs

from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.cut import CutShort, cut_short, sessions_begun
from scalpdesk.journal.log import JournalWriter, RunLock
from scalpdesk.journal.reader import peek_header

WEEK = tuple(session_on(date(2018, 2, day)) for day in (5, 6, 7))
MINUTE_NS = 60 * 10**9


@pytest.fixture
def run(tmp_path, header):
    folder = tmp_path / "run"
    writer = JournalWriter.create(folder, structs.replace(header, mode="backtest", sessions=WEEK))
    writer.abandon()
    return folder


@pytest.mark.rows(
    ("last_ns", "cut", "begun"),
    [
        (None, CutShort("", 0, 3), 0),
        (WEEK[0].open_ns - 1, CutShort("2018-02-05 09:29", 0, 3), 0),
        (WEEK[0].open_ns, CutShort("2018-02-05 09:30", 0, 3), 1),
        (WEEK[0].close_ns, CutShort("2018-02-05 16:00", 1, 3), 1),
        (WEEK[1].open_ns + 105 * MINUTE_NS, CutShort("2018-02-06 11:15", 1, 3), 2),
    ],
)
def test_it_says_how_many_sessions_were_played_to_their_close(run, last_ns, cut, begun):
    header = peek_header(run)
    assert cut_short(run, header, last_ns, sealed=False) == cut
    assert len(sessions_begun(header, last_ns)) == begun


def test_a_run_that_ended_or_is_written_or_is_a_desks_is_not_cut(run):
    header, last_ns = peek_header(run), WEEK[0].open_ns
    assert cut_short(run, header, last_ns, sealed=True) is None
    for mode in ("simulated", "paper", "live"):
        assert cut_short(run, structs.replace(header, mode=mode), last_ns, sealed=False) is None
    writer = RunLock(run, 0)
    assert cut_short(run, header, last_ns, sealed=False) is None
    writer.release()
    assert cut_short(run, structs.replace(header, mode="demo"), last_ns, sealed=False) is not None
