"""What the settings of earlier builds were called, and worth: one table, read in both directions.

Forwards a file of a user and the journal of a run become settings of today; backwards the settings of today
get the hash that an earlier build gave to equal ones, so that its runs go on and its armings hold.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from scalpdesk.config.sources import KeyPath, dotted, leaves
from scalpdesk.core.errors import ConfigError


class SettingChange(NamedTuple):
    """A setting as it is, as it was, and what it was worth before.

    ``path``: Dotted; None of what is a constant now. ``*`` stands for any strategy.
    ``former``: Its name in earlier builds; None where they had none.
    ``before``: Its default in earlier builds; of what they had not, and of a constant, what they went by.
    ``fix``: What to do where another value than the constant was wanted.
    ``is_hashed``: Whether an earlier build's hash held it.
    ``runs_keep_it``: Whether a run of an earlier build goes on by the value that it had.
    """

    path: str | None
    former: str | None
    before: object
    fix: str = "take it out"
    is_hashed: bool = True
    runs_keep_it: bool = False


def _later(section: str, **before: object) -> tuple[SettingChange, ...]:
    """Return keys of a section that came later, each with what runs from before them went by."""
    return tuple(SettingChange(f"{section}.{key}", None, value) for key, value in before.items())


def _constants(section: str, *, is_hashed: bool = True, **before: object) -> tuple[SettingChange, ...]:
    """Return keys of a section that are constants now."""
    return tuple(
        SettingChange(None, f"{section}.{key}", value, is_hashed=is_hashed) for key, value in before.items()
    )


_GAMMA, _ZERO, _ANY = "strategies.gamma-scalper", "strategies.zero-dte", "strategies.*"
_ALERT_CONSTANTS: dict[str, Any] = {"again_after_seconds": 900.0, "min_observations": 60}
_PASSES: dict[str, Any] = {"passes": 3, "pass_seconds": 60.0}

CHANGES: tuple[SettingChange, ...] = (
    # moved
    SettingChange("venues.alpaca.stock_feed", "venue.stock_feed", "iex"),
    SettingChange("venues.alpaca.option_feed", "venue.option_feed", "indicative"),
    SettingChange("venues.alpaca.data_requests_per_minute", "venue.data_requests_per_minute", 200),
    # another default
    SettingChange("risk.max_vega_fraction", "risk.max_vega_fraction", 0.01),
    # later
    *_later("data", hedge_set=None, hours="regular", assumed_spread_bps=0.0, quality="clean"),
    *_later("risk", index_orders=False, least_sale_fraction=0.5),
    *_later("desk", at_expiry="close"),
    *_later("simulation", early_assignment="worth", after_close_move=0.0, options_level=None),
    *_later("simulation", day_trading_rule="intraday"),
    *_later(f"{_ANY}.structure", shape="straddle", side="long", right="call", body=None, wing=None),
    *_later(f"{_ANY}.structure", outer=None, ratio=2, far_days=28, after_event=None),
    *_later(f"{_ANY}.entry", again_minutes=0.0, max_entries=None, again_next_session=True),
    *_later(f"{_ANY}.recentre", roll_delta=None, roll_for_credit=False),
    *_later(f"{_GAMMA}.watch", delta_z=None, delta_multiple=3.0, max_gamma_shares_per_usd=None),
    *_later(f"{_GAMMA}.watch", max_vega_usd_per_point=None, max_theta_usd_per_day=None, report_hedges=False),
    *_later(f"{_ZERO}.entry", again_after_exit=False),
    *_later(f"{_ZERO}.recentre", roll_dte=None, gamma_fraction=None),
    # constants now
    *_constants("venue", poll_seconds=0.002),
    *_constants("risk", duplicate_window_seconds=0.5, reject_window_seconds=300.0),
    *_constants("risk", size_window_seconds=60.0, throttle_reserve_fraction=0.2),
    *_constants(f"{_GAMMA}.entry", level="swap", nowcast=True, **_PASSES),
    *_constants(f"{_GAMMA}.recentre", check_seconds=300.0),
    *_constants(f"{_GAMMA}.scale", hysteresis=0.5, **_PASSES),
    SettingChange(None, f"{_GAMMA}.size.k_stderr", 1.0, "set entry.k_stderr, which counts for both"),
    *_constants(f"{_ZERO}.watch", **_ALERT_CONSTANTS),
    # constants that had come later, or are in no hash
    *_constants("alerts", is_hashed=False, group_seconds=10.0, repeat_seconds=300.0, settle_seconds=15.0),
    *_constants(f"{_ZERO}.recentre", is_hashed=False, check_seconds=300.0),
    SettingChange(
        None,
        f"{_GAMMA}.entry.meta_model",
        None,
        "take it out: no model of entries won out of sample, and the gate alone decides",
        is_hashed=False,
    ),
    SettingChange(
        None,
        f"{_GAMMA}.entry.again_next_session",
        True,
        "take it out: what ends an entry is of its session, in every mode",
        is_hashed=False,
        runs_keep_it=True,
    ),
)
_RENAMED = tuple(each for each in CHANGES if each.path is not None and each.former not in (None, each.path))
_NEW_DEFAULTS = tuple(each for each in CHANGES if each.path is not None and each.path == each.former)


def _words(path: KeyPath | str) -> KeyPath:
    """Return the words of a path as names are compared: one account's ``name@symbol`` counts as the name."""
    parts = path.split(".") if isinstance(path, str) else path
    return tuple(word.partition("@")[0].lower().replace("_", "-") for word in parts)


_CONSTANT = {_words(each.former): each for each in CHANGES if each.path is None and each.former is not None}
_TODAY = {_words(str(each.former)): str(each.path) for each in _RENAMED}


