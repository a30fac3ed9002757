import json
import os

import pytest

from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEDGING_ASSET", raising=False)
    monkeypatch.delenv("STRATEGY_MODE", raising=False)


def test_show_gives_each_value_with_its_source(tmp_path, document_of, monkeypatch):
    (tmp_path / "scalpdesk.toml").write_text("[simulation]\nlatency_ms = 5\n")
    monkeypatch.setenv("HEDGING_DELTA_THRESHOLD", "1.7")
    document = document_of("config", "show", "--set", "straddles=3")
    rows = {row["key"]: (row["value"], row["source"]) for row in document["values"]}
    assert rows["simulation.latency_ms"] == (5.0, "scalpdesk.toml:2")
    assert rows["strategies.gamma-scalper.hedge.threshold_shares"] == (
        1.7,
        "environment HEDGING_DELTA_THRESHOLD",
    )
    assert rows["strategies.gamma-scalper.straddles"] == (3, "--set")
    assert rows["simulation.seed"] == (1, "default")
    assert len(document["config_hash"]) == 64


def test_show_changed_leaves_the_defaults_out(capsys):
    assert main(["config", "show", "--changed", "--json", "--set", "simulation.seed=4"]) == 0
    assert [row["key"] for row in json.loads(capsys.readouterr().out)["values"]] == ["simulation.seed"]


def test_without_a_name_the_strategy_is_the_one_that_run_would_take(told_by, document_of, monkeypatch):
    """They went by the gamma scalper: what ``run`` takes was unknown to them, what it refuses was fine."""
    monkeypatch.setenv("STRATEGY_MODE", "st0cka")
    monkeypatch.setenv("HEARTBEAT_TRIGGER_SECONDS", "3")
    shown = document_of("config", "show", "--changed", "--set", "use_mean_reversion=true")
    values = {row["key"]: row["value"] for row in shown["values"]}
    assert shown["strategy"] == "st0cka"
    assert values["strategies.st0cka.heartbeat_seconds"] == 3.0
    assert values["strategies.st0cka.use_mean_reversion"] is True
    settings = load_settings("st0cka", environ=os.environ, overrides=["use_mean_reversion=true"])
    assert shown["config_hash"] == settings.config_hash
    assert "position_size_max" in told_by("config", "check", "--set", "position_size_min=4", code=2).err
    assert document_of("config", "show", "gamma-scalper")["strategy"] == "gamma-scalper"


def test_show_never_shows_a_key(capsys, told_by, monkeypatch):
    monkeypatch.setenv("TRADING_API_SECRET", "very-visible")
    for words in (["config", "show"], ["config", "show", "--json"], ["config", "check", "--json"]):
        assert main(words) == 0
        told = capsys.readouterr()
        assert "very-visible" not in told.out + told.err
    assert "***" in told_by("config", "show", "--changed").out


def test_check_says_ok(told_by):
    assert "defaults" in told_by("config", "check").out


def test_several_wrong_keys_come_as_one_document(tmp_path, document_of):
    (tmp_path / "scalpdesk.toml").write_text("[simulation]\nsed = 1\nlatency_ms = 'x'\n")
    error = document_of("config", "check", code=2)["error"]
    assert [e["where"] for e in error["errors"]] == [
        "simulation.sed (scalpdesk.toml:2)",
        "simulation.latency_ms (scalpdesk.toml:3)",
    ]


def test_check_asks_the_strategy_itself(told_by):
    assert main(["config", "check", "--set", "hedge.band=zakamouline"]) == 0
    told = told_by("config", "check", "--set", "hedge.band=zakamuline", code=2).err
    assert "where: strategies.gamma-scalper.hedge.band (--set)" in told
    assert "nearest: zakamouline" in told
    assert "nearest: cross" in told_by("config", "check", "--set", "simulation.fill_model=cros", code=2).err
    words = ["config", "check", "--set", "hedge.band=zakamouline", "--set", "hedge.band_settings.risk=1"]
    assert "risk" in told_by(*words, code=2).err


TOO_MUCH = {
    "large.toml": b"# " + b"x" * 1_000_000,
    "large.yaml": b"a: 1\n" * 400_000,
    "lists.toml": b"a = " + b"[" * 50_000,
    "lists.yaml": b"a: " + b"[" * 300 + b"]" * 300,
    "sections.yaml": b"\n".join(b" " * depth + b"a:" for depth in range(300)),
    "keys.toml": b".".join([b"a"] * 3_000) + b" = 1",
    "tables.toml": b"a = " + b"{a = " * 400 + b"1" + b"}" * 400,
    "aliases.yaml": b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + b"".join(
        name + b": &" + name + b" [" + b", ".join([b"*" + before] * 10) + b"]\n"
        for before, name in zip(b"a b c d e f".split(), b"b c d e f g".split(), strict=True)
    ),
    "itself.yaml": b"a: &a [*a]\n",
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_file_that_is_too_large_or_too_deep_is_refused_by_name(name, tmp_path, document_of):
    (tmp_path / name).write_bytes(TOO_MUCH[name])
    error = document_of("config", "check", "--config", name, code=2)["error"]
    assert error["what"].startswith("the configuration file ")
    assert "larger than 1,000,000 bytes" in error["what"] or "16 sections deep" in error["what"]
    assert error["where"] == name
