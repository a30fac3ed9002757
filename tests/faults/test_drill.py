"""``scalpdesk drill``: every disaster ends well on ordinary settings, and a broken desk is found out."""

import json

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import OrderStatusUnknown
from scalpdesk.orders.order import OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig, HedgeConfig
from scalpdesk_testing.rehearsal import DISASTERS, rehearse


@pytest.mark.second
@pytest.mark.rows("disaster", DISASTERS)
def test_disaster_ends_well(disaster):
    found = rehearse(GammaScalperConfig(), RiskLimits(), disaster)
    assert (found.ok, found.ending in ("hedge right", "flat")) == (True, True), found
    assert found.did != "nothing was needed"


@pytest.mark.second
@pytest.mark.parametrize(
    "config",
    [
        GammaScalperConfig(straddles=7),
        GammaScalperConfig(underlying="QQQ", hedge=HedgeConfig(band="whalley_wilmott")),
        GammaScalperConfig(hedge=HedgeConfig(threshold_shares=6.0, order_ttl_seconds=2.0)),
    ],
    ids=["seven", "band", "wide"],
)
def test_other_configurations_end_well_too(config):
    for disaster in DISASTERS[::3]:
        found = rehearse(config, RiskLimits(), disaster)
        assert found.ok, found


def test_what_takes_time_is_told_in_simulated_seconds():
    halt = next(one for one in DISASTERS if one.name == "exchange halt")
    assert 35.0 <= rehearse(GammaScalperConfig(), RiskLimits(), halt).seconds <= 60.0


def test_watchdog_takes_the_order_off():
    (kill,) = (one for one in DISASTERS if one.name == "watchdog kill")
    config = GammaScalperConfig(hedge=HedgeConfig(threshold_shares=2.0))  # hedges often: one is on its way
    found = rehearse(config, RiskLimits(), kill)
    assert "taken off by the watchdog" in found.did
    assert "1 restart" in found.did


def test_desk_that_takes_a_time_out_for_a_refusal_does_not_end_well(monkeypatch):
    (chosen,) = (one for one in DISASTERS if one.name == "crash and restart")
    plain = OrderManager.apply

    def apply(self, event):
        order = self.order(event.client_order_id)
        if isinstance(event, OrderStatusUnknown) and order.is_live and not order.filled:
            order.move(OrderState.REJECTED, "no answer")
            self.live.pop(event.client_order_id, None)
            return order
        return plain(self, event)

    monkeypatch.setattr(OrderManager, "apply", apply)
    found = rehearse(GammaScalperConfig(), RiskLimits(), chosen)
    assert not found.ok
    assert found.ending.startswith("broken: ")


def test_settings_that_buy_nothing_are_refused():
    with pytest.raises(ConfigError, match="buys nothing"):
        rehearse(GammaScalperConfig(), RiskLimits(max_position_fraction=1e-6), DISASTERS[0])


def test_command_as_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["drill", "--only", "reject", "--only", "partial", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["disasters"]] == ["reject", "partial"]
    assert (document["passed"], document["failed"]) == (2, 0)


def test_command_as_a_table(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["drill", "--only", "crash and restart"]) == 0
    assert "1 of 1 ended well" in capsys.readouterr().out


def test_command_names_the_nearest_disaster(capsys):
    assert main(["drill", "--only", "rejects"]) == 2
    assert "reject" in capsys.readouterr().err
