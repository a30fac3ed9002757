import pytest

from scalpdesk.config.history import CHANGES, as_of_today, path_of_today, to_earlier
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError

CONSTANTS = [each for each in CHANGES if each.path is None and not each.runs_keep_it]
MOVED = [each for each in CHANGES if each.path and each.former not in (None, each.path)]


@pytest.fixture
def load(tmp_path):
    """Return what loads settings of the gamma scalper from a file's text and other sources."""

    def load(toml="", **more):
        (tmp_path / "scalpdesk.toml").write_text(toml)
        return load_settings("gamma-scalper", cwd=tmp_path, **more)

    return load


@pytest.mark.rows("change", CONSTANTS)
def test_a_former_key_is_taken_while_it_equals_its_constant_and_no_hash_changes(change):
    former, usual = change.former, change.before
    strategy = former.split(".")[1] if former.startswith("strategies.") else "gamma-scalper"
    text = "null" if usual is None else str(usual).lower()
    for name in {former, former.removeprefix(f"strategies.{strategy}.")}:
        taken = load_settings(strategy, overrides=(f"{name}={text}",))
        assert taken.config_hash == load_settings(strategy).config_hash
        with pytest.raises(ConfigError, match="constant now") as refused:
            load_settings(strategy, overrides=(f"{name}=0.75",))
        assert refused.value.where.endswith(f"{former.rpartition('.')[2]} (--set)")
        assert refused.value.fix


def test_a_former_key_of_any_source_and_of_a_stored_run_is_taken(load):
    values = load("[strategies.gamma-scalper]\nentry.passes = 3\n[risk]\nreject_window_seconds = 300\n")
    variable = load(environ={"SCALPDESK_STRATEGIES__GAMMA_SCALPER__ENTRY__PASSES": "3"})
    assert values.config_hash == variable.config_hash == load().config_hash
    scalper = {"gamma-scalper@QQQ": {"entry": {"passes": 3}}}
    stored = {"risk": {"reject_window_seconds": 300.0}, "strategies": scalper}
    assert as_of_today(stored) == {"strategies": {"gamma-scalper@QQQ": {}}}
    with pytest.raises(ConfigError, match="constant now"):
        as_of_today({"strategies": {"zero-dte": {"watch": {"min_observations": 5}}}})


@pytest.mark.rows("change", MOVED)
def test_a_key_that_moved_goes_there_and_back(load, change):
    former, now = tuple(change.former.split(".")), tuple(change.path.split("."))
    assert path_of_today(former) == now
    assert path_of_today(now) == now
    tree = {former[0]: {former[1]: change.before}}
    assert as_of_today(tree) == {former[0]: {}, now[0]: {now[1]: {now[2]: change.before}}}
    back = as_of_today(tree)
    to_earlier(back)
    assert back[former[0]][former[1]] == change.before
    text = f"{change.former}={change.before}"
    assert (
        load(overrides=(text,)).config_hash == load(overrides=(f"{change.path}={change.before}",)).config_hash
    )


def test_every_path_of_the_table_is_a_setting_of_today():
    paths = {"strategies.gamma-scalper": set(), "strategies.zero-dte": set(), "desk": set()}
    for strategy in ("gamma-scalper", "zero-dte"):
        sources = load_settings(strategy).sources
        paths["desk"] |= set(sources)
    for change in CHANGES:
        if change.path is None or change.path.startswith("venues."):
            continue
        names = {change.path.replace("*", strategy) for strategy in ("gamma-scalper", "zero-dte")}
        assert names & paths["desk"], change


def test_a_default_that_has_changed_keeps_the_hash_of_an_earlier_version_and_a_value_does_not(load):
    """With today's default set by hand it is the same configuration; with another one it is another."""
    (change,) = (each for each in CHANGES if each.path == each.former)
    key, former, today = change.path, change.before, load().config.risk.max_vega_fraction
    now, before = load().hashes
    assert now == load().config_hash == load(overrides=[f"{key}={today}"]).config_hash
    kept = load(overrides=[f"{key}={former}"])
    assert kept.config_hash == before != now  # who had set the former default goes on too
    assert now not in kept.hashes
    assert not {now, before} & set(load(overrides=[f"{key}={former / 2}"]).hashes)
