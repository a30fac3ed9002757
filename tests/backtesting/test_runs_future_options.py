"""Options on ES from LEAN's folder, hedged with their future: a session imported, traded and explained."""

import math
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import QuoteEvent
from scalpdesk.datasets.importers.lean import import_lean
from scalpdesk.instruments.futures import future_option
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.portfolio.positions import balance_of
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk_testing.kit.archives import put_zip

DAY = date(2020, 1, 6)
SYMBOLS = {"call": "ES_202003-200320C03250000", "put": "ES_202003-200320P03250000"}
VOL, RATE = 0.13, math.log1p(0.0155)
CASH = Decimal(20_000_000)
RULES = (
    "underlying=ES",
    "straddles=60",
    "selection.min_open_interest=-1",
    "selection.max_expiration_days=90",
    "entry.gate=off",
    "entry.not_before=09:40",
    "hedge.threshold_shares=0.5",
    "exits.flat_minutes_before_close=270",
    "exits.stop_fraction=none",
    "exits.arm_fraction=none",
    "exits.edge_gone=false",
    f"simulation.starting_cash={CASH}",
)


def future_at(minute):
    return round(4 * (3245.0 + 24.0 * math.sin(minute / 20.0))) / 4


def row(minute, bid, ask):
    """One of LEAN's quote rows: the bar that is known ``minute`` minutes after midnight UTC."""
    sides = (*[bid] * 4, 50, *[ask] * 4, 50)
    return ",".join(str(each) for each in ((minute - 1) * 60_000, *sides)) + "\n"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A folder of LEAN's with ES and a straddle on it, American and priced on the future (Black 1976)."""
    root = tmp_path_factory.mktemp("lean") / "Data"
    session = session_on(DAY)
    first = session.open_ns // 60_000_000_000
    midnight = first - first % 1_440
    future, legs = "", dict.fromkeys(SYMBOLS, "")
    for minute in range(1, 151):
        spot, stamp = future_at(minute), first + minute - midnight
        future += row(stamp, spot - 0.125, spot + 0.125)
        for right, symbol in SYMBOLS.items():
            contract = future_option(symbol)
            years = (expiry_instant_ns(contract) - (first + minute) * 60_000_000_000) / (365 * 86_400e9)
            terms = spot, 3250.0, years, VOL, contract.is_call, RATE, RATE
            price = option_greeks(*terms, american=True).price
            legs[right] += row(stamp, round(price - 0.125, 4), round(price + 0.125, 4))
    put_zip(root / "future/cme/minute/es/20200106_quote.zip", {"20200106_es_minute_quote_202003.csv": future})
    names = {
        f"20200106_es_minute_quote_american_{right}_32500000_20200320.csv": text
        for right, text in legs.items()
    }
    put_zip(root / "futureoption/cme/minute/es/202003/20200106_quote_american.zip", names)
    rates = root / "alternative/interest-rate/usa/interest-rate.csv"
    rates.parent.mkdir(parents=True)
    rates.write_text("DATE,PCREDIT8\n2015-01-01,1.55\n")
    folder = tmp_path_factory.mktemp("catalog")
    import_lean(folder, root)
    return folder


@pytest.fixture(scope="module")
def traded(catalog):
    config = load_settings("gamma-scalper", overrides=(*RULES, f"data.catalog={catalog}"))
    tape = load_market(config, "lean", underlying="ES", start=DAY, end=DAY, seed=1)
    header, engine = build_backtest(config, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(config, tape, header, engine, None)
    vols, handle = [], engine.handle

    def watch(event):
        outputs = handle(event)
        if not isinstance(event, QuoteEvent) or event.instrument_id:
            return outputs
        for symbol in SYMBOLS.values():
            value = engine.desk.delta_engine.state(
                engine.desk.instruments.id_of(symbol), engine.desk.view.now_ns
            )
            if value is not None:
                vols.append((value.vol, value.rate - value.dividend_yield))
        return outputs

    engine.handle = watch
    for _ in run.runner.steps():
        pass
    return run.result(0.0), engine.desk, vols


def test_the_options_are_priced_on_their_future(traded):
    """Black 1976 gives the volatility back that the quotes were made with; the carry is zero."""
    _, _, vols = traded
    assert len(vols) > 100
    assert all(vol == pytest.approx(VOL, abs=2e-4) for vol, _ in vols)
    assert all(carry == 0.0 for _, carry in vols)


def test_the_straddle_is_bought_hedged_with_the_future_and_left(traded):
    result, desk, _ = traded
    assert result.end_positions == {}
    future = desk.positions.positions[desk.instruments.id_of("ES_202003")]
    assert future.multiplier == 50
    assert result.document["hedges"] > 5
    held = [each for each in desk.positions.positions.values() if each.instrument.is_option]
    assert sorted(each.instrument.symbol for each in held) == sorted(SYMBOLS.values())
    assert balance_of(desk.account, desk.positions.held()) == CASH + result.pnl["total"]


def test_its_explain_closes_to_the_cent_without_a_basis(traded):
    result, _, _ = traded
    parts = {name: amount for name, amount in result.pnl.items() if name != "total"}
    assert sum(parts.values()) == result.pnl["total"]
    assert "basis" not in parts
    assert abs(parts["residual"]) < Decimal(1)
    assert abs(parts["delta"]) < parts["gamma"]
