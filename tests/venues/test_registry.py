"""Venues by name: the product's own, and one file of a package from outside it."""

import asyncio
from decimal import Decimal

import pytest

from fakes.clock import ManualClock
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.live.assembly import build_gateway
from scalpdesk.live.plan import LivePlan
from scalpdesk.venues.alpaca.venue import VENUE
from scalpdesk.venues.registry import find_venue, venue_names

SKELETON = '''
"""A venue that fills every order at 100."""
from decimal import Decimal

from scalpdesk.venues.contract import NoSettings, VenueSetup, VenueSpec
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.tracker import OrderTracker

class Gateway:
    name = "scratch"
    takes_combos = False

    def __init__(self, setup: VenueSetup, settings: NoSettings) -> None:
        self.url, self.fees = setup.url, setup.fees
        self.tracker = OrderTracker(setup.instruments, setup.fees)
        self.publisher = EventPublisher(setup.clock)

    async def connect(self, known_orders=()):
        self.tracker.restore(known_orders)

    def events(self):
        return self.publisher.queue.items()

    def send(self, command) -> None:
        order, now_ns = self.tracker.track(command, 0), self.publisher.timestamp()
        self.publisher.publish(
            self.tracker.execution(
                order, "x-1", command.quantity, Decimal(100), command.quantity, now_ns, now_ns
            )
        )

    async def close(self, *, graceful=True):
        self.publisher.queue.close()

VENUE = VenueSpec(name="scratch", build=Gateway, settings=NoSettings, needs_keys=False)
'''


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A venue in one file, with what an installer leaves behind."""
    (tmp_path / "scratch_venue.py").write_text(SKELETON, encoding="utf-8")
    info = tmp_path / "scratch_venue-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scratch-venue\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[scalpdesk.venues]\nscratch = scratch_venue:VENUE\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_venue_of_the_product_is_found_by_its_package():
    assert venue_names() == ("alpaca", "deribit")
    assert find_venue("alpaca") is VENUE


def test_an_unknown_venue_names_the_nearest():
    with pytest.raises(ConfigError, match="no venue") as caught:
        find_venue("alpacca")
    assert caught.value.nearest == "alpaca"


def test_a_venue_in_one_file_trades_by_its_name(scratch, tmp_path):
    assert venue_names() == ("alpaca", "deribit", "scratch")
    settings = load_settings(
        "gamma-scalper",
        environ={},
        cwd=tmp_path,
    )
    plan = LivePlan(settings, "scratch", url="http://127.0.0.1:1")

    async def scenario():
        gateway = build_gateway(plan, Instruments([Equity("SPY")]), ManualClock(7))
        await gateway.connect()
        order = SubmitOrder(
            "s-1",
            InstrumentId(0),
            Side.BUY,
            Decimal(3),
            OrderType.MARKET,
            None,
            TimeInForce.DAY,
            Purpose.HEDGE,
        )
        gateway.send(order)
        await gateway.close()
        return gateway, [event async for event in gateway.events()]

    gateway, events = asyncio.run(scenario())
    assert (gateway.name, gateway.url) == ("scratch", "http://127.0.0.1:1")
    fill = events[-1]
    assert isinstance(fill, OrderFilled)
    assert (fill.client_order_id, fill.quantity, fill.price) == ("s-1", Decimal(3), Decimal(100))


def test_a_venue_needs_keys(tmp_path):
    plan = LivePlan(load_settings("gamma-scalper", environ={}, cwd=tmp_path), "alpaca")
    with pytest.raises(ConfigError, match="key and a secret"):
        build_gateway(plan, Instruments([Equity("SPY")]), ManualClock(7))


def test_what_a_package_names_as_a_venue_and_is_none_is_refused(scratch, tmp_path):
    (tmp_path / "scratch_venue-1.0.dist-info" / "entry_points.txt").write_text(
        "[scalpdesk.venues]\nscratch = scratch_venue:Gateway\n"
    )
    with pytest.raises(ConfigError, match="VenueSpec") as caught:
        find_venue("scratch")
    assert caught.value.where == "entry point scratch of scalpdesk.venues"
