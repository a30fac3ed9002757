"""Where settings come from: TOML and YAML files, the environment, ``.env``; each value with its place."""

import ctypes
import io
import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from scalpdesk.core import readings
from scalpdesk.core.errors import ConfigError, nearest_name

KeyPath = tuple[str, ...]

_ENVIRONMENT_PREFIX = "SCALPDESK_"

OVERRIDE = "--set"

MOST_BYTES = 1_000_000
_MOST_DEPTH = 16
_MOST_VALUES = 20_000

_GAMMA_SCALPER = ("strategies", "gamma-scalper")

_SCALPER = ("strategies", "gamma-scalper")
_EXPIRIES: tuple[KeyPath, ...] = (
    (*_SCALPER, "selection", "min_expiration_days"),
    (*_SCALPER, "selection", "max_expiration_days"),
)
_THRESHOLD: tuple[KeyPath, ...] = ((*_SCALPER, "hedge", "threshold_shares"),)
_DOCUMENT_KEYS: dict[str, tuple[KeyPath, ...]] = {
    "hedging_threshold": _THRESHOLD,
    "hedge_threshold_btc": _THRESHOLD,
    "expiries": _EXPIRIES,
    "expiries_dte": _EXPIRIES,
    "min_vol_ratio": ((*_SCALPER, "entry", "min_vol_ratio"),),
    "max_premium_frac": ((*_SCALPER, "size", "max_premium_fraction"),),
    "max_margin_frac": (("risk", "max_margin_fraction"),),
    "close_minutes_before_expiry": ((*_SCALPER, "exits", "minutes_before_expiry"),),
}
"""Keys of the Bitcoin document's ``params.yaml``, with what each sets; blanks and dashes count as ``_``."""
LEGACY_NAMES: dict[str, KeyPath] = {
    "HEDGING_ASSET": (*_GAMMA_SCALPER, "underlying"),
    "HEDGING_DELTA_THRESHOLD": (*_GAMMA_SCALPER, "hedge", "threshold_shares"),
    "INITIALIZATION_MODE": (*_GAMMA_SCALPER, "mode"),
    "STRATEGY_MULTIPLIER": (*_GAMMA_SCALPER, "straddles"),
    "MIN_EXPIRATION_DAYS": (*_GAMMA_SCALPER, "selection", "min_expiration_days"),
    "MAX_EXPIRATION_DAYS": (*_GAMMA_SCALPER, "selection", "max_expiration_days"),
    "MIN_OPEN_INTEREST": (*_GAMMA_SCALPER, "selection", "min_open_interest"),
    "THETA_WEIGHT": (*_GAMMA_SCALPER, "selection", "theta_weight_days"),
    "PRICE_CHANGE_THRESHOLD": (*_GAMMA_SCALPER, "triggers", "price_change_usd"),
    "HEARTBEAT_TRIGGER_SECONDS": (*_GAMMA_SCALPER, "triggers", "heartbeat_seconds"),
    "TRADE_COMMAND_TTL_SECONDS": (*_GAMMA_SCALPER, "hedge", "order_ttl_seconds"),
    "DEFAULT_RISK_FREE_RATE": ("rates", "default"),
    "IS_PAPER_TRADING": ("desk", "paper"),
    "STRATEGY_MODE": ("desk", "strategy_mode"),
    "MAX_DAILY_LOSS": ("risk", "max_daily_loss"),
    "MAX_CONSECUTIVE_LOSSES": ("risk", "max_consecutive_losses"),
    "USE_VOLATILITY_SIZING": ("strategies", "st0cka", "use_volatility_sizing"),
    "USE_MEAN_REVERSION": ("strategies", "st0cka", "use_mean_reversion"),
    "STRATEGY_EVENT_MAX_AGE_SECONDS": ("strategies", "external", "max_age_seconds"),
    "GEX_VALUE": ("marketdata", "gex_value"),
    "TRADING_API_KEY": ("credentials", "trading_api_key"),
    "TRADING_API_SECRET": ("credentials", "trading_api_secret"),
    "ST0CKAKEY": ("credentials", "st0cka_key"),
    "ST0CKASECRET": ("credentials", "st0cka_secret"),
    "ST0CKGKEY": ("credentials", "st0ckg_key"),
    "ST0CKGSECRET": ("credentials", "st0ckg_secret"),
    "FIREBASE_PROJECT_ID": ("credentials", "firebase_project_id"),
    "GOOGLE_APPLICATION_CREDENTIALS": ("credentials", "google_application_credentials"),
    "FIRESTORE_EMULATOR_HOST": ("credentials", "firestore_emulator_host"),
}
"""Names that users of earlier programs have in their environment, and the keys they set."""

