"""The watchdog at a venue that tells connections apart by ids: it waits under its own."""

import os
import signal
import time
from contextlib import suppress

import pytest

from tests.live.killing import BUSY_AT_TWS, Exchange, guarded_desk, plan_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.second]
PATIENCE_SECONDS = 300.0


@pytest.fixture
def tws_exchange(socket_enabled, tmp_path):
    running = Exchange(venue="ibkr")
    yield running
    path = tmp_path / "watchdog.pid"
    if path.exists():
        with suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)
    running.close()


def wait_for(what):
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < PATIENCE_SECONDS
        time.sleep(0.05)


def test_a_dead_desks_orders_are_cancelled_and_its_positions_closed(tws_exchange, tmp_path):
    tws_exchange.post("faults", name="partial_fill", times=0, fraction=0.5, seconds=3_600)
    resting = (*BUSY_AT_TWS, "straddles=4", "entry.order_ttl_seconds=3600", "hedge.order_ttl_seconds=3600")
    plan = plan_for(tws_exchange, tmp_path, *resting)
    desk = guarded_desk(tws_exchange, plan, tmp_path, resting, flatten=True)
    tws_exchange.speed(60)
    wait_for(lambda: len(tws_exchange.get("fills")) >= 2)
    desk.kill()
    desk.join()
    tws_exchange.post("heal")
    log = tmp_path / "watchdog.log"
    wait_for(lambda: log.exists() and "done after" in log.read_text())
    assert "the account is flat" in log.read_text()
    assert all(float(one["qty"]) == 0 for one in tws_exchange.get("positions"))
