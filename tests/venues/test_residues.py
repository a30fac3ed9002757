"""Parts of holdings that no order over a venue's API can sell."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.venues.contract import VenuePosition
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.residues import Residues

D = Decimal
INSTRUMENTS = (Equity("SPY"), perpetual("BTC"), deribit_option("BTC-14MAR25-90000-C"), None)


def holding(instrument, quantity):
    symbol = "OLD" if instrument is None else instrument.symbol
    return VenuePosition(symbol, None, quantity, D(1), instrument)


def residues(**options):
    publisher = EventPublisher(SystemClock())
    return Residues(publisher, **options), publisher


@given(
    held=st.lists(
        st.tuples(st.sampled_from(INSTRUMENTS), st.decimals(-50, 50, places=4)),
        max_size=4,
        unique_by=lambda each: id(each[0]),
    ),
    looks=st.integers(1, 3),
)
def test_whole_steps_and_the_rest_are_the_holding_and_the_rest_is_named_once(held, looks):
    found, publisher = residues()
    holdings = [holding(*each) for each in held]
    for _ in range(looks):
        whole = found.without(holdings)
    parts = {part.symbol: part.quantity for part in found.held}
    for before, after in zip(holdings, whole, strict=True):
        part = parts.get(before.symbol, D(0))
        assert after.quantity + part == before.quantity
        assert abs(after.quantity) <= abs(before.quantity)
        step = before.instrument.step if before.instrument is not None else None
        assert part == 0 if step is None else (abs(part) < step and not after.quantity % step)
    assert publisher.counters["unsellable"] == len(parts)


def test_a_part_that_has_changed_is_named_again_and_one_that_is_gone_is_forgotten():
    found, publisher = residues()
    for quantity in ("0.5", "0.5", "0.75", "3", "0.75"):
        found.without([holding(INSTRUMENTS[0], D(quantity))])
    assert publisher.counters["unsellable"] == 3


def test_where_a_venue_takes_fractions_they_stay_in_the_account():
    found, publisher = residues(step=lambda held: D(0) if held.symbol == "SPY" else D(1))
    whole = found.without([holding(INSTRUMENTS[0], D("0.5")), holding(Equity("BRK.A"), D("1.5"))])
    assert [held.quantity for held in whole] == [D("0.5"), 1]
    assert [str(part) for part in found.held] == ["+0.5 BRK.A"]
    assert publisher.counters["unsellable"] == 1
