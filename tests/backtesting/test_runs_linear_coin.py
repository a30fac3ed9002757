"""The gamma scalper on options that settle in a dollar coin, hedged with the linear perpetual."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.alerts.rules import status_text
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.instruments.contract import Instruments, LinearPerpetual
from scalpdesk.instruments.deribit import DERIBIT_FEES, deribit_option
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.marketdata.tape import FundingRate, LazyQuotes, QuoteColumns
from scalpdesk.monitor.documents import desk_page
from scalpdesk.monitor.follower import RunFollower

pytestmark = pytest.mark.second

D = Decimal
DAY = date(2025, 3, 5)
SWAP = "BTC_USDC-PERPETUAL"
DESK = (
    "desk.currency=USDC",
    "simulation.starting_cash=100000",
    "simulation.fees=deribit",
    f"strategies.gamma-scalper.underlying={SWAP}",
    "strategies.gamma-scalper.entry.gate=advise",
    "strategies.gamma-scalper.entry.not_before=03:30",
    "strategies.gamma-scalper.entry.not_after=23:30",
    "strategies.gamma-scalper.entry.max_straddle_delta=null",
    "strategies.gamma-scalper.selection.strike=58500",
    "strategies.gamma-scalper.selection.min_expiration_days=1",
    "strategies.gamma-scalper.selection.max_expiration_days=1",
    "strategies.gamma-scalper.hedge.threshold_shares=0.05",
    "strategies.gamma-scalper.exits.edge_gone=false",
    "strategies.gamma-scalper.exits.min_dte=null",
    "strategies.gamma-scalper.exits.stop_fraction=null",
    "strategies.gamma-scalper.exits.arm_fraction=null",
)


def linear(coin):
    """Return a coin's market with its options quoted in dollars, at the perpetual's price of the instant."""
    listed = Instruments([LinearPerpetual(SWAP, TickRule(D("0.5")))])
    for item in list(coin.instruments)[1:]:
        listed.add(deribit_option(item.symbol.replace("BTC-", "BTC_USDC-"), TickRule(D(5))))

    def quotes(session):
        rows = coin.quotes.between(session.open_ns, session.close_ns)
        is_swap = rows.instrument_id == 0
        latest = np.searchsorted(rows.ts_ns[is_swap], rows.ts_ns, side="right") - 1
        spot = (0.5 * (rows.bid + rows.ask))[is_swap][np.maximum(latest, 0)]
        bid, ask = np.floor(rows.bid * spot / 5) * 5, np.ceil(rows.ask * spot / 5) * 5
        bid = np.where(is_swap, rows.bid, np.where(bid > 0, bid, np.nan))
        sizes = (np.where(np.isnan(bid), 0.0, 5.0), np.full(len(bid), 5.0))
        return QuoteColumns(rows.ts_ns, rows.instrument_id, bid, np.where(is_swap, rows.ask, ask), *sizes)

    return replace(
        coin,
        name="linear-btc",
        underlying=SWAP,
        instruments=listed,
        quotes=LazyQuotes(coin.sessions, quotes),
        open_interest={item.symbol: 500 for item in listed if item.is_option},
        funding=[FundingRate(SWAP, rate.ts_ns, rate.rate, rate.index) for rate in coin.funding],
        settlement_prices={(SWAP, day): level for (_, day), level in coin.settlement_prices.items()},
    )


@pytest.fixture(scope="module")
def market():
    return reconstruct_coin(DAY, DAY)


@pytest.fixture(scope="module")
def tape(market):
    return linear(market)


@pytest.fixture(scope="module")
def run(tape):
    """Return a day's run that holds its straddle to the expiry."""
    return traded(tape, DESK)


class EnoughError(Exception):
    """Ends a run in the middle of its day."""


def number(text):
    return D(text.replace("−", "-").replace(",", ""))


