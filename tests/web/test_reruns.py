"""Runs made again from the page: who may, how far it is, cancelling, and what is shown of it."""

import re
import shutil
import time

import pytest

from scalpdesk.core.clock import SystemClock
from scalpdesk.web.feed import DeskFeed

OPERATOR = {"authorization": "Bearer operator-token"}
VIEWER = {"authorization": "Bearer viewer-token"}
LONGEST_SECONDS = 300.0


@pytest.fixture
def runs_dir(ended_runs, tmp_path):
    """A copy of the ended run in a folder of its own."""
    folder = tmp_path / "runs"
    shutil.copytree(ended_runs[0], folder, ignore=shutil.ignore_patterns("reruns", "*.sqlite*"))
    return folder


@pytest.fixture
def api(client_of, runs_dir):
    client = client_of(DeskFeed(runs_dir, None, SystemClock()))
    yield client
    client.app.state.reruns.stop()


@pytest.fixture
def path(runs_dir):
    (run_dir,) = (each for each in runs_dir.iterdir() if each.is_dir())
    return f"/api/runs/{run_dir.name}/reruns"


def wait_until(api, path, is_enough):
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        page = api.get(path, headers=VIEWER).json()
        if is_enough(page):
            return page
        time.sleep(0.1)
    raise AssertionError(page)


@pytest.mark.second
def test_a_run_is_made_again_in_a_process_of_its_own_and_stands_in_its_tear_sheet(api, path, ended_runs):
    before = api.get(path, headers=VIEWER).json()
    assert (before["state"], before["can"], before["models"]) == (
        "none",
        {"fill_models": True, "paths": True},
        None,
    )
    begun = api.post(path, json={"fill_models": True, "paths": 2}, headers=OPERATOR)
    assert (begun.status_code, begun.json()["state"]) == (200, "running")
    assert api.post(path, json={}, headers=OPERATOR).status_code == 409
    page = wait_until(api, path, lambda page: page["state"] != "running")
    assert (page["state"], page["done"], page["total"], page["problem"]) == ("ended", 4, 4, None)
    own = [row for row in page["models"]["rows"] if row["own"]]
    assert [row["name"] for row in page["models"]["rows"]] == ["cross", "mid", "queue", "adverse"]
    assert own[0]["pnl"] == ended_runs[1]["nav_change"]
    assert len(page["paths"]["others"]) == 1
    sheet = api.get(path.replace("reruns", "sheet"), headers=VIEWER).text
    assert re.search(r'"models": \{"note"', sheet)


@pytest.mark.second
def test_what_was_made_before_it_is_cancelled_stays(api, path):
    api.post(path, json={"fill_models": False, "paths": 1_000}, headers=OPERATOR)
    wait_until(api, path, lambda page: page["done"] > 0)
    page = api.post(f"{path}/cancel", json={}, headers=OPERATOR).json()
    assert (page["state"], page["total"]) == ("cancelled", 999)
    assert 0 < page["done"] < 999
    assert len(page["paths"]["others"]) == page["done"]
    assert api.get(path, headers=VIEWER).json() == page


def test_only_an_operator_starts_and_cancels(api, path):
    for each in (path, f"{path}/cancel"):
        assert api.post(each, json={}, headers=VIEWER).status_code == 403
    assert api.get(path, headers=VIEWER).json()["state"] == "none"


@pytest.mark.parametrize(
    ("body", "status"), [({"fill_models": False, "paths": 0}, 422), ({"paths": 1_001}, 422)]
)
def test_a_request_for_nothing_or_too_much_is_refused(api, path, body, status):
    assert api.post(path, json=body, headers=OPERATOR).status_code == status


def test_a_run_that_goes_on_is_not_made_again(client_of, held_runs):
    api = client_of(DeskFeed(held_runs, None, SystemClock()))
    (run_dir,) = (each for each in held_runs.iterdir() if each.is_dir() and "gamma" in each.name)
    path = f"/api/runs/{run_dir.name}/reruns"
    assert api.get(path, headers=VIEWER).json()["refusal"]
    assert api.post(path, json={}, headers=OPERATOR).status_code == 422
