"""Whatever the account holds is known, valued and flattened as a whole, or the run refuses to begin."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import AccountSnapshot
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.live.quote_watch import QuoteWatch
from scalpdesk.live.recovery import quotes_of_holdings
from scalpdesk.live.sessions import StopMode
from scalpdesk.marketdata.state import MarketState
from scalpdesk_alpaca.account_messages import instrument_of
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote
from scalpdesk_testing.line_desk import CHAIN, ELSEWHERE, LineDesk
from tests.live.venue_views import venue_view

HOLDINGS = st.dictionaries(st.sampled_from([*CHAIN, *ELSEWHERE]), st.integers(-3, 3), max_size=5)
OVERRIDES = {"gamma-scalper": ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume")}
SHARES = st.dictionaries(st.sampled_from(["SPY", "QQQ"]), st.integers(-60, 60), max_size=2)


def worth(bench, holdings):
    """Return the account's cash and holdings at the middle of the market's own quotes, which stand still."""
    total, numbers = bench.account.cash, bench.market.instruments
    for symbol, quantity in holdings.items():
        number = numbers.id_of(symbol)
        mid = Decimal(str(round(bench.market.quote_of(number, 0).mid, 4)))
        total += quantity * numbers[number].multiplier * mid
    return total


async def know_then_flatten(desk):
    """Let a desk flatten; return what it adopted, its equity then, and the executions before and holdings."""
    await desk.following()
    symbols = [instrument.symbol for instrument in desk.engine.desk.instruments]
    (adopted,) = [event for event in desk.events() if isinstance(event, AccountSnapshot)]
    known = {symbols[line.instrument_id]: line.quantity for line in adopted.positions}
    equity = desk.engine.desk.session_equity
    await desk.desk.runner.operate("flatten", "test", "me")
    before, held = len(desk.account.executions), desk.truth()
    await desk.until(lambda: not desk.truth() and not desk.held())
    return known, equity, before, held


@settings(max_examples=15, deadline=None)
@given(
    options=HOLDINGS,
    shares=SHARES,
    contracts=st.integers(2, 8),
    strategy=st.sampled_from(["zero-dte", "gamma-scalper", "st0ckg"]),
)
def test_all_that_is_held_is_known_valued_and_closed_options_before_their_hedge_or_nothing_is_touched(
    tmp_path_factory, options, shares, contracts, strategy
):
    holdings = {symbol: quantity for symbol, quantity in (options | shares).items() if quantity}
    with LineDesk(tmp_path_factory.mktemp("held"), holdings) as bench:
        plan = bench.plan(strategy, *OVERRIDES.get(strategy, ()), contracts=contracts)
        later = [symbol for symbol in holdings if symbol in CHAIN and "180209" in symbol]
        if strategy == "zero-dte" and later:
            with pytest.raises(ConfigError) as refused:
                bench.live(plan, know_then_flatten)
            assert all(symbol in str(refused.value) for symbol in later)
            assert bench.truth() == holdings
            assert not any(request.method == "POST" for request in bench.requests)
            return
        value = worth(bench, holdings)
        known, equity, before, left = bench.live(plan, know_then_flatten)
        assert known == holdings
        assert equity == value
        for execution in bench.account.executions[before:]:
            instrument = bench.market.instruments[execution.instrument_id]
            symbol, signed = instrument.symbol, execution.side.sign * execution.quantity
            assert 0 <= (left[symbol] + signed) / left[symbol] < 1, f"{signed:+} {symbol} of {left}"
            left[symbol] += signed
            if not isinstance(instrument, OptionContract):
                assert not any(left[name] for name in options if name in left and name.startswith(symbol))
        assert not any(left.values())


@pytest.mark.rows("strategy", ["zero-dte", "gamma-scalper", "st0cka", "st0ckg", "zero-dte+st0cka"])
@pytest.mark.rows("name", ["BTCUSD", "SPY1180207C00095000", "SPXW180207C02700000"])
def test_what_can_be_neither_valued_nor_closed_is_named_and_the_run_does_not_begin(tmp_path, strategy, name):
    kind = "crypto" if name == "BTCUSD" else "us_option"
    with LineDesk(tmp_path, {CHAIN[0]: 1, "SPY": -15}) as bench:
        bench.also_holds({"symbol": name, "qty": "0.5", "avg_entry_price": "1", "asset_class": kind})
        plan = bench.plan(strategy, *OVERRIDES.get(strategy, ()))
        with pytest.raises(ConfigError, match=f"neither value nor close: \\+0.5 {name}; nothing was sent"):
            bench.live(plan, know_then_flatten)
        assert not any(request.method == "POST" for request in bench.requests)
        assert not list((tmp_path / "runs").glob("*/*.sdj"))


def test_a_padded_symbol_of_an_option_is_adopted_as_that_option(tmp_path):
    with LineDesk(tmp_path, {"QQQ": 10}) as bench:
        padded = ELSEWHERE[0].replace("QQQ", "QQQ   ")
        bench.also_holds({"symbol": padded, "qty": "2", "avg_entry_price": "1", "asset_class": "us_option"})

        async def adopted(desk):
            await desk.following()
            return desk.held()

        assert bench.live(bench.plan("st0cka"), adopted) == {"QQQ": 10, ELSEWHERE[0]: 2}


def test_what_comes_into_the_account_while_the_market_is_loaded_is_named_or_refused_before_the_run_begins(
    tmp_path,
):
    with LineDesk(tmp_path, {"QQQ": 10}) as bench:

        def bought(request):
            if request.path == "/v2/positions" and not bench.seen:
                bench.seen = True
                bench.also_holds(
                    {"symbol": "BTCUSD", "qty": "1", "avg_entry_price": "1", "asset_class": "crypto"}
                )

        bench.seen = False
        bench.line.after_request.append(bought)
        with pytest.raises(ConfigError, match="BTCUSD"):
            bench.live(bench.plan("st0cka"), know_then_flatten)
        assert not list((tmp_path / "runs").glob("*/*.sdj"))


def test_a_strategy_of_shares_alone_does_not_begin_beside_options_whose_hedge_it_would_trade(tmp_path):
    with LineDesk(tmp_path, {CHAIN[0]: 1, "SPY": -15, "QQQ": 10}) as bench:
        with pytest.raises(ConfigError, match=rf"st0cka neither hedges nor closes {CHAIN[0]}"):
            bench.live(bench.plan("st0cka"), know_then_flatten)
        assert bench.truth() == {CHAIN[0]: 1, "SPY": -15, "QQQ": 10}


def test_what_a_person_buys_outside_the_market_is_a_difference_and_no_stop_calls_the_account_flat(tmp_path):
    stranger = CHAIN[-1]

    async def play(desk):
        await desk.following()
        desk.place(stranger, "buy", 2)
        await desk.until(lambda: desk.desk.runner.reconciler.unexplained)
        found = [str(difference) for difference in desk.desk.runner.reconciler.unexplained]
        mode = desk.engine.desk.gate.mode
        desk.desk.runner.stop(StopMode.FLATTEN)
        await desk.until(lambda: desk.desk.runner.state.reason)
        return found, mode, desk.desk.runner.state.reason

    with LineDesk(tmp_path) as bench:
        found, mode, reason = bench.live(bench.plan("st0cka"), play)
        assert f"{stranger}: desk not in this run's market, venue 2" in found
        assert mode == "REDUCING"
        assert reason == f"not flat in time: the venue shows +2 {stranger}"
        assert sum(request.path == "/v2/positions" for request in bench.requests) < 300


def test_quotes_are_asked_of_what_is_held_and_known():
    view = venue_view(1, {0: 2, 1: 0, None: 3, 2: -1})
    asked = []

    class Quotes:
        async def quotes(self, numbers):
            asked.append(tuple(numbers))
            return [quote(number, 1, 499.0, 501.0) for number in numbers]

    watch = QuoteWatch(MarketState(straddle_book(500)), 60.0)
    found = asyncio.run(quotes_of_holdings(Quotes(), view, watch))
    assert [each.instrument_id for each in found] == [0, 2]
    assert asked == [(0, 2)]


@pytest.mark.parametrize("factor", [0.01, 1.0, 100.0])
def test_an_option_is_taken_over_at_its_quote_where_its_shares_is_near_the_strikes(factor):
    view = venue_view(1, {1: 2})

    class Quotes:
        async def quotes(self, numbers):
            return [
                quote(n, 1, p * factor, p * factor + 0.02) for n, p in ((0, 500.0), (1, 6.0)) if n in numbers
            ]

    watch = QuoteWatch(MarketState(straddle_book(500)), 60.0)
    found = asyncio.run(quotes_of_holdings(Quotes(), view, watch))
    assert [each.instrument_id for each in found] == ([1] if factor == 1.0 else [])


@pytest.mark.rows(
    ("symbol", "asset_class", "underlying"),
    [
        ("SPY180207C00110000", "us_option", "SPY"),
        ("SPXW180207C02700000", "us_option", "SPX"),
        ("BRK.B", "us_equity", "BRK.B"),
        ("SPY1180207C00095000", "us_option", None),
        ("BTCUSD", "crypto", None),
        ("SPY", "", None),
        ("nonsense", "us_option", None),
    ],
)
def test_an_instrument_is_what_the_venue_says_it_is_or_unknown(symbol, asset_class, underlying):
    found = instrument_of(symbol, asset_class)
    assert (None if found is None else getattr(found, "underlying", found.symbol)) == underlying
