"""A whole expiry against its underlying: off by a factor, or of another price than one that stands still."""

import pytest

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.state import MarketState
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote

S = NANOS_PER_SECOND
STRIKES = tuple(range(475, 530, 5))
NOON = at("12:00")
CALL = InstrumentId(1 + 2 * STRIKES.index(500))
CONTRADICTED = QuoteVerdict.CONTRADICTED


class Chain:
    """A share and the options of an expiry, quoted once a second."""

    def __init__(self, strikes=STRIKES):
        self.book = straddle_book(*strikes)
        self.state = MarketState(self.book)
        self.state.keep_quotes(InstrumentId(0))
        self.now_ns = NOON

    def quote(self, shown, told, *, factor=1.0, half=0.01, seconds=20):
        """Quote the share at ``shown`` and each option at the worth of one at ``told``, times a factor."""
        for _ in range(seconds):
            self.now_ns += S
            self.state.apply_quote(quote(0, self.now_ns, shown - half, shown + half))
            for number in range(1, len(self.book)):
                mid = round(factor * model_price(self.book[number], told, 0.20, self.now_ns), 2)
                self.state.apply_quote(quote(number, self.now_ns, mid - 0.02, mid + 0.02))
        return self

    @property
    def contradicted(self):
        """Return whether the share is, and whether the call at the money is."""
        latest = self.state.quotes[CALL]
        return (
            self.state.verdict(InstrumentId(0), self.now_ns) is CONTRADICTED,
            self.state.is_contradicted(latest),
        )


@pytest.mark.rows("factor", [0.5, 2.0, 0.7, 1.5])
def test_a_chain_that_is_off_by_a_factor_tells_no_price_and_the_share_does(factor):
    chain = Chain().quote(500.0, 500.0)
    assert chain.contradicted == (False, False)
    assert chain.quote(500.0, 500.0, factor=factor).contradicted == (False, True)
    assert chain.quote(500.0, 500.0).contradicted == (False, False)


@pytest.mark.rows("told", [490.0, 510.0, 520.0])
def test_a_share_that_stands_still_while_its_options_move_is_contradicted_until_they_agree(told):
    chain = Chain().quote(500.0, 500.0)
    assert chain.quote(500.0, told).contradicted == (True, True)
    assert chain.quote(told, told, seconds=1).contradicted == (False, False)
    assert chain.quote(told, 500.0).contradicted == (True, True)
    assert chain.quote(told, told, seconds=1).contradicted == (False, False)


def test_options_that_tell_little_else_or_beside_a_share_that_moves_contradict_nothing():
    assert Chain().quote(500.0, 501.5).contradicted == (False, False)
    chain = Chain().quote(500.0, 500.0)
    for step in range(20):  # what borrowing the share costs
        chain.quote(500.0 + 0.02 * step, 494.0 + 0.02 * step, seconds=1)
    assert chain.contradicted == (False, False)
    assert Chain().quote(500.0, 504.0, half=2.5).contradicted == (False, False)  # within its own sides


def test_two_strikes_contradict_nothing():
    chain = Chain((495, 500)).quote(500.0, 500.0)
    assert chain.quote(500.0, 510.0).state.verdict(InstrumentId(0), chain.now_ns) is QuoteVerdict.GOOD
