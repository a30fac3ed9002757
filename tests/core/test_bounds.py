"""Bounds stand on the fields of settings, and are held wherever the settings are made."""

import math
from decimal import Decimal
from typing import Annotated

import msgspec
import pytest

from scalpdesk.core.bounds import BoundedSettings, above, at_least, bounds_of
from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.edge_gate import EdgeGateConfig
from scalpdesk.hedging.bands.fixed import FixedConfig
from scalpdesk.hedging.bands.time_based import TimeBasedConfig
from scalpdesk.hedging.base import AversionConfig
from scalpdesk.strategies.toolkit.exits import ExitConfig, ScalpExitConfig
from scalpdesk_strategies.st0ckg.config import St0ckgConfig
from scalpdesk_strategies.st0ckg.filters import FilterConfig
from scalpdesk_strategies.st0ckg.scalp_selector import ContractConfig

Part = Annotated[float, above(0, 1, "a part")]


class Cuts(BoundedSettings, frozen=True, kw_only=True):
    section = "cuts"
    part: Part | None = None
    unset: Annotated[float, at_least(-1, 1, "a number")] | msgspec.UnsetType = msgspec.UNSET
    amount: Annotated[Decimal, above(0, math.inf, "an amount")] = Decimal(1)
    by_name: dict[str, Part] = msgspec.field(default_factory=dict)
    free: float = 9.0


class MoreCuts(Cuts, frozen=True, kw_only=True):
    section = ""
    steps: Annotated[int, at_least(0, 3, "steps")] = 0


def test_the_bounds_of_a_struct_are_those_of_its_fields_inherited_ones_too():
    assert set(bounds_of(MoreCuts)) == {"part", "unset", "amount", "by_name", "steps"}
    assert bounds_of(Cuts)["part"] == above(0, 1, "a part")


@pytest.mark.rows(
    ("key", "value"),
    [
        ("part", 1),
        ("part", None),
        ("unset", -1),
        ("amount", Decimal("1e30")),
        ("free", math.inf),
        ("steps", 0),
    ],
)
def test_a_value_within_is_taken(key, value):
    assert getattr(MoreCuts(**{key: value}), key) == value


@pytest.mark.rows(
    ("kind", "given", "where"),
    [
        (Cuts, {"part": 0}, "cuts.part"),
        (MoreCuts, {"part": 1.0000001}, "part"),
        (MoreCuts, {"part": math.nan}, "part"),
        (MoreCuts, {"unset": -1.1}, "unset"),
        (MoreCuts, {"amount": Decimal("NaN")}, "amount"),
        (MoreCuts, {"amount": Decimal("Infinity")}, "amount"),
        (MoreCuts, {"steps": -1}, "steps"),
        (Cuts, {"by_name": {"a": 1, "b": 2}}, "cuts.by_name.b"),
        (EdgeGateConfig, {"min_edge_usd": math.inf}, "min_edge_usd"),
        (EdgeGateConfig, {"min_vol_ratio": math.nan}, "min_vol_ratio"),
        (FixedConfig, {"threshold": -1.0}, "threshold"),
        (TimeBasedConfig, {"interval_seconds": 0.0}, "interval_seconds"),
        (AversionConfig, {"risk_aversion": 0.0}, "risk_aversion"),
        (AversionConfig, {"cap_fraction": 1.5}, "cap_fraction"),
        (ContractConfig, {"equity_fraction": Decimal("1.5")}, "contract.equity_fraction"),
        (ContractConfig, {"max_spread_fraction": 10.0}, "contract.max_spread_fraction"),
        (ScalpExitConfig, {"stop_fraction": Decimal(2)}, "exits.stop_fraction"),
        (ScalpExitConfig, {"risk_unit_usd": Decimal(0)}, "exits.risk_unit_usd"),
        (FilterConfig, {"max_trades_per_session": 0}, "filters.max_trades_per_session"),
        (FilterConfig, {"min_seconds_between_trades": math.nan}, "filters.min_seconds_between_trades"),
        (St0ckgConfig, {"exposure_p90_usd": -1.0}, "exposure_p90_usd"),
        (ExitConfig, {"minutes_before_expiry": 1_441}, "exits.minutes_before_expiry"),
    ],
)
def test_a_value_outside_is_refused_by_its_key(kind, given, where):
    with pytest.raises(ConfigError) as caught:
        kind(**given)
    assert caught.value.where == where
