"""Market of a live run from a venue's lists: which contracts, which events, and what the notes say."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import (
    ForecastEvent,
    GammaExposureEvent,
    ImpliedVolEvent,
    OpenInterestEvent,
    QuoteEvent,
    RateEvent,
    SessionBarsEvent,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments, Right, occ_symbol
from scalpdesk.instruments.sessions import is_session, session_on
from scalpdesk.live.assembly import simulated_gateway
from scalpdesk.live.market import (
    ExposureWatch,
    choose_contracts,
    columns_of,
    expiry_window,
    first_market,
    held_instruments,
)
from scalpdesk.live.plan import LivePlan
from scalpdesk.venues.contract import DailyBar, ListedContract, VenueClock, VenueMinute, VenuePosition
from scalpdesk.venues.simulated import SimulatedGateway
from scalpdesk_testing.kit.clock import ManualClock
from tests.live.venue_views import venue_view

DAY = date(2018, 2, 5)
OPEN_NS = session_on(DAY).open_ns
SPY = InstrumentId(0)
S = 10**9


def listed(days, strike, right="C", *, interest=500, tradable=True, root="SPY"):
    symbol = occ_symbol(root, DAY + timedelta(days=days), Right(right), Decimal(strike))
    return ListedContract(us_option(symbol, [root]), interest, tradable)


def bar(day, close=270.0):
    return DailyBar(day, close - 1.0, close + 2.0, close - 3.0, close, 1e6)


def minute(start_ns, close=270.0):
    return VenueMinute(start_ns, close, close, close, close, 100.0)


class Venue:
    """Lists, bars and quotes as a test writes them; keeps what was asked."""

    def __init__(self, *contracts, bars=(), minutes=(), held=(), spot=270.0):
        self.contracts, self.bars, self.minutes, self.held, self.spot = contracts, bars, minutes, held, spot
        self.asked = []

    async def snapshot(self):
        clock = VenueClock(OPEN_NS, True, 0, session_on(DAY).close_ns)
        return structs.replace(venue_view(OPEN_NS, clock=clock), positions=self.held)

    async def resolve(self, symbol):
        return Equity(symbol)

    async def discover(self, symbol, near, far):
        self.asked.append(("discover", symbol, (near - DAY).days, (far - DAY).days))
        return tuple(item for item in self.contracts if near <= item.contract.expiry <= far)

    async def quotes(self, numbers):
        if self.spot is None:
            return []
        return [QuoteEvent(numbers[0], 1, 1, self.spot - 0.01, self.spot + 0.01, 1.0, 1.0)]

    def answer(self, kind, number, first, last, found):
        self.asked.append((kind, number, (DAY - first).days, (DAY - last).days))
        if isinstance(found, Exception):
            raise found
        return tuple(found)

    async def dividends(self, number, first, last):
        return ()

    async def daily_bars(self, number, first, last):
        return self.answer("daily", number, first, last, self.bars)

    async def minute_bars(self, number, first, last):
        return self.answer("minutes", number, first, last, self.minutes)


@pytest.fixture
def begin(tmp_path):
    """Return what a run begins with: the header's data, the events and the instruments."""

    def build(venue, strategy="zero-dte", *overrides, contracts=200, is_later_day=False):
        settings = load_settings(
            strategy, overrides=[f"data.catalog={tmp_path}", "venue.forecast=false", *overrides]
        )
        plan = LivePlan(settings, venue="alpaca", contracts=contracts, is_later_day=is_later_day)
        instruments = Instruments()
        data, events = asyncio.run(first_market(plan, venue, instruments, ManualClock(OPEN_NS)))
        return data, events, [instrument.symbol for instrument in instruments]

    return build


def events_of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_an_underlying_in_another_currency_than_the_desks_is_refused(begin):
    venue = Venue(listed(0, 270))
    with pytest.raises(ConfigError) as refused:
        begin(venue, "zero-dte", "desk.currency=USDC")
    assert (refused.value.where, refused.value.value) == ("desk.currency", "USDC")
    assert "SPY" in refused.value.what
    assert venue.asked == []


def test_what_hedges_in_the_underlyings_place_is_known_before_the_options(begin):
    venue = Venue(listed(0, 270), listed(0, 270, "P"))
    data, _, symbols = begin(venue, "zero-dte", "hedge.instrument=VOO")
    assert (data["hedge"], symbols[:2]) == ("VOO", ["SPY", "VOO"])
    assert "hedge" not in begin(Venue(listed(0, 270)))[0]