_SIGNED = {"MAX_DAILY_LOSS": "-"}
"""Names that earlier programs wrote with a sign which their key has not: a limit of -500 is a loss of 500."""

_SHORT_NAMES: dict[str, KeyPath] = {"SCALPDESK_CATALOG": ("data", "catalog")}
"""Names with the desk's prefix that are not written SECTION__KEY."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value handed in: where it belongs, what it is, where it was found."""

    path: KeyPath
    value: Any
    source: str
    """``scalpdesk.toml:12``, ``environment NAME``, ``.env NAME`` or ``--set``."""
    is_text: bool = False
    """The value came as text and is read as its key's type."""
    places: Mapping[KeyPath, str] = field(default_factory=dict, repr=False, compare=False)
    """Sources of the file's other keys and sections, for errors that name them."""


def dotted(path: KeyPath) -> str:
    """Return ``path`` as it is written on the command line."""
    return ".".join(path)


def find_config_file(config_file: str | Path | None, cwd: Path) -> Path | None:
    """Return the configuration file to read: the named one, ``scalpdesk.toml`` or ``params.yaml`` in ``cwd``.

    Raises ConfigError when the named file is not there, or what bears the name is no file.
    """
    if config_file is not None:
        path = cwd / config_file
        if not _is_file(path, "name a file with settings after --config"):
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise ConfigError(
                "there is no such configuration file",
                where="--config",
                value=str(config_file),
                nearest=nearest_name(path.name, beside),
                fix="scalpdesk init writes a commented scalpdesk.toml",
            )
        return path
    for name in ("scalpdesk.toml", "params.yaml"):
        if _is_file(cwd / name, "write the file again, or remove what stands in its place"):
            return cwd / name
    return None


def _is_file(path: Path, fix: str) -> bool:
    """Return whether the file is there.

    Raises ConfigError when something else bears its name: its settings would pass for defaults in silence.
    """
    if path.is_file():
        return True
    if not os.path.lexists(path):
        return False
    what = "a folder" if path.is_dir() else "a device or a pipe" if path.exists() else "a link to nothing"
    raise ConfigError(f"this is {what}, not a file with settings", where=str(path), fix=fix)


