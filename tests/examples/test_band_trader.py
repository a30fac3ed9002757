"""The example runs from outside the product: found by its entry point, with nothing installed."""

import json
import os
import tomllib
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from scalpdesk_testing.kit.forked import Command

PACKAGE = Path(__file__).resolve().parents[2] / "examples" / "band-trader"
HALF_DAY = "2018-07-03"


@pytest.fixture
def installed(tmp_path):
    """The files of an installer: the package's metadata in a folder on the path."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path / "site"
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return [str(site), str(PACKAGE / "src")]


def surroundings(path):
    """The environment of an installed desk with these folders on the path."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SCALPDESK_", "PYTEST", "COV_"))}
    env["PYTHONPATH"] = os.pathsep.join([*path, env.get("PYTHONPATH", "")])
    return env


@pytest.fixture
def desk(tmp_path):
    """Run the command in an empty folder and a new process, with these folders on the path."""

    def run(path, *words):
        with TemporaryFile() as told, TemporaryFile() as log:
            command = Command(
                [*words, "--json"],
                stdout=told.fileno(),
                stderr=log.fileno(),
                environ=surroundings(path),
                folder=tmp_path,
                path=tuple(path),
            )
            code = command.wait()
            said, complaints = (stream.seek(0) or stream.read().decode() for stream in (told, log))
        assert "Traceback" not in complaints, complaints
        return code, json.loads(said)

    return run


def test_it_runs_in_backtest_demo_and_replay_with_the_same_decisions(installed, desk):
    code, backtest = desk(installed, "backtest", "band-trader", "--start", HALF_DAY, "--no-journal")
    assert code == 0
    assert backtest["strategy"] == "band-trader"
    assert backtest["orders"] == backtest["fills"] > 0
    assert backtest["end_positions"] == {}
    parts = {name: Decimal(amount) for name, amount in backtest["pnl"].items()}
    assert parts.pop("total") == sum(parts.values()) == Decimal(backtest["nav_change"])

    words = ("demo", "--strategy", "band-trader", "--session", HALF_DAY, "--speed", "max")
    code, demo = desk(installed, *words, "--set", "simulation.fees=none")
    assert (code, demo["fee_schedule"]) == (0, "none")
    assert demo["decision_hash"] == backtest["decision_hash"]

    code, verdict = desk(installed, "replay", "last", "--verify")
    assert code == 0
    assert verdict["identical"] is True


def test_its_settings_are_a_section_of_the_configuration(installed, desk, tmp_path):
    (tmp_path / "scalpdesk.toml").write_text("[strategies.band-trader]\nshares = 3\n")
    code, document = desk(installed, "config", "show", "band-trader")
    assert code == 0
    own = {one["key"].rpartition(".")[2]: one for one in document["values"] if "band-trader" in one["key"]}
    assert (own["shares"]["value"], own["shares"]["source"]) == (3, "scalpdesk.toml:2")
    assert (own["average_seconds"]["value"], own["average_seconds"]["source"]) == (900.0, "default")


@pytest.mark.parametrize(
    ("setting", "where", "nearest"),
    [
        ("bnd_usd=1", "strategies.band-trader.bnd_usd", "band_usd"),
        ("shares=0", "strategies.band-trader.shares", None),
    ],
)
def test_a_wrong_setting_of_its_own_is_refused_by_name(installed, desk, setting, where, nearest):
    code, document = desk(
        installed, "backtest", "band-trader", "--start", HALF_DAY, "--no-journal", "--set", setting
    )
    assert code == 2
    assert document["error"]["where"].startswith(where)
    assert document["error"].get("nearest") == nearest


def test_without_its_package_the_name_is_unknown(desk):
    code, document = desk([], "backtest", "band-trader", "--start", HALF_DAY, "--no-journal")
    assert code == 2
    assert document["error"]["value"] == "'band-trader'"