def test_a_run_knows_the_share_the_options_in_order_and_their_open_interest(begin):
    put, call, silent = listed(0, 270, "P", interest=0), listed(0, 271), listed(0, 269, interest=None)
    venue = Venue(put, call, silent, listed(1, 270))
    data, events, symbols = begin(venue)
    assert symbols == ["SPY", *sorted(item.contract.symbol for item in (put, call, silent))]
    assert venue.asked == [("discover", "SPY", 0, 0)]
    assert data == {
        "name": "alpaca",
        "kind": "live",
        "session": "2018-02-05",
        "underlying": "SPY",
        "notes": [
            "3 of 3 listed options, nearest to 270.0",
            "one rate for every maturity, 5 % (rates.default): the venue sends no curve",
            "no forecast (venue.forecast)",
        ],
        "quote_seconds": 1.0,
        "dividend_yield": 0.0,
    }
    assert events == (
        RateEvent(OPEN_NS, OPEN_NS, (1.0,), (0.05,)),
        OpenInterestEvent(InstrumentId(2), OPEN_NS, OPEN_NS, 500),
        OpenInterestEvent(InstrumentId(3), OPEN_NS, OPEN_NS, 0),
    )


def test_a_flat_rate_is_taken_before_the_default(begin):
    data, (rate, *_), _ = begin(Venue(listed(0, 270)), "zero-dte", "rates.flat=0.0125")
    assert (rate.days, rate.rates) == ((1.0,), (0.0125,))
    assert "one rate for every maturity, 1.25 % (rates.flat): the venue sends no curve" in data["notes"]


def test_a_strategy_of_shares_asks_for_no_options(begin):
    venue = Venue(listed(0, 270))
    data, _, symbols = begin(venue, "st0cka")
    assert (symbols, venue.asked) == (["SPY"], [])
    assert data["notes"][0] == "no options: this strategy trades shares alone"


def test_of_more_contracts_than_it_may_know_a_run_takes_those_nearest_to_the_money(begin):
    strikes = (250, 262, 268, 269, 271, 275)
    venue = Venue(*(listed(0, strike) for strike in strikes), listed(0, 270, tradable=False))
    data, _, symbols = begin(venue, contracts=3)
    assert [symbol[-6:-3] for symbol in symbols[1:]] == ["268", "269", "271"]
    assert data["notes"][0] == "3 of 7 listed options, nearest to 270.0"


@pytest.mark.parametrize("spot", [None, float("nan")])
def test_without_a_spot_the_venues_order_stands(spot):
    chain = tuple(listed(0, strike) for strike in (300, 240, 270))
    assert choose_contracts(chain, spot, 2) == [chain[0], chain[1]]
    assert choose_contracts(chain, 270.0, 3) == list(chain)
    assert choose_contracts(chain, 270.0, 2) == [chain[2], chain[1]]  # equally near strikes go by symbol
    assert choose_contracts(chain, 270.0, 0) == []


def test_a_venue_that_lists_nothing_ends_the_start(begin):
    with pytest.raises(ConfigError, match="lists no options that this strategy could trade") as refused:
        begin(Venue(listed(3, 270)))
    assert refused.value.where == "SPY, 0 to 0 days to expiry"


def test_a_later_day_without_options_is_waited_out(begin):
    """A desk on options that do not expire each day ended with an error on the first day without."""
    data, _, symbols = begin(Venue(listed(3, 270)), is_later_day=True)
    assert symbols == ["SPY"]
    assert data["notes"][0] == "0 of 0 listed options, nearest to 270.0"


def test_held_options_are_known_before_all_others_and_what_is_not_listed_too(begin):
    far, gone = listed(0, 200), us_option("SPY180205C00150000")
    other = us_option("QQQ180209P00160000")
    held = tuple(
        VenuePosition(instrument.symbol, None, Decimal(1), Decimal(0), instrument)
        for instrument in (far.contract, gone, other)
    )
    venue = Venue(listed(0, 269), listed(0, 270), listed(0, 271), far, held=held)
    data, _, symbols = begin(venue, contracts=4)
    # what is held takes three of the places, though one is no longer listed and one is another share's
    assert symbols == [
        "SPY",
        far.contract.symbol,
        listed(0, 270).contract.symbol,
        gone.symbol,
        "QQQ",
        other.symbol,
    ]
    assert data["notes"][0].startswith("2 of 4 listed options")


