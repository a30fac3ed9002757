import json
import pickle
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalpdesk.config import settings
from scalpdesk.config.schema import ManyConfigError, Schema, Secret
from scalpdesk.config.settings import load_settings
from scalpdesk.config.sources import LEGACY_NAMES, read_dotenv
from scalpdesk.core.errors import ArgumentError, ConfigError, nearest_name
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.strategies.toolkit.exits import PremiumExits


class Hedge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    threshold_shares: float = 2.0
    band: Literal["fixed", "zakamouline"] = "fixed"
    settings: dict[str, float | str] = {}


class Risk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stop: int = 1


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    min_expiration_days: int = 30
    max_expiration_days: int = 90
    expiries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.min_expiration_days > self.max_expiration_days:
            raise ArgumentError(
                "the window is empty", where="selection.min_expiration_days", value=self.min_expiration_days
            )


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    underlying: str = "SPY"
    straddles: int = 1
    stop_frac: float | None = 0.3
    hedge: Hedge = Hedge()
    risk: Risk = Risk()
    selection: Selection = Selection()


def _config_of(name: str) -> type[Config]:
    if name != "gamma-scalper":
        raise ConfigError(
            "unknown strategy", where="strategy", value=name, nearest=nearest_name(name, ["gamma-scalper"])
        )
    return Config


@pytest.fixture(autouse=True)
def _strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_strategy_config_type", _config_of)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    def load(toml: str = "", strategy: str | None = "gamma-scalper", **more: Any) -> Any:
        if toml:
            (tmp_path / "scalpdesk.toml").write_text(toml)
        return load_settings(strategy, cwd=tmp_path, **more)

    return load


def test_without_sources_every_value_is_the_default(load):
    loaded = load()
    assert msgspec.structs.replace(loaded.config, strategies={}) == settings.DeskConfig()
    assert loaded.strategy_config == Config()
    assert set(loaded.sources.values()) == {"default"}
    assert "strategies.gamma-scalper.hedge.threshold_shares" in loaded.sources


def test_later_sources_win_and_keep_their_place(load, tmp_path):
    toml = "[simulation]\nlatency_ms = 1\nseed = 2\nstarting_cash = 5\n"
    toml += "[strategies.gamma-scalper]\nstraddles = 2\n"
    (tmp_path / ".env").write_text("SCALPDESK_SIMULATION__LATENCY_MS=2\nSCALPDESK_SIMULATION__SEED=3\n")
    loaded = load(
        toml,
        environ={"SCALPDESK_SIMULATION__SEED": "4", "SCALPDESK_STRATEGIES__GAMMA_SCALPER__STRADDLES": "5"},
        overrides=["straddles=6"],
    )
    assert loaded.config.simulation.starting_cash == Decimal(5)
    assert loaded.config.simulation.latency_ms == 2.0
    assert loaded.config.simulation.seed == 4
    assert loaded.strategy_config.straddles == 6
    assert loaded.sources["simulation.starting_cash"] == "scalpdesk.toml:4"
    assert loaded.sources["simulation.latency_ms"] == ".env SCALPDESK_SIMULATION__LATENCY_MS"
    assert loaded.sources["simulation.seed"] == "environment SCALPDESK_SIMULATION__SEED"
    assert loaded.sources["strategies.gamma-scalper.straddles"] == "--set"


def test_environment_beats_the_file(load):
    loaded = load("[simulation]\nseed = 2\n", environ={"SCALPDESK_SIMULATION__SEED": "4"})
    assert loaded.config.simulation.seed == 4