def _read_text(path: Path, what: str) -> str:
    """Return the text of a file of at most :data:`MOST_BYTES`; ``what`` names it in a refusal.

    Raises ConfigError when it cannot be read, is not UTF-8 or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise ConfigError(
            f"{what} cannot be read: {problem.strerror}",
            where=str(path),
            fix=f"make it readable for the user that runs this: chmod 600 {path.name}",
        ) from problem
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"{what} is larger than {MOST_BYTES:,} bytes: it is no configuration",
            where=str(path),
            value=path.stat().st_size,
            fix="name the right file with --config; scalpdesk init writes one to start from",
        )
    try:
        return content.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        raise ConfigError(  # without the cause, whose bytes may be of a key
            f"{what} cannot be read: it is not UTF-8", where=f"{path.name}:{line}", fix="save it as UTF-8"
        ) from None


def read_file(path: Path) -> list[Entry]:
    """Return every value of a TOML or YAML file with its line.

    Raises ConfigError when the file cannot be read or is not valid, with the line.
    """
    text = _read_text(path, "the configuration file")
    try:
        tree, lines = (_parse_yaml if path.suffix in {".yaml", ".yml"} else _parse_toml)(text, path)
        _check_size(tree, {})
    except (RecursionError, OverflowError) as problem:
        raise ConfigError(
            f"the configuration file is more than {_MOST_DEPTH} sections deep or has more than "
            f"{_MOST_VALUES:,} values",
            where=str(path),
            fix="write its sections as `scalpdesk config show` prints them",
        ) from problem
    if path.suffix != ".toml":
        tree, lines = _document_keys(tree, lines, path)
    places = {key: f"{path.name}:{line}" for key, line in lines.items()}
    return [Entry(key, value, places.get(key, path.name), places=places) for key, value in leaves(tree)]


def _document_keys(
    tree: dict[str, Any], lines: dict[KeyPath, int], file: Path
) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Put the keys of :data:`_DOCUMENT_KEYS`, written without a section, in the place of what they set.

    Raises ConfigError when two of them set the same.
    """
    found: dict[str, Any] = {}
    set_by: dict[KeyPath, str] = {}
    for key, value in tree.items():
        paths = _DOCUMENT_KEYS.get(re.sub(r"[\s-]+", "_", str(key).lower()), ())
        values = [value] * len(paths)
        if paths is _EXPIRIES:
            values = list(value) if isinstance(value, list) and len(value) == len(paths) else [value] * 2
        for path, each in zip(paths, values, strict=True):
            first = set_by.setdefault(path, str(key))
            if first != str(key):
                raise _stands_twice(file, dotted(path), lines.get((first,), 1), lines.get((str(key),), 1))
            table = found
            for part in path[:-1]:
                table = table.setdefault(part, {})
            table.setdefault(path[-1], each)
            lines.setdefault(path, lines.get((str(key),), 1))
        if not paths:
            found[str(key)] = _merged(found.get(str(key)), value)
    return found, lines


def _merged(below: Any, value: Any) -> Any:
    """Return two trees as one; what stands in a section wins over the document's keys."""
    if not (isinstance(below, dict) and isinstance(value, dict)):
        return value
    return {
        **below,
        **{key: _merged(below.get(key), each) for key, each in value.items()},
    }


def _check_size(value: Any, known: dict[int, int], depth: int = 0) -> int:
    """Return how many values a tree has, of values or of YAML's nodes, each alias counted where it stands.

    Raises OverflowError when the tree is too deep or too large.
    """
    parts: Iterable[Any] | None = None
    if isinstance(value, Mapping | list):
        parts = value.values() if isinstance(value, Mapping) else value
    elif isinstance(value, yaml.CollectionNode):
        parts = [part for _, part in value.value] if isinstance(value, yaml.MappingNode) else value.value
    if parts is not None and id(value) not in known:
        known[id(value)] = 1 + sum(_check_size(part, known, depth + 1) for part in parts)
    count = known.get(id(value), 1)
    if depth > _MOST_DEPTH or count > _MOST_VALUES:
        raise OverflowError
    return count