def test_nothing_is_listed_and_something_is_held(begin):
    gone = us_option("SPY180205C00150000")
    held = (VenuePosition(gone.symbol, None, Decimal(1), Decimal(0), gone),)
    data, _, symbols = begin(Venue(held=held))
    assert symbols == ["SPY", gone.symbol]
    assert data["notes"][0] == "0 of 0 listed options, nearest to 270.0"


def position(instrument, quantity=1, number=None):
    symbol = getattr(instrument, "symbol", "BTCUSD")
    return VenuePosition(symbol, number, Decimal(quantity), Decimal(0), instrument)


@pytest.mark.rows(
    ("held", "refused"),
    [
        (position(None), "can neither value nor close: [+]1 BTCUSD"),
        (position(us_option("SPXW180205C02700000")), "can neither value nor close: [+]1 SPXW"),
        (position(None, 0), None),  # nothing is held
        (position(Equity("QQQ"), -3), None),
        (position(us_option("QQQ180216C00160000")), None),  # of another underlying
        (position(us_option("SPY180216C00270000")), "zero-dte neither hedges nor closes SPY180216C00270000"),
    ],
)
def test_a_start_is_refused_by_what_it_could_neither_value_nor_hedge(held, refused):
    settings = load_settings("zero-dte")
    plan = LivePlan(settings, venue="alpaca")
    view = asyncio.run(Venue(held=(held,)).snapshot())
    if refused is None:
        assert held_instruments(plan, view, Instruments()) == ([held.instrument] if held.quantity else [])
        return
    with pytest.raises(ConfigError, match=refused) as error:
        held_instruments(plan, view, Instruments())
    assert (error.value.where, error.value.value) == ("account", str(held))


@pytest.mark.rows("adopts", [None, "gamma-scalper", "st0cka"])
def test_of_several_the_one_that_adopts_must_hedge_what_is_held(adopts):
    overrides = [] if adopts is None else [f"budgets.adopts={adopts}"]
    plan = LivePlan(load_settings("st0cka+gamma-scalper", overrides=overrides), venue="alpaca")
    held = position(us_option("SPY180216C00270000"))
    view = asyncio.run(Venue(held=(held,)).snapshot())
    if adopts != "st0cka":  # without a strategy, or of one that hedges it
        assert held_instruments(plan, view, Instruments()) == [held.instrument]
        return
    with pytest.raises(ConfigError, match="st0cka neither hedges nor closes SPY180216C00270000"):
        held_instruments(plan, view, Instruments())


def test_what_the_run_knows_already_is_held_as_the_run_knows_it():
    book = Instruments([Equity("SPY")])
    view = asyncio.run(Venue(held=(position(None, 5, SPY),)).snapshot())
    assert held_instruments(LivePlan(load_settings("zero-dte")), view, book) == [book[SPY]]


# history ---------------------------------------------------------------------------------------------------

DAYS = [date(2018, 2, 1), date(2018, 2, 2)]


def test_minutes_of_earlier_sessions_come_as_events_and_the_newest_ones_alone(begin):
    days = [date(2018, 1, 31), *DAYS]
    minutes = [minute(session_on(day).open_ns + n * 60 * S, 270.0 + n) for day in days for n in range(3)]
    venue = Venue(listed(0, 270), minutes=minutes)
    data, events, _ = begin(venue, "ema-scalper", "history_sessions=2")
    found = events_of(events, SessionBarsEvent)
    assert [event.instrument_id for event in found] == [SPY, SPY]
    assert "minutes of 2 earlier sessions of the venue" in data["notes"]
    assert ("minutes", SPY, int(1.5 * 2) + 5, 1) in venue.asked
    no_minutes = Venue(listed(0, 270), minutes=RetryError("busy", where="here"))
    data, events, _ = begin(no_minutes, "ema-scalper")
    assert "no earlier sessions: the venue gives no minutes (busy)" in data["notes"]
    assert events_of(events, SessionBarsEvent) == []


@pytest.mark.parametrize(
    ("bars", "note"),
    [
        (RetryError("busy", where="here"), "no forecast: the venue gives no daily bars (busy)"),
        ((), "no forecast: the venue has no daily bars of SPY"),
    ],
)
def test_without_daily_bars_there_is_no_forecast_and_the_note_says_why(begin, bars, note):
    venue = Venue(listed(0, 270), bars=bars)
    data, events, _ = begin(venue, "zero-dte", "venue.forecast=true")
    assert note in data["notes"]
    assert events_of(events, ForecastEvent) == []
    ((_, number, first, last),) = [asked for asked in venue.asked if asked[0] == "daily"]
    assert (number, first, last) == (SPY, 2250, 1)


