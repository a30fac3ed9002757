"""Volatility page, strike picker and runs page against second calculations."""

import json
import math
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from io import StringIO

import numpy as np
import pytest

from scalpdesk.assembly import load_market
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import ForecastEvent
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, new_york_ns
from scalpdesk.marketdata.chain_gamma import price_tape
from scalpdesk.marketdata.dealer_gamma import covered, covered_text, gamma_exposure
from scalpdesk.monitor.held_book import followed_to
from scalpdesk.monitor.market import picker_page, volatility_page, volatility_sentence
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.pricing import implied_vol
from scalpdesk.report.figures import json_safe
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.runs import listed_run, run_page, runs_page, thinned
from scalpdesk_strategies.ema_scalper.config import ScalpConfig

DAY = date(2018, 2, 5)
LARGEST_JUMP = 0.06
"""Standard deviation of 15 s of the drawn implied volatility, points."""


@pytest.fixture(scope="module")
def tape():
    settings = load_settings("gamma-scalper")
    return load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=1)


@pytest.fixture(scope="module")
def page(held):
    return json_safe(volatility_page(held))


def test_a_smiles_points_are_the_volatilities_of_its_quotes_at_their_own_instants(held, page):
    smile = next(each for each in page["smiles"] if each["days"] == 4)
    desk, checked = held.desk, 0
    for number, contract in enumerate(desk.instruments):
        if not isinstance(contract, OptionContract) or contract.expiry.isoformat() != smile["expiry"]:
            continue
        strike = float(contract.strike)
        if (strike >= smile["forward"]) != contract.is_call or strike not in smile["strikes"]:
            continue
        shown = smile["quoted"][smile["strikes"].index(strike)]
        quote = desk.market.quotes[number]
        then = desk.market.quote_in_force(desk.view.underlying, quote.ts_event_ns)
        years = desk.delta_engine.terms.years(expiry_instant_ns(contract), quote.ts_event_ns)
        found = implied_vol(quote.mid, then.mid, strike, years, contract.is_call, style="american")
        expires_ns, terms = expiry_instant_ns(contract), desk.delta_engine.terms
        vol = terms.carried(float(found.vol), expires_ns, quote.ts_event_ns, held.now_ns)
        assert shown == pytest.approx(100 * vol, rel=1e-4), contract.symbol  # as of now, as its smile is
        checked += 1
    assert checked == sum(vol is not None for vol in smile["quoted"]) >= 20


def test_fitted_curve_runs_through_the_quotes_and_bridges_the_strikes_between(page):
    for smile in page["smiles"]:
        gaps = [
            fit - quoted
            for fit, quoted in zip(smile["vols"], smile["quoted"], strict=True)
            if quoted is not None
        ]
        assert 3 <= len(gaps) < len(smile["vols"])
        assert float(np.sqrt(np.mean(np.square(gaps)))) < 0.6  # points of volatility
        assert smile["strikes"] == sorted(smile["strikes"])
        around = np.interp(page["spot"], smile["strikes"], smile["vols"])
        assert smile["atm"] == pytest.approx(around, abs=0.02)
        assert smile["forward"] == pytest.approx(page["spot"], rel=1e-9)  # neither rate nor dividend


def test_drawn_implied_volatility_is_the_strikes_filtered_and_does_not_jump_with_each_quote(held):
    """By the last quote of each leg it moved by 0.083 points in 15 s, and back (autocorrelation −0.14)."""
    changes = np.diff([vol for vol in held.series.columns["implied"] if vol is not None])
    assert len(changes) > 30
    assert float(changes.std()) < LARGEST_JUMP
    assert float(np.corrcoef(changes[1:], changes[:-1])[0, 1]) > 0.0


def test_implied_volatility_of_the_book_is_that_of_its_strike_on_the_sessions_clock(held):
    options = [each for each in held.desk.positions.held() if each.instrument.is_option]
    assert len({each.instrument.strike for each in options}) == 1
    leg, contract, engine = options[0].instrument_id, options[0].instrument, held.desk.delta_engine
    expires_ns = expiry_instant_ns(contract)
    scale = engine.terms.years(expires_ns, held.now_ns) / engine.variance_years(held.now_ns, expires_ns)
    smile = held.smile(leg).vol(held.smile(leg).log_moneyness(contract))
    assert held.implied_of_book() == pytest.approx(smile, abs=0.004)
    assert scale != pytest.approx(1.0, abs=1e-4)
    assert held.on_clock(leg) == pytest.approx(scale**0.5)


