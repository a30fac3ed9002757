"""The package of docs/developing/add_an_alert.md, built from the page: its condition and channel are used."""

import sys

import pytest

from scalpdesk.alerts.channels import Channels
from scalpdesk.alerts.rules import DeskRules, Level
from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret
from scalpdesk.config.settings import AlertSettings
from scalpdesk.core.errors import ConfigError
from scalpdesk.monitor.follower import RunFollower
from scalpdesk_testing.kit.packages import install_points
from tests.docs.pages import DOCS, install_page

FAULTY = """
from scalpdesk.alerts.rules import ConditionSpec


def look(watch):
    raise OSError("the pager is not there")


FAILS = ConditionSpec(name="fails", look=look)
TAKES_NOTHING = ConditionSpec(name="takes-nothing", look=lambda: ())
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    install_page(DOCS / "developing" / "add_an_alert.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] in {"desk_pager", "faulty"}]:
        del sys.modules[module]


@pytest.fixture
def desk(tmp_path):
    """A finished run of many hedges, followed from its start until a record before its seal."""
    keys = ("entry.gate=off", "hedge.band=fixed", "hedge.band_settings.threshold=1")
    words = [word for key in keys for word in ("--set", key)]
    assert main(["backtest", "gamma-scalper", *words]) == 0
    follower = RunFollower(next((tmp_path / "runs").iterdir()))
    while len(follower.fills) <= 20:
        assert follower.advance(64)
    yield follower
    follower.tail.close()


def alerts(follower):
    found = DeskRules(AlertSettings(), follower).conditions(follower.now_ns, None, is_running=False)
    return {alert.key: alert for alert in found}


def test_a_condition_of_a_package_is_looked_at_beside_our_own(desk):
    found = alerts(desk)
    assert found["many-fills"].level is Level.WARNING
    assert found["many-fills"].what.startswith(f"{len(desk.fills)} fills")


@pytest.mark.second
def test_a_condition_that_fails_or_is_none_is_an_alert_and_the_others_are_looked_at(desk, tmp_path):
    (tmp_path / "site" / "faulty.py").write_text(FAULTY)
    points = {"fails": "faulty:FAILS", "takes-nothing": "faulty:TAKES_NOTHING", "gone": "faulty:GONE"}
    install_points(tmp_path / "site", "faulty", {"scalpdesk.alert_conditions": points})
    found = alerts(desk)
    assert {"many-fills", "condition fails", "condition takes-nothing", "condition gone"} <= set(found)
    assert "the pager is not there" in found["condition fails"].what
    assert "look" in found["condition takes-nothing"].what


def test_a_channel_of_a_package_takes_messages_of_its_scheme(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCALPDESK_CREDENTIALS__ALERT_URLS", f"textfile://{tmp_path}/desk.txt")
    assert main(["alerts", "test"]) == 0
    assert "taken: textfile (alerts)" in capsys.readouterr().out
    assert (tmp_path / "desk.txt").read_text().startswith("warning: scalpdesk: TEST\n")


def test_a_channel_refuses_an_address_by_its_place_alone(tmp_path):
    urls = Secret(f"textfile://{tmp_path}/a.txt textfile://{tmp_path}/token-77/a.txt")
    with pytest.raises(ConfigError) as caught:
        Channels(urls)
    assert (caught.value.where, caught.value.value) == ("credentials.alert_urls", "address 2")
    assert "token-77" not in str(caught.value)