def test_a_forecast_is_fitted_to_the_venues_newest_1500_bars(begin, monkeypatch):
    days = [DAY - timedelta(days=n) for n in range(2_500, 0, -1)]
    bars = [bar(day, 270.0 + place % 7) for place, day in enumerate(filter(is_session, days))]
    fitted = []
    monkeypatch.setattr(
        "scalpdesk.live.market.forecast_event",
        lambda number, columns, at_ns, periods_per_year: (
            fitted.append((columns, periods_per_year))
            or ForecastEvent(number, at_ns, at_ns, "har", 30, 0.2, 0.1, 0.3, 0.05, "")
        ),
    )
    data, events, _ = begin(Venue(listed(0, 270), bars=bars), "zero-dte", "venue.forecast=true")
    ((columns, a_year),) = fitted
    assert a_year == 252
    assert columns == columns_of(tuple(bars[-1_500:]))
    assert (columns["open"][0], columns["high"][0]) == (columns["close"][0] - 1.0, columns["close"][0] + 2.0)
    assert columns["low"][-1] == columns["close"][-1] - 3.0
    assert len(events_of(events, ForecastEvent)) == 1
    assert "forecast from 1500 daily bars of the venue, to 2018-02-02" in data["notes"]


def test_the_iv_rank_comes_from_kept_closes_or_the_note_says_that_there_are_none(begin, tmp_path):
    data, events, _ = begin(Venue(listed(0, 270)), "ema-scalper")
    (known,) = events_of(events, ImpliedVolEvent)  # the VIX stands for SPY
    assert f"IV rank of SPY from {len(known.history)} earlier closes of VIX" in data["notes"]
    venue = Venue(listed(0, 20, root="F"), spot=20.0)
    data, events, _ = begin(venue, "ema-scalper", "underlying=F")
    assert "the IV rank of F is not known: each close of this desk adds to it" in data["notes"]
    assert events_of(events, ImpliedVolEvent) == []


def test_options_about_a_month_off_are_known_where_the_days_implied_volatility_is_kept(begin):
    days = (22, 30, 31, 40)
    month = [listed(n, strike, right) for n in days for strike in range(262, 280, 2) for right in "CP"]
    month += [listed(n, 271, tradable=False) for n in days]
    near = [listed(0, strike) for strike in (269, 271)]
    venue = Venue(*near, *month)
    _, _, symbols = begin(venue, "ema-scalper")
    assert ("discover", "SPY", 21, 45) in venue.asked
    kept = {(int(symbol[7:9]), symbol[-6:-3], symbol[9]) for symbol in symbols[1:] if symbol[5:7] != "02"}
    # the expiries on either side of 30 days, the three strikes nearest to 270, calls and puts
    wanted = {(day, strike, right) for day in (7, 8) for strike in ("268", "270", "272") for right in "CP"}
    assert kept == wanted
    assert len(symbols) == 1 + 2 + 12
    # a quarter of the run's contracts at most
    assert len(begin(Venue(*near, *month), "ema-scalper", contracts=48)[2]) == 15
    assert len(begin(Venue(*near, *month), "ema-scalper", contracts=47)[2]) == 3
    assert len(begin(Venue(*near, *month), "ema-scalper", "data.keep_implied_vols=never")[2]) == 3
    assert len(begin(Venue(*near, *month, spot=None), "ema-scalper")[2]) == 3
    assert len(begin(Venue(*near, *month), "zero-dte")[2]) == 3


def test_the_days_to_expiry_are_the_strategys_own_or_45():
    assert expiry_window(load_settings("zero-dte")) == (0, 0)
    assert expiry_window(load_settings("st0cka")) == (0, 45)
    bounds = ("selection.min_expiration_days=20", "selection.max_expiration_days=40")
    assert expiry_window(load_settings("gamma-scalper", overrides=bounds)) == (20, 40)


def test_a_run_of_later_expiries_asks_from_the_first_day_of_its_window_to_the_last(begin):
    bounds = ("selection.min_expiration_days=21", "selection.max_expiration_days=39")
    venue = Venue(*(listed(days, 270) for days in (18, 21, 39, 42)))
    _, _, symbols = begin(venue, "gamma-scalper", *bounds)
    assert venue.asked == [("discover", "SPY", 21, 39)]
    assert symbols[1:] == [listed(days, 270).contract.symbol for days in (21, 39)]


