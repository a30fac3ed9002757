"""``scalpdesk research lookahead``: exit code, document and text, with and without a planted peek."""

import sys

import pytest

from scalpdesk_testing.kit.packages import install_strategies

PEEKER = '''
"""Buys a share once, when it knows that the session will end higher."""

from decimal import Decimal

import msgspec

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.marketdata.triggers import PriceMove
from scalpdesk.strategies.contract import Proposal, StrategySpec


class EndConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    underlying: str = "SPY"
    peeks: bool = True


class KnowsTheEnd:
    name = "knows-the-end"
    is_done = False

    def __init__(self, config):
        self.config, self.decided = config, False

    def start(self, view):
        return (PriceMove(view.underlying, 0.01, 60.0),)

    def on_wake(self, view, wake, event):
        quote = view.market.quotes[view.underlying]
        if self.decided or quote is None:
            return ()
        self.decided = True
        columns = view.market.quotes.rows.columns
        last = columns.bid[columns.instrument_id == view.underlying][-1] if self.config.peeks else quote.bid
        side = Side.BUY if last >= quote.ask else Side.SELL
        order = OrderIntent(view.underlying, side, Decimal(1), Purpose.OPEN, side.value)
        return (Proposal(DecisionKind.ENTRY, (side.value,), {}, (order,)),)


PLUG = StrategySpec(name="knows-the-end", config=EndConfig, build=KnowsTheEnd, trades_options=False)
'''
WORDS = [
    *("research", "lookahead", "knows-the-end", "--start", "2017-07-03", "--cuts", "1"),
    *("--set", "marketdata.mark_seconds=600"),
]


@pytest.fixture(autouse=True)
def peeker(tmp_path, monkeypatch):
    install_strategies(tmp_path / "site", "planted_end", PEEKER, {"knows-the-end": "PLUG"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    sys.modules.pop("planted_end", None)


def test_a_planted_peek_fails_with_time_and_both_versions(told_by, document_of):
    document = document_of(*WORDS, code=1)
    found = document["found"]
    assert document["passed"] is False
    assert found["time"].startswith("2017-07-03 09:3")
    assert found["time"] < found["cut"]
    assert {"buy", "sell"} == {
        side for side in ("buy", "sell") for text in (found["before"], found["after"]) if side in text
    }
    text = told_by(*WORDS, code=1).out
    assert all(found[name] in text for name in ("time", "cut", "change", "before", "after"))


def test_without_the_peek_it_passes(told_by, document_of):
    document = document_of(*WORDS, "--set", "peeks=false")
    assert (document["passed"], document["found"], document["runs"]) == (True, None, 2)
    assert document["decisions"] == 2  # the decision and its order
    assert "2 changed futures" in told_by(*WORDS, "--set", "peeks=false").out
