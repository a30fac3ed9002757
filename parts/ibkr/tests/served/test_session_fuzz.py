"""Whatever a client sends, its connection stands and its answers are frames."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk_ibkr.served.protocol import PROTOCOL as TWS
from scalpdesk_ibkr.served.session import REQUESTS, ClientSession, TwsMarket
from scalpdesk_testing.kit.exchange import source

pytestmark = pytest.mark.second

KNOWN = [
    *("", "0", "1", "-1", "2", "1e400", "1e999999", "NaN", "Infinity", "1.5", "²", "2147483647"),
    *("756733", "SPY", "STK", "OPT", "BAG", "C", "P", "SMART", "USD", "20240419", "202404", "DU1"),
    *("BUY", "SELL", "HOLD", "LMT", "MKT", "STP", "STP LMT", "TRAIL", "MOC", "DAY", "IOC", "GTD"),
    *("TRADES", "MIDPOINT", "1 day", "1 min", "1 hour", "1 D", "9 Y", "2 W", "60 S", "All", "$LEDGER:ALL"),
    *("00010101 00:00:00", "99991231 00:00:00", "20240304-10:00:00", "99999999 99:99:99", "\\u0041é"),
    *("20240304 10:00:00 ../etc", "20240304 10:00:00 US", "1.7976931348623157e+308", "NetLiquidation"),
]
TEXTS = st.one_of(st.sampled_from(KNOWN), st.text(max_size=6).map(lambda text: text.replace("\0", "")))
CONTRACT = ("756733", *[""] * 11)


class Line:
    """A session without a socket, and every frame that it sent."""

    def __init__(self, version):
        world = SimulatedMarket(source(), TWS.terms)
        world.open_account(AccountTerms(name="mine", cash=100_000))
        world.advance_to(world.source.start_ns + 1_800 * 10**9)
        self.frames = []
        self.market = TwsMarket(world=world, codes={"DU1": "mine"})
        self.session = ClientSession(version, self.market, self.frames.append)
        self.ask("71", "2", "1", "")

    def ask(self, *fields):
        """Send a request; return whether the connection goes on and has sent whole frames alone."""
        goes_on = self.session.receive(b"".join(field.encode() + b"\0" for field in fields))
        self.market.world.settle()
        frames = [*self.frames]
        self.frames.clear()
        return goes_on and all(
            struct.unpack(">I", frame[:4]) == (len(frame) - 4,) and frame[4:].isascii() for frame in frames
        )


@pytest.fixture(scope="module", params=[157, 178])
def line(request):
    return Line(request.param)


# the server is shared on purpose: what came before must not matter
drawn = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@drawn
@given(kind=st.sampled_from(sorted(REQUESTS)), fields=st.lists(TEXTS, max_size=30))
def test_no_request_ends_the_connection(line, kind, fields):
    assert line.ask(str(kind), *fields)


@drawn
@given(body=st.binary(max_size=60))
def test_no_bytes_end_the_connection(line, body):
    assert line.session.receive(body)


@drawn
@given(fields=st.lists(TEXTS, min_size=10, max_size=10))
def test_no_question_for_bars_ends_the_connection(line, fields):
    assert line.ask("20", "7", *CONTRACT, *fields)


@drawn
@given(
    action=st.sampled_from(["BUY", "SELL", "SSHORT", "HOLD"]),
    terms=st.tuples(*[TEXTS] * 4),
    kind=st.sampled_from(["LMT", "MKT", "STP", "STP LMT", "TRAIL", "MOC", "LOC", "VOL"]),
    tail=st.lists(st.sampled_from(["", "0", "1"]), min_size=66, max_size=66),
)
def test_no_order_ends_the_connection(line, action, terms, kind, tail):
    quantity, price, trigger, lifetime = terms
    number = str(line.market.orders.next_id(1))
    head = ("", "", action, quantity, kind, price, trigger, lifetime)
    assert line.ask("3", number, *CONTRACT, *head, *tail)