def test_a_played_session_gives_its_own_instruments_open_interest_and_forecast():
    settings = load_settings("gamma-scalper", overrides=["simulation.positions.SPY=7"])
    plan = LivePlan(settings, session=DAY)
    gateway = simulated_gateway(plan, plan.clock)
    assert isinstance(gateway, SimulatedGateway)
    tape = gateway.venue.tape
    instruments = Instruments()
    data, events = asyncio.run(first_market(plan, gateway, instruments, plan.clock))
    assert [item.symbol for item in instruments] == [item.symbol for item in tape.instruments]
    assert data["underlying"] == "SPY"
    assert tape.sessions[0].day == DAY
    rate, *interest = [event for event in events if isinstance(event, RateEvent | OpenInterestEvent)]
    assert rate == RateEvent(OPEN_NS, OPEN_NS, tuple(tape.rate_curve.days), tuple(tape.rate_curve.rates))
    assert {instruments[event.instrument_id].symbol: event.open_interest_contracts for event in interest} == {
        symbol: count for symbol, count in tape.open_interest.items() if symbol in instruments
    }
    assert {(event.ts_event_ns, event.ts_recv_ns) for event in interest} == {(OPEN_NS, OPEN_NS)}
    assert len(events_of(events, ForecastEvent)) == 1
    assert datetime.fromtimestamp(OPEN_NS / S, UTC).date() == DAY


@pytest.mark.rows(("contracts", "each"), [(4, 2), (5, 2), (6, 3)])
def test_several_underlyings_share_the_contracts_that_a_run_may_know(begin, contracts, each):
    class ByUnderlying(Venue):
        async def discover(self, symbol, near, far):
            found = await super().discover(symbol, near, far)
            return tuple(item for item in found if item.contract.underlying == symbol)

    chain = [listed(0, strike, root=root) for root in ("SPY", "QQQ") for strike in (267, 269, 271, 273)]
    data, _, symbols = begin(
        ByUnderlying(*chain),
        *("ema-scalper", "underlying=SPY,QQQ", "data.keep_implied_vols=never"),
        contracts=contracts,
    )
    assert sorted(symbol[:3] for symbol in symbols) == ["QQQ"] * (1 + each) + ["SPY"] * (1 + each)
    assert (data["underlying"], data["others"]) == ("SPY", {"QQQ": 0.0})
    for name in ("SPY", "QQQ"):
        assert f"{each} of 4 listed options on {name}, nearest to 270.0" in data["notes"]


def exposure(usd, at_ns, source="web", reason=""):
    return GammaExposureEvent("SPX", at_ns, at_ns, usd, source, reason)


class Found:
    """A source of dealer gamma that finds these, one at each poll."""

    def __init__(self, found):
        self.found = found

    def look(self, now_ns):
        return self.found.pop(0)


@pytest.mark.rows(
    ("first", "second", "is_posted"),
    [
        (exposure(1e9, 1), exposure(1e9, 1), False),
        (exposure(1e9, 1), exposure(1e9, 2), True),
        (exposure(1e9, 1), exposure(2e9, 1), True),
        (exposure(1e9, 1), exposure(1e9, 1, "file"), True),
        # a figure of the environment has no instant of its own
        (exposure(1e9, 1, "environment"), exposure(1e9, 2, "environment"), False),
        (exposure(1e9, 1, "environment"), exposure(2e9, 2, "environment"), True),
        # while it cannot be had it is one piece of news, whatever was known last
        (exposure(1e9, 1, reason="late"), exposure(2e9, 2, reason="late"), False),
        (exposure(1e9, 1, reason="late"), exposure(1e9, 2), True),
        (exposure(1e9, 1, "environment", "late"), exposure(2e9, 2, "environment", "gone"), False),
        (exposure(1e9, 1), None, False),
    ],
)
@pytest.mark.rows("is_over", [True, False])
def test_an_exposure_is_posted_when_it_has_changed_until_the_end(first, second, is_posted, is_over):
    posted, found = [], [first, second]
    watch = ExposureWatch(Found(found), ManualClock(5), posted.append)
    watch.look()
    if is_over:
        watch.stop()
    watch.look()
    assert posted == [first, second][: 1 + (is_posted and not is_over)]
