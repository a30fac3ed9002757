"""Journals that earlier versions wrote are read and replayed."""

import gzip
from pathlib import Path

from scalpdesk.backtesting.runs import replay

JOURNAL = Path(__file__).with_name("data") / "before_redraw.sdj.gz"


def test_a_journal_of_an_earlier_version_replays_to_the_same_book(tmp_path):
    (tmp_path / "journal-000001.sdj").write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    verdict = replay(tmp_path, verify=False)
    summary = verdict.summary
    assert (verdict.events, verdict.outputs, verdict.recovered) == (3737, 830, None)
    assert (summary["orders"], summary["fills"], summary["hedges"]) == (17, 17, 14)
    assert summary["pnl"]["total"] == summary["nav_change"] == "6.14"
    assert summary["end_positions"] == {"SPY240419C00500000": "1", "SPY240419P00500000": "1", "SPY": "16"}