def leaves(tree: Mapping[str, Any], prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield path and value of each leaf of a tree of settings; an empty table is a leaf."""
    for key, value in tree.items():
        path = (*prefix, str(key))
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def overrides_of(settings: Mapping[str, Any]) -> list[str]:
    """Return Python values by key, tables among them, as ``--set`` reads them."""
    return [f"{dotted(path)}={_text(value)}" for path, value in leaves(settings)]


def _text(value: Any) -> str:
    """Write a Python value as ``--set`` reads it."""
    if hasattr(value, "tolist") and hasattr(value, "__len__"):  # numpy's array, a column of pandas
        value = value.tolist()
    if value is None:
        return "null"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_toml(text: str, path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"line (\d+)", str(problem))
        line = int(found.group(1)) if found else len(text.splitlines())
        source_lines = text.splitlines()
        raise ConfigError(
            f"the file is not valid TOML: {problem}",
            where=f"{path.name}:{line}",
            value=_shown_line(source_lines, line),
            fix=_as_toml_line(source_lines, line),
        ) from problem
    return tree, _toml_lines(text)


def _as_toml_line(lines: list[str], number: int) -> str:
    """Return how a line that is no TOML is written: its value as a number or in quotes."""
    rule = 'write key = value below a [section]; text in "quotes"'
    found = _WRITTEN.fullmatch(lines[number - 1].strip()) if 0 < number <= len(lines) else None
    if found is None or "credentials" in "".join(lines[:number]):
        return rule
    key, value = found.groups()
    meant = readings.number_meant(value, lambda _: True) or json.dumps(value.strip("\"'"))
    return f"{key} = {meant}; {rule}"


def _shown_line(lines: list[str], number: int) -> str:
    """Return a line to show in a refusal; once the file has named credentials, only what is left of ``=``."""
    if not 0 < number <= len(lines):
        return ""
    before, _, _ = lines[number - 1].partition("=")
    return (before if "credentials" in "".join(lines[:number]) else lines[number - 1]).strip()


_WRITTEN = re.compile(r"([A-Za-z][\w.-]*)\s*[=:]\s*([^=#]+?)\s*(?:#.*)?")
"""A key and a value as people write them, in whatever format."""
_TOML_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_TOML_KEY = re.compile(
    r"""^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_TOML_WORD = re.compile(r"""[{,]\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=""")
_TOML_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")


def _toml_lines(text: str) -> dict[KeyPath, int]:
    """Return the line of every key; tomllib does not keep it, so the text is scanned for tables and keys."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TOML_HEADER.match(line):
            table = _toml_words(header.group(1))
            lines.setdefault(table, number)
        elif key := _TOML_KEY.match(line):
            path = (*table, *_toml_words(key.group(1)))
            lines.setdefault(path, number)
            for inline in _TOML_WORD.finditer(line, key.end()):  # the keys of an inline table
                lines.setdefault((*path, *_toml_words(inline.group(1))), number)
    return lines


def _toml_words(text: str) -> KeyPath:
    return tuple(a or b or c for a, b, c in _TOML_PART.findall(text))


def _parse_yaml(text: str, path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_size(node, {})  # before anything walks it: a few aliases of aliases are billions of values
        tree = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        raise ConfigError(
            f"the file is not valid YAML: {getattr(problem, 'problem', None) or 'it cannot be parsed'}",
            where=f"{path.name}:{mark.line + 1}" if mark is not None else path.name,
            fix="indent with spaces and write key: value",
        ) from problem
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict):
        raise ConfigError(
            "the file must hold sections",
            where=f"{path.name}:1",
            fix="start with a section such as simulation:",
        )
    lines: dict[KeyPath, int] = {}
    for key, line in _yaml_lines(node, ()):
        if lines.setdefault(key, line) != line:  # YAML's own reader takes the last of them
            raise _stands_twice(path, dotted(key), lines[key], line)
    return tree, lines


def _stands_twice(path: Path, key: str, first: int, second: int) -> ConfigError:
    """Return the refusal of a key that one file sets in two places."""
    return ConfigError(
        f"the key stands twice, in lines {first} and {second}",
        where=f"{path.name}:{second}",
        value=key,
        fix="keep one of the two lines",
    )


def _yaml_lines(node: yaml.Node | None, prefix: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _yaml_lines(value, path)


def read_environment(
    environ: Mapping[str, str], label: str = "environment", members: Iterable[Mapping[str, KeyPath]] = ()
) -> list[Entry]:
    """Return the values that ``environ`` sets, by ``SCALPDESK_SECTION__KEY`` or by an earlier program's name.

    An empty value counts as not set. The ``SCALPDESK_`` name wins where both are given. ``members`` holds
    the keys that names set for each strategy of the run.
    """
    tables = [LEGACY_NAMES, *members]
    legacy = [
        Entry(table[name], value.removeprefix(_SIGNED.get(name, "")), f"{label} {name}", is_text=True)
        for table in tables
        for name, value in environ.items()
        if name in table and value
    ]
    own = [
        Entry(
            _SHORT_NAMES.get(name) or tuple(name.removeprefix(_ENVIRONMENT_PREFIX).split("__")),
            value,
            f"{label} {name}",
            is_text=True,
        )
        for name, value in environ.items()
        if name.startswith(_ENVIRONMENT_PREFIX) and value
    ]
    return legacy + own


def read_override(text: str) -> Entry:
    """Return the value that ``--set KEY=VALUE`` gives.

    Raises ConfigError when the text has no key or no equals sign.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(
            "an override is written KEY=VALUE",
            where="--set",
            value=text,
            fix="--set simulation.latency_ms=50",
        )
    return Entry(path, value.strip(), OVERRIDE, is_text=True)


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the names and values of a ``.env`` file; an empty dict without the file.

    Raises ConfigError when it cannot be read; when it holds keys and others may read it; when a line is not
    NAME=VALUE, or a name stands twice; when a name nearly equals a known one: a typing error would otherwise
    pass in silence.
    """
    if not _is_file(path, "write the file again, or remove what stands in its place"):
        return {}
    text = _read_text(path, "the file of the environment")
    _check_lines(path, text)
    values = {
        name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None
    }
    refuse_open_keys(path, [name for name, value in values.items() if value and is_key(name)])
    for name in values:
        near = nearest_name(name, LEGACY_NAMES)
        if name not in LEGACY_NAMES and near is not None and _edits_apart(name, near) <= 2:
            raise ConfigError(
                "unknown name in .env",
                where=f"{path.name}: {name}",
                value=name,
                nearest=near,
                fix=f"rename it to {near}",
            )
    return values


def _check_lines(path: Path, text: str) -> None:
    """Refuse a line of a ``.env`` file that sets nothing, and a name set twice, without the line's text."""
    lines: dict[str, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        blank = re.match(r"\s*", binding.original.string)
        line = binding.original.line + (0 if blank is None else len(re.findall(r"\r\n|\r|\n", blank[0])))
        if binding.error or (binding.key is not None and binding.value is None):
            raise ConfigError(
                "this line is not NAME=value",
                where=f"{path.name}:{line}",
                fix='write NAME=value, a value with blanks in "quotes"; a remark begins with #',
            )
        if binding.key is not None and lines.setdefault(binding.key, line) != line:
            raise _stands_twice(path, binding.key, lines[binding.key], line)


def refuse_open_keys(path: Path, held: Sequence[str]) -> None:
    """Refuse a file that holds keys, by the names ``held``, where others can read or write it.

    Raises ConfigError with the mode that it has, and how to change it.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and held:
        raise ConfigError(
            "the file with the keys can be read or written by others",
            where=f"{path.name}: {', '.join(held)}",
            value=f"mode {mode:o}",
            fix=f"chmod 600 {path.name}",
        )


def is_key(name: str) -> bool:
    """Return whether an environment name sets a key or a secret of the section ``[credentials]``."""
    own = tuple(name.removeprefix(_ENVIRONMENT_PREFIX).lower().split("__"))
    return is_secret(LEGACY_NAMES.get(name) or own)


def is_secret(path: KeyPath) -> bool:
    """Return whether a key of the configuration is a key or a secret of the section ``[credentials]``."""
    return path[0] == "credentials" and path[-1].endswith(("_key", "_secret", "_url", "_urls"))


def take_keys(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Remove the keys from the process's environment once they are read; return them by name.

    On Linux the block that ``/proc/PID/environ`` shows is overwritten too. Copies in the
    program's memory, swapped pages, core files and the starting shell's environment cannot be erased here.
    """
    taken = {name: environ.pop(name) for name in tuple(environ) if is_key(name)}
    if taken and sys.platform == "linux":
        figures = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        start, end = int(figures[47]), int(figures[48])  # env_start, env_end of proc(5)
        at = start
        for entry in ctypes.string_at(start, end - start).split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name.decode(errors="replace") in taken:
                ctypes.memset(at + len(name) + 1, 0, len(value))
            at += len(entry) + 1
    return taken


def _edits_apart(left: str, right: str) -> int:
    """Return the number of single-character edits between two names (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        previous, row = row, [i]
        for j, b in enumerate(right, start=1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b)))
    return row[-1]
