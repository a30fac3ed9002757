"""Venues by name: the product's own, and one file of a package from outside it."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import MINUTE_NS, InstrumentId
from scalpdesk.instruments.broker_terms import fee_names, fees_named, venue_cutoff
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deadlines import VenueCutoff, order_cutoff_ns
from scalpdesk.instruments.fees import FeeSchedule
from scalpdesk.instruments.sessions import final_close_ns
from scalpdesk.live.assembly import build_gateway, live_header
from scalpdesk.live.options import RunOptions
from scalpdesk.live.plan import LivePlan, plan_of
from scalpdesk.venues.registry import find_venue, venue_names
from scalpdesk_alpaca.settings import AlpacaSettings
from scalpdesk_alpaca.venue import VENUE
from scalpdesk_testing.kit.clock import ManualClock

DATA = {"underlying": "SPY", "quote_seconds": 1.0, "dividend_yield": 0.0}
SKELETON = '''
"""A venue that fills every order at 100."""
from decimal import Decimal

import msgspec

from scalpdesk.instruments.deadlines import VenueCutoff
from scalpdesk.instruments.fees import (FeeSchedule)
from scalpdesk.venues.contract import VenueSetup, VenueSpec
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.tracker import OrderTracker

class Gateway:
    name = "scratch"
    takes_combos = takes_id_once = False

    def __init__(self, setup: VenueSetup, settings) -> None:
        self.port = settings.gateway_port
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

    def shortcut(self, take): ...
    def health(self): ...
    def adopt(self, orders): ...
    async def cancel_at_venue(self, venue_order_id): ...
    async def query_order(self, client_order_id, again=None): ...
    async def is_taken(self, client_order_id): ...
    async def snapshot(self, *, fills_since_ns=None): ...
    async def shown_positions(self): ...
    async def connect_to_leave(self): ...
    async def cancel_all(self): ...
    def waits_for(self): ...
    async def subscribe(self, instrument_ids): ...
    async def quotes(self, instrument_ids): ...
    async def renew_quotes(self, instrument_ids): ...
    async def reconnect(self, stream): ...
    async def daily_bars(self, instrument_id, first, last): ...
    async def minute_bars(self, instrument_id, first, last): ...
    async def splits(self, instrument_id, first, last): ...
    async def dividends(self, instrument_id, first, last): ...
    async def resolve(self, symbol): ...
    async def discover(self, underlying, first, last): ...

class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway_port: int = 4002

VENUE = VenueSpec(
    name="scratch",
    build=Gateway,
    settings=Settings,
    needs_keys=False,
    fees=FeeSchedule(per_contract=Decimal("0.65")),
    cutoff=VenueCutoff(20.0, 10.0),
    most_quotes=100,
)
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
    assert venue_names() == ("alpaca", "deribit", "ibkr")
    assert find_venue("alpaca").settings is VENUE.settings


def test_an_unknown_venue_names_the_nearest():
    with pytest.raises(ConfigError, match="no venue") as caught:
        find_venue("alpacca")
    assert caught.value.nearest == "alpaca"


def test_a_venue_in_one_file_trades_by_its_name(scratch, tmp_path):
    assert venue_names() == ("alpaca", "deribit", "ibkr", "scratch")
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


def test_a_venue_brings_its_section_fees_cut_off_and_quotes(scratch, tmp_path):
    (tmp_path / "scalpdesk.toml").write_text("[venues.scratch]\ngateway_port = 4001\n")
    settings = load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    plan = plan_of(settings, RunOptions(venue="scratch"))
    assert plan.contracts == 100
    gateway = build_gateway(plan, Instruments([Equity("SPY")]), ManualClock(7))
    assert (gateway.port, gateway.fees) == (4001, FeeSchedule(per_contract=Decimal("0.65")))
    option = us_option("SPY240705C00500000")
    header = live_header(plan, Instruments([Equity("SPY"), option]), dict(DATA), 0)
    view = engine_from_header(header).desk.view
    assert order_cutoff_ns(option, view.cutoff) == final_close_ns(option) - 10 * MINUTE_NS


def test_a_wrong_key_of_a_venues_section_is_named_with_its_line(scratch, tmp_path):
    (tmp_path / "scalpdesk.toml").write_text("[venues.scratch]\ngateway_prot = 4001\n")
    with pytest.raises(ConfigError) as caught:
        load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    assert caught.value.where == "venues.scratch.gateway_prot (scalpdesk.toml:2)"
    assert caught.value.nearest == "venues.scratch.gateway_port"


def test_a_section_of_an_unknown_venue_names_the_nearest(tmp_path):
    (tmp_path / "scalpdesk.toml").write_text('[venues.alpacca]\nstock_feed = "sip"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    assert (caught.value.where, caught.value.nearest) == ("venues.alpacca (scalpdesk.toml:1)", "alpaca")


@pytest.mark.parametrize("key", ["venue.stock_feed", "venues.alpaca.stock_feed"])
def test_a_feed_is_read_in_the_former_section_too(tmp_path, key):
    settings = load_settings("gamma-scalper", overrides=(f"{key}=sip",), environ={}, cwd=tmp_path)
    assert settings.venue_settings("alpaca") == AlpacaSettings(stock_feed="sip")
    both = load_settings(
        "gamma-scalper", overrides=("venues.alpaca.stock_feed=sip",), environ={}, cwd=tmp_path
    )
    assert settings.config_hash == both.config_hash
    plain = load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    assert settings.config_hash != plain.config_hash


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
    assert caught.value.where == "entry point scratch of scalpdesk.venues (scratch-venue 1.0)"


def test_a_simulated_account_pays_the_fees_of_any_venue(scratch, tmp_path):
    (tmp_path / "scalpdesk.toml").write_text('[simulation]\nfees = "scratch"\n')
    config = load_settings("gamma-scalper", environ={}, cwd=tmp_path).config
    assert fees_named(config.simulation.fees) == FeeSchedule(per_contract=Decimal("0.65"))
    assert "scratch" in fee_names()


@pytest.mark.rows("name", ["scrach", "ibkr_teired", "scratch_"])
def test_fees_that_no_venue_charges_are_refused_with_their_line(scratch, tmp_path, name):
    (tmp_path / "scalpdesk.toml").write_text(f'[simulation]\nfees = "{name}"\n')
    with pytest.raises(ConfigError, match="no fee schedule") as caught:
        load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    assert caught.value.where == "simulation.fees (scalpdesk.toml:2)"
    assert caught.value.nearest in fee_names()


def test_a_strategy_takes_the_cut_off_of_any_venue(scratch):
    assert venue_cutoff("scratch") == VenueCutoff(20.0, 10.0)
    settings = load_settings("zero-dte", overrides=("exit.venue=scratch",), environ={})
    assert settings.strategy_config.exit.venue == "scratch"
    with pytest.raises(ConfigError) as caught:
        venue_cutoff("scrach")
    assert caught.value.nearest == "scratch"


def test_the_sandbox_takes_its_quotes_from_any_venue(scratch, tmp_path):
    keys = ("venue.sandbox_quotes=scratch", "desk.currency=USD")
    plan = plan_of(
        load_settings("gamma-scalper", overrides=keys, environ={}, cwd=tmp_path), RunOptions(venue="sandbox")
    )
    book = Instruments([Equity("SPY")])
    assert plan.contracts == 100
    gateway = build_gateway(plan, book, ManualClock(7))
    assert gateway._data.name == "scratch"
    assert live_header(plan, book, dict(DATA), 0).data["cutoff"] == [20.0, 10.0]
    with pytest.raises(ConfigError) as caught:
        load_settings("gamma-scalper", overrides=("venue.sandbox_quotes=scrach",), environ={}, cwd=tmp_path)
    assert (caught.value.where, caught.value.nearest) == ("venue.sandbox_quotes (--set)", "scratch")
