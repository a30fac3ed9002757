"""A word that is known within a session comes at the same place in a backtest and on the simulated venue."""

from scalpdesk.core.events import GammaExposureEvent, QuoteEvent
from scalpdesk.instruments.sessions import session_on
from scalpdesk.venues.simulated import PlayedSession
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.desk import Scripted, run_tape
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import TapeBuilder, at

OPEN_NS = session_on(DAY).open_ns
STAMPS = (OPEN_NS, at("10:01"), at("10:01:30"), at("10:02"))


def words():
    return tuple(GammaExposureEvent("SPY", ns, ns, float(i), "chain") for i, ns in enumerate(STAMPS))


def tape():
    builder = TapeBuilder()
    for minute in range(4):
        builder.spot(f"10:0{minute}", 500.0 + minute)
    return builder.build()


def in_short(events):
    """Return quotes by their stamp and words by their value."""
    told = []
    for event in events:
        if isinstance(event, GammaExposureEvent):
            told.append(("word", event.exposure_usd))
        elif isinstance(event, QuoteEvent):
            told.append(("quote", event.ts_recv_ns))
    return told


def test_words_come_after_the_quotes_of_their_instant_and_before_later_ones():
    run = run_tape(tape(), Scripted(), known_at_open=words())
    told = in_short(run.events)
    assert told[0] == ("word", 0.0)
    for value, stamp in enumerate(STAMPS[1:], start=1):
        place = told.index(("word", float(value)))
        assert all(one[1] <= stamp for one in told[:place] if one[0] == "quote")
        assert all(one[1] > stamp for one in told[place:] if one[0] == "quote")
    assert run.engine.desk.market.gamma_exposures["SPY"].exposure_usd == 3.0


def test_the_simulated_venue_tells_them_in_the_backtests_order():
    market = tape()
    venue = PlayedSession(market, connect(market.instruments, is_open=False), exposures=words())
    assert [one.exposure_usd for one in venue.known_at_open] == [0.0]
    stepped, stamps = list(venue.known_at_open), []
    while not venue.is_over:
        stepped += venue.step()
        stamps.append(venue.now_ns)
    assert in_short(stepped) == in_short(run_tape(market, Scripted(), known_at_open=words()).events)
    assert stamps == sorted(stamps)
