"""Model of entries: its file, its features, and the entries that it takes or leaves."""

from datetime import date

import pytest
from msgspec.structs import replace

from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.meta_model import BoostedTree, MetaModel, MetaVerdict, entry_features, read_meta_model
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, decisions, orders
from scalpdesk_testing.kit.instruments import DAY

MONDAY_1030 = 1_517_844_600_000_000_000
WON = MetaVerdict(won=True, effect=2.0, low=1.0, high=3.0, adjusted_p=0.01, sessions=200, pnl_kept=400.0)
# one question: entries up to 11:00 have a probability of 0.2689, later entries of 0.7311
MODEL = MetaModel(
    strategy="gamma-scalper",
    features=("minute_of_day",),
    start=0.0,
    trees=(BoostedTree((0, -1, -1), (660.0, 0.0, 0.0), (1, -1, -1), (2, -1, -1), (0.0, -1.0, 1.0)),),
    threshold=0.5,
    entries=300,
    first_session=date(2014, 1, 3),
    last_session=date(2018, 2, 2),
    verdict=WON,
)


def test_a_tree_goes_left_up_to_its_threshold():
    assert MODEL.probability({"minute_of_day": 660.0}) == pytest.approx(0.268941421)
    assert MODEL.probability({"minute_of_day": 660.5}) == pytest.approx(0.731058579)
    assert MODEL.probability({"weekday": 1.0}) is None


def test_a_model_that_did_not_win_or_was_changed_is_refused(tmp_path):
    file = tmp_path / "gate.json"
    MODEL.write(file)
    read = read_meta_model(file, MODEL.strategy)
    assert replace(read, sha256="") == MODEL
    assert read.sha256 == MODEL.digest()
    file.write_bytes(file.read_bytes().replace(b"660.0", b"600.0", 1))
    with pytest.raises(ConfigError, match="changed"):
        read_meta_model(file, MODEL.strategy)
    replace(MODEL, verdict=replace(WON, won=False, effect=-1.25)).write(file)
    with pytest.raises(ConfigError, match=r"-1\.25"):
        read_meta_model(file, MODEL.strategy)
    file.write_text("{}")
    with pytest.raises(ConfigError, match="no model"):
        read_meta_model(file, MODEL.strategy)
    with pytest.raises(ConfigError, match="cannot read"):
        read_meta_model(tmp_path / "absent.json", MODEL.strategy)


def test_features_of_a_straddle_are_ratios():
    facts = {
        "spot": 250.0,
        "strike": 250.0,
        "expiry": "2018-02-09",
        "spread_usd_per_unit": 0.05,
        "forecast_vol": 0.24,
        "implied_level": 0.2,
        "edge_usd": 30.0,
        "edge_stderr_usd": 10.0,
        "breakeven_move_usd": 5.0,
        "level": "swap",
    }
    found = entry_features(facts, MONDAY_1030)
    assert found["forecast_over_implied"] == pytest.approx(1.2)
    assert found["edge_in_standard_errors"] == pytest.approx(3.0)
    assert found["spread_over_spot"] == pytest.approx(2e-4)
    assert found["breakeven_over_spot"] == pytest.approx(0.02)
    assert (found["days_to_expiry"], found["minute_of_day"], found["weekday"]) == (4.0, 630.0, 0.0)
    assert not {"spot", "strike"} & found.keys()


def test_features_of_a_scalp_are_its_numbers_but_for_prices_and_sizes():
    facts = {"conviction": 72, "delta": 0.5, "spot": 250.0, "contracts": 3, "late": True, "signal": "X"}
    found = entry_features(facts, MONDAY_1030)
    assert found == {"minute_of_day": 630.0, "weekday": 0.0, "conviction": 72.0, "delta": 0.5}


def scalper(tmp_path, model=MODEL):
    model.write(tmp_path / "gate.json")
    entry = EntryConfig(gate="off", meta_model=str(tmp_path / "gate.json"))
    triggers = TriggersConfig(spread_filter=False)
    desk = HandDesk(GammaScalper(GammaScalperConfig(entry=entry, triggers=triggers)))
    desk.open()
    return desk


def test_an_entry_that_the_model_leaves_is_left_for_the_session(tmp_path):
    desk = scalper(tmp_path)
    desk.go_to("10:00")
    outputs = desk.market(500.0)
    assert orders(outputs) == []
    (decision,) = decisions(outputs)
    assert not decision.taken
    assert decision.facts["meta_probability"] == pytest.approx(0.268941421)
    desk.go_to("12:00")
    assert orders(desk.market(500.0)) == []


def test_an_entry_that_the_model_takes_is_bought(tmp_path):
    desk = scalper(tmp_path)
    desk.go_to("12:00")
    outputs = desk.market(500.0)
    assert len(orders(outputs)) == 2
    assert decisions(outputs)[0].facts["meta_model"] == MODEL.digest()[:12]


def test_in_the_sessions_it_was_trained_on_the_model_is_not_asked(tmp_path):
    desk = scalper(tmp_path, replace(MODEL, last_session=DAY))
    desk.go_to("10:00")
    outputs = desk.market(500.0)
    assert len(orders(outputs)) == 2
    assert "meta_probability" not in decisions(outputs)[0].facts


def test_the_model_of_another_strategy_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="st0ckg"):
        scalper(tmp_path, replace(MODEL, strategy="st0ckg"))
