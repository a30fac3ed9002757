"""The list of runs: P&L and figures of the report, searched and sorted; a run picked for every page."""

import csv
import fcntl
import json
import os
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.clock import SystemClock
from scalpdesk.journal.log import LOCK_NAME
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.runs import RunOrder, runs_page

KEY = {"authorization": "Bearer viewer-token"}


@pytest.fixture
def both(ended_runs, held_runs, tmp_path):
    """A folder with a run that ended and one that was cut short; their ids."""
    names = {}
    for state, folder in (("ended", ended_runs[0]), ("cut", held_runs)):
        (source,) = (path for path in folder.iterdir() if path.is_dir())
        (tmp_path / source.name).mkdir()
        for path in source.iterdir():
            os.link(path, tmp_path / source.name / path.name)
        names[state] = source.name
    return tmp_path, names


def by_state(page):
    return {run["state"]: run for run in page["runs"]}


def test_a_run_that_ended_and_one_cut_short_are_listed_with_what_is_known_of_them(both, ended_runs):
    folder, names = both
    summary = ended_runs[1]
    listed = by_state(runs_page(folder, 10))
    ended, cut = listed["ended"], listed["cut short"]
    assert (ended["run_id"], cut["run_id"]) == (names["ended"], names["cut"])
    assert Decimal(ended["pnl"]) == Decimal(summary["pnl"]["total"])
    assert ended["sessions_traded"] == summary["performance"]["sessions_with_pnl"] == 1
    assert (ended["sharpe"], ended["drawdown"]) == (None, None)  # one session has neither
    assert Decimal(ended["drawdown_of_marks"]) > 0  # but it falls within itself
    assert cut["drawdown_of_marks"] is None
    assert ended["played"] == "2017-07-03 09:30 to 13:00"
    assert (cut["sessions_traded"], cut["drawdown"], cut["played"][:16]) == (None, None, "2018-02-05 09:30")
    assert cut["fills"] > 0


def test_every_run_is_reached_by_asking_for_more_and_their_number_is_true(both, client_of):
    folder, names = both
    client = client_of(DeskFeed(folder, None, SystemClock()))
    pages = [client.get(f"/api/runs?limit={limit}").json() for limit in (1, 2, 100_000)]
    assert [len(page["runs"]) for page in pages] == [1, 2, 2]
    assert {(page["found"], page["total"]) for page in pages} == {(2, 2)}
    assert {run["run_id"] for run in pages[1]["runs"]} == set(names.values())


def test_a_run_that_a_process_writes_is_running_and_counts_its_sessions_so_far(both):
    folder, names = both
    lock_path = folder / names["cut"] / LOCK_NAME
    lock_path.unlink(missing_ok=True)
    with lock_path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = by_state(runs_page(folder, 10))["running"]
    assert running["run_id"] == names["cut"]
    assert (running["sessions_traded"], running["cut"]) == (1, None)


def test_a_search_wants_every_word_and_an_order_puts_the_best_first(both, capsys):
    folder, names = both

    def found(search):
        page = runs_page(folder, 10, search=search)
        assert (page["found"], page["total"]) == (len(page["runs"]), 2)
        return {run["run_id"] for run in page["runs"]}

    assert found("GAMMA spy") == set(names.values())
    assert found("gamma 2017-07-03") == {names["ended"]}
    assert found("hedge.least_fraction=0.35") == found("cut short") == {names["cut"]}
    assert found("gamma nothing") == set()
    for search in ("gamma 2017-07-03", "gamma nothing", ""):
        capsys.readouterr()
        assert main(["runs", "--search", search, "--json", "--set", f"desk.runs_dir={folder}"]) == 0
        assert {row["run_id"] for row in json.loads(capsys.readouterr().out)["runs"]} == found(search)
    pnl = [run["pnl"].replace("−", "-") for run in runs_page(folder, 10, sort=RunOrder.PNL)["runs"]]
    assert len(pnl) == 2
    assert Decimal(pnl[0]) > Decimal(pnl[1])
    fills = [run["fills"] for run in runs_page(folder, 10, sort=RunOrder.FILLS)["runs"]]
    assert fills[0] > fills[1]
    assert runs_page(folder, 1)["found"] == 2