def expected(vol, error=0.005):
    """A forecast with the interval that it is likely in; None for no forecast."""
    return (
        None
        if math.isnan(vol)
        else ForecastEvent(1, 1, 1, "har", 5, vol, vol - error, vol + error, error, "")
    )


@pytest.mark.parametrize(
    ("implied", "forecast", "realised", "paid", "said"),
    [
        (0.163, 0.141, 0.172, 0.160, ("16.3 %", "14.1 %", "17.2 %", " rich", "but", "more", "16.0 %")),
        (0.163, 0.141, 0.150, 0.160, (" rich", "and", "less")),
        (0.120, 0.141, 0.150, 0.160, (" cheap", "but", "less")),
        (0.120, 0.141, 0.172, 0.160, (" cheap", "and", "more")),
        (0.138, 0.141, 0.172, 0.160, ("neither", "13.6 %", "14.6 %", "and", "more")),
        (0.120, math.nan, math.nan, math.nan, ("12.0 %", "no forecast")),
    ],
)
def test_sentence_reconciles_implied_forecast_and_realised(implied, forecast, realised, paid, said):
    text = volatility_sentence(implied, expected(forecast), realised, paid)
    assert all(word in text for word in said), text
    assert "nan" not in text


def test_options_are_cheap_or_rich_by_what_the_gate_compared():
    """Options of 15.0 % read cheap beside a forecast of 15.8 %, which the gate had refused against 18.5 %."""
    alone = volatility_sentence(0.150, expected(0.158), math.nan, math.nan)
    by_gate = volatility_sentence(0.150, expected(0.158), math.nan, math.nan, (0.158, 0.185))
    assert (" cheap" in alone, " rich" in by_gate, " cheap" in by_gate) == (True, True, False)
    assert "18.5 %" in by_gate
    against = volatility_sentence(0.150, expected(0.158), 0.20, 0.16, (0.158, 0.185))
    assert "but the day moves more" in against


def test_realised_and_charged_volatility_have_the_sign_of_the_sessions_result(held, page):
    meter = held.meter_today()
    assert page["realised"] == meter["realised_vol_weighted"]
    assert page["paid"] == meter["implied_vol_weighted"]
    assert (meter["headline"] > 0) == (meter["realised_vol_weighted"] > meter["implied_vol_weighted"])
    opened = held.desk.view.session.open_ns
    assert page["opened"] * 1e9 == pytest.approx(opened, abs=2e9)
    a_day = float(page["day"].partition("by ")[2].partition(" %")[0])
    assert a_day == pytest.approx(100 * held.implied_of_book() / 252**0.5, abs=0.006)


def test_dealer_gamma_by_strike_sums_to_what_the_page_says(held, page):
    whole = held.desk.market.open_interest
    assert len(whole) > 300
    shares = [row["share"] for row in page["gex"]["strikes"]]
    assert max(map(abs, shares)) == pytest.approx(1.0)
    near = sum(row["usd"] for row in page["gex"]["strikes"])
    assert 1e6 < abs(near) < 1e9
    assert near == pytest.approx(page["gex"]["net_usd"], rel=0.1)


def test_dealer_gamma_is_one_number_on_page_in_the_terminal_and_in_python(held, tape, tmp_path):
    """The page said +8.7 M and the command −273 M of the same chain at the same minute."""
    now_ns = new_york_ns(DAY, time(9, 39))
    told = json_safe(volatility_page(followed_to(held.run_dir, now_ns, lambda *_: None)))["gex"]
    out, words = StringIO(), ("--at", "09:39", "--json", "--set", f"data.catalog={tmp_path}")
    with redirect_stdout(out):
        main(["gex", "SPY", "--start", str(DAY), *words])
    printed = json.loads(out.getvalue())
    priced = price_tape(tape, now_ns)
    python = gamma_exposure(priced.rows, priced.spot)
    assert told["net_usd"] == pytest.approx(python.net_usd, rel=1e-6)
    assert printed["net_usd"] == pytest.approx(python.net_usd, rel=1e-6)
    assert abs(python.net_usd) > 1e8
    assert told["covers"] == printed["covers"] == covered(python, DAY)
    assert told["covers"]["contracts"] == told["covers"]["listed"] == 342


