"""Slips of the finger in a configuration: each is refused when it is read, and the refusal names the key."""

import re
from decimal import Decimal

import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.risk.limits import check_account

STRATEGY = "gamma-scalper"

# Each line: key, and the slips; a key in brackets after ``->`` is the one that a contradiction names.
SLIPS = """
risk.max_daily_loss                     0 -500 nan inf 200000 1e12 five 1000.50.1
risk.max_consecutive_losses             0 -3 3.5 2000 three
risk.max_order_contracts                0 -10 100000 1.5 nan 1e9 ten
risk.max_order_premium                  0 -1 150000 nan
risk.max_short_contracts                -1 1e9 600000
risk.max_messages_per_minute            0 -1 60 999999999
risk.max_bought_delta_fraction          0 -1 1000 0.1
risk.allowed_order_types                stop,stop_limit markte,limit
risk.betas.QQQ                          0 -1 130 nan
simulation.starting_cash                0 -100000 nan inf 1e15 lots
simulation.latency_ms                   -1 1e9 nan fast
simulation.seed                         -1 1.5 one
simulation.fees                         free alpca
simulation.displayed_sizes              maybe 2
simulation.positions.SPY                nan 1e12 many
marketdata.stale_seconds_underlying     -5 5000 nan inf
marketdata.stale_seconds_option         -60 60000 nan
marketdata.floor_seconds                -1 60000
marketdata.mark_seconds                 0 -60 60000 nan 1e-9
rates.flat                              5 -1 nan
rates.default                           5 -1 inf
data.max_side_age_seconds               -1 86400000
data.index_source                       parity_ recorder
desk.paper                              perhaps 2
straddles                               0 -1 101 100000 1.5 two
mode                                    resum start
selection.min_expiration_days           -1 91 30.5 100000
selection.max_expiration_days           -1 29 thirty 100000
selection.min_open_interest             -100 1e9 1.5
selection.theta_weight_days             0 -1 10000 nan
selection.max_spread_fraction           0 -0.1 50
selection.score                         best
selection.expiry                        2018-02-30 tomorrow
entry.gate                              on enforced
entry.min_edge_usd                      nan inf 1e9
entry.k_stderr                          -1 100
entry.min_vol_ratio                     -1 105
entry.horizon_days                      0 -5 5000
entry.forecast_vol                      0 -0.2 20
entry.not_before                        25:00 9 15:31
entry.not_after                         later 24:01 09:00
entry.order_ttl_seconds                 0 -15 15000 nan
entry.max_attempts                      0 -1 5000 2.5
triggers.price_change_usd               -0.05 5000 nan
triggers.heartbeat_seconds              -5 5000 nan
triggers.spread_filter                  sometimes
hedge.threshold_shares                  -2 2000 5000 nan inf two
hedge.delta_vol                         implid
hedge.fixed_vol                         0 -0.2 20
hedge.order_ttl_seconds                 0 -5 5000
exits.min_dte                           -1 30 90 1.5
exits.stop_fraction                     0 -0.3 1.01 30
exits.arm_fraction                      0 -0.3 3000
exits.giveback_fraction                 0 -0.5 1.5 50
exits.max_sessions                      0 -1 100000
exits.close_at                          16:16 25:61 noon 03:58 09:30
exits.flat_minutes_before_close         -10 600 36000
risk.max_ordr_contracts                 10
risk.max_dayly_loss                     500
risk.colar                              0.1
simulation.lateny_ms                    1
marketdata.stale_secs                   5
hedge.treshold_shares                   2
exits.stop_frac                         0.3
entry.ttl_seconds                       15
rsk.max_daily_loss                      500
"""


def slips():
    """Yield key and value of every slip."""
    for line in SLIPS.strip().splitlines():
        key, *values = line.split()
        for value in values:
            yield key, value


ALL = list(slips())


@pytest.mark.rows(("key", "value"), ALL)
def test_a_slip_is_refused_when_it_is_read_and_the_refusal_names_key_and_fix(key, value):
    with pytest.raises(ConfigError) as caught:
        load_settings(STRATEGY, overrides=[f"{key}={value}"])
    error = caught.value
    # a key that exists nowhere is looked for among the strategy's own first
    places = {key, f"strategies.{STRATEGY}.{key}"}
    where = (error.where or "").split(" ")[0]
    if any(place == where or place.startswith(f"{where}.") for place in places):
        assert "--set" in (error.where or "")
    else:  # of two keys that contradict each other the other one is named, and this one in the sentence
        assert key.rpartition(".")[2] in error.what + (error.fix or ""), error.render()
    assert error.fix
    assert error.value is not None


@pytest.mark.rows(
    ("pair", "named"),
    [
        (("risk.max_short_contracts=10", "risk.max_option_contracts=5"), "risk.max_option_contracts"),
        (("simulation.starting_cash=400", "risk.max_daily_loss=500"), "risk.max_daily_loss"),
        (("risk.max_order_contracts=4", "straddles=5"), "strategies.gamma-scalper.straddles"),
        (
            ("selection.min_expiration_days=20", "selection.max_expiration_days=10"),
            "selection.max_expiration_days",
        ),
        (("selection.min_expiration_days=5", "exits.min_dte=5"), "exits.min_dte"),
        (("entry.not_before=12:00", "entry.not_after=11:59"), "entry.not_after"),
    ],
)
def test_two_keys_that_contradict_are_refused_and_the_sentence_names_both(pair, named):
    with pytest.raises(ConfigError) as caught:
        load_settings(STRATEGY, overrides=pair)
    text = caught.value.render()
    for setting in pair:
        assert re.search(rf"\b{re.escape(setting.split('=')[0].split('.')[-1])}\b", text), text
    assert named in (caught.value.where or "")
    assert caught.value.fix


@pytest.mark.rows(
    "overrides",
    [
        (),
        ("risk.max_daily_loss=500", "risk.max_order_contracts=10"),
        ("simulation.starting_cash=500", "risk.max_daily_loss=500"),
        ("straddles=100",),
        ("hedge.threshold_shares=0", "triggers.heartbeat_seconds=0", "triggers.price_change_usd=0"),
        ("risk.max_net_delta_fraction=none", "risk.max_theta_fraction=none"),
        ("exits.stop_fraction=1", "exits.min_dte=none", "risk.target_vol=0.15"),
    ],
)
def test_what_a_trader_would_set_is_accepted(overrides):
    assert load_settings(STRATEGY, overrides=overrides).strategy_config is not None


def test_limits_of_a_venues_account_are_not_held_against_the_simulated_one():
    overrides = ("simulation.starting_cash=400", "risk.max_daily_loss=500")
    loaded = load_settings(STRATEGY, overrides=overrides, simulated_account=False)
    assert loaded.config.risk.max_daily_loss == 500
    check_account(loaded.config.risk, Decimal(500), "the account's equity at the venue")
    with pytest.raises(ConfigError, match=r"the account's equity at the venue is 499\.99"):
        check_account(loaded.config.risk, Decimal("499.99"), "the account's equity at the venue")