def test_a_run_picked_for_every_page_is_read_to_its_end_beside_the_followed_one(both, ended_runs, client_of):
    folder, names = both
    client = client_of(DeskFeed(folder, names["cut"], SystemClock()))
    client.app.state.feed.choose()
    picked = {"run": names["ended"]}
    while client.get("/api/state", params=picked, headers=KEY).json()["head"]["state"] == "reading":
        pass
    state = client.get("/api/state", params=picked, headers=KEY).json()
    assert state["series"]["run"] == names["ended"]
    assert state["fills"] == ended_runs[1]["fills"]
    parts = client.get("/api/performance", params=picked, headers=KEY).json()
    assert parts["pnl"]["total"] == ended_runs[1]["pnl"]["total"]
    assert len(client.get("/api/fills", params=picked, headers=KEY).json()["columns"]["t"]) == state["fills"]
    for path in ("positions", "greeks", "volatility", "picker", "position", "contracts", "cards", "desk"):
        assert client.get(f"/api/{path}", params=picked, headers=KEY).status_code == 200, path
        missing = client.get(f"/api/{path}", params={"run": "nothing"}, headers=KEY)
        assert missing.status_code == 404, path
    assert client.get("/api/diary", params=picked, headers=KEY).json()["runs"] == [names["ended"]]
    assert client.get("/api/diary", headers=KEY).json()["runs"] == [names["cut"]]
    assert client.get("/api/risk", params=picked, headers=KEY).json().keys() == {"empty"}
    assert client.get("/api/state", headers=KEY).json()["series"]["run"] == names["cut"]


def test_the_tear_sheet_of_a_run_is_served_under_the_policy_of_its_own_scripts(both, client_of):
    folder, names = both
    client = client_of(DeskFeed(folder, None, SystemClock()))
    for name in names.values():
        answer = client.get(f"/api/runs/{name}/sheet", headers=KEY)
        (policy,) = answer.headers.get_list("content-security-policy")
        own = policy.partition("; frame-ancestors")[0]
        assert own in answer.text
        assert "script-src 'sha256-" in own
        assert name in answer.text
        assert answer.headers["x-frame-options"] == "DENY"
    assert client.get("/api/runs/nothing/sheet", headers=KEY).status_code == 404


def test_a_note_is_kept_by_the_operator_alone_and_shown_with_its_run(both, client_of):
    folder, names = both
    client = client_of(DeskFeed(folder, None, SystemClock()))
    body = {"run": names["ended"], "tags": ["half-day"], "note": "little moved"}
    assert client.post("/api/notes", json=body, headers=KEY).status_code == 403
    assert client.post("/api/notes", json=body).status_code == 403
    operator = {"authorization": "Bearer operator-token"}
    assert client.post("/api/notes", json=body, headers=operator).status_code == 200
    day = body | {"day": "2017-07-03", "note": "early close"}
    assert client.post("/api/notes", json=day, headers=operator).status_code == 200
    assert client.post("/api/notes", json=body | {"day": "2017-07-04"}, headers=operator).status_code == 422
    assert client.post("/api/notes", json=body | {"run": "none"}, headers=operator).status_code == 404
    noted = client.get("/api/notes", params={"run": names["ended"]}, headers=KEY).json()["notes"]
    assert [(note["kind"], note["name"]) for note in noted] == [("run", ""), ("day", "2017-07-03")]
    (found,) = client.get("/api/runs", params={"search": "#half-day little"}, headers=KEY).json()["runs"]
    assert (found["tags"], found["note"]) == (["half-day"], "little moved")
    assert found["noted"] == ["day 2017-07-03: #half-day early close"]
    words = ["report", names["ended"], "--csv", str(folder / "tables"), "--set", f"desk.runs_dir={folder}"]
    assert main(words) == 0
    with (folder / "tables" / "notes.csv").open(newline="") as file:
        assert [(row["name"], row["note"]) for row in csv.DictReader(file)] == [
            ("2017-07-03", "early close"), ("", "little moved"),
        ]  # fmt: skip