def path_of_today(path: KeyPath) -> KeyPath:
    """Return where a setting is now; the path itself of one that never was elsewhere."""
    words = _words(path)
    for candidate in (words, (*words[:1], "*", *words[2:])):
        now = _TODAY.get(candidate)
        if now is not None:
            return tuple(path[1] if word == "*" else word for word in now.split("."))
    return path


def is_constant(path: KeyPath, value: object, source: str, *, of_a_run: bool = False) -> bool:
    """Return whether a key of this full path is a former key, with the value that is constant now.

    ``source``: Where it stands, for the refusal. ``of_a_run``: Whether that is the journal of a run.

    Raises ConfigError when its value is another one.
    """
    change = _CONSTANT.get(_words(path))
    if change is None or (of_a_run and change.runs_keep_it):
        return False
    usual = change.before
    other = "null" if usual is None else str(usual).removesuffix(".0").lower()
    if str(value).lower() not in {str(usual).lower(), other}:
        raise ConfigError(
            f"this key is a constant now: {usual}",
            where=f"{dotted(path)} ({source})",
            value=value,
            fix=change.fix,
        )
    return True


def is_kept_by_runs(path: KeyPath) -> bool:
    """Return whether a key is a constant but for the runs of earlier builds, which go on by their value."""
    change = _CONSTANT.get(_words(path))
    return change is not None and change.runs_keep_it


def as_of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with its keys where they are today, and without those that are constants.

    Raises ConfigError when one of these had another value than it has now.
    """
    tree: dict[str, Any] = deepcopy(dict(config))
    for change in _RENAMED:
        for names in _matches(tree, str(change.former)):
            holder = _holder(tree, names)
            if holder is not None and names[-1] in holder:
                value = holder.pop(names[-1])
                _put(tree, [names[1] if each == "*" else each for each in str(change.path).split(".")], value)
    for path, value in [*leaves(tree)]:
        if is_constant(path, value, "the run's journal", of_a_run=True):
            _drop(tree, path)
    for name, own in tree.get("strategies", {}).items():
        if name.partition("@")[0] == "gamma-scalper" and "entry" in own:  # before the key: one entry a run
            own["entry"].setdefault("again_next_session", False)
    return tree


def to_earlier(tree: dict[str, Any], later: Iterable[tuple[KeyPath, object]] = ()) -> None:
    """Turn settings of today into those that an earlier build took its hash of.

    ``later``: Further keys that came later, by their full path, with their defaults.
    """
    for path, before in later:
        _drop_at(tree, path, before)
    for change in CHANGES:
        if change.path is None:
            if change.is_hashed:
                put_constant(tree, change)
        elif change.former is None:
            for names in _matches(tree, change.path):
                _drop_at(tree, names, change.before)
        elif change.former != change.path:
            for names in _matches(tree, change.path, make=True):
                holder = _holder(tree, names)
                if holder is not None and names[-1] in holder:
                    value = holder.pop(names[-1])
                elif names[0] == "strategies":  # one that never had it
                    continue
                else:
                    value = change.before
                _put(tree, [names[1] if each == "*" else each for each in change.former.split(".")], value)


def to_former_defaults(tree: dict[str, Any], defaults: Mapping[KeyPath, object]) -> None:
    """Give settings that stand at a default of today the one that they had before.

    ``defaults``: Of today, by path.
    """
    for change in _NEW_DEFAULTS:
        for names in _matches(tree, str(change.path)):
            holder = _holder(tree, names)
            if holder is not None and names[-1] in holder and holder[names[-1]] == defaults.get(tuple(names)):
                holder[names[-1]] = change.before


def put_constants(tree: dict[str, Any]) -> None:
    """Put all former keys into a tree of settings, each at its constant but for those that runs keep."""
    for change in CHANGES:
        if change.path is None and not change.runs_keep_it:
            put_constant(tree, change)


def put_constant(tree: dict[str, Any], change: SettingChange) -> None:
    """Put a former key into the sections of a tree that had it."""
    for names in _matches(tree, str(change.former)):
        _put(tree, names, change.before)


def _matches(tree: Mapping[str, Any], path: str, *, make: bool = False) -> Iterator[list[str]]:
    """Yield the paths of a tree that a dotted one means, whether the last key is there or not.

    ``make``: Also where its section is not there.
    """
    section, *rest = path.split(".")
    if section != "strategies":
        if section in tree or make:
            yield [section, *rest]
        return
    for name in tree.get("strategies", {}):
        if rest[0] in ("*", name.partition("@")[0]) and isinstance(tree["strategies"][name], dict):
            yield [section, name, *rest[1:]]


def _holder(tree: dict[str, Any], names: Iterable[str]) -> dict[str, Any] | None:
    """Return the table that holds the last name of a path; None where it is not there."""
    holder: Any = tree
    for name in [*names][:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder if isinstance(holder, dict) else None


def _put(tree: dict[str, Any], names: list[str], value: object) -> None:
    holder = tree
    for name in names[:-1]:
        holder = holder.setdefault(name, {})
    holder[names[-1]] = value


def _drop_at(tree: dict[str, Any], names: Iterable[str], before: object) -> None:
    """Remove a key that stands at a value, and its table once that is empty."""
    path = (*names,)
    holder = _holder(tree, path)
    if holder is not None and path[-1] in holder and holder[path[-1]] == before:
        _drop(tree, path)


def _drop(tree: dict[str, Any], path: KeyPath) -> None:
    holder = _holder(tree, path)
    assert holder is not None
    del holder[path[-1]]
    if not holder:  # a table of such keys alone
        above = _holder(tree, path[:-1])
        if above is not None and path[:-1]:
            del above[path[-2]]