def traded(tape, settings, *watchers):
    """Run a day with its executions kept."""
    chosen = load_settings("gamma-scalper", overrides=settings, environ={})
    header, engine = build_backtest(chosen, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    made = assemble_backtest(chosen, tape, header, engine, None, watchers=watchers)
    made.runner.broker.broker.ledger.keeps_filled = True  # the tests read its executions
    made.runner.run()
    return made


def test_a_straddle_in_dollars_is_hedged_in_thousandths_of_a_coin(run):
    """The hedge was whole coins, as of shares: eight a day, and 554 USDC of the day were its delta."""
    (account,) = run.runner.broker.broker.ledger.accounts.values()
    hedges = [each.quantity for each in account.executions if each.instrument_id == 0]
    assert len(hedges) > 100
    assert all(quantity % D("0.001") == 0 for quantity in hedges)
    assert 0 < min(hedges) < max(hedges) < 1


def test_the_parts_of_a_day_are_those_of_the_inverse_contracts_in_dollars(tape, market):
    """Settled at a mean of half an hour, both show it as a last step of the spot."""
    spot = 57_775.25
    settled = {"desk.currency": "BTC", "strategies.gamma-scalper.underlying": "BTC-PERPETUAL"}
    changed = [f"{name}={settled.get(name, value)}" for name, value in (each.split("=") for each in DESK)]
    entries = []

    def watch(_event, outputs):
        entries.extend(each.facts for each in outputs if "breakeven_move_usd" in getattr(each, "facts", {}))

    again = traded(tape, DESK, watch)
    inverse = traded(market, (*changed, "simulation.starting_cash=2"), watch)
    ours, theirs = (each.engine.desk.attribution.totals for each in (again, inverse))
    for name, apart in {"gamma": 0.05, "theta": 0.05, "vega": 0.05, "fees": 0.1}.items():  # other ticks
        assert float(ours[name]) == pytest.approx(spot * float(theirs[name]), rel=apart, abs=6), name
    # a hedge of .05 of a coin comes half a minute sooner or later while the mean is being fixed: over 200 USD
    assert float(ours["delta"]) == pytest.approx(spot * float(theirs["delta"]), abs=10)
    assert abs(ours["residual"]) < 1
    assert entries[0]["forward"] == pytest.approx(entries[1]["forward"], rel=1e-6)
    moves = [each["breakeven_move_usd"] for each in entries]
    assert moves[0] == pytest.approx(moves[1], rel=0.02)  # ticks of 5 USDC beside .0001 BTC


def test_the_page_shows_coins_to_their_decimals_though_money_is_in_dollars(tape, tmp_path):
    """The net delta of a tenth of a coin was 0.00 there: decimals went by the account's currency."""
    stop_ns = tape.sessions[0].open_ns + 5 * 3_600 * 10**9

    def observe(_run, now_ns):
        if now_ns > stop_ns:
            raise EnoughError

    chosen = load_settings("gamma-scalper", overrides=DESK, environ={})
    with pytest.raises(EnoughError):
        run_backtest(chosen, tape, SystemClock(), seed=1, runs_dir=tmp_path, observer=observe)
    (folder,) = tmp_path.iterdir()
    follower = RunFollower(folder)
    while follower.advance(1_000):
        pass
    follower.tail.close()
    page = desk_page(follower)["position"]
    swap = next(row for row in page["legs"] if row["symbol"] == SWAP)
    assert abs(D(swap["quantity"])) == D("0.092")
    assert abs(swap["delta_shares"]) == pytest.approx(0.092)
    net_delta = page["greeks"]["net_delta_shares"]
    assert net_delta == pytest.approx(follower.greeks().net_delta_shares)
    call = page["legs"][0]
    assert page["greeks"]["gamma_shares_per_usd"] == pytest.approx(2 * call["gamma_shares_per_usd"], abs=1e-5)
    assert (call["is_coin"], swap["is_coin"], call["price_decimals"]) == (True, True, 2)
    assert (page["delta_decimals"], page["money_decimals"]) == (4, 2)
    net = status_text(follower, is_running=False).partition("Net delta ")[2].partition(",")[0]
    assert float(number(net)) == pytest.approx(net_delta, abs=5e-5) != 0


def test_fees_funding_and_settlement_are_in_dollars_and_the_parts_sum_to_the_cent(run, tape):
    desk, (account,) = run.engine.desk, run.runner.broker.broker.ledger.accounts.values()
    executions, listed = account.executions, desk.instruments
    level = D(str(next(iter(tape.settlement_prices.values()))))
    paid, options = -account.cash + 100_000, {}
    for each in executions:
        signed = each.quantity * each.side.sign
        paid -= signed * each.price + each.fee
        terms = listed[each.instrument_id], each.side, each.quantity, each.price
        assert each.fee == DERIBIT_FEES.on(DAY).fee(*terms)
        options[each.instrument_id] = options.get(each.instrument_id, D(0)) + signed
    swap = options.pop(0)
    for number, held in options.items():
        contract = listed[number]
        intrinsic = level - contract.strike if contract.is_call else contract.strike - level
        paid += held * max(intrinsic, D(0))
    funding = desk.positions.positions[0].income
    assert swap == 0
    assert funding != 0
    assert paid == -funding
    assert desk.account.cash == account.cash
    assert not desk.positions.held()
    explain = desk.attribution
    assert explain.unit == D("0.01")
    assert sum(explain.totals.values()) == explain.nav_change == account.cash - 100_000