def test_names_of_earlier_programs_are_read(load, tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text('HEDGING_ASSET="QQQ"\nIS_PAPER_TRADING="true"\nTRADING_API_KEY="PK123"\n')
    dotenv.chmod(0o600)
    loaded = load(environ={"HEDGING_DELTA_THRESHOLD": "1.7", "MIN_EXPIRATION_DAYS": "20", "HOME": "/x"})
    assert loaded.strategy_config.underlying == "QQQ"
    assert loaded.strategy_config.hedge.threshold_shares == 1.7
    assert loaded.strategy_config.selection.min_expiration_days == 20
    assert loaded.config.desk.paper is True
    assert loaded.config.credentials.trading_api_key.reveal() == "PK123"
    assert loaded.sources["strategies.gamma-scalper.underlying"] == ".env HEDGING_ASSET"


def test_dotenv_never_beats_the_environment(load, tmp_path):
    (tmp_path / ".env").write_text("HEDGING_ASSET=QQQ\n")
    assert load(environ={"HEDGING_ASSET": "IWM"}).strategy_config.underlying == "IWM"


@pytest.mark.rows("mode", range(0o600, 0o700))
@pytest.mark.rows(
    "name", ["TRADING_API_KEY", "ST0CKASECRET", "SCALPDESK_CREDENTIALS__TRADING_API_SECRET", "HEDGING_ASSET"]
)
def test_keys_in_a_dotenv_that_others_may_read_or_write_are_refused(tmp_path, name, mode):
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{name}=QQQ\n")
    dotenv.chmod(mode)
    if name == "HEDGING_ASSET" or mode == 0o600:
        assert read_dotenv(dotenv) == {name: "QQQ"}
        return
    with pytest.raises(ConfigError, match="can be read or written by others") as refused:
        read_dotenv(dotenv)
    assert refused.value.fix == "chmod 600 .env"
    assert "QQQ" not in refused.value.render()


def test_a_slip_in_dotenv_is_named(load, tmp_path):
    (tmp_path / ".env").write_text("HEDGING_DELTA_TRESHOLD=3\n")
    with pytest.raises(ConfigError) as caught:
        load()
    assert caught.value.nearest == "HEDGING_DELTA_THRESHOLD"


def test_the_short_name_of_the_catalogue(load):
    assert load(environ={"SCALPDESK_CATALOG": "/data"}).config.data.catalog == "/data"


def test_unrelated_names_in_dotenv_pass(load, tmp_path):
    (tmp_path / ".env").write_text("DATABASE_URL=x\nTRADING_DESK=y\n")
    assert load().strategy_config == Config()


@pytest.mark.rows(
    ("toml", "where", "nearest"),
    [
        (
            "[simulation]\nlatency = 1\n",
            "simulation.latency (scalpdesk.toml:2)",
            "simulation.latency_ms",
        ),
        ("[simulaton]\nseed = 1\n", "simulaton (scalpdesk.toml:1)", "simulation"),
        (
            "[strategies.gamma-scalper]\nhedge.band = 'fixed'\n\nhedge.treshold_shares = 1\n",
            "strategies.gamma-scalper.hedge.treshold_shares (scalpdesk.toml:4)",
            "strategies.gamma-scalper.hedge.threshold_shares",
        ),
        (
            "[strategies.gamma-scalper]\nhedge = { bnd = 'fixed' }\n",
            "strategies.gamma-scalper.hedge.bnd (scalpdesk.toml:2)",
            "strategies.gamma-scalper.hedge.band",
        ),
        ("seed = 1\n", "seed (scalpdesk.toml:1)", "simulation.seed"),
        ("[strategies.gama-scalper]\nx = 1\n", "strategies.gama-scalper (scalpdesk.toml:1)", "gamma-scalper"),
    ],
)
def test_unknown_keys_name_their_line_and_the_nearest(load, toml, where, nearest):
    with pytest.raises(ConfigError) as caught:
        load(toml)
    assert caught.value.where == where
    assert caught.value.nearest == nearest
    assert caught.value.fix is not None or "strategies" in where


def test_unknown_keys_of_overrides_name_the_nearest(load):
    with pytest.raises(ConfigError) as caught:
        load(overrides=["hedge.treshold_shares=1"])
    assert caught.value.nearest == "hedge.threshold_shares"
    assert "--set" in caught.value.where
    with pytest.raises(ConfigError) as caught:
        load(overrides=["simulation.latencyms=1"])
    assert caught.value.nearest == "simulation.latency_ms"
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        load(overrides=["latency"])


@pytest.mark.rows(
    ("key", "nearest"),
    [
        ("simulation.margin", None),  # not dashboard.origins
        ("simulation.margin_model", None),  # not simulation.fill_model
        ("entry.times", None),
        ("data.symbols", None),
        ("simulation.cash", "simulation.starting_cash"),
        ("risk.max_loss", "risk.max_daily_loss"),
        ("hedge.threshold", "hedge.threshold_shares"),
        ("hedg.band", "hedge"),
        ("simulaton.seed", "simulation"),
        ("threshold_share", "hedge.threshold_shares"),  # no section was meant: any may hold it
        ("foo", None),
    ],
)
def test_an_unknown_key_is_answered_from_the_section_that_was_meant(load, key, nearest):
    with pytest.raises(ConfigError) as caught:
        load(overrides=[f"{key}=1"])
    assert caught.value.nearest == nearest
    assert caught.value.fix is not None
    assert nearest is not None or "known here" in caught.value.fix


@pytest.mark.rows(
    ("override", "wrong", "nearest", "typed"),
    [
        ("risk.allowed_order_types=markt", "markt", "market", "market,limit"),
        ("risk.allowed_order_types=limit, markt", "markt", "market", "market,limit"),
        ("alerts.telegram_operators=12,me", "me", None, "1,1"),
        ("simulation.positions=5", "5", None, "simulation.positions.NAME"),
    ],
)
def test_a_value_of_a_list_or_table_is_refused_with_what_to_type(load, override, wrong, nearest, typed):
    with pytest.raises(ConfigError) as caught:
        load(overrides=[override])
    assert (caught.value.value, caught.value.nearest) == (wrong, nearest)
    assert typed in str(caught.value.fix)
    key, _, _ = override.partition("=")
    if "NAME" not in typed:
        load(overrides=[f"{key}={typed}"])  # what the refusal tells to type is taken


def test_a_wrong_item_of_a_file_is_answered_in_the_file_s_own_writing(load):
    with pytest.raises(ConfigError) as caught:
        load("[risk]\nallowed_order_types = ['limit', 'stopp']\n")
    assert (caught.value.value, caught.value.nearest) == ("stopp", "stop")
    assert '["market", "limit"]' in str(caught.value.fix)


def test_unknown_environment_keys_are_refused(load):
    with pytest.raises(ConfigError) as caught:
        load(environ={"SCALPDESK_SIMULATION__LATENCYMS": "1"})
    assert caught.value.nearest == "simulation.latency_ms"
    with pytest.raises(ConfigError):
        load(environ={"SCALPDESK_SIMULATION_SEED": "1"})


def test_all_wrong_keys_are_shown_at_once(load):
    with pytest.raises(ManyConfigError) as caught:
        load("[simulation]\nlatency = 1\nseed = 'x'\n", overrides=["nonsense=1"])
    assert len(caught.value.errors) == 3
    assert caught.value.exit_code == 2
    shown = caught.value.render()
    assert "scalpdesk.toml:2" in shown
    assert "scalpdesk.toml:3" in shown
    assert len(caught.value.as_dict()["errors"]) == 3


@pytest.mark.rows(
    ("toml", "what", "where"),
    [
        ("[simulation]\nlatency_ms = 'fast'\n", "takes a number", "simulation.latency_ms (scalpdesk.toml:2)"),
        ("[simulation]\nlatency_ms = -1\n", ">= 0", "simulation.latency_ms (scalpdesk.toml:2)"),
        ("[simulation]\nseed = '1'\n", "takes a whole number", "simulation.seed (scalpdesk.toml:2)"),
        ("[desk]\npaper = 1\n", "takes true or false", "desk.paper (scalpdesk.toml:2)"),
        ("[desk]\nruns_dir = 1\n", "takes text", "desk.runs_dir (scalpdesk.toml:2)"),
        ("simulation = 3\n", "is a section", "simulation (scalpdesk.toml:1)"),
    ],
)
def test_wrong_types_say_what_is_expected(load, toml, what, where):
    with pytest.raises(ConfigError) as caught:
        load(toml)
    assert what in caught.value.what
    assert caught.value.where == where


def test_a_wrong_choice_names_the_nearest(load):
    with pytest.raises(ConfigError) as caught:
        load("[strategies.gamma-scalper.hedge]\nband = 'zakamuline'\n")
    assert caught.value.nearest == "zakamouline"
    assert "fixed" in caught.value.what


def test_values_that_do_not_fit_together_name_the_key(load):
    with pytest.raises(ConfigError) as caught:
        load("[strategies.gamma-scalper.selection]\nmin_expiration_days = 100\n")
    assert caught.value.what == "the window is empty"
    assert caught.value.where == "strategies.gamma-scalper.selection.min_expiration_days (scalpdesk.toml:2)"


def test_overrides_are_read_as_the_type_of_their_key(load):
    loaded = load(
        overrides=[
            "stop_frac=none",
            "selection.expiries=2018-03-16, 2018-04-20",
            "simulation.positions.SPY=-3",
        ]
    )
    assert loaded.strategy_config.stop_frac is None
    assert loaded.strategy_config.selection.expiries == ("2018-03-16", "2018-04-20")
    assert loaded.config.simulation.positions == {"SPY": -3}


def test_empty_sections_change_nothing_and_unknown_ones_are_refused(load):
    toml = "[simulation]\n[strategies.gamma-scalper]\n[strategies.gamma-scalper.hedge]\n"
    assert load(toml).config_hash == load("[desk]\n").config_hash
    with pytest.raises(ConfigError) as caught:
        load("[simulaton]\n")
    assert caught.value.where == "simulaton (scalpdesk.toml:1)"


def test_text_that_reads_as_a_number_is_one_where_both_may_stand(load):
    loaded = load(overrides=["hedge.settings.risk_aversion=2.5", "hedge.settings.rehedge_to=edge"])
    assert loaded.strategy_config.hedge.settings == {"risk_aversion": 2.5, "rehedge_to": "edge"}


def test_an_override_is_the_strategys_own_where_it_knows_the_key_and_the_desks_otherwise(load):
    loaded = load(overrides=["risk.stop=4", "risk.max_live_orders=3", "strategies.gamma-scalper.straddles=2"])
    assert loaded.strategy_config.risk.stop == 4
    assert loaded.config.risk.max_live_orders == 3
    assert loaded.strategy_config.straddles == 2


def test_numbers_must_be_finite(load):
    for text in ("inf", "nan"):
        with pytest.raises(ConfigError):
            load(f"[rates]\nflat = {text}\n")


@pytest.mark.rows("text", ["inf", "nan", "-Infinity"])
def test_exact_amounts_must_be_finite(load, text):
    with pytest.raises(ConfigError, match="finite number") as refused:
        load(overrides=[f"simulation.starting_cash={text}"])
    assert refused.value.where == "simulation.starting_cash (--set)"


def test_a_late_refusal_is_given_its_key_and_line(load):
    loaded = load("[strategies.gamma-scalper]\nhedge.band = 'fixed'\n")
    late = loaded.located(ConfigError("no", where="hedge.band.threshold", value=1, nearest="a", fix="b"))
    assert late.where == "strategies.gamma-scalper.hedge.band.threshold (scalpdesk.toml:2)"
    assert (late.value, late.nearest, late.fix) == (1, "a", "b")
    assert loaded.located(ConfigError("no", where="simulation.seed")).where == "simulation.seed (default)"
    assert loaded.located(ConfigError("no", where="nowhere")).where == "nowhere"
    assert loaded.located(ConfigError("no")).where is None


def test_invalid_toml_names_its_line(load):
    with pytest.raises(ConfigError) as caught:
        load("[simulation]\nseed = \n")
    assert caught.value.where == "scalpdesk.toml:2"
    assert caught.value.value == "seed ="


@pytest.mark.rows("name", ["scalpdesk.toml", "params.yaml", ".env"])
def test_a_byte_order_mark_and_lines_of_windows_change_nothing(tmp_path, name):
    """Editors on Windows save so; TOML was refused as an invalid statement in its first line."""
    text = {
        "scalpdesk.toml": "[simulation]\r\nseed = 9\r\n",
        "params.yaml": "simulation:\r\n  seed: 9\r\n",
        ".env": "SCALPDESK_SIMULATION__SEED=9\r\n",
    }[name]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_settings(cwd=tmp_path).config.simulation.seed == 9


def test_yaml_is_accepted_with_its_lines(tmp_path):
    (tmp_path / "params.yaml").write_text("simulation:\n  seed: 9\n  latenzy_ms: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(cwd=tmp_path)
    assert caught.value.where == "simulation.latenzy_ms (params.yaml:3)"
    (tmp_path / "params.yaml").write_text("simulation:\n  seed: 9\n")
    loaded = load_settings(cwd=tmp_path)
    assert loaded.config.simulation.seed == 9
    assert loaded.sources["simulation.seed"] == "params.yaml:2"
    (tmp_path / "params.yaml").write_text("simulation:\n  seed: [9\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_settings(cwd=tmp_path)


@pytest.mark.parametrize("text", ["14:00", "7"])
def test_a_text_that_yaml_reads_as_a_number_is_to_be_quoted(tmp_path, text):
    (tmp_path / "params.yaml").write_text(f"desk:\n  runs_dir: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(cwd=tmp_path)
    assert caught.value.fix == 'set desk.runs_dir to text, in "quotes"'
    (tmp_path / "params.yaml").write_text(f"desk:\n  runs_dir: '{text}'\n")
    assert load_settings(cwd=tmp_path).config.desk.runs_dir == text


def test_a_missing_config_file_is_named_with_its_neighbour(load, tmp_path):
    (tmp_path / "desk.toml").write_text("")
    with pytest.raises(ConfigError) as caught:
        load(config_file="dsk.toml")
    assert caught.value.nearest == "desk.toml"


def test_an_unknown_strategy_is_refused(load):
    with pytest.raises(ConfigError) as caught:
        load(strategy="gamma-scalpr")
    assert caught.value.nearest == "gamma-scalper"


def test_secrets_are_never_shown(load):
    loaded = load(environ={"TRADING_API_KEY": "PK-visible", "TRADING_API_SECRET": "shh-visible"})
    shown = json.dumps(loaded.effective()) + repr(loaded) + str(loaded.config) + repr(loaded.sources)
    assert "visible" not in shown
    assert loaded.effective()["credentials"]["trading_api_key"] == "***"
    with pytest.raises(TypeError):
        pickle.dumps(Secret("shh"))


def test_a_wrong_secret_is_not_shown_in_its_error(load):
    with pytest.raises(ConfigError) as caught:
        load("[credentials]\ntrading_api_key = 12345678\n")
    assert "12345678" not in caught.value.render()


def test_the_hash_follows_the_values_not_their_sources(load, tmp_path):
    plain = load().config_hash
    assert load(overrides=["straddles=1"]).config_hash == plain
    assert load(overrides=["straddles=2"]).config_hash != plain
    assert load(environ={"TRADING_API_KEY": "x"}).config_hash == plain


@pytest.mark.rows(
    ("strategy", "section", "first"),
    [
        ("gamma-scalper", "exits", {"stop_fraction", "arm_fraction", "giveback_fraction"}),
        ("zero-dte", "exit", set()),
    ],
)
def test_a_stop_that_is_added_to_the_one_list_serves_and_leaves_the_hash(strategy, section, first):
    """A run of an earlier version has the hash of one in which what came later stands at its default."""
    shared, config = set(PremiumExits.__struct_fields__) - {"rules"}, find_strategy(strategy).config
    later = {key for (at, key), _ in settings._later_exits(config) if at == section}
    assert later == shared - first
    (kind,) = (each.type for each in msgspec.structs.fields(config) if each.name == section)
    assert shared <= set(kind.__struct_fields__)


def test_every_accepted_name_sets_a_key_that_is_there(monkeypatch, tmp_path):
    monkeypatch.undo()
    values = {
        "IS_PAPER_TRADING": "true",
        "INITIALIZATION_MODE": "resume",
        "DEFAULT_RISK_FREE_RATE": "0.07",
        "MAX_EXPIRATION_DAYS": "99",
        "STRATEGY_MODE": "st0cka",
        "USE_VOLATILITY_SIZING": "false",
        "USE_MEAN_REVERSION": "true",
        "MIN_EXPIRATION_DAYS": "31",
    }
    for name in LEGACY_NAMES:
        loaded = load_settings("gamma-scalper", environ={name: values.get(name, "7")}, cwd=tmp_path)
        assert loaded.sources[".".join(LEGACY_NAMES[name])] == f"environment {name}"


KEYS = sorted(
    ".".join(path)
    for path in Schema(settings.DeskConfig, _config_of, None, "gamma-scalper").all_paths()
    if len(path) > 1
)


@given(st.data())
def test_a_key_with_one_letter_wrong_is_always_refused_and_its_neighbour_named(data):
    key = data.draw(st.sampled_from(KEYS))
    section, _, name = key.rpartition(".")
    at = data.draw(st.integers(0, len(name) - 1))
    wrong = name[:at] + data.draw(st.sampled_from("qz9")) + name[at + 1 :]
    assume(f"{section}.{wrong}" not in KEYS)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(settings, "_strategy_config_type", _config_of)
        (Path(folder) / "scalpdesk.toml").write_text(f"# a desk\n[{section}]\n{wrong} = 1\n")
        with pytest.raises(ConfigError) as caught:
            load_settings("gamma-scalper", cwd=Path(folder))
    assert caught.value.where == f"{section}.{wrong} (scalpdesk.toml:3)"
    assert caught.value.value == wrong
    if len(name) > 4:
        assert caught.value.nearest is not None
        assert caught.value.nearest.startswith(f"{section}.")


@given(st.sampled_from(KEYS), st.text("abc=.# \"'", max_size=12))
def test_no_override_is_taken_in_silence(key, text):
    """Whatever is handed in, it is either the value in force afterwards or a refusal."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(settings, "_strategy_config_type", _config_of)
        try:
            loaded = load_settings("gamma-scalper", overrides=[f"{key}={text}"], cwd=Path(folder))
        except ConfigError as refusal:
            loaded = None
            told = refusal.where
    assert told if loaded is None else loaded.sources[key] == "--set"


def _refusal(load: Callable[..., Any], **more: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(**more)
    return caught.value


@pytest.mark.rows(
    ("yaml", "where", "key"),
    [
        ("simulation:\n  seed: 9\n  latency_ms: 1\n  seed: 8\n", "params.yaml:4", "simulation.seed"),
        ("simulation:\n  seed: 9\nrisk: {}\nsimulation:\n  latency_ms: 1\n", "params.yaml:4", "simulation"),
        (
            "hedging_threshold: 2\nhedge threshold btc: 3\n",
            "params.yaml:2",
            "strategies.gamma-scalper.hedge.threshold_shares",
        ),
    ],
)
def test_a_key_that_stands_twice_in_yaml_is_refused_with_its_lines(load, tmp_path, yaml, where, key):
    (tmp_path / "params.yaml").write_text(yaml)
    refused = _refusal(load)
    assert (refused.where, refused.value) == (where, key)
    assert f"and {where.rpartition(':')[2]}" in refused.what


def test_a_name_that_stands_twice_in_dotenv_is_refused_with_its_lines(load, tmp_path):
    (tmp_path / ".env").write_text("HEDGING_ASSET=SPY\n\n# remark\nHEDGING_ASSET=QQQ\n")
    refused = _refusal(load)
    assert (refused.where, refused.value) == (".env:4", "HEDGING_ASSET")
    assert "lines 1 and 4" in refused.what


@pytest.mark.parametrize("line", ["THIS IS NOT ENV", "canary", 'X="canary', "export canary"])
def test_a_line_of_dotenv_that_sets_nothing_is_refused_without_its_text(load, tmp_path, line, caplog):
    (tmp_path / ".env").write_text(f"HEDGING_ASSET=SPY\n\n{line}\n")
    refused = _refusal(load)
    assert refused.where == ".env:3"
    assert "canary" not in refused.render()
    assert caplog.text == ""


def test_blank_lines_remarks_exports_and_values_over_lines_are_taken(tmp_path):
    path = tmp_path / ".env"
    path.write_text(
        '\ufeff# remark\n\n  export HEDGING_ASSET=SPY # remark\nA="one\ntwo"\r\n\r\nB=\nC=${A}\n\n'
    )
    assert read_dotenv(path) == {"HEDGING_ASSET": "SPY", "A": "one\ntwo", "B": "", "C": "one\ntwo"}


@pytest.mark.rows("name", ["scalpdesk.toml", "params.yaml", ".env"])
def test_what_bears_the_name_of_a_configuration_file_and_is_none_is_refused(load, tmp_path, name):
    path = tmp_path / name
    path.symlink_to(tmp_path / "gone")
    refused = _refusal(load)
    assert (refused.where, "a link to nothing" in refused.what) == (str(path), True)
    path.unlink()
    path.mkdir()
    assert "this is a folder" in _refusal(load).what
    assert "this is a folder" in _refusal(load, config_file=path).what if name != ".env" else True
    assert "a device or a pipe" in _refusal(load, config_file="/dev/null").what


@pytest.mark.parametrize("name", ["scalpdesk.toml", ".env"])
def test_a_configuration_file_that_cannot_be_read_or_is_not_utf8_is_named(load, tmp_path, name, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"# one\nTRADING_API_KEY=canary\xff\n")
    path.chmod(0o600)
    refused = _refusal(load)
    assert (refused.where, refused.fix) == (f"{name}:2", "save it as UTF-8")
    assert "canary" not in refused.render()

    def deny(_self: Path, *_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # root could read a file of any mode
    refused = _refusal(load)
    assert "cannot be read: Permission denied" in refused.what
    assert (refused.where, f"chmod 600 {name}" in str(refused.fix)) == (str(path), True)


@pytest.mark.parametrize("name", ["scalpdesk.toml", "params.yaml"])
def test_keys_in_a_configuration_file_that_others_may_read_are_refused(load, tmp_path, name):
    path = tmp_path / name
    sign = " =" if name.endswith("toml") else ":"
    head = "[credentials]" if name.endswith("toml") else "credentials:"
    path.write_text(f'{head}\n  trading_api_key{sign} "canary"\n  trading_api_secret{sign} "canary"\n')
    path.chmod(0o644)
    refused = _refusal(load)
    assert refused.where == f"{name}: credentials.trading_api_key, credentials.trading_api_secret"
    assert (refused.fix, "canary" in refused.render()) == (f"chmod 600 {name}", False)
    path.chmod(0o600)
    assert load().config.credentials.trading_api_key.reveal() == "canary"
    path.write_text(f'{head}\n  firebase_project_id{sign} "shown"\n')
    path.chmod(0o644)
    assert load().config.credentials.firebase_project_id == "shown"


def test_a_line_that_is_no_toml_does_not_show_a_key(load):
    refused = _refusal(load, toml="[credentials]\ntrading_api_key = canary\n")
    assert (refused.where, refused.value) == ("scalpdesk.toml:2", "trading_api_key")
    assert "canary" not in refused.render()


def test_a_strategy_mode_that_is_no_strategy_is_refused_with_its_source(load):
    refused = _refusal(load, environ={"STRATEGY_MODE": "st0ckb"})
    assert refused.where == "desk.strategy_mode (environment STRATEGY_MODE)"
    assert refused.value == "st0ckb"
    assert refused.nearest in {"st0cka", "st0ckg"}
    assert load(environ={"STRATEGY_MODE": "st0cka+gamma_scalper"}).config.desk.strategy_mode


def test_wrong_quiet_hours_and_a_wrong_zone_are_named_together_with_their_lines(load):
    refused = _refusal(load, toml='[alerts]\nquiet_hours = "22 to 7"\ntimezone = "America/NewYork"\n')
    assert isinstance(refused, ManyConfigError)
    assert [each.where for each in refused.errors] == [
        "alerts.quiet_hours (scalpdesk.toml:2)",
        "alerts.timezone (scalpdesk.toml:3)",
    ]


def test_the_page_behind_a_proxy_is_named_as_browsers_send_it(load):
    environ = {"SCALPDESK_DASHBOARD__ORIGINS": "https://desk.lan,https://Desk.lan:8443,http://[fd00::1]:81"}
    found = load(environ=environ | {"SCALPDESK_DASHBOARD__PROXIES": "127.0.0.1,fd00::/8"})
    assert found.config.dashboard.origins == tuple(environ.popitem()[1].split(","))
    assert found.config.dashboard.proxies == ("127.0.0.1", "fd00::/8")
    assert found.config_hash == load().config_hash  # an unfinished run goes on with it


@pytest.mark.rows(
    "origin",
    ["desk.lan", "https://", "https://desk.lan/", "https://desk.lan:443", "http://desk.lan:80", "ftp://desk.lan",
     "https://me@desk.lan", "https://desk.lan?x", "https://desk.lan:x", "https://*.lan/", "null", "https://[fd00"],
)  # fmt: skip
def test_what_no_browser_sends_as_an_origin_is_refused(load, origin):
    refused = _refusal(load, toml=f'[dashboard]\norigins = ["{origin}"]\n')
    assert (refused.where, refused.value) == ("dashboard.origins (scalpdesk.toml:2)", origin)


def test_a_proxy_is_an_address_or_a_network(load):
    refused = _refusal(load, toml='[dashboard]\nproxies = ["localhost"]\n')
    assert (refused.where, refused.value) == ("dashboard.proxies (scalpdesk.toml:2)", "localhost")


def test_a_symbol_with_a_dot_is_one_name(load):
    betas = load(overrides=("risk.betas.BRK.B=0.9", "risk.betas.QQQ=1.1")).config.risk.betas
    assert betas == {"BRK.B": 0.9, "QQQ": 1.1}
    assert load(environ={"SCALPDESK_RISK__BETAS__BRK.B": "0.8"}).config.risk.betas == {"BRK.B": 0.8}
