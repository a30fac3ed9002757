"""Wrong keys, wrong flags, wrong clock: each refused with what to do, and nothing is sent."""

import asyncio
from dataclasses import replace

import pytest

from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.errors import ConfigError, RetryError, ScalpdeskError
from scalpdesk.live import arming
from scalpdesk.live.arming import live_account
from scalpdesk.live.assembly import open_desk
from scalpdesk.live.plan import LivePlan
from scalpdesk.venues.contract import LiveToken
from scalpdesk_testing.kit.clock import ManualClock
from tests.live.killing import Exchange, plan_for


def settings_with(tmp_path, key, *, paper=True):
    environ = {"TRADING_API_KEY": key, "TRADING_API_SECRET": "canary-secret", "IS_PAPER_TRADING": str(paper)}
    return load_settings(
        "gamma-scalper", overrides=[f"desk.runs_dir={tmp_path / 'runs'}"], environ=environ, cwd=tmp_path
    )


def refusal(plan, clock=None):
    """Return how opening a desk is refused; sockets are forbidden in these tests."""
    with pytest.raises(ScalpdeskError) as refused:
        asyncio.run(open_desk(plan, clock or SystemClock(), notify=lambda *_: None))
    text = str(refused.value)
    assert refused.value.fix
    assert "canary" not in text
    return refused.value, text


def plan_of(tmp_path, key, *, live=False, paper=True, **how):
    return LivePlan(settings_with(tmp_path, key, paper=paper), "alpaca", live=live, state=tmp_path, **how)


def test_live_key_with_paper_settings(tmp_path):
    _, text = refusal(plan_of(tmp_path, "AKLIVE"))
    assert "a live key with paper settings; nothing was sent" in text


def test_paper_key_with_live(tmp_path):
    plan = plan_of(tmp_path, "PKPAPER", live=True, paper=False)
    token = LiveToken("acc", plan.settings.config_hash, 1, "me")
    arming.arm(tmp_path, "alpaca", token, typed_account="acc", typed_hash=plan.settings.config_hash)
    _, text = refusal(plan)
    assert "a paper key with --live; nothing was sent" in text


def test_live_without_arming_or_with_another_configuration(tmp_path):
    plan = plan_of(tmp_path, "AKLIVE", live=True, paper=False)
    _, text = refusal(plan)
    assert "not armed" in text
    assert "scalpdesk arm" in text
    arming.arm(
        tmp_path, "alpaca", LiveToken("acc", "ab" * 32, 1, "me"), typed_account="acc", typed_hash="ab" * 32
    )
    _, text = refusal(plan)
    assert "lapsed" in text


def test_live_flag_against_a_paper_configuration_or_another_address(tmp_path):
    _, text = refusal(plan_of(tmp_path, "AKLIVE", live=True))
    assert "--live contradicts the configuration" in text
    _, text = refusal(plan_of(tmp_path, "AKLIVE", live=True, url="http://127.0.0.1:9"))
    assert "--live trades at the venue itself" in text


def test_no_keys(tmp_path):
    settings = load_settings("gamma-scalper", environ={}, cwd=tmp_path)
    _, text = refusal(LivePlan(settings, "alpaca", state=tmp_path))
    assert "needs a key and a secret" in text


def test_truth_table_of_live_trading(tmp_path, monkeypatch):
    """Key kind, --live, arming, paper setting, account: one row of them all may trade live."""
    from scalpdesk.instruments.contract import Instruments
    from scalpdesk.live.assembly import build_gateway

    passed = []
    for key in ("PKx", "AKx"):
        for live in (False, True):
            for armed in (False, True):
                for paper in (False, True):
                    folder = tmp_path / f"{key}{live}{armed}{paper}"
                    folder.mkdir()
                    plan = plan_of(folder, key, live=live, paper=paper)
                    if armed:
                        token = LiveToken("acc", plan.settings.config_hash, 1, "me")
                        digest = plan.settings.config_hash
                        arming.arm(folder, "alpaca", token, typed_account="acc", typed_hash=digest)
                    try:
                        gateway = asyncio.run(_built(build_gateway, plan, Instruments()))
                        gateway._endpoints.check_key(key)
                    except ConfigError:
                        continue
                    if gateway._endpoints.is_live:
                        passed.append((key, live, armed, paper))
    assert passed == [("AKx", True, True, False)]


async def _built(build, plan, book):
    return build(plan, book, SystemClock())


def test_arming_wants_a_live_configuration(tmp_path):
    for key, paper in (("PKx", False), ("AKx", True)):
        with pytest.raises(ConfigError, match="is one for paper"):
            asyncio.run(live_account(settings_with(tmp_path, key, paper=paper), "alpaca"))


@pytest.mark.rows("venue", ["simulated", "sandbox", "paper"])
def test_real_money_is_not_traded_in_this_process(venue, capsys):
    assert main(["run", "gamma-scalper", "--live", "--venue", venue]) == 2
    assert "real money is traded at a venue that can be armed" in capsys.readouterr().err


@pytest.fixture(scope="module")
def exchange():
    running = Exchange()
    yield running
    orders = running.get("orders")
    running.close()
    assert orders == []  # nothing was ever sent


@pytest.mark.enable_socket
def test_wrong_key(exchange, tmp_path):
    plan = plan_for(exchange, tmp_path)
    wrong = load_settings(
        "gamma-scalper",
        environ={"TRADING_API_KEY": "PKWRONG", "TRADING_API_SECRET": "canary"},
        cwd=tmp_path,
    )
    _, text = refusal(replace(plan, settings=wrong), FollowingClock())
    assert "does not accept the keys" in text


@pytest.mark.enable_socket
def test_wrong_clock(exchange, tmp_path):
    _, text = refusal(plan_for(exchange, tmp_path), ManualClock(10**18))
    assert "clock is off; nothing was sent" in text
    assert "NTP" in text


@pytest.mark.enable_socket
def test_unreachable_venue(exchange, tmp_path):
    plan = replace(plan_for(exchange, tmp_path), url="http://127.0.0.1:9")
    error, text = refusal(plan, FollowingClock())
    assert isinstance(error, RetryError)
    assert "cannot be reached; nothing was sent" in text