def test_a_part_of_a_chain_says_how_much_it_is_and_decides_nothing(tape):
    priced = price_tape(tape, new_york_ns(DAY, time(12)))
    gone = [expiry < date(2018, 3, 1) for expiry in priced.rows.expiry]
    held = np.maximum(priced.rows.open_interest, 1.0)  # what nobody holds counts with or without a gamma
    part = replace(priced.rows, gamma=np.where(gone, np.nan, priced.rows.gamma), open_interest=held)
    exposure = gamma_exposure(part, priced.spot)
    assert exposure.net_usd is None
    assert covered(exposure, DAY) == {
        "contracts": 168, "listed": 342, "first_days": 39, "last_days": 74
    }  # fmt: skip
    assert covered_text(exposure, DAY).startswith("168 of 342 contracts")


def test_picker_gives_each_strike_a_score_or_the_rule_that_refuses_it(held):
    rows = json_safe(picker_page(held))["rows"]
    config = ScalpConfig()
    assert [row["strike"] for row in rows] == sorted(row["strike"] for row in rows)
    for row in rows:
        for side in ("call", "put"):
            cell = row[side]
            assert (cell["score"] is None) == bool(cell["why"])
            interest = cell["open_interest"]
            if cell["score"] is not None:
                assert config.target_delta_min <= abs(cell["delta"]) <= config.target_delta_max
                assert interest > config.min_open_interest
            elif "open or fewer" in cell["why"]:
                assert interest <= config.min_open_interest


def test_the_parts_of_a_listed_run_sum_to_its_cents_as_those_of_its_summary_do(ended_runs):
    """Each was rounded alone: the residual was 0.00 where the summary's is 0.01."""
    folder, summary = ended_runs
    row = read_stored(folder / summary["run_id"]).run
    # as of a run that goes on
    row |= {"summary": {}, "notes": []} | {f"pnl_{name}": Decimal(0) for name in PARTS}
    row |= {"pnl_delta": Decimal("-223.735773"), "pnl_vega": Decimal("-39.865258")}
    row |= {"pnl_residual": Decimal("0.001031"), "nav_change": Decimal("-263.6000")}
    listed = listed_run(row, folder)
    parts = [listed["parts"][name] for name in ("delta", "vega", "residual")]
    assert (listed["pnl"], parts) == ("-263.60", ["-223.74", "-39.87", "0.01"])


def test_a_run_page_reads_what_the_store_lacks_or_holds_unfinished(ended_runs, tmp_path):
    folder, summary = ended_runs
    (journal,) = (folder / summary["run_id"]).glob("journal-*.sdj")
    run_dir = tmp_path / summary["run_id"]
    run_dir.mkdir()
    whole = journal.read_bytes()
    (run_dir / journal.name).write_bytes(whole[: len(whole) // 2])  # as a run that goes on leaves it
    half = run_page(tmp_path, "last")
    assert not half["sealed"]
    (run_dir / journal.name).write_bytes(whole)
    one = run_page(tmp_path, "last")
    assert one["sealed"]
    assert one["columns"]["t"] == sorted(one["columns"]["t"])
    assert one["columns"]["t"][-1] > half["columns"]["t"][-1]
    assert one["columns"]["pnl"][-1] == pytest.approx(float(summary["nav_change"]))


def test_empty_folder_of_runs_says_how_the_first_is_made(tmp_path):
    assert runs_page(tmp_path, 10)["empty"] == "No run yet. scalpdesk demo makes the first."


def test_thinning_keeps_the_ends_and_every_stretchs_extremes():
    values = [float(value) for value in np.random.default_rng(3).normal(size=10_000).cumsum()]
    kept = thinned(values, 1_000)
    assert kept[0] == 0
    assert kept[-1] == 9_999
    assert len(kept) <= 1_002
    shown = [values[place] for place in kept]
    assert (min(shown), max(shown)) == (min(values), max(values))
    assert thinned([1.0, 2.0], 10) == [0, 1]
